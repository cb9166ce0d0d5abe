/* 32-bit guest tests: descriptors, trap catching, real mode.  No paging at the start. */
#ifndef GUEST_LEGACY_H
#define GUEST_LEGACY_H

#include "tests/guest/lib/guest.h"

enum {
    SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_USER = 0x1b, SEL_USER_DATA = 0x23, SEL_TSS = 0x28,
    SEL_CODE16 = 0x30, SEL_DATA16 = 0x38, SEL_TSS_DF = 0x40,
    SEL_FREE = 0x48, /* from here on the tests' own */
};
enum { GDT_ENTRIES = 64 };

/* start32.S knows the offsets. */
struct regs {
    u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 eip, flags, cs, ss, ds, es, fs, gs;
    u32 vector, error, cr2; /* set by the trap */
    u32 frame;              /* address of the pushed EIP */
};

struct tss32 {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, flags;
    u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 es, cs, ss, ds, fs, gs, ldt;
    u16 trap, io_base;
};

extern u64 gdt[GDT_ENTRIES];
extern u64 idt[256];
extern struct tss32 tss, tss_df;
extern u8 trap_stubs[], enter_iret[];
extern u32 real_data; /* selector that DS holds on the way to real mode; its cache stays */

struct regs kernel_at(const void *code);
struct regs user_at(const void *code);
void enter(struct regs *r);
void real_mode(void (*code)(void));

typedef bool trap_handler(struct regs *frame);
extern trap_handler *handlers[256];
extern volatile u32 trap_counts[256];

/* A descriptor: access is the byte with type, S, DPL, P; flags is G, D/B, L, AVL. */
u64 descriptor(u32 base, u32 limit, u32 access, u32 flags);
void set_descriptor(u32 selector, u64 d);
/* type: 0xe interrupt, 0xf trap, 6 and 7 the 16-bit ones, 5 task (entry is the TSS selector). */
void set_gate(unsigned vector, u32 entry, unsigned type, unsigned dpl);
void reset_gate(unsigned vector);

void expect(const char *name, const struct regs *r, unsigned vector, u32 error, const void *eip);
void expect_pf(const char *name, const struct regs *r, u32 error, const void *eip, u32 cr2);

#endif

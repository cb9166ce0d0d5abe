/* 64-bit guest tests: descriptors, trap catching, page tables. */
#ifndef GUEST_LONG_H
#define GUEST_LONG_H

#include "tests/guest/lib/guest.h"

/* Selectors; SYSCALL and SYSRET need this order (SDM vol. 3A 5.8.8). */
enum {
    SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_USER32 = 0x1b, SEL_USER_DATA = 0x23, SEL_USER = 0x2b,
    SEL_CODE32 = 0x30, SEL_TSS = 0x38, SEL_FREE = 0x48, /* from here on the tests' own */
};
enum { GDT_ENTRIES = 48 };

/* The machine as a snippet finds it and leaves it.  start64.S knows the offsets. */
struct regs {
    u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    u64 rip, flags, cs, ss;
    /* set by the trap: */
    u64 vector, error, cr2;
    u64 frame;  /* address of the pushed frame: RSP after the push of the processor */
    u64 nested; /* traps during handling: stays 0 */
};

struct tss64 {
    u32 reserved0;
    u64 rsp[3];
    u64 ist[8]; /* ist[1]..ist[7]; [0] is reserved */
    u64 reserved1;
    u16 reserved2, io_base;
    u8 io[8192 + 8];
} __attribute__((packed));

extern u64 gdt[GDT_ENTRIES];
extern u64 idt[512];
extern struct tss64 tss;
extern u8 trap_stubs[], enter_iretq[];

extern u32 boot_info; /* address of what multiboot tells */

/* Where user code sees the image (start64.S). */
#define USER_VIEW 0x4000000000ull
#define AS_USER(p) ((u64)(p) + USER_VIEW)

/* Registers for code at ring 0, ring 3, and ring 3 compatibility mode. */
struct regs kernel_at(const void *code);
struct regs user_at(const void *code);

/* Runs from *r until a trap without a handler fills *r. */
void enter(struct regs *r);

/* A handler that returns true ends enter(), false resumes the interrupted code. */
typedef bool trap_handler(struct regs *frame);
extern trap_handler *handlers[256];
extern volatile u32 trap_counts[256];

/* IDT gates: type 0xE interrupt, 0xF trap; dpl 0 or 3. */
void set_gate(unsigned vector, const void *entry, unsigned type, unsigned dpl, unsigned ist);
void reset_gate(unsigned vector);
void load_idt(const void *base, u16 limit);
void load_gdt(u16 limit);

/* One check of where a snippet ended. */
void expect(const char *name, const struct regs *r, unsigned vector, u64 error, const void *rip);
/* The same with the address that CR2 must hold. */
void expect_pf(const char *name, const struct regs *r, u64 error, const void *rip, u64 cr2);

/* Page tables: entries of the current CR3's tree; tables come from a pool and are P, W, U. */
enum { PT_P = 1, PT_W = 2, PT_U = 4, PT_PWT = 8, PT_PCD = 16, PT_A = 32, PT_D = 64, PT_PS = 128,
       PT_G = 256 };
#define PT_NX (1ull << 63)
#define PT_ADDR 0x000ffffffffff000ull
/* Level 1: PTE, 2: PDE, 3: PDPTE, 4: PML4E. */
u64 *pt_entry(u64 va, unsigned level);
void pt_map(u64 va, unsigned level, u64 entry); /* sets it and invalidates the page */
u8 *page_alloc(unsigned bytes);                 /* zeroed, aligned to its size, up to 2 MiB */
static inline void flush_all(void)
{
    write_cr3(read_cr3());
}

#endif

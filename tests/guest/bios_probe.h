/* What the parts of the firmware's probe share: its console, calls of services, segments.
 *
 * Everything runs in real mode in one segment of 64 KiB, data and stack too; what is elsewhere is
 * reached through FS (far_segment, FAR).
 */
#ifndef BIOS_PROBE_H
#define BIOS_PROBE_H

#include "bios/types.h"

enum { CARRY = 1, ZERO = 0x40 };

struct regs {
    u32 eax, ebx, ecx, edx, esi, edi, ebp, eflags;
    u16 es;
};

/* From a struct regs at EDX and, with EDX itself on the stack, to one: what 16- and 32-bit calls
 * share. */
#define LOAD_REGS                                                                                  \
    "movl 0(%edx), %eax\n"                                                                         \
    "movl 4(%edx), %ebx\n"                                                                         \
    "movl 8(%edx), %ecx\n"                                                                         \
    "movl 16(%edx), %esi\n"                                                                        \
    "movl 20(%edx), %edi\n"
#define STORE_REGS                                                                                 \
    "popl 12(%edx)\n"                                                                              \
    "pushfl\n"                                                                                     \
    "popl 28(%edx)\n"                                                                              \
    "movl %eax, 0(%edx)\n"                                                                         \
    "movl %ebx, 4(%edx)\n"                                                                         \
    "movl %ecx, 8(%edx)\n"                                                                         \
    "movl %esi, 16(%edx)\n"                                                                        \
    "movl %edi, 20(%edx)\n"

static inline void far_segment(u16 seg)
{
    __asm__ volatile("movw %0, %%fs" : : "r"(seg) : "memory");
}

#define FAR(type, at) (*(volatile type __seg_fs *)(u32)(at))

/* Memory behind the image, below the stack, that lasts from call to call only. */
#define SCRATCH ((u8 *)0x9000)
enum { SCRATCH_SIZE = 0x2000 };

/* One line of an answer: the name, numbers (a blank and hexadecimal digits each), its end. */
void text(const char *s);
void hex(u32 v);
void end(void);

static inline struct regs blank(u32 eax)
{
    struct regs r = {.eax = eax};
    return r;
}

/* name carry zero eax ebx ecx edx es edi */
void show(const char *name, const struct regs *r);
/* Calls the vector's handler with interrupts on, and shows what it left if there is a name. */
struct regs call(const char *name, u8 vector, struct regs r);

static inline u16 own_segment(void)
{
    u16 ds;
    __asm__("movw %%ds, %0" : "=r"(ds));
    return ds;
}

/* bios_probe_events.c: types the codes, which a 0 ends, and shows what INT 16h's `function` reads
 * after that. */
void keys(const char *name, const u8 *codes, u8 function);
void keyboard(void);
void more_keys(void);
void pointer(void);
void time(void);
void waits(void);
void alarm(void);

/* bios_probe_protected.c: anchor finds the linear address of what begins with that signature at
 * E0000-FFFFF, on a paragraph, and whose `length` bytes (0: as the word at 6 says) add up to 0; 0:
 * none.  FS is its segment then. */
u32 anchor(const char *signature, u16 length);
void protected_set_up(void);
void protected_switch(void);
void pci(void);
void bios32(void);
void routing(void);
void apm(void);
/* A near call of 32-bit code in the probe's segment, in protected mode. */
struct regs near_call(const char *name, const u8 *code, struct regs r);

/* bios_probe_drives.c: what is there of disks, CD-ROMs and ports; the clock is set, and midnight
 * comes. */
void drives_and_ports(void);
void clock_set(void);

/* bios_probe_video.c: the display adapter, where there is one. */
void video(void);

/* bios_probe_reset.c: whether resets are asked for, or this is after the last of them. */
int wants_resets(void);
int is_warm(void);
void shutdown_codes(void);
void warm_reset(void);

#endif

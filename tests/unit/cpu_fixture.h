/* A vCPU on 1 MiB of RAM with a fake engine, for the tests of cpu/.
 *
 * Memory: GDT at 1000h, LDT at 1800h, IDT at 2000h, TSS at 3000h, page tables at 8000h (identity,
 * 1 GiB); stacks: 7000h (ring 3), 6000h (ring 0 from the TSS), 5000h (IST1).
 */
#ifndef DRAGOMAN_TESTS_CPU_FIXTURE_H
#define DRAGOMAN_TESTS_CPU_FIXTURE_H

#include <check.h>
#include <setjmp.h>

#include "cpu/system.h"

enum {
    GDT_AT = 0x1000, LDT_AT = 0x1800, IDT_AT = 0x2000, TSS_AT = 0x3000, TSS2_AT = 0x3800,
    PML4_AT = 0x8000, STACK3 = 0x7000, STACK0 = 0x6000, STACK_IST1 = 0x5000, CODE_AT = 0x10000,
};

/* Selectors of the standard GDT, without RPL. */
enum {
    S_CODE0 = 0x08, S_DATA0 = 0x10, S_CODE3 = 0x18, S_DATA3 = 0x20, S_CONF = 0x28, /* conforming */
    S_XONLY = 0x30,  /* execute-only code, DPL 3 */
    S_RODATA = 0x38, /* read-only data, DPL 3 */
    S_DOWN = 0x40,   /* expand-down data, limit FFFh, DPL 3 */
    S_ABSENT = 0x48, /* data, DPL 3, not present */
    S_LDT = 0x50, S_CODE16 = 0x58, S_GATE = 0x60, S_TSS2 = 0x68, S_CODE64 = 0x70, S_CODE64_3 = 0x78,
    S_ABSENTC = 0x80, /* code, DPL 0, not present */
    S_LD = 0x88,      /* code with both L and D */
    S_TASKGATE = 0x90, S_TSS = 0x98, /* 98h-a7h: 16 bytes in long mode */
    S_GATE64 = 0xa8, /* 16 bytes */
    S_STACK16 = 0xb8, GDT_END = 0xc0,
};

extern struct cpu *cpu;
extern unsigned reset_requests;

/* Makes the vCPU of a model, in real mode at reset; frees the last one. */
void fixture_setup(const char *model);
void fixture_teardown(void);
/* Protected mode with the standard tables, at `cpl`; CS flat 32-bit, stack at STACK0 or STACK3. */
void fixture_protected(unsigned cpl);
/* Long mode, 64-bit code, at `cpl`; gates of 16 bytes. */
void fixture_long(unsigned cpl);

/* Runs a helper: the vector that it raised (error code in cpu->exc_error), or -1. */
int run_helper(u64 (*fn)(struct cpu *, u64, u64, u64, u64), u64 a, u64 b, u64 c, u64 d);
/* What the last helper that did not raise returned. */
extern u64 helper_result;

u64 peek(u64 at, unsigned size);
void poke(u64 at, unsigned size, u64 v);
u64 descriptor(u64 base, u32 limit, u16 attr); /* attr as in enum SEG_ */
void set_gate(unsigned vector, unsigned type, unsigned dpl, u16 sel, u64 offset, unsigned ist);
void set_segment(enum sreg seg, u16 sel);

#define ck_raises(vector, code, ...)                                       \
    do {                                                                   \
        ck_assert_int_eq(run_helper(__VA_ARGS__), (vector));               \
        ck_assert_uint_eq(cpu->exc_error, (u32)(code));                    \
    } while (0)
#define ck_runs(...) ck_assert_int_eq(run_helper(__VA_ARGS__), -1)

#endif

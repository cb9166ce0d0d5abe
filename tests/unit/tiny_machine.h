/* A machine of one vCPU, RAM and an engine, for tests that run a few bytes of guest code. */
#ifndef DRAGOMAN_TESTS_TINY_MACHINE_H
#define DRAGOMAN_TESTS_TINY_MACHINE_H

#include "cpu/count.h"
#include "cpu/cpu.h"

#define TINY_RAM (16u << 20)
/* 64-bit mode: page tables lie here and map the first GiB to itself, user-accessible. */
#define TINY_TABLES 0x100000u
#define TINY_IDT 0x110000u /* 64-bit gates, filled by tiny_gate */
#define TINY_GDT 0x111000u /* 8: 64-bit code, 10h: data */

struct tiny {
    struct bus *bus;
    struct clock clock;
    u8 *ram;
    const struct accel *accel;
    void *engine;
    struct cpu *cpu;
};

/* With the IR verified between passes.  Aborts the test when the host has no memory. */
void tiny_create(struct tiny *m, const struct accel *accel, u64 code_bytes);
/* The same without some optimisations, a mask of translator/technique.h. */
void tiny_create_off(struct tiny *m, const struct accel *accel, u64 code_bytes, u64 off);
/* One of this processor model that keeps translations in a folder. */
void tiny_create_cached(struct tiny *m, const struct accel *accel, const char *folder,
                        const char *model, u64 code_bytes);
/* The same in counted mode. */
void tiny_create_counted(struct tiny *m, const struct accel *accel,
                         const struct count_config *count);
void tiny_destroy(struct tiny *m);

/* Real mode at 0:ip with SS:SP = 0:7000h, interrupts off. */
void tiny_real(struct tiny *m, u16 ip);
/* 64-bit mode, CPL 0, at rip, RSP = 80000h, interrupts off, SSE on. */
void tiny_long(struct tiny *m, u64 rip);
/* 64-bit interrupt gate. */
void tiny_gate(struct tiny *m, unsigned vector, u64 handler);
/* Copies code to RAM, through the bus as a device would. */
void tiny_load(struct tiny *m, u64 at, const void *code, u64 bytes);
/* Runs until HLT (with interrupts off) or REQ_EXIT. */
void tiny_run(struct tiny *m);
u64 tiny_counter(struct tiny *m, const char *name);

#endif

/* Checks and state changes that RETF and IRET share.  Private to cpu/. */
#ifndef DRAGOMAN_CPU_TRANSFER_H
#define DRAGOMAN_CPU_TRANSFER_H

#include "cpu/system.h"

/* Attributes of the segments that SYSCALL and its kin load. */
#define SYSCALL_CODE (SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_A | SEG_G)
#define SYSCALL_DATA (SEG_P | SEG_S | SEG_RW | SEG_A | SEG_DB | SEG_G)

/* ---- short.c: each returns false, having changed nothing, when it does not serve ---- */
bool short_deliver(struct cpu *cpu, const struct event *e);
bool short_iret(struct cpu *cpu, u64 writable);
bool short_syscall(struct cpu *cpu, u64 next);
bool short_sysret(struct cpu *cpu);
/* The whole transfers have gone well, from privilege level `from` to 64-bit code.  ss: NULL if it
 * is null. */
void short_note_gate(struct cpu *cpu, const struct event *e, const struct descriptor *gate,
                     const struct descriptor *cs, unsigned from);
void short_note_iret(struct cpu *cpu, const struct descriptor *cs, const struct descriptor *ss,
                     unsigned from);

/* Checks the code segment that a return names; fills d or raises. */
void return_check_cs(struct cpu *cpu, u16 sel, struct descriptor *d);
/* Checks the outer stack segment; false if it is a legal null. */
bool return_check_ss(struct cpu *cpu, u16 sel, unsigned rpl, const struct segment *cs,
                     struct descriptor *d);
void return_install_ss(struct cpu *cpu, u16 sel, bool present, const struct descriptor *ss,
                       unsigned cpl);
/* Makes ES, DS, FS and GS null where privilege cpl may not use them. */
void return_scrub_segments(struct cpu *cpu, unsigned cpl);

#endif

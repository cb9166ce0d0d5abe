/* Checks and state changes that RETF and IRET share.  Private to cpu/. */
#ifndef DRAGOMAN_CPU_TRANSFER_H
#define DRAGOMAN_CPU_TRANSFER_H

#include "cpu/system.h"

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

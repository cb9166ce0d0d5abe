/* A CPU of general, x87 and vector registers for the tests of floating point: its memory is the data
 * of `silicon`, at the host's addresses, an exception ends what runs, and a small evaluator executes
 * lifted blocks.  Replaces the functions of cpu/ and mmu/ that the helpers of floating point call. */
#ifndef DRAGOMAN_TESTS_FP_FIXTURE_H
#define DRAGOMAN_TESTS_FP_FIXTURE_H

#include "cpu/cpu.h"
#include "silicon.h"
#include "translator/ir.h"

extern struct cpu vcpu;
extern struct ir ir;
extern struct silicon silicon;
extern const struct engine_hooks fp_hooks; /* for vcpu.engine */

/* Runs the block in ir on vcpu; the vector of the exception it raised, or -1. */
int run_block(void);
/* The same of one op, packed by ir_vec_pack, that checks MXCSR. */
int run_checked(u64 what, u32 imm);

#endif

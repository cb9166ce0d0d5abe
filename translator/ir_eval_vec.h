/* What the vector ops of the IR (ir_vec.def) mean: one evaluator, for the portable engine and for
 * hosts whose selector lacks an op.
 */
#ifndef DRAGOMAN_TRANSLATOR_IR_EVAL_VEC_H
#define DRAGOMAN_TRANSLATOR_IR_EVAL_VEC_H

#include "base/types.h"
#include "cpu/state.h"
#include "translator/ir.h"

/* A value of any class: a scalar (integer, boolean, flags) is in q[0]. */
union ir_value {
    u64 q[2];
    u32 d[4];
    u16 w[8];
    u8 b[16];
    float s[4];
    double f[2];
} __attribute__((aligned(16)));

/* Evaluates vector op `in` (its op, w, aux, imm) on args; unused entries of args may be NULL.
 * Writes *out wholly for a vector result, q[0] for a scalar one; out may be one of the args.
 * Float ops use and accrue cpu->mxcsr; where an exception is unmasked they raise #XM through
 * cpu_raise and do not return. */
void ir_eval_vec(struct cpu *cpu, const struct ir_insn *in, const union ir_value *const args[4],
                 union ir_value *out);

#endif

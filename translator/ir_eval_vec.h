/* What the vector ops of the IR (ir_vec.def) mean: one evaluator, for the portable engine, the
 * folder and hosts whose selector lacks an op.
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
    s64 sq[2];
    s32 sd[4];
    s16 sw[8];
    s8 sb[16];
    float s[4];
    double f[2];
} __attribute__((aligned(16)));

/* Evaluates vector op `in` (its op, w, aux, imm; vl 0) on args; unused entries of args may be NULL.
 * Writes *out wholly for a vector result, q[0] for a scalar one; out may be one of the args.
 * Rows with E_RMXCSR use rounding, DAZ and FTZ of cpu->mxcsr and OR their exception flags into
 * it, as if every exception were masked (the lifter takes ir_vec_checked where one is not);
 * other rows ignore cpu, which may then be NULL.  On x86-64 these rows run the host's own
 * instruction; elsewhere portable C (limits: ir_eval_fp.c). */
void ir_eval_vec(struct cpu *cpu, const struct ir_insn *in, const union ir_value *const args[4],
                 union ir_value *out);

/* The portable meaning only, on any host (tests compare the two). */
void ir_eval_vec_portable(struct cpu *cpu, const struct ir_insn *in,
                          const union ir_value *const args[4], union ir_value *out);

/* Whether this host executes the op in hardware for ir_eval_vec; if so does it, under *mxcsr
 * (exceptions as masked) whose flags it ORs. */
bool ir_vec_host(u32 *mxcsr, const struct ir_insn *in, const union ir_value *const args[4],
                 union ir_value *out);

/* engine_hooks.vec_op: a vector op with its MXCSR exceptions observed (SDM vol. 1, 11.5).
 * `what` is ir_vec_pack's; imm is the op's in bits 0 to 7, its vl in bit 8, bit 9 set to clear what
 * is above the result; i is its integer input.  fpfma's first operand is the destination.
 * Operands are registers of struct cpu or cpu->vtmp[0].  Raises #XM (#UD without CR4.OSXMMEXCPT)
 * with the destination unchanged.  Returns a scalar result, or writes register dst. */
u64 ir_vec_checked(struct cpu *cpu, u64 what, u64 imm, u64 i);

/* op and fields of `in`, register of the vector operands a and b (VEC_OPND_TEMP: vtmp[0]) and of
 * the result, in one word for ir_vec_checked. */
#define VEC_OPND_TEMP 0xffu
static inline u64 ir_vec_pack(unsigned op, unsigned w, unsigned aux, unsigned dst, unsigned a,
                              unsigned b)
{
    return (u64)op | (u64)w << 16 | (u64)aux << 24 | (u64)dst << 32 | (u64)a << 40 | (u64)b << 48;
}

#endif

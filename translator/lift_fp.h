/* What the lifter's floating-point and vector files share. */
#ifndef DRAGOMAN_TRANSLATOR_LIFT_FP_H
#define DRAGOMAN_TRANSLATOR_LIFT_FP_H

#include "translator/ir_vec.h"
#include "translator/lift.h"

/* How an instruction maps onto vector ops. */
enum sse_kind {
    SSE_NONE,
    SSE_BIN,   /* dst = op(dst, src), imm if the row has one */
    SSE_UN,    /* dst = op(src) */
    SSE_SHIFT, /* by a vector: op; by an immediate: op2 */
    SSE_BLEND, /* dst = op(dst, src, XMM0) */
    SSE_FLAGS, /* flags = op(dst, src) */
    SSE_TO_GPR, /* general register = op(src) */
    SSE_FMA,   /* dst = op(dst, src1, src2), the opcode as imm */
    SSE_FN,    /* fn */
};

struct sse_row {
    u8 kind, w, aux;
    u16 op, op2;
    lift_fn *fn;
};
extern const struct sse_row sse_rows[OP_COUNT];

lift_fn lift_sse, lift_mmx, lift_x87;
/* lift_avx.c */
lift_fn lift_vzero, lift_vpermil, lift_vcvtps2ph, lift_vbroadcast, lift_vmaskmov, lift_vgather,
    lift_vextract, lift_vtestp;

/* True when an operand is an MMX register. */
bool lift_has_mmx(const struct insn *in);
/* Calls the helper that raises the exception of a switched-off unit, and ends the block.
 * unit: 0 x87 and FXSAVE, 1 MMX, 2 SSE. */
bool lift_unavailable(struct lift *l, unsigned unit);

/* ---- vectors (lift_sse.c) ---- */
/* The low 128 bits of a register. */
ir_ref lift_getv(struct lift *l, unsigned reg);
/* Writes a register as the instruction does: the low 128 bits, or with VEX all. */
void lift_putv(struct lift *l, unsigned reg, ir_ref v);
/* Operand i as a vector, zero above its size: XMM register, MMX register or memory. */
ir_ref lift_vec(struct lift *l, const struct insn *in, unsigned i);
/* A vector op on values, of the instruction's vector length. */
ir_ref lift_vop(struct lift *l, unsigned op, unsigned w, unsigned aux, u64 imm, ir_ref a, ir_ref b);
/* Whether op must be evaluated by helper vec_op: MXCSR unmasks an exception. */
bool lift_is_checked(const struct lift *l, unsigned op);
/* Puts operand i where vec_op finds it; its index there. */
unsigned lift_checked_operand(struct lift *l, const struct insn *in, unsigned i);
ir_ref lift_vst(struct lift *l, const struct insn *in, unsigned w, ir_ref v);
/* A register or memory integer as a vector's low bits. */
ir_ref lift_from_int(struct lift *l, unsigned w, ir_ref v);

/* ---- MMX (lift_mmx.c) ---- */
ir_ref lift_get_mm(struct lift *l, unsigned reg);

/* Offset of a field of the x87. */
#define X87_FIELD(f) offsetof(struct cpu, x87.f)

#endif

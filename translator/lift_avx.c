/* AVX and AVX2 instructions that no legacy SSE instruction resembles; the others are rows of
 * lift_sse.c.
 *
 * Touches the IR being built.  Left out: masked moves and gathers call helpers (cpu/simd_avx.c).
 */
#include "translator/lift_fp.h"

/* VZEROUPPER and VZEROALL concern the registers that the mode has. */
bool lift_vzero(struct lift *l, const struct insn *in)
{
    bool all = in->op == OP_zeroall;
    ir_ref zero = ir_emit_v(l->ir, IR_vzero, 0, W128, 0, 0, 0, 0, 0);
    for (unsigned reg = 0; reg < (l->mode == 64 ? 16 : 8); reg++)
        ir_emit_v(l->ir, IR_putv, all, W128, reg, !all, zero, 0, 0);
    return true;
}

/* By an immediate the same as PSHUFD and, with one source, SHUFPD. */
bool lift_vpermil(struct lift *l, const struct insn *in)
{
    bool single = in->op == OP_permilps, imm = in->opnd[2].kind == OPND_IMM;
    ir_ref v;
    if (imm) {
        ir_ref a = lift_vec(l, in, 1);
        v = single ? lift_vop(l, IR_vshuf, W128, 0, in->imm & 0xff, a, 0)
                   : lift_vop(l, IR_vshuf2, W128, VF_PD, in->imm & 15, a, a);
    } else {
        ir_ref control = lift_vec(l, in, 2);
        v = lift_vop(l, IR_vpermil, single ? W32 : W64, 0, 0, lift_vec(l, in, 1), control);
    }
    lift_putv(l, in->opnd[0].reg, v);
    return true;
}

/* As PTEST, of the lanes' top bits only. */
bool lift_vtestp(struct lift *l, const struct insn *in)
{
    unsigned w = in->op == OP_testps ? W32 : W64;
    ir_ref b = lift_vop(l, IR_vshri, w, 0, W_BITS(w) - 1, lift_vec(l, in, 1), 0);
    ir_ref a = lift_vop(l, IR_vshri, w, 0, W_BITS(w) - 1, lift_vec(l, in, 0), 0);
    lift_putf(l, lift_vop(l, IR_vtest, W128, 0, 0, a, b));
    return true;
}

bool lift_vcvtps2ph(struct lift *l, const struct insn *in)
{
    bool memory = lift_is_mem(in, 0);
    u64 imm = in->imm & 7;
    ir_ref v;
    /* MXCSR keeps its flags if the store faults. */
    if (memory)
        ir_call(l->ir, HELPER_probe_store, lift_linear(l, in, in->opnd[0].size, true),
                lift_const(l, W64, in->opnd[0].size), lift_const(l, W64, in->seg == SEG_SS), 0);
    if (lift_is_checked(l, IR_fptoh)) {
        unsigned dst = memory ? VEC_OPND_TEMP : in->opnd[0].reg;
        ir_ref what = lift_const(l, W64, ir_vec_pack(IR_fptoh, W128, 0, dst, in->opnd[1].reg, 0));
        ir_callv(l->ir, HELPER_vec_op, what,
                 lift_const(l, W64, imm | (u64)l->vl << 8 | 1u << 9), lift_const(l, W64, 0), 0);
        if (!memory)
            return true;
        size_t at = offsetof(struct cpu, vtmp);
        v = lift_from_int(l, W64, ir_ldenv(l->ir, W64, at));
        v = ir_emit_v(l->ir, IR_vinsr, 0, W64, 0, 1, v, ir_ldenv(l->ir, W64, at + 8), 0);
    } else {
        v = lift_vop(l, IR_fptoh, W128, 0, imm, lift_vec(l, in, 1), 0);
    }
    if (memory)
        lift_vst(l, in, lift_opnd_width(in, 0), v);
    else
        lift_putv(l, in->opnd[0].reg, v);
    return true;
}

bool lift_vbroadcast(struct lift *l, const struct insn *in)
{
    ir_ref v = lift_vec(l, in, 1);
    switch (in->op) {
    case OP_broadcastf128:
    case OP_broadcasti128: v = lift_vop(l, IR_vinsl, W128, 0, 1, v, v); break;
    case OP_pbroadcastb: v = lift_vop(l, IR_vbcast, W8, 0, 0, v, 0); break;
    case OP_pbroadcastw: v = lift_vop(l, IR_vbcast, W16, 0, 0, v, 0); break;
    case OP_broadcastss:
    case OP_pbroadcastd: v = lift_vop(l, IR_vbcast, W32, 0, 0, v, 0); break;
    default: v = lift_vop(l, IR_vbcast, W64, 0, 0, v, 0); break;
    }
    lift_putv(l, in->opnd[0].reg, v);
    return true;
}

/* VEXTRACTF128, VEXTRACTI128. */
bool lift_vextract(struct lift *l, const struct insn *in)
{
    ir_ref v = lift_vop(l, IR_vextl, W128, 0, in->imm & 1, lift_vec(l, in, 1), 0);
    if (lift_is_mem(in, 0))
        lift_vst(l, in, W128, v);
    else
        lift_putv(l, in->opnd[0].reg, v);
    return true;
}

bool lift_vmaskmov(struct lift *l, const struct insn *in)
{
    bool store = lift_is_mem(in, 0);
    bool qwords = in->op == OP_maskmovpd || in->op == OP_pmaskmovq;
    unsigned bytes = store ? in->opnd[0].size : in->opnd[2].size;
    unsigned data = in->opnd[store ? 2 : 0].reg;
    u64 what = data | in->opnd[1].reg << 8 | (qwords ? 3u : 2u) << 16 |
               (bytes >> (qwords ? 3 : 2)) << 24 | (u64)store << 32;
    ir_call(l->ir, HELPER_vmaskmov, lift_const(l, W64, what), lift_ea(l, in),
            lift_const(l, W64, in->seg | in->addrsize << 16), 0);
    return true;
}

bool lift_vgather(struct lift *l, const struct insn *in)
{
    bool qindex = in->op == OP_pgatherqd || in->op == OP_pgatherqq || in->op == OP_gatherqps ||
                  in->op == OP_gatherqpd;
    unsigned element = in->opnd[1].size, index = qindex ? 8 : 4;
    unsigned count = (in->vl ? 32 : 16) / (element > index ? element : index);
    u64 what = in->opnd[0].reg | in->opnd[2].reg << 8 | in->index << 16 |
               (element == 8 ? 3u : 2u) << 24 | (qindex ? 3u : 2u) << 28 | (u64)count << 32;
    struct insn base = *in;
    base.index = REG_NONE;
    ir_call(l->ir, HELPER_vgather, lift_const(l, W64, what), lift_ea(l, &base),
            lift_const(l, W64, in->seg | in->scale << 8 | in->addrsize << 16), 0);
    return true;
}

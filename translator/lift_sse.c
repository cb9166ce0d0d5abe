/* SSE to SSE4.2, SSE4a, AES, PCLMULQDQ, SHA, GFNI, and all that VEX encodes of vectors: one table
 * row per mnemonic, most of them one vector op.  A row serves the legacy form and the VEX forms of
 * an instruction: these have a destination of their own, one of two lengths (l->vl), and clear what
 * is above their result.
 *
 * Touches the IR being built.  MMX forms of the same mnemonics are in lift_mmx.c.  Left out:
 * MASKMOVDQU calls a helper (cpu/simd.c); while a SIMD exception is unmasked (HF_SSE_EXC) every op
 * that could raise it goes through helper vec_op, which looks.
 */
#include "translator/lift_fp.h"

/* ---- values ---- */

ir_ref lift_getv(struct lift *l, unsigned reg)
{
    return ir_emit_v(l->ir, IR_getv, 0, W128, reg, 0, 0, 0, 0);
}

void lift_putv(struct lift *l, unsigned reg, ir_ref v)
{
    ir_emit_v(l->ir, IR_putv, l->clears_upper, W128, reg, 0, v, 0, 0);
}

ir_ref lift_vop(struct lift *l, unsigned op, unsigned w, unsigned aux, u64 imm, ir_ref a, ir_ref b)
{
    return ir_emit_v(l->ir, op, l->vl, w, aux, imm, a, b, 0);
}

ir_ref lift_from_int(struct lift *l, unsigned w, ir_ref v)
{
    return ir_emit(l->ir, IR_vfromi, w, 0, 0, v, 0, 0, 0);
}

static unsigned vector_mf(const struct insn *in, unsigned w)
{
    if (!(in->row->props & ROW_ALIGN16) || w < W128)
        return lift_mf(in);
    return lift_mf(in) | (w == W128 ? MF_ALIGN16 : MF_ALIGN32);
}

/* Which operand is the first source: the destination in the legacy forms. */
static unsigned first_source(const struct insn *in)
{
    return in->vex ? 1 : 0;
}

ir_ref lift_vec(struct lift *l, const struct insn *in, unsigned i)
{
    const struct operand *o = &in->opnd[i];
    if (o->kind == OPND_REG)
        return o->cls == RC_MMX   ? lift_from_int(l, W64, lift_get_mm(l, o->reg))
               : o->cls == RC_YMM ? ir_emit_v(l->ir, IR_getv, 1, W128, o->reg, 0, 0, 0, 0)
                                  : lift_getv(l, o->reg);
    unsigned w = lift_width(o->size);
    ir_ref addr = lift_linear(l, in, o->size, false);
    if (w < W32)
        return lift_from_int(l, w, lift_ld(l, w, addr, lift_mf(in)));
    return ir_emit_v(l->ir, IR_vld, w == W256, w, vector_mf(in, w), 0, addr, 0, 0);
}

ir_ref lift_vst(struct lift *l, const struct insn *in, unsigned w, ir_ref v)
{
    ir_ref addr = lift_linear(l, in, W_BYTES(w), true);
    return ir_emit_v(l->ir, IR_vst, w == W256, w, vector_mf(in, w), 0, addr, v, 0);
}

/* ---- ops that may raise #XM ---- */

/* Puts operand i where vec_op finds it: a register as it is, memory into vtmp[0]. */
unsigned lift_checked_operand(struct lift *l, const struct insn *in, unsigned i)
{
    if (in->opnd[i].kind == OPND_REG && in->opnd[i].cls >= RC_XMM)
        return in->opnd[i].reg;
    ir_ref v = lift_vec(l, in, i);
    size_t at = offsetof(struct cpu, vtmp);
    for (unsigned h = 0; h <= (in->opnd[i].size == 32); h++, at += 16) {
        ir_ref half = h ? ir_emit_v(l->ir, IR_vextl, 1, W128, 0, 1, v, 0, 0) : v;
        ir_stenv(l->ir, W64, at, ir_emit(l->ir, IR_ifromv, W64, 0, 0, half, 0, 0, 0));
        ir_stenv(l->ir, W64, at + 8, ir_emit_v(l->ir, IR_vextr, 0, W64, 0, 1, half, 0, 0));
    }
    return VEC_OPND_TEMP;
}

bool lift_is_checked(const struct lift *l, unsigned op)
{
    return (l->hflags & HF_SSE_EXC) && (ir_briefs[op].effects & E_RMXCSR);
}

static u64 immediate(const struct insn *in)
{
    /* The legacy comparisons have only eight predicates (SDM vol. 2A, CMPPD). */
    bool eight = !in->vex && sse_rows[in->op].op == IR_fpcmp;
    return in->imm & (eight ? 7 : sse_rows[in->op].op == IR_fpcmp ? 31 : 0xff);
}

/* helper vec_op on operands a and b (indices; b may be 0xff: none); the 64-bit scalar result. */
static ir_ref checked(struct lift *l, const struct insn *in, unsigned op, unsigned w, unsigned aux,
                      unsigned dst, unsigned a, unsigned b, ir_ref integer)
{
    unsigned ra = lift_checked_operand(l, in, a);
    unsigned rb = b == 0xff ? 0 : lift_checked_operand(l, in, b);
    ir_ref what = lift_const(l, W64, ir_vec_pack(op, w, aux, dst, ra, rb));
    ir_ref imm = lift_const(l, W64, immediate(in) | (u64)l->vl << 8 | (u64)l->clears_upper << 9);
    return ir_callv(l->ir, HELPER_vec_op, what, imm, integer ? integer : lift_const(l, W64, 0), 0);
}

/* ---- rows by kind ---- */

static bool lift_bin(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    unsigned dst = in->opnd[0].reg, first = first_source(in), second = first + 1;
    if (lift_is_checked(l, row->op)) {
        checked(l, in, row->op, row->w, row->aux, dst, first, second, 0);
        return true;
    }
    ir_ref src = lift_vec(l, in, second);
    bool same = in->opnd[second].kind == OPND_REG && in->opnd[second].reg == in->opnd[first].reg &&
                in->opnd[second].cls == in->opnd[first].cls;
    /* The idioms that clear a register depend on nothing. */
    if (same && (row->op == IR_vxor || row->op == IR_vsub || row->op == IR_vandn)) {
        lift_putv(l, dst, lift_vop(l, IR_vzero, W128, 0, 0, 0, 0));
        return true;
    }
    ir_ref a = same ? src : lift_vec(l, in, first);
    lift_putv(l, dst, lift_vop(l, row->op, row->w, row->aux, immediate(in), a, src));
    return true;
}

static bool lift_un(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    unsigned dst = in->opnd[0].reg;
    if (lift_is_checked(l, row->op))
        checked(l, in, row->op, row->w, row->aux, dst, 1, 0xff, 0);
    else
        lift_putv(l, dst, lift_vop(l, row->op, row->w, row->aux, in->imm & 0xff,
                                   lift_vec(l, in, 1), 0));
    return true;
}

static bool lift_vshift(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    unsigned dst = in->opnd[0].reg, first = first_source(in);
    ir_ref src = in->opnd[first + 1].kind == OPND_IMM ? 0 : lift_vec(l, in, first + 1);
    ir_ref a = lift_vec(l, in, first);
    if (src)
        lift_putv(l, dst, lift_vop(l, row->op, row->w, 0, 0, a, src));
    else
        lift_putv(l, dst, lift_vop(l, row->op2, row->w, 0, in->imm & 0xff, a, 0));
    return true;
}

static bool lift_blend(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    unsigned first = first_source(in);
    ir_ref src = lift_vec(l, in, first + 1);
    /* The mask is XMM0, or a fourth operand. */
    ir_ref a = lift_vec(l, in, first), mask = lift_vec(l, in, first + 2);
    lift_putv(l, in->opnd[0].reg,
              ir_emit_v(l->ir, row->op, l->vl, row->w, 0, 0, a, src, mask));
    return true;
}

static bool lift_vflags(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    if (lift_is_checked(l, row->op)) {
        ir_ref f = checked(l, in, row->op, row->w, row->aux, 0, 0, 1, 0);
        lift_putf(l, ir_1(l->ir, IR_fbits, W32, ir_trunc(l->ir, W32, W64, f)));
        return true;
    }
    ir_ref b = lift_vec(l, in, 1);
    lift_putf(l, lift_vop(l, row->op, row->w, row->aux, 0, lift_vec(l, in, 0), b));
    return true;
}

/* The three operands in the order of the encoding; which of them are factors says the opcode. */
static bool lift_fma(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    unsigned dst = in->opnd[0].reg;
    if (lift_is_checked(l, row->op)) {
        unsigned c = lift_checked_operand(l, in, 2);
        u64 what = ir_vec_pack(row->op, row->w, row->aux, dst, in->opnd[1].reg, c);
        ir_callv(l->ir, HELPER_vec_op, lift_const(l, W64, what),
                 lift_const(l, W64, in->opcode | (u64)l->vl << 8 | 1u << 9), lift_const(l, W64, 0),
                 0);
        return true;
    }
    ir_ref c = lift_vec(l, in, 2), b = lift_vec(l, in, 1);
    /* Scalars change the low lane of the whole register. */
    ir_ref a = l->vl ? lift_vec(l, in, 0) : lift_getv(l, dst);
    lift_putv(l, dst, ir_emit_v(l->ir, row->op, l->vl, row->w, row->aux, in->opcode, a, b, c));
    return true;
}

/* MOVMSKPS, PMOVMSKB: a 64-bit value; CVTSS2SI: one of the destination's width. */
static bool lift_to_gpr(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    unsigned dst = in->opnd[0].reg;
    if (row->op == IR_vmovmsk) {
        ir_put(l->ir, dst, lift_vop(l, row->op, row->w, 0, 0, lift_vec(l, in, 1), 0));
        return true;
    }
    unsigned w = lift_opnd_width(in, 0);
    ir_ref v;
    if (lift_is_checked(l, row->op)) {
        v = checked(l, in, row->op, w, row->aux, 0, 1, 0xff, 0);
        v = ir_trunc(l->ir, w, W64, v);
    } else {
        v = lift_vop(l, row->op, w, row->aux, 0, lift_vec(l, in, 1), 0);
    }
    lift_put(l, dst, w, v);
    return true;
}

bool lift_sse(struct lift *l, const struct insn *in)
{
    const struct sse_row *row = &sse_rows[in->op];
    switch (row->kind) {
    case SSE_BIN: return lift_bin(l, in, row);
    case SSE_UN: return lift_un(l, in, row);
    case SSE_SHIFT: return lift_vshift(l, in, row);
    case SSE_BLEND: return lift_blend(l, in, row);
    case SSE_FLAGS: return lift_vflags(l, in, row);
    case SSE_TO_GPR: return lift_to_gpr(l, in, row);
    case SSE_FMA: return lift_fma(l, in, row);
    case SSE_FN: return row->fn(l, in);
    default: return false;
    }
}

/* ---- moves ---- */

static bool lift_movv(struct lift *l, const struct insn *in)
{
    ir_ref v = lift_vec(l, in, 1);
    if (lift_is_mem(in, 0)) {
        lift_vst(l, in, lift_opnd_width(in, 0), v);
        return true;
    }
    if (in->vex && !l->vl && !lift_is_mem(in, 1))
        v = lift_vop(l, IR_vlow, W128, 0, 0, v, 0);
    lift_putv(l, in->opnd[0].reg, v);
    return true;
}

/* MOVSS, MOVSD: a load clears the rest, a register move keeps it. */
static bool lift_mov_scalar(struct lift *l, const struct insn *in)
{
    unsigned w = in->op == OP_movss ? W32 : W64;
    if (lift_is_mem(in, 0) || lift_is_mem(in, 1))
        return lift_movv(l, in);
    unsigned first = first_source(in);
    ir_ref src = lift_vec(l, in, first + 1), a = lift_vec(l, in, first);
    lift_putv(l, in->opnd[0].reg, lift_vop(l, IR_vmovlo, w, 0, 0, a, src));
    return true;
}

/* MOVQ between XMM registers and memory, either direction. */
static bool lift_movq_low(struct lift *l, const struct insn *in)
{
    ir_ref v = lift_vec(l, in, 1);
    if (lift_is_mem(in, 0))
        lift_vst(l, in, W64, v);
    else
        lift_putv(l, in->opnd[0].reg,
                  lift_is_mem(in, 1) ? v : lift_vop(l, IR_vmovq, W128, 0, 0, v, 0));
    return true;
}

static bool lift_movd(struct lift *l, const struct insn *in)
{
    bool to_xmm = in->opnd[0].kind == OPND_REG && in->opnd[0].cls == RC_XMM;
    unsigned other = to_xmm ? 1 : 0;
    if (in->opnd[other].kind == OPND_REG && in->opnd[other].cls == RC_XMM)
        return lift_movq_low(l, in);
    if (to_xmm && lift_is_mem(in, 1)) {
        lift_putv(l, in->opnd[0].reg, lift_vec(l, in, 1));
    } else if (to_xmm) {
        unsigned w = lift_opnd_width(in, 1);
        lift_putv(l, in->opnd[0].reg, lift_from_int(l, w, lift_read(l, in, 1)));
    } else if (lift_is_mem(in, 0)) {
        lift_vst(l, in, lift_opnd_width(in, 0), lift_vec(l, in, 1));
    } else {
        unsigned w = lift_opnd_width(in, 0);
        ir_ref v = ir_emit(l->ir, IR_ifromv, w, 0, 0, lift_vec(l, in, 1), 0, 0, 0);
        lift_put(l, in->opnd[0].reg, w, v);
    }
    return true;
}

static bool lift_movlp(struct lift *l, const struct insn *in)
{
    if (lift_is_mem(in, 0)) {
        lift_vst(l, in, W64, lift_vec(l, in, 1));
        return true;
    }
    unsigned first = first_source(in);
    ir_ref src = lift_vec(l, in, first + 1), a = lift_vec(l, in, first);
    lift_putv(l, in->opnd[0].reg, lift_vop(l, IR_vmovlo, W64, 0, 0, a, src));
    return true;
}

static bool lift_movhp(struct lift *l, const struct insn *in)
{
    if (lift_is_mem(in, 0)) {
        ir_ref v = lift_vec(l, in, 1);
        lift_vst(l, in, W64, lift_vop(l, IR_vunpckh, W64, 0, 0, v, v));
        return true;
    }
    unsigned first = first_source(in);
    ir_ref src = lift_vec(l, in, first + 1), a = lift_vec(l, in, first);
    lift_putv(l, in->opnd[0].reg, lift_vop(l, IR_vunpckl, W64, 0, 0, a, src));
    return true;
}

/* MOVDDUP, MOVSLDUP, MOVSHDUP. */
static bool lift_movdup(struct lift *l, const struct insn *in)
{
    ir_ref v = lift_vec(l, in, 1);
    if (in->op == OP_movddup)
        v = lift_vop(l, IR_vunpckl, W64, 0, 0, v, v);
    else
        v = lift_vop(l, IR_vshuf, W128, 0, in->op == OP_movsldup ? 0xa0 : 0xf5, v, 0);
    lift_putv(l, in->opnd[0].reg, v);
    return true;
}

/* ---- lanes and general registers ---- */

static unsigned lane_width(unsigned op)
{
    switch (op) {
    case OP_pextrb:
    case OP_pinsrb: return W8;
    case OP_pextrw:
    case OP_pinsrw: return W16;
    case OP_pextrq:
    case OP_pinsrq: return W64;
    default: return W32;
    }
}

static bool lift_pextr(struct lift *l, const struct insn *in)
{
    unsigned w = lane_width(in->op);
    ir_ref v = lift_vop(l, IR_vextr, w, 0, in->imm & (16 / W_BYTES(w) - 1), lift_vec(l, in, 1), 0);
    if (lift_is_mem(in, 0))
        lift_st(l, w, lift_linear(l, in, W_BYTES(w), true), v, lift_mf(in));
    else
        ir_put(l->ir, in->opnd[0].reg, ir_zext(l->ir, W64, w, v));
    return true;
}

static bool lift_pinsr(struct lift *l, const struct insn *in)
{
    unsigned w = lane_width(in->op), first = first_source(in);
    ir_ref v = lift_read_w(l, in, first + 1, w), a = lift_vec(l, in, first);
    lift_putv(l, in->opnd[0].reg,
              lift_vop(l, IR_vinsr, w, 0, in->imm & (16 / W_BYTES(w) - 1), a, v));
    return true;
}

static bool lift_insertps(struct lift *l, const struct insn *in)
{
    unsigned first = first_source(in);
    /* A memory operand is one dword: the choice of the source's dword does not apply. */
    u64 imm = in->imm & (lift_is_mem(in, first + 1) ? 0x3f : 0xff);
    ir_ref src = lift_vec(l, in, first + 1), a = lift_vec(l, in, first);
    lift_putv(l, in->opnd[0].reg, lift_vop(l, IR_vinsps, W128, 0, imm, a, src));
    return true;
}

static bool lift_cvtsi2f(struct lift *l, const struct insn *in)
{
    unsigned dst = in->opnd[0].reg, first = first_source(in), w = lift_opnd_width(in, first + 1);
    unsigned aux = in->op == OP_cvtsi2ss ? VF_SS : VF_SD;
    ir_ref v = lift_read(l, in, first + 1);
    if (lift_is_checked(l, IR_fpfromg))
        checked(l, in, IR_fpfromg, w, aux, dst, first, 0xff, ir_zext(l->ir, W64, w, v));
    else
        lift_putv(l, dst, lift_vop(l, IR_fpfromg, w, aux, 0, lift_vec(l, in, first), v));
    return true;
}

/* ---- SSE4a ---- */

/* Length and index of a bit field: an immediate each, or bits 0-5 and 8-13 of `from`. */
struct field {
    ir_ref length, index; /* W8, in 0..63; a length of 0 means 64 */
};

static struct field bit_field(struct lift *l, const struct insn *in, ir_ref from)
{
    if (!from)
        return (struct field){lift_count(l, in->imm & 63), lift_count(l, in->imm2 & 63)};
    ir_ref mask = lift_count(l, 63);
    ir_ref high = ir_2(l->ir, IR_shr, W64, from, lift_count(l, 8));
    return (struct field){ir_2(l->ir, IR_and, W8, ir_trunc(l->ir, W8, W64, from), mask),
                          ir_2(l->ir, IR_and, W8, ir_trunc(l->ir, W8, W64, high), mask)};
}

/* As many ones as the field is long. */
static ir_ref field_mask(struct lift *l, struct field f)
{
    ir_ref rest = ir_2(l->ir, IR_and, W8, ir_1(l->ir, IR_neg, W8, f.length), lift_count(l, 63));
    return ir_2(l->ir, IR_shr, W64, lift_const(l, W64, ~0ull), rest);
}

static ir_ref low_qword(struct lift *l, ir_ref v)
{
    return ir_emit(l->ir, IR_ifromv, W64, 0, 0, v, 0, 0, 0);
}

/* The high qwords of the results are undefined (APM vol. 4); processors clear them. */
static bool lift_extrq(struct lift *l, const struct insn *in)
{
    bool imm = in->operands == 3;
    unsigned dst = in->opnd[0].reg;
    struct field f = bit_field(l, in, imm ? 0 : low_qword(l, lift_vec(l, in, 1)));
    ir_ref v = ir_2(l->ir, IR_shr, W64, low_qword(l, lift_getv(l, dst)), f.index);
    lift_putv(l, dst, lift_from_int(l, W64, ir_2(l->ir, IR_and, W64, v, field_mask(l, f))));
    return true;
}

static bool lift_insertq(struct lift *l, const struct insn *in)
{
    bool imm = in->operands == 4;
    unsigned dst = in->opnd[0].reg;
    ir_ref src = lift_vec(l, in, 1);
    ir_ref where = imm ? 0 : lift_vop(l, IR_vextr, W64, 0, 1, src, 0);
    struct field f = bit_field(l, in, where);
    ir_ref mask = field_mask(l, f);
    ir_ref v = ir_2(l->ir, IR_shl, W64, ir_2(l->ir, IR_and, W64, low_qword(l, src), mask), f.index);
    ir_ref hole = ir_1(l->ir, IR_not, W64, ir_2(l->ir, IR_shl, W64, mask, f.index));
    ir_ref old = ir_2(l->ir, IR_and, W64, low_qword(l, lift_getv(l, dst)), hole);
    lift_putv(l, dst, lift_from_int(l, W64, ir_2(l->ir, IR_or, W64, old, v)));
    return true;
}

/* ---- strings ---- */

/* Elements in the string of PCMPESTRI and PCMPESTRM: EAX or EDX, or the whole of it. */
static ir_ref length(struct lift *l, const struct insn *in, unsigned reg)
{
    unsigned w = in->rex & 8 ? W64 : W32;
    return ir_sext(l->ir, W64, w, lift_get(l, reg, w));
}

static bool lift_pcmpstr(struct lift *l, const struct insn *in)
{
    bool implicit = in->op == OP_pcmpistri || in->op == OP_pcmpistrm;
    bool mask = in->op == OP_pcmpistrm || in->op == OP_pcmpestrm;
    unsigned op = implicit ? IR_vistri : IR_vestri;
    u64 imm = in->imm & 0xff;
    ir_ref b = lift_vec(l, in, 1), a = lift_vec(l, in, 0);
    ir_ref na = implicit ? 0 : length(l, in, RAX), nb = implicit ? 0 : length(l, in, RDX);
    ir_ref v = ir_emit(l->ir, op + mask, W128, 0, imm, a, b, na, nb);
    ir_ref f = ir_emit(l->ir, op + 2, W128, 0, imm, a, b, na, nb);
    if (mask)
        lift_putv(l, 0, v);
    else
        ir_put(l->ir, RCX, v);
    lift_putf(l, f);
    return true;
}

/* ---- through helpers ---- */

static bool lift_maskmovdqu(struct lift *l, const struct insn *in)
{
    unsigned seg = in->seg_override ? in->seg : SEG_DS;
    ir_ref off = lift_wrap(l, ir_get(l->ir, RDI), in->addrsize);
    ir_ref addr = lift_segment(l, seg, off, 16, true);
    unsigned a = 0xff, b = 0xff;
    for (unsigned i = 0; i < in->operands; i++) {
        if (in->opnd[i].kind != OPND_REG || in->opnd[i].cls != RC_XMM)
            continue;
        if (a == 0xff)
            a = in->opnd[i].reg;
        else
            b = in->opnd[i].reg;
    }
    ir_call(l->ir, HELPER_maskmov, lift_const(l, W64, a | b << 8), addr, lift_const(l, W64, 16), 0);
    return true;
}

static bool lift_ldmxcsr(struct lift *l, const struct insn *in)
{
    ir_ref v = ir_zext(l->ir, W64, W32, lift_read_w(l, in, 0, W32));
    ir_call(l->ir, HELPER_ldmxcsr, v, lift_next(l), 0, 0);
    lift_exit_lookup(l);
    return true;
}

static bool lift_stmxcsr(struct lift *l, const struct insn *in)
{
    ir_ref v = ir_callv(l->ir, HELPER_stmxcsr, 0, 0, 0, 0);
    ir_ref addr = lift_linear(l, in, 4, true);
    lift_st(l, W32, addr, ir_trunc(l->ir, W32, W64, v), lift_mf(in));
    return true;
}

/* ---- the table ---- */

#define BIN(name, op, w, aux) [OP_##name] = {SSE_BIN, w, aux, IR_##op, 0, NULL}
#define UN(name, op, w, aux) [OP_##name] = {SSE_UN, w, aux, IR_##op, 0, NULL}
#define SHIFT(name, op, w) [OP_##name] = {SSE_SHIFT, w, 0, IR_##op, IR_##op##i, NULL}
#define FN(name, fn) [OP_##name] = {SSE_FN, 0, 0, 0, 0, fn}
#define FP2(name, op) BIN(name##ps, op, W128, VF_PS), BIN(name##pd, op, W128, VF_PD)
#define FP4(name, op) FP2(name, op), BIN(name##ss, op, W128, VF_SS), BIN(name##sd, op, W128, VF_SD)
#define LANES2(name, op) BIN(name##b, op, W8, 0), BIN(name##w, op, W16, 0)
#define LANES3(name, op) LANES2(name, op), BIN(name##d, op, W32, 0)
#define LANES4(name, op) LANES3(name, op), BIN(name##q, op, W64, 0)
#define LOGIC(pname, name, op)                                                                     \
    BIN(pname, op, W128, VD_INT), BIN(name##ps, op, W128, VD_SINGLE),                              \
        BIN(name##pd, op, W128, VD_DOUBLE)

#define FMA3(name, sf, f)                                                                          \
    [OP_##name##132##sf] = {SSE_FMA, W128, f, IR_fpfma, 0, NULL},                                  \
    [OP_##name##213##sf] = {SSE_FMA, W128, f, IR_fpfma, 0, NULL},                                  \
    [OP_##name##231##sf] = {SSE_FMA, W128, f, IR_fpfma, 0, NULL}
#define FMA2(name) FMA3(name, ps, VF_PS), FMA3(name, pd, VF_PD)
#define FMA4(name) FMA2(name), FMA3(name, ss, VF_SS), FMA3(name, sd, VF_SD)

const struct sse_row sse_rows[OP_COUNT] = {
    /* integer lanes */
    LANES4(padd, vadd), LANES4(psub, vsub), LANES2(padds, vaddss), LANES2(paddus, vaddus),
    LANES2(psubs, vsubss), LANES2(psubus, vsubus), BIN(pmullw, vmullo, W16, 0),
    BIN(pmulld, vmullo, W32, 0), BIN(pmulhw, vmulhs, W16, 0), BIN(pmulhuw, vmulhu, W16, 0),
    BIN(pmulhrsw, vmulhrs, W16, 0), BIN(pmuludq, vmuleu, W128, 0), BIN(pmuldq, vmules, W128, 0),
    BIN(pmaddwd, vmadd, W128, 0), BIN(pmaddubsw, vmaddub, W128, 0), LANES2(pavg, vavg),
    BIN(psadbw, vsad, W128, 0), BIN(pminsb, vmins, W8, 0), BIN(pminsw, vmins, W16, 0),
    BIN(pminsd, vmins, W32, 0), BIN(pminub, vminu, W8, 0), BIN(pminuw, vminu, W16, 0),
    BIN(pminud, vminu, W32, 0), BIN(pmaxsb, vmaxs, W8, 0), BIN(pmaxsw, vmaxs, W16, 0),
    BIN(pmaxsd, vmaxs, W32, 0), BIN(pmaxub, vmaxu, W8, 0), BIN(pmaxuw, vmaxu, W16, 0),
    BIN(pmaxud, vmaxu, W32, 0), LANES4(pcmpeq, vcmpeq), LANES4(pcmpgt, vcmpgt),
    LANES3(psign, vsign), UN(pabsb, vabs, W8, 0), UN(pabsw, vabs, W16, 0), UN(pabsd, vabs, W32, 0),
    BIN(phaddw, vhadd, W16, 0), BIN(phaddd, vhadd, W32, 0), BIN(phaddsw, vhaddss, W16, 0),
    BIN(phsubw, vhsub, W16, 0), BIN(phsubd, vhsub, W32, 0), BIN(phsubsw, vhsubss, W16, 0),
    UN(phminposuw, vhmin, W128, 0), BIN(mpsadbw, vmpsad, W128, 0),
    LOGIC(pand, and, vand), LOGIC(pandn, andn, vandn), LOGIC(por, or, vor), LOGIC(pxor, xor, vxor),
    [OP_ptest] = {SSE_FLAGS, W128, 0, IR_vtest, 0, NULL},
    SHIFT(psllw, vshl, W16), SHIFT(pslld, vshl, W32), SHIFT(psllq, vshl, W64),
    SHIFT(psrlw, vshr, W16), SHIFT(psrld, vshr, W32), SHIFT(psrlq, vshr, W64),
    SHIFT(psraw, vsar, W16), SHIFT(psrad, vsar, W32),
    [OP_pslldq] = {SSE_SHIFT, W128, 0, 0, IR_vshlb, NULL},
    [OP_psrldq] = {SSE_SHIFT, W128, 0, 0, IR_vshrb, NULL},
    /* moving lanes */
    BIN(packsswb, vpackss, W16, 0), BIN(packssdw, vpackss, W32, 0), BIN(packuswb, vpackus, W16, 0),
    BIN(packusdw, vpackus, W32, 0), BIN(punpcklbw, vunpckl, W8, 0), BIN(punpcklwd, vunpckl, W16, 0),
    BIN(punpckldq, vunpckl, W32, 0), BIN(punpcklqdq, vunpckl, W64, 0),
    BIN(punpckhbw, vunpckh, W8, 0), BIN(punpckhwd, vunpckh, W16, 0),
    BIN(punpckhdq, vunpckh, W32, 0), BIN(punpckhqdq, vunpckh, W64, 0),
    BIN(unpcklps, vunpckl, W32, 0), BIN(unpcklpd, vunpckl, W64, 0), BIN(unpckhps, vunpckh, W32, 0),
    BIN(unpckhpd, vunpckh, W64, 0), BIN(movlhps, vunpckl, W64, 0), BIN(movhlps, vmovhl, W128, 0),
    UN(pmovsxbw, vsx2, W8, 0), UN(pmovsxwd, vsx2, W16, 0), UN(pmovsxdq, vsx2, W32, 0),
    UN(pmovsxbd, vsx4, W8, 0), UN(pmovsxwq, vsx4, W16, 0), UN(pmovsxbq, vsx8, W8, 0),
    UN(pmovzxbw, vzx2, W8, 0), UN(pmovzxwd, vzx2, W16, 0), UN(pmovzxdq, vzx2, W32, 0),
    UN(pmovzxbd, vzx4, W8, 0), UN(pmovzxwq, vzx4, W16, 0), UN(pmovzxbq, vzx8, W8, 0),
    UN(pshufd, vshuf, W128, 0), UN(pshuflw, vshufl, W128, 0), UN(pshufhw, vshufh, W128, 0),
    BIN(shufps, vshuf2, W128, VF_PS), BIN(shufpd, vshuf2, W128, VF_PD),
    BIN(pshufb, vshufb, W128, 0),
    BIN(palignr, valign, W128, 0), BIN(pblendw, vblendi, W16, 0), BIN(blendps, vblendi, W32, 0),
    BIN(blendpd, vblendi, W64, 0), [OP_pblendvb] = {SSE_BLEND, W8, 0, IR_vblendv, 0, NULL},
    [OP_blendvps] = {SSE_BLEND, W32, 0, IR_vblendv, 0, NULL},
    [OP_blendvpd] = {SSE_BLEND, W64, 0, IR_vblendv, 0, NULL},
    [OP_pmovmskb] = {SSE_TO_GPR, W8, 0, IR_vmovmsk, 0, NULL},
    [OP_movmskps] = {SSE_TO_GPR, W32, 0, IR_vmovmsk, 0, NULL},
    [OP_movmskpd] = {SSE_TO_GPR, W64, 0, IR_vmovmsk, 0, NULL},
    FN(pextrb, lift_pextr), FN(pextrw, lift_pextr), FN(pextrd, lift_pextr), FN(pextrq, lift_pextr),
    FN(extractps, lift_pextr), FN(pinsrb, lift_pinsr), FN(pinsrw, lift_pinsr),
    FN(pinsrd, lift_pinsr), FN(pinsrq, lift_pinsr), FN(insertps, lift_insertps),
    /* cryptography */
    BIN(aesenc, aesenc, W128, 0), BIN(aesenclast, aesenclast, W128, 0),
    BIN(aesdec, aesdec, W128, 0), BIN(aesdeclast, aesdeclast, W128, 0),
    UN(aesimc, aesimc, W128, 0), UN(aeskeygenassist, aeskeygen, W128, 0),
    BIN(pclmulqdq, clmul, W128, 0), BIN(sha1rnds4, sha1rnds, W128, 0),
    BIN(sha1nexte, sha1next, W128, 0), BIN(sha1msg1, sha1msg1, W128, 0),
    BIN(sha1msg2, sha1msg2, W128, 0), BIN(sha256msg1, sha256msg1, W128, 0),
    BIN(sha256msg2, sha256msg2, W128, 0),
    [OP_sha256rnds2] = {SSE_BLEND, W128, 0, IR_sha256rnds, 0, NULL},
    BIN(gf2p8mulb, gfmul, W128, 0), BIN(gf2p8affineqb, gfaffine, W128, 0),
    BIN(gf2p8affineinvqb, gfaffinv, W128, 0),
    /* floating point */
    FP4(add, fpadd), FP4(sub, fpsub), FP4(mul, fpmul), FP4(div, fpdiv), FP4(min, fpmin),
    FP4(max, fpmax), UN(sqrtps, fpsqrt, W128, VF_PS), UN(sqrtpd, fpsqrt, W128, VF_PD),
    BIN(sqrtss, fpsqrts, W128, VF_SS), BIN(sqrtsd, fpsqrts, W128, VF_SD),
    UN(rsqrtps, fprsqrt, W128, 0), BIN(rsqrtss, fprsqrts, W128, 0), UN(rcpps, fprcp, W128, 0),
    BIN(rcpss, fprcps, W128, 0), FP2(cmp, fpcmp), BIN(cmpss, fpcmp, W128, VF_SS),
    BIN(cmpsd_sse, fpcmp, W128, VF_SD), FP2(addsub, fpaddsub), FP2(hadd, fphadd),
    FP2(hsub, fphsub), BIN(dpps, fpdp, W128, VF_PS), BIN(dppd, fpdp, W128, VF_PD),
    UN(roundps, fpround, W128, VF_PS), UN(roundpd, fpround, W128, VF_PD),
    BIN(roundss, fprounds, W128, VF_SS), BIN(roundsd, fprounds, W128, VF_SD),
    [OP_comiss] = {SSE_FLAGS, W128, VF_SS, IR_fpcomi, 0, NULL},
    [OP_comisd] = {SSE_FLAGS, W128, VF_SD, IR_fpcomi, 0, NULL},
    [OP_ucomiss] = {SSE_FLAGS, W128, VF_SS, IR_fpucomi, 0, NULL},
    [OP_ucomisd] = {SSE_FLAGS, W128, VF_SD, IR_fpucomi, 0, NULL},
    /* conversions */
    UN(cvtdq2ps, fpfromi, W128, VF_PS), UN(cvtdq2pd, fpfromi, W128, VF_PD),
    UN(cvtps2dq, fptoi, W128, VF_PS), UN(cvtpd2dq, fptoi, W128, VF_PD),
    UN(cvttps2dq, fptoit, W128, VF_PS), UN(cvttpd2dq, fptoit, W128, VF_PD),
    UN(cvtps2pd, fpcvt, W128, VF_PS), UN(cvtpd2ps, fpcvt, W128, VF_PD),
    BIN(cvtss2sd, fpcvts, W128, VF_SS), BIN(cvtsd2ss, fpcvts, W128, VF_SD),
    FN(cvtsi2ss, lift_cvtsi2f), FN(cvtsi2sd, lift_cvtsi2f),
    [OP_cvtss2si] = {SSE_TO_GPR, 0, VF_SS, IR_fptog, 0, NULL},
    [OP_cvtsd2si] = {SSE_TO_GPR, 0, VF_SD, IR_fptog, 0, NULL},
    [OP_cvttss2si] = {SSE_TO_GPR, 0, VF_SS, IR_fptogt, 0, NULL},
    [OP_cvttsd2si] = {SSE_TO_GPR, 0, VF_SD, IR_fptogt, 0, NULL},
    /* moves */
    FN(movaps, lift_movv), FN(movapd, lift_movv), FN(movups, lift_movv), FN(movupd, lift_movv),
    FN(movdqa, lift_movv), FN(movdqu, lift_movv), FN(lddqu, lift_movv), FN(movntdqa, lift_movv),
    FN(movntps, lift_movv), FN(movntpd, lift_movv), FN(movntdq, lift_movv),
    FN(movntss, lift_movv), FN(movntsd, lift_movv), FN(extrq, lift_extrq),
    FN(insertq, lift_insertq),
    FN(movss, lift_mov_scalar), FN(movsd_sse, lift_mov_scalar), FN(movd, lift_movd),
    FN(movq, lift_movd), FN(movlps, lift_movlp), FN(movlpd, lift_movlp), FN(movhps, lift_movhp),
    FN(movhpd, lift_movhp), FN(movddup, lift_movdup), FN(movsldup, lift_movdup),
    FN(movshdup, lift_movdup),
    /* strings */
    FN(pcmpestri, lift_pcmpstr), FN(pcmpestrm, lift_pcmpstr), FN(pcmpistri, lift_pcmpstr),
    FN(pcmpistrm, lift_pcmpstr),
    /* helpers */
    FN(maskmovdqu, lift_maskmovdqu), FN(ldmxcsr, lift_ldmxcsr), FN(stmxcsr, lift_stmxcsr),
    /* AVX, AVX2, FMA, F16C (lift_avx.c) */
    FN(zeroupper, lift_vzero), FN(zeroall, lift_vzero), BIN(perm2f128, vperm2, W128, 0),
    BIN(perm2i128, vperm2, W128, 0), FN(permilps, lift_vpermil), FN(permilpd, lift_vpermil),
    FN(testps, lift_vtestp), FN(testpd, lift_vtestp),
    UN(cvtph2ps, fpfromh, W128, 0), FN(cvtps2ph, lift_vcvtps2ph),
    BIN(permps, vpermd, W128, 0), BIN(permd, vpermd, W128, 0), UN(permq, vpermq, W128, 0),
    UN(permpd, vpermq, W128, 0), FN(broadcastss, lift_vbroadcast), FN(broadcastsd, lift_vbroadcast),
    FN(broadcastf128, lift_vbroadcast), FN(broadcasti128, lift_vbroadcast),
    FN(pbroadcastb, lift_vbroadcast), FN(pbroadcastw, lift_vbroadcast),
    FN(pbroadcastd, lift_vbroadcast), FN(pbroadcastq, lift_vbroadcast),
    FN(maskmovps, lift_vmaskmov), FN(maskmovpd, lift_vmaskmov), FN(pmaskmovd, lift_vmaskmov),
    FN(pmaskmovq, lift_vmaskmov), BIN(psrlvd, vshrv, W32, 0), BIN(psrlvq, vshrv, W64, 0),
    BIN(psravd, vsarv, W32, 0), BIN(psllvd, vshlv, W32, 0), BIN(psllvq, vshlv, W64, 0),
    FN(pgatherdd, lift_vgather), FN(pgatherdq, lift_vgather), FN(pgatherqd, lift_vgather),
    FN(pgatherqq, lift_vgather), FN(gatherdps, lift_vgather), FN(gatherdpd, lift_vgather),
    FN(gatherqps, lift_vgather), FN(gatherqpd, lift_vgather), BIN(pblendd, vblendi, W32, 0),
    BIN(insertf128, vinsl, W128, 0), BIN(inserti128, vinsl, W128, 0),
    FN(extractf128, lift_vextract), FN(extracti128, lift_vextract),
    FMA4(fmadd), FMA4(fmsub), FMA4(fnmadd), FMA4(fnmsub), FMA2(fmaddsub), FMA2(fmsubadd),
};

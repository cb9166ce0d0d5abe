/* MMX: the rows of lift_sse.c on the low 64 bits, with the x87's registers as operands.
 *
 * Every MMX instruction but EMMS makes TOP 0 and all tags valid, and a written register's exponent
 * all ones (SDM vol. 1, 9.5.1).  Loads and stores come before that, so that faults find the x87
 * as it was.  Ops that gather across the two operands see them side by side in one vector.
 */
#include "translator/lift_fp.h"

static size_t mm_offset(unsigned reg)
{
    return X87_FIELD(r) + (reg & 7) * sizeof(struct fpreg);
}

ir_ref lift_get_mm(struct lift *l, unsigned reg)
{
    return ir_ldenv(l->ir, W64, mm_offset(reg));
}

/* The state change of an MMX instruction; after everything that can fault.  Nothing but x87 code
 * undoes it (lift_fp.c). */
static void enter_mmx(struct lift *l)
{
    if (l->mmx_entered)
        return;
    l->mmx_entered = true;
    ir_ref fsw = ir_ldenv(l->ir, W16, X87_FIELD(fsw));
    ir_stenv(l->ir, W16, X87_FIELD(fsw),
             ir_2(l->ir, IR_and, W16, fsw, lift_const(l, W16, (u16)~0x3800)));
    ir_stenv(l->ir, W8, X87_FIELD(ftw), lift_const(l, W8, 0xff));
}

static void put_mm(struct lift *l, unsigned reg, ir_ref v)
{
    enter_mmx(l);
    ir_stenv(l->ir, W64, mm_offset(reg), v);
    ir_stenv(l->ir, W16, mm_offset(reg) + offsetof(struct fpreg, sexp), lift_const(l, W16, 0xffff));
}

static ir_ref low(struct lift *l, ir_ref v)
{
    return ir_emit(l->ir, IR_ifromv, W64, 0, 0, v, 0, 0, 0);
}

/* Operand i, an MMX register or 64 bits of memory, as a vector. */
static ir_ref operand(struct lift *l, const struct insn *in, unsigned i)
{
    return lift_vec(l, in, i);
}

/* dst op src, both in the low halves of a and b. */
static ir_ref binary(struct lift *l, const struct insn *in, const struct sse_row *row, ir_ref a,
                     ir_ref b)
{
    ir_ref both;
    switch (row->op) {
    case IR_vpackss:
    case IR_vpackus:
    case IR_vhadd:
    case IR_vhaddss:
    case IR_vhsub:
    case IR_vhsubss:
        both = lift_vop(l, IR_vunpckl, W64, 0, 0, a, b);
        return lift_vop(l, row->op, row->w, 0, 0, both, both);
    case IR_vunpckh:
        both = lift_vop(l, IR_vunpckl, row->w, 0, 0, a, b);
        return lift_vop(l, IR_vunpckh, W64, 0, 0, both, both);
    case IR_vshufb: /* the index has three bits */
        b = lift_vop(l, IR_vand, W128, 0, 0, b,
                     lift_from_int(l, W64, lift_const(l, W64, 0x8787878787878787)));
        return lift_vop(l, IR_vshufb, W128, 0, 0, a, b);
    case IR_valign:
        both = lift_vop(l, IR_vunpckl, W64, 0, 0, b, a);
        return lift_vop(l, IR_vshrb, W128, 0, in->imm & 0xff, both, 0);
    default:
        return lift_vop(l, row->op, row->w, 0, in->imm & 0xff, a, b);
    }
}

static bool lift_mmx_row(struct lift *l, const struct insn *in, const struct sse_row *row)
{
    unsigned dst = in->opnd[0].reg;
    ir_ref b = in->opnd[1].kind == OPND_IMM ? 0 : operand(l, in, 1);
    ir_ref a = lift_from_int(l, W64, lift_get_mm(l, dst)), r;
    switch (row->kind) {
    case SSE_BIN: r = binary(l, in, row, a, b); break;
    case SSE_UN: r = lift_vop(l, row->op, row->w, 0, in->imm & 0xff, b, 0); break;
    case SSE_SHIFT:
        r = b ? lift_vop(l, row->op, row->w, 0, 0, a, b)
              : lift_vop(l, row->op2, row->w, 0, in->imm & 0xff, a, 0);
        break;
    default: return false;
    }
    put_mm(l, dst, low(l, r));
    return true;
}

/* MOVD, MOVQ, MOVNTQ. */
static bool lift_mmx_mov(struct lift *l, const struct insn *in)
{
    if (in->opnd[0].kind == OPND_REG && in->opnd[0].cls == RC_MMX) {
        bool mm = in->opnd[1].kind == OPND_REG && in->opnd[1].cls == RC_MMX;
        unsigned w = lift_opnd_width(in, 1);
        ir_ref v = mm ? lift_get_mm(l, in->opnd[1].reg)
                      : ir_zext(l->ir, W64, w, lift_read(l, in, 1));
        put_mm(l, in->opnd[0].reg, v);
        return true;
    }
    unsigned w = lift_opnd_width(in, 0);
    lift_write(l, in, 0, ir_trunc(l->ir, w, W64, lift_get_mm(l, in->opnd[1].reg)));
    enter_mmx(l);
    return true;
}

static bool lift_mmx_lane(struct lift *l, const struct insn *in)
{
    unsigned dst = in->opnd[0].reg;
    ir_ref v;
    switch (in->op) {
    case OP_pmovmskb:
        v = lift_vop(l, IR_vmovmsk, W8, 0, 0, operand(l, in, 1), 0);
        enter_mmx(l);
        ir_put(l->ir, dst, v);
        return true;
    case OP_pextrw:
        v = lift_vop(l, IR_vextr, W16, 0, in->imm & 3, operand(l, in, 1), 0);
        enter_mmx(l);
        ir_put(l->ir, dst, ir_zext(l->ir, W64, W16, v));
        return true;
    default: /* PINSRW */
        v = lift_read_w(l, in, 1, W16);
        v = ir_emit(l->ir, IR_deposit, W64, W16, (in->imm & 3) * 16, lift_get_mm(l, dst), v, 0, 0);
        put_mm(l, dst, v);
        return true;
    }
}

static bool lift_maskmovq(struct lift *l, const struct insn *in)
{
    unsigned seg = in->seg_override ? in->seg : SEG_DS, reg[2] = {0, 0}, n = 0;
    ir_ref off = lift_wrap(l, ir_get(l->ir, RDI), in->addrsize);
    ir_ref addr = lift_segment(l, seg, off, 8, true);
    for (unsigned i = 0; i < in->operands && n < 2; i++) {
        if (in->opnd[i].kind == OPND_REG && in->opnd[i].cls == RC_MMX)
            reg[n++] = in->opnd[i].reg & 7u;
    }
    ir_call(l->ir, HELPER_maskmov, lift_const(l, W64, reg[0] | reg[1] << 8), addr,
            lift_const(l, W64, 8), 0);
    enter_mmx(l);
    return true;
}

/* ---- between MMX and XMM ---- */

static bool lift_movq2dq(struct lift *l, const struct insn *in)
{
    ir_ref v = operand(l, in, 1);
    enter_mmx(l);
    lift_putv(l, in->opnd[0].reg, v);
    return true;
}

static bool lift_movdq2q(struct lift *l, const struct insn *in)
{
    put_mm(l, in->opnd[0].reg, low(l, lift_getv(l, in->opnd[1].reg)));
    return true;
}

/* The conversion as a vector op, or through vec_op with its operand and result in vtmp when
 * exceptions must be seen. */
static ir_ref convert(struct lift *l, unsigned op, unsigned aux, ir_ref v)
{
    if (!(l->hflags & HF_SSE_EXC))
        return lift_vop(l, op, W128, aux, 0, v, 0);
    size_t at = offsetof(struct cpu, vtmp);
    ir_stenv(l->ir, W64, at, low(l, v));
    ir_stenv(l->ir, W64, at + 8, lift_vop(l, IR_vextr, W64, 0, 1, v, 0));
    ir_ref what = lift_const(l, W64, ir_vec_pack(op, W128, aux, VEC_OPND_TEMP, VEC_OPND_TEMP, 0));
    ir_callv(l->ir, HELPER_vec_op, what, lift_const(l, W64, 0), lift_const(l, W64, 0), 0);
    ir_ref lo = lift_from_int(l, W64, ir_ldenv(l->ir, W64, at));
    return lift_vop(l, IR_vinsr, W64, 0, 1, lo, ir_ldenv(l->ir, W64, at + 8));
}

/* CVTPI2PS, CVTPI2PD. */
static bool lift_from_mmx(struct lift *l, const struct insn *in)
{
    unsigned dst = in->opnd[0].reg;
    bool single = in->op == OP_cvtpi2ps;
    ir_ref v = convert(l, IR_fpfromi, single ? VF_PS : VF_PD, operand(l, in, 1));
    /* From memory they leave the x87 alone (SDM vol. 2A, CVTPI2PD; processors do both so). */
    if (!lift_is_mem(in, 1))
        enter_mmx(l);
    if (single)
        v = lift_vop(l, IR_vmovlo, W64, 0, 0, lift_getv(l, dst), v);
    lift_putv(l, dst, v);
    return true;
}

/* CVT(T)PS2PI, CVT(T)PD2PI. */
static bool lift_to_mmx(struct lift *l, const struct insn *in)
{
    bool truncate = in->op == OP_cvttps2pi || in->op == OP_cvttpd2pi;
    bool single = in->op == OP_cvtps2pi || in->op == OP_cvttps2pi;
    ir_ref v = lift_vec(l, in, 1);
    if (single) /* the upper half must not raise anything */
        v = lift_vop(l, IR_vmovq, W128, 0, 0, v, 0);
    v = convert(l, truncate ? IR_fptoit : IR_fptoi, single ? VF_PS : VF_PD, v);
    put_mm(l, in->opnd[0].reg, low(l, v));
    return true;
}

bool lift_mmx(struct lift *l, const struct insn *in)
{
    /* CVTPI2PS and CVTPI2PD from memory are no MMX instructions but for their name. */
    bool foreign = lift_is_mem(in, 1) && (in->op == OP_cvtpi2ps || in->op == OP_cvtpi2pd);
    if (!l->mmx_checked && !foreign) {
        ir_call(l->ir, HELPER_mmx_check, 0, 0, 0, 0);
        l->mmx_checked = true;
    }
    switch (in->op) {
    case OP_emms: /* TOP too becomes 0, as processors do */
        enter_mmx(l);
        ir_stenv(l->ir, W8, X87_FIELD(ftw), lift_const(l, W8, 0));
        l->mmx_entered = false;
        return true;
    case OP_movd:
    case OP_movq:
    case OP_movntq: return lift_mmx_mov(l, in);
    case OP_pmovmskb:
    case OP_pextrw:
    case OP_pinsrw: return lift_mmx_lane(l, in);
    case OP_pshufw: {
        static const struct sse_row row = {SSE_UN, W128, 0, IR_vshufl, 0, NULL};
        return lift_mmx_row(l, in, &row);
    }
    case OP_maskmovq: return lift_maskmovq(l, in);
    case OP_movq2dq: return lift_movq2dq(l, in);
    case OP_movdq2q: return lift_movdq2q(l, in);
    case OP_cvtpi2ps:
    case OP_cvtpi2pd: return lift_from_mmx(l, in);
    case OP_cvtps2pi:
    case OP_cvtpd2pi:
    case OP_cvttps2pi:
    case OP_cvttpd2pi: return lift_to_mmx(l, in);
    default: return lift_mmx_row(l, in, &sse_rows[in->op]);
    }
}

/* Vectors of 256 bits as two of 128, for engines without the former (the portable engine, hosts
 * without AVX2): rewrites the ops of one guest instruction, so that every vl is 0.
 *
 * Touches the IR being built.  A value of 256 bits becomes two; the halves of most ops are the op
 * itself on the halves of its operands.  Results do not differ from those of the whole op, MXCSR's
 * flags included.
 */
#include "translator/lift_fp.h"

struct narrow {
    struct ir *ir;
    ir_ref lo[IR_MAX], hi[IR_MAX]; /* what became of each old op; hi 0: zero or none */
    ir_ref zero;
};

static ir_ref op(struct narrow *n, enum ir_op op, unsigned w, unsigned aux, u64 imm, ir_ref a,
                 ir_ref b)
{
    return ir_emit(n->ir, op, w, aux, imm, a, b, 0, 0);
}

static ir_ref high(struct narrow *n, ir_ref old)
{
    if (n->hi[old])
        return n->hi[old];
    if (!n->zero)
        n->zero = op(n, IR_vzero, W128, 0, 0, 0, 0);
    return n->zero;
}

/* The qwords of v from k on, in the low ones. */
static ir_ref from_qword(struct narrow *n, ir_ref v, unsigned bytes)
{
    return bytes ? op(n, IR_vshrb, W128, 0, bytes, v, 0) : v;
}

/* Immediates that have a part for each half. */
static u64 half_imm(const struct ir_insn *in, unsigned half)
{
    unsigned shift = 0;
    switch (in->op) {
    case IR_vblendi: shift = in->w == W32 ? 4 : in->w == W64 ? 2 : 0; break;
    case IR_vshuf2: shift = in->aux == VF_PD ? 2 : 0; break;
    case IR_vmpsad: shift = 3; break;
    }
    return half ? in->imm >> shift : in->imm;
}

static void each_half(struct narrow *n, unsigned i, const struct ir_insn *in)
{
    const char *letters = ir_ops[in->op].in;
    /* The count of shifts is one for both. */
    bool count = in->op == IR_vshl || in->op == IR_vshr || in->op == IR_vsar;
    ir_ref r[2];
    for (unsigned h = 0; h < 2; h++) {
        struct ir_insn half = *in;
        half.vl = 0;
        half.imm = half_imm(in, h);
        for (unsigned k = 0; k < ir_args(in); k++) {
            ir_ref old = in->arg[k];
            bool whole = letters[k] != 'v' || !h || (count && k == 1);
            half.arg[k] = whole ? n->lo[old] : high(n, old);
        }
        r[h] = ir_emit(n->ir, in->op, in->w, in->aux, half.imm, half.arg[0], half.arg[1],
                       half.arg[2], 0);
    }
    n->lo[i] = r[0];
    n->hi[i] = r[1];
}

/* Ops whose result has lanes twice, four or eight times as wide as the operand's. */
static void widen(struct narrow *n, unsigned i, const struct ir_insn *in, unsigned factor)
{
    ir_ref a = n->lo[in->arg[0]];
    n->lo[i] = op(n, in->op, in->w, in->aux, in->imm, a, 0);
    n->hi[i] = op(n, in->op, in->w, in->aux, in->imm, from_qword(n, a, 16 / factor), 0);
}

static void shrink(struct narrow *n, unsigned i, const struct ir_insn *in)
{
    ir_ref lo = op(n, in->op, in->w, in->aux, in->imm, n->lo[in->arg[0]], 0);
    ir_ref hi = op(n, in->op, in->w, in->aux, in->imm, high(n, in->arg[0]), 0);
    n->lo[i] = op(n, IR_vunpckl, W64, 0, 0, lo, hi);
}

static ir_ref half_of(struct narrow *n, ir_ref old, unsigned half)
{
    return half ? high(n, old) : n->lo[old];
}

static ir_ref perm2_half(struct narrow *n, const struct ir_insn *in, unsigned sel)
{
    return sel & 8 ? high(n, 0) : half_of(n, in->arg[sel >> 1 & 1], sel & 1);
}

/* Two qwords chosen from four. */
static ir_ref two_qwords(struct narrow *n, ir_ref a, unsigned imm)
{
    return op(n, IR_vshuf2, W128, VF_PD, (imm & 1) | (imm >> 1 & 2), half_of(n, a, imm >> 1 & 1),
              half_of(n, a, imm >> 3 & 1));
}

/* Dwords of b by index: from each half as VPERMILPS does, then by bit 2. */
static ir_ref eight_dwords(struct narrow *n, ir_ref index, ir_ref b)
{
    ir_ref lo = op(n, IR_vpermil, W32, 0, 0, n->lo[b], index);
    ir_ref hi = op(n, IR_vpermil, W32, 0, 0, high(n, b), index);
    ir_ref top = op(n, IR_vshli, W32, 0, 29, index, 0);
    return ir_3(n->ir, IR_vblendv, W32, lo, hi, top);
}

/* ZF and CF of both halves: those of a & b and of ~a & b ORed over them. */
static void test(struct narrow *n, unsigned i, const struct ir_insn *in)
{
    ir_ref both = 0, only_b = 0;
    for (unsigned h = 0; h < 2; h++) {
        ir_ref a = half_of(n, in->arg[0], h), b = half_of(n, in->arg[1], h);
        ir_ref and = op(n, IR_vand, W128, VD_INT, 0, a, b);
        ir_ref andn = op(n, IR_vandn, W128, VD_INT, 0, a, b);
        both = h ? op(n, IR_vor, W128, VD_INT, 0, both, and) : and;
        only_b = h ? op(n, IR_vor, W128, VD_INT, 0, only_b, andn) : andn;
    }
    ir_ref zf = op(n, IR_vtest, W128, 0, 0, both, both);
    ir_ref cf = op(n, IR_vtest, W128, 0, 0, only_b, only_b);
    n->lo[i] = op(n, IR_fbit, 0, 0, FL_CF, zf, ir_setcc(n->ir, 4, cf));
}

static void memory(struct narrow *n, unsigned i, const struct ir_insn *in)
{
    ir_ref addr = n->lo[in->arg[0]];
    if (in->op == IR_vst) {
        ir_emit(n->ir, IR_vst2, W256, in->aux, 0, addr, n->lo[in->arg[1]], high(n, in->arg[1]), 0);
        return;
    }
    ir_ref above = ir_2(n->ir, IR_add, W64, addr, ir_const(n->ir, W64, 16));
    n->lo[i] = op(n, IR_vld, W128, in->aux, 0, addr, 0);
    n->hi[i] = op(n, IR_vld, W128, in->aux & ~(unsigned)MF_ALIGN32, 0, above, 0);
}

static void mask_bits(struct narrow *n, unsigned i, const struct ir_insn *in)
{
    ir_ref lo = op(n, in->op, in->w, 0, 0, n->lo[in->arg[0]], 0);
    ir_ref hi = op(n, in->op, in->w, 0, 0, high(n, in->arg[0]), 0);
    hi = ir_2(n->ir, IR_shl, W64, hi, ir_const(n->ir, W8, 16 >> in->w));
    n->lo[i] = ir_2(n->ir, IR_or, W64, lo, hi);
}

static void insert_half(struct narrow *n, unsigned i, const struct ir_insn *in)
{
    ir_ref b = n->lo[in->arg[1]];
    n->lo[i] = in->imm & 1 ? n->lo[in->arg[0]] : b;
    n->hi[i] = in->imm & 1 ? b : high(n, in->arg[0]);
}

static void narrow_wide(struct narrow *n, unsigned i, const struct ir_insn *in)
{
    switch (in->op) {
    case IR_getv:
        n->lo[i] = op(n, IR_getv, W128, in->aux, 0, 0, 0);
        n->hi[i] = op(n, IR_getv, W128, in->aux, 1, 0, 0);
        break;
    case IR_putv: {
        ir_ref hi = high(n, in->arg[0]);
        op(n, IR_putv, W128, in->aux, 0, n->lo[in->arg[0]], 0);
        op(n, IR_putv, W128, in->aux, 1, hi, 0);
        break;
    }
    case IR_vld:
    case IR_vst: memory(n, i, in); break;
    case IR_vsx2:
    case IR_vzx2:
    case IR_fpfromh: widen(n, i, in, 2); break;
    case IR_vsx4:
    case IR_vzx4: widen(n, i, in, 4); break;
    case IR_vsx8:
    case IR_vzx8: widen(n, i, in, 8); break;
    case IR_fpcvt:
        if (in->aux == VF_PS)
            widen(n, i, in, 2);
        else
            shrink(n, i, in);
        break;
    case IR_fptoh: shrink(n, i, in); break;
    case IR_fpfromi:
        if (in->aux == VF_PD)
            widen(n, i, in, 2);
        else
            each_half(n, i, in);
        break;
    case IR_fptoi:
    case IR_fptoit:
        if (in->aux == VF_PD)
            shrink(n, i, in);
        else
            each_half(n, i, in);
        break;
    case IR_vbcast:
        n->lo[i] = n->hi[i] = op(n, in->op, in->w, 0, 0, n->lo[in->arg[0]], 0);
        break;
    case IR_vinsl: insert_half(n, i, in); break;
    case IR_vextl: n->lo[i] = half_of(n, in->arg[0], in->imm & 1); break;
    case IR_vperm2:
        n->lo[i] = perm2_half(n, in, in->imm & 15);
        n->hi[i] = perm2_half(n, in, in->imm >> 4 & 15);
        break;
    case IR_vpermq:
        n->lo[i] = two_qwords(n, in->arg[0], in->imm & 15);
        n->hi[i] = two_qwords(n, in->arg[0], in->imm >> 4 & 15);
        break;
    case IR_vpermd:
        n->lo[i] = eight_dwords(n, n->lo[in->arg[0]], in->arg[1]);
        n->hi[i] = eight_dwords(n, high(n, in->arg[0]), in->arg[1]);
        break;
    case IR_vtest: test(n, i, in); break;
    case IR_vmovmsk: mask_bits(n, i, in); break;
    default: each_half(n, i, in); break;
    }
}

void lift_narrow(struct lift *l, unsigned first)
{
    struct narrow n;
    struct ir_insn old[NARROW_MAX];
    unsigned count = l->ir->count - first;
    if (count > NARROW_MAX)
        return; /* only ENTER has that many, which has no vectors */
    bool wide = false;
    for (unsigned i = 0; i < count; i++)
        wide |= l->ir->insns[first + i].vl;
    if (!wide)
        return;
    memcpy(old, &l->ir->insns[first], count * sizeof old[0]);
    n.ir = l->ir;
    n.zero = 0;
    l->ir->count = first;
    n.lo[0] = n.hi[0] = 0;
    for (unsigned i = 0; i < count; i++) {
        struct ir_insn *in = &old[i];
        unsigned at = first + i;
        n.lo[at] = n.hi[at] = 0;
        if (in->vl) {
            narrow_wide(&n, at, in);
            continue;
        }
        for (unsigned k = 0; k < 4; k++)
            in->arg[k] = in->arg[k] >= first ? n.lo[in->arg[k]] : in->arg[k];
        n.lo[at] = (ir_ref)n.ir->count;
        n.ir->insns[n.ir->count++] = *in;
    }
}

/* x87, MMX, SSE and state-saving instructions: who lifts what, and whether the unit is on.
 *
 * Touches the IR being built.  CR0.EM, CR0.TS and CR4.OSFXSR are in the block's key as HF_NOFPU
 * and HF_NOSSE; which exception a switched-off unit raises is for the helper to say.
 */
#include "translator/lift_fp.h"

bool lift_has_mmx(const struct insn *in)
{
    for (unsigned i = 0; i < in->operands; i++) {
        if (in->opnd[i].kind == OPND_REG && in->opnd[i].cls == RC_MMX)
            return true;
    }
    /* The conversions count as MMX even with their source in memory. */
    return in->op == OP_emms || in->op == OP_cvtpi2ps || in->op == OP_cvtpi2pd;
}

static bool has_xmm(const struct insn *in)
{
    for (unsigned i = 0; i < in->operands; i++) {
        if (in->opnd[i].kind == OPND_REG && in->opnd[i].cls == RC_XMM)
            return true;
    }
    return false;
}

/* VEX-encoded vectors: XCR0 decides, CR0.EM and CR4.OSFXSR do not (SDM vol. 2A 2.4). */
static bool lift_avx(struct lift *l, const struct insn *in)
{
    if (!(l->hflags & HF_AVX) || sse_rows[in->op].kind == SSE_NONE)
        return false;
    if (l->hflags & HF_NOFPU) /* TS or EM: the helper knows, and comes back for EM */
        ir_call(l->ir, HELPER_fp_unavailable, lift_const(l, W64, 3), 0, 0, 0);
    l->clears_upper = true;
    for (unsigned i = 0; i < in->operands; i++)
        l->vl |= in->opnd[i].size == 32;
    return lift_sse(l, in);
}

bool lift_unavailable(struct lift *l, unsigned unit)
{
    ir_call(l->ir, HELPER_fp_unavailable, lift_const(l, W64, unit), 0, 0, 0);
    /* The helper does not come back. */
    lift_raise(l, EXC_UD);
    return true;
}

static bool lift_image(struct lift *l, const struct insn *in)
{
    unsigned form = 0; /* bit 0 is set below: the rows with REX.W */
    enum helper h;
    switch (in->op) {
    case OP_fxsave:
    case OP_fxsave64: h = HELPER_fxsave; break;
    case OP_fxrstor:
    case OP_fxrstor64: h = HELPER_fxrstor; break;
    case OP_xrstor:
    case OP_xrstor64: h = HELPER_xrstor; break;
    case OP_xrstors:
    case OP_xrstors64: h = HELPER_xrstor, form |= 8; break;
    case OP_xsaveopt:
    case OP_xsaveopt64: h = HELPER_xsave, form |= 2; break;
    case OP_xsavec:
    case OP_xsavec64: h = HELPER_xsave, form |= 4; break;
    case OP_xsaves:
    case OP_xsaves64: h = HELPER_xsave, form |= 4 | 8; break;
    default: h = HELPER_xsave; break;
    }
    form |= (in->rex & 8) != 0;
    bool restores = h == HELPER_fxrstor || h == HELPER_xrstor;
    ir_ref addr = lift_linear(l, in, 255, !restores);
    ir_call(l->ir, h, addr, lift_const(l, W64, form), restores ? lift_next(l) : 0, 0);
    if (restores) /* MXCSR may have changed the mode */
        lift_exit_lookup(l);
    return true;
}

bool lift_fp(struct lift *l, const struct insn *in)
{
    l->vl = 0;
    l->clears_upper = false;
    if (in->vex)
        return lift_avx(l, in);
    switch (in->op) {
    case OP_fxsave:
    case OP_fxsave64:
    case OP_fxrstor:
    case OP_fxrstor64:
        return l->hflags & HF_NOFPU ? lift_unavailable(l, 0) : lift_image(l, in);
    case OP_xsave:
    case OP_xsave64:
    case OP_xrstor:
    case OP_xrstor64:
    case OP_xsaveopt:
    case OP_xsaveopt64:
    case OP_xsavec:
    case OP_xsavec64:
    case OP_xsaves:
    case OP_xsaves64:
    case OP_xrstors:
    case OP_xrstors64:
        return lift_image(l, in);
    case OP_wait:
        ir_call(l->ir, HELPER_fwait, 0, 0, 0, 0);
        return true;
    default:
        break;
    }
    if (lift_has_mmx(in)) {
        /* Those that name an XMM register too need both units. */
        if ((l->hflags & HF_NOSSE) && has_xmm(in))
            return lift_unavailable(l, 2);
        return l->hflags & HF_NOFPU ? lift_unavailable(l, 1) : lift_mmx(l, in);
    }
    if (sse_rows[in->op].kind != SSE_NONE)
        return l->hflags & HF_NOSSE ? lift_unavailable(l, 2) : lift_sse(l, in);
    l->mmx_checked = l->mmx_entered = false;
    return l->hflags & HF_NOFPU ? lift_unavailable(l, 0) : lift_x87(l, in);
}

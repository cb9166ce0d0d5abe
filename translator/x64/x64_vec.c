/* Vector ops of the x86-64 selector: each row of ir_vec.def becomes its one host instruction, in
 * the three-operand VEX form where the host has it. */
#include "translator/ir_vec.h"
#include "translator/x64/x64_sel.h"

static u32 opcode(const struct ir_insn *in)
{
    const struct vec_opcode *o = vec_opcode(in);
    return X64_OP(o->pfx, o->map, o->opc) | (in->vl ? X64_VEX256 : 0);
}

/* VEX.W of the three-operand form. */
static bool vex_w(const struct ir_insn *in)
{
    unsigned flags = ir_vec_info[in->op].flags;
    return flags & VI_VEX_W || (flags & VI_VEX_W64 && in->w == W64);
}

/* Whether op `in` takes the three-operand form here. */
static bool vex_form(const struct x64_sel *s, const struct ir_insn *in)
{
    return s->avx && !(ir_vec_info[in->op].flags & VI_LEGACY);
}

/* reg <- op(vvvv, rm), or two-operand with reg already holding the first source. */
static void emit_op(struct x64_sel *s, u32 op, bool w, unsigned reg, unsigned vvvv,
                    struct x64_rm rm)
{
    if (s->avx)
        x64_vex(&s->buf, op, w, reg, vvvv, rm);
    else
        x64_op(&s->buf, op, w, false, false, reg, rm);
}

/* Registers of which a result that is begun by copying another operand must keep out. */
static unsigned busy(struct x64_rm rm)
{
    return rm.is_reg ? 1u << rm.reg : 0;
}

/* Opcodes whose memory form means something else: MOVLPS, loads that zero, INSERTPS from a dword.
 */
static bool needs_register(const struct ir_insn *in)
{
    return in->op == IR_vmovhl || in->op == IR_vmovlo || in->op == IR_vinsps;
}

/* Bytes that the host's instruction reads where operand k is in memory. */
static unsigned operand_bytes(const struct ir_insn *in, unsigned k)
{
    bool logic = in->op >= IR_vand && in->op <= IR_vxor; /* aux is a domain */
    switch (in->op) {
    case IR_fprsqrts:
    case IR_fprcps: return 4;
    case IR_vmovq: return 8;
    case IR_vbcast: return W_BYTES(in->w);
    case IR_vsx4:
    case IR_vzx4: return in->vl ? 8 : 4;
    case IR_vsx8:
    case IR_vzx8: return in->vl ? 4 : 2;
    case IR_vsx2:
    case IR_vzx2:
    case IR_fpfromh: return in->vl ? 16 : 8;
    default: break;
    }
    if (ir_vec_info[in->op].key == VK_AUX && !logic && in->aux >= VF_SS)
        return in->aux == VF_SS ? 4 : 8;
    if (in->op == IR_fpcvt || in->op == IR_fpfromi) /* some read half of what they write */
        return (in->vl ? 32 : 16) >> vec_reads_low(in, 0);
    return in->vl && !vec_reads_low(in, k) ? 32 : 16;
}

/* Whether the host lacks an op, which is then evaluated in C. */
static bool lacks(const struct x64_sel *s, const struct ir_insn *in)
{
    /* The legacy comparisons have only eight predicates. */
    return !(s->levels >> vec_level(in) & 1) || (in->op == IR_fpcmp && in->imm > 7 && !s->avx);
}

/* Which operand may be in memory, or 4. */
static unsigned memory_operand(const struct x64_sel *s, const struct ir_insn *in)
{
    if (needs_register(in) || !vex_form(s, in) || lacks(s, in)) /* legacy forms want it aligned */
        return 4;
    switch (ir_vec_info[in->op].shape) {
    case V_RR:
    case V_RR_I:
    case V_RR_XMM0:
    case V_FLAGS: return 1;
    case V_R:
    case V_R_I: return 0;
    case V_FMA: return 2;
    case V_STRING: return ir_args(in) == 2 ? 1 : 4; /* lengths leave the check no register */
    default: return 4;
    }
}

void x64_vec_fold(struct x64_sel *s, unsigned i)
{
    ir_ref twin = s->val[i].twin; /* both are emitted where the first is */
    const struct ir_insn *in = &s->ir->insns[twin && twin < i ? twin : i];
    unsigned k = memory_operand(s, in);
    if (k == 4 || !x64_on(s, T_vfold))
        return;
    ir_ref ld = in->arg[k];
    const struct ir_insn *l = &s->ir->insns[ld];
    if (l->op != IR_vld || s->val[ld].uses != (twin ? 2 : 1) ||
        W_BYTES(l->w) != operand_bytes(in, k))
        return;
    /* Nothing in between may be done before it that ought to wait until it cannot fault. */
    for (const struct ir_insn *m = l + 1; m < in; m++)
        if (m->op != IR_getv && m->op != IR_get && !ir_is_const(m) && m->op != IR_NONE)
            return;
    s->val[ld].flags |= VAL_DEFERRED;
}

/* Operand k as the ModRM operand; the op's other operands are in registers already. */
static struct x64_rm source_rm(struct x64_sel *s, const struct ir_insn *in, unsigned k)
{
    ir_ref r = in->arg[k];
    if (s->val[r].flags & VAL_DEFERRED) {
        s->counters->vec_folds++;
        return x64_check_vector(s, r);
    }
    if (needs_register(in))
        return x64_r(x64_xuse(s, r));
    return x64_xuse_rm(s, r, vec_reads_low(in, k) ? 0 : in->vl);
}

static void emit_two(struct x64_sel *s, ir_ref r, const struct ir_insn *in, bool imm)
{
    unsigned a = x64_xuse(s, in->arg[0]), dst;
    struct x64_rm b = source_rm(s, in, 1);
    if (vex_form(s, in)) {
        dst = x64_xdst(s, r, 0);
        x64_vex(&s->buf, opcode(in), vex_w(in), dst, a, b);
    } else { /* beside VEX, a register of its own: what is above 128 bits must be 0 */
        dst = s->avx ? x64_xscratch(s) : x64_xdst(s, r, busy(b));
        x64_vmov(s, 0, dst, x64_r(a));
        x64_op(&s->buf, opcode(in), false, false, false, dst, b);
    }
    if (imm)
        x64_byte(&s->buf, (u8)in->imm);
    x64_xdef(s, r, dst);
}

static void emit_one(struct x64_sel *s, ir_ref r, const struct ir_insn *in, bool imm)
{
    struct x64_rm a = source_rm(s, in, 0);
    unsigned dst = x64_xdst(s, r, 0);
    emit_op(s, opcode(in), vex_w(in), dst, 0, a);
    if (imm)
        x64_byte(&s->buf, (u8)in->imm);
    x64_xdef(s, r, dst);
}

/* The result in the ModRM operand, the source in its register field. */
static void emit_to_xrm(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned a = x64_xuse(s, in->arg[0]), dst = x64_xdst(s, r, 0);
    x64_vex(&s->buf, opcode(in), false, a, 0, x64_r(dst));
    x64_byte(&s->buf, (u8)in->imm);
    x64_xdef(s, r, dst);
}

static void emit_fma(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned a = x64_xuse(s, in->arg[0]), b = x64_xuse(s, in->arg[1]);
    struct x64_rm c = source_rm(s, in, 2);
    unsigned dst = x64_xdst(s, r, 1u << b | busy(c));
    x64_vmov(s, in->vl, dst, x64_r(a));
    bool w = in->aux == VF_PD || in->aux == VF_SD;
    x64_vex(&s->buf, (opcode(in) & ~0xffu) | (u8)in->imm, w, dst, b, c);
    x64_xdef(s, r, dst);
}

static void emit_shift_imm(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned a = x64_xuse(s, in->arg[0]), dst = x64_xdst(s, r, 0);
    unsigned ext = ir_vec_info[in->op].ext;
    if (!s->avx)
        x64_vmov(s, 0, dst, x64_r(a));
    if (s->avx)
        x64_vex(&s->buf, opcode(in), false, ext, dst, x64_r(a));
    else
        x64_op(&s->buf, opcode(in), false, false, false, ext, x64_r(dst));
    x64_byte(&s->buf, (u8)in->imm);
    x64_xdef(s, r, dst);
}

/* Vector in, integer out. */
static void emit_to_gpr(struct x64_sel *s, ir_ref r, const struct ir_insn *in, bool rm_form)
{
    unsigned a = x64_xuse(s, in->arg[0]);
    unsigned dst = x64_dst(s, r, X_NONE);
    bool w = in->w == W64 && (rm_form || ir_vec_info[in->op].key == VK_AUX);
    if (rm_form)
        emit_op(s, opcode(in), w, a, 0, x64_r(dst));
    else
        emit_op(s, opcode(in), w, dst, 0, x64_r(a));
    if (rm_form)
        x64_byte(&s->buf, (u8)in->imm);
    x64_def(s, r, dst);
}

/* Vector and integer in, vector out. */
static void emit_from_gpr(struct x64_sel *s, ir_ref r, const struct ir_insn *in, bool imm)
{
    unsigned a = x64_xuse(s, in->arg[0]);
    struct x64_rm b = x64_r(x64_use(s, in->arg[1]));
    unsigned dst = x64_xdst(s, r, 0);
    if (!s->avx)
        x64_vmov(s, 0, dst, x64_r(a));
    emit_op(s, opcode(in), in->w == W64, dst, a, b);
    if (imm)
        x64_byte(&s->buf, (u8)in->imm);
    x64_xdef(s, r, dst);
}

static void emit_flags(struct x64_sel *s, ir_ref f, const struct ir_insn *in)
{
    x64_clobber(s);
    unsigned a = x64_xuse(s, in->arg[0]);
    struct x64_rm b = source_rm(s, in, 1);
    emit_op(s, opcode(in), false, a, 0, b);
    s->fl_ref = f;
}

/* The three-operand blends have opcodes of their own and name the mask in an immediate. */
static void emit_blend(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    static const u8 opcodes[] = {[W8] = 0x4c, [W32] = 0x4a, [W64] = 0x4b};
    unsigned mask = x64_xuse(s, in->arg[2]), a = x64_xuse(s, in->arg[0]);
    struct x64_rm b = source_rm(s, in, 1);
    unsigned dst = x64_xdst(s, r, 0);
    x64_vex(&s->buf, X64_OP(0x66, 3, opcodes[in->w]) | (in->vl ? X64_VEX256 : 0), false, dst, a, b);
    x64_byte(&s->buf, (u8)(mask << 4));
    x64_xdef(s, r, dst);
}

/* The two-operand forms with a third in XMM0. */
static void emit_xmm0(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned mask = x64_xuse(s, in->arg[2]);
    if (mask != 0) { /* it may just have been there, or be in another place by now */
        x64_xtake(s, 0);
        x64_vmov(s, 0, 0, x64_r(mask));
    }
    s->xpinned = 1;
    struct x64_rm b = x64_r(x64_xuse(s, in->arg[1]));
    unsigned a = x64_xuse(s, in->arg[0]), dst = x64_xscratch(s);
    x64_vmov(s, 0, dst, x64_r(a));
    x64_op(&s->buf, opcode(in), false, false, false, dst, b);
    x64_xdef(s, r, dst);
}

/* PCMPxSTRx: index or mask, flags, or both if they are twins. */
static void emit_string(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    bool is_flags = ir_briefs[in->op].type == 'f';
    ir_ref twin = s->val[r].twin, f = is_flags ? r : twin, v = is_flags ? twin : r;
    const struct ir_insn *op = &s->ir->insns[v ? v : f];
    bool mask = ir_briefs[op->op].type == 'v';
    x64_clobber(s);
    if (mask)
        x64_xtake(s, 0);
    unsigned a = x64_xuse(s, op->arg[0]);
    struct x64_rm b = source_rm(s, op, 1);
    if (!mask && x64_live_after(s, s->reg_val[X_RCX])) /* b's address may be there until then */
        x64_take(s, X_RCX);
    if (ir_args(op) == 4) {
        x64_take(s, X_RAX);
        x64_take(s, X_RDX);
        x64_fetch(s, X_RAX, op->arg[2]);
        x64_fetch(s, X_RDX, op->arg[3]);
    }
    emit_op(s, opcode(op), vex_w(op), a, 0, b);
    x64_byte(&s->buf, (u8)op->imm);
    if (v && mask)
        x64_xdef(s, v, 0);
    else if (v)
        x64_def(s, v, X_RCX);
    if (twin)
        s->val[twin].flags |= VAL_DONE;
    if (f && x64_flags_wanted(s, f)) {
        x64_flags_made(s, f);
        s->counters->twins += twin != 0;
    }
    s->counters->strings++;
}

static void emit_move(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    if (in->op == IR_vfromi) { /* MOVD, MOVQ zero the rest */
        unsigned a = x64_use(s, in->arg[0]), dst = x64_xdst(s, r, 0);
        if (in->w < W32) {
            unsigned t = x64_scratch(s);
            x64_load(&s->buf, in->w, t, x64_r(a));
            a = t;
        }
        emit_op(s, X64_OP(0x66, 1, 0x6e), in->w == W64, dst, 0, x64_r(a));
        x64_xdef(s, r, dst);
        return;
    }
    unsigned a = x64_xuse(s, in->arg[0]), dst = x64_dst(s, r, X_NONE);
    emit_op(s, X64_OP(0x66, 1, 0x7e), in->w == W64, a, 0, x64_r(dst));
    x64_def(s, r, dst);
}

/* Vector ops that the host lacks, by the shared evaluator; none of them has scalars. */
static void emit_portable(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    x64_clobber(s);
    for (unsigned k = 0; k < ir_args(in); k++) {
        s->xpinned = 0;
        x64_vstore(s, in->vl, x64_m(X_RSP, CPU_OFF(vtmp) + (s32)(k * sizeof(union vec))),
                   x64_xuse(s, in->arg[k]));
    }
    x64_store_imm(&s->buf, W32, RM_CPU(exit_id),
                  (s32)(in->op | (u32)in->w << 16 | (u32)in->aux << 20 | (u32)in->vl << 24));
    x64_store_imm(&s->buf, W64, RM_CPU(slow_addr), (s32)in->imm);
    x64_call(&s->buf, s->thunks->vec[x64_vec_kept(s)]);
    unsigned dst = x64_xdst(s, r, 0);
    x64_vmov(s, in->vl, dst, RM_CPU(vtmp));
    x64_xdef(s, r, dst);
    s->counters->vec_calls++;
}

void x64_emit_vec(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = (ir_ref)(in - s->ir->insns);
    s->counters->ymm_ops += in->vl;
    if (ir_is_vec(in->op) && lacks(s, in)) {
        emit_portable(s, r, in);
        return;
    }
    if (in->op == IR_vfromi || in->op == IR_ifromv) {
        emit_move(s, r, in);
        return;
    }
    switch (ir_vec_info[in->op].shape) {
    case V_ZERO: {
        unsigned dst = x64_xdst(s, r, 0);
        emit_op(s, opcode(in), false, dst, dst, x64_r(dst));
        x64_xdef(s, r, dst);
        break;
    }
    case V_RR: emit_two(s, r, in, false); break;
    case V_RR_I: emit_two(s, r, in, true); break;
    case V_R: emit_one(s, r, in, false); break;
    case V_R_I: emit_one(s, r, in, true); break;
    case V_SHIFT_I: emit_shift_imm(s, r, in); break;
    case V_TO_GPR: emit_to_gpr(s, r, in, false); break;
    case V_TO_RM_I: emit_to_gpr(s, r, in, true); break;
    case V_FROM_GPR: emit_from_gpr(s, r, in, false); break;
    case V_FROM_GPR_I: emit_from_gpr(s, r, in, true); break;
    case V_FLAGS: emit_flags(s, r, in); break;
    case V_RR_XMM0:
        if (vex_form(s, in))
            emit_blend(s, r, in);
        else
            emit_xmm0(s, r, in);
        break;
    case V_TO_XRM_I: emit_to_xrm(s, r, in); break;
    case V_FMA: emit_fma(s, r, in); break;
    case V_STRING: emit_string(s, r, in); break;
    default: s->failed = "vector op without a selector";
    }
}

/* The x86-64 selector: looks over a block once (what is folded, what lives how long, whose flags
 * matter), then emits it op by op. */
#include "translator/ir_vec.h"
#include "translator/x64/x64_sel.h"

/* Whether an op's value is a vector, an integer or flags: first letter of its row. */
static char out_type(const struct ir_insn *in)
{
    return ir_briefs[in->op].type;
}

static bool is_flags_op(const struct ir_insn *in)
{
    return out_type(in) == 'f';
}

/* Names for one value: truncation keeps the register, so does widening what is clean. */
static void find_roots(struct x64_sel *s)
{
    for (unsigned i = 1; i < s->ir->count; i++) {
        const struct ir_insn *in = &s->ir->insns[i];
        struct x64_val *v = &s->val[i];
        *v = (struct x64_val){.reg = -1, .home = -1, .spill = -1, .root = (ir_ref)i};
        v->clean = W64;
        switch (in->op) {
        case IR_trunc:
            if (in->imm == 0)
                v->root = s->val[in->arg[0]].root;
            else
                v->clean = in->w;
            break;
        case IR_zext:
            if (s->val[s->val[in->arg[0]].root].clean <= in->aux)
                v->root = s->val[in->arg[0]].root;
            else
                v->clean = in->aux;
            break;
        case IR_ld:
        case IR_live:
        case IR_ldenv: v->clean = in->w; break;
        case IR_setcc:
        case IR_icmp: v->clean = W8; break;
        case IR_get:
        case IR_deposit: break;
        case IR_sext:
            if (in->w == W32)
                v->clean = W32;
            break;
        default:
            if (in->w == W32 && out_type(in) == 'i')
                v->clean = W32;
        }
        if (v->root != i)
            v->flags |= VAL_DONE;
        if (ir_briefs[in->op].vec)
            s->vec = s->vec < 1 + in->vl ? 1 + in->vl : s->vec;
    }
}

/* Which operand an op keeps as a condition (so that the boolean is never made), or NO_OPERAND. */
#define NO_OPERAND 4u
static unsigned condition_operand(const struct ir_insn *in)
{
    switch (in->op) {
    case IR_exit_if:
    case IR_select:
    case IR_selectf: return 0;
    case IR_adc:
    case IR_sbb:
    case IR_rcl:
    case IR_rcr:
    case IR_fadc:
    case IR_fsbb: return 2;
    case IR_fbit: return 1;
    default: return NO_OPERAND;
    }
}

/* Counts uses on roots, and notes the first put of each. */
static void count_uses(struct x64_sel *s)
{
    for (unsigned i = 1; i < s->ir->count; i++) {
        const struct ir_insn *in = &s->ir->insns[i];
        if (s->val[i].root != i)
            continue;
        unsigned args = ir_args(in), condition = condition_operand(in);
        bool call = ir_briefs[in->op].effects & E_CALL;
        for (unsigned k = 0; k < args; k++) { /* value 0 counts what is absent */
            struct x64_val *v = &s->val[s->val[in->arg[k]].root];
            v->uses++;
            v->conditions += k == condition || (call && x64_x87_condition(s, in, k));
        }
        if (in->op == IR_put || (in->op == IR_putv && !in->imm)) {
            struct x64_val *v = &s->val[s->val[in->arg[0]].root];
            if (!v->put_at) {
                v->put_at = (u16)i;
                v->put_reg = in->aux;
            }
        }
    }
}

/* Pairs load and store of one read-modify-write, so that one check serves both. */
static void pair_rmw(struct x64_sel *s, unsigned i)
{
    const struct ir_insn *ld = &s->ir->insns[i];
    if (!(ld->aux & MF_RMW) || !x64_on(s, T_rmw) || s->ir->hflags & HF_ONE)
        return;
    for (unsigned j = i + 1; j < s->ir->count; j++) {
        const struct ir_insn *in = &s->ir->insns[j];
        if (in->op == IR_st && in->w == ld->w &&
            s->val[in->arg[0]].root == s->val[ld->arg[0]].root) {
            s->val[i].twin = (ir_ref)j;
            s->val[j].flags |= VAL_RES | VAL_SURE;
            s->val[s->val[ld->arg[0]].root].uses--;
            return;
        }
        if (in->op == IR_insn || ir_effects(in) & (E_FAULT | E_CALL | E_EXIT | E_END))
            return;
    }
}

/* The op whose flags a flags op makes; flogic, finc and fdec go with several. */
static const u16 result_of[IR_OP_COUNT] = {
    [IR_fadd] = IR_add,   [IR_fsub] = IR_sub,   [IR_fadc] = IR_adc, [IR_fsbb] = IR_sbb,
    [IR_fshl] = IR_shl,   [IR_fshr] = IR_shr,   [IR_fsar] = IR_sar, [IR_frol] = IR_rol,
    [IR_fror] = IR_ror,   [IR_frcl] = IR_rcl,   [IR_frcr] = IR_rcr, [IR_fshld] = IR_shld,
    [IR_fshrd] = IR_shrd, [IR_flogic] = IR_and, [IR_finc] = IR_add, [IR_fdec] = IR_sub,
    [IR_vistrf] = IR_vistri, [IR_vestrf] = IR_vestri, /* or the mask, the row behind it */
};

/* Whether v is the op whose flags f makes. */
static bool is_twin(const struct x64_sel *s, const struct ir_insn *v, const struct ir_insn *f)
{
    u64 c;
    s32 imm;
    if (v->w != f->w)
        return false;
    const ir_ref *x = v->arg, *y = f->arg;
#define SAME(a, b) (s->val[a].root == s->val[b].root)
    if (ir_is_vec(f->op))
        return (v->op == result_of[f->op] || v->op == result_of[f->op] + 1) && v->imm == f->imm &&
               SAME(x[0], y[0]) && SAME(x[1], y[1]) && SAME(x[2], y[2]) && SAME(x[3], y[3]);
    if (f->op == IR_flogic)
        return (v->op == IR_and || v->op == IR_or || v->op == IR_xor) &&
               SAME(y[0], (ir_ref)(v - s->ir->insns));
    if (f->op == IR_fsub && v->op == IR_neg)
        return SAME(x[0], y[1]) && x64_is_const(s, y[0], &c) && c == 0;
    if (f->op == IR_finc || f->op == IR_fdec)
        return (v->op == IR_add && SAME(x[0], y[0]) && x64_is_imm(s, x[1], v->w, &imm) &&
                imm == (f->op == IR_finc ? 1 : -1)) ||
               (v->op == IR_sub && SAME(x[0], y[0]) && x64_is_imm(s, x[1], v->w, &imm) &&
                imm == (f->op == IR_finc ? -1 : 1));
    if (v->op != result_of[f->op] || !SAME(x[0], y[0]) || !SAME(x[1], y[1]))
        return false;
    bool third = v->op == IR_shld || v->op == IR_shrd || v->op == IR_adc || v->op == IR_sbb;
    return !third || SAME(x[2], y[2]);
#undef SAME
}

/* Whether the old flags that f keeps are known where the op at v is emitted. */
static bool old_flags_ready(const struct x64_sel *s, unsigned f, unsigned v)
{
    const struct ir_insn *in = &s->ir->insns[f];
    for (unsigned k = 0; k < ir_args(in); k++) {
        const struct ir_insn *old = &s->ir->insns[in->arg[k]];
        if (in->arg[k] > v && is_flags_op(old) && old->op != IR_getf)
            return false;
    }
    return true;
}

static void pair_flags(struct x64_sel *s, unsigned f)
{
    const struct ir_insn *in = &s->ir->insns[f];
    if (!result_of[in->op])
        return;
    for (int step = -1; step <= 1; step += 2) {
        unsigned i = f;
        for (unsigned d = 1; d <= 8; d++) {
            i += (unsigned)step;
            const struct ir_insn *v = &s->ir->insns[i];
            if (i < 1 || i >= s->ir->count || v->op == IR_insn) /* twins share an instruction */
                break;
            if (s->val[i].root != i || s->val[i].twin)
                continue;
            if (is_twin(s, v, in) && old_flags_ready(s, f, i)) {
                s->val[f].twin = (ir_ref)i;
                s->val[i].twin = (ir_ref)f;
                return;
            }
        }
    }
}

static void defer_conditions(struct x64_sel *s)
{
    for (unsigned i = 1; i < s->ir->count; i++) {
        const struct ir_insn *in = &s->ir->insns[i];
        struct x64_val *v = &s->val[i];
        if ((in->op == IR_setcc || in->op == IR_icmp) && v->uses && v->uses == v->conditions &&
            (in->op == IR_setcc || v->uses == 1))
            v->flags |= VAL_DEFERRED;
    }
}

/* Marks what folds into op i. */
static void fold_operands(struct x64_sel *s, unsigned i, bool visible)
{
    const struct ir_insn *in = &s->ir->insns[i];
    s32 imm;
    switch (in->op) {
    case IR_ld:
    case IR_st:
    case IR_vld:
    case IR_vst:
    case IR_vst2:
    case IR_atomic:
    case IR_cmpxchg:
    case IR_segaddr:
        if (!(s->val[i].flags & VAL_RES))
            x64_match_addr(s, in->arg[0], true);
        return;
    case IR_add:
        if (in->w >= W32 && !s->val[i].twin && !(s->val[i].flags & VAL_DEFERRED)) {
            s->cur = i;
            x64_match_addr(s, (ir_ref)i, true);
        }
        return;
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rol:
    case IR_ror: { /* the host masks their count as the guest does */
        ir_ref n = s->val[in->arg[1]].root;
        const struct ir_insn *and = &s->ir->insns[n];
        if (and->op == IR_and && s->val[n].uses == 1 && !s->val[n].twin &&
            x64_is_imm(s, and->arg[1], W8, &imm) && imm == (in->w == W64 ? 63 : 31))
            s->val[n].flags |= VAL_DEFERRED;
        return;
    }
    case IR_flogic: {
        ir_ref a = s->val[in->arg[0]].root;
        if (!visible && /* TEST; a recipe would need the result */
            s->ir->insns[a].op == IR_and && s->val[a].uses == 1 && s->ir->insns[a].w == in->w)
            s->val[a].flags |= VAL_DEFERRED;
        return;
    }
    default: return;
    }
}

/* Whether the guest's flags can be seen at this op. */
static bool sees_flags(const struct x64_sel *s, const struct ir_insn *in)
{
    u32 e = x64_effects(s, (unsigned)(in - s->ir->insns));
    if (in->op == IR_exit || in->op == IR_exit_if) /* only a chained exit can leave them dead */
        return in->aux != XF_DEAD || !x64_same_page(s, in->imm);
    return e & (E_FAULT | E_CALL | E_EXIT | E_END | E_RFL);
}

static bool uses_value(const struct ir_insn *in, ir_ref r)
{
    for (unsigned k = 0; k < ir_args(in); k++)
        if (in->arg[k] == r)
            return true;
    return false;
}

/* Up to where each putf's value is the guest's flags and somebody may see it. */
static void find_visibility(struct x64_sel *s, u16 *visible)
{
    ir_ref cur = 0;
    memset(visible, 0, s->ir->count * sizeof *visible);
    for (unsigned i = 1; i < s->ir->count; i++) {
        const struct ir_insn *in = &s->ir->insns[i];
        if (cur && sees_flags(s, in)) {
            unsigned until = i;
            if (in->op == IR_vld && s->val[i].flags & VAL_DEFERRED) /* it faults at its user */
                while (!uses_value(&s->ir->insns[until], (ir_ref)i))
                    until++;
            visible[cur] = (u16)until;
        }
        if (in->op == IR_putf)
            cur = in->arg[0];
        else if (in->op == IR_call || in->op == IR_callv)
            if (ir_helper_effects((unsigned)in->imm) & HE_WFL)
                cur = 0;
    }
}

static void extend(struct x64_sel *s, ir_ref r, u16 until)
{
    if (r && s->val[s->val[r].root].last_use < until)
        s->val[s->val[r].root].last_use = until;
}

/* Lifetimes, backwards; and until when flags are needed as such. */
static void find_lifetimes(struct x64_sel *s)
{
    u16 visible[IR_MAX];
    find_visibility(s, visible);
    for (unsigned i = s->ir->count - 1; i >= 1; i--) {
        const struct ir_insn *in = &s->ir->insns[i];
        struct x64_val *v = &s->val[i];
        if (v->root != i)
            continue;
        fold_operands(s, i, visible[i]);
        u16 until = (u16)i;
        if (v->flags & VAL_DEFERRED && v->last_use)
            until = v->last_use;
        if (is_flags_op(in)) {
            ir_ref a, b;
            ir_ref t = v->twin;
            if (t && s->val[t].put_at && (in->op == IR_fadd || in->op == IR_fsub) &&
                s->ir->insns[t].op != IR_neg &&
                s->val[in->arg[1]].root != s->val[in->arg[0]].root)
                v->flags |= VAL_RES;
            unsigned kind = x64_recipe_kind(s, (ir_ref)i, &a, &b);
            if (kind && visible[i]) {
                extend(s, a, visible[i]);
                extend(s, b, visible[i]);
            } else if (visible[i] > v->need) {
                v->need = visible[i];
            }
            if (kind && !v->need)
                continue; /* never computed: its operands live by the recipe alone */
            if (t && (t > i || ir_is_vec(in->op))) /* vector ops: both where the first is */
                until = t;
        }
        unsigned args = ir_args(in);
        for (unsigned k = 0; k < args; k++) {
            if (!in->arg[k] || (k == 0 && in->op == IR_st && v->flags & VAL_RES))
                continue;
            ir_ref arg = s->val[in->arg[k]].root;
            if (is_flags_op(&s->ir->insns[arg])) {
                if (in->op != IR_putf && s->val[arg].need < until)
                    s->val[arg].need = until;
            } else {
                extend(s, arg, until);
            }
        }
        if (in->op == IR_st && v->flags & VAL_RES)
            extend(s, (ir_ref)i, (u16)i);
    }
}

static void look_over(struct x64_sel *s)
{
    find_roots(s);
    count_uses(s);
    for (unsigned i = 1; i < s->ir->count; i++) {
        if (s->ir->insns[i].op == IR_ld)
            pair_rmw(s, i);
        if (is_flags_op(&s->ir->insns[i]) && x64_on(s, T_twins))
            pair_flags(s, i);
        if (s->ir->insns[i].op == IR_call || s->ir->insns[i].op == IR_callv)
            x64_x87_fold(s, &s->ir->insns[i]);
        if (ir_is_vec(s->ir->insns[i].op))
            x64_vec_fold(s, i);
    }
    x64_find_pages(s);
    defer_conditions(s);
    find_lifetimes(s);
}

static void emit_get(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    struct x64_val *v = &s->val[r];
    v->home = (s8)in->aux;
    v->alias_next = s->home_head[in->aux];
    s->home_head[in->aux] = r;
}

static void emit_one(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = (ir_ref)(in - s->ir->insns);
    if (ir_effects(in) & (E_FAULT | E_CALL | E_EXIT | E_END) && !x64_x87_quiet(s, in))
        x64_x87_flush(s);
    if (ir_briefs[in->op].vec && in->op != IR_getv)
        x64_xhomes_in(s);
    switch (in->op) {
    case IR_NONE:
    case IR_const:
    case IR_pc: break;
    case IR_insn:
        s->insn_rip = in->imm;
        s->insns++;
        break;
    case IR_get: emit_get(s, r, in); break;
    case IR_getv: x64_getv(s, r, in); break;
    case IR_put: x64_put(s, in->aux, in->arg[0]); break;
    case IR_putv: x64_putv(s, in); break;
    case IR_putf:
        s->f_cur = in->arg[0];
        s->f_stored = 0;
        break;
    case IR_ld:
    case IR_st:
    case IR_vld:
    case IR_vst:
    case IR_vst2:
    case IR_segaddr:
    case IR_atomic:
    case IR_cmpxchg:
    case IR_fence: x64_emit_mem(s, in); break;
    case IR_call:
    case IR_callv: x64_emit_call(s, in); break;
    case IR_exit_if:
    case IR_exit:
    case IR_exit_ind:
    case IR_exit_lookup:
    case IR_raise: x64_emit_exit(s, in); break;
    default:
        if (ir_is_vec(in->op) || in->op == IR_vfromi || in->op == IR_ifromv) {
            x64_emit_vec(s, in);
        } else if (is_flags_op(in)) {
            x64_emit_flags(s, in);
        } else {
            x64_emit_int(s, in);
        }
    }
}

bool x64_select(struct x64_sel *s)
{
    memset(s->reg_val, 0, sizeof s->reg_val);
    memset(s->xreg_val, 0, sizeof s->xreg_val);
    memset(s->home_head, 0, sizeof s->home_head);
    memset(s->xhome_head, 0, sizeof s->xhome_head);
    s->spill_used = 0;
    memset(s->xhome_val, 0, sizeof s->xhome_val);
    memset(s->vspill_val, 0, sizeof s->vspill_val);
    s->vhomes = x64_on(s, T_vhomes);
    s->xhomes_in = false;
    s->xzero = 0;
    s->val[0] = (struct x64_val){.reg = -1, .home = -1, .spill = -1};
    s->fl_ref = s->f_cur = s->f_stored = 0;
    s->pinned = s->xpinned = 0;
    s->site_count = s->stub_count = 0;
    s->failed = NULL;
    s->vec = 0;
    s->insn_rip = s->ir->rip;
    s->x87_at = 0;
    s->x87_pending = false;
    s->x87_high = -1;
    x64_x87_forget(s);
    s->insns = s->cur = 0;
    s->relocs.count = 0;
    s->relocs.failed = false;
    x64_emit_header(&s->buf, s->thunks->retired, s->ir->rip, s->block);
    s->start = s->buf.begin = s->buf.p;
    s->buf.relocs = &s->relocs;
    if (s->counted)
        x64_emit_payment(s);
    if (s->ir->live)
        x64_emit_comparison(s);
    look_over(s);
    for (s->cur = 1; s->cur < s->ir->count && !s->failed; s->cur++) {
        s->op_at[s->cur] = (u32)(s->buf.p - s->start);
        const struct ir_insn *in = &s->ir->insns[s->cur];
        if (s->val[s->cur].flags & (VAL_DEFERRED | VAL_DONE) || ir_is_const(in))
            continue;
        emit_one(s, in);
        if (in->op != IR_insn && in->op != IR_get)
            x64_release_dead(s);
    }
    s->op_at[s->cur] = (u32)(s->buf.p - s->start);
    x64_emit_stubs(s);
    return !s->failed && !x64_full(&s->buf);
}

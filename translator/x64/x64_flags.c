/* Guest flags on the host: kept in the host's flags while they last, saved as AH:AL (LAHF, SETO)
 * when they are needed later, and otherwise only described by a recipe.
 *
 * The saved form "AHF": bits 15-8 are SF ZF . AF . PF . CF as LAHF gives them, bits 7-0 are OF.
 */
#include "translator/x64/x64_sel.h"

static struct x64_rm slot(int n)
{
    return x64_m(X_RSP, CPU_OFF(spill) + 8 * n);
}

static int flags_slot(struct x64_sel *s, ir_ref f)
{
    struct x64_val *v = &s->val[f];
    if (v->spill >= 0)
        return v->spill;
    return v->spill = (s16)x64_new_spill(s, f);
}

/* RAX for a moment, whoever has it: false if it need not be given back. */
static bool borrow_rax(struct x64_sel *s)
{
    bool busy = s->reg_val[X_RAX] || s->pinned & 1 << X_RAX;
    if (busy)
        x64_store(&s->buf, W64, RM_CPU(scratch), X_RAX);
    return busy;
}

static void return_rax(struct x64_sel *s, bool busy)
{
    if (busy)
        x64_load(&s->buf, W64, X_RAX, RM_CPU(scratch));
}

static void emit_lahf_seto(struct x64_sel *s)
{
    x64_byte(&s->buf, X64_LAHF);
    x64_setcc(&s->buf, CC_O, x64_r(X_RAX));
}

/* Host flags from AX in AHF form: OF first (1 + 7F overflows), SAHF leaves it. */
static void emit_sahf(struct x64_sel *s)
{
    x64_alu_imm(&s->buf, ALU_ADD, W8, x64_r(X_RAX), 0x7f);
    x64_byte(&s->buf, 0x9e);
}

static void save_flags(struct x64_sel *s)
{
    ir_ref f = s->fl_ref;
    if (s->val[f].spill >= 0)
        return;
    int n = flags_slot(s, f);
    bool busy = borrow_rax(s);
    emit_lahf_seto(s);
    x64_store(&s->buf, W64, slot(n), X_RAX);
    return_rax(s, busy);
    s->counters->flag_saves++;
}

/* AF after a shift is undefined (SDM vol. 2, SAL), and processors do differ; the IR has it 0, or as
 * it was when the count is 0.  For engines that must agree to the last bit.  A count that is not
 * constant is still in CL. */
static void settle_af(struct x64_sel *s, ir_ref f, ir_ref count)
{
    const struct ir_insn *in = &s->ir->insns[f];
    u64 n;
    u8 *skip = NULL;
    if (x64_is_const(s, count, &n) && !n)
        return;
    int at = flags_slot(s, f);
    bool busy = borrow_rax(s);
    emit_lahf_seto(s);
    if (!x64_is_const(s, count, &n)) {
        x64_test_imm(&s->buf, W8, x64_r(X_RCX), in->w == W64 ? 63 : 31);
        skip = x64_jcc_later(&s->buf, CC_E);
    }
    x64_alu_imm(&s->buf, ALU_AND, W32, x64_r(X_RAX), ~(FL_AF << 8));
    if (skip)
        x64_bind(&s->buf, skip);
    x64_store(&s->buf, W64, slot(at), X_RAX);
    return_rax(s, busy);
    s->fl_ref = 0;
}

void x64_flags_made(struct x64_sel *s, ir_ref f)
{
    const struct ir_insn *in = &s->ir->insns[f];
    bool twice = in->op == IR_fshld || in->op == IR_fshrd;
    s->fl_ref = f;
    if (s->counted && (twice || (in->op >= IR_fshl && in->op <= IR_fsar)))
        settle_af(s, f, in->arg[twice ? 2 : 1]);
}

void x64_clobber(struct x64_sel *s)
{
    if (s->fl_ref && s->val[s->fl_ref].need >= s->cur)
        save_flags(s);
    s->fl_ref = 0;
}

void x64_consume(struct x64_sel *s, ir_ref f)
{
    unsigned at = f > s->cur ? f : s->cur;
    if (s->fl_ref && s->val[s->fl_ref].need > at)
        save_flags(s);
    s->fl_ref = 0;
}

bool x64_flags_wanted(const struct x64_sel *s, ir_ref f)
{
    return f && s->val[f].need >= s->cur && s->val[f].need;
}

void x64_need_flags(struct x64_sel *s, ir_ref f)
{
    if (s->fl_ref == f)
        return;
    x64_clobber(s);
    if (s->val[f].spill < 0) {
        s->failed = "flags without a place";
        return;
    }
    bool busy = borrow_rax(s);
    x64_load(&s->buf, W64, X_RAX, slot(s->val[f].spill));
    emit_sahf(s);
    return_rax(s, busy);
    s->fl_ref = f;
    s->counters->flag_loads++;
}

unsigned x64_cond(struct x64_sel *s, ir_ref r)
{
    static const u8 cc_of[] = {[IC_EQ] = CC_E,  [IC_NE] = CC_NE, [IC_LTU] = CC_B,
                               [IC_LEU] = CC_BE, [IC_LTS] = CC_L, [IC_LES] = CC_LE};
    ir_ref root = x64_root(s, r);
    const struct ir_insn *in = &s->ir->insns[root];
    s32 imm;
    if (s->val[root].flags & VAL_DEFERRED && in->op == IR_setcc) {
        x64_need_flags(s, in->arg[0]);
        return in->aux;
    }
    x64_clobber(s);
    if (s->val[root].flags & VAL_DEFERRED && in->op == IR_icmp) {
        if (x64_is_imm(s, in->arg[1], in->w, &imm)) {
            struct x64_rm a = x64_use_rm(s, in->arg[0]);
            if (imm == 0 && a.is_reg && (in->aux == IC_EQ || in->aux == IC_NE))
                x64_test(&s->buf, in->w, a, a.reg);
            else
                x64_alu_imm(&s->buf, ALU_CMP, in->w, a, imm);
        } else {
            unsigned a = x64_use(s, in->arg[0]);
            x64_alu(&s->buf, ALU_CMP, in->w, a, x64_use_rm(s, in->arg[1]));
        }
        return cc_of[in->aux];
    }
    unsigned reg = x64_use(s, r);
    x64_test(&s->buf, W8, x64_r(reg), reg);
    return CC_NE;
}

void x64_carry(struct x64_sel *s, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    const struct ir_insn *in = &s->ir->insns[root];
    u64 c;
    if (x64_is_const(s, r, &c)) {
        x64_clobber(s);
        if (s->buf.p == s->start) /* an empty prefix: the entry must have room for two bytes */
            x64_byte(&s->buf, 0x66);
        x64_byte(&s->buf, c & 1 ? 0xf9 : 0xf8);
        return;
    }
    if (in->op == IR_setcc && s->val[root].flags & VAL_DEFERRED &&
        (in->aux == CC_B || in->aux == CC_AE)) {
        x64_need_flags(s, in->arg[0]);
        if (in->aux == CC_AE) {
            x64_clobber(s);
            x64_byte(&s->buf, 0xf5);
        }
        return;
    }
    if (s->val[root].flags & VAL_DEFERRED) {
        unsigned cc = x64_cond(s, r);
        unsigned t = x64_scratch(s);
        x64_setcc(&s->buf, cc, x64_r(t));
        x64_clobber(s);
        x64_alu_imm(&s->buf, ALU_ADD, W8, x64_r(t), -1);
        return;
    }
    x64_clobber(s);
    unsigned t = x64_scratch(s);
    x64_fetch(s, t, r);
    x64_alu_imm(&s->buf, ALU_ADD, W8, x64_r(t), -1);
}

unsigned x64_recipe_kind(const struct x64_sel *s, ir_ref f, ir_ref *a, ir_ref *b)
{
    const struct ir_insn *in = &s->ir->insns[f];
    bool res = s->val[f].flags & VAL_RES;
    u64 c;
    *a = in->arg[0];
    *b = in->arg[1];
    if (!x64_on(s, T_recipes))
        return 0;
    switch (in->op) {
    case IR_fadd:
    case IR_fsub:
        if (res)
            *a = s->val[f].twin;
        return (in->op == IR_fadd ? (res ? LAZY_ADD_RES : LAZY_ADD)
                                  : (res ? LAZY_SUB_RES : LAZY_SUB)) |
               in->w;
    case IR_flogic: *b = 0; return LAZY_LOGIC | in->w;
    case IR_fmulu: return LAZY_MULU | in->w;
    case IR_fmuls: return LAZY_MULS | in->w;
    case IR_fshl:
    case IR_fshr:
    case IR_fsar:
        if (!x64_is_const(s, in->arg[1], &c) || !c)
            return 0;
        return (in->op == IR_fshl ? LAZY_SHL : in->op == IR_fshr ? LAZY_SHR : LAZY_SAR) | in->w;
    default: return 0;
    }
}

struct x64_recipe x64_recipe(struct x64_sel *s)
{
    ir_ref a, b;
    if (!s->f_cur)
        return (struct x64_recipe){.kind = RECIPE_ENV};
    unsigned kind = x64_recipe_kind(s, s->f_cur, &a, &b);
    if (kind && s->val[s->f_cur].spill < 0)
        return (struct x64_recipe){(u8)kind, x64_loc(s, a), x64_loc(s, b)};
    if (s->val[s->f_cur].spill < 0 && s->fl_ref == s->f_cur)
        save_flags(s);
    if (s->val[s->f_cur].spill < 0)
        s->failed = "guest flags without a place";
    return (struct x64_recipe){
        LAZY_AHF, {LOC_SPILL, (u8)s->val[s->f_cur].spill, 0}, {LOC_NONE, 0, 0}};
}

/* One operand of the lazy record. */
static void store_operand(struct x64_sel *s, s32 off, ir_ref r)
{
    u64 c;
    struct x64_rm rm = x64_m(X_RSP, off);
    if (!r)
        return;
    if (x64_is_const(s, r, &c) && (s64)c == (s32)c)
        x64_store_imm(&s->buf, W64, rm, (s32)c);
    else
        x64_store(&s->buf, W64, rm, x64_use(s, r));
}

void x64_store_flags(struct x64_sel *s)
{
    ir_ref a, b, f = s->f_cur;
    if (!f || s->f_stored == f)
        return;
    unsigned kind = x64_recipe_kind(s, f, &a, &b);
    u16 pinned = s->pinned;
    if (kind && s->val[f].spill < 0) {
        store_operand(s, CPU_OFF(lazy_a), a);
        s->pinned = pinned;
        store_operand(s, CPU_OFF(lazy_b), b);
    } else {
        kind = LAZY_AHF;
        bool busy = borrow_rax(s);
        if (s->val[f].spill >= 0)
            x64_load(&s->buf, W64, X_RAX, slot(s->val[f].spill));
        else if (s->fl_ref == f)
            emit_lahf_seto(s);
        else
            s->failed = "guest flags without a place";
        x64_store(&s->buf, W64, RM_CPU(lazy_a), X_RAX);
        return_rax(s, busy);
    }
    s->pinned = pinned;
    x64_store_imm(&s->buf, W8, RM_CPU(lazy_kind), (s32)kind);
    s->f_stored = f;
}

static void store_loc(struct x64_sel *s, s32 off, const struct x64_loc *l, unsigned t)
{
    struct x64_rm to = x64_m(X_RSP, off);
    unsigned from = t;
    switch (l->kind) {
    case LOC_NONE: return;
    case LOC_PC: x64_store_pc(s, to, s->ir->rip + l->value, t); return;
    case LOC_CONST:
        if ((s64)l->value == (s32)l->value) {
            x64_store_imm(&s->buf, W64, to, (s32)l->value);
            return;
        }
        x64_mov_imm(&s->buf, t, l->value);
        break;
    case LOC_GPR:
        if (x64_home_reg[l->index] != X_NONE)
            from = x64_home_reg[l->index];
        else
            x64_load(&s->buf, W64, t, x64_m(X_RSP, CPU_OFF(gpr) + 8 * l->index));
        break;
    case LOC_SPILL: x64_load(&s->buf, W64, t, slot(l->index)); break;
    default: from = l->index;
    }
    x64_store(&s->buf, W64, to, from);
}

void x64_store_recipe(struct x64_sel *s, const struct x64_recipe *r, unsigned t)
{
    if (r->kind == RECIPE_ENV)
        return;
    store_loc(s, CPU_OFF(lazy_a), &r->a, t);
    store_loc(s, CPU_OFF(lazy_b), &r->b, t);
    x64_store_imm(&s->buf, W8, RM_CPU(lazy_kind), (s32)r->kind);
}

/* ---- flags ops ---- */

/* Puts a copy of r into a scratch register. */
static unsigned copy(struct x64_sel *s, ir_ref r)
{
    unsigned t = x64_scratch(s);
    x64_fetch(s, t, r);
    return t;
}

/* By the shared evaluator: any flags op, slowly. */
static void eval_flags(struct x64_sel *s, ir_ref f, const struct ir_insn *in)
{
    const char *types = ir_ops[in->op].in;
    x64_clobber(s);
    for (unsigned i = 0; i < 4 && in->arg[i] && types[i]; i++) {
        struct x64_rm rm = x64_m(X_RSP, CPU_OFF(call_arg) + 8 * (s32)i);
        s->pinned = 0;
        if (types[i] == 'f') {
            x64_need_flags(s, in->arg[i]);
            x64_clobber(s);
            if (s->val[in->arg[i]].spill < 0) {
                s->fl_ref = in->arg[i];
                save_flags(s);
                s->fl_ref = 0;
            }
            unsigned t = x64_scratch(s);
            x64_load(&s->buf, W64, t, slot(s->val[in->arg[i]].spill));
            x64_store(&s->buf, W64, rm, t);
        } else {
            ir_ref root = x64_root(s, in->arg[i]);
            if (s->val[root].flags & VAL_DEFERRED && types[i] == 'b') {
                unsigned cc = x64_cond(s, root), t = x64_scratch(s);
                x64_setcc(&s->buf, cc, x64_r(t));
                x64_clobber(s);
                x64_load(&s->buf, W8, t, x64_r(t));
                x64_store(&s->buf, W64, rm, t);
            } else {
                x64_store(&s->buf, W64, rm, x64_use(s, in->arg[i]));
            }
        }
    }
    if (in->op == IR_fbit) {
        unsigned t = x64_scratch(s);
        x64_mov_imm(&s->buf, t, in->imm);
        x64_store(&s->buf, W64, x64_m(X_RSP, CPU_OFF(call_arg) + 16), t);
    }
    s->pinned = 0;
    x64_clobber(s);
    x64_flush_scratch(s);
    x64_store_imm(&s->buf, W32, RM_CPU(exit_id), in->op | in->w << 16);
    x64_call(&s->buf, s->thunks->eval[x64_vec_kept(s)]);
    x64_load(&s->buf, W64, X_RAX, RM_CPU(slow_value));
    x64_store(&s->buf, W64, slot(flags_slot(s, f)), X_RAX);
}

/* The guest's flags as the block finds them, or as a helper left them. */
static void emit_getf(struct x64_sel *s, ir_ref f)
{
    x64_clobber(s);
    x64_flush_scratch(s);
    x64_alu_imm(&s->buf, ALU_CMP, W8, RM_CPU(lazy_kind), LAZY_AHF);
    u8 *ok = x64_jcc_later(&s->buf, CC_E);
    x64_call(&s->buf, s->thunks->fetch_flags[x64_vec_kept(s)]);
    s->counters->flag_fetches += x64_on(s, T_fetch);
    x64_bind(&s->buf, ok);
    x64_load(&s->buf, W64, X_RAX, RM_CPU(lazy_a));
    x64_store(&s->buf, W64, slot(flags_slot(s, f)), X_RAX);
}

/* EFLAGS positions to AHF: the low byte goes to AH, bit 11 to AL. */
static void emit_fbits(struct x64_sel *s, ir_ref f, const struct ir_insn *in)
{
    x64_clobber(s);
    unsigned a = x64_take(s, X_RAX), t = x64_scratch(s);
    x64_fetch(s, t, in->arg[0]);
    x64_mov(&s->buf, W32, a, t);
    x64_shift_imm(&s->buf, SH_SHR, W32, x64_r(a), 11);
    x64_alu_imm(&s->buf, ALU_AND, W32, x64_r(a), 1);
    x64_shift_imm(&s->buf, SH_SHL, W32, x64_r(t), 8);
    x64_alu_imm(&s->buf, ALU_AND, W32, x64_r(t), 0xd500);
    x64_alu(&s->buf, ALU_OR, W32, a, x64_r(t));
    x64_store(&s->buf, W64, slot(flags_slot(s, f)), a);
}

/* One flag of a replaced by a boolean: bit 0 of AHF is OF, bits 8 to 15 are EFLAGS' 0 to 7. */
static void emit_fbit(struct x64_sel *s, ir_ref f, const struct ir_insn *in)
{
    unsigned b = x64_scratch(s), at = in->imm == FL_OF ? 0 : 8 + (unsigned)__builtin_ctzll(in->imm);
    ir_ref root = x64_root(s, in->arg[1]);
    if (s->val[root].flags & VAL_DEFERRED) {
        unsigned cc = x64_cond(s, root);
        x64_setcc(&s->buf, cc, x64_r(b));
    } else {
        x64_fetch(s, b, in->arg[1]);
    }
    if (s->fl_ref != in->arg[0] && s->val[in->arg[0]].spill < 0)
        x64_need_flags(s, in->arg[0]);
    if (s->fl_ref == in->arg[0])
        save_flags(s);
    x64_clobber(s);
    unsigned t = x64_scratch(s);
    x64_load(&s->buf, W8, b, x64_r(b));
    if (at)
        x64_shift_imm(&s->buf, SH_SHL, W32, x64_r(b), at);
    x64_load(&s->buf, W64, t, slot(s->val[in->arg[0]].spill));
    x64_alu_imm(&s->buf, ALU_AND, W32, x64_r(t), ~(1 << at));
    x64_alu(&s->buf, ALU_OR, W32, t, x64_r(b));
    x64_store(&s->buf, W64, slot(flags_slot(s, f)), t);
}

/* Flags of an ALU op whose result nobody wants: on a copy. */
static void emit_alone(struct x64_sel *s, const struct ir_insn *in)
{
    static const u8 shifts[] = {[IR_fshl - IR_fshl] = SH_SHL, [IR_fshr - IR_fshl] = SH_SHR,
                                [IR_fsar - IR_fshl] = SH_SAR, [IR_frol - IR_fshl] = SH_ROL,
                                [IR_fror - IR_fshl] = SH_ROR, [IR_frcl - IR_fshl] = SH_RCL,
                                [IR_frcr - IR_fshl] = SH_RCR};
    u64 n;
    unsigned t;
    switch (in->op) {
    case IR_finc:
    case IR_fdec:
        t = copy(s, in->arg[0]);
        x64_need_flags(s, in->arg[1]);
        x64_consume(s, (ir_ref)(in - s->ir->insns));
        x64_op(&s->buf, X64_OP(in->w == W16 ? 0x66 : 0, 0, in->w == W8 ? 0xfe : 0xff),
               in->w == W64, false, in->w == W8, in->op == IR_fdec, x64_r(t));
        break;
    case IR_fadc:
    case IR_fsbb:
        t = copy(s, in->arg[0]);
        struct x64_rm b = x64_use_rm(s, in->arg[1]);
        x64_carry(s, in->arg[2]);
        x64_consume(s, (ir_ref)(in - s->ir->insns));
        x64_alu(&s->buf, in->op == IR_fadc ? ALU_ADC : ALU_SBB, in->w, t, b);
        break;
    default:
        if (!x64_is_const(s, in->arg[1], &n)) {
            x64_take(s, X_RCX);
            x64_fetch(s, X_RCX, in->arg[1]);
        }
        t = copy(s, in->arg[0]);
        if (in->arg[2])
            x64_need_flags(s, in->arg[2]);
        else
            x64_clobber(s);
        x64_consume(s, (ir_ref)(in - s->ir->insns));
        if (x64_is_const(s, in->arg[1], &n))
            x64_shift_imm(&s->buf, shifts[in->op - IR_fshl], in->w, x64_r(t), (unsigned)n);
        else
            x64_shift_cl(&s->buf, shifts[in->op - IR_fshl], in->w, x64_r(t));
    }
}

static void emit_compare(struct x64_sel *s, const struct ir_insn *in)
{
    s32 imm;
    ir_ref a = in->arg[0];
    x64_clobber(s);
    if (in->op == IR_flogic) {
        const struct ir_insn *and = &s->ir->insns[x64_root(s, a)];
        if (and->op == IR_and && s->val[x64_root(s, a)].flags & VAL_DEFERRED) {
            if (x64_is_imm(s, and->arg[1], in->w, &imm)) {
                x64_test_imm(&s->buf, in->w, x64_use_rm(s, and->arg[0]), imm);
            } else {
                unsigned r = x64_use(s, and->arg[0]);
                x64_test(&s->buf, in->w, x64_use_rm(s, and->arg[1]), r);
            }
            return;
        }
        unsigned r = x64_use(s, a);
        x64_test(&s->buf, in->w, x64_r(r), r);
    } else if (in->op == IR_fsub) {
        if (x64_is_imm(s, in->arg[1], in->w, &imm)) {
            x64_alu_imm(&s->buf, ALU_CMP, in->w, x64_use_rm(s, a), imm);
        } else {
            unsigned r = x64_use(s, a);
            x64_alu(&s->buf, ALU_CMP, in->w, r, x64_use_rm(s, in->arg[1]));
        }
    } else {
        unsigned t = copy(s, a);
        x64_alu(&s->buf, ALU_ADD, in->w, t, x64_use_rm(s, in->arg[1]));
    }
}

void x64_emit_flags(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref f = (ir_ref)(in - s->ir->insns), twin = s->val[f].twin;
    if (!x64_flags_wanted(s, f)) {
        ir_ref a, b;
        s->counters->recipes += x64_recipe_kind(s, f, &a, &b) != 0;
        return;
    }
    if (twin && !(s->val[twin].flags & (VAL_DONE | VAL_DEFERRED))) {
        s->val[twin].flags |= VAL_DONE;
        x64_emit_int(s, &s->ir->insns[twin]);
        if (s->val[f].flags & VAL_DONE)
            return;
    }
    switch (in->op) {
    case IR_fadd:
    case IR_fsub:
    case IR_flogic: emit_compare(s, in); break;
    case IR_fadc:
    case IR_fsbb:
    case IR_finc:
    case IR_fdec:
    case IR_fshl:
    case IR_fshr:
    case IR_fsar:
    case IR_frol:
    case IR_fror:
    case IR_frcl:
    case IR_frcr: emit_alone(s, in); break;
    case IR_getf: emit_getf(s, f); return;
    case IR_fbits:
        if (x64_x87_is_flags(s, f))
            break;
        emit_fbits(s, f, in);
        return;
    case IR_fbit:
        if (in->imm && !(in->imm & (in->imm - 1)))
            emit_fbit(s, f, in);
        else
            eval_flags(s, f, in);
        return;
    default: eval_flags(s, f, in); return;
    }
    x64_flags_made(s, f);
}

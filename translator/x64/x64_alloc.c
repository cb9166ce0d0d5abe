/* Where integer values live: scratch registers, homes of guest registers, spill slots.  Emits only
 * moves, so the host's flags survive anything in this file. */
#include "translator/x64/x64_sel.h"

/* RSI, RDI, R8-R11 are lost in calls to C and reloaded by the thunks; the hottest guest registers
 * of compiled code have the registers that C keeps. */
const u8 x64_home_reg[16] = {
    [RAX] = X_RBX, [RCX] = X_R10, [RDX] = X_R11, [RBX] = X_R13, [RSP] = X_R14, [RBP] = X_R15,
    [RSI] = X_RSI, [RDI] = X_RDI, [R8] = X_R8,   [R9] = X_R9,   [R10] = X_NONE, [R11] = X_NONE,
    [R12] = X_R12, [R13] = X_NONE, [R14] = X_NONE, [R15] = X_NONE,
};

static struct x64_rm gpr_slot(unsigned guest)
{
    return x64_m(X_RSP, CPU_OFF(gpr) + 8 * (s32)guest);
}

static struct x64_rm spill_slot(int slot)
{
    return x64_m(X_RSP, CPU_OFF(spill) + 8 * slot);
}

static struct x64_rm home_rm(unsigned guest)
{
    return x64_home_reg[guest] != X_NONE ? x64_r(x64_home_reg[guest]) : gpr_slot(guest);
}

bool x64_is_const(const struct x64_sel *s, ir_ref r, u64 *v)
{
    const struct ir_insn *in = &s->ir->insns[x64_root(s, r)];
    if (in->op != IR_const)
        return false;
    *v = in->imm;
    return true;
}

u32 x64_effects(const struct x64_sel *s, unsigned i)
{
    u32 effects = ir_effects(&s->ir->insns[i]);
    return s->val[i].flags & VAL_SURE ? effects & ~(u32)E_FAULT : effects;
}

bool x64_is_pc(const struct x64_sel *s, ir_ref r, u64 *v)
{
    const struct ir_insn *in = &s->ir->insns[x64_root(s, r)];
    *v = in->imm;
    return in->op == IR_pc;
}

bool x64_is_imm(const struct x64_sel *s, ir_ref r, unsigned w, s32 *imm)
{
    u64 v;
    if (!x64_is_const(s, r, &v))
        return false;
    s64 sv = sign_extend(v, W_BITS(w));
    *imm = (s32)sv;
    return sv == (s32)sv;
}

bool x64_live_after(const struct x64_sel *s, ir_ref r)
{
    return s->val[r].last_use > s->cur;
}

int x64_new_spill(struct x64_sel *s, ir_ref r)
{
    if (s->spill_used == ~0ull) {
        s->failed = "spill slots";
        return 0;
    }
    int i = __builtin_ctzll(~s->spill_used);
    s->spill_used |= BIT64(i);
    s->spill_val[i] = r;
    s->counters->spills++;
    return i;
}

static void evict(struct x64_sel *s, unsigned reg)
{
    ir_ref r = s->reg_val[reg];
    struct x64_val *v = &s->val[r];
    if (!r)
        return;
    if (v->last_use >= s->cur && v->home < 0 && v->spill < 0) {
        v->spill = (s16)x64_new_spill(s, r);
        x64_store(&s->buf, W64, spill_slot(v->spill), reg);
    }
    v->reg = -1;
    s->reg_val[reg] = 0;
}

unsigned x64_scratch(struct x64_sel *s)
{
    static const u8 order[] = {X_RCX, X_RDX, X_RAX};
    unsigned best = X_NONE;
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        unsigned reg = order[i];
        if (s->pinned & 1 << reg)
            continue;
        if (!s->reg_val[reg]) {
            best = reg;
            break;
        }
        if (best == X_NONE || s->val[s->reg_val[reg]].last_use > s->val[s->reg_val[best]].last_use)
            best = reg;
    }
    if (best == X_NONE) {
        s->failed = "scratch registers";
        best = X_RAX;
    }
    evict(s, best);
    s->pinned |= (u16)(1 << best);
    return best;
}

unsigned x64_take(struct x64_sel *s, unsigned reg)
{
    evict(s, reg);
    s->pinned |= (u16)(1 << reg);
    return reg;
}

void x64_fetch(struct x64_sel *s, unsigned reg, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    const struct x64_val *v = &s->val[root];
    u64 c;
    if (x64_is_const(s, r, &c))
        x64_mov_imm(&s->buf, reg, c);
    else if (x64_is_pc(s, r, &c))
        x64_mov_pc(&s->buf, reg, c);
    else if (v->reg >= 0)
        x64_mov(&s->buf, W64, reg, (unsigned)v->reg);
    else if (v->home >= 0 && x64_home_reg[v->home] != X_NONE)
        x64_mov(&s->buf, W64, reg, x64_home_reg[v->home]);
    else if (v->home >= 0)
        x64_load(&s->buf, W64, reg, gpr_slot((unsigned)v->home));
    else if (v->spill >= 0)
        x64_load(&s->buf, W64, reg, spill_slot(v->spill));
    else
        s->failed = "value without a place";
}

unsigned x64_use(struct x64_sel *s, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    struct x64_val *v = &s->val[root];
    if (v->reg >= 0) {
        s->pinned |= (u16)(1 << v->reg);
        return (unsigned)v->reg;
    }
    if (v->home >= 0 && x64_home_reg[v->home] != X_NONE)
        return x64_home_reg[v->home];
    unsigned reg = x64_scratch(s);
    x64_fetch(s, reg, root);
    if (!ir_is_const(&s->ir->insns[root])) {
        v->reg = (s8)reg;
        s->reg_val[reg] = root;
    }
    return reg;
}

struct x64_rm x64_use_rm(struct x64_sel *s, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    const struct x64_val *v = &s->val[root];
    if (v->reg < 0 && !ir_is_const(&s->ir->insns[root])) {
        if (v->home >= 0)
            return home_rm((unsigned)v->home);
        if (v->spill >= 0)
            return spill_slot(v->spill);
    }
    return x64_r(x64_use(s, r));
}

/* Takes every value off the list of guest's home. */
static void drop_home(struct x64_sel *s, unsigned guest)
{
    for (ir_ref r = s->home_head[guest]; r; r = s->val[r].alias_next)
        s->val[r].home = -1;
    s->home_head[guest] = 0;
}

static void add_home(struct x64_sel *s, unsigned guest, ir_ref r)
{
    struct x64_val *v = &s->val[r];
    if (v->home >= 0)
        return; /* it is at another home already; that one will do */
    v->home = (s8)guest;
    v->alias_next = s->home_head[guest];
    s->home_head[guest] = r;
}

void x64_def(struct x64_sel *s, ir_ref r, unsigned reg)
{
    struct x64_val *v = &s->val[r];
    if (SCRATCH_MASK & 1 << reg) {
        if (s->reg_val[reg] && s->reg_val[reg] != r)
            s->val[s->reg_val[reg]].reg = -1;
        s->reg_val[reg] = r;
        v->reg = (s8)reg;
        return;
    }
    drop_home(s, v->put_reg);
    add_home(s, v->put_reg, r);
}

bool x64_may_go_home(const struct x64_sel *s, ir_ref r, ir_ref head, enum ir_op get,
                     enum ir_op put)
{
    const struct x64_val *v = &s->val[r];
    if (v->put_at <= s->cur || v->put_at - s->cur > 16)
        return false;
    for (unsigned k = s->cur + 1; k < v->put_at; k++) {
        const struct ir_insn *in = &s->ir->insns[k];
        if (s->val[k].flags & (VAL_DEFERRED | VAL_DONE) && in->op != IR_vld)
            continue;
        if (x64_effects(s, k) & (E_FAULT | E_CALL | E_EXIT | E_END))
            return false;
        if ((in->op == put || in->op == get) && in->aux == v->put_reg)
            return false;
    }
    for (ir_ref a = head; a; a = s->val[a].alias_next)
        if (x64_live_after(s, a))
            return false;
    return true;
}

unsigned x64_dst(struct x64_sel *s, ir_ref r, unsigned reuse)
{
    unsigned guest = s->val[r].put_reg;
    if (x64_on(s, T_coalesce) && x64_home_reg[guest] != X_NONE &&
        x64_may_go_home(s, r, s->home_head[guest], IR_get, IR_put)) {
        s->counters->coalesced++;
        return x64_home_reg[guest];
    }
    if (reuse != X_NONE && SCRATCH_MASK & 1 << reuse) {
        ir_ref old = s->reg_val[reuse];
        struct x64_val *v = &s->val[old];
        if (!old || !x64_live_after(s, old) || v->home >= 0 || v->spill >= 0) {
            s->pinned |= (u16)(1 << reuse); /* x64_def takes it from the old value */
            return reuse;
        }
    }
    return x64_scratch(s);
}

void x64_flush_scratch(struct x64_sel *s)
{
    evict(s, X_RAX);
    evict(s, X_RCX);
    evict(s, X_RDX);
}

/* Gives a value that lives only at guest's home another place. */
static void move_away(struct x64_sel *s, unsigned guest, ir_ref r, bool to_register)
{
    struct x64_val *v = &s->val[r];
    unsigned from = x64_home_reg[guest];
    if (v->reg >= 0 || v->spill >= 0)
        return;
    unsigned free_reg = X_NONE;
    for (unsigned reg = X_RAX; reg <= X_RDX; reg++)
        if (!s->reg_val[reg] && !(s->pinned & 1 << reg))
            free_reg = reg;
    if (free_reg != X_NONE && to_register) {
        x64_fetch(s, free_reg, r);
        v->reg = (s8)free_reg;
        s->reg_val[free_reg] = r;
        return;
    }
    if (from == X_NONE) {
        from = X_RAX; /* a register of the slot's own: borrowed, so that no value moves */
        x64_store(&s->buf, W64, RM_CPU(scratch), X_RAX);
        x64_load(&s->buf, W64, X_RAX, gpr_slot(guest));
    }
    v->spill = (s16)x64_new_spill(s, r);
    x64_store(&s->buf, W64, spill_slot(v->spill), from);
    if (x64_home_reg[guest] == X_NONE)
        x64_load(&s->buf, W64, X_RAX, RM_CPU(scratch));
}

static void clear_home(struct x64_sel *s, unsigned guest, ir_ref except, bool to_register)
{
    for (ir_ref r = s->home_head[guest]; r; r = s->val[r].alias_next)
        if (r != except && x64_live_after(s, r))
            move_away(s, guest, r, to_register);
    drop_home(s, guest);
}

/* The recipe of the call itself counts: the helper may change the register before it raises. */
void x64_flush_homes(struct x64_sel *s)
{
    for (unsigned g = 0; g < 16; g++) {
        for (ir_ref r = s->home_head[g]; r; r = s->val[r].alias_next)
            if (s->val[r].last_use >= s->cur)
                move_away(s, g, r, false);
        drop_home(s, g);
    }
}

void x64_put(struct x64_sel *s, unsigned guest, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    struct x64_val *v = &s->val[root];
    unsigned home = x64_home_reg[guest];
    if (v->home == (s8)guest)
        return;
    if (ir_is_const(&s->ir->insns[root])) {
        s32 imm;
        clear_home(s, guest, 0, true);
        if (home != X_NONE) {
            x64_fetch(s, home, root);
        } else if (x64_is_imm(s, root, W64, &imm)) {
            x64_store_imm(&s->buf, W64, gpr_slot(guest), imm);
        } else {
            unsigned t = x64_scratch(s);
            x64_fetch(s, t, root);
            x64_store(&s->buf, W64, gpr_slot(guest), t);
        }
        return;
    }
    if (home == X_NONE)
        x64_use(s, root); /* now it is in a register */
    clear_home(s, guest, root, true);
    if (home != X_NONE)
        x64_fetch(s, home, root);
    else
        x64_store(&s->buf, W64, gpr_slot(guest), x64_use(s, root));
    add_home(s, guest, root);
}

struct x64_loc x64_loc(struct x64_sel *s, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    const struct x64_val *v = &s->val[root];
    u64 c;
    if (!r)
        return (struct x64_loc){LOC_NONE, 0, 0};
    if (x64_is_const(s, r, &c))
        return (struct x64_loc){LOC_CONST, 0, c};
    if (x64_is_pc(s, r, &c))
        return (struct x64_loc){LOC_PC, 0, c - s->ir->rip};
    if (v->home >= 0)
        return (struct x64_loc){LOC_GPR, (u8)v->home, 0};
    if (v->spill >= 0)
        return (struct x64_loc){LOC_SPILL, (u8)v->spill, 0};
    if (v->reg >= 0)
        return (struct x64_loc){LOC_SCRATCH, (u8)v->reg, 0};
    s->failed = "flags operand without a place";
    return (struct x64_loc){LOC_NONE, 0, 0};
}

void x64_release_dead(struct x64_sel *s)
{
    for (unsigned reg = X_RAX; reg <= X_RDX; reg++) {
        ir_ref r = s->reg_val[reg];
        if (r && !x64_live_after(s, r)) {
            s->val[r].reg = -1;
            s->reg_val[reg] = 0;
        }
    }
    for (u64 used = s->spill_used; used; used &= used - 1) {
        int i = __builtin_ctzll(used);
        ir_ref r = s->spill_val[i];
        if (!x64_live_after(s, r) && s->val[r].need <= s->cur) {
            s->val[r].spill = -1;
            s->spill_used &= ~BIT64(i);
        }
    }
    if (s->vec)
        x64_xrelease_dead(s);
    s->pinned = s->xpinned = 0;
}

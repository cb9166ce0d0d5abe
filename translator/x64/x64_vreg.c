/* Where vector values live: scratch registers, homes of guest registers, spill slots.
 *
 * XMM4 to XMM15 are homes of the guest's XMM0 to XMM11 and hold their low 128 bits across blocks
 * while cpu.vec_host is set; a block that touches vectors looks once, and loads them if they are
 * not there.  C code finds all of them in struct cpu: whatever calls it stores them first, and only
 * a slow path in the middle of a block that uses them loads them again.  The upper halves of YMM
 * registers are in struct cpu after every instruction, for programs of SSE would pay to keep them:
 * an instruction of 128 bits with VEX clears in a register what it must not clear in the guest's.
 * Within a block, a home that has a value of 256 bits holds them all.
 *
 * With technique vhomes off, all sixteen are scratch and every putv writes to struct cpu.
 */
#include "translator/x64/x64_sel.h"

bool x64_has_xhome(const struct x64_sel *s, unsigned home)
{
    return s->vhomes && home < X64_XHOMES;
}

unsigned x64_vec_kept(const struct x64_sel *s)
{
    return s->vhomes && !s->xhomes_in ? 0 : s->vec;
}

void x64_xhomes_in(struct x64_sel *s)
{
    if (s->xhomes_in || !s->vhomes)
        return;
    x64_clobber(s);
    struct x64_stub *stub = x64_stub(s);
    stub->thunk = s->thunks->vec_load; /* which cannot raise, so that it needs no site's state */
    x64_alu_imm(&s->buf, ALU_CMP, W8, RM_CPU(vec_host), 0);
    stub->from = x64_jcc_later(&s->buf, CC_E);
    stub->back = s->buf.p;
    s->xhomes_in = true;
}

/* From 16 on, the upper half of a register. */
static struct x64_rm xmm_slot(unsigned home)
{
    return x64_m(X_RSP,
                 CPU_OFF(xmm) + (s32)sizeof(union vec) * (s32)(home & 15) + (home & 16 ? 16 : 0));
}

static struct x64_rm home_rm(const struct x64_sel *s, unsigned home)
{
    return x64_has_xhome(s, home) ? x64_r(X64_XSCRATCH + home) : xmm_slot(home);
}

static struct x64_rm vspill_slot(int slot)
{
    return x64_m(X_RSP, CPU_OFF(vspill) + 32 * slot);
}

/* Bits of a value that count, as its op's vl says. */
static unsigned vl_of(const struct x64_sel *s, ir_ref r)
{
    return s->ir->insns[r].vl;
}

static unsigned scratch_count(const struct x64_sel *s)
{
    return s->vhomes ? X64_XSCRATCH : 16;
}

void x64_vmov(struct x64_sel *s, unsigned vl, unsigned dst, struct x64_rm src)
{
    if (src.is_reg && src.reg == dst)
        return;
    u32 op = X64_OP(0, 1, src.is_reg ? 0x28 : 0x10);
    if (s->avx)
        x64_vex(&s->buf, op | (vl ? X64_VEX256 : 0), false, dst, 0, src);
    else
        x64_op(&s->buf, op, false, false, false, dst, src);
}

void x64_vstore(struct x64_sel *s, unsigned vl, struct x64_rm dst, unsigned src)
{
    if (s->avx)
        x64_vex(&s->buf, X64_OP(0, 1, 0x11) | (vl ? X64_VEX256 : 0), false, src, 0, dst);
    else
        x64_op(&s->buf, X64_OP(0, 1, 0x11), false, false, false, src, dst);
}

/* ---- scratch registers and spill slots ---- */

static void spill_from(struct x64_sel *s, ir_ref r, unsigned reg)
{
    int slot = 0;
    while (slot < 16 && s->vspill_val[slot])
        slot++;
    if (slot == 16) {
        s->failed = "vector spill slots";
        slot = 0;
    }
    s->vspill_val[slot] = r;
    s->val[r].spill = (s16)slot;
    x64_vstore(s, vl_of(s, r), vspill_slot(slot), reg);
}

static void xevict(struct x64_sel *s, unsigned reg)
{
    ir_ref r = s->xreg_val[reg];
    struct x64_val *v = &s->val[r];
    if (!r)
        return;
    if (v->last_use >= s->cur && v->home < 0 && v->spill < 0)
        spill_from(s, r, reg);
    v->reg = -1;
    s->xreg_val[reg] = 0;
}

unsigned x64_xtake(struct x64_sel *s, unsigned reg)
{
    xevict(s, reg);
    s->xpinned |= (u16)(1 << reg);
    return reg;
}

unsigned x64_xscratch(struct x64_sel *s)
{
    unsigned best = X_NONE;
    for (unsigned reg = 0; reg < scratch_count(s); reg++) {
        if (s->xpinned & 1 << reg)
            continue;
        if (!s->xreg_val[reg]) {
            best = reg;
            break;
        }
        /* Prefer to lose what is at home anyway, then what is needed last. */
        const struct x64_val *v = &s->val[s->xreg_val[reg]];
        if (best == X_NONE || v->last_use > s->val[s->xreg_val[best]].last_use ||
            v->last_use <= s->cur)
            best = reg;
    }
    if (best == X_NONE) {
        s->failed = "vector registers";
        best = 0;
    }
    return x64_xtake(s, best);
}

unsigned x64_xuse(struct x64_sel *s, ir_ref r)
{
    struct x64_val *v = &s->val[r];
    if (v->reg < 0) {
        if (v->home >= 0 && x64_has_xhome(s, (unsigned)v->home))
            return X64_XSCRATCH + (unsigned)v->home;
        unsigned reg = x64_xscratch(s);
        if (v->home >= 0)
            x64_vmov(s, vl_of(s, r), reg, xmm_slot((unsigned)v->home));
        else if (v->spill >= 0)
            x64_vmov(s, vl_of(s, r), reg, vspill_slot(v->spill));
        else
            s->failed = "vector without a place";
        v->reg = (s8)reg;
        s->xreg_val[reg] = r;
    }
    s->xpinned |= (u16)(1 << v->reg);
    return (unsigned)v->reg;
}

struct x64_rm x64_xuse_rm(struct x64_sel *s, ir_ref r, unsigned vl)
{
    const struct x64_val *v = &s->val[r];
    /* Memory does not hold the zeros above a value of 128 bits. */
    if (v->reg < 0 && v->last_use <= s->cur && vl <= vl_of(s, r)) {
        if (v->home >= 0)
            return home_rm(s, (unsigned)v->home);
        if (v->spill >= 0)
            return vspill_slot(v->spill);
    }
    return x64_r(x64_xuse(s, r));
}

void x64_xrelease_dead(struct x64_sel *s)
{
    for (unsigned i = 0; i < 16; i++) {
        ir_ref r = s->xreg_val[i];
        if (r && !x64_live_after(s, r)) {
            s->val[r].reg = -1;
            s->xreg_val[i] = 0;
        }
        r = s->vspill_val[i];
        if (r && !x64_live_after(s, r)) {
            s->val[r].spill = -1;
            s->vspill_val[i] = 0;
        }
    }
}

/* ---- homes ---- */

static void add_xhome(struct x64_sel *s, unsigned home, ir_ref r)
{
    struct x64_val *v = &s->val[r];
    v->home = (s8)home;
    v->alias_next = s->xhome_head[home];
    s->xhome_head[home] = r;
}

/* Gives value r, which is about to lose its home, another place. */
static void keep_elsewhere(struct x64_sel *s, unsigned home, ir_ref r)
{
    struct x64_rm from = home_rm(s, home);
    for (unsigned reg = 0; reg < scratch_count(s); reg++) {
        if (s->xreg_val[reg] || s->xpinned & 1 << reg)
            continue;
        x64_vmov(s, vl_of(s, r), reg, from);
        s->val[r].reg = (s8)reg;
        s->xreg_val[reg] = r;
        return;
    }
    if (from.is_reg)
        spill_from(s, r, from.reg);
    else
        x64_xuse(s, r);
}

/* Another home that r was put in as well, or 32. */
static unsigned second_home(const struct x64_sel *s, unsigned home, ir_ref r)
{
    for (unsigned other = 0; other < 16; other++)
        if (other != home && s->xhome_val[other] == r)
            return other;
    return 32;
}

/* Home `home` is about to be written: values there that are needed later must be elsewhere.
 * min_vl 1: only those with more than 128 bits. */
static void clear_xhome(struct x64_sel *s, unsigned home, ir_ref except, unsigned min_vl)
{
    ir_ref keep = 0, next;
    if (home < 16 && vl_of(s, s->xhome_val[home]) >= min_vl)
        s->xhome_val[home] = 0;
    for (ir_ref a = s->xhome_head[home]; a; a = next) {
        struct x64_val *v = &s->val[a];
        bool live = a != except && x64_live_after(s, a);
        next = v->alias_next;
        if (vl_of(s, a) < min_vl) {
            v->alias_next = keep;
            keep = a;
            continue;
        }
        unsigned other = live ? second_home(s, home, a) : 32;
        if (other < 32) {
            add_xhome(s, other, a);
            continue;
        }
        if (live && v->reg < 0 && v->spill < 0)
            keep_elsewhere(s, home, a);
        v->home = -1;
        if (v->reg >= 0 && !x64_live_after(s, a)) {
            s->xreg_val[v->reg] = 0;
            v->reg = -1;
        }
    }
    s->xhome_head[home] = keep;
}

void x64_xdef(struct x64_sel *s, ir_ref r, unsigned reg)
{
    if (reg >= scratch_count(s)) {
        clear_xhome(s, reg - X64_XSCRATCH, r, 0);
        add_xhome(s, reg - X64_XSCRATCH, r);
        return;
    }
    if (s->xreg_val[reg] && s->xreg_val[reg] != r)
        s->val[s->xreg_val[reg]].reg = -1;
    s->xreg_val[reg] = r;
    s->val[r].reg = (s8)reg;
}

unsigned x64_xdst(struct x64_sel *s, ir_ref r, unsigned busy)
{
    const struct x64_val *v = &s->val[r];
    unsigned reg = X64_XSCRATCH + v->put_reg;
    if (!x64_has_xhome(s, v->put_reg) || s->ir->insns[v->put_at].vl < vl_of(s, r) ||
        !x64_may_go_home(s, r, s->xhome_head[v->put_reg], IR_getv, IR_putv) || busy >> reg & 1)
        return x64_xscratch(s);
    s->counters->vec_homed++;
    return reg;
}

/* Writes the upper half of the guest register, of the value r or zero. */
static void put_upper(struct x64_sel *s, unsigned guest, ir_ref r, unsigned reg)
{
    struct x64_rm rm = xmm_slot(guest + 16);
    clear_xhome(s, guest + 16, r, 0);
    if (vl_of(s, r)) { /* VEXTRACTI128 */
        x64_vex(&s->buf, X64_OP(0x66, 3, 0x39) | X64_VEX256, false, reg, 0, rm);
        x64_byte(&s->buf, 1);
        s->xzero &= (u16) ~(1 << guest);
    } else if (!(s->xzero >> guest & 1)) {
        unsigned t = x64_xscratch(s);
        x64_vex(&s->buf, X64_OP(0x66, 1, 0xef), false, t, t, x64_r(t));
        x64_vstore(s, 0, rm, t);
        s->xzero |= (u16)(1 << guest);
    }
}

/* A putv to a home in memory, or to an upper half. */
static void put_memory(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = in->arg[0];
    unsigned home = in->aux + (in->imm ? 16 : 0);
    bool zero = s->ir->insns[r].op == IR_vzero;
    if (s->val[r].home == (s8)home && (!in->vl || vl_of(s, r)))
        return;
    if (in->imm && zero && s->xzero >> in->aux & 1)
        return;
    unsigned reg = x64_xuse(s, r);
    clear_xhome(s, home, r, 0);
    if (in->vl)
        clear_xhome(s, in->aux + 16, r, 0);
    if (in->imm)
        clear_xhome(s, in->aux, r, 1);
    x64_vstore(s, in->vl, xmm_slot(home), reg);
    if (in->imm || in->vl)
        s->xzero = (u16)((s->xzero & ~(1 << in->aux)) | (zero && in->imm) << in->aux);
    /* Of a value with 256 bits a put of 128 leaves only a part there. */
    if (s->val[r].home < 0 && in->vl >= vl_of(s, r))
        add_xhome(s, home, r);
}

void x64_putv(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = in->arg[0];
    unsigned guest = in->aux, reg = X64_XSCRATCH + guest;
    if (in->imm || !x64_has_xhome(s, guest)) {
        put_memory(s, in);
        return;
    }
    if (s->val[r].home != (s8)guest && s->xhome_val[guest] != r) {
        unsigned from = x64_xuse(s, r);
        clear_xhome(s, guest, r, 0);
        x64_vmov(s, in->vl & vl_of(s, r), reg, x64_r(from));
        if (in->vl >= vl_of(s, r)) {
            if (s->val[r].home < 0)
                add_xhome(s, guest, r);
            s->xhome_val[guest] = r;
        }
    } else if (!s->xhome_val[guest]) {
        s->xhome_val[guest] = r;
    }
    if (in->vl)
        put_upper(s, guest, r, reg);
}

/* Whether the home's register holds all 256 bits, or what is above the low 128 is a value's. */
static bool has_whole(const struct x64_sel *s, unsigned home)
{
    for (ir_ref a = s->xhome_head[home]; a; a = s->val[a].alias_next)
        if (vl_of(s, a))
            return true;
    return false;
}

static bool needs_zeros(const struct x64_sel *s, unsigned home)
{
    for (ir_ref a = s->xhome_head[home]; a; a = s->val[a].alias_next)
        if (s->ir->insns[a].op != IR_getv && x64_live_after(s, a))
            return true;
    return false;
}

void x64_getv(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned home = in->aux + (in->imm ? 16 : 0), reg = X64_XSCRATCH + home;
    if (in->vl && x64_has_xhome(s, home) && !has_whole(s, home)) {
        x64_xhomes_in(s);
        bool aside = needs_zeros(s, home);
        unsigned dst = aside ? x64_xscratch(s) : reg;
        /* VINSERTI128 */
        x64_vex(&s->buf, X64_OP(0x66, 3, 0x38) | X64_VEX256, false, dst, reg, xmm_slot(home + 16));
        x64_byte(&s->buf, 1);
        if (aside) {
            x64_xdef(s, r, dst);
            return;
        }
        s->xhome_val[home] = r;
    }
    if (home < 16 && !s->xhome_val[home])
        s->xhome_val[home] = r;
    add_xhome(s, home, r);
}

void x64_flush_vectors(struct x64_sel *s, bool homes)
{
    if (!s->vec)
        return;
    bool moves = false;
    for (unsigned home = 0; home < 16; home++)
        for (ir_ref a = s->xhome_head[home]; a; a = s->val[a].alias_next)
            moves |= x64_live_after(s, a) && (homes || vl_of(s, a)) && x64_has_xhome(s, home);
    if (moves)
        x64_xhomes_in(s);
    s->xpinned = 0;
    if (homes) { /* no second homes either */
        memset(s->xhome_val, 0, sizeof s->xhome_val);
        s->xzero = 0;
    }
    for (unsigned home = 0; home < 32; home++) {
        if (homes)
            clear_xhome(s, home, 0, 0);
        else if (x64_has_xhome(s, home)) /* comes back without its upper half */
            clear_xhome(s, home, 0, 1);
    }
    for (unsigned reg = 0; reg < 16; reg++)
        xevict(s, reg);
}

/* Memory ops of the x86-64 selector: the inline TLB check, its slow path stubs, atomics. */
#include "translator/x64/x64_sel.h"

#define ENTRY_OFF(field) ((s32)offsetof(struct tlb_entry, field))

struct x64_stub *x64_stub(struct x64_sel *s)
{
    if (s->stub_count == MAX_STUBS) {
        s->failed = "stubs";
        s->stub_count--;
    }
    struct x64_stub *stub = &s->stubs[s->stub_count++];
    memset(stub, 0, sizeof *stub);
    stub->areg = X_NONE;
    stub->op = (u16)s->cur;
    return stub;
}

/* ---- addresses ---- */

/* Whether node r is (or, marking, may be) folded into the op that uses it. */
static bool folded(struct x64_sel *s, ir_ref r, bool mark)
{
    struct x64_val *v = &s->val[r];
    if (mark && x64_on(s, T_addr) && v->uses == 1 && !v->twin && !v->put_at)
        v->flags |= VAL_DEFERRED;
    return v->flags & VAL_DEFERRED;
}

static bool is_scale(const struct x64_sel *s, ir_ref r, unsigned w, unsigned *shift)
{
    const struct ir_insn *in = &s->ir->insns[r];
    u64 c;
    if (in->op != IR_shl || in->w != w || !x64_is_const(s, in->arg[1], &c) || c > 3)
        return false;
    *shift = (unsigned)c;
    return true;
}

/* An add whose second operand is an immediate, of the width w. */
static bool is_add_imm(const struct x64_sel *s, ir_ref r, unsigned w, s32 *imm)
{
    const struct ir_insn *in = &s->ir->insns[r];
    return in->op == IR_add && in->w == w && x64_is_imm(s, in->arg[1], w, imm);
}

/* Splits the add at r into base, index, scale and displacement. */
static struct x64_addr split_add(struct x64_sel *s, ir_ref r, bool mark)
{
    const struct ir_insn *in = &s->ir->insns[r];
    struct x64_addr a = {.scale = 1, .w = in->w};
    unsigned shift;
    s32 imm;
    if (is_add_imm(s, r, in->w, &imm)) {
        a.disp = imm;
        ir_ref left = x64_root(s, in->arg[0]);
        const struct ir_insn *l = &s->ir->insns[left];
        a.base = left;
        if (l->op == IR_add && l->w == in->w && !x64_is_imm(s, l->arg[1], l->w, &imm) &&
            folded(s, left, mark)) {
            a.base = x64_root(s, l->arg[0]);
            a.index = x64_root(s, l->arg[1]);
        }
    } else {
        a.base = x64_root(s, in->arg[0]);
        a.index = x64_root(s, in->arg[1]);
        if (is_add_imm(s, a.base, in->w, &imm) && folded(s, a.base, mark)) {
            a.disp = imm;
            a.base = x64_root(s, s->ir->insns[a.base].arg[0]);
        }
    }
    if (a.index && is_scale(s, a.base, in->w, &shift) && folded(s, a.base, mark)) {
        ir_ref t = a.base;
        a.base = a.index;
        a.index = t;
    }
    if (a.index && is_scale(s, a.index, in->w, &shift) && s->val[a.index].flags & VAL_DEFERRED) {
        a.index = x64_root(s, s->ir->insns[a.index].arg[0]);
        a.scale = (u8)(1 << shift);
    } else if (a.index && mark && is_scale(s, a.index, in->w, &shift) &&
               folded(s, a.index, mark)) {
        a.index = x64_root(s, s->ir->insns[a.index].arg[0]);
        a.scale = (u8)(1 << shift);
    }
    return a;
}

struct x64_addr x64_match_addr(struct x64_sel *s, ir_ref r, bool mark)
{
    ir_ref root = x64_root(s, r);
    const struct ir_insn *in = &s->ir->insns[root];
    if (in->op == IR_add && in->w >= W32 && (root == s->cur || folded(s, root, mark) || !mark))
        return split_add(s, root, mark);
    return (struct x64_addr){.base = root, .scale = 1, .w = W64};
}

struct x64_rm x64_addr_rm(struct x64_sel *s, const struct x64_addr *a)
{
    unsigned base = x64_use(s, a->base);
    if (!a->index)
        return x64_m(base, a->disp);
    return x64_mx(base, x64_use(s, a->index), a->scale, a->disp);
}

unsigned x64_use_addr(struct x64_sel *s, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    if (!(s->val[root].flags & VAL_DEFERRED))
        return x64_use(s, r);
    struct x64_addr a = x64_match_addr(s, root, false);
    struct x64_rm rm = x64_addr_rm(s, &a);
    s->counters->addr_folds++;
    unsigned dst = x64_dst(s, root, X_NONE);
    x64_lea(&s->buf, a.w, dst, rm);
    s->pinned = (u16)(1 << dst) & SCRATCH_MASK;
    return dst;
}

/* ---- the check ---- */

struct check {
    struct x64_rm mem; /* the host's memory */
    unsigned addend;   /* scratch register with host - linear */
    unsigned spare;    /* a scratch register that is free once the address has been used */
    struct x64_stub *stub;
};

/* Register and displacement of the address r. */
static struct x64_rm use_base(struct x64_sel *s, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    if (s->val[root].flags & VAL_DEFERRED) {
        struct x64_addr a = x64_match_addr(s, root, false);
        bool room = a.disp < 1 << 30 && a.disp > -(1 << 30); /* a group may go to other bytes */
        if (!a.index && a.w == W64 && room) {
            s->counters->addr_folds++;
            return x64_m(x64_use(s, a.base), a.disp);
        }
    }
    return x64_m(x64_use_addr(s, r), 0);
}

/* The access at `base`, with its stub, for which registers have been found. */
static void set_address(struct x64_sel *s, struct check *c, struct x64_rm base, unsigned mf)
{
    c->mem = x64_mx(base.base, c->addend, 1, base.disp);
    c->stub = x64_stub(s);
    c->stub->areg = base.base;
    c->stub->disp = base.disp;
    c->stub->addend = (u8)c->addend;
    c->stub->word = mf;
    c->stub->free_reg = (u8)c->spare;
    c->stub->site = x64_site(s);
}

/* reg = base + disp, or its low half. */
static void emit_sum(struct x64_sel *s, unsigned w, unsigned reg, unsigned base, s32 disp)
{
    if (disp)
        x64_lea(&s->buf, w, reg, x64_m(base, disp));
    else
        x64_mov(&s->buf, w, reg, base);
}

/* An access to a page that an earlier one has checked: nothing can go wrong any more. */
static struct check emit_shared(struct x64_sel *s, const struct x64_page *page, ir_ref r,
                                bool write)
{
    struct check c = {.stub = &s->no_stub};
    struct x64_rm base = use_base(s, r);
    c.addend = c.spare = x64_scratch(s);
    if (write) /* an address that lasts (emit_ld) may be in the other one */
        c.spare = X_NONE;
    c.mem = x64_mx(base.base, c.addend, 1, base.disp);
    x64_load(&s->buf, W64, c.addend, x64_page_slot(s, page));
    s->counters->pages_shared++;
    return c;
}

/* Whether the page of the access is known now: an address that is constant or moves with the code,
 * and all bytes on its page. */
static bool known_page(const struct x64_sel *s, ir_ref r, unsigned size, u64 *address)
{
    return x64_on(s, T_known) && s->ir->hflags & HF_LONG &&
           (x64_is_const(s, r, address) || x64_is_pc(s, r, address)) &&
           (*address & ~PAGE_MASK) + size <= PAGE_SIZE;
}

/* The probe for an address whose page is known: its place in the TLB and its tag are immediates. */
static struct check emit_known(struct x64_sel *s, ir_ref r, u64 address, bool write, unsigned mf)
{
    struct check c;
    u64 page = address & PAGE_MASK;
    bool pc = x64_is_pc(s, r, &address);
    unsigned base = x64_scratch(s);
    c.addend = x64_scratch(s);
    c.spare = write ? x64_scratch(s) : base; /* for the value: nothing may be spilled later */
    set_address(s, &c, x64_m(base, (s32)(address & ~PAGE_MASK)), mf);
    x64_mov_index(&s->buf, c.addend, (u32)(page >> (PAGE_SHIFT - 5)), pc);
    x64_alu(&s->buf, ALU_AND, W32, c.addend, RM_TLB(mask));
    if (pc)
        x64_mov_pc(&s->buf, base, page);
    else
        x64_mov_imm(&s->buf, base, page);
    x64_alu(&s->buf, ALU_CMP, W64, base,
            x64_mx(X_RBP, c.addend, 1, write ? ENTRY_OFF(write) : ENTRY_OFF(read)));
    c.stub->from = x64_jcc_later(&s->buf, CC_NE);
    x64_load(&s->buf, W64, c.addend, x64_mx(X_RBP, c.addend, 1, ENTRY_OFF(addend)));
    s->counters->known_pages++;
    if (write)
        s->pinned &= (u16) ~(1 << c.spare);
    return c;
}

/* For the first of a group, whose stub is c's: that goes on here with the page's addend. */
static void check_page(struct x64_sel *s, struct check *c, struct x64_page *page, s32 disp,
                       bool write)
{
    unsigned what = write ? PAGE_WRITE : page->write ? PAGE_READ_FIRST : PAGE_READ;
    page->checked = true;
    c->stub->thunk = s->thunks->page[c->addend][c->spare][what][x64_vec_kept(s)];
    c->stub->again = s->buf.p;
    c->stub->site.own = (u16)((disp - page->lo) | (c->stub->word & MF_STACK ? SITE_STACK : 0));
    if (s->f_stored == s->f_cur)
        c->stub->site.flags.kind = RECIPE_ENV;
    c->stub = &s->no_stub;
    x64_store(&s->buf, W64, x64_page_slot(s, page), c->addend);
}

/* Emits the inline TLB probe for `size` bytes at value r, accessed by op `op`. */
static struct check emit_check_of(struct x64_sel *s, ir_ref op, ir_ref r, unsigned size, bool write,
                                  unsigned mf)
{
    struct check c;
    s32 disp = 0;
    struct x64_page *page = x64_page_of(s, op, &disp);
    if (page && page->checked)
        return emit_shared(s, page, r, write);
    x64_clobber(s);
    unsigned align = mf & MF_ALIGN32           ? 32
                     : mf & MF_ALIGN16         ? 16
                     : s->ir->hflags & HF_ALIGN ? x64_alignment(size)
                                                : 1;
    u64 known;
    if (!page && align == 1 && !(mf & MF_SYSTEM) && known_page(s, r, size, &known))
        return emit_known(s, r, known, write, mf);
    struct x64_rm base = align > 1 ? x64_m(x64_use_addr(s, r), 0) : use_base(s, r);
    c.spare = s->reg_val[X_RAX] || s->pinned & 1 << X_RAX ? x64_scratch(s) : x64_take(s, X_RAX);
    c.addend = x64_scratch(s);
    set_address(s, &c, base, mf);
    if (mf & MF_SYSTEM && s->ir->hflags & HF_USER) {
        c.stub->from = x64_jmp_later(&s->buf);
        s->pinned &= (u16)~(1 << c.spare);
        return c;
    }
    if (align > 1) {
        x64_test_imm(&s->buf, W8, x64_r(base.base), (s32)align - 1);
        c.stub->from2 = x64_jcc_later(&s->buf, CC_NE);
    }
    /* From the first byte to the last: of the group, or just this access. */
    s32 from = page ? page->lo - disp : 0, to = page ? page->hi - disp - 1 : (s32)size - 1;
    bool for_write = page ? page->write : write;
    if (base.disp + from || !s->bmi2) {
        emit_sum(s, W32, c.addend, base.base, base.disp + from);
        x64_shift_imm(&s->buf, SH_SHR, W32, x64_r(c.addend), PAGE_SHIFT - 5);
    } else { /* what it brings in from below is masked */
        x64_vex(&s->buf, X64_OP(0xf2, 3, 0xf0), false, c.addend, 0, x64_r(base.base));
        x64_byte(&s->buf, PAGE_SHIFT - 5);
    }
    x64_alu(&s->buf, ALU_AND, W32, c.addend, RM_TLB(mask));
    emit_sum(s, W64, c.spare, base.base, base.disp + to);
    x64_alu_imm(&s->buf, ALU_AND, W64, x64_r(c.spare), -(s32)PAGE_SIZE);
    x64_alu(&s->buf, ALU_CMP, W64, c.spare,
            x64_mx(X_RBP, c.addend, 1, for_write ? ENTRY_OFF(write) : ENTRY_OFF(read)));
    c.stub->from = x64_jcc_later(&s->buf, CC_NE);
    x64_load(&s->buf, W64, c.addend, x64_mx(X_RBP, c.addend, 1, ENTRY_OFF(addend)));
    s->pinned &= (u16)~(1 << c.spare);
    if (page) {
        c.stub->last = base.disp + to;
        c.stub->disp = base.disp + from;
        check_page(s, &c, page, disp, write);
    }
    return c;
}

static struct check emit_check(struct x64_sel *s, ir_ref r, unsigned size, bool write, unsigned mf)
{
    return emit_check_of(s, (ir_ref)s->cur, r, size, write, mf);
}

/* As emit_check, leaving the host address in a scratch register (addend). */
static struct check emit_check_host(struct x64_sel *s, ir_ref r, unsigned size, bool write,
                                    unsigned mf)
{
    struct check c = emit_check(s, r, size, write, mf);
    x64_lea(&s->buf, W64, c.addend, c.mem);
    c.stub->thunk = s->thunks->host[write][x64_vec_kept(s)];
    c.stub->value_kind = STUB_CONST;
    c.stub->value = size;
    c.stub->dst_kind = STUB_GPR;
    c.stub->dst = (u8)c.addend;
    c.stub->w = W64;
    c.stub->back = s->buf.p;
    return c;
}

unsigned x64_check_host(struct x64_sel *s, ir_ref r, unsigned size, bool write, unsigned mf)
{
    return emit_check_host(s, r, size, write, mf).addend;
}

/* ---- loads and stores ---- */

static void emit_ld(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    ir_ref st = s->val[r].twin;
    if (st) { /* read-modify-write: one check for both, for writing */
        struct check c = emit_check_host(s, in->arg[0], W_BYTES(in->w), true, in->aux);
        x64_def(s, st, c.addend);
        s->counters->rmw_fused++;
        unsigned dst = x64_dst(s, r, c.spare);
        x64_load(&s->buf, in->w, dst, x64_m(c.addend, 0));
        x64_def(s, r, dst);
        return;
    }
    struct check c = emit_check(s, in->arg[0], W_BYTES(in->w), in->aux & MF_RMW, in->aux);
    unsigned dst = x64_dst(s, r, c.spare);
    x64_load(&s->buf, in->w, dst, c.mem);
    c.stub->thunk = s->thunks->load[x64_vec_kept(s)][in->w];
    c.stub->dst_kind = STUB_GPR;
    c.stub->dst = (u8)dst;
    c.stub->w = in->w;
    c.stub->back = s->buf.p;
    x64_def(s, r, dst);
}

/* Where a value is now, without moving it. */
static struct x64_rm place_of(struct x64_sel *s, ir_ref r)
{
    ir_ref root = x64_root(s, r);
    struct x64_loc loc = x64_loc(s, root);
    if (s->val[root].reg >= 0)
        return x64_r((unsigned)s->val[root].reg);
    if (loc.kind == LOC_GPR && x64_home_reg[loc.index] != X_NONE)
        return x64_r(x64_home_reg[loc.index]);
    if (loc.kind == LOC_GPR)
        return x64_m(X_RSP, CPU_OFF(gpr) + 8 * loc.index);
    return x64_m(X_RSP, CPU_OFF(spill) + 8 * loc.index);
}

static void emit_st(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    ir_ref value = in->arg[1];
    s32 imm;
    u64 cv = 0;
    if (s->val[r].flags & VAL_RES) {
        unsigned host = x64_use(s, r);
        if (x64_is_imm(s, value, in->w, &imm))
            x64_store_imm(&s->buf, in->w, x64_m(host, 0), imm);
        else
            x64_store(&s->buf, in->w, x64_m(host, 0), x64_use(s, value));
        return;
    }
    struct check c = emit_check(s, in->arg[0], W_BYTES(in->w), true, in->aux);
    bool pc = x64_is_pc(s, value, &cv), constant = pc || x64_is_const(s, value, &cv);
    c.stub->thunk = s->thunks->store[x64_vec_kept(s)][in->w];
    c.stub->value_kind = pc ? STUB_PC : constant ? STUB_CONST : STUB_GPR;
    c.stub->value = cv;
    if (!constant)
        c.stub->rm = place_of(s, value);
    if (x64_is_imm(s, value, in->w, &imm))
        x64_store_imm(&s->buf, in->w, c.mem, imm);
    else if (pc && in->w == W64 && (s64)cv == (s32)cv)
        x64_store_pc(s, c.mem, cv, X_NONE);
    else /* in a register that was free, and that the stub loads too: it skips this */
        x64_store(&s->buf, in->w, c.mem, c.stub->free_reg = (u8)x64_use(s, value));
    c.stub->back = s->buf.p;
}

static void emit_vld(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned dst = x64_xdst(s, r, 0); /* before the check: the stub skips what comes after it */
    struct check c = emit_check(s, in->arg[0], W_BYTES(in->w), false, in->aux);
    u32 op = in->w == W256   ? X64_OP(0, 1, 0x10) | X64_VEX256
             : in->w == W128 ? X64_OP(0, 1, 0x10)
             : in->w == W64 ? X64_OP(0xf3, 1, 0x7e)
                            : X64_OP(0x66, 1, 0x6e);
    if (s->avx)
        x64_vex(&s->buf, op, false, dst, 0, c.mem);
    else
        x64_op(&s->buf, op, false, false, false, dst, c.mem);
    c.stub->thunk = s->thunks->load[x64_vec_kept(s)][in->w];
    c.stub->dst_kind = STUB_XMM;
    c.stub->dst = (u8)dst;
    c.stub->w = in->w;
    c.stub->back = s->buf.p;
    x64_xdef(s, r, dst);
}

struct x64_rm x64_check_vector(struct x64_sel *s, ir_ref ld)
{
    const struct ir_insn *in = &s->ir->insns[ld];
    x64_x87_flush(s);
    struct check c = emit_check_of(s, ld, in->arg[0], W_BYTES(in->w), false, in->aux);
    c.stub->thunk = s->thunks->load[x64_vec_kept(s)][in->w];
    c.stub->dst_kind = STUB_MEM;
    c.stub->dst = (u8)c.addend;
    c.stub->rm = c.mem;
    c.stub->back = s->buf.p;
    return c.mem;
}

static void emit_vst(struct x64_sel *s, const struct ir_insn *in)
{
    unsigned v = x64_xuse(s, in->arg[1]);
    struct check c = emit_check(s, in->arg[0], W_BYTES(in->w), true, in->aux);
    u32 op = in->w == W256   ? X64_OP(0, 1, 0x11) | X64_VEX256
             : in->w == W128 ? X64_OP(0, 1, 0x11)
             : in->w == W64 ? X64_OP(0x66, 1, 0xd6)
                            : X64_OP(0x66, 1, 0x7e);
    if (s->avx)
        x64_vex(&s->buf, op, false, v, 0, c.mem);
    else
        x64_op(&s->buf, op, false, false, false, v, c.mem);
    c.stub->thunk = s->thunks->store[x64_vec_kept(s)][in->w];
    c.stub->value_kind = STUB_XMM;
    c.stub->rm = x64_r(v);
    c.stub->w = in->w;
    c.stub->back = s->buf.p;
}

/* 32 bytes from two registers, behind one check. */
static void emit_vst2(struct x64_sel *s, const struct ir_insn *in)
{
    unsigned lo = x64_xuse(s, in->arg[1]), hi = x64_xuse(s, in->arg[2]);
    struct check c = emit_check(s, in->arg[0], 32, true, in->aux);
    struct x64_rm high = c.mem;
    high.disp += 16;
    x64_vstore(s, 0, c.mem, lo);
    x64_vstore(s, 0, high, hi);
    c.stub->thunk = s->thunks->store[x64_vec_kept(s)][W256];
    c.stub->value_kind = STUB_XMM2;
    c.stub->rm = x64_r(lo);
    c.stub->dst = (u8)hi;
    c.stub->back = s->buf.p;
}

static void emit_segaddr(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned size = in->imm & 0xff, w = s->ir->hflags & HF_LONG ? W64 : W32;
    s32 seg = CPU_OFF(seg) + (s32)sizeof(struct segment) * in->aux;
    bool write = in->imm & 0x100;
    x64_clobber(s);
    unsigned off = x64_use_addr(s, in->arg[0]);
    unsigned t = x64_scratch(s);
    struct x64_stub *stub = x64_stub(s);
    stub->thunk = s->thunks->seg[x64_vec_kept(s)];
    stub->areg = (u8)off;
    stub->word = in->aux | size << 8 | (u32)(in->imm >> 8 & 3) << 16;
    stub->site = x64_site(s);
    x64_lea(&s->buf, W64, t, x64_m(off, (s32)size));
    x64_alu(&s->buf, ALU_CMP, W64, t,
            x64_m(X_RSP, seg + (s32)(write ? offsetof(struct segment, span_w)
                                           : offsetof(struct segment, span_r))));
    stub->from = x64_jcc_later(&s->buf, CC_A);
    x64_mov(&s->buf, w, t, off);
    x64_alu(&s->buf, ALU_ADD, w, t, x64_m(X_RSP, seg + (s32)offsetof(struct segment, base)));
    stub->dst_kind = STUB_GPR;
    stub->dst = (u8)t;
    stub->w = W64;
    stub->back = s->buf.p;
    x64_def(s, r, t);
}

/* ---- atomics ---- */

static void lock_prefix(struct x64_sel *s)
{
    x64_byte(&s->buf, 0xf0);
}

/* CMPXCHG [mem], reg and its neighbours in map 0F, byte form one less. */
static void op_0f(struct x64_sel *s, unsigned op, unsigned w, unsigned reg, struct x64_rm mem)
{
    x64_op(&s->buf, X64_OP(w == W16 ? 0x66 : 0, 1, w == W8 ? op - 1 : op), w == W64, w == W8,
           w == W8, reg, mem);
}

/* In C, when the instruction runs alone because inline access was not possible. */
static void emit_atomic_slow(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    bool xchg = in->op == IR_cmpxchg;
    x64_clobber(s);
    ir_ref args[4] = {in->arg[0], 0, in->arg[1], xchg ? in->arg[2] : 0};
    for (unsigned i = 0; i < 4; i++) {
        struct x64_rm rm = x64_m(X_RSP, CPU_OFF(call_arg) + 8 * (s32)i);
        s->pinned = 0;
        if (i == 1)
            x64_store_imm(&s->buf, W64, rm,
                          (xchg ? 0xff : in->aux) | in->w << 8 | (s32)in->imm << 16);
        else if (args[i])
            x64_store(&s->buf, W64, rm, i ? x64_use(s, args[i]) : x64_use_addr(s, args[i]));
    }
    s->pinned = 0;
    x64_flush_scratch(s);
    x64_flush_vectors(s, false);
    x64_call_c(s, (const void *)x64_slow_atomic, s->thunks->call);
    x64_def(s, r, X_RAX);
}

/* old & b and its like: a loop around CMPXCHG. */
static void emit_atomic_loop(struct x64_sel *s, const struct ir_insn *in, unsigned host,
                             unsigned t)
{
    static const u8 alu_of[] = {[AT_AND] = ALU_AND, [AT_OR] = ALU_OR, [AT_XOR] = ALU_XOR};
    s32 imm = 0;
    bool is_imm = x64_is_imm(s, in->arg[1], in->w, &imm);
    struct x64_rm b = x64_r(t);
    if (!is_imm && ir_is_const(&s->ir->insns[x64_root(s, in->arg[1])])) {
        x64_fetch(s, t, in->arg[1]);
        x64_store(&s->buf, W64, RM_CPU(slow_value), t);
        b = RM_CPU(slow_value);
    } else if (!is_imm) {
        b = place_of(s, in->arg[1]);
    }
    x64_load(&s->buf, in->w, X_RAX, x64_m(host, 0));
    u64 again = x64_here(&s->buf);
    x64_mov(&s->buf, W64, t, X_RAX);
    if (is_imm)
        x64_alu_imm(&s->buf, alu_of[in->aux], in->w, x64_r(t), imm);
    else
        x64_alu(&s->buf, alu_of[in->aux], in->w, t, b);
    lock_prefix(s);
    op_0f(s, 0xb1, in->w, t, x64_m(host, 0));
    x64_jcc(&s->buf, CC_NE, again);
}

static void emit_atomic(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    if (s->ir->hflags & HF_ONE) {
        emit_atomic_slow(s, r, in);
        return;
    }
    struct check c = emit_check_host(s, in->arg[0], W_BYTES(in->w), true, (unsigned)in->imm);
    unsigned host = c.addend;
    s->pinned = (u16)(1 << host);
    struct x64_rm mem = x64_m(host, 0);
    if (in->op == IR_cmpxchg || in->aux == AT_AND || in->aux == AT_OR || in->aux == AT_XOR) {
        if (host == X_RAX) {
            x64_take(s, X_RCX);
            x64_mov(&s->buf, W64, X_RCX, X_RAX);
            host = X_RCX;
        }
        x64_take(s, X_RAX);
        unsigned t = host == X_RCX ? x64_take(s, X_RDX) : x64_take(s, X_RCX);
        if (in->op == IR_cmpxchg) {
            x64_fetch(s, X_RAX, in->arg[1]);
            x64_fetch(s, t, in->arg[2]);
            lock_prefix(s);
            op_0f(s, 0xb1, in->w, t, x64_m(host, 0));
            if (in->w == W32)
                x64_mov(&s->buf, W32, X_RAX, X_RAX);
        } else {
            emit_atomic_loop(s, in, host, t);
        }
        x64_def(s, r, X_RAX);
        return;
    }
    unsigned t = x64_scratch(s);
    x64_fetch(s, t, in->arg[1]);
    if (in->aux == AT_XCHG) {
        x64_op(&s->buf, X64_OP(in->w == W16 ? 0x66 : 0, 0, in->w == W8 ? 0x86 : 0x87),
               in->w == W64, in->w == W8, in->w == W8, t, mem);
    } else {
        if (in->aux == AT_SUB)
            x64_f7(&s->buf, F7_NEG, in->w, x64_r(t));
        lock_prefix(s);
        op_0f(s, 0xc1, in->w, t, mem);
    }
    x64_def(s, r, t);
}

void x64_emit_mem(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = (ir_ref)(in - s->ir->insns);
    switch (in->op) {
    case IR_ld: emit_ld(s, r, in); break;
    case IR_st: emit_st(s, r, in); break;
    case IR_vld: emit_vld(s, r, in); break;
    case IR_vst: emit_vst(s, in); break;
    case IR_vst2: emit_vst2(s, in); break;
    case IR_segaddr: emit_segaddr(s, r, in); break;
    case IR_atomic:
    case IR_cmpxchg: emit_atomic(s, r, in); break;
    case IR_fence: /* MFENCE */
        x64_byte(&s->buf, 0x0f);
        x64_byte(&s->buf, 0xae);
        x64_byte(&s->buf, 0xf0);
        break;
    default: s->failed = "memory op without a selector";
    }
}

/* Ways out of a block: side exits, chaining, indirect jumps, helper calls, and the stubs. */
#include "translator/x64/x64_sel.h"

struct x64_site x64_site(struct x64_sel *s)
{
    return (struct x64_site){.insn = (u16)(s->insn_rip - s->ir->rip),
                             .index = (u16)(s->insns - 1),
                             .flags = x64_recipe(s)};
}

/* The call just emitted is at this site. */
static void put_site(struct x64_sel *s, const struct x64_site *site)
{
    if (s->site_count == MAX_SITES) {
        s->failed = "sites";
        return;
    }
    s->sites[s->site_count] = *site;
    s->sites[s->site_count++].ret = (u32)(s->buf.p - s->start);
}

void x64_site_here(struct x64_sel *s)
{
    struct x64_site site = x64_site(s);
    put_site(s, &site);
}

static struct x64_exit *new_exit(struct x64_sel *s, u64 rip, unsigned fate, u32 *id)
{
    struct x64_exit *e = x64_new_exit(s->engine, id);
    if (!e) {
        s->failed = "exits";
        static struct x64_exit none;
        return &none;
    }
    *e = (struct x64_exit){.from = s->block, .rip = rip, .fate = (u8)fate};
    return e;
}

static void store_exit(struct x64_buf *b, u32 id)
{
    x64_store_imm(b, W32, RM_CPU(exit_id), (s32)id);
    x64_reloc(b, XR_EXIT, 0, 4);
}

void x64_store_pc(struct x64_sel *s, struct x64_rm rm, u64 pc, unsigned t)
{
    if ((s64)pc == (s32)pc) {
        x64_store_imm(&s->buf, W64, rm, (s32)pc);
        x64_reloc(&s->buf, XR_PC32, 0, 4);
    } else {
        x64_mov_pc(&s->buf, t, pc);
        x64_store(&s->buf, W64, rm, t);
    }
}

/* Flags of an exit: already in struct cpu, dead, or to be found by a recipe. */
static struct x64_recipe exit_recipe(struct x64_sel *s, unsigned fate)
{
    if (fate == XF_DEAD || s->f_stored == s->f_cur)
        return (struct x64_recipe){.kind = RECIPE_ENV};
    return x64_recipe(s);
}

bool x64_same_page(const struct x64_sel *s, u64 rip)
{
    u64 page = (s->ir->cs_base + s->ir->rip) & PAGE_MASK;
    u64 first = s->ir->cs_base + rip, last = first + JUMP_CROSSING;
    return s->chain && (first & PAGE_MASK) == page && (last & PAGE_MASK) == page &&
           s->block->b.phys2 == ~0ull;
}

/* The stub that leaves through e. */
static struct x64_stub *exit_stub(struct x64_sel *s, struct x64_exit *e, u32 id)
{
    struct x64_stub *stub = x64_stub(s);
    stub->exit = e;
    stub->word = id;
    return stub;
}

/* Emits the jump out of a direct exit whose flags are settled.  tag_reg: a scratch register that
 * holds the jump tag when it does not fit an immediate. */
static void emit_leave(struct x64_sel *s, struct x64_stub *stub, bool backward, unsigned tag_reg)
{
    struct x64_exit *e = stub->exit;
    if (!s->chain) {
        stub->from = x64_jmp_later(&s->buf);
        return;
    }
    if (backward) {
        x64_alu_imm(&s->buf, ALU_CMP, W32, RM_CPU(requests), 0);
        stub->from2 = x64_jcc_later(&s->buf, CC_NE);
    }
    if (x64_same_page(s, e->rip)) {
        if (s->buf.p == s->start) /* these two bytes become a jump when the block is dropped */
            x64_bytes(&s->buf, 0x9066, 2);
        x64_align_field(&s->buf, 1);
        stub->from = e->field = x64_jmp_later(&s->buf);
        return;
    }
    if (s->links) {
        bool global = s->block->b.global;
        e->far = global ? FAR_GLOBAL : FAR_LOCAL;
        x64_align_field(&s->buf, 14);
        x64_alu_imm(&s->buf, ALU_CMP, W32, x64_m(X_RBP, TLB_OFF(map_id[global])), MMU_NO_MAP);
        stub->from = x64_jcc_later(&s->buf, CC_NE);
        e->field = x64_jmp_later(&s->buf);
        return;
    }
    s32 entry = JUMPS_OFF + (s32)jump_index(e->rip) * (s32)sizeof(struct jump_entry);
    u64 tag = jump_tag(e->rip, s->ir->hflags);
    bool imm = (s64)tag == (s32)tag;
    if (imm)
        x64_alu_imm(&s->buf, ALU_CMP, W64, x64_m(X_RBP, entry), (s32)tag);
    else
        x64_alu_store(&s->buf, ALU_CMP, W64, x64_m(X_RBP, entry), tag_reg);
    x64_reloc(&s->buf, XR_JUMP, stub->word - s->first_exit, imm ? 8 : 4);
    if (imm)
        x64_reloc(&s->buf, XR_TAG32, 0, 4);
    /* The short encodings, of few entries and tags, stay where they are. */
    s->relocs.failed |= entry >= -128 || (imm && (s8)tag == (s64)tag);
    stub->from = x64_jcc_later(&s->buf, CC_NE);
    x64_jmp_rm(&s->buf, x64_m(X_RBP, entry + 8));
    x64_reloc(&s->buf, XR_JUMP, stub->word - s->first_exit, 4);
}

static bool needs_tag(const struct x64_sel *s, u64 rip)
{
    u64 tag = jump_tag(rip, s->ir->hflags);
    return s->chain && !s->links && !x64_same_page(s, rip) && (s64)tag != (s32)tag;
}

static void put_tag(struct x64_sel *s, unsigned t, u64 rip)
{
    u64 tag = jump_tag(rip, s->ir->hflags);
    x64_mov_imm(&s->buf, t, tag);
    if (tag > 0xffffffffu)
        x64_reloc(&s->buf, XR_TAG64, 0, 8);
    else
        s->relocs.failed = true;
}

/* Loads the jump tag of a far-away target before the flags matter. */
static unsigned load_tag(struct x64_sel *s, u64 rip)
{
    if (!needs_tag(s, rip))
        return X_NONE;
    unsigned t = x64_scratch(s);
    put_tag(s, t, rip);
    return t;
}

/* XF_ as this exit can use it: only a chained exit on the page can leave flags behind. */
static unsigned usable_fate(const struct x64_sel *s, const struct ir_insn *in)
{
    return x64_same_page(s, in->imm) ? in->aux : in->aux == XF_DEAD ? XF_FAULT : in->aux;
}

/* Whether the exit behind this one is on the page and finds the flags dead, which this one does
 * not: then that one is taken by the conditional jump, and the flags are stored behind it. */
static bool flags_for_taken_only(const struct x64_sel *s, const struct ir_insn *in)
{
    const struct ir_insn *next = in + 1;
    return s->chain && next->op == IR_exit && next->aux == XF_DEAD && next->imm > s->insn_rip &&
           x64_same_page(s, next->imm) && usable_fate(s, in) != XF_DEAD && in->w != EXIT_AGAIN;
}

static void emit_swapped(struct x64_sel *s, const struct ir_insn *in)
{
    u32 id, next_id;
    const struct ir_insn *next = in + 1;
    unsigned tag = load_tag(s, in->imm);
    unsigned cc = x64_cond(s, in->arg[0]);
    struct x64_exit *e = new_exit(s, next->imm, XF_DEAD, &next_id);
    e->flags = exit_recipe(s, XF_DEAD);
    x64_align_field(&s->buf, 2);
    struct x64_stub *stub = exit_stub(s, e, next_id);
    stub->from = e->field = x64_jcc_later(&s->buf, cc ^ 1);
    x64_store_flags(s);
    e = new_exit(s, in->imm, usable_fate(s, in), &id);
    e->flags = exit_recipe(s, e->fate);
    emit_leave(s, exit_stub(s, e, id), in->imm <= s->insn_rip, tag);
    s->val[s->cur + 1].flags |= VAL_DONE;
    s->counters->swapped++;
}

static void emit_exit_if(struct x64_sel *s, const struct ir_insn *in)
{
    if (x64_on(s, T_swap) && flags_for_taken_only(s, in)) {
        emit_swapped(s, in);
        return;
    }
    unsigned fate = usable_fate(s, in);
    bool backward = in->imm <= s->insn_rip;
    u32 id;
    if (s->chain && fate != XF_DEAD)
        x64_store_flags(s);
    unsigned tag = load_tag(s, in->imm);
    unsigned cc = x64_cond(s, in->arg[0]);
    struct x64_exit *e = new_exit(s, in->imm, fate, &id);
    e->flags = exit_recipe(s, fate);
    struct x64_stub *stub = exit_stub(s, e, id);
    if (s->counted && in->w == EXIT_AGAIN) {
        u8 *skip = x64_jcc_later(&s->buf, cc ^ 1);
        x64_alu_imm(&s->buf, ALU_ADD, W64, RM_CPU(budget),
                    (s32)(s->ir->guest_insns - s->insns + 1));
        emit_leave(s, stub, backward, tag);
        x64_bind(&s->buf, skip);
    } else if (!s->chain) {
        stub->from = x64_jcc_later(&s->buf, cc);
    } else if (!backward && x64_same_page(s, in->imm)) {
        x64_align_field(&s->buf, 2);
        stub->from = e->field = x64_jcc_later(&s->buf, cc);
    } else {
        u8 *skip = x64_jcc_later(&s->buf, cc ^ 1);
        emit_leave(s, stub, backward, tag);
        x64_bind(&s->buf, skip);
    }
}

static void emit_exit_direct(struct x64_sel *s, const struct ir_insn *in)
{
    unsigned fate = usable_fate(s, in);
    u32 id;
    if (s->chain && fate != XF_DEAD)
        x64_store_flags(s);
    unsigned tag = load_tag(s, in->imm);
    struct x64_exit *e = new_exit(s, in->imm, fate, &id);
    e->flags = exit_recipe(s, fate);
    emit_leave(s, exit_stub(s, e, id), in->imm <= s->insn_rip, tag);
}

void x64_leave_to(struct x64_sel *s, u64 rip, unsigned t)
{
    u32 id;
    struct x64_exit *e = new_exit(s, rip, XF_LIVE, &id);
    e->flags = exit_recipe(s, XF_LIVE);
    if (needs_tag(s, rip))
        put_tag(s, t, rip);
    emit_leave(s, exit_stub(s, e, id), false, t);
}

void x64_emit_jump_hash(struct x64_buf *b, unsigned reg, unsigned target)
{
    static_assert(sizeof(struct jump_entry) == 16, "so many times the index");
    x64_imul_imm(b, W32, reg, x64_r(target), (s32)JUMP_HASH);
    x64_shift_imm(b, SH_SHR, W32, x64_r(reg), 32 - JUMP_BITS - 4);
    x64_alu_imm(b, ALU_AND, W32, x64_r(reg), (JUMP_ENTRIES - 1) * 16);
}

/* Near indirect jump, call or return: the jump cache, or the run loop. */
static void emit_exit_ind(struct x64_sel *s, const struct ir_insn *in)
{
    u32 id;
    if (s->chain)
        x64_store_flags(s);
    unsigned target = x64_use(s, in->arg[0]);
    struct x64_exit *e = new_exit(s, in->imm, XF_LIVE, &id);
    e->dynamic = 1;
    e->branch = in->aux + 1;
    e->flags = exit_recipe(s, XF_LIVE);
    struct x64_stub *stub = exit_stub(s, e, id);
    stub->areg = (u8)target;
    if (!s->chain) {
        stub->from = x64_jmp_later(&s->buf);
        return;
    }
    unsigned tag = target, t = x64_scratch(s);
    u64 mode = jump_tag(0, s->ir->hflags);
    if (mode) {
        tag = x64_scratch(s);
        x64_mov_imm(&s->buf, tag, mode);
        x64_alu(&s->buf, ALU_XOR, W64, tag, x64_r(target));
    }
    x64_emit_jump_hash(&s->buf, t, target);
    x64_alu_store(&s->buf, ALU_CMP, W64, x64_mx(X_RBP, t, 1, JUMPS_OFF), tag);
    stub->from = x64_jcc_later(&s->buf, CC_NE);
    x64_alu_imm(&s->buf, ALU_CMP, W32, RM_CPU(requests), 0);
    stub->from2 = x64_jcc_later(&s->buf, CC_NE);
    x64_jmp_rm(&s->buf, x64_mx(X_RBP, t, 1, JUMPS_OFF + 8));
}

/* A helper has set rip: to the block there, or back to the run loop. */
static void emit_exit_lookup(struct x64_sel *s)
{
    u32 id;
    bool stay = !(s->ir->hflags & (HF_ONE | HF_TF));
    if (stay)
        x64_store_flags(s);
    struct x64_exit *e = new_exit(s, 0, XF_LIVE, &id);
    e->dynamic = 1;
    e->flags = exit_recipe(s, XF_LIVE);
    store_exit(&s->buf, id);
    x64_jmp(&s->buf, stay ? s->thunks->lookup : s->thunks->leave);
}

static void emit_raise(struct x64_sel *s, const struct ir_insn *in)
{
    s32 args[3] = {in->aux, (s32)in->imm, (s32)(in->imm >> 32 & 1)};
    x64_clobber(s);
    x64_flush_scratch(s);
    for (unsigned i = 0; i < 3; i++)
        x64_store_imm(&s->buf, W64, x64_m(X_RSP, CPU_OFF(call_arg) + 8 * (s32)i), args[i]);
    x64_call_c(s, (const void *)helpers[HELPER_raise].fn, s->thunks->call);
}

void x64_emit_exit(struct x64_sel *s, const struct ir_insn *in)
{
    switch (in->op) {
    case IR_exit_if: emit_exit_if(s, in); break;
    case IR_exit: emit_exit_direct(s, in); break;
    case IR_exit_ind: emit_exit_ind(s, in); break;
    case IR_exit_lookup: emit_exit_lookup(s); break;
    default: emit_raise(s, in);
    }
}

/* ---- helper calls ---- */

void x64_call_c(struct x64_sel *s, const void *fn, u64 thunk)
{
    u64 address = (u64)(uintptr_t)fn;
    x64_mov_imm(&s->buf, X_RAX, address);
    if (address > 0xffffffffu)
        x64_reloc(&s->buf, XR_HOST, 0, 8);
    x64_call(&s->buf, thunk);
    s->xhomes_in = false;
    x64_site_here(s);
}

void x64_emit_call(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = (ir_ref)(in - s->ir->insns);
    u32 effects = ir_helper_effects((unsigned)in->imm);
    unsigned args = ir_helper_args((unsigned)in->imm);
    if (x64_x87_emit(s, in))
        return;
    x64_system_fast(s, in);
    x64_clobber(s);
    if (effects & (HE_X87 | HE_VEC)) /* vector helpers may use fenv.h */
        x64_x87_to_cpu(s);
    if (effects & HE_ENV)
        x64_x87_forget(s);
    if (effects & HE_RFL) {
        x64_store_flags(s);
        s->pinned = 0;
    }
    for (unsigned i = 0; i < args && i < 4; i++) {
        struct x64_rm rm = x64_m(X_RSP, CPU_OFF(call_arg) + 8 * (s32)i);
        s32 imm;
        u64 pc;
        if (!in->arg[i])
            continue;
        if (x64_is_imm(s, in->arg[i], W64, &imm))
            x64_store_imm(&s->buf, W64, rm, imm);
        else if (x64_is_pc(s, in->arg[i], &pc) && (s64)pc == (s32)pc)
            x64_store_pc(s, rm, pc, X_NONE);
        else
            x64_store(&s->buf, W64, rm, x64_use(s, in->arg[i]));
        s->pinned = 0;
    }
    x64_flush_scratch(s);
    if (effects & HE_WGPR)
        x64_flush_homes(s);
    x64_flush_vectors(s, effects & HE_VEC);
    x64_call_c(s, (const void *)helpers[in->imm].fn,
               effects & HE_VEC   ? s->thunks->call_vec
               : effects & HE_RFL ? s->thunks->call_flags
                                  : s->thunks->call);
    if (effects & HE_WFL)
        s->f_cur = s->f_stored = 0;
    if (in->op == IR_callv && x64_live_after(s, r))
        x64_def(s, r, X_RAX);
}

/* ---- stubs ---- */

static void emit_slow(struct x64_sel *s, struct x64_stub *stub)
{
    struct x64_buf *b = &s->buf;
    if (stub->disp) {
        x64_lea(b, W64, stub->addend, x64_m(stub->areg, stub->disp));
        stub->areg = stub->addend;
    }
    if (stub->areg != X_NONE) /* first: free_reg may be the same */
        x64_store(b, W64, RM_CPU(slow_addr), stub->areg);
    if (stub->value_kind == STUB_CONST) {
        if ((s64)stub->value == (s32)stub->value) {
            x64_store_imm(b, W64, RM_CPU(slow_value), (s32)stub->value);
        } else {
            x64_mov_imm(b, stub->free_reg, stub->value);
            x64_store(b, W64, RM_CPU(slow_value), stub->free_reg);
        }
    } else if (stub->value_kind == STUB_PC) {
        x64_store_pc(s, RM_CPU(slow_value), stub->value, stub->free_reg);
    } else if (stub->value_kind == STUB_GPR) {
        unsigned reg = stub->rm.is_reg ? stub->rm.reg : stub->free_reg;
        if (!stub->rm.is_reg)
            x64_load(b, W64, reg, stub->rm);
        x64_store(b, W64, RM_CPU(slow_value), reg);
    } else if (stub->value_kind == STUB_XMM) {
        x64_vstore(s, stub->w == W256, RM_CPU(slow_value), stub->rm.reg);
    } else if (stub->value_kind == STUB_XMM2) {
        x64_vstore(s, 0, RM_CPU(slow_value), stub->rm.reg);
        x64_vstore(s, 0, RM_CPU(slow_value[2]), stub->dst);
    }
    x64_store_imm(b, W32, RM_CPU(exit_id), (s32)stub->word);
    x64_call(b, stub->thunk);
    put_site(s, &stub->site);
    if (stub->dst_kind == STUB_GPR) {
        x64_load(b, stub->w, stub->dst, RM_CPU(slow_value));
    } else if (stub->dst_kind == STUB_XMM) {
        if (s->avx)
            x64_vex(b, X64_OP(0, 1, 0x10) | (stub->w == W256 ? X64_VEX256 : 0), false, stub->dst, 0,
                    RM_CPU(slow_value));
        else
            x64_op(b, X64_OP(0, 1, 0x10), false, false, false, stub->dst, RM_CPU(slow_value));
    }
    if (stub->dst_kind == STUB_MEM) {
        x64_lea(b, W64, stub->dst, RM_CPU(slow_value));
        x64_alu(b, ALU_SUB, W64, stub->dst, x64_r(stub->rm.base));
        if (stub->rm.disp)
            x64_lea(b, W64, stub->dst, x64_m(stub->dst, -stub->rm.disp));
    }
    x64_jmp(b, (u64)(uintptr_t)stub->back + (u64)b->exec_delta);
}

/* The first access of a group whose check has failed: on with it if the thunk finds their page, or
 * else in a block of the instructions from this one on that share no checks. */
static void emit_page(struct x64_sel *s, const struct x64_stub *stub)
{
    struct x64_buf *b = &s->buf;
    u32 id;
    x64_lea(b, W64, stub->addend, x64_m(stub->areg, stub->disp));
    x64_lea(b, W64, stub->free_reg, x64_m(stub->areg, stub->last));
    x64_call(b, stub->thunk);
    put_site(s, &stub->site);
    x64_jcc(b, CC_E, (u64)(uintptr_t)stub->again + (u64)b->exec_delta);
    x64_store_recipe(s, &stub->site.flags, stub->addend);
    if (s->counted)
        x64_alu_imm(b, ALU_ADD, W64, RM_CPU(budget), s->ir->guest_insns - stub->site.index);
    struct x64_exit *e = new_exit(s, s->ir->rip + stub->site.insn, XF_LIVE, &id);
    e->far = FAR_APART;
    if (s->chain) {
        x64_align_field(b, 1);
        e->field = x64_jmp_later(b);
        x64_bind(b, e->field);
    }
    e->stub = x64_here(b);
    store_exit(b, id);
    x64_jmp(b, s->thunks->leave);
}

/* Out of the block, to where the jump cache knew no block, or to the run loop. */
static void emit_way_out(struct x64_sel *s, struct x64_stub *stub)
{
    struct x64_buf *b = &s->buf;
    struct x64_exit *e = stub->exit;
    bool resolve = s->chain && !e->field, far = e->far;
    e->stub = x64_here(b);
    if (stub->areg != X_NONE) {
        x64_store(b, W64, RM_CPU(rip), stub->areg);
    } else if (resolve) {
        x64_store_pc(s, RM_CPU(rip), e->rip, X_RAX);
    }
    store_exit(b, stub->word);
    x64_jmp(b, far       ? s->thunks->link
                : resolve ? s->thunks->other_ways
                          : s->thunks->leave);
}

void x64_emit_stubs(struct x64_sel *s)
{
    for (unsigned i = 0; i < s->stub_count; i++) {
        struct x64_stub *stub = &s->stubs[i];
        stub->at = (u32)(s->buf.p - s->start);
        if (stub->from)
            x64_bind(&s->buf, stub->from);
        if (stub->from2)
            x64_bind(&s->buf, stub->from2);
        if (stub->again)
            emit_page(s, stub);
        else if (stub->thunk)
            emit_slow(s, stub);
        else
            emit_way_out(s, stub);
    }
}

void x64_emit_header(struct x64_buf *b, u64 retired, u64 rip, const struct x64_block *block)
{
    u8 *entry = b->p;
    b->p -= X64_HEADER;
    x64_call(b, retired);
    x64_bytes(b, rip, 8);
    b->p = entry - 8;
    x64_bytes(b, (u64)(uintptr_t)block, 8);
}

void x64_emit_comparison(struct x64_sel *s)
{
    const struct ir *ir = s->ir;
    struct x64_buf *b = &s->buf;
    bool skip[IR_LIVE_BYTES] = {false};
    for (unsigned i = 0; i < ir->live_imms; i++)
        memset(skip + ir->live_imm[i].at, true, ir->live_imm[i].len);
    u32 id;
    struct x64_exit *e = new_exit(s, ir->rip, XF_LIVE, &id);
    e->flags.kind = RECIPE_ENV;
    e->stale = true;
    u8 *go_on = x64_jmp_later(b);
    u64 leave = x64_here(b);
    x64_store_imm(b, W32, RM_CPU(exit_id), (s32)id);
    x64_jmp(b, s->thunks->leave);
    x64_bind(b, go_on);
    x64_mov_imm(b, X_RAX, (u64)(uintptr_t)ir->live);
    for (unsigned at = 0, n; at < ir->guest_bytes; at += n) {
        struct x64_rm m = x64_m(X_RAX, (s32)at);
        unsigned left = ir->guest_bytes - at, run = 0;
        while (run < left && run < 8 && !skip[at + run])
            run++;
        n = run >= 8 ? 8 : run >= 4 ? 4 : run >= 2 ? 2 : 1;
        if (!run)
            continue;
        u64 v = load_le(ir->live_code + at, n);
        if (n == 8) {
            x64_mov_imm(b, X_RDX, v);
            x64_alu_store(b, ALU_CMP, W64, m, X_RDX);
        } else {
            unsigned w = n == 4 ? W32 : n == 2 ? W16 : W8;
            x64_alu_imm(b, ALU_CMP, w, m, (s32)sign_extend(v, n * 8));
        }
        x64_jcc(b, CC_NE, leave);
    }
    s->counters->live_blocks++;
}

void x64_emit_payment(struct x64_sel *s)
{
    s32 price = (s32)s->ir->guest_insns;
    x64_alu_imm(&s->buf, ALU_CMP, W64, RM_CPU(budget), price);
    x64_jcc(&s->buf, CC_L, s->block->code - X64_HEADER);
    x64_alu_imm(&s->buf, ALU_SUB, W64, RM_CPU(budget), price);
}

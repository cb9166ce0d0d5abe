/* Thunks between emitted code and C: entering, leaving, helper calls, slow paths.
 *
 * Emitted code runs with RSP at struct cpu; a call to a thunk pushes its return address just
 * below, so inside a thunk struct cpu is at RSP + 8.  Every thunk that calls C writes the homes
 * back first, for C may look at guest registers or raise an exception and never return.
 */
#include "cpu/cpu.h"
#include "translator/x64/x64_engine.h"

#define ENTRIES_OFF ((s32)offsetof(struct tlb_context, entries))

struct host {
    bool avx, vhomes;
};

static const u8 callee_saved[] = {X_RBX, X_RBP, X_R12, X_R13, X_R14, X_R15};

static void move_homes(struct x64_buf *b, bool store, s32 off)
{
    for (unsigned g = 0; g < 16; g++) {
        struct x64_rm slot = x64_m(X_RSP, off + CPU_OFF(gpr) + 8 * (s32)g);
        if (x64_home_reg[g] == X_NONE)
            continue;
        if (store)
            x64_store(b, W64, slot, x64_home_reg[g]);
        else
            x64_load(b, W64, x64_home_reg[g], slot);
    }
}

static void load_context(struct x64_buf *b, s32 off)
{
    x64_load(b, W64, X_RBP, x64_m(X_RSP, off + CPU_OFF(mmu.context)));
    x64_alu_imm(b, ALU_ADD, W64, x64_r(X_RBP), ENTRIES_OFF);
}

static void move_scratch(struct x64_buf *b, bool store, s32 off)
{
    for (unsigned r = X_RAX; r <= X_RDX; r++) {
        struct x64_rm slot = x64_m(X_RSP, off + CPU_OFF(scratch) + 8 * (s32)r);
        if (store)
            x64_store(b, W64, slot, r);
        else
            x64_load(b, W64, r, slot);
    }
}

/* LDMXCSR (/2), STMXCSR (/3). */
static void mxcsr(struct x64_buf *b, unsigned ext, struct x64_rm rm)
{
    x64_op(b, X64_OP(0, 1, 0xae), false, false, false, ext, rm);
}

static u64 make_enter(struct x64_buf *b)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    for (unsigned i = 0; i < ARRAY_SIZE(callee_saved); i++)
        x64_push(b, callee_saved[i]);
    x64_store(b, W64, x64_m(X_RDI, CPU_OFF(host_sp)), X_RSP);
    x64_mov(b, W64, X_RAX, X_RSI);
    x64_mov(b, W64, X_RSP, X_RDI);
    move_homes(b, false, 0);
    load_context(b, 0);
    mxcsr(b, 2, RM_CPU(guest_mxcsr_host));
    x64_jmp_rm(b, x64_r(X_RAX));
    return at;
}

static void move_vector(struct x64_buf *b, bool store, bool wide, unsigned reg, struct x64_rm rm,
                        bool avx)
{
    u32 op = X64_OP(0, 1, store ? 0x11 : 0x10) | (wide ? X64_VEX256 : 0);
    if (avx)
        x64_vex(b, op, false, reg, 0, rm);
    else
        x64_op(b, op, false, false, false, reg, rm);
}

static void move_vector_homes(struct x64_buf *b, bool store, s32 off, bool avx)
{
    for (unsigned x = 0; x < X64_XHOMES; x++)
        move_vector(b, store, false, X64_XSCRATCH + x,
                    x64_m(X_RSP, off + CPU_OFF(xmm) + (s32)sizeof(union vec) * (s32)x), avx);
    x64_store_imm(b, W8, x64_m(X_RSP, off + CPU_OFF(vec_host)), !store);
}

/* Vector homes to struct cpu if they are not there: before C code, and not undone. */
static void save_vector_homes(struct x64_buf *b, s32 off, struct host h)
{
    if (!h.vhomes)
        return;
    x64_alu_imm(b, ALU_CMP, W8, x64_m(X_RSP, off + CPU_OFF(vec_host)), 0);
    u8 *there = x64_jcc_later(b, CC_E);
    move_vector_homes(b, true, off, h.avx);
    x64_bind(b, there);
}

static u64 make_leave(struct x64_buf *b, struct host h)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    move_homes(b, true, 0);
    save_vector_homes(b, 0, h);
    move_scratch(b, true, 0);
    if (h.avx)
        x64_vzeroupper(b);
    mxcsr(b, 3, RM_CPU(guest_mxcsr_host));
    mxcsr(b, 2, RM_CPU(host_mxcsr));
    x64_load(b, W64, X_RSP, RM_CPU(host_sp));
    for (unsigned i = ARRAY_SIZE(callee_saved); i-- > 0;)
        x64_pop(b, callee_saved[i]);
    x64_ret(b);
    return at;
}

static u64 make_retired(struct x64_buf *b, u64 leave)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    x64_pop(b, X_RAX);
    x64_load(b, W64, X_RAX, x64_m(X_RAX, 0));
    x64_store(b, W64, RM_CPU(rip), X_RAX);
    x64_store_imm(b, W32, RM_CPU(exit_id), X64_EXIT_RETIRED);
    x64_jmp(b, leave);
    return at;
}

static void save_return_address(struct x64_buf *b)
{
    x64_load(b, W64, X_RCX, x64_m(X_RSP, 0));
    x64_store(b, W64, x64_m(X_RSP, 8 + CPU_OFF(host_ret)), X_RCX);
}

static void call_abs(struct x64_buf *b, const void *fn)
{
    x64_mov_imm(b, X_RAX, (u64)(uintptr_t)fn);
    x64_call_rm(b, x64_r(X_RAX));
}

/* Vector registers to and from a frame at RSP. */
static void move_vectors(struct x64_buf *b, bool store, unsigned vectors, struct host h)
{
    unsigned count = !vectors ? 0 : vectors == 1 && h.vhomes ? X64_XSCRATCH : 16;
    for (unsigned x = 0; x < count; x++)
        move_vector(b, store, vectors == 2, x, x64_m(X_RSP, (vectors == 2 ? 32 : 16) * (s32)x),
                    h.avx);
}

/* A slow path: fn(cpu, arg); all registers are kept: vectors 1 XMM, 2 YMM registers too. */
static u64 make_slow_part(struct x64_buf *b, void (*fn)(struct cpu *, u64), u64 arg,
                          unsigned vectors, struct host h)
{
    /* Keeps RSP a multiple of 16 at the call. */
    s32 frame = (vectors == 2 ? 512 : vectors ? 256 : 0) + 8;
    x64_align(b, 16);
    u64 at = x64_here(b);
    move_scratch(b, true, 8);
    move_homes(b, true, 8);
    save_return_address(b);
    if (vectors && h.vhomes)
        move_vector_homes(b, true, 8, h.avx);
    else
        save_vector_homes(b, 8, h);
    x64_lea(b, W64, X_RDI, x64_m(X_RSP, 8));
    x64_mov_imm(b, X_RSI, arg);
    x64_lea(b, W64, X_RSP, x64_m(X_RSP, -frame));
    move_vectors(b, true, vectors, h);
    if (h.avx)
        x64_vzeroupper(b);
    call_abs(b, (const void *)fn);
    if (vectors && h.vhomes)
        move_vector_homes(b, false, 8 + frame, h.avx);
    move_vectors(b, false, vectors, h);
    x64_lea(b, W64, X_RSP, x64_m(X_RSP, frame));
    move_homes(b, false, 8);
    move_scratch(b, false, 8);
    load_context(b, 8);
    return at;
}

static u64 make_slow(struct x64_buf *b, void (*fn)(struct cpu *, u64), u64 arg, unsigned vectors,
                     struct host h)
{
    u64 at = make_slow_part(b, fn, arg, vectors, h);
    x64_ret(b);
    return at;
}

/* x64_slow_page, and ZF as it says. */
static u64 make_slow_page(struct x64_buf *b, unsigned vectors, struct host h)
{
    u64 at = make_slow_part(b, x64_slow_page, 0, vectors, h);
    x64_alu_imm(b, ALU_CMP, W8, x64_m(X_RSP, 8 + CPU_OFF(slow_value[1])), 1);
    x64_ret(b);
    return at;
}

/* For struct x64_thunks.page: `slow` is x64_slow_page's, which comes back to where this was
 * called. */
static u64 make_page(struct x64_buf *b, unsigned r, unsigned q, unsigned what, u64 slow)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    x64_store(b, W64, x64_m(X_RSP, 8 + CPU_OFF(slow_addr)), r);
    x64_store_imm(b, W32, x64_m(X_RSP, 8 + CPU_OFF(exit_id)), (s32)(what | r << 2));
    x64_alu(b, ALU_XOR, W64, q, x64_r(r));
    x64_alu_imm(b, ALU_AND, W64, x64_r(q), -(s32)PAGE_SIZE);
    x64_jcc(b, CC_E, slow);
    x64_ret(b);
    return at;
}

static void load_args(struct x64_buf *b)
{
    static const u8 regs[] = {X_RSI, X_RDX, X_RCX, X_R8};
    x64_lea(b, W64, X_RDI, x64_m(X_RSP, 16));
    for (unsigned i = 0; i < 4; i++)
        x64_load(b, W64, regs[i], x64_m(X_RSP, 16 + CPU_OFF(call_arg) + 8 * (s32)i));
}

/* Helper calls; RAX is the function.  flags: materialise them first; vec: the helper works with
 * cpu.mxcsr, so the host's register is brought there and back. */
static u64 make_call(struct x64_buf *b, bool flags, bool vec, struct host h)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    move_homes(b, true, 8);
    save_return_address(b);
    save_vector_homes(b, 8, h);
    if (h.avx)
        x64_vzeroupper(b);
    x64_lea(b, W64, X_RSP, x64_m(X_RSP, -8));
    if (flags || vec) {
        x64_store(b, W64, x64_m(X_RSP, 16 + CPU_OFF(slow_addr)), X_RAX);
        if (vec) {
            mxcsr(b, 3, x64_m(X_RSP, 16 + CPU_OFF(guest_mxcsr_host)));
            mxcsr(b, 2, x64_m(X_RSP, 16 + CPU_OFF(host_mxcsr)));
            x64_lea(b, W64, X_RDI, x64_m(X_RSP, 16));
            call_abs(b, (const void *)x64_mxcsr_to_cpu);
        }
        x64_alu_imm(b, ALU_CMP, W8, x64_m(X_RSP, 16 + CPU_OFF(lazy_kind)), LAZY_NONE);
        u8 *there = x64_jcc_later(b, CC_E);
        x64_lea(b, W64, X_RDI, x64_m(X_RSP, 16));
        call_abs(b, (const void *)cpu_flags);
        x64_bind(b, there);
        x64_load(b, W64, X_RAX, x64_m(X_RSP, 16 + CPU_OFF(slow_addr)));
    }
    load_args(b);
    x64_call_rm(b, x64_r(X_RAX));
    if (vec)
        mxcsr(b, 2, x64_m(X_RSP, 16 + CPU_OFF(guest_mxcsr_host)));
    x64_lea(b, W64, X_RSP, x64_m(X_RSP, 8));
    move_homes(b, false, 8);
    load_context(b, 8);
    x64_ret(b);
    return at;
}

/* The jump cache has missed, and cpu.rip is set, or an exit is not linked: x64_resolve or x64_link
 * knows where to go on. */
static u64 make_resolve(struct x64_buf *b, u64 leave, u64 (*fn)(struct cpu *), struct host h)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    x64_alu_imm(b, ALU_CMP, W32, RM_CPU(requests), 0);
    x64_jcc(b, CC_NE, leave);
    move_homes(b, true, 0);
    save_vector_homes(b, 0, h);
    if (h.avx)
        x64_vzeroupper(b);
    x64_mov(b, W64, X_RDI, X_RSP);
    call_abs(b, (const void *)fn);
    move_homes(b, false, 0);
    load_context(b, 0);
    x64_jmp_rm(b, x64_r(X_RAX));
    return at;
}

/* The jump cache's entry at RDX, whose tag is RAX, changes places with the one at RCX, where
 * emitted code looks; on to it. */
static void swap_ways(struct x64_buf *b, const u64 *way_hits)
{
    struct x64_rm here_tag = x64_mx(X_RBP, X_RCX, 1, JUMPS_OFF);
    struct x64_rm there_tag = x64_mx(X_RBP, X_RDX, 1, JUMPS_OFF);
    struct x64_rm here_code = x64_mx(X_RBP, X_RCX, 1, JUMPS_OFF + 8);
    struct x64_rm there_code = x64_mx(X_RBP, X_RDX, 1, JUMPS_OFF + 8);
    x64_push(b, X_RBX);
    x64_load(b, W64, X_RBX, here_tag);
    x64_store(b, W64, there_tag, X_RBX);
    x64_store(b, W64, here_tag, X_RAX);
    x64_load(b, W64, X_RBX, here_code);
    x64_load(b, W64, X_RAX, there_code);
    x64_store(b, W64, there_code, X_RBX);
    x64_store(b, W64, here_code, X_RAX);
    x64_pop(b, X_RBX);
    x64_mov_imm(b, X_RDX, (u64)(uintptr_t)way_hits);
    x64_alu_imm(b, ALU_ADD, W64, x64_m(X_RDX, 0), 1);
    x64_jmp_rm(b, x64_r(X_RAX));
}

/* After a helper has set rip and maybe the mode, or emitted code has missed: the jump cache,
 * without the run loop.  way_hits: counts what is found elsewhere in the set; NULL: do not look.
 * Whatever the run loop must see (requests, a pending exception, HLT, one instruction at a time, a
 * CS that is not flat) leaves. */
static u64 make_lookup(struct x64_buf *b, u64 leave, u64 resolve, const u64 *way_hits)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    x64_alu_imm(b, ALU_CMP, W32, RM_CPU(requests), 0);
    x64_jcc(b, CC_NE, leave);
    x64_alu_imm(b, ALU_CMP, W32, RM_CPU(exc_vector), 0);
    x64_jcc(b, CC_GE, leave);
    x64_alu_imm(b, ALU_CMP, W8, RM_CPU(halted), 0);
    x64_jcc(b, CC_NE, leave);
    x64_load(b, W32, X_RAX, RM_CPU(hflags));
    x64_mov(b, W32, X_RCX, X_RAX);
    x64_alu_imm(b, ALU_AND, W32, x64_r(X_RCX), HF_CSFLAT | HF_ONE | HF_TF);
    x64_alu_imm(b, ALU_CMP, W32, x64_r(X_RCX), HF_CSFLAT);
    x64_jcc(b, CC_NE, leave);
    x64_alu_imm(b, ALU_AND, W32, x64_r(X_RAX), ~HF_USER);
    x64_alu_imm(b, ALU_XOR, W32, x64_r(X_RAX), HF_TAG_DEFAULT);
    x64_shift_imm(b, SH_SHL, W64, x64_r(X_RAX), 48);
    x64_load(b, W64, X_RCX, RM_CPU(rip));
    x64_alu(b, ALU_XOR, W64, X_RAX, x64_r(X_RCX));
    x64_emit_jump_hash(b, X_RDX, X_RCX);
    if (way_hits)
        x64_mov(b, W32, X_RCX, X_RDX);
    for (unsigned way = 0; way < (way_hits ? JUMP_WAYS : 1); way++) {
        if (way) {
            x64_mov(b, W32, X_RDX, X_RCX);
            x64_alu_imm(b, ALU_XOR, W32, x64_r(X_RDX), (s32)(way * sizeof(struct jump_entry)));
        }
        x64_alu_store(b, ALU_CMP, W64, x64_mx(X_RBP, X_RDX, 1, JUMPS_OFF), X_RAX);
        u8 *other = x64_jcc_later(b, CC_NE);
        if (way)
            swap_ways(b, way_hits);
        else
            x64_jmp_rm(b, x64_mx(X_RBP, X_RDX, 1, JUMPS_OFF + 8));
        x64_bind(b, other);
    }
    x64_jmp(b, resolve);
    return at;
}

static u64 make_vec_load(struct x64_buf *b, struct host h)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    move_vector_homes(b, false, 8, h.avx);
    x64_ret(b);
    return at;
}

#define FLAG_HANDLER 32u /* bytes of code for each kind of record */

/* The flags of a record of an arithmetic kind, in the host's flags and on to `end`.  RAX and RDX
 * are free. */
static void flags_of(struct x64_buf *b, unsigned kind, u64 end)
{
    struct x64_rm left = x64_m(X_RSP, 8 + CPU_OFF(lazy_a));
    struct x64_rm right = x64_m(X_RSP, 8 + CPU_OFF(lazy_b));
    unsigned w = kind & 3;
    x64_load(b, W64, X_RAX, left);
    switch (kind & ~3u) {
    case LAZY_ADD: x64_alu(b, ALU_ADD, w, X_RAX, right); break;
    case LAZY_SUB: x64_alu(b, ALU_CMP, w, X_RAX, right); break;
    case LAZY_LOGIC: x64_test(b, w, x64_r(X_RAX), X_RAX); break;
    case LAZY_ADD_RES:
        x64_load(b, W64, X_RDX, right);
        x64_alu(b, ALU_SUB, W64, X_RAX, x64_r(X_RDX));
        x64_alu(b, ALU_ADD, w, X_RAX, x64_r(X_RDX));
        break;
    case LAZY_SUB_RES:
        x64_load(b, W64, X_RDX, right);
        x64_alu(b, ALU_ADD, W64, X_RAX, x64_r(X_RDX));
        x64_alu(b, ALU_CMP, w, X_RAX, x64_r(X_RDX));
        break;
    }
    x64_jmp(b, end);
}

/* The same of shifts, whose OF is that of the last step; a 16- or 8-bit SHL is left to C. */
static void flags_of_shift(struct x64_buf *b, unsigned kind, u64 end)
{
    struct x64_rm left = x64_m(X_RSP, 8 + CPU_OFF(lazy_a));
    unsigned w = kind & 3, wide = w == W64 ? W64 : W32;
    x64_load(b, W64, X_RCX, x64_m(X_RSP, 8 + CPU_OFF(lazy_b)));
    if ((kind & ~3u) == LAZY_SAR && w < W32)
        x64_movsx(b, W32, w, X_RDX, left);
    else
        x64_load(b, w, X_RDX, left);
    x64_shift_cl(b, (kind & ~3u) == LAZY_SHL   ? SH_SHL
                    : (kind & ~3u) == LAZY_SHR ? SH_SHR
                                               : SH_SAR,
                 wide, x64_r(X_RDX));
    x64_byte(b, X64_LAHF);
    switch (kind & ~3u) {
    case LAZY_SHL: /* the highest bit and CF differ */
        x64_setcc(b, CC_S, x64_r(X_RAX));
        x64_setcc(b, CC_B, x64_r(X_RCX));
        x64_alu(b, ALU_XOR, W8, X_RAX, x64_r(X_RCX));
        break;
    case LAZY_SHR: /* the second highest: BT */
        x64_op(b, X64_OP(0, 1, 0xba), wide == W64, false, false, 4, x64_r(X_RDX));
        x64_byte(b, (u8)(W_BITS(w) - 2));
        x64_setcc(b, CC_B, x64_r(X_RAX));
        break;
    default: x64_alu(b, ALU_XOR, W8, X_RAX, x64_r(X_RAX));
    }
    x64_jmp(b, end);
}

/* Flags in AHF form: OF is yet to be taken from the host's, or in AL; AF goes if undefined. */
static u64 make_flags_end(struct x64_buf *b, bool of, bool af)
{
    u64 at = x64_here(b);
    if (of) {
        x64_byte(b, X64_LAHF);
        x64_setcc(b, CC_O, x64_r(X_RAX));
    }
    if (!af)
        x64_alu_imm(b, ALU_AND, W32, x64_r(X_RAX), ~(FL_AF << 8));
    x64_store(b, W64, x64_m(X_RSP, 8 + CPU_OFF(lazy_a)), X_RAX);
    x64_store_imm(b, W8, x64_m(X_RSP, 8 + CPU_OFF(lazy_kind)), LAZY_AHF);
    x64_ret(b);
    return at;
}

/* What x64_fetch_flags does, for the kinds of record that most instructions leave.  Changes only
 * scratch registers. */
static u64 make_flags_of_record(struct x64_buf *b)
{
    u64 end = make_flags_end(b, true, true), logic = make_flags_end(b, true, false);
    u64 shift = make_flags_end(b, false, false);
    x64_align(b, FLAG_HANDLER);
    u64 handlers = x64_here(b);
    for (unsigned kind = LAZY_ADD; kind < LAZY_MULU; kind++) {
        if (kind < LAZY_SHL)
            flags_of(b, kind, (kind & ~3u) == LAZY_LOGIC ? logic : end);
        else
            flags_of_shift(b, kind, shift);
        x64_align(b, FLAG_HANDLER);
    }
    u64 at = x64_here(b);
    x64_mov_imm(b, X_RDX, handlers);
    x64_shift_imm(b, SH_SHL, W32, x64_r(X_RCX), __builtin_ctz(FLAG_HANDLER));
    x64_alu(b, ALU_ADD, W64, X_RCX, x64_r(X_RDX));
    x64_jmp_rm(b, x64_r(X_RCX));
    return at;
}

static u64 make_fetch_flags(struct x64_buf *b, u64 of_record, u64 in_c)
{
    x64_align(b, 16);
    u64 at = x64_here(b);
    x64_load(b, W8, X_RCX, x64_m(X_RSP, 8 + CPU_OFF(lazy_kind)));
    x64_alu_imm(b, ALU_SUB, W32, x64_r(X_RCX), LAZY_ADD);
    x64_alu_imm(b, ALU_CMP, W32, x64_r(X_RCX), LAZY_MULU - LAZY_ADD);
    x64_jcc(b, CC_AE, in_c);
    x64_lea(b, W32, X_RDX, x64_m(X_RCX, -(LAZY_SHL - LAZY_ADD)));
    x64_alu_imm(b, ALU_CMP, W32, x64_r(X_RDX), W32);
    x64_jcc(b, CC_B, in_c);
    x64_jmp(b, of_record);
    return at;
}

void x64_make_thunks(struct x64_buf *b, struct x64_thunks *t, struct x64_engine *e)
{
    u64 off = e->off;
    bool ways = technique_on(off, T_ways);
    struct host h = {e->avx, technique_on(off, T_vhomes)};
    t->enter = make_enter(b);
    t->leave = make_leave(b, h);
    t->retired = make_retired(b, t->leave);
    t->resolve = t->link = t->leave;
    if (technique_on(off, T_resolve)) {
        t->resolve = make_resolve(b, t->leave, x64_resolve, h);
        t->link = make_resolve(b, t->leave, x64_link, h);
    }
    t->lookup = make_lookup(b, t->leave, t->resolve, ways ? &e->counters.way_hits : NULL);
    t->other_ways = ways ? t->lookup : t->resolve;
    u64 flags_of_record = make_flags_of_record(b);
    for (unsigned v = 0; v < 3; v++) {
        for (unsigned w = W8; w <= W256; w++) {
            t->load[v][w] = make_slow(b, x64_slow_load, w, v, h);
            t->store[v][w] = make_slow(b, x64_slow_store, w, v, h);
        }
        t->host[0][v] = make_slow(b, x64_slow_host, false, v, h);
        t->host[1][v] = make_slow(b, x64_slow_host, true, v, h);
        t->x87_load[v] = make_slow(b, x64_x87_load, 0, v, h);
        t->x87_save[v] = make_slow(b, x64_x87_save, 0, v, h);
        t->seg[v] = make_slow(b, x64_slow_seg, 0, v, h);
        t->div[v] = make_slow(b, x64_slow_div, 0, v, h);
        t->vec[v] = make_slow(b, x64_slow_vec, 0, v, h);
        t->eval[v] = make_slow(b, x64_slow_eval, 0, v, h);
        t->fetch_flags[v] = make_slow(b, x64_fetch_flags, 0, v, h);
        if (technique_on(off, T_fetch))
            t->fetch_flags[v] = make_fetch_flags(b, flags_of_record, t->fetch_flags[v]);
        u64 slow = make_slow_page(b, v, h);
        for (unsigned i = 0; i < 3 * 3 * 3; i++) {
            unsigned r = i / 9, q = i / 3 % 3, what = i % 3;
            t->page[r][q][what][v] = r != q ? make_page(b, r, q, what, slow) : slow; /* or unused */
        }
    }
    t->vec_load = make_vec_load(b, h);
    t->alone = make_slow(b, x64_slow_alone, 0, 0, h);
    t->call = make_call(b, false, false, h);
    t->call_flags = make_call(b, true, false, h);
    t->call_vec = make_call(b, true, true, h);
}

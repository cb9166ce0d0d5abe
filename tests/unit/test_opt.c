/* The passes: each shown to fire, and random blocks that must mean the same before and after.
 *
 * The reference walks the IR op by op.  Wherever an op may fault or leave, it notes the whole
 * guest state, so that a pass that made state inexact there is caught even if nothing faults.
 */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "translator/block.h"
#include "translator/ir_eval.h"

static u64 seed;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void print_line(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

/* ---- reference ---- */

#define ENV_BASE offsetof(struct cpu, x87)
#define ENV_BYTES 32u

struct machine {
    u64 gpr[16], flags;
    u8 env[ENV_BYTES];
    u64 hash;    /* of all that could be observed */
    u64 noted;   /* how often */
    u64 exit;    /* where it left to */
};

static void mix(struct machine *m, u64 v)
{
    m->hash = (m->hash ^ v) * 0x9e3779b97f4a7c15ull;
    m->hash ^= m->hash >> 29;
}

static void note_state(struct machine *m, bool flags)
{
    for (unsigned i = 0; i < 16; i++)
        mix(m, m->gpr[i]);
    for (unsigned i = 0; i < ENV_BYTES; i += 8)
        mix(m, load_le(m->env + i, 8));
    mix(m, flags ? m->flags : 1);
    m->noted++;
}

static void walk_call(struct machine *m, const struct ir_insn *in, const u64 arg[4], u64 *out)
{
    u32 e = ir_helper_effects((unsigned)in->imm);
    for (unsigned k = 0; k < ir_args(in); k++)
        mix(m, arg[k]);
    if (e & HE_RGPR)
        for (unsigned i = 0; i < 16; i++)
            mix(m, m->gpr[i]);
    if (e & HE_RFL)
        mix(m, m->flags);
    if (e & (HE_ENV | HE_X87))
        mix(m, load_le(m->env, 8));
    if (e & HE_WGPR)
        m->gpr[in->imm % 16] = m->hash;
    if (e & HE_WFL)
        m->flags = m->hash & FL_ARITH;
    if (e & HE_X87)
        store_le(m->env + 8, m->hash, 8);
    *out = m->hash;
}

/* Executes op i on values v; false when the block is left. */
static bool walk_op(struct machine *m, const struct ir *ir, unsigned i, u64 *v)
{
    const struct ir_insn *in = &ir->insns[i];
    u64 arg[4];
    for (unsigned k = 0; k < 4; k++)
        arg[k] = v[in->arg[k]];
    if (ir_effects(in) & E_FAULT) {
        mix(m, in->op);
        note_state(m, true);
    }
    switch (in->op) {
    case IR_NONE:
    case IR_insn:
        return true;
    case IR_get:
        v[i] = m->gpr[in->aux];
        return true;
    case IR_put:
        m->gpr[in->aux] = arg[0];
        return true;
    case IR_getf:
        v[i] = m->flags;
        return true;
    case IR_putf:
        m->flags = arg[0];
        return true;
    case IR_ldenv:
        v[i] = load_le(m->env + (in->imm - ENV_BASE), W_BYTES(in->w));
        return true;
    case IR_stenv:
        store_le(m->env + (in->imm - ENV_BASE), arg[0], W_BYTES(in->w));
        return true;
    case IR_ld:
        mix(m, arg[0]);
        v[i] = m->hash & size_mask(W_BYTES(in->w));
        return true;
    case IR_st:
        mix(m, arg[0]);
        mix(m, arg[1]);
        return true;
    case IR_call:
    case IR_callv:
        walk_call(m, in, arg, &v[i]);
        return true;
    case IR_exit_if:
        if (!arg[0])
            return true;
        /* fall through */
    case IR_exit:
        note_state(m, in->aux != XF_DEAD);
        m->exit = in->imm;
        return false;
    case IR_exit_ind:
        note_state(m, true);
        m->exit = arg[0];
        return false;
    default:
        v[i] = ir_eval(in, arg);
        return true;
    }
}

static void walk(struct machine *m, const struct ir *ir)
{
    static u64 v[IR_MAX];
    for (unsigned i = 1; i < ir->count; i++)
        if (!walk_op(m, ir, i, v))
            return;
    ck_abort_msg("the block does not leave");
}

/* ---- random blocks ---- */

/* Values by type: 0-3 integers of that width, 4 booleans, 5 flags. */
enum { T_BOOL = 4, T_FLAGS = 5, TYPES = 6 };

struct gen {
    struct ir *ir;
    ir_ref pool[TYPES][IR_MAX];
    unsigned n[TYPES];
};

static void have(struct gen *g, unsigned type, ir_ref r)
{
    g->pool[type][g->n[type]++] = r;
}

static u64 some_const(unsigned w)
{
    static const u64 edges[] = {0, 0, 1, 2, 7, 8, 0xff, 0x80, ~0ull};
    u64 v = rnd() & 3 ? edges[rnd() % ARRAY_SIZE(edges)] : rnd();
    return v & size_mask(W_BYTES(w));
}

/* A value of the type: a recent one, any one, or a new constant. */
static ir_ref pick(struct gen *g, unsigned type)
{
    unsigned n = g->n[type];
    if (type == T_BOOL && (n == 0 || rnd() % 6 == 0))
        return ir_const(g->ir, W8, rnd() & 1);
    if (type <= W64 && (n == 0 || rnd() % 4 == 0))
        return ir_const(g->ir, type, some_const(type));
    if (n == 0)
        return ir_emit(g->ir, IR_getf, 0, 0, 0, 0, 0, 0, 0);
    unsigned back = rnd() & 1 && n > 4 ? 4 : n;
    return g->pool[type][n - 1 - rnd() % back];
}

static ir_ref count(struct gen *g, unsigned w)
{
    if (rnd() & 1)
        return ir_const(g->ir, W8, rnd() % 3 ? rnd() & (w == W64 ? 63 : 31) : 0);
    return ir_2(g->ir, IR_and, W8, pick(g, W8), ir_const(g->ir, W8, w == W64 ? 63 : 31));
}

static void gen_integer(struct gen *g, unsigned w)
{
    static const u16 two[] = {IR_add, IR_sub, IR_and, IR_or, IR_xor, IR_mul, IR_mulhu, IR_mulhs};
    static const u16 one[] = {IR_not, IR_neg, IR_bswap, IR_clz, IR_ctz, IR_popcnt};
    static const u16 shift[] = {IR_shl, IR_shr, IR_sar, IR_rol, IR_ror};
    struct ir *ir = g->ir;
    ir_ref r;
    switch (rnd() % 8) {
    case 0:
    case 1:
    case 2:
        r = ir_2(ir, two[rnd() % ARRAY_SIZE(two)], w, pick(g, w), pick(g, w));
        break;
    case 3:
        r = ir_1(ir, one[rnd() % ARRAY_SIZE(one)], w, pick(g, w));
        break;
    case 4:
        r = ir_2(ir, shift[rnd() % ARRAY_SIZE(shift)], w, pick(g, w), count(g, w));
        break;
    case 5:
        r = ir_3(ir, rnd() & 1 ? IR_adc : IR_sbb, w, pick(g, w), pick(g, w), pick(g, T_BOOL));
        break;
    case 6:
        r = ir_3(ir, IR_select, w, pick(g, T_BOOL), pick(g, w), pick(g, w));
        break;
    default:
        if (rnd() & 1 && w > W8)
            r = ir_3(ir, rnd() & 1 ? IR_shld : IR_shrd, w, pick(g, w), pick(g, w), count(g, w));
        else
            r = ir_3(ir, rnd() & 1 ? IR_rcl : IR_rcr, w, pick(g, w), count(g, w), pick(g, T_BOOL));
        break;
    }
    have(g, w, r);
}

static void gen_width(struct gen *g)
{
    unsigned lo = rnd() % 3, hi = lo + 1 + rnd() % (3 - lo);
    struct ir *ir = g->ir;
    switch (rnd() % 6) {
    case 0:
        have(g, hi, ir_zext(ir, hi, lo, pick(g, lo)));
        break;
    case 1:
        have(g, hi, ir_sext(ir, hi, lo, pick(g, lo)));
        break;
    case 2:
        have(g, lo, ir_trunc(ir, lo, hi, pick(g, hi)));
        break;
    case 3:
        have(g, W8, ir_emit(ir, IR_trunc, W8, hi, 8, pick(g, hi), 0, 0, 0));
        break;
    case 4:
        have(g, hi, ir_emit(ir, IR_deposit, hi, lo, 0, pick(g, hi), pick(g, lo), 0, 0));
        break;
    default:
        have(g, hi, ir_emit(ir, IR_deposit, hi, W8, 8, pick(g, hi), pick(g, W8), 0, 0));
        break;
    }
}

static void gen_flags(struct gen *g, unsigned w)
{
    static const u16 shift[] = {IR_fshl, IR_fshr, IR_fsar, IR_frol, IR_fror, IR_frcl, IR_frcr};
    static const u32 masks[] = {FL_CF, FL_ZF, FL_OF, FL_CF | FL_OF, FL_PF | FL_SF};
    struct ir *ir = g->ir;
    ir_ref r;
    switch (rnd() % 10) {
    case 0:
        r = ir_2(ir, IR_fadd, w, pick(g, w), pick(g, w));
        break;
    case 1:
        r = ir_2(ir, IR_fsub, w, pick(g, w), pick(g, w));
        break;
    case 2:
        r = ir_3(ir, rnd() & 1 ? IR_fadc : IR_fsbb, w, pick(g, w), pick(g, w), pick(g, T_BOOL));
        break;
    case 3:
        r = ir_1(ir, IR_flogic, w, pick(g, w));
        break;
    case 4:
        r = ir_2(ir, rnd() & 1 ? IR_finc : IR_fdec, w, pick(g, w), pick(g, T_FLAGS));
        break;
    case 5:
    case 6:
        r = ir_3(ir, shift[rnd() % ARRAY_SIZE(shift)], w, pick(g, w), count(g, w),
                 pick(g, T_FLAGS));
        break;
    case 7:
        r = ir_3(ir, IR_selectf, W8, pick(g, T_BOOL), pick(g, T_FLAGS), pick(g, T_FLAGS));
        break;
    case 8:
        r = ir_1(ir, IR_fbits, W32, rnd() & 1 ? pick(g, W32)
                                              : ir_1(ir, IR_bitsf, W32, pick(g, T_FLAGS)));
        break;
    default:
        r = ir_emit(ir, IR_fbit, W8, 0, masks[rnd() % ARRAY_SIZE(masks)], pick(g, T_FLAGS),
                    pick(g, T_BOOL), 0, 0);
        break;
    }
    have(g, T_FLAGS, r);
}

static void gen_boolean(struct gen *g, unsigned w)
{
    ir_ref zero;
    switch (rnd() % 3) {
    case 0:
        have(g, T_BOOL, ir_setcc(g->ir, rnd() % 16, pick(g, T_FLAGS)));
        break;
    case 1:
        have(g, T_BOOL, ir_icmp(g->ir, w, rnd() % 6, pick(g, w), pick(g, w)));
        break;
    default:
        zero = ir_const(g->ir, W32, 0);
        have(g, T_BOOL, ir_icmp(g->ir, W32, rnd() & 1 ? IC_EQ : IC_NE,
                                ir_zext(g->ir, W32, W8, pick(g, T_BOOL)), zero));
        break;
    }
}

/* Helpers that do not end a block, of various effects; raising ones only where that is allowed. */
static void gen_call(struct gen *g)
{
    static const u16 some[] = {HELPER_rdtsc, HELPER_cpuid, HELPER_bcd, HELPER_pushf, HELPER_rdpid,
                               HELPER_rdrand, HELPER_movs, HELPER_cmps, HELPER_flags_materialise};
    unsigned h = some[rnd() % ARRAY_SIZE(some)];
    ir_ref a[4] = {0};
    for (unsigned k = 0; k < ir_helper_args(h); k++)
        a[k] = pick(g, W64);
    have(g, W64, ir_callv(g->ir, h, a[0], a[1], a[2], a[3]));
}

static void gen_env(struct gen *g, bool store)
{
    unsigned w = rnd() % 4;
    u64 at = ENV_BASE + (rnd() % (ENV_BYTES / 8)) * 8;
    if (store)
        ir_stenv(g->ir, w, at, pick(g, w));
    else
        have(g, w, ir_ldenv(g->ir, w, at));
}

/* One guest instruction: reads, arithmetic and faulting ops, then writes, perhaps an exit. */
static void gen_insn(struct gen *g, u64 rip)
{
    struct ir *ir = g->ir;
    ir_emit(ir, IR_insn, 0, 3, rip, 0, 0, 0, 0);
    for (unsigned k = rnd() % 6; k > 0; k--) {
        unsigned w = rnd() % 4;
        switch (rnd() % 12) {
        case 0:
        case 1:
        case 2:
            have(g, W64, ir_get(ir, rnd() % 4));
            break;
        case 3:
            have(g, T_FLAGS, ir_emit(ir, IR_getf, 0, 0, 0, 0, 0, 0, 0));
            break;
        case 4:
            if (rnd() % 3 == 0)
                have(g, w, ir_emit(ir, IR_ld, w, 0, 0, pick(g, W64), 0, 0, 0));
            break;
        case 5:
            if (rnd() % 3 == 0)
                ir_emit(ir, IR_st, w, 0, 0, pick(g, W64), pick(g, w), 0, 0);
            break;
        case 6:
            if (rnd() % 4 == 0)
                gen_call(g);
            break;
        case 7:
            gen_env(g, false);
            break;
        case 8:
            gen_width(g);
            break;
        case 9:
            gen_flags(g, w);
            break;
        case 10:
            gen_boolean(g, w);
            break;
        default:
            gen_integer(g, w);
            break;
        }
    }
    for (unsigned k = rnd() % 3; k > 0; k--)
        ir_put(ir, rnd() % 4, pick(g, W64));
    if (rnd() & 1)
        ir_emit(ir, IR_putf, 0, 0, 0, pick(g, T_FLAGS), 0, 0, 0);
    if (rnd() % 4 == 0)
        gen_env(g, true);
    if (rnd() % 12 == 0)
        ir_emit(ir, IR_exit_if, 0, rnd() % 3, rip + 100, pick(g, T_BOOL), 0, 0, 0);
}

static void gen_block(struct ir *ir)
{
    static struct gen g;
    memset(g.n, 0, sizeof g.n);
    g.ir = ir;
    ir_reset(ir, 0x1000, 0, HF_LONG);
    unsigned insns = 1 + rnd() % 40;
    for (unsigned k = 0; k < insns; k++)
        gen_insn(&g, 0x1000 + 3 * k);
    if (rnd() & 1)
        ir_emit(ir, IR_exit, 0, rnd() % 3, 0x9000, 0, 0, 0, 0);
    else
        ir_emit(ir, IR_exit_ind, 0, XK_JMP, 0, pick(&g, W64), 0, 0, 0);
}

static struct ir before, after;
static struct opt_counters counters;

static void check_same(u64 s)
{
    seed = s;
    gen_block(&before);
    memcpy(&after, &before, sizeof after);
    unsigned at = 0;
    const char *bad = ir_verify(&before, &at);
    if (bad)
        ir_print(&before, print_line, NULL);
    ck_assert_msg(!bad, "seed %llx: generated op %u: %s", (unsigned long long)s, at, bad);
    opt_run(&after, &counters, true);
    for (unsigned run = 0; run < 3; run++) {
        struct machine a = {.flags = rnd() & FL_ARITH}, b;
        for (unsigned i = 0; i < 16; i++)
            a.gpr[i] = some_const(W64);
        for (unsigned i = 0; i < ENV_BYTES; i++)
            a.env[i] = (u8)rnd();
        b = a;
        walk(&a, &before);
        walk(&b, &after);
        if (a.hash == b.hash && a.exit == b.exit && a.noted == b.noted)
            continue;
        ir_print(&before, print_line, NULL);
        ir_print(&after, print_line, NULL);
        ck_abort_msg("seed %llx: left to %llx after %llu notes, then %llx after %llu",
                     (unsigned long long)s, (unsigned long long)a.exit,
                     (unsigned long long)a.noted, (unsigned long long)b.exit,
                     (unsigned long long)b.noted);
    }
}

START_TEST(test_random_blocks)
{
    memset(&counters, 0, sizeof counters);
    const char *given = getenv("OPT_SEED");
    if (given) {
        check_same(strtoull(given, NULL, 16));
        return;
    }
    for (u64 s = 1; s <= 20000; s++)
        check_same(s * 0x9e3779b97f4a7c15ull);
    ck_assert_uint_gt(counters.folded, 1000);
    ck_assert_uint_gt(counters.forwarded, 1000);
    ck_assert_uint_gt(counters.puts_killed, 1000);
    ck_assert_uint_gt(counters.flags_killed, 1000);
    ck_assert_uint_gt(counters.dead, 1000);
}
END_TEST

/* ---- each pass on its own ---- */

static struct ir ir;
static struct opt_counters n;

static void begin(void)
{
    memset(&n, 0, sizeof n);
    ir_reset(&ir, 0x1000, 0, HF_LONG);
    ir_emit(&ir, IR_insn, 0, 3, 0x1000, 0, 0, 0, 0);
}

static void next_insn(void)
{
    ir_emit(&ir, IR_insn, 0, 3, 0x1003, 0, 0, 0, 0);
}

static void end(unsigned fate)
{
    ir_emit(&ir, IR_exit, 0, fate, 0x2000, 0, 0, 0, 0);
    opt_run(&ir, &n, true);
}

static unsigned count_op(enum ir_op op)
{
    unsigned k = 0;
    for (unsigned i = 1; i < ir.count; i++)
        k += ir.insns[i].op == op;
    return k;
}

static const struct ir_insn *only(enum ir_op op)
{
    ck_assert_uint_eq(count_op(op), 1);
    unsigned i = 1;
    while (ir.insns[i].op != op)
        i++;
    return &ir.insns[i];
}

static u64 const_of(ir_ref r)
{
    ck_assert_uint_eq(ir.insns[r].op, IR_const);
    return ir.insns[r].imm;
}

START_TEST(test_forward_and_fold)
{
    begin(); /* mov eax, 5; add rax, 7 */
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_2(&ir, IR_add, W64, ir_get(&ir, RAX), ir_const(&ir, W64, 7)));
    end(XF_LIVE);
    ck_assert_uint_eq(n.forwarded, 1);
    ck_assert_uint_eq(n.puts_killed, 1);
    ck_assert_uint_gt(n.folded, 0);
    ck_assert_uint_eq(const_of(only(IR_put)->arg[0]), 12);
    ck_assert_uint_eq(ir.count, 6); /* insn, insn, const, put, exit; counted from 1 */
}
END_TEST

START_TEST(test_put_before_load_stays)
{
    begin();
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_emit(&ir, IR_ld, W64, 0, 0, ir_get(&ir, RBX), 0, 0, 0));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_put), 2);
    ck_assert_uint_eq(n.puts_killed, 0);
}
END_TEST

START_TEST(test_put_before_helper)
{
    begin(); /* a helper that neither reads registers nor raises lets the put die */
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_callv(&ir, HELPER_rdpid, 0, 0, 0, 0));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_put), 1);
    begin(); /* one that reads them does not */
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_callv(&ir, HELPER_cpuid, 0, 0, 0, 0));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_put), 2);
}
END_TEST

static ir_ref flags_of(unsigned reg)
{
    return ir_2(&ir, IR_fadd, W64, ir_get(&ir, reg), ir_const(&ir, W64, 1));
}

START_TEST(test_flags)
{
    begin(); /* two in a row: the first dies */
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RAX), 0, 0, 0);
    next_insn();
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RBX), 0, 0, 0);
    end(XF_LIVE);
    ck_assert_uint_eq(n.flags_killed, 1);
    ck_assert_uint_eq(only(IR_putf)->aux, XF_LIVE);
    ck_assert_uint_eq(count_op(IR_fadd), 1);
    ck_assert_uint_eq(count_op(IR_get), 1);

    begin(); /* a load between: a fault could show them */
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RAX), 0, 0, 0);
    next_insn();
    ir_emit(&ir, IR_ld, W64, 0, 0, ir_get(&ir, RCX), 0, 0, 0);
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RBX), 0, 0, 0);
    end(XF_DEAD);
    ck_assert_uint_eq(n.flags_killed, 1);
    ck_assert_uint_eq(only(IR_putf)->aux, XF_FAULT);
}
END_TEST

START_TEST(test_flags_of_known_shift)
{
    begin(); /* shl by 3 does not need the old flags, so that these die */
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RAX), 0, 0, 0);
    next_insn();
    ir_ref old = ir_emit(&ir, IR_getf, 0, 0, 0, 0, 0, 0, 0);
    ir_ref f = ir_3(&ir, IR_fshl, W64, ir_get(&ir, RAX), ir_const(&ir, W8, 3), old);
    ir_emit(&ir, IR_putf, 0, 0, 0, f, 0, 0, 0);
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_fadd), 0);
    ck_assert_uint_eq(only(IR_fshl)->arg[2], 0);
}
END_TEST

START_TEST(test_partial_register)
{
    begin(); /* mov al, bl; movzx ecx, al */
    ir_ref bl = ir_trunc(&ir, W8, W64, ir_get(&ir, RBX));
    ir_put(&ir, RAX, ir_emit(&ir, IR_deposit, W64, W8, 0, ir_get(&ir, RAX), bl, 0, 0));
    next_insn();
    ir_put(&ir, RCX, ir_zext(&ir, W64, W8, ir_trunc(&ir, W8, W64, ir_get(&ir, RAX))));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_trunc), 1);
    ck_assert_uint_eq(count_op(IR_get), 2);
}
END_TEST

START_TEST(test_sums_of_constants)
{
    begin(); /* (rax - 8) + 24 */
    ir_ref low = ir_2(&ir, IR_sub, W64, ir_get(&ir, RAX), ir_const(&ir, W64, 8));
    ir_put(&ir, RCX, ir_2(&ir, IR_add, W64, low, ir_const(&ir, W64, 24)));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_sub), 0);
    ck_assert_uint_eq(const_of(only(IR_add)->arg[1]), 16);

    begin(); /* the difference is wanted too: it stays, for the host to share with its flags */
    low = ir_2(&ir, IR_sub, W64, ir_get(&ir, RAX), ir_const(&ir, W64, 8));
    ir_put(&ir, RAX, low);
    ir_put(&ir, RCX, ir_2(&ir, IR_add, W64, low, ir_const(&ir, W64, 24)));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_sub), 1);
    ck_assert_uint_eq(const_of(only(IR_add)->arg[1]), 24);
}
END_TEST

START_TEST(test_known_exit)
{
    begin(); /* xor eax, eax; jz: always */
    ir_ref rax = ir_get(&ir, RAX), zero = ir_2(&ir, IR_xor, W64, rax, rax);
    ir_put(&ir, RAX, zero);
    ir_emit(&ir, IR_exit_if, 0, XF_LIVE, 0x3000,
            ir_setcc(&ir, 4, ir_1(&ir, IR_flogic, W64, zero)), 0, 0, 0);
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_exit_if), 0);
    ck_assert_uint_eq(only(IR_exit)->imm, 0x3000);
}
END_TEST

START_TEST(test_dead_and_uses)
{
    begin();
    ir_ref a = ir_get(&ir, RAX), b = ir_get(&ir, RBX);
    ir_2(&ir, IR_mul, W64, a, b);
    ir_put(&ir, RCX, ir_2(&ir, IR_add, W64, a, a));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_mul), 0);
    ck_assert_uint_eq(n.dead, 2);
    ck_assert_uint_eq(only(IR_get)->uses, 2);
    ck_assert_uint_eq(count_op(IR_NONE), 0);
}
END_TEST

START_TEST(test_loads_and_divisions_stay)
{
    begin();
    ir_ref a = ir_get(&ir, RAX);
    ir_emit(&ir, IR_ld, W32, 0, 0, a, 0, 0, 0);
    ir_3(&ir, IR_divu, W64, a, ir_const(&ir, W64, 0), a);
    /* A division that faults for certain is not folded away. */
    ir_ref zero = ir_const(&ir, W64, 0);
    ir_3(&ir, IR_divu, W64, zero, zero, zero);
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_ld), 1);
    ck_assert_uint_eq(count_op(IR_divu), 2);
}
END_TEST

/* ---- verifier ---- */

static const char *verify(void)
{
    unsigned at;
    return ir_verify(&ir, &at);
}

START_TEST(test_verifier)
{
    begin();
    ck_assert_str_eq(verify(), "block does not end");
    ir_put(&ir, RAX, ir_const(&ir, W64, 1));
    ir_emit(&ir, IR_ld, W64, 0, 0, ir_const(&ir, W64, 0), 0, 0, 0);
    ir_emit(&ir, IR_exit, 0, 0, 0, 0, 0, 0, 0);
    ck_assert_str_eq(verify(), "op that may fault after guest state has changed");
    begin();
    ir_2(&ir, IR_add, W32, ir_const(&ir, W32, 1), ir_const(&ir, W64, 1));
    ck_assert_str_eq(verify(), "operand of the wrong width");
    begin();
    ir_emit(&ir, IR_put, W64, RAX, 0, 7, 0, 0, 0);
    ck_assert_str_eq(verify(), "operand does not name an earlier op");
    begin();
    ir_emit(&ir, IR_exit_if, 0, 0, 0, ir_const(&ir, W8, 2), 0, 0, 0);
    ck_assert_str_eq(verify(), "operand is not a boolean");
    begin();
    ir_emit(&ir, IR_exit, 0, 0, 0, 0, 0, 0, 0);
    next_insn();
    ck_assert_str_eq(verify(), "op after the end of the block");
    begin();
    ir_emit(&ir, IR_get, W64, 16, 0, 0, 0, 0, 0);
    ck_assert_str_eq(verify(), "field out of range");
    ir_reset(&ir, 0, 0, 0);
    ir_get(&ir, RAX);
    ck_assert_str_eq(verify(), "effect outside a guest instruction");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("opt");
    TCase *c = tcase_create("passes");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_forward_and_fold);
    tcase_add_test(c, test_put_before_load_stays);
    tcase_add_test(c, test_put_before_helper);
    tcase_add_test(c, test_flags);
    tcase_add_test(c, test_flags_of_known_shift);
    tcase_add_test(c, test_partial_register);
    tcase_add_test(c, test_sums_of_constants);
    tcase_add_test(c, test_known_exit);
    tcase_add_test(c, test_dead_and_uses);
    tcase_add_test(c, test_loads_and_divisions_stay);
    tcase_add_test(c, test_verifier);
    tcase_add_test(c, test_random_blocks);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}

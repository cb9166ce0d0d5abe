/* Random well-formed IR and a reference that walks it; see random_ir.h. */
#include "random_ir.h"

#include <check.h>

#include "translator/ir_eval.h"

u64 random_ir_seed = 1;

u64 random_ir_rnd(void)
{
    random_ir_seed ^= random_ir_seed << 13;
    random_ir_seed ^= random_ir_seed >> 7;
    random_ir_seed ^= random_ir_seed << 17;
    return random_ir_seed;
}

static u64 rnd(void)
{
    return random_ir_rnd();
}

/* ---- reference ---- */

static void mix(struct machine *m, u64 v)
{
    m->hash = (m->hash ^ v) * 0x9e3779b97f4a7c15ull;
    m->hash ^= m->hash >> 29;
}

static void note_state(struct machine *m, bool flags)
{
    for (unsigned i = 0; i < 16; i++)
        mix(m, m->gpr[i]);
    for (unsigned i = 0; i < RANDOM_IR_ENV_BYTES; i += 8)
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
        v[i] = load_le(m->env + (in->imm - RANDOM_IR_ENV), W_BYTES(in->w));
        return true;
    case IR_stenv:
        store_le(m->env + (in->imm - RANDOM_IR_ENV), arg[0], W_BYTES(in->w));
        return true;
    case IR_ld:
        mix(m, arg[0]);
        v[i] = load_le(m->mem + (arg[0] - RANDOM_IR_MEM), W_BYTES(in->w));
        return true;
    case IR_st:
        mix(m, arg[0]);
        mix(m, arg[1]);
        store_le(m->mem + (arg[0] - RANDOM_IR_MEM), arg[1], W_BYTES(in->w));
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
        m->flags_dead = in->aux == XF_DEAD;
        note_state(m, !m->flags_dead);
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

void random_ir_walk(struct machine *m, const struct ir *ir)
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
    bool calls;
    ir_ref pool[TYPES][IR_MAX];
    unsigned n[TYPES];
};

static void have(struct gen *g, unsigned type, ir_ref r)
{
    g->pool[type][g->n[type]++] = r;
}

u64 random_ir_const(unsigned w)
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
        return ir_const(g->ir, type, random_ir_const(type));
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
    static const u16 two[] = {IR_add, IR_sub, IR_and, IR_or, IR_xor, IR_mul, IR_mulhu, IR_mulhs,
                                IR_pdep, IR_pext};
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
    static const u16 some[] = {HELPER_rdtsc,      HELPER_cpuid, HELPER_bcd,
                               HELPER_pushf_vm86, HELPER_rdpid, HELPER_rdrand,
                               HELPER_movs,       HELPER_cmps,  HELPER_flags_materialise};
    unsigned h = some[rnd() % ARRAY_SIZE(some)];
    ir_ref a[4] = {0};
    for (unsigned k = 0; k < ir_helper_args(h); k++)
        a[k] = pick(g, W64);
    have(g, W64, ir_callv(g->ir, h, a[0], a[1], a[2], a[3]));
}

/* Within the memory of the reference, as base plus displacement. */
static ir_ref address(struct gen *g)
{
    ir_ref low = ir_2(g->ir, IR_and, W64, pick(g, W64), ir_const(g->ir, W64, 0x1f8));
    return ir_2(g->ir, IR_add, W64, low, ir_const(g->ir, W64, RANDOM_IR_MEM + rnd() % 8));
}

static void gen_env(struct gen *g, bool store)
{
    unsigned w = rnd() % 4;
    u64 at = RANDOM_IR_ENV + (rnd() % (RANDOM_IR_ENV_BYTES / 8)) * 8;
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
                have(g, w, ir_emit(ir, IR_ld, w, 0, 0, address(g), 0, 0, 0));
            break;
        case 5:
            if (rnd() % 3 == 0)
                ir_emit(ir, IR_st, w, 0, 0, address(g), pick(g, w), 0, 0);
            break;
        case 6:
            if (g->calls && rnd() % 4 == 0)
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

void random_ir_block(struct ir *ir, bool calls)
{
    static struct gen g;
    memset(g.n, 0, sizeof g.n);
    g.ir = ir;
    g.calls = calls;
    ir_reset(ir, 0x1000, 0, HF_LONG);
    unsigned insns = 1 + rnd() % 40;
    for (unsigned k = 0; k < insns; k++)
        gen_insn(&g, 0x1000 + 3 * k);
    if (rnd() & 1) {
        ir_emit(ir, IR_exit, 0, rnd() % 3, 0x9000, 0, 0, 0, 0);
        return;
    }
    /* To an address that is canonical. */
    ir_ref target = ir_2(ir, IR_shr, W64, pick(&g, W64), ir_const(ir, W8, 17));
    ir_emit(ir, IR_exit_ind, 0, XK_JMP, 0, target, 0, 0, 0);
}

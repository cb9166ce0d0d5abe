/* Pass: constant folding through the evaluator, and algebraic identities, one small function per
 * op or class of ops.
 *
 * A fold function looks at op i, whose operands are already folded, and returns the value that
 * replaces it, or i when it changed the op in place (it is then looked at again), or 0.
 * Kept as they are: sub of a constant (so that a host can fuse it with the fsub of the same
 * operands) and setcc of a comparison (so that a live flag stays in the host's flags).
 */
#include "translator/ir_eval.h"
#include "translator/opt.h"

#define SEEN 64u

struct fold {
    struct ir *ir;
    ir_ref seen[SEEN];  /* width ops met before, by hash */
    ir_ref map[IR_MAX]; /* what replaces each op */
};

static struct ir_insn *def(struct fold *f, ir_ref r)
{
    return &f->ir->insns[r];
}

static bool is_const(struct fold *f, ir_ref r, u64 *v)
{
    const struct ir_insn *d = def(f, r);
    *v = d->imm;
    return d->op == IR_const;
}

static bool is_value(struct fold *f, ir_ref r, u64 v)
{
    u64 c;
    return is_const(f, r, &c) && c == v;
}

static void set_arg(struct fold *f, unsigned i, unsigned k, ir_ref to)
{
    ir_ref *arg = &def(f, (ir_ref)i)->arg[k];
    if (*arg)
        def(f, *arg)->uses--;
    if (to)
        def(f, to)->uses++;
    *arg = to;
}

/* Turns op i into another, with its operands given. */
static ir_ref become(struct fold *f, unsigned i, enum ir_op op, unsigned w, unsigned aux, u64 imm,
                     ir_ref a, ir_ref b, ir_ref c)
{
    ir_ref args[4] = {a, b, c, 0};
    for (unsigned k = 0; k < 4; k++)
        set_arg(f, i, k, args[k]);
    struct ir_insn *in = def(f, (ir_ref)i);
    in->op = (u16)op;
    in->w = (u8)w;
    in->aux = (u8)aux;
    in->imm = imm;
    return (ir_ref)i;
}

static ir_ref become_const(struct fold *f, unsigned i, unsigned w, u64 v)
{
    return become(f, i, IR_const, w, 0, v & size_mask(W_BYTES(w)), 0, 0, 0);
}

/* Constants of commutative ops go right. */
static bool swap_const(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    if (def(f, in->arg[0])->op != IR_const || def(f, in->arg[1])->op == IR_const)
        return false;
    ir_ref t = in->arg[0];
    in->arg[0] = in->arg[1];
    in->arg[1] = t;
    return true;
}

static ir_ref fold_add(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    u64 c, c1;
    swap_const(f, i);
    if (!is_const(f, in->arg[1], &c))
        return 0;
    if (c == 0)
        return in->arg[0];
    /* (x + c1) + c: only when nothing else wants x + c1, and its constant is free to change. */
    struct ir_insn *inner = def(f, in->arg[0]);
    if (inner->op == IR_pc && in->w == W64)
        return become(f, i, IR_pc, W64, 0, inner->imm + c, 0, 0, 0);
    if ((inner->op != IR_add && inner->op != IR_sub) || inner->uses != 1 ||
        !is_const(f, inner->arg[1], &c1) || def(f, in->arg[1])->uses != 1)
        return 0;
    def(f, in->arg[1])->imm =
        (inner->op == IR_add ? c1 + c : c - c1) & size_mask(W_BYTES(in->w));
    set_arg(f, i, 0, inner->arg[0]);
    return (ir_ref)i;
}

static ir_ref fold_sub(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    if (is_value(f, in->arg[1], 0))
        return in->arg[0];
    return in->arg[0] == in->arg[1] ? become_const(f, i, in->w, 0) : 0;
}

static ir_ref fold_and(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    swap_const(f, i);
    if (is_value(f, in->arg[1], 0))
        return in->arg[1];
    bool same = in->arg[0] == in->arg[1];
    return same || is_value(f, in->arg[1], size_mask(W_BYTES(in->w))) ? in->arg[0] : 0;
}

static ir_ref fold_or(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    swap_const(f, i);
    if (is_value(f, in->arg[1], size_mask(W_BYTES(in->w))))
        return in->arg[1];
    return in->arg[0] == in->arg[1] || is_value(f, in->arg[1], 0) ? in->arg[0] : 0;
}

static ir_ref fold_xor(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    swap_const(f, i);
    if (is_value(f, in->arg[1], 0))
        return in->arg[0];
    return in->arg[0] == in->arg[1] ? become_const(f, i, in->w, 0) : 0;
}

static ir_ref fold_mul(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    swap_const(f, i);
    if (is_value(f, in->arg[1], 0))
        return in->arg[1];
    return is_value(f, in->arg[1], 1) ? in->arg[0] : 0;
}

/* not(not(x)) and neg(neg(x)). */
static ir_ref fold_involution(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *inner = def(f, in->arg[0]);
    return inner->op == in->op ? inner->arg[0] : 0;
}

static ir_ref fold_shift(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    u64 n;
    if (!is_const(f, in->arg[1], &n))
        return 0;
    if (n == 0)
        return in->arg[0];
    return n >= W_BITS(in->w) && in->op != IR_sar ? become_const(f, i, in->w, 0) : 0;
}

static ir_ref fold_rotate(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    u64 n;
    return is_const(f, in->arg[1], &n) && n % W_BITS(in->w) == 0 ? in->arg[0] : 0;
}

static ir_ref fold_rotate_carry(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    u64 n;
    return is_const(f, in->arg[1], &n) && n % (W_BITS(in->w) + 1) == 0 ? in->arg[0] : 0;
}

static ir_ref fold_double_shift(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    return is_value(f, in->arg[2], 0) ? in->arg[0] : 0;
}

/* adc, sbb, fadc and fsbb whose carry is known to be clear. */
static ir_ref fold_carry(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    if (!is_value(f, in->arg[2], 0))
        return 0;
    enum ir_op plain = in->op == IR_adc    ? IR_add
                       : in->op == IR_sbb  ? IR_sub
                       : in->op == IR_fadc ? IR_fadd
                                           : IR_fsub;
    return become(f, i, plain, in->w, 0, 0, in->arg[0], in->arg[1], 0);
}

/* ---- widths ---- */

static ir_ref fold_zext(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *a = def(f, in->arg[0]);
    if (in->aux == in->w)
        return in->arg[0];
    if (a->op == IR_zext)
        return become(f, i, IR_zext, in->w, a->aux, 0, a->arg[0], 0, 0);
    return 0;
}

static ir_ref fold_sext(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *a = def(f, in->arg[0]);
    if (in->aux == in->w)
        return in->arg[0];
    /* A zero-extended value has a clear sign. */
    if ((a->op == IR_zext && a->aux < a->w) || a->op == IR_sext)
        return become(f, i, a->op, in->w, a->aux, 0, a->arg[0], 0, 0);
    return 0;
}

/* trunc of an extension of x from width from. */
static ir_ref trunc_of_extension(struct fold *f, unsigned i, unsigned ext, unsigned from, ir_ref x)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    if (in->imm == 8) {
        if (from > W8)
            return become(f, i, IR_trunc, in->w, from, 8, x, 0, 0);
        return ext == IR_zext ? become_const(f, i, in->w, 0) : 0;
    }
    if (in->w == from)
        return x;
    if (in->w < from)
        return become(f, i, IR_trunc, in->w, from, 0, x, 0, 0);
    return become(f, i, (enum ir_op)ext, in->w, from, 0, x, 0, 0);
}

/* trunc of a value into which d->arg[1] was deposited: either part, when the bits are only its. */
static ir_ref trunc_of_deposit(struct fold *f, unsigned i, const struct ir_insn *d)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    u64 lo = in->imm, hi = lo + W_BITS(in->w), dlo = d->imm, dhi = dlo + W_BITS(d->aux);
    if (hi <= dlo || lo >= dhi) {
        set_arg(f, i, 0, d->arg[0]);
        return (ir_ref)i;
    }
    if (lo < dlo || hi > dhi)
        return 0;
    if (lo == dlo && hi == dhi)
        return d->arg[1];
    return become(f, i, IR_trunc, in->w, d->aux, lo - dlo, d->arg[1], 0, 0);
}

static ir_ref fold_trunc(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *a = def(f, in->arg[0]);
    if (in->w == in->aux)
        return in->arg[0];
    switch (a->op) {
    case IR_zext:
    case IR_sext:
        return trunc_of_extension(f, i, a->op, a->aux, a->arg[0]);
    case IR_deposit:
        return trunc_of_deposit(f, i, a);
    case IR_trunc:
        if (in->imm && a->imm)
            return 0;
        return become(f, i, IR_trunc, in->w, a->aux, in->imm + a->imm, a->arg[0], 0, 0);
    default:
        return 0;
    }
}

static ir_ref fold_deposit(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *a = def(f, in->arg[0]), *b = def(f, in->arg[1]);
    if (in->aux == in->w)
        return in->arg[1];
    if (b->op == IR_trunc && b->arg[0] == in->arg[0] && b->imm == in->imm)
        return in->arg[0];
    /* An earlier deposit that this one covers. */
    if (a->op == IR_deposit && a->imm >= in->imm &&
        a->imm + W_BITS(a->aux) <= in->imm + W_BITS(in->aux)) {
        set_arg(f, i, 0, a->arg[0]);
        return (ir_ref)i;
    }
    return 0;
}

/* ---- conditions ---- */

static ir_ref fold_select(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    u64 c;
    if (in->arg[1] == in->arg[2])
        return in->arg[1];
    return is_const(f, in->arg[0], &c) ? in->arg[c ? 1 : 2] : 0;
}

static ir_ref fold_icmp(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    bool symmetric = in->aux == IC_EQ || in->aux == IC_NE;
    if (in->arg[0] == in->arg[1]) {
        u64 v = in->aux == IC_EQ || in->aux == IC_LEU || in->aux == IC_LES;
        return become_const(f, i, W8, v);
    }
    if (symmetric)
        swap_const(f, i);
    struct ir_insn *a = def(f, in->arg[0]);
    if (!symmetric || !is_value(f, in->arg[1], 0))
        return 0;
    /* b != 0 and b == 0 of a boolean, perhaps widened. */
    if (a->op == IR_zext && def(f, in->arg[1])->uses == 1) {
        def(f, in->arg[1])->w = a->aux;
        return become(f, i, IR_icmp, a->aux, in->aux, 0, a->arg[0], in->arg[1], 0);
    }
    if (in->aux == IC_NE && ir_briefs[a->op].type == 'b')
        return in->arg[0];
    if (in->aux == IC_EQ && a->op == IR_setcc)
        return become(f, i, IR_setcc, W8, a->aux ^ 1u, 0, a->arg[0], 0, 0);
    if (in->aux == IC_EQ && a->op == IR_icmp && (a->aux == IC_EQ || a->aux == IC_NE))
        return become(f, i, IR_icmp, a->w, a->aux == IC_EQ ? IC_NE : IC_EQ, 0, a->arg[0],
                      a->arg[1], 0);
    return 0;
}

/* Flags that a condition reads, by cc >> 1. */
static const u16 cc_reads[8] = {FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF,
                                FL_SF, FL_PF, FL_SF | FL_OF, FL_ZF | FL_SF | FL_OF};

static bool all_const(struct fold *f, const struct ir_insn *in, u64 arg[4])
{
    unsigned n = ir_args(in);
    for (unsigned k = 0; k < 4; k++)
        arg[k] = 0;
    for (unsigned k = 0; k < n; k++)
        if (!is_const(f, in->arg[k], &arg[k]))
            return false;
    return true;
}

static ir_ref fold_setcc(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *fl = def(f, in->arg[0]);
    u16 reads = cc_reads[in->aux >> 1];
    u64 arg[4];
    if (fl->op == IR_fbit && !(fl->imm & reads)) {
        set_arg(f, i, 0, fl->arg[0]);
        return (ir_ref)i;
    }
    /* A condition that is just the bit that was put there: set and odd-inverted apart. */
    if (fl->op == IR_fbit && (fl->imm & reads) == reads && !(reads & (reads - 1)) && !(in->aux & 1))
        return fl->arg[1];
    if ((fl->op == IR_finc || fl->op == IR_fdec) && reads == FL_CF) {
        set_arg(f, i, 0, fl->arg[1]);
        return (ir_ref)i;
    }
    if (ir_eval_pure(fl->op) && all_const(f, fl, arg)) {
        u64 flags = ir_eval(fl, arg);
        return become_const(f, i, W8, eval_cc(in->aux, flags));
    }
    return 0;
}

/* ---- flags ---- */

/* finc and fdec take only CF: look through what leaves CF alone. */
static ir_ref fold_finc(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *b = def(f, in->arg[1]);
    if (b->op == IR_finc || b->op == IR_fdec) {
        set_arg(f, i, 1, b->arg[1]);
        return (ir_ref)i;
    }
    if (b->op == IR_fbit && !(b->imm & FL_CF)) {
        set_arg(f, i, 1, b->arg[0]);
        return (ir_ref)i;
    }
    return 0;
}

/* A known count decides whether the old flags pass through or do not matter at all. */
static ir_ref fold_flags_shift(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    unsigned n = in->op == IR_fshld || in->op == IR_fshrd ? 2 : 1;
    bool takes_rest = in->op >= IR_frol && in->op <= IR_frcr;
    u64 count;
    if (!is_const(f, in->arg[n], &count))
        return 0;
    if (count == 0)
        return in->arg[n + 1];
    if (!takes_rest && in->arg[n + 1]) {
        set_arg(f, i, n + 1, 0);
        return (ir_ref)i;
    }
    return 0;
}

static ir_ref fold_fbit(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *a = def(f, in->arg[0]);
    if (a->op == IR_fbit && !(a->imm & ~in->imm)) {
        set_arg(f, i, 0, a->arg[0]);
        return (ir_ref)i;
    }
    return 0;
}

static ir_ref fold_fbits(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *a = def(f, in->arg[0]);
    return a->op == IR_bitsf ? a->arg[0] : 0;
}

static ir_ref fold_ifromv(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i), *a = def(f, in->arg[0]);
    return a->op == IR_vfromi && a->w == in->w ? a->arg[0] : 0;
}

static ir_ref fold_exit_if(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    u64 c;
    if (!is_const(f, in->arg[0], &c))
        return 0;
    if (!c) {
        set_arg(f, i, 0, 0);
        memset(in, 0, sizeof *in);
        return 0;
    }
    become(f, i, IR_exit, W64, in->aux, in->imm, 0, 0, 0);
    f->ir->count = i + 1;
    return 0;
}

static ir_ref (*const folds[IR_OP_COUNT])(struct fold *f, unsigned i) = {
    [IR_add] = fold_add,       [IR_sub] = fold_sub,        [IR_and] = fold_and,
    [IR_or] = fold_or,         [IR_xor] = fold_xor,        [IR_mul] = fold_mul,
    [IR_not] = fold_involution, [IR_neg] = fold_involution, [IR_shl] = fold_shift,
    [IR_shr] = fold_shift,     [IR_sar] = fold_shift,      [IR_rol] = fold_rotate,
    [IR_ror] = fold_rotate,    [IR_rcl] = fold_rotate_carry, [IR_rcr] = fold_rotate_carry,
    [IR_shld] = fold_double_shift, [IR_shrd] = fold_double_shift,
    [IR_adc] = fold_carry,     [IR_sbb] = fold_carry,      [IR_fadc] = fold_carry,
    [IR_fsbb] = fold_carry,    [IR_zext] = fold_zext,      [IR_sext] = fold_sext,
    [IR_trunc] = fold_trunc,   [IR_deposit] = fold_deposit, [IR_select] = fold_select,
    [IR_selectf] = fold_select, [IR_icmp] = fold_icmp,     [IR_setcc] = fold_setcc,
    [IR_finc] = fold_finc,     [IR_fdec] = fold_finc,      [IR_fshl] = fold_flags_shift,
    [IR_fshr] = fold_flags_shift, [IR_fsar] = fold_flags_shift, [IR_frol] = fold_flags_shift,
    [IR_fror] = fold_flags_shift, [IR_frcl] = fold_flags_shift, [IR_frcr] = fold_flags_shift,
    [IR_fshld] = fold_flags_shift, [IR_fshrd] = fold_flags_shift, [IR_fbit] = fold_fbit,
    [IR_fbits] = fold_fbits,   [IR_ifromv] = fold_ifromv,  [IR_exit_if] = fold_exit_if,
};

/* The same part of the same value, taken again: each mention of a narrow register lifts to one. */
static ir_ref fold_repeated(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    if (in->op != IR_trunc && in->op != IR_zext && in->op != IR_sext)
        return 0;
    unsigned key = in->arg[0] * 5u + in->op * 3u + in->w + in->aux * 7u + (unsigned)in->imm;
    ir_ref *slot = &f->seen[key % SEEN];
    struct ir_insn *old = def(f, *slot);
    if (*slot && old->op == in->op && old->w == in->w && old->aux == in->aux &&
        old->imm == in->imm && old->arg[0] == in->arg[0])
        return *slot;
    *slot = (ir_ref)i;
    return 0;
}

/* Replaces an integer op of constants by its value; flags have no constant form. */
static bool fold_constants(struct fold *f, unsigned i)
{
    struct ir_insn *in = def(f, (ir_ref)i);
    char out = ir_briefs[in->op].type;
    u64 arg[4];
    if (def(f, in->arg[0])->op != IR_const) /* nearly always */
        return false;
    if (in->op == IR_const || !ir_eval_pure(in->op) || (out != 'i' && out != 'b') ||
        !all_const(f, in, arg))
        return false;
    if (in->op >= IR_divu && in->op <= IR_rems &&
        ir_eval_div_faults(in->op, in->w, arg[0], arg[1], arg[2]))
        return false;
    become_const(f, i, out == 'b' ? W8 : in->w, ir_eval(in, arg));
    return true;
}

static void fold_op(struct fold *f, unsigned i, struct opt_counters *counters)
{
    /* Each step strictly simplifies; the bound only guards against a pair that undo each other. */
    for (unsigned step = 0; step < 16; step++) {
        struct ir_insn *in = def(f, (ir_ref)i);
        if (fold_constants(f, i)) {
            counters->folded++;
            return;
        }
        ir_ref r = folds[in->op] ? folds[in->op](f, i) : 0;
        if (!r)
            r = fold_repeated(f, i);
        if (!r)
            return;
        counters->folded++;
        if (r != i) {
            for (unsigned k = 0; k < 4; k++)
                set_arg(f, i, k, 0);
            f->map[i] = r;
            memset(in, 0, sizeof *in);
            return;
        }
    }
}

void opt_fold(struct ir *ir, struct opt_counters *counters)
{
    struct fold f;
    f.ir = ir;
    f.map[0] = 0;
    memset(f.seen, 0, sizeof f.seen);
    for (unsigned i = 1; i < ir->count; i++) {
        struct ir_insn *in = &ir->insns[i];
        f.map[i] = (ir_ref)i;
        if (!ir_has_args(in)) /* nothing to fold */
            continue;
        for (unsigned k = 0; k < 4; k++)
            if (f.map[in->arg[k]] != in->arg[k])
                set_arg(&f, i, k, f.map[in->arg[k]]);
        if (folds[in->op] || def(&f, in->arg[0])->op == IR_const)
            fold_op(&f, i, counters);
    }
}

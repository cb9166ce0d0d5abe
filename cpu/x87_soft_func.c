/* The software x87: square root, remainders, rounding, scaling and classification, exact.
 *
 * Touches nothing but its arguments.
 */
#include "cpu/x87_soft.h"

#define TOP_BIT BIT64(63)

static bool denormals(struct soft_env *e, const struct soft *a, const struct soft *b)
{
    return !(a->denormal || (b && b->denormal)) || soft_raise(e, FSW_DE);
}

/* ---- square root ---- */

/* Root of n (top bit or the next set), rounded down; the rest in *rest. */
static u64 root_of(u128 n, u128 *rest)
{
    u64 root = 0;
    u128 left = 0;
    for (unsigned i = 0; i < 64; i++) {
        left = left << 2 | (n >> 126);
        n <<= 2;
        u128 trial = (u128)root << 2 | 1;
        root <<= 1;
        if (left >= trial) {
            left -= trial;
            root |= 1;
        }
    }
    *rest = left;
    return root;
}

static bool square_root(struct soft_env *e, const struct soft *a, struct fpreg *out)
{
    if (a->class == SOFT_ZERO)
        return true;
    if (a->sign)
        return soft_invalid(e, out);
    if (a->class == SOFT_INF)
        return true;
    if (!denormals(e, a, NULL))
        return false;
    bool odd = a->exp & 1;
    u128 rest;
    u64 root = root_of((u128)a->mant << (odd ? 64 : 63), &rest);
    /* The rest says on which side of the half the root lies; it is never on it. */
    u64 low = (rest > root ? TOP_BIT : 0) | (rest != 0);
    *out = soft_round(e, false, (a->exp - odd) / 2, (u128)root << 64 | low, soft_precision(e));
    return true;
}

/* ---- FRNDINT, FSCALE, FXTRACT ---- */

static bool round_to_integer(struct soft_env *e, const struct soft *a, struct fpreg *out)
{
    if (a->class != SOFT_FINITE)
        return true;
    if (!denormals(e, a, NULL))
        return false;
    if (a->exp >= 63)
        return true;
    bool inexact, up;
    u64 n = (u64)soft_to_integer(a->exp, a->mant, a->sign, soft_rc(e), &inexact, &up);
    if (inexact)
        e->sw |= FSW_PE | (up ? FSW_C1 : 0);
    struct soft v = {.class = n ? SOFT_FINITE : SOFT_ZERO, .sign = a->sign, .exp = 63, .mant = n};
    if (n)
        *out = soft_pack(&v);
    else
        *out = soft_special(SOFT_ZERO, a->sign);
    return true;
}

static bool scale(struct soft_env *e, const struct soft *a, const struct soft *b,
                  struct fpreg *out)
{
    if (b->class == SOFT_INF) {
        if (a->class == (b->sign ? SOFT_INF : SOFT_ZERO))
            return soft_invalid(e, out);
        if (!denormals(e, a, b))
            return false;
        *out = soft_special(b->sign ? SOFT_ZERO : SOFT_INF, a->sign);
        return true;
    }
    if (!denormals(e, a, b))
        return false;
    if (a->class != SOFT_FINITE)
        return true;
    s32 n = 0;
    if (b->class == SOFT_FINITE && b->exp >= 0)
        n = b->exp > 16 ? 0x10000 << 1 : (s32)(b->mant >> (63 - b->exp));
    n = n > 0x10000 ? 0x10000 : n;
    *out = soft_round(e, a->sign, a->exp + (b->sign ? -n : n), (u128)a->mant << 64, 64);
    return true;
}

/* st[0] becomes the significand, st[1] the exponent. */
static bool extract(struct soft_env *e, const struct soft *a, struct fpreg st[2])
{
    if (a->class == SOFT_INF) {
        st[1] = soft_special(SOFT_INF, false);
        return true;
    }
    if (a->class == SOFT_ZERO) {
        if (!soft_raise(e, FSW_ZE))
            return false;
        st[1] = soft_special(SOFT_INF, true);
        return true;
    }
    if (!denormals(e, a, NULL))
        return false;
    x87_soft_ops.load_i(&st[1], a->exp);
    st[0] = (struct fpreg){.mant = a->mant,
                           .sexp = (u16)(SOFT_BIAS | (unsigned)a->sign << 15)};
    return true;
}

/* ---- remainders ---- */

/* n * 2^shift mod m, and the low bits of the quotient in *q; n < m or shift < 64. */
static u64 reduce(u64 n, unsigned shift, u64 m, u64 *q)
{
    u64 rest = n >= m ? n - m : n;
    *q = n >= m;
    for (unsigned i = 0; i < shift; i++) {
        bool carry = rest >> 63;
        rest <<= 1;
        *q <<= 1;
        if (carry || rest >= m) {
            rest -= m;
            *q |= 1;
        }
    }
    return rest;
}

static void quotient_codes(struct soft_env *e, u64 q)
{
    e->sw |= (q & 1 ? FSW_C1 : 0) | (q & 2 ? FSW_C3 : 0) | (q & 4 ? FSW_C0 : 0);
}

/* FPREM's truncated quotient, or FPREM1's nearest. */
static bool remainder_of(struct soft_env *e, bool nearest, const struct soft *a,
                         const struct soft *b, struct fpreg *out)
{
    if (a->class == SOFT_INF || b->class == SOFT_ZERO)
        return soft_invalid(e, out);
    if (!denormals(e, a, b))
        return false;
    if (a->class == SOFT_ZERO || b->class == SOFT_INF) {
        if (a->class == SOFT_FINITE)
            *out = soft_round(e, a->sign, a->exp, (u128)a->mant << 64, 64);
        return true;
    }
    s32 d = a->exp - b->exp;
    u64 q = 0, rest;
    bool sign = a->sign;
    if (d >= 64) { /* a part: 32 to 63 bits of the quotient */
        unsigned n = ((unsigned)d & 31) | 32;
        rest = reduce(a->mant, n, b->mant, &q);
        e->sw |= FSW_C2;
        *out = rest ? soft_round(e, sign, a->exp - (s32)n, (u128)rest << 64, 64)
                    : soft_special(SOFT_ZERO, sign);
        return true;
    }
    if (d < -1) {
        rest = a->mant;
        *out = soft_round(e, sign, a->exp, (u128)rest << 64, 64);
        return true;
    }
    if (d == -1) { /* only a nearest quotient can be 1 */
        if (nearest && a->mant > b->mant) {
            q = 1;
            sign = !sign;
            /* b - a, with a at half its weight */
            *out = soft_round(e, sign, b->exp, ((u128)b->mant << 64) - ((u128)a->mant << 63), 64);
        } else {
            *out = soft_round(e, sign, a->exp, (u128)a->mant << 64, 64);
        }
        quotient_codes(e, q);
        return true;
    }
    rest = reduce(a->mant, (unsigned)d, b->mant, &q);
    if (nearest) {
        u128 twice = (u128)rest << 1;
        if (twice > b->mant || (twice == b->mant && q & 1)) {
            q++;
            rest = b->mant - rest;
            sign = !sign;
        }
    }
    quotient_codes(e, q);
    *out = rest ? soft_round(e, sign, b->exp, (u128)rest << 64, 64)
                : soft_special(SOFT_ZERO, a->sign);
    return true;
}

/* ---- FXAM ---- */

static void examine(struct soft_env *e, const struct soft *a, const struct fpreg *r)
{
    static const u16 codes[] = {
        [SOFT_ZERO] = FSW_C3, [SOFT_FINITE] = FSW_C2, [SOFT_INF] = FSW_C2 | FSW_C0,
        [SOFT_QNAN] = FSW_C0, [SOFT_SNAN] = FSW_C0, [SOFT_UNSUPPORTED] = 0,
    };
    u16 c = a->class == SOFT_FINITE && a->denormal ? FSW_C2 | FSW_C3 : codes[a->class];
    e->sw |= c | (r->sexp >> 15 ? FSW_C1 : 0);
}

void soft_function(struct soft_env *e, unsigned op, struct fpreg st[2])
{
    struct soft a = soft_unpack(&st[0]), b = soft_unpack(&st[1]);
    bool two = op == X87_SCALE || op == X87_PREM || op == X87_PREM1, store;
    struct fpreg out = st[0];
    if (op == X87_XAM) {
        examine(e, &a, &st[0]);
        return;
    }
    if (soft_operands(e, &st[0], &st[1], &a, two ? &b : NULL, &out, &store)) {
        if (store && op == X87_XTRACT)
            st[1] = out;
        if (store)
            st[0] = out;
        return;
    }
    if (op == X87_XTRACT) {
        struct fpreg both[2] = {st[0], st[1]};
        if (extract(e, &a, both))
            memcpy(st, both, sizeof both);
        return;
    }
    switch (op) {
    case X87_SQRT: store = square_root(e, &a, &out); break;
    case X87_RNDINT: store = round_to_integer(e, &a, &out); break;
    case X87_SCALE: store = scale(e, &a, &b, &out); break;
    default: store = remainder_of(e, op == X87_PREM1, &a, &b, &out); break;
    }
    if (store)
        st[0] = out;
}

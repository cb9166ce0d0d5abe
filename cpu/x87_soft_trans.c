/* The software x87: F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS.
 *
 * Touches nothing but its arguments.
 *
 * Everything is computed with 128 bits of significand by power series and rounded once, so results
 * are those of the exact value but for cases closer than 2^-50 of a unit to a rounding border.  The
 * trigonometric functions reduce their argument by as many bits of pi as the largest one needs
 * (processors by 66 or 68 bits: SDM vol. 1, 8.3.8).  Special operands follow the tables of each
 * instruction in SDM vol. 2.
 */
#include "cpu/x87_soft.h"

#define TOP_BIT BIT64(63)
#define WIDE(high, low) ((u128)(high) << 64 | (low))
#define WIDE_TOP WIDE(TOP_BIT, 0)

/* (-1)^sign * mant * 2^(exp - 127); mant is 0 or has its top bit set. */
struct wide {
    bool sign;
    s32 exp;
    u128 mant;
};

static const struct wide one = {.exp = 0, .mant = WIDE_TOP};
static const struct wide ln2 = {.exp = -1, .mant = WIDE(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af)};
static const struct wide log2e = {.exp = 0, .mant = WIDE(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88)};
static const struct wide pi = {.exp = 1, .mant = WIDE(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1)};

/* atan(k / 16), k from 1. */
static const struct wide atan_of[16] = {
    {.exp = -5, .mant = WIDE(0xffaaddb967ef4e36, 0xcb2792dc0e2e0d51)},
    {.exp = -4, .mant = WIDE(0xfeadd4d5617b6e32, 0xc897989f3e888ef7)},
    {.exp = -3, .mant = WIDE(0xbdcbda5e72d81134, 0x7b0b4f881c9c7487)},
    {.exp = -3, .mant = WIDE(0xfadbafc96406eb15, 0x6dc79ef5f7a217e5)},
    {.exp = -2, .mant = WIDE(0x9b13b9b83f5e5e69, 0xc5abb498d27af328)},
    {.exp = -2, .mant = WIDE(0xb7b0ca0f26f78473, 0x8aa32122dcfe4483)},
    {.exp = -2, .mant = WIDE(0xd327761e611fe5b6, 0x427c95e9001e7136)},
    {.exp = -2, .mant = WIDE(0xed63382b0dda7b45, 0x6fe445ecbc3a8d03)},
    {.exp = -1, .mant = WIDE(0x832bf4a6d9867e2a, 0x4b6a09cb61a515c0)},
    {.exp = -1, .mant = WIDE(0x8f005d5ef7f59f9b, 0x5c835e1665c43747)},
    {.exp = -1, .mant = WIDE(0x9a2f80e671bdda20, 0x4226f8e2204ff3bc)},
    {.exp = -1, .mant = WIDE(0xa4bc7d1934f70924, 0x19a87f2a457dac9e)},
    {.exp = -1, .mant = WIDE(0xaeac4c38b4d8c080, 0x14725e2f3e52070a)},
    {.exp = -1, .mant = WIDE(0xb8053e2bc2319e73, 0xcb2da55210a4443d)},
    {.exp = -1, .mant = WIDE(0xc0ce85b8ac526640, 0x89dd62c46e92fa24)},
    {.exp = -1, .mant = WIDE(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1)},
};

/* 2/pi, 320 bits after the point, the most significant word last. */
static const u64 two_over_pi[5] = {0xb7246e3a424dd2e0, 0xfe5163abdebbc561, 0xdb6295993c439041,
                                   0xfc2757d1f534ddc0, 0xa2f9836e4e441529};

/* ---- arithmetic of 128 bits, truncating ---- */

static struct wide normal(bool sign, s32 exp, u128 mant)
{
    struct wide r = {.sign = sign, .exp = exp, .mant = mant};
    if (!mant)
        return r;
    u64 high = (u64)(mant >> 64);
    unsigned shift = (unsigned)(high ? __builtin_clzll(high) : 64 + __builtin_clzll((u64)mant));
    r.mant <<= shift;
    r.exp -= (s32)shift;
    return r;
}

static struct wide wide_of(const struct soft *v)
{
    return (struct wide){.sign = v->sign, .exp = v->exp, .mant = (u128)v->mant << 64};
}

static struct wide negate(struct wide v)
{
    v.sign = !v.sign;
    return v;
}

static struct wide wide_mul(struct wide a, struct wide b)
{
    u64 ah = (u64)(a.mant >> 64), al = (u64)a.mant, bh = (u64)(b.mant >> 64), bl = (u64)b.mant;
    u128 mid = ((u128)al * bl >> 64) + (u64)((u128)ah * bl) + (u64)((u128)al * bh);
    u128 high = (u128)ah * bh + ((u128)ah * bl >> 64) + ((u128)al * bh >> 64) + (mid >> 64);
    return normal(a.sign ^ b.sign, a.exp + b.exp + 1, high);
}

static struct wide wide_add(struct wide a, struct wide b)
{
    if (!a.mant || !b.mant)
        return a.mant ? a : b;
    if (a.exp < b.exp || (a.exp == b.exp && a.mant < b.mant)) {
        struct wide t = a;
        a = b;
        b = t;
    }
    u128 x = a.mant, y = soft_shift_sticky(b.mant, (unsigned)(a.exp - b.exp));
    if (a.sign != b.sign)
        return normal(a.sign, a.exp, x - y);
    u128 sum = x + y;
    if (sum >= x)
        return normal(a.sign, a.exp, sum);
    return (struct wide){.sign = a.sign, .exp = a.exp + 1, .mant = sum >> 1 | WIDE_TOP};
}

static struct wide wide_sub(struct wide a, struct wide b)
{
    return wide_add(a, negate(b));
}

static struct wide wide_div(struct wide a, struct wide b)
{
    u128 q = 0, rest = a.mant;
    if (rest >= b.mant) {
        rest -= b.mant;
        q = 1;
    }
    for (unsigned i = 0; i < 127; i++) {
        bool carry = rest >> 127;
        rest <<= 1;
        q <<= 1;
        if (carry || rest >= b.mant) {
            rest -= b.mant;
            q |= 1;
        }
    }
    return normal(a.sign ^ b.sign, a.exp - b.exp, q);
}

static struct wide wide_div_small(struct wide a, u32 n)
{
    u64 high = (u64)(a.mant >> 64), low = (u64)a.mant;
    u64 q = high / n;
    u128 rest = (u128)(high % n) << 64 | low;
    return normal(a.sign, a.exp, (u128)q << 64 | (u64)(rest / n));
}

static struct wide wide_int(s32 n)
{
    return normal(n < 0, 127, (u128)(n < 0 ? -(u32)n : (u32)n));
}

/* ---- series ---- */

/* e^t - 1, |t| < 0.7. */
static struct wide exp_minus_1(struct wide t)
{
    struct wide p = one;
    for (u32 n = 36; n >= 2; n--)
        p = wide_add(one, wide_mul(p, wide_div_small(t, n)));
    return wide_mul(t, p);
}

/* sum of sign^k * x^(2k+1) / (2k+1): atanh (sign 1) or atan (-1) of |x| < 0.18. */
static struct wide arc_series(struct wide x, bool alternate)
{
    struct wide square = wide_mul(x, x), sum = wide_div_small(one, 59);
    square.sign = alternate;
    for (u32 n = 57; n >= 1; n -= 2) {
        sum = wide_add(wide_div_small(one, n), wide_mul(sum, square));
        if (n == 1)
            break;
    }
    return wide_mul(x, sum);
}

/* log2 of n/d = 1 + delta/d with the quotient near 1: 2 atanh(delta / (n + d)) / ln 2. */
static struct wide log2_near_1(struct wide delta, struct wide sum)
{
    struct wide r = wide_mul(arc_series(wide_div(delta, sum), false), log2e);
    r.exp += r.mant != 0;
    return r;
}

static struct wide log2_of(const struct soft *x)
{
    struct wide m = wide_of(x);
    s32 e = x->exp;
    m.exp = 0;
    if (x->mant > 0xb504f333f9de6484) { /* above the root of 2 */
        m.exp = -1;
        e++;
    }
    return wide_add(wide_int(e), log2_near_1(wide_sub(m, one), wide_add(m, one)));
}

/* atan of 0 <= q <= 1. */
static struct wide atan_up_to_1(struct wide q)
{
    unsigned k = 0;
    if (q.mant && q.exp >= -6) /* q * 16, rounded */
        k = (unsigned)(((q.mant >> 64 >> (unsigned)(-q.exp)) + BIT64(58)) >> 59);
    if (!k)
        return arc_series(q, true);
    struct wide c = wide_int((s32)k);
    c.exp -= 4;
    struct wide r = wide_div(wide_sub(q, c), wide_add(one, wide_mul(q, c)));
    return wide_add(atan_of[k - 1], arc_series(r, true));
}

static struct wide sin_series(struct wide r, struct wide square)
{
    struct wide p = one;
    for (u32 n = 34; n >= 2; n -= 2)
        p = wide_sub(one, wide_mul(p, wide_div_small(square, n * (n + 1))));
    return wide_mul(r, p);
}

static struct wide cos_series(struct wide square)
{
    struct wide p = one;
    for (u32 n = 33; n >= 1; n -= 2) {
        p = wide_sub(one, wide_mul(p, wide_div_small(square, n * (n + 1))));
        if (n == 1)
            break;
    }
    return p;
}

/* x = quadrant * pi/2 + rest, |rest| <= pi/4, for |x| < 2^63; the quadrant modulo 4. */
static unsigned reduce_angle(const struct soft *x, struct wide *rest)
{
    if (x->exp < -1) {
        *rest = wide_of(x);
        return 0;
    }
    u64 p[6] = {0};
    u64 carry = 0;
    for (unsigned i = 0; i < 5; i++) {
        u128 t = (u128)x->mant * two_over_pi[i] + carry;
        p[i] = (u64)t;
        carry = (u64)(t >> 64);
    }
    p[5] = carry;
    /* The point is 383 - exp bits from the bottom: move it to the border of the top word. */
    unsigned shift = (unsigned)(63 - x->exp);
    for (unsigned i = 0; i < 6; i++) {
        u64 above = i < 5 ? p[i + 1] : 0;
        p[i] = shift == 64 ? above : shift ? p[i] >> shift | above << (64 - shift) : p[i];
    }
    u64 quadrant = p[5];
    bool over = p[4] & TOP_BIT; /* nearer to the next one */
    if (over) {
        quadrant++;
        for (unsigned i = 0; i < 5; i++)
            p[i] = ~p[i];
    }
    unsigned top = 4;
    while (top > 1 && !p[top])
        top--;
    s32 exp = -1 - 64 * (s32)(4 - top);
    u128 mant = WIDE(p[top], p[top - 1]);
    unsigned lost = p[top] ? (unsigned)__builtin_clzll(p[top]) : 64;
    if (lost && lost < 64 && top >= 2)
        mant = mant << lost | p[top - 2] >> (64 - lost);
    else
        mant <<= lost < 64 ? lost : 0;
    struct wide half_pi = pi;
    half_pi.exp--;
    *rest = wide_mul(normal(over ^ x->sign, exp - (s32)(lost < 64 ? lost : 0), mant), half_pi);
    return (unsigned)((x->sign ? -quadrant : quadrant) & 3);
}

/* ---- the instructions ---- */

static struct fpreg result(struct soft_env *e, struct wide v)
{
    if (!v.mant)
        return soft_special(SOFT_ZERO, v.sign);
    return soft_round(e, v.sign, v.exp, v.mant | 1, 64); /* no such value is exact */
}

static bool denormals(struct soft_env *e, const struct soft *a, const struct soft *b)
{
    return !(a->denormal || (b && b->denormal)) || soft_raise(e, FSW_DE);
}

/* F2XM1, defined for -1 to 1; larger operands are given back. */
static bool f2xm1(struct soft_env *e, const struct soft *x, struct fpreg *out)
{
    if (x->class == SOFT_ZERO)
        return true;
    if (x->class == SOFT_INF) {
        if (x->sign)
            *out = (struct fpreg){.mant = TOP_BIT, .sexp = 0xbfff};
        return true;
    }
    if (!denormals(e, x, NULL))
        return false;
    if (x->exp >= 0) {
        if (x->exp == 0 && x->mant == TOP_BIT) /* 1 or -1/2 */
            *out = (struct fpreg){.mant = TOP_BIT, .sexp = x->sign ? 0xbffe : 0x3fff};
        return true;
    }
    *out = result(e, exp_minus_1(wide_mul(wide_of(x), ln2)));
    return true;
}

/* y * log2 of an operand whose logarithm is `sign` * infinity. */
static bool infinite_log(struct soft_env *e, const struct soft *y, bool sign, struct fpreg *out)
{
    if (y->class == SOFT_ZERO)
        return soft_invalid(e, out);
    if (!denormals(e, y, NULL))
        return false;
    *out = soft_special(SOFT_INF, y->sign ^ sign);
    return true;
}

static bool fyl2x(struct soft_env *e, const struct soft *x, const struct soft *y,
                  struct fpreg *out)
{
    bool is_one = x->class == SOFT_FINITE && x->exp == 0 && x->mant == TOP_BIT;
    if (x->class != SOFT_ZERO && x->sign)
        return soft_invalid(e, out);
    if (x->class == SOFT_ZERO) {
        if (y->class == SOFT_FINITE) {
            if (!soft_raise(e, FSW_ZE))
                return false;
            *out = soft_special(SOFT_INF, !y->sign);
            return true;
        }
        return infinite_log(e, y, true, out);
    }
    if (x->class == SOFT_INF)
        return infinite_log(e, y, false, out);
    if (is_one && y->class == SOFT_INF)
        return soft_invalid(e, out);
    if (!denormals(e, x, y))
        return false;
    bool negative = x->exp < 0;
    if (y->class != SOFT_FINITE || is_one) {
        *out = soft_special(y->class == SOFT_INF ? SOFT_INF : SOFT_ZERO, y->sign ^ negative);
        return true;
    }
    if (x->mant == TOP_BIT) { /* a power of 2 has an exact logarithm */
        struct wide v = wide_mul(wide_of(y), wide_int(x->exp));
        *out = soft_round(e, v.sign, v.exp, v.mant, 64);
        return true;
    }
    *out = result(e, wide_mul(log2_of(x), wide_of(y)));
    return true;
}

static bool fyl2xp1(struct soft_env *e, const struct soft *x, const struct soft *y,
                    struct fpreg *out)
{
    if (x->class == SOFT_INF) {
        if (x->sign)
            return soft_invalid(e, out);
        return infinite_log(e, y, false, out);
    }
    if (x->class == SOFT_ZERO && y->class == SOFT_INF)
        return soft_invalid(e, out);
    if (!denormals(e, x, y))
        return false;
    if (x->class == SOFT_ZERO || y->class != SOFT_FINITE) {
        *out = soft_special(y->class == SOFT_INF ? SOFT_INF : SOFT_ZERO, y->sign ^ x->sign);
        return true;
    }
    struct wide w = wide_of(x), two = one;
    two.exp = 1;
    if (x->sign && x->exp >= 0) /* the logarithm of nothing: undefined, leaves x */
        return true;
    if (x->exp >= -1) {
        /* Beyond the range that the manual defines (1 - sqrt(1/2) to sqrt(2) - 1). */
        struct wide sum = wide_add(one, w);
        struct soft s = {.class = SOFT_FINITE, .exp = sum.exp, .mant = (u64)(sum.mant >> 64)};
        *out = result(e, wide_mul(log2_of(&s), wide_of(y)));
        return true;
    }
    *out = result(e, wide_mul(log2_near_1(w, wide_add(two, w)), wide_of(y)));
    return true;
}

/* The angle of the point (x, y). */
static bool fpatan(struct soft_env *e, const struct soft *x, const struct soft *y,
                   struct fpreg *out)
{
    if (!denormals(e, x, y))
        return false;
    struct wide a = {0}, half_pi = pi;
    half_pi.exp--;
    bool flat = y->class == SOFT_ZERO || (x->class == SOFT_INF && y->class != SOFT_INF);
    bool steep = x->class == SOFT_ZERO || (y->class == SOFT_INF && x->class != SOFT_INF);
    if (flat) {
        a.mant = 0;
    } else if (steep) {
        *out = result(e, (struct wide){y->sign, half_pi.exp, half_pi.mant});
        return true;
    } else if (x->class == SOFT_INF) {
        a = half_pi;
        a.exp--;
    } else {
        struct wide p = wide_of(x), q = wide_of(y);
        p.sign = q.sign = false;
        if (q.exp > p.exp || (q.exp == p.exp && q.mant > p.mant))
            a = wide_sub(half_pi, atan_up_to_1(wide_div(p, q)));
        else
            a = atan_up_to_1(wide_div(q, p));
    }
    if (x->sign)
        a = wide_sub(pi, a);
    a.sign = y->sign;
    *out = result(e, a);
    return true;
}

static struct wide sine(unsigned quadrant, struct wide r)
{
    struct wide square = wide_mul(r, r);
    struct wide v = quadrant & 1 ? cos_series(square) : sin_series(r, square);
    v.sign ^= quadrant >> 1 & 1;
    return v;
}

/* FSIN, FCOS, FSINCOS, FPTAN; false when nothing is to be stored. */
static bool trigonometric(struct soft_env *e, unsigned op, const struct soft *x,
                          struct fpreg st[2])
{
    static const struct fpreg fp_one = {.mant = TOP_BIT, .sexp = 0x3fff};
    if (x->class == SOFT_INF) {
        if (!soft_invalid(e, &st[0]))
            return false;
        st[1] = st[0];
        return true;
    }
    if (x->class == SOFT_ZERO) {
        st[1] = st[0]; /* sine and tangent, below what is pushed */
        if (op != X87_SIN)
            st[0] = fp_one;
        return true;
    }
    if (x->exp >= 63) {
        e->sw |= FSW_C2;
        return false;
    }
    if (!denormals(e, x, NULL))
        return false;
    struct wide r;
    unsigned quadrant = reduce_angle(x, &r);
    switch (op) {
    case X87_SIN: st[0] = result(e, sine(quadrant, r)); break;
    case X87_COS: st[0] = result(e, sine(quadrant + 1, r)); break;
    case X87_SINCOS:
        st[1] = result(e, sine(quadrant, r));
        st[0] = result(e, sine(quadrant + 1, r));
        break;
    default: /* of a tiny angle it is just above the angle, which truncation would hide */
        if (x->exp >= -64)
            r = wide_div(sine(quadrant, r), sine(quadrant + 1, r));
        st[1] = result(e, r);
        st[0] = fp_one;
    }
    return true;
}

void soft_transcendental(struct soft_env *e, unsigned op, struct fpreg st[2])
{
    struct soft x = soft_unpack(&st[0]), y = soft_unpack(&st[1]);
    bool two = op == X87_YL2X || op == X87_YL2XP1 || op == X87_PATAN, store;
    struct fpreg out[2] = {st[0], st[1]};
    if (soft_operands(e, &st[0], &st[1], &x, two ? &y : NULL, out, &store)) {
        out[1] = out[0];
    } else {
        switch (op) {
        case X87_2XM1: store = f2xm1(e, &x, out); break;
        case X87_YL2X: store = fyl2x(e, &x, &y, out); break;
        case X87_YL2XP1: store = fyl2xp1(e, &x, &y, out); break;
        case X87_PATAN: store = fpatan(e, &x, &y, out); break;
        default: store = trigonometric(e, op, &x, out);
        }
    }
    if (store)
        st[0] = out[0];
    if (store && (op == X87_PTAN || op == X87_SINCOS))
        st[1] = out[1];
}

/* x87 arithmetic in software, bit for bit as a processor does it: add, subtract, multiply, divide,
 * compare, conversions, loads and stores (SDM vol. 1, chapters 4.8, 4.9 and 8).
 *
 * Touches nothing but its arguments.  Square root, remainders and the like are in x87_soft_func.c,
 * transcendental functions in x87_soft_trans.c.  Where the manual leaves room (which NaN of equal
 * significands, flags beside each other), it does what AMD's processors do.
 */
#include "cpu/x87_soft.h"

const struct fpreg soft_indefinite = {.mant = 0xc000000000000000, .sexp = 0xffff};

#define TOP_BIT BIT64(63)
#define QUIET_BIT BIT64(62)

/* ---- taking apart and putting together ---- */

struct soft soft_unpack(const struct fpreg *r)
{
    struct soft v = {.sign = r->sexp >> 15, .mant = r->mant};
    unsigned e = r->sexp & 0x7fff;
    if (e == 0x7fff) {
        if (!(r->mant & TOP_BIT))
            v.class = SOFT_UNSUPPORTED;
        else if (r->mant == TOP_BIT)
            v.class = SOFT_INF;
        else
            v.class = r->mant & QUIET_BIT ? SOFT_QNAN : SOFT_SNAN;
        return v;
    }
    if (e && !(r->mant & TOP_BIT)) {
        v.class = SOFT_UNSUPPORTED;
        return v;
    }
    if (!r->mant)
        return v;
    v.class = SOFT_FINITE;
    v.denormal = !e;
    v.exp = (e ? (s32)e : 1) - SOFT_BIAS;
    unsigned shift = (unsigned)__builtin_clzll(v.mant);
    v.mant <<= shift;
    v.exp -= (s32)shift;
    return v;
}

struct fpreg soft_special(u8 class, bool sign)
{
    struct fpreg r = {.sexp = (u16)(sign << 15)};
    if (class == SOFT_INF) {
        r.mant = TOP_BIT;
        r.sexp |= 0x7fff;
    }
    return r;
}

unsigned soft_precision(const struct soft_env *e)
{
    static const u8 bits[4] = {24, 64, 53, 64};
    return bits[e->cw >> 8 & 3];
}

/* Whether the bits cut off (of weight below the last one kept) round the magnitude up. */
static bool rounds_up(unsigned rc, bool sign, bool odd, u64 cut, u64 half, bool sticky)
{
    switch (rc) {
    case 0: return cut > half || (cut == half && (sticky || odd));
    case 1: return sign && (cut || sticky);
    case 2: return !sign && (cut || sticky);
    default: return false;
    }
}

/* Keeps the top `bits` of v's upper half; true when it carries out of the top. */
static bool round_significand(unsigned rc, bool sign, u128 v, unsigned bits, u64 *mant,
                              bool *inexact, bool *up)
{
    u64 hi = (u64)(v >> 64), lo = (u64)v;
    u64 unit = 1ull << (64 - bits);
    u64 cut = bits == 64 ? lo : hi & (unit - 1), half = bits == 64 ? TOP_BIT : unit >> 1;
    bool sticky = bits == 64 ? false : lo != 0;
    *inexact = cut || sticky;
    *up = rounds_up(rc, sign, hi & unit, cut, half, sticky);
    *mant = hi & ~(unit - 1);
    if (!*up)
        return false;
    *mant += unit;
    return *mant < unit;
}

static struct fpreg make(bool sign, s32 biased, u64 mant)
{
    return (struct fpreg){.mant = mant, .sexp = (u16)((u32)biased | (u32)sign << 15)};
}

static struct fpreg overflow(struct soft_env *e, bool sign, s32 exp, u64 mant, unsigned bits,
                             bool inexact, bool up)
{
    if (!soft_raise(e, FSW_OE)) {
        if (exp - SOFT_WRAP > SOFT_BIAS) { /* massive, by FSCALE (SDM vol. 1, 8.5.4) */
            e->sw |= FSW_PE | FSW_C1;
            return soft_special(SOFT_INF, sign);
        }
        if (inexact)
            e->sw |= FSW_PE | (up ? FSW_C1 : 0);
        return make(sign, exp + SOFT_BIAS - SOFT_WRAP, mant);
    }
    unsigned rc = soft_rc(e);
    e->sw |= FSW_PE;
    if (rc == 0 || rc == (sign ? 1u : 2u)) {
        e->sw |= FSW_C1;
        return soft_special(SOFT_INF, sign);
    }
    return make(sign, 0x7ffe, ~(u64)0 << (64 - bits));
}

struct fpreg soft_round(struct soft_env *e, bool sign, s32 exp, u128 v, unsigned bits)
{
    unsigned rc = soft_rc(e);
    bool inexact, up;
    u64 mant;
    unsigned shift = (unsigned)(v >> 64 ? __builtin_clzll((u64)(v >> 64))
                                        : 64 + __builtin_clzll((u64)v));
    v <<= shift;
    exp -= (s32)shift;
    s32 rounded = exp;
    if (round_significand(rc, sign, v, bits, &mant, &inexact, &up)) {
        mant = TOP_BIT;
        rounded++;
    }
    if (rounded > SOFT_BIAS)
        return overflow(e, sign, rounded, mant, bits, inexact, up);
    if (rounded < 1 - SOFT_BIAS) { /* tiny after rounding */
        if (!(e->cw & FSW_UE)) {
            e->sw |= FSW_UE;
            rounded += SOFT_WRAP;
            if (rounded < 1 - SOFT_BIAS) { /* massive */
                e->sw |= FSW_PE;
                return soft_special(SOFT_ZERO, sign);
            }
        } else {
            v = soft_shift_sticky(v, (unsigned)(1 - SOFT_BIAS - exp));
            rounded = -SOFT_BIAS;
            round_significand(rc, sign, v, bits, &mant, &inexact, &up);
            if (mant & TOP_BIT)
                rounded++;
            if (inexact)
                e->sw |= FSW_UE;
        }
    }
    if (inexact)
        e->sw |= FSW_PE | (up ? FSW_C1 : 0);
    return make(sign, rounded + SOFT_BIAS, mant);
}

struct fpreg soft_pack(const struct soft *v)
{
    if (v->class != SOFT_FINITE)
        return soft_special(v->class, v->sign);
    struct soft_env none = {.cw = 0x37f};
    return soft_round(&none, v->sign, v->exp, (u128)v->mant << 64, 64);
}

/* ---- operands ---- */

bool soft_invalid(struct soft_env *e, struct fpreg *out)
{
    bool masked = soft_raise(e, FSW_IE);
    if (masked)
        *out = soft_indefinite;
    return masked;
}

static bool is_nan(const struct soft *v)
{
    return v->class == SOFT_QNAN || v->class == SOFT_SNAN;
}

/* Result of an operation with NaNs (SDM vol. 1, table 4-7, x87 column). */
static struct fpreg pick_nan(const struct fpreg *ra, const struct fpreg *rb, const struct soft *a,
                             const struct soft *b)
{
    const struct fpreg *r = ra;
    if (b && is_nan(b)) {
        if (!is_nan(a))
            r = rb;
        else if (a->class != b->class)
            r = a->class == SOFT_QNAN ? ra : rb;
        else if (a->mant != b->mant)
            r = a->mant > b->mant ? ra : rb;
        else
            r = a->sign ? rb : ra;
    }
    return (struct fpreg){.mant = r->mant | QUIET_BIT, .sexp = r->sexp};
}

bool soft_operands(struct soft_env *e, const struct fpreg *ra, const struct fpreg *rb,
                   const struct soft *a, const struct soft *b, struct fpreg *out, bool *store)
{
    u8 bc = b ? b->class : SOFT_ZERO;
    *store = true;
    if (a->class == SOFT_UNSUPPORTED || bc == SOFT_UNSUPPORTED) {
        *store = soft_invalid(e, out);
        return true;
    }
    if (a->class >= SOFT_QNAN || bc >= SOFT_QNAN) {
        if (a->class == SOFT_SNAN || bc == SOFT_SNAN)
            *store = soft_raise(e, FSW_IE);
        *out = pick_nan(ra, rb, a, b);
        return true;
    }
    return false;
}

/* A denormal operand; false when its unmasked exception stops the operation. */
static bool denormals(struct soft_env *e, const struct soft *a, const struct soft *b)
{
    return !(a->denormal || (b && b->denormal)) || soft_raise(e, FSW_DE);
}

/* ---- arithmetic ---- */

static struct fpreg add_finite(struct soft_env *e, const struct soft *a, const struct soft *b)
{
    if (a->exp < b->exp || (a->exp == b->exp && a->mant < b->mant)) {
        const struct soft *t = a;
        a = b;
        b = t;
    }
    /* One bit of headroom for the carry. */
    u128 x = (u128)a->mant << 63;
    u128 y = soft_shift_sticky((u128)b->mant << 63, (unsigned)(a->exp - b->exp));
    u128 r = a->sign == b->sign ? x + y : x - y;
    if (!r)
        return soft_special(SOFT_ZERO, soft_rc(e) == 1);
    return soft_round(e, a->sign, a->exp + 1, r, soft_precision(e));
}

static bool add(struct soft_env *e, const struct soft *a, const struct soft *b, struct fpreg *out)
{
    if (a->class == SOFT_INF && b->class == SOFT_INF && a->sign != b->sign)
        return soft_invalid(e, out);
    if (!denormals(e, a, b))
        return false;
    if (a->class == SOFT_INF || b->class == SOFT_INF)
        *out = soft_special(SOFT_INF, a->class == SOFT_INF ? a->sign : b->sign);
    else if (a->class == SOFT_ZERO && b->class == SOFT_ZERO)
        *out = soft_special(SOFT_ZERO, a->sign == b->sign ? a->sign : soft_rc(e) == 1);
    else if (a->class == SOFT_ZERO || b->class == SOFT_ZERO) {
        const struct soft *v = a->class == SOFT_ZERO ? b : a;
        *out = soft_round(e, v->sign, v->exp, (u128)v->mant << 64, soft_precision(e));
    } else {
        *out = add_finite(e, a, b);
    }
    return true;
}

static bool mul(struct soft_env *e, const struct soft *a, const struct soft *b, struct fpreg *out)
{
    bool sign = a->sign ^ b->sign;
    if ((a->class == SOFT_INF && b->class == SOFT_ZERO) ||
        (a->class == SOFT_ZERO && b->class == SOFT_INF))
        return soft_invalid(e, out);
    if (!denormals(e, a, b))
        return false;
    if (a->class == SOFT_INF || b->class == SOFT_INF)
        *out = soft_special(SOFT_INF, sign);
    else if (a->class == SOFT_ZERO || b->class == SOFT_ZERO)
        *out = soft_special(SOFT_ZERO, sign);
    else
        *out = soft_round(e, sign, a->exp + b->exp + 1, (u128)a->mant * b->mant,
                          soft_precision(e));
    return true;
}

static bool divide(struct soft_env *e, const struct soft *a, const struct soft *b,
                   struct fpreg *out)
{
    bool sign = a->sign ^ b->sign;
    if (a->class == b->class && a->class != SOFT_FINITE) /* 0/0, infinity/infinity */
        return soft_invalid(e, out);
    if (a->class == SOFT_FINITE && b->class == SOFT_ZERO) {
        if (!soft_raise(e, FSW_ZE))
            return false;
        *out = soft_special(SOFT_INF, sign);
        return true;
    }
    if (!denormals(e, a, b))
        return false;
    if (a->class == SOFT_INF || b->class == SOFT_ZERO) {
        *out = soft_special(SOFT_INF, sign);
    } else if (a->class == SOFT_ZERO || b->class == SOFT_INF) {
        *out = soft_special(SOFT_ZERO, sign);
    } else {
        u128 n = (u128)a->mant << 63;
        u64 q = (u64)(n / b->mant), rest = (u64)(n % b->mant);
        n = (u128)rest << 64;
        u64 low = (u64)(n / b->mant);
        low |= n % b->mant != 0;
        *out = soft_round(e, sign, a->exp - b->exp, (u128)q << 64 | low, soft_precision(e));
    }
    return true;
}

/* ---- comparison ---- */

/* -1, 0, 1 of two numbers. */
static int order(const struct soft *a, const struct soft *b)
{
    bool az = a->class == SOFT_ZERO, bz = b->class == SOFT_ZERO;
    if (az && bz)
        return 0;
    if (az || bz || a->sign != b->sign) {
        bool less = az ? !b->sign : a->sign;
        return less ? -1 : 1;
    }
    int magnitude = 0;
    if (a->class != b->class)
        magnitude = a->class == SOFT_INF ? 1 : -1;
    else if (a->class == SOFT_FINITE && a->exp != b->exp)
        magnitude = a->exp > b->exp ? 1 : -1;
    else if (a->class == SOFT_FINITE && a->mant != b->mant)
        magnitude = a->mant > b->mant ? 1 : -1;
    return a->sign ? -magnitude : magnitude;
}

/* Condition codes of a compared with b; all three when unordered. */
static u16 compare(struct soft_env *e, bool quiet, const struct fpreg *ra, const struct fpreg *rb,
                   bool b_denormal)
{
    struct soft a = soft_unpack(ra), b = soft_unpack(rb);
    b.denormal |= b_denormal;
    if (a.class >= SOFT_QNAN || b.class >= SOFT_QNAN) {
        if (!quiet || a.class >= SOFT_SNAN || b.class >= SOFT_SNAN)
            soft_raise(e, FSW_IE);
        return FSW_C0 | FSW_C2 | FSW_C3;
    }
    denormals(e, &a, &b);
    int o = order(&a, &b);
    return o < 0 ? FSW_C0 : o ? 0 : FSW_C3;
}

/* denormal: src was one in the narrower format that it comes from. */
static u16 arith(unsigned op, u16 cw, struct fpreg *dst, const struct fpreg *src, bool denormal)
{
    struct soft_env e = {.cw = cw};
    if (op == X87_COM || op == X87_COMP || op == X87_UCOM) {
        u16 codes = compare(&e, op == X87_UCOM, dst, src, denormal);
        return e.sw | codes;
    }
    struct soft a = soft_unpack(dst), b = soft_unpack(src);
    b.denormal |= denormal;
    struct fpreg out = *dst;
    bool store;
    if (!soft_operands(&e, dst, src, &a, &b, &out, &store)) {
        switch (op) {
        case X87_ADD: store = add(&e, &a, &b, &out); break;
        case X87_MUL: store = mul(&e, &a, &b, &out); break;
        case X87_SUB:
            b.sign = !b.sign;
            store = add(&e, &a, &b, &out);
            break;
        case X87_SUBR:
            a.sign = !a.sign;
            store = add(&e, &b, &a, &out);
            break;
        case X87_DIV: store = divide(&e, &a, &b, &out); break;
        default: store = divide(&e, &b, &a, &out); break;
        }
    }
    if (store)
        *dst = out;
    return e.sw;
}

/* ---- conversion to 80 bits ---- */

/* A float of `bits` significand bits (24, 53); SNaNs and denormals stay what they are. */
static struct fpreg widen(u64 v, unsigned bits, bool *denormal)
{
    unsigned exp_bits = bits == 24 ? 8 : 11, top = (1u << exp_bits) - 1;
    unsigned fraction = bits - 1, e = (unsigned)(v >> fraction) & top;
    u64 f = v & (BIT64(fraction) - 1);
    u16 sign = (u16)((v >> (fraction + exp_bits) & 1) << 15);
    *denormal = false;
    struct fpreg r = {.mant = f << (64 - bits), .sexp = sign};
    if (e == top) {
        r.mant |= TOP_BIT;
        r.sexp |= 0x7fff;
    } else if (e) {
        r.mant |= TOP_BIT;
        r.sexp |= (u16)(e + SOFT_BIAS - (top >> 1));
    } else if (f) {
        unsigned shift = (unsigned)__builtin_clzll(r.mant);
        *denormal = true;
        r.mant <<= shift;
        r.sexp |= (u16)(1 + SOFT_BIAS - (top >> 1) - shift);
    }
    return r;
}

static u16 soft_arith(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, const struct fpreg *src)
{
    return arith(op, cw, dst, src, false);
}

static u16 soft_arith_s(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, u32 src)
{
    bool denormal;
    struct fpreg v = widen(src, 24, &denormal);
    return arith(op, cw, dst, &v, denormal);
}

static u16 soft_arith_d(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, u64 src)
{
    bool denormal;
    struct fpreg v = widen(src, 53, &denormal);
    return arith(op, cw, dst, &v, denormal);
}

static void soft_load_i(struct fpreg *dst, s64 src)
{
    u64 m = src < 0 ? -(u64)src : (u64)src;
    struct fpreg r = {.sexp = src < 0 ? 0x8000 : 0};
    if (m) {
        unsigned shift = (unsigned)__builtin_clzll(m);
        r.mant = m << shift;
        r.sexp |= (u16)(SOFT_BIAS + 63 - shift);
    }
    *dst = r;
}

static u16 soft_arith_i(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, s32 src, bool word)
{
    struct fpreg v;
    soft_load_i(&v, src);
    return arith(op, cw, dst, &v, false);
}

static u16 load(u16 cw, struct fpreg *dst, u64 src, unsigned bits)
{
    struct soft_env e = {.cw = cw};
    bool denormal;
    struct fpreg r = widen(src, bits, &denormal);
    if (denormal)
        soft_raise(&e, FSW_DE);
    if (soft_unpack(&r).class == SOFT_SNAN) {
        r.mant |= QUIET_BIT;
        if (!soft_raise(&e, FSW_IE))
            return e.sw;
    }
    *dst = r;
    return e.sw;
}

static u16 soft_load_s(u16 cw, u16 sticky, struct fpreg *dst, u32 src)
{
    return load(cw, dst, src, 24);
}

static u16 soft_load_d(u16 cw, u16 sticky, struct fpreg *dst, u64 src)
{
    return load(cw, dst, src, 53);
}

static void soft_load_const(u16 cw, unsigned which, struct fpreg *dst)
{
    /* 66 bits of each (SDM vol. 1, 8.3.8): significand and the two that follow. */
    static const struct {
        u64 mant;
        u16 sexp;
        u8 more;
    } c[7] = {
        {0x8000000000000000, 0x3fff, 0}, {0xd49a784bcd1b8afe, 0x4000, 1},
        {0xb8aa3b295c17f0bb, 0x3fff, 2}, {0xc90fdaa22168c234, 0x4000, 3},
        {0x9a209a84fbcff798, 0x3ffd, 2}, {0xb17217f7d1cf79ab, 0x3ffe, 3}, {0, 0, 0},
    };
    unsigned rc = cw >> 10 & 3, i = which < 7 ? which : 6;
    bool up = rc == 0 ? c[i].more >= 2 : rc == 2 && c[i].more;
    *dst = (struct fpreg){.mant = c[i].mant + up, .sexp = c[i].sexp};
}

static void soft_load_bcd(struct fpreg *dst, const u8 bytes[10])
{
    s64 v = 0;
    for (unsigned i = 9; i-- > 0;)
        v = v * 100 + (bytes[i] >> 4) * 10 + (bytes[i] & 15);
    soft_load_i(dst, v);
    if (bytes[9] & 0x80)
        dst->sexp |= 0x8000;
}

/* ---- stores ---- */

u128 soft_to_integer(s32 exp, u64 mant, bool sign, unsigned rc, bool *inexact, bool *up)
{
    u128 whole;
    u64 cut; /* what is cut off, in units of 2^-64 */
    bool sticky = false;
    if (exp >= 0) {
        whole = exp < 64 ? mant >> (63 - exp) : 0;
        cut = exp < 63 ? mant << (exp + 1) : 0;
    } else {
        unsigned shift = (unsigned)(-1 - exp);
        whole = 0;
        cut = shift < 64 ? mant >> shift : 0;
        sticky = shift && (shift > 63 || mant << (64 - shift));
    }
    *inexact = cut || sticky;
    *up = rounds_up(rc, sign, whole & 1, cut, TOP_BIT, sticky);
    return whole + *up;
}

/* Stores the integer of `bytes` bytes; the indefinite where it does not fit. */
static void store_int(struct soft_env *e, const struct fpreg *src, unsigned bytes, bool truncate,
                      u8 *out)
{
    struct soft v = soft_unpack(src);
    u64 limit = 1ull << (bytes * 8 - 1);
    u128 n = 0;
    bool inexact = false, up = false, fits = v.class <= SOFT_FINITE;
    if (v.class == SOFT_FINITE) {
        fits = v.exp < 64;
        if (fits)
            n = soft_to_integer(v.exp, v.mant, v.sign, truncate ? 3 : soft_rc(e), &inexact, &up);
        fits = fits && n <= limit - !v.sign;
    }
    if (!fits) {
        if (soft_raise(e, FSW_IE))
            store_le(out, limit, bytes);
        return;
    }
    if (inexact)
        soft_raise(e, FSW_PE);
    if (up)
        e->sw |= FSW_C1;
    store_le(out, v.sign ? -(u64)n : (u64)n, bytes);
}

static void store_bcd(struct soft_env *e, const struct fpreg *src, u8 out[10])
{
    struct soft v = soft_unpack(src);
    u128 n = 0;
    bool inexact = false, up = false, fits = v.class <= SOFT_FINITE;
    if (v.class == SOFT_FINITE) {
        fits = v.exp < 64;
        if (fits)
            n = soft_to_integer(v.exp, v.mant, v.sign, soft_rc(e), &inexact, &up);
        fits = fits && n < 1000000000000000000u;
    }
    if (!fits) {
        if (soft_raise(e, FSW_IE)) {
            store_le(out, 0xc000000000000000, 8);
            store_le(out + 8, 0xffff, 2);
        }
        return;
    }
    if (inexact)
        soft_raise(e, FSW_PE);
    if (up)
        e->sw |= FSW_C1;
    u64 rest = (u64)n;
    for (unsigned i = 0; i < 9; i++, rest /= 100)
        out[i] = (u8)(rest / 10 % 10 << 4 | rest % 10);
    out[9] = v.sign ? 0x80 : 0;
}

/* Overflow of a narrower format; what is stored when masked. */
static bool narrow_overflow(struct soft_env *e, const struct soft *v, u64 infinity, u64 *out)
{
    unsigned rc = soft_rc(e);
    bool inf = rc == 0 || rc == (v->sign ? 1u : 2u);
    bool masked = soft_raise(e, FSW_OE);
    if (!masked)
        return false;
    e->sw |= FSW_PE | (inf ? FSW_C1 : 0);
    *out = inf ? infinity : infinity - 1;
    return true;
}

/* Stores a float of `bits` significand bits. */
static void store_float(struct soft_env *e, const struct fpreg *src, unsigned bits, u8 *out)
{
    struct soft v = soft_unpack(src);
    unsigned bytes = bits == 24 ? 4 : 8, fraction = bits - 1, exp_bits = bytes * 8 - bits;
    s32 bias = (1 << (exp_bits - 1)) - 1;
    u64 infinity = ((u64)(2 * bias + 1)) << fraction, r = 0, mant;
    bool inexact, up;
    if (v.class == SOFT_UNSUPPORTED) {
        if (!soft_raise(e, FSW_IE))
            return;
        v.sign = true;
        r = infinity | BIT64(fraction - 1);
    } else if (v.class >= SOFT_QNAN) {
        if (v.class == SOFT_SNAN && !soft_raise(e, FSW_IE))
            return;
        r = infinity | BIT64(fraction - 1) | (v.mant << 1 >> (65 - bits));
    } else if (v.class == SOFT_INF) {
        r = infinity;
    } else if (v.class == SOFT_FINITE) {
        s32 exp = v.exp;
        u128 m = (u128)v.mant << 64;
        if (round_significand(soft_rc(e), v.sign, m, bits, &mant, &inexact, &up)) {
            mant = TOP_BIT;
            exp++;
        }
        if (exp > bias) {
            if (!narrow_overflow(e, &v, infinity, &r))
                return;
        } else {
            if (exp < 1 - bias) { /* tiny */
                if (!(e->cw & FSW_UE)) {
                    e->sw |= FSW_UE;
                    return;
                }
                m = soft_shift_sticky(m, (unsigned)(1 - bias - v.exp));
                round_significand(soft_rc(e), v.sign, m, bits, &mant, &inexact, &up);
                exp = -bias + (s32)(mant >> 63);
                if (inexact)
                    e->sw |= FSW_UE;
            }
            if (inexact)
                e->sw |= FSW_PE | (up ? FSW_C1 : 0);
            r = (u64)(exp + bias) << fraction | mant << 1 >> (65 - bits);
        }
    }
    store_le(out, r | (u64)v.sign << (bytes * 8 - 1), bytes);
}

static u16 soft_store(unsigned kind, u16 cw, u16 sticky, const struct fpreg *src, u8 out[10])
{
    struct soft_env e = {.cw = cw};
    switch (kind) {
    case X87_M32: store_float(&e, src, 24, out); break;
    case X87_M64: store_float(&e, src, 53, out); break;
    case X87_I16: store_int(&e, src, 2, false, out); break;
    case X87_I32: store_int(&e, src, 4, false, out); break;
    case X87_I64: store_int(&e, src, 8, false, out); break;
    case X87_T16: store_int(&e, src, 2, true, out); break;
    case X87_T32: store_int(&e, src, 4, true, out); break;
    case X87_T64: store_int(&e, src, 8, true, out); break;
    case X87_BCD: store_bcd(&e, src, out); break;
    default:
        store_le(out, src->mant, 8);
        store_le(out + 8, src->sexp, 2);
        break;
    }
    return e.sw;
}

/* ---- the rest ---- */

static u16 soft_comi(bool unordered, u16 cw, u16 sticky, const struct fpreg *a,
                     const struct fpreg *b, u32 *flags)
{
    struct soft_env e = {.cw = cw};
    u16 codes = compare(&e, unordered, a, b, false);
    *flags = (codes & FSW_C3 ? FL_ZF : 0) | (codes & FSW_C2 ? FL_PF : 0) |
             (codes & FSW_C0 ? FL_CF : 0);
    return e.sw;
}

static u16 soft_unary(unsigned op, u16 cw, u16 sticky, struct fpreg st[2])
{
    struct soft_env e = {.cw = cw};
    static const struct fpreg zero;
    switch (op) {
    case X87_TST: {
        u16 codes = compare(&e, false, &st[0], &zero, false);
        return e.sw | codes;
    }
    case X87_XAM:
    case X87_SQRT:
    case X87_RNDINT:
    case X87_SCALE:
    case X87_XTRACT:
    case X87_PREM:
    case X87_PREM1: soft_function(&e, op, st); break;
    default: soft_transcendental(&e, op, st); break;
    }
    return e.sw;
}

const struct x87_ops x87_soft_ops = {
    .arith = soft_arith,
    .arith_s = soft_arith_s,
    .arith_d = soft_arith_d,
    .arith_i = soft_arith_i,
    .load_s = soft_load_s,
    .load_d = soft_load_d,
    .load_i = soft_load_i,
    .load_const = soft_load_const,
    .load_bcd = soft_load_bcd,
    .store = soft_store,
    .comi = soft_comi,
    .unary = soft_unary,
};

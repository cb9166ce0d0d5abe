/* The software x87 against the host's: results, exception flags and condition codes must be the
 * same bits, for random biased operands under random control words; transcendental functions must
 * be within one unit in the last place of the exact value (__float128 where the compiler has it),
 * and as near to the host's as the host's own error allows.
 *
 * test_x87_soft [PAIRS [SEED]]: how many pairs of operands each operation gets.
 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#if CONFIG_QUADMATH
#include <quadmath.h>
#endif

#include "cpu/x87.h"
#include "tests/suite.h"

static u64 seed = 0x9e3779b97f4a7c15;
static unsigned pairs = 40000;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull;
}

/* ---- operands ---- */

static struct fpreg special(unsigned i)
{
    static const struct fpreg v[] = {
        {0, 0, {0}}, {1, 0, {0}}, {0x8000000000000000, 0, {0}}, {0x7fffffffffffffff, 0, {0}},
        {0xffffffffffffffff, 0, {0}}, {0x8000000000000000, 1, {0}},
        {0x8000000000000000, 0x3fff, {0}}, {0xffffffffffffffff, 0x3ffe, {0}},
        {0x8000000000000001, 0x3fff, {0}}, {0xffffffffffffffff, 0x7ffe, {0}},
        {0x8000000000000000, 0x7fff, {0}}, {0xc000000000000000, 0x7fff, {0}},
        {0xa000000000000000, 0x7fff, {0}}, {0xc000000000000001, 0x7fff, {0}},
        {0x8000000000000001, 0x7fff, {0}}, {0, 0x7fff, {0}}, {0x4000000000000000, 0x7fff, {0}},
        {0x4000000000000000, 0x4000, {0}}, {0xc90fdaa22168c235, 0x4000, {0}},
        {0x8000000000000000, 0x403e, {0}}, {0xffffffffffffffff, 0x403d, {0}},
        {0xde0b6b3a763fffff, 0x403a, {0}}, {0xde0b6b3a76400000, 0x403a, {0}},
        {0xffffff8000000000, 0x407e, {0}}, {0xffffffffffffffff, 0x407e, {0}},
        {0x8000000000000000, 0x3f80, {0}}, {0xfffffffffffffc00, 0x43fe, {0}},
        {0xb504f333f9de6484, 0x3ffe, {0}}, {0x8000000000000000, 0x3ffe, {0}},
        {0xc000000000000000, 0x3fff, {0}}, {0xa000000000000000, 0x4000, {0}},
    };
    return v[i % ARRAY_SIZE(v)];
}

static struct fpreg random_operand(void)
{
    u64 r = rnd();
    struct fpreg v;
    if (r % 8 == 0) {
        v = special((unsigned)(r >> 8));
    } else {
        static const u16 around[] = {0x3fff, 0, 0x7ffe, 0x3fff, 0x403e, 0x3f80, 0x3c00, 0x43fe};
        v = (struct fpreg){.mant = rnd() | BIT64(63)};
        v.sexp = (u16)(around[r >> 8 & 7] + (rnd() >> 32) % 161 - 80) & 0x7fff;
        if ((r >> 16 & 7) == 0)
            v.sexp = rnd() & 0x7fff;
        if ((r >> 20 & 3) == 0) /* few bits, so that results are exact or half way */
            v.mant &= ~(u64)0 << (rnd() & 63);
        if ((r >> 24 & 15) == 0)
            v.mant |= ~(~(u64)0 << (rnd() & 63));
        if (!(v.sexp & 0x7fff) && r >> 28 & 7)
            v.mant >>= rnd() & 63;
    }
    v.sexp |= (u16)(r >> 40 & 1) << 15;
    return v;
}

/* Precision and rounding as they come; most of the time everything masked. */
static u16 random_control(void)
{
    u64 r = rnd();
    u16 cw = 0x340 | (r >> 4 & 0xc00);
    if (r % 4 == 0)
        cw = (u16)((cw & ~0x300) | (r >> 30 & 0x200));
    return cw | (r % 3 ? FSW_EXC : r >> 40 & FSW_EXC);
}

/* ---- comparison ---- */

static unsigned failures;

static void show(const char *name, u16 cw, const struct fpreg *a, const struct fpreg *b,
                 const struct fpreg h[2], const struct fpreg s[2], u16 hw, u16 sw)
{
    if (failures++ > 40)
        return;
    fprintf(stderr, "%s cw %03x  %04x:%016llx  %04x:%016llx\n", name, cw, a->sexp,
            (unsigned long long)a->mant, b->sexp, (unsigned long long)b->mant);
    fprintf(stderr, "    host %04x:%016llx %04x:%016llx sw %04x\n", h[0].sexp,
            (unsigned long long)h[0].mant, h[1].sexp, (unsigned long long)h[1].mant, hw);
    fprintf(stderr, "    soft %04x:%016llx %04x:%016llx sw %04x\n", s[0].sexp,
            (unsigned long long)s[0].mant, s[1].sexp, (unsigned long long)s[1].mant, sw);
}

static bool same(const struct fpreg *a, const struct fpreg *b)
{
    return a->mant == b->mant && a->sexp == b->sexp;
}

static void expect(const char *name, u16 cw, const struct fpreg *a, const struct fpreg *b,
                   const struct fpreg h[2], const struct fpreg s[2], u16 hw, u16 sw, u16 codes)
{
    u16 care = FSW_EXC | codes;
    if (!same(&h[0], &s[0]) || !same(&h[1], &s[1]) || ((hw ^ sw) & care))
        show(name, cw, a, b, h, s, hw & care, sw & care);
}

static const char *const arith_names[] = {"add", "mul", "com", "comp", "sub",
                                          "subr", "div", "divr", "ucom"};

static void one_arith(unsigned op, u16 cw, const struct fpreg *a, const struct fpreg *b, u64 raw)
{
    bool compares = op == X87_COM || op == X87_COMP || op == X87_UCOM;
    u16 codes = compares ? FSW_CC : FSW_C1;
    char name[32];
    for (unsigned form = 0; form < (op == X87_UCOM ? 1u : 5u); form++) {
        struct fpreg h[2] = {*a, *b}, s[2] = {*a, *b};
        u16 hw, sw;
        switch (form) {
        case 0:
            hw = x87_host_ops.arith(op, cw, 0, &h[0], b);
            sw = x87_soft_ops.arith(op, cw, 0, &s[0], b);
            break;
        case 1:
            hw = x87_host_ops.arith_s(op, cw, 0, &h[0], (u32)raw);
            sw = x87_soft_ops.arith_s(op, cw, 0, &s[0], (u32)raw);
            break;
        case 2:
            hw = x87_host_ops.arith_d(op, cw, 0, &h[0], raw);
            sw = x87_soft_ops.arith_d(op, cw, 0, &s[0], raw);
            break;
        default:
            hw = x87_host_ops.arith_i(op, cw, 0, &h[0], form == 3 ? (s32)raw : (s16)raw, form > 3);
            sw = x87_soft_ops.arith_i(op, cw, 0, &s[0], form == 3 ? (s32)raw : (s16)raw, form > 3);
        }
        snprintf(name, sizeof name, "f%s%s", arith_names[op],
                 &" \0 m32\0 m64\0 i32\0 i16"[(form > 0) * (5 * form - 3)]);
        struct fpreg shown = form ? (struct fpreg){.mant = raw} : *b;
        expect(name, cw, a, &shown, h, s, hw, sw, codes);
    }
}

START_TEST(arithmetic)
{
    for (unsigned n = 0; n < pairs; n++) {
        struct fpreg a = random_operand(), b = rnd() % 16 ? random_operand() : a;
        u64 raw = rnd();
        if (raw % 4 == 0)
            raw = rnd() & 0x800fffff807fffff; /* denormals and zeros */
        else if (raw % 4 == 1)
            raw |= 0x7ff000007f800000 & rnd();
        u16 cw = random_control();
        for (unsigned op = X87_ADD; op <= X87_UCOM; op++)
            one_arith(op, cw, &a, &b, raw);
    }
    ck_assert_uint_eq(failures, 0);
}
END_TEST

START_TEST(functions)
{
    static const struct {
        u8 op;
        u16 codes;
        const char *name;
    } f[] = {
        {X87_TST, FSW_CC, "ftst"}, {X87_XAM, FSW_CC, "fxam"}, {X87_SQRT, FSW_C1, "fsqrt"},
        {X87_RNDINT, FSW_C1, "frndint"}, {X87_SCALE, FSW_C1, "fscale"},
        {X87_XTRACT, FSW_C1, "fxtract"}, {X87_PREM, FSW_C2, "fprem"},
        {X87_PREM1, FSW_C2, "fprem1"},
    };
    for (unsigned n = 0; n < pairs; n++) {
        struct fpreg a = random_operand(), b = random_operand();
        u16 cw = random_control();
        for (unsigned i = 0; i < ARRAY_SIZE(f); i++) {
            struct fpreg h[2] = {a, b}, s[2] = {a, b};
            u16 hw = x87_host_ops.unary(f[i].op, cw, 0, h);
            u16 sw = x87_soft_ops.unary(f[i].op, cw, 0, s), codes = f[i].codes;
            bool rem = f[i].op == X87_PREM || f[i].op == X87_PREM1;
            /* A complete remainder has quotient bits. */
            if (rem && !(hw & (FSW_C2 | FSW_IE)) && (h[0].sexp & 0x7fff) != 0x7fff &&
                !(hw & FSW_DE & ~cw))
                codes = FSW_CC;
            expect(f[i].name, cw, &a, &b, h, s, hw, sw, codes);
        }
    }
    ck_assert_uint_eq(failures, 0);
}
END_TEST

START_TEST(loads_and_stores)
{
    static const char *const names[] = {"fst m32", "fst m64", "fst m80", "fist m16", "fist m32",
                                        "fist m64", "fisttp m16", "fisttp m32", "fisttp m64",
                                        "fbstp"};
    for (unsigned n = 0; n < pairs; n++) {
        struct fpreg a = random_operand(), b = random_operand();
        u64 raw = rnd();
        if (raw % 4 == 0)
            raw = rnd() & 0x800fffff807fffff;
        u16 cw = random_control();
        for (unsigned kind = X87_M32; kind <= X87_BCD; kind++) {
            struct fpreg h[2] = {{.mant = 0x55}, {.sexp = 1}}, s[2] = {h[0], h[1]};
            u8 hb[16] = {0}, sb[16] = {0};
            u16 hw = x87_host_ops.store(kind, cw, 0, &a, hb);
            u16 sw = x87_soft_ops.store(kind, cw, 0, &a, sb);
            h[0].mant = load_le(hb, 8), h[0].sexp = (u16)load_le(hb + 8, 2);
            s[0].mant = load_le(sb, 8), s[0].sexp = (u16)load_le(sb + 8, 2);
            expect(names[kind], cw, &a, &a, h, s, hw, sw, kind == X87_M80 ? 0 : FSW_C1);
        }
        struct fpreg h[2] = {b, b}, s[2] = {b, b}, shown = {.mant = raw};
        u16 hw = x87_host_ops.load_s(cw, 0, &h[0], (u32)raw);
        u16 sw = x87_soft_ops.load_s(cw, 0, &s[0], (u32)raw);
        expect("fld m32", cw, &shown, &b, h, s, hw, sw, 0);
        h[0] = s[0] = b;
        hw = x87_host_ops.load_d(cw, 0, &h[0], raw);
        sw = x87_soft_ops.load_d(cw, 0, &s[0], raw);
        expect("fld m64", cw, &shown, &b, h, s, hw, sw, 0);
        x87_host_ops.load_i(&h[0], (s64)raw >> (rnd() & 63));
        x87_host_ops.load_i(&h[0], (s64)raw);
        x87_soft_ops.load_i(&s[0], (s64)raw);
        expect("fild m64", cw, &shown, &b, h, s, 0, 0, 0);
        u8 bcd[10];
        for (unsigned i = 0; i < 10; i++)
            bcd[i] = (u8)(rnd() % 10 << 4 | rnd() % 10);
        bcd[9] = rnd() & 0x80;
        x87_host_ops.load_bcd(&h[0], bcd);
        x87_soft_ops.load_bcd(&s[0], bcd);
        expect("fbld", cw, &shown, &b, h, s, 0, 0, 0);
        for (unsigned unordered = 0; unordered < 2; unordered++) {
            u32 hf, sf;
            hw = x87_host_ops.comi(unordered, cw, 0, &a, &b, &hf);
            sw = x87_soft_ops.comi(unordered, cw, 0, &a, &b, &sf);
            h[0] = (struct fpreg){.mant = hf}, s[0] = (struct fpreg){.mant = sf};
            expect("fcomi", cw, &a, &b, h, s, hw, sw, 0);
        }
    }
    for (unsigned i = 0; i < 7 * 4; i++) {
        struct fpreg h[2] = {{0}}, s[2] = {{0}};
        x87_host_ops.load_const((u16)(0x37f | (i & 3) << 10), i >> 2, &h[0]);
        x87_soft_ops.load_const((u16)(0x37f | (i & 3) << 10), i >> 2, &s[0]);
        expect("constant", (u16)(i & 3), &h[0], &s[0], h, s, 0, 0, 0);
    }
    ck_assert_uint_eq(failures, 0);
}
END_TEST

/* ---- transcendental functions ---- */

static const struct {
    u8 op;
    const char *name;
} transcendental[] = {{X87_2XM1, "f2xm1"}, {X87_YL2X, "fyl2x"}, {X87_YL2XP1, "fyl2xp1"},
                      {X87_PTAN, "fptan"}, {X87_PATAN, "fpatan"}, {X87_SIN, "fsin"},
                      {X87_COS, "fcos"}, {X87_SINCOS, "fsincos"}};

/* Whether the manual defines the result for this finite operand. */
static bool defined(unsigned op, const struct fpreg *a)
{
    unsigned e = a->sexp & 0x7fff;
    switch (op) {
    case X87_2XM1: return e < 0x3fff || (e == 0x3fff && a->mant == BIT64(63)) || e == 0x7fff;
    case X87_YL2XP1: /* -(1 - sqrt(1/2)) to sqrt(2) - 1 */
        return e < 0x3ffd || (e == 0x3ffd && a->mant < (a->sexp >> 15 ? 0x95f619980c4336f7
                                                                      : 0xd413cccfe7799211));
    default: return true;
    }
}

/* Distance in units of the last place; -1: not numbers of one magnitude. */
static s64 distance(const struct fpreg *a, const struct fpreg *b)
{
    if (same(a, b))
        return 0;
    if ((a->sexp ^ b->sexp) >> 15 || (a->sexp & 0x7fff) == 0x7fff || (b->sexp & 0x7fff) == 0x7fff)
        return -1;
    s32 ea = a->sexp & 0x7fff, eb = b->sexp & 0x7fff;
    s32 exp = (ea ? ea : 1) - (eb ? eb : 1);
    if (exp > 1 || exp < -1)
        return -1;
    u64 d = exp == 0   ? a->mant - b->mant
            : exp == 1 ? 2 * (a->mant - BIT64(63)) - b->mant
                       : a->mant - 2 * (b->mant - BIT64(63));
    return (s64)d < 0 ? -(s64)d : (s64)d;
}

/* Special operands, and everything about flags, must be the host's exactly. */
START_TEST(transcendental_specials)
{
    for (unsigned n = 0; n < pairs; n++) {
        struct fpreg a = random_operand(), b = random_operand();
        u16 cw = random_control();
        for (unsigned i = 0; i < ARRAY_SIZE(transcendental); i++) {
            unsigned op = transcendental[i].op;
            struct fpreg h[2] = {a, b}, s[2] = {a, b};
            if (!defined(op, &a))
                continue;
            u16 hw = x87_host_ops.unary(op, cw, 0, h), sw = x87_soft_ops.unary(op, cw, 0, s);
            s64 d0 = distance(&h[0], &s[0]), d1 = distance(&h[1], &s[1]);
            u16 care = FSW_IE | FSW_DE | FSW_ZE | (op >= X87_SINCOS || op == X87_PTAN ? FSW_C2 : 0);
            bool trig = op == X87_PTAN || op == X87_SIN || op == X87_COS || op == X87_SINCOS;
            bool far = trig && (a.sexp & 0x7fff) >= 0x3fff; /* the host's pi is short */
            if (((hw ^ sw) & care) || (!far && (d0 < 0 || d1 < 0 || d0 > 4 || d1 > 4)))
                show(transcendental[i].name, cw, &a, &b, h, s, hw, sw);
        }
    }
    ck_assert_uint_eq(failures, 0);
}
END_TEST

#if CONFIG_QUADMATH
static __float128 quad(const struct fpreg *r)
{
    unsigned e = r->sexp & 0x7fff;
    __float128 v = scalbnq((__float128)r->mant, (int)(e ? e : 1) - 16383 - 63);
    return r->sexp >> 15 ? -v : v;
}

/* The values themselves: v[0] and, for what pushes, v[1], as x87_ops.unary orders them. */
static unsigned exact(unsigned op, const struct fpreg st[2], __float128 v[2])
{
    __float128 x = quad(&st[0]), y = quad(&st[1]);
    switch (op) {
    case X87_2XM1: v[0] = expm1q(x * M_LN2q); return 1;
    case X87_YL2X: v[0] = y * log2q(x); return 1;
    case X87_YL2XP1: v[0] = y * log1pq(x) * M_LOG2Eq; return 1;
    case X87_PATAN: v[0] = atan2q(y, x); return 1;
    case X87_SIN: v[0] = sinq(x); return 1;
    case X87_COS: v[0] = cosq(x); return 1;
    case X87_SINCOS:
        v[0] = cosq(x);
        v[1] = sinq(x);
        return 2;
    default:
        v[0] = 1;
        v[1] = tanq(x);
        return 2;
    }
}

/* Operands of everyday size, and angles up to 2^63. */
static struct fpreg everyday(unsigned op)
{
    struct fpreg v = {.mant = rnd() | BIT64(63), .sexp = (u16)(0x3fff - rnd() % 70)};
    if (op != X87_2XM1 && op != X87_YL2XP1)
        v.sexp = (u16)(0x3fff + rnd() % 126 - 63);
    if (rnd() & 1 && op != X87_YL2X)
        v.sexp |= 0x8000;
    if (rnd() % 16 == 0 && op == X87_YL2X) { /* logarithms near 0 */
        v.sexp = 0x3fff;
        v.mant = BIT64(63) | rnd() >> (rnd() & 63);
    }
    return v;
}

/* Within one unit: nearest results are at most half a unit off, to which the oracle adds its own
 * error. */
START_TEST(transcendental_accuracy)
{
    double worst[ARRAY_SIZE(transcendental)] = {0};
    for (unsigned n = 0; n < pairs / 8; n++) {
        for (unsigned i = 0; i < ARRAY_SIZE(transcendental); i++) {
            unsigned op = transcendental[i].op;
            struct fpreg in[2] = {everyday(op), everyday(X87_PATAN)}, st[2] = {in[0], in[1]};
            __float128 v[2];
            if (!defined(op, &in[0]))
                continue;
            x87_soft_ops.unary(op, 0x37f, 0, st);
            unsigned results = exact(op, in, v);
            for (unsigned k = 0; k < results; k++) {
                int e = (st[k].sexp & 0x7fff) - 16383 - 63;
                double off = (double)scalbnq(fabsq(quad(&st[k]) - v[k]), -e);
                if (off > worst[i])
                    worst[i] = off;
                if (off > 0.501)
                    show(transcendental[i].name, 0x37f, &in[0], &in[1], st, st, 0, 0);
            }
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(transcendental); i++)
        printf("%-8s at most %.4f units off\n", transcendental[i].name, worst[i]);
    ck_assert_uint_eq(failures, 0);
}
END_TEST
#endif

int main(int argc, char **argv)
{
    if (argc > 1)
        pairs = (unsigned)strtoul(argv[1], NULL, 0);
    if (argc > 2)
        seed = strtoull(argv[2], NULL, 0) | 1;
    Suite *s = suite_create("x87_soft");
    TCase *t = tcase_create("x87_soft");
    tcase_set_timeout(t, 1200);
    tcase_add_test(t, arithmetic);
    tcase_add_test(t, functions);
    tcase_add_test(t, loads_and_stores);
    tcase_add_test(t, transcendental_specials);
#if CONFIG_QUADMATH
    tcase_add_test(t, transcendental_accuracy);
#endif
    suite_add_tcase(s, t);
    return run_suite(s);
}

/* The evaluator of pure IR ops: against a slow reference that works bit by bit or in 128 bits, at
 * all widths, and on x86-64 hosts against the processor's own instructions and flags. */
#include <check.h>

#include "tests/suite.h"
#include "translator/ir_eval.h"

static u64 seed = 0x123456789abcdefull;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Values near borders come up often. */
static u64 operand(unsigned w)
{
    static const u64 edges[] = {0, 1, 2, 0x0f, 0x10, 0x7f, 0x80, 0xff, 0x7fff, 0x8000,
                                0x7fffffff, 0x80000000, ~0ull, 1ull << 63, ~(1ull << 63)};
    u64 v = rnd() & 3 ? rnd() : edges[rnd() % ARRAY_SIZE(edges)];
    return v & size_mask(W_BYTES(w));
}

static u64 eval(unsigned op, unsigned w, unsigned aux, u64 imm, u64 a, u64 b, u64 c, u64 d)
{
    struct ir_insn in = {.op = (u16)op, .w = (u8)w, .aux = (u8)aux, .imm = imm};
    u64 arg[4] = {a, b, c, d};
    return ir_eval(&in, arg);
}

/* ---- the reference: flags from first principles ---- */

static u64 bit_of(u64 v, unsigned n)
{
    return v >> n & 1;
}

static u64 ref_szp(unsigned bits, u64 r)
{
    u64 ones = 0;
    for (unsigned i = 0; i < 8; i++)
        ones += bit_of(r, i);
    return (bit_of(r, bits - 1) ? FL_SF : 0) | (r == 0 ? FL_ZF : 0) | (ones % 2 ? 0 : FL_PF);
}

/* Flags of the exact sums of the operands: as unsigned, as signed, and of their low nibbles. */
static u64 ref_arith(unsigned bits, u128 exact, s128 exact_signed, int nibble)
{
    u64 r = (u64)exact & size_mask(bits / 8);
    u64 f = ref_szp(bits, r);
    if (exact >> bits)
        f |= FL_CF;
    if (exact_signed != (s128)sign_extend(r, bits))
        f |= FL_OF;
    if (nibble < 0 || nibble > 15)
        f |= FL_AF;
    return f;
}

static u64 ref_add(unsigned bits, u64 a, u64 b, u64 c)
{
    return ref_arith(bits, (u128)a + b + c,
                     (s128)sign_extend(a, bits) + sign_extend(b, bits) + (s128)c,
                     (int)((a & 15) + (b & 15) + c));
}

static u64 ref_sub(unsigned bits, u64 a, u64 b, u64 c)
{
    return ref_arith(bits, (u128)a - b - c,
                     (s128)sign_extend(a, bits) - sign_extend(b, bits) - (s128)c,
                     (int)(a & 15) - (int)(b & 15) - (int)c);
}

START_TEST(test_arithmetic)
{
    unsigned w = (unsigned)_i, bits = W_BITS(w);
    u64 m = size_mask(W_BYTES(w));
    for (int n = 0; n < 20000; n++) {
        u64 a = operand(w), b = operand(w), c = rnd() & 1;
        ck_assert_uint_eq(eval(IR_add, w, 0, 0, a, b, 0, 0), (u64)((u128)a + b) & m);
        ck_assert_uint_eq(eval(IR_sbb, w, 0, 0, a, b, c, 0), (u64)((u128)a - b - c) & m);
        ck_assert_uint_eq(eval(IR_fadd, w, 0, 0, a, b, 0, 0), ref_add(bits, a, b, 0));
        ck_assert_uint_eq(eval(IR_fadc, w, 0, 0, a, b, c, 0), ref_add(bits, a, b, c));
        ck_assert_uint_eq(eval(IR_fsub, w, 0, 0, a, b, 0, 0), ref_sub(bits, a, b, 0));
        ck_assert_uint_eq(eval(IR_fsbb, w, 0, 0, a, b, c, 0), ref_sub(bits, a, b, c));
        u64 f = rnd() & FL_ARITH;
        ck_assert_uint_eq(eval(IR_finc, w, 0, 0, a, f, 0, 0),
                          (ref_add(bits, a, 1, 0) & ~(u64)FL_CF) | (f & FL_CF));
        ck_assert_uint_eq(eval(IR_fdec, w, 0, 0, a, f, 0, 0),
                          (ref_sub(bits, a, 1, 0) & ~(u64)FL_CF) | (f & FL_CF));
        ck_assert_uint_eq(eval(IR_flogic, w, 0, 0, a, 0, 0, 0), ref_szp(bits, a));
    }
}
END_TEST

/* ---- shifts, one bit at a time ---- */

struct shifter {
    u64 v, cf;
    unsigned bits;
};

static void step(struct shifter *s, unsigned op, u64 in)
{
    u64 top = bit_of(s->v, s->bits - 1), low = s->v & 1, m = size_mask(s->bits / 8);
    switch (op) {
    case IR_shl:
        s->cf = top;
        s->v = s->v << 1 & m;
        break;
    case IR_shld:
        s->cf = top;
        s->v = (s->v << 1 | in) & m;
        break;
    case IR_shr:
        s->cf = low;
        s->v >>= 1;
        break;
    case IR_sar:
        s->cf = low;
        s->v = s->v >> 1 | top << (s->bits - 1);
        break;
    case IR_shrd:
        s->cf = low;
        s->v = s->v >> 1 | in << (s->bits - 1);
        break;
    case IR_rol:
        s->cf = top;
        s->v = (s->v << 1 | top) & m;
        break;
    case IR_ror:
        s->cf = low;
        s->v = s->v >> 1 | low << (s->bits - 1);
        break;
    case IR_rcl:
        s->v = (s->v << 1 | s->cf) & m;
        s->cf = top;
        break;
    default:
        s->v = s->v >> 1 | s->cf << (s->bits - 1);
        s->cf = low;
        break;
    }
}

/* Flags that the SDM defines: for counts within the width; OF only for a count of 1. */
static u64 defined(unsigned op, unsigned bits, unsigned n)
{
    u64 d = FL_ARITH & ~(u64)FL_AF;
    bool rotate = op == IR_rol || op == IR_ror || op == IR_rcl || op == IR_rcr;
    if (n == 0 || rotate)
        return n > 1 ? FL_ARITH & ~(u64)FL_OF : FL_ARITH;
    if (n != 1)
        d &= ~(u64)FL_OF;
    if (n > bits || (n == bits && op != IR_shl && op != IR_shr && op != IR_sar))
        d &= ~(u64)FL_CF;
    return d;
}

static void check_shift(unsigned op, unsigned fop, unsigned w)
{
    unsigned bits = W_BITS(w), n = (unsigned)rnd() & (w == W64 ? 63 : 31);
    bool twin = op == IR_shld || op == IR_shrd;
    bool rotate = op == IR_rol || op == IR_ror || op == IR_rcl || op == IR_rcr;
    u64 a = operand(w), b = operand(w), f = rnd() & FL_ARITH, old = a;
    if (twin && n > bits)
        return; /* undefined altogether */
    struct shifter s = {a, f & FL_CF, bits};
    for (unsigned i = 0; i < n; i++)
        step(&s, op, op == IR_shld ? bit_of(b, bits - 1 - i % bits) : bit_of(b, i % bits));
    u64 r = twin ? eval(op, w, 0, 0, a, b, n, 0) : eval(op, w, 0, 0, a, n, f & FL_CF, 0);
    ck_assert_uint_eq(r, s.v);
    u64 want = f;
    if (n) {
        u64 of = (bit_of(s.v, bits - 1) ^ bit_of(old, bits - 1)) ? FL_OF : 0;
        want = rotate ? (f & ~(u64)(FL_CF | FL_OF)) : ref_szp(bits, s.v);
        want |= s.cf | of;
    }
    u64 got = twin ? eval(fop, w, 0, 0, a, b, n, f) : eval(fop, w, 0, 0, a, n, f, 0);
    ck_assert_msg(((got ^ want) & defined(op, bits, n)) == 0, "op %s w %u a %llx n %u: %llx %llx",
                  ir_ops[op].name, w, (unsigned long long)a, n, (unsigned long long)got,
                  (unsigned long long)want);
}

START_TEST(test_shifts)
{
    static const u16 ops[][2] = {{IR_shl, IR_fshl}, {IR_shr, IR_fshr}, {IR_sar, IR_fsar},
                                 {IR_rol, IR_frol}, {IR_ror, IR_fror}, {IR_rcl, IR_frcl},
                                 {IR_rcr, IR_frcr}, {IR_shld, IR_fshld}, {IR_shrd, IR_fshrd}};
    for (int n = 0; n < 5000; n++)
        for (unsigned k = 0; k < ARRAY_SIZE(ops); k++)
            if (k < 7 || _i >= W16)
                check_shift(ops[k][0], ops[k][1], (unsigned)_i);
}
END_TEST

/* ---- products and quotients, by schoolbook on bits ---- */

START_TEST(test_multiply)
{
    unsigned w = (unsigned)_i, bits = W_BITS(w);
    u64 m = size_mask(W_BYTES(w));
    for (int n = 0; n < 5000; n++) {
        u64 a = operand(w), b = operand(w);
        u128 p = 0, sp = 0;
        u128 sa = (u128)(s128)sign_extend(a, bits), sb = (u128)(s128)sign_extend(b, bits);
        for (unsigned i = 0; i < 128; i++) {
            if (i < 64 && bit_of(b, i))
                p += (u128)a << i;
            if (sb >> i & 1)
                sp += sa << i;
        }
        u64 lo = (u64)p & m, hi = (u64)(p >> bits) & m, shi = (u64)(sp >> bits) & m;
        ck_assert_uint_eq(eval(IR_mul, w, 0, 0, a, b, 0, 0), lo);
        ck_assert_uint_eq(eval(IR_mulhu, w, 0, 0, a, b, 0, 0), hi);
        ck_assert_uint_eq(eval(IR_mulhs, w, 0, 0, a, b, 0, 0), shi);
        u64 over = FL_CF | FL_OF;
        ck_assert_uint_eq(eval(IR_fmulu, w, 0, 0, lo, hi, 0, 0) & over, hi ? over : 0);
        bool fits = (s128)sp == (s128)sign_extend(lo, bits);
        ck_assert_uint_eq(eval(IR_fmuls, w, 0, 0, lo, shi, 0, 0) & over, fits ? 0 : over);
    }
}
END_TEST

/* Long division, with one bit more than the dividend has. */
static bool ref_divu(unsigned bits, u64 lo, u64 hi, u64 d, u128 *q, u64 *r)
{
    u128 rem = 0, quot = 0;
    if (!d)
        return false;
    for (unsigned i = 2 * bits; i-- > 0;) {
        u64 in = i >= bits ? bit_of(hi, i - bits) : bit_of(lo, i);
        rem = rem << 1 | in;
        quot <<= 1;
        if (rem >= d) {
            rem -= d;
            quot |= 1;
        }
    }
    *q = quot;
    *r = (u64)rem;
    return true;
}

static void check_signed_division(unsigned w, u64 lo, u64 hi, u64 d)
{
    unsigned bits = W_BITS(w);
    u64 m = size_mask(W_BYTES(w)), r = 0;
    bool nneg = bit_of(hi, bits - 1), dneg = bit_of(d, bits - 1);
    u64 alo = lo, ahi = hi;
    if (nneg) {
        alo = -lo & m;
        ahi = (~hi + (alo == 0)) & m;
    }
    u128 q = 0;
    bool ok = ref_divu(bits, alo, ahi, dneg ? -d & m : d, &q, &r);
    u128 limit = ((u128)1 << (bits - 1)) - (nneg == dneg);
    ok = ok && q <= limit;
    ck_assert_int_eq(ir_eval_div_faults(IR_divs, w, lo, hi, d), !ok);
    if (!ok)
        return;
    ck_assert_uint_eq(eval(IR_divs, w, 0, 0, lo, hi, d, 0), (u64)(nneg != dneg ? -q : q) & m);
    ck_assert_uint_eq(eval(IR_rems, w, 0, 0, lo, hi, d, 0), (nneg ? -r : r) & m);
}

START_TEST(test_divide)
{
    unsigned w = (unsigned)_i, bits = W_BITS(w);
    u64 m = size_mask(W_BYTES(w));
    for (int n = 0; n < 5000; n++) {
        u64 lo = operand(w), d = operand(w), r = 0;
        u64 hi = rnd() & 1 ? operand(w) : rnd() & 1 ? 0 : bit_of(lo, bits - 1) ? m : 0;
        u128 q = 0;
        bool ok = ref_divu(bits, lo, hi, d, &q, &r) && q <= m;
        ck_assert_int_eq(ir_eval_div_faults(IR_divu, w, lo, hi, d), !ok);
        if (ok) {
            ck_assert_uint_eq(eval(IR_divu, w, 0, 0, lo, hi, d, 0), (u64)q);
            ck_assert_uint_eq(eval(IR_remu, w, 0, 0, lo, hi, d, 0), r);
        }
        check_signed_division(w, lo, hi, d);
    }
    /* The most negative dividend by -1. */
    check_signed_division(w, 0, 1ull << (bits - 1), m);
    check_signed_division(w, 1ull << (bits - 1), m, m);
}
END_TEST

/* ---- bits, widths, conditions ---- */

START_TEST(test_bits)
{
    unsigned w = (unsigned)_i, bits = W_BITS(w);
    for (int n = 0; n < 5000; n++) {
        u64 a = operand(w), swapped = 0;
        unsigned lead = 0, trail = 0, ones = 0;
        while (lead < bits && !bit_of(a, bits - 1 - lead))
            lead++;
        while (trail < bits && !bit_of(a, trail))
            trail++;
        for (unsigned i = 0; i < bits; i++)
            ones += (unsigned)bit_of(a, i);
        for (unsigned i = 0; i < W_BYTES(w); i++)
            swapped = swapped << 8 | (a >> (8 * i) & 0xff);
        ck_assert_uint_eq(eval(IR_clz, w, 0, 0, a, 0, 0, 0), lead);
        ck_assert_uint_eq(eval(IR_ctz, w, 0, 0, a, 0, 0, 0), trail);
        ck_assert_uint_eq(eval(IR_popcnt, w, 0, 0, a, 0, 0, 0), ones);
        u64 mask = operand(w), packed = 0, spread = 0;
        for (unsigned i = 0, k = 0; i < bits; i++) {
            if (!bit_of(mask, i))
                continue;
            packed |= (u64)bit_of(a, i) << k;
            spread |= (u64)bit_of(a, k++) << i;
        }
        ck_assert_uint_eq(eval(IR_pext, w, 0, 0, a, mask, 0, 0), packed);
        ck_assert_uint_eq(eval(IR_pdep, w, 0, 0, a, mask, 0, 0), spread);
        ck_assert_uint_eq(eval(IR_bswap, w, 0, 0, a, 0, 0, 0), swapped);
        for (unsigned from = W8; from <= w; from++) {
            u64 v = operand(from);
            ck_assert_uint_eq(eval(IR_zext, w, from, 0, v, 0, 0, 0), v);
            ck_assert_uint_eq(eval(IR_sext, w, from, 0, v, 0, 0, 0),
                              (u64)sign_extend(v, W_BITS(from)) & size_mask(W_BYTES(w)));
            ck_assert_uint_eq(eval(IR_trunc, from, w, 0, a, 0, 0, 0), a & size_mask(W_BYTES(from)));
            ck_assert_uint_eq(eval(IR_deposit, w, from, 0, a, v, 0, 0),
                              (a & ~size_mask(W_BYTES(from))) | v);
        }
        if (w > W8) {
            ck_assert_uint_eq(eval(IR_trunc, W8, w, 8, a, 0, 0, 0), a >> 8 & 0xff);
            ck_assert_uint_eq(eval(IR_deposit, w, W8, 8, a, 0x5a, 0, 0), (a & ~0xff00ull) | 0x5a00);
        }
    }
}
END_TEST

START_TEST(test_conditions)
{
    unsigned w = (unsigned)_i, bits = W_BITS(w);
    for (int n = 0; n < 20000; n++) {
        u64 a = operand(w), b = rnd() & 7 ? operand(w) : a, f = eval(IR_fsub, w, 0, 0, a, b, 0, 0);
        s64 sa = sign_extend(a, bits), sb = sign_extend(b, bits);
        const bool want[16] = {f & FL_OF, !(f & FL_OF), a < b, a >= b, a == b, a != b, a <= b,
                               a > b, f & FL_SF, !(f & FL_SF), f & FL_PF, !(f & FL_PF),
                               sa < sb, sa >= sb, sa <= sb, sa > sb};
        for (unsigned cc = 0; cc < 16; cc++)
            ck_assert_uint_eq(eval(IR_setcc, W8, cc, 0, f, 0, 0, 0), want[cc]);
        const bool rel[6] = {a == b, a != b, a < b, a <= b, sa < sb, sa <= sb};
        for (unsigned r = 0; r < 6; r++)
            ck_assert_uint_eq(eval(IR_icmp, w, r, 0, a, b, 0, 0), rel[r]);
    }
    ck_assert_uint_eq(eval(IR_select, w, 0, 0, 1, 5, 6, 0), 5);
    ck_assert_uint_eq(eval(IR_select, w, 0, 0, 0, 5, 6, 0), 6);
    ck_assert_uint_eq(eval(IR_fbit, W8, 0, FL_CF | FL_ZF, FL_SF | FL_CF, 0, 0, 0), FL_SF);
    ck_assert_uint_eq(eval(IR_fbit, W8, 0, FL_CF | FL_ZF, FL_SF, 1, 0, 0), FL_SF | FL_CF | FL_ZF);
    ck_assert_uint_eq(eval(IR_fbits, W32, 0, 0, ~0ull, 0, 0, 0), FL_ARITH);
}
END_TEST

/* Check value of CRC-32C over "123456789" (RFC 3720 B.4 has the polynomial). */
START_TEST(test_crc32c)
{
    u64 crc = 0xffffffff;
    for (const char *p = "123456789"; *p; p++)
        crc = eval(IR_crc32c, W32, W8, 0, crc, (u8)*p, 0, 0);
    ck_assert_uint_eq(crc ^ 0xffffffff, 0xe3069283);
    u64 a = eval(IR_crc32c, W32, W64, 0, 7, 0x1122334455667788, 0, 0), b = 7;
    for (unsigned i = 0; i < 4; i++)
        b = eval(IR_crc32c, W32, W16, 0, b, 0x1122334455667788 >> (16 * i) & 0xffff, 0, 0);
    ck_assert_uint_eq(a, b);
}
END_TEST

/* ---- the processor itself ---- */

#ifdef __x86_64__

/* Executes INSN on a (and b, or a count in CL) with flags *f. */
#define NATIVE(name, insn, T, other)                                                            \
    static u64 name(u64 a64, u64 b64, u64 *f)                                                   \
    {                                                                                           \
        T a = (T)a64, b = (T)b64;                                                               \
        u64 fl = *f | FL_FIXED;                                                                 \
        __asm__ volatile("lea -128(%%rsp), %%rsp\n push %1\n popfq\n" insn                      \
                         "\n pushfq\n pop %1\n lea 128(%%rsp), %%rsp"                           \
                         : "+r"(a), "+r"(fl)                                                    \
                         : other(b)                                                             \
                         : "cc", "memory");                                                     \
        *f = fl & FL_ARITH;                                                                     \
        return a;                                                                               \
    }
#define NATIVE4(name, text, other)                                                              \
    NATIVE(name##8, text "b " other##_8, u8, other##_in)                                        \
    NATIVE(name##16, text "w " other##_16, u16, other##_in)                                     \
    NATIVE(name##32, text "l " other##_32, u32, other##_in)                                     \
    NATIVE(name##64, text "q " other##_64, u64, other##_in)                                     \
    static u64 (*const name[4])(u64, u64, u64 *) = {name##8, name##16, name##32, name##64};
#define reg_in "r"
#define reg_8 "%b2, %b0"
#define reg_16 "%w2, %w0"
#define reg_32 "%k2, %k0"
#define reg_64 "%q2, %q0"
#define cl_in "c"
#define cl_8 "%%cl, %b0"
#define cl_16 "%%cl, %w0"
#define cl_32 "%%cl, %k0"
#define cl_64 "%%cl, %q0"
#define one_in "r"
#define one_8 "%b0"
#define one_16 "%w0"
#define one_32 "%k0"
#define one_64 "%q0"
NATIVE4(native_add, "add", reg)
NATIVE4(native_sub, "sub", reg)
NATIVE4(native_adc, "adc", reg)
NATIVE4(native_sbb, "sbb", reg)
NATIVE4(native_and, "and", reg)
NATIVE4(native_inc, "inc", one)
NATIVE4(native_dec, "dec", one)
NATIVE4(native_shl, "shl", cl)
NATIVE4(native_shr, "shr", cl)
NATIVE4(native_sar, "sar", cl)
NATIVE4(native_rol, "rol", cl)
NATIVE4(native_ror, "ror", cl)
NATIVE4(native_rcl, "rcl", cl)
NATIVE4(native_rcr, "rcr", cl)

typedef u64 (*const native_fn)(u64, u64, u64 *);

static void check_native(unsigned w, native_fn *fns, u64 a, u64 b, u64 in, u64 r, u64 f, u64 mask,
                         const char *name)
{
    u64 nf = in, nr = fns[w](a, b, &nf);
    ck_assert_msg(nr == r && !((nf ^ f) & mask), "%s.%u %llx %llx: %llx %llx, host %llx %llx", name,
                  W_BITS(w), (unsigned long long)a, (unsigned long long)b, (unsigned long long)r,
                  (unsigned long long)f, (unsigned long long)nr, (unsigned long long)nf);
}

static void native_round(unsigned w)
{
    u64 a = operand(w), b = operand(w), f = rnd() & FL_ARITH, c = f & FL_CF;
    unsigned n = (unsigned)rnd() & (w == W64 ? 63 : 31), bits = W_BITS(w);
#define PAIR(op, x, y, z) eval(IR_##op, w, 0, 0, x, y, z, 0), eval(IR_f##op, w, 0, 0, x, y, z, 0)
    check_native(w, native_add, a, b, f, PAIR(add, a, b, 0), FL_ARITH, "add");
    check_native(w, native_sub, a, b, f, PAIR(sub, a, b, 0), FL_ARITH, "sub");
    check_native(w, native_adc, a, b, f, PAIR(adc, a, b, c), FL_ARITH, "adc");
    check_native(w, native_sbb, a, b, f, PAIR(sbb, a, b, c), FL_ARITH, "sbb");
    check_native(w, native_and, a, b, f, a & b, eval(IR_flogic, w, 0, 0, a & b, 0, 0, 0),
                 FL_ARITH & ~FL_AF, "and");
    check_native(w, native_inc, a, b, f, (a + 1) & size_mask(W_BYTES(w)),
                 eval(IR_finc, w, 0, 0, a, f, 0, 0), FL_ARITH, "inc");
    check_native(w, native_dec, a, b, f, (a - 1) & size_mask(W_BYTES(w)),
                 eval(IR_fdec, w, 0, 0, a, f, 0, 0), FL_ARITH, "dec");
#define SHIFT(op, carry)                                                                        \
    check_native(w, native_##op, a, n, f, eval(IR_##op, w, 0, 0, a, n, carry, 0),               \
                 eval(IR_f##op, w, 0, 0, a, n, f, 0), defined(IR_##op, bits, n), #op)
    SHIFT(shl, 0);
    SHIFT(shr, 0);
    SHIFT(sar, 0);
    SHIFT(rol, 0);
    SHIFT(ror, 0);
    SHIFT(rcl, c);
    SHIFT(rcr, c);
}

START_TEST(test_silicon)
{
    for (int n = 0; n < 20000; n++)
        native_round((unsigned)_i);
}
END_TEST

#endif

int main(void)
{
    Suite *s = suite_create("ir_eval");
    TCase *c = tcase_create("ops");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, test_arithmetic, W8, W64 + 1);
    tcase_add_loop_test(c, test_shifts, W8, W64 + 1);
    tcase_add_loop_test(c, test_multiply, W8, W64 + 1);
    tcase_add_loop_test(c, test_divide, W8, W64 + 1);
    tcase_add_loop_test(c, test_bits, W8, W64 + 1);
    tcase_add_loop_test(c, test_conditions, W8, W64 + 1);
    tcase_add_test(c, test_crc32c);
#ifdef __x86_64__
    tcase_add_loop_test(c, test_silicon, W8, W64 + 1);
#endif
    suite_add_tcase(s, c);
    return run_suite(s);
}

/* Portable meaning of the floating-point rows of ir_vec.def, by C arithmetic and fenv.h.
 *
 * Touches the floating-point environment of the calling thread, and leaves it as it was.  Exact
 * where the host's arithmetic is IEEE 754 with detection of tininess after rounding; hosts that
 * detect it before rounding (AArch64) may flag an underflow that x86 does not at the boundary of
 * the normal range.  RCPPS and RSQRTPS give the correctly rounded value, which is inside the
 * error that the manual allows but not what any one processor gives.
 */
#include <fenv.h>
#include <math.h>

#include "translator/ir_eval_rows.h"

/* MXCSR, SDM vol. 1, 10.2.3. */
enum {
    MX_IE = 1, MX_DE = 2, MX_ZE = 4, MX_OE = 8, MX_UE = 16, MX_PE = 32,
    MX_DAZ = 1 << 6, MX_FTZ = 1 << 15,
};

struct fp {
    u32 mxcsr, raised;
    fenv_t host;
};

static void set_rounding(unsigned rc)
{
    static const int mode[4] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
    fesetround(mode[rc & 3]);
}

static void fp_begin(struct fp *fp, const struct cpu *cpu)
{
    fp->mxcsr = cpu->mxcsr;
    fp->raised = 0;
    feholdexcept(&fp->host);
    /* The host thread may run with the guest's DAZ and FTZ already; the C code wants neither. */
    fesetenv(FE_DFL_ENV);
    set_rounding(fp->mxcsr >> 13);
}

static void fp_end(struct fp *fp, struct cpu *cpu)
{
    fesetenv(&fp->host);
    cpu->mxcsr |= fp->raised;
}

#define FT float
#define UT u32
#define FN(x) x##_s
#define FBITS 23
#define EMAX 0xff
#include "translator/ir_eval_fp_lane.inc"
#undef FT
#undef UT
#undef FN
#undef FBITS
#undef EMAX

#define FT double
#define UT u64
#define FN(x) x##_d
#define FBITS 52
#define EMAX 0x7ff
#include "translator/ir_eval_fp_lane.inc"

static bool is_single(unsigned format)
{
    return format == VF_PS || format == VF_SS;
}

/* Lanes that a format computes. */
static unsigned lanes_of(unsigned format)
{
    return format == VF_PS ? 4 : format == VF_PD ? 2 : 1;
}

VEC_ROW(fparith)
{
    struct fp fp;
    union ir_value r = *args[0];
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < lanes_of(in->aux); k++) {
        if (is_single(in->aux))
            r.d[k] = lane_op_s(&fp, in->op, args[0]->d[k], args[1]->d[k]);
        else
            r.q[k] = lane_op_d(&fp, in->op, args[0]->q[k], args[1]->q[k]);
    }
    fp_end(&fp, cpu);
    *out = r;
}

VEC_ROW(fpsqrt)
{
    const union ir_value *src = in->op == IR_fpsqrts ? args[1] : args[0];
    struct fp fp;
    union ir_value r = *args[0];
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < lanes_of(in->aux); k++) {
        if (is_single(in->aux))
            r.d[k] = root_s(&fp, src->d[k]);
        else
            r.q[k] = root_d(&fp, src->q[k]);
    }
    fp_end(&fp, cpu);
    *out = r;
}

/* 1 / x or 1 / sqrt(x), never flagging, denormals as zeros (SDM vol. 2B, RCPPS). */
static u32 approximate(u32 a, bool root)
{
    u32 sign = a & 0x80000000u, inf = 0x7f800000u;
    if (is_nan_s(a))
        return a | 0x400000;
    if ((a & inf) == 0)
        return sign | inf;
    if (root && sign)
        return 0xffc00000u;
    float x = value_s(a);
    u32 r = bits_s(root ? 1.0f / sqrtf(x) : 1.0f / x);
    return (r & inf) == 0 ? sign : r;
}

static void approximate_lanes(const struct ir_insn *in, const union ir_value *const args[4],
                              union ir_value *out, bool root, bool scalar)
{
    union ir_value r = *args[0];
    fenv_t env;
    feholdexcept(&env);
    fesetenv(FE_DFL_ENV);
    for (unsigned k = 0; k < (scalar ? 1 : 4); k++)
        r.d[k] = approximate(args[scalar]->d[k], root);
    fesetenv(&env);
    *out = r;
}

VEC_ROW(fprsqrt)
{
    approximate_lanes(in, args, out, true, in->op == IR_fprsqrts);
}
VEC_ROW(fprcp)
{
    approximate_lanes(in, args, out, false, in->op == IR_fprcps);
}

/* ---- comparisons ---- */

/* Relations (1 less, 2 equal, 4 greater, 8 unordered) that satisfy predicates 0 to 15; 16 to 31 are
 * these again, signalling where those are quiet and the other way round (SDM vol. 2A, CMPPD). */
static const u8 predicate_accepts[16] = {2,  1, 3, 8, 13, 14, 12, 7,
                                         10, 9, 11, 0, 5, 6, 4, 15};

VEC_ROW(fpcmp)
{
    unsigned rel = in->imm & 31;
    bool quiet = (((rel & 3) == 0 || (rel & 3) == 3)) == !(rel & 16);
    struct fp fp;
    union ir_value r = *args[0];
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < lanes_of(in->aux); k++) {
        unsigned got = is_single(in->aux) ? relation_s(&fp, args[0]->d[k], args[1]->d[k], quiet)
                                          : relation_d(&fp, args[0]->q[k], args[1]->q[k], quiet);
        u64 v = got & predicate_accepts[rel & 15] ? ~0ull : 0;
        if (is_single(in->aux))
            r.d[k] = (u32)v;
        else
            r.q[k] = v;
    }
    fp_end(&fp, cpu);
    *out = r;
}

static void compare_flags(struct cpu *cpu, const struct ir_insn *in,
                          const union ir_value *const args[4], union ir_value *out, bool quiet)
{
    struct fp fp;
    fp_begin(&fp, cpu);
    unsigned got = is_single(in->aux) ? relation_s(&fp, args[0]->d[0], args[1]->d[0], quiet)
                                      : relation_d(&fp, args[0]->q[0], args[1]->q[0], quiet);
    fp_end(&fp, cpu);
    u64 f = got == 1 ? FL_CF : got == 2 ? FL_ZF : got == 8 ? FL_ZF | FL_PF | FL_CF : 0;
    *out = (union ir_value){{f, 0}};
}

VEC_ROW(fpcomi)
{
    compare_flags(cpu, in, args, out, false);
}
VEC_ROW(fpucomi)
{
    compare_flags(cpu, in, args, out, true);
}

/* ---- across lanes ---- */

VEC_ROW(fphorz)
{
    struct fp fp;
    union ir_value r = {{0, 0}};
    unsigned n = lanes_of(in->aux);
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < n; k++) {
        bool across = in->op != IR_fpaddsub;
        const union ir_value *x = across ? args[k / (n / 2)] : args[0], *y = across ? x : args[1];
        unsigned i = across ? k % (n / 2) * 2 : k, j = across ? i + 1 : k;
        bool add = in->op == IR_fphadd || (!across && (k & 1));
        if (is_single(in->aux))
            r.d[k] = arith_s(&fp, add ? IR_fpadd : IR_fpsub, x->d[i], y->d[j]);
        else
            r.q[k] = arith_d(&fp, add ? IR_fpadd : IR_fpsub, x->q[i], y->q[j]);
    }
    fp_end(&fp, cpu);
    *out = r;
}

VEC_ROW(fpdp)
{
    const union ir_value *a = args[0], *b = args[1];
    struct fp fp;
    union ir_value p = {{0, 0}}, r = {{0, 0}};
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < lanes_of(in->aux); k++) {
        if (!(in->imm >> (4 + k) & 1))
            continue;
        if (is_single(in->aux))
            p.d[k] = arith_s(&fp, IR_fpmul, a->d[k], b->d[k]);
        else
            p.q[k] = arith_d(&fp, IR_fpmul, a->q[k], b->q[k]);
    }
    if (is_single(in->aux)) {
        u32 lo = arith_s(&fp, IR_fpadd, p.d[0], p.d[1]);
        u32 hi = arith_s(&fp, IR_fpadd, p.d[2], p.d[3]);
        p.d[0] = arith_s(&fp, IR_fpadd, lo, hi);
        for (unsigned k = 0; k < 4; k++)
            r.d[k] = in->imm >> k & 1 ? p.d[0] : 0;
    } else {
        p.q[0] = arith_d(&fp, IR_fpadd, p.q[0], p.q[1]);
        for (unsigned k = 0; k < 2; k++)
            r.q[k] = in->imm >> k & 1 ? p.q[0] : 0;
    }
    fp_end(&fp, cpu);
    *out = r;
}

VEC_ROW(fpround)
{
    const union ir_value *src = in->op == IR_fprounds ? args[1] : args[0];
    bool exact = !(in->imm & 8);
    struct fp fp;
    union ir_value r = *args[0];
    fp_begin(&fp, cpu);
    if (!(in->imm & 4))
        set_rounding((unsigned)in->imm);
    for (unsigned k = 0; k < lanes_of(in->aux); k++) {
        if (is_single(in->aux))
            r.d[k] = integral_s(&fp, src->d[k], exact);
        else
            r.q[k] = integral_d(&fp, src->q[k], exact);
    }
    fp_end(&fp, cpu);
    *out = r;
}

/* ---- conversions ---- */

VEC_ROW(fpfromi)
{
    struct fp fp;
    union ir_value r;
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < lanes_of(in->aux); k++) {
        if (in->aux == VF_PS)
            r.d[k] = from_int_s(&fp, args[0]->sd[k]);
        else
            r.q[k] = from_int_d(&fp, args[0]->sd[k]);
    }
    fp_end(&fp, cpu);
    *out = r;
}

static void to_dwords(struct cpu *cpu, const struct ir_insn *in,
                      const union ir_value *const args[4], union ir_value *out, bool truncate)
{
    struct fp fp;
    union ir_value r = {{0, 0}};
    fp_begin(&fp, cpu);
    if (truncate)
        set_rounding(3);
    for (unsigned k = 0; k < lanes_of(in->aux); k++)
        r.d[k] = (u32)(in->aux == VF_PS ? to_int_s(&fp, args[0]->d[k], 32)
                                        : to_int_d(&fp, args[0]->q[k], 32));
    fp_end(&fp, cpu);
    *out = r;
}

VEC_ROW(fptoi)
{
    to_dwords(cpu, in, args, out, false);
}
VEC_ROW(fptoit)
{
    to_dwords(cpu, in, args, out, true);
}

static u64 widen(struct fp *fp, u32 a)
{
    if (is_nan_s(a)) {
        u64 v = nan_of_s(fp, a, a);
        return (v & 0x80000000u) << 32 | 0x7ffull << 52 | (v & 0x7fffff) << 29;
    }
    return bits_d((double)value_s(operand_s(fp, a, true)));
}

static u32 narrow(struct fp *fp, u64 a)
{
    if (is_nan_d(a)) {
        u64 v = nan_of_d(fp, a, a);
        return (u32)(v >> 32 & 0x80000000u) | 0x7f800000u | (u32)(v >> 29 & 0x7fffff);
    }
    volatile double x = value_d(operand_d(fp, a, true));
    volatile float r = (float)x;
    return finish_s(fp, bits_s(r));
}

VEC_ROW(fpcvt)
{
    bool scalar = in->op == IR_fpcvts, from_single = is_single(in->aux);
    const union ir_value *src = args[scalar];
    struct fp fp;
    union ir_value r = {{0, 0}};
    if (scalar)
        r = *args[0];
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < (scalar ? 1 : 2); k++) {
        if (from_single)
            r.q[k] = widen(&fp, src->d[k]);
        else
            r.d[k] = narrow(&fp, src->q[k]);
    }
    fp_end(&fp, cpu);
    *out = r;
}

VEC_ROW(fpfromg)
{
    struct fp fp;
    union ir_value r = *args[0];
    s64 v = sign_extend(args[1]->q[0], W_BITS(in->w));
    fp_begin(&fp, cpu);
    if (is_single(in->aux))
        r.d[0] = from_int_s(&fp, v);
    else
        r.q[0] = from_int_d(&fp, v);
    fp_end(&fp, cpu);
    *out = r;
}

VEC_ROW(fptog)
{
    struct fp fp;
    unsigned bits = W_BITS(in->w);
    fp_begin(&fp, cpu);
    if (in->op == IR_fptogt)
        set_rounding(3);
    u64 v = is_single(in->aux) ? to_int_s(&fp, args[0]->d[0], bits)
                               : to_int_d(&fp, args[0]->q[0], bits);
    fp_end(&fp, cpu);
    *out = (union ir_value){{v, 0}};
}

/* ---- fused multiply-add ---- */

/* The opcode says the operation (low half; odd: scalar) and which operands are x, y and z (high
 * half: 132, 213, 231). */
VEC_ROW(fpfma)
{
    enum { MADDSUB = 6, MSUBADD, MADD, MSUB = 10, NMADD = 12, NMSUB = 14 };
    static const u8 order[3][3] = {{0, 2, 1}, {1, 0, 2}, {1, 2, 0}};
    unsigned kind = in->imm & 15, form = (unsigned)in->imm >> 4;
    const u8 *o = order[form == 0xb ? 2 : form == 0xa];
    const union ir_value *x = args[o[0]], *y = args[o[1]], *z = args[o[2]];
    struct fp fp;
    union ir_value r = *args[0];
    if (kind >= MADD)
        kind &= ~1u;
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < lanes_of(in->aux); k++) {
        bool subtract = kind == MSUB || kind == NMSUB || kind == (k & 1 ? MSUBADD : MADDSUB);
        bool negate = kind >= NMADD;
        if (is_single(in->aux))
            r.d[k] = fused_s(&fp, x->d[k], y->d[k], z->d[k], negate, subtract);
        else
            r.q[k] = fused_d(&fp, x->q[k], y->q[k], z->q[k], negate, subtract);
    }
    fp_end(&fp, cpu);
    *out = r;
}

/* ---- half precision: neither DAZ nor FTZ concerns the halves (SDM vol. 1, 14.4.1) ---- */

static u32 from_half(struct fp *fp, u16 h)
{
    u32 sign = (u32)(h & 0x8000) << 16, exp = h >> 10 & 31, frac = h & 0x3ff;
    if (exp == 31) {
        if (frac && !(frac & 0x200))
            fp->raised |= MX_IE;
        return sign | 0x7f800000u | frac << 13 | (frac ? 0x400000 : 0);
    }
    return sign | bits_s(exp ? ldexpf((float)(frac | 0x400), (int)exp - 25)
                             : ldexpf((float)frac, -24));
}

VEC_ROW(fpfromh)
{
    struct fp fp;
    union ir_value r;
    fp_begin(&fp, cpu);
    for (unsigned k = 0; k < 4; k++)
        r.d[k] = from_half(&fp, args[0]->w[k]);
    fp_end(&fp, cpu);
    *out = r;
}

/* m >> n rounded by rc for the given sign. */
static u32 round_shift(u32 m, unsigned n, unsigned rc, bool negative, bool *inexact)
{
    u64 wide = (u64)m << 32 >> (n > 60 ? 60 : n); /* 32 bits of fraction; what falls off is... */
    u64 sticky = n > 32 && (u64)m << 32 != wide << (n > 60 ? 60 : n); /* ...here */
    u32 whole = (u32)(wide >> 32), rest = (u32)wide | (u32)sticky;
    bool up = rc == 0   ? rest > 0x80000000u || (rest == 0x80000000u && whole & 1)
              : rc == 1 ? rest && negative
                        : rc == 2 && rest && !negative;
    *inexact = rest;
    return whole + up;
}

static u16 to_half(struct fp *fp, u32 a, unsigned rc)
{
    u16 sign = a >> 16 & 0x8000;
    if (is_nan_s(a)) {
        fp->raised |= is_snan_s(a) ? MX_IE : 0;
        return sign | 0x7e00 | (a >> 13 & 0x1ff);
    }
    a = operand_s(fp, a, true) & 0x7fffffff;
    if (a == 0x7f800000)
        return sign | 0x7c00;
    if (!a)
        return sign;
    int e = a >> 23 ? (int)(a >> 23) - 127 : -126;
    u32 m = (a & 0x7fffff) | (a >> 23 ? 1u << 23 : 0), r;
    for (; !(m >> 23); m <<= 1)
        e--;
    /* Tiny by the value that an unbounded exponent would give (SDM vol. 1, 4.9.1.5). */
    bool inexact, carry = round_shift(m, 13, rc, sign, &inexact) >> 11;
    bool tiny = e + carry < -14;
    r = round_shift(m, 13 + (e < -14 ? (unsigned)(-14 - e) : 0), rc, sign, &inexact);
    if (e >= -14)
        r += (u32)(e + 14) << 10;
    if (r >= 0x7c00) {
        bool inf = rc == 0 || rc == (sign ? 1 : 2);
        fp->raised |= MX_OE | MX_PE;
        return sign | (inf ? 0x7c00 : 0x7bff);
    }
    fp->raised |= (inexact ? MX_PE : 0) | (tiny && inexact ? MX_UE : 0);
    return sign | (u16)r;
}

VEC_ROW(fptoh)
{
    struct fp fp;
    union ir_value r = {{0, 0}};
    fp_begin(&fp, cpu);
    unsigned rc = in->imm & 4 ? fp.mxcsr >> 13 & 3 : in->imm & 3;
    for (unsigned k = 0; k < 4; k++)
        r.w[k] = to_half(&fp, args[0]->d[k], rc);
    fp_end(&fp, cpu);
    *out = r;
}

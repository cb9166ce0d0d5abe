/* Vector ops while some SIMD floating-point exception is unmasked: evaluate as if masked, look at
 * the flags, and raise before anything is written (SDM vol. 1, 11.5).
 *
 * Touches MXCSR, XMM registers and vtmp of struct cpu.
 */
#include "cpu/cpu.h"
#include "translator/ir_vec.h"

enum { FORMAT_HALF = VF_SD + 1 }; /* what fptoh gives */

/* Whether a lane of a result of format `format` is denormal: what unmasked underflow looks at
 * (SDM vol. 1, 4.9.1.5: tiny, exact or not). */
static bool has_denormal(const union ir_value *v, unsigned format)
{
    if (format == FORMAT_HALF) {
        for (unsigned k = 0; k < 4; k++)
            if (v->w[k] & 0x3ff && !(v->w[k] & 0x7c00))
                return true;
        return false;
    }
    unsigned lanes = format == VF_PS ? 4 : format == VF_PD ? 2 : 1;
    for (unsigned k = 0; k < lanes; k++) {
        bool single = format == VF_PS || format == VF_SS;
        u64 bits = single ? (u64)v->d[k] << 33 : v->q[k] << 1;
        u64 exponent = single ? 0xffull << 56 : 0x7ffull << 53;
        if (bits != 0 && (bits & exponent) == 0)
            return true;
    }
    return false;
}

/* Format of the result: conversions between floats change it. */
static unsigned result_format(const struct ir_insn *in)
{
    if (in->op == IR_fpcvt || in->op == IR_fpcvts)
        return in->aux ^ 1;
    return in->op == IR_fptoh ? FORMAT_HALF : in->aux;
}

/* A finite number as it is: m * 2^e, m odd or 0. */
struct dyadic { u128 m; int e; bool negative; };

static unsigned bit_length(u128 v)
{
    u64 high = (u64)(v >> 64), low = (u64)v;
    if (high)
        return 128 - (unsigned)__builtin_clzll(high);
    return low ? 64 - (unsigned)__builtin_clzll(low) : 0;
}

static struct dyadic make_odd(struct dyadic d)
{
    while (d.m && !(d.m & 1)) {
        d.m >>= 1;
        d.e++;
    }
    return d;
}

/* Lane 0; denormals are 0 with daz (MXCSR.DAZ). */
static struct dyadic dyadic_of(const union ir_value *v, bool single, bool daz)
{
    unsigned fraction = single ? 23 : 52;
    u64 bits = single ? v->d[0] : v->q[0];
    u64 m = bits & (BIT64(fraction) - 1);
    int e = (int)(bits >> fraction & (single ? 0xff : 0x7ff));
    if (e)
        m |= BIT64(fraction);
    else if (daz)
        m = 0;
    e = (e ? e : 1) - (single ? 127 : 1023) - (int)fraction;
    return make_odd((struct dyadic){m, e, bits >> (single ? 31 : 63) & 1});
}

static struct dyadic product_of(struct dyadic a, struct dyadic b)
{
    return make_odd((struct dyadic){a.m * b.m, a.e + b.e, a.negative != b.negative});
}

/* Bits of the sum from its highest to its lowest one; 128 stands for as many and more. */
static unsigned sum_bits(struct dyadic a, struct dyadic b)
{
    if (!a.m || !b.m)
        return bit_length(a.m | b.m);
    struct dyadic high = a.e > b.e ? a : b, low = a.e > b.e ? b : a;
    unsigned up = (unsigned)(high.e - low.e);
    if (up + bit_length(high.m) > 126)
        return 128; /* low's last bit stays the last one, and the first is not far below high's */
    u128 h = high.m << up, l = low.m;
    struct dyadic sum = {high.negative == low.negative ? h + l : h > l ? h - l : l - h, 0, false};
    return bit_length(make_odd(sum).m);
}

/* Whether a result that an unmasked underflow or overflow stops is inexact: with that exception
 * unmasked, the range of exponents is taken as unbounded (SDM vol. 1, 4.9.1.4 and 4.9.1.5).  Only
 * scalars are looked at. */
static bool inexact_unbounded(const struct ir_insn *in, const union ir_value *const args[4],
                              bool daz)
{
    static const u8 addend[3] = {1, 2, 0}, factor[3] = {0, 0, 1}; /* of 132, 213, 231 */
    bool single = in->aux == VF_SS;
    unsigned bits = single ? 24 : 53;
    if (in->op == IR_fpcvts)
        return bit_length(dyadic_of(args[1], false, daz).m) > 24;
    if (in->op != IR_fpadd && in->op != IR_fpsub && in->op != IR_fpmul && in->op != IR_fpdiv &&
        in->op != IR_fpfma)
        return true;
    struct dyadic v[3] = {dyadic_of(args[0], single, daz), dyadic_of(args[1], single, daz)};
    v[1].negative ^= in->op == IR_fpsub;
    if (in->op == IR_fpadd || in->op == IR_fpsub)
        return sum_bits(v[0], v[1]) > bits;
    if (in->op == IR_fpmul)
        return bit_length(product_of(v[0], v[1]).m) > bits;
    if (in->op == IR_fpdiv)
        return v[1].m && v[0].m % v[1].m != 0;
    v[2] = dyadic_of(args[2], single, daz);
    unsigned form = (unsigned)(in->imm >> 4) == 0xb ? 2 : (unsigned)(in->imm >> 4) == 0xa;
    unsigned low = in->imm & 0xf;
    struct dyadic c = v[addend[form]];
    struct dyadic p = product_of(v[factor[form]], v[3 - addend[form] - factor[form]]);
    p.negative ^= low == 0xb || low == 0xd; /* VFMSUB, VFNMADD: the signs' relation */
    return sum_bits(p, c) > bits;
}

enum { IE = 1, DE = 2, ZE = 4, OE = 8, UE = 16, PE = 32, FLAGS = 63, DAZ = 1 << 6, FTZ = 1 << 15 };

/* What an operation with these flags in MXCSR really raises. */
static u32 raised_by(const struct ir_insn *in, const union ir_value *out, u32 flags, u32 unmasked)
{
    if ((unmasked & UE) && (ir_vec_info[in->op].flags & VI_TINY) &&
        has_denormal(out, result_format(in)))
        flags |= UE;
    /* An unmasked pre-computation exception hides what the computation would have raised
     * (SDM vol. 1, 11.5.3). */
    return flags & unmasked & (IE | DE | ZE) ? flags & (IE | DE | ZE) : flags;
}

/* A dot product stops after its products or its first sums when these raise something unmasked
 * (SDM vol. 2, DPPS): the products alone (step 0), the first sums (1). */
static u32 run_dot_step(struct cpu *cpu, const struct ir_insn *in,
                        const union ir_value *const args[4], unsigned step, u32 masked,
                        u32 unmasked)
{
    struct ir_insn mul = {.op = IR_fpmul, .w = in->w, .aux = in->aux},
                   add = {.op = IR_fphadd, .w = in->w, .aux = in->aux};
    union ir_value a = *args[0], b = *args[1], product, sum;
    const union ir_value *const factors[4] = {&a, &b}, *const terms[4] = {&product, &product};
    for (unsigned k = 0; k < 4; k++)
        if (!(in->imm & 0x10u << (in->aux == VF_PS ? k : k / 2)))
            a.d[k] = b.d[k] = 0;
    ir_eval_vec(cpu, &mul, factors, &product);
    if (step == 0)
        return raised_by(&mul, &product, cpu->mxcsr & FLAGS, unmasked);
    cpu->mxcsr = masked;
    ir_eval_vec(cpu, &add, terms, &sum);
    return raised_by(&add, &sum, cpu->mxcsr & FLAGS, unmasked);
}

/* One 128-bit part of the operation, or of a step of it; returns what it raises. */
static u32 run_part(struct cpu *cpu, const struct ir_insn *in, const union ir_value *const args[4],
                    union ir_value *out, unsigned step, u32 masked, u32 unmasked)
{
    cpu->mxcsr = masked;
    if (in->op == IR_fpdp && step < 2)
        return run_dot_step(cpu, in, args, step, masked, unmasked);
    ir_eval_vec(cpu, in, args, out);
    u32 raised = raised_by(in, out, cpu->mxcsr & FLAGS, unmasked);
    if (raised & unmasked & (UE | OE) && raised & PE && in->aux >= VF_SS &&
        !inexact_unbounded(in, args, cpu->mxcsr & DAZ))
        raised &= ~(u32)PE;
    return raised;
}

/* Operand k of 256 bits for the half h of the operation: as lift_narrow.c takes it apart. */
static union ir_value part_of(const struct ir_insn *in, const union vec *v, unsigned k, unsigned h)
{
    union ir_value part;
    unsigned at = !h ? 0 : vec_reads_low(in, k) ? 8 : 16;
    memset(&part, 0, sizeof part);
    memcpy(&part, v->b + at, at == 8 ? 8 : 16);
    return part;
}

/* Whether a half of the operation fills only a quarter of the result. */
static bool shrinks(const struct ir_insn *in)
{
    return in->op == IR_fptoh ||
           (in->aux == VF_PD &&
            (in->op == IR_fpcvt || in->op == IR_fptoi || in->op == IR_fptoit));
}

u64 ir_vec_checked(struct cpu *cpu, u64 what, u64 imm, u64 i)
{
    struct ir_insn in = {.op = what & 0xffff, .w = what >> 16 & 0xff, .aux = what >> 24 & 0xff,
                         .imm = imm & 0xff};
    unsigned dst = what >> 32 & 0xff, reg[2] = {what >> 40 & 0xff, what >> 48 & 0xff};
    bool vl = imm >> 8 & 1, clears_upper = imm >> 9 & 1;
    union vec *operand[3], result = {{0}};
    union ir_value v[3], out = {{0, 0}};
    const union ir_value *const args[4] = {&v[0], &v[1], &v[2]};
    for (unsigned k = 0; k < 2; k++)
        operand[k] = reg[k] == VEC_OPND_TEMP ? &cpu->vtmp[0] : &cpu->xmm[reg[k] & 31];
    operand[2] = operand[1];
    if (in.op == IR_fpfma) { /* what it overwrites is its first operand */
        operand[1] = operand[0];
        operand[0] = &cpu->xmm[dst & 31];
    }
    bool integer_b = ir_ops[in.op].in[1] == 'i', scalar = ir_briefs[in.op].type != 'v';

    u32 old = cpu->mxcsr, unmasked = ~old >> 7 & FLAGS, raised = 0;
    /* Flush-to-zero acts only while underflow is masked (SDM vol. 1, 10.2.3.3). */
    u32 masked = (old & ~(u32)(FLAGS | (unmasked & UE ? FTZ : 0))) | FLAGS << 7;
    unsigned steps = in.op == IR_fpdp ? 3 : 1;
    for (unsigned step = 0; step < steps && !(raised & unmasked); step++) {
        u32 now = 0;
        for (unsigned h = 0; h <= vl; h++) {
            for (unsigned k = 0; k < 3; k++)
                v[k] = part_of(&in, operand[k], k, h);
            if (integer_b)
                v[1] = (union ir_value){{i, 0}};
            now |= run_part(cpu, &in, args, &out, step, masked, unmasked);
            memcpy(result.b + h * (shrinks(&in) && vl ? 8 : 16), &out, 16);
        }
        /* What one lane stops with hides the computation of all. */
        raised |= now & unmasked & (IE | DE | ZE) ? now & (IE | DE | ZE) : now;
    }
    cpu->mxcsr = old | raised;
    if (raised & unmasked)
        cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
    if (!scalar)
        memcpy(dst == VEC_OPND_TEMP ? &cpu->vtmp[0] : &cpu->xmm[dst & 31], &result,
               clears_upper ? 32 : 16);
    return out.q[0];
}

/* Vector ops while some SIMD floating-point exception is unmasked: evaluate as if masked, look at
 * the flags, and raise before anything is written (SDM vol. 1, 11.5).
 *
 * Touches MXCSR, XMM registers and vtmp of struct cpu.
 */
#include <fenv.h>

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

/* Significant bits of a double: from its highest to its lowest one. */
static unsigned significant(u64 v)
{
    u64 mant = v & 0xfffffffffffff;
    mant |= v << 1 >> 53 ? 1ull << 52 : 0;
    return mant ? 64 - (unsigned)__builtin_clzll(mant) - (unsigned)__builtin_ctzll(mant) : 0;
}

/* Brings lane k nearer to 1 by 2^600 (double) or 2^96 (single): up (dir > 0) only what is below 1,
 * down only what is above.  Exact. */
static void rescale(union ir_value *v, bool single, unsigned k, int dir)
{
    if (single) {
        float f;
        memcpy(&f, &v->d[k], 4);
        float size = __builtin_fabsf(f);
        if (dir > 0 ? size < 1 : size > 1)
            f *= dir > 0 ? 0x1p96f : 0x1p-96f;
        memcpy(&v->d[k], &f, 4);
    } else {
        double f;
        memcpy(&f, &v->q[k], 8);
        double size = __builtin_fabs(f);
        if (dir > 0 ? size < 1 : size > 1)
            f *= dir > 0 ? 0x1p600 : 0x1p-600;
        memcpy(&v->q[k], &f, 8);
    }
}

/* Lane 0 times 2^(600 * dir) (double) or 2^(96 * dir) (single); false when that is not exact. */
static bool scale_exactly(union ir_value *v, bool single, int dir)
{
    if (single) {
        float f, g;
        memcpy(&f, &v->d[0], 4);
        g = f * (dir > 0 ? 0x1p96f : 0x1p-96f);
        memcpy(&v->d[0], &g, 4);
        return g * (dir > 0 ? 0x1p-96f : 0x1p96f) == f;
    }
    double f, g;
    memcpy(&f, &v->q[0], 8);
    g = f * (dir > 0 ? 0x1p600 : 0x1p-600);
    memcpy(&v->q[0], &g, 8);
    return g * (dir > 0 ? 0x1p-600 : 0x1p600) == f;
}

/* As below, of a fused multiply-add: a factor and the addend scaled alike.  What cannot be is far
 * below or above the rest of the sum, so that bits are lost anyway. */
static bool fma_inexact_unbounded(struct cpu *cpu, const struct ir_insn *in,
                                  const union ir_value *const args[4], int dir)
{
    static const u8 addend[3] = {1, 2, 0}, factor[3] = {0, 0, 1}; /* of 132, 213, 231 */
    unsigned form = (unsigned)(in->imm >> 4) == 0xb ? 2 : (unsigned)(in->imm >> 4) == 0xa;
    bool single = in->aux == VF_SS;
    union ir_value v[3] = {*args[0], *args[1], *args[2]}, out;
    const union ir_value *const scaled[4] = {&v[0], &v[1], &v[2]};
    unsigned other = 3 - addend[form] - factor[form];
    u32 mxcsr = cpu->mxcsr;
    fenv_t env; /* scaling must leave no flags in the host's MXCSR, which may be the guest's */
    feholdexcept(&env);
    bool exact = scale_exactly(&v[addend[form]], single, dir);
    if (!scale_exactly(&v[factor[form]], single, dir)) {
        v[factor[form]] = *args[factor[form]];
        exact &= scale_exactly(&v[other], single, dir);
    }
    fesetenv(&env);
    if (!exact)
        return true;
    cpu->mxcsr = mxcsr & ~0x3fu;
    ir_eval_vec(cpu, in, scaled, &out);
    bool inexact = cpu->mxcsr & 0x20;
    cpu->mxcsr = mxcsr;
    return inexact;
}

/* Whether a result that an unmasked underflow (dir 1) or overflow (-1) stops is inexact: with that
 * exception unmasked, the range of exponents is taken as unbounded (SDM vol. 1, 4.9.1.4 and
 * 4.9.1.5).  Sums never are when tiny; of the rest only scalars are looked at. */
static bool inexact_unbounded(struct cpu *cpu, const struct ir_insn *in,
                              const union ir_value *const args[4], int dir)
{
    bool single = in->aux == VF_SS;
    union ir_value a = *args[0], b = *args[1], out;
    const union ir_value *const scaled[4] = {&a, &b};
    if (in->op == IR_fpcvts)
        return significant(b.q[0]) > 24;
    if (in->op == IR_fpfma)
        return fma_inexact_unbounded(cpu, in, args, dir);
    if (in->op != IR_fpmul && in->op != IR_fpdiv)
        return true;
    rescale(&a, single, 0, dir);
    rescale(&b, single, 0, in->op == IR_fpmul ? dir : -dir);
    u32 mxcsr = cpu->mxcsr;
    cpu->mxcsr = mxcsr & ~0x3fu;
    ir_eval_vec(cpu, in, scaled, &out);
    bool inexact = cpu->mxcsr & 0x20;
    cpu->mxcsr = mxcsr;
    return inexact;
}

enum { IE = 1, DE = 2, ZE = 4, OE = 8, UE = 16, PE = 32, FLAGS = 63, FTZ = 1 << 15 };

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
        !inexact_unbounded(cpu, in, args, raised & UE ? 1 : -1))
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

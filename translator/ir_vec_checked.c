/* Vector ops while some SIMD floating-point exception is unmasked: evaluate as if masked, look at
 * the flags, and raise before anything is written (SDM vol. 1, 11.5).
 *
 * Touches MXCSR, XMM registers and vtmp of struct cpu.
 */
#include "cpu/cpu.h"
#include "translator/ir_vec.h"

/* Whether a lane of a result of format `format` is denormal: what unmasked underflow looks at
 * (SDM vol. 1, 4.9.1.5: tiny, exact or not). */
static bool has_denormal(const union ir_value *v, unsigned format)
{
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
    return in->aux;
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
 * (SDM vol. 2, DPPS).  Returns what was raised until then, or 0 if all goes through. */
static u32 stopped_within(struct cpu *cpu, const struct ir_insn *in,
                          const union ir_value *const args[4], u32 unmasked)
{
    struct ir_insn mul = {.op = IR_fpmul, .w = in->w, .aux = in->aux},
                   add = {.op = IR_fphadd, .w = in->w, .aux = in->aux};
    union ir_value a = *args[0], b = *args[1], product, sum;
    const union ir_value *const factors[4] = {&a, &b}, *const terms[4] = {&product, &product};
    u32 mxcsr = cpu->mxcsr;
    for (unsigned k = 0; k < 4; k++)
        if (!(in->imm & 0x10u << (in->aux == VF_PS ? k : k / 2)))
            a.d[k] = b.d[k] = 0;
    ir_eval_vec(cpu, &mul, factors, &product);
    u32 raised = raised_by(&mul, &product, cpu->mxcsr & FLAGS, unmasked);
    if (!(raised & unmasked)) {
        cpu->mxcsr = mxcsr;
        ir_eval_vec(cpu, &add, terms, &sum);
        raised |= raised_by(&add, &sum, cpu->mxcsr & FLAGS, unmasked);
    }
    cpu->mxcsr = mxcsr;
    return raised & unmasked ? raised : 0;
}

u64 ir_vec_checked(struct cpu *cpu, u64 what, u64 imm, u64 i)
{
    struct ir_insn in = {.op = what & 0xffff, .w = what >> 16 & 0xff, .aux = what >> 24 & 0xff,
                         .imm = imm};
    unsigned dst = what >> 32 & 0xff, reg[2] = {what >> 40 & 0xff, what >> 48 & 0xff};
    union ir_value v[3], out;
    for (unsigned k = 0; k < 2; k++)
        memcpy(&v[k], reg[k] == VEC_OPND_TEMP ? &cpu->vtmp[0] : &cpu->xmm[reg[k] & 31], 16);
    v[2] = (union ir_value){{i, 0}};
    bool integer_b = ir_ops[in.op].in[1] == 'i';
    const union ir_value *const args[4] = {&v[0], integer_b ? &v[2] : &v[1]};

    u32 old = cpu->mxcsr, unmasked = ~old >> 7 & FLAGS;
    /* Flush-to-zero acts only while underflow is masked (SDM vol. 1, 10.2.3.3). */
    cpu->mxcsr = (old & ~(u32)(FLAGS | (unmasked & UE ? FTZ : 0))) | FLAGS << 7;
    u32 raised = in.op == IR_fpdp ? stopped_within(cpu, &in, args, unmasked) : 0;
    if (!raised) {
        ir_eval_vec(cpu, &in, args, &out);
        raised = raised_by(&in, &out, cpu->mxcsr & FLAGS, unmasked);
    }
    if (raised & unmasked & (UE | OE) && raised & PE && in.aux >= VF_SS &&
        !inexact_unbounded(cpu, &in, args, raised & UE ? 1 : -1))
        raised &= ~(u32)PE;
    cpu->mxcsr = old | raised;
    if (raised & unmasked)
        cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
    if (ir_briefs[in.op].type == 'v')
        memcpy(dst == VEC_OPND_TEMP ? &cpu->vtmp[0] : &cpu->xmm[dst & 31], &out, 16);
    return out.q[0];
}

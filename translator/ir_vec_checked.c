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

u64 ir_vec_checked(struct cpu *cpu, u64 what, u64 imm, u64 i)
{
    enum { IE = 1, DE = 2, ZE = 4, OE = 8, UE = 16, PE = 32, FLAGS = 63, FTZ = 1 << 15 };
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
    ir_eval_vec(cpu, &in, args, &out);
    u32 raised = cpu->mxcsr & FLAGS;
    if ((unmasked & UE) && (ir_vec_info[in.op].flags & VI_TINY) &&
        has_denormal(&out, result_format(&in)))
        raised |= UE;
    /* An unmasked pre-computation exception hides what the computation would have raised
     * (SDM vol. 1, 11.5.3). */
    if (raised & unmasked & (IE | DE | ZE))
        raised &= IE | DE | ZE;
    cpu->mxcsr = old | raised;
    if (raised & unmasked)
        cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
    if (ir_ops[in.op].out[0] == 'v')
        memcpy(dst == VEC_OPND_TEMP ? &cpu->vtmp[0] : &cpu->xmm[dst & 31], &out, 16);
    return out.q[0];
}

/* The table of vector ops as hosts see it, and the single entry to their evaluation.
 *
 * Touches struct cpu's MXCSR and, for the checked form, its XMM registers.
 */
#include "translator/ir_vec.h"

#include "cpu/cpu.h"
#include "translator/ir_eval_rows.h"

/* An opcode constant (0x660F3817) taken apart.  Map 0F has the byte 0F second from the right;
 * maps 0F38 and 0F3A have it third. */
#define OPC_WIDE(x) (((x) >> 16 & 0xff) == 0x0f && ((x) >> 8 & 0xff) != 0x0f)
#define OPC_MAP(x) ((x) == 0 ? 0 : !OPC_WIDE(x) ? 1 : ((x) >> 8 & 0xff) == 0x38 ? 2 : 3)
#define OPC_PFX(x) (OPC_WIDE(x) ? (u32)(x) >> 24 : (x) >> 16 & 0xff)
#define OPC(x) {(u8)OPC_PFX(x), OPC_MAP(x), (x)&0xff}

const struct vec_info ir_vec_info[IR_OP_COUNT] = {
#define VEC(name, out, in, effects, meaning, shape, key, flags, level, ext, c0, c1, c2, c3, fn)    \
    [IR_##name] = {shape, key, flags, level, ext, {OPC(c0), OPC(c1), OPC(c2), OPC(c3)}, fn},
#include "translator/ir_vec.def"
#undef VEC
};

void ir_eval_vec_portable(struct cpu *cpu, const struct ir_insn *in,
                          const union ir_value *const args[4], union ir_value *out)
{
    if (ir_is_vec(in->op) && vec_valid(in))
        ir_vec_info[in->op].eval(cpu, in, args, out);
    else
        *out = (union ir_value){{0, 0}};
}

void ir_eval_vec(struct cpu *cpu, const struct ir_insn *in, const union ir_value *const args[4],
                 union ir_value *out)
{
    u32 reset = 0x1f80;
    if (!ir_vec_host(cpu ? &cpu->mxcsr : &reset, in, args, out))
        ir_eval_vec_portable(cpu, in, args, out);
}

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
    unsigned dst = what >> 32 & 31, reg[2] = {what >> 40 & 0xff, what >> 48 & 0xff};
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
        memcpy(&cpu->xmm[dst], &out, 16);
    return out.q[0];
}

/* The table of vector ops as hosts see it, and the single entry to their evaluation.
 *
 * Touches nothing of struct cpu but MXCSR.
 */
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

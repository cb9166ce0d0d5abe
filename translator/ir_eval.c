/* The evaluator of pure ops out of line, for the constant folder and tests; meaning: ir_eval.h. */
#include "translator/ir_eval.h"

bool ir_eval_pure(unsigned op)
{
    return op == IR_const || op == IR_pc || (op >= IR_zext && op <= IR_bitsf);
}

u64 ir_eval(const struct ir_insn *in, const u64 arg[4])
{
    return eval_op(in->op, in->w, in->aux, in->imm, arg[0], arg[1], arg[2], arg[3]);
}

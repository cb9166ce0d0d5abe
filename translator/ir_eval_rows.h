/* Prototypes of the row evaluators, expanded from ir_vec.def; for ir_vec.c and the files that
 * define them. */
#ifndef DRAGOMAN_TRANSLATOR_IR_EVAL_ROWS_H
#define DRAGOMAN_TRANSLATOR_IR_EVAL_ROWS_H

#include "translator/ir_vec.h"

#define VEC_ROW(name)                                                                              \
    void vec_##name(struct cpu *cpu, const struct ir_insn *in,                                     \
                    const union ir_value *const args[4], union ir_value *out)

/* Rows may share an evaluator, hence repeated declarations. */
#define VEC(name, out_, in_, effects, meaning, shape, key, flags, level, ext, c0, c1, c2, c3, fn)  \
    void fn(struct cpu *cpu, const struct ir_insn *in, const union ir_value *const args[4],        \
            union ir_value *out);
#include "translator/ir_vec.def"
#undef VEC

#endif

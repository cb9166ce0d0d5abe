/* Random well-formed IR blocks, and a reference that executes them op by op, for tests of whatever
 * must keep their meaning.
 *
 * Wherever an op may fault or leave, the reference notes the whole guest state in a hash, so that
 * state which is not exact there shows even if nothing faults.
 */
#ifndef DRAGOMAN_TESTS_RANDOM_IR_H
#define DRAGOMAN_TESTS_RANDOM_IR_H

#include "translator/ir.h"

/* The part of struct cpu that ldenv and stenv reach, and the linear addresses of loads and
 * stores. */
#define RANDOM_IR_ENV offsetof(struct cpu, x87)
#define RANDOM_IR_ENV_BYTES 32u
#define RANDOM_IR_MEM 0x20000u
#define RANDOM_IR_MEM_BYTES 0x210u

struct machine {
    u64 gpr[16], flags;
    u8 env[RANDOM_IR_ENV_BYTES];
    u8 mem[RANDOM_IR_MEM_BYTES];
    u64 hash;  /* of all that could be observed */
    u64 noted; /* how often */
    u64 exit;  /* where it left to */
    bool flags_dead; /* ...by an exit whose flags nobody may look at */
};

/* The generator's state; set it to a value other than 0 for a block that can be made again. */
extern u64 random_ir_seed;
u64 random_ir_rnd(void);
/* A constant of width w, often near a border. */
u64 random_ir_const(unsigned w);

/* calls: with helper calls, whose effects the reference makes up. */
void random_ir_block(struct ir *ir, bool calls);
void random_ir_walk(struct machine *m, const struct ir *ir);

#endif

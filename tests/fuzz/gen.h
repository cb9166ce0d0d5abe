/* Shared by the parts of the generator. */
#ifndef DRAGOMAN_TESTS_FUZZ_GEN_H
#define DRAGOMAN_TESTS_FUZZ_GEN_H

#include "fuzz.h"

/* One encoding of a row. */
struct form {
    u8 pfx, map, opcode, modrm;
    bool w, has_modrm, vex, l;
    bool b; /* with REX.B, which the row depends on (90) */
};

#define SEG_NONE 0xff

/* A memory operand to encode. */
struct mem {
    u8 base, index, scale; /* as struct insn has them */
    u8 seg;                /* override, or SEG_NONE */
    bool asize;            /* with an address-size prefix */
    bool in16;             /* the 16-bit form */
    s32 disp;              /* REG_RIP: the address itself */
};

const struct opcode_row *gen_row(unsigned mode, unsigned row);
const struct form *gen_form(unsigned mode, unsigned row);
/* Whether an instruction may be part of a program, its prefixes included. */
bool gen_usable(const struct insn *in, const u8 *bytes);
/* Whether the address size is the mode's other one. */
bool gen_other_asize(const struct form *f, const struct mem *m);
/* A base and index of 16-bit addressing, by ModRM.rm. */
void gen_mem16(struct mem *m, unsigned rm);
/* Appends one instruction to the item, with random registers and immediates, and decodes it.
 * `address` is what goes into the instruction where it has an absolute one. */
bool gen_encode(struct item *it, unsigned mode, unsigned row, const struct form *f,
                const struct mem *m, u64 address, struct insn *in);

#endif

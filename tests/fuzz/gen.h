/* Shared by the parts of the generator. */
#ifndef DRAGOMAN_TESTS_FUZZ_GEN_H
#define DRAGOMAN_TESTS_FUZZ_GEN_H

#include "fuzz.h"

/* One encoding of a row. */
struct form {
    u8 pfx, map, opcode, modrm;
    bool w, has_modrm, vex, l;
};

/* A memory operand to encode. */
struct mem {
    u8 base, index, scale; /* as struct insn has them */
    bool gs, a32;
    s32 disp; /* REG_RIP: the address itself */
};

const struct opcode_row *gen_row(unsigned row);
const struct form *gen_form(unsigned row);
bool form_usable(const struct insn *in);
/* Appends one instruction to the item, with random registers and immediates, and decodes it. */
bool gen_encode(struct item *it, unsigned row, const struct form *f, const struct mem *m,
                struct insn *in);

#endif

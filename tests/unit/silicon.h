/* Runs single user-level instructions natively, in 64-bit and 32-bit mode, from a given state, for
 * tests that compare with the host processor.  Only on x86-64 hosts. */
#ifndef DRAGOMAN_TESTS_SILICON_H
#define DRAGOMAN_TESTS_SILICON_H

#include "base/types.h"

/* Registers, flags and nothing else. */
struct silicon_state {
    u64 gpr[16];
    u64 flags;
};

#define SILICON_DATA 0x4000u /* bytes of data that instructions may touch */

struct silicon {
    u8 *code; /* stub and state */
    unsigned mode;
    u8 *data; /* SILICON_DATA bytes, below 2 GiB, near the code */
};

enum silicon_result { SILICON_OK, SILICON_FPE, SILICON_ILL, SILICON_SEGV };

/* False where the host is no x86-64 (mode 64), or has no compatibility mode (mode 32).  One mode
 * per struct. */
bool silicon_init(struct silicon *s, unsigned mode);
/* Address at which the instruction of silicon_run will lie. */
u64 silicon_rip(const struct silicon *s);
/* Runs one instruction of len bytes; st is updated when the result is SILICON_OK. */
enum silicon_result silicon_run(struct silicon *s, const u8 *insn, unsigned len,
                                struct silicon_state *st);

#endif

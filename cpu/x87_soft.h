/* The software x87: what its files share.  Values are taken apart into sign, exponent and a
 * normalised significand, and put together again by one rounding.
 */
#ifndef DRAGOMAN_CPU_X87_SOFT_H
#define DRAGOMAN_CPU_X87_SOFT_H

#include "cpu/x87.h"

enum soft_class { SOFT_ZERO, SOFT_FINITE, SOFT_INF, SOFT_QNAN, SOFT_SNAN, SOFT_UNSUPPORTED };

/* A value: (-1)^sign * mant * 2^(exp - 63), mant with its top bit set when finite. */
struct soft {
    u8 class;
    bool sign, denormal;
    s32 exp;
    u64 mant; /* NaNs: as the register holds it */
};

/* One operation: control word in, exception flags and C1 (and other codes) out. */
struct soft_env {
    u16 cw, sw;
};

#define SOFT_BIAS 16383
#define SOFT_WRAP 24576 /* exponent adjustment of unmasked overflow and underflow */

static inline unsigned soft_rc(const struct soft_env *e)
{
    return e->cw >> 10 & 3;
}
/* Raises the flags; true when all of them are masked. */
static inline bool soft_raise(struct soft_env *e, u16 flags)
{
    e->sw |= flags;
    return !(flags & ~e->cw);
}
static inline u128 soft_shift_sticky(u128 v, unsigned n)
{
    if (n == 0)
        return v;
    if (n > 127)
        return v != 0;
    return v >> n | ((v << (128 - n)) != 0);
}

extern const struct fpreg soft_indefinite;

struct soft soft_unpack(const struct fpreg *r);
/* The register of a class that needs no rounding. */
struct fpreg soft_pack(const struct soft *v);
struct fpreg soft_special(u8 class, bool sign);
/* Bits of significand that precision control asks for. */
unsigned soft_precision(const struct soft_env *e);
/* Rounds the value (-1)^sign * v * 2^(exp - 127), v != 0, to `bits` of significand; raises OE, UE,
 * PE and sets C1. */
struct fpreg soft_round(struct soft_env *e, bool sign, s32 exp, u128 v, unsigned bits);
/* The first checks of every operation on one or two (b may be NULL) operands: unsupported
 * encodings, NaNs, denormals.  True when it is decided: *out is the result if *store, else an
 * unmasked exception stopped it. */
bool soft_operands(struct soft_env *e, const struct fpreg *ra, const struct fpreg *rb,
                   const struct soft *a, const struct soft *b, struct fpreg *out, bool *store);
/* Invalid operation: the indefinite in *out if masked; returns whether it is. */
bool soft_invalid(struct soft_env *e, struct fpreg *out);
/* Rounds mant * 2^(exp - 63), exp < 64, to an integer by rc; *inexact, *up tell how. */
u128 soft_to_integer(s32 exp, u64 mant, bool sign, unsigned rc, bool *inexact, bool *up);

/* ---- x87_soft_func.c, x87_soft_trans.c: functions of ST(0) and ST(1); as x87_ops.unary ---- */
void soft_function(struct soft_env *e, unsigned op, struct fpreg st[2]);
void soft_transcendental(struct soft_env *e, unsigned op, struct fpreg st[2]);

#endif

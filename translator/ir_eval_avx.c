/* Portable meaning of the rows of ir_vec.def that came with AVX, but for its floating point
 * (ir_eval_fp.c).
 *
 * Touches nothing but its arguments.  Evaluators work on 128 bits: lift_narrow.c has taken the
 * 256-bit ops apart before.
 */
#include "translator/ir_eval_rows.h"

VEC_ROW(vlow)
{
    *out = *args[0];
}

/* Rows that exist at vl 1 only. */
VEC_ROW(whole)
{
    *out = (union ir_value){{0, 0}};
}

VEC_ROW(vbcast)
{
    unsigned n = W_BYTES(in->w);
    union ir_value r;
    for (unsigned k = 0; k < 16; k += n)
        memcpy(r.b + k, args[0]->b, n);
    *out = r;
}

VEC_ROW(vpermil)
{
    union ir_value r;
    for (unsigned k = 0; k < 4 && in->w == W32; k++)
        r.d[k] = args[0]->d[args[1]->d[k] & 3];
    for (unsigned k = 0; k < 2 && in->w == W64; k++)
        r.q[k] = args[0]->q[args[1]->q[k] >> 1 & 1];
    *out = r;
}

#define SHIFT_ROW(name, dwords, qwords)                                                            \
    VEC_ROW(name)                                                                                  \
    {                                                                                              \
        const union ir_value *a = args[0], *b = args[1];                                           \
        union ir_value r;                                                                          \
        for (unsigned k = 0; k < 4 && in->w == W32; k++) {                                         \
            u32 n = b->d[k];                                                                       \
            r.d[k] = (u32)(dwords);                                                                \
        }                                                                                          \
        for (unsigned k = 0; k < 2 && in->w == W64; k++) {                                         \
            u64 n = b->q[k];                                                                       \
            r.q[k] = (u64)(qwords);                                                                \
        }                                                                                          \
        *out = r;                                                                                  \
    }

SHIFT_ROW(vshlv, n > 31 ? 0 : a->d[k] << n, n > 63 ? 0 : a->q[k] << n)
SHIFT_ROW(vshrv, n > 31 ? 0 : a->d[k] >> n, n > 63 ? 0 : a->q[k] >> n)
SHIFT_ROW(vsarv, a->sd[k] >> (n > 31 ? 31 : n), a->sq[k] >> (n > 63 ? 63 : n))

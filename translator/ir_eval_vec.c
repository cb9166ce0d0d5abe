/* Portable meaning of the integer and lane-moving rows of ir_vec.def.
 *
 * Touches nothing but its arguments.  Floating point is in ir_eval_fp.c.  Lanes are union members,
 * so a host must be little-endian, as every host with guest memory mapped directly is.
 */
#include "translator/ir_eval_rows.h"

static s64 sat_signed(s64 v, unsigned bits)
{
    s64 max = (s64)((1ull << (bits - 1)) - 1);
    return v > max ? max : v < -max - 1 ? -max - 1 : v;
}

static s64 sat_unsigned(s64 v, unsigned bits)
{
    s64 max = (s64)((1ull << bits) - 1);
    return v > max ? max : v < 0 ? 0 : v;
}

/* One loop per lane width over an expression of x, y (unsigned lanes of a and b), sx, sy (signed)
 * and BITS_ (the lane's width). */
#define LANES(UT, ST, U, S, N, expr)                                                               \
    for (unsigned k = 0; k < (N); k++) {                                                           \
        enum { BITS_ = sizeof(UT) * 8 };                                                           \
        UT x = a->U[k], y = b->U[k];                                                               \
        ST sx = a->S[k], sy = b->S[k];                                                             \
        (void)x, (void)y, (void)sx, (void)sy;                                                      \
        r.U[k] = (UT)(expr);                                                                       \
    }                                                                                              \
    break

#define LANE_ROW(name, expr)                                                                       \
    VEC_ROW(name)                                                                                  \
    {                                                                                              \
        const union ir_value *a = args[0], *b = args[1] ? args[1] : a;                             \
        union ir_value r = {{0, 0}};                                                               \
        switch (in->w) {                                                                           \
        case W8: LANES(u8, s8, b, sb, 16, expr);                                                   \
        case W16: LANES(u16, s16, w, sw, 8, expr);                                                 \
        case W32: LANES(u32, s32, d, sd, 4, expr);                                                 \
        default: LANES(u64, s64, q, sq, 2, expr);                                                  \
        }                                                                                          \
        *out = r;                                                                                  \
    }

LANE_ROW(vadd, x + y)
LANE_ROW(vsub, x - y)
LANE_ROW(vaddss, sat_signed((s64)sx + sy, BITS_))
LANE_ROW(vaddus, sat_unsigned((s64)x + (s64)y, BITS_ & 31))
LANE_ROW(vsubss, sat_signed((s64)sx - sy, BITS_))
LANE_ROW(vsubus, sat_unsigned((s64)x - (s64)y, BITS_ & 31))
LANE_ROW(vmullo, (u64)x *y)
LANE_ROW(vmulhs, (s64)sx *sy >> (BITS_ & 63))
LANE_ROW(vmulhu, (u64)x *y >> (BITS_ & 63))
LANE_ROW(vmulhrs, (((s64)sx * sy >> 14) + 1) >> 1)
LANE_ROW(vavg, ((u64)x + y + 1) >> 1)
LANE_ROW(vmins, sx < sy ? sx : sy)
LANE_ROW(vminu, x < y ? x : y)
LANE_ROW(vmaxs, sx > sy ? sx : sy)
LANE_ROW(vmaxu, x > y ? x : y)
LANE_ROW(vcmpeq, x == y ? -1 : 0)
LANE_ROW(vcmpgt, sx > sy ? -1 : 0)
LANE_ROW(vsign, sy < 0 ? 0 - x : sy == 0 ? 0 : x)
LANE_ROW(vabs, sx < 0 ? 0 - x : x)

VEC_ROW(vzero)
{
    *out = (union ir_value){{0, 0}};
}

VEC_ROW(vmuleu)
{
    union ir_value r;
    for (unsigned k = 0; k < 2; k++)
        r.q[k] = (u64)args[0]->d[2 * k] * args[1]->d[2 * k];
    *out = r;
}

VEC_ROW(vmules)
{
    union ir_value r;
    for (unsigned k = 0; k < 2; k++)
        r.sq[k] = (s64)args[0]->sd[2 * k] * args[1]->sd[2 * k];
    *out = r;
}

VEC_ROW(vmadd)
{
    const union ir_value *a = args[0], *b = args[1];
    union ir_value r;
    for (unsigned k = 0; k < 4; k++)
        r.d[k] = (u32)(a->sw[2 * k] * b->sw[2 * k]) + (u32)(a->sw[2 * k + 1] * b->sw[2 * k + 1]);
    *out = r;
}

VEC_ROW(vmaddub)
{
    const union ir_value *a = args[0], *b = args[1];
    union ir_value r;
    for (unsigned k = 0; k < 8; k++) {
        s64 v = a->b[2 * k] * b->sb[2 * k] + a->b[2 * k + 1] * b->sb[2 * k + 1];
        r.sw[k] = (s16)sat_signed(v, 16);
    }
    *out = r;
}

VEC_ROW(vsad)
{
    union ir_value r = {{0, 0}};
    for (unsigned k = 0; k < 16; k++) {
        int d = args[0]->b[k] - args[1]->b[k];
        r.q[k / 8] += (u64)(d < 0 ? -d : d);
    }
    *out = r;
}

/* Adjacent lanes combined: sign is 1 or -1 for the odd lane. */
static void horizontal(const struct ir_insn *in, const union ir_value *const args[4],
                       union ir_value *out, int sign, bool saturate)
{
    union ir_value r;
    for (unsigned h = 0; h < 2; h++) {
        const union ir_value *v = args[h];
        if (in->w == W16) {
            for (unsigned k = 0; k < 4; k++) {
                s64 sum = v->sw[2 * k] + sign * v->sw[2 * k + 1];
                r.sw[4 * h + k] = (s16)(saturate ? sat_signed(sum, 16) : sum);
            }
        } else {
            for (unsigned k = 0; k < 2; k++)
                r.d[2 * h + k] = v->d[2 * k] + (u32)sign * v->d[2 * k + 1];
        }
    }
    *out = r;
}

VEC_ROW(vhadd)
{
    horizontal(in, args, out, 1, false);
}
VEC_ROW(vhaddss)
{
    horizontal(in, args, out, 1, true);
}
VEC_ROW(vhsub)
{
    horizontal(in, args, out, -1, false);
}
VEC_ROW(vhsubss)
{
    horizontal(in, args, out, -1, true);
}

VEC_ROW(vhmin)
{
    unsigned best = 0;
    for (unsigned k = 1; k < 8; k++) {
        if (args[0]->w[k] < args[0]->w[best])
            best = k;
    }
    u64 v = args[0]->w[best] | (u64)best << 16;
    *out = (union ir_value){{v, 0}};
}

VEC_ROW(vmpsad)
{
    unsigned ao = in->imm >> 2 & 1 ? 4 : 0, bo = (in->imm & 3) * 4;
    union ir_value r = {{0, 0}};
    for (unsigned k = 0; k < 8; k++) {
        for (unsigned j = 0; j < 4; j++) {
            int d = args[0]->b[ao + k + j] - args[1]->b[bo + j];
            r.w[k] = (u16)(r.w[k] + (d < 0 ? -d : d));
        }
    }
    *out = r;
}

/* ---- logic ---- */

VEC_ROW(vand)
{
    *out = (union ir_value){{args[0]->q[0] & args[1]->q[0], args[0]->q[1] & args[1]->q[1]}};
}
VEC_ROW(vandn)
{
    *out = (union ir_value){{~args[0]->q[0] & args[1]->q[0], ~args[0]->q[1] & args[1]->q[1]}};
}
VEC_ROW(vor)
{
    *out = (union ir_value){{args[0]->q[0] | args[1]->q[0], args[0]->q[1] | args[1]->q[1]}};
}
VEC_ROW(vxor)
{
    *out = (union ir_value){{args[0]->q[0] ^ args[1]->q[0], args[0]->q[1] ^ args[1]->q[1]}};
}

VEC_ROW(vtest)
{
    const union ir_value *a = args[0], *b = args[1];
    bool zf = !((a->q[0] & b->q[0]) | (a->q[1] & b->q[1]));
    bool cf = !((~a->q[0] & b->q[0]) | (~a->q[1] & b->q[1]));
    *out = (union ir_value){{(zf ? FL_ZF : 0) | (cf ? FL_CF : 0), 0}};
}

/* ---- shifts: by imm (vshli...) or by the low 64 bits of b ---- */

static u64 shift_count(const struct ir_insn *in, const union ir_value *const args[4])
{
    bool by_imm = in->op == IR_vshli || in->op == IR_vshri || in->op == IR_vsari;
    return by_imm ? in->imm & 0xff : args[1]->q[0];
}

#define SHIFT_ROW(name, expr)                                                                      \
    VEC_ROW(name)                                                                                  \
    {                                                                                              \
        u64 n = shift_count(in, args);                                                             \
        const union ir_value *a = args[0], *b = a;                                                 \
        union ir_value r = {{0, 0}};                                                               \
        switch (in->w) {                                                                           \
        case W16: LANES(u16, s16, w, sw, 8, expr);                                                 \
        case W32: LANES(u32, s32, d, sd, 4, expr);                                                 \
        default: LANES(u64, s64, q, sq, 2, expr);                                                  \
        }                                                                                          \
        *out = r;                                                                                  \
    }

SHIFT_ROW(vshl, n >= BITS_ ? 0 : (u64)x << n)
SHIFT_ROW(vshr, n >= BITS_ ? 0 : x >> n)
SHIFT_ROW(vsar, sx >> (n >= BITS_ ? BITS_ - 1 : n))

/* The low 16 bytes of hi:lo >> 8 * n; zeros come in above. */
static union ir_value shift_bytes(const union ir_value *hi, const union ir_value *lo, unsigned n)
{
    union ir_value r;
    for (unsigned k = 0; k < 16; k++) {
        unsigned from = k + n;
        r.b[k] = from < 16 ? lo->b[from] : from < 32 ? hi->b[from - 16] : 0;
    }
    return r;
}

static const union ir_value zero;

VEC_ROW(vshlb)
{
    unsigned n = in->imm & 0xff;
    *out = n > 15 ? zero : shift_bytes(args[0], &zero, 16 - n);
}
VEC_ROW(vshrb)
{
    *out = shift_bytes(&zero, args[0], in->imm & 0xff);
}
VEC_ROW(valign)
{
    *out = shift_bytes(args[0], args[1], in->imm & 0xff);
}

/* ---- moving lanes ---- */

static void pack(const struct ir_insn *in, const union ir_value *const args[4],
                 union ir_value *out, s64 (*sat)(s64, unsigned))
{
    union ir_value r;
    for (unsigned h = 0; h < 2; h++) {
        for (unsigned k = 0; k < 8 && in->w == W16; k++)
            r.b[8 * h + k] = (u8)sat(args[h]->sw[k], 8);
        for (unsigned k = 0; k < 4 && in->w == W32; k++)
            r.w[4 * h + k] = (u16)sat(args[h]->sd[k], 16);
    }
    *out = r;
}

VEC_ROW(vpackss)
{
    pack(in, args, out, sat_signed);
}
VEC_ROW(vpackus)
{
    pack(in, args, out, sat_unsigned);
}

/* Interleaves 8 bytes of a and b from `half` (0 or 8) by lanes. */
static void unpack(const struct ir_insn *in, const union ir_value *const args[4],
                   union ir_value *out, unsigned half)
{
    unsigned n = W_BYTES(in->w);
    union ir_value r;
    for (unsigned k = 0; k < 8 / n; k++) {
        memcpy(r.b + 2 * k * n, args[0]->b + half + k * n, n);
        memcpy(r.b + (2 * k + 1) * n, args[1]->b + half + k * n, n);
    }
    *out = r;
}

VEC_ROW(vunpckl)
{
    unpack(in, args, out, 0);
}
VEC_ROW(vunpckh)
{
    unpack(in, args, out, 8);
}

static void extend(const struct ir_insn *in, const union ir_value *const args[4],
                   union ir_value *out, unsigned by, bool is_signed)
{
    unsigned n = W_BYTES(in->w), to = n * by;
    union ir_value r = {{0, 0}};
    for (unsigned k = 0; k < 16 / to; k++) {
        u64 v = load_le(args[0]->b + k * n, n);
        store_le(r.b + k * to, is_signed ? (u64)sign_extend(v, n * 8) : v, to);
    }
    *out = r;
}

VEC_ROW(vsx)
{
    extend(in, args, out, in->op == IR_vsx2 ? 2 : in->op == IR_vsx4 ? 4 : 8, true);
}
VEC_ROW(vzx)
{
    extend(in, args, out, in->op == IR_vzx2 ? 2 : in->op == IR_vzx4 ? 4 : 8, false);
}

VEC_ROW(vmovlo)
{
    union ir_value r = *args[0];
    memcpy(r.b, args[1]->b, W_BYTES(in->w));
    *out = r;
}
VEC_ROW(vmovhl)
{
    *out = (union ir_value){{args[1]->q[1], args[0]->q[1]}};
}
VEC_ROW(vmovq)
{
    *out = (union ir_value){{args[0]->q[0], 0}};
}

VEC_ROW(vshuf)
{
    union ir_value r;
    for (unsigned k = 0; k < 4; k++)
        r.d[k] = args[0]->d[in->imm >> (2 * k) & 3];
    *out = r;
}

static void shuffle_words(const struct ir_insn *in, const union ir_value *const args[4],
                          union ir_value *out, unsigned first)
{
    union ir_value r = *args[0];
    for (unsigned k = 0; k < 4; k++)
        r.w[first + k] = args[0]->w[first + (in->imm >> (2 * k) & 3)];
    *out = r;
}

VEC_ROW(vshufl)
{
    shuffle_words(in, args, out, 0);
}
VEC_ROW(vshufh)
{
    shuffle_words(in, args, out, 4);
}

VEC_ROW(vshuf2)
{
    const union ir_value *a = args[0], *b = args[1];
    unsigned i = (unsigned)in->imm;
    union ir_value r;
    if (in->aux == VF_PS) {
        for (unsigned k = 0; k < 4; k++)
            r.d[k] = (k < 2 ? a : b)->d[i >> (2 * k) & 3];
    } else {
        r.q[0] = a->q[i & 1];
        r.q[1] = b->q[i >> 1 & 1];
    }
    *out = r;
}

VEC_ROW(vshufb)
{
    union ir_value r;
    for (unsigned k = 0; k < 16; k++) {
        u8 sel = args[1]->b[k];
        r.b[k] = sel & 0x80 ? 0 : args[0]->b[sel & 15];
    }
    *out = r;
}

VEC_ROW(vblendi)
{
    unsigned n = W_BYTES(in->w);
    union ir_value r = *args[0];
    for (unsigned k = 0; k < 16 / n; k++) {
        if (in->imm >> k & 1)
            memcpy(r.b + k * n, args[1]->b + k * n, n);
    }
    *out = r;
}

VEC_ROW(vblendv)
{
    unsigned n = W_BYTES(in->w);
    union ir_value r = *args[0];
    for (unsigned k = 0; k < 16 / n; k++) {
        if (args[2]->b[k * n + n - 1] & 0x80)
            memcpy(r.b + k * n, args[1]->b + k * n, n);
    }
    *out = r;
}

VEC_ROW(vinsps)
{
    union ir_value r = *args[0];
    r.d[in->imm >> 4 & 3] = args[1]->d[in->imm >> 6 & 3];
    for (unsigned k = 0; k < 4; k++) {
        if (in->imm >> k & 1)
            r.d[k] = 0;
    }
    *out = r;
}

VEC_ROW(vmovmsk)
{
    unsigned n = W_BYTES(in->w);
    u64 v = 0;
    for (unsigned k = 0; k < 16 / n; k++)
        v |= (u64)(args[0]->b[k * n + n - 1] >> 7) << k;
    *out = (union ir_value){{v, 0}};
}

VEC_ROW(vextr)
{
    unsigned n = W_BYTES(in->w), k = in->imm & (16 / n - 1);
    u64 v = load_le(args[0]->b + k * n, n);
    *out = (union ir_value){{v, 0}};
}

VEC_ROW(vinsr)
{
    unsigned n = W_BYTES(in->w), k = in->imm & (16 / n - 1);
    union ir_value r = *args[0];
    store_le(r.b + k * n, args[1]->q[0], n);
    *out = r;
}

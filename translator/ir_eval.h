/* What the pure integer and flag ops of the IR mean: the one evaluator behind the constant folder
 * and the portable engine.
 *
 * Values: an integer of width w is zero-extended in a u64; a boolean is 0 or 1; arithmetic flags
 * are their EFLAGS bits (FL_ARITH), the other bits 0.  Everything is inline so that an engine that
 * names op and width as constants gets only that case.
 *
 * Flags that the manual leaves undefined get one fixed value.
 */
#ifndef DRAGOMAN_TRANSLATOR_IR_EVAL_H
#define DRAGOMAN_TRANSLATOR_IR_EVAL_H

#include "base/types.h"
#include "cpu/state.h"
#include "translator/ir.h"

#define EVAL static inline __attribute__((always_inline))

/* The value of a pure op; arg as the op's row says.  divu, divs, remu and rems of operands for
 * which ir_eval_div_faults holds give 0. */
u64 ir_eval(const struct ir_insn *in, const u64 arg[4]);

/* Whether the op is one that ir_eval knows. */
bool ir_eval_pure(unsigned op);

EVAL u64 eval_mask(unsigned w)
{
    return size_mask(W_BYTES(w));
}
EVAL u64 eval_msb(unsigned w, u64 v)
{
    return v >> (W_BITS(w) - 1) & 1;
}
EVAL s64 eval_signed(unsigned w, u64 v)
{
    return sign_extend(v, W_BITS(w));
}

/* ---- flags ---- */

/* SF, ZF and PF of a result (SDM vol. 1, 3.4.3.1); PF looks at the low byte only. */
EVAL u64 eval_szp(unsigned w, u64 r)
{
    u64 f = eval_msb(w, r) << 7 | (u64)(r == 0) << 6;
    return f | (u64)!__builtin_parity((unsigned)r & 0xff) << 2;
}

EVAL u64 eval_flags_add(unsigned w, u64 a, u64 b, u64 c)
{
    u64 m = eval_mask(w), r = (a + b + c) & m;
    u64 carry = c ? r <= a : r < a;
    u64 overflow = eval_msb(w, (a ^ r) & (b ^ r));
    return eval_szp(w, r) | carry | ((a ^ b ^ r) & FL_AF) | overflow << 11;
}

EVAL u64 eval_flags_sub(unsigned w, u64 a, u64 b, u64 c)
{
    u64 m = eval_mask(w), r = (a - b - c) & m;
    u64 carry = c ? a <= b : a < b;
    u64 overflow = eval_msb(w, (a ^ b) & (a ^ r));
    return eval_szp(w, r) | carry | ((a ^ b ^ r) & FL_AF) | overflow << 11;
}

EVAL u64 eval_flags_inc(unsigned w, u64 a, u64 f)
{
    u64 r = (a + 1) & eval_mask(w);
    u64 af = (r & 0xf) == 0 ? FL_AF : 0;
    return eval_szp(w, r) | af | (u64)(r == 1ull << (W_BITS(w) - 1)) << 11 | (f & FL_CF);
}

EVAL u64 eval_flags_dec(unsigned w, u64 a, u64 f)
{
    u64 r = (a - 1) & eval_mask(w);
    u64 af = (a & 0xf) == 0 ? FL_AF : 0;
    return eval_szp(w, r) | af | (u64)(a == 1ull << (W_BITS(w) - 1)) << 11 | (f & FL_CF);
}

/* Condition codes in the order of the opcode map (SDM vol. 2D, B.1.4.7). */
EVAL u64 eval_cc(unsigned cc, u64 f)
{
    u64 v;
    switch (cc >> 1) {
    case 0:
        v = f >> 11;
        break;
    case 1:
        v = f;
        break;
    case 2:
        v = f >> 6;
        break;
    case 3:
        v = f | f >> 6;
        break;
    case 4:
        v = f >> 7;
        break;
    case 5:
        v = f >> 2;
        break;
    case 6:
        v = f >> 7 ^ f >> 11;
        break;
    default:
        v = f >> 6 | (f >> 7 ^ f >> 11);
        break;
    }
    return (v ^ cc) & 1;
}

/* ---- shifts and rotates ---- */

EVAL u64 eval_shl(unsigned w, u64 a, u64 n)
{
    return n >= W_BITS(w) ? 0 : (a << n) & eval_mask(w);
}
EVAL u64 eval_shr(unsigned w, u64 a, u64 n)
{
    return n >= W_BITS(w) ? 0 : a >> n;
}
EVAL u64 eval_sar(unsigned w, u64 a, u64 n)
{
    return (u64)(eval_signed(w, a) >> (n > 63 ? 63 : n)) & eval_mask(w);
}
EVAL u64 eval_rol(unsigned w, u64 a, u64 n)
{
    n &= W_BITS(w) - 1;
    return n ? (a << n | a >> (W_BITS(w) - n)) & eval_mask(w) : a;
}
EVAL u64 eval_ror(unsigned w, u64 a, u64 n)
{
    return eval_rol(w, a, (W_BITS(w) - (n & (W_BITS(w) - 1))) & (W_BITS(w) - 1));
}

/* Carry and a, as one number of width + 1 bits with the carry on top, rotated left. */
EVAL u128 eval_rotate_carry(unsigned w, u64 a, u64 n, u64 c)
{
    unsigned bits = W_BITS(w) + 1;
    u128 v = (u128)c << W_BITS(w) | a, m = ((u128)1 << bits) - 1;
    n %= bits;
    return n ? (v << n | v >> (bits - n)) & m : v;
}
EVAL u64 eval_rcl(unsigned w, u64 a, u64 n, u64 c)
{
    return (u64)eval_rotate_carry(w, a, n, c) & eval_mask(w);
}
EVAL u64 eval_rcr(unsigned w, u64 a, u64 n, u64 c)
{
    unsigned bits = W_BITS(w) + 1;
    return (u64)eval_rotate_carry(w, a, bits - n % bits, c) & eval_mask(w);
}

/* a:b:a, three times the width, of which double shifts take a part: at 16 bits, counts above 16
 * bring the destination in again, as processors do (SDM leaves it undefined).  Only for n within
 * twice the width. */
EVAL u64 eval_shld(unsigned w, u64 a, u64 b, u64 n)
{
    unsigned bits = W_BITS(w);
    if (n == 0)
        return a;
    if (n < bits)
        return (a << n | b >> (bits - n)) & eval_mask(w);
    n -= bits;
    if (n == 0)
        return b;
    return n < bits ? (b << n | a >> (bits - n)) & eval_mask(w) : 0;
}
EVAL u64 eval_shrd(unsigned w, u64 a, u64 b, u64 n)
{
    unsigned bits = W_BITS(w);
    if (n == 0)
        return a;
    if (n < bits)
        return (a >> n | b << (bits - n)) & eval_mask(w);
    n -= bits;
    if (n == 0)
        return b;
    return n < bits ? (b >> n | a << (bits - n)) & eval_mask(w) : 0;
}

EVAL u64 eval_flags_shl(unsigned w, u64 a, u64 n, u64 f)
{
    if (n == 0)
        return f;
    u64 r = eval_shl(w, a, n);
    u64 carry = n <= W_BITS(w) ? eval_shr(w, a, W_BITS(w) - n) & 1 : 0;
    return eval_szp(w, r) | carry | (carry ^ eval_msb(w, r)) << 11;
}
EVAL u64 eval_flags_shr(unsigned w, u64 a, u64 n, u64 f)
{
    if (n == 0)
        return f;
    u64 r = eval_shr(w, a, n), carry = eval_shr(w, a, n - 1) & 1;
    return eval_szp(w, r) | carry | (n == 1 ? eval_msb(w, a) << 11 : 0);
}
EVAL u64 eval_flags_sar(unsigned w, u64 a, u64 n, u64 f)
{
    if (n == 0)
        return f;
    return eval_szp(w, eval_sar(w, a, n)) | (eval_sar(w, a, n - 1) & 1);
}
/* OF of the two top bits, as rotates to the right and SHRD set it. */
EVAL u64 eval_top_differ(unsigned w, u64 r)
{
    return (r >> (W_BITS(w) - 1) ^ r >> (W_BITS(w) - 2)) & 1;
}
EVAL u64 eval_flags_rol(unsigned w, u64 a, u64 n, u64 f)
{
    if (n == 0)
        return f;
    u64 r = eval_rol(w, a, n), carry = r & 1;
    return (f & ~(u64)(FL_CF | FL_OF)) | carry | (carry ^ eval_msb(w, r)) << 11;
}
EVAL u64 eval_flags_ror(unsigned w, u64 a, u64 n, u64 f)
{
    if (n == 0)
        return f;
    u64 r = eval_ror(w, a, n);
    return (f & ~(u64)(FL_CF | FL_OF)) | eval_msb(w, r) | eval_top_differ(w, r) << 11;
}
EVAL u64 eval_flags_rcl(unsigned w, u64 a, u64 n, u64 f)
{
    if (n == 0)
        return f;
    u128 v = eval_rotate_carry(w, a, n, f & FL_CF);
    u64 carry = (u64)(v >> W_BITS(w)) & 1;
    return (f & ~(u64)(FL_CF | FL_OF)) | carry | (carry ^ eval_msb(w, (u64)v & eval_mask(w))) << 11;
}
EVAL u64 eval_flags_rcr(unsigned w, u64 a, u64 n, u64 f)
{
    if (n == 0)
        return f;
    unsigned bits = W_BITS(w) + 1;
    u128 v = eval_rotate_carry(w, a, bits - n % bits, f & FL_CF);
    u64 carry = (u64)(v >> W_BITS(w)) & 1;
    return (f & ~(u64)(FL_CF | FL_OF)) | carry | eval_top_differ(w, (u64)v & eval_mask(w)) << 11;
}
EVAL u64 eval_flags_shld(unsigned w, u64 a, u64 b, u64 n, u64 f)
{
    if (n == 0)
        return f;
    unsigned bits = W_BITS(w);
    u64 r = eval_shld(w, a, b, n);
    u64 carry = (n <= bits ? a >> (bits - n) : n <= 2 * bits ? b >> (2 * bits - n) : 0) & 1;
    return eval_szp(w, r) | carry | (carry ^ eval_msb(w, r)) << 11;
}
EVAL u64 eval_flags_shrd(unsigned w, u64 a, u64 b, u64 n, u64 f)
{
    if (n == 0)
        return f;
    unsigned bits = W_BITS(w);
    u64 r = eval_shrd(w, a, b, n);
    u64 carry = (n <= bits ? a >> (n - 1) : n <= 2 * bits ? b >> (n - 1 - bits) : 0) & 1;
    return eval_szp(w, r) | carry | eval_top_differ(w, r) << 11;
}

/* ---- multiplication and division ---- */

EVAL u64 eval_mulhu(unsigned w, u64 a, u64 b)
{
    return (u64)((u128)a * b >> W_BITS(w)) & eval_mask(w);
}
EVAL u64 eval_mulhs(unsigned w, u64 a, u64 b)
{
    s128 p = (s128)eval_signed(w, a) * eval_signed(w, b);
    return (u64)(p >> W_BITS(w)) & eval_mask(w);
}

struct eval_quotient {
    u64 q, r;
    bool fault; /* #DE */
};

EVAL struct eval_quotient eval_divu(unsigned w, u64 a, u64 b, u64 c)
{
    if (c == 0 || b >= c)
        return (struct eval_quotient){0, 0, true};
    u128 n = (u128)b << W_BITS(w) | a;
    return (struct eval_quotient){(u64)(n / c), (u64)(n % c), false};
}

EVAL struct eval_quotient eval_divs(unsigned w, u64 a, u64 b, u64 c)
{
    unsigned bits = W_BITS(w);
    s128 n = (s128)((u128)b << bits | a) << (128 - 2 * bits) >> (128 - 2 * bits);
    s64 d = eval_signed(w, c);
    /* Magnitudes, because the most negative dividend has no negation in 128 bits. */
    u128 nm = n < 0 ? -(u128)n : (u128)n;
    u64 dm = d < 0 ? -(u64)d : (u64)d;
    if (dm == 0)
        return (struct eval_quotient){0, 0, true};
    u128 q = nm / dm;
    bool negative = (n < 0) != (d < 0);
    if (q > ((u128)1 << (bits - 1)) - !negative)
        return (struct eval_quotient){0, 0, true};
    u64 r = (u64)(nm % dm);
    return (struct eval_quotient){(u64)(negative ? -q : q) & eval_mask(w),
                                  (n < 0 ? -r : r) & eval_mask(w), false};
}

EVAL bool ir_eval_div_faults(unsigned op, unsigned w, u64 a, u64 b, u64 c)
{
    if (op == IR_divu || op == IR_remu)
        return eval_divu(w, a, b, c).fault;
    return eval_divs(w, a, b, c).fault;
}

/* ---- bits ---- */

EVAL u64 eval_pdep(u64 a, u64 mask)
{
    u64 r = 0;
    for (; mask; mask &= mask - 1, a >>= 1)
        r |= a & 1 ? mask & -mask : 0;
    return r;
}

EVAL u64 eval_pext(u64 a, u64 mask)
{
    u64 r = 0;
    for (unsigned i = 0; mask; mask &= mask - 1, i++)
        r |= a & mask & -mask ? 1ull << i : 0;
    return r;
}

EVAL u64 eval_bswap(unsigned w, u64 a)
{
    return __builtin_bswap64(a) >> (64 - W_BITS(w));
}
EVAL u64 eval_clz(unsigned w, u64 a)
{
    return a ? (u64)__builtin_clzll(a) - (64 - W_BITS(w)) : W_BITS(w);
}
EVAL u64 eval_ctz(unsigned w, u64 a)
{
    return a ? (u64)__builtin_ctzll(a) : W_BITS(w);
}
/* CRC32 instruction: polynomial 11EDC6F41h, bits reflected, no inversion (SDM vol. 2A, CRC32). */
static inline u64 eval_crc32c(u64 crc, u64 data, unsigned bytes)
{
    u32 c = (u32)crc;
    for (unsigned i = 0; i < bytes; i++) {
        c ^= (u32)(data >> (8 * i)) & 0xff;
        for (unsigned k = 0; k < 8; k++)
            c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
    }
    return c;
}

EVAL u64 eval_icmp(unsigned w, unsigned rel, u64 a, u64 b)
{
    switch (rel) {
    case IC_EQ:
        return a == b;
    case IC_NE:
        return a != b;
    case IC_LTU:
        return a < b;
    case IC_LEU:
        return a <= b;
    case IC_LTS:
        return eval_signed(w, a) < eval_signed(w, b);
    default:
        return eval_signed(w, a) <= eval_signed(w, b);
    }
}

EVAL u64 eval_deposit(unsigned aux, u64 imm, u64 a, u64 b)
{
    u64 m = eval_mask(aux) << imm;
    return (a & ~m) | b << imm;
}

/* ---- the ops by class; each returns 0 for an op of another class ---- */

EVAL u64 eval_integer(unsigned op, unsigned w, unsigned aux, u64 imm, u64 a, u64 b, u64 c)
{
    u64 m = eval_mask(w);
    switch (op) {
    case IR_const:
    case IR_pc:
        return imm;
    case IR_zext:
        return a;
    case IR_sext:
        return (u64)eval_signed(aux, a) & m;
    case IR_trunc:
        return a >> imm & m;
    case IR_deposit:
        return eval_deposit(aux, imm, a, b);
    case IR_add:
        return (a + b) & m;
    case IR_sub:
        return (a - b) & m;
    case IR_adc:
        return (a + b + c) & m;
    case IR_sbb:
        return (a - b - c) & m;
    case IR_and:
        return a & b;
    case IR_or:
        return a | b;
    case IR_xor:
        return a ^ b;
    case IR_not:
        return ~a & m;
    case IR_neg:
        return -a & m;
    case IR_mul:
        return (a * b) & m;
    case IR_mulhu:
        return eval_mulhu(w, a, b);
    case IR_mulhs:
        return eval_mulhs(w, a, b);
    case IR_divu:
        return eval_divu(w, a, b, c).q;
    case IR_remu:
        return eval_divu(w, a, b, c).r;
    case IR_divs:
        return eval_divs(w, a, b, c).q;
    case IR_rems:
        return eval_divs(w, a, b, c).r;
    case IR_icmp:
        return eval_icmp(w, aux, a, b);
    case IR_select:
    case IR_selectf:
        return a ? b : c;
    default:
        return 0;
    }
}

EVAL u64 eval_bits(unsigned op, unsigned w, unsigned aux, u64 a, u64 b, u64 c)
{
    switch (op) {
    case IR_shl:
        return eval_shl(w, a, b);
    case IR_shr:
        return eval_shr(w, a, b);
    case IR_sar:
        return eval_sar(w, a, b);
    case IR_rol:
        return eval_rol(w, a, b);
    case IR_ror:
        return eval_ror(w, a, b);
    case IR_rcl:
        return eval_rcl(w, a, b, c);
    case IR_rcr:
        return eval_rcr(w, a, b, c);
    case IR_shld:
        return eval_shld(w, a, b, c);
    case IR_shrd:
        return eval_shrd(w, a, b, c);
    case IR_bswap:
        return eval_bswap(w, a);
    case IR_clz:
        return eval_clz(w, a);
    case IR_ctz:
        return eval_ctz(w, a);
    case IR_popcnt:
        return (u64)__builtin_popcountll(a);
    case IR_pdep:
        return eval_pdep(a, b);
    case IR_pext:
        return eval_pext(a, b);
    case IR_crc32c:
        return eval_crc32c(a, b, W_BYTES(aux));
    default:
        return 0;
    }
}

EVAL u64 eval_flags(unsigned op, unsigned w, unsigned aux, u64 imm, u64 a, u64 b, u64 c, u64 d)
{
    switch (op) {
    case IR_setcc:
        return eval_cc(aux, a);
    case IR_fadd:
        return eval_flags_add(w, a, b, 0);
    case IR_fsub:
        return eval_flags_sub(w, a, b, 0);
    case IR_fadc:
        return eval_flags_add(w, a, b, c);
    case IR_fsbb:
        return eval_flags_sub(w, a, b, c);
    case IR_flogic:
        return eval_szp(w, a);
    case IR_finc:
        return eval_flags_inc(w, a, b);
    case IR_fdec:
        return eval_flags_dec(w, a, b);
    case IR_fshl:
        return eval_flags_shl(w, a, b, c);
    case IR_fshr:
        return eval_flags_shr(w, a, b, c);
    case IR_fsar:
        return eval_flags_sar(w, a, b, c);
    case IR_frol:
        return eval_flags_rol(w, a, b, c);
    case IR_fror:
        return eval_flags_ror(w, a, b, c);
    case IR_frcl:
        return eval_flags_rcl(w, a, b, c);
    case IR_frcr:
        return eval_flags_rcr(w, a, b, c);
    case IR_fshld:
        return eval_flags_shld(w, a, b, c, d);
    case IR_fshrd:
        return eval_flags_shrd(w, a, b, c, d);
    case IR_fmulu:
        return eval_szp(w, a) | (b ? FL_CF | FL_OF : 0);
    case IR_fmuls:
        return eval_szp(w, a) | (b != (eval_msb(w, a) ? eval_mask(w) : 0) ? FL_CF | FL_OF : 0);
    case IR_fbit:
        return (a & ~imm) | (b ? imm & FL_ARITH : 0);
    case IR_fbits:
    case IR_bitsf:
        return a & FL_ARITH;
    default:
        return 0;
    }
}

/* The ops fall into the classes by their order in ir.def. */
EVAL u64 eval_op(unsigned op, unsigned w, unsigned aux, u64 imm, u64 a, u64 b, u64 c, u64 d)
{
    if (op >= IR_shl && op <= IR_crc32c)
        return eval_bits(op, w, aux, a, b, c);
    if (op == IR_setcc || (op >= IR_fadd && op <= IR_bitsf))
        return eval_flags(op, w, aux, imm, a, b, c, d);
    return eval_integer(op, w, aux, imm, a, b, c);
}

#endif

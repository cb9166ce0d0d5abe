/* Shifts, rotates, bit tests and scans, BMI1 and BMI2, and the instructions that move flags about
 * (SDM vol. 1, 7.3.6, 7.3.7, 7.3.14).
 *
 * A count that is an immediate becomes a constant and leaves no trace of the old flags; a count in
 * CL may be 0 and then keeps them all.
 */
#include "translator/lift.h"

/* ---- shifts and rotates ---- */

struct count {
    ir_ref ref;   /* W8, masked to 5 or 6 bits */
    bool known;   /* an immediate */
    unsigned n;   /* its value */
};

static struct count get_count(struct lift *l, const struct insn *in, unsigned i, unsigned w)
{
    unsigned mask = w == W64 ? 63 : 31;
    struct count c = {0};
    if (in->opnd[i].kind == OPND_REG) {
        c.ref = ir_2(l->ir, IR_and, W8, lift_get(l, RCX, W8), lift_count(l, mask));
        return c;
    }
    c.known = true;
    c.n = (unsigned)in->imm & mask;
    c.ref = lift_count(l, c.n);
    return c;
}

/* A shift by 0 changes nothing, but reads, writes and clears the upper half as any other. */
static void shift_nothing(struct lift *l, const struct insn *in)
{
    struct lift_place p;
    ir_ref a = lift_rmw_read(l, in, 0, &p);
    lift_rmw_write(l, in, 0, &p, a);
}

bool lift_shift(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    struct count c = get_count(l, in, 1, w);
    if (c.known && !c.n) {
        shift_nothing(l, in);
        return true;
    }
    enum ir_op op = in->op == OP_shl ? IR_shl : in->op == OP_shr ? IR_shr : IR_sar;
    enum ir_op flags = in->op == OP_shl ? IR_fshl : in->op == OP_shr ? IR_fshr : IR_fsar;
    struct lift_place p;
    ir_ref a = lift_rmw_read(l, in, 0, &p);
    lift_rmw_write(l, in, 0, &p, ir_2(l->ir, op, w, a, c.ref));
    lift_putf_op(l, flags, w, a, c.ref, c.known ? lift_noflags(l) : lift_getf(l));
    return true;
}

bool lift_rotate(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    struct count c = get_count(l, in, 1, w);
    if (c.known && !c.n) {
        shift_nothing(l, in);
        return true;
    }
    bool left = in->op == OP_rol;
    struct lift_place p;
    ir_ref a = lift_rmw_read(l, in, 0, &p);
    lift_rmw_write(l, in, 0, &p, ir_2(l->ir, left ? IR_rol : IR_ror, w, a, c.ref));
    lift_putf_op(l, left ? IR_frol : IR_fror, w, a, c.ref, lift_getf(l));
    return true;
}

bool lift_rotate_carry(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    struct count c = get_count(l, in, 1, w);
    if (c.known && !c.n) {
        shift_nothing(l, in);
        return true;
    }
    bool left = in->op == OP_rcl;
    struct lift_place p;
    ir_ref a = lift_rmw_read(l, in, 0, &p), f = lift_getf(l);
    ir_ref carry = ir_setcc(l->ir, 2, f);
    lift_rmw_write(l, in, 0, &p, ir_3(l->ir, left ? IR_rcl : IR_rcr, w, a, c.ref, carry));
    lift_putf_op(l, left ? IR_frcl : IR_frcr, w, a, c.ref, f);
    return true;
}

bool lift_double_shift(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    struct count c = get_count(l, in, 2, w);
    if (c.known && !c.n) {
        shift_nothing(l, in);
        return true;
    }
    bool left = in->op == OP_shld;
    struct lift_place p;
    ir_ref a = lift_rmw_read(l, in, 0, &p), b = lift_read(l, in, 1);
    lift_rmw_write(l, in, 0, &p, ir_3(l->ir, left ? IR_shld : IR_shrd, w, a, b, c.ref));
    ir_ref f = c.known ? lift_noflags(l) : lift_getf(l);
    lift_putf(l, ir_emit(l->ir, left ? IR_fshld : IR_fshrd, w, 0, 0, a, b, c.ref, f));
    return true;
}

/* ---- bit tests ---- */

/* Linear address of the unit that holds the bit: with a register as index it reaches far beyond
 * the operand, in both directions (SDM vol. 2, BT). */
static ir_ref bit_address(struct lift *l, const struct insn *in, unsigned w, bool store)
{
    ir_ref off = lift_ea(l, in);
    if (in->opnd[1].kind == OPND_REG) {
        ir_ref index = ir_sext(l->ir, W64, w, lift_read(l, in, 1));
        ir_ref unit = ir_2(l->ir, IR_sar, W64, index, lift_count(l, 3 + w));
        unit = ir_2(l->ir, IR_shl, W64, unit, lift_count(l, w));
        off = lift_wrap(l, ir_2(l->ir, IR_add, W64, off, unit), in->addrsize);
    }
    return lift_segment(l, in->seg, off, W_BYTES(w), store);
}

/* 1 << bit number, modulo the operand's width. */
static ir_ref bit_mask(struct lift *l, const struct insn *in, unsigned w)
{
    unsigned mask = W_BITS(w) - 1;
    if (in->opnd[1].kind != OPND_REG)
        return lift_const(l, w, 1ull << (in->imm & mask));
    ir_ref n = ir_2(l->ir, IR_and, W8, lift_get(l, in->opnd[1].reg, W8), lift_count(l, mask));
    return ir_2(l->ir, IR_shl, w, lift_const(l, w, 1), n);
}

bool lift_bittest(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    bool mem = lift_is_mem(in, 0), store = in->op != OP_bt;
    ir_ref addr = mem ? bit_address(l, in, w, store) : 0, old;
    ir_ref mask = bit_mask(l, in, w);
    if (in->lock) {
        unsigned at = in->op == OP_bts ? AT_OR : in->op == OP_btc ? AT_XOR : AT_AND;
        ir_ref b = in->op == OP_btr ? ir_1(l->ir, IR_not, w, mask) : mask;
        old = ir_emit(l->ir, IR_atomic, w, at, lift_mf(in), addr, b, 0, 0);
    } else {
        old = mem ? lift_ld(l, w, addr, lift_mf(in) | (store ? MF_RMW : 0)) : lift_read(l, in, 0);
    }
    if (store && !in->lock) {
        ir_ref v;
        if (in->op == OP_btr)
            v = ir_2(l->ir, IR_and, w, old, ir_1(l->ir, IR_not, w, mask));
        else
            v = ir_2(l->ir, in->op == OP_bts ? IR_or : IR_xor, w, old, mask);
        if (mem)
            lift_st(l, w, addr, v, lift_mf(in));
        else
            lift_write(l, in, 0, v);
    }
    ir_ref bit = ir_icmp(l->ir, w, IC_NE, ir_2(l->ir, IR_and, w, old, mask), lift_const(l, w, 0));
    lift_putf(l, lift_fbit(l, lift_getf(l), FL_CF, bit));
    return true;
}

/* ---- scans and counts ---- */

/* A source of 0 leaves the destination alone, whole, as every processor does. */
static void bit_scan(struct lift *l, const struct insn *in, bool forward)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref src = lift_read(l, in, 1), n;
    if (forward)
        n = ir_1(l->ir, IR_ctz, w, src);
    else
        n = ir_2(l->ir, IR_xor, w, ir_1(l->ir, IR_clz, w, src), lift_const(l, w, W_BITS(w) - 1));
    ir_ref zero = ir_icmp(l->ir, w, IC_EQ, src, lift_const(l, w, 0));
    unsigned reg = in->opnd[0].reg;
    ir_ref before = ir_get(l->ir, reg), after;
    if (w >= W32)
        after = ir_zext(l->ir, W64, w, n);
    else
        after = ir_emit(l->ir, IR_deposit, W64, w, 0, before, n, 0, 0);
    ir_put(l->ir, reg, ir_3(l->ir, IR_select, W64, zero, before, after));
    lift_putf_op(l, IR_flogic, w, src, 0, 0);
}

bool lift_bitscan(struct lift *l, const struct insn *in)
{
    bit_scan(l, in, in->op == OP_bsf);
    return true;
}

bool lift_lzcnt(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    bool leading = in->op == OP_lzcnt;
    if (!lift_has(l, leading ? ISA_LZCNT : ISA_BMI1)) {
        bit_scan(l, in, !leading);
        return true;
    }
    ir_ref src = lift_read(l, in, 1);
    ir_ref n = ir_1(l->ir, leading ? IR_clz : IR_ctz, w, src);
    ir_ref zero = lift_const(l, w, 0);
    ir_ref cf = ir_icmp(l->ir, w, IC_EQ, src, zero), zf = ir_icmp(l->ir, w, IC_EQ, n, zero);
    lift_write(l, in, 0, n);
    lift_putf(l, lift_fbit(l, lift_fbit(l, lift_noflags(l), FL_CF, cf), FL_ZF, zf));
    return true;
}

bool lift_popcnt(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref src = lift_read(l, in, 1);
    ir_ref zf = ir_icmp(l->ir, w, IC_EQ, src, lift_const(l, w, 0));
    lift_write(l, in, 0, ir_1(l->ir, IR_popcnt, w, src));
    lift_putf(l, lift_fbit(l, lift_noflags(l), FL_ZF, zf));
    return true;
}

/* ---- BMI1, BMI2 (SDM vol. 1, 7.3.7 and vol. 2) ---- */

bool lift_andn(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref b = lift_read(l, in, 2), a = ir_1(l->ir, IR_not, w, lift_read(l, in, 1));
    ir_ref r = ir_2(l->ir, IR_and, w, a, b);
    lift_write(l, in, 0, r);
    lift_putf_op(l, IR_flogic, w, r, 0, 0);
    return true;
}

/* The lowest one bit: cleared (BLSR), with all below it (BLSMSK), alone (BLSI). */
bool lift_bls(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref a = lift_read(l, in, 1), zero = lift_const(l, w, 0), r;
    if (in->op == OP_blsi)
        r = ir_2(l->ir, IR_and, w, a, ir_1(l->ir, IR_neg, w, a));
    else
        r = ir_2(l->ir, in->op == OP_blsr ? IR_and : IR_xor, w, a,
                 ir_2(l->ir, IR_sub, w, a, lift_const(l, w, 1)));
    ir_ref carry = ir_icmp(l->ir, w, in->op == OP_blsi ? IC_NE : IC_EQ, a, zero);
    lift_write(l, in, 0, r);
    lift_putf(l, lift_fbit(l, ir_1(l->ir, IR_flogic, w, r), FL_CF, carry));
    return true;
}

/* a with only its low n bits (n of W8; all of them when n is the width or more), and whether n is
 * beyond the width's last bit. */
static ir_ref low_bits(struct lift *l, unsigned w, ir_ref a, ir_ref n, ir_ref *beyond)
{
    ir_ref count = ir_2(l->ir, IR_and, W8, n, lift_count(l, W_BITS(w) - 1));
    ir_ref high = ir_2(l->ir, IR_shl, w, lift_const(l, w, ~0ull), count);
    *beyond = ir_icmp(l->ir, W8, IC_LTU, lift_const(l, W8, W_BITS(w) - 1), n);
    ir_ref low = ir_2(l->ir, IR_and, w, a, ir_1(l->ir, IR_not, w, high));
    return ir_3(l->ir, IR_select, w, *beyond, a, low);
}

bool lift_bzhi(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref a = lift_read(l, in, 1), n = lift_get(l, in->opnd[2].reg, W8), beyond;
    ir_ref r = low_bits(l, w, a, n, &beyond);
    lift_write(l, in, 0, r);
    lift_putf(l, lift_fbit(l, ir_1(l->ir, IR_flogic, w, r), FL_CF, beyond));
    return true;
}

bool lift_bextr(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref a = lift_read(l, in, 1), control = lift_get(l, in->opnd[2].reg, W16), beyond;
    ir_ref start = ir_trunc(l->ir, W8, W16, control);
    ir_ref n = ir_emit(l->ir, IR_trunc, W8, W16, 8, control, 0, 0, 0);
    ir_ref count = ir_2(l->ir, IR_and, W8, start, lift_count(l, W_BITS(w) - 1));
    ir_ref past = ir_icmp(l->ir, W8, IC_LTU, lift_const(l, W8, W_BITS(w) - 1), start);
    ir_ref v = ir_3(l->ir, IR_select, w, past, lift_const(l, w, 0),
                    ir_2(l->ir, IR_shr, w, a, count));
    ir_ref r = low_bits(l, w, v, n, &beyond);
    lift_write(l, in, 0, r);
    lift_putf_op(l, IR_flogic, w, r, 0, 0);
    return true;
}

/* The high half comes last: it wins when both go to one register. */
bool lift_mulx(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref b = lift_read(l, in, 2), a = lift_get(l, RDX, w);
    ir_ref low = ir_2(l->ir, IR_mul, w, a, b), high = ir_2(l->ir, IR_mulhu, w, a, b);
    lift_write(l, in, 1, low);
    lift_write(l, in, 0, high);
    return true;
}

bool lift_pdep(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref mask = lift_read(l, in, 2), a = lift_read(l, in, 1);
    lift_write(l, in, 0, ir_2(l->ir, in->op == OP_pdep ? IR_pdep : IR_pext, w, a, mask));
    return true;
}

/* Shifts and rotates without flags. */
bool lift_shiftx(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0), mask = W_BITS(w) - 1;
    enum ir_op op = in->op == OP_rorx   ? IR_ror
                    : in->op == OP_shlx ? IR_shl
                    : in->op == OP_shrx ? IR_shr
                                        : IR_sar;
    ir_ref a = lift_read(l, in, 1), n;
    if (in->op == OP_rorx)
        n = lift_count(l, (unsigned)in->imm & mask);
    else
        n = ir_2(l->ir, IR_and, W8, lift_get(l, in->opnd[2].reg, W8), lift_count(l, mask));
    lift_write(l, in, 0, ir_2(l->ir, op, w, a, n));
    return true;
}

/* ---- flags ---- */

#define FL_LOW (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF)

bool lift_lahf(struct lift *l, const struct insn *in)
{
    ir_ref bits = ir_1(l->ir, IR_bitsf, W32, lift_getf(l));
    bits = ir_2(l->ir, IR_and, W32, bits, lift_const(l, W32, FL_LOW));
    bits = ir_2(l->ir, IR_or, W32, bits, lift_const(l, W32, FL_FIXED));
    ir_ref ah = ir_trunc(l->ir, W8, W32, bits);
    ir_put(l->ir, RAX, ir_emit(l->ir, IR_deposit, W64, W8, 8, ir_get(l->ir, RAX), ah, 0, 0));
    return true;
}

bool lift_sahf(struct lift *l, const struct insn *in)
{
    ir_ref ah = ir_emit(l->ir, IR_trunc, W8, W64, 8, ir_get(l->ir, RAX), 0, 0, 0);
    ir_ref low = ir_2(l->ir, IR_and, W32, ir_zext(l->ir, W32, W8, ah), lift_const(l, W32, FL_LOW));
    ir_ref of = ir_2(l->ir, IR_and, W32, ir_1(l->ir, IR_bitsf, W32, lift_getf(l)),
                     lift_const(l, W32, FL_OF));
    lift_putf(l, ir_1(l->ir, IR_fbits, W32, ir_2(l->ir, IR_or, W32, low, of)));
    return true;
}

bool lift_flagop(struct lift *l, const struct insn *in)
{
    ir_ref f = lift_getf(l), b;
    if (in->op == OP_cmc)
        b = ir_setcc(l->ir, 3, f);
    else
        b = lift_const(l, W8, in->op == OP_stc);
    lift_putf(l, lift_fbit(l, f, FL_CF, b));
    return true;
}

bool lift_salc(struct lift *l, const struct insn *in)
{
    ir_ref v = ir_3(l->ir, IR_select, W8, lift_carry(l), lift_const(l, W8, 0xff),
                    lift_const(l, W8, 0));
    lift_put(l, RAX, W8, v);
    return true;
}

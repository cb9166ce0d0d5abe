/* Integer instructions of the general-purpose map: arithmetic, logic, moves, exchanges, products
 * and quotients (SDM vol. 1, 7.3.1 to 7.3.3).
 *
 * LOCKed forms become one atomic op each.  Where the manual leaves flags undefined, they are what
 * most processors give.  Left out: shifts and bit instructions (lift_bits.c), moves of system
 * registers (lift_system.c).
 */
#include "translator/lift.h"

/* ---- two operands, six flags ---- */

struct alu {
    u8 op, flags; /* IR ops */
    u8 atomic;    /* AT_ */
    bool carry;   /* takes CF */
    bool logic;   /* flags come from the result */
    bool discard; /* the result is only for the flags */
};

static struct alu alu_of(unsigned op)
{
    switch (op) {
    case OP_add: return (struct alu){IR_add, IR_fadd, AT_ADD, false, false, false};
    case OP_adc: return (struct alu){IR_adc, IR_fadc, AT_ADD, true, false, false};
    case OP_sub: return (struct alu){IR_sub, IR_fsub, AT_SUB, false, false, false};
    case OP_sbb: return (struct alu){IR_sbb, IR_fsbb, AT_SUB, true, false, false};
    case OP_cmp: return (struct alu){IR_sub, IR_fsub, AT_SUB, false, false, true};
    case OP_and: return (struct alu){IR_and, IR_flogic, AT_AND, false, true, false};
    case OP_test: return (struct alu){IR_and, IR_flogic, AT_AND, false, true, true};
    case OP_or: return (struct alu){IR_or, IR_flogic, AT_OR, false, true, false};
    default: return (struct alu){IR_xor, IR_flogic, AT_XOR, false, true, false};
    }
}

static void alu_flags(struct lift *l, const struct alu *k, unsigned w, ir_ref a, ir_ref b,
                      ir_ref carry, ir_ref result)
{
    if (k->logic)
        lift_putf_op(l, k->flags, w, result, 0, 0);
    else
        lift_putf_op(l, k->flags, w, a, b, carry);
}

bool lift_alu(struct lift *l, const struct insn *in)
{
    struct alu k = alu_of(in->op);
    unsigned w = lift_opnd_width(in, 0);
    if (k.discard) {
        ir_ref a = lift_read(l, in, 0), b = lift_read_w(l, in, 1, w);
        alu_flags(l, &k, w, a, b, 0, k.logic ? ir_2(l->ir, IR_and, w, a, b) : 0);
        return true;
    }
    ir_ref b = lift_read_w(l, in, 1, w);
    ir_ref carry = k.carry ? lift_carry(l) : 0;
    ir_ref a, result;
    if (in->lock) {
        ir_ref addr = lift_linear(l, in, W_BYTES(w), true);
        ir_ref change = b;
        if (k.carry)
            change = ir_2(l->ir, IR_add, w, b, ir_zext(l->ir, w, W8, carry));
        a = ir_emit(l->ir, IR_atomic, w, k.atomic, lift_mf(in), addr, change, 0, 0);
        result = k.logic ? ir_2(l->ir, k.op, w, a, b) : 0;
    } else {
        struct lift_place p;
        a = lift_rmw_read(l, in, 0, &p);
        result = ir_3(l->ir, k.op, w, a, b, carry);
        lift_rmw_write(l, in, 0, &p, result);
    }
    alu_flags(l, &k, w, a, b, carry, result);
    return true;
}

/* ADCX, ADOX: two independent chains of carries, in CF and in OF. */
bool lift_adcx(struct lift *l, const struct insn *in)
{
    bool overflow = in->op == OP_adox;
    unsigned w = lift_opnd_width(in, 0);
    ir_ref b = lift_read(l, in, 1), a = lift_read(l, in, 0), f = lift_getf(l);
    ir_ref carry = ir_setcc(l->ir, overflow ? 0 : 2, f);
    lift_write(l, in, 0, ir_3(l->ir, IR_adc, w, a, b, carry));
    ir_ref out = ir_setcc(l->ir, 2, ir_3(l->ir, IR_fadc, w, a, b, carry));
    lift_putf(l, lift_fbit(l, f, overflow ? FL_OF : FL_CF, out));
    return true;
}

bool lift_incdec(struct lift *l, const struct insn *in)
{
    bool inc = in->op == OP_inc;
    unsigned w = lift_opnd_width(in, 0);
    ir_ref one = lift_const(l, w, 1), a;
    if (in->lock) {
        ir_ref addr = lift_linear(l, in, W_BYTES(w), true);
        a = ir_emit(l->ir, IR_atomic, w, inc ? AT_ADD : AT_SUB, lift_mf(in), addr, one, 0,
                    0);
    } else {
        struct lift_place p;
        a = lift_rmw_read(l, in, 0, &p);
        lift_rmw_write(l, in, 0, &p, ir_2(l->ir, inc ? IR_add : IR_sub, w, a, one));
    }
    lift_putf_op(l, inc ? IR_finc : IR_fdec, w, a, lift_getf(l), 0);
    return true;
}

bool lift_not(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    if (in->lock) {
        ir_ref addr = lift_linear(l, in, W_BYTES(w), true);
        ir_emit(l->ir, IR_atomic, w, AT_XOR, lift_mf(in), addr, lift_const(l, w, ~0ull), 0, 0);
        return true;
    }
    struct lift_place p;
    ir_ref a = lift_rmw_read(l, in, 0, &p);
    lift_rmw_write(l, in, 0, &p, ir_1(l->ir, IR_not, w, a));
    return true;
}

bool lift_neg(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    struct lift_place p;
    ir_ref a = lift_rmw_read(l, in, 0, &p);
    ir_ref result = ir_1(l->ir, IR_neg, w, a);
    if (in->lock) {
        /* No atomic op subtracts from a constant: try once, and begin the instruction again if
         * another processor came between. */
        ir_ref old = ir_emit(l->ir, IR_cmpxchg, w, 0, lift_mf(in), p.addr, a, result, 0);
        lift_exit_if(l, ir_icmp(l->ir, w, IC_NE, old, a), l->rip);
    } else {
        lift_rmw_write(l, in, 0, &p, result);
    }
    lift_putf_op(l, IR_fsub, w, lift_const(l, w, 0), a, 0);
    return true;
}

/* ---- moves ---- */

bool lift_mov(struct lift *l, const struct insn *in)
{
    for (unsigned i = 0; i < 2; i++) {
        if (in->opnd[i].kind != OPND_REG)
            continue;
        if (in->opnd[i].cls == RC_CR || in->opnd[i].cls == RC_DR)
            return lift_mov_special(l, in);
        if (in->opnd[i].cls == RC_SEG)
            return lift_mov_seg(l, in);
    }
    lift_write(l, in, 0, lift_read_w(l, in, 1, lift_opnd_width(in, 0)));
    return true;
}

bool lift_movzx(struct lift *l, const struct insn *in)
{
    unsigned to = lift_opnd_width(in, 0), from = lift_opnd_width(in, 1);
    lift_write(l, in, 0, ir_zext(l->ir, to, from, lift_read(l, in, 1)));
    return true;
}

bool lift_movsx(struct lift *l, const struct insn *in)
{
    unsigned to = lift_opnd_width(in, 0), from = lift_opnd_width(in, 1);
    ir_ref v = lift_read(l, in, 1);
    if (from > to) /* MOVSXD with a 16-bit destination */
        v = ir_trunc(l->ir, to, from, v);
    else
        v = ir_sext(l->ir, to, from, v);
    lift_write(l, in, 0, v);
    return true;
}

bool lift_lea(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    lift_write(l, in, 0, ir_trunc(l->ir, w, W64, lift_ea(l, in)));
    return true;
}

bool lift_movbe(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    lift_write(l, in, 0, ir_1(l->ir, IR_bswap, w, lift_read(l, in, 1)));
    return true;
}

bool lift_bswap(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    /* With a 16-bit operand the result is undefined; processors give 0. */
    ir_ref v = w == W16 ? lift_const(l, w, 0) : ir_1(l->ir, IR_bswap, w, lift_read(l, in, 0));
    lift_write(l, in, 0, v);
    return true;
}

bool lift_cbw(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    lift_put(l, RAX, w, ir_sext(l->ir, w, w - 1, lift_get(l, RAX, w - 1)));
    return true;
}

bool lift_cwd(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref sign = ir_2(l->ir, IR_sar, w, lift_get(l, RAX, w), lift_count(l, W_BITS(w) - 1));
    lift_put(l, RDX, w, sign);
    return true;
}

bool lift_cmov(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref src = lift_read(l, in, 1), dst = lift_read(l, in, 0);
    ir_ref cond = ir_setcc(l->ir, in->cc, lift_getf(l));
    lift_write(l, in, 0, ir_3(l->ir, IR_select, w, cond, src, dst));
    return true;
}

bool lift_set(struct lift *l, const struct insn *in)
{
    lift_write(l, in, 0, ir_setcc(l->ir, in->cc, lift_getf(l)));
    return true;
}

bool lift_nop(struct lift *l, const struct insn *in)
{
    return true;
}

bool lift_xlat(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->addrsize);
    ir_ref al = ir_zext(l->ir, w, W8, lift_get(l, RAX, W8));
    ir_ref off = ir_2(l->ir, IR_add, w, lift_get(l, RBX, w), al);
    unsigned seg = in->seg_override ? in->seg : SEG_DS;
    ir_ref addr = lift_segment(l, seg, ir_zext(l->ir, W64, w, off), 1, false);
    lift_put(l, RAX, W8, lift_ld(l, W8, addr, seg == SEG_SS ? MF_STACK : 0));
    return true;
}

bool lift_crc32(struct lift *l, const struct insn *in)
{
    unsigned from = lift_opnd_width(in, 1);
    ir_ref b = lift_read(l, in, 1);
    ir_ref a = lift_get(l, in->opnd[0].reg, W32);
    lift_put(l, in->opnd[0].reg, W32, ir_emit(l->ir, IR_crc32c, W32, from, 0, a, b, 0, 0));
    return true;
}

/* ---- exchanges ---- */

bool lift_xchg(struct lift *l, const struct insn *in)
{
    unsigned mem = lift_is_mem(in, 1) ? 1 : 0, reg = 1 - mem;
    unsigned w = lift_opnd_width(in, 0);
    if (!lift_is_mem(in, mem)) {
        ir_ref a = lift_read(l, in, 0), b = lift_read(l, in, 1);
        lift_write(l, in, 0, b);
        lift_write(l, in, 1, a);
        return true;
    }
    /* With memory it is atomic whether LOCKed or not (SDM vol. 2, XCHG). */
    ir_ref addr = lift_linear(l, in, W_BYTES(w), true);
    ir_ref old = ir_emit(l->ir, IR_atomic, w, AT_XCHG, lift_mf(in), addr,
                         lift_read(l, in, reg), 0, 0);
    lift_write(l, in, reg, old);
    return true;
}

bool lift_xadd(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref b = lift_read(l, in, 1), a;
    if (in->lock) {
        ir_ref addr = lift_linear(l, in, W_BYTES(w), true);
        a = ir_emit(l->ir, IR_atomic, w, AT_ADD, lift_mf(in), addr, b, 0, 0);
        lift_write(l, in, 1, a);
    } else if (lift_is_mem(in, 0)) {
        struct lift_place p;
        a = lift_rmw_read(l, in, 0, &p);
        lift_rmw_write(l, in, 0, &p, ir_2(l->ir, IR_add, w, a, b));
        lift_write(l, in, 1, a);
    } else {
        /* The sum wins when both operands name one register. */
        a = lift_read(l, in, 0);
        lift_write(l, in, 1, a);
        lift_write(l, in, 0, ir_2(l->ir, IR_add, w, a, b));
    }
    lift_putf_op(l, IR_fadd, w, a, b, 0);
    return true;
}

/* All 64 bits of RAX after a compare that failed: the old value in its low w bits. */
static ir_ref accumulator_with(struct lift *l, unsigned w, ir_ref v)
{
    if (w >= W32)
        return ir_zext(l->ir, W64, w, v);
    return ir_emit(l->ir, IR_deposit, W64, w, 0, ir_get(l->ir, RAX), v, 0, 0);
}

bool lift_cmpxchg(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref acc = lift_get(l, RAX, w), src = lift_read(l, in, 1), old, equal;
    if (!lift_is_mem(in, 0)) {
        /* Each register is written only on its own branch, so that a 32-bit one keeps its upper
         * half otherwise; whole registers are therefore selected. */
        const struct operand *o = &in->opnd[0];
        old = lift_read(l, in, 0);
        equal = ir_icmp(l->ir, w, IC_EQ, acc, old);
        ir_ref rax = ir_3(l->ir, IR_select, W64, equal, ir_get(l->ir, RAX),
                          accumulator_with(l, w, old));
        ir_put(l->ir, RAX, rax);
        ir_ref before = ir_get(l->ir, o->reg);
        lift_write(l, in, 0, src);
        ir_put(l->ir, o->reg,
               ir_3(l->ir, IR_select, W64, equal, ir_get(l->ir, o->reg), before));
        lift_putf_op(l, IR_fsub, w, acc, old, 0);
        return true;
    }
    if (in->lock) {
        ir_ref addr = lift_linear(l, in, W_BYTES(w), true);
        old = ir_emit(l->ir, IR_cmpxchg, w, 0, lift_mf(in), addr, acc, src, 0);
        equal = ir_icmp(l->ir, w, IC_EQ, acc, old);
    } else {
        struct lift_place p;
        old = lift_rmw_read(l, in, 0, &p);
        equal = ir_icmp(l->ir, w, IC_EQ, acc, old);
        lift_rmw_write(l, in, 0, &p, ir_3(l->ir, IR_select, w, equal, src, old));
    }
    ir_ref rax = ir_3(l->ir, IR_select, W64, equal, ir_get(l->ir, RAX),
                      accumulator_with(l, w, old));
    ir_put(l->ir, RAX, rax);
    lift_putf_op(l, IR_fsub, w, acc, old, 0);
    return true;
}

bool lift_cmpxchg8b(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_cmpxchg8b, lift_linear(l, in, 8, true), 0, 0, 0);
    return true;
}

bool lift_cmpxchg16b(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_cmpxchg16b, lift_linear(l, in, 16, true), 0, 0, 0);
    return true;
}

/* ---- products and quotients ---- */

/* Writes a double-width result: AX, or DX:AX and wider. */
static void put_pair(struct lift *l, unsigned w, ir_ref lo, ir_ref hi)
{
    if (w == W8) {
        ir_ref v = ir_emit(l->ir, IR_deposit, W64, W8, 0, ir_get(l->ir, RAX), lo, 0, 0);
        ir_put(l->ir, RAX, ir_emit(l->ir, IR_deposit, W64, W8, 8, v, hi, 0, 0));
        return;
    }
    lift_put(l, RAX, w, lo);
    lift_put(l, RDX, w, hi);
}

static void multiply(struct lift *l, const struct insn *in, bool is_signed)
{
    unsigned i = lift_explicit(in), w = lift_opnd_width(in, i);
    ir_ref b = lift_read(l, in, i), a = lift_get(l, RAX, w);
    ir_ref lo = ir_2(l->ir, IR_mul, w, a, b);
    ir_ref hi = ir_2(l->ir, is_signed ? IR_mulhs : IR_mulhu, w, a, b);
    put_pair(l, w, lo, hi);
    lift_putf_op(l, is_signed ? IR_fmuls : IR_fmulu, w, lo, hi, 0);
}

bool lift_mul(struct lift *l, const struct insn *in)
{
    multiply(l, in, false);
    return true;
}

bool lift_imul(struct lift *l, const struct insn *in)
{
    if ((in->opcode == 0xf6 || in->opcode == 0xf7) && in->map == 0) {
        multiply(l, in, true);
        return true;
    }
    unsigned w = lift_opnd_width(in, 0);
    bool three = in->operands > 2;
    ir_ref a = lift_read_w(l, in, three ? 1 : 0, w);
    ir_ref b = lift_read_w(l, in, three ? 2 : 1, w);
    ir_ref lo = ir_2(l->ir, IR_mul, w, a, b);
    ir_ref hi = ir_2(l->ir, IR_mulhs, w, a, b);
    lift_write(l, in, 0, lo);
    lift_putf_op(l, IR_fmuls, w, lo, hi, 0);
    return true;
}

bool lift_div(struct lift *l, const struct insn *in)
{
    bool is_signed = in->op == OP_idiv;
    unsigned i = lift_explicit(in), w = lift_opnd_width(in, i);
    ir_ref d = lift_read(l, in, i), lo = lift_get(l, RAX, w), hi;
    if (w == W8)
        hi = ir_emit(l->ir, IR_trunc, W8, W64, 8, ir_get(l->ir, RAX), 0, 0, 0);
    else
        hi = lift_get(l, RDX, w);
    ir_ref q = ir_3(l->ir, is_signed ? IR_divs : IR_divu, w, lo, hi, d);
    ir_ref r = ir_3(l->ir, is_signed ? IR_rems : IR_remu, w, lo, hi, d);
    put_pair(l, w, q, r);
    return true;
}

bool lift_bcd(struct lift *l, const struct insn *in)
{
    if (in->op == OP_aam && (in->imm & 0xff) == 0) {
        lift_raise(l, EXC_DE);
        return true;
    }
    ir_call(l->ir, HELPER_bcd, lift_const(l, W64, in->op), lift_const(l, W64, in->imm & 0xff), 0,
            0);
    return true;
}

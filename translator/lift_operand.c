/* Operands as IR: registers with x86's partial writes, effective and linear addresses, the stack,
 * flags, and the ways out of a block.
 *
 * Touches: the IR being built, field offsets of struct cpu.  Left out: instructions (lift_*.c).
 */
#include "translator/lift.h"

unsigned lift_width(unsigned bytes)
{
    switch (bytes) {
    case 1: return W8;
    case 2: return W16;
    case 4: return W32;
    case 8: return W64;
    case 32: return W256;
    default: return W128;
    }
}

/* ---- constants and registers ---- */

ir_ref lift_const(struct lift *l, unsigned w, u64 v)
{
    return ir_const(l->ir, w, v);
}

ir_ref lift_fixed(struct lift *l, unsigned w, u64 v)
{
    l->ir->fixed = true;
    return lift_const(l, w, v);
}

ir_ref lift_pc(struct lift *l, unsigned w, u64 v)
{
    if (l->hflags & HF_LONG && w == W64)
        return ir_emit(l->ir, IR_pc, W64, 0, v, 0, 0, 0, 0);
    return lift_fixed(l, w, v);
}

ir_ref lift_count(struct lift *l, unsigned n)
{
    return ir_const(l->ir, W8, n);
}

ir_ref lift_get(struct lift *l, unsigned reg, unsigned w)
{
    return ir_trunc(l->ir, w, W64, ir_get(l->ir, reg));
}

void lift_put(struct lift *l, unsigned reg, unsigned w, ir_ref v)
{
    if (w == W32)
        v = ir_zext(l->ir, W64, W32, v);
    else if (w < W32)
        v = ir_emit(l->ir, IR_deposit, W64, w, 0, ir_get(l->ir, reg), v, 0, 0);
    ir_put(l->ir, reg, v);
}

/* AH, CH, DH, BH. */
static ir_ref get_high(struct lift *l, unsigned reg)
{
    return ir_emit(l->ir, IR_trunc, W8, W64, 8, ir_get(l->ir, reg), 0, 0, 0);
}

static void put_high(struct lift *l, unsigned reg, ir_ref v)
{
    ir_put(l->ir, reg, ir_emit(l->ir, IR_deposit, W64, W8, 8, ir_get(l->ir, reg), v, 0, 0));
}

/* ---- operands ---- */

unsigned lift_opnd_width(const struct insn *in, unsigned i)
{
    return lift_width(in->opnd[i].size);
}

unsigned lift_explicit(const struct insn *in)
{
    for (unsigned i = 0; i < in->operands; i++)
        if (!in->opnd[i].implicit)
            return i;
    return 0;
}

bool lift_is_mem(const struct insn *in, unsigned i)
{
    return in->opnd[i].kind == OPND_MEM;
}

/* Bytes of the immediate if it is the last thing in the instruction and moves into the operand as
 * it is or sign-extended: MOV, TEST and the arithmetic of opcode 81H and its short forms. */
static unsigned plain_imm(const struct insn *in)
{
    unsigned bytes = in->opsize == 2 ? 2 : 4;
    if (in->map || in->vex)
        return 0;
    if ((in->opcode & 0xf8) == 0xb8)
        return in->opsize;
    return in->opcode == 0x81 || in->opcode == 0xc7 || in->opcode == 0xf7 || in->opcode == 0xa9 ||
                   (in->opcode & 0xc7) == 0x05
               ? bytes
               : 0;
}

/* The immediate as it will be when the block runs; 0 when it is to be a constant. */
static ir_ref live_imm(struct lift *l, const struct insn *in, unsigned w)
{
    struct ir *ir = l->ir;
    unsigned bytes = plain_imm(in);
    if (!bytes || W_BYTES(w) < bytes || ir->live_imms == IR_LIVE_IMMS)
        return 0;
    unsigned at = (unsigned)(l->next - ir->rip) - bytes;
    ir->live_imm[ir->live_imms].at = (u16)at;
    ir->live_imm[ir->live_imms++].len = (u8)bytes;
    unsigned from = lift_width(bytes);
    ir_ref v = ir_emit(ir, IR_live, from, 0, (u64)(uintptr_t)(ir->live + at), 0, 0, 0, 0);
    return ir_sext(ir, w, from, v);
}

ir_ref lift_read_w(struct lift *l, const struct insn *in, unsigned i, unsigned w)
{
    const struct operand *o = &in->opnd[i];
    switch (o->kind) {
    case OPND_REG:
        if (o->cls == RC_SEG)
            return ir_zext(l->ir, w, W16,
                           ir_ldenv(l->ir, W16, offsetof(struct cpu, seg) +
                                                    o->reg * sizeof(struct segment) +
                                                    offsetof(struct segment, selector)));
        return o->cls == RC_GPR8H ? get_high(l, o->reg) : lift_get(l, o->reg, w);
    case OPND_MEM:
        return lift_ld(l, w, lift_linear(l, in, W_BYTES(w), false), lift_mf(in));
    default: {
        ir_ref live = l->ir->live ? live_imm(l, in, w) : 0;
        return live ? live : lift_const(l, w, in->imm);
    }
    }
}

ir_ref lift_read(struct lift *l, const struct insn *in, unsigned i)
{
    return lift_read_w(l, in, i, lift_opnd_width(in, i));
}

static void write_reg(struct lift *l, const struct operand *o, unsigned w, ir_ref v)
{
    if (o->cls == RC_GPR8H)
        put_high(l, o->reg, v);
    else
        lift_put(l, o->reg, w, v);
}

void lift_write(struct lift *l, const struct insn *in, unsigned i, ir_ref v)
{
    unsigned w = lift_opnd_width(in, i);
    if (lift_is_mem(in, i))
        lift_st(l, w, lift_linear(l, in, W_BYTES(w), true), v, lift_mf(in));
    else
        write_reg(l, &in->opnd[i], w, v);
}

ir_ref lift_rmw_read(struct lift *l, const struct insn *in, unsigned i, struct lift_place *p)
{
    p->w = lift_opnd_width(in, i);
    p->addr = 0;
    if (!lift_is_mem(in, i))
        return lift_read(l, in, i);
    p->addr = lift_linear(l, in, W_BYTES(p->w), true);
    return lift_ld(l, p->w, p->addr, lift_mf(in) | MF_RMW);
}

void lift_rmw_write(struct lift *l, const struct insn *in, unsigned i, const struct lift_place *p,
                    ir_ref v)
{
    if (p->addr)
        lift_st(l, p->w, p->addr, v, lift_mf(in));
    else
        write_reg(l, &in->opnd[i], p->w, v);
}

/* ---- addresses ---- */

ir_ref lift_wrap(struct lift *l, ir_ref v, unsigned bytes)
{
    unsigned w = lift_width(bytes);
    return ir_zext(l->ir, W64, w, ir_trunc(l->ir, w, W64, v));
}

static ir_ref address_reg(struct lift *l, unsigned reg, unsigned w)
{
    if (reg == RSP && l->rsp_for_ea)
        return ir_trunc(l->ir, w, W64, l->rsp_for_ea);
    return lift_get(l, reg, w);
}

ir_ref lift_ea(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->addrsize);
    if (in->base == REG_RIP)
        return in->addrsize == 8
                   ? lift_pc(l, W64, l->next + (u64)in->disp)
                   : lift_fixed(l, W64, (l->next + (u64)in->disp) & size_mask(in->addrsize));
    ir_ref sum = 0;
    if (in->base != REG_NONE)
        sum = address_reg(l, in->base, w);
    if (in->index != REG_NONE) {
        ir_ref x = address_reg(l, in->index, w);
        if (in->scale > 1)
            x = ir_2(l->ir, IR_shl, w, x, lift_count(l, (unsigned)__builtin_ctz(in->scale)));
        sum = sum ? ir_2(l->ir, IR_add, w, sum, x) : x;
    }
    if (!sum)
        return lift_const(l, W64, (u64)in->disp & size_mask(in->addrsize));
    if (in->disp)
        sum = ir_2(l->ir, IR_add, w, sum, lift_const(l, w, (u64)in->disp));
    return ir_zext(l->ir, W64, w, sum);
}

static ir_ref segment_base(struct lift *l, unsigned seg)
{
    return ir_ldenv(l->ir, W64, offsetof(struct cpu, seg) + seg * sizeof(struct segment) +
                                    offsetof(struct segment, base));
}

ir_ref lift_segment(struct lift *l, unsigned seg, ir_ref off, unsigned size, bool store)
{
    if (l->hflags & HF_LONG) {
        /* Only FS and GS have a base, and nothing has a limit (SDM vol. 1, 3.3.7.1). */
        if (seg != SEG_FS && seg != SEG_GS)
            return off;
        return ir_2(l->ir, IR_add, W64, segment_base(l, seg), off);
    }
    if (l->hflags & HF_FLAT && (seg == SEG_DS || seg == SEG_ES || seg == SEG_SS))
        return off;
    if (size > 255)
        size = 255;
    return ir_emit(l->ir, IR_segaddr, W64, seg, size | (store ? 0x100 : 0), off, 0, 0, 0);
}

ir_ref lift_linear(struct lift *l, const struct insn *in, unsigned size, bool store)
{
    return lift_segment(l, in->seg, lift_ea(l, in), size, store);
}

ir_ref lift_linear_unchecked(struct lift *l, const struct insn *in)
{
    ir_ref off = lift_ea(l, in);
    if (l->hflags & HF_LONG)
        return lift_segment(l, in->seg, off, 1, false);
    return lift_wrap(l, ir_2(l->ir, IR_add, W64, segment_base(l, in->seg), off), 4);
}

ir_ref lift_offset(struct lift *l, ir_ref linear, unsigned n)
{
    return n ? ir_2(l->ir, IR_add, W64, linear, lift_const(l, W64, n)) : linear;
}

unsigned lift_mf(const struct insn *in)
{
    return in->seg == SEG_SS ? MF_STACK : 0;
}

ir_ref lift_ld(struct lift *l, unsigned w, ir_ref addr, unsigned mf)
{
    return ir_emit(l->ir, IR_ld, w, mf, 0, addr, 0, 0, 0);
}

void lift_st(struct lift *l, unsigned w, ir_ref addr, ir_ref v, unsigned mf)
{
    ir_emit(l->ir, IR_st, w, mf, 0, addr, v, 0, 0);
}

/* ---- stack ---- */

ir_ref lift_sp(struct lift *l)
{
    return ir_zext(l->ir, W64, l->stack_w, lift_get(l, RSP, l->stack_w));
}

ir_ref lift_sp_add(struct lift *l, ir_ref off, s64 delta)
{
    if (!delta)
        return off;
    ir_ref v = ir_2(l->ir, IR_add, W64, off, lift_const(l, W64, (u64)delta));
    return lift_wrap(l, v, W_BYTES(l->stack_w));
}

void lift_put_sp(struct lift *l, ir_ref off)
{
    lift_put(l, RSP, l->stack_w, ir_trunc(l->ir, l->stack_w, W64, off));
}

ir_ref lift_stack_ld(struct lift *l, unsigned w, ir_ref off)
{
    return lift_ld(l, w, lift_segment(l, SEG_SS, off, W_BYTES(w), false), MF_STACK);
}

void lift_stack_st(struct lift *l, unsigned w, ir_ref off, ir_ref v)
{
    lift_st(l, w, lift_segment(l, SEG_SS, off, W_BYTES(w), true), v, MF_STACK);
}

void lift_push(struct lift *l, unsigned w, ir_ref v)
{
    ir_ref sp = lift_sp_add(l, lift_sp(l), -(s64)W_BYTES(w));
    lift_stack_st(l, w, sp, v);
    lift_put_sp(l, sp);
}

/* ---- flags ---- */

ir_ref lift_getf(struct lift *l)
{
    return ir_emit(l->ir, IR_getf, 0, 0, 0, 0, 0, 0, 0);
}

void lift_putf(struct lift *l, ir_ref f)
{
    ir_emit(l->ir, IR_putf, 0, 0, 0, f, 0, 0, 0);
}

ir_ref lift_noflags(struct lift *l)
{
    return ir_1(l->ir, IR_fbits, W32, lift_const(l, W32, 0));
}

ir_ref lift_carry(struct lift *l)
{
    return ir_setcc(l->ir, 2, lift_getf(l));
}

ir_ref lift_fbit(struct lift *l, ir_ref f, u32 mask, ir_ref b)
{
    return ir_emit(l->ir, IR_fbit, 0, 0, mask, f, b, 0, 0);
}

void lift_putf_op(struct lift *l, enum ir_op op, unsigned w, ir_ref a, ir_ref b, ir_ref c)
{
    lift_putf(l, ir_3(l->ir, op, w, a, b, c));
}

/* ---- leaving ---- */

static void end_with(struct lift *l, enum ir_op op, unsigned aux, u64 imm, ir_ref a)
{
    ir_emit(l->ir, op, W64, aux, imm, a, 0, 0, 0);
    l->ended = true;
}

void lift_raise(struct lift *l, unsigned vector)
{
    end_with(l, IR_raise, vector, 0, 0);
}

void lift_raise_error(struct lift *l, unsigned vector, u32 error)
{
    end_with(l, IR_raise, vector, BIT64(32) | error, 0);
}

void lift_exit(struct lift *l, u64 rip)
{
    end_with(l, IR_exit, XF_LIVE, rip, 0);
}

void lift_exit_if(struct lift *l, ir_ref cond, u64 rip)
{
    ir_emit(l->ir, IR_exit_if, 0, XF_LIVE, rip, cond, 0, 0, 0);
}

void lift_exit_ind(struct lift *l, const struct insn *in, ir_ref rip, unsigned kind,
                   unsigned drops)
{
    end_with(l, IR_exit_ind, kind, ir_branch(l->next - in->len, (u16)drops), rip);
}

void lift_exit_lookup(struct lift *l)
{
    end_with(l, IR_exit_lookup, 0, 0, 0);
}

ir_ref lift_next(struct lift *l)
{
    return lift_pc(l, W64, l->next);
}

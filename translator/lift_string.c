/* String instructions (SDM vol. 1, 7.3.9).  A single element is IR; repeated ones are helpers that
 * run a bounded number of elements (cpu/string.c), after which the instruction is entered again
 * until it is finished, so that interrupts get in between as on a processor.
 */
#include "translator/lift.h"

/* Width of one element: the opcode's low bit chooses between bytes and the operand size. */
static unsigned element_width(const struct insn *in)
{
    return in->opcode & 1 ? lift_width(in->opsize) : W8;
}

static unsigned source_segment(const struct insn *in)
{
    return in->seg_override ? in->seg : SEG_DS;
}

/* What cpu/string.c wants to know; see helpers.def. */
static bool by_helper(struct lift *l, const struct insn *in, enum helper h, unsigned w, bool repeat)
{
    u64 desc = W_BYTES(w) | (u64)in->addrsize << 8 | (u64)source_segment(in) << 16 |
               (u64)(repeat ? in->rep : 0) << 24;
    ir_ref done = ir_callv(l->ir, h, lift_const(l, W64, desc), 0, 0, 0);
    ir_ref more = ir_icmp(l->ir, W64, IC_EQ, done, lift_const(l, W64, 0));
    ir_emit(l->ir, IR_exit_if, EXIT_AGAIN, XF_LIVE, l->rip, more, 0, 0, 0);
    return true;
}

/* Offset in an index register, as 64 bits. */
static ir_ref index_offset(struct lift *l, const struct insn *in, unsigned reg)
{
    unsigned w = lift_width(in->addrsize);
    return ir_zext(l->ir, W64, w, lift_get(l, reg, w));
}

/* The element's size, negative when DF is set. */
static ir_ref step_of(struct lift *l, unsigned w)
{
    ir_ref flags = ir_ldenv(l->ir, W64, offsetof(struct cpu, eflags));
    /* FL_DF is bit 10; moved to where it is worth twice the size. */
    ir_ref twice = ir_2(l->ir, IR_shr, W64, flags, lift_count(l, 9 - w));
    twice = ir_2(l->ir, IR_and, W64, twice, lift_const(l, W64, 2ull << w));
    return ir_2(l->ir, IR_sub, W64, lift_const(l, W64, 1ull << w), twice);
}

static void advance(struct lift *l, const struct insn *in, unsigned reg, ir_ref step)
{
    unsigned w = lift_width(in->addrsize);
    ir_ref v = ir_2(l->ir, IR_add, w, lift_get(l, reg, w), ir_trunc(l->ir, w, W64, step));
    lift_put(l, reg, w, v);
}

static ir_ref load_source(struct lift *l, const struct insn *in, unsigned w)
{
    unsigned seg = source_segment(in);
    ir_ref addr = lift_segment(l, seg, index_offset(l, in, RSI), W_BYTES(w), false);
    return lift_ld(l, w, addr, seg == SEG_SS ? MF_STACK : 0);
}

static ir_ref destination(struct lift *l, const struct insn *in, unsigned w, bool store)
{
    return lift_segment(l, SEG_ES, index_offset(l, in, RDI), W_BYTES(w), store);
}

bool lift_movs(struct lift *l, const struct insn *in)
{
    unsigned w = element_width(in);
    if (in->rep)
        return by_helper(l, in, HELPER_movs, w, true);
    ir_ref v = load_source(l, in, w);
    lift_st(l, w, destination(l, in, w, true), v, 0);
    ir_ref step = step_of(l, w);
    advance(l, in, RSI, step);
    advance(l, in, RDI, step);
    return true;
}

bool lift_stos(struct lift *l, const struct insn *in)
{
    unsigned w = element_width(in);
    if (in->rep)
        return by_helper(l, in, HELPER_stos, w, true);
    lift_st(l, w, destination(l, in, w, true), lift_get(l, RAX, w), 0);
    advance(l, in, RDI, step_of(l, w));
    return true;
}

bool lift_lods(struct lift *l, const struct insn *in)
{
    unsigned w = element_width(in);
    if (in->rep)
        return by_helper(l, in, HELPER_lods, w, true);
    ir_ref v = load_source(l, in, w);
    lift_put(l, RAX, w, v);
    advance(l, in, RSI, step_of(l, w));
    return true;
}

bool lift_scas(struct lift *l, const struct insn *in)
{
    unsigned w = element_width(in);
    if (in->rep)
        return by_helper(l, in, HELPER_scas, w, true);
    ir_ref b = lift_ld(l, w, destination(l, in, w, false), 0), a = lift_get(l, RAX, w);
    advance(l, in, RDI, step_of(l, w));
    lift_putf_op(l, IR_fsub, w, a, b, 0);
    return true;
}

bool lift_cmps(struct lift *l, const struct insn *in)
{
    unsigned w = element_width(in);
    if (in->rep)
        return by_helper(l, in, HELPER_cmps, w, true);
    ir_ref a = load_source(l, in, w);
    ir_ref b = lift_ld(l, w, destination(l, in, w, false), 0), step = step_of(l, w);
    advance(l, in, RSI, step);
    advance(l, in, RDI, step);
    lift_putf_op(l, IR_fsub, w, a, b, 0);
    return true;
}

/* Ports have no 64-bit elements. */
static unsigned port_width(const struct insn *in)
{
    unsigned w = element_width(in);
    return w > W32 ? W32 : w;
}

bool lift_ins(struct lift *l, const struct insn *in)
{
    return by_helper(l, in, HELPER_ins, port_width(in), true);
}

bool lift_outs(struct lift *l, const struct insn *in)
{
    return by_helper(l, in, HELPER_outs, port_width(in), true);
}

/* Control transfers and the stack: jumps, calls, returns, loops, interrupts, PUSH and POP and
 * their relatives (SDM vol. 1, 6 and 7.3.8; vol. 2).
 *
 * Near transfers stay in IR.  Far ones, interrupts and privilege changes are helpers that set rip
 * and end the block.  Where CS has a limit, a near transfer beyond it faults before it does
 * anything; running into it faults where code is fetched.
 *
 * Left out: an indirect call in 64-bit mode to an address that is not canonical has nothing written
 * when it faults (SDM vol. 2, CALL); here the eight bytes below RSP are, which saves each such call
 * the check: five host instructions beside eighteen.  (To read the eight bytes first and put them
 * back would take two, but a stack in a device's memory would be read.)
 */
#include "translator/lift.h"
#include "translator/technique.h"

/* ---- near transfers ---- */

/* RIP as a near branch with this operand size leaves it. */
static u64 branch_target(const struct lift *l, const struct insn *in)
{
    return (l->next + (u64)in->rel) & size_mask(l->mode == 64 ? 8 : in->opsize);
}

/* Width of what near calls and returns push and pop. */
static unsigned branch_width(const struct lift *l, const struct insn *in)
{
    return l->mode == 64 ? W64 : lift_width(in->opsize);
}

/* #GP(0) of a branch beyond CS's limit, or to an address that is not canonical.  16-bit targets in
 * real mode are within.  Indirect ones in 64-bit mode are looked at by front_check_branch. */
static void check_target(struct lift *l, const struct insn *in, ir_ref target)
{
    bool paragraphs = !(l->hflags & HF_PE) || l->hflags & HF_VM, open = l->hflags & HF_CSFLAT;
    if (l->hflags & HF_LONG)
        open = in->opnd[0].kind != OPND_REL || sign_extend(branch_target(l, in), 48) ==
                                                    (s64)branch_target(l, in);
    if (open || (paragraphs && in->opsize == 2))
        return;
    l->ir->fixed = true;
    ir_call(l->ir, HELPER_check_target, target, 0, 0, 0);
}

/* The same of a conditional one: offset 0 is always within. */
static void check_target_if(struct lift *l, const struct insn *in, ir_ref cond)
{
    ir_ref to = lift_const(l, W64, branch_target(l, in));
    check_target(l, in, ir_3(l->ir, IR_select, W64, cond, to, lift_const(l, W64, 0)));
}

bool lift_jmp(struct lift *l, const struct insn *in)
{
    if (in->opnd[0].kind == OPND_REL) {
        check_target(l, in, lift_const(l, W64, branch_target(l, in)));
        lift_exit(l, branch_target(l, in));
        return true;
    }
    unsigned w = branch_width(l, in);
    ir_ref target = ir_zext(l->ir, W64, w, lift_read_w(l, in, 0, w));
    check_target(l, in, target);
    lift_exit_ind(l, in, target, XK_JMP, 0);
    return true;
}

/* Whether the block goes on where a conditional branch is not taken: where its flags are looked at
 * again, as by the second branch of a comparison with three outcomes, which would have to ask for
 * them (x64_flags.c).  Not in counted mode, in which a block is paid for as a whole. */
static bool runs_on(const struct lift *l)
{
    return technique_on(l->ir->off, T_runon) && !l->cpu->count &&
           !(l->hflags & (HF_ONE | HF_TF)) && lift_flags_read_behind(l);
}

bool lift_jcc(struct lift *l, const struct insn *in)
{
    ir_ref cond = ir_setcc(l->ir, in->cc, lift_getf(l));
    check_target_if(l, in, cond);
    lift_exit_if(l, cond, branch_target(l, in));
    if (runs_on(l))
        l->ir->run_ons++;
    else
        lift_exit(l, l->next);
    return true;
}

bool lift_jcxz(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->addrsize);
    ir_ref zero = ir_icmp(l->ir, w, IC_EQ, lift_get(l, RCX, w), lift_const(l, w, 0));
    check_target_if(l, in, zero);
    lift_exit_if(l, zero, branch_target(l, in));
    lift_exit(l, l->next);
    return true;
}

bool lift_loop(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->addrsize);
    ir_ref n = ir_2(l->ir, IR_sub, w, lift_get(l, RCX, w), lift_const(l, w, 1));
    ir_ref go = ir_icmp(l->ir, w, IC_NE, n, lift_const(l, w, 0));
    if (in->op != OP_loop)
        go = ir_2(l->ir, IR_and, W8, go,
                  ir_setcc(l->ir, in->op == OP_loope ? 4 : 5, lift_getf(l)));
    check_target_if(l, in, go);
    lift_put(l, RCX, w, n);
    lift_exit_if(l, go, branch_target(l, in));
    lift_exit(l, l->next);
    return true;
}

bool lift_call(struct lift *l, const struct insn *in)
{
    unsigned w = branch_width(l, in);
    if (in->opnd[0].kind == OPND_REL) {
        check_target(l, in, lift_const(l, W64, branch_target(l, in)));
        lift_push(l, w, lift_pc(l, w, l->next));
        lift_exit(l, branch_target(l, in));
        return true;
    }
    ir_ref target = ir_zext(l->ir, W64, w, lift_read_w(l, in, 0, w));
    check_target(l, in, target);
    lift_push(l, w, lift_pc(l, w, l->next));
    lift_exit_ind(l, in, target, XK_CALL, 0);
    return true;
}

bool lift_ret(struct lift *l, const struct insn *in)
{
    unsigned w = branch_width(l, in);
    ir_ref sp = lift_sp(l);
    ir_ref target = ir_zext(l->ir, W64, w, lift_stack_ld(l, w, sp));
    unsigned more = in->operands ? (u16)in->imm : 0;
    check_target(l, in, target);
    lift_put_sp(l, lift_sp_add(l, sp, W_BYTES(w) + more));
    lift_exit_ind(l, in, target, XK_RET, more);
    return true;
}

/* ---- far transfers ---- */

/* Selector and offset of a far pointer, immediate or in memory. */
static void far_pointer(struct lift *l, const struct insn *in, ir_ref *sel, ir_ref *off)
{
    if (in->opnd[0].kind == OPND_FAR) {
        *sel = lift_const(l, W64, in->imm2 & 0xffff);
        *off = lift_const(l, W64, in->imm & size_mask(in->opsize));
        return;
    }
    unsigned w = lift_width(in->opsize);
    ir_ref addr = lift_linear(l, in, in->opsize + 2, false);
    *off = ir_zext(l->ir, W64, w, lift_ld(l, w, addr, lift_mf(in)));
    *sel = ir_zext(l->ir, W64, W16,
                   lift_ld(l, W16, lift_offset(l, addr, in->opsize), lift_mf(in)));
}

bool lift_ljmp(struct lift *l, const struct insn *in)
{
    ir_ref sel, off;
    far_pointer(l, in, &sel, &off);
    ir_call(l->ir, HELPER_far_jmp, sel, off, lift_const(l, W64, in->opsize), lift_next(l));
    lift_exit_lookup(l);
    return true;
}

bool lift_lcall(struct lift *l, const struct insn *in)
{
    ir_ref sel, off;
    far_pointer(l, in, &sel, &off);
    ir_call(l->ir, HELPER_far_call, sel, off, lift_const(l, W64, in->opsize), lift_next(l));
    lift_exit_lookup(l);
    return true;
}

bool lift_retf(struct lift *l, const struct insn *in)
{
    unsigned more = in->operands ? (u16)in->imm : 0;
    ir_call(l->ir, HELPER_far_ret, lift_const(l, W64, in->opsize), lift_const(l, W64, more), 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_iret(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_iret, lift_const(l, W64, in->opsize), lift_next(l), 0, 0);
    lift_exit_lookup(l);
    return true;
}

static bool interrupt(struct lift *l, u64 vector)
{
    ir_call(l->ir, HELPER_int_n, lift_const(l, W64, vector), lift_next(l), 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_int(struct lift *l, const struct insn *in)
{
    if (in->op == OP_int3)
        return interrupt(l, EXC_BP);
    if (in->op == OP_int1)
        return interrupt(l, 0x100 | EXC_DB);
    return interrupt(l, 0x200 | (in->imm & 0xff));
}

bool lift_into(struct lift *l, const struct insn *in)
{
    lift_exit_if(l, ir_setcc(l->ir, 1, lift_getf(l)), l->next);
    return interrupt(l, EXC_OF);
}

bool lift_bound(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref addr = lift_linear(l, in, 2 * in->opsize, false);
    ir_ref low = lift_ld(l, w, addr, lift_mf(in));
    ir_ref high = lift_ld(l, w, lift_offset(l, addr, in->opsize), lift_mf(in));
    ir_ref index = lift_get(l, in->opnd[0].reg, w);
    ir_ref inside = ir_2(l->ir, IR_and, W8, ir_icmp(l->ir, w, IC_LES, low, index),
                         ir_icmp(l->ir, w, IC_LES, index, high));
    lift_exit_if(l, inside, l->next);
    lift_raise(l, EXC_BR);
    return true;
}

bool lift_ud(struct lift *l, const struct insn *in)
{
    return false;
}

/* ---- fast system calls, halting ---- */

bool lift_syscall(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_syscall, lift_next(l), 0, 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_sysret(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_sysret, lift_const(l, W64, in->opsize), 0, 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_sysenter(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_sysenter, 0, 0, 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_sysexit(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_sysexit, lift_const(l, W64, in->opsize), 0, 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_hlt(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_hlt, lift_next(l), 0, 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_mwait(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_mwait, lift_next(l), 0, 0, 0);
    lift_exit_lookup(l);
    return true;
}

bool lift_rsm(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_rsm, 0, 0, 0, 0);
    lift_exit_lookup(l);
    return true;
}

/* ---- PUSH and POP ---- */

bool lift_push_op(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    lift_push(l, w, lift_read_w(l, in, 0, w));
    return true;
}

bool lift_pop_op(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    const struct operand *o = &in->opnd[0];
    ir_ref sp = lift_sp(l), v = lift_stack_ld(l, w, sp);
    ir_ref after = lift_sp_add(l, sp, W_BYTES(w));
    if (o->kind == OPND_MEM) {
        /* The address is computed with the incremented pointer (SDM vol. 2, POP). */
        ir_ref whole = after;
        if (l->stack_w == W16)
            whole = ir_emit(l->ir, IR_deposit, W64, W16, 0, ir_get(l->ir, RSP),
                            ir_trunc(l->ir, W16, W64, after), 0, 0);
        l->rsp_for_ea = whole;
        lift_st(l, w, lift_linear(l, in, W_BYTES(w), true), v, lift_mf(in));
        l->rsp_for_ea = 0;
        lift_put_sp(l, after);
        return true;
    }
    if (o->kind == OPND_REG && o->cls == RC_SEG) {
        ir_ref sel = ir_zext(l->ir, W64, W16, ir_trunc(l->ir, W16, w, v));
        ir_call(l->ir, HELPER_load_seg, lift_const(l, W64, o->reg), sel, lift_next(l), 0);
        lift_put_sp(l, after);
        lift_exit_lookup(l);
        return true;
    }
    lift_put_sp(l, after);
    lift_put(l, o->reg, w, v);
    return true;
}

bool lift_pusha(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref sp = lift_sp(l), old = lift_get(l, RSP, w);
    for (unsigned reg = RAX; reg <= RDI; reg++) {
        sp = lift_sp_add(l, sp, -(s64)W_BYTES(w));
        lift_stack_st(l, w, sp, reg == RSP ? old : lift_get(l, reg, w));
    }
    lift_put_sp(l, sp);
    return true;
}

bool lift_popa(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref sp = lift_sp(l), v[8];
    for (int reg = RDI; reg >= RAX; reg--) {
        v[reg] = lift_stack_ld(l, w, sp);
        sp = lift_sp_add(l, sp, W_BYTES(w));
    }
    lift_put_sp(l, sp);
    for (unsigned reg = RAX; reg <= RDI; reg++)
        if (reg != RSP)
            lift_put(l, reg, w, v[reg]);
    return true;
}

bool lift_pushf(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref image;
    if (l->hflags & HF_VM) {
        image = ir_callv(l->ir, HELPER_pushf_vm86, lift_const(l, W64, in->opsize), 0, 0, 0);
    } else {
        image = ir_ldenv(l->ir, W64, offsetof(struct cpu, eflags));
        image = ir_2(l->ir, IR_and, W64, image, lift_const(l, W64, ~(u64)(FL_ARITH | FL_RF)));
        ir_ref bits = ir_1(l->ir, IR_bitsf, W32, lift_getf(l));
        image = ir_2(l->ir, IR_or, W64, image, ir_zext(l->ir, W64, W32, bits));
        image = ir_2(l->ir, IR_or, W64, image, lift_const(l, W64, FL_FIXED));
    }
    lift_push(l, w, ir_trunc(l->ir, w, W64, image));
    return true;
}

bool lift_popf(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref sp = lift_sp(l);
    ir_ref image = ir_zext(l->ir, W64, w, lift_stack_ld(l, w, sp));
    if (l->hflags & HF_VM) {
        ir_call(l->ir, HELPER_popf_vm86, image, lift_const(l, W64, in->opsize), lift_next(l), 0);
        lift_put_sp(l, lift_sp_add(l, sp, W_BYTES(w)));
    } else {
        lift_put_sp(l, lift_sp_add(l, sp, W_BYTES(w)));
        ir_call(l->ir, HELPER_popf, image, lift_const(l, W64, in->opsize), lift_next(l), 0);
    }
    lift_exit_lookup(l);
    return true;
}

/* ---- stack frames ---- */

bool lift_enter(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize), level = in->imm2 & 31;
    ir_ref bp = ir_zext(l->ir, W64, l->stack_w, lift_get(l, RBP, l->stack_w));
    ir_ref sp = lift_sp_add(l, lift_sp(l), -(s64)W_BYTES(w));
    lift_stack_st(l, w, sp, lift_get(l, RBP, w));
    /* Processors keep the upper half of ESP in the frame pointer beside a 16-bit stack. */
    ir_ref frame = sp;
    if (l->stack_w == W16)
        frame = ir_emit(l->ir, IR_deposit, W64, W16, 0, ir_get(l->ir, RSP),
                        ir_trunc(l->ir, W16, W64, sp), 0, 0);
    for (unsigned i = 1; i < level; i++) {
        bp = lift_sp_add(l, bp, -(s64)W_BYTES(w));
        ir_ref v = lift_stack_ld(l, w, bp);
        sp = lift_sp_add(l, sp, -(s64)W_BYTES(w));
        lift_stack_st(l, w, sp, v);
    }
    if (level) {
        sp = lift_sp_add(l, sp, -(s64)W_BYTES(w));
        lift_stack_st(l, w, sp, ir_trunc(l->ir, w, W64, frame));
    }
    /* A fault where a push would come next is one of this instruction (SDM vol. 2, ENTER). */
    sp = lift_sp_add(l, sp, -(s64)(u16)in->imm);
    lift_ld(l, w, lift_segment(l, SEG_SS, sp, W_BYTES(w), true), MF_STACK | MF_RMW);
    lift_put_sp(l, sp);
    lift_put(l, RBP, w, ir_trunc(l->ir, w, W64, frame));
    return true;
}

bool lift_leave(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref bp = ir_zext(l->ir, W64, l->stack_w, lift_get(l, RBP, l->stack_w));
    ir_ref v = lift_stack_ld(l, w, bp);
    lift_put_sp(l, lift_sp_add(l, bp, W_BYTES(w)));
    lift_put(l, RBP, w, v);
    return true;
}

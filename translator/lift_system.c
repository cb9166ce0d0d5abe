/* System instructions: control, debug and segment registers, descriptor tables, MSRs, TLB, ports,
 * time, identification (SDM vol. 3A, 2.8).
 *
 * Nearly all of them are C helpers (cpu/helpers.def); here operands are brought to them and
 * results back.  Privilege checks are the helpers' too.  What changes the mode ends the block.
 */
#include "translator/lift.h"

/* Whether protected-mode-only instructions exist: not in real and virtual-8086 mode. */
static bool protected_mode(const struct lift *l)
{
    return (l->hflags & (HF_PE | HF_VM)) == HF_PE;
}

static ir_ref c64(struct lift *l, u64 v)
{
    return lift_const(l, W64, v);
}

/* Width of registers that follow the mode and no prefix: MOV CR, INVPCID, RDPID. */
static unsigned mode_width(const struct lift *l)
{
    return l->mode == 64 ? W64 : W32;
}

/* Calls a helper that sets rip, and leaves. */
static bool call_and_leave(struct lift *l, enum helper h, ir_ref a, ir_ref b, ir_ref c)
{
    ir_call(l->ir, h, a, b, c, 0);
    lift_exit_lookup(l);
    return true;
}

/* The privilege check of what reads memory only after it (SDM vol. 3A table 6-2). */
static void ring0(struct lift *l)
{
    ir_call(l->ir, HELPER_ring0, 0, 0, 0, 0);
}

static bool call_next(struct lift *l, enum helper h)
{
    return call_and_leave(l, h, lift_next(l), 0, 0);
}

/* ---- control, debug and segment registers ---- */

bool lift_mov_special(struct lift *l, const struct insn *in)
{
    unsigned w = mode_width(l);
    bool to = in->opnd[0].cls == RC_CR || in->opnd[0].cls == RC_DR;
    const struct operand *special = &in->opnd[to ? 0 : 1], *gpr = &in->opnd[to ? 1 : 0];
    bool cr = special->cls == RC_CR;
    if (to) {
        ir_ref v = ir_zext(l->ir, W64, w, lift_get(l, gpr->reg, w));
        return call_and_leave(l, cr ? HELPER_mov_to_cr : HELPER_mov_to_dr, c64(l, special->reg), v,
                              lift_next(l));
    }
    ir_ref v = ir_callv(l->ir, cr ? HELPER_mov_from_cr : HELPER_mov_from_dr, c64(l, special->reg),
                        0, 0, 0);
    lift_put(l, gpr->reg, w, ir_trunc(l->ir, w, W64, v));
    return true;
}

bool lift_mov_seg(struct lift *l, const struct insn *in)
{
    if (in->opnd[0].kind == OPND_REG && in->opnd[0].cls == RC_SEG) {
        ir_ref sel = ir_zext(l->ir, W64, W16, lift_read_w(l, in, 1, W16));
        return call_and_leave(l, HELPER_load_seg, c64(l, in->opnd[0].reg), sel, lift_next(l));
    }
    /* A register takes the operand size, memory 16 bits (SDM vol. 2, MOV). */
    unsigned w = lift_is_mem(in, 0) ? W16 : lift_width(in->opsize);
    ir_ref v = lift_read_w(l, in, 1, w);
    if (lift_is_mem(in, 0))
        lift_st(l, w, lift_linear(l, in, 2, true), v, lift_mf(in));
    else
        lift_put(l, in->opnd[0].reg, w, v);
    return true;
}

bool lift_load_far(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize), seg;
    switch (in->op) {
    case OP_lds: seg = SEG_DS; break;
    case OP_les: seg = SEG_ES; break;
    case OP_lfs: seg = SEG_FS; break;
    case OP_lgs: seg = SEG_GS; break;
    default: seg = 0x100 | SEG_SS; break; /* no interrupt shadow */
    }
    ir_ref addr = lift_linear(l, in, in->opsize + 2, false);
    ir_ref off = lift_ld(l, w, addr, lift_mf(in));
    ir_ref sel = lift_ld(l, W16, lift_offset(l, addr, in->opsize), lift_mf(in));
    ir_call(l->ir, HELPER_load_seg, c64(l, seg), ir_zext(l->ir, W64, W16, sel), lift_next(l), 0);
    lift_put(l, in->opnd[0].reg, w, off);
    lift_exit_lookup(l);
    return true;
}

bool lift_cli(struct lift *l, const struct insn *in)
{
    return call_next(l, HELPER_cli);
}

bool lift_sti(struct lift *l, const struct insn *in)
{
    return call_next(l, HELPER_sti);
}

bool lift_cld(struct lift *l, const struct insn *in)
{
    size_t at = offsetof(struct cpu, eflags);
    ir_ref v = ir_ldenv(l->ir, W64, at);
    if (in->op == OP_std)
        v = ir_2(l->ir, IR_or, W64, v, c64(l, FL_DF));
    else
        v = ir_2(l->ir, IR_and, W64, v, c64(l, ~(u64)FL_DF));
    ir_stenv(l->ir, W64, at, v);
    return true;
}

bool lift_clts(struct lift *l, const struct insn *in)
{
    return call_next(l, HELPER_clts);
}

bool lift_lmsw(struct lift *l, const struct insn *in)
{
    ring0(l);
    ir_ref v = ir_zext(l->ir, W64, W16, lift_read_w(l, in, 0, W16));
    return call_and_leave(l, HELPER_lmsw, v, lift_next(l), 0);
}

/* Writes a helper's result as SMSW, SLDT and STR do: 16 bits to memory, the operand size to a
 * register. */
static void write_selector(struct lift *l, const struct insn *in, ir_ref v)
{
    if (lift_is_mem(in, 0)) {
        ir_ref addr = lift_linear(l, in, 2, true);
        lift_st(l, W16, addr, ir_trunc(l->ir, W16, W64, v), lift_mf(in));
        return;
    }
    unsigned w = lift_width(in->opsize);
    lift_put(l, in->opnd[0].reg, w, ir_trunc(l->ir, w, W64, v));
}

bool lift_smsw(struct lift *l, const struct insn *in)
{
    write_selector(l, in, ir_callv(l->ir, HELPER_smsw, 0, 0, 0, 0));
    return true;
}

/* ---- descriptor tables and selectors ---- */

bool lift_lgdt(struct lift *l, const struct insn *in)
{
    unsigned size = l->mode == 64 ? 8 : in->opsize;
    ir_ref addr = lift_linear(l, in, size == 8 ? 10 : 6, false);
    ir_call(l->ir, HELPER_lgdt, c64(l, in->op == OP_lidt), addr, c64(l, size), 0);
    return true;
}

bool lift_sgdt(struct lift *l, const struct insn *in)
{
    unsigned size = l->mode == 64 ? 8 : in->opsize;
    ir_ref addr = lift_linear(l, in, size == 8 ? 10 : 6, true);
    ir_call(l->ir, HELPER_sgdt, c64(l, in->op == OP_sidt), addr, c64(l, size), 0);
    return true;
}

bool lift_lldt(struct lift *l, const struct insn *in)
{
    if (!protected_mode(l))
        return false;
    ring0(l);
    ir_ref sel = ir_zext(l->ir, W64, W16, lift_read_w(l, in, 0, W16));
    ir_call(l->ir, in->op == OP_ltr ? HELPER_ltr : HELPER_lldt, sel, 0, 0, 0);
    return true;
}

bool lift_sldt(struct lift *l, const struct insn *in)
{
    if (!protected_mode(l))
        return false;
    write_selector(l, in, ir_callv(l->ir, HELPER_sldt, c64(l, in->op == OP_str), 0, 0, 0));
    return true;
}

bool lift_lar(struct lift *l, const struct insn *in)
{
    if (!protected_mode(l))
        return false;
    unsigned w = lift_opnd_width(in, 0), reg = in->opnd[0].reg;
    ir_ref sel = ir_zext(l->ir, W64, W16, lift_read_w(l, in, 1, W16));
    ir_ref v = ir_callv(l->ir, HELPER_lar, sel, c64(l, in->op == OP_lsl), 0, 0);
    ir_ref valid = ir_setcc(l->ir, 4, lift_getf(l)), before = ir_get(l->ir, reg);
    lift_put(l, reg, w, ir_trunc(l->ir, w, W64, v));
    ir_put(l->ir, reg, ir_3(l->ir, IR_select, W64, valid, ir_get(l->ir, reg), before));
    return true;
}

bool lift_verr(struct lift *l, const struct insn *in)
{
    if (!protected_mode(l))
        return false;
    ir_ref sel = ir_zext(l->ir, W64, W16, lift_read_w(l, in, 0, W16));
    ir_call(l->ir, HELPER_verr, sel, c64(l, in->op == OP_verw), 0, 0);
    return true;
}

bool lift_arpl(struct lift *l, const struct insn *in)
{
    if (!protected_mode(l))
        return false;
    ir_ref src = lift_read(l, in, 1);
    if (lift_is_mem(in, 0)) {
        ir_ref done = ir_callv(l->ir, HELPER_arpl, lift_const(l, W64, in->seg), lift_ea(l, in),
                               ir_zext(l->ir, W64, W16, src), 0);
        ir_ref zf = ir_icmp(l->ir, W64, IC_NE, done, lift_const(l, W64, 0));
        lift_putf(l, lift_fbit(l, lift_getf(l), FL_ZF, zf));
        return true;
    }
    ir_ref dst = lift_read(l, in, 0);
    ir_ref rpl = ir_2(l->ir, IR_and, W16, src, lift_const(l, W16, 3));
    ir_ref have = ir_2(l->ir, IR_and, W16, dst, lift_const(l, W16, 3));
    ir_ref raise = ir_icmp(l->ir, W16, IC_LTU, have, rpl);
    ir_ref v = ir_2(l->ir, IR_or, W16, ir_2(l->ir, IR_and, W16, dst, lift_const(l, W16, 0xfffc)),
                    rpl);
    lift_write(l, in, 0, ir_3(l->ir, IR_select, W16, raise, v, dst));
    lift_putf(l, lift_fbit(l, lift_getf(l), FL_ZF, raise));
    return true;
}

/* ---- TLB and caches ---- */

bool lift_invlpg(struct lift *l, const struct insn *in)
{
    return call_and_leave(l, HELPER_invlpg, lift_linear_unchecked(l, in), lift_next(l), 0);
}

bool lift_invpcid(struct lift *l, const struct insn *in)
{
    unsigned w = mode_width(l);
    ir_ref type = ir_zext(l->ir, W64, w, lift_get(l, in->opnd[0].reg, w));
    return call_and_leave(l, HELPER_invpcid, type, lift_linear(l, in, 16, false), lift_next(l));
}

bool lift_wbinvd(struct lift *l, const struct insn *in)
{
    ring0(l);
    return true;
}

bool lift_clflush(struct lift *l, const struct insn *in)
{
    /* Checked like a load of one byte, but code need not be readable (SDM vol. 2A, CLFLUSH); the
     * host's caches are coherent. */
    bool code = in->seg == SEG_CS && !(l->hflags & HF_LONG);
    ir_ref addr = code ? ir_emit(l->ir, IR_segaddr, W64, SEG_CS, 0x201, lift_ea(l, in), 0, 0, 0)
                       : lift_linear(l, in, 1, false);
    lift_ld(l, W8, addr, lift_mf(in));
    return true;
}

bool lift_fence(struct lift *l, const struct insn *in)
{
    /* Loads and stores are ordered anyway, but for a store before a load (SDM vol. 3A, 8.2.2). */
    if (in->op == OP_mfence)
        ir_emit(l->ir, IR_fence, 0, 0, 0, 0, 0, 0, 0);
    return true;
}

/* ---- bases, MSRs, time, identification ---- */

bool lift_swapgs(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_swapgs, 0, 0, 0, 0);
    return true;
}

bool lift_rdfsbase(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref v = ir_callv(l->ir, HELPER_rdfsbase,
                        c64(l, in->op == OP_rdfsbase ? SEG_FS : SEG_GS), 0, 0, 0);
    lift_put(l, in->opnd[0].reg, w, ir_trunc(l->ir, w, W64, v));
    return true;
}

bool lift_wrfsbase(struct lift *l, const struct insn *in)
{
    unsigned w = lift_opnd_width(in, 0);
    ir_ref v = ir_zext(l->ir, W64, w, lift_read(l, in, 0));
    ir_call(l->ir, HELPER_wrfsbase, c64(l, in->op == OP_wrfsbase ? SEG_FS : SEG_GS), v, 0, 0);
    return true;
}

bool lift_rdmsr(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_rdmsr, 0, 0, 0, 0);
    return true;
}

bool lift_wrmsr(struct lift *l, const struct insn *in)
{
    return call_next(l, HELPER_wrmsr);
}

bool lift_rdtsc(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_rdtsc, c64(l, in->op == OP_rdtscp), 0, 0, 0);
    return true;
}

bool lift_rdpmc(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_rdpmc, 0, 0, 0, 0);
    return true;
}

bool lift_rdpid(struct lift *l, const struct insn *in)
{
    unsigned w = mode_width(l);
    ir_ref v = ir_callv(l->ir, HELPER_rdpid, 0, 0, 0, 0);
    lift_put(l, in->opnd[0].reg, w, ir_trunc(l->ir, w, W64, v));
    return true;
}

bool lift_rdrand(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->opsize);
    ir_ref v = ir_callv(l->ir, HELPER_rdrand, c64(l, in->op == OP_rdseed), c64(l, in->opsize), 0,
                        0);
    lift_put(l, in->opnd[0].reg, w, ir_trunc(l->ir, w, W64, v));
    return true;
}

bool lift_cpuid(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_cpuid, 0, 0, 0, 0);
    return true;
}

bool lift_xgetbv(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_xgetbv, 0, 0, 0, 0);
    return true;
}

bool lift_xsetbv(struct lift *l, const struct insn *in)
{
    return call_next(l, HELPER_xsetbv);
}

bool lift_rdpkru(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, in->op == OP_rdpkru ? HELPER_rdpkru : HELPER_wrpkru, 0, 0, 0, 0);
    return true;
}

bool lift_stac(struct lift *l, const struct insn *in)
{
    ir_call(l->ir, HELPER_stac, c64(l, in->op == OP_stac), 0, 0, 0);
    return true;
}

bool lift_monitor(struct lift *l, const struct insn *in)
{
    unsigned w = lift_width(in->addrsize), seg = in->seg_override ? in->seg : SEG_DS;
    ir_ref off = ir_zext(l->ir, W64, w, lift_get(l, RAX, w));
    ir_call(l->ir, HELPER_monitor, lift_segment(l, seg, off, 1, false), 0, 0, 0);
    return true;
}

/* ---- ports ---- */

/* Bytes and port of IN and OUT: opcodes E4-E7 have an immediate, EC-EF use DX. */
static unsigned port_bytes(const struct insn *in)
{
    return !(in->opcode & 1) ? 1 : in->opsize == 2 ? 2 : 4;
}

static ir_ref port_number(struct lift *l, const struct insn *in)
{
    if (in->opcode & 8)
        return ir_zext(l->ir, W64, W16, lift_get(l, RDX, W16));
    return c64(l, in->imm & 0xff);
}

bool lift_in(struct lift *l, const struct insn *in)
{
    unsigned bytes = port_bytes(in), w = lift_width(bytes);
    ir_ref v = ir_callv(l->ir, HELPER_in, port_number(l, in), c64(l, bytes), 0, 0);
    lift_put(l, RAX, w, ir_trunc(l->ir, w, W64, v));
    return true;
}

bool lift_out(struct lift *l, const struct insn *in)
{
    unsigned bytes = port_bytes(in), w = lift_width(bytes);
    ir_ref v = ir_zext(l->ir, W64, w, lift_get(l, RAX, w));
    /* Leaves: an SMI or interrupt that the write brings is taken before the next instruction. */
    ir_call(l->ir, HELPER_out, port_number(l, in), c64(l, bytes), v, lift_next(l));
    lift_exit_lookup(l);
    return true;
}

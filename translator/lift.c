/* The lifter's frame: decodes guest bytes one instruction after another, checks that the CPU model
 * has them, dispatches to the lift functions, and ends the block.
 *
 * Touches: the decoder, the CPU model (through cpu_has), the IR being built.  Left out: what each
 * instruction does (lift_*.c), operands and addresses (lift_operand.c), optimisation (opt.c).
 */
#include "translator/lift.h"

#include "cpu/cpuid.h"
#include "translator/block.h"

/* The longest single instruction is ENTER at level 31; everything else is far below ROOM. */
#define ROOM 200u
#define ROOM_ENTER 640u

static lift_fn *const lift_table[OP_COUNT] = {
    [OP_aaa] = lift_bcd, [OP_aad] = lift_bcd, [OP_aam] = lift_bcd, [OP_aas] = lift_bcd,
    [OP_daa] = lift_bcd, [OP_das] = lift_bcd,
    [OP_adc] = lift_alu, [OP_add] = lift_alu, [OP_and] = lift_alu, [OP_cmp] = lift_alu,
    [OP_or] = lift_alu, [OP_sbb] = lift_alu, [OP_sub] = lift_alu, [OP_adcx] = lift_adcx,
    [OP_adox] = lift_adcx, [OP_test] = lift_alu,
    [OP_xor] = lift_alu, [OP_inc] = lift_incdec, [OP_dec] = lift_incdec, [OP_not] = lift_not,
    [OP_neg] = lift_neg,
    [OP_mov] = lift_mov, [OP_movabs] = lift_mov, [OP_movnti] = lift_mov, [OP_movzx] = lift_movzx,
    [OP_movsx] = lift_movsx, [OP_movsxd] = lift_movsx, [OP_lea] = lift_lea, [OP_xchg] = lift_xchg,
    [OP_xadd] = lift_xadd, [OP_cmpxchg] = lift_cmpxchg, [OP_cmpxchg8b] = lift_cmpxchg8b,
    [OP_cmpxchg16b] = lift_cmpxchg16b, [OP_bswap] = lift_bswap, [OP_movbe] = lift_movbe,
    [OP_cbw] = lift_cbw, [OP_cwde] = lift_cbw, [OP_cdqe] = lift_cbw, [OP_cwd] = lift_cwd,
    [OP_cdq] = lift_cwd, [OP_cqo] = lift_cwd, [OP_cmovcc] = lift_cmov, [OP_setcc] = lift_set,
    [OP_xlatb] = lift_xlat, [OP_crc32] = lift_crc32, [OP_mul] = lift_mul, [OP_imul] = lift_imul,
    [OP_div] = lift_div, [OP_idiv] = lift_div,
    [OP_nop] = lift_nop, [OP_pause] = lift_nop, [OP_endbr32] = lift_nop, [OP_endbr64] = lift_nop,
    [OP_prefetch] = lift_nop, [OP_prefetchw] = lift_nop, [OP_prefetchnta] = lift_nop,
    [OP_prefetcht0] = lift_nop, [OP_prefetcht1] = lift_nop, [OP_prefetcht2] = lift_nop,
    [OP_shl] = lift_shift, [OP_shr] = lift_shift, [OP_sar] = lift_shift, [OP_rol] = lift_rotate,
    [OP_ror] = lift_rotate, [OP_rcl] = lift_rotate_carry, [OP_rcr] = lift_rotate_carry,
    [OP_shld] = lift_double_shift, [OP_shrd] = lift_double_shift, [OP_bt] = lift_bittest,
    [OP_btc] = lift_bittest, [OP_btr] = lift_bittest, [OP_bts] = lift_bittest,
    [OP_bsf] = lift_bitscan, [OP_bsr] = lift_bitscan, [OP_lzcnt] = lift_lzcnt,
    [OP_tzcnt] = lift_lzcnt, [OP_popcnt] = lift_popcnt, [OP_lahf] = lift_lahf,
    [OP_sahf] = lift_sahf, [OP_clc] = lift_flagop, [OP_stc] = lift_flagop, [OP_cmc] = lift_flagop,
    [OP_salc] = lift_salc,
    [OP_andn] = lift_andn, [OP_blsr] = lift_bls, [OP_blsmsk] = lift_bls, [OP_blsi] = lift_bls,
    [OP_bzhi] = lift_bzhi, [OP_bextr] = lift_bextr, [OP_mulx] = lift_mulx, [OP_pdep] = lift_pdep,
    [OP_pext] = lift_pdep, [OP_rorx] = lift_shiftx, [OP_shlx] = lift_shiftx,
    [OP_shrx] = lift_shiftx, [OP_sarx] = lift_shiftx,
    [OP_jmp] = lift_jmp, [OP_jcc] = lift_jcc, [OP_jcxz] = lift_jcxz, [OP_jecxz] = lift_jcxz,
    [OP_jrcxz] = lift_jcxz, [OP_loop] = lift_loop, [OP_loope] = lift_loop, [OP_loopne] = lift_loop,
    [OP_call] = lift_call, [OP_ret] = lift_ret, [OP_ljmp] = lift_ljmp, [OP_lcall] = lift_lcall,
    [OP_retf] = lift_retf, [OP_retfq] = lift_retf, [OP_iret] = lift_iret, [OP_iretd] = lift_iret,
    [OP_iretq] = lift_iret, [OP_int] = lift_int, [OP_int1] = lift_int, [OP_int3] = lift_int,
    [OP_into] = lift_into, [OP_bound] = lift_bound, [OP_push] = lift_push_op,
    [OP_pop] = lift_pop_op, [OP_pusha] = lift_pusha, [OP_pushad] = lift_pusha,
    [OP_popa] = lift_popa, [OP_popad] = lift_popa, [OP_pushf] = lift_pushf,
    [OP_pushfd] = lift_pushf, [OP_pushfq] = lift_pushf, [OP_popf] = lift_popf,
    [OP_popfd] = lift_popf, [OP_popfq] = lift_popf, [OP_enter] = lift_enter,
    [OP_leave] = lift_leave, [OP_ud0] = lift_ud, [OP_ud1] = lift_ud, [OP_ud2] = lift_ud,
    [OP_vmcall] = lift_ud, [OP_syscall] = lift_syscall, [OP_sysret] = lift_sysret,
    [OP_sysenter] = lift_sysenter, [OP_sysexit] = lift_sysexit, [OP_hlt] = lift_hlt,
    [OP_mwait] = lift_mwait, [OP_rsm] = lift_rsm,
    [OP_movsb] = lift_movs, [OP_movsw] = lift_movs, [OP_movsd] = lift_movs, [OP_movsq] = lift_movs,
    [OP_stosb] = lift_stos, [OP_stosw] = lift_stos, [OP_stosd] = lift_stos, [OP_stosq] = lift_stos,
    [OP_lodsb] = lift_lods, [OP_lodsw] = lift_lods, [OP_lodsd] = lift_lods, [OP_lodsq] = lift_lods,
    [OP_scasb] = lift_scas, [OP_scasw] = lift_scas, [OP_scasd] = lift_scas, [OP_scasq] = lift_scas,
    [OP_cmpsb] = lift_cmps, [OP_cmpsw] = lift_cmps, [OP_cmpsd] = lift_cmps, [OP_cmpsq] = lift_cmps,
    [OP_insb] = lift_ins, [OP_insw] = lift_ins, [OP_insd] = lift_ins, [OP_outsb] = lift_outs,
    [OP_outsw] = lift_outs, [OP_outsd] = lift_outs,
    [OP_lds] = lift_load_far, [OP_les] = lift_load_far, [OP_lfs] = lift_load_far,
    [OP_lgs] = lift_load_far, [OP_lss] = lift_load_far, [OP_cli] = lift_cli, [OP_sti] = lift_sti,
    [OP_cld] = lift_cld, [OP_std] = lift_cld, [OP_clts] = lift_clts, [OP_lmsw] = lift_lmsw,
    [OP_smsw] = lift_smsw, [OP_lgdt] = lift_lgdt, [OP_lidt] = lift_lgdt, [OP_sgdt] = lift_sgdt,
    [OP_sidt] = lift_sgdt, [OP_lldt] = lift_lldt, [OP_ltr] = lift_lldt, [OP_sldt] = lift_sldt,
    [OP_str] = lift_sldt, [OP_lar] = lift_lar, [OP_lsl] = lift_lar, [OP_verr] = lift_verr,
    [OP_verw] = lift_verr, [OP_arpl] = lift_arpl, [OP_invlpg] = lift_invlpg,
    [OP_invpcid] = lift_invpcid, [OP_invd] = lift_wbinvd, [OP_wbinvd] = lift_wbinvd,
    [OP_swapgs] = lift_swapgs, [OP_rdfsbase] = lift_rdfsbase, [OP_rdgsbase] = lift_rdfsbase,
    [OP_wrfsbase] = lift_wrfsbase, [OP_wrgsbase] = lift_wrfsbase, [OP_rdmsr] = lift_rdmsr,
    [OP_wrmsr] = lift_wrmsr, [OP_rdtsc] = lift_rdtsc, [OP_rdtscp] = lift_rdtsc,
    [OP_rdpmc] = lift_rdpmc, [OP_rdpid] = lift_rdpid, [OP_rdrand] = lift_rdrand,
    [OP_rdseed] = lift_rdrand, [OP_cpuid] = lift_cpuid, [OP_xgetbv] = lift_xgetbv,
    [OP_xsetbv] = lift_xsetbv, [OP_stac] = lift_stac, [OP_clac] = lift_stac,
    [OP_rdpkru] = lift_rdpkru, [OP_wrpkru] = lift_rdpkru, [OP_in] = lift_in,
    [OP_out] = lift_out, [OP_monitor] = lift_monitor, [OP_lfence] = lift_fence,
    [OP_mfence] = lift_fence, [OP_sfence] = lift_fence, [OP_clflush] = lift_clflush,
    [OP_clflushopt] = lift_clflush, [OP_clwb] = lift_clflush,
};

bool lift_has(const struct lift *l, enum isa isa)
{
    return cpu_has(l->cpu, isa);
}

/* Whether the model has the instruction in this mode. */
static bool model_has(const struct lift *l, const struct insn *in)
{
    switch (in->op) {
    /* Without their CPUID bits these are the older instructions whose bytes they extend with a
     * prefix, or the no-ops that family 6 has there (SDM vol. 2, LZCNT, TZCNT, ENDBR64, PREFETCHW,
     * NOP). */
    case OP_lzcnt: case OP_tzcnt:
        return true;
    case OP_endbr32: case OP_endbr64: case OP_prefetchw: case OP_prefetch: case OP_prefetchnta:
    case OP_prefetcht0: case OP_prefetcht1: case OP_prefetcht2:
        return cpu_has(l->cpu, ISA_686);
    case OP_lahf: case OP_sahf:
        return l->mode != 64 || cpu_has(l->cpu, in->row->isa);
    default:
        return cpu_has(l->cpu, in->row->isa);
    }
}

static void lift_one(struct lift *l, const struct insn *in)
{
    bool ok = false;
    /* VEX needs protected mode (SDM vol. 2A 2.3.5). */
    bool vex_ok = !in->vex || (l->hflags & (HF_PE | HF_VM)) == HF_PE;
    if (vex_ok && model_has(l, in)) {
        lift_fn *fn = lift_table[in->op];
        ok = fn ? fn(l, in) : lift_fp(l, in);
    }
    if (!ok)
        lift_raise(l, EXC_UD);
}

/* Starts the guest instruction at rip; len bytes of it are known. */
static void begin_insn(struct lift *l, u64 rip, unsigned len)
{
    l->rip = rip;
    l->next = rip + len;
    if (!(l->hflags & HF_LONG))
        l->next = (u32)l->next;
    l->rsp_for_ea = 0;
    ir_emit(l->ir, IR_insn, 0, len, rip, 0, 0, 0, 0);
}

static unsigned code_mode(u32 hflags)
{
    return hflags & HF_LONG ? 64 : hflags & HF_CS32 ? 32 : 16;
}

/* Decodes and lifts one instruction at p; false when it does not fit any more. */
static bool lift_next_insn(struct lift *l, const u8 *p, unsigned avail, u64 rip, unsigned *len)
{
    struct insn in;
    enum decode_status status = decode(&in, p, avail, l->mode);
    if (status == DECODE_TRUNCATED)
        return false;
    unsigned room = status == DECODE_OK && in.op == OP_enter ? ROOM_ENTER : ROOM;
    if (l->ir->count + room > IR_MAX)
        return false;
    unsigned first = l->ir->count;
    *len = in.len ? in.len : 1;
    begin_insn(l, rip, *len);
    l->rest = p + *len;
    l->left = avail - *len;
    if (status == DECODE_OK)
        lift_one(l, &in);
    else if (status == DECODE_TOO_LONG)
        lift_raise_error(l, EXC_GP, 0);
    else
        lift_raise(l, EXC_UD);
    if (l->ir->narrow && in.vex)
        lift_narrow(l, first);
    return true;
}

unsigned lift_block(struct cpu *cpu, struct ir *ir, const struct lift_input *in)
{
    struct lift l = {.cpu = cpu, .ir = ir, .hflags = ir->hflags, .mode = code_mode(ir->hflags)};
    l.stack_w = l.mode == 64 ? W64 : ir->hflags & HF_SS32 ? W32 : W16;
    unsigned max = in->max_insns < BLOCK_MAX_INSNS ? in->max_insns : BLOCK_MAX_INSNS;
    if (ir->hflags & (HF_ONE | HF_TF) || !max)
        max = 1;
    unsigned done = 0, insns = 0;
    u64 rip = ir->rip;
    while (insns < max && done < in->avail && !l.ended) {
        unsigned len;
        if (!lift_next_insn(&l, in->p + done, in->avail - done, rip, &len))
            break;
        done += len;
        rip = l.next;
        insns++;
    }
    if (!insns)
        return 0;
    ir->next_rip = rip;
    ir->guest_insns = insns;
    ir->guest_bytes = done;
    if (!l.ended)
        lift_exit(&l, rip);
    return insns;
}

/* ---- looking ahead for the flags ---- */

/* Whether an exception, or anything else that looks at the flags, may happen in it. */
static bool may_be_seen(const struct insn *in)
{
    for (unsigned i = 0; i < in->operands; i++)
        if (in->opnd[i].kind == OPND_MEM && in->opnd[i].size)
            return true;
    switch (in->row->isa) {
    case ISA_BASE: case ISA_CMOV: case ISA_486: case ISA_686: case ISA_MOVBE: case ISA_POPCNT:
    case ISA_LZCNT: case ISA_BMI1: case ISA_BMI2: case ISA_LM:
        break;
    default:
        return true;
    }
    switch (in->op) {
    case OP_adc: case OP_add: case OP_and: case OP_cmp: case OP_or: case OP_sbb: case OP_sub:
    case OP_test: case OP_xor: case OP_inc: case OP_dec: case OP_not: case OP_neg: case OP_mov:
    case OP_movabs: case OP_movzx: case OP_movsx: case OP_movsxd: case OP_lea: case OP_xchg:
    case OP_bswap: case OP_cbw: case OP_cwde: case OP_cdqe: case OP_cwd: case OP_cdq: case OP_cqo:
    case OP_cmovcc: case OP_setcc: case OP_mul: case OP_imul: case OP_nop: case OP_endbr32:
    case OP_endbr64: case OP_shl: case OP_shr: case OP_sar: case OP_rol: case OP_ror: case OP_rcl:
    case OP_rcr: case OP_shld: case OP_shrd: case OP_bt: case OP_btc: case OP_btr: case OP_bts:
    case OP_bsf: case OP_bsr: case OP_lzcnt: case OP_tzcnt: case OP_popcnt: case OP_clc:
    case OP_stc: case OP_cmc: case OP_andn: case OP_blsr: case OP_blsmsk: case OP_blsi:
    case OP_bzhi: case OP_bextr: case OP_mulx: case OP_pdep: case OP_pext: case OP_rorx:
    case OP_shlx: case OP_shrx: case OP_sarx: case OP_xadd: case OP_cmpxchg:
        return in->lock;
    default:
        return true;
    }
}

/* Flags that it needs.  The rows of shifts and rotates allow for a count of 0, which an immediate
 * need not. */
static u32 flags_needed(const struct insn *in)
{
    u32 read = in->row->flags_read;
    unsigned mask = in->opsize == 8 ? 63 : 31;
    bool moves = in->operands && in->opnd[in->operands - 1].kind == OPND_IMM && (in->imm & mask);
    switch (in->op) {
    case OP_shl: case OP_shr: case OP_sar: case OP_rol: case OP_ror: case OP_shld: case OP_shrd:
        return moves ? 0 : read;
    case OP_rcl: case OP_rcr:
        return moves ? FL_CF : read;
    default:
        return read;
    }
}

bool lift_flags_read_behind(const struct lift *l)
{
    enum { LOOK_BEHIND = 4 };
    u32 open = FL_ARITH;
    unsigned at = 0;
    for (unsigned n = 0; n < LOOK_BEHIND && open; n++) {
        struct insn in;
        if (decode(&in, l->rest + at, l->left - at, l->mode) != DECODE_OK)
            return false;
        if (flags_needed(&in) & open)
            return true;
        if (in.row->props & (ROW_SYSTEM | ROW_BRANCH))
            return false;
        open &= ~(u32)in.row->flags_written;
        at += in.len;
    }
    return false;
}

unsigned lift_flags_fate(const struct cpu *cpu, const u8 *p, unsigned *avail, u32 hflags)
{
    enum { LOOK_AHEAD = 8 };
    u32 open = FL_ARITH;
    unsigned at = 0;
    bool seen = false;
    if (hflags & (HF_TF | HF_ONE))
        return XF_LIVE;
    for (unsigned n = 0; n < LOOK_AHEAD; n++) {
        struct insn in;
        if (decode(&in, p + at, *avail - at, code_mode(hflags)) != DECODE_OK ||
            !cpu_has(cpu, in.row->isa))
            return XF_LIVE;
        if (flags_needed(&in) & open)
            return XF_LIVE;
        at += in.len;
        seen |= may_be_seen(&in);
        open &= ~(u32)in.row->flags_written;
        if (!open) {
            *avail = at;
            return seen ? XF_FAULT : XF_DEAD;
        }
        if (in.row->props & ROW_SYSTEM)
            return XF_LIVE;
        if (in.row->props & ROW_BRANCH) {
            *avail = at;
            /* The successor's own first reader materialises what the lazy record says. */
            return in.op == OP_ret || in.op == OP_call || in.op == OP_jmp ? XF_FAULT : XF_LIVE;
        }
    }
    return XF_LIVE;
}

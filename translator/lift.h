/* What the files of the lifter share: the context of the block being lifted, and how operands,
 * addresses, stack and flags are read and written as IR.
 *
 * One rule orders every lift function (see ir.h): loads, stores and other ops that can fault come
 * first, puts last.  The helpers here therefore never put before they have loaded or stored.
 */
#ifndef DRAGOMAN_TRANSLATOR_LIFT_H
#define DRAGOMAN_TRANSLATOR_LIFT_H

#include "cpu/decode.h"
#include "cpu/state.h"
#include "translator/ir.h"

struct lift {
    struct cpu *cpu;  /* for the CPU model, and whether instructions are counted; nothing else of
                       * it may shape the code */
    struct ir *ir;
    u32 hflags;
    unsigned mode;    /* code size: 16, 32 or 64 */
    unsigned stack_w; /* width of the stack pointer: W16, W32, W64 */
    u64 rip;          /* of the instruction being lifted */
    u64 next;         /* of the one after it */
    const u8 *rest;   /* bytes behind it that may be in the block, and how many */
    unsigned left;
    ir_ref rsp_for_ea; /* when not 0: the RSP that address computation must use (POP to memory) */
    unsigned vl;      /* of the vector ops of the instruction (ir.h) */
    bool clears_upper; /* its vector results clear the bits above (VEX) */
    bool ended;       /* an op that ends the block has been emitted */
    bool mmx_checked; /* no x87 exception is pending: an MMX instruction of the block has looked */
    bool mmx_entered; /* TOP is 0 and all tags are valid: one has made them so */
};

/* Lifts one instruction.  Returns false when it is undefined in this mode: the block builder then
 * emits #UD (no put may have been emitted before). */
typedef bool lift_fn(struct lift *l, const struct insn *in);

/* Rewrites the ops from `first` on, those of one instruction, so that none has vl 1
 * (lift_narrow.c).  At most NARROW_MAX become at most ROOM (lift.c). */
#define NARROW_MAX 60u
void lift_narrow(struct lift *l, unsigned first);

/* x87, MMX, SSE and state-saving rows (lift_fp.c). */
lift_fn lift_fp;

/* Whether the instructions behind this one look at the flags as it leaves them, before a jump. */
bool lift_flags_read_behind(const struct lift *l);

/* Whether the CPU model has a group of instructions. */
bool lift_has(const struct lift *l, enum isa isa);

/* W8..W64 (W128) of an operand of 1, 2, 4, 8 (16) bytes. */
unsigned lift_width(unsigned bytes);

/* ---- constants and registers ---- */
ir_ref lift_const(struct lift *l, unsigned w, u64 v);
/* An address that moves with the code (IR_pc), and one by which the block cannot be moved. */
ir_ref lift_pc(struct lift *l, unsigned w, u64 v);
ir_ref lift_fixed(struct lift *l, unsigned w, u64 v);
/* A shift or rotate count (W8). */
ir_ref lift_count(struct lift *l, unsigned n);
/* The low w bits of a general register. */
ir_ref lift_get(struct lift *l, unsigned reg, unsigned w);
/* Writes w bits as x86 does: 8 and 16 keep the rest, 32 clear the upper half. */
void lift_put(struct lift *l, unsigned reg, unsigned w, ir_ref v);

/* ---- operands ---- */
/* Width of operand i. */
unsigned lift_opnd_width(const struct insn *in, unsigned i);
/* Index of the first operand that the assembly text shows; 0 when there is none. */
unsigned lift_explicit(const struct insn *in);
/* Reads operand i (general register, segment selector, memory or immediate) at its own width. */
ir_ref lift_read(struct lift *l, const struct insn *in, unsigned i);
/* The same at width w, for immediates and registers whose width another operand sets. */
ir_ref lift_read_w(struct lift *l, const struct insn *in, unsigned i, unsigned w);
/* Writes operand i (general register or memory) at its own width.  A memory operand's address is
 * computed here: not for read-modify-write. */
void lift_write(struct lift *l, const struct insn *in, unsigned i, ir_ref v);

/* A destination that is read, then written. */
struct lift_place {
    ir_ref addr; /* linear, 0 for a register */
    unsigned w;
};
ir_ref lift_rmw_read(struct lift *l, const struct insn *in, unsigned i, struct lift_place *p);
void lift_rmw_write(struct lift *l, const struct insn *in, unsigned i, const struct lift_place *p,
                    ir_ref v);
/* Whether operand i is memory (and the instruction is LOCKed). */
bool lift_is_mem(const struct insn *in, unsigned i);

/* ---- addresses ---- */
/* Offset of the memory operand, wrapped at the address size, as 64 bits. */
ir_ref lift_ea(struct lift *l, const struct insn *in);
/* v wrapped at `bytes` (2, 4 or 8), as 64 bits. */
ir_ref lift_wrap(struct lift *l, ir_ref v, unsigned bytes);
/* Linear address of a 64-bit offset in a segment, checked for `size` bytes where segments
 * matter. */
ir_ref lift_segment(struct lift *l, unsigned seg, ir_ref off, unsigned size, bool store);
/* Linear address of the memory operand, for an access of `size` bytes. */
ir_ref lift_linear(struct lift *l, const struct insn *in, unsigned size, bool store);
/* Linear address without limit and type checks (INVLPG). */
ir_ref lift_linear_unchecked(struct lift *l, const struct insn *in);
/* linear + n: for the second part of an operand whose address has been checked as a whole. */
ir_ref lift_offset(struct lift *l, ir_ref linear, unsigned n);
/* MF_STACK when the memory operand lies in the stack segment, else 0. */
unsigned lift_mf(const struct insn *in);
/* Loads and stores at a linear address; mf: MF_ flags. */
ir_ref lift_ld(struct lift *l, unsigned w, ir_ref addr, unsigned mf);
void lift_st(struct lift *l, unsigned w, ir_ref addr, ir_ref v, unsigned mf);

/* ---- stack ---- */
/* The stack pointer as an offset (64 bits, wrapped at the stack's width). */
ir_ref lift_sp(struct lift *l);
/* off + delta, wrapped at the stack's width. */
ir_ref lift_sp_add(struct lift *l, ir_ref off, s64 delta);
void lift_put_sp(struct lift *l, ir_ref off);
ir_ref lift_stack_ld(struct lift *l, unsigned w, ir_ref off);
void lift_stack_st(struct lift *l, unsigned w, ir_ref off, ir_ref v);
/* Stores v below the stack pointer and then moves the pointer. */
void lift_push(struct lift *l, unsigned w, ir_ref v);

/* ---- flags ---- */
ir_ref lift_getf(struct lift *l);
void lift_putf(struct lift *l, ir_ref f);
/* Flags value with all six clear. */
ir_ref lift_noflags(struct lift *l);
/* CF as a boolean. */
ir_ref lift_carry(struct lift *l);
/* f with the flags of mask set to the boolean b. */
ir_ref lift_fbit(struct lift *l, ir_ref f, u32 mask, ir_ref b);
/* Flags of an op with operands a, b (c): fadd, fsub, flogic... at width w, then written. */
void lift_putf_op(struct lift *l, enum ir_op op, unsigned w, ir_ref a, ir_ref b, ir_ref c);

/* ---- leaving ---- */
/* Raises an exception without, or with, an error code; ends the block. */
void lift_raise(struct lift *l, unsigned vector);
void lift_raise_error(struct lift *l, unsigned vector, u32 error);
/* Goes to a constant RIP. */
void lift_exit(struct lift *l, u64 rip);
void lift_exit_if(struct lift *l, ir_ref cond, u64 rip);
/* Goes to a RIP in a 64-bit value; kind: XK_. */
/* drops: what RET n takes off the stack beside the target. */
void lift_exit_ind(struct lift *l, const struct insn *in, ir_ref rip, unsigned kind,
                   unsigned drops);
/* After a helper that has set rip. */
void lift_exit_lookup(struct lift *l);
/* The next instruction's RIP as a 64-bit constant, for helpers. */
ir_ref lift_next(struct lift *l);

/* ---- lift functions, for the dispatch table in lift.c ---- */
/* lift_int.c */
lift_fn lift_alu, lift_adcx, lift_incdec, lift_not, lift_neg, lift_mov, lift_movzx, lift_movsx,
    lift_lea, lift_xchg, lift_xadd, lift_cmpxchg, lift_cmpxchg8b, lift_cmpxchg16b, lift_bswap,
    lift_movbe, lift_cbw, lift_cwd, lift_cmov, lift_set, lift_nop, lift_xlat, lift_crc32, lift_mul,
    lift_imul, lift_div, lift_bcd;
/* lift_bits.c */
lift_fn lift_shift, lift_rotate, lift_rotate_carry, lift_double_shift, lift_bittest, lift_bitscan,
    lift_lzcnt, lift_popcnt, lift_lahf, lift_sahf, lift_flagop, lift_salc,
    lift_andn, lift_bls, lift_bzhi, lift_bextr, lift_mulx, lift_pdep, lift_shiftx;
/* lift_flow.c */
lift_fn lift_jmp, lift_jcc, lift_jcxz, lift_loop, lift_call, lift_ret, lift_ljmp, lift_lcall,
    lift_retf, lift_iret, lift_int, lift_into, lift_bound, lift_push_op, lift_pop_op, lift_pusha,
    lift_popa, lift_pushf, lift_popf, lift_enter, lift_leave, lift_ud, lift_syscall, lift_sysret,
    lift_sysenter, lift_sysexit, lift_hlt, lift_mwait, lift_rsm;
/* lift_string.c */
lift_fn lift_movs, lift_stos, lift_lods, lift_scas, lift_cmps, lift_ins, lift_outs;
/* lift_system.c */
lift_fn lift_mov_special, lift_mov_seg, lift_load_far, lift_cli, lift_sti, lift_cld, lift_clts,
    lift_lmsw, lift_smsw, lift_lgdt, lift_sgdt, lift_lldt, lift_sldt, lift_lar, lift_verr,
    lift_arpl, lift_invlpg, lift_invpcid, lift_wbinvd, lift_swapgs, lift_rdfsbase, lift_wrfsbase,
    lift_rdmsr, lift_wrmsr, lift_rdtsc, lift_rdpmc, lift_rdpid, lift_rdrand, lift_cpuid,
    lift_xgetbv, lift_xsetbv, lift_stac, lift_rdpkru, lift_in, lift_out, lift_monitor, lift_fence,
    lift_clflush;

#endif

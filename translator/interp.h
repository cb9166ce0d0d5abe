/* The portable engine's inside: IR compacted to directly threaded ops, one C function each.
 *
 * An op function does its work and calls the next one as its last act, which compilers turn into
 * a jump; the chain ends in an exit op, which returns the block to go on with, or NULL for the run
 * loop.  Values live in a frame of the vCPU, one 16-byte slot each.  Unwinding from a fault is a
 * longjmp to the run loop.
 *
 * Plain loads and stores work on any host; vectors and atomics need a little-endian one.
 */
#ifndef DRAGOMAN_TRANSLATOR_INTERP_H
#define DRAGOMAN_TRANSLATOR_INTERP_H

#include <setjmp.h>

#include "cpu/accel.h"
#include "cpu/cpu.h"
#include "translator/block.h"
#include "translator/ir_eval.h"
#include "translator/ir_eval_vec.h"

struct xop;
struct tblock;

/* frame: base of the vCPU's value slots. */
typedef struct tblock *xop_fn(struct cpu *cpu, u8 *frame, const struct xop *x);

struct xop {
    union {
        xop_fn *fn;
        struct tblock *link; /* in the entry after a direct exit: where it went last... */
    };
    u64 imm;                 /* ...and that block's serial */
    u16 d, a, b, c, e;       /* byte offsets of result and operands in the frame */
    u8 aux, w;
    u32 insns;               /* exits: guest instructions of the block executed when leaving here */
};

/* Where a guest instruction begins. */
struct xmark {
    u64 rip;
    u32 first; /* its first op */
};

struct xcode {
    struct xchunk *chunk; /* arena piece that it lies in */
    u32 count, marks;
    struct xop *ops;
    struct xmark *mark;
    struct ir_insn *vec; /* the vector ops, for ir_eval_vec */
};

/* A block of this engine.  Its memory is only ever reused for another one, and each translation
 * has a serial of its own (0 when dropped), so that stale pointers are found out by comparing. */
struct tblock {
    struct block b;
    u64 serial;
    struct xcode code;
    struct tblock *pool_next;
};

/* aux of memory ops: the MF_ flags and this. */
#define XM_ALIGN 0x80u /* alignment checks are on */

struct interp;

struct vcpu {
    struct cpu *cpu;
    struct interp *engine;
    struct tblock *running;
    const struct xop *at; /* the op that may raise, while it does */
    jmp_buf unwind;
    bool redo;            /* execute the next instruction alone, with fresh bytes */
    u64 blocks, insns, unwinds, links;
    struct front_counters front;
    u64 translate_ns; /* host time for lifting and the passes */
    struct vcpu *next;
    struct ir ir;         /* being translated */
    struct xop scratch[2 * IR_MAX + 8];
    union ir_value frame[IR_MAX];
};

static inline struct vcpu *vcpu_of(const struct cpu *cpu)
{
    return cpu->engine_data;
}

/* The slot at a byte offset. */
static inline u64 *slot(u8 *frame, u16 offset)
{
    return (u64 *)(frame + offset);
}
static inline union ir_value *vslot(u8 *frame, u16 offset)
{
    return (union ir_value *)(frame + offset);
}
static inline struct tblock *next_op(struct cpu *cpu, u8 *frame, const struct xop *x)
{
    return x[1].fn(cpu, frame, x + 1);
}

/* Comparisons of the fused forms; wider than IC_ so that a constant is always on the right. */
enum xrel {
    XR_EQ, XR_NE, XR_LTU, XR_LEU, XR_GTU, XR_GEU, XR_LTS, XR_LES, XR_GTS, XR_GES, XR_COUNT
};

/* Functions by op (interp_ops.c); NULL where there is no such form.  imm: operand b is x->imm. */
extern xop_fn *const xop_pure[IR_OP_COUNT][4];
extern xop_fn *const xop_pure_imm[IR_OP_COUNT][4];
extern xop_fn *const xop_compare[XR_COUNT][4][2]; /* [][][1]: b is x->imm */
/* Conditional exits: the exit itself and its link entry follow, then where it goes on if not. */
extern xop_fn *const xop_exit_compare[XR_COUNT][4][2];
extern xop_fn *const xop_setcc[16];
xop_fn xop_get, xop_get_trunc, xop_put, xop_put_imm, xop_getf, xop_putf, xop_putf_lazy, xop_getv,
    xop_putv, xop_divu, xop_divs, xop_vector, xop_vfromi, xop_ifromv, xop_call, xop_fence,
    xop_raise, xop_exit, xop_exit_quiet, xop_exit_once, xop_exit_if, xop_exit_ind,
    xop_exit_ind_once, xop_exit_lookup, xop_exit_lookup_once;

/* Memory (interp_mem.c): address is slot a plus imm. */
extern xop_fn *const xop_ld[4], *const xop_st[4], *const xop_ldenv[4], *const xop_stenv[4];
xop_fn xop_ld_slow, xop_st_slow, xop_vld, xop_vst, xop_vst2, xop_segaddr, xop_atomic, xop_cmpxchg;

/* Compacts v->ir to v->scratch (interp.c); fills marks and vec (room for IR_MAX each). */
struct xcompact {
    unsigned ops, marks, vecs;
};
struct xcompact interp_compact(struct vcpu *v, struct xmark *mark, struct ir_insn *vec);

/* The block to go on with after an exit (accel_interp.c), without leaving the chain; NULL when the
 * run loop must look. */
struct tblock *interp_continue(struct cpu *cpu);
/* The same, remembering it in the exit's link entry when that is safe. */
struct tblock *interp_link(struct cpu *cpu, struct xop *link);

#endif

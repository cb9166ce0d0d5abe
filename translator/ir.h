/* The intermediate representation of one block: a straight line of SSA ops with side exits.
 *
 * Guest state is read and written by get/put ops.  Within one guest instruction every put comes
 * after the last op that can fault, so that guest state is that of the instruction's start when
 * it does (string instructions count each element as one).  Rows: ir.def and ir_vec.def.
 */
#ifndef DRAGOMAN_TRANSLATOR_IR_H
#define DRAGOMAN_TRANSLATOR_IR_H

#include "base/types.h"
#include "cpu/helpers.h"
#include "cpu/state.h"

enum ir_op {
    IR_NONE,
#define IR(name, out, in, effects, meaning) IR_##name,
#include "translator/ir.def"
#undef IR
#define VEC(name, out, in, effects, ...) IR_##name,
#include "translator/ir_vec.def"
#undef VEC
    IR_OP_COUNT
};

enum { W8, W16, W32, W64, W128, W256 };
#define W_BITS(w) (8u << (w))
#define W_BYTES(w) (1u << (w))

enum {
    E_RGPR = 1 << 0, E_WGPR = 1 << 1, E_RFL = 1 << 2, E_WFL = 1 << 3, E_RVEC = 1 << 4,
    E_WVEC = 1 << 5, E_RENV = 1 << 6, E_WENV = 1 << 7,
    E_FAULT = 1 << 8,  /* may raise: guest state must be exact here */
    E_LOAD = 1 << 9, E_STORE = 1 << 10, E_FENCE = 1 << 11,
    E_CALL = 1 << 12,  /* effects come from the helper's row */
    E_MARK = 1 << 13,
    E_EXIT = 1 << 14,  /* may leave the block */
    E_END = 1 << 15,   /* leaves the block */
    E_RMXCSR = 1 << 16, /* depends on MXCSR and accrues its flags: never dropped */
};

/* icmp relations. */
enum { IC_EQ, IC_NE, IC_LTU, IC_LEU, IC_LTS, IC_LES };

/* Flags of ld, st, vld, vst. */
enum {
    MF_RMW = 1 << 0,     /* a load whose address will be stored to: check for writing */
    MF_STACK = 1 << 1,   /* non-canonical is #SS, not #GP */
    MF_ALIGN16 = 1 << 2, /* #GP unless a is a multiple of 16 */
    MF_SYSTEM = 1 << 3,  /* with supervisor rights whatever the CPL */
    MF_ALIGN32 = 1 << 4, /* #GP unless a is a multiple of 32 */
};

/* atomic's operation. */
enum { AT_ADD, AT_SUB, AT_AND, AT_OR, AT_XOR, AT_XCHG };

/* Fate of the arithmetic flags at a direct exit, found by looking into the successor. */
enum {
    XF_LIVE,  /* consumed there, or unknown */
    XF_FAULT, /* only an exception or interrupt could see them: a lazy record is enough */
    XF_DEAD,  /* overwritten before anything can see them */
};

/* w of exit_if. */
enum { EXIT_AGAIN = 1 };

/* What an indirect exit is. */
enum { XK_JMP, XK_CALL, XK_RET };

/* The imm of exit_ind: where the branch itself is, and what RET n drops beside its target. */
static inline u64 ir_branch(u64 rip, u16 drops)
{
    return (rip & 0xffffffffffff) | (u64)drops << 48;
}

/* What an engine gets from opt_run: no IR_NONE, `uses` counted, every value named after its
 * definition, and on each putf in aux the XF_ fate of what it stores: XF_LIVE when a getf, a
 * helper or an exit reads it, XF_FAULT when only an exception or interrupt could (an engine may
 * then keep no more than what it needs to recompute the flags).  Flags with fate XF_DEAD are never
 * stored.
 *
 * The old flags of fshl, fshr, fsar, fshld and fshrd may be absent (0) when the count is a constant
 * other than 0, for then they do not matter.
 *
 * Vectors have 256 bits; an op's vl says how many it works on.  With vl 0 it reads the low 128 bits
 * of its vector operands and gives 128, zero above; with vl 1 it works on all 256, each half for
 * itself where its row says nothing else.  What getv gives with vl 0 is not defined above bit 127,
 * so that only ops with vl 0 may take it.  An engine that has no 256-bit vectors asks for blocks
 * without vl 1 (lift_input).
 *
 * A boolean operand may be any W8 value that can only be 0 or 1; a count (n) is any W8 value.
 */

typedef u16 ir_ref; /* index of the defining op; 0 is none */

struct ir_insn {
    u16 op;       /* enum ir_op */
    u8 w, aux;
    u16 uses;     /* how many ops name this one; kept by opt_dead */
    u8 vl;        /* vector ops: 0 for 128 bits, 1 for 256 */
    ir_ref arg[4];
    u64 imm;
};

#define IR_MAX 2048u          /* ops in a block */
#define BLOCK_MAX_INSNS 128u  /* guest instructions in a block */

#define IR_LIVE_IMMS 128u
#define IR_LIVE_BYTES 512u /* longer blocks are never `live` */

struct ir {
    u64 rip;       /* of the first instruction */
    u64 cs_base;   /* linear = cs_base + rip */
    u64 next_rip;  /* after the last instruction lifted */
    bool narrow;   /* no vectors of 256 bits for this engine, which sets it once */
    bool fixed;    /* constants, or what they became, hold for this rip only */
    bool heated;   /* where code changes often, so that less was looked at than elsewhere */
    u32 run_ons;   /* branches behind which the block goes on */
    u64 off;       /* techniques that are switched off (technique.h); the engine sets it once */
    /* Code that changes often (block.h): `heat` is the engine's, set once if it can do such blocks;
     * `live` the host address of the block's first byte while its immediates are to be read when
     * they are used (IR_live), the bytes that were lifted, and where those immediates lie. */
    const u8 *heat;
    const u8 *live;
    u8 live_code[IR_LIVE_BYTES];
    struct {
        u16 at;
        u8 len;
    } live_imm[IR_LIVE_IMMS];
    unsigned live_imms;
    u32 hflags;
    u32 guest_insns;
    u32 guest_bytes;
    unsigned count; /* ops, from 1; op 0 is unused */
    struct ir_insn insns[IR_MAX];
};

/* One op's row. */
struct ir_op_info {
    const char *name, *out, *in;
    const char *meaning;
};
extern const struct ir_op_info ir_ops[IR_OP_COUNT];

/* Of each row what the translator asks for all the time, in as few cache lines as possible. */
struct ir_op_brief {
    u32 effects;
    u8 args;   /* letters of in */
    char type; /* first letter of out */
    bool vec;  /* has a vector among its first two inputs, or makes one */
};
extern const struct ir_op_brief ir_briefs[IR_OP_COUNT];

void ir_reset(struct ir *ir, u64 rip, u64 cs_base, u32 hflags);

/* Appends an op and returns its index.  The caller leaves room: see ir_room. */
static inline ir_ref ir_emit(struct ir *ir, enum ir_op op, unsigned w, unsigned aux, u64 imm,
                             ir_ref a, ir_ref b, ir_ref c, ir_ref d)
{
    unsigned i = ir->count;
    assert(i < IR_MAX);
    ir->insns[i] = (struct ir_insn){(u16)op, (u8)w, (u8)aux, 0, 0, {a, b, c, d}, imm};
    ir->count = i + 1;
    return (ir_ref)i;
}

/* The same for a vector op of length vl. */
ir_ref ir_emit_v(struct ir *ir, enum ir_op op, unsigned vl, unsigned w, unsigned aux, u64 imm,
                 ir_ref a, ir_ref b, ir_ref c);

/* How many ops still fit. */
static inline unsigned ir_room(const struct ir *ir)
{
    return IR_MAX - ir->count;
}

/* Columns of helpers.def, without linking the helpers. */
unsigned ir_helper_args(unsigned helper);
u32 ir_helper_effects(unsigned helper);
/* Effects of a call, with those of its helper. */
u32 ir_call_effects(const struct ir_insn *in);
/* Effects of any op. */
static inline u32 ir_effects(const struct ir_insn *in)
{
    u32 e = ir_briefs[in->op].effects;
    return unlikely(e & E_CALL) ? ir_call_effects(in) : e;
}
/* How many of arg[] the op uses: for calls as many as the helper takes. */
static inline unsigned ir_args(const struct ir_insn *in)
{
    const struct ir_op_brief *row = &ir_briefs[in->op];
    return unlikely(row->effects & E_CALL) ? ir_helper_args((unsigned)in->imm) : row->args;
}

/* Whether the op's value is known: imm. */
static inline bool ir_is_const(const struct ir_insn *in)
{
    return in->op == IR_const || in->op == IR_pc;
}

/* Whether the op names any value at all: a third do not. */
static inline bool ir_has_args(const struct ir_insn *in)
{
    u64 all;
    static_assert(sizeof in->arg == sizeof all, "all four at once");
    memcpy(&all, in->arg, sizeof all);
    return all;
}

/* Writes op i as one line of text without newline; IR_MAX_LINE bytes always suffice. */
#define IR_MAX_LINE 160
void ir_format(const struct ir *ir, unsigned i, char *buf, size_t size);

/* Prints the block, one op a line, with the guest instructions as headings. */
void ir_print(const struct ir *ir, void (*print)(void *opaque, const char *fmt, ...), void *opaque);

/* Checks references, types, widths, that ends end, and that no put precedes a fault within an
 * instruction; returns NULL or a static message and the op in *at. */
const char *ir_verify(const struct ir *ir, unsigned *at);

/* ---- short forms for the lifter ---- */
static inline ir_ref ir_const(struct ir *ir, unsigned w, u64 v)
{
    return ir_emit(ir, IR_const, w, 0, v & size_mask(W_BYTES(w)), 0, 0, 0, 0);
}
static inline ir_ref ir_1(struct ir *ir, enum ir_op op, unsigned w, ir_ref a)
{
    return ir_emit(ir, op, w, 0, 0, a, 0, 0, 0);
}
static inline ir_ref ir_2(struct ir *ir, enum ir_op op, unsigned w, ir_ref a, ir_ref b)
{
    return ir_emit(ir, op, w, 0, 0, a, b, 0, 0);
}
static inline ir_ref ir_3(struct ir *ir, enum ir_op op, unsigned w, ir_ref a, ir_ref b, ir_ref c)
{
    return ir_emit(ir, op, w, 0, 0, a, b, c, 0);
}
static inline ir_ref ir_get(struct ir *ir, unsigned reg)
{
    return ir_emit(ir, IR_get, W64, reg, 0, 0, 0, 0, 0);
}
static inline void ir_put(struct ir *ir, unsigned reg, ir_ref v)
{
    ir_emit(ir, IR_put, W64, reg, 0, v, 0, 0, 0);
}
static inline ir_ref ir_zext(struct ir *ir, unsigned to, unsigned from, ir_ref v)
{
    return to == from ? v : ir_emit(ir, IR_zext, to, from, 0, v, 0, 0, 0);
}
static inline ir_ref ir_sext(struct ir *ir, unsigned to, unsigned from, ir_ref v)
{
    return to == from ? v : ir_emit(ir, IR_sext, to, from, 0, v, 0, 0, 0);
}
static inline ir_ref ir_trunc(struct ir *ir, unsigned to, unsigned from, ir_ref v)
{
    return to == from ? v : ir_emit(ir, IR_trunc, to, from, 0, v, 0, 0, 0);
}
static inline ir_ref ir_setcc(struct ir *ir, unsigned cc, ir_ref f)
{
    return ir_emit(ir, IR_setcc, W8, cc, 0, f, 0, 0, 0);
}
static inline ir_ref ir_icmp(struct ir *ir, unsigned w, unsigned rel, ir_ref a, ir_ref b)
{
    return ir_emit(ir, IR_icmp, w, rel, 0, a, b, 0, 0);
}
static inline ir_ref ir_ldenv(struct ir *ir, unsigned w, size_t offset)
{
    return ir_emit(ir, IR_ldenv, w, 0, offset, 0, 0, 0, 0);
}
static inline void ir_stenv(struct ir *ir, unsigned w, size_t offset, ir_ref v)
{
    ir_emit(ir, IR_stenv, w, 0, offset, v, 0, 0, 0);
}
static inline ir_ref ir_callv(struct ir *ir, enum helper h, ir_ref a, ir_ref b, ir_ref c, ir_ref d)
{
    return ir_emit(ir, IR_callv, W64, 0, h, a, b, c, d);
}
static inline void ir_call(struct ir *ir, enum helper h, ir_ref a, ir_ref b, ir_ref c, ir_ref d)
{
    ir_emit(ir, IR_call, W64, 0, h, a, b, c, d);
}

#endif

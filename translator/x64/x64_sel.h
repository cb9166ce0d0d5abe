/* Shared by the files of the x86-64 selector: where values live, and the helpers that emit.
 *
 * Host registers: RSP = struct cpu (a private stack lies below it), RBP = TLB entries of the
 * current context, RAX RCX RDX scratch, the other eleven are homes of guest registers and hold
 * them at every block border.  Guest registers without a home stay in cpu.gpr.  Most XMM registers
 * have homes too (x64_vreg.c).
 *
 * A value (IR ref) may be in several places at once: a host register, the home of a guest
 * register, a spill slot.  Guest flags are not computed until somebody needs them: a fault or an
 * exit keeps a recipe (operation and where its operands are).
 */
#ifndef DRAGOMAN_TRANSLATOR_X64_SEL_H
#define DRAGOMAN_TRANSLATOR_X64_SEL_H

#include "translator/block.h"
#include "translator/ir.h"
#include "translator/technique.h"
#include "translator/x64/x64_emit.h"

#define CPU_OFF(field) ((s32)offsetof(struct cpu, field))
#define RM_CPU(field) x64_m(X_RSP, CPU_OFF(field))

/* Offset from RBP (tlb_context.entries) to what lies before. */
#define TLB_OFF(field) \
    ((s32)offsetof(struct tlb_context, field) - (s32)offsetof(struct tlb_context, entries))
#define RM_TLB(field) x64_m(X_RBP, TLB_OFF(field))
#define JUMPS_OFF TLB_OFF(jumps)

/* Where a value can be found when emitted code stops at a site.  Packed, for there are millions,
 * and what is touched for the first time is a good part of what a block costs. */
enum loc_kind { LOC_NONE, LOC_CONST, LOC_PC, LOC_GPR, LOC_SPILL, LOC_SCRATCH };
struct __attribute__((packed)) x64_loc {
    u8 kind, index;
    u64 value; /* LOC_CONST; LOC_PC: counted from the block's rip */
};

/* How to find the guest's flags at a site or exit: kind is enum lazy_kind | width, or
 * RECIPE_ENV: struct cpu already holds them. */
#define RECIPE_ENV 0
struct x64_recipe {
    u8 kind;
    struct x64_loc a, b;
};

/* A place that may raise: found by the return address of its call. */
struct x64_site {
    u32 ret; /* offset of the return address from the block's start */
    u16 insn; /* rip of the instruction - rip of the block */
    u16 index; /* of the instruction in the block */
    struct x64_recipe flags;
    u16 own; /* of the first access of a group: distance from the first byte of all, SITE_STACK */
};
#define SITE_STACK 0x8000u
static_assert(sizeof(struct x64_site) == 32, "there are millions");

/* A way out of a block. */
struct x64_exit {
    struct x64_block *from;
    u64 rip;
    u8 *field;   /* rel32 of the chainable jump (writable view), or NULL */
    u64 stub;    /* executable address it goes to when not chained */
    u8 fate;     /* XF_ */
    u8 dynamic;  /* rip is already in cpu.rip */
    u8 branch;   /* of exit_ind: XK_ kind + 1; rip is its imm */
    u8 stale;    /* the block's comparison of its bytes has failed */
    u8 far;      /* FAR_ */
    u8 links;    /* how often it has been linked */
    struct x64_recipe flags;
    struct x64_block *to; /* chained to */
    struct x64_exit *next_in; /* other exits chained to the same block */
};

/* Exits to other pages compare the number of the mapping that they were linked under
 * (mmu_map_id) with that of local or of global pages; their `field` is this far behind the
 * compare's immediate. */
enum { FAR_NO, FAR_LOCAL, FAR_GLOBAL,
       FAR_APART /* not far: to the rest of this block as a block with HF_APART */ };
#define X64_LINK_BYTES 11

/* The exit of all blocks that cannot be entered. */
#define X64_EXIT_RETIRED 0u

/* The engine's part of a block. */
struct x64_block {
    struct block b;
    u64 code;  /* executable address of the entry */
    u8 *rw;    /* the same in the writable view */
    u32 size;
    struct x64_site *sites;
    u32 site_count;
    struct x64_exit *in; /* exits chained to this block */
};
static_assert(sizeof(struct x64_block) % 64 == 0, "records begin with a line of the host's cache");

/* Addresses of the thunks (executable view); made once per engine.  Those of the slow paths keep
 * every register; their operands are in slow_addr, slow_value, call_arg and exit_id. */
struct x64_thunks {
    u64 enter;      /* void enter(struct cpu *, u64 code) */
    u64 leave;      /* jumped to with cpu.exit_id set */
    u64 lookup;     /* likewise: on to the block at cpu.rip if the jump cache has it */
    u64 other_ways; /* likewise, if emitted code has missed and not looked elsewhere in the set */
    u64 resolve;    /* likewise, after a miss of the whole set: if there is such a block */
    u64 link;       /* likewise, from an exit to another page that is not linked now */
    u64 retired;    /* called: leaves for the RIP that lies behind the call */
    /* [0], [1], [2]: that keep no, XMM, YMM registers (x64_vec_kept) */
    u64 load[3][6], store[3][6]; /* by width */
    u64 vec_load;   /* vector homes from struct cpu; keeps every other register */
    u64 x87_load[3], x87_save[3]; /* the guest's x87 into the host's, and back */
    /* For the first access of a group (x64_page.c): the first of its bytes is at the address in
     * scratch register r, the last at that in q.  ZF and the page's addend in r; or no ZF, if they
     * are not all where emitted code may go.  q is lost.  [r][q][PAGE_][as above] */
    u64 page[3][3][3][3];
    u64 alone;      /* the instruction again, alone in its block */
    u64 seg[3];     /* segment slow_addr checked as exit_id says (segment, size, store) */
    u64 host[2][3]; /* host address for slow_value[0] bytes at slow_addr, to slow_value[0];
                     * [1][...]: for writing */
    u64 div[3];     /* call_arg: width | signed << 3, low, high, divisor; to slow_value[0], [1] */
    /* Vector op exit_id (op | w << 16 | aux << 20 | vl << 24), immediate slow_addr, on vtmp[];
     * result in vtmp[0]. */
    u64 vec[3];
    u64 eval[3];    /* op exit_id, operands in call_arg; result (flags: AHF) in slow_value[0] */
    u64 fetch_flags[3]; /* makes the lazy record LAZY_AHF */
    u64 call;       /* RAX: function; arguments in call_arg; result in RAX; scratch is lost */
    u64 call_flags; /* the same after materialising the flags */
    u64 call_vec;   /* the same with MXCSR synchronised */
};

/* What a group of accesses does to its page. */
enum { PAGE_READ, PAGE_READ_FIRST, /* its first access only reads, others store */ PAGE_WRITE };

struct x64_counters {
    u64 blocks, guest_insns, host_bytes, compile_ns, timed_insns;
    u64 coalesced, twins, recipes, flag_saves, flag_loads, flag_fetches, addr_folds,
        rmw_fused, pages_shared, page_misses, page_blocks, known_pages, spills;
    u64 x87_inline, x87_loads;
    u64 chains, unchains, links, swapped, way_hits, resolved, exits, retired, slow_loads;
    u64 slow_stores, flushes, retries, unfit, large_pages, ahead, reused, reused_insns,
        reuse_ns;
    u64 vec_calls, shiftx, ymm_ops, vec_homed, vec_folds, strings;
    u64 short_transfers, irq_flags, live_blocks;
};

#define MAX_SITES 1024u
#define MAX_STUBS 1024u

/* VAL_RES: a flags recipe names the result; on a store: it goes through the host address that the
 * load of the same instruction left (twin of the load).  VAL_SURE: an access that another one has
 * checked, so that it cannot fault. */
enum { VAL_DEFERRED = 1, VAL_DONE = 2, VAL_RES = 4, VAL_SURE = 8 };

struct x64_val {
    s8 reg, home;   /* host register; guest register at whose home it is; -1 */
    s16 spill;      /* slot, -1 */
    u8 flags;       /* VAL_ */
    u8 clean;       /* log2 bytes above which the register is zero; W64: nothing known */
    ir_ref root;    /* the value this one is another name of */
    ir_ref twin;    /* flags of a result, or result of flags */
    u16 conditions; /* of its uses, those as a condition */
    u16 uses;       /* ops that name this value or another name of it */
    u16 last_use;   /* index of the last op that needs it */
    u16 need;       /* flags: last op that needs them in the host's flags or saved; 0 none */
    u16 put_at;     /* first put of this value, and the guest register */
    u8 put_reg;
    u8 page;        /* memory ops: 1 + index of their group; 0 none */
    u16 alias_next; /* next value at the same home */
};

/* Accesses of a block at constant distances [lo, hi) from one value, on one page as a rule: one
 * check for all (x64_page.c).  There are as many as tlb_context.page_addend has places. */
#define X64_PAGES 8u
struct x64_page {
    ir_ref base;
    s32 lo, hi;
    ir_ref first; /* the op that checks */
    bool write;   /* one of them stores */
    bool checked; /* the first has been emitted */
    u16 members;
};

/* Out-of-line code, emitted after the block's body: a slow path through a thunk, or a way out. */
enum { STUB_NO_VALUE, STUB_CONST, STUB_PC, STUB_GPR, STUB_XMM, STUB_XMM2, STUB_MEM };
struct x64_stub {
    u64 thunk;        /* 0: an exit */
    u32 word;         /* for the thunk, in cpu.exit_id; exits: their id */
    u8 areg;          /* goes to cpu.slow_addr (exits: to cpu.rip, unless X_NONE) */
    u8 value_kind;    /* what goes to cpu.slow_value (STUB_XMM2: rm.reg and dst) */
    u8 dst_kind, dst; /* where cpu.slow_value goes afterwards; STUB_MEM: rm.base + dst + rm.disp
                       * become its address */
    u8 w, free_reg;   /* a register that may be used to move the value */
    u64 value;
    struct x64_rm rm;
    u8 *from, *from2; /* rel32 of jumps to here */
    u8 *back;         /* where to go on (writable view) */
    struct x64_exit *exit;
    struct x64_site site;
    s32 disp;         /* areg + disp is the address */
    u8 addend;        /* register that gets host - linear address */
    u8 *again;        /* the first of a group: where to go on when the thunk finds the page... */
    s32 last;         /* ...areg + disp and areg + last are the first and the last byte */
    u16 op;           /* that it belongs to */
    u32 at;           /* offset from the block's start */
};

struct x64_engine;

struct x64_sel {
    struct x64_engine *engine;
    const struct x64_thunks *thunks;
    struct x64_counters *counters;
    struct ir *ir;
    struct x64_block *block;
    struct x64_buf buf;
    u8 *start;
    unsigned cur;      /* op being emitted */
    u8 vec;            /* 1: the block uses XMM registers, 2: YMM registers */
    bool chain;        /* exits may be chained (not single-stepping, flat CS) */
    bool links;        /* ...also those to other pages */
    bool vhomes;       /* vector registers have homes */
    bool xhomes_in;    /* ...and these are known to be loaded here */
    u16 xzero;         /* guest registers whose upper half in struct cpu is known to be 0 */
    bool avx, lzcnt, bmi2; /* host has VEX for vectors; LZCNT and TZCNT; BMI2 */
    u32 levels;        /* host's instruction sets for vectors, a bit for each VL_ */
    bool x87;          /* x87 instructions go to the host's x87 (x64_x87.c) */
    u8 x87_at;         /* where the x87's state is here, as far as is known */
    bool x87_cs, x87_pending; /* FCS is stored; FIP and FOP below are not */
    u8 x87_ds;         /* segment whose selector FDS has, or SEG_COUNT */
    u64 x87_rip;
    s64 x87_high;      /* upper half of FIP as stored, -1: unknown */
    u32 x87_fop;
    bool counted;      /* instructions are counted (cpu/count.h) */
    u16 pinned, xpinned; /* registers that must not be given away now */
    ir_ref reg_val[16], xreg_val[16];
    ir_ref home_head[16], xhome_head[32]; /* [16 + n]: the upper half of register n */
    ir_ref xhome_val[16]; /* a value that is at this home, even if its val.home names another */
    ir_ref spill_val[64], vspill_val[16]; /* value in each slot */
    u64 spill_used;    /* bit per spill slot */
    struct x64_page pages[X64_PAGES];
    unsigned page_open, page_count; /* groups from page_open on take more members */
    ir_ref f_stored;   /* flags value that struct cpu holds besides f_cur */
    ir_ref fl_ref;     /* flags value that the host's flags hold */
    ir_ref f_cur;      /* flags value that is the guest's; 0: in struct cpu */
    u64 insn_rip;
    unsigned insns;    /* begun so far */
    struct x64_val val[IR_MAX];
    struct x64_site sites[MAX_SITES];
    unsigned site_count;
    struct x64_stub stubs[MAX_STUBS];
    unsigned stub_count;
    struct x64_stub no_stub; /* what is said of the slow path of accesses that have none */
    struct x64_relocs relocs;
    u32 first_exit;    /* number of the block's first; they follow one another */
    u32 op_at[IR_MAX + 1]; /* where each op's code begins, from the block's start */
    const char *failed; /* out of some table: the block must be made smaller */
};

static inline bool x64_on(const struct x64_sel *s, enum technique t)
{
    return technique_on(s->ir->off, t);
}

extern const u8 x64_home_reg[16]; /* host register of each guest register, or X_NONE */
#define SCRATCH_MASK ((u16)(1 << X_RAX | 1 << X_RCX | 1 << X_RDX))

/* ---- values (x64_alloc.c) ---- */
static inline ir_ref x64_root(const struct x64_sel *s, ir_ref r)
{
    return s->val[r].root;
}
bool x64_is_const(const struct x64_sel *s, ir_ref r, u64 *v);
/* As ir_effects, without the fault that access i has no more. */
u32 x64_effects(const struct x64_sel *s, unsigned i);
/* Whether it is an address that moves with the block: known too, and made where it is used. */
bool x64_is_pc(const struct x64_sel *s, ir_ref r, u64 *v);
/* Whether r (at width w) is a constant that fits a sign-extended imm32. */
bool x64_is_imm(const struct x64_sel *s, ir_ref r, unsigned w, s32 *imm);
/* Whether the value is needed after the current op. */
bool x64_live_after(const struct x64_sel *s, ir_ref r);
/* A spill slot for value r. */
int x64_new_spill(struct x64_sel *s, ir_ref r);
/* A free scratch register, pinned; something may be spilled for it. */
unsigned x64_scratch(struct x64_sel *s);
/* That very scratch register, emptied and pinned. */
unsigned x64_take(struct x64_sel *s, unsigned reg);
/* A register that holds r (any of its bits above its width undefined), pinned if scratch. */
unsigned x64_use(struct x64_sel *s, ir_ref r);
/* Register or memory operand for r; constants go to a register. */
struct x64_rm x64_use_rm(struct x64_sel *s, ir_ref r);
/* Loads r into that register, which must be free. */
void x64_fetch(struct x64_sel *s, unsigned reg, ir_ref r);
/* Declares that reg now holds the new value r. */
void x64_def(struct x64_sel *s, ir_ref r, unsigned reg);
/* Register for the result r: the home of the guest register it will be put in if that is safe,
 * else `reuse` if that is a scratch register whose value dies here, else a scratch one. */
unsigned x64_dst(struct x64_sel *s, ir_ref r, unsigned reuse);
/* Whether r, computed now, may go straight to the home that it will be put in: nothing in between
 * may look at that guest register (by ops get and put, a fault or an exit), and no value needed
 * later may be there (head: those that are). */
bool x64_may_go_home(const struct x64_sel *s, ir_ref r, ir_ref head, enum ir_op get,
                     enum ir_op put);
/* Makes room: stores what only lives in scratch registers; after it they are all free. */
void x64_flush_scratch(struct x64_sel *s);
/* Moves values that live only at homes elsewhere (before a call that changes registers). */
void x64_flush_homes(struct x64_sel *s);
void x64_put(struct x64_sel *s, unsigned guest, ir_ref r);
/* Where r can be found by the engine when it stops here. */
struct x64_loc x64_loc(struct x64_sel *s, ir_ref r);
void x64_release_dead(struct x64_sel *s);

/* ---- vector values (x64_vreg.c) ---- */
#define X64_XSCRATCH 4u /* XMM0.. are scratch, the others homes of the guest's XMM0.. */
#define X64_XHOMES (16u - X64_XSCRATCH)
bool x64_has_xhome(const struct x64_sel *s, unsigned home);
/* Makes sure that the homes are loaded; before any op on vectors. */
void x64_xhomes_in(struct x64_sel *s);
/* Which thunk of three a slow path here needs. */
unsigned x64_vec_kept(const struct x64_sel *s);
unsigned x64_xscratch(struct x64_sel *s);
unsigned x64_xtake(struct x64_sel *s, unsigned reg);
unsigned x64_xuse(struct x64_sel *s, ir_ref r);
/* vl: of the op that reads it, 0 if only the low half counts. */
struct x64_rm x64_xuse_rm(struct x64_sel *s, ir_ref r, unsigned vl);
void x64_xdef(struct x64_sel *s, ir_ref r, unsigned reg);
/* Register for the result r: the home that it will be put in if that is safe and not in `busy` (a
 * mask of what is read after the result is begun), else a scratch one. */
unsigned x64_xdst(struct x64_sel *s, ir_ref r, unsigned busy);
void x64_xrelease_dead(struct x64_sel *s);
void x64_getv(struct x64_sel *s, ir_ref r, const struct ir_insn *in);
void x64_putv(struct x64_sel *s, const struct ir_insn *in);
void x64_flush_vectors(struct x64_sel *s, bool homes);
/* Moves of a whole register (vl 1: 256 bits; 0: 128, which clears the rest where there is VEX). */
void x64_vmov(struct x64_sel *s, unsigned vl, unsigned dst, struct x64_rm src);
void x64_vstore(struct x64_sel *s, unsigned vl, struct x64_rm dst, unsigned src);

/* ---- flags (x64_flags.c) ---- */
/* To be called before emitting anything that changes the host's flags. */
void x64_clobber(struct x64_sel *s);
/* The host's flags have just been put to use by the op whose flags are f and are changed next:
 * saves them only if somebody wants them later. */
void x64_consume(struct x64_sel *s, ir_ref f);
/* Makes the host's flags those of f. */
void x64_need_flags(struct x64_sel *s, ir_ref f);
/* The instruction just emitted has left flags value f in the host's flags. */
void x64_flags_made(struct x64_sel *s, ir_ref f);
/* Sets up the host's flags for boolean r and returns the condition that is true when r is. */
unsigned x64_cond(struct x64_sel *s, ir_ref r);
/* CF = boolean r. */
void x64_carry(struct x64_sel *s, ir_ref r);
/* lazy_kind | w when the flags op keeps its operands instead of a result, else 0. */
unsigned x64_recipe_kind(const struct x64_sel *s, ir_ref f, ir_ref *a, ir_ref *b);
struct x64_recipe x64_recipe(struct x64_sel *s);
/* Writes the guest's flags to struct cpu (moves only; keeps the host's flags). */
void x64_store_flags(struct x64_sel *s);
/* The same by a recipe, where nothing else is known any more; t: a register that may be used. */
void x64_store_recipe(struct x64_sel *s, const struct x64_recipe *r, unsigned t);
/* Whether the flags value must be in the host's flags or saved at some time. */
bool x64_flags_wanted(const struct x64_sel *s, ir_ref f);
void x64_emit_flags(struct x64_sel *s, const struct ir_insn *in);

/* ---- op families; each emits op s->cur ---- */
void x64_emit_int(struct x64_sel *s, const struct ir_insn *in);
void x64_emit_mem(struct x64_sel *s, const struct ir_insn *in);
void x64_emit_vec(struct x64_sel *s, const struct ir_insn *in);
void x64_emit_exit(struct x64_sel *s, const struct ir_insn *in);
void x64_emit_call(struct x64_sel *s, const struct ir_insn *in);
void x64_emit_stubs(struct x64_sel *s);
/* Emits the X64_HEADER bytes before the block's entry, at which the buffer stands: a stub at which
 * the entry jumps when the block is dropped, and the address of the block's record. */
void x64_emit_header(struct x64_buf *b, u64 retired, u64 rip, const struct x64_block *block);
/* Counted mode: the block's entry, which pays for its instructions or leaves. */
void x64_emit_payment(struct x64_sel *s);
/* reg = offset in the jump cache of the entry for the address in register `target`. */
void x64_emit_jump_hash(struct x64_buf *b, unsigned reg, unsigned target);
/* Leaves if the guest's code, but for the immediates that are read anyway, is not what it was. */
void x64_emit_comparison(struct x64_sel *s);
#define X64_HEADER 24
static_assert(X64_HEADER <= X64_AHEAD, "the header is the block's own");

/* Emits a direct exit to rip, whose flags are stored, with t as a scratch register. */
void x64_leave_to(struct x64_sel *s, u64 rip, unsigned t);
/* Before a call: what saves it in the usual case, if it is to one of the helpers of
 * x64_system.c. */
void x64_system_fast(struct x64_sel *s, const struct ir_insn *in);
/* Whether the instruction at rip, however long, is on the block's page, so that an exit there can
 * be chained. */
bool x64_same_page(const struct x64_sel *s, u64 rip);
/* Records a site whose call has just been emitted. */
void x64_site_here(struct x64_sel *s);
/* A site of the current instruction whose return address is not known yet. */
struct x64_site x64_site(struct x64_sel *s);
struct x64_stub *x64_stub(struct x64_sel *s);
/* The memory operand of vector load `ld`, checked: a miss leads to its copy in struct cpu.  To be
 * used by the very next instruction that touches memory. */
struct x64_rm x64_check_vector(struct x64_sel *s, ir_ref ld);
/* Emits the check of `size` bytes at linear address r; a scratch register with their host address.
 * Where there is none, the instruction is done again alone. */
unsigned x64_check_host(struct x64_sel *s, ir_ref r, unsigned size, bool write, unsigned mf);
/* A new exit record of the engine and its number (accel_dbt.c). */
struct x64_exit *x64_new_exit(struct x64_engine *e, u32 *id);
/* Atomic operation in C (x64_slow.c): what: AT_ op, or 0xff for cmpxchg with c the new value,
 * | w << 8 | MF_ flags << 16. */
u64 x64_slow_atomic(struct cpu *cpu, u64 addr, u64 what, u64 b, u64 c);
/* Emits the call of a C function of the helpers' type with the arguments already in call_arg. */
void x64_call_c(struct x64_sel *s, const void *fn, u64 thunk);

/* [rm] = an address that moves with the block, 64 bits; t: a register that may be used. */
void x64_store_pc(struct x64_sel *s, struct x64_rm rm, u64 pc, unsigned t);

/* Address operand folded from the tree at r, for LEA and memory ops. */
struct x64_addr {
    ir_ref base, index;
    u8 scale, w;
    s32 disp;
};
/* In the pre-pass marks what is folded; later finds the same again. */
struct x64_addr x64_match_addr(struct x64_sel *s, ir_ref r, bool mark);
/* Register with the linear address; pinned. */
unsigned x64_use_addr(struct x64_sel *s, ir_ref r);
struct x64_rm x64_addr_rm(struct x64_sel *s, const struct x64_addr *a);

/* ---- vector ops (x64_vec.c) ---- */
/* In the pre-pass: marks the load that op i takes over as its memory operand. */
void x64_vec_fold(struct x64_sel *s, unsigned i);

/* ---- x87 (x64_x87.c) ---- */
/* Emits the helper call as a host instruction; false if it is to be called. */
bool x64_x87_emit(struct x64_sel *s, const struct ir_insn *in);
/* In the pre-pass, for a call: marks the load that it takes over. */
void x64_x87_fold(struct x64_sel *s, const struct ir_insn *in);
/* Whether the call is emitted as an instruction that cannot stop. */
bool x64_x87_quiet(const struct x64_sel *s, const struct ir_insn *in);
/* Whether it keeps operand k as a condition. */
bool x64_x87_condition(const struct x64_sel *s, const struct ir_insn *in, unsigned k);
/* Whether f is an fbits whose flags such an instruction leaves in the host's. */
bool x64_x87_is_flags(const struct x64_sel *s, ir_ref f);
/* Emits what makes struct x87 hold the state. */
void x64_x87_to_cpu(struct x64_sel *s);
/* Stores FIP and FOP if they are due; before whatever may stop. */
void x64_x87_flush(struct x64_sel *s);
/* Segment registers may have changed. */
void x64_x87_forget(struct x64_sel *s);

/* ---- one check for several accesses (x64_page.c) ---- */
/* Pre-pass: groups the block's accesses. */
void x64_find_pages(struct x64_sel *s);
/* The group that memory op `op` shares a check with, and its distance from the group's base; NULL
 * when it has a check of its own. */
struct x64_page *x64_page_of(struct x64_sel *s, ir_ref op, s32 *disp);
struct x64_rm x64_page_slot(const struct x64_sel *s, const struct x64_page *p);

/* ---- the whole (x64_select.c) ---- */
/* Emits s->ir; false when a table or the buffer overflowed. */
bool x64_select(struct x64_sel *s);

/* ---- C sides of the thunks (x64_slow.c) ---- */
u64 x64_resolve(struct cpu *cpu); /* x64_engine.h */
u64 x64_link(struct cpu *cpu);
void x64_slow_load(struct cpu *cpu, u64 w);
void x64_slow_store(struct cpu *cpu, u64 w);
void x64_slow_seg(struct cpu *cpu, u64 unused);
void x64_slow_host(struct cpu *cpu, u64 write);
void x64_slow_page(struct cpu *cpu, u64 unused);
/* What EFLAGS.AC asks of an access of so many bytes (SDM vol. 3A table 6-7). */
static inline unsigned x64_alignment(unsigned size)
{
    return size >= 16 ? 16 : size >= 8 ? 8 : size;
}
void x64_slow_div(struct cpu *cpu, u64 unused);
void x64_slow_vec(struct cpu *cpu, u64 unused);
void x64_slow_alone(struct cpu *cpu, u64 unused);
void x64_x87_load(struct cpu *cpu, u64 unused);
/* Does nothing when struct x87 is current. */
void x64_x87_save(struct cpu *cpu, u64 unused);
void x64_slow_eval(struct cpu *cpu, u64 unused);
void x64_fetch_flags(struct cpu *cpu, u64 unused);
/* Before and after a helper that knows MXCSR. */
void x64_mxcsr_to_cpu(struct cpu *cpu);
/* Where the call is that emitted code is in, or NULL (accel_dbt.c). */
const struct x64_site *x64_site_of(struct cpu *cpu);
/* Leaves the block to run the current instruction again in a block of its own (accel_dbt.c). */
void x64_retry_alone(struct cpu *cpu) __attribute__((noreturn));

/* ---- thunks (x64_thunk.c) ---- */
/* For e's host and techniques, with the addresses of its counters; fills *t. */
void x64_make_thunks(struct x64_buf *b, struct x64_thunks *t, struct x64_engine *e);

#endif

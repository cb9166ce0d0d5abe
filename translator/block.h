/* Translated blocks, common to the engines: finding, linking, and dropping them when guest code
 * changes.  A block is keyed by physical address of its first byte, RIP, CS base and hflags.
 */
#ifndef DRAGOMAN_TRANSLATOR_BLOCK_H
#define DRAGOMAN_TRANSLATOR_BLOCK_H

#include <pthread.h>

#include "base/types.h"
#include "cpu/state.h"
#include "translator/ir.h"

#define BLOCK_LOOKS 2u

/* The engine allocates it (zeroed), front_translate and block_insert fill it, and the engine gets
 * it back through block_hooks.free. */
struct block {
    /* What a look-up compares and goes on by is in one line of the host's cache. */
    u64 rip, phys;
    u64 phys2;           /* page of the block's last byte if it crosses a page, else ~0 */
    struct block *hash_next;
    const u8 *host[2];   /* its pages; what aliases of the same RAM agree on */
    u32 hflags, cs_base;
    u16 guest_bytes, guest_insns;
    bool valid;          /* in the cache; cleared for good before hooks.drop */
    bool global;         /* lies on a global page */
    bool live;           /* compares its bytes with the guest's as it is entered: not marked */
    u8 look_len[BLOCK_LOOKS]; /* bytes of successors that the flags pass has looked at, and... */
    u64 look[BLOCK_LOOKS];    /* ...their physical addresses: a change there drops the block too */
    u64 sum;             /* of the guest bytes, to notice a change before they were marked */
    u64 look_sum;        /* likewise of those of look */
    struct block *page_next[2]; /* lists of the blocks on each of its pages */
    struct block *dead_next;    /* dropped, not yet freed */
    u64 dead_since;
    void *engine;        /* the engine's own: host code, compact IR */
};
static_assert(offsetof(struct block, live) < 64, "what a look-up needs is in the first line");

/* Key of the inline jump cache (struct jump_entry.tag): RIP with the mode XORed into the top 16
 * bits, so that one compare checks both; only for HF_CSFLAT modes.  The mode of nearly all code is
 * 0 there, so that its tag is RIP itself and often fits an immediate. */
#define HF_TAG_DEFAULT (HF_LONG | HF_PE | HF_FLAT | HF_CSFLAT | HF_AVX)
static inline u64 jump_tag(u64 rip, u32 hflags)
{
    return rip ^ ((u64)((hflags & ~(u32)HF_USER) ^ HF_TAG_DEFAULT) << 48);
}

/* Whether a block may be in the jump cache: not if it goes on at linear address 0, which a flush of
 * that page would not find (mmu/jumps.c). */
static inline bool block_in_jumps(const struct block *b)
{
    return b->phys2 == ~0ull || (u32)(b->rip + JUMP_CROSSING) > JUMP_CROSSING;
}

/* How often code was changed, by the line of 64 bytes that was written: after BLOCK_HOT times a
 * block there that stores nothing is made `live`.  It is not dropped by stores; it compares its own
 * bytes as it is entered, and reads those of its immediates that it can when it uses them.  Other
 * blocks do not look ahead into such a line (block.look). */
#define BLOCK_HEAT_LINES 4096u
#define BLOCK_HOT 4u
static inline unsigned block_heat_index(u64 phys)
{
    return (unsigned)((phys >> 6) * 0x9e3779b97f4a7c15ull >> 52);
}

struct block_cache;

struct block_hooks {
    /* The block is going away: make its code unreachable (unchain, patch its entry).  Called with
     * the cache lock held. */
    void (*drop)(void *opaque, struct block *b);
    /* Nothing executes it any more: give its memory back.  Called with the cache lock held. */
    void (*free)(void *opaque, struct block *b);
    /* A vCPU stores into bytes of the block that it executes right now, before the store: must
     * make it leave after (or redo) the instruction.  b is already dropped.  Called without locks:
     * it may leave with engine_hooks.unwind. */
    void (*current_hit)(void *opaque, struct cpu *cpu, struct block *b);
    /* The block that a vCPU executes, or NULL. */
    struct block *(*current)(void *opaque, struct cpu *cpu);
    void *opaque;
};

/* Sets itself as the bus's code hook; NULL when the host has no memory. */
struct block_cache *block_cache_create(struct bus *bus, const struct block_hooks *hooks);
/* Drops and frees all blocks.  No vCPU may be running. */
void block_cache_destroy(struct block_cache *c);
/* Which cpu an mmu belongs to is container_of(mmu, struct cpu, mmu). */

/* Looks up; NULL when there is none. */
struct block *block_find(struct block_cache *c, u64 phys, u64 rip, u64 cs_base, u32 hflags);
/* Adds a translated block and marks its bytes as code on the bus.  If another vCPU changed the
 * bytes meanwhile it is dropped again at once (valid is false): it may be executed once. */
void block_insert(struct block_cache *c, struct block *b);
/* The table of heats, BLOCK_HEAT_LINES counts. */
const u8 *block_heat(const struct block_cache *c);
/* Drops one block if it is still in the cache. */
void block_remove(struct block_cache *c, struct block *b);
/* Drops everything (code cache full, monitor). */
void block_flush_all(struct block_cache *c);

/* Frees every dropped block at once.  Only while no vCPU executes or holds a pointer to any. */
void block_free_dropped(struct block_cache *c);

/* Checksum of a block's bytes in their one or two pages, for block.sum. */
u64 block_sum(const u8 *first, unsigned first_len, const u8 *second, unsigned second_len);

/* ---- when dropped blocks may be freed ----
 *
 * A dropped block may still be executing, on any vCPU.  It is freed when every vCPU that is online
 * has passed a safe point since: in its run loop, holding no pointer to any block that it has not
 * just got from block_find or a table that hooks.drop cleans.
 */
void block_cpu_online(struct block_cache *c, unsigned cpu_index);
void block_cpu_offline(struct block_cache *c, unsigned cpu_index);
void block_safe_point(struct block_cache *c, unsigned cpu_index);

struct block_counters {
    u64 lookups, filtered, inserts, drops, code_writes, flushes, live, freed;
};
const struct block_counters *block_counters(const struct block_cache *c);

/* ---- passes (translator/opt.c): fold, forward, flags, dead ---- */
struct opt_counters {
    u64 folded, forwarded, puts_killed, flags_killed, dead;
};
void opt_run(struct ir *ir, struct opt_counters *counters, bool verify);

/* ---- front: guest bytes to optimised IR (translator/front.c) ---- */

struct front_counters {
    u64 blocks, insns, bytes, ops; /* translated; ops after the passes */
    u64 fates_fault, fates_dead;   /* exits whose flags need less than storing */
    u64 run_ons;                   /* branches behind which their block goes on */
    struct opt_counters opt;
};

/* Lifts and optimises the block at cpu->rip into ir, within one page unless the first instruction
 * itself crosses; fills phys/phys2 of *b and its key.  Returns false when the fetch faulted: an
 * exception is set in cpu for the run loop.  b starts zeroed; it gets at most max_insns. */
bool front_translate(struct cpu *cpu, struct ir *ir, struct block *b, unsigned max_insns,
                     struct front_counters *n, bool verify);

/* Whether bytes in [phys, phys + len) have changed so often that a block should expect it. */
bool front_hot(const struct ir *ir, u64 phys, unsigned len);

/* Base that linear addresses of code add to RIP, as blocks are keyed by it. */
static inline u64 front_cs_base(const struct cpu *cpu)
{
    return cpu->hflags & HF_LONG ? 0 : cpu->seg[SEG_CS].base;
}

/* Whether the code segment's limit still covers the block. */
static inline bool block_within_limit(const struct cpu *cpu, const struct block *b)
{
    return (cpu->hflags & (HF_LONG | HF_CSFLAT)) ||
           b->rip + b->guest_bytes - 1 <= cpu->seg[SEG_CS].limit;
}

/* Whether a block that block_find gave for linear address la may be executed now: the limit covers
 * it, and its second page, if it has one, is still mapped to where it was translated from. */
bool front_usable(struct cpu *cpu, const struct block *b, u64 la);

/* A near indirect branch of XK_ kind has set rip: if that is not canonical, the branch is undone
 * and raises #GP(0) itself (SDM vol. 2, JMP, CALL, RET; so do AMD's processors).  imm: exit_ind's.
 * What CALL has pushed stays below the stack's top. */
void front_check_branch(struct cpu *cpu, unsigned kind, u64 imm);

/* ---- lifter (translator/lift.c) ---- */

/* Source of guest bytes for the lifter: up to `avail` bytes at p belong to rip onwards. */
struct lift_input {
    const u8 *p;
    unsigned avail;      /* bytes up to where the lifter must stop (page end) */
    unsigned max_insns;
};
/* Lifts instructions into ir until one ends the block, bytes or limits run out; always leaves a
 * complete block (ends in an E_END op).  Returns the number of instructions; 0 when the first one
 * is truncated by `avail` (the caller supplies more bytes). */
unsigned lift_block(struct cpu *cpu, struct ir *ir, const struct lift_input *in);

/* Flags fate at a successor: decodes from p (avail bytes, in the mode of hflags) and tells which
 * XF_ applies at entry there; in *avail how many of the bytes decided it, if not XF_LIVE. */
unsigned lift_flags_fate(const struct cpu *cpu, const u8 *p, unsigned *avail, u32 hflags);

#endif

/* The x86-64 engine as its own files see it: accel_dbt.c (run loop, making blocks), x64_link.c
 * (block records, chaining, throwing code away), x64_reuse.c and x64_cache.c (translations used
 * again, in this run and in later ones), x64_inspect.c (showing host code).
 *
 * Locks, in the order in which they nest: lock (translating, flushing), the block cache's own,
 * link_lock (chains) and pool_lock (records).
 *
 * A vCPU is "in the code" from before it looks for a block until it has left it, so that what it
 * found cannot be thrown away under it: x64_flush_all waits until all others are outside.  It steps
 * out around whatever may wait for another vCPU, `lock` above all.
 */
#ifndef DRAGOMAN_TRANSLATOR_X64_ENGINE_H
#define DRAGOMAN_TRANSLATOR_X64_ENGINE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>

#include "cpu/cpu.h"
#include "translator/ahead.h"
#include "translator/codebuf.h"
#include "translator/x64/x64_sel.h"

#define MAX_BLOCK_CODE (64u << 10)
#define MAX_EXITS (8u << 20)
#define MAX_BLOCKS (2u << 20)
#define ARENA_BYTES (1ull << 30) /* of address space; committed on touch */
#define MAX_CPUS 256u

/* Records are reused while their old code stays where it was, hence the address. */
struct code_index {
    u64 code;
    struct x64_block *block;
};

/* One of the hash table's: what can be told of a record without looking at it. */
struct kept_entry {
    u32 hash;  /* of its first bytes and mode; its upper bits say where in the table */
    u32 place; /* in the store / 8; 0: a free entry */
    u32 sum;   /* the lower half of kept.sum */
    u16 guest_bytes;
    u16 state; /* KEPT_ */
};

/* Whether a record is what it should be.  Those of a file are looked at when first asked for. */
enum { KEPT_UNCHECKED, KEPT_SOUND, KEPT_BAD };

/* Translations to be used again (x64_reuse.c): first those of an earlier run (x64_cache.c). */
struct x64_keep {
    u8 *base;
    u64 size, used;
    struct kept_entry *table;
    unsigned table_bits;
    u64 file_used;    /* bytes of the file's records that this run has used */
    u64 file_end;     /* what is before it in the store comes from the file, */
    int fd;           /* this one, */
    u64 *pieces;      /* and is there as far as the bits of its pieces are set */
    char *dir, *path; /* where they are between runs; NULL: nowhere */
    bool opened;      /* it is known whether there are any */
    bool quiet;       /* says nothing when they cannot be there */
    u64 key;          /* of what they depend on */
    u64 loaded, fresh; /* known from there; made since */
    u64 pieces_read;
};

struct x64_engine {
    struct bus *bus;
    struct block_cache *cache;
    struct codebuf code;
    u64 used, thunk_end;     /* bytes of code */
    struct x64_thunks thunks;
    u8 *arena;               /* sites */
    u64 arena_used;
    struct x64_exit *exits;
    u32 exit_count;
    struct x64_block *pool;    /* records never used yet */
    struct block *free_blocks; /* freed ones, a list by dead_next */
    u32 pool_used;
    pthread_mutex_t pool_lock;
    struct code_index *index; /* blocks in the order of their code */
    u32 index_count;
    struct x64_counters counters;
    struct front_counters front;
    pthread_mutex_t lock;
    pthread_mutex_t link_lock; /* exits' to and next_in, blocks' in, and the jumps they stand for */
    struct x64_vcpu *vcpus[MAX_CPUS];
    unsigned vcpu_count;
    FILE *perf_map;
    u64 off;                 /* techniques that are switched off */
    struct x64_keep keep;
    struct ahead ahead;
    u64 clock_ns;            /* that timing a block costs itself */
    u32 block_code;          /* bytes of host code that a block may have */
    bool verify, avx, lzcnt, bmi2, x87;
    bool wide; /* blocks have vectors of 256 bits */
    u32 levels; /* of vector instructions, as in struct x64_sel */
};

/* For the address sanitizer, which has to know what stack a thread is on: the thread's own, as long
 * as the vCPU's private one is in use. */
struct x64_stack {
    bool is_private;
    void *fake_thread, *fake_private; /* what the sanitizer keeps for each */
    const void *bottom;
    size_t size;
};

struct x64_vcpu {
    struct x64_engine *engine;
    struct cpu *cpu;
    jmp_buf unwind;
    _Atomic bool in_code;    /* set under `lock` only */
    bool stepping;
    struct x64_stack stack;
    struct ir ir;
    struct x64_sel sel;
};

static inline struct x64_vcpu *vcpu_of(struct cpu *cpu)
{
    return cpu->engine_data;
}

/* Translates the block at cpu->rip and makes it known; NULL when the fetch faulted (an exception is
 * set).  The vCPU is in the code. */
struct x64_block *x64_translate(struct x64_vcpu *v);

/* ---- x64_link.c ---- */

/* Reserves the tables and makes the block cache; false when the host has no memory (x64_link_free
 * is still due). */
bool x64_link_init(struct x64_engine *e);
void x64_link_free(struct x64_engine *e);
/* `bytes` of memory that live until the next flush; x64_nearly_full says when it runs out. */
void *x64_arena_alloc(struct x64_engine *e, u64 bytes);
/* A zeroed block record, or NULL when all are in use.  Given back by x64_free_block (a
 * block_hooks.free). */
struct x64_block *x64_new_block(struct x64_engine *e);
void x64_free_block(void *opaque, struct block *block);
/* Called by emitted code when a jump cache has missed, with cpu->rip set: the code to go on with,
 * which is that of the block there if one is translated and may go into the jump cache. */
u64 x64_resolve(struct cpu *cpu);
/* Called by emitted code that takes an exit to another page which is not linked, with cpu->exit_id
 * set: links it if that may be done; the code to go on with, as above. */
u64 x64_link(struct cpu *cpu);
/* Makes the block's code findable by x64_block_at.  Under `lock`. */
void x64_index_add(struct x64_engine *e, struct x64_block *b);
/* The block whose code holds this executable address, or NULL; only for code that runs. */
struct x64_block *x64_block_at(struct x64_engine *e, u64 address);
/* Aims exit x straight at the block `to`, if that may be done.  The vCPU is in the code. */
void x64_chain(struct cpu *cpu, struct x64_exit *x, struct x64_block *to);
/* Whether a block more might not fit somewhere. */
bool x64_nearly_full(struct x64_engine *e);
/* Throws all code and all block records away.  Under `lock`, by a vCPU that is outside. */
void x64_flush_all(struct x64_engine *e);
/* Into the code (waits while a flush is going on; already inside is fine), and out of it. */
void x64_step_in(struct x64_vcpu *v);
void x64_step_out(struct x64_vcpu *v);
/* Takes `lock`, outside; gives it back, inside. */
void x64_lock_engine(struct x64_vcpu *v);
void x64_unlock_engine(struct x64_vcpu *v);

/* ---- x64_reuse.c; under `lock`, but for x64_reuse_expect ---- */

/* Room for so many bytes of them, committed on touch; false when the host has no memory. */
bool x64_reuse_init(struct x64_engine *e, u64 bytes);
void x64_reuse_free(struct x64_engine *e);
/* All code has been thrown away. */
void x64_reuse_flushed(struct x64_engine *e);
/* The block at cpu->rip, on this page, may have to be made soon: has the host's caches fetch what
 * that begins with. */
void x64_reuse_expect(const struct x64_vcpu *v, const struct mmu_code_page *page);
/* Makes b, zeroed, the block at cpu->rip from a translation that was kept; false if it has to be
 * translated. */
bool x64_reuse(struct x64_vcpu *v, struct x64_block *b);
/* Keeps the translation that v has just made. */
void x64_keep(struct x64_vcpu *v, struct x64_block *b);

/* ---- x64_cache.c ---- */

/* Reads what an earlier run has left in keep.dir for machines like that of cpu.  Once, under
 * `lock`, before the first block is made. */
void x64_cache_open(struct x64_engine *e, const struct cpu *cpu);
/* Leaves what is kept to the next run, if there is anything new; nothing is kept any more. */
void x64_cache_save(struct x64_engine *e);

/* ---- x64_inspect.c ---- */

/* -d out_asm: logs the host code that s has just made, under the IR and guest code it came from. */
void x64_inspect(const struct x64_sel *s);
/* Adds the block to the map that Linux's perf reads. */
void x64_perf_map(FILE *map, const struct x64_block *b);

#endif

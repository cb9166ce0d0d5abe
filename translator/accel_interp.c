/* The portable engine (-accel interp): runs the optimised IR of each block on any host.
 *
 * One engine per machine, one struct vcpu per vCPU thread.  Code lies in an arena of chunks that
 * are reused once all blocks in them are gone.  Touches struct cpu, the block cache and the jump
 * caches of the MMU contexts (tag: a block's serial, code: the block).
 */
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "cpu/count.h"
#include "translator/interp.h"
#include "translator/technique.h"

#define CHUNK_BYTES (256u << 10)
#define DEFAULT_CODE_BYTES (64ull << 20)
#define POOL_BLOCKS 256u

struct xchunk {
    struct xchunk *next;
    u32 live, used;
    _Alignas(16) u8 data[CHUNK_BYTES];
};

struct pool {
    struct pool *next;
    struct tblock blocks[POOL_BLOCKS];
};

struct interp {
    struct bus *bus;
    struct block_cache *cache;
    bool verify;
    u64 off;
    unsigned max_chunks, chunks;
    pthread_mutex_t arena_lock;  /* chunks, pool, serials; taken inside the cache's lock */
    struct xchunk *filling, *idle, *full;
    struct pool *pools;
    struct tblock *spare;
    u64 serial;
    struct vcpu *vcpus;
};

/* ---- arena ---- */

static struct tblock *new_block(struct interp *e)
{
    pthread_mutex_lock(&e->arena_lock);
    if (!e->spare) {
        struct pool *p = calloc(1, sizeof *p);
        if (!p)
            fatal("no memory for translated blocks");
        p->next = e->pools;
        e->pools = p;
        for (unsigned i = 0; i < POOL_BLOCKS; i++) {
            p->blocks[i].pool_next = e->spare;
            e->spare = &p->blocks[i];
        }
    }
    struct tblock *t = e->spare;
    e->spare = t->pool_next;
    pthread_mutex_unlock(&e->arena_lock);
    memset(&t->b, 0, sizeof t->b);
    memset(&t->code, 0, sizeof t->code);
    t->b.engine = t;
    return t;
}

static void unlink_chunk(struct xchunk **list, struct xchunk *k)
{
    while (*list && *list != k)
        list = &(*list)->next;
    if (*list)
        *list = k->next;
}

/* With arena_lock held. */
static void release_block(struct interp *e, struct tblock *t)
{
    struct xchunk *k = t->code.chunk;
    if (k && --k->live == 0) {
        k->used = 0;
        if (k != e->filling) {
            unlink_chunk(&e->full, k);
            k->next = e->idle;
            e->idle = k;
        }
    }
    t->pool_next = e->spare;
    e->spare = t;
}

static void free_block(void *opaque, struct block *b)
{
    struct interp *e = opaque;
    pthread_mutex_lock(&e->arena_lock);
    release_block(e, b->engine);
    pthread_mutex_unlock(&e->arena_lock);
}

/* A chunk with room; NULL when the limit is reached or the host has no memory. */
static struct xchunk *chunk_with(struct interp *e, size_t bytes, bool beyond_limit)
{
    struct xchunk *k = e->filling;
    if (k && CHUNK_BYTES - k->used >= bytes)
        return k;
    struct xchunk *next = e->idle;
    if (next) {
        e->idle = next->next;
    } else {
        if (e->chunks >= e->max_chunks && !beyond_limit)
            return NULL;
        next = malloc(sizeof *next);
        if (!next)
            return NULL;
        e->chunks++;
    }
    next->live = next->used = 0;
    if (k) {
        struct xchunk **list = k->live ? &e->full : &e->idle;
        k->next = *list;
        *list = k;
    }
    e->filling = next;
    return next;
}

/* Moves the compacted ops from scratch to the arena. */
static bool store_code(struct interp *e, struct vcpu *v, struct tblock *t, struct xcompact n,
                       const struct xmark *mark, const struct ir_insn *vec, bool beyond_limit)
{
    size_t ops = n.ops * sizeof(struct xop), marks = n.marks * sizeof(struct xmark);
    size_t bytes = align_up(ops + marks + n.vecs * sizeof(struct ir_insn), 16);
    pthread_mutex_lock(&e->arena_lock);
    struct xchunk *k = chunk_with(e, bytes, beyond_limit);
    if (k) {
        u8 *p = k->data + k->used;
        k->used += (u32)bytes;
        k->live++;
        t->code = (struct xcode){k, n.ops, n.marks, (struct xop *)p, (struct xmark *)(p + ops),
                                 (struct ir_insn *)(p + ops + marks)};
        t->serial = ++e->serial;
    }
    pthread_mutex_unlock(&e->arena_lock);
    if (!k)
        return false;
    memcpy(t->code.ops, v->scratch, ops);
    memcpy(t->code.mark, mark, marks);
    memcpy(t->code.vec, vec, n.vecs * sizeof *vec);
    for (u32 i = 0; i < n.ops; i++)
        if (t->code.ops[i].fn == xop_vector)
            t->code.ops[i].imm = (u64)(uintptr_t)&t->code.vec[t->code.ops[i].imm];
    return true;
}

/* ---- finding blocks ---- */

/* Blocks are not keyed by the CS limit: it is checked again where it is not flat. */
static struct tblock *probe(struct cpu *cpu)
{
    struct jump_entry *j = &cpu->mmu.context->jumps[jump_index(cpu->rip)];
    struct tblock *t = (struct tblock *)(uintptr_t)j->code;
    u64 tag = __atomic_load_n(&j->tag, __ATOMIC_RELAXED);
    if (!tag || tag >= JUMP_EMPTY || !t || t->serial != tag)
        return NULL;
    return t->b.rip == cpu->rip && t->b.hflags == cpu->hflags &&
                   t->b.cs_base == front_cs_base(cpu) && block_within_limit(cpu, &t->b)
               ? t
               : NULL;
}

struct tblock *interp_continue(struct cpu *cpu)
{
    if (unlikely(cpu->hflags & (HF_TF | HF_ONE)))
        return NULL;
    return probe(cpu);
}

struct tblock *interp_link(struct cpu *cpu, struct xop *link)
{
    struct tblock *t = interp_continue(cpu);
    u64 serial = t ? __atomic_load_n(&t->serial, __ATOMIC_RELAXED) : 0;
    if (serial && link->aux) { /* else it has just been dropped: that must not match */
        /* The pair may be torn for another vCPU; then the serial does not match. */
        __atomic_store_n(&link->imm, serial, __ATOMIC_RELAXED);
        __atomic_store_n(&link->link, t, __ATOMIC_RELAXED);
        vcpu_of(cpu)->links++;
    }
    return t;
}

static u64 host_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * NS_PER_SEC + (u64)t.tv_nsec;
}

static struct tblock *translate(struct vcpu *v)
{
    struct interp *e = v->engine;
    struct cpu *cpu = v->cpu;
    struct xmark mark[BLOCK_MAX_INSNS + 1];
    struct ir_insn vec[IR_MAX];
    struct tblock *t = new_block(e);
    u64 start = host_ns();
    if (!front_translate(cpu, &v->ir, &t->b, BLOCK_MAX_INSNS, &v->front, e->verify)) {
        pthread_mutex_lock(&e->arena_lock);
        release_block(e, t);
        pthread_mutex_unlock(&e->arena_lock);
        return NULL;
    }
    v->translate_ns += host_ns() - start;
    struct xcompact n = interp_compact(v, mark, vec);
    if (!store_code(e, v, t, n, mark, vec, false)) {
        block_flush_all(e->cache);
        if (!store_code(e, v, t, n, mark, vec, true))
            fatal("no memory for translated code");
    }
    block_insert(e->cache, &t->b);
    return t;
}

/* The block at cpu->rip; NULL when fetching it raised an exception. */
static struct tblock *find_block(struct vcpu *v)
{
    struct cpu *cpu = v->cpu;
    struct tblock *t = probe(cpu);
    if (t)
        return t;
    u64 la = front_cs_base(cpu) + cpu->rip;
    if (!(cpu->hflags & HF_LONG))
        la = (u32)la;
    struct mmu_code_page page = {0};
    if (mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, la, &page) == MMU_OK) {
        struct block *b = block_find(v->engine->cache, page.phys | (la & ~PAGE_MASK), cpu->rip,
                                     front_cs_base(cpu), cpu->hflags);
        t = b && front_usable(cpu, b, la) ? b->engine : NULL;
    }
    if (!t)
        t = translate(v);
    if (t && t->b.valid && block_in_jumps(&t->b))
        mmu_put_jump(&cpu->mmu, jump_index(cpu->rip), t->serial, (u64)(uintptr_t)t,
                     page.global && t->b.phys2 == ~0ull);
    return t;
}

/* ---- hooks of the block cache ---- */

static void drop_block(void *opaque, struct block *b)
{
    struct tblock *t = b->engine;
    __atomic_store_n(&t->serial, 0, __ATOMIC_RELEASE);
}

static struct block *current_block(void *opaque, struct cpu *cpu)
{
    struct vcpu *v = vcpu_of(cpu);
    return v && v->running ? &v->running->b : NULL;
}

static void sync_state(struct cpu *cpu);
static void unwind(struct cpu *cpu) __attribute__((noreturn));

/* The block that stores into itself: what follows the store may have changed, so the store is done
 * again by a block of its own.  A block of one instruction has nothing that follows. */
static void current_hit(void *opaque, struct cpu *cpu, struct block *b)
{
    struct vcpu *v = vcpu_of(cpu);
    if (b->guest_insns <= 1 || !v->at)
        return;
    sync_state(cpu);
    v->redo = true;
    unwind(cpu);
}

/* ---- engine hooks ---- */

/* Index of the instruction of the block that op `at` belongs to. */
static u32 insn_at(const struct xcode *code, const struct xop *at)
{
    u32 op = (u32)(at - code->ops), lo = 0, hi = code->marks;
    while (hi - lo > 1) {
        u32 mid = (lo + hi) / 2;
        if (code->mark[mid].first <= op)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

static void sync_state(struct cpu *cpu)
{
    struct vcpu *v = vcpu_of(cpu);
    if (!v->running || !v->at)
        return;
    const struct xcode *code = &v->running->code;
    cpu->rip = code->mark[insn_at(code, v->at)].rip;
    cpu_flags(cpu);
}

static void unwind(struct cpu *cpu)
{
    struct vcpu *v = vcpu_of(cpu);
    if (v->running && v->at) {
        u32 done = insn_at(&v->running->code, v->at);
        v->insns += done;
        if (cpu->count)
            cpu->budget += v->running->b.guest_insns - done;
    }
    v->unwinds++;
    _longjmp(v->unwind, 1);
}

static void redo(struct cpu *cpu) __attribute__((noreturn));
static void redo(struct cpu *cpu)
{
    sync_state(cpu);
    vcpu_of(cpu)->redo = true;
    unwind(cpu);
}

static void alone(struct cpu *cpu)
{
    struct vcpu *v = vcpu_of(cpu);
    if (v->running && v->at && v->running->b.guest_insns > 1)
        redo(cpu);
}

static const struct engine_hooks hooks = {.sync = sync_state, .unwind = unwind, .redo = redo,
                                          .alone = alone, .vec_op = ir_vec_checked};

/* ---- run loop ---- */

/* Executes a chain of blocks. */
static void execute(struct vcpu *v, struct tblock *t)
{
    while (t) {
        v->running = t;
        v->blocks++;
        t = t->code.ops->fn(v->cpu, (u8 *)v->frame, t->code.ops);
    }
}

/* The same in counted mode: as far as the budget goes. */
static void execute_counted(struct vcpu *v, struct tblock *t)
{
    struct cpu *cpu = v->cpu;
    while (t && cpu->budget >= t->b.guest_insns) {
        u64 before = v->insns;
        unsigned price = t->b.guest_insns;
        v->running = t;
        v->blocks++;
        cpu->budget -= price;
        t = t->code.ops->fn(cpu, (u8 *)v->frame, t->code.ops);
        cpu->budget += (s64)(price - (v->insns - before));
    }
}

/* One turn: an event, or a chain of blocks.  False when the caller wants the thread back. */
static bool run_once(struct vcpu *v)
{
    struct cpu *cpu = v->cpu;
    block_safe_point(v->engine->cache, cpu->index);
    if (cpu->count && cpu->budget <= 0)
        count_stop(cpu);
    if (!v->redo && cpu_needs_service(cpu) && !cpu_serve(cpu))
        return false;
    if (v->redo) {
        v->redo = false;
        cpu->hflags |= HF_ONE;
    }
    if (cpu->count && cpu->budget <= 0)
        return true; /* a delivery has used it up */
    if (unlikely(cpu->debug) && !cpu_debug_before(cpu))
        return true;
    bool stepping = cpu->hflags & HF_TF;
    struct tblock *t = find_block(v);
    if (cpu->count && t && cpu->budget < t->b.guest_insns) {
        cpu->hflags |= HF_ONE;
        t = find_block(v);
    }
    if (!t) {
        cpu_one_done(cpu);
        return true;
    }
    log_event(exec, "cpu %u: %llx, hflags %04x, %u instructions\n", cpu->index,
              (unsigned long long)t->b.rip, t->b.hflags, t->b.guest_insns);
    if (cpu->count)
        execute_counted(v, t);
    else
        execute(v, t);
    v->running = NULL;
    v->at = NULL;
    cpu_one_done(cpu);
    if (unlikely(stepping || cpu->debug & DBG_HITS))
        cpu_debug_after(cpu, stepping);
    return true;
}

static void interp_run(struct cpu *cpu)
{
    struct vcpu *v = vcpu_of(cpu);
    block_cpu_online(v->engine->cache, cpu->index);
    if (_setjmp(v->unwind)) {
        v->running = NULL;
        v->at = NULL;
        cpu_unwound(cpu);
        cpu_one_done(cpu);
    }
    while (run_once(v))
        ;
    block_cpu_offline(v->engine->cache, cpu->index);
}

/* ---- life cycle ---- */

static bool interp_available(void)
{
    return true;
}

static void *interp_create(struct bus *bus, const struct accel_options *options)
{
    struct interp *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    u64 bytes = options && options->code_bytes ? options->code_bytes : DEFAULT_CODE_BYTES;
    e->bus = bus;
    e->verify = options && options->verify_ir;
    e->off = options ? options->off : 0;
    e->max_chunks = bytes > CHUNK_BYTES ? (unsigned)(bytes / CHUNK_BYTES) : 1;
    pthread_mutex_init(&e->arena_lock, NULL);
    struct block_hooks h = {drop_block, free_block, current_hit, current_block, e};
    e->cache = block_cache_create(bus, &h);
    if (!e->cache) {
        free(e);
        return NULL;
    }
    return e;
}

static void free_chunks(struct xchunk *k)
{
    while (k) {
        struct xchunk *next = k->next;
        free(k);
        k = next;
    }
}

static void interp_destroy(void *engine)
{
    struct interp *e = engine;
    if (!e)
        return;
    block_cache_destroy(e->cache);
    if (e->filling)
        e->filling->next = NULL;
    free_chunks(e->filling);
    free_chunks(e->idle);
    free_chunks(e->full);
    while (e->pools) {
        struct pool *p = e->pools;
        e->pools = p->next;
        free(p);
    }
    pthread_mutex_destroy(&e->arena_lock);
    free(e);
}

static bool interp_attach(void *engine, struct cpu *cpu)
{
    struct interp *e = engine;
    struct vcpu *v = calloc(1, sizeof *v);
    if (!v)
        return false;
    v->cpu = cpu;
    v->engine = e;
    v->ir.off = e->off;
    v->ir.narrow = true;
    cpu->engine = &hooks;
    cpu->engine_data = v;
    technique_mmu(e->off, &cpu->mmu);
    pthread_mutex_lock(&e->arena_lock);
    v->next = e->vcpus;
    e->vcpus = v;
    pthread_mutex_unlock(&e->arena_lock);
    return true;
}

static void interp_detach(struct cpu *cpu)
{
    struct vcpu *v = vcpu_of(cpu);
    if (!v)
        return;
    struct interp *e = v->engine;
    /* Jump caches name this engine's blocks. */
    mmu_flush_jumps(&cpu->mmu);
    pthread_mutex_lock(&e->arena_lock);
    struct vcpu **p = &e->vcpus;
    while (*p && *p != v)
        p = &(*p)->next;
    if (*p)
        *p = v->next;
    pthread_mutex_unlock(&e->arena_lock);
    cpu->engine = NULL;
    cpu->engine_data = NULL;
    free(v);
}

/* ---- counters ---- */

/* Rows of `info jit`, summed over vCPUs. */
#define VCPU_COUNTERS(X)                                                                           \
    X(blocks_executed, v->blocks, "blocks executed")                                               \
    X(insns_executed, v->insns, "guest instructions executed")                                     \
    X(unwinds, v->unwinds, "blocks left by a fault")                                               \
    X(links, v->links, "exits linked to their successor")                                          \
    X(blocks_translated, v->front.blocks, "blocks translated")                                     \
    X(insns_translated, v->front.insns, "guest instructions translated")                           \
    X(ops_translated, v->front.ops, "IR ops after the passes")                                     \
    X(translate_ns, v->translate_ns, "ns spent in lifting and the passes")                         \
    X(folded, v->front.opt.folded, "ops folded")                                                   \
    X(forwarded, v->front.opt.forwarded, "gets forwarded")                                         \
    X(puts_killed, v->front.opt.puts_killed, "dead puts removed")                                  \
    X(flags_killed, v->front.opt.flags_killed, "dead flags removed")                               \
    X(dead, v->front.opt.dead, "dead ops removed")                                                 \
    X(fates_fault, v->front.fates_fault, "exits whose flags only a fault can see")                 \
    X(fates_dead, v->front.fates_dead, "exits whose flags are dead")                               \
    X(run_ons, v->front.run_ons, "branches behind which the block goes on")

#define CACHE_COUNTERS(X)                                                                      \
    X(lookups, "block lookups beyond the jump caches")                                         \
    X(filtered, "look-ups that a filter has ended")                                                \
    X(inserts, "blocks inserted")                                                              \
    X(drops, "blocks dropped")                                                                 \
    X(code_writes, "stores near code")                                                         \
    X(flushes, "whole flushes")                                                                \
    X(live, "blocks live")                                                                     \
    X(freed, "dropped blocks freed")

static u64 interp_counter(void *engine, const char *name)
{
    struct interp *e = engine;
    u64 sum = 0;
    bool known = false;
#define X(id, field, text)                                                                     \
    if (!strcmp(name, #id)) {                                                                  \
        known = true;                                                                          \
        for (const struct vcpu *v = e->vcpus; v; v = v->next)                                  \
            sum += field;                                                                      \
    }
    VCPU_COUNTERS(X)
#undef X
#define X(id, text)                                                                            \
    if (!strcmp(name, #id))                                                                    \
        return block_counters(e->cache)->id;
    CACHE_COUNTERS(X)
#undef X
    return known ? sum : ~0ull;
}

static void interp_info(void *engine, print_fn print, void *opaque)
{
    struct interp *e = engine;
    print(opaque, "engine: interp (portable evaluation of the IR)\n");
#define X(id, field, text)                                                                     \
    print(opaque, "%-44s %llu\n", text, (unsigned long long)interp_counter(e, #id));
    VCPU_COUNTERS(X)
#undef X
#define X(id, text)                                                                            \
    print(opaque, "%-44s %llu\n", text, (unsigned long long)interp_counter(e, #id));
    CACHE_COUNTERS(X)
#undef X
    technique_print(e->off, &accel_interp, engine, print, opaque);
    u64 insns = interp_counter(e, "insns_translated");
    print(opaque, "%-44s %llu\n", "ns per guest instruction translated",
          (unsigned long long)(insns ? interp_counter(e, "translate_ns") / insns : 0));
    print(opaque, "%-44s %llu KiB\n", "code arena", (unsigned long long)e->chunks * 256);
}

const struct accel accel_interp = {
    .name = "interp",
    .help = "portable evaluation of the IR, on any host",
    .available = interp_available,
    .create = interp_create,
    .destroy = interp_destroy,
    .attach = interp_attach,
    .detach = interp_detach,
    .run = interp_run,
    .info = interp_info,
    .counter = interp_counter,
};

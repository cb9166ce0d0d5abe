/* Block records of the x86-64 engine, chaining, and throwing code away.
 *
 * Memory for code, sites and exits is bump-allocated and given back all at once when something is
 * full (no vCPU is in emitted code then).  Block records outlive the drop of their block until the
 * block cache frees them, so they have a pool of their own.  Emits nothing but jumps into code that
 * is there already.
 */
#include <sched.h>
#include <sys/mman.h>

#include "translator/x64/x64_engine.h"

void *x64_arena_alloc(struct x64_engine *e, u64 bytes)
{
    void *p = e->arena + e->arena_used;
    e->arena_used += align_up(bytes, 16);
    return p;
}

struct x64_exit *x64_new_exit(struct x64_engine *e, u32 *id)
{
    if (e->exit_count == MAX_EXITS)
        return NULL;
    *id = e->exit_count;
    return &e->exits[e->exit_count++];
}

/* ---- records ---- */

void x64_free_block(void *opaque, struct block *block)
{
    struct x64_engine *e = opaque;
    pthread_mutex_lock(&e->pool_lock);
    block->dead_next = e->free_blocks;
    e->free_blocks = block;
    pthread_mutex_unlock(&e->pool_lock);
}

struct x64_block *x64_new_block(struct x64_engine *e)
{
    pthread_mutex_lock(&e->pool_lock);
    struct block *freed = e->free_blocks;
    struct x64_block *b = freed ? container_of(freed, struct x64_block, b) : NULL;
    if (b)
        e->free_blocks = freed->dead_next;
    else if (e->pool_used < MAX_BLOCKS)
        b = &e->pool[e->pool_used++];
    pthread_mutex_unlock(&e->pool_lock);
    if (b)
        memset(b, 0, sizeof *b);
    return b;
}

void x64_index_add(struct x64_engine *e, struct x64_block *b)
{
    e->index[e->index_count] = (struct code_index){b->code, b};
    /* Other vCPUs search while they run. */
    __atomic_store_n(&e->index_count, e->index_count + 1, __ATOMIC_RELEASE);
}

struct x64_block *x64_block_at(struct x64_engine *e, u64 address)
{
    u32 lo = 0, hi = __atomic_load_n(&e->index_count, __ATOMIC_ACQUIRE);
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (e->index[mid].code <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    struct x64_block *b = lo ? e->index[lo - 1].block : NULL;
    return b && b->code <= address && address <= b->code + b->size ? b : NULL;
}

/* ---- chains ---- */

/* An exit to another page that has been linked so often leads to different blocks all the time, or
 * its mapping never stays: it goes by the jump cache from then on. */
#define MAX_LINKS 255u

static void aim(const struct x64_engine *e, struct x64_exit *x, u64 target)
{
    u64 field = (u64)(uintptr_t)(e->code.rx + (x->field - e->code.rw));
    codebuf_patch4(x->field, (u32)(target - (field + 4)));
}

/* Whether the flags that exit x leaves behind are really dead in the block it would go to: the
 * bytes there may have changed since x was translated. */
static bool fate_holds(struct cpu *cpu, const struct x64_exit *x, const struct x64_block *to)
{
    if (x->fate != XF_DEAD)
        return true;
    struct bus_page page = bus_page(cpu->bus, to->b.phys & PAGE_MASK);
    if (!page.read)
        return false;
    unsigned off = to->b.phys & (PAGE_SIZE - 1);
    unsigned avail = PAGE_SIZE - off;
    return lift_flags_fate(cpu, page.read + off, &avail, to->b.hflags) == XF_DEAD;
}

/* Under link_lock: x goes to `to` from now on; NULL: to its stub. */
static void set_target(struct x64_engine *e, struct x64_exit *x, struct x64_block *to)
{
    struct x64_exit **at = x->to ? &x->to->in : NULL;
    while (at && *at != x)
        at = &(*at)->next_in;
    if (at)
        *at = x->next_in;
    x->to = to;
    if (to) {
        x->next_in = to->in;
        to->in = x;
    }
    aim(e, x, to ? to->code : x->stub);
}

/* Whether all of the block lies on global pages. */
static bool on_global_pages(struct cpu *cpu, const struct x64_block *b)
{
    struct mmu_code_page page;
    u64 last = b->b.rip + b->b.guest_bytes - 1;
    return mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, b->b.rip, &page) == MMU_OK && page.global &&
           (b->b.phys2 == ~0ull ||
            (mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, last, &page) == MMU_OK && page.global));
}

/* What a block has to be made for that x may lead to. */
static u32 hflags_behind(const struct x64_exit *x)
{
    u32 hflags = x->from->b.hflags & ~(u32)HF_APART;
    return x->far == FAR_APART ? hflags | HF_APART : hflags;
}

/* Links an exit to another page, on which `to` has just been found.  Only while there is one vCPU
 * (select_block), so nobody executes what is changed here. */
static void link_far(struct cpu *cpu, struct x64_exit *x, struct x64_block *to)
{
    struct x64_engine *e = vcpu_of(cpu)->engine;
    bool global = x->far == FAR_GLOBAL;
    if (x->links == MAX_LINKS || e->vcpu_count > 1 || to->b.rip != x->rip ||
        !block_in_jumps(&to->b) || (global && !on_global_pages(cpu, to)))
        return;
    u32 id = mmu_map_id(&cpu->mmu, x->rip, global);
    pthread_mutex_lock(&e->link_lock);
    const struct x64_block *from = x->from;
    bool ours = x->field > from->rw && x->field < from->rw + from->size;
    if (ours && from->b.valid && to->b.valid && to->b.hflags == hflags_behind(x) && id) {
        if (x->to != to)
            set_target(e, x, to);
        memcpy(x->field - X64_LINK_BYTES, &id, sizeof id);
        x->links++;
        e->counters.links++;
    }
    pthread_mutex_unlock(&e->link_lock);
}

void x64_chain(struct cpu *cpu, struct x64_exit *x, struct x64_block *to)
{
    struct x64_engine *e = vcpu_of(cpu)->engine;
    if (x->far == FAR_LOCAL || x->far == FAR_GLOBAL) {
        link_far(cpu, x, to);
        return;
    }
    if (!x->field || !technique_on(e->off, T_chain) || x->to || to->b.phys2 != ~0ull ||
        to->b.rip != x->rip || !fate_holds(cpu, x, to))
        return;
    pthread_mutex_lock(&e->link_lock);
    /* The record of the block that x belongs to may serve another one by now.  Blocks become
     * invalid before drop_block asks for the lock, so a chain to a valid block will be undone. */
    const struct x64_block *from = x->from;
    bool ours = x->field > from->rw && x->field < from->rw + from->size;
    if (ours && from->b.valid && to->b.valid && !x->to && to->b.hflags == hflags_behind(x) &&
        !((to->b.phys ^ from->b.phys) & PAGE_MASK)) {
        set_target(e, x, to);
        e->counters.chains++;
    }
    pthread_mutex_unlock(&e->link_lock);
}

/* block_hooks.drop: nothing may enter the block any more. */
static void drop_block(void *opaque, struct block *block)
{
    struct x64_engine *e = opaque;
    struct x64_block *b = container_of(block, struct x64_block, b);
    if (!b->code)
        return;
    pthread_mutex_lock(&e->link_lock);
    for (struct x64_exit *x = b->in; x; x = x->next_in) {
        aim(e, x, x->stub);
        x->to = NULL;
        e->counters.unchains++;
    }
    b->in = NULL;
    static_assert(X64_HEADER + 2 <= 128, "too far for a short jump");
    /* A short jump to the stub before the entry (x64_emit_header).  Two bytes, for the first
     * instruction has at least as many, and some vCPU may stand right behind it. */
    codebuf_patch2(b->rw, (u16)(0xeb | (u8)(-X64_HEADER - 2) << 8));
    e->counters.retired++;
    pthread_mutex_unlock(&e->link_lock);
}

static struct block *current_block(void *opaque, struct cpu *cpu)
{
    struct x64_block *b = cpu->host_ret ? x64_block_at(opaque, cpu->host_ret) : NULL;
    return b ? &b->b : NULL;
}

/* The running block changes itself: do the store's instruction again in a block of its own, which
 * ends before the changed bytes could matter. */
static void current_hit(void *opaque, struct cpu *cpu, struct block *block)
{
    (void)opaque;
    if (!(block->hflags & HF_ONE))
        x64_retry_alone(cpu);
}

/* ---- flushing ---- */

bool x64_nearly_full(struct x64_engine *e)
{
    pthread_mutex_lock(&e->pool_lock);
    bool no_record = !e->free_blocks && e->pool_used == MAX_BLOCKS;
    pthread_mutex_unlock(&e->pool_lock);
    return no_record || e->code.size - e->used < 2 * MAX_BLOCK_CODE ||
           ARENA_BYTES - e->arena_used < (1u << 20) || MAX_BLOCKS - e->index_count < 2 ||
           MAX_EXITS - e->exit_count < 4 * MAX_STUBS;
}

void x64_flush_all(struct x64_engine *e)
{
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        struct x64_vcpu *v = e->vcpus[i];
        if (!v || !atomic_load(&v->in_code))
            continue;
        cpu_request(v->cpu, REQ_WORK);
        while (atomic_load(&v->in_code))
            sched_yield();
    }
    /* Nobody knows a block outside the code: safe points need not be waited for. */
    block_flush_all(e->cache);
    block_free_dropped(e->cache);
    e->free_blocks = NULL; /* all are: begin anew, in the order of memory */
    e->pool_used = 0;
    for (unsigned i = 0; i < MAX_CPUS; i++)
        if (e->vcpus[i])
            mmu_flush_jumps(&e->vcpus[i]->cpu->mmu);
    e->used = e->thunk_end;
    e->arena_used = 0;
    e->exit_count = X64_EXIT_RETIRED + 1;
    e->index_count = 0;
    x64_reuse_flushed(e);
    e->counters.flushes++;
}

void x64_step_out(struct x64_vcpu *v)
{
    atomic_store(&v->in_code, false);
}

void x64_step_in(struct x64_vcpu *v)
{
    if (atomic_load(&v->in_code))
        return;
    pthread_mutex_lock(&v->engine->lock);
    x64_unlock_engine(v);
}

void x64_lock_engine(struct x64_vcpu *v)
{
    x64_step_out(v);
    pthread_mutex_lock(&v->engine->lock);
}

void x64_unlock_engine(struct x64_vcpu *v)
{
    atomic_store(&v->in_code, true);
    pthread_mutex_unlock(&v->engine->lock);
}

/* ---- life ---- */

/* Address space that is committed on touch, in large pages where the host has them; NULL when there
 * is none. */
static void *reserve(u64 bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

static void release(void *p, u64 bytes)
{
    if (p)
        munmap(p, bytes);
}

bool x64_link_init(struct x64_engine *e)
{
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->link_lock, NULL);
    pthread_mutex_init(&e->pool_lock, NULL);
    e->arena = reserve(ARENA_BYTES);
    e->exits = reserve(MAX_EXITS * sizeof *e->exits);
    e->index = reserve(MAX_BLOCKS * sizeof *e->index);
    e->pool = reserve(MAX_BLOCKS * sizeof *e->pool);
    struct block_hooks bh = {.drop = drop_block, .free = x64_free_block,
                             .current_hit = current_hit, .current = current_block, .opaque = e};
    e->cache = block_cache_create(e->bus, &bh);
    if (!e->arena || !e->exits || !e->index || !e->pool || !e->cache)
        return false;
    e->exits[X64_EXIT_RETIRED].dynamic = true;
    e->exit_count = X64_EXIT_RETIRED + 1;
    return true;
}

void x64_link_free(struct x64_engine *e)
{
    if (e->cache)
        block_cache_destroy(e->cache);
    x64_reuse_free(e);
    release(e->arena, ARENA_BYTES);
    release(e->exits, MAX_EXITS * sizeof *e->exits);
    release(e->index, MAX_BLOCKS * sizeof *e->index);
    release(e->pool, MAX_BLOCKS * sizeof *e->pool);
    pthread_mutex_destroy(&e->pool_lock);
    pthread_mutex_destroy(&e->link_lock);
    pthread_mutex_destroy(&e->lock);
}

/* The dynamic binary translator: run loop, making blocks with the x86-64 selector, chaining,
 * precise exceptions, eviction.
 *
 * One engine serves all vCPUs of a machine.  Blocks are translated under the engine's lock and
 * executed without any; memory for code, sites and exits is bump-allocated and given back all at
 * once when the code buffer is full (no vCPU is in emitted code then).  Block records outlive that
 * until the block cache frees them, so they have a pool of their own.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <xmmintrin.h>

#include "base/log.h"
#include "cpu/cpu.h"
#include "translator/codebuf.h"
#include "translator/inspect.h"
#include "translator/ir_eval_vec.h"
#include "translator/x64/x64_sel.h"

#define DEFAULT_CODE_BYTES (256ull << 20)
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

struct x64_engine {
    struct bus *bus;
    struct block_cache *cache;
    struct codebuf code;
    u64 used, thunk_end;     /* bytes of code */
    struct x64_thunks thunks;
    u8 *arena;
    u64 arena_used;
    struct x64_exit *exits;
    u32 exit_count;
    struct x64_block *pool, *free_blocks; /* records never used yet; freed ones */
    u32 pool_used;
    pthread_mutex_t pool_lock;
    struct code_index *index; /* blocks in the order of their code */
    u32 index_count;
    struct x64_counters counters;
    struct front_counters front;
    pthread_mutex_t lock;
    struct x64_vcpu *vcpus[MAX_CPUS];
    bool verify, avx, lzcnt;
};

struct x64_vcpu {
    struct x64_engine *engine;
    struct cpu *cpu;
    jmp_buf unwind;
    _Atomic bool in_code;
    bool stepping;
    struct ir ir;
    struct x64_sel sel;
};

static struct x64_vcpu *vcpu_of(struct cpu *cpu)
{
    return cpu->engine_data;
}

static u64 now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

static void *arena_alloc(struct x64_engine *e, u64 bytes)
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

/* ---- state at a site ---- */

/* The block whose code holds this executable address. */
static struct x64_block *block_at(struct x64_engine *e, u64 address)
{
    u32 lo = 0, hi = e->index_count;
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (e->index[mid].code <= address)
            lo = mid + 1;
        else
            hi = mid;
    }
    struct x64_block *b = lo ? e->index[lo - 1].block : NULL;
    return b && address <= b->code + b->size ? b : NULL;
}

static u64 loc_value(const struct cpu *cpu, const struct x64_loc *l)
{
    switch (l->kind) {
    case LOC_CONST: return l->value;
    case LOC_GPR: return cpu->gpr[l->index];
    case LOC_SPILL: return cpu->spill[l->index];
    case LOC_SCRATCH: return cpu->scratch[l->index];
    default: return 0;
    }
}

static void apply_recipe(struct cpu *cpu, const struct x64_recipe *r)
{
    if (r->kind == RECIPE_ENV)
        return;
    u64 a = loc_value(cpu, &r->a), b = loc_value(cpu, &r->b);
    cpu->lazy_kind = r->kind;
    cpu->lazy_a = a;
    cpu->lazy_b = b;
}

/* engine_hooks.sync: the call that emitted code is in tells the instruction and its flags. */
static void dbt_sync(struct cpu *cpu)
{
    struct x64_engine *e = vcpu_of(cpu)->engine;
    if (!cpu->host_ret)
        return;
    struct x64_block *b = block_at(e, cpu->host_ret);
    u32 off = b ? (u32)(cpu->host_ret - b->code) : 0;
    u32 lo = 0, hi = b ? b->site_count : 0;
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (b->sites[mid].ret < off)
            lo = mid + 1;
        else
            hi = mid;
    }
    cpu->host_ret = 0;
    if (!b || lo >= b->site_count || b->sites[lo].ret != off)
        return;
    cpu->rip = b->b.rip + b->sites[lo].insn;
    apply_recipe(cpu, &b->sites[lo].flags);
}

static void __attribute__((noreturn)) dbt_unwind(struct cpu *cpu)
{
    _longjmp(vcpu_of(cpu)->unwind, 1);
}

static const struct engine_hooks hooks = {.sync = dbt_sync, .unwind = dbt_unwind,
                                          .vec_op = ir_vec_checked};

void x64_retry_alone(struct cpu *cpu)
{
    dbt_sync(cpu);
    vcpu_of(cpu)->engine->counters.retries++;
    cpu->hflags |= HF_ONE;
    dbt_unwind(cpu);
}

/* ---- linking ---- */

static void aim(struct x64_exit *x, u64 target)
{
    u64 field = x->from->code + (u64)(x->field - x->from->rw);
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
    return lift_flags_fate(cpu, page.read + off, PAGE_SIZE - off, to->b.hflags) == XF_DEAD;
}

/* A vCPU is in the code from before it looks for a block until it has left it, so that what it
 * found cannot be thrown away under it.  It steps out around whatever may wait for another vCPU:
 * that one may be waiting for this one, in order to throw the code away. */
static void step_out(struct x64_vcpu *v)
{
    atomic_store(&v->in_code, false);
}

static void step_in(struct x64_vcpu *v)
{
    step_out(v);
    pthread_mutex_lock(&v->engine->lock);
    atomic_store(&v->in_code, true);
    pthread_mutex_unlock(&v->engine->lock);
}

/* Takes the engine's lock; the vCPU is outside meanwhile. */
static void lock_engine(struct x64_vcpu *v)
{
    step_out(v);
    pthread_mutex_lock(&v->engine->lock);
}

static void unlock_engine(struct x64_vcpu *v)
{
    atomic_store(&v->in_code, true);
    pthread_mutex_unlock(&v->engine->lock);
}

static void chain(struct x64_vcpu *v, struct x64_exit *x, struct x64_block *to)
{
    struct x64_engine *e = v->engine;
    u64 flushes = e->counters.flushes;
    if (!x->field || x->to || to->b.phys2 != ~0ull || to->b.hflags != x->from->b.hflags ||
        to->b.rip != x->rip || (to->b.phys ^ x->from->b.phys) & PAGE_MASK)
        return;
    lock_engine(v);
    bool ours = x->field > x->from->rw && x->field < x->from->rw + x->from->size;
    if (flushes == e->counters.flushes && ours && x->from->b.valid && to->b.valid && !x->to &&
        fate_holds(v->cpu, x, to)) {
        x->to = to;
        x->next_in = to->in;
        to->in = x;
        aim(x, to->code);
        e->counters.chains++;
    }
    unlock_engine(v);
}

/* block_hooks.drop: nothing may enter the block any more. */
static void drop_block(void *opaque, struct block *block)
{
    struct x64_engine *e = opaque;
    struct x64_block *b = container_of(block, struct x64_block, b);
    if (!b->code)
        return;
    for (struct x64_exit *x = b->in; x; x = x->next_in) {
        aim(x, x->stub);
        x->to = NULL;
        e->counters.unchains++;
    }
    b->in = NULL;
    u64 jmp = 0xe9 | (u64)(u32)(b->retired - (b->code + 5)) << 8;
    codebuf_patch8(b->rw, jmp);
    e->counters.retired++;
}

/* block_hooks.free */
static void free_block(void *opaque, struct block *block)
{
    struct x64_engine *e = opaque;
    struct x64_block *b = container_of(block, struct x64_block, b);
    pthread_mutex_lock(&e->pool_lock);
    b->next_free = e->free_blocks;
    e->free_blocks = b;
    pthread_mutex_unlock(&e->pool_lock);
}

/* A zeroed block record, or NULL when all are in use. */
static struct x64_block *new_block(struct x64_engine *e)
{
    pthread_mutex_lock(&e->pool_lock);
    struct x64_block *b = e->free_blocks;
    if (b)
        e->free_blocks = b->next_free;
    else if (e->pool_used < MAX_BLOCKS)
        b = &e->pool[e->pool_used++];
    pthread_mutex_unlock(&e->pool_lock);
    if (b)
        memset(b, 0, sizeof *b);
    return b;
}

static struct block *current_block(void *opaque, struct cpu *cpu)
{
    struct x64_engine *e = opaque;
    struct x64_block *b = cpu->host_ret ? block_at(e, cpu->host_ret) : NULL;
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

/* ---- making blocks ---- */

/* Throws all code away.  Called with the lock held, by a vCPU that is not in emitted code. */
static void flush_all(struct x64_engine *e)
{
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        if (!e->vcpus[i])
            continue;
        cpu_request(e->vcpus[i]->cpu, REQ_WORK);
        while (atomic_load(&e->vcpus[i]->in_code))
            sched_yield();
    }
    block_flush_all(e->cache);
    for (unsigned i = 0; i < MAX_CPUS; i++)
        if (e->vcpus[i])
            mmu_flush_jumps(&e->vcpus[i]->cpu->mmu);
    e->used = e->thunk_end;
    e->arena_used = 0;
    e->exit_count = e->index_count = 0;
    e->counters.flushes++;
}

static bool nearly_full(const struct x64_engine *e)
{
    return e->code.size - e->used < 2 * MAX_BLOCK_CODE ||
           ARENA_BYTES - e->arena_used < (1u << 20) || MAX_BLOCKS - e->index_count < 2 ||
           MAX_EXITS - e->exit_count < 2 * MAX_STUBS;
}

static void log_host_code(const struct x64_block *b)
{
    char text[128];
    log_print("OUT: %u bytes at %#llx\n", b->size, (unsigned long long)b->code);
    for (u32 at = 0; at < b->size;) {
        unsigned n = inspect_disassemble(b->rw + at, b->size - at, b->code + at, HF_LONG | HF_PE,
                                         text, sizeof text);
        log_print("  %#llx  %s\n", (unsigned long long)(b->code + at), text);
        at += n;
    }
}

static bool select_block(struct x64_vcpu *v, struct x64_block *b)
{
    struct x64_engine *e = v->engine;
    struct x64_sel *s = &v->sel;
    u8 *rw = e->code.rw + align_up(e->used + 8, 16);
    s->engine = e;
    s->thunks = &e->thunks;
    s->counters = &e->counters;
    s->ir = &v->ir;
    s->block = b;
    s->avx = e->avx;
    s->lzcnt = e->lzcnt;
    s->chain = (v->ir.hflags & HF_CSFLAT) && !(v->ir.hflags & (HF_ONE | HF_TF));
    s->buf = (struct x64_buf){rw, rw + MAX_BLOCK_CODE, (s64)(e->code.rx - e->code.rw)};
    b->rw = rw;
    b->code = (u64)(uintptr_t)(rw + s->buf.exec_delta);
    if (!x64_select(s))
        return false;
    b->size = (u32)(s->buf.p - rw);
    store_le(rw - 8, (u64)(uintptr_t)b, 8);
    b->sites = arena_alloc(e, s->site_count * sizeof *b->sites);
    b->site_count = s->site_count;
    memcpy(b->sites, s->sites, s->site_count * sizeof *b->sites);
    e->used = (u64)(s->buf.p - e->code.rw);
    return true;
}

/* Translates the block at cpu->rip; NULL when the fetch faulted (an exception is set). */
static struct x64_block *translate(struct x64_vcpu *v)
{
    struct x64_engine *e = v->engine;
    struct cpu *cpu = v->cpu;
    lock_engine(v);
    if (nearly_full(e))
        flush_all(e);
    u64 start = now_ns();
    struct x64_block *b = new_block(e);
    if (!b)
        fatal("dbt: out of block records; use a smaller code cache (-accel dbt,tb-size=N)");
    bool ok = front_translate(cpu, &v->ir, &b->b, &e->front, e->verify);
    if (ok && !select_block(v, b)) {
        log_event(unimp, "dbt: block at %#llx does not fit (%s): one instruction at a time\n",
                  (unsigned long long)cpu->rip, v->sel.failed ? v->sel.failed : "code");
        e->counters.retries++;
        cpu->hflags |= HF_ONE;
        memset(b, 0, sizeof *b);
        ok = front_translate(cpu, &v->ir, &b->b, &e->front, e->verify);
        if (ok && !select_block(v, b))
            fatal("dbt: the instruction at %#llx cannot be translated (%s); use -accel interp",
                  (unsigned long long)cpu->rip, v->sel.failed ? v->sel.failed : "code");
    }
    if (ok) {
        e->index[e->index_count++] = (struct code_index){b->code, b};
        e->counters.blocks++;
        e->counters.guest_insns += v->ir.guest_insns;
        e->counters.host_bytes += b->size;
        if (log_enabled(out_asm))
            log_host_code(b);
        block_insert(e->cache, &b->b);
        e->counters.compile_ns += now_ns() - start;
    } else {
        free_block(e, &b->b);
    }
    unlock_engine(v);
    return ok ? b : NULL;
}

/* ---- the run loop ---- */

static struct x64_block *find_block(struct x64_vcpu *v)
{
    struct cpu *cpu = v->cpu;
    u64 rip = cpu->rip, cs_base = front_cs_base(cpu);
    bool cached = cpu->hflags & HF_CSFLAT && !(cpu->hflags & (HF_ONE | HF_TF));
    struct jump_entry *je = &cpu->mmu.context->jumps[jump_index(rip)];
    u64 tag = jump_tag(rip, cpu->hflags);
    if (cached && je->tag == tag) {
        struct x64_block *b;
        memcpy(&b, (const void *)(uintptr_t)(je->code - 8), sizeof b);
        if (b->b.valid && b->code == je->code) /* else its record serves another block now */
            return b;
    }
    u64 la = cs_base + rip;
    if (!(cpu->hflags & HF_LONG))
        la = (u32)la;
    struct mmu_code_page page;
    struct block *found = NULL;
    if (mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, la, &page) == MMU_OK)
        found = block_find(v->engine->cache, page.phys | (la & (PAGE_SIZE - 1)), rip, cs_base,
                           cpu->hflags);
    if (found && !front_usable(cpu, found, la))
        found = NULL;
    struct x64_block *b =
        found ? container_of(found, struct x64_block, b) : translate(v);
    if (b && cached && b->b.valid && b->b.phys2 == ~0ull) {
        je = &cpu->mmu.context->jumps[jump_index(rip)];
        je->code = b->code;
        je->tag = tag;
    }
    return b;
}

/* Executes b; returns the exit it took. */
static struct x64_exit *execute(struct x64_vcpu *v, struct x64_block *b)
{
    struct cpu *cpu = v->cpu;
    void (*enter)(struct cpu *, u64) =
        (void (*)(struct cpu *, u64))(uintptr_t)v->engine->thunks.enter;
    log_event(exec, "exec %u %#llx hflags %#x\n", cpu->index, (unsigned long long)b->b.rip,
              b->b.hflags);
    enter(cpu, b->code);
    cpu->host_ret = 0;
    cpu->mxcsr |= cpu->guest_mxcsr_host & 0x3f;
    struct x64_exit *x = &v->engine->exits[cpu->exit_id];
    if (!x->dynamic)
        cpu->rip = x->rip;
    apply_recipe(cpu, &x->flags);
    v->engine->counters.exits++;
    return x;
}

static void dbt_run(struct cpu *cpu)
{
    struct x64_vcpu *v = vcpu_of(cpu);
    struct x64_engine *e = v->engine;
    cpu->host_mxcsr = _mm_getcsr() & ~0x3fu;
    block_cpu_online(e->cache, cpu->index);
    if (_setjmp(v->unwind)) { /* an exception, or an instruction to be done alone */
        cpu->mxcsr |= _mm_getcsr() & 0x3f;
        _mm_setcsr(cpu->host_mxcsr);
        cpu->host_ret = 0;
        if (cpu->exc_vector >= 0)
            cpu_one_done(cpu);
    }
    struct x64_exit *last = NULL;
    step_in(v);
    for (;;) {
        block_safe_point(e->cache, cpu->index);
        if (cpu_needs_service(cpu)) {
            last = NULL;
            step_out(v);
            if (!cpu_service(cpu))
                break;
            step_in(v);
        }
        v->stepping = cpu->hflags & HF_TF;
        u64 before = e->counters.flushes;
        struct x64_block *b = find_block(v);
        u64 flushes = e->counters.flushes;
        if (!b) {
            last = NULL;
            continue;
        }
        if (last && flushes == before)
            chain(v, last, b);
        last = flushes == e->counters.flushes && b->b.valid ? execute(v, b) : NULL;
        if (last)
            cpu_one_done(cpu);
        if (last && v->stepping)
            cpu_single_step(cpu);
        if (last && !last->field)
            last = NULL;
    }
    block_cpu_offline(e->cache, cpu->index);
}

/* ---- life ---- */

static bool dbt_available(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}

static bool host_has_lzcnt(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1 << 5 && __builtin_cpu_supports("bmi");
}

static void dbt_destroy(void *engine)
{
    struct x64_engine *e = engine;
    if (e->cache)
        block_cache_destroy(e->cache);
    codebuf_free(&e->code);
    if (e->arena)
        munmap(e->arena, ARENA_BYTES);
    if (e->exits)
        munmap(e->exits, MAX_EXITS * sizeof *e->exits);
    if (e->index)
        munmap(e->index, MAX_BLOCKS * sizeof *e->index);
    if (e->pool)
        munmap(e->pool, MAX_BLOCKS * sizeof *e->pool);
    pthread_mutex_destroy(&e->pool_lock);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* Address space that is committed on touch; NULL when there is none. */
static void *reserve(u64 bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void *dbt_create(struct bus *bus, const struct accel_options *options)
{
    struct x64_engine *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    u64 size = options->code_bytes ? options->code_bytes : DEFAULT_CODE_BYTES;
    size = size < 1u << 20 ? 1u << 20 : size;
    e->bus = bus;
    e->verify = options->verify_ir;
    e->avx = __builtin_cpu_supports("avx");
    e->lzcnt = host_has_lzcnt();
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->pool_lock, NULL);
    e->arena = reserve(ARENA_BYTES);
    e->exits = reserve(MAX_EXITS * sizeof *e->exits);
    e->index = reserve(MAX_BLOCKS * sizeof *e->index);
    e->pool = reserve(MAX_BLOCKS * sizeof *e->pool);
    struct block_hooks bh = {.drop = drop_block, .free = free_block, .current_hit = current_hit,
                             .current = current_block, .opaque = e};
    e->cache = block_cache_create(bus, &bh);
    if (!e->arena || !e->exits || !e->index || !e->pool || !e->cache ||
        !codebuf_init(&e->code, size)) {
        dbt_destroy(e);
        return NULL;
    }
    struct x64_buf buf = {e->code.rw, e->code.rw + (64 << 10), (s64)(e->code.rx - e->code.rw)};
    x64_make_thunks(&buf, &e->thunks);
    e->used = e->thunk_end = (u64)(buf.p - e->code.rw);
    return e;
}

static bool dbt_attach(void *engine, struct cpu *cpu)
{
    struct x64_engine *e = engine;
    struct x64_vcpu *v = calloc(1, sizeof *v);
    if (!v || cpu->index >= MAX_CPUS) {
        free(v);
        return false;
    }
    v->engine = e;
    v->cpu = cpu;
    cpu->engine = &hooks;
    cpu->engine_data = v;
    e->vcpus[cpu->index] = v;
    return true;
}

static void dbt_detach(struct cpu *cpu)
{
    struct x64_vcpu *v = vcpu_of(cpu);
    v->engine->vcpus[cpu->index] = NULL;
    cpu->engine_data = NULL;
    free(v);
}

/* Name and value of every counter. */
#define COUNTERS(X)                                                                                \
    X(blocks) X(guest_insns) X(host_bytes) X(compile_ns) X(coalesced) X(twins) X(recipes)          \
    X(flag_saves) X(flag_loads) X(addr_folds) X(rmw_fused) X(spills) X(chains) X(unchains)         \
    X(exits) X(retired) X(flushes) X(retries)

static void dbt_info(void *engine, print_fn print, void *opaque)
{
    const struct x64_engine *e = engine;
    const struct x64_counters *c = &e->counters;
    print(opaque, "engine            dbt (x86-64 host%s)\n", e->avx ? ", AVX encodings" : "");
    print(opaque, "code              %llu of %llu KiB\n", (unsigned long long)e->used >> 10,
          (unsigned long long)e->code.size >> 10);
#define X(name) print(opaque, "%-17s %llu\n", #name, (unsigned long long)c->name);
    COUNTERS(X)
#undef X
    print(opaque, "compile cost      %llu ns per guest instruction\n",
          (unsigned long long)(c->guest_insns ? c->compile_ns / c->guest_insns : 0));
    print(opaque, "expansion         %.1f host bytes per guest instruction\n",
          c->guest_insns ? (double)c->host_bytes / (double)c->guest_insns : 0.0);
}

static u64 dbt_counter(void *engine, const char *name)
{
    const struct x64_counters *c = &((struct x64_engine *)engine)->counters;
#define X(field)                    \
    if (!strcmp(name, #field))      \
        return c->field;
    COUNTERS(X)
#undef X
    return ~0ull;
}

const struct accel accel_dbt = {
    .name = "dbt",
    .help = "dynamic binary translation to x86-64",
    .available = dbt_available,
    .create = dbt_create,
    .destroy = dbt_destroy,
    .attach = dbt_attach,
    .detach = dbt_detach,
    .run = dbt_run,
    .info = dbt_info,
    .counter = dbt_counter,
};

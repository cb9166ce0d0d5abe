/* The dynamic binary translator: run loop, making blocks with the x86-64 selector, precise
 * exceptions, counters.
 *
 * One engine serves all vCPUs of a machine.  Blocks are translated under the engine's lock and
 * executed without any.  Left to others: the memory of blocks and the jumps between them
 * (x64_link.c), using translations again (x64_reuse.c), showing code (x64_inspect.c), any emission
 * (x64_select.c and its neighbours).
 */
#include <cpuid.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <xmmintrin.h>

#include "base/log.h"
#include "cpu/count.h"
#include "translator/ir_eval_vec.h"
#include "translator/ir_vec.h"
#include "translator/x64/x64_engine.h"

#define DEFAULT_CODE_BYTES (256ull << 20)

/* Of how many blocks one is timed: the clock is a system call, half as long as a short block. */
#define TIMED_EVERY 16u

/* Processor time of this thread. */
static u64 now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

/* What looking at the clock adds to what is timed. */
static u64 clock_cost(void)
{
    u64 least = ~0ull;
    for (unsigned i = 0; i < 8; i++) {
        u64 start = now_ns(), ns = now_ns() - start;
        least = ns < least ? ns : least;
    }
    return least;
}

/* ---- state at a site ---- */

static u64 loc_value(const struct cpu *cpu, const struct x64_loc *l, const struct x64_block *b)
{
    switch (l->kind) {
    case LOC_CONST: return l->value;
    case LOC_PC: return b->b.rip + l->value;
    case LOC_GPR: return cpu->gpr[l->index];
    case LOC_SPILL: return cpu->spill[l->index];
    case LOC_SCRATCH: return cpu->scratch[l->index];
    default: return 0;
    }
}

/* Those that block b has left. */
static void apply_recipe(struct cpu *cpu, const struct x64_recipe *r, const struct x64_block *b)
{
    if (r->kind == RECIPE_ENV)
        return;
    u64 left = loc_value(cpu, &r->a, b), right = loc_value(cpu, &r->b, b);
    cpu->lazy_kind = r->kind;
    cpu->lazy_a = left;
    cpu->lazy_b = right;
}

static const struct x64_site *find_site(const struct x64_block *b, u64 ret)
{
    u32 off = b ? (u32)(ret - b->code) : 0;
    u32 lo = 0, hi = b ? b->site_count : 0;
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (b->sites[mid].ret < off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return b && lo < b->site_count && b->sites[lo].ret == off ? &b->sites[lo] : NULL;
}

const struct x64_site *x64_site_of(struct cpu *cpu)
{
    return find_site(x64_block_at(vcpu_of(cpu)->engine, cpu->host_ret), cpu->host_ret);
}

/* engine_hooks.sync: the call that emitted code is in tells the instruction and its flags. */
static void dbt_sync(struct cpu *cpu)
{
    struct x64_engine *e = vcpu_of(cpu)->engine;
    if (!cpu->host_ret)
        return;
    struct x64_block *b = x64_block_at(e, cpu->host_ret);
    const struct x64_site *site = find_site(b, cpu->host_ret);
    cpu->host_ret = 0;
    if (!site)
        return;
    cpu->rip = b->b.rip + site->insn;
    if (cpu->count) /* the instruction has not ended, nor have those after it */
        cpu->budget += b->b.guest_insns - site->index;
    apply_recipe(cpu, &site->flags, b);
}

static void __attribute__((noreturn)) dbt_unwind(struct cpu *cpu)
{
    _longjmp(vcpu_of(cpu)->unwind, 1);
}

static void dbt_alone(struct cpu *cpu)
{
    struct x64_block *b = cpu->host_ret ? x64_block_at(vcpu_of(cpu)->engine, cpu->host_ret) : NULL;
    if (b && b->b.guest_insns > 1)
        x64_retry_alone(cpu);
}

static const struct engine_hooks hooks = {.sync = dbt_sync,
                                          .unwind = dbt_unwind,
                                          .redo = x64_retry_alone,
                                          .alone = dbt_alone,
                                          .vec_op = ir_vec_checked};

void x64_retry_alone(struct cpu *cpu)
{
    dbt_sync(cpu);
    vcpu_of(cpu)->engine->counters.retries++;
    cpu->hflags |= HF_ONE;
    dbt_unwind(cpu);
}

/* ---- making blocks ---- */

static bool select_block(struct x64_vcpu *v, struct x64_block *b)
{
    struct x64_engine *e = v->engine;
    struct x64_sel *s = &v->sel;
    u8 *rw = e->code.rw + align_up(e->used + X64_HEADER, 16);
    s->engine = e;
    s->thunks = &e->thunks;
    s->counters = &e->counters;
    s->ir = &v->ir;
    s->block = b;
    s->avx = e->avx;
    s->lzcnt = e->lzcnt;
    s->bmi2 = e->bmi2;
    s->levels = e->levels;
    s->x87 = e->x87 && !(v->ir.hflags & (HF_X87_EXC | HF_ONE | HF_TF | HF_ALIGN));
    s->counted = v->cpu->count;
    s->chain = (v->ir.hflags & HF_CSFLAT) && !(v->ir.hflags & (HF_ONE | HF_TF));
    s->links = s->chain && e->vcpu_count <= 1 && technique_on(e->off, T_links);
    s->buf = (struct x64_buf){.p = rw, .end = rw + e->block_code,
                              .exec_delta = (s64)(e->code.rx - e->code.rw)};
    s->first_exit = e->exit_count;
    b->rw = rw;
    b->code = (u64)(uintptr_t)(rw + s->buf.exec_delta);
    if (!x64_select(s)) {
        e->exit_count = s->first_exit;
        return false;
    }
    b->size = (u32)(s->buf.p - rw);
    b->sites = x64_arena_alloc(e, s->site_count * sizeof *b->sites);
    b->site_count = s->site_count;
    memcpy(b->sites, s->sites, s->site_count * sizeof *b->sites);
    e->used = (u64)(s->buf.p - e->code.rw);
    return true;
}

/* Fills b with the block at cpu->rip; false when the fetch faulted.  What the selector cannot do in
 * one piece becomes shorter blocks of the same key, so that the lookup finds them again. */
static bool translate_fitting(struct x64_vcpu *v, struct x64_block *b)
{
    struct x64_engine *e = v->engine;
    for (unsigned max = BLOCK_MAX_INSNS;; max = v->ir.guest_insns / 2) {
        if (!front_translate(v->cpu, &v->ir, &b->b, max, &e->front, e->verify))
            return false;
        if (select_block(v, b))
            return true;
        const char *why = v->sel.failed ? v->sel.failed : "code";
        log_event(unimp, "dbt: block of %u instructions at %#llx does not fit: %s\n",
                  v->ir.guest_insns, (unsigned long long)v->cpu->rip, why);
        if (v->ir.guest_insns <= 1)
            fatal("dbt: the instruction at %#llx cannot be translated (%s); use -accel interp",
                  (unsigned long long)v->cpu->rip, why);
        e->counters.unfit++;
        memset(b, 0, sizeof *b);
    }
}

/* Makes a copy that b was made from again, by translating: both must be the same, to the byte. */
static void check_reused(struct x64_vcpu *v, struct x64_block *b, u64 used, u32 exits)
{
    struct x64_engine *e = v->engine;
    struct x64_block was = *b;
    u32 count = e->exit_count - exits;
    size_t bytes = b->size + X64_HEADER;
    u8 *code = malloc(bytes);
    struct x64_exit *x = malloc((count + 1) * sizeof *x);
    if (!code || !x)
        fatal("dbt: no memory to check a reused block");
    memcpy(code, b->rw - X64_HEADER, bytes);
    memcpy(x, &e->exits[exits], count * sizeof *x);
    e->used = used;
    e->exit_count = exits;
    memset(b, 0, sizeof *b);
    bool same = translate_fitting(v, b) && b->size == was.size && b->rw == was.rw &&
                !memcmp(code, b->rw - X64_HEADER, bytes) && e->exit_count == exits + count &&
                b->site_count == was.site_count && b->b.sum == was.b.sum &&
                b->b.look_sum == was.b.look_sum;
    /* Only what made flags dead is looked at again, so that a copy may be more careful. */
    bool careful = false;
    for (u32 i = 0; i < count && e->exit_count == exits + count; i++)
        careful |= x[i].fate == XF_LIVE && e->exits[exits + i].fate != XF_LIVE;
    for (u32 i = 0; same && i < count; i++) {
        const struct x64_exit *y = &e->exits[exits + i];
        same = x[i].rip == y->rip && x[i].field == y->field && x[i].stub == y->stub &&
               x[i].fate == y->fate && x[i].far == y->far &&
               !memcmp(&x[i].flags, &y->flags, sizeof y->flags);
    }
    for (u32 i = 0; same && i < b->site_count; i++)
        same = was.sites[i].ret == b->sites[i].ret && was.sites[i].insn == b->sites[i].insn &&
               !memcmp(&was.sites[i].flags, &b->sites[i].flags, sizeof b->sites[i].flags);
    /* What lies behind a block may make it go on (runs_on in lift_flow.c), and is not looked at. */
    careful |= v->ir.run_ons && b->b.guest_insns > was.b.guest_insns;
    /* And another processor may have written there meanwhile. */
    bool changed = bus_shared(e->bus) && (b->b.sum != was.b.sum || b->b.look_sum != was.b.look_sum);
    if (!same && !careful && !changed)
        fatal("dbt: the reused block at %#llx is not what translating it makes",
              (unsigned long long)b->b.rip);
    free(code);
    free(x);
}

/* What was timed, of one block in so many. */
static void note_time(struct x64_engine *e, u64 start, bool reused, unsigned insns)
{
    u64 ns = now_ns() - start;
    ns = (ns > e->clock_ns ? ns - e->clock_ns : 0) * TIMED_EVERY;
    if (reused) {
        e->counters.reuse_ns += ns;
    } else {
        e->counters.compile_ns += ns;
        e->counters.timed_insns += insns;
    }
}

/* What grows with each block. */
enum { AREA_CODE, AREA_EXITS, AREA_RECORDS, AREA_SITES, AREA_INDEX, AREA_KEEP };

static void touch_code(void *opaque, u64 from, u64 until)
{
    (void)from;
    codebuf_reach(opaque, until);
}

static void begin_ahead(struct x64_engine *e)
{
    if (!technique_on(e->off, T_ahead))
        return;
    ahead_add(&e->ahead, e->code.size, touch_code, &e->code);
    ahead_add(&e->ahead, MAX_EXITS * sizeof *e->exits, NULL, e->exits);
    ahead_add(&e->ahead, MAX_BLOCKS * sizeof *e->pool, NULL, e->pool);
    ahead_add(&e->ahead, ARENA_BYTES, NULL, e->arena);
    ahead_add(&e->ahead, MAX_BLOCKS * sizeof *e->index, NULL, e->index);
    if (e->keep.base)
        ahead_add(&e->ahead, e->keep.size, NULL, e->keep.base);
}

static void look_ahead(struct x64_engine *e)
{
    struct ahead *a = &e->ahead;
    if (!a->count)
        return;
    ahead_use(a, AREA_CODE, e->used);
    ahead_use(a, AREA_EXITS, e->exit_count * sizeof *e->exits);
    ahead_use(a, AREA_RECORDS, e->pool_used * sizeof *e->pool);
    ahead_use(a, AREA_SITES, e->arena_used);
    ahead_use(a, AREA_INDEX, e->index_count * sizeof *e->index);
    if (e->keep.base)
        ahead_use(a, AREA_KEEP, e->keep.used);
}

struct x64_block *x64_translate(struct x64_vcpu *v)
{
    struct x64_engine *e = v->engine;
    x64_lock_engine(v);
    if (!e->keep.opened) /* not before all vCPUs have joined */
        x64_cache_open(e, v->cpu);
    if (x64_nearly_full(e))
        x64_flush_all(e);
    u64 made = e->counters.blocks + e->counters.reused;
    bool timed = made % TIMED_EVERY == 0;
    u64 start = timed ? now_ns() : 0;
    look_ahead(e);
    codebuf_reach(&e->code, e->used + MAX_BLOCK_CODE);
    e->counters.large_pages = e->code.large;
    struct x64_block *b = x64_new_block(e);
    u64 used = e->used;
    u32 exits = e->exit_count;
    bool reused = x64_reuse(v, b), ok = reused || translate_fitting(v, b);
    if (reused && e->verify)
        check_reused(v, b, used, exits);
    if (ok) {
        x64_index_add(e, b);
        if (!reused) {
            e->counters.blocks++;
            e->counters.guest_insns += b->b.guest_insns;
            e->counters.host_bytes += b->size;
            e->counters.page_blocks += b->b.hflags & HF_APART ? 1 : 0;
            x64_keep(v, b);
            if (log_enabled(out_asm))
                x64_inspect(&v->sel);
        }
        if (e->perf_map)
            x64_perf_map(e->perf_map, b);
        block_insert(e->cache, &b->b);
        if (timed)
            note_time(e, start, reused, b->b.guest_insns);
    } else {
        x64_free_block(e, &b->b);
    }
    x64_unlock_engine(v);
    return ok ? b : NULL;
}

/* ---- the run loop ---- */

/* The block at cpu->rip if it is translated and may be executed; the page that it is on. */
static struct x64_block *known_block(struct x64_vcpu *v, struct mmu_code_page *page)
{
    struct cpu *cpu = v->cpu;
    u64 rip = cpu->rip, cs_base = front_cs_base(cpu), la = cs_base + rip;
    if (!(cpu->hflags & HF_LONG))
        la = (u32)la;
    if (mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, la, page) != MMU_OK)
        return NULL;
    x64_reuse_expect(v, page);
    struct block *b = block_find(v->engine->cache, page->phys | (la & (PAGE_SIZE - 1)), rip,
                                 cs_base, cpu->hflags);
    return b && front_usable(cpu, b, la) ? container_of(b, struct x64_block, b) : NULL;
}

/* Whether blocks of the present mode may be in the jump cache. */
static bool jumps_serve(const struct cpu *cpu)
{
    return cpu->hflags & HF_CSFLAT && !(cpu->hflags & (HF_ONE | HF_TF | HF_APART));
}

static void put_jump(struct cpu *cpu, const struct x64_block *b, const struct mmu_code_page *page)
{
    if (b->b.valid && block_in_jumps(&b->b))
        mmu_put_jump(&cpu->mmu, jump_index(cpu->rip), jump_tag(cpu->rip, cpu->hflags), b->code,
                     page->global && b->b.phys2 == ~0ull);
}

/* What the jump cache has for cpu->rip where emitted code looks, or NULL. */
static struct x64_block *cached_block(const struct cpu *cpu)
{
    const struct jump_entry *je = &cpu->mmu.context->jumps[jump_index(cpu->rip)];
    if (!jumps_serve(cpu) || je->tag != jump_tag(cpu->rip, cpu->hflags))
        return NULL;
    struct x64_block *b;
    memcpy(&b, (const void *)(uintptr_t)(je->code - 8), sizeof b);
    return b->b.valid && b->code == je->code ? b : NULL; /* else its record serves another now */
}

static struct x64_block *find_block(struct x64_vcpu *v)
{
    struct cpu *cpu = v->cpu;
    struct x64_block *b = cached_block(cpu);
    if (b)
        return b;
    struct mmu_code_page page = {0};
    b = known_block(v, &page);
    if (!b)
        b = x64_translate(v);
    if (b && jumps_serve(cpu))
        put_jump(cpu, b, &page);
    return b;
}

u64 x64_resolve(struct cpu *cpu)
{
    struct x64_vcpu *v = vcpu_of(cpu);
    struct mmu_code_page page;
    struct x64_block *b = jumps_serve(cpu) && !cpu->debug ? known_block(v, &page) : NULL;
    if (!b || !b->b.valid)
        return v->engine->thunks.leave;
    put_jump(cpu, b, &page);
    v->engine->counters.resolved++;
    return b->code;
}

u64 x64_link(struct cpu *cpu)
{
    struct x64_exit *x = &vcpu_of(cpu)->engine->exits[cpu->exit_id];
    cpu->rip = x->rip;
    struct x64_block *b = cpu->debug ? NULL : cached_block(cpu);
    u64 code = b ? b->code : x64_resolve(cpu);
    if (!b)
        b = cached_block(cpu);
    if (b && !cpu->debug)
        x64_chain(cpu, x, b);
    return code;
}

/* The block to execute next, one that the budget covers in counted mode; NULL when the fetch
 * faulted.  apart: one whose accesses share no checks. */
static struct x64_block *next_block(struct x64_vcpu *v, bool apart)
{
    struct cpu *cpu = v->cpu;
    if (apart && !(cpu->hflags & HF_ONE))
        cpu->hflags |= HF_APART;
    struct x64_block *b = find_block(v);
    cpu->hflags &= ~(u32)HF_APART;
    if (!cpu->count || !b || cpu->budget >= b->b.guest_insns)
        return b;
    cpu->hflags |= HF_ONE;
    return find_block(v);
}

/* As in <sanitizer/common_interface_defs.h>, which not every compiler has. */
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **old_bottom, size_t *old_size);

/* To and from the stack on which emitted code calls C.  Both calls are made on the thread's own, as
 * nothing in between looks at the stack. */
static void to_private_stack(struct x64_vcpu *v)
{
    struct x64_stack *s = &v->stack;
    if (!CONFIG_ASAN)
        return;
    s->is_private = true;
    __sanitizer_start_switch_fiber(&s->fake_thread, (char *)v->cpu - JIT_STACK_BYTES,
                                   JIT_STACK_BYTES);
    __sanitizer_finish_switch_fiber(s->fake_private, &s->bottom, &s->size);
}

static void to_thread_stack(struct x64_vcpu *v)
{
    struct x64_stack *s = &v->stack;
    if (!CONFIG_ASAN || !s->is_private)
        return;
    s->is_private = false;
    __sanitizer_start_switch_fiber(&s->fake_private, s->bottom, s->size);
    __sanitizer_finish_switch_fiber(s->fake_thread, NULL, NULL);
}

/* Executes b; returns the exit it took. */
static struct x64_exit *execute(struct x64_vcpu *v, struct x64_block *b)
{
    struct cpu *cpu = v->cpu;
    void (*enter)(struct cpu *, u64) =
        (void (*)(struct cpu *, u64))(uintptr_t)v->engine->thunks.enter;
    log_event(exec, "exec %u %#llx hflags %#x\n", cpu->index, (unsigned long long)b->b.rip,
              b->b.hflags);
    to_private_stack(v);
    enter(cpu, b->code);
    to_thread_stack(v);
    cpu->host_ret = 0;
    x64_x87_save(cpu, 0);
    cpu->mxcsr |= cpu->guest_mxcsr_host & 0x3f;
    struct x64_exit *x = &v->engine->exits[cpu->exit_id];
    if (!x->dynamic)
        cpu->rip = x->rip;
    apply_recipe(cpu, &x->flags, x->from);
    v->engine->counters.exits++;
    if (unlikely(x->stale)) /* by whose record there is still that block: no safe point since */
        block_remove(v->engine->cache, &x->from->b);
    return x;
}

/* Emitted code does not look whether the target of an indirect branch is canonical: only one that
 * is gets into the jump cache. */
static void check_branch(struct cpu *cpu, const struct x64_exit *x)
{
    if (likely(sign_extend(cpu->rip, 48) == (s64)cpu->rip))
        return;
    if (cpu->count && cpu->hflags & HF_LONG)
        cpu->budget++; /* it does not end */
    front_check_branch(cpu, x->branch - 1u, x->rip);
}

static void dbt_run(struct cpu *cpu)
{
    struct x64_vcpu *v = vcpu_of(cpu);
    struct x64_engine *e = v->engine;
    cpu->host_mxcsr = _mm_getcsr() & ~0x3fu;
    block_cpu_online(e->cache, cpu->index);
    if (_setjmp(v->unwind)) { /* an exception, or an instruction to be done alone */
        to_thread_stack(v);
        x64_x87_save(cpu, 0);
        cpu->mxcsr |= _mm_getcsr() & 0x3f;
        _mm_setcsr(cpu->host_mxcsr);
        cpu->host_ret = 0;
        cpu_unwound(cpu);
        if (cpu->exc_vector >= 0)
            cpu_one_done(cpu);
    }
    struct x64_exit *last = NULL;
    x64_step_in(v);
    for (;;) {
        block_safe_point(e->cache, cpu->index);
        if (cpu->count && cpu->budget <= 0) {
            last = NULL;
            x64_step_out(v);
            count_stop(cpu);
            x64_step_in(v);
        }
        if (cpu_needs_service(cpu)) {
            last = NULL;
            x64_step_out(v);
            if (!cpu_serve(cpu))
                break;
            x64_step_in(v);
        }
        if (cpu->count && cpu->budget <= 0) { /* a delivery has used it up */
            last = NULL;
            continue;
        }
        if (unlikely(cpu->debug) && !cpu_debug_before(cpu)) {
            last = NULL;
            continue;
        }
        v->stepping = cpu->hflags & HF_TF;
        u64 before = e->counters.flushes;
        struct x64_block *b = next_block(v, last && last->far == FAR_APART);
        if (!b) {
            last = NULL;
            continue;
        }
        if (last && before == e->counters.flushes)
            x64_chain(cpu, last, b);
        last = b->b.valid ? execute(v, b) : NULL;
        if (last && last->branch)
            check_branch(cpu, last);
        if (last)
            cpu_one_done(cpu);
        if (last && unlikely(v->stepping || cpu->debug & DBG_HITS))
            cpu_debug_after(cpu, v->stepping);
        if (last && !last->field && last->far != FAR_APART)
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
    ahead_free(&e->ahead);
    x64_cache_save(e);
    x64_link_free(e);
    codebuf_free(&e->code);
    if (e->perf_map)
        fclose(e->perf_map);
    free(e);
}

/* The file that Linux's perf looks for. */
static FILE *open_perf_map(void)
{
    char name[64];
    snprintf(name, sizeof name, "/tmp/perf-%d.map", (int)getpid());
    FILE *f = fopen(name, "w");
    if (!f)
        log_print("dbt: no %s, so no names for perf\n", name);
    return f;
}

static void *dbt_create(struct bus *bus, const struct accel_options *options)
{
    struct x64_engine *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    ahead_init(&e->ahead, &e->counters.ahead);
    u64 size = options->code_bytes ? options->code_bytes : DEFAULT_CODE_BYTES;
    size = size < 1u << 20 ? 1u << 20 : size;
    e->bus = bus;
    e->block_code = MAX_BLOCK_CODE;
    e->clock_ns = clock_cost();
    e->verify = options->verify_ir;
    e->off = options->off;
    e->avx = !options->plain_host && __builtin_cpu_supports("avx");
    e->bmi2 = !options->plain_host && __builtin_cpu_supports("bmi2");
    e->lzcnt = !options->plain_host && host_has_lzcnt();
    e->levels = vec_host_levels() & (options->plain_host ? (2u << VL_SSE42) - 1 : ~0u);
    e->x87 = CONFIG_X87_HOST && technique_on(options->off, T_x87);
    u32 wide = 1u << VL_AVX2 | 1u << VL_FMA | 1u << VL_F16C;
    e->wide = e->avx && (e->levels & wide) == wide && technique_on(e->off, T_ymm);
    if (!x64_link_init(e) || !codebuf_init(&e->code, size, technique_on(e->off, T_large)) ||
        !x64_reuse_init(e, size)) {
        dbt_destroy(e);
        return NULL;
    }
    begin_ahead(e);
    e->keep.dir = options->cache ? strdup(options->cache) : NULL;
    e->keep.quiet = options->cache_quiet;
    if (options->perf_map)
        e->perf_map = open_perf_map();
    struct x64_buf buf = {.p = e->code.rw, .end = e->code.rw + (64 << 10),
                          .exec_delta = (s64)(e->code.rx - e->code.rw)};
    x64_make_thunks(&buf, &e->thunks, e);
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
    v->ir.off = e->off;
    v->ir.narrow = !e->wide;
    v->ir.heat = technique_on(e->off, T_live) ? block_heat(e->cache) : NULL;
    cpu->engine = &hooks;
    cpu->engine_data = v;
    cpu->mmu.jumps_by_address = true; /* jump_tag */
    technique_mmu(e->off, &cpu->mmu);
    cpu->short_transfers = technique_on(e->off, T_transfers) ? &e->counters.short_transfers : NULL;
    e->vcpus[cpu->index] = v;
    e->vcpu_count++;
    return true;
}

static void dbt_detach(struct cpu *cpu)
{
    struct x64_vcpu *v = vcpu_of(cpu);
    mmu_flush_jumps(&cpu->mmu); /* they name this engine's blocks */
    cpu->mmu.jumps_by_address = false;
    v->engine->vcpus[cpu->index] = NULL;
    v->engine->vcpu_count--;
    cpu->engine_data = NULL;
    cpu->short_transfers = NULL;
    free(v);
}

/* ---- counters ---- */

/* Rows of `info jit`. */
#define ENGINE_COUNTERS(X)                                                                         \
    X(blocks, "blocks translated")                                                                 \
    X(guest_insns, "guest instructions translated")                                                \
    X(host_bytes, "bytes of host code emitted")                                                    \
    X(reused, "blocks moved from where the same code was translated")                              \
    X(reused_insns, "guest instructions in them")                                                  \
    X(reuse_ns, "ns of processor time spent in moving them")                                       \
    X(compile_ns, "ns of processor time spent in translating")                                     \
    X(coalesced, "results computed straight into their home")                                      \
    X(twins, "results and flags made by one instruction")                                          \
    X(recipes, "flags never computed")                                                             \
    X(flag_saves, "flags saved from the host's")                                                   \
    X(flag_loads, "flags loaded into the host's")                                                  \
    X(flag_fetches, "places where a block's flags are fetched without calling C")                  \
    X(addr_folds, "additions folded into addresses")                                               \
    X(rmw_fused, "stores that share the check of their load")                                      \
    X(x87_inline, "x87 instructions on the host's x87")                                            \
    X(x87_loads, "moves of the x87's state to the host")                                           \
    X(vec_homed, "vector results computed straight into their home")                               \
    X(vec_folds, "memory operands folded into vector instructions")                                \
    X(strings, "string comparisons in one host instruction (SSE4.2)")                              \
    X(ymm_ops, "vectors of 256 bits in one host instruction")                                      \
    X(known_pages, "accesses probed by immediates, since their page is known")                     \
    X(pages_shared, "accesses that share the check of a neighbour")                                \
    X(page_misses, "shared checks that looked further than the TLB")                               \
    X(page_blocks, "blocks made because a shared check failed")                                    \
    X(spills, "values spilled")                                                                    \
    X(shiftx, "shifts and rotates that leave the host's flags alone (BMI2)")                       \
    X(vec_calls, "vector ops left to C, for want of a host instruction")                           \
    X(chains, "exits chained to their successor")                                                  \
    X(unchains, "exits unchained")                                                                 \
    X(swapped, "flags stored for the taken side of a branch only")                                 \
    X(links, "exits linked to a successor on another page")                                        \
    X(way_hits, "jumps found elsewhere in the jump cache's set")                                   \
    X(short_transfers, "interrupts, IRETs and system calls by the short way")                      \
    X(irq_flags, "STI, CLI, POPF without a call")                                                  \
    X(live_blocks, "blocks made for code that changes often")                                      \
    X(resolved, "misses of a jump cache that stayed out of the run loop")                          \
    X(exits, "returns to the run loop")                                                            \
    X(retired, "blocks retired")                                                                   \
    X(slow_loads, "loads that left emitted code")                                                  \
    X(slow_stores, "stores that left emitted code")                                                \
    X(large_pages, "large pages of the host's with emitted code")                                  \
    X(ahead, "times 2 MiB of memory were touched before they were needed")                         \
    X(flushes, "whole flushes")                                                                    \
    X(retries, "instructions done again alone")                                                    \
    X(unfit, "blocks made shorter because the selector could not do them")

#define FRONT_COUNTERS(X)                                                                          \
    X(ops, "IR ops after the passes")                                                              \
    X(fates_fault, "exits whose flags only a fault can see")                                       \
    X(fates_dead, "exits whose flags are dead")                                                    \
    X(run_ons, "branches behind which the block goes on")                                          \
    X(opt.folded, "ops folded")                                                                    \
    X(opt.forwarded, "gets forwarded")                                                             \
    X(opt.puts_killed, "dead puts removed")                                                        \
    X(opt.flags_killed, "dead flags removed")                                                      \
    X(opt.dead, "dead ops removed")

#define CACHE_COUNTERS(X)                                                                          \
    X(lookups, "block lookups beyond the jump caches")                                             \
    X(filtered, "look-ups that a filter has ended")                                                \
    X(drops, "blocks dropped")                                                                     \
    X(code_writes, "stores near code")                                                             \
    X(live, "blocks live")                                                                         \
    X(freed, "dropped blocks freed")

static void dbt_info(void *engine, print_fn print, void *opaque)
{
    const struct x64_engine *e = engine;
    const struct x64_counters *c = &e->counters;
    print(opaque, "engine: dbt (x86-64 host%s)\n", e->avx ? ", AVX encodings" : "");
#define ROW(from, text) print(opaque, "%-44s %llu\n", text, (unsigned long long)(from));
#define X(name, text) ROW(c->name, text)
    ENGINE_COUNTERS(X)
#undef X
#define X(name, text) ROW(e->front.name, text)
    FRONT_COUNTERS(X)
#undef X
#define X(name, text) ROW(block_counters(e->cache)->name, text)
    CACHE_COUNTERS(X)
#undef X
    ROW(c->timed_insns ? c->compile_ns / TIMED_EVERY / c->timed_insns : 0,
        "ns per guest instruction translated")
    ROW(e->keep.loaded, "translations known from earlier runs")
    ROW(e->keep.fresh, "translations kept in this one")
    ROW(e->keep.file_used >> 10, "KiB of earlier runs' translations used")
    ROW(e->keep.pieces_read, "pieces of the file of earlier runs read")
#undef ROW
    technique_print(e->off, &accel_dbt, engine, print, opaque);
    print(opaque, "%-44s %.1f\n", "host bytes per guest instruction",
          c->guest_insns ? (double)c->host_bytes / (double)c->guest_insns : 0.0);
    print(opaque, "%-44s %llu of %llu KiB\n", "code buffer", (unsigned long long)e->used >> 10,
          (unsigned long long)e->code.size >> 10);
    print(opaque, "%-44s %llu of %llu KiB\n", "kept translations",
          (unsigned long long)e->keep.used >> 10, (unsigned long long)e->keep.size >> 10);
}

/* Those of all vCPUs. */
#define MMU_COUNTERS(X) X(short_walks) X(filled_ahead) X(asid_hits)

/* Names are those of the fields, without "opt.". */
static u64 dbt_counter(void *engine, const char *name)
{
    const struct x64_engine *e = engine;
#define X(field, text)                                                                             \
    if (!strcmp(name, #field))                                                                     \
        return e->counters.field;
    ENGINE_COUNTERS(X)
#undef X
#define X(field, text)                                                                             \
    if (!strcmp(name, strncmp(#field, "opt.", 4) ? #field : &#field[4]))                           \
        return e->front.field;
    FRONT_COUNTERS(X)
#undef X
#define X(field, text)                                                                             \
    if (!strcmp(name, #field))                                                                     \
        return block_counters(e->cache)->field;
    CACHE_COUNTERS(X)
#undef X
#define X(field)                                                                                   \
    if (!strcmp(name, #field)) {                                                                   \
        u64 n = 0;                                                                                 \
        for (unsigned i = 0; i < MAX_CPUS; i++)                                                    \
            n += e->vcpus[i] ? mmu_counters(&e->vcpus[i]->cpu->mmu)->field : 0;                    \
        return n;                                                                                  \
    }
    MMU_COUNTERS(X)
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

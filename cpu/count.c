/* Counted mode: the budget of the run loop, timers at exact counts, idle time, the trace.
 *
 * One vCPU.  Left out: following the host's speed (QEMU's shift=auto), which cannot be repeated.
 */
#include "cpu/count.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/fields.h"
#include "base/log.h"
#include "cpu/cpu.h"

/* So that the counter of instructions left stays far from its limits. */
#define BUDGET_MAX (1ull << 40)

struct cpu_count {
    struct count_config config;
    u64 stop;       /* the count at which the budget is 0 */
    u64 next_trace; /* CLOCK_NEVER: none */
    u64 random;
    struct cpu *copy; /* to hash a normalised state; only with a trace */
    u8 *image;
};

static u64 count_of_clock(void *opaque)
{
    return count_now(opaque);
}

static void before_io(struct mmu *m)
{
    count_exact(container_of(m, struct cpu, mmu));
}

/* The first multiple of step that is not before `from`. */
static u64 round_to_step(u64 from, u64 step)
{
    return (from + step - 1) / step * step;
}

bool count_create(struct cpu *cpu, const struct count_config *config)
{
    struct cpu_count *n = calloc(1, sizeof *n);
    if (!n)
        return false;
    n->config = *config;
    n->next_trace = CLOCK_NEVER;
    if (config->trace_step) {
        n->next_trace = round_to_step(config->trace_from, config->trace_step);
        n->copy = aligned_alloc(64, align_up(sizeof *n->copy, 64));
        n->image = malloc(fields_size(cpu_fields));
    }
    cpu->count = n;
    cpu->mmu.before_io = before_io;
    clock_follow(cpu->clock, count_of_clock, cpu, config->shift);
    return !config->trace_step || (n->copy && n->image);
}

void count_free(struct cpu *cpu)
{
    struct cpu_count *n = cpu->count;
    if (!n)
        return;
    free(n->copy);
    free(n->image);
    free(n);
    cpu->count = NULL;
}

u64 count_now(const struct cpu *cpu)
{
    return cpu->count->stop - (u64)cpu->budget;
}

void count_stop_soon(struct cpu *cpu)
{
    cpu->count->stop = count_now(cpu);
    cpu->budget = 0;
}

void count_exact(struct cpu *cpu)
{
    if (likely(!cpu->count))
        return;
    cpu->engine->alone(cpu);
    count_stop_soon(cpu);
}

u64 count_random(struct cpu *cpu)
{
    /* A Weyl sequence through a mixing function. */
    u64 v = cpu->count->random += 0x9e3779b97f4a7c15ull;
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

/* ---- the trace ---- */

u64 count_hash(u64 sum, const u8 *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * 0x100000001b3ull;
    return sum;
}

/* What two engines may hold differently, though it means the same: flags not yet computed, an
 * interrupt shadow that is over, what is left of an exception that has been delivered. */
static void normalise(struct cpu *c)
{
    cpu_flags(c);
    c->lazy_a = c->lazy_b = 0;
    c->debug &= ~(u32)DBG_SHADOW; /* noted only where instructions are executed one by one */
    c->irq_shadow = c->irq_shadow && c->rip == c->shadow_rip;
    if (!c->irq_shadow)
        c->shadow_rip = 0;
    if (c->exc_vector < 0) {
        c->exc_error = 0;
        c->exc_has_error = c->exc_soft = c->exc_ext = false;
    }
}

static void print_log(void *opaque, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void print_log(void *opaque, const char *fmt, ...)
{
    FILE *f = opaque;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(f, fmt, ap);
    va_end(ap);
}

/* The bytes at RIP, as many as are mapped. */
static void print_code(struct cpu *cpu, FILE *f)
{
    u64 la = cpu->hflags & HF_LONG ? cpu->rip : (u32)(cpu->seg[SEG_CS].base + cpu->rip), gpa;
    fprintf(f, "code %u:", cpu->hflags & HF_LONG ? 64 : cpu->hflags & HF_CS32 ? 32 : 16);
    for (unsigned i = 0; i < 15 && mmu_debug_translate(&cpu->mmu, la + i, &gpa); i++) {
        u8 byte;
        bus_read_bytes(cpu->bus, gpa, &byte, 1);
        fprintf(f, " %02x", byte);
    }
    fprintf(f, "\n");
}

/* One log entry, so that it stays together. */
static void log_registers(struct cpu *cpu)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    if (!f)
        return;
    cpu_print(cpu, print_log, f);
    print_code(cpu, f);
    fclose(f);
    log_print("%s", text);
    free(text);
}

static void trace(struct cpu *cpu)
{
    struct cpu_count *n = cpu->count;
    const struct count_config *config = &n->config;
    u64 now = count_now(cpu), machine = 0;
    memcpy(n->copy, cpu, sizeof *n->copy);
    normalise(n->copy);
    fields_save(cpu_fields, n->copy, n->image);
    u64 state = count_hash(0, n->image, fields_size(cpu_fields));
    if (config->trace_machine && n->next_trace % config->trace_machine == 0)
        machine = config->hash_machine(config->opaque);
    log_print("state %llu rip %llx time %llu cpu %016llx machine %016llx\n",
              (unsigned long long)now, (unsigned long long)cpu->rip,
              (unsigned long long)clock_now(cpu->clock), (unsigned long long)state,
              (unsigned long long)machine);
    if (log_enabled(state))
        log_registers(cpu);
    n->next_trace = round_to_step(now + 1, config->trace_step);
    if (config->trace_to && now >= config->trace_to) {
        n->next_trace = CLOCK_NEVER;
        config->ended(config->opaque);
    }
}

/* ---- time ---- */

/* A budget up to the next timer and the next point of the trace, at least 1. */
static void set_budget(struct cpu *cpu, u64 deadline)
{
    struct cpu_count *n = cpu->count;
    u64 now = count_now(cpu), time = clock_now(cpu->clock), budget = BUDGET_MAX;
    unsigned shift = n->config.shift;
    if (deadline != CLOCK_NEVER && deadline > time && (deadline - time) >> shift < BUDGET_MAX)
        budget = (deadline - time + (1ull << shift) - 1) >> shift;
    if (n->next_trace != CLOCK_NEVER && n->next_trace - now < budget)
        budget = n->next_trace - now;
    n->stop = now + budget;
    cpu->budget = (s64)budget;
}

void count_stop(struct cpu *cpu)
{
    if (count_now(cpu) >= cpu->count->next_trace)
        trace(cpu);
    bus_lock(cpu->bus);
    clock_run_due(cpu->clock);
    set_budget(cpu, clock_deadline(cpu->clock));
    bus_unlock(cpu->bus);
}

static u64 host_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * NS_PER_SEC + (u64)t.tv_nsec;
}

/* Sleeps for ns, or until something is asked of the vCPU; returns how long, ns at most. */
static u64 sleep_for(struct cpu *cpu, u64 ns)
{
    u64 start = host_ns(), end = start + (ns < NS_PER_SEC ? ns : NS_PER_SEC);
    struct timespec until = {(time_t)(end / NS_PER_SEC), (long)(end % NS_PER_SEC)};
    pthread_mutex_lock(&cpu->wake_lock);
    while (!atomic_load(&cpu->requests) && !cpu->stopping &&
           pthread_cond_clockwait(&cpu->wake, &cpu->wake_lock, CLOCK_MONOTONIC, &until) == 0)
        ;
    pthread_mutex_unlock(&cpu->wake_lock);
    u64 slept = host_ns() - start;
    return slept < ns ? slept : ns;
}

bool count_idle(struct cpu *cpu)
{
    bus_lock(cpu->bus);
    u64 deadline = clock_deadline(cpu->clock), now = clock_now(cpu->clock);
    bus_unlock(cpu->bus);
    if (deadline == CLOCK_NEVER)
        return false;
    if (deadline > now && cpu->count->config.sleep)
        deadline = now + sleep_for(cpu, deadline - now);
    bus_lock(cpu->bus);
    clock_warp(cpu->clock, deadline);
    clock_run_due(cpu->clock);
    bus_unlock(cpu->bus);
    return true;
}

/* Virtual time: a nanosecond clock and its timers. */
#include "base/clock.h"

#include <time.h>

static u64 host_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

void clock_init(struct clock *c, enum clock_mode mode)
{
    memset(c, 0, sizeof *c);
    c->mode = mode;
}

/* clock_now is called without a lock: what it needs is stored before `running` says to use it. */
void clock_start(struct clock *c)
{
    if (c->mode == CLOCK_HOST && !c->running)
        __atomic_store_n(&c->offset, host_ns() - c->stopped, __ATOMIC_RELAXED);
    __atomic_store_n(&c->running, true, __ATOMIC_RELEASE);
}

void clock_stop(struct clock *c)
{
    if (c->mode == CLOCK_HOST)
        __atomic_store_n(&c->stopped, clock_now(c), __ATOMIC_RELAXED);
    __atomic_store_n(&c->running, false, __ATOMIC_RELEASE);
}

u64 clock_now(const struct clock *c)
{
    if (c->mode == CLOCK_HOST && __atomic_load_n(&c->running, __ATOMIC_ACQUIRE))
        return host_ns() - __atomic_load_n(&c->offset, __ATOMIC_RELAXED);
    if (c->count)
        return c->stopped + (c->count(c->count_opaque) << c->shift);
    return __atomic_load_n(&c->stopped, __ATOMIC_RELAXED);
}

void clock_follow(struct clock *c, u64 (*count)(void *opaque), void *opaque, unsigned shift)
{
    c->count = count;
    c->count_opaque = opaque;
    c->shift = shift;
}

void clock_warp(struct clock *c, u64 time)
{
    u64 now = clock_now(c);
    if (time > now)
        c->stopped += time - now;
}

u64 clock_deadline(const struct clock *c)
{
    return c->head ? c->head->deadline : CLOCK_NEVER;
}

/* Takes the earliest timer off the list and calls it, if it is due at `now`. */
static bool run_one(struct clock *c, u64 now)
{
    struct timer *t = c->head;
    if (!t || t->deadline > now)
        return false;
    c->head = t->next;
    t->deadline = CLOCK_NEVER;
    t->next = NULL;
    t->fn(t->opaque);
    return true;
}

void clock_run_due(struct clock *c)
{
    u64 now = clock_now(c);
    while (run_one(c, now))
        ;
}

void clock_step(struct clock *c, u64 ns)
{
    u64 end = c->stopped + ns;
    while (c->head && c->head->deadline <= end) {
        if (c->head->deadline > c->stopped)
            __atomic_store_n(&c->stopped, c->head->deadline, __ATOMIC_RELAXED);
        run_one(c, end);
    }
    __atomic_store_n(&c->stopped, end, __ATOMIC_RELAXED);
}

void timer_init(struct timer *t, struct clock *c, void (*fn)(void *opaque), void *opaque)
{
    *t = (struct timer){.clock = c, .fn = fn, .opaque = opaque, .deadline = CLOCK_NEVER};
}

void timer_cancel(struct timer *t)
{
    if (t->deadline == CLOCK_NEVER)
        return;
    struct timer **p = &t->clock->head;
    while (*p && *p != t)
        p = &(*p)->next;
    if (*p)
        *p = t->next;
    t->next = NULL;
    t->deadline = CLOCK_NEVER;
}

void timer_arm(struct timer *t, u64 deadline)
{
    struct clock *c = t->clock;
    timer_cancel(t);
    if (deadline == CLOCK_NEVER)
        return;
    t->deadline = deadline;
    struct timer **p = &c->head;
    while (*p && (*p)->deadline <= deadline)
        p = &(*p)->next;
    t->next = *p;
    *p = t;
    if (c->head == t && c->deadline_changed)
        c->deadline_changed(c->opaque);
}

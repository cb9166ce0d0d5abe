/* The local APIC's timer: one-shot, periodic and TSC-deadline (SDM vol. 3A, 10.5.4).
 *
 * The current count is a function of virtual time and of the instant at which the count started.
 * A timer keeps counting while its LVT entry is masked, but then needs no host timer.  Periods
 * shorter than MIN_PERIOD_NS are merged, so that a hostile count cannot keep the host busy.
 */
#include "devices/lapic.h"

enum {
    LVT_MASKED = BIT(16),
    TIMER_MODE_SHIFT = 17,
    MODE_ONE_SHOT = 0,
    MODE_PERIODIC = 1,
    MODE_DEADLINE = 2,

    DIVIDE_WRITABLE = 0xb,
};

#define MIN_PERIOD_NS 10000u
#define NS_PER_MS 1000000u

static unsigned mode_of(const struct lapic *s)
{
    return (s->lvt[LVT_TIMER] >> TIMER_MODE_SHIFT) & 3;
}

/* Nanoseconds of one count (10.5.4, divide configuration: bits 3, 1, 0; 111b divides by one). */
static u64 count_ns(const struct lapic *s)
{
    unsigned code = (s->divide & 3) | (s->divide & 8) >> 1;
    return (NS_PER_SEC / LAPIC_TIMER_HZ) << ((code + 1) & 7);
}

/* Whole counts since the start. */
static u64 counts_passed(const struct lapic *s)
{
    return (clock_now(s->clock) - s->timer_start) / count_ns(s);
}

u32 lapic_timer_count(const struct lapic *s)
{
    if (!s->initial_count || mode_of(s) >= MODE_DEADLINE)
        return 0;
    u64 passed = counts_passed(s);
    if (mode_of(s) == MODE_PERIODIC)
        return s->initial_count - (u32)(passed % s->initial_count);
    return passed >= s->initial_count ? 0 : s->initial_count - (u32)passed;
}

/* Virtual time at which the TSC reaches the deadline. */
static u64 deadline_ns(const struct lapic *s)
{
    s64 delta = (s64)(s->tsc_deadline - s->tsc_offset);
    if (delta <= 0)
        return 0;
    u128 ns = ((u128)(u64)delta * NS_PER_MS + s->tsc_khz - 1) / s->tsc_khz;
    return ns >= CLOCK_NEVER ? CLOCK_NEVER : (u64)ns;
}

/* When the count reaches zero next, looked at from `now`. */
static u64 expiry_ns(const struct lapic *s, u64 now)
{
    if (!s->initial_count || (s->lvt[LVT_TIMER] & LVT_MASKED))
        return CLOCK_NEVER;
    u64 unit = count_ns(s), passed = (now - s->timer_start) / unit;
    if (mode_of(s) == MODE_ONE_SHOT) {
        if (passed >= s->initial_count)
            return CLOCK_NEVER;
        return s->timer_start + s->initial_count * unit;
    }
    u64 period = s->initial_count * unit;
    u64 next = s->timer_start + (passed / s->initial_count + 1) * period;
    u64 soonest = now + MIN_PERIOD_NS;
    return period < MIN_PERIOD_NS && next < soonest ? soonest : next;
}

static void arm(struct lapic *s, u64 now)
{
    u64 when = CLOCK_NEVER;

    if (mode_of(s) == MODE_DEADLINE)
        when = s->tsc_deadline ? deadline_ns(s) : CLOCK_NEVER;
    else if (mode_of(s) <= MODE_PERIODIC)
        when = expiry_ns(s, now);
    timer_arm(&s->timer, when);
}

void lapic_timer_arm(struct lapic *s)
{
    arm(s, clock_now(s->clock));
}

/* What is due but has not been run yet must not be lost when a register changes. */
static void run_due(struct lapic *s)
{
    if (s->timer.deadline > clock_now(s->clock))
        return;
    timer_cancel(&s->timer);
    lapic_timer_event(s);
}

void lapic_timer_event(void *opaque)
{
    struct lapic *s = opaque;
    if (mode_of(s) == MODE_DEADLINE)
        s->tsc_deadline = 0; /* the timer has disarmed itself, the MSR reads 0 */
    lapic_timer_arm(s);
    lapic_trigger(s, LVT_TIMER);
}

void lapic_timer_set_count(struct lapic *s, u32 value)
{
    if (mode_of(s) == MODE_DEADLINE)
        return; /* the register is not used in this mode */
    run_due(s);
    s->initial_count = value;
    s->timer_start = clock_now(s->clock);
    arm(s, s->timer_start); /* of the same instant: the shortest count does not pass unseen */
}

void lapic_timer_set_divide(struct lapic *s, u32 value)
{
    run_due(s);
    u32 left = lapic_timer_count(s);
    s->divide = value & DIVIDE_WRITABLE;
    /* The count goes on from where it stands, at the new rate. */
    s->timer_start = clock_now(s->clock) - (u64)(s->initial_count - left) * count_ns(s);
    lapic_timer_arm(s);
}

void lapic_timer_set_lvt(struct lapic *s, u32 value)
{
    run_due(s);
    bool was_deadline = mode_of(s) == MODE_DEADLINE;
    u32 left = lapic_timer_count(s);
    bool was_periodic = mode_of(s) == MODE_PERIODIC;

    s->lvt[LVT_TIMER] = value;
    if (was_deadline != (mode_of(s) == MODE_DEADLINE)) {
        /* Going to or from TSC-deadline mode disarms the timer (10.5.4.1). */
        s->initial_count = 0;
        s->tsc_deadline = 0;
    } else if (was_periodic && mode_of(s) == MODE_ONE_SHOT) {
        /* Runs out the period it is in. */
        s->timer_start = clock_now(s->clock) - (u64)(s->initial_count - left) * count_ns(s);
    }
    lapic_timer_arm(s);
}

u64 lapic_timer_deadline(const struct lapic *s)
{
    return mode_of(s) == MODE_DEADLINE ? s->tsc_deadline : 0;
}

void lapic_timer_set_deadline(struct lapic *s, u64 tsc)
{
    if (mode_of(s) != MODE_DEADLINE)
        return; /* in the other modes the MSR reads 0 and ignores writes (10.5.4.1) */
    run_due(s);
    s->tsc_deadline = tsc;
    lapic_timer_arm(s);
}

void lapic_set_tsc(struct lapic *s, u64 khz, u64 offset)
{
    s->tsc_khz = khz ? khz : 1;
    s->tsc_offset = offset;
    lapic_timer_arm(s);
}

void lapic_timer_reset(struct lapic *s)
{
    timer_cancel(&s->timer);
    s->initial_count = s->divide = 0;
    s->tsc_deadline = 0;
    s->timer_start = clock_now(s->clock);
}

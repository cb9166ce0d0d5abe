/* Virtual time: a nanosecond clock and its timers.
 *
 * Chips ask this clock and nothing else.  In CLOCK_HOST mode it follows the host's monotonic clock
 * while the machine runs; in CLOCK_STEPPED mode only clock_step moves it (tests); in CLOCK_COUNTED
 * mode it follows the instructions that the guest has executed (cpu/count.c).
 * All calls are made under the machine lock, except clock_now, which may be called from anywhere.
 */
#ifndef DRAGOMAN_BASE_CLOCK_H
#define DRAGOMAN_BASE_CLOCK_H

#include "base/types.h"

#define NS_PER_SEC 1000000000ull
#define CLOCK_NEVER (~0ull)

enum clock_mode { CLOCK_HOST, CLOCK_STEPPED, CLOCK_COUNTED };

struct timer;

struct clock {
    enum clock_mode mode;
    bool running;
    u64 offset;  /* host mode: virtual = host monotonic - offset while running */
    u64 stopped; /* virtual time while stopped, or the stepped time; counted mode: what idle
                  * time has added */
    u64 (*count)(void *opaque); /* counted mode: instructions so far, of 2^shift ns each */
    void *count_opaque;
    unsigned shift;
    struct timer *head; /* armed timers, earliest deadline first */
    void (*deadline_changed)(void *opaque); /* the earliest deadline moved nearer */
    void *opaque;
};

struct timer {
    struct clock *clock;
    void (*fn)(void *opaque);
    void *opaque;
    u64 deadline; /* CLOCK_NEVER when not armed */
    struct timer *next;
};

/* Starts at virtual time 0, stopped in host mode until clock_start. */
void clock_init(struct clock *c, enum clock_mode mode);
void clock_start(struct clock *c);
/* Makes a clock of CLOCK_COUNTED mode follow count(opaque), 2^shift ns a unit.  The count must not
 * fall; whoever calls clock_now must know that it stands still. */
void clock_follow(struct clock *c, u64 (*count)(void *opaque), void *opaque, unsigned shift);
/* Counted mode: time goes on to `time` (if that is later) while no instruction is executed.  Timers
 * are left to clock_run_due. */
void clock_warp(struct clock *c, u64 time);
void clock_stop(struct clock *c);

/* Virtual nanoseconds since clock_init, monotonic. */
u64 clock_now(const struct clock *c);

/* Stepped mode: moves time forward by ns, running due timers in order, each at its own deadline. */
void clock_step(struct clock *c, u64 ns);

/* Runs the timers that are due now. */
void clock_run_due(struct clock *c);

/* Earliest armed deadline, or CLOCK_NEVER. */
u64 clock_deadline(const struct clock *c);

void timer_init(struct timer *t, struct clock *c, void (*fn)(void *opaque), void *opaque);
/* Arms (or re-arms) t for virtual time `deadline`; CLOCK_NEVER cancels. */
void timer_arm(struct timer *t, u64 deadline);
void timer_cancel(struct timer *t);

/* v * num / den without overflow in between; for converting ticks to ns and back. */
static inline u64 muldiv(u64 v, u64 num, u64 den)
{
    return (u64)((u128)v * num / den);
}

#endif

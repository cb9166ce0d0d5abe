/* Virtual clock and timers: stepped mode, order, re-arming and cancelling inside callbacks. */
#include <check.h>

#include "base/clock.h"
#include "tests/suite.h"

struct probe {
    struct clock *clock;
    struct timer timer;
    u64 seen[16];
    unsigned count;
    u64 period;          /* re-arms itself after this long, if not 0 */
    struct timer *victim; /* cancelled in the callback, if not NULL */
    int *order, id;
};

static int sequence[16];
static unsigned sequence_length;

static void fired(void *opaque)
{
    struct probe *p = opaque;
    ck_assert_uint_lt(p->count, 16);
    p->seen[p->count++] = clock_now(p->clock);
    if (sequence_length < 16)
        sequence[sequence_length++] = p->id;
    if (p->period)
        timer_arm(&p->timer, clock_now(p->clock) + p->period);
    if (p->victim)
        timer_cancel(p->victim);
}

static void probe_init(struct probe *p, struct clock *c, int id)
{
    *p = (struct probe){.clock = c, .id = id};
    timer_init(&p->timer, c, fired, p);
    sequence_length = 0;
}

START_TEST(stepped_time_moves_only_by_steps)
{
    struct clock c;
    clock_init(&c, CLOCK_STEPPED);
    clock_start(&c);
    ck_assert_uint_eq(clock_now(&c), 0);
    clock_step(&c, 5);
    clock_step(&c, 7);
    ck_assert_uint_eq(clock_now(&c), 12);
    clock_stop(&c);
    ck_assert_uint_eq(clock_now(&c), 12);
}
END_TEST

START_TEST(timers_run_at_their_own_deadline_in_order)
{
    struct clock c;
    struct probe a, b, d;
    clock_init(&c, CLOCK_STEPPED);
    probe_init(&a, &c, 1);
    probe_init(&b, &c, 2);
    probe_init(&d, &c, 3);
    timer_arm(&b.timer, 50);
    timer_arm(&a.timer, 20);
    timer_arm(&d.timer, 50); /* equal deadlines run in the order of arming */
    ck_assert_uint_eq(clock_deadline(&c), 20);
    clock_step(&c, 19);
    ck_assert_uint_eq(a.count, 0);
    clock_step(&c, 100);
    ck_assert_uint_eq(a.seen[0], 20);
    ck_assert_uint_eq(b.seen[0], 50);
    ck_assert_uint_eq(d.seen[0], 50);
    ck_assert_uint_eq(a.timer.deadline, CLOCK_NEVER);
    ck_assert_int_eq(sequence[0], 1);
    ck_assert_int_eq(sequence[1], 2);
    ck_assert_int_eq(sequence[2], 3);
    ck_assert_uint_eq(clock_now(&c), 119);
    ck_assert_uint_eq(clock_deadline(&c), CLOCK_NEVER);
}
END_TEST

START_TEST(a_callback_may_rearm_its_own_timer)
{
    struct clock c;
    struct probe a;
    clock_init(&c, CLOCK_STEPPED);
    probe_init(&a, &c, 1);
    a.period = 10;
    timer_arm(&a.timer, 10);
    clock_step(&c, 35);
    ck_assert_uint_eq(a.count, 3);
    ck_assert_uint_eq(a.seen[2], 30);
    ck_assert_uint_eq(clock_deadline(&c), 40);
}
END_TEST

START_TEST(a_callback_may_cancel_another_that_is_due)
{
    struct clock c;
    struct probe a, b;
    clock_init(&c, CLOCK_STEPPED);
    probe_init(&a, &c, 1);
    probe_init(&b, &c, 2);
    timer_arm(&a.timer, 10);
    timer_arm(&b.timer, 10);
    a.victim = &b.timer;
    clock_step(&c, 20);
    ck_assert_uint_eq(a.count, 1);
    ck_assert_uint_eq(b.count, 0);
    ck_assert_uint_eq(b.timer.deadline, CLOCK_NEVER);
}
END_TEST

START_TEST(rearming_moves_and_never_cancels)
{
    struct clock c;
    struct probe a;
    clock_init(&c, CLOCK_STEPPED);
    probe_init(&a, &c, 1);
    timer_arm(&a.timer, 10);
    timer_arm(&a.timer, 30);
    clock_step(&c, 20);
    ck_assert_uint_eq(a.count, 0);
    timer_arm(&a.timer, CLOCK_NEVER);
    clock_step(&c, 20);
    ck_assert_uint_eq(a.count, 0);
    timer_cancel(&a.timer); /* not armed: nothing happens */
    timer_arm(&a.timer, 5);  /* past: runs with the next step, at the present time */
    clock_step(&c, 0);
    ck_assert_uint_eq(a.count, 1);
    ck_assert_uint_eq(a.seen[0], 40);
}
END_TEST

static void count_call(void *opaque)
{
    ++*(unsigned *)opaque;
}

START_TEST(a_nearer_deadline_is_announced)
{
    struct clock c;
    struct probe a, b;
    unsigned calls = 0;
    clock_init(&c, CLOCK_STEPPED);
    c.deadline_changed = count_call;
    c.opaque = &calls;
    probe_init(&a, &c, 1);
    probe_init(&b, &c, 2);
    timer_arm(&a.timer, 100);
    ck_assert_uint_eq(calls, 1);
    timer_arm(&b.timer, 200);
    ck_assert_uint_eq(calls, 1);
    timer_arm(&b.timer, 50);
    ck_assert_uint_eq(calls, 2);
}
END_TEST

START_TEST(host_time_runs_only_while_started)
{
    struct clock c;
    struct probe a;
    clock_init(&c, CLOCK_HOST);
    u64 first = clock_now(&c);
    ck_assert_uint_eq(first, 0);
    ck_assert_uint_eq(clock_now(&c), 0);
    probe_init(&a, &c, 1);
    timer_arm(&a.timer, 1);
    clock_start(&c);
    while (clock_now(&c) < 1000)
        ;
    clock_run_due(&c);
    ck_assert_uint_eq(a.count, 1);
    clock_stop(&c);
    u64 stopped = clock_now(&c);
    ck_assert_uint_ge(stopped, 1000);
    ck_assert_uint_eq(clock_now(&c), stopped);
    clock_start(&c);
    u64 resumed = clock_now(&c);
    ck_assert_uint_ge(resumed, stopped);
    ck_assert_uint_lt(resumed - stopped, NS_PER_SEC);
}
END_TEST

START_TEST(muldiv_does_not_overflow)
{
    ck_assert_uint_eq(muldiv(~0ull, 1193182, 1193182), ~0ull);
    ck_assert_uint_eq(muldiv(1ull << 40, 1000000000, 1 << 20), 1048576000000000ull);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("clock");
    TCase *t = tcase_create("clock");
    tcase_add_test(t, stepped_time_moves_only_by_steps);
    tcase_add_test(t, timers_run_at_their_own_deadline_in_order);
    tcase_add_test(t, a_callback_may_rearm_its_own_timer);
    tcase_add_test(t, a_callback_may_cancel_another_that_is_due);
    tcase_add_test(t, rearming_moves_and_never_cancels);
    tcase_add_test(t, a_nearer_deadline_is_announced);
    tcase_add_test(t, host_time_runs_only_while_started);
    tcase_add_test(t, muldiv_does_not_overflow);
    suite_add_tcase(s, t);
    return run_suite(s);
}

/* What is asked of the main loop at the same time: which of it counts. */
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "devices/board/machine.h"
#include "tests/suite.h"

static unsigned wakes;

static void board_wake(void *board)
{
    wakes++;
}

/* Whether a machine that is given these events together is suspended in the end. */
static bool suspended_by(u32 events)
{
    char *error = NULL;
    struct machine *m = calloc(1, sizeof *m);
    struct machine_config c = {.accel = &accel_interp,
                               .model = cpu_model_find("max", 1, &error),
                               .cpus = 1,
                               .paused = true};
    ck_assert_ptr_nonnull(m);
    ck_assert_ptr_nonnull(c.model);
    ck_assert_msg(machine_init(m, &c, &error), "%s", error);
    m->board_wake = board_wake;
    wakes = 0;
    machine_event(m, events | MACHINE_QUIT);
    ck_assert_int_eq(machine_run(m), 0);
    bool suspended = machine_suspended(m);
    machine_destroy(m);
    free(m);
    return suspended;
}

START_TEST(sleep_and_wake)
{
    ck_assert(!suspended_by(0));
    ck_assert(suspended_by(MACHINE_SUSPEND));
    ck_assert_uint_eq(wakes, 0);
    ck_assert(!suspended_by(MACHINE_SUSPEND | MACHINE_WAKE));
    ck_assert_uint_eq(wakes, 1);
    ck_assert(!suspended_by(MACHINE_WAKE));
    ck_assert_uint_eq(wakes, 0);
}
END_TEST

/* One processor resets the machine, another one puts it to sleep: nothing would wake it. */
START_TEST(reset_while_falling_asleep)
{
    ck_assert(!suspended_by(MACHINE_RESET | MACHINE_SUSPEND));
    ck_assert_uint_eq(wakes, 0);
}
END_TEST

RUN_TESTS("machine", sleep_and_wake, reset_while_falling_asleep)

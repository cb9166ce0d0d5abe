/* What the tests of the I/O chips share: a bus, a stepped clock, wires that remember. */
#ifndef DRAGOMAN_TESTS_DEVICE_IO_FIXTURE_H
#define DRAGOMAN_TESTS_DEVICE_IO_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define WIRES 32

struct wires {
    bool level[WIRES];
    unsigned rises[WIRES];
};

static inline void wire_set(void *opaque, unsigned n, bool level)
{
    struct wires *w = opaque;
    if (level && !w->level[n])
        w->rises[n]++;
    w->level[n] = level;
}

static inline struct pin wire(struct wires *w, unsigned n)
{
    return (struct pin){wire_set, w, n};
}

static inline u32 in8(struct bus *b, u16 port)
{
    return bus_in(b, 0, port, 1);
}

static inline void out8(struct bus *b, u16 port, u32 value)
{
    bus_out(b, 0, port, value, 1);
}

/* Runs a suite made of `count` test functions; returns the exit status. */
static inline int run_tests(const char *name, const TTest *const *tests, unsigned count)
{
    Suite *s = suite_create(name);
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, 600); /* the machine may be busy; meson has a limit for the whole */
    for (unsigned i = 0; i < count; i++)
        tcase_add_test(t, tests[i]);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define RUN_TESTS(name, ...)                                      \
    int main(void)                                                \
    {                                                             \
        const TTest *const tests[] = {__VA_ARGS__};               \
        return run_tests(name, tests, ARRAY_SIZE(tests));         \
    }

#endif

/* The main function of a chip's tests. */
#ifndef DRAGOMAN_TESTS_DEVICE_SUITE_H
#define DRAGOMAN_TESTS_DEVICE_SUITE_H

#include <check.h>
#include <stdlib.h>

#include "base/types.h"

/* Runs the suite of one executable, `before` and `after` (or NULL) around each test; returns the
 * exit status.  `seconds` end a test that hangs: the machine may be busy, and meson limits the whole. */
static inline int run_suite(const char *name, const TTest *const *tests, unsigned count,
                            double seconds, SFun before, SFun after)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, seconds);
    tcase_add_checked_fixture(tc, before, after);
    for (unsigned i = 0; i < count; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#define RUN_TESTS(name, ...)                                                                       \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        return run_suite(name, tests, ARRAY_SIZE(tests), 600, NULL, NULL);                         \
    }

#endif

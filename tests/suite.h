/* What the main functions of tests of parts share. */
#ifndef DRAGOMAN_TESTS_SUITE_H
#define DRAGOMAN_TESTS_SUITE_H

#include <check.h>
#include <stdlib.h>

#include "base/types.h"

/* Runs the suite, which is freed, and returns the exit status. */
static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The same for a suite that is a list of tests, `before` and `after` (or NULL) around each of them.
 * `seconds` end a test that hangs: the machine may be busy, and meson limits the whole. */
static inline int run_tests(const char *name, const TTest *const *tests, unsigned count,
                            double seconds, SFun before, SFun after)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, seconds);
    tcase_add_checked_fixture(tc, before, after);
    for (unsigned i = 0; i < count; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}

#define RUN_TESTS(name, ...)                                                                       \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const tests[] = {__VA_ARGS__};                                                \
        return run_tests(name, tests, ARRAY_SIZE(tests), 600, NULL, NULL);                         \
    }

#endif

/* The main function of a chip's tests that end with a hostile guest: `test_chip SECONDS` runs that
 * one alone, for so long, with a fresh seed.
 */
#ifndef DRAGOMAN_TESTS_DEVICE_HOSTILE_H
#define DRAGOMAN_TESTS_DEVICE_HOSTILE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/types.h"

static u64 hostile_seed = 1;
static unsigned hostile_seconds; /* 0: one round */

static inline u32 hostile_random(void)
{
    hostile_seed = hostile_seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(hostile_seed >> 33);
}

/* The last of the tests is the hostile one. */
static inline int hostile_main(const char *name, const TTest *const *tests, unsigned count,
                               int argc, char **argv)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    if (argc > 1) {
        hostile_seconds = (unsigned)atoi(argv[1]);
        hostile_seed = (u64)time(NULL);
        printf("seed %llu\n", (unsigned long long)hostile_seed);
    }
    tcase_set_timeout(tc, 60 + hostile_seconds);
    for (unsigned i = argc > 1 ? count - 1 : 0; i < count; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif

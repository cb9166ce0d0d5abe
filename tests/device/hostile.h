/* The main function of a chip's tests that end with a hostile guest: `test_chip SECONDS` runs that
 * one alone, for so long, with a fresh seed.
 */
#ifndef DRAGOMAN_TESTS_DEVICE_HOSTILE_H
#define DRAGOMAN_TESTS_DEVICE_HOSTILE_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/suite.h"

static u64 rnd_state = 1;
static unsigned hostile_seconds; /* 0: one round */

static inline u32 rnd(void)
{
    rnd_state = rnd_state * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(rnd_state >> 33);
}

/* The last of the tests is the hostile one; arguments: how many seconds of it alone, the seed. */
static inline int hostile_main(const char *name, const TTest *const *tests, unsigned count,
                               int argc, char **argv)
{
    if (argc == 1)
        return run_tests(name, tests, count, 600, NULL, NULL);
    hostile_seconds = (unsigned)atoi(argv[1]);
    rnd_state = argc > 2 ? strtoull(argv[2], NULL, 10) : (u64)time(NULL);
    printf("seed %llu\n", (unsigned long long)rnd_state);
    return run_tests(name, tests + count - 1, 1, 600 + hostile_seconds, NULL, NULL);
}

#endif

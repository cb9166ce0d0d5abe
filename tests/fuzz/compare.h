/* Comparing and showing the outcome of a case. */
#ifndef DRAGOMAN_TESTS_FUZZ_COMPARE_H
#define DRAGOMAN_TESTS_FUZZ_COMPARE_H

#include "fuzz.h"

/* What differs, or NULL. */
const char *difference(const struct program *p, const struct state *in,
                       const struct state *native, const struct state *engine);
void print_case(const struct program *p, const struct state *in, const struct state *native,
                const struct state *engine);

#endif

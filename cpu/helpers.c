/* The table of helpers, one row per row of helpers.def. */
#include "cpu/helpers.h"

const struct helper_info helpers[HELPER_COUNT] = {
#define HELPER(name, args, effects, meaning) {#name, helper_##name, args, effects, meaning},
#include "cpu/helpers.def"
#undef HELPER
};

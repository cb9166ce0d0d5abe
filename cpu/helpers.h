/* C helpers of translated code: enum, prototypes and effects, all from helpers.def. */
#ifndef DRAGOMAN_CPU_HELPERS_H
#define DRAGOMAN_CPU_HELPERS_H

#include "base/types.h"

struct cpu;

enum {
    HE_RAISE = 1 << 0, HE_RGPR = 1 << 1, HE_WGPR = 1 << 2, HE_RFL = 1 << 3, HE_WFL = 1 << 4,
    HE_VEC = 1 << 5, HE_X87 = 1 << 6, HE_ENV = 1 << 7, HE_MEM = 1 << 8, HE_END = 1 << 9,
};

enum helper {
#define HELPER(name, args, effects, meaning) HELPER_##name,
#include "cpu/helpers.def"
#undef HELPER
    HELPER_COUNT
};

#define HELPER(name, args, effects, meaning) \
    u64 helper_##name(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d);
#include "cpu/helpers.def"
#undef HELPER

struct helper_info {
    const char *name;
    u64 (*fn)(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d);
    u8 args;
    u16 effects;
    const char *meaning;
};
extern const struct helper_info helpers[HELPER_COUNT];

#endif

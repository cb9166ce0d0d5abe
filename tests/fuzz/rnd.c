/* Random numbers, and integers near the edges that matter. */
#include "fuzz.h"

static u64 seed = 1;

void rnd_seed(u64 s)
{
    seed = s * 0x9e3779b97f4a7c15ull | 1;
}

u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

u64 rnd_value(void)
{
    static const u64 v[] = {0, 1, 2, 3, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000,
                            0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
                            0x8000000000000000, 0xffffffff80000000, 0xffffffffffffff80, ~0ull};
    switch (below(4)) {
    case 0: return v[below(ARRAY_SIZE(v))];
    case 1: return rnd() >> below(64);
    case 2: return (u64)-(s64)(rnd() >> below(64));
    default: return rnd();
    }
}

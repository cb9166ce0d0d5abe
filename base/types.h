/* Types, bits and unaligned little-endian access that every part shares. */
#ifndef DRAGOMAN_BASE_TYPES_H
#define DRAGOMAN_BASE_TYPES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned __int128 u128;
typedef __int128 s128;

#define BIT(n) (1u << (n))
#define BIT64(n) (1ull << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof *(a))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* All-ones mask of the low `bytes` bytes (1, 2, 4 or 8). */
static inline u64 size_mask(unsigned bytes)
{
    return bytes >= 8 ? ~0ull : (1ull << (bytes * 8)) - 1;
}

/* Sign-extends the low `bits` bits (1 to 64) of v. */
static inline s64 sign_extend(u64 v, unsigned bits)
{
    return (s64)(v << (64 - bits)) >> (64 - bits);
}

static inline u64 min_u64(u64 a, u64 b)
{
    return a < b ? a : b;
}

static inline u64 max_u64(u64 a, u64 b)
{
    return a > b ? a : b;
}

static inline u64 align_up(u64 v, u64 a)
{
    return (v + a - 1) & ~(a - 1);
}

/* Reads `bytes` (1 to 8) little-endian bytes at p, zero-extended. */
static inline u64 load_le(const void *p, unsigned bytes)
{
    const u8 *b = p;
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v |= (u64)b[i] << (8 * i);
    return v;
}

/* Writes the low `bytes` (1 to 8) bytes of v at p, little-endian. */
static inline void store_le(void *p, u64 v, unsigned bytes)
{
    u8 *b = p;
    for (unsigned i = 0; i < bytes; i++)
        b[i] = (u8)(v >> (8 * i));
}

#endif

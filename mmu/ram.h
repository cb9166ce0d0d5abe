/* Guest RAM as host memory: sized accesses, and the address arithmetic of the RAM arena.
 *
 * All RAM blocks of a bus lie in one reserved range of host addresses, so that a host address
 * gives its RAM page number by subtraction; code marks are indexed by it.
 */
#ifndef DRAGOMAN_MMU_RAM_H
#define DRAGOMAN_MMU_RAM_H

#include "base/types.h"

/* Room for 64 GiB of RAM and 8 GiB of ROM, video memory and alignment. */
#define RAM_ARENA_SIZE (72ull << 30)
#define RAM_ARENA_PAGES (RAM_ARENA_SIZE >> 12)

struct ram_arena {
    u8 *base; /* RAM_ARENA_SIZE bytes of reserved host addresses */
    u64 used;
    void *mapped; /* the reservation with what base was aligned by */
};

/* Reserves the range; false with errno when the host refuses. */
bool ram_arena_init(struct ram_arena *a);
void ram_arena_free(struct ram_arena *a);
/* Maps `size` zeroed bytes (rounded up to pages), committed on touch; NULL with errno. */
u8 *ram_arena_alloc(struct ram_arena *a, u64 size);

/* Reserves `size` bytes of private zeroed memory that cost nothing until touched, or NULL. */
void *ram_reserve(u64 size);
void ram_release(void *p, u64 size);
/* A part that is about to be used densely may lie in large pages of the host's. */
void ram_prefer_large(void *p, u64 size);
/* What these bytes hold is lost, and most of the host's memory behind them is free again. */
void ram_give_back(void *p, u64 size);

static inline bool ram_arena_has(const struct ram_arena *a, const u8 *host)
{
    return (u64)(host - a->base) < a->used;
}

static inline u64 ram_arena_page(const struct ram_arena *a, const u8 *host)
{
    return (u64)(host - a->base) >> 12;
}

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define RAM_LE16(v) __builtin_bswap16(v)
#define RAM_LE32(v) __builtin_bswap32(v)
#define RAM_LE64(v) __builtin_bswap64(v)
#else
#define RAM_LE16(v) (v)
#define RAM_LE32(v) (v)
#define RAM_LE64(v) (v)
#endif

/* Host memory at any alignment; on x86 hosts still one instruction, so that an access within a
 * cache line stays atomic as on the real processor. */
struct ram_any16 {
    u16 v;
} __attribute__((packed));
struct ram_any32 {
    u32 v;
} __attribute__((packed));
struct ram_any64 {
    u64 v;
} __attribute__((packed));

static inline u64 ram_load_any(const u8 *p, unsigned size)
{
    switch (size) {
    case 2: return RAM_LE16(((const volatile struct ram_any16 *)p)->v);
    case 4: return RAM_LE32(((const volatile struct ram_any32 *)p)->v);
    default: return RAM_LE64(((const volatile struct ram_any64 *)p)->v);
    }
}

static inline void ram_store_any(u8 *p, u64 v, unsigned size)
{
    switch (size) {
    case 2: ((volatile struct ram_any16 *)p)->v = RAM_LE16((u16)v); break;
    case 4: ((volatile struct ram_any32 *)p)->v = RAM_LE32((u32)v); break;
    default: ((volatile struct ram_any64 *)p)->v = RAM_LE64(v); break;
    }
}

/* Aligned accesses are single-copy atomic and ordered as x86 orders them (SDM vol. 3A 8.1.1 and
 * 8.2.2): loads acquire, stores release, which costs nothing on x86 hosts. */
static inline u64 ram_load(const u8 *p, unsigned size)
{
    if (unlikely((uintptr_t)p & (size - 1)))
        return ram_load_any(p, size);
    switch (size) {
    case 1: return __atomic_load_n(p, __ATOMIC_ACQUIRE);
    case 2: return RAM_LE16(__atomic_load_n((const u16 *)p, __ATOMIC_ACQUIRE));
    case 4: return RAM_LE32(__atomic_load_n((const u32 *)p, __ATOMIC_ACQUIRE));
    default: return RAM_LE64(__atomic_load_n((const u64 *)p, __ATOMIC_ACQUIRE));
    }
}

static inline void ram_store(u8 *p, u64 v, unsigned size)
{
    if (unlikely((uintptr_t)p & (size - 1))) {
        ram_store_any(p, v, size);
        return;
    }
    switch (size) {
    case 1: __atomic_store_n(p, (u8)v, __ATOMIC_RELEASE); break;
    case 2: __atomic_store_n((u16 *)p, RAM_LE16((u16)v), __ATOMIC_RELEASE); break;
    case 4: __atomic_store_n((u32 *)p, RAM_LE32((u32)v), __ATOMIC_RELEASE); break;
    default: __atomic_store_n((u64 *)p, RAM_LE64(v), __ATOMIC_RELEASE); break;
    }
}

#endif

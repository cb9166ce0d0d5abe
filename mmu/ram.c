/* Guest RAM blocks in one reserved range of host addresses, in large pages of the host's where it
 * makes them (Linux's transparent ones): clearing is cheaper by the piece, and what misses a TLB of
 * ours does not miss the host's as well.
 *
 * Touches only the host's memory interfaces.  Left out: giving blocks back before the bus goes
 * (no part of the machine unplugs memory).
 */
#include "mmu/ram.h"

#include <errno.h>
#include <sys/mman.h>

/* Host huge pages can back a block only if it starts on their boundary. */
#define HUGE_ALIGN (2ull << 20)

bool ram_arena_init(struct ram_arena *a)
{
    a->used = 0;
    a->mapped = mmap(NULL, RAM_ARENA_SIZE + HUGE_ALIGN, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (a->mapped == MAP_FAILED)
        return false;
    a->base = (u8 *)align_up((u64)a->mapped, HUGE_ALIGN);
    return true;
}

void ram_arena_free(struct ram_arena *a)
{
    munmap(a->mapped, RAM_ARENA_SIZE + HUGE_ALIGN);
}

u8 *ram_arena_alloc(struct ram_arena *a, u64 size)
{
    u64 start = size >= HUGE_ALIGN ? align_up(a->used, HUGE_ALIGN) : a->used;
    if (!size || size > RAM_ARENA_SIZE || start > RAM_ARENA_SIZE - size) {
        errno = size ? ENOMEM : EINVAL;
        return NULL;
    }
    size = align_up(size, 4096);
    u8 *p = a->base + start;
    if (mprotect(p, size, PROT_READ | PROT_WRITE) < 0)
        return NULL;
    if (size >= HUGE_ALIGN)
        madvise(p, size, MADV_HUGEPAGE);
    a->used = start + size;
    return p;
}

void *ram_reserve(u64 size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    /* A huge page behind a sparse table would commit 2 MiB for one entry. */
    madvise(p, size, MADV_NOHUGEPAGE);
    return p;
}

void ram_release(void *p, u64 size)
{
    if (p)
        munmap(p, size);
}

/* Gives madvise the pages of [p, p + size) that lie wholly in there. */
static void advise(void *p, u64 size, int advice)
{
    u64 start = align_up((u64)(uintptr_t)p, 4096), end = ((u64)(uintptr_t)p + size) & ~4095ull;
    if (size >= HUGE_ALIGN)
        madvise((void *)(uintptr_t)start, end - start, advice);
}

void ram_prefer_large(void *p, u64 size)
{
    advise(p, size, MADV_HUGEPAGE);
}

void ram_give_back(void *p, u64 size)
{
    advise(p, size, MADV_DONTNEED);
}

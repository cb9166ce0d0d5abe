/* Guest RAM blocks from one memfd, mapped into one reserved range of host addresses.
 *
 * Touches only the host's memory interfaces.  Left out: giving blocks back before the bus goes
 * (no part of the machine unplugs memory), and huge pages.
 */
#include "mmu/ram.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

/* Host huge pages can back a block only if it starts on their boundary. */
#define HUGE_ALIGN (2ull << 20)

bool ram_arena_init(struct ram_arena *a)
{
    a->used = 0;
    a->fd = memfd_create("guest-ram", MFD_CLOEXEC);
    if (a->fd < 0)
        return false;
    void *p = mmap(NULL, RAM_ARENA_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        int error = errno;
        close(a->fd);
        errno = error;
        return false;
    }
    a->base = p;
    return true;
}

void ram_arena_free(struct ram_arena *a)
{
    munmap(a->base, RAM_ARENA_SIZE);
    close(a->fd);
}

u8 *ram_arena_alloc(struct ram_arena *a, u64 size)
{
    u64 start = size >= HUGE_ALIGN ? align_up(a->used, HUGE_ALIGN) : a->used;
    if (!size || size > RAM_ARENA_SIZE || start > RAM_ARENA_SIZE - size) {
        errno = size ? ENOMEM : EINVAL;
        return NULL;
    }
    size = align_up(size, 4096);
    if (ftruncate(a->fd, (off_t)(start + size)) < 0)
        return NULL;
    void *p = mmap(a->base + start, size, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_NORESERVE | MAP_FIXED, a->fd, (off_t)start);
    if (p == MAP_FAILED)
        return NULL;
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

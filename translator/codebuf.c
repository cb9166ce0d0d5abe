/* The code buffer.  Write-xor-execute by two mappings of one memfd: emitted code can be patched
 * while it runs, yet no page is ever writable and executable through the same address.  x86 hosts
 * keep their instruction caches coherent with stores; a host that does not will flush here.
 *
 * Where the kernel makes large pages of a file's (MADV_COLLAPSE, Linux 6.1), the buffer consists of
 * them: a guest's hot code is spread over more small pages than the host has TLB entries for. */
#include "translator/codebuf.h"

#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define LARGE ((u64)2 << 20)
#define REACH (64u << 10)

/* The file, at a multiple of LARGE; NULL when there is no room. */
static u8 *map_view(int fd, u64 size, int prot)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    u8 *room = mmap(NULL, size + LARGE, PROT_NONE, flags, -1, 0);
    if (room == MAP_FAILED)
        return NULL;
    u64 before = -(u64)(uintptr_t)room & (LARGE - 1);
    munmap(room, before);
    munmap(room + before + size, LARGE - before);
    void *view = mmap(room + before, size, prot, MAP_SHARED | MAP_FIXED, fd, 0);
    if (view != MAP_FAILED)
        return view;
    munmap(room + before, size);
    return NULL;
}

static u64 file_size(const struct codebuf *c)
{
    return align_up(c->size, LARGE);
}

bool codebuf_init(struct codebuf *c, u64 size, bool large)
{
    *c = (struct codebuf){.size = size, .small = !large, .lock = PTHREAD_MUTEX_INITIALIZER};
    int fd = memfd_create("dragoman-code", MFD_CLOEXEC);
    if (fd < 0)
        return false;
    if (ftruncate(fd, (off_t)file_size(c)) == 0) {
        c->rw = map_view(fd, file_size(c), PROT_READ | PROT_WRITE);
        c->rx = map_view(fd, file_size(c), PROT_READ | PROT_EXEC);
    }
    close(fd);
    if (c->rw && c->rx)
        return true;
    codebuf_free(c);
    return false;
}

/* Commits one large page; false where the host has none to give. */
static bool reach_large(struct codebuf *c)
{
    u64 from = c->present;
    if (c->small)
        return false;
    if (madvise(c->rw + from, REACH, MADV_POPULATE_WRITE) ||
        madvise(c->rw + from, LARGE, MADV_COLLAPSE)) {
        c->small = true;
        return false;
    }
    madvise(c->rx + from, LARGE, MADV_POPULATE_READ);
    c->present = from + LARGE;
    c->large++;
    return true;
}

static void reach(struct codebuf *c, u64 until)
{
    pthread_mutex_lock(&c->lock);
    while (c->present < until) {
        if (reach_large(c))
            continue;
        madvise(c->rw + c->present, REACH, MADV_POPULATE_WRITE);
        madvise(c->rx + c->present, REACH, MADV_POPULATE_READ);
        c->present += REACH;
    }
    pthread_mutex_unlock(&c->lock);
}

void codebuf_reach(struct codebuf *c, u64 until)
{
    until = min_u64(until, c->size);
    if (unlikely(c->present < until))
        reach(c, until);
}

void codebuf_free(struct codebuf *c)
{
    if (c->rw)
        munmap(c->rw, file_size(c));
    if (c->rx)
        munmap(c->rx, file_size(c));
    c->rw = c->rx = NULL;
}

/* The code buffer.  Write-xor-execute by two mappings of one memfd: emitted code can be patched
 * while it runs, yet no page is ever writable and executable through the same address.  x86 hosts
 * keep their instruction caches coherent with stores; a host that does not will flush here. */
#include "translator/codebuf.h"

#include <sys/mman.h>
#include <unistd.h>

bool codebuf_init(struct codebuf *c, u64 size)
{
    memset(c, 0, sizeof *c);
    int fd = memfd_create("dragoman-code", MFD_CLOEXEC);
    if (fd < 0)
        return false;
    if (ftruncate(fd, (off_t)size) == 0) {
        void *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        void *rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
        if (rw != MAP_FAILED && rx != MAP_FAILED)
            *c = (struct codebuf){rw, rx, size, 0};
        else if (rw != MAP_FAILED)
            munmap(rw, size);
        else if (rx != MAP_FAILED)
            munmap(rx, size);
    }
    close(fd);
    return c->rw != NULL;
}

#define REACH (64u << 10)
void codebuf_reach(struct codebuf *c, u64 until)
{
    if (likely(until <= c->present))
        return;
    u64 from = c->present, to = align_up(until, REACH);
    c->present = to < c->size ? to : c->size;
    madvise(c->rw + from, c->present - from, MADV_POPULATE_WRITE);
    madvise(c->rx + from, c->present - from, MADV_POPULATE_READ);
}

void codebuf_free(struct codebuf *c)
{
    if (c->rw) {
        munmap(c->rw, c->size);
        munmap(c->rx, c->size);
    }
    c->rw = c->rx = NULL;
}

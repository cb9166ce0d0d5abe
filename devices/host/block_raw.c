/* Raw images: the file (or block device) is the disk. */
#include <stdlib.h>
#include <unistd.h>

#include <errno.h>

#include "devices/host/block_int.h"

struct raw {
    struct block b;
    int fd;
};

static int raw_read(struct block *b, u64 offset, u8 *data, size_t count)
{
    return block_pread(((struct raw *)b)->fd, data, count, offset);
}

static int raw_write(struct block *b, u64 offset, const u8 *data, size_t count)
{
    return block_pwrite(((struct raw *)b)->fd, data, count, offset);
}

static int raw_flush(struct block *b)
{
    return fdatasync(((struct raw *)b)->fd) < 0 ? errno : 0;
}

static void raw_close(struct block *b)
{
    close(((struct raw *)b)->fd);
    block_delete(b);
}

static const struct block_format raw_format = {"raw", raw_read, raw_write, raw_flush, raw_close};

struct block *block_raw_open(struct block_file *f, char **error)
{
    struct raw *s = block_new(sizeof *s, &raw_format, f->path, error);
    if (!s) {
        close(f->fd);
        return NULL;
    }
    s->fd = f->fd;
    s->b.size = (f->size + BLOCK_SECTOR - 1) / BLOCK_SECTOR * BLOCK_SECTOR;
    s->b.read_only = f->read_only;
    return &s->b;
}

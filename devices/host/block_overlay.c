/* -snapshot: an image whose writes go to a temporary file that vanishes with the process.
 *
 * A bitmap in memory says which 4 KiB units are in the temporary file; a unit's first write copies
 * the rest of it from below.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/host/block_int.h"

#define UNIT 4096u

struct overlay {
    struct block b;
    struct block *below;
    pthread_mutex_t lock;
    int fd;
    u8 *present; /* a bit per unit */
};

static bool has(const struct overlay *s, u64 unit)
{
    return s->present[unit / 8] >> (unit % 8) & 1;
}

/* Bytes from `offset` to the end of its unit, at most `count`. */
static size_t within_unit(u64 offset, size_t count)
{
    size_t n = UNIT - offset % UNIT;
    return n < count ? n : count;
}

static int overlay_read(struct block *b, u64 offset, u8 *data, size_t count)
{
    struct overlay *s = (struct overlay *)b;
    int error = 0;
    pthread_mutex_lock(&s->lock);
    while (count && !error) {
        bool here = has(s, offset / UNIT);
        size_t n = within_unit(offset, count);
        while (n < count && has(s, (offset + n) / UNIT) == here)
            n += within_unit(offset + n, count - n);
        error = here ? block_pread(s->fd, data, n, offset) : block_read(s->below, offset, data, n);
        offset += n;
        data += n;
        count -= n;
    }
    pthread_mutex_unlock(&s->lock);
    return error;
}

static int write_unit(struct overlay *s, u64 offset, const u8 *data, size_t n)
{
    u64 unit = offset / UNIT, start = unit * UNIT;
    u8 whole[UNIT];
    if (n < UNIT && !has(s, unit)) {
        size_t size = s->b.size - start < UNIT ? s->b.size - start : UNIT;
        int error = block_read(s->below, start, whole, size);
        if (error)
            return error;
        memcpy(whole + offset % UNIT, data, n);
        data = whole;
        offset = start;
        n = size;
    }
    int error = block_pwrite(s->fd, data, n, offset);
    if (!error)
        s->present[unit / 8] |= (u8)(1u << (unit % 8));
    return error;
}

static int overlay_write(struct block *b, u64 offset, const u8 *data, size_t count)
{
    struct overlay *s = (struct overlay *)b;
    int error = 0;
    pthread_mutex_lock(&s->lock);
    while (count && !error) {
        size_t n = within_unit(offset, count);
        error = write_unit(s, offset, data, n);
        offset += n;
        data += n;
        count -= n;
    }
    pthread_mutex_unlock(&s->lock);
    return error;
}

/* Nothing of this outlives the process. */
static int overlay_flush(struct block *b)
{
    return 0;
}

static void overlay_close(struct block *b)
{
    struct overlay *s = (struct overlay *)b;
    block_close(s->below);
    if (s->fd >= 0)
        close(s->fd);
    pthread_mutex_destroy(&s->lock);
    free(s->present);
    block_delete(b);
}

static const struct block_format overlay_format = {"snapshot", overlay_read, overlay_write,
                                                   overlay_flush, overlay_close};

static int temporary_file(void)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/dragoman.XXXXXX", dir && *dir ? dir : "/var/tmp");
    if (n >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkstemp(path);
    if (fd >= 0)
        unlink(path);
    return fd;
}

struct block *block_overlay_open(struct block *below, char **error)
{
    struct overlay *s = block_new(sizeof *s, &overlay_format, block_path(below), error);
    if (!s) {
        block_close(below);
        return NULL;
    }
    s->below = below;
    s->b.size = below->size;
    pthread_mutex_init(&s->lock, NULL);
    s->present = calloc(below->size / UNIT / 8 + 1, 1);
    s->fd = temporary_file();
    if (!s->present || s->fd < 0) {
        block_error(error, below->path, "cannot make a temporary file for -snapshot: %s",
                    strerror(errno));
        overlay_close(&s->b);
        return NULL;
    }
    return &s->b;
}

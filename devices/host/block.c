/* Disk images: opening by content, bounds, and what all formats share. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/host/block_int.h"

/* ---- for the formats ---- */

void *block_error(char **error, const char *path, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *error = error_text("image '%s': %s", path, text);
    return NULL;
}

void *block_new(size_t bytes, const struct block_format *format, const char *path, char **error)
{
    struct block *b = calloc(1, bytes);
    if (b)
        b->path = strdup(path);
    if (!b || !b->path) {
        free(b);
        return block_error(error, path, "the host has no memory");
    }
    b->format = format;
    return b;
}

void block_delete(struct block *b)
{
    free(b->path);
    free(b);
}

int block_pread(int fd, void *data, size_t count, u64 offset)
{
    u8 *p = data;
    while (count) {
        ssize_t n = pread(fd, p, count, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0) {
            memset(p, 0, count);
            return 0;
        }
        p += n;
        offset += (u64)n;
        count -= (size_t)n;
    }
    return 0;
}

int block_pwrite(int fd, const void *data, size_t count, u64 offset)
{
    const u8 *p = data;
    while (count) {
        ssize_t n = pwrite(fd, p, count, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : ENOSPC;
        p += n;
        offset += (u64)n;
        count -= (size_t)n;
    }
    return 0;
}

/* ---- opening ---- */

static bool file_size(struct block_file *f, char **error)
{
    struct stat st;
    if (fstat(f->fd, &st) < 0) {
        block_error(error, f->path, "%s", strerror(errno));
        return false;
    }
    if (S_ISREG(st.st_mode)) {
        f->size = (u64)st.st_size;
        return true;
    }
    if (S_ISBLK(st.st_mode) && ioctl(f->fd, BLKGETSIZE64, &f->size) == 0)
        return true;
    block_error(error, f->path,
                S_ISDIR(st.st_mode) ? "is a directory" : "is neither a file nor a block device");
    return false;
}

/* One writer, or several readers: two guests on one file would destroy it. */
static bool lock_file(const struct block_file *f, char **error)
{
    if (flock(f->fd, (f->read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return true;
    block_error(error, f->path, "is in use already");
    return false;
}

static bool open_file(struct block_file *f, const struct block_options *o, char **error)
{
    f->path = o->path;
    f->read_only = o->read_only || o->snapshot;
    f->fd = open(o->path, (f->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 && !f->read_only && o->auto_read_only && (errno == EACCES || errno == EROFS)) {
        f->read_only = true;
        f->fd = open(o->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    }
    if (f->fd < 0) {
        block_error(error, o->path, "%s%s", strerror(errno),
                    !f->read_only && (errno == EACCES || errno == EROFS)
                        ? " (open it with readonly=on, or -snapshot)"
                        : "");
        return false;
    }
    if (file_size(f, error) && lock_file(f, error))
        return true;
    close(f->fd);
    return false;
}

/* Formats that would look like an empty or broken disk if they were taken for raw. */
static const struct {
    const char *name;
    u8 at, len;
    u8 magic[8];
} foreign[] = {
    {"VMDK", 0, 4, "KDMV"},
    {"VMDK", 0, 8, "# Disk D"},
    {"VHDX", 0, 8, "vhdxfile"},
    {"VHD", 0, 8, "conectix"},
    {"VDI", 64, 4, {0x7f, 0x10, 0xda, 0xbe}},
    {"QED", 0, 4, "QED"},
    {"qcow (of a version that is not 2 or 3)", 0, 4, "QFI\xfb"},
};

/* The format by the file's content; NULL with *error: one that is not known here. */
static const char *probe(const struct block_file *f, char **error)
{
    u8 head[BLOCK_SECTOR];
    if (block_pread(f->fd, head, sizeof head, 0))
        return "raw";
    if (block_qcow2_probe(head, sizeof head))
        return "qcow2";
    for (unsigned i = 0; i < ARRAY_SIZE(foreign); i++)
        if (!memcmp(head + foreign[i].at, foreign[i].magic, foreign[i].len))
            return block_error(error, f->path,
                               "is a %s image; make a qcow2 one of it (qemu-img convert), or take "
                               "it as it is with format=raw",
                               foreign[i].name);
    return "raw";
}

struct block *block_open_depth(const struct block_options *o, unsigned depth, char **error)
{
    struct block_file f;
    struct block *b = NULL;
    if (!open_file(&f, o, error))
        return NULL;
    const char *format = o->format ? o->format : "raw";
    if (!f.size)
        block_error(error, o->path, "is empty");
    if (!f.size || (!o->format && !(format = probe(&f, error)))) {
        close(f.fd);
    } else if (!strcmp(format, "raw")) {
        b = block_raw_open(&f, error);
    } else if (!strcmp(format, "qcow2")) {
        b = block_qcow2_open(&f, o, depth, error);
    } else {
        block_error(error, o->path, "format '%s' is unknown (there are raw and qcow2)", format);
        close(f.fd);
    }
    if (b && o->snapshot)
        b = block_overlay_open(b, error);
    if (b && !o->format && format && !strcmp(format, "raw"))
        b->guessed_raw = true;
    return b;
}

struct block *block_open(const struct block_options *o, char **error)
{
    return block_open_depth(o, 0, error);
}

void block_close(struct block *b)
{
    if (!b)
        return;
    int error = b->read_only ? 0 : block_flush(b);
    if (error)
        error_report("image '%s': what was written last may be lost: %s", b->path, strerror(error));
    b->format->close(b);
}

/* ---- what it is ---- */

u64 block_size(const struct block *b)
{
    return b->size;
}

bool block_read_only(const struct block *b)
{
    return b->read_only;
}

const char *block_path(const struct block *b)
{
    return b->path;
}

const char *block_format(const struct block *b)
{
    return b->format->name;
}

/* ---- accesses ---- */

static int check_range(const struct block *b, u64 offset, size_t count)
{
    if ((offset | count) % BLOCK_SECTOR || offset > b->size || count > b->size - offset)
        return EINVAL;
    return 0;
}

int block_read(struct block *b, u64 offset, void *data, size_t count)
{
    int error = check_range(b, offset, count);
    return error ? error : b->format->read(b, offset, data, count);
}

int block_write(struct block *b, u64 offset, const void *data, size_t count)
{
    int error = b->read_only ? EROFS : check_range(b, offset, count);
    /* A guest that writes another format's header to a disk that was taken for raw could have any
     * file of the host named in it, and read it at the next start. */
    if (!error && b->guessed_raw && offset == 0 && count && block_qcow2_probe(data, count)) {
        error_report("image '%s': a write that would make it look like qcow2 was refused; give "
                     "format=raw to allow it",
                     b->path);
        error = EPERM;
    }
    return error ? error : b->format->write(b, offset, data, count);
}

int block_flush(struct block *b)
{
    return b->format->flush(b);
}

/* QEMU's qcow2 images, versions 2 and 3: reading and writing, backing files, zlib-compressed
 * clusters (read; rewritten uncompressed), zero clusters, images with internal snapshots.
 *
 * Left out, and refused by name: encryption, external data files, zstd, extended L2 entries; images
 * that were not closed with lazy refcounts can be read only.  Snapshots are kept, not managed.
 */
#include "devices/host/block_qcow2.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if CONFIG_ZLIB
#include <zlib.h>
#endif

enum {
    INCOMPAT_DIRTY = BIT(0),
    INCOMPAT_CORRUPT = BIT(1),
    INCOMPAT_DATA_FILE = BIT(2),
    INCOMPAT_COMPRESSION = BIT(3),
    INCOMPAT_EXTENDED_L2 = BIT(4),
    HEADER_V2 = 72,
    HEADER_V3 = 104,
    AUTOCLEAR_AT = 88,
    EXTENSION_END = 0,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 21,
    L1_BYTES_MAX = 32 << 20,
    RT_BYTES_MAX = 8 << 20,
};

#define EXTENSION_BACKING_FORMAT 0xe2792acau

static const u8 magic[4] = {'Q', 'F', 'I', 0xfb};

bool block_qcow2_probe(const u8 *head, size_t count)
{
    return count >= 8 && !memcmp(head, magic, 4) &&
           (be_load(head + 4, 4) == 2 || be_load(head + 4, 4) == 3);
}

/* ---- where a guest address is ---- */

struct place {
    struct cached_table *l2; /* NULL: no table yet */
    u8 *entry;               /* in it */
    u64 value;               /* 0 where there is none */
};

static u64 l1_index(const struct qcow2 *s, u64 offset)
{
    return offset >> (2 * s->cluster_bits - 3);
}

static int lookup(struct qcow2 *s, u64 offset, struct place *p)
{
    u64 i = l1_index(s, offset);
    *p = (struct place){NULL, NULL, 0};
    if (i >= s->l1_size)
        return EIO;
    if (!(s->l1[i] & OFFSET_MASK))
        return 0;
    int error = qcow2_table(s, &s->l2, s->l1[i] & OFFSET_MASK, &p->l2);
    if (error)
        return error;
    u64 index = offset >> s->cluster_bits & ((1ull << (s->cluster_bits - 3)) - 1);
    p->entry = p->l2->data + 8 * index;
    p->value = be_load(p->entry, 8);
    return 0;
}

/* ---- reading ---- */

/* Where a compressed cluster's bytes lie. */
static void packed_span(const struct qcow2 *s, u64 entry, u64 *offset, u64 *bytes)
{
    unsigned bits = 62 - (s->cluster_bits - 8);
    *offset = entry & ((1ull << bits) - 1);
    u64 sectors = (entry & (L2_COMPRESSED - 1)) >> bits;
    *bytes = (sectors + 1) * 512 - *offset % 512;
}

/* Unpacks a compressed cluster into s->bounce. */
static int unpack(struct qcow2 *s, u64 entry)
{
#if CONFIG_ZLIB
    u64 offset, bytes;
    packed_span(s, entry, &offset, &bytes);
    if (bytes > 2 * s->cluster_size)
        return EIO;
    int error = block_pread(s->fd, s->packed, bytes, offset);
    if (error)
        return error;
    z_stream z = {.next_in = s->packed,
                  .avail_in = (uInt)bytes,
                  .next_out = s->bounce,
                  .avail_out = (uInt)s->cluster_size};
    if (inflateInit2(&z, -12) != Z_OK)
        return ENOMEM;
    int status = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    /* The span's end is rounded up, so that input may be left over. */
    return (status == Z_STREAM_END || status == Z_BUF_ERROR) && !z.avail_out ? 0 : EIO;
#else
    return ENOTSUP;
#endif
}

static int read_backing(struct qcow2 *s, u64 offset, u8 *data, size_t count)
{
    u64 size = s->backing ? block_size(s->backing) : 0;
    size_t n = offset >= size ? 0 : size - offset < count ? size - offset : count;
    memset(data + n, 0, count - n);
    return n ? block_read(s->backing, offset, data, n) : 0;
}

/* An image may end within its last cluster; one that ends before a cluster has lost it. */
static int read_plain(struct qcow2 *s, u8 *data, size_t count, u64 cluster, u64 within)
{
    ssize_t n = pread(s->fd, data, count, (off_t)(cluster + within));
    if (n == (ssize_t)count)
        return 0;
    if (n == 0 && lseek(s->fd, 0, SEEK_END) <= (off_t)cluster)
        return EIO;
    return block_pread(s->fd, data, count, cluster + within);
}

/* Within one cluster. */
static int read_cluster(struct qcow2 *s, u64 offset, u8 *data, size_t count)
{
    struct place p;
    u64 within = offset & (s->cluster_size - 1);
    int error = lookup(s, offset, &p);
    if (error)
        return error;
    if (p.value & L2_COMPRESSED) {
        error = unpack(s, p.value);
        memcpy(data, s->bounce + within, count);
        return error;
    }
    if (s->version >= 3 && (p.value & L2_ZERO)) {
        memset(data, 0, count);
        return 0;
    }
    if (p.value & OFFSET_MASK)
        return read_plain(s, data, count, p.value & OFFSET_MASK, within);
    return read_backing(s, offset, data, count);
}

/* ---- writing ---- */

/* Gives the L1 entry of `offset` an L2 table that is this image's alone. */
static int own_table(struct qcow2 *s, u64 offset, struct place *p)
{
    u64 i = l1_index(s, offset), old = s->l1[i] & OFFSET_MASK, new;
    if (old && (s->l1[i] & L1_COPIED))
        return 0;
    int error = qcow2_alloc(s, &new);
    if (!error && old) {
        memcpy(s->bounce, p->l2->data, s->cluster_size);
        error = qcow2_release(s, old, s->cluster_size);
    }
    struct cached_table *t;
    if (!error)
        error = qcow2_new_table(s, &s->l2, new, &t);
    if (error)
        return error;
    if (old)
        memcpy(t->data, s->bounce, s->cluster_size);
    s->l1[i] = new | L1_COPIED;
    s->l1_dirty = true;
    return lookup(s, offset, p);
}

/* A new cluster for data that so far is elsewhere: the whole of it is written. */
static int write_new(struct qcow2 *s, u64 offset, const u8 *data, size_t count, struct place *p)
{
    u64 within = offset & (s->cluster_size - 1), start = offset - within, new = 0;
    u64 old = p->value;
    bool zero = s->version >= 3 && (old & L2_ZERO) && !(old & L2_COMPRESSED);
    /* A cluster set aside for a place that reads as zeros can be used. */
    bool reuse = zero && (old & OFFSET_MASK) && (old & L2_COPIED);
    int error = 0;
    if (count < s->cluster_size) {
        size_t size = s->b.size - start < s->cluster_size ? s->b.size - start : s->cluster_size;
        memset(s->bounce, 0, s->cluster_size);
        error = read_cluster(s, start, s->bounce, size);
        memcpy(s->bounce + within, data, count);
        data = s->bounce;
    }
    if (!error && reuse)
        new = old &OFFSET_MASK;
    else if (!error)
        error = qcow2_alloc(s, &new);
    if (!error)
        error = block_pwrite(s->fd, data, s->cluster_size, new);
    if (error)
        return error;
    be_store(p->entry, new | L2_COPIED, 8);
    p->l2->dirty = true;
    if (old & L2_COMPRESSED) {
        u64 at, bytes;
        packed_span(s, old, &at, &bytes);
        return qcow2_release(s, at, bytes);
    }
    if (!reuse && (old & OFFSET_MASK))
        return qcow2_release(s, old & OFFSET_MASK, s->cluster_size);
    return 0;
}

static int write_cluster(struct qcow2 *s, u64 offset, const u8 *data, size_t count)
{
    struct place p;
    int error = lookup(s, offset, &p);
    if (!error)
        error = own_table(s, offset, &p);
    if (error)
        return error;
    bool plain = !(p.value & L2_COMPRESSED) && !(s->version >= 3 && (p.value & L2_ZERO));
    if (plain && (p.value & OFFSET_MASK) && (p.value & L2_COPIED))
        return block_pwrite(s->fd, data, count,
                            (p.value & OFFSET_MASK) + (offset & (s->cluster_size - 1)));
    return write_new(s, offset, data, count, &p);
}

/* ---- the format ---- */

static size_t within_cluster(const struct qcow2 *s, u64 offset, size_t count)
{
    u64 n = s->cluster_size - (offset & (s->cluster_size - 1));
    return n < count ? n : count;
}

static int qcow2_read(struct block *b, u64 offset, u8 *data, size_t count)
{
    struct qcow2 *s = (struct qcow2 *)b;
    int error = 0;
    pthread_mutex_lock(&s->lock);
    while (count && !error) {
        size_t n = within_cluster(s, offset, count);
        error = read_cluster(s, offset, data, n);
        offset += n;
        data += n;
        count -= n;
    }
    pthread_mutex_unlock(&s->lock);
    return error;
}

static int qcow2_write(struct block *b, u64 offset, const u8 *data, size_t count)
{
    struct qcow2 *s = (struct qcow2 *)b;
    int error = 0;
    pthread_mutex_lock(&s->lock);
    while (count && !error) {
        size_t n = within_cluster(s, offset, count);
        error = write_cluster(s, offset, data, n);
        offset += n;
        data += n;
        count -= n;
    }
    pthread_mutex_unlock(&s->lock);
    return error;
}

static int qcow2_flush(struct block *b)
{
    struct qcow2 *s = (struct qcow2 *)b;
    pthread_mutex_lock(&s->lock);
    int error = s->b.read_only ? 0 : qcow2_write_back(s);
    pthread_mutex_unlock(&s->lock);
    return error;
}

static void qcow2_close(struct block *b)
{
    struct qcow2 *s = (struct qcow2 *)b;
    /* The flush before has taken back refcounts of what was replaced: these are due now. */
    if (!b->read_only && s->l1)
        (void)qcow2_write_back(s);
    block_close(s->backing);
    close(s->fd);
    qcow2_cache_free(&s->l2);
    qcow2_cache_free(&s->refcounts);
    free(s->l1);
    free(s->rt);
    free(s->bounce);
    free(s->packed);
    pthread_mutex_destroy(&s->lock);
    block_delete(b);
}

static const struct block_format qcow2_format = {"qcow2", qcow2_read, qcow2_write, qcow2_flush,
                                                 qcow2_close};

/* ---- opening ---- */

static bool check_features(const struct qcow2 *s, const u8 *h, char **error)
{
    u64 features = s->version >= 3 ? be_load(h + 72, 8) : 0;
    u64 known = INCOMPAT_DIRTY | INCOMPAT_CORRUPT | INCOMPAT_DATA_FILE | INCOMPAT_COMPRESSION |
                INCOMPAT_EXTENDED_L2;
    const char *path = s->b.path;
    bool good = false;
    if (be_load(h + 32, 4))
        block_error(error, path, "is encrypted, which is not supported");
    else if (features & ~known)
        block_error(error, path, "uses unknown qcow2 features (%#llx)",
                    (unsigned long long)(features & ~known));
    else if (features & INCOMPAT_DATA_FILE)
        block_error(error, path, "keeps its data in another file, which is not supported");
    else if (features & INCOMPAT_EXTENDED_L2)
        block_error(error, path, "has extended L2 entries, which are not supported");
    else if (features & INCOMPAT_COMPRESSION)
        block_error(error, path, "is compressed with another method than zlib");
    else if (!s->b.read_only && (features & (INCOMPAT_DIRTY | INCOMPAT_CORRUPT)))
        block_error(error, path,
                    "is marked as %s: run 'qemu-img check -r all' on it, or open it "
                    "read-only",
                    features & INCOMPAT_DIRTY ? "not cleanly closed" : "corrupt");
    else
        good = true;
    return good;
}

/* A table of 64-bit words; NULL with *error. */
static u64 *read_words(struct qcow2 *s, u64 offset, u64 count, const char *what, char **error)
{
    u8 *raw = malloc(count * 8 + 1);
    u64 *words = calloc(count + 1, 8);
    int status = raw && words ? block_pread(s->fd, raw, count * 8, offset) : ENOMEM;
    for (u64 i = 0; i < count && !status; i++)
        words[i] = be_load(raw + 8 * i, 8);
    free(raw);
    if (!status)
        return words;
    free(words);
    return block_error(error, s->b.path, "cannot read its %s: %s", what, strerror(status));
}

/* Whether a table's first or last word, or a cluster that it names, is behind the file's end. */
static bool is_cut(const u64 *table, u64 count, u64 offset, u64 file_size)
{
    bool cut = offset + count * 8 > file_size;
    for (u64 i = 0; i < count; i++)
        cut |= (table[i] & OFFSET_MASK) >= file_size;
    return cut;
}

static bool read_tables(struct qcow2 *s, const u8 *h, u64 file_size, char **error)
{
    u64 per_l2 = s->cluster_size / 8 * s->cluster_size;
    u64 need = s->b.size / per_l2 + (s->b.size % per_l2 != 0);
    s->l1_size = (u32)be_load(h + 36, 4);
    s->l1_offset = be_load(h + 40, 8);
    s->rt_offset = be_load(h + 48, 8);
    s->rt_size = be_load(h + 56, 4) * (s->cluster_size / 8);
    if (s->l1_size < need || s->l1_size > L1_BYTES_MAX / 8 || s->l1_offset % s->cluster_size ||
        s->rt_offset % s->cluster_size || s->rt_size > RT_BYTES_MAX / 8 || !s->rt_size) {
        block_error(error, s->b.path, "its header makes no sense (tables)");
        return false;
    }
    s->l1 = read_words(s, s->l1_offset, s->l1_size, "L1 table", error);
    s->rt = s->l1 ? read_words(s, s->rt_offset, s->rt_size, "refcount table", error) : NULL;
    if (s->rt && (is_cut(s->l1, s->l1_size, s->l1_offset, file_size) ||
                  is_cut(s->rt, s->rt_size, s->rt_offset, file_size))) {
        block_error(error, s->b.path, "is truncated: its tables lead behind its end");
        return false;
    }
    s->bounce = malloc(s->cluster_size);
    s->packed = malloc(2 * s->cluster_size);
    if (s->rt && (!s->bounce || !s->packed))
        block_error(error, s->b.path, "the host has no memory");
    for (u64 i = 0; s->rt && i < s->rt_size; i++)
        s->rt[i] &= ~0x1ffull;
    return s->rt && s->bounce && s->packed;
}

/* The backing file's name is relative to the image's folder. */
static void backing_path(const char *image, const char *name, char *out, size_t size)
{
    const char *slash = strrchr(image, '/');
    if (!strncmp(name, "file:", 5))
        name += 5;
    if (*name == '/' || !slash)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%.*s%s", (int)(slash - image + 1), image, name);
}

/* The extension that names the backing file's format; false when there is none. */
static bool backing_format(const u8 *head, size_t size, size_t at, char out[16])
{
    while (at + 8 <= size) {
        u32 type = (u32)be_load(head + at, 4), len = (u32)be_load(head + at + 4, 4);
        at += 8;
        if (type == EXTENSION_END || len > size - at)
            return false;
        if (type == EXTENSION_BACKING_FORMAT && len < 16) {
            memcpy(out, head + at, len);
            out[len] = 0;
            return true;
        }
        at += (len + 7) & ~7u;
    }
    return false;
}

static bool open_backing(struct qcow2 *s, const u8 *head, unsigned depth, char **error)
{
    u64 offset = be_load(head + 8, 8);
    u32 len = (u32)be_load(head + 16, 4);
    char name[1024], path[8192], format[16], *why = NULL;
    size_t extensions = s->version >= 3 ? be_load(head + 100, 4) : HEADER_V2;
    if (!offset)
        return true;
    if (len >= sizeof name || offset > s->cluster_size - len) {
        block_error(error, s->b.path, "the name of its backing file makes no sense");
        return false;
    }
    int status = block_pread(s->fd, name, len, offset);
    name[status ? 0 : len] = 0;
    if (depth >= BLOCK_BACKING_MAX) {
        block_error(error, s->b.path, "has more than %u backing files", BLOCK_BACKING_MAX);
        return false;
    }
    backing_path(s->b.path, name, path, sizeof path);
    bool has_format =
        backing_format(head, s->cluster_size < 4096 ? s->cluster_size : 4096, extensions, format);
    struct block_options o = {
        .path = path, .format = has_format ? format : NULL, .read_only = true};
    s->backing = block_open_depth(&o, depth + 1, &why);
    if (!s->backing)
        block_error(error, s->b.path, "its backing file: %s", why ? why : "no memory");
    free(why);
    return s->backing != NULL;
}

/* Whoever writes and does not know a feature clears its autoclear bit (bitmaps, for one). */
static int clear_autoclear(struct qcow2 *s, const u8 *head)
{
    static const u8 none[8];
    if (s->version < 3 || s->b.read_only || !be_load(head + AUTOCLEAR_AT, 8))
        return 0;
    return block_pwrite(s->fd, none, sizeof none, AUTOCLEAR_AT);
}

static bool read_header(struct qcow2 *s, const u8 *h, u64 file_size, char **error)
{
    s->version = (unsigned)be_load(h + 4, 4);
    s->cluster_bits = (unsigned)be_load(h + 20, 4);
    s->b.size = be_load(h + 24, 8) / BLOCK_SECTOR * BLOCK_SECTOR;
    s->refcount_order = s->version >= 3 ? (unsigned)be_load(h + 96, 4) : 4;
    u32 length = s->version >= 3 ? (u32)be_load(h + 100, 4) : HEADER_V2;
    if (!block_qcow2_probe(h, HEADER_V3) || file_size < HEADER_V2) {
        block_error(error, s->b.path, "is not a qcow2 image of version 2 or 3");
    } else if (s->cluster_bits < CLUSTER_BITS_MIN || s->cluster_bits > CLUSTER_BITS_MAX ||
               s->refcount_order > 6 || length < (s->version >= 3 ? HEADER_V3 : HEADER_V2) ||
               length > 1u << s->cluster_bits || !s->b.size || s->b.size >> 56) {
        block_error(error, s->b.path, "its header makes no sense");
    } else {
        s->cluster_size = 1ull << s->cluster_bits;
        return check_features(s, h, error);
    }
    return false;
}

struct block *block_qcow2_open(struct block_file *f, const struct block_options *o, unsigned depth,
                               char **error)
{
    u8 head[4096];
    struct qcow2 *s = block_new(sizeof *s, &qcow2_format, f->path, error);
    if (!s) {
        close(f->fd);
        return NULL;
    }
    pthread_mutex_init(&s->lock, NULL);
    s->fd = f->fd;
    s->free_hint = 1; /* whatever its refcount, the header stays */
    int status = block_pread(s->fd, head, sizeof head, 0);
    if (status)
        block_error(error, f->path, "%s", strerror(status));
    s->b.read_only = f->read_only;
    bool good = !status && read_header(s, head, f->size, error) &&
                read_tables(s, head, f->size, error) && open_backing(s, head, depth, error);
    status = good ? clear_autoclear(s, head) : 0;
    if (status)
        block_error(error, f->path, "%s", strerror(status));
    if (good && !status)
        return &s->b;
    s->b.read_only = true;
    qcow2_close(&s->b);
    return NULL;
}

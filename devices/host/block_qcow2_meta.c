/* qcow2's tables: caches of L2 tables and refcount blocks, reference counts, allocation, and the
 * order in which they reach the disk.
 *
 * Allocation looks upwards from the lowest cluster that may be free, so that the file has no holes
 * for long.  Refcounts that rise reach the disk before the tables that refer to what they count,
 * those that fall after: a power cut may leak clusters, but never leaves one that is referred to
 * uncounted or used for something else.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/host/block_qcow2.h"

/* The refcount table's size, in bytes, that we let it grow to. */
#define RT_BYTES_MAX (8u << 20)

/* ---- caches ---- */

static int write_table(struct qcow2 *s, struct cached_table *t)
{
    int error = t->dirty ? block_pwrite(s->fd, t->data, s->cluster_size, t->offset) : 0;
    if (!error)
        t->dirty = false;
    return error;
}

static int write_all(struct qcow2 *s, struct table_cache *c)
{
    int error = 0;
    for (unsigned i = 0; i < CACHED_TABLES && !error; i++)
        error = write_table(s, &c->table[i]);
    return error;
}

static struct cached_table *pick(struct table_cache *c, u64 offset)
{
    struct cached_table *oldest = &c->table[0];
    for (unsigned i = 0; i < CACHED_TABLES; i++) {
        struct cached_table *t = &c->table[i];
        if (t->offset == offset)
            return t;
        if (t->used < oldest->used)
            oldest = t;
    }
    return oldest;
}

/* The entry of `offset`, or a clean one that can be used for it (with another offset). */
static int find(struct qcow2 *s, struct table_cache *c, u64 offset, struct cached_table **out)
{
    struct cached_table *t = pick(c, offset);
    while (t->offset != offset && t->dirty) {
        int error = qcow2_write_back(s);
        if (error)
            return error;
        t = pick(c, offset); /* taking refcounts back has used the cache too */
    }
    if (!t->data)
        t->data = malloc(s->cluster_size);
    if (!t->data)
        return ENOMEM;
    t->used = ++c->clock;
    *out = t;
    return 0;
}

int qcow2_table(struct qcow2 *s, struct table_cache *c, u64 offset, struct cached_table **out)
{
    int error = offset && offset % s->cluster_size == 0 ? find(s, c, offset, out) : EIO;
    if (error || (*out)->offset == offset)
        return error;
    (*out)->offset = 0;
    error = block_pread(s->fd, (*out)->data, s->cluster_size, offset);
    if (!error)
        (*out)->offset = offset;
    return error;
}

int qcow2_new_table(struct qcow2 *s, struct table_cache *c, u64 offset, struct cached_table **out)
{
    int error = find(s, c, offset, out);
    if (error)
        return error;
    memset((*out)->data, 0, s->cluster_size);
    (*out)->offset = offset;
    (*out)->dirty = true;
    return 0;
}

void qcow2_cache_free(struct table_cache *c)
{
    for (unsigned i = 0; i < CACHED_TABLES; i++)
        free(c->table[i].data);
}

/* ---- write-back ---- */

static int sync_file(struct qcow2 *s)
{
    return fdatasync(s->fd) < 0 ? errno : 0;
}

/* A table of the header's, whole. */
static int write_words(struct qcow2 *s, const u64 *words, u64 count, u64 offset)
{
    u8 *buf = malloc(count * 8 + 1);
    if (!buf)
        return ENOMEM;
    for (u64 i = 0; i < count; i++)
        be_store(buf + 8 * i, words[i], 8);
    int error = block_pwrite(s->fd, buf, count * 8, offset);
    free(buf);
    return error;
}

/* Refcount blocks before the table that points to them. */
static int write_refcounts(struct qcow2 *s)
{
    int error = write_all(s, &s->refcounts);
    if (!error && s->rt_dirty) {
        error = sync_file(s);
        if (!error)
            error = write_words(s, s->rt, s->rt_size, s->rt_offset);
        if (!error)
            s->rt_dirty = false;
    }
    return error ? error : sync_file(s);
}

static bool any_dirty(const struct table_cache *c)
{
    for (unsigned i = 0; i < CACHED_TABLES; i++)
        if (c->table[i].dirty)
            return true;
    return false;
}

/* ---- reference counts ---- */

/* Refcounts that one block holds, as a power of two. */
static unsigned block_bits(const struct qcow2 *s)
{
    return s->cluster_bits + 3 - s->refcount_order;
}

static u64 refcount_get(const struct qcow2 *s, const u8 *block, u64 i)
{
    unsigned order = s->refcount_order;
    if (order >= 3)
        return be_load(block + (i << (order - 3)), 1u << (order - 3));
    unsigned bits = 1u << order, per_byte = 8 / bits;
    return block[i / per_byte] >> (i % per_byte * bits) & ((1u << bits) - 1);
}

static void refcount_put(const struct qcow2 *s, u8 *block, u64 i, u64 v)
{
    unsigned order = s->refcount_order;
    if (order >= 3) {
        be_store(block + (i << (order - 3)), v, 1u << (order - 3));
        return;
    }
    unsigned bits = 1u << order, per_byte = 8 / bits, shift = (unsigned)(i % per_byte) * bits;
    u8 mask = (u8)(((1u << bits) - 1) << shift);
    block[i / per_byte] = (u8)((block[i / per_byte] & ~mask) | (v << shift & mask));
}

/* Makes the refcount table longer by moving it behind all that is counted; the place it leaves is
 * released.  The new place lies within what the table covers then. */
static int grow_refcount_table(struct qcow2 *s, u64 index)
{
    u64 per_cluster = s->cluster_size / 8, size = s->rt_size * 3 / 2;
    if (size <= index)
        size = index + 1;
    size = (size + per_cluster - 1) / per_cluster * per_cluster;
    u64 clusters = size / per_cluster, start = s->rt_size << block_bits(s);
    if (size * 8 > RT_BYTES_MAX)
        return EFBIG;
    u64 *rt = calloc(size, 8);
    if (!rt)
        return ENOMEM;
    memcpy(rt, s->rt, s->rt_size * 8);
    /* The first blocks of the new part: they count themselves and the table. */
    u64 blocks = 0, per_block = 1ull << block_bits(s);
    while (blocks * per_block < clusters + blocks)
        blocks++;
    struct cached_table *t;
    int error = s->rt_size + blocks > size ? EFBIG : 0;
    for (u64 i = 0; i < blocks && !error; i++) {
        u64 offset = (start + i) << s->cluster_bits;
        error = qcow2_new_table(s, &s->refcounts, offset, &t);
        rt[s->rt_size + i] = offset;
        for (u64 n = 0; n < per_block && !error; n++)
            if (i * per_block + n < blocks + clusters)
                refcount_put(s, t->data, n, 1);
    }
    u64 old_offset = s->rt_offset, old_bytes = s->rt_size * 8;
    u64 new_offset = (start + blocks) << s->cluster_bits;
    /* The new table must be complete before the header names it. */
    if (!error)
        error = write_all(s, &s->refcounts);
    if (!error)
        error = write_words(s, rt, size, new_offset);
    if (!error)
        error = sync_file(s);
    u8 header[12];
    be_store(header, new_offset, 8);
    be_store(header + 8, clusters, 4);
    if (!error)
        error = block_pwrite(s->fd, header, sizeof header, 48);
    if (!error)
        error = sync_file(s);
    if (error) {
        free(rt);
        return error;
    }
    free(s->rt);
    s->rt = rt;
    s->rt_size = size;
    s->rt_offset = new_offset;
    s->rt_dirty = false;
    return qcow2_release(s, old_offset, old_bytes);
}

/* The refcount block of a cluster; made where there is none: it is then the block's first free
 * cluster itself. */
static int refcount_block(struct qcow2 *s, u64 cluster, struct cached_table **out)
{
    u64 index = cluster >> block_bits(s);
    int error = index >= s->rt_size ? grow_refcount_table(s, index) : 0;
    if (error)
        return error;
    if (s->rt[index])
        return qcow2_table(s, &s->refcounts, s->rt[index], out);
    u64 first = index << block_bits(s);
    error = qcow2_new_table(s, &s->refcounts, first << s->cluster_bits, out);
    if (error)
        return error;
    refcount_put(s, (*out)->data, 0, 1);
    s->rt[index] = first << s->cluster_bits;
    s->rt_dirty = true;
    return 0;
}

int qcow2_alloc(struct qcow2 *s, u64 *offset)
{
    u64 per_block = 1ull << block_bits(s);
    for (u64 cluster = s->free_hint;; cluster++) {
        struct cached_table *t;
        if (cluster >= OFFSET_MASK >> s->cluster_bits)
            return EFBIG;
        int error = refcount_block(s, cluster, &t);
        if (error)
            return error;
        u64 i = cluster % per_block;
        while (i < per_block && refcount_get(s, t->data, i))
            i++;
        cluster = cluster / per_block * per_block + i;
        if (i == per_block) {
            cluster--; /* the loop goes on with the next block */
            continue;
        }
        refcount_put(s, t->data, i, 1);
        t->dirty = true;
        s->free_hint = cluster + 1;
        *offset = cluster << s->cluster_bits;
        return 0;
    }
}

/* ---- write-back of everything ---- */

/* Takes one from a cluster's refcount. */
static int refcount_drop(struct qcow2 *s, u64 cluster)
{
    u64 index = cluster >> block_bits(s), i = cluster & ((1ull << block_bits(s)) - 1);
    struct cached_table *t;
    int error =
        index < s->rt_size && s->rt[index] ? qcow2_table(s, &s->refcounts, s->rt[index], &t) : EIO;
    u64 count = error ? 0 : refcount_get(s, t->data, i);
    if (error || !count)
        return EIO;
    refcount_put(s, t->data, i, count - 1);
    t->dirty = true;
    if (count == 1 && cluster && cluster < s->free_hint)
        s->free_hint = cluster;
    return 0;
}

static int drop_released(struct qcow2 *s)
{
    int error = 0;
    while (s->released_count && !error) {
        struct qcow2_span span = s->released[--s->released_count];
        u64 end = (span.offset + span.bytes - 1) >> s->cluster_bits;
        for (u64 c = span.offset >> s->cluster_bits; c <= end && !error; c++)
            error = refcount_drop(s, c);
    }
    return error;
}

int qcow2_write_back(struct qcow2 *s)
{
    int error = write_refcounts(s);
    if (!error && any_dirty(&s->l2)) {
        error = write_all(s, &s->l2);
        if (!error)
            error = sync_file(s);
    }
    if (!error && s->l1_dirty) {
        error = write_words(s, s->l1, s->l1_size, s->l1_offset);
        if (!error)
            error = sync_file(s);
        if (!error)
            s->l1_dirty = false;
    }
    return error ? error : drop_released(s);
}

int qcow2_release(struct qcow2 *s, u64 offset, u64 bytes)
{
    int error = s->released_count == QCOW2_RELEASED_MAX ? qcow2_write_back(s) : 0;
    if (!error && bytes)
        s->released[s->released_count++] = (struct qcow2_span){offset, bytes};
    return error;
}

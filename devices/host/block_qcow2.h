/* What the two files of qcow2 share; nobody else includes this.
 *
 * Format: QEMU, docs/interop/qcow2.txt.  Numbers in the file are big-endian.
 */
#ifndef DRAGOMAN_DEVICES_HOST_BLOCK_QCOW2_H
#define DRAGOMAN_DEVICES_HOST_BLOCK_QCOW2_H

#include <pthread.h>

#include "devices/host/block_int.h"

#define L1_COPIED (1ull << 63)
#define L2_COPIED (1ull << 63) /* the cluster's refcount is 1: it may be written in place */
#define L2_COMPRESSED (1ull << 62)
#define L2_ZERO 1ull
#define OFFSET_MASK 0x00fffffffffffe00ull

/* Tables of one cluster each (L2 tables, refcount blocks) held in memory and written back. */
#define CACHED_TABLES 64u
#define QCOW2_RELEASED_MAX 256u

struct table_cache {
    struct cached_table {
        u64 offset; /* in the file; 0: unused */
        u8 *data;   /* one cluster, owned */
        u64 used;   /* when last */
        bool dirty;
    } table[CACHED_TABLES];
    u64 clock;
};

struct qcow2 {
    struct block b;
    pthread_mutex_t lock; /* held during each access */
    int fd;
    unsigned version, cluster_bits, refcount_order;
    u64 cluster_size;
    u64 *l1; /* host byte order */
    u32 l1_size;
    u64 l1_offset;
    bool l1_dirty;
    u64 *rt;                /* refcount table, host byte order */
    u64 rt_offset, rt_size; /* entries */
    bool rt_dirty;
    u64 free_hint; /* no cluster below this number is free */
    struct qcow2_span {
        u64 offset, bytes;
    } released[QCOW2_RELEASED_MAX]; /* refcounts to take back after the next write-back */
    unsigned released_count;
    struct table_cache l2, refcounts;
    struct block *backing; /* or NULL */
    u8 *bounce, *packed;   /* a cluster each; packed: two */
};

static inline u64 be_load(const u8 *p, unsigned bytes)
{
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static inline void be_store(u8 *p, u64 v, unsigned bytes)
{
    for (unsigned i = bytes; i--; v >>= 8)
        p[i] = (u8)v;
}

/* ---- block_qcow2_meta.c; all return 0 or an errno value, lock held ---- */

/* The table at `offset`, from the cache or the file. */
int qcow2_table(struct qcow2 *s, struct table_cache *c, u64 offset, struct cached_table **out);
/* The same without reading it: zeroed and dirty. */
int qcow2_new_table(struct qcow2 *s, struct table_cache *c, u64 offset, struct cached_table **out);
/* Finds a free cluster and gives it a refcount of 1; its offset in the file. */
int qcow2_alloc(struct qcow2 *s, u64 *offset);
/* Takes one from the refcount of each cluster that [offset, offset + bytes) touches, once what
 * refers to them no longer does so on the disk either. */
int qcow2_release(struct qcow2 *s, u64 offset, u64 bytes);
/* Writes all tables in an order that leaves a consistent image wherever it is cut short, and
 * waits for stable storage. */
int qcow2_write_back(struct qcow2 *s);
void qcow2_cache_free(struct table_cache *c);

#endif

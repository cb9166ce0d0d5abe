/* The flat view of an address space: sorted ranges that do not overlap, made from prioritised
 * regions.  Readers take no lock; writers hold the machine lock.
 */
#ifndef DRAGOMAN_MMU_VIEW_H
#define DRAGOMAN_MMU_VIEW_H

#include <stdatomic.h>

#include "base/types.h"
#include "mmu/bus.h"

enum region_kind { REGION_RAM, REGION_MMIO, REGION_PERCPU, REGION_PORTS };

struct space;

struct region {
    struct region *next; /* in its space, unordered */
    struct bus *bus;
    struct space *space;
    char name[40];
    enum region_kind kind;
    u64 address, size;
    bool enabled, readable, writable;
    u8 views;            /* BUS_IN_* */
    int priority;
    u64 order;           /* of creation: the later wins among equals */
    u8 *host;            /* RAM: address of its first byte */
    const struct bus_ops *ops;
    void *opaque;
    void **opaques;      /* per CPU, `count` of them */
    unsigned count;
};

/* What one stretch of addresses is.  A copy of all that an access needs, so that it stays
 * consistent while a region moves; region is NULL where nothing is mapped. */
struct view_range {
    u64 start, last; /* inclusive */
    u64 offset;      /* region offset of `start` */
    struct region *region;
    u8 *host;        /* RAM: host address of `start`, else NULL */
    u64 access;      /* RANGE_READ | RANGE_WRITE: what RAM allows */
};
#define RANGE_READ 1u
#define RANGE_WRITE 2u

static inline bool view_range_has_page(const struct view_range *r, u64 addr)
{
    return addr >= r->start && addr + (PAGE_SIZE - 1) <= r->last;
}

/* A view that is no longer current is used again for a later one; `seq` is odd while it is being
 * written, and readers who saw it change start over.  So memory stays bounded however often a
 * guest moves a region, and readers write nothing. */
struct view {
    _Atomic u32 seq;
    u32 capacity;
    u32 count;
    u32 big[2]; /* the two longest RAM ranges: nearly all look-ups end there */
    struct view_range ranges[];
};

#define SPACE_VIEWS 4

struct view_set {
    struct view *_Atomic current;
    struct view *views[SPACE_VIEWS];
    unsigned turn;
};

struct space {
    struct region *regions;
    unsigned count;
    struct view_set sets[BUS_VIEWS];
    unsigned set_count; /* 1, or BUS_VIEWS */
    struct view **retired; /* outgrown views, kept until readers are surely gone */
    unsigned retired_count;
};

/* `sets`: 1, or BUS_VIEWS if regions may be in some views only. */
bool space_init(struct space *s, unsigned sets);
/* Frees the views and the regions. */
void space_free(struct space *s);
/* Makes room for `regions` regions; false when the host has no memory. */
bool space_grow(struct space *s, unsigned regions);
/* Builds and publishes the views of the enabled regions.  Machine lock held. */
void space_update(struct space *s);
/* Fast path of space_find: true if one of the two longest RAM ranges has the page at addr; then its
 * start, last, host and access. */
static inline bool space_find_big(const struct space *s, unsigned set, u64 addr,
                                  struct view_range *out)
{
    const struct view *v = atomic_load_explicit(&s->sets[set].current, memory_order_acquire);
    u32 seq = atomic_load_explicit(&v->seq, memory_order_acquire);
    bool found = false;
    for (unsigned i = 0; i < 2 && !found; i++) {
        const struct view_range *r = &v->ranges[__atomic_load_n(&v->big[i], __ATOMIC_RELAXED)];
        out->start = __atomic_load_n(&r->start, __ATOMIC_RELAXED);
        out->last = __atomic_load_n(&r->last, __ATOMIC_RELAXED);
        out->host = __atomic_load_n(&r->host, __ATOMIC_RELAXED);
        out->access = __atomic_load_n(&r->access, __ATOMIC_RELAXED);
        found = out->host && view_range_has_page(out, addr);
    }
    atomic_thread_fence(memory_order_acquire);
    return found && !(seq & 1) && atomic_load_explicit(&v->seq, memory_order_relaxed) == seq;
}

/* The range that addr is in (a gap too), in view `set`.  From any thread, without locks. */
void space_find(const struct space *s, unsigned set, u64 addr, struct view_range *out);

#endif

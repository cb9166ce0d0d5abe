/* struct bus, for the files of mmu/ only. */
#ifndef DRAGOMAN_MMU_BUS_PRIVATE_H
#define DRAGOMAN_MMU_BUS_PRIVATE_H

#include <pthread.h>

#include "mmu/bus.h"
#include "mmu/ram.h"
#include "mmu/ram_ahead.h"
#include "mmu/view.h"

#define BUS_MAX_MMUS 256u
#define TAGGED_PLACES 4u

/* What a TLB miss wants to know of a RAM page. */
struct ram_page {
    _Atomic u64 marks;  /* one bit per 64-byte granule with code */
    _Atomic u32 places[TAGGED_PLACES]; /* where TLBs may have write tags for it: tagged.c */
};

struct bus {
    pthread_mutex_t lock;
    struct ram_arena ram;
    struct ram_ahead ahead;
    struct ram_page *pages; /* of the arena */
    _Atomic u8 *cooling;    /* per RAM page that had code: stores until it is as others again */
    struct space memory, ports;
    _Atomic u8 *written;    /* per RAM page: it may have been stored to (written.h) */
    u64 next_order;
    _Atomic u64 a20_mask;
    struct code_hook hook;
    struct mmu *_Atomic mmus[BUS_MAX_MMUS];
    _Atomic unsigned mmu_count; /* slots of mmus that were ever used */
};

/* What lies at a physical address in the view that its BUS_SMM bits choose; returns the address
 * without them. */
u64 bus_find(struct bus *b, u64 gpa, struct view_range *out);

static inline struct ram_page *bus_ram_page(const struct bus *b, const u8 *host)
{
    return &b->pages[ram_arena_page(&b->ram, host)];
}

static inline u64 bus_a20(const struct bus *b)
{
    return atomic_load_explicit(&b->a20_mask, memory_order_relaxed);
}

/* What bus_page gives, for a page of the two longest RAM ranges; false for others. */
static inline bool bus_big_page(struct bus *b, u64 gpa, struct bus_page *page)
{
    struct view_range r;
    gpa &= bus_a20(b) & PAGE_MASK;
    if (unlikely(gpa & BUS_SMM) || !space_find_big(&b->memory, 0, gpa, &r))
        return false;
    u8 *host = r.host + (gpa - r.start);
    page->read = r.access & RANGE_READ ? host : NULL;
    page->write = r.access & RANGE_WRITE ? host : NULL;
    return true;
}

static inline struct bus_page bus_page_of(struct bus *b, u64 gpa)
{
    struct bus_page page;
    return likely(bus_big_page(b, gpa, &page)) ? page : bus_page(b, gpa);
}

#endif

/* struct bus, for the files of mmu/ only. */
#ifndef DRAGOMAN_MMU_BUS_PRIVATE_H
#define DRAGOMAN_MMU_BUS_PRIVATE_H

#include <pthread.h>

#include "mmu/bus.h"
#include "mmu/ram.h"
#include "mmu/view.h"

#define BUS_MAX_MMUS 256u

struct bus {
    pthread_mutex_t lock;
    struct ram_arena ram;
    _Atomic u64 *marks;     /* per RAM page: one bit per 64-byte granule with code */
    _Atomic u8 *tagged;     /* per RAM page: TAGGED_, where TLBs may have a write tag for it */
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

#endif

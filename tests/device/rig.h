/* What every chip's test stands on: a bus, a stepped clock, a probe for pins. */
#ifndef DRAGOMAN_TESTS_DEVICE_RIG_H
#define DRAGOMAN_TESTS_DEVICE_RIG_H

#include <check.h>
#include <stdlib.h>

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"
#include "tests/suite.h"

struct rig {
    struct bus *bus;
    struct clock clock;
};

static inline void rig_make(struct rig *r)
{
    r->bus = bus_create();
    ck_assert_ptr_nonnull(r->bus);
    clock_init(&r->clock, CLOCK_STEPPED);
}

static inline void rig_free(struct rig *r)
{
    bus_destroy(r->bus);
}

static inline u32 in8(struct rig *r, u16 port)
{
    return bus_in(r->bus, 0, port, 1);
}

static inline void out8(struct rig *r, u16 port, u32 value)
{
    bus_out(r->bus, 0, port, value, 1);
}

static inline u32 rd32(struct rig *r, u64 gpa)
{
    return (u32)bus_read(r->bus, 0, gpa, 4);
}

static inline void wr32(struct rig *r, u64 gpa, u32 value)
{
    bus_write(r->bus, 0, gpa, value, 4);
}

/* The far end of a pin. */
struct probe {
    bool level;
    unsigned rises, falls;
};

static inline void probe_fn(void *opaque, unsigned n, bool level)
{
    struct probe *p = (struct probe *)opaque + n;
    p->rises += level && !p->level;
    p->falls += !level && p->level;
    p->level = level;
}

/* A pin that ends at p[n]. */
static inline struct pin probe_pin(struct probe *p, unsigned n)
{
    return (struct pin){probe_fn, p, n};
}

#endif

/* What the tests of the I/O chips share: a bus, a stepped clock, wires that remember. */
#ifndef DRAGOMAN_TESTS_DEVICE_IO_FIXTURE_H
#define DRAGOMAN_TESTS_DEVICE_IO_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"
#include "tests/suite.h"

#define WIRES 32

struct wires {
    bool level[WIRES];
    unsigned rises[WIRES];
};

static inline void wire_set(void *opaque, unsigned n, bool level)
{
    struct wires *w = opaque;
    if (level && !w->level[n])
        w->rises[n]++;
    w->level[n] = level;
}

static inline struct pin wire(struct wires *w, unsigned n)
{
    return (struct pin){wire_set, w, n};
}

static inline u32 in8(struct bus *b, u16 port)
{
    return bus_in(b, 0, port, 1);
}

static inline void out8(struct bus *b, u16 port, u32 value)
{
    bus_out(b, 0, port, value, 1);
}

#endif

/* The contract between chips, board and tests: pins, the device descriptor.
 *
 * A chip is a plain struct that the board (or a test) owns.  It is made by its x_init function,
 * which claims regions on the bus and keeps the output pins it was given; it knows no other chip
 * and no CPU.  All calls into a chip are made under the machine lock.
 */
#ifndef DRAGOMAN_DEVICES_DEVICE_H
#define DRAGOMAN_DEVICES_DEVICE_H

#include "base/fields.h"
#include "base/types.h"

/* One end of a wire: calling it tells the other end the level.  A pin without fn is unconnected. */
struct pin {
    void (*fn)(void *opaque, unsigned n, bool level);
    void *opaque;
    unsigned n;
};

static inline void pin_set(const struct pin *p, bool level)
{
    if (p->fn)
        p->fn(p->opaque, p->n, level);
}

/* What the board needs to know of a chip; one const instance at the bottom of each chip's file. */
struct device_class {
    const char *name;          /* "i8259" */
    const char *description;   /* "interrupt controller" */
    void (*reset)(void *state);
    const struct field *fields; /* all state that a snapshot must hold */
    void (*loaded)(void *state); /* after fields_load: recompute what is derived; may be NULL */
};

#endif

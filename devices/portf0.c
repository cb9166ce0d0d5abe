/* Coprocessor error logic of the AT, as part of the 82371SB: FERR# raises IRQ 13; a write to port
 * F0 takes the interrupt back and asserts IGNNE# until the processor negates FERR#.
 *
 * Reference: 82371SB data sheet 290550, coprocessor error register (F0h); SDM vol. 1 appendix D.2.
 * Left out: switching the function off (XBCS bit 5), a reset of the coprocessor by port F1, which
 * processors since the 80486 do not have.
 */
#include "devices/portf0.h"

enum { PORT_CLEAR = 0xf0, PORT_COUNT = 2 };

static void drive(struct portf0 *s)
{
    pin_set(&s->irq13, s->waiting);
    pin_set(&s->ignne, s->ignoring);
}

/* ---- reset ---- */

static void portf0_reset(void *state)
{
    struct portf0 *s = state;
    s->ferr = s->waiting = s->ignoring = false;
    drive(s);
}

/* ---- read ---- */

static u64 portf0_read(void *opaque, u64 offset, unsigned size)
{
    return 0xff;
}

/* ---- write ---- */

static void portf0_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct portf0 *s = opaque;
    if (offset)
        return;
    s->waiting = false;
    s->ignoring = s->ferr;
    drive(s);
}

static const struct bus_ops portf0_ops = {portf0_read, portf0_write, 1, 1};

void portf0_set_ferr(void *opaque, unsigned n, bool level)
{
    struct portf0 *s = opaque;
    if (level && !s->ferr)
        s->waiting = true;
    if (!level)
        s->ignoring = false;
    s->ferr = level;
    drive(s);
}

void portf0_init(struct portf0 *s, struct bus *b, const struct pin *irq13, const struct pin *ignne)
{
    *s = (struct portf0){.irq13 = *irq13, .ignne = *ignne};
    bus_map_ports(b, "portf0", PORT_CLEAR, PORT_COUNT, &portf0_ops, s);
}

/* ---- state ---- */

static void portf0_loaded(void *state)
{
    struct portf0 *s = state;
    s->ferr = s->ferr != 0;
    s->waiting = s->waiting != 0;
    s->ignoring = s->ignoring != 0;
    drive(s);
}

static const struct field portf0_fields[] = {
    FIELD(struct portf0, ferr), FIELD(struct portf0, waiting), FIELD(struct portf0, ignoring),
    FIELD_END,
};

const struct device_class portf0_class = {
    .name = "portf0",
    .description = "coprocessor errors",
    .reset = portf0_reset,
    .fields = portf0_fields,
    .loaded = portf0_loaded,
};

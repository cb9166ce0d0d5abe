/* The debug console of Bochs and QEMU: a byte written to port 0xE9 is printed.
 *
 * Reference: QEMU's -debugcon and isa-debugcon; Bochs "port 0xE9 hack".  Left out: nothing.
 */
#include "devices/debugcon.h"

#include "devices/host/chardev.h"

enum { DEBUGCON_READBACK = 0xe9 };

/* ---- reset ---- */

static void debugcon_reset(void *state)
{
    struct debugcon *s = state;
    s->readback = DEBUGCON_READBACK;
}

/* ---- read ---- */

static u64 debugcon_read(void *opaque, u64 offset, unsigned size)
{
    return ((struct debugcon *)opaque)->readback;
}

/* ---- write ---- */

static void debugcon_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct debugcon *s = opaque;
    u8 byte = (u8)value;
    /* The port cannot say busy: what the host does not take is lost. */
    if (s->chardev)
        chardev_write(s->chardev, &byte, 1);
}

static const struct bus_ops debugcon_ops = {debugcon_read, debugcon_write, 1, 1};

void debugcon_init(struct debugcon *s, struct bus *b, u16 port, struct chardev *chardev)
{
    *s = (struct debugcon){.chardev = chardev};
    debugcon_reset(s);
    bus_map_ports(b, "debugcon", port, 1, &debugcon_ops, s);
}

/* ---- state ---- */

static const struct field debugcon_fields[] = {FIELD(struct debugcon, readback), FIELD_END};

const struct device_class debugcon_class = {
    .name = "isa-debugcon",
    .description = "debug console",
    .reset = debugcon_reset,
    .fields = debugcon_fields,
};

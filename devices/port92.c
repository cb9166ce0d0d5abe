/* System control port A (port 0x92): bit 0 resets the processor, bit 1 is gate A20.
 *
 * Reference: IBM Personal System/2 Hardware Interface Technical Reference, system control port A;
 * 82371SB data sheet 290550, section 2.5.5.  Left out: the disk lamp and the password lock.
 */
#include "devices/port92.h"

#include "base/log.h"

enum {
    PORT_CONTROL_A = 0x92,
    CONTROL_RESET = BIT(0),
    CONTROL_A20 = BIT(1),
};

/* ---- reset ---- */

static void port92_reset(void *state)
{
    struct port92 *s = state;
    /* The gate is open after reset: the reset vector lies above 1 MiB. */
    s->value = CONTROL_A20;
    pin_set(&s->a20, true);
}

/* ---- read ---- */

static u64 port92_read(void *opaque, u64 offset, unsigned size)
{
    return ((struct port92 *)opaque)->value;
}

/* ---- write ---- */

static void port92_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct port92 *s = opaque;
    bool fire = (value & CONTROL_RESET) && !(s->value & CONTROL_RESET);
    s->value = (u8)value;
    pin_set(&s->a20, value & CONTROL_A20);
    if (fire) {
        log_event(reset, "port 0x92: INIT");
        pin_set(&s->init, true);
        pin_set(&s->init, false);
    }
}

static const struct bus_ops port92_ops = {port92_read, port92_write, 1, 1};

void port92_init(struct port92 *s, struct bus *b, const struct pin *a20, const struct pin *init)
{
    *s = (struct port92){.a20 = *a20, .init = *init, .value = CONTROL_A20};
    bus_map_ports(b, "port92", PORT_CONTROL_A, 1, &port92_ops, s);
}

/* ---- state ---- */

static void port92_loaded(void *state)
{
    struct port92 *s = state;
    pin_set(&s->a20, s->value & CONTROL_A20);
}

static const struct field port92_fields[] = {FIELD(struct port92, value), FIELD_END};

const struct device_class port92_class = {
    .name = "port92",
    .description = "fast A20 and reset",
    .reset = port92_reset,
    .fields = port92_fields,
    .loaded = port92_loaded,
};

/* QEMU's isa-debug-exit: writing v ends the emulator with status (v << 1) | 1.
 *
 * Reference: QEMU's -device isa-debug-exit.  Left out: nothing; the device has no state.
 */
#include "devices/isa_debug_exit.h"

/* ---- reset ---- */

static void isa_debug_exit_reset(void *state)
{
}

/* ---- read ---- */

static u64 isa_debug_exit_read(void *opaque, u64 offset, unsigned size)
{
    return 0;
}

/* ---- write ---- */

static void isa_debug_exit_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct isa_debug_exit *s = opaque;
    if (s->exit)
        s->exit(s->opaque, (u32)value << 1 | 1);
}

static const struct bus_ops isa_debug_exit_ops = {isa_debug_exit_read, isa_debug_exit_write, 1, 4};

void isa_debug_exit_init(struct isa_debug_exit *s, struct bus *b, u16 port, unsigned size,
                         void (*exit)(void *opaque, u32 status), void *opaque)
{
    *s = (struct isa_debug_exit){.exit = exit, .opaque = opaque};
    bus_map_ports(b, "isa-debug-exit", port, size, &isa_debug_exit_ops, s);
}

/* ---- state ---- */

static const struct field isa_debug_exit_fields[] = {FIELD_END};

const struct device_class isa_debug_exit_class = {
    .name = "isa-debug-exit",
    .description = "exit on a port write",
    .reset = isa_debug_exit_reset,
    .fields = isa_debug_exit_fields,
};

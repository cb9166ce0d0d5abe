/* QEMU's pc-testdev, the machine side of kvm-unit-tests.
 *
 * Reference: the tests' own use of it, and QEMU's -device pc-testdev:
 *   0xE0-0xE3     a latch, to try accesses of each width
 *   0xE4-0xE7     takes an address whose page the host is to drop from its mappings for a moment
 *   0x2000-0x2017 one byte per interrupt line: its level
 *   0xFF000000    64 KiB that behave as memory, behind MMIO
 * Left out: dropping the page has no effect here.  It tests a host's shadow page tables, and what
 * the guest may see of it is nothing.
 */
#include "devices/pc_testdev.h"

enum {
    PORT_LATCH = 0xe0,
    PORT_FLUSH = 0xe4,
    PORT_LINES = 0x2000,
    MEMORY_SIZE = 0x10000,
};

#define MEMORY_BASE 0xff000000u

/* ---- reset ---- */

static void pc_testdev_reset(void *state)
{
    struct pc_testdev *s = state;
    s->ioport = 0;
    memset(s->memory, 0, sizeof s->memory);
    for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++)
        if (s->lines & BIT(i))
            pin_set(&s->irq[i], false);
    s->lines = 0;
}

/* ---- read ---- */

static u64 latch_read(void *opaque, u64 offset, unsigned size)
{
    struct pc_testdev *s = opaque;
    return s->ioport >> (8 * (offset & 3)) & size_mask(size);
}

static u64 nothing_read(void *opaque, u64 offset, unsigned size)
{
    return 0;
}

static u64 memory_read(void *opaque, u64 offset, unsigned size)
{
    struct pc_testdev *s = opaque;
    return offset + size <= MEMORY_SIZE ? load_le(&s->memory[0][0] + offset, size)
                                        : size_mask(size);
}

/* ---- write ---- */

static void latch_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct pc_testdev *s = opaque;
    unsigned shift = 8 * (unsigned)(offset & 3);
    u32 mask = (u32)size_mask(size) << shift;
    s->ioport = (s->ioport & ~mask) | ((u32)value << shift & mask);
}

static void flush_write(void *opaque, u64 offset, u64 value, unsigned size)
{
}

static void lines_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct pc_testdev *s = opaque;
    if (offset >= PC_TESTDEV_IRQS)
        return;
    s->lines = (s->lines & ~BIT(offset)) | (value ? BIT(offset) : 0);
    pin_set(&s->irq[offset], value != 0);
}

static void memory_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct pc_testdev *s = opaque;
    if (offset + size <= MEMORY_SIZE)
        store_le(&s->memory[0][0] + offset, value, size);
}

static const struct bus_ops latch_ops = {latch_read, latch_write, 1, 4};
static const struct bus_ops flush_ops = {nothing_read, flush_write, 4, 4};
static const struct bus_ops lines_ops = {nothing_read, lines_write, 1, 1};
static const struct bus_ops memory_ops = {memory_read, memory_write, 1, 8};

void pc_testdev_init(struct pc_testdev *s, struct bus *b, const struct pin irq[PC_TESTDEV_IRQS])
{
    memset(s, 0, sizeof *s);
    memcpy(s->irq, irq, sizeof s->irq);
    bus_map_ports(b, "pc-testdev-ioport", PORT_LATCH, 4, &latch_ops, s);
    bus_map_ports(b, "pc-testdev-flush", PORT_FLUSH, 4, &flush_ops, s);
    bus_map_ports(b, "pc-testdev-irq", PORT_LINES, PC_TESTDEV_IRQS, &lines_ops, s);
    bus_map_mmio(b, "pc-testdev-memory", MEMORY_BASE, MEMORY_SIZE, &memory_ops, s, 0);
}

/* ---- state ---- */

static void pc_testdev_loaded(void *state)
{
    struct pc_testdev *s = state;
    for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++)
        pin_set(&s->irq[i], s->lines & BIT(i));
}

static const struct field pc_testdev_fields[] = {
    FIELD(struct pc_testdev, ioport), FIELD(struct pc_testdev, lines),
    FIELD_ARRAY(struct pc_testdev, memory), FIELD_END};

const struct device_class pc_testdev_class = {
    .name = "pc-testdev",
    .description = "device of the kvm-unit-tests",
    .reset = pc_testdev_reset,
    .fields = pc_testdev_fields,
    .loaded = pc_testdev_loaded,
};

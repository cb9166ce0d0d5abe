/* QEMU's pci-testdev, 1b36:0005: a header per BAR that describes which write to try, and counts.
 *
 * Specification: docs/specs/pci-testdev.rst in QEMU's documentation.  The tests differ in how a
 * host catches the write (eventfd); here all go the same way, and all are counted.
 * Left out: nothing that a guest can see.
 */
#include "devices/pci_testdev.h"

enum {
    HEADER_TEST = 0,
    HEADER_WIDTH = 1,
    HEADER_OFFSET = 4,
    HEADER_DATA = 8,
    HEADER_COUNT = 12,
    HEADER_NAME = 16,
    HEADER_SIZE = 64,
    MEMORY_SIZE = 4096,
    IO_SIZE = 256,
    MEMORY_WRITES = 2048, /* where the first test's write goes, one byte per test */
    IO_WRITES = 128,
    WRITE_DATA = 0xfa,
    WRITE_DATA_ANY = 0xce, /* what the wildcard test suggests */
    TEST_WILDCARD = 1,
    TEST_DATAMATCH = 2, /* counts only writes of WRITE_DATA */
};

static const char *const names[2][PCI_TESTDEV_TESTS] = {
    {"mmio-no-eventfd", "mmio-wildcard-eventfd", "mmio-datamatch-eventfd"},
    {"portio-no-eventfd", "portio-wildcard-eventfd", "portio-datamatch-eventfd"},
};

static unsigned write_offset(const struct pci_testdev_bar *bar)
{
    return (bar->io ? IO_WRITES : MEMORY_WRITES) + bar->test;
}

/* ---- reset ---- */

static void pci_testdev_reset(void *state)
{
    struct pci_testdev *s = state;
    pci_function_reset(&s->pci);
    for (unsigned i = 0; i < 2; i++)
        s->bar[i] = (struct pci_testdev_bar){.io = (u8)i, .test = PCI_TESTDEV_TESTS};
}

/* ---- read ---- */

static u64 bar_read(void *opaque, u64 offset, unsigned size)
{
    const struct pci_testdev_bar *bar = opaque;
    u8 header[HEADER_SIZE] = {0};
    if (bar->test >= PCI_TESTDEV_TESTS || offset + size > HEADER_SIZE)
        return 0;
    header[HEADER_TEST] = bar->test;
    header[HEADER_WIDTH] = 1;
    store_le(header + HEADER_OFFSET, write_offset(bar), 4);
    store_le(header + HEADER_DATA, bar->test == TEST_WILDCARD ? WRITE_DATA_ANY : WRITE_DATA, 4);
    store_le(header + HEADER_COUNT, bar->count, 4);
    memcpy(header + HEADER_NAME, names[bar->io][bar->test], strlen(names[bar->io][bar->test]));
    return load_le(header + offset, size);
}

/* ---- write ---- */

static void bar_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct pci_testdev_bar *bar = opaque;
    if (offset == HEADER_TEST) {
        bar->test = value < PCI_TESTDEV_TESTS ? (u8)value : PCI_TESTDEV_TESTS;
        bar->count = 0;
    } else if (bar->test < PCI_TESTDEV_TESTS && offset == write_offset(bar) && size == 1 &&
               (bar->test != TEST_DATAMATCH || (u8)value == WRITE_DATA)) {
        bar->count++;
    }
}

static const struct bus_ops bar_ops = {bar_read, bar_write, 1, 4};

void pci_testdev_init(struct pci_testdev *s, struct pci_bus *p, struct bus *b, u8 devfn,
                      u64 membar)
{
    memset(s, 0, sizeof *s);
    pci_function_init(&s->pci, p, "PCI test device", devfn, 0x1b360005, 0x00ff00, 0);
    pci_config_init(&s->pci, PCI_SUBSYSTEM_VENDOR, 4, 0x11001af4, 0);
    pci_bar_init(&s->pci, 0, PCI_BAR_MEM32, MEMORY_SIZE, false);
    pci_bar_add_region(&s->pci, 0,
                       bus_map_mmio(b, "pci-testdev-mmio", 0, MEMORY_SIZE, &bar_ops, &s->bar[0],
                                    PCI_BAR_PRIORITY),
                       0);
    pci_bar_init(&s->pci, 1, PCI_BAR_IO, IO_SIZE, false);
    pci_bar_add_region(&s->pci, 1,
                       bus_map_ports(b, "pci-testdev-io", 0, IO_SIZE, &bar_ops, &s->bar[1]), 0);
    if (membar)
        pci_bar_init(&s->pci, 2, PCI_BAR_MEM64, membar, true);
    pci_testdev_reset(s);
}

/* ---- state ---- */

static void pci_testdev_loaded(void *state)
{
    struct pci_testdev *s = state;
    pci_function_loaded(&s->pci);
}

static const struct field pci_testdev_fields[] = {
    PCI_FIELDS(struct pci_testdev, pci),
    FIELD(struct pci_testdev, bar[0].test), FIELD(struct pci_testdev, bar[0].count),
    FIELD(struct pci_testdev, bar[1].test), FIELD(struct pci_testdev, bar[1].count),
    FIELD_END};

const struct device_class pci_testdev_class = {
    .name = "pci-testdev",
    .description = "PCI test device",
    .reset = pci_testdev_reset,
    .fields = pci_testdev_fields,
    .loaded = pci_testdev_loaded,
};

/* QEMU's pci-testdev: a PCI function for testing low-level I/O. */
#ifndef DRAGOMAN_DEVICES_PCI_TESTDEV_H
#define DRAGOMAN_DEVICES_PCI_TESTDEV_H

#include "devices/pci.h"

#define PCI_TESTDEV_TESTS 3 /* for each of memory and I/O */

struct pci_testdev;

/* One of the two BARs with tests. */
struct pci_testdev_bar {
    u8 io;       /* 0 memory, 1 I/O */
    u8 test;     /* running; PCI_TESTDEV_TESTS: none */
    u32 count;   /* writes seen by it */
};

struct pci_testdev {
    struct pci_function pci;
    struct pci_testdev_bar bar[2];
};

/* Puts the device at devfn.  A nonzero membar (a power of two) makes BAR 2 a 64-bit prefetchable
 * memory BAR of that size with nothing behind it. */
void pci_testdev_init(struct pci_testdev *s, struct pci_bus *p, struct bus *b, u8 devfn,
                      u64 membar);

extern const struct device_class pci_testdev_class;

#endif

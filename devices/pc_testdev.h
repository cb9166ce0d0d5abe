/* QEMU's pc-testdev: what kvm-unit-tests needs of its machine. */
#ifndef DRAGOMAN_DEVICES_PC_TESTDEV_H
#define DRAGOMAN_DEVICES_PC_TESTDEV_H

#include "devices/device.h"
#include "mmu/bus.h"

#define PC_TESTDEV_IRQS 24

struct pc_testdev {
    struct pin irq[PC_TESTDEV_IRQS]; /* interrupt lines 0..23, as a device would drive them */
    u32 ioport;
    u32 lines;            /* levels on irq[] */
    u8 memory[16][4096];
};

/* Claims ports 0xE0-0xE7 and 0x2000-0x2017, and 64 KiB of memory space at 0xFF000000. */
void pc_testdev_init(struct pc_testdev *s, struct bus *b, const struct pin irq[PC_TESTDEV_IRQS]);

extern const struct device_class pc_testdev_class;

#endif

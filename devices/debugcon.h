/* Debug console: one port that prints what is written to it. */
#ifndef DRAGOMAN_DEVICES_DEBUGCON_H
#define DRAGOMAN_DEVICES_DEBUGCON_H

#include "devices/device.h"
#include "mmu/bus.h"

struct chardev;

struct debugcon {
    struct chardev *chardev; /* the caller's; NULL: bytes go nowhere */
    u8 readback;
};

/* Claims `port` (0xE9 by custom); reads answer 0xE9, so that guests can look for it. */
void debugcon_init(struct debugcon *s, struct bus *b, u16 port, struct chardev *chardev);

extern const struct device_class debugcon_class;

#endif

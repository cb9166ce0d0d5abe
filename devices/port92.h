/* PS/2 system control port A: fast A20 and fast reset. */
#ifndef DRAGOMAN_DEVICES_PORT92_H
#define DRAGOMAN_DEVICES_PORT92_H

#include "devices/device.h"
#include "mmu/bus.h"

struct port92 {
    struct pin a20;  /* gate A20, driven at each write */
    struct pin init; /* INIT to the processors, a pulse */
    u8 value;
};

/* Claims port 0x92. */
void port92_init(struct port92 *s, struct bus *b, const struct pin *a20, const struct pin *init);

extern const struct device_class port92_class;

#endif

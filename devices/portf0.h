/* Coprocessor error logic of the AT: FERR# to IRQ 13, IGNNE# by port F0. */
#ifndef DRAGOMAN_DEVICES_PORTF0_H
#define DRAGOMAN_DEVICES_PORTF0_H

#include "devices/device.h"
#include "mmu/bus.h"

struct portf0 {
    struct pin irq13;
    struct pin ignne; /* high: asserted */
    u8 ferr, waiting, ignoring; /* 0 or 1: input; IRQ 13 is driven; IGNNE# is asserted */
};

/* Claims ports F0 and F1. */
void portf0_init(struct portf0 *s, struct bus *b, const struct pin *irq13, const struct pin *ignne);
/* The processor's FERR# (high: asserted); a pin function, opaque is the struct portf0. */
void portf0_set_ferr(void *opaque, unsigned n, bool level);

extern const struct device_class portf0_class;

#endif

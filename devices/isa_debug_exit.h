/* Debug exit: a port with which the guest ends the emulator. */
#ifndef DRAGOMAN_DEVICES_ISA_DEBUG_EXIT_H
#define DRAGOMAN_DEVICES_ISA_DEBUG_EXIT_H

#include "devices/device.h"
#include "mmu/bus.h"

struct isa_debug_exit {
    /* The guest wrote `status >> 1`; status is (value << 1) | 1, as the process is to exit with. */
    void (*exit)(void *opaque, u32 status);
    void *opaque;
};

/* Claims `size` ports (1 to 4) at `port`; QEMU's defaults are 2 at 0x501. */
void isa_debug_exit_init(struct isa_debug_exit *s, struct bus *b, u16 port, unsigned size,
                         void (*exit)(void *opaque, u32 status), void *opaque);

extern const struct device_class isa_debug_exit_class;

#endif

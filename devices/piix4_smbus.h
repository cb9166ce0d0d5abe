/* SMBus host controller of the PIIX4; see piix4_smbus.c. */
#ifndef DRAGOMAN_DEVICES_PIIX4_SMBUS_H
#define DRAGOMAN_DEVICES_PIIX4_SMBUS_H

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

struct piix4_smbus {
    struct pin irq; /* IRQ 9, a level */
    struct pin smi; /* a pulse */
    struct clock *clock;
    struct region *region;
    u8 config; /* SMBHSTCFG of the PCI function; the function's state */
    u8 status;
    u8 control, command, address, data[2];
    u8 block[32], block_at;
    u8 slave_control;
    u16 slave_event;
    struct timer transfer; /* the host is busy until then */
};

/* Prepares 16 ports, off until piix4_smbus_place. */
void piix4_smbus_init(struct piix4_smbus *s, struct bus *b, struct clock *clock,
                      const struct pin *irq, const struct pin *smi);

/* SMBBA and SMBHSTCFG of the PCI function (opaque: struct piix4_smbus). */
void piix4_smbus_place(void *opaque, u16 base, u8 config);

extern const struct device_class piix4_smbus_class;

#endif

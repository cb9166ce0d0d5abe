/* Intel 82371SB (PIIX3), function 0: PCI-ISA bridge, PIRQ router, reset control. */
#ifndef DRAGOMAN_DEVICES_PIIX3_H
#define DRAGOMAN_DEVICES_PIIX3_H

#include "devices/pci.h"

struct piix3_pins {
    struct pin irq[16]; /* ISA interrupt lines, levels from the PIRQ router only */
    struct pin reset;   /* hard reset, a pulse */
    struct pin init;    /* INIT to the processors, a pulse */
};

struct piix3 {
    struct pci_function pci;
    struct piix3_pins pins;
    u8 pirq; /* levels of PIRQA..PIRQD, bits 0..3 */
    u8 rcr;  /* reset control register, port 0xCF9 */
    u16 out; /* levels driven on irq[]; derived */
};

/* Puts the bridge at devfn (QEMU and real boards: device 1, function 0) and claims port 0xCF9. */
void piix3_init(struct piix3 *s, struct pci_bus *p, u8 devfn, const struct piix3_pins *pins);

/* A pin function: opaque is the struct piix3, n is 0..3 for PIRQA..PIRQD.  For
 * pci_wiring.pirq. */
void piix3_set_pirq(void *opaque, unsigned n, bool level);

/* How boards with this chip wire slots: INTx of device d goes to PIRQ (d - 1 + x) mod 4.  For
 * pci_wiring.map_irq; opaque is not used. */
unsigned piix3_map_irq(void *opaque, unsigned devfn, unsigned pin);

extern const struct device_class piix3_class;

#endif

/* Intel 82371AB (PIIX4), function 3: power management as a PCI function. */
#ifndef DRAGOMAN_DEVICES_PIIX4_PM_H
#define DRAGOMAN_DEVICES_PIIX4_PM_H

#include "devices/pci.h"

/* The ACPI register block that this function places in the port space. */
struct piix4_pm_block {
    void (*set_base)(void *opaque, u16 base);  /* PMBA, 64-aligned */
    void (*enable)(void *opaque, bool enabled); /* PMIOSE */
    void (*set_apmc_smi)(void *opaque, bool enabled); /* DEVACTB.APMC_EN */
    void *opaque;
    void (*place_smbus)(void *smbus, u16 base, u8 config); /* SMBBA, 16-aligned; SMBHSTCFG */
    void *smbus;
};

struct piix4_pm {
    struct pci_function pci;
    struct piix4_pm_block block;
};

/* Puts the function at devfn (QEMU: device 1, function 3). */
void piix4_pm_init(struct piix4_pm *s, struct pci_bus *p, u8 devfn,
                   const struct piix4_pm_block *block);

extern const struct device_class piix4_pm_class;

#endif

/* Intel 82441FX (PMC): host bridge, PAM and SMRAM. */
#ifndef DRAGOMAN_DEVICES_I440FX_H
#define DRAGOMAN_DEVICES_I440FX_H

#include "devices/pci.h"

/* PAM segments: 0..11 are the 16 KiB pieces of C0000-EFFFF, 12 is F0000-FFFFF. */
#define I440FX_SEGMENTS 13
/* Above RAM (0), so that C0000-FFFFF and SMRAM follow the bridge; below is the board's. */
#define I440FX_PAM_PRIORITY 1
#define I440FX_SMRAM_PRIORITY 2

struct i440fx;

struct i440fx_segment {
    struct i440fx *owner;
    u32 base, size;
    u8 *rom;               /* what PCI answers with there; NULL: nothing, all ones */
    struct region *plain;  /* RAM or ROM, for three of the four settings */
    struct region *split;  /* reads from ROM, writes to RAM */
};

struct i440fx {
    struct pci_function pci;
    struct bus *bus;
    u8 *ram; /* guest RAM at address 0, at least 1 MiB */
    struct i440fx_segment segment[I440FX_SEGMENTS];
    u8 keep;              /* the next reset leaves what DRAM depends on */
    struct region *smram; /* A0000-BFFFF RAM, in the views that SMRAM says */
};

/* Puts the bridge at devfn 0.  `ram` is the host address of guest RAM at 0; rom[i] is that of the
 * firmware image bytes which answer in segment i when PAM sends accesses to PCI, or NULL.  The
 * board maps plain RAM from 0 up with priority 0 and the VGA window at A0000 with 1. */
void i440fx_init(struct i440fx *s, struct pci_bus *p, struct bus *b, u8 *ram,
                 u8 *const rom[I440FX_SEGMENTS]);

/* The next reset is the one that ends suspend to RAM, through which the bridge has refreshed
 * DRAM: its DRAM and PAM registers stay as they are. */
void i440fx_keep_dram(struct i440fx *s);

extern const struct device_class i440fx_class;

#endif

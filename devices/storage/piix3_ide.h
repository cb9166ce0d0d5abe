/* Intel 82371SB (PIIX3) function 1: two ATA channels with bus mastering. */
#ifndef DRAGOMAN_DEVICES_STORAGE_PIIX3_IDE_H
#define DRAGOMAN_DEVICES_STORAGE_PIIX3_IDE_H

#include "devices/pci.h"
#include "devices/storage/ata.h"

struct piix3_ide;

/* One channel's bus master. */
struct ide_master {
    struct piix3_ide *ide;
    u8 command, status;
    u32 table;   /* PRD table, as written */
    u32 next;    /* address of the next descriptor */
    u32 address; /* of the region under way */
    u32 left;    /* its bytes still to go */
    u8 last;     /* it is the table's last */
};

struct piix3_ide {
    struct pci_function pci;
    struct bus *bus;
    struct ata_channel channel[2];
    struct ide_master master[2];
    struct region *command[2], *control[2];
    struct pin irq[2]; /* IRQ 14 and 15 */
};

void piix3_ide_init(struct piix3_ide *s, struct pci_bus *p, struct bus *b, u8 devfn,
                    struct block_pool *pool, const struct pin irq[2]);

extern const struct device_class piix3_ide_class;

#endif

/* The PC's disks: which images hang on which controller, and changing discs.
 *
 * Requests run on a few threads; `done` is called under the machine lock (block.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "devices/board/pc.h"

enum {
    DEVFN_PIIX3_IDE = 1 << 3 | 1,
    IRQ_FLOPPY = 6,
    IRQ_IDE0 = 14,
    IRQ_IDE1 = 15,
    DISK_THREADS = 2,
    CMOS_FLOPPIES = 0x10,
    CMOS_EQUIPMENT = 0x14,
};

static void lock(void *opaque)
{
    bus_lock(opaque);
}

static void unlock(void *opaque)
{
    bus_unlock(opaque);
}

/* Where software before IDENTIFY looked: type 47 in CMOS, with its geometry (IBM PC AT Technical
 * Reference, and what AMI's BIOS made of it). */
static void fill_cmos_disk(struct pc *pc, unsigned disk, const struct block *b)
{
    u16 cylinders;
    u8 heads, sectors, base = disk ? 0x24 : 0x1b;
    ata_geometry(b, &cylinders, &heads, &sectors);
    const u8 bytes[] = {(u8)cylinders, (u8)(cylinders >> 8), heads,  0xff, 0xff, 0xc8,
                        (u8)cylinders, (u8)(cylinders >> 8), sectors};
    for (unsigned i = 0; i < sizeof bytes; i++)
        mc146818_set_cmos(&pc->rtc, (u8)(base + i), bytes[i]);
    mc146818_set_cmos(&pc->rtc, (u8)(0x19 + disk), 47);
}

/* Drive kinds, the first in the high nibble; equipment: bit 0 any, bits 7:6 how many less one. */
static void fill_cmos_floppies(struct pc *pc)
{
    unsigned drives = pc->floppy[1].used ? 2 : pc->floppy[0].used;
    u8 equipment = mc146818_get_cmos(&pc->rtc, CMOS_EQUIPMENT);
    if (drives)
        equipment |= (u8)(1 | (drives - 1) << 6);
    mc146818_set_cmos(&pc->rtc, CMOS_EQUIPMENT, equipment);
    mc146818_set_cmos(&pc->rtc, CMOS_FLOPPIES,
                      (u8)(pc->fdc.drive[0].kind << 4 | pc->fdc.drive[1].kind));
}

static void fill_cmos(struct pc *pc)
{
    u8 types = 0;
    for (unsigned i = 0; i < 2; i++) {
        if (pc->drive[i].kind != ATA_DISK)
            continue;
        types |= (u8)(i ? 0x0f : 0xf0);
        fill_cmos_disk(pc, i, pc->drive[i].block);
    }
    mc146818_set_cmos(&pc->rtc, 0x12, types);
    fill_cmos_floppies(pc);
}

/* The drive is the one that the disk was made for; an empty one takes all of 3.5 inches. */
static bool make_floppies(struct pc *pc, char **error)
{
    struct machine *m = &pc->machine;
    struct pin irq = pc_irq_pin(&pc->irq, IRQ_ISA, IRQ_FLOPPY);
    i82077_init(&pc->fdc, m->bus, &m->clock, pc->pool, &irq, &pc->dma);
    machine_add_device(m, &i82077_class, &pc->fdc, "fdc");
    for (unsigned i = 0; i < PC_FLOPPIES; i++) {
        struct block *b = pc->floppy[i].block;
        const struct floppy_media *media = b ? floppy_media(block_size(b)) : NULL;
        if (!pc->floppy[i].used)
            continue;
        if (!i82077_attach(&pc->fdc, i, media ? media->drive : FLOPPY_2880K, b)) {
            *error = error_text("'%s' is too large for a floppy disk", block_path(b));
            return false;
        }
    }
    return true;
}

bool pc_make_storage(struct pc *pc, const struct pc_config *config, char **error)
{
    struct machine *m = &pc->machine;
    struct block_pool_owner owner = {lock, unlock, m->bus};
    struct pin irq[2] = {pc_irq_pin(&pc->irq, IRQ_ISA, IRQ_IDE0),
                         pc_irq_pin(&pc->irq, IRQ_ISA, IRQ_IDE1)};
    pc->pool = block_pool_create(m->config.counted ? 0 : DISK_THREADS, &owner, &m->clock);
    if (!pc->pool) {
        *error = error_text("the host refuses threads for the disks");
        return false;
    }
    piix3_ide_init(&pc->ide, &pc->pci, m->bus, DEVFN_PIIX3_IDE, pc->pool, irq);
    machine_add_device(m, &piix3_ide_class, &pc->ide, "piix3-ide");
    for (unsigned i = 0; i < 2; i++) {
        char name[16];
        snprintf(name, sizeof name, "ide%u", i);
        machine_add_device(m, &ata_class, &pc->ide.channel[i], name);
    }
    for (unsigned i = 0; i < PC_IDE_DRIVES; i++)
        if (pc->drive[i].kind != ATA_NONE)
            ata_attach(&pc->ide.channel[i / 2], i % 2, pc->drive[i].kind, pc->drive[i].block, i);
    if (!make_floppies(pc, error))
        return false;
    fill_cmos(pc);
    return true;
}

void pc_free_storage(struct pc *pc)
{
    block_pool_free(pc->pool);
    pc->pool = NULL;
    for (unsigned i = 0; i < PC_IDE_DRIVES; i++) {
        block_close(pc->drive[i].block);
        pc->drive[i].block = NULL;
    }
    for (unsigned i = 0; i < PC_FLOPPIES; i++) {
        block_close(pc->floppy[i].block);
        pc->floppy[i].block = NULL;
    }
}

/* ---- for the monitor ---- */

static const char *const drive_names[PC_IDE_DRIVES] = {"ide0-hd0", "ide0-hd1", "ide1-hd0",
                                                       "ide1-hd1"};
static const char *const cd_names[PC_IDE_DRIVES] = {"ide0-cd0", "ide0-cd1", "ide1-cd0", "ide1-cd1"};

const char *pc_drive_name(const struct pc *pc, unsigned drive)
{
    return pc->drive[drive].kind == ATA_CDROM ? cd_names[drive] : drive_names[drive];
}

static const char *const floppy_names[PC_FLOPPIES] = {"floppy0", "floppy1"};

/* The machine is frozen; what a drive is at may still be under way. */
static void drain(struct pc *pc)
{
    bus_unlock(pc->machine.bus);
    block_pool_drain(pc->pool);
    bus_lock(pc->machine.bus);
}

/* A disk that cannot be written goes in write-protected. */
static bool change_floppy(struct pc *pc, unsigned n, const char *path, char **error)
{
    struct block *fresh = NULL;
    struct block_options o = {.path = path, .auto_read_only = true, .snapshot = pc->snapshot};
    if (path && !(fresh = block_open(&o, error)))
        return false;
    drain(pc);
    if (!i82077_change(&pc->fdc, n, fresh)) {
        *error = error_text("'%s' is too large for a floppy disk", path);
        block_close(fresh);
        return false;
    }
    block_close(pc->floppy[n].block);
    pc->floppy[n].block = fresh;
    return true;
}

bool pc_change_disc(struct pc *pc, const char *name, const char *path, bool force, char **error)
{
    unsigned i = 0;
    for (unsigned n = 0; n < PC_FLOPPIES; n++)
        if (pc->floppy[n].used && !strcmp(name, floppy_names[n]))
            return change_floppy(pc, n, path, error);
    while (i < PC_IDE_DRIVES &&
           (pc->drive[i].kind == ATA_NONE || strcmp(pc_drive_name(pc, i), name) != 0))
        i++;
    if (i == PC_IDE_DRIVES || pc->drive[i].kind != ATA_CDROM) {
        *error = error_text(i == PC_IDE_DRIVES ? "there is no drive '%s' (see info block)"
                                               : "'%s' has no disc to change",
                            name);
        return false;
    }
    struct block *fresh = NULL;
    struct block_options o = {.path = path, .read_only = true};
    if (path && !(fresh = block_open(&o, error)))
        return false;
    drain(pc);
    if (!ata_change_disc(&pc->ide.channel[i / 2], i % 2, fresh, force)) {
        *error =
            error_text("the guest has locked '%s'; it has been asked to let go (-f: force)", name);
        block_close(fresh);
        return false;
    }
    block_close(pc->drive[i].block);
    pc->drive[i].block = fresh;
    return true;
}

static void print_disc(const struct block *b, print_fn print, void *opaque)
{
    u64 kib = block_size(b) >> 10;
    print(opaque, "%s (%s%s), %llu %s\n", block_path(b), block_format(b),
          block_read_only(b) ? ", read-only" : "",
          (unsigned long long)(kib < 10240 ? kib : kib >> 10), kib < 10240 ? "KiB" : "MiB");
}

void pc_print_drives(struct pc *pc, print_fn print, void *opaque)
{
    for (unsigned i = 0; i < PC_FLOPPIES; i++) {
        if (!pc->floppy[i].used)
            continue;
        print(opaque, "%s (%s): ", floppy_names[i], floppy_drive_name(pc->fdc.drive[i].kind));
        if (pc->floppy[i].block)
            print_disc(pc->floppy[i].block, print, opaque);
        else
            print(opaque, "[not inserted]\n");
    }
    for (unsigned i = 0; i < PC_IDE_DRIVES; i++) {
        const struct pc_drive *d = &pc->drive[i];
        if (d->kind == ATA_NONE)
            continue;
        print(opaque, "%s: ", pc_drive_name(pc, i));
        if (d->block)
            print_disc(d->block, print, opaque);
        else
            print(opaque, "[not inserted]\n");
    }
}

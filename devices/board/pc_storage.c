/* The PC's disks: which images hang on which controller, and changing discs.
 *
 * Requests run on a few threads; `done` is called under the machine lock (block.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "devices/board/pc.h"

enum { DEVFN_PIIX3_IDE = 1 << 3 | 1, IRQ_IDE0 = 14, IRQ_IDE1 = 15, DISK_THREADS = 2 };

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
}

/* ---- for the monitor ---- */

static const char *const drive_names[PC_IDE_DRIVES] = {"ide0-hd0", "ide0-hd1", "ide1-hd0",
                                                       "ide1-hd1"};
static const char *const cd_names[PC_IDE_DRIVES] = {"ide0-cd0", "ide0-cd1", "ide1-cd0", "ide1-cd1"};

const char *pc_drive_name(const struct pc *pc, unsigned drive)
{
    return pc->drive[drive].kind == ATA_CDROM ? cd_names[drive] : drive_names[drive];
}

bool pc_change_disc(struct pc *pc, const char *name, const char *path, bool force, char **error)
{
    unsigned i = 0;
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
    /* The machine is frozen; what the drive is at may still be under way. */
    bus_unlock(pc->machine.bus);
    block_pool_drain(pc->pool);
    bus_lock(pc->machine.bus);
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

void pc_print_drives(struct pc *pc, print_fn print, void *opaque)
{
    for (unsigned i = 0; i < PC_IDE_DRIVES; i++) {
        const struct pc_drive *d = &pc->drive[i];
        if (d->kind == ATA_NONE)
            continue;
        print(opaque, "%s: ", pc_drive_name(pc, i));
        if (d->block)
            print(opaque, "%s (%s%s), %llu MiB\n", block_path(d->block), block_format(d->block),
                  block_read_only(d->block) ? ", read-only" : "",
                  (unsigned long long)(block_size(d->block) >> 20));
        else
            print(opaque, "[not inserted]\n");
    }
}

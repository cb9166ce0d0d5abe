/* Booting from a CD: El Torito 1.0 (Phoenix and IBM), with no emulation, or of a floppy or disk.
 *
 * Left out: other catalog entries than the initial one, SCSI's vendor criteria.
 */
#include "bios/bda.h"
#include "bios/post.h"

enum {
    BOOT_RECORD_SECTOR = 17,
    CATALOG_POINTER = 0x47,
    INITIAL_ENTRY = 0x20,
    BOOTABLE = 0x88,
    CD_SECTOR = 2048,
    BUFFER = 0x10000, /* where sectors are read that are not the boot image's */
};

static bool checksum_good(const u8 *entry)
{
    u16 sum = 0;
    for (u32 i = 0; i < 32; i += 2)
        sum = (u16)(sum + (entry[i] | entry[i + 1] << 8));
    return sum == 0 && entry[0] == 1 && entry[30] == 0x55 && entry[31] == 0xaa;
}

/* INT 13h does this too (int13_edd.c). */
static void emulation_begin(struct emulation *e)
{
    e->disks = MEMORY(u8, BDA_DISKS);
    e->equipment = MEMORY(u16, BDA_EQUIPMENT);
    e->active = true;
    if (e->unit & 0x80)
        MEMORY(u8, BDA_DISKS) = (u8)(e->disks + 1);
    else
        MEMORY(u16, BDA_EQUIPMENT) = one_floppy_more(e->equipment);
}

void boot_emulation_end(void)
{
    struct emulation *e = &SERVICE_DATA(shared)->emulation;
    if (!e->active)
        return;
    e->active = false;
    MEMORY(u8, BDA_DISKS) = e->disks;
    MEMORY(u16, BDA_EQUIPMENT) = e->equipment;
}

/* Geometry of what is emulated (El Torito, figure 3 and section 2.3): a disk's is in its partition
 * table's first entry, at its end. */
static bool set_up_emulation(u8 unit, const u8 *entry)
{
    static const struct {
        u8 spt, cylinders;
    } floppies[] = {{15, 80}, {18, 80}, {36, 80}};
    struct shared *s = SERVICE_DATA(shared);
    struct emulation *e = &s->emulation;
    u8 media = entry[1] & 15;
    memset(e, 0, sizeof *e);
    e->media = media;
    e->cd = s->cdrom[unit - CDROM_UNIT];
    e->start = *(const u32 *)(entry + 8);
    if (media >= 1 && media <= 3) {
        e->heads = 2;
        e->spt = floppies[media - 1].spt;
        e->cylinders = floppies[media - 1].cylinders;
    } else if (media == 4) {
        const u8 *table = (const u8 *)BUFFER + 446;
        if (!disk_read(unit, e->start, 1, BUFFER))
            return false;
        e->unit = 0x80;
        e->heads = (u8)(table[5] + 1);
        e->spt = table[6] & 0x3f;
        e->cylinders = (u16)((table[7] | (table[6] & 0xc0) << 2) + 1);
    } else {
        e->unit = unit; /* no emulation, or what we do not know */
        return media == 0;
    }
    if (!e->heads || !e->spt)
        return false;
    emulation_begin(e);
    return true;
}

void boot_cd(u8 unit)
{
    static u8 entry[32];
    struct shared *s = SERVICE_DATA(shared);
    if (!disk_read(unit, BOOT_RECORD_SECTOR, 1, BUFFER)) {
        say("CD-ROM %u: no disc.\n", (u32)unit - CDROM_UNIT);
        return;
    }
    if (memcmp((const void *)(BUFFER + 1), "CD001\1EL TORITO SPECIFICATION", 30) != 0) {
        say("CD-ROM %u is not bootable.\n", (u32)unit - CDROM_UNIT);
        return;
    }
    u32 catalog = MEMORY(u32, BUFFER + CATALOG_POINTER);
    if (!disk_read(unit, catalog, 1, BUFFER) || !checksum_good((const u8 *)BUFFER))
        return;
    memcpy(entry, (const u8 *)BUFFER + INITIAL_ENTRY, sizeof entry);
    if (entry[0] != BOOTABLE)
        return;
    u16 segment = (u16)(entry[2] | entry[3] << 8), sectors = (u16)(entry[6] | entry[7] << 8);
    u32 start = *(const u32 *)(entry + 8);
    u8 boot_unit = unit;
    if (!segment)
        segment = 0x07c0;
    if (!set_up_emulation(unit, entry))
        return;
    if (s->emulation.active) {
        sectors = 1;
        boot_unit = s->emulation.unit;
    }
    if (!sectors)
        sectors = 1;
    s->emulation.catalog = catalog;
    s->emulation.load_segment = segment;
    s->emulation.load_sectors = sectors;
    /* Sectors are virtual ones of 512 bytes (section 2.2). */
    u16 count = (u16)((sectors + 3) / 4);
    if (((u32)segment << 4) + (u32)count * CD_SECTOR > (u32)EBDA_SEG << 4 ||
        !disk_read(unit, start, count, (u32)segment << 4)) {
        boot_emulation_end();
        return;
    }
    struct real_entry e = {.ip = segment == 0x07c0 ? 0x7c00 : 0,
                           .cs = segment == 0x07c0 ? 0 : segment,
                           .sp = 0x7c00,
                           .dx = boot_unit,
                           .flags = FLAGS_BOOT};
    enter_real(&e);
}

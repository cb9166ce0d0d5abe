/* POST's search for disks and CD-ROMs on the two ATA channels, and for floppy drives.
 *
 * ATA/ATAPI-6, sections 8.15 (IDENTIFY DEVICE), 9.12 (signatures); geometry translation as BIOSes
 * do it for disks beyond 1,024 cylinders (Phoenix, EDD 3.0, section 5).  Left out: controllers
 * without the legacy ports.
 */
#include "bios/ata.h"
#include "bios/bda.h"
#include "bios/chips.h"
#include "bios/post.h"

enum {
    WAIT_STEP_US = 10,
    RESET_STEPS = 300000,
    IDENTIFY_STEPS = 100000,
    IDE_DEVFN = 1 << 3 | 1,
};

extern const u8 floppy_table[]; /* its offset in CODE_SEG */

static const struct {
    u16 port, control;
} channels[2] = {{0x1f0, 0x3f6}, {0x170, 0x376}};

/* Waits until BSY is clear; false if it never is, or if nothing drives the bus. */
static bool ready(u16 port, u32 steps)
{
    for (u32 i = 0; i < steps; i++) {
        u8 status = inb((u16)(port + ATA_STATUS));
        if (status == 0xff)
            return false;
        if (!(status & ATA_ST_BSY))
            return true;
        wait_us(WAIT_STEP_US);
    }
    return false;
}

static bool identify(u16 port, u8 slave, u8 command, u16 words[256])
{
    outb((u16)(port + ATA_DEVICE), (u8)(ATA_DEV_CHS | slave << 4));
    outb((u16)(port + ATA_COMMAND), command);
    if (!ready(port, IDENTIFY_STEPS))
        return false;
    u8 status = inb((u16)(port + ATA_STATUS));
    if ((status & (ATA_ST_ERR | ATA_ST_DRQ)) != ATA_ST_DRQ)
        return false;
    for (u32 i = 0; i < 256; i++)
        words[i] = inw(port);
    return true;
}

/* Heads and sectors for 10-bit cylinder numbers; the cylinders that are left over cannot be
 * reached by CHS. */
static void translate(struct disk *d)
{
    u32 total = d->sectors >> 32 ? 0xffffffff : (u32)d->sectors;
    u32 heads = d->heads, spt = d->spt;
    if (!heads || !spt || total > 1024 * 16 * 63) {
        heads = 16;
        spt = 63;
    }
    u32 tracks = total / spt;
    while (heads < 128 && tracks / heads > 1024)
        heads *= 2;
    if (tracks / heads > 1024)
        heads = 255;
    u32 cylinders = tracks / heads;
    d->logical_cylinders = (u16)(cylinders > 1024 ? 1024 : cylinders ? cylinders : 1);
    d->logical_heads = (u8)heads;
    d->logical_spt = (u8)spt;
}

static void read_identity(struct disk *d, const u16 *w)
{
    for (u32 i = 0; i < 40; i++)
        d->model[i] = (char)(w[27 + i / 2] >> (i & 1 ? 0 : 8));
    for (u32 i = 40; i && (d->model[i - 1] == ' ' || !d->model[i - 1]); i--)
        d->model[i - 1] = 0;
    if (d->cdrom)
        return;
    d->lba48 = (w[83] & 0x0400) != 0;
    d->cylinders = w[1];
    d->heads = w[3];
    d->spt = w[6];
    d->sectors = w[60] | (u32)w[61] << 16;
    if (d->lba48)
        d->sectors = w[100] | (u64)w[101] << 16 | (u64)w[102] << 32 | (u64)w[103] << 48;
    if (!(w[49] & 0x0200)) /* no LBA */
        d->sectors = (u32)d->cylinders * d->heads * d->spt;
    translate(d);
}

static void probe(u32 channel, u8 slave)
{
    struct shared *s = SERVICE_DATA(shared);
    u16 port = channels[channel].port, words[256];
    struct disk d = {
        .port = port, .control = channels[channel].control, .slave = slave, .pci_devfn = IDE_DEVFN};
    outb((u16)(port + ATA_DEVICE), (u8)(ATA_DEV_CHS | slave << 4));
    u8 status = inb((u16)(port + ATA_STATUS));
    if (status == 0xff || !ready(port, IDENTIFY_STEPS))
        return;
    d.cdrom = inb((u16)(port + ATA_LBA_MID)) == 0x14 && inb((u16)(port + ATA_LBA_HIGH)) == 0xeb;
    if (!d.cdrom && !status)
        return;
    if (!identify(port, slave, d.cdrom ? ATA_IDENTIFY_PACKET : ATA_IDENTIFY, words))
        return;
    read_identity(&d, words);
    u8 n = (u8)(s->disks + s->cdroms);
    s->disk[n] = d;
    if (d.cdrom) {
        s->cdrom[s->cdroms++] = n;
        say("CD-ROM %u: %s\n", (u32)s->cdroms - 1, d.model);
    } else {
        s->hard_disk[s->disks++] = n;
        say("Disk %u: %s, %u MiB\n", (u32)s->disks - 1, d.model, (u32)(d.sectors >> 11));
    }
}

/* Fixed-disk parameter tables of 80h and 81h, where INT 41h and 46h point: in the EBDA (IBM PC AT
 * Technical Reference, "Hard file parameter table"; translated ones as of EDD 1.1).  With the
 * drive's own geometry if the logical one is another. */
static void parameter_table(u32 n, u32 vector)
{
    const struct shared *s = SERVICE_DATA(shared);
    if (n >= s->disks)
        return;
    const struct disk *d = &s->disk[s->hard_disk[n]];
    u32 at = EBDA_DISK_TABLES + 16 * n;
    u8 *t = (u8 *)(((u32)EBDA_SEG << 4) + at);
    bool translated = d->logical_cylinders != d->cylinders || d->logical_heads != d->heads;
    memset(t, 0, 16);
    *(u16 *)t = d->logical_cylinders;
    t[2] = d->logical_heads;
    *(u16 *)(t + 5) = 0xffff; /* no precompensation */
    t[8] = (u8)(0xc0 | (d->heads > 8 ? 8 : 0));
    *(u16 *)(t + 12) = d->cylinders;
    t[14] = d->logical_spt;
    if (translated) {
        t[3] = 0xa0;
        t[4] = (u8)d->spt;
        *(u16 *)(t + 9) = d->cylinders;
        t[11] = (u8)d->heads;
        checksum_set(t, 16, 15);
    }
    MEMORY(u32, vector * 4) = (u32)EBDA_SEG << 16 | at;
}

/* Both controllers on, the first behind the second's channel 0 (8237A; 290550, 2.5.1). */
static void dma_init(void)
{
    outb(0x0d, 0);
    outb(0xda, 0);
    outb(0xd6, 0xc0);
    outb(0xd4, 0x00);
}

/* CMOS says which drives there are; the controller must answer, too.  Its reset raises IRQ 6. */
static void floppies_init(void)
{
    static const char *const names[] = {"", "360 KB", "1.2 MB", "720 KB", "1.44 MB", "2.88 MB"};
    struct shared *s = SERVICE_DATA(shared);
    const u8 kinds = cmos_read(0x10);
    s->floppies = 0;
    MEMORY(u32, 0x1e * 4) = (u32)CODE_SEG << 16 | (u16)(u32)floppy_table;
    for (u8 i = 0; i < FLOPPIES_MAX; i++) {
        u8 kind = i ? kinds & 15 : kinds >> 4;
        s->floppy[i] = kind < sizeof names / sizeof names[0] ? kind : 0;
        if (!s->floppy[i])
            continue;
        s->floppies++;
        say("Floppy %u: %s\n", (u32)i, names[kind]);
    }
    if (!s->floppies)
        return;
    MEMORY(u16, BDA_EQUIPMENT) |= (u16)(EQUIPMENT_FLOPPY | (s->floppies - 1) << 6);
    dma_init();
    outb(PIC_MASTER + 1, inb(PIC_MASTER + 1) & ~BIT(6));
    struct int_regs r = {0};
    bios_int(0x13, &r); /* resets the controller */
}

void drives_init(void)
{
    struct shared *s = SERVICE_DATA(shared);
    s->disks = s->cdroms = 0;
    floppies_init();
    for (u32 c = 0; c < 2; c++) {
        u16 port = channels[c].port, control = channels[c].control;
        if (inb((u16)(port + ATA_STATUS)) == 0xff)
            continue;
        outb(control, ATA_CTL_NIEN | ATA_CTL_SRST);
        wait_us(5);
        outb(control, ATA_CTL_NIEN);
        wait_us(2000);
        ready(port, RESET_STEPS);
        probe(c, 0);
        probe(c, 1);
    }
    MEMORY(u8, BDA_DISKS) = s->disks;
    parameter_table(0, 0x41);
    parameter_table(1, 0x46);
}

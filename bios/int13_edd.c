/* INT 13h AH = 41h to 4Eh: linear addresses, drive parameters, removable media, El Torito status.
 *
 * BIOS Enhanced Disk Drive Specification 3.0 (Phoenix); El Torito 1.0, section 5.  A transfer of no
 * blocks is none, and succeeds; after a failure the packet has the count of what went through, so
 * that a program that tries again has to put its own there first.
 */
#include "bios/disk.h"

enum {
    PACKET_SEGMENT_ESCAPE = 0xffff,
    ALL_DRIVES = 0x7f,
    VERSION = 0x30,
    SUPPORT_ACCESS = 1,
    SUPPORT_LOCK = 2,
    SUPPORT_PARAMETERS = 4,
    INFO_VALID_GEOMETRY = 0x0002,
    INFO_REMOVABLE = 0x0074, /* removable, change line, lockable, no media geometry */
};

struct packet {
    u8 size, reserved;
    u16 count, offset, segment;
    u64 lba;
    u64 flat; /* with segment:offset FFFF:FFFF and a size of 18h */
} PACKED;

struct drive_parameters {
    u16 size, flags;
    u32 cylinders, heads, spt;
    u64 sectors;
    u16 sector_bytes;
    u32 configuration; /* far pointer, FFFF:FFFF: none */
    u16 key;           /* BEDD */
    u8 path_size, reserved[3];
    char host_bus[4], interface[8];
    u8 bus, slot, function, channel, reserved2[4];
    u8 unit, reserved3[15];
    u8 pad, checksum;
} PACKED;

static void read_far(u16 seg, u16 at, void *to, u16 count)
{
    u8 *p = to;
    far_segment(seg);
    while (count--)
        *p++ = FAR(u8, at++);
}

static void write_far(u16 seg, u16 at, const void *from, u16 count)
{
    const u8 *p = from;
    far_segment(seg);
    while (count--)
        FAR(u8, at++) = *p++;
}

/* Above 1 MiB programmed I/O cannot go directly. */
static u8 high_transfer(const struct disk *d, enum disk_op op, const struct packet *p, u16 *done)
{
    u32 linear = DATA_BASE + (u32)disk_bounce, unit = d->cdrom ? 2048 : 512;
    u32 memory = (u32)p->flat;
    for (*done = 0; *done < p->count; ++*done, memory += unit) {
        u16 one;
        u8 code;
        if (op == DISK_WRITE)
            pm_copy(linear, memory, unit);
        code = d->cdrom ? cd_read(d, (u32)p->lba + *done, 1, linear)
                        : disk_transfer(d, op, p->lba + *done, 1, linear, &one);
        if (code != DISK_OK)
            return code;
        if (op == DISK_READ)
            pm_copy(memory, linear, unit);
    }
    return DISK_OK;
}

static u8 move(const struct disk *d, enum disk_op op, struct packet *p)
{
    u32 memory = ((u32)p->segment << 4) + p->offset;
    u16 count = p->count, done = 0;
    u8 code;
    p->count = 0;
    if (d->cdrom && op == DISK_WRITE)
        return DISK_WRITE_PROTECTED;
    if (d->cdrom && p->lba >> 32)
        return DISK_NOT_FOUND;
    if (op != DISK_VERIFY && p->segment == PACKET_SEGMENT_ESCAPE && p->offset == 0xffff &&
        p->size >= 24) {
        code = high_transfer(d, op, p, &done);
    } else if (d->cdrom) {
        code = op == DISK_READ ? cd_read(d, (u32)p->lba, count, memory) : DISK_OK;
        done = code == DISK_OK ? count : 0;
    } else {
        code = disk_transfer(d, op, p->lba, count, memory, &done);
    }
    p->count = done;
    return code;
}

static void transfer(frame_ptr f, const struct disk *d, enum disk_op op)
{
    struct packet p;
    read_far(f->ds, f->si, &p, sizeof p);
    if (p.size < 16) {
        fail(f, DISK_BAD_COMMAND);
        return;
    }
    u16 wanted = p.count;
    u8 code = move(d, op, &p);
    if (code != DISK_OK || p.count != wanted) {
        write_far(f->ds, (u16)(f->si + 2), &p.count, 2);
        fail(f, code);
        return;
    }
    done(f);
}

/* 47h: no head moves here, but the place has to be there. */
static void seek(frame_ptr f, const struct disk *d)
{
    struct packet p;
    read_far(f->ds, f->si, &p, sizeof p);
    if (p.size < 16)
        fail(f, DISK_BAD_COMMAND);
    else if (!d->cdrom && p.lba >= d->sectors)
        fail(f, DISK_NOT_FOUND);
    else
        done(f);
}

static void parameters(frame_ptr f, const struct disk *d)
{
    static const char ata[] = "ATA     ", atapi[] = "ATAPI   ";
    struct drive_parameters r;
    u16 room;
    read_far(f->ds, f->si, &room, 2);
    if (room < 26) {
        fail(f, DISK_BAD_COMMAND);
        return;
    }
    memset16(&r, 0, sizeof r);
    r.size = room >= 66 ? 66 : room >= 30 ? 30 : 26;
    r.flags = d->cdrom ? INFO_REMOVABLE : INFO_VALID_GEOMETRY;
    if (d->cdrom) {
        r.cylinders = r.heads = r.spt = 0xffffffff;
        r.sectors = ~0ull;
    } else {
        r.cylinders = d->cylinders;
        r.heads = d->heads;
        r.spt = d->spt;
        r.sectors = d->sectors;
    }
    r.sector_bytes = d->cdrom ? 2048 : 512;
    r.configuration = 0xffffffff;
    r.key = 0xbedd;
    r.path_size = 36;
    memcpy16(r.host_bus, "PCI ", 4);
    memcpy16(r.interface, d->cdrom ? atapi : ata, 8);
    r.slot = d->pci_devfn >> 3;
    r.function = d->pci_devfn & 7;
    r.channel = d->port == 0x170;
    r.unit = d->slave;
    const u8 *bytes = (const u8 *)&r.key;
    u8 sum = 0;
    for (u16 i = 0; i < 35; i++)
        sum = (u8)(sum + bytes[i]);
    r.checksum = (u8)-sum;
    write_far(f->ds, f->si, &r, r.size);
    done(f);
}

/* ---- El Torito ---- */

/* What 4Ah, 4Bh and 4Ch pass (section 5, figure 7). */
struct specification {
    u8 size, media, unit, controller;
    u32 start;
    u16 device, buffer_segment, load_segment, load_sectors;
    u8 cylinders_low, sectors, heads; /* CH, CL and DH of function 08h */
} PACKED;

static void emulation_end(struct emulation *e)
{
    if (!e->active)
        return;
    e->active = false;
    bda8_set(BDA_DISKS, e->disks);
    bda16_set(BDA_EQUIPMENT, e->equipment);
}

/* 4Bh: what is emulated; AL = 00h also ends it. */
static void emulation_status(frame_ptr f)
{
    struct emulation *e = &shared.emulation;
    if (!e->load_sectors || (f->dl != e->unit && f->dl != ALL_DRIVES)) {
        fail(f, DISK_BAD_COMMAND); /* this is not what we have booted from */
        return;
    }
    bool geometry = e->media != 0;
    const struct specification r = {
        .size = sizeof r,
        .media = e->active ? e->media : 0,
        .unit = e->unit,
        .controller = shared.disk[e->cd].port == 0x170,
        .start = e->start,
        .device = shared.disk[e->cd].slave,
        .load_segment = e->load_segment,
        .load_sectors = e->load_sectors,
        .cylinders_low = (u8)(e->cylinders - geometry),
        .sectors = (u8)(e->spt | ((e->cylinders - geometry) >> 2 & 0xc0)),
        .heads = (u8)(e->heads - geometry),
    };
    write_far(f->ds, f->si, &r, sizeof r);
    if (f->al == 0)
        emulation_end(e);
    done(f);
}

/* The CD that a specification names, an index in shared.disk; 0xff: there is none. */
static u8 named_cd(const struct specification *r)
{
    for (u8 i = 0; i < shared.cdroms; i++) {
        const struct disk *d = &shared.disk[shared.cdrom[i]];
        if ((d->port == 0x170) == (r->controller & 1) && d->slave == (r->device & 1))
            return shared.cdrom[i];
    }
    return 0xff;
}

/* 4Ch's second half: what is emulated boots, and only comes back if it cannot be read. */
static void emulation_boot(frame_ptr f)
{
    const struct emulation *e = &shared.emulation;
    u8 code = cd_read(&shared.disk[e->cd], e->start, (u16)((e->load_sectors + 3) / 4),
                      (u32)e->load_segment << 4);
    if (code == DISK_OK)
        boot_jump(e->load_segment == 0x07c0 ? 0x7c00 : (u32)e->load_segment << 16, e->unit);
    fail(f, code);
}

/* 4Ah, and 4Ch, which boots too: a specification is emulated. */
static void emulation_begin(frame_ptr f)
{
    struct emulation *e = &shared.emulation;
    bool boot = f->ah == 0x4c;
    struct specification r;
    read_far(f->ds, f->si, &r, sizeof r);
    u8 media = r.media & 15, cd = named_cd(&r);
    if (cd == 0xff || media > 4 || r.unit != (media == 0 ? r.unit : media == 4 ? 0x80 : 0)) {
        fail(f, DISK_BAD_COMMAND);
        return;
    }
    emulation_end(e);
    e->media = media;
    e->unit = r.unit;
    e->cd = cd;
    e->start = r.start;
    e->load_segment = r.load_segment ? r.load_segment : 0x07c0;
    e->load_sectors = r.load_sectors ? r.load_sectors : 1;
    e->cylinders = (u16)((r.cylinders_low | (r.sectors & 0xc0) << 2) + 1);
    e->spt = r.sectors & 0x3f;
    e->heads = (u8)(r.heads + 1);
    e->disks = bda8(BDA_DISKS);
    e->equipment = bda16(BDA_EQUIPMENT);
    e->active = media != 0 && e->spt && e->heads;
    if (e->active && e->unit)
        bda8_set(BDA_DISKS, (u8)(e->disks + 1));
    else if (e->active)
        bda16_set(BDA_EQUIPMENT, one_floppy_more(e->equipment));
    done(f);
    if (boot)
        emulation_boot(f);
}

/* 4Dh: sectors of the boot catalog: size of the packet, their number, where to, which is the first.
 */
static void catalog(frame_ptr f)
{
    struct {
        u8 size, count;
        u16 offset, segment, first;
    } PACKED p;
    const struct emulation *e = &shared.emulation;
    read_far(f->ds, f->si, &p, sizeof p);
    if (f->al || p.size < sizeof p || !e->catalog) {
        fail(f, DISK_BAD_COMMAND);
        return;
    }
    u8 code = cd_read(&shared.disk[e->cd], e->catalog + p.first, p.count,
                      ((u32)p.segment << 4) + p.offset);
    if (code == DISK_OK)
        done(f);
    else
        fail(f, code);
}

/* ---- the rest ---- */

static void lock(frame_ptr f, const struct disk *d)
{
    static u8 locks;
    if (!d->cdrom) {
        fail(f, DISK_NOT_REMOVABLE);
        return;
    }
    if (f->al == 1 && !locks) {
        f->al = 0;
        fail(f, DISK_NOT_LOCKED);
        return;
    }
    if (f->al < 2) {
        locks = (u8)(f->al ? locks - 1 : locks + 1);
        cd_command(d, 0x1e, locks != 0);
    }
    f->al = locks != 0;
    done(f);
}

static bool el_torito(frame_ptr f)
{
    switch (f->ah) {
    case 0x4a:
    case 0x4c: emulation_begin(f); return true;
    case 0x4b: emulation_status(f); return true;
    case 0x4d: catalog(f); return true;
    default: return false;
    }
}

void edd_service(frame_ptr f)
{
    const struct disk *d = disk_of(f->dl);
    if (shared.cdroms && el_torito(f))
        return;
    if (!d || is_emulated(f->dl)) {
        fail(f, DISK_BAD_COMMAND);
        return;
    }
    switch (f->ah) {
    case 0x41:
        if (f->bx != 0x55aa) {
            fail(f, DISK_BAD_COMMAND);
            break;
        }
        f->bx = 0xaa55;
        f->cx = SUPPORT_ACCESS | SUPPORT_PARAMETERS | (d->cdrom ? SUPPORT_LOCK : 0);
        f->ah = VERSION;
        set_carry(f, false);
        break;
    case 0x42: transfer(f, d, DISK_READ); break;
    case 0x43: transfer(f, d, DISK_WRITE); break;
    case 0x44: transfer(f, d, DISK_VERIFY); break;
    case 0x45: lock(f, d); break;
    case 0x46:
        if (d->cdrom && cd_command(d, 0x1b, 2) == DISK_OK)
            done(f);
        else
            fail(f, d->cdrom ? DISK_LOCKED : DISK_NOT_REMOVABLE);
        break;
    case 0x47: seek(f, d); break;
    case 0x48: parameters(f, d); break;
    case 0x49: done(f); break; /* no change line */
    case 0x4e: done(f); break; /* hardware configuration: DMA and prefetch are ours to use */
    default: fail(f, DISK_BAD_COMMAND); break;
    }
}

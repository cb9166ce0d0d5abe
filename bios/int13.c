/* INT 13h: disks, and floppies and disks that El Torito emulates from a CD.
 *
 * IBM PC AT Technical Reference, BIOS listing (functions 00h to 15h); the extensions (41h and up)
 * are in int13_edd.c, real floppies in floppy.c.  Left out: formatting disks, long reads.
 */
#include "bios/disk.h"

/* Geometry as functions 02h to 08h see it. */
struct geometry {
    u16 cylinders, heads, spt;
};

bool is_emulated(u8 unit)
{
    return shared.emulation.active && unit == shared.emulation.unit;
}

bool floppy_emulated(void)
{
    return shared.emulation.active && !(shared.emulation.unit & 0x80);
}

const struct disk *disk_of(u8 unit)
{
    if (shared.emulation.active && shared.emulation.unit == 0x80 && unit > 0x80 &&
        unit < CDROM_UNIT)
        unit--; /* the emulated disk has pushed the others up */
    if (unit >= 0x80 && unit < 0x80 + shared.disks)
        return &shared.disk[shared.hard_disk[unit - 0x80]];
    if (unit >= CDROM_UNIT && unit < CDROM_UNIT + shared.cdroms)
        return &shared.disk[shared.cdrom[unit - CDROM_UNIT]];
    return NULL;
}

static void status(frame_ptr f, u8 code)
{
    f->ah = code;
    set_carry(f, code != DISK_OK);
    bda8_set(BDA_DISK_STATUS, code);
}

static bool geometry_of(u8 unit, struct geometry *g)
{
    const struct disk *d = disk_of(unit);
    if (is_emulated(unit)) {
        *g = (struct geometry){shared.emulation.cylinders, shared.emulation.heads,
                               shared.emulation.spt};
        return true;
    }
    if (!d || d->cdrom)
        return false;
    *g = (struct geometry){d->logical_cylinders, d->logical_heads, d->logical_spt};
    return true;
}

/* ---- 02h, 03h, 04h, 0Ch ---- */

/* The sector number of CX and DH; false when there is no such place. */
static bool place(frame_ptr f, const struct geometry *g, u32 *lba)
{
    u16 cylinder = (u16)(f->ch | (f->cl & 0xc0) << 2), sector = f->cl & 0x3f;
    if (!sector || sector > g->spt || f->dh >= g->heads || cylinder >= g->cylinders)
        return false;
    *lba = ((u32)cylinder * g->heads + f->dh) * g->spt + sector - 1;
    return true;
}

static void transfer(frame_ptr f, enum disk_op op)
{
    struct geometry g;
    u32 lba, memory = ((u32)f->es << 4) + f->bx;
    u16 done = 0, count = f->al;
    if (!geometry_of(f->dl, &g) || !count) {
        status(f, DISK_BAD_COMMAND);
        f->al = 0;
        return;
    }
    if (!place(f, &g, &lba)) {
        status(f, DISK_NOT_FOUND);
        f->al = 0;
        return;
    }
    u8 code;
    if (!is_emulated(f->dl))
        code = disk_transfer(disk_of(f->dl), op, lba, count, memory, &done);
    else if (op == DISK_WRITE)
        code = DISK_WRITE_PROTECTED;
    else
        code = op == DISK_READ ? emulated_read(lba, count, memory, &done) : DISK_OK;
    f->al = (u8)(op == DISK_VERIFY && code == DISK_OK ? count : done);
    status(f, code);
}

/* ---- 08h, 15h ---- */

static u8 emulated_floppy_type(void)
{
    static const u8 types[] = {0, 2, 4, 6}; /* CMOS types of 1.2, 1.44 and 2.88 MB */
    return types[shared.emulation.media & 3];
}

static void parameters(frame_ptr f)
{
    struct geometry g;
    if (!geometry_of(f->dl, &g)) {
        f->cx = f->dx = 0;
        f->dl = shared.disks;
        status(f, DISK_BAD_COMMAND);
        return;
    }
    u16 last = (u16)(g.cylinders - 1);
    bool hard = f->dl & 0x80, shifted = shared.emulation.active && shared.emulation.unit == 0x80;
    f->ax = 0;
    f->bh = 0;
    f->bl = hard ? 0 : emulated_floppy_type();
    f->ch = (u8)last;
    f->cl = (u8)(g.spt | (last >> 2 & 0xc0));
    f->dh = (u8)(g.heads - 1);
    f->dl = (u8)(hard ? shared.disks + shifted : 1 + shared.floppies);
    if (!hard) {
        f->es = CODE_SEG;
        f->di = (u16)(u32)floppy_table;
    }
    status(f, DISK_OK);
}

static void drive_type(frame_ptr f)
{
    struct geometry g;
    if (!geometry_of(f->dl, &g)) {
        f->ah = 0; /* no such drive; not an error */
        set_carry(f, false);
        return;
    }
    if (!(f->dl & 0x80)) {
        f->ah = 1; /* floppy without change line */
    } else {
        u32 sectors = (u32)g.cylinders * g.heads * g.spt;
        f->ah = 3;
        f->cx = (u16)(sectors >> 16);
        f->dx = (u16)sectors;
    }
    set_carry(f, false);
    bda8_set(BDA_DISK_STATUS, DISK_OK);
}

/* ---- the rest ---- */

/* Functions that only say whether the drive is there. */
static void presence(frame_ptr f)
{
    status(f, is_emulated(f->dl) || disk_of(f->dl) ? DISK_OK : DISK_BAD_COMMAND);
}

void service_13(frame_ptr f)
{
    struct geometry g;
    u32 lba;
    if (f->ah >= 0x41 && f->ah <= 0x4e) {
        edd_service(f);
        if (f->ah != 0x30 || f->bx != 0xaa55)
            bda8_set(BDA_DISK_STATUS, f->flags & FLAG_CARRY ? f->ah : DISK_OK);
        return;
    }
    if (f->dl < 0x80 && !is_emulated(f->dl)) {
        /* An emulated floppy is the first; the real ones come after it. */
        floppy_service(f, (u8)(f->dl - floppy_emulated()));
        return;
    }
    switch (f->ah) {
    case 0x00: /* resets the floppies' controller too */
        if (shared.floppies)
            floppy_service(f, 0);
        status(f, DISK_OK);
        break;
    case 0x01:
        f->ah = bda8(BDA_DISK_STATUS);
        set_carry(f, f->ah != 0);
        break;
    case 0x02: transfer(f, DISK_READ); break;
    case 0x03: transfer(f, DISK_WRITE); break;
    case 0x04: transfer(f, DISK_VERIFY); break;
    case 0x08: parameters(f); break;
    case 0x0c:
        status(f, geometry_of(f->dl, &g) && place(f, &g, &lba) ? DISK_OK : DISK_NOT_FOUND);
        break;
    case 0x09: /* initialise drive pair */
    case 0x0d: /* reset */
    case 0x10: /* ready? */
    case 0x11: /* recalibrate */
    case 0x14: /* diagnose */ presence(f); break;
    case 0x15: drive_type(f); break;
    case 0x16: status(f, is_emulated(f->dl) ? DISK_OK : DISK_BAD_COMMAND); break;
    default: status(f, DISK_BAD_COMMAND); break;
    }
}

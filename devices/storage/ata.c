/* An ATA channel: task file, PIO and DMA transfers, software reset.
 *
 * ATA/ATAPI-6 (T13/1410D), sections 6 (reset), 7 (registers) and 9 (protocols).  Disk commands are
 * in ata_disk.c, packet commands in atapi.c.
 * Left out: overlapped and queued commands, the Host Protected Area, security, Ultra DMA's CRC
 * errors, power-down (the disk never sleeps).  A channel's drives share one data path, so one of
 * them works at a time, as on the cable.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "devices/storage/ata_int.h"

enum {
    REG_DATA = 0,
    REG_FEATURE = 1, /* error when read */
    REG_COUNT = 2,
    REG_LBA_LOW = 3,
    REG_LBA_MID = 4,
    REG_LBA_HIGH = 5,
    REG_DEVICE = 6,
    REG_COMMAND = 7, /* status when read */
};

static u32 sector_bytes(const struct ata_channel *c)
{
    return c->flags & ATA_F_CD ? ATA_CD_SECTOR : BLOCK_SECTOR;
}

/* ---- interrupt ---- */

static void update_irq(struct ata_channel *c)
{
    pin_set(&c->irq, c->intrq && !(c->control & CTL_NIEN));
}

void ata_raise(struct ata_channel *c)
{
    c->intrq = 1;
    update_irq(c);
}

static void lower(struct ata_channel *c)
{
    c->intrq = 0;
    update_irq(c);
}

/* ---- the ends of a command ---- */

static void end_command(struct ata_channel *c)
{
    if (c->flags & ATA_F_DMA)
        c->dma.finished(c->dma.opaque);
    c->phase = ATA_IDLE;
    c->flags = 0;
    c->left = 0;
}

void ata_done(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    end_command(c);
    d->status = ST_DRDY | ST_DSC;
    ata_raise(c);
}

void ata_fail(struct ata_channel *c, u8 error)
{
    struct ata_drive *d = ata_active(c);
    end_command(c);
    d->status = ST_DRDY | ST_DSC | ST_ERR;
    d->error = error;
    ata_raise(c);
}

/* The host's disk said no. */
static void host_error(struct ata_channel *c)
{
    log_event(device, "ata: request at sector %llu: %s", (unsigned long long)c->lba,
              strerror(c->request.error));
    if (c->flags & ATA_F_CD)
        atapi_check(c, 3, 0x11); /* medium error, unrecovered read error */
    else if (c->flags & ATA_F_WRITE)
        ata_fail(c, c->request.error == EROFS ? ERR_ABRT : ERR_ABRT | ERR_IDNF);
    else
        ata_fail(c, ERR_UNC);
}

/* ---- requests ---- */

static void continue_transfer(struct ata_channel *c);
static void finish_reset(struct ata_channel *c);

static void request_done(void *opaque)
{
    struct ata_channel *c = opaque;
    c->request_up = 0;
    if (c->reset_pending) {
        c->reset_pending = 0;
        finish_reset(c);
    } else if (c->request.error) {
        host_error(c);
    } else {
        continue_transfer(c);
    }
}

void ata_submit(struct ata_channel *c, enum block_op op, u64 offset, u32 count)
{
    struct ata_drive *d = ata_active(c);
    if (!d->block) { /* a snapshot of another machine */
        ata_fail(c, ERR_ABRT);
        return;
    }
    c->phase = ATA_BUSY;
    d->status = (u8)((d->status & ~ST_DRQ) | ST_BSY);
    c->request = (struct block_request){.block = d->block,
                                        .op = op,
                                        .offset = offset,
                                        .data = c->buf,
                                        .count = count,
                                        .done = request_done,
                                        .opaque = c};
    c->request_up = 1;
    block_submit(c->pool, &c->request);
}

/* ---- data ---- */

static void begin_block(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    u32 n = c->end - c->pos < c->block_size ? c->end - c->pos : c->block_size;
    c->block_end = c->pos + n;
    if (c->flags & ATA_F_CD)
        atapi_begin_block(c, n);
    d->status = ST_DRDY | ST_DSC | ST_DRQ;
}

/* Asks for the next part from the disk, or for room for it in the buffer. */
static void next_part(struct ata_channel *c)
{
    u32 unit = sector_bytes(c), n = ATA_BUFFER / unit;
    if (n > c->left)
        n = c->left;
    c->pos = 0;
    c->end = n * unit;
    if (!ata_active(c)->block) {
        atapi_check(c, 2, 0x3a); /* the disc has gone: not ready, medium not present */
    } else if (!(c->flags & ATA_F_WRITE)) {
        ata_submit(c, BLOCK_READ, c->lba * unit, c->end);
    } else if (c->flags & ATA_F_DMA) {
        c->phase = ATA_DMA_OUT;
        ata_active(c)->status = ST_DRDY | ST_DSC | ST_DRQ;
        ata_dma_started(c);
    } else {
        c->phase = ATA_PIO_OUT;
        begin_block(c);
    }
}

void ata_transfer(struct ata_channel *c, u64 lba, u32 left, u8 flags)
{
    c->lba = lba;
    c->left = left;
    c->flags = flags;
    next_part(c);
}

static void part_done(struct ata_channel *c)
{
    u32 n = c->end / sector_bytes(c);
    c->lba += n;
    c->left -= n < c->left ? n : c->left;
}

void ata_send(struct ata_channel *c, u32 count, u32 block)
{
    c->pos = 0;
    c->end = count;
    c->block_size = block;
    if (c->flags & ATA_F_DMA) {
        c->phase = ATA_DMA_IN;
        ata_active(c)->status = ST_DRDY | ST_DSC | ST_DRQ;
        ata_dma_started(c);
        return;
    }
    c->phase = ATA_PIO_IN;
    begin_block(c);
    ata_raise(c);
}

/* A request has come back. */
static void continue_transfer(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    d->status &= (u8)~ST_BSY;
    if (c->flags & ATA_F_FLUSH) {
        ata_done(c);
        return;
    }
    if (!(c->flags & ATA_F_WRITE)) {
        part_done(c);
        ata_send(c, c->end, c->block_size);
        return;
    }
    part_done(c);
    if (!c->left && !d->write_cache) { /* what ends is on stable storage */
        c->flags |= ATA_F_FLUSH;
        ata_submit(c, BLOCK_FLUSH, 0, 0);
        return;
    }
    if (!c->left) {
        ata_done(c);
        return;
    }
    next_part(c);
    if (c->phase == ATA_PIO_OUT)
        ata_raise(c);
}

/* The host has taken all of the buffer. */
static void sent(struct ata_channel *c)
{
    if (c->left)
        next_part(c);
    else if (c->flags & ATA_F_CD)
        atapi_done(c);
    else if (c->flags & ATA_F_DMA)
        ata_done(c);
    else {
        end_command(c);
        ata_active(c)->status = ST_DRDY | ST_DSC;
    }
}

/* A DRQ block of PIO is through. */
static void block_through(struct ata_channel *c)
{
    if (c->pos < c->end) {
        begin_block(c);
        ata_raise(c);
    } else if (c->phase == ATA_PIO_IN) {
        sent(c);
    } else if (c->flags & ATA_F_PACKET) {
        c->flags &= (u8)~ATA_F_PACKET;
        memcpy(c->packet, c->buf, sizeof c->packet);
        atapi_packet(c);
    } else {
        ata_submit(c, BLOCK_WRITE, c->lba * BLOCK_SECTOR, c->end);
    }
}

void ata_dma_started(struct ata_channel *c)
{
    bool in = c->phase == ATA_DMA_IN;
    if (!in && c->phase != ATA_DMA_OUT)
        return;
    c->pos += c->dma.transfer(c->dma.opaque, ata_buf(c) + c->pos, c->end - c->pos, in);
    if (c->pos < c->end)
        return; /* the list was too short, or there is none yet */
    if (in)
        sent(c);
    else
        ata_submit(c, BLOCK_WRITE, c->lba * BLOCK_SECTOR, c->end);
}

static u64 data_read(struct ata_channel *c, unsigned size)
{
    u64 v = 0;
    if (c->phase != ATA_PIO_IN || c->active != c->selected)
        return ~0ull >> (64 - 8 * size);
    for (unsigned i = 0; i < size && c->pos < c->block_end; i++)
        v |= (u64)ata_buf(c)[c->pos++] << (8 * i);
    if (c->pos == c->block_end)
        block_through(c);
    return v;
}

static void data_write(struct ata_channel *c, u64 value, unsigned size)
{
    if (c->phase != ATA_PIO_OUT || c->active != c->selected)
        return;
    for (unsigned i = 0; i < size && c->pos < c->block_end; i++)
        ata_buf(c)[c->pos++] = (u8)(value >> (8 * i));
    if (c->pos == c->block_end)
        block_through(c);
}

/* ---- reset ---- */

static void signature(struct ata_drive *d)
{
    d->device &= DEV_SELECT;
    d->count = d->lba_low = 1;
    d->error = 1; /* diagnostics passed */
    if (d->kind == ATA_CDROM)
        atapi_signature(d);
    else
        ata_disk_signature(d);
}

static void finish_reset(struct ata_channel *c)
{
    c->phase = ATA_IDLE;
    c->flags = 0;
    c->left = 0;
    c->selected = c->active = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct ata_drive *d = &c->drive[i];
        d->multiple = 0;
        d->device = 0;
        signature(d);
    }
    lower(c);
}

/* The drives are busy until the request that they were at is through: its buffer is in use. */
static void begin_reset(struct ata_channel *c)
{
    if (c->request_up) {
        c->reset_pending = 1;
        for (unsigned i = 0; i < 2; i++)
            c->drive[i].status = ST_BSY;
        return;
    }
    finish_reset(c);
}

void ata_reset(void *channel)
{
    struct ata_channel *c = channel;
    c->control = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct ata_drive *d = &c->drive[i];
        u8 heads = 0, sectors = 0;
        if (d->kind == ATA_DISK)
            ata_geometry(d->block, &d->cylinders, &heads, &sectors);
        d->heads = heads;
        d->sectors = sectors;
        d->dma_mode = 0;
        d->write_cache = 1;
        d->locked = 0;
        d->sense_key = d->asc = d->ascq = 0;
        d->hob_feature = d->hob_count = d->hob_low = d->hob_mid = d->hob_high = 0;
        d->feature = 0;
    }
    begin_reset(c);
}

/* ---- read ---- */

/* An absent drive 1 is answered for by drive 0; on an empty cable the lines float low enough for
 * software not to see a drive. */
static u8 status(const struct ata_channel *c)
{
    const struct ata_drive *d = &c->drive[c->selected];
    return d->kind == ATA_NONE ? 0 : d->status;
}

static u8 register_read(struct ata_channel *c, unsigned reg)
{
    const struct ata_drive *d = &c->drive[c->selected];
    bool hob = c->control & CTL_HOB;
    u8 v = 0;
    if (c->drive[0].kind == ATA_NONE && c->drive[1].kind == ATA_NONE)
        return reg == REG_COMMAND ? 0 : 0xff;
    switch (reg) {
    case REG_FEATURE: v = hob ? d->hob_feature : d->error; break;
    case REG_COUNT: v = hob ? d->hob_count : d->count; break;
    case REG_LBA_LOW: v = hob ? d->hob_low : d->lba_low; break;
    case REG_LBA_MID: v = hob ? d->hob_mid : d->lba_mid; break;
    case REG_LBA_HIGH: v = hob ? d->hob_high : d->lba_high; break;
    case REG_DEVICE: return d->device | 0xa0;
    case REG_COMMAND:
        v = status(c);
        lower(c);
        return v;
    default: break;
    }
    return d->kind == ATA_NONE ? 0 : v;
}

static u64 command_read(void *opaque, u64 offset, unsigned size)
{
    struct ata_channel *c = opaque;
    u64 v = 0;
    if (offset == REG_DATA)
        return data_read(c, size);
    for (unsigned i = 0; i < size; i++)
        v |= (u64)register_read(c, (unsigned)(offset + i) & 7) << (8 * i);
    return v;
}

static u64 control_read(void *opaque, u64 offset, unsigned size)
{
    struct ata_channel *c = opaque;
    return status(c);
}

/* ---- write ---- */

/* Both drives latch the registers (section 7.2 and following). */
static void latch(u8 *now, u8 *before, u8 value)
{
    *before = *now;
    *now = value;
}

static void execute(struct ata_channel *c, u8 command)
{
    struct ata_drive *d = &c->drive[c->selected];
    if (d->kind == ATA_NONE || (c->control & CTL_SRST))
        return;
    /* Only DEVICE RESET interrupts a command of a CD-ROM. */
    if (c->phase != ATA_IDLE && !(command == 0x08 && d->kind == ATA_CDROM))
        return;
    lower(c);
    c->command = command;
    c->active = c->selected;
    if (command == 0x90) { /* EXECUTE DEVICE DIAGNOSTIC: both drives */
        for (unsigned i = 0; i < 2; i++) {
            c->drive[i].device = 0;
            signature(&c->drive[i]);
        }
        c->selected = c->active = 0;
        ata_raise(c);
    } else if (command == 0x08 && d->kind == ATA_CDROM) {
        if (c->request_up)
            begin_reset(c);
        else {
            c->phase = ATA_IDLE;
            c->flags = 0;
            signature(d);
        }
    } else if (d->kind == ATA_CDROM) {
        atapi_command(c, command);
    } else {
        ata_disk_command(c, command);
    }
}

static void register_write(struct ata_channel *c, unsigned reg, u8 v)
{
    if (reg == REG_COMMAND) {
        execute(c, v);
        return;
    }
    if (c->drive[c->selected].status & ST_BSY)
        return;
    c->control &= (u8)~CTL_HOB;
    for (unsigned i = 0; i < 2; i++) {
        struct ata_drive *d = &c->drive[i];
        switch (reg) {
        case REG_FEATURE: latch(&d->feature, &d->hob_feature, v); break;
        case REG_COUNT: latch(&d->count, &d->hob_count, v); break;
        case REG_LBA_LOW: latch(&d->lba_low, &d->hob_low, v); break;
        case REG_LBA_MID: latch(&d->lba_mid, &d->hob_mid, v); break;
        case REG_LBA_HIGH: latch(&d->lba_high, &d->hob_high, v); break;
        case REG_DEVICE: d->device = v & (DEV_HEAD | DEV_SELECT | DEV_LBA); break;
        default: break;
        }
    }
    if (reg == REG_DEVICE)
        c->selected = v & DEV_SELECT ? 1 : 0;
}

static void command_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct ata_channel *c = opaque;
    if (offset == REG_DATA) {
        data_write(c, value, size);
        return;
    }
    for (unsigned i = 0; i < size; i++)
        register_write(c, (unsigned)(offset + i) & 7, (u8)(value >> (8 * i)));
}

static void control_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct ata_channel *c = opaque;
    bool was = c->control & CTL_SRST;
    c->control = value & (CTL_NIEN | CTL_SRST | CTL_HOB);
    if (c->control & CTL_SRST) {
        for (unsigned i = 0; i < 2; i++)
            c->drive[i].status = ST_BSY;
    } else if (was) {
        begin_reset(c);
    }
    update_irq(c);
}

const struct bus_ops ata_command_ops = {command_read, command_write, 1, 4};
const struct bus_ops ata_control_ops = {control_read, control_write, 1, 1};

/* ---- drives ---- */

void ata_init(struct ata_channel *c, struct block_pool *pool, const struct pin *irq,
              const struct ata_dma *dma)
{
    memset(c, 0, sizeof *c);
    c->pool = pool;
    c->irq = *irq;
    c->dma = *dma;
    ata_reset(c);
}

void ata_attach(struct ata_channel *c, unsigned unit, enum ata_kind kind, struct block *block,
                unsigned number)
{
    struct ata_drive *d = &c->drive[unit & 1];
    d->kind = (u8)kind;
    d->block = block;
    d->unit = (u8)number;
    ata_reset(c);
}

bool ata_change_disc(struct ata_channel *c, unsigned unit, struct block *block, bool force)
{
    struct ata_drive *d = &c->drive[unit & 1];
    if (d->locked && !force) {
        d->media_event = 1; /* eject request: the driver may unlock and eject */
        return false;
    }
    d->block = block;
    d->tray_open = 0;
    d->locked = 0;
    d->attention = 1;
    d->media_event = block ? 2 : 3; /* new media, media removal */
    return true;
}

/* ---- state ---- */

static void ata_loaded(void *state)
{
    struct ata_channel *c = state;
    c->selected &= 1;
    c->active &= 1;
    c->request_up = c->reset_pending = 0;
    if (c->end > ATA_BUFFER)
        c->end = ATA_BUFFER;
    if (c->block_end > c->end)
        c->block_end = c->end;
    if (c->pos > c->block_end)
        c->pos = c->block_end;
    if (c->phase > ATA_DMA_OUT || c->phase == ATA_BUSY)
        c->phase = ATA_IDLE;
    if (!c->block_size)
        c->block_size = BLOCK_SECTOR;
    update_irq(c);
}

#define DRIVE_FIELDS(n)                                                                            \
    FIELD(struct ata_channel, drive[n].status), FIELD(struct ata_channel, drive[n].error),         \
        FIELD(struct ata_channel, drive[n].feature), FIELD(struct ata_channel, drive[n].count),    \
        FIELD(struct ata_channel, drive[n].lba_low), FIELD(struct ata_channel, drive[n].lba_mid),  \
        FIELD(struct ata_channel, drive[n].lba_high), FIELD(struct ata_channel, drive[n].device),  \
        FIELD(struct ata_channel, drive[n].hob_feature),                                           \
        FIELD(struct ata_channel, drive[n].hob_count),                                             \
        FIELD(struct ata_channel, drive[n].hob_low), FIELD(struct ata_channel, drive[n].hob_mid),  \
        FIELD(struct ata_channel, drive[n].hob_high),                                              \
        FIELD(struct ata_channel, drive[n].multiple),                                              \
        FIELD(struct ata_channel, drive[n].dma_mode),                                              \
        FIELD(struct ata_channel, drive[n].write_cache),                                           \
        FIELD(struct ata_channel, drive[n].cylinders), FIELD(struct ata_channel, drive[n].heads),  \
        FIELD(struct ata_channel, drive[n].sectors),                                               \
        FIELD(struct ata_channel, drive[n].sense_key), FIELD(struct ata_channel, drive[n].asc),    \
        FIELD(struct ata_channel, drive[n].ascq), FIELD(struct ata_channel, drive[n].attention),   \
        FIELD(struct ata_channel, drive[n].locked), FIELD(struct ata_channel, drive[n].tray_open), \
        FIELD(struct ata_channel, drive[n].media_event)

/* A snapshot is taken with no request under way (block_pool_drain). */
static const struct field ata_fields[] = {DRIVE_FIELDS(0),
                                          DRIVE_FIELDS(1),
                                          FIELD(struct ata_channel, selected),
                                          FIELD(struct ata_channel, active),
                                          FIELD(struct ata_channel, control),
                                          FIELD(struct ata_channel, intrq),
                                          FIELD(struct ata_channel, phase),
                                          FIELD(struct ata_channel, command),
                                          FIELD(struct ata_channel, flags),
                                          FIELD(struct ata_channel, pos),
                                          FIELD(struct ata_channel, end),
                                          FIELD(struct ata_channel, block_end),
                                          FIELD(struct ata_channel, block_size),
                                          FIELD(struct ata_channel, lba),
                                          FIELD(struct ata_channel, left),
                                          FIELD_ARRAY(struct ata_channel, packet),
                                          FIELD_ARRAY(struct ata_channel, buf),
                                          FIELD_END};

const struct device_class ata_class = {
    .name = "ata",
    .description = "ATA channel",
    .reset = ata_reset,
    .fields = ata_fields,
    .loaded = ata_loaded,
};

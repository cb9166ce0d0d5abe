/* An ATAPI CD-ROM drive: packet commands.
 *
 * ATA/ATAPI-6 (T13/1410D), sections 8.23 (PACKET) and 9.8 (protocol); SCSI MMC-3 (T10/1363-D) and
 * SPC-2 for the packets.  A disc is one data track, mode 1, sectors of 2,048 bytes.
 * Left out: audio, raw sectors (only their user data can be had), DVD structures, changers,
 * writing.
 */
#include <stdio.h>
#include <string.h>

#include "devices/storage/ata_int.h"

enum {
    CMD_NOP = 0x00,
    CMD_PACKET = 0xa0,
    CMD_IDENTIFY_PACKET = 0xa1,
    CMD_IDLE_NOW = 0xe1,
    CMD_STANDBY_NOW = 0xe0,
    CMD_CHECK_POWER = 0xe5,
    CMD_SLEEP = 0xe6,
    CMD_IDENTIFY = 0xec,
    CMD_SET_FEATURES = 0xef,

    /* sense keys and additional codes, SPC-2 tables 107 and 108 */
    KEY_NOT_READY = 2,
    KEY_ILLEGAL_REQUEST = 5,
    KEY_UNIT_ATTENTION = 6,
    ASC_LBA_RANGE = 0x21,
    ASC_OPCODE = 0x20,
    ASC_CDB_FIELD = 0x24,
    ASC_MEDIUM_CHANGED = 0x28,
    ASC_SAVING = 0x39,
    ASC_NO_MEDIUM = 0x3a,
    ASC_REMOVAL_PREVENTED = 0x53,

    MSF_OFFSET = 150, /* frames before sector 0 */
};

void atapi_signature(struct ata_drive *d)
{
    d->lba_mid = 0x14;
    d->lba_high = 0xeb;
    d->status = 0; /* section 9.12: DRDY comes with the first packet command */
}

/* ---- protocol ---- */

void atapi_done(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    d->count = REASON_COD | REASON_IO;
    d->error = 0;
    ata_done(c);
}

void atapi_check(struct ata_channel *c, u8 key, u8 asc)
{
    struct ata_drive *d = ata_active(c);
    d->sense_key = key;
    d->asc = asc;
    d->ascq = asc == ASC_REMOVAL_PREVENTED ? 2 : 0;
    d->count = REASON_COD | REASON_IO;
    ata_fail(c, (u8)(key << 4 | ERR_ABRT));
}

void atapi_begin_block(struct ata_channel *c, u32 bytes)
{
    struct ata_drive *d = ata_active(c);
    d->count = REASON_IO;
    d->lba_mid = (u8)bytes;
    d->lba_high = (u8)(bytes >> 8);
}

/* Bytes of a DRQ block as the host has asked for (section 8.23.3): even unless it is all. */
static u32 byte_limit(const struct ata_drive *d)
{
    u32 n = (u32)d->lba_high << 8 | d->lba_mid;
    n = n == 0xffff || !n ? 0xfffe : n;
    return n > 1 ? n & ~1u : 2;
}

/* Sends the first `count` bytes of the buffer, at most as many as the packet has room for. */
static void reply(struct ata_channel *c, u32 count, u32 room)
{
    if (count > room)
        count = room;
    if (!count) {
        atapi_done(c);
        return;
    }
    ata_send(c, count, c->block_size);
}

/* ---- the disc ---- */

static u32 disc_sectors(const struct ata_drive *d)
{
    return (u32)(block_size(d->block) / ATA_CD_SECTOR);
}

static bool has_disc(const struct ata_drive *d)
{
    return d->block && !d->tray_open;
}

static void put_msf(u8 *p, u32 lba)
{
    lba += MSF_OFFSET;
    p[0] = (u8)(lba / 75 / 60);
    p[1] = (u8)(lba / 75 % 60);
    p[2] = (u8)(lba % 75);
}

static void put_be(u8 *p, u64 v, unsigned bytes)
{
    for (unsigned i = bytes; i--; v >>= 8)
        p[i] = (u8)v;
}

static u32 get_be(const u8 *p, unsigned bytes)
{
    u32 v = 0;
    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

/* ---- packets: c->packet is the command, the buffer is zeroed ---- */

static void test_unit_ready(struct ata_channel *c)
{
    atapi_done(c);
}

static void request_sense(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    u8 *b = ata_buf(c);
    b[0] = 0x70;
    b[2] = d->sense_key;
    b[7] = 10;
    b[12] = d->asc;
    b[13] = d->ascq;
    d->sense_key = d->asc = d->ascq = 0;
    reply(c, 18, c->packet[4]);
}

static void inquiry(struct ata_channel *c)
{
    u8 *b = ata_buf(c);
    if (c->packet[1] & 1) { /* no vital product data */
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD);
        return;
    }
    b[0] = 0x05;
    b[1] = 0x80;
    b[3] = 0x21;
    b[4] = 31;
    memcpy(b + 8, "DRAGOMAN", 8);
    memcpy(b + 16, "CD-ROM          ", 16);
    memcpy(b + 32, "1.0 ", 4);
    reply(c, 36, get_be(c->packet + 3, 2));
}

static void read_sectors(struct ata_channel *c, u32 lba, u32 count)
{
    struct ata_drive *d = ata_active(c);
    u32 total = disc_sectors(d);
    if (lba > total || count > total - lba) {
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE);
        return;
    }
    if (!count) {
        atapi_done(c);
        return;
    }
    ata_transfer(c, lba, count, c->flags);
}

static void read_10(struct ata_channel *c)
{
    read_sectors(c, get_be(c->packet + 2, 4), get_be(c->packet + 7, 2));
}

static void read_12(struct ata_channel *c)
{
    read_sectors(c, get_be(c->packet + 2, 4), get_be(c->packet + 6, 4));
}

/* READ CD: of a mode 1 sector only the user data exists. */
static void read_cd(struct ata_channel *c)
{
    u32 count = get_be(c->packet + 6, 3), lba = get_be(c->packet + 2, 4);
    u8 type = c->packet[1] >> 2 & 7, what = c->packet[9] & 0xf8;
    if (!what)
        count = 0;
    if ((type && type != 2) || (what && what != 0x10))
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD);
    else
        read_sectors(c, lba, count);
}

static void read_capacity(struct ata_channel *c)
{
    u8 *b = ata_buf(c);
    put_be(b, disc_sectors(ata_active(c)) - 1, 4);
    put_be(b + 4, ATA_CD_SECTOR, 4);
    reply(c, 8, 8);
}

static void seek(struct ata_channel *c)
{
    if (get_be(c->packet + 2, 4) >= disc_sectors(ata_active(c)))
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE);
    else
        atapi_done(c);
}

static u32 toc_track(u8 *p, u8 track, u32 lba, bool msf)
{
    p[1] = 0x14; /* data track, no copy permitted */
    p[2] = track;
    if (msf)
        put_msf(p + 5, lba);
    else
        put_be(p + 4, lba, 4);
    return 8;
}

/* READ TOC, formats 0 (tracks), 1 (sessions) and 2 (raw): MMC-3, 6.31. */
static void read_toc(struct ata_channel *c)
{
    u8 *b = ata_buf(c), format = c->packet[2] & 15, start = c->packet[6];
    bool msf = c->packet[1] & 2;
    u32 room = get_be(c->packet + 7, 2), total = disc_sectors(ata_active(c)), n = 4;
    if (!format)
        format = c->packet[9] >> 6; /* where SFF-8020 has it */
    b[2] = b[3] = 1;
    switch (format) {
    case 0:
        if (start > 1 && start != 0xaa) {
            atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD);
            return;
        }
        if (start <= 1)
            n += toc_track(b + n, 1, 0, msf);
        n += toc_track(b + n, 0xaa, total, msf);
        break;
    case 1: n += toc_track(b + n, 1, 0, msf); break;
    case 2: {
        /* points A0 (first track), A1 (last), A2 (lead-out), track 1 */
        static const u8 points[] = {0xa0, 0xa1, 0xa2, 1};
        for (unsigned i = 0; i < ARRAY_SIZE(points); i++, n += 11) {
            u8 *p = b + n;
            p[0] = 1;
            p[1] = 0x14;
            p[3] = points[i];
            if (i < 2)
                p[8] = 1;
            else
                put_msf(p + 8, i == 2 ? total : 0);
        }
        break;
    }
    default: atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD); return;
    }
    put_be(b, n - 2, 2);
    reply(c, n, room);
}

/* MODE SENSE pages: error recovery (01), CD capabilities (2A), SFF-8020's speed in it. */
static void mode_sense(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    bool ten = c->packet[0] == 0x5a;
    u8 *b = ata_buf(c), page = c->packet[2] & 0x3f;
    u32 n = ten ? 8 : 4, room = ten ? get_be(c->packet + 7, 2) : c->packet[4];
    if (c->packet[2] >> 6 == 3) {
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_SAVING);
        return;
    }
    if (page != 0x01 && page != 0x2a && page != 0x3f) {
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD);
        return;
    }
    if (page != 0x2a) {
        b[n] = 0x01;
        b[n + 1] = 6;
        b[n + 3] = 5; /* retries */
        n += 8;
    }
    if (page != 0x01) {
        b[n] = 0x2a;
        b[n + 1] = 18;
        b[n + 2] = 0x3b;                             /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
        b[n + 4] = 0x70;                             /* mode 2 forms, multi-session */
        b[n + 6] = (u8)(0x29 | (d->locked ? 2 : 0)); /* tray, eject, lock */
        put_be(b + n + 8, 706, 2);                   /* 4x, in kB/s */
        put_be(b + n + 12, 512, 2);                  /* buffer, in KiB */
        put_be(b + n + 14, 706, 2);
        n += 20;
    }
    if (ten) {
        put_be(b, n - 2, 2);
        b[2] = has_disc(d) ? 0x01 : 0x70;
    } else {
        b[0] = (u8)(n - 1);
        b[1] = has_disc(d) ? 0x01 : 0x70;
    }
    reply(c, n, room);
}

static void prevent_removal(struct ata_channel *c)
{
    ata_active(c)->locked = c->packet[4] & 1;
    atapi_done(c);
}

static void start_stop(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    bool load = c->packet[4] & 2, start = c->packet[4] & 1;
    if (load && !start && d->locked) {
        atapi_check(c, d->block ? KEY_ILLEGAL_REQUEST : KEY_NOT_READY, ASC_REMOVAL_PREVENTED);
        return;
    }
    if (load && d->tray_open == start) {
        d->tray_open = !start;
        d->media_event = start ? 2 : 3;
        d->attention = start && d->block;
    }
    atapi_done(c);
}

/* GET EVENT STATUS NOTIFICATION, polled, class media (MMC-3, 6.10). */
static void get_event(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    u8 *b = ata_buf(c);
    u32 room = get_be(c->packet + 7, 2);
    if (!(c->packet[1] & 1)) { /* asynchronous */
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD);
        return;
    }
    b[3] = 0x10; /* classes that there are: media */
    if (!(c->packet[4] & 0x10)) {
        b[1] = 2;
        b[2] = 0x80; /* none of those asked for */
        reply(c, 4, room);
        return;
    }
    b[1] = 6;
    b[2] = 4;
    b[4] = d->media_event;
    b[5] = (u8)((d->tray_open ? 1 : 0) | (has_disc(d) ? 2 : 0));
    d->media_event = 0;
    reply(c, 8, room);
}

static u32 put_feature(u8 *b, u32 n, u16 code, u8 flags, const u8 *data, u8 size)
{
    put_be(b + n, code, 2);
    b[n + 2] = flags;
    b[n + 3] = size;
    memcpy(b + n + 4, data, size);
    return n + 4 + size;
}

/* GET CONFIGURATION (MMC-3, 6.6). */
static void get_configuration(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    u8 *b = ata_buf(c), only = c->packet[1] & 3;
    u16 first = (u16)get_be(c->packet + 2, 2);
    u8 cd = has_disc(d);
    const struct {
        u16 code;
        u8 flags, size, data[8];
    } features[] = {
        {0x0000, 0x03, 4, {0x00, 0x08, cd}},    /* profiles: CD-ROM */
        {0x0001, 0x0b, 8, {0, 0, 0, 2, 1}},     /* core: ATAPI */
        {0x0002, 0x07, 4, {1}},                 /* morphing */
        {0x0003, 0x03, 4, {0x29}},              /* removable: tray, eject, lock */
        {0x0010, cd, 8, {0, 0, 0x08, 0, 0, 1}}, /* random readable */
        {0x001e, cd, 4, {0}},                   /* CD read */
    };
    u32 n = 8;
    if (only == 3) {
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_CDB_FIELD);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        bool wanted = only == 2 ? features[i].code == first : features[i].code >= first;
        if (wanted && (only != 1 || (features[i].flags & 1)))
            n = put_feature(b, n, features[i].code, features[i].flags, features[i].data,
                            features[i].size);
    }
    put_be(b, n - 4, 4);
    put_be(b + 6, cd ? 0x0008 : 0, 2);
    reply(c, n, get_be(c->packet + 7, 2));
}

static void disc_information(struct ata_channel *c)
{
    u8 *b = ata_buf(c);
    put_be(b, 32, 2);
    b[2] = 0x0e; /* complete disc, last session complete */
    b[3] = b[4] = b[5] = b[6] = 1;
    b[7] = 0x20; /* unrestricted use */
    memset(b + 16, 0xff, 8);
    reply(c, 34, get_be(c->packet + 7, 2));
}

static void track_information(struct ata_channel *c)
{
    u8 *b = ata_buf(c);
    put_be(b, 34, 2);
    b[2] = b[3] = 1;
    b[5] = 4;
    b[6] = 1;
    put_be(b + 24, disc_sectors(ata_active(c)), 4);
    reply(c, 36, get_be(c->packet + 7, 2));
}

static void mechanism_status(struct ata_channel *c)
{
    u8 *b = ata_buf(c);
    b[5] = 1; /* one slot, no table */
    reply(c, 8, get_be(c->packet + 8, 2));
}

static void read_subchannel(struct ata_channel *c)
{
    u8 *b = ata_buf(c);
    b[1] = 0x15; /* no audio status */
    u32 n = 4;
    if ((c->packet[2] & 0x40) && c->packet[3] == 1) {
        b[3] = 12;
        b[4] = 1;
        b[5] = 0x14;
        b[6] = b[7] = 1;
        n = 16;
    }
    reply(c, n, get_be(c->packet + 7, 2));
}

static void set_speed(struct ata_channel *c)
{
    atapi_done(c);
}

enum { NEEDS_DISC = 1, WITHOUT_ATTENTION = 2 };

static const struct packet_command {
    u8 opcode, flags;
    void (*fn)(struct ata_channel *c);
} packets[] = {
    {0x00, NEEDS_DISC, test_unit_ready},
    {0x03, WITHOUT_ATTENTION, request_sense},
    {0x12, WITHOUT_ATTENTION, inquiry},
    {0x1a, 0, mode_sense},
    {0x1b, 0, start_stop},
    {0x1e, 0, prevent_removal},
    {0x25, NEEDS_DISC, read_capacity},
    {0x28, NEEDS_DISC, read_10},
    {0x2b, NEEDS_DISC, seek},
    {0x42, NEEDS_DISC, read_subchannel},
    {0x43, NEEDS_DISC, read_toc},
    {0x46, WITHOUT_ATTENTION, get_configuration},
    {0x4a, WITHOUT_ATTENTION, get_event},
    {0x51, NEEDS_DISC, disc_information},
    {0x52, NEEDS_DISC, track_information},
    {0x5a, 0, mode_sense},
    {0xa8, NEEDS_DISC, read_12},
    {0xbb, 0, set_speed},
    {0xbd, 0, mechanism_status},
    {0xbe, NEEDS_DISC, read_cd},
};

void atapi_packet(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    const struct packet_command *p = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(packets) && !p; i++)
        if (packets[i].opcode == c->packet[0])
            p = &packets[i];
    memset(c->buf, 0, 2048);
    if (!p || !(p->flags & WITHOUT_ATTENTION)) {
        if (d->attention) {
            d->attention = 0;
            atapi_check(c, KEY_UNIT_ATTENTION, ASC_MEDIUM_CHANGED);
            return;
        }
    }
    if (!p)
        atapi_check(c, KEY_ILLEGAL_REQUEST, ASC_OPCODE);
    else if ((p->flags & NEEDS_DISC) && !has_disc(d))
        atapi_check(c, KEY_NOT_READY, ASC_NO_MEDIUM);
    else
        p->fn(c);
}

/* ---- ATA commands of a packet device ---- */

static void identify_packet(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    u8 *b = ata_buf(c);
    char serial[21];
    u8 mode = d->dma_mode;
    snprintf(serial, sizeof serial, "DM%05u", d->unit + 1);
    const struct {
        u8 word;
        u16 value;
    } words[] = {
        {0, 0x8580},  /* CD-ROM, removable, DRQ within 50 us, 12-byte packets */
        {49, 0x0b00}, /* IORDY, LBA, DMA */
        {50, 0x4000},
        {53, 0x0006},
        {63, (u16)(0x0007 | ((mode & 0xf8) == 0x20 ? BIT(8 + (mode & 7)) : 0))},
        {64, 0x0003},
        {65, 120},
        {66, 120},
        {67, 120},
        {68, 120},
        {71, 30},
        {72, 30},
        {80, 0x0070},
        {82, 0x0210}, /* PACKET, DEVICE RESET */
        {83, 0x4000},
        {84, 0x4000},
        {85, 0x0210},
        {87, 0x4000},
        {88, (u16)(0x003f | ((mode & 0xf8) == 0x40 ? BIT(8 + (mode & 7)) : 0))},
        {93, (u16)(c->selected ? 0x6b00 : 0x600b)},
    };
    memset(b, 0, BLOCK_SECTOR);
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        store_le(b + 2 * words[i].word, words[i].value, 2);
    ata_string(b + 20, serial, 20);
    ata_string(b + 46, "1.0", 8);
    ata_string(b + 54, "Dragoman DVD-ROM", 40);
    c->flags = 0;
    ata_send(c, BLOCK_SECTOR, BLOCK_SECTOR);
}

static void begin_packet(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    if (d->feature & 2) { /* overlapped */
        ata_fail(c, ERR_ABRT);
        return;
    }
    c->block_size = byte_limit(d);
    c->flags = (u8)(ATA_F_PACKET | ATA_F_CD | (d->feature & 1 ? ATA_F_DMA : 0));
    c->phase = ATA_PIO_OUT;
    c->pos = 0;
    c->end = c->block_end = sizeof c->packet;
    d->count = REASON_COD;
    d->error = 0;
    d->status = ST_DRDY | ST_DSC | ST_DRQ;
}

void atapi_command(struct ata_channel *c, u8 command)
{
    struct ata_drive *d = ata_active(c);
    switch (command) {
    case CMD_PACKET: begin_packet(c); return;
    case CMD_IDENTIFY_PACKET: identify_packet(c); return;
    case CMD_IDENTIFY: /* section 8.15.5.2: aborted, with the signature */
        atapi_signature(d);
        d->count = d->lba_low = 1;
        break;
    case CMD_SET_FEATURES:
        if (d->feature == 0x03 && d->count >= 0x20)
            d->dma_mode = d->count;
        if (d->feature == 0x03 || d->feature == 0x66 || d->feature == 0xcc) {
            ata_done(c);
            return;
        }
        break;
    case CMD_CHECK_POWER:
        d->count = 0xff;
        ata_done(c);
        return;
    case CMD_IDLE_NOW:
    case CMD_STANDBY_NOW:
    case CMD_SLEEP: ata_done(c); return;
    default: break;
    }
    ata_fail(c, ERR_ABRT);
}

/* Commands of an ATA disk: ATA/ATAPI-6 (T13/1410D), section 8, with the geometry commands that
 * older software uses (ATA-3, X3T10/2008D).
 *
 * Left out, and aborted as the standard says: SMART, security, Host Protected Area, microcode,
 * queued commands, media status.
 */
#include <stdio.h>
#include <string.h>

#include "devices/storage/ata_int.h"

enum {
    CMD_RECALIBRATE = 0x10, /* to 1F */
    CMD_READ = 0x20,
    CMD_READ_ONCE = 0x21,
    CMD_READ_EXT = 0x24,
    CMD_READ_DMA_EXT = 0x25,
    CMD_NATIVE_MAX_EXT = 0x27,
    CMD_READ_MULTIPLE_EXT = 0x29,
    CMD_WRITE = 0x30,
    CMD_WRITE_ONCE = 0x31,
    CMD_WRITE_EXT = 0x34,
    CMD_WRITE_DMA_EXT = 0x35,
    CMD_WRITE_MULTIPLE_EXT = 0x39,
    CMD_WRITE_VERIFY = 0x3c,
    CMD_VERIFY = 0x40,
    CMD_VERIFY_ONCE = 0x41,
    CMD_VERIFY_EXT = 0x42,
    CMD_SEEK = 0x70,
    CMD_INIT_PARAMETERS = 0x91,
    CMD_READ_MULTIPLE = 0xc4,
    CMD_WRITE_MULTIPLE = 0xc5,
    CMD_SET_MULTIPLE = 0xc6,
    CMD_READ_DMA = 0xc8,
    CMD_READ_DMA_ONCE = 0xc9,
    CMD_WRITE_DMA = 0xca,
    CMD_WRITE_DMA_ONCE = 0xcb,
    CMD_STANDBY_NOW = 0xe0,
    CMD_IDLE_NOW = 0xe1,
    CMD_STANDBY = 0xe2,
    CMD_IDLE = 0xe3,
    CMD_CHECK_POWER = 0xe5,
    CMD_SLEEP = 0xe6,
    CMD_FLUSH = 0xe7,
    CMD_FLUSH_EXT = 0xea,
    CMD_IDENTIFY = 0xec,
    CMD_SET_FEATURES = 0xef,
    CMD_NATIVE_MAX = 0xf8,

    FEATURE_WRITE_CACHE_ON = 0x02,
    FEATURE_TRANSFER_MODE = 0x03,
    FEATURE_APM_ON = 0x05,
    FEATURE_LOOKAHEAD_OFF = 0x55,
    FEATURE_REVERT_OFF = 0x66,
    FEATURE_WRITE_CACHE_OFF = 0x82,
    FEATURE_APM_OFF = 0x85,
    FEATURE_LOOKAHEAD_ON = 0xaa,
    FEATURE_REVERT_ON = 0xcc,

    MULTIPLE_MAX = 16,
    LBA28_MAX = 0x0fffffff,
    HEADS = 16,
    SECTORS = 63,
    CYLINDERS_MAX = 16383,
};

void ata_disk_signature(struct ata_drive *d)
{
    d->lba_mid = d->lba_high = 0;
    d->status = d->kind == ATA_NONE ? 0 : ST_DRDY | ST_DSC;
}

void ata_geometry(const struct block *b, u16 *cylinders, u8 *heads, u8 *sectors)
{
    u64 n = block_size(b) / BLOCK_SECTOR / (HEADS * SECTORS);
    *cylinders = (u16)(n > CYLINDERS_MAX ? CYLINDERS_MAX : n ? n : 1);
    *heads = HEADS;
    *sectors = SECTORS;
}

static u64 disk_sectors(const struct ata_drive *d)
{
    return block_size(d->block) / BLOCK_SECTOR;
}

/* ---- addresses ---- */

/* Sector number of the registers; ~0 for a CHS address that does not exist. */
static u64 address(const struct ata_drive *d, bool ext)
{
    if (ext)
        return (u64)d->hob_high << 40 | (u64)d->hob_mid << 32 | (u64)d->hob_low << 24 |
               (u64)d->lba_high << 16 | (u64)d->lba_mid << 8 | d->lba_low;
    if (d->device & DEV_LBA)
        return (u64)(d->device & DEV_HEAD) << 24 | (u64)d->lba_high << 16 | (u64)d->lba_mid << 8 |
               d->lba_low;
    u32 cylinder = (u32)d->lba_high << 8 | d->lba_mid, head = d->device & DEV_HEAD;
    if (!d->lba_low || d->lba_low > d->sectors || head >= d->heads)
        return ~0ull;
    return ((u64)cylinder * d->heads + head) * d->sectors + d->lba_low - 1;
}

static u32 sector_count(const struct ata_drive *d, bool ext)
{
    u32 n = ext ? (u32)d->hob_count << 8 | d->count : d->count;
    return n ? n : ext ? 65536 : 256;
}

static void set_address(struct ata_drive *d, u64 lba, bool ext)
{
    d->lba_low = (u8)lba;
    d->lba_mid = (u8)(lba >> 8);
    d->lba_high = (u8)(lba >> 16);
    if (ext) {
        d->hob_low = (u8)(lba >> 24);
        d->hob_mid = (u8)(lba >> 32);
        d->hob_high = (u8)(lba >> 40);
    } else {
        d->device = (u8)((d->device & ~DEV_HEAD) | (lba >> 24 & DEV_HEAD));
    }
}

/* ---- IDENTIFY DEVICE (section 8.15) ---- */

void ata_string(u8 *words, const char *text, unsigned chars)
{
    for (unsigned i = 0; i < chars; i++)
        words[i ^ 1] = *text ? (u8)*text++ : ' ';
}

/* The mode words 63 and 88: supported, and selected above. */
static u16 mode_word(u8 mode, u8 kind, u16 supported)
{
    return (u16)(supported | ((mode & 0xf8) == kind ? BIT(8 + (mode & 7)) : 0));
}

static void identify(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    u8 *b = ata_buf(c);
    u16 cylinders;
    u8 heads, sectors;
    char serial[21];
    u64 total = disk_sectors(d);
    u32 lba28 = total > LBA28_MAX ? LBA28_MAX : (u32)total;
    u32 chs = (u32)d->cylinders * d->heads * d->sectors;
    ata_geometry(d->block, &cylinders, &heads, &sectors);
    snprintf(serial, sizeof serial, "DM%05u", d->unit + 1);
    const struct {
        u8 word;
        u16 value;
    } words[] = {
        {0, 0x0040}, /* fixed disk */
        {1, cylinders},
        {3, heads},
        {6, sectors},
        {47, 0x8000 | MULTIPLE_MAX},
        {49, 0x0b00}, /* IORDY, LBA, DMA */
        {50, 0x4000},
        {53, 0x0007}, /* words 54-58, 64-70 and 88 are valid */
        {54, d->cylinders},
        {55, d->heads},
        {56, d->sectors},
        {57, (u16)chs},
        {58, (u16)(chs >> 16)},
        {59, d->multiple ? 0x0100 | d->multiple : 0},
        {60, (u16)lba28},
        {61, (u16)(lba28 >> 16)},
        {63, mode_word(d->dma_mode, 0x20, 0x0007)}, /* multiword DMA 0-2 */
        {64, 0x0003},                               /* PIO 3 and 4 */
        {65, 120},
        {66, 120},
        {67, 120},
        {68, 120},    /* cycle times in ns */
        {80, 0x0070}, /* ATA-4 to ATA-6 */
        {82, 0x0060}, /* write cache, look-ahead */
        {83, 0x7400}, /* FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses */
        {84, 0x4000},
        {85, (u16)(0x0040 | (d->write_cache ? 0x0020 : 0))},
        {86, 0x3400},
        {87, 0x4000},
        {88, mode_word(d->dma_mode, 0x40, 0x003f)}, /* Ultra DMA 0-5 */
        {93, (u16)(c->selected ? 0x6b00 : 0x600b)}, /* reset: 80-conductor cable seen */
    };
    memset(b, 0, BLOCK_SECTOR);
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        store_le(b + 2 * words[i].word, words[i].value, 2);
    store_le(b + 200, total, 8);
    ata_string(b + 20, serial, 20);
    ata_string(b + 46, "1.0", 8);
    ata_string(b + 54, "Dragoman hard disk", 40);
    c->flags = 0;
    ata_send(c, BLOCK_SECTOR, BLOCK_SECTOR);
}

/* ---- transfers ---- */

/* Commands that move sectors, or look at them. */
static const struct move {
    u8 command;
    bool ext, multiple, verify;
    u8 flags;
} moves[] = {
    {CMD_READ, .flags = 0},
    {CMD_READ_ONCE, .flags = 0},
    {CMD_READ_EXT, .ext = true},
    {CMD_READ_MULTIPLE, .multiple = true},
    {CMD_READ_MULTIPLE_EXT, .ext = true, .multiple = true},
    {CMD_READ_DMA, .flags = ATA_F_DMA},
    {CMD_READ_DMA_ONCE, .flags = ATA_F_DMA},
    {CMD_READ_DMA_EXT, .ext = true, .flags = ATA_F_DMA},
    {CMD_WRITE, .flags = ATA_F_WRITE},
    {CMD_WRITE_ONCE, .flags = ATA_F_WRITE},
    {CMD_WRITE_VERIFY, .flags = ATA_F_WRITE},
    {CMD_WRITE_EXT, .ext = true, .flags = ATA_F_WRITE},
    {CMD_WRITE_MULTIPLE, .multiple = true, .flags = ATA_F_WRITE},
    {CMD_WRITE_MULTIPLE_EXT, .ext = true, .multiple = true, .flags = ATA_F_WRITE},
    {CMD_WRITE_DMA, .flags = ATA_F_WRITE | ATA_F_DMA},
    {CMD_WRITE_DMA_ONCE, .flags = ATA_F_WRITE | ATA_F_DMA},
    {CMD_WRITE_DMA_EXT, .ext = true, .flags = ATA_F_WRITE | ATA_F_DMA},
    {CMD_VERIFY, .verify = true},
    {CMD_VERIFY_ONCE, .verify = true},
    {CMD_VERIFY_EXT, .ext = true, .verify = true},
};

static bool move_sectors(struct ata_channel *c, u8 command)
{
    struct ata_drive *d = ata_active(c);
    const struct move *m = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(moves) && !m; i++)
        if (moves[i].command == command)
            m = &moves[i];
    if (!m)
        return false;
    u64 lba = address(d, m->ext), total = disk_sectors(d);
    u32 count = sector_count(d, m->ext);
    c->flags = m->flags & ATA_F_DMA;
    if (lba >= total || count > total - lba) {
        ata_fail(c, ERR_ABRT | ERR_IDNF);
    } else if (m->multiple && !d->multiple) {
        ata_fail(c, ERR_ABRT);
    } else if ((m->flags & ATA_F_WRITE) && block_read_only(d->block)) {
        ata_fail(c, ERR_ABRT);
    } else if (m->verify) {
        set_address(d, lba + count - 1, m->ext);
        ata_done(c);
    } else {
        set_address(d, lba, m->ext);
        c->block_size = (m->multiple ? d->multiple : 1) * BLOCK_SECTOR;
        ata_transfer(c, lba, count, m->flags);
    }
    return true;
}

/* ---- the rest ---- */

static void set_features(struct ata_channel *c)
{
    struct ata_drive *d = ata_active(c);
    switch (d->feature) {
    case FEATURE_TRANSFER_MODE: {
        u8 mode = d->count;
        bool good = mode <= 1 || (mode >= 0x08 && mode <= 0x0c) || (mode >= 0x20 && mode <= 0x22) ||
                    (mode >= 0x40 && mode <= 0x45);
        if (!good) {
            ata_fail(c, ERR_ABRT);
            return;
        }
        if (mode >= 0x20)
            d->dma_mode = mode;
        break;
    }
    case FEATURE_WRITE_CACHE_ON: d->write_cache = 1; break;
    case FEATURE_WRITE_CACHE_OFF:
        d->write_cache = 0;
        c->flags = ATA_F_FLUSH;
        ata_submit(c, BLOCK_FLUSH, 0, 0);
        return;
    case FEATURE_APM_ON:
    case FEATURE_APM_OFF:
    case FEATURE_LOOKAHEAD_ON:
    case FEATURE_LOOKAHEAD_OFF:
    case FEATURE_REVERT_ON:
    case FEATURE_REVERT_OFF: break;
    default: ata_fail(c, ERR_ABRT); return;
    }
    ata_done(c);
}

static void native_max(struct ata_channel *c, bool ext)
{
    struct ata_drive *d = ata_active(c);
    u64 last = disk_sectors(d) - 1;
    if (!ext && !(d->device & DEV_LBA)) {
        ata_fail(c, ERR_ABRT);
        return;
    }
    set_address(d, !ext && last >= LBA28_MAX ? LBA28_MAX - 1 : last, ext);
    ata_done(c);
}

void ata_disk_command(struct ata_channel *c, u8 command)
{
    struct ata_drive *d = ata_active(c);
    d->error = 0;
    if (move_sectors(c, command))
        return;
    if ((command & 0xf0) == CMD_RECALIBRATE)
        command = CMD_RECALIBRATE;
    if ((command & 0xf0) == CMD_SEEK)
        command = CMD_SEEK;
    switch (command) {
    case CMD_IDENTIFY: identify(c); return;
    case CMD_SET_FEATURES: set_features(c); return;
    case CMD_NATIVE_MAX: native_max(c, false); return;
    case CMD_NATIVE_MAX_EXT: native_max(c, true); return;
    case CMD_FLUSH:
    case CMD_FLUSH_EXT:
        c->flags = ATA_F_FLUSH;
        ata_submit(c, BLOCK_FLUSH, 0, 0);
        return;
    case CMD_INIT_PARAMETERS:
        /* The count of cylinders follows from the capacity (ATA-3, 7.15). */
        if (!d->count) {
            ata_fail(c, ERR_ABRT);
            return;
        }
        d->sectors = d->count;
        d->heads = (d->device & DEV_HEAD) + 1;
        d->cylinders = (u16)(disk_sectors(d) / (d->heads * d->sectors) > 0xffff
                                 ? 0xffff
                                 : disk_sectors(d) / (d->heads * d->sectors));
        break;
    case CMD_SET_MULTIPLE:
        if (d->count > MULTIPLE_MAX || (d->count & (d->count - 1))) {
            ata_fail(c, ERR_ABRT);
            return;
        }
        d->multiple = d->count;
        break;
    case CMD_SEEK:
        if (address(d, false) >= disk_sectors(d)) {
            ata_fail(c, ERR_ABRT | ERR_IDNF);
            return;
        }
        break;
    case CMD_CHECK_POWER: d->count = 0xff; break; /* active */
    case CMD_RECALIBRATE:
    case CMD_STANDBY_NOW:
    case CMD_IDLE_NOW:
    case CMD_STANDBY:
    case CMD_IDLE:
    case CMD_SLEEP: break;
    default: ata_fail(c, ERR_ABRT); return;
    }
    ata_done(c);
}

/* Intel 82077AA: the commands that look for sectors on a disk.
 *
 * Data sheet 290166, section 5.1.  An image holds sectors of 512 bytes with the IDs that their
 * places have, so other IDs are never found and cannot be formatted; which sectors carry deleted
 * data marks is kept while the disk is in its drive.
 */
#include "devices/storage/i82077_int.h"

enum {
    SIZE_CODE = 2,      /* N of 512 bytes */
    VERIFY_EC = BIT(7), /* in the second byte: the last one counts sectors */
};

/* What happens when the timer `search` is due. */
enum { SEARCH_SECTOR, SEARCH_ID, SEARCH_FAILED, SEARCHES };

/* SCAN: the disk's bytes against the host's, the first that differ decide. */
enum { SCAN_SAME, SCAN_BELOW, SCAN_ABOVE };

static u8 opcode(const struct i82077 *s)
{
    return s->command[0] & FDC_OPCODE;
}

static bool is_write(const struct i82077 *s)
{
    return opcode(s) == FDC_WRITE || opcode(s) == FDC_WRITE_DELETED;
}

static bool is_scan(const struct i82077 *s)
{
    u8 op = opcode(s);
    return op == FDC_SCAN_EQUAL || op == FDC_SCAN_LOW || op == FDC_SCAN_HIGH;
}

static void finish_badly(struct i82077 *s)
{
    s->st0 |= ST0_ABNORMAL;
    fdc_finish(s);
}

/* ---- what passes under the head ---- */

static u64 turn_ns(const struct floppy_drive *d)
{
    return d->kind == FLOPPY_1200K ? NS_PER_SEC / 6 : NS_PER_SEC / 5; /* 360 or 300 a minute */
}

static u8 head(const struct i82077 *s)
{
    return s->drive_head >> 2 & 1;
}

/* A disk of 48 tracks per inch in a drive of 96: each of its tracks is two steps wide. */
static bool is_coarse(const struct floppy_drive *d)
{
    return d->kind == FLOPPY_1200K && d->media->cylinders == 40;
}

static u8 track_of(const struct floppy_drive *d)
{
    return is_coarse(d) ? d->track / 2 : d->track;
}

/* The rate, as in CCR, at which the disk's bits come in this drive. */
static u8 rate_of(const struct floppy_drive *d)
{
    switch (d->media->drive) {
    case FLOPPY_360K:
    case FLOPPY_720K: return d->kind == FLOPPY_1200K ? 1 : 2;
    case FLOPPY_2880K: return 3;
    default: return 0;
    }
}

static bool turns(struct i82077 *s)
{
    const struct floppy_drive *d = fdc_drive(s);
    return d->kind != FLOPPY_NONE && d->block && fdc_motor(s, s->drive_head & 3);
}

/* IDs can be read at all. */
static bool legible(struct i82077 *s)
{
    const struct floppy_drive *d = fdc_drive(s);
    return turns(s) && (s->command[0] & FDC_MFM) && s->rate == rate_of(d) &&
           head(s) < d->media->heads && track_of(d) < d->media->cylinders &&
           !(is_coarse(d) && (d->track & 1));
}

static u32 sector_number(struct i82077 *s, unsigned r)
{
    const struct floppy_drive *d = fdc_drive(s);
    return ((u32)track_of(d) * d->media->heads + head(s)) * d->media->sectors + r - 1;
}

/* The ID that is wanted is there. */
static bool id_matches(struct i82077 *s)
{
    const struct floppy_drive *d = fdc_drive(s);
    if (s->c != track_of(d))
        s->st2 |= ST2_WRONG_CYLINDER;
    return s->c == track_of(d) && s->h == head(s) && s->n == SIZE_CODE && s->r &&
           s->r <= d->media->sectors;
}

static void wait_for(struct i82077 *s, u8 what, u64 ns)
{
    s->searching = what;
    timer_arm(&s->search, clock_now(s->clock) + ns);
}

/* The second index hole has passed. */
static void fail_late(struct i82077 *s)
{
    wait_for(s, SEARCH_FAILED, 2 * turn_ns(fdc_drive(s)));
}

/* ---- requests ---- */

static void begin_sector(struct i82077 *s);
static void format_next(struct i82077 *s);

static void issue(struct i82077 *s)
{
    bool write = is_write(s) || opcode(s) == FDC_FORMAT;
    s->request_wanted = 0;
    s->request_live = s->request_up = 1;
    if (write)
        memcpy(s->io, is_write(s) ? s->buf : s->sector, sizeof s->io);
    s->request = (struct block_request){.block = fdc_drive(s)->block,
                                        .op = write ? BLOCK_WRITE : BLOCK_READ,
                                        .offset = (u64)s->request_sector * BLOCK_SECTOR,
                                        .data = s->io,
                                        .count = BLOCK_SECTOR,
                                        .done = fdc_request_done,
                                        .opaque = s};
    block_submit(s->pool, &s->request);
}

static void got_sector(struct i82077 *s);

static void submit(struct i82077 *s, u32 sector)
{
    const struct block *b = fdc_drive(s)->block;
    s->request_sector = sector;
    if (((u64)sector + 1) * BLOCK_SECTOR > block_size(b)) {
        /* The image is shorter than the disk. */
        if (is_write(s) || opcode(s) == FDC_FORMAT) {
            s->st0 |= ST0_EQUIPMENT;
            finish_badly(s);
            return;
        }
        memset(s->io, 0, sizeof s->io);
        got_sector(s);
    } else if (s->request_up) {
        s->request_wanted = 1; /* one that a reset has left behind */
    } else {
        issue(s);
    }
}

/* ---- sectors, one after the other ---- */

/* To the next ID (table 5-7); false at the end of the cylinder. */
static bool advance(struct i82077 *s)
{
    bool both = s->command[0] & FDC_MT;
    if (s->r != s->last) {
        s->r++;
        return true;
    }
    s->r = 1;
    if (both)
        s->h ^= 1;
    if (both && !head(s))
        return true;
    s->c++;
    return false;
}

/* Past the end of one side a command with MT goes on with the other. */
static void follow_head(struct i82077 *s)
{
    if (s->command[0] & FDC_MT)
        s->drive_head = (u8)((s->drive_head & 3) | (s->h & 1) << 2);
}

static void next_sector(struct i82077 *s)
{
    follow_head(s);
    begin_sector(s);
}

/* A sector is through. */
static void sector_over(struct i82077 *s)
{
    bool over = s->terminal || s->stop, end = false;
    switch (opcode(s)) {
    case FDC_READ_TRACK:
        s->r++;
        over |= --s->sectors_left == 0;
        break;
    case FDC_VERIFY:
        end = !s->stop && !advance(s);
        over |= s->command[1] & VERIFY_EC ? --s->sectors_left == 0 : end;
        break;
    default: end = !s->stop && !advance(s); break;
    }
    if (over) {
        fdc_finish(s);
    } else if (end) {
        s->st1 |= ST1_END;
        finish_badly(s);
    } else {
        next_sector(s);
    }
}

/* READ TRACK takes what comes, and only notes if that is not what was asked for. */
static void begin_track_sector(struct i82077 *s)
{
    unsigned passing = s->last - s->sectors_left + 1u;
    if (!legible(s) || !s->last || passing > fdc_drive(s)->media->sectors) {
        s->st1 |= ST1_NO_MARK;
        fail_late(s);
        return;
    }
    if (!id_matches(s) || s->r != passing)
        s->st1 |= ST1_NO_DATA;
    submit(s, sector_number(s, passing));
}

static bool is_deleted(struct i82077 *s, u32 sector)
{
    return sector < FLOPPY_SECTORS && (fdc_drive(s)->deleted[sector / 8] & BIT(sector % 8));
}

static void begin_sector(struct i82077 *s)
{
    if (opcode(s) == FDC_READ_TRACK) {
        begin_track_sector(s);
        return;
    }
    for (;;) {
        if (!legible(s) || !id_matches(s)) {
            s->st1 |= legible(s) ? ST1_NO_DATA : ST1_NO_MARK;
            fail_late(s);
            return;
        }
        if (is_write(s)) {
            fdc_transfer(s, FDC_FROM_HOST, BLOCK_SECTOR);
            return;
        }
        u32 sector = sector_number(s, s->r);
        bool other = is_deleted(s, sector) != (opcode(s) == FDC_READ_DELETED);
        if (other)
            s->st2 |= ST2_CONTROL_MARK;
        if (!other || !(s->command[0] & FDC_SK)) {
            s->stop = other;
            submit(s, sector);
            return;
        }
        if (!advance(s)) { /* skipped to the end */
            s->st1 |= ST1_END;
            finish_badly(s);
            return;
        }
        follow_head(s);
    }
}

/* The disk's bytes are in io. */
static void got_sector(struct i82077 *s)
{
    if (opcode(s) == FDC_VERIFY) {
        sector_over(s);
    } else if (is_scan(s)) {
        memcpy(s->sector, s->io, sizeof s->sector);
        s->compare = SCAN_SAME;
        fdc_transfer(s, FDC_FROM_HOST, BLOCK_SECTOR);
    } else {
        memcpy(s->buf, s->io, BLOCK_SECTOR);
        fdc_transfer(s, FDC_TO_HOST, BLOCK_SECTOR);
    }
}

static void wrote_sector(struct i82077 *s)
{
    u32 n = s->request_sector;
    if (n < FLOPPY_SECTORS) {
        u8 *marks = &fdc_drive(s)->deleted[n / 8];
        *marks = (u8)((*marks & ~BIT(n % 8)) | (opcode(s) == FDC_WRITE_DELETED ? BIT(n % 8) : 0));
    }
    if (is_write(s))
        sector_over(s);
    else
        format_next(s);
}

void fdc_request_done(void *opaque)
{
    struct i82077 *s = opaque;
    bool live = s->request_live, write = s->request.op == BLOCK_WRITE;
    s->request_up = s->request_live = 0;
    if (!live) {
        if (s->request_wanted)
            issue(s);
        return;
    }
    if (s->request.error && write) {
        s->st0 |= ST0_EQUIPMENT;
        finish_badly(s);
    } else if (s->request.error) {
        s->st1 |= ST1_DATA;
        s->st2 |= ST2_DATA;
        finish_badly(s);
    } else if (write) {
        wrote_sector(s);
    } else {
        got_sector(s);
    }
}

/* ---- SCAN ---- */

void fdc_scan_byte(struct i82077 *s, u8 byte)
{
    u8 disk = s->sector[s->at % BLOCK_SECTOR];
    if (is_scan(s) && s->compare == SCAN_SAME && byte != disk && byte != 0xff && disk != 0xff)
        s->compare = disk < byte ? SCAN_BELOW : SCAN_ABOVE;
}

/* Section 5.1.8, table 5-9. */
static void scan_over(struct i82077 *s)
{
    bool met = s->compare == SCAN_SAME || (opcode(s) == FDC_SCAN_LOW && s->compare == SCAN_BELOW) ||
               (opcode(s) == FDC_SCAN_HIGH && s->compare == SCAN_ABOVE);
    bool over = met || s->terminal;
    bool end = s->stop;
    for (unsigned step = s->command[8] == 2 ? 2 : 1; step && !end; step--)
        end = !advance(s);
    if (!over && !end) {
        next_sector(s);
        return;
    }
    if (!met)
        s->st2 |= ST2_SCAN_MISS;
    else if (s->compare == SCAN_SAME)
        s->st2 |= ST2_SCAN_HIT;
    fdc_finish(s);
}

/* ---- FORMAT TRACK ---- */

/* The next of the IDs that the host has given becomes a sector; IDs that an image cannot hold come
 * to nothing, and so do more than buf has, which only a snapshot can claim. */
static void format_next(struct i82077 *s)
{
    while (s->sectors_left && 4u * s->sectors_left <= s->end) {
        const u8 *id = s->buf + s->end - 4 * s->sectors_left--;
        s->c = id[0];
        s->h = id[1];
        s->r = id[2];
        s->n = id[3];
        if (id_matches(s)) {
            submit(s, sector_number(s, s->r));
            return;
        }
    }
    s->st2 = 0;
    fdc_finish(s);
}

static void begin_format(struct i82077 *s)
{
    const struct floppy_drive *d = fdc_drive(s);
    s->n = s->command[2];
    s->last = s->eot_sc = s->command[3];
    if (!turns(s)) {
        s->st1 |= ST1_NO_MARK;
        fail_late(s);
    } else if (!legible(s) || s->n != SIZE_CODE || s->last != d->media->sectors) {
        s->st0 |= ST0_EQUIPMENT; /* another format than the image's */
        finish_badly(s);
    } else {
        memset(s->sector, s->command[5], sizeof s->sector);
        fdc_transfer(s, FDC_FROM_HOST, (u16)(4 * s->last));
    }
}

/* ---- from and to i82077.c ---- */

void fdc_data_moved(struct i82077 *s)
{
    bool writes = opcode(s) == FDC_FORMAT || is_write(s);
    if (writes && (!legible(s) || (is_write(s) && !id_matches(s)))) {
        s->st0 |= ST0_EQUIPMENT; /* somebody has pulled the disk meanwhile */
        finish_badly(s);
    } else if (opcode(s) == FDC_FORMAT) {
        s->end = s->at & ~3u; /* TC may have come early */
        s->sectors_left = s->end / 4;
        format_next(s);
    } else if (is_write(s)) {
        memset(s->buf + s->at, 0, (size_t)(s->end - s->at));
        submit(s, sector_number(s, s->r));
    } else if (is_scan(s)) {
        scan_over(s);
    } else {
        sector_over(s);
    }
}

void fdc_search_due(void *opaque)
{
    struct i82077 *s = opaque;
    if (s->phase != FDC_BUSY)
        return;
    if (s->searching == SEARCH_FAILED)
        finish_badly(s);
    else if (s->searching == SEARCH_ID)
        fdc_finish(s);
    else
        begin_sector(s);
}

/* The next ID that comes along, by where the disk is in its turn. */
static void read_id(struct i82077 *s)
{
    const struct floppy_drive *d = fdc_drive(s);
    if (!legible(s)) {
        s->st1 |= ST1_NO_MARK;
        fail_late(s);
        return;
    }
    u64 turn = turn_ns(d), at = clock_now(s->clock) % turn;
    unsigned passed = (unsigned)(at * d->media->sectors / turn);
    u64 next = (turn * (passed + 1) + d->media->sectors - 1) / d->media->sectors;
    s->c = track_of(d);
    s->h = head(s);
    s->r = (u8)((passed + 1) % d->media->sectors + 1);
    s->n = SIZE_CODE;
    wait_for(s, SEARCH_ID, next - at);
}

void fdc_data_command(struct i82077 *s)
{
    u8 op = opcode(s);
    s->phase = FDC_BUSY;
    s->drive_head = s->command[1] & 7;
    s->st0 = s->st1 = s->st2 = 0;
    s->terminal = s->stop = 0;
    struct floppy_drive *d = fdc_drive(s);
    if (op != FDC_READ_ID && op != FDC_FORMAT) {
        s->c = s->command[2];
        s->h = s->command[3];
        s->r = s->command[4];
        s->n = s->command[5];
        s->last = s->eot_sc = s->command[6];
        s->sectors_left = op == FDC_VERIFY ? s->command[8] : s->last;
    }
    if ((is_write(s) || op == FDC_FORMAT) && d->block && block_read_only(d->block)) {
        s->st1 |= ST1_PROTECTED;
        finish_badly(s);
        return;
    }
    if (op == FDC_READ_ID) {
        read_id(s);
        return;
    }
    if (op == FDC_FORMAT) {
        begin_format(s);
        return;
    }
    if ((s->config & CONFIG_IMPLIED_SEEK) && s->c != d->pcn) {
        u64 time = fdc_step(s, d, s->c - d->pcn);
        d->pcn = s->c;
        wait_for(s, SEARCH_SECTOR, time);
    } else {
        begin_sector(s);
    }
}

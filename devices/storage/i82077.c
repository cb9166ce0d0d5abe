/* Intel 82077AA floppy disk controller, with four drives on its cable: registers, phases, and the
 * commands that do not touch a disk's data (those are in i82077_data.c).
 *
 * Data sheet: 82077AA CHMOS single-chip floppy disk controller (290166), in PC/AT mode: status
 * registers A and B are not driven.  Head movement takes the step rate's time; the disk itself is
 * as fast as the host's. Left out: overrun (the host may take its time), FM recording, power down,
 * tape drives' data path, head load and unload times, the FIFO's threshold, what perpendicular mode
 * does to the recording.  A command on a drive without turning disk ends with a missing address
 * mark after two turns' time instead of waiting for ever.
 */
#include "devices/storage/i82077_int.h"

#include "base/log.h"

enum {
    PORT_BASE = 0x3f2,
    PORT_DIR = 0x3f7,
    REG_DOR = 0, /* from PORT_BASE */
    REG_TDR = 1,
    REG_MSR = 2, /* write: DSR */
    REG_FIFO = 3,

    DOR_SELECT = BIT(0) | BIT(1),
    DOR_RUN = BIT(2),  /* low: reset */
    DOR_GATE = BIT(3), /* lets INT and DRQ out */
    DSR_RESET = BIT(7),
    MSR_RQM = BIT(7),
    MSR_DIO = BIT(6), /* to the host */
    MSR_NON_DMA = BIT(5),
    MSR_BUSY = BIT(4),
    DIR_CHANGED = BIT(7),

    CONFIG_RESET = CONFIG_NO_FIFO,
    RATE_RESET = 2,    /* 250 kbit/s */
    RESET_NS = 100000, /* to the first poll */
    RECALIBRATE_STEPS = 79,
    TRACK_MAX = 83, /* where the drive's stop is */
    DMA_CHANNEL = 2,
};

/* ---- disks and drives ---- */

const struct floppy_media *floppy_media(u64 size)
{
    static const struct floppy_media table[] = {
        {160, 40, 1, 8, FLOPPY_360K},    {180, 40, 1, 9, FLOPPY_360K},
        {320, 40, 2, 8, FLOPPY_360K},    {360, 40, 2, 9, FLOPPY_360K},
        {720, 80, 2, 9, FLOPPY_720K},    {1200, 80, 2, 15, FLOPPY_1200K},
        {1440, 80, 2, 18, FLOPPY_1440K}, {1680, 80, 2, 21, FLOPPY_1440K},
        {1722, 82, 2, 21, FLOPPY_1440K}, {2880, 80, 2, 36, FLOPPY_2880K},
    };
    const struct floppy_media *larger = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        u64 bytes = (u64)table[i].kib << 10;
        if (bytes == size)
            return &table[i];
        if (!larger && bytes > size && table[i].kib >= 1440)
            larger = &table[i];
    }
    return larger;
}

const char *floppy_drive_name(enum floppy_kind kind)
{
    static const char *const names[FLOPPY_KINDS] = {"none",
                                                    "5.25 inch, 360 KB",
                                                    "5.25 inch, 1.2 MB",
                                                    "3.5 inch, 720 KB",
                                                    "3.5 inch, 1.44 MB",
                                                    "3.5 inch, 2.88 MB"};
    return names[kind];
}

bool i82077_change(struct i82077 *s, unsigned n, struct block *disk)
{
    struct floppy_drive *d = &s->drive[n % FLOPPY_DRIVES];
    const struct floppy_media *media = disk ? floppy_media(block_size(disk)) : NULL;
    if (disk && !media)
        return false;
    d->block = disk;
    d->media = media;
    d->changed = 1;
    memset(d->deleted, 0, sizeof d->deleted);
    return true;
}

bool i82077_attach(struct i82077 *s, unsigned n, enum floppy_kind kind, struct block *disk)
{
    s->drive[n % FLOPPY_DRIVES].kind = (u8)kind;
    return i82077_change(s, n, disk);
}

/* ---- lines ---- */

static bool moves(const struct i82077 *s)
{
    return s->phase == FDC_TO_HOST || s->phase == FDC_FROM_HOST;
}

static bool wants_dma(const struct i82077 *s)
{
    return moves(s) && !(s->hlt_nd & HLT_ND) && (s->dor & DOR_GATE);
}

static void drive_lines(struct i82077 *s)
{
    pin_set(&s->irq, (s->dor & DOR_GATE) && s->interrupt);
    pin_set(&s->dreq, wants_dma(s));
}

static void set_interrupt(struct i82077 *s, bool on)
{
    s->interrupt = on;
    drive_lines(s);
}

/* ---- phases ---- */

static void to_command(struct i82077 *s)
{
    s->phase = FDC_COMMAND;
    s->command_count = 0;
    drive_lines(s);
}

static void to_result(struct i82077 *s, unsigned count)
{
    s->phase = FDC_RESULT;
    s->result_count = (u8)count;
    s->result_at = 0;
}

void fdc_finish(struct i82077 *s)
{
    s->result[0] = (u8)((s->st0 & ~7) | s->drive_head);
    s->result[1] = s->st1;
    s->result[2] = s->st2;
    s->result[3] = s->c;
    s->result[4] = s->h;
    s->result[5] = s->r;
    s->result[6] = s->n;
    to_result(s, 7);
    set_interrupt(s, true);
}

/* The commands that only answer do so without an interrupt. */
static void answer(struct i82077 *s, const u8 *bytes, unsigned count)
{
    memcpy(s->result, bytes, count);
    to_result(s, count);
}

void fdc_transfer(struct i82077 *s, enum fdc_phase phase, u16 count)
{
    s->phase = (u8)phase;
    s->at = 0;
    s->end = count;
    if (s->hlt_nd & HLT_ND)
        s->interrupt = 1;
    drive_lines(s); /* the DMA controller may have moved everything when this returns */
}

/* A byte goes between host and buf; past the last (or TC) the command goes on. */
static u8 move_byte(struct i82077 *s, u8 byte, bool tc)
{
    bool to_host = s->phase == FDC_TO_HOST;
    if (to_host) {
        byte = s->buf[s->at];
    } else {
        s->buf[s->at] = byte;
        fdc_scan_byte(s, byte);
    }
    s->at++;
    s->terminal |= tc;
    bool more = s->at < s->end && !tc;
    if (s->hlt_nd & HLT_ND) {
        set_interrupt(s, false); /* each byte asks anew, with an edge */
        if (more)
            set_interrupt(s, true);
    }
    if (!more) {
        s->phase = FDC_BUSY;
        drive_lines(s);
        fdc_data_moved(s);
    }
    return byte;
}

static u16 dma_cycle(void *opaque, u16 data, bool tc)
{
    struct i82077 *s = opaque;
    return wants_dma(s) ? move_byte(s, (u8)data, tc) : 0xffff;
}

/* ---- reset ---- */

/* Data sheet, section 4: what a software reset leaves alone is SPECIFY, LOCK and, under LOCK, most
 * of CONFIGURE. */
static void soft_reset(struct i82077 *s)
{
    s->config = s->lock ? s->config & ~(CONFIG_IMPLIED_SEEK | CONFIG_NO_POLL) : CONFIG_RESET;
    if (!s->lock)
        s->pretrack = 0;
    s->perpendicular &= (u8)~3;
    s->st0 = s->st1 = s->st2 = 0;
    s->request_live = s->request_wanted = 0;
    s->terminal = s->interrupt = 0;
    timer_cancel(&s->search);
    timer_cancel(&s->reset);
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        struct floppy_drive *d = &s->drive[i];
        timer_cancel(&d->seek);
        d->seeking = d->waiting = d->pcn = 0;
    }
    to_command(s);
}

static void start_polling(struct i82077 *s)
{
    timer_arm(&s->reset, clock_now(s->clock) + RESET_NS);
}

/* Each drive's ready line seems to have changed (section 4.1.1). */
static void reset_due(void *opaque)
{
    struct i82077 *s = opaque;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        s->drive[i].waiting = 1;
        s->drive[i].st0 = (u8)(ST0_POLLED | i);
    }
    set_interrupt(s, true);
}

static void i82077_reset(void *state)
{
    struct i82077 *s = state;
    s->dor = s->tdr = s->lock = s->perpendicular = 0;
    s->rate = RATE_RESET;
    s->drive_head = s->c = s->h = s->r = s->n = s->last = s->eot_sc = 0;
    s->stop = s->compare = s->searching = 0;
    s->sectors_left = s->at = s->end = 0;
    s->srt_hut = s->hlt_nd = 0;
    s->result_count = s->result_at = 0;
    memset(s->command, 0, sizeof s->command);
    memset(s->result, 0, sizeof s->result);
    memset(s->buf, 0, sizeof s->buf);
    memset(s->sector, 0, sizeof s->sector);
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        struct floppy_drive *d = &s->drive[i];
        d->track = d->target = d->outcome = d->st0 = 0;
        d->changed = 1;
        memset(d->deleted, 0, sizeof d->deleted);
    }
    soft_reset(s);
}

/* ---- seeks ---- */

u64 fdc_step(struct i82077 *s, struct floppy_drive *d, int steps)
{
    /* Table 5-8: milliseconds at 500, 300, 250 kbit/s and 1 Mbit/s, in units of 1/6. */
    static const u8 unit[] = {6, 10, 12, 3};
    int track = d->track + steps;
    unsigned count = (unsigned)(steps < 0 ? -steps : steps);
    d->track = (u8)(track < 0 ? 0 : track > TRACK_MAX ? TRACK_MAX : track);
    if (count && d->block)
        d->changed = 0;
    return count * (16u - (s->srt_hut >> 4)) * unit[s->rate] * (1000000ull / 6);
}

static void begin_seek(struct i82077 *s, int steps, u8 target, u8 outcome)
{
    unsigned n = s->command[1] & 3;
    struct floppy_drive *d = &s->drive[n];
    u64 time = fdc_step(s, d, steps);
    d->seeking = 1;
    d->waiting = 0;
    d->target = target;
    d->outcome = (u8)(outcome | (s->command[1] & 7));
    timer_arm(&d->seek, clock_now(s->clock) + time);
    to_command(s);
}

static void seek_due(void *opaque)
{
    struct floppy_drive *d = opaque;
    struct i82077 *s = d->controller;
    d->seeking = 0;
    d->pcn = d->target;
    d->waiting = 1;
    d->st0 = d->outcome;
    set_interrupt(s, true);
}

static void seek(struct i82077 *s)
{
    const struct floppy_drive *d = &s->drive[s->command[1] & 3];
    begin_seek(s, s->command[2] - d->pcn, s->command[2], ST0_SEEK_END);
}

/* Section 5.2.9: by so many tracks, in (bit 6) or out. */
static void relative_seek(struct i82077 *s)
{
    const struct floppy_drive *d = &s->drive[s->command[1] & 3];
    int by = s->command[0] & BIT(6) ? s->command[2] : -s->command[2];
    begin_seek(s, by, (u8)(d->pcn + by), ST0_SEEK_END);
}

static void recalibrate(struct i82077 *s)
{
    const struct floppy_drive *d = &s->drive[s->command[1] & 3];
    int steps =
        d->track > RECALIBRATE_STEPS || d->kind == FLOPPY_NONE ? RECALIBRATE_STEPS : d->track;
    bool found = d->kind != FLOPPY_NONE && d->track <= RECALIBRATE_STEPS;
    s->command[1] &= 3;
    begin_seek(s, -steps, 0, (u8)(ST0_SEEK_END | (found ? 0 : ST0_EQUIPMENT | ST0_ABNORMAL)));
}

/* ---- commands without data ---- */

static void invalid(struct i82077 *s)
{
    static const u8 st0 = ST0_INVALID;
    log_event(guest_errors, "i82077: invalid command %02x", s->command[0]);
    answer(s, &st0, 1);
}

static void specify(struct i82077 *s)
{
    s->srt_hut = s->command[1];
    s->hlt_nd = s->command[2];
    to_command(s);
}

static void sense_drive(struct i82077 *s)
{
    const struct floppy_drive *d = &s->drive[s->command[1] & 3];
    bool protected = d->block && block_read_only(d->block);
    u8 st3 = (u8)(0x28 | (protected ? BIT(6) : 0) | (s->command[1] & 7));
    if (d->kind != FLOPPY_NONE && d->track == 0)
        st3 |= BIT(4);
    answer(s, &st3, 1);
}

static void sense_interrupt(struct i82077 *s)
{
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        struct floppy_drive *d = &s->drive[i];
        if (!d->waiting)
            continue;
        d->waiting = 0;
        const u8 bytes[] = {d->st0, d->pcn};
        answer(s, bytes, 2);
        set_interrupt(s, false);
        /* Polling after a reset asks once for all; each seek for itself. */
        for (unsigned k = 0; k < FLOPPY_DRIVES; k++)
            if (s->drive[k].waiting && (s->drive[k].st0 & ST0_POLLED) != ST0_POLLED)
                set_interrupt(s, true);
        return;
    }
    invalid(s);
}

static void dump_registers(struct i82077 *s)
{
    const u8 bytes[10] = {s->drive[0].pcn, s->drive[1].pcn,
                          s->drive[2].pcn, s->drive[3].pcn,
                          s->srt_hut,      s->hlt_nd,
                          s->eot_sc,       (u8)((s->lock ? BIT(7) : 0) | s->perpendicular),
                          s->config,       s->pretrack};
    answer(s, bytes, sizeof bytes);
}

static void version(struct i82077 *s)
{
    static const u8 enhanced = 0x90;
    answer(s, &enhanced, 1);
}

static void perpendicular(struct i82077 *s)
{
    u8 v = s->command[1];
    u8 drives = v & BIT(7) ? v & 0x3c : s->perpendicular & 0x3c; /* OW */
    s->perpendicular = (u8)(drives | (v & 3));
    to_command(s);
}

static void configure(struct i82077 *s)
{
    s->config = s->command[2] & 0x7f;
    s->pretrack = s->command[3];
    to_command(s);
}

static void lock(struct i82077 *s)
{
    s->lock = s->command[0] >> 7;
    const u8 byte = (u8)(s->lock << 4);
    answer(s, &byte, 1);
}

/* ---- the command table ---- */

static const struct command {
    u8 opcode, flags; /* flags: bits above the opcode that may be set */
    u8 count;         /* bytes, the first included */
    void (*fn)(struct i82077 *s);
} commands[] = {
    {FDC_READ_TRACK, FDC_MFM, 9, fdc_data_command},
    {FDC_SPECIFY, 0, 3, specify},
    {FDC_SENSE_DRIVE, 0, 2, sense_drive},
    {FDC_WRITE, FDC_MT | FDC_MFM, 9, fdc_data_command},
    {FDC_READ, FDC_MT | FDC_MFM | FDC_SK, 9, fdc_data_command},
    {FDC_RECALIBRATE, 0, 2, recalibrate},
    {FDC_SENSE_INTERRUPT, 0, 1, sense_interrupt},
    {FDC_WRITE_DELETED, FDC_MT | FDC_MFM, 9, fdc_data_command},
    {FDC_READ_ID, FDC_MFM, 2, fdc_data_command},
    {FDC_READ_DELETED, FDC_MT | FDC_MFM | FDC_SK, 9, fdc_data_command},
    {FDC_FORMAT, FDC_MFM, 6, fdc_data_command},
    {FDC_DUMPREG, 0, 1, dump_registers},
    {FDC_SEEK, 0, 3, seek},
    {FDC_VERSION, 0, 1, version},
    {FDC_SCAN_EQUAL, FDC_MT | FDC_MFM | FDC_SK, 9, fdc_data_command},
    {FDC_PERPENDICULAR, 0, 2, perpendicular},
    {FDC_CONFIGURE, 0, 4, configure},
    {FDC_LOCK, FDC_MT, 1, lock},
    {FDC_VERIFY, FDC_MT | FDC_MFM | FDC_SK, 9, fdc_data_command},
    {FDC_SCAN_LOW, FDC_MT | FDC_MFM | FDC_SK, 9, fdc_data_command},
    {FDC_SCAN_HIGH, FDC_MT | FDC_MFM | FDC_SK, 9, fdc_data_command},
};

static const struct command relative = {FDC_SEEK, FDC_MT | FDC_MFM, 3, relative_seek};
static const struct command unknown = {0, 0, 1, invalid};

static const struct command *find_command(u8 byte)
{
    if ((byte & ~FDC_MFM) == (FDC_SEEK | FDC_MT))
        return &relative;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        if (commands[i].opcode == (byte & FDC_OPCODE) &&
            !(byte & ~(FDC_OPCODE | commands[i].flags)))
            return &commands[i];
    return &unknown;
}

static void command_byte(struct i82077 *s, u8 byte)
{
    s->command[s->command_count++] = byte;
    const struct command *c = find_command(s->command[0]);
    if (s->command_count >= c->count)
        c->fn(s);
}

/* ---- read ---- */

static u8 main_status(const struct i82077 *s)
{
    u8 v = 0;
    if (!(s->dor & DOR_RUN))
        return 0;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++)
        v |= (u8)(s->drive[i].seeking ? BIT(i) : 0);
    switch (s->phase) {
    case FDC_COMMAND: return v | MSR_RQM | (s->command_count ? MSR_BUSY : 0);
    case FDC_RESULT: return v | MSR_RQM | MSR_DIO | MSR_BUSY;
    case FDC_TO_HOST:
    case FDC_FROM_HOST:
        if (s->hlt_nd & HLT_ND)
            v |= MSR_RQM | MSR_NON_DMA | (s->phase == FDC_TO_HOST ? MSR_DIO : 0);
        return v | MSR_BUSY;
    default: return v | MSR_BUSY | (s->hlt_nd & HLT_ND ? MSR_NON_DMA : 0);
    }
}

static u8 fifo_read(struct i82077 *s)
{
    if (!(s->dor & DOR_RUN))
        return 0;
    if (s->phase == FDC_TO_HOST && (s->hlt_nd & HLT_ND))
        return move_byte(s, 0, false);
    if (s->phase != FDC_RESULT)
        return 0;
    u8 byte = s->result[s->result_at++];
    if (s->result_at == 1 && find_command(s->command[0])->fn == fdc_data_command)
        set_interrupt(s, false);
    if (s->result_at >= s->result_count)
        to_command(s);
    return byte;
}

static u64 fdc_read(void *opaque, u64 offset, unsigned size)
{
    struct i82077 *s = opaque;
    switch (offset) {
    case REG_DOR: return s->dor;
    case REG_TDR: return s->tdr | 0xfc;
    case REG_MSR: return main_status(s);
    default: return fifo_read(s);
    }
}

static u64 dir_read(void *opaque, u64 offset, unsigned size)
{
    const struct i82077 *s = opaque;
    const struct floppy_drive *d = &s->drive[s->dor & DOR_SELECT];
    return d->kind != FLOPPY_NONE && d->changed ? DIR_CHANGED : 0;
}

/* ---- write ---- */

static void dor_write(struct i82077 *s, u8 v)
{
    u8 before = s->dor;
    s->dor = v;
    if (!(v & DOR_RUN)) {
        soft_reset(s);
    } else if (!(before & DOR_RUN)) {
        start_polling(s);
    }
    drive_lines(s);
}

static void dsr_write(struct i82077 *s, u8 v)
{
    s->rate = v & 3;
    if (!(v & DSR_RESET))
        return;
    soft_reset(s);
    if (s->dor & DOR_RUN)
        start_polling(s);
}

static void fifo_write(struct i82077 *s, u8 v)
{
    if (!(s->dor & DOR_RUN))
        return;
    if (s->phase == FDC_COMMAND)
        command_byte(s, v);
    else if (s->phase == FDC_FROM_HOST && (s->hlt_nd & HLT_ND))
        move_byte(s, v, false);
}

static void fdc_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i82077 *s = opaque;
    u8 v = (u8)value;
    switch (offset) {
    case REG_DOR: dor_write(s, v); break;
    case REG_TDR: s->tdr = v & 3; break;
    case REG_MSR: dsr_write(s, v); break;
    default: fifo_write(s, v); break;
    }
}

static void ccr_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    ((struct i82077 *)opaque)->rate = value & 3;
}

void i82077_init(struct i82077 *s, struct bus *b, struct clock *clock, struct block_pool *pool,
                 const struct pin *irq, struct i8237 *dma)
{
    static const struct bus_ops ops = {fdc_read, fdc_write, 1, 1};
    static const struct bus_ops dir_ops = {dir_read, ccr_write, 1, 1};
    memset(s, 0, sizeof *s);
    s->irq = *irq;
    s->pool = pool;
    s->clock = clock;
    s->dreq = (struct pin){i8237_set_dreq, dma, DMA_CHANNEL};
    i8237_connect(dma, DMA_CHANNEL, &(struct i8237_client){dma_cycle, s});
    timer_init(&s->search, clock, fdc_search_due, s);
    timer_init(&s->reset, clock, reset_due, s);
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++) {
        s->drive[i].controller = s;
        timer_init(&s->drive[i].seek, clock, seek_due, &s->drive[i]);
    }
    bus_map_ports(b, "floppy", PORT_BASE, 4, &ops, s);
    bus_map_ports(b, "floppy-dir", PORT_DIR, 1, &dir_ops, s);
    i82077_reset(s);
}

/* ---- state ---- */

static void i82077_loaded(void *state)
{
    struct i82077 *s = state;
    s->rate &= 3;
    s->drive_head &= 7;
    s->request_up = s->request_live = s->request_wanted = 0;
    if (s->end > sizeof s->buf)
        s->end = sizeof s->buf;
    if (s->phase > FDC_RESULT || (moves(s) && s->at >= s->end) ||
        (s->phase == FDC_RESULT &&
         (s->result_count > sizeof s->result || s->result_at >= s->result_count)))
        s->phase = FDC_COMMAND;
    if (s->phase == FDC_COMMAND && s->command_count >= find_command(s->command[0])->count)
        s->command_count = 0;
    for (unsigned i = 0; i < FLOPPY_DRIVES; i++)
        if (s->drive[i].track > TRACK_MAX)
            s->drive[i].track = TRACK_MAX;
    drive_lines(s);
}

#define FLOPPY_FIELDS(n)                                                                           \
    FIELD(struct i82077, drive[n].track), FIELD(struct i82077, drive[n].pcn),                      \
        FIELD(struct i82077, drive[n].target), FIELD(struct i82077, drive[n].seeking),             \
        FIELD(struct i82077, drive[n].outcome), FIELD(struct i82077, drive[n].changed),            \
        FIELD(struct i82077, drive[n].waiting), FIELD(struct i82077, drive[n].st0),                \
        FIELD_ARRAY(struct i82077, drive[n].deleted), FIELD_TIMER(struct i82077, drive[n].seek)

/* A snapshot is taken with no request under way (block_pool_drain). */
static const struct field i82077_fields[] = {FLOPPY_FIELDS(0),
                                             FLOPPY_FIELDS(1),
                                             FLOPPY_FIELDS(2),
                                             FLOPPY_FIELDS(3),
                                             FIELD(struct i82077, dor),
                                             FIELD(struct i82077, tdr),
                                             FIELD(struct i82077, rate),
                                             FIELD(struct i82077, srt_hut),
                                             FIELD(struct i82077, hlt_nd),
                                             FIELD(struct i82077, config),
                                             FIELD(struct i82077, pretrack),
                                             FIELD(struct i82077, perpendicular),
                                             FIELD(struct i82077, lock),
                                             FIELD(struct i82077, phase),
                                             FIELD_ARRAY(struct i82077, command),
                                             FIELD(struct i82077, command_count),
                                             FIELD_ARRAY(struct i82077, result),
                                             FIELD(struct i82077, result_count),
                                             FIELD(struct i82077, result_at),
                                             FIELD(struct i82077, st0),
                                             FIELD(struct i82077, st1),
                                             FIELD(struct i82077, st2),
                                             FIELD(struct i82077, drive_head),
                                             FIELD(struct i82077, c),
                                             FIELD(struct i82077, h),
                                             FIELD(struct i82077, r),
                                             FIELD(struct i82077, n),
                                             FIELD(struct i82077, last),
                                             FIELD(struct i82077, eot_sc),
                                             FIELD(struct i82077, sectors_left),
                                             FIELD(struct i82077, terminal),
                                             FIELD(struct i82077, stop),
                                             FIELD(struct i82077, compare),
                                             FIELD(struct i82077, searching),
                                             FIELD(struct i82077, interrupt),
                                             FIELD(struct i82077, at),
                                             FIELD(struct i82077, end),
                                             FIELD_ARRAY(struct i82077, buf),
                                             FIELD_ARRAY(struct i82077, sector),
                                             FIELD_TIMER(struct i82077, search),
                                             FIELD_TIMER(struct i82077, reset),
                                             FIELD_END};

const struct device_class i82077_class = {
    .name = "i82077",
    .description = "floppy disk controller",
    .reset = i82077_reset,
    .fields = i82077_fields,
    .loaded = i82077_loaded,
};

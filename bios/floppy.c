/* INT 13h of floppy drives, and their interrupt.
 *
 * IBM PC AT Technical Reference, BIOS listing (DISKETTE_IO); 82077AA data sheet (290166) for the
 * controller.  A sector's place goes to the controller as it comes, with the end of the track from
 * the table at INT 1Eh if a program has put one of its own there.
 * Left out: waiting for motors to come up to speed and heads to settle, which no drive here needs;
 * INT 15h AH = 90h and 91h.
 */
#include "bios/disk.h"

enum {
    DOR = 0x3f2,
    MSR = 0x3f4,
    FIFO = 0x3f5,
    DIR = 0x3f7,
    CCR = 0x3f7,
    DOR_RUN = 0x0c, /* out of reset, interrupt and DMA on */
    DIR_CHANGED = 0x80,
    MSR_RQM = 0x80,
    MSR_DIO = 0x40,

    CMD_SPECIFY = 0x03,
    CMD_RECALIBRATE = 0x07,
    CMD_SENSE_INTERRUPT = 0x08,
    CMD_SEEK = 0x0f,
    CMD_READ_ID = 0x4a,
    CMD_READ = 0xe6, /* both sides, skipping deleted data */
    CMD_WRITE = 0xc5,
    CMD_FORMAT = 0x4d,

    DMA_MASK = 0x0a,
    DMA_MODE = 0x0b,
    DMA_CLEAR = 0x0c,
    DMA_ADDRESS = 0x04,
    DMA_COUNT = 0x05,
    DMA_PAGE = 0x81,
    CHANNEL = 2,

    BDA_SEEK_STATUS = 0x43e, /* bits 0 and 1: recalibrated; bit 7: an interrupt came */
    BDA_FLOPPY_STATUS = 0x441,
    BDA_RESULT = 0x442, /* seven bytes */
    BDA_MEDIA = 0x490,  /* of each drive: bits 7:6 rate, 5 double steps, 4 known */
    BDA_TRACK = 0x494,
    TABLE_VECTOR = 0x1e * 4,
    MEDIA_KNOWN = 0x10,
    MEDIA_DOUBLE = 0x20,

    INTERRUPT_CAME = 0x80,
    READY_STEPS = 20000,     /* of 15 us each, for a byte */
    INTERRUPT_STEPS = 60000, /* of 30 us, for a command */
};

static const struct format {
    u8 kind, rate, sectors, cylinders, media;
    u8 table; /* index in floppy_tables */
} formats[] = {
    {1, 2, 9, 40, 0x93, 0},  {2, 0, 15, 80, 0x15, 2}, {2, 1, 9, 40, 0x74, 0},
    {3, 2, 9, 80, 0x97, 1},  {4, 0, 18, 80, 0x17, 3}, {4, 2, 9, 80, 0x97, 1},
    {5, 3, 36, 80, 0xd7, 4}, {5, 0, 18, 80, 0x17, 3}, {5, 2, 9, 80, 0x97, 1},
};

#define FORMATS (sizeof formats / sizeof formats[0])
#define TABLE_BYTES 11

/* What each drive's disk was found to be; an index in formats. */
static u8 found[FLOPPIES_MAX];

static void status(frame_ptr f, u8 code)
{
    f->ah = code;
    set_carry(f, code != DISK_OK);
    bda8_set(BDA_FLOPPY_STATUS, code);
}

/* A byte of the table that INT 1Eh points to. */
static u8 table_byte(u8 n)
{
    u32 at = bda32(TABLE_VECTOR);
    far_segment((u16)(at >> 16));
    return FAR(u8, (u16)at + n);
}

static bool own_table(void)
{
    return bda32(TABLE_VECTOR) >> 16 == CODE_SEG;
}

/* ---- the controller ---- */

/* INT 0Eh, IRQ 6. */
void service_0e(frame_ptr f)
{
    bda8_set(BDA_SEEK_STATUS, bda8(BDA_SEEK_STATUS) | INTERRUPT_CAME);
    irq_end(6);
}

static bool ready(u8 wanted)
{
    for (u32 i = 0; i < READY_STEPS; i++) {
        if ((inb(MSR) & (MSR_RQM | MSR_DIO)) == wanted)
            return true;
        delay_us(15);
    }
    return false;
}

/* Interrupts are let in; false when there is none in two seconds. */
static bool wait_floppy(void)
{
    for (u32 i = 0; i < INTERRUPT_STEPS; i++) {
        u8 s = bda8(BDA_SEEK_STATUS);
        if (s & INTERRUPT_CAME) {
            bda8_set(BDA_SEEK_STATUS, s & (u8)~INTERRUPT_CAME);
            return true;
        }
        __asm__ volatile("sti; nop; cli");
        delay_us(15);
    }
    return false;
}

static bool send(const u8 *bytes, u8 count)
{
    bda8_set(BDA_SEEK_STATUS, bda8(BDA_SEEK_STATUS) & (u8)~INTERRUPT_CAME);
    for (u8 i = 0; i < count; i++) {
        if (!ready(MSR_RQM))
            return false;
        outb(FIFO, bytes[i]);
    }
    return true;
}

static bool receive(u8 count)
{
    for (u8 i = 0; i < count; i++) {
        if (!ready(MSR_RQM | MSR_DIO))
            return false;
        bda8_set((u16)(BDA_RESULT + i), inb(FIFO));
    }
    return true;
}

static bool sense_interrupt(void)
{
    static const u8 sense[] = {CMD_SENSE_INTERRUPT};
    return send(sense, 1) && receive(2);
}

static u8 reset_controller(void)
{
    bda8_set(BDA_SEEK_STATUS, 0);
    outb(DOR, DOR_RUN & ~4);
    delay_us(30);
    outb(DOR, DOR_RUN);
    bda8_set(BDA_MOTOR, bda8(BDA_MOTOR) & 0xf0);
    if (!wait_floppy())
        return DISK_TIME_OUT;
    for (u8 i = 0; i < 4; i++)
        if (!sense_interrupt())
            return DISK_CONTROLLER;
    const u8 specify[] = {CMD_SPECIFY, table_byte(0), table_byte(1)};
    return send(specify, 3) ? DISK_OK : DISK_CONTROLLER;
}

/* INT 08h turns the motors off when the ticks have gone by. */
static void motor_on(u8 unit)
{
    u8 running = (u8)((bda8(BDA_MOTOR) & 3) | BIT(unit));
    bda8_set(BDA_MOTOR_TICKS, 0xff);
    bda8_set(BDA_MOTOR, (u8)((bda8(BDA_MOTOR) & 0xcc) | unit << 4 | running));
    outb(DOR, (u8)(running << 4 | DOR_RUN | unit));
}

/* The ending of a seek: DISK_OK, or what went wrong. */
static u8 seek_command(const u8 *bytes, u8 count)
{
    if (!send(bytes, count))
        return DISK_CONTROLLER;
    if (!wait_floppy())
        return DISK_TIME_OUT;
    if (!sense_interrupt())
        return DISK_CONTROLLER;
    return (bda8(BDA_RESULT) & 0xc0) ? DISK_SEEK : DISK_OK;
}

static u8 recalibrate(u8 unit)
{
    const u8 bytes[] = {CMD_RECALIBRATE, unit};
    u8 code = seek_command(bytes, 2);
    if (code == DISK_SEEK) /* the heads were beyond track 79 */
        code = seek_command(bytes, 2);
    if (code == DISK_OK) {
        bda8_set(BDA_SEEK_STATUS, bda8(BDA_SEEK_STATUS) | (u8)BIT(unit));
        bda8_set((u16)(BDA_TRACK + unit), 0);
    }
    return code;
}

static u8 seek(u8 unit, u8 head, u8 track)
{
    const u8 bytes[] = {CMD_SEEK, (u8)(head << 2 | unit), track};
    if (!(bda8(BDA_SEEK_STATUS) & BIT(unit))) {
        u8 code = recalibrate(unit);
        if (code != DISK_OK)
            return code;
    }
    if (bda8((u16)(BDA_TRACK + unit)) == track)
        return DISK_OK;
    bda8_set((u16)(BDA_TRACK + unit), track);
    return seek_command(bytes, 3);
}

/* Waits for the end of a command with a result of seven bytes. */
static u8 finish(void)
{
    if (!wait_floppy())
        return DISK_TIME_OUT;
    if (!receive(7))
        return DISK_CONTROLLER;
    if (!(bda8(BDA_RESULT) & 0xc0))
        return DISK_OK;
    static const struct {
        u8 bit, code;
    } errors[] = {{0x80, DISK_NOT_FOUND}, {0x20, DISK_BAD_DATA},        {0x10, DISK_OVERRUN},
                  {0x04, DISK_NOT_FOUND}, {0x02, DISK_WRITE_PROTECTED}, {0x01, DISK_NO_MARK}};
    u8 st1 = bda8(BDA_RESULT + 1);
    for (u8 i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (st1 & errors[i].bit)
            return errors[i].code;
    return DISK_CONTROLLER;
}

/* A time-out leaves the controller in the middle of things. */
static u8 settle(u8 code)
{
    if (code == DISK_TIME_OUT || code == DISK_CONTROLLER)
        reset_controller();
    bda8_set(BDA_MOTOR_TICKS, table_byte(2));
    return code;
}

/* ---- which disk is in the drive ---- */

static void set_format(u8 unit, u8 n)
{
    found[unit] = n;
    bda8_set((u16)(BDA_MEDIA + unit), formats[n].media | MEDIA_KNOWN);
    outb(CCR, formats[n].rate);
}

static bool known(u8 unit)
{
    return bda8((u16)(BDA_MEDIA + unit)) & MEDIA_KNOWN;
}

/* The first of a drive's formats, its best. */
static u8 first_format(u8 unit)
{
    u8 n = 0;
    while (formats[n].kind != shared.floppy[unit])
        n++;
    return n;
}

static u8 format_of(u8 unit)
{
    return known(unit) ? found[unit] : first_format(unit);
}

/* Tries the rates that the drive has. */
static u8 establish(u8 unit)
{
    const u8 read_id[] = {CMD_READ_ID, unit};
    u8 code = DISK_NO_MARK;
    if (known(unit)) {
        outb(CCR, formats[found[unit]].rate);
        return DISK_OK;
    }
    for (u8 n = first_format(unit); n < FORMATS && formats[n].kind == shared.floppy[unit]; n++) {
        outb(CCR, formats[n].rate);
        code = seek(unit, 0, 0);
        if (code == DISK_OK)
            code = send(read_id, 2) ? finish() : DISK_CONTROLLER;
        if (code == DISK_OK) {
            set_format(unit, n);
            return DISK_OK;
        }
        if (code == DISK_TIME_OUT)
            break;
    }
    return code;
}

/* The change line stays until the heads move over a disk: DISK_CHANGED once, or that the drive is
 * empty. */
static u8 check_change(u8 unit)
{
    if (!(inb(DIR) & DIR_CHANGED))
        return DISK_OK;
    bda8_set((u16)(BDA_MEDIA + unit), 0);
    bda8_set(BDA_SEEK_STATUS, bda8(BDA_SEEK_STATUS) & (u8)~BIT(unit));
    u8 code = seek(unit, 0, 1);
    if (code == DISK_OK)
        code = seek(unit, 0, 0);
    if (code != DISK_OK)
        return code;
    return inb(DIR) & DIR_CHANGED ? DISK_TIME_OUT : DISK_CHANGED;
}

/* ---- transfers ---- */

/* Section "DMA_SETUP": a block must not cross a border of 64 KiB. */
static u8 dma(u8 mode, u32 memory, u16 bytes)
{
    if ((memory & 0xffff) + bytes > 0x10000 || memory >= 0x1000000)
        return DISK_DMA_BOUNDARY;
    outb(DMA_MASK, 4 | CHANNEL);
    outb(DMA_CLEAR, 0);
    outb(DMA_MODE, mode);
    outb(DMA_ADDRESS, (u8)memory);
    outb(DMA_ADDRESS, (u8)(memory >> 8));
    outb(DMA_PAGE, (u8)(memory >> 16));
    bytes--;
    outb(DMA_COUNT, (u8)bytes);
    outb(DMA_COUNT, (u8)(bytes >> 8));
    outb(DMA_MASK, CHANNEL);
    return DISK_OK;
}

enum { MODE_READ = 0x46, MODE_WRITE = 0x4a, MODE_VERIFY = 0x42 };

static u8 to_track(u8 unit, u8 head, u8 cylinder)
{
    bool twice = bda8((u16)(BDA_MEDIA + unit)) & MEDIA_DOUBLE;
    return seek(unit, head, (u8)(twice ? cylinder * 2 : cylinder));
}

static u8 move(frame_ptr f, u8 unit, enum disk_op op)
{
    static const u8 modes[] = {MODE_READ, MODE_WRITE, MODE_VERIFY};
    u8 code = establish(unit), last;
    if (code == DISK_OK)
        code = dma(modes[op], ((u32)f->es << 4) + f->bx, (u16)(f->al * 512));
    if (code == DISK_OK)
        code = to_track(unit, f->dh, f->ch);
    if (code != DISK_OK)
        return code;
    last = own_table() ? formats[found[unit]].sectors : table_byte(4);
    if (f->cl > last) /* more on a track than usual */
        last = (u8)(f->cl + f->al - 1);
    const u8 bytes[] = {op == DISK_WRITE ? CMD_WRITE : CMD_READ,
                        (u8)(f->dh << 2 | unit),
                        f->ch,
                        f->dh,
                        f->cl,
                        table_byte(3),
                        last,
                        table_byte(5),
                        table_byte(6)};
    if (!send(bytes, sizeof bytes))
        return DISK_CONTROLLER;
    return finish();
}

static void transfer(frame_ptr f, u8 unit, enum disk_op op)
{
    u8 code = DISK_BAD_COMMAND;
    if (f->al && f->al < 128 && f->dh < 2) {
        motor_on(unit);
        code = check_change(unit);
        if (code == DISK_OK)
            code = move(f, unit, op);
        if (code == DISK_NO_MARK) /* perhaps another disk than was taken for granted */
            bda8_set((u16)(BDA_MEDIA + unit), 0);
        code = settle(code);
    }
    if (code != DISK_OK)
        f->al = 0;
    status(f, code);
}

/* 05h: the addresses of AL sectors, four bytes each, are at ES:BX. */
static u8 format_track(frame_ptr f, u8 unit)
{
    if (!known(unit))
        set_format(unit, first_format(unit));
    const struct format *m = &formats[found[unit]];
    u8 sectors = own_table() ? m->sectors : table_byte(4);
    outb(CCR, m->rate);
    u8 code = dma(MODE_WRITE, ((u32)f->es << 4) + f->bx, (u16)(sectors * 4));
    if (code == DISK_OK)
        code = to_track(unit, f->dh, f->ch);
    if (code != DISK_OK)
        return code;
    const u8 bytes[] = {CMD_FORMAT, (u8)(f->dh << 2 | unit), table_byte(3),
                        sectors,    table_byte(7),           table_byte(8)};
    return send(bytes, sizeof bytes) ? finish() : DISK_CONTROLLER;
}

static void format_service(frame_ptr f, u8 unit)
{
    motor_on(unit);
    u8 code = f->dh < 2 ? check_change(unit) : DISK_BAD_COMMAND;
    if (code == DISK_OK)
        code = format_track(f, unit);
    status(f, settle(code));
}

/* ---- what there is ---- */

static u16 table_at(u8 format)
{
    return (u16)((u32)floppy_tables + formats[format].table * TABLE_BYTES);
}

static void parameters(frame_ptr f, u8 unit)
{
    u8 n = format_of(unit);
    f->ax = 0;
    f->bx = shared.floppy[unit];
    f->ch = (u8)(formats[n].cylinders - 1);
    f->cl = formats[n].sectors;
    f->dh = 1;
    f->dl = (u8)(shared.floppies + floppy_emulated());
    f->es = CODE_SEG;
    f->di = table_at(n);
    status(f, DISK_OK);
}

/* 15h: 1 without, 2 with a change line, which drives of 360 KB do not have. */
static void drive_type(frame_ptr f, u8 unit)
{
    f->ah = shared.floppy[unit] == 1 ? 1 : 2;
    set_carry(f, false);
    bda8_set(BDA_FLOPPY_STATUS, DISK_OK);
}

static void change_line(frame_ptr f, u8 unit)
{
    motor_on(unit);
    u8 dir = inb(DIR);
    bda8_set(BDA_MOTOR_TICKS, table_byte(2));
    status(f, dir & DIR_CHANGED ? DISK_CHANGED : DISK_OK);
}

/* 17h: 1 360K, 2 360K in 1.2M, 3 1.2M, 4 720K or 1.44M; what will be formatted. */
static void set_type(frame_ptr f, u8 unit)
{
    static const u8 sectors[] = {0, 9, 9, 15, 9};
    u8 kind = shared.floppy[unit];
    for (u8 n = 0; f->al && f->al < sizeof sectors && n < FORMATS; n++) {
        if (formats[n].kind != kind || formats[n].sectors != sectors[f->al])
            continue;
        set_format(unit, n);
        status(f, DISK_OK);
        return;
    }
    status(f, DISK_BAD_COMMAND);
}

/* 18h: the same by geometry; ES:DI is the table to format with. */
static void set_media(frame_ptr f, u8 unit)
{
    for (u8 n = 0; n < FORMATS; n++) {
        if (formats[n].kind != shared.floppy[unit] || formats[n].cylinders - 1 != f->ch ||
            formats[n].sectors != (f->cl & 0x3f))
            continue;
        set_format(unit, n);
        f->es = CODE_SEG;
        f->di = table_at(n);
        status(f, DISK_OK);
        return;
    }
    status(f, DISK_UNKNOWN_MEDIA);
}

void floppy_service(frame_ptr f, u8 unit)
{
    if (f->ah == 0x00) {
        status(f, shared.floppies ? reset_controller() : DISK_OK);
        return;
    }
    if (f->ah == 0x01) {
        f->ah = bda8(BDA_FLOPPY_STATUS);
        set_carry(f, f->ah != 0);
        return;
    }
    if (unit >= FLOPPIES_MAX || !shared.floppy[unit]) {
        bool query = f->ah == 0x15; /* no such drive; not an error */
        status(f, query ? DISK_OK : DISK_BAD_COMMAND);
        if (!query)
            f->al = 0;
        return;
    }
    switch (f->ah) {
    case 0x02: transfer(f, unit, DISK_READ); break;
    case 0x03: transfer(f, unit, DISK_WRITE); break;
    case 0x04: transfer(f, unit, DISK_VERIFY); break;
    case 0x05: format_service(f, unit); break;
    case 0x08: parameters(f, unit); break;
    case 0x15: drive_type(f, unit); break;
    case 0x16: change_line(f, unit); break;
    case 0x17: set_type(f, unit); break;
    case 0x18: set_media(f, unit); break;
    default: status(f, DISK_BAD_COMMAND); break;
    }
}

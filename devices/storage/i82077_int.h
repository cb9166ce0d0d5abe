/* Between the files of the floppy controller. */
#ifndef DRAGOMAN_DEVICES_STORAGE_I82077_INT_H
#define DRAGOMAN_DEVICES_STORAGE_I82077_INT_H

#include "devices/storage/i82077.h"

enum {
    /* first bytes of commands, without their flags */
    FDC_READ_TRACK = 0x02,
    FDC_SPECIFY = 0x03,
    FDC_SENSE_DRIVE = 0x04,
    FDC_WRITE = 0x05,
    FDC_READ = 0x06,
    FDC_RECALIBRATE = 0x07,
    FDC_SENSE_INTERRUPT = 0x08,
    FDC_WRITE_DELETED = 0x09,
    FDC_READ_ID = 0x0a,
    FDC_READ_DELETED = 0x0c,
    FDC_FORMAT = 0x0d,
    FDC_DUMPREG = 0x0e,
    FDC_SEEK = 0x0f,
    FDC_VERSION = 0x10,
    FDC_SCAN_EQUAL = 0x11,
    FDC_PERPENDICULAR = 0x12,
    FDC_CONFIGURE = 0x13,
    FDC_LOCK = 0x14,
    FDC_VERIFY = 0x16,
    FDC_SCAN_LOW = 0x19,
    FDC_SCAN_HIGH = 0x1d,
    FDC_OPCODE = 0x1f,
    FDC_MT = BIT(7),
    FDC_MFM = BIT(6),
    FDC_SK = BIT(5),

    ST0_ABNORMAL = BIT(6),
    ST0_INVALID = BIT(7),
    ST0_POLLED = BIT(7) | BIT(6),
    ST0_SEEK_END = BIT(5),
    ST0_EQUIPMENT = BIT(4),
    ST1_END = BIT(7),  /* of cylinder */
    ST1_DATA = BIT(5), /* CRC */
    ST1_NO_DATA = BIT(2),
    ST1_PROTECTED = BIT(1),
    ST1_NO_MARK = BIT(0),
    ST2_CONTROL_MARK = BIT(6),
    ST2_DATA = BIT(5),
    ST2_WRONG_CYLINDER = BIT(4),
    ST2_SCAN_HIT = BIT(3),
    ST2_SCAN_MISS = BIT(2),

    CONFIG_IMPLIED_SEEK = BIT(6),
    CONFIG_NO_FIFO = BIT(5),
    CONFIG_NO_POLL = BIT(4),

    HLT_ND = BIT(0), /* SPECIFY: no DMA */
};

enum fdc_phase {
    FDC_COMMAND, /* takes the bytes of a command */
    FDC_BUSY,    /* seeks, looks for a sector, or a request is under way */
    FDC_TO_HOST, /* buf[at..end) is for the host */
    FDC_FROM_HOST,
    FDC_RESULT,
};

/* ---- i82077.c ---- */

/* What goes to the host or comes from it is there: asks for it by DMA, or by interrupt. */
void fdc_transfer(struct i82077 *s, enum fdc_phase phase, u16 count);
/* The command ends: ST0-ST2 and the sector's ID are the result. */
void fdc_finish(struct i82077 *s);
/* Head movement of `steps` tracks (outwards below 0), which lasts the time returned, in ns. */
u64 fdc_step(struct i82077 *s, struct floppy_drive *d, int steps);

static inline struct floppy_drive *fdc_drive(struct i82077 *s)
{
    return &s->drive[s->drive_head & 3];
}

static inline bool fdc_motor(const struct i82077 *s, unsigned drive)
{
    return s->dor & BIT(4 + drive);
}

/* ---- i82077_data.c ---- */

/* Begins READ, WRITE and their like, READ ID and FORMAT TRACK; all bytes of the command are here.
 */
void fdc_data_command(struct i82077 *s);
/* buf has been moved as far as the host wanted. */
void fdc_data_moved(struct i82077 *s);
/* One byte from the host has come to a scan. */
void fdc_scan_byte(struct i82077 *s, u8 byte);
/* The timer `search` and the pool's request. */
void fdc_search_due(void *opaque);
void fdc_request_done(void *opaque);

#endif

/* Intel 82077AA floppy disk controller with its drives; see i82077.c. */
#ifndef DRAGOMAN_DEVICES_STORAGE_I82077_H
#define DRAGOMAN_DEVICES_STORAGE_I82077_H

#include "base/clock.h"
#include "devices/device.h"
#include "devices/host/block.h"
#include "devices/i8237.h"
#include "mmu/bus.h"

#define FLOPPY_DRIVES 4u
#define FLOPPY_SECTORS 5760u /* of the largest disk */

/* Drives, with the numbers that CMOS byte 10h has for them. */
enum floppy_kind {
    FLOPPY_NONE,
    FLOPPY_360K,
    FLOPPY_1200K,
    FLOPPY_720K,
    FLOPPY_1440K,
    FLOPPY_2880K,
    FLOPPY_KINDS
};

/* How a disk is formatted. */
struct floppy_media {
    u16 kib;
    u8 cylinders, heads, sectors;
    u8 drive; /* enum floppy_kind that it is made for */
};

/* The format of an image of so many bytes: that of just this size, or for odd ones the next larger
 * from 1.44 MB on, whose rest reads as zeros.  NULL: no floppy is so large. */
const struct floppy_media *floppy_media(u64 size);
/* "3.5 inch, 1.44 MB" */
const char *floppy_drive_name(enum floppy_kind kind);

struct i82077;

struct floppy_drive {
    u8 kind;
    struct block *block;              /* NULL: empty */
    const struct floppy_media *media; /* of the disk inside */
    u8 track;                         /* where the heads are */
    u8 pcn;                           /* where the controller takes them to be */
    u8 target;                        /* what pcn is when the seek ends */
    u8 seeking;                       /* its DRV BUSY bit */
    u8 outcome;                       /* ST0 of the seek that is under way */
    u8 changed;                       /* the drive's disk change latch */
    u8 waiting, st0; /* an interrupt for SENSE INTERRUPT STATUS, and what that is to say */
    u8 deleted[FLOPPY_SECTORS / 8]; /* sectors with deleted data marks, until the disk leaves */
    struct timer seek;
    struct i82077 *controller;
};

struct i82077 {
    struct floppy_drive drive[FLOPPY_DRIVES];
    struct pin irq, dreq;
    struct block_pool *pool;
    struct clock *clock;
    u8 dor, tdr, rate;   /* rate: as in DSR and CCR */
    u8 srt_hut, hlt_nd;  /* SPECIFY */
    u8 config, pretrack; /* CONFIGURE */
    u8 perpendicular;    /* PERPENDICULAR MODE */
    u8 lock;
    u8 phase;
    u8 command[9], command_count;
    u8 result[10], result_count, result_at;
    u8 st0, st1, st2;
    u8 drive_head;           /* of the command: bit 2 head, bits 1:0 drive */
    u8 c, h, r, n;           /* sector being dealt with */
    u8 last;                 /* EOT, the last sector of a track; SC of VERIFY and FORMAT TRACK */
    u8 eot_sc;               /* for DUMPREG: the last EOT or SC that was given */
    u16 sectors_left;        /* VERIFY with EC; READ TRACK, FORMAT TRACK */
    u8 terminal;             /* TC has come */
    u8 stop;                 /* a sector with the other kind of mark: the last one */
    u8 compare;              /* SCAN: what the sector is so far; i82077_data.c */
    u8 searching;            /* what `search` waits for; i82077_data.c */
    u8 interrupt;            /* INT, before the gate */
    u16 at, end;             /* in buf */
    u8 buf[1024];            /* a sector; the IDs of a track to be formatted */
    u8 sector[BLOCK_SECTOR]; /* SCAN, FORMAT TRACK: the disk's side */
    struct timer search;     /* the sector passes under the head, or has not in two turns */
    struct timer reset;      /* interrupt after a reset */
    struct block_request request;
    u8 request_up;     /* the pool has the request */
    u8 request_live;   /* ... and its end is waited for */
    u8 request_wanted; /* the next is to be handed over when the last one has returned */
    u32 request_sector;
    u8 io[BLOCK_SECTOR]; /* the request's */
};

/* Claims ports 3F2-3F5 and 3F7, and client channel 2 of the DMA controller.  The pool must outlive
 * the chip. */
void i82077_init(struct i82077 *s, struct bus *b, struct clock *clock, struct block_pool *pool,
                 const struct pin *irq, struct i8237 *dma);

/* Plugs drive n in, before the first reset; the disk in it (or NULL) stays the caller's.  False if
 * no floppy is so large. */
bool i82077_attach(struct i82077 *s, unsigned n, enum floppy_kind kind, struct block *disk);
/* Puts another disk in (NULL: takes it out); false as above, with nothing changed.  No request of
 * the old one may be under way (block_pool_drain). */
bool i82077_change(struct i82077 *s, unsigned n, struct block *disk);

extern const struct device_class i82077_class;

#endif

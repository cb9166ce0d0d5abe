/* Between the files of an ATA channel. */
#ifndef DRAGOMAN_DEVICES_STORAGE_ATA_INT_H
#define DRAGOMAN_DEVICES_STORAGE_ATA_INT_H

#include "devices/storage/ata.h"

enum {
    ST_ERR = BIT(0),
    ST_DRQ = BIT(3),
    ST_DSC = BIT(4), /* seek complete (service for ATAPI) */
    ST_DF = BIT(5),
    ST_DRDY = BIT(6),
    ST_BSY = BIT(7),
    ERR_ABRT = BIT(2),
    ERR_IDNF = BIT(4),
    ERR_UNC = BIT(6),
    DEV_HEAD = 0x0f,
    DEV_SELECT = BIT(4),
    DEV_LBA = BIT(6),
    REASON_COD = BIT(0), /* interrupt reason, in the count register: command or data */
    REASON_IO = BIT(1),  /* to the host */
    CTL_NIEN = BIT(1),
    CTL_SRST = BIT(2),
    CTL_HOB = BIT(7),
    /* ata_channel.flags */
    ATA_F_DMA = BIT(0),
    ATA_F_WRITE = BIT(1),
    ATA_F_PACKET = BIT(2), /* PIO_OUT takes a command packet */
    ATA_F_CD = BIT(3),     /* blocks of a packet command: byte counts, interrupt reason */
    ATA_F_FLUSH = BIT(4),
};

static inline u8 *ata_buf(struct ata_channel *c)
{
    return (u8 *)c->buf;
}

/* The drive that executes a command, or did so last; software may have selected the other one. */
static inline struct ata_drive *ata_active(struct ata_channel *c)
{
    return &c->drive[c->active];
}

/* ---- ata.c: the ends of a command ---- */

void ata_raise(struct ata_channel *c);
/* Ends the command: status, error register, interrupt. */
void ata_done(struct ata_channel *c);
void ata_fail(struct ata_channel *c, u8 error);
/* Shows buf[0..count) to the host, in DRQ blocks of `block` bytes; the command then ends, or goes
 * on with the next request while sectors are left. */
void ata_send(struct ata_channel *c, u32 count, u32 block);
/* Starts a transfer of `left` sectors from `lba`, in DRQ blocks of c->block_size. */
void ata_transfer(struct ata_channel *c, u64 lba, u32 left, u8 flags);
void ata_submit(struct ata_channel *c, enum block_op op, u64 offset, u32 count);

/* ---- ata_disk.c ---- */

void ata_disk_command(struct ata_channel *c, u8 command);
void ata_disk_signature(struct ata_drive *d);
/* Writes a string into IDENTIFY words, padded with blanks, in ATA's byte order. */
void ata_string(u8 *words, const char *text, unsigned chars);

/* ---- atapi.c ---- */

void atapi_command(struct ata_channel *c, u8 command);
void atapi_signature(struct ata_drive *d);
/* All 12 bytes of c->packet are here. */
void atapi_packet(struct ata_channel *c);
/* Ends a packet command: good, or CHECK CONDITION with this sense. */
void atapi_done(struct ata_channel *c);
void atapi_check(struct ata_channel *c, u8 key, u8 asc);
/* Reason and byte count of the DRQ block that begins at c->pos. */
void atapi_begin_block(struct ata_channel *c, u32 bytes);

#endif

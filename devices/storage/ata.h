/* An ATA channel: two drives (disks or ATAPI CD-ROMs) behind one task file. */
#ifndef DRAGOMAN_DEVICES_STORAGE_ATA_H
#define DRAGOMAN_DEVICES_STORAGE_ATA_H

#include "devices/device.h"
#include "devices/host/block.h"
#include "mmu/bus.h"

#define ATA_BUFFER 65536u
#define ATA_CD_SECTOR 2048u

enum ata_kind { ATA_NONE, ATA_DISK, ATA_CDROM };

/* ATA/ATAPI-6, section 7: each drive latches what is written and answers when selected. */
struct ata_drive {
    u8 kind;
    struct block *block; /* NULL: no drive, or a CD-ROM without a disc */
    u8 unit;             /* on this machine, for its serial number */
    u8 status, error, feature, count, lba_low, lba_mid, lba_high, device;
    u8 hob_feature, hob_count, hob_low, hob_mid, hob_high; /* what the register held before */
    u8 multiple; /* sectors of one DRQ block of READ MULTIPLE; 0: off */
    u8 dma_mode; /* SET FEATURES 03h: transfer mode */
    u8 write_cache;
    u16 cylinders, heads, sectors; /* current CHS translation */
    /* CD-ROM */
    u8 sense_key, asc, ascq; /* what REQUEST SENSE says */
    u8 attention;            /* a disc came or went: the next command says so */
    u8 locked, tray_open;
    u8 media_event; /* for GET EVENT STATUS NOTIFICATION */
};

/* What a channel is doing. */
enum ata_phase {
    ATA_IDLE,
    ATA_BUSY,    /* a request is under way */
    ATA_PIO_IN,  /* the host reads buf[pos..end) */
    ATA_PIO_OUT, /* the host fills buf[pos..end) */
    ATA_DMA_IN,  /* buf[0..end) waits for the bus master */
    ATA_DMA_OUT, /* the bus master is to fill buf[0..end) */
};

/* The bus master behind the channel. */
struct ata_dma {
    /* Moves up to `count` bytes between buf and guest memory; returns how many.  0 also when it has
     * not been started. */
    u32 (*transfer)(void *opaque, void *buf, u32 count, bool to_memory);
    /* The drive has ended the command. */
    void (*finished)(void *opaque);
    void *opaque;
};

struct ata_channel {
    struct ata_drive drive[2];
    struct pin irq; /* INTRQ */
    struct ata_dma dma;
    struct block_pool *pool;
    u8 selected; /* 0 or 1 */
    u8 active;   /* whose command this is */
    u8 control;  /* device control register */
    u8 intrq;    /* pending; shown on the pin unless nIEN */
    u8 phase;
    u8 command;     /* being executed */
    u8 flags;       /* of the transfer, ATA_F_ in ata_int.h */
    u32 pos, end;   /* in buf */
    u32 block_end;  /* end of this DRQ block */
    u32 block_size; /* bytes of a whole DRQ block */
    u64 lba;        /* of the next request, in sectors of the medium */
    u32 left;       /* sectors still to be requested */
    u8 packet[12];
    u8 request_up;    /* the pool has the request */
    u8 reset_pending; /* a reset waits for the request */
    struct block_request request;
    u64 buf[ATA_BUFFER / 8];
};

/* The channel's registers at `command` (8 ports) and `control` (1 port); the regions, for the chip
 * that switches them.  The pool must outlive the channel. */
void ata_init(struct ata_channel *c, struct block_pool *pool, const struct pin *irq,
              const struct ata_dma *dma);
extern const struct bus_ops ata_command_ops, ata_control_ops;

/* Plugs a drive in, before the first reset.  `block` stays the caller's. */
void ata_attach(struct ata_channel *c, unsigned unit, enum ata_kind kind, struct block *block,
                unsigned number);
/* Puts another disc in (NULL: takes it out), as through the tray; false while software has locked
 * the tray and `force` is not set.  No request of the old disc may be under way (block_pool_drain).
 */
bool ata_change_disc(struct ata_channel *c, unsigned unit, struct block *block, bool force);

/* Hard reset. */
void ata_reset(void *channel);
/* The bus master has been started: a waiting transfer goes on. */
void ata_dma_started(struct ata_channel *c);

/* The geometry that a disk reports: ATA's default translation. */
void ata_geometry(const struct block *b, u16 *cylinders, u8 *heads, u8 *sectors);

extern const struct device_class ata_class;

#endif

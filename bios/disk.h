/* Between INT 13h and the drivers of the drives; 16-bit code. */
#ifndef BIOS_DISK_H
#define BIOS_DISK_H

#include "bios/service.h"

/* Status codes of INT 13h (IBM PC AT Technical Reference; EDD 3.0). */
enum {
    DISK_OK = 0x00,
    DISK_BAD_COMMAND = 0x01,
    DISK_NO_MARK = 0x02,
    DISK_WRITE_PROTECTED = 0x03,
    DISK_NOT_FOUND = 0x04, /* the sector */
    DISK_CHANGED = 0x06,
    DISK_OVERRUN = 0x08,
    DISK_DMA_BOUNDARY = 0x09,
    DISK_UNKNOWN_MEDIA = 0x0c,
    DISK_BAD_DATA = 0x10,
    DISK_CONTROLLER = 0x20,
    DISK_NO_MEDIA = 0x31,
    DISK_SEEK = 0x40,
    DISK_NOT_LOCKED = 0xb0,
    DISK_LOCKED = 0xb1,
    DISK_NOT_REMOVABLE = 0xb2,
    DISK_TIME_OUT = 0x80,
    DISK_WRITE_FAULT = 0xcc,
};

enum disk_op { DISK_READ, DISK_WRITE, DISK_VERIFY };

/* Moves sectors of a disk to or from linear memory below 1 MiB; returns a status code and how many
 * are through. */
u8 disk_transfer(const struct disk *d, enum disk_op op, u64 lba, u16 count, u32 memory, u16 *done);
/* Reads CD sectors of 2,048 bytes. */
u8 cd_read(const struct disk *d, u32 lba, u16 count, u32 memory);
/* A packet without data: start/stop unit, prevent removal. */
u8 cd_command(const struct disk *d, u8 opcode, u8 argument);
/* Reads 512-byte sectors of the emulated drive. */
u8 emulated_read(u32 sector, u16 count, u32 memory, u16 *done);

/* One sector, for who has to look at it or to move it further; not kept from call to call. */
extern u8 disk_bounce[2048];

/* All functions of a real floppy drive (0 or 1). */
void floppy_service(frame_ptr f, u8 unit);
/* AH = 41h to 4Eh. */
void edd_service(frame_ptr f);
/* The drive of INT 13h's number, or NULL. */
const struct disk *disk_of(u8 unit);
bool is_emulated(u8 unit);
/* Whether an emulated floppy is drive 0, which makes the real ones 1 and 2. */
bool floppy_emulated(void);

#endif

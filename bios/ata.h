/* The registers of an ATA channel, for both halves of the firmware: ATA/ATAPI-6, section 7. */
#ifndef BIOS_ATA_H
#define BIOS_ATA_H

#include "bios/types.h"

enum {
    ATA_DATA = 0,
    ATA_ERROR = 1,
    ATA_FEATURE = 1,
    ATA_COUNT = 2,
    ATA_LBA_LOW = 3,
    ATA_LBA_MID = 4,
    ATA_LBA_HIGH = 5,
    ATA_DEVICE = 6,
    ATA_COMMAND = 7,
    ATA_STATUS = 7,

    ATA_ST_ERR = 0x01,
    ATA_ST_DRQ = 0x08,
    ATA_ST_DF = 0x20,
    ATA_ST_DRDY = 0x40,
    ATA_ST_BSY = 0x80,
    ATA_ERR_ABRT = 0x04,
    ATA_ERR_IDNF = 0x10,
    ATA_ERR_UNC = 0x40,

    ATA_CTL_NIEN = 0x02,
    ATA_CTL_SRST = 0x04,
    ATA_DEV_LBA = 0xe0,
    ATA_DEV_CHS = 0xa0,

    ATA_READ = 0x20,
    ATA_READ_EXT = 0x24,
    ATA_WRITE = 0x30,
    ATA_WRITE_EXT = 0x34,
    ATA_VERIFY = 0x40,
    ATA_VERIFY_EXT = 0x42,
    ATA_PACKET = 0xa0,
    ATA_IDENTIFY_PACKET = 0xa1,
    ATA_FLUSH = 0xe7,
    ATA_IDENTIFY = 0xec,
};

#endif

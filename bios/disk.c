/* Transfers of ATA disks and ATAPI CD-ROMs by programmed I/O, for INT 13h.
 *
 * ATA/ATAPI-6, sections 9.5 (PIO data-in), 9.6 (PIO data-out), 9.8 (PACKET).  Interrupts of the
 * drives stay off; those of the machine are let in while a drive is busy.
 */
#include "bios/ata.h"
#include "bios/disk.h"

enum {
    SECTOR = 512,
    CD_SECTOR = 2048,
    TIME_OUT_TICKS = 18 * 10,
    PART = 128, /* sectors of one command */
    CD_PART = 16,
    PACKET_BYTES = 12,
    CD_RETRIES = 5,
};

/* Until BSY is clear; false after ten seconds. */
static bool ready(const struct disk *d)
{
    u32 start = bda32(BDA_TICKS);
    while (inb(d->control) & ATA_ST_BSY) {
        __asm__ volatile("sti; nop; cli");
        u32 now = bda32(BDA_TICKS);
        if (now < start)
            start = now; /* midnight */
        if (now - start > TIME_OUT_TICKS)
            return false;
    }
    return true;
}

static u8 failure(const struct disk *d, enum disk_op op)
{
    u8 status = inb((u16)(d->port + ATA_STATUS)), error = inb((u16)(d->port + ATA_ERROR));
    if (!(status & (ATA_ST_ERR | ATA_ST_DF)))
        return DISK_CONTROLLER;
    if (error & ATA_ERR_IDNF)
        return DISK_NOT_FOUND;
    if (error & ATA_ERR_UNC)
        return DISK_BAD_DATA;
    return op == DISK_WRITE ? DISK_WRITE_PROTECTED : DISK_BAD_COMMAND;
}

static void words_in(u16 port, u32 memory, u16 words)
{
    u32 count = words, to = memory & 15;
    u16 seg = (u16)(memory >> 4);
    __asm__ volatile("pushw %%es; movw %3, %%es; rep insw; popw %%es"
                     : "+c"(count), "+D"(to) : "d"(port), "r"(seg) : "memory");
}

static void words_out(u16 port, u32 memory, u16 words)
{
    u32 count = words, from = memory & 15;
    u16 seg = (u16)(memory >> 4);
    __asm__ volatile("pushw %%ds; movw %3, %%ds; rep outsw; popw %%ds"
                     : "+c"(count), "+S"(from) : "d"(port), "r"(seg) : "memory");
}

/* ---- disks ---- */

static void task_file(const struct disk *d, u64 lba, u16 count, u8 command, bool ext)
{
    u16 p = d->port;
    outb(d->control, ATA_CTL_NIEN);
    outb((u16)(p + ATA_DEVICE),
         (u8)(ATA_DEV_LBA | d->slave << 4 | (ext ? 0 : lba >> 24 & 15)));
    if (ext) {
        outb((u16)(p + ATA_COUNT), (u8)(count >> 8));
        outb((u16)(p + ATA_LBA_LOW), (u8)(lba >> 24));
        outb((u16)(p + ATA_LBA_MID), (u8)(lba >> 32));
        outb((u16)(p + ATA_LBA_HIGH), (u8)(lba >> 40));
    }
    outb((u16)(p + ATA_COUNT), (u8)count);
    outb((u16)(p + ATA_LBA_LOW), (u8)lba);
    outb((u16)(p + ATA_LBA_MID), (u8)(lba >> 8));
    outb((u16)(p + ATA_LBA_HIGH), (u8)(lba >> 16));
    outb((u16)(p + ATA_COMMAND), command);
}

static u8 one_command(const struct disk *d, enum disk_op op, u64 lba, u16 count, u32 memory,
                      u16 *done)
{
    static const u8 plain[] = {ATA_READ, ATA_WRITE, ATA_VERIFY};
    static const u8 extended[] = {ATA_READ_EXT, ATA_WRITE_EXT, ATA_VERIFY_EXT};
    bool ext = lba + count > 0x0fffffff;
    if (!ready(d))
        return DISK_TIME_OUT;
    task_file(d, lba, count, ext ? extended[op] : plain[op], ext);
    for (u16 i = 0; i < count && op != DISK_VERIFY; i++, memory += SECTOR) {
        if (!ready(d))
            return DISK_TIME_OUT;
        if ((inb((u16)(d->port + ATA_STATUS)) & (ATA_ST_ERR | ATA_ST_DF | ATA_ST_DRQ)) !=
            ATA_ST_DRQ)
            return failure(d, op);
        if (op == DISK_READ)
            words_in(d->port, memory, SECTOR / 2);
        else
            words_out(d->port, memory, SECTOR / 2);
        if (op == DISK_READ)
            ++*done;
    }
    if (!ready(d))
        return DISK_TIME_OUT;
    if (inb((u16)(d->port + ATA_STATUS)) & (ATA_ST_ERR | ATA_ST_DF))
        return failure(d, op);
    if (op != DISK_READ)
        *done = (u16)(*done + count);
    return DISK_OK;
}

u8 disk_transfer(const struct disk *d, enum disk_op op, u64 lba, u16 count, u32 memory, u16 *done)
{
    u8 status = DISK_OK;
    *done = 0;
    if (lba >= d->sectors || count > d->sectors - lba)
        return DISK_NOT_FOUND;
    while (count && status == DISK_OK) {
        u16 n = count < PART ? count : PART;
        status = one_command(d, op, lba, n, memory, done);
        lba += n;
        memory += (u32)n * SECTOR;
        count = (u16)(count - n);
    }
    return status;
}

/* ---- CD-ROMs ---- */

/* Sends a packet and takes what comes to `memory`; DISK_CONTROLLER for CHECK CONDITION. */
static u8 packet(const struct disk *d, const u8 *bytes, u32 memory)
{
    u16 p = d->port;
    if (!ready(d))
        return DISK_TIME_OUT;
    outb(d->control, ATA_CTL_NIEN);
    outb((u16)(p + ATA_DEVICE), (u8)(ATA_DEV_CHS | d->slave << 4));
    outb((u16)(p + ATA_FEATURE), 0);
    outb((u16)(p + ATA_LBA_MID), (u8)CD_SECTOR);
    outb((u16)(p + ATA_LBA_HIGH), CD_SECTOR >> 8);
    outb((u16)(p + ATA_COMMAND), ATA_PACKET);
    if (!ready(d))
        return DISK_TIME_OUT;
    if ((inb((u16)(p + ATA_STATUS)) & (ATA_ST_ERR | ATA_ST_DRQ)) != ATA_ST_DRQ)
        return DISK_CONTROLLER;
    for (u8 i = 0; i < PACKET_BYTES; i += 2)
        outw(p, (u16)(bytes[i] | bytes[i + 1] << 8));
    for (;;) {
        if (!ready(d))
            return DISK_TIME_OUT;
        u8 status = inb((u16)(p + ATA_STATUS));
        if (status & ATA_ST_ERR)
            return DISK_CONTROLLER;
        if (!(status & ATA_ST_DRQ))
            return DISK_OK;
        u16 n = (u16)(inb((u16)(p + ATA_LBA_MID)) | inb((u16)(p + ATA_LBA_HIGH)) << 8);
        words_in(p, memory, (u16)(n / 2));
        memory += n;
    }
}

/* The first command after a disc came is refused with UNIT ATTENTION: try again. */
static u8 packet_again(const struct disk *d, const u8 *bytes, u32 memory)
{
    u8 status = DISK_CONTROLLER;
    for (u8 i = 0; i < CD_RETRIES && status == DISK_CONTROLLER; i++)
        status = packet(d, bytes, memory);
    return status == DISK_CONTROLLER ? DISK_NO_MEDIA : status;
}

u8 cd_read(const struct disk *d, u32 lba, u16 count, u32 memory)
{
    u8 status = DISK_OK;
    while (count && status == DISK_OK) {
        u16 n = count < CD_PART ? count : CD_PART;
        const u8 bytes[PACKET_BYTES] = {0x28, 0, (u8)(lba >> 24), (u8)(lba >> 16), (u8)(lba >> 8),
                                        (u8)lba, 0, (u8)(n >> 8), (u8)n};
        status = packet_again(d, bytes, memory);
        lba += n;
        memory += (u32)n * CD_SECTOR;
        count = (u16)(count - n);
    }
    return status;
}

u8 cd_command(const struct disk *d, u8 opcode, u8 argument)
{
    const u8 bytes[PACKET_BYTES] = {opcode, 0, 0, 0, argument};
    return packet_again(d, bytes, 0);
}

/* ---- the emulated drive ---- */

u8 disk_bounce[CD_SECTOR];

/* Linear address of what is in the services' data segment. */
static u32 linear(const void *p)
{
    return DATA_BASE + (u32)p;
}

static void copy_far(u32 to, const u8 *from, u16 count)
{
    far_segment((u16)(to >> 4));
    u16 at = to & 15;
    while (count--)
        FAR(u8, at++) = *from++;
}

u8 emulated_read(u32 sector, u16 count, u32 memory, u16 *done)
{
    const struct emulation *e = &shared.emulation;
    const struct disk *d = &shared.disk[e->cd];
    for (*done = 0; *done < count; ++*done, sector++, memory += SECTOR) {
        if (*done == 0 || sector % 4 == 0) {
            u8 status = cd_read(d, e->start + sector / 4, 1, linear(disk_bounce));
            if (status != DISK_OK)
                return status;
        }
        copy_far(memory, disk_bounce + sector % 4 * SECTOR, SECTOR);
    }
    return DISK_OK;
}

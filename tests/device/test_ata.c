/* The IDE interface, disks and CD-ROM drives, through ports and bus-master memory, on images in
 * memory files; a stepped clock reports the requests.
 *
 *     test_ata [SECONDS]    with a number: random register writes for that long instead
 */
#include <time.h>

#include "devices/storage/piix3_ide.h"
#include "tests/device/disk_fixture.h"
#include "tests/device/hostile.h"
#include "tests/device/io_fixture.h"

#define RAM_SIZE (4u << 20)
#define DISK_SECTORS 70000u
#define CD_SECTORS 1000u
#define DEVFN (1 << 3 | 1)
#define BM 0xc000
#define TABLE 0x1000
#define BUFFER 0x100000

enum { P0 = 0x1f0, P1 = 0x170, C0 = 0x3f6, C1 = 0x376, BSY = 0x80, DRDY = 0x40, DRQ = 8, ERR = 1 };

struct ata_test {
    struct bus *bus;
    struct clock clock;
    struct wires wires;
    struct pci_bus pci;
    struct piix3_ide ide;
    struct block_pool *pool;
    struct block *disk, *cd;
    u8 *ram;
    u8 *disk_map, *cd_map; /* the images' bytes */
};

static void config_write(struct ata_test *t, unsigned reg, u32 value, unsigned size)
{
    bus_out(t->bus, 0, 0xcf8, 0x80000000u | DEVFN << 8 | (reg & ~3u), 4);
    bus_out(t->bus, 0, (u16)(0xcfc + (reg & 3)), value, size);
}

static void setup(struct ata_test *t)
{
    struct pci_wiring w = {0};
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    clock_init(&t->clock, CLOCK_STEPPED);
    t->ram = bus_alloc_ram(t->bus, RAM_SIZE, "ram");
    bus_map_ram(t->bus, "ram", 0, RAM_SIZE, t->ram, true, true, 0);
    pci_bus_init(&t->pci, t->bus, &w);
    t->pool = make_pool(&t->clock);
    struct pin irq[2] = {wire(&t->wires, 14), wire(&t->wires, 15)};
    piix3_ide_init(&t->ide, &t->pci, t->bus, DEVFN, t->pool, irq);
    t->disk = make_image((u64)DISK_SECTORS * 512, &t->disk_map, false);
    t->cd = make_image((u64)CD_SECTORS * 2048, &t->cd_map, true);
    ata_attach(&t->ide.channel[0], 0, ATA_DISK, t->disk, 0);
    ata_attach(&t->ide.channel[1], 0, ATA_CDROM, t->cd, 2);
    config_write(t, 0x20, BM, 4);
    config_write(t, 0x40, 0x80008000, 4);
    config_write(t, 0x04, 5, 2);
}

static void teardown(struct ata_test *t)
{
    block_pool_free(t->pool);
    munmap(t->disk_map, (size_t)DISK_SECTORS * 512);
    munmap(t->cd_map, (size_t)CD_SECTORS * 2048);
    block_close(t->disk);
    block_close(t->cd);
    bus_destroy(t->bus);
}

static void step(struct ata_test *t)
{
    clock_step(&t->clock, NS_PER_SEC / 100);
}

/* Task file of an LBA28 command. */
static void command(struct ata_test *t, u16 base, u32 lba, u8 count, u8 device, u8 cmd)
{
    out8(t->bus, (u16)(base + 6), (u8)(device | lba >> 24));
    out8(t->bus, (u16)(base + 2), count);
    out8(t->bus, (u16)(base + 3), (u8)lba);
    out8(t->bus, (u16)(base + 4), (u8)(lba >> 8));
    out8(t->bus, (u16)(base + 5), (u8)(lba >> 16));
    out8(t->bus, (u16)(base + 7), cmd);
}

static u8 status_of(struct ata_test *t, u16 base)
{
    return (u8)in8(t->bus, (u16)(base + 7));
}

static void get_data(struct ata_test *t, u16 base, u8 *to, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 2)
        store_le(to + i, bus_in(t->bus, 0, base, 2), 2);
}

static void put_data(struct ata_test *t, u16 base, const u8 *from, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += 4)
        bus_out(t->bus, 0, base, (u32)load_le(from + i, 4), 4);
}

START_TEST(signatures)
{
    struct ata_test t;
    setup(&t);
    ck_assert_uint_eq(status_of(&t, P0), 0x50);
    ck_assert_uint_eq(in8(t.bus, P0 + 4) | in8(t.bus, P0 + 5) << 8, 0);
    ck_assert_uint_eq(in8(t.bus, P1 + 4) | in8(t.bus, P1 + 5) << 8, 0xeb14);
    out8(t.bus, P0 + 6, 0x10); /* nobody there */
    ck_assert_uint_eq(status_of(&t, P0), 0);
    out8(t.bus, C1, 4);
    ck_assert_uint_eq(in8(t.bus, C1), BSY);
    out8(t.bus, C1, 0);
    ck_assert_uint_eq(in8(t.bus, P1 + 4) | in8(t.bus, P1 + 5) << 8, 0xeb14);
    /* Without decode the ports are not there. */
    config_write(&t, 0x40, 0, 4);
    ck_assert_uint_eq(status_of(&t, P0), 0xff);
    teardown(&t);
}
END_TEST

START_TEST(identify)
{
    struct ata_test t;
    u8 id[512];
    setup(&t);
    command(&t, P0, 0, 0, 0xe0, 0xec);
    ck_assert(t.wires.level[14]);
    ck_assert_uint_eq(status_of(&t, P0), 0x58);
    ck_assert(!t.wires.level[14]);
    get_data(&t, P0, id, 512);
    ck_assert_uint_eq(status_of(&t, P0), 0x50);
    ck_assert_int_eq(memcmp(id + 54, "rDgamonah ra didks", 18), 0);
    ck_assert_uint_eq(load_le(id + 120, 4), DISK_SECTORS);
    ck_assert_uint_eq(load_le(id + 200, 8), DISK_SECTORS);
    ck_assert_uint_eq(load_le(id + 2, 2), DISK_SECTORS / (16 * 63));
    command(&t, P1, 0, 0, 0xe0, 0xec); /* a CD-ROM says what it is */
    ck_assert_uint_eq(status_of(&t, P1) & (ERR | DRQ), ERR);
    ck_assert_uint_eq(in8(t.bus, P1 + 5), 0xeb);
    command(&t, P1, 0, 0, 0xe0, 0xa1);
    ck_assert_uint_eq(status_of(&t, P1), 0x58);
    get_data(&t, P1, id, 512);
    ck_assert_uint_eq(load_le(id, 2), 0x8580);
    teardown(&t);
}
END_TEST

/* Reads `n` sectors by PIO, checking status and interrupts of each DRQ block. */
static void pio_read(struct ata_test *t, unsigned n, unsigned per_block, u8 *to)
{
    for (unsigned done = 0; done < n; done += per_block) {
        unsigned now = n - done < per_block ? n - done : per_block;
        if (status_of(t, P0) & BSY)
            step(t);
        ck_assert_uint_eq(status_of(t, P0), 0x58);
        get_data(t, P0, to + done * 512, now * 512);
    }
    ck_assert_uint_eq(status_of(t, P0), 0x50);
}

START_TEST(read_pio)
{
    struct ata_test t;
    static u8 buf[256 * 512];
    setup(&t);
    command(&t, P0, 12345, 3, 0xe0, 0x20);
    ck_assert_uint_eq(in8(t.bus, C0), 0xd0); /* busy until the disk has answered */
    ck_assert(!t.wires.level[14]);
    step(&t);
    ck_assert(t.wires.level[14]);
    unsigned edges = t.wires.rises[14];
    pio_read(&t, 3, 1, buf);
    ck_assert_uint_eq(t.wires.rises[14], edges + 2);
    ck_assert_int_eq(memcmp(buf, t.disk_map + 12345 * 512, 3 * 512), 0);
    command(&t, P0, 1, 0, 0xe0, 0x20); /* 256 sectors: more than one request */
    pio_read(&t, 256, 1, buf);
    ck_assert_int_eq(memcmp(buf, t.disk_map + 512, sizeof buf), 0);
    /* CHS 2/3/4 */
    command(&t, P0, 2 << 8 | 4, 1, 0xa3, 0x20);
    pio_read(&t, 1, 1, buf);
    ck_assert_int_eq(memcmp(buf, t.disk_map + ((2 * 16 + 3) * 63 + 3) * 512, 512), 0);
    /* READ MULTIPLE, not before it has been set */
    command(&t, P0, 5, 20, 0xe0, 0xc4);
    ck_assert_uint_eq(status_of(&t, P0), 0x51);
    command(&t, P0, 0, 8, 0xe0, 0xc6);
    command(&t, P0, 5, 20, 0xe0, 0xc4);
    step(&t);
    edges = t.wires.rises[14];
    pio_read(&t, 20, 8, buf);
    ck_assert_uint_eq(t.wires.rises[14], edges + 2);
    ck_assert_int_eq(memcmp(buf, t.disk_map + 5 * 512, 20 * 512), 0);
    /* READ SECTORS EXT: the registers' former values are the high half */
    out8(t.bus, P0 + 2, 0);
    out8(t.bus, P0 + 3, 0);
    out8(t.bus, P0 + 4, 0);
    out8(t.bus, P0 + 5, 0);
    command(&t, P0, 69999, 1, 0xe0, 0x24);
    out8(t.bus, C0, 0x80);
    ck_assert_uint_eq(in8(t.bus, P0 + 3), 0);
    out8(t.bus, C0, 0);
    pio_read(&t, 1, 1, buf);
    ck_assert_int_eq(memcmp(buf, t.disk_map + 69999 * 512, 512), 0);
    teardown(&t);
}
END_TEST

START_TEST(write_pio)
{
    struct ata_test t;
    static u8 buf[200 * 512];
    setup(&t);
    for (unsigned i = 0; i < sizeof buf; i++)
        buf[i] = (u8)(i * 7 + i / 512);
    command(&t, P0, 100, 200, 0xe0, 0x30);
    ck_assert(!t.wires.level[14]); /* the first block without an interrupt */
    for (unsigned i = 0; i < 200; i++) {
        if (status_of(&t, P0) & BSY)
            step(&t);
        ck_assert_uint_eq(status_of(&t, P0), 0x58);
        put_data(&t, P0, buf + 512 * i, 512);
    }
    step(&t);
    ck_assert(t.wires.level[14]);
    ck_assert_uint_eq(status_of(&t, P0), 0x50);
    ck_assert_int_eq(memcmp(buf, t.disk_map + 100 * 512, sizeof buf), 0);
    command(&t, P0, 0, 0, 0xe0, 0xe7);
    ck_assert_uint_eq(in8(t.bus, C0) & BSY, BSY);
    step(&t);
    ck_assert_uint_eq(status_of(&t, P0), 0x50);
    teardown(&t);
}
END_TEST

/* PRD table of the given sizes over the buffer; returns where it lies. */
static void table(struct ata_test *t, const u32 *sizes, unsigned n)
{
    u32 at = BUFFER;
    for (unsigned i = 0; i < n; i++) {
        store_le(t->ram + TABLE + 8 * i, at, 4);
        store_le(t->ram + TABLE + 8 * i + 4, (sizes[i] & 0xffff) | (i == n - 1) << 31, 4);
        at += sizes[i];
    }
    bus_out(t->bus, 0, BM + 4, TABLE, 4);
    out8(t->bus, BM, 0);
    out8(t->bus, BM + 2, 6);
}

START_TEST(dma)
{
    struct ata_test t;
    setup(&t);
    table(&t, (u32[]){512, 4096, 65536, 1000, 130 * 512 - 512 - 4096 - 1000}, 5);
    command(&t, P0, 777, 0xff, 0xe0, 0xc8);
    command(&t, P0, 777, 0xff, 0xe0, 0xc8); /* busy: ignored */
    out8(t.bus, BM, 9);
    step(&t);
    step(&t);
    /* 255 sectors are less than the table holds: it stays active, and interrupts */
    ck_assert(t.wires.level[14]);
    ck_assert_uint_eq(in8(t.bus, BM + 2) & 7, 5);
    out8(t.bus, BM, 0);
    ck_assert_uint_eq(in8(t.bus, BM + 2) & 7, 4);
    ck_assert_uint_eq(status_of(&t, P0), 0x50);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, t.disk_map + 777 * 512, 255 * 512), 0);
    /* The table's end and the transfer's together, started before the command */
    table(&t, (u32[]){65536, 512}, 2);
    memset(t.ram + BUFFER, 0x5a, 65536 + 512);
    out8(t.bus, BM, 1);
    command(&t, P0, 3, 129, 0xe0, 0xca);
    step(&t);
    step(&t);
    ck_assert_uint_eq(in8(t.bus, BM + 2) & 7, 4);
    ck_assert_uint_eq(status_of(&t, P0), 0x50);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, t.disk_map + 3 * 512, 65536 + 512), 0);
    /* Too short a table: the drive waits with DRQ, no interrupt; a reset ends that */
    table(&t, (u32[]){512}, 1);
    command(&t, P0, 3, 2, 0xe0, 0xc8);
    out8(t.bus, BM, 9);
    step(&t);
    ck_assert_uint_eq(in8(t.bus, BM + 2) & 7, 0);
    ck_assert_uint_eq(in8(t.bus, C0) & DRQ, DRQ);
    ck_assert(!t.wires.level[14]);
    out8(t.bus, C0, 4);
    out8(t.bus, C0, 0);
    ck_assert_uint_eq(in8(t.bus, C0), 0x50);
    /* No bus mastering: nothing moves */
    config_write(&t, 0x04, 1, 2);
    table(&t, (u32[]){1024}, 1);
    memset(t.ram + BUFFER, 0, 1024);
    command(&t, P0, 3, 2, 0xe0, 0xc8);
    out8(t.bus, BM, 9);
    step(&t);
    ck_assert_uint_eq(t.ram[BUFFER], 0);
    teardown(&t);
}
END_TEST

/* Reads sectors through a table at `at`, which may lie anywhere; the drive works afterwards. */
static void read_through(struct ata_test *t, u32 at, u8 count, u8 status)
{
    bus_out(t->bus, 0, BM + 4, at, 4);
    out8(t->bus, BM, 0);
    out8(t->bus, BM + 2, 6);
    command(t, P0, 777, count, 0xe0, 0xc8);
    out8(t->bus, BM, 9);
    step(t);
    step(t);
    ck_assert_uint_eq(in8(t->bus, C0) & (BSY | DRQ | ERR), status);
    out8(t->bus, BM, 0);
    out8(t->bus, C0, 4);
    out8(t->bus, C0, 0);
    step(t);
    table(t, (u32[]){512}, 1);
    command(t, P0, 5, 1, 0xe0, 0xc8);
    out8(t->bus, BM, 9);
    step(t);
    ck_assert_int_eq(memcmp(t->ram + BUFFER, t->disk_map + 5 * 512, 512), 0);
    ck_assert_uint_eq(status_of(t, P0), 0x50);
}

static void entry(struct ata_test *t, unsigned i, u32 address, u32 count)
{
    store_le(t->ram + TABLE + 8 * i, address, 4);
    store_le(t->ram + TABLE + 8 * i + 4, count, 4);
}

/* Descriptors as no driver writes them. */
START_TEST(absurd_dma)
{
    struct ata_test t;
    setup(&t);
    /* The table where no memory is, all ones: one region, at the address space's very end. */
    read_through(&t, 0xf0000000, 100, 0);
    read_through(&t, 0xfffffffc, 100, 0);
    /* A region that begins in memory and leads out of it; an odd address and count. */
    entry(&t, 0, RAM_SIZE - 512, 0x80000000u | 2048);
    read_through(&t, TABLE, 4, 0);
    ck_assert_int_eq(memcmp(t.ram + RAM_SIZE - 512, t.disk_map + 777 * 512, 512), 0);
    entry(&t, 0, BUFFER + 0x1001, 0x80000000u | 513);
    read_through(&t, TABLE, 1, 0);
    ck_assert_int_eq(memcmp(t.ram + BUFFER + 0x1000, t.disk_map + 777 * 512, 512), 0);
    /* No end: entries of two bytes up to the end of the transfer. */
    for (unsigned i = 0; i < 255 * 256; i++)
        entry(&t, i, BUFFER + 0x10000, 2);
    read_through(&t, TABLE, 255, 0);
    ck_assert_int_eq(memcmp(t.ram + BUFFER + 0x10000, t.disk_map + (777 + 255) * 512 - 2, 2), 0);
    /* The transfer overwrites the table that it goes by. */
    entry(&t, 0, TABLE, 512);
    entry(&t, 1, BUFFER, 512);
    memset(t.disk_map + 777 * 512, 0, 1024);
    store_le(t.disk_map + 777 * 512 + 8, BUFFER + 0x2000, 4);
    store_le(t.disk_map + 777 * 512 + 12, 0x80000000u | 512, 4);
    memset(t.disk_map + 778 * 512, 0x77, 512);
    read_through(&t, TABLE, 2, 0);
    ck_assert_uint_eq(t.ram[BUFFER + 0x2000], 0x77);
    /* Too short: the drive waits with its data. */
    entry(&t, 0, BUFFER, 0x80000000u | 2);
    read_through(&t, TABLE, 1, DRQ);
    teardown(&t);
}
END_TEST

START_TEST(errors)
{
    struct ata_test t;
    setup(&t);
    command(&t, P0, DISK_SECTORS - 1, 2, 0xe0, 0x20);
    ck_assert_uint_eq(status_of(&t, P0), 0x51);
    ck_assert_uint_eq(in8(t.bus, P0 + 1) & 0x10, 0x10);
    command(&t, P0, 0, 1, 0xa0, 0x20); /* sector 0 does not exist in CHS */
    ck_assert_uint_eq(status_of(&t, P0), 0x51);
    command(&t, P0, 0, 0, 0xe0, 0xb0); /* SMART */
    ck_assert_uint_eq(status_of(&t, P0), 0x51);
    ck_assert_uint_eq(in8(t.bus, P0 + 1), 4);
    /* A reset while a request is up: busy until it is through, then the signature */
    command(&t, P0, 0, 1, 0xe0, 0x20);
    out8(t.bus, C0, 4);
    out8(t.bus, C0, 0);
    ck_assert_uint_eq(in8(t.bus, C0), BSY);
    step(&t);
    ck_assert_uint_eq(in8(t.bus, C0), 0x50);
    ck_assert(!t.wires.level[14]);
    ck_assert_uint_eq(in8(t.bus, P0 + 2), 1);
    teardown(&t);
}
END_TEST

/* ---- CD-ROM ---- */

static void packet(struct ata_test *t, const u8 *bytes, u16 limit, bool dma)
{
    u8 p[12] = {0};
    memcpy(p, bytes, 12);
    out8(t->bus, P1 + 1, dma);
    out8(t->bus, P1 + 4, (u8)limit);
    out8(t->bus, P1 + 5, (u8)(limit >> 8));
    out8(t->bus, P1 + 7, 0xa0);
    ck_assert_uint_eq(status_of(t, P1) & (BSY | DRQ), DRQ);
    ck_assert_uint_eq(in8(t->bus, P1 + 2), 1);
    put_data(t, P1, p, 12);
}

/* All that a packet answers, in DRQ blocks; the number of bytes. */
static unsigned answer(struct ata_test *t, u8 *to, unsigned limit)
{
    unsigned n = 0;
    for (;;) {
        step(t);
        u8 s = status_of(t, P1);
        ck_assert(!(s & BSY));
        if (!(s & DRQ))
            return n;
        ck_assert_uint_eq(in8(t->bus, P1 + 2), 2);
        unsigned bytes = in8(t->bus, P1 + 4) | in8(t->bus, P1 + 5) << 8;
        ck_assert_uint_le(bytes, limit);
        get_data(t, P1, to + n, bytes);
        n += bytes;
    }
}

static void expect_sense(struct ata_test *t, u8 key, u8 asc)
{
    u8 sense[18];
    ck_assert_uint_eq(status_of(t, P1) & ERR, ERR);
    ck_assert_uint_eq(in8(t->bus, P1 + 1) >> 4, key);
    packet(t, (u8[12]){0x03, 0, 0, 0, 18}, 18, false);
    ck_assert_uint_eq(answer(t, sense, 18), 18);
    ck_assert_uint_eq(sense[2], key);
    ck_assert_uint_eq(sense[12], asc);
}

START_TEST(cd)
{
    struct ata_test t;
    static u8 buf[70 * 2048];
    setup(&t);
    packet(&t, (u8[12]){0x12, 0, 0, 0, 36}, 36, false);
    ck_assert_uint_eq(answer(&t, buf, 36), 36);
    ck_assert_uint_eq(buf[0], 5);
    packet(&t, (u8[12]){0x25}, 8, false);
    ck_assert_uint_eq(answer(&t, buf, 8), 8);
    ck_assert_uint_eq(buf[2] << 8 | buf[3], CD_SECTORS - 1);
    packet(&t, (u8[12]){0x28, 0, 0, 0, 0, 100, 0, 0, 70}, 2048, false);
    ck_assert_uint_eq(answer(&t, buf, 2048), sizeof buf);
    ck_assert_int_eq(memcmp(buf, t.cd_map + 100 * 2048, sizeof buf), 0);
    packet(&t, (u8[12]){0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 3}, 0xfffe, false);
    ck_assert_uint_eq(answer(&t, buf, 0xfffe), 3 * 2048);
    ck_assert_int_eq(memcmp(buf, t.cd_map + 7 * 2048, 3 * 2048), 0);
    packet(&t, (u8[12]){0x28, 0, 0, 0, 3, 0xe8, 0, 0, 1}, 2048, false); /* sector 1000 */
    expect_sense(&t, 5, 0x21);
    packet(&t, (u8[12]){0x2a}, 2048, false); /* WRITE */
    expect_sense(&t, 5, 0x20);
    packet(&t, (u8[12]){0x43, 0, 0, 0, 0, 0, 0, 0, 100}, 100, false);
    ck_assert_uint_eq(answer(&t, buf, 100), 20);
    ck_assert_uint_eq(buf[14], 0xaa);
    ck_assert_uint_eq(buf[18] << 8 | buf[19], CD_SECTORS);
    /* by DMA */
    store_le(t.ram + TABLE, BUFFER, 4);
    store_le(t.ram + TABLE + 4, 0x80000000u | 20 * 2048, 4);
    bus_out(t.bus, 0, BM + 12, TABLE, 4);
    packet(&t, (u8[12]){0x28, 0, 0, 0, 0, 11, 0, 0, 20}, 0, true);
    out8(t.bus, BM + 8, 9);
    step(&t);
    ck_assert(t.wires.level[15]);
    ck_assert_uint_eq(in8(t.bus, BM + 10) & 7, 4);
    ck_assert_uint_eq(status_of(&t, P1) & (DRQ | ERR), 0);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, t.cd_map + 11 * 2048, 20 * 2048), 0);
    teardown(&t);
}
END_TEST

START_TEST(cd_change)
{
    struct ata_test t;
    u8 buf[64];
    setup(&t);
    struct ata_channel *c = &t.ide.channel[1];
    packet(&t, (u8[12]){0x1e, 0, 0, 0, 1}, 0, false); /* lock */
    answer(&t, buf, 0);
    ck_assert(!ata_change_disc(c, 0, NULL, false));
    packet(&t, (u8[12]){0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8}, 8, false);
    ck_assert_uint_eq(answer(&t, buf, 8), 8);
    ck_assert_uint_eq(buf[4], 1); /* somebody wants it out */
    packet(&t, (u8[12]){0x1e}, 0, false);
    answer(&t, buf, 0);
    ck_assert(ata_change_disc(c, 0, NULL, false));
    packet(&t, (u8[12]){0}, 0, false);
    expect_sense(&t, 6, 0x28);
    packet(&t, (u8[12]){0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 2048, false);
    expect_sense(&t, 2, 0x3a);
    ck_assert(ata_change_disc(c, 0, t.cd, false));
    packet(&t, (u8[12]){0}, 0, false);
    expect_sense(&t, 6, 0x28);
    packet(&t, (u8[12]){0}, 0, false);
    answer(&t, buf, 0);
    ck_assert_uint_eq(status_of(&t, P1) & ERR, 0);
    /* The guest opens the tray and closes it. */
    packet(&t, (u8[12]){0x1b, 0, 0, 0, 2}, 0, false);
    answer(&t, buf, 0);
    packet(&t, (u8[12]){0}, 0, false);
    expect_sense(&t, 2, 0x3a);
    packet(&t, (u8[12]){0x1b, 0, 0, 0, 3}, 0, false);
    answer(&t, buf, 0);
    packet(&t, (u8[12]){0}, 0, false);
    expect_sense(&t, 6, 0x28);
    teardown(&t);
}
END_TEST

/* ---- a hostile guest ---- */

static void attack(struct ata_test *t)
{
    static const u8 commands[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x40, 0x08, 0x90,
                                  0x91, 0xa0, 0xa1, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe7, 0xec, 0xef};
    u16 base = rnd() % 2 ? P0 : P1;
    switch (rnd() % 12) {
    case 0: out8(t->bus, (u16)(base + 7), commands[rnd() % sizeof commands]); break;
    case 1: out8(t->bus, (u16)(base + 7), rnd()); break;
    case 2: out8(t->bus, (u16)(base + 6), (rnd() % 2 ? 0xe0 : 0xa0) | (rnd() & 0x1f)); break;
    case 3: out8(t->bus, (u16)(base + 1 + rnd() % 5), rnd() % 3 ? rnd() % 4 : rnd()); break;
    case 4: out8(t->bus, base == P0 ? C0 : C1, rnd() % 4 ? 0 : rnd()); break;
    case 5: out8(t->bus, (u16)(BM + rnd() % 16), rnd() % 3 ? rnd() & 9 : rnd()); break;
    case 6: bus_out(t->bus, 0, (u16)(BM + 4 + rnd() % 2 * 8), rnd() % RAM_SIZE, 4); break;
    case 7: store_le(t->ram + rnd() % (RAM_SIZE - 8), rnd(), 4); break;
    case 8: step(t); break;
    case 9:
        for (u32 n = rnd() % 1200; n--;)
            bus_out(t->bus, 0, base, rnd() % 4 ? 0 : rnd(), 2);
        break;
    case 10:
        for (u32 n = rnd() % 1200; n--;)
            bus_in(t->bus, 0, base, 1u << rnd() % 3);
        break;
    default: bus_in(t->bus, 0, (u16)(base + rnd() % 8), 1u << rnd() % 3); break;
    }
    if (rnd() % 1000 == 0)
        config_write(t, rnd() & 0xff, rnd(), 4);
    if (rnd() % 1000 == 0) {
        config_write(t, 0x20, BM, 4);
        config_write(t, 0x40, 0x80008000, 4);
        config_write(t, 0x04, 5, 2);
    }
    if (rnd() % 5000 == 0)
        ata_change_disc(&t->ide.channel[1], 0, rnd() % 2 ? t->cd : NULL, rnd() % 2);
    if (rnd() % 20000 == 0)
        piix3_ide_class.reset(&t->ide);
}

START_TEST(hostile)
{
    struct ata_test t;
    time_t end = time(NULL) + hostile_seconds;
    setup(&t);
    do {
        for (unsigned i = 0; i < 100000; i++)
            attack(&t);
    } while (time(NULL) < end);
    /* It still works. */
    step(&t);
    piix3_ide_class.reset(&t.ide);
    step(&t);
    config_write(&t, 0x40, 0x80008000, 4);
    config_write(&t, 0x04, 5, 2);
    u8 buf[512];
    command(&t, P0, 9, 1, 0xe0, 0x20);
    step(&t);
    pio_read(&t, 1, 1, buf);
    ck_assert_int_eq(memcmp(buf, t.disk_map + 9 * 512, 512), 0);
    teardown(&t);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {signatures, identify, read_pio, write_pio, dma,
                                  absurd_dma, errors,   cd,       cd_change, hostile};
    return hostile_main("ata", tests, ARRAY_SIZE(tests), argc, argv);
}

/* The floppy controller with DMA, on images in memory files; a stepped clock moves the heads and
 * reports the requests.
 *
 *     test_i82077 [SECONDS]    with a number: random register writes for that long instead
 */
#include <stdarg.h>
#include <time.h>

#include "devices/storage/i82077_int.h"
#include "tests/device/disk_fixture.h"
#include "tests/device/hostile.h"
#include "tests/device/io_fixture.h"

#define RAM_SIZE (1u << 20)
#define BUFFER 0x20000u
#define SPT 18u

enum { DOR = 0x3f2, MSR = 0x3f4, DSR = 0x3f4, FIFO = 0x3f5, DIR = 0x3f7, CCR = 0x3f7 };
enum { TO_MEMORY = 0x46, FROM_MEMORY = 0x4a };

struct fdc_test {
    struct bus *bus;
    struct clock clock;
    struct wires wires;
    struct i8237 dma;
    struct i82077 fdc;
    struct block_pool *pool;
    struct block *disk;
    u8 *map; /* the image's bytes */
    u8 *ram;
    u64 size;
    u8 result[10];
};

static void command(struct fdc_test *t, unsigned count, ...)
{
    va_list ap;
    va_start(ap, count);
    while (count--) {
        ck_assert_uint_eq(in8(t->bus, MSR) & 0xc0, 0x80);
        out8(t->bus, FIFO, (u32)va_arg(ap, int));
    }
    va_end(ap);
}

#define COMMAND(t, ...)                                                                            \
    command(t, (unsigned)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), __VA_ARGS__)

/* Takes as many result bytes as there are. */
static unsigned result(struct fdc_test *t)
{
    unsigned n = 0;
    memset(t->result, 0, sizeof t->result);
    while ((in8(t->bus, MSR) & 0xc0) == 0xc0 && n < sizeof t->result)
        t->result[n++] = (u8)in8(t->bus, FIFO);
    ck_assert_uint_eq(in8(t->bus, MSR) & 0xd0, 0x80);
    return n;
}

/* Until the interrupt comes; how long that took, in ns. */
static u64 wait_irq(struct fdc_test *t)
{
    u64 start = clock_now(&t->clock);
    for (unsigned i = 0; i < 20000 && !t->wires.level[6]; i++)
        clock_step(&t->clock, 50000);
    ck_assert_msg(t->wires.level[6], "no interrupt");
    return clock_now(&t->clock) - start;
}

static void result_is(struct fdc_test *t, u8 byte)
{
    ck_assert_uint_eq(result(t), 1);
    ck_assert_uint_eq(t->result[0], byte);
}

/* The end of a seek, as SENSE INTERRUPT STATUS tells it. */
static void seek_ends(struct fdc_test *t, u8 st0, u8 track)
{
    wait_irq(t);
    COMMAND(t, 0x08);
    ck_assert_uint_eq(result(t), 2);
    ck_assert_uint_eq(t->result[0], st0);
    ck_assert_uint_eq(t->result[1], track);
}

static void reset(struct fdc_test *t)
{
    out8(t->bus, DOR, 0x08);
    ck_assert_uint_eq(in8(t->bus, MSR), 0);
    out8(t->bus, DOR, 0x1c); /* drive 0 and its motor */
    wait_irq(t);
    for (unsigned i = 0; i < 4; i++) {
        COMMAND(t, 0x08);
        ck_assert_uint_eq(result(t), 2);
        ck_assert_uint_eq(t->result[0], 0xc0 | i);
    }
    COMMAND(t, 0x08); /* nothing more */
    result_is(t, 0x80);
    COMMAND(t, 0x03, 0xdf, 0x02); /* step rate 3 ms, DMA */
    out8(t->bus, CCR, 0);
}

static void plug(struct fdc_test *t, u64 size, enum floppy_kind kind, bool read_only)
{
    t->size = size;
    t->disk = make_image(size, &t->map, read_only);
    ck_assert(i82077_attach(&t->fdc, 0, kind, t->disk));
    i82077_class.reset(&t->fdc);
    reset(t);
}

static void unplug(struct fdc_test *t)
{
    i82077_change(&t->fdc, 0, NULL);
    block_close(t->disk);
    munmap(t->map, t->size);
}

static void setup(struct fdc_test *t)
{
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    clock_init(&t->clock, CLOCK_STEPPED);
    t->ram = bus_alloc_ram(t->bus, RAM_SIZE, "ram");
    bus_map_ram(t->bus, "ram", 0, RAM_SIZE, t->ram, true, true, 0);
    t->pool = make_pool(&t->clock);
    i8237_init(&t->dma, t->bus);
    struct pin irq = wire(&t->wires, 6);
    i82077_init(&t->fdc, t->bus, &t->clock, t->pool, &irq, &t->dma);
    out8(t->bus, 0xd6, 0xc0);
    out8(t->bus, 0xd4, 0x00);
    plug(t, 1440u << 10, FLOPPY_1440K, false);
}

static void teardown(struct fdc_test *t)
{
    unplug(t);
    block_pool_free(t->pool);
    bus_destroy(t->bus);
}

static void dma(struct fdc_test *t, u8 mode, u32 address, u32 bytes)
{
    out8(t->bus, 10, 6);
    out8(t->bus, 12, 0);
    out8(t->bus, 11, mode);
    out8(t->bus, 4, address & 0xff);
    out8(t->bus, 4, address >> 8 & 0xff);
    out8(t->bus, 0x81, address >> 16);
    out8(t->bus, 5, (bytes - 1) & 0xff);
    out8(t->bus, 5, (bytes - 1) >> 8);
    out8(t->bus, 10, 2);
}

static void seek(struct fdc_test *t, unsigned track)
{
    COMMAND(t, 0x0f, 0, (int)track);
    ck_assert_uint_eq(in8(t->bus, MSR) & 0x91, 0x81);
    seek_ends(t, 0x20, (u8)track);
    ck_assert(!t->wires.level[6]);
}

static u8 *sector(struct fdc_test *t, unsigned c, unsigned h, unsigned r)
{
    return t->map + ((c * 2 + h) * SPT + r - 1) * 512;
}

/* A command of nine bytes; its end is the seven bytes of the result. */
static void data(struct fdc_test *t, u8 op, unsigned c, unsigned h, unsigned r, unsigned eot,
                 u8 last)
{
    COMMAND(t, op, (int)(h << 2), (int)c, (int)h, (int)r, 2, (int)eot, 0x1b, last);
    wait_irq(t);
    ck_assert_uint_eq(result(t), 7);
    ck_assert(!t->wires.level[6]);
}

static void expect(struct fdc_test *t, u8 st0, u8 st1, u8 st2, u8 c, u8 h, u8 r)
{
    const u8 wanted[] = {st0, st1, st2, c, h, r, 2};
    for (unsigned i = 0; i < 7; i++)
        ck_assert_msg(t->result[i] == wanted[i], "result %u is %02x, not %02x", i, t->result[i],
                      wanted[i]);
}

START_TEST(registers)
{
    struct fdc_test t;
    setup(&t);
    ck_assert_uint_eq(in8(t.bus, DOR), 0x1c);
    COMMAND(&t, 0x10);
    result_is(&t, 0x90);
    COMMAND(&t, 0x18); /* of later chips */
    result_is(&t, 0x80);
    COMMAND(&t, 0x13, 0, 0x57, 0x12);
    COMMAND(&t, 0x12, 0x86);
    COMMAND(&t, 0x94);
    result_is(&t, 0x10);
    static const u8 locked[10] = {0, 0, 0, 0, 0xdf, 0x02, 0, 0x86, 0x57, 0x12};
    COMMAND(&t, 0x0e);
    ck_assert_uint_eq(result(&t), 10);
    ck_assert_int_eq(memcmp(t.result, locked, 10), 0);
    /* A reset leaves what is locked. */
    out8(t.bus, DSR, 0x80);
    wait_irq(&t);
    COMMAND(&t, 0x0e);
    result(&t);
    ck_assert_uint_eq(t.result[7], 0x84);
    ck_assert_uint_eq(t.result[8], 0x07);
    ck_assert_uint_eq(t.result[9], 0x12);
    COMMAND(&t, 0x14);
    result_is(&t, 0x00);
    out8(t.bus, DSR, 0x80);
    wait_irq(&t);
    COMMAND(&t, 0x0e);
    result(&t);
    ck_assert_uint_eq(t.result[8], 0x20);
    ck_assert_uint_eq(t.result[9], 0);
    ck_assert_uint_eq(t.result[4], 0xdf);
    /* INT is held back by the gate of the DOR. */
    out8(t.bus, DOR, 0x14);
    ck_assert(!t.wires.level[6]);
    out8(t.bus, DOR, 0x1c);
    ck_assert(t.wires.level[6]);
    teardown(&t);
}
END_TEST

START_TEST(seeks)
{
    struct fdc_test t;
    setup(&t);
    /* 40 steps of 3 ms at 500 kbit/s, twice that at 250. */
    COMMAND(&t, 0x0f, 0, 40);
    ck_assert_uint_eq(wait_irq(&t) / 1000000, 120);
    seek_ends(&t, 0x20, 40);
    out8(t.bus, CCR, 2);
    COMMAND(&t, 0x07, 0);
    ck_assert_uint_eq(wait_irq(&t) / 1000000, 240);
    seek_ends(&t, 0x20, 0);
    COMMAND(&t, 0x04, 0);
    result_is(&t, 0x38);     /* track 0 */
    COMMAND(&t, 0xcf, 0, 7); /* in */
    seek_ends(&t, 0x20, 7);
    COMMAND(&t, 0x8f, 4, 3); /* out */
    seek_ends(&t, 0x24, 4);
    COMMAND(&t, 0x04, 0);
    result_is(&t, 0x28);
    /* Two drives at once, one of them not there: no track 0 in 79 steps. */
    COMMAND(&t, 0x0f, 0, 20);
    COMMAND(&t, 0x07, 1);
    ck_assert_uint_eq(in8(t.bus, MSR), 0x83);
    seek_ends(&t, 0x20, 20);
    seek_ends(&t, 0x71, 0);
    /* Beyond track 79 it takes two recalibrations; each clears PCN. */
    seek(&t, 82);
    COMMAND(&t, 0x07, 0);
    seek_ends(&t, 0x70, 0);
    COMMAND(&t, 0x07, 0);
    seek_ends(&t, 0x20, 0);
    teardown(&t);
}
END_TEST

START_TEST(reading)
{
    struct fdc_test t;
    setup(&t);
    seek(&t, 5);
    dma(&t, TO_MEMORY, BUFFER, 3 * 512);
    data(&t, 0x46, 5, 0, 2, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 5, 0, 5);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 5, 0, 2), 3 * 512), 0);
    /* Multi-track: on to the other side, to the end of the cylinder. */
    dma(&t, TO_MEMORY, BUFFER, 20 * 512);
    data(&t, 0xc6, 5, 0, 17, SPT, 0xff);
    expect(&t, 0x04, 0, 0, 6, 0, 1);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 5, 0, 17), 20 * 512), 0);
    /* TC within a sector. */
    memset(t.ram + BUFFER, 0, 1024);
    dma(&t, TO_MEMORY, BUFFER, 100);
    data(&t, 0x46, 5, 0, 9, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 5, 0, 10);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 5, 0, 9), 100), 0);
    ck_assert_uint_eq(t.ram[BUFFER + 100], 0);
    /* No TC: the end of the cylinder. */
    dma(&t, TO_MEMORY, BUFFER, 0x8000);
    data(&t, 0x46, 5, 0, 17, SPT, 0xff);
    expect(&t, 0x40, 0x80, 0, 6, 0, 1);
    /* READ TRACK: from the index hole on, whatever R says. */
    dma(&t, TO_MEMORY, BUFFER, 4 * 512);
    data(&t, 0x42, 5, 1, 1, 4, 0xff);
    expect(&t, 0x04, 0, 0, 5, 1, 5);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 5, 1, 1), 4 * 512), 0);
    dma(&t, TO_MEMORY, BUFFER, 512);
    data(&t, 0x42, 5, 1, 3, 4, 0xff);
    ck_assert_uint_eq(t.result[1], 0x04); /* the first one has another number */
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 5, 1, 1), 512), 0);
    /* VERIFY moves nothing. */
    data(&t, 0x56, 5, 0, 1, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 6, 0, 1);
    COMMAND(&t, 0x56, 0x80, 5, 0, 4, 2, SPT, 0x1b, 6);
    wait_irq(&t);
    result(&t);
    expect(&t, 0x00, 0, 0, 5, 0, 10);
    teardown(&t);
}
END_TEST

START_TEST(missing)
{
    struct fdc_test t;
    setup(&t);
    seek(&t, 5);
    dma(&t, TO_MEMORY, BUFFER, 512);
    data(&t, 0x46, 6, 0, 1, SPT, 0xff); /* another cylinder than the heads are on */
    expect(&t, 0x40, 0x04, 0x10, 6, 0, 1);
    data(&t, 0x46, 5, 0, 19, 19, 0xff);
    expect(&t, 0x40, 0x04, 0, 5, 0, 19);
    COMMAND(&t, 0x46, 0, 5, 1, 1, 2, SPT, 0x1b, 0xff); /* head of the ID */
    ck_assert_uint_eq(wait_irq(&t) / 1000000, 400);    /* two turns */
    result(&t);
    expect(&t, 0x40, 0x04, 0, 5, 1, 1);
    data(&t, 0x06, 5, 0, 1, SPT, 0xff); /* FM */
    expect(&t, 0x40, 0x01, 0, 5, 0, 1);
    out8(t.bus, CCR, 2); /* rate */
    data(&t, 0x46, 5, 0, 1, SPT, 0xff);
    expect(&t, 0x40, 0x01, 0, 5, 0, 1);
    out8(t.bus, CCR, 0);
    out8(t.bus, DOR, 0x0c); /* the motor */
    data(&t, 0x46, 5, 0, 1, SPT, 0xff);
    expect(&t, 0x40, 0x01, 0, 5, 0, 1);
    out8(t.bus, DOR, 0x1c);
    /* Implied seek. */
    COMMAND(&t, 0x13, 0, 0x60, 0);
    dma(&t, TO_MEMORY, BUFFER, 512);
    data(&t, 0x46, 33, 0, 1, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 33, 0, 2);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 33, 0, 1), 512), 0);
    teardown(&t);
}
END_TEST

START_TEST(read_id)
{
    struct fdc_test t;
    u32 seen = 0;
    setup(&t);
    seek(&t, 3);
    u8 last = 0;
    for (unsigned i = 0; i < 2 * SPT; i++) {
        COMMAND(&t, 0x4a, 4);
        wait_irq(&t);
        ck_assert_uint_eq(result(&t), 7);
        expect(&t, 0x04, 0, 0, 3, 1, t.result[5]);
        ck_assert(i == 0 || t.result[5] == last % SPT + 1); /* in the order of the track */
        last = t.result[5];
        seen |= 1u << last;
    }
    ck_assert_uint_eq(seen, ((1u << SPT) - 1) << 1);
    teardown(&t);
}
END_TEST

START_TEST(writing)
{
    struct fdc_test t;
    setup(&t);
    memset(t.ram + BUFFER, 0x5a, 1024);
    dma(&t, FROM_MEMORY, BUFFER, 1000);
    data(&t, 0x45, 0, 0, 4, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 0, 0, 6);
    ck_assert_int_eq(memcmp(sector(&t, 0, 0, 4), t.ram + BUFFER, 1000), 0);
    ck_assert_uint_eq(sector(&t, 0, 0, 5)[511], 0); /* the rest is zeros */
    ck_assert_uint_eq(sector(&t, 0, 0, 6)[0], (u8)(5 * 2654435761u + 5 * 512));
    /* Deleted data: read on to it, skipped, or wanted. */
    dma(&t, FROM_MEMORY, BUFFER, 512);
    data(&t, 0x49, 0, 0, 7, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 0, 0, 8);
    dma(&t, TO_MEMORY, BUFFER, 3 * 512);
    data(&t, 0x46, 0, 0, 6, SPT, 0xff);
    expect(&t, 0x00, 0, 0x40, 0, 0, 7);
    dma(&t, TO_MEMORY, BUFFER, 2 * 512);
    data(&t, 0x66, 0, 0, 6, SPT, 0xff);
    expect(&t, 0x00, 0, 0x40, 0, 0, 9);
    ck_assert_int_eq(memcmp(t.ram + BUFFER + 512, sector(&t, 0, 0, 8), 512), 0);
    dma(&t, TO_MEMORY, BUFFER, 512);
    data(&t, 0x4c, 0, 0, 7, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 0, 0, 8);
    dma(&t, TO_MEMORY, BUFFER, 512);
    data(&t, 0x6c, 0, 0, 5, SPT, 0xff);
    expect(&t, 0x00, 0, 0x40, 0, 0, 8);
    /* Written again, it is ordinary. */
    dma(&t, FROM_MEMORY, BUFFER, 512);
    data(&t, 0x45, 0, 0, 7, SPT, 0xff);
    dma(&t, TO_MEMORY, BUFFER, 512);
    data(&t, 0x46, 0, 0, 7, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 0, 0, 8);
    unplug(&t);
    plug(&t, 1440u << 10, FLOPPY_1440K, true);
    dma(&t, FROM_MEMORY, BUFFER, 512);
    data(&t, 0x45, 0, 0, 7, SPT, 0xff);
    expect(&t, 0x40, 0x02, 0, t.result[3], t.result[4], t.result[5]);
    COMMAND(&t, 0x04, 0);
    result_is(&t, 0x78);
    teardown(&t);
}
END_TEST

START_TEST(formatting)
{
    struct fdc_test t;
    setup(&t);
    seek(&t, 79);
    for (unsigned i = 0; i < SPT; i++) {
        const u8 id[] = {79, 1, (u8)(SPT - i), 2};
        memcpy(t.ram + BUFFER + 4 * i, id, 4);
    }
    dma(&t, FROM_MEMORY, BUFFER, 4 * SPT);
    COMMAND(&t, 0x4d, 4, 2, SPT, 0x6c, 0xf6);
    wait_irq(&t);
    ck_assert_uint_eq(result(&t), 7);
    ck_assert_uint_eq(t.result[0] | t.result[1] | t.result[2], 0x04);
    for (unsigned r = 1; r <= SPT; r++)
        for (unsigned i = 0; i < 512; i++)
            ck_assert_uint_eq(sector(&t, 79, 1, r)[i], 0xf6);
    ck_assert_uint_ne(sector(&t, 79, 0, SPT)[511], 0xf6);
    COMMAND(&t, 0x4d, 4, 2, 9, 0x6c, 0xf6); /* not what the image is */
    wait_irq(&t);
    result(&t);
    ck_assert_uint_eq(t.result[0], 0x54);
    teardown(&t);
}
END_TEST

START_TEST(scanning)
{
    struct fdc_test t;
    setup(&t);
    u8 *host = t.ram + BUFFER;
    /* Equal in the third sector; FF matches anything. */
    for (unsigned i = 0; i < 18; i++)
        memcpy(host + i * 512, sector(&t, 0, 0, 3), 512);
    host[2 * 512 + 77] = 0xff;
    dma(&t, FROM_MEMORY, BUFFER, 18 * 512);
    data(&t, 0x51, 0, 0, 1, SPT, 1);
    expect(&t, 0x00, 0, 0x08, 0, 0, 4);
    dma(&t, FROM_MEMORY, BUFFER, 18 * 512);
    data(&t, 0x51, 0, 0, 2, SPT, 2); /* every other one: 2, 4, 6... */
    expect(&t, 0x00, 0, 0x04, 1, 0, 1);
    memcpy(host, sector(&t, 0, 0, 1), 512);
    host[510] = 0x80;
    sector(&t, 0, 0, 1)[510] = 0x7f;
    dma(&t, FROM_MEMORY, BUFFER, 512);
    data(&t, 0x59, 0, 0, 1, 1, 1); /* the disk's is less */
    expect(&t, 0x00, 0, 0, 1, 0, 1);
    dma(&t, FROM_MEMORY, BUFFER, 512);
    data(&t, 0x5d, 0, 0, 1, 1, 1);
    expect(&t, 0x00, 0, 0x04, 1, 0, 1);
    host[510] = 0x7e;
    dma(&t, FROM_MEMORY, BUFFER, 512);
    data(&t, 0x5d, 0, 0, 1, 1, 1);
    expect(&t, 0x00, 0, 0, 1, 0, 1);
    teardown(&t);
}
END_TEST

START_TEST(without_dma)
{
    struct fdc_test t;
    setup(&t);
    COMMAND(&t, 0x03, 0xdf, 0x03);
    COMMAND(&t, 0x46, 0, 0, 0, 1, 2, 2, 0x1b, 0xff);
    for (unsigned i = 0; i < 1024; i++) {
        unsigned rises = t.wires.rises[6];
        if (i % 512 == 0)
            wait_irq(&t);
        ck_assert_uint_eq(in8(t.bus, MSR), 0xf0);
        ck_assert_uint_eq(in8(t.bus, FIFO), t.map[i]);
        ck_assert(i % 512 >= 510 || t.wires.rises[6] > rises);
    }
    ck_assert_uint_eq(result(&t), 7);
    expect(&t, 0x40, 0x80, 0, 1, 0, 1); /* nobody says TC */
    COMMAND(&t, 0x45, 0, 0, 0, 3, 2, 3, 0x1b, 0xff);
    for (unsigned i = 0; i < 512; i++) {
        ck_assert_uint_eq(in8(t.bus, MSR), 0xb0);
        out8(t.bus, FIFO, i & 0x7f);
    }
    wait_irq(&t);
    ck_assert_uint_eq(result(&t), 7);
    for (unsigned i = 0; i < 512; i++)
        ck_assert_uint_eq(t.map[1024 + i], i & 0x7f);
    teardown(&t);
}
END_TEST

START_TEST(change)
{
    struct fdc_test t;
    setup(&t);
    ck_assert_uint_eq(in8(t.bus, DIR), 0x80); /* as it was plugged in */
    seek(&t, 0);                              /* no step, no news */
    ck_assert_uint_eq(in8(t.bus, DIR), 0x80);
    seek(&t, 1);
    ck_assert_uint_eq(in8(t.bus, DIR), 0x00);
    unplug(&t);
    seek(&t, 2);
    ck_assert_uint_eq(in8(t.bus, DIR), 0x80);
    data(&t, 0x46, 2, 0, 1, SPT, 0xff);
    expect(&t, 0x40, 0x01, 0, 2, 0, 1);
    t.disk = make_image(t.size, &t.map, false);
    ck_assert(i82077_change(&t.fdc, 0, t.disk));
    ck_assert_uint_eq(in8(t.bus, DIR), 0x80);
    seek(&t, 3);
    ck_assert_uint_eq(in8(t.bus, DIR), 0x00);
    out8(t.bus, DOR, 0x1d); /* a drive that is not there */
    ck_assert_uint_eq(in8(t.bus, DIR), 0x00);
    out8(t.bus, DOR, 0x1c);
    u8 *map;
    struct block *large = make_image(3u << 20, &map, false);
    ck_assert(!i82077_change(&t.fdc, 0, large));
    ck_assert_ptr_eq(t.fdc.drive[0].block, t.disk);
    block_close(large);
    munmap(map, 3u << 20);
    teardown(&t);
}
END_TEST

/* The last sector of each format at the rate it takes, and nothing at the others. */
START_TEST(formats)
{
    static const struct {
        u16 kib;
        u8 drive, rate, step, track, head, sector;
    } rows[] = {
        {160, FLOPPY_360K, 2, 1, 39, 0, 8},    {180, FLOPPY_360K, 2, 1, 39, 0, 9},
        {320, FLOPPY_360K, 2, 1, 39, 1, 8},    {360, FLOPPY_360K, 2, 1, 39, 1, 9},
        {360, FLOPPY_1200K, 1, 2, 39, 1, 9},   {720, FLOPPY_720K, 2, 1, 79, 1, 9},
        {720, FLOPPY_1440K, 2, 1, 79, 1, 9},   {1200, FLOPPY_1200K, 0, 1, 79, 1, 15},
        {1440, FLOPPY_1440K, 0, 1, 79, 1, 18}, {1680, FLOPPY_1440K, 0, 1, 79, 1, 21},
        {1722, FLOPPY_1440K, 0, 1, 81, 1, 21}, {2880, FLOPPY_2880K, 3, 1, 79, 1, 36},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fdc_test t;
        setup(&t);
        unplug(&t);
        plug(&t, (u64)rows[i].kib << 10, rows[i].drive, false);
        seek(&t, rows[i].track * rows[i].step);
        for (u8 rate = 0; rate < 4; rate++) {
            out8(t.bus, CCR, rate);
            dma(&t, TO_MEMORY, BUFFER, 512);
            data(&t, 0x46, rows[i].track, rows[i].head, rows[i].sector, rows[i].sector, 0xff);
            if (rate != rows[i].rate) {
                ck_assert_uint_eq(t.result[1], 0x01);
                continue;
            }
            ck_assert_uint_eq(t.result[0] & 0xc0, 0);
            ck_assert_int_eq(memcmp(t.ram + BUFFER, t.map + t.size - 512, 512), 0);
        }
        teardown(&t);
    }
    ck_assert_uint_eq(floppy_media(150 << 10)->kib, 1440);
    ck_assert_uint_eq(floppy_media(1500 << 10)->kib, 1680);
    ck_assert_ptr_null(floppy_media((2880 << 10) + 1));
}
END_TEST

/* What an image lacks of its disk reads as zeros and cannot be written. */
START_TEST(short_image)
{
    struct fdc_test t;
    setup(&t);
    unplug(&t);
    plug(&t, 3 * 512, FLOPPY_1440K, false);
    memset(t.ram + BUFFER, 0xaa, 2048);
    dma(&t, TO_MEMORY, BUFFER, 4 * 512);
    data(&t, 0x46, 0, 0, 2, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 0, 0, 6);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, t.map + 512, 1024), 0);
    ck_assert_uint_eq(t.ram[BUFFER + 1024] | t.ram[BUFFER + 2047], 0);
    dma(&t, FROM_MEMORY, BUFFER, 512);
    data(&t, 0x45, 0, 0, 4, SPT, 0xff);
    ck_assert_uint_eq(t.result[0], 0x50);
    teardown(&t);
}
END_TEST

/* A reset while the host's disk is at work: the old answer goes nowhere. */
START_TEST(reset_in_request)
{
    struct fdc_test t;
    setup(&t);
    dma(&t, TO_MEMORY, BUFFER, 512);
    COMMAND(&t, 0x46, 0, 0, 0, 1, 2, SPT, 0x1b, 0xff);
    out8(t.bus, DSR, 0x80);
    dma(&t, TO_MEMORY, BUFFER, 512);
    COMMAND(&t, 0x46, 0, 0, 0, 9, 2, SPT, 0x1b, 0xff);
    clock_step(&t.clock, NS_PER_SEC / 100);
    ck_assert_uint_eq(result(&t), 7);
    expect(&t, 0x00, 0, 0, 0, 0, 10);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 0, 0, 9), 512), 0);
    teardown(&t);
}
END_TEST

/* ---- a hostile guest ---- */

static void attack(struct fdc_test *t)
{
    static const u8 commands[] = {0x46, 0xc6, 0xe6, 0x45, 0xc5, 0x49, 0x4c, 0x42, 0x4d,
                                  0x4a, 0x56, 0x51, 0x59, 0x5d, 0x07, 0x0f, 0xcf, 0x8f,
                                  0x08, 0x04, 0x03, 0x0e, 0x13, 0x12, 0x14, 0x94, 0x10};
    u32 r = rnd();
    switch (r % 14) {
    case 0:
    case 1: out8(t->bus, FIFO, commands[r / 16 % sizeof commands]); break;
    case 2:
    case 3:
    case 4: out8(t->bus, FIFO, r & 0x1000 ? r >> 16 & 3 : r >> 16); break;
    case 5: in8(t->bus, (u16)(0x3f0 + (r >> 16 & 7))); break;
    case 6: out8(t->bus, DOR, r & 0x1000 ? 0x1c : r >> 16); break;
    case 7: out8(t->bus, CCR, r & 0x1000 ? 0 : r >> 16); break;
    case 8: out8(t->bus, (u16)(r >> 16 & 15), r >> 24); break;
    case 9: dma(t, (u8)(r >> 8), rnd() & 0xfffff, (rnd() & 0x3fff) + 1); break;
    case 10: clock_step(&t->clock, rnd() % (NS_PER_SEC / 2)); break;
    case 11:
        for (u32 n = rnd() % 1200; n--;)
            in8(t->bus, FIFO);
        break;
    case 12:
        for (u32 n = rnd() % 1200; n--;)
            out8(t->bus, FIFO, n & 3);
        break;
    default: out8(t->bus, (u16)(0xc0 + (r >> 16 & 31)), r >> 24); break;
    }
    if (rnd() % 500 == 0)
        i82077_change(&t->fdc, 0, rnd() % 3 ? t->disk : NULL);
    if (rnd() % 5000 == 0)
        i82077_class.reset(&t->fdc);
}

START_TEST(hostile)
{
    struct fdc_test t;
    time_t end = time(NULL) + hostile_seconds;
    setup(&t);
    do {
        for (unsigned i = 0; i < 100000; i++)
            attack(&t);
    } while (time(NULL) < end);
    /* It still works. */
    clock_step(&t.clock, 2 * NS_PER_SEC);
    i82077_change(&t.fdc, 0, t.disk);
    i82077_class.reset(&t.fdc);
    i8237_class.reset(&t.dma);
    out8(t.bus, 0xd6, 0xc0);
    out8(t.bus, 0xd4, 0x00);
    reset(&t);
    seek(&t, 2);
    dma(&t, TO_MEMORY, BUFFER, 512);
    data(&t, 0x46, 2, 0, 9, SPT, 0xff);
    expect(&t, 0x00, 0, 0, 2, 0, 10);
    ck_assert_int_eq(memcmp(t.ram + BUFFER, sector(&t, 2, 0, 9), 512), 0);
    teardown(&t);
}
END_TEST

/* A snapshot's noise: more sectors to format than IDs have come. */
START_TEST(noise)
{
    struct fdc_test t;
    setup(&t);
    t.fdc.phase = FDC_BUSY;
    t.fdc.command[0] = FDC_MFM | FDC_FORMAT;
    t.fdc.c = t.fdc.h = t.fdc.searching = 0;
    t.fdc.r = 1;
    t.fdc.n = 2;
    t.fdc.end = 8;
    t.fdc.sectors_left = 0xffff;
    i82077_class.loaded(&t.fdc);
    timer_arm(&t.fdc.search, clock_now(&t.clock) + 1);
    wait_irq(&t);
    ck_assert_uint_eq(t.fdc.sectors_left, 0xffff); /* none has been taken */
    teardown(&t);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {registers, seeks,       reading,          missing,     read_id,
                                  writing,   formatting,  scanning,         without_dma, change,
                                  formats,   short_image, reset_in_request, noise,       hostile};
    return hostile_main("i82077", tests, ARRAY_SIZE(tests), argc, argv);
}

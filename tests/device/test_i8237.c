/* The DMA controllers: modes, counting, priorities, page borders, both widths. */
#include "devices/i8237.h"
#include "tests/device/io_fixture.h"

#define RAM_SIZE (2u << 20)

/* A device that asks for `left` cycles and counts upwards as it is read. */
struct source {
    struct i8237 *dma;
    unsigned channel;
    unsigned left, cycles;
    u16 next;     /* what it drives */
    u16 seen[64]; /* what was on the bus */
    unsigned tc;  /* cycle in which TC came, 0: never */
};

static u16 cycle(void *opaque, u16 data, bool tc)
{
    struct source *s = opaque;
    s->seen[s->cycles++ % 64] = data;
    if (tc)
        s->tc = s->cycles;
    if (s->left && !--s->left)
        i8237_set_dreq(s->dma, s->channel, false);
    return s->next++;
}

struct dma_test {
    struct bus *bus;
    u8 *ram;
    struct i8237 dma;
    struct source source[8];
};

static void setup(struct dma_test *t)
{
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    t->ram = bus_alloc_ram(t->bus, RAM_SIZE, "ram");
    bus_map_ram(t->bus, "ram", 0, RAM_SIZE, t->ram, true, true, 0);
    i8237_init(&t->dma, t->bus);
    for (unsigned i = 0; i < 8; i++) {
        t->source[i] = (struct source){.dma = &t->dma, .channel = i, .next = (u16)(0x100 * i)};
        i8237_connect(&t->dma, i, &(struct i8237_client){cycle, &t->source[i]});
    }
    out8(t->bus, 0xd6, 0xc0); /* cascade */
    out8(t->bus, 0xd4, 0x00);
}

/* Port of a register of the channel's controller. */
static u16 port(unsigned channel, unsigned reg)
{
    return (u16)(channel < 4 ? reg : 0xc0 + 2 * reg);
}

/* Mode without the channel's number; the channel is then open. */
static void program(struct dma_test *t, unsigned n, u8 mode, u8 page, u16 address, u16 count)
{
    static const u8 pages[] = {0x87, 0x83, 0x81, 0x82, 0x8f, 0x8b, 0x89, 0x8a};
    out8(t->bus, port(n, 10), 4 | n % 4);
    out8(t->bus, port(n, 12), 0);
    out8(t->bus, port(n, 11), mode | n % 4);
    out8(t->bus, port(n, n % 4 * 2), address & 0xff);
    out8(t->bus, port(n, n % 4 * 2), address >> 8);
    out8(t->bus, port(n, n % 4 * 2 + 1), count & 0xff);
    out8(t->bus, port(n, n % 4 * 2 + 1), count >> 8);
    out8(t->bus, pages[n], page);
    out8(t->bus, port(n, 10), n % 4);
}

static void ask(struct dma_test *t, unsigned n, unsigned cycles)
{
    t->source[n].left = cycles;
    i8237_set_dreq(&t->dma, n, true);
}

/* A 16-bit register, low byte first. */
static u16 get(struct dma_test *t, unsigned n, unsigned reg)
{
    out8(t->bus, port(n, 12), 0);
    u32 low = in8(t->bus, port(n, n % 4 * 2 + reg));
    return (u16)(low | in8(t->bus, port(n, n % 4 * 2 + reg)) << 8);
}

START_TEST(to_memory)
{
    struct dma_test t;
    setup(&t);
    program(&t, 2, 0x44, 0x01, 0x2000, 9); /* single, write */
    ask(&t, 2, 4);
    ck_assert_uint_eq(get(&t, 2, 0), 0x2004);
    ck_assert_uint_eq(get(&t, 2, 1), 5);
    ck_assert_uint_eq(in8(t.bus, 8), 0);
    ask(&t, 2, 100); /* more than the count: TC masks the channel */
    ck_assert_uint_eq(t.source[2].cycles, 10);
    ck_assert_uint_eq(t.source[2].tc, 10);
    ck_assert_uint_eq(in8(t.bus, 8), 0x44); /* still asking; terminal count, once */
    ck_assert_uint_eq(in8(t.bus, 8), 0x40);
    ck_assert_uint_eq(in8(t.bus, 15) & 15, 15);
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_eq(t.ram[0x12000 + i], i);
    ck_assert_uint_eq(t.ram[0x1200a], 0);
    bus_destroy(t.bus);
}
END_TEST

START_TEST(from_memory)
{
    struct dma_test t;
    setup(&t);
    for (unsigned i = 0; i < 16; i++)
        t.ram[0x8000 + i] = (u8)(0xa0 + i);
    program(&t, 1, 0x48, 0x00, 0x8000, 3); /* read */
    ask(&t, 1, 4);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(t.source[1].seen[i], 0xa0 + i);
    ck_assert_uint_eq(t.ram[0x8000], 0xa0);
    program(&t, 1, 0x68, 0x00, 0x8005, 3); /* downwards */
    ask(&t, 1, 4);
    ck_assert_uint_eq(t.source[1].seen[4], 0xa5);
    ck_assert_uint_eq(t.source[1].seen[7], 0xa2);
    program(&t, 1, 0x40, 0x00, 0x8000, 3); /* verify: cycles, and memory is left alone */
    ask(&t, 1, 4);
    ck_assert_uint_eq(t.source[1].cycles, 12);
    ck_assert_uint_eq(t.source[1].tc, 12);
    ck_assert_uint_eq(t.ram[0x8000], 0xa0);
    bus_destroy(t.bus);
}
END_TEST

/* Addresses wrap within 64 KiB; those of words within 128 KiB, and bit 0 of the page is not one. */
START_TEST(wrap)
{
    struct dma_test t;
    setup(&t);
    program(&t, 3, 0x04, 0x03, 0xfffe, 3); /* demand */
    ask(&t, 3, 4);
    static const u8 bytes[] = {0x00, 0x01, 0x02, 0x03};
    ck_assert_int_eq(memcmp(t.ram + 0x3fffe, bytes, 2), 0);
    ck_assert_int_eq(memcmp(t.ram + 0x30000, bytes + 2, 2), 0);
    ck_assert_uint_eq(get(&t, 3, 0), 2);
    ck_assert_uint_eq(get(&t, 3, 1), 0xffff);
    program(&t, 6, 0x44, 0x07, 0xffff, 1);
    t.source[6].next = 0x1234;
    ask(&t, 6, 2);
    ck_assert_uint_eq(load_le(t.ram + 0x7fffe, 2), 0x1234);
    ck_assert_uint_eq(load_le(t.ram + 0x60000, 2), 0x1235);
    bus_destroy(t.bus);
}
END_TEST

START_TEST(autoinit)
{
    struct dma_test t;
    setup(&t);
    program(&t, 1, 0x54, 0x00, 0x4000, 2);
    ask(&t, 1, 7);
    ck_assert_uint_eq(t.source[1].cycles, 7);
    ck_assert_uint_eq(t.ram[0x4000], 6); /* the third round has begun */
    ck_assert_uint_eq(t.ram[0x4002], 5);
    ck_assert_uint_eq(get(&t, 1, 0), 0x4001);
    ck_assert_uint_eq(in8(t.bus, 15) & 2, 0);
    bus_destroy(t.bus);
}
END_TEST

/* A block goes to its end once begun; software may begin it. */
START_TEST(block)
{
    struct dma_test t;
    setup(&t);
    program(&t, 1, 0x84, 0x00, 0x4000, 19);
    ask(&t, 1, 1);
    ck_assert_uint_eq(t.source[1].cycles, 20);
    program(&t, 5, 0x84, 0x00, 0x4000, 4);
    ck_assert_uint_eq(t.source[5].cycles, 0);
    out8(t.bus, 0xd2, 5);
    ck_assert_uint_eq(t.source[5].cycles, 5);
    ck_assert_uint_eq(in8(t.bus, 0xd0), 2);
    bus_destroy(t.bus);
}
END_TEST

START_TEST(gates)
{
    struct dma_test t;
    setup(&t);
    program(&t, 1, 0x44, 0x00, 0x4000, 99);
    out8(t.bus, 8, 4); /* controller off */
    ask(&t, 1, 3);
    ck_assert_uint_eq(t.source[1].cycles, 0);
    ck_assert_uint_eq(in8(t.bus, 8), 0x20);
    out8(t.bus, 0xd4, 4); /* cascade masked */
    out8(t.bus, 8, 0);
    ck_assert_uint_eq(t.source[1].cycles, 0);
    out8(t.bus, 0xd4, 0);
    ck_assert_uint_eq(t.source[1].cycles, 3);
    out8(t.bus, 0xd6, 0x40); /* no cascade any more */
    ask(&t, 1, 3);
    ck_assert_uint_eq(t.source[1].cycles, 3);
    out8(t.bus, 0xd6, 0xc0);
    ck_assert_uint_eq(t.source[1].cycles, 6);
    out8(t.bus, 13, 0); /* master clear masks all */
    ask(&t, 1, 3);
    ck_assert_uint_eq(t.source[1].cycles, 6);
    out8(t.bus, 14, 0); /* and this opens all */
    ck_assert_uint_eq(t.source[1].cycles, 9);
    bus_destroy(t.bus);
}
END_TEST

static unsigned order[64], orders;

static u16 note(void *opaque, u16 data, bool tc)
{
    struct source *s = opaque;
    if (orders < 64)
        order[orders++] = s->channel;
    return cycle(opaque, data, tc);
}

START_TEST(priority)
{
    struct dma_test t;
    setup(&t);
    for (unsigned n = 0; n < 4; n++) {
        i8237_connect(&t.dma, n, &(struct i8237_client){note, &t.source[n]});
        program(&t, n, 0x44, 0, (u16)(0x1000 * n), 99);
    }
    static const u8 fixed[] = {0, 0, 1, 1, 3, 3}, turning[] = {0, 1, 3, 0, 1, 3};
    for (unsigned rotate = 0; rotate < 2; rotate++) {
        out8(t.bus, 8, 4);
        ask(&t, 3, 2);
        ask(&t, 1, 2);
        ask(&t, 0, 2);
        orders = 0;
        out8(t.bus, 8, rotate ? 0x10 : 0);
        ck_assert_uint_eq(orders, 6);
        for (unsigned i = 0; i < 6; i++)
            ck_assert_uint_eq(order[i], rotate ? turning[i] : fixed[i]);
    }
    bus_destroy(t.bus);
}
END_TEST

/* A snapshot's noise: requests of channels on which nothing hangs, in a mode that never ends. */
START_TEST(noise)
{
    struct dma_test t;
    setup(&t);
    for (unsigned n = 0; n < 8; n++) {
        program(&t, n, 0x54, 0, 0x1000, 9);
        i8237_connect(&t.dma, n, &(struct i8237_client){0});
    }
    out8(t.bus, 0xd6, 0xc0);
    i8237_connect(&t.dma, 2, &(struct i8237_client){cycle, &t.source[2]});
    t.source[2].left = 3;
    t.dma.unit[0].dreq = t.dma.unit[1].dreq = 0x0f;
    i8237_class.loaded(&t.dma);
    ck_assert_uint_eq(t.dma.unit[0].dreq, BIT(2));
    ck_assert_uint_eq(t.dma.unit[1].dreq, 0);
    out8(t.bus, 8, 0);
    ck_assert_uint_eq(t.source[2].cycles, 3);
    bus_destroy(t.bus);
}
END_TEST

RUN_TESTS("i8237", to_memory, from_memory, wrap, autoinit, block, gates, priority, noise)

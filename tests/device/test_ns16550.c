/* 16550A UART against the PC16550D data sheet, on a stepped clock. */
#include "devices/host/chardev.h"
#include "devices/ns16550.h"
#include "tests/device/io_fixture.h"

enum { BASE = 0x3f8, RBR = BASE, THR = BASE, IER, IIR, LCR, MCR, LSR, MSR, SCR };

struct uart_test {
    struct bus *bus;
    struct clock clock;
    struct wires wires;
    struct chardev *host;
    struct ns16550 uart;
};

static void setup(struct uart_test *t)
{
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    clock_init(&t->clock, CLOCK_STEPPED);
    t->host = chardev_memory_create();
    struct pin irq = wire(&t->wires, 4);
    ns16550_init(&t->uart, t->bus, &t->clock, BASE, &irq, t->host);
}

static void teardown(struct uart_test *t)
{
    chardev_free(t->host);
    bus_destroy(t->bus);
}

static void set_divisor(struct uart_test *t, unsigned divisor)
{
    out8(t->bus, LCR, 0x83);
    out8(t->bus, BASE, divisor & 0xff);
    out8(t->bus, IER, divisor >> 8);
    ck_assert_uint_eq(in8(t->bus, BASE), divisor & 0xff);
    ck_assert_uint_eq(in8(t->bus, IER), divisor >> 8);
    out8(t->bus, LCR, 0x03);
}

/* 8N1 at 115200: ten bits. */
#define CHARACTER_115200 (10ull * NS_PER_SEC / 115200)

START_TEST(reset_values)
{
    struct uart_test t;
    setup(&t);
    ck_assert_uint_eq(in8(t.bus, IER), 0);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x01);
    ck_assert_uint_eq(in8(t.bus, LCR), 0);
    ck_assert_uint_eq(in8(t.bus, MCR), 0);
    ck_assert_uint_eq(in8(t.bus, LSR), 0x60);
    ck_assert_uint_eq(in8(t.bus, MSR), 0xb0);
    out8(t.bus, SCR, 0xa5);
    ck_assert_uint_eq(in8(t.bus, SCR), 0xa5);
    out8(t.bus, IER, 0xff);
    ck_assert_uint_eq(in8(t.bus, IER), 0x0f);
    out8(t.bus, MCR, 0xff);
    ck_assert_uint_eq(in8(t.bus, MCR), 0x1f);
    teardown(&t);
}
END_TEST

START_TEST(transmit)
{
    struct uart_test t;
    size_t n;
    setup(&t);
    for (const char *p = "hello"; *p; p++) {
        ck_assert_uint_eq(in8(t.bus, LSR) & 0x60, 0x60);
        out8(t.bus, THR, (u8)*p);
    }
    const u8 *out = chardev_memory_output(t.host, &n);
    ck_assert_uint_eq(n, 5);
    ck_assert_mem_eq(out, "hello", 5);
    teardown(&t);
}
END_TEST

START_TEST(host_busy)
{
    struct uart_test t;
    size_t n;
    setup(&t);
    out8(t.bus, IIR, 0x01); /* FIFOs on */
    chardev_memory_accept(t.host, 0);
    /* The stream's own buffer takes 64 KiB, then the FIFO fills and THRE goes away. */
    unsigned sent = 0;
    while (in8(t.bus, LSR) & 0x20) {
        out8(t.bus, THR, sent++ & 0xff);
        ck_assert_uint_lt(sent, 100000);
    }
    ck_assert_uint_eq(in8(t.bus, LSR) & 0x60, 0);
    for (unsigned i = 0; i < 100; i++) /* a guest that does not look loses characters, no more */
        out8(t.bus, THR, 0x55);
    chardev_memory_accept(t.host, (size_t)-1);
    ck_assert_uint_eq(in8(t.bus, LSR) & 0x60, 0x60);
    const u8 *out = chardev_memory_output(t.host, &n);
    ck_assert_uint_eq(n, sent + 15);
    for (unsigned i = 0; i < sent; i++)
        ck_assert_uint_eq(out[i], i & 0xff);
    teardown(&t);
}
END_TEST

START_TEST(thre_interrupt)
{
    struct uart_test t;
    setup(&t);
    set_divisor(&t, 1);
    /* Enabling it while THR is empty interrupts at once. */
    out8(t.bus, IER, 0x02);
    ck_assert(t.wires.level[4]);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x02);
    /* Reading IIR has taken it back. */
    ck_assert(!t.wires.level[4]);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x01);
    /* Off and on again: once more. */
    out8(t.bus, IER, 0x00);
    out8(t.bus, IER, 0x02);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x02);
    /* A write that the host takes empties THR again at once, with an edge of its own. */
    out8(t.bus, THR, 'x');
    ck_assert(t.wires.level[4]);
    unsigned edges = t.wires.rises[4];
    out8(t.bus, THR, 'y');
    ck_assert(t.wires.level[4]);
    ck_assert_uint_eq(t.wires.rises[4], edges + 1);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x02);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x01);
    /* One that the host does not take: not before it does. */
    chardev_memory_accept(t.host, 0);
    for (unsigned i = 0; in8(t.bus, LSR) & 0x20; i++) {
        out8(t.bus, THR, 'w');
        ck_assert_uint_lt(i, 100000);
    }
    ck_assert(!t.wires.level[4]);
    chardev_memory_accept(t.host, (size_t)-1);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x02);
    /* Without the enable nothing happens. */
    out8(t.bus, IER, 0x00);
    out8(t.bus, THR, 'z');
    clock_step(&t.clock, NS_PER_SEC);
    ck_assert(!t.wires.level[4]);
    teardown(&t);
}
END_TEST

START_TEST(trigger_levels)
{
    static const u8 levels[] = {1, 4, 8, 14};
    for (unsigned i = 0; i < 4; i++) {
        struct uart_test t;
        setup(&t);
        set_divisor(&t, 1);
        out8(t.bus, IER, 0x01);
        out8(t.bus, IIR, i << 6 | 0x01);
        for (unsigned n = 1; n <= 16; n++) {
            ns16550_receive(&t.uart, (u8)n);
            ck_assert_uint_eq(in8(t.bus, IIR), n >= levels[i] ? 0xc4 : 0xc1);
        }
        /* It goes when the FIFO drops below the level. */
        for (unsigned n = 16; n >= levels[i]; n--) {
            ck_assert_uint_eq(in8(t.bus, IIR), 0xc4);
            ck_assert_uint_eq(in8(t.bus, RBR), 17 - n);
        }
        ck_assert_uint_eq(in8(t.bus, IIR), 0xc1);
        teardown(&t);
    }
}
END_TEST

START_TEST(character_timeout)
{
    struct uart_test t;
    setup(&t);
    set_divisor(&t, 1);
    out8(t.bus, IER, 0x01);
    out8(t.bus, IIR, 0xc1); /* level 14 */
    ns16550_receive(&t.uart, 'a');
    clock_step(&t.clock, 3 * CHARACTER_115200);
    ns16550_receive(&t.uart, 'b'); /* starts the wait anew */
    clock_step(&t.clock, 4 * CHARACTER_115200 - 1000);
    ck_assert_uint_eq(in8(t.bus, IIR), 0xc1);
    clock_step(&t.clock, 2000);
    ck_assert(t.wires.level[4]);
    ck_assert_uint_eq(in8(t.bus, IIR), 0xcc);
    ck_assert_uint_eq(in8(t.bus, IIR), 0xcc); /* reading IIR does not clear it */
    ck_assert_uint_eq(in8(t.bus, RBR), 'a'); /* reading RBR does, and waits anew */
    ck_assert_uint_eq(in8(t.bus, IIR), 0xc1);
    clock_step(&t.clock, 5 * CHARACTER_115200);
    ck_assert_uint_eq(in8(t.bus, IIR), 0xcc);
    ck_assert_uint_eq(in8(t.bus, RBR), 'b');
    clock_step(&t.clock, NS_PER_SEC);
    ck_assert_uint_eq(in8(t.bus, IIR), 0xc1);
    teardown(&t);
}
END_TEST

START_TEST(overrun)
{
    struct uart_test t;
    setup(&t);
    /* Without FIFOs the new character replaces the old. */
    out8(t.bus, IER, 0x04);
    ns16550_receive(&t.uart, 1);
    ns16550_receive(&t.uart, 2);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x06);
    ck_assert_uint_eq(in8(t.bus, LSR), 0x63);
    ck_assert_uint_eq(in8(t.bus, LSR), 0x61);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x01);
    ck_assert_uint_eq(in8(t.bus, RBR), 2);
    /* With FIFOs the sixteen stay and the seventeenth is lost. */
    out8(t.bus, IIR, 0x01);
    for (unsigned i = 0; i < 17; i++)
        ns16550_receive(&t.uart, (u8)i);
    ck_assert_uint_eq(in8(t.bus, LSR), 0x63);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(in8(t.bus, RBR), i);
    ck_assert_uint_eq(in8(t.bus, LSR), 0x60);
    teardown(&t);
}
END_TEST

START_TEST(line_break)
{
    struct uart_test t;
    setup(&t);
    out8(t.bus, IER, 0x04);
    out8(t.bus, IIR, 0x01);
    ns16550_receive(&t.uart, 'a');
    ns16550_receive_break(&t.uart);
    /* Not at the top yet: only the FIFO error bit tells. */
    ck_assert_uint_eq(in8(t.bus, LSR), 0xe1);
    ck_assert_uint_eq(in8(t.bus, RBR), 'a');
    ck_assert_uint_eq(in8(t.bus, IIR), 0xc6);
    ck_assert_uint_eq(in8(t.bus, LSR) & 0x91, 0x91);
    ck_assert_uint_eq(in8(t.bus, LSR), 0x61);
    ck_assert_uint_eq(in8(t.bus, RBR), 0);
    teardown(&t);
}
END_TEST

START_TEST(loopback)
{
    struct uart_test t;
    size_t n;
    setup(&t);
    out8(t.bus, MCR, 0x10);
    ck_assert_uint_eq(in8(t.bus, MSR) & 0xf0, 0x00);
    in8(t.bus, MSR);
    for (unsigned i = 0; i < 16; i++) {
        out8(t.bus, MCR, 0x10 | i);
        unsigned expected = (i & 2 ? 0x10 : 0) | (i & 1 ? 0x20 : 0) | (i & 4 ? 0x40 : 0) |
                            (i & 8 ? 0x80 : 0);
        ck_assert_uint_eq(in8(t.bus, MSR) & 0xf0, expected);
    }
    /* TERI: only when RI falls. */
    out8(t.bus, MCR, 0x10);
    in8(t.bus, MSR);
    out8(t.bus, MCR, 0x14);
    ck_assert_uint_eq(in8(t.bus, MSR), 0x40);
    out8(t.bus, MCR, 0x10);
    ck_assert_uint_eq(in8(t.bus, MSR), 0x04);
    ck_assert_uint_eq(in8(t.bus, MSR), 0x00);
    /* The modem status interrupt. */
    out8(t.bus, IER, 0x08);
    out8(t.bus, MCR, 0x12);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x00);
    ck_assert_uint_eq(in8(t.bus, MSR), 0x11);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x01);
    out8(t.bus, THR, 0x5a);
    ck_assert_uint_eq(in8(t.bus, LSR), 0x61);
    ck_assert_uint_eq(in8(t.bus, RBR), 0x5a);
    chardev_memory_output(t.host, &n);
    ck_assert_uint_eq(n, 0); /* nothing gets out */
    teardown(&t);
}
END_TEST

START_TEST(priorities)
{
    struct uart_test t;
    setup(&t);
    out8(t.bus, MCR, 0x10);
    in8(t.bus, MSR);
    out8(t.bus, MCR, 0x11); /* delta DSR */
    out8(t.bus, THR, 1);
    out8(t.bus, THR, 2); /* overrun */
    out8(t.bus, IER, 0x0f);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x06);
    in8(t.bus, LSR);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x04);
    in8(t.bus, RBR);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x02);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x00);
    in8(t.bus, MSR);
    ck_assert_uint_eq(in8(t.bus, IIR), 0x01);
    ck_assert(!t.wires.level[4]);
    teardown(&t);
}
END_TEST

START_TEST(input_waits_for_room)
{
    struct uart_test t;
    u8 bytes[40];
    setup(&t);
    for (unsigned i = 0; i < 40; i++)
        bytes[i] = (u8)i;
    ck_assert_uint_eq(chardev_memory_input(t.host, bytes, 40), 39); /* no FIFO: one at a time */
    ck_assert_uint_eq(in8(t.bus, RBR), 0);
    out8(t.bus, IIR, 0x01); /* switching clears what had come: byte 1 is lost, as on silicon */
    for (unsigned i = 2; i < 40; i++) {
        ck_assert_uint_eq(in8(t.bus, LSR) & 0x03, 0x01); /* data, no overrun */
        ck_assert_uint_eq(in8(t.bus, RBR), i);
    }
    ck_assert_uint_eq(in8(t.bus, LSR) & 0x01, 0);
    teardown(&t);
}
END_TEST

START_TEST(hostile)
{
    struct uart_test t;
    setup(&t);
    srand(1);
    for (unsigned i = 0; i < 200000; i++) {
        unsigned r = (unsigned)rand();
        if (r & 0x100)
            out8(t.bus, (u16)(BASE + (r & 7)), r >> 16);
        else
            in8(t.bus, (u16)(BASE + (r & 7)));
        if (!(r & 0x600))
            ns16550_receive(&t.uart, (u8)r);
        if (!(r & 0x7800))
            clock_step(&t.clock, r);
        ck_assert_uint_le(t.uart.rx_count, 16);
        ck_assert_uint_le(t.uart.tx_count, 16);
    }
    teardown(&t);
}
END_TEST

RUN_TESTS("ns16550", reset_values, transmit, host_busy, thre_interrupt, trigger_levels,
          character_timeout, overrun, line_break, loopback, priorities, input_waits_for_room,
          hostile)

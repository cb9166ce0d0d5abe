/* Port 92, debug console, debug exit and pc-testdev. */
#include "devices/debugcon.h"
#include "devices/host/chardev.h"
#include "devices/isa_debug_exit.h"
#include "devices/pc_testdev.h"
#include "devices/port92.h"
#include "devices/portf0.h"
#include "tests/device/io_fixture.h"

START_TEST(fast_a20_and_reset)
{
    struct wires w = {0};
    struct port92 s;
    struct bus *b = bus_create();
    struct pin a20 = wire(&w, 0), init = wire(&w, 1);
    port92_init(&s, b, &a20, &init);
    port92_class.reset(&s);
    ck_assert(w.level[0]);
    ck_assert_uint_eq(in8(b, 0x92), 0x02);
    out8(b, 0x92, 0x00);
    ck_assert(!w.level[0]);
    out8(b, 0x92, 0x02);
    ck_assert(w.level[0]);
    ck_assert_uint_eq(w.rises[1], 0);
    out8(b, 0x92, 0x03);
    ck_assert_uint_eq(w.rises[1], 1);
    out8(b, 0x92, 0x03); /* no edge */
    ck_assert_uint_eq(w.rises[1], 1);
    out8(b, 0x92, 0x02);
    out8(b, 0x92, 0x03);
    ck_assert_uint_eq(w.rises[1], 2);
    bus_destroy(b);
}
END_TEST

/* FERR# to IRQ 13, IGNNE# from the write until FERR# goes. */
START_TEST(coprocessor_error)
{
    struct wires w = {0};
    struct portf0 s;
    struct bus *b = bus_create();
    struct pin irq13 = wire(&w, 0), ignne = wire(&w, 1);
    portf0_init(&s, b, &irq13, &ignne);
    portf0_class.reset(&s);
    ck_assert(!w.level[0] && !w.level[1]);
    out8(b, 0xf0, 0); /* nothing to clear, nothing to ignore */
    ck_assert(!w.level[0] && !w.level[1]);
    portf0_set_ferr(&s, 0, true);
    ck_assert(w.level[0] && !w.level[1]);
    out8(b, 0xf1, 0); /* the other port does nothing */
    ck_assert(w.level[0] && !w.level[1]);
    out8(b, 0xf0, 0);
    ck_assert(!w.level[0] && w.level[1]);
    portf0_set_ferr(&s, 0, true); /* no edge */
    ck_assert(!w.level[0] && w.level[1]);
    portf0_set_ferr(&s, 0, false);
    ck_assert(!w.level[0] && !w.level[1]);
    portf0_set_ferr(&s, 0, true);
    portf0_set_ferr(&s, 0, false); /* latched */
    ck_assert(w.level[0]);
    out8(b, 0xf0, 0);
    ck_assert(!w.level[0] && !w.level[1]);
    bus_destroy(b);
}
END_TEST

START_TEST(debug_console)
{
    struct debugcon s;
    size_t n;
    struct bus *b = bus_create();
    struct chardev *c = chardev_memory_create();
    debugcon_init(&s, b, 0x402, c);
    ck_assert_uint_eq(in8(b, 0x402), 0xe9);
    for (const char *p = "BIOS"; *p; p++)
        out8(b, 0x402, (u8)*p);
    ck_assert_mem_eq(chardev_memory_output(c, &n), "BIOS", 4);
    ck_assert_uint_eq(n, 4);
    chardev_memory_accept(c, 0);
    for (unsigned i = 0; i < 200000; i++) /* a stuck host loses output, no more */
        out8(b, 0x402, 'x');
    chardev_free(c);
    bus_destroy(b);
}
END_TEST

static u32 exit_status;
static unsigned exits;

static void on_exit_write(void *opaque, u32 status)
{
    exit_status = status;
    exits++;
}

START_TEST(debug_exit)
{
    struct isa_debug_exit s;
    struct bus *b = bus_create();
    exits = 0;
    isa_debug_exit_init(&s, b, 0xf4, 4, on_exit_write, NULL);
    ck_assert_uint_eq(in8(b, 0xf4), 0);
    out8(b, 0xf4, 0);
    ck_assert_uint_eq(exit_status, 1);
    out8(b, 0xf4, 0x10);
    ck_assert_uint_eq(exit_status, 0x21);
    bus_out(b, 0, 0xf4, 0x1234, 4);
    ck_assert_uint_eq(exit_status, 0x2469);
    ck_assert_uint_eq(exits, 3);
    bus_destroy(b);
}
END_TEST

START_TEST(testdev)
{
    static struct pc_testdev s;
    struct wires w = {0};
    struct pin pins[PC_TESTDEV_IRQS];
    struct bus *b = bus_create();
    for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++)
        pins[i] = wire(&w, i);
    pc_testdev_init(&s, b, pins);
    bus_out(b, 0, 0xe0, 0x12345678, 4);
    ck_assert_uint_eq(in8(b, 0xe0), 0x78);
    ck_assert_uint_eq(bus_in(b, 0, 0xe0, 2), 0x5678);
    out8(b, 0xe1, 0xab);
    bus_out(b, 0, 0xe2, 0xcdef, 2);
    ck_assert_uint_eq(bus_in(b, 0, 0xe0, 4), 0xcdefab78);
    bus_out(b, 0, 0xe4, 0x1000, 4);
    out8(b, 0x2000 + 17, 1);
    ck_assert(w.level[17]);
    out8(b, 0x2000 + 17, 0);
    ck_assert(!w.level[17]);
    out8(b, 0x2000 + 23, 0xff);
    ck_assert(w.level[23]);
    bus_write(b, 0, 0xff000000, 0x1122334455667788, 8);
    bus_write(b, 0, 0xff00fffc, 0xdeadbeef, 4);
    ck_assert_uint_eq(bus_read(b, 0, 0xff000003, 2), 0x4455);
    ck_assert_uint_eq(bus_read(b, 0, 0xff00fffc, 4), 0xdeadbeef);
    ck_assert_uint_eq(bus_read(b, 0, 0xff00fffd, 8), 0xffffffffffdeadbe);
    pc_testdev_class.reset(&s);
    ck_assert(!w.level[23]);
    ck_assert_uint_eq(bus_read(b, 0, 0xff00fffc, 4), 0);
    bus_destroy(b);
}
END_TEST

RUN_TESTS("debug-ports", fast_a20_and_reset, coprocessor_error, debug_console, debug_exit, testdev)

/* Keyboard controller, keyboard and mouse, on a stepped clock.
 *
 *     test_i8042 [SECONDS]    with a number: random register writes for that long instead
 */
#include "devices/i8042.h"
#include "tests/device/hostile.h"
#include "tests/device/io_fixture.h"

enum { WIRE_A20 = 20, WIRE_RESET = 21 };

struct kbd_test {
    struct bus *bus;
    struct clock clock;
    struct wires wires;
    struct i8042 kbc;
};

static void setup(struct kbd_test *t)
{
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    clock_init(&t->clock, CLOCK_STEPPED);
    i8042_init(&t->kbc, t->bus, &t->clock,
               &(struct i8042_pins){wire(&t->wires, 1), wire(&t->wires, 12),
                                    wire(&t->wires, WIRE_A20), wire(&t->wires, WIRE_RESET)});
}

static void teardown(struct kbd_test *t)
{
    bus_destroy(t->bus);
}

static void command(struct kbd_test *t, u8 c)
{
    out8(t->bus, 0x64, c);
}

static void data(struct kbd_test *t, u8 c)
{
    out8(t->bus, 0x60, c);
}

/* The next byte within 10 ms; -1 if none comes, 0x100 added if it is the mouse's. */
static int next(struct kbd_test *t)
{
    for (unsigned i = 0; i < 100; i++) {
        unsigned status = in8(t->bus, 0x64);
        if (status & 1)
            return (int)(in8(t->bus, 0x60) | (status & 0x20 ? 0x100 : 0));
        clock_step(&t->clock, 100000);
    }
    return -1;
}

#define expect(t, ...)                                                                             \
    do {                                                                                           \
        static const int bytes[] = {__VA_ARGS__};                                                  \
        for (unsigned i_ = 0; i_ < ARRAY_SIZE(bytes); i_++)                                        \
            ck_assert_int_eq(next(t), bytes[i_]);                                                  \
        ck_assert_int_eq(next(t), -1);                                                             \
    } while (0)

/* What the keyboard answers by an acknowledgement alone. */
static void keyboard_takes(struct kbd_test *t, u8 byte)
{
    data(t, byte);
    expect(t, 0xfa);
}

START_TEST(controller_commands)
{
    struct kbd_test t;
    setup(&t);
    command(&t, 0xaa);
    ck_assert_uint_eq(in8(t.bus, 0x64) & 0x0d, 0x0d); /* at once; command, system, full */
    expect(&t, 0x55);
    command(&t, 0xab);
    expect(&t, 0x00);
    command(&t, 0xa9);
    expect(&t, 0x00);
    command(&t, 0x60);
    data(&t, 0x74);
    command(&t, 0x20);
    expect(&t, 0x74);
    ck_assert_uint_eq(in8(t.bus, 0x64) & 0x04, 0x04);
    command(&t, 0xa8); /* mouse on: bit 5 goes */
    command(&t, 0x20);
    expect(&t, 0x54);
    command(&t, 0xae);
    command(&t, 0x20);
    expect(&t, 0x44);
    command(&t, 0xa7);
    command(&t, 0xad);
    command(&t, 0x20);
    expect(&t, 0x74);
    command(&t, 0x7f); /* RAM */
    data(&t, 0x12);
    command(&t, 0x3f);
    expect(&t, 0x12);
    command(&t, 0xd2);
    data(&t, 0x5a);
    expect(&t, 0x5a);
    command(&t, 0xd3);
    data(&t, 0xa5);
    expect(&t, 0x1a5);
    /* Status bit 3 tells the last write. */
    ck_assert_uint_eq(in8(t.bus, 0x64) & 0x08, 0);
    command(&t, 0xc0);
    ck_assert_uint_eq(in8(t.bus, 0x64) & 0x08, 8);
    expect(&t, 0x80);
    teardown(&t);
}
END_TEST

START_TEST(output_port)
{
    struct kbd_test t;
    setup(&t);
    ck_assert(t.wires.level[WIRE_A20]);
    command(&t, 0xd1);
    data(&t, 0xdd);
    ck_assert(!t.wires.level[WIRE_A20]);
    command(&t, 0xd0);
    expect(&t, 0xdd);
    command(&t, 0xdf);
    ck_assert(t.wires.level[WIRE_A20]);
    command(&t, 0xdd);
    ck_assert(!t.wires.level[WIRE_A20]);
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 0);
    command(&t, 0xff); /* no bit low */
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 0);
    command(&t, 0xfe);
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 1);
    command(&t, 0xd1);
    data(&t, 0xde);
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 2);
    teardown(&t);
}
END_TEST

START_TEST(keyboard_commands)
{
    struct kbd_test t;
    setup(&t);
    command(&t, 0x60);
    data(&t, 0x01); /* no translation */
    data(&t, 0xff);
    expect(&t, 0xfa, 0xaa);
    data(&t, 0xf2);
    expect(&t, 0xfa, 0xab, 0x83);
    data(&t, 0xee);
    expect(&t, 0xee);
    keyboard_takes(&t, 0xed);
    keyboard_takes(&t, 0x05);
    ck_assert_uint_eq(t.kbc.keyboard.leds, 5);
    keyboard_takes(&t, 0xf3);
    keyboard_takes(&t, 0x00);
    keyboard_takes(&t, 0xf0);
    data(&t, 0x00);
    expect(&t, 0xfa, 0x02);
    keyboard_takes(&t, 0xf0);
    keyboard_takes(&t, 0x01);
    i8042_key(&t.kbc, 0x1e, true);
    i8042_key(&t.kbc, 0x1e, false);
    expect(&t, 0x1e, 0x9e);
    keyboard_takes(&t, 0xf5);
    i8042_key(&t.kbc, 0x1e, true); /* off */
    ck_assert_int_eq(next(&t), -1);
    keyboard_takes(&t, 0xf4);
    data(&t, 0x12);
    expect(&t, 0xfe);
    data(&t, 0xf2);
    expect(&t, 0xfa, 0xab, 0x83);
    data(&t, 0xfe);
    expect(&t, 0x83);
    teardown(&t);
}
END_TEST

START_TEST(scan_codes)
{
    struct kbd_test t;
    setup(&t);
    command(&t, 0x60);
    data(&t, 0x01);
    i8042_key(&t.kbc, 0x1e, true); /* A */
    i8042_key(&t.kbc, 0x1e, false);
    expect(&t, 0x1c, 0xf0, 0x1c);
    i8042_key(&t.kbc, 0xc8, true); /* up */
    i8042_key(&t.kbc, 0xc8, false);
    expect(&t, 0xe0, 0x75, 0xe0, 0xf0, 0x75);
    i8042_key(&t.kbc, 0x41, true); /* F7 */
    expect(&t, 0x83);
    i8042_key(&t.kbc, 0x46, true); /* Scroll Lock */
    expect(&t, 0x7e);
    i8042_key(&t.kbc, PS2_KEY_PAUSE, true);
    i8042_key(&t.kbc, PS2_KEY_PAUSE, false);
    expect(&t, 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77);
    i8042_key(&t.kbc, PS2_KEY_PRINT, true);
    i8042_key(&t.kbc, PS2_KEY_PRINT, false);
    expect(&t, 0xe0, 0x12, 0xe0, 0x7c, 0xe0, 0xf0, 0x7c, 0xe0, 0xf0, 0x12);
    /* Translated: the set 1 codes of every key come out as they went in. */
    command(&t, 0x60);
    data(&t, 0x41);
    for (unsigned key = 1; key <= 0x58; key++) {
        if (key == 0x55 || key == 0x54)
            continue; /* no such key */
        i8042_key(&t.kbc, (u8)key, true);
        i8042_key(&t.kbc, (u8)key, false);
        ck_assert_int_eq(next(&t), (int)key);
        ck_assert_int_eq(next(&t), (int)(key | 0x80));
    }
    i8042_key(&t.kbc, 0xc8, true);
    i8042_key(&t.kbc, 0xc8, false);
    expect(&t, 0xe0, 0x48, 0xe0, 0xc8);
    i8042_key(&t.kbc, PS2_KEY_PRINT, true);
    i8042_key(&t.kbc, PS2_KEY_PRINT, false);
    expect(&t, 0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa);
    i8042_key(&t.kbc, PS2_KEY_PAUSE, true);
    expect(&t, 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
    teardown(&t);
}
END_TEST

/* A command and its parameter; keys may follow. */
static void keyboard_set(struct kbd_test *t, u8 c, u8 value)
{
    data(t, c);
    ck_assert_int_eq(next(t), 0xfa);
    data(t, value);
    ck_assert_int_eq(next(t), 0xfa);
}

static void press(struct kbd_test *t, u8 key)
{
    i8042_key(&t->kbc, key, true);
    i8042_key(&t->kbc, key, false);
}

START_TEST(set_3)
{
    struct kbd_test t;
    setup(&t);
    command(&t, 0x60);
    data(&t, 0x01);
    keyboard_set(&t, 0xf0, 3);
    keyboard_takes(&t, 0xf0);
    data(&t, 0);
    expect(&t, 0xfa, 0x03);
    press(&t, 0x1e); /* A: repeats, no break code */
    expect(&t, 0x1c);
    press(&t, 0x2a); /* left shift */
    expect(&t, 0x12, 0xf0, 0x12);
    press(&t, 0x3b); /* F1 */
    press(&t, 0xc8); /* up: no prefix */
    press(&t, PS2_KEY_PAUSE);
    press(&t, PS2_KEY_PRINT);
    press(&t, 0x9d); /* right Ctrl */
    press(&t, 0x4a); /* keypad - */
    expect(&t, 0x07, 0x63, 0x62, 0x57, 0x58, 0x84);
    keyboard_takes(&t, 0xf8); /* all make and break */
    press(&t, 0x1e);
    expect(&t, 0x1c, 0xf0, 0x1c);
    keyboard_takes(&t, 0xfd); /* A and S only make */
    keyboard_takes(&t, 0x1c);
    keyboard_takes(&t, 0x1b);
    data(&t, 0xb0);
    expect(&t, 0xfe); /* no such key */
    keyboard_takes(&t, 0xf4);
    press(&t, 0x1e);
    press(&t, 0x1f);
    press(&t, 0x20);
    expect(&t, 0x1c, 0x1b, 0x23, 0xf0, 0x23);
    keyboard_takes(&t, 0xf6); /* back to the defaults, which are in set 2 */
    keyboard_set(&t, 0xf0, 3);
    press(&t, 0x2a);
    press(&t, 0x1e);
    expect(&t, 0x12, 0xf0, 0x12, 0x1c);
    teardown(&t);
}
END_TEST

/* How many bytes `code` come within so many ms. */
static unsigned count(struct kbd_test *t, u8 code, unsigned ms)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ms; i++) {
        clock_step(&t->clock, 1000000);
        if (!(in8(t->bus, 0x64) & 1))
            continue;
        ck_assert_uint_eq(in8(t->bus, 0x60), code);
        n++;
    }
    return n;
}

START_TEST(typematic)
{
    struct kbd_test t;
    setup(&t);
    i8042_key(&t.kbc, 0x1e, true);
    ck_assert_uint_eq(count(&t, 0x1e, 499), 1); /* 500 ms, then 10.9 a second */
    ck_assert_uint_eq(count(&t, 0x1e, 1000), 11);
    i8042_key(&t.kbc, 0x1e, true); /* the host's own repetition */
    ck_assert_uint_eq(count(&t, 0x1e, 1000), 11);
    i8042_key(&t.kbc, 0x1f, true); /* the last key that went down repeats */
    ck_assert_uint_eq(count(&t, 0x1f, 1000), 7);
    i8042_key(&t.kbc, 0x1e, false);
    ck_assert_int_eq(next(&t), 0x9e);
    ck_assert_uint_eq(count(&t, 0x1f, 1000), 11);
    i8042_key(&t.kbc, 0x1f, false);
    ck_assert_int_eq(next(&t), 0x9f);
    ck_assert_uint_eq(count(&t, 0x1f, 1000), 0);
    keyboard_set(&t, 0xf3, 0x00); /* 250 ms, 30 a second */
    i8042_key(&t.kbc, 0x1e, true);
    ck_assert_uint_eq(count(&t, 0x1e, 249), 1);
    ck_assert_uint_eq(count(&t, 0x1e, 1000), 30);
    i8042_key(&t.kbc, 0x1e, false);
    ck_assert_int_eq(next(&t), 0x9e);
    keyboard_set(&t, 0xf3, 0x7f); /* 1 s, 2 a second */
    i8042_key(&t.kbc, 0x1e, true);
    ck_assert_uint_eq(count(&t, 0x1e, 999), 1);
    ck_assert_uint_eq(count(&t, 0x1e, 4000), 8);
    /* Not while nobody reads: one byte waits, one is in the buffer. */
    keyboard_set(&t, 0xf3, 0x00);
    clock_step(&t.clock, 5 * NS_PER_SEC);
    i8042_key(&t.kbc, 0x1e, false);
    expect(&t, 0x1e, 0x1e, 0x9e);
    /* Print Screen without its shift; Pause never. */
    i8042_key(&t.kbc, PS2_KEY_PRINT, true);
    expect(&t, 0xe0, 0x2a, 0xe0, 0x37);
    for (unsigned i = 0; i < 3; i++) {
        clock_step(&t.clock, NS_PER_SEC / 4);
        ck_assert_int_eq(next(&t), 0xe0);
        ck_assert_int_eq(next(&t), 0x37);
    }
    i8042_key(&t.kbc, PS2_KEY_PRINT, false);
    clock_step(&t.clock, 1000000);
    data(&t, 0xf4); /* clears the buffer */
    while (next(&t) >= 0)
        ;
    i8042_key(&t.kbc, PS2_KEY_PAUSE, true);
    expect(&t, 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
    ck_assert_uint_eq(count(&t, 0, 2000), 0);
    teardown(&t);
}
END_TEST

START_TEST(interrupts_and_pacing)
{
    struct kbd_test t;
    setup(&t);
    i8042_key(&t.kbc, 0xc8, true); /* two bytes */
    ck_assert(!t.wires.level[1]);
    clock_step(&t.clock, 1000000);
    ck_assert(t.wires.level[1]);
    ck_assert_uint_eq(in8(t.bus, 0x60), 0xe0);
    ck_assert(!t.wires.level[1]);
    ck_assert_uint_eq(in8(t.bus, 0x64) & 1, 0);
    ck_assert_uint_eq(in8(t.bus, 0x60), 0xe0); /* the same again, until the next has come */
    clock_step(&t.clock, 1000000);
    ck_assert_uint_eq(t.wires.rises[1], 2);
    ck_assert_uint_eq(in8(t.bus, 0x60), 0x48);
    /* Disabled port: the byte waits. */
    command(&t, 0xad);
    i8042_key(&t.kbc, 0x1e, true);
    ck_assert_int_eq(next(&t), -1);
    command(&t, 0xae);
    expect(&t, 0x1e);
    /* No interrupt without its enable bit. */
    command(&t, 0x60);
    data(&t, 0x40);
    i8042_key(&t.kbc, 0x1e, false);
    clock_step(&t.clock, 1000000);
    ck_assert(!t.wires.level[1]);
    expect(&t, 0x9e);
    teardown(&t);
}
END_TEST

START_TEST(full_buffer)
{
    struct kbd_test t;
    unsigned n = 0;
    int byte, last = -1;
    setup(&t);
    command(&t, 0x60);
    data(&t, 0x01);
    for (unsigned i = 0; i < 1000; i++)
        i8042_key(&t.kbc, i & 1 ? 0x1e : 0x1f, true);
    i8042_key(&t.kbc, 0x1e, false);
    while ((byte = next(&t)) >= 0) {
        last = byte;
        n++;
    }
    ck_assert_uint_eq(n, 16);
    ck_assert_int_eq(last, 0x00); /* overrun */
    /* Replies pass keys that wait. */
    i8042_key(&t.kbc, 0x1e, true);
    data(&t, 0xee);
    i8042_key(&t.kbc, 0x1e, false);
    expect(&t, 0xee, 0x1c, 0xf0, 0x1c);
    /* Thousands of unread answers change nothing. */
    for (unsigned i = 0; i < 5000; i++) {
        data(&t, 0xf2);
        command(&t, 0xd4);
        data(&t, 0xe9);
        command(&t, 0x20);
    }
    ck_assert_int_ne(next(&t), -1);
    teardown(&t);
}
END_TEST

static void mouse(struct kbd_test *t, u8 byte)
{
    command(t, 0xd4);
    data(t, byte);
}

/* What the mouse answers by an acknowledgement alone. */
static void mouse_takes(struct kbd_test *t, u8 byte)
{
    mouse(t, byte);
    expect(t, 0x1fa);
}

/* Three sample rates in succession, which say what the driver knows of. */
static void mouse_rates(struct kbd_test *t, const u8 rates[3])
{
    for (unsigned i = 0; i < 3; i++) {
        mouse_takes(t, 0xf3);
        mouse_takes(t, rates[i]);
    }
}

START_TEST(mouse_protocol)
{
    struct kbd_test t;
    setup(&t);
    mouse(&t, 0xff);
    expect(&t, 0x1fa, 0x1aa, 0x100);
    mouse(&t, 0xf2);
    expect(&t, 0x1fa, 0x100);
    mouse(&t, 0xe9);
    expect(&t, 0x1fa, 0x100, 0x102, 0x164);
    i8042_mouse(&t.kbc, 5, 5, 0, 1); /* not reporting yet */
    ck_assert_int_eq(next(&t), -1);
    mouse_takes(&t, 0xf5);
    mouse_takes(&t, 0xf6);
    mouse(&t, 0xf4);
    t.wires.rises[12] = 0;
    ck_assert_int_eq(next(&t), 0x1fa);
    ck_assert_uint_eq(t.wires.rises[12], 1);
    expect(&t, 0x109, 0x100, 0x100); /* the button that had gone down meanwhile */
    i8042_mouse(&t.kbc, 10, -3, 0, 0);
    expect(&t, 0x128, 0x10a, 0x1fd);
    /* More than a packet holds becomes several. */
    i8042_mouse(&t.kbc, -300, 0, 0, 0);
    expect(&t, 0x118, 0x101, 0x100, 0x118, 0x1d3, 0x100);
    /* The wheel. */
    static const u8 knock[] = {200, 100, 80};
    mouse_rates(&t, knock);
    mouse(&t, 0xf2);
    expect(&t, 0x1fa, 0x103);
    i8042_mouse(&t.kbc, 0, 0, -1, 0);
    expect(&t, 0x108, 0x100, 0x100, 0x1ff);
    /* Remote mode: only when asked. */
    mouse_takes(&t, 0xf0);
    i8042_mouse(&t.kbc, 1, 2, 0, 0);
    ck_assert_int_eq(next(&t), -1);
    mouse(&t, 0xeb);
    expect(&t, 0x1fa, 0x108, 0x101, 0x102, 0x100);
    /* Wrap mode echoes. */
    mouse_takes(&t, 0xee);
    mouse(&t, 0xf2);
    expect(&t, 0x1f2);
    mouse_takes(&t, 0xec);
    mouse(&t, 0x33);
    expect(&t, 0x1fe);
    teardown(&t);
}
END_TEST

/* Scaling 2:1 bends what is reported, not what is asked for; Explorer has five buttons. */
START_TEST(mouse_modes)
{
    static const s8 moves[] = {1, 2, 3, 4, 5, 6, -2, -7}, scaled[] = {1, 1, 3, 6, 9, 12, -1, -14};
    static const u8 knock[] = {200, 200, 80};
    struct kbd_test t;
    setup(&t);
    mouse_takes(&t, 0xe7);
    mouse_takes(&t, 0xf4);
    for (unsigned i = 0; i < sizeof moves; i++) {
        i8042_mouse(&t.kbc, moves[i], 0, 0, 0);
        ck_assert_int_eq(next(&t), moves[i] < 0 ? 0x118 : 0x108);
        ck_assert_int_eq(next(&t), 0x100 | (u8)scaled[i]);
        ck_assert_int_eq(next(&t), 0x100);
    }
    i8042_mouse(&t.kbc, 200, 0, 0, 0);
    expect(&t, 0x108, 0x1fe, 0x100, 0x108, 0x192, 0x100);
    mouse(&t, 0xe9);
    expect(&t, 0x1fa, 0x130, 0x102, 0x164);
    mouse_takes(&t, 0xf0);
    i8042_mouse(&t.kbc, 5, 0, 0, 0);
    mouse(&t, 0xeb);
    expect(&t, 0x1fa, 0x108, 0x105, 0x100);
    mouse_takes(&t, 0xe8);
    mouse_takes(&t, 3);
    mouse_takes(&t, 0xe6);
    mouse(&t, 0xe9);
    expect(&t, 0x1fa, 0x160, 0x103, 0x164);
    mouse_rates(&t, knock);
    mouse(&t, 0xf2);
    expect(&t, 0x1fa, 0x104);
    i8042_mouse(&t.kbc, 0, 0, -2, 0x18); /* the wheel and both side buttons */
    mouse(&t, 0xeb);
    expect(&t, 0x1fa, 0x108, 0x100, 0x100, 0x13e);
    teardown(&t);
}
END_TEST

START_TEST(hostile)
{
    struct kbd_test t;
    time_t end = time(NULL) + hostile_seconds;
    setup(&t);
    for (unsigned i = 0; i < 200000 || time(NULL) < end; i++) {
        unsigned r = rnd();
        u16 port = r & 1 ? 0x60 : 0x64;
        if (r & 6)
            out8(t.bus, port, r >> 8 & 0xff);
        else
            in8(t.bus, port);
        if (!(r & 0x30000))
            i8042_key(&t.kbc, (u8)(r >> 20), r & 0x80000);
        if (!(r & 0xc0000))
            i8042_mouse(&t.kbc, (int)(r >> 12), -(int)r, (int)r, (u8)r);
        if (!(r & 0x700000))
            clock_step(&t.clock, r);
        /* Not ck_assert, which sends its place to the parent each time it is passed. */
        if (t.kbc.keyboard.port.replies.count > PS2_QUEUE ||
            t.kbc.mouse.port.events.count > PS2_QUEUE)
            ck_abort_msg("a queue holds more than it has room for");
    }
    /* It still works. */
    i8042_class.reset(&t.kbc);
    ck_assert_int_eq(next(&t), -1);
    keyboard_takes(&t, 0xf4);
    data(&t, 0xee);
    expect(&t, 0xee);
    teardown(&t);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = {
        controller_commands,   output_port, keyboard_commands, scan_codes,  set_3,  typematic,
        interrupts_and_pacing, full_buffer, mouse_protocol,    mouse_modes, hostile};
    return hostile_main("i8042", tests, ARRAY_SIZE(tests), argc, argv);
}

/* The 8254 and port 61h against the data sheet (Intel 231244-006), with a stepped clock. */
#include "devices/i8254.h"
#include "devices/port61.h"
#include "tests/device/rig.h"

static struct rig rig;
static struct i8254 pit;
static struct port61 port61;
static struct probe out[3];

static bool out2(void *opaque)
{
    return i8254_out(opaque, 2);
}

static void start(void)
{
    rig_make(&rig);
    memset(out, 0, sizeof out);
    i8254_init(&pit, rig.bus, &rig.clock,
               &(struct i8254_config){.port = 0x40, .out = {probe_pin(out, 0), probe_pin(out, 1),
                                                            probe_pin(out, 2)}});
    port61_init(&port61, rig.bus, &rig.clock,
                &(struct port61_config){.gate2 = {i8254_set_gate, &pit, 2}, .out2 = out2,
                                        .out2_opaque = &pit});
}

/* Steps to the middle of CLK period n since time 0. */
static void go_to_tick(u64 n)
{
    u64 ns = (n * 2 + 1) * NS_PER_SEC / (2 * 1193182ull);
    ck_assert_uint_ge(ns, clock_now(&rig.clock));
    clock_step(&rig.clock, ns - clock_now(&rig.clock));
}

static void program(unsigned n, unsigned mode, u16 count)
{
    out8(&rig, 0x43, n << 6 | 0x30 | mode << 1);
    out8(&rig, 0x40 + n, count & 0xff);
    out8(&rig, 0x40 + n, count >> 8);
}

static u32 read_count(unsigned n)
{
    out8(&rig, 0x43, n << 6);
    u32 low = in8(&rig, 0x40 + n);
    return low | in8(&rig, 0x40 + n) << 8;
}

static u32 status(unsigned n)
{
    out8(&rig, 0x43, 0xe0 | 2 << n);
    return in8(&rig, 0x40 + n);
}

START_TEST(mode0)
{
    start();
    program(0, 0, 4);
    ck_assert(!out[0].level);
    ck_assert_uint_eq(status(0), 0x70); /* OUT low, null count until the next CLK */
    go_to_tick(1);
    ck_assert_uint_eq(status(0), 0x30);
    ck_assert_uint_eq(read_count(0), 4);
    go_to_tick(4);
    ck_assert(!out[0].level);
    ck_assert_uint_eq(read_count(0), 1);
    go_to_tick(5); /* "OUT will not go high until N + 1 CLK pulses after the count is written" */
    ck_assert(out[0].level);
    ck_assert_uint_eq(read_count(0), 0);
    go_to_tick(6); /* counts on, wrapping */
    ck_assert_uint_eq(read_count(0), 0xffff);
    ck_assert_uint_eq(out[0].rises, 2); /* one at reset, one at the terminal count */
    rig_free(&rig);
}
END_TEST

START_TEST(mode0_gate_holds)
{
    start();
    out8(&rig, 0x61, 1);
    program(2, 0, 10);
    go_to_tick(4);
    ck_assert_uint_eq(read_count(2), 7);
    out8(&rig, 0x61, 0);
    go_to_tick(100);
    ck_assert_uint_eq(read_count(2), 7);
    ck_assert(!out[2].level);
    out8(&rig, 0x61, 1);
    go_to_tick(106);
    ck_assert_uint_eq(in8(&rig, 0x61) & 0x20, 0);
    go_to_tick(107);
    ck_assert_uint_eq(in8(&rig, 0x61) & 0x20, 0x20);
    ck_assert(out[2].level);
    rig_free(&rig);
}
END_TEST

START_TEST(mode0_first_byte_stops)
{
    start();
    program(0, 0, 3);
    go_to_tick(10);
    ck_assert(out[0].level);
    out8(&rig, 0x40, 5);
    ck_assert(!out[0].level);
    go_to_tick(100);
    ck_assert(!out[0].level);
    out8(&rig, 0x40, 0);
    go_to_tick(105);
    ck_assert(!out[0].level);
    go_to_tick(106);
    ck_assert(out[0].level);
    rig_free(&rig);
}
END_TEST

START_TEST(mode1)
{
    start();
    program(2, 1, 3);
    ck_assert(out[2].level);
    go_to_tick(50);
    ck_assert(out[2].level);
    out8(&rig, 0x61, 1); /* trigger: low from the next CLK for three */
    ck_assert(out[2].level);
    go_to_tick(51);
    ck_assert(!out[2].level);
    go_to_tick(53);
    ck_assert(!out[2].level);
    out8(&rig, 0x61, 0);
    ck_assert(!out[2].level); /* "GATE has no effect on OUT" after the trigger */
    out8(&rig, 0x61, 1); /* retriggered */
    go_to_tick(56);
    ck_assert(!out[2].level);
    go_to_tick(57);
    ck_assert(out[2].level);
    rig_free(&rig);
}
END_TEST

START_TEST(mode2)
{
    start();
    program(0, 2, 1000);
    unsigned rises = out[0].rises;
    go_to_tick(1);
    ck_assert_uint_eq(read_count(0), 1000);
    go_to_tick(1000); /* the last CLK of the period: count 1, OUT low */
    ck_assert_uint_eq(read_count(0), 1);
    ck_assert_uint_eq(status(0), 0x34);
    ck_assert(!i8254_out(&pit, 0));
    go_to_tick(1001);
    ck_assert_uint_eq(read_count(0), 1000);
    ck_assert_uint_eq(status(0), 0xb4);
    ck_assert_uint_eq(out[0].rises - rises, 1);
    /* No drift: in one hour there are exactly 3600 * 1193182 / 1000 periods. */
    go_to_tick(3600ull * 1193182 + 1);
    ck_assert_uint_eq(out[0].rises - rises, 3600ull * 1193182 / 1000);
    rig_free(&rig);
}
END_TEST

START_TEST(mode2_new_count_waits)
{
    start();
    program(0, 2, 100);
    go_to_tick(250); /* 49 CLKs into the third period, which ends at tick 301 */
    out8(&rig, 0x40, 50);
    out8(&rig, 0x40, 0);
    ck_assert_uint_eq(status(0) & 0x40, 0x40);
    go_to_tick(300);
    ck_assert_uint_eq(read_count(0), 1);
    unsigned rises = out[0].rises;
    go_to_tick(301);
    ck_assert_uint_eq(out[0].rises, rises + 1);
    ck_assert_uint_eq(read_count(0), 50);
    ck_assert_uint_eq(status(0) & 0x40, 0);
    go_to_tick(351);
    ck_assert_uint_eq(out[0].rises, rises + 2);
    rig_free(&rig);
}
END_TEST

START_TEST(mode3_even)
{
    start();
    program(0, 3, 100);
    go_to_tick(1);
    ck_assert_uint_eq(read_count(0), 100);
    go_to_tick(2); /* "decremented by two on succeeding CLK pulses" */
    ck_assert_uint_eq(read_count(0), 98);
    go_to_tick(50);
    ck_assert(out[0].level);
    go_to_tick(51);
    ck_assert(!out[0].level);
    ck_assert_uint_eq(read_count(0), 100);
    go_to_tick(100);
    ck_assert(!out[0].level);
    go_to_tick(101);
    ck_assert(out[0].level);
    rig_free(&rig);
}
END_TEST

START_TEST(mode3_odd)
{
    start();
    program(0, 3, 101);
    go_to_tick(51); /* high for (N + 1) / 2 */
    ck_assert(out[0].level);
    go_to_tick(52);
    ck_assert(!out[0].level);
    go_to_tick(101); /* low for (N - 1) / 2 */
    ck_assert(!out[0].level);
    go_to_tick(102);
    ck_assert(out[0].level);
    rig_free(&rig);
}
END_TEST

START_TEST(mode3_gate)
{
    start();
    out8(&rig, 0x61, 1);
    program(2, 3, 100);
    go_to_tick(60);
    ck_assert(!out[2].level);
    out8(&rig, 0x61, 0);
    ck_assert(out[2].level); /* "OUT is set high immediately" */
    go_to_tick(1000);
    ck_assert(out[2].level);
    out8(&rig, 0x61, 1); /* reloaded on the next CLK */
    go_to_tick(1001);
    ck_assert_uint_eq(read_count(2), 100);
    go_to_tick(1051);
    ck_assert(!out[2].level);
    rig_free(&rig);
}
END_TEST

START_TEST(mode4_and_5)
{
    start();
    program(0, 4, 10);
    unsigned rises = out[0].rises;
    go_to_tick(11); /* the strobe: one CLK low, N + 1 after the write */
    ck_assert(!i8254_out(&pit, 0));
    go_to_tick(12);
    ck_assert(i8254_out(&pit, 0));
    ck_assert_uint_eq(out[0].rises, rises + 1);
    go_to_tick(100000);
    ck_assert_uint_eq(out[0].rises, rises + 1); /* only once */

    program(2, 5, 10);
    rises = out[2].rises;
    go_to_tick(100100);
    ck_assert_uint_eq(out[2].rises, rises);
    out8(&rig, 0x61, 1);
    go_to_tick(100111);
    ck_assert(!i8254_out(&pit, 2));
    go_to_tick(100112);
    ck_assert(i8254_out(&pit, 2));
    ck_assert_uint_eq(out[2].rises, rises + 1);
    rig_free(&rig);
}
END_TEST

START_TEST(latch_and_read_back)
{
    start();
    program(0, 2, 10000);
    go_to_tick(101);
    out8(&rig, 0x43, 0x00);
    go_to_tick(201);
    out8(&rig, 0x43, 0x00); /* a second latch command is ignored */
    go_to_tick(301);
    ck_assert_uint_eq(in8(&rig, 0x40), 9900 & 0xff);
    ck_assert_uint_eq(in8(&rig, 0x40), 9900 >> 8);
    ck_assert_uint_eq(in8(&rig, 0x40), 9700 & 0xff); /* unlatched again */
    ck_assert_uint_eq(in8(&rig, 0x40), 9700 >> 8);

    program(2, 3, 500); /* gate low: null count as long as nothing loads it */
    out8(&rig, 0x43, 0xca); /* status and count of counters 0 and 2 */
    ck_assert_uint_eq(in8(&rig, 0x40), 0xb4); /* "the first read returns the latched status" */
    ck_assert_uint_eq(in8(&rig, 0x40), 9700 & 0xff);
    ck_assert_uint_eq(in8(&rig, 0x40), 9700 >> 8);
    ck_assert_uint_eq(in8(&rig, 0x42) & 0xbf, 0xb6);
    rig_free(&rig);
}
END_TEST

START_TEST(single_bytes_and_bcd)
{
    start();
    out8(&rig, 0x43, 0x14); /* LSB only, mode 2 */
    out8(&rig, 0x40, 200);
    go_to_tick(11);
    ck_assert_uint_eq(in8(&rig, 0x40), 190);
    ck_assert_uint_eq(in8(&rig, 0x40), 190);
    out8(&rig, 0x43, 0x24); /* MSB only */
    out8(&rig, 0x40, 2);
    go_to_tick(13);
    ck_assert_uint_eq(in8(&rig, 0x40), 1); /* 511 */

    out8(&rig, 0x43, 0x35); /* BCD, mode 2 */
    out8(&rig, 0x40, 0x00);
    out8(&rig, 0x40, 0x10);
    go_to_tick(14);
    ck_assert_uint_eq(read_count(0), 0x1000);
    go_to_tick(15);
    ck_assert_uint_eq(read_count(0), 0x0999);
    go_to_tick(14 + 1000);
    ck_assert_uint_eq(read_count(0), 0x1000);

    out8(&rig, 0x43, 0x31); /* BCD, mode 0, zero stands for 10^4 */
    out8(&rig, 0x40, 0);
    out8(&rig, 0x40, 0);
    unsigned rises = out[0].rises;
    go_to_tick(1014 + 10000);
    ck_assert_uint_eq(out[0].rises, rises);
    go_to_tick(1014 + 10001);
    ck_assert_uint_eq(out[0].rises, rises + 1);
    rig_free(&rig);
}
END_TEST

START_TEST(refresh_toggles)
{
    start();
    unsigned changes = 0;
    u32 last = in8(&rig, 0x61) & 0x10;
    for (unsigned i = 0; i < 1000; i++) {
        clock_step(&rig.clock, 1000);
        u32 now = in8(&rig, 0x61) & 0x10;
        changes += now != last;
        last = now;
    }
    ck_assert_uint_eq(changes, 66); /* 1 ms / 15.085 us */
    out8(&rig, 0x61, 0xff);
    ck_assert_uint_eq(in8(&rig, 0x61) & 0xcf, 0x0f);
    rig_free(&rig);
}
END_TEST

START_TEST(absurd_counts_stay_cheap)
{
    for (unsigned mode = 0; mode < 8; mode++) {
        for (u16 count = 0; count < 4; count++) {
            start();
            out8(&rig, 0x61, 1);
            for (unsigned n = 0; n < 3; n++)
                program(n, mode, count);
            unsigned before = out[0].rises;
            clock_step(&rig.clock, NS_PER_SEC / 10);
            ck_assert_uint_le(out[0].rises - before, 10001);
            read_count(0);
            read_count(2);
            status(1);
            rig_free(&rig);
        }
    }
}
END_TEST

/* A processor that counts counter 0's interrupts, when it is let: starved it does not run. */
static struct {
    bool waits, masked, starved;
    unsigned taken;
    u64 rose;
} cpu;

static void cpu_line(void *opaque, unsigned n, bool level)
{
    cpu.waits = level;
    cpu.rose = clock_now(&rig.clock);
}

static enum i8254_tick cpu_tick(void *opaque, u64 ns)
{
    u64 ran = cpu.starved ? 0 : clock_now(&rig.clock) - cpu.rose;
    if (cpu.masked)
        return I8254_TICK_UNHEARD;
    return cpu.waits && ran < ns / 2 ? I8254_TICK_HELD_UP : I8254_TICK_OVER;
}

static void take(void)
{
    cpu.taken += cpu.waits;
    cpu.waits = false;
    i8254_taken(&pit);
}

/* Goes on for so many periods, with the interrupts taken `times` in each. */
static void periods(unsigned count, unsigned times)
{
    for (unsigned i = 0; i < count * 32; i++) {
        clock_step(&rig.clock, NS_PER_SEC / 1000 / 32);
        if (times && i % (32 / times) == 0)
            take();
    }
}

static void start_ticks(unsigned mode)
{
    rig_make(&rig);
    memset(&cpu, 0, sizeof cpu);
    i8254_init(
        &pit, rig.bus, &rig.clock,
        &(struct i8254_config){.port = 0x40, .out = {{cpu_line, NULL, 0}}, .tick = cpu_tick});
    program(0, mode, 1193);
    cpu.waits = false;
    periods(10, 32);
    ck_assert_uint_ge(cpu.taken, 9);
    ck_assert_uint_le(cpu.taken, 10);
}

START_TEST(ticks_held_up_come_later)
{
    for (unsigned mode = 2; mode <= 3; mode++) {
        start_ticks(mode);
        cpu.starved = true;
        periods(20, 0);
        ck_assert(cpu.waits); /* also where OUT is low */
        cpu.starved = false;
        periods(2, 32); /* eight a period at most */
        ck_assert_uint_ge(cpu.taken, 18); /* two a period would be 14 */
        ck_assert_uint_le(cpu.taken, 28);
        periods(8, 32);
        ck_assert_uint_ge(cpu.taken, 39);
        ck_assert_uint_le(cpu.taken, 40);
        periods(100, 32);
        ck_assert_uint_ge(cpu.taken, 139);
        ck_assert_uint_le(cpu.taken, 140);
        rig_free(&rig);
    }
}
END_TEST

START_TEST(ticks_of_a_late_timer_come_later)
{
    start_ticks(2);
    rig.clock.stopped += 20 * NS_PER_SEC / 1000;
    clock_run_due(&rig.clock);
    periods(10, 32);
    ck_assert_uint_ge(cpu.taken, 39);
    ck_assert_uint_le(cpu.taken, 40);
    /* No more than a second of them. */
    rig.clock.stopped += 60 * NS_PER_SEC;
    clock_run_due(&rig.clock);
    periods(1000, 32);
    ck_assert_uint_ge(cpu.taken, 2038);
    ck_assert_uint_le(cpu.taken, 2042);
    rig_free(&rig);
}
END_TEST

START_TEST(ticks_that_software_lost_are_lost)
{
    start_ticks(3);
    periods(20, 0); /* interrupts are off */
    unsigned more = cpu.waits;
    periods(10, 32);
    ck_assert_uint_le(cpu.taken, 10 + more + 10);
    cpu.masked = cpu.starved = true;
    periods(20, 0);
    ck_assert(!pit.counter[0].missed);
    /* Those from before the counter was started anew do not count either. */
    cpu.masked = false;
    periods(20, 0);
    ck_assert_uint_gt(pit.counter[0].missed, 10);
    program(0, 3, 1193);
    ck_assert(!pit.counter[0].missed);
    rig_free(&rig);
}
END_TEST

RUN_TESTS("i8254", mode0, mode0_gate_holds, mode0_first_byte_stops, mode1, mode2,
          mode2_new_count_waits, mode3_even, mode3_odd, mode3_gate, mode4_and_5,
          latch_and_read_back, single_bytes_and_bcd, refresh_toggles, absurd_counts_stay_cheap,
          ticks_held_up_come_later, ticks_of_a_late_timer_come_later, ticks_that_software_lost_are_lost)

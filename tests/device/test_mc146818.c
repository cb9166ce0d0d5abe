/* The MC146818 against its data sheet, with a stepped clock. */
#include "devices/mc146818.h"
#include "tests/device/rig.h"

static struct rig rig;
static struct mc146818 rtc;
static struct probe irq, nmi;

static u32 get(u8 reg)
{
    out8(&rig, 0x70, reg);
    return in8(&rig, 0x71);
}

static void set(u8 reg, u8 value)
{
    out8(&rig, 0x70, reg);
    out8(&rig, 0x71, value);
}

static void start(s64 epoch)
{
    rig_make(&rig);
    irq = nmi = (struct probe){0};
    mc146818_init(&rtc, rig.bus, &rig.clock,
                  &(struct mc146818_config){.port = 0x70, .epoch = epoch, .irq = probe_pin(&irq, 0),
                                            .nmi_mask = probe_pin(&nmi, 0)});
}

static void wait_us(u64 us)
{
    clock_step(&rig.clock, us * 1000);
}

/* Year with century, month, day, weekday, hours, minutes, seconds as the registers show them. */
static void check_time(u32 century, u32 y, u32 mo, u32 d, u32 wd, u32 h, u32 mi, u32 s)
{
    ck_assert_uint_eq(get(0x32), century);
    ck_assert_uint_eq(get(9), y);
    ck_assert_uint_eq(get(8), mo);
    ck_assert_uint_eq(get(7), d);
    ck_assert_uint_eq(get(6), wd);
    ck_assert_uint_eq(get(4), h);
    ck_assert_uint_eq(get(2), mi);
    ck_assert_uint_eq(get(0), s);
}

START_TEST(base_date)
{
    start(951782399); /* date -u -d @951782399: Mon 2000-02-28 23:59:59 */
    check_time(0x20, 0x00, 0x02, 0x28, 2, 0x23, 0x59, 0x59);
    wait_us(999999);
    ck_assert_uint_eq(get(0), 0x59);
    wait_us(1);
    check_time(0x20, 0x00, 0x02, 0x29, 3, 0x00, 0x00, 0x00); /* 2000 is a leap year */
    wait_us(86400ull * 1000000);
    check_time(0x20, 0x00, 0x03, 0x01, 4, 0x00, 0x00, 0x00);
    ck_assert_uint_eq(get(0x0d), 0x80); /* VRT */
    rig_free(&rig);

    start(4102444799ll); /* 2099-12-31 23:59:59, a Thursday */
    wait_us(1000000);
    check_time(0x21, 0x00, 0x01, 0x01, 6, 0x00, 0x00, 0x00);
    rig_free(&rig);
}
END_TEST

START_TEST(binary_and_twelve_hours)
{
    start(0);
    set(0x0b, 0x84); /* SET, binary, 12 hours */
    set(4, 11);
    set(2, 59);
    set(0, 59);
    set(7, 31);
    set(8, 12);
    set(9, 99);
    set(0x32, 19);
    set(0x0b, 0x04);
    wait_us(1000000);
    ck_assert_uint_eq(get(4), 0x80 | 12); /* noon: 12 with the PM bit */
    wait_us(3600ull * 1000000);
    ck_assert_uint_eq(get(4), 0x80 | 1);
    wait_us(11 * 3600ull * 1000000);
    ck_assert_uint_eq(get(4), 12); /* midnight */
    ck_assert_uint_eq(get(7), 1);
    ck_assert_uint_eq(get(8), 1);
    ck_assert_uint_eq(get(9), 0);
    ck_assert_uint_eq(get(0x32), 20);
    rig_free(&rig);
}
END_TEST

START_TEST(set_stops_updates)
{
    start(0);
    set(0x0b, 0x82);
    wait_us(5000000);
    ck_assert_uint_eq(get(0), 0);
    ck_assert_uint_eq(get(0x0a) & 0x80, 0);
    ck_assert_uint_eq(get(0x0c), 0x40); /* the periodic flag alone goes on */
    set(0x0b, 0x92);
    ck_assert_uint_eq(get(0x0b), 0x82); /* SET clears UIE */
    set(0x0b, 0x02);
    wait_us(1000000);
    ck_assert_uint_eq(get(0), 1);
    rig_free(&rig);
}
END_TEST

START_TEST(update_in_progress)
{
    start(0);
    /* UIP 244 us before an update of 1984 us, at whose end the update-ended flag rises. */
    wait_us(1000000 - 2229);
    ck_assert_uint_eq(get(0x0a), 0x26);
    wait_us(2);
    ck_assert_uint_eq(get(0x0a), 0xa6);
    ck_assert_uint_eq(get(0x0c) & 0x10, 0);
    wait_us(2226);
    ck_assert_uint_eq(get(0x0a), 0xa6);
    ck_assert_uint_eq(get(0), 0);
    wait_us(1);
    ck_assert_uint_eq(get(0x0a), 0x26);
    ck_assert_uint_eq(get(0), 1);
    ck_assert_uint_eq(get(0x0c) & 0x10, 0x10);
    ck_assert_uint_eq(get(0x0c), 0); /* cleared by the read */
    rig_free(&rig);
}
END_TEST

START_TEST(update_interrupt)
{
    start(0);
    set(0x0b, 0x12);
    wait_us(999999);
    ck_assert(!irq.level);
    wait_us(1);
    ck_assert(irq.level);
    wait_us(5000000);
    ck_assert_uint_eq(irq.rises, 1); /* stays until register C is read */
    ck_assert_uint_eq(get(0x0c) & 0x90, 0x90);
    ck_assert(!irq.level);
    wait_us(1000000);
    ck_assert_uint_eq(irq.rises, 2);
    rig_free(&rig);
}
END_TEST

START_TEST(alarm)
{
    start(0);
    set(1, 0x30);
    set(3, 0x02);
    set(5, 0x00);
    set(0x0b, 0x22);
    wait_us(149999999);
    ck_assert(!irq.level);
    wait_us(1);
    ck_assert(irq.level);
    ck_assert_uint_eq(get(0x0c) & 0xb0, 0xb0);
    wait_us(86400ull * 1000000 - 1);
    ck_assert(!irq.level);
    wait_us(1);
    ck_assert(irq.level); /* once a day */
    get(0x0c);
    set(3, 0xff); /* don't care: each hour 00, at second 30 of every minute */
    wait_us(60000000);
    ck_assert(irq.level);
    get(0x0c);

    set(0x0b, 0x02); /* polled: the flag comes without the interrupt, even if nobody looks */
    set(3, 0x10);
    wait_us(86400ull * 1000000 * 3);
    ck_assert(!irq.level);
    ck_assert_uint_eq(get(0x0c) & 0xa0, 0x20);
    rig_free(&rig);
}
END_TEST

START_TEST(periodic)
{
    start(0);
    for (unsigned rate = 1; rate < 16; rate++) {
        /* Table 5: 3.90625 ms and 7.8125 ms for rates 1 and 2, then 122.070 us doubling. */
        u64 per_second = rate == 1 ? 256 : rate == 2 ? 128 : 32768u >> (rate - 1);
        unsigned n = 0;
        set(0x0b, 0x02);
        set(0x0a, 0x20 | rate);
        get(0x0c);
        set(0x0b, 0x42);
        u64 end = clock_now(&rig.clock) + NS_PER_SEC;
        while (clock_now(&rig.clock) < end) {
            u64 next = clock_deadline(&rig.clock);
            ck_assert_uint_gt(next, clock_now(&rig.clock));
            if (next > end)
                break;
            clock_step(&rig.clock, next - clock_now(&rig.clock));
            ck_assert(irq.level);
            ck_assert_uint_eq(get(0x0c) & 0xc0, 0xc0);
            n++;
        }
        clock_step(&rig.clock, end - clock_now(&rig.clock));
        ck_assert_uint_eq(n, per_second);
    }
    set(0x0a, 0x20); /* rate 0: none */
    get(0x0c);
    wait_us(2000000);
    ck_assert_uint_eq(get(0x0c) & 0x40, 0);
    rig_free(&rig);
}
END_TEST

START_TEST(divider_reset)
{
    start(0);
    wait_us(300000);
    set(0x0a, 0x66);
    wait_us(10000000);
    ck_assert_uint_eq(get(0), 0);
    set(0x0a, 0x26);
    wait_us(499999); /* "the first update cycle begins one-half second later" */
    ck_assert_uint_eq(get(0), 0);
    wait_us(1);
    ck_assert_uint_eq(get(0), 1);
    rig_free(&rig);
}
END_TEST

START_TEST(memory_and_reset)
{
    start(0);
    mc146818_set_cmos(&rtc, 0x15, 0x80);
    ck_assert_uint_eq(get(0x15), 0x80);
    set(0x7f, 0x5a);
    ck_assert_uint_eq(mc146818_get_cmos(&rtc, 0x7f), 0x5a);
    ck_assert(!nmi.level);
    out8(&rig, 0x70, 0x8f);
    ck_assert(nmi.level);
    ck_assert_uint_eq(in8(&rig, 0x70), 0xff);
    set(0x0b, 0x7a);
    wait_us(1000000);
    ck_assert(irq.level);
    mc146818_class.reset(&rtc);
    ck_assert(!irq.level);
    ck_assert_uint_eq(get(0x0b), 0x02);
    ck_assert_uint_eq(get(0x0c), 0);
    ck_assert_uint_eq(get(0x7f), 0x5a);
    ck_assert_uint_eq(get(0), 0x01);
    rig_free(&rig);
}
END_TEST

START_TEST(nonsense_in_the_calendar)
{
    start(0);
    for (unsigned value = 0; value < 256; value++) {
        for (unsigned mode = 0; mode < 8; mode += 2) {
            set(0x0b, 0x80 | mode);
            for (u8 r = 0; r < 10; r++)
                set(r, (u8)value);
            set(0x32, (u8)value);
            set(0x0b, (u8)mode);
            wait_us(100000000);
            get(0);
            ck_assert_uint_ge(get(8), 1);
            ck_assert_uint_le(get(8) & 0x0f, 12);
        }
    }
    rig_free(&rig);
}
END_TEST

RUN_TESTS("mc146818", base_date, binary_and_twelve_hours, set_stops_updates, update_in_progress,
          update_interrupt, alarm, periodic, divider_reset, memory_and_reset,
          nonsense_in_the_calendar)

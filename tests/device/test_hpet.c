/* The HPET against the IA-PC HPET specification 1.0a, with a stepped clock. */
#include "devices/hpet.h"
#include "tests/device/rig.h"

#define BASE 0xfed00000ull

static struct rig rig;
static struct hpet hpet;
static struct probe gsi[HPET_ROUTES], legacy_irq[2], legacy;

static void start(void)
{
    struct hpet_config config = {.base = BASE, .route_mask = 0xff0104,
                                 .legacy = probe_pin(&legacy, 0)};
    rig_make(&rig);
    memset(gsi, 0, sizeof gsi);
    memset(legacy_irq, 0, sizeof legacy_irq);
    legacy = (struct probe){0};
    for (unsigned i = 0; i < HPET_ROUTES; i++)
        config.irq[i] = probe_pin(gsi, i);
    for (unsigned i = 0; i < 2; i++)
        config.legacy_irq[i] = probe_pin(legacy_irq, i);
    hpet_init(&hpet, rig.bus, &rig.clock, &config);
}

static u64 rd64(u32 offset)
{
    return bus_read(rig.bus, 0, BASE + offset, 8);
}

static void wr64(u32 offset, u64 value)
{
    bus_write(rig.bus, 0, BASE + offset, value, 8);
}

START_TEST(identification)
{
    start();
    ck_assert_uint_eq(rd32(&rig, BASE), 0x8086a201);
    ck_assert_uint_eq(rd32(&rig, BASE + 4), 10000000); /* femtoseconds per tick */
    ck_assert_uint_eq(rd64(0x100) >> 32, 0xff0104);
    ck_assert_uint_eq(rd64(0x100) & 0x30, 0x30);
    rig_free(&rig);
}
END_TEST

START_TEST(counter)
{
    start();
    clock_step(&rig.clock, 12345);
    ck_assert_uint_eq(rd64(0xf0), 0);
    wr64(0xf0, 0xfffffffe);
    wr64(0x10, 1);
    clock_step(&rig.clock, 1000);
    ck_assert_uint_eq(rd64(0xf0), 0xfffffffeull + 100);
    ck_assert_uint_eq(rd32(&rig, BASE + 0xf4), 1);
    wr64(0x10, 0);
    clock_step(&rig.clock, 1000);
    ck_assert_uint_eq(rd64(0xf0), 0xfffffffeull + 100);
    wr32(&rig, BASE + 0xf4, 7);
    ck_assert_uint_eq(rd64(0xf0), 0x700000000ull + 98);
    rig_free(&rig);
}
END_TEST

START_TEST(one_shot)
{
    start();
    wr64(0x100, 2 << 9 | 0x4);
    wr64(0x108, 1000);
    wr64(0x10, 1);
    clock_step(&rig.clock, 9999);
    ck_assert_uint_eq(gsi[2].rises, 0);
    clock_step(&rig.clock, 1);
    ck_assert_uint_eq(gsi[2].rises, 1);
    ck_assert_uint_eq(rd64(0x20), 0); /* no status for edges */
    clock_step(&rig.clock, NS_PER_SEC * 100);
    ck_assert_uint_eq(gsi[2].rises, 1);
    wr64(0x108, rd64(0xf0) + 500);
    clock_step(&rig.clock, 5000);
    ck_assert_uint_eq(gsi[2].rises, 2);
    rig_free(&rig);
}
END_TEST

START_TEST(one_shot_of_32_bits_wraps)
{
    start();
    wr64(0x100, 2 << 9 | 0x104);
    wr64(0x108, 0xffffffff00000064ull);
    ck_assert_uint_eq(rd64(0x108), 0x64);
    wr64(0xf0, 200);
    wr64(0x10, 1);
    clock_step(&rig.clock, (0x100000000ull - 100) * 10 - 1);
    ck_assert_uint_eq(gsi[2].rises, 0);
    clock_step(&rig.clock, 1);
    ck_assert_uint_eq(gsi[2].rises, 1);
    clock_step(&rig.clock, 0x100000000ull * 10);
    ck_assert_uint_eq(gsi[2].rises, 2); /* again at each wrap */
    rig_free(&rig);
}
END_TEST

START_TEST(periodic)
{
    start();
    wr64(0x100, 16 << 9 | 0x4c); /* periodic, VAL_SET */
    wr64(0x108, 100000); /* one write sets first match and period */
    ck_assert_uint_eq(rd64(0x100) & 0x40, 0);
    wr64(0x10, 1);
    clock_step(&rig.clock, 999999);
    ck_assert_uint_eq(gsi[16].rises, 0);
    clock_step(&rig.clock, 1);
    ck_assert_uint_eq(gsi[16].rises, 1);
    ck_assert_uint_eq(rd64(0x108), 200000);
    clock_step(&rig.clock, 60 * NS_PER_SEC);
    ck_assert_uint_eq(gsi[16].rises, 60001);

    /* First match and period apart, as kernels do it. */
    wr64(0x100, 16 << 9 | 0x4c);
    u64 now = rd64(0xf0);
    wr64(0x108, now + 50);
    wr64(0x108, 2000);
    clock_step(&rig.clock, 500);
    ck_assert_uint_eq(gsi[16].rises, 60002);
    ck_assert_uint_eq(rd64(0x108), now + 2050);
    clock_step(&rig.clock, 20000);
    ck_assert_uint_eq(gsi[16].rises, 60003);
    rig_free(&rig);
}
END_TEST

/* A guest that is held up while it sets up its tick gets the tick all the same. */
START_TEST(late_settings)
{
    static const u64 held_up[][2] = {{0, 0}, {5000000, 0}, {0, 5000000}, {5000000, 5000000}};
    for (unsigned i = 0; i < ARRAY_SIZE(held_up); i++) {
        start();
        wr64(0x10, 1);
        clock_step(&rig.clock, 2 * NS_PER_SEC);
        wr64(0x100, 16 << 9 | 0x14c); /* periodic, 32 bits, VAL_SET */
        u64 now = rd64(0xf0);
        clock_step(&rig.clock, held_up[i][0]);
        bus_write(rig.bus, 0, BASE + 0x108, now + 400000, 4);
        clock_step(&rig.clock, held_up[i][1]);
        bus_write(rig.bus, 0, BASE + 0x108, 400000, 4);
        unsigned before = gsi[16].rises;
        clock_step(&rig.clock, 40000000);
        ck_assert_uint_ge(gsi[16].rises - before, 10);
        ck_assert_uint_le(gsi[16].rises - before, 11);
        ck_assert_uint_eq((rd64(0x108) - now) % 400000, 0);
        rig_free(&rig);
    }
}
END_TEST

START_TEST(level)
{
    start();
    wr64(0x120, 20 << 9 | 0x6);
    wr64(0x128, 100);
    wr64(0x10, 1);
    clock_step(&rig.clock, 1000);
    ck_assert(gsi[20].level);
    ck_assert_uint_eq(rd64(0x20), 2);
    wr64(0x20, 1);
    ck_assert(gsi[20].level);
    wr64(0x20, 2);
    ck_assert(!gsi[20].level);
    ck_assert_uint_eq(rd64(0x20), 0);
    rig_free(&rig);
}
END_TEST

START_TEST(legacy_replacement)
{
    start();
    ck_assert(!legacy.level);
    wr64(0x100, 0x4c);
    wr64(0x108, 10000);
    wr64(0x120, 0x4);
    wr64(0x128, 5000);
    wr64(0x10, 3);
    ck_assert(legacy.level);
    clock_step(&rig.clock, 1000000);
    ck_assert_uint_eq(legacy_irq[0].rises, 10);
    ck_assert_uint_eq(legacy_irq[1].rises, 1);
    ck_assert_uint_eq(gsi[0].rises, 0);
    wr64(0x10, 1);
    ck_assert(!legacy.level);
    ck_assert(!legacy_irq[0].level);
    rig_free(&rig);
}
END_TEST

START_TEST(routes_are_restricted)
{
    start();
    wr64(0x140, 2 << 9);
    wr64(0x140, 5 << 9);
    ck_assert_uint_eq(rd64(0x140) >> 9 & 31, 2);
    wr64(0x140, 31 << 9);
    ck_assert_uint_eq(rd64(0x140) >> 9 & 31, 2);
    rig_free(&rig);
}
END_TEST

START_TEST(absurd_periods_stay_cheap)
{
    for (u64 period = 0; period < 4; period++) {
        start();
        for (unsigned n = 0; n < 3; n++) {
            wr64(0x100 + 0x20 * n, 16 << 9 | 0x4c | (period & 1) << 8);
            wr64(0x108 + 0x20 * n, 1);
            wr64(0x108 + 0x20 * n, period);
        }
        wr64(0x10, 1);
        clock_step(&rig.clock, NS_PER_SEC / 10);
        ck_assert_uint_le(gsi[16].rises, 30003);
        rig_free(&rig);
    }
}
END_TEST

RUN_TESTS("hpet", identification, counter, one_shot, one_shot_of_32_bits_wraps, periodic,
          late_settings, level, legacy_replacement, routes_are_restricted,
          absurd_periods_stay_cheap)

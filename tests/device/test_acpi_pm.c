/* The PIIX4's ACPI registers against its data sheet and ACPI 6.3, section 4.8. */
#include "devices/acpi_pm.h"
#include "tests/device/rig.h"

#define PM 0x600

static struct rig rig;
static struct acpi_pm pm;
static struct probe sci, smi;
static unsigned offs, sleeps, wakes;

static void power_off(void *opaque)
{
    offs++;
}

static void go_to_sleep(void *opaque)
{
    sleeps++;
}

static void wake(void *opaque)
{
    wakes++;
}

static void start(void)
{
    rig_make(&rig);
    sci = smi = (struct probe){0};
    offs = sleeps = wakes = 0;
    acpi_pm_init(&pm, rig.bus, &rig.clock,
                 &(struct acpi_pm_config){.sci = probe_pin(&sci, 0), .smi = probe_pin(&smi, 0),
                                          .power_off = power_off, .sleep = go_to_sleep,
                                          .wake = wake});
    acpi_pm_set_base(&pm, PM);
    acpi_pm_enable(&pm, true);
}

static u32 in(u16 offset, unsigned size)
{
    return bus_in(rig.bus, 0, PM + offset, size);
}

static void out(u16 offset, u32 value, unsigned size)
{
    bus_out(rig.bus, 0, PM + offset, value, size);
}

START_TEST(placement)
{
    start();
    out(2, 0x0100, 2);
    ck_assert_uint_eq(in(2, 2), 0x0100);
    acpi_pm_enable(&pm, false);
    ck_assert_uint_eq(in(2, 2), 0xffff);
    acpi_pm_set_base(&pm, 0xb005);
    acpi_pm_enable(&pm, true);
    ck_assert_uint_eq(in(2, 2), 0xffff);
    ck_assert_uint_eq(bus_in(rig.bus, 0, 0xb002, 2), 0x0100);
    rig_free(&rig);
}
END_TEST

START_TEST(timer_rate)
{
    start();
    ck_assert_uint_eq(in(8, 4), 0);
    clock_step(&rig.clock, NS_PER_SEC);
    ck_assert_uint_eq(in(8, 4), 3579545);
    clock_step(&rig.clock, 9 * NS_PER_SEC);
    ck_assert_uint_eq(in(8, 4), 35795450u & 0xffffff);
    ck_assert_uint_eq(in(9, 2), (35795450u & 0xffffff) >> 8);
    rig_free(&rig);
}
END_TEST

START_TEST(timer_overflow)
{
    /* The top bit changes every 2^23 / 3579545 Hz = 2.3435 s. */
    const u64 half = (8388608ull * NS_PER_SEC + 3579544) / 3579545;
    start();
    out8(&rig, 0xb2, 0xf1);
    out(2, 1, 2);
    clock_step(&rig.clock, half - 1);
    ck_assert_uint_eq(in(0, 2) & 1, 0);
    ck_assert(!sci.level);
    clock_step(&rig.clock, 1);
    ck_assert(sci.level);
    ck_assert_uint_eq(in(0, 2) & 1, 1);
    ck_assert_uint_eq(in(8, 4), 0x800000);
    out(0, 1, 2);
    ck_assert(!sci.level);
    clock_step(&rig.clock, half); /* 1 to 0 counts as well */
    ck_assert(sci.level);
    out(0, 1, 2);

    out(2, 0, 2); /* the status comes without the interrupt, too */
    clock_step(&rig.clock, 3 * half);
    ck_assert(!sci.level);
    ck_assert_uint_eq(in(0, 4), 1);
    out(2, 1, 2);
    ck_assert(sci.level);
    rig_free(&rig);
}
END_TEST

START_TEST(power_button)
{
    start();
    acpi_pm_power_button(&pm);
    ck_assert(!sci.level);
    ck_assert_uint_eq(in(0, 2), 0x100);
    out(3, 1, 1); /* PWRBTN_EN by a byte write */
    ck_assert_uint_eq(in(2, 2), 0x100);
    ck_assert(!sci.level); /* not in ACPI mode */
    out8(&rig, 0xb2, 0xf1);
    ck_assert_uint_eq(in(4, 2) & 1, 1);
    ck_assert(sci.level);
    out(0, 0xfeff, 2); /* write one to clear: not this one */
    ck_assert(sci.level);
    out(0, 0x100, 2);
    ck_assert(!sci.level);
    out8(&rig, 0xb2, 0xf0);
    ck_assert_uint_eq(in(4, 2) & 1, 0);
    ck_assert_uint_eq(in8(&rig, 0xb2), 0xf0);
    out8(&rig, 0xb3, 0x42);
    ck_assert_uint_eq(in8(&rig, 0xb3), 0x42);
    rig_free(&rig);
}
END_TEST

/* S3 ends by the button in any case, by the clock and general events if they are enabled; the reset
 * that follows leaves what has woken, and that something has. */
START_TEST(waking)
{
    start();
    acpi_pm_set_rtc(&pm, 0, true);
    ck_assert_uint_eq(in(0, 2), 0x0400);
    out(0, 0xffff, 2);
    acpi_pm_set_rtc(&pm, 0, false);
    ck_assert_uint_eq(in(0, 2), 0);

    out(4, 0x2000 | 1 << 10, 2);
    acpi_pm_set_rtc(&pm, 0, true);
    acpi_pm_set_gpe(&pm, 3, true);
    ck_assert_uint_eq(wakes, 0);
    acpi_pm_power_button(&pm);
    ck_assert_uint_ge(wakes, 1);
    acpi_pm_wake(&pm);
    acpi_pm_class.reset(&pm);
    ck_assert_uint_eq(in(0, 2), 0x8500);
    ck_assert_uint_eq(in(4, 2), 0);

    acpi_pm_set_gpe(&pm, 3, false);
    for (unsigned i = 0; i < 2; i++) {
        wakes = 0;
        out(0, 0xffff, 2);
        out(2, i ? 0 : 0x0400, 2);
        out(0xc, i ? 0x00080008 : 0xffff, 4);
        out(4, 0x2000 | 1 << 10, 2);
        ck_assert_uint_eq(wakes, 0);
        acpi_pm_set_rtc(&pm, 0, true);
        acpi_pm_set_gpe(&pm, 3, i);
        ck_assert_uint_ge(wakes, 1);
        acpi_pm_wake(&pm);
        acpi_pm_class.reset(&pm);
    }

    /* A reset by somebody else ends it too, and says nothing. */
    acpi_pm_set_gpe(&pm, 3, false);
    out(4, 0x2000 | 1 << 10, 2);
    acpi_pm_class.reset(&pm);
    ck_assert_uint_eq(in(0, 2), 0);
    acpi_pm_wake(&pm);
    acpi_pm_class.reset(&pm);
    ck_assert_uint_eq(in(0, 2), 0);
    rig_free(&rig);
}
END_TEST

START_TEST(sleep_states)
{
    start();
    out(4, 0 << 10, 2);
    ck_assert_uint_eq(offs, 0); /* SLP_TYP alone does nothing */
    out(4, 1 << 13 | 1 << 10, 2);
    ck_assert_uint_eq(sleeps, 1);
    ck_assert_uint_eq(in(4, 2), 1 << 10); /* SLP_EN reads 0 */
    out(4, 1 << 13, 2);
    ck_assert_uint_eq(offs, 1);
    out(4, 1 << 13 | 5 << 10, 2);
    ck_assert_uint_eq(offs, 1);
    rig_free(&rig);
}
END_TEST

START_TEST(general_purpose_events)
{
    start();
    out8(&rig, 0xb2, 0xf1);
    acpi_pm_set_gpe(&pm, 3, true);
    ck_assert_uint_eq(in(12, 2), 8);
    ck_assert(!sci.level);
    out(14, 8, 2);
    ck_assert(sci.level);
    out(12, 8, 2);
    ck_assert(sci.level); /* still asserted */
    acpi_pm_set_gpe(&pm, 3, false);
    ck_assert(sci.level);
    out(12, 8, 2);
    ck_assert(!sci.level);
    rig_free(&rig);
}
END_TEST

START_TEST(smi_command)
{
    start();
    out8(&rig, 0xb2, 0x55);
    ck_assert_uint_eq(smi.rises, 0);
    acpi_pm_set_apmc_smi(&pm, true);
    out8(&rig, 0xb2, 0x55);
    ck_assert_uint_eq(smi.rises, 0); /* GLBCTL.SMI_EN is clear */
    out(0x28, 1, 4);
    ck_assert_uint_eq(in(0x28, 4), 1);
    ck_assert_uint_eq(in(0x18, 2), 0);
    out8(&rig, 0xb2, 0x55);
    ck_assert_uint_eq(smi.rises, 1);
    ck_assert_uint_eq(in(0x18, 2), 0x20); /* GLBSTS.APM_STS, write 1 to clear */
    out(0x18, 0x20, 2);
    ck_assert_uint_eq(in(0x18, 2), 0);
    acpi_pm_set_apmc_smi(&pm, false);
    out8(&rig, 0xb2, 0x55);
    ck_assert_uint_eq(smi.rises, 1);
    rig_free(&rig);
}
END_TEST

/* Where firmware that was made for QEMU's pc looks. */
START_TEST(as_qemu_has_it)
{
    start();
    acpi_pm_enable(&pm, false);
    ck_assert_uint_eq(bus_in(rig.bus, 0, 0xafe0, 4), 0);
    out8(&rig, 0xb2, 0xf1);
    acpi_pm_set_gpe(&pm, 10, true);
    ck_assert_uint_eq(in8(&rig, 0xafe1), 4);
    out8(&rig, 0xafe3, 4);
    ck_assert(sci.level);
    acpi_pm_set_gpe(&pm, 10, false);
    out8(&rig, 0xafe1, 4);
    ck_assert(!sci.level);
    ck_assert_uint_eq(bus_in(rig.bus, 0, 0xafe0, 4), 0x04000000);
    for (u16 port = 0xae00; port < 0xae10; port += 4) { /* no slot is plugged, unplugged, removable */
        bus_out(rig.bus, 0, port, ~0u, 4);
        ck_assert_uint_eq(bus_in(rig.bus, 0, port, 4), 0);
    }
    rig_free(&rig);
}
END_TEST

RUN_TESTS("acpi_pm", placement, timer_rate, timer_overflow, power_button, sleep_states, waking,
          general_purpose_events, smi_command, as_qemu_has_it)

/* The local APIC against the SDM, vol. 3A, chapter 10, with a stepped clock. */
#include "devices/lapic.h"
#include "tests/device/rig.h"

#define CPUS 4
#define TSC_KHZ 2500000ull /* 2.5 GHz */

enum {
    ID = 0x20,
    VERSION = 0x30,
    TPR = 0x80,
    PPR = 0xa0,
    EOI = 0xb0,
    LDR = 0xd0,
    DFR = 0xe0,
    SVR = 0xf0,
    ISR = 0x100,
    TMR = 0x180,
    IRR = 0x200,
    ESR = 0x280,
    ICR_LOW = 0x300,
    ICR_HIGH = 0x310,
    TIMER = 0x320,
    LINT0 = 0x350,
    LINT1 = 0x360,
    ERROR = 0x370,
    INITIAL = 0x380,
    CURRENT = 0x390,
    DIVIDE = 0x3e0,
};

static struct rig rig;
static struct lapic_bus bus;
static struct lapic apic[CPUS];
static struct probe intr[CPUS], nmi[CPUS], init[CPUS], smi[CPUS];
static int sipi[CPUS];
static unsigned extints, eois;
static u8 last_eoi;

static void start_up(void *opaque, u8 vector)
{
    *(int *)opaque = vector;
}

static u8 extint(void *opaque)
{
    extints++;
    return 0x08;
}

static void eoi_broadcast(void *opaque, u8 vector)
{
    eois++;
    last_eoi = vector;
}

static u32 rd(unsigned cpu, u32 reg)
{
    return (u32)bus_read(rig.bus, (int)cpu, LAPIC_BASE + reg, 4);
}

static void wr(unsigned cpu, u32 reg, u32 value)
{
    bus_write(rig.bus, (int)cpu, LAPIC_BASE + reg, value, 4);
}

/* All APICs as after power-on. */
static void start_raw(void)
{
    rig_make(&rig);
    extints = eois = 0;
    memset(intr, 0, sizeof intr);
    memset(nmi, 0, sizeof nmi);
    memset(init, 0, sizeof init);
    memset(smi, 0, sizeof smi);
    lapic_bus_init(&bus, eoi_broadcast, NULL);
    for (unsigned i = 0; i < CPUS; i++) {
        sipi[i] = -1;
        struct lapic_config config = {
            .id = i, .bsp = i == 0, .x2apic = true, .phys_bits = 40, .tsc_khz = TSC_KHZ,
            .intr = probe_pin(intr, i), .nmi = probe_pin(nmi, i), .smi = probe_pin(smi, i),
            .init = probe_pin(init, i), .sipi = start_up, .sipi_opaque = &sipi[i],
            .extint = extint};
        lapic_init(&apic[i], &bus, &rig.clock, &config);
    }
    lapic_bus_map(&bus, rig.bus);
}

/* The same, software-enabled, flat model with one bit per CPU. */
static void start(void)
{
    start_raw();
    for (unsigned i = 0; i < CPUS; i++) {
        wr(i, SVR, 0x1ff);
        wr(i, LDR, 0x01000000u << i);
    }
}

static bool fixed(u32 dest, bool logical, u8 vector, bool level)
{
    struct apic_msg msg = {.dest = dest, .logical = logical, .level = level, .vector = vector};
    return lapic_bus_send(&bus, &msg);
}

static bool pending(unsigned cpu, u8 vector)
{
    return rd(cpu, IRR + vector / 32 * 16) >> vector % 32 & 1;
}

/* The CPUs that have `vector` in IRR, as a mask; clears them again. */
static unsigned who_got(u8 vector)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < CPUS; i++) {
        if (!pending(i, vector))
            continue;
        mask |= BIT(i);
        ck_assert_int_eq(lapic_ack(&apic[i]), vector);
        if (lapic_x2apic(&apic[i]))
            ck_assert(lapic_write_msr(&apic[i], 0x80b, 0));
        else
            wr(i, EOI, 0);
    }
    return mask;
}

START_TEST(power_on)
{
    start_raw();
    ck_assert_uint_eq(rd(2, ID), 0x02000000);
    ck_assert_uint_eq(rd(0, VERSION), 0x00050014);
    ck_assert_uint_eq(rd(0, SVR), 0xff);
    ck_assert_uint_eq(rd(0, DFR), 0xffffffff);
    ck_assert_uint_eq(rd(0, LDR), 0);
    for (u32 r = TIMER; r <= ERROR; r += 0x10)
        ck_assert_uint_eq(rd(0, r), 0x10000);
    /* Masked LVT entries stay masked while software-disabled. */
    wr(0, LINT0, 0x700);
    ck_assert_uint_eq(rd(0, LINT0), 0x10700);
    ck_assert(!fixed(0, false, 0x30, false));
    ck_assert(!intr[0].level);
    u64 base;
    ck_assert(lapic_read_msr(&apic[0], 0x1b, &base));
    ck_assert_uint_eq(base, 0xfee00900);
    ck_assert(lapic_read_msr(&apic[1], 0x1b, &base));
    ck_assert_uint_eq(base, 0xfee00800);
    ck_assert_uint_eq((u32)bus_read(rig.bus, BUS_DMA, LAPIC_BASE + ID, 4), 0xffffffff);
    rig_free(&rig);
}
END_TEST

START_TEST(priority)
{
    start();
    fixed(0, false, 0x31, false);
    fixed(0, false, 0x35, false);
    fixed(0, false, 0x52, false);
    ck_assert(intr[0].level);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x52);
    ck_assert_uint_eq(rd(0, PPR), 0x50);
    ck_assert(!intr[0].level);
    ck_assert_int_eq(lapic_ack(&apic[0]), -1);
    fixed(0, false, 0x5f, false); /* the same class waits */
    ck_assert(!intr[0].level);
    fixed(0, false, 0x60, false);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x60);
    ck_assert_uint_eq(rd(0, ISR + 0x20), BIT(0x52 % 32));
    ck_assert_uint_eq(rd(0, ISR + 0x30), BIT(0x60 % 32));
    wr(0, EOI, 0); /* ends 60h */
    ck_assert(!intr[0].level);
    wr(0, EOI, 0); /* ends 52h */
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x5f);
    wr(0, EOI, 0);
    wr(0, TPR, 0x3f);
    ck_assert_uint_eq(rd(0, PPR), 0x3f);
    ck_assert(!intr[0].level); /* class 3 is not above 3 */
    lapic_set_cr8(&apic[0], 2);
    ck_assert_uint_eq(rd(0, TPR), 0x20);
    ck_assert_uint_eq(lapic_cr8(&apic[0]), 2);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x35);
    ck_assert_uint_eq(eois, 0); /* edges are not broadcast */
    rig_free(&rig);
}
END_TEST

START_TEST(level_and_eoi_broadcast)
{
    start();
    fixed(0, false, 0x44, true);
    ck_assert_uint_eq(rd(0, TMR + 0x20), BIT(4));
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x44);
    wr(0, EOI, 0);
    ck_assert_uint_eq(eois, 1);
    ck_assert_uint_eq(last_eoi, 0x44);
    fixed(0, false, 0x44, false);
    ck_assert_uint_eq(rd(0, TMR + 0x20), 0);
    rig_free(&rig);
}
END_TEST

START_TEST(software_disable)
{
    start();
    wr(0, LINT0, 0x700);
    fixed(0, false, 0x44, false);
    wr(0, SVR, 0xff);
    ck_assert_uint_eq(rd(0, LINT0), 0x10700);
    ck_assert(!intr[0].level); /* held */
    ck_assert(pending(0, 0x44));
    lapic_bus_send(&bus, &(struct apic_msg){.dest = 0, .mode = APIC_NMI});
    ck_assert_uint_eq(nmi[0].rises, 1); /* still answers NMI, INIT, SMI, SIPI */
    wr(0, SVR, 0x1ff);
    ck_assert(intr[0].level);
    rig_free(&rig);
}
END_TEST

START_TEST(physical_and_logical)
{
    start();
    ck_assert(fixed(2, false, 0x40, false));
    ck_assert_uint_eq(who_got(0x40), 4);
    ck_assert(!fixed(9, false, 0x40, false));
    fixed(APIC_BROADCAST, false, 0x40, false);
    ck_assert_uint_eq(who_got(0x40), 15);
    fixed(0x0a, true, 0x40, false); /* flat */
    ck_assert_uint_eq(who_got(0x40), 10);
    fixed(0xff, true, 0x40, false);
    ck_assert_uint_eq(who_got(0x40), 15);

    for (unsigned i = 0; i < CPUS; i++) { /* cluster i / 2, member i % 2 */
        wr(i, DFR, 0x0fffffff);
        wr(i, LDR, (i / 2) << 28 | BIT(24 + i % 2));
    }
    fixed(0x12, true, 0x40, false);
    ck_assert_uint_eq(who_got(0x40), 8);
    fixed(0x13, true, 0x40, false);
    ck_assert_uint_eq(who_got(0x40), 12);
    fixed(0xf1, true, 0x40, false); /* cluster 15: every cluster */
    ck_assert_uint_eq(who_got(0x40), 5);
    rig_free(&rig);
}
END_TEST

START_TEST(lowest_priority)
{
    struct apic_msg msg = {.dest = 0x0f, .logical = true, .mode = APIC_LOWEST, .vector = 0x61};
    start();
    wr(0, TPR, 0x20);
    wr(1, TPR, 0x10);
    wr(2, TPR, 0x30);
    wr(3, TPR, 0x20);
    lapic_bus_send(&bus, &msg);
    ck_assert_uint_eq(who_got(0x61), 2);
    wr(1, TPR, 0x20);
    unsigned got[3];
    for (unsigned i = 0; i < 3; i++) {
        lapic_bus_send(&bus, &msg);
        got[i] = who_got(0x61);
    }
    ck_assert_uint_eq(got[0] | got[1] | got[2], 11); /* equals take turns */
    rig_free(&rig);
}
END_TEST

START_TEST(ipi)
{
    start();
    wr(0, ICR_HIGH, 3u << 24);
    wr(0, ICR_LOW, 0x4051);
    ck_assert_uint_eq(rd(0, ICR_LOW), 0x4051);
    ck_assert_uint_eq(who_got(0x51), 8);
    wr(1, ICR_HIGH, 0x05u << 24);
    wr(1, ICR_LOW, 0x4852); /* logical */
    ck_assert_uint_eq(who_got(0x52), 5);
    wr(1, ICR_LOW, 0x44053); /* self */
    ck_assert_uint_eq(who_got(0x53), 2);
    wr(1, ICR_LOW, 0x84054); /* all */
    ck_assert_uint_eq(who_got(0x54), 15);
    wr(1, ICR_LOW, 0xc4055); /* all but self */
    ck_assert_uint_eq(who_got(0x55), 13);
    wr(1, ICR_HIGH, 0xffu << 24);
    wr(1, ICR_LOW, 0x4056); /* physical FFh: everybody */
    ck_assert_uint_eq(who_got(0x56), 15);

    wr(0, ICR_LOW, 0xc4400); /* NMI to all others */
    ck_assert_uint_eq(nmi[0].rises, 0);
    ck_assert_uint_eq(nmi[3].rises, 1);
    wr(0, ICR_LOW, 0xc4200);
    ck_assert_uint_eq(smi[2].rises, 1);
    rig_free(&rig);
}
END_TEST

START_TEST(init_and_start_up)
{
    start();
    wr(1, TPR, 0x55);
    fixed(1, false, 0x90, false);
    wr(0, ICR_LOW, 0xc4500); /* the sequence of MP start-up */
    ck_assert_uint_eq(init[1].rises, 1);
    ck_assert_uint_eq(init[0].rises, 0);
    ck_assert(!intr[1].level);
    ck_assert_uint_eq(rd(1, TPR), 0);
    ck_assert_uint_eq(rd(1, SVR), 0xff);
    ck_assert_uint_eq(rd(1, ID), 0x01000000);
    wr(0, ICR_LOW, 0xc8500); /* level de-assert: nothing */
    ck_assert_uint_eq(init[1].rises, 1);
    wr(0, ICR_LOW, 0xc4699);
    ck_assert_int_eq(sipi[1], 0x99);
    ck_assert_int_eq(sipi[3], 0x99);
    ck_assert_int_eq(sipi[0], -1);
    rig_free(&rig);
}
END_TEST

START_TEST(errors)
{
    start();
    wr(0, ERROR, 0x33);
    wr(0, ICR_LOW, 0x44005); /* vector 5 */
    wr(0, ESR, 0);
    ck_assert_uint_eq(rd(0, ESR), 0x20);
    wr(0, ESR, 0);
    ck_assert_uint_eq(rd(0, ESR), 0);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x33);
    fixed(0, false, 7, false);
    rd(0, 0x2a0);
    wr(0, 0x50, 1);
    wr(0, ESR, 0);
    ck_assert_uint_eq(rd(0, ESR), 0xc0);
    wr(0, ERROR, 0x03); /* an error vector that is an error itself */
    fixed(0, false, 7, false);
    ck_assert(!intr[0].level || lapic_ack(&apic[0]) != 3);
    for (u32 r = 0; r < 0x1000; r += 4) { /* every register takes everything */
        wr(1, r, 0xffffffff);
        wr(1, r, 0);
        wr(1, r, 0x5a5a5a5a);
        rd(1, r);
    }
    clock_step(&rig.clock, NS_PER_SEC);
    rig_free(&rig);
}
END_TEST

START_TEST(lint_pins)
{
    start_raw();
    /* Disabled by IA32_APIC_BASE: LINT0 is INTR, LINT1 is NMI. */
    ck_assert(lapic_write_msr(&apic[0], 0x1b, 0xfee00100));
    lapic_set_lint(&apic[0], 0, true);
    ck_assert(intr[0].level);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x08);
    lapic_set_lint(&apic[0], 0, false);
    ck_assert(!intr[0].level);
    lapic_set_lint(&apic[0], 1, true);
    ck_assert_uint_eq(nmi[0].rises, 1);
    lapic_set_lint(&apic[0], 1, false);
    ck_assert_uint_eq(rd(0, ID), 0xffffffff);
    ck_assert(lapic_write_msr(&apic[0], 0x1b, 0xfee00900));

    /* Virtual wire. */
    lapic_set_lint(&apic[0], 0, true);
    ck_assert(!intr[0].level);
    wr(0, SVR, 0x1ff);
    wr(0, LINT0, 0x8700);
    wr(0, LINT1, 0x400);
    ck_assert(intr[0].level);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x08);
    ck_assert_uint_eq(extints, 2);
    ck_assert_uint_eq(rd(0, ISR), 0); /* no EOI is due for an ExtINT */
    lapic_set_lint(&apic[0], 1, true);
    ck_assert_uint_eq(nmi[0].rises, 2);
    wr(0, LINT0, 0x18700);
    ck_assert(!intr[0].level);

    /* Fixed and level-triggered, with remote IRR. */
    wr(0, LINT0, 0x8062);
    ck_assert_uint_eq(rd(0, LINT0), 0xc062);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x62);
    wr(0, EOI, 0);
    ck_assert(intr[0].level); /* still asserted */
    lapic_set_lint(&apic[0], 0, false);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x62);
    wr(0, EOI, 0);
    ck_assert(!intr[0].level);
    ck_assert_uint_eq(rd(0, LINT0), 0x8062);
    rig_free(&rig);
}
END_TEST

START_TEST(extint_message)
{
    start();
    lapic_bus_send(&bus, &(struct apic_msg){.dest = 2, .mode = APIC_EXTINT});
    ck_assert(intr[2].level);
    ck_assert_int_eq(lapic_ack(&apic[2]), 0x08);
    ck_assert(!intr[2].level);
    rig_free(&rig);
}
END_TEST

START_TEST(msi)
{
    start();
    lapic_bus_msi(&bus, 0xfee02000, 0x4049);
    ck_assert_uint_eq(who_got(0x49), 4);
    lapic_bus_msi(&bus, 0xfee0c00c, 0x4149); /* RH, logical 0Ch, lowest priority */
    unsigned got = who_got(0x49);
    ck_assert(got == 4 || got == 8);
    lapic_bus_msi(&bus, 0xfee01000, 0xc04a);
    ck_assert_uint_eq(rd(1, TMR + 0x20), BIT(0x4a % 32));
    rig_free(&rig);
}
END_TEST

START_TEST(timer_one_shot)
{
    start();
    wr(0, TIMER, 0x40);
    wr(0, DIVIDE, 0xb); /* by 1: 1 ns */
    wr(0, INITIAL, 1000);
    clock_step(&rig.clock, 400);
    ck_assert_uint_eq(rd(0, CURRENT), 600);
    clock_step(&rig.clock, 599);
    ck_assert(!intr[0].level);
    clock_step(&rig.clock, 1);
    ck_assert(intr[0].level);
    ck_assert_uint_eq(rd(0, CURRENT), 0);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x40);
    wr(0, EOI, 0);
    clock_step(&rig.clock, NS_PER_SEC);
    ck_assert(!intr[0].level);

    static const u8 codes[] = {0xb, 0x0, 0x1, 0x2, 0x3, 0x8, 0x9, 0xa}; /* 1, 2, ... 128 */
    for (unsigned i = 0; i < 8; i++) {
        wr(0, DIVIDE, codes[i]);
        ck_assert_uint_eq(rd(0, DIVIDE), codes[i]);
        wr(0, INITIAL, 100);
        clock_step(&rig.clock, (100u << i) - 1);
        ck_assert(!intr[0].level);
        clock_step(&rig.clock, 1);
        ck_assert_int_eq(lapic_ack(&apic[0]), 0x40);
        wr(0, EOI, 0);
    }
    wr(0, INITIAL, 100);
    wr(0, INITIAL, 0); /* stops it */
    clock_step(&rig.clock, NS_PER_SEC);
    ck_assert(!intr[0].level);
    rig_free(&rig);
}
END_TEST

START_TEST(timer_periodic)
{
    start();
    wr(0, TIMER, 0x20041);
    wr(0, DIVIDE, 0x3); /* by 16 */
    wr(0, INITIAL, 62500); /* 1 ms */
    unsigned n = 0;
    for (u64 t = 0; t < 100; t++) {
        clock_step(&rig.clock, 999999);
        ck_assert(!intr[0].level);
        clock_step(&rig.clock, 1);
        ck_assert_int_eq(lapic_ack(&apic[0]), 0x41);
        ck_assert_uint_eq(rd(0, CURRENT), 62500);
        wr(0, EOI, 0);
        n++;
    }
    ck_assert_uint_eq(n, 100);
    wr(0, TIMER, 0x30041); /* masked: counts on, keeps its phase */
    clock_step(&rig.clock, 10400000);
    ck_assert(!intr[0].level);
    ck_assert_uint_eq(rd(0, CURRENT), 37500);
    wr(0, TIMER, 0x20041);
    clock_step(&rig.clock, 600000);
    ck_assert(intr[0].level);
    rig_free(&rig);
}
END_TEST

START_TEST(timer_deadline)
{
    u64 value;
    start();
    clock_step(&rig.clock, 1000000); /* TSC 2,500,000 */
    ck_assert(lapic_write_msr(&apic[0], 0x6e0, 3000000));
    ck_assert(lapic_read_msr(&apic[0], 0x6e0, &value));
    ck_assert_uint_eq(value, 0); /* ignored in other modes */
    wr(0, TIMER, 0x40042);
    wr(0, INITIAL, 1000); /* ignored in this mode */
    ck_assert_uint_eq(rd(0, INITIAL), 0);
    ck_assert(lapic_write_msr(&apic[0], 0x6e0, 3000000));
    ck_assert(lapic_read_msr(&apic[0], 0x6e0, &value));
    ck_assert_uint_eq(value, 3000000);
    clock_step(&rig.clock, 199999);
    ck_assert(!intr[0].level);
    clock_step(&rig.clock, 1);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x42);
    wr(0, EOI, 0);
    ck_assert(lapic_read_msr(&apic[0], 0x6e0, &value));
    ck_assert_uint_eq(value, 0);

    lapic_write_msr(&apic[0], 0x6e0, 1); /* long past: at once */
    clock_step(&rig.clock, 0);
    ck_assert_int_eq(lapic_ack(&apic[0]), 0x42);
    wr(0, EOI, 0);
    lapic_write_msr(&apic[0], 0x6e0, 4000000);
    lapic_write_msr(&apic[0], 0x6e0, 0); /* disarmed */
    clock_step(&rig.clock, NS_PER_SEC);
    ck_assert(!intr[0].level);

    /* The guest sets its TSC back; the deadline moves with it. */
    lapic_set_tsc(&apic[0], TSC_KHZ, 0 - 2500000ull * 1000);
    u64 tsc = muldiv(clock_now(&rig.clock), TSC_KHZ, 1000000) - 2500000ull * 1000;
    lapic_write_msr(&apic[0], 0x6e0, tsc + 2500);
    clock_step(&rig.clock, 999);
    ck_assert(!intr[0].level);
    clock_step(&rig.clock, 1);
    ck_assert(intr[0].level);
    lapic_write_msr(&apic[0], 0x6e0, ~0ull);
    clock_step(&rig.clock, NS_PER_SEC);
    wr(0, TIMER, 0x42); /* changing the mode disarms */
    ck_assert(lapic_read_msr(&apic[0], 0x6e0, &value));
    ck_assert_uint_eq(value, 0);
    rig_free(&rig);
}
END_TEST

START_TEST(absurd_periods_stay_cheap)
{
    start();
    wr(0, TIMER, 0x20041);
    wr(0, DIVIDE, 0xb);
    wr(0, INITIAL, 1);
    unsigned events = 0;
    u64 end = NS_PER_SEC / 10;
    while (clock_now(&rig.clock) < end) {
        clock_step(&rig.clock, clock_deadline(&rig.clock) - clock_now(&rig.clock));
        events++;
    }
    ck_assert_uint_le(events, 10001);
    rig_free(&rig);
}
END_TEST

START_TEST(base_msr)
{
    struct lapic *s = &apic[1];
    u64 value;
    start();
    ck_assert(!lapic_write_msr(s, 0x1b, 0xfee00801));         /* reserved bits */
    ck_assert(!lapic_write_msr(s, 0x1b, 0xfee00a00));
    ck_assert(!lapic_write_msr(s, 0x1b, BIT64(40) | 0xfee00800)); /* beyond MAXPHYADDR */
    ck_assert(!lapic_write_msr(s, 0x1b, 0xfee00400));         /* EXTD without EN */
    ck_assert(!lapic_read_msr(s, 0x802, &value));             /* not in x2APIC mode */
    ck_assert(lapic_write_msr(s, 0x1b, 0xfee00c00));
    ck_assert(lapic_read_msr(s, 0x802, &value));
    ck_assert_uint_eq(value, 1);
    ck_assert_uint_eq(rd(1, ID), 0xffffffff);                 /* no MMIO then */
    ck_assert(!lapic_write_msr(s, 0x1b, 0xfee00800));         /* not back to xAPIC */
    ck_assert(lapic_write_msr(s, 0x1b, 0xfee00000));          /* disabled */
    ck_assert(!lapic_write_msr(s, 0x1b, 0xfee00c00));         /* not from there to x2APIC */
    ck_assert(lapic_write_msr(s, 0x1b, 0xfee00800));
    ck_assert_uint_eq(rd(1, SVR), 0xff);                      /* state was lost */
    ck_assert(lapic_write_msr(s, 0x1b, 0xfed01800));
    ck_assert_uint_eq((u32)bus_read(rig.bus, 1, 0xfed01000 + ID, 4), 0x01000000);
    rig_free(&rig);
}
END_TEST

START_TEST(x2apic_registers)
{
    struct lapic *s = &apic[0];
    u64 value;
    start();
    ck_assert(lapic_write_msr(s, 0x1b, 0xfee00d00));
    ck_assert(lapic_read_msr(s, 0x803, &value));
    ck_assert_uint_eq(value, 0x50014);
    static const u16 not_readable[] = {0x800, 0x809, 0x80b, 0x80c, 0x80e, 0x82f,
                                         0x831, 0x83f, 0x8ff};
    for (unsigned i = 0; i < ARRAY_SIZE(not_readable); i++)
        ck_assert(!lapic_read_msr(s, not_readable[i], &value));
    static const u16 not_writable[] = {0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810,
                                         0x820, 0x831, 0x839};
    for (unsigned i = 0; i < ARRAY_SIZE(not_writable); i++)
        ck_assert(!lapic_write_msr(s, not_writable[i], 0));
    ck_assert(!lapic_write_msr(s, 0x80b, 1)); /* EOI and ESR take only 0 */
    ck_assert(!lapic_write_msr(s, 0x828, 1));
    ck_assert(!lapic_write_msr(s, 0x808, 0x100));
    ck_assert(!lapic_write_msr(s, 0x832, BIT(11)));
    ck_assert(!lapic_write_msr(s, 0x838, BIT64(32)));
    ck_assert(!lapic_write_msr(s, 0x830, BIT(20)));
    ck_assert(lapic_write_msr(s, 0x808, 0x20));
    ck_assert(lapic_read_msr(s, 0x808, &value));
    ck_assert_uint_eq(value, 0x20);
    ck_assert(lapic_write_msr(s, 0x83f, 0x77)); /* self IPI */
    ck_assert_int_eq(lapic_ack(s), 0x77);
    for (u32 msr = 0x800; msr < 0x900; msr++) {
        lapic_write_msr(s, msr, ~0ull);
        lapic_write_msr(s, msr, 0xff);
        lapic_read_msr(s, msr, &value);
    }
    rig_free(&rig);
}
END_TEST

START_TEST(x2apic_destinations)
{
    u64 value;
    start();
    for (unsigned i = 0; i < CPUS; i++) {
        apic[i].config.id = 14 + i; /* 14 and 15 in cluster 0, 16 and 17 in cluster 1 */
        ck_assert(lapic_write_msr(&apic[i], 0x1b, 0xfee00c00));
        ck_assert(lapic_write_msr(&apic[i], 0x80f, 0x1ff));
    }
    ck_assert(lapic_read_msr(&apic[3], 0x80d, &value));
    ck_assert_uint_eq(value, 0x10002);
    struct lapic *s = &apic[0];
    lapic_write_msr(s, 0x830, 16ull << 32 | 0x60);
    ck_assert_uint_eq(apic[2].irr[3], 1);
    apic[2].irr[3] = 0;
    lapic_write_msr(s, 0x830, 0x10003ull << 32 | 0x860); /* cluster 1, members 0 and 1 */
    ck_assert_uint_eq(apic[2].irr[3], 1);
    ck_assert_uint_eq(apic[3].irr[3], 1);
    ck_assert_uint_eq(apic[1].irr[3], 0);
    lapic_write_msr(s, 0x830, 0xffffffffull << 32 | 0x61);
    for (unsigned i = 0; i < CPUS; i++)
        ck_assert_uint_ne(apic[i].irr[3] & 2, 0);
    lapic_write_msr(s, 0x830, 0xffull << 32 | 0x62); /* FFh is an ordinary ID here */
    for (unsigned i = 0; i < CPUS; i++)
        ck_assert_uint_eq(apic[i].irr[3] & 4, 0);
    rig_free(&rig);
}
END_TEST

RUN_TESTS("lapic", power_on, priority, level_and_eoi_broadcast, software_disable,
          physical_and_logical, lowest_priority, ipi, init_and_start_up, errors, lint_pins,
          extint_message, msi, timer_one_shot, timer_periodic, timer_deadline,
          absurd_periods_stay_cheap, base_msr, x2apic_registers, x2apic_destinations)

/* The I/O APIC against its data sheet (82093AA, 290566-001). */
#include "devices/ioapic.h"
#include "tests/device/rig.h"

#define BASE 0xfec00000ull

static struct rig rig;
static struct ioapic ioapic;
static struct apic_msg sent[64];
static unsigned count;
static bool refuse;

static bool receive(void *opaque, const struct apic_msg *msg)
{
    if (count < ARRAY_SIZE(sent))
        sent[count] = *msg;
    count++;
    return !refuse;
}

static void start(u8 version)
{
    rig_make(&rig);
    count = 0;
    refuse = false;
    ioapic_init(&ioapic, rig.bus,
                &(struct ioapic_config){.base = BASE, .version = version, .send = receive});
}

static u32 get(u8 index)
{
    wr32(&rig, BASE, index);
    return rd32(&rig, BASE + 0x10);
}

static void set(u8 index, u32 value)
{
    wr32(&rig, BASE, index);
    wr32(&rig, BASE + 0x10, value);
}

static void program(unsigned n, u32 low, u8 dest)
{
    set(0x11 + 2 * n, (u32)dest << 24);
    set(0x10 + 2 * n, low);
}

START_TEST(registers)
{
    start(0x11);
    ck_assert_uint_eq(get(1), 0x00170011);
    set(0, 0xffffffff);
    ck_assert_uint_eq(get(0), 0x0f000000);
    ck_assert_uint_eq(get(2), 0x0f000000);
    for (u8 n = 0; n < 24; n++)
        ck_assert_uint_eq(get(0x10 + 2 * n), 0x10000);
    set(0x10, 0xffffffff);
    ck_assert_uint_eq(get(0x10), 0x1afff); /* delivery status and remote IRR are read-only */
    set(0x11, 0xffffffff);
    ck_assert_uint_eq(get(0x11), 0xff000000);
    for (unsigned i = 0; i < 256; i++) {
        set((u8)i, 0x10000);
        get((u8)i);
    }
    wr32(&rig, BASE + 0xfc, 1);
    ck_assert_uint_eq(rd32(&rig, BASE + 0xfc), 0);
    rig_free(&rig);
}
END_TEST

START_TEST(edge)
{
    start(0x11);
    ioapic_set_irq(&ioapic, 4, true); /* masked: "ignored (not delivered or held pending)" */
    program(4, 0x0931, 0x03); /* logical, lowest priority */
    ck_assert_uint_eq(count, 0);
    ioapic_set_irq(&ioapic, 4, false);
    ioapic_set_irq(&ioapic, 4, true);
    ioapic_set_irq(&ioapic, 4, true);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(sent[0].vector, 0x31);
    ck_assert_uint_eq(sent[0].mode, APIC_LOWEST);
    ck_assert(sent[0].logical && !sent[0].level);
    ck_assert_uint_eq(sent[0].dest, 3);
    ioapic_set_irq(&ioapic, 4, false);
    ioapic_set_irq(&ioapic, 4, true); /* needs no EOI */
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(get(0x18) & BIT(14), 0);
    rig_free(&rig);
}
END_TEST

START_TEST(level)
{
    start(0x11);
    ioapic_set_irq(&ioapic, 10, true);
    program(10, 0x8000 | 0x42, 1); /* unmasking an asserted level delivers */
    ck_assert_uint_eq(count, 1);
    ck_assert(sent[0].level && !sent[0].logical);
    ck_assert_uint_eq(get(0x24), 0xc042);
    ioapic_set_irq(&ioapic, 10, false);
    ioapic_set_irq(&ioapic, 10, true);
    ck_assert_uint_eq(count, 1); /* remote IRR holds it back */
    ioapic_eoi(&ioapic, 0x41);
    ck_assert_uint_eq(count, 1);
    ioapic_eoi(&ioapic, 0x42);
    ck_assert_uint_eq(count, 2); /* still asserted */
    ioapic_set_irq(&ioapic, 10, false);
    ioapic_eoi(&ioapic, 0x42);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(get(0x24), 0x8042);

    /* EOI while masked clears remote IRR but sends nothing. */
    ioapic_set_irq(&ioapic, 10, true);
    set(0x24, 0x18042);
    ioapic_eoi(&ioapic, 0x42);
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(get(0x24), 0x18042);
    set(0x24, 0x8042);
    ck_assert_uint_eq(count, 4);
    /* Switching to edge and back drops a stuck remote IRR. */
    set(0x24, 0x10042);
    ck_assert_uint_eq(get(0x24), 0x10042);
    rig_free(&rig);
}
END_TEST

START_TEST(modes_and_destinations)
{
    static const u8 modes[] = {APIC_SMI, APIC_NMI, APIC_INIT, APIC_EXTINT};
    start(0x20);
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        program(i, 0x8000 | modes[i] << 8, 0xff); /* always edges */
        ioapic_set_irq(&ioapic, i, true);
        ck_assert_uint_eq(count, i + 1);
        ck_assert_uint_eq(sent[i].mode, modes[i]);
        ck_assert(!sent[i].level);
        ck_assert_uint_eq(sent[i].dest, APIC_BROADCAST);
    }
    program(9, 0x0850, 0xff); /* logical FFh is a mask of all, not the physical broadcast */
    ioapic_set_irq(&ioapic, 9, true);
    ck_assert_uint_eq(sent[4].dest, 0xff);
    ioapic_set_irq(&ioapic, 24, true);
    ioapic_set_irq(&ioapic, 1000, true);
    ck_assert_uint_eq(count, 5);
    rig_free(&rig);
}
END_TEST

START_TEST(eoi_register)
{
    start(0x20);
    ck_assert_uint_eq(get(1), 0x00170020);
    program(1, 0x8055, 0);
    ioapic_set_irq(&ioapic, 1, true);
    wr32(&rig, BASE + 0x40, 0x55);
    ck_assert_uint_eq(count, 2);
    rig_free(&rig);

    start(0x11); /* has none */
    program(1, 0x8055, 0);
    ioapic_set_irq(&ioapic, 1, true);
    wr32(&rig, BASE + 0x40, 0x55);
    ck_assert_uint_eq(count, 1);
    rig_free(&rig);
}
END_TEST

START_TEST(nobody_takes_it)
{
    start(0x11);
    refuse = true;
    program(1, 0x8055, 0);
    ioapic_set_irq(&ioapic, 1, true);
    ck_assert_uint_eq(count, 1);
    ck_assert_uint_eq(get(0x12) & BIT(14), 0);
    rig_free(&rig);
}
END_TEST

RUN_TESTS("ioapic", registers, edge, level, modes_and_destinations, eoi_register, nobody_takes_it)

/* The 8259A pair against its data sheet (Intel 231468-003). */
#include "devices/i8259.h"
#include "tests/device/rig.h"

static struct rig rig;
static struct i8259 master, slave;
static struct probe intr;

static void make_pair(void)
{
    rig_make(&rig);
    intr = (struct probe){0};
    i8259_init(&master, rig.bus,
               &(struct i8259_config){.port = 0x20, .elcr_port = 0x4d0, .elcr_mask = 0xf8,
                                      .master = true, .intr = probe_pin(&intr, 0)});
    i8259_init(&slave, rig.bus,
               &(struct i8259_config){.port = 0xa0, .elcr_port = 0x4d1, .elcr_mask = 0xde,
                                      .intr = {i8259_set_irq, &master, 2}});
    i8259_cascade(&master, 2, &slave);
}

/* The PC's initialisation with the given ICW4 for the master. */
static void start(u8 icw4)
{
    make_pair();
    out8(&rig, 0x20, 0x11);
    out8(&rig, 0x21, 0x08);
    out8(&rig, 0x21, 0x04);
    out8(&rig, 0x21, icw4);
    out8(&rig, 0xa0, 0x11);
    out8(&rig, 0xa1, 0x70);
    out8(&rig, 0xa1, 0x02);
    out8(&rig, 0xa1, 0x01);
}

static void irq(unsigned n, bool level)
{
    i8259_set_irq(n < 8 ? &master : &slave, n & 7, level);
}

static u32 isr(u16 port)
{
    out8(&rig, port, 0x0b);
    return in8(&rig, port);
}

static u32 irr(u16 port)
{
    out8(&rig, port, 0x0a);
    return in8(&rig, port);
}

START_TEST(fixed_priority)
{
    start(0x01);
    irq(5, true);
    irq(3, true);
    ck_assert(intr.level);
    ck_assert_uint_eq(irr(0x20), 0x28);
    ck_assert_uint_eq(i8259_ack(&master), 0x0b);
    ck_assert_uint_eq(isr(0x20), 0x08);
    ck_assert_uint_eq(irr(0x20), 0x20);
    ck_assert(!intr.level); /* 5 waits for 3 */
    irq(1, true);
    ck_assert(intr.level); /* 1 interrupts 3 */
    ck_assert_uint_eq(i8259_ack(&master), 0x09);
    out8(&rig, 0x20, 0x20);
    ck_assert_uint_eq(isr(0x20), 0x08); /* the unspecific EOI ends the highest */
    ck_assert(!intr.level);
    out8(&rig, 0x20, 0x20);
    ck_assert(intr.level);
    ck_assert_uint_eq(i8259_ack(&master), 0x0d);
    out8(&rig, 0x20, 0x65); /* specific EOI, level 5 */
    ck_assert_uint_eq(isr(0x20), 0);
    rig_free(&rig);
}
END_TEST

START_TEST(mask)
{
    start(0x01);
    out8(&rig, 0x21, 0xfe);
    ck_assert_uint_eq(in8(&rig, 0x21), 0xfe);
    irq(4, true);
    ck_assert(!intr.level);
    ck_assert_uint_eq(irr(0x20), 0x10); /* requests are noted while masked */
    out8(&rig, 0x21, 0xee);
    ck_assert(intr.level);
    rig_free(&rig);
}
END_TEST

START_TEST(edge_needs_a_rise)
{
    start(0x01);
    irq(6, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0e);
    out8(&rig, 0x20, 0x20);
    ck_assert(!intr.level); /* still high, but no edge */
    irq(6, false);
    irq(6, true);
    ck_assert(intr.level);
    /* ICW1 resets the edge sense circuit. */
    out8(&rig, 0x20, 0x11);
    ck_assert(!intr.level);
    rig_free(&rig);
}
END_TEST

START_TEST(level_repeats)
{
    start(0x01);
    out8(&rig, 0x4d0, 0xff);
    ck_assert_uint_eq(in8(&rig, 0x4d0), 0xf8);
    out8(&rig, 0x4d1, 0xff);
    ck_assert_uint_eq(in8(&rig, 0x4d1), 0xde);
    irq(5, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0d);
    ck_assert(!intr.level);
    out8(&rig, 0x20, 0x20);
    ck_assert(intr.level);
    irq(5, false);
    ck_assert(!intr.level);
    irq(11, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x73);
    out8(&rig, 0xa0, 0x20);
    out8(&rig, 0x20, 0x20);
    ck_assert_uint_eq(i8259_ack(&master), 0x73);
    rig_free(&rig);
}
END_TEST

START_TEST(ltim_without_elcr)
{
    struct i8259 alone;
    rig_make(&rig);
    intr = (struct probe){0};
    i8259_init(&alone, rig.bus, &(struct i8259_config){.port = 0x20, .master = true,
                                                       .intr = probe_pin(&intr, 0)});
    out8(&rig, 0x20, 0x1b); /* LTIM, single, ICW4 */
    out8(&rig, 0x21, 0x40);
    out8(&rig, 0x21, 0x01); /* no ICW3 when single */
    i8259_set_irq(&alone, 2, true);
    ck_assert_uint_eq(i8259_ack(&alone), 0x42);
    out8(&rig, 0x20, 0x20);
    ck_assert(intr.level);
    rig_free(&rig);
}
END_TEST

START_TEST(cascade)
{
    start(0x01);
    irq(9, true);
    irq(3, true);
    ck_assert_uint_eq(irr(0x20), 0x0c);
    ck_assert_uint_eq(i8259_ack(&master), 0x71); /* IR2 comes before IR3 */
    ck_assert_uint_eq(isr(0x20), 0x04);
    ck_assert_uint_eq(isr(0xa0), 0x02);
    irq(8, true); /* higher within the slave, but the master is serving IR2 already */
    ck_assert(!intr.level);
    out8(&rig, 0xa0, 0x20);
    ck_assert(!intr.level);
    out8(&rig, 0x20, 0x20);
    ck_assert_uint_eq(i8259_ack(&master), 0x70);
    rig_free(&rig);
}
END_TEST

START_TEST(special_fully_nested)
{
    start(0x11);
    irq(11, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x73);
    ck_assert(!intr.level);
    irq(3, true);
    ck_assert(!intr.level); /* lower than IR2 stays locked out */
    irq(9, true);
    ck_assert(intr.level); /* higher within the same slave comes through */
    ck_assert_uint_eq(i8259_ack(&master), 0x71);
    rig_free(&rig);
}
END_TEST

START_TEST(spurious)
{
    start(0x01);
    irq(4, true);
    irq(4, false);
    ck_assert(!intr.level);
    ck_assert_uint_eq(i8259_ack(&master), 0x0f);
    ck_assert_uint_eq(isr(0x20), 0); /* a default IR7 sets no ISR bit */

    /* A real IR7 does. */
    irq(7, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0f);
    ck_assert_uint_eq(isr(0x20), 0x80);
    out8(&rig, 0x20, 0x20);

    /* The slave's request goes away when the master has latched IR2: level mode of IR2 would be
     * needed for a master that forgets; keep its line up by a wire of our own. */
    slave.config.intr.fn = NULL;
    irq(12, true);
    i8259_set_irq(&master, 2, true);
    irq(12, false);
    ck_assert_uint_eq(i8259_ack(&master), 0x77);
    ck_assert_uint_eq(isr(0xa0), 0);
    ck_assert_uint_eq(isr(0x20), 0x04);
    rig_free(&rig);
}
END_TEST

START_TEST(special_mask)
{
    start(0x01);
    irq(2 + 2, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0c);
    out8(&rig, 0x21, 0x10); /* the handler masks its own level ... */
    irq(6, true);
    ck_assert(!intr.level);
    out8(&rig, 0x20, 0x68); /* ... and sets special mask mode: lower levels come through */
    ck_assert(intr.level);
    ck_assert_uint_eq(i8259_ack(&master), 0x0e);
    out8(&rig, 0x20, 0x20); /* does not touch the masked level 4 */
    ck_assert_uint_eq(isr(0x20), 0x10);
    out8(&rig, 0x20, 0x20);
    ck_assert_uint_eq(isr(0x20), 0x10);
    out8(&rig, 0x20, 0x48); /* back to normal mask mode */
    out8(&rig, 0x20, 0x20);
    ck_assert_uint_eq(isr(0x20), 0);
    rig_free(&rig);
}
END_TEST

START_TEST(rotation)
{
    start(0x01);
    /* Data sheet, figure on automatic rotation: 4 and 6 are in service; after rotating on the
     * unspecific EOI, 4 is lowest, 5 highest. */
    irq(4, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0c);
    out8(&rig, 0x20, 0xa0);
    ck_assert_uint_eq(isr(0x20), 0);
    irq(4, false);
    irq(4, true);
    irq(3, true);
    irq(5, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0d);
    out8(&rig, 0x20, 0x65);
    ck_assert_uint_eq(i8259_ack(&master), 0x0b);
    out8(&rig, 0x20, 0x63);
    ck_assert_uint_eq(i8259_ack(&master), 0x0c);
    out8(&rig, 0x20, 0x64);

    out8(&rig, 0x20, 0xc5); /* set priority: 5 lowest, 6 highest */
    irq(0, true);
    irq(6, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0e);
    out8(&rig, 0x20, 0xe6); /* rotate on specific EOI: 6 lowest, 7 highest */
    irq(7, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0f);
    rig_free(&rig);
}
END_TEST

START_TEST(automatic_eoi)
{
    start(0x03);
    irq(4, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0c);
    ck_assert_uint_eq(isr(0x20), 0);
    out8(&rig, 0x20, 0x80); /* rotate in automatic EOI mode */
    irq(1, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x09);
    irq(1, false);
    irq(1, true);
    irq(2 + 1, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x0b); /* 1 has become the lowest */
    rig_free(&rig);
}
END_TEST

START_TEST(poll)
{
    start(0x01);
    out8(&rig, 0x20, 0x0c);
    ck_assert_uint_eq(in8(&rig, 0x20), 0);
    irq(5, true);
    out8(&rig, 0x20, 0x0c);
    ck_assert_uint_eq(in8(&rig, 0x20), 0x85);
    ck_assert(!intr.level);
    ck_assert_uint_eq(isr(0x20), 0x20);
    rig_free(&rig);
}
END_TEST

START_TEST(initialisation)
{
    start(0x03);
    out8(&rig, 0x21, 0xff);
    out8(&rig, 0x20, 0xc3);
    out8(&rig, 0x20, 0x68);
    out8(&rig, 0x20, 0x10); /* no ICW4: its functions become zero */
    out8(&rig, 0x21, 0x27); /* only T7 to T3 count */
    out8(&rig, 0x21, 0x04);
    ck_assert_uint_eq(in8(&rig, 0x21), 0); /* IMR cleared */
    irq(0, true);
    irq(7, true);
    ck_assert_uint_eq(i8259_ack(&master), 0x20);
    ck_assert_uint_eq(isr(0x20), 0x01);
    ck_assert(!intr.level);
    rig_free(&rig);
}
END_TEST

RUN_TESTS("i8259", fixed_priority, mask, edge_needs_a_rise, level_repeats, ltim_without_elcr,
          cascade, special_fully_nested, spurious, special_mask, rotation, automatic_eoi, poll,
          initialisation)

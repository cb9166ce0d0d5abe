/* PCI core, i440FX, PIIX3, PIIX4 PM and SMBus, and the PCI test device, through ports and memory. */
#include "devices/i440fx.h"
#include "devices/pci.h"
#include "devices/pci_testdev.h"
#include "devices/piix3.h"
#include "devices/piix4_pm.h"
#include "devices/piix4_smbus.h"
#include "tests/device/io_fixture.h"

#define RAM_SIZE (16u << 20)

enum { WIRE_RESET = 16, WIRE_INIT = 17, WIRE_SMBUS = 18, WIRE_SMI = 19 };

struct pci_test {
    struct bus *bus;
    struct wires wires;
    struct pci_bus pci;
    struct i440fx host;
    struct piix3 isa;
    struct piix4_pm pm;
    struct piix4_smbus smbus;
    struct clock clock;
    struct pci_testdev dev;
    u8 *ram, *rom;
    u16 pm_base;
    bool pm_on, apmc_smi;
    unsigned msis;
    u64 msi_address;
    u32 msi_data;
};

static void got_msi(void *opaque, u64 address, u32 data)
{
    struct pci_test *t = opaque;
    t->msis++;
    t->msi_address = address;
    t->msi_data = data;
}

static void got_base(void *opaque, u16 base)
{
    ((struct pci_test *)opaque)->pm_base = base;
}

static void got_enable(void *opaque, bool on)
{
    ((struct pci_test *)opaque)->pm_on = on;
}

static void got_apmc(void *opaque, bool on)
{
    ((struct pci_test *)opaque)->apmc_smi = on;
}

static void setup(struct pci_test *t)
{
    u8 *rom[I440FX_SEGMENTS] = {0};
    struct piix3_pins pins;
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    t->ram = bus_alloc_ram(t->bus, RAM_SIZE, "ram");
    t->rom = bus_alloc_ram(t->bus, 0x20000, "rom");
    memset(t->rom, 0x90, 0x20000);
    bus_map_ram(t->bus, "ram", 0, RAM_SIZE, t->ram, true, true, 0);
    for (unsigned i = 8; i < I440FX_SEGMENTS; i++)
        rom[i] = t->rom + (i - 8) * 0x4000;
    struct pci_wiring w = {.map_irq = piix3_map_irq, .msi = got_msi, .opaque = t};
    for (unsigned i = 0; i < 4; i++)
        w.pirq[i] = (struct pin){piix3_set_pirq, &t->isa, i};
    pci_bus_init(&t->pci, t->bus, &w);
    i440fx_init(&t->host, &t->pci, t->bus, t->ram, rom);
    for (unsigned i = 0; i < 16; i++)
        pins.irq[i] = wire(&t->wires, i);
    pins.reset = wire(&t->wires, WIRE_RESET);
    pins.init = wire(&t->wires, WIRE_INIT);
    piix3_init(&t->isa, &t->pci, 1 << 3, &pins);
    struct pin irq = wire(&t->wires, WIRE_SMBUS), smi = wire(&t->wires, WIRE_SMI);
    clock_init(&t->clock, CLOCK_STEPPED);
    piix4_smbus_init(&t->smbus, t->bus, &t->clock, &irq, &smi);
    piix4_pm_init(
        &t->pm, &t->pci, 1 << 3 | 3,
        &(struct piix4_pm_block){got_base, got_enable, got_apmc, t, piix4_smbus_place, &t->smbus});
    pci_testdev_init(&t->dev, &t->pci, t->bus, 4 << 3, 1ull << 33);
}

static void teardown(struct pci_test *t)
{
    bus_destroy(t->bus);
}

static void address(struct pci_test *t, unsigned devfn, unsigned reg)
{
    bus_out(t->bus, 0, 0xcf8, 0x80000000 | devfn << 8 | (reg & 0xfc), 4);
}

static u32 cfg_read(struct pci_test *t, unsigned devfn, unsigned reg, unsigned size)
{
    address(t, devfn, reg);
    return bus_in(t->bus, 0, (u16)(0xcfc + (reg & 3)), size);
}

static void cfg_write(struct pci_test *t, unsigned devfn, unsigned reg, u32 v, unsigned size)
{
    address(t, devfn, reg);
    bus_out(t->bus, 0, (u16)(0xcfc + (reg & 3)), v, size);
}

START_TEST(mechanism)
{
    struct pci_test t;
    setup(&t);
    ck_assert_uint_eq(cfg_read(&t, 0, 0, 4), 0x12378086);
    ck_assert_uint_eq(cfg_read(&t, 0, 2, 2), 0x1237);
    ck_assert_uint_eq(cfg_read(&t, 0, 1, 1), 0x80);
    ck_assert_uint_eq(cfg_read(&t, 8, 0, 4), 0x70008086);
    ck_assert_uint_eq(cfg_read(&t, 11, 0, 4), 0x71138086);
    ck_assert_uint_eq(cfg_read(&t, 0, 8, 4) >> 8, 0x060000);
    ck_assert_uint_eq(cfg_read(&t, 8, 8, 4) >> 8, 0x060100);
    ck_assert_uint_eq(cfg_read(&t, 11, 8, 4) >> 8, 0x068000);
    /* Device 1 has several functions, device 0 has not. */
    ck_assert_uint_eq(cfg_read(&t, 8, 0x0e, 1), 0x80);
    ck_assert_uint_eq(cfg_read(&t, 0, 0x0e, 1), 0x00);
    /* Nothing there, other bus, not enabled: all ones. */
    ck_assert_uint_eq(cfg_read(&t, 9, 0, 4), 0xffffffff);
    bus_out(t.bus, 0, 0xcf8, 0x80010000, 4);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0xcfc, 4), 0xffffffff);
    bus_out(t.bus, 0, 0xcf8, 0x00000000, 4);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0xcfc, 4), 0xffffffff);
    /* Reserved bits of CONFADD read 0; only dwords write it. */
    bus_out(t.bus, 0, 0xcf8, 0xffffffff, 4);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0xcf8, 4), 0x80fffffc);
    bus_out(t.bus, 0, 0xcf8, 0x00, 1);
    bus_out(t.bus, 0, 0xcfa, 0x00, 2);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0xcf8, 4), 0x80fffffc);
    /* Identity cannot be written, byte lanes go to the right register. */
    cfg_write(&t, 0, 0, 0, 4);
    ck_assert_uint_eq(cfg_read(&t, 0, 0, 4), 0x12378086);
    cfg_write(&t, 8, 0x3c, 0x0b, 1);
    ck_assert_uint_eq(cfg_read(&t, 8, 0x3c, 4), 0x0000000b);
    cfg_write(&t, 0, 0x71, 0x5a, 1);
    ck_assert_uint_eq(cfg_read(&t, 0, 0x70, 2), 0x5a20);
    teardown(&t);
}
END_TEST

START_TEST(bars)
{
    struct pci_test t;
    unsigned d = 4 << 3;
    setup(&t);
    cfg_write(&t, d, 0x10, 0xffffffff, 4);
    ck_assert_uint_eq(cfg_read(&t, d, 0x10, 4), 0xfffff000);
    cfg_write(&t, d, 0x14, 0xffffffff, 4);
    ck_assert_uint_eq(cfg_read(&t, d, 0x14, 4), 0xffffff01);
    /* 64 bits, prefetchable, 8 GiB. */
    cfg_write(&t, d, 0x18, 0xffffffff, 4);
    cfg_write(&t, d, 0x1c, 0xffffffff, 4);
    ck_assert_uint_eq(cfg_read(&t, d, 0x18, 4), 0x0000000c);
    ck_assert_uint_eq(cfg_read(&t, d, 0x1c, 4), 0xfffffffe);
    ck_assert_uint_eq(cfg_read(&t, d, 0x20, 4), 0);

    cfg_write(&t, d, 0x10, 0xe0000000, 4);
    cfg_write(&t, d, 0x14, 0xc000, 4);
    /* Not decoded before the command register says so. */
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xe0000001, 1), 0xff);
    cfg_write(&t, d, 4, 0x02, 2);
    bus_write(t.bus, 0, 0xe0000000, 0, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xe0000001, 1), 1);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0xc001, 1), 0xff);
    cfg_write(&t, d, 4, 0x03, 2);
    out8(t.bus, 0xc000, 0);
    ck_assert_uint_eq(in8(t.bus, 0xc001), 1);
    /* Moved. */
    cfg_write(&t, d, 0x10, 0xe1000000, 4);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xe0000001, 1), 0xff);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xe1000001, 1), 1);
    cfg_write(&t, d, 0x15, 0xd0, 1); /* by one byte */
    ck_assert_uint_eq(in8(t.bus, 0xd001), 1);
    ck_assert_uint_eq(in8(t.bus, 0xc001), 0xff);
    /* Over RAM: RAM stays. */
    t.ram[0x200001] = 0x77;
    cfg_write(&t, d, 0x10, 0x00200000, 4);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0x200001, 1), 0x77);
    /* A size probe with decoding on must not shadow the reset vector. */
    cfg_write(&t, d, 0x10, 0xffffffff, 4);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xfffff001, 1), 0xff);
    /* Reset takes everything back. */
    cfg_write(&t, d, 0x10, 0xe1000000, 4);
    pci_testdev_class.reset(&t.dev);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xe1000001, 1), 0xff);
    ck_assert_uint_eq(cfg_read(&t, d, 0x10, 4), 0);
    teardown(&t);
}
END_TEST

START_TEST(testdev)
{
    struct pci_test t;
    unsigned d = 4 << 3, tests = 0;
    setup(&t);
    cfg_write(&t, d, 0x10, 0xe0000000, 4);
    cfg_write(&t, d, 0x14, 0xc000, 4);
    cfg_write(&t, d, 4, 0x03, 2);
    for (unsigned i = 0;; i++, tests++) {
        bus_write(t.bus, 0, 0xe0000000, i, 1);
        ck_assert_uint_eq(bus_read(t.bus, 0, 0xe000000c, 4), 0);
        if (bus_read(t.bus, 0, 0xe0000001, 1) != 1)
            break;
        u64 offset = bus_read(t.bus, 0, 0xe0000004, 4);
        u64 data = bus_read(t.bus, 0, 0xe0000008, 4);
        for (unsigned n = 0; n < 16; n++)
            bus_write(t.bus, 0, 0xe0000000 + offset, data, 1);
        ck_assert_uint_eq(bus_read(t.bus, 0, 0xe000000c, 4), 16);
        ck_assert_uint_eq(bus_read(t.bus, 0, 0xe0000010, 1), 'm');
    }
    ck_assert_uint_eq(tests, 3);
    out8(t.bus, 0xc000, 2); /* datamatch */
    u16 port = (u16)(0xc000 + bus_in(t.bus, 0, 0xc004, 4));
    out8(t.bus, port, 0x12);
    out8(t.bus, port, 0xfa);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0xc00c, 4), 1);
    out8(t.bus, 0xc000, 200);
    ck_assert_uint_eq(in8(t.bus, 0xc001), 0);
    teardown(&t);
}
END_TEST

START_TEST(intx_and_pirq)
{
    struct pci_test t;
    setup(&t);
    struct pci_function *a = &t.dev.pci, *b = &t.pm.pci;
    pci_config_set(a, PCI_INTERRUPT_PIN, 1, 1);
    /* Device 4 INTA: PIRQ (4 - 1 + 0) mod 4 = 3 = D; nothing while it is not routed. */
    pci_set_intx(a, true);
    for (unsigned i = 0; i < 16; i++)
        ck_assert(!t.wires.level[i]);
    ck_assert_uint_eq(cfg_read(&t, 4 << 3, 6, 2) & 8, 8);
    cfg_write(&t, 8, 0x63, 0x0b, 1);
    ck_assert(t.wires.level[11]);
    cfg_write(&t, 8, 0x63, 0x0a, 1);
    ck_assert(!t.wires.level[11]);
    ck_assert(t.wires.level[10]);
    /* Reserved lines are never driven. */
    cfg_write(&t, 8, 0x63, 0x00, 1);
    ck_assert(!t.wires.level[0] && !t.wires.level[10]);
    cfg_write(&t, 8, 0x60, 0x0a0b0a0b, 4); /* all four */
    ck_assert(t.wires.level[10]);
    /* Shared line: PIRQB and PIRQD both at 10. */
    cfg_write(&t, 8, 0x60, 0x0a0b0a0a, 4);
    pci_set_intx(b, true); /* device 1 INTA: PIRQA */
    ck_assert(t.wires.level[10]);
    pci_set_intx(a, false);
    ck_assert(t.wires.level[10]);
    pci_set_intx(b, false);
    ck_assert(!t.wires.level[10]);
    /* The Interrupt Disable bit. */
    pci_set_intx(a, true);
    ck_assert(t.wires.level[10]);
    cfg_write(&t, 4 << 3, 4, 0x400, 2);
    ck_assert(!t.wires.level[10]);
    cfg_write(&t, 4 << 3, 4, 0x000, 2);
    ck_assert(t.wires.level[10]);
    pci_testdev_class.reset(&t.dev);
    ck_assert(!t.wires.level[10]);
    teardown(&t);
}
END_TEST

START_TEST(msi)
{
    struct pci_test t;
    unsigned d = 4 << 3;
    setup(&t);
    pci_msi_init(&t.dev.pci, 0x50, 4);
    ck_assert_uint_eq(cfg_read(&t, d, 6, 2) & 0x10, 0x10);
    ck_assert_uint_eq(cfg_read(&t, d, 0x34, 1), 0x50);
    ck_assert_uint_eq(cfg_read(&t, d, 0x50, 4), 0x00840005);
    cfg_write(&t, d, 0x54, 0xfee00fff, 4);
    ck_assert_uint_eq(cfg_read(&t, d, 0x54, 4), 0xfee00ffc);
    cfg_write(&t, d, 0x5c, 0x4047, 2);
    pci_msi_send(&t.dev.pci, 1);
    ck_assert_uint_eq(t.msis, 0); /* off */
    cfg_write(&t, d, 0x52, 0x0001 | 1 << 4, 2);
    pci_msi_send(&t.dev.pci, 1);
    ck_assert_uint_eq(t.msis, 0); /* no bus master */
    cfg_write(&t, d, 4, 0x04, 2);
    pci_msi_send(&t.dev.pci, 0);
    ck_assert_uint_eq(t.msis, 1);
    ck_assert_uint_eq(t.msi_address, 0xfee00ffc);
    ck_assert_uint_eq(t.msi_data, 0x4046); /* two vectors granted: bit 0 is the vector */
    pci_msi_send(&t.dev.pci, 1);
    ck_assert_uint_eq(t.msi_data, 0x4047);
    cfg_write(&t, d, 0x52, 0x0001 | 7 << 4, 2); /* more than the device has */
    pci_msi_send(&t.dev.pci, 3);
    ck_assert_uint_eq(t.msi_data, 0x4047);
    teardown(&t);
}
END_TEST

START_TEST(pam)
{
    struct pci_test t;
    setup(&t);
    /* After reset F0000 is ROM, C0000 is nothing, neither takes a store. */
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xffff0, 1), 0x90);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xc0000, 1), 0xff);
    bus_write(t.bus, 0, 0xffff0, 0x11, 1);
    bus_write(t.bus, 0, 0xc0000, 0x11, 1);
    ck_assert_uint_eq(t.ram[0xffff0], 0);
    ck_assert_uint_eq(t.ram[0xc0000], 0);
    ck_assert_uint_eq(t.rom[0x1fff0], 0x90);
    /* Write only: reads see ROM, stores land in RAM. */
    cfg_write(&t, 0, 0x59, 0x20, 1);
    bus_write(t.bus, 0, 0xffff0, 0x11, 1);
    bus_write(t.bus, 0, 0xf0000, 0x8877665544332211, 8);
    ck_assert_uint_eq(t.ram[0xffff0], 0x11);
    ck_assert_uint_eq(load_le(t.ram + 0xf0000, 8), 0x8877665544332211);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xffff0, 1), 0x90);
    /* Read only: RAM, protected. */
    cfg_write(&t, 0, 0x59, 0x10, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xffff0, 1), 0x11);
    bus_write(t.bus, 0, 0xffff0, 0x22, 1);
    ck_assert_uint_eq(t.ram[0xffff0], 0x11);
    /* Both. */
    cfg_write(&t, 0, 0x59, 0x30, 1);
    bus_write(t.bus, 0, 0xffff0, 0x22, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xffff0, 1), 0x22);
    /* Two segments a register: PAM1 low nibble C0000, high C4000; write only without ROM. */
    cfg_write(&t, 0, 0x5a, 0x23, 1);
    bus_write(t.bus, 0, 0xc0000, 0x33, 1);
    bus_write(t.bus, 0, 0xc4000, 0x44, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xc0000, 1), 0x33);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xc4000, 1), 0xff);
    ck_assert_uint_eq(t.ram[0xc4000], 0x44);
    /* PAM6 high nibble: EC000. */
    cfg_write(&t, 0, 0x5f, 0x30, 1);
    bus_write(t.bus, 0, 0xec000, 0x55, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xec000, 1), 0x55);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xe8000, 1), 0x90);
    /* Reset: ROM again, RAM keeps. */
    i440fx_class.reset(&t.host);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xffff0, 1), 0x90);
    ck_assert_uint_eq(t.ram[0xffff0], 0x22);
    teardown(&t);
}
END_TEST

static u64 vga_read(void *opaque, u64 offset, unsigned size)
{
    return 0x5656565656565656;
}

static void vga_write(void *opaque, u64 offset, u64 value, unsigned size)
{
}

START_TEST(smram)
{
    static const struct bus_ops vga = {vga_read, vga_write, 1, 8};
    struct pci_test t;
    setup(&t);
    bus_map_mmio(t.bus, "vga", 0xa0000, 0x20000, &vga, NULL, 1);
    t.ram[0xa0000] = 0x99;
    ck_assert_uint_eq(cfg_read(&t, 0, 0x72, 1), 0x02);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000, 1), 0x56);
    cfg_write(&t, 0, 0x72, 0x4a, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000, 1), 0x99);
    cfg_write(&t, 0, 0x72, 0x0a, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000, 1), 0x56);
    /* Not open: RAM in SMM alone; closed: for its fetches alone. */
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000 | BUS_SMM, 1), 0x99);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000 | BUS_SMM_CODE, 1), 0x99);
    ck_assert_ptr_eq(bus_page(t.bus, 0xa0000 | BUS_SMM).write, t.ram + 0xa0000);
    ck_assert_ptr_null(bus_page(t.bus, 0xa0000).read);
    bus_write(t.bus, 0, 0xa0000 | BUS_SMM, 0x77, 1);
    ck_assert_uint_eq(t.ram[0xa0000], 0x77);
    t.ram[0xa0000] = 0x99;
    cfg_write(&t, 0, 0x72, 0x2a, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000 | BUS_SMM, 1), 0x56);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000 | BUS_SMM_CODE, 1), 0x99);
    cfg_write(&t, 0, 0x72, 0x02, 1); /* not enabled */
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000 | BUS_SMM, 1), 0x56);
    cfg_write(&t, 0, 0x72, 0x0a, 1);
    /* Locked: open goes away and cannot come back before reset. */
    cfg_write(&t, 0, 0x72, 0x5a, 1);
    ck_assert_uint_eq(cfg_read(&t, 0, 0x72, 1), 0x1a);
    cfg_write(&t, 0, 0x72, 0x4a, 1);
    ck_assert_uint_eq(cfg_read(&t, 0, 0x72, 1), 0x1a);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000, 1), 0x56);
    i440fx_class.reset(&t.host);
    cfg_write(&t, 0, 0x72, 0x4a, 1);
    ck_assert_uint_eq(bus_read(t.bus, 0, 0xa0000, 1), 0x99);
    teardown(&t);
}
END_TEST

START_TEST(reset_control)
{
    struct pci_test t;
    setup(&t);
    out8(t.bus, 0xcf9, 0x02);
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 0);
    ck_assert_uint_eq(in8(t.bus, 0xcf9), 0x02);
    out8(t.bus, 0xcf9, 0x06);
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 1);
    out8(t.bus, 0xcf9, 0x06); /* no edge */
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 1);
    out8(t.bus, 0xcf9, 0x00);
    out8(t.bus, 0xcf9, 0x04);
    ck_assert_uint_eq(t.wires.rises[WIRE_INIT], 1);
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET], 1);
    /* A configuration address is no reset. */
    bus_out(t.bus, 0, 0xcf8, 0x80000600, 4);
    out8(t.bus, 0xcf9, 0x00);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0xcf8, 4), 0x80000600);
    ck_assert_uint_eq(t.wires.rises[WIRE_RESET] + t.wires.rises[WIRE_INIT], 2);
    teardown(&t);
}
END_TEST

START_TEST(pm_base)
{
    struct pci_test t;
    setup(&t);
    cfg_write(&t, 11, 0x40, 0xffffffff, 4);
    ck_assert_uint_eq(cfg_read(&t, 11, 0x40, 4), 0x0000ffc1);
    cfg_write(&t, 11, 0x40, 0x601, 4);
    ck_assert_uint_eq(t.pm_base, 0x600);
    ck_assert(!t.pm_on);
    cfg_write(&t, 11, 0x80, 0x01, 1);
    ck_assert(t.pm_on);
    cfg_write(&t, 11, 0x41, 0xb0, 1);
    ck_assert_uint_eq(t.pm_base, 0xb000);
    ck_assert(!t.apmc_smi);
    cfg_write(&t, 11, 0x5b, 0x02, 1); /* DEVACTB.APMC_EN */
    ck_assert(t.apmc_smi);
    piix4_pm_class.reset(&t.pm);
    ck_assert(!t.pm_on && !t.apmc_smi);
    teardown(&t);
}
END_TEST

/* The SMBus controller is where the function puts it; nobody is on the bus. */
START_TEST(smbus)
{
    enum { BASE = 0xb100, BUSY = 1, DEVICE_ERROR = 4, FAILED = 16 };
    struct pci_test t;
    setup(&t);
    cfg_write(&t, 11, 0x90, 0xffffffff, 4);
    ck_assert_uint_eq(cfg_read(&t, 11, 0x90, 4), 0x0000fff1);
    cfg_write(&t, 11, 0x90, BASE | 1, 4);
    ck_assert_uint_eq(in8(t.bus, BASE), 0xff); /* off */
    cfg_write(&t, 11, 0xd2, 0x09, 1);
    ck_assert_uint_eq(in8(t.bus, BASE), 0);
    out8(t.bus, BASE + 4, 0xa1);
    out8(t.bus, BASE + 3, 0x12);
    out8(t.bus, BASE + 5, 0x34);
    ck_assert_uint_eq(in8(t.bus, BASE + 4), 0xa1);
    out8(t.bus, BASE + 2, 0x49); /* read a byte, with interrupt */
    ck_assert_uint_eq(in8(t.bus, BASE), BUSY);
    ck_assert_uint_eq(in8(t.bus, BASE + 2), 0x09);
    clock_step(&t.clock, 600000);
    ck_assert_uint_eq(in8(t.bus, BASE), BUSY);
    ck_assert(!t.wires.level[WIRE_SMBUS]);
    clock_step(&t.clock, 100000);
    ck_assert_uint_eq(in8(t.bus, BASE), DEVICE_ERROR);
    ck_assert(t.wires.level[WIRE_SMBUS]);
    ck_assert_uint_eq(in8(t.bus, BASE + 5), 0x34);
    out8(t.bus, BASE, DEVICE_ERROR);
    ck_assert_uint_eq(in8(t.bus, BASE), 0);
    ck_assert(!t.wires.level[WIRE_SMBUS]);
    out8(t.bus, BASE + 2, 0x48);
    out8(t.bus, BASE + 2, 0x02); /* kill */
    ck_assert_uint_eq(in8(t.bus, BASE), FAILED);
    clock_step(&t.clock, NS_PER_SEC);
    ck_assert_uint_eq(in8(t.bus, BASE), FAILED);
    /* The other route. */
    out8(t.bus, BASE, 0x1e);
    cfg_write(&t, 11, 0xd2, 0x01, 1);
    out8(t.bus, BASE + 2, 0x41);
    clock_step(&t.clock, NS_PER_SEC);
    ck_assert_uint_eq(t.wires.rises[WIRE_SMI], 1);
    ck_assert(!t.wires.level[WIRE_SMBUS]);
    /* The block's index is set back by reading the control register. */
    for (unsigned i = 0; i < 32; i++)
        out8(t.bus, BASE + 7, i);
    in8(t.bus, BASE + 2);
    for (unsigned i = 0; i < 32; i++)
        ck_assert_uint_eq(in8(t.bus, BASE + 7), i);
    piix4_pm_class.reset(&t.pm);
    ck_assert_uint_eq(in8(t.bus, BASE), 0xff);
    teardown(&t);
}
END_TEST

START_TEST(hostile)
{
    struct pci_test t;
    setup(&t);
    srand(2);
    for (unsigned i = 0; i < 30000; i++) {
        unsigned r = (unsigned)rand() ^ (unsigned)rand() << 16;
        unsigned size = 1u << r % 3;
        static const u8 devices[] = {0, 8, 11, 32};
        bus_out(t.bus, 0, 0xcf8, 0x80000000 | devices[r >> 8 & 3] << 8 | (r >> 16 & 0xfc), 4);
        bus_out(t.bus, 0, (u16)(0xcfc + (r >> 4 & 3)), (u32)rand() << 1, size);
        bus_in(t.bus, 0, (u16)(0xcf8 + (r >> 12 & 7)), size);
    }
    ck_assert_uint_eq(cfg_read(&t, 0, 0, 4), 0x12378086);
    ck_assert_uint_eq(cfg_read(&t, 8, 0, 4), 0x70008086);
    teardown(&t);
}
END_TEST

RUN_TESTS("pci", mechanism, bars, testdev, intx_and_pirq, msi, pam, smram, reset_control, pm_base,
          smbus, hostile)

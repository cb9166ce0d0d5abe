/* Save, load, compare for every I/O chip: a chip that was driven at random is saved and loaded into
 * a fresh one; from then on both must answer alike, wires and timers included.  A field that a
 * table forgets shows as a difference.  And a snapshot of noise must do no harm. */
#include "base/fields.h"
#include "devices/debugcon.h"
#include "devices/fw_cfg.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/i8237.h"
#include "devices/isa_debug_exit.h"
#include "devices/ns16550.h"
#include "devices/pc_testdev.h"
#include "devices/pci.h"
#include "devices/pci_testdev.h"
#include "devices/piix3.h"
#include "devices/pcspk.h"
#include "devices/piix4_pm.h"
#include "devices/piix4_smbus.h"
#include "devices/port92.h"
#include "devices/portf0.h"
#include "devices/storage/i82077.h"
#include "tests/device/io_fixture.h"

struct rig {
    struct bus *bus;
    struct clock clock;
    struct wires wires;
    struct pci_bus pci;
    u8 *ram;
    struct i8237 fdc_dma; /* behind the floppy controller */
    struct audio audio;
    u64 trace; /* hash of what the callbacks were told */
    union {
        struct ns16550 uart;
        struct i8042 kbc;
        struct i8237 dma;
        struct i82077 fdc;
        struct port92 port92;
        struct portf0 portf0;
        struct debugcon debugcon;
        struct isa_debug_exit exit;
        struct fw_cfg fw;
        struct pc_testdev testdev;
        struct i440fx i440fx;
        struct piix3 piix3;
        struct piix4_pm pm;
        struct piix4_smbus smbus;
        struct pcspk speaker;
        struct pci_testdev pci_testdev;
    } u;
};

struct chip {
    const struct device_class *class;
    void (*make)(struct rig *r);
    void (*input)(struct rig *r, u32 random); /* from the other side; may be NULL */
    struct {
        u16 first, count;
    } ports[3];
    u64 memory; /* a 1 MiB window to read and write; 0: none */
    bool on_pci;
    u8 hints[20]; /* values that mean something to it; a 0 ends them */
};

#define RAM_SIZE (2u << 20)

static void make_uart(struct rig *r)
{
    struct pin irq = wire(&r->wires, 4);
    ns16550_init(&r->u.uart, r->bus, &r->clock, 0x3f8, &irq, NULL);
}

static void uart_input(struct rig *r, u32 random)
{
    if (random & 1)
        ns16550_receive(&r->u.uart, (u8)(random >> 8));
    else if (!(random & 6))
        ns16550_receive_break(&r->u.uart);
}

static void make_kbc(struct rig *r)
{
    i8042_init(&r->u.kbc, r->bus, &r->clock,
               &(struct i8042_pins){wire(&r->wires, 1), wire(&r->wires, 12), wire(&r->wires, 20),
                                    wire(&r->wires, 21)});
}

static void kbc_input(struct rig *r, u32 random)
{
    static const u8 rates[] = {200, 100, 80};
    if (random & 0x10000000) { /* the wheel's knock, a rate at a time, and the ID */
        out8(r->bus, 0x64, 0xd4);
        out8(r->bus, 0x60, 0xf3);
        out8(r->bus, 0x64, 0xd4);
        out8(r->bus, 0x60, rates[random % 3]);
        out8(r->bus, 0x64, 0xd4);
        out8(r->bus, 0x60, 0xf2);
    } else if (random & 1)
        i8042_key(&r->u.kbc, (u8)(random >> 8), random & 2);
    else
        i8042_mouse(&r->u.kbc, (s8)(random >> 8), (s8)(random >> 16), (s8)(random >> 24) / 32,
                    random >> 1 & 31);
}

/* A device behind each DMA channel, which lets go after a few cycles. */
static u16 dma_cycle(void *opaque, u16 data, bool tc)
{
    struct rig *r = opaque;
    r->trace = (r->trace * 31 + data) * 2 + tc;
    if (r->trace % 5 == 0)
        for (unsigned n = 0; n < I8237_CHANNELS; n++)
            i8237_set_dreq(&r->u.dma, n, false);
    return (u16)r->trace;
}

static void make_dma(struct rig *r)
{
    i8237_init(&r->u.dma, r->bus);
    for (unsigned n = 0; n < I8237_CHANNELS; n++)
        i8237_connect(&r->u.dma, n, &(struct i8237_client){dma_cycle, r});
}

static void dma_input(struct rig *r, u32 random)
{
    if (!(random & 0xf00)) { /* seldom cascaded by chance */
        out8(r->bus, 0xd6, 0xc0);
        out8(r->bus, 0xd4, 0);
    }
    i8237_set_dreq(&r->u.dma, random & 7, random & 0x18);
}

/* Drives without disks: requests are not part of the state. */
static void make_fdc(struct rig *r)
{
    struct pin irq = wire(&r->wires, 6);
    i8237_init(&r->fdc_dma, r->bus);
    i82077_init(&r->u.fdc, r->bus, &r->clock, NULL, &irq, &r->fdc_dma);
    i82077_attach(&r->u.fdc, 0, FLOPPY_1440K, NULL);
    i82077_attach(&r->u.fdc, 1, FLOPPY_1200K, NULL);
}

static void fdc_input(struct rig *r, u32 random)
{
    static const u8 bytes[] = {0x0f, 0x00, 0x20};
    out8(r->bus, 0x3f2, random & 1 ? 0x1c : random & 0x3f);
    for (unsigned i = 0; (random & 0xf00) == 0 && i < sizeof bytes; i++)
        out8(r->bus, 0x3f5, bytes[i]);
}

static void make_port92(struct rig *r)
{
    struct pin a20 = wire(&r->wires, 0), init = wire(&r->wires, 1);
    port92_init(&r->u.port92, r->bus, &a20, &init);
}

static void make_portf0(struct rig *r)
{
    struct pin irq13 = wire(&r->wires, 0), ignne = wire(&r->wires, 1);
    portf0_init(&r->u.portf0, r->bus, &irq13, &ignne);
}

static void portf0_input(struct rig *r, u32 random)
{
    portf0_set_ferr(&r->u.portf0, 0, random & 1);
}

static void make_debugcon(struct rig *r)
{
    debugcon_init(&r->u.debugcon, r->bus, 0xe9, NULL);
}

static void make_exit(struct rig *r)
{
    isa_debug_exit_init(&r->u.exit, r->bus, 0x501, 2, NULL, NULL);
}

static void make_fw_cfg(struct rig *r)
{
    static const u8 bytes[64] = "a few bytes to read, and to read some more of after the load";
    fw_cfg_init(&r->u.fw, r->bus);
    fw_cfg_add_file(&r->u.fw, "etc/bytes", bytes, sizeof bytes);
    for (unsigned key = 2; key < 0x19; key++)
        fw_cfg_add_borrowed(&r->u.fw, key, bytes + key, 30);
}

/* Selecting at random seldom meets an item. */
static void fw_cfg_input(struct rig *r, u32 random)
{
    bus_out(r->bus, 0, 0x510, random & 31, 2);
}

static void make_testdev(struct rig *r)
{
    struct pin pins[PC_TESTDEV_IRQS];
    for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++)
        pins[i] = wire(&r->wires, i);
    pc_testdev_init(&r->u.testdev, r->bus, pins);
}

static void make_i440fx(struct rig *r)
{
    u8 *rom[I440FX_SEGMENTS] = {0};
    for (unsigned i = 4; i < I440FX_SEGMENTS; i++)
        rom[i] = r->ram + 0x100000 + i * 0x4000;
    i440fx_init(&r->u.i440fx, &r->pci, r->bus, r->ram, rom);
}

static void make_piix3(struct rig *r)
{
    struct piix3_pins pins;
    for (unsigned i = 0; i < 16; i++)
        pins.irq[i] = wire(&r->wires, i);
    pins.reset = wire(&r->wires, 16);
    pins.init = wire(&r->wires, 17);
    piix3_init(&r->u.piix3, &r->pci, 8, &pins);
}

static void piix3_input(struct rig *r, u32 random)
{
    piix3_set_pirq(&r->u.piix3, random & 3, random & 4);
}

static void pm_set_base(void *opaque, u16 base)
{
    wire_set(&((struct rig *)opaque)->wires, 0, base & 0x40);
    wire_set(&((struct rig *)opaque)->wires, 1, base & 0x8000);
}

static void pm_enable(void *opaque, bool on)
{
    wire_set(&((struct rig *)opaque)->wires, 2, on);
}

static void pm_apmc(void *opaque, bool on)
{
    wire_set(&((struct rig *)opaque)->wires, 3, on);
}

static void pm_smbus(void *opaque, u16 base, u8 config)
{
    wire_set(&((struct rig *)opaque)->wires, 4, base & 0x10);
    wire_set(&((struct rig *)opaque)->wires, 5, config & 1);
}

static void make_pm(struct rig *r)
{
    piix4_pm_init(&r->u.pm, &r->pci, 8,
                  &(struct piix4_pm_block){pm_set_base, pm_enable, pm_apmc, r, pm_smbus, r});
}

static bool speaker_out(void *opaque, u64 ns)
{
    return ns >> 18 & 1;
}

static void speaker_play(struct audio *a, const s16 *samples, unsigned count)
{
    struct rig *r = container_of(a, struct rig, audio);
    for (unsigned i = 0; i < count; i++)
        r->trace = r->trace * 31 + (u16)samples[i];
}

static void make_speaker(struct rig *r)
{
    r->audio.play = speaker_play;
    pcspk_init(&r->u.speaker, &r->clock, &(struct pcspk_config){speaker_out, NULL, &r->audio});
}

static void speaker_input(struct rig *r, u32 random)
{
    if (random & 3)
        pcspk_enable(&r->u.speaker, 0, random & 4);
    else
        pcspk_catch_up(&r->u.speaker);
}

static void make_smbus(struct rig *r)
{
    struct pin irq = wire(&r->wires, 9), smi = wire(&r->wires, 10);
    piix4_smbus_init(&r->u.smbus, r->bus, &r->clock, &irq, &smi);
    piix4_smbus_place(&r->u.smbus, 0xb100, 0x09);
}

static void make_pci_testdev(struct rig *r)
{
    pci_testdev_init(&r->u.pci_testdev, &r->pci, r->bus, 8, 0);
    pci_config_init(&r->u.pci_testdev.pci, PCI_INTERRUPT_PIN, 1, 1, 0);
    pci_msi_init(&r->u.pci_testdev.pci, 0x50, 4);
}

static void pci_testdev_input(struct rig *r, u32 random)
{
    struct pci_function *f = &r->u.pci_testdev.pci;
    pci_set_intx(f, random & 1);
    pci_msi_send(f, random >> 1);
    if (!(random & 0xf0)) /* BARs at random are seldom where anybody looks */
        pci_config_write(f, PCI_BAR0, 0x40000000 | (random & 0xff000), 4);
    if (!(random & 0x300))
        pci_config_write(f, PCI_BAR0 + 4, 0xc000, 4);
    if (!(random & 0xc00))
        pci_config_write(f, PCI_COMMAND, 7, 2);
    if (!(random & 0x3000))
        out8(r->bus, 0xc000, random >> 14 & 3);
}

static const struct chip chips[] = {
    {&ns16550_class,
     make_uart,
     uart_input,
     {{0x3f8, 8}},
     .hints = {0x83, 0x03, 0x01, 0x02, 0x0f, 0x0b, 0x10, 0xc1, 0x07, 0x41}},
    {&i8042_class,
     make_kbc,
     kbc_input,
     {{0x60, 1}, {0x64, 1}},
     .hints = {0xd4, 0xf3, 0xc8, 0x64, 0x50, 0xf4, 0x60, 0x41, 0x43, 0xf0, 0xed, 0xae, 0xa8, 0xd2,
               0xd3, 0xf2, 0xd4, 0xe9}},
    {&i8237_class,
     make_dma,
     dma_input,
     {{0x00, 16}, {0xc0, 32}, {0x80, 16}},
     .hints = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x10, 0x14, 0x44, 0x48, 0x54, 0x68, 0x84}},
    {&i82077_class,
     make_fdc,
     fdc_input,
     {{0x3f2, 4}, {0x3f4, 2}, {0x3f7, 1}},
     .hints = {0x46, 0x45, 0x4a, 0x4d, 0x0f, 0x07, 0x08, 0x03, 0x0e, 0x13, 0x12, 0x94, 0x01, 0x02,
               0x04}},
    {&port92_class, make_port92, NULL, {{0x92, 1}}},
    {&portf0_class, make_portf0, portf0_input, {{0xf0, 2}}},
    {&debugcon_class, make_debugcon, NULL, {{0xe9, 1}}},
    {&isa_debug_exit_class, make_exit, NULL, {{0x501, 2}}},
    {&fw_cfg_class, make_fw_cfg, fw_cfg_input, {{0x510, 2}, {0x511, 1}, {0x514, 8}}},
    {&pc_testdev_class, make_testdev, NULL, {{0xe0, 8}, {0x2000, 24}}, 0xff000000},
    {&i440fx_class, make_i440fx, NULL, {{0xcf8, 8}}, 0x80000, true},
    {&piix3_class, make_piix3, piix3_input, {{0xcf8, 8}}, 0, true},
    {&piix4_pm_class, make_pm, NULL, {{0xcf8, 8}}, 0, true},
    {&pcspk_class, make_speaker, speaker_input, {{0x3e0, 1}}}, /* a port of nobody's: it has none */
    {&piix4_smbus_class, make_smbus, NULL, {{0xb100, 16}}, .hints = {0x41, 0x49, 0x1e, 0x04}},
    {&pci_testdev_class,
     make_pci_testdev,
     pci_testdev_input,
     {{0xcf8, 8}, {0xc000, 0x10}, {0xc080, 3}},
     0x40000000,
     true,
     .hints = {1, 2, 3, 0xfa}},
};

static void got_msi(void *opaque, u64 address, u32 data)
{
    struct rig *r = opaque;
    r->trace = (r->trace ^ address ^ data) * 0x9e3779b97f4a7c15;
}

static unsigned map_irq(void *opaque, unsigned devfn, unsigned pin)
{
    return pin;
}

static struct rig *rig_make(const struct chip *chip)
{
    struct rig *r = calloc(1, sizeof *r);
    r->bus = bus_create();
    clock_init(&r->clock, CLOCK_STEPPED);
    r->ram = bus_alloc_ram(r->bus, RAM_SIZE, "ram");
    bus_map_ram(r->bus, "ram", 0, RAM_SIZE, r->ram, true, true, 0);
    if (chip->on_pci) {
        struct pci_wiring w = {.map_irq = map_irq, .msi = got_msi, .opaque = r};
        for (unsigned i = 0; i < 4; i++)
            w.pirq[i] = wire(&r->wires, 24 + i);
        pci_bus_init(&r->pci, r->bus, &w);
    }
    chip->make(r);
    chip->class->reset(&r->u);
    return r;
}

static void rig_free(const struct chip *chip, struct rig *r)
{
    if (chip->class == &fw_cfg_class)
        fw_cfg_destroy(&r->u.fw);
    bus_destroy(r->bus);
    free(r);
}

static u32 next_random(u64 *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return (u32)(*seed * 0x2545f4914f6cdd1d >> 32);
}

static u32 some_value(const struct chip *chip, u64 *seed)
{
    u32 v = next_random(seed);
    unsigned hints = (unsigned)strlen((const char *)chip->hints);
    return hints && (v & 0x30000000) ? chip->hints[v % hints] : v;
}

/* Reads what the keyboard controller holds back, so that hidden state comes to light. */
static u64 drain(const struct chip *chip, struct rig *r)
{
    u64 hash = 0;
    for (unsigned i = 0; chip->class == &i8042_class && i < 40; i++) {
        clock_step(&r->clock, 200000);
        hash = hash * 31 + in8(r->bus, 0x60);
    }
    return hash;
}

/* One step, the same for the same seed; returns what was read. */
static u64 drive(const struct chip *chip, struct rig *r, u64 *seed)
{
    u32 what = next_random(seed), where = next_random(seed), value = some_value(chip, seed);
    u32 random = next_random(seed);
    bool write = what & 1;
    unsigned n = 0, size = what & 6 ? 1 : 1u << random % 3;
    while (n < ARRAY_SIZE(chip->ports) && chip->ports[n].count)
        n++;
    if (chip->input && !(what & 0x38))
        chip->input(r, random);
    if (!(what & 0x1c0)) /* from nothing to 16 ms, the short more often */
        clock_step(&r->clock, (random & 0xffffff) >> (what >> 27));
    if (chip->memory && (what & 0x200)) {
        /* Few places, so that reads meet what was written. */
        u64 gpa = chip->memory + (where & 0xff00f);
        if (write)
            bus_write(r->bus, 0, gpa, value, size);
        return bus_read(r->bus, 0, gpa, size);
    }
    unsigned set = (what >> 12 & 0xff) % n;
    u32 port = chip->ports[set].first + where % chip->ports[set].count;
    if (chip->on_pci && (what & 0x400)) {
        /* An address of the chip's own configuration space. */
        u32 devfn = chip->class == &i440fx_class ? 0 : 8;
        bus_out(r->bus, 0, 0xcf8, 0x80000000 | devfn << 8 | (where >> 8 & 0xfc), 4);
        port = 0xcfc + (where & 3);
    }
    if (write)
        bus_out(r->bus, 0, (u16)port, value, size);
    if (write && (what & 0x800))
        return 0; /* reading takes things back: often enough, do not */
    return bus_in(r->bus, 0, (u16)port, size);
}

static u8 *save(const struct device_class *class, const void *state, size_t *size)
{
    *size = fields_size(class->fields);
    u8 *buf = calloc(1, *size + 1);
    fields_save(class->fields, state, buf);
    return buf;
}

static void check_equal(const struct chip *chip, struct rig *x, struct rig *y)
{
    size_t n;
    u8 *a = save(chip->class, &x->u, &n), *b = save(chip->class, &y->u, &n);
    ck_assert_msg(memcmp(a, b, n) == 0, "%s: saved states differ", chip->class->name);
    free(a);
    free(b);
}

static void copy_state(const struct chip *chip, struct rig *from, struct rig *to)
{
    size_t n;
    to->clock.stopped = from->clock.stopped;
    if (chip->class == &i440fx_class) /* the others do not write there */
        memcpy(to->ram + 0x80000, from->ram + 0x80000, 0x100000);
    if (chip->class == &i8237_class)
        memcpy(to->ram, from->ram, RAM_SIZE);
    if (chip->on_pci) {
        u8 *bus = save(&pci_bus_class, &from->pci, &n);
        fields_load(pci_bus_class.fields, &to->pci, bus);
        free(bus);
    }
    u8 *buf = save(chip->class, &from->u, &n);
    fields_load(chip->class->fields, &to->u, buf);
    if (chip->class->loaded)
        chip->class->loaded(&to->u);
    free(buf);
}

START_TEST(save_and_load)
{
    for (unsigned i = 0; i < ARRAY_SIZE(chips); i++) {
        const struct chip *chip = &chips[i];
        for (u32 round = 1; round <= 200; round++) {
            struct rig *x = rig_make(chip), *y = rig_make(chip);
            u64 seed = round * 7919;
            for (unsigned n = 0; n < 10 * round; n++)
                drive(chip, x, &seed);
            copy_state(chip, x, y);
            check_equal(chip, x, y);
            memcpy(y->wires.rises, x->wires.rises, sizeof x->wires.rises);
            x->trace = y->trace = 0;
            for (unsigned w = 0; w < WIRES; w++)
                ck_assert_msg(x->wires.level[w] == y->wires.level[w], "%s: wire %u after load",
                              chip->class->name, w);
            if (round & 1) { /* what was under way goes on by itself */
                clock_step(&x->clock, 50000000);
                clock_step(&y->clock, 50000000);
            }
            u64 seed_y = seed;
            for (unsigned n = 0; n < 300; n++) {
                u64 a = drive(chip, x, &seed), b = drive(chip, y, &seed_y);
                ck_assert_msg(a == b, "%s: round %u step %u reads %llx and %llx", chip->class->name,
                              round, n, (unsigned long long)a, (unsigned long long)b);
            }
            ck_assert_msg(drain(chip, x) == drain(chip, y), "%s: queues", chip->class->name);
            check_equal(chip, x, y);
            ck_assert_msg(!memcmp(&x->wires, &y->wires, sizeof x->wires), "%s: wires differ",
                          chip->class->name);
            ck_assert_uint_eq(x->trace, y->trace);
            rig_free(chip, x);
            rig_free(chip, y);
        }
    }
}
END_TEST

/* After a reset nothing may depend on what was before. */
START_TEST(reset_is_complete)
{
    for (unsigned i = 0; i < ARRAY_SIZE(chips); i++) {
        const struct chip *chip = &chips[i];
        if (chip->class == &piix3_class)
            continue; /* keeps the levels that others drive, see below */
        struct rig *x = rig_make(chip), *y = rig_make(chip);
        u64 seed = 12345;
        for (unsigned n = 0; n < 2000; n++)
            drive(chip, x, &seed);
        if (chip->class == &i8042_class)
            i8042_mouse(&x->u.kbc, 0, 0, 0, 0); /* fingers off: buttons are not the chip's */
        for (unsigned i = 0; chip->class == &i8237_class && i < I8237_CHANNELS; i++)
            i8237_set_dreq(&x->u.dma, i, false);
        if (chip->class == &i8237_class)
            memcpy(y->ram, x->ram, RAM_SIZE);
        x->trace = y->trace = 0;
        y->clock.stopped = x->clock.stopped;
        chip->class->reset(&x->u);
        chip->class->reset(&y->u);
        /* Queues may start anywhere in their rings: what counts is what comes out. */
        memset(x->wires.rises, 0, sizeof x->wires.rises);
        memset(y->wires.rises, 0, sizeof y->wires.rises);
        if (chip->class == &i440fx_class)
            memcpy(y->ram + 0x80000, x->ram + 0x80000, 0x100000);
        x->pci.confadd = y->pci.confadd = 0;
        u64 seed_y = seed;
        for (unsigned n = 0; n < 500; n++) {
            u64 a = drive(chip, x, &seed), b = drive(chip, y, &seed_y);
            ck_assert_msg(a == b, "%s: step %u after reset reads %llx and %llx", chip->class->name,
                          n, (unsigned long long)a, (unsigned long long)b);
        }
        ck_assert_msg(!memcmp(&x->wires, &y->wires, sizeof x->wires), "%s: wires after reset",
                      chip->class->name);
        rig_free(chip, x);
        rig_free(chip, y);
    }
}
END_TEST

START_TEST(noise)
{
    u64 seed = 99;
    for (unsigned i = 0; i < ARRAY_SIZE(chips); i++) {
        const struct chip *chip = &chips[i];
        for (unsigned round = 0; round < 30; round++) {
            struct rig *r = rig_make(chip);
            size_t n;
            u8 *buf = save(chip->class, &r->u, &n);
            for (size_t k = 0; k < n; k++)
                buf[k] = (u8)next_random(&seed);
            fields_load(chip->class->fields, &r->u, buf);
            if (chip->class->loaded)
                chip->class->loaded(&r->u);
            for (unsigned k = 0; k < 300; k++)
                drive(chip, r, &seed);
            free(buf);
            rig_free(chip, r);
        }
    }
}
END_TEST

RUN_TESTS("roundtrip-io", save_and_load, reset_is_complete, noise)

/* Wires the PC's chips together; implements nothing.
 *
 * Layout and wiring are those of QEMU's "pc" (i440FX + PIIX3 with the PIIX4's power management),
 * so that firmware and guests find what they know.  Left out: USB, parallel ports.
 */
#include "devices/board/pc.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cpu/cpu.h"
#include "devices/host/chardev.h"

enum {
    DEVFN_PIIX3 = 1 << 3,
    DEVFN_PIIX4_PM = 1 << 3 | 3,
    DEVFN_VGA = 2 << 3,
    IRQ_TIMER = 0,
    IRQ_KEYBOARD = 1,
    IRQ_RTC = 8,
    IRQ_ACPI = 9,
    IRQ_MOUSE = 12,
    CMOS_SHUTDOWN = 0x0f,
    CMOS_RESUME = 0xfe,       /* as QEMU's machine has it */
    HPET_ROUTE_MASK = BIT(2), /* the one input that QEMU's pc offers */
    FIRMWARE_UNIT = 4096,
    LOW_WINDOW = 0x20000, /* of the firmware image, at E0000 */
};

static const struct {
    u16 port;
    u8 irq;
} serial_places[PC_SERIALS] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};

/* ---- memory ---- */

static bool make_ram(struct pc *pc, u64 size, char **error)
{
    struct bus *b = pc->machine.bus;
    pc->low_ram = size < PC_LOW_RAM_MAX ? size : PC_LOW_RAM_MAX;
    pc->high_ram = size - pc->low_ram;
    pc->ram = bus_alloc_ram(b, size, "ram");
    if (!pc->ram) {
        *error = error_text("the host has no memory for a guest with %llu MiB (-m)",
                            (unsigned long long)(size >> 20));
        return false;
    }
    bus_map_ram(b, "ram", 0, 0xa0000, pc->ram, true, true, 0);
    if (pc->low_ram > 0x100000)
        bus_map_ram(b, "ram", 0x100000, pc->low_ram - 0x100000, pc->ram + 0x100000, true, true, 0);
    if (pc->high_ram)
        bus_map_ram(b, "ram-above-4g", 1ull << 32, pc->high_ram, pc->ram + pc->low_ram, true, true,
                    0);
    return true;
}

static bool load_firmware(struct pc *pc, const char *path, char **error)
{
    struct bus *b = pc->machine.bus;
    u8 *image = boot_read_file("firmware", path, PC_FIRMWARE_MAX, &pc->firmware_size, error);
    if (!image)
        return false;
    if (!pc->firmware_size || pc->firmware_size % FIRMWARE_UNIT) {
        *error = error_text("firmware '%s': %u bytes is not a multiple of %u", path,
                            pc->firmware_size, FIRMWARE_UNIT);
        free(image);
        return false;
    }
    pc->firmware = bus_alloc_ram(b, pc->firmware_size, "firmware");
    if (pc->firmware) {
        memcpy(pc->firmware, image, pc->firmware_size);
        bus_map_ram(b, "firmware", (1ull << 32) - pc->firmware_size, pc->firmware_size,
                    pc->firmware, true, false, 0);
    } else {
        *error = error_text("the host has no memory for firmware '%s'", path);
    }
    free(image);
    return pc->firmware != NULL;
}

/* Which bytes of the image answer in each PAM segment. */
static void firmware_windows(const struct pc *pc, u8 *rom[I440FX_SEGMENTS])
{
    for (unsigned i = 0; i < I440FX_SEGMENTS; i++) {
        u32 below_1m = 0x40000 - i * 0x4000; /* the segment's distance from 1 MiB */
        bool inside = below_1m <= LOW_WINDOW && below_1m <= pc->firmware_size;
        rom[i] = inside ? pc->firmware + pc->firmware_size - below_1m : NULL;
    }
}

/* ---- reset, power ---- */

static void reset_pin(void *opaque, unsigned n, bool level)
{
    if (level)
        machine_event(&((struct pc *)opaque)->machine, MACHINE_RESET);
}

static void a20_pin(void *opaque, unsigned n, bool level)
{
    bus_set_a20(((struct pc *)opaque)->machine.bus, level);
}

static void power_off(void *opaque)
{
    machine_event(&((struct pc *)opaque)->machine, MACHINE_POWER_OFF);
}

static void power_button(void *opaque)
{
    acpi_pm_power_button(&((struct pc *)opaque)->acpi_pm);
}

static void suspend(void *opaque)
{
    machine_event(&((struct pc *)opaque)->machine, MACHINE_SUSPEND);
}

static void wake(void *opaque)
{
    machine_event(&((struct pc *)opaque)->machine, MACHINE_WAKE);
}

/* Firmware learns from the shutdown byte that it is to go on where the guest fell asleep. */
static void board_wake(void *opaque)
{
    struct pc *pc = opaque;
    acpi_pm_wake(&pc->acpi_pm);
    i440fx_keep_dram(&pc->i440fx);
    mc146818_set_cmos(&pc->rtc, CMOS_SHUTDOWN, CMOS_RESUME);
}

/* IRQ 8 is also an event of the power management. */
static void rtc_irq(void *opaque, unsigned n, bool level)
{
    struct pc *pc = opaque;
    pin_set(&pc->rtc_line, level);
    acpi_pm_set_rtc(&pc->acpi_pm, 0, level);
}

/* ---- chips ---- */

static void send_msi(void *opaque, u64 address, u32 data)
{
    lapic_bus_msi(&((struct pc *)opaque)->irq.lapic_bus, address, data);
}

static void make_pci(struct pc *pc)
{
    struct machine *m = &pc->machine;
    u8 *rom[I440FX_SEGMENTS];
    struct pci_wiring wiring = {.map_irq = piix3_map_irq, .msi = send_msi, .opaque = pc};
    struct piix3_pins pins = {.reset = {reset_pin, pc, 0}, .init = {reset_pin, pc, 0}};
    struct piix4_pm_block block = {acpi_pm_set_base, acpi_pm_enable,    acpi_pm_set_apmc_smi,
                                   &pc->acpi_pm,     piix4_smbus_place, &pc->smbus};
    struct acpi_pm_config pm = {.sci = pc_irq_pin(&pc->irq, IRQ_SCI, IRQ_ACPI),
                                .smi = pc_irq_smi_pin(&pc->irq),
                                .power_off = power_off,
                                .sleep = suspend,
                                .wake = wake,
                                .opaque = pc};

    for (unsigned i = 0; i < 4; i++)
        wiring.pirq[i] = (struct pin){piix3_set_pirq, &pc->piix3, i};
    for (unsigned i = 0; i < 16; i++)
        pins.irq[i] = pc_irq_pin(&pc->irq, IRQ_PIRQ, i);
    firmware_windows(pc, rom);
    pci_bus_init(&pc->pci, m->bus, &wiring);
    machine_add_device(m, &pci_bus_class, &pc->pci, "pci");
    i440fx_init(&pc->i440fx, &pc->pci, m->bus, pc->ram, rom);
    machine_add_device(m, &i440fx_class, &pc->i440fx, "i440fx");
    piix3_init(&pc->piix3, &pc->pci, DEVFN_PIIX3, &pins);
    machine_add_device(m, &piix3_class, &pc->piix3, "piix3");
    acpi_pm_init(&pc->acpi_pm, m->bus, &m->clock, &pm);
    machine_add_device(m, &acpi_pm_class, &pc->acpi_pm, "acpi-pm");
    struct pin smi = pc_irq_smi_pin(&pc->irq),
               smbus_irq = pc_irq_pin(&pc->irq, IRQ_SMBUS, IRQ_ACPI);
    piix4_smbus_init(&pc->smbus, m->bus, &m->clock, &smbus_irq, &smi);
    machine_add_device(m, &piix4_smbus_class, &pc->smbus, "piix4-smbus");
    piix4_pm_init(&pc->piix4_pm, &pc->pci, DEVFN_PIIX4_PM, &block);
    machine_add_device(m, &piix4_pm_class, &pc->piix4_pm, "piix4-pm");
}

static bool make_vga(struct pc *pc, const struct pc_config *config, char **error)
{
    u32 size = 0;
    u8 *rom = NULL;
    if (config->vga_rom &&
        !(rom = boot_read_file("option ROM", config->vga_rom, VGA_ROM_MAX, &size, error)))
        return false;
    pc->has_vga =
        vga_init(&pc->vga, &pc->pci, pc->machine.bus, &pc->machine.clock, DEVFN_VGA, rom, size);
    free(rom);
    if (pc->has_vga)
        machine_add_device(&pc->machine, &vga_class, &pc->vga, "vga");
    else
        *error = error_text("the host has no memory for the display adapter");
    return pc->has_vga;
}

static bool timer_out2(void *opaque)
{
    return i8254_out(opaque, 2);
}

static bool timer_out2_at(void *opaque, u64 ns)
{
    return i8254_out_at(opaque, 2, ns);
}

static void make_timers(struct pc *pc, s64 rtc_epoch, struct audio *audio)
{
    struct machine *m = &pc->machine;
    struct i8254_config pit = {
        .port = 0x40, .before2 = pcspk_catch_up, .before2_opaque = &pc->speaker};
    struct pcspk_config speaker = {timer_out2_at, &pc->pit, audio};
    pcspk_init(&pc->speaker, &m->clock, &speaker);
    machine_add_device(m, &pcspk_class, &pc->speaker, "speaker");
    pc_irq_wire_timer(&pc->irq, &pc->pit, &pit);
    i8254_init(&pc->pit, m->bus, &m->clock, &pit);
    machine_add_device(m, &i8254_class, &pc->pit, "pit");

    struct port61_config p61 = {.gate2 = {i8254_set_gate, &pc->pit, 2},
                                .speaker = {pcspk_enable, &pc->speaker, 0},
                                .out2 = timer_out2,
                                .out2_opaque = &pc->pit};
    port61_init(&pc->port61, m->bus, &m->clock, &p61);
    machine_add_device(m, &port61_class, &pc->port61, "port61");

    pc->rtc_line = pc_irq_pin(&pc->irq, IRQ_ISA, IRQ_RTC);
    struct mc146818_config rtc = {.port = 0x70, .epoch = rtc_epoch, .irq = {rtc_irq, pc, 0}};
    mc146818_init(&pc->rtc, m->bus, &m->clock, &rtc);
    machine_add_device(m, &mc146818_class, &pc->rtc, "rtc");

    struct hpet_config hpet = {.base = 0xfed00000, .route_mask = HPET_ROUTE_MASK};
    for (unsigned i = 0; i < PC_GSIS; i++)
        if (HPET_ROUTE_MASK & BIT(i))
            hpet.irq[i] = pc_irq_pin(&pc->irq, IRQ_HPET, i);
    hpet.legacy_irq[0] = pc_irq_pin(&pc->irq, IRQ_HPET, IRQ_TIMER);
    hpet.legacy_irq[1] = pc_irq_pin(&pc->irq, IRQ_HPET, IRQ_RTC);
    hpet.legacy = pc_irq_legacy_pin(&pc->irq);
    hpet_init(&pc->hpet, m->bus, &m->clock, &hpet);
    machine_add_device(m, &hpet_class, &pc->hpet, "hpet");
}

static void make_isa(struct pc *pc, const struct pc_config *config)
{
    struct machine *m = &pc->machine;
    struct pin a20 = {a20_pin, pc, 0}, reset = {reset_pin, pc, 0};
    struct i8042_pins kbd = {.irq1 = pc_irq_pin(&pc->irq, IRQ_ISA, IRQ_KEYBOARD),
                             .irq12 = pc_irq_pin(&pc->irq, IRQ_ISA, IRQ_MOUSE),
                             .a20 = a20,
                             .reset = reset,
                             .wake = {acpi_pm_set_wake, &pc->acpi_pm, 0}};
    i8042_init(&pc->i8042, m->bus, &m->clock, &kbd);
    machine_add_device(m, &i8042_class, &pc->i8042, "i8042");
    i8237_init(&pc->dma, m->bus);
    machine_add_device(m, &i8237_class, &pc->dma, "dma");
    port92_init(&pc->port92, m->bus, &a20, &reset);
    machine_add_device(m, &port92_class, &pc->port92, "port92");
    for (unsigned i = 0; i < PC_SERIALS; i++) {
        char name[16];
        if (!config->serial[i])
            continue;
        struct pin irq = pc_irq_pin(&pc->irq, IRQ_ISA, serial_places[i].irq);
        /* COM3 and COM4 share their interrupts with COM1 and COM2: drivers of their own. */
        if (i >= 2)
            irq = pc_irq_pin(&pc->irq, IRQ_ISA_SHARED, serial_places[i].irq);
        snprintf(name, sizeof name, "serial %u", i);
        ns16550_init(&pc->serial[i], m->bus, &m->clock, serial_places[i].port, &irq,
                     config->serial[i]);
        machine_add_device(m, &ns16550_class, &pc->serial[i], name);
    }
    if (config->debugcon) {
        debugcon_init(&pc->debugcon, m->bus, config->debugcon_port, config->debugcon);
        machine_add_device(m, &debugcon_class, &pc->debugcon, "debugcon");
    }
}

/* ---- what firmware reads about the machine ---- */

/* Boot devices are numbered from 1: floppy, disk, CD-ROM, network. */
static const char boot_letters[] = "acdn";

/* Three nibbles of CMOS, as Bochs' and QEMU's machines have them. */
static void set_boot_order(struct pc *pc, const char *boot)
{
    u8 order[3] = {0};
    unsigned orders = 0;
    for (boot = boot ? boot : "cad"; *boot && *boot != ',' && orders < 3; boot++)
        if (strchr(boot_letters, *boot))
            order[orders++] = (u8)(strchr(boot_letters, *boot) - boot_letters + 1);
    mc146818_set_cmos(&pc->rtc, 0x3d, (u8)(order[1] << 4 | order[0]));
    /* With the signature check of floppies. */
    mc146818_set_cmos(&pc->rtc, 0x38, (u8)(order[2] << 4));
}

/* The first reset is the machine's start; what holds for one boot is over at the second.  Otherwise
 * CMOS keeps what software has written there. */
static void board_reset(void *opaque)
{
    struct pc *pc = opaque;
    if (pc->started && pc->boot_once) {
        set_boot_order(pc, pc->boot_order);
        pc->boot_once = false;
    }
    pc->started = true;
}

/* CMOS bytes as IBM's AT, Bochs' and QEMU's firmware use them. */
static void fill_cmos(struct pc *pc)
{
    u64 extended = (pc->low_ram - 0x100000) >> 10; /* KiB above 1 MiB, 16 bits */
    u64 above_16m = pc->low_ram > 0x1000000 ? (pc->low_ram - 0x1000000) >> 16 : 0;
    u64 above_4g = pc->high_ram >> 16;
    if (extended > 0xffff)
        extended = 0xffff;
    const struct {
        u8 index, value;
    } bytes[] = {
        {CMOS_SHUTDOWN, 0}, /* cold start */
        {0x14, 0x06},       /* equipment: FPU, PS/2 mouse */
        {0x15, 640 & 0xff},
        {0x16, 640 >> 8},
        {0x17, (u8)extended},
        {0x18, (u8)(extended >> 8)},
        {0x30, (u8)extended},
        {0x31, (u8)(extended >> 8)},
        {0x34, (u8)above_16m},
        {0x35, (u8)(above_16m >> 8)},
        {0x5b, (u8)above_4g},
        {0x5c, (u8)(above_4g >> 8)},
        {0x5d, (u8)(above_4g >> 16)},
        {0x5f, (u8)(pc->machine.cpu_count - 1)},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
        mc146818_set_cmos(&pc->rtc, bytes[i].index, bytes[i].value);
}

static unsigned put_e820(u8 *table, unsigned n, u64 start, u64 size)
{
    if (!size)
        return n;
    store_le(table + n * 20, start, 8);
    store_le(table + n * 20 + 8, size, 8);
    store_le(table + n * 20 + 16, 1, 4);
    return n + 1;
}

/* A file by which firmware finds an option ROM (its first bytes: PCI 3.0, section 6.3.3). */
static bool add_option_rom(struct pc *pc, const char *path, const char *name, char **error)
{
    u32 size;
    u8 *rom = boot_read_file("option ROM", path, PC_OPTION_ROM_MAX, &size, error);
    if (!rom)
        return false;
    bool good = false;
    if (size < 3 || load_le(rom, 2) != 0xaa55)
        *error = error_text("'%s' is no option ROM", path);
    else if (size < rom[2] * 512u)
        *error = error_text("option ROM '%s' is truncated: it has %u bytes of %u", path, size,
                            rom[2] * 512u);
    else if (!(good = fw_cfg_add_file(&pc->fw_cfg, name, rom, size)))
        *error = error_text("the host has no memory for option ROM '%s'", path);
    free(rom);
    return good;
}

/* Those that were asked for, numbered since files may have the same name; and that of other
 * firmware's -kernel protocol, first in the boot order. */
static bool add_option_roms(struct pc *pc, const struct pc_config *config, char **error)
{
    static const char kernel_name[] = "genroms/linuxboot_dma.bin";
    static const char order[] = "/rom@genroms/linuxboot_dma.bin";
    for (unsigned i = 0; i < PC_OPTION_ROMS && config->option_rom[i]; i++) {
        char name[FW_CFG_NAME];
        snprintf(name, sizeof name, "genroms/%u", i);
        if (!add_option_rom(pc, config->option_rom[i], name, error))
            return false;
    }
    if (!config->kernel_rom)
        return true;
    if (!add_option_rom(pc, config->kernel_rom, kernel_name, error))
        return false;
    if (fw_cfg_add_file(&pc->fw_cfg, "bootorder", order, sizeof order))
        return true;
    *error = error_text("the host has no memory for the boot order");
    return false;
}

static bool make_fw_cfg(struct pc *pc, const struct pc_config *config, char **error)
{
    /* S3 with its sleep type, S4 off: bit 7 of a sleep state's byte says that it exists. */
    static const u8 states[6] = {128, 0, 0, 128 | 1, 2, 128};
    u8 e820[2 * 20] = {0};
    struct machine *m = &pc->machine;
    struct fw_cfg *f = &pc->fw_cfg;
    unsigned entries = put_e820(e820, 0, 0, pc->low_ram);
    entries = put_e820(e820, entries, 1ull << 32, pc->high_ram);

    fw_cfg_init(f, m->bus);
    machine_add_device(m, &fw_cfg_class, f, "fw_cfg");
    u8 first = (u8)(config->boot_order ? *config->boot_order : 'c');
    bool good = fw_cfg_add_u64(f, FW_CFG_RAM_SIZE, pc->low_ram + pc->high_ram) &&
                fw_cfg_add_u16(f, FW_CFG_NB_CPUS, (u16)m->cpu_count) &&
                fw_cfg_add_u16(f, FW_CFG_MAX_CPUS, (u16)m->cpu_count) &&
                fw_cfg_add_u16(f, FW_CFG_NOGRAPHIC, config->serial_console) &&
                fw_cfg_add_u16(f, FW_CFG_BOOT_DEVICE, first) &&
                fw_cfg_add_u16(f, FW_CFG_BOOT_MENU, config->boot_menu) &&
                fw_cfg_add_u64(f, FW_CFG_NUMA, 0) && fw_cfg_add_u32(f, FW_CFG_IRQ0_OVERRIDE, 1) &&
                fw_cfg_add_file(f, "etc/e820", e820, entries * 20) &&
                fw_cfg_add_file(f, "etc/system-states", states, sizeof states);
    if (good && config->kernel)
        good = boot_kernel_publish(&pc->kernel, f);
    if (!good) {
        *error = error_text("the host has no memory for the firmware's configuration");
        return false;
    }
    return add_option_roms(pc, config, error);
}

/* ---- the machine ---- */

static bool load_kernel(struct pc *pc, const struct pc_config *config, char **error)
{
    struct boot_request request = {config->kernel, config->initrd, config->cmdline, pc->low_ram,
                                   pc->high_ram};
    return boot_kernel_load(&pc->kernel, &request, error);
}

/* Whatever happens afterwards, the streams are freed with the machine. */
static bool take_chardevs(struct pc *pc, const struct pc_config *config)
{
    bool good = true;
    for (unsigned i = 0; i < PC_SERIALS; i++)
        if (config->serial[i])
            good &= machine_add_chardev(&pc->machine, config->serial[i]);
    if (config->debugcon)
        good &= machine_add_chardev(&pc->machine, config->debugcon);
    return good;
}

static u64 hash_chip(u64 sum, const struct machine_device *d)
{
    size_t n = d->class->fields ? fields_size(d->class->fields) : 0;
    u8 *image = n ? malloc(n) : NULL;
    if (!image)
        return sum;
    fields_save(d->class->fields, d->state, image);
    sum = count_hash(sum, image, n);
    free(image);
    return sum;
}

/* -icount's trace: chips, and RAM in 8 lanes, so that the multiplications overlap. */
static u64 hash_machine(void *opaque)
{
    const struct pc *pc = opaque;
    u64 h[8] = {1, 2, 3, 4, 5, 6, 7, 8}, sum = 0;
    for (u64 at = 0; at < pc->low_ram + pc->high_ram; at += sizeof h) {
        u64 words[8];
        memcpy(words, pc->ram + at, sizeof words);
        for (unsigned i = 0; i < 8; i++)
            h[i] = ((h[i] ^ words[i]) << 31 | (h[i] ^ words[i]) >> 33) * 0x9e3779b97f4a7c15ull;
    }
    for (unsigned i = 0; i < 8; i++)
        sum = (sum ^ h[i]) * 0xbf58476d1ce4e5b9ull;
    for (unsigned i = 0; i < pc->machine.device_count; i++)
        sum = hash_chip(sum, &pc->machine.device[i]);
    return sum;
}

/* -icount's trace has come to its end. */
static void trace_ended(void *opaque)
{
    struct pc *pc = opaque;
    machine_exit(&pc->machine, 0);
}

bool pc_init(struct pc *pc, const struct pc_config *config, char **error)
{
    struct machine *m = &pc->machine;
    struct machine_config machine = config->machine;
    memset(pc, 0, sizeof *pc);
    memcpy(pc->drive, config->drive, sizeof pc->drive);
    memcpy(pc->floppy, config->floppy, sizeof pc->floppy);
    pc->snapshot = config->snapshot;
    machine.count.hash_machine = hash_machine;
    machine.count.ended = trace_ended;
    machine.count.opaque = pc;
    bool good = machine_init(m, &machine, error);
    if (!take_chardevs(pc, config) && good) {
        *error = error_text("too many character devices");
        return false;
    }
    if (!good || !make_ram(pc, config->ram, error) || !load_firmware(pc, config->firmware, error))
        return false;
    if (config->kernel && !load_kernel(pc, config, error))
        return false;
    m->board = pc;
    m->power_button = power_button;
    m->board_wake = board_wake;
    m->board_reset = board_reset;
    pc->boot_order = config->boot_order;
    pc->boot_once = config->boot_once;
    if (!pc_irq_init(&pc->irq, m)) {
        *error = error_text("the host has no memory for the interrupt controllers");
        return false;
    }
    make_pci(pc);
    if (config->vga && !make_vga(pc, config, error))
        return false;
    make_timers(pc, config->rtc_epoch, config->audio);
    make_isa(pc, config);
    fill_cmos(pc);
    set_boot_order(pc, config->boot_once ? config->boot_once : config->boot_order);
    return pc_make_storage(pc, config, error) && make_fw_cfg(pc, config, error);
}

void pc_destroy(struct pc *pc)
{
    pc_free_storage(pc); /* its threads take the machine lock */
    machine_destroy(&pc->machine);
    vga_free(&pc->vga);
    fw_cfg_destroy(&pc->fw_cfg);
    boot_kernel_free(&pc->kernel);
    pc_irq_free(&pc->irq);
    for (unsigned i = 0; i < pc->added_count; i++)
        free(pc->added[i]);
    pc->added_count = 0;
}

bool pc_firmware_is_seabios(const char *path)
{
    char *error = NULL;
    u32 size;
    u8 *image = boot_read_file("firmware", path, PC_FIRMWARE_MAX, &size, &error);
    bool found = image && memmem(image, size, "SeaBIOS", 7);
    free(image);
    free(error);
    return found;
}

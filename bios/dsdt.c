/* The DSDT: what an operating system cannot find out by itself.
 *
 * S3 and S5; the PCI root with its windows and interrupt routing; the four PIRQ link devices of
 * the PIIX3; the ISA devices that exist; HPET; processors.  Left out: hot plug, general-purpose
 * events.
 */
#include "bios/aml.h"
#include "bios/post.h"

enum {
    HPET_BASE = 0xfed00000,
    SCI_IRQ = 9,
    PIRQ_DISABLED = 0x80,
    SLOTS = 32,
    STA_PRESENT = 0x0b, /* present, decoding, working */
    STA_DISABLED = 0x09,
};

/* Name (_STA) and the like that hold a constant, as methods: they can be called either way. */
static void method_return_int(struct aml *a, const char *name, u64 v)
{
    u8 *m = aml_open_method(a, name, 0, false);
    aml_byte(a, AML_RETURN);
    aml_int(a, v);
    aml_close(a, m);
}

/* ---- interrupt links ---- */

/* If (PIRQx & 0x80) { Return (disabled) }  Return (present) */
static void link_sta(struct aml *a, const char *pirq)
{
    u8 *m = aml_open_method(a, "_STA", 0, false);
    u8 *mark = aml_open_if(a);
    aml_byte(a, AML_AND);
    aml_path(a, pirq);
    aml_int(a, PIRQ_DISABLED);
    aml_byte(a, AML_ZERO);
    aml_byte(a, AML_RETURN);
    aml_int(a, STA_DISABLED);
    aml_close(a, mark);
    aml_byte(a, AML_RETURN);
    aml_int(a, STA_PRESENT);
    aml_close(a, m);
}

/* PIRQx |= 0x80 */
static void link_dis(struct aml *a, const char *pirq)
{
    u8 *m = aml_open_method(a, "_DIS", 0, false);
    aml_byte(a, AML_OR);
    aml_path(a, pirq);
    aml_int(a, PIRQ_DISABLED);
    aml_path(a, pirq);
    aml_close(a, m);
}

/* The interrupt number is at byte 5 of an extended interrupt descriptor. */
static void irq_field(struct aml *a)
{
    aml_int(a, 5);
    aml_path(a, "PRRI");
}

/* PRRI = 0; If (PIRQx < 0x80) { PRRI = PIRQx & 15 }; Return (PRRB) */
static void link_crs(struct aml *a, const char *pirq)
{
    const u8 none = 0;
    u8 *r = aml_open_resources(a, "PRRB");
    aml_pci_irqs(a, &none, 1);
    aml_close_resources(a, r);
    u8 *m = aml_open_method(a, "_CRS", 0, true);
    aml_byte(a, AML_CREATE_DWORD_FIELD);
    aml_path(a, "PRRB");
    irq_field(a);
    aml_byte(a, AML_STORE);
    aml_byte(a, AML_ZERO);
    aml_path(a, "PRRI");
    u8 *mark = aml_open_if(a);
    aml_byte(a, AML_LLESS);
    aml_path(a, pirq);
    aml_int(a, PIRQ_DISABLED);
    aml_byte(a, AML_AND);
    aml_path(a, pirq);
    aml_int(a, 15);
    aml_path(a, "PRRI");
    aml_close(a, mark);
    aml_byte(a, AML_RETURN);
    aml_path(a, "PRRB");
    aml_close(a, m);
}

static void link_srs(struct aml *a, const char *pirq)
{
    u8 *m = aml_open_method(a, "_SRS", 1, true);
    aml_byte(a, AML_CREATE_DWORD_FIELD);
    aml_byte(a, AML_ARG0);
    irq_field(a);
    aml_byte(a, AML_STORE);
    aml_path(a, "PRRI");
    aml_path(a, pirq);
    aml_close(a, m);
}

static void link_device(struct aml *a, u32 n)
{
    char name[] = "LNKA", pirq[] = "\\_SB.PCI0.ISA.PRQA";
    static const u8 possible[] = {5, 10, 11};
    name[3] = pirq[sizeof pirq - 2] = (char)('A' + n);
    u8 *d = aml_open_device(a, name);
    aml_name_eisa(a, "_HID", "PNP0C0F");
    aml_name_int(a, "_UID", n);
    u8 *r = aml_open_resources(a, "_PRS");
    aml_pci_irqs(a, possible, sizeof possible);
    aml_close_resources(a, r);
    link_sta(a, pirq);
    link_dis(a, pirq);
    link_crs(a, pirq);
    link_srs(a, pirq);
    aml_close(a, d);
}

/* The PM function's interrupt is the SCI, which PIIX4 wires to IRQ 9. */
static void link_sci(struct aml *a)
{
    static const u8 sci = SCI_IRQ;
    u8 *d = aml_open_device(a, "LNKS");
    aml_name_eisa(a, "_HID", "PNP0C0F");
    aml_name_int(a, "_UID", 4);
    for (u32 i = 0; i < 2; i++) {
        u8 *r = aml_open_resources(a, i ? "_CRS" : "_PRS");
        aml_pci_irqs(a, &sci, 1);
        aml_close_resources(a, r);
    }
    method_return_int(a, "_STA", STA_PRESENT);
    aml_close(a, aml_open_method(a, "_DIS", 0, false));
    aml_close(a, aml_open_method(a, "_SRS", 1, false));
    aml_close(a, d);
}

/* Slot s, pin p goes to link (s + p - 1) mod 4, as pci.c routes it. */
static void routing(struct aml *a)
{
    aml_byte(a, AML_NAME);
    aml_path(a, "_PRT");
    u8 *table = aml_open_package(a, SLOTS * 4);
    for (u32 i = 0; i < SLOTS * 4; i++) {
        u32 slot = i >> 2, pin = i & 3;
        char name[] = "LNKA";
        name[3] = slot == 1 && pin == 0 ? 'S' : (char)('A' + ((slot + pin + 3) & 3));
        u8 *entry = aml_open_package(a, 4);
        aml_int(a, slot << 16 | 0xffff);
        aml_int(a, pin);
        aml_path(a, name);
        aml_byte(a, AML_ZERO);
        aml_close(a, entry);
    }
    aml_close(a, table);
}

/* ---- ISA devices ---- */

struct isa_device {
    const char *name, *hid;
    struct {
        u16 base, length;
    } io[2];
    s16 irq; /* -1: none */
};

static const struct isa_device isa_devices[] = {
    {"RTC", "PNP0B00", {{0x70, 2}}, 8},
    {"KBD", "PNP0303", {{0x60, 1}, {0x64, 1}}, 1},
    {"MOU", "PNP0F13", {{0}}, 12},
    {"TIMR", "PNP0100", {{0x40, 4}}, 0},
    {"SPKR", "PNP0800", {{0x61, 1}}, -1},
};

static void isa_device(struct aml *a, const struct isa_device *d, s32 uid)
{
    u8 *mark = aml_open_device(a, d->name);
    aml_name_eisa(a, "_HID", d->hid);
    if (uid >= 0)
        aml_name_int(a, "_UID", (u32)uid);
    u8 *r = aml_open_resources(a, "_CRS");
    for (u32 i = 0; i < ARRAY_SIZE(d->io); i++)
        if (d->io[i].length)
            aml_io(a, d->io[i].base, d->io[i].length);
    if (d->irq >= 0)
        aml_irq(a, (u32)d->irq);
    aml_close_resources(a, r);
    aml_close(a, mark);
}

/* The floppy controller, where CMOS knows of drives: ports, interrupt, DMA channel 2. */
static void floppy_device(struct aml *a)
{
    u8 *d = aml_open_device(a, "FDC0");
    aml_name_eisa(a, "_HID", "PNP0700");
    u8 *r = aml_open_resources(a, "_CRS");
    aml_io(a, 0x3f2, 4);
    aml_io(a, 0x3f7, 1);
    aml_irq(a, 6);
    aml_dma(a, 2);
    aml_close_resources(a, r);
    aml_close(a, d);
}

/* Where the guest finds fw_cfg; QEMU's docs/specs/fw_cfg.rst. */
static void fw_cfg_device(struct aml *a)
{
    u8 *d = aml_open_device(a, "FWCF");
    aml_name_string(a, "_HID", "QEMU0002");
    aml_name_int(a, "_STA", STA_PRESENT);
    u8 *r = aml_open_resources(a, "_CRS");
    aml_io(a, 0x510, 12);
    aml_close_resources(a, r);
    aml_close(a, d);
}

static void isa_bridge(struct aml *a)
{
    u8 *isa = aml_open_device(a, "ISA");
    aml_name_int(a, "_ADR", 0x10000);
    aml_pci_field(a, "PIRR", 0x60, "PRQAPRQBPRQCPRQD", 4);
    for (u32 i = 0; i < ARRAY_SIZE(isa_devices); i++)
        isa_device(a, &isa_devices[i], -1);
    for (u32 i = 0; i < ARRAY_SIZE(uart_ports); i++) {
        char name[] = "COM1";
        name[3] = (char)('1' + i);
        const struct isa_device com = {name, "PNP0501", {{uart_ports[i], 8}}, uart_irqs[i]};
        if (platform_uarts() & BIT(i))
            isa_device(a, &com, (s32)i + 1);
    }
    if (cmos_read(0x10))
        floppy_device(a);
    if (fw_init())
        fw_cfg_device(a);
    aml_close(a, isa);
}

/* ---- root ---- */

static void pci_root(struct aml *a)
{
    u8 *root = aml_open_device(a, "PCI0");
    aml_name_eisa(a, "_HID", "PNP0A03");
    aml_name_int(a, "_ADR", 0);
    aml_name_int(a, "_UID", 0);
    u8 *r = aml_open_resources(a, "_CRS");
    aml_bus_window(a, 0, 0xff);
    aml_io(a, 0xcf8, 8);
    aml_io_window(a, 0, 0xcf7);
    aml_io_window(a, 0xd00, 0xffff);
    aml_memory_window(a, true, 0xa0000, 0xbffff);
    aml_memory_window(a, false, pci.mem_base, PCI_MEM_END - 1);
    if (pci.high_end > pci.high_base)
        aml_memory_window64(a, pci.high_base, pci.high_end - 1);
    aml_close_resources(a, r);
    routing(a);
    isa_bridge(a);
    aml_close(a, root);
}

static void processors(struct aml *a)
{
    static const char digits[] = "0123456789ABCDEF";
    for (u32 i = 0; i < cpus.count; i++) {
        const char name[] = {'C', '0', digits[i >> 4], digits[i & 15], 0};
        u8 *d = aml_open_device(a, name);
        aml_name_string(a, "_HID", "ACPI0007");
        aml_name_int(a, "_UID", i);
        aml_close(a, d);
    }
}

static void hpet(struct aml *a)
{
    u8 *d = aml_open_device(a, "HPET");
    aml_name_eisa(a, "_HID", "PNP0103");
    aml_name_int(a, "_UID", 0);
    u8 *r = aml_open_resources(a, "_CRS");
    aml_memory_fixed(a, false, HPET_BASE, 0x400);
    aml_close_resources(a, r);
    aml_close(a, d);
}

/* A sleep state and what the PM1 control register gets as its type. */
static void sleep_state(struct aml *a, const char *name, u32 type)
{
    aml_byte(a, AML_NAME);
    aml_path(a, name);
    u8 *package = aml_open_package(a, 4);
    for (u32 i = 0; i < 4; i++)
        aml_int(a, i < 2 ? type : 0);
    aml_close(a, package);
}

void dsdt_build(struct aml *a)
{
    /* PIIX4: type 1 suspends to RAM, 0 is soft off (data sheet 290562, 7.2.3). */
    if (pci.pm)
        sleep_state(a, "\\_S3", 1);
    sleep_state(a, "\\_S5", 0);

    u8 *sb = aml_open_scope(a, "\\_SB");
    if (pci.present) {
        pci_root(a);
        for (u32 i = 0; i < 4; i++)
            link_device(a, i);
        link_sci(a);
    }
    if (hpet_present())
        hpet(a);
    processors(a);
    aml_close(a, sb);
}

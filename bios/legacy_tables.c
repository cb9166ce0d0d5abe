/* Tables from before ACPI: MP configuration, PCI interrupt routing, BIOS32 and Plug and Play
 * anchors.
 *
 * MultiProcessor Specification 1.4, chapter 4; PCI IRQ Routing Table Specification 1.0
 * (Microsoft); Standard BIOS 32-bit Service Directory 0.4 (Phoenix); Plug and Play BIOS
 * Specification 1.0A, 4.4. All lie at F0000-FFFFF.
 */
#include "bios/aml.h"
#include "bios/chips.h"
#include "bios/post.h"

enum {
    APIC_VERSION = 0x14,
    IOAPIC_VERSION = 0x11,
    PCI_INTERRUPT = 0x3c,
    ISA_IRQS = 16,
    PCI_INTERRUPTS = 128, /* entries at most */
    MP_HEAD = 44,
    /* Entry types and fields of the MP table. */
    MP_PROCESSOR = 0,
    MP_BUS = 1,
    MP_IOAPIC = 2,
    MP_INTERRUPT = 3,
    MP_LOCAL = 4,
    MP_ENABLED = 1,
    MP_BOOT = 2,
    MP_INT = 0,
    MP_NMI = 1,
    MP_EXTINT = 3,
    MP_BUS_RULES = 0,
    MP_HIGH_LEVEL = 0x0d,
    ALL_CPUS = 0xff,
    PIR_SLOTS = 31, /* with an entry in the routing table */
};

extern const u8 bios32_entry[], pnp_entry[]; /* 32-bit and 16-bit code */

/* ---- MP configuration table ---- */

static struct aml out;
static u32 entries, pci_irqs;
static u8 isa_bus;

static void entry(u8 type)
{
    aml_byte(&out, type);
    entries++;
}

static void processors(void)
{
    u32 r[4];
    cpuid(1, r);
    for (u32 i = 0; i < cpus.count; i++) {
        entry(MP_PROCESSOR);
        aml_byte(&out, cpus.apic_id[i]);
        aml_byte(&out, APIC_VERSION);
        aml_byte(&out, MP_ENABLED | (i ? 0 : MP_BOOT));
        aml_dword(&out, r[0]);
        aml_dword(&out, r[3]);
        aml_dword(&out, 0);
        aml_dword(&out, 0);
    }
}

static void bus(u8 number, const char *type)
{
    entry(MP_BUS);
    aml_byte(&out, number);
    aml_bytes(&out, type, 6);
}

/* An entry for an I/O APIC's input or, with MP_LOCAL, for the processors'. */
static void interrupt(u8 entry_type, u8 type, u16 flags, u16 source, u8 to, u8 input)
{
    entry(entry_type);
    aml_byte(&out, type);
    aml_word(&out, flags);
    aml_word(&out, source);
    aml_byte(&out, to);
    aml_byte(&out, input);
}

/* What set-up has written into a function's interrupt line is the I/O APIC's input too. */
static void pci_interrupt(u16 bdf)
{
    u32 line = pci_read(bdf, PCI_INTERRUPT);
    u8 irq = (u8)line, pin = (u8)(line >> 8);
    if (!pin || pin > 4 || irq >= ISA_IRQS || bdf >> 8)
        return;
    pci_irqs |= BIT(irq);
    interrupt(MP_INTERRUPT, MP_INT, MP_HIGH_LEVEL, (u16)((bdf >> 3 << 2 | (pin - 1)) << 8), 0, irq);
}

static void isa_interrupts(void)
{
    for (u32 i = 0; i < ISA_IRQS; i++)
        if (i != 2 && !(pci_irqs & BIT(i)))
            interrupt(MP_INTERRUPT, MP_INT, MP_BUS_RULES, (u16)(i << 8 | isa_bus), 0,
                      (u8)(i ? i : 2));
    interrupt(MP_LOCAL, MP_EXTINT, MP_BUS_RULES, isa_bus, 0, 0);
    interrupt(MP_LOCAL, MP_NMI, MP_BUS_RULES, isa_bus, ALL_CPUS, 1);
}

static void mp_init(void)
{
    u8 last_bus = SERVICE_DATA(shared)->last_bus;
    u32 room = MP_HEAD + 20 * cpus.count + 8 * (last_bus + 2u + 1 + PCI_INTERRUPTS + ISA_IRQS + 2);
    u8 *anchor = f_segment_alloc(16, 16), *table = f_segment_alloc(room, 16);
    if (!cpus.apic || !anchor || !table)
        return;
    isa_bus = (u8)(last_bus + 1);
    out = (struct aml){.at = table + MP_HEAD, .end = table + room};
    processors();
    for (u32 i = 0; i <= last_bus && pci.present; i++)
        bus((u8)i, "PCI   ");
    bus(isa_bus, "ISA   ");
    entry(MP_IOAPIC);
    aml_byte(&out, 0);
    aml_byte(&out, IOAPIC_VERSION);
    aml_byte(&out, 1); /* enabled */
    aml_dword(&out, IOAPIC_BASE);
    if (pci.present)
        pci_each(pci_interrupt);
    isa_interrupts();
    if (out.full)
        return;

    struct aml head = {.at = table, .end = table + MP_HEAD};
    aml_bytes(&head, "PCMP", 4);
    aml_word(&head, (u32)(out.at - table));
    aml_byte(&head, 4); /* specification 1.4 */
    aml_byte(&head, 0);
    aml_bytes(&head, "DRAGOMANPC          ", 20);
    aml_dword(&head, 0);
    aml_word(&head, 0);
    aml_word(&head, entries);
    aml_dword(&head, APIC_BASE);
    aml_dword(&head, 0);
    checksum_set(table, (u32)(out.at - table), 7);
    struct aml a = {.at = anchor, .end = anchor + 16};
    aml_bytes(&a, "_MP_", 4);
    aml_dword(&a, (u32)table);
    aml_byte(&a, 1);
    aml_byte(&a, 4);
    aml_byte(&a, 0);
    aml_dword(&a, 0); /* there is a table; virtual wire mode */
    aml_byte(&a, 0);
    checksum_set(anchor, 16, 10);
}

/* ---- PCI interrupt routing ---- */

static void pir_init(void)
{
    const u32 size = 32 + 16 * PIR_SLOTS;
    u8 *table = pci.present ? f_segment_alloc(size, 16) : NULL;
    if (!table)
        return;
    struct aml a = {.at = table, .end = table + size};
    aml_bytes(&a, "$PIR", 4);
    aml_word(&a, 0x0100);
    aml_word(&a, size);
    aml_byte(&a, 0); /* the router's bus, device and function */
    aml_byte(&a, ISA_BRIDGE);
    aml_word(&a, 0); /* no IRQ is PCI's alone */
    aml_dword(&a, 0x70008086);
    a.at = table + 32;
    for (u32 slot = 1; slot <= PIR_SLOTS; slot++) {
        aml_byte(&a, 0);
        aml_byte(&a, (u8)(slot << 3));
        for (u32 pin = 0; pin < 4; pin++) {
            aml_byte(&a, route_of(slot, pin));
            aml_word(&a, ROUTE_IRQS);
        }
        aml_word(&a, 0); /* on the board */
    }
    checksum_set(table, size, 31);
    SERVICE_DATA(shared)->routing = (u32)table;
    SERVICE_DATA(shared)->routing_slots = PIR_SLOTS;
}

/* ---- anchors of code ---- */

static void bios32_init(void)
{
    u8 *p = f_segment_alloc(16, 16);
    if (!p)
        return;
    struct aml a = {.at = p, .end = p + 16};
    aml_bytes(&a, "_32_", 4);
    aml_dword(&a, (u32)bios32_entry);
    aml_byte(&a, 0);
    aml_byte(&a, 1); /* paragraphs */
    checksum_set(p, 16, 10);
}

/* No device nodes: its functions answer that they do not exist.  Option ROMs get its address. */
static void pnp_init(void)
{
    u8 *p = f_segment_alloc(0x30, 16);
    if (!p)
        return;
    struct aml a = {.at = p, .end = p + 0x21};
    aml_bytes(&a, "$PnP", 4);
    aml_byte(&a, 0x10);
    aml_byte(&a, 0x21);
    aml_word(&a, 0);
    aml_byte(&a, 0);
    aml_dword(&a, 0); /* no event flag */
    aml_word(&a, (u32)pnp_entry);
    aml_word(&a, CODE_SEG);
    aml_word(&a, (u32)pnp_entry); /* in protected mode */
    aml_dword(&a, CODE_BASE);
    aml_dword(&a, 0); /* OEM identifier */
    aml_word(&a, DATA_SEG);
    aml_dword(&a, DATA_BASE);
    checksum_set(p, 0x21, 8);
    SERVICE_DATA(shared)->pnp = (u16)((u32)p - CODE_BASE);
}

void legacy_tables_init(void)
{
    pnp_init();
    bios32_init();
    pir_init();
    mp_init();
}

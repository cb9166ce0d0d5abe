/* ACPI tables: RSDP, RSDT, XSDT, FADT, FACS, MADT, HPET, and the header of the DSDT.
 *
 * ACPI 6.3, chapter 5.2; the FADT has the layout of revision 3 (ACPI 2.0).  IA-PC HPET
 * specification 1.0a, section 3.2.4, for the HPET table.
 */
#include <stddef.h>

#include "bios/aml.h"
#include "bios/chips.h"
#include "bios/post.h"

enum {
    SPACE_MEMORY = 0,
    SPACE_IO = 1,
    SCI_IRQ = 9,
    SMI_COMMAND = 0xb2,
    SMI_ACPI_ENABLE = 0xf1,
    SMI_ACPI_DISABLE = 0xf0,
    RESET_PORT = 0xcf9,
    RESET_VALUE = 0x06, /* full reset of the processor; PIIX3 data sheet 290550, 2.5.4 */
    FADT_WBINVD = BIT(0),
    FADT_C1 = BIT(2),
    FADT_NO_SLEEP_BUTTON = BIT(5),
    FADT_RESET = BIT(10),
    BOOT_LEGACY = BIT(0),
    BOOT_8042 = BIT(1),
    MADT_PCAT = 1,
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_LAPIC_NMI = 4,
    MADT_ENABLED = 1,
    TRIGGER_BUS = 0,
    TRIGGER_HIGH_LEVEL = 0x0d,
    TABLES_MAX = 8,
    DSDT_MAX = 64 * 1024,
    HPET_BASE = 0xfed00000,
};

struct header {
    char signature[4];
    u32 length;
    u8 revision, checksum;
    char oem_id[6], oem_table_id[8];
    u32 oem_revision;
    char creator[4];
    u32 creator_revision;
} PACKED;

struct address {
    u8 space, bits, offset, access;
    u64 address;
} PACKED;

struct fadt {
    struct header header;
    u32 facs, dsdt;
    u8 model, profile;
    u16 sci;
    u32 smi_command;
    u8 acpi_enable, acpi_disable, s4bios, pstate;
    u32 pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
    u8 pm1_event_length, pm1_control_length, pm2_length, pm_timer_length;
    u8 gpe0_length, gpe1_length, gpe1_base, cst;
    u16 c2_latency, c3_latency, flush_size, flush_stride;
    u8 duty_offset, duty_width, day_alarm, month_alarm, century;
    u16 boot_flags;
    u8 reserved1;
    u32 flags;
    struct address reset;
    u8 reset_value;
    u8 reserved2[3];
    u64 x_facs, x_dsdt;
    struct address x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
        x_pm_timer, x_gpe0, x_gpe1;
} PACKED;

_Static_assert(sizeof(struct fadt) == 244, "FADT revision 3");

struct rsdp {
    char signature[8];
    u8 checksum;
    char oem_id[6];
    u8 revision;
    u32 rsdt, length;
    u64 xsdt;
    u8 extended_checksum, reserved[3];
} PACKED;

struct hpet_table {
    struct header header;
    u32 id;
    struct address address;
    u8 number;
    u16 min_tick;
    u8 protection;
} PACKED;

static struct header *tables[TABLES_MAX];
static u32 table_count;

static void finish(struct header *h, const char *signature, u8 revision, u32 length)
{
    memcpy(h->signature, signature, 4);
    h->length = length;
    h->revision = revision;
    memcpy(h->oem_id, "DRGMAN", 6);
    memcpy(h->oem_table_id, "DRAGOMAN", 8);
    h->oem_revision = 1;
    memcpy(h->creator, "DRGM", 4);
    h->creator_revision = 1;
    checksum_set(h, length, offsetof(struct header, checksum));
}

static void publish(struct header *h)
{
    if (table_count < TABLES_MAX)
        tables[table_count++] = h;
}

/* ---- DSDT ---- */

static struct header *dsdt(void)
{
    u8 *p = table_alloc(DSDT_MAX, 64);
    if (!p)
        return NULL;
    struct aml a = {.at = p + sizeof(struct header), .end = p + DSDT_MAX};
    dsdt_build(&a);
    if (a.full) {
        say("The DSDT has no room; ACPI is off.\n");
        return NULL;
    }
    struct header *h = (struct header *)p;
    table_trim(a.at);
    /* Revision 2: 64-bit integers. */
    finish(h, "DSDT", 2, (u32)(a.at - p));
    return h;
}

/* ---- FADT and FACS ---- */

static void *facs(void)
{
    u8 *f = facs_memory();
    memcpy(f, "FACS", 4);
    f[4] = 64;
    f[32] = 1; /* version */
    SERVICE_DATA(shared)->facs = (u32)f;
    return f;
}

static struct address io(u32 port, u8 bytes)
{
    return (struct address){SPACE_IO, (u8)(bytes * 8), 0, bytes == 4 ? 3 : bytes, port};
}

static void fadt(const struct header *definitions)
{
    struct fadt *f = table_alloc(sizeof *f, 16);
    if (!f)
        return;
    f->facs = (u32)facs();
    f->dsdt = (u32)definitions;
    f->x_dsdt = (u32)definitions;
    f->profile = 1; /* desktop */
    f->sci = SCI_IRQ;
    f->smi_command = SMI_COMMAND;
    f->acpi_enable = SMI_ACPI_ENABLE;
    f->acpi_disable = SMI_ACPI_DISABLE;
    f->pm1a_event = PM_BASE;
    f->pm1a_control = PM_BASE + 4;
    f->pm_timer = PM_BASE + 8;
    f->pm1_event_length = 4;
    f->pm1_control_length = 2;
    f->pm_timer_length = 4;
    f->c2_latency = 0xfff; /* above 100 and 1000 us: no C2, no C3 */
    f->c3_latency = 0xfff;
    f->century = RTC_CENTURY;
    f->boot_flags = BOOT_LEGACY | BOOT_8042;
    f->flags = FADT_WBINVD | FADT_C1 | FADT_NO_SLEEP_BUTTON | FADT_RESET;
    f->reset = io(RESET_PORT, 1);
    f->reset_value = RESET_VALUE;
    f->x_pm1a_event = io(PM_BASE, 4);
    f->x_pm1a_control = io(PM_BASE + 4, 2);
    f->x_pm_timer = io(PM_BASE + 8, 4);
    finish(&f->header, "FACP", 3, sizeof *f);
    publish(&f->header);
}

/* ---- MADT ---- */

/* ISA IRQ 0 arrives at input 2; PCI interrupts and SCI are level and, inside a PC, active high. */
static void overrides(struct aml *a)
{
    static const u8 sources[] = {0, 5, 9, 10, 11};
    for (u32 i = 0; i < sizeof sources; i++) {
        aml_byte(a, MADT_OVERRIDE);
        aml_byte(a, 10);
        aml_byte(a, 0); /* ISA */
        aml_byte(a, sources[i]);
        aml_dword(a, i ? sources[i] : 2);
        aml_word(a, i ? TRIGGER_HIGH_LEVEL : TRIGGER_BUS);
    }
}

static void madt(void)
{
    const u32 room = sizeof(struct header) + 8 + 8 * CPUS_MAX + 12 + 10 * 5 + 6;
    u8 *p = cpus.apic ? table_alloc(room, 16) : NULL;
    if (!p)
        return;
    /* The byte writer of AML does for any table. */
    struct aml a = {.at = p + sizeof(struct header), .end = p + room};
    aml_dword(&a, APIC_BASE);
    aml_dword(&a, MADT_PCAT);
    for (u32 i = 0; i < cpus.count; i++) {
        aml_byte(&a, MADT_LAPIC);
        aml_byte(&a, 8);
        aml_byte(&a, i);
        aml_byte(&a, cpus.apic_id[i]);
        aml_dword(&a, MADT_ENABLED);
    }
    aml_byte(&a, MADT_IOAPIC);
    aml_byte(&a, 12);
    aml_word(&a, 0);
    aml_dword(&a, IOAPIC_BASE);
    aml_dword(&a, 0);
    overrides(&a);
    aml_byte(&a, MADT_LAPIC_NMI);
    aml_byte(&a, 6);
    aml_byte(&a, 0xff); /* all processors */
    aml_word(&a, TRIGGER_BUS);
    aml_byte(&a, 1);
    table_trim(a.at);
    finish((struct header *)p, "APIC", 1, (u32)(a.at - p));
    publish((struct header *)p);
}

/* ---- HPET ---- */

bool hpet_present(void)
{
    u32 id = MEMORY(u32, HPET_BASE), period = MEMORY(u32, HPET_BASE + 4);
    /* HPET 1.0a, 2.3.4: the revision is not 0, and a period is at most 100 ns in femtoseconds. */
    return (id & 0xff) && id != 0xffffffff && period && period <= 100000000;
}

static void hpet(void)
{
    struct hpet_table *h = hpet_present() ? table_alloc(sizeof *h, 16) : NULL;
    if (!h)
        return;
    h->id = MEMORY(u32, HPET_BASE);
    h->address = (struct address){SPACE_MEMORY, 64, 0, 0, HPET_BASE};
    h->min_tick = 100;
    finish(&h->header, "HPET", 1, sizeof *h);
    publish(&h->header);
}

/* ---- roots ---- */

void acpi_init(void)
{
    struct rsdp *r = f_segment_alloc(sizeof *r, 16);
    struct header *definitions = dsdt();
    if (!definitions || !r)
        return;
    fadt(definitions);
    madt();
    hpet();
    u32 short_size = sizeof(struct header) + 4 * table_count;
    u32 long_size = sizeof(struct header) + 8 * table_count;
    u8 *rsdt = table_alloc(short_size, 16), *xsdt = table_alloc(long_size, 16);
    if (!rsdt || !xsdt)
        return;
    for (u32 i = 0; i < table_count; i++) {
        u64 at = (u32)tables[i];
        memcpy(rsdt + sizeof(struct header) + 4 * i, &at, 4);
        memcpy(xsdt + sizeof(struct header) + 8 * i, &at, 8);
    }
    finish((struct header *)rsdt, "RSDT", 1, short_size);
    finish((struct header *)xsdt, "XSDT", 1, long_size);
    memcpy(r->signature, "RSD PTR ", 8);
    memcpy(r->oem_id, "DRGMAN", 6);
    r->revision = 2;
    r->rsdt = (u32)rsdt;
    r->length = sizeof *r;
    r->xsdt = (u32)xsdt;
    checksum_set(r, 20, offsetof(struct rsdp, checksum));
    checksum_set(r, sizeof *r, offsetof(struct rsdp, extended_checksum));
}

/* Intel 82093AA I/O APIC with 24 inputs.
 *
 * Data sheets: Intel 82093AA (290566-001); Intel ICH9 (316972-004), section 13.5, for the EOI
 * register of version 20h.
 *
 * Left out: polarity (bit 13 is kept, but pins of this machine carry "asserted", not volts), the
 * arbitration ID apart from mirroring the ID, the busy state of the delivery status bit.
 */
#include "devices/ioapic.h"

enum {
    OFFSET_SELECT = 0x00,
    OFFSET_WINDOW = 0x10,
    OFFSET_EOI = 0x40,

    INDEX_ID = 0x00,
    INDEX_VERSION = 0x01,
    INDEX_ARBITRATION = 0x02,
    INDEX_REDIRECTION = 0x10,

    RED_VECTOR = 0xff,
    RED_MODE_SHIFT = 8,
    RED_LOGICAL = BIT(11),
    RED_REMOTE_IRR = BIT(14),
    RED_LEVEL = BIT(15),
    RED_MASKED = BIT(16),
    RED_LOW_WRITABLE = 0x1afff, /* all but delivery status, remote IRR and the reserved bits */
    RED_DEST_SHIFT = 56,

    VERSION_WITH_EOI = 0x20,
};

static unsigned mode_of(u64 entry)
{
    return (entry >> RED_MODE_SHIFT) & 7;
}

/* SMI, NMI, INIT and ExtINT are edges whatever the trigger bit says (section 3.2.4, delivery
 * mode). */
static bool is_level(u64 entry)
{
    return (entry & RED_LEVEL) && mode_of(entry) <= APIC_LOWEST;
}

static void send(struct ioapic *s, unsigned n)
{
    u64 entry = s->redirection[n];
    bool logical = (entry & RED_LOGICAL) != 0;
    struct apic_msg msg = {
        .dest = apic_dest8((u8)(entry >> RED_DEST_SHIFT), logical),
        .logical = logical,
        .level = is_level(entry),
        .mode = (u8)mode_of(entry),
        .vector = entry & RED_VECTOR,
    };
    /* Before the call: a local APIC that ends the interrupt at once must find it set. */
    if (msg.level)
        s->redirection[n] |= RED_REMOTE_IRR;
    bool taken = s->config.send && s->config.send(s->config.opaque, &msg);
    /* Nobody there: no EOI will ever come, and the request must not stay blocked for good. */
    if (!taken)
        s->redirection[n] &= ~(u64)RED_REMOTE_IRR;
}

int ioapic_vector(const struct ioapic *s, unsigned n)
{
    u64 entry = s->redirection[n % IOAPIC_PINS];
    return entry & RED_MASKED || mode_of(entry) > APIC_LOWEST ? -1 : (int)(entry & RED_VECTOR);
}

/* Sends a level-triggered request that is asserted, unmasked and not yet on its way. */
static void service_level(struct ioapic *s, unsigned n)
{
    u64 entry = s->redirection[n];
    if (is_level(entry) && (s->lines & BIT(n)) && !(entry & (RED_MASKED | RED_REMOTE_IRR)))
        send(s, n);
}

void ioapic_set_irq(void *opaque, unsigned n, bool level)
{
    struct ioapic *s = opaque;
    if (n >= IOAPIC_PINS)
        return;

    bool was = s->lines & BIT(n);
    s->lines = level ? s->lines | BIT(n) : s->lines & ~BIT(n);
    if (is_level(s->redirection[n]))
        service_level(s, n);
    else if (level && !was && !(s->redirection[n] & RED_MASKED))
        send(s, n); /* an edge while masked is lost (section 3.2.4, mask) */
}

void ioapic_eoi(struct ioapic *s, u8 vector)
{
    for (unsigned n = 0; n < IOAPIC_PINS; n++) {
        u64 entry = s->redirection[n];
        if (!(entry & RED_REMOTE_IRR) || (entry & RED_VECTOR) != vector)
            continue;
        s->redirection[n] &= ~(u64)RED_REMOTE_IRR;
        service_level(s, n);
    }
}

/* ---- reset ---- */

static void reset(void *opaque)
{
    struct ioapic *s = opaque;
    for (unsigned n = 0; n < IOAPIC_PINS; n++)
        s->redirection[n] = RED_MASKED;
    s->id = s->select = 0;
}

/* ---- read ---- */

static u32 read_window(const struct ioapic *s)
{
    unsigned i = s->select;
    switch (i) {
    case INDEX_ID:
    case INDEX_ARBITRATION: return (u32)s->id << 24;
    case INDEX_VERSION: return s->config.version | (IOAPIC_PINS - 1) << 16;
    default: break;
    }
    if (i < INDEX_REDIRECTION || i >= INDEX_REDIRECTION + 2 * IOAPIC_PINS)
        return 0;
    u64 entry = s->redirection[(i - INDEX_REDIRECTION) / 2];
    return (u32)(i & 1 ? entry >> 32 : entry);
}

static u64 read_reg(void *opaque, u64 offset, unsigned size)
{
    const struct ioapic *s = opaque;
    switch (offset) {
    case OFFSET_SELECT: return s->select;
    case OFFSET_WINDOW: return read_window(s);
    default: return 0;
    }
}

/* ---- write ---- */

static void write_redirection(struct ioapic *s, unsigned n, bool high, u32 value)
{
    u64 entry = s->redirection[n];

    if (high) {
        s->redirection[n] = (entry & 0xffffffff) | (u64)(value & 0xff000000) << 32;
        return;
    }
    entry = (entry & ~(u64)RED_LOW_WRITABLE) | (value & RED_LOW_WRITABLE);
    /* An edge-triggered entry has no remote IRR; kernels clear a stuck one by switching. */
    if (!is_level(entry))
        entry &= ~(u64)RED_REMOTE_IRR;
    s->redirection[n] = entry;
    service_level(s, n);
}

static void write_window(struct ioapic *s, u32 value)
{
    unsigned i = s->select;
    if (i == INDEX_ID)
        s->id = (value >> 24) & 15;
    else if (i >= INDEX_REDIRECTION && i < INDEX_REDIRECTION + 2 * IOAPIC_PINS)
        write_redirection(s, (i - INDEX_REDIRECTION) / 2, i & 1, value);
}

static void write_reg(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct ioapic *s = opaque;
    switch (offset) {
    case OFFSET_SELECT: s->select = (u8)value; break;
    case OFFSET_WINDOW: write_window(s, (u32)value); break;
    case OFFSET_EOI:
        if (s->config.version >= VERSION_WITH_EOI)
            ioapic_eoi(s, (u8)value);
        break;
    default: break;
    }
}

void ioapic_init(struct ioapic *s, struct bus *bus, const struct ioapic_config *config)
{
    /* Both registers are 32 bits wide; a narrower access reaches the low part. */
    static const struct bus_ops ops = {read_reg, write_reg, 1, 4};

    memset(s, 0, sizeof *s);
    s->config = *config;
    bus_map_mmio(bus, "ioapic", config->base, PAGE_SIZE, &ops, s, 0);
    reset(s);
}

/* ---- state ---- */

static const struct field fields[] = {
    FIELD_ARRAY(struct ioapic, redirection), FIELD(struct ioapic, lines),
    FIELD(struct ioapic, id),                FIELD(struct ioapic, select),
    FIELD_END};

const struct device_class ioapic_class = {
    .name = "ioapic",
    .description = "I/O APIC",
    .reset = reset,
    .fields = fields,
};

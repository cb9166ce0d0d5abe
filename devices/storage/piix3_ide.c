/* Intel 82371SB (PIIX3) function 1: IDE interface with bus mastering, 8086:7010.
 *
 * Data sheet: 82371FB (PIIX) and 82371SB (PIIX3), order number 290550, sections 2.3 (PCI registers)
 * and 2.7 (bus master registers).  The channels have their own list of state (ata.c).
 * Left out: timing (the registers hold what is written), native mode, slave timing's effect.
 */
#include "devices/storage/piix3_ide.h"

enum {
    REG_IDETIM = 0x40,
    REG_SIDETIM = 0x44,
    BAR_MASTER = 4,
    IDETIM_DECODE = BIT(15),
    BM_COMMAND = 0,
    BM_STATUS = 2,
    BM_TABLE = 4,
    BM_CHANNEL = 8, /* bytes of one channel's registers */
    CMD_START = BIT(0),
    CMD_TO_MEMORY = BIT(3),
    STATUS_ACTIVE = BIT(0),
    STATUS_ERROR = BIT(1),
    STATUS_INTERRUPT = BIT(2),
    STATUS_CAPABLE = BIT(5) | BIT(6),
    PRD_LAST = 1u << 31,
};

static const u16 command_ports[2] = {0x1f0, 0x170}, control_ports[2] = {0x3f6, 0x376};

/* ---- bus master ---- */

/* Section 2.7: an entry is a 32-bit address and a count of bytes, 0 for 64 KiB, even both. */
static bool next_region(struct ide_master *m)
{
    u8 prd[8];
    if (m->last)
        return false;
    bus_read_bytes(m->ide->bus, m->next, prd, sizeof prd);
    u32 count = (u32)load_le(prd + 4, 4);
    m->address = (u32)load_le(prd, 4) & ~1u;
    m->left = count & 0xfffe ? count & 0xfffe : 0x10000;
    m->last = (count & PRD_LAST) != 0;
    m->next += 8;
    return true;
}

static u32 master_transfer(void *opaque, void *buf, u32 count, bool to_memory)
{
    struct ide_master *m = opaque;
    u32 done = 0;
    if (!(m->command & CMD_START) || !(m->status & STATUS_ACTIVE) ||
        to_memory != !!(m->command & CMD_TO_MEMORY) ||
        !(pci_config_get(&m->ide->pci, PCI_COMMAND, 2) & PCI_COMMAND_MASTER))
        return 0;
    while (done < count) {
        if (!m->left && !next_region(m)) {
            m->status &= (u8)~STATUS_ACTIVE; /* the table ended before the transfer */
            break;
        }
        u32 n = count - done < m->left ? count - done : m->left;
        if (to_memory)
            bus_write_bytes(m->ide->bus, m->address, (u8 *)buf + done, n);
        else
            bus_read_bytes(m->ide->bus, m->address, (u8 *)buf + done, n);
        m->address += n;
        m->left -= n;
        done += n;
    }
    return done;
}

/* The table's end and the device's go together, or the table was longer and stays active. */
static void master_finished(void *opaque)
{
    struct ide_master *m = opaque;
    if (m->last && !m->left)
        m->status &= (u8)~STATUS_ACTIVE;
}

/* An interrupt from the drive passes the bus master, which notes it. */
static void channel_irq(void *opaque, unsigned n, bool level)
{
    struct piix3_ide *s = opaque;
    if (level)
        s->master[n].status |= STATUS_INTERRUPT;
    pin_set(&s->irq[n], level);
}

static void start(struct piix3_ide *s, unsigned channel)
{
    struct ide_master *m = &s->master[channel];
    m->next = m->table;
    m->left = 0;
    m->last = 0;
    m->status |= STATUS_ACTIVE;
    ata_dma_started(&s->channel[channel]);
}

static u8 master_get(const struct ide_master *m, unsigned reg)
{
    switch (reg) {
    case BM_COMMAND: return m->command;
    case BM_STATUS: return m->status;
    case BM_TABLE:
    case BM_TABLE + 1:
    case BM_TABLE + 2:
    case BM_TABLE + 3: return (u8)(m->table >> (8 * (reg - BM_TABLE)));
    default: return 0;
    }
}

static void master_put(struct piix3_ide *s, unsigned channel, unsigned reg, u8 v)
{
    struct ide_master *m = &s->master[channel];
    u8 rising;
    switch (reg) {
    case BM_COMMAND:
        rising = (u8)(v & ~m->command & CMD_START);
        /* The direction cannot be changed while it runs. */
        m->command = (m->status & STATUS_ACTIVE) && (v & CMD_START)
                         ? (u8)((m->command & CMD_TO_MEMORY) | CMD_START)
                         : v & (CMD_START | CMD_TO_MEMORY);
        if (!(v & CMD_START))
            m->status &= (u8)~STATUS_ACTIVE;
        if (rising)
            start(s, channel);
        break;
    case BM_STATUS:
        m->status &= (u8) ~(v & (STATUS_ERROR | STATUS_INTERRUPT));
        m->status = (u8)((m->status & ~STATUS_CAPABLE) | (v & STATUS_CAPABLE));
        break;
    case BM_TABLE:
    case BM_TABLE + 1:
    case BM_TABLE + 2:
    case BM_TABLE + 3: {
        unsigned shift = 8 * (reg - BM_TABLE);
        m->table = (m->table & ~(0xffu << shift)) | (u32)v << shift;
        m->table &= ~3u;
        break;
    }
    default: break;
    }
}

static u64 master_read(void *opaque, u64 offset, unsigned size)
{
    struct piix3_ide *s = opaque;
    u64 v = 0;
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)(offset + i) % (2 * BM_CHANNEL);
        v |= (u64)master_get(&s->master[at / BM_CHANNEL], at % BM_CHANNEL) << (8 * i);
    }
    return v;
}

static void master_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct piix3_ide *s = opaque;
    for (unsigned i = 0; i < size; i++) {
        unsigned at = (unsigned)(offset + i) % (2 * BM_CHANNEL);
        master_put(s, at / BM_CHANNEL, at % BM_CHANNEL, (u8)(value >> (8 * i)));
    }
}

static const struct bus_ops master_ops = {master_read, master_write, 1, 4};

/* ---- PCI side ---- */

static void place(struct piix3_ide *s)
{
    bool io = pci_config_get(&s->pci, PCI_COMMAND, 2) & PCI_COMMAND_IO;
    for (unsigned i = 0; i < 2; i++) {
        bool on = io && (pci_config_get(&s->pci, REG_IDETIM + 2 * i, 2) & IDETIM_DECODE);
        region_set_enabled(s->command[i], on);
        region_set_enabled(s->control[i], on);
    }
}

static void piix3_ide_written(void *opaque, unsigned offset, unsigned size)
{
    place(opaque);
}

static void piix3_ide_reset(void *state)
{
    struct piix3_ide *s = state;
    pci_function_reset(&s->pci);
    for (unsigned i = 0; i < 2; i++) {
        struct ide_master *m = &s->master[i];
        *m = (struct ide_master){.ide = s};
        ata_reset(&s->channel[i]);
    }
    place(s);
}

void piix3_ide_init(struct piix3_ide *s, struct pci_bus *p, struct bus *b, u8 devfn,
                    struct block_pool *pool, const struct pin irq[2])
{
    memset(s, 0, sizeof *s);
    s->bus = b;
    pci_function_init(&s->pci, p, "82371SB IDE", devfn, 0x80867010, 0x010180, 0);
    pci_config_init(&s->pci, PCI_COMMAND, 2, 0, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    pci_config_init(&s->pci, PCI_STATUS, 2, 0x0280, 0);
    pci_config_init(&s->pci, REG_IDETIM, 4, 0, 0xffffffff);
    pci_config_init(&s->pci, REG_SIDETIM, 1, 0, 0xff);
    pci_config_init(&s->pci, PCI_SUBSYSTEM_VENDOR, 4, 0x11001af4, 0);
    s->pci.written = piix3_ide_written;
    s->pci.opaque = s;
    pci_bar_init(&s->pci, BAR_MASTER, PCI_BAR_IO, 16, false);
    pci_bar_add_region(&s->pci, BAR_MASTER,
                       bus_map_ports(b, "ide-bus-master", 0, 16, &master_ops, s), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct pin pin = {channel_irq, s, i};
        struct ata_dma dma = {master_transfer, master_finished, &s->master[i]};
        s->irq[i] = irq[i];
        s->master[i].ide = s;
        ata_init(&s->channel[i], pool, &pin, &dma);
        s->command[i] = bus_map_ports(b, i ? "ide1" : "ide0", command_ports[i], 8, &ata_command_ops,
                                      &s->channel[i]);
        s->control[i] = bus_map_ports(b, i ? "ide1-control" : "ide0-control", control_ports[i], 1,
                                      &ata_control_ops, &s->channel[i]);
    }
    place(s);
}

/* ---- state ---- */

static void piix3_ide_loaded(void *state)
{
    struct piix3_ide *s = state;
    pci_function_loaded(&s->pci);
    place(s);
}

#define MASTER_FIELDS(n)                                                                           \
    FIELD(struct piix3_ide, master[n].command), FIELD(struct piix3_ide, master[n].status),         \
        FIELD(struct piix3_ide, master[n].table), FIELD(struct piix3_ide, master[n].next),         \
        FIELD(struct piix3_ide, master[n].address), FIELD(struct piix3_ide, master[n].left),       \
        FIELD(struct piix3_ide, master[n].last)

static const struct field piix3_ide_fields[] = {PCI_FIELDS(struct piix3_ide, pci), MASTER_FIELDS(0),
                                                MASTER_FIELDS(1), FIELD_END};

const struct device_class piix3_ide_class = {
    .name = "piix3-ide",
    .description = "82371SB IDE interface",
    .reset = piix3_ide_reset,
    .fields = piix3_ide_fields,
    .loaded = piix3_ide_loaded,
};

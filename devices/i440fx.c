/* Intel 82441FX PCI and Memory Controller (PMC): the host bridge, 8086:1237.
 *
 * Data sheet: Intel 440FX PCIset, 82441FX and 82442FX, order number 290549, section 3.2.
 * Modelled: PAM (who answers in C0000-FFFFF) and SMRAM (who sees RAM in A0000-BFFFF).  The other
 * registers hold what is written and do nothing.  Left out: the DRAM fixed hole (FDHC), error
 * reporting, ECC, USWC write posting.
 */
#include "devices/i440fx.h"

enum {
    REG_PMCCFG = 0x50,
    REG_DETURBO = 0x52,
    REG_DBC = 0x53,
    REG_AXC = 0x54,
    REG_DRT = 0x55,
    REG_DRAMC = 0x57,
    REG_DRAMT = 0x58,
    REG_PAM0 = 0x59,
    REG_DRB0 = 0x60,
    REG_FDHC = 0x68,
    REG_MTT = 0x70,
    REG_CLT = 0x71,
    REG_SMRAM = 0x72,
    REG_ERRCMD = 0x90,
    REG_ERRSTS = 0x91,
    REG_TRC = 0x93,
    PAM_RE = BIT(0),
    PAM_WE = BIT(1),
    SMRAM_C_BASE = 0x02, /* bits 2:0: A0000-BFFFF, the only value allowed */
    SMRAM_ENABLE = BIT(3),
    SMRAM_LOCK = BIT(4),
    SMRAM_CLOSED = BIT(5),
    SMRAM_OPEN = BIT(6),
    SMRAM_BASE = 0xa0000,
    SMRAM_SIZE = 0x20000,
};

/* Section 3.2.18: PAM0 bits 5:4 are F0000; PAM1..PAM6 hold two segments each from C0000 up. */
static unsigned segment_attributes(const struct i440fx *s, unsigned i)
{
    if (i == I440FX_SEGMENTS - 1)
        return s->pci.config[REG_PAM0] >> 4 & 3;
    return s->pci.config[REG_PAM0 + 1 + i / 2] >> (i % 2 * 4) & 3;
}

static void segment_update(struct i440fx *s, unsigned i)
{
    struct i440fx_segment *seg = &s->segment[i];
    unsigned attributes = segment_attributes(s, i);
    bool re = attributes & PAM_RE;
    bool we = attributes & PAM_WE;
    bool split = seg->rom && !re && we;
    bool from_rom = seg->rom && !re;
    region_set_host(seg->plain, from_rom ? seg->rom : s->ram + seg->base);
    region_set_access(seg->plain, re || from_rom, we && !from_rom);
    region_set_enabled(seg->plain, !split);
    region_set_enabled(seg->split, split);
}

/* Section 3.2.22: SMRAM is RAM to processors in SMM; D_OPEN shows it to everybody, D_CLS hides it
 * from data accesses, also in SMM. */
static void smram_update(struct i440fx *s)
{
    u8 v = s->pci.config[REG_SMRAM];
    unsigned views = BUS_IN_SMM | BUS_IN_SMM_CODE;
    if (v & SMRAM_CLOSED)
        views = BUS_IN_SMM_CODE;
    else if (v & SMRAM_OPEN)
        views |= BUS_IN_PLAIN;
    region_set_enabled(s->smram, v & SMRAM_ENABLE);
    region_set_views(s->smram, views);
}

/* Section 3.2.22: the lock makes D_OPEN zero and freezes it, itself and G_SMRAME until reset. */
static void smram_lock_update(struct i440fx *s)
{
    u8 *v = &s->pci.config[REG_SMRAM];
    if (*v & SMRAM_LOCK) {
        *v &= (u8)~SMRAM_OPEN;
        s->pci.wmask[REG_SMRAM] = SMRAM_CLOSED;
    } else {
        s->pci.wmask[REG_SMRAM] = SMRAM_ENABLE | SMRAM_LOCK | SMRAM_CLOSED | SMRAM_OPEN;
    }
}

/* ---- reset ---- */

static void i440fx_reset(void *state)
{
    struct i440fx *s = state;
    u8 kept[REG_DRB0 + 8 - REG_DBC];
    memcpy(kept, s->pci.config + REG_DBC, sizeof kept);
    pci_function_reset(&s->pci);
    if (s->keep)
        memcpy(s->pci.config + REG_DBC, kept, sizeof kept);
    s->keep = 0;
    smram_lock_update(s);
    smram_update(s);
    for (unsigned i = 0; i < I440FX_SEGMENTS; i++)
        segment_update(s, i);
}

void i440fx_keep_dram(struct i440fx *s)
{
    s->keep = 1;
}

/* ---- read ---- */

static u64 split_read(void *opaque, u64 offset, unsigned size)
{
    const struct i440fx_segment *seg = opaque;
    return size <= seg->size - offset ? load_le(seg->rom + offset, size) : size_mask(size);
}

/* ---- write ---- */

/* The store goes through the plain RAM region for its moment, so that code tracking sees it.
 * Firmware that shadows itself in place does this; nothing that is fast does. */
static void split_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i440fx_segment *seg = opaque;
    struct i440fx *s = seg->owner;
    region_set_host(seg->plain, s->ram + seg->base);
    region_set_access(seg->plain, true, true);
    region_set_enabled(seg->split, false);
    region_set_enabled(seg->plain, true);
    bus_write(s->bus, BUS_DMA, seg->base + offset, value, size);
    segment_update(s, (unsigned)(seg - s->segment));
}

static const struct bus_ops split_ops = {split_read, split_write, 1, 8};

static void i440fx_written(void *opaque, unsigned offset, unsigned size)
{
    struct i440fx *s = opaque;
    for (unsigned r = offset; r < offset + size; r++) {
        if (r == REG_PAM0) {
            segment_update(s, I440FX_SEGMENTS - 1);
        } else if (r > REG_PAM0 && r <= REG_PAM0 + 6) {
            segment_update(s, (r - REG_PAM0 - 1) * 2);
            segment_update(s, (r - REG_PAM0 - 1) * 2 + 1);
        } else if (r == REG_SMRAM) {
            smram_lock_update(s);
            smram_update(s);
        }
    }
}

static void init_registers(struct pci_function *f)
{
    /* offset, size, value after reset, writable bits (section 3.2) */
    static const struct {
        u8 offset, size;
        u32 value, wmask;
    } regs[] = {
        {PCI_COMMAND, 2, 0x0006, 0x0100}, {PCI_STATUS, 2, 0x0280, 0},
        {PCI_LATENCY, 1, 0x00, 0xf8},     {REG_PMCCFG, 2, 0x0000, 0xffff},
        {REG_DETURBO, 1, 0x00, 0xff},     {REG_DBC, 1, 0x80, 0xff},
        {REG_AXC, 1, 0x00, 0xff},         {REG_DRT, 2, 0x0000, 0xffff},
        {REG_DRAMC, 1, 0x01, 0xff},       {REG_DRAMT, 1, 0x10, 0xff},
        {REG_PAM0, 1, 0x00, 0x30},        {REG_PAM0 + 1, 1, 0x00, 0x33},
        {REG_PAM0 + 2, 1, 0x00, 0x33},    {REG_PAM0 + 3, 1, 0x00, 0x33},
        {REG_PAM0 + 4, 1, 0x00, 0x33},    {REG_PAM0 + 5, 1, 0x00, 0x33},
        {REG_PAM0 + 6, 1, 0x00, 0x33},    {REG_DRB0, 4, 0x01010101, 0xffffffff},
        {REG_DRB0 + 4, 4, 0x01010101, 0xffffffff},
        {REG_FDHC, 1, 0x00, 0xc0},        {REG_MTT, 1, 0x20, 0xff},
        {REG_CLT, 1, 0x10, 0xff},         {REG_ERRCMD, 1, 0x00, 0xff},
        {REG_TRC, 1, 0x00, 0x07},
        {REG_SMRAM, 1, SMRAM_C_BASE, SMRAM_ENABLE | SMRAM_LOCK | SMRAM_CLOSED | SMRAM_OPEN},
        {PCI_SUBSYSTEM_VENDOR, 4, 0x11001af4, 0}, /* as QEMU names its parts */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
        pci_config_init(f, regs[i].offset, regs[i].size, regs[i].value, regs[i].wmask);
    f->w1c[REG_ERRSTS] = 0x11;
}

void i440fx_init(struct i440fx *s, struct pci_bus *p, struct bus *b, u8 *ram,
                 u8 *const rom[I440FX_SEGMENTS])
{
    memset(s, 0, sizeof *s);
    s->bus = b;
    s->ram = ram;
    pci_function_init(&s->pci, p, "82441FX host bridge", 0, 0x80861237, 0x060000, 2);
    s->pci.written = i440fx_written;
    s->pci.opaque = s;
    init_registers(&s->pci);
    for (unsigned i = 0; i < I440FX_SEGMENTS; i++) {
        struct i440fx_segment *seg = &s->segment[i];
        seg->owner = s;
        seg->base = 0xc0000 + i * 0x4000;
        seg->size = i == I440FX_SEGMENTS - 1 ? 0x10000 : 0x4000;
        seg->rom = rom[i];
        seg->plain = bus_map_ram(b, "pam", seg->base, seg->size, ram + seg->base, true, true,
                                 I440FX_PAM_PRIORITY);
        seg->split = bus_map_mmio(b, "pam-split", seg->base, seg->size, &split_ops, seg,
                                  I440FX_PAM_PRIORITY);
    }
    s->smram = bus_map_ram(b, "smram", SMRAM_BASE, SMRAM_SIZE, ram + SMRAM_BASE, true, true,
                           I440FX_SMRAM_PRIORITY);
    i440fx_reset(s);
}

/* ---- state ---- */

static void i440fx_loaded(void *state)
{
    struct i440fx *s = state;
    pci_function_loaded(&s->pci);
    smram_lock_update(s);
    smram_update(s);
    for (unsigned i = 0; i < I440FX_SEGMENTS; i++)
        segment_update(s, i);
}

static const struct field i440fx_fields[] = {PCI_FIELDS(struct i440fx, pci),
                                             FIELD(struct i440fx, keep), FIELD_END};

const struct device_class i440fx_class = {
    .name = "i440fx",
    .description = "82441FX host bridge",
    .reset = i440fx_reset,
    .fields = i440fx_fields,
    .loaded = i440fx_loaded,
};

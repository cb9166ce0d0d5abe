/* PCI bus 0: configuration mechanism #1, configuration space, BARs, INTx wires, MSI.
 *
 * Data sheets: PCI Local Bus Specification 3.0 (sections 3.2.2.3.2 configuration mechanism #1,
 * 6.1 header, 6.2.5 base addresses, 6.8.1 MSI).  Uses the bus and nothing else.
 * Left out: bridges and buses other than 0, MSI-X, per-vector masking, PCI Express configuration
 * space, parity and SERR#.
 */
#include "devices/pci.h"

#include "base/log.h"

enum {
    PORT_CONFADD = 0xcf8,
    PORT_CONFDATA = 0xcfc,
    CONFADD_ENABLE = BIT(31),
    CONFADD_MASK = 0x80fffffc,
    MSI_CONTROL = 2,
    MSI_ADDRESS = 4,
    MSI_ADDRESS_HIGH = 8,
    MSI_DATA = 12,
    MSI_CONTROL_ENABLE = BIT(0),
    MSI_CONTROL_64BIT = BIT(7),
    ROM_ENABLE = BIT(0),
};

/* Memory addresses beyond this are never decoded: no processor modelled has more bits. */
#define PCI_MEMORY_LIMIT (1ull << 46)

static unsigned bar_offset(unsigned index)
{
    return index == PCI_ROM_INDEX ? PCI_ROM_BAR : PCI_BAR0 + 4 * index;
}

/* ---- reset ---- */

static void pci_bus_reset(void *state)
{
    struct pci_bus *p = state;
    p->confadd = 0;
}

/* Where the BAR decodes according to the command register and its value; false if nowhere. */
static bool bar_decode(const struct pci_function *f, unsigned index, u64 *address)
{
    const struct pci_bar *bar = &f->bar[index];
    unsigned command = (unsigned)load_le(&f->config[PCI_COMMAND], 2);
    u64 raw = load_le(&f->config[bar_offset(index)], 4);
    u64 limit = 1ull << 32;
    if (bar->kind == PCI_BAR_IO) {
        if (!(command & PCI_COMMAND_IO))
            return false;
        limit = 0x10000;
    } else {
        if (!(command & PCI_COMMAND_MEMORY))
            return false;
        if (bar->kind == PCI_BAR_ROM && !(raw & ROM_ENABLE))
            return false;
        if (bar->kind == PCI_BAR_MEM64) {
            raw |= load_le(&f->config[bar_offset(index) + 4], 4) << 32;
            limit = PCI_MEMORY_LIMIT;
        }
    }
    raw &= ~(bar->size - 1);
    *address = raw;
    /* 0 means not yet assigned.  The last possible place is what a size probe leaves for a
     * moment, with decoding still on in many guests; the firmware lives there. */
    return raw && raw < limit && bar->size <= limit - raw && raw + bar->size != limit;
}

static void bar_update(struct pci_function *f, unsigned index)
{
    struct pci_bar *bar = &f->bar[index];
    u64 address = 0;
    if (bar->kind == PCI_BAR_NONE)
        return;
    bool on = bar_decode(f, index, &address);
    if (on == bar->enabled && (!on || address == bar->address))
        return;
    if (bar->enabled)
        for (unsigned i = 0; i < PCI_BAR_REGIONS && bar->region[i]; i++)
            region_set_enabled(bar->region[i], false);
    bar->enabled = on;
    bar->address = on ? address : 0;
    for (unsigned i = 0; on && i < PCI_BAR_REGIONS && bar->region[i]; i++) {
        region_set_address(bar->region[i], address + bar->offset[i]);
        region_set_enabled(bar->region[i], true);
    }
}

static void bars_update(struct pci_function *f)
{
    for (unsigned i = 0; i < PCI_BARS; i++)
        bar_update(f, i);
}

static bool intx_asserted(const struct pci_function *f)
{
    return f->intx && !(load_le(&f->config[PCI_COMMAND], 2) & PCI_COMMAND_INTX_OFF);
}

/* A PIRQ wire is shared by many functions; its level is the OR of what all of them drive. */
static void intx_update(struct pci_function *f)
{
    struct pci_bus *p = f->bus;
    unsigned pin = f->config[PCI_INTERRUPT_PIN];
    if (f->intx)
        f->config[PCI_STATUS] |= PCI_STATUS_INTX;
    else
        f->config[PCI_STATUS] &= (u8)~PCI_STATUS_INTX;
    if (!pin || pin > 4 || !p->wiring.map_irq)
        return;
    unsigned line = p->wiring.map_irq(p->wiring.opaque, f->devfn, pin - 1) & 3;
    bool level = false;
    for (unsigned i = 0; i < 256 && !level; i++) {
        const struct pci_function *g = p->function[i];
        if (!g || !intx_asserted(g))
            continue;
        unsigned g_pin = g->config[PCI_INTERRUPT_PIN];
        if (g_pin && g_pin <= 4)
            level = (p->wiring.map_irq(p->wiring.opaque, i, g_pin - 1) & 3) == line;
    }
    pin_set(&p->wiring.pirq[line], level);
}

void pci_function_reset(struct pci_function *f)
{
    f->intx = 0;
    intx_update(f);
    memcpy(f->config, f->initial, sizeof f->config);
    bars_update(f);
}

void pci_function_loaded(struct pci_function *f)
{
    /* A snapshot is outside input too: what software could not have written is not taken. */
    for (unsigned i = 0; i < PCI_BAR0; i++)
        if (i < PCI_COMMAND || i >= PCI_REVISION)
            f->config[i] = (u8)((f->config[i] & f->wmask[i]) | (f->initial[i] & ~f->wmask[i]));
    f->intx = !!f->intx;
    bars_update(f);
    intx_update(f);
}

/* ---- making functions ---- */

void pci_config_init(struct pci_function *f, unsigned offset, unsigned size, u32 value, u32 wmask)
{
    store_le(&f->initial[offset], value, size);
    store_le(&f->config[offset], value, size);
    store_le(&f->wmask[offset], wmask, size);
}

void pci_config_set(struct pci_function *f, unsigned offset, unsigned size, u32 value)
{
    store_le(&f->config[offset], value, size);
}

u32 pci_config_get(const struct pci_function *f, unsigned offset, unsigned size)
{
    return (u32)load_le(&f->config[offset], size);
}

void pci_function_init(struct pci_function *f, struct pci_bus *p, const char *name, u8 devfn,
                       u32 vendor_device, u32 class_code, u8 revision)
{
    memset(f, 0, sizeof *f);
    f->bus = p;
    f->name = name;
    f->devfn = devfn;
    pci_config_init(f, PCI_VENDOR_ID, 2, vendor_device >> 16, 0);
    pci_config_init(f, PCI_DEVICE_ID, 2, vendor_device & 0xffff, 0);
    pci_config_init(f, PCI_COMMAND, 2, 0,
                    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
                        PCI_COMMAND_PARITY | PCI_COMMAND_SERR | PCI_COMMAND_INTX_OFF);
    pci_config_init(f, PCI_REVISION, 1, revision, 0);
    pci_config_init(f, PCI_PROG_IF, 1, class_code & 0xff, 0);
    pci_config_init(f, PCI_CLASS, 2, class_code >> 8, 0);
    pci_config_init(f, PCI_CACHE_LINE, 1, 0, 0xff);
    pci_config_init(f, PCI_INTERRUPT_LINE, 1, 0, 0xff);
    store_le(&f->w1c[PCI_STATUS], 0xf900, 2); /* section 6.2.3: error bits */
    p->function[devfn] = f;
    /* Section 6.2.1: bit 7 of function 0 tells that there are others. */
    for (unsigned i = devfn & ~7u; i <= (devfn | 7u); i++) {
        struct pci_function *first = p->function[devfn & ~7u];
        if ((i & 7) && p->function[i] && first) {
            first->initial[PCI_HEADER_TYPE] |= 0x80;
            first->config[PCI_HEADER_TYPE] |= 0x80;
        }
    }
}

void pci_bar_init(struct pci_function *f, unsigned index, enum pci_bar_kind kind, u64 size,
                  bool prefetch)
{
    static const u8 type[] = {[PCI_BAR_IO] = 1, [PCI_BAR_MEM64] = 4, [PCI_BAR_ROM] = 0};
    struct pci_bar *bar = &f->bar[index];
    *bar = (struct pci_bar){.kind = kind, .size = size, .prefetch = prefetch};
    u32 flags = type[kind] | (prefetch ? 8u : 0);
    u32 mask = (u32) ~(size - 1);
    if (kind == PCI_BAR_ROM)
        mask |= ROM_ENABLE;
    pci_config_init(f, bar_offset(index), 4, flags, mask);
    if (kind == PCI_BAR_MEM64)
        pci_config_init(f, bar_offset(index) + 4, 4, 0, (u32)(~(size - 1) >> 32));
}

void pci_bar_add_region(struct pci_function *f, unsigned index, struct region *region, u64 offset)
{
    struct pci_bar *bar = &f->bar[index];
    unsigned i = 0;
    while (i < PCI_BAR_REGIONS - 1 && bar->region[i])
        i++;
    bar->region[i] = region;
    bar->offset[i] = offset;
    region_set_enabled(region, false);
}

void pci_add_capability(struct pci_function *f, u8 id, unsigned offset)
{
    u8 next = f->initial[PCI_CAP_POINTER];
    pci_config_init(f, offset, 2, id | (u32)next << 8, 0);
    pci_config_init(f, PCI_CAP_POINTER, 1, (u32)offset, 0);
    f->initial[PCI_STATUS] |= PCI_STATUS_CAPS;
    f->config[PCI_STATUS] |= PCI_STATUS_CAPS;
}

/* ---- MSI ---- */

void pci_msi_init(struct pci_function *f, unsigned offset, unsigned vectors)
{
    unsigned log = 0;
    while (log < 5 && BIT(log) < vectors)
        log++;
    pci_add_capability(f, PCI_CAP_MSI, offset);
    pci_config_init(f, offset + MSI_CONTROL, 2, MSI_CONTROL_64BIT | log << 1,
                    MSI_CONTROL_ENABLE | 7 << 4);
    pci_config_init(f, offset + MSI_ADDRESS, 4, 0, 0xfffffffc);
    pci_config_init(f, offset + MSI_ADDRESS_HIGH, 4, 0, 0xffffffff);
    pci_config_init(f, offset + MSI_DATA, 2, 0, 0xffff);
    f->msi = (u8)offset;
}

bool pci_msi_enabled(const struct pci_function *f)
{
    return f->msi && (f->config[f->msi + MSI_CONTROL] & MSI_CONTROL_ENABLE);
}

void pci_msi_send(struct pci_function *f, unsigned vector)
{
    struct pci_bus *p = f->bus;
    if (!pci_msi_enabled(f) || !(f->config[PCI_COMMAND] & PCI_COMMAND_MASTER) || !p->wiring.msi)
        return;
    unsigned control = f->config[f->msi + MSI_CONTROL];
    unsigned granted = control >> 4 & 7;
    unsigned capable = control >> 1 & 7;
    if (granted > capable)
        granted = capable;
    /* Section 6.8.3.4: the low bits of the data say which of the granted vectors. */
    u32 mask = (u32)BIT(granted) - 1;
    u32 data = (u32)load_le(&f->config[f->msi + MSI_DATA], 2);
    p->wiring.msi(p->wiring.opaque, load_le(&f->config[f->msi + MSI_ADDRESS], 8),
                  (data & ~mask) | (vector & mask));
}

void pci_set_intx(struct pci_function *f, bool level)
{
    if (f->intx == level)
        return;
    f->intx = level;
    intx_update(f);
}

/* ---- read ---- */

u32 pci_config_read(struct pci_function *f, unsigned offset, unsigned size)
{
    if (offset >= PCI_CONFIG_SIZE || size > PCI_CONFIG_SIZE - offset)
        return (u32)size_mask(size);
    return (u32)load_le(&f->config[offset], size);
}

static struct pci_function *selected(struct pci_bus *p)
{
    if (!(p->confadd & CONFADD_ENABLE) || (p->confadd >> 16 & 0xff) != 0)
        return NULL;
    return p->function[p->confadd >> 8 & 0xff];
}

/* Section 3.2.2.3.2: only a full dword at 0xCF8 is CONFADD. */
static u64 confadd_read(void *opaque, u64 offset, unsigned size)
{
    struct pci_bus *p = opaque;
    if (offset == 0 && size == 4)
        return p->confadd;
    u64 v = size_mask(size);
    if (p->cf9 && offset <= 1 && offset + size > 1) {
        unsigned shift = (unsigned)(1 - offset) * 8;
        v &= ~(0xffull << shift);
        v |= (p->cf9->read(p->cf9_opaque, 0, 1) & 0xff) << shift;
    }
    return v;
}

static u64 confdata_read(void *opaque, u64 offset, unsigned size)
{
    struct pci_bus *p = opaque;
    struct pci_function *f = selected(p);
    return f ? pci_config_read(f, (p->confadd & 0xfc) + (unsigned)offset, size) : size_mask(size);
}

/* ---- write ---- */

void pci_config_write(struct pci_function *f, unsigned offset, u32 value, unsigned size)
{
    if (offset >= PCI_CONFIG_SIZE || size > PCI_CONFIG_SIZE - offset)
        return;
    for (unsigned i = 0; i < size; i++) {
        u8 v = (u8)(value >> (8 * i));
        u8 *c = &f->config[offset + i];
        *c = (u8)((*c & ~f->wmask[offset + i]) | (v & f->wmask[offset + i]));
        *c &= (u8) ~(v & f->w1c[offset + i]);
    }
    unsigned end = offset + size;
    if (offset < PCI_STATUS && end > PCI_COMMAND) {
        bars_update(f);
        intx_update(f);
    } else if (offset < PCI_ROM_BAR + 4 && end > PCI_BAR0) {
        bars_update(f);
    }
    if (f->written)
        f->written(f->opaque, offset, size);
}

static void confadd_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct pci_bus *p = opaque;
    if (offset == 0 && size == 4)
        p->confadd = (u32)value & CONFADD_MASK;
    else if (p->cf9 && offset <= 1 && offset + size > 1)
        p->cf9->write(p->cf9_opaque, 0, value >> ((1 - offset) * 8) & 0xff, 1);
}

static void confdata_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct pci_bus *p = opaque;
    struct pci_function *f = selected(p);
    if (!f)
        return;
    log_event(device, "pci %02x.%x write %02x/%u = %x", f->devfn >> 3, f->devfn & 7u,
              (unsigned)((p->confadd & 0xfc) + offset), size, (unsigned)value);
    pci_config_write(f, (p->confadd & 0xfc) + (unsigned)offset, (u32)value, size);
}

static const struct bus_ops confadd_ops = {confadd_read, confadd_write, 1, 4};
static const struct bus_ops confdata_ops = {confdata_read, confdata_write, 1, 4};

void pci_bus_init(struct pci_bus *p, struct bus *b, const struct pci_wiring *wiring)
{
    memset(p, 0, sizeof *p);
    p->bus = b;
    p->wiring = *wiring;
    bus_map_ports(b, "pci-confadd", PORT_CONFADD, 4, &confadd_ops, p);
    bus_map_ports(b, "pci-confdata", PORT_CONFDATA, 4, &confdata_ops, p);
}

void pci_bus_set_cf9(struct pci_bus *p, const struct bus_ops *ops, void *opaque)
{
    p->cf9 = ops;
    p->cf9_opaque = opaque;
}

void pci_print(struct pci_bus *p, void (*print)(void *opaque, const char *fmt, ...), void *opaque)
{
    static const char *const kinds[] = {"", "I/O", "32 bit memory", "64 bit memory", "ROM"};
    for (unsigned d = 0; d < 256; d++) {
        struct pci_function *f = p->function[d];
        if (!f)
            continue;
        print(opaque, "  Bus  0, device %3u, function %u: %s\n", d >> 3, d & 7, f->name);
        print(opaque, "    class %04x, PCI device %04x:%04x", pci_config_get(f, PCI_CLASS, 2),
              pci_config_get(f, PCI_VENDOR_ID, 2), pci_config_get(f, PCI_DEVICE_ID, 2));
        if (f->config[PCI_INTERRUPT_PIN])
            print(opaque, ", IRQ %u, pin %c", f->config[PCI_INTERRUPT_LINE],
                  'A' + f->config[PCI_INTERRUPT_PIN] - 1);
        print(opaque, "\n");
        for (unsigned i = 0; i < PCI_BARS; i++) {
            struct pci_bar *bar = &f->bar[i];
            if (bar->kind != PCI_BAR_NONE && bar->enabled)
                print(opaque, "      BAR%u: %s at 0x%llx [0x%llx]\n", i, kinds[bar->kind],
                      (unsigned long long)bar->address,
                      (unsigned long long)(bar->address + bar->size - 1));
            else if (bar->kind != PCI_BAR_NONE)
                print(opaque, "      BAR%u: %s, not decoded\n", i, kinds[bar->kind]);
        }
    }
}

static const struct field pci_bus_fields[] = {FIELD(struct pci_bus, confadd), FIELD_END};

const struct device_class pci_bus_class = {
    .name = "pci-bus",
    .description = "PCI bus 0 and configuration mechanism #1",
    .reset = pci_bus_reset,
    .fields = pci_bus_fields,
};

/* PCI: finds functions, gives them addresses and interrupts; sets up the PIIX.
 *
 * PCI Local Bus Specification 3.0, chapter 6; PCI-to-PCI Bridge Architecture 1.1.  Resources are
 * placed largest first, each bus within its bridge's window.  Left out: prefetchable windows of
 * bridges (their BARs go into the plain window), expansion beyond one host bridge.
 */
#include "bios/chips.h"
#include "bios/post.h"

enum {
    PCI_ID = 0x00,
    PCI_COMMAND = 0x04,
    PCI_CLASS = 0x0a,
    PCI_HEADER = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_ROM = 0x30,
    PCI_ROM_BRIDGE = 0x38,
    PCI_IRQ_LINE = 0x3c,
    PCI_IRQ_PIN = 0x3d,
    BRIDGE_BUSES = 0x18,
    BRIDGE_IO = 0x1c,
    BRIDGE_MEM = 0x20,
    BRIDGE_PREFETCH = 0x24,
    BRIDGE_IO_HIGH = 0x30,
    COMMAND_IO = 1,
    COMMAND_MEM = 2,
    COMMAND_MASTER = 4,
    ITEMS_MAX = 1024,
    BUSES_MAX = 32,
    ID_I440FX = 0x12378086,
    ID_PIIX3 = 0x70008086,
    ID_PIIX3_IDE = 0x70108086,
    ID_PIIX4_PM = 0x71138086,
    SCI_IRQ = 9,
    NO_CHILD = 0xff,
};

enum kind { IO, MEM, KINDS };

struct item {
    u64 size, align, base;
    u16 bdf;
    u8 reg;
    u8 bus;   /* index */
    u8 child; /* a bridge's window: index of the bus behind it */
    u8 kind;
    bool wide, high, bad;
};

struct bus {
    u8 number;
    u8 parent; /* index */
    u16 bridge;
};

struct pci_windows pci;
const u8 pirq_irqs[4] = {10, 10, 11, 11};

static struct item items[ITEMS_MAX];
static struct bus buses[BUSES_MAX];
static u32 item_count, bus_count;
static u8 last_bus;

/* ---- configuration space, mechanism 1 ---- */

u32 pci_read(u16 bdf, u8 reg)
{
    outl(PCI_ADDRESS, 0x80000000 | (u32)bdf << 8 | (reg & 0xfc));
    return inl(PCI_DATA);
}

void pci_write(u16 bdf, u8 reg, u32 v)
{
    outl(PCI_ADDRESS, 0x80000000 | (u32)bdf << 8 | (reg & 0xfc));
    outl(PCI_DATA, v);
}

static u8 cfg_read8(u16 bdf, u8 reg)
{
    return (u8)(pci_read(bdf, reg) >> (reg & 3) * 8);
}

static u16 cfg_read16(u16 bdf, u8 reg)
{
    return (u16)(pci_read(bdf, reg) >> (reg & 2) * 8);
}

static void cfg_write8(u16 bdf, u8 reg, u8 v)
{
    outl(PCI_ADDRESS, 0x80000000 | (u32)bdf << 8 | (reg & 0xfc));
    outb(PCI_DATA + (reg & 3), v);
}

static void cfg_write16(u16 bdf, u8 reg, u16 v)
{
    outl(PCI_ADDRESS, 0x80000000 | (u32)bdf << 8 | (reg & 0xfc));
    outw(PCI_DATA + (reg & 2), v);
}

/* ---- what there is ---- */

static struct item *add_item(u16 bdf, u8 reg, u8 bus, enum kind kind)
{
    if (item_count >= ITEMS_MAX)
        return NULL;
    struct item *it = &items[item_count++];
    *it = (struct item){.bdf = bdf, .reg = reg, .bus = bus, .child = NO_CHILD, .kind = (u8)kind};
    return it;
}

/* Section 6.2.5.1: what stays 0 after all ones gives the size.  True if the BAR is 64 bits wide. */
static bool add_bar(u16 bdf, u8 reg, u8 bus, u32 ones)
{
    u32 old = pci_read(bdf, reg);
    pci_write(bdf, reg, ones);
    u32 low = pci_read(bdf, reg);
    pci_write(bdf, reg, old);
    bool rom = ones != 0xffffffff;
    bool io = !rom && low & 1;
    bool wide = !rom && !io && (low & 6) == 4;
    u64 mask = io ? 0xffffffffffff0000ull | (low & 0xfffc) : 0xffffffff00000000ull | (low & ~15u);
    if (rom)
        mask = 0xffffffff00000000ull | (low & ~0x7ffu);
    if (wide) {
        u32 old_high = pci_read(bdf, reg + 4);
        pci_write(bdf, reg + 4, 0xffffffff);
        mask = (u64)pci_read(bdf, reg + 4) << 32 | (u32)mask;
        pci_write(bdf, reg + 4, old_high);
    }
    bool there = wide ? mask != 0 : io ? low & 0xfffc : (u32)mask != 0;
    if (there) {
        struct item *it = add_item(bdf, reg, bus, io ? IO : MEM);
        if (it) {
            it->size = it->align = ~mask + 1;
            it->wide = wide;
        }
    }
    return wide;
}

static void add_function(u16 bdf, u8 bus, u8 header)
{
    u8 bars = header == 0 ? 6 : header == 1 ? 2 : 0;
    cfg_write16(bdf, PCI_COMMAND,
                cfg_read16(bdf, PCI_COMMAND) & ~(COMMAND_IO | COMMAND_MEM | COMMAND_MASTER));
    for (u8 i = 0; i < bars; i++)
        if (add_bar(bdf, (u8)(PCI_BAR0 + 4 * i), bus, 0xffffffff))
            i++;
    if (bars)
        add_bar(bdf, header ? PCI_ROM_BRIDGE : PCI_ROM, bus, 0xfffff800);
}

static void scan(u8 index);

static void add_bridge(u16 bdf, u8 bus)
{
    if (bus_count >= BUSES_MAX || last_bus == 0xff)
        return;
    u8 child = (u8)bus_count++;
    u8 number = ++last_bus;
    buses[child] = (struct bus){.number = number, .parent = bus, .bridge = bdf};
    pci_write(bdf, BRIDGE_BUSES, 0xff0000u | (u32)number << 8 | (bdf >> 8));
    scan(child);
    pci_write(bdf, BRIDGE_BUSES, (u32)last_bus << 16 | (u32)number << 8 | (bdf >> 8));
    for (enum kind kind = IO; kind < KINDS; kind++) {
        struct item *it = add_item(bdf, kind == IO ? BRIDGE_IO : BRIDGE_MEM, bus, kind);
        if (it)
            it->child = child;
    }
}

static void scan(u8 index)
{
    for (u32 devfn = 0; devfn < 0x100; devfn++) {
        u16 bdf = (u16)(buses[index].number << 8 | devfn);
        u32 id = pci_read(bdf, PCI_ID);
        bool absent = (u16)id == 0xffff || (u16)id == 0;
        u8 header = absent ? 0 : cfg_read8(bdf, PCI_HEADER);
        if (!absent) {
            add_function(bdf, index, header & 0x7f);
            if ((header & 0x7f) == 1)
                add_bridge(bdf, index);
        }
        if (!(devfn & 7) && !(header & 0x80))
            devfn |= 7;
    }
}

/* ---- placing ---- */

static u64 align_up(u64 v, u64 align)
{
    return (v + align - 1) & ~(align - 1);
}

/* Lays out one bus from base, largest alignment first; returns the end. */
static u64 place(u8 bus, enum kind kind, u64 base)
{
    u64 at = base;
    for (u64 align = 1ull << 62; align; align >>= 1)
        for (u32 i = 0; i < item_count; i++) {
            struct item *it = &items[i];
            if (it->bus != bus || it->kind != kind || it->align != align || it->high || !it->size)
                continue;
            it->base = align_up(at, align);
            at = it->base + it->size;
        }
    return at;
}

/* The windows of bridges, from the innermost out: children have higher indexes. */
static void size_windows(void)
{
    for (u32 child = bus_count; --child > 0;)
        for (u32 i = 0; i < item_count; i++) {
            struct item *it = &items[i];
            if (it->child != child)
                continue;
            u64 unit = it->kind == IO ? 0x1000 : 0x100000;
            it->size = align_up(place((u8)child, it->kind, 0), unit);
            it->align = unit;
            for (u32 j = 0; j < item_count; j++)
                if (items[j].bus == child && items[j].kind == it->kind &&
                    items[j].align > it->align)
                    it->align = items[j].align;
        }
}

/* What does not fit below 4 GiB and can live above goes there, the largest first. */
static void place_root(void)
{
    while (place(0, MEM, pci.mem_base) > PCI_MEM_END) {
        struct item *largest = NULL;
        for (u32 i = 0; i < item_count; i++) {
            struct item *it = &items[i];
            if (it->bus == 0 && it->wide && !it->high && (!largest || it->size > largest->size))
                largest = it;
        }
        if (!largest)
            break;
        largest->high = true;
    }
    pci.high_base = pci.high_end = align_up(memory.high_top, 1ull << 30);
    for (u64 align = 1ull << 62; align; align >>= 1)
        for (u32 i = 0; i < item_count; i++) {
            struct item *it = &items[i];
            if (!it->high || it->align != align)
                continue;
            it->base = align_up(pci.high_end, align);
            pci.high_end = it->base + it->size;
        }
    pci.high_end = align_up(pci.high_end, 1ull << 20);
    place(0, IO, PCI_IO_BASE);
}

static void write_window(const struct item *it)
{
    u64 limit = it->base + it->size - 1;
    bool open = it->size && !it->bad;
    if (it->kind == IO) {
        u32 v = open ? (u32)(it->base >> 8 & 0xf0) | (u32)(limit & 0xf000) : 0x00f0;
        cfg_write16(it->bdf, BRIDGE_IO, (u16)v);
        pci_write(it->bdf, BRIDGE_IO_HIGH, 0);
    } else {
        u32 v = open ? (u32)(it->base >> 16 & 0xfff0) | (u32)(limit & 0xfff00000) : 0x0000fff0;
        pci_write(it->bdf, BRIDGE_MEM, v);
        pci_write(it->bdf, BRIDGE_PREFETCH, 0x0000fff0);
    }
}

/* Writes all addresses; a function's decoders go on only if each of its BARs has found room. */
static void write_items(void)
{
    for (u32 i = 0; i < item_count; i++) {
        struct item *it = &items[i];
        u64 end = it->base + it->size;
        it->bad = !it->high && end > (it->kind == IO ? 0x10000 : PCI_MEM_END);
        if (it->bad)
            say("PCI %x.%x.%x: no room for a %s region\n", it->bdf >> 8, it->bdf >> 3 & 31u,
                it->bdf & 7u, it->kind == IO ? "port" : "memory");
        if (it->child != NO_CHILD) {
            write_window(it);
        } else {
            pci_write(it->bdf, it->reg, it->bad ? 0 : (u32)it->base);
            if (it->wide)
                pci_write(it->bdf, it->reg + 4, it->bad ? 0 : (u32)(it->base >> 32));
        }
        u16 command = cfg_read16(it->bdf, PCI_COMMAND);
        if (it->child != NO_CHILD)
            command |= COMMAND_IO | COMMAND_MEM | COMMAND_MASTER;
        else if (!it->bad)
            command |= it->kind == IO ? COMMAND_IO : COMMAND_MEM;
        cfg_write16(it->bdf, PCI_COMMAND, command);
    }
    for (u32 i = 0; i < item_count; i++)
        if (items[i].bad && items[i].child == NO_CHILD) {
            u16 bit = items[i].kind == IO ? COMMAND_IO : COMMAND_MEM;
            cfg_write16(items[i].bdf, PCI_COMMAND, cfg_read16(items[i].bdf, PCI_COMMAND) & ~bit);
        }
}

/* ---- interrupts ---- */

/* On bus 0 the PIIX3 board wires INTA of slot 1 to PIRQA, of slot 2 to PIRQB and so on; a bridge
 * passes its slots' pins on rotated (Bridge Architecture 1.1, section 9.1). */
static void route(u8 bus, u16 bdf)
{
    u8 pin = cfg_read8(bdf, PCI_IRQ_PIN);
    if (pin < 1 || pin > 4)
        return;
    u32 line = pin - 1u;
    u16 at = bdf;
    for (; bus; at = buses[bus].bridge, bus = buses[bus].parent)
        line += at >> 3 & 31;
    line += (at >> 3 & 31u) + 3;
    bool pm = pci_read(bdf, PCI_ID) == ID_PIIX4_PM;
    cfg_write8(bdf, PCI_IRQ_LINE, pm ? SCI_IRQ : pirq_irqs[line & 3]);
}

/* ---- chips ---- */

/* PIRQ routing, and level triggering for PCI interrupts and SCI (ELCR, 4D0h and 4D1h). */
static void piix3_init(u16 bdf)
{
    u16 elcr = BIT(SCI_IRQ);
    for (u8 i = 0; i < 4; i++) {
        cfg_write8(bdf, (u8)(ROUTE_PIRQA + i), pirq_irqs[i]);
        elcr |= (u16)BIT(pirq_irqs[i]);
    }
    outb(ELCR, (u8)elcr);
    outb(ELCR + 1, (u8)(elcr >> 8));
}

/* PIIX4 data sheet 290562, section 7.1: PMBASE, PMREGMISC.PMIOSE, SMBus base and enable. */
static void piix4_pm_init(u16 bdf)
{
    pci_write(bdf, 0x40, PM_BASE | 1);
    cfg_write8(bdf, 0x80, 1);
    pci_write(bdf, 0x90, SMB_BASE | 1);
    cfg_write8(bdf, 0xd2, 0x09);
    pci.pm = true;
    SERVICE_DATA(shared)->pm_timer = PM_BASE + 8;
}

void pci_keep(u16 bdf, u8 reg)
{
    struct shared *s = SERVICE_DATA(shared);
    if (s->kept_count < KEPT_MAX)
        s->kept[s->kept_count++] = (struct kept_register){bdf, reg, pci_read(bdf, reg)};
}

static void keep(u16 bdf)
{
    static const struct {
        u32 id;
        u8 regs[5];
    } chips[] = {{ID_PIIX3, {0x60}},
                 {ID_PIIX3_IDE, {0x20, 0x40, PCI_COMMAND}},
                 {ID_PIIX4_PM, {0x40, 0x80, 0x90, 0xd0, PCI_COMMAND}}};
    for (u32 i = 0; i < ARRAY_SIZE(chips); i++)
        for (u32 j = 0; chips[i].id == pci_read(bdf, PCI_ID) && j < 5 && chips[i].regs[j]; j++)
            pci_keep(bdf, chips[i].regs[j]);
}

static void chip_init(u16 bdf)
{
    switch (pci_read(bdf, PCI_ID)) {
    case ID_PIIX3: piix3_init(bdf); break;
    case ID_PIIX4_PM: piix4_pm_init(bdf); break;
    case ID_PIIX3_IDE: pci_write(bdf, 0x40, 0x80008000); break; /* both channels decode */
    default: break;
    }
}

static void finish_function(u16 bdf)
{
    u8 b = 0;
    while (buses[b].number != bdf >> 8)
        b++;
    route(b, bdf);
    chip_init(bdf);
}

void pci_each(void (*f)(u16 bdf))
{
    for (u32 b = 0; b < bus_count; b++)
        for (u32 devfn = 0; devfn < 0x100; devfn++) {
            u16 bdf = (u16)(buses[b].number << 8 | devfn);
            u16 vendor = cfg_read16(bdf, PCI_ID);
            bool absent = vendor == 0xffff || vendor == 0;
            if (!absent)
                f(bdf);
            if (!(devfn & 7) && (absent || !(cfg_read8(bdf, PCI_HEADER) & 0x80)))
                devfn |= 7;
        }
}

void pci_init(void)
{
    u16 host = cfg_read16(0, PCI_ID);
    if (host == 0xffff || host == 0)
        return;
    pci.present = true;
    pci.mem_base = memory.low_top > PCI_MEM_BASE ? memory.low_top : PCI_MEM_BASE;
    buses[bus_count++] = (struct bus){0};
    scan(0);
    size_windows();
    place_root();
    for (u32 bus = 1; bus < bus_count; bus++)
        for (u32 i = 0; i < item_count; i++)
            if (items[i].child == bus)
                place((u8)bus, items[i].kind, items[i].base);
    write_items();
    struct shared *s = SERVICE_DATA(shared);
    pci_each(finish_function);
    pci_each(keep);
    s->elcr = (u16)(inb(ELCR) | inb(ELCR + 1) << 8);
    s->pci = 1;
    s->last_bus = last_bus;
}

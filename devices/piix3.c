/* Intel 82371SB (PIIX3) function 0: PCI-to-ISA bridge, 8086:7000.
 *
 * Data sheet: 82371FB (PIIX) and 82371SB (PIIX3), order number 290550, sections 2.2 (PCI
 * registers) and 2.5.5 (reset control).  Modelled: the PIRQ router and port 0xCF9.  The other
 * registers hold what is written.  The chip's 8259s, 8254, 8237 and ELCR are other files.
 * Left out: the USB function, motherboard IRQ/DMA steering, SMI generation, X-bus decode.
 */
#include "devices/piix3.h"

#include "base/log.h"

enum {
    REG_IORT = 0x4c,
    REG_XBCS = 0x4e,
    REG_PIRQRC = 0x60,
    REG_TOM = 0x69,
    REG_MSTAT = 0x6a,
    REG_MBIRQ0 = 0x70,
    REG_MBDMA = 0x76,
    REG_PCSC = 0x78,
    REG_APICBASE = 0x80,
    REG_DLC = 0x82,
    REG_SMICNTL = 0xa0,
    REG_SMIEN = 0xa2,
    REG_SEE = 0xa4,
    REG_FTMR = 0xa8,
    REG_SMIREQ = 0xaa,
    REG_CTLTMR = 0xac,
    REG_CTHTMR = 0xae,
    PIRQ_DISABLED = BIT(7),
    RCR_HARD = BIT(1),
    RCR_RESET = BIT(2),
    /* Section 2.2.13: IRQ 0, 1, 2, 8 and 13 are reserved as PIRQ targets. */
    PIRQ_TARGETS = 0xffff & ~(BIT(0) | BIT(1) | BIT(2) | BIT(8) | BIT(13)),
};

static void route(struct piix3 *s)
{
    u16 out = 0;
    for (unsigned i = 0; i < 4; i++) {
        u8 rc = s->pci.config[REG_PIRQRC + i];
        if ((s->pirq & BIT(i)) && !(rc & PIRQ_DISABLED))
            out |= (u16)(BIT(rc & 15) & PIRQ_TARGETS);
    }
    u16 changed = out ^ s->out;
    s->out = out;
    for (unsigned n = 0; n < 16; n++)
        if (changed & BIT(n))
            pin_set(&s->pins.irq[n], out & BIT(n));
}

void piix3_set_pirq(void *opaque, unsigned n, bool level)
{
    struct piix3 *s = opaque;
    s->pirq = (u8)((s->pirq & ~BIT(n & 3)) | (level ? BIT(n & 3) : 0));
    route(s);
}

unsigned piix3_map_irq(void *opaque, unsigned devfn, unsigned pin)
{
    return ((devfn >> 3) + 3 + pin) & 3;
}

/* ---- reset ---- */

static void piix3_reset(void *state)
{
    struct piix3 *s = state;
    /* PIRQ levels belong to the devices that drive them, and stay. */
    pci_function_reset(&s->pci);
    s->rcr = 0;
    route(s);
}

/* ---- read ---- */

static u64 rcr_read(void *opaque, u64 offset, unsigned size)
{
    return ((struct piix3 *)opaque)->rcr;
}

/* ---- write ---- */

/* Section 2.5.5: a 0 to 1 change of bit 2 resets; bit 1 chooses hard reset over INIT. */
static void rcr_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct piix3 *s = opaque;
    bool fire = (value & RCR_RESET) && !(s->rcr & RCR_RESET);
    s->rcr = value & (RCR_HARD | RCR_RESET);
    if (!fire)
        return;
    struct pin *pin = value & RCR_HARD ? &s->pins.reset : &s->pins.init;
    log_event(reset, "port 0xcf9: %s", value & RCR_HARD ? "hard reset" : "INIT");
    pin_set(pin, true);
    pin_set(pin, false);
}

static const struct bus_ops rcr_ops = {rcr_read, rcr_write, 1, 1};

static void piix3_written(void *opaque, unsigned offset, unsigned size)
{
    struct piix3 *s = opaque;
    if (offset < REG_PIRQRC + 4 && offset + size > REG_PIRQRC)
        route(s);
}

void piix3_init(struct piix3 *s, struct pci_bus *p, u8 devfn, const struct piix3_pins *pins)
{
    /* offset, size, value after reset, writable bits (section 2.2) */
    static const struct {
        u8 offset, size;
        u32 value, wmask;
    } regs[] = {
        {PCI_COMMAND, 2, 0x0007, 0x0108}, {PCI_STATUS, 2, 0x0200, 0},
        {REG_IORT, 1, 0x4d, 0xff},        {REG_XBCS, 2, 0x0003, 0x01ff},
        {REG_PIRQRC, 4, 0x80808080, 0x8f8f8f8f},
        {REG_TOM, 1, 0x02, 0xfe},         {REG_MSTAT, 2, 0x0000, 0x80d5},
        {REG_MBIRQ0, 1, 0x80, 0xef},      {REG_MBDMA, 2, 0x0c0c, 0x8f8f},
        {REG_PCSC, 2, 0x0002, 0xffff},    {REG_APICBASE, 1, 0x00, 0x7f},
        {REG_DLC, 1, 0x00, 0x0f},         {REG_SMICNTL, 1, 0x08, 0x1f},
        {REG_SMIEN, 2, 0x0000, 0x01ff},   {REG_SEE, 4, 0, 0xffffffff},
        {REG_FTMR, 1, 0x0f, 0xff},        {REG_SMIREQ, 2, 0x0000, 0x01ff},
        {REG_CTLTMR, 1, 0x00, 0xff},      {REG_CTHTMR, 1, 0x00, 0xff},
        {PCI_SUBSYSTEM_VENDOR, 4, 0x11001af4, 0},
    };
    memset(s, 0, sizeof *s);
    s->pins = *pins;
    pci_function_init(&s->pci, p, "82371SB ISA bridge", devfn, 0x80867000, 0x060100, 0);
    s->pci.written = piix3_written;
    s->pci.opaque = s;
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
        pci_config_init(&s->pci, regs[i].offset, regs[i].size, regs[i].value, regs[i].wmask);
    pci_bus_set_cf9(p, &rcr_ops, s);
}

/* ---- state ---- */

static void piix3_loaded(void *state)
{
    struct piix3 *s = state;
    pci_function_loaded(&s->pci);
    s->rcr &= RCR_HARD | RCR_RESET;
    s->pirq &= 15;
    route(s);
}

static const struct field piix3_fields[] = {PCI_FIELDS(struct piix3, pci),
                                            FIELD(struct piix3, pirq), FIELD(struct piix3, rcr),
                                            FIELD_END};

const struct device_class piix3_class = {
    .name = "piix3",
    .description = "82371SB PCI-ISA bridge",
    .reset = piix3_reset,
    .fields = piix3_fields,
    .loaded = piix3_loaded,
};

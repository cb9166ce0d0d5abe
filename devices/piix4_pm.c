/* Intel 82371AB (PIIX4) function 3: power management, 8086:7113.
 *
 * Data sheet: 82371AB PIIX4, order number 290562, section 7.1.  Modelled: where the ACPI register
 * block and the SMBus host controller decode (PMBA, PMREGMISC; SMBBA, SMBHSTCFG); these are files
 * of their own, reached by callbacks.
 * Left out: device monitors (but APMC_EN), general purpose I/O decode.
 */
#include "devices/piix4_pm.h"

enum {
    REG_PMBA = 0x40,
    REG_CNTA = 0x44,
    REG_CNTB = 0x48,
    REG_GPICTL = 0x4c,
    REG_DEVRESD = 0x50,
    REG_DEVACTA = 0x54,
    REG_DEVACTB = 0x58,
    REG_DEVRESA = 0x5c,
    REG_PMREGMISC = 0x80,
    REG_SMBBA = 0x90,
    REG_SMBHSTCFG = 0xd2,
    REG_SMBSLVC = 0xd3, /* and the two shadow ports */
    REG_SMBREV = 0xd6,
    PMREGMISC_PMIOSE = BIT(0),
    DEVACTB_APMC_EN = BIT(25), /* a write to the APM control port raises SMI# */
};

static void place(struct piix4_pm *s)
{
    if (s->block.set_base)
        s->block.set_base(s->block.opaque, pci_config_get(&s->pci, REG_PMBA, 2) & 0xffc0);
    if (s->block.enable)
        s->block.enable(s->block.opaque, s->pci.config[REG_PMREGMISC] & PMREGMISC_PMIOSE);
    if (s->block.set_apmc_smi)
        s->block.set_apmc_smi(s->block.opaque,
                              pci_config_get(&s->pci, REG_DEVACTB, 4) & DEVACTB_APMC_EN);
    if (s->block.place_smbus)
        s->block.place_smbus(s->block.smbus, pci_config_get(&s->pci, REG_SMBBA, 2) & 0xfff0,
                             s->pci.config[REG_SMBHSTCFG]);
}

/* ---- reset ---- */

static void piix4_pm_reset(void *state)
{
    struct piix4_pm *s = state;
    pci_function_reset(&s->pci);
    place(s);
}

/* ---- write ---- */

static void piix4_pm_written(void *opaque, unsigned offset, unsigned size)
{
    struct piix4_pm *s = opaque;
    unsigned end = offset + size;
    if ((offset < REG_PMBA + 4 && end > REG_PMBA) ||
        (offset < REG_DEVACTB + 4 && end > REG_DEVACTB) ||
        (offset <= REG_PMREGMISC && end > REG_PMREGMISC) ||
        (offset < REG_SMBBA + 4 && end > REG_SMBBA) ||
        (offset <= REG_SMBHSTCFG && end > REG_SMBHSTCFG))
        place(s);
}

void piix4_pm_init(struct piix4_pm *s, struct pci_bus *p, u8 devfn,
                   const struct piix4_pm_block *block)
{
    /* offset, size, value after reset, writable bits (section 7.1) */
    static const struct {
        u8 offset, size;
        u32 value, wmask;
    } regs[] = {
        {PCI_COMMAND, 2, 0x0000, 0x0001},
        {PCI_STATUS, 2, 0x0280, 0},
        {PCI_INTERRUPT_PIN, 1, 1, 0},
        {REG_PMBA, 4, 0x00000001, 0x0000ffc0},
        {REG_CNTA, 4, 0, 0xffffffff},
        {REG_CNTB, 4, 0, 0xffffffff},
        {REG_GPICTL, 4, 0, 0xffffffff},
        {REG_DEVRESD, 4, 0, 0xffffffff},
        {REG_DEVACTA, 4, 0, 0xffffffff},
        {REG_DEVACTB, 4, 0, 0xffffffff},
        {REG_DEVRESA, 4, 0, 0xffffffff},
        {REG_PMREGMISC, 1, 0, PMREGMISC_PMIOSE},
        {REG_SMBBA, 4, 0x00000001, 0x0000fff0},
        {REG_SMBHSTCFG, 1, 0, 0x0f},
        {REG_SMBSLVC, 3, 0, 0x00ffffff},
        {REG_SMBREV, 1, 0, 0},
        {PCI_SUBSYSTEM_VENDOR, 4, 0x11001af4, 0},
    };
    memset(s, 0, sizeof *s);
    s->block = *block;
    pci_function_init(&s->pci, p, "PIIX4 power management", devfn, 0x80867113, 0x068000, 3);
    s->pci.written = piix4_pm_written;
    s->pci.opaque = s;
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
        pci_config_init(&s->pci, regs[i].offset, regs[i].size, regs[i].value, regs[i].wmask);
}

/* ---- state ---- */

static void piix4_pm_loaded(void *state)
{
    struct piix4_pm *s = state;
    pci_function_loaded(&s->pci);
    place(s);
}

static const struct field piix4_pm_fields[] = {PCI_FIELDS(struct piix4_pm, pci), FIELD_END};

const struct device_class piix4_pm_class = {
    .name = "piix4-pm",
    .description = "PIIX4 power management function",
    .reset = piix4_pm_reset,
    .fields = piix4_pm_fields,
    .loaded = piix4_pm_loaded,
};

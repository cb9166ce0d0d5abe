/* PCI bus core: configuration space, BARs that move bus regions, INTx lines, MSI. */
#ifndef DRAGOMAN_DEVICES_PCI_H
#define DRAGOMAN_DEVICES_PCI_H

#include "devices/device.h"
#include "mmu/bus.h"

/* Type 0 header (PCI 3.0, section 6.1). */
enum {
    PCI_VENDOR_ID = 0x00,
    PCI_DEVICE_ID = 0x02,
    PCI_COMMAND = 0x04,
    PCI_STATUS = 0x06,
    PCI_REVISION = 0x08,
    PCI_PROG_IF = 0x09,
    PCI_CLASS = 0x0a, /* 16 bits: sub-class, base class */
    PCI_CACHE_LINE = 0x0c,
    PCI_LATENCY = 0x0d,
    PCI_HEADER_TYPE = 0x0e,
    PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e,
    PCI_ROM_BAR = 0x30,
    PCI_CAP_POINTER = 0x34,
    PCI_INTERRUPT_LINE = 0x3c,
    PCI_INTERRUPT_PIN = 0x3d,
    PCI_CONFIG_SIZE = 256,
};

enum {
    PCI_COMMAND_IO = BIT(0),
    PCI_COMMAND_MEMORY = BIT(1),
    PCI_COMMAND_MASTER = BIT(2),
    PCI_COMMAND_PARITY = BIT(6),
    PCI_COMMAND_SERR = BIT(8),
    PCI_COMMAND_INTX_OFF = BIT(10),
    PCI_STATUS_INTX = BIT(3),
    PCI_STATUS_CAPS = BIT(4),
    PCI_CAP_MSI = 0x05,
};

/* BAR windows lie below RAM and fixed devices, so that a guest that moves a BAR over either
 * changes nothing, as behind a host bridge that does not forward those addresses. */
#define PCI_BAR_PRIORITY (-1)

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_ROM };

#define PCI_BARS 7 /* six, and the expansion ROM */
#define PCI_ROM_INDEX 6
#define PCI_BAR_REGIONS 4

struct pci_bus;

struct pci_bar {
    enum pci_bar_kind kind;
    bool prefetch;
    u64 size; /* bytes, a power of two */
    struct region *region[PCI_BAR_REGIONS];
    u64 offset[PCI_BAR_REGIONS]; /* of each region within the BAR */
    u64 address;                 /* where it decodes now; derived */
    bool enabled;                /* derived */
};

/* One function; a chip embeds it and lists its state with PCI_FIELDS. */
struct pci_function {
    struct pci_bus *bus;
    u8 devfn; /* device << 3 | function */
    const char *name;
    u8 config[PCI_CONFIG_SIZE];
    u8 initial[PCI_CONFIG_SIZE]; /* what a reset restores */
    u8 wmask[PCI_CONFIG_SIZE];   /* bits that software may write */
    u8 w1c[PCI_CONFIG_SIZE];     /* bits that writing 1 clears */
    struct pci_bar bar[PCI_BARS];
    u8 msi;  /* offset of the MSI capability, 0 for none */
    u8 intx; /* level that the function drives on its INTx pin */
    /* Called after configuration bytes [offset, offset+size) have been written; may be NULL. */
    void (*written)(void *opaque, unsigned offset, unsigned size);
    void *opaque;
};

#define PCI_FIELDS(type, member) FIELD_ARRAY(type, member.config), FIELD(type, member.intx)

/* What the board gives to the bus. */
struct pci_wiring {
    struct pin pirq[4]; /* PIRQA..PIRQD, active high */
    /* Which of pirq[] pin 0..3 (INTA..INTD) of a device is wired to. */
    unsigned (*map_irq)(void *opaque, unsigned devfn, unsigned pin);
    /* An MSI: a 32-bit memory write of data to address. */
    void (*msi)(void *opaque, u64 address, u32 data);
    void *opaque;
};

/* Bus 0 and its configuration ports. */
struct pci_bus {
    struct bus *bus;
    struct pci_wiring wiring;
    struct pci_function *function[256]; /* by devfn */
    u32 confadd;                        /* CONFADD, port 0xCF8 */
    const struct bus_ops *cf9;          /* the byte register within CONFADD's dword, or NULL */
    void *cf9_opaque;
};

/* Claims ports 0xCF8-0xCFF; the bus and what it hangs on must outlive it. */
void pci_bus_init(struct pci_bus *p, struct bus *b, const struct pci_wiring *wiring);

/* Gives port 0xCF9 to another chip: only dword accesses at 0xCF8 are CONFADD, all others go on to
 * what lies behind (PCI 3.0, section 3.2.2.3.2).  ops are called with offset 0 and size 1. */
void pci_bus_set_cf9(struct pci_bus *p, const struct bus_ops *ops, void *opaque);

/* Puts a function on the bus: identity, class (24 bits: base, sub, interface), revision.  The
 * command register is writable; everything else is read-only until the chip opens it. */
void pci_function_init(struct pci_function *f, struct pci_bus *p, const char *name, u8 devfn,
                       u32 vendor_device, u32 class_code, u8 revision);

/* Sets configuration bytes as after reset: value and which bits software may change.
 * size 1, 2 or 4. */
void pci_config_init(struct pci_function *f, unsigned offset, unsigned size, u32 value, u32 wmask);

/* Sets a read-only-for-software value now (status bits, registers that hardware changes). */
void pci_config_set(struct pci_function *f, unsigned offset, unsigned size, u32 value);
u32 pci_config_get(const struct pci_function *f, unsigned offset, unsigned size);

/* Declares BAR `index` (PCI_ROM_INDEX: expansion ROM) of `size` bytes, a power of two of at least
 * 16 (4 for I/O).  A 64-bit BAR takes the next index too. */
void pci_bar_init(struct pci_function *f, unsigned index, enum pci_bar_kind kind, u64 size,
                  bool prefetch);
/* Lets the BAR move `region`, at `offset` within it, and disables the region until decoded.  Up
 * to PCI_BAR_REGIONS per BAR. */
void pci_bar_add_region(struct pci_function *f, unsigned index, struct region *region, u64 offset);

/* Adds a capability structure at `offset` (4-aligned, 0x40 or more) to the list. */
void pci_add_capability(struct pci_function *f, u8 id, unsigned offset);
/* Adds an MSI capability (64-bit address, no masking) with 1, 2, 4, ... 32 vectors. */
void pci_msi_init(struct pci_function *f, unsigned offset, unsigned vectors);
bool pci_msi_enabled(const struct pci_function *f);
/* Sends MSI `vector` if MSI and bus mastering are on; else does nothing. */
void pci_msi_send(struct pci_function *f, unsigned vector);

/* Drives the function's INTx pin (by PCI_INTERRUPT_PIN); no effect on the wire while the command
 * register's Interrupt Disable bit is set. */
void pci_set_intx(struct pci_function *f, bool level);

/* What a chip calls from its reset and loaded hooks. */
void pci_function_reset(struct pci_function *f);
void pci_function_loaded(struct pci_function *f);

/* Configuration accesses as the bus makes them: size 1, 2 or 4, within one dword. */
u32 pci_config_read(struct pci_function *f, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *f, unsigned offset, u32 value, unsigned size);

/* Prints the functions and their BARs, for `info pci`. */
void pci_print(struct pci_bus *p, void (*print)(void *opaque, const char *fmt, ...), void *opaque);

extern const struct device_class pci_bus_class;

#endif

/* INT 1Ah AH = B1h: PCI BIOS 2.1, and the same for callers in 32-bit protected mode.
 *
 * PCI BIOS Specification 2.1, section 4.  Compiled twice; the 32-bit form is called wherever
 * its caller has mapped the firmware (protected.S), and so has no data but *s.  Left out:
 * special cycles.
 */
#include "bios/chips.h"
#include "bios/service.h"

enum {
    SUCCESSFUL = 0x00,
    UNSUPPORTED = 0x81,
    BAD_VENDOR = 0x83,
    NOT_FOUND = 0x86,
    BAD_REGISTER = 0x87,
    SET_FAILED = 0x88,
    TOO_SMALL = 0x89,
    ROUTING_HEAD = 32,
    ROUTING_SLOT = 16,
    INTERRUPT_LINE = 0x3c,
    INTA = 0x0a, /* pins are numbered from here */
};

extern const u8 pci_entry[]; /* linear address */

static void select(u16 bdf, u16 reg)
{
    outl(PCI_ADDRESS, 0x80000000 | (u32)bdf << 8 | (reg & 0xfc));
}

static u32 config_read(u16 bdf, u16 reg)
{
    select(bdf, reg);
    return inl(PCI_DATA);
}

static void answer(frame_ptr f, u8 code)
{
    f->ah = code;
    set_carry(f, code != SUCCESSFUL);
}

/* The SI-th function for which (dword at reg & mask) == value; BX says where. */
static void find(frame_ptr f, const struct shared *s, u8 reg, u8 shift, u32 value)
{
    u16 skip = f->si;
    for (u32 bdf = 0; bdf < (s->last_bus + 1u) << 8; bdf++) {
        u32 id = config_read((u16)bdf, 0);
        bool absent = (u16)id == 0xffff || (u16)id == 0;
        if (!absent && config_read((u16)bdf, reg) >> shift == value && skip-- == 0) {
            f->bx = (u16)bdf;
            answer(f, SUCCESSFUL);
            return;
        }
        /* Function 0 says whether there are others. */
        bool many = !absent && (config_read((u16)bdf, 0x0c) & 0x800000);
        if (!(bdf & 7) && !many)
            bdf |= 7;
    }
    answer(f, NOT_FOUND);
}

static void access(frame_ptr f)
{
    u8 width = (u8)(1 << ((f->al - 8) % 3));
    u16 reg = f->di;
    if (reg > 0xff || reg & (width - 1)) {
        answer(f, BAD_REGISTER);
        return;
    }
    select(f->bx, reg);
    u16 port = (u16)(PCI_DATA + (reg & 3));
    switch (f->al) {
    case 0x08: f->cl = inb(port); break;
    case 0x09: f->cx = inw(port); break;
    case 0x0a: f->ecx = inl(port); break;
    case 0x0b: outb(port, f->cl); break;
    case 0x0c: outw(port, f->cx); break;
    case 0x0d: outl(port, f->ecx); break;
    }
    answer(f, SUCCESSFUL);
}

/* A byte of the firmware, whose data is at *s, or in real mode behind FS. */
static u8 rom_byte(const struct shared *s, u32 linear)
{
    if (PROTECTED)
        return ((const u8 *)s - (u32)&shared - DATA_BASE)[linear];
    far_segment(CODE_SEG);
    return FAR(u8, (u16)(linear - CODE_BASE));
}

/* 0Eh: ES:(E)DI points to a length and a far pointer, to where the routing table's slots go. */
static void routing_options(frame_ptr f, const struct shared *s)
{
    u32 at = PROTECTED ? f->edi : f->di, size = (u32)s->routing_slots * ROUTING_SLOT;
    far_segment(f->es);
    u16 room = FAR(u16, at);
    u32 to = PROTECTED ? FAR(u32, at + 2) : FAR(u16, at + 2);
    u16 segment = FAR(u16, at + (PROTECTED ? 6 : 4));
    FAR(u16, at) = (u16)size;
    if (room < size) {
        answer(f, TOO_SMALL);
        return;
    }
    for (u32 i = 0; i < size; i++) {
        u8 v = rom_byte(s, s->routing + ROUTING_HEAD + i);
        far_segment(segment);
        FAR(u8, to + i) = v;
    }
    f->bx = 0; /* no interrupt is PCI's alone */
    answer(f, SUCCESSFUL);
}

/* 0Fh: pin CL of the device BX gets IRQ CH: its PIRQ in the PIIX3, level-triggered. */
static void set_interrupt(frame_ptr f, const struct shared *s)
{
    u8 pin = (u8)(f->cl - INTA), irq = f->ch, slot = f->bl >> 3;
    if (pin > 3 || irq > 15 || !(ROUTE_IRQS >> irq & 1) || f->bh || !s->routing) {
        answer(f, SET_FAILED);
        return;
    }
    u8 pirq = route_of(slot, pin);
    select(ISA_BRIDGE, pirq);
    outb((u16)(PCI_DATA + (pirq & 3)), irq);
    u16 trigger = (u16)(ELCR + (irq >> 3));
    outb(trigger, (u8)(inb(trigger) | 1 << (irq & 7)));
    for (u16 function = 0; function < 8; function++) {
        u16 bdf = (u16)((f->bl & 0xf8) | function);
        u32 line = config_read(bdf, INTERRUPT_LINE);
        if ((u16)config_read(bdf, 0) == 0xffff || (u8)(line >> 8) != pin + 1)
            continue;
        select(bdf, INTERRUPT_LINE);
        outb(PCI_DATA, irq);
    }
    answer(f, SUCCESSFUL);
}

void pci_service(frame_ptr f, const struct shared *s)
{
    if (!s->pci) {
        answer(f, UNSUPPORTED);
        return;
    }
    switch (f->al) {
    case 0x01:
        f->edx = 0x20494350; /* "PCI " */
        f->edi = (u32)pci_entry;
        f->al = 0x01; /* mechanism 1, no special cycles */
        f->bx = 0x0210;
        f->cl = s->last_bus;
        answer(f, SUCCESSFUL);
        break;
    case 0x02:
        if (f->dx == 0xffff)
            answer(f, BAD_VENDOR);
        else
            find(f, s, 0, 0, (u32)f->cx << 16 | f->dx);
        break;
    case 0x03: find(f, s, 8, 8, f->ecx & 0xffffff); break;
    case 0x08:
    case 0x09:
    case 0x0a:
    case 0x0b:
    case 0x0c:
    case 0x0d: access(f); break;
    case 0x0e: routing_options(f, s); break;
    case 0x0f: set_interrupt(f, s); break;
    default: answer(f, UNSUPPORTED); break;
    }
}

/* INT 1Ah AH = B1h: PCI BIOS 2.1, the 16-bit interface.
 *
 * PCI BIOS Specification 2.1, section 4.  Left out: the 32-bit entry (BIOS32), special cycles, and
 * the interrupt routing table (0Eh, 0Fh).
 */
#include "bios/service.h"

enum {
    SUCCESSFUL = 0x00,
    UNSUPPORTED = 0x81,
    BAD_VENDOR = 0x83,
    NOT_FOUND = 0x86,
    BAD_REGISTER = 0x87,
    PCI_ADDRESS = 0xcf8,
    PCI_DATA = 0xcfc,
};

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
static void find(frame_ptr f, u8 reg, u8 shift, u32 value)
{
    u16 skip = f->si;
    for (u32 bdf = 0; bdf < (shared.last_bus + 1u) << 8; bdf++) {
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

void pci_service(frame_ptr f)
{
    if (!shared.pci) {
        answer(f, UNSUPPORTED);
        return;
    }
    switch (f->al) {
    case 0x01:
        f->edx = 0x20494350; /* "PCI " */
        f->edi = 0;
        f->al = 0x01; /* mechanism 1, no special cycles */
        f->bx = 0x0210;
        f->cl = shared.last_bus;
        answer(f, SUCCESSFUL);
        break;
    case 0x02:
        if (f->dx == 0xffff)
            answer(f, BAD_VENDOR);
        else
            find(f, 0, 0, (u32)f->cx << 16 | f->dx);
        break;
    case 0x03: find(f, 8, 8, f->ecx & 0xffffff); break;
    case 0x08:
    case 0x09:
    case 0x0a:
    case 0x0b:
    case 0x0c:
    case 0x0d: access(f); break;
    default: answer(f, UNSUPPORTED); break;
    }
}

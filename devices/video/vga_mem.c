/* The VGA's memory as software sees it through A0000-BFFFF: planes, latches, write modes.
 *
 * IBM PS/2 and PC BIOS hardware reference, "Video subsystem", graphics controller and sequencer
 * registers; with a VBE mode on, 64 KiB banks of linear memory.
 */
#include "devices/video/vga.h"

enum {
    SEQ_MAP_MASK = 2,
    SEQ_MODE = 4,
    SEQ_ODD_EVEN_OFF = BIT(2),
    SEQ_CHAIN4 = BIT(3),
    GC_SET_RESET = 0,
    GC_ENABLE_SET_RESET = 1,
    GC_COMPARE = 2,
    GC_ROTATE = 3,
    GC_READ_MAP = 4,
    GC_MODE = 5,
    GC_MISC = 6,
    GC_DONT_CARE = 7,
    GC_BIT_MASK = 8,
    GC_MODE_COMPARE = BIT(3),
    GC_MODE_ODD_EVEN = BIT(4),
    PLANE_BYTES = 65536,
};

/* A bit for each plane to a byte of ones for each plane. */
static u32 spread(u8 planes)
{
    u32 v = 0;
    for (unsigned i = 0; i < 4; i++)
        if (planes & BIT(i))
            v |= 0xffu << (8 * i);
    return v;
}

static u32 *planes_at(struct vga *s, u32 offset)
{
    return (u32 *)(s->memory + 4 * (u64)(offset & (PLANE_BYTES - 1)));
}

/* Offset within the window that the memory map select chooses; false outside it. */
static bool select_window(const struct vga *s, u64 offset, u32 *at)
{
    static const struct {
        u32 base, size;
    } maps[4] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
    unsigned map = s->gc[GC_MISC] >> 2 & 3;
    *at = (u32)offset - maps[map].base;
    return offset >= maps[map].base && *at < maps[map].size;
}

static void touch(struct vga *s, u32 low, u32 high)
{
    if (low < s->dirty_low)
        s->dirty_low = low;
    if (high > s->dirty_high)
        s->dirty_high = high;
}

/* Linear address of a banked access; false beyond the memory. */
static bool banked(const struct vga *s, u64 offset, u32 *at)
{
    *at = (u32)s->vbe[VBE_BANK] * 0x10000 + (u32)offset;
    return offset < 0x10000 && *at < VGA_MEMORY;
}

/* ---- reading ---- */

static u8 read_byte(struct vga *s, u32 at)
{
    bool chain4 = s->seq[SEQ_MODE] & SEQ_CHAIN4;
    bool odd_even = !chain4 && (s->gc[GC_MODE] & GC_MODE_ODD_EVEN);
    u32 offset = chain4 ? at & ~3u : odd_even ? at & ~1u : at;
    u8 plane = s->gc[GC_READ_MAP] & 3;
    s->latch = *planes_at(s, offset);
    if (chain4)
        return (u8)(s->latch >> (8 * (at & 3)));
    if (s->gc[GC_MODE] & GC_MODE_COMPARE) {
        u32 compare = spread(s->gc[GC_COMPARE]), care = spread(s->gc[GC_DONT_CARE]);
        u32 differs = (s->latch ^ compare) & care;
        differs |= differs >> 16;
        return (u8) ~(differs | differs >> 8);
    }
    if (odd_even)
        plane = (u8)((plane & 2) | (at & 1));
    return (u8)(s->latch >> (8 * plane));
}

u64 vga_window_read(void *opaque, u64 offset, unsigned size)
{
    struct vga *s = opaque;
    u64 v = 0;
    for (unsigned i = 0; i < size; i++) {
        u32 at;
        u8 byte = 0xff;
        if (vga_vbe_on(s)) {
            if (banked(s, offset + i, &at))
                byte = s->memory[at];
        } else if (select_window(s, offset + i, &at)) {
            byte = read_byte(s, at);
        }
        v |= (u64)byte << (8 * i);
    }
    return v;
}

/* ---- writing ---- */

static u32 logic(const struct vga *s, u32 v)
{
    switch (s->gc[GC_ROTATE] >> 3 & 3) {
    case 1: return v & s->latch;
    case 2: return v | s->latch;
    case 3: return v ^ s->latch;
    default: return v;
    }
}

/* What goes to the four planes, before the map mask. */
static u32 write_value(const struct vga *s, u8 byte)
{
    u8 count = s->gc[GC_ROTATE] & 7;
    u8 rotated = (u8)(byte >> count | byte << ((8 - count) & 7));
    u32 mask = s->gc[GC_BIT_MASK] * 0x01010101u, v;
    switch (s->gc[GC_MODE] & 3) {
    case 0: {
        u32 enable = spread(s->gc[GC_ENABLE_SET_RESET]);
        v = rotated * 0x01010101u;
        v = logic(s, (v & ~enable) | (spread(s->gc[GC_SET_RESET]) & enable));
        break;
    }
    case 1: return s->latch;
    case 2: v = logic(s, spread(byte & 15)); break;
    default:
        mask &= rotated * 0x01010101u;
        v = spread(s->gc[GC_SET_RESET]);
        break;
    }
    return (v & mask) | (s->latch & ~mask);
}

static void write_byte(struct vga *s, u32 at, u8 byte)
{
    u8 map = s->seq[SEQ_MAP_MASK] & 15;
    u32 offset = at;
    if (s->seq[SEQ_MODE] & SEQ_CHAIN4) {
        map &= BIT(at & 3);
        offset = at & ~3u;
    } else if (!(s->seq[SEQ_MODE] & SEQ_ODD_EVEN_OFF)) {
        map &= at & 1 ? 0x0a : 0x05;
        offset = at & ~1u;
    }
    u32 mask = spread(map), *p = planes_at(s, offset);
    *p = (write_value(s, byte) & mask) | (*p & ~mask);
    offset = 4 * (offset & (PLANE_BYTES - 1));
    touch(s, offset, offset + 4);
}

void vga_window_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct vga *s = opaque;
    for (unsigned i = 0; i < size; i++) {
        u32 at;
        u8 byte = (u8)(value >> (8 * i));
        if (vga_vbe_on(s)) {
            if (banked(s, offset + i, &at)) {
                s->memory[at] = byte;
                touch(s, at, at + 1);
            }
        } else if (select_window(s, offset + i, &at)) {
            write_byte(s, at, byte);
        }
    }
}

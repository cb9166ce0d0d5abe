/* IBM VGA with Bochs' VBE extensions (DISPI), as QEMU's PCI device 1234:1111. */
#ifndef DRAGOMAN_DEVICES_VIDEO_VGA_H
#define DRAGOMAN_DEVICES_VIDEO_VGA_H

#include "base/clock.h"
#include "devices/device.h"
#include "devices/pci.h"
#include "mmu/bus.h"

#define VGA_MEMORY (16u << 20)
#define VGA_PAGES (VGA_MEMORY / PAGE_SIZE)
#define VGA_ROM_MAX 65536u
#define VGA_WIDTH_MAX 2560u
#define VGA_HEIGHT_MAX 1600u
#define VGA_EDID 256u

enum vbe_index {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_VIDEO_MEMORY, /* in 64 KiB; read only */
    VBE_REGISTERS
};

struct vga {
    struct pci_function pci;
    struct bus *bus;
    struct clock *clock;
    u8 *memory; /* VGA_MEMORY bytes: byte 4n + p is plane p's byte n, or linear in VBE modes */
    u8 *rom;    /* host address of the expansion ROM; NULL: none */

    u8 misc, feature;
    u8 seq_index, seq[8];
    u8 gc_index, gc[16];
    u8 crtc_index, crtc[32];
    u8 attr_index, attr_flip, attr[32];
    u8 dac_mask, dac_read, dac_write, dac_state, dac_reading; /* state: component 0-2 */
    u8 dac[768];
    u8 dac_shift; /* 2: components of 6 bits; 0: of 8 (DISPI) */
    u32 latch;
    u16 vbe_index, vbe[VBE_REGISTERS];
    u32 retrace_flip; /* counts reads of input status 1 on a CRTC that makes no sense */

    /* What front-ends need to know; derived. */
    u32 dirty_low, dirty_high; /* bytes of memory changed through the window since vga_draw */
    bool changed;              /* registers, palette: everything is to be drawn again */
    u8 edid[VGA_EDID];
    u64 serial; /* of the picture: goes up whenever something that is shown has changed */
    u8 *shadow; /* linear memory as it was drawn last; owned */
    u64 shadow_key;
    u8 watch[VGA_PAGES]; /* calls of vga_draw for which a page that was stored to is compared */
    u32 watched;         /* pages for which that is not 0 */
    struct vga_counters {
        u64 drawn, rows;      /* pictures, and their rows that were not as before */
        u64 compared, copied; /* pages of linear memory */
    } counters;
    struct vga_blink {
        bool cursor, attribute;
    } blink;
};

/* One picture: 32 bits a pixel, 00RRGGBB. */
struct vga_surface {
    u32 width, height;
    u32 *pixels; /* of VGA_WIDTH_MAX by VGA_HEIGHT_MAX at most, rows of `width`; the caller's */
    u32 top, bottom; /* what vga_draw has changed: rows from `top`, below `bottom` */
    u64 serial;      /* vga_draw's; 0 at first */
};

/* Puts the adapter on the bus; `rom` is `rom_size` bytes (its option ROM) or NULL.  False when the
 * host has no memory. */
bool vga_init(struct vga *s, struct pci_bus *p, struct bus *b, struct clock *clock, u8 devfn,
              const u8 *rom, u32 rom_size);
void vga_free(struct vga *s);

/* The size of the picture now; 0 by 0 when the screen is off. */
void vga_size(const struct vga *s, u32 *width, u32 *height);
/* Draws the picture that the screen shows now into `out`, zeroed at first and then as this function
 * has left it: only rows that have changed, or `all`.  Returns false, and leaves `out` alone, if
 * nothing has changed since the last call for it and `all` is not set. */
bool vga_draw(struct vga *s, struct vga_surface *out, bool all);

/* Text modes: characters and attributes, for terminals. */
struct vga_text {
    u32 columns, rows;
    u32 cursor_column, cursor_row;
    bool cursor;
    u16 cell[132 * 60]; /* attribute in the high byte */
};
/* False in graphics modes. */
bool vga_text(const struct vga *s, struct vga_text *out);

extern const struct device_class vga_class;

/* ---- between the files of the adapter ---- */

u64 vga_window_read(void *opaque, u64 offset, unsigned size);
void vga_window_write(void *opaque, u64 offset, u64 value, unsigned size);
static inline bool vga_vbe_on(const struct vga *s)
{
    return s->vbe[VBE_ENABLE] & 1;
}
/* Bytes of a row of the VBE mode. */
u32 vga_vbe_pitch(const struct vga *s);
/* Whether text is shown. */
static inline bool vga_is_text(const struct vga *s)
{
    return !vga_vbe_on(s) && !(s->gc[6] & 1);
}
void vga_make_edid(u8 edid[VGA_EDID]);

#endif

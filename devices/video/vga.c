/* IBM VGA, and Bochs' VBE extensions: registers, PCI function 1234:1111.
 *
 * IBM PS/2 hardware reference, "Video subsystem"; Bochs, "VBE DISPI" (indices 0-10, ID B0C5); QEMU,
 * docs/specs/standard-vga: BAR 0 is memory, BAR 2 has EDID, VGA and DISPI registers.
 * Memory is in vga_mem.c, the picture in vga_draw.c.  Left out: the EGA's light pen, sense
 * switches' use, interrupts at vertical retrace, DDC by I2C.
 */
#include "devices/video/vga.h"

#include <stdlib.h>

enum {
    BAR_MEMORY = 0,
    BAR_REGISTERS = 2,
    PORT_BASE = 0x3b0,
    PORTS = 0x30,
    VBE_PORT = 0x1ce,
    MMIO_SIZE = 0x1000,
    MMIO_VGA = 0x400,
    MMIO_VBE = 0x500,
    MISC_COLOUR = BIT(0),
    STATUS_BLANK = BIT(0),
    STATUS_RETRACE = BIT(3),
    CRTC_PROTECT = BIT(7), /* of register 11h: 0-7 are read only */
    VBE_ENABLED = BIT(0),
    VBE_GETCAPS = BIT(1),
    VBE_8BIT_DAC = BIT(5),
    VBE_NO_CLEAR = BIT(7),
    VBE_ID_FIRST = 0xb0c0,
    VBE_ID_LAST = 0xb0c5,
};

/* ---- timing ---- */

/* Where the beam is, from virtual time and the CRTC's totals. */
static u8 beam(struct vga *s)
{
    const u8 *c = s->crtc;
    u32 dots = s->seq[1] & 1 ? 8 : 9, clock = s->misc >> 2 & 1 ? 28322000 : 25175000;
    u32 total_columns = c[0] + 5u, total_lines = (u32)(c[6] | (c[7] & 1) << 8 | (c[7] & 0x20) << 4);
    u32 shown = (u32)(c[0x12] | (c[7] & 2) << 7 | (c[7] & 0x40) << 3) + 1;
    u32 retrace = (u32)(c[0x10] | (c[7] & 4) << 6 | (c[7] & 0x80) << 2);
    if (s->seq[1] & 8)
        clock /= 2;
    total_lines += 2;
    if (c[0] < 10 || total_lines < 100) /* no mode has been set: what software waits for comes */
        return ++s->retrace_flip & 1 ? STATUS_RETRACE | STATUS_BLANK : 0;
    u64 line_ns = muldiv(total_columns * dots, NS_PER_SEC, clock);
    u64 at = clock_now(s->clock) % (line_ns * total_lines);
    u32 line = (u32)(at / line_ns), column = (u32)(at % line_ns * total_columns / line_ns);
    u32 retrace_end = retrace + ((c[0x11] - retrace) & 15);
    u8 v = line >= shown || column > c[1] ? STATUS_BLANK : 0;
    if (line >= retrace && line < retrace_end)
        v |= STATUS_RETRACE | STATUS_BLANK;
    return v;
}

/* ---- VBE ---- */

static u16 vbe_read(const struct vga *s)
{
    bool caps = s->vbe[VBE_ENABLE] & VBE_GETCAPS;
    switch (s->vbe_index) {
    case VBE_XRES: return caps ? VGA_WIDTH_MAX : s->vbe[VBE_XRES];
    case VBE_YRES: return caps ? VGA_HEIGHT_MAX : s->vbe[VBE_YRES];
    case VBE_BPP: return caps ? 32 : s->vbe[VBE_BPP];
    case VBE_VIDEO_MEMORY: return VGA_MEMORY >> 16;
    default: return s->vbe_index < VBE_REGISTERS ? s->vbe[s->vbe_index] : 0xffff;
    }
}

/* Makes the registers fit together and into memory. */
static void vbe_fix(struct vga *s)
{
    u16 *v = s->vbe;
    if (v[VBE_XRES] > VGA_WIDTH_MAX)
        v[VBE_XRES] = VGA_WIDTH_MAX;
    if (v[VBE_YRES] > VGA_HEIGHT_MAX)
        v[VBE_YRES] = VGA_HEIGHT_MAX;
    v[VBE_XRES] = v[VBE_XRES] & ~7u ? v[VBE_XRES] & ~7u : 8;
    if (!v[VBE_YRES])
        v[VBE_YRES] = 1;
    if (v[VBE_BPP] != 4 && v[VBE_BPP] != 15 && v[VBE_BPP] != 16 && v[VBE_BPP] != 24 &&
        v[VBE_BPP] != 32)
        v[VBE_BPP] = 8;
    if (v[VBE_VIRT_WIDTH] < v[VBE_XRES])
        v[VBE_VIRT_WIDTH] = v[VBE_XRES];
    u32 rows = VGA_MEMORY / vga_vbe_pitch(s);
    if (rows < v[VBE_YRES]) { /* a virtual width too large for the height */
        v[VBE_VIRT_WIDTH] = v[VBE_XRES];
        rows = VGA_MEMORY / vga_vbe_pitch(s);
    }
    if (rows < v[VBE_YRES])
        v[VBE_YRES] = (u16)rows;
    v[VBE_VIRT_HEIGHT] = (u16)(rows > 0xffff ? 0xffff : rows);
    if (v[VBE_X_OFFSET] > v[VBE_VIRT_WIDTH] - v[VBE_XRES])
        v[VBE_X_OFFSET] = (u16)(v[VBE_VIRT_WIDTH] - v[VBE_XRES]);
    if (v[VBE_Y_OFFSET] > v[VBE_VIRT_HEIGHT] - v[VBE_YRES])
        v[VBE_Y_OFFSET] = (u16)(v[VBE_VIRT_HEIGHT] - v[VBE_YRES]);
    v[VBE_BANK] &= (VGA_MEMORY >> 16) - 1;
}

static void vbe_enable(struct vga *s, u16 value)
{
    bool on = (value & VBE_ENABLED) && !vga_vbe_on(s);
    s->vbe[VBE_ENABLE] = value;
    s->dac_shift = value & VBE_8BIT_DAC ? 0 : 2;
    if (!on)
        return;
    s->vbe[VBE_VIRT_WIDTH] = s->vbe[VBE_X_OFFSET] = s->vbe[VBE_Y_OFFSET] = 0;
    s->vbe[VBE_BANK] = 0;
    vbe_fix(s);
    if (!(value & VBE_NO_CLEAR))
        memset(s->memory, 0, (size_t)vga_vbe_pitch(s) * s->vbe[VBE_YRES]);
}

static void vbe_write(struct vga *s, u16 value)
{
    switch (s->vbe_index) {
    case VBE_ID:
        if (value >= VBE_ID_FIRST && value <= VBE_ID_LAST)
            s->vbe[VBE_ID] = value;
        return;
    case VBE_XRES:
    case VBE_YRES:
    case VBE_BPP:
        if (!vga_vbe_on(s)) /* a mode is changed with the display off */
            s->vbe[s->vbe_index] = value;
        break;
    case VBE_ENABLE: vbe_enable(s, value); break;
    case VBE_BANK:
    case VBE_VIRT_WIDTH:
    case VBE_X_OFFSET:
    case VBE_Y_OFFSET: s->vbe[s->vbe_index] = value; break;
    default: return;
    }
    if (vga_vbe_on(s))
        vbe_fix(s);
    s->changed = true;
}

/* ---- ports ---- */

static bool is_other_crtc(const struct vga *s, u32 port)
{
    bool colour = port >= 0x3d0;
    return (port < 0x3c0 || colour) && colour != !!(s->misc & MISC_COLOUR);
}

static u8 dac_data_read(struct vga *s)
{
    u8 v = s->dac[3 * s->dac_read + s->dac_state];
    if (++s->dac_state == 3) {
        s->dac_state = 0;
        s->dac_read++;
    }
    return v;
}

static void dac_data_write(struct vga *s, u8 v)
{
    s->dac[3 * s->dac_write + s->dac_state] = s->dac_shift ? v & 63 : v;
    if (++s->dac_state == 3) {
        s->dac_state = 0;
        s->dac_write++;
    }
    s->changed = true;
}

static u8 port_read(struct vga *s, u32 port)
{
    if (is_other_crtc(s, port))
        return 0xff;
    switch (port) {
    case 0x3c0: return s->attr_index;
    case 0x3c1: return s->attr[s->attr_index & 31];
    case 0x3c2: return 0x10; /* a colour monitor's sense */
    case 0x3c4: return s->seq_index;
    case 0x3c5: return s->seq[s->seq_index & 7];
    case 0x3c6: return s->dac_mask;
    case 0x3c7: return s->dac_reading ? 3 : 0;
    case 0x3c8: return s->dac_write;
    case 0x3c9: return dac_data_read(s);
    case 0x3ca: return s->feature;
    case 0x3cc: return s->misc;
    case 0x3ce: return s->gc_index;
    case 0x3cf: return s->gc[s->gc_index & 15];
    case 0x3b4:
    case 0x3d4: return s->crtc_index;
    case 0x3b5:
    case 0x3d5: return s->crtc[s->crtc_index & 31];
    case 0x3ba:
    case 0x3da: s->attr_flip = 0; return beam(s);
    default: return 0xff;
    }
}

static void attr_write(struct vga *s, u8 v)
{
    u8 i = s->attr_index & 31;
    s->attr_flip ^= 1;
    if (s->attr_flip) {
        s->attr_index = v & 63;
    } else if (i < 0x15 && !(i < 16 && (s->attr_index & 0x20))) {
        s->attr[i] = v; /* the palette only while the screen is off */
    }
}

static void crtc_write(struct vga *s, u8 v)
{
    u8 i = s->crtc_index & 31;
    if (i < 8 && (s->crtc[0x11] & CRTC_PROTECT)) {
        if (i == 7) /* the line compare bit is not protected */
            s->crtc[7] = (u8)((s->crtc[7] & ~0x10) | (v & 0x10));
        return;
    }
    s->crtc[i] = v;
}

static void port_write(struct vga *s, u32 port, u8 v)
{
    static const u8 seq_mask[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
    static const u8 gc_mask[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
    if (is_other_crtc(s, port))
        return;
    s->changed = true;
    switch (port) {
    case 0x3c0: attr_write(s, v); break;
    case 0x3c2: s->misc = v & 0xef; break;
    case 0x3c4: s->seq_index = v & 7; break;
    case 0x3c5: s->seq[s->seq_index] = v & seq_mask[s->seq_index]; break;
    case 0x3c6: s->dac_mask = v; break;
    case 0x3c7:
        s->dac_read = v;
        s->dac_state = 0;
        s->dac_reading = 1;
        break;
    case 0x3c8:
        s->dac_write = v;
        s->dac_state = 0;
        s->dac_reading = 0;
        break;
    case 0x3c9: dac_data_write(s, v); break;
    case 0x3ce: s->gc_index = v & 15; break;
    case 0x3cf: s->gc[s->gc_index] = v & gc_mask[s->gc_index]; break;
    case 0x3b4:
    case 0x3d4: s->crtc_index = v & 31; break;
    case 0x3b5:
    case 0x3d5: crtc_write(s, v); break;
    case 0x3ba:
    case 0x3da: s->feature = v & 3; break;
    default: break;
    }
}

static u64 vga_port_read(void *opaque, u64 offset, unsigned size)
{
    u64 v = 0;
    for (unsigned i = 0; i < size; i++)
        v |= (u64)port_read(opaque, PORT_BASE + (u32)offset + i) << (8 * i);
    return v;
}

static void vga_port_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        port_write(opaque, PORT_BASE + (u32)offset + i, (u8)(value >> (8 * i)));
}

static const struct bus_ops port_ops = {vga_port_read, vga_port_write, 1, 2};

/* Index at 1CE, data at 1CF (and at 1D0, where it is aligned). */
static u64 vbe_port_read(void *opaque, u64 offset, unsigned size)
{
    struct vga *s = opaque;
    return offset == 0 ? s->vbe_index : vbe_read(s);
}

static void vbe_port_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct vga *s = opaque;
    if (offset == 0)
        s->vbe_index = (u16)value;
    else
        vbe_write(s, (u16)value);
}

static const struct bus_ops vbe_ops = {vbe_port_read, vbe_port_write, 2, 2};

/* ---- BAR 2 ---- */

static u64 mmio_read(void *opaque, u64 offset, unsigned size)
{
    struct vga *s = opaque;
    u64 v = 0;
    if (offset >= MMIO_VBE && offset < MMIO_VBE + 2 * VBE_REGISTERS) {
        s->vbe_index = (u16)((offset - MMIO_VBE) / 2);
        return vbe_read(s);
    }
    for (unsigned i = 0; i < size; i++) {
        u64 at = offset + i;
        u8 byte = 0xff;
        if (at < VGA_EDID)
            byte = s->edid[at];
        else if (at >= MMIO_VGA && at < MMIO_VGA + 0x20)
            byte = port_read(s, 0x3c0 + (u32)(at - MMIO_VGA));
        v |= (u64)byte << (8 * i);
    }
    return v;
}

static void mmio_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct vga *s = opaque;
    if (offset >= MMIO_VBE && offset < MMIO_VBE + 2 * VBE_REGISTERS) {
        s->vbe_index = (u16)((offset - MMIO_VBE) / 2);
        vbe_write(s, (u16)value);
        return;
    }
    for (unsigned i = 0; i < size; i++)
        if (offset + i >= MMIO_VGA && offset + i < MMIO_VGA + 0x20)
            port_write(s, 0x3c0 + (u32)(offset + i - MMIO_VGA), (u8)(value >> (8 * i)));
}

static const struct bus_ops mmio_ops = {mmio_read, mmio_write, 1, 2};
static const struct bus_ops window_ops = {vga_window_read, vga_window_write, 1, 8};

/* ---- making it ---- */

static void vga_reset(void *state)
{
    struct vga *s = state;
    pci_function_reset(&s->pci);
    s->misc = s->feature = s->seq_index = s->gc_index = s->crtc_index = 0;
    s->attr_index = s->attr_flip = 0;
    memset(s->seq, 0, sizeof s->seq);
    memset(s->gc, 0, sizeof s->gc);
    memset(s->crtc, 0, sizeof s->crtc);
    memset(s->attr, 0, sizeof s->attr);
    memset(s->dac, 0, sizeof s->dac);
    s->dac_mask = 0xff;
    s->dac_read = s->dac_write = s->dac_state = s->dac_reading = 0;
    s->dac_shift = 2;
    s->latch = 0;
    s->vbe_index = 0;
    memset(s->vbe, 0, sizeof s->vbe);
    s->vbe[VBE_ID] = VBE_ID_LAST;
    s->vbe[VBE_XRES] = 640;
    s->vbe[VBE_YRES] = 480;
    s->vbe[VBE_BPP] = 8;
    s->retrace_flip = 0;
    s->changed = true;
}

static bool map_memory(struct vga *s, struct bus *b, const u8 *rom, u32 rom_size)
{
    s->memory = bus_alloc_ram(b, VGA_MEMORY, "vga");
    if (!s->memory)
        return false;
    pci_bar_init(&s->pci, BAR_MEMORY, PCI_BAR_MEM32, VGA_MEMORY, true);
    pci_bar_add_region(
        &s->pci, BAR_MEMORY,
        bus_map_ram(b, "vga-memory", 0, VGA_MEMORY, s->memory, true, true, PCI_BAR_PRIORITY), 0);
    pci_bar_init(&s->pci, BAR_REGISTERS, PCI_BAR_MEM32, MMIO_SIZE, false);
    pci_bar_add_region(
        &s->pci, BAR_REGISTERS,
        bus_map_mmio(b, "vga-registers", 0, MMIO_SIZE, &mmio_ops, s, PCI_BAR_PRIORITY), 0);
    if (!rom)
        return true;
    s->rom = bus_alloc_ram(b, VGA_ROM_MAX, "vga-rom");
    if (!s->rom)
        return false;
    memcpy(s->rom, rom, rom_size < VGA_ROM_MAX ? rom_size : VGA_ROM_MAX);
    pci_bar_init(&s->pci, PCI_ROM_INDEX, PCI_BAR_ROM, VGA_ROM_MAX, false);
    pci_bar_add_region(
        &s->pci, PCI_ROM_INDEX,
        bus_map_ram(b, "vga-rom", 0, VGA_ROM_MAX, s->rom, true, false, PCI_BAR_PRIORITY), 0);
    return true;
}

bool vga_init(struct vga *s, struct pci_bus *p, struct bus *b, struct clock *clock, u8 devfn,
              const u8 *rom, u32 rom_size)
{
    memset(s, 0, sizeof *s);
    s->bus = b;
    s->clock = clock;
    s->serial = 2; /* no surface has that */
    pci_function_init(&s->pci, p, "VGA", devfn, 0x12341111, 0x030000, 2);
    pci_config_init(&s->pci, PCI_COMMAND, 2, 0, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    pci_config_init(&s->pci, PCI_SUBSYSTEM_VENDOR, 4, 0x11001af4, 0);
    if (!map_memory(s, b, rom, rom_size))
        return false;
    bus_map_mmio(b, "vga-window", 0xa0000, 0x20000, &window_ops, s, PCI_BAR_PRIORITY);
    bus_map_ports(b, "vga", PORT_BASE, PORTS, &port_ops, s);
    bus_map_ports(b, "vbe", VBE_PORT, 3, &vbe_ops, s);
    vga_make_edid(s->edid);
    vga_reset(s);
    return true;
}

void vga_free(struct vga *s)
{
    free(s->shadow);
    s->shadow = NULL;
}

/* ---- state ---- */

static void vga_loaded(void *state)
{
    struct vga *s = state;
    pci_function_loaded(&s->pci);
    s->seq_index &= 7;
    s->gc_index &= 15;
    s->crtc_index &= 31;
    s->attr_flip &= 1;
    if (s->dac_state > 2)
        s->dac_state = 0;
    s->dac_shift = s->dac_shift ? 2 : 0;
    if (vga_vbe_on(s))
        vbe_fix(s);
    s->changed = true;
}

/* Memory is saved with the machine's RAM. */
static const struct field vga_fields[] = {
    PCI_FIELDS(struct vga, pci),   FIELD(struct vga, misc),         FIELD(struct vga, feature),
    FIELD(struct vga, seq_index),  FIELD_ARRAY(struct vga, seq),    FIELD(struct vga, gc_index),
    FIELD_ARRAY(struct vga, gc),   FIELD(struct vga, crtc_index),   FIELD_ARRAY(struct vga, crtc),
    FIELD(struct vga, attr_index), FIELD(struct vga, attr_flip),    FIELD_ARRAY(struct vga, attr),
    FIELD(struct vga, dac_mask),   FIELD(struct vga, dac_read),     FIELD(struct vga, dac_write),
    FIELD(struct vga, dac_state),  FIELD(struct vga, dac_reading),  FIELD_ARRAY(struct vga, dac),
    FIELD(struct vga, dac_shift),  FIELD(struct vga, latch),        FIELD(struct vga, vbe_index),
    FIELD_ARRAY(struct vga, vbe),  FIELD(struct vga, retrace_flip), FIELD_END};

const struct device_class vga_class = {
    .name = "vga",
    .description = "VGA with Bochs VBE",
    .reset = vga_reset,
    .fields = vga_fields,
    .loaded = vga_loaded,
};

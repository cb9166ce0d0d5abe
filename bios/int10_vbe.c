/* VESA BIOS Extensions on Bochs' DISPI registers.
 *
 * VBE Core Functions 3.0 (VESA); VBE/DDC 1.1 for the monitor's EDID; VBE/PM 1.0.  The
 * protected-mode interface (0Ah) is in vbe_protected.S.  The adapter has no pixel clock: any that
 * is asked for (0Bh) is there, up to what a mode's information says, and a CRTC information block
 * changes nothing.
 */
#include "bios/chips.h"
#include "bios/video.h"

enum {
    INDEX = 0x1ce,
    DATA = 0x1cf,
    ID = 0,
    XRES = 1,
    YRES = 2,
    BPP = 3,
    ENABLE = 4,
    BANK = 5,
    VIRT_WIDTH = 6,
    VIRT_HEIGHT = 7,
    X_OFFSET = 8,
    Y_OFFSET = 9,
    MEMORY = 10,
    ENABLED = 0x01,
    DAC_8BIT = 0x20,
    LINEAR = 0x40,
    NO_CLEAR = 0x80,
    MODE_LINEAR = 0x4000,
    MODE_KEEP = 0x8000,
    GOOD = 0x004f,
    FAILED = 0x014f,
    WRONG_MODE = 0x034f, /* there is the function, but not in this mode */
    CLOCK_MOST = 230000000,
    PCI_BAR0 = 0x10,
    PCI_BAR2 = 0x18,
};

static const struct vbe_mode {
    u16 number, width, height;
    u8 bpp;
} modes[] = {
    {0x100, 640, 400, 8},    {0x101, 640, 480, 8},    {0x103, 800, 600, 8},
    {0x105, 1024, 768, 8},   {0x107, 1280, 1024, 8},  {0x10d, 320, 200, 15},
    {0x10e, 320, 200, 16},   {0x10f, 320, 200, 24},   {0x110, 640, 480, 15},
    {0x111, 640, 480, 16},   {0x112, 640, 480, 24},   {0x113, 800, 600, 15},
    {0x114, 800, 600, 16},   {0x115, 800, 600, 24},   {0x116, 1024, 768, 15},
    {0x117, 1024, 768, 16},  {0x118, 1024, 768, 24},  {0x119, 1280, 1024, 15},
    {0x11a, 1280, 1024, 16}, {0x11b, 1280, 1024, 24}, {0x11c, 1600, 1200, 8},
    {0x11d, 1600, 1200, 15}, {0x11e, 1600, 1200, 16}, {0x11f, 1600, 1200, 24},
    {0x140, 320, 200, 32},   {0x141, 640, 400, 32},   {0x142, 640, 480, 32},
    {0x143, 800, 600, 32},   {0x144, 1024, 768, 32},  {0x145, 1280, 1024, 32},
    {0x147, 1600, 1200, 32}, {0x175, 1280, 768, 16},  {0x177, 1280, 768, 32},
    {0x178, 1280, 800, 16},  {0x17a, 1280, 800, 32},  {0x17b, 1280, 960, 16},
    {0x17d, 1280, 960, 32},  {0x17e, 1440, 900, 16},  {0x180, 1440, 900, 32},
    {0x184, 1680, 1050, 16}, {0x186, 1680, 1050, 32}, {0x187, 1920, 1200, 16},
    {0x189, 1920, 1200, 32}, {0x18a, 2560, 1600, 8},  {0x18b, 2560, 1600, 16},
    {0x18d, 1280, 720, 16},  {0x18f, 1280, 720, 32},  {0x190, 1920, 1080, 16},
    {0x192, 1920, 1080, 32},
};

extern const u8 vbe_interface[], vbe_interface_end[]; /* offsets in CODE_SEG */

static u16 now; /* the VBE mode that is on, with its flag bits; 0: none */

static u16 get(u16 index)
{
    outw(INDEX, index);
    return inw(DATA);
}

static void set(u16 index, u16 value)
{
    outw(INDEX, index);
    outw(DATA, value);
}

bool vbe_present(void)
{
    u16 id = get(ID);
    return id >= 0xb0c0 && id <= 0xb0cf;
}

bool vbe_active(void)
{
    return now != 0;
}

void vbe_off(void)
{
    if (vbe_present())
        set(ENABLE, 0);
    now = 0;
}

static u32 bar(u8 reg)
{
    outl(PCI_ADDRESS, 0x80000000 | (u32)shared.vga_devfn << 8 | reg);
    return inl(PCI_DATA) & ~15u;
}

static const struct vbe_mode *find(u16 number)
{
    for (u16 i = 0; i < ARRAY_SIZE(modes); i++)
        if (modes[i].number == (number & 0x1ff))
            return &modes[i];
    return NULL;
}

static u16 bytes_of(u8 bpp)
{
    return (u16)((bpp + 7) / 8);
}

/* How often a mode's picture fits into the memory. */
static u32 pictures(const struct vbe_mode *v)
{
    return ((u32)get(MEMORY) << 16) / ((u32)v->width * bytes_of(v->bpp) * v->height);
}

/* ---- 04h: what makes a mode ---- */

void vbe_state(u16 words[VBE_STATE_WORDS])
{
    words[0] = now;
    for (u16 i = XRES; i < VBE_STATE_WORDS; i++)
        words[i] = get(i);
}

void vbe_state_set(const u16 words[VBE_STATE_WORDS])
{
    set(ENABLE, 0);
    now = words[0];
    if (!(words[ENABLE] & ENABLED))
        return;
    for (u16 i = XRES; i <= BPP; i++)
        set(i, words[i]);
    set(ENABLE, words[ENABLE] | NO_CLEAR);
    for (u16 i = BANK; i < VBE_STATE_WORDS; i++)
        if (i != VIRT_HEIGHT) /* follows from the width */
            set(i, words[i]);
}

static void state(frame_ptr f)
{
    f->ax = GOOD;
    switch (f->dl) {
    case 0: f->bx = video_state_blocks(f->cx & 15); break;
    case 1: video_state_save(f->cx & 15, f->es, f->bx); break;
    case 2: video_state_restore(f->cx & 15, f->es, f->bx); break;
    default: f->ax = FAILED; break;
    }
}

static void put_far(u16 seg, u16 at, const void *from, u16 count)
{
    const u8 *p = from;
    far_segment(seg);
    while (count--)
        FAR(u8, at++) = *p++;
}

/* ---- 00h: the controller ---- */

static const char oem[] = "Dragoman VBE";

struct info {
    char signature[4];
    u16 version;
    u32 oem;
    u32 capabilities;
    u16 modes_offset, modes_segment;
    u16 memory;
    u16 oem_revision;
    u32 vendor, product, revision;
} PACKED;

static void controller(frame_ptr f)
{
    struct info info;
    u16 modes_at = (u16)(f->di + sizeof info);
    u32 text = (u32)DATA_SEG << 16 | (u16)(u32)oem;
    memset16(&info, 0, sizeof info);
    memcpy16(info.signature, "VESA", 4);
    info.version = 0x0300;
    info.oem = info.vendor = info.product = info.revision = text;
    info.capabilities = 1; /* the DAC can have 8 bits */
    info.modes_offset = modes_at;
    info.modes_segment = f->es;
    info.memory = get(MEMORY);
    info.oem_revision = 1;
    put_far(f->es, f->di, &info, sizeof info);
    for (u16 i = 0; i < ARRAY_SIZE(modes); i++) {
        if (!pictures(&modes[i]))
            continue;
        put_far(f->es, modes_at, &modes[i].number, 2);
        modes_at += 2;
    }
    put_far(f->es, modes_at, "\xff\xff", 2);
    f->ax = GOOD;
}

/* ---- 01h: a mode ---- */

struct mode_info {
    u16 attributes;
    u8 window_a, window_b;
    u16 granularity, size, segment_a, segment_b;
    u32 function;
    u16 pitch, width, height;
    u8 cell_width, cell_height, planes, bpp, banks, model, bank_size, pages, reserved;
    u8 red_size, red_at, green_size, green_at, blue_size, blue_at, alpha_size, alpha_at, direct;
    u32 base, reserved2;
    u16 reserved3;
    u16 linear_pitch;
    u8 bank_pages, linear_pages;
    u8 masks[8];
    u32 clock;
} PACKED;

static void masks_of(struct mode_info *m)
{
    static const u8 layout[4][8] = {{5, 10, 5, 5, 5, 0, 1, 15},
                                    {5, 11, 6, 5, 5, 0, 0, 0},
                                    {8, 16, 8, 8, 8, 0, 0, 0},
                                    {8, 16, 8, 8, 8, 0, 8, 24}};
    const u8 *l = layout[m->bpp == 15 ? 0 : m->bpp == 16 ? 1 : m->bpp == 24 ? 2 : 3];
    memcpy16(&m->red_size, l, 8);
    memcpy16(m->masks, l, 8);
}

static void mode_information(frame_ptr f)
{
    const struct vbe_mode *v = find(f->cx);
    struct mode_info m;
    static const u8 zeros[16];
    if (!v) {
        f->ax = FAILED;
        return;
    }
    for (u16 i = 0; i < 256; i += 16)
        put_far(f->es, (u16)(f->di + i), zeros, 16);
    memset16(&m, 0, sizeof m);
    u32 pages = pictures(v);
    /* Colour, graphics, linear memory too; supported if it fits. */
    m.attributes = (u16)(0x009a | (pages != 0));
    m.window_a = 7;
    m.granularity = m.size = 64;
    m.segment_a = 0xa000;
    m.pitch = m.linear_pitch = (u16)(v->width * bytes_of(v->bpp));
    m.width = v->width;
    m.height = v->height;
    m.cell_width = 8;
    m.cell_height = 16;
    m.planes = m.banks = m.reserved = 1;
    m.bpp = v->bpp;
    m.model = v->bpp == 8 ? 4 : 6;
    m.pages = m.bank_pages = m.linear_pages = (u8)(pages > 256 ? 255 : pages ? pages - 1 : 0);
    if (v->bpp > 8) {
        masks_of(&m);
        m.direct = v->bpp == 32 ? 2 : 0;
    }
    m.base = bar(PCI_BAR0);
    m.clock = CLOCK_MOST;
    put_far(f->es, f->di, &m, sizeof m);
    f->ax = GOOD;
}

/* ---- 02h and 03h: setting it ---- */

static void set_mode(frame_ptr f)
{
    const struct vbe_mode *v = find(f->bx);
    if (!(f->bx & 0x100)) {
        bool good = video_set_mode((u8)((f->bx & 0x7f) | (f->bx & MODE_KEEP ? 0x80 : 0)));
        f->ax = good ? GOOD : FAILED;
        return;
    }
    if (!v || !pictures(v)) {
        f->ax = FAILED;
        return;
    }
    if (!now) /* colours and a sane state of the rest */
        video_set_mode(0x13 | 0x80);
    set(ENABLE, 0);
    set(XRES, v->width);
    set(YRES, v->height);
    set(BPP, v->bpp);
    set(ENABLE, (u16)(ENABLED | LINEAR | (f->bx & MODE_KEEP ? NO_CLEAR : 0)));
    now = f->bx & (u16)~MODE_KEEP;
    f->ax = GOOD;
}

/* ---- 05h to 0Bh ---- */

static void window(frame_ptr f)
{
    if (!now || now & MODE_LINEAR) {
        f->ax = WRONG_MODE;
        return;
    }
    if (f->bl || f->bh > 1 || (f->bh == 0 && f->dx >= get(MEMORY))) {
        f->ax = FAILED;
        return;
    }
    if (f->bh == 0)
        set(BANK, f->dx);
    else
        f->dx = get(BANK);
    f->ax = GOOD;
}

static void line_length(frame_ptr f)
{
    u16 bytes = bytes_of((u8)get(BPP)), most = (u16)(0xfff8 / bytes);
    u16 width = f->bl == 2 ? (u16)((f->cx + bytes - 1) / bytes) : f->cx;
    if (!now || f->bl > 3) {
        f->ax = now ? FAILED : WRONG_MODE;
        return;
    }
    if (f->bl == 3) {
        width = most;
    } else if (f->bl == 0 || f->bl == 2) {
        if (width < get(XRES) || width > most) {
            f->ax = FAILED;
            return;
        }
        set(VIRT_WIDTH, width);
    }
    if (f->bl != 3)
        width = get(VIRT_WIDTH);
    f->cx = width;
    f->bx = (u16)(width * bytes);
    f->dx = get(VIRT_HEIGHT);
    f->ax = GOOD;
}

static void display_start(frame_ptr f)
{
    if (!now) {
        f->ax = WRONG_MODE;
        return;
    }
    switch (f->bl) {
    case 0x00:
    case 0x80: /* a whole picture has to be there */
        if ((u32)f->cx + get(XRES) > get(VIRT_WIDTH) || (u32)f->dx + get(YRES) > get(VIRT_HEIGHT)) {
            f->ax = FAILED;
            return;
        }
        set(X_OFFSET, f->cx);
        set(Y_OFFSET, f->dx);
        break;
    case 0x01:
        f->bh = 0;
        f->cx = get(X_OFFSET);
        f->dx = get(Y_OFFSET);
        break;
    default: f->ax = FAILED; return;
    }
    f->ax = GOOD;
}

/* Colours come from the look-up table where a pixel has 8 bits. */
static bool indexed(void)
{
    return !now || get(BPP) == 8;
}

static void dac_width(frame_ptr f)
{
    u16 enable = get(ENABLE);
    if (!now || !indexed() || f->bl > 1) {
        f->ax = f->bl > 1 ? FAILED : WRONG_MODE;
        return;
    }
    if (f->bl == 0)
        set(ENABLE, (u16)((f->bh >= 8 ? enable | DAC_8BIT : enable & ~DAC_8BIT) | NO_CLEAR));
    f->bh = get(ENABLE) & DAC_8BIT ? 8 : 6;
    f->ax = GOOD;
}

static void palette(frame_ptr f)
{
    u16 at = f->di;
    u8 what = f->bl & 0x7f; /* bit 7: during vertical retrace */
    if (!indexed() || what > 1 || f->dx > 255) {
        f->ax = what > 1 || f->dx > 255 ? FAILED : WRONG_MODE; /* there is no second one (2, 3) */
        return;
    }
    for (u16 i = 0; i < f->cx; i++, at += 4) {
        far_segment(f->es);
        if (what == 0) {
            u8 red = FAR(u8, (u16)(at + 2)), green = FAR(u8, (u16)(at + 1)), blue = FAR(u8, at);
            video_dac((u8)(f->dx + i), red, green, blue);
        } else {
            outb(0x3c7, (u8)(f->dx + i));
            for (s16 c = 2; c >= 0; c--)
                FAR(u8, (u16)(at + (u16)c)) = inb(0x3c9);
            FAR(u8, (u16)(at + 3)) = 0;
        }
    }
    f->ax = GOOD;
}

/* 0Ah: offsets of the three functions, and of the list of ports, from ES:DI. */
static void protected_interface(frame_ptr f)
{
    if (f->bl) {
        f->ax = FAILED;
        return;
    }
    f->es = CODE_SEG;
    f->di = (u16)(u32)vbe_interface;
    f->cx = (u16)(vbe_interface_end - vbe_interface);
    f->ax = GOOD;
}

/* 0Bh: the clock that comes nearest. */
static void pixel_clock(frame_ptr f)
{
    if (f->bl || !find(f->dx)) {
        f->ax = FAILED;
        return;
    }
    if (f->ecx > CLOCK_MOST)
        f->ecx = CLOCK_MOST;
    f->ax = GOOD;
}

/* 15h: whether there is EDID, and its block 0, which lies in the adapter's registers. */
static void ddc(frame_ptr f)
{
    if (f->bl == 0) {
        f->bx = 0x0002; /* DDC2 */
    } else if (f->bl == 1 && f->dx == 0 && bar(PCI_BAR2)) {
        pm_copy(((u32)f->es << 4) + f->di, bar(PCI_BAR2), 128);
    } else {
        f->ax = FAILED;
        return;
    }
    f->ax = GOOD;
}

/* 10h: the monitor can only be on. */
static void monitor_power(frame_ptr f)
{
    f->ax = GOOD;
    switch (f->bl) {
    case 0: f->bx = 0x0010; break; /* version 1.0, no other state */
    case 1:
        if (f->bh)
            f->ax = FAILED;
        break;
    case 2: f->bh = 0; break;
    default: f->ax = FAILED; break;
    }
}

void vbe_service(frame_ptr f)
{
    if (!vbe_present())
        return;
    switch (f->al) {
    case 0x00: controller(f); break;
    case 0x01: mode_information(f); break;
    case 0x02: set_mode(f); break;
    case 0x03:
        f->bx = now ? now : bda8(BDA_VIDEO_MODE);
        f->ax = GOOD;
        break;
    case 0x04: state(f); break;
    case 0x05: window(f); break;
    case 0x06: line_length(f); break;
    case 0x07: display_start(f); break;
    case 0x08: dac_width(f); break;
    case 0x09: palette(f); break;
    case 0x0a: protected_interface(f); break;
    case 0x0b: pixel_clock(f); break;
    case 0x10: monitor_power(f); break;
    case 0x15: ddc(f); break;
    default: f->ax = 0x0100; break; /* AL is not 4Fh: not supported */
    }
}

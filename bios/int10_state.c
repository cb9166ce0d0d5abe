/* INT 10h AH = 1Ch, and what VBE's function 04h has in common with it: the adapter's state goes to
 * a buffer of the caller's and comes back.
 *
 * IBM PS/2 and PC BIOS Interface Technical Reference; VBE Core Functions 3.0, 4.7.  Blocks of 64
 * bytes, one part behind the other in the order of CX's bits: registers, data area, colours, DISPI.
 * Left out: the planes' latches, which no program has anything in between two instructions.
 */
#include "bios/video.h"

enum {
    MISC_WRITE = 0x3c2,
    SEQ = 0x3c4,
    DAC_MASK = 0x3c6,
    DAC_READ = 0x3c7,
    DAC_WRITE = 0x3c8,
    DAC_DATA = 0x3c9,
    MISC_READ = 0x3cc,
    GC = 0x3ce,
    CRTC = 0x3d4,
    CRTC_REGISTERS = 25,
    ATTR_REGISTERS = 21,
    BLOCK = 64,
    HARDWARE_BYTES = 1 + 4 + CRTC_REGISTERS + 9 + ATTR_REGISTERS + 3 + 1,
};

/* What of the BIOS data area and the vectors is the display's. */
static const struct {
    u16 at, count;
} areas[] = {{BDA_EQUIPMENT, 1}, {BDA_VIDEO_MODE, 30}, {BDA_ROWS, 7}, {0x4a8, 4},
             {0x05 * 4, 4},      {0x1d * 4, 4},        {0x1f * 4, 4}, {0x43 * 4, 4}};

static const u8 blocks[] = {2, 1, 13, 1};

u16 video_state_blocks(u16 what)
{
    u16 n = 0;
    for (u8 i = 0; i < sizeof blocks; i++)
        if (what & BIT(i))
            n = (u16)(n + blocks[i]);
    return n;
}

/* ---- the buffer ---- */

static u16 buffer_seg, buffer_at;

static void put(u8 v)
{
    far_segment(buffer_seg);
    FAR(u8, buffer_at++) = v;
}

static u8 get(void)
{
    far_segment(buffer_seg);
    return FAR(u8, buffer_at++);
}

/* ---- registers ---- */

static u16 crtc_port(void)
{
    return inb(MISC_READ) & 1 ? CRTC : CRTC - 0x20;
}

static void save_hardware(void)
{
    u16 crtc = crtc_port();
    const u8 index[3] = {inb(SEQ), inb(GC), inb(crtc)};
    put(inb(MISC_READ));
    for (u8 i = 1; i < 5; i++)
        put(video_index_read(SEQ, i));
    for (u8 i = 0; i < CRTC_REGISTERS; i++)
        put(video_index_read(crtc, i));
    for (u8 i = 0; i < 9; i++)
        put(video_index_read(GC, i));
    for (u8 i = 0; i < ATTR_REGISTERS; i++)
        put(video_attribute_read(i));
    outb(SEQ, index[0]);
    outb(GC, index[1]);
    outb(crtc, index[2]);
    for (u8 i = 0; i < 3; i++)
        put(index[i]);
    put(vbe_active());
}

static void restore_hardware(void)
{
    u16 start = buffer_at;
    buffer_at = (u16)(start + HARDWARE_BYTES - 1);
    if (!get()) /* it was a VGA mode: DISPI's would lie over it */
        vbe_off();
    buffer_at = start;
    outb(MISC_WRITE, get());
    u16 crtc = crtc_port();
    video_index(SEQ, 0, 1);
    for (u8 i = 1; i < 5; i++)
        video_index(SEQ, i, get());
    video_index(SEQ, 0, 3);
    video_index(crtc, 0x11, 0); /* the first eight are to be written too */
    for (u8 i = 0; i < CRTC_REGISTERS; i++)
        video_index(crtc, i, get());
    for (u8 i = 0; i < 9; i++)
        video_index(GC, i, get());
    for (u8 i = 0; i < ATTR_REGISTERS; i++)
        video_attribute(i, get());
    outb(SEQ, get());
    outb(GC, get());
    outb(crtc, get());
}

/* ---- the others ---- */

static void data_area(bool save)
{
    for (u8 i = 0; i < ARRAY_SIZE(areas); i++)
        for (u16 n = 0; n < areas[i].count; n++) {
            u16 at = (u16)(areas[i].at + n);
            if (save)
                put(bda8(at));
            else
                bda8_set(at, get());
        }
}

static void dac(bool save)
{
    if (save) {
        put(inb(DAC_MASK));
        outb(DAC_READ, 0);
        for (u16 i = 0; i < 768; i++)
            put(inb(DAC_DATA));
    } else {
        outb(DAC_MASK, get());
        outb(DAC_WRITE, 0);
        for (u16 i = 0; i < 768; i++)
            outb(DAC_DATA, get());
    }
}

static void svga(bool save)
{
    u16 words[VBE_STATE_WORDS];
    if (save)
        vbe_state(words);
    for (u8 i = 0; i < VBE_STATE_WORDS; i++) {
        if (save) {
            put((u8)words[i]);
            put((u8)(words[i] >> 8));
        } else {
            words[i] = get();
            words[i] |= (u16)(get() << 8);
        }
    }
    if (!save)
        vbe_state_set(words);
}

static void part(u16 which, bool save)
{
    switch (which) {
    case STATE_HARDWARE:
        if (save)
            save_hardware();
        else
            restore_hardware();
        break;
    case STATE_DATA: data_area(save); break;
    case STATE_DAC: dac(save); break;
    case STATE_SVGA: svga(save); break;
    }
}

static void move(u16 what, u16 seg, u16 offset, bool save)
{
    buffer_seg = seg;
    for (u8 i = 0; i < sizeof blocks; i++) {
        if (!(what & BIT(i)))
            continue;
        buffer_at = offset;
        part((u16)BIT(i), save);
        offset = (u16)(offset + blocks[i] * BLOCK);
    }
}

void video_state_save(u16 what, u16 seg, u16 offset)
{
    move(what, seg, offset, true);
}

void video_state_restore(u16 what, u16 seg, u16 offset)
{
    move(what, seg, offset, false);
}

void video_state_service(frame_ptr f)
{
    u16 what = f->cx & (STATE_HARDWARE | STATE_DATA | STATE_DAC);
    switch (f->al) {
    case 0: f->bx = video_state_blocks(what); break;
    case 1: video_state_save(what, f->es, f->bx); break;
    case 2: video_state_restore(what, f->es, f->bx); break;
    default: return;
    }
    f->al = 0x1c;
}

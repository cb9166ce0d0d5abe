/* The monitor's EDID: VESA Enhanced EDID Standard, release A, revision 2 (EDID 1.4).
 *
 * A flat panel of 1280 by 800 that also takes the usual modes.
 */
#include "devices/video/vga.h"

/* Detailed timing descriptor (section 3.10.2). */
static void timing(u8 *p, u32 clock_khz, const u16 h[4], const u16 v[4])
{
    /* h, v: active, front porch, sync, back porch */
    u32 hblank = h[1] + h[2] + h[3], vblank = v[1] + v[2] + v[3];
    store_le(p, clock_khz / 10, 2);
    p[2] = (u8)h[0];
    p[3] = (u8)hblank;
    p[4] = (u8)(h[0] >> 8 << 4 | hblank >> 8);
    p[5] = (u8)v[0];
    p[6] = (u8)vblank;
    p[7] = (u8)(v[0] >> 8 << 4 | vblank >> 8);
    p[8] = (u8)h[1];
    p[9] = (u8)h[2];
    p[10] = (u8)((v[1] & 15) << 4 | (v[2] & 15));
    p[11] = (u8)(h[1] >> 8 << 6 | h[2] >> 8 << 4 | v[1] >> 4 << 2 | v[2] >> 4);
    p[12] = 0x44; /* 324 by 202 mm */
    p[13] = 0xca;
    p[14] = 0x10;
    p[17] = 0x18;
}

static void descriptor(u8 *p, u8 tag, const char *text)
{
    p[3] = tag;
    for (unsigned i = 0; i < 13; i++)
        p[5 + i] = *text ? (u8)*text++ : i && p[4 + i] != '\n' && p[4 + i] != ' ' ? '\n' : ' ';
}

void vga_make_edid(u8 edid[VGA_EDID])
{
    static const u8 head[] = {0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x13, 0x4d,
                              0x01, 0x00, 0x00, 0x00, 0x00, 0x00, /* "DRM" 0001 */
                              0x01, 36,   1,    4,                /* week, year 2026, EDID 1.4 */
                              0xa5, 32,   20,   120,  0x02, /* digital, 8 bits; size; gamma 2.2 */
                              0xee, 0x95, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, /* sRGB */
                              0x21, 0x08, 0x00}; /* 640x480, 800x600, 1024x768 at 60 Hz */
    static const u8 standard[] = {0x81, 0x80, 0x81, 0x00, 0xa9, 0xc0, 0x95, 0x00,
                                  0xd1, 0xc0, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01};
    u8 sum = 0;
    memset(edid, 0, VGA_EDID);
    memcpy(edid, head, sizeof head);
    memcpy(edid + 38, standard, sizeof standard);
    timing(edid + 54, 83500, (const u16[]){1280, 72, 128, 200}, (const u16[]){800, 3, 6, 22});
    descriptor(edid + 72, 0xfc, "Dragoman");
    descriptor(edid + 90, 0xff, "1");
    edid[108 + 3] = 0x10; /* dummy */
    for (unsigned i = 0; i < 127; i++)
        sum = (u8)(sum + edid[i]);
    edid[127] = (u8)-sum;
}

/* Between the files of the VGA's INT 10h; 16-bit code. */
#ifndef BIOS_VIDEO_H
#define BIOS_VIDEO_H

#include "bios/service.h"

/* How a mode's memory is laid out. */
enum { LAYOUT_TEXT, LAYOUT_CGA, LAYOUT_PLANES, LAYOUT_LINEAR };

/* A mode and the registers that make it (IBM PS/2 hardware reference, "Video subsystem"). */
struct video_mode {
    u8 mode, layout, columns, rows, height; /* height: lines of a character */
    u16 page_bytes, segment;
    u8 misc, seq[4], crtc[25], attr_mode, gc[9];
};

/* The tables of a mode; NULL when there is none. */
const struct video_mode *video_mode_find(u8 mode);
/* The present one, by the BIOS data area. */
const struct video_mode *video_mode_now(void);
/* AH = 00h; bit 7 of `mode`: memory is left as it is. */
void video_set_mode(u8 mode);
void video_index(u16 port, u8 index, u8 value);
u8 video_index_read(u16 port, u8 index);
/* Entry `index` of the colour look-up table, of 6 bits each. */
void video_dac(u8 index, u8 red, u8 green, u8 blue);
void video_attribute(u8 index, u8 value);
u8 video_attribute_read(u8 index);
/* Copies a font of `height` lines into plane 2, from a far address. */
void video_load_font(u16 seg, u16 offset, u16 count, u16 first, u8 block, u8 height);
/* Text modes take fonts of another height: the CRTC and the data area follow. */
void video_set_height(u8 height);
void video_font_built_in(u8 height, u8 block);

/* ---- int10_text.c ---- */

void video_teletype(u8 c, u8 page, u8 colour);
void video_cursor_shape(u16 shape);
void video_set_cursor(u8 page, u16 at);
void video_set_page(u8 page);
/* AH = 05h-0Eh, 13h: false if it is none of these. */
bool video_text_service(frame_ptr f);

/* ---- int10_fonts.c: AH = 10h, 11h, 12h, 1Ah, 1Bh ---- */

bool video_palette_service(frame_ptr f);

/* ---- int10_vbe.c: AH = 4Fh ---- */

void vbe_service(frame_ptr f);
/* Ends a VBE mode, before a VGA mode is set. */
void vbe_off(void);
/* Whether the adapter has the DISPI registers. */
bool vbe_present(void);

extern const u8 vga_font_8[], vga_font_14[], vga_font_16[]; /* offsets in CODE_SEG */

#endif

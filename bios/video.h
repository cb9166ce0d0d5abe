/* Between the files of the VGA's INT 10h; 16-bit code. */
#ifndef BIOS_VIDEO_H
#define BIOS_VIDEO_H

#include "bios/service.h"

/* How a mode's memory is laid out. */
enum { LAYOUT_TEXT, LAYOUT_CGA, LAYOUT_PLANES, LAYOUT_LINEAR };

/* What the colour look-up table begins with. */
enum video_colours { COLOURS_CGA, COLOURS_EGA, COLOURS_MONO, COLOURS_256 };

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
/* AH = 00h; bit 7 of `mode`: memory is left as it is.  False if there is no such mode. */
bool video_set_mode(u8 mode);
void video_index(u16 port, u8 index, u8 value);
u8 video_index_read(u16 port, u8 index);
/* Entry `index` of the colour look-up table, of 6 bits each; its grey if that has been asked for.
 */
void video_dac(u8 index, u8 red, u8 green, u8 blue);

/* How bright a colour is: 30% of red, 59% of green, 11% of blue. */
static inline u8 video_grey(u8 red, u8 green, u8 blue)
{
    return (u8)((77 * red + 151 * green + 28 * blue + 128) >> 8);
}

void video_attribute(u8 index, u8 value);
u8 video_attribute_read(u8 index);
/* Copies a font of `height` lines into plane 2, from a far address. */
void video_load_font(u16 seg, u16 offset, u16 count, u16 first, u8 block, u8 height);
/* Text modes take fonts of another height: the CRTC and the data area follow. */
void video_set_height(u8 height);
void video_font_built_in(u8 height, u8 block);

/* ---- int10_text.c ---- */

void video_cursor_shape(u16 shape);
void video_set_cursor(u8 page, u16 at);
void video_set_page(u8 page);
/* AH = 01h-0Eh, 13h: false if it is none of these. */
bool video_text_service(frame_ptr f);

/* ---- int10_fonts.c: AH = 10h, 11h, 12h, 1Ah, 1Bh ---- */

bool video_palette_service(frame_ptr f);

/* ---- int10_state.c: AH = 1Ch, and VBE's 04h ---- */

/* What is kept (IBM's bits of CX; SVGA is VBE's). */
enum { STATE_HARDWARE = 1, STATE_DATA = 2, STATE_DAC = 4, STATE_SVGA = 8 };

/* How many blocks of 64 bytes that takes. */
u16 video_state_blocks(u16 what);
void video_state_save(u16 what, u16 seg, u16 offset);
void video_state_restore(u16 what, u16 seg, u16 offset);
void video_state_service(frame_ptr f);

/* ---- int10_vbe.c: AH = 4Fh ---- */

void vbe_service(frame_ptr f);
/* Whether a VBE mode is on. */
bool vbe_active(void);
/* Ends a VBE mode, before a VGA mode is set. */
void vbe_off(void);
/* Whether the adapter has the DISPI registers. */
bool vbe_present(void);
/* The DISPI registers that make a mode, as words; saved and put back. */
#define VBE_STATE_WORDS 10
void vbe_state(u16 words[VBE_STATE_WORDS]);
void vbe_state_set(const u16 words[VBE_STATE_WORDS]);

/* Offsets in FONT_SEG, in their lower half; and the font of that many lines as a far pointer. */
extern const u8 vga_font_8[], vga_font_14[], vga_font_16[];

static inline u32 video_font(u8 height)
{
    const u8 *font = height == 8 ? vga_font_8 : height == 14 ? vga_font_14 : vga_font_16;
    return (u32)FONT_SEG << 16 | (u16)(u32)font;
}

#endif

/* What programs of the IBM PC's days expect at fixed places in segment F000, instead of asking:
 * entries of services, the system configuration table, the 6845's parameters (INT 1Dh); the
 * lower half of the 8 by 8 font, at FA6E, is fonts.py's.
 *
 * IBM PC AT Technical Reference, BIOS listing, "compatibility" addresses.
 */
#include "bios/layout.h"

        .section .fixed.text16, "ax"
        .code16
.macro ENTRY_AT place, to
        .org    \place - FIXED_BASE
        jmp     \to
.endm

        ENTRY_AT 0xe05b, reset_entry
        ENTRY_AT 0xe2c3, int_ignore             /* NMI */
        ENTRY_AT 0xe3fe, int_13
        ENTRY_AT 0xe6f2, int_19

/* INT 15h AH = C0h points here (PS/2 BIOS reference): model FC, submodel 0, revision 1; features:
 * second 8259 (40h), RTC (20h), keyboard intercept through INT 15h AH = 4Fh (10h), EBDA (04h);
 * second byte: INT 16h AH = 09h (40h). */
        .org    0xe6f5 - FIXED_BASE
        .globl  config_table
config_table:
        .word   8
        .byte   0xfc, 0, 1
        .byte   0x74, 0x40, 0, 0, 0

        ENTRY_AT 0xe739, int_14
        ENTRY_AT 0xe82e, int_16
        ENTRY_AT 0xe987, int_09
        ENTRY_AT 0xec59, int_13
        .org    0xefc7 - FIXED_BASE             /* diskette parameters, of 1.44 MB */
        .byte   0xaf, 0x02, 0x25, 0x02, 18, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08
        ENTRY_AT 0xefd2, int_17
        ENTRY_AT 0xf065, int_10

/* The 6845 for 40 and 80 columns, graphics, and the monochrome adapter: its sixteen registers;
 * bytes of screen memory; then for modes 0 to 7 columns, and what the mode control register
 * gets. */
        .org    0xf0a4 - FIXED_BASE
        .globl  crtc_table
crtc_table:
        .byte   0x38, 0x28, 0x2d, 0x0a, 0x1f, 6, 0x19, 0x1c, 2, 7, 6, 7, 0, 0, 0, 0
        .byte   0x71, 0x50, 0x5a, 0x0a, 0x1f, 6, 0x19, 0x1c, 2, 7, 6, 7, 0, 0, 0, 0
        .byte   0x38, 0x28, 0x2d, 0x0a, 0x7f, 6, 0x64, 0x70, 2, 1, 6, 7, 0, 0, 0, 0
        .byte   0x61, 0x50, 0x52, 0x0f, 0x19, 6, 0x19, 0x19, 2, 0x0d, 0x0b, 0x0c, 0, 0, 0, 0
        .word   2048, 4096, 16384, 16384
        .byte   40, 40, 80, 80, 40, 40, 80, 80
        .byte   0x2c, 0x28, 0x2d, 0x29, 0x2a, 0x2e, 0x1e, 0x29

        ENTRY_AT 0xf841, int_12
        ENTRY_AT 0xf84d, int_11
        ENTRY_AT 0xf859, int_15

        .section .fixed_end.text16, "ax"
        jmp     int_1a                          /* FE6E, behind the font */
        .org    0xfea5 - 0xfe6e
        jmp     int_08
        .org    0xfef3 - 0xfe6e                 /* offsets of vectors 08h to 1Fh */
        .word   int_08, int_09, int_irq_low, int_irq_low, int_irq_low, int_irq_low, int_0e
        .word   int_irq_low, int_10, int_11, int_12, int_13, int_14, int_15, int_16, int_17
        .word   int_18, int_19, int_1a, int_ignore, int_ignore, crtc_table, 0xefc7, 0
        .org    0xff53 - 0xfe6e
        iretw
        jmp     int_05                          /* FF54 */

        .section .note.GNU-stack, "", @progbits

/* Where the firmware's parts lie; read by C, assembly and (through the C preprocessor) bios.ld.
 *
 * The image is 128 KiB.  Its end is mapped at 4 GiB, and it is copied to shadow RAM at E0000-FFFFF:
 *
 *     E0000-EBFFF  32-bit code and constants (POST, tables, boot), the VGA's fonts; write-protected
 *                  after POST
 *     EC000-EFFFF  DS and SS of the services: their data and constants, their stack; stays writable
 *     F0000-FFFFF  16-bit code; RSDP, SMBIOS and other tables; fixed places; the reset vector;
 *                  write-protected
 *
 * Writable data of the 32-bit part lies in low RAM, which is the boot loader's afterwards.
 */
#ifndef BIOS_LAYOUT_H
#define BIOS_LAYOUT_H

#define ROM_BASE 0xe0000
#define ROM_SIZE 0x20000
#define ROM_HIGH 0xfffe0000 /* the same bytes, below 4 GiB */

#define CODE_SEG 0xf000
#define CODE_BASE 0xf0000
#define CODE_HIGH 0xffff0000
#define FIXED_BASE 0xe000 /* in CODE_SEG: what programs expect at fixed places (fixed.S) */
#define FONT_SEG 0xe000
#define DATA_SEG 0xec00
#define DATA_BASE 0xec000
#define DATA_SIZE 0x4000

/* A service that comes from a foreign stack gets a slice of the services' stack, so that a handler
 * which it calls may switch stacks and call services again. */
#define STACK_SLICE 0x400
#define STACK_SLICES 7
#define STACK_TOP DATA_SIZE

#define POST_STACK 0x7c00
#define POST_BSS 0x60000

/* Vectors of our own: the display adapter's INT 10h, where the console is shown elsewhere too; and
 * POST's way into an option ROM, which calls the far address at 0:ROM_CALL_TARGET. */
#define VIDEO_INT 0x6d
#define ROM_CALL_INT 0x61 /* also for what waits for a key */
#define ROM_CALL_TARGET 0x4f0

#define EBDA_SEG 0x9fc0 /* 1 KiB below 640K */
#define EBDA_KB 1
#define EBDA_DISK_TABLES 0x3d /* 16 bytes for each of two disks */

/* Selectors of the firmware's GDT. */
#define SEL_CODE32 0x08
#define SEL_DATA32 0x10
#define SEL_CODE16 0x18
#define SEL_DATA16 0x20
#define SEL_BIG16 0x28 /* 16-bit data with a limit of 4 GiB */

/* CMOS registers, and their bit that keeps NMI off. */
#define CMOS_SHUTDOWN 0x0f
#define CMOS_NO_NMI 0x80

#endif

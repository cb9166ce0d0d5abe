/* Segments of the programs; see segments.c. */
#ifndef DRAGOMAN_TESTS_FUZZ_SEGMENTS_H
#define DRAGOMAN_TESTS_FUZZ_SEGMENTS_H

#include "fuzz.h"

enum ldt_number {
    LDT_CODE16, LDT_CODE16_TIGHT, LDT_CODE32, LDT_CODE32_PAGES, LDT_DATA16, LDT_DATA16_TIGHT,
    LDT_DATA32, LDT_READ_ONLY, LDT_DOWN16, LDT_DOWN32, LDT_WRAP, LDT_ABSENT, LDT_HOLE, LDT_PAGES,
    LDT_CODE_ABSENT, LDT_COUNT
};
#define LDT_SEL(i) ((u16)((i) << 3 | 7))

/* Linux's: 4 to 6 are the user's code (32), data and code (64); 8 is the TSS, 10 the LDT, 15 tells
 * the CPU's number, so that programs should keep away from it. */
enum { GDT_COUNT = 16, GDT_TSS = 8, GDT_LDT = 10, GDT_CPU = 15 };
enum { SEL_CODE32 = 0x23, SEL_FLAT = 0x2b, SEL_CODE64 = 0x33 };

/* Descriptors; those of the system (TSS, LDT) are 0. */
u64 segments_ldt(unsigned i);
u64 segments_gdt(unsigned i);
/* Gives the process the LDT.  False when the kernel has none or no 16-bit segments. */
bool segments_install(void);
u64 segments_base(u16 sel);
/* The D/B bit. */
bool segments_big(u16 sel);
/* 16, 32 or 64: how code in this segment is decoded. */
unsigned segments_code_mode(u16 sel);
/* What loading the selector leaves in the segment register, except for the spans. */
void segments_load(struct segment *s, u16 sel);

#endif

/* The segments that programs run with: a local descriptor table, the same natively (modify_ldt) and
 * in the guest, and a global one laid out as Linux's. */
#include "segments.h"

#include <asm/ldt.h>
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DATA = 0, DOWN = 1, CODE = 2 }; /* struct user_desc's contents */

static const struct ldt_entry {
    u32 base, limit;
    u8 contents;
    bool big, no_write_or_read, pages, absent;
} ldt[LDT_COUNT] = {
    [LDT_CODE16] = {CODE_AT, 0xffff, CODE, false, false, false, false},
    [LDT_CODE16_TIGHT] = {CODE_AT, CODE_SIZE - 0x11, CODE, false, true, false, false},
    [LDT_CODE32] = {CODE_AT, CODE_SIZE - 1, CODE, true, false, false, false},
    [LDT_CODE32_PAGES] = {CODE_AT - 0x10000, 0xff, CODE, true, true, true, false},
    [LDT_DATA16] = {DATA_AT, 0xffff, DATA, false, false, false, false},
    [LDT_DATA16_TIGHT] = {DATA_AT + 0x400, 0x2bf8, DATA, false, false, false, false},
    [LDT_DATA32] = {DATA_AT - 0x8000, 0xfffff, DATA, true, false, false, false},
    [LDT_READ_ONLY] = {DATA_AT - 0x10, 0xffff, DATA, false, true, false, false},
    [LDT_DOWN16] = {DATA_AT - 0x4000, 0x43ff, DOWN, false, false, false, false},
    [LDT_DOWN32] = {DATA_AT, 0x7ff, DOWN, true, false, false, false},
    [LDT_WRAP] = {DATA_AT + 0x80000000u, 0xfffff, DATA, true, false, true, false},
    [LDT_ABSENT] = {DATA_AT, 0xffff, DATA, false, false, false, true},
    [LDT_PAGES] = {DATA_AT + 0x10, 2, DATA, false, false, true, false},
    [LDT_CODE_ABSENT] = {CODE_AT, 0xffff, CODE, true, false, false, true},
};

/* SDM vol. 3A 3.4.5. */
static u64 descriptor(const struct ldt_entry *e)
{
    u64 type = 1 | (e->no_write_or_read ? 0 : 2) | (u64)e->contents << 2;
    return (e->limit & 0xffff) | (u64)(e->base & 0xffffff) << 16 | type << 40 | 1ull << 44 |
           3ull << 45 | (u64)!e->absent << 47 | (u64)(e->limit >> 16 & 15) << 48 |
           (u64)e->big << 54 | (u64)e->pages << 55 | (u64)(e->base >> 24) << 56;
}

u64 segments_ldt(unsigned i)
{
    return i == LDT_HOLE ? 0 : descriptor(&ldt[i]);
}

u64 segments_gdt(unsigned i)
{
    static const u64 gdt[GDT_COUNT] = {
        [1] = 0x00cf9b000000ffffull, [2] = 0x00af9b000000ffffull, [3] = 0x00cf93000000ffffull,
        [4] = 0x00cffb000000ffffull, [5] = 0x00cff3000000ffffull, [6] = 0x00affb000000ffffull,
    };
    return gdt[i];
}

bool segments_install(void)
{
    for (unsigned i = 0; i < LDT_COUNT; i++) {
        const struct ldt_entry *e = &ldt[i];
        struct user_desc d = {.entry_number = i, .base_addr = e->base, .limit = e->limit,
                              .seg_32bit = e->big, .contents = e->contents,
                              .read_exec_only = e->no_write_or_read, .limit_in_pages = e->pages,
                              .seg_not_present = e->absent};
        if (i != LDT_HOLE && syscall(SYS_modify_ldt, 0x11, &d, sizeof d) != 0) {
            printf("segments: the kernel refuses an LDT entry (%s): no 16-bit code, "
                   "flat segments only\n", strerror(errno));
            return false;
        }
    }
    return true;
}

static u64 find(u16 sel)
{
    unsigned i = sel >> 3;
    return sel & 4 ? i < LDT_COUNT ? segments_ldt(i) : 0 : i < GDT_COUNT ? segments_gdt(i) : 0;
}

u64 segments_base(u16 sel)
{
    u64 d = find(sel);
    return (d >> 16 & 0xffffff) | (d >> 56) << 24;
}

bool segments_big(u16 sel)
{
    return find(sel) >> 54 & 1;
}

unsigned segments_code_mode(u16 sel)
{
    u64 d = find(sel);
    return d >> 53 & 1 ? 64 : d >> 54 & 1 ? 32 : 16;
}

void segments_load(struct segment *s, u16 sel)
{
    u64 d = find(sel);
    *s = (struct segment){.selector = sel};
    if (sel < 4)
        return;
    s->base = segments_base(sel);
    s->limit = (u32)((d & 0xffff) | (d >> 32 & 0xf0000));
    s->attr = (u16)(d >> 40 & 0xf0ff);
    if (s->attr & SEG_G)
        s->limit = s->limit << 12 | 0xfff;
}

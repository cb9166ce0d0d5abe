/* Support of 64-bit guest tests; see long.h. */
#include "tests/guest/lib/long.h"

u64 gdt[GDT_ENTRIES] __attribute__((aligned(16))) = {
    0,
    0x00af9b000000ffff, /* 08 code, 64 bits, ring 0 */
    0x00cf93000000ffff, /* 10 data, ring 0 */
    0x00cffb000000ffff, /* 18 code, 32 bits, ring 3 */
    0x00cff3000000ffff, /* 20 data, ring 3 */
    0x00affb000000ffff, /* 28 code, 64 bits, ring 3 */
    0x00cf9b000000ffff, /* 30 code, 32 bits, ring 0 */
};
struct desc_pointer {
    u16 limit;
    u64 base;
} __attribute__((packed));
struct desc_pointer gdt_pointer = {sizeof gdt - 1, (u64)gdt};
u64 idt[512] __attribute__((aligned(4096)));
struct tss64 tss __attribute__((aligned(4096)));
trap_handler *handlers[256];
volatile u32 trap_counts[256];

static u8 trap_stack[16384] __attribute__((aligned(4096)));
static u8 ist_stack[16384] __attribute__((aligned(16)));
static u8 snippet_stack[16384] __attribute__((aligned(16)));
static struct regs *current;
static u8 pool[6u << 20] __attribute__((aligned(2u << 20)));
static u32 pool_used, pool_top = sizeof pool;

void enter_asm(struct regs *r);

void set_gate(unsigned vector, const void *entry, unsigned type, unsigned dpl, unsigned ist)
{
    u64 a = (u64)entry;
    idt[vector * 2] = (a & 0xffff) | SEL_CODE << 16 | (u64)ist << 32 |
                      (u64)(0x80 | dpl << 5 | type) << 40 | (a >> 16 & 0xffff) << 48;
    idt[vector * 2 + 1] = a >> 32;
}

void reset_gate(unsigned vector)
{
    set_gate(vector, trap_stubs + vector * 16, 0xe, vector == STOP ? 3 : 0, vector == DF);
}

void load_idt(const void *base, u16 limit)
{
    struct desc_pointer p = {limit, (u64)base};
    __asm__ volatile("lidt %0" : : "m"(p));
}

void load_gdt(u16 limit)
{
    struct desc_pointer p = {limit, (u64)gdt};
    __asm__ volatile("lgdt %0" : : "m"(p));
}

void long_init(void)
{
    u64 base = (u64)&tss;
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    for (unsigned i = 0; i < 256; i++)
        reset_gate(i);
    load_idt(idt, sizeof idt - 1);
    tss.rsp[0] = (u64)(trap_stack + sizeof trap_stack);
    tss.ist[1] = (u64)(ist_stack + sizeof ist_stack);
    tss.io_base = sizeof tss;
    gdt[SEL_TSS / 8] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
                       (base >> 24 & 0xff) << 56;
    gdt[SEL_TSS / 8 + 1] = base >> 32;
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

/* Called by start64.S with the pushed registers; true: leave enter(). */
u32 trap_c(u64 *pushed)
{
    struct regs f;
    memcpy(&f, pushed, 128);
    f.vector = pushed[16];
    f.error = pushed[17];
    f.rip = pushed[18];
    f.cs = pushed[19];
    f.flags = pushed[20];
    f.rsp = pushed[21];
    f.ss = pushed[22];
    f.frame = (u64)(pushed + 18);
    f.cr2 = read_cr2();
    f.nested = 0;
    trap_counts[f.vector]++;
    if (handlers[f.vector] && !handlers[f.vector](&f)) {
        memcpy(pushed, &f, 128);
        pushed[18] = f.rip;
        pushed[20] = f.flags;
        return 0;
    }
    if (!current) {
        say("unexpected trap: vector %x error %llx rip %llx cr2 %llx\n", (u32)f.vector,
            (unsigned long long)f.error, (unsigned long long)f.rip, (unsigned long long)f.cr2);
        check("no unexpected trap", false);
        finish();
    }
    *current = f;
    current = NULL;
    return 1;
}

static struct regs at(u64 code, u64 cs, u64 ss, u64 rsp)
{
    struct regs r;
    memset(&r, 0, sizeof r);
    r.rip = code;
    r.cs = cs;
    r.ss = ss;
    r.rsp = rsp;
    r.flags = FL_ONE;
    return r;
}

struct regs kernel_at(const void *code)
{
    return at((u64)code, SEL_CODE, SEL_DATA, (u64)(snippet_stack + sizeof snippet_stack));
}

struct regs user_at(const void *code)
{
    return at(AS_USER(code), SEL_USER, SEL_USER_DATA,
              AS_USER(snippet_stack + sizeof snippet_stack));
}

void enter(struct regs *r)
{
    current = r;
    enter_asm(r);
}

void expect_pf(const char *name, const struct regs *r, u64 error, const void *rip, u64 cr2)
{
    bool good = r->vector == PF && r->error == error && r->rip == (u64)rip && r->cr2 == cr2;
    if (!check_quiet(name, good))
        say(": vector %x error %llx rip %llx cr2 %llx; expected #PF %llx at %llx cr2 %llx\n",
            (u32)r->vector, (unsigned long long)r->error, (unsigned long long)r->rip,
            (unsigned long long)r->cr2, (unsigned long long)error,
            (unsigned long long)(u64)rip, (unsigned long long)cr2);
}

void expect(const char *name, const struct regs *r, unsigned vector, u64 error, const void *rip)
{
    bool good = r->vector == vector && r->error == error && r->rip == (u64)rip;
    if (!check_quiet(name, good))
        say(": vector %x error %llx rip %llx; expected %x error %llx at %llx\n", (u32)r->vector,
            (unsigned long long)r->error, (unsigned long long)r->rip, vector,
            (unsigned long long)error, (unsigned long long)(u64)rip);
}

u8 *page_alloc(unsigned bytes)
{
    if (bytes >= 2u << 20) {
        pool_top -= 2u << 20;
        return pool + pool_top;
    }
    pool_used = (pool_used + bytes - 1) & ~(bytes - 1);
    pool_used += bytes;
    return pool + pool_used - bytes;
}

u64 *pt_entry(u64 va, unsigned level)
{
    u64 *table = (u64 *)(read_cr3() & PT_ADDR);
    for (unsigned l = 4;; l--) {
        u64 *entry = &table[va >> (3 + 9 * l) & 511];
        if (l == level)
            return entry;
        if (!(*entry & PT_ADDR))
            *entry = (u64)page_alloc(4096) | PT_P | PT_W | PT_U;
        table = (u64 *)(*entry & PT_ADDR);
    }
}

void pt_map(u64 va, unsigned level, u64 entry)
{
    *pt_entry(va, level) = entry;
    invlpg((void *)va);
}

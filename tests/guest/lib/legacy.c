/* Support of 32-bit guest tests; see legacy.h. */
#include "tests/guest/lib/legacy.h"

u64 gdt[GDT_ENTRIES] __attribute__((aligned(16))) = {
    0,
    0x00cf9b000000ffff, /* 08 code, ring 0 */
    0x00cf93000000ffff, /* 10 data, ring 0 */
    0x00cffb000000ffff, /* 18 code, ring 3 */
    0x00cff3000000ffff, /* 20 data, ring 3 */
    0, /* 28 TSS */
    0x00009b000000ffff, /* 30 code, 16 bits, 64 KiB: the way to real mode */
    0x000093000000ffff, /* 38 data, 64 KiB */
    0, /* 40 TSS of double faults */
};
struct desc_pointer {
    u16 limit;
    u32 base;
} __attribute__((packed));
struct desc_pointer gdt_pointer = {sizeof gdt - 1, (u32)gdt};
u64 idt[256] __attribute__((aligned(16)));
struct tss32 tss, tss_df;
struct regs enter_regs;
trap_handler *handlers[256];
volatile u32 trap_counts[256];

static u8 trap_stack[16384] __attribute__((aligned(16)));
static u8 df_stack[8192] __attribute__((aligned(16)));
static u8 snippet_stack[16384] __attribute__((aligned(16)));
static struct regs *current;

void enter_asm(void);

u64 descriptor(u32 base, u32 limit, u32 access, u32 flags)
{
    return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 |
           (u64)(limit >> 16 & 0xf) << 48 | (u64)flags << 52 | (u64)(base >> 24) << 56;
}

void set_descriptor(u32 selector, u64 d)
{
    gdt[selector / 8] = d;
}

void set_gate(unsigned vector, u32 entry, unsigned type, unsigned dpl)
{
    u32 sel = type == 5 ? entry : SEL_CODE, offset = type == 5 ? 0 : entry;
    idt[vector] = (offset & 0xffff) | sel << 16 | (u64)(0x80 | dpl << 5 | type) << 40 |
                  (u64)(offset >> 16) << 48;
}

void reset_gate(unsigned vector)
{
    set_gate(vector, (u32)trap_stubs + vector * 16, 0xe,
             vector == STOP || vector == BP || vector == OF ? 3 : 0);
}

void legacy_init(void)
{
    struct desc_pointer p = {sizeof idt - 1, (u32)idt};
    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    for (unsigned i = 0; i < 256; i++)
        reset_gate(i);
    __asm__ volatile("lidt %0" : : "m"(p));
    tss.esp0 = (u32)(trap_stack + sizeof trap_stack);
    tss.ss0 = SEL_DATA;
    tss.io_base = sizeof tss;
    set_descriptor(SEL_TSS, descriptor((u32)&tss, sizeof tss - 1, 0x89, 0));
    tss_df = tss;
    tss_df.esp = (u32)(df_stack + sizeof df_stack);
    tss_df.cs = SEL_CODE;
    tss_df.ss = tss_df.ds = tss_df.es = tss_df.fs = tss_df.gs = SEL_DATA;
    tss_df.flags = FL_ONE;
    set_descriptor(SEL_TSS_DF, descriptor((u32)&tss_df, sizeof tss_df - 1, 0x89, 0));
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
    write_cr0(read_cr0() | CR0_NE | CR0_WP);
}

/* gs fs es ds, PUSHA, vector, error, eip cs flags [esp ss [es ds fs gs]] */
u32 trap_c(u32 *p)
{
    struct regs f = {
        .gs = p[0] & 0xffff, .fs = p[1] & 0xffff, .es = p[2] & 0xffff, .ds = p[3] & 0xffff,
        .edi = p[4], .esi = p[5], .ebp = p[6], .ebx = p[8], .edx = p[9], .ecx = p[10],
        .eax = p[11], .vector = p[12], .error = p[13], .eip = p[14], .cs = p[15] & 0xffff,
        .flags = p[16], .frame = (u32)(p + 14), .cr2 = read_cr2(),
    };
    bool vm = f.flags & FL_VM;
    if ((f.cs & 3) || vm) {
        f.esp = p[17];
        f.ss = p[18] & 0xffff;
    } else {
        f.esp = (u32)(p + 17);
        f.ss = SEL_DATA;
    }
    if (vm) {
        f.es = p[19] & 0xffff;
        f.ds = p[20] & 0xffff;
        f.fs = p[21] & 0xffff;
        f.gs = p[22] & 0xffff;
    }
    trap_counts[f.vector]++;
    if (handlers[f.vector] && !handlers[f.vector](&f))
        return 0;
    if (!current) {
        say("unexpected trap: vector %x error %x eip %x cr2 %x\n", f.vector, f.error, f.eip, f.cr2);
        check("no unexpected trap", false);
        finish();
    }
    *current = f;
    current = NULL;
    return 1;
}

static struct regs at(const void *code, u32 cs, u32 data)
{
    return (struct regs){
        .eip = (u32)code, .flags = FL_ONE, .cs = cs, .ss = data, .ds = data, .es = data,
        .fs = data, .gs = data, .esp = (u32)(snippet_stack + sizeof snippet_stack),
    };
}

struct regs kernel_at(const void *code)
{
    return at(code, SEL_CODE, SEL_DATA);
}

struct regs user_at(const void *code)
{
    return at(code, SEL_USER, SEL_USER_DATA);
}

void enter(struct regs *r)
{
    current = r;
    enter_regs = *r;
    enter_asm();
}

void expect(const char *name, const struct regs *r, unsigned vector, u32 error, const void *eip)
{
    bool good = r->vector == vector && r->error == error && r->eip == (u32)eip;
    if (!check_quiet(name, good))
        say(": vector %x error %x eip %x; expected %x error %x at %x\n", r->vector, r->error,
            r->eip, vector, error, (u32)eip);
}

void expect_pf(const char *name, const struct regs *r, u32 error, const void *eip, u32 cr2)
{
    bool good = r->vector == PF && r->error == error && r->eip == (u32)eip && r->cr2 == cr2;
    if (!check_quiet(name, good))
        say(": vector %x error %x eip %x cr2 %x; expected #PF %x at %x cr2 %x\n", r->vector,
            r->error, r->eip, r->cr2, error, (u32)eip, cr2);
}

/* System management mode from 64-bit code: the save map and RSM with all of long mode's state.
 *
 * AMD APM vol. 2 table 10-1, SDM vol. 3C chapter 34.  What does not depend on the mode is in smm32.c.
 */
#include "tests/guest/lib/long.h"
#include "tests/guest/lib/smi.h"

CODE(raise, "out %al, $0xb2");
CODE(raise_and_load, "out %al, $0xb2\n mov (%rdi), %rax");

enum { MSR_GS_BASE = 0xc0000101, MSR_FS_BASE = 0xc0000100 };

static struct regs pattern(struct regs r)
{
    r.rax = 0x1111111111111199;
    r.rcx = 0x2222222222222222;
    r.rdx = 0x3333333333333333;
    r.rbx = 0x4444444444444444;
    r.rbp = 0x5555555555555555;
    r.rsi = 0x6666666666666666;
    r.rdi = 0x7777777777777777;
    r.r8 = 0x8888888888888888;
    r.r9 = 0x9999999999999999;
    r.r10 = 0xaaaaaaaaaaaaaaaa;
    r.r11 = 0xbbbbbbbbbbbbbbbb;
    r.r12 = 0xcccccccccccccccc;
    r.r13 = 0xdddddddddddddddd;
    r.r14 = 0xeeeeeeeeeeeeeeee;
    r.r15 = 0xf0f0f0f0f0f0f0f0;
    r.flags = FL_ONE | FL_CF | FL_ZF;
    return r;
}

static void one(struct regs r, u64 end, unsigned cpl)
{
    struct regs before = r;
    const u64 *regs = &before.rax;
    u32 count = SMI_MAILBOX->count;
    enter(&r);
    check_eq("one SMI", SMI_MAILBOX->count, count + 1);
    expect("RSM returns behind the OUT", &r, STOP, 0, (void *)(end + 2));
    check("RSM restores the registers", !memcmp(&r.rax, &before.rax, 16 * 8));
    check("RSM restores RFLAGS, CS, SS", r.flags == before.flags && r.cs == before.cs &&
                                             r.ss == before.ss);
    check_eq("revision", smi_map(0xfefc, 4) & 0xffff, 0x64);
    check_eq("saved RIP", smi_map(0xff78, 8), end);
    check_eq("saved RFLAGS", smi_map(0xff70, 8), before.flags);
    check_eq("saved EFER", smi_map(0xfed0, 8), rdmsr(EFER));
    check_eq("saved CR0", smi_map(0xff58, 8), read_cr0());
    check_eq("saved CR3", smi_map(0xff50, 8), read_cr3());
    check_eq("saved CR4", smi_map(0xff48, 8), read_cr4());
    check_eq("saved CS", smi_map(0xfe10, 2), before.cs);
    check_eq("saved CS.L and DPL", smi_map(0xfe12, 2) & 0x260, 0x200 | cpl << 5);
    check_eq("saved FS base", smi_map(0xfe48, 8), 0x123456789abc);
    check_eq("saved GS base", smi_map(0xfe58, 8), 0xffff876543210000);
    check_eq("saved TR", smi_map(0xfe90, 2), SEL_TSS);
    check_eq("saved TR base", smi_map(0xfe98, 8), (u64)&tss);
    check_eq("saved IDTR base", smi_map(0xfe88, 8), (u64)idt);
    check_eq("saved IDTR limit", smi_map(0xfe84, 2), sizeof idt - 1);
    check_eq("saved GDTR base", smi_map(0xfe68, 8), (u64)gdt);
    for (unsigned i = 0; i < 16; i++)
        check_eq("saved registers", smi_map(0xfff8 - i * 8, 8), regs[i]);
    check_eq("FS base", rdmsr(MSR_FS_BASE), 0x123456789abc);
    check_eq("GS base", rdmsr(MSR_GS_BASE), 0xffff876543210000);
    check_eq("EFER", rdmsr(EFER), smi_map(0xfed0, 8));
}

/* An SMI changes no translation: what SMM has cached of memory without paging must not show. */
static void translations(void)
{
    u64 area = 0x8000000000;
    u8 *page = page_alloc(4096);
    pt_map(area, 1, (u64)page | PT_P | PT_W);
    *(u64 *)page = 0x0123456789abcdef;
    SMI_MAILBOX->load = 0x6000;
    struct regs r = kernel_at(raise_and_load);
    r.rdi = area;
    enter(&r);
    check_eq("paging after RSM", r.rax, 0x0123456789abcdef);
    /* The handler's own address is a page like others outside SMM. */
    u8 *mine = page_alloc(4096);
    u64 *big = pt_entry(0x6000, 2), old = *big;
    u64 *table = (u64 *)page_alloc(4096);
    for (u64 i = 0; i < 512; i++)
        table[i] = i << 12 | PT_P | PT_W;
    table[6] = (u64)mine | PT_P | PT_W;
    *(u32 *)0x6000 = 0xaaaa;
    *(u32 *)mine = 0xbbbb;
    *big = (u64)table | PT_P | PT_W;
    flush_all();
    check_eq("paging before an SMI", *(volatile u32 *)0x6000, 0xbbbb);
    smi();
    check_eq("no paging in SMM", SMI_MAILBOX->loaded, 0xaaaa);
    check_eq("paging after an SMI", *(volatile u32 *)0x6000, 0xbbbb);
    *big = old;
    flush_all();
}

void test_main(void)
{
    smi_setup();
    wrmsr(MSR_FS_BASE, 0x123456789abc);
    wrmsr(MSR_GS_BASE, 0xffff876543210000);
    check_group = "ring 0/";
    one(pattern(kernel_at(raise)), (u64)raise_end, 0);
    /* Ring 3 may write to the port: all ports are free in the map. */
    tss.io_base = (u16)((u64)tss.io - (u64)&tss);
    check_group = "ring 3/";
    struct regs r = pattern(user_at(raise));
    one(r, AS_USER(raise_end), 3);
    check_group = "";
    translations();
}

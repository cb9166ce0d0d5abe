/* Virtual-8086 mode: what IOPL allows, the virtual interrupt flag (CR4.VME) and its redirection map,
 * ring 3's virtual interrupt flag (CR4.PVI), the I/O permission map.
 *
 * SDM vol. 3B chapter 20; vol. 1 19.5 for ports; vol. 2 for each instruction.
 */
#include "tests/guest/lib/legacy.h"

#define FL_VIF (1u << 19)
#define FL_VIP (1u << 20)
#define CR4_PVI (1u << 1)
#define SEL_BIG SEL_FREE
#define ENDED(code) (code##_end + 2)
#define CODE_AT 0x60100u
#define HANDLER_AT 0x60180u

/* A TSS with all of its maps, the processor's while this test runs. */
static struct {
    struct tss32 t;
    u8 redirect[32], io[8192], last;
} __attribute__((packed)) big __attribute__((aligned(16)));

static void use_tss(u32 limit)
{
    set_descriptor(SEL_BIG, descriptor((u32)&big, limit, 0x89, 0));
    __asm__ volatile("ltr %w0" : : "r"(SEL_BIG));
}

static void prepare(void)
{
    big.t = tss;
    big.t.io_base = (u16)((u32)big.io - (u32)&big);
    memset(big.redirect, 0xff, sizeof big.redirect);
    memset(big.io, 0xff, sizeof big.io);
    big.last = 0xff;
    use_tss(sizeof big - 1);
    set_gate(0x21, (u32)trap_stubs + 0x21 * 16, 0xe, 3);
}

/* Runs bytes in virtual-8086 mode; INT3 after them ends what does not fault. */
static struct regs v86(const char *code, u32 n, u32 flags)
{
    memcpy((void *)CODE_AT, code, n);
    *(u8 *)(CODE_AT + n) = 0xcc;
    struct regs r = {.cs = 0x6000, .eip = 0x100, .flags = FL_ONE | FL_VM | flags, .ss = 0x7000,
                     .esp = 0x1000, .ds = 0x6000, .es = 0x6100, .fs = 0x6200, .gs = 0x6300};
    r.eax = 0x1234;
    enter(&r);
    return r;
}

static u16 stack_word(unsigned offset)
{
    return *(volatile u16 *)(0x70000 + offset);
}

#define V86(code, flags) v86(code, sizeof(code) - 1, flags)
#define IOPL(n) ((u32)(n) << 12)

static void fine(const char *name, const struct regs *r, u32 bytes)
{
    if (!check_quiet(name, r->vector == BP && r->eip == 0x101 + bytes))
        say(": vector %x error %x eip %x\n", r->vector, r->error, r->eip);
}

static void fault(const char *name, const struct regs *r, unsigned vector)
{
    if (!check_quiet(name, r->vector == vector && r->error == 0 && r->eip == 0x100))
        say(": vector %x error %x eip %x, expected %x\n", r->vector, r->error, r->eip, vector);
}

/* ---- IOPL-sensitive instructions (20.2.7) ---- */

struct sensitive {
    const char *name, *code;
    u32 bytes;
};

static const struct sensitive by_iopl[] = {
    {"CLI", "\xfa", 1},       {"STI", "\xfb", 1},
    {"PUSHF", "\x9c", 1},     {"PUSHFD", "\x66\x9c", 2},
    {"POPF", "\x9d", 1},      {"POPFD", "\x66\x9d", 2},
    {"INT 21", "\xcd\x21", 2}, {"IRET", "\xcf", 1},
    {"IRETD", "\x66\xcf", 2},
};

static void iopl(void)
{
    for (unsigned level = 0; level < 3; level++)
        for (unsigned i = 0; i < ARRAY_SIZE(by_iopl); i++) {
            struct regs r = v86(by_iopl[i].code, by_iopl[i].bytes, IOPL(level) | FL_IF);
            fault(by_iopl[i].name, &r, GP);
            check("IF is left alone", r.flags & FL_IF);
        }
    struct regs r = V86("\xfa", IOPL(3) | FL_IF);
    fine("CLI, IOPL 3", &r, 1);
    check_eq("clears IF", r.flags & FL_IF, 0);
    r = V86("\xfa\xfb", IOPL(3));
    fine("STI, IOPL 3", &r, 2);
    check_eq("sets IF", r.flags & FL_IF, FL_IF);
    r = V86("\x9c", IOPL(3) | FL_IF | FL_CF);
    fine("PUSHF, IOPL 3", &r, 1);
    check_eq("its image", stack_word(0xffe), IOPL(3) | FL_IF | FL_CF | FL_ONE);
    r = V86("\x66\x9c", IOPL(3) | FL_AC);
    fine("PUSHFD, IOPL 3", &r, 2);
    check("VM and RF are pushed as 0", *(u32 *)0x70ffc == (IOPL(3) | FL_AC | FL_ONE));
    r = V86("\x68\xd7\x02\x9d", IOPL(3)); /* push 2d7 */
    fine("POPF, IOPL 3", &r, 4);
    check_eq("IOPL is kept", r.flags & 0x7fff, IOPL(3) | 0x2d7);
    r = V86("\x66\x68\x02\x00\x3b\x00\x66\x9d", IOPL(3)); /* VIP, VIF, VM, RF: not changed */
    fine("POPFD, IOPL 3", &r, 8);
    check_eq("what it may change", r.flags & ~FL_ID & ~FL_RF, IOPL(3) | FL_ONE | FL_VM);
    r = V86("\xcd\x21", IOPL(3));
    expect("INT n, IOPL 3, through the IDT", &r, 0x21, 0, (void *)0x102);
    r = V86("\x68\x02\x42\x0e\x68\x10\x01\xcf", IOPL(3)); /* push 4202; push cs; push 110; iret */
    memcpy((void *)(CODE_AT + 0x10), "\xcc", 1);
    r = V86("\x68\x02\x42\x0e\x68\x10\x01\xcf", IOPL(3));
    check("IRET, IOPL 3", r.vector == BP && r.eip == 0x111 && r.cs == 0x6000);
    check_eq("its flags", r.flags & 0xffff, FL_NT | IOPL(3) | FL_IF | FL_ONE);
    for (unsigned level = 0; level < 4; level += 3) {
        r = V86("\xcc", IOPL(level));
        check("INT3 at any IOPL", r.vector == BP && r.eip == 0x101);
        r = V86("\xb8\xff\x7f\x40\xce", IOPL(level));
        check("INTO at any IOPL", r.vector == OF && r.eip == 0x105);
        r = V86("\xf1", IOPL(level));
        check("INT1 at any IOPL", r.vector == DB && r.eip == 0x101);
    }
}

/* ---- what ring 0 alone may do, and what does not exist here (20.2.8) ---- */

static const struct {
    struct sensitive s;
    unsigned vector;
    u32 need; /* of CPUID.1:EDX: #UD without it */
} others[] = {
    {{"HLT", "\xf4", 1}, GP, 0},
    {{"LGDT", "\x0f\x01\x16\x00\x02", 5}, GP, 0},
    {{"LIDT", "\x0f\x01\x1e\x00\x02", 5}, GP, 0},
    {{"LMSW", "\x0f\x01\xf0", 3}, GP, 0},
    {{"CLTS", "\x0f\x06", 2}, GP, 0},
    {{"INVD", "\x0f\x08", 2}, GP, 0},
    {{"WBINVD", "\x0f\x09", 2}, GP, 0},
    {{"INVLPG", "\x0f\x01\x3e\x00\x02", 5}, GP, 0},
    {{"MOV to CR0", "\x0f\x22\xc0", 3}, GP, 0},
    {{"MOV from CR3", "\x0f\x20\xd8", 3}, GP, 0},
    {{"MOV to DR0", "\x0f\x23\xc0", 3}, GP, 0},
    {{"MOV from DR7", "\x0f\x21\xf8", 3}, GP, 0},
    {{"RDMSR", "\x0f\x32", 2}, GP, 1u << 5},
    {{"WRMSR", "\x0f\x30", 2}, GP, 1u << 5},
    {{"SLDT", "\x0f\x00\xc0", 3}, UD, 0},
    {{"STR", "\x0f\x00\xc8", 3}, UD, 0},
    {{"LLDT", "\x0f\x00\xd0", 3}, UD, 0},
    {{"LTR", "\x0f\x00\xd8", 3}, UD, 0},
    {{"VERR", "\x0f\x00\xe0", 3}, UD, 0},
    {{"VERW", "\x0f\x00\xe8", 3}, UD, 0},
    {{"LAR", "\x0f\x02\xc0", 3}, UD, 0},
    {{"LSL", "\x0f\x03\xc0", 3}, UD, 0},
    {{"ARPL", "\x63\xc0", 2}, UD, 0},
    {{"SYSEXIT", "\x0f\x35", 2}, GP, 1u << 11},
};

static void privileged(void)
{
    u32 id[4];
    cpuid(1, id);
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        struct regs r = v86(others[i].s.code, others[i].s.bytes, IOPL(3));
        bool there = (id[3] & others[i].need) == others[i].need;
        fault(others[i].s.name, &r, there ? others[i].vector : UD);
    }
    struct regs r = V86("\x0f\x01\xe0", 0);
    fine("SMSW", &r, 3);
    check_eq("SMSW shows PE", r.eax & 1, 1);
    r = V86("\x0f\x01\x06\x00\x02", 0);
    fine("SGDT", &r, 5);
    r = V86("\x0f\x01\x0e\x00\x02", 0);
    fine("SIDT", &r, 5);
    /* An interrupt's handler must be in ring 0 (vol. 2A INT). */
    set_descriptor(SEL_FREE + 8, descriptor(0, 0xfffff, 0xff, 0xc)); /* conforming, DPL 3 */
    idt[0x30] = (idt[STOP] & ~0xffff0000ull) | (SEL_FREE + 8) << 16;
    r = V86("\xcd\x30", IOPL(3));
    if (!check_quiet("handler that is not ring 0's", r.vector == GP && r.error == SEL_FREE + 8))
        say(": vector %x error %x\n", r.vector, r.error);
    reset_gate(0x30);
}

/* ---- segments ---- */

static void segments(void)
{
    struct regs r = V86("\xa0\xff\xff", 0);
    fine("byte at FFFF", &r, 3);
    r = V86("\xa1\xff\xff", 0);
    fault("word at FFFF", &r, GP);
    r = V86("\x66\xa3\xfd\xff", 0);
    fault("dword at FFFD", &r, GP);
    r = V86("\x36\xa1\xff\xff", 0);
    fault("word at SS:FFFF", &r, SS);
    r = V86("\x67\xa0\x00\x00\x01\x00", 0);
    fault("offset 10000", &r, GP);
    r = V86("\xb8\x34\x12\x8e\xc0\x8c\xc1", 0);
    fine("any selector loads", &r, 7);
    check("and reads back", r.es == 0x1234 && (u16)r.ecx == 0x1234);
    r = V86("\xbc\x01\x00\x50", 0);
    check("PUSH with SP 1", r.vector == SS && r.error == 0 && r.eip == 0x103);
    r = V86("\x66\xe9\x00\x00\x01\x00", 0);
    check("jump beyond 64 KiB", r.vector == GP && r.error == 0);
}

/* ---- CR4.VME ---- */

static void set_redirect(unsigned vector, bool to_idt)
{
    u8 bit = (u8)(1u << (vector & 7));
    big.redirect[vector / 8] = (u8)((big.redirect[vector / 8] & ~bit) | (to_idt ? bit : 0));
}

static void virtual_flags(void)
{
    struct regs r = V86("\xfa", FL_IF | FL_VIF);
    fine("VME: CLI", &r, 1);
    check_eq("VME: CLI clears VIF, not IF", r.flags & (FL_IF | FL_VIF), FL_IF);
    r = V86("\xfb", 0);
    fine("VME: STI", &r, 1);
    check_eq("VME: STI sets VIF, not IF", r.flags & (FL_IF | FL_VIF), FL_VIF);
    r = V86("\xfb", FL_VIP);
    fault("VME: STI with VIP", &r, GP);
    check_eq("VME: VIF stays clear", r.flags & FL_VIF, 0);
    r = V86("\xfa", FL_VIP);
    fine("VME: CLI with VIP", &r, 1);
    r = V86("\x9c", FL_VIF | FL_CF);
    fine("VME: PUSHF", &r, 1);
    check_eq("VME: IF is VIF, IOPL 3", stack_word(0xffe), IOPL(3) | FL_IF | FL_CF | FL_ONE);
    r = V86("\x9c", FL_IF);
    check_eq("VME: IF itself is not pushed", stack_word(0xffe), IOPL(3) | FL_ONE);
    r = V86("\x66\x9c", 0);
    fault("VME: PUSHFD", &r, GP);
    r = V86("\x68\x07\x42\x9d", 0); /* push 4207: NT, IF, PF, CF */
    fine("VME: POPF", &r, 4);
    check_eq("VME: POPF sets VIF", r.flags & (FL_VIF | FL_IF | FL_NT | FL_CF | FL_PF),
             FL_VIF | FL_NT | FL_CF | FL_PF);
    check_eq("VME: POPF keeps IOPL", r.flags & FL_IOPL, 0);
    r = V86("\x6a\x02\x9d", FL_IF | FL_VIF | IOPL(1));
    check_eq("VME: POPF clears VIF", r.flags & (FL_VIF | FL_IF | FL_IOPL), FL_IF | IOPL(1));
    r = V86("\x68\x02\x02\x9d", FL_VIP);
    check("VME: POPF of IF with VIP", r.vector == GP && r.error == 0 && r.eip == 0x103);
    check_eq("VME: its SP", r.esp & 0xffff, 0xffe);
    r = V86("\x68\x02\x01\x9d", 0);
    check("VME: POPF of TF", r.vector == GP && r.error == 0 && r.eip == 0x103);
    r = V86("\x66\x9d", 0);
    fault("VME: POPFD", &r, GP);
    memcpy((void *)(CODE_AT + 0x10), "\xcc", 1);
    r = V86("\x68\x02\x02\x0e\x68\x10\x01\xcf", IOPL(2));
    check("VME: IRET", r.vector == BP && r.eip == 0x111);
    check_eq("VME: IRET sets VIF", r.flags & (FL_VIF | FL_IF | FL_IOPL), FL_VIF | IOPL(2));
    r = V86("\x68\x02\x02\x0e\x68\x10\x01\xcf", FL_VIP);
    check("VME: IRET of IF with VIP", r.vector == GP && r.error == 0 && r.eip == 0x107);
    r = V86("\x66\xcf", 0);
    fault("VME: IRETD", &r, GP);
    r = V86("\xfa", IOPL(3) | FL_IF | FL_VIF);
    check_eq("VME: with IOPL 3 CLI is CLI", r.flags & (FL_IF | FL_VIF), FL_VIF);
    r = V86("\x90", FL_VIF | FL_VIP);
    fault("VME: VIF and VIP together", &r, GP);
}

static void redirection(void)
{
    volatile u32 *ivt = NULL;
    __asm__("" : "+r"(ivt)); /* the compiler is not to know that this is address 0 */
    u32 saved = ivt[0x21];
    ivt[0x21] = 0x6000u << 16 | (HANDLER_AT - 0x60000);
    *(u8 *)HANDLER_AT = 0xcc;
    set_redirect(0x21, false);
    struct regs r = V86("\xcd\x21", FL_VIF | FL_IF | FL_CF);
    check("VME: INT n to the 8086 program", r.vector == BP && r.eip == HANDLER_AT - 0x60000 + 1 &&
                                                r.cs == 0x6000 && (r.flags & FL_VM));
    check("VME: its frame", (r.esp & 0xffff) == 0xffa && stack_word(0xffa) == 0x102 &&
                                stack_word(0xffc) == 0x6000);
    check_eq("VME: its image has VIF as IF, IOPL 3", stack_word(0xffe),
             IOPL(3) | FL_IF | FL_CF | FL_ONE);
    check_eq("VME: VIF is cleared, IF is not", r.flags & (FL_VIF | FL_IF), FL_IF);
    r = V86("\xcd\x21", IOPL(3) | FL_VIF | FL_IF);
    check("VME: INT n, IOPL 3", r.vector == BP && r.eip == HANDLER_AT - 0x60000 + 1);
    check_eq("VME: its image", stack_word(0xffe), IOPL(3) | FL_IF | FL_ONE);
    check_eq("VME: IF is cleared, VIF is not", r.flags & (FL_VIF | FL_IF), FL_VIF);
    set_redirect(0x21, true);
    r = V86("\xcd\x21", 0);
    fault("VME: INT n, bit set, IOPL 0", &r, GP);
    r = V86("\xcd\x21", IOPL(3));
    expect("VME: INT n, bit set, IOPL 3", &r, 0x21, 0, (void *)0x102);
    set_redirect(3, false);
    r = V86("\xcc", 0);
    check("VME: INT3 is not redirected", r.vector == BP && r.eip == 0x101);
    use_tss((u32)big.redirect - (u32)&big + 0x21 / 8 - 1);
    set_redirect(0x21, false);
    r = V86("\xcd\x21", IOPL(3));
    fault("VME: map beyond the limit", &r, GP);
    use_tss(sizeof big - 1);
    ivt[0x21] = saved;
}

/* ---- CR4.PVI (20.4) ---- */

CODE(cli_, "cli");
CODE(sti_, "sti");
CODE(pushf_, "pushf\n pop %eax");
CODE(popf_, "push %eax\n popf");

static void protected_virtual(void)
{
    struct regs r = user_at(cli_);
    r.flags |= FL_VIF | FL_IF;
    enter(&r);
    expect("PVI: CLI", &r, STOP, 0, ENDED(cli_));
    check_eq("PVI: CLI clears VIF", r.flags & (FL_VIF | FL_IF), FL_IF);
    r = user_at(sti_);
    enter(&r);
    expect("PVI: STI", &r, STOP, 0, ENDED(sti_));
    check_eq("PVI: STI sets VIF", r.flags & (FL_VIF | FL_IF), FL_VIF);
    r = user_at(sti_);
    r.flags |= FL_VIP;
    enter(&r);
    expect("PVI: STI with VIP", &r, GP, 0, sti_);
    r = user_at(pushf_);
    r.flags |= FL_VIF;
    enter(&r);
    check("PVI: PUSHF is not changed", r.vector == STOP && (r.eax & (FL_VIF | FL_IF)) == FL_VIF);
    r = user_at(popf_);
    r.eax = FL_ONE | FL_IF;
    enter(&r);
    check("PVI: nor POPF", r.vector == STOP && !(r.flags & (FL_VIF | FL_IF)));
    r = user_at(sti_);
    r.flags |= FL_IOPL;
    enter(&r);
    check_eq("PVI: with IOPL 3 STI is STI", r.flags & (FL_VIF | FL_IF), FL_IF);
    set_descriptor(SEL_FREE + 16, descriptor(0, 0xfffff, 0xbb, 0xc)); /* ring 1 */
    set_descriptor(SEL_FREE + 24, descriptor(0, 0xfffff, 0xb3, 0xc));
    r = user_at(cli_);
    r.cs = SEL_FREE + 17;
    r.ss = r.ds = r.es = r.fs = r.gs = SEL_FREE + 25;
    enter(&r);
    expect("PVI: not in ring 1", &r, GP, 0, cli_);
}

static void without(void)
{
    struct regs r = user_at(cli_);
    enter(&r);
    expect("CLI in ring 3", &r, GP, 0, cli_);
    r = user_at(sti_);
    enter(&r);
    expect("STI in ring 3", &r, GP, 0, sti_);
    r = user_at(popf_);
    r.eax = FL_ONE | FL_IF | FL_IOPL | FL_CF | FL_NT;
    enter(&r);
    check_eq("POPF in ring 3: neither IF nor IOPL", r.flags & ~FL_RF, FL_ONE | FL_CF | FL_NT);
    r = user_at(popf_);
    r.eax = FL_ONE | FL_IF;
    r.flags |= FL_IOPL;
    enter(&r);
    check_eq("POPF in ring 3 with IOPL 3", r.flags & ~FL_RF, FL_ONE | FL_IF | FL_IOPL);
}

static void extensions(void)
{
    u32 r[4];
    cpuid(1, r);
    if (!(r[3] & 2)) {
        say("CR4.VME and PVI: left out, CPUID has no VME\n");
        return;
    }
    write_cr4(read_cr4() | CR4_VME);
    virtual_flags();
    redirection();
    write_cr4((read_cr4() & ~(u32)CR4_VME) | CR4_PVI);
    protected_virtual();
    write_cr4(read_cr4() & ~(u32)CR4_PVI);
}

/* ---- ports (vol. 1 19.5.2) ---- */

CODE(in_80, "in $0x80, %al");
CODE(out_dx, "out %al, %dx");
CODE(out_dx2, "out %ax, %dx");
CODE(out_dx4, "out %eax, %dx");
CODE(outs_dx, "outsb");
CODE(ins_dx, "insb");

static void allow(unsigned port, unsigned n)
{
    memset(big.io, 0xff, sizeof big.io);
    while (n--) {
        big.io[port / 8] = (u8)(big.io[port / 8] & ~(1u << (port & 7)));
        port++;
    }
}

static void port(const char *name, u8 *code, u32 port, u32 flags, bool allowed)
{
    static u8 byte[4];
    struct regs r = user_at(code);
    r.flags |= flags;
    r.edx = port;
    r.esi = r.edi = (u32)byte;
    enter(&r);
    if (allowed)
        check(name, r.vector == STOP);
    else
        expect(name, &r, GP, 0, code);
}

static void ports(void)
{
    allow(0, 0);
    port("IN, bit set", in_80, 0, 0, false);
    port("IN, IOPL 3", in_80, 0, FL_IOPL, true);
    port("OUTS, bit set", outs_dx, 0x80, 0, false);
    port("INS, bit set", ins_dx, 0x80, 0, false);
    allow(0x80, 1);
    port("IN, bit clear", in_80, 0, 0, true);
    port("OUT, bit clear", out_dx, 0x80, 0, true);
    port("OUTS, bit clear", outs_dx, 0x80, 0, true);
    port("INS, bit clear", ins_dx, 0x80, 0, true);
    port("OUT, the next port", out_dx, 0x81, 0, false);
    port("OUT of a word needs two bits", out_dx2, 0x80, 0, false);
    allow(0x87, 2);
    port("OUT of a word, two bytes of the map", out_dx2, 0x87, 0, true);
    port("OUT of a dword needs four bits", out_dx4, 0x87, 0, false);
    allow(0x86, 4);
    port("OUT of a dword, two bytes of the map", out_dx4, 0x86, 0, true);
    allow(0xed, 1);
    port("OUT, DX", out_dx, 0xed, 0, true);
    /* Two bytes of the map are read always: the limit must cover both. */
    allow(0x80, 1);
    use_tss((u32)big.io - (u32)&big + 0x10);
    port("OUT, second byte beyond the limit", out_dx, 0x80, 0, false);
    use_tss((u32)big.io - (u32)&big + 0x11);
    port("OUT, both bytes within", out_dx, 0x80, 0, true);
    big.t.io_base = 0xffff;
    port("OUT, map beyond the limit", out_dx, 0x80, 0, false);
    big.t.io_base = (u16)((u32)big.io - (u32)&big);
    use_tss(0x66);
    port("OUT, TSS too short for the map's address", out_dx, 0x80, 0, false);
    use_tss(sizeof big - 1);
    /* Virtual-8086 mode asks the map whatever IOPL is. */
    struct regs r = V86("\xe4\x80", IOPL(3));
    fine("V86: IN, bit clear", &r, 2);
    r = V86("\xe4\x81", IOPL(3));
    fault("V86: IN, bit set, IOPL 3", &r, GP);
    r = V86("\xe4\x80", 0);
    fine("V86: IN, bit clear, IOPL 0", &r, 2);
    /* The last ports. */
    allow(0xffff, 1);
    port("OUT to port FFFF", out_dx, 0xffff, 0, true);
    port("OUT to port FFFE", out_dx, 0xfffe, 0, false);
}

/* ---- breakpoints are linear addresses (vol. 3B 17.2.4) ---- */

static u32 debug_hits, debug_eip, debug_dr6;

static bool on_debug(struct regs *r)
{
    debug_hits++;
    debug_eip = r->eip;
    __asm__ volatile("mov %%dr6, %0" : "=r"(debug_dr6));
    __asm__ volatile("mov %0, %%dr7\n mov %1, %%dr6" : : "r"(0x400), "r"(0xffff0ff0));
    return false;
}

static void breakpoint(const char *name, struct regs (*run)(void), u32 at, u32 dr7, u32 eip)
{
    handlers[DB] = on_debug;
    debug_hits = 0;
    __asm__ volatile("mov %0, %%dr2\n mov %1, %%dr7" : : "r"(at), "r"(0x400 | dr7));
    struct regs r = run();
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400));
    handlers[DB] = NULL;
    bool good = debug_hits == 1 && debug_eip == eip && (debug_dr6 & 0xf) == 4 &&
                (r.vector == BP || r.vector == STOP);
    if (!check_quiet(name, good))
        say(": %x hits, eip %x dr6 %x, vector %x\n", debug_hits, debug_eip, debug_dr6, r.vector);
}

static struct regs run_v86(void)
{
    return V86("\x90\xa3\x00\x02\x90", 0); /* nop; mov %ax, 0x200; nop */
}

static struct regs run_based(void)
{
    static const u8 code[] = {0x90, 0xa3, 0x00, 0x02, 0x00, 0x00, 0x90, 0xcd, 0x80};
    memcpy((void *)0x60100, code, sizeof code);
    set_descriptor(SEL_FREE + 8, descriptor(0x60100, 0xff, 0xfb, 0x4));
    set_descriptor(SEL_FREE + 16, descriptor(0x60000, 0xffff, 0xf3, 0x4));
    struct regs r = user_at((void *)0);
    r.cs = SEL_FREE + 11;
    r.ds = SEL_FREE + 19;
    enter(&r);
    return r;
}

static void breakpoints(void)
{
    breakpoint("V86: execution", run_v86, 0x60101, 1 << 4, 0x101);
    breakpoint("V86: store", run_v86, 0x60200, 1 << 4 | 5 << 24, 0x104);
    breakpoint("CS with a base: execution", run_based, 0x60101, 1 << 4, 1);
    breakpoint("DS with a base: store", run_based, 0x60202, 1 << 4 | 1 << 24, 6);
}

void test_main(void)
{
    prepare();
    if (!under_tcg()) /* QEMU 7.2 ends by a segmentation fault here */
        breakpoints();
    iopl();
    privileged();
    segments();
    without();
    extensions();
    ports();
}

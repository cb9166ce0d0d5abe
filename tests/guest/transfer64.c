/* Transfers in long mode, the corners: SYSRET, SYSEXIT, IRETQ, 64-bit call gates, far jumps, inner
 * stacks that are bad, LLDT and LTR with 16-byte descriptors, SWAPGS.
 *
 * SDM vol. 2's pseudo-code of each instruction, vol. 3A 5.8 and 6.14; segment64.c has the plain cases.
 */
#include "tests/guest/lib/long.h"

#define T1 (SEL_FREE + 0)
#define T2 (SEL_FREE + 8) /* and the 8 bytes after: 16-byte descriptors */
#define T3 (SEL_FREE + 24)
#define ENDED(code) (code##_end + 2)
#define AREA 0x8000000000ull /* nothing is mapped there */
#define BAD 0x800000000000ull /* not canonical */
#define STAR 0xc0000081
#define LSTAR 0xc0000082
#define SFMASK 0xc0000084
#define GS_BASE 0xc0000101
#define KERNEL_GS_BASE 0xc0000102

CODE(land, "nop");

/* Code of 32 bits at ring 3, where both rings see it. */
static u8 *low_page;
#define LOW_AT 0xfffff000u

static bool is_amd(void)
{
    u32 r[4];
    cpuid(0, r);
    return r[1] == 0x68747541; /* "Auth" */
}

static struct regs compat(const void *code, u32 n)
{
    memcpy(low_page, code, n);
    struct regs r = user_at(land);
    r.rip = LOW_AT;
    r.cs = SEL_USER32;
    r.rsp = LOW_AT + 0x800;
    return r;
}

/* ---- SYSCALL, SYSRET ---- */

CODE(syscall_, "syscall");
CODE(sysretq_, "sysretq");
CODE(sysretl_, "sysretl");

static void syscalls(void)
{
    wrmsr(STAR, (u64)SEL_CODE << 32 | 0x18ull << 48);
    wrmsr(LSTAR, (u64)land);
    wrmsr(SFMASK, 0xffffffff & ~2u);
    struct regs r = kernel_at(syscall_);
    r.flags |= FL_ARITH | FL_DF | FL_NT | FL_AC | FL_ID | FL_IOPL;
    u64 flags = r.flags;
    enter(&r);
    expect("SYSCALL in ring 0", &r, STOP, 0, ENDED(land));
    check_eq("SYSCALL: R11", r.r11, flags);
    check_eq("SYSCALL: SFMASK of all ones", r.flags & ~(u64)FL_ARITH, FL_ONE);
    r = kernel_at(sysretq_);
    r.rcx = BAD;
    enter(&r);
    if (is_amd())
        check_eq("SYSRET to a bad address faults at ring 3", r.vector, GP);
    else
        expect("SYSRET to a bad address faults at ring 0", &r, GP, 0, sysretq_);
    r = kernel_at(sysretl_);
    memcpy(low_page, "\xcd\x80", 2);
    r.rcx = 0xabcd00000000 | LOW_AT;
    r.r11 = FL_ONE | FL_CF | FL_NT | FL_AC | FL_ID | FL_IOPL;
    flags = r.r11;
    enter(&r);
    check("SYSRET to 32 bits", r.vector == STOP && r.rip == LOW_AT + 2 && r.cs == SEL_USER32 &&
                                   r.ss == SEL_USER_DATA);
    check_eq("SYSRET: flags", r.flags, flags);
    r = user_at(sysretq_);
    enter(&r);
    expect("SYSRET in ring 3", &r, GP, 0, (void *)AS_USER(sysretq_));
    r = compat("\x0f\x07", 2);
    enter(&r);
    expect("SYSRET in compatibility mode", &r, is_amd() ? GP : UD, 0, (void *)(u64)LOW_AT);
}

/* ---- SYSENTER, SYSEXIT ---- */

CODE(sysenter_, "sysenter");
CODE(sysexitq_, "sysexitq");
CODE(sysexitl_, "sysexitl");

static void sysexits(void)
{
    if (is_amd())
        return;
    wrmsr(0x174, 0);
    struct regs r = user_at(sysenter_);
    enter(&r);
    expect("SYSENTER with CS 0", &r, GP, 0, (void *)AS_USER(sysenter_));
    r = kernel_at(sysexitq_);
    enter(&r);
    expect("SYSEXIT with CS 0", &r, GP, 0, sysexitq_);
    wrmsr(0x174, SEL_CODE | 3);
    wrmsr(0x175, tss.rsp[0] - 512);
    wrmsr(0x176, (u64)land);
    r = kernel_at(sysenter_);
    r.flags |= FL_IF;
    enter(&r);
    check("SYSENTER in ring 0, RPL ignored", r.vector == STOP && r.cs == SEL_CODE &&
                                                 r.ss == SEL_DATA && !(r.flags & FL_IF));
    r = kernel_at(sysexitq_);
    r.rdx = AS_USER(land);
    r.rcx = 0x123456789ab0;
    enter(&r);
    check("SYSEXIT to 64 bits", r.vector == STOP && r.rip == AS_USER(ENDED(land)) &&
                                    r.cs == SEL_USER && r.ss == (SEL_USER | 3) + 8 &&
                                    r.rsp == 0x123456789ab0);
    memcpy(low_page, "\xcd\x80", 2);
    r = kernel_at(sysexitl_);
    r.rdx = 0x1100000000 | LOW_AT;
    r.rcx = 0x220000000000 | (LOW_AT + 0x700);
    enter(&r);
    check("SYSEXIT to 32 bits", r.vector == STOP && r.rip == LOW_AT + 2 && r.cs == SEL_USER32 &&
                                    r.ss == SEL_USER_DATA && r.rsp == LOW_AT + 0x700);
    r = kernel_at(sysexitq_);
    r.rdx = BAD;
    enter(&r);
    expect("SYSEXIT, RDX not canonical", &r, GP, 0, sysexitq_);
    r = kernel_at(sysexitq_);
    r.rdx = AS_USER(land);
    r.rcx = BAD;
    enter(&r);
    expect("SYSEXIT, RCX not canonical", &r, GP, 0, sysexitq_);
    r = user_at(sysexitq_);
    enter(&r);
    expect("SYSEXIT in ring 3", &r, GP, 0, (void *)AS_USER(sysexitq_));
    wrmsr(0x174, 0);
}

/* ---- IRET ---- */

CODE(iretq_, "push %rax\n push %rbx\n push %rcx\n push %rdx\n push %rsi\n iretq");
CODE(iretq_bare, "iretq");
CODE(iretl_bare, "iretl");

static struct regs iret(u64 ss, u64 rsp, u64 flags, u64 cs, u64 rip, bool user)
{
    struct regs r = user ? user_at(iretq_) : kernel_at(iretq_);
    r.rax = ss;
    r.rbx = rsp;
    r.rcx = flags;
    r.rdx = cs;
    r.rsi = rip;
    enter(&r);
    return r;
}

static void irets(void)
{
    u64 sp = tss.rsp[0] - 4096;
    struct regs r = iret(SEL_DATA, sp, FL_ONE, SEL_CODE, BAD, false);
    expect("IRETQ to a bad address", &r, GP, 0, iretq_ + 5);
    r = iret(SEL_USER_DATA, sp, FL_ONE, SEL_USER, BAD, false);
    expect("IRETQ to a bad address of ring 3 faults at ring 0", &r, GP, 0, iretq_ + 5);
    check_eq("its CS", r.cs, SEL_CODE);
    memcpy(low_page, "\xcd\x80", 2);
    r = iret(SEL_USER_DATA, 0x12300000000 | 0x4560, FL_ONE, SEL_USER32, LOW_AT, false);
    check("IRETQ to 32 bits", r.vector == STOP && r.cs == SEL_USER32 && r.rip == LOW_AT + 2);
    check_eq("its ESP", r.rsp, 0x4560);
    r = iret(SEL_USER_DATA, 0x4560, FL_ONE, SEL_USER32, 0x100000000 | LOW_AT, false);
    expect("IRETQ to 32 bits, RIP beyond the limit", &r, GP, 0, iretq_ + 5);
    gdt[T1 / 8] = 0x00effb000000ffff; /* L and D */
    r = iret(SEL_USER_DATA, sp, FL_ONE, T1 | 3, AS_USER(land), false);
    expect("IRETQ to L and D", &r, GP, T1, iretq_ + 5);
    gdt[T1 / 8] = 0x00af7b000000ffff;
    r = iret(SEL_USER_DATA, sp, FL_ONE, T1 | 3, AS_USER(land), false);
    expect("IRETQ to absent code", &r, NP, T1, iretq_ + 5);
    gdt[T1 / 8] = 0x00affb000000ffff;
    r = iret(SEL_USER_DATA, sp, FL_ONE, T1, AS_USER(land), false);
    expect("IRETQ, RPL below DPL", &r, GP, T1, iretq_ + 5);
    r = iret(SEL_USER_DATA, BAD, FL_ONE, SEL_USER, AS_USER(land), false);
    check("IRETQ: RSP is not looked at", r.vector == STOP && r.rsp == BAD);
    r = iret(SEL_USER_DATA, sp, FL_ONE | FL_VM | FL_CF, SEL_USER, AS_USER(land), false);
    check("IRETQ: VM is ignored", r.vector == STOP && r.flags == (FL_ONE | FL_CF));
    r = iret(SEL_USER_DATA, sp, FL_ONE | FL_IF | FL_IOPL | FL_NT | FL_AC, SEL_USER, AS_USER(land),
             false);
    check_eq("IRETQ in ring 0: IF and IOPL", r.flags, FL_ONE | FL_IF | FL_IOPL | FL_NT | FL_AC);
    r = iret(SEL_USER_DATA, sp, FL_ONE | FL_IF | FL_IOPL | FL_NT | FL_AC, SEL_USER, AS_USER(land),
             true);
    check_eq("IRETQ in ring 3: neither", r.flags, FL_ONE | FL_NT | FL_AC);
    r = iret(SEL_DATA, sp, FL_ONE, SEL_CODE, (u64)land, true);
    expect("IRETQ to an inner ring", &r, GP, SEL_CODE, (void *)(AS_USER(iretq_) + 5));
    /* Ring 1 in 64-bit mode may have a null SS whose RPL is 1. */
    gdt[T1 / 8] = 0x00afbb000000ffff;
    r = iret(1, sp, FL_ONE, T1 | 1, (u64)land, false);
    check("IRETQ to ring 1, SS null", r.vector == STOP && r.cs == (T1 | 1) && r.ss == 1);
    /* The frame itself; the faults' handlers need a stack of their own. */
    tss.ist[3] = tss.rsp[0] - 2048;
    set_gate(SS, trap_stubs + SS * 16, 0xe, 0, 3);
    set_gate(PF, trap_stubs + PF * 16, 0xe, 0, 3);
    r = kernel_at(iretq_bare);
    r.rsp = BAD;
    enter(&r);
    expect("IRETQ, stack not canonical", &r, SS, 0, iretq_bare);
    r = kernel_at(iretq_bare);
    r.rsp = AREA;
    enter(&r);
    expect_pf("IRETQ, stack not mapped", &r, 0, iretq_bare, AREA);
    check_eq("its RSP", r.rsp, AREA);
    reset_gate(SS);
    reset_gate(PF);
    static u32 frame[5];
    frame[0] = LOW_AT;
    frame[1] = SEL_USER32;
    frame[2] = FL_ONE | FL_CF;
    frame[3] = 0x4440;
    frame[4] = SEL_USER_DATA;
    r = kernel_at(iretl_bare);
    r.rsp = (u64)frame;
    enter(&r);
    check("IRETD in 64-bit mode pops five dwords", r.vector == STOP && r.cs == SEL_USER32 &&
                                                       r.rip == LOW_AT + 2 && r.rsp == 0x4440 &&
                                                       (r.flags & FL_CF));
}

/* ---- call gates of 16 bytes (5.8.3.1) ---- */

CODE(lcall_, "lcall *(%rdi)");
CODE(ljmp_, "ljmp *(%rdi)");
CODE(ljmpq_, "rex.w ljmp *(%rdi)");
CODE(inner, "mov %ss, %ecx\n mov %rsp, %rax\n mov %cs, %edx");

static struct {
    u64 offset;
    u16 sel;
} __attribute__((packed)) far64;
static struct {
    u32 offset;
    u16 sel;
} __attribute__((packed)) far32;

static void set_gate64(u32 at, u32 sel, u64 offset, u32 access)
{
    gdt[at / 8] = (offset & 0xffff) | (u64)sel << 16 | (u64)access << 40 | (offset >> 16 & 0xffff) << 48;
    gdt[at / 8 + 1] = offset >> 32;
}

static struct regs through(u8 *code, bool user)
{
    struct regs r = user ? user_at(code) : kernel_at(code);
    r.rdi = user ? AS_USER(&far32) : (u64)&far32;
    far32.sel = T2 | (user ? 3 : 0);
    far32.offset = 0xdeadbeef;
    enter(&r);
    return r;
}

static void gate_fault(const char *name, bool user, unsigned vector, u32 error)
{
    struct regs r = through(lcall_, user);
    expect(name, &r, vector, error, user ? (void *)AS_USER(lcall_) : lcall_);
}

static void gates(void)
{
    set_gate64(T2, SEL_CODE, (u64)inner, 0xec);
    struct regs r = through(lcall_, true);
    check("gate to ring 0", r.vector == STOP && r.rip == (u64)ENDED(inner) && r.rdx == SEL_CODE);
    check("its stack: SS is null, four pushes", r.rcx == 0 && r.rax == tss.rsp[0] - 32);
    r = through(lcall_, false);
    check("gate in ring 0: two pushes, SS stays", r.vector == STOP && r.rcx == SEL_DATA);
    gdt[T1 / 8] = 0x00af9f000000ffff; /* conforming */
    set_gate64(T2, T1, AS_USER(inner), 0xec);
    r = through(lcall_, true);
    check("gate to conforming code keeps ring 3", r.vector == STOP && r.cs == (T1 | 3) &&
                                                      (u16)r.rcx == SEL_USER_DATA);
    set_gate64(T2, SEL_CODE, (u64)inner, 0xec);
    r = through(ljmp_, true);
    expect("JMP through it to ring 0", &r, GP, SEL_CODE, (void *)AS_USER(ljmp_));
    gdt[T2 / 8 + 1] |= 0x0100ull << 32;
    gate_fault("type in the upper half", true, GP, T2);
    set_gate64(T2, SEL_CODE, (u64)inner, 0x6c);
    gate_fault("absent gate", true, NP, T2);
    set_gate64(T2, SEL_CODE, (u64)inner, 0x8c);
    gate_fault("gate of DPL 0", true, GP, T2);
    set_gate64(T2, SEL_CODE32, (u64)inner, 0xec);
    gate_fault("gate to 32-bit code", true, GP, SEL_CODE32);
    set_gate64(T2, SEL_DATA, (u64)inner, 0xec);
    gate_fault("gate to data", true, GP, SEL_DATA);
    set_gate64(T2, 0, (u64)inner, 0xec);
    gate_fault("gate to null", true, GP, 0);
    set_gate64(T2, SEL_CODE, BAD, 0xec);
    gate_fault("gate to a bad address", true, GP, 0);
    set_gate64(T2, SEL_CODE, (u64)inner, 0xe4); /* a 16-bit gate */
    gate_fault("16-bit gate", true, GP, T2);
    set_gate64(T2, SEL_CODE, (u64)inner, 0xe5);
    gate_fault("task gate", true, GP, T2);
    gdt[T2 / 8] = 0x0000e90000000067; /* an available TSS */
    gdt[T2 / 8 + 1] = 0;
    gate_fault("TSS", true, GP, T2);
    /* Bad inner stacks; the fault's own handler uses an IST. */
    tss.ist[3] = tss.rsp[0] - 2048;
    u64 good = tss.rsp[0];
    set_gate64(T2, SEL_CODE, (u64)inner, 0xec);
    set_gate(SS, trap_stubs + SS * 16, 0xe, 0, 3);
    set_gate(PF, trap_stubs + PF * 16, 0xe, 0, 3);
    set_gate(TS, trap_stubs + TS * 16, 0xe, 0, 3);
    tss.rsp[0] = BAD;
    gate_fault("inner stack not canonical", true, SS, 0);
    tss.rsp[0] = AREA + 0x100;
    r = through(lcall_, true);
    check("inner stack not mapped", r.vector == PF && r.error == 2 && r.cr2 == AREA + 0xf8 &&
                                        r.rip == AS_USER(lcall_) && r.cs == SEL_USER);
    tss.rsp[0] = good;
    reset_gate(SS);
    reset_gate(PF);
    reset_gate(TS);
}

static void far_jumps(void)
{
    far64.offset = (u64)land;
    far64.sel = SEL_CODE;
    struct regs r = kernel_at(ljmpq_);
    r.rdi = (u64)&far64;
    enter(&r);
    if (is_amd() || under_tcg())
        return; /* AMD APM vol. 3: no 64-bit offsets in far pointers */
    expect("JMP m16:64", &r, STOP, 0, ENDED(land));
    far64.offset = BAD;
    r = kernel_at(ljmpq_);
    r.rdi = (u64)&far64;
    enter(&r);
    expect("JMP m16:64 to a bad address", &r, GP, 0, ljmpq_);
}

/* ---- events and bad stacks (6.14.2 to 6.14.5) ---- */

CODE(int_81, "int $0x81");
CODE(undefined, "ud2");

static void event_stacks(void)
{
    u64 good = tss.rsp[0];
    tss.ist[3] = good - 2048;
    set_gate(SS, trap_stubs + SS * 16, 0xe, 0, 3);
    set_gate(0x81, trap_stubs + 0x81 * 16, 0xe, 3, 0);
    tss.rsp[0] = BAD;
    struct regs r = user_at(int_81);
    enter(&r);
    expect("INT n, inner stack not canonical", &r, SS, 0, (void *)AS_USER(int_81));
    r = user_at(undefined);
    enter(&r);
    expect("#UD, inner stack not canonical: EXT", &r, SS, 1, (void *)AS_USER(undefined));
    tss.rsp[0] = good;
    tss.ist[4] = BAD;
    set_gate(0x81, trap_stubs + 0x81 * 16, 0xe, 3, 4);
    r = kernel_at(int_81);
    enter(&r);
    expect("INT n, IST not canonical", &r, SS, 0, int_81);
    tss.ist[4] = AREA + 0x100;
    r = kernel_at(int_81);
    enter(&r);
    check("INT n, IST not mapped", r.vector == PF && r.error == 2 && r.rip == (u64)int_81);
    reset_gate(SS);
    reset_gate(0x81);
}

/* ---- LLDT and LTR with 16-byte descriptors (7.2.3) ---- */

CODE(lldt_, "lldt %ax");
CODE(ltr_, "ltr %ax");
CODE(load_ds, "mov %eax, %ds");

static void load_table(const char *name, u8 *code, u32 sel, unsigned vector, u32 error)
{
    struct regs r = kernel_at(code);
    r.rax = sel;
    enter(&r);
    if (vector == STOP)
        check_eq(name, r.vector, STOP);
    else
        expect(name, &r, vector, error, code);
}

static void set_system(u32 at, u64 base, u32 limit, u32 access)
{
    gdt[at / 8] = (limit & 0xffff) | (base & 0xffffff) << 16 | (u64)access << 40 |
                  (base >> 24 & 0xff) << 56;
    gdt[at / 8 + 1] = base >> 32;
}

static void tables(void)
{
    static u64 ldt[3];
    ldt[1] = 0x00cf93000000ffff;
    set_system(T3, (u64)ldt, 15, 0x82);
    load_table("LLDT", lldt_, T3, STOP, 0);
    load_table("through the LDT", load_ds, 0x0c, STOP, 0);
    load_table("beyond the LDT", load_ds, 0x14, GP, 0x14);
    load_table("LLDT null", lldt_, 0, STOP, 0);
    load_table("and none is left", load_ds, 0x0c, GP, 0x0c);
    set_system(T3, BAD, 15, 0x82);
    load_table("LLDT, base not canonical", lldt_, T3, GP, T3);
    set_system(T3, (u64)ldt, 15, 0x02);
    load_table("LLDT, absent", lldt_, T3, NP, T3);
    set_system(T3, (u64)ldt, 15, 0x89);
    load_table("LLDT of a TSS", lldt_, T3, GP, T3);
    load_table("LLDT of the LDT's", lldt_, T3 | 4, GP, T3 | 4);
    load_table("LLDT across the GDT's end", lldt_, sizeof gdt - 8, GP, sizeof gdt - 8);
    set_system(T3, BAD, 0x67, 0x89);
    load_table("LTR, base not canonical", ltr_, T3, GP, T3);
    set_system(T3, (u64)&tss, 0x67, 0x81);
    load_table("LTR of a 16-bit TSS", ltr_, T3, GP, T3);
    set_system(T3, (u64)&tss, 0x67, 0x09);
    load_table("LTR, absent", ltr_, T3, NP, T3);
    load_table("LTR null", ltr_, 0, GP, 0);
    load_table("LTR of a busy TSS", ltr_, SEL_TSS, GP, SEL_TSS);
    set_system(T3, (u64)&tss, sizeof tss - 1, 0x89);
    load_table("LTR", ltr_, T3, STOP, 0);
    check_eq("busy", gdt[T3 / 8] >> 40 & 0xff, 0x8b);
    gdt[SEL_TSS / 8] &= ~(2ull << 40);
    load_table("LTR back", ltr_, SEL_TSS, STOP, 0);
}

/* ---- SWAPGS ---- */

CODE(swapgs_, "swapgs");

static void swapgs(void)
{
    wrmsr(GS_BASE, 0x1111);
    wrmsr(KERNEL_GS_BASE, 0xffff800000002222);
    struct regs r = kernel_at(swapgs_);
    enter(&r);
    check("SWAPGS", r.vector == STOP && rdmsr(GS_BASE) == 0xffff800000002222 &&
                        rdmsr(KERNEL_GS_BASE) == 0x1111);
    r = user_at(swapgs_);
    enter(&r);
    expect("SWAPGS in ring 3", &r, GP, 0, (void *)AS_USER(swapgs_));
    r = compat("\x0f\x01\xf8", 3);
    enter(&r);
    expect("SWAPGS in compatibility mode", &r, UD, 0, (void *)(u64)LOW_AT);
    wrmsr(GS_BASE, 0);
    wrmsr(KERNEL_GS_BASE, 0);
}

void test_main(void)
{
    low_page = page_alloc(4096);
    /* The last page below 4 GiB belongs to the firmware in the identity map: take it over. */
    u64 *pde = pt_entry(LOW_AT, 2);
    u64 old = *pde;
    u64 *table = (u64 *)page_alloc(4096);
    for (unsigned i = 0; i < 512; i++)
        table[i] = (old & PT_ADDR) + i * 4096 + (PT_P | PT_W);
    table[511] = (u64)low_page | PT_P | PT_W | PT_U;
    *pde = (u64)table | PT_P | PT_W | PT_U;
    *pt_entry(LOW_AT, 3) |= PT_U;
    flush_all();
    syscalls();
    sysexits();
    irets();
    gates();
    far_jumps();
    event_stacks();
    tables();
    swapgs();
}

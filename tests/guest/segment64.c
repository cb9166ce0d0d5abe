/* Segments and transfers in long mode: SYSCALL, SYSENTER, call gates, IRET, compatibility mode,
 * null selectors, FS and GS bases.
 *
 * SDM vol. 3A 5.8 and vol. 2; where vendors differ, AMD APM vol. 2 and 3.
 */
#include "tests/guest/lib/long.h"

#define T1 (SEL_FREE + 0)
#define T2 (SEL_FREE + 8) /* and the 8 bytes after: 16-byte descriptors */
#define T4 (SEL_FREE + 24)
#define ENDED(code) (code##_end + 2)
#define STAR 0xc0000081
#define LSTAR 0xc0000082
#define SFMASK 0xc0000084
#define FS_BASE 0xc0000100
#define GS_BASE 0xc0000101
#define KERNEL_GS_BASE 0xc0000102

static bool is_amd(void)
{
    u32 r[4];
    cpuid(0, r);
    return r[1] == 0x68747541; /* "Auth" */
}

/* ---- SYSCALL and SYSRET ---- */

CODE(syscall_, "syscall");
CODE(sysret_, "sysretq");
CODE(land, "nop");

static void syscalls(void)
{
    struct regs r;
    wrmsr(STAR, (u64)SEL_CODE << 32 | 0x18ull << 48);
    wrmsr(LSTAR, (u64)land);
    wrmsr(SFMASK, FL_IF | FL_DF | FL_CF);
    r = user_at(syscall_);
    r.flags = FL_ONE | FL_IF | FL_CF | FL_ZF | FL_DF | FL_AC;
    r.rsp = 0x123450;
    tss.ist[2] = tss.rsp[0] - 1024;
    set_gate(STOP, trap_stubs + STOP * 16, 0xe, 3, 2); /* SYSCALL leaves RSP alone */
    u64 flags = r.flags;
    enter(&r);
    check("SYSCALL", r.vector == STOP && r.rip == (u64)land + 3 && r.cs == SEL_CODE &&
                         r.ss == SEL_DATA);
    check_eq("RCX is the return address", r.rcx, AS_USER(syscall_) + 2);
    check_eq("R11 is RFLAGS", r.r11, flags);
    check_eq("SFMASK", r.flags, flags & ~(u64)(FL_IF | FL_DF | FL_CF));
    check_eq("RSP stays", r.rsp, 0x123450);
    r = kernel_at(sysret_);
    r.rcx = AS_USER(land);
    r.r11 = FL_ONE | FL_IF | FL_CF | FL_DF | FL_RF | FL_VM;
    enter(&r);
    check("SYSRET to 64 bits", r.vector == STOP && r.rip == AS_USER(land) + 3 &&
                                   r.cs == SEL_USER && r.ss == SEL_USER_DATA);
    check_eq("its flags", r.flags, FL_ONE | FL_IF | FL_CF | FL_DF);
    reset_gate(STOP);
    wrmsr(EFER, rdmsr(EFER) & ~(u64)EFER_SCE);
    r = user_at(syscall_);
    enter(&r);
    expect("SYSCALL without SCE", &r, UD, 0, (void *)AS_USER(syscall_));
    r = kernel_at(sysret_);
    enter(&r);
    expect("SYSRET without SCE", &r, UD, 0, sysret_);
    wrmsr(EFER, rdmsr(EFER) | EFER_SCE);
}

CODE(sysenter_, "sysenter");

static void sysenter(void)
{
    struct regs r;
    wrmsr(0x174, SEL_CODE);
    wrmsr(0x175, tss.rsp[0] - 512);
    wrmsr(0x176, (u64)land);
    r = user_at(sysenter_);
    r.flags |= FL_IF;
    enter(&r);
    if (is_amd()) {
        expect("SYSENTER in long mode is undefined on AMD's", &r, UD, 0, (void *)AS_USER(sysenter_));
    } else {
        check("SYSENTER", r.vector == STOP && r.rip == (u64)land + 3 && r.cs == SEL_CODE &&
                              r.ss == SEL_DATA && r.rsp == tss.rsp[0] - 512 && !(r.flags & FL_IF));
    }
}

/* ---- 32-bit code at ring 3, mapped low for both rings ---- */

static u8 *low_page; /* mapped at LOW_AT, for code with 32-bit addresses */
#define LOW_AT 0xfffff000u

static struct regs compat(const void *code, u32 n)
{
    memcpy(low_page, code, n);
    struct regs r = user_at(land);
    r.rip = LOW_AT;
    r.cs = SEL_USER32;
    r.rsp = LOW_AT + 0x800;
    enter(&r);
    return r;
}

static void compatibility(void)
{
    struct regs r;
    /* inc %eax (40, REX in 64-bit mode); into; int 80 */
    r = compat("\x31\xc0\x40\x40\xcd\x80", 6);
    check("INC by one byte", r.vector == STOP && r.rax == 2 && r.cs == SEL_USER32);
    r = compat("\xb8\xff\xff\xff\x7f\x40\xce", 7);
    expect("INTO in compatibility mode", &r, GP, OF * 8 + 2, (void *)(u64)(LOW_AT + 6));
    set_gate(OF, trap_stubs + OF * 16, 0xe, 3, 0);
    r = compat("\xb8\xff\xff\xff\x7f\x40\xce", 7);
    expect("INTO", &r, OF, 0, (void *)(u64)(LOW_AT + 7));
    reset_gate(OF);
    r = compat("\x06\x07\x60\x61\xcd\x80", 6); /* push es; pop es; pusha; popa */
    check("PUSH ES and PUSHA", r.vector == STOP && r.rsp == LOW_AT + 0x800);
    r = compat("\x8c\xd8\xcd\x80", 4);
    check("the frame has SS and RSP", r.vector == STOP && r.ss == SEL_USER_DATA &&
                                          r.frame == tss.rsp[0] - 40);
    r = compat("\x0f\x05", 2); /* syscall */
    check("SYSCALL from compatibility mode", is_amd() ? r.vector != UD : r.vector == UD);
    /* IRET to ring 3 took DS of ring 0 away; push ss, pop ds; then a load from 16(%eax). */
    r = compat("\xb8\x00\xf8\xff\xff\x8b\x40\x10", 8);
    expect("DS is null after IRET to ring 3", &r, GP, 0, (void *)(u64)(LOW_AT + 5));
    r = compat("\xb8\x00\xf8\xff\xff\x16\x1f\x8b\x40\x10\xcd\x80", 12);
    expect("addresses of 32 bits", &r, STOP, 0, (void *)(u64)(LOW_AT + 12));
    r = compat("\xb8\x78\x56\x34\x12\xcd\x80", 7);
    check_eq("32-bit results", r.rax, 0x12345678);
    /* To 64-bit code by a far jump. */
    r = compat("\xea\x07\xf0\xff\xff\x2b\x00\x48\x31\xc0\x48\xff\xc8\xcd\x80", 15);
    check("far jump to 64-bit code", r.vector == STOP && r.cs == SEL_USER && r.rax == ~0ull);
}

/* ---- far transfers and gates in 64-bit mode ---- */

static struct {
    u32 offset;
    u16 sel;
} __attribute__((packed)) far32;

CODE(jmp32, "ljmp *(%rbx)");
CODE(call32, "lcall *(%rbx)");
CODE(gate_target, "mov %rsp, %rax\n mov %ss, %ecx\n mov (%rsp), %rsi\n mov 8(%rsp), %rdi\n"
                  "mov 16(%rsp), %r8\n mov 24(%rsp), %r9\n lretq");
CODE(ret64, "push %rax\n push %rbx\n lretq");

static void set_call_gate(u64 target, u16 sel, u32 access)
{
    gdt[T2 / 8] = (target & 0xffff) | (u64)sel << 16 | (u64)access << 40 |
                  (target >> 16 & 0xffff) << 48;
    gdt[T2 / 8 + 1] = target >> 32;
}

static void far(const char *name, bool user, u8 *code, u16 sel, unsigned vector, u32 error)
{
    far32.offset = (u32)(u64)land;
    far32.sel = sel;
    struct regs r = user ? user_at(code) : kernel_at(code);
    r.rbx = user ? AS_USER(&far32) : (u64)&far32;
    enter(&r);
    if (vector == STOP)
        expect(name, &r, STOP, 0, land + 3);
    else
        expect(name, &r, vector, error, code + (user ? USER_VIEW : 0));
}

static void transfers(void)
{
    struct regs r;
    far("far jump", false, jmp32, SEL_CODE, STOP, 0);
    far("far jump to null", false, jmp32, 0, GP, 0);
    far("far jump to data", false, jmp32, SEL_DATA, GP, SEL_DATA);
    far("far jump to ring 0", true, jmp32, SEL_CODE, GP, SEL_CODE);
    far("far jump to the TSS", false, jmp32, SEL_TSS, GP, SEL_TSS);
    gdt[T1 / 8] = 0x00ef9b000000ffff; /* L and D */
    far("far jump to L and D", false, jmp32, T1, GP, T1);
    gdt[T1 / 8] = 0x00af1b000000ffff;
    far("far jump to absent code", false, jmp32, T1, NP, T1);
    set_call_gate((u64)land, SEL_CODE, 0x8c);
    far("call gate", false, jmp32, T2, STOP, 0);
    far("call gate of ring 0 from ring 3", true, call32, T2, GP, T2);
    set_call_gate((u64)land, SEL_CODE32, 0x8c);
    far("call gate to 32-bit code", false, call32, T2, GP, SEL_CODE32);
    set_call_gate((u64)land, SEL_CODE, 0x0c);
    far("absent call gate", false, call32, T2, NP, T2);
    set_call_gate((u64)land, SEL_CODE, 0x8c);
    gdt[T2 / 8 + 1] |= 1ull << 40;
    far("call gate with a type in its second half", false, call32, T2, GP, T2);
    set_call_gate(0x800000000000, SEL_CODE, 0x8c);
    far("call gate to an address that is not canonical", false, call32, T2, GP, 0);
    set_call_gate((u64)gate_target, SEL_CODE, 0xec);
    far32.sel = T2 | 3;
    r = user_at(call32);
    r.rbx = AS_USER(&far32);
    u64 sp = r.rsp;
    enter(&r);
    expect("call gate from ring 3 and back", &r, STOP, 0, (void *)AS_USER(ENDED(call32)));
    check_eq("its stack: four of 8 bytes", r.rax, tss.rsp[0] - 32);
    check_eq("its SS is null", r.rcx, 0);
    check("what was pushed", r.rsi == AS_USER(call32_end) && r.rdi == SEL_USER && r.r8 == sp &&
                                 r.r9 == SEL_USER_DATA);
    check("back at ring 3", r.cs == SEL_USER && r.ss == SEL_USER_DATA && r.rsp == sp);
    r = kernel_at(ret64);
    r.rax = SEL_CODE;
    r.rbx = (u64)land;
    enter(&r);
    expect("LRETQ", &r, STOP, 0, land + 3);
    r = user_at(ret64);
    r.rax = SEL_CODE;
    r.rbx = AS_USER(land);
    enter(&r);
    expect("LRETQ to an inner ring", &r, GP, SEL_CODE, (void *)(AS_USER(ret64) + 2));
}

/* ---- IRETQ ---- */

CODE(iretq_, "push %rax\n push %rbx\n push %rcx\n push %rdx\n push %rsi\n iretq");

static void iret(const char *name, u64 ss, u64 flags, u64 cs, u64 rip, unsigned vector, u32 error)
{
    struct regs r = kernel_at(iretq_);
    r.rax = ss;
    r.rbx = r.rsp - 0x800;
    r.rcx = flags;
    r.rdx = cs;
    r.rsi = rip;
    u64 sp = r.rbx;
    enter(&r);
    if (vector == STOP) {
        expect(name, &r, STOP, 0, (void *)(rip + 3));
        check("its stack", r.rsp == sp && r.ss == ss);
    } else {
        expect(name, &r, vector, error, iretq_ + 5);
    }
}

static void irets(void)
{
    iret("IRETQ to ring 0", SEL_DATA, FL_ONE, SEL_CODE, (u64)land, STOP, 0);
    iret("IRETQ to ring 0, SS null", 0, FL_ONE, SEL_CODE, (u64)land, STOP, 0);
    iret("IRETQ to ring 3", SEL_USER_DATA, FL_ONE, SEL_USER, AS_USER(land), STOP, 0);
    iret("IRETQ, CS null", SEL_DATA, FL_ONE, 0, (u64)land, GP, 0);
    iret("IRETQ to data", SEL_DATA, FL_ONE, SEL_DATA, (u64)land, GP, SEL_DATA);
    iret("IRETQ, SS null for ring 3", 0, FL_ONE, SEL_USER, AS_USER(land), GP, 0);
    iret("IRETQ, SS of the wrong ring", SEL_DATA, FL_ONE, SEL_USER, AS_USER(land), GP, SEL_DATA);
    iret("IRETQ, SS is code", SEL_USER, FL_ONE, SEL_USER, AS_USER(land), GP, SEL_USER & ~3u);
    struct regs r = kernel_at(iretq_ + 5);
    r.flags |= FL_NT;
    enter(&r);
    expect("IRETQ with NT set", &r, GP, 0, iretq_ + 5);
    gdt[T4 / 8] = 0x00cf73000000ffff; /* absent data of ring 3 */
    iret("IRETQ, SS absent", T4 | 3, FL_ONE, SEL_USER, AS_USER(land), SS, T4);
}

/* ---- data segments, FS and GS ---- */

CODE(mov_ds, "mov %eax, %ds");
CODE(mov_ss, "mov %eax, %ss");
CODE(mov_fs, "mov %eax, %fs");
CODE(read_fs, "mov %fs:(%rdi), %rax");
CODE(read_gs, "mov %gs:(%rdi), %rax");
CODE(swap_gs, "swapgs\n mov %gs:(%rdi), %rax\n swapgs");
CODE(ds_null_load, "mov %ecx, %ds\n mov (%rdi), %rax");

static void segments(void)
{
    static u64 values[2] = {0x1111, 0x2222};
    struct regs r = kernel_at(mov_ss);
    enter(&r);
    expect("SS null at ring 0", &r, STOP, 0, ENDED(mov_ss));
    r = user_at(mov_ss);
    r.rax = 3;
    enter(&r);
    expect("SS null at ring 3", &r, GP, 0, (void *)AS_USER(mov_ss));
    r = kernel_at(mov_ss);
    r.rax = SEL_USER_DATA;
    enter(&r);
    expect("SS of ring 3 at ring 0", &r, GP, SEL_USER_DATA & ~3u, mov_ss);
    gdt[T4 / 8] = 0x00cf13000000ffff;
    r = kernel_at(mov_ds);
    r.rax = T4;
    enter(&r);
    expect("DS absent", &r, NP, T4, mov_ds);
    r = kernel_at(ds_null_load);
    r.rdi = (u64)values;
    enter(&r);
    check("loads through a null DS", r.vector == STOP && r.rax == 0x1111);
    wrmsr(FS_BASE, (u64)values + 8);
    wrmsr(GS_BASE, (u64)values);
    wrmsr(KERNEL_GS_BASE, (u64)values + 8);
    r = kernel_at(read_fs);
    enter(&r);
    check_eq("FS base", r.rax, 0x2222);
    r = kernel_at(read_gs);
    enter(&r);
    check_eq("GS base", r.rax, 0x1111);
    r = kernel_at(swap_gs);
    enter(&r);
    check_eq("SWAPGS", r.rax, 0x2222);
    check_eq("SWAPGS back", rdmsr(GS_BASE), (u64)values);
    r = kernel_at(mov_fs);
    r.rax = SEL_DATA;
    enter(&r);
    check_eq("MOV FS loads the base", rdmsr(FS_BASE), 0);
    __asm__ volatile("mov %w0, %%fs" : : "r"(0));
    wrmsr(FS_BASE, (u64)values);
    r = kernel_at(read_fs);
    r.rdi = 0x8000000000000000 - (u64)values;
    enter(&r);
    expect("base and offset not canonical", &r, GP, 0, read_fs);
    wrmsr(GS_BASE, 0);
    wrmsr(FS_BASE, 0);
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
    sysenter();
    compatibility();
    transfers();
    irets();
    segments();
}

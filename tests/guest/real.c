/* Real mode and back, unreal mode, and what INT, faults and limits do there.
 *
 * SDM vol. 3B 20.1, vol. 3A 9.9; AMD APM vol. 2 for limits that survive in the hidden parts.
 */
#include "tests/guest/lib/legacy.h"

/* 16-bit snippets; code, data and their results are below 64 KiB (section .low, segment 0). */
#define REAL(name, text)                                                                    \
    __asm__(".pushsection .low, \"awx\"\n.code16\n.globl " #name ", " #name "_end\n" #name   \
            ":\n" text "\n" #name "_end:\n ret\n.code32\n.popsection");                       \
    extern u8 name[], name##_end[]

/* What real_trap and real_run leave; vector 0xff: the snippet returned. */
struct result {
    u16 vector, ip, cs, flags, sp, ss;
    u32 eax, ebx, ecx, edx;
};
extern volatile struct result real_result;
extern volatile u32 real_eax, real_ebx;
extern volatile u16 real_code, real_start_sp;
extern u8 real_run[], real_stubs[];

__asm__(".pushsection .low, \"awx\"\n.code16\n"
        ".globl real_run, real_stubs, real_result, real_code, real_start_sp, real_eax, real_ebx\n"
        "real_run:\n"
        " mov %sp, %cs:real_start_sp\n"
        " movw $0xff, %cs:real_result\n"
        " mov %cs:real_eax, %eax\n mov %cs:real_ebx, %ebx\n xor %ecx, %ecx\n xor %edx, %edx\n"
        " call *%cs:real_code\n"
        "real_leave:\n"
        " mov %eax, %cs:real_result + 12\n mov %ebx, %cs:real_result + 16\n"
        " mov %ecx, %cs:real_result + 20\n mov %edx, %cs:real_result + 24\n"
        " xor %ax, %ax\n mov %ax, %ss\n mov %cs:real_start_sp, %sp\n"
        " ret\n"
        " .balign 16\n"
        "real_stubs:\n"
        " .set n, 0\n .rept 16\n .balign 16\n movw $n, %cs:real_result\n jmp real_trap\n"
        " .set n, n + 1\n .endr\n"
        "real_trap:\n"
        " mov %sp, %cs:real_result + 8\n mov %ss, %cs:real_result + 10\n"
        " popw %cs:real_result + 2\n popw %cs:real_result + 4\n popw %cs:real_result + 6\n"
        " jmp real_leave\n"
        " .balign 4\n"
        "real_result: .space 28\n"
        "real_eax: .long 0\n real_ebx: .long 0\nreal_code: .word 0\nreal_start_sp: .word 0\n"
        ".code32\n.popsection");

REAL(nothing, "mov %cs, %ax\n mov %ss, %bx\n pushf\n pop %cx\n smsw %dx");
REAL(int_5, "int $5");
REAL(div_0, "xor %cx, %cx\n div %cx");
REAL(into_, "mov $0x7fff, %ax\n inc %ax\n into");
REAL(int3_, "int3");
REAL(undefined, "ud2");
REAL(bound_, "push $4\n push $2\n mov %sp, %bx\n mov $9, %ax\n bound %ax, (%bx)");
REAL(word_end, "mov 0xffff, %ax");
REAL(byte_end, "mov 0xffff, %al");
REAL(dword_end, "mov 0xfffd, %eax");
REAL(ss_end, "mov %ss:0xffff, %ax");
REAL(far_offset, "addr32 mov 0x10000, %al");
REAL(unreal_load, "addr32 mov (%ebx), %eax");
REAL(lldt_, "lldt %ax");
REAL(verr_, "verr %ax");
REAL(far_call, "lcall $0x10, $1f - 0x100\n jmp 2f\n1: mov %cs, %dx\n lret\n2:");
REAL(segment_math, "mov $0xffff, %ax\n mov %ax, %es\n mov %es:0x10, %ebx\n xor %ax, %ax\n"
                   "mov %ax, %es\n");
REAL(sp_wrap, "mov %sp, %dx\n mov $2, %sp\n push $0x1234\n push $0x5678\n mov %sp, %cx\n"
              "pop %ax\n pop %bx\n mov %dx, %sp");
REAL(prefixes, "mov $0x12345678, %eax\n mov %eax, %ecx\n shr $16, %ecx\n movzbl %al, %edx");
REAL(iret_, "pushf\n push %cs\n push $1f\n iret\n ud2\n1: mov $0x4321, %ax");
REAL(sti_cli, "sti\n pushf\n pop %ax\n cli\n pushf\n pop %bx");
REAL(lock_bad, ".byte 0xf0, 0x90");
REAL(long_jump, "mov $0xabcd, %cx\n jmp 1f\n .space 300\n1: mov %cx, %ax");
REAL(loops, "mov $10, %cx\n1: inc %bx\n loop 1b\n jcxz 2f\n ud2\n2: mov %bx, %ax");
REAL(stos, "push %es\n xor %ax, %ax\n mov %ax, %es\n mov $real_ebx, %di\n mov $0x99, %al\n"
           "mov $4, %cx\n rep stosb\n pop %es");
REAL(idt_limit, "lidtl %cs:1f\n int $9\n1: .word 0x23\n .long 0");
REAL(enter_leave, "mov %sp, %ax\n enter $8, $0\n mov %bp, %bx\n mov %sp, %cx\n leave\n mov %sp, %dx");

REAL(a20, "mov $0xffff, %ax\n mov %ax, %es\n movl $0x11223344, 0x500\n"
          "in $0x92, %al\n mov %al, %ah\n and $0xfd, %al\n out %al, $0x92\n"
          "mov %es:0x510, %ebx\n mov %ah, %al\n or $2, %al\n out %al, $0x92\n"
          "mov %es:0x510, %ecx\n xor %ax, %ax\n mov %ax, %es");
REAL(pop_end, "mov $0xffff, %sp\n pop %ax");
REAL(movs_end, "mov $0xffff, %si\n movsw");
REAL(les_end, "les 0xfffd, %ax");
REAL(rep_wrap, "push %es\n mov $0x2000, %ax\n mov %ax, %es\n mov $0xfffe, %di\n mov $4, %cx\n"
               "mov $0x5a, %al\n rep stosb\n mov %es:0xfffe, %bx\n mov %es:0, %dx\n"
               "mov %di, %cx\n pop %es");
REAL(code_end, "mov $0x1000, %ax\n mov %ax, %es\n movw $0x34b8, %es:0xfffe\n"
               "ljmp $0x1000, $0xfffe");
REAL(reload, "xor %ax, %ax\n mov %ax, %ds\n addr32 mov (%ebx), %eax");

static struct result run(const u8 *code)
{
    struct result r;
    real_code = (u16)(u32)code;
    real_mode((void (*)(void))(u32)real_run);
    memcpy(&r, (const void *)&real_result, sizeof r);
    return r;
}

static void expect_real(const char *name, const struct result *r, u16 vector, u16 ip)
{
    if (!check_quiet(name, r->vector == vector && (vector == 0xff || r->ip == ip)))
        say(": vector %x ip %x, not %x at %x\n", (u32)r->vector, (u32)r->ip, (u32)vector, (u32)ip);
}

static void vectors(void)
{
    u32 *ivt = NULL;
    __asm__("" : "+r"(ivt)); /* the compiler is not to know that this is address 0 */
    for (unsigned i = 0; i < 16; i++)
        ivt[i] = (u32)real_stubs + i * 16;
}

static u16 at(const u8 *p)
{
    return (u16)(u32)p;
}

static void plain(void)
{
    struct result r = run(nothing);
    check("it runs", r.vector == 0xff && (u16)r.eax == 0 && (u16)r.ebx == 0);
    check("PE is clear", !(r.edx & 1));
    check("EFLAGS.VM and IOPL", !(r.ecx & FL_IOPL));
    r = run(prefixes);
    check("operand-size prefixes", r.eax == 0x12345678 && r.ecx == 0x1234 && r.edx == 0x78);
    r = run(far_call);
    check("far call and return", r.vector == 0xff && (u16)r.edx == 0x10);
    *(volatile u32 *)0x100000 = *(volatile u32 *)0x100000;
    r = run(segment_math);
    check_eq("FFFF:0010 is 1 MiB", r.ebx, *(volatile u32 *)0x100000);
    r = run(a20);
    check_eq("A20 masked: FFFF:0510 is 0:0500", r.ebx, 0x11223344);
    check_eq("A20 open again", r.ecx, *(volatile u32 *)0x100500);
    r = run(sp_wrap);
    check("SP wraps", (u16)r.eax == 0x5678 && (u16)r.ebx == 0x1234 && (u16)r.ecx == 0xfffe);
    r = run(iret_);
    check("IRET", r.vector == 0xff && (u16)r.eax == 0x4321);
    r = run(sti_cli);
    check("STI and CLI", (r.eax & FL_IF) && !(r.ebx & FL_IF));
    r = run(long_jump);
    check("near jump", (u16)r.eax == 0xabcd);
    real_ebx = 0;
    r = run(loops);
    check("LOOP and JCXZ", r.vector == 0xff && (u16)r.eax == 10);
    r = run(stos);
    check_eq("REP STOSB", real_ebx, 0x99999999);
    r = run(enter_leave);
    check("ENTER and LEAVE", r.eax == r.edx && (u16)(r.eax - 2) == (u16)r.ebx &&
                                 (u16)(r.ebx - 8) == (u16)r.ecx);
}

static void interrupts(void)
{
    struct result r = run(int_5);
    expect_real("INT n", &r, 5, at(int_5) + 2);
    /* Pushed: IP, CS, FLAGS and nothing else; the return address of the call is above. */
    check_eq("its frame", (u16)(real_start_sp - r.sp), 8);
    check("CS pushed", r.cs == 0);
    r = run(div_0);
    expect_real("#DE is a fault", &r, 0, at(div_0) + 2);
    r = run(into_);
    expect_real("INTO", &r, 4, at(into__end));
    r = run(int3_);
    expect_real("INT3", &r, 3, at(int3_) + 1);
    r = run(undefined);
    expect_real("#UD", &r, 6, at(undefined));
    r = run(lock_bad);
    expect_real("LOCK NOP", &r, 6, at(lock_bad));
    r = run(bound_);
    expect_real("BOUND", &r, 5, at(bound__end) - 2);
    r = run(lldt_);
    expect_real("LLDT is undefined", &r, 6, at(lldt_));
    r = run(verr_);
    expect_real("VERR is undefined", &r, 6, at(verr_));
    if (under_tcg()) /* which never comes back */
        return;
    r = run(idt_limit);
    check_eq("INT beyond the IDT's limit: #GP, which is beyond it, too: #DF", r.vector, 8);
}

static void limits(void)
{
    struct result r = run(byte_end);
    expect_real("byte at FFFF", &r, 0xff, 0);
    r = run(word_end);
    expect_real("word at FFFF", &r, 13, at(word_end));
    check_eq("no error code", (u16)(real_start_sp - r.sp), 8);
    r = run(dword_end);
    expect_real("dword at FFFD", &r, 13, at(dword_end));
    r = run(ss_end);
    expect_real("word at SS:FFFF", &r, 12, at(ss_end));
    r = run(far_offset);
    expect_real("offset 10000", &r, 13, at(far_offset));
    r = run(pop_end);
    expect_real("POP with SP FFFF", &r, 12, at(pop_end) + 3);
    r = run(movs_end);
    expect_real("MOVSW at FFFF", &r, 13, at(movs_end) + 3);
    r = run(les_end);
    expect_real("LES at FFFD", &r, 13, at(les_end));
    r = run(rep_wrap);
    check("REP STOSB wraps at 64 KiB", r.vector == 0xff && (u16)r.ebx == 0x5a5a &&
                                           (u16)r.edx == 0x5a5a && (u16)r.ecx == 2);
    if (!under_tcg()) { /* which would go on behind it */
        r = run(code_end);
        expect_real("code across FFFF", &r, 13, 0xfffe);
        check_eq("its CS", r.cs, 0x1000);
    }
    /* Unreal mode: DS keeps the 4 GiB that protected mode gave it. */
    real_data = SEL_DATA;
    *(volatile u32 *)0x200000 = 0xfeedbeef;
    real_ebx = 0x200000;
    r = run(unreal_load);
    check("unreal mode", r.vector == 0xff && r.eax == 0xfeedbeef);
    r = run(reload);
    check("a load of DS keeps its limit", r.vector == 0xff && r.eax == 0xfeedbeef);
    real_data = SEL_DATA16;
    r = run(unreal_load);
    expect_real("and without", &r, 13, at(unreal_load));
    check("protected mode after it all", (read_cr0() & CR0_PE) != 0);
}

void test_main(void)
{
    plain();
    vectors(); /* sp_wrap wrote to 0:0 */
    interrupts();
    limits();
}

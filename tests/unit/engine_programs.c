/* Engines are tested by the same programs; see engine_programs.h. */
#include <stdlib.h>

#include "engine_programs.h"

struct tiny m;
const struct accel *engine_under_test;

void engine_setup(void)
{
    tiny_create(&m, engine_under_test, 0);
}

void engine_teardown(void)
{
    tiny_destroy(&m);
}

/* ---- real mode ---- */

CODE16(fib16, "mov $10, %cx\n xor %ax, %ax\n mov $1, %bx\n"
              "1: add %bx, %ax\n xchg %ax, %bx\n loop 1b\n"
              "mov %ax, 0x600\n push %ax\n pop %dx\n hlt\n")

START_TEST(test_real_loop)
{
    LOAD(0x7c00, fib16);
    tiny_real(&m, 0x7c00);
    tiny_run(&m);
    ck_assert(m.cpu->halted);
    ck_assert_uint_eq(load_le(m.ram + 0x600, 2), 55);
    ck_assert_uint_eq(m.cpu->gpr[RDX] & 0xffff, 55);
    ck_assert_uint_eq(m.cpu->gpr[RBX] & 0xffff, 89);
    ck_assert_uint_eq(m.cpu->rip, 0x7c00 + (u64)(fib16_end - fib16));
}
END_TEST

/* INT n through the vector table and back. */
CODE16(int16, "mov $0x1234, %ax\n stc\n int $0x60\n jc 1f\n mov $1, %dx\n hlt\n"
              "1: mov $2, %dx\n hlt\n .org int16 + 0x40\n mov %ax, %bx\n clc\n iret\n")

START_TEST(test_real_interrupt)
{
    LOAD(0x7c00, int16);
    store_le(m.ram + 0x60 * 4, 0x7c40, 4);
    tiny_real(&m, 0x7c00);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 0x1234);
    ck_assert_uint_eq(m.cpu->gpr[RDX] & 0xffff, 2); /* CF came back with IRET */
}
END_TEST

/* An instruction across a page border. */
START_TEST(test_page_crossing)
{
    static const u8 code[] = {0x90, 0xb8, 0x34, 0x12, 0xbb, 0x78, 0x56, 0xf4};
    tiny_load(&m, 0x7ffd, code, sizeof code);
    tiny_real(&m, 0x7ffd);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 0x1234);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 0x5678);
}
END_TEST

/* Beyond the CS limit: #GP, whose frame shows the offending IP. */
START_TEST(test_cs_limit)
{
    static const u8 code[] = {0x90, 0xb8}, handler[] = {0xf4};
    tiny_load(&m, 0xfffe, code, sizeof code);
    tiny_load(&m, 0x5000, handler, 1);
    store_le(m.ram + EXC_GP * 4, 0x5000, 4);
    tiny_real(&m, 0xfffe);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->rip, 0x5001);
    ck_assert_uint_eq(load_le(m.ram + (m.cpu->gpr[RSP] & 0xffff), 2), 0xffff);
}
END_TEST

/* ---- 64-bit mode ---- */

CODE64(sum64, "mov $1000, %ecx\n xor %eax, %eax\n lea 0x20000, %rdi\n"
              "1: mov %rcx, (%rdi,%rcx,8)\n add (%rdi,%rcx,8), %rax\n dec %rcx\n jnz 1b\n"
              "sub $500500, %rax\n setz %dl\n movzbl %dl, %edx\n hlt\n")

START_TEST(test_long_loop)
{
    RUN64(sum64);
    ck_assert(m.cpu->halted);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 0);
    ck_assert_uint_eq(m.cpu->gpr[RDX], 1);
    ck_assert_uint_eq(load_le(m.ram + 0x20000 + 8000, 8), 1000);
    ck_assert_uint_gt(tiny_counter(&m, "flags_killed"), 0);
    ck_assert_uint_gt(tiny_counter(&m, "forwarded"), 0);
    /* Executed by linked blocks, looked up but once each. */
    ck_assert_uint_lt(tiny_counter(&m, "lookups"), 10);
}
END_TEST

/* A page fault in the middle of a block: registers and flags are those of the instruction's start,
 * whatever the passes made of them. */
CODE64(fault64, "mov $1, %eax\n mov $0x7fffffff, %ebx\n add $1, %ebx\n"
                "inc %eax\n mov $0x40000000, %edx\n"
                "2: add %eax, (%rdx)\n inc %eax\n hlt\n"
                ".org fault64 + 0x80\n pop %r8\n pop %r9\n pop %r10\n pop %r11\n"
                "mov %cr2, %r12\n hlt\n")

START_TEST(test_precise_fault)
{
    START64(fault64);
    tiny_gate(&m, EXC_PF, 0x10080);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[R8], PF_W);
    ck_assert_uint_eq(m.cpu->gpr[R12], 0x40000000);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 2);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 0x80000000);
    /* Flags of inc: 1 + 1, with CF kept from the add. */
    ck_assert_uint_eq(m.cpu->gpr[R11] & FL_ARITH, 0);
    ck_assert_uint_eq(m.cpu->gpr[R9], 0x10000 + 20);
}
END_TEST

CODE64(divide64, "xor %edx, %edx\n mov $5, %eax\n xor %ecx, %ecx\n div %ecx\n hlt\n"
                 ".org divide64 + 0x80\n pop %r9\n hlt\n")

START_TEST(test_divide_error)
{
    START64(divide64);
    tiny_gate(&m, EXC_DE, 0x10080);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[R9], 0x10000 + 9);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 5);
}
END_TEST

/* Fetch from an unmapped page. */
CODE64(fetch64, "mov $0x50000000, %eax\n jmp *%rax\n"
                ".org fetch64 + 0x80\n pop %r8\n pop %r9\n mov %cr2, %r12\n hlt\n")

START_TEST(test_fetch_fault)
{
    START64(fetch64);
    tiny_gate(&m, EXC_PF, 0x10080);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[R8], PF_I);
    ck_assert_uint_eq(m.cpu->gpr[R9], 0x50000000);
    ck_assert_uint_eq(m.cpu->gpr[R12], 0x50000000);
}
END_TEST

/* ---- self-modifying code ---- */

/* The store changes the very next instruction. */
CODE64(smc_next64, "lea 1f(%rip), %rdi\n movb $0x55, 1(%rdi)\n 1: mov $0x11, %eax\n hlt\n")

START_TEST(test_smc_next_instruction)
{
    RUN64(smc_next64);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 0x55);
}
END_TEST

/* A loop that rewrites its own immediate each time round, a store into its own first byte. */
CODE64(smc_loop64, "mov $200, %ecx\n xor %eax, %eax\n lea 1f(%rip), %rdi\n xor %edx, %edx\n"
                   "1: add $0, %eax\n inc %dl\n mov %dl, 2(%rdi)\n movb $0x83, (%rdi)\n"
                   "dec %ecx\n jnz 1b\n hlt\n")

START_TEST(test_smc_loop)
{
    u64 want = 0;
    RUN64(smc_loop64);
    for (int i = 0; i < 200; i++)
        want += (u64)(s64)(s8)i;
    ck_assert_uint_eq(m.cpu->gpr[RAX], want & 0xffffffff);
    ck_assert_uint_gt(tiny_counter(&m, "drops"), 190);
    ck_assert_uint_gt(tiny_counter(&m, "freed"), 190);
}
END_TEST

/* Data next to code, in the same 64 bytes: nothing is dropped. */
CODE64(smc_near64, "mov $100, %ecx\n"
                   "1: mov %ecx, 2f(%rip)\n dec %ecx\n jnz 1b\n hlt\n 2: .long 0\n")

START_TEST(test_data_beside_code)
{
    RUN64(smc_near64);
    /* The exit of the loop was looked at for its flags, the data lies in what was read then; a
     * few drops at most, not one a turn. */
    ck_assert_uint_le(tiny_counter(&m, "drops"), 2);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 0);
}
END_TEST

/* The block's exit relied on its successor overwriting the flags; then the successor changes. */
CODE64(smc_fate64, "xor %r8d, %r8d\n 3: mov $5, %eax\n cmp $5, %eax\n jmp 1f\n nop\n nop\n"
                   "1: xor %ebx, %ebx\n nop\n nop\n nop\n hlt\n")

START_TEST(test_smc_flags_of_successor)
{
    static const u8 sete[] = {0x0f, 0x94, 0xc3, 0x90}; /* sete bl; nop */
    RUN64(smc_fate64);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 0);
    tiny_load(&m, 0x10000 + 15, sete, sizeof sete);
    m.cpu->halted = false;
    m.cpu->rip = 0x10000;
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 1);
}
END_TEST

/* ---- stepping, interrupts, atomics, arena ---- */

CODE64(step64, "pushfq\n orl $0x100, (%rsp)\n popfq\n mov $1, %eax\n add $2, %eax\n"
               "pushfq\n andl $~0x100, (%rsp)\n popfq\n hlt\n"
               ".org step64 + 0x80\n inc %r8\n mov %eax, %r9d\n iretq\n")

START_TEST(test_single_step)
{
    START64(step64);
    tiny_gate(&m, EXC_DB, 0x10080);
    tiny_run(&m);
    /* After each but the first POPF, which sets TF (SDM vol. 3B 17.3.1.4); the second still began
     * with TF set. */
    ck_assert_uint_eq(m.cpu->gpr[R8], 5);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 3);
    ck_assert_uint_eq(m.cpu->gpr[R9], 3);
}
END_TEST

static bool taken;
static int ack(void *opaque)
{
    taken = true;
    cpu_withdraw(m.cpu, REQ_INTR);
    return 0x30;
}
static const struct irq_ops irq = {.ack = ack};

/* An endless loop is left by an interrupt that is there from the start. */
CODE64(irq64, "sti\n 1: inc %eax\n jmp 1b\n .org irq64 + 0x80\n mov $7, %ebx\n hlt\n")

START_TEST(test_interrupt_in_loop)
{
    START64(irq64);
    tiny_gate(&m, 0x30, 0x10080);
    m.cpu->irq = &irq;
    taken = false;
    cpu_request(m.cpu, REQ_INTR);
    tiny_run(&m);
    ck_assert(taken);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 7);
    ck_assert_uint_ge(m.cpu->gpr[RAX], 1); /* the shadow of STI: one instruction at least */
}
END_TEST

CODE64(atomic64, "mov $0x20000, %edi\n movq $5, (%rdi)\n mov $3, %eax\n lock xadd %rax, (%rdi)\n"
                 "mov $8, %eax\n mov $0x99, %ecx\n lock cmpxchg %rcx, (%rdi)\n sete %dl\n"
                 "movl $1, 9(%rdi)\n lock incl 9(%rdi)\n"
                 "mov $2, %ebx\n xchg %ebx, 0xfff(%rdi)\n hlt\n")

START_TEST(test_atomics)
{
    RUN64(atomic64);
    ck_assert_uint_eq(load_le(m.ram + 0x20000, 8), 0x99);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 8);
    ck_assert_uint_eq(m.cpu->gpr[RDX] & 0xff, 1);
    ck_assert_uint_eq(load_le(m.ram + 0x20009, 4), 2);
    ck_assert_uint_eq(load_le(m.ram + 0x20fff, 4), 2);
}
END_TEST

CODE64(sse64, "mov $0x3f800000, %eax\n movd %eax, %xmm0\n addss %xmm0, %xmm0\n mulss %xmm0, %xmm0\n"
              "movaps %xmm0, 0x20000\n movd %xmm0, %ebx\n paddd %xmm0, %xmm0\n"
              "movdqu %xmm0, 0x20011\n hlt\n")

START_TEST(test_sse)
{
    RUN64(sse64);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 0x40800000); /* 4.0 */
    ck_assert_uint_eq(load_le(m.ram + 0x20000, 4), 0x40800000);
    ck_assert_uint_eq(load_le(m.ram + 0x20011, 4), 0x81000000);
}
END_TEST

CODE64(strings64, "cld\n mov $0x20000, %edi\n mov $0x41, %eax\n mov $5000, %ecx\n rep stosb\n"
                  "mov $0x20000, %esi\n mov $0x30000, %edi\n mov $5000, %ecx\n rep movsb\n"
                  "movb $0x42, 0x31000\n mov $0x20000, %esi\n mov $0x30000, %edi\n"
                  "mov $5000, %ecx\n repe cmpsb\n hlt\n")

START_TEST(test_strings)
{
    RUN64(strings64);
    ck_assert_uint_eq(m.cpu->gpr[RDI], 0x31001);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 5000 - 0x1001);
}
END_TEST

/* IRET ends the blocking of NMIs even when it faults (SDM vol. 3A 6.7.1): the one that waits comes
 * between the delivery of the fault and its handler, as at any boundary of instructions. */
CODE64(unblock64, "nop\n pushq $0\n pushq $0\n pushq $2\n pushq $0\n pushq $0\n iretq\n"
                  ".org unblock64 + 0x100\n inc %rax\n inc %rax\n inc %rax\n hlt\n"
                  ".org unblock64 + 0x200\n mov (%rsp), %rcx\n mov %rax, %rbx\n hlt\n")

START_TEST(test_nmi_before_handler)
{
    START64(unblock64);
    tiny_gate(&m, EXC_GP, 0x10100);
    tiny_gate(&m, EXC_NMI, 0x10200);
    m.cpu->nmi_blocked = true;
    cpu_request(m.cpu, REQ_NMI);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 0x10100);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 0);
}
END_TEST

/* A byte spread over a register, as glibc's 32-bit strchr does it: values that share a register
 * with others that replace parts of it. */
CODE64(spread64, "mov 0x20000, %edx\n mov %dl, %dh\n mov %edx, %ecx\n shl $16, %edx\n"
                 "mov %cx, %dx\n test $3, %al\n je 1f\n nop\n 1: hlt\n")

START_TEST(test_parts_of_registers)
{
    LOAD(0x10000, spread64);
    store_le(m.ram + 0x20000, 0x2f, 4);
    tiny_long(&m, 0x10000);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RDX], 0x2f2f2f2f);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 0x2f2f);
}
END_TEST

/* More code than the arena holds, executed twice over. */
/* The pointers of FNSTENV (SDM vol. 1, 8.1.8) after a register and after a memory operand, with and
 * without something in between that could look at them. */
CODE64(x87_pointers64,
       "fninit\n mov $0x20000, %edi\n fld1\n 1: fldl 8(%rdi)\n fnstenv 0x100(%rdi)\n"
       "faddp\n 2: fnop\n fnstcw 0x200(%rdi)\n mov (%rdi), %eax\n fnstenv 0x140(%rdi)\n lea 1b(%rip), %rbx\n"
       "lea 2b(%rip), %rdx\n fninit\n fnstenv 0x180(%rdi)\n hlt\n")

static void check_pointers(u64 at, u64 fip, u64 fop, u64 fcs, u64 fdp)
{
    const u8 *image = m.ram + at;
    ck_assert_uint_eq(load_le(image + 12, 4), fip);
    ck_assert_uint_eq(load_le(image + 16, 4), fop << 16 | fcs);
    ck_assert_uint_eq(load_le(image + 20, 4), fdp);
}

START_TEST(test_x87_pointers)
{
    RUN64(x87_pointers64);
    u64 cs = m.cpu->seg[SEG_CS].selector;
    check_pointers(0x20100, m.cpu->gpr[RBX], 0x547, cs, 0x20008);
    check_pointers(0x20140, m.cpu->gpr[RDX], 0x1d0, cs, 0x20008);
    check_pointers(0x20180, 0, 0, 0, 0);
}
END_TEST

/* In one block: a division by zero that is masked; the same unmasked by FLDCW, pending until FWAIT,
 * where its handler finds it; FNSTSW and FNINIT do not wait. */
CODE64(x87_unmask64,
       "fninit\n mov $0x20000, %edi\n fld1\n fldz\n fdivrp\n fnstsw 8(%rdi)\n fninit\n"
       "movw $0x37b, (%rdi)\n fldcw (%rdi)\n fldz\n fld1\n 1: fdivp\n fnstsw 10(%rdi)\n"
       "mov $1, %ebx\n 2: fwait\n mov $2, %ebx\n fld1\n fldz\n fstpl 16(%rdi)\n hlt\n"
       ".org x87_unmask64 + 0x80\n mov (%rsp), %rsi\n fnstenv 0x100(%rdi)\n lea 2b(%rip), %rcx\n"
       "lea 1b(%rip), %rdx\n fninit\n add $1, %rsi\n mov %rsi, (%rsp)\n iretq\n")

START_TEST(test_x87_unmask)
{
    LOAD(0x10000, x87_unmask64);
    store_le(m.ram + 0x20010, 0x1234, 8);
    tiny_long(&m, 0x10000);
    tiny_gate(&m, EXC_MF, 0x10080);
    tiny_run(&m);
    ck_assert_uint_eq(load_le(m.ram + 0x20008, 2), 0x3804);
    ck_assert_uint_eq(load_le(m.ram + 0x2000a, 2), 0xb084); /* ES, B; the operands still there */
    ck_assert_uint_eq(m.cpu->gpr[RSI], m.cpu->gpr[RCX] + 1);
    ck_assert_uint_eq(load_le(m.ram + 0x2010c, 4), m.cpu->gpr[RDX]);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 2);
    ck_assert_uint_eq(load_le(m.ram + 0x20010, 8), 0);
    ck_assert_uint_eq(m.cpu->x87.fcw, 0x37f);
    ck_assert_uint_eq(m.cpu->x87.fsw, 0x3800);
}
END_TEST

/* x87 and MMX code in turns, around a page fault whose handler uses the x87 itself. */
CODE64(x87_turns64,
       "fninit\n mov $0x20000, %edi\n mov $0x80000000, %esi\n fldpi\n fld1\n fstpl (%rdi)\n"
       "fldl (%rsi)\n fstpl 8(%rdi)\n fstpl 16(%rdi)\n movq (%rdi), %mm3\n paddd %mm3, %mm3\n"
       "movq %mm3, 24(%rdi)\n fnstsw 40(%rdi)\n emms\n fildl 32(%rdi)\n fistpq 48(%rdi)\n hlt\n"
       ".org x87_turns64 + 0x80\n fnstsw 42(%rdi)\n fldl (%rdi)\n fstpl 56(%rdi)\n mov %edi, %esi\n"
       "add $8, %rsp\n iretq\n")

START_TEST(test_x87_turns)
{
    LOAD(0x10000, x87_turns64);
    store_le(m.ram + 0x20020, 0xfffffff9, 4);
    tiny_long(&m, 0x10000);
    tiny_gate(&m, EXC_PF, 0x10080);
    tiny_run(&m);
    ck_assert_uint_eq(load_le(m.ram + 0x20008, 8), 0x3ff0000000000000);
    ck_assert_uint_eq(load_le(m.ram + 0x20010, 8), 0x400921fb54442d18);
    ck_assert_uint_eq(load_le(m.ram + 0x20018, 8), 0x7fe0000000000000);
    ck_assert_uint_eq(load_le(m.ram + 0x20028, 2), 0x0020); /* MMX: TOP is 0; inexact from pi */
    ck_assert_uint_eq(load_le(m.ram + 0x2002a, 2), 0x3800);
    ck_assert_uint_eq(load_le(m.ram + 0x20030, 8), (u64)-7);
    ck_assert_uint_eq(load_le(m.ram + 0x20038, 8), 0x3ff0000000000000);
    ck_assert_uint_eq(m.cpu->x87.ftw, 0);
}
END_TEST

START_TEST(test_full_arena)
{
    tiny_destroy(&m);
    tiny_create(&m, engine_under_test, 1); /* the least that the engine accepts */
    /* 20000 times: inc rax; jmp to the next. */
    for (u64 i = 0; i < 20000; i++)
        tiny_load(&m, 0x200000 + 8 * i, "\x48\xff\xc0\xeb\x03\x90\x90\x90", 8);
    tiny_load(&m, 0x200000 + 8 * 20000, "\xf4", 1);
    for (u64 turn = 1; turn <= 2; turn++) {
        tiny_long(&m, 0x200000);
        tiny_run(&m);
        ck_assert_uint_eq(m.cpu->gpr[RAX], 20000);
    }
    ck_assert_uint_gt(tiny_counter(&m, "flushes"), 0);
    ck_assert_uint_gt(tiny_counter(&m, "freed"), 10000);
}
END_TEST

void engine_programs(Suite *s)
{
    TCase *c = tcase_create("programs");
    tcase_add_checked_fixture(c, engine_setup, engine_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_real_loop);
    tcase_add_test(c, test_real_interrupt);
    tcase_add_test(c, test_page_crossing);
    tcase_add_test(c, test_cs_limit);
    tcase_add_test(c, test_long_loop);
    tcase_add_test(c, test_precise_fault);
    tcase_add_test(c, test_divide_error);
    tcase_add_test(c, test_fetch_fault);
    tcase_add_test(c, test_smc_next_instruction);
    tcase_add_test(c, test_smc_loop);
    tcase_add_test(c, test_data_beside_code);
    tcase_add_test(c, test_smc_flags_of_successor);
    tcase_add_test(c, test_single_step);
    tcase_add_test(c, test_interrupt_in_loop);
    tcase_add_test(c, test_atomics);
    tcase_add_test(c, test_sse);
    tcase_add_test(c, test_strings);
    tcase_add_test(c, test_x87_pointers);
    tcase_add_test(c, test_x87_unmask);
    tcase_add_test(c, test_x87_turns);
    tcase_add_test(c, test_nmi_before_handler);
    tcase_add_test(c, test_parts_of_registers);
    tcase_add_test(c, test_full_arena);
    suite_add_tcase(s, c);
    engine_counting(s);
}

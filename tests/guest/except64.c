/* Exceptions and software interrupts in 64-bit mode: vector, error code, pushed RIP and flags,
 * priorities, double faults, IST and stack switching.
 *
 * SDM vol. 3A chapter 6 unless another section is named.
 */
#include "tests/guest/lib/long.h"

#define AREA 0x8000000000ull /* nothing is mapped there */
#define ENDED(code) (code##_end + 2)

struct simple {
    const char *name;
    u8 *code;
    int offset; /* of the pushed RIP: 0 for faults, the length for traps */
    unsigned vector;
    u32 error;
};

/* ---- one instruction, one exception: at both rings unless said ---- */

CODE(div_zero, "xor %ecx, %ecx\n div %ecx");
CODE(div_big, "mov $1, %edx\n xor %eax, %eax\n mov $1, %ecx\n div %ecx");
CODE(idiv_big, "mov $0x80000000, %eax\n cltd\n mov $-1, %ecx\n idiv %ecx");
CODE(div_byte, "mov $0x1000, %eax\n mov $1, %cl\n div %cl");
CODE(undefined, "ud2");
CODE(undefined1, ".byte 0x0f, 0xb9, 0xc0"); /* UD1 */
CODE(push_es, ".byte 0x06");
CODE(into, ".byte 0xce");
CODE(aaa, ".byte 0x37");
CODE(far_direct, ".byte 0x9a, 0, 0, 0, 0, 0, 0");
CODE(lock_nop, ".byte 0xf0, 0x90");
CODE(lock_reg, ".byte 0xf0, 0x01, 0xc0");
CODE(lock_cmp, ".byte 0xf0, 0x39, 0x07");
CODE(lock_load, ".byte 0xf0, 0x8b, 0x07");
CODE(mov_cs, ".byte 0x8e, 0xc8");
CODE(lea_reg, ".byte 0x8d, 0xc0");
CODE(mov_cr1, ".byte 0x0f, 0x20, 0xc8");
CODE(movaps_odd, "lea -0x1f(%rsp), %rax\n movaps (%rax), %xmm0");
CODE(paddd_odd, "lea -0x1f(%rsp), %rax\n paddd (%rax), %xmm0");
CODE(lddqu_odd, "lea -0x1f(%rsp), %rax\n movups (%rax), %xmm0");
CODE(bad_msr, "mov $0x12345, %ecx\n rdmsr");
CODE(bad_wrmsr, "mov $0xc0000080, %ecx\n mov $-1, %eax\n mov $-1, %edx\n wrmsr");
CODE(lstar_bad, "mov $0xc0000082, %ecx\n mov $0x12345678, %edx\n wrmsr");
CODE(too_long, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
               "0x90");
CODE(just_long, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
                "0x90");

static const struct simple both_rings[] = {
    {"#DE divide by zero", div_zero, 2, DE, 0},
    {"#DE quotient too big", div_big, 12, DE, 0},
    {"#DE signed overflow", idiv_big, 11, DE, 0},
    {"#DE byte", div_byte, 7, DE, 0},
    {"#UD UD2", undefined, 0, UD, 0},
    {"#UD UD1", undefined1, 0, UD, 0},
    {"#UD PUSH ES", push_es, 0, UD, 0},
    {"#UD INTO", into, 0, UD, 0},
    {"#UD AAA", aaa, 0, UD, 0},
    {"#UD CALL ptr16:32", far_direct, 0, UD, 0},
    {"#UD LOCK NOP", lock_nop, 0, UD, 0},
    {"#UD LOCK ADD register", lock_reg, 0, UD, 0},
    {"#UD LOCK CMP", lock_cmp, 0, UD, 0},
    {"#UD LOCK MOV", lock_load, 0, UD, 0},
    {"#UD MOV to CS", mov_cs, 0, UD, 0},
    {"#UD LEA register", lea_reg, 0, UD, 0},
    {"#GP MOVAPS", movaps_odd, 5, GP, 0},
    {"#GP PADDD", paddd_odd, 5, GP, 0},
    {"MOVUPS", lddqu_odd, 10, STOP, 0},
    {"#GP 16 bytes long", too_long, 0, GP, 0}, /* vol. 2A 2.3.11 */
    {"15 bytes long", just_long, 17, STOP, 0},
};

CODE(hlt_, "hlt");
CODE(cli_, "cli");
CODE(sti_, "sti");
CODE(in_, "in $0x80, %al");
CODE(outs_, "outsb");
CODE(lgdt_, "lgdt (%rsp)");
CODE(lidt_, "lidt (%rsp)");
CODE(ltr_, "ltr %ax");
CODE(lldt_, "lldt %ax");
CODE(lmsw_, "lmsw %ax");
CODE(clts_, "clts");
CODE(invlpg_, "invlpg (%rax)");
CODE(wbinvd_, "wbinvd");
CODE(rdmsr_, "rdmsr");
CODE(mov_cr_, "mov %cr0, %rax");
CODE(mov_dr_, "mov %dr7, %rax");
CODE(sysret_, "sysretq");
CODE(swapgs_, "swapgs");
CODE(cr8_, "mov %rax, %cr8");

static const struct simple user_only[] = {
    {"#GP HLT", hlt_, 0, GP, 0},       {"#GP CLI", cli_, 0, GP, 0},
    {"#GP STI", sti_, 0, GP, 0},       {"#GP IN", in_, 0, GP, 0},
    {"#GP OUTS", outs_, 0, GP, 0},     {"#GP LGDT", lgdt_, 0, GP, 0},
    {"#GP LIDT", lidt_, 0, GP, 0},     {"#GP LTR", ltr_, 0, GP, 0},
    {"#GP LLDT", lldt_, 0, GP, 0},     {"#GP LMSW", lmsw_, 0, GP, 0},
    {"#GP CLTS", clts_, 0, GP, 0},     {"#GP INVLPG", invlpg_, 0, GP, 0},
    {"#GP WBINVD", wbinvd_, 0, GP, 0}, {"#GP RDMSR", rdmsr_, 0, GP, 0},
    {"#GP MOV CR", mov_cr_, 0, GP, 0}, {"#GP MOV DR", mov_dr_, 0, GP, 0},
    {"#GP SYSRET", sysret_, 0, GP, 0}, {"#GP SWAPGS", swapgs_, 0, GP, 0},
    {"#GP MOV CR8", cr8_, 0, GP, 0},
};

static const struct simple kernel_only[] = {
    {"#UD MOV CR1", mov_cr1, 0, UD, 0},
    {"#GP RDMSR of none", bad_msr, 5, GP, 0},
    {"#GP WRMSR EFER reserved", bad_wrmsr, 15, GP, 0},
    {"#GP WRMSR LSTAR not canonical", lstar_bad, 10, GP, 0},
};

static void run_simple(const struct simple *s, bool user)
{
    struct regs r = user ? user_at(s->code) : kernel_at(s->code);
    u64 start = r.rip;
    r.rdi = (u64)&trap_counts;
    r.flags |= FL_CF | FL_SF | FL_PF;
    enter(&r);
    expect(s->name, &r, s->vector, s->error, (void *)(start + (u64)s->offset));
    check_eq("CS of the trap", r.cs, user ? SEL_USER : SEL_CODE);
    check_eq("SS of the trap", r.ss, user ? SEL_USER_DATA : SEL_DATA);
}

static void simple(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(both_rings); i++) {
        run_simple(&both_rings[i], false);
        run_simple(&both_rings[i], true);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(user_only); i++)
        run_simple(&user_only[i], true);
    for (unsigned i = 0; i < ARRAY_SIZE(kernel_only); i++)
        run_simple(&kernel_only[i], false);
}

/* ---- INT n, INT3, ICEBP, single steps (6.4.2, vol. 3B 17.3) ---- */

CODE(int3_, "int3\n nop");
CODE(int_3, ".byte 0xcd, 3\n nop");
CODE(int_20, "int $0x20\n nop");
CODE(icebp, ".byte 0xf1\n nop");
CODE(step_nop, "nop\n nop\n nop");
CODE(step_branch, "jmp 1f\n nop\n1: nop");
CODE(step_popf, "push $0x102\n popf\n nop\n nop");
CODE(step_ss, "mov %ss, %eax\n mov %eax, %ss\n nop\n nop");
CODE(step_rep, "rep stosb\n nop");
CODE(step_int, "int $0x20\n nop");

static u64 read_dr6(void)
{
    u64 v;
    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    return v;
}

static void write_dr6(u64 v)
{
    __asm__ volatile("mov %0, %%dr6" : : "r"(v));
}

static void write_dr7(u64 v)
{
    __asm__ volatile("mov %0, %%dr7" : : "r"(v));
}

#define DR6_CLEAR 0xffff0ff0ull
#define DR6_BS (1ull << 14)

static struct regs step(u8 *code, unsigned more)
{
    struct regs r = kernel_at(code);
    r.flags |= FL_TF | more;
    r.rdi = AREA;
    write_dr6(DR6_CLEAR);
    enter(&r);
    return r;
}

static u8 store_area[16];

static void software(void)
{
    struct regs r;
    for (unsigned user = 0; user < 2; user++) {
        u64 base = user ? USER_VIEW : 0;
        r = user ? user_at(int3_) : kernel_at(int3_);
        reset_gate(BP);
        set_gate(BP, trap_stubs + BP * 16, 0xe, 3, 0);
        enter(&r);
        expect("INT3", &r, BP, 0, int3_ + 1 + base);
        check("INT3 pushes RF 0", !(r.flags & FL_RF));
        r = user ? user_at(int_3) : kernel_at(int_3);
        enter(&r);
        expect("INT 3", &r, BP, 0, int_3 + 2 + base);
        reset_gate(BP);
    }
    r = kernel_at(int_20);
    enter(&r);
    expect("INT 20 at ring 0", &r, 0x20, 0, int_20 + 2);
    /* A gate's DPL protects it from INT n (6.12.1.2): error code is vector * 8 + IDT. */
    r = user_at(int_20);
    enter(&r);
    expect("INT 20 at ring 3, DPL 0", &r, GP, 0x20 * 8 + 2, (void *)AS_USER(int_20));
    r = user_at(int3_);
    enter(&r);
    expect("INT3 at ring 3, DPL 0", &r, GP, 3 * 8 + 2, (void *)AS_USER(int3_));
    write_dr6(DR6_CLEAR);
    r = user_at(icebp);
    enter(&r);
    expect("ICEBP at ring 3 is not held up by DPL", &r, DB, 0, (void *)(AS_USER(icebp) + 1));
    check_eq("ICEBP leaves BS", read_dr6() & DR6_BS, 0);
}

static void stepping(void)
{
    struct regs r = step(step_nop, 0);
    expect("TF", &r, DB, 0, step_nop + 1);
    check("TF pushed", (r.flags & FL_TF));
    check_eq("DR6.BS", read_dr6() & DR6_BS, DR6_BS);
    r = step(step_branch, 0);
    check("TF after a branch", r.vector == DB && r.rip == (u64)step_branch + 3);
    r = kernel_at(step_popf);
    enter(&r);
    expect("TF by POPF: after the next", &r, DB, 0, step_popf + 7);
    r = kernel_at(step_ss + 2);
    r.rax = SEL_DATA;
    r.flags |= FL_TF;
    enter(&r);
    expect("TF and MOV SS: after the next", &r, DB, 0, step_ss + 5);
    r = kernel_at(step_rep);
    r.rdi = (u64)store_area;
    r.rcx = 3;
    r.flags |= FL_TF;
    enter(&r);
    expect("TF and REP: after each", &r, DB, 0, step_rep);
    check_eq("TF and REP: RCX", r.rcx, 2);
    r = kernel_at(step_rep);
    r.rdi = (u64)store_area;
    r.rcx = 1;
    r.flags |= FL_TF;
    enter(&r);
    expect("TF and REP: the last", &r, DB, 0, step_rep + 2);
    /* INT n clears TF; the step is not taken, and comes again after IRET only. */
    r = step(step_int, 0);
    expect("TF and INT n", &r, 0x20, 0, step_int + 2);
    check("TF and INT n pushes TF", r.flags & FL_TF);
    /* A fault is delivered without a step. */
    r = step(undefined, 0);
    expect("TF and #UD", &r, UD, 0, undefined);
    check("TF and #UD pushes TF", r.flags & FL_TF);
}

/* ---- debug registers (vol. 3B 17.2) ---- */

CODE(dr_gd, "mov %dr0, %rax");

static void debug_registers(void)
{
    struct regs r;
    write_dr6(DR6_CLEAR);
    write_dr7(0x400 | 1 << 13);
    r = kernel_at(dr_gd);
    enter(&r);
    expect("DR7.GD", &r, DB, 0, dr_gd);
    check_eq("DR6.BD", read_dr6() & 1 << 13, 1 << 13);
    write_dr7(0x400);
}

/* ---- what is pushed (6.8.3, vol. 3B 17.3.1.1; 6.14) ---- */

CODE(load, "mov (%rdi), %eax");

static void pushed(void)
{
    u64 all = FL_ARITH | FL_DF | FL_AC | FL_ID | FL_ONE;
    struct regs r = user_at(undefined);
    r.flags = all;
    enter(&r);
    check_eq("#UD pushes the flags", r.flags & ~(u64)FL_RF, all);
    check("#UD pushes RF", r.flags & FL_RF);
    check_eq("frame of a switch to ring 0", r.frame, tss.rsp[0] - 40);
    r = user_at(load);
    r.rdi = AREA;
    r.flags = FL_IF | FL_ONE;
    enter(&r);
    check_eq("#PF pushes the flags", r.flags & ~(u64)FL_RF, FL_IF | FL_ONE);
    check("#PF pushes RF", r.flags & FL_RF);
    check_eq("frame with an error code", r.frame, tss.rsp[0] - 40);
    r = user_at(step_nop); /* ends in INT 80 */
    r.flags = all;
    enter(&r);
    check_eq("INT n pushes the flags", r.flags, all);
    /* The stack is aligned to 16 bytes before the pushes (6.14.2). */
    for (unsigned i = 0; i < 16; i += 3) {
        r = kernel_at(undefined);
        r.rsp -= 64 + i;
        u64 sp = r.rsp;
        enter(&r);
        check_eq("aligned frame", r.frame, (sp & ~15ull) - 40);
        check_eq("RSP pushed", r.rsp, sp);
    }
}

static u64 seen_ss, seen_flags;

static bool note_state(struct regs *r)
{
    (void)r;
    __asm__ volatile("mov %%ss, %0\n pushfq\n pop %1" : "=r"(seen_ss), "=r"(seen_flags));
    return true;
}

static void gates(void)
{
    static u8 stack[4096] __attribute__((aligned(16)));
    struct regs r;
    handlers[UD] = note_state;
    r = user_at(undefined);
    r.flags |= FL_IF | FL_DF | FL_NT | FL_AC;
    r.flags &= ~(u64)FL_NT;
    enter(&r);
    check_eq("SS null after a switch to ring 0", seen_ss & 0xffff, 0);
    check_eq("interrupt gate clears IF", seen_flags & (FL_IF | FL_TF | FL_NT | FL_RF), 0);
    set_gate(UD, trap_stubs + UD * 16, 0xf, 0, 0);
    r = user_at(undefined);
    r.flags |= FL_IF;
    enter(&r);
    check_eq("trap gate keeps IF", seen_flags & FL_IF, FL_IF);
    /* IST (6.14.5), with and without a change of ring. */
    tss.ist[3] = (u64)(stack + sizeof stack);
    set_gate(UD, trap_stubs + UD * 16, 0xe, 0, 3);
    r = user_at(undefined);
    enter(&r);
    check_eq("IST from ring 3", r.frame, tss.ist[3] - 40);
    r = kernel_at(undefined);
    enter(&r);
    check_eq("IST from ring 0", r.frame, tss.ist[3] - 40);
    check_eq("SS stays in ring 0", seen_ss & 0xffff, SEL_DATA);
    tss.ist[3] -= 8;
    r = kernel_at(undefined);
    enter(&r);
    check_eq("IST is aligned", r.frame, ((tss.ist[3]) & ~15ull) - 40);
    handlers[UD] = NULL;
    reset_gate(UD);
}

/* ---- faults of delivery: error codes with EXT and IDT (6.13), double faults (6.15) ---- */

#define GATE_ERROR(v) ((v) * 8 + 2)

static void broken_gates(void)
{
    struct regs r;
    idt[UD * 2] &= ~(1ull << 47);
    r = kernel_at(undefined);
    enter(&r);
    expect("#UD, gate not present", &r, NP, GATE_ERROR(UD) | 1, undefined);
    reset_gate(UD);
    idt[0x20 * 2] &= ~(1ull << 47);
    r = kernel_at(int_20);
    enter(&r);
    expect("INT n, gate not present", &r, NP, GATE_ERROR(0x20), int_20);
    set_gate(0x20, trap_stubs, 5, 3, 0); /* a task gate */
    r = kernel_at(int_20);
    enter(&r);
    expect("INT n, task gate in long mode", &r, GP, GATE_ERROR(0x20), int_20);
    reset_gate(0x20);
    u64 selector[] = {0, SEL_DATA, SEL_CODE32, 0x7f0};
    u32 error[] = {0, SEL_DATA, SEL_CODE32, 0x7f0};
    for (unsigned i = 0; i < ARRAY_SIZE(selector); i++) {
        idt[0x20 * 2] = (idt[0x20 * 2] & ~0xffff0000ull) | selector[i] << 16;
        r = kernel_at(int_20);
        enter(&r);
        expect("INT n, gate with a bad selector", &r, GP, error[i], int_20);
    }
    reset_gate(0x20);
    idt[0x20 * 2 + 1] = 0x123456; /* not canonical */
    r = kernel_at(int_20);
    enter(&r);
    expect("INT n, target not canonical", &r, GP, 0, int_20);
    reset_gate(0x20);
    load_idt(idt, 0x20 * 16 - 1);
    r = kernel_at(int_20);
    enter(&r);
    expect("INT n beyond the IDT", &r, GP, GATE_ERROR(0x20), int_20);
    load_idt(idt, sizeof idt - 1);
    /* INT n needs DPL >= CPL even for #GP itself, presence is checked after. */
    idt[0x20 * 2] &= ~(1ull << 47);
    r = user_at(int_20);
    enter(&r);
    expect("INT n, DPL before presence", &r, GP, GATE_ERROR(0x20), (void *)AS_USER(int_20));
    reset_gate(0x20);
}

static void double_faults(void)
{
    struct regs r;
    idt[GP * 2] &= ~(1ull << 47); /* contributory, then contributory */
    r = kernel_at(load);
    r.rdi = 1ull << 63;
    enter(&r);
    check("#GP whose gate is not present: #DF", r.vector == DF && r.error == 0);
    r = kernel_at(div_zero);
    idt[DE * 2] &= ~(1ull << 47);
    idt[NP * 2] &= ~(1ull << 47);
    enter(&r);
    check("#DE whose gate is not present, #NP too: #DF", r.vector == DF && r.error == 0);
    reset_gate(DE);
    reset_gate(NP);
    reset_gate(GP);
    idt[PF * 2] &= ~(1ull << 47); /* #PF, then contributory */
    r = kernel_at(load);
    r.rdi = AREA + 0x1230;
    enter(&r);
    check("#PF whose gate is not present: #DF", r.vector == DF && r.error == 0);
    check_eq("its CR2", r.cr2, AREA + 0x1230);
    reset_gate(PF);
    /* #PF during delivery of #PF: a stack that is not mapped. */
    r = kernel_at(load);
    r.rdi = AREA + 0x3000;
    r.rsp = AREA + 0x2000;
    enter(&r);
    check("#PF with a stack that faults: #DF", r.vector == DF && r.error == 0);
    check_eq("CR2 is that of the second #PF", r.cr2 & ~0xfffull, AREA + 0x1000);
    /* Contributory, then #PF: no double fault, the #PF is delivered (table 6-5). */
    set_gate(PF, trap_stubs + PF * 16, 0xe, 0, 2);
    tss.ist[2] = tss.ist[1] - 4096;
    r = kernel_at(load);
    r.rdi = 1ull << 63;
    r.rsp = AREA + 0x2000;
    enter(&r);
    check("#GP with a stack that faults: #PF", r.vector == PF && r.error == 2);
    reset_gate(PF);
    /* Benign, then #PF: #PF; benign, then #NP: #NP. */
    set_gate(PF, trap_stubs + PF * 16, 0xe, 0, 2);
    r = kernel_at(undefined);
    r.rsp = AREA + 0x2000;
    enter(&r);
    check("#UD with a stack that faults: #PF", r.vector == PF && r.error == 2);
    check("its RIP is that of the #UD", r.rip == (u64)undefined);
    reset_gate(PF);
    /* An IDT in memory that is absent. */
    tss.ist[2] = 0;
    load_idt((void *)AREA, 8 * 16 - 1);
    load_idt(idt, sizeof idt - 1);
    /* A stack that is not canonical: #SS; after #UD that is delivered on IST. */
    set_gate(SS, trap_stubs + SS * 16, 0xe, 0, 1);
    r = kernel_at(undefined);
    r.rsp = 0x8000000000001000;
    enter(&r);
    check("#UD with a stack that is not canonical: #SS", r.vector == SS && r.error <= 1);
    reset_gate(SS);
}

/* ---- coprocessor and SIMD (vol. 3A 2.5 table, 12.1; vol. 1 8.7, 11.5) ---- */

CODE(fpu_, "fld1");
CODE(wait_, "fwait");
CODE(mmx_, "paddd %mm0, %mm0");
CODE(sse_, "addps %xmm0, %xmm0");
CODE(fnop_after, "fldz\n fld1\n fdivp\n nop\n fnop");
CODE(fpu_nowait, "fldz\n fld1\n fdivp\n fnstsw %ax");
CODE(xm_, "divps %xmm1, %xmm0");
CODE(xm_setup, "xorps %xmm1, %xmm1\n pcmpeqd %xmm0, %xmm0\n psrld $25, %xmm0\n pslld $23, %xmm0");
CODE(emms_, "emms");
CODE(ac_, "mov (%rdi), %eax");

static void in_mode(const char *name, u8 *code, u64 cr0, u64 cr4_clear, unsigned vector)
{
    u64 old0 = read_cr0(), old4 = read_cr4();
    write_cr0((old0 & ~(u64)(CR0_EM | CR0_TS | CR0_MP)) | cr0);
    write_cr4(old4 & ~cr4_clear);
    struct regs r = kernel_at(code);
    enter(&r);
    write_cr0(old0);
    write_cr4(old4);
    check_eq(name, r.vector, vector);
    if (vector != STOP)
        check_eq("RIP of it", r.rip, (u64)code);
}

static void coprocessor(void)
{
    __asm__ volatile("fninit");
    in_mode("x87", fpu_, 0, 0, STOP);
    in_mode("x87, TS", fpu_, CR0_TS, 0, NM);
    in_mode("x87, EM", fpu_, CR0_EM, 0, NM);
    in_mode("FWAIT, TS", wait_, CR0_TS, 0, STOP);
    in_mode("FWAIT, TS, MP", wait_, CR0_TS | CR0_MP, 0, NM);
    in_mode("FWAIT, EM", wait_, CR0_EM, 0, STOP);
    in_mode("MMX, TS", mmx_, CR0_TS, 0, NM);
    in_mode("MMX, EM", mmx_, CR0_EM, 0, UD);
    in_mode("MMX, EM, TS", mmx_, CR0_EM | CR0_TS, 0, UD);
    in_mode("SSE, TS", sse_, CR0_TS, 0, NM);
    in_mode("SSE, EM", sse_, CR0_EM, 0, UD);
    in_mode("SSE, no OSFXSR", sse_, 0, CR4_OSFXSR, UD);
    in_mode("SSE, no OSFXSR, TS", sse_, CR0_TS, CR4_OSFXSR, UD);
    in_mode("MMX, no OSFXSR", mmx_, 0, CR4_OSFXSR, STOP);
    in_mode("EMMS", emms_, 0, 0, STOP);

    struct regs r;
    u16 control = 0x37b; /* zero divide unmasked */
    __asm__ volatile("fninit\n fldcw %0" : : "m"(control));
    r = kernel_at(fnop_after);
    enter(&r);
    expect("#MF at the next waiting instruction", &r, MF, 0, fnop_after + 7);
    __asm__ volatile("fnclex\n fninit\n fldcw %0" : : "m"(control));
    r = kernel_at(fpu_nowait);
    enter(&r);
    expect("FNSTSW does not wait", &r, STOP, 0, ENDED(fpu_nowait));
    check_eq("its status", r.rax & 0x84, 0x84);
    r = kernel_at(wait_);
    enter(&r);
    expect("FWAIT waits", &r, MF, 0, wait_);
    r = kernel_at(mmx_);
    enter(&r);
    expect("MMX waits", &r, MF, 0, mmx_);
    __asm__ volatile("fnclex\n fninit");

    u32 csr = 0x1f80 & ~0x200u;
    __asm__ volatile("ldmxcsr %0" : : "m"(csr));
    r = kernel_at(xm_setup);
    enter(&r);
    r = kernel_at(xm_);
    enter(&r);
    expect("#XM", &r, XM, 0, xm_);
    __asm__ volatile("stmxcsr %0" : "=m"(csr));
    check_eq("MXCSR.ZE", csr & 0x3f, 4);
    in_mode("SIMD exception without OSXMMEXCPT", xm_, 0, CR4_OSXMMEXCPT, UD);
    csr = 0x1f80;
    __asm__ volatile("ldmxcsr %0" : : "m"(csr));
    in_mode("divps, masked", xm_, 0, 0, STOP);
}

/* #AC (6.15, interrupt 17): CR0.AM, EFLAGS.AC, ring 3. */
CODE(ac_stack, "push %rax");
CODE(ac_store, "mov %ax, (%rdi)");
CODE(ac_load8, "mov (%rdi), %rax");

CODE(ac_xmm, "movups (%rdi), %xmm0");
CODE(ac_xmm_store, "movdqu %xmm0, (%rdi)");
CODE(ac_movq, "movq (%rdi), %xmm0");
CODE(ac_fldt, "fldt (%rdi)");
CODE(ac_fldl, "fldl (%rdi)");
CODE(ac_fbld, "fbld (%rdi)");
CODE(ac_fstpt, "fstpt (%rdi)");
CODE(ac_env, "fnstenv (%rdi)");
CODE(ac_add, "addl $1, (%rdi)");
CODE(ac_lock, "lock addq $1, (%rdi)");
CODE(ac_xchg, "xchg %ax, (%rdi)");
CODE(ac_cx8, "cmpxchg8b (%rdi)");
CODE(ac_stosl, "rep stosl");
CODE(ac_movsq, "movsq");
CODE(ac_cmpsw, "repe cmpsw");
CODE(ac_bt, "bt %rax, (%rdi)");
CODE(ac_lar, "lar (%rdi), %eax");
CODE(ac_movsb, "rep movsb");
CODE(ac_flush, "clflush (%rdi)");

/* Table 6-7: what each type of data needs. */
static void alignment_types(void)
{
    static u64 data[64] __attribute__((aligned(64)));
    static const struct {
        const char *name;
        u8 *code;
        unsigned align;
    } types[] = {
        {"#AC MOVUPS", ac_xmm, 16},    {"#AC MOVDQU store", ac_xmm_store, 16},
        {"#AC MOVQ xmm", ac_movq, 8},  {"#AC FLD m80", ac_fldt, 8},
        {"#AC FLD m64", ac_fldl, 8},   {"#AC FBLD", ac_fbld, 8},
        {"#AC FSTP m80", ac_fstpt, 8}, {"#AC FNSTENV", ac_env, 4},
        {"#AC ADD m", ac_add, 4},      {"#AC LOCK ADD", ac_lock, 8},
        {"#AC XCHG", ac_xchg, 2},      {"#AC CMPXCHG8B", ac_cx8, 8},
        {"#AC REP STOS", ac_stosl, 4}, {"#AC MOVS", ac_movsq, 8},
        {"#AC REPE CMPS", ac_cmpsw, 2}, {"#AC BT", ac_bt, 8},
        {"#AC LAR", ac_lar, 2},        {"#AC not REP MOVSB", ac_movsb, 1},
        {"#AC not CLFLUSH", ac_flush, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        for (unsigned offset = 0; offset < 16; offset++) {
            struct regs r = user_at(types[i].code);
            __asm__ volatile("fninit\n fld1");
            r.rdi = AS_USER(data) + offset;
            r.rsi = AS_USER(data) + 128;
            r.rcx = 1;
            r.flags |= FL_AC;
            enter(&r);
            unsigned want = offset % types[i].align ? AC : STOP;
            if (!check_quiet(types[i].name, r.vector == want && r.error == 0))
                say(": vector %x at offset %x\n", (u32)r.vector, offset);
        }
    }
    __asm__ volatile("fninit");
    struct regs r = user_at(ac_load8);
    r.rdi = 0x800000000001;
    r.flags |= FL_AC;
    enter(&r);
    expect("#AC comes after #GP", &r, GP, 0, (void *)AS_USER(ac_load8));
    r = user_at(ac_stosl); /* no element, no access */
    r.rdi = AS_USER(data) + 1;
    r.flags |= FL_AC;
    enter(&r);
    check_eq("#AC not of REP with count 0", r.vector, STOP);
}

static void alignment(void)
{
    static u64 words[4];
    struct regs r;
    u64 cr0 = read_cr0();
    struct {
        const char *name;
        u8 *code;
        unsigned offset;
        bool am, ac, user;
        unsigned vector;
    } cases[] = {
        {"#AC 4 bytes", ac_, 1, true, true, true, AC},
        {"#AC 4 bytes at 2", ac_, 2, true, true, true, AC},
        {"aligned", ac_, 4, true, true, true, STOP},
        {"#AC store of 2", ac_store, 1, true, true, true, AC},
        {"store of 2 at 2", ac_store, 2, true, true, true, STOP},
        {"#AC 8 bytes at 4", ac_load8, 4, true, true, true, AC},
        {"no #AC without AM", ac_, 1, false, true, true, STOP},
        {"no #AC without AC", ac_, 1, true, false, true, STOP},
        {"no #AC in ring 0", ac_, 1, true, true, false, STOP},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        write_cr0(cases[i].am ? cr0 | CR0_AM : cr0 & ~(u64)CR0_AM);
        r = cases[i].user ? user_at(cases[i].code) : kernel_at(cases[i].code);
        r.rdi = (cases[i].user ? AS_USER(words) : (u64)words) + cases[i].offset;
        r.flags |= cases[i].ac ? FL_AC : 0;
        enter(&r);
        check_eq(cases[i].name, r.vector, cases[i].vector);
        if (r.vector == AC)
            check("#AC(0), RIP", r.error == 0 && r.rip == AS_USER(cases[i].code));
    }
    write_cr0(cr0 | CR0_AM);
    alignment_types();
    r = user_at(ac_stack);
    r.rsp -= 4;
    r.flags |= FL_AC;
    enter(&r);
    check_eq("#AC push", r.vector, AC);
    write_cr0(cr0);
}

/* ---- priorities (table 6-2) ---- */

CODE(lock_ud_fault, ".byte 0xf0, 0x8b, 0x04, 0x25, 0, 0, 0, 0"); /* LOCK MOV from an absent page */
CODE(div_absent, "divl (%rdi)");
CODE(movaps_absent, "movaps 1(%rdi), %xmm0");
CODE(in_fault, "insb");

static void priorities(void)
{
    struct regs r = kernel_at(lock_ud_fault);
    enter(&r);
    expect("#UD before #PF", &r, UD, 0, lock_ud_fault);
    r = kernel_at(div_absent);
    r.rdi = AREA;
    enter(&r);
    check("#PF before #DE", r.vector == PF && r.rip == (u64)div_absent);
    write_cr0(read_cr0() | CR0_TS);
    r = kernel_at(movaps_absent);
    r.rdi = AREA;
    enter(&r);
    expect("#NM before #GP", &r, NM, 0, movaps_absent);
    write_cr0(read_cr0() & ~(u64)CR0_TS);
    r = kernel_at(movaps_absent);
    r.rdi = AREA;
    enter(&r);
    expect("#GP before #PF", &r, GP, 0, movaps_absent);
    r = user_at(in_fault);
    r.rdi = AREA;
    enter(&r);
    expect("#GP of INS before #PF", &r, GP, 0, (void *)AS_USER(in_fault));
    r = kernel_at((void *)(AREA + 5));
    enter(&r);
    expect_pf("fetch #PF", &r, 0x10, (void *)(AREA + 5), AREA + 5);
}

void test_main(void)
{
    simple();
    software();
    stepping();
    debug_registers();
    pushed();
    gates();
    broken_gates();
    double_faults();
    coprocessor();
    alignment();
    priorities();
}

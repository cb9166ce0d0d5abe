/* Delivery of exceptions and interrupts in every mode, double and triple faults, IRET, priorities,
 * the interrupt shadow, single-step.  SDM vol. 3A chapter 6.
 */
#include "cpu_fixture.h"
#include "tests/suite.h"

static void setup(void)
{
    fixture_setup("max");
}

static int next_vector = -1;

static int fake_ack(void *opaque)
{
    int v = next_vector;
    next_vector = -1;
    cpu_withdraw(cpu, REQ_INTR);
    return v;
}

static const struct irq_ops fake_irq = {.ack = fake_ack};

static void interrupt(int vector)
{
    cpu->irq = &fake_irq;
    next_vector = vector;
    cpu_request(cpu, REQ_INTR);
}

/* Delivers a fault with an error code at the current rip. */
static void fault(int vector, u32 error)
{
    cpu_set_exception(cpu, vector, true, error);
    ck_assert(cpu_service(cpu));
}

/* ---- real mode ---- */

START_TEST(test_real)
{
    cpu->idt = (struct desc_table){0, 0x3ff};
    poke(0x21 * 4, 4, 0x12345678); /* 1234:5678 */
    ck_runs(helper_load_seg, SEG_SS, 0x100, 0, 0);
    cpu->gpr[RSP] = 0xaaaa0002;
    cpu->eflags = FL_FIXED | FL_IF | FL_TF | FL_CF;
    cpu->lazy_kind = LAZY_NONE;
    ck_runs(helper_int_n, 0x21, 0x4322, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, 0x1234);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0x12340);
    ck_assert_uint_eq(cpu->rip, 0x5678);
    ck_assert_uint_eq(cpu->gpr[RSP], 0xaaaafffc); /* SP wraps, the upper half stays */
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_CF);
    ck_assert_uint_eq(peek(0x1000 + 0xfffc, 2), 0x4322);
    ck_assert_uint_eq(peek(0x1000 + 0xfffe, 2), 0xf000);
    ck_assert_uint_eq(peek(0x1000, 2), FL_FIXED | FL_IF | FL_TF | FL_CF);
    ck_runs(helper_iret, 2, 0, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, 0xf000);
    ck_assert_uint_eq(cpu->rip, 0x4322);
    ck_assert_uint_eq(cpu->gpr[RSP], 0xaaaa0002);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IF | FL_TF | FL_CF);
}
END_TEST

START_TEST(test_real_no_error_code)
{
    cpu->idt = (struct desc_table){0, 0x3ff};
    poke(13 * 4, 4, 0x00001000);
    cpu->gpr[RSP] = 0x100;
    fault(EXC_GP, 0x1234);
    ck_assert_uint_eq(cpu->gpr[RSP], 0x100 - 6);
    ck_assert_uint_eq(cpu->rip, 0x1000);
    /* An IVT that is too short. */
    cpu->idt.limit = 0x20 * 4;
    ck_raises(EXC_GP, 0x20 * 8 + 2, helper_int_n, 0x20, 0, 0, 0);
}
END_TEST

/* ---- protected mode ---- */

START_TEST(test_same_ring)
{
    fixture_protected(0);
    u64 sp = cpu->gpr[RSP];
    set_gate(0x30, DT_TRAP32, 0, S_CODE0, 0x12345, 0);
    ck_runs(helper_int_n, 0x30, 0x777, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0x12345);
    ck_assert_uint_eq(cpu->gpr[RSP], sp - 12);
    ck_assert_uint_eq(peek(sp - 12, 4), 0x777);
    ck_assert_uint_eq(peek(sp - 8, 4), S_CODE0);
    ck_assert_uint_eq(peek(sp - 4, 4), FL_FIXED | FL_IF);
    ck_assert_uint_eq(cpu->eflags & FL_IF, FL_IF); /* a trap gate leaves IF */
    ck_runs(helper_iret, 4, 0, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0x777);
    ck_assert_uint_eq(cpu->gpr[RSP], sp);
}
END_TEST

START_TEST(test_gate16)
{
    fixture_protected(0);
    u64 sp = cpu->gpr[RSP];
    set_gate(0x30, DT_INTR16, 0, S_CODE0, 0x2345, 0);
    ck_runs(helper_int_n, 0x30, 0x777, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], sp - 6);
    ck_assert_uint_eq(peek(sp - 6, 2), 0x777);
    ck_assert_uint_eq(cpu->eflags & FL_IF, 0);
}
END_TEST

START_TEST(test_inner_ring)
{
    fixture_protected(3);
    cpu_set_eflags(cpu, FL_IF | FL_NT | FL_TF | FL_ZF);
    set_gate(14, DT_INTR32, 0, S_CODE0, 0x12345, 0);
    cpu->mmu.fault_addr = 0xdead000;
    fault(EXC_PF, 7);
    ck_assert_uint_eq(cpu->cr2, 0xdead000);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, S_CODE0);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, S_DATA0);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK0 - 24);
    ck_assert_uint_eq(peek(STACK0 - 24, 4), 7);
    ck_assert_uint_eq(peek(STACK0 - 20, 4), CODE_AT);
    ck_assert_uint_eq(peek(STACK0 - 16, 4), S_CODE3 | 3);
    ck_assert_uint_eq(peek(STACK0 - 12, 4), FL_FIXED | FL_IF | FL_NT | FL_TF | FL_ZF | FL_RF);
    ck_assert_uint_eq(peek(STACK0 - 8, 4), STACK3);
    ck_assert_uint_eq(peek(STACK0 - 4, 4), S_DATA3 | 3);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_ZF);
    ck_assert_uint_eq(cpu->hflags & (HF_USER | HF_TF), 0);
    ck_assert_int_eq(cpu->exc_vector, -1);
    /* And back, dropping the error code: DS (DPL 3) stays, a ring-0 ES becomes null. */
    cpu->gpr[RSP] += 4;
    set_segment(SEG_ES, S_DATA0);
    ck_runs(helper_iret, 4, 0, 0, 0);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE_AT);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, S_DATA3 | 3);
    ck_assert_uint_eq(cpu->seg[SEG_DS].selector, S_DATA3 | 3);
    ck_assert_uint_eq(cpu->seg[SEG_ES].selector, 0);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IF | FL_NT | FL_TF | FL_ZF);
}
END_TEST

struct gate_case {
    unsigned type, dpl;
    u16 sel;
    u32 offset_high; /* added to the offset: beyond a 64 KiB segment */
    int vector;
    u16 error;
};

/* INT 30h from ring 3; no EXT bit, since INT n is the program's own. */
static const struct gate_case gates[] = {
    {DT_INTR32, 3, S_CODE0, 0, -1, 0},
    {DT_INTR32, 0, S_CODE0, 0, EXC_GP, 0x30 * 8 + 2},   /* gate DPL */
    {DT_CALL32, 3, S_CODE0, 0, EXC_GP, 0x30 * 8 + 2},   /* not an interrupt gate */
    {DT_INTR32, 3, 0, 0, EXC_GP, 0},                    /* null target */
    {DT_INTR32, 3, S_DATA0, 0, EXC_GP, S_DATA0},
    {DT_INTR32, 3, GDT_END, 0, EXC_GP, GDT_END},
    {DT_INTR32, 3, S_ABSENTC, 0, EXC_NP, S_ABSENTC},
    {DT_INTR32, 3, S_CODE16, 0x10000, EXC_GP, 0},       /* EIP beyond the limit */
    {DT_INTR32, 3, S_CONF, 0, -1, 0},
};

START_TEST(test_gate_errors)
{
    const struct gate_case *c = &gates[_i];
    fixture_protected(3);
    set_gate(0x30, c->type, c->dpl, c->sel, 0x1000 + c->offset_high, 0);
    struct segment cs = cpu->seg[SEG_CS];
    int got = run_helper(helper_int_n, 0x30, 0x1234, 0, 0);
    ck_assert_int_eq(got, c->vector);
    if (got < 0) {
        ck_assert_uint_eq(cpu->cpl, c->sel == S_CONF ? 3 : 0);
        return;
    }
    ck_assert_uint_eq(cpu->exc_error, c->error);
    ck_assert_mem_eq(&cs, &cpu->seg[SEG_CS], sizeof cs);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE_AT);
}
END_TEST

START_TEST(test_not_present_gate)
{
    fixture_protected(3);
    set_gate(0x30, DT_INTR32, 3, S_CODE0, 0x1000, 0);
    poke(IDT_AT + 0x30 * 8 + 5, 1, peek(IDT_AT + 0x30 * 8 + 5, 1) & 0x7f);
    ck_raises(EXC_NP, 0x30 * 8 + 2, helper_int_n, 0x230, 0, 0, 0);
    cpu->idt.limit = 0x30 * 8 + 6;
    ck_raises(EXC_GP, 0x30 * 8 + 2, helper_int_n, 0x30, 0, 0, 0);
}
END_TEST

START_TEST(test_bad_inner_stack)
{
    static const struct { u16 ss; int vector; u16 error; } cases[] = {
        {0, EXC_TS, 0}, {S_DATA3, EXC_TS, S_DATA3}, {S_CODE0, EXC_TS, S_CODE0},
        {S_DATA0 | 3, EXC_TS, S_DATA0}, {GDT_END, EXC_TS, GDT_END},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        fixture_protected(3);
        set_gate(0x30, DT_INTR32, 3, S_CODE0, 0x1000, 0);
        poke(TSS_AT + 8, 4, cases[i].ss);
        ck_raises(cases[i].vector, cases[i].error, helper_int_n, 0x30, 0, 0, 0);
    }
    fixture_protected(3);
    set_gate(0x30, DT_INTR32, 3, S_CODE0, 0x1000, 0);
    cpu->seg[SEG_TR].limit = 8;
    ck_raises(EXC_TS, S_TSS, helper_int_n, 0x30, 0, 0, 0);
    /* No room: the error code names the new stack. */
    fixture_protected(3);
    set_gate(0x30, DT_INTR32, 3, S_CODE0, 0x1000, 0);
    poke(TSS_AT + 8, 4, S_STACK16);
    poke(TSS_AT + 4, 4, 2);
    ck_raises(EXC_SS, S_STACK16, helper_int_n, 0x30, 0, 0, 0);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3);
}
END_TEST

START_TEST(test_int3)
{
    fixture_protected(3);
    set_gate(3, DT_TRAP32, 3, S_CODE0, 0x1000, 0);
    ck_runs(helper_int_n, 3, 0x11, 0, 0);
    ck_assert_uint_eq(peek(STACK0 - 20, 4), 0x11);
    ck_assert_uint_eq(peek(STACK0 - 12, 4) & FL_RF, 0);
    /* INT1 does not look at the gate's DPL. */
    fixture_protected(3);
    set_gate(1, DT_INTR32, 0, S_CODE0, 0x1000, 0);
    ck_raises(EXC_GP, 1 * 8 + 2, helper_int_n, 1, 0, 0, 0);
    ck_runs(helper_int_n, 0x101, 0, 0, 0);
}
END_TEST

/* ---- virtual-8086 mode ---- */

static void enter_vm86(u64 flags)
{
    static const u32 frame[] = {0x100, 0x2000, 0, 0x300, 0x4000, 0x5000, 0x6000, 0x7000, 0x8000};
    fixture_protected(0);
    cpu->gpr[RSP] -= sizeof frame;
    for (size_t i = 0; i < ARRAY_SIZE(frame); i++)
        poke(cpu->gpr[RSP] + i * 4, 4, frame[i]);
    poke(cpu->gpr[RSP] + 8, 4, flags | FL_VM | FL_FIXED);
    ck_runs(helper_iret, 4, 0, 0, 0);
}

START_TEST(test_vm86)
{
    enter_vm86(FL_IF);
    ck_assert_uint_eq(cpu->hflags & (HF_VM | HF_USER | HF_PE), HF_VM | HF_USER | HF_PE);
    ck_assert_uint_eq(cpu->hflags & (HF_CS32 | HF_SS32), 0);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0x20000);
    ck_assert_uint_eq(cpu->seg[SEG_SS].base, 0x40000);
    ck_assert_uint_eq(cpu->seg[SEG_GS].base, 0x80000);
    ck_assert_uint_eq(cpu->seg[SEG_DS].span_w, 0x10000);
    ck_assert_uint_eq(cpu->gpr[RSP], 0x300);
    /* IOPL 0: INT n, PUSHF, CLI, IRET fault; INT3 does not. */
    set_gate(0x30, DT_INTR32, 3, S_CODE0, 0x1000, 0);
    set_gate(3, DT_INTR32, 3, S_CODE0, 0x1000, 0);
    ck_raises(EXC_GP, 0, helper_int_n, 0x230, 0, 0, 0);
    ck_raises(EXC_GP, 0, helper_pushf_vm86, 2, 0, 0, 0);
    ck_raises(EXC_GP, 0, helper_popf_vm86, 0, 2, 0, 0);
    ck_raises(EXC_GP, 0, helper_cli, 0, 0, 0, 0);
    ck_raises(EXC_GP, 0, helper_sti, 0, 0, 0, 0);
    ck_raises(EXC_GP, 0, helper_iret, 2, 0, 0, 0);
    ck_runs(helper_int_n, 3, 0x101, 0, 0);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->eflags & FL_VM, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK0 - 36);
    ck_assert_uint_eq(peek(STACK0 - 36, 4), 0x101);
    ck_assert_uint_eq(peek(STACK0 - 28, 4) & FL_VM, FL_VM);
    ck_assert_uint_eq(peek(STACK0 - 20, 4), 0x4000);
    ck_assert_uint_eq(peek(STACK0 - 16, 4), 0x5000); /* ES */
    ck_assert_uint_eq(peek(STACK0 - 4, 4), 0x8000);  /* GS */
    ck_assert_uint_eq(cpu->seg[SEG_DS].selector, 0);
    ck_assert_uint_eq(cpu->hflags & (HF_CS32 | HF_SS32), HF_CS32 | HF_SS32);
    ck_runs(helper_iret, 4, 0, 0, 0);
    ck_assert_uint_eq(cpu->hflags & HF_VM, HF_VM);
    ck_assert_uint_eq(cpu->rip, 0x101);
}
END_TEST

START_TEST(test_vm86_iopl3)
{
    enter_vm86(FL_IOPL);
    ck_runs(helper_sti, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->eflags & FL_IF, FL_IF);
    /* POPF changes IF but not IOPL or VM. */
    ck_runs(helper_popf_vm86, FL_CF, 4, 0, 0);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IOPL | FL_VM | FL_CF);
    /* A conforming handler would run at CPL 3: #GP(selector). */
    set_gate(0x30, DT_INTR32, 3, S_CONF, 0x1000, 0);
    ck_raises(EXC_GP, S_CONF, helper_int_n, 0x30, 0, 0, 0);
}
END_TEST

/* ---- long mode ---- */

START_TEST(test_long_inner)
{
    fixture_long(3);
    set_gate(14, DT_INTR32, 0, S_CODE64, 0xffff800000012345ull, 0);
    fault(EXC_PF, 6);
    ck_assert_uint_eq(cpu->rip, 0xffff800000012345ull);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK0 - 48);
    ck_assert_uint_eq(peek(STACK0 - 48, 8), 6);
    ck_assert_uint_eq(peek(STACK0 - 40, 8), CODE_AT);
    ck_assert_uint_eq(peek(STACK0 - 32, 8), S_CODE64_3 | 3);
    ck_assert_uint_eq(peek(STACK0 - 24, 8), FL_FIXED | FL_IF | FL_RF);
    ck_assert_uint_eq(peek(STACK0 - 16, 8), STACK3);
    ck_assert_uint_eq(peek(STACK0 - 8, 8), S_DATA3 | 3);
    cpu->gpr[RSP] += 8;
    ck_runs(helper_iret, 8, 0, 0, 0);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE_AT);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, S_DATA3 | 3);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IF);
    ck_assert_int_eq(cpu->mmu.kind, MMU_USER);
}
END_TEST

START_TEST(test_long_same_and_ist)
{
    fixture_long(0);
    cpu->gpr[RSP] = 0x4ff9; /* is aligned first */
    set_gate(0x30, DT_TRAP32, 0, S_CODE64, 0x1000, 0);
    ck_runs(helper_int_n, 0x30, 0x77, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], 0x4ff0 - 40);
    ck_assert_uint_eq(peek(0x4ff0 - 16, 8), 0x4ff9);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, S_DATA0);
    ck_runs(helper_iret, 8, 0, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], 0x4ff9);
    set_gate(0x31, DT_INTR32, 0, S_CODE64, 0x1000, 1);
    ck_runs(helper_int_n, 0x31, 0x77, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK_IST1 - 40);
    /* A null SS with the right RPL may come back. */
    poke(STACK_IST1 - 8, 8, 0);
    ck_runs(helper_iret, 8, 0, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, 0);
}
END_TEST

START_TEST(test_long_errors)
{
    fixture_long(3);
    set_gate(0x30, DT_INTR32, 3, S_CODE0, 0x1000, 0); /* a 32-bit handler */
    ck_raises(EXC_GP, S_CODE0, helper_int_n, 0x30, 0, 0, 0);
    set_gate(0x30, DT_INTR16, 3, S_CODE64, 0x1000, 0);
    ck_raises(EXC_GP, 0x30 * 8 + 2, helper_int_n, 0x30, 0, 0, 0);
    set_gate(0x30, DT_INTR32, 3, S_CODE64, 0x800000000000ull, 0);
    ck_raises(EXC_GP, 0, helper_int_n, 0x30, 0, 0, 0);
    set_gate(0x30, DT_INTR32, 3, S_CODE64, 0x1000, 0);
    poke(TSS_AT + 4, 8, 0x800000000000ull);
    ck_raises(EXC_SS, 0, helper_int_n, 0x30, 0, 0, 0);
    cpu->idt.limit = 0x30 * 16 + 14;
    ck_raises(EXC_GP, 0x30 * 8 + 2, helper_int_n, 0x30, 0, 0, 0);
    fixture_long(0);
    cpu_set_eflags(cpu, FL_NT);
    ck_raises(EXC_GP, 0, helper_iret, 8, 0, 0, 0); /* no nested tasks */
}
END_TEST

/* ---- IRET checks ---- */

struct iret_case {
    u16 cs, ss;
    int vector;
    u16 error;
};

static const struct iret_case irets[] = {
    {S_CODE3 | 3, S_DATA3 | 3, -1, 0},
    {0, S_DATA3 | 3, EXC_GP, 0},
    {S_DATA3 | 3, S_DATA3 | 3, EXC_GP, S_DATA3},
    {S_CODE3, S_DATA3 | 3, EXC_GP, S_CODE3},         /* DPL != RPL */
    {S_CODE0 | 3, S_DATA3 | 3, EXC_GP, S_CODE0},
    {S_CONF | 3, S_DATA3 | 3, -1, 0},
    {S_ABSENTC, 0, EXC_NP, S_ABSENTC},
    {S_CODE3 | 3, 0, EXC_GP, 0},
    {S_CODE3 | 3, S_DATA3, EXC_GP, S_DATA3},
    {S_CODE3 | 3, S_DATA0 | 3, EXC_GP, S_DATA0},
    {S_CODE3 | 3, S_RODATA | 3, EXC_GP, S_RODATA},
    {S_CODE3 | 3, S_ABSENT | 3, EXC_SS, S_ABSENT},
    {GDT_END | 3, S_DATA3 | 3, EXC_GP, GDT_END},
};

START_TEST(test_iret_checks)
{
    const struct iret_case *c = &irets[_i];
    fixture_protected(0);
    u64 sp = cpu->gpr[RSP] -= 20;
    poke(sp, 4, 0x1234);
    poke(sp + 4, 4, c->cs);
    poke(sp + 8, 4, FL_FIXED | FL_CF);
    poke(sp + 12, 4, STACK3);
    poke(sp + 16, 4, c->ss);
    int got = run_helper(helper_iret, 4, 0, 0, 0);
    ck_assert_int_eq(got, c->vector);
    if (got >= 0) {
        ck_assert_uint_eq(cpu->exc_error, c->error);
        ck_assert_uint_eq(cpu->gpr[RSP], sp);
        ck_assert_uint_eq(cpu->seg[SEG_CS].selector, S_CODE0);
        ck_assert_uint_eq(cpu->cpl, 0);
    }
}
END_TEST

START_TEST(test_iret_flags_by_privilege)
{
    fixture_protected(3);
    u64 sp = cpu->gpr[RSP] -= 12;
    poke(sp, 4, 0x1234);
    poke(sp + 4, 4, S_CODE3 | 3);
    poke(sp + 8, 4, FL_IOPL | FL_AC | FL_CF); /* IF clear */
    ck_runs(helper_iret, 4, 0, 0, 0);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IF | FL_AC | FL_CF); /* IF and IOPL unchanged */
}
END_TEST

/* ---- double and triple faults ---- */

struct double_case {
    int first;
    bool has_error;
    int second_gate; /* what the first one's gate is: 0 absent (#NP), 1 null target (#GP) */
    int delivered;
};

static const struct double_case doubles[] = {
    {EXC_PF, true, 0, EXC_DF},  /* page fault, then contributory */
    {EXC_GP, true, 0, EXC_DF},  /* contributory twice */
    {EXC_DE, false, 1, EXC_DF},
    {EXC_UD, false, 0, EXC_NP}, /* benign, then contributory: one after the other */
    {EXC_NM, false, 1, EXC_GP},
};

START_TEST(test_double)
{
    const struct double_case *c = &doubles[_i];
    fixture_protected(0);
    u64 sp = cpu->gpr[RSP];
    set_gate((unsigned)c->first, DT_INTR32, 0, c->second_gate ? 0 : S_ABSENTC, 0x1000, 0);
    set_gate((unsigned)c->delivered, DT_INTR32, 0, S_CODE0, 0x2000, 0);
    if (c->delivered == EXC_NP)
        set_gate(EXC_NP, DT_INTR32, 0, S_CODE0, 0x2000, 0);
    cpu_set_exception(cpu, c->first, c->has_error, 0);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x2000);
    ck_assert_uint_eq(cpu->gpr[RSP], sp - 16);
    u32 error = c->delivered == EXC_DF ? 0 : c->second_gate ? 1 : S_ABSENTC | 1; /* EXT */
    ck_assert_uint_eq(peek(sp - 16, 4), error);
    ck_assert_uint_eq(peek(sp - 12, 4), CODE_AT);
    ck_assert_int_eq(cpu->exc_vector, -1);
    ck_assert_ptr_null(cpu->guard);
    ck_assert_uint_eq(reset_requests, 0);
}
END_TEST

/* #AC whose delivery raises #AC: for ever, but not without an ear for others. */
START_TEST(test_endless_alignment)
{
    fixture_protected(3);
    cpu->cr0 |= CR0_AM;
    cpu_set_eflags(cpu, cpu_eflags(cpu) | FL_AC);
    cpu->gpr[RSP] = STACK3 - 2;
    set_gate(EXC_AC, DT_INTR32, 3, S_CODE3, 0x1000, 0);
    atomic_fetch_or(&cpu->requests, REQ_EXIT);
    cpu_set_exception(cpu, EXC_AC, true, 0);
    cpu_deliver_pending(cpu);
    ck_assert_int_eq(cpu->exc_vector, EXC_AC);
    ck_assert_ptr_null(cpu->guard);
    ck_assert_uint_eq(cpu->rip, CODE_AT);
    ck_assert(!cpu_service(cpu));
    cpu->gpr[RSP] = STACK3;
    cpu_withdraw(cpu, REQ_EXIT);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x1000);
}
END_TEST

START_TEST(test_triple)
{
    fixture_protected(0);
    cpu_set_exception(cpu, EXC_GP, true, 0); /* all gates are empty */
    ck_assert(!cpu_service(cpu));
    ck_assert_uint_eq(reset_requests, 1);
    ck_assert(cpu->shut_down);
    ck_assert_int_eq(cpu->exc_vector, -1);
    /* Nothing but INIT wakes it. */
    interrupt(0x40);
    ck_assert(!cpu_service(cpu));
    cpu_request(cpu, REQ_INIT);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0xfff0);
}
END_TEST

START_TEST(test_fault_in_external)
{
    /* An interrupt's delivery that faults is no double fault; the error has EXT. */
    fixture_protected(0);
    u64 sp = cpu->gpr[RSP];
    set_gate(0x40, DT_INTR32, 0, S_ABSENTC, 0x1000, 0);
    set_gate(EXC_NP, DT_INTR32, 0, S_CODE0, 0x2000, 0);
    interrupt(0x40);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x2000);
    ck_assert_uint_eq(peek(sp - 16, 4), S_ABSENTC | 1);
}
END_TEST

/* ---- priorities, masking, shadow, single-step ---- */

START_TEST(test_masked_interrupt)
{
    fixture_protected(0);
    set_gate(0x40, DT_INTR32, 0, S_CODE0, 0x1000, 0);
    cpu->eflags &= ~(u64)FL_IF;
    interrupt(0x40);
    ck_assert(cpu_needs_service(cpu));
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, CODE_AT);
    ck_assert(!cpu_needs_service(cpu)); /* the bell is quiet while masked */
    ck_runs(helper_sti, CODE_AT + 1, 0, 0, 0);
    ck_assert(cpu_needs_service(cpu));
    /* The shadow: one more instruction. */
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, CODE_AT + 1);
    ck_assert_uint_eq(cpu->hflags & HF_ONE, HF_ONE);
    ck_assert_uint_eq(atomic_load(&cpu->requests), 0);
    cpu->rip = CODE_AT + 2;
    cpu_one_done(cpu);
    ck_assert_uint_eq(cpu->hflags & HF_ONE, 0);
    ck_assert(cpu_needs_service(cpu));
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x1000);
    ck_assert_uint_eq(peek(cpu->gpr[RSP], 4), CODE_AT + 2);
    ck_assert_uint_eq(peek(cpu->gpr[RSP] + 8, 4) & FL_RF, 0);
}
END_TEST

START_TEST(test_sti_hlt)
{
    fixture_protected(0);
    set_gate(0x40, DT_INTR32, 0, S_CODE0, 0x1000, 0);
    cpu->eflags &= ~(u64)FL_IF;
    ck_runs(helper_sti, CODE_AT + 1, 0, 0, 0);
    ck_runs(helper_hlt, CODE_AT + 2, 0, 0, 0);
    ck_assert(!cpu_service(cpu)); /* asleep */
    interrupt(0x40);
    ck_assert(cpu_service(cpu));
    ck_assert(!cpu->halted);
    ck_assert_uint_eq(peek(cpu->gpr[RSP], 4), CODE_AT + 2);
    fixture_protected(3);
    ck_raises(EXC_GP, 0, helper_hlt, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_nmi)
{
    fixture_protected(0);
    set_gate(2, DT_INTR32, 0, S_CODE0, 0x1000, 0);
    set_gate(0x40, DT_INTR32, 0, S_CODE0, 0x2000, 0);
    interrupt(0x40);
    cpu_request(cpu, REQ_NMI);
    ck_assert(cpu_service(cpu)); /* NMI before INTR */
    ck_assert_uint_eq(cpu->rip, 0x1000);
    ck_assert(cpu->nmi_blocked);
    cpu_request(cpu, REQ_NMI);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x1000); /* blocked until IRET */
    ck_runs(helper_iret, 4, 0, 0, 0);
    ck_assert(!cpu->nmi_blocked);
    ck_assert(cpu_needs_service(cpu));
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x1000);
}
END_TEST

START_TEST(test_exception_before_interrupt)
{
    fixture_protected(0);
    set_gate(6, DT_TRAP32, 0, S_CODE0, 0x1000, 0);
    set_gate(0x40, DT_INTR32, 0, S_CODE0, 0x2000, 0);
    interrupt(0x40);
    cpu_set_exception(cpu, EXC_UD, false, 0);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x1000);
    ck_assert(cpu_needs_service(cpu));
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x2000);
    ck_assert_uint_eq(peek(cpu->gpr[RSP], 4), 0x1000);
}
END_TEST

START_TEST(test_single_step)
{
    fixture_protected(0);
    set_gate(1, DT_INTR32, 0, S_CODE0, 0x1000, 0);
    cpu_set_eflags(cpu, FL_TF);
    cpu->rip = CODE_AT + 1;
    cpu_debug_after(cpu, true);
    ck_assert_int_eq(cpu->exc_vector, EXC_DB);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->dr[6] & 0x4000, 0x4000);
    ck_assert_uint_eq(peek(cpu->gpr[RSP], 4), CODE_AT + 1);
    ck_assert_uint_eq(peek(cpu->gpr[RSP] + 8, 4), FL_FIXED | FL_TF);
    ck_assert_uint_eq(cpu->hflags & HF_TF, 0);
    /* MOV SS holds the trap off for one instruction. */
    cpu_set_eflags(cpu, FL_TF);
    ck_runs(helper_load_seg, SEG_SS, S_DATA0, 0x50, 0);
    cpu_debug_after(cpu, true);
    ck_assert_int_eq(cpu->exc_vector, -1);
    ck_assert(cpu_debug_before(cpu));
    cpu_debug_after(cpu, true);
    ck_assert_int_eq(cpu->exc_vector, EXC_DB);
}
END_TEST

START_TEST(test_exit_keeps_events)
{
    fixture_protected(0);
    set_gate(6, DT_INTR32, 0, S_CODE0, 0x1000, 0);
    cpu_set_exception(cpu, EXC_UD, false, 0);
    cpu_request(cpu, REQ_EXIT);
    ck_assert(!cpu_service(cpu));
    ck_assert_int_eq(cpu->exc_vector, EXC_UD);
    cpu_withdraw(cpu, REQ_EXIT);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x1000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cpu_event");
    TCase *t = tcase_create("event");
    tcase_add_checked_fixture(t, setup, fixture_teardown);
    tcase_add_test(t, test_real);
    tcase_add_test(t, test_real_no_error_code);
    tcase_add_test(t, test_same_ring);
    tcase_add_test(t, test_gate16);
    tcase_add_test(t, test_inner_ring);
    tcase_add_loop_test(t, test_gate_errors, 0, ARRAY_SIZE(gates));
    tcase_add_test(t, test_not_present_gate);
    tcase_add_test(t, test_bad_inner_stack);
    tcase_add_test(t, test_int3);
    tcase_add_test(t, test_vm86);
    tcase_add_test(t, test_vm86_iopl3);
    tcase_add_test(t, test_long_inner);
    tcase_add_test(t, test_long_same_and_ist);
    tcase_add_test(t, test_long_errors);
    tcase_add_loop_test(t, test_iret_checks, 0, ARRAY_SIZE(irets));
    tcase_add_test(t, test_iret_flags_by_privilege);
    tcase_add_loop_test(t, test_double, 0, ARRAY_SIZE(doubles));
    tcase_add_test(t, test_endless_alignment);
    tcase_add_test(t, test_triple);
    tcase_add_test(t, test_fault_in_external);
    tcase_add_test(t, test_masked_interrupt);
    tcase_add_test(t, test_sti_hlt);
    tcase_add_test(t, test_nmi);
    tcase_add_test(t, test_exception_before_interrupt);
    tcase_add_test(t, test_single_step);
    tcase_add_test(t, test_exit_keeps_events);
    suite_add_tcase(s, t);
    return run_suite(s);
}

/* Far jumps, calls and returns, call gates, task switches, and the fast system calls. */
#include "cpu_fixture.h"
#include "tests/suite.h"

#include <stdio.h>

static void setup(void)
{
    fixture_setup("max");
}

/* ---- real mode ---- */

START_TEST(test_real)
{
    cpu->gpr[RSP] = 0x100;
    ck_runs(helper_far_call, 0x1234, 0x99995678, 2, 0x42);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0x12340);
    ck_assert_uint_eq(cpu->rip, 0x5678);
    ck_assert_uint_eq(peek(0xfc, 2), 0x42);
    ck_assert_uint_eq(peek(0xfe, 2), 0xf000);
    ck_runs(helper_far_ret, 2, 4, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], 0x104);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, 0xf000);
    ck_runs(helper_far_jmp, 0x100, 0x200, 2, 0);
    ck_assert_uint_eq(cpu->rip, 0x200);
    ck_raises(EXC_GP, 0, helper_far_jmp, 0x100, 0x10000, 4, 0);
}
END_TEST

/* The usual way into protected mode: PE, then a far jump. */
START_TEST(test_enter_protected)
{
    fixture_protected(0);
    cpu->cr0 &= ~(u64)CR0_PE;
    cpu->seg[SEG_CS].attr &= (u16)~SEG_DB;
    cpu_update_hflags(cpu);
    ck_runs(helper_mov_to_cr, 0, cpu->cr0 | CR0_PE, 0x10, 0);
    ck_runs(helper_far_jmp, S_CODE0, 0x12345, 4, 0);
    ck_assert_uint_eq(cpu->rip, 0x12345);
    ck_assert_uint_eq(cpu->hflags & (HF_PE | HF_CS32), HF_PE | HF_CS32);
}
END_TEST

/* ---- direct transfers ---- */

struct direct_case {
    u8 cpl;
    u16 sel;
    int vector;
    u16 error;
};

static const struct direct_case directs[] = {
    {0, S_CODE0, -1, 0},
    {0, S_CODE0 | 3, EXC_GP, S_CODE0},  /* RPL > CPL */
    {3, S_CODE3, -1, 0},                /* RPL below CPL is fine */
    {3, S_CODE0 | 3, EXC_GP, S_CODE0},
    {0, S_CODE3, EXC_GP, S_CODE3},      /* outward is for returns */
    {3, S_CONF | 3, -1, 0},
    {0, 0, EXC_GP, 0},
    {0, S_DATA0, EXC_GP, S_DATA0},
    {0, S_ABSENTC, EXC_NP, S_ABSENTC},
    {0, GDT_END, EXC_GP, GDT_END},
    {0, S_LDT, EXC_GP, S_LDT},
};

START_TEST(test_direct)
{
    const struct direct_case *c = &directs[_i];
    for (unsigned call = 0; call < 2; call++) {
        fixture_protected(c->cpl);
        u64 sp = cpu->gpr[RSP];
        int got = run_helper(call ? helper_far_call : helper_far_jmp, c->sel, 0x4444, 4, 0x99);
        ck_assert_int_eq(got, c->vector);
        if (got >= 0) {
            ck_assert_uint_eq(cpu->exc_error, c->error);
            ck_assert_uint_eq(cpu->gpr[RSP], sp);
            ck_assert_uint_eq(cpu->rip, CODE_AT);
            continue;
        }
        ck_assert_uint_eq(cpu->rip, 0x4444);
        ck_assert_uint_eq(cpu->cpl, c->cpl);
        ck_assert_uint_eq(cpu->seg[SEG_CS].selector, (c->sel & 0xfffc) | c->cpl);
        ck_assert_uint_eq(cpu->gpr[RSP], sp - (call ? 8 : 0));
        if (call)
            ck_assert_uint_eq(peek(sp - 8, 4), 0x99);
    }
}
END_TEST

START_TEST(test_limits)
{
    fixture_protected(0);
    ck_raises(EXC_GP, 0, helper_far_jmp, S_CODE16, 0x10000, 4, 0);
    fixture_long(0);
    ck_raises(EXC_GP, 0, helper_far_jmp, S_CODE64, 0x800000000000ull, 8, 0);
    ck_raises(EXC_GP, S_LD, helper_far_jmp, S_LD, 0, 8, 0);
    /* To compatibility mode and back. */
    ck_runs(helper_far_jmp, S_CODE0, 0x1000, 4, 0);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_CS32), HF_CS32);
    ck_runs(helper_far_jmp, S_CODE64, 0x2000, 4, 0);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_CS32), HF_LONG);
}
END_TEST

START_TEST(test_far_ret)
{
    fixture_protected(0);
    u64 sp = cpu->gpr[RSP] -= 0x40;
    poke(sp, 4, 0x1234);
    poke(sp + 4, 4, S_CODE3 | 3);
    poke(sp + 8, 4, 0xaaaaaaaa); /* parameter, popped */
    poke(sp + 12, 4, STACK3);
    poke(sp + 16, 4, S_DATA3 | 3);
    set_segment(SEG_FS, S_DATA0);
    ck_runs(helper_far_ret, 4, 4, 0, 0);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, 0x1234);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3 + 4); /* from the outer stack too */
    ck_assert_uint_eq(cpu->seg[SEG_FS].selector, 0);
    ck_assert_int_eq(cpu->mmu.kind, MMU_USER);
    /* No way inwards. */
    sp = cpu->gpr[RSP];
    poke(sp, 4, 0x1234);
    poke(sp + 4, 4, S_CODE0);
    ck_raises(EXC_GP, S_CODE0, helper_far_ret, 4, 0, 0, 0);
}
END_TEST

/* ---- call gates ---- */

static void make_gate(u16 at, unsigned type, unsigned dpl, u16 sel, u32 offset, unsigned params)
{
    poke(GDT_AT + at, 8, (offset & 0xffff) | (u64)sel << 16 | (u64)params << 32 |
                             (u64)(0x80 | dpl << 5 | type) << 40 | (u64)(offset >> 16) << 48);
}

START_TEST(test_call_gate)
{
    fixture_protected(3);
    make_gate(S_GATE, DT_CALL32, 3, S_CODE0, 0x23456, 2);
    poke(STACK3, 4, 0x11111111);
    poke(STACK3 + 4, 4, 0x22222222);
    ck_runs(helper_far_call, S_GATE | 3, 0xbad, 4, 0x99);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->rip, 0x23456);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, S_CODE0);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK0 - 24);
    ck_assert_uint_eq(peek(STACK0 - 24, 4), 0x99);
    ck_assert_uint_eq(peek(STACK0 - 20, 4), S_CODE3 | 3);
    ck_assert_uint_eq(peek(STACK0 - 16, 4), 0x11111111);
    ck_assert_uint_eq(peek(STACK0 - 12, 4), 0x22222222);
    ck_assert_uint_eq(peek(STACK0 - 8, 4), STACK3);
    ck_assert_uint_eq(peek(STACK0 - 4, 4), S_DATA3 | 3);
    ck_runs(helper_far_ret, 4, 8, 0, 0);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, 0x99);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3 + 8);
}
END_TEST

START_TEST(test_call_gate_errors)
{
    fixture_protected(3);
    make_gate(S_GATE, DT_CALL32, 0, S_CODE0, 0, 0);
    ck_raises(EXC_GP, S_GATE, helper_far_call, S_GATE | 3, 0, 4, 0); /* gate DPL */
    make_gate(S_GATE, DT_CALL32, 3, S_CODE0, 0, 0);
    ck_raises(EXC_GP, S_CODE0, helper_far_jmp, S_GATE | 3, 0, 4, 0); /* JMP cannot go inwards */
    make_gate(S_GATE, DT_CALL32, 3, S_ABSENTC, 0, 0);
    ck_raises(EXC_NP, S_ABSENTC, helper_far_call, S_GATE | 3, 0, 4, 0);
    make_gate(S_GATE, DT_CALL32, 3, 0, 0, 0);
    ck_raises(EXC_GP, 0, helper_far_call, S_GATE | 3, 0, 4, 0);
    make_gate(S_GATE, DT_CALL32, 3, S_CODE0, 0, 0);
    poke(GDT_AT + S_GATE + 5, 1, DT_CALL32 | 3 << 5);
    ck_raises(EXC_NP, S_GATE, helper_far_call, S_GATE | 3, 0, 4, 0);
    /* The same ring: no stack switch, 16-bit pushes for a 16-bit gate. */
    make_gate(S_GATE, DT_CALL16, 3, S_CODE3, 0x4321, 3);
    ck_runs(helper_far_call, S_GATE | 3, 0, 4, 0x99);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3 - 4);
    ck_assert_uint_eq(cpu->rip, 0x4321);
    ck_assert_uint_eq(cpu->cpl, 3);
}
END_TEST

START_TEST(test_call_gate64)
{
    fixture_long(3);
    make_gate(S_GATE64, DT_CALL32, 3, S_CODE64, 0x23456, 0);
    poke(GDT_AT + S_GATE64 + 8, 8, 0xffff8000);
    ck_runs(helper_far_call, S_GATE64 | 3, 0, 8, 0x123456789a);
    ck_assert_uint_eq(cpu->rip, 0xffff800000023456ull);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, 0);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK0 - 32);
    ck_assert_uint_eq(peek(STACK0 - 32, 8), 0x123456789a);
    ck_assert_uint_eq(peek(STACK0 - 16, 8), STACK3);
    ck_runs(helper_far_ret, 8, 0, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0x123456789a);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3);
    /* The type bits of the upper half must be 0; a 32-bit target is refused. */
    poke(GDT_AT + S_GATE64 + 8, 8, 0xe0000000000ull);
    ck_raises(EXC_GP, S_GATE64, helper_far_call, S_GATE64 | 3, 0, 8, 0);
    poke(GDT_AT + S_GATE64 + 8, 8, 0);
    make_gate(S_GATE64, DT_CALL32, 3, S_CODE0, 0x23456, 0);
    ck_raises(EXC_GP, S_CODE0, helper_far_call, S_GATE64 | 3, 0, 8, 0);
    /* No TSS and no task gate in long mode. */
    fixture_long(0);
    ck_raises(EXC_GP, S_TSS2, helper_far_jmp, S_TSS2, 0, 8, 0);
}
END_TEST

/* ---- task switches ---- */

static void make_tss2(u16 cs, u16 ss, u64 flags)
{
    poke(TSS2_AT + 0x20, 4, 0x22222);
    poke(TSS2_AT + 0x24, 4, flags | FL_FIXED);
    for (unsigned i = 0; i < 8; i++)
        poke(TSS2_AT + 0x28 + i * 4, 4, 0x1000 * (i + 1));
    poke(TSS2_AT + 0x48, 4, S_DATA0); /* ES */
    poke(TSS2_AT + 0x4c, 4, cs);
    poke(TSS2_AT + 0x50, 4, ss);
    poke(TSS2_AT + 0x54, 4, S_DATA3 | 3);
    poke(TSS2_AT + 0x60, 4, S_LDT);
}

static unsigned tss_type(u16 sel)
{
    return peek(GDT_AT + sel + 5, 1) & 0xf;
}

START_TEST(test_task_call_and_iret)
{
    fixture_protected(0);
    poke(GDT_AT + S_TSS + 5, 1, 0x80 | DT_TSS32_BUSY);
    make_tss2(S_CODE0, S_DATA0, FL_CF);
    cpu->gpr[RBX] = 0xb;
    u64 sp = cpu->gpr[RSP];
    ck_runs(helper_far_call, S_TSS2, 0, 4, 0x77);
    ck_assert_int_eq(cpu->exc_vector, -1);
    ck_assert_uint_eq(cpu->rip, 0x22222);
    ck_assert_uint_eq(cpu->gpr[RBX], 0x4000);
    ck_assert_uint_eq(cpu->gpr[RSP], 0x5000);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_CF | FL_NT);
    ck_assert_uint_eq(cpu->seg[SEG_TR].selector, S_TSS2);
    ck_assert_uint_eq(cpu->seg[SEG_LDTR].base, LDT_AT);
    ck_assert_uint_eq(cpu->seg[SEG_DS].selector, S_DATA3 | 3);
    ck_assert_uint_eq(cpu->cr0 & CR0_TS, CR0_TS);
    ck_assert_uint_eq(peek(TSS2_AT, 2), S_TSS);
    ck_assert_uint_eq(peek(TSS_AT + 0x20, 4), 0x77);
    ck_assert_uint_eq(peek(TSS_AT + 0x34, 4), 0xb);
    ck_assert_uint_eq(tss_type(S_TSS), DT_TSS32_BUSY);
    ck_assert_uint_eq(tss_type(S_TSS2), DT_TSS32_BUSY);
    ck_runs(helper_iret, 4, 0x88, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0x77);
    ck_assert_uint_eq(cpu->gpr[RBX], 0xb);
    ck_assert_uint_eq(cpu->gpr[RSP], sp);
    ck_assert_uint_eq(cpu->seg[SEG_TR].selector, S_TSS);
    ck_assert_uint_eq(tss_type(S_TSS2), DT_TSS32);
    ck_assert_uint_eq(peek(TSS2_AT + 0x20, 4), 0x88);
    ck_assert_uint_eq(peek(TSS2_AT + 0x24, 4) & FL_NT, 0);
}
END_TEST

START_TEST(test_task_jmp)
{
    fixture_protected(0);
    poke(GDT_AT + S_TSS + 5, 1, 0x80 | DT_TSS32_BUSY);
    make_tss2(S_CODE3 | 3, S_DATA3 | 3, FL_IF);
    poke(TSS2_AT + 0x48, 4, S_DATA3 | 3);
    poke(GDT_AT + S_TASKGATE, 8, (u64)S_TSS2 << 16 | (u64)(0x80 | DT_TASK) << 40);
    ck_runs(helper_far_jmp, S_TASKGATE, 0, 4, 0x77);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(tss_type(S_TSS), DT_TSS32);
    ck_assert_uint_eq(cpu->eflags & FL_NT, 0);
    ck_assert_uint_eq(peek(TSS_AT + 0x20, 4), 0x77);
    ck_assert_uint_eq(cpu->hflags & HF_USER, HF_USER);
}
END_TEST

START_TEST(test_task_bad_new_state)
{
    /* The new task's selectors fault in the new task. */
    fixture_protected(0);
    make_tss2(S_CODE0, S_RODATA, 0);
    ck_runs(helper_far_jmp, S_TSS2, 0, 4, 0x77);
    ck_assert_int_eq(cpu->exc_vector, EXC_TS);
    ck_assert_uint_eq(cpu->exc_error, S_RODATA);
    ck_assert_uint_eq(cpu->rip, 0x22222);
    ck_assert_ptr_null(cpu->guard);
    /* A short TSS and a busy one fault in the old. */
    fixture_protected(0);
    poke(GDT_AT + S_TSS2, 8, descriptor(TSS2_AT, 0x66, SEG_P | DT_TSS32));
    ck_raises(EXC_TS, S_TSS2, helper_far_jmp, S_TSS2, 0, 4, 0x77);
    poke(GDT_AT + S_TSS2, 8, descriptor(TSS2_AT, 0x67, SEG_P | DT_TSS32_BUSY));
    ck_raises(EXC_GP, S_TSS2, helper_far_jmp, S_TSS2, 0, 4, 0x77);
    ck_assert_uint_eq(cpu->rip, CODE_AT);
}
END_TEST

START_TEST(test_task_gate_event)
{
    /* #DF through a task gate, as kernels of the 32-bit kind use it; error code on its stack. */
    fixture_protected(0);
    make_tss2(S_CODE0, S_DATA0, 0);
    set_gate(8, DT_TASK, 0, S_TSS2, 0, 0);
    cpu_set_exception(cpu, EXC_GP, true, 0x10);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x22222);
    ck_assert_uint_eq(cpu->gpr[RSP], 0x5000 - 4);
    ck_assert_uint_eq(peek(0x5000 - 4, 4), 0);
    ck_assert_uint_eq(cpu->eflags & FL_NT, FL_NT);
    ck_assert_uint_eq(peek(TSS_AT + 0x20, 4), CODE_AT);
}
END_TEST

/* ---- fast system calls ---- */

START_TEST(test_syscall)
{
    fixture_long(3);
    cpu->star = (u64)S_CODE3 << 48 | (u64)S_CODE0 << 32;
    cpu->lstar = 0xffff800000001000ull;
    cpu->sfmask = FL_IF | FL_TF | FL_DF;
    cpu_set_eflags(cpu, FL_IF | FL_DF | FL_CF);
    ck_runs(helper_syscall, 0x400123, 0, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0xffff800000001000ull);
    ck_assert_uint_eq(cpu->gpr[RCX], 0x400123);
    ck_assert_uint_eq(cpu->gpr[R11], FL_FIXED | FL_IF | FL_DF | FL_CF);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_CF);
    ck_assert_uint_eq(cpu->cpl, 0);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, S_CODE0);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, S_CODE0 + 8);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_USER), HF_LONG);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3);
    ck_runs(helper_sysret, 8, 0, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0x400123);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IF | FL_DF | FL_CF);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, (S_CODE3 + 16) | 3);
    ck_assert_uint_eq(cpu->seg[SEG_SS].selector, (S_CODE3 + 8) | 3);
    ck_assert_int_eq(cpu->mmu.kind, MMU_USER);
    ck_raises(EXC_GP, 0, helper_sysret, 8, 0, 0, 0); /* CPL 3 */
    cpu->efer &= ~(u64)EFER_SCE;
    ck_raises(EXC_UD, 0, helper_syscall, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_sysret32_and_vendor)
{
    fixture_long(0);
    cpu->star = (u64)S_CODE3 << 48 | (u64)S_CODE0 << 32;
    cpu->gpr[RCX] = 0x12345678;
    cpu->gpr[R11] = FL_IF;
    ck_runs(helper_sysret, 4, 0, 0, 0);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_CS32 | HF_USER), HF_CS32 | HF_USER);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, S_CODE3 | 3);
    /* From compatibility mode: AMD has SYSCALL, Intel has not; SYSENTER the other way round. */
    ck_raises(EXC_UD, 0, helper_syscall, 0, 0, 0, 0);
    cpu->sysenter_cs = S_CODE0;
    cpu->sysenter_eip = 0xffff800000002000ull;
    cpu->sysenter_esp = STACK0;
    ck_runs(helper_sysenter, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0xffff800000002000ull);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK0);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_USER), HF_LONG);
    ck_assert_uint_eq(cpu->eflags & FL_IF, 0);
    cpu->gpr[RCX] = STACK3;
    cpu->gpr[RDX] = 0x5555;
    ck_runs(helper_sysexit, 4, 0, 0, 0);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, (S_CODE0 + 16) | 3);
    ck_assert_uint_eq(cpu->rip, 0x5555);
    ck_assert_uint_eq(cpu->gpr[RSP], STACK3);

    fixture_setup("EPYC");
    fixture_long(3);
    set_segment(SEG_CS, S_CODE3 | 3);
    cpu->cstar = 0x7777;
    ck_runs(helper_syscall, 0x1234, 0, 0, 0);
    ck_assert_uint_eq(cpu->rip, 0x7777);
    ck_raises(EXC_UD, 0, helper_sysenter, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_sysret_noncanonical)
{
    fixture_long(0);
    cpu->gpr[RCX] = 0x800000000000ull;
    ck_raises(EXC_GP, 0, helper_sysret, 8, 0, 0, 0);
    fixture_protected(0);
    ck_raises(EXC_GP, 0, helper_sysenter, 0, 0, 0, 0); /* no SYSENTER_CS */
}
END_TEST

/* ---- hostile tables ---- */

static u64 seed;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static u16 random_selector(void)
{
    return (u16)((rnd() % (GDT_END / 8 + 2)) * 8 | (rnd() % 8 ? rnd() % 4 : rnd() % 8));
}

/* Mostly valid tables with random damage: types, privileges, limits, presence. */
static void scramble(bool lng)
{
    unsigned width = lng ? 8 : 4;
    for (unsigned i = 0; i < 6; i++) {
        u64 at = GDT_AT + rnd() % GDT_END;
        if (at >= GDT_AT + 8)
            poke(at, 1, rnd() % 3 ? rnd() : peek(at, 1) ^ 1u << rnd() % 8);
    }
    poke(GDT_AT + (rnd() % (GDT_END / 8)) * 8 + 5, 1, 0x80 | rnd() % 128);
    for (unsigned i = 0; i < 40; i++)
        poke(IDT_AT + rnd() % 0x200, 1, rnd());
    set_gate((unsigned)rnd() % 32, rnd() % 2 ? DT_INTR32 : DT_TRAP32, rnd() % 4, random_selector(),
             rnd() >> rnd() % 64, rnd() % 2);
    u64 sp = cpu->gpr[RSP];
    poke(sp, width, rnd() >> (rnd() % 64));
    poke(sp + width, width, random_selector());
    poke(sp + 2 * width, width, rnd());
    poke(sp + 3 * width, width, rnd() % 0x20000);
    poke(sp + 4 * width, width, random_selector());
    for (unsigned at = 0; at < 0x68; at += 2)
        poke(TSS2_AT + at, 2, rnd() % 2 ? random_selector() : rnd());
    if (rnd() % 4 == 0)
        poke(TSS_AT + rnd() % 0x30, 2, rnd());
    cpu->star = rnd();
    cpu->sysenter_cs = random_selector();
    cpu->gpr[RCX] = rnd() >> rnd() % 64;
    cpu->gpr[RDX] = rnd() >> rnd() % 64;
    cpu->eflags = (rnd() & (FL_ARITH | FL_IF | FL_IOPL | FL_TF | FL_DF)) | FL_FIXED |
                  (rnd() % 8 ? 0 : FL_NT);
    cpu_update_hflags(cpu);
}

struct snapshot {
    u64 gpr[16], rip, eflags, cr0, cr3;
    struct segment seg[SEG_COUNT];
    u32 hflags;
    u8 cpl;
};

static struct snapshot take_snapshot(void)
{
    struct snapshot s;
    memset(&s, 0, sizeof s);
    memcpy(s.gpr, cpu->gpr, sizeof s.gpr);
    memcpy(s.seg, cpu->seg, sizeof s.seg);
    s.rip = cpu->rip;
    s.eflags = cpu->eflags;
    s.cr0 = cpu->cr0;
    s.cr3 = cpu->cr3;
    s.hflags = cpu->hflags;
    s.cpl = cpu->cpl;
    return s;
}

/* Either it happens, and all that is derived fits, or it faults and nothing has changed. */
START_TEST(test_hostile_tables)
{
    static u64 (*const fns[])(struct cpu *, u64, u64, u64, u64) = {
        helper_far_jmp, helper_far_call, helper_far_ret, helper_iret, helper_int_n,
        helper_load_seg, helper_lldt, helper_ltr, helper_lar, helper_verr, helper_sysret,
        helper_sysexit, helper_check_seg,
    };
    unsigned happened = 0, faulted = 0;
    seed = 0x9e3779b97f4a7c15ull;
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr)); /* triple faults report there */
    for (unsigned i = 0; i < 20000; i++) {
        bool lng = i & 1;
        unsigned cpl = rnd() % 2 ? 3 : 0, f = rnd() % ARRAY_SIZE(fns);
        cpu_reset(cpu, true);
        if (lng)
            fixture_long(cpl);
        else
            fixture_protected(cpl);
        scramble(lng);
        u64 size = lng && rnd() % 2 ? 8 : rnd() % 4 ? 4 : 2;
        bool selects = fns[f] != helper_far_ret && fns[f] != helper_iret;
        u64 a = selects ? random_selector() : size;
        if (fns[f] == helper_int_n)
            a = rnd() % 34;
        if (fns[f] == helper_sysret || fns[f] == helper_sysexit)
            a = size == 8 ? 8 : 4;
        bool load = fns[f] == helper_load_seg || fns[f] == helper_check_seg;
        u64 b = load ? a : rnd() >> rnd() % 64;
        struct snapshot before = take_snapshot();
        if (run_helper(fns[f], load ? rnd() % 6 : a, b, size, 0x1000) >= 0) {
            struct snapshot after = take_snapshot();
            ck_assert_mem_eq(&before, &after, sizeof before);
            faulted++;
            /* The fault is delivered, or becomes a double or triple one; it always ends. */
            cpu_set_exception(cpu, EXC_GP, true, cpu->exc_error);
            cpu_service(cpu);
        } else {
            happened++;
        }
        ck_assert_ptr_null(cpu->guard);
        u32 hflags = cpu->hflags;
        cpu_update_hflags(cpu);
        ck_assert_uint_eq(hflags, cpu->hflags);
        if (cpu_code64(cpu))
            ck_assert(canonical(cpu->rip));
        else
            ck_assert_uint_le(cpu->rip, 0xffffffffu);
        ck_assert_uint_eq(cpu->mmu.kind, cpu_mmu_kind(cpu));
    }
    ck_assert_uint_gt(happened, 1000);
    ck_assert_uint_gt(faulted, 1000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cpu_transfer");
    TCase *t = tcase_create("transfer");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, fixture_teardown);
    tcase_add_test(t, test_real);
    tcase_add_test(t, test_enter_protected);
    tcase_add_loop_test(t, test_direct, 0, ARRAY_SIZE(directs));
    tcase_add_test(t, test_limits);
    tcase_add_test(t, test_far_ret);
    tcase_add_test(t, test_call_gate);
    tcase_add_test(t, test_call_gate_errors);
    tcase_add_test(t, test_call_gate64);
    tcase_add_test(t, test_task_call_and_iret);
    tcase_add_test(t, test_task_jmp);
    tcase_add_test(t, test_task_bad_new_state);
    tcase_add_test(t, test_task_gate_event);
    tcase_add_test(t, test_syscall);
    tcase_add_test(t, test_sysret32_and_vendor);
    tcase_add_test(t, test_sysret_noncanonical);
    tcase_add_test(t, test_hostile_tables);
    suite_add_tcase(s, t);
    return run_suite(s);
}

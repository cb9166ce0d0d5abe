/* Segment registers: the checks and error codes of SDM vol. 2 MOV, LLDT, LTR, LAR, LSL, VERR, VERW;
 * hidden parts, spans and hflags.
 */
#include "cpu_fixture.h"
#include "tests/suite.h"

static void setup(void)
{
    fixture_setup("max");
}

struct load_case {
    u8 cpl;
    u8 seg;
    u16 sel;
    int vector;
    u16 error;
};

static const struct load_case loads[] = {
    {3, SEG_DS, S_DATA3 | 3, -1, 0},
    {3, SEG_DS, S_DATA0 | 3, EXC_GP, S_DATA0},
    {3, SEG_DS, 3, -1, 0},                       /* null is legal */
    {3, SEG_ES, S_XONLY | 3, EXC_GP, S_XONLY},   /* not readable */
    {3, SEG_ES, S_CODE3 | 3, -1, 0},             /* readable code */
    {3, SEG_ES, S_CONF | 3, -1, 0},              /* conforming: privilege does not matter */
    {3, SEG_FS, S_RODATA | 3, -1, 0},
    {3, SEG_GS, S_ABSENT | 3, EXC_NP, S_ABSENT},
    {3, SEG_DS, GDT_END | 3, EXC_GP, GDT_END},   /* beyond the table */
    {3, SEG_DS, S_LDT, EXC_GP, S_LDT},           /* a system descriptor */
    {3, SEG_DS, 0x0c | 3, EXC_GP, 0x0c},         /* LDT, but none is loaded */
    {0, SEG_DS, S_DATA0 | 3, EXC_GP, S_DATA0},   /* RPL counts too */
    {0, SEG_DS, S_DATA3 | 3, -1, 0},
    {0, SEG_SS, S_DATA0, -1, 0},
    {0, SEG_SS, 0, EXC_GP, 0},                   /* null */
    {0, SEG_SS, S_DATA0 | 3, EXC_GP, S_DATA0},   /* RPL != CPL */
    {0, SEG_SS, S_DATA3, EXC_GP, S_DATA3},       /* DPL != CPL */
    {0, SEG_SS, S_CODE0, EXC_GP, S_CODE0},
    {3, SEG_SS, S_RODATA | 3, EXC_GP, S_RODATA},
    {3, SEG_SS, S_ABSENT | 3, EXC_SS, S_ABSENT},
    {3, SEG_CS, S_CODE3 | 3, EXC_UD, 0},
};

START_TEST(test_load)
{
    const struct load_case *c = &loads[_i];
    fixture_protected(c->cpl);
    u16 before = cpu->seg[c->seg].selector;
    int got = run_helper(helper_load_seg, c->seg, c->sel, 0x1234, 0);
    ck_assert_int_eq(got, c->vector);
    if (c->vector < 0) {
        ck_assert_uint_eq(cpu->seg[c->seg].selector, c->sel);
        ck_assert_uint_eq(cpu->rip, 0x1234);
        ck_assert_int_eq(cpu->irq_shadow, c->seg == SEG_SS);
    } else {
        ck_assert_uint_eq(cpu->exc_error, c->error);
        ck_assert_uint_eq(cpu->seg[c->seg].selector, before);
        ck_assert_uint_eq(cpu->rip, CODE_AT);
    }
    /* The checks alone agree. */
    fixture_protected(c->cpl);
    ck_assert_int_eq(run_helper(helper_check_seg, c->seg, c->sel, 0, 0), c->vector);
}
END_TEST

START_TEST(test_null_ss_long)
{
    fixture_long(0);
    ck_runs(helper_load_seg, SEG_SS, 0, 0, 0);
    fixture_long(3);
    ck_raises(EXC_GP, 0, helper_load_seg, SEG_SS, 3, 0, 0);
}
END_TEST

START_TEST(test_hidden)
{
    fixture_protected(0);
    /* Base and limit in all their pieces, 16-bit, byte granular, not yet accessed. */
    poke(GDT_AT + S_STACK16, 8, descriptor(0x12345678, 0xabcde, SEG_P | SEG_S | SEG_RW));
    ck_runs(helper_load_seg, SEG_DS, S_STACK16, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_DS].base, 0x12345678);
    ck_assert_uint_eq(cpu->seg[SEG_DS].limit, 0xabcde);
    ck_assert_uint_eq(cpu->seg[SEG_DS].attr & SEG_A, SEG_A);
    ck_assert_uint_eq(peek(GDT_AT + S_STACK16 + 5, 1) & 1, 1);
    poke(GDT_AT + S_STACK16, 8, descriptor(0, 0x12345fff, SEG_P | SEG_S | SEG_G));
    ck_runs(helper_load_seg, SEG_DS, S_STACK16, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_DS].limit, 0x12345fff);
}
END_TEST

START_TEST(test_spans)
{
    fixture_protected(3);
    ck_assert_uint_eq(cpu->seg[SEG_DS].span_r, 1ull << 32);
    ck_assert_uint_eq(cpu->seg[SEG_DS].span_w, 1ull << 32);
    ck_assert_uint_eq(cpu->seg[SEG_CS].span_r, 1ull << 32);
    ck_assert_uint_eq(cpu->seg[SEG_CS].span_w, 0);
    set_segment(SEG_ES, S_RODATA | 3);
    ck_assert_uint_eq(cpu->seg[SEG_ES].span_r, 1ull << 32);
    ck_assert_uint_eq(cpu->seg[SEG_ES].span_w, 0);
    set_segment(SEG_ES, S_DOWN | 3);
    ck_assert_uint_eq(cpu->seg[SEG_ES].span_r, 0);
    ck_runs(helper_load_seg, SEG_ES, 0, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_ES].span_r, 0);
    set_segment(SEG_ES, S_XONLY | 3);
    ck_assert_uint_eq(cpu->seg[SEG_ES].span_r, 0);
}
END_TEST

START_TEST(test_real_mode)
{
    ck_assert_uint_eq(cpu->seg[SEG_DS].span_w, 0x10000);
    ck_runs(helper_load_seg, SEG_DS, 0x1234, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_DS].base, 0x12340);
    ck_assert_uint_eq(cpu->seg[SEG_DS].span_r, 0x10000);
    ck_assert_uint_eq(cpu->seg[SEG_CS].span_w, 0x10000); /* types do not matter */
    /* "Unreal": a limit that protected mode left stays. */
    fixture_protected(0);
    ck_runs(helper_mov_to_cr, 0, CR0_ET, 0x55, 0);
    ck_assert_uint_eq(cpu->rip, 0x55);
    ck_runs(helper_load_seg, SEG_DS, 0x1000, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_DS].base, 0x10000);
    ck_assert_uint_eq(cpu->seg[SEG_DS].span_w, 1ull << 32);
}
END_TEST

START_TEST(test_segaddr)
{
    fixture_protected(3);
    set_segment(SEG_ES, S_DOWN | 3); /* valid: 1000h to FFFFFFFFh */
    ck_raises(EXC_GP, 0, helper_segaddr, SEG_ES, 0xfff, 1, 0);
    ck_runs(helper_segaddr, SEG_ES, 0x1000, 4, 1);
    ck_assert_uint_eq(helper_result, 0x1000);
    ck_runs(helper_segaddr, SEG_ES, 0xffffffff, 1, 1);
    ck_raises(EXC_GP, 0, helper_segaddr, SEG_ES, 0xffffffff, 2, 1);
    ck_raises(EXC_GP, 0, helper_segaddr, SEG_CS, 0, 1, 1); /* a store to code */
    set_segment(SEG_SS, S_DOWN | 3);
    ck_raises(EXC_SS, 0, helper_segaddr, SEG_SS, 0, 4, 0);
    cpu->seg[SEG_FS].base = 0xfffff000;
    ck_runs(helper_segaddr, SEG_FS, 0x2000, 4, 0);
    ck_assert_uint_eq(helper_result, 0x1000); /* wraps at 4 GiB */
    fixture_long(3);
    cpu->seg[SEG_GS].base = 0xffff800000001000ull;
    ck_runs(helper_segaddr, SEG_GS, 0x10, 4, 0);
    ck_assert_uint_eq(helper_result, 0xffff800000001010ull);
    cpu->seg[SEG_DS].base = 0x1000; /* ignored in 64-bit mode */
    ck_runs(helper_segaddr, SEG_DS, 0x10, 4, 0);
    ck_assert_uint_eq(helper_result, 0x10);
}
END_TEST

START_TEST(test_ldt)
{
    fixture_protected(0);
    ck_raises(EXC_GP, S_DATA0, helper_lldt, S_DATA0, 0, 0, 0);
    ck_runs(helper_lldt, S_LDT, 0, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_LDTR].base, LDT_AT);
    ck_runs(helper_load_seg, SEG_DS, 0x0f, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_DS].limit, 0xfff);
    ck_raises(EXC_GP, 0x14, helper_load_seg, SEG_DS, 0x14, 0, 0); /* beyond it */
    ck_runs(helper_lldt, 0, 0, 0, 0);
    ck_raises(EXC_GP, 0x0c, helper_load_seg, SEG_DS, 0x0f, 0, 0);
    fixture_protected(3);
    ck_raises(EXC_GP, 0, helper_lldt, S_LDT, 0, 0, 0);
}
END_TEST

START_TEST(test_ltr)
{
    fixture_protected(0);
    ck_raises(EXC_GP, 0, helper_ltr, 0, 0, 0, 0);
    ck_raises(EXC_GP, S_LDT, helper_ltr, S_LDT, 0, 0, 0);
    ck_runs(helper_ltr, S_TSS2, 0, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_TR].base, TSS2_AT);
    ck_assert_uint_eq(peek(GDT_AT + S_TSS2 + 5, 1) & 0xf, DT_TSS32_BUSY);
    ck_raises(EXC_GP, S_TSS2, helper_ltr, S_TSS2, 0, 0, 0); /* busy now */
    fixture_long(0);
    poke(GDT_AT + S_TSS + 8, 8, 0xffff8000);
    ck_runs(helper_ltr, S_TSS, 0, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_TR].base, 0xffff800000000000ull | TSS_AT);
    poke(GDT_AT + S_TSS, 8, descriptor(TSS_AT, 0x67, SEG_P | DT_TSS32));
    poke(GDT_AT + S_TSS + 8, 8, 0x8000);
    ck_raises(EXC_GP, S_TSS, helper_ltr, S_TSS, 0, 0, 0); /* not canonical */
}
END_TEST

struct look_case {
    u8 cpl;
    u16 sel;
    bool lar, lsl, verr, verw;
};

static const struct look_case looks[] = {
    {3, S_DATA3 | 3, true, true, true, true},
    {3, S_DATA0 | 3, false, false, false, false},
    {3, S_CONF | 3, true, true, true, false},
    {3, S_XONLY | 3, true, true, false, false},
    {3, S_RODATA | 3, true, true, true, false},
    {3, 0, false, false, false, false},
    {3, GDT_END, false, false, false, false},
    {0, S_LDT, true, true, false, false},
    {0, S_TSS2, true, true, false, false},
    {0, S_GATE, true, false, false, false}, /* a call gate has no limit */
    {0, S_DATA0 | 3, false, false, false, false},
    {0, S_ABSENT, true, true, true, true},  /* presence is not looked at */
};

static bool zf(void)
{
    return cpu->eflags & FL_ZF;
}

START_TEST(test_look)
{
    const struct look_case *c = &looks[_i];
    fixture_protected(c->cpl);
    poke(GDT_AT + S_GATE, 8, (u64)(0x80 | DT_CALL32) << 40 | (u64)S_CODE0 << 16);
    ck_runs(helper_lar, c->sel, 0, 0, 0);
    ck_assert_int_eq(zf(), c->lar);
    if (c->lar)
        ck_assert_uint_eq(helper_result, peek(GDT_AT + (c->sel & 0xfff8) + 4, 4) & 0xffff00);
    ck_runs(helper_lar, c->sel, 1, 0, 0);
    ck_assert_int_eq(zf(), c->lsl);
    ck_runs(helper_verr, c->sel, 0, 0, 0);
    ck_assert_int_eq(zf(), c->verr);
    ck_runs(helper_verr, c->sel, 1, 0, 0);
    ck_assert_int_eq(zf(), c->verw);
}
END_TEST

START_TEST(test_hflags)
{
    ck_assert_uint_eq(cpu->hflags, HF_NOSSE | HF_X87_EXC); /* FCW is 40h after RESET */
    cpu->x87.fcw = 0x37f;
    cpu_x87_loaded(cpu);
    ck_assert_uint_eq(cpu->hflags, HF_NOSSE);
    cpu->x87.fcw = 0x37b; /* zero divide */
    cpu_x87_loaded(cpu);
    ck_assert_uint_eq(cpu->hflags, HF_NOSSE | HF_X87_EXC);
    cpu_update_hflags(cpu);
    ck_assert_uint_eq(cpu->hflags, HF_NOSSE | HF_X87_EXC);
    cpu->x87.fcw = 0x37f;
    fixture_protected(0);
    ck_assert_uint_eq(cpu->hflags, HF_PE | HF_CS32 | HF_SS32 | HF_FLAT | HF_CSFLAT | HF_NOSSE);
    fixture_protected(3);
    ck_assert_uint_eq(cpu->hflags & HF_USER, HF_USER);
    ck_assert_int_eq(cpu->mmu.kind, MMU_USER);
    set_segment(SEG_ES, S_RODATA | 3);
    ck_assert_uint_eq(cpu->hflags & HF_FLAT, 0);
    fixture_long(0);
    ck_assert_uint_eq(cpu->hflags, HF_LONG | HF_PE | HF_FLAT | HF_CSFLAT);
    cpu_set_mxcsr(cpu, 0x1f00);
    ck_assert_uint_eq(cpu->hflags & HF_SSE_EXC, HF_SSE_EXC);
    ck_assert_uint_eq(cpu->guest_mxcsr_host, 0x1f80);
    cpu_set_mxcsr(cpu, 0x1f80);
    cpu_set_eflags(cpu, FL_TF);
    ck_assert_uint_eq(cpu->hflags & (HF_TF | HF_SSE_EXC), HF_TF);
    cpu->cr0 |= CR0_TS;
    cpu_update_hflags(cpu);
    ck_assert_uint_eq(cpu->hflags & (HF_NOFPU | HF_NOSSE), HF_NOFPU | HF_NOSSE);
    fixture_long(3);
    cpu->cr0 |= CR0_AM;
    cpu_set_eflags(cpu, FL_AC);
    ck_assert_uint_eq(cpu->hflags & HF_ALIGN, HF_ALIGN);
}
END_TEST

START_TEST(test_smap_kind)
{
    fixture_long(0);
    ck_assert_int_eq(cpu->mmu.kind, MMU_SUPERVISOR_AC);
    ck_runs(helper_mov_to_cr, 4, cpu->cr4 | CR4_SMAP, 0, 0);
    ck_assert_int_eq(cpu->mmu.kind, MMU_SUPERVISOR);
    ck_runs(helper_stac, 1, 0, 0, 0);
    ck_assert_int_eq(cpu->mmu.kind, MMU_SUPERVISOR_AC);
    ck_assert_uint_eq(cpu->eflags & FL_AC, FL_AC);
    ck_runs(helper_stac, 0, 0, 0, 0);
    ck_assert_int_eq(cpu->mmu.kind, MMU_SUPERVISOR);
    fixture_long(3);
    ck_raises(EXC_UD, 0, helper_stac, 1, 0, 0, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cpu_segment");
    TCase *t = tcase_create("segment");
    tcase_add_checked_fixture(t, setup, fixture_teardown);
    tcase_add_loop_test(t, test_load, 0, ARRAY_SIZE(loads));
    tcase_add_test(t, test_null_ss_long);
    tcase_add_test(t, test_hidden);
    tcase_add_test(t, test_spans);
    tcase_add_test(t, test_real_mode);
    tcase_add_test(t, test_segaddr);
    tcase_add_test(t, test_ldt);
    tcase_add_test(t, test_ltr);
    tcase_add_loop_test(t, test_look, 0, ARRAY_SIZE(looks));
    tcase_add_test(t, test_hflags);
    tcase_add_test(t, test_smap_kind);
    suite_add_tcase(s, t);
    return run_suite(s);
}

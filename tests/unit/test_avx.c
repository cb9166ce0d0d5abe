/* The lifter's VEX forms: every encoding verifies, with 256-bit ops and taken apart into 128-bit
 * ones, before and after the passes; modes and control bits that do not have them raise #UD; what
 * opt_forward knows of whole registers and parts.  What they compute is the fuzzers' matter.
 */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>

#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "tests/suite.h"
#include "translator/block.h"
#include "translator/ir_vec.h"

#define LONG (HF_LONG | HF_PE | HF_FLAT | HF_CSFLAT | HF_USER)
#define FLAT32 (HF_CS32 | HF_SS32 | HF_PE | HF_FLAT | HF_CSFLAT)

static struct cpu vcpu;
static struct ir ir;
static struct opt_counters n;

static void print_line(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

static void must_verify(const u8 *p)
{
    unsigned at = 0;
    const char *bad = ir_verify(&ir, &at);
    if (!bad)
        return;
    ir_print(&ir, print_line, NULL);
    ck_abort_msg("%02x %02x %02x %02x %02x: op %u: %s", p[0], p[1], p[2], p[3], p[4], at, bad);
}

static unsigned count_op(enum ir_op op)
{
    unsigned k = 0;
    for (unsigned i = 1; i < ir.count; i++)
        k += ir.insns[i].op == op;
    return k;
}

static unsigned count_wide(void)
{
    unsigned k = 0;
    for (unsigned i = 1; i < ir.count; i++)
        k += ir.insns[i].vl;
    return k;
}

static void lift(const u8 *p, u32 hflags, bool narrow)
{
    struct lift_input in = {p, 15, 1};
    ir_reset(&ir, 0x1000, 0, hflags);
    ir.narrow = narrow;
    ck_assert_uint_eq(lift_block(&vcpu, &ir, &in), 1);
    must_verify(p);
}

static bool raises_ud(void)
{
    return ir.count == 3 && ir.insns[2].op == IR_raise && ir.insns[2].aux == EXC_UD;
}

static void setup(void)
{
    char *error = NULL;
    vcpu.model = cpu_model_find("max", 1, &error);
    memset(&n, 0, sizeof n);
}

static unsigned wide, forms;

static void one_form(const u8 *p, u32 hflags)
{
    struct insn in;
    if (decode(&in, p, 15, hflags & HF_LONG ? 64 : 32) != DECODE_OK || !(in.row->props & ROW_V))
        return;
    forms++;
    for (unsigned narrow = 0; narrow < 2; narrow++) {
        lift(p, hflags | HF_AVX, narrow);
        ck_assert_msg(!raises_ud(), "%s is not lifted", in.row->text);
        if (narrow)
            ck_assert_msg(!count_wide(), "%s is not taken apart", in.row->text);
        else
            wide += count_wide() != 0;
        opt_run(&ir, &n, true);
        must_verify(p);
    }
    lift(p, hflags, false);
    ck_assert_msg(raises_ud(), "%s without XCR0", in.row->text);
}

static void all_forms(u32 hflags)
{
    static const u8 modrm[] = {0x01, 0xc1, 0x14, 0xd1, 0xd9, 0xe1, 0xf1, 0xf9, 0x11, 0x19};
    for (unsigned map = 1; map < 4; map++) {
        for (unsigned i = 0; i < 256 * 8 * ARRAY_SIZE(modrm); i++) {
            unsigned k = i / ARRAY_SIZE(modrm);
            u8 p[15] = {0xc4, (u8)(0xe0 | map), (u8)((k & 1) << 7 | 0x78 | (k >> 1 & 3)),
                        (u8)(k >> 3), modrm[i % ARRAY_SIZE(modrm)], 0x10};
            one_form(p, hflags);
            p[2] |= 4;
            one_form(p, hflags);
        }
    }
}

START_TEST(test_every_form)
{
    all_forms(LONG);
    all_forms(LONG | HF_SSE_EXC);
    all_forms(FLAT32);
    ck_assert_uint_gt(forms, 4000);
    ck_assert_uint_gt(wide, 1000);
}
END_TEST

START_TEST(test_modes)
{
    static const u8 vaddps[15] = {0xc5, 0xf4, 0x58, 0xc1};
    static const u32 bad[] = {0, HF_PE | HF_VM, HF_CS32};
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        lift(vaddps, bad[i] | HF_AVX, false);
        ck_assert_uint_eq(ir.insns[ir.count - 1].op, IR_raise);
        ck_assert_uint_eq(ir.insns[ir.count - 1].aux, EXC_UD);
    }
    lift(vaddps, HF_PE | HF_AVX, false); /* 16-bit protected mode */
    ck_assert_uint_eq(count_op(IR_fpadd), 1);
    lift(vaddps, LONG | HF_AVX | HF_NOFPU | HF_NOSSE, false); /* the helper looks at CR0.TS */
    ck_assert_uint_eq(count_op(IR_fpadd), 1);
    ck_assert_uint_eq(count_op(IR_call), 1);
}
END_TEST

/* ---- opt_forward: a register as a whole, and its parts ---- */

static ir_ref get(unsigned vl)
{
    return ir_emit_v(&ir, IR_getv, vl, W128, 1, 0, 0, 0, 0);
}

static void put(unsigned vl, ir_ref v)
{
    ir_emit_v(&ir, IR_putv, vl, W128, 1, 0, v, 0, 0);
}

static ir_ref fresh(unsigned vl)
{
    return ir_emit_v(&ir, IR_vadd, vl, W32, 0, 0, ir_emit_v(&ir, IR_getv, 1, W128, 2, 0, 0, 0, 0),
                     ir_emit_v(&ir, IR_getv, 1, W128, 3, 0, 0, 0, 0), 0);
}

static void begin(void)
{
    ir_reset(&ir, 0x1000, 0, LONG);
    ir_emit(&ir, IR_insn, 0, 3, 0x1000, 0, 0, 0, 0);
}

static void end(void)
{
    ir_emit(&ir, IR_exit, 0, XF_DEAD, 0x2000, 0, 0, 0, 0);
    opt_run(&ir, &n, true);
}

START_TEST(test_parts)
{
    begin(); /* a part of what was put whole is known */
    put(1, fresh(1));
    ir_emit_v(&ir, IR_putv, 0, W128, 4, 0, get(0), 0, 0);
    end();
    ck_assert_uint_eq(count_op(IR_getv), 2);
    ck_assert_uint_eq(count_op(IR_putv), 2);
    begin(); /* the whole is not, where a part was put; nor is that put's fate sealed by the next */
    put(0, fresh(0));
    ir_emit_v(&ir, IR_putv, 1, W128, 4, 0, get(1), 0, 0);
    put(0, fresh(0));
    end();
    ck_assert_uint_eq(count_op(IR_getv), 3);
    ck_assert_uint_eq(count_op(IR_putv), 3);
    begin(); /* a put of a part leaves the rest of an earlier one */
    put(1, fresh(1));
    put(0, fresh(0));
    end();
    ck_assert_uint_eq(count_op(IR_putv), 2);
    begin(); /* a put of the whole overwrites parts */
    put(0, fresh(0));
    ir_emit_v(&ir, IR_putv, 0, W128, 1, 1, fresh(0), 0, 0);
    put(1, fresh(1));
    end();
    ck_assert_uint_eq(count_op(IR_putv), 1);
}
END_TEST

START_TEST(test_verifier)
{
    unsigned at;
    begin(); /* what a 128-bit get leaves above is not defined */
    put(1, get(0));
    ir_emit(&ir, IR_exit, 0, XF_DEAD, 0x2000, 0, 0, 0, 0);
    ck_assert_ptr_nonnull(ir_verify(&ir, &at));
    begin();
    put(1, ir_emit_v(&ir, IR_vlow, 0, W128, 0, 0, get(0), 0, 0));
    ir_emit(&ir, IR_exit, 0, XF_DEAD, 0x2000, 0, 0, 0, 0);
    ck_assert_ptr_null(ir_verify(&ir, &at));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("avx");
    TCase *c = tcase_create("lifter");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_set_timeout(c, 60);
    tcase_add_test(c, test_every_form);
    tcase_add_test(c, test_modes);
    tcase_add_test(c, test_parts);
    tcase_add_test(c, test_verifier);
    suite_add_tcase(suite, c);
    return run_suite(suite);
}

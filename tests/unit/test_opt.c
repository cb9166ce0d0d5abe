/* The passes: each shown to fire, and random blocks that must mean the same before and after. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "random_ir.h"
#include "tests/suite.h"
#include "translator/block.h"

static void print_line(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

static struct ir before, after;
static struct opt_counters counters;

static void check_same(u64 s)
{
    random_ir_seed = s;
    random_ir_block(&before, true);
    memcpy(&after, &before, sizeof after);
    unsigned at = 0;
    const char *bad = ir_verify(&before, &at);
    if (bad)
        ir_print(&before, print_line, NULL);
    ck_assert_msg(!bad, "seed %llx: generated op %u: %s", (unsigned long long)s, at, bad);
    opt_run(&after, &counters, true);
    for (unsigned run = 0; run < 3; run++) {
        struct machine a = {.flags = random_ir_rnd() & FL_ARITH}, b;
        for (unsigned i = 0; i < 16; i++)
            a.gpr[i] = random_ir_const(W64);
        for (unsigned i = 0; i < RANDOM_IR_ENV_BYTES; i++)
            a.env[i] = (u8)random_ir_rnd();
        b = a;
        random_ir_walk(&a, &before);
        random_ir_walk(&b, &after);
        if (a.hash == b.hash && a.exit == b.exit && a.noted == b.noted)
            continue;
        ir_print(&before, print_line, NULL);
        ir_print(&after, print_line, NULL);
        ck_abort_msg("seed %llx: left to %llx after %llu notes, then %llx after %llu",
                     (unsigned long long)s, (unsigned long long)a.exit,
                     (unsigned long long)a.noted, (unsigned long long)b.exit,
                     (unsigned long long)b.noted);
    }
}

START_TEST(test_random_blocks)
{
    memset(&counters, 0, sizeof counters);
    const char *given = getenv("OPT_SEED");
    if (given) {
        check_same(strtoull(given, NULL, 16));
        return;
    }
    for (u64 s = 1; s <= 20000; s++)
        check_same(s * 0x9e3779b97f4a7c15ull);
    ck_assert_uint_gt(counters.folded, 1000);
    ck_assert_uint_gt(counters.forwarded, 1000);
    ck_assert_uint_gt(counters.puts_killed, 1000);
    ck_assert_uint_gt(counters.flags_killed, 1000);
    ck_assert_uint_gt(counters.dead, 1000);
}
END_TEST

/* ---- each pass on its own ---- */

static struct ir ir;
static struct opt_counters n;

static void begin(void)
{
    memset(&n, 0, sizeof n);
    ir_reset(&ir, 0x1000, 0, HF_LONG);
    ir_emit(&ir, IR_insn, 0, 3, 0x1000, 0, 0, 0, 0);
}

static void next_insn(void)
{
    ir_emit(&ir, IR_insn, 0, 3, 0x1003, 0, 0, 0, 0);
}

static void end(unsigned fate)
{
    ir_emit(&ir, IR_exit, 0, fate, 0x2000, 0, 0, 0, 0);
    opt_run(&ir, &n, true);
}

static unsigned count_op(enum ir_op op)
{
    unsigned k = 0;
    for (unsigned i = 1; i < ir.count; i++)
        k += ir.insns[i].op == op;
    return k;
}

static const struct ir_insn *only(enum ir_op op)
{
    ck_assert_uint_eq(count_op(op), 1);
    unsigned i = 1;
    while (ir.insns[i].op != op)
        i++;
    return &ir.insns[i];
}

static u64 const_of(ir_ref r)
{
    ck_assert_uint_eq(ir.insns[r].op, IR_const);
    return ir.insns[r].imm;
}

START_TEST(test_forward_and_fold)
{
    begin(); /* mov eax, 5; add rax, 7 */
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_2(&ir, IR_add, W64, ir_get(&ir, RAX), ir_const(&ir, W64, 7)));
    end(XF_LIVE);
    ck_assert_uint_eq(n.forwarded, 1);
    ck_assert_uint_eq(n.puts_killed, 1);
    ck_assert_uint_gt(n.folded, 0);
    ck_assert_uint_eq(const_of(only(IR_put)->arg[0]), 12);
    ck_assert_uint_eq(ir.count, 6); /* insn, insn, const, put, exit; counted from 1 */
}
END_TEST

START_TEST(test_put_before_load_stays)
{
    begin();
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_emit(&ir, IR_ld, W64, 0, 0, ir_get(&ir, RBX), 0, 0, 0));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_put), 2);
    ck_assert_uint_eq(n.puts_killed, 0);
}
END_TEST

START_TEST(test_put_before_helper)
{
    begin(); /* a helper that neither reads registers nor raises lets the put die */
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_callv(&ir, HELPER_rdpid, 0, 0, 0, 0));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_put), 1);
    begin(); /* one that reads them does not */
    ir_put(&ir, RAX, ir_const(&ir, W64, 5));
    next_insn();
    ir_put(&ir, RAX, ir_callv(&ir, HELPER_cpuid, 0, 0, 0, 0));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_put), 2);
}
END_TEST

static ir_ref flags_of(unsigned reg)
{
    return ir_2(&ir, IR_fadd, W64, ir_get(&ir, reg), ir_const(&ir, W64, 1));
}

START_TEST(test_flags)
{
    begin(); /* two in a row: the first dies */
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RAX), 0, 0, 0);
    next_insn();
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RBX), 0, 0, 0);
    end(XF_LIVE);
    ck_assert_uint_eq(n.flags_killed, 1);
    ck_assert_uint_eq(only(IR_putf)->aux, XF_LIVE);
    ck_assert_uint_eq(count_op(IR_fadd), 1);
    ck_assert_uint_eq(count_op(IR_get), 1);

    begin(); /* a load between: a fault could show them */
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RAX), 0, 0, 0);
    next_insn();
    ir_emit(&ir, IR_ld, W64, 0, 0, ir_get(&ir, RCX), 0, 0, 0);
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RBX), 0, 0, 0);
    end(XF_DEAD);
    ck_assert_uint_eq(n.flags_killed, 1);
    ck_assert_uint_eq(only(IR_putf)->aux, XF_FAULT);
}
END_TEST

START_TEST(test_flags_of_known_shift)
{
    begin(); /* shl by 3 does not need the old flags, so that these die */
    ir_emit(&ir, IR_putf, 0, 0, 0, flags_of(RAX), 0, 0, 0);
    next_insn();
    ir_ref old = ir_emit(&ir, IR_getf, 0, 0, 0, 0, 0, 0, 0);
    ir_ref f = ir_3(&ir, IR_fshl, W64, ir_get(&ir, RAX), ir_const(&ir, W8, 3), old);
    ir_emit(&ir, IR_putf, 0, 0, 0, f, 0, 0, 0);
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_fadd), 0);
    ck_assert_uint_eq(only(IR_fshl)->arg[2], 0);
}
END_TEST

START_TEST(test_partial_register)
{
    begin(); /* mov al, bl; movzx ecx, al */
    ir_ref bl = ir_trunc(&ir, W8, W64, ir_get(&ir, RBX));
    ir_put(&ir, RAX, ir_emit(&ir, IR_deposit, W64, W8, 0, ir_get(&ir, RAX), bl, 0, 0));
    next_insn();
    ir_put(&ir, RCX, ir_zext(&ir, W64, W8, ir_trunc(&ir, W8, W64, ir_get(&ir, RAX))));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_trunc), 1);
    ck_assert_uint_eq(count_op(IR_get), 2);
}
END_TEST

START_TEST(test_sums_of_constants)
{
    begin(); /* (rax - 8) + 24 */
    ir_ref low = ir_2(&ir, IR_sub, W64, ir_get(&ir, RAX), ir_const(&ir, W64, 8));
    ir_put(&ir, RCX, ir_2(&ir, IR_add, W64, low, ir_const(&ir, W64, 24)));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_sub), 0);
    ck_assert_uint_eq(const_of(only(IR_add)->arg[1]), 16);

    begin(); /* the difference is wanted too: it stays, for the host to share with its flags */
    low = ir_2(&ir, IR_sub, W64, ir_get(&ir, RAX), ir_const(&ir, W64, 8));
    ir_put(&ir, RAX, low);
    ir_put(&ir, RCX, ir_2(&ir, IR_add, W64, low, ir_const(&ir, W64, 24)));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_sub), 1);
    ck_assert_uint_eq(const_of(only(IR_add)->arg[1]), 24);
}
END_TEST

START_TEST(test_same_part_twice)
{
    begin(); /* xor eax, eax as it is lifted: two truncs of one register */
    ir_ref a = ir_trunc(&ir, W32, W64, ir_get(&ir, RAX));
    ir_ref b = ir_trunc(&ir, W32, W64, ir_get(&ir, RAX));
    ir_put(&ir, RAX, ir_zext(&ir, W64, W32, ir_2(&ir, IR_xor, W32, a, b)));
    end(XF_LIVE);
    ck_assert_uint_eq(const_of(only(IR_put)->arg[0]), 0);
    ck_assert_uint_eq(count_op(IR_get), 0);
}
END_TEST

START_TEST(test_known_exit)
{
    begin(); /* xor eax, eax; jz: always */
    ir_ref rax = ir_get(&ir, RAX), zero = ir_2(&ir, IR_xor, W64, rax, rax);
    ir_put(&ir, RAX, zero);
    ir_emit(&ir, IR_exit_if, 0, XF_LIVE, 0x3000,
            ir_setcc(&ir, 4, ir_1(&ir, IR_flogic, W64, zero)), 0, 0, 0);
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_exit_if), 0);
    ck_assert_uint_eq(only(IR_exit)->imm, 0x3000);
}
END_TEST

START_TEST(test_dead_and_uses)
{
    begin();
    ir_ref a = ir_get(&ir, RAX), b = ir_get(&ir, RBX);
    ir_2(&ir, IR_mul, W64, a, b);
    ir_put(&ir, RCX, ir_2(&ir, IR_add, W64, a, a));
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_mul), 0);
    ck_assert_uint_eq(n.dead, 2);
    ck_assert_uint_eq(only(IR_get)->uses, 2);
    ck_assert_uint_eq(count_op(IR_NONE), 0);
}
END_TEST

START_TEST(test_loads_and_divisions_stay)
{
    begin();
    ir_ref a = ir_get(&ir, RAX);
    ir_emit(&ir, IR_ld, W32, 0, 0, a, 0, 0, 0);
    ir_3(&ir, IR_divu, W64, a, ir_const(&ir, W64, 0), a);
    /* A division that faults for certain is not folded away. */
    ir_ref zero = ir_const(&ir, W64, 0);
    ir_3(&ir, IR_divu, W64, zero, zero, zero);
    end(XF_LIVE);
    ck_assert_uint_eq(count_op(IR_ld), 1);
    ck_assert_uint_eq(count_op(IR_divu), 2);
}
END_TEST

/* ---- verifier ---- */

static const char *verify(void)
{
    unsigned at;
    return ir_verify(&ir, &at);
}

START_TEST(test_verifier)
{
    begin();
    ck_assert_str_eq(verify(), "block does not end");
    ir_put(&ir, RAX, ir_const(&ir, W64, 1));
    ir_emit(&ir, IR_ld, W64, 0, 0, ir_const(&ir, W64, 0), 0, 0, 0);
    ir_emit(&ir, IR_exit, 0, 0, 0, 0, 0, 0, 0);
    ck_assert_str_eq(verify(), "op that may fault after guest state has changed");
    begin();
    ir_2(&ir, IR_add, W32, ir_const(&ir, W32, 1), ir_const(&ir, W64, 1));
    ck_assert_str_eq(verify(), "operand of the wrong width");
    begin();
    ir_emit(&ir, IR_put, W64, RAX, 0, 7, 0, 0, 0);
    ck_assert_str_eq(verify(), "operand does not name an earlier op");
    begin();
    ir_emit(&ir, IR_exit_if, 0, 0, 0, ir_const(&ir, W8, 2), 0, 0, 0);
    ck_assert_str_eq(verify(), "operand is not a boolean");
    begin();
    ir_emit(&ir, IR_exit, 0, 0, 0, 0, 0, 0, 0);
    next_insn();
    ck_assert_str_eq(verify(), "op after the end of the block");
    begin();
    ir_emit(&ir, IR_get, W64, 16, 0, 0, 0, 0, 0);
    ck_assert_str_eq(verify(), "field out of range");
    ir_reset(&ir, 0, 0, 0);
    ir_get(&ir, RAX);
    ck_assert_str_eq(verify(), "effect outside a guest instruction");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("opt");
    TCase *c = tcase_create("passes");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_forward_and_fold);
    tcase_add_test(c, test_put_before_load_stays);
    tcase_add_test(c, test_put_before_helper);
    tcase_add_test(c, test_flags);
    tcase_add_test(c, test_flags_of_known_shift);
    tcase_add_test(c, test_partial_register);
    tcase_add_test(c, test_sums_of_constants);
    tcase_add_test(c, test_same_part_twice);
    tcase_add_test(c, test_known_exit);
    tcase_add_test(c, test_dead_and_uses);
    tcase_add_test(c, test_loads_and_divisions_stay);
    tcase_add_test(c, test_verifier);
    tcase_add_test(c, test_random_blocks);
    suite_add_tcase(s, c);
    return run_suite(s);
}

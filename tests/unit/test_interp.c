/* The portable engine: the programs of every engine, its counters, and random IR. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine_programs.h"
#include "random_ir.h"
#include "tests/suite.h"
#include "translator/interp.h"
#include "translator/opt.h"

/* ---- counters ---- */

CODE64(count64, "mov $10, %ecx\n xor %eax, %eax\n 1: add %rcx, %rax\n dec %rcx\n jnz 1b\n"
                "mov $0x40000000, %edx\n mov (%rdx), %eax\n .org count64 + 0x80\n hlt\n")

START_TEST(test_counters)
{
    START64(count64);
    tiny_gate(&m, EXC_PF, 0x10080);
    tiny_run(&m);
    ck_assert_uint_gt(tiny_counter(&m, "links"), 0);
    ck_assert_uint_eq(tiny_counter(&m, "unwinds"), 1);
    ck_assert_uint_eq(tiny_counter(&m, "insns_executed"), 2 + 30 + 1 + 1);
}
END_TEST

/* ---- random IR: what compaction fuses must mean what the ops said ---- */

static void run_ir(struct cpu *cpu, const struct ir *ir)
{
    static struct xmark mark[BLOCK_MAX_INSNS + 1];
    static struct ir_insn vec[IR_MAX];
    static struct tblock block;
    struct vcpu *v = vcpu_of(cpu);
    memcpy(&v->ir, ir, sizeof *ir);
    struct xcompact n = interp_compact(v, mark, vec);
    block.code = (struct xcode){NULL, n.ops, n.marks, v->scratch, mark, vec};
    v->running = &block;
    ck_assert_ptr_null(v->scratch->fn(cpu, (u8 *)v->frame, v->scratch));
    v->running = NULL;
}

static void check_random_ir(u64 seed, bool optimise)
{
    static struct ir ir;
    static struct opt_counters counters;
    struct cpu *cpu = m.cpu;
    random_ir_seed = seed;
    random_ir_block(&ir, false);
    struct opt_counters none = {0};
    opt_dead(&ir, &none); /* counts the uses */
    struct machine want = {.flags = random_ir_rnd() & FL_ARITH};
    for (unsigned i = 0; i < 16; i++)
        want.gpr[i] = cpu->gpr[i] = random_ir_const(W64);
    for (unsigned i = 0; i < RANDOM_IR_ENV_BYTES; i++)
        want.env[i] = ((u8 *)cpu)[RANDOM_IR_ENV + i] = (u8)random_ir_rnd();
    for (unsigned i = 0; i < RANDOM_IR_MEM_BYTES; i++)
        want.mem[i] = m.ram[RANDOM_IR_MEM + i] = (u8)random_ir_rnd();
    cpu->eflags = FL_FIXED | want.flags;
    cpu->lazy_kind = LAZY_NONE;
    random_ir_walk(&want, &ir);
    if (optimise)
        opt_run(&ir, &counters, true);
    run_ir(cpu, &ir);
    cpu_flags(cpu);
    for (unsigned i = 0; i < 16; i++)
        ck_assert_msg(cpu->gpr[i] == want.gpr[i], "seed %llx: register %u",
                      (unsigned long long)seed, i);
    ck_assert_uint_eq(cpu->rip, want.exit);
    ck_assert_int_eq(memcmp((u8 *)cpu + RANDOM_IR_ENV, want.env, RANDOM_IR_ENV_BYTES), 0);
    ck_assert_int_eq(memcmp(m.ram + RANDOM_IR_MEM, want.mem, RANDOM_IR_MEM_BYTES), 0);
    if (!want.flags_dead)
        ck_assert_msg((cpu->eflags & FL_ARITH) == want.flags, "seed %llx: flags %llx, not %llx",
                      (unsigned long long)seed, (unsigned long long)(cpu->eflags & FL_ARITH),
                      (unsigned long long)want.flags);
}

START_TEST(test_random_ir)
{
    tiny_long(&m, 0x10000);
    for (u64 s = 1; s <= 10000; s++)
        check_random_ir(s * 0x9e3779b97f4a7c15ull, _i);
}
END_TEST

/* Instructions per second, for the log; no bound, hosts differ. */
CODE64(spin64, "mov $5000000, %ecx\n xor %eax, %eax\n 1: add %rcx, %rax\n mov %rax, 0x20000\n"
               "xor 0x20008, %rax\n shl $1, %rax\n cmp $7, %eax\n je 2f\n"
               "dec %rcx\n jnz 1b\n 2: hlt\n")

START_TEST(test_speed)
{
    START64(spin64);
    clock_t start = clock();
    tiny_run(&m);
    double s = (double)(clock() - start) / CLOCKS_PER_SEC;
    ck_assert_uint_eq(m.cpu->gpr[RCX], 0);
    fprintf(stderr, "interp: %.0f million instructions a second\n",
            (double)tiny_counter(&m, "insns_executed") / s / 1e6);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("interp");
    engine_under_test = &accel_interp;
    engine_programs(s);
    TCase *c = tcase_create("engine");
    tcase_add_checked_fixture(c, engine_setup, engine_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_counters);
    tcase_add_loop_test(c, test_random_ir, 0, 2);
    tcase_add_test(c, test_speed);
    suite_add_tcase(s, c);
    return run_suite(s);
}

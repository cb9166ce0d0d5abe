/* Counted mode on every engine: the count is that of the instructions, whatever the blocks are, and
 * timers run at their exact counts. */
#include "engine_programs.h"

static const struct count_config plain = {.shift = 0};

static void setup(void)
{
    tiny_create_counted(&m, engine_under_test, &plain);
}

/* What a timer saw, and when it is armed again. */
static struct {
    struct timer timer;
    u64 count, rax, rip;
    bool leave;
} seen;

static void fired(void *opaque)
{
    seen.count = count_now(m.cpu);
    seen.rax = m.cpu->gpr[RAX];
    seen.rip = m.cpu->rip;
    if (seen.leave)
        cpu_request(m.cpu, REQ_EXIT);
}

static void arm(u64 at, bool leave)
{
    seen.count = 0;
    seen.leave = leave;
    timer_init(&seen.timer, &m.clock, fired, NULL);
    timer_arm(&seen.timer, at);
    count_stop_soon(m.cpu);
}

/* Six instructions a turn, in two blocks. */
CODE64(turns, "xor %eax, %eax\n"
              "1: inc %rax\n add $2, %rbx\n mov %rax, %rcx\n jmp 2f\n nop\n 2: dec %rcx\n jmp 1b\n")

START_TEST(timer_at_each_count)
{
    /* Where the instruction after the first one, and after each of a turn, begins. */
    static const u8 next[] = {0x02, 0x05, 0x09, 0x0c, 0x0f, 0x12};
    START64(turns);
    for (u64 at = 1; at < 400; at += at < 50 ? 1 : 17) {
        u64 base = count_now(m.cpu);
        tiny_long(&m, 0x10000);
        arm(base + at, true);
        tiny_run(&m);
        cpu_withdraw(m.cpu, REQ_EXIT);
        ck_assert_uint_eq(seen.count, base + at);
        ck_assert_uint_eq(count_now(m.cpu), base + at);
        ck_assert_uint_eq(seen.rax, (at - 1 + 5) / 6);
        ck_assert_uint_eq(m.cpu->gpr[RAX], seen.rax);
        ck_assert_uint_eq(seen.rip, 0x10000u + next[(at - 1) % 6]);
    }
}
END_TEST

/* A repeated instruction counts once, however many elements it has and pages it touches. */
CODE64(strings, "cld\n mov $0x20000, %edi\n mov $200000, %ecx\n rep stosb\n"
                "mov $0x20000, %esi\n mov $0x60000, %edi\n mov $200000, %ecx\n nop\n rep movsb\n"
                "inc %rax\n xor %ecx, %ecx\n rep stosq\n hlt\n")

START_TEST(strings_count_once)
{
    RUN64(strings);
    ck_assert(m.cpu->halted);
    ck_assert_uint_eq(m.cpu->gpr[RDI], 0x60000 + 200000);
    ck_assert_uint_eq(count_now(m.cpu), 13);
}
END_TEST

/* An instruction that faults is not counted, its delivery is, and so is INT n. */
CODE64(faults, "nop\n ud2\n mov $1, %eax\n mov 0x7fffffff, %ebx\n nop\n int $0x40\n nop\n hlt\n"
               ".org faults + 0x100\n addq $2, (%rsp)\n iretq\n"
               ".org faults + 0x200\n add $8, %rsp\n addq $7, (%rsp)\n iretq\n"
               ".org faults + 0x300\n iretq\n")

START_TEST(faults_count_as_deliveries)
{
    START64(faults);
    tiny_gate(&m, EXC_UD, 0x10100);
    tiny_gate(&m, EXC_PF, 0x10200);
    tiny_gate(&m, 0x40, 0x10300);
    tiny_run(&m);
    ck_assert(m.cpu->halted);
    /* nop, #UD, 2, mov, #PF, 3, nop, int, iretq, nop, hlt */
    ck_assert_uint_eq(count_now(m.cpu), 1 + 1 + 2 + 1 + 1 + 3 + 1 + 1 + 1 + 1 + 1);
}
END_TEST

/* A store into the block that executes: the instruction done again is not counted twice. */
CODE64(changes, "mov $0x10000, %edi\n mov $3, %ecx\n nop\n"
                "1: incb changes_imm - changes(%rdi)\n changes_mov: mov $5, %al\n"
                ".set changes_imm, changes_mov + 1\n add %rax, %rbx\n dec %ecx\n jnz 1b\n hlt\n")

START_TEST(changed_code_counts_once)
{
    RUN64(changes);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 6 + 7 + 8);
    ck_assert_uint_eq(count_now(m.cpu), 3 + 3 * 5 + 1);
}
END_TEST

/* Single-stepping: each trap is a delivery. */
CODE64(steps, "pushf\n orl $0x100, (%rsp)\n popf\n nop\n nop\n pushf\n andl $~0x100, (%rsp)\n popf\n"
              "hlt\n .org steps + 0x100\n inc %rbx\n iretq\n")

START_TEST(traps_count_as_deliveries)
{
    START64(steps);
    tiny_gate(&m, EXC_DB, 0x10100);
    tiny_run(&m);
    ck_assert_uint_ge(m.cpu->gpr[RBX], 4);
    ck_assert_uint_eq(count_now(m.cpu), 9 + m.cpu->gpr[RBX] * 3);
}
END_TEST

/* ---- time as the guest sees it, and what it arms ---- */

/* A device: reading port 500h gives the time, writing it arms the timer so far ahead. */
static u64 device_read(void *opaque, u64 offset, unsigned size)
{
    return clock_now(&m.clock);
}

static void device_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    timer_arm(&seen.timer, clock_now(&m.clock) + value);
}

static const struct bus_ops device = {device_read, device_write, 1, 4};

CODE64(ports, "mov $0x500, %edx\n nop\n nop\n in %dx, %eax\n mov %eax, %ebx\n nop\n"
              "in %dx, %eax\n mov %eax, %ecx\n rdtsc\n mov %eax, %esi\n"
              "mov $0x7000000, %edi\n mov (%rdi), %eax\n mov %eax, %r8d\n"
              "mov $0x500, %edx\n mov $7, %eax\n out %eax, %dx\n xor %eax, %eax\n"
              "inc %rax\n inc %rax\n inc %rax\n inc %rax\n inc %rax\n inc %rax\n inc %rax\n inc %rax\n"
              "inc %rax\n inc %rax\n inc %rax\n inc %rax\n hlt\n")

START_TEST(time_is_exact_within_a_block)
{
    START64(ports);
    bus_map_ports(m.bus, "time", 0x500, 4, &device, NULL);
    bus_map_mmio(m.bus, "time", 0x7000000, 0x1000, &device, NULL, 1);
    timer_init(&seen.timer, &m.clock, fired, NULL);
    seen.leave = false;
    seen.count = 0;
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 4);  /* the read itself has been counted */
    ck_assert_uint_eq(m.cpu->gpr[RCX], 7);
    ck_assert_uint_eq(m.cpu->gpr[RSI], 9 * 5 / 2); /* at 2.5 GHz */
    ck_assert_uint_eq(m.cpu->gpr[R8], 12);
    ck_assert_uint_eq(seen.count, 16 + 7); /* armed in the middle of a block, fired there too */
    ck_assert_uint_eq(seen.rax, 6);
    ck_assert_uint_eq(count_now(m.cpu), 30);
}
END_TEST

/* HLT: time goes on to the next timer at once, whose interrupt ends it. */
static void wake(void *opaque)
{
    cpu_request(m.cpu, REQ_INTR);
}

static int acknowledge(void *opaque)
{
    cpu_withdraw(m.cpu, REQ_INTR);
    return 0x50;
}

static const struct irq_ops irq = {.ack = acknowledge};

CODE64(halts, "sti\n hlt\n mov %rbx, %rcx\n cli\n hlt\n .org halts + 0x100\n inc %rbx\n iretq\n")

START_TEST(idle_time_is_skipped)
{
    struct timer timer;
    START64(halts);
    tiny_gate(&m, 0x50, 0x10100);
    m.cpu->irq = &irq;
    timer_init(&timer, &m.clock, wake, NULL);
    timer_arm(&timer, NS_PER_SEC);
    tiny_run(&m);
    ck_assert(m.cpu->halted);
    ck_assert_uint_eq(clock_now(&m.clock), 2);
    ck_assert(count_idle(m.cpu));
    ck_assert_uint_eq(clock_now(&m.clock), NS_PER_SEC);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 1);
    ck_assert_uint_eq(clock_now(&m.clock), NS_PER_SEC + 1 + 2 + 3);
    ck_assert(!count_idle(m.cpu)); /* nothing to wait for */
}
END_TEST

/* RDRAND gives the same in each run. */
CODE64(randoms, "rdrand %rax\n rdrand %rbx\n hlt\n")

START_TEST(random_numbers_repeat)
{
    u64 first[2];
    for (unsigned run = 0; run < 2; run++) {
        RUN64(randoms);
        ck_assert_uint_ne(m.cpu->gpr[RAX], m.cpu->gpr[RBX]);
        if (run) {
            ck_assert_uint_eq(m.cpu->gpr[RAX], first[0]);
            ck_assert_uint_eq(m.cpu->gpr[RBX], first[1]);
        }
        first[0] = m.cpu->gpr[RAX];
        first[1] = m.cpu->gpr[RBX];
        tiny_destroy(&m);
        setup();
    }
}
END_TEST

void engine_counting(Suite *s)
{
    TCase *c = tcase_create("counting");
    tcase_add_checked_fixture(c, setup, engine_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, timer_at_each_count);
    tcase_add_test(c, strings_count_once);
    tcase_add_test(c, faults_count_as_deliveries);
    tcase_add_test(c, changed_code_counts_once);
    tcase_add_test(c, traps_count_as_deliveries);
    tcase_add_test(c, time_is_exact_within_a_block);
    tcase_add_test(c, idle_time_is_skipped);
    tcase_add_test(c, random_numbers_repeat);
    suite_add_tcase(s, c);
}

/* Accesses of one block that share a check (translator/x64/x64_page.c): the same on one page, on two
 * and where the check fails for other reasons as without sharing, to the flags, the faults, the bits
 * of the paging entries and the accesses that a device sees. */
#include <check.h>

#include "engine_programs.h"
#include "tests/suite.h"
#include "translator/x64/x64_engine.h"

/* What a run has left. */
struct left {
    u64 gpr[16], cr2, flags;
    u8 memory[2 * PAGE_SIZE], stack[512];
};

#define MEMORY 0x800000u /* one entry of the page directory */
#define STACK 0x80000u
#define HANDLER 0x18000u
#define DIRECTORY_ENTRY (TINY_TABLES + 0x2000 + 8 * (MEMORY >> 21))

/* With a handler of faults that halts. */
CODE64(halt64, "hlt\n")

static void start(u64 off, const u8 *code, u64 bytes, u64 rdi)
{
    engine_teardown();
    tiny_create_off(&m, engine_under_test, 0, off);
    tiny_load(&m, 0x10000, code, bytes);
    tiny_long(&m, 0x10000);
    LOAD(HANDLER, halt64);
    for (unsigned i = 0; i < 16; i++)
        tiny_gate(&m, i, HANDLER);
    for (unsigned i = 0; i < 2 * PAGE_SIZE; i++)
        m.ram[MEMORY + i] = (u8)(i * 7 + (i >> 5));
    for (unsigned g = 0; g < 16; g++)
        if (g != RSP)
            m.cpu->gpr[g] = 0x123456789abcdef1ull * (g + 1);
    m.cpu->gpr[RDI] = rdi;
}

static struct left run(void)
{
    struct left l;
    memset(&l, 0, sizeof l);
    tiny_run(&m);
    memcpy(l.gpr, m.cpu->gpr, sizeof l.gpr);
    memcpy(l.memory, m.ram + MEMORY, sizeof l.memory);
    memcpy(l.stack, m.ram + STACK - sizeof l.stack, sizeof l.stack);
    l.cr2 = m.cpu->cr2;
    cpu_flags(m.cpu);
    l.flags = m.cpu->eflags;
    return l;
}

static u64 counter(const char *name)
{
    return tiny_counter(&m, name);
}

/* Runs the same with and without sharing, which must make no difference; `before` prepares each
 * run.  Leaves the machine of the run with it. */
static struct left compare_at(const u8 *code, u64 bytes, u64 rdi, void (*before)(void))
{
    struct left l[2];
    for (unsigned share = 0; share < 2; share++) {
        start(share ? 0 : BIT64(T_pages), code, bytes, rdi);
        if (before)
            before();
        l[share] = run();
        ck_assert_uint_eq(counter("pages_shared") > 0, share);
    }
    ck_assert_mem_eq(&l[0], &l[1], sizeof l[0]);
    return l[1];
}
#define COMPARE(name, rdi, before) compare_at(name, (u64)(name##_end - name), rdi, before)

/* ---- across a border ---- */

/* All kinds of accesses. */
CODE64(kinds64, "mov $3, %ecx\n 1: movq $0x11, (%rdi)\n movl $0x22, 8(%rdi)\n incl 12(%rdi)\n"
                "mov 4(%rdi), %rax\n add 6(%rdi), %rbx\n movw $0x3344, 15(%rdi)\n"
                "movups (%rdi), %xmm0\n addps 20(%rdi), %xmm1\n movups %xmm0, 17(%rdi)\n"
                "mov %r15, 40(%rdi)\n xchg %r14, 48(%rdi)\n adc %rax, 32(%rdi)\n"
                "movq %xmm1, 24(%rdi)\n pushq 16(%rdi)\n popq 50(%rdi)\n lea (%rbx,%r15), %rbx\n"
                "fildl 36(%rdi)\n fistpl 44(%rdi)\n dec %ecx\n jnz 1b\n hlt\n")

static void unaligned_sse(void)
{
    m.cpu->xmm[1].q[0] = m.cpu->xmm[1].q[1] = 0;
}

START_TEST(test_kinds)
{
    for (unsigned off = 0; off < 64; off++) {
        COMPARE(kinds64, MEMORY + PAGE_SIZE - off, unaligned_sse);
        ck_assert_uint_eq(counter("page_blocks") > 0, off > 0 && off < 58);
    }
}
END_TEST

/* A loop whose frame lies on two pages does not leave emitted code, nor translates again. */
CODE64(frame64, "mov $100000, %ecx\n 1: push %rax\n push %rbx\n push %rcx\n mov 8(%rsp), %rdx\n"
                "add %rdx, %rsi\n pop %rcx\n pop %rbx\n pop %rax\n dec %ecx\n jnz 1b\n hlt\n")

START_TEST(test_hot_frame)
{
    for (unsigned off = 0; off <= 32; off += 8) {
        START64(frame64);
        m.cpu->gpr[RSP] = STACK + off;
        m.cpu->gpr[RBX] = 3;
        m.cpu->gpr[RSI] = 0;
        tiny_run(&m);
        ck_assert_uint_eq(m.cpu->gpr[RSI], 300000);
        ck_assert_uint_eq(m.cpu->gpr[RSP], STACK + off);
        ck_assert_uint_lt(counter("exits"), 50);
        ck_assert_uint_eq(counter("page_blocks") > 0, off > 0);
    }
}
END_TEST

/* The flags of whatever comes before an access that leaves its block. */
#define KEEPS(op) op "\n mov (%rdi), %r8\n mov 8(%rdi), %r9\n pushfq\n"
CODE64(flags64,
       KEEPS("add %ecx, %eax") KEEPS("sub %rcx, %rbx") KEEPS("cmp $1000, %edx")
       KEEPS("inc %edx") KEEPS("add %rax, %rax\n dec %bl") KEEPS("neg %rsi")
       KEEPS("and %r14d, %r15d") KEEPS("xor %r12, %rbp") KEEPS("shl $3, %eax")
       KEEPS("sar $1, %r13") KEEPS("rol $5, %rcx") KEEPS("stc") KEEPS("mul %ecx")
       KEEPS("imul %rcx, %rax") KEEPS("bt $7, %rax") KEEPS("adc %rax, %r14")
       KEEPS("mov $0x8123456789abcdef, %rax\n add %rbx, %rax")
       KEEPS("lea 0(%rip), %rax\n cmp %rax, %rcx") KEEPS("cmp %r14, %r15\n mov $1, %r14d")
       KEEPS("comisd %xmm0, %xmm1") KEEPS("add %r10b, %r11b") KEEPS("shl %cl, %rbx") "hlt\n")

START_TEST(test_flags)
{
    for (unsigned off = 0; off < 20; off += 3) {
        COMPARE(flags64, MEMORY + PAGE_SIZE - off, NULL);
        ck_assert_uint_eq(counter("page_blocks") > 0, off > 0 && off < 16);
    }
}
END_TEST

/* Moved translations have such exits too; each is compared with what translating makes. */
CODE64(moved64, "mov $3, %ecx\n 3: call 1f\n call 2f\n dec %ecx\n jnz 3b\n hlt\n"
                ".org moved64 + 0x240\n 1: mov (%rdi), %rax\n add 8(%rdi), %rbx\n ret\n"
                ".org moved64 + 0x1240\n 2: mov (%rdi), %rax\n add 8(%rdi), %rbx\n ret\n")

START_TEST(test_moved)
{
    COMPARE(moved64, MEMORY + PAGE_SIZE - 8, NULL);
    ck_assert_uint_ge(counter("reused"), 2); /* and what the exit leads to */
    ck_assert_uint_eq(counter("page_blocks"), 1);
}
END_TEST

/* Real mode, where blocks are not linked. */
CODE16(real16, "mov $1000, %cx\n 1: movl (%edi), %eax\n addl (%edi), %ebx\n movl %ebx, (%edi)\n"
               "loop 1b\n hlt\n")

START_TEST(test_real_mode)
{
    u32 sums[2];
    for (unsigned share = 0; share < 2; share++) {
        engine_teardown();
        tiny_create_off(&m, engine_under_test, 0, share ? 0 : BIT64(T_pages));
        LOAD(0x1000, real16);
        tiny_real(&m, 0x1000);
        m.cpu->gpr[RDI] = 0x4ffe;
        m.cpu->gpr[RBX] = 0x12345;
        tiny_run(&m);
        sums[share] = (u32)m.cpu->gpr[RBX];
    }
    ck_assert_uint_eq(sums[0], sums[1]);
}
END_TEST

/* Counted mode: an instruction that leaves its block counts once. */
START_TEST(test_counted)
{
    static const struct count_config plain = {.shift = 0};
    u64 counts[2];
    for (unsigned i = 0; i < 2; i++) {
        engine_teardown();
        tiny_create_counted(&m, engine_under_test, &plain);
        START64(frame64);
        m.cpu->gpr[RSP] = STACK + 16 * i;
        tiny_run(&m);
        counts[i] = count_now(m.cpu);
        ck_assert_uint_eq(counter("page_blocks") > 0, i);
    }
    ck_assert_uint_eq(counts[0], counts[1]);
    ck_assert_uint_eq(counts[0], 2 + 10 * 100000);
}
END_TEST

/* ---- faults ---- */

/* Nothing of the first access that faults has been done; CR2 is its own address, not the first one
 * of the group. */
CODE64(missing64, "add %ecx, %eax\n mov 16(%rdi), %r8\n mov %eax, (%rdi)\n mov %eax, 8(%rdi)\n hlt\n")
CODE64(missing_store64, "sub %ecx, %eax\n mov %eax, 16(%rdi)\n mov (%rdi), %r8\n hlt\n")

static void unmap(void)
{
    m.ram[DIRECTORY_ENTRY] = 0;
}

START_TEST(test_not_present)
{
    struct left l = COMPARE(missing64, MEMORY, unmap);
    ck_assert_uint_eq(l.cr2, MEMORY + 16);
    ck_assert_uint_eq(counter("page_blocks"), 0);
    const u64 *frame = (const u64 *)(m.ram + l.gpr[RSP]);
    ck_assert_uint_eq(frame[0], 0);
    ck_assert_uint_eq(frame[1], 0x10002);
    l = COMPARE(missing_store64, MEMORY, unmap);
    ck_assert_uint_eq(l.cr2, MEMORY + 16);
    ck_assert_uint_eq(*(const u64 *)(m.ram + l.gpr[RSP]), PF_W);
}
END_TEST

/* A page that may only be read: loads are done, the store faults. */
CODE64(copy64, "mov (%rdi), %rax\n add %rax, %rbx\n mov 8(%rdi), %rcx\n mov %rbx, 16(%rdi)\n"
               "mov 24(%rdi), %rdx\n hlt\n")

static void protect(void)
{
    m.ram[DIRECTORY_ENTRY] &= (u8)~2;
}

START_TEST(test_read_only)
{
    struct left l = COMPARE(copy64, MEMORY, protect);
    ck_assert_uint_eq(l.cr2, MEMORY + 16);
    ck_assert_uint_eq(*(const u64 *)(m.ram + l.gpr[RSP]), PF_P | PF_W);
    ck_assert_uint_eq(l.gpr[RCX], load_le(m.ram + MEMORY + 8, 8));
    ck_assert_uint_eq(counter("page_blocks"), 1);
}
END_TEST

/* The stack's faults are #SS. */
CODE64(stack64, "mov %rdi, %rbp\n mov 8(%rbp), %rax\n mov (%rbp), %rbx\n hlt\n")

START_TEST(test_not_canonical)
{
    struct left l = COMPARE(stack64, 0x800000000000, NULL);
    ck_assert_uint_eq(*(const u64 *)(m.ram + l.gpr[RSP]), 0);
    ck_assert_uint_eq(((const u64 *)(m.ram + l.gpr[RSP]))[1], 0x10003);
    LOAD(HANDLER + 0x100, halt64);
    START64(stack64);
    tiny_gate(&m, EXC_SS, HANDLER + 0x100);
    m.cpu->gpr[RDI] = 0x800000000000;
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->rip, HANDLER + 0x101);
}
END_TEST

/* D is set by the store that is done, and by no other. */
CODE64(clean64, "mov (%rdi), %eax\n xor %edx, %edx\n div %ecx\n mov %eax, 8(%rdi)\n hlt\n")

static void divide_by_zero(void)
{
    m.cpu->gpr[RCX] = 0;
}

static void divide_by_three(void)
{
    m.cpu->gpr[RCX] = 3;
}

START_TEST(test_dirty_bit)
{
    COMPARE(clean64, MEMORY, divide_by_zero);
    ck_assert_uint_eq(m.ram[DIRECTORY_ENTRY] & 0x60, 0x20);
    COMPARE(clean64, MEMORY, divide_by_three);
    ck_assert_uint_eq(m.ram[DIRECTORY_ENTRY] & 0x60, 0x60);
    ck_assert_uint_eq(counter("page_blocks"), 1);
    COMPARE(missing_store64, MEMORY, NULL); /* begins with the store: nothing to wait for */
    ck_assert_uint_eq(m.ram[DIRECTORY_ENTRY] & 0x60, 0x60);
    ck_assert_uint_eq(counter("page_blocks"), 0);
}
END_TEST

/* ---- devices ---- */

static struct {
    u64 at[64];
    unsigned count;
} seen;

static u64 device_read(void *opaque, u64 offset, unsigned size)
{
    ck_assert_uint_lt(seen.count, ARRAY_SIZE(seen.at));
    seen.at[seen.count++] = offset | (u64)size << 32;
    return seen.count * 0x101;
}

static void device_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    ck_assert_uint_lt(seen.count, ARRAY_SIZE(seen.at));
    seen.at[seen.count++] = offset | (u64)size << 32 | BIT64(40) | value << 48;
}

static const struct bus_ops device = {device_read, device_write, 1, 8};

static void map_device(void)
{
    bus_map_mmio(m.bus, "device", 0x7000000, PAGE_SIZE, &device, NULL, 1);
    seen.count = 0;
}

/* With pushes of what was read, on a stack of two pages: no access is done twice. */
CODE64(device64, "mov (%rdi), %eax\n mov %eax, 8(%rdi)\n addl $3, 4(%rdi)\n pushq 16(%rdi)\n"
                 "pushq 24(%rdi)\n pushq 32(%rdi)\n popq 40(%rdi)\n pop %rbx\n pop %rdx\n hlt\n")

static void device_and_frame(void)
{
    map_device();
    m.cpu->gpr[RSP] = STACK - PAGE_SIZE + 8;
}

START_TEST(test_device)
{
    COMPARE(device64, 0x7000000, map_device);
    static const u64 offsets[] = {0, 8, 4, 4, 16, 24, 32, 40};
    for (unsigned twice = 0; twice < 2; twice++) {
        ck_assert_uint_eq(seen.count, ARRAY_SIZE(offsets));
        for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++)
            ck_assert_uint_eq((u32)seen.at[i], offsets[i]);
        ck_assert_uint_ge(counter("page_blocks"), 1);
        COMPARE(device64, 0x7000000, device_and_frame);
    }
}
END_TEST

/* ---- code ---- */

/* Stores into the running block: the instruction behind is the new one. */
CODE64(rewrite64, "mov $2, %ecx\n 1: mov 64(%rdi), %eax\n movb $0x55, 0x21(%rdi)\n"
                  "movb $0x66, 0x23(%rdi)\n .org rewrite64 + 0x20, 0x90\n 2: mov $0x11, %al\n mov $0x22, %ah\n add %eax, %ebx\n"
                  "dec %ecx\n jnz 1b\n hlt\n")
/* Into code that was translated on an otherwise plain page. */
CODE64(near64, "mov $0x800100, %edx\n movw $0xc3, (%rdx)\n call *%rdx\n mov $5, %ecx\n"
               "1: mov %ecx, 8(%rdi)\n mov %ecx, 12(%rdi)\n add 8(%rdi), %rax\n"
               "movl $0xc3c0ff, (%rdx)\n call *%rdx\n movb $0xc3, (%rdx)\n mov 4(%rdx), %ebx\n"
               "call *%rdx\n dec %ecx\n jnz 1b\n hlt\n")

START_TEST(test_own_code)
{
    struct left l = COMPARE(rewrite64, 0x10000, NULL);
    ck_assert_uint_eq(l.gpr[RAX] & 0xffff, 0x6655);
    ck_assert_uint_ge(counter("retries"), 1);
    l = COMPARE(near64, MEMORY + 0x40, NULL);
    ck_assert_uint_gt(counter("code_writes"), 0);
    ck_assert_uint_ge(counter("page_blocks"), 1);
}
END_TEST

/* ---- several vCPUs ---- */

START_TEST(test_two_vcpus)
{
    char *error = NULL;
    engine_teardown();
    tiny_create(&m, engine_under_test, 0);
    struct cpu_config config = {1, m.bus, &m.clock, cpu_model_find("max", 1, &error)};
    struct cpu *second = cpu_create(&config);
    ck_assert_ptr_nonnull(second);
    ck_assert(m.accel->attach(m.engine, second));
    START64(frame64);
    m.cpu->gpr[RSP] = STACK + 8;
    m.cpu->gpr[RBX] = 3;
    m.cpu->gpr[RSI] = 0;
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RSI], 300000);
    ck_assert_uint_gt(counter("pages_shared"), 0); /* the loads */
    m.accel->detach(second);
    cpu_destroy(second);
}
END_TEST

int main(void)
{
    engine_under_test = &accel_dbt;
    const TTest *const tests[] = {test_kinds,     test_hot_frame,     test_flags,
                                  test_moved,     test_real_mode,     test_counted,
                                  test_read_only, test_not_present,   test_not_canonical,
                                  test_device,    test_dirty_bit,     test_own_code,
                                  test_two_vcpus};
    return run_tests("pages", tests, ARRAY_SIZE(tests), 120, engine_setup, engine_teardown);
}

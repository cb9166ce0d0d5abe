/* The x86-64 engine: the programs of every engine, that each optimisation fires, exact flags at
 * faults whatever became of the instructions that set them, chaining, a code buffer that keeps
 * overflowing under two vCPUs, write-xor-execute, and what it shows for reading. */
#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "engine_programs.h"
#include "silicon.h"
#include "tests/suite.h"
#include "translator/inspect.h"
#include "translator/x64/x64_engine.h"

/* ---- counters ---- */

/* Each program makes its counters move; `nothing64` moves none of those. */
CODE64(nothing64, "nop\n hlt\n")
CODE64(arith64, "mov $5, %eax\n add $3, %eax\n mov $0x20000, %edi\n mov $2, %ecx\n"
                "1: lea 1(%rbx,%rcx), %rbx\n mov %rbx, 8(%rdi,%rcx,8)\n add %ebx, (%rdi)\n"
                "add %ebx, %eax\n mov (%rdi), %esi\n sub %esi, %eax\n cmp %eax, %ebx\n"
                "mov 0x20000, %esi\n jz 2f\n 2: dec %ecx\n jnz 1b\n hlt\n")
CODE64(deads64, "mov $1, %eax\n mov $2, %eax\n add %ecx, %eax\n add %ecx, %eax\n"
                "mov $0x20000, %edi\n cmp $5, %eax\n jmp 1f\n 1: xor %ebx, %ebx\n"
                "cmp $5, %eax\n jmp 2f\n 2: mov (%rdi), %ebx\n xor %ebx, %ebx\n hlt\n")
/* The second time round its last two blocks are chained; then their bytes change. */
CODE64(unchain64, "mov $20, %ecx\n xor %r8d, %r8d\n"
                  "1: cmp $10, %ecx\n jne 2f\n movb $2, 3f+3(%rip)\n jmp 2f\n nop\n nop\n"
                  "2: jmp 3f\n .balign 64\n 3: add $1, %r8d\n dec %ecx\n jnz 1b\n hlt\n")
CODE64(shiftx64, "shlx %ecx, %ebx, %edx\n rorx $7, %rbp, %rax\n hlt\n")
CODE64(slow64, "mov $0x20ffd, %edi\n mov $0x11223344, %eax\n mov %eax, (%rdi)\n"
               "mov (%rdi), %ebx\n hlt\n")
/* A stack frame. */
CODE64(frame64,
       "mov $3, %ebx\n push %rbx\n push %rcx\n push %rsp\n pop %rax\n pop %rcx\n pop %rbx\n"
       "hlt\n")
CODE64(spill64, "mov $0x20000, %edi\n pushfq\n pop %rbx\n pushfq\n pop (%rdi)\n hlt\n")
CODE64(return64, "mov $4, %ecx\n lea 2f(%rip), %rdx\n 1: mov %rsp, %rax\n pushq $0x10\n"
                 "push %rax\n pushq $2\n pushq $8\n push %rdx\n iretq\n 2: dec %ecx\n jnz 1b\n hlt\n")
CODE64(cli64, "sti\n nop\n cli\n push $0x246\n popfq\n push $0x46\n popfq\n hlt\n")
CODE64(patch64, "mov $12, %ecx\n lea 2f(%rip), %rdi\n 1: mov %ecx, 1(%rdi)\n call 2f\n add %rax, %rbx\n"
                "dec %ecx\n jnz 1b\n hlt\n .balign 64\n 2: mov $0, %eax\n add $0x1000, %eax\n ret\n")
CODE64(spaces64, "mov $5, %ecx\n 1: mov %cr3, %rax\n mov %rax, %cr3\n dec %ecx\n jnz 1b\n hlt\n")
CODE64(x87_64, "fninit\n fldpi\n fld1\n faddp\n hlt\n")
CODE64(avx64, "mov $7, %eax\n xor %edx, %edx\n xor %ecx, %ecx\n mov %cr4, %rbx\n"
              "or $0x40000, %ebx\n mov %rbx, %cr4\n xsetbv\n vpaddd %ymm0, %ymm1, %ymm2\n hlt\n")
/* Two targets whose entries in the jump cache have the same hash. */
CODE64(sets64, "mov $100, %ecx\n lea 2f(%rip), %rax\n lea 3f(%rip), %rdx\n"
               "1: call *%rax\n call *%rdx\n dec %ecx\n jnz 1b\n hlt\n"
               ".org sets64 + 0x100\n 2: ret\n .org sets64 + 0x2bc2\n 3: inc %rbx\n ret\n")
CODE64(swap64, "mov $0x20000, %edi\n test %eax, %eax\n jz 1f\n xor %ecx, %ecx\n hlt\n"
               "1: mov (%rdi), %ebx\n xor %ecx, %ecx\n hlt\n")
CODE64(far64, "mov $9, %ecx\n jmp 1f\n .org far64 + 0x1800\n 1: dec %ecx\n jnz 2f\n hlt\n"
              ".org far64 + 0x3000\n 2: inc %ebx\n jmp 1b\n")
CODE64(vector64, "movups 0x20000, %xmm0\n addps 0x20010, %xmm0\n sqrtsd 0x20004, %xmm1\n hlt\n")
/* Index and flags of one, with its operand in memory; the mask of another. */
CODE64(string64, "movups 0x20000, %xmm1\n pcmpistri $0x1a, 0x20010, %xmm1\n jnc 1f\n"
                 "mov %ecx, %ebx\n 1: pcmpestrm $0x40, %xmm1, %xmm2\n hlt\n")
CODE64(walks64, "mov $0x20000, %edi\n mov (%rdi), %eax\n mov 0x1000(%rdi), %eax\n hlt\n")
CODE64(fills64, "mov $2, %ecx\n 1: mov $0x20000, %edi\n mov $8, %edx\n 2: mov (%rdi), %eax\n"
                "add $0x1000, %edi\n dec %edx\n jnz 2b\n mov %cr3, %rax\n mov %rax, %cr3\n"
                "dec %ecx\n jnz 1b\n hlt\n")
CODE64(asids64, "mov %cr4, %rax\n bts $17, %rax\n mov %rax, %cr4\n mov %cr3, %rbx\n"
                "lea 1(%rbx), %rax\n mov %rax, %cr3\n mov %rbx, %cr3\n bts $63, %rax\n"
                "mov %rax, %cr3\n hlt\n")
CODE64(again64, "call 1f\n call 2f\n hlt\n .org again64 + 0x240\n 1: lea 1b(%rip), %rax\n ret\n"
                ".org again64 + 0x1240\n 2: lea 2b(%rip), %rax\n ret\n")
CODE64(rewrite64, "lea 1f(%rip), %rdi\n movb $0x55, 1(%rdi)\n 1: mov $0x11, %eax\n hlt\n")

/* Arithmetic whose flags are looked at in the next block, with operands from RSI, RDI and results
 * to RAX: each width of what a flags record has a kind for; flags are added up in R8. */
#define FLAGS_OF(op) op "\n jmp 9f\n 9: pushfq\n pop %rdx\n rol $5, %r8\n add %rdx, %r8\n"
#define FLAGS_OF_ALL(op)                                                                         \
    "mov %rsi, %rax\n" FLAGS_OF(op " %dil, %al") FLAGS_OF(op " %di, %ax") FLAGS_OF(op " %edi, %eax") \
        FLAGS_OF(op " %rdi, %rax")
#define FLAGS_OF_COUNT(op, n)                                                                    \
    "mov %rsi, %rax\n" FLAGS_OF(op " $" #n ", %al") FLAGS_OF(op " $" #n ", %ax")                 \
        FLAGS_OF(op " $" #n ", %eax") FLAGS_OF(op " $" #n ", %rax")
#define FLAGS_OF_SHIFT(op) FLAGS_OF_COUNT(op, 1) FLAGS_OF_COUNT(op, 3) FLAGS_OF_COUNT(op, 19)
CODE64(fetch64, "mov $0x8000, %esp\n" FLAGS_OF_ALL("add") FLAGS_OF_ALL("sub") FLAGS_OF_ALL("cmp")
                    FLAGS_OF_ALL("and") FLAGS_OF_ALL("xor") FLAGS_OF_ALL("test") FLAGS_OF("inc %eax")
                        FLAGS_OF("neg %rax") FLAGS_OF_SHIFT("shl") FLAGS_OF_SHIFT("shr")
                            FLAGS_OF_SHIFT("sar") "hlt\n")

/* Three outcomes of one comparison. */
CODE64(three64, "mov $3, %ecx\n 1: cmp $2, %ecx\n je 2f\n jb 3f\n inc %eax\n 2: inc %ebx\n"
                "dec %ecx\n jmp 1b\n 3: hlt\n")

static const struct {
    const char *counter;
    const u8 *program, *end;
    bool optimisation; /* stays 0 in nothing64 */
} fires[] = {
#define FIRES(counter, program, optimisation) {counter, program, program##_end, optimisation}
    FIRES("blocks", arith64, false),      FIRES("guest_insns", arith64, false),
    FIRES("host_bytes", arith64, false),  FIRES("compile_ns", arith64, false),
    FIRES("ops", arith64, false),         FIRES("exits", arith64, false),
    FIRES("lookups", arith64, false),     FIRES("live", arith64, false),
    FIRES("coalesced", arith64, true),    FIRES("twins", arith64, true),
    FIRES("recipes", arith64, true),      FIRES("flag_saves", arith64, true),
    FIRES("flag_loads", arith64, true),   FIRES("addr_folds", arith64, true),
    FIRES("flag_fetches", fetch64, true), FIRES("run_ons", three64, true),
    FIRES("shiftx", shiftx64, true),      FIRES("rmw_fused", arith64, true),
    FIRES("pages_shared", frame64, true),  FIRES("known_pages", walks64, true),
    FIRES("ymm_ops", avx64, true),        FIRES("spills", spill64, true),
    FIRES("way_hits", sets64, true),
    FIRES("short_walks", walks64, true),   FIRES("filled_ahead", fills64, true),
    FIRES("asid_hits", asids64, true),
    FIRES("irq_flags", cli64, true),
    FIRES("live_blocks", patch64, true),
    FIRES("reused", again64, true),       FIRES("reused_insns", again64, true),
    FIRES("resolved", spaces64, true),    FIRES("short_transfers", return64, true),
    FIRES("chains", arith64, true),       FIRES("unchains", unchain64, true),
    FIRES("large_pages", arith64, false),
    FIRES("links", far64, true),           FIRES("swapped", swap64, true),
    FIRES("retired", unchain64, true),     FIRES("drops", unchain64, true),
    FIRES("code_writes", unchain64, true), FIRES("slow_loads", slow64, true),
    FIRES("slow_stores", slow64, true),    FIRES("retries", rewrite64, true),
    FIRES("x87_inline", x87_64, true),     FIRES("x87_loads", x87_64, true),
    FIRES("vec_homed", vector64, true),    FIRES("vec_folds", vector64, true),
    FIRES("strings", string64, true),
    FIRES("folded", arith64, true),        FIRES("forwarded", arith64, true),
    FIRES("puts_killed", deads64, true),   FIRES("flags_killed", deads64, true),
    FIRES("dead", deads64, true),          FIRES("fates_dead", deads64, true),
    FIRES("fates_fault", deads64, true),
#undef FIRES
};

/* Whether the host's kernel has them for those who ask (Linux 6.1). */
static bool large_pages_of_files(void)
{
    size_t large = 2u << 20;
    u8 *room = mmap(NULL, 2 * large, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u8 *at = room + (-(uintptr_t)room & (large - 1));
    int fd = memfd_create("test", 0);
    ck_assert(room != MAP_FAILED && fd >= 0 && !ftruncate(fd, (off_t)large));
    ck_assert(mmap(at, large, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
    *at = 1;
    bool yes = !madvise(at, large, 25 /* MADV_COLLAPSE */);
    munmap(room, 2 * large);
    close(fd);
    return yes;
}

START_TEST(test_counter)
{
    tiny_load(&m, 0x10000, fires[_i].program, (u64)(fires[_i].end - fires[_i].program));
    tiny_long(&m, 0x10000);
    tiny_run(&m);
    if (!strcmp(fires[_i].counter, "shiftx") && !__builtin_cpu_supports("bmi2"))
        return;
    if (!strcmp(fires[_i].counter, "large_pages") && !large_pages_of_files())
        return;
    if (!strcmp(fires[_i].counter, "vec_folds") && !__builtin_cpu_supports("avx"))
        return;
    if (!CONFIG_X87_HOST && !strncmp(fires[_i].counter, "x87_", 4)) /* -Dx87=soft */
        return;
    u64 n = tiny_counter(&m, fires[_i].counter);
    ck_assert_msg(n != ~0ull && n > 0, "%s is %lld", fires[_i].counter, (long long)n);
    if (!fires[_i].optimisation)
        return;
    engine_teardown();
    engine_setup();
    RUN64(nothing64);
    n = tiny_counter(&m, fires[_i].counter);
    ck_assert_msg(n == 0, "%s is %lld without reason", fires[_i].counter, (long long)n);
}
END_TEST

START_TEST(test_three_outcomes)
{
    RUN64(three64);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 1);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 2);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 1);
    ck_assert_uint_eq(tiny_counter(&m, "run_ons"), 2); /* entered before and at the label */
}
END_TEST

/* What thunks make of flags records is what C makes of them. */
START_TEST(test_fetched_flags)
{
    static const u64 values[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10010,
                                 0x7fffffff, 0x80000000, 0xffffffff, 0x123456789abcdef0,
                                 0x7fffffffffffffff, 0x8000000000000000, ~0ull};
    u64 sum[2];
    for (unsigned off = 0; off < 2; off++) {
        engine_teardown();
        tiny_create_off(&m, engine_under_test, 0, off ? BIT64(T_fetch) : 0);
        sum[off] = 0;
        for (unsigned i = 0; i < ARRAY_SIZE(values) * ARRAY_SIZE(values); i++) {
            START64(fetch64);
            m.cpu->gpr[RSI] = values[i / ARRAY_SIZE(values)];
            m.cpu->gpr[RDI] = values[i % ARRAY_SIZE(values)];
            m.cpu->gpr[R8] = sum[off];
            tiny_run(&m);
            sum[off] = m.cpu->gpr[R8];
        }
        ck_assert((tiny_counter(&m, "flag_fetches") > 0) == !off);
    }
    ck_assert_uint_eq(sum[0], sum[1]);
}
END_TEST

START_TEST(test_string_results)
{
    RUN64(string64);
    ck_assert_uint_eq(tiny_counter(&m, "strings"), 2);
    ck_assert_uint_ge(tiny_counter(&m, "twins"), 1);
    if (__builtin_cpu_supports("avx"))
        ck_assert_uint_eq(tiny_counter(&m, "vec_folds"), 1);
}
END_TEST

/* Each optimisation can be switched off, and then does not fire in any of these programs. */
START_TEST(test_off)
{
    const struct technique_row *t = &techniques[_i];
    char list[32];
    u64 off = 0;
    size_t len;
    bool known = _i == T_ahead; /* needs more code: test_ahead */
    snprintf(list, sizeof list, "-%s", t->name);
    ck_assert_ptr_null(technique_parse(list, &off, &len));
    ck_assert_uint_eq(off, BIT64(_i));
    for (size_t k = 0; k < ARRAY_SIZE(fires); k++) {
        known |= !strcmp(t->counter, fires[k].counter);
        engine_teardown();
        tiny_create_off(&m, engine_under_test, 0, off);
        tiny_load(&m, 0x10000, fires[k].program, (u64)(fires[k].end - fires[k].program));
        tiny_long(&m, 0x10000);
        tiny_run(&m);
        u64 n = tiny_counter(&m, t->counter);
        ck_assert_msg(n == 0, "%s is %lld with %s off", t->counter, (long long)n, t->name);
    }
    ck_assert_msg(known, "no program makes %s fire", t->name);
}
END_TEST

START_TEST(test_technique_lists)
{
    u64 off = 0;
    size_t len = 0;
    ck_assert_ptr_null(technique_parse("none:chain", &off, &len));
    ck_assert_uint_eq(off, (BIT64(T_COUNT) - 1) & ~BIT64(T_chain));
    ck_assert_ptr_null(technique_parse("all:-fold:-twins", &off, &len));
    ck_assert_uint_eq(off, BIT64(T_fold) | BIT64(T_twins));
    ck_assert_ptr_null(technique_parse("fold:", &off, &len));
    ck_assert_uint_eq(off, BIT64(T_twins));
    const char *bad = technique_parse("fold:-fol:chain", &off, &len);
    ck_assert_ptr_nonnull(bad);
    ck_assert(len == 3 && !memcmp(bad, "fol", 3));
}
END_TEST

/* One check for neighbours: the same when they lie on two pages, and with one of them read-only to
 * begin with (clean, so that its first store takes the slow path). */
CODE64(border64, "mov $2, %ecx\n 1: movq $0x11, (%rdi)\n movl $0x22, 8(%rdi)\n incl 12(%rdi)\n"
                 "mov 4(%rdi), %rax\n add 6(%rdi), %rbx\n movw $0x3344, 15(%rdi)\n"
                 "movups (%rdi), %xmm0\n movups %xmm0, 17(%rdi)\n mov %r15, 40(%rdi)\n"
                 "mov %r15, 48(%rdi)\n lea (%rbx,%r15), %rbx\n dec %ecx\n jnz 1b\n hlt\n")

START_TEST(test_pages)
{
    u8 memory[2][64];
    u64 rax[2], rbx[2];
    for (unsigned off = 0; off < 40; off++) {
        for (unsigned shared = 0; shared < 2; shared++) {
            engine_teardown();
            tiny_create_off(&m, engine_under_test, 0, shared ? 0 : BIT64(T_pages));
            START64(border64);
            m.cpu->gpr[RDI] = 0x21000 - off;
            m.cpu->gpr[R15] = 0x1122334455667788;
            tiny_run(&m);
            memcpy(memory[shared], m.ram + 0x21000 - off, 64);
            rax[shared] = m.cpu->gpr[RAX];
            rbx[shared] = m.cpu->gpr[RBX];
            ck_assert_uint_eq(tiny_counter(&m, "pages_shared") > 0, shared);
        }
        ck_assert_mem_eq(memory[0], memory[1], 64);
        ck_assert_uint_eq(rax[0], rax[1]);
        ck_assert_uint_eq(rbx[0], rbx[1]);
        ck_assert_uint_eq(load_le(memory[1] + 8, 4), 0x22);
        ck_assert_uint_eq(load_le(memory[1] + 48, 8), 0x1122334455667788);
    }
}
END_TEST

/* info jit prints each counter that there is. */
static unsigned info_lines;
static void count_line(void *opaque, const char *fmt, ...)
{
    info_lines++;
}

START_TEST(test_info)
{
    ck_assert_uint_eq(tiny_counter(&m, "no such counter"), ~0ull);
    info_lines = 0;
    m.accel->info(m.engine, count_line, NULL);
    ck_assert_uint_ge(info_lines, ARRAY_SIZE(fires));
}
END_TEST

START_TEST(test_unchain)
{
    RUN64(unchain64);
    ck_assert_uint_eq(m.cpu->gpr[R8], 10 + 2 * 10);
}
END_TEST

/* A chained loop stays in emitted code: returns to the run loop do not grow with its turns. */
CODE64(turns64, "mov $1000000, %ecx\n 1: test $1, %cl\n jz 2f\n inc %rbx\n 2: dec %ecx\n"
                "jnz 1b\n hlt\n")

START_TEST(test_chained_loop)
{
    RUN64(turns64);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 500000);
    ck_assert_uint_lt(tiny_counter(&m, "exits"), 50);
}
END_TEST

/* What does not fit in one block is translated as several, once. */
CODE64(long64, "mov $1000, %ecx\n mov $0x20000, %edi\n 1:\n .rept 16\n addl $3, (%rdi)\n"
               "adc (%rdi), %rbx\n .endr\n dec %ecx\n jnz 1b\n hlt\n")

START_TEST(test_unfit)
{
    u64 sums[2];
    for (unsigned small = 0; small < 2; small++) {
        struct x64_engine *e = m.engine;
        if (small)
            e->block_code = 700;
        RUN64(long64);
        sums[small] = m.cpu->gpr[RBX];
        ck_assert_uint_eq(tiny_counter(&m, "unfit") > 0, small);
        ck_assert_uint_lt(tiny_counter(&m, "blocks"), 40);
        for (u32 id = X64_EXIT_RETIRED + 1; id < e->exit_count; id++) { /* all are somebody's */
            const struct x64_exit *x = &e->exits[id];
            ck_assert(!x->field || (x->field > x->from->rw &&
                                    x->field < x->from->rw + x->from->size));
        }
        engine_teardown();
        engine_setup();
    }
    ck_assert_uint_eq(sums[0], sums[1]);
}
END_TEST

/* What a block of code that changes often does with its immediates and with its other bytes. */
CODE64(change64, "mov $40, %ecx\n lea 2f(%rip), %rdi\n xor %ebx, %ebx\n 1: mov %ecx, 1(%rdi)\n"
                 "mov %ecx, %eax\n and $7, %eax\n jnz 3f\n xorb $0x28, 5(%rdi)\n 3: mov $100, %edx\n"
                 "call 2f\n add %rax, %rbx\n dec %ecx\n jnz 1b\n hlt\n"
                 ".balign 64\n 2: mov $0, %eax\n .byte 0x01, 0xd0\n add $0x1000, %eax\n cltq\n ret\n")

START_TEST(test_live)
{
    s64 want = 0;
    bool sub = false;
    RUN64(change64);
    for (int i = 40; i; i--) { /* add %edx, %eax and sub %edx, %eax by turns */
        sub ^= !(i & 7);
        want += i + (sub ? -100 : 100) + 0x1000;
    }
    ck_assert_int_eq((s64)m.cpu->gpr[RBX], want);
    ck_assert_uint_gt(tiny_counter(&m, "live_blocks"), 1);
    /* Not each change was a new block. */
    ck_assert_uint_lt(tiny_counter(&m, "blocks"), 35);
}
END_TEST

/* IRETQ remembers a descriptor only as long as memory has it: with CS not present, #NP. */
CODE64(gone64, "mov $4, %ecx\n lea 2f(%rip), %rdx\n 1: cmp $1, %ecx\n jne 3f\n"
               "andb $0x7f, 0x11100d\n 3: mov %rsp, %rax\n pushq $0x10\n push %rax\n pushq $2\n"
               "pushq $8\n push %rdx\n iretq\n 2: dec %ecx\n jnz 1b\n inc %ecx\n hlt\n"
               ".org gone64 + 0x100\n mov $0x77, %ebx\n hlt\n")

START_TEST(test_descriptor_gone)
{
    START64(gone64);
    m.cpu->no_reboot_on_triple = true;
    tiny_gate(&m, EXC_NP, 0x10100); /* whose own CS is the one that is gone: shuts down */
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 1);
    ck_assert_uint_ne(m.cpu->gpr[RBX], 0x77);
    ck_assert_uint_gt(tiny_counter(&m, "short_transfers"), 0);
}
END_TEST

/* Nor where the tables were once the page there is another one: its gate has another handler, its
 * code segment AVL. */
CODE64(remapped64,
       "mov $4, %ecx\n 1: cmp $1, %ecx\n jne 3f\n movb $0xa0, 0x102022\n invlpg 0x800000\n"
       "3: int $0x40\n dec %ecx\n jnz 1b\n hlt\n"
       ".org remapped64 + 0x100\n inc %ebx\n iretq\n"
       ".org remapped64 + 0x200\n add $0x100, %ebx\n iretq\n")

START_TEST(test_tables_moved)
{
    START64(remapped64);
    for (u64 i = 0; i < 2; i++) {
        u8 *page = m.ram + 0x800000 + i * 0x200000;
        tiny_gate(&m, 0x40, 0x10100 + i * 0x100);
        memcpy(page, m.ram + TINY_GDT, 0x18);
        page[14] |= (u8)(i << 4);
        memcpy(page + 0x1000, m.ram + TINY_IDT, 0x1000);
    }
    m.cpu->gdt.base = 0x800000;
    m.cpu->idt.base = 0x801000;
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 0x103);
    ck_assert(m.cpu->seg[SEG_CS].attr & SEG_AVL);
    ck_assert_uint_ge(tiny_counter(&m, "short_transfers"), 4);
}
END_TEST

/* Returns and indirect calls go through the inline jump cache. */
CODE64(calls64, "mov $100000, %ecx\n lea 2f(%rip), %rax\n 1: call *%rax\n dec %ecx\n jnz 1b\n"
                "hlt\n 2: inc %rbx\n ret\n")

START_TEST(test_jump_cache)
{
    RUN64(calls64);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 100000);
    ck_assert_uint_lt(tiny_counter(&m, "exits"), 50);
}
END_TEST

START_TEST(test_jump_set)
{
    RUN64(sets64);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 100);
    ck_assert_uint_lt(tiny_counter(&m, "exits"), 50);
    ck_assert_uint_ge(tiny_counter(&m, "way_hits"), 190);
}
END_TEST

/* An instruction that lies on two pages does not leave the code either. */
CODE64(crossing64, "mov $100000, %ecx\n jmp 1f\n .org crossing64 + 0xffa\n 1: inc %rbx\n"
                   "mov $0x12345678, %eax\n dec %ecx\n jnz 1b\n hlt\n")

START_TEST(test_jump_crossing)
{
    RUN64(crossing64);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 100000);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 0x12345678);
    ck_assert_uint_lt(tiny_counter(&m, "exits"), 50);
    ck_assert_uint_lt(tiny_counter(&m, "resolved"), 50);
}
END_TEST

/* ---- flags at faults ---- */

#define NO_AF (FL_ARITH & ~(u32)FL_AF)
#define SHIFT (NO_AF & ~(u32)FL_OF)

/* Sets flags from RAX, RCX and the old flags.  w: opcode of the byte form is one less, widths by
 * prefix; 0: only as it is. */
static const struct {
    const char *name;
    u8 bytes[5], len;
    bool w;
    u32 defined; /* the flags that the manual defines */
} setters[] = {
    {"add", {0x01, 0xc8}, 2, true, FL_ARITH},
    {"or", {0x09, 0xc8}, 2, true, NO_AF},
    {"adc", {0x11, 0xc8}, 2, true, FL_ARITH},
    {"sbb", {0x19, 0xc8}, 2, true, FL_ARITH},
    {"and", {0x21, 0xc8}, 2, true, NO_AF},
    {"sub", {0x29, 0xc8}, 2, true, FL_ARITH},
    {"xor", {0x31, 0xc8}, 2, true, NO_AF},
    {"cmp", {0x39, 0xc8}, 2, true, FL_ARITH},
    {"add to itself", {0x01, 0xc0}, 2, true, FL_ARITH},
    {"sub from itself", {0x29, 0xc0}, 2, true, FL_ARITH},
    {"test", {0x85, 0xc8}, 2, true, NO_AF},
    {"add imm", {0x83, 0xc0, 0x85}, 3, false, FL_ARITH},
    {"cmp imm", {0x48, 0x83, 0xf8, 0x05}, 4, false, FL_ARITH},
    {"inc", {0xff, 0xc0}, 2, true, FL_ARITH},
    {"dec", {0xff, 0xc8}, 2, true, FL_ARITH},
    {"neg", {0xf7, 0xd8}, 2, true, FL_ARITH},
    {"shl 1", {0xd1, 0xe0}, 2, true, NO_AF},
    {"shr 1", {0xd1, 0xe8}, 2, true, NO_AF},
    {"sar 1", {0xd1, 0xf8}, 2, true, NO_AF},
    {"shl 5", {0xc1, 0xe0, 5}, 3, true, SHIFT},
    {"shr 5", {0xc1, 0xe8, 5}, 3, true, SHIFT},
    {"sar 5", {0xc1, 0xf8, 5}, 3, true, SHIFT},
    {"shl cl", {0x48, 0xd3, 0xe0}, 3, false, SHIFT},
    {"shr cl", {0xd3, 0xe8}, 2, false, SHIFT},
    {"sar cl", {0xd3, 0xf8}, 2, false, SHIFT},
    {"rol 1", {0xd1, 0xc0}, 2, true, FL_ARITH},
    {"ror 1", {0xd1, 0xc8}, 2, true, FL_ARITH},
    {"rcl 1", {0xd1, 0xd0}, 2, true, FL_ARITH},
    {"rcr 1", {0xd1, 0xd8}, 2, true, FL_ARITH},
    {"rol cl", {0x48, 0xd3, 0xc0}, 3, false, FL_ARITH & ~(u32)FL_OF},
    {"rcr cl", {0xd3, 0xd8}, 2, false, FL_ARITH & ~(u32)FL_OF},
    {"shld 3", {0x0f, 0xa4, 0xc8, 3}, 4, false, SHIFT},
    {"shrd cl", {0x48, 0x0f, 0xad, 0xc8}, 4, false, SHIFT},
    {"mul", {0xf7, 0xe1}, 2, true, FL_CF | FL_OF},
    {"imul", {0xf7, 0xe9}, 2, true, FL_CF | FL_OF},
    {"imul 2", {0x0f, 0xaf, 0xc1}, 3, false, FL_CF | FL_OF},
    {"bt", {0x0f, 0xa3, 0xc8}, 3, false, FL_CF | FL_ZF},
    {"bts imm", {0x0f, 0xba, 0xe8, 7}, 4, false, FL_CF | FL_ZF},
    {"bsf", {0x0f, 0xbc, 0xc1}, 3, false, FL_ZF},
    {"bsr", {0x48, 0x0f, 0xbd, 0xc1}, 4, false, FL_ZF},
    {"popcnt", {0xf3, 0x0f, 0xb8, 0xc1}, 4, false, FL_ARITH},
    {"cmpxchg", {0x0f, 0xb1, 0xcb}, 3, false, FL_ARITH},
    {"xadd", {0x0f, 0xc1, 0xc8}, 3, false, FL_ARITH},
    {"clc", {0xf8}, 1, false, FL_ARITH},
    {"stc", {0xf9}, 1, false, FL_ARITH},
    {"cmc", {0xf5}, 1, false, FL_ARITH},
    {"sahf", {0x9e}, 1, false, FL_ARITH},
    {"mov", {0x89, 0xc8}, 2, true, FL_ARITH},
};

/* What stands between the setter and the load that faults, and after it. */
static const struct {
    u8 before[16], before_len, after[4], after_len;
} places[] = {
    /* The flags are live beyond the load... */
    {{0}, 0, {0}, 0},
    /* ...only the fault can see them... */
    {{0}, 0, {0x4d, 0x01, 0xff}, 3}, /* add r15, r15 */
    /* ...their operands are gone (mov eax, 1; mov ecx, 2; lea ebx, [rax + rcx])... */
    {{0xb8, 1, 0, 0, 0, 0xb9, 2, 0, 0, 0, 0x8d, 0x1c, 0x08}, 13, {0x4d, 0x01, 0xff}, 3},
    /* ...or a condition has used them (setc bl; mov r9, [r12]). */
    {{0x0f, 0x92, 0xc3, 0x4d, 0x8b, 0x0c, 0x24}, 7, {0x4d, 0x01, 0xff}, 3},
};

static struct silicon silicon;
static u64 seed;

static u64 rnd(void)
{
    static const u64 edges[] = {0, 1, ~0ull, 0x80, 0x8000, 0x80000000, 1ull << 63, 0x7fffffff};
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    u64 v = seed ^ seed >> 29;
    return v & 3 ? v << (v >> 58 & 7) * 8 : edges[v >> 8 & 7];
}

/* Runs setter i at width w (W8..W64, or -1 as it is) before a load that faults. */
static void check_flags(unsigned i, int w, unsigned place)
{
    u8 code[64], insn[8];
    unsigned n = 0, at;
    if (w == W16)
        insn[n++] = 0x66;
    if (w == W64)
        insn[n++] = 0x48;
    memcpy(insn + n, setters[i].bytes, setters[i].len);
    if (w == W8)
        insn[n]--;
    n += setters[i].len;
    memcpy(code, insn, n);
    at = n;
    memcpy(code + at, places[place].before, places[place].before_len);
    at += places[place].before_len;
    unsigned fault_at = at;
    memcpy(code + at, (const u8[]){0x45, 0x8b, 0x75, 0}, 4); /* mov r14d, [r13] */
    at += 4;
    memcpy(code + at, places[place].after, places[place].after_len);
    at += places[place].after_len;
    code[at++] = 0xf4;
    tiny_load(&m, 0x10000, code, at);
    tiny_long(&m, 0x10000);
    tiny_gate(&m, EXC_PF, 0x18000);
    tiny_load(&m, 0x18000, "\xf4", 1);
    struct silicon_state st = {.flags = FL_FIXED | (rnd() & FL_ARITH)};
    for (unsigned g = 0; g < 4; g++)
        st.gpr[g] = m.cpu->gpr[g] = rnd();
    m.cpu->gpr[R12] = 0x20000;
    m.cpu->gpr[R13] = 0x40000000;
    m.cpu->eflags = st.flags;
    ck_assert_int_eq(silicon_run(&silicon, insn, n, &st), SILICON_OK);
    tiny_run(&m);
    const u8 *frame = m.ram + m.cpu->gpr[RSP];
    const char *name = setters[i].name;
    ck_assert_msg(m.cpu->rip == 0x18001 && load_le(frame + 8, 8) == 0x10000 + fault_at,
                  "%s: no fault", name);
    u64 got = load_le(frame + 24, 8) & FL_ARITH, want = st.flags & FL_ARITH;
    ck_assert_msg(!((got ^ want) & setters[i].defined), "%s (width %d, place %u): flags %llx not "
                  "%llx of %x", name, w, place, (unsigned long long)got, (unsigned long long)want,
                  setters[i].defined);
    if (!places[place].before_len)
        for (unsigned g = 0; g < 3; g++)
            ck_assert_msg(m.cpu->gpr[g] == st.gpr[g], "%s: register %u", name, g);
}

START_TEST(test_flags_at_fault)
{
    ck_assert(silicon_init(&silicon, 64));
    seed = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(setters); i++)
        for (int w = setters[i].w ? W8 : -1; w <= (setters[i].w ? W64 : -1); w++)
            for (unsigned turn = 0; turn < 8; turn++)
                check_flags(i, w, (unsigned)_i);
}
END_TEST

/* ---- code ---- */

/* The entry of a dropped block becomes a jump of two bytes: no instruction may end before. */
CODE64(entries64, "jmp 1f\n 1: stc\n adc $0, %eax\n jmp 2f\n 2: clc\n sbb %eax, %eax\n jmp 3f\n 3: adc $0, %eax\n"
                  "jmp 4f\n 4: cmc\n lahf\n jmp 5f\n 5: nop\n jmp 6f\n 6: cld\n sahf\n hlt\n")

START_TEST(test_entries)
{
    RUN64(entries64);
    const struct x64_engine *e = m.engine;
    ck_assert_uint_ge(e->index_count, 7);
    for (u32 i = 0; i < e->index_count; i++) {
        char text[96];
        const struct x64_block *b = e->index[i].block;
        unsigned n = inspect_disassemble(b->rw, 16, b->code, HF_LONG | HF_PE, text, sizeof text);
        ck_assert_msg(n >= 2, "block %llx begins with '%s'", (unsigned long long)b->b.rip, text);
    }
}
END_TEST

/* No page is writable and executable, and the emitted code is there. */
START_TEST(test_write_xor_execute)
{
    char line[512];
    unsigned executable = 0, writable = 0;
    RUN64(calls64);
    FILE *f = fopen("/proc/self/maps", "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof line, f)) {
        char perms[8];
        ck_assert_int_eq(sscanf(line, "%*s %7s", perms), 1);
        ck_assert_msg(!(perms[1] == 'w' && perms[2] == 'x'), "%s", line);
        if (strstr(line, "dragoman-code")) {
            executable += perms[2] == 'x';
            writable += perms[1] == 'w';
        }
    }
    fclose(f);
    ck_assert_uint_eq(executable, 1);
    ck_assert_uint_eq(writable, 1);
}
END_TEST

/* ---- endless new code, and several vCPUs ---- */

/* RCX times: writes "mov eax, ecx's value; ret" somewhere else in 64 KiB from R9 on and calls it;
 * a shared function at R10 counts.  Stops early when a result is wrong. */
CODE64(stream64, "xor %r8d, %r8d\n"
                 "1: lea (%r9,%r8), %rdi\n movb $0xb8, (%rdi)\n mov %ecx, 1(%rdi)\n"
                 "movb $0xc3, 5(%rdi)\n call *%rdi\n cmp %eax, %ecx\n jne 2f\n call *%r10\n"
                 "add $48, %r8w\n dec %ecx\n jnz 1b\n 2: hlt\n")
CODE64(shared64, "inc %rbx\n ret\n")

static long resident_kib(void)
{
    long size, resident;
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void stream(struct cpu *cpu, u64 turns)
{
    cpu->rip = 0x10000;
    cpu->halted = false;
    cpu->gpr[RCX] = turns;
    cpu->gpr[RBX] = 0;
    cpu->gpr[R10] = 0x11000;
    m.accel->run(cpu);
    ck_assert_uint_eq(cpu->gpr[RCX], 0);
    ck_assert_uint_eq(cpu->gpr[RBX], turns);
}

START_TEST(test_endless_code)
{
    engine_teardown();
    tiny_create(&m, engine_under_test, 1); /* the smallest */
    LOAD(0x10000, stream64);
    LOAD(0x11000, shared64);
    tiny_long(&m, 0x10000);
    m.cpu->gpr[R9] = 0x400000;
    stream(m.cpu, 20000);
    u64 flushes = tiny_counter(&m, "flushes");
    ck_assert_uint_gt(flushes, 0);
    long before = resident_kib();
    stream(m.cpu, 60000);
    ck_assert_uint_gt(tiny_counter(&m, "flushes"), flushes);
    ck_assert_int_lt(resident_kib() - before, 2048);
    const struct x64_engine *e = m.engine;
    ck_assert_uint_lt(e->pool_used, 20000);
}
END_TEST

static void *second_thread(void *opaque)
{
    stream(opaque, 30000);
    return NULL;
}

/* Both fill the code buffer again and again, flushing it under each other. */
/* Enough blocks for their records to need a second large page; with the technique off nobody touches
 * it ahead. */
START_TEST(test_ahead)
{
    tiny_destroy(&m);
    tiny_create_off(&m, engine_under_test, 0, _i ? BIT64(T_ahead) : 0);
    for (u64 i = 0; i < 20000; i++)
        tiny_load(&m, 0x200000 + 8 * i, "\x48\xff\xc0\xeb\x03\x90\x90\x90", 8);
    tiny_load(&m, 0x200000 + 8 * 20000, "\xf4", 1);
    tiny_long(&m, 0x200000);
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RAX], 20000);
    for (unsigned i = 0; i < 10000 && !_i && !tiny_counter(&m, "ahead"); i++)
        usleep(1000);
    ck_assert(_i ? !tiny_counter(&m, "ahead") : tiny_counter(&m, "ahead") > 0);
}
END_TEST

START_TEST(test_two_vcpus)
{
    char *error = NULL;
    pthread_t thread;
    engine_teardown();
    tiny_create(&m, engine_under_test, 1);
    LOAD(0x10000, stream64);
    LOAD(0x11000, shared64);
    struct cpu_config config = {1, m.bus, &m.clock, cpu_model_find("max", 1, &error)};
    struct cpu *first = m.cpu, *second = cpu_create(&config);
    ck_assert_ptr_nonnull(second);
    ck_assert(m.accel->attach(m.engine, second));
    m.cpu = second;
    tiny_long(&m, 0x10000);
    second->wait_sipi = false;
    m.cpu = first;
    tiny_long(&m, 0x10000);
    first->gpr[R9] = 0x400000;
    second->gpr[R9] = 0x500000;
    second->gpr[RSP] = 0x90000;
    ck_assert_int_eq(pthread_create(&thread, NULL, second_thread, second), 0);
    stream(first, 30000);
    pthread_join(thread, NULL);
    ck_assert_uint_gt(tiny_counter(&m, "flushes"), 2);
    m.accel->detach(second);
    cpu_destroy(second);
}
END_TEST

/* A request from another thread ends a loop that is chained to itself. */
CODE64(endless64, "movb $1, 0x20000\n 1: jmp 1b\n")

static void *stop_when_begun(void *opaque)
{
    while (!*(volatile u8 *)(m.ram + 0x20000))
        sched_yield();
    cpu_request(opaque, REQ_EXIT);
    return NULL;
}

START_TEST(test_request)
{
    pthread_t thread;
    START64(endless64);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_when_begun, m.cpu), 0);
    tiny_run(&m);
    pthread_join(thread, NULL);
    ck_assert(!m.cpu->halted);
    ck_assert_uint_eq(m.cpu->rip, 0x10000 + (u64)(endless64_end - endless64) - 2);
}
END_TEST

/* ---- what it shows ---- */

static char *read_file(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = fopen(path, "r"), *out = open_memstream(&text, &size);
    ck_assert(f && out);
    for (int c; (c = getc(f)) != EOF;)
        putc(c, out);
    fclose(f);
    fclose(out);
    return text;
}

CODE64(shown64, "add %ebx, %eax\n mov %rax, (%rdi)\n smsw %eax\n jmp 1f\n 1: hlt\n")

START_TEST(test_out_asm)
{
    char path[] = "/tmp/dragoman-test-XXXXXX";
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    ck_assert_int_eq(log_open(path), 0);
    log_mask = 1u << LOG_BIT_out_asm;
    START64(shown64);
    m.cpu->gpr[RDI] = 0x20000;
    tiny_run(&m);
    log_mask = 0;
    char *text = read_file(path);
    unlink(path);
    static const char *const want[] = {"block 10000: host code, ",
                                       "rax in rbx",
                                       "  10000  add eax, ebx\n",
                                       " add.32 ",
                                       "; rax",
                                       "; TLB",
                                       "mov qword ptr [rdi], rax\n",
                                       "; helper smsw",
                                       "out of line",
                                       "slow:",
                                       "; store of 64 bits in C",
                                       "; the run loop",
                                       "; cpu.exit_id"};
    for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
        ck_assert_msg(!!strstr(text, want[i]), "no '%s' in:\n%s", want[i], text);
    free(text);
}
END_TEST

START_TEST(test_perf_map)
{
    char path[64];
    struct accel_options options = {.perf_map = true};
    m.accel->detach(m.cpu);
    m.accel->destroy(m.engine);
    m.engine = m.accel->create(m.bus, &options);
    ck_assert(m.engine && m.accel->attach(m.engine, m.cpu));
    RUN64(nothing64);
    snprintf(path, sizeof path, "/tmp/perf-%d.map", (int)getpid());
    char *text = read_file(path), name[64];
    unlink(path);
    unsigned long long code;
    unsigned size;
    const struct x64_engine *e = m.engine;
    ck_assert_int_eq(sscanf(text, "%llx %x %63s", &code, &size, name), 3);
    ck_assert_uint_eq(code, e->index[0].code);
    ck_assert_uint_eq(size, e->index[0].block->size);
    ck_assert_str_eq(name, "guest_10000");
    free(text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dbt");
    engine_under_test = &accel_dbt;
    engine_programs(s);
    TCase *c = tcase_create("engine");
    tcase_add_checked_fixture(c, engine_setup, engine_teardown);
    tcase_set_timeout(c, 120);
    tcase_add_loop_test(c, test_counter, 0, ARRAY_SIZE(fires));
    tcase_add_test(c, test_string_results);
    tcase_add_test(c, test_fetched_flags);
    tcase_add_test(c, test_three_outcomes);
    tcase_add_loop_test(c, test_off, 0, T_COUNT);
    tcase_add_test(c, test_technique_lists);
    tcase_add_test(c, test_pages);
    tcase_add_test(c, test_info);
    tcase_add_test(c, test_unchain);
    tcase_add_test(c, test_chained_loop);
    tcase_add_test(c, test_unfit);
    tcase_add_test(c, test_live);
    tcase_add_test(c, test_descriptor_gone);
    tcase_add_test(c, test_tables_moved);
    tcase_add_test(c, test_jump_cache);
    tcase_add_test(c, test_jump_set);
    tcase_add_test(c, test_jump_crossing);
    tcase_add_loop_test(c, test_flags_at_fault, 0, ARRAY_SIZE(places));
    tcase_add_test(c, test_entries);
    tcase_add_test(c, test_write_xor_execute);
    tcase_add_test(c, test_endless_code);
    tcase_add_loop_test(c, test_ahead, 0, 2);
    tcase_add_test(c, test_two_vcpus);
    tcase_add_test(c, test_request);
    tcase_add_test(c, test_out_asm);
    tcase_add_test(c, test_perf_map);
    suite_add_tcase(s, c);
    return run_suite(s);
}

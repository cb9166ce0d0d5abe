/* What single things cost: a bare-metal guest that times one small loop after another and prints
 * "ROW name=<picoseconds, hexadecimal>" for each (bytes a millisecond for copies); micro.py makes
 * the table.  The clock is the HPET, which counts the same time in every emulator.
 *
 * Command line: the beginning of the names of the rows to run, all without one.
 */
#include "tests/guest/lib/apic.h"

#define HPET 0xfed00000ull
#define FS_PER_PS 1000u
enum { REPEATS = 5, TICKS = 301, VECTOR = 0x90, LEAVE = 0x91, APIC_FREQUENT = 100000 };
#define TARGET_PS 15000000000ull /* each measurement takes this long at least */
#define AREA 0x8000000000ull     /* linear addresses of the rows' own */
#define CODE_AT (AREA + (1ull << 38))

static u64 hpet_read(u32 reg)
{
    return *(volatile u64 *)(HPET + reg);
}

static u64 now_ps(void)
{
    static u64 period;
    if (!period) {
        period = hpet_read(0) >> 32;
        *(volatile u64 *)(HPET + 0x10) = 1; /* ENABLE_CNF */
    }
    return hpet_read(0xf0) * period / FS_PER_PS;
}

/* ---- loops: each executes its subject `n` times (see the table for how often per turn) ---- */

#define LOOP(name, text)                                                                           \
    void name(u64 n);                                                                              \
    __asm__(".pushsection .text\n.balign 64\n" #name ":\n" text "\nret\n.popsection")
#define TURN "dec %rdi\n jnz 1b"

LOOP(run_x87, "fninit\n 1: .rept 4\n fldl numbers\n faddl numbers+8\n fmull numbers+16\n fstpl "
              "numbers+24\n.endr\n" TURN);
LOOP(run_sse,
     "1: .rept 4\n movsd numbers, %xmm0\n addsd numbers+8, %xmm0\n mulsd numbers+16, %xmm0\n"
     "movsd %xmm0, numbers+24\n.endr\n" TURN);
LOOP(run_load, "1: .rept 8\n mov numbers+8, %rax\n mov numbers+4096, %rcx\n.endr\n" TURN);
LOOP(run_store, "1: .rept 8\n mov %rax, numbers+8\n mov %rax, numbers+4096\n.endr\n" TURN);
LOOP(run_push, "1: .rept 8\n push %rax\n pop %rcx\n.endr\n" TURN);
LOOP(run_locked, "1: .rept 8\n lock xadd %rax, numbers+32\n.endr\n" TURN);
LOOP(run_call, "1: call 2f\n call 2f\n call 2f\n call 2f\n" TURN "\n ret\n 2:");
LOOP(run_far_call,
     "1: call far_target\n call far_target\n call far_target\n call far_target\n" TURN);
LOOP(run_table_call,
     "1: .rept 4\n inc %eax\n and $7, %eax\n call *call_table(,%rax,8)\n.endr\n" TURN);
LOOP(run_one_call, "mov $far_target, %eax\n 1: .rept 4\n call *%rax\n.endr\n" TURN);
LOOP(run_table_jump,
     "1: imul $1103515245, %rcx, %rcx\n add $12345, %rcx\n mov %ecx, %eax\n"
     "shr $13, %eax\n and $7, %eax\n jmp *jump_table(,%rax,8)\n"
     ".balign 16\n jump_targets: .rept 8\n .balign 16\n inc %rdx\n jmp 2f\n.endr\n 2: " TURN);
/* Recursion of the usual kind: fib(10) is 177 calls. */
LOOP(run_recursion,
     "push %rbx\n push %rbp\n mov %rdi, %rbp\n 1: mov $10, %edi\n call 2f\n dec %rbp\n"
     "jnz 1b\n pop %rbp\n pop %rbx\n ret\n"
     "2: cmp $2, %rdi\n jb 3f\n push %rbx\n push %rdi\n dec %rdi\n call 2b\n mov %rax, %rbx\n"
     "pop %rdi\n sub $2, %rdi\n call 2b\n add %rbx, %rax\n pop %rbx\n ret\n"
     "3: mov %rdi, %rax");
LOOP(run_cr3, "mov %cr3, %rdx\n 1: mov %rdx, %cr3\n mov area, %rax\n"
              ".set page, 0\n.rept 16\n mov page(%rax), %cl\n.set page, page + 4096\n.endr\n" TURN);
LOOP(run_invlpg, "mov area, %rax\n 1: invlpg (%rax)\n mov (%rax), %cl\n" TURN);
LOOP(run_misses,
     "mov area, %rsi\n mov pages, %rcx\n xor %edx, %edx\n"
     "1: mov (%rsi,%rdx), %al\n add $4096, %rdx\n cmp %rcx, %rdx\n cmovae zero, %rdx\n" TURN);
LOOP(run_clts, "1: clts\n" TURN);
LOOP(run_rdtsc, "1: rdtsc\n" TURN);
LOOP(run_cpuid, "push %rbx\n 1: xor %eax, %eax\n cpuid\n" TURN "\n pop %rbx");
LOOP(run_flags, "1: pushfq\n popfq\n" TURN);
LOOP(run_cli, "1: sti\n cli\n" TURN);
LOOP(run_out, "1: out %al, $0x80\n" TURN);
LOOP(run_in, "1: in $0x61, %al\n" TURN);
LOOP(run_swapgs, "1: swapgs\n" TURN);
LOOP(run_wrmsr, "mov $0xc0000100, %ecx\n xor %eax, %eax\n xor %edx, %edx\n 1: wrmsr\n" TURN);
LOOP(run_rdmsr, "mov $0xc0000100, %ecx\n 1: rdmsr\n" TURN);
LOOP(run_deadline, "mov $0x6e0, %ecx\n mov $0x10000000, %edx\n 1: wrmsr\n inc %eax\n" TURN);
LOOP(run_eoi, "mov $0xfee000b0, %esi\n 1: movl $0, (%rsi)\n" TURN);
LOOP(run_kernel_int, "1: int $0x90\n" TURN);
LOOP(run_ud, "1: ud2\n" TURN);
LOOP(run_fault, "mov $0x7000000000, %rax\n 1: mov (%rax), %cl\n nop\n" TURN);
LOOP(run_self_ipi, "sti\n mov $0xfee00300, %esi\n 1: movl $0x40090, (%rsi)\n nop\n" TURN "\n cli");

/* At ring 3, where the view of memory is another: RDI turns, then LEAVE. */
CODE(user_int, "1: int $0x90\n" TURN "\n int $0x91");
CODE(user_syscall, "1: syscall\n" TURN "\n int $0x91");

/* Trap handlers of the rows. */
CODE(on_int, "iretq");
CODE(on_syscall, "sysretq");
CODE(on_ud, "addq $2, (%rsp)\n iretq");
CODE(on_fault, "addq $2, 8(%rsp)\n add $8, %rsp\n iretq");
CODE(on_apic,
     "push %rax\n mov $0xfee000b0, %eax\n movl $0, (%rax)\n incq ticks\n pop %rax\n iretq");

__asm__(".pushsection .data\n.balign 4096\n"
        "numbers: .double 1.5, 1.25, 0.75, 0, 0\n.space 8192\n"
        "call_table:\n .set at, 0\n.rept 8\n.quad far_target + at\n.set at, at + 16\n.endr\n"
        "jump_table:\n .set at, 0\n.rept 8\n.quad jump_targets + at\n.set at, at + 16\n.endr\n"
        ".popsection\n"
        ".pushsection .text.far, \"ax\"\n.balign 4096\n far_target: .rept 8\n ret\n.balign "
        "16\n.endr\n.balign 4096\n.popsection\n");

u64 area = AREA, pages, zero, ticks;
static u8 *code_page;

static void run_user(const void *code, u64 n)
{
    struct regs r = user_at(code);
    r.rdi = n;
    enter(&r);
}

static void run_user_int(u64 n)
{
    run_user(user_int, n);
}

static void run_user_syscall(u64 n)
{
    run_user(user_syscall, n);
}

/* mov $imm, %eax; ret: written from one page, run in another. */
static void run_patch(u64 n)
{
    memcpy(code_page, "\xb8\0\0\0\0\xc3", 6);
    for (u64 i = 0; i < n; i++) {
        *(volatile u32 *)(code_page + 1) = (u32)i;
        if (((u32(*)(void))CODE_AT)() != (u32)i)
            check("the patched immediate is seen", false);
    }
}

/* The same for code of some length: 64 additions. */
static void run_rewrite(u64 n)
{
    for (u64 i = 0; i < n; i++) {
        u8 *p = code_page + 1024;
        memcpy(p, "\x31\xc0", 2);
        for (unsigned k = 0; k < 64; k++) {
            p[2 + 5 * k] = 0x05; /* add $imm, %eax */
            *(u32 *)(p + 3 + 5 * k) = (u32)(i + k);
        }
        p[2 + 5 * 64] = 0xc3;
        if (((u32(*)(void))(CODE_AT + 1024))() != (u32)(64 * i + 2016))
            check("the rewritten code is seen", false);
    }
}

/* A loop that stores so far behind its own first byte. */
static void store_near(u64 n, u8 distance)
{
    u8 loop[] = {0x48, 0x89, 0x3d, 0,    0,    0,   0, /* mov %rdi, distance - 7(%rip) */
                 0x48, 0xff, 0xcf, 0x75, 0xf4, 0xc3};  /* dec %rdi; jnz; ret */
    loop[3] = (u8)(distance - 7);
    memcpy(code_page + 2048, loop, sizeof loop);
    ((void (*)(u64))(CODE_AT + 2048))(n);
}

static void run_own_page(u64 n)
{
    store_near(n, 192);
}

static void run_own_line(u64 n)
{
    store_near(n, 32);
}

static void copy(u64 n, u64 bytes, u64 from, u64 to)
{
    while (n--) {
        u64 c = bytes, s = from, d = to;
        __asm__ volatile("rep movsb" : "+c"(c), "+S"(s), "+D"(d) : : "memory");
    }
}

static void run_movs(u64 n)
{
    copy(n, 65536, AREA, AREA + 0x220000);
}

static void run_short_movs(u64 n)
{
    copy(n, 64, AREA, AREA + 0x220000);
}

static void run_stos(u64 n)
{
    while (n--) {
        u64 c = 65536, d = AREA;
        __asm__ volatile("rep stosb" : "+c"(c), "+D"(d) : "a"(0) : "memory");
    }
}

/* ---- what has to be set up ---- */

/* Maps `count` pages at AREA, all onto the same 16 MiB of memory. */
static void map_area(u64 count)
{
    static u64 mapped;
    for (; mapped < count; mapped++)
        pt_map(AREA + mapped * 4096, 1,
               (0x4000000 + mapped % 4096 * 4096) | PT_P | PT_W | PT_A | PT_D);
    pages = count * 4096;
}

static void few_pages(void)
{
    map_area(4096);
    pages = 4000 * 4096;
}

static void many_pages(void)
{
    map_area(40000);
}

static void int_gates(void)
{
    set_gate(VECTOR, on_int, 0xe, 3, 0);
    reset_gate(LEAVE);
    set_gate(LEAVE, trap_stubs + LEAVE * 16, 0xe, 3, 0);
}

static void syscall_msrs(void)
{
    int_gates();
    wrmsr(0xc0000081, (u64)SEL_USER32 << 48 | (u64)SEL_CODE << 32);
    wrmsr(0xc0000082, (u64)on_syscall);
    wrmsr(0xc0000084, 0);
}

static void fault_gates(void)
{
    set_gate(UD, on_ud, 0xe, 0, 0);
    set_gate(PF, on_fault, 0xe, 0, 0);
}

static void apic_on(void)
{
    set_gate(VECTOR, on_apic, 0xe, 0, 0);
    apic_write(APIC_SVR, 0x1ff);
    apic_write(APIC_TPR, 0);
}

static void deadline_mode(void)
{
    apic_on();
    apic_write(APIC_LVT_TIMER, VECTOR | 2 << 17);
}

static void code_pages(void)
{
    code_page = page_alloc(4096);
    pt_map(CODE_AT, 1, (u64)code_page | PT_P | PT_W | PT_A | PT_D);
}

/* ---- measuring ---- */

struct row {
    const char *name;
    void (*run)(u64 n);
    u32 per_turn; /* operations, or bytes, of a turn */
    bool rate;    /* bytes a second are wanted */
    void (*prepare)(void);
};

static const struct row rows[] = {
    {"x87", run_x87, 16, false, NULL},
    {"sse", run_sse, 16, false, NULL},
    {"call", run_call, 4, false, NULL},
    {"int", run_user_int, 1, false, int_gates},
    {"miss", run_misses, 1, false, few_pages},
    {"cr3", run_cr3, 1, false, few_pages},
    {"patch", run_patch, 1, false, code_pages},
    {"own-page", run_own_page, 1, false, code_pages},
    {"own-line", run_own_line, 1, false, code_pages},
    {"movs", run_movs, 65536, true, few_pages},
    {"load", run_load, 16, false, NULL},
    {"store", run_store, 16, false, NULL},
    {"push", run_push, 16, false, NULL},
    {"locked", run_locked, 8, false, NULL},
    {"far-call", run_far_call, 4, false, NULL},
    {"one-call", run_one_call, 4, false, NULL},
    {"table-call", run_table_call, 4, false, NULL},
    {"table-jump", run_table_jump, 1, false, NULL},
    {"recursion", run_recursion, 177, false, NULL},
    {"syscall", run_user_syscall, 1, false, syscall_msrs},
    {"kernel-int", run_kernel_int, 1, false, int_gates},
    {"ud2", run_ud, 1, false, fault_gates},
    {"page-fault", run_fault, 1, false, fault_gates},
    {"self-ipi", run_self_ipi, 1, false, apic_on},
    {"miss-40000", run_misses, 1, false, many_pages},
    {"invlpg", run_invlpg, 1, false, few_pages},
    {"rewrite", run_rewrite, 1, false, code_pages},
    {"short-movs", run_short_movs, 1, false, few_pages},
    {"stos", run_stos, 65536, true, few_pages},
    {"clts", run_clts, 1, false, NULL},
    {"sti-cli", run_cli, 1, false, NULL},
    {"flags", run_flags, 1, false, NULL},
    {"rdtsc", run_rdtsc, 1, false, NULL},
    {"cpuid", run_cpuid, 1, false, NULL},
    {"out", run_out, 1, false, NULL},
    {"in", run_in, 1, false, NULL},
    {"swapgs", run_swapgs, 1, false, NULL},
    {"wrmsr", run_wrmsr, 1, false, NULL},
    {"rdmsr", run_rdmsr, 1, false, NULL},
    {"deadline", run_deadline, 1, false, deadline_mode},
    {"eoi", run_eoi, 1, false, apic_on},
};

static u64 time_of(void (*run)(u64 n), u64 n)
{
    u64 start = now_ps();
    run(n);
    return now_ps() - start;
}

/* Turns that take TARGET_PS, found by doubling. */
static u64 turns_for(void (*run)(u64 n))
{
    u64 n = 16, t;
    while ((t = time_of(run, n)) < TARGET_PS / 8)
        n *= 2;
    return n * (TARGET_PS / (t + 1) + 1);
}

static u64 best_of(void (*run)(u64 n), u64 n)
{
    u64 best = ~0ull;
    for (unsigned i = 0; i < REPEATS; i++) {
        u64 t = time_of(run, n);
        best = t < best ? t : best;
    }
    return best;
}

/* A timer interrupt costs what it delays a loop by: the median gap in the readings of the TSC. */
static u64 timer_interrupt(void)
{
    static u64 gaps[TICKS];
    apic_on();
    apic_write(APIC_DIVIDE, 0xb);
    apic_write(APIC_LVT_TIMER, VECTOR | 1 << 17);
    u64 start = now_ps(), first = rdtsc(), last = first, seen = ticks = 0;
    apic_write(APIC_INITIAL, APIC_FREQUENT);
    __asm__ volatile("sti");
    while (seen < TICKS) {
        u64 tsc = rdtsc(), now = *(volatile u64 *)&ticks;
        if (now != seen) {
            u64 gap = tsc - last, at = seen;
            for (; at && gaps[at - 1] > gap; at--)
                gaps[at] = gaps[at - 1];
            gaps[at] = gap;
            ticks = ++seen;
            tsc = rdtsc();
        }
        last = tsc;
    }
    __asm__ volatile("cli");
    apic_write(APIC_INITIAL, 0);
    return gaps[TICKS / 2] * ((now_ps() - start) / 1000) / ((last - first) / 1000);
}

static bool begins(const char *name, const char *with)
{
    while (*with && *with == *name)
        with++, name++;
    return !*with;
}

/* The multiboot loader passes the image's name first. */
static const char *wanted(void)
{
    const u32 *info = (const u32 *)(u64)boot_info;
    if (!(info[0] & 4))
        return "";
    const char *s = (const char *)(u64)info[4];
    while (*s && *s != ' ')
        s++;
    return *s ? s + 1 : s;
}

void test_main(void)
{
    const char *only = wanted();
    now_ps();
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        if (!begins(r->name, only))
            continue;
        if (r->prepare)
            r->prepare();
        u64 n = turns_for(r->run), t = best_of(r->run, n);
        u64 amount = n * r->per_turn;
        say("ROW %s=%llx\n", r->name,
            (unsigned long long)(r->rate ? amount * 1000 / (t / 1000000) : t / amount));
    }
    if (begins("timer", only))
        say("ROW timer=%llx\n", (unsigned long long)timer_interrupt());
    check("all rows ran", true);
}

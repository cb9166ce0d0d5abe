/* Debug registers in 64-bit mode: breakpoints on execution, data and ports, RF, GD, DR6 and DR7,
 * single steps and branch steps.
 *
 * SDM vol. 3B chapter 17 unless another section is named.
 */
#include "tests/guest/lib/long.h"

#define ENDED(code) (code##_end + 2)
#define DR6_CLEAR 0xffff0ff0ull
#define DR6_BD (1ull << 13)
#define DR6_BS (1ull << 14)
#define DR7_CLEAR 0x400ull
#define DR7_GD (1ull << 13)
#define CR4_DE_BIT (1u << 3)
#define DEBUGCTL 0x1d9
#define BTF 2

enum { EXECUTE = 0, WRITE = 1, PORT = 2, ACCESS = 3 };
enum { LEN1 = 0, LEN2 = 1, LEN8 = 2, LEN4 = 3 };

#define DR(n)                                                             \
    static inline u64 read_dr##n(void)                                    \
    {                                                                     \
        u64 v;                                                            \
        __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v));                 \
        return v;                                                         \
    }                                                                     \
    static inline void write_dr##n(u64 v)                                 \
    {                                                                     \
        __asm__ volatile("mov %0, %%dr" #n : : "r"(v));                   \
    }
DR(0)
DR(1)
DR(2)
DR(3)
DR(6)
DR(7)

static u64 dr7_of(unsigned n, unsigned rw, unsigned len, bool global)
{
    return 1ull << (2 * n + global) | (u64)(rw | len << 2) << (16 + 4 * n);
}

/* ---- a handler that writes down each #DB and goes on ---- */

static struct {
    u64 rip, dr6, flags, rcx, rdi;
} hits[16];
static unsigned hit_count, stop_after;
static bool set_rf;

static bool on_debug(struct regs *f)
{
    if (hit_count < ARRAY_SIZE(hits)) {
        hits[hit_count].rip = f->rip;
        hits[hit_count].dr6 = read_dr6();
        hits[hit_count].flags = f->flags;
        hits[hit_count].rcx = f->rcx;
        hits[hit_count].rdi = f->rdi;
    }
    hit_count++;
    write_dr6(DR6_CLEAR);
    if (set_rf)
        f->flags |= FL_RF;
    if (hit_count == stop_after) {
        write_dr7(DR7_CLEAR);
        f->flags &= ~(u64)FL_TF;
    }
    return false;
}

static struct regs run(struct regs r, u64 dr7)
{
    hit_count = 0;
    memset(hits, 0, sizeof hits);
    write_dr6(DR6_CLEAR);
    handlers[DB] = on_debug;
    write_dr7(DR7_CLEAR | dr7);
    enter(&r);
    write_dr7(DR7_CLEAR);
    handlers[DB] = NULL;
    return r;
}

/* One hit, after which the snippet went to its end. */
static void expect_one(const char *name, const struct regs *r, const void *rip, u64 dr6)
{
    bool good = r->vector == STOP && hit_count == 1 && hits[0].rip == (u64)rip &&
                hits[0].dr6 == (DR6_CLEAR | dr6);
    if (!check_quiet(name, good))
        say(": vector %x, %x hits, rip %llx dr6 %llx, not %llx %llx\n", (u32)r->vector, hit_count,
            (unsigned long long)hits[0].rip, (unsigned long long)hits[0].dr6,
            (unsigned long long)(u64)rip, (unsigned long long)(DR6_CLEAR | dr6));
}

static void expect_none(const char *name, const struct regs *r)
{
    if (!check_quiet(name, r->vector == STOP && hit_count == 0))
        say(": vector %x, %x hits, rip %llx\n", (u32)r->vector, hit_count,
            (unsigned long long)hits[0].rip);
}

/* ---- execution (17.2, 17.3.1.1) ---- */

CODE(line, "nop\n nop\n mov $1, %eax\n nop");
CODE(loop3, "mov $3, %ecx\n1: dec %ecx\n jnz 1b");
CODE(self_jump, "mov $2, %edx\n jmp 2f\n1: dec %edx\n jz 3f\n2: jmp 1b\n3: nop");
CODE(with_ud2, "nop\n ud2");
CODE(prefixed, "lock addq $1, (%rbx)");
CODE(int_20, "int $0x20");
CODE(after_ss, "mov %eax, %ss\n nop\n nop");
CODE(rep_stos, "rep stosb\n nop");
CODE(push_flags, "pushfq\n pop %rax");

static u8 area[8192] __attribute__((aligned(4096)));

static void execution(void)
{
    struct regs r;
    stop_after = 0;
    set_rf = true;
    for (unsigned n = 0; n < 4; n++) {
        for (unsigned global = 0; global < 2; global++) {
            /* B bits of conditions that are not enabled may be set as well (17.2.3). */
            write_dr0((u64)line + (n == 0));
            write_dr1((u64)line + (n == 1));
            write_dr2((u64)line + (n == 2));
            write_dr3((u64)line + (n == 3));
            r = run(kernel_at(line), dr7_of(n, EXECUTE, LEN1, global));
            expect_one("execution, each register", &r, line + 1, 1u << n);
            check("a breakpoint's fault pushes RF 0", !(hits[0].flags & FL_RF));
            check_eq("it is a fault: done afterwards", r.rax, 1);
        }
    }
    r = run(kernel_at(line), 0xffff0000);
    expect_none("not enabled", &r);
    write_dr0((u64)line + 1);
    r = run(kernel_at(line), dr7_of(0, EXECUTE, LEN1, false) | dr7_of(3, EXECUTE, LEN1, true));
    expect_one("two at one address", &r, line + 1, 9);
    write_dr1((u64)line + 2);
    write_dr2((u64)line + 3); /* not the start of an instruction */
    write_dr3((u64)line + 7);
    r = run(kernel_at(line), 0xff);
    check("three in a row", r.vector == STOP && hit_count == 3 && hits[0].dr6 == (DR6_CLEAR | 1) &&
                                hits[1].dr6 == (DR6_CLEAR | 2) && hits[2].dr6 == (DR6_CLEAR | 8));
    write_dr0(AS_USER(line + 1));
    r = run(kernel_at(line), 1);
    expect_none("another linear address", &r);
    r = run(user_at(line), 1);
    expect_one("in ring 3", &r, (void *)AS_USER(line + 1), 1);
    write_dr0((u64)loop3 + 5);
    r = run(kernel_at(loop3), 1);
    check("a loop", r.vector == STOP && hit_count == 3 && hits[0].rcx == 3 && hits[2].rcx == 1);
    write_dr0((u64)self_jump + 7);
    r = run(kernel_at(self_jump), 1);
    check("reached by a jump", r.vector == STOP && hit_count == 2);
    r = kernel_at(prefixed);
    r.rbx = (u64)area;
    write_dr0((u64)prefixed + 1);
    r = run(r, 1);
    expect_none("behind a prefix", &r);
    r = kernel_at(prefixed);
    r.rbx = (u64)area;
    write_dr0((u64)prefixed);
    r = run(r, 1);
    expect_one("at a prefix", &r, prefixed, 1);
    /* Before whatever the instruction itself raises (vol. 3A table 6-2). */
    write_dr0((u64)with_ud2 + 1);
    r = run(kernel_at(with_ud2), 1);
    check("before #UD", r.vector == UD && r.rip == (u64)with_ud2 + 1 && hit_count == 1);
    check("#UD pushes RF", r.flags & FL_RF);
}

static void resume_flag(void)
{
    struct regs r;
    /* Without RF the fault comes again and again. */
    set_rf = false;
    stop_after = 3;
    write_dr0((u64)line + 1);
    r = run(kernel_at(line), 1);
    check("without RF again", r.vector == STOP && hit_count == 3 && hits[2].rip == (u64)line + 1);
    /* IRET brings RF, for one instruction. */
    stop_after = 0;
    set_rf = true;
    r = kernel_at(line + 1);
    r.flags |= FL_RF;
    r = run(r, 1);
    expect_none("IRET with RF", &r);
    r = kernel_at(loop3 + 5);
    r.rcx = 3;
    r.flags |= FL_RF;
    write_dr0((u64)loop3 + 5);
    r = run(r, 1);
    check("RF for one instruction", r.vector == STOP && hit_count == 2 && hits[0].rcx == 2);
    r = kernel_at(int_20);
    r.flags |= FL_RF;
    write_dr0((u64)int_20);
    r = run(r, 1);
    check("INT n clears RF before it pushes", r.vector == 0x20 && !(r.flags & FL_RF) && !hit_count);
    r = kernel_at(push_flags);
    r.flags |= FL_RF;
    r = run(r, 0);
    check("PUSHF pushes RF 0", r.vector == STOP && !(r.rax & FL_RF));
    /* MOV SS holds them off (vol. 3A 6.8.3). */
    r = kernel_at(after_ss);
    r.rax = SEL_DATA;
    write_dr0((u64)after_ss + 2);
    r = run(r, 1);
    expect_none("right after MOV SS", &r);
    r = kernel_at(after_ss);
    r.rax = SEL_DATA;
    write_dr0((u64)after_ss + 3);
    r = run(r, 1);
    expect_one("the next but one", &r, after_ss + 3, 1);
    /* A repeated instruction meets its breakpoint once. */
    r = kernel_at(rep_stos);
    r.rdi = (u64)area;
    r.rcx = 5000;
    write_dr0((u64)rep_stos);
    r = run(r, 1);
    expect_one("REP STOS", &r, rep_stos, 1);
    check_eq("its count then", hits[0].rcx, 5000);
    check("and at the end", r.rcx == 0 && r.rdi == (u64)area + 5000);
}

/* ---- data (17.2.4, 17.2.5): traps, reported after the instruction ---- */

CODE(st1, "nop\n movb $0x55, (%rbx)\n nop");
CODE(st2, "nop\n movw $0x55, (%rbx)\n nop");
CODE(st4, "nop\n movl $0x55, (%rbx)\n nop");
CODE(st8, "nop\n movq $0x55, (%rbx)\n nop");
CODE(st16, "nop\n movups %xmm0, (%rbx)\n nop");
CODE(ld1, "nop\n movb (%rbx), %al\n nop");
CODE(ld4, "nop\n movl (%rbx), %eax\n nop");
CODE(ld8, "nop\n movq (%rbx), %rax\n nop");
CODE(ld16, "nop\n movups (%rbx), %xmm0\n nop");


/* Every length against every access around it: 17.2.5. */
static void ranges(void)
{
    static const struct { u8 bytes, code; } lens[] = {{1, LEN1}, {2, LEN2}, {4, LEN4}, {8, LEN8}};
    static const struct { u8 bytes; u8 *load, *store; } sizes[] = {
        {1, ld1, st1}, {2, NULL, st2}, {4, ld4, st4}, {8, ld8, st8}, {16, ld16, st16}};
    u8 *base = area + 4096;
    set_rf = false;
    for (unsigned l = 0; l < ARRAY_SIZE(lens); l++) {
        for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
            unsigned wrong = 0;
            for (int at = -20; at < 12; at++) {
                bool inside = at + sizes[s].bytes > 0 && at < lens[l].bytes;
                for (unsigned rw = WRITE; rw <= ACCESS; rw += 2) {
                    write_dr1((u64)base);
                    struct regs r = kernel_at(sizes[s].store);
                    r.rbx = (u64)base + (u64)(long long)at;
                    r = run(r, dr7_of(1, rw, lens[l].code, at & 1));
                    wrong += r.vector != STOP || hit_count != inside ||
                             (inside && hits[0].dr6 != (DR6_CLEAR | 2));
                    if (!sizes[s].load)
                        continue;
                    r = kernel_at(sizes[s].load);
                    r.rbx = (u64)base + (u64)(long long)at;
                    r = run(r, dr7_of(1, rw, lens[l].code, at & 1));
                    wrong += r.vector != STOP || hit_count != (inside && rw == ACCESS);
                }
            }
            if (!check_quiet("data, lengths and offsets", wrong == 0))
                say(": length %x, access %x: %x wrong\n", lens[l].bytes, sizes[s].bytes, wrong);
        }
    }
    /* The length masks the address. */
    write_dr2((u64)area + 0x107);
    struct regs r = kernel_at(st1);
    r.rbx = (u64)area + 0x101;
    r = run(r, dr7_of(2, WRITE, LEN8, false));
    expect_one("address bits that the length masks", &r, st1 + 4, 4);
}

CODE(push_, "nop\n push %rax\n nop");
CODE(call_, "nop\n call 1f\n1: nop");
CODE(xchg_, "nop\n xchg %rax, (%rbx)\n nop");
CODE(lock_add, "nop\n lock addl $1, (%rbx)\n nop");
CODE(add_mem, "nop\n addl $1, (%rbx)\n nop");
CODE(cmpxchg_, "mov $1, %eax\n lock cmpxchg %ecx, (%rbx)\n nop");
CODE(fst_, "fldpi\n fstpt (%rbx)\n nop");
CODE(movs_, "nop\n movsq\n nop");
CODE(fxsave_, "nop\n fxsave (%rbx)\n nop");
CODE(rep_movs, "rep movsb\n nop");
CODE(rep_stosq, "rep stosq\n nop");
CODE(pop_mem, "push $7\n popq (%rbx)\n nop");
CODE(add_chain, "mov $5, %eax\n add $3, %eax\n mov %eax, (%rbx)\n add $4, %eax\n mov %eax, 8(%rbx)");

static void one_store(const char *name, u8 *code, unsigned length_to_end, unsigned rw)
{
    struct regs r = kernel_at(code);
    u8 *at = area + 0x200;
    memset(area, 0, sizeof area);
    r.rbx = (u64)at;
    r.rdi = (u64)at;
    r.rsi = (u64)area + 0x800;
    if (code == push_ || code == call_)
        r.rsp = (u64)at + 8;
    write_dr3((u64)at + 4);
    r = run(r, dr7_of(3, rw, LEN4, true));
    expect_one(name, &r, code + length_to_end, 8);
}

static void data(void)
{
    struct regs r;
    set_rf = false;
    one_store("PUSH", push_, 2, WRITE);
    one_store("CALL", call_, 6, WRITE);
    one_store("XCHG", xchg_, 4, WRITE);
    one_store("FSTP m80", fst_, 4, WRITE);
    one_store("MOVSQ", movs_, 3, WRITE);
    one_store("FXSAVE", fxsave_, 4, WRITE);
    one_store("POP m", pop_mem, 4, WRITE);
    memset(area, 0, sizeof area);
    static const struct { const char *name; u8 *code; unsigned end; } rmw[] = {
        {"LOCK ADD", lock_add, 5}, {"ADD m", add_mem, 4}, {"CMPXCHG that fails", cmpxchg_, 9}};
    for (unsigned i = 0; i < ARRAY_SIZE(rmw); i++) {
        for (unsigned rw = WRITE; rw <= ACCESS; rw += 2) {
            r = kernel_at(rmw[i].code);
            r.rbx = (u64)area + 0x304;
            *(u32 *)r.rbx = 0x10;
            write_dr0((u64)area + 0x304);
            r = run(r, dr7_of(0, rw, LEN4, false));
            expect_one(rmw[i].name, &r, rmw[i].code + rmw[i].end, 1);
            check_eq("done once", *(u32 *)r.rbx, i == 2 ? 0x10 : 0x11);
        }
    }
    /* In the middle of other work, and by ring 3. */
    r = kernel_at(add_chain);
    r.rbx = (u64)area + 0x400;
    write_dr0((u64)area + 0x400);
    r = run(r, dr7_of(0, WRITE, LEN4, false));
    expect_one("a store among others", &r, add_chain + 10, 1);
    check("pushes RF 0", !(hits[0].flags & FL_RF));
    check("what it stored", *(u32 *)(area + 0x400) == 8 && *(u32 *)(area + 0x408) == 12);
    r = user_at(add_chain);
    r.rbx = AS_USER(area) + 0x400;
    write_dr0(AS_USER(area) + 0x408);
    r = run(r, dr7_of(0, WRITE, LEN8, false));
    expect_one("from ring 3", &r, (void *)AS_USER(add_chain_end), 1);
}

static void strings(void)
{
    struct regs r;
    set_rf = false;
    /* After the element that hits; the instruction goes on (17.3.1.2). */
    r = kernel_at(rep_movs);
    r.rsi = (u64)gdt;
    r.rdi = (u64)area;
    r.rcx = 300;
    write_dr0((u64)area + 100);
    r = run(r, dr7_of(0, WRITE, LEN2, false));
    check("REP MOVSB, two bytes watched", r.vector == STOP && hit_count == 2);
    check("after the first", hits[0].rip == (u64)rep_movs && hits[0].rcx == 199 &&
                                 hits[0].rdi == (u64)area + 101);
    check("in the middle RF is pushed", hits[0].flags & FL_RF);
    check("after the second", hits[1].rcx == 198);
    check("and all of it", r.rcx == 0 && !memcmp(area, gdt, 300));
    r = kernel_at(rep_movs);
    r.rsi = (u64)area;
    r.rdi = (u64)area + 4096;
    r.rcx = 300;
    r = run(r, dr7_of(0, ACCESS, LEN1, false));
    check("REP MOVSB, source watched", r.vector == STOP && hit_count == 1 && hits[0].rcx == 199);
    r = kernel_at(rep_stosq);
    r.rdi = (u64)area;
    r.rcx = 20;
    write_dr0((u64)area + 159);
    r = run(r, dr7_of(0, WRITE, LEN1, false));
    expect_one("REP STOSQ, the last element", &r, rep_stosq + 3, 1);
    check("of the last RF 0 is pushed", !(hits[0].flags & FL_RF));
}

/* ---- ports (CR4.DE) ---- */

CODE(out_80, "nop\n out %al, $0x80\n nop");
CODE(out_dx4, "mov $0x80, %edx\n out %eax, (%dx)\n nop");
CODE(in_81, "nop\n in $0x81, %al\n nop");
CODE(in_84, "nop\n in $0x84, %al\n nop");
CODE(rep_outs, "rep outsb\n nop");

static void ports(void)
{
    struct regs r;
    set_rf = false;
    write_cr4(read_cr4() | CR4_DE_BIT);
    write_dr0(0x80);
    r = run(kernel_at(out_80), dr7_of(0, PORT, LEN1, false));
    expect_one("OUT", &r, out_80 + 3, 1);
    r = run(kernel_at(in_81), dr7_of(0, PORT, LEN1, false));
    expect_none("IN of the next port", &r);
    r = run(kernel_at(in_81), dr7_of(0, PORT, LEN4, false));
    expect_one("IN, four ports", &r, in_81 + 3, 1);
    r = run(kernel_at(in_84), dr7_of(0, PORT, LEN4, false));
    expect_none("IN, the fifth", &r);
    write_dr0(0x83);
    r = run(kernel_at(out_dx4), dr7_of(0, PORT, LEN1, false));
    expect_one("OUT of four bytes", &r, out_dx4 + 6, 1);
    write_dr0(0x80);
    r = kernel_at(rep_outs);
    r.rsi = (u64)area;
    r.rdx = 0x80;
    r.rcx = 3;
    r = run(r, dr7_of(0, PORT, LEN1, false));
    check("REP OUTSB: each", r.vector == STOP && hit_count == 3 && hits[0].rcx == 2 &&
                                 hits[0].rip == (u64)rep_outs && hits[2].rip == (u64)rep_outs + 2);
    write_dr0((u64)area);
    r = kernel_at(st1);
    r.rbx = (u64)area;
    r = run(r, dr7_of(0, PORT, LEN1, false));
    expect_none("memory is no port", &r);
    write_cr4(read_cr4() & ~(u64)CR4_DE_BIT);
}

/* ---- together with single steps, MOV SS and other traps ---- */

CODE(mov_ss_mem, "mov (%rbx), %ss\n nop\n nop");
CODE(branches, "nop\n xor %eax, %eax\n jnz 1f\n nop\n jz 1f\n nop\n1: nop\n call 2f\n2: nop");
CODE(syscall_, "syscall");
CODE(landing, "nop");

static void together(void)
{
    struct regs r;
    set_rf = false;
    stop_after = 2;
    /* The step and the data of one instruction are one exception. */
    r = kernel_at(st4 + 1);
    r.rbx = (u64)area;
    r.flags |= FL_TF;
    write_dr0((u64)area);
    r = run(r, dr7_of(0, WRITE, LEN4, false));
    check("step and data", hits[0].dr6 == (DR6_CLEAR | DR6_BS | 1) && hits[0].rip == (u64)st4 + 7);
    check("then a step alone", hit_count == 2 && hits[1].dr6 == (DR6_CLEAR | DR6_BS));
    /* A trap comes before the next instruction's fault. */
    r = kernel_at(line);
    r.flags |= FL_TF;
    write_dr0((u64)line + 1);
    r = run(r, 1);
    check("step, then the breakpoint", hit_count == 2 && (hits[0].dr6 & DR6_BS) &&
                                           hits[0].rip == (u64)line + 1 &&
                                           hits[1].rip == (u64)line + 1 && (hits[1].dr6 & 1));
    stop_after = 0;
    *(u16 *)(area + 0x500) = SEL_DATA;
    r = kernel_at(mov_ss_mem);
    r.rbx = (u64)area + 0x500;
    write_dr0((u64)area + 0x500);
    r = run(r, dr7_of(0, ACCESS, LEN2, false));
    expect_one("MOV SS from watched memory: after the next", &r, mov_ss_mem + 3, 1);
    stop_after = 1;
    r = kernel_at(rep_stos);
    r.rdi = (u64)area;
    r.rcx = 3;
    r.flags |= FL_TF;
    r = run(r, 0);
    check("step in REP pushes RF", hits[0].rip == (u64)rep_stos && (hits[0].flags & FL_RF));
    /* SYSCALL whose mask leaves TF: stepped, before the handler's first instruction. */
    wrmsr(0xc0000081, (u64)SEL_CODE << 32);
    wrmsr(0xc0000082, (u64)landing);
    wrmsr(0xc0000084, 0);
    r = kernel_at(syscall_);
    r.flags |= FL_TF;
    r = run(r, 0);
    expect_one("SYSCALL with TF", &r, landing, DR6_BS);
    wrmsr(0xc0000084, FL_TF);
    r = kernel_at(syscall_);
    r.flags |= FL_TF;
    r = run(r, 0);
    expect_none("SYSCALL, TF masked", &r);
    stop_after = 0;
}

/* ---- branch steps (17.4.2) ---- */

static void branch_steps(void)
{
    struct regs r;
    set_rf = false;
    stop_after = 1;
    wrmsr(DEBUGCTL, BTF);
    r = kernel_at(branches);
    r.flags |= FL_TF;
    r = run(r, 0);
    expect_one("BTF: the first taken branch", &r, branches + 9, DR6_BS);
    check_eq("#DB clears BTF", rdmsr(DEBUGCTL), 0);
    wrmsr(DEBUGCTL, BTF);
    r = kernel_at(branches + 9);
    r.flags |= FL_TF;
    r = run(r, 0);
    expect_one("BTF: a call", &r, branches + 15, DR6_BS);
    wrmsr(DEBUGCTL, BTF);
    r = run(kernel_at(branches), 0);
    expect_none("BTF without TF", &r);
    wrmsr(DEBUGCTL, 0);
    stop_after = 0;
}

/* ---- the registers themselves (17.2.2 to 17.2.4) ---- */

CODE(from_dr4, "mov %db4, %rax");
CODE(from_dr5, "mov %db5, %rax");
CODE(to_dr5, "mov %rax, %db5");
CODE(to_dr6, "mov %rax, %db6");
CODE(to_dr7, "mov %rax, %db7");
CODE(from_dr0, "mov %db0, %rax");
CODE(icebp, ".byte 0xf1\n nop");

static void registers(void)
{
    struct regs r;
    write_dr0(0xfedcba9876543210);
    write_dr3(0x8000000000000001);
    check("DR0 and DR3 hold 64 bits", read_dr0() == 0xfedcba9876543210 &&
                                          read_dr3() == 0x8000000000000001);
    check("DR1 and DR2", (write_dr1(1), write_dr2(2), read_dr1() == 1 && read_dr2() == 2));
    write_dr6(0xffffffff);
    check_eq("DR6: what can be set", read_dr6() & 0xefff, 0xefff);
    write_dr6(0);
    check_eq("DR6: what is always set", read_dr6(), DR6_CLEAR);
    write_dr7(0);
    check_eq("DR7: bit 10 is always set", read_dr7(), DR7_CLEAR);
    write_dr7(0xd000);
    check_eq("DR7: bits that are always clear", read_dr7(), DR7_CLEAR);
    r = kernel_at(to_dr6);
    r.rax = 1ull << 32;
    enter(&r);
    expect("DR6, upper half", &r, GP, 0, to_dr6);
    r = kernel_at(to_dr7);
    r.rax = 1ull << 32;
    enter(&r);
    expect("DR7, upper half", &r, GP, 0, to_dr7);
    write_dr6(DR6_CLEAR | 5);
    r = kernel_at(from_dr4);
    enter(&r);
    check("DR4 is DR6 without CR4.DE", r.vector == STOP && r.rax == (DR6_CLEAR | 5));
    r = kernel_at(from_dr5);
    enter(&r);
    check("DR5 is DR7", r.vector == STOP && r.rax == DR7_CLEAR);
    write_cr4(read_cr4() | CR4_DE_BIT);
    r = kernel_at(from_dr4);
    enter(&r);
    expect("DR4 with CR4.DE", &r, UD, 0, from_dr4);
    r = kernel_at(to_dr5);
    enter(&r);
    expect("DR5 with CR4.DE", &r, UD, 0, to_dr5);
    write_cr4(read_cr4() & ~(u64)CR4_DE_BIT);
    r = user_at(from_dr0);
    enter(&r);
    expect("MOV DR in ring 3", &r, GP, 0, (void *)AS_USER(from_dr0));
    /* General detect is a fault; every #DB clears GD, so that the handler can read. */
    set_rf = false;
    stop_after = 1;
    r = run(kernel_at(from_dr0), DR7_GD);
    expect_one("DR7.GD", &r, from_dr0, DR6_BD);
    check("its fault pushes RF", hits[0].flags & FL_RF);
    handlers[DB] = on_debug;
    r = kernel_at(icebp);
    r.flags |= FL_TF;
    write_dr7(DR7_CLEAR | DR7_GD);
    hit_count = 0;
    enter(&r);
    check("ICEBP clears GD", hit_count == 1 && hits[0].rip == (u64)icebp + 1);
    handlers[DB] = NULL;
    stop_after = 0;
}

void test_main(void)
{
    __asm__ volatile("fninit");
    execution();
    resume_flag();
    ranges();
    data();
    strings();
    ports();
    together();
    branch_steps();
    registers();
}

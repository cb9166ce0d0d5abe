/* Which fault comes first, what becomes of a fault in the delivery of another, and where LOCK is
 * allowed.
 *
 * SDM vol. 3A 6.9 (table 6-2), 6.15 interrupt 8 (tables 6-4, 6-5), vol. 2A LOCK.
 */
#include "tests/guest/lib/long.h"

#define AREA 0x8000000000ull /* nothing is mapped there */
#define BAD 0x800000000000ull
#define T1 SEL_FREE

/* ---- a fault in the delivery of a fault (tables 6-4 and 6-5) ---- */

CODE(raise_de, "xor %ecx, %ecx\n div %ecx");
CODE(raise_ud, "ud2");
CODE(raise_np, "mov %eax, %ds");
CODE(raise_ss, "mov %rbx, %rsp\n push %rax");
CODE(raise_gp, "mov %rax, (%rbx)");
CODE(raise_pf, "mov (%rcx), %rax");
CODE(raise_nm, "fnop");
CODE(raise_db, ".byte 0xf1");

enum kind { BENIGN, CONTRIBUTORY, PAGE };

static const struct {
    const char *name;
    u8 *code;
    unsigned vector;
    enum kind kind;
} firsts[] = {
    {"#UD", raise_ud, UD, BENIGN},       {"#NM", raise_nm, NM, BENIGN},
    {"#DB", raise_db, DB, BENIGN},       {"#DE", raise_de, DE, CONTRIBUTORY},
    {"#NP", raise_np, NP, CONTRIBUTORY}, {"#SS", raise_ss, SS, CONTRIBUTORY},
    {"#GP", raise_gp, GP, CONTRIBUTORY}, {"#PF", raise_pf, PF, PAGE},
};

/* How the delivery of the first is made to fault. */
static const struct {
    const char *name;
    unsigned vector;
    enum kind kind;
} seconds[] = {
    {"#NP", NP, CONTRIBUTORY}, /* the gate is not present */
    {"#GP", GP, CONTRIBUTORY}, /* the gate is none */
    {"#SS", SS, CONTRIBUTORY}, /* its stack is not canonical */
    {"#PF", PF, PAGE},         /* its stack is not mapped */
};

static void break_gate(unsigned vector, unsigned second)
{
    switch (seconds[second].vector) {
    case NP: idt[vector * 2] &= ~(1ull << 47); break;
    case GP: set_gate(vector, trap_stubs, 0x9, 0, 0); break;
    case SS: set_gate(vector, trap_stubs + vector * 16, 0xe, 0, 5); break;
    default: set_gate(vector, trap_stubs + vector * 16, 0xe, 0, 6); break;
    }
}

static void one_pair(unsigned first, unsigned second)
{
    unsigned v1 = firsts[first].vector, v2 = seconds[second].vector;
    if (v1 == v2)
        return; /* the second would not get through either */
    set_gate(v2, trap_stubs + v2 * 16, 0xe, 0, 3);
    break_gate(v1, second);
    struct regs r = kernel_at(firsts[first].code);
    r.rax = T1;
    r.rbx = BAD + 0x1000;
    r.rcx = AREA + 0x1230;
    enter(&r);
    bool df = (firsts[first].kind == CONTRIBUTORY && seconds[second].kind == CONTRIBUTORY) ||
              firsts[first].kind == PAGE;
    unsigned want = df ? DF : v2;
    u64 error = df ? 0 : v2 == NP || v2 == GP ? v1 * 8 + 3 : v2 == SS ? 1 : 2;
    if (firsts[first].vector == DB && (v2 == NP || v2 == GP || v2 == SS))
        error = v2 == SS ? 1 : v1 * 8 + 3;
    bool good = r.vector == want && r.error == error;
    if (!check_quiet("a fault in a fault's delivery", good))
        say(": %s, then %s: vector %x error %llx, not %x %llx\n", firsts[first].name,
            seconds[second].name, (u32)r.vector, (unsigned long long)r.error, want,
            (unsigned long long)error);
    if (v2 == PF && !df)
        check_eq("its CR2", r.cr2 & ~0xfffull, AREA + 0x5000);
    if (v1 == PF && v2 != PF)
        check_eq("CR2 of the first", r.cr2, AREA + 0x1230);
    reset_gate(v1);
    reset_gate(v2);
}

static void pairs(void)
{
    gdt[T1 / 8] = 0x00cf13000000ffff; /* absent data */
    tss.ist[3] = tss.rsp[0] - 4096;
    tss.ist[5] = BAD + 0x1000;
    tss.ist[6] = AREA + 0x6000;
    write_cr0(read_cr0() | CR0_TS);
    for (unsigned i = 0; i < ARRAY_SIZE(firsts); i++)
        for (unsigned n = 0; n < ARRAY_SIZE(seconds); n++)
            one_pair(i, n);
    write_cr0(read_cr0() & ~(u64)CR0_TS);
}

/* ---- which of two comes first (table 6-2) ---- */

CODE(lgdt_, "lgdt (%rdi)");
CODE(lidt_, "lidt (%rdi)");
CODE(lldt_, "lldt (%rdi)");
CODE(ltr_, "ltr (%rdi)");
CODE(lmsw_, "lmsw (%rdi)");
CODE(invlpg_, "invlpg (%rdi)");
CODE(verr_, "verr (%rdi)");
CODE(fld_, "fldl (%rdi)");
CODE(sse_, "addps (%rdi), %xmm0");
CODE(lock_fld, ".byte 0xf0, 0xdd, 0x07");
CODE(long_lock, ".byte 0xf0,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
CODE(push_m, "push (%rdi)");
CODE(pop_m, "pop (%rdi)");
CODE(call_m, "call *(%rdi)");
CODE(movs_, "movsb");
CODE(cmpxchg16_, "cmpxchg16b 8(%rdi)");
CODE(bound_far, "ljmp *(%rdi)");

static void order(const char *name, u8 *code, bool user, u64 rdi, unsigned vector)
{
    struct regs r = user ? user_at(code) : kernel_at(code);
    r.rdi = rdi;
    r.rsi = (u64)&trap_counts;
    u64 rip = r.rip;
    enter(&r);
    bool error = vector == PF || r.error == 0;
    if (!check_quiet(name, r.vector == vector && error && r.rip == rip))
        say(": vector %x error %llx rip %llx, not %x\n", (u32)r.vector, (unsigned long long)r.error,
            (unsigned long long)r.rip, vector);
}

static void priorities(void)
{
    /* Privilege comes before the operand. */
    u8 *const privileged[] = {lgdt_, lidt_, lldt_, ltr_, lmsw_, invlpg_};
    for (unsigned i = 0; i < ARRAY_SIZE(privileged); i++)
        order("privilege before #PF", privileged[i], true, AREA, GP);
    order("LGDT at ring 0: #PF", lgdt_, false, AREA, PF);
    order("LLDT at ring 0: #PF", lldt_, false, AREA, PF);
    order("VERR: #PF", verr_, true, AREA, PF);
    struct regs r = kernel_at(invlpg_);
    r.rdi = AREA;
    enter(&r);
    check_eq("INVLPG has no #PF", r.vector, STOP);
    /* Length before LOCK, LOCK before #NM, #NM before the operand. */
    order("16 bytes before LOCK", long_lock, false, 0, GP);
    write_cr0(read_cr0() | CR0_TS);
    order("LOCK before #NM", lock_fld, false, AREA, UD);
    order("#NM before #PF", fld_, false, AREA, NM);
    order("#NM before #GP", sse_, false, AREA + 4, NM);
    write_cr0(read_cr0() | CR0_EM);
    order("SSE: EM before TS", sse_, false, AREA, UD);
    write_cr0(read_cr0() & ~(u64)(CR0_TS | CR0_EM));
    order("alignment before #PF", sse_, false, AREA + 4, GP);
    order("CMPXCHG16B: alignment before #PF", cmpxchg16_, false, AREA, GP);
    order("PUSH m: the load faults", push_m, false, AREA, PF);
    order("CALL m: the load faults", call_m, false, AREA, PF);
    order("JMP far: the load faults", bound_far, false, AREA, PF);
    order("MOVS: the store faults", movs_, false, AREA, PF);
    r = kernel_at(pop_m);
    r.rdi = AREA;
    u64 sp = r.rsp;
    enter(&r);
    check("POP m: #PF of the store, RSP as before", r.vector == PF && r.rsp == sp && r.error == 2);
    /* A breakpoint on an instruction that cannot be fetched. */
    __asm__ volatile("mov %0, %%dr0\n mov %1, %%dr7" : : "r"(AREA + 0x10), "r"(0x401ull));
    r = kernel_at((void *)(AREA + 0x10));
    enter(&r);
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull));
    check("#DB of a breakpoint before the fetch's #PF", r.vector == DB && r.rip == AREA + 0x10);
    r = kernel_at((void *)(AREA + 0x10));
    enter(&r);
    expect_pf("#PF of the fetch", &r, 0x10, (void *)(AREA + 0x10), AREA + 0x10);
}

/* ---- LOCK (vol. 2A LOCK) ---- */

struct lockable {
    u8 bytes[3], n; /* opcode */
    u8 reg, imm;    /* ModRM.reg, bytes of immediate */
    bool may;
};

static const struct lockable locks[] = {
    {{0x00}, 1, 0, 0, true},        {{0x01}, 1, 0, 0, true},        {{0x08}, 1, 0, 0, true},
    {{0x09}, 1, 0, 0, true},        {{0x10}, 1, 0, 0, true},        {{0x11}, 1, 0, 0, true},
    {{0x18}, 1, 0, 0, true},        {{0x19}, 1, 0, 0, true},        {{0x20}, 1, 0, 0, true},
    {{0x21}, 1, 0, 0, true},        {{0x28}, 1, 0, 0, true},        {{0x29}, 1, 0, 0, true},
    {{0x30}, 1, 0, 0, true},        {{0x31}, 1, 0, 0, true},        {{0x80}, 1, 0, 1, true},
    {{0x80}, 1, 1, 1, true},        {{0x81}, 1, 2, 4, true},        {{0x81}, 1, 3, 4, true},
    {{0x83}, 1, 4, 1, true},        {{0x83}, 1, 5, 1, true},        {{0x83}, 1, 6, 1, true},
    {{0xfe}, 1, 0, 0, true},        {{0xfe}, 1, 1, 0, true},        {{0xff}, 1, 0, 0, true},
    {{0xff}, 1, 1, 0, true},        {{0xf6}, 1, 2, 0, true},        {{0xf6}, 1, 3, 0, true},
    {{0xf7}, 1, 2, 0, true},        {{0xf7}, 1, 3, 0, true},        {{0x86}, 1, 0, 0, true},
    {{0x87}, 1, 0, 0, true},        {{0x0f, 0xab}, 2, 0, 0, true},  {{0x0f, 0xb3}, 2, 0, 0, true},
    {{0x0f, 0xbb}, 2, 0, 0, true},  {{0x0f, 0xba}, 2, 5, 1, true},  {{0x0f, 0xba}, 2, 6, 1, true},
    {{0x0f, 0xba}, 2, 7, 1, true},  {{0x0f, 0xb0}, 2, 0, 0, true},  {{0x0f, 0xb1}, 2, 0, 0, true},
    {{0x0f, 0xc0}, 2, 0, 0, true},  {{0x0f, 0xc1}, 2, 0, 0, true},  {{0x0f, 0xc7}, 2, 1, 0, true},
    /* Loads, compares, and what only writes. */
    {{0x02}, 1, 0, 0, false},       {{0x03}, 1, 0, 0, false},       {{0x0b}, 1, 0, 0, false},
    {{0x23}, 1, 0, 0, false},       {{0x2b}, 1, 0, 0, false},       {{0x33}, 1, 0, 0, false},
    {{0x38}, 1, 0, 0, false},       {{0x39}, 1, 0, 0, false},       {{0x3a}, 1, 0, 0, false},
    {{0x3b}, 1, 0, 0, false},       {{0x80}, 1, 7, 1, false},       {{0x81}, 1, 7, 4, false},
    {{0x83}, 1, 7, 1, false},       {{0x84}, 1, 0, 0, false},       {{0x85}, 1, 0, 0, false},
    {{0xf6}, 1, 0, 1, false},       {{0xf6}, 1, 4, 0, false},       {{0xf7}, 1, 5, 0, false},
    {{0xf7}, 1, 6, 0, false},       {{0xff}, 1, 2, 0, false},       {{0xff}, 1, 4, 0, false},
    {{0xff}, 1, 6, 0, false},       {{0x88}, 1, 0, 0, false},       {{0x89}, 1, 0, 0, false},
    {{0x8a}, 1, 0, 0, false},       {{0x8b}, 1, 0, 0, false},       {{0xc6}, 1, 0, 1, false},
    {{0xd1}, 1, 0, 0, false},       {{0xc1}, 1, 4, 1, false},       {{0x8d}, 1, 0, 0, false},
    {{0x8f}, 1, 0, 0, false},       {{0x63}, 1, 0, 0, false},       {{0x69}, 1, 0, 4, false},
    {{0x0f, 0xa3}, 2, 0, 0, false}, {{0x0f, 0xba}, 2, 4, 1, false}, {{0x0f, 0xa4}, 2, 0, 1, false},
    {{0x0f, 0xaf}, 2, 0, 0, false}, {{0x0f, 0xb6}, 2, 0, 0, false}, {{0x0f, 0xbc}, 2, 0, 0, false},
    {{0x0f, 0x1f}, 2, 0, 0, false}, {{0x0f, 0x10}, 2, 0, 0, false}, {{0x0f, 0x58}, 2, 0, 0, false},
    {{0x0f, 0xae}, 2, 0, 0, false}, {{0x0f, 0x40}, 2, 0, 0, false}, {{0x0f, 0x90}, 2, 0, 0, false},
    {{0xd9}, 1, 0, 0, false},       {{0xdd}, 1, 2, 0, false},
};

static u64 lock_target[8] __attribute__((aligned(64)));

static void one_lock(const struct lockable *l, bool memory)
{
    static u8 code[32];
    u8 *p = code;
    memset(lock_target, 0, sizeof lock_target);
    *p++ = 0xf0;
    memcpy(p, l->bytes, l->n);
    p += l->n;
    *p++ = (u8)((memory ? 0x07 : 0xc3) | l->reg << 3); /* (%rdi) or %ebx */
    for (unsigned i = 0; i < l->imm; i++)
        *p++ = 0;
    memcpy(p, "\xcd\x80", 2);
    struct regs r = kernel_at(code);
    r.rdi = (u64)lock_target;
    r.rax = r.rcx = 1;
    enter(&r);
    bool fine = l->may && memory;
    bool good = fine ? r.vector == STOP && r.rip == (u64)p + 2 : r.vector == UD && r.rip == (u64)code;
    if (!check_quiet("LOCK", good))
        say(": %x %x /%x %s: vector %x\n", l->bytes[0], l->bytes[1], l->reg,
            memory ? "memory" : "register", (u32)r.vector);
}

void test_main(void)
{
    __asm__ volatile("fninit");
    pairs();
    priorities();
    for (unsigned i = 0; i < ARRAY_SIZE(locks); i++) {
        if (under_tcg() && !locks[i].may) /* TCG aborts on some */
            continue;
        one_lock(&locks[i], true);
        if (!under_tcg())
            one_lock(&locks[i], false);
    }
}

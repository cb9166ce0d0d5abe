/* Precise state at faults: flags after every kind of instruction that sets them, registers of
 * instructions that fail half-way, repeated strings that stop in the middle, atomics across pages,
 * and read-modify-write of MMIO.
 *
 * SDM vol. 3A 6.5 (faults restart), vol. 2 REP (state of an interrupted repeat), vol. 3A 8.1.
 */
#include "tests/guest/lib/long.h"

#define AREA 0x8000000000ull /* mapped: the first page */
#define HOLE (AREA + 0x1000)

/* ---- flags ---- */

/* op; a load that faults; something that kills all flags, so that engines think them dead. */
#define FLAG_CASE(n, op)                                                                      \
    CODE(flag_fault_##n, op "\n mov (%r15), %r14\n add %r13, %r13\n sub %r13, %r13");         \
    CODE(flag_store_##n, op "\n mov %r14, (%r15)\n add %r13, %r13\n sub %r13, %r13");         \
    CODE(flag_push_##n, op "\n pushfq\n pop %r14\n add %r13, %r13");

#define FLAG_CASES(X)                                                                         \
    X(0, "add %ecx, %eax") X(1, "add %cl, %al") X(2, "sub %rcx, %rax") X(3, "cmp %cx, %ax")   \
    X(4, "and %rcx, %rax") X(5, "or %ecx, %eax") X(6, "xor %ecx, %ecx") X(7, "test %al, %al") \
    X(8, "inc %eax") X(9, "dec %rcx") X(10, "neg %eax") X(11, "adc %ecx, %eax")               \
    X(12, "sbb %rcx, %rax") X(13, "shl $3, %eax") X(14, "shr $1, %rax") X(15, "sar $5, %ax")  \
    X(16, "rol $1, %eax") X(17, "ror $1, %ecx") X(18, "rcl $1, %eax") X(19, "rcr $1, %al")    \
    X(20, "bt %ecx, %eax") X(21, "bts $5, %rax") X(22, "btc %cx, %ax") X(23, "clc")           \
    X(24, "stc") X(25, "cmc") X(26, "std") X(27, "sahf") X(28, "mul %ecx")                    \
    X(29, "imul %rcx, %rax") X(30, "shld $4, %ecx, %eax") X(31, "shrd %cl, %rcx, %rax")       \
    X(32, "bsf %ecx, %eax") X(33, "bsr %rcx, %rdx") X(34, "popcnt %ecx, %eax")                \
    X(35, "cmpxchg %ecx, %edx") X(36, "xadd %ecx, %eax") X(37, "shl %cl, %eax")               \
    X(38, "sar %cl, %rax") X(39, "comisd %xmm1, %xmm0") X(40, "ucomiss %xmm0, %xmm1")         \
    X(41, "cmp %ecx, %eax\n setb %bl\n inc %eax") X(42, "add %ecx, %eax\n cmovc %ecx, %edx")  \
    X(43, "add %ecx, %eax\n jc 1f\n inc %eax\n1:") X(44, "sub %ecx, %eax\n lea 1(%rax), %rax") \
    X(45, "imul $100, %eax, %eax") X(46, "xor %eax, %eax\n not %eax") X(47, "ptest %xmm0, %xmm1") \
    X(48, "add %ecx, %eax\n rol $1, %edx") X(49, "sub %ecx, %eax\n inc %edx")                 \
    X(50, "cmpsb") X(51, "scasl") X(52, "repe cmpsb") X(53, "fucomip %st(1), %st")

FLAG_CASES(FLAG_CASE)

struct flag_case {
    const char *name;
    u8 *fault, *fault_end, *store, *store_end, *push;
};
#define FLAG_ROW(n, op) \
    {op, flag_fault_##n, flag_fault_##n##_end, flag_store_##n, flag_store_##n##_end, flag_push_##n},
static const struct flag_case flag_cases[] = {FLAG_CASES(FLAG_ROW)};

static const u64 values[][2] = {
    {0, 0}, {1, 1}, {0x7fffffff, 1}, {0x80000000, 0xffffffff}, {0xff, 0x01}, {0xf0, 0x10},
    {0x8000000000000000, 0x8000000000000000}, {0x123456789abcdef0, 0xfedcba9876543210},
    {0xffffffffffffffff, 2}, {0x7f, 0x80},
};

static struct regs flag_start(const void *code, u64 a, u64 c, u64 flags)
{
    static u8 bytes[32];
    struct regs r = kernel_at(code);
    r.rax = a;
    r.rcx = c;
    r.rdx = a ^ 0x55;
    r.rsi = (u64)bytes;
    r.rdi = (u64)bytes + 8;
    r.r15 = HOLE + 0x10;
    r.flags |= flags;
    __asm__ volatile("fninit\n fldz\n fld1");
    return r;
}

static void flags_at_faults(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(flag_cases); i++) {
        const struct flag_case *c = &flag_cases[i];
        for (unsigned k = 0; k < ARRAY_SIZE(values) * 2; k++) {
            u64 a = values[k / 2][0], b = values[k / 2][1], start = k & 1 ? FL_ARITH : 0;
            struct regs want = flag_start(c->push, a, b & (i == 52 ? 7 : ~0ull), start);
            enter(&want);
            struct regs r = flag_start(c->fault, a, b & (i == 52 ? 7 : ~0ull), start);
            enter(&r);
            check_eq("faulted", r.vector, PF);
            check_eq(c->name, r.flags & ~(u64)FL_RF, want.r14);
            check_eq("RIP", r.rip, (u64)c->fault_end - 9);
            check("registers", r.rax == want.rax && r.rcx == want.rcx && r.rdx == want.rdx &&
                                   r.rbx == want.rbx && r.r13 == 0);
            r = flag_start(c->store, a, b & (i == 52 ? 7 : ~0ull), start);
            enter(&r);
            check_eq(c->name, r.flags & ~(u64)FL_RF, want.r14);
            check_eq("RIP of the store", r.rip, (u64)c->store_end - 9);
        }
    }
}

/* Known answers (SDM vol. 1 appendix A), so that the comparison above does not compare two wrongs. */
CODE(known_add, "add %ecx, %eax\n mov (%r15), %r14");
CODE(known_sub, "sub %ecx, %eax\n mov (%r15), %r14");
CODE(known_inc, "inc %eax\n mov (%r15), %r14");
CODE(known_shl, "shl $1, %eax\n mov (%r15), %r14");
CODE(known_neg, "neg %eax\n mov (%r15), %r14");

static void known_flags(void)
{
    struct {
        const char *name;
        u8 *code;
        u32 a, c, start, want;
    } cases[] = {
        {"ADD carry and zero", known_add, 0xffffffff, 1, 0, FL_CF | FL_ZF | FL_AF | FL_PF},
        {"ADD overflow", known_add, 0x7fffffff, 1, 0, FL_OF | FL_SF | FL_AF | FL_PF},
        {"ADD nothing", known_add, 1, 1, FL_ARITH, 0},
        {"SUB borrow", known_sub, 0, 1, 0, FL_CF | FL_SF | FL_AF | FL_PF},
        {"SUB overflow", known_sub, 0x80000000, 1, 0, FL_OF | FL_AF | FL_PF},
        {"INC keeps CF", known_inc, 0xffffffff, 0, FL_CF, FL_CF | FL_ZF | FL_AF | FL_PF},
        {"INC keeps no CF", known_inc, 0x7fffffff, 0, 0, FL_OF | FL_SF | FL_AF | FL_PF},
        {"SHL", known_shl, 0xc0000000, 0, 0, FL_CF | FL_SF | FL_PF},
        {"NEG of 0", known_neg, 0, 0, FL_CF, FL_ZF | FL_PF},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct regs r = flag_start(cases[i].code, cases[i].a, cases[i].c, cases[i].start);
        enter(&r);
        u64 defined = cases[i].code == known_shl ? ~(u64)FL_AF : ~0ull;
        check_eq(cases[i].name, r.flags & FL_ARITH & defined, cases[i].want);
    }
}

/* An instruction that sets flags and faults leaves those from before. */
CODE(keep_add, "addl %eax, (%r15)");
CODE(keep_adc, "adc (%r15), %eax");
CODE(keep_inc, "incb (%r15)");
CODE(keep_shl, "shll $3, (%r15)");
CODE(keep_rol, "rolq %cl, (%r15)");
CODE(keep_neg, "lock negl (%r15)");
CODE(keep_xadd, "lock xadd %eax, (%r15)");
CODE(keep_cmpxchg, "lock cmpxchg %ecx, (%r15)");
CODE(keep_cmpxchg16, "lock cmpxchg16b (%r15)");
CODE(keep_bts, "btsl %ecx, (%r15)");
CODE(keep_imul, "imul (%r15), %rax");
CODE(keep_mul, "mulq (%r15)");
CODE(keep_div, "divq (%r15)");
CODE(keep_shld, "shld $3, %eax, (%r15)");
CODE(keep_bsf, "bsf (%r15), %rax");
CODE(keep_comisd, "comisd (%r15), %xmm0");
CODE(keep_pop, "popq (%r15)");
CODE(keep_push, "pushq (%r15)");
CODE(keep_call, "call *(%r15)");
CODE(keep_xchg, "xchg %rax, (%r15)");
CODE(keep_movs, "movsq");
CODE(keep_movbe, "movbe %rax, (%r15)");
CODE(keep_setc, "setc (%r15)");
CODE(keep_cmov, "cmovc (%r15), %eax");
CODE(keep_sgdt, "sgdt (%r15)");
CODE(keep_fstp, "fstpt (%r15)");
CODE(keep_movaps, "movaps %xmm0, (%r15)");

static void kept(void)
{
    struct {
        const char *name;
        u8 *code;
        bool write;
    } cases[] = {
        {"ADD m", keep_add, true}, {"ADC r, m", keep_adc, false}, {"INC m", keep_inc, true},
        {"SHL m", keep_shl, true}, {"ROL m", keep_rol, true}, {"LOCK NEG m", keep_neg, true},
        {"XADD m", keep_xadd, true}, {"CMPXCHG m", keep_cmpxchg, true},
        {"CMPXCHG16B m", keep_cmpxchg16, true}, {"BTS m", keep_bts, true},
        {"IMUL m", keep_imul, false}, {"MUL m", keep_mul, false}, {"DIV m", keep_div, false},
        {"SHLD m", keep_shld, true}, {"BSF m", keep_bsf, false}, {"COMISD m", keep_comisd, false},
        {"POP m", keep_pop, true}, {"PUSH m", keep_push, false}, {"CALL m", keep_call, false},
        {"XCHG m", keep_xchg, true}, {"MOVS", keep_movs, true}, {"MOVBE", keep_movbe, true},
        {"SETC m", keep_setc, true}, {"CMOVC, false", keep_cmov, false}, {"SGDT", keep_sgdt, true},
        {"FSTP m", keep_fstp, true}, {"MOVAPS m", keep_movaps, true},
    };
    static u64 source = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned k = 0; k < 2; k++) {
            struct regs r = flag_start(cases[i].code, 0x1111, 2, k ? FL_ARITH & ~FL_CF : 0);
            r.r15 = HOLE;
            r.rsi = (u64)&source;
            r.rdi = HOLE;
            struct regs before = r;
            enter(&r);
            expect_pf(cases[i].name, &r, cases[i].write ? 2 : 0, cases[i].code, HOLE);
            check_eq(cases[i].name, r.flags & ~(u64)FL_RF, before.flags);
            check("registers kept", !memcmp(&r, &before, 128));
        }
    }
    u16 sw;
    __asm__ volatile("fnstsw %0" : "=m"(sw));
    check_eq("x87 stack kept", sw >> 11 & 7, 6);
}

/* ---- multi-part instructions ---- */

CODE(enter_, "enter $16, $3");
CODE(leave_, "leave");
CODE(movs_fault, "rep movsb");
CODE(movsq_fault, "rep movsq");
CODE(movs_down, "std\n rep movsl");
CODE(stos_fault, "rep stosl");
CODE(lods_fault, "rep lodsb");
CODE(cmps_fault, "repe cmpsb");
CODE(scas_fault, "repne scasw");
CODE(xsave_like, "fxsave64 (%r15)");
CODE(add_chain, "add $1, %rax\n add $2, %rcx\n mov %rax, (%rdi)\n mov %rcx, 8(%rdi)\n"
                "add $4, %rax\n mov %rax, (%r15)\n add $8, %rax");

static void parts(u8 *page)
{
    struct regs r = kernel_at(add_chain);
    r.rdi = AREA;
    r.r15 = HOLE;
    memset(page, 0, 4096);
    enter(&r);
    check("a chain of stores, the last faults", r.vector == PF && r.rax == 5 && r.rcx == 2 &&
                                                    page[0] == 1 && page[8] == 2);
    r = user_at(enter_);
    r.rsp = AREA + 0x10;
    r.rbp = AREA + 0x800;
    u64 bp = r.rbp, sp = r.rsp;
    *pt_entry(AREA, 1) |= PT_U;
    *pt_entry(AREA - 0x1000, 1) = 0;
    flush_all();
    enter(&r);
    check("ENTER faults as a whole", r.vector == PF && r.rsp == sp && r.rbp == bp);
    r = user_at(leave_);
    r.rbp = HOLE + 8;
    sp = r.rsp;
    enter(&r);
    check("LEAVE faults as a whole", r.vector == PF && r.rsp == sp && r.rbp == HOLE + 8);
    r = kernel_at(xsave_like);
    r.r15 = HOLE - 0x100;
    enter(&r);
    check("FXSAVE across", r.vector == PF && r.cr2 >= HOLE);
}

/* A repeat stops at the element that faults, with the registers moved up to it. */
static void strings(u8 *page)
{
    static u8 source[8192] __attribute__((aligned(4096)));
    struct regs r;
    for (unsigned i = 0; i < sizeof source; i++)
        source[i] = (u8)(i * 7 + 1);
    memset(page, 0, 4096);
    r = kernel_at(movs_fault);
    r.rsi = (u64)source + 5;
    r.rdi = HOLE - 100;
    r.rcx = 1000;
    enter(&r);
    expect_pf("REP MOVSB, store", &r, 2, movs_fault, HOLE);
    check("its registers", r.rcx == 900 && r.rdi == HOLE && r.rsi == (u64)source + 105);
    check("what it copied", !memcmp(page + 4096 - 100, source + 5, 100));
    r = kernel_at(movs_fault);
    r.rsi = HOLE - 50;
    r.rdi = (u64)source;
    r.rcx = 51;
    enter(&r);
    expect_pf("REP MOVSB, load", &r, 0, movs_fault, HOLE);
    check("its registers, load", r.rcx == 1 && r.rsi == HOLE && r.rdi == (u64)source + 50);
    /* Elements that straddle the border: nothing of them is stored. */
    memset(page, 0, 4096);
    r = kernel_at(movsq_fault);
    r.rsi = (u64)source + 64;
    r.rdi = HOLE - 20;
    r.rcx = 10;
    enter(&r);
    expect_pf("REP MOVSQ across", &r, 2, movsq_fault, HOLE);
    check("its registers, across", r.rcx == 8 && r.rdi == HOLE - 4 && r.rsi == (u64)source + 80);
    check("no part of an element", !memcmp(page + 4096 - 20, source + 64, 16) &&
                                       page[4092] == 0 && page[4095] == 0);
    /* Downwards, into the hole below. */
    r = kernel_at(movs_down);
    r.rsi = (u64)source + 4000;
    r.rdi = AREA + 40;
    r.rcx = 100;
    enter(&r);
    expect_pf("REP MOVSL down", &r, 2, movs_down + 1, AREA - 4);
    check("its registers, down", r.rcx == 89 && r.rdi == AREA - 4 && r.rsi == (u64)source + 3956);
    r = kernel_at(stos_fault);
    r.rdi = HOLE - 12;
    r.rcx = 7;
    r.rax = 0xdeadbeef;
    enter(&r);
    expect_pf("REP STOSL", &r, 2, stos_fault, HOLE);
    check("its registers, STOS", r.rcx == 4 && r.rdi == HOLE);
    r = kernel_at(lods_fault);
    r.rsi = HOLE - 3;
    r.rcx = 9;
    enter(&r);
    check("REP LODSB", r.vector == PF && r.rcx == 6 && r.rsi == HOLE && (r.rax & 0xff) == 0xde);
    memset(page, 5, 4096);
    memset(source, 5, 4096);
    r = kernel_at(cmps_fault);
    r.rsi = (u64)source;
    r.rdi = HOLE - 30;
    r.rcx = 100;
    r.flags |= FL_CF;
    enter(&r);
    expect_pf("REPE CMPSB", &r, 0, cmps_fault, HOLE);
    check("its registers, CMPS", r.rcx == 70 && r.rdi == HOLE && r.rsi == (u64)source + 30);
    r = kernel_at(scas_fault);
    r.rdi = HOLE - 8;
    r.rcx = 100;
    r.rax = 0x1234;
    enter(&r);
    expect_pf("REPNE SCASW", &r, 0, scas_fault, HOLE);
    check("its registers, SCAS", r.rcx == 96 && r.rdi == HOLE);
    /* Resumed after the page came: the whole is done. */
    u8 *second = page_alloc(4096);
    r = kernel_at(movs_fault);
    for (unsigned i = 0; i < 4096; i++)
        source[i] = (u8)(i * 3);
    r.rsi = (u64)source;
    r.rdi = HOLE - 600;
    r.rcx = 2000;
    enter(&r);
    check("stopped", r.vector == PF && r.rcx == 1400);
    pt_map(HOLE, 1, (u64)second | PT_P | PT_W);
    r.flags &= ~(u64)FL_RF;
    enter(&r);
    expect("resumed", &r, STOP, 0, movs_fault_end + 2);
    check("all of it", r.rcx == 0 && !memcmp((void *)(HOLE - 600), source, 2000));
    pt_map(HOLE, 1, 0);
    /* A count of 0 touches nothing. */
    r = kernel_at(movs_fault);
    r.rsi = r.rdi = HOLE;
    enter(&r);
    expect("count 0", &r, STOP, 0, movs_fault_end + 2);
    /* Overlap by one: bytes move one at a time. */
    memset(page, 0, 256);
    page[0] = 0xaa;
    r = kernel_at(movs_fault);
    r.rsi = AREA;
    r.rdi = AREA + 1;
    r.rcx = 200;
    enter(&r);
    check("overlapping REP MOVSB", page[200] == 0xaa && page[201] == 0 && page[100] == 0xaa);
}

/* ---- atomics that are not aligned, within and across pages (vol. 3A 8.1.2) ---- */

static void atomics(u8 *page)
{
    u8 *second = page_alloc(4096);
    pt_map(HOLE, 1, (u64)second | PT_P | PT_W);
    for (u64 at = HOLE - 9; at <= HOLE + 1; at++) {
        u64 old = 0x1122334455667788, v;
        memcpy((void *)at, &old, 8);
        v = 0x0101010101010101;
        __asm__ volatile("lock xadd %0, (%1)" : "+r"(v) : "r"(at) : "memory");
        check_eq("XADD returns", v, old);
        memcpy(&v, (void *)at, 8);
        check_eq("XADD adds", v, 0x1223344556677889);
        v = 5;
        __asm__ volatile("xchg %0, (%1)" : "+r"(v) : "r"(at) : "memory");
        check_eq("XCHG", v, 0x1223344556677889);
        u8 equal;
        v = 5;
        __asm__ volatile("lock cmpxchg %3, (%2)\n sete %1"
                         : "+a"(v), "=q"(equal) : "r"(at), "r"(9ull) : "memory");
        check("CMPXCHG equal", equal && v == 5);
        __asm__ volatile("lock cmpxchg %3, (%2)\n sete %1"
                         : "+a"(v), "=q"(equal) : "r"(at), "r"(11ull) : "memory");
        check("CMPXCHG not equal", !equal && v == 9);
        __asm__ volatile("lock incl (%0)\n lock orw $0x100, (%0)\n lock notb 7(%0)\n"
                         "lock btsl $20, (%0)\n lock negl (%0)" : : "r"(at) : "memory");
        memcpy(&v, (void *)at, 8);
        check_eq("INC OR NOT BTS NEG", v, 0xff00000000000000 | (u32)-(9 + 1 + 0x100 + 0x100000));
    }
    static u64 pair[4] __attribute__((aligned(16))) = {1, 2, 3, 4};
    u64 a = 1, d = 2;
    u8 equal;
    __asm__ volatile("lock cmpxchg16b %2\n sete %3"
                     : "+a"(a), "+d"(d), "+m"(pair), "=q"(equal) : "b"(7ull), "c"(8ull));
    check("CMPXCHG16B", equal && pair[0] == 7 && pair[1] == 8);
    __asm__ volatile("lock cmpxchg16b %2\n sete %3"
                     : "+a"(a), "+d"(d), "+m"(pair), "=q"(equal) : "b"(9ull), "c"(9ull));
    check("CMPXCHG16B not equal", !equal && a == 7 && d == 8 && pair[0] == 7);
    pt_map(HOLE, 1, 0);
    (void)page;
}

/* ---- MMIO: the local APIC's registers, 32 bits wide (vol. 3A 10.4.1) ---- */

static void mmio(void)
{
    volatile u32 *tpr = (volatile u32 *)0xfee00080, *icr_high = (volatile u32 *)0xfee00310;
    *tpr = 0;
    *icr_high = 0;
    __asm__ volatile("addl $0x10, %0" : "+m"(*tpr));
    check_eq("ADD to MMIO", *tpr, 0x10);
    __asm__ volatile("orl $0x80, %0" : "+m"(*tpr));
    check_eq("OR to MMIO", *tpr, 0x90);
    __asm__ volatile("lock andl $0x80, %0" : "+m"(*tpr));
    check_eq("LOCK AND to MMIO", *tpr, 0x80);
    u32 v = 0x20;
    __asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(*tpr));
    check("XCHG with MMIO", v == 0x80 && *tpr == 0x20);
    v = 0x30;
    u32 old = 0x20;
    __asm__ volatile("lock cmpxchg %2, %1" : "+a"(old), "+m"(*tpr) : "r"(v) : "cc");
    check_eq("CMPXCHG with MMIO", *tpr, 0x30);
    v = 0x10;
    __asm__ volatile("lock xadd %0, %1" : "+r"(v), "+m"(*tpr));
    check("XADD with MMIO", v == 0x30 && *tpr == 0x40);
    __asm__ volatile("shll $1, %0\n incl %0\n decl %0\n notl %0\n notl %0" : "+m"(*tpr) : : "cc");
    check_eq("SHL, INC, DEC, NOT to MMIO", *tpr, 0x80);
    __asm__ volatile("btsl $4, %0" : "+m"(*tpr) : : "cc");
    check_eq("BTS to MMIO", *tpr, 0x90);
    *tpr = 0;
    *icr_high = 0x5a000000;
    check_eq("MMIO load", *icr_high, 0x5a000000);
    u32 count = 1;
    const volatile u32 *from = icr_high;
    u32 into = 0, *to = &into;
    __asm__ volatile("rep movsl" : "+c"(count), "+S"(from), "+D"(to) : : "memory");
    check_eq("REP MOVS from MMIO", into, 0x5a000000);
    *icr_high = 0;
}

void test_main(void)
{
    u8 *page = page_alloc(4096);
    pt_map(AREA, 1, (u64)page | PT_P | PT_W);
    pt_map(HOLE, 1, 0);
    flags_at_faults();
    known_flags();
    kept();
    parts(page);
    strings(page);
    atomics(page);
    mmio();
}

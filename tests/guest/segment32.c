/* Segmentation in protected mode, 16 and 32 bits: limits, loads, gates, stacks, tasks, V86.
 *
 * SDM vol. 3A chapters 3, 5, 7 and vol. 3B chapter 20; pseudo-code of the instructions in vol. 2.
 */
#include "tests/guest/lib/legacy.h"

#define T1 (SEL_FREE + 0)
#define T2 (SEL_FREE + 8)
#define T3 (SEL_FREE + 16)
#define T4 (SEL_FREE + 24)
#define ENDED(code) (code##_end + 2)

/* Access bytes (3.4.5.1). */
enum {
    DATA_RO = 0x91, DATA_RW = 0x93, DOWN_RW = 0x97, CODE_X = 0x99, CODE_RX = 0x9b, CONF_RX = 0x9f,
    RING3 = 0x60,
};
enum { BIG = 0xc, SMALL = 0x4, SIXTEEN = 0x0 };

static u8 area[8192] __attribute__((aligned(4096)));

/* ---- limits (5.3): every width, both rings, through DS, ES, FS, GS and SS ---- */

CODE(ld1, "mov %fs:(%ebx), %al");
CODE(ld2, "mov %fs:(%ebx), %ax");
CODE(ld4, "mov %fs:(%ebx), %eax");
CODE(st1, "mov %al, %fs:(%ebx)");
CODE(st4, "mov %eax, %fs:(%ebx)");
CODE(ss4, "mov %ss:(%ebx), %eax");
CODE(ss_store, "mov %eax, %ss:(%ebx)");
CODE(ds4, "mov (%ebx), %eax");
CODE(es_stos, "stosl");
CODE(rep_movs, "rep movsb");
CODE(fld10, "fldt %fs:(%ebx)");
CODE(cs_load, "mov %cs:(%ebx), %eax");
CODE(cs_flush, "clflush %cs:(%ebx)");
CODE(cs_store, "mov %eax, %cs:(%ebx)");

struct limit_case {
    const char *name;
    u8 *code;
    u32 base_limit, access, flags, offset;
    unsigned vector;
};

static const struct limit_case limit_cases[] = {
    {"byte at the limit", ld1, 0x0ff, DATA_RW, SMALL, 0xff, STOP},
    {"byte beyond it", ld1, 0x0ff, DATA_RW, SMALL, 0x100, GP},
    {"word that ends at it", ld2, 0x0ff, DATA_RW, SMALL, 0xfe, STOP},
    {"word across it", ld2, 0x0ff, DATA_RW, SMALL, 0xff, GP},
    {"dword that ends at it", ld4, 0x0ff, DATA_RW, SMALL, 0xfc, STOP},
    {"dword across it", ld4, 0x0ff, DATA_RW, SMALL, 0xfd, GP},
    {"store at it", st4, 0x0ff, DATA_RW, SMALL, 0xfc, STOP},
    {"store across it", st4, 0x0ff, DATA_RW, SMALL, 0xfe, GP},
    {"offset that wraps", ld4, 0x0ff, DATA_RW, SMALL, 0xfffffffe, GP},
    {"ten bytes that end at it", fld10, 0x0ff, DATA_RW, SMALL, 0xf6, STOP},
    {"ten bytes across it", fld10, 0x0ff, DATA_RW, SMALL, 0xf7, GP},
    {"limit 0, first byte", ld1, 0, DATA_RW, SMALL, 0, STOP},
    {"limit 0, second byte", ld1, 0, DATA_RW, SMALL, 1, GP},
    {"pages: last byte", ld1, 0, DATA_RW, BIG, 0xfff, STOP},
    {"pages: beyond", ld1, 0, DATA_RW, BIG, 0x1000, GP},
    {"read-only: load", ld4, 0xff, DATA_RO, SMALL, 0, STOP},
    {"read-only: store", st4, 0xff, DATA_RO, SMALL, 0, GP},
    {"readable code: load", ld4, 0xff, CODE_RX, SMALL, 0, STOP},
    {"readable code: store", st1, 0xff, CODE_RX, SMALL, 0, GP},
    {"conforming code: load", ld4, 0xff, CONF_RX, SMALL, 0, STOP},
    {"down: at the limit", ld1, 0x0ff, DOWN_RW, SMALL, 0xff, GP},
    {"down: above it", ld1, 0x0ff, DOWN_RW, SMALL, 0x100, STOP},
    {"down: dword above it", ld4, 0x0ff, DOWN_RW, SMALL, 0x100, STOP},
    {"down: dword across it", st4, 0x0ff, DOWN_RW, SMALL, 0xfd, GP},
    {"down, 16 bits: last byte", ld1, 0x0ff, DOWN_RW, SIXTEEN, 0xffff, STOP},
    {"down, 16 bits: beyond", ld1, 0x0ff, DOWN_RW, SIXTEEN, 0x10000, GP},
    {"down, 16 bits: word across the end", ld2, 0x0ff, DOWN_RW, SIXTEEN, 0xffff, GP},
    {"down, pages", ld1, 0, DOWN_RW, BIG, 0xfff, GP},
    {"down, pages, above", ld1, 0, DOWN_RW, BIG, 0x1000, STOP},
};

static void limits(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(limit_cases); i++) {
        const struct limit_case *c = &limit_cases[i];
        for (unsigned ring = 0; ring < 2; ring++) {
            set_descriptor(T1, descriptor((u32)area & ~0xfffu, c->base_limit,
                                          c->access | (ring ? RING3 : 0), c->flags));
            struct regs r = ring ? user_at(c->code) : kernel_at(c->code);
            r.fs = T1 | (ring ? 3 : 0);
            r.ebx = c->offset;
            r.eax = 0x12345678;
            memset(area, 0x5a, 16);
            enter(&r);
            bool good = r.vector == c->vector && r.error == 0;
            if (!check_quiet(c->name, good))
                say(": vector %x error %x\n", r.vector, r.error);
            check("EIP", r.vector == STOP || r.eip == (u32)c->code);
        }
    }
}

static void stacks(void)
{
    struct regs r;
    /* #SS(0) for the stack segment; only ring 3 can have an odd one here. */
    set_descriptor(T1, descriptor((u32)area, 0xfff, DATA_RW | RING3, SMALL));
    r = user_at(ss4);
    r.ss = T1 | 3;
    r.esp = 0x800;
    r.ebx = 0x1000;
    enter(&r);
    expect("#SS beyond the limit", &r, SS, 0, ss4);
    r = user_at(ss_store);
    r.ss = T1 | 3;
    r.esp = 0x800;
    r.ebx = 0xffe;
    enter(&r);
    expect("#SS store across the limit", &r, SS, 0, ss_store);
    r = user_at(ds4);
    r.ds = 0;
    enter(&r);
    expect("null DS", &r, GP, 0, ds4);
    r = user_at(es_stos);
    r.es = 3;
    r.edi = (u32)area;
    enter(&r);
    expect("null ES, STOS", &r, GP, 0, es_stos);
    r = user_at(cs_store);
    r.ebx = (u32)area;
    enter(&r);
    expect("store through CS", &r, GP, 0, cs_store);
    set_descriptor(T2, descriptor(0, 0xfffff, CODE_X | RING3, BIG));
    r = user_at(cs_load);
    r.cs = T2 | 3;
    r.ebx = (u32)area;
    enter(&r);
    expect("load from execute-only code", &r, GP, 0, cs_load);
    r = user_at(cs_flush);
    r.cs = T2 | 3;
    r.ebx = (u32)area;
    enter(&r);
    expect("CLFLUSH of execute-only code", &r, STOP, 0, cs_flush_end + 2);
    /* A repeat that meets the limit in the middle. */
    set_descriptor(T1, descriptor((u32)area, 99, DATA_RW | RING3, SMALL));
    r = user_at(rep_movs);
    r.es = T1 | 3;
    r.esi = (u32)gdt;
    r.edi = 80;
    r.ecx = 50;
    enter(&r);
    expect("REP MOVS to the limit", &r, GP, 0, rep_movs);
    check("its registers", r.ecx == 30 && r.edi == 100 && r.esi == (u32)gdt + 20);
}

/* ---- loads of segment registers (vol. 2A MOV) ---- */

CODE(mov_ds, "mov %eax, %ds");
CODE(mov_ss, "mov %eax, %ss");
CODE(pop_es, "push %eax\n pop %es");
CODE(lfs_, "lfs (%ebx), %ecx");

static void load(const char *name, u8 *code, bool ring3, u32 sel, unsigned vector, u32 error)
{
    struct regs r = ring3 ? user_at(code) : kernel_at(code);
    r.eax = sel;
    enter(&r);
    if (vector == STOP)
        check_eq(name, r.vector, STOP);
    else
        expect(name, &r, vector, error, code);
}

static void loads(void)
{
    set_descriptor(T1, descriptor(0, 0xfffff, DATA_RW, BIG));
    set_descriptor(T2, descriptor(0, 0xfffff, DATA_RW & 0x7f, BIG));
    set_descriptor(T3, descriptor(0, 0xfffff, CODE_X, BIG));
    set_descriptor(T4, descriptor(0, 0xfffff, CONF_RX, BIG));
    load("DS null", mov_ds, false, 0, STOP, 0);
    load("DS null, RPL 3", mov_ds, false, 3, STOP, 0);
    load("DS beyond the GDT", mov_ds, false, 0x3f8 | 1, GP, 0x3f8);
    load("DS without LDT", mov_ds, false, 0x0c, GP, 0x0c);
    load("DS not present", mov_ds, false, T2, NP, T2);
    load("DS execute-only", mov_ds, false, T3, GP, T3);
    load("DS a TSS", mov_ds, false, SEL_TSS, GP, SEL_TSS);
    load("DS of ring 0 from ring 3", mov_ds, true, T1, GP, T1);
    load("DS of ring 0, RPL 3", mov_ds, false, T1 | 3, GP, T1);
    load("DS conforming from ring 3", mov_ds, true, T4 | 3, STOP, 0);
    load("DS of ring 3 in ring 0", mov_ds, false, SEL_USER_DATA, STOP, 0);
    load("SS null", mov_ss, false, 0, GP, 0);
    load("SS not present", mov_ss, false, T2, SS, T2);
    load("SS code", mov_ss, false, SEL_CODE, GP, SEL_CODE);
    load("SS RPL", mov_ss, false, SEL_DATA | 3, GP, SEL_DATA);
    load("SS DPL", mov_ss, false, SEL_USER_DATA & ~3u, GP, SEL_USER_DATA & ~3u);
    set_descriptor(T3, descriptor(0, 0xfffff, DATA_RO, BIG));
    load("SS read-only", mov_ss, false, T3, GP, T3);
    /* Accessed (3.4.5.1). */
    set_descriptor(T3, descriptor(0, 0xfffff, DATA_RW & ~1, BIG));
    load("DS not accessed", mov_ds, false, T3, STOP, 0);
    check_eq("accessed is set", gdt[T3 / 8] >> 40 & 1, 1);
    struct regs r = kernel_at(pop_es);
    r.eax = T2;
    u32 sp = r.esp;
    enter(&r);
    expect("POP ES not present", &r, NP, T2, pop_es + 1);
    check_eq("its ESP", r.esp, sp - 4);
    struct {
        u32 offset;
        u16 sel;
    } far = {0x1234, T2};
    r = kernel_at(lfs_);
    r.ebx = (u32)&far;
    r.ecx = 7;
    enter(&r);
    expect("LFS not present", &r, NP, T2, lfs_);
    check("its registers", r.ecx == 7 && r.fs == SEL_DATA);
    far.sel = SEL_DATA;
    r = kernel_at(lfs_);
    r.ebx = (u32)&far;
    enter(&r);
    check("LFS", r.vector == STOP && r.ecx == 0x1234);
}

static void ldt(void)
{
    static u64 table[4];
    table[1] = descriptor((u32)area, 0xff, DATA_RW, SMALL);
    set_descriptor(T1, descriptor((u32)table, sizeof table - 1, 0x82, 0));
    __asm__ volatile("lldt %w0" : : "r"(T1));
    struct regs r = kernel_at(ld4);
    r.fs = 0x0c;
    r.ebx = 4;
    *(u32 *)(area + 4) = 0xfeed;
    enter(&r);
    check("through the LDT", r.vector == STOP && r.eax == 0xfeed);
    load("beyond the LDT", mov_ds, false, 0x24, GP, 0x24);
    load("not present in the LDT", mov_ds, false, 0x14, GP, 0x14);
    __asm__ volatile("lldt %w0" : : "r"(0));
    load("LDT gone", mov_ds, false, 0x0c, GP, 0x0c);
}

/* ---- LAR, LSL, VERR, VERW ---- */

static void inspect(void)
{
    u32 v;
    u8 ok;
#define LAR(sel) __asm__("xor %0, %0\n lar %2, %0\n setz %1" : "=&r"(v), "=q"(ok) : "r"(sel) : "cc")
#define LSL(sel) __asm__("xor %0, %0\n lsl %2, %0\n setz %1" : "=&r"(v), "=q"(ok) : "r"(sel) : "cc")
#define VERR(sel) __asm__("verr %w1\n setz %0" : "=q"(ok) : "r"(sel) : "cc")
#define VERW(sel) __asm__("verw %w1\n setz %0" : "=q"(ok) : "r"(sel) : "cc")
    LAR(SEL_CODE);
    check("LAR code", ok && (v & 0x00f0ff00) == 0x00c09b00);
    LAR(SEL_TSS);
    check("LAR TSS", ok && v == 0x00008b00);
    LAR(0);
    check("LAR null", !ok && v == 0);
    LAR(0x3f8 + 0x200);
    check("LAR beyond", !ok);
    LSL(SEL_DATA);
    check("LSL pages", ok && v == 0xffffffff);
    LSL(SEL_TSS);
    check("LSL TSS", ok && v == sizeof(struct tss32) - 1);
    set_descriptor(T1, descriptor(0, 0x123, 0x8c, 0)); /* a call gate */
    LSL(T1);
    check("LSL of a gate", !ok);
    LAR(T1);
    check("LAR of a gate", ok && (v & 0xff00) == 0x8c00);
    set_descriptor(T1, descriptor(0, 0x123, 0x8e, 0)); /* an interrupt gate */
    LAR(T1);
    check("LAR of an interrupt gate", !ok);
    VERR(SEL_DATA);
    check("VERR data", ok);
    VERW(SEL_CODE);
    check("VERW code", !ok);
    set_descriptor(T1, descriptor(0, 0xffff, CODE_X, 0));
    VERR(T1);
    check("VERR execute-only", !ok);
    set_descriptor(T1, descriptor(0, 0xffff, DATA_RO, 0));
    VERW(T1);
    check("VERW read-only", !ok);
    VERW(SEL_TSS);
    check("VERW TSS", !ok);
}

/* ---- far jumps, calls, returns, gates (5.8) ---- */

CODE(jmp_far, "ljmp *(%ebx)");
CODE(call_far, "lcall *(%ebx)");
CODE(land, "nop");
CODE(land_ret, "lret");
CODE(gate_target, "mov %esp, %eax\n mov %ss, %ecx\n mov %cs, %edx\n"
                  "mov (%esp), %ebp\n mov 8(%esp), %esi\n mov 12(%esp), %edi\n"
                  "mov 16(%esp), %ebx\n lret $8");
CODE(call_and_stop, "pushl $0x2222\n pushl $0x1111\n lcall *(%ebx)");
CODE(ret_far, "pushl %eax\n pushl %ebx\n lret");
CODE(ret_outer, "pushl %ecx\n pushl %edx\n pushl %eax\n pushl %ebx\n lret $0");

static struct {
    u32 offset;
    u16 sel;
} far;

static u64 call_gate(u32 sel, const void *target, u32 access, u32 count)
{
    u32 a = (u32)target;
    return (a & 0xffff) | (u64)sel << 16 | (u64)count << 32 | (u64)access << 40 |
           (u64)(a >> 16) << 48;
}

static void go(const char *name, u8 *code, bool ring3, u32 sel, const void *to, unsigned vector,
               u32 error)
{
    struct regs r = ring3 ? user_at(code) : kernel_at(code);
    far.offset = (u32)to;
    far.sel = (u16)sel;
    r.ebx = (u32)&far;
    enter(&r);
    if (vector == STOP)
        expect(name, &r, STOP, 0, (u8 *)to + 3); /* lands on NOP, INT 80 */
    else
        expect(name, &r, vector, error, code);
}

static void far_transfers(void)
{
    for (unsigned i = 0; i < 2; i++) {
        u8 *code = i ? call_far : jmp_far;
        go("far to code", code, false, SEL_CODE, land, STOP, 0);
        go("far to null", code, false, 0, land, GP, 0);
        go("far beyond the GDT", code, false, 0x7f8, land, GP, 0x7f8);
        go("far to data", code, false, SEL_DATA, land, GP, SEL_DATA);
        go("far to ring 3 code", code, false, SEL_USER, land, GP, SEL_USER & ~3u);
        go("far to ring 0 code", code, true, SEL_CODE, land, GP, SEL_CODE);
        set_descriptor(T1, descriptor(0, 0xfffff, CODE_RX & 0x7f, BIG));
        go("far to absent code", code, false, T1, land, NP, T1);
        set_descriptor(T1, descriptor(0, 0xfffff, CONF_RX, BIG));
        go("far to conforming code from ring 3", code, true, T1, land, STOP, 0);
        go("far to conforming code", code, false, T1 | 3, land, STOP, 0);
        set_descriptor(T1, descriptor((u32)land, 0, CODE_RX, SMALL));
        go("far beyond the limit", code, false, T1, (void *)1, GP, 0);
        /* Gates; the offset in the operand is not used. */
        set_descriptor(T2, call_gate(SEL_CODE, land, 0x8c, 0));
        go("gate of ring 0 from ring 3", code, true, T2, land, GP, T2);
        struct regs r = kernel_at(code);
        far.sel = T2;
        far.offset = 0xdeadbeef;
        r.ebx = (u32)&far;
        enter(&r);
        expect("gate in ring 0", &r, STOP, 0, land + 3);
        set_descriptor(T2, call_gate(SEL_CODE, land, 0x6c, 0));
        go("absent gate", code, false, T2, land, NP, T2);
        set_descriptor(T2, call_gate(SEL_DATA, land, 0x8c, 0));
        go("gate to data", code, false, T2, land, GP, SEL_DATA);
        set_descriptor(T2, call_gate(0, land, 0x8c, 0));
        go("gate to null", code, false, T2, land, GP, 0);
    }
    set_descriptor(T2, call_gate(SEL_CODE, land, 0xec, 0));
    go("JMP through a gate to an inner ring", jmp_far, true, T2, land, GP, SEL_CODE);
}

/* A call from ring 3 to ring 0 and back: stack switch, parameters, LRET (5.8.5, 5.8.6). */
static void inner_calls(void)
{
    struct regs r;
    set_descriptor(T2, call_gate(SEL_CODE, gate_target, 0xec, 2));
    r = user_at(call_and_stop);
    far.sel = T2 | 3;
    r.ebx = (u32)&far;
    u32 sp = r.esp;
    enter(&r);
    expect("call gate and back", &r, STOP, 0, ENDED(call_and_stop));
    check_eq("inner SS", r.ecx, SEL_DATA);
    check_eq("inner CS", r.edx, SEL_CODE);
    check_eq("inner ESP: CS, EIP, two parameters, ESP, SS", r.eax, tss.esp0 - 24);
    check_eq("return address", r.ebp, (u32)call_and_stop_end);
    check("parameters", r.esi == 0x1111 && r.edi == 0x2222);
    check_eq("outer ESP", r.ebx, sp - 8);
    check_eq("LRET 8 pops both stacks", r.esp, sp);
    /* Bad inner stacks: #TS with the selector (5.8.5). */
    set_descriptor(T1, descriptor(0, 0xfffff, DATA_RW & 0x7f, BIG));
    u32 bad[][3] = {{0, TS, 0}, {SEL_USER_DATA, TS, SEL_USER_DATA & ~3u}, {0x7f8, TS, 0x7f8},
                    {SEL_CODE, TS, SEL_CODE}, {T1, SS, T1}};
    /* For a stack segment that is not present TCG raises #TS, and dies of it here. */
    for (unsigned i = 0; i < ARRAY_SIZE(bad) - under_tcg(); i++) {
        /* The fault itself needs a good stack: a task of its own. */
        tss.ss0 = bad[i][0];
        tss_df.eip = (u32)trap_stubs + 0x80 * 16;
        set_gate(bad[i][1], SEL_TSS_DF, 5, 0);
        r = user_at(call_and_stop);
        r.ebx = (u32)&far;
        tss_df.esp = tss_df.esp0 - 64;
        enter(&r);
        u32 *pushed = (u32 *)(tss_df.esp0 - 64 - 4);
        check_eq("bad inner stack: task entered", r.vector, 0x80);
        if (!check_quiet("bad inner stack: error code", pushed[0] == bad[i][2]))
            say(": %x, not %x\n", pushed[0], bad[i][2]);
        check("its EIP", tss.eip == (u32)call_and_stop_end - 2);
        reset_gate(bad[i][1]);
        /* Back to the first task, by hand. */
        set_descriptor(SEL_TSS, descriptor((u32)&tss, sizeof tss - 1, 0x89, 0));
        set_descriptor(SEL_TSS_DF, descriptor((u32)&tss_df, sizeof tss_df - 1, 0x89, 0));
        __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
        tss.ss0 = SEL_DATA;
    }
    tss.ss0 = SEL_DATA;
}

static void returns(void)
{
    struct regs r = kernel_at(ret_outer);
    r.ecx = SEL_USER_DATA;
    r.edx = r.esp - 256;
    r.eax = SEL_USER;
    r.ebx = (u32)land;
    u32 sp = r.edx;
    enter(&r);
    expect("LRET to ring 3", &r, STOP, 0, land + 3);
    check("its stack and code", r.esp == sp && r.ss == SEL_USER_DATA && r.cs == SEL_USER);
    check("DS of ring 0 is made null", r.ds == 0 && r.es == 0 && r.fs == 0 && r.gs == 0);
    r = kernel_at(ret_outer);
    r.ecx = SEL_DATA;
    r.edx = sp;
    r.eax = SEL_USER;
    r.ebx = (u32)land;
    enter(&r);
    expect("LRET, SS of the wrong ring", &r, GP, SEL_DATA, ret_outer + 4);
    r = user_at(ret_far);
    r.eax = SEL_CODE;
    r.ebx = (u32)land;
    enter(&r);
    expect("LRET to an inner ring", &r, GP, SEL_CODE, ret_far + 2);
    r = kernel_at(ret_far);
    r.eax = 0;
    enter(&r);
    expect("LRET to null", &r, GP, 0, ret_far + 2);
}

/* ---- exceptions that only these modes have ---- */

CODE(into_, "mov $0x7fffffff, %eax\n inc %eax\n into");
CODE(into_not, "xor %eax, %eax\n into");
CODE(bound_, "bound %eax, (%ebx)");
CODE(aam0, ".byte 0xd4, 0");
CODE(arpl_, "arpl %cx, %ax");

static void legacy_instructions(void)
{
    static int bounds[2] = {-5, 10};
    struct regs r = user_at(into_);
    enter(&r);
    expect("#OF", &r, OF, 0, into__end);
    r = user_at(into_not);
    enter(&r);
    expect("INTO without OF", &r, STOP, 0, ENDED(into_not));
    static const int values[] = {-6, -5, 10, 11};
    for (unsigned i = 0; i < 4; i++) {
        r = user_at(bound_);
        r.ebx = (u32)bounds;
        r.eax = (u32)values[i];
        enter(&r);
        bool out = i == 0 || i == 3;
        expect("BOUND", &r, out ? BR : STOP, 0, out ? bound_ : ENDED(bound_));
    }
    r = user_at(aam0);
    enter(&r);
    expect("AAM 0", &r, DE, 0, aam0);
    r = user_at(arpl_);
    r.eax = 0x10;
    r.ecx = 3;
    enter(&r);
    check("ARPL", r.vector == STOP && r.eax == 0x13 && (r.flags & FL_ZF));
}

/* ---- 16-bit segments: IP and SP wrap at 64 KiB ---- */

CODE(push16, "push %eax");
CODE(pop16, "pop %ecx");

static u8 low64[65536 + 16] __attribute__((aligned(16)));

static void sixteen(void)
{
    struct regs r;
    set_descriptor(T1, descriptor((u32)low64, 0xffff, DATA_RW | RING3, SIXTEEN));
    r = user_at(push16);
    r.ss = T1 | 3;
    r.esp = 0xabcd0000;
    r.eax = 0x11223344;
    enter(&r);
    check("SP wraps downwards", r.vector == STOP && (r.esp & 0xffff) == 0xfffc &&
                                    *(u32 *)(low64 + 0xfffc) == 0x11223344);
    r = user_at(pop16);
    r.ss = T1 | 3;
    r.esp = 0x0000fffc;
    enter(&r);
    check("SP wraps upwards", r.vector == STOP && (r.esp & 0xffff) == 0 && r.ecx == 0x11223344);
    r = user_at(push16);
    r.ss = T1 | 3;
    r.esp = 2;
    enter(&r);
    expect("push across the segment's end", &r, SS, 0, push16);
    /* 16-bit code: mov $0x1234, %ax at the very end, then the limit. */
    static const u8 code[] = {0xb8, 0x34, 0x12};
    memcpy(low64 + 0xfffd, code, 3);
    memcpy(low64 + 0x10000, "\xcd\x80", 2); /* where TCG goes on */
    set_descriptor(T2, descriptor((u32)low64, 0xffff, CODE_RX | RING3, SIXTEEN));
    r = user_at((void *)0xfffd);
    r.cs = T2 | 3;
    r.eax = 0;
    enter(&r);
    check("16-bit code up to the end", r.vector == GP && r.eip == 0x10000);
    check_eq("its AX", r.eax, 0x1234);
    static const u8 jump[] = {0xeb, 0x7f}; /* jmp past 64 KiB: IP wraps */
    memcpy(low64 + 0xfff0, jump, 2);
    memcpy(low64 + 0x71, "\xcd\x80", 2);
    r = user_at((void *)0xfff0);
    r.cs = T2 | 3;
    enter(&r);
    expect("16-bit jump wraps", &r, STOP, 0, (void *)0x73);
    memcpy(low64 + 0x100, "\x66\x05\x78\x56\x34\x12\x67\x8b\x0b\xcd\x80", 11);
    *(u16 *)area = 0x4242;
    r = user_at((void *)0x100);
    r.cs = T2 | 3;
    r.ebx = (u32)area;
    enter(&r);
    check("16-bit code with 66 and 67", r.vector == STOP && r.eax == 0x12345678 &&
                                            r.ecx == 0x4242);
    /* An instruction across the limit of its segment. */
    set_descriptor(T2, descriptor((u32)low64, 0x104, CODE_RX | RING3, SIXTEEN));
    r = user_at((void *)0x100);
    r.cs = T2 | 3;
    enter(&r);
    expect("code across the limit", &r, GP, 0, (void *)0x100);
    set_descriptor(T2, descriptor((u32)low64, 0xffff, CODE_RX | RING3, SIXTEEN));
    r = user_at((void *)0x100);
    r.cs = T2 | 3;
    r.ebx = (u32)area;
    enter(&r);
    expect("and within again", &r, STOP, 0, (void *)0x10b);
}

/* ---- virtual-8086 mode (vol. 3B 20.2) ---- */

static struct regs vm86_at(u16 cs, u16 ip)
{
    return (struct regs){.cs = cs, .eip = ip, .flags = FL_ONE | FL_VM, .ss = 0x7000, .esp = 0x1000,
                         .ds = 0x6000, .es = 0x6100, .fs = 0x6200, .gs = 0x6300};
}

static struct regs vm86(const void *code, u32 n, u32 flags)
{
    memcpy((void *)0x60100, code, n);
    struct regs r = vm86_at(0x6000, 0x100);
    r.flags |= flags;
    r.ebx = 0x200;
    enter(&r);
    return r;
}

static void virtual_8086(void)
{
    struct regs r;
    *(u16 *)0x60200 = 0xbeef;
    r = vm86("\x8b\x07\x26\xa3\x00\x00\xf4", 7, 0); /* mov (%bx),%ax; mov %ax,%es:0; hlt */
    expect("HLT in V86", &r, GP, 0, (void *)0x106);
    check("its registers", r.eax == 0xbeef && r.cs == 0x6000 && (r.flags & FL_VM) &&
                               r.ds == 0x6000 && r.es == 0x6100 && r.fs == 0x6200 && r.gs == 0x6300);
    check_eq("its store", *(u16 *)0x61000, 0xbeef);
    check_eq("its frame", r.frame, tss.esp0 - 36);
    r = vm86("\xfa", 1, 0);
    expect("CLI, IOPL 0", &r, GP, 0, (void *)0x100);
    r = vm86("\xfa\xf4", 2, FL_IOPL | FL_IF);
    check("CLI, IOPL 3", r.vector == GP && r.eip == 0x101 && !(r.flags & FL_IF));
    r = vm86("\xcd\x80", 2, 0);
    expect("INT n, IOPL 0", &r, GP, 0, (void *)0x100);
    r = vm86("\xcd\x80", 2, FL_IOPL);
    expect("INT n, IOPL 3", &r, STOP, 0, (void *)0x102);
    r = vm86("\xcc", 1, 0);
    expect("INT3", &r, BP, 0, (void *)0x101);
    r = vm86("\x9c", 1, 0);
    expect("PUSHF, IOPL 0", &r, GP, 0, (void *)0x100);
    r = vm86("\x0f\x00\xc0", 3, 0);
    expect("SLDT is undefined", &r, UD, 0, (void *)0x100);
    r = vm86("\xa1\xff\xff", 3, 0);
    expect("word at the segment's end", &r, GP, 0, (void *)0x100);
    r = vm86("\x36\xa1\xff\xff", 4, 0);
    expect("word at the stack segment's end", &r, SS, 0, (void *)0x100);
    /* push 7000 as CS: a far jump and a far call within V86. */
    r = vm86("\xea\x10\x01\x00\x60", 5, 0);
    memcpy((void *)0x60110, "\x8c\xc8\xf4", 3);
    r = vm86("\xea\x00\x00\x11\x60", 5, 0);
    check("far jump in V86", r.vector == GP && r.cs == 0x6011 && r.eax == 0x6011 && r.eip == 2);
    r = vm86("\xb8\x00\x65\x8e\xd8\xf4", 6, 0); /* mov $0x6500,%ax; mov %ax,%ds */
    check("MOV DS in V86", r.vector == GP && r.ds == 0x6500);
    r = vm86("\x0f\x20\xc0", 3, 0);
    expect("MOV from CR0", &r, GP, 0, (void *)0x100);
}

/* ---- tasks (chapter 7), at their simplest ---- */

CODE(task_body, "mov %esp, %eax\n iret\n mov $0x77, %ecx\n iret");
CODE(call_task, "lcall *(%ebx)\n pushfl\n pop %edx\n lcall *(%ebx)");

static void tasks(void)
{
    static struct tss32 other;
    static u8 stack[1024] __attribute__((aligned(16)));
    other = tss;
    other.eip = (u32)task_body;
    other.esp = (u32)(stack + sizeof stack);
    other.cs = SEL_CODE;
    other.ss = other.ds = other.es = other.fs = other.gs = SEL_DATA;
    other.flags = FL_ONE;
    set_descriptor(T3, descriptor((u32)&other, sizeof other - 1, 0x89, 0));
    write_cr0(read_cr0() & ~CR0_TS);
    far.sel = T3;
    struct regs r = kernel_at(call_task);
    r.ebx = (u32)&far;
    r.esi = 0x1357;
    enter(&r);
    expect("CALL to a task and back, twice", &r, STOP, 0, ENDED(call_task));
    check_eq("registers of the first task", r.esi, 0x1357);
    check_eq("the second task's EAX", other.eax, (u32)(stack + sizeof stack));
    check_eq("the second task went on", other.ecx, 0x77);
    check_eq("its link", (u16)other.link, SEL_TSS);
    check("NT is clear after the return", !(r.edx & FL_NT));
    check_eq("TS is set", read_cr0() & CR0_TS, CR0_TS);
    check_eq("busy and not", gdt[T3 / 8] >> 41 & 1, 0);
    write_cr0(read_cr0() & ~CR0_TS);
    set_descriptor(T3, descriptor((u32)&other, sizeof other - 1, 0x8b, 0));
    go("a busy task", call_far, false, T3, land, GP, T3);
    set_descriptor(T3, descriptor((u32)&other, 0x66, 0x89, 0));
    go("a short TSS", call_far, false, T3, land, TS, T3);
    set_descriptor(T3, descriptor((u32)&other, sizeof other - 1, 0x09, 0));
    go("an absent TSS", call_far, false, T3, land, NP, T3);
}

/* ---- SYSENTER, SYSEXIT (5.8.7) ---- */

CODE(sysenter_, "sysenter");
CODE(sysexit_, "sysexit");

static void fast_calls(void)
{
    struct regs r;
    wrmsr(0x174, 0);
    r = user_at(sysenter_);
    enter(&r);
    expect("SYSENTER with CS 0", &r, GP, 0, sysenter_);
    wrmsr(0x174, SEL_CODE);
    wrmsr(0x175, tss.esp0 - 512);
    wrmsr(0x176, (u32)land);
    r = user_at(sysenter_);
    r.flags |= FL_IF;
    enter(&r);
    check("SYSENTER", r.vector == STOP && r.eip == (u32)land + 3 && r.cs == SEL_CODE);
    check("its flags and stack", !(r.flags & FL_IF) && r.esp == tss.esp0 - 512);
    r = kernel_at(sysexit_);
    r.edx = (u32)land;
    r.ecx = r.esp - 64;
    u32 sp = r.ecx;
    enter(&r);
    check("SYSEXIT", r.vector == STOP && r.eip == (u32)land + 3 && r.cs == SEL_USER &&
                         r.ss == SEL_USER_DATA && r.esp == sp);
    r = user_at(sysexit_);
    enter(&r);
    expect("SYSEXIT in ring 3", &r, GP, 0, sysexit_);
    wrmsr(0x174, 0);
}

void test_main(void)
{
    __asm__ volatile("fninit");
    check_group = "limit/";
    limits();
    stacks();
    check_group = "";
    loads();
    ldt();
    inspect();
    far_transfers();
    inner_calls();
    returns();
    legacy_instructions();
    sixteen();
    virtual_8086();
    tasks();
    fast_calls();
}

/* Hardware task switches: JMP, CALL, IRET, gates, 16- and 32-bit TSSs, and every fault on the way.
 *
 * SDM vol. 3A chapter 7 unless another section is named.
 */
#include "tests/guest/lib/legacy.h"

#define ENDED(code) (code##_end + 2)
/* Selectors: task B, task H that handles faults, a gate, and two for what a case needs. */
#define SEL_B (SEL_FREE + 0x00)
#define SEL_H (SEL_FREE + 0x08)
#define SEL_GATE (SEL_FREE + 0x10)
#define SEL_X (SEL_FREE + 0x18)
#define SEL_LDT (SEL_FREE + 0x20)
#define SEL_C (SEL_FREE + 0x28)
#define SEL_CR3 (SEL_FREE + 0x30)

enum { AVAILABLE = 0x89, BUSY = 0x8b, AVAILABLE16 = 0x81, BUSY16 = 0x83, DPL3 = 0x60 };

struct tss16 {
    u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds,
        ldt;
};

static struct tss32 b, h, c;
static struct tss16 small;
static u8 b_stack[1024], h_stack[1024], b_stack0[1024], c_stack[1024] __attribute__((aligned(16)));
static u64 ldt[4];
static struct {
    u32 offset;
    u16 sel;
} far;

CODE(jmp_far, "ljmp *(%ebx)");
CODE(call_far, "lcall *(%ebx)");
CODE(iret_, "iret");
CODE(int_30, "int $0x30");
CODE(body, "nop");
CODE(handler, "pop %eax\n str %ecx\n mov %esp, %edx");

static u8 access_of(u32 sel)
{
    return (u8)(gdt[sel / 8] >> 40);
}

static u64 task_gate(u32 sel, u32 access)
{
    return (u64)sel << 16 | (u64)access << 40;
}

static void fill(struct tss32 *t, const void *code, u8 *stack_end)
{
    memset(t, 0, sizeof *t);
    t->eip = (u32)code;
    t->esp = (u32)stack_end;
    t->esp0 = (u32)(b_stack0 + sizeof b_stack0);
    t->ss0 = SEL_DATA;
    t->cs = SEL_CODE;
    t->ss = t->ds = t->es = t->fs = t->gs = SEL_DATA;
    t->flags = FL_ONE;
    t->io_base = sizeof *t;
    t->cr3 = read_cr3();
}

/* The first task runs, the others are there and available. */
static void reset(void)
{
    fill(&b, body, b_stack + sizeof b_stack);
    fill(&c, body, c_stack + sizeof c_stack);
    fill(&h, handler, h_stack + sizeof h_stack);
    b.eax = 0xb0;
    b.ecx = 0xb1;
    b.edx = 0xb2;
    b.ebx = 0xb3;
    b.ebp = 0xb5;
    b.esi = 0xb6;
    b.edi = 0xb7;
    set_descriptor(SEL_TSS, descriptor((u32)&tss, sizeof tss - 1, AVAILABLE, 0));
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, AVAILABLE, 0));
    set_descriptor(SEL_C, descriptor((u32)&c, sizeof c - 1, AVAILABLE, 0));
    set_descriptor(SEL_H, descriptor((u32)&h, sizeof h - 1, AVAILABLE, 0));
    set_descriptor(SEL_GATE, task_gate(SEL_B, 0x85));
    __asm__ volatile("lldt %w0\n ltr %w1" : : "r"(0), "r"(SEL_TSS));
    tss.link = 0xdead;
}

static u32 task_register(void)
{
    u32 v;
    __asm__ volatile("str %0" : "=r"(v));
    return v;
}

static struct regs transfer(struct regs r, u32 sel)
{
    far.offset = 0x12345678; /* not used */
    far.sel = (u16)sel;
    r.ebx = (u32)&far;
    enter(&r);
    return r;
}

/* ---- the switch itself (7.3) ---- */

static void jump(void)
{
    reset();
    write_cr0(read_cr0() & ~CR0_TS);
    struct regs r = kernel_at(jmp_far);
    r.eax = 0xa0;
    r.ecx = 0xa1;
    r.edx = 0xa2;
    r.ebp = 0xa5;
    r.esi = 0xa6;
    r.edi = 0xa7;
    r.flags |= FL_CF | FL_DF;
    r.fs = r.gs = 0;
    u32 esp = r.esp;
    r = transfer(r, SEL_B);
    check("JMP: in the new task", r.vector == STOP && r.eip == (u32)ENDED(body));
    check("JMP: its registers", r.eax == 0xb0 && r.ecx == 0xb1 && r.edx == 0xb2 && r.ebx == 0xb3 &&
                                    r.ebp == 0xb5 && r.esi == 0xb6 && r.edi == 0xb7);
    check("JMP: its stack", r.esp == (u32)(b_stack + sizeof b_stack));
    check_eq("JMP: TR", task_register(), SEL_B);
    check_eq("JMP: TS", read_cr0() & CR0_TS, CR0_TS);
    check_eq("JMP: NT stays clear", r.flags & FL_NT, 0);
    check("JMP: busy bits", access_of(SEL_TSS) == AVAILABLE && access_of(SEL_B) == BUSY);
    check("JMP: no link", (u16)b.link == 0 && (u16)tss.link == 0xdead);
    check("JMP: saved EIP and flags", tss.eip == (u32)jmp_far_end &&
                                          tss.flags == (FL_ONE | FL_CF | FL_DF));
    check("JMP: saved registers", tss.eax == 0xa0 && tss.ecx == 0xa1 && tss.edx == 0xa2 &&
                                      tss.ebx == (u32)&far && tss.esp == esp && tss.ebp == 0xa5 &&
                                      tss.esi == 0xa6 && tss.edi == 0xa7);
    check("JMP: saved segments", tss.cs == SEL_CODE && tss.ss == SEL_DATA && tss.ds == SEL_DATA &&
                                     tss.es == SEL_DATA && tss.fs == 0 && tss.gs == 0);
    /* A task cannot jump to itself: it is busy. */
    reset();
    r = transfer(kernel_at(jmp_far), SEL_TSS);
    expect("JMP to the running task", &r, GP, SEL_TSS, jmp_far);
}

CODE(call_then, "lcall *(%ebx)\n pushf\n pop %eax\n str %ecx");
CODE(nested, "lcall *(%ebx)\n iret\n");
CODE(back, "pushf\n pop %eax\n iret\n mov $1, %edx\n iret");

static void call_and_return(void)
{
    reset();
    b.eip = (u32)back;
    struct regs r = transfer(kernel_at(call_then), SEL_B);
    expect("CALL and IRET", &r, STOP, 0, ENDED(call_then));
    check_eq("CALL: TR is back", r.ecx, SEL_TSS);
    check_eq("CALL: NT was set in the task", b.eax & FL_NT, FL_NT);
    check_eq("IRET: NT is cleared in what it saves", b.flags & FL_NT, 0);
    check_eq("CALL: the caller's NT", r.eax & FL_NT, 0);
    check_eq("CALL: link", (u16)b.link, SEL_TSS);
    check_eq("IRET: EIP goes on behind it", b.eip, (u32)back + 3);
    check("IRET: busy bits", access_of(SEL_TSS) == BUSY && access_of(SEL_B) == AVAILABLE);
    reset();
    r = transfer(kernel_at(call_far), SEL_B);
    check("CALL: busy bits", access_of(SEL_TSS) == BUSY && access_of(SEL_B) == BUSY);
    check("CALL: NT", r.vector == STOP && (r.flags & FL_NT));
    /* Two deep. */
    reset();
    static struct {
        u32 offset;
        u16 sel;
    } inner = {0, SEL_C};
    b.eip = (u32)nested;
    b.ebx = (u32)&inner;
    c.eip = (u32)iret_;
    r = transfer(kernel_at(call_then), SEL_B);
    expect("CALL in a task that was called", &r, STOP, 0, ENDED(call_then));
    check("links", (u16)c.link == SEL_B && (u16)b.link == SEL_TSS);
    reset();
    b.eip = (u32)nested;
    inner.sel = SEL_TSS;
    b.ebx = (u32)&inner;
    r = transfer(kernel_at(call_far), SEL_B);
    expect("CALL of a caller", &r, GP, SEL_TSS, nested);
    /* From ring 3, by DPL. */
    reset();
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, AVAILABLE | DPL3, 0));
    b.eip = (u32)iret_;
    r = transfer(user_at(call_far), SEL_B | 3);
    expect("CALL from ring 3", &r, STOP, 0, ENDED(call_far));
    check_eq("and back in ring 3", r.cs, SEL_USER);
}

static void events(void)
{
    reset();
    set_gate(0x30, SEL_B, 5, 3);
    b.eip = (u32)back;
    struct regs r = kernel_at(int_30);
    enter(&r);
    expect("INT n through a task gate and back", &r, STOP, 0, ENDED(int_30));
    check_eq("its NT", b.eax & FL_NT, FL_NT);
    check_eq("its link", (u16)b.link, SEL_TSS);
    reset();
    b.eip = (u32)iret_;
    r = user_at(int_30);
    r.flags |= FL_IF;
    enter(&r);
    check("INT n from ring 3", r.vector == STOP && r.eip == (u32)ENDED(int_30) && r.cs == SEL_USER);
    check("IF comes back", r.flags & FL_IF);
    reset();
    set_gate(0x30, SEL_B, 5, 0);
    r = user_at(int_30);
    enter(&r);
    expect("INT n, the gate's DPL", &r, GP, 0x30 * 8 + 2, int_30);
    idt[0x30] &= ~(1ull << 47);
    r = kernel_at(int_30);
    enter(&r);
    expect("INT n, absent task gate", &r, NP, 0x30 * 8 + 2, int_30);
    set_gate(0x30, SEL_TSS, 5, 0);
    r = kernel_at(int_30);
    enter(&r);
    expect("INT n, busy TSS", &r, GP, SEL_TSS, int_30);
    set_gate(0x30, SEL_CODE, 5, 0);
    r = kernel_at(int_30);
    enter(&r);
    expect("INT n, not a TSS", &r, GP, SEL_CODE, int_30);
    set_gate(0x30, SEL_B | 4, 5, 0);
    r = kernel_at(int_30);
    enter(&r);
    expect("INT n, TSS in the LDT", &r, GP, SEL_B | 4, int_30);
    set_gate(0x30, 0x7f8, 5, 0);
    r = kernel_at(int_30);
    enter(&r);
    expect("INT n, TSS beyond the GDT", &r, GP, 0x7f8, int_30);
    gdt[SEL_B / 8] &= ~(1ull << 47);
    set_gate(0x30, SEL_B, 5, 0);
    r = kernel_at(int_30);
    enter(&r);
    expect("INT n, absent TSS", &r, NP, SEL_B, int_30);
    reset_gate(0x30);
}

/* ---- what a far transfer checks (7.2.2, 7.2.5, vol. 2A JMP, CALL) ---- */

static void refuse(const char *name, bool ring3, u32 sel, unsigned vector, u32 error)
{
    for (unsigned i = 0; i < 2; i++) {
        u8 *code = i ? call_far : jmp_far;
        struct regs r = transfer(ring3 ? user_at(code) : kernel_at(code), sel);
        expect(name, &r, vector, error, code);
    }
    check("nothing has changed", task_register() == SEL_TSS && access_of(SEL_TSS) == BUSY &&
                                     (u16)b.link == 0);
}

static void checks(void)
{
    reset();
    refuse("TSS of DPL 0 from ring 3", true, SEL_B, GP, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, AVAILABLE | 0x20, 0));
    refuse("RPL above DPL", false, SEL_B | 2, GP, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, BUSY, 0));
    refuse("busy TSS", false, SEL_B, GP, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, 0x09, 0));
    refuse("absent TSS", false, SEL_B, NP, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, 0x66, AVAILABLE, 0));
    refuse("short TSS", false, SEL_B, TS, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, AVAILABLE, 0));
    ldt[1] = gdt[SEL_B / 8];
    ldt[2] = task_gate(SEL_B, 0x85);
    set_descriptor(SEL_LDT, descriptor((u32)ldt, sizeof ldt - 1, 0x82, 0));
    __asm__ volatile("lldt %w0" : : "r"(SEL_LDT));
    refuse("TSS in the LDT", false, 0x0c, GP, 0x0c);
    struct regs r = transfer(kernel_at(jmp_far), 0x14);
    expect("task gate in the LDT", &r, STOP, 0, ENDED(body));
    reset();
    r = transfer(kernel_at(call_far), SEL_GATE);
    expect("CALL through a task gate", &r, STOP, 0, ENDED(body));
    check_eq("its TR", task_register(), SEL_B);
    reset();
    set_descriptor(SEL_GATE, task_gate(SEL_B, 0xe5));
    r = transfer(user_at(call_far), SEL_GATE | 3);
    expect("a gate of DPL 3 to a TSS of DPL 0", &r, STOP, 0, ENDED(body));
    reset();
    refuse("gate of DPL 0 from ring 3", true, SEL_GATE, GP, SEL_GATE);
    set_descriptor(SEL_GATE, task_gate(SEL_B, 0xa5));
    refuse("RPL above the gate's DPL", false, SEL_GATE | 3, GP, SEL_GATE);
    set_descriptor(SEL_GATE, task_gate(SEL_B, 0x05));
    refuse("absent gate", false, SEL_GATE, NP, SEL_GATE);
    set_descriptor(SEL_GATE, task_gate(0, 0x85));
    refuse("gate to null", false, SEL_GATE, GP, 0);
    set_descriptor(SEL_GATE, task_gate(SEL_B | 4, 0x85));
    refuse("gate to the LDT", false, SEL_GATE, GP, SEL_B | 4);
    set_descriptor(SEL_GATE, task_gate(0x7f8, 0x85));
    refuse("gate beyond the GDT", false, SEL_GATE, GP, 0x7f8);
    set_descriptor(SEL_GATE, task_gate(SEL_DATA, 0x85));
    refuse("gate to data", false, SEL_GATE, GP, SEL_DATA);
    set_descriptor(SEL_GATE, task_gate(SEL_TSS, 0x85));
    refuse("gate to a busy TSS", false, SEL_GATE, GP, SEL_TSS);
    set_descriptor(SEL_GATE, task_gate(SEL_B, 0x85));
    gdt[SEL_B / 8] &= ~(1ull << 47);
    refuse("gate to an absent TSS", false, SEL_GATE, NP, SEL_B);
}

/* IRET with NT: the link (vol. 2A IRET, TASK-RETURN). */
static void bad_link(const char *name, u32 link, unsigned vector, u32 error)
{
    struct regs r = kernel_at(iret_);
    r.flags |= FL_NT;
    tss.link = link;
    enter(&r);
    expect(name, &r, vector, error, iret_);
}

static void links(void)
{
    reset();
    bad_link("link null", 0, TS, 0);
    bad_link("link beyond the GDT", 0x7f8, TS, 0x7f8);
    bad_link("link in the LDT", SEL_B | 4, TS, SEL_B | 4);
    bad_link("link to data", SEL_DATA, TS, SEL_DATA);
    bad_link("link to a TSS that is not busy", SEL_B, TS, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, 0x0b, 0));
    bad_link("link to an absent TSS", SEL_B, NP, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, 0x66, BUSY, 0));
    bad_link("link to a short TSS", SEL_B, TS, SEL_B);
    set_descriptor(SEL_B, descriptor((u32)&b, sizeof b - 1, BUSY, 0));
    struct regs r = user_at(iret_);
    r.flags |= FL_NT;
    tss.link = SEL_B;
    enter(&r);
    expect("IRET with NT in ring 3", &r, STOP, 0, ENDED(body));
    check("busy bits after it", access_of(SEL_B) == BUSY && access_of(SEL_TSS) == AVAILABLE);
    check("NT cleared in what it saved", !(tss.flags & FL_NT) && tss.eip == (u32)iret__end);
}

/* ---- faults in the new task (7.3, table 7-1): task H sees what became of it ---- */

static void in_new_task(const char *name, unsigned vector, u32 error)
{
    set_gate(vector, SEL_H, 5, 0);
    struct regs r = transfer(kernel_at(call_far), SEL_B);
    bool good = r.vector == STOP && r.eip == (u32)ENDED(handler) && r.eax == error &&
                (u16)h.link == SEL_B;
    if (!check_quiet(name, good))
        say(": vector %x eip %x, error %x in link %x, not %x\n", r.vector, r.eip, r.eax,
            (u32)(u16)h.link, error);
    if (!check_quiet("its registers are the new task's", b.eip == (u32)body && b.eax == 0xb0 && b.edi == 0xb7))
        say(": %s: %x %x %x\n", name, b.eip, b.eax, b.edi);
    check("the old one was saved", tss.eip == (u32)call_far_end);
    check("TR in the handler", r.ecx == SEL_H);
    check("the error code was all", r.edx == (u32)(h_stack + sizeof h_stack));
    check("busy, all three", access_of(SEL_TSS) == BUSY && access_of(SEL_B) == BUSY &&
                                 access_of(SEL_H) == BUSY);
    reset_gate(vector);
    reset();
}

/* Segment registers, one wrong at a time; X is the descriptor that a case changes. */
static void bad_segments(void)
{
    reset();
    b.ldt = SEL_X;
    set_descriptor(SEL_X, descriptor((u32)ldt, sizeof ldt - 1, 0x92, 0));
    in_new_task("LDT that is none", TS, SEL_X);
    b.ldt = SEL_X;
    set_descriptor(SEL_X, descriptor((u32)ldt, sizeof ldt - 1, 0x02, 0));
    in_new_task("absent LDT", TS, SEL_X);
    b.ldt = 0x7f8;
    in_new_task("LDT beyond the GDT", TS, 0x7f8);
    b.ldt = SEL_LDT | 4;
    in_new_task("LDT in the LDT", TS, SEL_LDT | 4);
    b.cs = 0;
    in_new_task("CS null", TS, 0);
    b.cs = 0x7f8;
    in_new_task("CS beyond the GDT", TS, 0x7f8);
    b.cs = SEL_DATA;
    in_new_task("CS data", TS, SEL_DATA);
    b.cs = SEL_CODE | 3;
    in_new_task("CS, RPL is not DPL", TS, SEL_CODE);
    set_descriptor(SEL_X, descriptor(0, 0xfffff, 0xfb, 0xc));
    b.cs = SEL_X;
    in_new_task("CS, DPL is not RPL", TS, SEL_X);
    set_descriptor(SEL_X, descriptor(0, 0xfffff, 0xfe, 0xc));
    b.cs = SEL_X;
    in_new_task("CS conforming, DPL above RPL", TS, SEL_X);
    set_descriptor(SEL_X, descriptor(0, 0xfffff, 0x1b, 0xc));
    b.cs = SEL_X;
    in_new_task("CS absent", NP, SEL_X);
    b.ss = 0;
    in_new_task("SS null", TS, 0);
    b.ss = 0x7f8;
    in_new_task("SS beyond the GDT", TS, 0x7f8);
    b.ss = SEL_CODE;
    in_new_task("SS code", TS, SEL_CODE);
    b.ss = SEL_DATA | 3;
    in_new_task("SS, RPL", TS, SEL_DATA);
    b.ss = SEL_USER_DATA & ~3u;
    in_new_task("SS, DPL", TS, SEL_USER_DATA & ~3u);
    set_descriptor(SEL_X, descriptor(0, 0xfffff, 0x91, 0xc));
    b.ss = SEL_X;
    in_new_task("SS read-only", TS, SEL_X);
    set_descriptor(SEL_X, descriptor(0, 0xfffff, 0x13, 0xc));
    b.ss = SEL_X;
    in_new_task("SS absent", SS, SEL_X);
}

static void bad_data_segments(void)
{
    u32 *const data[] = {&b.es, &b.ds, &b.fs, &b.gs};
    for (unsigned i = 0; i < 4; i++) {
        reset();
        *data[i] = 0x7f8;
        in_new_task("data segment beyond the GDT", TS, 0x7f8);
        *data[i] = SEL_TSS;
        in_new_task("data segment a TSS", TS, SEL_TSS);
        set_descriptor(SEL_X, descriptor(0, 0xfffff, 0x99, 0xc));
        *data[i] = SEL_X;
        in_new_task("data segment execute-only", TS, SEL_X);
        *data[i] = SEL_DATA | 3;
        in_new_task("data segment, RPL above DPL", TS, SEL_DATA);
        set_descriptor(SEL_X, descriptor(0, 0xfffff, 0x13, 0xc));
        *data[i] = SEL_X;
        in_new_task("data segment absent", NP, SEL_X);
        *data[i] = 0;
        struct regs r = transfer(kernel_at(call_far), SEL_B);
        expect("data segment null", &r, STOP, 0, ENDED(body));
    }
    reset();
    set_descriptor(SEL_X, descriptor(0, 0xfffff, 0x92, 0xc));
    b.ds = SEL_X;
    transfer(kernel_at(call_far), SEL_B);
    check_eq("accessed bits are set", access_of(SEL_X), 0x93);
    /* EIP beyond CS's limit faults in the new task. */
    reset();
    set_descriptor(SEL_X, descriptor(0, 0xff, 0x9b, 0x4));
    b.cs = SEL_X;
    in_new_task("EIP beyond the limit", GP, 0);
}

/* An exception whose own task cannot be entered: contributory, #DF (table 6-5). */
CODE(load_bad, "mov %eax, %ds");

static void error_codes(void)
{
    reset();
    set_gate(GP, SEL_H, 5, 0);
    struct regs r = kernel_at(load_bad);
    r.eax = 0x7f8;
    enter(&r);
    check("#GP through a task gate", r.vector == STOP && r.eip == (u32)ENDED(handler));
    check_eq("its error code", r.eax, 0x7f8);
    check_eq("EIP saved is that of the fault", tss.eip, (u32)load_bad);
    check_eq("RF is saved", tss.flags & FL_RF, FL_RF);
    reset();
    h.cs = SEL_DATA;
    set_gate(GP, SEL_H, 5, 0);
    set_gate(DF, SEL_B, 5, 0);
    b.eip = (u32)handler;
    r = kernel_at(load_bad);
    r.eax = 0x7f8;
    enter(&r);
    check("#GP, then #TS: #DF", r.vector == STOP && r.eip == (u32)ENDED(handler) && r.eax == 0 &&
                                    r.ecx == SEL_B);
    reset_gate(GP);
    reset_gate(DF);
    reset();
}

/* ---- debugging (vol. 3B 17.3.1.5, 17.2.4) ---- */

CODE(two, "nop\n nop");

static u32 read_dr(unsigned n)
{
    u32 v;
    if (n == 6)
        __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    else
        __asm__ volatile("mov %%dr7, %0" : "=r"(v));
    return v;
}

static void debugging(void)
{
    reset();
    __asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0));
    b.trap = 1;
    struct regs r = transfer(kernel_at(call_far), SEL_B);
    expect("T: before the first instruction", &r, DB, 0, body);
    check_eq("T: DR6.BT", read_dr(6) & 0xe00f, 0x8000);
    check_eq("T: in the new task", task_register(), SEL_B);
    check("T: a trap, so RF is 0", !(r.flags & FL_RF));
    reset();
    __asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0));
    b.eip = (u32)two;
    b.flags |= FL_TF;
    r = transfer(kernel_at(call_far), SEL_B);
    expect("TF of the new task", &r, DB, 0, two + 1);
    reset();
    r = kernel_at(call_far);
    r.flags |= FL_TF;
    b.eip = (u32)two;
    r = transfer(r, SEL_B);
    check("TF of the old task is not the new one's", r.vector == STOP || r.eip == (u32)two);
    reset();
    __asm__ volatile("mov %0, %%dr0\n mov %0, %%dr1" : : "r"(0));
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x4ff));
    transfer(kernel_at(call_far), SEL_B);
    check_eq("local breakpoints end, global ones stay", read_dr(7) & 0xff, 0xaa);
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400));
    reset();
    b.flags |= FL_RF;
    b.eip = (u32)two;
    __asm__ volatile("mov %0, %%dr0\n mov %1, %%dr7" : : "r"(two), "r"(0x402));
    r = transfer(kernel_at(call_far), SEL_B);
    check("RF of the new task", r.vector == STOP);
    reset();
    b.eip = (u32)two;
    r = transfer(kernel_at(call_far), SEL_B);
    expect("a global breakpoint there", &r, DB, 0, two);
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400));
    reset();
}

/* ---- the LDT, virtual-8086 mode, rings ---- */

CODE(load_ldt_fs, "mov $0x0c, %eax\n mov %eax, %fs\n mov %fs:4, %ecx");

static void new_environment(void)
{
    static u32 words[4] = {1, 0x5eed, 3, 4};
    reset();
    ldt[1] = descriptor((u32)words, sizeof words - 1, 0x93, 0x4);
    set_descriptor(SEL_LDT, descriptor((u32)ldt, sizeof ldt - 1, 0x82, 0));
    b.ldt = SEL_LDT;
    b.eip = (u32)load_ldt_fs;
    struct regs r = transfer(kernel_at(call_far), SEL_B);
    check("the new task's LDT", r.vector == STOP && r.ecx == 0x5eed);
    reset();
    b.ldt = SEL_LDT;
    b.gs = 0x0c;
    r = transfer(kernel_at(call_far), SEL_B);
    check("its selectors are found there", r.vector == STOP && r.gs == 0x0c);
    reset();
    b.cs = SEL_USER;
    b.ss = b.ds = b.es = b.fs = b.gs = SEL_USER_DATA;
    r = transfer(kernel_at(call_far), SEL_B);
    check("a task of ring 3", r.vector == STOP && r.cs == SEL_USER && r.ss == SEL_USER_DATA);
    check_eq("its inner stack", r.frame, (u32)(b_stack0 + sizeof b_stack0) - 20);
    reset();
    memcpy((void *)0x60100, "\x8c\xd8\xcc", 3); /* mov %ds, %ax; int3 */
    b.flags = FL_ONE | FL_VM;
    b.eip = 0x100;
    b.esp = 0x1000;
    b.cs = b.ds = b.es = b.fs = b.gs = 0x6000;
    b.ss = 0x7000;
    r = transfer(kernel_at(call_far), SEL_B);
    check("a virtual-8086 task", r.vector == BP && r.cs == 0x6000 && r.eip == 0x103 &&
                                     (r.flags & FL_VM) && (u16)r.eax == 0x6000);
    check("it has NT, too", r.flags & FL_NT);
    reset();
}

/* ---- 16-bit TSSs (7.6) ---- */

static void sixteen(void)
{
    reset();
    memset(&small, 0, sizeof small);
    small.ip = 0x100;
    small.sp = 0x800;
    small.sp0 = 0x7000; /* below the real-mode stack */
    small.ss0 = SEL_DATA;
    small.flags = FL_ONE | FL_CF;
    small.ax = 0x1111;
    small.di = 0x2222;
    small.es = small.ds = SEL_USER_DATA;
    static u8 code[0x110], stack[0x900];
    memcpy(code + 0x100, "\xcd\x80", 2);
    set_descriptor(SEL_X, descriptor((u32)code, sizeof code - 1, 0xfb, 0x4));
    set_descriptor(SEL_C, descriptor((u32)stack, sizeof stack - 1, 0xf3, 0));
    /* Ring 3, for the handler needs a flat stack. */
    small.cs = SEL_X | 3;
    small.ss = SEL_C | 3;
    set_descriptor(SEL_B, descriptor((u32)&small, 0x2b, AVAILABLE16, 0));
    struct regs r = kernel_at(call_far);
    r.edx = 0xabcd1234;
    r = transfer(r, SEL_B);
    check("16 bits: entered", r.vector == STOP && r.eip == 0x102 && r.cs == (SEL_X | 3) &&
                                   r.ss == (SEL_C | 3) && r.frame == 0x7000 - 20);
    check("16 bits: its registers", (u16)r.eax == 0x1111 && (u16)r.edi == 0x2222 &&
                                        (r.flags & FL_CF) && (r.flags & FL_NT));
    check("16 bits: FS and GS are null", r.fs == 0 && r.gs == 0);
    check_eq("16 bits: link", small.link, SEL_TSS);
    check_eq("16 bits: busy", access_of(SEL_B), BUSY16);
    check_eq("16 bits: the old task is saved in full", tss.edx, 0xabcd1234);
    reset();
    set_descriptor(SEL_B, descriptor((u32)&small, 0x2a, AVAILABLE16, 0));
    r = transfer(kernel_at(call_far), SEL_B);
    expect("16 bits: too short", &r, TS, SEL_B, call_far);
    /* And back: only 16 bits were saved. */
    reset();
    memcpy(code + 0x100, "\xcf\xcd\x80", 3);
    small.ip = 0x100;
    set_descriptor(SEL_X, descriptor((u32)code, sizeof code - 1, 0xfb, 0x4));
    set_descriptor(SEL_C, descriptor((u32)stack, sizeof stack - 1, 0xf3, 0));
    set_descriptor(SEL_B, descriptor((u32)&small, 0x2b, AVAILABLE16, 0));
    r = transfer(kernel_at(call_far), SEL_B);
    expect("16 bits: IRET to a 32-bit task", &r, STOP, 0, ENDED(call_far));
    check("16 bits: saved", small.ip == 0x101 && small.ax == 0x1111 && small.sp == 0x800 &&
                                !(small.flags & FL_NT) && access_of(SEL_B) == AVAILABLE16);
    reset();
}

/* ---- CR3, and page faults on the way ---- */

static u32 directory_a[1024] __attribute__((aligned(4096)));
static u32 directory_b[1024] __attribute__((aligned(4096)));
static u32 table[1024] __attribute__((aligned(4096)));
static u8 window[8192] __attribute__((aligned(4096)));

#define AWAY 0x40000000u

CODE(read_cr3_, "mov %cr3, %eax\n mov 0x40000000, %ecx");

/* 4 MiB pages one to one, and one page at AWAY. */
static void map(u32 *directory, u32 away)
{
    for (u32 i = 0; i < 1024; i++)
        directory[i] = i << 22 | 0x87;
    directory[AWAY >> 22] = (u32)table | 7;
    if (away)
        table[0] = away | 7;
}

static void paging(void)
{
    map(directory_a, (u32)window);
    map(directory_b, 0);
    directory_b[AWAY >> 22] = ((u32)window & 0xffc00000) | 0x87;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((u32)directory_a);
    write_cr0(read_cr0() | CR0_PG);
    reset();
    *(u32 *)window = 0xaaaa;
    b.eip = (u32)read_cr3_;
    b.cr3 = (u32)directory_b;
    u32 expected = *(volatile u32 *)((u32)window & 0xffc00000);
    struct regs r = transfer(kernel_at(call_far), SEL_B);
    check("CR3 is switched", r.vector == STOP && r.eax == (u32)directory_b && r.ecx == expected);
    write_cr3((u32)directory_a);
    check_eq("and the TLB", *(volatile u32 *)AWAY, 0xaaaa);
    /* A TSS whose second half is not mapped: #PF in the old task, nothing has changed. */
    reset();
    memcpy(window + 4096 - 0x30, &b, 0x30);
    table[1] = 0;
    set_descriptor(SEL_B, descriptor(AWAY + 4096 - 0x30, sizeof b - 1, AVAILABLE, 0));
    r = transfer(kernel_at(call_far), SEL_B);
    if (!check_quiet("#PF in the new TSS", r.vector == PF && r.eip == (u32)call_far &&
                                               (r.cr2 & ~0xfffu) == AWAY + 4096))
        say(": vector %x eip %x cr2 %x\n", r.vector, r.eip, r.cr2);
    check("in the old task", task_register() == SEL_TSS && access_of(SEL_B) == AVAILABLE &&
                                 access_of(SEL_TSS) == BUSY);
    write_cr0(read_cr0() & ~CR0_PG);
    reset();
}

/* ---- LTR and STR (vol. 2A, 2B) ---- */

CODE(ltr_, "ltr %ax");
CODE(str_, "str %eax");
CODE(str_mem, "str (%ebx)");

static void load_tr(const char *name, bool ring3, u32 sel, unsigned vector, u32 error)
{
    struct regs r = ring3 ? user_at(ltr_) : kernel_at(ltr_);
    r.eax = sel;
    enter(&r);
    if (vector == STOP)
        check_eq(name, r.vector, STOP);
    else
        expect(name, &r, vector, error, ltr_);
}

static void registers(void)
{
    reset();
    load_tr("LTR in ring 3", true, SEL_B, GP, 0);
    load_tr("LTR null", false, 3, GP, 0);
    load_tr("LTR of a busy TSS", false, SEL_TSS, GP, SEL_TSS);
    load_tr("LTR of data", false, SEL_DATA, GP, SEL_DATA);
    load_tr("LTR beyond the GDT", false, 0x7f8, GP, 0x7f8);
    load_tr("LTR of the LDT's", false, SEL_B | 4, GP, SEL_B | 4);
    gdt[SEL_B / 8] &= ~(1ull << 47);
    load_tr("LTR of an absent TSS", false, SEL_B, NP, SEL_B);
    gdt[SEL_B / 8] |= 1ull << 47;
    load_tr("LTR", false, SEL_B | 3, STOP, 0);
    check("LTR sets busy there and leaves the old one", access_of(SEL_B) == BUSY &&
                                                            access_of(SEL_TSS) == BUSY);
    struct regs r = user_at(str_);
    r.eax = ~0u;
    enter(&r);
    check("STR in ring 3, to a register", r.vector == STOP && r.eax == (SEL_B | 3));
    static u32 where;
    where = ~0u;
    r = kernel_at(str_mem);
    r.ebx = (u32)&where;
    enter(&r);
    check("STR to memory: 16 bits", r.vector == STOP && where == (0xffff0000u | SEL_B | 3));
    reset();
}

void test_main(void)
{
    jump();
    call_and_return();
    events();
    checks();
    links();
    bad_segments();
    bad_data_segments();
    error_codes();
    debugging();
    new_environment();
    sixteen();
    paging();
    registers();
}

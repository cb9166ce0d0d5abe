/* Interrupts: where they are taken, what holds them back, and the PC's sources of them.
 *
 * SDM vol. 3A 6.8 (masking, shadows), 6.7 (NMI), chapter 10 (local APIC); Intel 8259A, 8254 and
 * 82093AA data sheets.
 */
#include "tests/guest/lib/long.h"

#define LAPIC 0xfee00000ull
#define IOAPIC 0xfec00000ull
enum {
    APIC_ID = 0x20, APIC_TPR = 0x80, APIC_PPR = 0xa0, APIC_EOI = 0xb0, APIC_SVR = 0xf0,
    APIC_ISR = 0x100, APIC_IRR = 0x200, APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310,
    APIC_LVT_TIMER = 0x320, APIC_LVT_LINT0 = 0x350, APIC_INITIAL = 0x380, APIC_CURRENT = 0x390,
    APIC_DIVIDE = 0x3e0,
};
enum { PIC1 = 0x20, PIC2 = 0xa0, V1 = 0x40, V2 = 0x51, V3 = 0x62, V_TIMER = 0x70, V_PIC = 0x90 };
#define TSC_DEADLINE 0x6e0
#define LONG_WAIT 10000000000ull /* TSC ticks: some seconds */

static u32 apic_read(u32 reg)
{
    return *(volatile u32 *)(LAPIC + reg);
}

static void apic_write(u32 reg, u32 v)
{
    *(volatile u32 *)(LAPIC + reg) = v;
}

static bool pending(u32 vector)
{
    return apic_read(APIC_IRR + (vector >> 5) * 16) >> (vector & 31) & 1;
}

static bool in_service(u32 vector)
{
    return apic_read(APIC_ISR + (vector >> 5) * 16) >> (vector & 31) & 1;
}

static void self_ipi(u32 vector)
{
    apic_write(APIC_ICR, vector | 1 << 18 | 1 << 14); /* fixed, to self */
}

static void eoi(void)
{
    apic_write(APIC_EOI, 0);
}

/* Some milliseconds, in which timers would have come several times. */
static void settle(void)
{
    u64 end = rdtsc() + 30000000;
    while (rdtsc() < end)
        __asm__ volatile("pause");
}

/* Turns until *count differs from old; false when it takes seconds. */
static bool wait_change(volatile u32 *count, u32 old)
{
    for (u64 end = rdtsc() + LONG_WAIT; rdtsc() < end;) {
        if (*count != old)
            return true;
        __asm__ volatile("pause");
    }
    return false;
}

static bool resume_eoi(struct regs *r)
{
    (void)r;
    eoi();
    return false;
}

/* ---- where an interrupt is taken: snippets that run with V1 pending ---- */

CODE(take_sti, "sti\n nop\n nop");
CODE(take_sti_cli, "sti\n cli\n nop");
CODE(take_sti_sti, "sti\n sti\n nop");
CODE(take_popf, "pushq $0x202\n popfq\n nop");
CODE(take_iret, "mov %rsp, %rax\n mov %ss, %ecx\n push %rcx\n push %rax\n pushq $0x202\n"
                "mov %cs, %ecx\n push %rcx\n lea 1f(%rip), %rax\n push %rax\n iretq\n1: nop\n nop");
CODE(take_mov_ss, "mov %ss, %ecx\n sti\n mov %ecx, %ss\n nop\n nop");
CODE(take_hlt, "sti\n hlt\n nop");
CODE(take_loop, "sti\n nop\n1: jmp 1b");
CODE(take_nothing, "nop\n nop\n pushfq\n pop %rax");
CODE(take_sti_ud, "sti\n ud2");

static struct regs with_pending(const void *code, u64 flags)
{
    self_ipi(V1);
    for (unsigned i = 0; i < 1000 && !pending(V1); i++)
        ;
    struct regs r = kernel_at(code);
    r.flags |= flags;
    enter(&r);
    return r;
}

static void where(void)
{
    struct regs r = with_pending(take_sti, 0);
    expect("STI: after the next instruction", &r, V1, 0, take_sti + 2);
    check("IF pushed", r.flags & FL_IF);
    check("no RF pushed", !(r.flags & FL_RF));
    check("in service", in_service(V1) && !pending(V1));
    check_eq("PPR", apic_read(APIC_PPR), V1 & 0xf0);
    eoi();
    check("EOI", !in_service(V1));
    r = with_pending(take_sti_cli, 0);
    expect("STI CLI lets none in", &r, STOP, 0, take_sti_cli_end + 2);
    check("still pending", pending(V1));
    r = with_pending(take_sti_sti, 0);
    expect("STI STI", &r, V1, 0, take_sti_sti + 2);
    eoi();
    r = with_pending(take_popf, 0);
    expect("POPF has no shadow", &r, V1, 0, take_popf + 6);
    eoi();
    r = with_pending(take_iret, 0);
    check("IRET has no shadow", r.vector == V1 && *(u8 *)r.rip == 0x90 && r.rip == r.rax);
    eoi();
    r = with_pending(take_nothing, FL_IF);
    expect("IF set on entry", &r, V1, 0, take_nothing);
    eoi();
    r = with_pending(take_nothing, 0);
    expect("IF clear", &r, STOP, 0, take_nothing_end + 2);
    r = with_pending(take_hlt, 0);
    expect("STI HLT", &r, V1, 0, take_hlt + 2);
    eoi();
    r = with_pending(take_loop, 0);
    check("a loop", r.vector == V1);
    eoi();
    r = with_pending(take_sti_ud, 0);
    expect("a fault in the shadow", &r, UD, 0, take_sti_ud + 1);
    r = user_at(take_nothing);
    r.flags |= FL_IF;
    enter(&r);
    expect("ring 3, with IF", &r, V1, 0, (void *)AS_USER(take_nothing));
    check("on the kernel's stack", r.frame == tss.rsp[0] - 40 && r.cs == SEL_USER);
    eoi();
    /* MOV SS: STI's own shadow covers it, its own the NOP after. */
    r = with_pending(take_mov_ss, 0);
    check_eq("MOV SS after STI", r.vector, V1);
    check("at the NOP or after it", r.rip == (u64)take_mov_ss + 6 || r.rip == (u64)take_mov_ss + 5);
    eoi();
}

/* ---- priorities in the local APIC (10.8.3) ---- */

static volatile u32 order[4], ordered;

static bool note_order(struct regs *r)
{
    order[ordered++ & 3] = (u32)r->vector;
    eoi();
    return false;
}

CODE(open_window, "sti\n nop\n nop\n nop\n nop\n cli");

static void priority(void)
{
    struct regs r;
    handlers[V1] = handlers[V2] = handlers[V3] = note_order;
    ordered = 0;
    self_ipi(V1);
    self_ipi(V3);
    self_ipi(V2);
    r = kernel_at(open_window);
    enter(&r);
    check("the highest first", ordered == 3 && order[0] == V3 && order[1] == V2 && order[2] == V1);
    /* TPR, and CR8 which is its high half (10.8.6.1). */
    ordered = 0;
    apic_write(APIC_TPR, 0x50);
    u64 cr8;
    __asm__ volatile("mov %%cr8, %0" : "=r"(cr8));
    check_eq("CR8", cr8, 5);
    self_ipi(V1);
    self_ipi(V2);
    self_ipi(V3);
    r = kernel_at(open_window);
    enter(&r);
    check("TPR holds back its class and below", ordered == 1 && order[0] == V3);
    __asm__ volatile("mov %0, %%cr8" : : "r"(4ull));
    check_eq("TPR by CR8", apic_read(APIC_TPR), 0x40);
    r = kernel_at(open_window);
    enter(&r);
    check("lower TPR lets more in", ordered == 2 && order[1] == V2);
    __asm__ volatile("mov %0, %%cr8" : : "r"(0ull));
    r = kernel_at(open_window);
    enter(&r);
    check("TPR 0", ordered == 3 && order[2] == V1);
    handlers[V1] = handlers[V2] = handlers[V3] = NULL;
}

/* ---- NMI (6.7) ---- */

static volatile u32 nmis, nmi_nested;
static volatile bool send_nested;

static void send_nmi(void)
{
    apic_write(APIC_ICR_HIGH, apic_read(APIC_ID));
    apic_write(APIC_ICR, 4 << 8 | 1 << 14);
}

static bool on_nmi(struct regs *r)
{
    static bool inside;
    (void)r;
    if (inside)
        nmi_nested++;
    inside = true;
    nmis++;
    if (send_nested && nmis < 3)
        send_nmi();
    for (volatile unsigned i = 0; i < 100; i++)
        ;
    inside = false;
    return false;
}

CODE(take_ss_nmi, "movl $0x4400, (%rdi)\n1: jmp 1b");

/* IRET ends the blocking even if it faults (6.7.1): the NMI comes right behind that fault. */
static u32 bad_iret_count; /* NMIs that came before the handler of the fault */
void bad_iret(void);
extern u8 bad_iret_on[];
__asm__(".text\n.globl bad_iret, bad_iret_on\n"
        "bad_iret: mov %rsp, %rax\n push $0\n push $0\n push $2\n push $0\n push $0\n iretq\n"
        "bad_iret_on: mov %rax, %rsp\n ret");

static bool on_bad_iret(struct regs *r)
{
    bad_iret_count = nmis;
    r->rip = (u64)bad_iret_on;
    return false;
}

static void nmi_iret_fault(void)
{
    struct regs r = kernel_at(take_ss_nmi);
    r.rdi = LAPIC + APIC_ICR;
    handlers[NMI] = NULL;
    enter(&r);
    check_eq("in the handler again", r.vector, NMI);
    handlers[NMI] = on_nmi;
    nmis = 0;
    send_nmi();
    /* No IRET on the way there. */
    u32 before = trap_counts[GP];
    bad_iret_count = 0;
    handlers[GP] = on_bad_iret;
    bad_iret();
    handlers[GP] = NULL;
    check_eq("IRET to a null selector faults", trap_counts[GP], before + 1);
    check_eq("its fault unblocks NMIs", bad_iret_count, 1);
}

static void nmi(void)
{
    struct regs r;
    handlers[NMI] = on_nmi;
    nmis = 0;
    send_nmi();
    for (volatile unsigned i = 0; i < 1000; i++)
        ;
    check_eq("NMI with IF clear", nmis, 1);
    send_nested = true;
    nmis = 0;
    send_nmi();
    for (volatile unsigned i = 0; i < 1000; i++)
        ;
    send_nested = false;
    check_eq("NMIs sent from the handler", nmis, 3);
    check_eq("none inside another", nmi_nested, 0);
    nmis = 0;
    r = kernel_at(take_ss_nmi);
    r.rdi = LAPIC + APIC_ICR;
    apic_write(APIC_ICR_HIGH, apic_read(APIC_ID));
    handlers[NMI] = NULL;
    enter(&r);
    check("NMI ends a loop with IF clear", r.vector == NMI);
    /* Its handler has not returned: another one waits for the next IRET, which enter() does. */
    handlers[NMI] = on_nmi;
    nmis = 0;
    send_nmi();
    for (volatile unsigned i = 0; i < 1000; i++)
        ;
    check_eq("blocked until IRET", nmis, 0);
    r = kernel_at(take_nothing);
    enter(&r);
    check_eq("then delivered", nmis, 1);
    nmi_iret_fault();
}

/* ---- the local APIC's timer (10.5.4) ---- */

static void timer(void)
{
    handlers[V_TIMER] = resume_eoi;
    volatile u32 *count = &trap_counts[V_TIMER];
    apic_write(APIC_DIVIDE, 3); /* 16 */
    apic_write(APIC_LVT_TIMER, V_TIMER);
    __asm__ volatile("sti");
    u32 old = *count;
    apic_write(APIC_INITIAL, 2000000);
    u32 now = apic_read(APIC_CURRENT);
    check("it counts down from the start", now <= 2000000 && now > 0);
    check("one shot", wait_change(count, old));
    check_eq("and stops at 0", apic_read(APIC_CURRENT), 0);
    old = *count;
    settle();
    check_eq("one shot is once", *count, old);

    apic_write(APIC_LVT_TIMER, V_TIMER | 1 << 17);
    apic_write(APIC_INITIAL, 20000);
    for (unsigned i = 0; i < 5; i++) {
        old = *count;
        check("periodic", wait_change(count, old));
    }
    apic_write(APIC_LVT_TIMER, V_TIMER | 1 << 17 | 1 << 16);
    __asm__ volatile("nop");
    old = *count;
    settle();
    check("masked", *count <= old + 1);
    apic_write(APIC_INITIAL, 0);
    check_eq("stopped", apic_read(APIC_CURRENT), 0);

    /* HLT until the timer, in a row: the processor sleeps and wakes. */
    apic_write(APIC_LVT_TIMER, V_TIMER | 1 << 17);
    apic_write(APIC_INITIAL, 50000);
    old = *count;
    for (unsigned i = 0; i < 5; i++)
        __asm__ volatile("sti\n hlt");
    check("HLT wakes", *count >= old + 5);
    u32 r[4];
    cpuid(1, r);
    /* MWAIT likewise, on a line that nobody writes; it may wake for no reason (SDM vol. 2B). */
    old = *count;
    while (r[2] >> 3 & 1 && *count < old + 5) {
        __asm__ volatile("monitor" : : "a"(handlers), "c"(0), "d"(0));
        __asm__ volatile("sti\n mwait" : : "a"(0), "c"(0) : "memory");
    }
    apic_write(APIC_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, 1 << 16);
    settle(); /* a period may have ended before that */
    __asm__ volatile("cli");

    if (!(r[2] >> 24 & 1)) {
        say("no TSC deadline: left out\n");
        return;
    }
    apic_write(APIC_LVT_TIMER, V_TIMER | 2 << 17);
    __asm__ volatile("mfence\n sti");
    old = *count;
    u64 when = rdtsc() + 3000000;
    wrmsr(TSC_DEADLINE, when);
    check("TSC deadline", wait_change(count, old));
    check("not too early", rdtsc() >= when);
    check_eq("it is disarmed", rdmsr(TSC_DEADLINE), 0);
    old = *count;
    wrmsr(TSC_DEADLINE, 1);
    check("a deadline in the past", wait_change(count, old));
    wrmsr(TSC_DEADLINE, rdtsc() + 100000000000ull);
    wrmsr(TSC_DEADLINE, 0);
    check_eq("disarmed by 0", rdmsr(TSC_DEADLINE), 0);
    apic_write(APIC_INITIAL, 1000);
    check_eq("the count is ignored", apic_read(APIC_CURRENT), 0);
    __asm__ volatile("cli");
    apic_write(APIC_LVT_TIMER, 1 << 16);
}

/* ---- interrupted loops and strings ---- */

CODE(long_stos, "sti\n rep stosb\n cli");
CODE(long_loop, "sti\n1: inc %rax\n cmpq $0, (%rdi)\n je 1b\n cli");

static volatile u64 string_start, string_count, string_bad, string_seen, string_code;
static volatile u64 loop_end;

static bool in_string(struct regs *r)
{
    if (r->rip == string_code) {
        string_seen++;
        if (r->rdi + r->rcx != string_start + string_count)
            string_bad++;
    }
    eoi();
    return false;
}

static bool end_loop(struct regs *r)
{
    (void)r;
    loop_end = 1;
    eoi();
    return false;
}

static void interrupted(void)
{
    u8 *area = page_alloc(2u << 20);
    struct regs r;
    handlers[V_TIMER] = in_string;
    string_start = (u64)area;
    string_count = 2u << 20;
    string_code = (u64)long_stos + 1;
    apic_write(APIC_DIVIDE, 0xb); /* 1 */
    apic_write(APIC_LVT_TIMER, V_TIMER | 1 << 17);
    apic_write(APIC_INITIAL, 30000);
    for (unsigned i = 0; i < 8; i++) {
        r = kernel_at(long_stos);
        r.rdi = string_start;
        r.rcx = string_count;
        r.rax = i + 1;
        enter(&r);
        check("a long REP STOS", r.vector == STOP && r.rcx == 0 &&
                                     r.rdi == string_start + string_count);
        check("its bytes", area[0] == i + 1 && area[string_count / 2] == i + 1 &&
                               area[string_count - 1] == i + 1);
    }
    check_eq("registers at interrupts of it", string_bad, 0);
    apic_write(APIC_INITIAL, 0);
    handlers[V_TIMER] = end_loop;
    loop_end = 0;
    apic_write(APIC_LVT_TIMER, V_TIMER);
    apic_write(APIC_INITIAL, 1000000);
    r = kernel_at(long_loop);
    r.rdi = (u64)&loop_end;
    enter(&r);
    check("a loop that only an interrupt ends", r.vector == STOP && r.rax > 0);
    apic_write(APIC_INITIAL, 0);
    apic_write(APIC_LVT_TIMER, 1 << 16);
    __asm__ volatile("sti\n nop\n cli" : : : "memory"); /* one may have come since */
    handlers[V_TIMER] = NULL;
}

/* ---- 8259A and 8254 ---- */

static void pic_setup(void)
{
    outb(PIC1, 0x11);
    outb(PIC2, 0x11);
    outb(PIC1 + 1, V_PIC);
    outb(PIC2 + 1, V_PIC + 8);
    outb(PIC1 + 1, 4);
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1);
    outb(PIC2 + 1, 1);
    outb(PIC1 + 1, 0xff);
    outb(PIC2 + 1, 0xff);
}

static void pit_start(u8 mode, u16 count)
{
    outb(0x43, (u8)(0x30 | mode << 1));
    outb(0x40, (u8)count);
    outb(0x40, (u8)(count >> 8));
}

static volatile u32 pic_isr_seen;

static bool on_pic(struct regs *r)
{
    (void)r;
    outb(PIC1, 0x0b);
    pic_isr_seen = inb(PIC1);
    outb(PIC1, 0x20);
    return false;
}

static bool on_pic_twice(struct regs *r)
{
    (void)r;
    outb(PIC1, 0x0b);
    pic_isr_seen = inb(PIC1);
    return false; /* no EOI */
}

static void pic(void)
{
    volatile u32 *count = &trap_counts[V_PIC];
    pic_setup();
    apic_write(APIC_LVT_LINT0, 7 << 8); /* ExtINT */
    handlers[V_PIC] = on_pic;
    pit_start(2, 2000);
    outb(PIC1 + 1, 0xfe);
    __asm__ volatile("sti");
    for (unsigned i = 0; i < 4; i++) {
        u32 old = *count;
        check("PIT through the PIC", wait_change(count, old));
    }
    check_eq("ISR in the handler", pic_isr_seen, 1);
    outb(PIC1 + 1, 0xff);
    u32 old = *count;
    settle();
    check("IMR", *count <= old + 1);
    outb(PIC1, 0x0a);
    check("IRR holds it", inb(PIC1) & 1);
    /* Without EOI no further one of that level comes. */
    handlers[V_PIC] = on_pic_twice;
    old = *count;
    outb(PIC1 + 1, 0xfe); /* it may come at once */
    check("unmasked again", wait_change(count, old));
    old = *count;
    settle();
    check_eq("none before the EOI", *count, old);
    handlers[V_PIC] = on_pic;
    outb(PIC1, 0x60); /* specific EOI */
    check("after it", wait_change(count, old));
    /* One shot (mode 0), and HLT for it. */
    __asm__ volatile("cli");
    pit_start(0, 5000);
    outb(PIC1 + 1, 0xff);
    outb(PIC1 + 1, 0xfe);
    old = *count;
    __asm__ volatile("sti\n hlt\n cli");
    check("HLT until the PIT", *count != old);
    /* LINT0 masked: the PIC does not reach the processor. */
    apic_write(APIC_LVT_LINT0, 1 << 16 | 7 << 8);
    pit_start(2, 2000);
    __asm__ volatile("sti");
    old = *count;
    settle();
    check_eq("LINT0 masked", *count, old);
    __asm__ volatile("cli");
    outb(PIC1 + 1, 0xff);
    pit_start(0, 0xffff);
    handlers[V_PIC] = NULL;
}

/* ---- I/O APIC (82093AA): the PIT is on pin 2 ---- */

static void ioapic_write(u32 reg, u32 v)
{
    *(volatile u32 *)IOAPIC = reg;
    *(volatile u32 *)(IOAPIC + 0x10) = v;
}

static u32 ioapic_read(u32 reg)
{
    *(volatile u32 *)IOAPIC = reg;
    return *(volatile u32 *)(IOAPIC + 0x10);
}

static void ioapic(void)
{
    volatile u32 *count = &trap_counts[V2];
    check_eq("24 pins", ioapic_read(1) >> 16 & 0xff, 23);
    handlers[V2] = resume_eoi;
    ioapic_write(0x10 + 2 * 2 + 1, apic_read(APIC_ID));
    ioapic_write(0x10 + 2 * 2, V2);
    check_eq("the entry reads back", ioapic_read(0x10 + 4) & 0x1ffff, V2);
    pit_start(2, 3000);
    __asm__ volatile("sti");
    for (unsigned i = 0; i < 4; i++) {
        u32 old = *count;
        check("PIT through the I/O APIC", wait_change(count, old));
    }
    ioapic_write(0x10 + 4, V2 | 1 << 16);
    u32 old = *count;
    settle();
    check("masked at the I/O APIC", *count <= old + 1);
    __asm__ volatile("cli");
    pit_start(0, 0xffff);
    handlers[V2] = NULL;
}

/* An interrupt whose gate is missing: the error code has EXT (6.13). */
static void no_gate(void)
{
    idt[V1 * 2] &= ~(1ull << 47);
    struct regs r = with_pending(take_sti, 0);
    expect("interrupt, gate not present", &r, NP, V1 * 8 + 3, take_sti + 2);
    eoi();
    reset_gate(V1);
}

void test_main(void)
{
    apic_write(APIC_SVR, 0x1ff);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LVT_LINT0, 1 << 16);
    where();
    priority();
    nmi();
    no_gate();
    timer();
    interrupted();
    pic();
    ioapic();
}

/* The local APIC of one processor in both of its modes, and level-triggered inputs of the I/O APIC.
 *
 * SDM vol. 3A chapter 10 (sections beside the checks); 82093AA data sheet.  Priorities, timers and
 * what holds interrupts back are in interrupt.c; several processors in smp64.c.  Needs -device
 * pc-testdev.
 */
#include "tests/guest/lib/apic.h"

CODE(read_msr, "rdmsr");
CODE(write_msr, "wrmsr");

static volatile u32 ring[64], ringed;

static bool note(struct regs *r)
{
    ring[ringed++ & 63] = (u32)r->vector;
    eoi();
    return false;
}

static bool note_nmi(struct regs *r)
{
    ring[ringed++ & 63] = (u32)r->vector;
    return false;
}

/* What came since the last call: the only vector, 0 for none, ~0 for several. */
static u32 came(void)
{
    let_in();
    u32 n = ringed;
    ringed = 0;
    return n == 1 ? ring[0] : n ? ~0u : 0;
}

static struct regs rd(u32 msr)
{
    struct regs r = kernel_at(read_msr);
    r.rcx = msr;
    enter(&r);
    return r;
}

static struct regs wr(u32 msr, u64 v)
{
    struct regs r = kernel_at(write_msr);
    r.rcx = msr;
    r.rax = (u32)v;
    r.rdx = v >> 32;
    enter(&r);
    return r;
}

static void expect_gp(const char *name, const struct regs *r)
{
    expect(name, r, GP, 0, (void *)(r->rip == (u64)read_msr ? read_msr : write_msr));
}

/* ---- both modes ---- */

/* 10.8.3.1, 10.8.6. */
static void priorities(void)
{
    static const struct {
        u8 tpr, cr8;
    } pairs[] = {{0x00, 0}, {0x35, 3}, {0xff, 15}, {0x0f, 0}};
    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
        u64 cr8;
        apic_write(APIC_TPR, pairs[i].tpr);
        __asm__ volatile("mov %%cr8, %0" : "=r"(cr8));
        check_eq("CR8 of TPR", cr8, pairs[i].cr8);
        check_eq("PPR of TPR", apic_read(APIC_PPR), pairs[i].tpr);
    }
    __asm__ volatile("mov %0, %%cr8" : : "r"(5ull));
    check_eq("TPR of CR8", apic_read(APIC_TPR), 0x50);
    apic_send(0, ICR_SELF | 0x5f);
    check_eq("class of TPR is held", came(), 0);
    check("IRR", apic_bit(APIC_IRR, 0x5f));
    apic_send(0, ICR_SELF | 0x60);
    check_eq("class above TPR", came(), 0x60);
    __asm__ volatile("mov %0, %%cr8" : : "r"(0ull));
    check_eq("TPR lowered", came(), 0x5f);
    check("IRR empty", !apic_bit(APIC_IRR, 0x5f));
    eoi(); /* with nothing in service: no effect (10.8.5) */
    check_eq("EOI for nothing", came(), 0);
}

/* 10.9: the spurious-interrupt vector register.  TPR holds back what was pending before it rose,
 * and nothing spurious comes in its place. */
static void spurious(void)
{
    apic_write(APIC_SVR, 0x17e);
    check_eq("spurious vector", apic_read(APIC_SVR), 0x17e);
    apic_write(APIC_SVR, 0x37e);
    check_eq("focus checking off", apic_read(APIC_SVR), 0x37e);
    if (!x2apic()) {
        apic_write(APIC_SVR, 0xfffffd7e);
        check_eq("SVR's reserved bits, suppression of EOI broadcasts", apic_read(APIC_SVR), 0x17e);
    }
    apic_send(0, ICR_SELF | 0x5f);
    for (u64 end = rdtsc() + 1000000000; !apic_bit(APIC_IRR, 0x5f) && rdtsc() < end;)
        ;
    apic_write(APIC_TPR, 0x60);
    check_eq("held back while pending", came(), 0);
    check("still pending", apic_bit(APIC_IRR, 0x5f) && !apic_bit(APIC_ISR, 0x7e));
    apic_write(APIC_TPR, 0);
    check_eq("let in", came(), 0x5f);
    check("once", !apic_bit(APIC_IRR, 0x5f) && !apic_bit(APIC_ISR, 0x5f));
    apic_write(APIC_SVR, 0x1ff);
}

/* 10.5.3: a write brings the errors since the last one into ESR. */
static void errors(void)
{
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
    check_eq("no error", apic_read(APIC_ESR), 0);
    apic_send(0, ICR_SELF | 5);
    check_eq("ESR before its write", apic_read(APIC_ESR), 0);
    apic_write(APIC_ESR, 0);
    check_eq("send illegal vector", apic_read(APIC_ESR) & 0x20, 0x20);
    apic_write(APIC_ESR, 0);
    check_eq("ESR cleared", apic_read(APIC_ESR), 0);
    apic_write(APIC_LVT_ERROR, 0x45);
    apic_send(0, ICR_SELF | 15);
    check_eq("error interrupt", came(), 0x45);
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
    /* An LVT entry with an illegal vector: received illegal vector. */
    apic_write(APIC_LVT_TIMER, 3);
    apic_write(APIC_DIVIDE, 0xb);
    apic_write(APIC_INITIAL, 1);
    for (u64 end = rdtsc() + 1000000000; !ringed && rdtsc() < end;)
        let_in();
    check_eq("error interrupt of the timer's vector", came(), 0x45);
    apic_write(APIC_ESR, 0);
    check_eq("receive illegal vector", apic_read(APIC_ESR) & 0x40, 0x40);
    apic_write(APIC_LVT_TIMER, LVT_MASKED);
    apic_write(APIC_LVT_ERROR, LVT_MASKED);
    apic_write(APIC_ESR, 0);
}

/* 10.4.7.2: software disable. */
static void software_disable(void)
{
    apic_write(APIC_LVT_THERMAL, 0x44);
    apic_write(APIC_SVR, 0x0ff);
    check_eq("disabled: LVT masked", apic_read(APIC_LVT_THERMAL), LVT_MASKED | 0x44);
    apic_write(APIC_LVT_THERMAL, 0x44);
    check_eq("mask cannot be cleared", apic_read(APIC_LVT_THERMAL), LVT_MASKED | 0x44);
    apic_send(0, ICR_SELF | 0x48);
    check_eq("disabled: fixed interrupts are lost", came(), 0);
    check("not even pending", !apic_bit(APIC_IRR, 0x48));
    apic_send(0, ICR_NMI | ICR_ASSERT);
    check_eq("disabled: NMI", came(), NMI);
    apic_write(APIC_SVR, 0x1ff);
    check_eq("LVT stays masked", apic_read(APIC_LVT_THERMAL), LVT_MASKED | 0x44);
    apic_send(0, ICR_SELF | 0x48);
    check_eq("enabled again", came(), 0x48);
}

/* 10.6.1: shorthands and destinations that reach only this processor. */
static void destinations(void)
{
    u32 all = x2apic() ? 0xffffffff : 0xff;
    apic_send(0, ICR_ALL | ICR_ASSERT | 0x51);
    check_eq("all including self", came(), 0x51);
    apic_send(0, ICR_OTHERS | ICR_ASSERT | 0x52);
    check_eq("all excluding self", came(), 0);
    apic_send(all, ICR_ASSERT | 0x53);
    check_eq("physical broadcast", came(), 0x53);
    apic_send(0, ICR_ASSERT | 0x54);
    check_eq("physical", came(), 0x54);
    apic_send(3, ICR_ASSERT | 0x55);
    check_eq("physical, nobody", came(), 0);
    apic_send(0, ICR_LOWEST | ICR_ASSERT | 0x56);
    check_eq("lowest priority", came(), 0x56);
    apic_send(0, ICR_INIT | ICR_LEVEL);
    check_eq("INIT level de-assert does nothing", came(), 0);
}

/* ---- xAPIC ---- */

static void logical(void)
{
    apic_write(APIC_LDR, 0x24000000);
    check_eq("LDR", apic_read(APIC_LDR), 0x24000000);
    apic_write(APIC_DFR, 0xffffffff);
    apic_send(0x04, ICR_LOGICAL | ICR_ASSERT | 0x51);
    check_eq("flat", came(), 0x51);
    apic_send(0x20, ICR_LOGICAL | ICR_ASSERT | 0x52);
    check_eq("flat, another bit", came(), 0x52);
    apic_send(0xdb, ICR_LOGICAL | ICR_ASSERT | 0x53);
    check_eq("flat, others' bits", came(), 0);
    apic_write(APIC_DFR, 0x0fffffff);
    check_eq("DFR", apic_read(APIC_DFR), 0x0fffffff);
    apic_send(0x24, ICR_LOGICAL | ICR_ASSERT | 0x54);
    check_eq("cluster", came(), 0x54);
    apic_send(0x14, ICR_LOGICAL | ICR_ASSERT | 0x55);
    check_eq("another cluster", came(), 0);
    apic_send(0x2b, ICR_LOGICAL | ICR_ASSERT | 0x56);
    check_eq("cluster, others' bits", came(), 0);
    apic_send(0xf4, ICR_LOGICAL | ICR_ASSERT | 0x57);
    check_eq("all clusters", came(), 0x57);
    apic_write(APIC_DFR, 0xffffffff);
}

/* 10.5.1: what LINT0 may send; the 8259 is behind it (10.1, virtual wire mode). */
static void lint0(void)
{
    static const u8 icw[][2] = {{0x20, 0x11}, {0x21, 0x70}, {0x21, 4}, {0x21, 1}, {0x21, 0xdf}};
    for (unsigned i = 0; i < ARRAY_SIZE(icw); i++)
        outb(icw[i][0], icw[i][1]);
    apic_write(APIC_LVT_LINT0, ICR_NMI);
    testdev_line(5, true);
    check_eq("LINT0 as NMI", came(), NMI);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    outb(0x20, 0x0c); /* poll and end the 8259's request */
    inb(0x20);
    outb(0x20, 0x20);
    testdev_line(5, false);
    apic_write(APIC_LVT_LINT0, 0x49);
    testdev_line(5, true);
    check_eq("LINT0, fixed", came(), 0x49);
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    outb(0x20, 0x0c);
    inb(0x20);
    outb(0x20, 0x20);
    testdev_line(5, false);
    /* ExtINT: the vector is the 8259's, and neither IRR nor ISR take part. */
    apic_write(APIC_LVT_LINT0, 0x700);
    apic_write(APIC_TPR, 0xff);
    handlers[0x75] = note_nmi;
    testdev_line(5, true);
    check_eq("ExtINT, whatever TPR is", came(), 0x75);
    check("ExtINT leaves ISR alone", !apic_bit(APIC_ISR, 0x75));
    apic_write(APIC_TPR, 0);
    outb(0x20, 0x20);
    testdev_line(5, false);
    handlers[0x75] = note;
    apic_write(APIC_LVT_LINT0, LVT_MASKED);
    outb(0x21, 0xff);
}

static volatile u32 remote_irr_seen, level_left;

static bool level_handler(struct regs *r)
{
    ring[ringed++ & 63] = (u32)r->vector;
    remote_irr_seen = ioapic_read(0x10 + 2 * 10) >> 14 & 1;
    if (!--level_left)
        testdev_line(10, false);
    eoi();
    return false;
}

/* 82093AA 3.2.4: a level-triggered input is sent again after EOI while it is asserted. */
static void ioapic_level(void)
{
    enum { ENTRY = 0x10 + 2 * 10, VECTOR = 0x4a };
    handlers[VECTOR] = level_handler;
    ioapic_write(ENTRY + 1, 0);
    ioapic_write(ENTRY, VECTOR | LVT_LEVEL);
    level_left = 3;
    testdev_line(10, true);
    let_in();
    check_eq("level: until the line falls", ringed, 3);
    ringed = 0;
    check_eq("remote IRR in the handler", remote_irr_seen, 1);
    check_eq("remote IRR after EOI", ioapic_read(ENTRY) >> 14 & 1, 0);
    check("TMR", apic_bit(APIC_TMR, VECTOR));
    /* Masked while asserted: sent when the mask goes. */
    ioapic_write(ENTRY, VECTOR | LVT_LEVEL | LVT_MASKED);
    level_left = 1;
    testdev_line(10, true);
    check_eq("level, masked", came(), 0);
    ioapic_write(ENTRY, VECTOR | LVT_LEVEL);
    check_eq("level, unmasked", came(), VECTOR);
    /* An edge that comes while masked is lost. */
    handlers[VECTOR] = note;
    ioapic_write(ENTRY, VECTOR | LVT_MASKED);
    testdev_line(10, true);
    ioapic_write(ENTRY, VECTOR);
    check_eq("edge while masked", came(), 0);
    testdev_line(10, false);
    testdev_line(10, true);
    check_eq("edge", came(), VECTOR);
    check("TMR of an edge", !apic_bit(APIC_TMR, VECTOR));
    check_eq("an edge comes once", came(), 0);
    testdev_line(10, false);
    ioapic_write(ENTRY, ICR_NMI);
    testdev_line(10, true);
    check_eq("I/O APIC, NMI", came(), NMI);
    testdev_line(10, false);
    ioapic_write(ENTRY, LVT_MASKED);
}

/* ---- IA32_APIC_BASE (10.4.4, 10.12.5) ---- */

static void reset_values(void)
{
    static const struct {
        u32 reg, value;
    } values[] = {
        {APIC_TPR, 0}, {APIC_LDR, 0}, {APIC_DFR, 0xffffffff}, {APIC_SVR, 0xff},
        {APIC_LVT_TIMER, LVT_MASKED}, {APIC_LVT_THERMAL, LVT_MASKED}, {APIC_LVT_PERF, LVT_MASKED},
        {APIC_LVT_LINT0, LVT_MASKED}, {APIC_LVT_LINT1, LVT_MASKED}, {APIC_LVT_ERROR, LVT_MASKED},
        {APIC_ICR, 0}, {APIC_INITIAL, 0}, {APIC_CURRENT, 0}, {APIC_DIVIDE, 0}, {APIC_ESR, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        check_eq("after disable and enable", apic_read(values[i].reg), values[i].value);
}

static bool cpuid_apic(void)
{
    u32 r[4];
    cpuid(1, r);
    return r[3] >> 9 & 1;
}

static void base_transitions(bool has_x2apic)
{
    u64 base = rdmsr(MSR_APIC_BASE), clear = base & ~(u64)(BASE_EN | BASE_EXTD);
    struct regs r;
    check_eq("BSP, enabled, at FEE00000", base & ~(u64)BASE_EXTD, 0xfee00000 | BASE_EN | BASE_BSP);
    static const u8 reserved[] = {0, 7, 9, 52, 63};
    for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
        r = wr(MSR_APIC_BASE, base | 1ull << reserved[i]);
        expect_gp("APIC_BASE, reserved bit", &r);
    }
    r = wr(MSR_APIC_BASE, clear | BASE_EXTD);
    expect_gp("EXTD without EN", &r);
    apic_write(APIC_TPR, 0x20);
    apic_write(APIC_LDR, 0x12000000);
    wrmsr(MSR_APIC_BASE, clear);
    check("CPUID while disabled", !cpuid_apic());
    if (has_x2apic) {
        r = wr(MSR_APIC_BASE, clear | BASE_EN | BASE_EXTD);
        expect_gp("disabled to x2APIC", &r);
    }
    wrmsr(MSR_APIC_BASE, clear | BASE_EN);
    check("CPUID while enabled", cpuid_apic());
    reset_values();
    apic_write(APIC_SVR, 0x1ff);
    if (!has_x2apic) {
        r = wr(MSR_APIC_BASE, clear | BASE_EN | BASE_EXTD);
        expect_gp("x2APIC that CPUID has not", &r);
        r = rd(0x802);
        expect_gp("x2APIC register that CPUID has not", &r);
        return;
    }
    r = rd(0x802);
    expect_gp("x2APIC register in xAPIC mode", &r);
    wrmsr(MSR_APIC_BASE, clear | BASE_EN | BASE_EXTD);
    r = wr(MSR_APIC_BASE, clear | BASE_EN);
    expect_gp("x2APIC to xAPIC", &r);
    wrmsr(MSR_APIC_BASE, clear);
    r = rd(0x802);
    expect_gp("x2APIC register while disabled", &r);
    wrmsr(MSR_APIC_BASE, clear | BASE_EN);
    reset_values();
    apic_write(APIC_SVR, 0x1ff);
}

/* ---- x2APIC (10.12.1.2, table 10-6) ---- */

enum { R = 1, W = 2 };

static unsigned x2apic_access(u32 n)
{
    if ((n >= 0x10 && n <= 0x27) || n == 0x02 || n == 0x03 || n == 0x0a || n == 0x0d || n == 0x39)
        return R;
    if (n == 0x0b || n == 0x3f)
        return W;
    if (n == 0x08 || n == 0x0f || n == 0x28 || n == 0x30 || (n >= 0x32 && n <= 0x38) || n == 0x3e)
        return R | W;
    return 0;
}

static void x2apic_registers(void)
{
    /* number, bits that may be written */
    static const struct {
        u32 n;
        u64 bits;
    } reserved[] = {
        {0x08, 0xff},    {0x0b, 0},       {0x0f, 0x3ff},   {0x28, 0},       {0x32, 0x750ff},
        {0x33, 0x117ff}, {0x34, 0x117ff}, {0x35, 0x1f7ff}, {0x36, 0x1f7ff}, {0x37, 0x110ff},
        {0x38, 0xffffffff}, {0x3e, 0xb},  {0x3f, 0xff},
    };
    struct regs r;
    for (u32 n = 0; n < 0x100; n++) {
        unsigned access = x2apic_access(n);
        r = rd(0x800 + n);
        if (access & R)
            expect("x2APIC read", &r, STOP, 0, read_msr_end + 2);
        else
            expect_gp("x2APIC read of nothing", &r);
        if (access & W)
            continue;
        r = wr(0x800 + n, 0);
        expect_gp("x2APIC write of nothing", &r);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
        for (unsigned bit = 0; bit < 64; bit++) {
            if (reserved[i].bits >> bit & 1)
                continue;
            r = wr(0x800 + reserved[i].n, 1ull << bit);
            expect_gp("x2APIC reserved bit", &r);
        }
    }
    static const u8 icr_reserved[] = {13, 16, 17, 20, 31};
    for (unsigned i = 0; i < ARRAY_SIZE(icr_reserved); i++) {
        r = wr(0x830, 1ull << icr_reserved[i]);
        expect_gp("x2APIC ICR reserved bit", &r);
    }
    u32 id = (u32)rdmsr(0x802);
    check_eq("x2APIC ID", id, 0);
    check_eq("x2APIC LDR (10.12.10.2)", rdmsr(0x80d), (id >> 4) << 16 | 1u << (id & 15));
}

static void x2apic_mode(void)
{
    u64 ldr;
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BASE_EXTD);
    apic_write(APIC_SVR, 0x1ff);
    check_group = "x2APIC/";
    x2apic_registers();
    apic_write(APIC_SVR, 0x1ff);
    apic_write(APIC_TPR, 0);
    priorities();
    spurious();
    errors();
    software_disable();
    destinations();
    wrmsr(0x83f, 0x57);
    check_eq("self IPI", came(), 0x57);
    ldr = rdmsr(0x80d);
    wrmsr(0x830, ldr << 32 | ICR_LOGICAL | 0x58);
    check_eq("logical", came(), 0x58);
    wrmsr(0x830, (ldr ^ 0x10000) << 32 | ICR_LOGICAL | 0x59);
    check_eq("logical, another cluster", came(), 0);
    wrmsr(0x830, 0xfffeull << 32 | ICR_LOGICAL | 0x5a);
    check_eq("logical, others' bits", came(), 0);
    check_eq("ICR reads as written", rdmsr(0x830), 0xfffeull << 32 | ICR_LOGICAL | 0x5a);
    ioapic_level();
    check_group = "";
}

void test_main(void)
{
    u32 r[4];
    cpuid(1, r);
    bool has_x2apic = r[2] >> 21 & 1;
    for (unsigned v = 0x40; v < 0x7f; v++)
        handlers[v] = note;
    handlers[NMI] = note_nmi;
    if (!under_tcg()) /* which never enables an APIC again */
        base_transitions(has_x2apic);
    apic_write(APIC_SVR, 0x1ff);
    apic_write(APIC_TPR, 0);
    if (!under_tcg()) /* which delivers illegal vectors */
        errors();
    check("version of an integrated APIC", (apic_read(APIC_VERSION) & 0xf0) == 0x10);
    check_eq("no suppression of EOI broadcasts", apic_read(APIC_VERSION) >> 24 & 1, 0);
    priorities();
    spurious();
    software_disable();
    destinations();
    logical();
    lint0();
    ioapic_level();
    if (has_x2apic)
        x2apic_mode();
    else
        say("no x2APIC: left out\n");
}

/* Several processors: INIT and SIPI, IPIs by every kind of destination, NMIs, and what processors see
 * of each other's page tables.
 *
 * SDM vol. 3A chapters 8 and 10 (sections beside the checks).  Runs on any number of processors from 2
 * to 8.
 */
#include "tests/guest/lib/smp.h"

enum { VECTOR = 0x50, VECTOR_TLB = 0x51 };

/* By APIC ID. */
static volatile struct {
    u32 up, cs, cr0, fixed, nmi, work, done, wrong, halting;
} cpus[MAX_CPUS];
static unsigned count;

static bool on_fixed(struct regs *r)
{
    (void)r;
    cpus[cpu_id()].fixed++;
    eoi();
    return false;
}

static bool on_nmi(struct regs *r)
{
    (void)r;
    cpus[cpu_id()].nmi++;
    return false;
}

/* ---- what an application processor does: `work` says ---- */

enum { IDLE, GO_X2APIC, READ_PAGE, TAKE_PAGE, STOP_HERE, FOLLOW };

#define AREA 0x8000000000ull
static volatile u32 *const page = (volatile u32 *)AREA;
static volatile u64 *entry;
static u64 present;
static volatile u32 rounds_left;

static bool on_tlb(struct regs *r)
{
    (void)r;
    invlpg((void *)AREA);
    cpus[cpu_id()].fixed++;
    eoi();
    return false;
}

/* Takes the page away again and again while another processor uses it; an entry that has been taken
 * must stay 0: accessed and dirty bits are set in present entries only, in one locked step (4.8). */
static void take_page(unsigned me)
{
    while (rounds_left) {
        u64 none = 0;
        __asm__ volatile("xchg %0, %1" : "+r"(none), "+m"(*entry) : : "memory");
        for (unsigned i = 0; i < 300; i++)
            cpus[me].wrong += *entry != 0;
        *entry = present;
        spin(3);
    }
}

/* Until an NMI. */
static void stop_here(unsigned me)
{
    __asm__ volatile("cli");
    cpus[me].halting = 1;
    __asm__ volatile("hlt" : : : "memory");
    cpus[me].halting = 0;
}

/* ---- MONITOR, MWAIT (8.10) ---- */

static volatile u32 ball[64] __attribute__((aligned(64))); /* [0] to follow, [32] the answer */

/* Sleeps until the line changes or an interrupt comes; may wake without either. */
static void await_change(volatile u32 *p, u32 old)
{
    while (*p == old) {
        __asm__ volatile("monitor" : : "a"(p), "c"(0), "d"(0));
        if (*p == old)
            __asm__ volatile("mwait" : : "a"(0), "c"(0) : "memory");
    }
}

static void follow(void)
{
    for (u32 n = 0; n < 200; n++) {
        await_change(&ball[0], n);
        ball[32] = n + 1;
    }
}

void ap_main(unsigned number, u32 cs, u32 cr0)
{
    (void)number;
    load_idt(idt, 4095);
    unsigned me = cpu_id();
    apic_write(APIC_SVR, 0x1ff);
    cpus[me].cs = cs;
    cpus[me].cr0 = cr0;
    cpus[me].work = IDLE;
    cpus[me].up++;
    for (;;) {
        __asm__ volatile("sti; pause" : : : "memory");
        u32 work = cpus[me].work;
        if (work == IDLE)
            continue;
        if (work == GO_X2APIC)
            wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BASE_EXTD);
        else if (work == READ_PAGE)
            cpus[me].wrong = *page;
        else if (work == FOLLOW)
            follow();
        else if (work == TAKE_PAGE)
            take_page(me);
        else
            stop_here(me);
        cpus[me].work = IDLE;
        cpus[me].done++;
    }
}

static void let_do(unsigned cpu, u32 work)
{
    u32 done = cpus[cpu].done;
    cpus[cpu].work = work;
    check("work is done", wait_for(&cpus[cpu].done, done + 1));
}

/* ---- start (8.4.3, 10.4.7.3) ---- */

static void start(void)
{
    place_start();
    apic_send(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
    settle();
    check_eq("INIT alone starts nobody", ap_count, 0);
    apic_send(0, ICR_OTHERS | ICR_ASSERT | VECTOR); /* a fixed IPI does not wake them either */
    apic_send(0, ICR_OTHERS | ICR_ASSERT | ICR_SIPI | START >> 12);
    check("SIPI starts all others", wait_for(&ap_count, count - 1));
    for (unsigned i = 1; i < count; i++) {
        check("it is up", wait_for(&cpus[i].up, 1));
        check_eq("CS after SIPI", cpus[i].cs, START >> 4);
        check_eq("CR0 after INIT", cpus[i].cr0 & ~0x60000000u, 0x10);
        check("no BSP flag", cpus[i].fixed == 0);
    }
    /* To a running processor a SIPI is nothing. */
    apic_send(0, ICR_OTHERS | ICR_ASSERT | ICR_SIPI | START >> 12);
    settle();
    check_eq("SIPI while running", ap_count, count - 1);
}

/* INIT resets a running processor, which then waits for a SIPI and hears nothing else. */
static void again(void)
{
    u32 ups = cpus[1].up, fixed = cpus[1].fixed;
    apic_send(1, ICR_ASSERT | ICR_INIT);
    settle();
    apic_send(1, ICR_ASSERT | VECTOR);
    if (!under_tcg()) /* which takes it, and is lost */
        apic_send(1, ICR_ASSERT | ICR_NMI);
    settle();
    check_eq("INIT: waits for SIPI", cpus[1].up, ups);
    check_eq("INIT: no interrupts", cpus[1].fixed, fixed);
    apic_send(1, ICR_ASSERT | ICR_SIPI | START >> 12);
    check("SIPI after INIT", wait_for(&cpus[1].up, ups + 1));
    check("its APIC works", wait_for(&cpus[1].work, IDLE));
}

/* ---- destinations (10.6.2) ---- */

/* Sends and compares who got it with `mask`. */
static void sent(const char *name, u32 dest, u32 low, u32 mask)
{
    u32 before[MAX_CPUS], got = 0;
    bool nmi = (low & 0x700) == ICR_NMI;
    for (unsigned i = 0; i < count; i++)
        before[i] = nmi ? cpus[i].nmi : cpus[i].fixed;
    apic_send(dest, low | ICR_ASSERT);
    for (unsigned i = 0; i < count; i++)
        if (i && mask >> i & 1)
            check(name, wait_for(nmi ? &cpus[i].nmi : &cpus[i].fixed, before[i] + 1));
    let_in();
    settle();
    for (unsigned i = 0; i < count; i++) {
        u32 n = (nmi ? cpus[i].nmi : cpus[i].fixed) - before[i];
        got |= n == 1 ? 1u << i : n ? 1u << 31 : 0;
    }
    check_eq(name, got, mask & ((1u << count) - 1));
}

static void destinations(void)
{
    u32 everyone = (1u << count) - 1, all = x2apic() ? 0xffffffff : 0xff;
    for (unsigned i = 0; i < count; i++)
        sent("physical", i, VECTOR, 1u << i);
    sent("physical, nobody", count, VECTOR, 0);
    sent("physical broadcast", all, VECTOR, everyone);
    sent("all including self", 0, ICR_ALL | VECTOR, everyone);
    sent("all excluding self", 0, ICR_OTHERS | VECTOR, everyone & ~1u);
    sent("self", 1, ICR_SELF | VECTOR, 1);
    sent("NMI", 1, ICR_NMI, 2);
    sent("NMI to all others", 0, ICR_OTHERS | ICR_NMI, everyone & ~1u);
    /* NMIs come to halted processors with interrupts off, too. */
    u32 fixed = cpus[1].fixed;
    cpus[1].work = STOP_HERE;
    check("HLT", wait_for(&cpus[1].halting, 1));
    sent("fixed, interrupts off", 1, VECTOR, 0);
    sent("NMI to HLT", 1, ICR_NMI, 2);
    check("it went on", wait_for(&cpus[1].work, IDLE));
    check("the fixed one was kept", wait_for(&cpus[1].fixed, fixed + 1));
}

static void set_logical(unsigned cpu, u32 ldr, u32 dfr);

static void logical(void)
{
    for (unsigned i = 0; i < count; i++)
        set_logical(i, 1u << (24 + i), 0xffffffff);
    sent("flat", 1u << 1, ICR_LOGICAL | VECTOR, 2);
    sent("flat, two", 3, ICR_LOGICAL | VECTOR, 3);
    sent("flat, all", 0xff, ICR_LOGICAL | VECTOR, ~0u);
    sent("flat, nobody", 1u << 7, ICR_LOGICAL | VECTOR, 0);
    for (unsigned i = 0; i < count; i++)
        set_logical(i, (i / 2) << 28 | 1u << (24 + i % 2), 0x0fffffff);
    sent("cluster 0", 0x03, ICR_LOGICAL | VECTOR, 3);
    sent("cluster 0, second", 0x02, ICR_LOGICAL | VECTOR, 2);
    if (count > 2) {
        sent("cluster 1", 0x13, ICR_LOGICAL | VECTOR, 12);
        sent("all clusters, first", 0xf1, ICR_LOGICAL | VECTOR, 5);
    }
    for (unsigned i = 0; i < count; i++)
        set_logical(i, 1u << (24 + i), 0xffffffff);
}

/* One of those addressed with the lowest priority takes it (10.6.2.4). */
static void lowest(void)
{
    apic_write(APIC_TPR, 0x40);
    sent("lowest priority", 3, ICR_LOGICAL | ICR_LOWEST | VECTOR, 2);
    apic_write(APIC_TPR, 0);
}

/* Registers of other processors' APICs: by an NMI-safe mailbox in the fixed handler's place. */
static volatile u32 want_ldr, want_dfr;

static bool on_set(struct regs *r)
{
    (void)r;
    apic_write(APIC_DFR, want_dfr);
    apic_write(APIC_LDR, want_ldr);
    cpus[cpu_id()].done++;
    eoi();
    return false;
}

static void set_logical(unsigned cpu, u32 ldr, u32 dfr)
{
    u32 done = cpus[cpu].done;
    want_ldr = ldr;
    want_dfr = dfr;
    apic_send(cpu, ICR_ASSERT | 0x52);
    let_in();
    check("LDR and DFR set", wait_for(&cpus[cpu].done, done + 1));
}

/* ---- x2APIC (10.12.9, 10.12.10) ---- */

static void x2apic_mode(void)
{
    u32 everyone = (1u << count) - 1;
    for (unsigned i = 1; i < count; i++)
        let_do(i, GO_X2APIC);
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BASE_EXTD);
    check_group = "x2APIC/";
    destinations();
    sent("logical", 1u << 1, ICR_LOGICAL | VECTOR, 2);
    sent("logical, several", everyone, ICR_LOGICAL | VECTOR, everyone);
    sent("logical, another cluster", 0x10000 | everyone, ICR_LOGICAL | VECTOR, 0);
    sent("lowest priority", 2, ICR_LOGICAL | ICR_LOWEST | VECTOR, 2);
    again();
    check_group = "";
}

/* ---- translations (4.10.5) ---- */

static void shootdown(u8 *one, u8 *two)
{
    *(u32 *)one = 1;
    *(u32 *)two = 2;
    for (unsigned i = 0; i < 20; i++) {
        u8 *now = i & 1 ? two : one;
        *entry = (u64)now | PT_P | PT_W;
        u32 fixed = cpus[1].fixed;
        apic_send(1, ICR_ASSERT | VECTOR_TLB);
        check("shootdown", wait_for(&cpus[1].fixed, fixed + 1));
        let_do(1, READ_PAGE);
        check_eq("page after shootdown", cpus[1].wrong, 1 + (i & 1));
    }
}

CODE(touch, "mov (%rdi), %eax");
CODE(dirty, "mov %eax, (%rdi)");

static void accessed_and_dirty(u8 *one)
{
    u32 done = cpus[1].done;
    u64 now = rdtsc(), enough = now + 1500000000, end = now + 50000000000;
    present = (u64)one | PT_P | PT_W;
    cpus[1].wrong = 0;
    rounds_left = 1;
    cpus[1].work = TAKE_PAGE;
    u32 faults = 0, fine = 0;
    while ((now = rdtsc()) < enough || ((!faults || !fine) && now < end)) {
        invlpg((void *)AREA);
        struct regs r = kernel_at(fine & 1 ? touch : dirty);
        r.rdi = AREA;
        enter(&r);
        if (r.vector == PF)
            faults++;
        else
            fine++;
    }
    rounds_left = 0;
    check("work is done", wait_for(&cpus[1].done, done + 1));
    check_eq("an absent entry stays 0", cpus[1].wrong, 0);
    check("it was used and was missed", faults && fine);
}

/* Two processors take turns, each asleep while it is the other's. */
static void monitor_mwait(void)
{
    u32 done = cpus[1].done;
    cpus[1].work = FOLLOW;
    for (u32 n = 0; n < 200; n++) {
        ball[0] = n + 1;
        await_change(&ball[32], n);
    }
    check("MONITOR, MWAIT: work is done", wait_for(&cpus[1].done, done + 1));
    check_eq("MONITOR, MWAIT: last answer", ball[32], 200);
}

void test_main(void)
{
    u32 r[4];
    count = cpu_count();
    cpuid(1, r);
    if (count < 2 || count > MAX_CPUS) {
        say("needs 2 to 8 processors\n");
        check("processors", false);
        return;
    }
    u8 *one = page_alloc(4096), *two = page_alloc(4096);
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    entry = pt_entry(AREA, 1);
    handlers[VECTOR] = on_fixed;
    handlers[VECTOR_TLB] = on_tlb;
    handlers[0x52] = on_set;
    handlers[NMI] = on_nmi;
    apic_write(APIC_SVR, 0x1ff);
    apic_write(APIC_TPR, 0);
    cpus[0].up = 1;
    start();
    destinations();
    logical();
    lowest();
    again();
    shootdown(one, two);
    accessed_and_dirty(one);
    if (r[2] >> 3 & 1)
        monitor_mwait();
    else
        say("no MONITOR: left out\n");
    if (r[2] >> 21 & 1)
        x2apic_mode();
    else
        say("no x2APIC: left out\n");
}

/* Several processors at once: locked operations, code that one changes and others run, translations
 * that are taken away, and an entry whose A and D bits are set while others change the rest of it
 * (SDM vol. 3A 8.1, 8.1.3, 4.10.5, 4.8).
 *
 * Locked operations are counted; the other parts go on for a second, and longer until each
 * processor has had its share, since what they check holds after any number of rounds.  2 to 8
 * processors.
 */
#include "tests/guest/lib/smp.h"

enum { VECTOR_TLB = 0x51, AREA_PAGES = 4 };
enum { IDLE, LOCKED, RUN_CODE, USE_PAGE, TURN_OVER };

#define AREA 0x8000000000ull
#define SECOND 2500000000ull /* of the TSC, about */
#define POISON 0xdeadbeefu

static volatile struct {
    u32 up, work, done, acks, wrong, uses;
    u64 sum;
} cpus[MAX_CPUS];
static unsigned count;

/* Gives all others the same work; this processor does its part in `own`, then all must end. */
static void together(const char *name, u32 work, void (*own)(unsigned me))
{
    u32 done[MAX_CPUS];
    for (unsigned i = 1; i < count; i++) {
        done[i] = cpus[i].done;
        cpus[i].work = work;
    }
    own(0);
    for (unsigned i = 1; i < count; i++)
        check(name, wait_for(&cpus[i].done, done[i] + 1));
}

/* ---- locked operations ---- */

enum { ROUNDS = 3000 };
static volatile u32 line[64] __attribute__((aligned(4096)));
/* One of each kind: in a line, across lines, across pages, beside code that runs. */
static u8 split[8192] __attribute__((aligned(4096)));
static volatile u64 pair[2] __attribute__((aligned(16)));
static volatile u32 ready, lock_word, guarded;

__asm__(".text\n.balign 64\nnear_code: mov $1, %eax\n ret\n .balign 8\n near_word: .quad 0\n");
extern u8 near_code[];
extern volatile u64 near_word;

static u64 call_code(const void *code)
{
    u64 v;
    __asm__ volatile("call *%1" : "=a"(v) : "r"(code) : "memory", "cc", "rcx", "rdx", "rbx");
    return (u32)v;
}

static u32 xadd32(volatile void *p, u32 v)
{
    __asm__ volatile("lock xaddl %0, (%1)" : "+r"(v) : "r"(p) : "memory", "cc");
    return v;
}

static void add16(volatile void *p, u16 v)
{
    __asm__ volatile("lock addw %0, (%1)" : : "r"(v), "r"(p) : "memory", "cc");
}

static void add64(volatile void *p, u64 v)
{
    __asm__ volatile("lock addq %0, (%1)" : : "r"(v), "r"(p) : "memory", "cc");
}

/* Adds 1 to the 128-bit number whose halves always agree. */
static bool step_pair(void)
{
    for (;;) {
        u64 lo = 0, hi = 0, a, d;
        u8 same;
        __asm__ volatile("lock cmpxchg16b %2\n sete %3" : "=a"(a), "=d"(d), "+m"(pair), "=q"(same)
                         : "a"(lo), "d"(hi), "b"(0ull), "c"(0ull) : "memory", "cc");
        if (same)
            a = d = 0;
        if (a != ~d && (a || d))
            return false;
        u64 next = a + 1;
        __asm__ volatile("lock cmpxchg16b %1\n sete %0" : "=q"(same), "+m"(pair), "+a"(a), "+d"(d)
                         : "b"(next), "c"(~next) : "memory", "cc");
        if (same)
            return true;
    }
}

static void locked(unsigned me)
{
    u64 sum = 0;
    u32 wrong = 0;
    xadd32(&ready, 1);
    while (ready != count)
        spin(1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        sum += xadd32(&line[0], 1);
        add16((u8 *)line + 9, 1);
        __asm__ volatile("lock incb %0" : "+m"(*(u8 *)&line[8]) : : "memory", "cc");
        add64(split + 60, 1);
        add64(split + 4093, 1);
        wrong += call_code(near_code) != 1;
        add64(&near_word, 1);
        if (!(i & 7)) {
            u32 v = 1;
            do
                __asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(lock_word) : : "memory");
            while (v);
            guarded++;
            lock_word = 0;
            wrong += !step_pair();
        }
    }
    cpus[me].sum = sum;
    cpus[me].wrong = wrong;
}

static void locked_operations(void)
{
    u64 n = (u64)count * ROUNDS, sum = 0, v;
    together("locked: all end", LOCKED, locked);
    for (unsigned i = 0; i < count; i++) {
        sum += cpus[i].sum;
        check_eq("code beside a locked word, CMPXCHG16B halves", cpus[i].wrong, 0);
    }
    check_eq("XADD: the count", line[0], n);
    check_eq("XADD: each value once", sum, n * (n - 1) / 2);
    check_eq("16 bits, odd address", *(volatile u16 *)((u8 *)line + 9), (u16)n);
    check_eq("8 bits", *(volatile u8 *)&line[8], (u8)n);
    memcpy(&v, split + 60, 8);
    check_eq("across two lines", v, n);
    memcpy(&v, split + 4093, 8);
    check_eq("across two pages", v, n);
    check_eq("beside code", near_word, n);
    check_eq("XCHG lock", guarded, count * ((ROUNDS + 7) / 8));
    check_eq("CMPXCHG16B", pair[0], count * ((ROUNDS + 7) / 8));
}

/* ---- code ---- */

/* mov $imm32, %eax; ret: twice, and a third that stays as it is, as most of a page with code does. */
static u8 *code;
static volatile u32 version, stop;

/* The value that the code returns is at least what was announced before it was called: the other
 * processor stores the code first (8.1.3, with a serializing instruction here). */
static void run_code(unsigned me)
{
    u32 wrong = 0, uses = 0, r[4];
    while (!stop) {
        u32 least = version;
        cpuid(0, r);
        u32 v = (u32)call_code(code + 64 * (me & 1));
        wrong += v < least || v > version + 1 || call_code(code + 128) != 1;
        uses++;
        cpus[me].uses = uses;
    }
    cpus[me].wrong = wrong;
}

static bool all_used(const u32 *before, u32 rounds)
{
    for (unsigned i = 1; i < count; i++)
        if (cpus[i].uses - before[i] < rounds)
            return false;
    return true;
}

static void patch(unsigned me)
{
    u32 none[MAX_CPUS] = {0};
    u64 now = rdtsc(), enough = now + SECOND, end = now + 20 * SECOND;
    (void)me;
    for (u32 n = 2; (now = rdtsc()) < enough || (now < end && !all_used(none, 20)); n++) {
        for (unsigned i = 0; i < 2; i++)
            *(volatile u32 *)(code + 64 * i + 1) = n;
        version = n;
        if (!(n & 15))
            spin(200);
    }
    stop = 1;
}

static void changed_code(void)
{
    static const u8 bytes[] = {0xb8, 1, 0, 0, 0, 0xc3};
    code = page_alloc(4096);
    memcpy(code, bytes, sizeof bytes);
    memcpy(code + 64, bytes, sizeof bytes);
    memcpy(code + 128, bytes, sizeof bytes);
    check_eq("code that stays", call_code(code + 128), 1);
    version = 1;
    stop = 0;
    for (unsigned i = 0; i < MAX_CPUS; i++)
        cpus[i].uses = 0;
    together("code: all end", RUN_CODE, patch);
    for (unsigned i = 1; i < count; i++) {
        check("it ran the code", cpus[i].uses > 0);
        check_eq("code older than announced", cpus[i].wrong, 0);
    }
}

/* ---- translations ---- */

static volatile u64 *entry;

static bool on_tlb(struct regs *r)
{
    (void)r;
    invlpg((void *)AREA);
    cpus[cpu_id()].acks++;
    eoi();
    return false;
}

/* Loads and stores through the page that the boot processor moves about. */
static void use_page(unsigned me)
{
    volatile u32 *p = (volatile u32 *)AREA;
    u32 wrong = 0, uses = 0;
    __asm__ volatile("sti");
    while (!stop) {
        for (unsigned i = 0; i < 50; i++) {
            wrong += p[0] == POISON;
            p[16 * me] = ++uses;
            __asm__ volatile("rep movsb" : : "c"(64), "S"(AREA + 1024), "D"(AREA + 2048 + 64 * me)
                             : "memory");
        }
        cpus[me].uses = uses;
    }
    cpus[me].wrong = wrong;
}

static void shoot(unsigned me)
{
    u8 *pages[2] = {page_alloc(4096), page_alloc(4096)};
    u32 none[MAX_CPUS] = {0}, touched = 0, rounds = 0;
    u64 now = rdtsc(), enough = now + SECOND, end = now + 20 * SECOND;
    (void)me;
    while ((now = rdtsc()) < enough || (now < end && (rounds < 20 || !all_used(none, 1)))) {
        u8 *old = pages[rounds & 1], *fresh = pages[~rounds & 1];
        u32 acks[MAX_CPUS];
        memset(fresh, 0, 4096);
        for (unsigned i = 1; i < count; i++)
            acks[i] = cpus[i].acks;
        *entry = (u64)fresh | PT_P | PT_W;
        invlpg((void *)AREA);
        apic_send(0, ICR_OTHERS | ICR_ASSERT | VECTOR_TLB);
        for (unsigned i = 1; i < count; i++)
            if (!wait_for(&cpus[i].acks, acks[i] + 1))
                check("shootdown: acknowledged", false);
        /* From here on nobody may reach the old page. */
        memset(old, 0, 4096);
        *(volatile u32 *)old = POISON;
        spin(300);
        for (unsigned i = 1; i < 1024; i++)
            touched += ((volatile u32 *)old)[i] != 0;
        rounds++;
    }
    stop = 1;
    check_eq("stores to a page after its shootdown", touched, 0);
    check("there were rounds", rounds >= 20);
}

static void translations(void)
{
    pt_map(AREA, 1, (u64)page_alloc(4096) | PT_P | PT_W);
    entry = pt_entry(AREA, 1);
    stop = 0;
    for (unsigned i = 0; i < MAX_CPUS; i++)
        cpus[i].uses = 0;
    together("shootdown: all end", USE_PAGE, shoot);
    for (unsigned i = 1; i < count; i++) {
        check("it used the page", cpus[i].uses > 0);
        check_eq("loads from a page after its shootdown", cpus[i].wrong, 0);
    }
}

/* ---- accessed and dirty bits ---- */

enum { MARKS = 100000 };

static bool toggle(volatile u64 *p, u64 bit)
{
    bool old;
    __asm__ volatile("lock btcq %2, %1" : "=@ccc"(old), "+m"(*p) : "r"(bit) : "memory");
    return old;
}

/* Turns over an ignored bit of the entry that is this processor's own: a walk that did not write
 * atomically would put back an old one. */
static void turn_over(unsigned me)
{
    u32 wrong = 0, uses = 0;
    while (!stop) {
        wrong += toggle(entry, 51 + me) != (uses++ & 1);
        cpus[me].uses = uses;
    }
    cpus[me].wrong = wrong;
}

/* Meanwhile the boot processor's walks set A and D, which nobody else clears. */
static void mark_page(unsigned me)
{
    u32 none[MAX_CPUS] = {0}, wrong = 0;
    u64 end = rdtsc() + 20 * SECOND;
    for (unsigned i = 0; i < MARKS || (!all_used(none, MARKS) && rdtsc() < end); i++) {
        __asm__ volatile("lock andq %1, %0" : "+m"(*entry) : "r"(~(u64)(PT_A | PT_D)) : "memory");
        invlpg((void *)AREA);
        *(volatile u32 *)AREA = i;
        wrong += (*entry & (PT_A | PT_D)) != (PT_A | PT_D);
    }
    cpus[me].wrong = wrong;
    stop = 1;
}

static void accessed_and_dirty(void)
{
    pt_map(AREA, 1, (u64)page_alloc(4096) | PT_P | PT_W);
    entry = pt_entry(AREA, 1);
    stop = 0;
    for (unsigned i = 0; i < MAX_CPUS; i++)
        cpus[i].uses = 0;
    together("A and D: all end", TURN_OVER, mark_page);
    for (unsigned i = 0; i < count; i++)
        check_eq(i ? "A and D alone are set" : "A and D are set", cpus[i].wrong, 0);
}

void ap_main(unsigned number, u32 cs, u32 cr0)
{
    (void)number;
    (void)cs;
    (void)cr0;
    load_idt(idt, 4095);
    unsigned me = cpu_id();
    apic_write(APIC_SVR, 0x1ff);
    cpus[me].up = 1;
    for (;;) {
        __asm__ volatile("sti; pause" : : : "memory");
        u32 work = cpus[me].work;
        if (work == IDLE)
            continue;
        if (work == LOCKED)
            locked(me);
        else if (work == RUN_CODE)
            run_code(me);
        else if (work == USE_PAGE)
            use_page(me);
        else
            turn_over(me);
        cpus[me].work = IDLE;
        cpus[me].done++;
    }
}

void test_main(void)
{
    count = cpu_count();
    if (count < 2 || count > MAX_CPUS) {
        check("2 to 8 processors", false);
        return;
    }
    handlers[VECTOR_TLB] = on_tlb;
    apic_write(APIC_SVR, 0x1ff);
    place_start();
    apic_send(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
    settle();
    apic_send(0, ICR_OTHERS | ICR_ASSERT | ICR_SIPI | START >> 12);
    for (unsigned i = 1; i < count; i++)
        check("it is up", wait_for(&cpus[i].up, 1));
    locked_operations();
    changed_code();
    translations();
    accessed_and_dirty();
}

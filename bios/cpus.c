/* Processors: MTRRs, local APICs, and how many there are.
 *
 * SDM volume 3, chapters 8.4 (INIT-SIPI-SIPI), 10.4 (local APIC) and 11.11 (MTRRs).  The other
 * processors get the same MTRRs as this one and then wait, halted, for the operating system's SIPI.
 */
#include "bios/chips.h"
#include "bios/post.h"

enum {
    CPUID_EDX_APIC = 1 << 9,
    CPUID_EDX_MTRR = 1 << 12,
    MSR_APIC_BASE = 0x1b,
    MSR_MTRR_CAP = 0xfe,
    MSR_MTRR_BASE0 = 0x200,
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K = 0x258,
    MSR_MTRR_FIX4K = 0x268,
    MSR_MTRR_DEF = 0x2ff,
    MTRR_CAP_FIXED = 0x100,
    MTRR_DEF_ENABLE = 0x800,
    MTRR_DEF_FIXED = 0x400,
    TYPE_UC = 0,
    TYPE_WB = 6,
    APIC_ID = 0x20,
    APIC_ICR_LOW = 0x300,
    LINT_MASKED = 0x10000,
    ICR_INIT_OTHERS = 0xc4500,
    ICR_SIPI_OTHERS = 0xc4600 | CODE_BASE >> 12,
    ICR_PENDING = 0x1000,
    UC_MAX = 6,
    AP_WAIT_STEPS = 1000, /* of 1 ms: hosts can be busy */
};

struct cpus cpus;

static struct {
    u32 base, size;
} uncached[UC_MAX];
static u32 uncached_count;
static volatile u32 started;

/* ---- instructions ---- */

static u64 rdmsr(u32 msr)
{
    u64 v;
    __asm__ volatile("rdmsr" : "=A"(v) : "c"(msr));
    return v;
}

static void wrmsr(u32 msr, u64 v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "A"(v));
}

static u32 apic_read(u32 reg)
{
    return MEMORY(u32, APIC_BASE + reg);
}

static void apic_write(u32 reg, u32 v)
{
    MEMORY(u32, APIC_BASE + reg) = v;
}

/* ---- memory types ---- */

/* The end of low RAM (2 GiB at least) to 4 GiB in pieces that are powers of two. */
static void plan_uncached(void)
{
    u32 at = memory.low_top > 0x80000000 ? memory.low_top : 0x80000000;
    at = (at + 0x3ffffff) & ~0x3ffffffu;
    while (at && uncached_count < UC_MAX) {
        u32 size = at & -at;
        uncached[uncached_count].base = at;
        uncached[uncached_count++].size = size;
        at += size;
    }
}

static void mtrr_init(void)
{
    u32 r[4], bits = 36;
    cpuid(0x80000000, r);
    if (r[0] >= 0x80000008) {
        cpuid(0x80000008, r);
        bits = r[0] & 0xff;
    }
    u64 cap = rdmsr(MSR_MTRR_CAP);
    wrmsr(MSR_MTRR_DEF, 0);
    if (cap & MTRR_CAP_FIXED) {
        const u64 cached = 0x0606060606060606ull, protected = 0x0505050505050505ull;
        wrmsr(MSR_MTRR_FIX64K, cached);
        wrmsr(MSR_MTRR_FIX16K, cached);
        wrmsr(MSR_MTRR_FIX16K + 1, 0);
        for (u32 i = 0; i < 8; i++)
            wrmsr(MSR_MTRR_FIX4K + i, protected);
        /* EC000-EFFFF holds the services' data: write-back. */
        wrmsr(MSR_MTRR_FIX4K + 5, (u32)protected | (cached & 0xffffffff00000000ull));
    }
    u64 top = (1ull << bits) - 1;
    for (u32 i = 0; i < (cap & 0xff) && i < uncached_count; i++) {
        wrmsr(MSR_MTRR_BASE0 + 2 * i, uncached[i].base | TYPE_UC);
        wrmsr(MSR_MTRR_BASE0 + 2 * i + 1, (~(u64)(uncached[i].size - 1) & top) | 0x800);
    }
    wrmsr(MSR_MTRR_DEF, MTRR_DEF_ENABLE | TYPE_WB | (cap & MTRR_CAP_FIXED ? MTRR_DEF_FIXED : 0));
}

/* ---- the processors ---- */

/* Virtual wire mode on the first: the 8259s' INTR comes through LINT0 (MP specification 1.4,
 * 3.6.2.2); NMI through LINT1 on all. */
static void cpu_init(bool first)
{
    u32 r[4];
    cpuid(1, r);
    if (r[3] & CPUID_EDX_MTRR)
        mtrr_init();
    if (!(r[3] & CPUID_EDX_APIC))
        return;
    cpus.apic = true;
    apic_write(APIC_SPURIOUS, APIC_ENABLE | APIC_SPURIOUS_VECTOR);
    apic_write(APIC_LINT0, first ? LINT_EXTINT : LINT_MASKED | LINT_EXTINT);
    apic_write(APIC_LINT1, LINT_NMI);
    if (cpus.count >= CPUS_MAX)
        return;
    /* In the order of their IDs, the first processor in front. */
    u8 id = (u8)(r[1] >> 24);
    u32 at = cpus.count++;
    for (; at > 1 && cpus.apic_id[at - 1] > id; at--)
        cpus.apic_id[at] = cpus.apic_id[at - 1];
    cpus.apic_id[at] = id;
}

void cpu_ap_start(void);

/* An application processor, alone in here and on its own stack (entry.S). */
void cpu_ap_start(void)
{
    cpu_init(false);
    started++;
}

static void keep_msr(u32 number)
{
    struct shared *s = SERVICE_DATA(shared);
    if (s->msr_count < MSRS_MAX)
        s->msr[s->msr_count++] = (struct kept_msr){number, rdmsr(number)};
}

/* This processor's MTRRs, for resuming from S3; the one that switches them on is last. */
static void keep_mtrrs(void)
{
    u32 r[4];
    cpuid(1, r);
    if (!(r[3] & CPUID_EDX_MTRR))
        return;
    u32 cap = (u32)rdmsr(MSR_MTRR_CAP);
    if (cap & MTRR_CAP_FIXED) {
        keep_msr(MSR_MTRR_FIX64K);
        for (u32 i = 0; i < 2; i++)
            keep_msr(MSR_MTRR_FIX16K + i);
        for (u32 i = 0; i < 8; i++)
            keep_msr(MSR_MTRR_FIX4K + i);
    }
    for (u32 i = 0; i < 2 * (cap & 0xff) && i < 2 * UC_MAX; i++)
        keep_msr(MSR_MTRR_BASE0 + i);
    keep_msr(MSR_MTRR_DEF);
}

void cpus_init(void)
{
    plan_uncached();
    cpu_init(true);
    keep_mtrrs();
    SERVICE_DATA(shared)->apic = cpus.apic;
    u16 wanted = 1;
    fw_get(FW_NB_CPUS, &wanted, sizeof wanted);
    if (wanted > 1 && cpus.apic) {
        apic_write(APIC_ICR_LOW, ICR_INIT_OTHERS);
        while (apic_read(APIC_ICR_LOW) & ICR_PENDING)
            continue;
        wait_us(100);
        for (u32 i = 0; i < 2; i++) {
            apic_write(APIC_ICR_LOW, ICR_SIPI_OTHERS);
            while (apic_read(APIC_ICR_LOW) & ICR_PENDING)
                continue;
            for (u32 step = 0; step < AP_WAIT_STEPS && started + 1u < wanted; step++)
                wait_us(1000);
        }
        if (started + 1u < wanted)
            say("Only %u of %u processors have started.\n", started + 1u, (u32)wanted);
    }
    if (!cpus.count)
        cpus.count = 1;
}

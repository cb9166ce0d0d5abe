/* Model-specific registers: which exist, by what CPUID says, which bits they take, and what writing
 * some of them does.
 *
 * SDM vol. 4 table 2-2 (the architectural ones), vol. 2B RDMSR and WRMSR (#GP), vol. 3A chapters 11
 * and 15.  EFER and IA32_APIC_BASE have tests of their own (protect64.c, apic64.c).
 */
#include "tests/guest/lib/apic.h"

CODE(read_msr, "rdmsr");
CODE(write_msr, "wrmsr");
CODE(do_monitor, "monitor");

enum kind {
    BITS,      /* holds the bits `takes`; those of `reserved` are #GP */
    CANONICAL, /* an address */
    READ_ONLY,
    WRITE_ONLY,
    ZERO,      /* takes 0 alone */
    TYPES,     /* eight memory types */
    PATS,      /* eight types, with UC- */
    OTHER,     /* only read here */
};
enum vendor { ANY, INTEL };

struct row {
    const char *name;
    u32 msr;
    enum kind kind;
    u64 takes, reserved;
    u32 leaf;    /* CPUID bit that tells of it; leaf 0: always there */
    u8 reg, bit;
    enum vendor vendor;
};

#define HIGH 0xffffffff00000000ull
#define ALL (~0ull)

static const struct row rows[] = {
    {"TSC", 0x10, OTHER, 0, 0, 1, 3, 4, ANY},
    {"PLATFORM_ID", 0x17, READ_ONLY, 0, 0, 0, 0, 0, INTEL},
    {"APIC_BASE", 0x1b, OTHER, 0, 0, 1, 3, 9, ANY},
    {"TSC_ADJUST", 0x3b, OTHER, 0, 0, 7, 1, 1, ANY},
    {"SPEC_CTRL", 0x48, BITS, 1, 0x7ffffffffffff000, 7, 3, 26, ANY},
    {"PRED_CMD", 0x49, WRITE_ONLY, 0, 0, 7, 3, 26, ANY},
    {"BIOS_UPDT_TRIG", 0x79, WRITE_ONLY, 0, 0, 0, 0, 0, INTEL},
    {"BIOS_SIGN_ID", 0x8b, OTHER, 0, 0, 0, 0, 0, ANY},
    {"MTRRCAP", 0xfe, READ_ONLY, 0, 0, 1, 3, 12, ANY},
    {"ARCH_CAPABILITIES", 0x10a, READ_ONLY, 0, 0, 7, 3, 29, ANY},
    {"SYSENTER_CS", 0x174, BITS, 0xffff, 0, 1, 3, 11, ANY},
    {"SYSENTER_ESP", 0x175, CANONICAL, 0, 0, 1, 3, 11, ANY},
    {"SYSENTER_EIP", 0x176, CANONICAL, 0, 0, 1, 3, 11, ANY},
    {"MCG_CAP", 0x179, READ_ONLY, 0, 0, 1, 3, 14, ANY},
    {"MCG_STATUS", 0x17a, BITS, 7, HIGH | 0xfffffff0, 1, 3, 14, ANY},
    {"MISC_ENABLE", 0x1a0, BITS, 1, 1ull << 63 | 1ull << 40 | 1 << 1, 0, 0, 0, INTEL},
    {"DEBUGCTL", 0x1d9, BITS, 3, 1ull << 63 | 1ull << 32, 0, 0, 0, ANY},
    {"MTRR_FIX64K", 0x250, TYPES, 0, 0, 1, 3, 12, ANY},
    {"MTRR_FIX16K", 0x258, TYPES, 0, 0, 1, 3, 12, ANY},
    {"MTRR_FIX16K", 0x259, TYPES, 0, 0, 1, 3, 12, ANY},
    {"PAT", 0x277, PATS, 0, 0, 1, 3, 16, ANY},
    {"MTRR_DEF_TYPE", 0x2ff, BITS, 0xc00, ~0xcffull, 1, 3, 12, ANY},
    {"TSC_DEADLINE", 0x6e0, OTHER, 0, 0, 1, 2, 24, ANY},
    {"EFER", 0xc0000080, OTHER, 0, 0, 0x80000001, 3, 29, ANY},
    {"STAR", 0xc0000081, BITS, ALL, 0, 0x80000001, 3, 29, ANY},
    {"LSTAR", 0xc0000082, CANONICAL, 0, 0, 0x80000001, 3, 29, ANY},
    {"CSTAR", 0xc0000083, CANONICAL, 0, 0, 0x80000001, 3, 29, ANY},
    {"FMASK", 0xc0000084, BITS, 0xffffffff, 0, 0x80000001, 3, 29, ANY},
    {"FS_BASE", 0xc0000100, CANONICAL, 0, 0, 0x80000001, 3, 29, ANY},
    {"GS_BASE", 0xc0000101, CANONICAL, 0, 0, 0x80000001, 3, 29, ANY},
    {"KERNEL_GS_BASE", 0xc0000102, CANONICAL, 0, 0, 0x80000001, 3, 29, ANY},
    {"TSC_AUX", 0xc0000103, BITS, 0xffffffff, HIGH, 0x80000001, 3, 27, ANY},
};

/* What belongs to features that may be absent: #GP then. */
static const struct {
    u32 first, last, leaf;
    u8 reg, bit;
} optional[] = {
    {0x3a, 0x3a, 1, 2, 5},       /* FEATURE_CONTROL: VMX */
    {0x9b, 0x9b, 1, 2, 5},       /* SMM_MONITOR_CTL */
    {0xe7, 0xe8, 6, 2, 0},       /* MPERF, APERF */
    {0x10b, 0x10b, 7, 3, 28},    /* FLUSH_CMD */
    {0x19a, 0x19c, 1, 3, 22},    /* CLOCK_MODULATION, THERM_* */
    {0x345, 0x345, 1, 2, 15},    /* PERF_CAPABILITIES */
    {0x480, 0x491, 1, 2, 5},     /* VMX_* */
    {0x560, 0x561, 7, 1, 25},    /* RTIT_* */
    {0x6a0, 0x6a8, 7, 2, 7},     /* CET */
    {0x770, 0x774, 6, 0, 7},     /* HWP */
    {0xc8d, 0xc8f, 7, 1, 12},    /* RDT monitoring */
    {0xd90, 0xd90, 7, 1, 14},    /* BNDCFGS */
};

static bool amd;

static bool has(u32 leaf, unsigned reg, unsigned bit)
{
    u32 r[4];
    cpuid(leaf & 0x80000000, r);
    if (leaf > r[0])
        return false;
    cpuid(leaf, r);
    return r[reg] >> bit & 1;
}

static struct regs rd(u32 msr)
{
    struct regs r = kernel_at(read_msr);
    r.rcx = msr;
    r.rax = r.rdx = ALL;
    enter(&r);
    return r;
}

static struct regs wr(u32 msr, u64 v)
{
    struct regs r = kernel_at(write_msr);
    r.rcx = 0xdeadbeef00000000 | msr; /* only ECX, EAX, EDX count */
    r.rax = 0xdeadbeef00000000 | (u32)v;
    r.rdx = 0xdeadbeef00000000 | v >> 32;
    enter(&r);
    return r;
}

static void expect_read_gp(const char *name, u32 msr)
{
    struct regs r = rd(msr);
    expect(name, &r, GP, 0, read_msr);
}

static void expect_write_gp(const char *name, u32 msr, u64 v)
{
    struct regs r = wr(msr, v);
    expect(name, &r, GP, 0, write_msr);
}

static void expect_held(const char *name, u32 msr, u64 v)
{
    struct regs r = wr(msr, v);
    expect(name, &r, STOP, 0, write_msr_end + 2);
    check_eq(name, rdmsr(msr), v);
}

static void bits(const struct row *row, u64 old)
{
    for (unsigned i = 0; i < 64; i++) {
        u64 bit = 1ull << i;
        if (row->takes & bit)
            expect_held("/holds a bit", row->msr, old ^ bit);
        else if (row->reserved & bit)
            expect_write_gp("/reserved bit", row->msr, old | bit);
    }
}

static void types(const struct row *row)
{
    for (u64 type = 0; type < 10; type++) {
        bool good = type < 2 || (type >= 4 && type <= 6) || (type == 7 && row->kind == PATS);
        for (unsigned i = 0; i < 64; i += 24) {
            if (good)
                expect_held("/holds a memory type", row->msr, type << i);
            else
                expect_write_gp("/bad memory type", row->msr, type << i);
        }
    }
}

static void try_row(const struct row *row)
{
    bool there = (!row->leaf || has(row->leaf, row->reg, row->bit)) &&
                 (row->vendor == ANY || !amd);
    struct regs r;
    check_group = row->name;
    if (!there) {
        expect_read_gp("/read of none", row->msr);
        expect_write_gp("/write of none", row->msr, 0);
        return;
    }
    if (row->kind == WRITE_ONLY) {
        expect_read_gp("/write-only", row->msr);
        return;
    }
    r = rd(row->msr);
    expect("/read", &r, STOP, 0, read_msr_end + 2);
    if (r.vector != STOP)
        return;
    check("/read clears the high halves", !(r.rax >> 32) && !(r.rdx >> 32));
    u64 old = r.rdx << 32 | (u32)r.rax;
    switch (row->kind) {
    case READ_ONLY: expect_write_gp("/read-only", row->msr, old); return;
    case BITS: bits(row, old); break;
    case CANONICAL:
        expect_held("/address", row->msr, 0x7fffffffffff);
        expect_held("/address", row->msr, 0xffff800000000000);
        expect_write_gp("/not canonical", row->msr, 0x800000000000);
        expect_write_gp("/not canonical", row->msr, 1ull << 63);
        break;
    case TYPES:
    case PATS: types(row); break;
    default: return;
    }
    wrmsr(row->msr, old);
}

static void absent(void)
{
    check_group = "";
    for (unsigned i = 0; i < ARRAY_SIZE(optional); i++) {
        if (has(optional[i].leaf, optional[i].reg, optional[i].bit))
            continue;
        for (u32 msr = optional[i].first; msr <= optional[i].last; msr++) {
            expect_read_gp("feature that CPUID has not, read", msr);
            expect_write_gp("feature that CPUID has not, write", msr, 0);
        }
    }
    if (!amd && !has(10, 0, 0) && !has(10, 0, 1) && !has(10, 0, 2)) { /* no perfmon version */
        static const u32 counters[] = {0xc1, 0xc2, 0x186, 0x187, 0x309, 0x38d, 0x38e, 0x38f, 0x390};
        for (unsigned i = 0; i < ARRAY_SIZE(counters); i++)
            expect_read_gp("performance counters, read", counters[i]);
    }
    expect_read_gp("no such MSR", 0x12345);
    expect_write_gp("no such MSR, write", 0x12345, 0);
}

/* 11.11.2.3: variable ranges, as many as IA32_MTRRCAP says. */
static void variable_ranges(void)
{
    u32 id[4];
    if (!has(1, 3, 12))
        return;
    cpuid(0x80000008, id);
    u64 address = ((1ull << (id[0] & 0xff)) - 1) & ~0xfffull;
    u32 n = rdmsr(0xfe) & 0xff;
    for (u32 msr = 0x200; msr < 0x200 + 2 * n; msr++) {
        u64 old = rdmsr(msr);
        bool mask = msr & 1;
        for (unsigned i = mask ? 0 : 8; i < 64; i++) {
            u64 bit = 1ull << i;
            if ((address & bit) || (mask && i == 11))
                expect_held("variable range", msr, bit);
            else
                expect_write_gp("variable range, reserved", msr, bit);
        }
        for (u64 type = 0; !mask && type < 8; type++) {
            if (type == 2 || type == 3 || type == 7)
                expect_write_gp("variable range, bad type", msr, type);
            else
                expect_held("variable range, type", msr, type);
        }
        wrmsr(msr, old);
    }
    expect_read_gp("beyond the variable ranges", 0x200 + 2 * n);
}

/* 15.3.2: banks as many as MCG_CAP says; nothing has happened, and status takes 0 alone. */
static void machine_check(void)
{
    if (!has(1, 3, 14))
        return;
    u64 cap = rdmsr(0x179);
    check_eq("no machine check", rdmsr(0x17a), 0);
    for (u32 bank = 0; bank < (cap & 0xff); bank++) {
        u32 msr = 0x400 + 4 * bank;
        u64 ctl = rdmsr(msr);
        expect_held("MCi_CTL", msr, 0);
        expect_held("MCi_CTL", msr, ALL);
        wrmsr(msr, ctl);
        check_eq("MCi_STATUS", rdmsr(msr + 1), 0);
        expect_held("MCi_STATUS takes 0", msr + 1, 0);
        expect_write_gp("MCi_STATUS takes nothing else", msr + 1, 1);
        if (!amd) {
            expect_held("MCi_ADDR takes 0", msr + 2, 0);
            expect_write_gp("MCi_ADDR takes nothing else", msr + 2, 1);
            expect_held("MCi_MISC takes 0", msr + 3, 0);
            expect_write_gp("MCi_MISC takes nothing else", msr + 3, 1ull << 40);
        }
    }
    expect_read_gp("beyond the banks", 0x400 + 4 * (u32)(cap & 0xff));
}

/* Table 2-2, IA32_MISC_ENABLE. */
static void misc_enable(void)
{
    enum { MISC = 0x1a0 };
    u32 id[4];
    if (amd)
        return;
    u64 old = rdmsr(MISC);
    check_eq("BTS and PEBS unavailable", old & 0x1800, 0x1800);
    struct regs r = wr(MISC, old & ~0x1880ull);
    check("MISC_ENABLE's read-only bits", r.vector == STOP && rdmsr(MISC) == old);
    cpuid(0, id);
    u32 leaves = id[0];
    wrmsr(MISC, old | 1 << 22);
    cpuid(0, id);
    check_eq("limit of CPUID", id[0], 2);
    wrmsr(MISC, old);
    cpuid(0, id);
    check_eq("no limit of CPUID", id[0], leaves);
    if (has(1, 2, 3)) {
        wrmsr(MISC, old & ~(1ull << 18));
        check("MONITOR disabled: CPUID", !has(1, 2, 3));
        r = kernel_at(do_monitor);
        r.rax = (u64)id;
        enter(&r);
        expect("MONITOR disabled: MONITOR", &r, UD, 0, do_monitor);
        wrmsr(MISC, old);
        check("MONITOR enabled again", has(1, 2, 3));
    }
    if (!has(0x80000001, 3, 20))
        return;
    wrmsr(MISC, old | 1ull << 34);
    check("XD disabled: CPUID", !has(0x80000001, 3, 20));
    wrmsr(EFER, rdmsr(EFER) & ~(u64)EFER_NXE);
    expect_write_gp("XD disabled: EFER.NXE", EFER, rdmsr(EFER) | EFER_NXE);
    wrmsr(MISC, old);
    wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
    check("XD enabled again", has(0x80000001, 3, 20));
}

static volatile u32 rang;

static bool on_timer(struct regs *r)
{
    (void)r;
    rang++;
    eoi();
    return false;
}

/* 17.17.3, 10.5.4.1. */
static void time(void)
{
    enum { TSC = 0x10, ADJUST = 0x3b, DEADLINE = 0x6e0, FAR = 1 << 30 };
    if (has(7, 1, 1)) {
        u64 adjust = rdmsr(ADJUST), now = rdtsc();
        wrmsr(ADJUST, adjust + (1ull << 50));
        check("TSC_ADJUST moves the TSC", rdtsc() - now >= 1ull << 50);
        wrmsr(ADJUST, adjust);
        check("and back", rdtsc() - now < 1ull << 50);
        u64 before = rdtsc();
        wrmsr(TSC, before + (1ull << 40));
        u64 moved = rdmsr(ADJUST) - adjust;
        check("writing the TSC moves TSC_ADJUST", moved <= 1ull << 40 && moved > 1ull << 39);
        wrmsr(ADJUST, adjust);
    }
    u64 now = rdtsc();
    wrmsr(TSC, 1ull << 55);
    check("the TSC takes 64 bits", rdtsc() >= 1ull << 55);
    if (has(1, 2, 24)) {
        handlers[0x60] = on_timer;
        apic_write(APIC_SVR, 0x1ff);
        wrmsr(DEADLINE, ALL);
        check_eq("TSC_DEADLINE in another mode", rdmsr(DEADLINE), 0);
        apic_write(APIC_LVT_TIMER, 2 << 17 | 0x60);
        wrmsr(DEADLINE, rdtsc() + (1ull << 54));
        let_in();
        check("TSC_DEADLINE is far", !rang && rdmsr(DEADLINE));
        wrmsr(TSC, rdtsc() + (1ull << 55)); /* the counter passes it by a jump */
        for (u64 end = rdtsc() + 50000000000; !rang && rdtsc() < end;)
            let_in();
        for (u64 end = rdtsc() + 20000000; rdtsc() < end;) /* once, not again */
            let_in();
        check_eq("TSC_DEADLINE comes when the TSC is moved", rang, 1);
        check_eq("TSC_DEADLINE is 0 after it", rdmsr(DEADLINE), 0);
        wrmsr(DEADLINE, rdtsc() + (1ull << 54));
        wrmsr(DEADLINE, 0);
        check_eq("TSC_DEADLINE disarmed", rdmsr(DEADLINE), 0);
        apic_write(APIC_LVT_TIMER, LVT_MASKED);
    }
    wrmsr(TSC, now);
}

void test_main(void)
{
    u32 id[4];
    cpuid(0, id);
    amd = id[2] == 0x444d4163; /* "cAMD" */
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
        try_row(&rows[i]);
    absent();
    variable_ranges();
    machine_check();
    misc_enable();
    time();
}

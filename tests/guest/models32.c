/* Processor models: instructions, control bits and registers are there exactly where CPUID says so.
 *
 * SDM vol. 2 (CPUID, and the CPUID column of each instruction), vol. 3A 2.5 (CR4), vol. 4.
 */
#include "tests/guest/lib/legacy.h"

/* ---- instructions ---- */

CODE(i_cmpxchg, "cmpxchg %eax, %eax");
CODE(i_bswap, "bswap %eax");
CODE(i_cpuid, "cpuid");
CODE(i_rdtsc, "rdtsc");
CODE(i_rdmsr, "mov $0x10, %ecx\n rdmsr");
CODE(i_cmpxchg8b, "cmpxchg8b (%esp)");
CODE(i_cmov, "cmovz %eax, %eax");
CODE(i_fcmov, "fcmove %st(0), %st");
CODE(i_sysenter, "xor %eax, %eax\n sysenter"); /* #GP(0) with a null IA32_SYSENTER_CS */
CODE(i_nopl, "nopl (%eax)");
CODE(i_prefetch, "prefetcht0 (%esp)");
CODE(i_mmx, "pxor %mm0, %mm0\n emms");
CODE(i_fxsave, "fxsave scratch");
CODE(i_sse, "xorps %xmm0, %xmm0");
CODE(i_sfence, "sfence");
CODE(i_sse2, "pxor %xmm0, %xmm0");
CODE(i_mfence, "mfence");
CODE(i_clflush, "clflush (%esp)");
CODE(i_sse3, "addsubps %xmm0, %xmm0");
CODE(i_fisttp, "fldz\n fisttpl (%esp)");
CODE(i_ssse3, "pshufb %xmm0, %xmm0");
CODE(i_sse41, "ptest %xmm0, %xmm0");
CODE(i_sse42, "crc32 %eax, %eax");
CODE(i_popcnt, "popcnt %eax, %eax");
CODE(i_aes, "aesenc %xmm0, %xmm0");
CODE(i_pclmul, "pclmulqdq $0, %xmm0, %xmm0");
CODE(i_movbe, "movbe (%esp), %eax");
CODE(i_rdrand, "rdrand %eax");
CODE(i_monitor, "mov %esp, %eax\n xor %ecx, %ecx\n monitor");
CODE(i_rdseed, "rdseed %eax");
CODE(i_bmi1, "andn %eax, %eax, %eax");
CODE(i_bmi2, "rorx $1, %eax, %eax");
CODE(i_adx, "adcx %eax, %eax");
CODE(i_sha, "sha1nexte %xmm0, %xmm0");
CODE(i_clflushopt, "clflushopt (%esp)");
CODE(i_smap, "clac");
CODE(i_rdtscp, "rdtscp");
CODE(i_sse4a, "extrq %xmm0, %xmm0");
CODE(i_prefetchw, "prefetchw (%esp)");

u8 scratch[512] __attribute__((aligned(16)));

#define EXT 0x80000001
#define ALWAYS 99
#define FAMILY6 98

static const struct probe {
    const char *name;
    const u8 *code;
    u32 leaf;
    u8 reg, bit; /* reg: 0 EAX to 3 EDX; ALWAYS and FAMILY6 have no bit */
} probes[] = {
    {"CMPXCHG", i_cmpxchg, 0, 0, ALWAYS}, {"BSWAP", i_bswap, 0, 0, ALWAYS},
    {"CPUID", i_cpuid, 0, 0, ALWAYS}, {"RDTSC", i_rdtsc, 1, 3, 4}, {"RDMSR", i_rdmsr, 1, 3, 5},
    {"CMPXCHG8B", i_cmpxchg8b, 1, 3, 8}, {"CMOV", i_cmov, 1, 3, 15}, {"FCMOV", i_fcmov, 1, 3, 15},
    {"SYSENTER", i_sysenter, 1, 3, 11}, {"NOP r/m", i_nopl, 0, 0, FAMILY6},
    {"PREFETCHT0", i_prefetch, 0, 0, FAMILY6}, {"MMX", i_mmx, 1, 3, 23},
    {"FXSAVE", i_fxsave, 1, 3, 24}, {"SSE", i_sse, 1, 3, 25}, {"SFENCE", i_sfence, 1, 3, 25},
    {"SSE2", i_sse2, 1, 3, 26}, {"MFENCE", i_mfence, 1, 3, 26}, {"CLFLUSH", i_clflush, 1, 3, 19},
    {"SSE3", i_sse3, 1, 2, 0}, {"FISTTP", i_fisttp, 1, 2, 0}, {"SSSE3", i_ssse3, 1, 2, 9},
    {"SSE4.1", i_sse41, 1, 2, 19}, {"CRC32", i_sse42, 1, 2, 20}, {"POPCNT", i_popcnt, 1, 2, 23},
    {"AESENC", i_aes, 1, 2, 25}, {"PCLMULQDQ", i_pclmul, 1, 2, 1}, {"MOVBE", i_movbe, 1, 2, 22},
    {"RDRAND", i_rdrand, 1, 2, 30}, {"MONITOR", i_monitor, 1, 2, 3}, {"RDSEED", i_rdseed, 7, 1, 18},
    {"ANDN", i_bmi1, 7, 1, 3}, {"RORX", i_bmi2, 7, 1, 8}, {"ADCX", i_adx, 7, 1, 19},
    {"SHA", i_sha, 7, 1, 29}, {"CLFLUSHOPT", i_clflushopt, 7, 1, 23}, {"CLAC", i_smap, 7, 1, 20},
    {"RDTSCP", i_rdtscp, EXT, 3, 27}, {"EXTRQ", i_sse4a, EXT, 2, 6},
    {"PREFETCHW", i_prefetchw, 0, 0, FAMILY6},
};

static u32 family;

/* A register of a leaf; 0 beyond the highest one. */
static u32 leaf_reg(u32 leaf, unsigned reg)
{
    u32 r[4];
    cpuid(leaf & 0x80000000, r);
    if ((r[0] ^ leaf) >> 16 & 0x8000 || r[0] < leaf)
        return 0;
    cpuid(leaf, r);
    return r[reg];
}

static bool told(const struct probe *p)
{
    if (p->bit == ALWAYS)
        return true;
    if (p->bit == FAMILY6)
        return family >= 6;
    return leaf_reg(p->leaf, p->reg) >> p->bit & 1;
}

static u32 vector_of(const u8 *code)
{
    struct regs r = kernel_at(code);
    enter(&r);
    return r.vector;
}

static void instructions(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(probes); i++) {
        bool there = told(&probes[i]);
        u32 vector = vector_of(probes[i].code);
        if (!check_quiet(probes[i].name, (vector != UD) == there))
            say(": CPUID says %x, vector %x\n", there, vector);
    }
}

/* ---- CR4 (2.5): a bit whose feature is not there is reserved ---- */

CODE(load_cr4, "mov %eax, %cr4");

static void control_bits(void)
{
    static const struct { const char *name; u32 bit, leaf; u8 reg, feature; } rows[] = {
        {"CR4.VME", 0, 1, 3, 1}, {"CR4.PVI", 1, 1, 3, 1}, {"CR4.TSD", 2, 1, 3, 4},
        {"CR4.DE", 3, 1, 3, 2}, {"CR4.PSE", 4, 1, 3, 3}, {"CR4.PAE", 5, 1, 3, 6},
        {"CR4.MCE", 6, 1, 3, 7}, {"CR4.PGE", 7, 1, 3, 13}, {"CR4.OSFXSR", 9, 1, 3, 24},
        {"CR4.OSXMMEXCPT", 10, 1, 3, 25}, {"CR4.UMIP", 11, 7, 2, 2}, {"CR4.OSXSAVE", 18, 1, 2, 26},
        {"CR4.SMEP", 20, 7, 1, 7}, {"CR4.SMAP", 21, 7, 1, 20},
    };
    u32 old = read_cr4();
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        bool there = leaf_reg(rows[i].leaf, rows[i].reg) >> rows[i].feature & 1;
        struct regs r = kernel_at(load_cr4);
        if (!there && under_tcg())
            continue; /* it leaves a virtual machine that there is not, for ever */
        r.eax = old | 1u << rows[i].bit;
        enter(&r);
        check(rows[i].name, r.vector == (there ? STOP : GP));
        write_cr4(old);
    }
}

/* ---- MSRs (vol. 4): with MSR, and each with what it belongs to ---- */

CODE(read_msr, "rdmsr");

static void registers(void)
{
    static const struct { const char *name; u32 msr, leaf; u8 reg, feature; } rows[] = {
        {"IA32_TIME_STAMP_COUNTER", 0x10, 1, 3, 4}, {"IA32_SYSENTER_CS", 0x174, 1, 3, 11},
        {"IA32_MTRRCAP", 0xfe, 1, 3, 12}, {"IA32_PAT", 0x277, 1, 3, 16},
        {"IA32_MCG_CAP", 0x179, 1, 3, 14}, {"IA32_LSTAR", 0xc0000082, EXT, 3, 29},
        {"IA32_TSC_ADJUST", 0x3b, 7, 1, 1}, {"IA32_SPEC_CTRL", 0x48, 7, 3, 26},
        {"IA32_ARCH_CAPABILITIES", 0x10a, 7, 3, 29},
    };
    if (!(leaf_reg(1, 3) >> 5 & 1))
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        bool there = leaf_reg(rows[i].leaf, rows[i].reg) >> rows[i].feature & 1;
        struct regs r = kernel_at(read_msr);
        r.ecx = rows[i].msr;
        enter(&r);
        check(rows[i].name, r.vector == (there ? STOP : GP));
    }
    struct regs r = kernel_at(read_msr);
    r.ecx = EFER;
    enter(&r);
    bool there = leaf_reg(EXT, 3) & (1u << 11 | 1u << 20 | 1u << 29);
    check("IA32_EFER", r.vector == (there ? STOP : GP));
}

/* ---- EFLAGS (vol. 1 3.4.3.3): AC tells a 486, ID CPUID ---- */

static u32 flags_after(u32 set)
{
    u32 v;
    __asm__ volatile("pushf\n pushf\n xorl %1, (%%esp)\n popf\n pushf\n pop %0\n popf"
                     : "=r"(v) : "r"(set));
    return v;
}

void test_main(void)
{
    u32 r[4];
    check("EFLAGS.ID toggles", (flags_after(0) ^ flags_after(FL_ID)) & FL_ID);
    check("EFLAGS.AC toggles", (flags_after(0) ^ flags_after(FL_AC)) & FL_AC);
    cpuid(1, r);
    family = r[0] >> 8 & 15;
    check("a 486 at least", family >= 4);
    control_bits();
    u32 old = read_cr4();
    if (r[3] >> 25 & 1) /* SSE needs the system's consent */
        write_cr4(old | CR4_OSFXSR);
    write_cr0(read_cr0() & ~(CR0_EM | CR0_TS));
    __asm__ volatile("fninit");
    instructions();
    write_cr4(old);
    registers();
}

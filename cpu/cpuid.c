/* CPU models and CPUID (SDM vol. 2A CPUID, AMD APM vol. 3 appendix E).
 *
 * A model is a vendor, a signature and the feature words; every bit that it sets is implemented.
 * `qemu64` is the plain K8-like machine of that name in QEMU.  `max` is everything this emulator
 * does, dressed as a recent Intel server part without the speculation bugs (ARCH_CAPABILITIES), so
 * that kernels neither warn nor pay for mitigations.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpuid.h"
#include "cpu/helpers.h"
#include "cpu/system.h"

enum word { W_1_EDX, W_1_ECX, W_7_EBX, W_7_ECX, W_7_EDX, W_D1_EAX, W_E1_EDX, W_E1_ECX, W_E7_EDX,
            W_E8_EBX, WORDS };

struct feature {
    const char *name; /* as QEMU spells it */
    u8 word, bit;
    u8 isa; /* group of instructions that it brings, or ISA_COUNT */
    bool supported;
};

/* Order: by word and bit.  Unsupported rows are there so that "-name" is accepted and "+name" gets
 * a clear answer. */
static const struct feature features[] = {
    {"fpu", W_1_EDX, 0, ISA_X87, true},
    {"vme", W_1_EDX, 1, ISA_COUNT, true},
    {"de", W_1_EDX, 2, ISA_COUNT, true},
    {"pse", W_1_EDX, 3, ISA_COUNT, true},
    {"tsc", W_1_EDX, 4, ISA_TSC, true},
    {"msr", W_1_EDX, 5, ISA_COUNT, true},
    {"pae", W_1_EDX, 6, ISA_COUNT, true},
    {"mce", W_1_EDX, 7, ISA_COUNT, true},
    {"cx8", W_1_EDX, 8, ISA_CX8, true},
    {"apic", W_1_EDX, 9, ISA_COUNT, true},
    {"sep", W_1_EDX, 11, ISA_SEP, true},
    {"mtrr", W_1_EDX, 12, ISA_COUNT, true},
    {"pge", W_1_EDX, 13, ISA_COUNT, true},
    {"mca", W_1_EDX, 14, ISA_COUNT, true},
    {"cmov", W_1_EDX, 15, ISA_CMOV, true},
    {"pat", W_1_EDX, 16, ISA_COUNT, true},
    {"pse36", W_1_EDX, 17, ISA_COUNT, true},
    {"clflush", W_1_EDX, 19, ISA_CLFLUSH, true},
    {"mmx", W_1_EDX, 23, ISA_MMX, true},
    {"fxsr", W_1_EDX, 24, ISA_FXSR, true},
    {"sse", W_1_EDX, 25, ISA_SSE, true},
    {"sse2", W_1_EDX, 26, ISA_SSE2, true},
    {"ss", W_1_EDX, 27, ISA_COUNT, true},

    {"sse3", W_1_ECX, 0, ISA_SSE3, true},
    {"pclmulqdq", W_1_ECX, 1, ISA_PCLMUL, true},
    {"monitor", W_1_ECX, 3, ISA_MONITOR, false},
    {"vmx", W_1_ECX, 5, ISA_COUNT, false},
    {"ssse3", W_1_ECX, 9, ISA_SSSE3, true},
    {"fma", W_1_ECX, 12, ISA_FMA, false},
    {"cx16", W_1_ECX, 13, ISA_CX16, true},
    {"pcid", W_1_ECX, 17, ISA_COUNT, true},
    {"sse4.1", W_1_ECX, 19, ISA_SSE41, true},
    {"sse4.2", W_1_ECX, 20, ISA_SSE42, true},
    {"x2apic", W_1_ECX, 21, ISA_COUNT, true},
    {"movbe", W_1_ECX, 22, ISA_MOVBE, true},
    {"popcnt", W_1_ECX, 23, ISA_POPCNT, true},
    {"tsc-deadline", W_1_ECX, 24, ISA_COUNT, true},
    {"aes", W_1_ECX, 25, ISA_AES, true},
    {"xsave", W_1_ECX, 26, ISA_XSAVE, true},
    {"avx", W_1_ECX, 28, ISA_AVX, false},
    {"f16c", W_1_ECX, 29, ISA_F16C, false},
    {"rdrand", W_1_ECX, 30, ISA_RDRAND, true},
    {"hypervisor", W_1_ECX, 31, ISA_COUNT, true},

    {"fsgsbase", W_7_EBX, 0, ISA_FSGSBASE, true},
    {"tsc-adjust", W_7_EBX, 1, ISA_COUNT, true},
    {"bmi1", W_7_EBX, 3, ISA_BMI1, false},
    {"avx2", W_7_EBX, 5, ISA_AVX2, false},
    {"smep", W_7_EBX, 7, ISA_COUNT, true},
    {"bmi2", W_7_EBX, 8, ISA_BMI2, false},
    {"erms", W_7_EBX, 9, ISA_COUNT, true},
    {"invpcid", W_7_EBX, 10, ISA_INVPCID, true},
    {"rdseed", W_7_EBX, 18, ISA_RDSEED, true},
    {"adx", W_7_EBX, 19, ISA_ADX, true},
    {"smap", W_7_EBX, 20, ISA_SMAP, true},
    {"clflushopt", W_7_EBX, 23, ISA_CLFLUSHOPT, true},
    {"clwb", W_7_EBX, 24, ISA_CLWB, true},
    {"sha-ni", W_7_EBX, 29, ISA_SHA, true},
    {"umip", W_7_ECX, 2, ISA_COUNT, true},
    {"pku", W_7_ECX, 3, ISA_COUNT, false},
    {"gfni", W_7_ECX, 8, ISA_GFNI, true},
    {"vaes", W_7_ECX, 9, ISA_VAES, false},
    {"vpclmulqdq", W_7_ECX, 10, ISA_VPCLMUL, false},
    {"la57", W_7_ECX, 16, ISA_COUNT, false},
    {"rdpid", W_7_ECX, 22, ISA_RDPID, true},
    {"spec-ctrl", W_7_EDX, 26, ISA_COUNT, true},
    {"arch-capabilities", W_7_EDX, 29, ISA_COUNT, true},
    {"xsaveopt", W_D1_EAX, 0, ISA_XSAVEOPT, true},
    {"xsavec", W_D1_EAX, 1, ISA_XSAVEC, true},
    {"xgetbv1", W_D1_EAX, 2, ISA_COUNT, true},
    {"xsaves", W_D1_EAX, 3, ISA_XSAVES, true},

    {"syscall", W_E1_EDX, 11, ISA_SYSCALL, true},
    {"nx", W_E1_EDX, 20, ISA_COUNT, true},
    {"pdpe1gb", W_E1_EDX, 26, ISA_COUNT, true},
    {"rdtscp", W_E1_EDX, 27, ISA_RDTSCP, true},
    {"lm", W_E1_EDX, 29, ISA_LM, true},
    {"lahf-lm", W_E1_ECX, 0, ISA_LAHF64, true},
    {"svm", W_E1_ECX, 2, ISA_COUNT, false},
    {"abm", W_E1_ECX, 5, ISA_LZCNT, true},
    {"sse4a", W_E1_ECX, 6, ISA_SSE4A, true},
    {"3dnowprefetch", W_E1_ECX, 8, ISA_3DNOWPREFETCH, true},
    {"invtsc", W_E7_EDX, 8, ISA_COUNT, true},
    {"wbnoinvd", W_E8_EBX, 9, ISA_COUNT, true},
    {"amd-ssb-no", W_E8_EBX, 26, ISA_COUNT, true},
};

struct cpu_model {
    const char *name, *brand;
    bool amd;
    u8 family, model, stepping;
    u32 level, xlevel;
    u32 words[WORDS];
    u64 isa;       /* BIT64(enum isa) */
    unsigned cpus; /* in the machine */
};

#define ED(bit) (1u << (bit))
/* FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFLUSH MMX FXSR SSE SSE2 */
#define PLAIN_1_EDX 0x078bfbfdu

static const struct cpu_model models[] = {
    {
        .name = "qemu64", .brand = "Dragoman Virtual CPU (qemu64)", .amd = true,
        .family = 15, .model = 107, .stepping = 1, .level = 0xd, .xlevel = 0x80000008,
        .words = {
            [W_1_EDX] = PLAIN_1_EDX,
            [W_1_ECX] = ED(0) | ED(13) | ED(31),
            [W_E1_EDX] = ED(11) | ED(20) | ED(29),
            [W_E1_ECX] = ED(0),
        },
    },
    {
        /* Signature of a part whose known errata need no workaround in kernels. */
        .name = "max", .brand = "Dragoman Virtual CPU (max)", .amd = false,
        .family = 6, .model = 143, .stepping = 8, .level = 0x16, .xlevel = 0x80000008,
        .words = {
            [W_1_EDX] = PLAIN_1_EDX | ED(1) | ED(27),
            [W_1_ECX] = ED(0) | ED(1) | ED(9) | ED(13) | ED(17) | ED(19) | ED(20) | ED(21) |
                        ED(22) | ED(23) | ED(24) | ED(25) | ED(26) | ED(30) | ED(31),
            [W_7_EBX] = ED(0) | ED(1) | ED(7) | ED(9) | ED(10) | ED(18) | ED(19) | ED(20) | ED(23) |
                        ED(24) | ED(29),
            [W_7_ECX] = ED(2) | ED(8) | ED(22),
            [W_7_EDX] = ED(26) | ED(29),
            [W_D1_EAX] = ED(0) | ED(1) | ED(2) | ED(3),
            [W_E1_EDX] = ED(11) | ED(20) | ED(26) | ED(27) | ED(29),
            [W_E1_ECX] = ED(0) | ED(5) | ED(6) | ED(8),
            [W_E7_EDX] = ED(8),
            [W_E8_EBX] = ED(9),
        },
    },
};

static bool word_has(const struct cpu_model *m, enum word w, unsigned bit)
{
    return m->words[w] >> bit & 1;
}

static const struct feature *find_feature(const char *name, size_t len)
{
    char n[32];
    if (len >= sizeof n)
        return NULL;
    for (size_t i = 0; i < len; i++)
        n[i] = name[i] == '_' ? '-' : name[i];
    n[len] = 0;
    /* QEMU's older spellings. */
    if (!strcmp(n, "sse4-1") || !strcmp(n, "sse4-2"))
        n[4] = '.';
    if (!strcmp(n, "pni"))
        strcpy(n, "sse3");
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        if (!strcmp(features[i].name, n))
            return &features[i];
    }
    return NULL;
}

/* Applies one "+name" or "-name"; false with *error set. */
static bool apply(struct cpu_model *m, const char *item, size_t len, char **error)
{
    bool on = *item == '+';
    const struct feature *f = NULL;
    int n = 0;

    if (len > 1 && (*item == '+' || *item == '-'))
        f = find_feature(item + 1, len - 1);
    if (!f)
        n = asprintf(error, "-cpu: unknown feature '%.*s'", (int)len, item);
    else if (on && !f->supported)
        n = asprintf(error, "-cpu: feature '%s' is not emulated", f->name);
    else if (on)
        m->words[f->word] |= ED(f->bit);
    else
        m->words[f->word] &= ~ED(f->bit);
    if (n < 0)
        *error = NULL;
    return f && (!on || f->supported);
}

/* Features that make no sense without another one, in an order that settles in one pass. */
static void settle(struct cpu_model *m)
{
    static const struct { u8 word, bit, need_word, need_bit; } needs[] = {
        {W_1_EDX, 25, W_1_EDX, 24}, {W_1_EDX, 26, W_1_EDX, 25}, {W_1_ECX, 0, W_1_EDX, 26},
        {W_1_ECX, 9, W_1_ECX, 0}, {W_1_ECX, 19, W_1_ECX, 9}, {W_1_ECX, 20, W_1_ECX, 19},
        {W_1_ECX, 26, W_1_EDX, 24}, {W_E1_EDX, 29, W_1_EDX, 6}, {W_E1_EDX, 26, W_E1_EDX, 29},
        {W_1_ECX, 17, W_E1_EDX, 29}, {W_7_EBX, 10, W_1_ECX, 17}, {W_7_EBX, 0, W_E1_EDX, 29},
        {W_D1_EAX, 0, W_1_ECX, 26}, {W_D1_EAX, 1, W_1_ECX, 26},
        {W_D1_EAX, 2, W_1_ECX, 26}, {W_D1_EAX, 3, W_D1_EAX, 1},
    };
    for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
        if (!word_has(m, needs[i].need_word, needs[i].need_bit))
            m->words[needs[i].word] &= ~ED(needs[i].bit);
    }
    m->isa = BIT64(ISA_BASE) | BIT64(ISA_486) | BIT64(ISA_586);
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        if (features[i].isa != ISA_COUNT && word_has(m, features[i].word, features[i].bit))
            m->isa |= BIT64(features[i].isa);
    }
}

const struct cpu_model *cpu_model_find(const char *spec, unsigned cpus, char **error)
{
    size_t len = strcspn(spec, ",");
    struct cpu_model *m = NULL;

    *error = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        if (strlen(models[i].name) == len && !strncmp(models[i].name, spec, len)) {
            m = malloc(sizeof *m);
            if (!m)
                return NULL;
            *m = models[i];
        }
    }
    if (!m) {
        if (asprintf(error, "-cpu: unknown model '%.*s' (try -cpu help)", (int)len, spec) < 0)
            *error = NULL;
        return NULL;
    }
    m->cpus = cpus ? cpus : 1;
    for (const char *p = spec + len; *p == ',';) {
        size_t n = strcspn(++p, ",");
        if (!apply(m, p, n, error)) {
            free(m);
            return NULL;
        }
        p += n;
    }
    settle(m);
    return m;
}

void cpu_model_help(print_fn print, void *opaque)
{
    print(opaque, "Available CPUs:\n");
    for (size_t i = 0; i < ARRAY_SIZE(models); i++)
        print(opaque, "  %-10s %s\n", models[i].name, models[i].brand);
    print(opaque, "\nFeatures that can be added (+name) or removed (-name):\n ");
    unsigned column = 1;
    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        unsigned n = (unsigned)strlen(features[i].name) + 1;
        if (!features[i].supported)
            continue;
        if (column + n > 78) {
            print(opaque, "\n ");
            column = 1;
        }
        print(opaque, " %s", features[i].name);
        column += n;
    }
    print(opaque, "\n");
}

bool cpu_has(const struct cpu *cpu, enum isa isa)
{
    return cpu->model->isa >> isa & 1;
}

bool cpu_has_feature(const struct cpu *cpu, enum cpu_feature feature)
{
    static const struct { u8 word, bit; } where[] = {
        [FEAT_VME] = {W_1_EDX, 1}, [FEAT_DE] = {W_1_EDX, 2},
        [FEAT_PSE] = {W_1_EDX, 3}, [FEAT_TSC] = {W_1_EDX, 4},
        [FEAT_PAE] = {W_1_EDX, 6}, [FEAT_MCE] = {W_1_EDX, 7}, [FEAT_PGE] = {W_1_EDX, 13},
        [FEAT_PCID] = {W_1_ECX, 17}, [FEAT_X2APIC] = {W_1_ECX, 21},
        [FEAT_TSC_DEADLINE] = {W_1_ECX, 24}, [FEAT_TSC_ADJUST] = {W_7_EBX, 1},
        [FEAT_SMEP] = {W_7_EBX, 7}, [FEAT_UMIP] = {W_7_ECX, 2}, [FEAT_NX] = {W_E1_EDX, 20},
        [FEAT_SPEC_CTRL] = {W_7_EDX, 26}, [FEAT_ARCH_CAPABILITIES] = {W_7_EDX, 29},
        [FEAT_MTRR] = {W_1_EDX, 12}, [FEAT_MCA] = {W_1_EDX, 14}, [FEAT_PAT] = {W_1_EDX, 16},
        [FEAT_1G_PAGES] = {W_E1_EDX, 26},
        [FEAT_XGETBV1] = {W_D1_EAX, 2},
    };
    return word_has(cpu->model, where[feature].word, where[feature].bit);
}

bool cpu_is_amd(const struct cpu *cpu)
{
    return cpu->model->amd;
}

unsigned cpu_phys_bits(const struct cpu *cpu)
{
    return 40;
}

u64 cpu_cr4_mask(const struct cpu *cpu)
{
    static const struct { u8 feature; u32 bit; } by_feature[] = {
        {FEAT_VME, CR4_VME | CR4_PVI},
        {FEAT_DE, CR4_DE}, {FEAT_PSE, CR4_PSE}, {FEAT_TSC, CR4_TSD}, {FEAT_PAE, CR4_PAE},
        {FEAT_MCE, CR4_MCE}, {FEAT_PGE, CR4_PGE}, {FEAT_PCID, CR4_PCIDE}, {FEAT_SMEP, CR4_SMEP},
        {FEAT_UMIP, CR4_UMIP},
    };
    static const struct { u8 isa; u32 bit; } by_isa[] = {
        {ISA_FXSR, CR4_OSFXSR}, {ISA_SSE, CR4_OSXMMEXCPT}, {ISA_FSGSBASE, CR4_FSGSBASE},
        {ISA_XSAVE, CR4_OSXSAVE}, {ISA_SMAP, CR4_SMAP},
    };
    u64 m = CR4_PCE;
    for (size_t i = 0; i < ARRAY_SIZE(by_feature); i++) {
        if (cpu_has_feature(cpu, (enum cpu_feature)by_feature[i].feature))
            m |= by_feature[i].bit;
    }
    for (size_t i = 0; i < ARRAY_SIZE(by_isa); i++) {
        if (cpu_has(cpu, (enum isa)by_isa[i].isa))
            m |= by_isa[i].bit;
    }
    return m;
}

u64 cpu_xcr0_mask(const struct cpu *cpu)
{
    return cpu_has(cpu, ISA_XSAVE) ? 3 : 0;
}

/* ---- leaves ---- */

static u32 signature(const struct cpu_model *m)
{
    u32 family = m->family, base = family < 15 ? family : 15;
    return m->stepping | (m->model & 15u) << 4 | base << 8 | (m->model >> 4 & 15u) << 16 |
           (family - base) << 20;
}

static struct cpuid_regs vendor_leaf(const struct cpu_model *m, u32 max)
{
    const char *v = m->amd ? "AuthenticAMD" : "GenuineIntel";
    return (struct cpuid_regs){max, (u32)load_le(v, 4), (u32)load_le(v + 8, 4),
                               (u32)load_le(v + 4, 4)};
}

static struct cpuid_regs leaf_1(struct cpu *cpu, const struct cpu_model *m)
{
    struct cpuid_regs r = {.eax = signature(m), .ecx = m->words[W_1_ECX],
                           .edx = m->words[W_1_EDX]};
    r.ebx = cpu->index << 24 | (m->cpus & 0xff) << 16 | 8u << 8; /* CLFLUSH: 8 quadwords */
    if (m->cpus > 1)
        r.edx |= ED(28); /* HTT: more than one logical processor in the package */
    if (cpu->cr4 & CR4_OSXSAVE)
        r.ecx |= ED(27);
    if (cpu->irq && cpu->irq->get_apic_base &&
        !(cpu->irq->get_apic_base(cpu->irq_opaque) & 0x800))
        r.edx &= ~ED(9); /* APIC bit follows the global enable, SDM vol. 3A 10.4.3 */
    return r;
}

/* Bits that hold numbers 0..n-1. */
static unsigned id_bits(unsigned n)
{
    unsigned b = 0;
    while ((1u << b) < n)
        b++;
    return b;
}

/* Deterministic cache parameters: 32K L1 data and code, 2M L2, 16M L3, 64-byte lines. */
static struct cpuid_regs leaf_4(const struct cpu_model *m, u32 sub)
{
    static const struct { u8 type, level; u16 ways; u32 sets; bool shared; } caches[] = {
        {1, 1, 8, 64, false}, {2, 1, 8, 64, false},
        {3, 2, 16, 2048, false}, {3, 3, 16, 16384, true},
    };
    if (m->amd || sub >= ARRAY_SIZE(caches))
        return (struct cpuid_regs){0};
    u32 ids = (1u << id_bits(m->cpus)) - 1;
    return (struct cpuid_regs){
        .eax = caches[sub].type | (u32)caches[sub].level << 5 | ED(8) |
               (caches[sub].shared ? ids << 14 : 0) | ids << 26,
        .ebx = 63u | (u32)(caches[sub].ways - 1) << 22,
        .ecx = caches[sub].sets - 1,
    };
}

static struct cpuid_regs leaf_b(struct cpu *cpu, const struct cpu_model *m, u32 sub)
{
    struct cpuid_regs r = {.ecx = sub & 0xff, .edx = cpu->index};
    if (sub == 0) {
        r.ebx = 1;
        r.ecx |= 1 << 8; /* SMT */
    } else if (sub == 1) {
        r.eax = id_bits(m->cpus);
        r.ebx = m->cpus;
        r.ecx |= 2 << 8; /* core */
    }
    return r;
}

#define XSAVE_BYTES (512u + 64) /* legacy area and header: no extended state */

static struct cpuid_regs leaf_d(struct cpu *cpu, const struct cpu_model *m, u32 sub)
{
    struct cpuid_regs r = {0};
    if (!cpu_has(cpu, ISA_XSAVE))
        return r;
    if (sub == 0) {
        r.eax = (u32)cpu_xcr0_mask(cpu);
        r.ebx = r.ecx = XSAVE_BYTES;
    } else if (sub == 1) {
        r.eax = m->words[W_D1_EAX];
        r.ebx = cpu_has(cpu, ISA_XSAVEC) ? XSAVE_BYTES : 0; /* of the compacted form */
    }
    return r;
}

static struct cpuid_regs basic_leaf(struct cpu *cpu, const struct cpu_model *m, u32 leaf, u32 sub)
{
    struct cpuid_regs r = {0};
    switch (leaf) {
    case 0: return vendor_leaf(m, m->level);
    case 1: return leaf_1(cpu, m);
    case 2: /* descriptors: "see leaf 4" (FFH) */
        if (!m->amd)
            r.eax = 0x0000ff01u;
        return r;
    case 4: return leaf_4(m, sub);
    case 6: r.eax = 1 << 2; return r; /* ARAT: the APIC timer never stops */
    case 7:
        if (sub == 0)
            r = (struct cpuid_regs){0, m->words[W_7_EBX], m->words[W_7_ECX], m->words[W_7_EDX]};
        return r;
    case 0xb: return leaf_b(cpu, m, sub);
    case 0xd: return leaf_d(cpu, m, sub);
    case 0x15: /* TSC = crystal of 1 GHz (the APIC timer's clock) * ebx / eax; small numbers,
                * because kernels multiply the crystal's kHz by ebx in 32 bits */
        return (struct cpuid_regs){2, CPU_TSC_KHZ / 500000, 1000000000, 0};
    case 0x16: return (struct cpuid_regs){CPU_TSC_KHZ / 1000, CPU_TSC_KHZ / 1000, 100, 0};
    default: return r;
    }
}

static struct cpuid_regs extended_leaf(const struct cpu_model *m, u32 leaf)
{
    struct cpuid_regs r = {0};
    char brand[48] = {0};
    switch (leaf) {
    case 0x80000000:
        if (m->amd)
            return vendor_leaf(m, m->xlevel);
        r.eax = m->xlevel;
        return r;
    case 0x80000001:
        r.eax = m->amd ? signature(m) : 0;
        r.ecx = m->words[W_E1_ECX];
        r.edx = m->words[W_E1_EDX];
        if (m->amd) {
            r.edx |= m->words[W_1_EDX] & 0x0183f3ffu; /* AMD repeats these here */
            if (m->cpus > 1)
                r.ecx |= ED(1); /* CMP_LEGACY */
        }
        return r;
    case 0x80000002: case 0x80000003: case 0x80000004: {
        snprintf(brand, sizeof brand, "%s", m->brand);
        const char *p = brand + (leaf - 0x80000002) * 16;
        return (struct cpuid_regs){(u32)load_le(p, 4), (u32)load_le(p + 4, 4),
                                   (u32)load_le(p + 8, 4), (u32)load_le(p + 12, 4)};
    }
    case 0x80000005: /* AMD: L1 TLBs and caches */
        if (m->amd)
            return (struct cpuid_regs){0x01ff01ff, 0x01ff01ff, 0x40020140, 0x40020140};
        return r;
    case 0x80000006:
        if (m->amd)
            return (struct cpuid_regs){0, 0x42004200, 0x02008140, 0};
        r.ecx = 2048u << 16 | 8u << 12 | 64;
        return r;
    case 0x80000007: r.edx = m->words[W_E7_EDX]; return r;
    case 0x80000008:
        r.eax = 48u << 8 | 40;
        r.ebx = m->words[W_E8_EBX];
        r.ecx = m->amd ? m->cpus - 1 : 0;
        return r;
    default: return r;
    }
}

struct cpuid_regs cpu_cpuid(struct cpu *cpu, u32 leaf, u32 subleaf)
{
    const struct cpu_model *m = cpu->model;

    if (leaf == 0x40000000 && word_has(m, W_1_ECX, 31)) {
        const char *v = "DragomanDBT ";
        return (struct cpuid_regs){leaf, (u32)load_le(v, 4), (u32)load_le(v + 4, 4),
                                   (u32)load_le(v + 8, 4)};
    }
    if (leaf >= 0x80000000 && leaf <= m->xlevel)
        return extended_leaf(m, leaf);
    if (leaf > m->level) {
        if (m->amd)
            return (struct cpuid_regs){0};
        leaf = m->level; /* Intel: the highest basic leaf answers */
    }
    return basic_leaf(cpu, m, leaf, subleaf);
}

u64 helper_cpuid(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct cpuid_regs r = cpu_cpuid(cpu, (u32)cpu->gpr[RAX], (u32)cpu->gpr[RCX]);
    cpu->gpr[RAX] = r.eax;
    cpu->gpr[RBX] = r.ebx;
    cpu->gpr[RCX] = r.ecx;
    cpu->gpr[RDX] = r.edx;
    return 0;
}

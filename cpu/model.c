/* CPU models: a vendor, a signature, the highest leaves, and features by name (features.def).
 *
 * A model has the features of the part whose name it bears, less those that are not emulated, so
 * that every bit that a guest sees is implemented.  `qemu32` and `qemu64` are the plain machines of
 * those names in QEMU.  `max` is everything this emulator does, dressed as a recent Intel server
 * part without the speculation bugs (ARCH_CAPABILITIES), so that kernels neither warn nor pay for
 * mitigations; the models of real parts have the bugs of those parts as far as a kernel knows.
 * Left out: parts without CPUID, serial numbers, feature bits of TSX, MPX, virtualisation.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "cpu/model.h"
#include "cpu/system.h"

struct feature {
    const char *name;
    u8 isa;
    bool emulated;
};

static const struct feature features[FEAT_COUNT] = {
#define FEATURE(id, name, word, bit, isa, emulated) [FEAT_##id] = {name, ISA_##isa, emulated},
#include "cpu/features.def"
#undef FEATURE
};

const struct feature_bit cpu_feature_bits[FEAT_COUNT] = {
#define FEATURE(id, name, word, bit, isa, emulated) [FEAT_##id] = {word, bit},
#include "cpu/features.def"
#undef FEATURE
};

/* Spellings of QEMU and of Linux that differ from the rows'. */
static const struct { const char *name, *is; } aliases[] = {
    {"pni", "sse3"}, {"pclmuldq", "pclmulqdq"}, {"sse4-1", "sse4.1"}, {"sse4-2", "sse4.2"},
    {"lzcnt", "abm"}, {"i64", "lm"}, {"xd", "nx"}, {"ffxsr", "fxsr-opt"}, {"clfsh", "clflush"},
    {"sha", "sha-ni"},
};

/* ---- the models ---- */

#define P5 "fpu vme pse de tsc msr mce cx8 apic mmx "
#define P6 P5 "pae sep mtrr pge mca cmov pat pse36 fxsr "
/* What every 64-bit model begins with. */
#define X64 P6 "clflush sse sse2 sse3 cx16 syscall nx lm lahf-lm "
#define NEHALEM X64 "ssse3 sse4.1 sse4.2 popcnt "
#define SANDY_BRIDGE NEHALEM "pclmulqdq x2apic tsc-deadline aes xsave xsaveopt avx rdtscp arat "
#define HASWELL                                                                                 \
    SANDY_BRIDGE "fma pcid movbe f16c rdrand fsgsbase bmi1 hle avx2 smep bmi2 erms invpcid rtm abm "

static const struct part {
    const char *name, *brand;
    bool amd;
    u8 family, model, stepping;
    u32 level, xlevel;
    const char *features; /* NULL: all that are emulated */
} parts[] = {
    {"486", "", false, 4, 8, 0, 1, 0, "fpu vme pse"},
    {"pentium", "", false, 5, 4, 3, 1, 0, P5},
    {"pentium3", "", false, 6, 7, 3, 3, 0, P6 "sse"},
    {"qemu32", "Dragoman Virtual CPU (qemu32)", false, 6, 6, 3, 4, 0x80000004,
     "fpu de pse tsc msr mce cx8 mmx pae sep pge cmov pat fxsr apic sse sse2 sse3"},
    {"qemu64", "Dragoman Virtual CPU (qemu64)", true, 15, 107, 1, 0xd, 0x80000008,
     "fpu de pse tsc msr mce cx8 mmx pae sep mtrr pge mca cmov pat pse36 fxsr apic clflush sse "
     "sse2 sse3 cx16 syscall nx lm lahf-lm svm"},
    {"core2duo", "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz", false, 6, 15, 11, 0xa,
     0x80000008, X64 "acpi ss monitor ssse3"},
    {"Nehalem", "Intel Core i7 9xx (Nehalem Class Core i7)", false, 6, 26, 3, 0xb, 0x80000008,
     NEHALEM},
    {"SandyBridge", "Intel Xeon E312xx (Sandy Bridge)", false, 6, 42, 1, 0xd, 0x80000008,
     SANDY_BRIDGE},
    {"Haswell", "Intel Core Processor (Haswell)", false, 6, 60, 4, 0xd, 0x80000008, HASWELL},
    {"Skylake-Client", "Intel Core Processor (Skylake)", false, 6, 94, 3, 0xd, 0x80000008,
     HASWELL "3dnowprefetch rdseed adx smap xsavec xgetbv1"},
    {"EPYC", "AMD EPYC Processor", true, 23, 1, 2, 0xd, 0x80000008,
     NEHALEM "monitor pclmulqdq fma movbe aes xsave avx f16c rdrand fsgsbase bmi1 avx2 smep bmi2 "
             "rdseed adx smap clflushopt sha-ni xsaveopt xsavec xgetbv1 mmxext fxsr-opt pdpe1gb "
             "rdtscp svm cr8legacy abm sse4a misalignsse 3dnowprefetch arat"},
    /* Signature of a part whose known errata need no workaround in kernels. */
    {"max", "Dragoman Virtual CPU (max)", false, 6, 143, 8, 0x16, 0x80000008, NULL},
};

/* AMD's own bits, which `max` does not show, being Intel's. */
static bool not_in_max(enum cpu_feature f)
{
    return f == FEAT_AMD_SSB_NO || f == FEAT_MMXEXT;
}

static void set_feature(struct cpu_model *m, enum cpu_feature f, bool on)
{
    u32 bit = 1u << cpu_feature_bits[f].bit, *word = &m->words[cpu_feature_bits[f].word];
    *word = on ? *word | bit : *word & ~bit;
}

/* FEAT_COUNT when there is none of that name; '_' counts as '-'. */
static enum cpu_feature find_feature(const char *name, size_t len)
{
    char n[32];
    if (len >= sizeof n)
        return FEAT_COUNT;
    for (size_t i = 0; i < len; i++)
        n[i] = name[i] == '_' ? '-' : name[i];
    n[len] = 0;
    for (size_t i = 0; i < ARRAY_SIZE(aliases); i++) {
        if (!strcmp(aliases[i].name, n))
            strcpy(n, aliases[i].is);
    }
    unsigned f = 0;
    while (f < FEAT_COUNT && strcmp(features[f].name, n))
        f++;
    return (enum cpu_feature)f;
}

static void add_features(struct cpu_model *m, const char *names)
{
    for (unsigned f = 0; !names && f < FEAT_COUNT; f++)
        set_feature(m, (enum cpu_feature)f, features[f].emulated && !not_in_max(f));
    for (const char *p = names; p && *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        enum cpu_feature f = find_feature(p, len);
        assert(f < FEAT_COUNT); /* a table of this file */
        if (features[f].emulated)
            set_feature(m, f, true);
        p += len;
    }
}

/* ---- what is asked for, and answers to what is not there ---- */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    a = a < b ? a : b;
    return a < c ? a : c;
}

/* Letters to change, add or leave out to come from what was typed to the name, whatever the case; 0
 * for the beginning of one. */
static unsigned distance(const char *a, size_t len, const char *b)
{
    unsigned row[64], n = (unsigned)strlen(b);
    if (len >= 64 || n >= 64)
        return 64;
    if (len >= 3 && strncasecmp(a, b, len) == 0)
        return 0;
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (unsigned j = 1; j <= n; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            unsigned next = min3(row[j] + 1, row[j - 1] + 1, diagonal + !same);
            diagonal = row[j];
            row[j] = next;
        }
    }
    return row[n];
}

/* Appends " (did you mean x, y?)" with the names that are nearest to what was typed. */
static void suggest(char *text, size_t size, const char *typed, size_t len,
                    const char *(*name_of)(unsigned i))
{
    unsigned best = 64, limit = len < 5 ? 2 : 3, shown = 0;
    for (unsigned i = 0; name_of(i); i++) {
        unsigned d = distance(typed, len, name_of(i));
        best = d < best ? d : best;
    }
    for (unsigned i = 0; name_of(i) && best <= limit && best < len && shown < 3; i++) {
        size_t used = strlen(text);
        if (distance(typed, len, name_of(i)) == best)
            snprintf(text + used, size - used, "%s%s", shown++ ? ", " : " (did you mean ",
                     name_of(i));
    }
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s", shown ? "?)" : " (try -cpu help)");
}

static const char *part_name(unsigned i)
{
    return i < ARRAY_SIZE(parts) ? parts[i].name : NULL;
}

static const char *feature_name(unsigned i)
{
    return i < FEAT_COUNT ? features[i].name : NULL;
}

static void unknown(char **error, const char *what, const char *typed, size_t len,
                    const char *(*name_of)(unsigned i))
{
    char text[256];
    snprintf(text, sizeof text, "-cpu: unknown %s '%.*s'", what, (int)(len < 80 ? len : 80), typed);
    suggest(text, sizeof text, typed, len, name_of);
    *error = strdup(text);
}

/* Applies one "+name", "-name", "name", "name=on" or "name=off"; false with *error set. */
static bool apply(struct cpu_model *m, const char *item, size_t len, char **error)
{
    bool on = *item != '-';
    const char *name = item + (*item == '+' || *item == '-'), *equals = memchr(item, '=', len);
    size_t n = equals ? (size_t)(equals - name) : (size_t)(item + len - name);
    if (equals) {
        size_t rest = (size_t)(item + len - equals) - 1;
        on = rest == 2 && !strncmp(equals + 1, "on", 2);
        if (name != item || (!on && !(rest == 3 && !strncmp(equals + 1, "off", 3)))) {
            if (asprintf(error, "-cpu: '%.*s' is not +feature, -feature or feature=on|off",
                         (int)len, item) < 0)
                *error = NULL;
            return false;
        }
    }
    enum cpu_feature f = n ? find_feature(name, n) : FEAT_COUNT;
    if (f == FEAT_COUNT) {
        unknown(error, "feature", name, n, feature_name);
        return false;
    }
    if (on && !features[f].emulated) {
        if (asprintf(error, "-cpu: feature '%s' is not emulated", features[f].name) < 0)
            *error = NULL;
        return false;
    }
    set_feature(m, f, on);
    return true;
}

/* Leaves that an added feature is shown in. */
static void raise_levels(struct cpu_model *m)
{
    static const struct { u8 word; u32 leaf; } shown[] = {
        {W_6_EAX, 6}, {W_7_EBX, 7}, {W_7_ECX, 7}, {W_7_EDX, 7}, {W_72_EDX, 7},
        {W_D1_EAX, 0xd},
        {W_E1_EDX, 0x80000001}, {W_E1_ECX, 0x80000001}, {W_E7_EDX, 0x80000007},
        {W_E8_EBX, 0x80000008},
    };
    if (model_has(m, FEAT_XSAVE) && m->level < 0xd)
        m->level = 0xd;
    for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
        u32 *level = shown[i].leaf >> 31 ? &m->xlevel : &m->level;
        if (m->words[shown[i].word] && *level < shown[i].leaf)
            *level = shown[i].leaf;
    }
}

/* Features that make no sense without another one, in an order that settles in one pass. */
static void settle(struct cpu_model *m)
{
    static const struct { u8 feature, needs; } rules[] = {
        {FEAT_SSE, FEAT_FXSR}, {FEAT_SSE2, FEAT_SSE}, {FEAT_SSE3, FEAT_SSE2},
        {FEAT_SSSE3, FEAT_SSE3}, {FEAT_SSE41, FEAT_SSSE3}, {FEAT_SSE42, FEAT_SSE41},
        {FEAT_SSE4A, FEAT_SSE3}, {FEAT_AES, FEAT_SSE2}, {FEAT_PCLMULQDQ, FEAT_SSE2},
        {FEAT_SHA, FEAT_SSE2}, {FEAT_GFNI, FEAT_SSE2}, {FEAT_XSAVE, FEAT_FXSR},
        {FEAT_AVX, FEAT_XSAVE}, {FEAT_AVX, FEAT_SSE42}, {FEAT_AVX2, FEAT_AVX},
        {FEAT_FMA, FEAT_AVX}, {FEAT_F16C, FEAT_AVX}, {FEAT_VAES, FEAT_AVX}, {FEAT_VAES, FEAT_AES},
        {FEAT_VPCLMULQDQ, FEAT_AVX}, {FEAT_VPCLMULQDQ, FEAT_PCLMULQDQ},
        {FEAT_PKU, FEAT_XSAVE}, {FEAT_PKU, FEAT_LM},
        {FEAT_XSAVEOPT, FEAT_XSAVE}, {FEAT_XSAVEC, FEAT_XSAVE}, {FEAT_XGETBV1, FEAT_XSAVE},
        {FEAT_XSAVES, FEAT_XSAVEC}, {FEAT_LM, FEAT_PAE}, {FEAT_LM, FEAT_MSR}, {FEAT_NX, FEAT_PAE},
        {FEAT_NX, FEAT_MSR}, {FEAT_PDPE1GB, FEAT_LM}, {FEAT_PCID, FEAT_LM},
        {FEAT_INVPCID, FEAT_PCID}, {FEAT_FSGSBASE, FEAT_LM}, {FEAT_LAHF_LM, FEAT_LM},
        {FEAT_CX16, FEAT_LM}, {FEAT_SYSCALL, FEAT_MSR}, {FEAT_SEP, FEAT_MSR},
        {FEAT_MTRR, FEAT_MSR}, {FEAT_MCA, FEAT_MSR}, {FEAT_PAT, FEAT_MSR},
        {FEAT_TSC_ADJUST, FEAT_MSR}, {FEAT_SPEC_CTRL, FEAT_MSR}, {FEAT_ARCH_CAPABILITIES, FEAT_MSR},
        {FEAT_APIC, FEAT_MSR}, {FEAT_X2APIC, FEAT_APIC}, {FEAT_TSC_DEADLINE, FEAT_APIC},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        if (!model_has(m, (enum cpu_feature)rules[i].needs))
            set_feature(m, (enum cpu_feature)rules[i].feature, false);
    }
    raise_levels(m);
    m->isa = BIT64(ISA_BASE) | (m->family >= 4 ? BIT64(ISA_486) : 0) |
             (m->family >= 5 ? BIT64(ISA_586) : 0) | (m->family >= 6 ? BIT64(ISA_686) : 0);
    for (unsigned f = 0; f < FEAT_COUNT; f++) {
        if (model_has(m, (enum cpu_feature)f))
            m->isa |= BIT64(features[f].isa);
    }
}

static_assert(ISA_COUNT <= 64, "cpu_model.isa has a bit for each");

const struct cpu_model *cpu_model_find(const char *spec, unsigned cpus, char **error)
{
    size_t len = strcspn(spec, ",");
    const struct part *part = NULL;

    *error = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        if (strlen(parts[i].name) == len && !strncmp(parts[i].name, spec, len))
            part = &parts[i];
    }
    if (!part) {
        unknown(error, "model", spec, len, part_name);
        return NULL;
    }
    struct cpu_model *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    *m = (struct cpu_model){
        .name = part->name, .brand = part->brand, .amd = part->amd, .family = part->family,
        .model = part->model, .stepping = part->stepping, .level = part->level,
        .xlevel = part->xlevel, .cpus = cpus ? cpus : 1,
    };
    add_features(m, part->features);
    set_feature(m, FEAT_HYPERVISOR, true);
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
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const struct part *p = &parts[i];
        print(opaque, "  %-15s %s%sfamily %u, model %u, stepping %u\n", p->name, p->brand,
              *p->brand ? ": " : "", p->family, p->model, p->stepping);
    }
    print(opaque, "\nFeatures that can be added (+name) or removed (-name):\n ");
    unsigned column = 1;
    for (unsigned f = 0; f < FEAT_COUNT; f++) {
        unsigned n = (unsigned)strlen(features[f].name) + 1;
        if (!features[f].emulated)
            continue;
        if (column + n > 78) {
            print(opaque, "\n ");
            column = 1;
        }
        print(opaque, " %s", features[f].name);
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
    return model_has(cpu->model, feature);
}

bool cpu_is_amd(const struct cpu *cpu)
{
    return cpu->model->amd;
}

u64 cpu_model_id(const struct cpu *cpu)
{
    const struct cpu_model *m = cpu->model;
    u64 id = (u64)m->amd << 56 ^ (u64)m->family << 48 ^ (u64)m->model << 40 ^
             (u64)m->stepping << 32 ^ m->cpus;
    const u64 parts[] = {m->isa, (u64)m->xlevel << 32 | m->level};
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
        id = (id * 0x9e3779b97f4a7c15ull) ^ id >> 29 ^ parts[i];
    for (unsigned w = 0; w < WORDS; w++)
        id = (id * 0x9e3779b97f4a7c15ull) ^ id >> 29 ^ m->words[w];
    return id;
}

unsigned cpu_phys_bits(const struct cpu *cpu)
{
    const struct cpu_model *m = cpu->model;
    bool wide = model_has(m, FEAT_PAE) || model_has(m, FEAT_PSE36);
    return model_has(m, FEAT_LM) ? 40 : wide ? 36 : 32;
}

u64 cpu_cr4_mask(const struct cpu *cpu)
{
    static const struct { u8 feature; u32 bits; } rows[] = {
        {FEAT_VME, CR4_VME | CR4_PVI},
        {FEAT_DE, CR4_DE}, {FEAT_PSE, CR4_PSE}, {FEAT_TSC, CR4_TSD}, {FEAT_PAE, CR4_PAE},
        {FEAT_MCE, CR4_MCE}, {FEAT_PGE, CR4_PGE}, {FEAT_PCID, CR4_PCIDE}, {FEAT_SMEP, CR4_SMEP},
        {FEAT_UMIP, CR4_UMIP}, {FEAT_FXSR, CR4_OSFXSR}, {FEAT_SSE, CR4_OSXMMEXCPT},
        {FEAT_FSGSBASE, CR4_FSGSBASE}, {FEAT_XSAVE, CR4_OSXSAVE}, {FEAT_SMAP, CR4_SMAP},
        {FEAT_PKU, CR4_PKE},
    };
    u64 m = cpu_has(cpu, ISA_686) ? CR4_PCE : 0;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (cpu_has_feature(cpu, (enum cpu_feature)rows[i].feature))
            m |= rows[i].bits;
    }
    return m;
}

u64 cpu_xcr0_mask(const struct cpu *cpu)
{
    if (!cpu_has(cpu, ISA_XSAVE))
        return 0;
    return 3 | (cpu_has(cpu, ISA_AVX) ? 4 : 0) | (cpu_has(cpu, ISA_PKU) ? 1u << 9 : 0);
}

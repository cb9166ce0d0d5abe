/* CPUID (SDM vol. 2A CPUID, AMD APM vol. 3 appendix E): the leaves of the vCPU's model (model.c).
 */
#include <stdio.h>

#include "cpu/helpers.h"
#include "cpu/model.h"
#include "cpu/system.h"

#define ED(bit) (1u << (bit))

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
    r.ebx = cpu->index << 24 | (m->cpus & 0xff) << 16;
    if (!(cpu->misc_enable & MISC_ENABLE_MONITOR))
        r.ecx &= ~ED(3);
    if (model_has(m, FEAT_CLFLUSH))
        r.ebx |= 8u << 8; /* line of 8 quadwords */
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

/* The XSAVE area: legacy region and header, then the upper halves of the YMM registers, where every
 * processor has them in the standard form (SDM vol. 1, 13.4), and PKRU, as on processors without
 * AVX-512. */
enum { XSAVE_LEGACY = 512 + 64, XSAVE_AVX = 256, XSAVE_PKRU = 8, XCR0_AVX = 4, XCR0_PKRU = 512 };

static u32 xsave_bytes(u64 components, bool compact)
{
    bool avx = (components & XCR0_AVX) || (!compact && (components & XCR0_PKRU));
    return XSAVE_LEGACY + (avx ? XSAVE_AVX : 0) + (components & XCR0_PKRU ? XSAVE_PKRU : 0);
}

static struct cpuid_regs leaf_d(struct cpu *cpu, const struct cpu_model *m, u32 sub)
{
    struct cpuid_regs r = {0};
    if (!cpu_has(cpu, ISA_XSAVE))
        return r;
    if (sub == 0) {
        r.eax = (u32)cpu_xcr0_mask(cpu);
        r.ebx = xsave_bytes(cpu->xcr0, false);
        r.ecx = xsave_bytes(cpu_xcr0_mask(cpu), false);
    } else if (sub == 1) {
        r.eax = m->words[W_D1_EAX];
        r.ebx = cpu_has(cpu, ISA_XSAVEC) ? xsave_bytes(cpu->xcr0, true) : 0;
    } else if (sub == 2 && cpu_xcr0_mask(cpu) & XCR0_AVX) {
        r.eax = XSAVE_AVX;
        r.ebx = XSAVE_LEGACY;
    } else if (sub == 9 && cpu_xcr0_mask(cpu) & XCR0_PKRU) {
        r.eax = XSAVE_PKRU;
        r.ebx = XSAVE_LEGACY + XSAVE_AVX;
    }
    return r;
}

static struct cpuid_regs basic_leaf(struct cpu *cpu, const struct cpu_model *m, u32 leaf, u32 sub)
{
    struct cpuid_regs r = {0};
    switch (leaf) {
    case 0: return vendor_leaf(m, cpu->misc_enable & MISC_ENABLE_LIMIT_CPUID ? 2 : m->level);
    case 1: return leaf_1(cpu, m);
    case 2: /* descriptors: "see leaf 4" (FFH), or 16K L1 caches and 512K L2 */
        if (!m->amd)
            r = (struct cpuid_regs){0x0000ff01u, 0, 0, 0};
        if (!m->amd && m->level < 4)
            r = (struct cpuid_regs){1, 0, 0, 0x080c43u};
        return r;
    case 4: return leaf_4(m, sub);
    case 5: /* MWAIT: lines of 64 bytes, masked interrupts may wake; no C-states to choose among */
        if (model_has(m, FEAT_MONITOR))
            r = (struct cpuid_regs){64, 64, 3, 0};
        return r;
    case 6: r.eax = m->words[W_6_EAX]; return r;
    case 7:
        if (sub == 0)
            r = (struct cpuid_regs){m->words[W_72_EDX] ? 2 : 0, m->words[W_7_EBX],
                                    m->words[W_7_ECX], m->words[W_7_EDX]};
        if (sub == 0 && (cpu->cr4 & CR4_PKE))
            r.ecx |= ED(4); /* OSPKE */
        if (sub == 2)
            r.edx = m->words[W_72_EDX];
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

static struct cpuid_regs extended_leaf(struct cpu *cpu, const struct cpu_model *m, u32 leaf)
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
        if (cpu->misc_enable & MISC_ENABLE_NO_XD)
            r.edx &= ~ED(20);
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
        r.eax = (model_has(m, FEAT_LM) ? 48u : 32u) << 8 | cpu_phys_bits(cpu);
        r.ebx = m->words[W_E8_EBX];
        r.ecx = m->amd ? m->cpus - 1 : 0;
        return r;
    default: return r;
    }
}

struct cpuid_regs cpu_cpuid(struct cpu *cpu, u32 leaf, u32 subleaf)
{
    const struct cpu_model *m = cpu->model;

    if (leaf == 0x40000000 && model_has(m, FEAT_HYPERVISOR)) {
        const char *v = "DragomanDBT ";
        return (struct cpuid_regs){leaf, (u32)load_le(v, 4), (u32)load_le(v + 4, 4),
                                   (u32)load_le(v + 8, 4)};
    }
    if (leaf >= 0x80000000 && leaf <= m->xlevel)
        return extended_leaf(cpu, m, leaf);
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

/* Model-specific registers (SDM vol. 4; AMD APM vol. 2 appendix A) and the instructions that read
 * the counters.  What is not listed raises #GP(0), as on hardware.
 *
 * Left out: performance counters, branch records (DEBUGCTL.LBR does nothing), RAPL, thermal status,
 * PLATFORM_INFO.  MTRRs and PAT hold values but all memory behaves as write-back.
 */
#include <sys/random.h>

#include "base/log.h"
#include "cpu/count.h"
#include "cpu/system.h"

enum {
    MSR_P5_MC_ADDR = 0, MSR_P5_MC_TYPE = 1, MSR_TSC = 0x10, MSR_PLATFORM_ID = 0x17,
    MSR_APIC_BASE = 0x1b, MSR_TSC_ADJUST = 0x3b, MSR_SPEC_CTRL = 0x48, MSR_PRED_CMD = 0x49,
    MSR_UCODE_WRITE = 0x79, MSR_UCODE_REV = 0x8b, MSR_MTRRCAP = 0xfe, MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS, MSR_MCG_CTL, MSR_PERF_STATUS = 0x198, MSR_MISC_ENABLE = 0x1a0,
    MSR_DEBUGCTL = 0x1d9, MSR_MTRR_PHYS = 0x200, MSR_MTRR_FIX64K = 0x250, MSR_MTRR_FIX16K = 0x258,
    MSR_MTRR_FIX4K = 0x268, MSR_PAT = 0x277, MSR_MTRR_DEF_TYPE = 0x2ff, MSR_MC0 = 0x400,
    MSR_TSC_DEADLINE = 0x6e0, MSR_XSS = 0xda0, MSR_X2APIC = 0x800, MSR_X2APIC_END = 0x8ff,
    MSR_EFER = 0xc0000080, MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SFMASK,
    MSR_FS_BASE = 0xc0000100, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_TSC_AUX,
};

#define MC_BANKS 4u
#define MCG_CAP_VALUE (0x100u | MC_BANKS) /* MCG_CTL present */

/* RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO,
 * FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: none of these side channels exists
 * in an emulator's guest (SDM vol. 4 table 2-2). */
#define ARCH_CAPABILITIES_VALUE                                                              \
    (BIT64(0) | BIT64(1) | BIT64(3) | BIT64(4) | BIT64(5) | BIT64(6) | BIT64(8) | BIT64(13) | \
     BIT64(14) | BIT64(15) | BIT64(20) | BIT64(24) | BIT64(26) | BIT64(27) | BIT64(62))

/* ---- the time-stamp counter ---- */

static u64 tsc_multiplier(const struct cpu *cpu)
{
    return (cpu->tsc_khz << 32) / 1000000; /* ticks per ns, 32.32 */
}

static u64 tsc_raw(const struct cpu *cpu)
{
    return (u64)((u128)clock_now(cpu->clock) * tsc_multiplier(cpu) >> 32);
}

u64 cpu_tsc(struct cpu *cpu)
{
    count_exact(cpu);
    return tsc_raw(cpu) + (u64)cpu->tsc_offset;
}

u64 cpu_tsc_to_ns(const struct cpu *cpu, u64 tsc)
{
    s64 raw = (s64)(tsc - (u64)cpu->tsc_offset);
    if (raw <= 0)
        return 0;
    u128 ns = ((u128)(u64)raw << 32) / tsc_multiplier(cpu) + 1; /* not before the deadline */
    return ns > CLOCK_NEVER - 1 ? CLOCK_NEVER - 1 : (u64)ns;
}

/* The APIC's timer compares with the counter as it is now. */
static void move_deadline(struct cpu *cpu)
{
    if (cpu->irq && cpu->irq->tsc_moved)
        cpu->irq->tsc_moved(cpu->irq_opaque);
}

/* SDM vol. 3B 17.17.3: a write to the TSC moves TSC_ADJUST by the same amount, and back. */
static void write_tsc(struct cpu *cpu, u64 v)
{
    u64 delta = v - cpu_tsc(cpu);
    cpu->tsc_offset = (s64)((u64)cpu->tsc_offset + delta);
    cpu->tsc_adjust += delta;
    move_deadline(cpu);
}

static void write_tsc_adjust(struct cpu *cpu, u64 v)
{
    cpu->tsc_offset = (s64)((u64)cpu->tsc_offset + (v - cpu->tsc_adjust));
    cpu->tsc_adjust = v;
    move_deadline(cpu);
}

/* ---- plain registers: a field, who has it, what may be written ---- */

enum { M_RO = 1, M_CANON = 2, M_AMD = 4, M_INTEL = 8, M_LM = 16, M_SEP = 32, M_SYSCALL = 64,
       M_RDTSCP = 128, M_SPEC = 256, M_MTRR = 512, M_MCA = 1024, M_XSAVES = 2048,
       M_P6 = 4096, M_MCE = 8192 };

struct msr_row {
    u32 msr;
    u32 offset;   /* in struct cpu; NO_FIELD: reads as `value`, writes vanish */
    u32 flags;
    u64 writable; /* other bits must be 0: #GP(0) */
    u64 value;
};

#define NO_FIELD (~0u)
#define AT(field) offsetof(struct cpu, field)

#define SPEC_CTRL_PLAIN 3 /* IBRS; STIBP, which is let pass where it does not exist */

/* What kernels read and write at each switch of tasks comes first. */
static const struct msr_row rows[] = {
    {MSR_FS_BASE, AT(seg[SEG_FS].base), M_LM | M_CANON, ~0ull, 0},
    {MSR_GS_BASE, AT(seg[SEG_GS].base), M_LM | M_CANON, ~0ull, 0},
    {MSR_KERNEL_GS_BASE, AT(kernel_gs_base), M_LM | M_CANON, ~0ull, 0},
    {MSR_P5_MC_ADDR, NO_FIELD, M_MCE, 0, 0}, /* of the last machine check: there is none */
    {MSR_P5_MC_TYPE, NO_FIELD, M_MCE, 0, 0},
    {MSR_PLATFORM_ID, NO_FIELD, M_RO | M_INTEL | M_P6, 0, 0},
    {MSR_SPEC_CTRL, AT(spec_ctrl), M_SPEC, SPEC_CTRL_PLAIN, 0},
    {MSR_PRED_CMD, NO_FIELD, M_SPEC, 1, 0},
    {MSR_UCODE_WRITE, NO_FIELD, M_INTEL | M_P6, ~0ull, 0},
    {MSR_MTRRCAP, NO_FIELD, M_RO | M_MTRR, 0, 0x508}, /* 8 variable, fixed, write-combining */
    {MSR_SYSENTER_CS, AT(sysenter_cs), M_SEP, 0xffffffff, 0},
    {MSR_SYSENTER_ESP, AT(sysenter_esp), M_SEP | M_CANON, ~0ull, 0},
    {MSR_SYSENTER_EIP, AT(sysenter_eip), M_SEP | M_CANON, ~0ull, 0},
    {MSR_MCG_CAP, NO_FIELD, M_RO | M_MCA, 0, MCG_CAP_VALUE},
    {MSR_MCG_STATUS, AT(mcg_status), M_MCA, 7, 0},
    {MSR_MCG_CTL, AT(mcg_ctl), M_MCA, ~0ull, 0},
    {MSR_PERF_STATUS, NO_FIELD, M_RO | M_INTEL | M_P6, 0, 0x10ull << 32 | 0x1900},
    {MSR_DEBUGCTL, AT(debugctl), M_P6, 3, 0}, /* LBR and BTF */
    {MSR_XSS, NO_FIELD, M_XSAVES, 0, 0}, /* no supervisor components */
    {MSR_STAR, AT(star), M_SYSCALL, ~0ull, 0},
    {MSR_LSTAR, AT(lstar), M_LM | M_CANON, ~0ull, 0},
    {MSR_CSTAR, AT(cstar), M_LM | M_CANON, ~0ull, 0},
    {MSR_SFMASK, AT(sfmask), M_LM, 0xffffffff, 0},
    {MSR_TSC_AUX, AT(tsc_aux), M_RDTSCP, 0xffffffff, 0},
    /* AMD's configuration registers that K8-era kernels read and write without looking. */
    {0xc0010010, NO_FIELD, M_AMD, ~0ull, 0},            /* SYSCFG */
    {0xc0010015, NO_FIELD, M_AMD, ~0ull, 1ull << 24},   /* HWCR: TscFreqSel */
    {0xc001001a, NO_FIELD, M_AMD, ~0ull, 0},            /* TOP_MEM */
    {0xc001001d, NO_FIELD, M_AMD, ~0ull, 0},            /* TOP_MEM2 */
    {0xc001001f, NO_FIELD, M_AMD, ~0ull, 0},            /* NB_CFG */
    {0xc0010055, NO_FIELD, M_AMD, ~0ull, 0},            /* INT_PENDING */
    {0xc0010111, AT(smbase), M_AMD | M_LM, 0xffffffff, 0}, /* SMM_BASE */
    {0xc0010112, NO_FIELD, M_AMD, ~0ull, 0},            /* SMM_ADDR */
    {0xc0010113, NO_FIELD, M_AMD, ~0ull, 0},            /* SMM_MASK */
    {0xc0010114, NO_FIELD, M_AMD, ~0ull, 0x10},         /* VM_CR: SVM disabled */
    {0xc0011022, NO_FIELD, M_AMD, ~0ull, 0},            /* DC_CFG */
    {0xc0011023, NO_FIELD, M_AMD, ~0ull, 0},            /* BU_CFG */
    {0xc0011029, NO_FIELD, M_AMD, ~0ull, 2},            /* DE_CFG: LFENCE serialises */
};

static bool row_exists(const struct cpu *cpu, u32 flags)
{
    return !(((flags & M_AMD) && !cpu_is_amd(cpu)) || ((flags & M_INTEL) && cpu_is_amd(cpu)) ||
             ((flags & M_LM) && !cpu_has(cpu, ISA_LM)) ||
             ((flags & M_SEP) && !cpu_has(cpu, ISA_SEP)) ||
             ((flags & M_SYSCALL) && !cpu_has(cpu, ISA_SYSCALL)) ||
             ((flags & M_RDTSCP) && !cpu_has(cpu, ISA_RDTSCP) && !cpu_has(cpu, ISA_RDPID)) ||
             ((flags & M_SPEC) && !cpu_has_feature(cpu, FEAT_SPEC_CTRL)) ||
             ((flags & M_MTRR) && !cpu_has_feature(cpu, FEAT_MTRR)) ||
             ((flags & M_P6) && !cpu_has(cpu, ISA_686)) ||
             ((flags & M_XSAVES) && !cpu_has(cpu, ISA_XSAVES)) ||
             ((flags & M_MCE) && !cpu_has_feature(cpu, FEAT_MCE)) ||
             ((flags & M_MCA) && !cpu_has_feature(cpu, FEAT_MCA)));
}

static const struct msr_row *find_row(const struct cpu *cpu, u32 msr)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].msr == msr)
            return row_exists(cpu, rows[i].flags) ? &rows[i] : NULL;
    }
    return NULL;
}

/* ---- MTRRs, PAT, machine-check banks ---- */

static bool memory_type(u64 t)
{
    return t == 0 || t == 1 || t == 4 || t == 5 || t == 6;
}

/* Eight types in eight bytes; PAT also knows 7 (UC-). */
static bool memory_types(u64 v, bool pat)
{
    for (unsigned i = 0; i < 64; i += 8) {
        u64 t = v >> i & 0xff;
        if (!memory_type(t) && !(pat && t == 7))
            return false;
    }
    return true;
}

/* The MTRR register that msr names, or NULL; *fixed tells its kind. */
static u64 *mtrr(struct cpu *cpu, u32 msr, bool *fixed)
{
    *fixed = true;
    if (!cpu_has_feature(cpu, FEAT_MTRR))
        return NULL;
    if (msr == MSR_MTRR_FIX64K)
        return &cpu->mtrr_fixed[0];
    if (msr >= MSR_MTRR_FIX16K && msr < MSR_MTRR_FIX16K + 2)
        return &cpu->mtrr_fixed[1 + msr - MSR_MTRR_FIX16K];
    if (msr >= MSR_MTRR_FIX4K && msr < MSR_MTRR_FIX4K + 8)
        return &cpu->mtrr_fixed[3 + msr - MSR_MTRR_FIX4K];
    *fixed = false;
    if (msr >= MSR_MTRR_PHYS && msr < MSR_MTRR_PHYS + 16) {
        unsigned n = (msr - MSR_MTRR_PHYS) / 2;
        return msr & 1 ? &cpu->mtrr_mask[n] : &cpu->mtrr_base[n];
    }
    return NULL;
}

static bool write_mtrr(struct cpu *cpu, u32 msr, u64 *reg, bool fixed, u64 v)
{
    u64 addr = ((1ull << cpu_phys_bits(cpu)) - 1) & PAGE_MASK;
    bool ok;
    if (fixed)
        ok = memory_types(v, false);
    else if (msr & 1) /* mask and valid bit */
        ok = !(v & ~(addr | 0x800));
    else
        ok = !(v & ~(addr | 0xff)) && memory_type(v & 0xff);
    if (ok)
        *reg = v;
    return ok;
}

static u64 *mc_register(struct cpu *cpu, u32 msr)
{
    unsigned n = (msr - MSR_MC0) / 4;
    if (msr < MSR_MC0 || n >= MC_BANKS || !cpu_has_feature(cpu, FEAT_MCA))
        return NULL;
    switch (msr & 3) {
    case 0: return &cpu->mc_ctl[n];
    case 1: return &cpu->mc_status[n];
    case 2: return &cpu->mc_addr[n];
    default: return &cpu->mc_misc[n];
    }
}

/* ---- registers that live in the interrupt controller; under the machine lock ---- */

static bool is_irq_msr(const struct cpu *cpu, u32 msr)
{
    return cpu->irq && ((msr == MSR_APIC_BASE && cpu_has_feature(cpu, FEAT_APIC) &&
                         cpu_has(cpu, ISA_686)) ||
                        (msr == MSR_TSC_DEADLINE && cpu_has_feature(cpu, FEAT_TSC_DEADLINE)) ||
                        (msr >= MSR_X2APIC && msr <= MSR_X2APIC_END &&
                         cpu_has_feature(cpu, FEAT_X2APIC)));
}

static bool read_irq_msr(struct cpu *cpu, u32 msr, u64 *v)
{
    const struct irq_ops *ops = cpu->irq;
    bool ok = true;
    count_exact(cpu);
    bus_lock(cpu->bus);
    if (msr == MSR_APIC_BASE)
        *v = ops->get_apic_base(cpu->irq_opaque);
    else if (msr == MSR_TSC_DEADLINE)
        *v = ops->get_tsc_deadline(cpu->irq_opaque);
    else
        ok = ops->read_x2apic(cpu->irq_opaque, msr, v);
    bus_unlock(cpu->bus);
    return ok;
}

static bool write_irq_msr(struct cpu *cpu, u32 msr, u64 v)
{
    const struct irq_ops *ops = cpu->irq;
    bool ok = true;
    count_exact(cpu);
    bus_lock(cpu->bus);
    if (msr == MSR_APIC_BASE)
        ok = ops->set_apic_base(cpu->irq_opaque, v);
    else if (msr == MSR_TSC_DEADLINE)
        ops->set_tsc_deadline(cpu->irq_opaque, v);
    else
        ok = ops->write_x2apic(cpu->irq_opaque, msr, v);
    bus_unlock(cpu->bus);
    return ok;
}

/* ---- the whole space ---- */

static bool has_efer(const struct cpu *cpu)
{
    return cpu_has(cpu, ISA_SYSCALL) || cpu_has(cpu, ISA_LM) || cpu_has_feature(cpu, FEAT_NX);
}

static bool has_misc_enable(const struct cpu *cpu)
{
    return !cpu_is_amd(cpu) && cpu_has(cpu, ISA_686);
}

/* SDM vol. 4 table 2-2.  Bits that have an effect: the limit of CPUID, MONITOR and XD (cpuid.c);
 * the others that kernels switch are only held. */
static bool write_misc_enable(struct cpu *cpu, u64 v)
{
    u64 read_only = BIT64(7) | BIT64(11) | BIT64(12); /* no counters, BTS, PEBS */
    u64 held = BIT64(0) | BIT64(3) | BIT64(16) | BIT64(23) | BIT64(24) | BIT64(38) |
               MISC_ENABLE_LIMIT_CPUID | (cpu_has_feature(cpu, FEAT_NX) ? MISC_ENABLE_NO_XD : 0) |
               (cpu_has_feature(cpu, FEAT_MONITOR) ? MISC_ENABLE_MONITOR : 0);
    if (!has_misc_enable(cpu) || (v & ~(read_only | held)))
        return false;
    cpu->misc_enable = (v & held) | (cpu->misc_enable & read_only);
    return true;
}

static u64 *row_field(struct cpu *cpu, const struct msr_row *row)
{
    return (u64 *)((char *)cpu + row->offset);
}

bool cpu_read_msr(struct cpu *cpu, u32 msr, u64 *v)
{
    const struct msr_row *row;
    bool fixed;
    u64 *reg;

    if (is_irq_msr(cpu, msr))
        return read_irq_msr(cpu, msr, v);
    switch (msr) {
    case MSR_TSC: *v = cpu_tsc(cpu); return cpu_has(cpu, ISA_TSC);
    case MSR_TSC_ADJUST: *v = cpu->tsc_adjust; return cpu_has_feature(cpu, FEAT_TSC_ADJUST);
    case MSR_EFER: *v = cpu->efer; return has_efer(cpu);
    case MSR_PAT: *v = cpu->pat; return cpu_has_feature(cpu, FEAT_PAT);
    case MSR_MTRR_DEF_TYPE: *v = cpu->mtrr_def_type; return cpu_has_feature(cpu, FEAT_MTRR);
    case MSR_UCODE_REV:
        *v = cpu_is_amd(cpu) ? 0x01000065 : 1ull << 32;
        return cpu_has(cpu, ISA_686);
    case MSR_MISC_ENABLE: *v = cpu->misc_enable; return has_misc_enable(cpu);
    case MSR_ARCH_CAPABILITIES:
        *v = ARCH_CAPABILITIES_VALUE;
        return cpu_has_feature(cpu, FEAT_ARCH_CAPABILITIES);
    }
    row = find_row(cpu, msr);
    if (row) {
        *v = row->offset == NO_FIELD ? row->value : *row_field(cpu, row);
        return msr != MSR_PRED_CMD && msr != MSR_UCODE_WRITE; /* these two are write-only */
    }
    reg = mtrr(cpu, msr, &fixed);
    if (!reg)
        reg = mc_register(cpu, msr);
    if (!reg)
        return false;
    *v = *reg;
    return true;
}

/* The ones with rules of their own; -1: not one of them. */
static int write_special(struct cpu *cpu, u32 msr, u64 v)
{
    switch (msr) {
    case MSR_TSC:
        if (!cpu_has(cpu, ISA_TSC))
            return false;
        write_tsc(cpu, v);
        return true;
    case MSR_TSC_ADJUST:
        if (!cpu_has_feature(cpu, FEAT_TSC_ADJUST))
            return false;
        write_tsc_adjust(cpu, v);
        return true;
    case MSR_EFER: return has_efer(cpu) && cpu_write_efer(cpu, v);
    case MSR_SPEC_CTRL: /* with BHI_DIS_S where it exists; others by their row */
        if (!cpu_has_feature(cpu, FEAT_BHI_CTRL) || (v & ~(u64)(SPEC_CTRL_PLAIN | 1 << 10)))
            return -1;
        cpu->spec_ctrl = v;
        return true;
    case MSR_PAT:
        if (!cpu_has_feature(cpu, FEAT_PAT) || !memory_types(v, true))
            return false;
        cpu->pat = v;
        return true;
    case MSR_MTRR_DEF_TYPE:
        if (!cpu_has_feature(cpu, FEAT_MTRR) || (v & ~0xcffull) || !memory_type(v & 0xff))
            return false;
        cpu->mtrr_def_type = v;
        return true;
    case MSR_UCODE_REV: /* cleared before CPUID reports it; the value is fixed */
        return cpu_has(cpu, ISA_686);
    case MSR_MISC_ENABLE: return write_misc_enable(cpu, v);
    case MSR_ARCH_CAPABILITIES: return false;
    default: return -1;
    }
}

bool cpu_write_msr(struct cpu *cpu, u32 msr, u64 v)
{
    const struct msr_row *row;
    bool fixed;
    u64 *reg;

    if (is_irq_msr(cpu, msr))
        return write_irq_msr(cpu, msr, v);
    int special = write_special(cpu, msr, v);
    if (special >= 0)
        return special;
    row = find_row(cpu, msr);
    if (row) {
        if ((row->flags & M_RO) || (v & ~row->writable) ||
            ((row->flags & M_CANON) && !canonical(v)))
            return false;
        if (row->offset != NO_FIELD)
            *row_field(cpu, row) = v;
        if (msr == MSR_DEBUGCTL)
            debug_branch_steps(cpu);
        return true;
    }
    reg = mtrr(cpu, msr, &fixed);
    if (reg)
        return write_mtrr(cpu, msr, reg, fixed, v);
    reg = mc_register(cpu, msr);
    /* Status, and on Intel's the rest of the report: only 0 may be written (SDM vol. 3B 15.3.2). */
    if (!reg || (v && ((msr & 3) == 1 || ((msr & 3) && !cpu_is_amd(cpu)))))
        return false;
    *reg = v;
    return true;
}

void msr_reset(struct cpu *cpu)
{
    cpu->pat = 0x0007040600070406ull; /* SDM vol. 3A 11.12.4 */
    /* Fast strings; BTS and PEBS not available; MCA thermal off. */
    cpu->misc_enable = 0x1801;
    if (cpu->model && cpu_has_feature(cpu, FEAT_MONITOR))
        cpu->misc_enable |= MISC_ENABLE_MONITOR;
    cpu->mtrr_def_type = 0;
    memset(cpu->mtrr_fixed, 0, sizeof cpu->mtrr_fixed);
    memset(cpu->mtrr_base, 0, sizeof cpu->mtrr_base);
    memset(cpu->mtrr_mask, 0, sizeof cpu->mtrr_mask);
    memset(cpu->mc_status, 0, sizeof cpu->mc_status);
    memset(cpu->mc_addr, 0, sizeof cpu->mc_addr);
    memset(cpu->mc_misc, 0, sizeof cpu->mc_misc);
    memset(cpu->mc_ctl, 0xff, sizeof cpu->mc_ctl);
    cpu->mcg_ctl = ~0ull;
    cpu->mcg_status = 0;
    cpu->spec_ctrl = 0;
    cpu->star = cpu->lstar = cpu->cstar = cpu->sfmask = 0;
    cpu->kernel_gs_base = cpu->tsc_aux = 0;
    cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
    /* RESET clears the counter on hardware, on all processors at once; here they are reset one
     * after the other, and following the virtual clock keeps their counters equal. */
    cpu->tsc_adjust = 0;
    cpu->tsc_offset = 0;
}

/* ---- instructions ---- */

u64 helper_rdmsr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u64 v = 0;
    u32 msr = (u32)cpu->gpr[RCX];
    require_cpl0(cpu);
    if (!cpu_read_msr(cpu, msr, &v)) {
        log_event(unimp, "rdmsr %08x: not there\n", msr);
        cpu_raise_error(cpu, EXC_GP, 0);
    }
    cpu->gpr[RAX] = (u32)v;
    cpu->gpr[RDX] = v >> 32;
    return 0;
}

u64 helper_wrmsr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u32 msr = (u32)cpu->gpr[RCX];
    u64 v = (u64)(u32)cpu->gpr[RDX] << 32 | (u32)cpu->gpr[RAX];
    require_cpl0(cpu);
    if (!cpu_write_msr(cpu, msr, v)) {
        log_event(unimp, "wrmsr %08x, %016llx: refused\n", msr, (unsigned long long)v);
        cpu_raise_error(cpu, EXC_GP, 0);
    }
    cpu->rip = a;
    return 0;
}

u64 helper_rdtsc(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if ((cpu->cr4 & CR4_TSD) && cpu->cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    u64 t = cpu_tsc(cpu);
    cpu->gpr[RAX] = (u32)t;
    cpu->gpr[RDX] = t >> 32;
    if (a)
        cpu->gpr[RCX] = (u32)cpu->tsc_aux;
    return 0;
}

/* No counters: every index is one too many (SDM vol. 2B RDPMC). */
u64 helper_rdpmc(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    cpu_raise_error(cpu, EXC_GP, 0);
}

u64 helper_rdpid(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return cpu->tsc_aux;
}

u64 helper_rdrand(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u64 v = 0;
    bool ok = true;
    if (cpu->count)
        v = count_random(cpu);
    else
        ok = getrandom(&v, (size_t)b, GRND_NONBLOCK) == (ssize_t)b;
    cpu_flags(cpu);
    cpu->eflags = (cpu->eflags & ~(u64)FL_ARITH) | (ok ? FL_CF : 0);
    return ok ? v & size_mask((unsigned)b) : 0;
}

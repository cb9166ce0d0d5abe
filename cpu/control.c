/* Control and debug registers, mode switches, interrupt flag, and the other privileged odds and
 * ends.  SDM vol. 3A chapter 2, vol. 2 for each instruction.
 *
 * Left out: performance counters, CET.
 */
#include "base/log.h"
#include "cpu/count.h"
#include "cpu/simd.h"
#include "cpu/system.h"

/* ---- paging and modes ---- */

static struct paging paging_of(const struct cpu *cpu)
{
    return (struct paging){
        .cr3 = cpu->cr3,
        .enabled = cpu->cr0 & CR0_PG,
        .pae = cpu->cr4 & CR4_PAE,
        .long_mode = cpu->efer & EFER_LMA,
        .la57 = cpu->cr4 & CR4_LA57,
        .pse = cpu->cr4 & CR4_PSE,
        .pge = cpu->cr4 & CR4_PGE,
        .pcide = cpu->cr4 & CR4_PCIDE,
        .wp = cpu->cr0 & CR0_WP,
        .nxe = cpu->efer & EFER_NXE,
        .smep = cpu->cr4 & CR4_SMEP,
        .smap = cpu->cr4 & CR4_SMAP,
        .gbpages = cpu_has_feature(cpu, FEAT_PDPE1GB),
        .smm = cpu->in_smm,
        .pke = cpu->cr4 & CR4_PKE,
        .pkru = cpu->pkru,
        .phys_bits = (u8)cpu_phys_bits(cpu),
    };
}

void cpu_update_paging(struct cpu *cpu)
{
    struct paging p = paging_of(cpu);
    mmu_set_paging(&cpu->mmu, &p);
    cpu_update_hflags(cpu);
}

static void update_all_segments(struct cpu *cpu)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu_update_segment(cpu, (enum sreg)i);
}

static void gp0(struct cpu *cpu) __attribute__((noreturn));
static void gp0(struct cpu *cpu)
{
    cpu_raise_error(cpu, EXC_GP, 0);
}

/* PAE paging (not long mode) loads PDPTEs with this CR3: their reserved bits fault. */
static void check_pdptes(struct cpu *cpu, u64 cr0, u64 cr3, u64 cr4)
{
    if (!(cr0 & CR0_PG) || !(cr4 & CR4_PAE) || (cpu->efer & EFER_LME))
        return;
    struct paging p = paging_of(cpu);
    p.cr3 = cr3;
    p.enabled = p.pae = true;
    if (!mmu_check_pdptes(&cpu->mmu, &p))
        gp0(cpu);
}

bool cpu_pdptes_valid(struct cpu *cpu)
{
    struct paging p = paging_of(cpu);
    return mmu_check_pdptes(&cpu->mmu, &p);
}

#define CR0_DEFINED                                                                             \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |  \
     (u64)CR0_PG)

/* Turning paging on with EFER.LME: SDM vol. 3A 9.8.5. */
static void check_enter_long(struct cpu *cpu)
{
    const struct segment *tr = &cpu->seg[SEG_TR];
    if (!(cpu->cr4 & CR4_PAE) || (cpu->seg[SEG_CS].attr & SEG_L))
        gp0(cpu);
    if ((tr->attr & (SEG_P | SEG_S | 8)) == SEG_P && sel_error(tr->selector))
        gp0(cpu); /* a 16-bit TSS */
}

static void write_cr0(struct cpu *cpu, u64 v)
{
    u64 old = cpu->cr0;
    if (v >> 32)
        gp0(cpu);
    v = (v & CR0_DEFINED) | CR0_ET;
    bool on = (v & CR0_PG) && !(old & CR0_PG), off = !(v & CR0_PG) && (old & CR0_PG);
    if (((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
        gp0(cpu);
    if (off && (cpu_code64(cpu) || (cpu->cr4 & CR4_PCIDE)))
        gp0(cpu);
    if (on && (cpu->efer & EFER_LME))
        check_enter_long(cpu);
    else if ((v ^ old) & (CR0_PG | CR0_CD | CR0_NW))
        check_pdptes(cpu, v, cpu->cr3, cpu->cr4);

    cpu->cr0 = v;
    if (on && (cpu->efer & EFER_LME))
        cpu->efer |= EFER_LMA;
    if (off)
        cpu->efer &= ~(u64)EFER_LMA;
    if ((v ^ old) & CR0_PE)
        update_all_segments(cpu);
    if ((v ^ old) & (CR0_PE | CR0_PG | CR0_WP))
        cpu_update_paging(cpu);
    if ((v ^ old) & (CR0_PG | CR0_CD | CR0_NW))
        mmu_load_pdptes(&cpu->mmu);
    cpu_update_hflags(cpu);
}

static u64 cr3_reserved(const struct cpu *cpu)
{
    return cpu_lma(cpu) ? ~((1ull << cpu_phys_bits(cpu)) - 1) : 0;
}

static void load_cr3(struct cpu *cpu, u64 v, bool noflush)
{
    if (!cpu_lma(cpu))
        v = (u32)v;
    if (v & cr3_reserved(cpu))
        gp0(cpu);
    check_pdptes(cpu, cpu->cr0, v, cpu->cr4);
    cpu->cr3 = v;
    mmu_load_cr3(&cpu->mmu, v, noflush);
}

void cpu_write_cr3(struct cpu *cpu, u64 v)
{
    load_cr3(cpu, v, false);
}

static void write_cr4(struct cpu *cpu, u64 v)
{
    u64 old = cpu->cr4, changed = v ^ old;
    if (v & ~cpu_cr4_mask(cpu))
        gp0(cpu);
    if (cpu_lma(cpu) && !(v & CR4_PAE))
        gp0(cpu);
    if ((changed & v & CR4_PCIDE) && (!cpu_lma(cpu) || (cpu->cr3 & 0xfff)))
        gp0(cpu);
    bool pdptes = changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP);
    if (pdptes)
        check_pdptes(cpu, cpu->cr0, cpu->cr3, v);
    cpu->cr4 = v;
    if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57 |
                   CR4_PKE))
        cpu_update_paging(cpu);
    if (pdptes)
        mmu_load_pdptes(&cpu->mmu);
    if (changed & CR4_DE)
        debug_update(cpu);
    cpu_update_hflags(cpu);
}

static void write_cr8(struct cpu *cpu, u64 v)
{
    if (v >> 4)
        gp0(cpu);
    if (cpu->irq && cpu->irq->set_tpr) {
        count_exact(cpu);
        bus_lock(cpu->bus);
        cpu->irq->set_tpr(cpu->irq_opaque, (u8)v);
        bus_unlock(cpu->bus);
    }
}

u64 cpu_efer_mask(const struct cpu *cpu)
{
    bool nx = cpu_has_feature(cpu, FEAT_NX) && !(cpu->misc_enable & MISC_ENABLE_NO_XD);
    return (cpu_has(cpu, ISA_SYSCALL) ? EFER_SCE : 0) |
           (cpu_has(cpu, ISA_LM) ? EFER_LME | EFER_LMA : 0) | (nx ? EFER_NXE : 0);
}

bool cpu_write_efer(struct cpu *cpu, u64 v)
{
    if (v & ~cpu_efer_mask(cpu))
        return false;
    if (((v ^ cpu->efer) & EFER_LME) && (cpu->cr0 & CR0_PG))
        return false;
    u64 changed = v ^ cpu->efer;
    cpu->efer = (v & ~(u64)EFER_LMA) | (cpu->efer & EFER_LMA);
    if (changed & EFER_NXE)
        cpu_update_paging(cpu);
    return true;
}

u64 helper_mov_from_cr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u64 v = 0;
    require_cpl0(cpu);
    switch (a) {
    case 0: return cpu->cr0;
    case 2: return cpu->cr2;
    case 3: return cpu->cr3;
    case 4: return cpu->cr4;
    case 8:
        if (cpu->irq && cpu->irq->get_tpr) {
            count_exact(cpu);
            bus_lock(cpu->bus);
            v = cpu->irq->get_tpr(cpu->irq_opaque);
            bus_unlock(cpu->bus);
        }
        return v;
    default: cpu_raise(cpu, EXC_UD);
    }
}

u64 helper_mov_to_cr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    require_cpl0(cpu);
    switch (a) {
    case 0: write_cr0(cpu, b); break;
    case 2: cpu->cr2 = b; break;
    case 3: {
        bool pcide = cpu->cr4 & CR4_PCIDE;
        load_cr3(cpu, pcide ? b & ~(1ull << 63) : b, pcide && b >> 63);
        break;
    }
    case 4: write_cr4(cpu, b); break;
    case 8: write_cr8(cpu, b); break;
    default: cpu_raise(cpu, EXC_UD);
    }
    cpu->rip = c;
    return 0;
}

u64 helper_clts(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    require_cpl0(cpu);
    cpu->cr0 &= ~(u64)CR0_TS;
    cpu->rip = a;
    cpu_update_hflags(cpu);
    return 0;
}

u64 helper_lmsw(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    require_cpl0(cpu);
    /* LMSW can set PE but not clear it. */
    write_cr0(cpu, (cpu->cr0 & ~0xeull) | (a & 0xf));
    cpu->rip = b;
    return 0;
}

/* UMIP keeps SMSW, SGDT, SIDT, SLDT and STR from user code (SDM vol. 3A 2.5). */
static void check_umip(struct cpu *cpu)
{
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl)
        gp0(cpu);
}

u64 helper_smsw(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    check_umip(cpu);
    return cpu->cr0;
}

/* ---- descriptor-table registers ---- */

u64 helper_lgdt(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct desc_table *t = a ? &cpu->idt : &cpu->gdt;
    require_cpl0(cpu);
    u16 limit = (u16)cpu_load(cpu, b, 2);
    u64 base = cpu_load(cpu, b + 2, cpu_code64(cpu) ? 8 : 4);
    if (cpu_code64(cpu) && !canonical(base))
        gp0(cpu);
    t->limit = limit;
    t->base = c == 2 && !cpu_code64(cpu) ? base & 0xffffff : base;
    return 0;
}

u64 helper_sgdt(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    const struct desc_table *t = a ? &cpu->idt : &cpu->gdt;
    u8 image[10];
    check_umip(cpu);
    store_le(image, t->limit, 2);
    store_le(image + 2, t->base, 8);
    cpu_store_bytes(cpu, b, image, cpu_code64(cpu) ? 10 : 6);
    return 0;
}

/* ---- halting, waiting ---- */

u64 helper_hlt(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    require_cpl0(cpu);
    cpu->halted = true;
    cpu->mwait = false;
    cpu->irq_shadow = false; /* HLT was the instruction that STI protected */
    cpu->rip = a;
    return 0;
}

/* SDM vol. 2A MONITOR.  No store is caught: MWAIT looks at what the line holds. */
u64 helper_monitor(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u8 *host = NULL;
    if (cpu->cpl || !(cpu->misc_enable & MISC_ENABLE_MONITOR))
        cpu_raise(cpu, EXC_UD);
    if ((u32)cpu->gpr[RCX])
        gp0(cpu);
    cpu_load(cpu, a, 1);
    u64 line = a & ~63ull;
    if (mmu_host(&cpu->mmu, cpu_mmu_kind(cpu), line, 64, MMU_READ, &host) != MMU_OK)
        host = NULL;
    cpu->monitored = (const u64 *)(void *)host;
    for (unsigned i = 0; host && i < 8; i++)
        cpu->monitor_was[i] = __atomic_load_n(&cpu->monitored[i], __ATOMIC_ACQUIRE);
    return 0;
}

bool cpu_mwait_over(struct cpu *cpu)
{
    if (!cpu->monitored || !cpu->mwait_turns--)
        return true;
    if (cpu->mwait_masked && atomic_load(&cpu->pins) & REQ_INTR)
        return true;
    for (unsigned i = 0; i < 8; i++) {
        if (__atomic_load_n(&cpu->monitored[i], __ATOMIC_ACQUIRE) != cpu->monitor_was[i])
            return true;
    }
    return false;
}

/* Sleeps like HLT, and ends when the line has changed (SDM vol. 2B MWAIT).  It may end at any time:
 * so it does after MWAIT_TURNS looks, for a store of what was there already is not noticed; at once
 * without an armed line, and in counted mode, where nothing may depend on the host's time. */
u64 helper_mwait(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    enum { MWAIT_TURNS = 100 };
    if (cpu->cpl || !(cpu->misc_enable & MISC_ENABLE_MONITOR))
        cpu_raise(cpu, EXC_UD);
    if ((u32)cpu->gpr[RCX] & ~1u)
        gp0(cpu);
    cpu->rip = a;
    cpu->irq_shadow = false;
    cpu->mwait_turns = MWAIT_TURNS;
    cpu->mwait_masked = cpu->gpr[RCX] & 1;
    cpu->mwait = cpu->halted = cpu->monitored && !cpu->count && !cpu_mwait_over(cpu);
    if (!cpu->mwait)
        cpu->monitored = NULL;
    return 0;
}

u64 helper_stac(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (cpu->cpl || !cpu_has(cpu, ISA_SMAP))
        cpu_raise(cpu, EXC_UD);
    cpu->eflags = a ? cpu->eflags | FL_AC : cpu->eflags & ~(u64)FL_AC;
    /* Only the MMU kind can change at CPL 0; hflags stay. */
    mmu_set_kind(&cpu->mmu, cpu_mmu_kind(cpu));
    return 0;
}

/* ---- protection keys, SDM vol. 3A 4.6.2 ---- */

static void check_pkru(struct cpu *cpu, bool write)
{
    if (!(cpu->cr4 & CR4_PKE))
        cpu_raise(cpu, EXC_UD);
    if ((u32)cpu->gpr[RCX] || (write && (u32)cpu->gpr[RDX]))
        gp0(cpu);
}

u64 helper_rdpkru(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    check_pkru(cpu, false);
    cpu->gpr[RAX] = cpu->pkru;
    cpu->gpr[RDX] = 0;
    return 0;
}

u64 helper_wrpkru(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    check_pkru(cpu, true);
    cpu_set_pkru(cpu, (u32)cpu->gpr[RAX]);
    return 0;
}

/* ---- TLB and caches ---- */

u64 helper_invlpg(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    require_cpl0(cpu);
    if (canonical(a))
        mmu_flush_page(&cpu->mmu, a);
    cpu->rip = b; /* what follows is fetched through the new translations (SDM vol. 3A 8.3) */
    return 0;
}

/* SDM vol. 2A INVPCID. */
u64 helper_invpcid(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    require_cpl0(cpu);
    u64 pcid = cpu_load(cpu, b, 8), la = cpu_load(cpu, b + 8, 8);
    if (a > 3 || pcid >> 12 || (a < 2 && pcid && !(cpu->cr4 & CR4_PCIDE)))
        gp0(cpu);
    switch (a) {
    case 0:
        if (!canonical(la))
            gp0(cpu);
        /* The MMU finds single pages of other PCIDs by dropping all of that PCID. */
        if (pcid == (cpu->cr4 & CR4_PCIDE ? cpu->cr3 & 0xfff : 0))
            mmu_flush_page(&cpu->mmu, la);
        else
            mmu_flush_pcid(&cpu->mmu, (unsigned)pcid);
        break;
    case 1: mmu_flush_pcid(&cpu->mmu, (unsigned)pcid); break;
    case 2: mmu_flush_all(&cpu->mmu); break;
    default: mmu_flush_local(&cpu->mmu); break;
    }
    cpu->rip = c;
    return 0;
}

u64 helper_ring0(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    require_cpl0(cpu);
    return 0;
}

/* ---- FS and GS bases ---- */

u64 helper_swapgs(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (!cpu_code64(cpu))
        cpu_raise(cpu, EXC_UD);
    require_cpl0(cpu);
    u64 base = cpu->seg[SEG_GS].base;
    cpu->seg[SEG_GS].base = cpu->kernel_gs_base;
    cpu->kernel_gs_base = base;
    return 0;
}

static void check_fsgsbase(struct cpu *cpu)
{
    if (!cpu_code64(cpu) || !(cpu->cr4 & CR4_FSGSBASE))
        cpu_raise(cpu, EXC_UD);
}

u64 helper_rdfsbase(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    check_fsgsbase(cpu);
    return cpu->seg[a == SEG_GS ? SEG_GS : SEG_FS].base;
}

u64 helper_wrfsbase(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    check_fsgsbase(cpu);
    if (!canonical(b))
        gp0(cpu);
    cpu->seg[a == SEG_GS ? SEG_GS : SEG_FS].base = b;
    return 0;
}

/* ---- extended control registers ---- */

/* SDM vol. 2D XGETBV: index 1 gives what is in use, where MXCSR counts as SSE state. */
u64 helper_xgetbv(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u32 index = (u32)cpu->gpr[RCX];
    u64 v = cpu->xcr0;
    if (!(cpu->cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, EXC_UD);
    if (index > 1 || (index && !cpu_has_feature(cpu, FEAT_XGETBV1)))
        gp0(cpu);
    if (index)
        v &= cpu_xinuse(cpu) | (cpu->mxcsr != MXCSR_RESET ? 2 : 0);
    cpu->gpr[RAX] = (u32)v;
    cpu->gpr[RDX] = v >> 32;
    return 0;
}

u64 helper_xsetbv(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (!(cpu->cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, EXC_UD);
    require_cpl0(cpu);
    u64 v = (u64)(u32)cpu->gpr[RDX] << 32 | (u32)cpu->gpr[RAX];
    if ((u32)cpu->gpr[RCX] || !(v & 1) || (v & ~cpu_xcr0_mask(cpu)) || (v & 6) == 4)
        gp0(cpu);
    cpu->xcr0 = v;
    cpu->rip = a;
    cpu_update_hflags(cpu);
    return 0;
}

/* System management mode: entry by SMI, RSM (SDM vol. 3C chapter 34, AMD APM vol. 2 chapter 10).
 *
 * The state-save map of a processor with long mode is AMD64's (APM table 10-1), which holds all
 * 64-bit state; that of one without is the P6 family's (SDM table 34-1), with the hidden parts of
 * segments where that family keeps them in the areas that the manual calls reserved.
 *
 * Memory is accessed as SMM sees it (BUS_SMM).  Left out: I/O instruction restart (bit 16 of the
 * revision is 0), synchronous I/O state, SMIs in shutdown and while an AP waits for its SIPI.
 */
#include "base/log.h"
#include "cpu/system.h"

#define SMM_MAP 0x8000u             /* the map's offsets count from SMBASE + this */
#define SMM_REVISION_64 0x00020064u /* bit 17: SMBASE can be moved */
#define SMM_REVISION_32 0x00020000u

/* Both maps have it at the same place. */
enum { SM_REVISION = 0x7efc };

enum {
    SM64_SEGMENTS = 0x7e00,
    SM64_GDTR = 0x7e60,
    SM64_LDTR = 0x7e70,
    SM64_IDTR = 0x7e80,
    SM64_TR = 0x7e90,
    SM64_HALT = 0x7ec9,
    SM64_EFER = 0x7ed0,
    SM64_SMBASE = 0x7f00,
    SM64_CR4 = 0x7f48,
    SM64_CR3 = 0x7f50,
    SM64_CR0 = 0x7f58,
    SM64_DR7 = 0x7f60,
    SM64_DR6 = 0x7f68,
    SM64_RFLAGS = 0x7f70,
    SM64_RIP = 0x7f78,
    SM64_RAX = 0x7ff8, /* downwards to R15 at 7f80H */
};

enum {
    SM32_SMBASE = 0x7ef8,
    SM32_HALT = 0x7f02,
    SM32_CR4 = 0x7f14,
    SM32_IDTR = 0x7f54,
    SM32_TR_HIDDEN = 0x7f5c,
    SM32_GDTR = 0x7f70,
    SM32_LDTR_HIDDEN = 0x7f78,
    SM32_SELECTORS = 0x7fa8,
    SM32_LDTR = 0x7fc0,
    SM32_TR = 0x7fc4,
    SM32_DR7 = 0x7fc8,
    SM32_DR6 = 0x7fcc,
    SM32_EAX = 0x7fd0, /* upwards to EDI at 7fecH */
    SM32_EIP = 0x7ff0,
    SM32_EFLAGS = 0x7ff4,
    SM32_CR3 = 0x7ff8,
    SM32_CR0 = 0x7ffc,
};

/* Attributes, limit and base of ES, CS, SS, DS, FS, GS. */
static const u16 sm32_hidden[6] = {0x7f84, 0x7f90, 0x7f9c, 0x7f2c, 0x7f38, 0x7f44};

static bool wide_map(const struct cpu *cpu)
{
    return cpu_has(cpu, ISA_LM);
}

static u64 map_address(const struct cpu *cpu, unsigned at)
{
    return (u32)(cpu->smbase + SMM_MAP + at) | BUS_SMM;
}

static void put(struct cpu *cpu, unsigned at, unsigned size, u64 v)
{
    bus_write(cpu->bus, (int)cpu->index, map_address(cpu, at), v, size);
}

static u64 get(struct cpu *cpu, unsigned at, unsigned size)
{
    return bus_read(cpu->bus, (int)cpu->index, map_address(cpu, at), size);
}

/* ---- the AMD64 map ---- */

static void put_segment64(struct cpu *cpu, unsigned at, const struct segment *s)
{
    put(cpu, at, 2, s->selector);
    put(cpu, at + 2, 2, (s->attr & 0xffu) | (s->attr >> 4 & 0xf00u));
    put(cpu, at + 4, 4, s->limit);
    put(cpu, at + 8, 8, s->base);
}

static void get_segment64(struct cpu *cpu, unsigned at, enum sreg seg)
{
    u16 attr = (u16)get(cpu, at + 2, 2);
    struct segment s = {.base = get(cpu, at + 8, 8),
                        .limit = (u32)get(cpu, at + 4, 4),
                        .attr = (u16)((attr & 0xff) | (attr & 0xf00) << 4)};
    seg_install(cpu, seg, (u16)get(cpu, at, 2), &s);
}

static void put_table64(struct cpu *cpu, unsigned at, const struct desc_table *t)
{
    put(cpu, at + 4, 4, t->limit);
    put(cpu, at + 8, 8, t->base);
}

static void get_table64(struct cpu *cpu, unsigned at, struct desc_table *t)
{
    t->limit = (u16)get(cpu, at + 4, 4);
    t->base = get(cpu, at + 8, 8);
}

static void save64(struct cpu *cpu)
{
    for (unsigned i = 0; i < 6; i++)
        put_segment64(cpu, SM64_SEGMENTS + i * 16, &cpu->seg[i]);
    put_segment64(cpu, SM64_LDTR, &cpu->seg[SEG_LDTR]);
    put_segment64(cpu, SM64_TR, &cpu->seg[SEG_TR]);
    put_table64(cpu, SM64_GDTR, &cpu->gdt);
    put_table64(cpu, SM64_IDTR, &cpu->idt);
    put(cpu, SM64_HALT, 1, cpu->halted && !cpu->mwait);
    put(cpu, SM64_EFER, 8, cpu->efer);
    put(cpu, SM_REVISION, 4, SMM_REVISION_64);
    put(cpu, SM64_SMBASE, 4, cpu->smbase);
    put(cpu, SM64_CR4, 8, cpu->cr4);
    put(cpu, SM64_CR3, 8, cpu->cr3);
    put(cpu, SM64_CR0, 8, cpu->cr0);
    put(cpu, SM64_DR7, 8, cpu->dr[7]);
    put(cpu, SM64_DR6, 8, cpu->dr[6]);
    put(cpu, SM64_RFLAGS, 8, cpu_eflags(cpu));
    put(cpu, SM64_RIP, 8, cpu->rip);
    for (unsigned i = 0; i < 16; i++)
        put(cpu, SM64_RAX - i * 8, 8, cpu->gpr[i]);
}

/* Returns RFLAGS, which go last. */
static u64 load64(struct cpu *cpu)
{
    cpu->efer = get(cpu, SM64_EFER, 8);
    cpu->cr0 = get(cpu, SM64_CR0, 8);
    cpu->cr3 = get(cpu, SM64_CR3, 8);
    cpu->cr4 = get(cpu, SM64_CR4, 8);
    cpu->dr[6] = get(cpu, SM64_DR6, 8);
    cpu->dr[7] = get(cpu, SM64_DR7, 8);
    get_table64(cpu, SM64_GDTR, &cpu->gdt);
    get_table64(cpu, SM64_IDTR, &cpu->idt);
    for (unsigned i = 0; i < 16; i++)
        cpu->gpr[i] = get(cpu, SM64_RAX - i * 8, 8);
    u64 flags = get(cpu, SM64_RFLAGS, 8);
    cpu->eflags = flags | FL_FIXED; /* VM before the segments */
    for (unsigned i = 0; i < 6; i++)
        get_segment64(cpu, SM64_SEGMENTS + i * 16, (enum sreg)i);
    get_segment64(cpu, SM64_LDTR, SEG_LDTR);
    get_segment64(cpu, SM64_TR, SEG_TR);
    cpu->rip = get(cpu, SM64_RIP, 8);
    cpu->halted = get(cpu, SM64_HALT, 1) & 1;
    cpu->smbase = get(cpu, SM64_SMBASE, 4); /* last: all else is found by the old one */
    return flags;
}

/* ---- the P6 map ---- */

static void put_segment32(struct cpu *cpu, unsigned at, unsigned hidden, const struct segment *s)
{
    put(cpu, at, 4, s->selector);
    put(cpu, hidden, 4, s->attr);
    put(cpu, hidden + 4, 4, s->limit);
    put(cpu, hidden + 8, 4, s->base);
}

static void get_segment32(struct cpu *cpu, unsigned at, unsigned hidden, enum sreg seg)
{
    struct segment s = {.base = get(cpu, hidden + 8, 4),
                        .limit = (u32)get(cpu, hidden + 4, 4),
                        .attr = (u16)(get(cpu, hidden, 2) & 0xf0ff)};
    seg_install(cpu, seg, (u16)get(cpu, at, 2), &s);
}

static void put_table32(struct cpu *cpu, unsigned at, const struct desc_table *t)
{
    put(cpu, at, 4, t->limit);
    put(cpu, at + 4, 4, t->base);
}

static void get_table32(struct cpu *cpu, unsigned at, struct desc_table *t)
{
    t->limit = (u16)get(cpu, at, 4);
    t->base = get(cpu, at + 4, 4);
}

static void save32(struct cpu *cpu)
{
    for (unsigned i = 0; i < 6; i++)
        put_segment32(cpu, SM32_SELECTORS + i * 4, sm32_hidden[i], &cpu->seg[i]);
    put_segment32(cpu, SM32_LDTR, SM32_LDTR_HIDDEN, &cpu->seg[SEG_LDTR]);
    put_segment32(cpu, SM32_TR, SM32_TR_HIDDEN, &cpu->seg[SEG_TR]);
    put_table32(cpu, SM32_GDTR, &cpu->gdt);
    put_table32(cpu, SM32_IDTR, &cpu->idt);
    put(cpu, SM32_HALT, 2, cpu->halted && !cpu->mwait);
    put(cpu, SM_REVISION, 4, SMM_REVISION_32);
    put(cpu, SM32_SMBASE, 4, cpu->smbase);
    put(cpu, SM32_CR4, 4, cpu->cr4);
    put(cpu, SM32_CR3, 4, cpu->cr3);
    put(cpu, SM32_CR0, 4, cpu->cr0);
    put(cpu, SM32_DR7, 4, cpu->dr[7]);
    put(cpu, SM32_DR6, 4, cpu->dr[6]);
    put(cpu, SM32_EFLAGS, 4, cpu_eflags(cpu));
    put(cpu, SM32_EIP, 4, cpu->rip);
    for (unsigned i = 0; i < 8; i++)
        put(cpu, SM32_EAX + i * 4, 4, cpu->gpr[i]);
}

static u64 load32(struct cpu *cpu)
{
    cpu->cr0 = get(cpu, SM32_CR0, 4);
    cpu->cr3 = get(cpu, SM32_CR3, 4);
    cpu->cr4 = get(cpu, SM32_CR4, 4);
    cpu->dr[6] = get(cpu, SM32_DR6, 4);
    cpu->dr[7] = get(cpu, SM32_DR7, 4);
    get_table32(cpu, SM32_GDTR, &cpu->gdt);
    get_table32(cpu, SM32_IDTR, &cpu->idt);
    for (unsigned i = 0; i < 8; i++)
        cpu->gpr[i] = get(cpu, SM32_EAX + i * 4, 4);
    u64 flags = get(cpu, SM32_EFLAGS, 4);
    cpu->eflags = flags | FL_FIXED;
    for (unsigned i = 0; i < 6; i++)
        get_segment32(cpu, SM32_SELECTORS + i * 4, sm32_hidden[i], (enum sreg)i);
    get_segment32(cpu, SM32_LDTR, SM32_LDTR_HIDDEN, SEG_LDTR);
    get_segment32(cpu, SM32_TR, SM32_TR_HIDDEN, SEG_TR);
    cpu->rip = get(cpu, SM32_EIP, 4);
    cpu->halted = get(cpu, SM32_HALT, 2) & 1;
    cpu->smbase = get(cpu, SM32_SMBASE, 4);
    return flags;
}

/* ---- entry, SDM vol. 3C 34.5.1 ---- */

void smm_enter(struct cpu *cpu)
{
    log_event(int, "cpu %u: SMI at rip %llx, smbase %llx\n", cpu->index,
              (unsigned long long)cpu->rip, (unsigned long long)cpu->smbase);
    if (wide_map(cpu))
        save64(cpu);
    else
        save32(cpu);

    cpu->in_smm = true;
    /* NMIs are held up too, but for an IRET in the handler (34.8). */
    cpu->smm_nmi_blocked = cpu->nmi_blocked;
    cpu->nmi_blocked = true;
    cpu->halted = cpu->irq_shadow = false;
    cpu->eflags = FL_FIXED;
    cpu->cpl = 0;
    cpu->cr0 &= ~(u64)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4 = cpu->efer = 0;
    cpu->dr[7] = 0x400;
    for (unsigned i = 0; i < 6; i++) {
        struct segment s = {.limit = 0xffffffffu, .attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G};
        if (i == SEG_CS)
            s.base = cpu->smbase;
        seg_install(cpu, (enum sreg)i, i == SEG_CS ? (u16)(cpu->smbase >> 4) : 0, &s);
    }
    debug_update(cpu);
    cpu->rip = 0x8000;
    cpu_update_paging(cpu);
}

/* ---- RSM ---- */

/* What makes RSM shut the processor down (34.4.1): control registers that no MOV would have taken.
 */
static bool valid_state(struct cpu *cpu, u64 flags)
{
    u64 cr0 = cpu->cr0, cr4 = cpu->cr4;
    bool paging = cr0 & CR0_PG, lme = cpu->efer & EFER_LME;

    if (cr0 >> 32 || (paging && !(cr0 & CR0_PE)) || ((cr0 & CR0_NW) && !(cr0 & CR0_CD)))
        return false;
    if ((cr4 & ~cpu_cr4_mask(cpu)) || (cpu->efer & ~cpu_efer_mask(cpu)))
        return false;
    if (!(cpu->efer & EFER_LMA) != !(lme && paging))
        return false;
    if (cpu->efer & EFER_LMA)
        return (cr4 & CR4_PAE) && !(flags & FL_VM) && !(cpu->cr3 >> cpu_phys_bits(cpu));
    return !(cr4 & CR4_PCIDE) && !(cpu->seg[SEG_CS].attr & SEG_L);
}

static void restore_cpl(struct cpu *cpu, u64 flags)
{
    if (!(cpu->cr0 & CR0_PE))
        cpu->cpl = 0;
    else if (flags & FL_VM)
        cpu->cpl = 3;
    else
        cpu->cpl = (u8)attr_dpl(cpu->seg[SEG_SS].attr);
}

u64 helper_rsm(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (!cpu->in_smm)
        cpu_raise(cpu, EXC_UD);
    u64 flags = wide_map(cpu) ? load64(cpu) : load32(cpu);
    cpu->mwait = false; /* an SMI ends MWAIT (SDM vol. 2B) */
    cpu->cr0 |= CR0_ET;
    cpu->dr[6] = (cpu->dr[6] & 0xe00f) | 0xffff0ff0u; /* their reserved bits have fixed values */
    cpu->dr[7] = (cpu->dr[7] & 0xffff2bffu) | 0x400;
    restore_cpl(cpu, flags);
    cpu->in_smm = false;
    cpu->nmi_blocked = cpu->smm_nmi_blocked && cpu->nmi_blocked;
    if (!valid_state(cpu, flags) || !cpu_pdptes_valid(cpu)) {
        error_report("CPU %u: RSM to a state that no processor can be in: shutdown", cpu->index);
        cpu_reset(cpu, true);
        cpu_shutdown(cpu);
        return 0;
    }
    debug_update(cpu);
    cpu_update_paging(cpu);
    mmu_load_pdptes(&cpu->mmu);
    cpu_set_eflags(cpu, flags);
    cpu_unmask(cpu);
    return 0;
}

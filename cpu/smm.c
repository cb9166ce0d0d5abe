/* System management mode: entry by SMI, RSM.  The state-save map is AMD64's (APM vol. 2 table
 * 10-1) on every model: it is documented and holds all 64-bit state.
 *
 * Left out: I/O instruction restart, auto-halt restart (RSM continues after the HLT).
 */
#include "cpu/system.h"

#define SMM_REVISION 0x00020064u /* SMBASE relocation */
#define SMM_MAP 0x8000u          /* the map's offsets count from SMBASE + this */

enum {
    SM_SEGMENTS = 0x7e00, SM_GDTR = 0x7e60, SM_LDTR = 0x7e70, SM_IDTR = 0x7e80, SM_TR = 0x7e90,
    SM_EFER = 0x7ed0, SM_REVISION = 0x7efc, SM_SMBASE = 0x7f00, SM_CR4 = 0x7f48, SM_CR3 = 0x7f50,
    SM_CR0 = 0x7f58, SM_DR7 = 0x7f60, SM_DR6 = 0x7f68, SM_RFLAGS = 0x7f70, SM_RIP = 0x7f78,
    SM_R15 = 0x7f80, /* upwards to RAX at 7ff8H */
};

static void put(struct cpu *cpu, unsigned at, unsigned size, u64 v)
{
    bus_write(cpu->bus, (int)cpu->index, cpu->smbase + SMM_MAP + at, v, size);
}

static u64 get(struct cpu *cpu, unsigned at, unsigned size)
{
    return bus_read(cpu->bus, (int)cpu->index, cpu->smbase + SMM_MAP + at, size);
}

static void put_segment(struct cpu *cpu, unsigned at, const struct segment *s)
{
    put(cpu, at, 2, s->selector);
    put(cpu, at + 2, 2, (s->attr & 0xffu) | (s->attr >> 4 & 0xf00u));
    put(cpu, at + 4, 4, s->limit);
    put(cpu, at + 8, 8, s->base);
}

static void get_segment(struct cpu *cpu, unsigned at, enum sreg seg)
{
    u16 attr = (u16)get(cpu, at + 2, 2);
    struct segment s = {.base = get(cpu, at + 8, 8), .limit = (u32)get(cpu, at + 4, 4),
                        .attr = (u16)((attr & 0xff) | (attr & 0xf00) << 4)};
    seg_install(cpu, seg, (u16)get(cpu, at, 2), &s);
}

/* SDM numbering backwards: R15 lowest, RAX last. */
static unsigned gpr_slot(unsigned reg)
{
    return SM_R15 + (15 - reg) * 8;
}

void smm_enter(struct cpu *cpu)
{
    u64 flags = cpu_eflags(cpu);

    for (unsigned i = 0; i < 6; i++)
        put_segment(cpu, SM_SEGMENTS + i * 16, &cpu->seg[i]);
    put_segment(cpu, SM_LDTR, &cpu->seg[SEG_LDTR]);
    put_segment(cpu, SM_TR, &cpu->seg[SEG_TR]);
    put(cpu, SM_GDTR + 4, 4, cpu->gdt.limit);
    put(cpu, SM_GDTR + 8, 8, cpu->gdt.base);
    put(cpu, SM_IDTR + 4, 4, cpu->idt.limit);
    put(cpu, SM_IDTR + 8, 8, cpu->idt.base);
    put(cpu, SM_EFER, 8, cpu->efer);
    put(cpu, SM_REVISION, 4, SMM_REVISION);
    put(cpu, SM_SMBASE, 4, cpu->smbase);
    put(cpu, SM_CR4, 8, cpu->cr4);
    put(cpu, SM_CR3, 8, cpu->cr3);
    put(cpu, SM_CR0, 8, cpu->cr0);
    put(cpu, SM_DR7, 8, cpu->dr[7]);
    put(cpu, SM_DR6, 8, cpu->dr[6]);
    put(cpu, SM_RFLAGS, 8, flags);
    put(cpu, SM_RIP, 8, cpu->rip);
    for (unsigned i = 0; i < 16; i++)
        put(cpu, gpr_slot(i), 8, cpu->gpr[i]);

    cpu->in_smm = true;
    cpu->halted = cpu->irq_shadow = false;
    cpu->eflags = FL_FIXED;
    cpu->cpl = 0;
    cpu->cr0 &= ~(u64)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4 = cpu->efer = 0;
    cpu->dr[7] = 0x400;
    for (unsigned i = 0; i < 6; i++) {
        struct segment s = {.limit = 0xffffffffu,
                            .attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G};
        if (i == SEG_CS)
            s.base = cpu->smbase;
        seg_install(cpu, (enum sreg)i, i == SEG_CS ? (u16)(cpu->smbase >> 4) : 0, &s);
    }
    debug_update(cpu);
    cpu->rip = 0x8000;
    cpu_update_paging(cpu);
}

u64 helper_rsm(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (!cpu->in_smm)
        cpu_raise(cpu, EXC_UD);
    cpu->efer = get(cpu, SM_EFER, 8);
    cpu->cr0 = get(cpu, SM_CR0, 8);
    cpu->cr3 = get(cpu, SM_CR3, 8);
    cpu->cr4 = get(cpu, SM_CR4, 8);
    cpu->dr[6] = get(cpu, SM_DR6, 8);
    cpu->dr[7] = get(cpu, SM_DR7, 8);
    cpu->gdt.limit = (u16)get(cpu, SM_GDTR + 4, 4);
    cpu->gdt.base = get(cpu, SM_GDTR + 8, 8);
    cpu->idt.limit = (u16)get(cpu, SM_IDTR + 4, 4);
    cpu->idt.base = get(cpu, SM_IDTR + 8, 8);
    for (unsigned i = 0; i < 16; i++)
        cpu->gpr[i] = get(cpu, gpr_slot(i), 8);
    u64 flags = get(cpu, SM_RFLAGS, 8);
    cpu->eflags = flags | FL_FIXED; /* VM before the segments */
    for (unsigned i = 0; i < 6; i++)
        get_segment(cpu, SM_SEGMENTS + i * 16, (enum sreg)i);
    get_segment(cpu, SM_LDTR, SEG_LDTR);
    get_segment(cpu, SM_TR, SEG_TR);
    cpu->rip = get(cpu, SM_RIP, 8);
    if (!(cpu->cr0 & CR0_PE))
        cpu->cpl = 0;
    else if (flags & FL_VM)
        cpu->cpl = 3;
    else
        cpu->cpl = (u8)attr_dpl(cpu->seg[SEG_SS].attr);
    cpu->in_smm = false;
    debug_update(cpu);
    /* Last, since everything above is found by the old SMBASE. */
    cpu->smbase = get(cpu, SM_SMBASE, 4);
    cpu_update_paging(cpu);
    cpu_set_eflags(cpu, flags);
    return 0;
}

/* Short ways of what kernels do most in 64-bit code: INT n, exceptions and interrupts through a
 * gate to 64-bit code, IRETQ, SYSCALL and SYSRET.
 *
 * The whole transfer (exception.c, iret.c, transfer.c) remembers what it has read and checked.  As
 * long as memory still has the same gate and descriptors, the same checks have the same outcome,
 * and what is left is to move the frame and to switch.  Everything unusual (flags that change the
 * mode, memory that the TLB does not have, breakpoints, single steps) is the whole transfer's.
 */
#include "cpu/transfer.h"
#include "mmu/ram.h"

/* Flags on whose account hflags or the access rights could change. */
#define FL_UNUSUAL (FL_TF | FL_NT | FL_VM | FL_AC)

static bool usable(const struct cpu *cpu)
{
    return cpu->short_transfers && (cpu->hflags & (HF_LONG | HF_TF)) == HF_LONG &&
           !(cpu->eflags & FL_UNUSUAL) && !cpu->debug && !cpu->mmu.watching;
}

/* Where 8 bytes of a system structure lie; NULL when that cannot be had cheaply. */
static const u8 *place(struct cpu *cpu, u64 la)
{
    return mmu_peek(&cpu->mmu, cpu_system_kind(cpu), la, 8, false);
}

static const u8 *place_of_descriptor(struct cpu *cpu, u16 sel)
{
    return sel & 4 ? NULL : place(cpu, cpu->gdt.base + (sel & 0xfff8u));
}

static u64 get(const u8 *p)
{
    return ram_load_any(p, 8);
}

/* From 64-bit code to 64-bit code: of hflags only the privilege changes. */
static void switch_to(struct cpu *cpu, unsigned cpl, u64 rip)
{
    cpu->rip = rip;
    if (cpl != cpu->cpl) {
        cpu->cpl = (u8)cpl;
        cpu->hflags = (cpu->hflags & ~(u32)HF_USER) | (cpl == 3 ? HF_USER : 0);
        mmu_set_kind(&cpu->mmu, cpu_mmu_kind(cpu));
    }
    ++*cpu->short_transfers;
}

/* A flat segment of SYSCALL and its kin, as seg_install_flat makes it.  Field by field, for a host
 * waits when a copy of the whole reads what has just been stored in parts. */
static void load_flat(struct segment *s, u16 sel, u16 attr)
{
    u64 end = attr & SEG_P ? 1ull << 32 : 0;
    s->base = 0;
    s->span_r = end;
    s->span_w = attr & SEG_CODE ? 0 : end;
    s->limit = 0xffffffffu;
    s->selector = sel;
    s->attr = attr;
}

/* ---- events ---- */

static struct gate_memo *gate_slot(struct cpu *cpu, int vector)
{
    return &cpu->gate_memos[(unsigned)vector % ARRAY_SIZE(cpu->gate_memos)];
}

void short_note_gate(struct cpu *cpu, const struct event *e, const struct descriptor *gate,
                     const struct descriptor *cs, unsigned from)
{
    *gate_slot(cpu, e->vector) = (struct gate_memo){
        .gate = {gate->raw, gate->high},
        .cs_raw = cs->raw,
        .cs = cpu->seg[SEG_CS],
        .vector = (u8)e->vector,
        .from = (u8)from,
        .to = cpu->cpl,
        .soft = e->soft,
    };
}

/* Offset in the TSS of the stack pointer that the gate takes; 0: it stays on its stack. */
static unsigned stack_slot(const struct gate_memo *m)
{
    unsigned ist = m->gate[0] >> 32 & 7; /* SDM vol. 3A figure 7-11 */
    return ist ? 0x24 + (ist - 1) * 8 : m->to != m->from ? 4 + m->to * 8u : 0;
}

/* Where the structures are that the memo is about; false if the TLB does not have all of them. */
static bool find_structures(struct cpu *cpu, struct gate_memo *m)
{
    unsigned slot = stack_slot(m);
    u64 generation = atomic_load(&cpu->mmu.generation), tr = cpu->seg[SEG_TR].base;
    m->gate_at[0] = place(cpu, cpu->idt.base + m->vector * 16u);
    m->gate_at[1] = place(cpu, cpu->idt.base + m->vector * 16u + 8);
    m->cs_at = place_of_descriptor(cpu, (u16)(m->gate[0] >> 16));
    m->sp_at = slot ? place(cpu, tr + slot) : NULL;
    m->generation = 0; /* none: mmu.h */
    if (!m->gate_at[0] || !m->gate_at[1] || !m->cs_at || (slot && !m->sp_at))
        return false;
    m->idt = cpu->idt.base;
    m->gdt = cpu->gdt.base;
    m->tss = tr;
    m->generation = generation;
    return true;
}

/* Whether the memo tells what the event meets; then its structures are where it says. */
static bool gate_known(struct cpu *cpu, const struct event *e, struct gate_memo *m)
{
    const struct segment *tr = &cpu->seg[SEG_TR];
    if (m->vector != e->vector || m->from != cpu->cpl || m->soft != e->soft || !m->gate[0])
        return false;
    if ((m->generation != atomic_load(&cpu->mmu.generation) || m->idt != cpu->idt.base ||
         m->gdt != cpu->gdt.base || m->tss != tr->base) &&
        !find_structures(cpu, m))
        return false;
    unsigned slot = stack_slot(m);
    return m->vector * 16u + 15 <= cpu->idt.limit &&
           ((m->gate[0] >> 16 & 0xffff) | 7) <= cpu->gdt.limit &&
           (!slot || (tr->attr & SEG_P && slot + 7 <= tr->limit)) &&
           get(m->gate_at[0]) == m->gate[0] && get(m->gate_at[1]) == m->gate[1] &&
           get(m->cs_at) == m->cs_raw;
}

/* One word of a frame, which is aligned. */
static void put(u8 *frame, unsigned n, u64 v)
{
    __atomic_store_n((u64 *)(void *)(frame + n * 8), RAM_LE64(v), __ATOMIC_RELEASE);
}

bool short_deliver(struct cpu *cpu, const struct event *e)
{
    struct gate_memo *m = gate_slot(cpu, e->vector);
    if (!usable(cpu) || !gate_known(cpu, e, m))
        return false;
    u64 sp = stack_slot(m) ? get(m->sp_at) : cpu->gpr[RSP];
    if (!canonical(sp))
        return false;
    unsigned n = e->has_error ? 6 : 5;
    sp = (sp & ~15ull) - n * 8;
    enum mmu_kind kind = m->to == 3 ? MMU_USER : cpu_system_kind(cpu);
    u8 *f = mmu_peek(&cpu->mmu, kind, sp, n * 8, true);
    if (!f)
        return false;
    if (e->has_error) {
        put(f, 0, e->error);
        f += 8;
    }
    put(f, 0, e->rip);
    put(f, 1, cpu->seg[SEG_CS].selector);
    put(f, 2, cpu->eflags | FL_FIXED | (e->set_rf ? FL_RF : 0));
    put(f, 3, cpu->gpr[RSP]);
    put(f, 4, cpu->seg[SEG_SS].selector);
    cpu->gpr[RSP] = sp;
    if (m->to != m->from)
        load_flat(&cpu->seg[SEG_SS], m->to, (u16)(SEG_S | SEG_RW | SEG_A | m->to << 5));
    bool interrupt = (m->gate[0] >> 40 & 0xf) == DT_INTR32;
    cpu->eflags &= ~(u64)(FL_RF | (interrupt ? FL_IF : 0));
    cpu->seg[SEG_CS] = m->cs;
    switch_to(cpu, m->to,
              (m->gate[0] & 0xffff) | (m->gate[0] >> 32 & 0xffff0000u) | m->gate[1] << 32);
    cpu_unmask(cpu);
    return true;
}

/* ---- IRETQ ---- */

void short_note_iret(struct cpu *cpu, const struct descriptor *cs, const struct descriptor *ss,
                     unsigned from)
{
    cpu->iret_memos[cpu->cpl == 3] = (struct iret_memo){
        .cs_raw = cs->raw,
        .ss_raw = ss ? ss->raw : 0,
        .cs = cpu->seg[SEG_CS],
        .ss = cpu->seg[SEG_SS],
        .from = (u8)from,
        .present = ss != NULL,
        .known = true,
    };
}

/* Whether the GDT still has the descriptors of the memo. */
static bool same_descriptors(struct cpu *cpu, struct iret_memo *m)
{
    u64 generation = atomic_load(&cpu->mmu.generation);
    if (m->generation != generation || m->gdt != cpu->gdt.base) {
        m->cs_at = place_of_descriptor(cpu, m->cs.selector);
        m->ss_at = m->present ? place_of_descriptor(cpu, m->ss.selector) : NULL;
        m->generation = 0;
        if (!m->cs_at || (m->present && !m->ss_at))
            return false;
        m->gdt = cpu->gdt.base;
        m->generation = generation;
    }
    if ((m->cs.selector | 7u) > cpu->gdt.limit || get(m->cs_at) != m->cs_raw)
        return false;
    return !m->present || ((m->ss.selector | 7u) <= cpu->gdt.limit && get(m->ss_at) == m->ss_raw);
}

bool short_iret(struct cpu *cpu, u64 writable)
{
    if (!usable(cpu))
        return false;
    const u8 *f = mmu_peek(&cpu->mmu, cpu->mmu.kind, cpu->gpr[RSP], 40, false);
    if (!f)
        return false;
    u64 rip = get(f), image = get(f + 16), sp = get(f + 24);
    u16 sel = (u16)get(f + 8), ss = (u16)get(f + 32);
    unsigned cpl = sel & 3;
    struct iret_memo *m = &cpu->iret_memos[cpl == 3];
    if (!m->known || m->from != cpu->cpl || sel != m->cs.selector || ss != m->ss.selector ||
        image & FL_UNUSUAL || !canonical(rip) || !same_descriptors(cpu, m))
        return false;
    u64 flags = (cpu_eflags(cpu) & ~writable) | (image & writable);
    bool outer = cpl != cpu->cpl;
    cpu->seg[SEG_SS] = m->ss;
    cpu->seg[SEG_CS] = m->cs;
    switch_to(cpu, cpl, rip);
    cpu->gpr[RSP] = sp;
    if (outer)
        return_scrub_segments(cpu, cpl);
    cpu->lazy_kind = LAZY_NONE;
    cpu->eflags = (flags & ~(u64)FL_RF) | FL_FIXED;
    if (flags & FL_RF)
        cpu->eflags |= debug_take_rf(cpu, flags);
    if (flags & FL_VIP)
        iflag_check_pending(cpu);
    cpu_unmask(cpu);
    return true;
}

/* ---- SYSCALL, SYSRET ---- */

bool short_syscall(struct cpu *cpu, u64 next)
{
    if (!usable(cpu) || !(cpu->efer & EFER_SCE))
        return false;
    u64 flags = cpu_eflags(cpu);
    u16 cs = (u16)(cpu->star >> 32 & 0xfffc), ss = (u16)((cpu->star >> 32) + 8);
    cpu->gpr[RCX] = next;
    cpu->gpr[R11] = flags;
    cpu->eflags = (flags & ~cpu->sfmask & ~(u64)FL_RF) | FL_FIXED;
    load_flat(&cpu->seg[SEG_SS], ss, SYSCALL_DATA);
    load_flat(&cpu->seg[SEG_CS], cs, SYSCALL_CODE | SEG_L);
    switch_to(cpu, 0, cpu->lstar);
    cpu_unmask(cpu);
    return true;
}

bool short_sysret(struct cpu *cpu)
{
    u64 keep = FL_ARITH | FL_IF | FL_DF | FL_IOPL | FL_VIF | FL_VIP | FL_ID;
    if (!usable(cpu) || !(cpu->efer & EFER_SCE) || cpu->cpl || cpu->gpr[R11] & FL_UNUSUAL ||
        !canonical(cpu->gpr[RCX]))
        return false;
    u16 cs = (u16)(((cpu->star >> 48) + 16) | 3), ss = (u16)(((cpu->star >> 48) + 8) | 3);
    cpu->lazy_kind = LAZY_NONE;
    cpu->eflags = (cpu->gpr[R11] & keep) | FL_FIXED;
    load_flat(&cpu->seg[SEG_SS], ss, SYSCALL_DATA | SEG_DPL);
    load_flat(&cpu->seg[SEG_CS], cs, SYSCALL_CODE | SEG_L | SEG_DPL);
    switch_to(cpu, 3, cpu->gpr[RCX]);
    cpu_unmask(cpu);
    return true;
}

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
    return cpu->short_transfers && cpu_code64(cpu) && !(cpu->eflags & FL_UNUSUAL) &&
           !(cpu->hflags & HF_TF) && !cpu->debug && !cpu->mmu.watching;
}

/* 8 bytes of a system structure; false when they cannot be had cheaply. */
static bool peek(struct cpu *cpu, u64 la, u64 *v)
{
    const u8 *host = mmu_peek(&cpu->mmu, cpu_system_kind(cpu), la, 8, false);
    if (!host)
        return false;
    *v = ram_load(host, 8);
    return true;
}

/* Whether the GDT still has this descriptor for sel. */
static bool same_descriptor(struct cpu *cpu, u16 sel, u64 raw)
{
    u64 now;
    return !(sel & 4) && (sel | 7u) <= cpu->gdt.limit &&
           peek(cpu, cpu->gdt.base + (sel & 0xfff8u), &now) && now == raw;
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

bool short_deliver(struct cpu *cpu, const struct event *e)
{
    const struct gate_memo *m = gate_slot(cpu, e->vector);
    u64 at = (u64)e->vector * 16, gate[2], sp = cpu->gpr[RSP];

    if (!usable(cpu) || m->vector != e->vector || m->from != cpu->cpl || m->soft != e->soft ||
        !m->gate[0] || at + 15 > cpu->idt.limit || !peek(cpu, cpu->idt.base + at, &gate[0]) ||
        !peek(cpu, cpu->idt.base + at + 8, &gate[1]) || gate[0] != m->gate[0] ||
        gate[1] != m->gate[1] || !same_descriptor(cpu, (u16)(gate[0] >> 16), m->cs_raw))
        return false;
    unsigned ist = gate[0] >> 32 & 7, slot = ist ? 0x24 + (ist - 1) * 8 : 4 + m->to * 8u;
    const struct segment *tr = &cpu->seg[SEG_TR];
    if (ist || m->to != cpu->cpl)
        if (!(tr->attr & SEG_P) || slot + 7 > tr->limit || !peek(cpu, tr->base + slot, &sp) ||
            !canonical(sp))
            return false;
    unsigned n = e->has_error ? 6 : 5;
    sp = (sp & ~15ull) - n * 8;
    enum mmu_kind kind = m->to == 3 ? MMU_USER : cpu_system_kind(cpu);
    u8 *f = mmu_peek(&cpu->mmu, kind, sp, n * 8, true);
    if (!f)
        return false;
    if (e->has_error) {
        ram_store(f, e->error, 8);
        f += 8;
    }
    ram_store(f, e->rip, 8);
    ram_store(f + 8, cpu->seg[SEG_CS].selector, 8);
    ram_store(f + 16, cpu->eflags | FL_FIXED | (e->set_rf ? FL_RF : 0), 8);
    ram_store(f + 24, cpu->gpr[RSP], 8);
    ram_store(f + 32, cpu->seg[SEG_SS].selector, 8);
    cpu->gpr[RSP] = sp;
    if (m->to != cpu->cpl)
        seg_install_flat(cpu, SEG_SS, m->to, (u16)(SEG_S | SEG_RW | SEG_A | m->to << 5));
    bool interrupt = (gate[0] >> 40 & 0xf) == DT_INTR32;
    cpu->eflags &= ~(u64)(FL_RF | (interrupt ? FL_IF : 0));
    cpu->seg[SEG_CS] = m->cs;
    switch_to(cpu, m->to, (gate[0] & 0xffff) | (gate[0] >> 32 & 0xffff0000u) | gate[1] << 32);
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

bool short_iret(struct cpu *cpu, u64 writable)
{
    u64 f[5];
    if (!usable(cpu))
        return false;
    const u8 *host = mmu_peek(&cpu->mmu, cpu->mmu.kind, cpu->gpr[RSP], sizeof f, false);
    if (!host)
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(f); i++)
        f[i] = ram_load(host + i * 8, 8);
    u16 sel = (u16)f[1], ss = (u16)f[4];
    unsigned cpl = sel & 3;
    const struct iret_memo *m = &cpu->iret_memos[cpl == 3];
    if (!m->known || m->from != cpu->cpl || sel != m->cs.selector || ss != m->ss.selector ||
        f[2] & FL_UNUSUAL || !canonical(f[0]) || !same_descriptor(cpu, sel, m->cs_raw) ||
        (m->present && !same_descriptor(cpu, ss, m->ss_raw)))
        return false;
    u64 flags = (cpu_eflags(cpu) & ~writable) | (f[2] & writable);
    bool outer = cpl != cpu->cpl;
    cpu->seg[SEG_SS] = m->ss;
    cpu->seg[SEG_CS] = m->cs;
    switch_to(cpu, cpl, f[0]);
    cpu->gpr[RSP] = f[3];
    if (outer)
        return_scrub_segments(cpu, cpl);
    cpu->lazy_kind = LAZY_NONE;
    cpu->eflags = (flags & ~(u64)FL_RF) | FL_FIXED | debug_take_rf(cpu, flags);
    iflag_check_pending(cpu);
    cpu_unmask(cpu);
    return true;
}

/* ---- SYSCALL, SYSRET ---- */

/* A flat segment of SYSCALL and SYSRET, as seg_install_flat makes it.  Field by field, for a host
 * waits when a copy of the whole reads what has just been stored in parts. */
static void load_flat(struct segment *s, u16 sel, u16 attr)
{
    s->base = 0;
    s->span_r = 1ull << 32;
    s->span_w = attr & SEG_CODE ? 0 : 1ull << 32;
    s->limit = 0xffffffffu;
    s->selector = sel;
    s->attr = attr;
}

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

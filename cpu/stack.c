/* Stacks of far transfers and events: pushes and pops that touch memory but leave the registers
 * alone until the whole transfer is certain; stack pointers of inner rings from the TSS.
 */
#include "cpu/system.h"

static u64 width_mask(const struct cpu *cpu, bool flat64, u16 attr)
{
    if (flat64)
        return ~0ull;
    return attr & SEG_DB ? 0xffffffffu : 0xffffu;
}

void stack_current(struct stack *s, struct cpu *cpu)
{
    s->cpu = cpu;
    s->ss = cpu->seg[SEG_SS];
    s->flat64 = cpu_code64(cpu);
    s->mask = width_mask(cpu, s->flat64, s->ss.attr);
    s->sp = cpu->gpr[RSP];
    s->kind = cpu->mmu.kind;
    s->error = cpu_ext(cpu);
}

static u64 stack_address(const struct stack *s, u64 sp, unsigned size, bool store)
{
    if (s->flat64)
        return sp;
    u64 off = sp & s->mask;
    if (!seg_allows(s->cpu, &s->ss, off, size, store))
        cpu_raise_error(s->cpu, EXC_SS, s->error);
    return (u32)(s->ss.base + off);
}

static void stack_fault(const struct stack *s, enum mmu_status st)
{
    if (st == MMU_NONCANONICAL)
        cpu_raise_error(s->cpu, EXC_SS, s->error);
    cpu_raise_mmu(s->cpu, st, true);
}

void stack_push(struct stack *s, unsigned size, u64 v)
{
    u64 sp = s->sp - size;
    u64 la = stack_address(s, sp, size, true);
    if (s->kind == MMU_USER)
        cpu_check_alignment(s->cpu, la, size);
    enum mmu_status st = mmu_store(&s->cpu->mmu, s->kind, la, size, v & size_mask(size));
    if (unlikely(st != MMU_OK))
        stack_fault(s, st);
    s->sp = sp;
}

u64 stack_peek(struct stack *s, unsigned size, unsigned n)
{
    u64 v = 0, la = stack_address(s, s->sp + (u64)n * size, size, false);
    if (s->kind == MMU_USER)
        cpu_check_alignment(s->cpu, la, size);
    enum mmu_status st = mmu_load(&s->cpu->mmu, s->kind, la, size, &v);
    if (unlikely(st != MMU_OK))
        stack_fault(s, st);
    return v;
}

u64 stack_pop(struct stack *s, unsigned size)
{
    u64 v = stack_peek(s, size, 0);
    s->sp += size;
    return v;
}

static void write_sp(struct cpu *cpu, u64 mask, u64 sp)
{
    if (mask == 0xffff)
        cpu->gpr[RSP] = (cpu->gpr[RSP] & ~0xffffull) | (sp & 0xffff);
    else
        cpu->gpr[RSP] = sp & mask;
}

void stack_commit(const struct stack *s)
{
    write_sp(s->cpu, s->mask, s->sp);
}

void stack_set_pointer(struct cpu *cpu, u64 sp)
{
    write_sp(cpu, width_mask(cpu, cpu_code64(cpu), cpu->seg[SEG_SS].attr), sp);
}

void tss_stack(struct cpu *cpu, unsigned dpl, u32 ext, u16 *ss, u64 *sp)
{
    const struct segment *tr = &cpu->seg[SEG_TR];
    bool wide = tr->attr & 8;
    unsigned at = wide ? 4 + dpl * 8 : 2 + dpl * 4;

    if (!(tr->attr & SEG_P) || at + (wide ? 5 : 3) > tr->limit)
        raise_sel(cpu, EXC_TS, tr->selector, ext);
    *sp = cpu_load_system(cpu, tr->base + at, wide ? 4 : 2);
    *ss = (u16)cpu_load_system(cpu, tr->base + at + (wide ? 4 : 2), 2);
}

u64 tss_stack64(struct cpu *cpu, unsigned n, u32 ext)
{
    const struct segment *tr = &cpu->seg[SEG_TR];
    /* SDM vol. 3A figure 7-11: RSP0 at 4, IST1 at 0x24. */
    unsigned at = n < 3 ? 4 + n * 8 : 0x24 + (n - 4) * 8;

    if (!(tr->attr & SEG_P) || at + 7 > tr->limit)
        raise_sel(cpu, EXC_TS, tr->selector, ext);
    u64 sp = cpu_load_system(cpu, tr->base + at, 8);
    if (!canonical(sp))
        cpu_raise_error(cpu, EXC_SS, ext);
    return sp;
}

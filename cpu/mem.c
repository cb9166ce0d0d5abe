/* Guest memory as an instruction sees it: rights of the moment, faults raised as exceptions. */
#include "cpu/system.h"

enum mmu_kind cpu_mmu_kind(const struct cpu *cpu)
{
    if (cpu->cpl == 3)
        return MMU_USER;
    return (cpu->cr4 & CR4_SMAP) && !(cpu->eflags & FL_AC) ? MMU_SUPERVISOR : MMU_SUPERVISOR_AC;
}

enum mmu_kind cpu_system_kind(const struct cpu *cpu)
{
    return cpu->cr4 & CR4_SMAP ? MMU_SUPERVISOR : MMU_SUPERVISOR_AC;
}

void cpu_raise_mmu(struct cpu *cpu, enum mmu_status status, bool stack)
{
    if (status == MMU_PAGE_FAULT)
        cpu_raise_error(cpu, EXC_PF, cpu->mmu.fault_code);
    cpu_raise_error(cpu, stack ? EXC_SS : EXC_GP, cpu_ext(cpu));
}

static u64 load(struct cpu *cpu, enum mmu_kind kind, u64 la, unsigned size)
{
    u64 v = 0;
    enum mmu_status st = mmu_load(&cpu->mmu, kind, la, size, &v);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
    return v;
}

static void store(struct cpu *cpu, enum mmu_kind kind, u64 la, unsigned size, u64 v)
{
    enum mmu_status st = mmu_store(&cpu->mmu, kind, la, size, v);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
}

u64 cpu_load(struct cpu *cpu, u64 la, unsigned size)
{
    return load(cpu, cpu->mmu.kind, la, size);
}

void cpu_store(struct cpu *cpu, u64 la, unsigned size, u64 value)
{
    store(cpu, cpu->mmu.kind, la, size, value);
}

u64 cpu_load_system(struct cpu *cpu, u64 la, unsigned size)
{
    return load(cpu, cpu_system_kind(cpu), la, size);
}

void cpu_store_system(struct cpu *cpu, u64 la, unsigned size, u64 value)
{
    store(cpu, cpu_system_kind(cpu), la, size, value);
}

void cpu_load_bytes(struct cpu *cpu, u64 la, void *buf, unsigned len)
{
    enum mmu_status st = mmu_load_bytes(&cpu->mmu, cpu->mmu.kind, la, buf, len);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
}

void cpu_store_bytes(struct cpu *cpu, u64 la, const void *buf, unsigned len)
{
    enum mmu_status st = mmu_store_bytes(&cpu->mmu, cpu->mmu.kind, la, buf, len);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
}

/* IN and OUT: permission by IOPL and the TSS's I/O bit map (SDM vol. 1, 19.5). */
#include "cpu/count.h"
#include "cpu/system.h"

void cpu_check_io(struct cpu *cpu, u16 port, unsigned size)
{
    const struct segment *tr = &cpu->seg[SEG_TR];

    if (!(cpu->cr0 & CR0_PE) || (!cpu_in_vm86(cpu) && cpu->cpl <= cpu_iopl(cpu)))
        return;
    /* Only a 32-bit (or 64-bit) TSS has a map; its offset is the word at 0x66. */
    if (!(tr->attr & SEG_P) || (tr->attr & 0xd) != 9 || tr->limit < 0x67)
        cpu_raise_error(cpu, EXC_GP, 0);
    unsigned map = (unsigned)cpu_load_system(cpu, tr->base + 0x66, 2);
    unsigned at = map + port / 8u;
    if (at + 1 > tr->limit)
        cpu_raise_error(cpu, EXC_GP, 0);
    unsigned bits = (unsigned)cpu_load_system(cpu, tr->base + at, 2) >> (port & 7);
    if (bits & ((1u << size) - 1))
        cpu_raise_error(cpu, EXC_GP, 0);
}

u64 helper_in(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    cpu_check_io(cpu, (u16)a, (unsigned)b);
    if (unlikely(cpu->debug_io))
        debug_io(cpu, (u16)a, (unsigned)b);
    count_exact(cpu);
    return bus_in(cpu->bus, (int)cpu->index, (u16)a, (unsigned)b);
}

u64 helper_out(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    cpu_check_io(cpu, (u16)a, (unsigned)b);
    if (unlikely(cpu->debug_io))
        debug_io(cpu, (u16)a, (unsigned)b);
    count_exact(cpu);
    bus_out(cpu->bus, (int)cpu->index, (u16)a, (u32)(c & size_mask((unsigned)b)), (unsigned)b);
    cpu->rip = d;
    return 0;
}

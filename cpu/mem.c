/* Guest memory as an instruction sees it: rights of the moment, faults raised as exceptions. */
#include "cpu/decode.h"
#include "cpu/system.h"
#include "cpu/x87.h"

unsigned cpu_peek_insn(struct cpu *cpu, u8 bytes[15])
{
    u64 la = cpu->hflags & HF_LONG ? cpu->rip : (u32)(cpu->seg[SEG_CS].base + cpu->rip), gpa;
    unsigned n = 0;
    for (; n < 15 && mmu_debug_translate(&cpu->mmu, la + n, &gpa); n++)
        bus_read_bytes(cpu->bus, gpa, bytes + n, 1);
    return n;
}

/* Looks at the instruction whose memory operand faults, for what is cheaper to find out now than
 * to watch for: a pending x87 exception comes before the operand (SDM vol. 3A table 6-2), and
 * helpers do not know whether their operand lies in the stack segment. */
static void look_at_insn(struct cpu *cpu, bool *stack)
{
    struct insn in;
    u8 bytes[15];
    cpu->engine->sync(cpu);
    unsigned mode = cpu->hflags & HF_LONG ? 64 : cpu->hflags & HF_CS32 ? 32 : 16;
    if (decode(&in, bytes, cpu_peek_insn(cpu, bytes), mode) != DECODE_OK)
        return;
    bool memory = false;
    for (unsigned i = 0; i < in.operands; i++)
        memory |= in.opnd[i].kind == OPND_MEM;
    if (!memory)
        return;
    *stack |= in.seg == SEG_SS;
    bool control = in.op == OP_fnstcw || in.op == OP_fnstsw || in.op == OP_fnstenv ||
                   in.op == OP_fnsave;
    bool x87 = in.row->isa == ISA_X87 || in.op == OP_fisttp;
    if (x87 && !control && cpu->x87.fsw & FSW_ES)
        x87_wait(cpu);
}

void cpu_raise_mmu(struct cpu *cpu, enum mmu_status status, bool stack)
{
    bool segment_open = status == MMU_NONCANONICAL && !stack;
    if (!cpu->guard && (segment_open || cpu->x87.fsw & FSW_ES))
        look_at_insn(cpu, &stack);
    if (status == MMU_PAGE_FAULT)
        cpu_raise_error(cpu, EXC_PF, cpu->mmu.fault_code);
    cpu_raise_error(cpu, stack ? EXC_SS : EXC_GP, cpu_ext(cpu));
}

void cpu_raise_misaligned(struct cpu *cpu, u64 la)
{
    bool stack = false;
    if (!canonical(la)) /* the access raises something else */
        return;
    if (cpu->x87.fsw & FSW_ES)
        look_at_insn(cpu, &stack);
    cpu_raise_error(cpu, EXC_AC, 0);
}

u64 cpu_load(struct cpu *cpu, u64 la, unsigned size)
{
    u64 v = 0;
    cpu_check_alignment(cpu, la, size);
    enum mmu_status st = mmu_load(&cpu->mmu, cpu->mmu.kind, la, size, &v);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
    return v;
}

void cpu_store(struct cpu *cpu, u64 la, unsigned size, u64 value)
{
    cpu_check_alignment(cpu, la, size);
    enum mmu_status st = mmu_store(&cpu->mmu, cpu->mmu.kind, la, size, value);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
}

u64 cpu_load_system(struct cpu *cpu, u64 la, unsigned size)
{
    u64 v = 0;
    cpu->mmu.implicit = true;
    enum mmu_status st = mmu_load(&cpu->mmu, cpu_system_kind(cpu), la, size, &v);
    cpu->mmu.implicit = false;
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
    return v;
}

void cpu_store_system(struct cpu *cpu, u64 la, unsigned size, u64 value)
{
    /* The hook of code that changes may leave from inside: cpu_unwound. */
    cpu->mmu.implicit = true;
    enum mmu_status st = mmu_store(&cpu->mmu, cpu_system_kind(cpu), la, size, value);
    cpu->mmu.implicit = false;
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(cpu, st, false);
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

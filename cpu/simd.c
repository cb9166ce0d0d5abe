/* SSE helpers: MXCSR, availability, masked stores.
 *
 * Touches MXCSR and XMM registers of struct cpu, and guest memory.
 */
#include "cpu/cpu.h"
#include "cpu/helpers.h"
#include "cpu/simd.h"

u64 helper_fp_unavailable(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    bool em = cpu->cr0 & CR0_EM, osfxsr = cpu->cr4 & CR4_OSFXSR;
    if (a == 3 && !(cpu->cr0 & CR0_TS))
        return 0;
    /* SDM vol. 3A 2.5, CR0.EM, and table 13-1. */
    if ((a == 1 && em) || (a == 2 && (em || !osfxsr)))
        cpu_raise(cpu, EXC_UD);
    if ((a == 0 && em) || (cpu->cr0 & CR0_TS))
        cpu_raise(cpu, EXC_NM);
    cpu_raise(cpu, EXC_UD);
}

u64 helper_ldmxcsr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (a & ~(u64)MXCSR_MASK)
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu_set_mxcsr(cpu, (u32)a);
    cpu->rip = b;
    return 0;
}

u64 helper_stmxcsr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return cpu->mxcsr;
}

u64 helper_vec_op(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return cpu->engine->vec_op(cpu, a, b, c);
}

u64 helper_maskmov(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    unsigned data = a & 0xff, mask = a >> 8 & 0xff, len = c == 8 ? 8 : 16;
    u8 bytes[16], select[16];
    if (len == 8) {
        store_le(bytes, cpu->x87.r[data & 7].mant, 8);
        store_le(select, cpu->x87.r[mask & 7].mant, 8);
    } else {
        memcpy(bytes, cpu->xmm[data & 15].b, 16);
        memcpy(select, cpu->xmm[mask & 15].b, 16);
    }
    unsigned first = len, last = 0;
    for (unsigned i = 0; i < len; i++) {
        if (select[i] & 0x80) {
            first = first == len ? i : first;
            last = i;
        }
    }
    if (first == len)
        return 0; /* nothing selected: whether it faults is implementation-specific */
    /* Both ends first, so that a fault leaves nothing written. */
    enum mmu_status s = mmu_probe(&cpu->mmu, cpu_mmu_kind(cpu), b + first, last - first + 1,
                                  MMU_WRITE);
    if (s != MMU_OK)
        cpu_raise_mmu(cpu, s, false);
    for (unsigned i = first; i <= last; i++) {
        if (select[i] & 0x80)
            cpu_store(cpu, b + i, 1, bytes[i]);
    }
    return 0;
}

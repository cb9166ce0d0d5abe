/* CMPXCHG8B and CMPXCHG16B (SDM vol. 2).
 *
 * On plain RAM they are one compare-and-exchange of the host, LOCKed or not.  On MMIO, across
 * pages and on pages with code they are a load and a store.
 */
#include "cpu/cpu.h"
#include "cpu/helpers.h"

/* Host memory for an access that reads and writes; NULL when it must go through the MMU. */
static u8 *host_for_update(struct cpu *cpu, u64 la, unsigned len)
{
    u8 *host;
    enum mmu_status st = mmu_host(&cpu->mmu, cpu->mmu.kind, la, len, MMU_WRITE, &host);
    if (st != MMU_OK)
        cpu_raise_mmu(cpu, st, false);
    return host;
}

static void set_zf(struct cpu *cpu, bool equal)
{
    cpu->eflags = (cpu->eflags & ~(u64)FL_ZF) | (equal ? FL_ZF : 0);
}

u64 helper_cmpxchg8b(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u64 expected = (u32)cpu->gpr[RAX] | cpu->gpr[RDX] << 32;
    u64 desired = (u32)cpu->gpr[RBX] | cpu->gpr[RCX] << 32, old = expected;
    cpu_check_alignment(cpu, a, 8);
    u8 *host = host_for_update(cpu, a, 8);
    if (host) {
        __atomic_compare_exchange_n((u64 *)host, &old, desired, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
    } else {
        old = cpu_load(cpu, a, 8);
        cpu_store(cpu, a, 8, old == expected ? desired : old);
    }
    bool equal = old == expected;
    set_zf(cpu, equal);
    if (!equal) {
        cpu->gpr[RAX] = (u32)old;
        cpu->gpr[RDX] = old >> 32;
    }
    return 0;
}

#if defined(__x86_64__)
/* Written out, since the builtins for 16 bytes call libatomic. */
static u128 exchange16(u128 *p, u128 expected, u128 desired)
{
    u64 low = (u64)expected, high = (u64)(expected >> 64);
    __asm__ volatile("lock cmpxchg16b %0"
                     : "+m"(*p), "+a"(low), "+d"(high)
                     : "b"((u64)desired), "c"((u64)(desired >> 64))
                     : "memory", "cc");
    return (u128)high << 64 | low;
}
#else
static u128 exchange16(u128 *p, u128 expected, u128 desired)
{
    __atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    return expected;
}
#endif

u64 helper_cmpxchg16b(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (a & 15)
        cpu_raise_error(cpu, EXC_GP, 0);
    u128 expected = (u128)cpu->gpr[RDX] << 64 | cpu->gpr[RAX];
    u128 desired = (u128)cpu->gpr[RCX] << 64 | cpu->gpr[RBX], old;
    u8 *host = host_for_update(cpu, a, 16);
    if (host) {
        old = exchange16((u128 *)host, expected, desired);
    } else {
        cpu_load_bytes(cpu, a, &old, 16);
        u128 v = old == expected ? desired : old;
        cpu_store_bytes(cpu, a, &v, 16);
    }
    bool equal = old == expected;
    set_zf(cpu, equal);
    if (!equal) {
        cpu->gpr[RAX] = (u64)old;
        cpu->gpr[RDX] = (u64)(old >> 64);
    }
    return 0;
}

/* CMPXCHG8B and CMPXCHG16B (SDM vol. 2).
 *
 * On plain RAM they are one compare-and-exchange of the host, LOCKed or not.  On MMIO and across
 * pages they are a load and a store under the machine lock.
 */
#include "cpu/cpu.h"
#include "cpu/helpers.h"

/* Host memory for an access that reads and writes; NULL when it must go through the MMU. */
static u8 *host_for_update(struct cpu *cpu, u64 la, unsigned len, u64 *gpa)
{
    u8 *host;
    enum mmu_status st = mmu_host_store(&cpu->mmu, cpu->mmu.kind, la, len, &host, gpa);
    if (st != MMU_OK)
        cpu_raise_mmu(cpu, st, false);
    return host;
}

struct exchange {
    u8 expected[16], desired[16], old[16];
    unsigned len;
};

static void exchange(void *opaque, void *bytes)
{
    struct exchange *x = opaque;
    memcpy(x->old, bytes, x->len);
    if (!memcmp(x->old, x->expected, x->len))
        memcpy(bytes, x->desired, x->len);
}

/* Where there is no host memory: *old is what was there. */
static void exchange_slow(struct cpu *cpu, u64 la, unsigned len, const void *expected,
                          const void *desired, void *old)
{
    struct exchange x = {.len = len};
    memcpy(x.expected, expected, len);
    memcpy(x.desired, desired, len);
    enum mmu_status st = mmu_update(&cpu->mmu, cpu->mmu.kind, la, len, exchange, &x);
    if (st != MMU_OK)
        cpu_raise_mmu(cpu, st, false);
    memcpy(old, x.old, len);
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
    u64 gpa;
    u8 *host = host_for_update(cpu, a, 8, &gpa);
    if (host) {
        __atomic_compare_exchange_n((u64 *)host, &old, desired, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST);
        mmu_stored(&cpu->mmu, host, gpa, 8);
    } else {
        exchange_slow(cpu, a, 8, &expected, &desired, &old);
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
    u64 gpa;
    u8 *host = host_for_update(cpu, a, 16, &gpa);
    if (host) {
        old = exchange16((u128 *)host, expected, desired);
        mmu_stored(&cpu->mmu, host, gpa, 16);
    } else {
        exchange_slow(cpu, a, 16, &expected, &desired, &old);
    }
    bool equal = old == expected;
    set_zf(cpu, equal);
    if (!equal) {
        cpu->gpr[RAX] = (u64)old;
        cpu->gpr[RDX] = (u64)(old >> 64);
    }
    return 0;
}

/* C sides of the x86-64 engine's slow paths: memory accesses that miss the TLB, segment checks,
 * divisions that may fault, rare flags, atomics outside plain RAM.  Called by the thunks with guest
 * registers in struct cpu; they may raise. */
#include "cpu/count.h"
#include "cpu/cpu.h"
#include "translator/ir_eval.h"
#include "translator/ir_vec.h"
#include "translator/x64/x64_engine.h"

static enum mmu_kind kind_of(struct cpu *cpu, u32 mf)
{
    return mf & MF_SYSTEM ? cpu_system_kind(cpu) : cpu->mmu.kind;
}

/* Alignment rules: #GP of aligned vector forms, #AC (SDM vol. 3A 6.15). */
static void check_alignment(struct cpu *cpu, u64 la, unsigned size, u32 mf)
{
    if ((mf & MF_ALIGN16 && la & 15) || (mf & MF_ALIGN32 && la & 31))
        cpu_raise_error(cpu, EXC_GP, 0);
    if (!(mf & MF_SYSTEM))
        cpu_check_alignment(cpu, la, x64_alignment(size));
}

static void check_status(struct cpu *cpu, enum mmu_status status, u32 mf)
{
    if (unlikely(status != MMU_OK))
        cpu_raise_mmu(cpu, status, mf & MF_STACK);
}

void x64_slow_load(struct cpu *cpu, u64 w)
{
    u64 la = cpu->slow_addr;
    u32 mf = cpu->exit_id;
    enum mmu_kind kind = kind_of(cpu, mf);
    vcpu_of(cpu)->engine->counters.slow_loads++;
    check_alignment(cpu, la, W_BYTES(w), mf);
    cpu->slow_value[1] = 0;
    if (mf & MF_RMW)
        check_status(cpu, mmu_probe(&cpu->mmu, kind, la, W_BYTES(w), MMU_WRITE), mf);
    if (w <= W64)
        check_status(cpu, mmu_load(&cpu->mmu, kind, la, W_BYTES(w), &cpu->slow_value[0]), mf);
    else
        check_status(cpu, mmu_load_bytes(&cpu->mmu, kind, la, cpu->slow_value, W_BYTES(w)), mf);
}

void x64_slow_store(struct cpu *cpu, u64 w)
{
    u64 la = cpu->slow_addr;
    u32 mf = cpu->exit_id;
    enum mmu_kind kind = kind_of(cpu, mf);
    vcpu_of(cpu)->engine->counters.slow_stores++;
    check_alignment(cpu, la, W_BYTES(w), mf);
    if (w <= W64)
        check_status(cpu, mmu_store(&cpu->mmu, kind, la, W_BYTES(w), cpu->slow_value[0]), mf);
    else
        check_status(cpu, mmu_store_bytes(&cpu->mmu, kind, la, cpu->slow_value, W_BYTES(w)), mf);
}

void x64_slow_host(struct cpu *cpu, u64 write)
{
    u8 *host = NULL;
    check_alignment(cpu, cpu->slow_addr, (unsigned)cpu->slow_value[0], cpu->exit_id);
    check_status(cpu,
                 mmu_host(&cpu->mmu, cpu->mmu.kind, cpu->slow_addr, (unsigned)cpu->slow_value[0],
                          write ? MMU_WRITE : MMU_READ, &host),
                 cpu->exit_id);
    if (!host)
        x64_retry_alone(cpu);
    cpu->slow_value[0] = (u64)(uintptr_t)host;
}

void x64_slow_page(struct cpu *cpu, u64 unused)
{
    struct mmu *m = &cpu->mmu;
    u64 la = cpu->slow_addr;
    unsigned what = cpu->exit_id & 3, reg = cpu->exit_id >> 2;
    (void)unused;
    vcpu_of(cpu)->engine->counters.page_misses++;
    cpu->slow_value[1] = 0;
    /* Some byte of the page, which is not the one that a breakpoint may be at. */
    if (m->watching)
        return;
    /* No more than the access itself does, which is on the page. */
    enum mmu_status status =
        mmu_probe(m, m->kind, la, 1, what == PAGE_WRITE ? MMU_WRITE : MMU_READ);
    if (unlikely(status != MMU_OK)) {
        u16 own = x64_site_of(cpu)->own;
        m->fault_addr += own & ~SITE_STACK;
        cpu_raise_mmu(cpu, status, own & SITE_STACK);
    }
    u8 *host = mmu_peek(m, m->kind, la, 1, what != PAGE_READ);
    if (!host)
        return;
    cpu->scratch[reg] = (u64)(uintptr_t)host - la;
    cpu->slow_value[1] = 1;
}

void x64_slow_seg(struct cpu *cpu, u64 unused)
{
    u32 what = cpu->exit_id;
    (void)unused;
    cpu->slow_value[0] =
        helper_segaddr(cpu, what & 0xff, cpu->slow_addr, what >> 8 & 0xff, what >> 16 & 3);
}

void x64_slow_div(struct cpu *cpu, u64 unused)
{
    unsigned w = cpu->call_arg[0] & 3, bits = W_BITS(w);
    u64 mask = size_mask(W_BYTES(w));
    u64 low = cpu->call_arg[1] & mask, high = cpu->call_arg[2] & mask;
    u64 divisor = cpu->call_arg[3] & mask;
    (void)unused;
    if (!divisor)
        cpu_raise(cpu, EXC_DE);
    if (cpu->call_arg[0] & 8) {
        s128 n = (s128)(((u128)(s128)sign_extend(high, bits) << bits) | low);
        s64 d = sign_extend(divisor, bits);
        /* The one quotient that even 128 bits cannot hold. */
        if (d == -1 && n == (s128)((u128)1 << 127))
            cpu_raise(cpu, EXC_DE);
        s128 q = n / d;
        if (q != (s128)sign_extend((u64)q, bits))
            cpu_raise(cpu, EXC_DE);
        cpu->slow_value[0] = (u64)q & mask;
        cpu->slow_value[1] = (u64)(n % d) & mask;
        return;
    }
    u128 n = (u128)high << bits | low;
    if (n / divisor > mask)
        cpu_raise(cpu, EXC_DE);
    cpu->slow_value[0] = (u64)(n / divisor);
    cpu->slow_value[1] = (u64)(n % divisor);
}

void x64_slow_vec(struct cpu *cpu, u64 unused)
{
    struct ir_insn in = {.op = (u16)cpu->exit_id, .w = cpu->exit_id >> 16 & 15,
                         .aux = cpu->exit_id >> 20 & 15, .imm = cpu->slow_addr};
    bool vl = cpu->exit_id >> 24 & 1;
    /* Floating point in C works with the whole environment, that of the x87 included. */
    bool x87 = cpu->x87_host && ir_briefs[in.op].effects & E_RMXCSR;
    (void)unused;
    if (x87)
        x64_x87_save(cpu, 0);
    /* All that come here at vl 1 are alike in both halves. */
    for (unsigned h = 0; h <= vl; h++) {
        union ir_value v[3];
        for (unsigned k = 0; k < 3; k++)
            memcpy(&v[k], cpu->vtmp[k].b + 16 * h, sizeof v[k]);
        const union ir_value *args[4] = {&v[0], &v[1], &v[2]};
        ir_eval_vec_portable(cpu, &in, args, &v[0]);
        memcpy(cpu->vtmp[0].b + 16 * h, &v[0], sizeof v[0]);
    }
    if (x87)
        x64_x87_load(cpu, 0);
}

static u64 from_ahf(u64 ahf)
{
    return (ahf >> 8 & 0xd5) | (ahf & 1 ? FL_OF : 0);
}

static u64 to_ahf(u64 flags)
{
    return (flags & 0xd5) << 8 | 1 << 9 | (flags & FL_OF ? 1 : 0);
}

void x64_slow_eval(struct cpu *cpu, u64 unused)
{
    struct ir_insn in = {.op = (u16)cpu->exit_id, .w = (u8)(cpu->exit_id >> 16)};
    u64 arg[4];
    const char *types = ir_ops[in.op].in;
    (void)unused;
    for (unsigned i = 0; i < 4; i++) {
        char type = i < strlen(types) ? types[i] : '.';
        u64 v = cpu->call_arg[i];
        arg[i] = type == 'f'   ? from_ahf(v)
                 : type == 'i' ? v & size_mask(W_BYTES(in.w))
                 : type == 'l' ? v
                               : v & 0xff;
    }
    if (in.op == IR_fbit)
        in.imm = cpu->call_arg[2];
    u64 v = ir_eval(&in, arg);
    cpu->slow_value[0] = ir_ops[in.op].out[0] == 'f' ? to_ahf(v) : v;
}

void x64_fetch_flags(struct cpu *cpu, u64 unused)
{
    (void)unused;
    cpu_flags(cpu);
    cpu->lazy_a = to_ahf(cpu->eflags & FL_ARITH);
    cpu->lazy_kind = LAZY_AHF;
}

void x64_mxcsr_to_cpu(struct cpu *cpu)
{
    cpu->mxcsr |= cpu->guest_mxcsr_host & 0x3f;
}

static u64 apply(u64 what, u64 old, u64 b, u64 c, u64 mask)
{
    switch (what & 0xff) {
    case AT_ADD: return old + b;
    case AT_SUB: return old - b;
    case AT_AND: return old & b;
    case AT_OR: return old | b;
    case AT_XOR: return old ^ b;
    case AT_XCHG: return b;
    default: return ((old ^ b) & mask) == 0 ? c : old;
    }
}

/* A compare-exchange loop of the host on `size` bytes. */
static u64 host_atomic(u8 *p, unsigned size, u64 what, u64 b, u64 c)
{
    u64 mask = size_mask(size);
#define LOOP(type)                                                                                 \
    do {                                                                                           \
        type *q = (type *)p, old = __atomic_load_n(q, __ATOMIC_SEQ_CST);                           \
        while (!__atomic_compare_exchange_n(q, &old, (type)apply(what, old, b, c, mask), false,    \
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))                   \
            ;                                                                                      \
        return old;                                                                                \
    } while (0)
    switch (size) {
    case 1: LOOP(u8);
    case 2: LOOP(u16);
    case 4: LOOP(u32);
    default: LOOP(u64);
    }
#undef LOOP
}

struct atomic {
    u64 what, b, c, old;
    unsigned size;
};

static void change(void *opaque, void *bytes)
{
    struct atomic *a = opaque;
    a->old = load_le(bytes, a->size);
    store_le(bytes, apply(a->what, a->old, a->b, a->c, size_mask(a->size)), a->size);
}

u64 x64_slow_atomic(struct cpu *cpu, u64 addr, u64 what, u64 b, u64 c)
{
    unsigned w = what >> 8 & 7, size = W_BYTES(w);
    u32 mf = (u32)(what >> 16);
    u8 *host = NULL;
    enum mmu_kind kind = cpu->mmu.kind;
    check_alignment(cpu, addr, size, mf);
    u64 gpa;
    check_status(cpu, mmu_host_store(&cpu->mmu, kind, addr, size, &host, &gpa), mf);
    if (host) {
        u64 old = host_atomic(host, size, what, b, c);
        mmu_stored(&cpu->mmu, host, gpa, size);
        return old;
    }
    struct atomic a = {.what = what, .b = b, .c = c, .size = size};
    check_status(cpu, mmu_update(&cpu->mmu, kind, addr, size, change, &a), mf);
    return a.old;
}

/* The portable engine's ops on guest memory and on fields of struct cpu.
 *
 * Loads and stores probe the TLB as mmu/mmu.h describes and fall back to the MMU's slow path.
 * x86's memory order on weaker hosts: an acquire fence after each load and a release fence before
 * each store; both are free on x86.
 */
#include "cpu/helpers.h"
#include "translator/interp.h"

/* Plain access of 1 << w bytes in guest (little-endian) order. */
EVAL u64 host_load(const void *p, unsigned w)
{
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
        return load_le(p, W_BYTES(w));
    u8 v8;
    u16 v16;
    u32 v32;
    u64 v64;
    switch (w) {
    case W8:
        memcpy(&v8, p, 1);
        return v8;
    case W16:
        memcpy(&v16, p, 2);
        return v16;
    case W32:
        memcpy(&v32, p, 4);
        return v32;
    default:
        memcpy(&v64, p, 8);
        return v64;
    }
}

EVAL void host_store(void *p, u64 v, unsigned w)
{
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) {
        store_le(p, v, W_BYTES(w));
        return;
    }
    switch (w) {
    case W8:
        memcpy(p, &(u8){(u8)v}, 1);
        break;
    case W16:
        memcpy(p, &(u16){(u16)v}, 2);
        break;
    case W32:
        memcpy(p, &(u32){(u32)v}, 4);
        break;
    default:
        memcpy(p, &v, 8);
        break;
    }
}

EVAL const struct tlb_entry *tlb_probe(const struct cpu *cpu, u64 la)
{
    const u8 *entries = (const u8 *)cpu->mmu.context->entries;
    return (const struct tlb_entry *)(entries + ((la >> 7) & cpu->mmu.context->mask));
}

/* Host address of [la, la + size) if the tag matches, else NULL. */
EVAL u8 *tlb_host(const struct tlb_entry *e, const u64 *tag, u64 la, unsigned size)
{
    if (unlikely(((la + size - 1) & PAGE_MASK) != __atomic_load_n(tag, __ATOMIC_RELAXED)))
        return NULL;
    return (u8 *)(uintptr_t)(la + e->addend);
}

/* ---- slow paths: every check that the flags of the op ask for ---- */

static enum mmu_kind kind_of(const struct cpu *cpu, const struct xop *x)
{
    return x->aux & MF_SYSTEM ? cpu_system_kind(cpu) : cpu->mmu.kind;
}

static void check(struct cpu *cpu, const struct xop *x, enum mmu_status status)
{
    if (unlikely(status != MMU_OK))
        cpu_raise_mmu(cpu, status, x->aux & MF_STACK);
}

/* #GP for what must be aligned (SDM vol. 3A 6.15), #AC where the guest asks for it. */
static void check_alignment(struct cpu *cpu, const struct xop *x, u64 la, unsigned size)
{
    if (((x->aux & MF_ALIGN16) && (la & 15)) || ((x->aux & MF_ALIGN32) && (la & 31)))
        cpu_raise_error(cpu, EXC_GP, 0);
    if (!(x->aux & MF_SYSTEM))
        cpu_check_alignment(cpu, la, size < 16 ? size : 16);
}

struct tblock *xop_ld_slow(struct cpu *cpu, u8 *f, const struct xop *x)
{
    u64 la = *slot(f, x->a) + x->imm, v = 0;
    unsigned size = W_BYTES(x->w);
    vcpu_of(cpu)->at = x;
    check_alignment(cpu, x, la, size);
    if (x->aux & MF_RMW)
        check(cpu, x, mmu_probe(&cpu->mmu, kind_of(cpu, x), la, size, MMU_WRITE));
    check(cpu, x, mmu_load(&cpu->mmu, kind_of(cpu, x), la, size, &v));
    *slot(f, x->d) = v;
    atomic_thread_fence(memory_order_acquire);
    return next_op(cpu, f, x);
}

struct tblock *xop_st_slow(struct cpu *cpu, u8 *f, const struct xop *x)
{
    u64 la = *slot(f, x->a) + x->imm;
    unsigned size = W_BYTES(x->w);
    vcpu_of(cpu)->at = x;
    check_alignment(cpu, x, la, size);
    atomic_thread_fence(memory_order_release);
    check(cpu, x, mmu_store(&cpu->mmu, kind_of(cpu, x), la, size, *slot(f, x->b)));
    return next_op(cpu, f, x);
}

#define LOAD_STORE(W)                                                                            \
    static struct tblock *ld_##W(struct cpu *cpu, u8 *f, const struct xop *x)                    \
    {                                                                                            \
        u64 la = *slot(f, x->a) + x->imm;                                                        \
        const struct tlb_entry *e = tlb_probe(cpu, la);                                          \
        const u8 *p = tlb_host(e, x->aux & MF_RMW ? &e->write : &e->read, la, W_BYTES(W));       \
        if (unlikely(!p))                                                                        \
            return xop_ld_slow(cpu, f, x);                                                       \
        *slot(f, x->d) = host_load(p, W);                                                        \
        atomic_thread_fence(memory_order_acquire);                                               \
        return next_op(cpu, f, x);                                                               \
    }                                                                                            \
    static struct tblock *st_##W(struct cpu *cpu, u8 *f, const struct xop *x)                    \
    {                                                                                            \
        u64 la = *slot(f, x->a) + x->imm;                                                        \
        const struct tlb_entry *e = tlb_probe(cpu, la);                                          \
        u8 *p = tlb_host(e, &e->write, la, W_BYTES(W));                                          \
        if (unlikely(!p))                                                                        \
            return xop_st_slow(cpu, f, x);                                                       \
        atomic_thread_fence(memory_order_release);                                               \
        host_store(p, *slot(f, x->b), W);                                                        \
        return next_op(cpu, f, x);                                                               \
    }                                                                                            \
    static struct tblock *ldenv_##W(struct cpu *cpu, u8 *f, const struct xop *x)                 \
    {                                                                                            \
        const void *p = (const u8 *)cpu + x->imm;                                                \
        *slot(f, x->d) = W == W8    ? *(const u8 *)p                                             \
                         : W == W16 ? *(const u16 *)p                                            \
                         : W == W32 ? *(const u32 *)p                                            \
                                    : *(const u64 *)p;                                           \
        return next_op(cpu, f, x);                                                               \
    }                                                                                            \
    static struct tblock *stenv_##W(struct cpu *cpu, u8 *f, const struct xop *x)                 \
    {                                                                                            \
        void *p = (u8 *)cpu + x->imm;                                                            \
        u64 v = *slot(f, x->a);                                                                  \
        if (W == W8)                                                                             \
            *(u8 *)p = (u8)v;                                                                    \
        else if (W == W16)                                                                       \
            *(u16 *)p = (u16)v;                                                                  \
        else if (W == W32)                                                                       \
            *(u32 *)p = (u32)v;                                                                  \
        else                                                                                     \
            *(u64 *)p = v;                                                                       \
        return next_op(cpu, f, x);                                                               \
    }
LOAD_STORE(0)
LOAD_STORE(1)
LOAD_STORE(2)
LOAD_STORE(3)

xop_fn *const xop_ld[4] = {ld_0, ld_1, ld_2, ld_3};
xop_fn *const xop_st[4] = {st_0, st_1, st_2, st_3};
xop_fn *const xop_ldenv[4] = {ldenv_0, ldenv_1, ldenv_2, ldenv_3};
xop_fn *const xop_stenv[4] = {stenv_0, stenv_1, stenv_2, stenv_3};

/* ---- vectors ---- */

struct tblock *xop_vld(struct cpu *cpu, u8 *f, const struct xop *x)
{
    u64 la = *slot(f, x->a) + x->imm;
    unsigned size = W_BYTES(x->w);
    union ir_value v = {{0, 0}};
    const struct tlb_entry *e = tlb_probe(cpu, la);
    const u8 *p = tlb_host(e, &e->read, la, size);
    if (likely(p && !(x->aux & (XM_ALIGN | MF_SYSTEM)) &&
               !((x->aux & MF_ALIGN16) && (la & 15)) &&
               !((x->aux & MF_ALIGN32) && (la & 31)))) {
        memcpy(&v, p, size);
    } else {
        vcpu_of(cpu)->at = x;
        check_alignment(cpu, x, la, size);
        check(cpu, x, mmu_load_bytes(&cpu->mmu, kind_of(cpu, x), la, &v, size));
    }
    *vslot(f, x->d) = v;
    atomic_thread_fence(memory_order_acquire);
    return next_op(cpu, f, x);
}

struct tblock *xop_vst(struct cpu *cpu, u8 *f, const struct xop *x)
{
    u64 la = *slot(f, x->a) + x->imm;
    unsigned size = W_BYTES(x->w);
    const struct tlb_entry *e = tlb_probe(cpu, la);
    u8 *p = tlb_host(e, &e->write, la, size);
    atomic_thread_fence(memory_order_release);
    if (likely(p && !(x->aux & (XM_ALIGN | MF_SYSTEM)) &&
               !((x->aux & MF_ALIGN16) && (la & 15)))) {
        memcpy(p, vslot(f, x->b), size);
    } else {
        vcpu_of(cpu)->at = x;
        check_alignment(cpu, x, la, size);
        check(cpu, x, mmu_store_bytes(&cpu->mmu, kind_of(cpu, x), la, vslot(f, x->b), size));
    }
    return next_op(cpu, f, x);
}

/* 32 bytes of two values, all or nothing. */
struct tblock *xop_vst2(struct cpu *cpu, u8 *f, const struct xop *x)
{
    u64 la = *slot(f, x->a) + x->imm;
    union ir_value v[2] = {*vslot(f, x->b), *vslot(f, x->c)};
    const struct tlb_entry *e = tlb_probe(cpu, la);
    u8 *p = tlb_host(e, &e->write, la, sizeof v);
    atomic_thread_fence(memory_order_release);
    if (likely(p && !(x->aux & (XM_ALIGN | MF_SYSTEM)) &&
               !((x->aux & MF_ALIGN32) && (la & 31)))) {
        memcpy(p, v, sizeof v);
    } else {
        vcpu_of(cpu)->at = x;
        check_alignment(cpu, x, la, sizeof v);
        check(cpu, x, mmu_store_bytes(&cpu->mmu, kind_of(cpu, x), la, v, sizeof v));
    }
    return next_op(cpu, f, x);
}

/* ---- segments ---- */

/* aux: segment; imm: the op's. */
struct tblock *xop_segaddr(struct cpu *cpu, u8 *f, const struct xop *x)
{
    const struct segment *s = &cpu->seg[x->aux];
    u64 offset = *slot(f, x->a), n = x->imm & 0xff;
    bool store = x->imm & 0x100;
    u64 span = store ? s->span_w : s->span_r;
    if (likely(n <= span && offset <= span - n)) {
        u64 la = s->base + offset;
        *slot(f, x->d) = cpu->hflags & HF_LONG ? la : (u32)la;
    } else {
        vcpu_of(cpu)->at = x;
        *slot(f, x->d) = helper_segaddr(cpu, x->aux, offset, n, x->imm >> 8);
    }
    return next_op(cpu, f, x);
}

/* ---- read-modify-write in one step ---- */

/* Host memory for one atomic access; NULL when only a locked load and store will do: MMIO, a page
 * border, operands that are not aligned (host atomics need not take those). */
static u8 *atomic_host(struct cpu *cpu, const struct xop *x, u64 la, u64 *gpa)
{
    unsigned size = W_BYTES(x->w);
    u8 *host = NULL;
    vcpu_of(cpu)->at = x;
    check_alignment(cpu, x, la, size);
    check(cpu, x, mmu_host_store(&cpu->mmu, kind_of(cpu, x), la, size, &host, gpa));
    return la & (size - 1) ? NULL : host;
}

static u64 combine(unsigned op, u64 a, u64 b)
{
    switch (op) {
    case AT_ADD:
        return a + b;
    case AT_SUB:
        return a - b;
    case AT_AND:
        return a & b;
    case AT_OR:
        return a | b;
    case AT_XOR:
        return a ^ b;
    default:
        return b;
    }
}

#define ATOMIC_OPS(T)                                                                            \
    static u64 atomic_##T(u8 *p, unsigned op, u64 v)                                             \
    {                                                                                            \
        switch (op) {                                                                            \
        case AT_ADD:                                                                             \
            return __atomic_fetch_add((T *)p, (T)v, __ATOMIC_SEQ_CST);                           \
        case AT_SUB:                                                                             \
            return __atomic_fetch_sub((T *)p, (T)v, __ATOMIC_SEQ_CST);                           \
        case AT_AND:                                                                             \
            return __atomic_fetch_and((T *)p, (T)v, __ATOMIC_SEQ_CST);                           \
        case AT_OR:                                                                              \
            return __atomic_fetch_or((T *)p, (T)v, __ATOMIC_SEQ_CST);                            \
        case AT_XOR:                                                                             \
            return __atomic_fetch_xor((T *)p, (T)v, __ATOMIC_SEQ_CST);                           \
        default:                                                                                 \
            return __atomic_exchange_n((T *)p, (T)v, __ATOMIC_SEQ_CST);                          \
        }                                                                                        \
    }                                                                                            \
    static u64 cmpxchg_##T(u8 *p, u64 expected, u64 v)                                           \
    {                                                                                            \
        T e = (T)expected;                                                                       \
        __atomic_compare_exchange_n((T *)p, &e, (T)v, false, __ATOMIC_SEQ_CST,                   \
                                    __ATOMIC_SEQ_CST);                                           \
        return e;                                                                                \
    }
ATOMIC_OPS(u8)
ATOMIC_OPS(u16)
ATOMIC_OPS(u32)
ATOMIC_OPS(u64)
static u64 (*const atomic_fns[4])(u8 *, unsigned, u64) = {atomic_u8, atomic_u16, atomic_u32,
                                                          atomic_u64};
static u64 (*const cmpxchg_fns[4])(u8 *, u64, u64) = {cmpxchg_u8, cmpxchg_u16, cmpxchg_u32,
                                                      cmpxchg_u64};

struct update {
    const struct xop *x;
    bool exchange;
    u64 expected, v, old;
};

static void update(void *opaque, void *bytes)
{
    struct update *u = opaque;
    unsigned size = W_BYTES(u->x->w);
    u->old = load_le(bytes, size);
    u64 new = !u->exchange               ? combine(u->x->insns, u->old, u->v)
              : u->old == u->expected ? u->v
                                      : u->old;
    store_le(bytes, new & eval_mask(u->x->w), size);
}

static u64 locked_update(struct cpu *cpu, const struct xop *x, u64 la, bool exchange, u64 expected,
                         u64 v)
{
    struct update u = {.x = x, .exchange = exchange, .expected = expected, .v = v};
    check(cpu, x, mmu_update(&cpu->mmu, kind_of(cpu, x), la, W_BYTES(x->w), update, &u));
    return u.old;
}

/* insns: the AT_ operation. */
struct tblock *xop_atomic(struct cpu *cpu, u8 *f, const struct xop *x)
{
    u64 la = *slot(f, x->a), v = *slot(f, x->b), gpa = 0;
    u8 *host = atomic_host(cpu, x, la, &gpa);
    *slot(f, x->d) = host ? atomic_fns[x->w](host, x->insns, v)
                          : locked_update(cpu, x, la, false, 0, v);
    if (host)
        mmu_stored(&cpu->mmu, host, gpa, W_BYTES(x->w));
    return next_op(cpu, f, x);
}

struct tblock *xop_cmpxchg(struct cpu *cpu, u8 *f, const struct xop *x)
{
    u64 la = *slot(f, x->a), expected = *slot(f, x->b), v = *slot(f, x->c), gpa = 0;
    u8 *host = atomic_host(cpu, x, la, &gpa);
    *slot(f, x->d) = host ? cmpxchg_fns[x->w](host, expected, v)
                          : locked_update(cpu, x, la, true, expected, v);
    if (host)
        mmu_stored(&cpu->mmu, host, gpa, W_BYTES(x->w));
    return next_op(cpu, f, x);
}

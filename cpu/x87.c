/* x87 helpers: register stack, exceptions and operand rules around the host's arithmetic.
 *
 * Touches struct x87, and guest memory for the operands that come by address.  Environment images
 * and control instructions are in x87_env.c.
 *
 * An unmasked exception that is found before the operation (invalid, denormal, zero divide), and
 * for stores to memory also overflow and underflow, leaves stack and destination as they were
 * (SDM vol. 1, 8.4 and 8.7); ES and B are set and the next waiting instruction raises #MF.
 * FIP, FDP and FOP are recorded for every instruction that is not a control instruction.
 */
#include "cpu/x87.h"

#include "cpu/cpu.h"
#include "cpu/helpers.h"

static const struct fpreg indefinite = {.mant = 0xc000000000000000, .sexp = 0xffff};

static inline unsigned desc_i(u64 desc)
{
    return desc >> 8 & 7;
}

void x87_pending(struct cpu *cpu)
{
    /* Without CR0.NE the exception is the FERR# pin's: the processor waits for an interrupt, which
     * a PC sends as IRQ 13, and then begins the instruction again; with IGNNE# it goes on
     * (SDM vol. 1, D.2.1). */
    if (cpu->cr0 & CR0_NE)
        cpu_raise(cpu, EXC_MF);
    if (cpu->ignne || !cpu->irq || !cpu->irq->set_ferr)
        return;
    cpu->engine->sync(cpu);
    if (!cpu->ferr) {
        cpu->ferr = true;
        cpu->irq->set_ferr(cpu->irq_opaque, true);
    }
    cpu->halted = true;
    cpu->engine->unwind(cpu);
}

static inline struct fpreg *st(struct x87 *x, unsigned i)
{
    return &x->r[x87_phys(x, i)];
}

static inline bool empty(const struct x87 *x, unsigned i)
{
    return !(x->ftw >> x87_phys(x, i) & 1);
}

static inline void pop(struct x87 *x)
{
    x->ftw &= (u8)~BIT(x87_top(x));
    x87_set_top(x, x87_top(x) + 1);
}

/* Part by part: the host's x87 writes 8 and 2 bytes, and a copy of all 16 at once would have to
 * wait for both to reach the cache. */
static inline void copy(struct fpreg *to, const struct fpreg *from)
{
    u64 mant = from->mant;
    u16 sexp = from->sexp;
    to->mant = mant;
    to->sexp = sexp;
}

/* The register that the next push fills. */
static inline struct fpreg *next_top(struct x87 *x)
{
    return st(x, 7);
}

/* Pushes what is already in next_top. */
static inline void push_done(struct x87 *x)
{
    x87_set_top(x, x87_top(x) - 1);
    x->ftw |= (u8)BIT(x87_top(x));
}

static inline void push(struct x87 *x, const struct fpreg *v)
{
    copy(next_top(x), v);
    push_done(x);
}

/* Starts a waiting instruction: the pending check, then the pointers (SDM vol. 1, 8.1.8). */
static inline struct x87 *begin(struct cpu *cpu, u64 desc, u64 fdp, u64 fip)
{
    struct x87 *x = &cpu->x87;
    x87_wait(cpu);
    x->fip = fip;
    x->fop = desc >> X87_FOP_SHIFT & 0x7ff;
    x->fcs = cpu->seg[SEG_CS].selector;
    if (desc & X87_MEM) {
        x->fdp = fdp;
        x->fds = cpu->seg[desc >> X87_SEG_SHIFT & 7].selector;
    }
    return x;
}

/* Takes over exception flags and the condition codes in `cc` from a host status word. */
static inline void merge(struct x87 *x, u16 sw, u16 cc)
{
    x->fsw = (u16)((x->fsw & ~cc) | (sw & (FSW_EXC | cc)));
    x87_summary(x);
}

/* Whether the flags of sw include an unmasked one of `kinds`. */
static inline bool stopped(const struct x87 *x, u16 sw, u16 kinds)
{
    return unlikely(sw & ~x->fcw & kinds);
}

/* Stack fault; c1 tells overflow (SDM vol. 1, 8.5.1.1).  True when masked: the caller then stores
 * the indefinite. */
static bool stack_fault(struct x87 *x, bool overflow)
{
    x->fsw |= FSW_IE | FSW_SF;
    x->fsw = (u16)(overflow ? x->fsw | FSW_C1 : x->fsw & ~FSW_C1);
    x87_summary(x);
    return x->fcw & FSW_IE;
}

/* Room for a push; if there is none, pushes the indefinite where that is masked. */
static inline bool can_push(struct x87 *x)
{
    if (likely(empty(x, 7)))
        return true;
    if (stack_fault(x, true))
        push(x, &indefinite);
    return false;
}

/* ---- loads ---- */

static inline u64 load_done(struct x87 *x, u16 sw)
{
    /* An unmasked denormal does not keep the value from the stack, unlike an invalid one. */
    if (!stopped(x, sw, FSW_IE))
        push_done(x);
    merge(x, sw & (u16)~FSW_C1, FSW_C1);
    return 0;
}

u64 helper_x87_fld_s(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    if (!can_push(x))
        return 0;
    return load_done(x, X87_OPS->load_s(x->fcw, x->fsw, next_top(x), (u32)b));
}

u64 helper_x87_fld_d(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    if (!can_push(x))
        return 0;
    return load_done(x, X87_OPS->load_d(x->fcw, x->fsw, next_top(x), b));
}

/* Loads that raise nothing of their own. */
static u64 load_quiet(struct x87 *x, const struct fpreg *v)
{
    if (can_push(x)) {
        push(x, v);
        x->fsw &= (u16)~FSW_C1;
    }
    return 0;
}

u64 helper_x87_fld_t(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u8 image[10];
    x87_wait(cpu);
    cpu_check_alignment(cpu, b, 8);
    cpu_load_bytes(cpu, b, image, 10);
    struct fpreg v = {.mant = load_le(image, 8), .sexp = (u16)load_le(image + 8, 2)};
    return load_quiet(begin(cpu, a, c, d), &v);
}

u64 helper_x87_fbld(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u8 image[10];
    struct fpreg v = {0};
    x87_wait(cpu);
    cpu_check_alignment(cpu, b, 8);
    cpu_load_bytes(cpu, b, image, 10);
    X87_OPS->load_bcd(&v, image);
    return load_quiet(begin(cpu, a, c, d), &v);
}

u64 helper_x87_fld_i(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    struct fpreg v = {0};
    X87_OPS->load_i(&v, (s64)b);
    return load_quiet(x, &v);
}

u64 helper_x87_fld_const(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    struct fpreg v = {0};
    X87_OPS->load_const(x->fcw, a & 7, &v);
    return load_quiet(x, &v);
}

u64 helper_x87_fld_st(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    if (!empty(x, desc_i(a)))
        return load_quiet(x, st(x, desc_i(a)));
    if (stack_fault(x, false))
        push(x, &indefinite);
    return 0;
}

/* ---- arithmetic ---- */

static inline bool compares(unsigned op)
{
    return op == X87_COM || op == X87_COMP || op == X87_UCOM;
}

/* An operand is missing: comparisons are unordered, even unmasked; others give the indefinite. */
static void underflow(struct x87 *x, bool compare, unsigned dst, u64 desc)
{
    if (compare)
        x->fsw |= FSW_C0 | FSW_C2 | FSW_C3;
    if (!stack_fault(x, false))
        return;
    if (!compare) {
        *st(x, dst) = indefinite;
        x->ftw |= (u8)BIT(x87_phys(x, dst));
    }
    if (desc & (X87_POP | X87_POP2))
        pop(x);
    if (desc & X87_POP2)
        pop(x);
}

/* Flags, condition codes and pops after an operation that has left its result in place. */
static inline u64 arith_done(struct x87 *x, u16 sw, bool compare, u64 desc)
{
    bool stop = stopped(x, sw, FSW_BEFORE);
    merge(x, sw, compare ? FSW_CC : FSW_C1);
    if (!stop && (desc & (X87_POP | X87_POP2))) {
        pop(x);
        if (desc & X87_POP2)
            pop(x);
    }
    return 0;
}

u64 helper_x87_arith_s(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned op = a & 7;
    if (unlikely(empty(x, 0)))
        return underflow(x, compares(op), 0, a), 0;
    return arith_done(x, X87_OPS->arith_s(op, x->fcw, x->fsw, st(x, 0), (u32)b), compares(op), a);
}

u64 helper_x87_arith_d(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned op = a & 7;
    if (unlikely(empty(x, 0)))
        return underflow(x, compares(op), 0, a), 0;
    return arith_done(x, X87_OPS->arith_d(op, x->fcw, x->fsw, st(x, 0), b), compares(op), a);
}

u64 helper_x87_arith_i(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned op = a & 7;
    bool word = desc_i(a) != 0;
    if (unlikely(empty(x, 0)))
        return underflow(x, compares(op), 0, a), 0;
    return arith_done(x, X87_OPS->arith_i(op, x->fcw, x->fsw, st(x, 0), (s32)b, word),
                      compares(op), a);
}

u64 helper_x87_arith_st0(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned i = desc_i(a);
    if (unlikely(empty(x, 0) || empty(x, i)))
        return underflow(x, false, 0, a), 0;
    return arith_done(x, X87_OPS->arith(a & 7, x->fcw, x->fsw, st(x, 0), st(x, i)), false, a);
}

u64 helper_x87_arith_sti(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned i = desc_i(a);
    if (unlikely(empty(x, 0) || empty(x, i)))
        return underflow(x, false, i, a), 0;
    return arith_done(x, X87_OPS->arith(a & 7, x->fcw, x->fsw, st(x, i), st(x, 0)), false, a);
}

u64 helper_x87_fcom(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned i = desc_i(a);
    if (unlikely(empty(x, 0) || empty(x, i)))
        return underflow(x, true, 0, a), 0;
    u16 sw = X87_OPS->arith(a & 1 ? X87_UCOM : X87_COM, x->fcw, x->fsw, st(x, 0), st(x, i));
    return arith_done(x, sw, true, a);
}

u64 helper_x87_fcomi(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned i = desc_i(a);
    u32 flags = FL_ZF | FL_PF | FL_CF; /* set even where the exception is unmasked */
    bool stop;
    if (unlikely(empty(x, 0) || empty(x, i))) {
        stop = !stack_fault(x, false);
    } else {
        u16 sw = X87_OPS->comi(a & 1, x->fcw, x->fsw, st(x, 0), st(x, i), &flags);
        stop = stopped(x, sw, FSW_BEFORE);
        merge(x, sw, 0); /* C1 stays, as on AMD's processors */
    }
    if (!stop && (a & X87_POP))
        pop(x);
    return flags;
}

/* ---- moves between registers ---- */

u64 helper_x87_fcmov(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned i = desc_i(a);
    if (unlikely(empty(x, 0) || empty(x, i)))
        return underflow(x, false, 0, a), 0;
    if (b)
        copy(st(x, 0), st(x, i));
    return 0;
}

u64 helper_x87_fxch(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned i = desc_i(a);
    if (unlikely(empty(x, 0) || empty(x, i))) {
        if (!stack_fault(x, false))
            return 0;
        for (unsigned k = 0; k <= 1; k++) {
            unsigned n = k ? i : 0;
            if (empty(x, n)) {
                *st(x, n) = indefinite;
                x->ftw |= (u8)BIT(x87_phys(x, n));
            }
        }
    } else {
        x->fsw &= (u16)~FSW_C1;
    }
    struct fpreg t;
    copy(&t, st(x, 0));
    copy(st(x, 0), st(x, i));
    copy(st(x, i), &t);
    return 0;
}

u64 helper_x87_fst_st(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned i = desc_i(a);
    const struct fpreg *v = st(x, 0);
    if (unlikely(empty(x, 0)) && (a & 1)) {
        /* FSTPNCE of an empty register raises nothing and stores nothing. */
        x->fsw &= (u16)~FSW_C1;
        pop(x);
        return 0;
    }
    if (unlikely(empty(x, 0))) {
        if (!stack_fault(x, false))
            return 0;
        v = &indefinite;
    } else {
        x->fsw &= (u16)~FSW_C1;
    }
    copy(st(x, i), v);
    x->ftw |= (u8)BIT(x87_phys(x, i));
    if (a & X87_POP)
        pop(x);
    return 0;
}

/* ---- stores to memory ---- */

static unsigned kind_size(unsigned kind)
{
    static const u8 size[] = {
        [X87_M32] = 4, [X87_M64] = 8, [X87_M80] = 10, [X87_I16] = 2, [X87_I32] = 4,
        [X87_I64] = 8, [X87_T16] = 2, [X87_T32] = 4, [X87_T64] = 8, [X87_BCD] = 10,
    };
    return kind < ARRAY_SIZE(size) ? size[kind] : 10;
}

/* What a masked invalid operation stores: quiet NaN, integer or BCD indefinite. */
static void store_indefinite(unsigned kind, u8 out[10])
{
    switch (kind) {
    case X87_M32: store_le(out, 0xffc00000u, 4); break;
    case X87_M64: store_le(out, 0xfff8000000000000, 8); break;
    case X87_M80:
        store_le(out, indefinite.mant, 8);
        store_le(out + 8, indefinite.sexp, 2);
        break;
    case X87_BCD:
        store_le(out, 0xc000000000000000, 8);
        store_le(out + 8, 0xffff, 2);
        break;
    default: store_le(out, 1ull << (kind_size(kind) * 8 - 1), kind_size(kind)); break;
    }
}

u64 helper_x87_fst(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = &cpu->x87;
    unsigned kind = a & 0xff, size = kind_size(kind);
    u8 image[10];
    u16 sw;
    bool stop;
    x87_wait(cpu);
    if (unlikely(empty(x, 0))) {
        store_indefinite(kind, image);
        sw = FSW_IE | FSW_SF;
        stop = !(x->fcw & FSW_IE);
    } else {
        sw = X87_OPS->store(kind, x->fcw, x->fsw, st(x, 0), image);
        stop = stopped(x, sw, FSW_IE | FSW_OE | FSW_UE);
    }
    /* The store comes before any change of state, so that a fault finds the x87 as it was.  Where
     * there is none because the exception is unmasked, processors still check the address. */
    cpu_check_alignment(cpu, b, size < 8 ? size : 8);
    if (stop) {
        enum mmu_status status = mmu_probe(&cpu->mmu, cpu->mmu.kind, b, size, MMU_WRITE);
        if (status != MMU_OK)
            cpu_raise_mmu(cpu, status, false);
    } else {
        if (likely(size == 8))
            cpu_store(cpu, b, 8, load_le(image, 8));
        else if (size == 4)
            cpu_store(cpu, b, 4, load_le(image, 4));
        else
            cpu_store_bytes(cpu, b, image, size);
    }
    begin(cpu, a, c, d);
    x->fsw |= sw & FSW_SF;
    merge(x, sw, FSW_C1);
    if (!stop && (a & X87_POP))
        pop(x);
    return 0;
}

/* ---- functions of ST(0) and ST(1) ---- */

static bool needs_st1(unsigned op)
{
    switch (op) {
    case X87_YL2X:
    case X87_YL2XP1:
    case X87_PATAN:
    case X87_PREM:
    case X87_PREM1:
    case X87_SCALE: return true;
    default: return false;
    }
}

static bool pushes(unsigned op)
{
    return op == X87_PTAN || op == X87_SINCOS || op == X87_XTRACT;
}

static u16 codes_of(unsigned op)
{
    switch (op) {
    case X87_TST:
    case X87_XAM:
    case X87_PREM:
    case X87_PREM1: return FSW_CC;
    case X87_PTAN:
    case X87_SIN:
    case X87_COS:
    case X87_SINCOS: return FSW_C1 | FSW_C2;
    default: return FSW_C1;
    }
}

/* Operand missing: the results are indefinite, the stack moves as it would have. */
static void unary_underflow(struct x87 *x, unsigned op)
{
    bool pops = op == X87_YL2X || op == X87_YL2XP1 || op == X87_PATAN;
    if (op == X87_TST) {
        underflow(x, true, 0, 0);
        return;
    }
    if (codes_of(op) & FSW_C2)
        x->fsw &= (u16)~FSW_C2;
    if (!stack_fault(x, false))
        return;
    if (pops)
        pop(x);
    *st(x, 0) = indefinite;
    x->ftw |= (u8)BIT(x87_phys(x, 0));
    if (pushes(op))
        push(x, &indefinite);
}

/* Two results where ST(7) is in use. */
static void unary_overflow(struct x87 *x, unsigned op)
{
    if (op != X87_XTRACT)
        x->fsw &= (u16)~FSW_C2;
    if (!stack_fault(x, true))
        return;
    *st(x, 0) = indefinite;
    push(x, &indefinite);
}

static bool is_nan(const struct fpreg *r)
{
    return (r->sexp & 0x7fff) == 0x7fff && r->mant << 1 != 0;
}

u64 helper_x87_unary(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = begin(cpu, a, c, d);
    unsigned op = a & 0xff;
    if (op == X87_XAM && empty(x, 0)) { /* empty is one of its answers */
        u16 sign = st(x, 0)->sexp >> 15 ? FSW_C1 : 0;
        x->fsw = (u16)((x->fsw & ~FSW_CC) | FSW_C3 | FSW_C0 | sign);
        return 0;
    }
    if (unlikely(empty(x, 0) || (needs_st1(op) && empty(x, 1))))
        return unary_underflow(x, op), 0;
    if (unlikely(pushes(op) && !empty(x, 7)))
        return unary_overflow(x, op), 0;
    if (op == X87_CHS || op == X87_ABS) { /* the sign alone, whatever the value */
        u16 *sexp = &st(x, 0)->sexp;
        *sexp = op == X87_CHS ? *sexp ^ 0x8000 : *sexp & 0x7fff;
        x->fsw &= (u16)~FSW_C1;
        return 0;
    }
    struct fpreg v[2];
    copy(&v[0], st(x, 0));
    copy(&v[1], st(x, 1));
    u16 sw = X87_OPS->unary(op, x->fcw, x->fsw, v);
    bool stop = stopped(x, sw, FSW_BEFORE);
    u16 codes = codes_of(op);
    /* A remainder that is not a number has no quotient bits: C0 and C3 stay. */
    if ((op == X87_PREM || op == X87_PREM1) && (stop || is_nan(&v[0]))) {
        codes = FSW_C1 | FSW_C2;
        sw &= (u16)~codes;
    }
    merge(x, sw, codes);
    if (stop || op == X87_TST || op == X87_XAM)
        return 0;
    if (pushes(op)) {
        if ((codes_of(op) & FSW_C2) && (sw & FSW_C2))
            return 0; /* out of range: nothing was done */
        copy(st(x, 0), &v[1]);
        push(x, &v[0]);
    } else if (op == X87_YL2X || op == X87_YL2XP1 || op == X87_PATAN) {
        pop(x);
        copy(st(x, 0), &v[0]);
    } else {
        copy(st(x, 0), &v[0]);
    }
    return 0;
}

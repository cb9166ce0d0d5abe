/* The portable engine's ops that touch no guest memory: pure ones, expanded per width from the
 * evaluator in ir_eval.h, guest state, helpers, exits.
 */
#include "translator/interp.h"

/* ---- pure ops ---- */

#define PURE(op, W)                                                                              \
    static struct tblock *op##_w##W(struct cpu *cpu, u8 *f, const struct xop *x)                 \
    {                                                                                            \
        *slot(f, x->d) = eval_op(IR_##op, W, x->aux, x->imm, *slot(f, x->a), *slot(f, x->b),     \
                                 *slot(f, x->c), *slot(f, x->e));                                \
        return next_op(cpu, f, x);                                                               \
    }
#define PURE_IMM(op, W)                                                                          \
    static struct tblock *op##_imm_w##W(struct cpu *cpu, u8 *f, const struct xop *x)             \
    {                                                                                            \
        *slot(f, x->d) =                                                                         \
            eval_op(IR_##op, W, x->aux, 0, *slot(f, x->a), x->imm, *slot(f, x->c), 0);           \
        return next_op(cpu, f, x);                                                               \
    }
#define ALL_WIDTHS(M, op) M(op, 0) M(op, 1) M(op, 2) M(op, 3)
#define EXPAND_PURE(op) ALL_WIDTHS(PURE, op)
#define EXPAND_IMM(op) ALL_WIDTHS(PURE_IMM, op)
#define ROW_PURE(op) [IR_##op] = {op##_w0, op##_w1, op##_w2, op##_w3},
#define ROW_IMM(op) [IR_##op] = {op##_imm_w0, op##_imm_w1, op##_imm_w2, op##_imm_w3},

#define PURE_OPS(X)                                                                            \
    X(pc) X(const) X(sext) X(trunc) X(deposit) X(add) X(sub) X(adc) X(sbb) X(and) X(or) X(xor)  \
    X(not) X(neg) X(mul) X(mulhu) X(mulhs) X(remu) X(rems) X(shl) X(shr) X(sar) X(rol) X(ror)   \
    X(rcl) X(rcr) X(shld) X(shrd) X(bswap) X(clz) X(ctz) X(popcnt) X(pdep) X(pext) X(crc32c)   \
    X(select) X(selectf) X(fadd) X(fsub) X(fadc) X(fsbb) X(flogic) X(finc) X(fdec) X(fshl)     \
    X(fshr) X(fsar) X(frol) X(fror) X(frcl) X(frcr) X(fshld) X(fshrd) X(fmulu) X(fmuls) X(fbit) \
    X(fbits) X(bitsf)
/* Those that a constant second operand is worth a form of its own. */
#define IMM_OPS(X)                                                                             \
    X(add) X(sub) X(adc) X(sbb) X(and) X(or) X(xor) X(mul) X(shl) X(shr) X(sar) X(rol) X(ror)   \
    X(fadd) X(fsub) X(fshl) X(fshr) X(fsar) X(frol) X(fror)

PURE_OPS(EXPAND_PURE)
IMM_OPS(EXPAND_IMM)

xop_fn *const xop_pure[IR_OP_COUNT][4] = {PURE_OPS(ROW_PURE)};
xop_fn *const xop_pure_imm[IR_OP_COUNT][4] = {IMM_OPS(ROW_IMM)};

/* Conditions each get their own function: the evaluator's switch is resolved here. */
#define SETCC(CC)                                                                                \
    static struct tblock *setcc_##CC(struct cpu *cpu, u8 *f, const struct xop *x)                \
    {                                                                                            \
        *slot(f, x->d) = eval_cc(CC, *slot(f, x->a));                                            \
        return next_op(cpu, f, x);                                                               \
    }
SETCC(0) SETCC(1) SETCC(2) SETCC(3) SETCC(4) SETCC(5) SETCC(6) SETCC(7)
SETCC(8) SETCC(9) SETCC(10) SETCC(11) SETCC(12) SETCC(13) SETCC(14) SETCC(15)
xop_fn *const xop_setcc[16] = {setcc_0,  setcc_1,  setcc_2,  setcc_3,  setcc_4,  setcc_5,
                               setcc_6,  setcc_7,  setcc_8,  setcc_9,  setcc_10, setcc_11,
                               setcc_12, setcc_13, setcc_14, setcc_15};

EVAL bool relation(unsigned rel, unsigned w, u64 a, u64 b)
{
    switch (rel) {
    case XR_EQ:
        return a == b;
    case XR_NE:
        return a != b;
    case XR_LTU:
        return a < b;
    case XR_LEU:
        return a <= b;
    case XR_GTU:
        return a > b;
    case XR_GEU:
        return a >= b;
    case XR_LTS:
        return eval_signed(w, a) < eval_signed(w, b);
    case XR_LES:
        return eval_signed(w, a) <= eval_signed(w, b);
    case XR_GTS:
        return eval_signed(w, a) > eval_signed(w, b);
    default:
        return eval_signed(w, a) >= eval_signed(w, b);
    }
}

/* The exit that follows a fused comparison, or what comes after it and its link entry. */
static inline struct tblock *leave_if(struct cpu *cpu, u8 *f, const struct xop *x, bool leave)
{
    if (leave)
        return x[1].fn(cpu, f, x + 1);
    return x[3].fn(cpu, f, x + 3);
}

#define COMPARE(REL, W)                                                                          \
    static struct tblock *cmp_##REL##_##W(struct cpu *cpu, u8 *f, const struct xop *x)           \
    {                                                                                            \
        *slot(f, x->d) = relation(XR_##REL, W, *slot(f, x->a), *slot(f, x->b));                  \
        return next_op(cpu, f, x);                                                               \
    }                                                                                            \
    static struct tblock *cmp_##REL##_imm_##W(struct cpu *cpu, u8 *f, const struct xop *x)       \
    {                                                                                            \
        *slot(f, x->d) = relation(XR_##REL, W, *slot(f, x->a), x->imm);                          \
        return next_op(cpu, f, x);                                                               \
    }                                                                                            \
    static struct tblock *exit_##REL##_##W(struct cpu *cpu, u8 *f, const struct xop *x)          \
    {                                                                                            \
        return leave_if(cpu, f, x, relation(XR_##REL, W, *slot(f, x->a), *slot(f, x->b)));       \
    }                                                                                            \
    static struct tblock *exit_##REL##_imm_##W(struct cpu *cpu, u8 *f, const struct xop *x)      \
    {                                                                                            \
        return leave_if(cpu, f, x, relation(XR_##REL, W, *slot(f, x->a), x->imm));               \
    }
#define EXPAND_COMPARE(REL) ALL_WIDTHS(COMPARE, REL)
#define RELATIONS(X) X(EQ) X(NE) X(LTU) X(LEU) X(GTU) X(GEU) X(LTS) X(LES) X(GTS) X(GES)
RELATIONS(EXPAND_COMPARE)

#define ROW_COMPARE(REL)                                                                        \
    [XR_##REL] = {{cmp_##REL##_0, cmp_##REL##_imm_0}, {cmp_##REL##_1, cmp_##REL##_imm_1},        \
                  {cmp_##REL##_2, cmp_##REL##_imm_2}, {cmp_##REL##_3, cmp_##REL##_imm_3}},
#define ROW_EXIT(REL)                                                                           \
    [XR_##REL] = {{exit_##REL##_0, exit_##REL##_imm_0}, {exit_##REL##_1, exit_##REL##_imm_1},    \
                  {exit_##REL##_2, exit_##REL##_imm_2}, {exit_##REL##_3, exit_##REL##_imm_3}},
xop_fn *const xop_compare[XR_COUNT][4][2] = {RELATIONS(ROW_COMPARE)};
xop_fn *const xop_exit_compare[XR_COUNT][4][2] = {RELATIONS(ROW_EXIT)};

struct tblock *xop_exit_if(struct cpu *cpu, u8 *f, const struct xop *x)
{
    return leave_if(cpu, f, x, *slot(f, x->a));
}

/* ---- guest state ---- */

struct tblock *xop_get(struct cpu *cpu, u8 *f, const struct xop *x)
{
    *slot(f, x->d) = cpu->gpr[x->aux];
    return next_op(cpu, f, x);
}

/* A register of which only the low part is wanted; imm is the mask. */
struct tblock *xop_get_trunc(struct cpu *cpu, u8 *f, const struct xop *x)
{
    *slot(f, x->d) = cpu->gpr[x->aux] & x->imm;
    return next_op(cpu, f, x);
}

struct tblock *xop_put(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu->gpr[x->aux] = *slot(f, x->a);
    return next_op(cpu, f, x);
}

struct tblock *xop_put_imm(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu->gpr[x->aux] = x->imm;
    return next_op(cpu, f, x);
}

struct tblock *xop_getf(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu_flags(cpu);
    *slot(f, x->d) = cpu->eflags & FL_ARITH;
    return next_op(cpu, f, x);
}

struct tblock *xop_putf(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu->eflags = (cpu->eflags & ~(u64)FL_ARITH) | *slot(f, x->a);
    cpu->lazy_kind = LAZY_NONE;
    return next_op(cpu, f, x);
}

/* aux: the lazy record's kind and width. */
struct tblock *xop_putf_lazy(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu->lazy_kind = x->aux;
    cpu->lazy_a = *slot(f, x->a);
    cpu->lazy_b = *slot(f, x->b);
    return next_op(cpu, f, x);
}

/* imm: which 128 bits. */
struct tblock *xop_getv(struct cpu *cpu, u8 *f, const struct xop *x)
{
    memcpy(vslot(f, x->d), cpu->xmm[x->aux].b + 16 * x->imm, 16);
    return next_op(cpu, f, x);
}

struct tblock *xop_putv(struct cpu *cpu, u8 *f, const struct xop *x)
{
    memcpy(cpu->xmm[x->aux].b + 16 * x->imm, vslot(f, x->a), 16);
    return next_op(cpu, f, x);
}

/* ---- vectors ---- */

struct tblock *xop_vector(struct cpu *cpu, u8 *f, const struct xop *x)
{
    const struct ir_insn *in = (const struct ir_insn *)(uintptr_t)x->imm;
    const union ir_value *args[4] = {vslot(f, x->a), vslot(f, x->b), vslot(f, x->c),
                                     vslot(f, x->e)};
    ir_eval_vec(cpu, in, args, vslot(f, x->d));
    return next_op(cpu, f, x);
}

struct tblock *xop_vfromi(struct cpu *cpu, u8 *f, const struct xop *x)
{
    union ir_value *v = vslot(f, x->d);
    v->q[0] = *slot(f, x->a);
    v->q[1] = 0;
    return next_op(cpu, f, x);
}

/* imm: the mask. */
struct tblock *xop_ifromv(struct cpu *cpu, u8 *f, const struct xop *x)
{
    *slot(f, x->d) = vslot(f, x->a)->q[0] & x->imm;
    return next_op(cpu, f, x);
}

/* ---- what may raise ---- */

static struct tblock *raise_at(struct cpu *cpu, const struct xop *x, int vector)
{
    vcpu_of(cpu)->at = x;
    cpu_raise(cpu, vector);
}

struct tblock *xop_divu(struct cpu *cpu, u8 *f, const struct xop *x)
{
    struct eval_quotient q =
        eval_divu(x->w, *slot(f, x->a), *slot(f, x->b), *slot(f, x->c));
    if (unlikely(q.fault))
        return raise_at(cpu, x, EXC_DE);
    *slot(f, x->d) = q.q;
    return next_op(cpu, f, x);
}

struct tblock *xop_divs(struct cpu *cpu, u8 *f, const struct xop *x)
{
    struct eval_quotient q =
        eval_divs(x->w, *slot(f, x->a), *slot(f, x->b), *slot(f, x->c));
    if (unlikely(q.fault))
        return raise_at(cpu, x, EXC_DE);
    *slot(f, x->d) = q.q;
    return next_op(cpu, f, x);
}

struct tblock *xop_raise(struct cpu *cpu, u8 *f, const struct xop *x)
{
    vcpu_of(cpu)->at = x;
    if (x->imm >> 32)
        cpu_raise_error(cpu, x->aux, (u32)x->imm);
    cpu_raise(cpu, x->aux);
}

/* imm: the helper; aux: whether it reads or writes the flags in eflags. */
struct tblock *xop_call(struct cpu *cpu, u8 *f, const struct xop *x)
{
    typedef u64 helper_fn(struct cpu *, u64, u64, u64, u64);
    vcpu_of(cpu)->at = x;
    if (x->aux)
        cpu_flags(cpu);
    u64 r = ((helper_fn *)(uintptr_t)x->imm)(cpu, *slot(f, x->a), *slot(f, x->b), *slot(f, x->c),
                                             *slot(f, x->e));
    *slot(f, x->d) = r;
    return next_op(cpu, f, x);
}

struct tblock *xop_fence(struct cpu *cpu, u8 *f, const struct xop *x)
{
    atomic_thread_fence(memory_order_seq_cst);
    return next_op(cpu, f, x);
}

/* ---- exits ---- */

static inline struct tblock *follow(struct cpu *cpu, const struct xop *x)
{
    struct xop *link = (struct xop *)&x[1];
    struct tblock *to = __atomic_load_n(&link->link, __ATOMIC_RELAXED);
    u64 serial = __atomic_load_n(&link->imm, __ATOMIC_RELAXED);
    if (likely(to && __atomic_load_n(&to->serial, __ATOMIC_RELAXED) == serial))
        return to;
    return interp_link(cpu, link);
}

struct tblock *xop_exit(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu->rip = x->imm;
    vcpu_of(cpu)->insns += x->insns;
    if (unlikely(atomic_load_explicit(&cpu->requests, memory_order_relaxed)))
        return NULL;
    return follow(cpu, x);
}

/* To a forward successor that overwrites the flags unseen: an interrupt taken here would show
 * what was not stored, so it waits for the next exit. */
struct tblock *xop_exit_quiet(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu->rip = x->imm;
    vcpu_of(cpu)->insns += x->insns;
    return follow(cpu, x);
}

/* From a block of HF_ONE or HF_TF. */
struct tblock *xop_exit_once(struct cpu *cpu, u8 *f, const struct xop *x)
{
    cpu->rip = x->imm;
    vcpu_of(cpu)->insns += x->insns;
    return NULL;
}

static void leave_to(struct cpu *cpu, u64 rip, const struct xop *x)
{
    cpu->rip = rip;
    if (unlikely(sign_extend(rip, 48) != (s64)rip)) {
        vcpu_of(cpu)->at = x;
        front_check_branch(cpu, x->aux, x->imm);
    }
    vcpu_of(cpu)->insns += x->insns;
}

struct tblock *xop_exit_ind(struct cpu *cpu, u8 *f, const struct xop *x)
{
    leave_to(cpu, *slot(f, x->a), x);
    if (unlikely(atomic_load_explicit(&cpu->requests, memory_order_relaxed)))
        return NULL;
    return interp_continue(cpu);
}

struct tblock *xop_exit_ind_once(struct cpu *cpu, u8 *f, const struct xop *x)
{
    leave_to(cpu, *slot(f, x->a), x);
    return NULL;
}

struct tblock *xop_exit_lookup(struct cpu *cpu, u8 *f, const struct xop *x)
{
    vcpu_of(cpu)->insns += x->insns;
    return cpu_needs_service(cpu) ? NULL : interp_continue(cpu);
}

struct tblock *xop_exit_lookup_once(struct cpu *cpu, u8 *f, const struct xop *x)
{
    vcpu_of(cpu)->insns += x->insns;
    return NULL;
}

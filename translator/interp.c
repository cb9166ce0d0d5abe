/* Compacts optimised IR to the portable engine's threaded ops.
 *
 * First backwards, to find which values must be computed: what a fused form takes from further up
 * (a comparison's operands, an address's parts) needs no value of its own.  Then forwards, one
 * small function per class of ops.  Values live to the end of the block, so fusing is always safe.
 */
#include "translator/interp.h"

#include "cpu/helpers.h"

struct compact {
    struct vcpu *v;
    const struct ir *ir;
    struct xop *out;
    struct xmark *mark;
    struct ir_insn *vec;
    struct xcompact n;
    bool once;             /* a block of HF_ONE or HF_TF: goes back to the run loop */
    bool need[IR_MAX];     /* the value must be in its slot */
    ir_ref low_part[IR_MAX]; /* for a get: the only trunc that takes it */
};

/* x86 comparison on the operands of a subtraction. */
struct comparison {
    enum xrel rel;
    unsigned w;
    ir_ref a, b; /* b is 0: imm instead */
    u64 imm;
};

static const struct ir_insn *def(const struct compact *c, ir_ref r)
{
    return &c->ir->insns[r];
}

/* Values are zero-extended in their slots, so that zext is another name of its operand. */
static ir_ref resolve(const struct compact *c, ir_ref r)
{
    while (def(c, r)->op == IR_zext)
        r = def(c, r)->arg[0];
    return r;
}

static bool constant(const struct compact *c, ir_ref r, u64 *v)
{
    const struct ir_insn *d = def(c, resolve(c, r));
    *v = d->imm;
    return ir_is_const(d);
}

static u16 offset_of(const struct compact *c, ir_ref r)
{
    return (u16)(resolve(c, r) * sizeof(union ir_value));
}

/* ---- patterns ---- */

static void compare_with(const struct compact *c, struct comparison *k, enum xrel rel, unsigned w,
                         ir_ref a, ir_ref b)
{
    *k = (struct comparison){rel, w, a, b, 0};
    if (constant(c, b, &k->imm))
        k->b = 0;
}

/* Condition cc of the flags of a - b. */
static bool compare_sub(const struct compact *c, struct comparison *k, const struct ir_insn *f,
                        unsigned cc)
{
    static const s8 rel[16] = {-1,    -1,    XR_LTU, XR_GEU, XR_EQ,  XR_NE,  XR_LEU, XR_GTU,
                               -1,    -1,    -1,     -1,     XR_LTS, XR_GES, XR_LES, XR_GTS};
    if (rel[cc] < 0)
        return false;
    compare_with(c, k, (enum xrel)rel[cc], f->w, f->arg[0], f->arg[1]);
    return true;
}

/* Condition cc of the flags of a logical result: it compares with zero. */
static bool compare_logic(struct comparison *k, const struct ir_insn *f, unsigned cc)
{
    static const s8 rel[16] = {-1,     -1,     -1, -1, XR_EQ,  XR_NE,  XR_EQ,  XR_NE,
                               XR_LTS, XR_GES, -1, -1, XR_LTS, XR_GES, XR_LES, XR_GTS};
    if (rel[cc] < 0)
        return false;
    *k = (struct comparison){(enum xrel)rel[cc], f->w, f->arg[0], 0, 0};
    return true;
}

/* Whether the boolean r is a comparison of integers. */
static bool as_comparison(const struct compact *c, ir_ref r, struct comparison *k)
{
    static const u8 of_ic[] = {XR_EQ, XR_NE, XR_LTU, XR_LEU, XR_LTS, XR_LES};
    const struct ir_insn *d = def(c, resolve(c, r));
    if (d->op == IR_icmp) {
        compare_with(c, k, of_ic[d->aux], d->w, d->arg[0], d->arg[1]);
        return true;
    }
    if (d->op != IR_setcc)
        return false;
    const struct ir_insn *f = def(c, d->arg[0]);
    bool zero = d->aux == 4 || d->aux == 5;
    switch (f->op) {
    case IR_fsub:
        return compare_sub(c, k, f, d->aux);
    case IR_flogic:
        return compare_logic(k, f, d->aux);
    case IR_finc:
    case IR_fdec:
        *k = (struct comparison){d->aux == 4 ? XR_EQ : XR_NE, f->w, f->arg[0], 0,
                                 f->op == IR_finc ? eval_mask(f->w) : 1};
        return zero;
    default:
        return false;
    }
}

/* What cpu->lazy_kind can express; 0 when nothing. */
static unsigned lazy_kind(const struct ir_insn *f)
{
    switch (f->op) {
    case IR_fadd:
        return LAZY_ADD | f->w;
    case IR_fsub:
        return LAZY_SUB | f->w;
    case IR_flogic:
        return LAZY_LOGIC | f->w;
    default:
        return 0;
    }
}

/* An address as base plus constant. */
static ir_ref address(const struct compact *c, ir_ref r, u64 *disp)
{
    const struct ir_insn *d = def(c, resolve(c, r));
    u64 v;
    *disp = 0;
    if (d->w == W64 && (d->op == IR_add || d->op == IR_sub) && constant(c, d->arg[1], &v)) {
        *disp = d->op == IR_add ? v : -v;
        return d->arg[0];
    }
    return r;
}

static bool takes_imm(const struct compact *c, const struct ir_insn *in, u64 *v)
{
    if (in->op == IR_put)
        return constant(c, in->arg[0], v);
    return in->w <= W64 && xop_pure_imm[in->op][in->w] && constant(c, in->arg[1], v);
}

/* ---- which values are needed ---- */

static void want(struct compact *c, ir_ref r)
{
    c->need[resolve(c, r)] = true;
}

static void want_comparison(struct compact *c, const struct comparison *k)
{
    want(c, k->a);
    if (k->b)
        want(c, k->b);
}

static void want_operands(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    struct comparison k;
    u64 v;
    unsigned n = ir_args(in);
    switch (in->op) {
    case IR_setcc:
    case IR_icmp:
        if (as_comparison(c, (ir_ref)i, &k)) {
            want_comparison(c, &k);
            return;
        }
        break;
    case IR_exit_if:
        if (as_comparison(c, in->arg[0], &k)) {
            want_comparison(c, &k);
            return;
        }
        break;
    case IR_putf: {
        const struct ir_insn *f = def(c, in->arg[0]);
        if (!lazy_kind(f))
            break;
        want(c, f->arg[0]);
        if (f->arg[1])
            want(c, f->arg[1]);
        return;
    }
    case IR_ld:
    case IR_st:
    case IR_vld:
    case IR_vst:
    case IR_vst2:
        want(c, address(c, in->arg[0], &v));
        for (unsigned a = 1; a < n; a++)
            want(c, in->arg[a]);
        return;
    default:
        break;
    }
    bool imm = takes_imm(c, in, &v);
    unsigned skip = !imm ? 4 : in->op == IR_put ? 0 : 1;
    for (unsigned a = 0; a < n; a++)
        if (a != skip && in->arg[a])
            want(c, in->arg[a]);
}

static bool must_emit(const struct compact *c, unsigned i)
{
    u32 reads = E_RGPR | E_RFL | E_RVEC | E_RENV;
    return c->need[i] || (ir_effects(&c->ir->insns[i]) & ~reads);
}

static void find_needs(struct compact *c)
{
    unsigned count = c->ir->count;
    memset(c->need, 0, count * sizeof c->need[0]);
    memset(c->low_part, 0, count * sizeof c->low_part[0]);
    for (unsigned i = count; --i > 0;) {
        const struct ir_insn *in = &c->ir->insns[i];
        if (in->op == IR_zext || !must_emit(c, i))
            continue;
        want_operands(c, i);
        const struct ir_insn *a = def(c, in->arg[0]);
        if (in->op == IR_trunc && in->imm == 0 && a->op == IR_get && a->uses == 1)
            c->low_part[in->arg[0]] = (ir_ref)i;
    }
}

/* ---- emission ---- */

static struct xop *emit(struct compact *c, xop_fn *fn, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    struct xop *x = &c->out[c->n.ops++];
    *x = (struct xop){.fn = fn, .imm = in->imm, .aux = in->aux, .w = in->w};
    x->d = (u16)(i * sizeof(union ir_value));
    u16 *args[4] = {&x->a, &x->b, &x->c, &x->e};
    for (unsigned k = 0; k < 4; k++)
        *args[k] = offset_of(c, in->arg[k]);
    return x;
}

static void emit_link(struct compact *c)
{
    c->out[c->n.ops++] = (struct xop){0};
}

static void emit_comparison(struct compact *c, unsigned i, const struct comparison *k,
                            xop_fn *const table[XR_COUNT][4][2])
{
    struct xop *x = emit(c, table[k->rel][k->w][!k->b], i);
    x->a = offset_of(c, k->a);
    x->b = offset_of(c, k->b);
    x->imm = k->imm;
}

static void emit_pure(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    struct comparison k;
    u64 v;
    if ((in->op == IR_setcc || in->op == IR_icmp) && as_comparison(c, (ir_ref)i, &k)) {
        emit_comparison(c, i, &k, xop_compare);
        return;
    }
    if (in->op == IR_setcc) {
        emit(c, xop_setcc[in->aux], i);
        return;
    }
    /* Booleans select at any width. */
    if (takes_imm(c, in, &v)) {
        emit(c, xop_pure_imm[in->op][in->w], i)->imm = v;
        return;
    }
    emit(c, xop_pure[in->op][in->w & 3], i);
}

static void emit_get(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    ir_ref low = c->low_part[i];
    struct xop *x = emit(c, low ? xop_get_trunc : xop_get, i);
    if (low) {
        x->d = (u16)(low * sizeof(union ir_value));
        x->imm = eval_mask(c->ir->insns[low].w);
    }
    x->aux = in->aux;
}

static void emit_putf(struct compact *c, unsigned i)
{
    const struct ir_insn *f = def(c, c->ir->insns[i].arg[0]);
    unsigned kind = lazy_kind(f);
    struct xop *x = emit(c, kind ? xop_putf_lazy : xop_putf, i);
    if (kind) {
        x->aux = (u8)kind;
        x->a = offset_of(c, f->arg[0]);
        x->b = offset_of(c, f->arg[1] ? f->arg[1] : f->arg[0]);
    }
}

static void emit_memory(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    bool align = c->ir->hflags & HF_ALIGN, slow = align || (in->aux & MF_SYSTEM);
    xop_fn *fn;
    u64 disp = 0;
    ir_ref base = in->arg[0];
    switch (in->op) {
    case IR_ld:
        fn = slow || (in->aux & MF_ALIGN16) ? xop_ld_slow : xop_ld[in->w];
        break;
    case IR_st:
        fn = slow || (in->aux & MF_ALIGN16) ? xop_st_slow : xop_st[in->w];
        break;
    case IR_vld:
        fn = xop_vld;
        break;
    case IR_vst:
        fn = xop_vst;
        break;
    case IR_vst2:
        fn = xop_vst2;
        break;
    default:
        fn = in->op == IR_atomic ? xop_atomic : xop_cmpxchg;
        break;
    }
    if (in->op != IR_atomic && in->op != IR_cmpxchg)
        base = address(c, in->arg[0], &disp);
    struct xop *x = emit(c, fn, i);
    x->a = offset_of(c, base);
    x->imm = disp;
    x->insns = in->aux; /* an atomic's operation */
    x->aux = (u8)((in->op == IR_atomic || in->op == IR_cmpxchg ? in->imm : in->aux) |
                  (align ? XM_ALIGN : 0));
}

static void emit_call(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    u32 e = ir_helper_effects((unsigned)in->imm);
    struct xop *x = emit(c, xop_call, i);
    x->imm = (u64)(uintptr_t)helpers[in->imm].fn;
    x->aux = (e & (HE_RFL | HE_WFL)) != 0;
}

static void emit_exit(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    xop_fn *fn = c->once ? xop_exit_once : in->aux == XF_DEAD ? xop_exit_quiet : xop_exit;
    struct xop *x = emit(c, fn, i);
    x->insns = c->n.marks - (in->op == IR_exit_if && in->w == EXIT_AGAIN);
    x->imm = in->imm;
    /* Only within the page that the block was found on is a link as good as a lookup. */
    u64 from = c->ir->rip + c->ir->cs_base, to = in->imm + c->ir->cs_base;
    bool crosses = ((from + c->ir->guest_bytes - 1) ^ from) & PAGE_MASK;
    emit_link(c);
    c->out[c->n.ops - 1].aux = !((from ^ to) & PAGE_MASK) && !crosses;
}

static void emit_exit_if(struct compact *c, unsigned i)
{
    struct comparison k;
    if (as_comparison(c, c->ir->insns[i].arg[0], &k))
        emit_comparison(c, i, &k, xop_exit_compare);
    else
        emit(c, xop_exit_if, i);
    emit_exit(c, i);
}

static void emit_end(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    switch (in->op) {
    case IR_exit:
        emit_exit(c, i);
        return;
    case IR_exit_ind:
        emit(c, c->once ? xop_exit_ind_once : xop_exit_ind, i)->insns = c->n.marks;
        return;
    case IR_exit_lookup:
        emit(c, c->once ? xop_exit_lookup_once : xop_exit_lookup, i)->insns = c->n.marks;
        return;
    default:
        emit(c, xop_raise, i);
        return;
    }
}

static void emit_insn(struct compact *c, unsigned i)
{
    c->mark[c->n.marks++] = (struct xmark){c->ir->insns[i].imm, c->n.ops};
}

static void emit_vector(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    struct ir_insn *copy = &c->vec[c->n.vecs++];
    *copy = *in;
    /* An index for now: the copy moves with the code. */
    emit(c, xop_vector, i)->imm = c->n.vecs - 1;
}

/* Ops that are one function and nothing else to decide. */
static bool emit_simple(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    static xop_fn *const fns[IR_OP_COUNT] = {
        [IR_getf] = xop_getf, [IR_getv] = xop_getv, [IR_putv] = xop_putv,
        [IR_divu] = xop_divu, [IR_divs] = xop_divs, [IR_segaddr] = xop_segaddr,
        [IR_fence] = xop_fence, [IR_vfromi] = xop_vfromi,
    };
    u64 v;
    switch (in->op) {
    case IR_put:
        if (takes_imm(c, in, &v))
            emit(c, xop_put_imm, i)->imm = v;
        else
            emit(c, xop_put, i);
        return true;
    case IR_ldenv:
        emit(c, xop_ldenv[in->w], i);
        return true;
    case IR_stenv:
        emit(c, xop_stenv[in->w], i);
        return true;
    case IR_ifromv:
        emit(c, xop_ifromv, i)->imm = eval_mask(in->w);
        return true;
    default:
        if (fns[in->op])
            emit(c, fns[in->op], i);
        return fns[in->op];
    }
}

static void emit_op(struct compact *c, unsigned i)
{
    const struct ir_insn *in = &c->ir->insns[i];
    u32 effects = ir_briefs[in->op].effects;
    if (in->op == IR_trunc && c->low_part[in->arg[0]] == i)
        return; /* came with its get */
    if (effects & E_MARK)
        emit_insn(c, i);
    else if (effects & E_END)
        emit_end(c, i);
    else if (in->op == IR_exit_if)
        emit_exit_if(c, i);
    else if (effects & E_CALL)
        emit_call(c, i);
    else if (in->op == IR_get)
        emit_get(c, i);
    else if (in->op == IR_putf)
        emit_putf(c, i);
    else if (effects & (E_LOAD | E_STORE))
        emit_memory(c, i);
    else if (in->op > IR_raise)
        emit_vector(c, i);
    else if (!emit_simple(c, i))
        emit_pure(c, i);
}

struct xcompact interp_compact(struct vcpu *v, struct xmark *mark, struct ir_insn *vec)
{
    struct compact c;
    c.v = v;
    c.ir = &v->ir;
    c.out = v->scratch;
    c.mark = mark;
    c.vec = vec;
    c.n = (struct xcompact){0, 0, 0};
    c.once = v->ir.hflags & (HF_ONE | HF_TF);
    find_needs(&c);
    for (unsigned i = 1; i < v->ir.count; i++)
        if (v->ir.insns[i].op != IR_zext && must_emit(&c, i))
            emit_op(&c, i);
    return c.n;
}

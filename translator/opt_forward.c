/* Pass: forwards what was put into guest state to later gets of it within the block, and drops
 * puts that are overwritten before anything can see them.
 *
 * State is observed by ops that may fault (the exception handler sees it), exits, and helpers that
 * read it.  Of struct cpu's other fields only segment bases and the x87 state are tracked: the
 * rest changes behind the IR's back (requests, MXCSR, lazy flags).
 *
 * Sets ir_insn.uses of every op on the way, for opt_fold.
 */
#include "translator/opt.h"
#include "translator/technique.h"

#define ENV_SLOTS 16u

struct env_slot {
    u32 offset;
    u8 w;
    ir_ref value;   /* what the field holds now; 0: slot is free */
    ir_ref pending; /* the stenv that stored it, if nothing has observed it yet */
};

/* A vector register: its 256 bits as one value, or the halves, as far as known; and the puts while
 * unobserved. */
struct vector {
    ir_ref whole, low, high, whole_put, low_put, high_put;
};

struct forward {
    struct ir *ir;
    struct opt_counters *counters;
    ir_ref gpr[16], gpr_put[16]; /* current value; its put while unobserved */
    struct vector vec[32];
    ir_ref flags;
    struct env_slot env[ENV_SLOTS];
    unsigned env_next; /* victim when all slots are used */
    bool vec_pending, env_pending; /* some put or stenv is unobserved */
    ir_ref map[IR_MAX]; /* what replaces each op */
};

static void drop(struct ir *ir, unsigned i)
{
    for (unsigned k = 0; k < 4; k++)
        ir->insns[ir->insns[i].arg[k]].uses--;
    memset(&ir->insns[i], 0, sizeof ir->insns[i]);
}

/* A read of state whose current value may be known.  Returns the new current value. */
static ir_ref read_state(struct forward *f, unsigned i, ir_ref known)
{
    if (!known)
        return (ir_ref)i;
    f->map[i] = known;
    drop(f->ir, i);
    f->counters->forwarded += technique_on(f->ir->off, T_forward);
    return known;
}

/* The same for a vector register: a value is known as it was put, which may be more bits than are
 * asked for (see ir.h), never fewer: a register that was read or written in parts is not. */
static void read_vector(struct forward *f, unsigned i)
{
    const struct ir_insn *in = &f->ir->insns[i];
    struct vector *v = &f->vec[in->aux];
    ir_ref *known = in->imm ? &v->high : in->vl || v->whole ? &v->whole : &v->low;
    if (!*known) /* it sees what is put but not known in this form */
        v->whole_put = v->low_put = v->high_put = 0;
    *known = read_state(f, i, *known);
}

/* A write of state; returns the op that now holds the pending put. */
static void write_state(struct forward *f, unsigned i, ir_ref value, ir_ref *known, ir_ref *put)
{
    if (*known == value) { /* it holds that already */
        drop(f->ir, i);
        f->counters->puts_killed++;
        return;
    }
    if (*put) {
        drop(f->ir, *put);
        f->counters->puts_killed++;
    }
    *known = value;
    *put = (ir_ref)i;
}

static void forget(struct forward *f, ir_ref *put)
{
    if (*put) {
        drop(f->ir, *put);
        f->counters->puts_killed++;
    }
    *put = 0;
}

static void write_vector(struct forward *f, unsigned i)
{
    const struct ir_insn *in = &f->ir->insns[i];
    struct vector *v = &f->vec[in->aux];
    ir_ref value = in->arg[0];
    f->vec_pending = true;
    if (in->vl) {
        forget(f, &v->low_put);
        forget(f, &v->high_put);
        v->low = v->high = 0;
        write_state(f, i, value, &v->whole, &v->whole_put);
        return;
    }
    /* A part of what was put whole: the rest of that put still counts. */
    v->whole_put = 0;
    if (!in->imm && v->whole == value) { /* it holds that already */
        drop(f->ir, i);
        f->counters->puts_killed++;
        return;
    }
    v->whole = 0;
    if (in->imm)
        write_state(f, i, value, &v->high, &v->high_put);
    else
        write_state(f, i, value, &v->low, &v->low_put);
}

static bool env_tracked(u64 offset, unsigned w)
{
    u64 end = offset + W_BYTES(w);
    return (offset >= offsetof(struct cpu, seg) && end <= offsetof(struct cpu, mmu)) ||
           (offset >= offsetof(struct cpu, x87) &&
            end <= offsetof(struct cpu, x87) + sizeof(struct x87));
}

static bool in_xmm(u64 offset, unsigned w)
{
    return offset + W_BYTES(w) > offsetof(struct cpu, xmm) &&
           offset < offsetof(struct cpu, xmm) + sizeof(((struct cpu *)0)->xmm);
}

static bool in_gpr(u64 offset)
{
    return offset + 8 > offsetof(struct cpu, gpr) &&
           offset < offsetof(struct cpu, gpr) + sizeof(((struct cpu *)0)->gpr);
}

static bool slot_overlaps(const struct env_slot *s, u64 offset, unsigned w)
{
    return s->value && s->offset < offset + W_BYTES(w) && offset < s->offset + W_BYTES(s->w);
}

static struct env_slot *env_slot(struct forward *f, u64 offset, unsigned w)
{
    for (unsigned k = 0; k < ENV_SLOTS; k++)
        if (f->env[k].value && f->env[k].offset == offset && f->env[k].w == w)
            return &f->env[k];
    return NULL;
}

static struct env_slot *env_new_slot(struct forward *f, u64 offset, unsigned w)
{
    struct env_slot *s = &f->env[f->env_next++ % ENV_SLOTS];
    *s = (struct env_slot){.offset = (u32)offset, .w = (u8)w};
    return s;
}

/* Registers reached through ldenv and stenv: nothing is known of them afterwards. */
static void env_alias(struct forward *f, u64 offset, unsigned w)
{
    if (in_xmm(offset, w)) {
        memset(f->vec, 0, sizeof f->vec);
    }
    if (in_gpr(offset)) {
        memset(f->gpr, 0, sizeof f->gpr);
        memset(f->gpr_put, 0, sizeof f->gpr_put);
    }
}

static void forward_ldenv(struct forward *f, unsigned i)
{
    const struct ir_insn *in = &f->ir->insns[i];
    u64 offset = in->imm;
    unsigned w = in->w;
    if (!env_tracked(offset, w)) {
        env_alias(f, offset, w);
        return;
    }
    struct env_slot *s = env_slot(f, offset, w);
    if (s) {
        s->value = read_state(f, i, s->value);
        return;
    }
    for (unsigned k = 0; k < ENV_SLOTS; k++)
        if (slot_overlaps(&f->env[k], offset, w))
            f->env[k].pending = 0;
    env_new_slot(f, offset, w)->value = (ir_ref)i;
}

static void forward_stenv(struct forward *f, unsigned i)
{
    const struct ir_insn *in = &f->ir->insns[i];
    u64 offset = in->imm;
    unsigned w = in->w;
    if (!env_tracked(offset, w)) {
        env_alias(f, offset, w);
        return;
    }
    struct env_slot *s = env_slot(f, offset, w);
    for (unsigned k = 0; k < ENV_SLOTS; k++)
        if (&f->env[k] != s && slot_overlaps(&f->env[k], offset, w))
            f->env[k].value = f->env[k].pending = 0;
    if (!s)
        s = env_new_slot(f, offset, w);
    f->env_pending = true;
    write_state(f, i, in->arg[0], &s->value, &s->pending);
}

/* What any op that is no plain state access does to what is known. */
static void forward_effects(struct forward *f, u32 e)
{
    bool sees_all = e & (E_FAULT | E_EXIT | E_END);
    if (sees_all || (e & (E_RGPR | E_WGPR)))
        memset(f->gpr_put, 0, sizeof f->gpr_put);
    if (f->vec_pending && (sees_all || (e & (E_RVEC | E_WVEC)))) {
        for (unsigned k = 0; k < ARRAY_SIZE(f->vec); k++)
            f->vec[k].whole_put = f->vec[k].low_put = f->vec[k].high_put = 0;
        f->vec_pending = false;
    }
    if (f->env_pending && (sees_all || (e & (E_RENV | E_WENV)))) {
        for (unsigned k = 0; k < ENV_SLOTS; k++)
            f->env[k].pending = 0;
        f->env_pending = false;
    }
    if (e & E_WGPR)
        memset(f->gpr, 0, sizeof f->gpr);
    if (e & E_WVEC)
        memset(f->vec, 0, sizeof f->vec);
    if (e & E_WFL)
        f->flags = 0;
    if (e & E_WENV)
        memset(f->env, 0, sizeof f->env);
}

/* A getf after a putf is always forwarded: engines need not know the flags in between. */
static void forward_op(struct forward *f, unsigned i)
{
    struct ir_insn *in = &f->ir->insns[i];
    if (!technique_on(f->ir->off, T_forward) && in->op != IR_getf && in->op != IR_putf) {
        forward_effects(f, ir_effects(in));
        return;
    }
    switch (in->op) {
    case IR_get: {
        ir_ref *known = &f->gpr[in->aux]; /* before the op is dropped */
        *known = read_state(f, i, *known);
        break;
    }
    case IR_put:
        write_state(f, i, in->arg[0], &f->gpr[in->aux], &f->gpr_put[in->aux]);
        break;
    case IR_getv:
        read_vector(f, i);
        break;
    case IR_putv:
        write_vector(f, i);
        break;
    case IR_getf:
        f->flags = read_state(f, i, f->flags);
        break;
    case IR_putf: {
        /* Overwritten flags are opt_flags' business, which knows more of who looks. */
        ir_ref none = 0;
        write_state(f, i, in->arg[0], &f->flags, &none);
        break;
    }
    case IR_ldenv:
        forward_ldenv(f, i);
        break;
    case IR_stenv:
        forward_stenv(f, i);
        break;
    default:
        forward_effects(f, ir_effects(in));
        break;
    }
}

void opt_forward(struct ir *ir, struct opt_counters *counters)
{
    struct forward f;
    memset(&f, 0, offsetof(struct forward, map));
    f.ir = ir;
    f.counters = counters;
    f.map[0] = 0;
    for (unsigned i = 1; i < ir->count; i++) {
        struct ir_insn *in = &ir->insns[i];
        f.map[i] = (ir_ref)i;
        if (in->op == IR_NONE)
            continue;
        in->uses = 0;
        if (ir_has_args(in)) {
            for (unsigned k = 0; k < 4; k++) {
                in->arg[k] = f.map[in->arg[k]];
                ir->insns[in->arg[k]].uses++;
            }
        }
        forward_op(&f, i);
    }
}

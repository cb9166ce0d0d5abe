/* The IR verifier: what every producer and every pass must leave true.
 *
 * Touches nothing but struct ir.  Checked: references point backwards to values of the right type
 * and width, fields are in range, the block ends once and at its end, effects are inside a guest
 * instruction, nothing that changes guest state precedes a fault within one instruction.
 */
#include "translator/ir_vec.h"

/* A value's width if it is an integer or boolean, else -1. */
static int int_width(const struct ir_insn *def)
{
    switch (ir_briefs[def->op].type) {
    case 'i':
        return def->w;
    case 'l':
        return W64;
    case 'n':
    case 'b':
        return W8;
    default:
        return -1;
    }
}

/* Whether the value can only be 0 or 1, looking a few ops back. */
static bool is_boolean(const struct ir *ir, ir_ref ref, unsigned depth)
{
    const struct ir_insn *d = &ir->insns[ref];
    if (ir_briefs[d->op].type == 'b')
        return true;
    if (depth == 0)
        return false;
    switch (d->op) {
    case IR_const:
        return d->imm <= 1;
    case IR_and:
        return is_boolean(ir, d->arg[0], depth - 1) || is_boolean(ir, d->arg[1], depth - 1);
    case IR_or:
    case IR_xor:
        return is_boolean(ir, d->arg[0], depth - 1) && is_boolean(ir, d->arg[1], depth - 1);
    case IR_select:
        return is_boolean(ir, d->arg[1], depth - 1) && is_boolean(ir, d->arg[2], depth - 1);
    case IR_zext:
    case IR_trunc:
        return d->imm == 0 && is_boolean(ir, d->arg[0], depth - 1);
    case IR_shr:
        return ir->insns[d->arg[1]].op == IR_const &&
               ir->insns[d->arg[1]].imm + 1 >= W_BITS(d->w);
    default:
        return false;
    }
}

/* The width that operand k, of letter i, must have; -1 when any will do. */
static int wanted_width(const struct ir_insn *in, unsigned k)
{
    switch (in->op) {
    case IR_zext:
    case IR_sext:
    case IR_trunc:
        return in->aux;
    case IR_deposit:
    case IR_crc32c:
        return k == 1 ? in->aux : in->w;
    case IR_fbits:
        return W32;
    default:
        /* The vector rows give w to lanes. */
        return in->op > IR_raise ? -1 : in->w;
    }
}

static const char *check_arg(const struct ir *ir, unsigned i, unsigned k, char letter)
{
    const struct ir_insn *in = &ir->insns[i];
    ir_ref ref = in->arg[k];
    if (ref == 0 || ref >= i)
        return "operand does not name an earlier op";
    const struct ir_insn *def = &ir->insns[ref];
    char out = ir_briefs[def->op].type;
    if (out == '.')
        return "operand has no value";
    int width = int_width(def);
    switch (letter) {
    case 'v':
        if (out == 'v' && in->vl && def->op == IR_getv && !def->vl && !vec_reads_low(in, k))
            return "operand is not defined above bit 127";
        return out == letter ? NULL : "operand of the wrong class";
    case 'f':
        return out == letter ? NULL : "operand of the wrong class";
    case 'b':
        return width == W8 && is_boolean(ir, ref, 6) ? NULL : "operand is not a boolean";
    case 'l':
        return width == W64 ? NULL : "operand is not 64 bits wide";
    case 'n':
        return width == W8 ? NULL : "count is not 8 bits wide";
    default:
        break;
    }
    if (width < 0)
        return "operand is not an integer";
    int want = wanted_width(in, k);
    return want < 0 || width == want ? NULL : "operand of the wrong width";
}

static const char *check_fields(const struct ir_insn *in)
{
    bool ok = true;
    switch (in->op) {
    case IR_const:
        ok = in->w <= W64 && (in->imm & ~size_mask(W_BYTES(in->w))) == 0;
        break;
    case IR_pc:
        ok = in->w == W64;
        break;
    case IR_get:
    case IR_put:
    case IR_setcc:
        ok = in->aux < 16;
        break;
    case IR_getv:
    case IR_putv:
        ok = in->aux < 32 && in->imm <= !in->vl;
        break;
    case IR_ldenv:
    case IR_stenv:
        ok = in->w <= W64 && in->imm <= sizeof(struct cpu) - W_BYTES(in->w);
        break;
    case IR_zext:
    case IR_sext:
        ok = in->aux <= in->w && in->w <= W64;
        break;
    case IR_trunc:
        ok = in->w <= in->aux && in->aux <= W64 &&
             (in->imm == 0 || (in->imm == 8 && in->w == W8 && in->aux > W8));
        break;
    case IR_deposit:
        ok = in->w <= W64 && in->aux <= in->w && in->imm + W_BITS(in->aux) <= W_BITS(in->w);
        break;
    case IR_icmp:
        ok = in->aux <= IC_LES && in->w <= W64;
        break;
    case IR_segaddr:
        ok = in->aux <= SEG_GS;
        break;
    case IR_atomic:
        ok = in->aux <= AT_XCHG && in->w <= W64;
        break;
    case IR_exit_if:
        ok = in->aux <= XF_DEAD && in->w <= EXIT_AGAIN;
        break;
    case IR_exit:
    case IR_putf:
        ok = in->aux <= XF_DEAD;
        break;
    case IR_exit_ind:
        ok = in->aux <= XK_RET;
        break;
    case IR_call:
    case IR_callv:
        ok = in->imm < HELPER_COUNT;
        break;
    case IR_vld:
    case IR_vst:
        ok = in->w >= W32 && in->w <= W128 + in->vl;
        break;
    case IR_vst2:
        ok = in->w == W256 && !in->vl;
        break;
    default:
        ok = ir_is_vec(in->op) ? vec_valid(in) : in->w <= W64 && !in->vl;
        break;
    }
    return ok ? NULL : "field out of range";
}

/* The old flags of a shift may be left out when its count is known and not 0. */
static bool may_be_absent(const struct ir *ir, const struct ir_insn *in, unsigned k)
{
    unsigned count = in->op == IR_fshld || in->op == IR_fshrd ? 2 : 1;
    if (k != count + 1 || (count == 1 && !(in->op >= IR_fshl && in->op <= IR_fsar)))
        return false;
    const struct ir_insn *n = &ir->insns[in->arg[count]];
    return n->op == IR_const && n->imm != 0;
}

static const char *check_op(const struct ir *ir, unsigned i)
{
    const struct ir_insn *in = &ir->insns[i];
    const char *bad = check_fields(in);
    if (bad)
        return bad;
    unsigned n = ir_args(in);
    const char *letters = ir_ops[in->op].in;
    for (unsigned k = 0; k < 4; k++) {
        if (k >= n) {
            if (in->arg[k])
                return "operand that the op does not take";
            continue;
        }
        if (in->arg[k] == 0 && may_be_absent(ir, in, k))
            continue;
        bad = check_arg(ir, i, k, letters[k]);
        if (bad)
            return bad;
    }
    return NULL;
}

const char *ir_verify(const struct ir *ir, unsigned *at)
{
    bool in_insn = false, changed = false, ended = false, helper_ended = false;
    for (unsigned i = 1; i < ir->count; i++) {
        const struct ir_insn *in = &ir->insns[i];
        *at = i;
        if (in->op == IR_NONE)
            continue;
        if (in->op >= IR_OP_COUNT)
            return "no such op";
        if (ended)
            return "op after the end of the block";
        /* POP to a segment register moves RSP only once nothing can fault any more. */
        if (helper_ended && (ir_effects(in) & ~(u32)(E_RGPR | E_WGPR)) &&
            in->op != IR_exit_lookup)
            return "a helper that sets rip must be followed by puts and exit_lookup";
        const char *bad = check_op(ir, i);
        if (bad)
            return bad;
        u32 e = ir_effects(in);
        if (e & E_MARK) {
            in_insn = true;
            changed = false;
        } else if (e && !in_insn) {
            return "effect outside a guest instruction";
        }
        if ((e & E_FAULT) && changed)
            return "op that may fault after guest state has changed";
        /* vtmp carries operands of vector helpers: nothing of the guest. */
        bool scratch = in->op == IR_stenv && in->imm >= offsetof(struct cpu, vtmp) &&
                       in->imm < offsetof(struct cpu, x87);
        if (!scratch && !(e & E_CALL) && (e & (E_WGPR | E_WFL | E_WVEC | E_WENV)))
            changed = true;
        if ((e & E_CALL) && (ir_helper_effects((unsigned)in->imm) & HE_END))
            helper_ended = true;
        ended = e & E_END;
    }
    *at = ir->count;
    return ended ? NULL : "block does not end";
}

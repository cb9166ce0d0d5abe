/* Pass: liveness of the arithmetic flags.  A putf that is overwritten before anything can see it is
 * dropped; the others are told who sees them (aux, an XF_ fate), so that an engine can store less
 * for what only a fault could bring to light.  The flag ops that then feed nothing die in opt_dead.
 */
#include "translator/opt.h"

/* The nearer of two observers; XF_ values are ordered by how much they demand. */
static unsigned sooner(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Who sees the flags as they are before the op, given who does after it. */
static unsigned fate_before(const struct ir_insn *in, unsigned after)
{
    u32 e = ir_effects(in);
    if (in->op == IR_exit)
        return in->aux;
    if (in->op == IR_exit_if)
        return sooner(after, in->aux);
    if (in->op == IR_raise)
        return XF_FAULT;
    if ((e & E_RFL) || (e & E_END))
        return XF_LIVE;
    if (e & E_FAULT)
        return sooner(after, XF_FAULT);
    return after;
}

void opt_flags(struct ir *ir, struct opt_counters *counters)
{
    unsigned fate = XF_LIVE;
    for (unsigned i = ir->count; --i > 0;) {
        struct ir_insn *in = &ir->insns[i];
        if (in->op != IR_putf) {
            fate = fate_before(in, fate);
            continue;
        }
        if (fate == XF_DEAD) {
            memset(in, 0, sizeof *in);
            counters->flags_killed++;
        } else {
            in->aux = (u8)fate;
        }
        fate = XF_DEAD;
    }
}

/* Pass: removes ops without effect whose value nobody uses, counts the uses of the rest, and
 * closes the holes that this and earlier passes left, so that the block is dense afterwards.
 */
#include "translator/opt.h"

/* Whether dropping an unused op is invisible.  Reads of guest state are; loads are not (they may
 * fault and MMIO reads have side effects), nor is arithmetic that accrues MXCSR flags. */
static bool removable(const struct ir_insn *in)
{
    u32 reads = E_RGPR | E_RFL | E_RVEC | E_RENV;
    return (ir_briefs[in->op].effects & ~reads) == 0;
}

static void count_uses(struct ir *ir)
{
    for (unsigned i = 1; i < ir->count; i++) {
        struct ir_insn *in = &ir->insns[i];
        in->uses = 0; /* values are named after their definition */
        if (!ir_has_args(in))
            continue;
        for (unsigned k = 0; k < 4; k++) /* op 0 counts what is absent: no branches here */
            ir->insns[in->arg[k]].uses++;
    }
    ir->insns[0].uses = 0;
}

static void close_holes(struct ir *ir)
{
    ir_ref moved[IR_MAX];
    unsigned n = 1;
    moved[0] = 0;
    for (unsigned i = 1; i < ir->count; i++) {
        struct ir_insn *in = &ir->insns[i];
        moved[i] = (ir_ref)n;
        if (in->op == IR_NONE)
            continue;
        if (ir_has_args(in))
            for (unsigned k = 0; k < 4; k++)
                in->arg[k] = moved[in->arg[k]];
        if (n != i)
            ir->insns[n] = *in;
        n++;
    }
    ir->count = n;
}

void opt_dead(struct ir *ir, struct opt_counters *counters)
{
    count_uses(ir);
    /* Backwards, so that what only fed a dead op dies in the same walk. */
    for (unsigned i = ir->count; --i > 0;) {
        struct ir_insn *in = &ir->insns[i];
        if (in->op == IR_NONE || in->uses || !removable(in))
            continue;
        for (unsigned k = 0; k < 4; k++)
            if (in->arg[k])
                ir->insns[in->arg[k]].uses--;
        memset(in, 0, sizeof *in);
        counters->dead++;
    }
    close_holes(ir);
}

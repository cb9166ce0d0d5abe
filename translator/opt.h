/* The passes over the IR, private to opt*.c.
 *
 * A pass changes the block in place.  It may leave IR_NONE holes; opt_dead, which runs last,
 * closes them, so that what opt_run hands to an engine is dense.
 */
#ifndef DRAGOMAN_TRANSLATOR_OPT_H
#define DRAGOMAN_TRANSLATOR_OPT_H

#include "translator/block.h"
#include "translator/ir.h"

void opt_forward(struct ir *ir, struct opt_counters *counters);
void opt_fold(struct ir *ir, struct opt_counters *counters);
void opt_flags(struct ir *ir, struct opt_counters *counters);
void opt_dead(struct ir *ir, struct opt_counters *counters);

#endif

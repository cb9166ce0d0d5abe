/* The ordered list of passes, with printing and verifying between any two.
 *
 * Left out: what the passes do (opt_*.c).
 */
#include "translator/opt.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "translator/technique.h"

static const struct {
    const char *name;
    void (*run)(struct ir *ir, struct opt_counters *counters);
    enum technique technique; /* T_COUNT: always */
} passes[] = {
    {"forward", opt_forward, T_COUNT}, /* first, so that folding sees through guest registers */
    {"fold", opt_fold, T_fold},        /* before flags: a known shift count frees the old flags */
    {"flags", opt_flags, T_deadflags},
    {"dead", opt_dead, T_COUNT}, /* last: counts uses and closes the holes of the others */
};

static void print_to_log(void *opaque, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    log_print("%s", line);
}

/* A broken block is a bug of the translator; going on would run wrong code silently. */
static void must_verify(const struct ir *ir, const char *after)
{
    unsigned at = 0;
    const char *bad = ir_verify(ir, &at);
    if (!bad)
        return;
    ir_print(ir, print_to_log, NULL);
    fatal("IR of %llx is wrong after %s: op %u: %s", (unsigned long long)ir->rip, after, at, bad);
}

void opt_run(struct ir *ir, struct opt_counters *counters, bool verify)
{
    if (verify)
        must_verify(ir, "lifting");
    for (size_t i = 0; i < ARRAY_SIZE(passes); i++) {
        if (!technique_on(ir->off, passes[i].technique))
            continue;
        passes[i].run(ir, counters);
        if (verify)
            must_verify(ir, passes[i].name);
        /* -d ir,ir_opt together: every step, not just first and last. */
        if (log_enabled(ir) && log_enabled(ir_opt) && i + 1 < ARRAY_SIZE(passes)) {
            log_print("after %s:\n", passes[i].name);
            ir_print(ir, print_to_log, NULL);
        }
    }
}

/* Optimisations by name, so that a suspect can be switched off: technique.def.
 *
 * What is off travels as a mask, BIT64(T_name), from -accel dbt,opt= to ir.off.
 */
#ifndef DRAGOMAN_TRANSLATOR_TECHNIQUE_H
#define DRAGOMAN_TRANSLATOR_TECHNIQUE_H

#include "cpu/accel.h"

enum technique {
#define TECHNIQUE(name, counter, what) T_##name,
#include "translator/technique.def"
#undef TECHNIQUE
    T_COUNT
};

struct technique_row {
    const char *name, *counter, *what;
};
extern const struct technique_row techniques[T_COUNT];

/* Whether the mask leaves it on. */
static inline bool technique_on(u64 off, enum technique t)
{
    return !(off & BIT64(t));
}

/* Tells the MMU what of it is the MMU's, and the bus. */
void technique_mmu(u64 off, struct mmu *m);

/* Applies a list to the mask, from left to right: "-NAME" switches off, "NAME" on, "none" and "all"
 * everything; separated by ':'.  Returns NULL, or the part that names nothing (its length in
 * *len). */
const char *technique_parse(const char *list, u64 *off, size_t *len);

/* For `info jit`: each technique, whether it is on, how often it fired.  Those whose counter the
 * engine does not know are left out. */
void technique_print(u64 off, const struct accel *accel, void *engine, print_fn print,
                     void *opaque);

#endif

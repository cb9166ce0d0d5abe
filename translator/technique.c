/* Optimisations by name; see the header. */
#include "translator/technique.h"

#include <string.h>

#include "mmu/mmu.h"

const struct technique_row techniques[T_COUNT] = {
#define TECHNIQUE(name, counter, what) {#name, #counter, what},
#include "translator/technique.def"
#undef TECHNIQUE
};

/* The bits that one name stands for; 0 when there is no such name. */
static u64 bits_of(const char *name, size_t len)
{
    if (len == 3 && !memcmp(name, "all", 3))
        return BIT64(T_COUNT) - 1;
    for (unsigned t = 0; t < T_COUNT; t++)
        if (strlen(techniques[t].name) == len && !memcmp(techniques[t].name, name, len))
            return BIT64(t);
    return 0;
}

void technique_mmu(u64 off, struct mmu *m)
{
    m->without = (technique_on(off, T_walks) ? 0 : MMU_WITHOUT_WALKS) |
                 (technique_on(off, T_fills) ? 0 : MMU_WITHOUT_AHEAD) |
                 (technique_on(off, T_asids) ? 0 : MMU_WITHOUT_ASIDS);
    bus_touch_ahead(m->bus, technique_on(off, T_ahead));
}

void technique_print(u64 off, const struct accel *accel, void *engine, print_fn print, void *opaque)
{
    print(opaque, "optimisations (-accel %s,opt=-NAME):\n", accel->name);
    for (unsigned t = 0; t < T_COUNT; t++) {
        u64 n = accel->counter(engine, techniques[t].counter);
        if (n != ~0ull)
            print(opaque, "  %-10s %-4s %12llu  %s\n", techniques[t].name,
                  technique_on(off, t) ? "on" : "off", (unsigned long long)n, techniques[t].what);
    }
}

const char *technique_parse(const char *list, u64 *off, size_t *len)
{
    while (*list) {
        bool minus = *list == '-';
        const char *name = list + minus;
        *len = strcspn(name, ":");
        bool none = !minus && *len == 4 && !memcmp(name, "none", 4);
        u64 bits = none ? BIT64(T_COUNT) - 1 : bits_of(name, *len);
        if (!bits)
            return name;
        *off = minus || none ? *off | bits : *off & ~bits;
        list = name + *len + (name[*len] == ':');
    }
    return NULL;
}

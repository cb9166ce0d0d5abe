/* -device: the chips that a PC has on request, with their properties.
 *
 * Left out: buses and addresses as properties; pci-testdev takes the next free slot.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "devices/board/pc.h"
#include "devices/host/chardev.h"

#define PROPERTIES 2

struct property {
    const char *name; /* NULL ends the list */
    u64 value;        /* the default */
    u64 max;
};

struct device_kind {
    const char *name, *help;
    struct property properties[PROPERTIES];
    bool (*create)(struct pc *pc, const u64 values[PROPERTIES], char **error);
};

/* Zeroed state that goes with the machine. */
static void *add_state(struct pc *pc, size_t size, char **error)
{
    void *state = pc->added_count < PC_DEVICES ? calloc(1, size) : NULL;
    if (state)
        pc->added[pc->added_count++] = state;
    else
        *error = error_text("-device: too many devices");
    return state;
}

static void debug_exit(void *opaque, u32 status)
{
    machine_exit(&((struct pc *)opaque)->machine, (int)(status & 0xff));
}

static bool create_debug_exit(struct pc *pc, const u64 v[PROPERTIES], char **error)
{
    struct isa_debug_exit *s = add_state(pc, sizeof *s, error);
    if (!s)
        return false;
    isa_debug_exit_init(s, pc->machine.bus, (u16)v[0], (unsigned)v[1], debug_exit, pc);
    machine_add_device(&pc->machine, &isa_debug_exit_class, s, "isa-debug-exit");
    return true;
}

static bool create_pc_testdev(struct pc *pc, const u64 v[PROPERTIES], char **error)
{
    struct pin irq[PC_TESTDEV_IRQS];
    struct pc_testdev *s = add_state(pc, sizeof *s, error);
    if (!s)
        return false;
    for (unsigned i = 0; i < PC_TESTDEV_IRQS; i++)
        irq[i] = pc_irq_pin(&pc->irq, IRQ_TEST, i);
    pc_testdev_init(s, pc->machine.bus, irq);
    machine_add_device(&pc->machine, &pc_testdev_class, s, "pc-testdev");
    return true;
}

static bool create_pci_testdev(struct pc *pc, const u64 v[PROPERTIES], char **error)
{
    unsigned slot = 2;
    if (v[0] & (v[0] - 1) || (v[0] && v[0] < 16)) {
        *error = error_text("-device pci-testdev: membar is to be a power of two");
        return false;
    }
    struct pci_testdev *s = add_state(pc, sizeof *s, error);
    if (!s)
        return false;
    while (slot < 31 && pc->pci.function[slot << 3])
        slot++;
    pci_testdev_init(s, &pc->pci, pc->machine.bus, (u8)(slot << 3), v[0]);
    machine_add_device(&pc->machine, &pci_testdev_class, s, "pci-testdev");
    return true;
}

static bool create_debugcon(struct pc *pc, const u64 v[PROPERTIES], char **error)
{
    struct debugcon *s = add_state(pc, sizeof *s, error);
    if (!s)
        return false;
    debugcon_init(s, pc->machine.bus, (u16)v[0], NULL);
    machine_add_device(&pc->machine, &debugcon_class, s, "isa-debugcon");
    return true;
}

static const struct device_kind kinds[] = {
    {"isa-debug-exit", "a port write ends the emulator",
     {{"iobase", 0x501, 0xffff}, {"iosize", 2, 4}}, create_debug_exit},
    {"isa-debugcon", "a port that swallows what is written (with output: -debugcon DEV)",
     {{"iobase", 0xe9, 0xffff}}, create_debugcon},
    {"pc-testdev", "what kvm-unit-tests expect", {{NULL, 0, 0}}, create_pc_testdev},
    {"pci-testdev", "PCI function with I/O and memory tests", {{"membar", 0, 1ull << 36}},
     create_pci_testdev},
};

static const struct device_kind *find_kind(const char *spec)
{
    size_t n = strcspn(spec, ",");
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (strlen(kinds[i].name) == n && !memcmp(kinds[i].name, spec, n))
            return &kinds[i];
    return NULL;
}

/* One "name=value" of length n. */
static bool parse_property(const struct device_kind *kind, const char *text, size_t n,
                           u64 values[PROPERTIES], char **error)
{
    for (unsigned i = 0; i < PROPERTIES && kind->properties[i].name; i++) {
        const struct property *p = &kind->properties[i];
        size_t len = strlen(p->name);
        if (n <= len || memcmp(text, p->name, len) != 0 || text[len] != '=')
            continue;
        char *end;
        errno = 0;
        u64 v = strtoull(text + len + 1, &end, 0);
        if (end != text + n || end == text + len + 1 || text[len + 1] == '-' || errno ||
            v > p->max) {
            *error = error_text("-device %s: property '%s' takes a number up to %#llx", kind->name,
                                p->name, (unsigned long long)p->max);
            return false;
        }
        values[i] = v;
        return true;
    }
    if (n > 3 && !memcmp(text, "id=", 3))
        return true; /* a name for management tools */
    *error = error_text("-device %s: unknown property '%.*s'", kind->name, (int)n, text);
    return false;
}

static bool parse(const char *spec, const struct device_kind **kind, u64 values[PROPERTIES],
                  char **error)
{
    *kind = find_kind(spec);
    if (!*kind) {
        *error = error_text("-device: unknown device '%.*s' (see -device help)",
                            (int)strcspn(spec, ","), spec);
        return false;
    }
    for (unsigned i = 0; i < PROPERTIES; i++)
        values[i] = (*kind)->properties[i].value;
    for (const char *p = spec + strcspn(spec, ","); *p == ',';) {
        size_t n = strcspn(++p, ",");
        if (!parse_property(*kind, p, n, values, error))
            return false;
        p += n;
    }
    return true;
}

bool pc_check_device(const char *spec, char **error)
{
    const struct device_kind *kind;
    u64 values[PROPERTIES];
    return parse(spec, &kind, values, error);
}

bool pc_add_device(struct pc *pc, const char *spec, char **error)
{
    const struct device_kind *kind;
    u64 values[PROPERTIES];
    return parse(spec, &kind, values, error) && kind->create(pc, values, error);
}

void pc_device_help(print_fn print, void *opaque)
{
    print(opaque, "Devices (-device NAME[,property=value...]):\n");
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        print(opaque, "  %-16s %s\n", kinds[i].name, kinds[i].help);
        for (unsigned j = 0; j < PROPERTIES && kinds[i].properties[j].name; j++)
            print(opaque, "      %s=N (default %#llx)\n", kinds[i].properties[j].name,
                  (unsigned long long)kinds[i].properties[j].value);
    }
}

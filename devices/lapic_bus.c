/* The bus between local APICs: who is addressed by a message (SDM vol. 3A, 10.6.2, 10.12.10).
 *
 * Knows local APICs only; I/O APICs and MSI sources come in through lapic_bus_send and
 * lapic_bus_msi.  Left out: cluster hierarchies of real APIC buses, arbitration time.
 */
#include "devices/lapic.h"

enum {
    DFR_FLAT = 0xf,
    DFR_CLUSTER = 0x0,

    MSI_LOGICAL = BIT(2),
    MSI_REDIRECTION = BIT(3),
    MSI_DEST_SHIFT = 12,
    MSI_MODE_SHIFT = 8,
    MSI_LEVEL = BIT(15),
};

void lapic_bus_init(struct lapic_bus *b, void (*eoi)(void *opaque, u8 vector), void *eoi_opaque)
{
    memset(b, 0, sizeof *b);
    b->eoi = eoi;
    b->eoi_opaque = eoi_opaque;
}

static bool matches_logical(const struct lapic *s, u32 dest)
{
    if (lapic_x2apic(s)) {
        u32 ldr = lapic_x2apic_ldr(s);
        return dest >> 16 == ldr >> 16 && (dest & ldr & 0xffff);
    }
    if (dest > 0xff)
        return false;
    u8 ldr = (u8)(s->ldr >> 24);
    switch (s->dfr >> 28) {
    case DFR_FLAT: return dest & ldr;
    case DFR_CLUSTER: return (dest >> 4 == 0xf || dest >> 4 == ldr >> 4) && (dest & ldr & 0xf);
    default: return false;
    }
}

static bool matches(const struct lapic *s, const struct apic_msg *msg)
{
    /* A disabled APIC hears nothing; INIT and start-up reach it only through its CPU's reset. */
    if (!lapic_enabled(s))
        return false;
    if (msg->dest == APIC_BROADCAST)
        return true;
    return msg->logical ? matches_logical(s, msg->dest) : msg->dest == s->config.id;
}

/* Arbitrates a lowest-priority message; among equals the turn goes round. */
static bool send_lowest(struct lapic_bus *b, const struct apic_msg *msg)
{
    struct lapic *best = NULL;
    unsigned best_index = 0;

    for (unsigned k = 0; k < b->count; k++) {
        unsigned i = (b->next + k) % b->count;
        struct lapic *s = b->apic[i];
        if (!matches(s, msg) || !lapic_soft_enabled(s))
            continue;
        if (!best || lapic_ppr(s) < lapic_ppr(best)) {
            best = s;
            best_index = i;
        }
    }
    if (!best)
        return false;
    b->next = (best_index + 1) % b->count;
    return lapic_accept(best, msg);
}

bool lapic_bus_send(struct lapic_bus *b, const struct apic_msg *msg)
{
    bool taken = false;

    if (msg->mode == APIC_LOWEST)
        return send_lowest(b, msg);
    for (unsigned i = 0; i < b->count; i++) {
        if (matches(b->apic[i], msg))
            taken |= lapic_accept(b->apic[i], msg);
    }
    return taken;
}

void lapic_bus_send_all(struct lapic_bus *b, const struct apic_msg *msg,
                        const struct lapic *except)
{
    for (unsigned i = 0; i < b->count; i++) {
        if (b->apic[i] != except && lapic_enabled(b->apic[i]))
            lapic_accept(b->apic[i], msg);
    }
}

bool lapic_bus_send_hook(void *opaque, const struct apic_msg *msg)
{
    return lapic_bus_send(opaque, msg);
}

void lapic_bus_msi(struct lapic_bus *b, u64 address, u32 data)
{
    bool redirect = (address & MSI_REDIRECTION) != 0;
    bool logical = (address & MSI_LOGICAL) != 0;
    u8 mode = (data >> MSI_MODE_SHIFT) & 7;
    struct apic_msg msg = {
        .dest = apic_dest8((u8)(address >> MSI_DEST_SHIFT), logical),
        .logical = logical,
        .level = (data & MSI_LEVEL) != 0,
        .mode = redirect && mode == APIC_FIXED ? APIC_LOWEST : mode,
        .vector = (u8)data,
    };
    if (mode != APIC_SIPI && mode != 3)
        lapic_bus_send(b, &msg);
}

/* At which linear addresses the TLBs have write tags for a RAM page, so that whoever has to see the
 * page's stores (code, displays) takes them away without searching the TLBs.
 *
 * A page has a few places (ram_page.places), each for one address in the TLBs of one vCPU or of
 * all.  One more takes the place of another, preferably of the same vCPU, whose tags go: the next
 * store there takes the slow path and gets its tag back.  The first place stays, since a kernel has
 * all RAM at one address.
 *
 * Threads: a place is claimed before the TLB's lock is taken, and looked at again under it if tags
 * have been dropped meanwhile, before the tag is given.  Who takes places away does so before it
 * drops the tags under the same lock, so it finds the tag or the tag is not given.  A place that a
 * thread is emptying for itself is BUSY, which nobody claims or ends but that thread; others drop
 * its tags too, so that they need not wait.
 */
#include "mmu/tlb.h"

/* Drops the write tags for the page at `host` that a context has at this place. */
static void drop_in_context(struct tlb_context *c, const struct tlb_state *s, const u8 *host,
                            u32 place)
{
    u32 step = TAGGED_INDEX + 1;
    for (u32 i = place & TAGGED_INDEX & (s->entries - 1); i < s->entries; i += step) {
        struct tlb_entry *e = &c->entries[i];
        if (e->write != TLB_INVALID && e->write + e->addend == (u64)(uintptr_t)host)
            tlb_set_field(&e->write, TLB_INVALID);
    }
}

static void drop_in_mmu(struct mmu_private *v, const u8 *host, u32 place)
{
    tlb_lock(v);
    __atomic_store_n(&v->drops, v->drops + 1, __ATOMIC_RELEASE);
    for (u32 left = v->ready; left;) {
        unsigned i = tlb_next_context(&left);
        drop_in_context(&v->contexts[i], &v->states[i], host, place);
    }
    tlb_unlock(v);
}

static void drop_at(struct bus *b, const u8 *host, u32 place)
{
    unsigned count = atomic_load(&b->mmu_count);
    bool all = place & TAGGED_ALL;
    host -= (uintptr_t)host & ~PAGE_MASK;
    for (unsigned n = all ? 0 : tagged_owner(place); n < count; n = all ? n + 1 : count) {
        struct mmu *m = atomic_load(&b->mmus[n]);
        if (m)
            drop_in_mmu(m->priv, host, place);
    }
}

/* Which place has to go for one of vCPU `own`. */
static unsigned choose(const struct ram_page *page, unsigned own, unsigned turn)
{
    unsigned any = 0;
    for (unsigned i = 0; i < TAGGED_PLACES - 1; i++) {
        unsigned n = 1 + (turn + i) % (TAGGED_PLACES - 1);
        u32 place = atomic_load(&page->places[n]);
        if (place & TAGGED_BUSY)
            continue;
        if (!(place & TAGGED_ALL) && tagged_owner(place) == own)
            return n;
        any = n;
    }
    return any;
}

/* Makes a place `want`, or one of all vCPUs if another one's is for the same address. */
static bool join(struct ram_page *page, u32 want)
{
    for (unsigned i = 0; i < TAGGED_PLACES; i++) {
        u32 old = atomic_load(&page->places[i]);
        u32 now = old ? (want & TAGGED_INDEX) | TAGGED_USED | TAGGED_ALL : want;
        bool same = !((old ^ want) & TAGGED_INDEX) && !(old & TAGGED_BUSY);
        if ((!old || same) && atomic_compare_exchange_strong(&page->places[i], &old, now))
            return true;
    }
    return false;
}

void tagged_claim(struct mmu *m, const u8 *host, u64 la)
{
    struct mmu_private *v = m->priv;
    struct ram_page *page = bus_ram_page(m->bus, host);
    u32 want = tagged_place(v, la);
    while (!join(page, want)) {
        unsigned n = choose(page, v->slot, v->tag_turn++);
        u32 old = atomic_load(&page->places[n]);
        if (!n || !old || old & TAGGED_BUSY ||
            !atomic_compare_exchange_strong(&page->places[n], &old, old | TAGGED_BUSY))
            continue;
        drop_at(m->bus, host, old);
        atomic_store(&page->places[n], want);
        v->counters.tags_moved++;
        return;
    }
}

void tagged_drop(struct bus *b, const u8 *host)
{
    struct ram_page *page = bus_ram_page(b, host);
    for (unsigned i = 0; i < TAGGED_PLACES; i++) {
        u32 old = atomic_load(&page->places[i]);
        while (old && !(old & TAGGED_BUSY) &&
               !atomic_compare_exchange_weak(&page->places[i], &old, 0))
            ;
        if (old)
            drop_at(b, host, old);
    }
}

/* The TLBs of one vCPU.
 *
 * Contexts are reserved together and cost memory only where touched.  Bitmaps of the valid
 * entries make a flush cost what was filled, not what the table could hold.
 *
 * Threads: the owner alone fills and selects; entries change only under the spin lock, so that
 * another thread may drop entries or write tags at any time.  Dropping leaves the addend of a RAM
 * entry alone: emitted code that has just compared the tag still finds a host address that is
 * mapped.  What another thread flushed the owner flushes again when it reaches mmu_run_pending or
 * its slow path, since its jump cache is written without the lock; whoever needs a shootdown to
 * be complete has to wait for that.  Left out: sharing global entries between ASID slots (SDM
 * vol. 3A 4.10.2.4 lets a processor do without).
 */
#include "mmu/tlb.h"

#include "base/log.h"

#define NO_PCID 0u

const u8 tlb_page_shifts[TLB_SIZES] = {12, 21, 22, 30};

/* A TLB may always grow to this, and above to an entry for each page of RAM. */
#define TLB_SMALL_ENTRIES 16384u

static void drop_entry(struct tlb_entry *e)
{
    tlb_set_field(&e->read, TLB_INVALID);
    tlb_set_field(&e->write, TLB_INVALID);
    if (e->phys & TLB_IO)
        tlb_set_field(&e->addend, TLB_INVALID);
}

/* ---- contexts ---- */

/* Makes entries [from, to) empty; memory fresh from the host is zero, which is a valid tag. */
static void clear_entries(struct tlb_context *c, u32 from, u32 to)
{
    memset(&c->entries[from], 0xff, (to - from) * sizeof c->entries[0]);
}

static void set_size(struct mmu_private *v, unsigned index, u32 entries)
{
    v->states[index].entries = entries;
    v->contexts[index].mask = (u64)(entries - 1) * sizeof(struct tlb_entry);
}

static void make_ready(struct mmu_private *v, unsigned index)
{
    tlb_lock(v);
    clear_entries(&v->contexts[index], 0, TLB_MIN_ENTRIES);
    jumps_init(v, index);
    set_size(v, index, TLB_MIN_ENTRIES);
    v->ready |= BIT(index);
    tlb_unlock(v);
}

/* Takes over which contexts the address space has. */
static void select_contexts(struct mmu *m)
{
    for (unsigned k = 0; k < MMU_KINDS; k++) {
        unsigned index = tlb_index(m, (enum mmu_kind)k);
        m->contexts[k] = m->priv->ready & BIT(index) ? &m->priv->contexts[index] : NULL;
    }
    mmu_set_kind(m, m->kind);
}

void mmu_make_context(struct mmu *m, enum mmu_kind kind)
{
    unsigned index = tlb_index(m, kind);
    if (!(m->priv->ready & BIT(index)))
        make_ready(m->priv, index);
    m->contexts[kind] = &m->priv->contexts[index];
}

static void resize(struct mmu *m, unsigned index, u32 entries)
{
    struct tlb_state *s = &m->priv->states[index];
    set_size(m->priv, index, entries);
    s->fills = s->conflicts = s->low_use = 0;
    m->priv->counters.resizes++;
}

static void move_bit(struct tlb_bits *b, u32 from, u32 to)
{
    if (bits_has(b, from)) {
        bits_remove(b, from);
        bits_add(b, to);
    }
}

/* Doubles a context; each entry stays or moves up by the old size. */
static void grow(struct mmu *m, unsigned index)
{
    struct tlb_state *s = &m->priv->states[index];
    struct tlb_context *c = &m->priv->contexts[index];
    u32 old = s->entries;
    ram_prefer_large(&c->entries[old], old * sizeof c->entries[0]);
    clear_entries(c, old, 2 * old);
    tlb_lock(m->priv);
    for (u32 i = 0; i < old; i++) {
        if (!tlb_in_use(s, i))
            continue;
        u32 to = (u32)(tlb_entry_page(&c->entries[i]) >> PAGE_SHIFT) & (2 * old - 1);
        if (to == i)
            continue;
        c->entries[to] = c->entries[i];
        drop_entry(&c->entries[i]);
        move_bit(&s->local, i, to);
        move_bit(&s->global, i, to);
    }
    resize(m, index, 2 * old);
    tlb_unlock(m->priv);
    m->priv->counters.most_entries = max_u64(m->priv->counters.most_entries, 2 * old);
}

/* ---- flushing ---- */

/* Drops the entries of a set, from word `w` of it on; lost: NULL if their jumps go too. */
static void flush_map(struct tlb_context *c, struct tlb_bits *map, unsigned w,
                      struct tlb_state *lost)
{
    for (w = bits_word(map, w); w < BITS_WORDS; w = bits_word(map, w)) {
        for (u64 bits = map->words[w]; bits; bits &= bits - 1) {
            struct tlb_entry *e = &c->entries[w * 64 + (u32)__builtin_ctzll(bits)];
            if (lost)
                tlb_note_lost(lost, e);
            drop_entry(e);
        }
        bits_put_word(map, w, 0);
    }
}

/* Lock held. */
static void halve(struct mmu *m, unsigned index)
{
    struct tlb_state *s = &m->priv->states[index];
    struct tlb_context *c = &m->priv->contexts[index];
    u32 half = s->entries / 2;
    flush_map(c, &s->local, half / 64, s);
    flush_map(c, &s->global, half / 64, s);
    resize(m, index, half);
    ram_give_back(&c->entries[half], half * sizeof c->entries[0]);
}

/* Whether at least `n` entries are global. */
static bool many_global(const struct tlb_state *s, u32 n)
{
    u32 used = 0;
    for (unsigned w = bits_word(&s->global, 0); w < BITS_WORDS && used < n;
         w = bits_word(&s->global, w + 1))
        used += (u32)__builtin_popcountll(s->global.words[w]);
    return used >= n;
}

/* Halves a context that several flushes in a row found hardly used: more of a large one, which
 * takes longer to look at. */
static void consider_shrinking(struct mmu *m, unsigned index)
{
    struct tlb_state *s = &m->priv->states[index];
    s->low_use = s->fills < s->entries / 8 ? s->low_use + 1 : 0;
    s->fills = s->conflicts = 0;
    if (s->low_use < 4 + s->entries / TLB_SMALL_ENTRIES || s->entries == TLB_MIN_ENTRIES)
        return;
    s->low_use = 0;
    if (!many_global(s, s->entries / 8))
        halve(m, index);
}

/* ---- growing ---- */

/* To have more entries than RAM has pages does not pay. */
static u32 most_entries(const struct bus *b)
{
    u32 n = TLB_SMALL_ENTRIES;
    while (n < TLB_MAX_ENTRIES && n < b->ram.used >> PAGE_SHIFT)
        n *= 2;
    return n;
}

/* Makes sure that the contexts of this vCPU together stay within a thirty-second of RAM, or what
 * small ones take, when one grows by `more` entries: those of other address spaces give way. */
static bool make_room(struct mmu *m, u32 more)
{
    struct mmu_private *v = m->priv;
    u64 most = max_u64(TLB_CONTEXTS * TLB_SMALL_ENTRIES, 4ull * most_entries(m->bus)), sum = more;
    for (unsigned i = 0; i < TLB_CONTEXTS; i++)
        sum += v->states[i].entries;
    while (sum > most) {
        unsigned largest = TLB_CONTEXTS;
        for (unsigned i = 0; i < TLB_CONTEXTS; i++)
            if (i / MMU_KINDS != m->asid && v->states[i].entries > TLB_MIN_ENTRIES &&
                (largest == TLB_CONTEXTS || v->states[i].entries > v->states[largest].entries))
                largest = i;
        if (largest == TLB_CONTEXTS)
            return false;
        tlb_lock(v);
        halve(m, largest);
        tlb_unlock(v);
        sum -= v->states[largest].entries;
    }
    return true;
}

void tlb_consider_growing(struct mmu *m, unsigned index)
{
    struct tlb_state *s = &m->priv->states[index];
    s->conflicts = 0;
    if (s->entries < most_entries(m->bus) && make_room(m, s->entries))
        grow(m, index);
}

/* Lock held.  `own`: called by the owner, who may change the size. */
static void flush_context(struct mmu *m, unsigned index, bool keep_global, bool own)
{
    struct tlb_state *s = &m->priv->states[index];
    struct tlb_context *c = &m->priv->contexts[index];
    flush_map(c, &s->local, 0, NULL);
    if (!keep_global)
        flush_map(c, &s->global, 0, NULL);
    if (s->any_large && bits_word(&s->global, 0) == BITS_WORDS) {
        memset(s->large, 0, sizeof s->large);
        s->any_large = false;
    }
    jumps_flush(m->priv, index, keep_global, own);
    if (own)
        consider_shrinking(m, index);
}

/* Makes what walks have cached stale. */
static void forget_tables(struct mmu *m)
{
    atomic_fetch_add(&m->generation, 1);
}

static void flush_slot(struct mmu *m, unsigned slot, bool keep_global)
{
    forget_tables(m);
    tlb_lock(m->priv);
    for (u32 left = m->priv->ready & (BIT(MMU_KINDS) - 1) << slot * MMU_KINDS; left;)
        flush_context(m, tlb_next_context(&left), keep_global, true);
    tlb_unlock(m->priv);
    m->priv->counters.flushes++;
}

static void flush_everything(struct mmu *m, bool own)
{
    struct mmu_private *v = m->priv;
    forget_tables(m);
    tlb_lock(v);
    for (u32 left = v->ready; left;)
        flush_context(m, tlb_next_context(&left), false, own);
    tlb_unlock(v);
}

void mmu_flush_all(struct mmu *m)
{
    m->priv->keys = 0;
    flush_everything(m, true);
    m->priv->counters.flushes++;
}

void mmu_flush_local(struct mmu *m)
{
    for (unsigned i = 0; i < MMU_ASIDS; i++)
        if (m->priv->slots[i].used)
            flush_slot(m, i, true);
}

void mmu_flush_pcid(struct mmu *m, unsigned pcid)
{
    for (unsigned i = 0; i < MMU_ASIDS; i++)
        if (m->priv->slots[i].used && m->priv->slots[i].pcid == pcid)
            flush_slot(m, i, true);
}

static bool may_touch(struct mmu *m)
{
    return !atomic_load(&m->priv->owned) || pthread_equal(m->priv->owner, pthread_self());
}

/* Asks the owner to flush at its next safe point. */
static void ask_owner(struct mmu_private *v)
{
    atomic_store(&v->pending, true);
    if (v->kick)
        v->kick(v->kick_opaque);
}

void mmu_flush_jumps(struct mmu *m)
{
    struct mmu_private *v = m->priv;
    bool own = may_touch(m);
    tlb_lock(v);
    for (u32 left = v->ready; left;)
        jumps_flush(v, tlb_next_context(&left), false, own);
    tlb_unlock(v);
    if (!own)
        ask_owner(v);
}

/* Drops entry i if its page lies in the guest page of the given size around la; true if so and
 * code was fetched from it. */
static bool drop_in_page(struct tlb_context *c, struct tlb_state *s, u32 i, u64 la, unsigned shift)
{
    struct tlb_entry *e = &c->entries[i];
    if ((tlb_entry_page(e) ^ la) >> shift)
        return false;
    bool fetched = e->phys & TLB_FETCHED;
    bits_remove(&s->local, i);
    bits_remove(&s->global, i);
    drop_entry(e);
    return fetched;
}

/* The first word from w on that has an entry in use. */
static unsigned used_word(const struct tlb_state *s, unsigned w)
{
    return (unsigned)min_u64(bits_word(&s->local, w), bits_word(&s->global, w));
}

/* Drops all 4 KiB pieces of the large page of this size around la. */
static bool drop_large(struct tlb_context *c, struct tlb_state *s, u64 la, unsigned size)
{
    unsigned shift = tlb_page_shifts[size];
    u32 pieces = (u32)min_u64(BIT64(shift - PAGE_SHIFT), s->entries);
    u32 first = (u32)(la >> PAGE_SHIFT) & (s->entries - 1) & ~(pieces - 1);
    bool fetched = false;
    for (u32 w = used_word(s, first / 64); w < (first + pieces) / 64; w = used_word(s, w + 1)) {
        for (u64 bits = s->local.words[w] | s->global.words[w]; bits; bits &= bits - 1) {
            u32 i = w * 64 + (u32)__builtin_ctzll(bits);
            if (tlb_page_size(&c->entries[i]) == size)
                fetched |= drop_in_page(c, s, i, la, shift);
        }
    }
    return fetched;
}

void mmu_flush_page(struct mmu *m, u64 la)
{
    struct mmu_private *v = m->priv;
    la = tlb_wrap(m, la);
    v->counters.page_flushes++;
    forget_tables(m);
    tlb_lock(v);
    for (u32 left = v->ready; left;) {
        unsigned i = tlb_next_context(&left);
        struct tlb_state *s = &v->states[i];
        struct tlb_context *c = &v->contexts[i];
        u32 n = (u32)(la >> PAGE_SHIFT) & (s->entries - 1);
        bool fetched = s->fetch_lost;
        if (tlb_entry_is(&c->entries[n], la & PAGE_MASK))
            fetched |= drop_in_page(c, s, n, la, PAGE_SHIFT);
        bool large = s->large_lost & tlb_large_bit(la);
        for (unsigned size = 1; s->any_large && size < TLB_SIZES; size++)
            if (s->large[size][tlb_large_hash(la) / 64] >> tlb_large_hash(la) % 64 & 1)
                large |= drop_large(c, s, la, size);
        if (large || (fetched && !m->jumps_by_address))
            jumps_flush(v, i, false, true);
        else if (fetched)
            jumps_drop_page(v, i, la);
    }
    tlb_unlock(v);
}

void bus_flush_tlbs(struct bus *b)
{
    unsigned count = atomic_load(&b->mmu_count);
    for (unsigned i = 0; i < count; i++) {
        struct mmu *m = atomic_load(&b->mmus[i]);
        if (!m)
            continue;
        if (may_touch(m)) {
            mmu_flush_all(m);
            continue;
        }
        flush_everything(m, false);
        ask_owner(m->priv);
    }
}

void mmu_set_owner(struct mmu *m, void (*kick)(void *opaque), void *opaque)
{
    m->priv->owner = pthread_self();
    m->priv->kick = kick;
    m->priv->kick_opaque = opaque;
    atomic_store(&m->priv->owned, true);
}

void mmu_run_pending(struct mmu *m)
{
    if (unlikely(atomic_load_explicit(&m->priv->pending, memory_order_relaxed)) &&
        atomic_exchange(&m->priv->pending, false))
        mmu_flush_all(m);
}

/* ---- address spaces ---- */

static unsigned find_slot(struct mmu_private *v, u32 pcid, bool *hit)
{
    unsigned oldest = 0;
    for (unsigned i = 0; i < MMU_ASIDS; i++) {
        if (v->slots[i].used && v->slots[i].pcid == pcid) {
            *hit = true;
            return i;
        }
        if (v->slots[i].stamp < v->slots[oldest].stamp)
            oldest = i;
    }
    *hit = false;
    return oldest;
}

static void use_slot(struct mmu *m, unsigned slot, u32 pcid)
{
    m->priv->slots[slot] =
        (struct asid_slot){.used = true, .pcid = pcid, .stamp = ++m->priv->stamp};
    m->asid = slot;
}

static bool uses_pdptes(const struct paging *p)
{
    return p->enabled && p->pae && !p->long_mode;
}

bool mmu_check_pdptes(struct mmu *m, const struct paging *p)
{
    u64 pdpte[4];
    return !uses_pdptes(p) || walk_load_pdptes(p, m->bus, pdpte);
}

void mmu_load_pdptes(struct mmu *m)
{
    if (uses_pdptes(&m->paging))
        walk_load_pdptes(&m->paging, m->bus, m->pdpte);
}

void mmu_set_paging(struct mmu *m, const struct paging *p)
{
    struct mmu_private *v = m->priv;
    m->paging = *p;
    m->paging.cr3 &= ~BIT64(63);
    mmu_flush_all(m);
    memset(v->slots, 0, sizeof v->slots);
    use_slot(m, 0, p->pcide ? (u32)p->cr3 & 0xfff : NO_PCID);
    for (unsigned i = 0; i < 2 * WALK_CACHED; i++)
        v->reserved[i / 2][i % 2] = walk_reserved(&m->paging, i / 2 + 1, i % 2);
    for (unsigned k = 0; k < MMU_KINDS; k++)
        for (unsigned i = 0; i < ARRAY_SIZE(v->rights[k]); i++)
            v->rights[k][i] = walk_rights(&m->paging, (enum mmu_kind)k, i & 1, i & 2, i & 4);
    /* Only SMAP tells the two supervisor kinds apart. */
    for (unsigned k = 0; k < MMU_KINDS; k++)
        v->kind_map[k] = (u8)k;
    if (!p->smap || !p->enabled)
        v->kind_map[MMU_SUPERVISOR_AC] = MMU_SUPERVISOR;
    select_contexts(m);
}

void mmu_load_cr3(struct mmu *m, u64 cr3, bool noflush)
{
    m->paging.cr3 = cr3 & ~BIT64(63);
    mmu_load_pdptes(m);
    log_event(mmu, "cpu%d cr3 %016llx%s\n", m->cpu_index, (unsigned long long)m->paging.cr3,
              noflush ? " noflush" : "");
    if (!m->paging.pcide) {
        flush_slot(m, 0, m->paging.pge);
        return;
    }
    forget_tables(m);
    u32 pcid = (u32)cr3 & 0xfff;
    bool hit;
    unsigned slot = find_slot(m->priv, pcid, &hit);
    if (m->without & MMU_WITHOUT_ASIDS) {
        hit = false;
        slot = 0;
    }
    if (!hit)
        flush_slot(m, slot, false);
    else if (!noflush)
        flush_slot(m, slot, true);
    else
        m->priv->counters.asid_hits++;
    use_slot(m, slot, pcid);
    select_contexts(m);
}

void mmu_set_pkru(struct mmu *m, u32 pkru)
{
    u32 changed = pkru ^ m->paging.pkru, keys = m->priv->keys;
    m->paging.pkru = pkru;
    bool stale = false;
    for (; keys; keys &= keys - 1)
        stale |= changed >> 2 * __builtin_ctz(keys) & 3;
    if (m->paging.pke && m->paging.long_mode && stale)
        mmu_flush_all(m);
}

/* ---- life ---- */

bool mmu_init(struct mmu *m, struct bus *bus, int cpu_index)
{
    memset(m, 0, sizeof *m);
    struct mmu_private *v = ram_reserve(sizeof *v);
    if (!v)
        return false;
    v->contexts = ram_reserve(TLB_CONTEXTS * sizeof *v->contexts);
    unsigned slot = 0;
    bus_lock(bus);
    unsigned count = atomic_load(&bus->mmu_count);
    while (slot < count && atomic_load(&bus->mmus[slot]))
        slot++;
    if (!v->contexts || slot == BUS_MAX_MMUS) {
        bus_unlock(bus);
        ram_release(v->contexts, TLB_CONTEXTS * sizeof *v->contexts);
        ram_release(v, sizeof *v);
        return false;
    }
    atomic_flag_clear(&v->lock);
    atomic_store(&m->generation, 1); /* no table has that of 0 */
    v->slot = slot;
    m->priv = v;
    m->bus = bus;
    m->cpu_index = cpu_index;
    mmu_set_paging(m, &(struct paging){0});
    atomic_store(&bus->mmus[slot], m);
    if (slot == count)
        atomic_store(&bus->mmu_count, count + 1);
    bus_unlock(bus);
    return true;
}

void mmu_free(struct mmu *m)
{
    struct bus *b = m->bus;
    if (!m->priv)
        return;
    bus_lock(b);
    for (unsigned i = 0; i < atomic_load(&b->mmu_count); i++)
        if (atomic_load(&b->mmus[i]) == m)
            atomic_store(&b->mmus[i], NULL);
    bus_unlock(b);
    ram_release(m->priv->contexts, TLB_CONTEXTS * sizeof *m->priv->contexts);
    ram_release(m->priv, sizeof *m->priv);
    memset(m, 0, sizeof *m);
}

const struct mmu_counters *mmu_counters(const struct mmu *m)
{
    return &m->priv->counters;
}

void mmu_print_tlb(struct mmu *m, void (*print)(void *opaque, const char *fmt, ...), void *opaque)
{
    unsigned index = tlb_index(m, m->kind);
    const struct tlb_state *s = &m->priv->states[index];
    static const char *const sizes[] = {"4K", "2M", "4M", "1G"};
    for (u32 i = 0; i < s->entries; i++) {
        const struct tlb_entry *e = &m->priv->contexts[index].entries[i];
        if (!tlb_in_use(s, i))
            continue;
        print(opaque, "%016llx: %016llx %s %c%c%c%s\n", (unsigned long long)tlb_entry_page(e),
              (unsigned long long)(e->phys & PAGE_MASK & BUS_ADDRESS), sizes[tlb_page_size(e)],
              e->phys & TLB_GLOBAL ? 'g' : '-', e->phys & TLB_CAN_WRITE ? 'w' : '-',
              e->phys & TLB_CAN_EXEC ? 'x' : '-', e->phys & TLB_IO ? " io" : "");
    }
}

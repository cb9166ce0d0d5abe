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
#include "mmu/bus_private.h"
#include "mmu/codepage.h"
#include "mmu/written.h"
#include "mmu/walk.h"

#define NO_PCID 0u
/* Entries of pages behind the one asked for that are filled with it at most: a power of two, less
 * one. */
#define AHEAD 7u

static const u8 tlb_page_shifts[TLB_SIZES] = {12, 21, 22, 30};

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

static u64 entry_page(const struct tlb_entry *e)
{
    return e->phys & TLB_IO ? e->addend : e->read;
}

static void move_bit(struct tlb_bits *b, u32 from, u32 to)
{
    if (bits_has(b, from)) {
        bits_remove(b, from);
        bits_add(b, to);
    }
}

static bool in_use(const struct tlb_state *s, u32 i)
{
    return bits_has(&s->local, i) || bits_has(&s->global, i);
}

/* The gibibyte of an address as one of LARGE_BITS numbers. */
static unsigned large_hash(u64 la)
{
    return (unsigned)((la >> 30) * 0x9e3779b97f4a7c15ull >> 54);
}
static_assert(LARGE_BITS == 1u << (64 - 54), "the hash has other bits");

/* And as one of 64 bits. */
static u64 large_bit(u64 la)
{
    return BIT64(large_hash(la) % 64);
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
        if (!in_use(s, i))
            continue;
        u32 to = (u32)(entry_page(&c->entries[i]) >> PAGE_SHIFT) & (2 * old - 1);
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

static unsigned page_size(const struct tlb_entry *e)
{
    return e->phys >> TLB_SIZE_SHIFT & (TLB_SIZES - 1);
}

static bool is_large(const struct tlb_entry *e)
{
    return page_size(e) != 0;
}

/* The table is about to lose e, whose jumps stay. */
static void note_lost(struct tlb_state *s, const struct tlb_entry *e)
{
    if (!(e->phys & TLB_FETCHED))
        return;
    s->fetch_lost = true;
    if (is_large(e))
        s->large_lost |= large_bit(entry_page(e));
}

/* Drops the entries of a set, from word `w` of it on; lost: NULL if their jumps go too. */
static void flush_map(struct tlb_context *c, struct tlb_bits *map, unsigned w,
                      struct tlb_state *lost)
{
    for (w = bits_word(map, w); w < BITS_WORDS; w = bits_word(map, w)) {
        for (u64 bits = map->words[w]; bits; bits &= bits - 1) {
            struct tlb_entry *e = &c->entries[w * 64 + (u32)__builtin_ctzll(bits)];
            if (lost)
                note_lost(lost, e);
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

/* Before a fill, without the lock: doubles a context in which many entries have pushed out others
 * since the last flush. */
static void consider_growing(struct mmu *m, unsigned index)
{
    struct tlb_state *s = &m->priv->states[index];
    if (likely(s->conflicts <= s->entries / 4))
        return;
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
    if ((entry_page(e) ^ la) >> shift)
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
            if (page_size(&c->entries[i]) == size)
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
        bool large = s->large_lost & large_bit(la);
        for (unsigned size = 1; s->any_large && size < TLB_SIZES; size++)
            if (s->large[size][large_hash(la) / 64] >> large_hash(la) % 64 & 1)
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

/* ---- filling ---- */

static unsigned size_code(unsigned shift)
{
    for (unsigned i = 0; i < ARRAY_SIZE(tlb_page_shifts); i++)
        if (tlb_page_shifts[i] == shift)
            return i;
    return 0; /* no paging: INVLPG of any piece concerns that piece only */
}

static u64 entry_rights(u8 rights)
{
    return (rights & BIT(MMU_WRITE) ? TLB_CAN_WRITE : 0) |
           (rights & BIT(MMU_EXEC) ? TLB_CAN_EXEC : 0);
}

/* What the TLB says about one page; the write tag is decided under the lock. */
static struct tlb_entry make_entry(u64 page, const struct walk_result *r, struct bus_page host)
{
    struct tlb_entry e = {.read = TLB_INVALID, .write = TLB_INVALID, .addend = page};
    e.phys = r->phys | size_code(r->page_shift) << TLB_SIZE_SHIFT;
    e.phys |= (r->global ? TLB_GLOBAL : 0) | entry_rights(r->rights);
    if (!host.read) {
        e.phys |= TLB_IO;
        return e;
    }
    e.addend = (u64)(uintptr_t)host.read - page;
    e.read = r->rights & BIT(MMU_READ) ? page : TLB_INVALID;
    e.phys |= host.write ? 0 : TLB_ROM;
    return e;
}

/* Entry i is in use: takes note of what its page leaves behind. */
static inline void displace(struct tlb_context *c, struct tlb_state *s, u64 page,
                            struct tlb_entry *e, u32 i)
{
    const struct tlb_entry *old = &c->entries[i];
    bool same = tlb_entry_is(old, page);
    s->conflicts += !same;
    if (same && (e->phys & TLB_CAN_EXEC))
        e->phys |= old->phys & TLB_FETCHED;
    else
        note_lost(s, old);
    bits_remove(e->phys & TLB_GLOBAL ? &s->local : &s->global, i);
}

/* Lock held. */
static inline __attribute__((always_inline)) void fill(struct tlb_context *c, struct tlb_state *s,
                                                       u64 page, struct tlb_entry *e)
{
    u32 i = (u32)(page >> PAGE_SHIFT) & (s->entries - 1);
    if (in_use(s, i))
        displace(c, s, page, e, i);
    bits_add(e->phys & TLB_GLOBAL ? &s->global : &s->local, i);
    if (is_large(e)) {
        s->large[page_size(e)][large_hash(page) / 64] |= BIT64(large_hash(page) % 64);
        s->any_large = true;
    }
    /* Field by field, for a host waits when wide loads read what has just been stored in parts. */
    struct tlb_entry *to = &c->entries[i];
    tlb_set_field(&to->read, e->read);
    tlb_set_field(&to->write, e->write);
    tlb_set_field(&to->addend, e->addend);
    tlb_set_field(&to->phys, e->phys);
    s->fills++;
}

/* ---- watched ranges ---- */

static bool page_watched(const struct mmu *m, u64 page)
{
    for (unsigned i = 0; i < ARRAY_SIZE(m->watch); i++)
        if (m->watch[i].len && (m->watch[i].la & PAGE_MASK) == page)
            return true;
    return false;
}

void mmu_set_watches(struct mmu *m, const struct mmu_watch watch[4],
                     void (*hit)(struct mmu *m, unsigned hits))
{
    struct mmu_watch old[4];
    memcpy(old, m->watch, sizeof old);
    memcpy(m->watch, watch, sizeof m->watch);
    m->watch_hit = hit;
    m->watching = false;
    for (unsigned i = 0; i < 4; i++) {
        bool same = old[i].la == watch[i].la && old[i].len && watch[i].len;
        m->watching |= watch[i].len != 0;
        if (old[i].len && !same)
            mmu_flush_page(m, old[i].la);
        if (watch[i].len && !same)
            mmu_flush_page(m, watch[i].la);
    }
}

/* The page that r leads to.  While SMRAM is closed to data (i440fx.c, D_CLS) fetches in SMM find
 * another one than loads, and no entry of the TLB can serve both. */
static struct bus_page find_page(struct mmu *m, enum mmu_access access, struct walk_result *r,
                                 bool *one_view)
{
    struct bus_page data = bus_page_of(m->bus, r->phys);
    if (likely(!m->paging.smm))
        return data;
    struct bus_page code = bus_page(m->bus, r->phys | BUS_SMM_CODE);
    if (code.read == data.read)
        return data;
    *one_view = false;
    if (access != MMU_EXEC)
        return data;
    r->phys |= BUS_SMM_CODE;
    return code;
}

/* A table of this generation that a walk has found at level 1, or at 2, where it ends for pages of
 * 2 MiB. */
struct leaf_table {
    const struct walk_table *t;
    unsigned level;
    u64 generation;
};

/* The RAM page at phys, if there is plain RAM, in one of the longest ranges; else NULL.  The
 * generation has been read before: a map that changes makes another one. */
static inline u8 *plain_ram(struct mmu *m, u64 generation, u64 phys)
{
    struct mmu_private *v = m->priv;
    struct view_range *near = &v->near;
    if (unlikely(v->near_stamp != generation || !view_range_has_page(near, phys))) {
        v->near_stamp = 0;
        if (phys & BUS_SMM || !space_find_big(&m->bus->memory, 0, phys, near) ||
            near->access != (RANGE_READ | RANGE_WRITE))
            return NULL;
        v->near_stamp = generation;
    }
    return near->host + (phys - near->start);
}

/* The entry for the page of la that its paging entry alone gives, in a table of level 1, or 2 for a
 * large page; which needs no bit set and leads to plain RAM; no write tag yet.  False: walk_page
 * decides. */
static inline bool leaf_entry(struct mmu *m, const struct leaf_table *leaf, enum mmu_kind kind,
                              u64 la, u8 needs, struct tlb_entry *out)
{
    struct mmu_private *v = m->priv;
    const struct walk_table *t = leaf->t;
    bool large = leaf->level == 2;
    unsigned shift = large ? 21 : PAGE_SHIFT;
    u64 e = ram_load(t->host + (la >> shift & 511) * 8, 8), within = BIT64(shift) - 1;
    if ((e & (PTE_P | PTE_A)) != (PTE_P | PTE_A) || e & v->reserved[large] ||
        (large && !(e & PTE_PS)))
        return false;
    bool user = t->user && (e & PTE_U);
    unsigned key = m->paging.long_mode ? e >> 59 & 15 : 0;
    u8 rights = v->rights[kind][rights_index(user, t->rw && (e & PTE_W), t->xd || e >> 63)];
    if (unlikely(m->paging.pke))
        rights = walk_key_rights(&m->paging, kind, user, key, rights);
    rights &= e & PTE_D ? 0xff : ~BIT(MMU_WRITE);
    u64 page = la & PAGE_MASK;
    u64 phys = ((e & PTE_ADDR & ~within) | (page & within)) & bus_a20(m->bus);
    u8 *host;
    if ((rights & needs) != needs || !(host = plain_ram(m, leaf->generation, phys)))
        return false;
    v->keys |= (u16)(1u << key);
    out->read = page;
    out->write = TLB_INVALID;
    out->addend = (u64)(uintptr_t)host - page;
    out->phys = phys | entry_rights(rights) | (m->paging.pge && e & PTE_G ? TLB_GLOBAL : 0) |
                (large ? 1u << TLB_SIZE_SHIFT : 0);
    return true;
}

/* The RAM page of an entry that may have a write tag; else NULL. */
static inline u8 *writable_page(const struct tlb_entry *e)
{
    return (e->phys & (TLB_CAN_WRITE | TLB_IO | TLB_ROM)) == TLB_CAN_WRITE && e->read != TLB_INVALID
               ? (u8 *)(uintptr_t)(e->read + e->addend)
               : NULL;
}

/* What has to be done before the lock is taken to give the entry a write tag. */
static inline void claim_write(struct mmu *m, const struct tlb_entry *e)
{
    u8 *host = writable_page(e);
    if (host && unlikely(!tagged_at(m->priv, bus_ram_page(m->bus, host), e->read)))
        tagged_claim(m, host, e->read);
}

/* And then under the lock: gives it the tag if emitted code may store there.  A mark that is set
 * later finds the place that was claimed, and takes the lock to drop the tag again.  `drops` was
 * read before the claim: as long as it stays nobody has taken that away. */
static inline void allow_write(struct mmu *m, struct tlb_entry *e, u32 drops)
{
    struct bus *b = m->bus;
    u8 *host = writable_page(e);
    if (!host || code_marks(b, host) || code_cooling(b, host) ||
        (unlikely(m->priv->drops != drops) &&
         !tagged_at(m->priv, bus_ram_page(b, host), e->read)))
        return;
    written_note(b, host);
    tlb_set_field(&e->write, e->read);
}

static inline u32 drops_before(const struct mmu_private *v)
{
    return __atomic_load_n(&v->drops, __ATOMIC_ACQUIRE);
}

/* The guest goes through memory page by page: the entries of its next pages, whose paging entries
 * lie in the same line of the host's cache.  They have been accessed before, so a processor may
 * have them too (SDM vol. 3A 4.10.2.3).  Returns how many they are. */
static unsigned look_ahead(struct mmu *m, const struct leaf_table *leaf, enum mmu_kind kind,
                           u64 page, struct tlb_entry ahead[AHEAD])
{
    struct mmu_private *v = m->priv;
    const struct tlb_state *s = &v->states[tlb_index(m, kind)];
    unsigned n = 0;
    for (; page >> PAGE_SHIFT & AHEAD; page += PAGE_SIZE, n++) {
        if (in_use(s, (u32)(page >> PAGE_SHIFT) & (s->entries - 1)) ||
            !leaf_entry(m, leaf, kind, page, BIT(MMU_READ), &ahead[n]))
            break;
        claim_write(m, &ahead[n]);
    }
    v->next_page = page;
    v->counters.ahead += n;
    return n;
}

/* What most misses need: the last level alone, of which nothing has to be changed. */
static inline bool refill(struct mmu *m, enum mmu_kind kind, u64 la, enum mmu_access access,
                          struct tlb_entry *out)
{
    struct mmu_private *v = m->priv;
    unsigned index = tlb_index(m, kind), n = 1;
    u64 page = la & PAGE_MASK;
    struct leaf_table leaf = {.level = 1, .generation = atomic_load(&m->generation)};
    struct tlb_entry ahead[AHEAD], *e = out;
    if (!(leaf.t = walk_table_find(&v->tables, la, 1, leaf.generation)))
        leaf.t = walk_table_find(&v->tables, la, leaf.level = 2, leaf.generation);
    if (!leaf.t || m->watching || m->paging.smm ||
        !leaf_entry(m, &leaf, kind, la, (u8)(BIT(access) | BIT(MMU_READ)), e))
        return false;
    __builtin_prefetch((u8 *)(uintptr_t)(la + e->addend));
    v->counters.walks++;
    v->counters.short_walks++;
    v->counters.large += leaf.level == 2;
    u32 drops = drops_before(v);
    claim_write(m, e);
    if (page == v->next_page)
        n += look_ahead(m, &leaf, kind, page + PAGE_SIZE, ahead);
    else if (access != MMU_EXEC)
        v->next_page = page + PAGE_SIZE;
    tlb_lock(v);
    bool current = atomic_load(&m->generation) == leaf.generation;
    for (unsigned i = 0; i < n; e = &ahead[i++]) {
        allow_write(m, e, drops);
        if (likely(current))
            fill(&v->contexts[index], &v->states[index], e->read, e);
    }
    tlb_unlock(v);
    v->counters.fills += n;
    return true;
}

static enum mmu_status miss(struct mmu *m, enum mmu_kind kind, u64 la, enum mmu_access access,
                            struct tlb_entry *out)
{
    struct mmu_private *v = m->priv;
    mmu_run_pending(m);
    consider_growing(m, tlb_index(m, kind));
    if (likely(refill(m, kind, la, access, out)))
        return MMU_OK;
    if (!walk_canonical(&m->paging, la)) {
        m->fault_addr = la;
        return MMU_NONCANONICAL;
    }
    u64 generation = atomic_load(&m->generation);
    struct walk_request q = {.la = la,
                             .kind = kind,
                             .access = access,
                             .update = true,
                             .tables = &v->tables,
                             .stamp = generation};
    struct walk_result r;
    v->counters.walks++;
    if (!walk_page(&m->paging, m->pdpte, m->bus, &q, &r)) {
        if (tlb_entry_is(mmu_tlb_slot(m, kind, la), la & PAGE_MASK))
            mmu_flush_page(m, la); /* SDM vol. 3A 4.10.4.1 */
        m->fault_addr = la;
        m->fault_code = r.fault;
        log_event(mmu, "cpu%d page fault at %016llx code %02x\n", m->cpu_index,
                  (unsigned long long)la, r.fault);
        return MMU_PAGE_FAULT;
    }
    v->keys |= (u16)(1u << r.key);
    v->counters.short_walks += r.cached;
    u64 page = la & PAGE_MASK;
    bool one_view = true;
    struct bus_page host = find_page(m, access, &r, &one_view);
    *out = make_entry(page, &r, host);
    if (unlikely(m->watching) && page_watched(m, page)) {
        if (!(out->phys & TLB_IO))
            out->write = TLB_INVALID;
        out->phys |= TLB_WATCHED;
        return MMU_OK;
    }
    u32 drops = drops_before(v);
    claim_write(m, out);
    tlb_lock(v);
    allow_write(m, out, drops);
    /* Without a read tag only the fetch was allowed (SMAP): it has no place in the table. */
    if (one_view && ((out->phys & TLB_IO) ? r.rights & BIT(MMU_READ) : out->read == page) &&
        atomic_load(&m->generation) == generation) {
        unsigned index = tlb_index(m, kind);
        fill(&v->contexts[index], &v->states[index], page, out);
        v->counters.fills++;
    }
    tlb_unlock(v);
    if (access != MMU_EXEC)
        v->next_page = page + PAGE_SIZE;
    return MMU_OK;
}

enum mmu_status tlb_translate(struct mmu *m, enum mmu_kind kind, u64 la, enum mmu_access access,
                              struct tlb_entry *out)
{
    struct tlb_entry *e = mmu_tlb_slot(m, kind, la);
    static const u32 needs[] = {
        [MMU_READ] = 0, [MMU_WRITE] = TLB_CAN_WRITE, [MMU_EXEC] = TLB_CAN_EXEC};
    if (likely(tlb_entry_is(e, la & PAGE_MASK)) && (e->phys & needs[access]) == needs[access]) {
        *out = (struct tlb_entry){.read = tlb_field(&e->read),
                                  .write = tlb_field(&e->write),
                                  .addend = tlb_field(&e->addend),
                                  .phys = e->phys};
        return MMU_OK;
    }
    return miss(m, kind, la, access, out);
}

void tlb_allow_write(struct mmu *m, enum mmu_kind kind, u64 la)
{
    struct tlb_entry *e = mmu_tlb_slot(m, kind, la),
                     now = {tlb_field(&e->read), .phys = e->phys, .addend = tlb_field(&e->addend)};
    if (now.read != (la & PAGE_MASK))
        return;
    u32 drops = drops_before(m->priv);
    claim_write(m, &now);
    tlb_lock(m->priv);
    if (e->read == now.read)
        allow_write(m, e, drops);
    tlb_unlock(m->priv);
}

void tlb_note_fetch(struct mmu *m, enum mmu_kind kind, u64 la)
{
    struct tlb_entry *e = mmu_tlb_slot(m, kind, la);
    if (likely(tlb_entry_is(e, la & PAGE_MASK) && e->phys & TLB_FETCHED))
        return;
    struct tlb_state *s = &m->priv->states[tlb_index(m, kind)];
    tlb_lock(m->priv);
    if (tlb_entry_is(e, la & PAGE_MASK)) {
        e->phys |= TLB_FETCHED;
    } else {
        s->fetch_lost = true;
        s->large_lost |= large_bit(la); /* it may be */
    }
    tlb_unlock(m->priv);
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
    for (unsigned level = 1; level <= 2; level++)
        v->reserved[level - 1] = walk_reserved(&m->paging, level);
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
        if (!in_use(s, i))
            continue;
        print(opaque, "%016llx: %016llx %s %c%c%c%s\n", (unsigned long long)entry_page(e),
              (unsigned long long)(e->phys & PAGE_MASK & BUS_ADDRESS), sizes[page_size(e)],
              e->phys & TLB_GLOBAL ? 'g' : '-', e->phys & TLB_CAN_WRITE ? 'w' : '-',
              e->phys & TLB_CAN_EXEC ? 'x' : '-', e->phys & TLB_IO ? " io" : "");
    }
}

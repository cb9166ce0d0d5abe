/* Filling the TLBs of a vCPU: what a miss does, and the translations of whoever is no emitted code.
 *
 * Most misses read one paging entry, in a table that a walk has found before; what has to set bits,
 * faults or leads elsewhere than to plain RAM walks (walk.c).  Threads: see tlb.c and tagged.c.
 */
#include "mmu/tlb.h"

#include "base/log.h"
#include "mmu/codepage.h"
#include "mmu/written.h"

/* Entries of pages behind the one asked for that are filled with it at most: a power of two, less
 * one. */
#define AHEAD 7u

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
        tlb_note_lost(s, old);
    bits_remove(e->phys & TLB_GLOBAL ? &s->local : &s->global, i);
}

/* Lock held. */
static inline __attribute__((always_inline)) void fill(struct tlb_context *c, struct tlb_state *s,
                                                       u64 page, struct tlb_entry *e)
{
    u32 i = (u32)(page >> PAGE_SHIFT) & (s->entries - 1);
    if (tlb_in_use(s, i))
        displace(c, s, page, e, i);
    bits_add(e->phys & TLB_GLOBAL ? &s->global : &s->local, i);
    if (tlb_is_large(e)) {
        s->large[tlb_page_size(e)][tlb_large_hash(page) / 64] |= BIT64(tlb_large_hash(page) % 64);
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

/* A table of this generation where walks end: at level 1, or above for large pages. */
struct leaf_table {
    const struct walk_table *t; /* or NULL */
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

static inline unsigned shift_of(unsigned level)
{
    return PAGE_SHIFT + 9 * (level - 1);
}

/* The next table on the way to la, of which table d of this level says that it has been accessed
 * and lies in plain RAM, as a walk would cache it; else NULL. */
static const struct walk_table *table_below(struct mmu *m, const struct walk_table *d,
                                            unsigned level, u64 generation, u64 la)
{
    struct mmu_private *v = m->priv;
    u64 e = ram_load(d->host + (la >> shift_of(level) & 511) * 8, 8), gpa = e & PTE_ADDR;
    u8 *host;
    if ((e & (PTE_P | PTE_A | PTE_PS)) != (PTE_P | PTE_A) || e & v->reserved[level - 1][0] ||
        !(host = plain_ram(m, generation, gpa & bus_a20(m->bus))))
        return NULL;
    struct walk_table *t = walk_table_slot(&v->tables, la, level - 1);
    t->region = la >> shift_of(level);
    t->stamp = generation;
    t->gpa = gpa;
    t->host = host;
    t->user = d->user && (e & PTE_U);
    t->rw = d->rw && (e & PTE_W);
    t->xd = d->xd || e >> 63;
    return t;
}

/* The last table on the way to la, if walks have come near enough.  Not in system management mode,
 * whose tables lie in another view of memory. */
static inline struct leaf_table find_table(struct mmu *m, u64 la)
{
    struct mmu_private *v = m->priv;
    struct leaf_table leaf = {.level = 1, .generation = atomic_load(&m->generation)};
    while (!(leaf.t = walk_table_find(&v->tables, la, leaf.level, leaf.generation)))
        if (++leaf.level > WALK_CACHED)
            return leaf;
    const struct walk_table *below;
    while (leaf.level > 1 && (below = table_below(m, leaf.t, leaf.level, leaf.generation, la))) {
        leaf.t = below;
        leaf.level--;
    }
    return leaf;
}

/* The entry for the page of la that its paging entry in the last table alone gives, which needs no
 * bit set and leads to plain RAM; no write tag yet.  False: walk_page decides. */
static inline bool leaf_entry(struct mmu *m, const struct leaf_table *leaf, enum mmu_kind kind,
                              u64 la, u8 needs, struct tlb_entry *out)
{
    struct mmu_private *v = m->priv;
    const struct walk_table *t = leaf->t;
    static const u8 size_codes[WALK_CACHED] = {0, 1, 3};
    bool large = leaf->level > 1;
    unsigned shift = shift_of(leaf->level);
    u64 e = ram_load(t->host + (la >> shift & 511) * 8, 8), within = BIT64(shift) - 1;
    if ((e & (PTE_P | PTE_A)) != (PTE_P | PTE_A) || e & v->reserved[leaf->level - 1][1] ||
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
                (u32)size_codes[leaf->level - 1] << TLB_SIZE_SHIFT;
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
        if (tlb_in_use(s, (u32)(page >> PAGE_SHIFT) & (s->entries - 1)) ||
            !leaf_entry(m, leaf, kind, page, BIT(MMU_READ), &ahead[n]))
            break;
        claim_write(m, &ahead[n]);
    }
    v->next_page = page;
    v->counters.filled_ahead += n;
    return n;
}

/* What most misses need: the last level alone, of which nothing has to be changed. */
static inline bool refill(struct mmu *m, enum mmu_kind kind, u64 la, enum mmu_access access,
                          struct tlb_entry *out)
{
    struct mmu_private *v = m->priv;
    unsigned index = tlb_index(m, kind), n = 1;
    u64 page = la & PAGE_MASK;
    struct tlb_entry ahead[AHEAD], *e = out;
    if (unlikely(m->watching || m->paging.smm || m->without & MMU_WITHOUT_WALKS))
        return false;
    struct leaf_table leaf = find_table(m, la);
    if (!leaf.t ||
        !leaf_entry(m, &leaf, kind, la, (u8)(BIT(access) | BIT(MMU_READ)), e))
        return false;
    __builtin_prefetch((u8 *)(uintptr_t)(la + e->addend));
    v->counters.walks++;
    v->counters.short_walks++;
    v->counters.large += leaf.level > 1;
    u32 drops = drops_before(v);
    claim_write(m, e);
    if (page == v->next_page && !(m->without & MMU_WITHOUT_AHEAD))
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
    struct tlb_state *s = &v->states[tlb_index(m, kind)];
    if (unlikely(s->conflicts > s->entries / 4))
        tlb_consider_growing(m, tlb_index(m, kind));
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
                             .tables = m->without & MMU_WITHOUT_WALKS ? NULL : &v->tables,
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
        s->large_lost |= tlb_large_bit(la); /* it may be */
    }
    tlb_unlock(m->priv);
}

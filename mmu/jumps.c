/* The translator's jump caches, one for each context (mmu.h): putting in, and taking out what a
 * changed mapping makes wrong.
 *
 * Bitmaps of the sets in use, apart for those that hold code on global pages only, make a flush
 * cost what was put in.  The owner alone puts in and clears bits; another thread's flush empties
 * the entries and leaves the bits, since the owner, who may be putting a jump in, comes again.
 * Emitted code swaps entries within a set.
 *
 * Links (mmu_map_id) are not known one by one: what would drop an entry makes the numbers of its
 * kind of page invalid, and who follows a link compares its number first.
 */
#include "mmu/tlb.h"

static void empty_set(struct tlb_context *c, unsigned n)
{
    for (unsigned i = n * JUMP_WAYS; i < (n + 1) * JUMP_WAYS; i++)
        tlb_set_field(&c->jumps[i].tag, jump_empty(i));
}

static void empty_map(struct tlb_context *c, struct tlb_bits *map, bool own)
{
    for (unsigned w = bits_word(map, 0); w < BITS_WORDS; w = bits_word(map, w + 1)) {
        for (u64 bits = tlb_field(&map->words[w]); bits; bits &= bits - 1)
            empty_set(c, w * 64 + (unsigned)__builtin_ctzll(bits));
        if (own)
            bits_put_word(map, w, 0);
    }
}

static void end_local_links(struct tlb_context *c)
{
    __atomic_store_n(&c->map_id[false], 0, __ATOMIC_RELAXED);
}

static void set_global_links(struct mmu_private *v, u32 id)
{
    v->map_global = id;
    for (u32 left = v->ready; left;)
        __atomic_store_n(&v->contexts[tlb_next_context(&left)].map_id[true], id, __ATOMIC_RELAXED);
}

void jumps_init(struct mmu_private *v, unsigned index)
{
    struct tlb_context *c = &v->contexts[index];
    c->map_id[true] = v->map_global;
    for (unsigned n = 0; n < JUMP_ENTRIES / JUMP_WAYS; n++)
        empty_set(c, n);
}

void jumps_flush(struct mmu_private *v, unsigned index, bool keep_global, bool own)
{
    struct tlb_context *c = &v->contexts[index];
    struct tlb_state *s = &v->states[index];
    end_local_links(c);
    if (!keep_global && (v->map_global || c->map_id[true]))
        set_global_links(v, 0);
    empty_map(c, &s->jumps[false], own);
    if (own)
        bits_empty(&s->jump_pages[false]);
    if (keep_global)
        return;
    empty_map(c, &s->jumps[true], own);
    if (own) {
        bits_empty(&s->jump_pages[true]);
        s->fetch_lost = false;
        s->large_lost = 0;
    }
}

/* Which bit of jump_pages stands for the page of a tag or linear address: as many as the jump cache
 * has entries, so that a flush finds them close together. */
static unsigned page_bit(u64 la)
{
    u64 page = la << 16 >> (16 + PAGE_SHIFT);
    return (unsigned)(page * 0x9e3779b97f4a7c15ull >> 32) % JUMP_ENTRIES;
}

static void note_page(struct tlb_state *s, u64 la, bool global)
{
    bits_add(&s->jump_pages[global], page_bit(la));
}

/* Whether code with this tag may lie on the page of la; tags have the mode in their top 16 bits. */
static bool on_page(u64 tag, u64 la)
{
    return !((tag ^ la) << 16 >> (16 + PAGE_SHIFT)) ||
           !(((tag + JUMP_CROSSING) ^ la) << 16 >> (16 + PAGE_SHIFT));
}

void jumps_drop_page(struct mmu_private *v, unsigned index, u64 la)
{
    struct tlb_context *c = &v->contexts[index];
    struct tlb_state *s = &v->states[index];
    unsigned bit = page_bit(la);
    if (!bits_has(&s->jump_pages[0], bit) && !bits_has(&s->jump_pages[1], bit))
        return;
    end_local_links(c);
    if (bits_has(&s->jump_pages[true], bit))
        set_global_links(v, 0);
    for (unsigned w = 0; w < JUMP_ENTRIES / JUMP_WAYS / 64; w++) {
        for (u64 bits = s->jumps[0].words[w] | s->jumps[1].words[w]; bits; bits &= bits - 1) {
            unsigned first = (w * 64 + (unsigned)__builtin_ctzll(bits)) * JUMP_WAYS;
            for (unsigned i = first; i < first + JUMP_WAYS; i++)
                if (on_page(c->jumps[i].tag, la))
                    tlb_set_field(&c->jumps[i].tag, jump_empty(i));
        }
    }
}

/* Marks a set as used: apart if all in it is global. */
static void mark_set(struct tlb_state *s, unsigned n, bool global)
{
    bits_remove(&s->jumps[!global], n);
    bits_add(&s->jumps[global], n);
}

void mmu_put_jump(struct mmu *m, unsigned index, u64 tag, u64 code, bool global)
{
    struct tlb_state *s = &m->priv->states[tlb_index(m, m->kind)];
    unsigned n = index / JUMP_WAYS, to = JUMP_WAYS, used = 0;
    u64 empty = jump_empty(index);
    note_page(s, tag, global);
    note_page(s, tag + JUMP_CROSSING, global);
    struct jump_entry *ways = &m->context->jumps[n * JUMP_WAYS], *own = &m->context->jumps[index];
    for (unsigned i = 0; i < JUMP_WAYS; i++) {
        if (ways[i].tag == tag) /* of code that is gone */
            tlb_set_field(&ways[i].tag, empty);
        if (ways[i].tag != empty)
            used++;
        else if (&ways[i] != own)
            to = i;
    }
    if (to == JUMP_WAYS)
        to = (index + 1 + m->priv->jump_victim++ % (JUMP_WAYS - 1)) % JUMP_WAYS;
    mark_set(s, n, global && (!used || bits_has(&s->jumps[true], n)));
    if (own->tag != empty) {
        tlb_set_field(&ways[to].tag, empty);
        tlb_set_field(&ways[to].code, own->code);
        tlb_set_field(&ways[to].tag, own->tag);
    }
    tlb_set_field(&own->tag, empty);
    tlb_set_field(&own->code, code);
    tlb_set_field(&own->tag, tag);
}

u32 mmu_map_id(struct mmu *m, u64 la, bool global)
{
    struct mmu_private *v = m->priv;
    struct tlb_state *s = &v->states[tlb_index(m, m->kind)];
    note_page(s, la, global);
    note_page(s, la + JUMP_CROSSING, global);
    u32 id = __atomic_load_n(&m->context->map_id[global], __ATOMIC_RELAXED);
    if (id || v->map_serial == MMU_NO_MAP - 1)
        return id;
    id = ++v->map_serial;
    if (global)
        set_global_links(v, id);
    else
        __atomic_store_n(&m->context->map_id[false], id, __ATOMIC_RELAXED);
    return id;
}

/* The translator's jump caches, one for each context (mmu.h): putting in, and taking out what a
 * changed mapping makes wrong.
 *
 * Bitmaps of the entries in use, apart for code on global pages, make a flush cost what was put in.
 * The owner alone puts in and clears bits; another thread's flush empties the entries and leaves
 * the bits, since the owner, who may be putting a jump in, comes again.
 */
#include "mmu/tlb.h"

static void set(u64 *field, u64 value)
{
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static void empty_map(struct tlb_context *c, u64 *map, bool own)
{
    for (unsigned w = 0; w < JUMP_WORDS; w++) {
        u64 bits = tlb_field(&map[w]);
        if (!bits)
            continue;
        if (own)
            set(&map[w], 0);
        for (; bits; bits &= bits - 1) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);
            set(&c->jumps[i].tag, jump_empty(i));
        }
    }
}

void jumps_init(struct tlb_context *c)
{
    for (unsigned i = 0; i < JUMP_ENTRIES; i++)
        set(&c->jumps[i].tag, jump_empty(i));
}

void jumps_flush(struct tlb_context *c, struct tlb_state *s, bool keep_global, bool own)
{
    empty_map(c, s->jumps[false], own);
    if (keep_global)
        return;
    empty_map(c, s->jumps[true], own);
    if (own)
        s->fetch_lost = false;
}

void jumps_drop_page(struct tlb_context *c, struct tlb_state *s, u64 la)
{
    for (unsigned n = 0; n < 2 * JUMP_WORDS; n++) {
        u64 *map = s->jumps[n / JUMP_WORDS];
        unsigned w = n % JUMP_WORDS;
        for (u64 bits = map[w]; bits; bits &= bits - 1) {
            unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);
            if ((c->jumps[i].tag ^ la) << 16 >> (16 + PAGE_SHIFT))
                continue;
            set(&map[w], map[w] & ~BIT64(i % 64));
            set(&c->jumps[i].tag, jump_empty(i));
        }
    }
}

void mmu_put_jump(struct mmu *m, unsigned index, u64 tag, u64 code, bool global)
{
    struct tlb_state *s = &m->priv->states[tlb_index(m, m->kind)];
    struct jump_entry *j = &m->context->jumps[index];
    u64 bit = BIT64(index % 64);
    unsigned w = index / 64;
    set(&s->jumps[!global][w], s->jumps[!global][w] & ~bit);
    set(&s->jumps[global][w], s->jumps[global][w] | bit);
    set(&j->tag, jump_empty(index));
    set(&j->code, code);
    set(&j->tag, tag);
}

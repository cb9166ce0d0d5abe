/* The TLBs of one vCPU, for the files of mmu/: look-up, filling, flushing, sizes, ASID slots. */
#ifndef DRAGOMAN_MMU_TLB_H
#define DRAGOMAN_MMU_TLB_H

#include <pthread.h>
#include <stdatomic.h>

#include "mmu/bus_private.h"
#include "mmu/mmu.h"
#include "mmu/walk.h"

/* More low bits of tlb_entry.phys.  An entry is either RAM (read tag and addend valid) or TLB_IO;
 * an I/O entry keeps its linear page in addend, which emitted code never looks at then. */
#define TLB_CAN_WRITE 4u /* paging allows stores and D is set, though the write tag may be off */
#define TLB_CAN_EXEC 8u
#define TLB_ROM 16u      /* stores go to the bus */
#define TLB_FETCHED 32u  /* the jump cache may have targets in it */
#define TLB_SIZE_SHIFT 6 /* 2 bits: size of the guest's page, index into tlb_page_shifts */

#define TLB_WATCHED 256u /* only in the copy that tlb_translate gives: see mmu_set_watches */

#define TLB_SIZES 4u /* of guest pages */
#define LARGE_BITS 1024u

#define TLB_CONTEXTS (MMU_ASIDS * MMU_KINDS)

/* A set of numbers below 64 * BITS_WORDS; to walk it costs what is in it.  One thread at a time
 * changes it; others may read. */
#define BITS_WORDS (TLB_MAX_ENTRIES / 64)
struct tlb_bits {
    u64 any;                        /* which words of `high` are not 0 */
    u64 high[BITS_WORDS / 64 / 64]; /* which words of `top` are not */
    u64 top[BITS_WORDS / 64];       /* which of `words` are not */
    u64 words[BITS_WORDS];
};

static inline void tlb_set_field(u64 *field, u64 value)
{
    __atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static inline u64 tlb_field(const u64 *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

static inline bool bits_has(const struct tlb_bits *b, u32 i)
{
    return tlb_field(&b->words[i / 64]) >> (i % 64) & 1;
}

/* Makes bit i of an array say whether something is used; gives the word with it. */
static inline u64 bits_note(u64 *map, unsigned i, bool used)
{
    u64 old = map[i / 64], bit = BIT64(i % 64), now = used ? old | bit : old & ~bit;
    tlb_set_field(&map[i / 64], now);
    return now;
}

static inline void bits_put_word(struct tlb_bits *b, unsigned w, u64 value)
{
    bool was = b->words[w];
    tlb_set_field(&b->words[w], value);
    if (likely(was == (value != 0)))
        return;
    u64 top = bits_note(b->top, w, value), high = bits_note(b->high, w / 64, top);
    bits_note(&b->any, w / 4096, high);
}

static inline void bits_add(struct tlb_bits *b, u32 i)
{
    bits_put_word(b, i / 64, b->words[i / 64] | BIT64(i % 64));
}

static inline void bits_remove(struct tlb_bits *b, u32 i)
{
    if (b->words[i / 64])
        bits_put_word(b, i / 64, b->words[i / 64] & ~BIT64(i % 64));
}

/* The first bit from i on in an array of `words`; 64 * words if there is none. */
static inline unsigned bits_next(const u64 *map, unsigned words, unsigned i)
{
    u64 mask = ~0ull << (i % 64);
    for (unsigned w = i / 64; w < words; w++, mask = ~0ull) {
        u64 bits = tlb_field(&map[w]) & mask;
        if (bits)
            return w * 64 + (unsigned)__builtin_ctzll(bits);
    }
    return 64 * words;
}

/* The first word from w on that is not 0; BITS_WORDS if there is none. */
static inline unsigned bits_word(const struct tlb_bits *b, unsigned w)
{
    u64 any = tlb_field(&b->any);
    unsigned high = any ? 64 - (unsigned)__builtin_clzll(any) : 0; /* the words that matter */
    while (w < high * 4096) {
        unsigned end = (w | 63) + 1, found = bits_next(b->top, end / 64, w);
        if (found < end)
            return found;
        w = 64 * bits_next(b->high, high, end / 64);
    }
    return BITS_WORDS;
}

static inline void bits_empty(struct tlb_bits *b)
{
    for (unsigned w = bits_word(b, 0); w < BITS_WORDS; w = bits_word(b, w))
        bits_put_word(b, w, 0);
}

/* What the slow path keeps about a context. */
struct tlb_state {
    bool fetch_lost; /* an entry that was fetched from was evicted: its jumps are unaccounted */
    u64 large_lost;  /* large_bit of those that were pieces of large pages */
    u32 entries;     /* in use, a power of two */
    u32 fills, conflicts; /* since the last flush or resize */
    u32 low_use;          /* flushes in a row that found it nearly empty */
    bool any_large;
    u64 large[TLB_SIZES][LARGE_BITS / 64]; /* large_hash of the pages put in, by size */
    struct tlb_bits local;                 /* which entries are valid and not global */
    struct tlb_bits global;                /* and global */
    struct tlb_bits jump_pages[2];         /* hashed: pages that may have jumps; [1]: global ones */
    struct tlb_bits jumps[2]; /* sets of the jump cache in use; [1]: by code on global pages only */
};

static_assert(TLB_CONTEXTS <= 32, "mmu_private.ready has fewer bits");

struct asid_slot {
    bool used;
    u32 pcid;
    u64 stamp; /* of the last selection, for LRU */
};

struct mmu_private {
    struct tlb_context *contexts; /* TLB_CONTEXTS, reserved at once, touched when selected */
    u32 ready;                    /* which of them have been initialised */
    struct tlb_state states[TLB_CONTEXTS];
    struct asid_slot slots[MMU_ASIDS];
    u64 stamp;
    u32 map_serial;         /* last number that mmu_map_id has given */
    u32 map_global;         /* map_id[true] of all contexts */
    unsigned slot;          /* in bus.mmus */
    unsigned tag_turn;      /* which of a RAM page's places has to go next */
    unsigned jump_victim;   /* which entry of a jump cache's set has to go next */
    u16 keys;               /* protection keys of pages put in since the last flush of all */
    u64 next_page;          /* the one after the last miss: see fill_ahead */
    u8 rights[MMU_KINDS][8]; /* walk_rights of the present paging mode, by rights_index */
    u64 reserved[WALK_CACHED][2]; /* walk_reserved by level, of entries for tables and for pages */
    u8 kind_map[MMU_KINDS];  /* kinds that have the same rights share a context */

    struct view_range near; /* of RAM, where the last refill led to, in this generation */
    u64 near_stamp;

    atomic_flag lock;          /* held while entries change; see tlb.c */
    u32 drops;                 /* write tags were taken away, counted under the lock */
    struct walk_tables tables; /* those of this generation are good */
    _Atomic bool pending;      /* another thread flushed: do it again here */
    _Atomic bool owned;        /* the three below are valid */
    pthread_t owner;
    void (*kick)(void *opaque);
    void *kick_opaque;

    struct mmu_counters counters;
};

static inline unsigned rights_index(bool user, bool rw, bool xd)
{
    return user | rw << 1 | xd << 2;
}

static inline unsigned tlb_index(const struct mmu *m, enum mmu_kind kind)
{
    return m->asid * MMU_KINDS + m->priv->kind_map[kind];
}

static inline u64 tlb_entry_page(const struct tlb_entry *e)
{
    return e->phys & TLB_IO ? e->addend : e->read;
}

static inline bool tlb_in_use(const struct tlb_state *s, u32 i)
{
    return bits_has(&s->local, i) || bits_has(&s->global, i);
}

/* The gibibyte of an address as one of LARGE_BITS numbers. */
static inline unsigned tlb_large_hash(u64 la)
{
    return (unsigned)((la >> 30) * 0x9e3779b97f4a7c15ull >> 54);
}
static_assert(LARGE_BITS == 1u << (64 - 54), "the hash has other bits");

/* And as one of 64 bits, for tlb_state.large_lost. */
static inline u64 tlb_large_bit(u64 la)
{
    return BIT64(tlb_large_hash(la) % 64);
}

static inline unsigned tlb_page_size(const struct tlb_entry *e)
{
    return e->phys >> TLB_SIZE_SHIFT & (TLB_SIZES - 1);
}

static inline bool tlb_is_large(const struct tlb_entry *e)
{
    return tlb_page_size(e) != 0;
}

/* The table is about to lose e, whose jumps stay. */
static inline void tlb_note_lost(struct tlb_state *s, const struct tlb_entry *e)
{
    if (!(e->phys & TLB_FETCHED))
        return;
    s->fetch_lost = true;
    if (tlb_is_large(e))
        s->large_lost |= tlb_large_bit(tlb_entry_page(e));
}

/* Shifts of the sizes of guest pages, as TLB_SIZE_SHIFT of an entry says. */
extern const u8 tlb_page_shifts[TLB_SIZES];

/* Without the lock: doubles a context, if there is room, for many fills have pushed out others
 * since the last flush. */
void tlb_consider_growing(struct mmu *m, unsigned index);

/* ---- fill.c ---- */

/* Translates the page of la with the given rights, from the TLB or by a walk that fills it.
 * *out is a copy: it stays valid whatever a hook or device does to the TLB. */
enum mmu_status tlb_translate(struct mmu *m, enum mmu_kind kind, u64 la, enum mmu_access access,
                              struct tlb_entry *out);

/* Gives the entry of la its write tag back if its page has no code any more. */
void tlb_allow_write(struct mmu *m, enum mmu_kind kind, u64 la);

/* Notes that code is fetched from the page of la, so that its jump targets are accounted for. */
void tlb_note_fetch(struct mmu *m, enum mmu_kind kind, u64 la);

/* ---- jumps.c ---- */

/* Makes a new context's jump cache empty. */
void jumps_init(struct mmu_private *v, unsigned index);
/* Empties it, but for jumps to global pages if these stay; likewise ends links (mmu_map_id).
 * `own`: called by the owner. */
void jumps_flush(struct mmu_private *v, unsigned index, bool keep_global, bool own);
/* Drops the entries whose code may lie on one page by their tags; see mmu.jumps_by_address. */
void jumps_drop_page(struct mmu_private *v, unsigned index, u64 la);

static_assert(BITS_WORDS % 4096 == 0 && BITS_WORDS / 4096 <= 64 &&
                  JUMP_ENTRIES / JUMP_WAYS <= 64 * BITS_WORDS,
              "the sets of entries in use are too small");

/* ---- tagged.c ---- */

/* A place where a RAM page may have write tags: 0, or these bits and the low ones of a linear page
 * number. */
enum {
    TAGGED_INDEX = BIT(20) - 1,
    TAGGED_OWNER = 20, /* 8 bits: of which vCPU (mmu_private.slot) the TLBs are */
    TAGGED_ALL = BIT(28),  /* they are those of all */
    TAGGED_USED = BIT(29),
    TAGGED_BUSY = BIT(30), /* no longer: it is being emptied for another address */
};
static_assert(BUS_MAX_MMUS <= 256 && TLB_MIN_ENTRIES <= TAGGED_INDEX + 1, "too few bits");

static inline u32 tagged_place(const struct mmu_private *v, u64 la)
{
    return ((u32)(la >> PAGE_SHIFT) & TAGGED_INDEX) | v->slot << TAGGED_OWNER | TAGGED_USED;
}

static inline unsigned tagged_owner(u32 place)
{
    return place >> TAGGED_OWNER & 0xff;
}

/* Whether the page may have write tags at la in this vCPU's TLBs. */
static inline bool tagged_at(const struct mmu_private *v, const struct ram_page *page, u64 la)
{
    u32 own = tagged_place(v, la), all = (own & TAGGED_INDEX) | TAGGED_USED | TAGGED_ALL;
    for (unsigned i = 0; i < TAGGED_PLACES; i++) {
        u32 place = atomic_load(&page->places[i]);
        if (place == own || place == all)
            return true;
    }
    return false;
}

/* Makes it so for the RAM page at `host`; another place may have to go for it.  No TLB's lock is
 * held. */
void tagged_claim(struct mmu *m, const u8 *host, u64 la);
/* Takes all write tags for the page from every TLB on the bus. */
void tagged_drop(struct bus *b, const u8 *host);

static inline void tlb_lock(struct mmu_private *v)
{
    while (atomic_flag_test_and_set_explicit(&v->lock, memory_order_acquire))
        ;
}

static inline void tlb_unlock(struct mmu_private *v)
{
    atomic_flag_clear_explicit(&v->lock, memory_order_release);
}

/* Goes through a set of contexts: the next one, which leaves it. */
static inline unsigned tlb_next_context(u32 *set)
{
    unsigned i = (unsigned)__builtin_ctz(*set);
    *set &= *set - 1;
    return i;
}

/* Entries may be dropped by another thread at any time, so their fields are read once each. */
static inline bool tlb_entry_is(const struct tlb_entry *e, u64 page)
{
    return tlb_field(&e->read) == page ||
           ((e->phys & TLB_IO) && tlb_field(&e->addend) == page);
}

static inline u64 tlb_wrap(const struct mmu *m, u64 la)
{
    return m->paging.long_mode ? la : (u32)la;
}

#endif

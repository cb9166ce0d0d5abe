/* The TLBs of one vCPU, for the files of mmu/: look-up, filling, flushing, sizes, ASID slots. */
#ifndef DRAGOMAN_MMU_TLB_H
#define DRAGOMAN_MMU_TLB_H

#include <pthread.h>
#include <stdatomic.h>

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

#define TLB_CONTEXTS (MMU_ASIDS * MMU_KINDS)

/* A set of numbers below 64 * BITS_WORDS; to walk it costs what is in it.  One thread at a time
 * changes it; others may read. */
#define BITS_WORDS 256u
struct tlb_bits {
    u64 top[BITS_WORDS / 64]; /* which words are not 0 */
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

static inline void bits_put_word(struct tlb_bits *b, unsigned w, u64 value)
{
    u64 *top = &b->top[w / 64], bit = BIT64(w % 64);
    tlb_set_field(&b->words[w], value);
    tlb_set_field(top, value ? *top | bit : *top & ~bit);
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

/* The first word from w on that is not 0; BITS_WORDS if there is none. */
static inline unsigned bits_word(const struct tlb_bits *b, unsigned w)
{
    u64 mask = ~0ull << (w % 64);
    for (unsigned t = w / 64; t < ARRAY_SIZE(b->top); t++, mask = ~0ull) {
        u64 bits = tlb_field(&b->top[t]) & mask;
        if (bits)
            return t * 64 + (unsigned)__builtin_ctzll(bits);
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
    bool ready;      /* its memory has been initialised */
    bool fetch_lost; /* an entry that was fetched from was evicted: its jumps are unaccounted */
    u64 large_lost;  /* large_bit of those that were pieces of large pages */
    u32 entries;     /* in use, a power of two */
    u32 fills, conflicts; /* since the last flush or resize */
    u32 low_use;     /* flushes in a row that found it nearly empty */
    u64 large;       /* large_bit of the pages above 4 KiB that were put in */
    struct tlb_bits local;         /* which entries are valid and not global */
    struct tlb_bits global;        /* and global */
    struct tlb_bits jump_pages[2]; /* hashed: pages that may have jumps; [1]: global ones */
    struct tlb_bits jumps[2]; /* sets of the jump cache in use; [1]: by code on global pages only */
};

struct asid_slot {
    bool used;
    u32 pcid;
    u64 stamp; /* of the last selection, for LRU */
};

struct mmu_private {
    struct tlb_context *contexts; /* TLB_CONTEXTS, reserved at once, touched when selected */
    struct tlb_state states[TLB_CONTEXTS];
    struct asid_slot slots[MMU_ASIDS];
    u64 stamp;
    u32 map_serial;         /* last number that mmu_map_id has given */
    u32 map_global;         /* map_id[true] of all contexts */
    unsigned jump_victim;   /* which entry of a jump cache's set has to go next */
    u16 keys;               /* protection keys of pages put in since the last flush of all */
    u64 next_page;          /* the one after the last miss: see fill_ahead */
    u8 rights[MMU_KINDS][8]; /* walk_rights of the present paging mode, by rights_index */
    u64 reserved;            /* walk_reserved */
    u8 kind_map[MMU_KINDS]; /* kinds that have the same rights share a context */

    atomic_flag lock;                      /* held while entries change; see tlb.c */
    struct walk_table tables[WALK_TABLES]; /* those of this generation are good */
    _Atomic bool pending;    /* another thread flushed: do it again here */
    _Atomic bool owned;      /* the three below are valid */
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

static_assert(TLB_MAX_ENTRIES <= 64 * BITS_WORDS && JUMP_ENTRIES / JUMP_WAYS <= 64 * BITS_WORDS,
              "the sets of entries in use are too small");

/* What bus.tagged says of a page: nobody may store to it unseen, or who does has it at one linear
 * address, of which it keeps the low bits of the page number (a slot's index has at least as many),
 * or at several. */
enum { TAGGED_NOWHERE = 0, TAGGED_SEVERAL = 1, TAGGED_AT = 0x80, TAGGED_INDEX = 0x7f };
static_assert(TLB_MIN_ENTRIES > TAGGED_INDEX, "a slot's index has fewer bits");

/* Takes the write tags for the RAM page at `host` from every TLB on the bus; tagged: what
 * bus.tagged said of the page. */
void tlb_drop_write_tags(struct bus *b, const u8 *host, u8 tagged);
/* The same for all pages of [host, host + size). */
void tlb_drop_write_range(struct bus *b, const u8 *host, u64 size);

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

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
#define TLB_WORDS (TLB_MAX_ENTRIES / 64)
#define JUMP_WORDS (JUMP_ENTRIES / JUMP_WAYS / 64)
#define JUMP_PAGE_WORDS 256u

/* What the slow path keeps about a context. */
struct tlb_state {
    bool ready;      /* its memory has been initialised */
    bool fetch_lost; /* an entry that was fetched from was evicted: its jumps are unaccounted */
    u32 entries;     /* in use, a power of two */
    u32 fills, conflicts; /* since the last flush or resize */
    u32 low_use;     /* flushes in a row that found it nearly empty */
    u64 large;       /* large_bit of the pages above 4 KiB that were put in */
    u64 local[TLB_WORDS];  /* which entries are valid and not global */
    u64 global[TLB_WORDS]; /* and global */
    u64 jump_pages[2][JUMP_PAGE_WORDS]; /* hashed: pages that may have jumps; [1]: global ones */
    u64 jumps[2][JUMP_WORDS]; /* sets of the jump cache in use; [1]: by code on global pages only */
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
    u8 kind_map[MMU_KINDS]; /* kinds that have the same rights share a context */

    atomic_flag lock;        /* held while entries change; see tlb.c */
    _Atomic u64 generation;  /* counts invalidations: a walk that one overtook is not cached */
    struct walk_table tables[WALK_TABLES]; /* those of this generation are good */
    _Atomic bool pending;    /* another thread flushed: do it again here */
    _Atomic bool owned;      /* the three below are valid */
    pthread_t owner;
    void (*kick)(void *opaque);
    void *kick_opaque;

    struct mmu_counters counters;
};

static inline unsigned tlb_index(const struct mmu *m, enum mmu_kind kind)
{
    return m->asid * MMU_KINDS + m->priv->kind_map[kind];
}

/* Gives a context that is used for the first time its memory. */
void tlb_make_ready(struct mmu_private *v, unsigned index);

/* The entry that la would be in. */
static inline struct tlb_entry *tlb_slot(struct mmu *m, enum mmu_kind kind, u64 la)
{
    unsigned index = tlb_index(m, kind);
    struct tlb_state *s = &m->priv->states[index];
    if (unlikely(!s->ready))
        tlb_make_ready(m->priv, index);
    return &m->priv->contexts[index].entries[la >> PAGE_SHIFT & (s->entries - 1)];
}

/* Where emitted code would find all of [la, la + size) for a load or a store, or NULL. */
static inline u8 *tlb_hit(struct mmu *m, enum mmu_kind kind, u64 la, unsigned size, bool write)
{
    const struct tlb_entry *e = tlb_slot(m, kind, la);
    u64 tag = __atomic_load_n(write ? &e->write : &e->read, __ATOMIC_RELAXED);
    if (tag != ((la + size - 1) & PAGE_MASK))
        return NULL;
    return (u8 *)(uintptr_t)(la + __atomic_load_n(&e->addend, __ATOMIC_RELAXED));
}

/* Translates the page of la with the given rights, from the TLB or by a walk that fills it.
 * *out is a copy: it stays valid whatever a hook or device does to the TLB. */
enum mmu_status tlb_translate(struct mmu *m, enum mmu_kind kind, u64 la, enum mmu_access access,
                              struct tlb_entry *out);

/* Gives the entry of la its write tag back if its page has no code any more. */
void tlb_allow_write(struct mmu *m, enum mmu_kind kind, u64 la);

/* ---- jumps.c ---- */

/* Makes a new context's jump cache empty. */
void jumps_init(struct mmu_private *v, unsigned index);
/* Empties it, but for jumps to global pages if these stay; likewise ends links (mmu_map_id).
 * `own`: called by the owner. */
void jumps_flush(struct mmu_private *v, unsigned index, bool keep_global, bool own);
/* Drops the entries whose code may lie on one page by their tags; see mmu.jumps_by_address. */
void jumps_drop_page(struct mmu_private *v, unsigned index, u64 la);

/* Notes that code is fetched from the page of la, so that its jump targets are accounted for. */
void tlb_note_fetch(struct mmu *m, enum mmu_kind kind, u64 la);

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
static inline u64 tlb_field(const u64 *field)
{
    return __atomic_load_n(field, __ATOMIC_RELAXED);
}

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

/* The page walker: linear to physical by the paging structures in guest memory. */
#ifndef DRAGOMAN_MMU_WALK_H
#define DRAGOMAN_MMU_WALK_H

#include "mmu/mmu.h"

/* Bits of paging-structure entries, SDM vol. 3A 4.3 to 4.5. */
enum {
    PTE_P = 1 << 0,
    PTE_W = 1 << 1,
    PTE_U = 1 << 2,
    PTE_A = 1 << 5,
    PTE_D = 1 << 6,
    PTE_PS = 1 << 7,
    PTE_G = 1 << 8,
};
#define PTE_XD BIT64(63)
#define PTE_ADDR 0x000ffffffffff000ull

/* A table of 512 entries that walks have gone through, with what the levels above allow (the
 * paging-structure caches of SDM vol. 3A 4.10.3). */
struct walk_table {
    u64 region; /* la without the bits that the table and what it leads to translate */
    u64 stamp;  /* walk_request.stamp of that walk; never 0 */
    u64 gpa;
    const u8 *host;
    bool user, rw, xd;
};
#define WALK_TABLES 32u

/* The levels that are cached: page tables, and of 4-level and 5-level paging what may map pages. */
#define WALK_CACHED 3u
struct walk_tables {
    struct walk_table t[WALK_CACHED][WALK_TABLES];
};

/* Where the table of la would be, at level 1 to WALK_CACHED. */
static inline struct walk_table *walk_table_slot(struct walk_tables *c, u64 la, unsigned level)
{
    return &c->t[level - 1][la >> (12 + 9 * level) & (WALK_TABLES - 1)];
}

/* The one that is there, if it is that of la and still good; else NULL. */
static inline struct walk_table *walk_table_find(struct walk_tables *c, u64 la, unsigned level,
                                                 u64 stamp)
{
    struct walk_table *t = walk_table_slot(c, la, level);
    return t->stamp == stamp && t->region == la >> (12 + 9 * level) ? t : NULL;
}

struct walk_request {
    u64 la; /* canonical in long mode, below 4 GiB otherwise */
    enum mmu_kind kind;
    enum mmu_access access;
    bool update;                /* set accessed and dirty bits */
    struct walk_tables *tables; /* or NULL: read all levels */
    u64 stamp; /* of the tables that are still good; changes with each invalidation */
};

struct walk_result {
    u64 phys;       /* physical address of the 4 KiB page */
    u8 page_shift;  /* of the page that maps it: 12, 21, 22 or 30 (32 without paging) */
    u8 rights;      /* BIT(MMU_READ)...: what this kind may do; stores if D is set already too */
    bool global;
    bool cached; /* it began at a cached table */
    u8 key;      /* protection key, 0 outside long mode */
    u32 fault;   /* the page-fault error code when walk_page returns false */
};

/* Translates one address.  True: *r but fault is valid.  False: r->fault is.  Sets accessed bits
 * only if the access is allowed, by compare-exchange on the entry that was checked, so that it
 * loses no update by another vCPU or device.  SDM vol. 3A 4.3 to 4.8. */
bool walk_page(const struct paging *p, const u64 pdpte[4], struct bus *b,
               const struct walk_request *q, struct walk_result *r);

/* What an access of this kind may do with a page of these rights, combined through the levels (SDM
 * vol. 3A 4.6.1), as in walk_result; protection keys apart. */
u8 walk_rights(const struct paging *p, enum mmu_kind kind, bool user, bool rw, bool xd);
/* What of these rights the protection key leaves (4.6.2). */
u8 walk_key_rights(const struct paging *p, enum mmu_kind kind, bool user, unsigned key, u8 rights);
/* The bits that must be 0 in an entry of 8 bytes at level 1 to 3 that maps a page (`leaf`) or leads
 * to a table. */
u64 walk_reserved(const struct paging *p, unsigned level, bool leaf);

/* Reads the four PAE page-directory-pointer-table entries at cr3; false if a present one has a
 * reserved bit set (SDM vol. 3A 4.4.1). */
bool walk_load_pdptes(const struct paging *p, struct bus *b, u64 pdpte[4]);

/* Whether la is canonical; always true outside long mode. */
static inline bool walk_canonical(const struct paging *p, u64 la)
{
    return !p->long_mode || (u64)sign_extend(la, p->la57 ? 57 : 48) == la;
}

#endif

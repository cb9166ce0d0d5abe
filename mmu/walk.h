/* The page walker: linear to physical by the paging structures in guest memory. */
#ifndef DRAGOMAN_MMU_WALK_H
#define DRAGOMAN_MMU_WALK_H

#include "mmu/mmu.h"

/* A page table of 512 entries that walks have gone through, with what the levels above allow (the
 * paging-structure caches of SDM vol. 3A 4.10.3). */
struct walk_table {
    u64 region; /* la >> 21 */
    u64 stamp;  /* walk_request.stamp of that walk; never 0 */
    u64 gpa;
    const u8 *host;
    bool user, rw, xd;
};
#define WALK_TABLES 32u

struct walk_request {
    u64 la; /* canonical in long mode, below 4 GiB otherwise */
    enum mmu_kind kind;
    enum mmu_access access;
    bool update; /* set accessed and dirty bits */
    struct walk_table *tables; /* WALK_TABLES of them, or NULL: read all levels */
    u64 stamp;   /* of the tables that are still good; changes with each invalidation */
};

struct walk_result {
    u64 phys;       /* physical address of the 4 KiB page */
    u8 page_shift;  /* of the page that maps it: 12, 21, 22 or 30 (32 without paging) */
    bool read, exec; /* what this kind of access may do */
    bool write;      /* stores are allowed and the dirty bit is set already */
    bool global;
    bool cached;     /* only the last level was read */
    u8 key; /* protection key, 0 outside long mode */
    u32 fault;       /* the page-fault error code when walk_page returns false */
};

/* Translates one address.  True: *r but fault is valid.  False: r->fault is.  Sets accessed bits
 * only if the access is allowed, by compare-exchange on the entry that was checked, so that it
 * loses no update by another vCPU or device.  SDM vol. 3A 4.3 to 4.8. */
bool walk_page(const struct paging *p, const u64 pdpte[4], struct bus *b,
               const struct walk_request *q, struct walk_result *r);

/* Reads the four PAE page-directory-pointer-table entries at cr3; false if a present one has a
 * reserved bit set (SDM vol. 3A 4.4.1). */
bool walk_load_pdptes(const struct paging *p, struct bus *b, u64 pdpte[4]);

/* Whether la is canonical; always true outside long mode. */
static inline bool walk_canonical(const struct paging *p, u64 la)
{
    return !p->long_mode || (u64)sign_extend(la, p->la57 ? 57 : 48) == la;
}

#endif

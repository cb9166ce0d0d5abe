/* The software MMU of one vCPU: address-space contexts (TLBs), page walks, loads and stores.
 *
 * A context is one TLB: it belongs to an address space (ASID slot) and a privilege kind, so that
 * a change of CPL or of PCID switches a pointer and refills nothing.  Emitted code probes the
 * current context inline; the layout of tlb_context and tlb_entry is part of that contract:
 *
 *     index = (la >> 12) & (entries - 1)
 *     hit   = ((la + size - 1) & PAGE_MASK) == entries[index].read   (or .write)
 *     host  = la + entries[index].addend
 *
 * Anything unusual (MMIO, ROM stores, pages with code, page-crossing accesses, A/D bits still
 * clear) is a tag that does not match, and goes to the slow path here.
 */
#ifndef DRAGOMAN_MMU_MMU_H
#define DRAGOMAN_MMU_MMU_H

#include "base/types.h"
#include "mmu/bus.h"

#define TLB_INVALID (~0ull) /* never equals a page-aligned address */
#define TLB_MIN_ENTRIES 256u
#define TLB_MAX_ENTRIES (1u << 21) /* pages of 8 GiB */
#define JUMP_BITS 15
#define JUMP_ENTRIES (1u << JUMP_BITS)
#define JUMP_WAYS 4u
#define MMU_ASIDS 8u

struct tlb_entry {
    u64 read;   /* linear page address, or TLB_INVALID */
    u64 write;  /* the same for stores */
    u64 addend; /* host address - linear address (mod 2^64) */
    u64 phys;   /* guest-physical page; low bits: TLB_GLOBAL, TLB_IO */
};
#define TLB_GLOBAL 1u
#define TLB_IO 2u /* not RAM: addend is meaningless, read and write are invalid */

/* The translator's inline cache from guest PC to host code; it lives with the TLB because it must
 * be emptied whenever a mapping changes.  Emitted code looks at one entry, that of the target's
 * hash.  JUMP_WAYS of them, a line of the host's cache, are a set; what is not where its hash says
 * may be elsewhere in the set, and then the two change places (make_lookup of x64_thunk.c).
 * Besides that, only mmu_put_jump writes entries. */
struct jump_entry {
    u64 tag;  /* see translator/block.h */
    u64 code;
};

/* Instructions are at most 15 bytes long: code at such a distance before a page may lie on it. */
#define JUMP_CROSSING 14u

/* The hash of a target: the top of a product, which emitted code has in three instructions. */
#define JUMP_HASH 0x9e3779b1u
static inline unsigned jump_index(u64 rip)
{
    return (u32)((u32)rip * JUMP_HASH) >> (32 - JUMP_BITS);
}

/* The tag of an empty entry.  All ones is a tag that a guest can ask for, so it is another one in
 * the set where its hash would look, which that one's does not. */
#define JUMP_EMPTY (~0x100ull) /* no tag of an empty entry is below */
static inline u64 jump_empty(unsigned index)
{
    return index / JUMP_WAYS == jump_index(~0ull) / JUMP_WAYS ? JUMP_EMPTY : ~0ull;
}

/* Short walks; filling what the next misses would ask for; several address spaces at a time. */
enum { MMU_WITHOUT_WALKS = 1, MMU_WITHOUT_AHEAD = 2, MMU_WITHOUT_ASIDS = 4 };

struct tlb_context {
    struct jump_entry jumps[JUMP_ENTRIES];
    u64 unused[6]; /* brings the entries to a line of the host's cache */
    /* Emitted code's register points at the entries: these are a short displacement before. */
    u64 page_addend[8]; /* engine: host - linear address of pages that the block has checked */
    u32 map_id[2];      /* mmu_map_id; 0: there are no links that may be followed */
    u64 mask;           /* (entries in use - 1) * sizeof(struct tlb_entry) */
    struct tlb_entry entries[TLB_MAX_ENTRIES];
};

/* Whose rights an access has. */
enum mmu_kind {
    MMU_SUPERVISOR,    /* CPL 0-2; with CR4.SMAP, user pages fault */
    MMU_USER,          /* CPL 3 */
    MMU_SUPERVISOR_AC, /* CPL 0-2 with EFLAGS.AC set or SMAP off */
    MMU_KINDS
};

enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC };

/* Page-fault error code bits, SDM vol. 3A 4.7. */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

enum mmu_status {
    MMU_OK,
    MMU_PAGE_FAULT,   /* mmu->fault_addr and fault_code are set */
    MMU_NONCANONICAL, /* fault_addr is set; #GP(0) or #SS(0) for the caller to raise */
};

/* Paging mode as the control registers define it; cpu/control.c keeps it current. */
struct paging {
    u64 cr3;
    bool enabled;   /* CR0.PG */
    bool pae;       /* CR4.PAE */
    bool long_mode; /* EFER.LMA */
    bool la57;      /* CR4.LA57 */
    bool pse;       /* CR4.PSE */
    bool pge;       /* CR4.PGE */
    bool pcide;     /* CR4.PCIDE */
    bool wp;        /* CR0.WP */
    bool nxe;       /* EFER.NXE */
    bool smep, smap;
    bool pke;       /* CR4.PKE */
    u32 pkru;
    bool gbpages;   /* CPUID.80000001H:EDX.Page1GB */
    bool smm;       /* in system management mode: physical addresses get BUS_SMM */
    u8 phys_bits;   /* MAXPHYADDR */
};

/* A range whose accesses are reported (data breakpoints). */
struct mmu_watch {
    u64 la;
    u32 len;   /* 0: unused */
    bool read; /* loads too */
};

struct mmu {
    /* What emitted code reads. */
    struct tlb_context *context; /* the current one */
    _Atomic u64 generation; /* counts invalidations: while it stays, what was translated may go
                             * on being used; a walk that one overtook is not cached */
    struct tlb_context *contexts[MMU_KINDS]; /* of the address space in use; NULL before the first
                                              * use: see mmu_context */

    struct bus *bus;
    int cpu_index;
    struct paging paging;
    enum mmu_kind kind;
    unsigned asid;               /* slot in use */
    u64 pdpte[4];                /* PAE: loaded with CR3 (SDM vol. 3A 4.4.1) */
    u64 fault_addr;
    u32 fault_code;

    struct mmu_watch watch[4];   /* mmu_set_watches */
    u8 without; /* MMU_WITHOUT_: what is left out, to bisect a suspect; set before anything runs */
    bool watching;
    bool implicit;               /* the access is not an instruction's own: meets no watch */
    void (*watch_hit)(struct mmu *m, unsigned hits);

    void (*before_io)(struct mmu *m); /* NULL, or called before an access of the vCPU leaves RAM;
                                       * may leave without returning */
    bool jumps_by_address;       /* tags of the jump cache are linear addresses below bit 48 (the
                                  * engine says so); else what changes a page drops all */
    struct mmu_private *priv;    /* contexts, ASID slots, sizes, counters */
};

/* Joins a vCPU's MMU to the bus; false when the host has no memory. */
bool mmu_init(struct mmu *m, struct bus *bus, int cpu_index);
void mmu_free(struct mmu *m);

/* Takes over a new paging mode (after CR0, CR4 or EFER changes) and flushes all. */
void mmu_set_paging(struct mmu *m, const struct paging *p);
/* Loads the PDPTEs if paging is PAE's; they have been checked with mmu_check_pdptes.  Only what SDM
 * vol. 3A 4.4.1 lists does that: not each change of the paging mode. */
void mmu_load_pdptes(struct mmu *m);
/* MOV to CR3: selects or makes the ASID slot for the PCID; flushes its non-global entries unless
 * `noflush` (CR3 bit 63 with PCIDE).  The PDPTEs have been checked with mmu_check_pdptes. */
void mmu_load_cr3(struct mmu *m, u64 cr3, bool noflush);
/* False if PAE paging would load a PDPTE with reserved bits from cr3 (#GP(0)). */
bool mmu_check_pdptes(struct mmu *m, const struct paging *p);
/* Takes over PKRU; drops all entries if those of a key whose rights change may be among them. */
void mmu_set_pkru(struct mmu *m, u32 pkru);
/* Gives the kind's context in this address space its memory. */
void mmu_make_context(struct mmu *m, enum mmu_kind kind);

static inline struct tlb_context *mmu_context(struct mmu *m, enum mmu_kind kind)
{
    if (unlikely(!m->contexts[kind]))
        mmu_make_context(m, kind);
    return m->contexts[kind];
}

/* Selects the privilege kind; cheap (a pointer). */
static inline void mmu_set_kind(struct mmu *m, enum mmu_kind kind)
{
    m->kind = kind;
    m->context = mmu_context(m, kind);
}

void mmu_flush_all(struct mmu *m);                /* with global entries, all ASIDs */
void mmu_flush_local(struct mmu *m);              /* all ASIDs, without global entries */
void mmu_flush_page(struct mmu *m, u64 la);       /* INVLPG */
void mmu_flush_pcid(struct mmu *m, unsigned pcid); /* non-global of one PCID */
/* Empties the jump caches of all contexts (a block went away, or a mode changed). */
void mmu_flush_jumps(struct mmu *m);
/* By the owner: puts an entry where the hash `index` says in the current context's jump cache; what
 * was there moves to another way of its set.  It is for code on a page that mmu_fetch_page has just
 * given (and said whether it is global), or on two such pages. */
void mmu_put_jump(struct mmu *m, unsigned index, u64 tag, u64 code, bool global);
/* Every vCPU on this bus.  Those owned by other threads lose their TLB entries at once and are
 * kicked to flush again (their jump caches are written without a lock); see tlb.c. */
void bus_flush_tlbs(struct bus *b);

/* Makes the calling thread the one that runs this vCPU.  Flushes asked for by other threads then
 * call `kick` (may be NULL; from any thread, any lock held), which must bring the owner to
 * mmu_run_pending soon.  Without an owner every thread flushes directly. */
void mmu_set_owner(struct mmu *m, void (*kick)(void *opaque), void *opaque);
/* By the owner, outside emitted code: carries out flushes that other threads asked for. */
void mmu_run_pending(struct mmu *m);

/* Loads and stores of 1, 2, 4 or 8 bytes at a linear address, with the given rights; all of it
 * (walk, A/D bits, page crossing, MMIO, code pages).  A store that faults has written nothing. */
enum mmu_status mmu_load(struct mmu *m, enum mmu_kind kind, u64 la, unsigned size, u64 *out);
enum mmu_status mmu_store(struct mmu *m, enum mmu_kind kind, u64 la, unsigned size, u64 value);
/* The same for any length up to a page (vectors, x87 images). */
enum mmu_status mmu_load_bytes(struct mmu *m, enum mmu_kind kind, u64 la, void *buf, unsigned len);
enum mmu_status mmu_store_bytes(struct mmu *m, enum mmu_kind kind, u64 la, const void *buf,
                                unsigned len);

/* Checks that all of [la, la+len) may be accessed, filling the TLB; transfers nothing. */
enum mmu_status mmu_probe(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                          enum mmu_access access);

/* Takes over four ranges to watch.  `hit` is called before a load, store or probe of theirs, when
 * nothing can fault any more, with a bit for each range that it touches; it may leave without
 * returning.  Pages with such a range are never in the TLB, so others pay nothing. */
void mmu_set_watches(struct mmu *m, const struct mmu_watch watch[4],
                     void (*hit)(struct mmu *m, unsigned hits));

/* Host address for len bytes at la within one page of plain RAM, checked for `access`; *host is
 * NULL (with MMU_OK) when it is MMIO, watched, crosses a page, or is a store to marked code: then
 * go through mmu_load and mmu_store.  The address serves the access at hand, up to the caller's
 * next safe point. */
enum mmu_status mmu_host(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                         enum mmu_access access, u8 **host);
/* The same to store there at once, also over marked code: the code hook runs first, which may leave
 * without returning.  *gpa is for mmu_stored, which has to be called behind the store. */
enum mmu_status mmu_host_store(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len, u8 **host,
                               u64 *gpa);
void mmu_stored(struct mmu *m, const u8 *host, u64 gpa, unsigned len);

/* Where mmu_host_store gives no address: a locked read-modify-write of up to MMU_UPDATE_MAX bytes
 * at la, under the machine lock, so one step for all others that come this way.  `change` gets the
 * bytes and changes them in place. */
#define MMU_UPDATE_MAX 16
enum mmu_status mmu_update(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                           void (*change)(void *opaque, void *bytes), void *opaque);

/* The entry that la, wrapped to 32 bits outside long mode, would be in. */
static inline struct tlb_entry *mmu_tlb_slot(struct mmu *m, enum mmu_kind kind, u64 la)
{
    struct tlb_context *c = mmu_context(m, kind);
    return &c->entries[la >> PAGE_SHIFT & c->mask / sizeof(struct tlb_entry)];
}

/* The host address of all of [la, la + len), at most a page long, if that is plain RAM which the
 * TLB has with these rights (`write`: for stores that nobody has to be told of); else NULL, which
 * says nothing. */
static inline u8 *mmu_peek(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len, bool write)
{
    la = m->paging.long_mode ? la : (u32)la;
    const struct tlb_entry *e = mmu_tlb_slot(m, kind, la);
    u64 tag = __atomic_load_n(write ? &e->write : &e->read, __ATOMIC_RELAXED);
    if (unlikely(tag != ((la + len - 1) & PAGE_MASK)))
        return NULL;
    return (u8 *)(uintptr_t)(la + __atomic_load_n(&e->addend, __ATOMIC_RELAXED));
}

/* For instruction fetch: translates the page of la with execute rights.  host is NULL for code
 * in MMIO or unreadable memory. */
struct mmu_code_page {
    u64 phys; /* guest-physical page address, with the BUS_SMM bits */
    const u8 *host;
    bool global;
};
enum mmu_status mmu_fetch_page(struct mmu *m, enum mmu_kind kind, u64 la,
                               struct mmu_code_page *page);

/* For code that the engine links to the target of a jump on another page: a number that the
 * current context's map_id[global] has for as long as the jump cache would keep the target (`la`,
 * or what is up to JUMP_CROSSING bytes behind).  The same in all contexts of this vCPU for global
 * pages, and unique else, but not across vCPUs.  By the owner, after mmu_fetch_page.  0: no more
 * links. */
#define MMU_NO_MAP 0x7fffffff /* never such a number */
u32 mmu_map_id(struct mmu *m, u64 la, bool global);

/* For the monitor and gdb: la to physical without faults, A/D bits or TLB; false if unmapped. */
bool mmu_debug_translate(struct mmu *m, u64 la, u64 *gpa);

/* Counters, for `info jit` and tests. */
struct mmu_counters {
    u64 walks, short_walks; /* of which began at a table that an earlier one had found */
    u64 filled_ahead;       /* fills that no access has asked for yet */
    u64 large;              /* short walks that ended at a large page */
    u64 fills, flushes, page_flushes, asid_hits, code_stores, io_accesses, resizes;
    u64 most_entries; /* that a TLB has had */
    u64 tags_moved;   /* write tags that one at another linear address took away */
};
const struct mmu_counters *mmu_counters(const struct mmu *m);

/* Prints the valid entries of the current context for `info tlb`. */
void mmu_print_tlb(struct mmu *m, void (*print)(void *opaque, const char *fmt, ...), void *opaque);

#endif

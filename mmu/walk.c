/* The page walker, SDM vol. 3A chapter 4: no paging, 32-bit paging with PSE-36, PAE, 4-level and
 * 5-level paging.
 *
 * Pure but for the accessed and dirty bits and the caller's cache of page tables: it knows no TLB.
 * Left out: shadow stacks, and caches of the levels above the third.
 */
#include "mmu/walk.h"

#include "mmu/bus_private.h"
#include "mmu/codepage.h"

#define MAX_LEVELS 5

/* One paging-structure entry that a walk has read. */
struct pte {
    u64 gpa, value;
};

struct walk_state {
    const struct paging *p;
    struct bus *b;
    const struct walk_request *q;
    struct pte path[MAX_LEVELS];
    unsigned depth;
    bool wide;                   /* 8-byte entries */
    bool user, rw, xd;           /* combined through the levels, SDM vol. 3A 4.6 */
    struct walk_table *found[WALK_CACHED]; /* the tables of the lowest levels that are cached */
};

static u64 view(const struct paging *p)
{
    return p->smm ? BUS_SMM : 0;
}

static unsigned phys_bits(const struct paging *p)
{
    return p->phys_bits >= 32 && p->phys_bits <= 52 ? p->phys_bits : 52;
}

static bool xd_enabled(const struct paging *p)
{
    return p->nxe && (p->pae || p->long_mode);
}

static u32 fault_code(const struct paging *p, const struct walk_request *q, u32 why)
{
    if (q->access == MMU_WRITE)
        why |= PF_W;
    if (q->kind == MMU_USER)
        why |= PF_U;
    if (q->access == MMU_EXEC && (p->smep || xd_enabled(p)))
        why |= PF_I;
    return why;
}

static u64 read_entry(struct bus *b, u64 gpa, unsigned size)
{
    struct bus_page page = bus_page_of(b, gpa);
    if (page.read)
        return ram_load(page.read + (gpa & ~PAGE_MASK), size);
    return bus_read(b, BUS_DMA, gpa & bus_a20(b), size);
}

/* Sets bits in an entry unless it changed since it was read; false: walk again.  Tables in ROM
 * or MMIO keep what they have. */
static bool set_bits(struct walk_state *s, struct pte *e, u64 bits)
{
    if ((e->value & bits) == bits)
        return true;
    u8 *page = bus_page_of(s->b, e->gpa).write;
    if (!page)
        return true;
    u8 *host = page + (e->gpa & ~PAGE_MASK);
    code_touch(s->b, NULL, host, e->gpa & bus_a20(s->b), s->wide ? 8 : 4);
    if (s->wide) {
        u64 old = RAM_LE64(e->value), want = RAM_LE64(e->value | bits);
        if (!__atomic_compare_exchange_n((u64 *)host, &old, want, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_RELAXED))
            return false;
    } else {
        u32 old = RAM_LE32((u32)e->value), want = RAM_LE32((u32)(e->value | bits));
        if (!__atomic_compare_exchange_n((u32 *)host, &old, want, false, __ATOMIC_SEQ_CST,
                                         __ATOMIC_RELAXED))
            return false;
    }
    e->value |= bits;
    return true;
}

/* Reserved bits of a present entry, SDM vol. 3A 4.3 (tables 4-5, 4-6), 4.4.2 (4-9 to 4-11) and
 * 4.5.4 (4-15 to 4-20).  level 1 is the page table. */
static u64 reserved_bits(const struct paging *p, unsigned level, bool leaf)
{
    u64 high = BIT64(52) - BIT64(phys_bits(p));
    if (!p->pae && !p->long_mode) {
        /* PSE-36: bits 20:13 are address bits 39:32, as far as MAXPHYADDR goes; 21 never. */
        unsigned top = phys_bits(p) < 40 ? phys_bits(p) : 40;
        return leaf && level == 2 ? BIT64(22) - BIT64(top - 19) : 0;
    }
    u64 rsv = high | (p->nxe ? 0 : PTE_XD);
    if (!p->long_mode)
        rsv |= BIT64(63) - BIT64(52);
    if (level >= 4)
        rsv |= PTE_PS;
    else if (level == 3 && leaf)
        rsv |= p->gbpages ? BIT64(30) - BIT64(13) : PTE_PS;
    else if (level == 2 && leaf)
        rsv |= BIT64(21) - BIT64(13);
    return rsv;
}

static bool is_leaf(const struct paging *p, unsigned level, u64 e)
{
    if (level == 1)
        return true;
    if (!(e & PTE_PS))
        return false;
    if (p->long_mode)
        return level <= 3;
    return level == 2 && (p->pae || p->pse);
}

static unsigned leaf_key(const struct walk_state *s)
{
    return s->path[s->depth - 1].value >> 59 & 15;
}

/* 4.6.2: the data accesses that the protection key of a user page forbids. */
static u8 key_forbids(const struct paging *p, enum mmu_kind kind, unsigned key)
{
    u32 rights = p->pkru >> 2 * key;
    if (rights & 1)
        return BIT(MMU_READ) | BIT(MMU_WRITE);
    return (rights & 2) && (kind == MMU_USER || p->wp) ? BIT(MMU_WRITE) : 0;
}

/* SDM vol. 3A 4.6.1. */
u8 walk_rights(const struct paging *p, enum mmu_kind kind, bool user, bool rw, bool xd)
{
    u8 exec = xd && xd_enabled(p) ? 0 : BIT(MMU_EXEC), read = BIT(MMU_READ);
    if (kind == MMU_USER)
        return user ? read | (rw ? BIT(MMU_WRITE) : 0) | exec : 0;
    if (user && p->smep)
        exec = 0;
    if (user && p->smap && kind == MMU_SUPERVISOR)
        return exec;
    return read | (rw || !p->wp ? BIT(MMU_WRITE) : 0) | exec;
}

u8 walk_key_rights(const struct paging *p, enum mmu_kind kind, bool user, unsigned key, u8 rights)
{
    if (!p->pke || !p->long_mode || !user)
        return rights;
    return rights & (u8)~key_forbids(p, kind, key);
}

u64 walk_reserved(const struct paging *p, unsigned level, bool leaf)
{
    return reserved_bits(p, level, leaf);
}

static void fill_result(const struct walk_state *s, unsigned shift, u8 rights,
                        struct walk_result *r)
{
    u64 leaf = s->path[s->depth - 1].value;
    u64 within = BIT64(shift) - 1;
    u64 frame = leaf & (s->wide ? PTE_ADDR : 0xfffff000u) & ~within;
    if (!s->wide && shift == 22)
        frame |= (leaf >> 13 & 0xff) << 32;
    r->phys = ((frame | (s->q->la & within)) & PAGE_MASK & bus_a20(s->b)) | view(s->p);
    r->page_shift = (u8)shift;
    r->rights = rights & (leaf & PTE_D ? ~0u : ~BIT(MMU_WRITE));
    r->global = s->p->pge && (leaf & PTE_G);
    r->key = s->p->long_mode ? (u8)leaf_key(s) : 0;
    r->fault = 0;
}

enum outcome { WALK_DONE, WALK_FAULT, WALK_AGAIN };

static enum outcome finish(struct walk_state *s, unsigned shift, struct walk_result *r)
{
    const struct walk_request *q = s->q;
    u8 pages = walk_rights(s->p, q->kind, s->user, s->rw, s->xd);
    u8 rights = walk_key_rights(s->p, q->kind, s->user, leaf_key(s), pages);
    if (!(rights >> q->access & 1)) {
        bool key = walk_key_rights(s->p, q->kind, s->user, leaf_key(s), BIT(q->access)) == 0;
        r->fault = fault_code(s->p, q, PF_P | (key ? PF_PK : 0));
        return WALK_FAULT;
    }
    if (q->update) {
        for (unsigned i = 0; i < s->depth; i++) {
            bool dirty = i + 1 == s->depth && q->access == MMU_WRITE;
            if (!set_bits(s, &s->path[i], PTE_A | (dirty ? PTE_D : 0)))
                return WALK_AGAIN;
        }
        /* A table that cannot hold the dirty bit must not send each store to the slow path. */
        if (q->access == MMU_WRITE)
            s->path[s->depth - 1].value |= PTE_D;
    }
    fill_result(s, shift, rights, r);
    return WALK_DONE;
}

/* The walk goes on in a table of a level that is cached, which this one may be if it is RAM. */
static void note_table(struct walk_state *s, u64 table, unsigned level)
{
    struct bus_page page = bus_page_of(s->b, table | view(s->p));
    if (!page.read || !page.write)
        return;
    struct walk_table *t = walk_table_slot(s->q->tables, s->q->la, level);
    t->region = s->q->la >> (12 + 9 * level);
    t->stamp = 0; /* until the walk has given a page */
    t->gpa = table;
    t->host = page.read;
    t->user = s->user;
    t->rw = s->rw;
    t->xd = s->xd;
    s->found[level - 1] = t;
}

/* The tables that a walk has been through are good, for it has given a page. */
static void keep_tables(struct walk_state *s)
{
    for (unsigned i = 0; i < WALK_CACHED; i++)
        if (s->found[i])
            s->found[i]->stamp = s->q->stamp;
}

static enum outcome walk_once(struct walk_state *s, u64 table, unsigned level,
                              struct walk_result *r)
{
    unsigned index_bits = s->wide ? 9 : 10;
    for (;; level--) {
        unsigned shift = 12 + index_bits * (level - 1);
        u64 index = s->q->la >> shift & (BIT64(index_bits) - 1);
        struct pte *e = &s->path[s->depth++];
        e->gpa = (table + index * (s->wide ? 8 : 4)) | view(s->p);
        if (level <= WALK_CACHED && s->found[level - 1])
            e->value = ram_load(s->found[level - 1]->host + index * 8, 8);
        else
            e->value = read_entry(s->b, e->gpa, s->wide ? 8 : 4);
        if (!(e->value & PTE_P)) {
            r->fault = fault_code(s->p, s->q, 0);
            return WALK_FAULT;
        }
        bool leaf = is_leaf(s->p, level, e->value);
        if (e->value & reserved_bits(s->p, level, leaf)) {
            r->fault = fault_code(s->p, s->q, PF_P | PF_RSVD);
            return WALK_FAULT;
        }
        s->user &= (e->value & PTE_U) != 0;
        s->rw &= (e->value & PTE_W) != 0;
        s->xd |= s->wide && (e->value & PTE_XD);
        if (leaf)
            return finish(s, shift, r);
        table = e->value & (s->wide ? PTE_ADDR : 0xfffff000u);
        if (level <= WALK_CACHED + 1 && s->wide && s->q->tables)
            note_table(s, table, level - 1);
    }
}

/* Walks from the last level that is cached; false if that does not give a page.  A fault takes what
 * is cached with it (SDM vol. 3A 4.10.4.1), so that the whole walk decides. */
static bool walk_cached(struct walk_state *s, struct walk_result *r)
{
    for (unsigned level = 1; level <= WALK_CACHED; level++) {
        struct walk_table *t = walk_table_find(s->q->tables, s->q->la, level, s->q->stamp);
        if (!t)
            continue;
        s->depth = 0;
        memset(s->found, 0, sizeof s->found);
        s->found[level - 1] = t;
        s->user = t->user;
        s->rw = t->rw;
        s->xd = t->xd;
        if (walk_once(s, t->gpa, level, r) == WALK_DONE)
            return true;
        t->stamp = 0;
    }
    return false;
}

bool walk_page(const struct paging *p, const u64 pdpte[4], struct bus *b,
               const struct walk_request *q, struct walk_result *r)
{
    if (!p->enabled) {
        *r = (struct walk_result){.phys = (q->la & PAGE_MASK & bus_a20(b)) | view(p),
                                  .page_shift = 32,
                                  .rights = BIT(MMU_READ) | BIT(MMU_WRITE) | BIT(MMU_EXEC)};
        return true;
    }
    u64 address = PTE_ADDR & (BIT64(phys_bits(p)) - 1);
    u64 table;
    unsigned level;
    if (p->long_mode) {
        level = p->la57 ? 5 : 4;
        table = p->cr3 & address;
    } else if (p->pae) {
        u64 e = pdpte[q->la >> 30 & 3];
        if (!(e & PTE_P)) {
            r->fault = fault_code(p, q, 0);
            return false;
        }
        level = 2;
        table = e & address;
    } else {
        level = 2;
        table = p->cr3 & 0xfffff000u;
    }
    struct walk_state s;
    s.p = p;
    s.b = b;
    s.q = q;
    s.wide = p->pae || p->long_mode;
    memset(s.found, 0, sizeof s.found);
    r->cached = q->tables && s.wide && walk_cached(&s, r);
    if (r->cached) {
        keep_tables(&s);
        return true;
    }
    enum outcome o;
    do {
        s.depth = 0;
        s.user = s.rw = true;
        s.xd = false;
        memset(s.found, 0, sizeof s.found);
        o = walk_once(&s, table, level, r);
    } while (o == WALK_AGAIN);
    if (o == WALK_DONE)
        keep_tables(&s);
    return o == WALK_DONE;
}

bool walk_load_pdptes(const struct paging *p, struct bus *b, u64 pdpte[4])
{
    /* SDM vol. 3A table 4-8: bits 2:1, 8:5 and 63:MAXPHYADDR are reserved. */
    u64 reserved = 0x1e6 | ~(BIT64(phys_bits(p)) - 1);
    bool good = true;
    for (unsigned i = 0; i < 4; i++) {
        pdpte[i] = read_entry(b, ((p->cr3 & 0xffffffe0u) + 8 * i) | view(p), 8);
        if ((pdpte[i] & PTE_P) && (pdpte[i] & reserved))
            good = false;
    }
    return good;
}

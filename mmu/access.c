/* Loads, stores, probes and fetches at linear addresses: the slow path of emitted code and the
 * way in for helpers.
 *
 * Everything is checked before anything is written, also across a page border; then code hooks
 * run, with no lock held, since they may leave without returning; then bytes move.
 */
#include "mmu/mmu.h"

#include "mmu/bus_private.h"
#include "mmu/codepage.h"
#include "mmu/tlb.h"
#include "mmu/written.h"
#include "mmu/walk.h"

/* A part of an access that lies in one page. */
struct part {
    struct tlb_entry entry;
    u64 la;
    unsigned len;
};

static u8 *part_host(const struct part *p)
{
    return p->entry.phys & TLB_IO ? NULL : (u8 *)(uintptr_t)(p->la + p->entry.addend);
}

static u64 part_gpa(const struct part *p)
{
    return (p->entry.phys & PAGE_MASK) | (p->la & ~PAGE_MASK);
}

/* Translates [la, la + len), at most a page long, into one or two parts; returns how many, or 0
 * with *status set. */
static unsigned split(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                      enum mmu_access access, struct part parts[2], enum mmu_status *status)
{
    unsigned room = PAGE_SIZE - (unsigned)(la & ~PAGE_MASK);
    parts[0].la = tlb_wrap(m, la);
    parts[0].len = len < room ? len : room;
    unsigned count = len > room ? 2 : 1;
    if (count == 2) {
        parts[1].la = tlb_wrap(m, la + room);
        parts[1].len = len - room;
        /* The canonical check covers all bytes and comes before paging. */
        if (!walk_canonical(&m->paging, parts[1].la)) {
            m->fault_addr = la;
            *status = MMU_NONCANONICAL;
            return 0;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        *status = tlb_translate(m, kind, parts[i].la, access, &parts[i].entry);
        if (*status != MMU_OK)
            return 0;
    }
    return count;
}

/* Reports an access to a page with a watched range. */
static void watch(struct mmu *m, u64 la, unsigned len, enum mmu_access access)
{
    unsigned hits = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(m->watch); i++) {
        const struct mmu_watch *w = &m->watch[i];
        if (w->len && (access == MMU_WRITE || w->read) && la - w->la + len - 1 < w->len + len - 1)
            hits |= BIT(i);
    }
    if (hits && !m->implicit)
        m->watch_hit(m, hits);
}

static void watch_parts(struct mmu *m, const struct part *parts, unsigned count,
                        enum mmu_access access)
{
    for (unsigned i = 0; i < count; i++)
        if (unlikely(parts[i].entry.phys & TLB_WATCHED))
            watch(m, parts[i].la, parts[i].len, access);
}

static unsigned io_piece(u64 gpa, unsigned len)
{
    unsigned n = 8;
    while (n > 1 && (n > len || (gpa & (n - 1))))
        n >>= 1;
    return n;
}

/* A device is about to be reached. */
static void note_io(struct mmu *m)
{
    m->priv->counters.io_accesses++;
    if (unlikely(m->before_io != NULL))
        m->before_io(m);
}

static void read_part(struct mmu *m, const struct part *p, u8 *buf)
{
    const u8 *host = part_host(p);
    if (host) {
        memcpy(buf, host, p->len);
        return;
    }
    u64 gpa = part_gpa(p);
    for (unsigned done = 0, n; done < p->len; done += n) {
        n = io_piece(gpa + done, p->len - done);
        note_io(m);
        store_le(buf + done, bus_read(m->bus, m->cpu_index, gpa + done, n), n);
    }
}

static bool goes_to_bus(const struct part *p)
{
    return p->entry.phys & (TLB_IO | TLB_ROM);
}

/* Runs the code hook for the part of a store that has no write tag. */
static void before_store(struct mmu *m, enum mmu_kind kind, const struct part *p)
{
    if (goes_to_bus(p) || p->entry.write != TLB_INVALID)
        return;
    written_note(m->bus, part_host(p));
    if (!code_marks(m->bus, part_host(p))) {
        if (code_cooling(m->bus, part_host(p)))
            code_cool(m->bus, part_host(p));
        else
            tlb_allow_write(m, kind, p->la);
        return;
    }
    m->priv->counters.code_stores++;
    code_touch(m->bus, m, part_host(p), part_gpa(p), p->len);
}

static void write_part(struct mmu *m, const struct part *p, const u8 *buf)
{
    if (!goes_to_bus(p)) {
        memcpy(part_host(p), buf, p->len);
        code_stored(m->bus, part_host(p), part_gpa(p), p->len);
        return;
    }
    u64 gpa = part_gpa(p);
    for (unsigned done = 0, n; done < p->len; done += n) {
        n = io_piece(gpa + done, p->len - done);
        note_io(m);
        bus_write(m->bus, m->cpu_index, gpa + done, load_le(buf + done, n), n);
    }
}

enum mmu_status mmu_load_bytes(struct mmu *m, enum mmu_kind kind, u64 la, void *buf, unsigned len)
{
    const u8 *host = mmu_peek(m, kind, la, len, false);
    if (likely(host != NULL)) {
        memcpy(buf, host, len);
        return MMU_OK;
    }
    struct part parts[2];
    enum mmu_status status;
    unsigned count = split(m, kind, la, len, MMU_READ, parts, &status);
    watch_parts(m, parts, count, MMU_READ);
    u8 *p = buf;
    for (unsigned i = 0; i < count; p += parts[i++].len)
        read_part(m, &parts[i], p);
    return status;
}

enum mmu_status mmu_store_bytes(struct mmu *m, enum mmu_kind kind, u64 la, const void *buf,
                                unsigned len)
{
    u8 *host = mmu_peek(m, kind, la, len, true);
    if (likely(host != NULL)) {
        memcpy(host, buf, len);
        return MMU_OK;
    }
    struct part parts[2];
    enum mmu_status status;
    unsigned count = split(m, kind, la, len, MMU_WRITE, parts, &status);
    const u8 *p = buf;
    watch_parts(m, parts, count, MMU_WRITE);
    for (unsigned i = 0; i < count; i++)
        before_store(m, kind, &parts[i]);
    for (unsigned i = 0; i < count; p += parts[i++].len)
        write_part(m, &parts[i], p);
    return status;
}

static bool crosses(u64 la, unsigned size)
{
    return (la & ~PAGE_MASK) + size > PAGE_SIZE;
}

enum mmu_status mmu_load(struct mmu *m, enum mmu_kind kind, u64 la, unsigned size, u64 *out)
{
    const u8 *host = mmu_peek(m, kind, la, size, false);
    if (likely(host != NULL)) {
        *out = ram_load(host, size);
        return MMU_OK;
    }
    if (unlikely(crosses(la, size))) {
        u64 v = 0;
        enum mmu_status status = mmu_load_bytes(m, kind, la, &v, size);
        if (status == MMU_OK)
            *out = RAM_LE64(v);
        return status;
    }
    struct part p = {.la = tlb_wrap(m, la), .len = size};
    enum mmu_status status = tlb_translate(m, kind, p.la, MMU_READ, &p.entry);
    if (status != MMU_OK)
        return status;
    watch_parts(m, &p, 1, MMU_READ);
    if (likely(!(p.entry.phys & TLB_IO))) {
        *out = ram_load(part_host(&p), size);
        return MMU_OK;
    }
    note_io(m);
    *out = bus_read(m->bus, m->cpu_index, part_gpa(&p), size);
    return MMU_OK;
}

enum mmu_status mmu_store(struct mmu *m, enum mmu_kind kind, u64 la, unsigned size, u64 value)
{
    u8 *host = mmu_peek(m, kind, la, size, true);
    if (likely(host != NULL)) {
        ram_store(host, value, size);
        return MMU_OK;
    }
    if (unlikely(crosses(la, size))) {
        u64 v = RAM_LE64(value);
        return mmu_store_bytes(m, kind, la, &v, size);
    }
    struct part p = {.la = tlb_wrap(m, la), .len = size};
    enum mmu_status status = tlb_translate(m, kind, p.la, MMU_WRITE, &p.entry);
    if (status != MMU_OK)
        return status;
    watch_parts(m, &p, 1, MMU_WRITE);
    if (unlikely(goes_to_bus(&p))) {
        note_io(m);
        bus_write(m->bus, m->cpu_index, part_gpa(&p), value & size_mask(size), size);
        return MMU_OK;
    }
    before_store(m, kind, &p);
    ram_store(part_host(&p), value, size);
    code_stored(m->bus, part_host(&p), part_gpa(&p), size);
    return MMU_OK;
}

enum mmu_status mmu_probe(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                          enum mmu_access access)
{
    struct tlb_entry e;
    bool watched = false;
    for (u64 done = 0; done < len;) {
        u64 at = tlb_wrap(m, la + done);
        enum mmu_status status = tlb_translate(m, kind, at, access, &e);
        if (status != MMU_OK)
            return status;
        watched |= e.phys & TLB_WATCHED;
        done += PAGE_SIZE - (at & ~PAGE_MASK);
    }
    if (unlikely(watched))
        watch(m, la, len, access);
    return MMU_OK;
}

enum mmu_status mmu_update(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                           void (*change)(void *opaque, void *bytes), void *opaque)
{
    struct part parts[2];
    enum mmu_status status;
    unsigned count = split(m, kind, la, len, MMU_WRITE, parts, &status);
    u8 buf[MMU_UPDATE_MAX], *p = buf;
    watch_parts(m, parts, count, MMU_READ);
    watch_parts(m, parts, count, MMU_WRITE);
    /* What may leave without returning comes before the lock. */
    for (unsigned i = 0; i < count; i++) {
        if (goes_to_bus(&parts[i]))
            note_io(m);
        before_store(m, kind, &parts[i]);
    }
    if (!count)
        return status;
    bus_lock(m->bus);
    for (unsigned i = 0; i < count; p += parts[i++].len)
        read_part(m, &parts[i], p);
    change(opaque, buf);
    p = buf;
    for (unsigned i = 0; i < count; p += parts[i++].len)
        write_part(m, &parts[i], p);
    bus_unlock(m->bus);
    return MMU_OK;
}

/* touch: a store to marked code runs the hook instead of being refused. */
static enum mmu_status host_of(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                               enum mmu_access access, bool touch, u8 **host, u64 *gpa)
{
    *host = NULL;
    if (crosses(la, len))
        return mmu_probe(m, kind, la, len, access);
    struct part p = {.la = tlb_wrap(m, la), .len = len};
    enum mmu_status status = tlb_translate(m, kind, p.la, access, &p.entry);
    if (status != MMU_OK)
        return status;
    if (unlikely(p.entry.phys & TLB_WATCHED))
        return MMU_OK;
    if (access == MMU_WRITE && p.entry.write == TLB_INVALID) {
        if (goes_to_bus(&p))
            return MMU_OK;
        if (!touch && (code_marked(m->bus, part_host(&p), len) ||
                       code_cooling(m->bus, part_host(&p))))
            return MMU_OK;
        before_store(m, kind, &p);
    }
    *host = part_host(&p);
    *gpa = part_gpa(&p);
    return MMU_OK;
}

enum mmu_status mmu_host(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                         enum mmu_access access, u8 **host)
{
    u64 gpa;
    return host_of(m, kind, la, len, access, false, host, &gpa);
}

enum mmu_status mmu_host_store(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len, u8 **host,
                               u64 *gpa)
{
    return host_of(m, kind, la, len, MMU_WRITE, true, host, gpa);
}

void mmu_stored(struct mmu *m, const u8 *host, u64 gpa, unsigned len)
{
    code_stored(m->bus, host, gpa, len);
}

enum mmu_status mmu_fetch_page(struct mmu *m, enum mmu_kind kind, u64 la,
                               struct mmu_code_page *page)
{
    struct part p = {.la = tlb_wrap(m, la) & PAGE_MASK};
    enum mmu_status status = tlb_translate(m, kind, tlb_wrap(m, la), MMU_EXEC, &p.entry);
    if (status != MMU_OK)
        return status;
    tlb_note_fetch(m, kind, p.la);
    page->phys = p.entry.phys & PAGE_MASK;
    page->host = part_host(&p);
    page->global = p.entry.phys & TLB_GLOBAL;
    return MMU_OK;
}

bool mmu_debug_translate(struct mmu *m, u64 la, u64 *gpa)
{
    struct walk_result r;
    struct walk_request q = {.la = tlb_wrap(m, la), .kind = MMU_SUPERVISOR_AC,
                             .access = MMU_READ};
    if (!walk_canonical(&m->paging, q.la) ||
        !walk_page(&m->paging, m->pdpte, m->bus, &q, &r))
        return false;
    *gpa = r.phys | (la & ~PAGE_MASK);
    return true;
}

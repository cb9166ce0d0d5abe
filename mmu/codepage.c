/* Which bytes of RAM hold translated code, in granules of 64 bytes.
 *
 * One 64-bit word per RAM page, in a sparse table that the host commits on touch.  May touch the
 * bus and, through tlb.h, the write tags of every vCPU.
 *
 * While other vCPUs run: marks are set before write tags are dropped, and a TLB fill looks at the
 * marks under the lock that the dropping takes, so that no tag given later is missed.  A store on
 * the slow path looks at the marks before and after it, and who translates compares the bytes after
 * marking them: one of the two sees the other.  Left open: a store that passed its inline check,
 * on a page without any code, may land behind both if the host stops the thread in between.
 * What is run and stored to at the same time had marks before; so that it keeps to the slow path, a
 * page whose last marks go gets no tag for some more stores (cooling).
 */
#include "mmu/codepage.h"

#include "mmu/tlb.h"
#include "mmu/written.h"

#define GRANULE_SHIFT 6
#define COOLING_STORES 255

/* Granules of the page that [offset, offset + len) touches; len at least 1, within the page. */
static u64 granules(unsigned offset, unsigned len)
{
    unsigned first = offset >> GRANULE_SHIFT, last = (offset + len - 1) >> GRANULE_SHIFT;
    return (~0ull << first) & (~0ull >> (63 - last));
}

static unsigned within_page(u64 addr, u64 len)
{
    unsigned room = PAGE_SIZE - (unsigned)(addr & ~PAGE_MASK);
    return len < room ? (unsigned)len : room;
}

/* The host address of RAM at gpa, or NULL. */
static u8 *host_at(struct bus *b, u64 gpa)
{
    struct view_range r;
    gpa = bus_find(b, gpa, &r);
    return r.host ? r.host + (gpa - r.start) : NULL;
}

void bus_set_code_hook(struct bus *b, struct code_hook hook)
{
    b->hook = hook;
}

void code_mark(struct bus *b, u64 gpa, unsigned len)
{
    while (len) {
        unsigned n = within_page(gpa, len);
        u8 *host = host_at(b, gpa);
        if (host) {
            u64 bits = granules((unsigned)(gpa & ~PAGE_MASK), n);
            if (!atomic_fetch_or(&bus_ram_page(b, host)->marks, bits))
                tagged_drop(b, host);
        }
        gpa += n;
        len -= n;
    }
}

bool code_hit(struct bus *b, u64 gpa, unsigned len)
{
    while (len) {
        unsigned n = within_page(gpa, len);
        u8 *host = host_at(b, gpa);
        if (host && (code_marks(b, host) & granules((unsigned)(gpa & ~PAGE_MASK), n)))
            return true;
        gpa += n;
        len -= n;
    }
    return false;
}

bool code_marked(struct bus *b, const u8 *host, unsigned len)
{
    return code_marks(b, host) & granules((unsigned)((uintptr_t)host & ~PAGE_MASK), len);
}

void code_clear_page(struct bus *b, u64 gpa)
{
    u8 *host = host_at(b, gpa);
    if (!host)
        return;
    if (bus_shared(b))
        atomic_store(&b->cooling[ram_arena_page(&b->ram, host)], COOLING_STORES);
    atomic_store(&bus_ram_page(b, host)->marks, 0);
}

/* Two vCPUs that cool a page at once may lose a step: it takes longer. */
void code_cool(struct bus *b, const u8 *host)
{
    _Atomic u8 *left = &b->cooling[ram_arena_page(&b->ram, host)];
    u8 n = atomic_load_explicit(left, memory_order_relaxed);
    if (n)
        atomic_store_explicit(left, (u8)(n - 1), memory_order_relaxed);
}

bool code_page(struct bus *b, u64 gpa)
{
    u8 *host = host_at(b, gpa);
    return host && code_marks(b, host);
}

void code_touch(struct bus *b, struct mmu *writer, const u8 *host, u64 gpa, u64 len)
{
    while (len) {
        unsigned n = within_page(gpa, len);
        u64 marks = code_marks(b, host);
        written_note(b, host);
        if (unlikely(marks) && (marks & granules((unsigned)(gpa & ~PAGE_MASK), n)) &&
            b->hook.code_written)
            b->hook.code_written(b->hook.opaque, writer, gpa, n);
        host += n;
        gpa += n;
        len -= n;
    }
}

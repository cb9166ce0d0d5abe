/* The physical address space and the port space.
 *
 * Regions, the machine lock and dispatch; flat views are in view.c, RAM blocks in ram.c, code
 * marks in codepage.c.  Left out: bus errors and timing; an access to nothing reads all ones.
 *
 * How an access meets a region's sizes: one of a size that the region takes is passed on as it
 * is, aligned or not (some units decode odd addresses); a wider one is split into pieces of the
 * widest size, lowest address first; a narrower read takes its bytes from a read of the aligned
 * unit around it; a narrower write becomes a write of that unit with zeros in the other bytes,
 * since reading first could have side effects.
 */
#include "mmu/bus.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "mmu/bus_private.h"
#include "mmu/codepage.h"
#include "mmu/mmu.h"

#define PORT_COUNT 0x10000u

struct bus *bus_create(void)
{
    struct bus *b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&b->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    atomic_store(&b->a20_mask, ~0ull);
    if (!ram_arena_init(&b->ram)) {
        free(b);
        return NULL;
    }
    ram_ahead_init(&b->ahead, &b->ram);
    b->pages = ram_reserve(RAM_ARENA_PAGES * sizeof *b->pages);
    b->written = ram_reserve(RAM_ARENA_PAGES * sizeof *b->written);
    b->cooling = ram_reserve(RAM_ARENA_PAGES * sizeof *b->cooling);
    bool memory = space_init(&b->memory, BUS_VIEWS), ports = space_init(&b->ports, 1);
    if (b->pages && b->written && b->cooling && memory && ports)
        return b;
    bus_destroy(b);
    return NULL;
}

void bus_destroy(struct bus *b)
{
    if (!b)
        return;
    space_free(&b->memory);
    space_free(&b->ports);
    ram_release(b->pages, RAM_ARENA_PAGES * sizeof *b->pages);
    ram_release((void *)b->written, RAM_ARENA_PAGES * sizeof *b->written);
    ram_release((void *)b->cooling, RAM_ARENA_PAGES * sizeof *b->cooling);
    ram_ahead_free(&b->ahead);
    ram_arena_free(&b->ram);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

bool bus_shared(const struct bus *b)
{
    return atomic_load_explicit(&b->mmu_count, memory_order_relaxed) > 1;
}

void bus_lock(struct bus *b)
{
    pthread_mutex_lock(&b->lock);
}

void bus_unlock(struct bus *b)
{
    pthread_mutex_unlock(&b->lock);
}

u8 *bus_alloc_ram(struct bus *b, u64 size, const char *name)
{
    bus_lock(b);
    u8 *p = ram_arena_alloc(&b->ram, size);
    bus_unlock(b);
    log_event(device, "ram block %s: %llu bytes\n", name, (unsigned long long)size);
    return p;
}

void bus_touch_ahead(struct bus *b, bool on)
{
    atomic_store(&b->ahead.off, !on);
}

u64 bus_touched_ahead(const struct bus *b)
{
    return atomic_load(&b->ahead.pieces) << RAM_PIECE_SHIFT;
}

/* ---- regions ---- */

static void publish(struct region *r)
{
    space_update(r->space);
    /* TLBs cache host addresses and the absence of any; ports are never cached. */
    if (r->kind != REGION_PORTS)
        bus_flush_tlbs(r->bus);
}

/* Adds a copy of *from to its space and publishes it; NULL when the host has no memory. */
static struct region *add_region(struct bus *b, const char *name, const struct region *from)
{
    struct region *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    *r = *from;
    r->bus = b;
    r->enabled = true;
    r->views = BUS_IN_PLAIN | BUS_IN_SMM | BUS_IN_SMM_CODE;
    r->space = r->kind == REGION_PORTS ? &b->ports : &b->memory;
    snprintf(r->name, sizeof r->name, "%s", name);
    bus_lock(b);
    if (!r->size || !space_grow(r->space, r->space->count + 1)) {
        bus_unlock(b);
        free(r);
        return NULL;
    }
    r->order = b->next_order++;
    r->next = r->space->regions;
    r->space->regions = r;
    r->space->count++;
    publish(r);
    bus_unlock(b);
    return r;
}

struct region *bus_map_ram(struct bus *b, const char *name, u64 gpa, u64 size, u8 *host,
                           bool readable, bool writable, int priority)
{
    assert(!((gpa | size) & ~PAGE_MASK));
    assert(ram_arena_has(&b->ram, host) && size <= b->ram.used - (u64)(host - b->ram.base));
    return add_region(b, name, &(struct region){.kind = REGION_RAM, .address = gpa, .size = size,
                                                .host = host, .readable = readable,
                                                .writable = writable, .priority = priority});
}

struct region *bus_map_mmio(struct bus *b, const char *name, u64 gpa, u64 size,
                            const struct bus_ops *ops, void *opaque, int priority)
{
    return add_region(b, name, &(struct region){.kind = REGION_MMIO, .address = gpa, .size = size,
                                                .ops = ops, .opaque = opaque,
                                                .priority = priority});
}

struct region *bus_map_mmio_percpu(struct bus *b, const char *name, u64 gpa, u64 size,
                                   const struct bus_ops *ops, void **opaques, unsigned count,
                                   int priority)
{
    void **copy = malloc((count + 1) * sizeof *copy);
    if (!copy)
        return NULL;
    memcpy(copy, opaques, count * sizeof *copy);
    struct region *r =
        add_region(b, name, &(struct region){.kind = REGION_PERCPU, .address = gpa, .size = size,
                                             .ops = ops, .opaques = copy, .count = count,
                                             .priority = priority});
    if (!r)
        free(copy);
    return r;
}

struct region *bus_map_ports(struct bus *b, const char *name, u16 port, u32 count,
                             const struct bus_ops *ops, void *opaque)
{
    return add_region(b, name, &(struct region){.kind = REGION_PORTS, .address = port,
                                                .size = count, .ops = ops, .opaque = opaque});
}

void region_set_enabled(struct region *r, bool enabled)
{
    bus_lock(r->bus);
    if (r->enabled != enabled) {
        r->enabled = enabled;
        publish(r);
    }
    bus_unlock(r->bus);
}

void region_set_address(struct region *r, u64 address)
{
    assert(r->kind != REGION_RAM || !(address & ~PAGE_MASK));
    bus_lock(r->bus);
    if (r->address != address) {
        r->address = address;
        if (r->enabled)
            publish(r);
    }
    bus_unlock(r->bus);
}

void region_set_access(struct region *r, bool readable, bool writable)
{
    bus_lock(r->bus);
    if (r->readable != readable || r->writable != writable) {
        r->readable = readable;
        r->writable = writable;
        if (r->enabled)
            publish(r);
    }
    bus_unlock(r->bus);
}

void region_set_views(struct region *r, unsigned views)
{
    bus_lock(r->bus);
    if (r->views != views) {
        r->views = (u8)views;
        if (r->enabled)
            publish(r);
    }
    bus_unlock(r->bus);
}

void region_set_host(struct region *r, u8 *host)
{
    assert(ram_arena_has(&r->bus->ram, host));
    bus_lock(r->bus);
    if (r->host != host) {
        r->host = host;
        if (r->enabled)
            publish(r);
    }
    bus_unlock(r->bus);
}

/* ---- dispatch to a region's registers, machine lock held ---- */

static void *opaque_for(const struct region *r, int who, bool *present)
{
    *present = r->kind != REGION_PERCPU || (who >= 0 && (unsigned)who < r->count);
    return r->kind != REGION_PERCPU ? r->opaque : *present ? r->opaques[who] : NULL;
}

static unsigned min_size(const struct region *r)
{
    return r->ops->min_size ? r->ops->min_size : 1;
}

static unsigned max_size(const struct region *r)
{
    unsigned limit = r->kind == REGION_PORTS ? 4 : 8;
    return r->ops->max_size ? r->ops->max_size : limit;
}

static u64 register_read(const struct region *r, int who, u64 offset, unsigned size)
{
    bool present;
    void *opaque = opaque_for(r, who, &present);
    unsigned min = min_size(r), max = max_size(r);
    u64 v = 0;
    if (!present || !r->ops->read)
        return size_mask(size);
    for (unsigned done = 0, n; done < size; done += n, offset += n) {
        u64 part;
        n = size - done < max ? size - done : max;
        if (n >= min) {
            part = r->ops->read(opaque, offset, n);
        } else {
            unsigned skip = (unsigned)offset & (min - 1);
            n = n < min - skip ? n : min - skip;
            part = r->ops->read(opaque, offset - skip, min) >> (8 * skip);
        }
        v |= (part & size_mask(n)) << (8 * done);
    }
    return v;
}

static void register_write(const struct region *r, int who, u64 offset, u64 value, unsigned size)
{
    bool present;
    void *opaque = opaque_for(r, who, &present);
    unsigned min = min_size(r), max = max_size(r);
    if (!present || !r->ops->write)
        return;
    for (unsigned done = 0, n; done < size; done += n, offset += n) {
        u64 part = value >> (8 * done);
        n = size - done < max ? size - done : max;
        if (n >= min) {
            r->ops->write(opaque, offset, part & size_mask(n), n);
        } else {
            unsigned skip = (unsigned)offset & (min - 1);
            n = n < min - skip ? n : min - skip;
            r->ops->write(opaque, offset - skip, (part & size_mask(n)) << (8 * skip), min);
        }
    }
}

/* The widest access of at most `size` bytes that stays within r from addr on. */
static unsigned piece(const struct view_range *r, u64 addr, unsigned size)
{
    unsigned n = size;
    while (n & (n - 1))
        n &= n - 1;
    while (n > 1 && r->last - addr < n - 1)
        n >>= 1;
    return n;
}

/* ---- physical accesses ---- */

u64 bus_find(struct bus *b, u64 gpa, struct view_range *out)
{
    unsigned set = !(gpa & BUS_SMM) ? 0 : (gpa & BUS_SMM_CODE) == BUS_SMM_CODE ? 2 : 1;
    space_find(&b->memory, set, gpa & BUS_ADDRESS, out);
    return gpa & BUS_ADDRESS;
}

static u64 cpu_address(struct bus *b, int who, u64 gpa)
{
    return who == BUS_DMA ? gpa : gpa & bus_a20_mask(b);
}

static struct mmu *writer_of(struct bus *b, int who)
{
    unsigned count = atomic_load(&b->mmu_count);
    for (unsigned i = 0; who != BUS_DMA && i < count; i++) {
        struct mmu *m = atomic_load(&b->mmus[i]);
        if (m && m->cpu_index == who)
            return m;
    }
    return NULL;
}

/* Finds again under the lock: a region may have moved since it was found without. */
static u64 read_piece(struct bus *b, int who, u64 gpa, unsigned want, unsigned *done)
{
    struct view_range r;
    u64 v = ~0ull, seen = gpa;
    gpa = bus_find(b, seen, &r);
    unsigned n = piece(&r, gpa, want);
    if (r.host) {
        if (r.access & RANGE_READ)
            v = ram_load(r.host + (gpa - r.start), n);
    } else if (r.region) {
        bus_lock(b);
        bus_find(b, seen, &r);
        n = piece(&r, gpa, want);
        if (r.region && !r.host)
            v = register_read(r.region, who, r.offset + (gpa - r.start), n);
        else if (r.host && (r.access & RANGE_READ))
            v = ram_load(r.host + (gpa - r.start), n);
        bus_unlock(b);
    }
    *done = n;
    return v & size_mask(n);
}

u64 bus_read(struct bus *b, int who, u64 gpa, unsigned size)
{
    u64 v = 0;
    gpa = cpu_address(b, who, gpa);
    for (unsigned done = 0, n; done < size; done += n)
        v |= read_piece(b, who, gpa + done, size - done, &n) << (8 * done);
    return v;
}

/* Returns the bytes written (or ignored). */
static unsigned write_piece(struct bus *b, int who, u64 gpa, u64 value, unsigned want)
{
    struct view_range r;
    unsigned n = 0;
    u64 seen = gpa;
    gpa = bus_find(b, seen, &r);
    if (!r.host && r.region) {
        bus_lock(b);
        bus_find(b, seen, &r);
        if (!r.host && r.region) {
            n = piece(&r, gpa, want);
            register_write(r.region, who, r.offset + (gpa - r.start), value, n);
        }
        bus_unlock(b);
        if (n)
            return n;
    }
    n = piece(&r, gpa, want);
    if (r.host && (r.access & RANGE_WRITE)) {
        /* No lock is held here: the hook may leave without returning. */
        code_touch(b, writer_of(b, who), r.host + (gpa - r.start), seen, n);
        ram_store(r.host + (gpa - r.start), value, n);
    }
    return n;
}

void bus_write(struct bus *b, int who, u64 gpa, u64 value, unsigned size)
{
    gpa = cpu_address(b, who, gpa);
    for (unsigned done = 0; done < size;)
        done += write_piece(b, who, gpa + done, value >> (8 * done), size - done);
}

/* The widest naturally aligned access at addr of at most len bytes. */
static unsigned aligned_piece(u64 addr, u64 len)
{
    unsigned n = 8;
    while (n > 1 && ((addr & (n - 1)) || n > len))
        n >>= 1;
    return n;
}

void bus_read_bytes(struct bus *b, u64 gpa, void *buf, u64 len)
{
    u8 *p = buf;
    while (len) {
        struct view_range r;
        u64 at = bus_find(b, gpa, &r);
        u64 n = r.last - at < len - 1 ? r.last - at + 1 : len;
        if (r.host && (r.access & RANGE_READ)) {
            memmove(p, r.host + (at - r.start), n);
        } else if (r.host || !r.region) {
            memset(p, 0xff, n);
        } else {
            n = aligned_piece(gpa, n);
            store_le(p, bus_read(b, BUS_DMA, gpa, (unsigned)n), (unsigned)n);
        }
        p += n;
        gpa += n;
        len -= n;
    }
}

static void write_bytes(struct bus *b, u64 gpa, const u8 *p, u64 len, bool force)
{
    while (len) {
        struct view_range r;
        u64 at = bus_find(b, gpa, &r);
        u64 n = r.last - at < len - 1 ? r.last - at + 1 : len;
        if (r.host) {
            if (force || (r.access & RANGE_WRITE)) {
                code_touch(b, NULL, r.host + (at - r.start), gpa, n);
                memmove(r.host + (at - r.start), p, n);
            }
        } else if (r.region) {
            n = aligned_piece(gpa, n);
            bus_write(b, BUS_DMA, gpa, load_le(p, (unsigned)n), (unsigned)n);
        }
        p += n;
        gpa += n;
        len -= n;
    }
}

void bus_write_bytes(struct bus *b, u64 gpa, const void *buf, u64 len)
{
    write_bytes(b, gpa, buf, len, false);
}

void bus_write_rom(struct bus *b, u64 gpa, const void *buf, u64 len)
{
    write_bytes(b, gpa, buf, len, true);
}

/* ---- ports ---- */

u32 bus_in(struct bus *b, int who, u16 port, unsigned size)
{
    u64 v = 0;
    bus_lock(b);
    for (unsigned done = 0, n; done < size; done += n) {
        struct view_range r;
        space_find(&b->ports, 0, port + done, &r);
        n = piece(&r, port + done, size - done);
        u64 part = r.region
                       ? register_read(r.region, who, r.offset + (port + done - r.start), n)
                       : size_mask(n);
        v |= part << (8 * done);
    }
    bus_unlock(b);
    log_event(ioport, "in%u %04x -> %0*llx\n", size * 8, port, (int)size * 2,
              (unsigned long long)v);
    return (u32)v;
}

void bus_out(struct bus *b, int who, u16 port, u32 value, unsigned size)
{
    log_event(ioport, "out%u %04x <- %0*x\n", size * 8, port, (int)size * 2, value);
    bus_lock(b);
    for (unsigned done = 0, n; done < size; done += n) {
        struct view_range r;
        space_find(&b->ports, 0, port + done, &r);
        n = piece(&r, port + done, size - done);
        if (r.region)
            register_write(r.region, who, r.offset + (port + done - r.start),
                           (u64)value >> (8 * done), n);
    }
    bus_unlock(b);
}

/* ---- what the software MMU asks ---- */

struct bus_page bus_page(struct bus *b, u64 gpa)
{
    struct view_range r;
    struct bus_page page;
    if (bus_big_page(b, gpa, &page))
        return page;
    gpa &= bus_a20(b) & PAGE_MASK;
    gpa = bus_find(b, gpa, &r);
    if (!r.host || gpa < r.start || r.last - gpa < PAGE_SIZE - 1)
        return (struct bus_page){NULL, NULL};
    u8 *host = r.host + (gpa - r.start);
    return (struct bus_page){
        .read = r.access & RANGE_READ ? host : NULL,
        .write = r.access & RANGE_WRITE ? host : NULL,
    };
}

void bus_set_a20(struct bus *b, bool on)
{
    u64 mask = on ? ~0ull : ~BIT64(20);
    if (atomic_exchange(&b->a20_mask, mask) != mask)
        bus_flush_tlbs(b);
}

u64 bus_a20_mask(const struct bus *b)
{
    return bus_a20(b);
}

static void print_space(const struct space *s, int digits,
                        void (*print)(void *opaque, const char *fmt, ...), void *opaque)
{
    static const char *const kinds[] = {"ram", "mmio", "mmio per cpu", "ports"};
    u64 limit = s->regions && s->regions->kind == REGION_PORTS ? PORT_COUNT - 1 : ~0ull;
    u64 addr = 0;
    for (;;) {
        struct view_range r;
        space_find(s, 0, addr, &r);
        if (r.region) {
            const char *kind = kinds[r.region->kind];
            if (r.host)
                kind = r.access & RANGE_WRITE ? "ram" : "rom";
            print(opaque, "  %0*llx-%0*llx %-12s %s", digits, (unsigned long long)r.start, digits,
                  (unsigned long long)r.last, kind, r.region->name);
            if (r.offset)
                print(opaque, " +0x%llx", (unsigned long long)r.offset);
            print(opaque, "\n");
        }
        if (r.last >= limit)
            return;
        addr = r.last + 1;
    }
}

void bus_print(struct bus *b, void (*print)(void *opaque, const char *fmt, ...), void *opaque)
{
    bus_lock(b);
    print(opaque, "memory (A20 %s)\n", bus_a20_mask(b) == ~0ull ? "on" : "off");
    print_space(&b->memory, 16, print, opaque);
    print(opaque, "ports\n");
    print_space(&b->ports, 4, print, opaque);
    bus_unlock(b);
}

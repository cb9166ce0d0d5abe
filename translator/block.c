/* The block cache: blocks by key and by page, and what happens when guest code is written.
 *
 * A write drops only the blocks of which it changes bytes (or bytes that their flags analysis
 * looked at), whatever else shares the page or the 64-byte granule that the bus marks.  One lock
 * guards everything; engines keep their own lock-free caches in front of block_find.
 *
 * Touches the bus's code marks.  Left out: execution, and the memory of blocks (the engines').
 */
#include "translator/block.h"

#include <sys/mman.h>

#include "base/log.h"

#define KEY_BITS 18u
#define PAGE_BITS 15u
#define FILTER_SHIFT 48
#define MAX_CPUS 256u
#define OFFLINE (~0ull)

struct block_cache {
    struct bus *bus;
    struct block_hooks hooks;
    pthread_mutex_t lock;
    u64 by_key[1u << KEY_BITS];       /* the first block's address, and above it a filter */
    struct block *by_page[1u << PAGE_BITS]; /* several pages may share a list */
    struct block *dead, **dead_end;   /* oldest first */
    u64 epoch;                        /* moves on with each drop */
    _Atomic u64 seen[MAX_CPUS];       /* epoch at each vCPU's last safe point, or OFFLINE */
    u8 heat[BLOCK_HEAT_LINES];
    struct block_counters counters;
};

#define CACHE_BYTES align_up(sizeof(struct block_cache), 2u << 20)

static unsigned hash64(u64 v, unsigned bits)
{
    return (unsigned)(v * 0x9e3779b97f4a7c15ull >> (64 - bits));
}

/* Neighbours in a page are neighbours in the table, so that they share cache lines.  *bit: of the
 * filter, which says of most blocks that are not there that they are not, without a look at
 * others, whose memory the host's caches do not have. */
static unsigned key_hash(u64 phys, u64 rip, u32 hflags, u64 *bit)
{
    u64 page = phys >> PAGE_SHIFT ^ (rip & PAGE_MASK) << 8 ^ (u64)hflags << 44;
    unsigned within = (unsigned)(phys & ~PAGE_MASK) / 4;
    *bit = BIT64(FILTER_SHIFT + ((hash64(page, 32) ^ phys) & 15));
    return (hash64(page, KEY_BITS) + within) & ((1u << KEY_BITS) - 1);
}

/* Addresses of programs have 47 or 48 bits. */
static struct block *first_of(u64 bucket)
{
    return (struct block *)(uintptr_t)(bucket & (BIT64(FILTER_SHIFT) - 1));
}

/* The bucket with another first block; an empty one has an empty filter. */
static u64 with_first(u64 bucket, const struct block *b)
{
    return b ? (bucket & ~(BIT64(FILTER_SHIFT) - 1)) | (uintptr_t)b : 0;
}

/* Host page where there is RAM or ROM, so that aliases agree; else the physical page itself. */
static const u8 *page_id(struct block_cache *c, u64 phys)
{
    const u8 *host = bus_page(c->bus, phys).read;
    return host ? host : (const u8 *)(uintptr_t)(phys & PAGE_MASK);
}

static unsigned page_hash(const u8 *host)
{
    return hash64((uintptr_t)host >> PAGE_SHIFT, PAGE_BITS);
}

static void on_code_written(void *opaque, struct mmu *writer, u64 gpa, unsigned len);

struct block_cache *block_cache_create(struct bus *bus, const struct block_hooks *hooks)
{
    /* In large pages: the tables are met at random. */
    struct block_cache *c = mmap(NULL, CACHE_BYTES, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (c == MAP_FAILED)
        return NULL;
    madvise(c, CACHE_BYTES, MADV_HUGEPAGE);
    c->bus = bus;
    c->hooks = *hooks;
    c->dead_end = &c->dead;
    for (unsigned i = 0; i < MAX_CPUS; i++)
        c->seen[i] = OFFLINE;
    pthread_mutex_init(&c->lock, NULL);
    bus_set_code_hook(bus, (struct code_hook){on_code_written, c});
    return c;
}

/* ---- safe points ---- */

void block_cpu_online(struct block_cache *c, unsigned cpu_index)
{
    pthread_mutex_lock(&c->lock);
    if (cpu_index < MAX_CPUS)
        c->seen[cpu_index] = c->epoch;
    pthread_mutex_unlock(&c->lock);
}

void block_cpu_offline(struct block_cache *c, unsigned cpu_index)
{
    if (cpu_index < MAX_CPUS)
        c->seen[cpu_index] = OFFLINE;
}

void block_safe_point(struct block_cache *c, unsigned cpu_index)
{
    /* The epoch is only a stamp: reading an older one merely delays the freeing. */
    u64 now = __atomic_load_n(&c->epoch, __ATOMIC_ACQUIRE);
    if (cpu_index < MAX_CPUS && c->seen[cpu_index] != now)
        atomic_store_explicit(&c->seen[cpu_index], now, memory_order_release);
}

static void free_dead(struct block_cache *c, u64 before)
{
    while (c->dead && c->dead->dead_since < before) {
        struct block *b = c->dead;
        c->dead = b->dead_next;
        if (!c->dead)
            c->dead_end = &c->dead;
        c->counters.freed++;
        c->hooks.free(c->hooks.opaque, b);
    }
}

static void free_unreachable(struct block_cache *c)
{
    if (!c->dead)
        return;
    u64 oldest = OFFLINE;
    for (unsigned i = 0; i < MAX_CPUS; i++) {
        u64 seen = atomic_load_explicit(&c->seen[i], memory_order_acquire);
        oldest = seen < oldest ? seen : oldest;
    }
    free_dead(c, oldest == OFFLINE ? c->epoch : oldest);
}

/* ---- lists ---- */

static struct block **page_link(struct block *b, const u8 *host)
{
    return &b->page_next[b->host[0] != host];
}

/* Whether b is in the list that `host` hashes to as a member of page `host`. */
static bool on_page(const struct block *b, const u8 *host)
{
    return b->host[0] == host || b->host[1] == host;
}

/* The next member of a by_page list after b; a list holds blocks by either of their pages. */
static struct block **next_in(struct block *b, unsigned bucket)
{
    return &b->page_next[page_hash(b->host[0]) != bucket];
}

static void link_page(struct block_cache *c, struct block *b, const u8 *host)
{
    unsigned bucket = page_hash(host);
    /* Both pages in one bucket: one membership is enough, both are compared. */
    if (host != b->host[0] && bucket == page_hash(b->host[0]))
        return;
    *page_link(b, host) = c->by_page[bucket];
    c->by_page[bucket] = b;
}

static void unlink_page(struct block_cache *c, struct block *b, const u8 *host)
{
    unsigned bucket = page_hash(host);
    for (struct block **p = &c->by_page[bucket]; *p; p = next_in(*p, bucket)) {
        if (*p == b) {
            *p = *next_in(b, bucket);
            return;
        }
    }
}

static void unlink_key(struct block_cache *c, struct block *b)
{
    u64 bit, *bucket = &c->by_key[key_hash(b->phys, b->rip, b->hflags, &bit)];
    struct block *at = first_of(*bucket);
    if (at == b) {
        *bucket = with_first(*bucket, b->hash_next);
        return;
    }
    while (at && at->hash_next != b)
        at = at->hash_next;
    if (at)
        at->hash_next = b->hash_next;
}

/* Makes a block that is on no list any more unreachable. */
static void retire_block(struct block_cache *c, struct block *b)
{
    b->valid = false;
    c->hooks.drop(c->hooks.opaque, b);
    b->dead_since = c->epoch;
    b->dead_next = NULL;
    *c->dead_end = b;
    c->dead_end = &b->dead_next;
    __atomic_store_n(&c->epoch, c->epoch + 1, __ATOMIC_RELEASE);
    c->counters.drops++;
    c->counters.live--;
}

/* Takes b out of the cache; its marks stay. */
static void drop_block(struct block_cache *c, struct block *b)
{
    unlink_key(c, b);
    unlink_page(c, b, b->host[0]);
    if (b->host[1])
        unlink_page(c, b, b->host[1]);
    retire_block(c, b);
}

/* ---- which bytes belong to a block ---- */

static bool ranges_meet(u64 a, u64 alen, u64 b, u64 blen)
{
    return a < b + blen && b < a + alen;
}

/* Whether [offset, offset + len) of the page at `host` has bytes that b depends on. */
static bool depends_on(const struct block *b, const u8 *host, u64 offset, unsigned len)
{
    u64 start = b->phys & ~PAGE_MASK;
    u64 first = start + b->guest_bytes > PAGE_SIZE ? PAGE_SIZE - start : b->guest_bytes;
    if (b->host[0] == host) {
        if (ranges_meet(offset, len, start, first))
            return true;
        for (unsigned i = 0; i < BLOCK_LOOKS; i++)
            if (b->look_len[i] &&
                ranges_meet(offset, len, b->look[i] & ~PAGE_MASK, b->look_len[i]))
                return true;
    }
    return b->host[1] == host && ranges_meet(offset, len, 0, b->guest_bytes - first);
}

static void mark_block(struct block_cache *c, const struct block *b)
{
    if (b->live)
        return;
    u64 start = b->phys & ~PAGE_MASK;
    unsigned first = start + b->guest_bytes > PAGE_SIZE ? (unsigned)(PAGE_SIZE - start)
                                                        : b->guest_bytes;
    code_mark(c->bus, b->phys, first);
    if (first < b->guest_bytes)
        code_mark(c->bus, b->phys2, b->guest_bytes - first);
    for (unsigned i = 0; i < BLOCK_LOOKS; i++)
        if (b->look_len[i])
            code_mark(c->bus, b->look[i], b->look_len[i]);
}

/* The last block of a page is gone, or some are: marks only for what is left, so that stores
 * beside code get fast again. */
static void remark_page(struct block_cache *c, u64 gpa, const u8 *host)
{
    unsigned bucket = page_hash(host);
    struct block *b;
    for (b = c->by_page[bucket]; b && (b->live || !on_page(b, host)); b = *next_in(b, bucket))
        ;
    if (!b)
        code_clear_page(c->bus, gpa);
}

/* Goes on with a checksum over a range of guest memory. */
static u64 add_sum(u64 sum, const u8 *p, unsigned len)
{
    for (; len >= 8; p += 8, len -= 8) {
        sum = (sum ^ load_le(p, 8)) * 0x9e3779b97f4a7c15ull;
        sum ^= sum >> 29;
    }
    for (; len; p++, len--) /* FNV-1a */
        sum = (sum ^ *p) * 0x100000001b3ull;
    return sum;
}

u64 block_sum(const u8 *first, unsigned first_len, const u8 *second, unsigned second_len)
{
    return add_sum(add_sum(0xcbf29ce484222325ull, first, first_len), second, second_len);
}

static bool bytes_changed(struct block_cache *c, const struct block *b)
{
    u64 start = b->phys & ~PAGE_MASK;
    unsigned first = start + b->guest_bytes > PAGE_SIZE ? (unsigned)(PAGE_SIZE - start)
                                                        : b->guest_bytes;
    const u8 *p = bus_page(c->bus, b->phys).read;
    const u8 *q = first < b->guest_bytes ? bus_page(c->bus, b->phys2).read : p;
    if (!p || !q)
        return false;
    u64 looks = 0;
    for (unsigned i = 0; i < BLOCK_LOOKS; i++)
        if (b->look_len[i])
            looks += block_sum(p + (b->look[i] & ~PAGE_MASK), b->look_len[i], NULL, 0);
    return looks != b->look_sum ||
           block_sum(p + start, first, q, b->guest_bytes - first) != b->sum;
}

/* ---- interface ---- */

struct block *block_find(struct block_cache *c, u64 phys, u64 rip, u64 cs_base, u32 hflags)
{
    u64 bit;
    unsigned place = key_hash(phys, rip, hflags, &bit);
    __builtin_prefetch(&c->by_key[place]);
    pthread_mutex_lock(&c->lock);
    c->counters.lookups++;
    u64 bucket = c->by_key[place];
    struct block *b = bucket & bit ? first_of(bucket) : NULL;
    c->counters.filtered += bucket && !(bucket & bit);
    while (b && !(b->phys == phys && b->rip == rip && b->hflags == hflags &&
                  b->cs_base == cs_base))
        b = b->hash_next;
    /* The board may have put other memory there since (ROM shadowing, PCI BARs). */
    if (b && (b->host[0] != page_id(c, phys) ||
              (b->host[1] && b->host[1] != page_id(c, b->phys2)))) {
        drop_block(c, b);
        b = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    return b;
}

void block_insert(struct block_cache *c, struct block *b)
{
    pthread_mutex_lock(&c->lock);
    free_unreachable(c);
    b->host[0] = page_id(c, b->phys);
    b->host[1] = b->phys2 != ~0ull ? page_id(c, b->phys2) : NULL;
    u64 bit, *bucket = &c->by_key[key_hash(b->phys, b->rip, b->hflags, &bit)];
    b->hash_next = first_of(*bucket);
    *bucket = with_first(*bucket | bit, b);
    link_page(c, b, b->host[0]);
    if (b->host[1])
        link_page(c, b, b->host[1]);
    b->valid = true;
    c->counters.inserts++;
    c->counters.live++;
    mark_block(c, b);
    if (bytes_changed(c, b))
        drop_block(c, b);
    pthread_mutex_unlock(&c->lock);
}

const u8 *block_heat(const struct block_cache *c)
{
    return c->heat;
}

void block_remove(struct block_cache *c, struct block *b)
{
    pthread_mutex_lock(&c->lock);
    if (b->valid)
        drop_block(c, b);
    pthread_mutex_unlock(&c->lock);
}

void block_flush_all(struct block_cache *c)
{
    pthread_mutex_lock(&c->lock);
    c->counters.flushes++;
    memset(c->by_page, 0, sizeof c->by_page); /* at once: page lists may be long */
    for (unsigned i = 0; i < ARRAY_SIZE(c->by_key); i++) {
        for (struct block *b, *next = first_of(c->by_key[i]); (b = next);) {
            next = b->hash_next;
            code_clear_page(c->bus, b->phys);
            if (b->phys2 != ~0ull)
                code_clear_page(c->bus, b->phys2);
            retire_block(c, b);
        }
        c->by_key[i] = 0;
    }
    free_unreachable(c);
    pthread_mutex_unlock(&c->lock);
}

void block_free_dropped(struct block_cache *c)
{
    pthread_mutex_lock(&c->lock);
    free_dead(c, OFFLINE);
    pthread_mutex_unlock(&c->lock);
}

void block_cache_destroy(struct block_cache *c)
{
    if (!c)
        return;
    block_flush_all(c);
    bus_set_code_hook(c->bus, (struct code_hook){NULL, NULL});
    free_dead(c, OFFLINE);
    pthread_mutex_destroy(&c->lock);
    munmap(c, CACHE_BYTES);
}

const struct block_counters *block_counters(const struct block_cache *c)
{
    return &c->counters;
}

static void on_code_written(void *opaque, struct mmu *writer, u64 gpa, unsigned len)
{
    struct block_cache *c = opaque;
    struct cpu *cpu = writer ? container_of(writer, struct cpu, mmu) : NULL;
    struct block *running = cpu ? c->hooks.current(c->hooks.opaque, cpu) : NULL;
    bool hit_running = false, any = false;
    pthread_mutex_lock(&c->lock);
    c->counters.code_writes++;
    const u8 *host = page_id(c, gpa);
    unsigned bucket = page_hash(host);
    for (struct block *b = c->by_page[bucket], *next; b; b = next) {
        next = *next_in(b, bucket);
        if (b->live || !depends_on(b, host, gpa & ~PAGE_MASK, len))
            continue;
        hit_running |= b == running;
        any = true;
        drop_block(c, b);
    }
    /* A block that is dropped already but still runs is in no list. */
    if (running && !running->valid && depends_on(running, host, gpa & ~PAGE_MASK, len))
        hit_running = true;
    if (any) {
        u8 *heat = &c->heat[block_heat_index(gpa)];
        *heat += *heat < BLOCK_HOT;
        remark_page(c, gpa, host);
    }
    pthread_mutex_unlock(&c->lock);
    if (hit_running)
        c->hooks.current_hit(c->hooks.opaque, cpu, running);
}

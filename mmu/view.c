/* Flat views of prioritised regions.
 *
 * Knows regions and ranges only; what an access does with them is bus.c's.
 */
#include "mmu/view.h"

#include <stdlib.h>

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define STORE(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

/* n regions have at most 2n borders, so 2n + 1 ranges. */
static u32 ranges_for(unsigned regions)
{
    return 2 * regions + 1;
}

static bool make_views(struct view_set *s, u32 capacity)
{
    struct view *fresh[SPACE_VIEWS];
    size_t bytes = sizeof(struct view) + capacity * sizeof(struct view_range);
    for (unsigned i = 0; i < SPACE_VIEWS; i++) {
        fresh[i] = calloc(1, bytes);
        if (!fresh[i]) {
            while (i--)
                free(fresh[i]);
            return false;
        }
        fresh[i]->capacity = capacity;
    }
    memcpy(s->views, fresh, sizeof fresh);
    s->turn = 0;
    return true;
}

bool space_init(struct space *s, unsigned sets)
{
    memset(s, 0, sizeof *s);
    for (; s->set_count < sets; s->set_count++) {
        struct view_set *v = &s->sets[s->set_count];
        if (!make_views(v, ranges_for(32)))
            return false;
        atomic_store(&v->current, v->views[0]);
    }
    return true;
}

void space_free(struct space *s)
{
    for (struct region *r = s->regions, *next; r; r = next) {
        next = r->next;
        free(r->opaques);
        free(r);
    }
    for (unsigned i = 0; i < s->retired_count; i++)
        free(s->retired[i]);
    free(s->retired);
    for (unsigned n = 0; n < s->set_count; n++)
        for (unsigned i = 0; i < SPACE_VIEWS; i++)
            free(s->sets[n].views[i]);
}

static bool grow_set(struct space *s, struct view_set *set, unsigned regions)
{
    if (ranges_for(regions) <= set->views[0]->capacity)
        return true;
    struct view **list = realloc(s->retired, (s->retired_count + SPACE_VIEWS) * sizeof *list);
    if (!list)
        return false;
    s->retired = list;
    struct view *old[SPACE_VIEWS];
    memcpy(old, set->views, sizeof old);
    if (!make_views(set, ranges_for(2 * regions)))
        return false;
    memcpy(list + s->retired_count, old, sizeof old);
    s->retired_count += SPACE_VIEWS;
    return true;
}

bool space_grow(struct space *s, unsigned regions)
{
    bool good = true;
    for (unsigned i = 0; i < s->set_count; i++)
        good &= grow_set(s, &s->sets[i], regions);
    return good;
}

static u64 region_last(const struct region *r)
{
    u64 last = r->address + r->size - 1;
    return last < r->address ? ~0ull : last;
}

static int by_value(const void *a, const void *b)
{
    u64 x = *(const u64 *)a, y = *(const u64 *)b;
    return x < y ? -1 : x > y;
}

/* Whether a region is in view `set`. */
static bool shown(const struct region *r, unsigned set)
{
    return r->enabled && (r->views >> set & 1);
}

/* The region that is seen at addr, or NULL. */
static struct region *top_region(const struct space *s, unsigned set, u64 addr)
{
    struct region *top = NULL;
    for (struct region *r = s->regions; r; r = r->next) {
        if (!shown(r, set) || addr < r->address || addr > region_last(r))
            continue;
        if (!top || r->priority > top->priority ||
            (r->priority == top->priority && r->order > top->order))
            top = r;
    }
    return top;
}

static void add_range(struct view *v, u64 start, u64 last, struct region *r)
{
    u32 n = v->count;
    struct view_range *prev = n ? &v->ranges[n - 1] : NULL;
    if (prev && prev->region == r && prev->last + 1 == start) {
        STORE(prev->last, last);
        return;
    }
    bool ram = r->kind == REGION_RAM;
    struct view_range *out = &v->ranges[n];
    STORE(out->start, start);
    STORE(out->last, last);
    STORE(out->offset, start - r->address);
    STORE(out->region, r);
    STORE(out->host, ram ? r->host + (start - r->address) : NULL);
    STORE(out->access, (r->readable ? RANGE_READ : 0) | (r->writable ? RANGE_WRITE : 0));
    STORE(v->count, n + 1);
}

static void find_big(struct view *v)
{
    u64 length[2] = {0, 0};
    u32 index[2] = {0, 0};
    for (u32 i = 0; i < v->count; i++) {
        u64 n = v->ranges[i].host ? v->ranges[i].last - v->ranges[i].start : 0;
        if (n > length[0]) {
            length[1] = length[0];
            index[1] = index[0];
            length[0] = n;
            index[0] = i;
        } else if (n > length[1]) {
            length[1] = n;
            index[1] = i;
        }
    }
    STORE(v->big[0], index[0]);
    STORE(v->big[1], index[1]);
}

/* Every range border is a region's start or the address after its end. */
static size_t collect_borders(const struct space *s, unsigned set, u64 *borders)
{
    size_t n = 0;
    for (struct region *r = s->regions; r; r = r->next) {
        if (!shown(r, set))
            continue;
        borders[n++] = r->address;
        if (region_last(r) != ~0ull)
            borders[n++] = region_last(r) + 1;
    }
    qsort(borders, n, sizeof *borders, by_value);
    return n;
}

static void update_set(struct space *s, unsigned set)
{
    struct view_set *own = &s->sets[set];
    own->turn = (own->turn + 1) % SPACE_VIEWS;
    struct view *v = own->views[own->turn];
    u64 borders[v->capacity + 1];

    atomic_store_explicit(&v->seq, atomic_load(&v->seq) + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    STORE(v->count, 0);
    size_t n = collect_borders(s, set, borders);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && borders[i + 1] == borders[i])
            continue;
        struct region *r = top_region(s, set, borders[i]);
        if (r)
            add_range(v, borders[i], i + 1 < n ? borders[i + 1] - 1 : ~0ull, r);
    }
    find_big(v);
    atomic_store_explicit(&v->seq, atomic_load(&v->seq) + 1, memory_order_release);
    atomic_store(&own->current, v);
}

void space_update(struct space *s)
{
    for (unsigned i = 0; i < s->set_count; i++)
        update_set(s, i);
}

static void copy_range(const struct view_range *r, struct view_range *out)
{
    out->start = LOAD(r->start);
    out->last = LOAD(r->last);
    out->offset = LOAD(r->offset);
    out->region = LOAD(r->region);
    out->host = LOAD(r->host);
    out->access = LOAD(r->access);
}

static void search(const struct view *v, u64 addr, struct view_range *out)
{
    u32 count = LOAD(v->count);
    for (unsigned i = 0; i < ARRAY_SIZE(v->big); i++) {
        u32 big = LOAD(v->big[i]);
        if (big < count && addr >= LOAD(v->ranges[big].start) &&
            addr <= LOAD(v->ranges[big].last)) {
            copy_range(&v->ranges[big], out);
            return;
        }
    }
    u32 lo = 0, hi = count; /* the first range that starts after addr */
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (LOAD(v->ranges[mid].start) <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo > 0 && addr <= LOAD(v->ranges[lo - 1].last)) {
        copy_range(&v->ranges[lo - 1], out);
        return;
    }
    *out = (struct view_range){
        .start = lo > 0 ? LOAD(v->ranges[lo - 1].last) + 1 : 0,
        .last = lo < count ? LOAD(v->ranges[lo].start) - 1 : ~0ull,
    };
}

void space_find(const struct space *s, unsigned set, u64 addr, struct view_range *out)
{
    for (;;) {
        const struct view *v = atomic_load_explicit(&s->sets[set].current, memory_order_acquire);
        u32 seq = atomic_load_explicit(&v->seq, memory_order_acquire);
        search(v, addr, out);
        atomic_thread_fence(memory_order_acquire);
        if (!(seq & 1) && atomic_load_explicit(&v->seq, memory_order_relaxed) == seq)
            return;
    }
}

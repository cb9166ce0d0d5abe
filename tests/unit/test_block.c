/* The block cache: what a write drops, to the byte; pages, aliases, marks, freeing at safe points,
 * and several threads at once. */
#include <check.h>
#include <stdlib.h>

#include "tests/suite.h"
#include "translator/block.h"

#define RAM_BYTES (64u * PAGE_SIZE)
#define ALIAS 0x1000000u
#define BLOCKS 64u

static struct bus *bus;
static u8 *ram;
static struct block_cache *cache;
static struct block blocks[BLOCKS];
static unsigned dropped, freed, hits;
static struct block *running;
static struct cpu *vcpu; /* whose mmu the hook sees as the writer */

static void on_drop(void *opaque, struct block *b)
{
    ck_assert(!b->valid);
    dropped++;
}
static void on_free(void *opaque, struct block *b)
{
    b->engine = NULL;
    freed++;
}
static void on_hit(void *opaque, struct cpu *cpu, struct block *b)
{
    ck_assert_ptr_eq(cpu, vcpu);
    ck_assert_ptr_eq(b, running);
    ck_assert(!b->valid);
    hits++;
}
static struct block *current(void *opaque, struct cpu *cpu)
{
    return running;
}

static void setup(void)
{
    bus = bus_create();
    ram = bus_alloc_ram(bus, RAM_BYTES, "ram");
    bus_map_ram(bus, "ram", 0, RAM_BYTES, ram, true, true, 0);
    bus_map_ram(bus, "alias", ALIAS, RAM_BYTES, ram, true, true, 0);
    struct block_hooks hooks = {on_drop, on_free, on_hit, current, NULL};
    cache = block_cache_create(bus, &hooks);
    memset(blocks, 0, sizeof blocks);
    dropped = freed = hits = 0;
    running = NULL;
    vcpu = aligned_alloc(_Alignof(struct cpu), sizeof *vcpu);
    ck_assert_ptr_nonnull(vcpu);
    memset(vcpu, 0, sizeof *vcpu);
    ck_assert(mmu_init(&vcpu->mmu, bus, 0));
}

static void teardown(void)
{
    block_cache_destroy(cache);
    mmu_free(&vcpu->mmu);
    free(vcpu);
    bus_destroy(bus);
}

static struct block *insert(unsigned i, u64 phys, unsigned bytes)
{
    struct block *b = &blocks[i];
    unsigned room = PAGE_SIZE - (unsigned)(phys & ~PAGE_MASK), first = bytes < room ? bytes : room;
    memset(b, 0, sizeof *b);
    b->rip = b->phys = phys;
    b->phys2 = bytes > room ? (phys & PAGE_MASK) + PAGE_SIZE : ~0ull;
    b->guest_bytes = (u16)bytes;
    b->guest_insns = 2;
    b->hflags = HF_LONG;
    b->engine = b;
    b->sum = block_sum(ram + phys, first, ram + phys + first, bytes - first);
    block_insert(cache, b);
    return b;
}

static struct block *find(u64 phys)
{
    return block_find(cache, phys, phys, 0, HF_LONG);
}

static void store(u64 gpa, unsigned size)
{
    ck_assert_int_eq(mmu_store(&vcpu->mmu, MMU_SUPERVISOR_AC, gpa, size, ~0ull), MMU_OK);
}

/* The tag of an empty entry must be none that a jump finds in its own set. */
START_TEST(test_empty_jumps)
{
    for (unsigned i = 0; i < JUMP_ENTRIES; i++)
        ck_assert_uint_ne(jump_index(jump_empty(i)) / JUMP_WAYS, i / JUMP_WAYS);
}
END_TEST

START_TEST(test_keys)
{
    struct block *b = insert(0, 0x1010, 16);
    ck_assert_ptr_eq(find(0x1010), b);
    ck_assert_ptr_null(block_find(cache, 0x1010, 0x1010, 0, HF_LONG | HF_USER));
    ck_assert_ptr_null(block_find(cache, 0x1010, 0x2010, 0, HF_LONG));
    ck_assert_ptr_null(block_find(cache, 0x1010, 0x1010, 0x10, HF_LONG));
    ck_assert_ptr_null(find(0x1011));
    ck_assert_uint_eq(block_counters(cache)->live, 1);
}
END_TEST

/* Blocks of one bucket, removed in each order: the others are found, and without a look at them it is
 * known that one more is not there. */
START_TEST(test_bucket)
{
    enum { N = 3 };
    for (unsigned order = 0; order < N * N * N; order++) {
        bool there[N];
        for (unsigned i = 0; i < N; i++)
            there[i] = insert(i, 0x1010 + i, 1)->valid;
        u64 filtered = block_counters(cache)->filtered;
        ck_assert_ptr_null(find(0x1010 + N));
        ck_assert_uint_eq(block_counters(cache)->filtered, filtered + 1);
        for (unsigned step = 0, left = order; step < N; step++, left /= N) {
            block_remove(cache, &blocks[left % N]);
            there[left % N] = false;
            for (unsigned i = 0; i < N; i++)
                ck_assert_ptr_eq(find(0x1010 + i), there[i] ? &blocks[i] : NULL);
        }
        block_flush_all(cache);
        for (unsigned i = 0; i < N; i++)
            ck_assert_ptr_null(find(0x1010 + i));
    }
}
END_TEST

/* Each byte around a block: those within drop it, those beside it do not. */
START_TEST(test_precision)
{
    for (u64 at = 0x1000; at < 0x1060; at++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            insert(0, 0x1020, 10);
            insert(1, 0x102a, 6); /* right behind it */
            dropped = 0;
            store(at, size);
            bool first = at < 0x102a && at + size > 0x1020;
            bool second = at < 0x1030 && at + size > 0x102a;
            ck_assert_int_eq(find(0x1020) == NULL, first);
            ck_assert_int_eq(find(0x102a) == NULL, second);
            ck_assert_uint_eq(dropped, (unsigned)first + second);
            block_flush_all(cache);
        }
    }
}
END_TEST

START_TEST(test_marks_go_with_the_last_block)
{
    insert(0, 0x1020, 10);
    insert(1, 0x1800, 10);
    ck_assert(code_page(bus, 0x1000));
    store(0x1020, 1);
    ck_assert(code_page(bus, 0x1000));
    store(0x1800, 1);
    ck_assert(!code_page(bus, 0x1000));
    u64 writes = block_counters(cache)->code_writes;
    store(0x1020, 8);
    ck_assert_uint_eq(block_counters(cache)->code_writes, writes);
}
END_TEST

START_TEST(test_two_pages)
{
    for (unsigned k = 0; k < 4; k++) {
        static const struct { u64 at; bool hit; } w[] = {
            {0x1ff7, false}, {0x1ff8, true}, {0x2001, true}, {0x2002, false}};
        insert(0, 0x1ff8, 10);
        ck_assert(code_page(bus, 0x1000) && code_page(bus, 0x2000));
        store(w[k].at, 1);
        ck_assert_int_eq(find(0x1ff8) == NULL, w[k].hit);
        block_flush_all(cache);
    }
}
END_TEST

START_TEST(test_looked_at_bytes)
{
    struct block *b = insert(0, 0x1000, 16);
    block_flush_all(cache);
    *b = (struct block){.rip = 0x1000, .phys = 0x1000, .phys2 = ~0ull, .guest_bytes = 16,
                        .hflags = HF_LONG, .look = {0x1100}, .look_len = {24}, .sum = b->sum,
                        .look_sum = block_sum(ram + 0x1100, 24, NULL, 0)};
    struct block again = *b;
    block_insert(cache, b);
    store(0x10ff, 1);
    store(0x1118, 1);
    ck_assert_ptr_eq(find(0x1000), b);
    store(0x1117, 1);
    ck_assert_ptr_null(find(0x1000));
    /* A change between look and mark. */
    ram[0x1108] ^= 1;
    *b = again;
    block_insert(cache, b);
    ck_assert(!b->valid);
}
END_TEST

START_TEST(test_alias_and_dma)
{
    insert(0, 0x3000, 8);
    store(ALIAS + 0x3004, 1);
    ck_assert_ptr_null(find(0x3000));
    insert(0, 0x3000, 8);
    bus_write_bytes(bus, 0x3007, "x", 1);
    ck_assert_ptr_null(find(0x3000));
}
END_TEST

/* Other memory at the same address: what was translated there is not found. */
START_TEST(test_remapped)
{
    u8 *other = bus_alloc_ram(bus, PAGE_SIZE, "other");
    insert(0, 0x5000, 8);
    struct region *r = bus_map_ram(bus, "other", 0x5000, PAGE_SIZE, other, true, true, 1);
    ck_assert_ptr_null(find(0x5000));
    region_set_enabled(r, false);
    ck_assert_ptr_null(find(0x5000));
    ck_assert_uint_eq(dropped, 1);
}
END_TEST

START_TEST(test_running_block)
{
    running = insert(0, 0x1000, 16);
    store(0x1020, 1);
    ck_assert_uint_eq(hits, 0);
    store(0x1008, 1);
    ck_assert_uint_eq(hits, 1);
}
END_TEST

/* The bytes changed between reading and marking: in and out again. */
START_TEST(test_changed_before_insertion)
{
    struct block *b = &blocks[0];
    insert(0, 0x1000, 8);
    block_flush_all(cache);
    u64 sum = b->sum;
    ram[0x1003] = 0x77;
    memset(b, 0, sizeof *b);
    b->rip = b->phys = 0x1000;
    b->phys2 = ~0ull;
    b->guest_bytes = 8;
    b->hflags = HF_LONG;
    b->sum = sum;
    block_insert(cache, b);
    ck_assert(!b->valid);
    ck_assert_ptr_null(find(0x1000));
}
END_TEST

START_TEST(test_safe_points)
{
    block_cpu_online(cache, 0);
    block_cpu_online(cache, 1);
    insert(0, 0x1000, 8);
    store(0x1000, 1);
    insert(1, 0x2000, 8); /* insertion is when freeing happens */
    ck_assert_uint_eq(freed, 0);
    block_safe_point(cache, 0);
    insert(2, 0x3000, 8);
    ck_assert_uint_eq(freed, 0);
    block_safe_point(cache, 1);
    insert(3, 0x4000, 8);
    ck_assert_uint_eq(freed, 1);
    store(0x2000, 1);
    block_cpu_offline(cache, 0);
    block_safe_point(cache, 1);
    insert(4, 0x6000, 8);
    ck_assert_uint_eq(freed, 2);
    block_cpu_offline(cache, 1);
}
END_TEST

/* Against a plain list, at random. */
START_TEST(test_model)
{
    bool in[BLOCKS] = {0};
    srandom(1);
    for (unsigned turn = 0; turn < 20000; turn++) {
        unsigned i = (unsigned)random() % BLOCKS;
        if (random() & 1) {
            u64 at = 0x8000 + (u64)random() % 0x2f00;
            bool taken = in[i];
            for (unsigned k = 0; k < BLOCKS; k++)
                taken |= in[k] && blocks[k].phys == at;
            if (taken)
                continue;
            insert(i, at, 1 + (unsigned)random() % 60);
            in[i] = true;
        } else {
            u64 at = 0x8000 + (u64)random() % 0x3000;
            unsigned size = 1u << random() % 4;
            store(at, size);
            for (unsigned k = 0; k < BLOCKS; k++)
                in[k] &= !(at < blocks[k].phys + blocks[k].guest_bytes &&
                           at + size > blocks[k].phys);
        }
        for (unsigned k = 0; k < BLOCKS; k++)
            ck_assert_int_eq(in[k], blocks[k].valid);
    }
    ck_assert_uint_gt(dropped, 1000);
}
END_TEST

/* Threads that insert, find and overwrite at once; ends with nothing lost. */
static void *worker(void *opaque)
{
    unsigned base = (unsigned)(uintptr_t)opaque;
    block_cpu_online(cache, base / 8);
    for (unsigned turn = 0; turn < 5000; turn++) {
        u64 at = 0x10000 + base * 16;
        struct block *b = calloc(1, sizeof *b);
        b->rip = b->phys = at;
        b->phys2 = ~0ull;
        b->guest_bytes = 16;
        b->hflags = HF_LONG;
        b->sum = block_sum(ram + at, 16, NULL, 0);
        block_insert(cache, b);
        find(at);
        u8 v = (u8)turn;
        bus_write_bytes(bus, at + turn % 16, &v, 1);
        block_safe_point(cache, base / 8);
    }
    block_cpu_offline(cache, base / 8);
    return NULL;
}

static void free_it(void *opaque, struct block *b)
{
    __atomic_fetch_add(&freed, 1, __ATOMIC_RELAXED);
    free(b);
}
static void drop_it(void *opaque, struct block *b)
{
    __atomic_fetch_add(&dropped, 1, __ATOMIC_RELAXED);
}

START_TEST(test_threads)
{
    pthread_t t[3];
    struct block_hooks hooks = {drop_it, free_it, on_hit, current, NULL};
    block_cache_destroy(cache);
    cache = block_cache_create(bus, &hooks);
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)(i * 8));
    for (unsigned i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    block_flush_all(cache);
    ck_assert_uint_eq(dropped, 15000);
    ck_assert_uint_eq(freed, 15000);
    ck_assert_uint_eq(block_counters(cache)->live, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("block");
    TCase *c = tcase_create("cache");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, test_empty_jumps);
    tcase_add_test(c, test_keys);
    tcase_add_test(c, test_bucket);
    tcase_add_test(c, test_precision);
    tcase_add_test(c, test_marks_go_with_the_last_block);
    tcase_add_test(c, test_two_pages);
    tcase_add_test(c, test_looked_at_bytes);
    tcase_add_test(c, test_alias_and_dma);
    tcase_add_test(c, test_remapped);
    tcase_add_test(c, test_running_block);
    tcase_add_test(c, test_changed_before_insertion);
    tcase_add_test(c, test_safe_points);
    tcase_add_test(c, test_model);
    tcase_add_test(c, test_threads);
    suite_add_tcase(s, c);
    return run_suite(s);
}

/* Physical and port space: RAM, ROM, MMIO, priorities, sizes, A20, code marks, large memory. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mmu/bus.h"
#include "mmu/mmu.h"
#include "tests/suite.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct bus *b;
static u8 *ram;

/* A unit that records each call. */
struct unit {
    struct {
        u64 offset, value;
        unsigned size;
        bool write;
    } calls[16];
    unsigned count;
    u64 answer;
};

static u64 unit_read(void *opaque, u64 offset, unsigned size)
{
    struct unit *u = opaque;
    u->calls[u->count].offset = offset;
    u->calls[u->count].size = size;
    u->calls[u->count++].write = false;
    return u->answer ? u->answer : 0x8877665544332211ull >> (8 * (offset & 7));
}

static void unit_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct unit *u = opaque;
    u->calls[u->count].offset = offset;
    u->calls[u->count].value = value;
    u->calls[u->count].size = size;
    u->calls[u->count++].write = true;
}

static const struct bus_ops any_ops = {.read = unit_read, .write = unit_write};
static const struct bus_ops dword_ops = {unit_read, unit_write, 4, 4};
static const struct bus_ops byte_ops = {unit_read, unit_write, 1, 1};

static void setup(void)
{
    b = bus_create();
    ck_assert_ptr_nonnull(b);
    ram = bus_alloc_ram(b, 4 * MIB, "test");
    ck_assert_ptr_nonnull(ram);
    ck_assert_ptr_nonnull(bus_map_ram(b, "ram", 0, 4 * MIB, ram, true, true, 0));
}

static void teardown(void)
{
    bus_destroy(b);
}

static void check_call(struct unit *u, unsigned i, bool write, u64 offset, unsigned size,
                       u64 value)
{
    ck_assert_uint_gt(u->count, i);
    ck_assert_int_eq(u->calls[i].write, write);
    ck_assert_uint_eq(u->calls[i].offset, offset);
    ck_assert_uint_eq(u->calls[i].size, size);
    if (write)
        ck_assert_uint_eq(u->calls[i].value, value);
}

START_TEST(ram_is_little_endian_and_unaligned)
{
    bus_write(b, BUS_DMA, 0xffd, 0x1122334455667788ull, 8);
    ck_assert_uint_eq(ram[0xffd], 0x88);
    ck_assert_uint_eq(ram[0x1004], 0x11);
    ck_assert_uint_eq(bus_read(b, BUS_DMA, 0xffe, 2), 0x6677);
    ck_assert_uint_eq(bus_read(b, 0, 0xffd, 8), 0x1122334455667788ull);
    ck_assert_uint_eq(bus_read(b, 0, 0x1003, 1), 0x22);
}
END_TEST

START_TEST(nothing_reads_as_ones)
{
    ck_assert_uint_eq(bus_read(b, 0, 8 * MIB, 4), 0xffffffffu);
    bus_write(b, 0, 8 * MIB, 1, 4);
    ck_assert_uint_eq(bus_read(b, 0, 8 * MIB, 8), ~0ull);
    /* Half in RAM, half in nothing; and at the very top of the space. */
    bus_write(b, 0, 4 * MIB - 2, 0x11223344, 4);
    ck_assert_uint_eq(bus_read(b, 0, 4 * MIB - 2, 4), 0xffff3344u);
    ck_assert_uint_eq(bus_read(b, 0, ~0ull, 1), 0xff);
    u8 buf[4] = {0};
    bus_read_bytes(b, ~0ull - 3, buf, 4);
    ck_assert_uint_eq(load_le(buf, 4), 0xffffffffu);
    ck_assert_ptr_null(bus_page(b, 8 * MIB).read);
}
END_TEST

START_TEST(rom_ignores_stores_but_takes_images)
{
    u8 *rom = bus_alloc_ram(b, 4096, "rom");
    struct region *r = bus_map_ram(b, "rom", 0xf0000, 4096, rom, true, false, 1);
    bus_write_rom(b, 0xf0000, "\x12\x34", 2);
    bus_write(b, 0, 0xf0000, 0, 2);
    bus_write_bytes(b, 0xf0000, "\0\0", 2);
    ck_assert_uint_eq(bus_read(b, 0, 0xf0000, 2), 0x3412);
    ck_assert_ptr_eq(bus_page(b, 0xf0123).read, rom);
    ck_assert_ptr_null(bus_page(b, 0xf0000).write);
    region_set_access(r, false, true);
    bus_write(b, 0, 0xf0000, 0x55, 1);
    ck_assert_uint_eq(bus_read(b, 0, 0xf0000, 1), 0xff);
    ck_assert_uint_eq(rom[0], 0x55);
    region_set_host(r, ram);
    region_set_access(r, true, true);
    bus_write(b, 0, 0xf0000, 0x66, 1);
    ck_assert_uint_eq(ram[0], 0x66);
}
END_TEST

START_TEST(priority_and_order_decide_overlaps)
{
    struct unit low = {.answer = 1}, high = {.answer = 2}, later = {.answer = 3};
    bus_map_mmio(b, "high", 0x1100, 0x100, &any_ops, &high, 2);
    bus_map_mmio(b, "low", 0x1000, 0x1000, &any_ops, &low, 1);
    struct region *r = bus_map_mmio(b, "later", 0x1180, 0x100, &any_ops, &later, 2);
    ck_assert_uint_eq(bus_read(b, 0, 0x10ff, 1), 1);
    ck_assert_uint_eq(bus_read(b, 0, 0x1100, 1), 2);
    ck_assert_uint_eq(bus_read(b, 0, 0x117f, 1), 2);
    ck_assert_uint_eq(bus_read(b, 0, 0x1180, 1), 3);
    ck_assert_uint_eq(bus_read(b, 0, 0x127f, 1), 3);
    ck_assert_uint_eq(bus_read(b, 0, 0x1280, 1), 1);
    region_set_enabled(r, false);
    ck_assert_uint_eq(bus_read(b, 0, 0x1180, 1), 2);
    ck_assert_uint_eq(bus_read(b, 0, 0x1200, 1), 1);
    ck_assert_uint_eq(low.calls[low.count - 1].offset, 0x200);
    /* A page that is not wholly RAM is not for the TLB. */
    ck_assert_ptr_null(bus_page(b, 0x1000).read);
    ck_assert_ptr_nonnull(bus_page(b, 0x2000).read);
    bus_map_mmio(b, "end", 0x2f00, 0x80, &any_ops, &low, 1);
    ck_assert_ptr_null(bus_page(b, 0x2000).read);
    ck_assert_ptr_nonnull(bus_page(b, 0x3000).read);
}
END_TEST

START_TEST(regions_move)
{
    struct unit u = {.answer = 0};
    struct region *r = bus_map_mmio(b, "bar", 0xe0000000, 0x1000, &any_ops, &u, 1);
    bus_write(b, 0, 0xe0000010, 5, 4);
    check_call(&u, 0, true, 0x10, 4, 5);
    region_set_address(r, 0xe0400000);
    ck_assert_uint_eq(bus_read(b, 0, 0xe0000010, 4), 0xffffffffu);
    bus_write(b, 0, 0xe0400020, 6, 4);
    check_call(&u, 1, true, 0x20, 4, 6);
    /* Over and over: views are used again, not leaked or mixed up. */
    for (u64 i = 0; i < 1000; i++) {
        region_set_address(r, 0xd0000000 + i * 0x10000);
        u.count = 0;
        bus_write(b, 0, 0xd0000000 + i * 0x10000 + 8, i, 4);
        check_call(&u, 0, true, 8, 4, i);
    }
}
END_TEST

START_TEST(wide_accesses_split_low_first)
{
    struct unit u = {.answer = 0};
    bus_map_mmio(b, "dw", 0xe0000000, 0x1000, &dword_ops, &u, 1);
    ck_assert_uint_eq(bus_read(b, 0, 0xe0000000, 8), 0x8877665544332211ull);
    check_call(&u, 0, false, 0, 4, 0);
    check_call(&u, 1, false, 4, 4, 0);
    bus_write(b, 0, 0xe0000008, 0x1111222233334444ull, 8);
    check_call(&u, 2, true, 8, 4, 0x33334444);
    check_call(&u, 3, true, 12, 4, 0x11112222);
    struct unit v = {.answer = 0};
    bus_map_mmio(b, "bytes", 0xe0001000, 0x1000, &byte_ops, &v, 1);
    ck_assert_uint_eq(bus_read(b, 0, 0xe0001002, 4), 0x66554433);
    ck_assert_uint_eq(v.count, 4);
}
END_TEST

START_TEST(narrow_accesses_widen)
{
    struct unit u = {.answer = 0};
    bus_map_mmio(b, "dw", 0xe0000000, 0x1000, &dword_ops, &u, 1);
    ck_assert_uint_eq(bus_read(b, 0, 0xe0000002, 1), 0x33);
    check_call(&u, 0, false, 0, 4, 0);
    ck_assert_uint_eq(bus_read(b, 0, 0xe0000003, 2), 0x5544); /* over two units */
    check_call(&u, 1, false, 0, 4, 0);
    check_call(&u, 2, false, 4, 4, 0);
    bus_write(b, 0, 0xe0000005, 0xabcd, 2);
    check_call(&u, 3, true, 4, 4, 0x00abcd00);
}
END_TEST

START_TEST(accesses_cross_regions)
{
    struct unit u = {.answer = 0};
    bus_map_mmio(b, "mmio", 4 * MIB, 0x1000, &any_ops, &u, 0);
    ram[4 * MIB - 1] = 0x99;
    ck_assert_uint_eq(bus_read(b, 0, 4 * MIB - 1, 4), 0x33221199);
    bus_write(b, 0, 4 * MIB - 2, 0x44332211, 4);
    ck_assert_uint_eq(ram[4 * MIB - 2], 0x11);
    ck_assert_uint_eq(ram[4 * MIB - 1], 0x22);
    check_call(&u, u.count - 1, true, 0, 2, 0x4433);
    u8 buf[12];
    bus_read_bytes(b, 4 * MIB - 4, buf, sizeof buf);
    ck_assert_uint_eq(load_le(buf + 2, 2), 0x2211);
    ck_assert_uint_eq(load_le(buf + 4, 8), 0x8877665544332211ull);
}
END_TEST

START_TEST(each_cpu_has_its_own_unit)
{
    struct unit u0 = {.answer = 10}, u1 = {.answer = 11};
    void *units[] = {&u0, &u1};
    bus_map_mmio_percpu(b, "apic", 0xfee00000, 0x1000, &dword_ops, units, 2, 5);
    ck_assert_uint_eq(bus_read(b, 0, 0xfee00020, 4), 10);
    ck_assert_uint_eq(bus_read(b, 1, 0xfee00020, 4), 11);
    ck_assert_uint_eq(bus_read(b, 2, 0xfee00020, 4), 0xffffffffu);
    ck_assert_uint_eq(bus_read(b, BUS_DMA, 0xfee00020, 4), 0xffffffffu);
    bus_write(b, 1, 0xfee00030, 7, 4);
    ck_assert_uint_eq(u0.count, 1);
    check_call(&u1, 1, true, 0x30, 4, 7);
    bus_write(b, BUS_DMA, 0xfee00030, 7, 4);
    ck_assert_uint_eq(u1.count, 2);
}
END_TEST

START_TEST(ports_split_and_widen)
{
    struct unit a = {.answer = 0}, c = {.answer = 0x5a};
    bus_map_ports(b, "a", 0x60, 1, &byte_ops, &a);
    struct region *r = bus_map_ports(b, "c", 0x61, 1, &byte_ops, &c);
    ck_assert_uint_eq(bus_in(b, 0, 0x60, 4), 0xffff5a11u);
    bus_out(b, 0, 0x60, 0xbbaa, 2);
    check_call(&a, 1, true, 0, 1, 0xaa);
    check_call(&c, 1, true, 0, 1, 0xbb);
    ck_assert_uint_eq(bus_in(b, 0, 0x70, 2), 0xffff);
    ck_assert_uint_eq(bus_in(b, 0, 0xffff, 4), 0xffffffffu);
    region_set_enabled(r, false);
    ck_assert_uint_eq(bus_in(b, 0, 0x61, 1), 0xff);
    /* A unit that takes words gets them at odd offsets too (display port 0x1cf). */
    struct unit w = {.answer = 0x1234};
    static const struct bus_ops word_ops = {unit_read, unit_write, 2, 2};
    bus_map_ports(b, "w", 0x1ce, 3, &word_ops, &w);
    bus_out(b, 0, 0x1cf, 0x4321, 2);
    check_call(&w, 0, true, 1, 2, 0x4321);
}
END_TEST

START_TEST(a20_masks_the_cpu)
{
    ram[0x10] = 0x11;
    ram[MIB + 0x10] = 0x22;
    bus_set_a20(b, false);
    ck_assert_uint_eq(bus_a20_mask(b), ~BIT64(20));
    ck_assert_uint_eq(bus_read(b, 0, MIB + 0x10, 1), 0x11);
    ck_assert_uint_eq(bus_read(b, BUS_DMA, MIB + 0x10, 1), 0x22);
    ck_assert_ptr_eq(bus_page(b, MIB).read, ram);
    bus_set_a20(b, true);
    ck_assert_uint_eq(bus_read(b, 0, MIB + 0x10, 1), 0x22);
}
END_TEST

/* ---- code marks ---- */

static struct {
    u64 gpa;
    unsigned len, calls;
    struct mmu *writer;
    u8 before; /* what the byte at gpa was when the hook ran */
} hit;

static void on_code(void *opaque, struct mmu *writer, u64 gpa, unsigned len)
{
    hit.gpa = gpa;
    hit.len = len;
    hit.writer = writer;
    hit.before = (u8)bus_read(b, BUS_DMA, gpa, 1);
    hit.calls++;
}

START_TEST(marks_are_exact_to_64_bytes)
{
    code_mark(b, 0x1047, 2);
    ck_assert(code_page(b, 0x1fff));
    ck_assert(!code_page(b, 0x2000));
    ck_assert(!code_hit(b, 0x103f, 1));
    ck_assert(code_hit(b, 0x103f, 2));
    ck_assert(code_hit(b, 0x107f, 1));
    ck_assert(!code_hit(b, 0x1080, 64));
    ck_assert(code_hit(b, 0x1000, 4096));
    code_mark(b, 0x1fff, 2); /* over the page border */
    ck_assert(code_hit(b, 0x1fc0, 1));
    ck_assert(code_hit(b, 0x203f, 1));
    ck_assert(!code_hit(b, 0x2040, 1));
    code_clear_page(b, 0x1000);
    ck_assert(!code_page(b, 0x1000));
    ck_assert(code_page(b, 0x2000));
    code_mark(b, 8 * MIB, 4); /* no RAM there: nothing happens */
    ck_assert(!code_page(b, 8 * MIB));
}
END_TEST

START_TEST(aliases_share_marks)
{
    bus_map_ram(b, "alias", 0x100000000ull, 0x10000, ram, true, true, 0);
    code_mark(b, 0x3000, 1);
    ck_assert(code_hit(b, 0x100003000ull, 1));
}
END_TEST

START_TEST(dma_tells_the_hook_first)
{
    memset(&hit, 0, sizeof hit);
    bus_set_code_hook(b, (struct code_hook){on_code, NULL});
    ram[0x1040] = 0x77;
    code_mark(b, 0x1040, 1);
    bus_write(b, BUS_DMA, 0x1000, 1, 4);
    bus_write_bytes(b, 0x1080, "abc", 3);
    ck_assert_uint_eq(hit.calls, 0);
    bus_write(b, BUS_DMA, 0x1040, 0x88, 1);
    ck_assert_uint_eq(hit.calls, 1);
    ck_assert_uint_eq(hit.gpa, 0x1040);
    ck_assert_uint_eq(hit.before, 0x77);
    ck_assert_ptr_null(hit.writer);
    ck_assert_uint_eq(ram[0x1040], 0x88);
    static u8 big[0x3000];
    bus_write_bytes(b, 0x800, big, sizeof big);
    ck_assert_uint_eq(hit.calls, 2);
    ck_assert_uint_eq(hit.gpa, 0x1000);
    ck_assert_uint_eq(hit.len, 0x1000);
    bus_write_rom(b, 0x1040, "x", 1);
    ck_assert_uint_eq(hit.calls, 3);
}
END_TEST

/* ---- memory ---- */

static long resident_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

START_TEST(sixteen_gib_cost_nothing_until_touched)
{
    long before = resident_kib();
    u8 *big = bus_alloc_ram(b, 16 * GIB, "big");
    ck_assert_ptr_nonnull(big);
    ck_assert_ptr_nonnull(bus_map_ram(b, "big", 4 * GIB, 16 * GIB, big, true, true, 0));
    u64 end = 20 * GIB;
    ck_assert_uint_eq(bus_read(b, 0, end - 8, 8), 0);
    bus_write(b, 0, end - 8, 0x123456789abcdef0ull, 8);
    ck_assert_uint_eq(bus_read(b, 0, end - 8, 8), 0x123456789abcdef0ull);
    ck_assert_uint_eq(bus_read(b, 0, end - 4, 8), 0xffffffff12345678ull);
    code_mark(b, end - 1, 1);
    ck_assert(code_page(b, end - 4096));
    ck_assert_ptr_eq(bus_page(b, end - 1).write, big + 16 * GIB - 4096);
    ck_assert_int_lt(resident_kib() - before, 16 * 1024);
}
END_TEST

/* Page faults that touching 4 MiB at p takes. */
static long faults_of(u8 *p)
{
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    for (u64 i = 0; i < 4 * MIB; i += PAGE_SIZE)
        *(volatile u8 *)(p + i) = 1;
    getrusage(RUSAGE_SELF, &after);
    return after.ru_minflt - before.ru_minflt;
}

START_TEST(large_pages_hold_ram_where_the_host_makes_them)
{
    u64 large = 2 * MIB;
    u8 *own = mmap(NULL, 6 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(own, MAP_FAILED);
    bus_alloc_ram(b, MIB, "small");
    u8 *ram = bus_alloc_ram(b, 4 * MIB, "large");
    ck_assert_uint_eq((u64)ram % large, 0);
    madvise(own, 6 * MIB, MADV_HUGEPAGE);
    bool makes = faults_of((u8 *)align_up((u64)own, large)) < 20;
    ck_assert(!makes || faults_of(ram) < 20);
    munmap(own, 6 * MIB);
}
END_TEST

static bool committed(u8 *p)
{
    unsigned char there = 0;
    ck_assert_int_eq(mincore(p, PAGE_SIZE, &there), 0);
    return there & 1;
}

/* The guest goes upwards (_i 0) or downwards; or nobody is to touch anything. */
START_TEST(ram_is_touched_ahead_of_the_guest)
{
    u8 *more = bus_alloc_ram(b, 16 * MIB, "more"), *next = more + (_i == 1 ? 6 : 10) * MIB;
    bus_map_ram(b, "more", GIB, 16 * MIB, more, true, true, 0);
    bus_touch_ahead(b, _i != 2);
    if (_i == 1)
        bus_write(b, 0, GIB + 10 * MIB, 1, 1);
    bus_write(b, 0, GIB + 8 * MIB, 1, 1);
    for (unsigned i = 0; i < 10000 && _i != 2 && !committed(next); i++)
        usleep(1000); /* when the host has time for the thread */
    ck_assert(committed(next) == (_i != 2));
    while (_i != 2 && !bus_touched_ahead(b)) /* is counted behind it */
        usleep(1000);
    ck_assert((bus_touched_ahead(b) > 0) == (_i != 2));
}
END_TEST

START_TEST(absurd_memory_is_refused)
{
    errno = 0;
    ck_assert_ptr_null(bus_alloc_ram(b, 100 * GIB, "absurd"));
    ck_assert_int_eq(errno, ENOMEM);
    ck_assert_ptr_null(bus_alloc_ram(b, ~0ull, "absurd"));
    ck_assert_ptr_null(bus_alloc_ram(b, 0, "none"));
    ck_assert_ptr_nonnull(bus_alloc_ram(b, 64 * GIB, "most"));
}
END_TEST

START_TEST(two_buses_are_separate)
{
    struct bus *other = bus_create();
    u8 *p = bus_alloc_ram(other, MIB, "other");
    bus_map_ram(other, "ram", 0, MIB, p, true, true, 0);
    bus_write(b, 0, 0, 1, 1);
    bus_write(other, 0, 0, 2, 1);
    code_mark(b, 0, 1);
    ck_assert_uint_eq(bus_read(b, 0, 0, 1), 1);
    ck_assert(!code_hit(other, 0, 1));
    bus_destroy(other);
}
END_TEST

static _Atomic bool stop;

static void *reader(void *opaque)
{
    u64 bad = 0;
    while (!stop) {
        u64 v = bus_read(b, 0, 0x3000, 4);
        u64 w = bus_read(b, 0, 0x200000, 8);
        bad += v != 0x33333333u && v != 0x44444444u;
        bad += w != 0x5555555555555555ull;
    }
    return (void *)(uintptr_t)bad;
}

START_TEST(readers_see_whole_views_while_regions_move)
{
    pthread_t thread;
    void *bad;
    u8 *shadow = bus_alloc_ram(b, 0x1000, "shadow");
    memset(ram + 0x3000, 0x33, 0x1000);
    memset(shadow, 0x44, 0x1000);
    memset(ram + 0x200000, 0x55, 8);
    struct region *r = bus_map_ram(b, "shadow", 0x3000, 0x1000, shadow, true, true, 1);
    stop = false;
    pthread_create(&thread, NULL, reader, NULL);
    for (unsigned i = 0; i < 20000; i++)
        region_set_enabled(r, i & 1);
    stop = true;
    pthread_join(thread, &bad);
    ck_assert_ptr_null(bad);
}
END_TEST

static char printed[4096];

static void print(void *opaque, const char *fmt, ...)
{
    va_list ap;
    size_t n = strlen(printed);
    va_start(ap, fmt);
    vsnprintf(printed + n, sizeof printed - n, fmt, ap);
    va_end(ap);
}

START_TEST(the_map_prints)
{
    struct unit u = {0};
    for (u64 i = 0; i < 200; i++) /* more than the views first had room for */
        bus_map_mmio(b, "slot", 0xc0000000 + i * 0x2000, 0x1000, &any_ops, &u, 1);
    bus_map_ports(b, "serial", 0x3f8, 8, &byte_ops, &u);
    printed[0] = 0;
    bus_print(b, print, NULL);
    ck_assert_ptr_nonnull(strstr(printed, "0000000000000000-00000000003fffff ram"));
    ck_assert_ptr_nonnull(strstr(printed, "slot"));
    bus_write(b, 0, 0xc0000000 + 199 * 0x2000, 3, 1);
    check_call(&u, 0, true, 0, 1, 3);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("bus");
    TCase *t = tcase_create("bus");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, ram_is_little_endian_and_unaligned);
    tcase_add_test(t, nothing_reads_as_ones);
    tcase_add_test(t, rom_ignores_stores_but_takes_images);
    tcase_add_test(t, priority_and_order_decide_overlaps);
    tcase_add_test(t, regions_move);
    tcase_add_test(t, wide_accesses_split_low_first);
    tcase_add_test(t, narrow_accesses_widen);
    tcase_add_test(t, accesses_cross_regions);
    tcase_add_test(t, each_cpu_has_its_own_unit);
    tcase_add_test(t, ports_split_and_widen);
    tcase_add_test(t, a20_masks_the_cpu);
    tcase_add_test(t, marks_are_exact_to_64_bytes);
    tcase_add_test(t, aliases_share_marks);
    tcase_add_test(t, dma_tells_the_hook_first);
    tcase_add_test(t, sixteen_gib_cost_nothing_until_touched);
    tcase_add_test(t, large_pages_hold_ram_where_the_host_makes_them);
    tcase_add_loop_test(t, ram_is_touched_ahead_of_the_guest, 0, 3);
    tcase_add_test(t, absurd_memory_is_refused);
    tcase_add_test(t, two_buses_are_separate);
    tcase_add_test(t, readers_see_whole_views_while_regions_move);
    tcase_add_test(t, the_map_prints);
    suite_add_tcase(s, t);
    return run_suite(s);
}

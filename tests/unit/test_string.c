/* Repeated string helpers against a plain element-by-element model: overlaps, directions, element
 * and address sizes, segment limits, restart after a fault; and the wide compare-and-exchanges.
 * Exceptions and segments are stood in for here, so that only cpu/string.c, cpu/cmpxchg.c and the
 * MMU are under test.
 */
#include <check.h>
#include <setjmp.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "cpu/decode.h"
#include "cpu/helpers.h"
#include "tests/suite.h"

#define RAM (64u << 10)
#define BASE 0x10000u /* where guest RAM starts: nothing lies below or above */

static struct cpu *cpu;
static u8 *ram;
static jmp_buf fault;
static int fault_vector;
static u8 port_log[64];
static unsigned port_count;

void cpu_raise(struct cpu *c, int vector)
{
    fault_vector = vector;
    longjmp(fault, 1);
}

void cpu_raise_error(struct cpu *c, int vector, u32 error)
{
    cpu_raise(c, vector);
}

void cpu_raise_mmu(struct cpu *c, enum mmu_status status, bool stack)
{
    cpu_raise(c, status == MMU_PAGE_FAULT ? EXC_PF : stack ? EXC_SS : EXC_GP);
}

void cpu_raise_misaligned(struct cpu *c, u64 la)
{
    cpu_raise(c, EXC_AC);
}

u64 cpu_load(struct cpu *c, u64 la, unsigned size)
{
    u64 v = 0;
    if (mmu_load(&c->mmu, c->mmu.kind, la, size, &v) != MMU_OK)
        cpu_raise(c, EXC_PF);
    return v;
}

void cpu_store(struct cpu *c, u64 la, unsigned size, u64 v)
{
    if (mmu_store(&c->mmu, c->mmu.kind, la, size, v) != MMU_OK)
        cpu_raise(c, EXC_PF);
}

void cpu_load_bytes(struct cpu *c, u64 la, void *buf, unsigned len)
{
    if (mmu_load_bytes(&c->mmu, c->mmu.kind, la, buf, len) != MMU_OK)
        cpu_raise(c, EXC_PF);
}

void cpu_store_bytes(struct cpu *c, u64 la, const void *buf, unsigned len)
{
    if (mmu_store_bytes(&c->mmu, c->mmu.kind, la, buf, len) != MMU_OK)
        cpu_raise(c, EXC_PF);
}

u64 helper_segaddr(struct cpu *c, u64 a, u64 b, u64 size, u64 store)
{
    if (b + size > c->seg[a].span_r)
        cpu_raise(c, a == SEG_SS ? EXC_SS : EXC_GP);
    return (u32)(c->seg[a].base + b);
}

void cpu_check_io(struct cpu *c, u16 port, unsigned size)
{
}

u64 helper_in(struct cpu *c, u64 a, u64 b, u64 x, u64 y)
{
    return 0x40 + port_count++;
}

u64 helper_out(struct cpu *c, u64 a, u64 b, u64 v, u64 y)
{
    port_log[port_count++ % sizeof port_log] = (u8)v;
    return 0;
}

static u64 seed = 88172645463325252ull;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void setup(void)
{
    struct bus *bus = bus_create();
    ck_assert_ptr_nonnull(bus);
    ram = bus_alloc_ram(bus, RAM, "ram");
    bus_map_ram(bus, "ram", BASE, RAM, ram, true, true, 0);
    cpu = aligned_alloc(64, (sizeof *cpu + 63) & ~(size_t)63);
    memset(cpu, 0, sizeof *cpu);
    cpu->bus = bus;
    ck_assert(mmu_init(&cpu->mmu, bus, 0));
    cpu->hflags = HF_LONG;
}

static void teardown(void)
{
    struct bus *bus = cpu->bus;
    mmu_free(&cpu->mmu);
    free(cpu);
    bus_destroy(bus);
}

static u64 desc(unsigned size, unsigned addrsize, unsigned seg, unsigned rep)
{
    return size | addrsize << 8 | seg << 16 | (u64)rep << 24;
}

typedef u64 helper_fn(struct cpu *, u64, u64, u64, u64);

/* Enters the instruction until it is finished; returns how many calls that took. */
static unsigned run(helper_fn *fn, u64 d)
{
    unsigned n = 1;
    while (!fn(cpu, d, 0, 0, 0))
        ck_assert_uint_lt(n++, 1000);
    return n;
}

static void fill(void)
{
    for (unsigned i = 0; i < RAM; i += 8)
        store_le(ram + i, rnd(), 8);
}

START_TEST(test_movs_model)
{
    static u8 model[RAM];
    for (unsigned round = 0; round < 2000; round++) {
        unsigned size = 1u << (rnd() & 3), len = rnd() % (rnd() & 1 ? 40 : 9000);
        bool down = rnd() & 1;
        fill();
        memcpy(model, ram, RAM);
        u64 src = 20000 + rnd() % 10000;
        /* Often close together, so that they overlap either way. */
        u64 dst = rnd() & 1 ? src + rnd() % 64 - 32 : 20000 + rnd() % 10000;
        u64 n = len / size;
        cpu->eflags = down ? FL_DF : 0;
        cpu->gpr[RSI] = BASE + src;
        cpu->gpr[RDI] = BASE + dst;
        cpu->gpr[RCX] = n;
        for (u64 i = 0; i < n; i++) {
            u64 off = down ? -i * size : i * size;
            store_le(model + dst + off, load_le(model + src + off, size), size);
        }
        run(helper_movs, desc(size, 8, SEG_DS, REP_REPE));
        ck_assert_int_eq(memcmp(model, ram, RAM), 0);
        u64 moved = down ? -(n * size) : n * size;
        ck_assert_uint_eq(cpu->gpr[RSI], BASE + src + moved);
        ck_assert_uint_eq(cpu->gpr[RDI], BASE + dst + moved);
        ck_assert_uint_eq(cpu->gpr[RCX], 0);
    }
}
END_TEST

START_TEST(test_stos_lods)
{
    for (unsigned size = 1; size <= 8; size *= 2) {
        fill();
        u64 v = 0x1122334455667788ull;
        cpu->gpr[RAX] = v;
        cpu->gpr[RDI] = BASE + 4093;
        cpu->gpr[RCX] = 3000;
        u8 before = ram[4092], after = ram[4093 + 3000 * size];
        run(helper_stos, desc(size, 8, SEG_DS, REP_REPE));
        for (unsigned i = 0; i < 3000; i++)
            ck_assert_uint_eq(load_le(ram + 4093 + i * size, size), v & size_mask(size));
        ck_assert_uint_eq(ram[4092], before);
        ck_assert_uint_eq(ram[4093 + 3000 * size], after);
        cpu->gpr[RSI] = BASE + 5000;
        cpu->gpr[RCX] = 2;
        cpu->gpr[RAX] = ~0ull;
        run(helper_lods, desc(size, 8, SEG_DS, REP_REPE));
        u64 low = load_le(ram + 5000 + size, size);
        ck_assert_uint_eq(cpu->gpr[RAX], size < 4 ? (~0ull & ~size_mask(size)) | low : low);
    }
}
END_TEST

START_TEST(test_count_zero)
{
    cpu->gpr[RCX] = 0xabcd00000000ull; /* ECX is 0 */
    cpu->gpr[RSI] = cpu->gpr[RDI] = 0x1234;
    cpu->eflags = FL_CF;
    ck_assert_uint_eq(helper_cmps(cpu, desc(1, 4, SEG_DS, REP_REPE), 0, 0, 0), 1);
    ck_assert_uint_eq(cpu->eflags, FL_CF);
    ck_assert_uint_eq(cpu->gpr[RSI], 0x1234);
}
END_TEST

START_TEST(test_scan)
{
    memset(ram, 'a', RAM);
    ram[5000] = 'x';
    for (unsigned down = 0; down < 2; down++) {
        cpu->eflags = down ? FL_DF : 0;
        cpu->gpr[RAX] = 'x';
        cpu->gpr[RDI] = BASE + (down ? 9000 : 100);
        cpu->gpr[RCX] = 20000;
        run(helper_scas, desc(1, 8, SEG_DS, REP_REPNE));
        ck_assert_uint_eq(cpu->gpr[RDI], BASE + (down ? 4999 : 5001));
        ck_assert_uint_eq(cpu->gpr[RCX], 20000 - (down ? 4001 : 4901));
        ck_assert_uint_eq(cpu->eflags & FL_ARITH, FL_ZF | FL_PF);
    }
    /* Not found: the flags are those of the last element. */
    cpu->eflags = 0;
    cpu->gpr[RAX] = 'b';
    cpu->gpr[RDI] = BASE + 100;
    cpu->gpr[RCX] = 10;
    run(helper_scas, desc(1, 8, SEG_DS, REP_REPNE));
    ck_assert_uint_eq(cpu->eflags & FL_ARITH, 0);
    ck_assert_uint_eq(cpu->gpr[RCX], 0);
}
END_TEST

START_TEST(test_compare)
{
    memset(ram, 'a', RAM);
    ram[20000 + 4 * 1500] = 'b';
    cpu->gpr[RSI] = BASE + 10000;
    cpu->gpr[RDI] = BASE + 20000;
    cpu->gpr[RCX] = 3000;
    run(helper_cmps, desc(4, 8, SEG_DS, REP_REPE));
    ck_assert_uint_eq(cpu->gpr[RCX], 3000 - 1501);
    ck_assert_uint_eq(cpu->gpr[RSI], BASE + 10000 + 4 * 1501);
    ck_assert_uint_eq(cpu->eflags & (FL_CF | FL_ZF | FL_SF), FL_CF | FL_SF);
}
END_TEST

START_TEST(test_address_size)
{
    /* 16-bit addresses wrap inside their segment, and the upper halves stay. */
    cpu->hflags = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu->seg[i] = (struct segment){.base = BASE, .span_r = 0x10000, .span_w = 0x10000};
    fill();
    cpu->gpr[RAX] = 0x5a;
    cpu->gpr[RDI] = 0x7777fffe;
    cpu->gpr[RCX] = 0x99990004;
    run(helper_stos, desc(1, 2, SEG_DS, REP_REPE));
    ck_assert_uint_eq(ram[0xfffe], 0x5a);
    ck_assert_uint_eq(ram[0xffff], 0x5a);
    ck_assert_uint_eq(ram[0], 0x5a);
    ck_assert_uint_eq(ram[1], 0x5a);
    ck_assert_uint_ne(ram[2], 0x5a);
    ck_assert_uint_eq(cpu->gpr[RDI], 0x77770002);
    ck_assert_uint_eq(cpu->gpr[RCX], 0x99990000);
}
END_TEST

START_TEST(test_restart)
{
    /* The destination's segment ends in the middle of a page: everything before is done, the
     * registers name the element that faults. */
    cpu->hflags = 0;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu->seg[i] = (struct segment){.base = BASE, .span_r = 0x10000, .span_w = 0x10000};
    cpu->seg[SEG_ES].span_r = cpu->seg[SEG_ES].span_w = 0x9003;
    fill();
    cpu->gpr[RSI] = 0x1000;
    cpu->gpr[RDI] = 0x8000;
    cpu->gpr[RCX] = 0x1000;
    fault_vector = -1;
    if (setjmp(fault) == 0)
        run(helper_movs, desc(2, 4, SEG_DS, REP_REPE));
    ck_assert_int_eq(fault_vector, EXC_GP);
    ck_assert_uint_eq(cpu->gpr[RDI], 0x9002);
    ck_assert_uint_eq(cpu->gpr[RSI], 0x2002);
    ck_assert_uint_eq(cpu->gpr[RCX], 0x1000 - 0x801);
    ck_assert_int_eq(memcmp(ram + 0x8000, ram + 0x1000, 0x1002), 0);
}
END_TEST

START_TEST(test_bounded)
{
    cpu->gpr[RDI] = BASE;
    cpu->gpr[RCX] = 4096;
    /* Someone wants the processor: it stops between pieces, and is not finished. */
    atomic_store(&cpu->requests, REQ_INTR);
    ck_assert_uint_eq(helper_stos(cpu, desc(8, 8, SEG_DS, REP_REPE), 0, 0, 0), 0);
    ck_assert_uint_gt(cpu->gpr[RCX], 0);
    ck_assert_uint_lt(cpu->gpr[RCX], 4096);
    ck_assert_uint_eq(cpu->gpr[RDI], BASE + (4096 - cpu->gpr[RCX]) * 8);
    atomic_store(&cpu->requests, 0);
    ck_assert_uint_eq(helper_stos(cpu, desc(8, 8, SEG_DS, REP_REPE), 0, 0, 0), 1);
    /* Single-stepping sees every element. */
    cpu->hflags |= HF_TF;
    cpu->gpr[RDI] = BASE;
    cpu->gpr[RCX] = 3;
    ck_assert_uint_eq(helper_stos(cpu, desc(8, 8, SEG_DS, REP_REPE), 0, 0, 0), 0);
    ck_assert_uint_eq(cpu->gpr[RCX], 2);
    ck_assert_uint_eq(cpu->gpr[RDI], BASE + 8);
}
END_TEST

START_TEST(test_ports)
{
    port_count = 0;
    cpu->gpr[RDX] = 0x1f0;
    cpu->gpr[RDI] = BASE + 10;
    cpu->gpr[RCX] = 4;
    run(helper_ins, desc(2, 8, SEG_DS, REP_REPE));
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(load_le(ram + 10 + 2 * i, 2), 0x40 + i);
    port_count = 0;
    cpu->gpr[RSI] = BASE + 10;
    ck_assert_uint_eq(helper_outs(cpu, desc(2, 8, SEG_DS, 0), 0, 0, 0), 1);
    ck_assert_uint_eq(port_log[0], 0x40);
    ck_assert_uint_eq(cpu->gpr[RSI], BASE + 12);
    ck_assert_uint_eq(cpu->gpr[RCX], 0);
}
END_TEST

START_TEST(test_cmpxchg)
{
    store_le(ram + 32, 0x1111111122222222ull, 8);
    cpu->gpr[RAX] = 0x22222222;
    cpu->gpr[RDX] = 0x11111111;
    cpu->gpr[RBX] = 0x44444444;
    cpu->gpr[RCX] = 0x33333333;
    helper_cmpxchg8b(cpu, BASE + 32, 0, 0, 0);
    ck_assert_uint_eq(load_le(ram + 32, 8), 0x3333333344444444ull);
    ck_assert(cpu->eflags & FL_ZF);
    helper_cmpxchg8b(cpu, BASE + 32, 0, 0, 0);
    ck_assert(!(cpu->eflags & FL_ZF));
    ck_assert_uint_eq(cpu->gpr[RAX], 0x44444444);
    ck_assert_uint_eq(cpu->gpr[RDX], 0x33333333);
    helper_cmpxchg16b(cpu, BASE + 32, 0, 0, 0);
    ck_assert(!(cpu->eflags & FL_ZF));
    helper_cmpxchg16b(cpu, BASE + 32, 0, 0, 0);
    ck_assert(cpu->eflags & FL_ZF);
    ck_assert_uint_eq(load_le(ram + 32, 8), 0x44444444);
    ck_assert_uint_eq(load_le(ram + 40, 8), 0x33333333);
    fault_vector = -1;
    if (setjmp(fault) == 0)
        helper_cmpxchg16b(cpu, BASE + 40, 0, 0, 0);
    ck_assert_int_eq(fault_vector, EXC_GP);
}
END_TEST

static u64 bcd(unsigned op, u64 ax, u64 flags, u64 imm)
{
    cpu->gpr[RAX] = ax;
    cpu->eflags = flags;
    helper_bcd(cpu, op, imm, 0, 0);
    return cpu->gpr[RAX];
}

/* Examples of SDM vol. 2, and edges. */
START_TEST(test_bcd)
{
    ck_assert_uint_eq(bcd(OP_daa, 0xae, 0, 0), 0x14);
    ck_assert_uint_eq(cpu->eflags & (FL_CF | FL_AF), FL_CF | FL_AF);
    ck_assert_uint_eq(bcd(OP_das, 0xee, FL_CF | FL_AF, 0), 0x88);
    ck_assert_uint_eq(cpu->eflags & (FL_CF | FL_AF | FL_SF), FL_CF | FL_AF | FL_SF);
    ck_assert_uint_eq(bcd(OP_daa, 0x27, 0, 0), 0x27);
    ck_assert_uint_eq(cpu->eflags & (FL_CF | FL_AF), 0);
    ck_assert_uint_eq(bcd(OP_das, 0x03, FL_AF, 0), 0xfd);
    ck_assert_uint_eq(cpu->eflags & FL_CF, FL_CF);
    ck_assert_uint_eq(bcd(OP_aaa, 0x000b, 0, 0), 0x0101);
    ck_assert_uint_eq(bcd(OP_aas, 0x020b, 0, 0), 0x0105);
    ck_assert_uint_eq(bcd(OP_aam, 0x004f, 0, 10), 0x0709);
    ck_assert_uint_eq(bcd(OP_aad, 0x0709, 0, 10), 0x004f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("string");
    TCase *t = tcase_create("strings");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_movs_model);
    tcase_add_test(t, test_stos_lods);
    tcase_add_test(t, test_count_zero);
    tcase_add_test(t, test_scan);
    tcase_add_test(t, test_compare);
    tcase_add_test(t, test_address_size);
    tcase_add_test(t, test_restart);
    tcase_add_test(t, test_bounded);
    tcase_add_test(t, test_ports);
    tcase_add_test(t, test_cmpxchg);
    tcase_add_test(t, test_bcd);
    suite_add_tcase(s, t);
    return run_suite(s);
}

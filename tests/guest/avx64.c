/* AVX: what enables it, the upper halves of registers, XSAVE's component, and element faults of
 * gathers and masked moves.
 *
 * SDM vol. 1 14.3 (enabling), 14.1.2 (upper halves), 13.4 (XSAVE), vol. 2A 2.3 and 2.4 (prefixes,
 * exception types), vol. 2 VPGATHERDD, VMASKMOV.
 */
#include "tests/guest/lib/long.h"

#define CR4_OSXSAVE (1u << 18)
#define AREA 0x8000000000ull /* mapped: the first page */
#define HOLE (AREA + 0x1000)

CODE(vex, "vaddps %ymm0, %ymm1, %ymm2");
CODE(vex128, "vpaddb %xmm0, %xmm1, %xmm2");
CODE(legacy, "addps %xmm0, %xmm0");
CODE(locked, ".byte 0xf0\n vaddps (%rsp), %ymm1, %ymm2");
CODE(prefixed, ".byte 0x66\n vaddps %ymm0, %ymm1, %ymm2");
CODE(rexed, ".byte 0x48\n vaddps %ymm0, %ymm1, %ymm2");
CODE(unaligned, "vmovaps 0x10(%rsi), %ymm0");
CODE(unaligned_fine, "vaddps 0x11(%rsi), %ymm1, %ymm0\n vmovups %ymm0, 0x41(%rsi)");
CODE(gather, "vpgatherdd %ymm2, (%rsi,%ymm1,4), %ymm0");
CODE(mask_load, "vpmaskmovd (%rsi), %ymm1, %ymm0");
CODE(mask_store, "vpmaskmovd %ymm0, %ymm1, (%rsi)");
CODE(store_across, "vmovups %ymm0, (%rsi)");

static void xsetbv(u32 v)
{
    __asm__ volatile("xsetbv" : : "a"(v), "d"(0), "c"(0));
}

static void run(const char *name, const void *code, unsigned vector)
{
    struct regs r = kernel_at(code);
    enter(&r);
    check_eq(name, r.vector, vector);
}

static void enabling(void)
{
    u64 cr0 = read_cr0(), cr4 = read_cr4();
    run("AVX without CR4.OSXSAVE", vex, UD);
    write_cr4(cr4 | CR4_OSXSAVE);
    xsetbv(3);
    run("AVX without its bit in XCR0", vex, UD);
    run("VEX.128 without its bit in XCR0", vex128, UD);
    xsetbv(7);
    run("AVX enabled", vex, STOP);
    write_cr0(cr0 | CR0_TS);
    run("AVX with CR0.TS", vex, NM);
    write_cr0((cr0 & ~(u64)CR0_MP) | CR0_EM);
    run("AVX does not care for CR0.EM", vex, STOP);
    run("SSE does", legacy, UD);
    write_cr0(cr0);
    run("LOCK before VEX", locked, UD);
    run("66 before VEX", prefixed, UD);
    run("REX before VEX", rexed, UD);
}

/* ---- registers ---- */

static u64 out[4];

static void upper_halves(void)
{
    __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vmovdqa %%ymm0, %%ymm9\n"
                     "xorps %%xmm0, %%xmm0\n vmovdqu %%ymm0, %0" : "=m"(out));
    check("legacy SSE keeps the upper half", !out[0] && !out[1] && !~out[2] && !~out[3]);
    __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vpaddd %%xmm9, %%xmm9, %%xmm0\n"
                     "vmovdqu %%ymm0, %0" : "=m"(out));
    check("VEX.128 clears it", out[0] == ~0x100000001ull && !out[2] && !out[3]);
    __asm__ volatile("vmovdqa %%ymm9, %%ymm0\n vmovaps %%xmm0, %%xmm0\n vmovdqu %%ymm0, %0"
                     : "=m"(out));
    check("a VEX.128 move to itself too", !~out[1] && !out[2] && !out[3]);
    __asm__ volatile("vzeroupper\n vmovdqu %%ymm9, %0" : "=m"(out));
    check("VZEROUPPER", !~out[0] && !~out[1] && !out[2] && !out[3]);
    __asm__ volatile("vzeroall\n vmovdqu %%ymm9, %0" : "=m"(out));
    check("VZEROALL", !out[0] && !out[1] && !out[2] && !out[3]);
}

static u8 image[1024] __attribute__((aligned(64)));

static void xsave_component(void)
{
    u64 *bv = (u64 *)(image + 512), *ymm1 = (u64 *)(image + 576 + 16);
    memset(image, 0, sizeof image);
    __asm__ volatile("vzeroall\n vpcmpeqd %%ymm1, %%ymm1, %%ymm1\n xsave %0"
                     : "+m"(image) : "a"(7), "d"(0));
    check_eq("XSTATE_BV", *bv & 6, 6);
    check("upper half saved", !~ymm1[0] && !~ymm1[1] && !ymm1[2]);
    __asm__ volatile("vzeroall\n xrstor %1\n vmovdqu %%ymm1, %0"
                     : "=m"(out) : "m"(image), "a"(7), "d"(0));
    check("and restored", !~out[0] && !~out[3]);
    __asm__ volatile("xrstor %1\n vmovdqu %%ymm1, %0" : "=m"(out) : "m"(image), "a"(3), "d"(0));
    check("not asked for, left alone", !~out[0] && !~out[3]);
    *bv &= ~4ull;
    __asm__ volatile("xrstor %1\n vmovdqu %%ymm1, %0" : "=m"(out) : "m"(image), "a"(7), "d"(0));
    check("in its initial state", !~out[1] && !out[2] && !out[3]);
    u32 a = 0xd, b, c = 2, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    check("CPUID leaf 0DH.2", a == 256 && b == 576);
}

/* ---- memory ---- */

/* ymm1 = index or mask, ymm2 = mask, ymm0 = what is there before. */
static void set_ymm(const u32 index[8], const u32 mask[8])
{
    __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vmovdqu %0, %%ymm1\n vmovdqu %1, %%ymm2"
                     : : "m"(*(const u32(*)[8])index), "m"(*(const u32(*)[8])mask));
}

static void gathers(void)
{
    u32 index[8] = {0, 1, 1023, 1024, 2, 1025, 3, 4}, got[8], left[8];
    u32 mask[8] = {~0u, 0, ~0u, ~0u, 0x80000000, ~0u, 0x7fffffff, ~0u};
    u32 *area = (u32 *)AREA;
    for (u32 i = 0; i < 1024; i++)
        area[i] = 0x1000 + i;
    set_ymm(index, mask);
    struct regs r = kernel_at(gather);
    r.rsi = AREA;
    enter(&r);
    expect_pf("a gather faults", &r, 0, gather, HOLE);
    __asm__ volatile("vmovdqu %%ymm0, %0\n vmovdqu %%ymm2, %1" : "=m"(got), "=m"(left));
    check("what came before is there", got[0] == 0x1000 && got[1] == ~0u && got[2] == 0x13ff);
    check("and is done", !left[0] && !left[2] && left[3] == ~0u && left[7] == ~0u);
    u8 *page = page_alloc(4096);
    ((u32 *)page)[0] = 0x55;
    ((u32 *)page)[1] = 0x66;
    pt_map(HOLE, 1, (u64)page | PT_P | PT_W);
    area[0] = 0; /* is not read again */
    enter(&r);
    check_eq("and goes on", r.vector, STOP);
    __asm__ volatile("vmovdqu %%ymm0, %0\n vmovdqu %%ymm2, %1" : "=m"(got), "=m"(left));
    check("all elements", got[0] == 0x1000 && got[1] == ~0u && got[2] == 0x13ff && got[3] == 0x55 &&
                              got[4] == 0x1002 && got[5] == 0x66 && got[6] == ~0u &&
                              got[7] == 0x1004);
    for (unsigned i = 0; i < 8; i++)
        check_eq("the mask is used up", left[i], 0);
    pt_map(HOLE, 1, 0);
}

static void masked_moves(void)
{
    u32 first[8] = {~0u}, second[8] = {~0u, ~0u}, got[8];
    u32 *last = (u32 *)(HOLE - 4);
    *last = 0x77;
    set_ymm(first, first);
    struct regs r = kernel_at(mask_load);
    r.rsi = HOLE - 4;
    enter(&r);
    __asm__ volatile("vmovdqu %%ymm0, %0" : "=m"(got));
    check("elements left out do not fault", r.vector == STOP && got[0] == 0x77 && !got[1]);
    set_ymm(second, first);
    r = kernel_at(mask_load);
    r.rsi = HOLE - 4;
    enter(&r);
    expect_pf("others do", &r, 0, mask_load, HOLE);
    set_ymm(first, first);
    r = kernel_at(mask_store);
    r.rsi = HOLE - 4;
    enter(&r);
    check("a store likewise", r.vector == STOP && *last == ~0u);
    *last = 0x88;
    set_ymm(second, first);
    r = kernel_at(mask_store);
    r.rsi = HOLE - 4;
    enter(&r);
    expect_pf("which faults", &r, 2, mask_store, HOLE);
    check_eq("before it stores", *last, 0x88);
    *last = 0x88;
    r = kernel_at(store_across);
    r.rsi = HOLE - 8;
    enter(&r);
    expect_pf("a store across pages", &r, 2, store_across, HOLE);
    check_eq("is all or nothing", *last, 0x88);
}

static void alignment(void)
{
    struct regs r = kernel_at(unaligned);
    r.rsi = AREA;
    enter(&r);
    expect("VMOVAPS wants 32 bytes aligned", &r, GP, 0, unaligned);
    r = kernel_at(unaligned_fine);
    r.rsi = AREA;
    enter(&r);
    check_eq("others do not", r.vector, STOP);
}

void test_main(void)
{
    pt_map(AREA, 1, (u64)page_alloc(4096) | PT_P | PT_W);
    enabling();
    upper_halves();
    xsave_component();
    gathers();
    masked_moves();
    alignment();
    finish();
}

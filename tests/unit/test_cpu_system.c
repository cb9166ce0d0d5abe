/* Control and debug registers, MSRs, CPUID, flags, ports, system management mode, state table,
 * requests and the vCPU's thread.
 */
#include "cpu/x87.h"
#include "cpu_fixture.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fields.h"
#include "tests/suite.h"

static void setup(void)
{
    fixture_setup("max");
}

/* ---- control registers ---- */

struct cr_case {
    bool lng;
    u8 reg;
    u64 set, clear; /* changes to the present value */
    bool faults;
};

static const struct cr_case crs[] = {
    {false, 0, CR0_PG, CR0_PE, true},      /* PG without PE */
    {false, 0, CR0_NW, CR0_CD, true},      /* NW without CD */
    {false, 0, 1ull << 32, 0, true},
    {false, 0, 1 << 6, 0, false},          /* reserved low bits are ignored */
    {false, 0, CR0_PG, 0, false},
    {true, 0, 0, CR0_PG, true},            /* in 64-bit code */
    {false, 4, 1 << 13, 0, true},          /* VMXE */
    {false, 4, CR4_LA57, 0, true},
    {false, 4, CR4_VME | CR4_PVI, 0, false},
    {false, 4, 1 << 23, 0, true},          /* CET */
    {false, 4, CR4_PKE, 0, false},
    {false, 4, 1ull << 32, 0, true},
    {false, 4, CR4_OSXSAVE | CR4_SMEP | CR4_UMIP | CR4_FSGSBASE, 0, false},
    {true, 4, 0, CR4_PAE, true},
    {true, 4, CR4_PCIDE, 0, false},
    {false, 4, CR4_PCIDE, 0, true},        /* outside long mode */
    {true, 3, 1ull << 40, 0, true},        /* beyond MAXPHYADDR */
    {true, 3, 1ull << 63, 0, true},        /* "no flush" without PCIDE */
    {true, 8, 16, 0, true},
    {false, 5, 0, 0, true},
};

static u64 *cr_field(unsigned n)
{
    return n == 0 ? &cpu->cr0 : n == 3 ? &cpu->cr3 : &cpu->cr4;
}

START_TEST(test_cr)
{
    const struct cr_case *c = &crs[_i];
    if (c->lng)
        fixture_long(0);
    else
        fixture_protected(0);
    u64 old = c->reg == 8 || c->reg == 5 ? 0 : *cr_field(c->reg);
    int got = run_helper(helper_mov_to_cr, c->reg, (old | c->set) & ~c->clear, 0x77, 0);
    if (c->faults) {
        ck_assert_int_eq(got, c->reg == 5 ? EXC_UD : EXC_GP);
        if (c->reg < 5)
            ck_assert_uint_eq(*cr_field(c->reg), old);
        ck_assert_uint_eq(cpu->rip, CODE_AT);
    } else {
        ck_assert_int_eq(got, -1);
        ck_assert_uint_eq(cpu->rip, 0x77);
    }
    /* And never from ring 3. */
    cpu->cpl = 3;
    ck_raises(EXC_GP, 0, helper_mov_to_cr, 0, 0, 0, 0);
    ck_raises(EXC_GP, 0, helper_mov_from_cr, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_enter_long)
{
    fixture_protected(0);
    poke(PML4_AT, 8, (PML4_AT + 0x1000) | 7);
    poke(PML4_AT + 0x1000, 8, 0x87);
    cpu->gpr[RCX] = 0xc0000080;
    cpu->gpr[RAX] = EFER_LME;
    cpu->gpr[RDX] = 0;
    ck_runs(helper_wrmsr, 0, 0, 0, 0);
    ck_runs(helper_mov_to_cr, 3, PML4_AT, 0, 0);
    ck_raises(EXC_GP, 0, helper_mov_to_cr, 0, cpu->cr0 | CR0_PG, 0, 0); /* no PAE yet */
    ck_runs(helper_mov_to_cr, 4, CR4_PAE, 0, 0);
    ck_runs(helper_mov_to_cr, 0, cpu->cr0 | CR0_PG, 0, 0);
    ck_assert_uint_eq(cpu->efer, EFER_LME | EFER_LMA);
    ck_assert(cpu->mmu.paging.long_mode && cpu->mmu.paging.enabled);
    ck_assert_uint_eq(cpu->hflags & HF_LONG, 0); /* compatibility mode until CS.L */
    cpu->gpr[RAX] = 0;
    ck_raises(EXC_GP, 0, helper_wrmsr, 0, 0, 0, 0); /* LME cannot change under paging */
    ck_runs(helper_far_jmp, S_CODE64, 0x1000, 4, 0);
    ck_assert_uint_eq(cpu->hflags & HF_LONG, HF_LONG);
    ck_runs(helper_far_jmp, S_CODE0, 0x1000, 8, 0);
    ck_runs(helper_mov_to_cr, 0, cpu->cr0 & ~(u64)CR0_PG, 0, 0);
    ck_assert_uint_eq(cpu->efer, EFER_LME);
}
END_TEST

START_TEST(test_pae_pdptes)
{
    fixture_protected(0);
    poke(PML4_AT, 8, PML4_AT | 1 | 1 << 1); /* R/W is reserved in a PDPTE */
    ck_runs(helper_mov_to_cr, 3, PML4_AT, 0, 0);
    ck_runs(helper_mov_to_cr, 4, CR4_PAE, 0, 0);
    ck_raises(EXC_GP, 0, helper_mov_to_cr, 0, cpu->cr0 | CR0_PG, 0, 0);
    ck_assert_uint_eq(cpu->cr0 & CR0_PG, 0);
    poke(PML4_AT, 8, 0);
    ck_runs(helper_mov_to_cr, 0, cpu->cr0 | CR0_PG, 0, 0);
}
END_TEST

START_TEST(test_pcid)
{
    fixture_long(0);
    ck_runs(helper_mov_to_cr, 4, cpu->cr4 | CR4_PCIDE, 0, 0);
    ck_runs(helper_mov_to_cr, 3, PML4_AT | 5 | 1ull << 63, 0, 0);
    ck_assert_uint_eq(cpu->cr3, PML4_AT | 5);
    ck_raises(EXC_GP, 0, helper_mov_to_cr, 0, cpu->cr0 & ~(u64)CR0_PG, 0, 0);
    poke(0x9800, 8, 0x1000); /* PCID beyond 12 bits */
    poke(0x9808, 8, 0);
    ck_raises(EXC_GP, 0, helper_invpcid, 0, 0x9800, 0, 0);
    poke(0x9800, 8, 5);
    for (unsigned type = 0; type < 4; type++)
        ck_runs(helper_invpcid, type, 0x9800, 0, 0);
    ck_raises(EXC_GP, 0, helper_invpcid, 4, 0x9800, 0, 0);
    poke(0x9808, 8, 1ull << 47);
    ck_raises(EXC_GP, 0, helper_invpcid, 0, 0x9800, 0, 0);
}
END_TEST

START_TEST(test_msw_and_clts)
{
    fixture_protected(0);
    ck_runs(helper_lmsw, 0xe, 0x10, 0, 0); /* PE cannot be cleared */
    ck_assert_uint_eq(cpu->cr0 & 0xf, 0xf);
    ck_assert_uint_eq(cpu->hflags & HF_NOFPU, HF_NOFPU);
    ck_runs(helper_lmsw, 0, 0x10, 0, 0);
    ck_assert_uint_eq(cpu->cr0 & 0xf, 1);
    cpu->cr0 |= CR0_TS;
    ck_runs(helper_clts, 0x20, 0, 0, 0);
    ck_assert_uint_eq(cpu->hflags & HF_NOFPU, 0);
    ck_assert_uint_eq(cpu->rip, 0x20);
    ck_runs(helper_mov_to_cr, 4, CR4_UMIP, 0, 0);
    cpu->cpl = 3;
    ck_raises(EXC_GP, 0, helper_smsw, 0, 0, 0, 0);
    ck_raises(EXC_GP, 0, helper_sgdt, 0, 0x9800, 4, 0);
    ck_raises(EXC_GP, 0, helper_sldt, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_debug_registers)
{
    fixture_protected(0);
    ck_runs(helper_mov_to_dr, 0, 0x1234, 0, 0);
    ck_assert_uint_eq(cpu->dr[0], 0x1234);
    ck_runs(helper_mov_to_dr, 4, 0, 0, 0); /* DR4 is DR6 without CR4.DE */
    ck_assert_uint_eq(cpu->dr[6], 0xffff0ff0);
    ck_runs(helper_mov_to_dr, 7, 0, 0, 0);
    ck_assert_uint_eq(cpu->dr[7], 0x400);
    ck_raises(EXC_GP, 0, helper_mov_to_dr, 7, 1ull << 32, 0, 0);
    cpu->cr4 |= CR4_DE;
    ck_raises(EXC_UD, 0, helper_mov_from_dr, 5, 0, 0, 0);
    ck_runs(helper_mov_to_dr, 7, 1 << 13, 0, 0); /* GD */
    ck_raises(EXC_DB, 0, helper_mov_from_dr, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->dr[6] & 1 << 13, 1 << 13);
    debug_delivered(cpu); /* the handler may read them */
    ck_runs(helper_mov_from_dr, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_tables)
{
    fixture_protected(0);
    poke(0x9800, 8, 0x12345678abcdull);
    ck_runs(helper_lgdt, 0, 0x9800, 4, 0);
    ck_assert_uint_eq(cpu->gdt.limit, 0xabcd);
    ck_assert_uint_eq(cpu->gdt.base, 0x12345678);
    ck_runs(helper_lgdt, 1, 0x9800, 2, 0);
    ck_assert_uint_eq(cpu->idt.base, 0x345678);
    ck_runs(helper_sgdt, 0, 0x9900, 4, 0);
    ck_assert_uint_eq(peek(0x9900, 8), 0x12345678abcdull);
    fixture_long(0);
    poke(0x9800, 2, 0xff);
    poke(0x9802, 8, 0x800000000000ull);
    ck_raises(EXC_GP, 0, helper_lgdt, 0, 0x9800, 8, 0);
    poke(0x9802, 8, 0xffff800000000000ull);
    ck_runs(helper_lgdt, 0, 0x9800, 8, 0);
    ck_assert_uint_eq(cpu->gdt.base, 0xffff800000000000ull);
}
END_TEST

/* ---- flags ---- */

START_TEST(test_lazy_flags)
{
    static const struct { u32 kind; u64 a, b; u32 want; } cases[] = {
        {LAZY_ADD | 0, 0xff, 1, FL_CF | FL_ZF | FL_AF | FL_PF},
        {LAZY_ADD | 0, 0x7f, 1, FL_SF | FL_OF | FL_AF},
        {LAZY_ADD | 1, 0xffff, 1, FL_CF | FL_ZF | FL_AF | FL_PF},
        {LAZY_ADD | 2, 0x80000000, 0x80000000, FL_CF | FL_ZF | FL_OF | FL_PF},
        {LAZY_ADD | 3, ~0ull, 1, FL_CF | FL_ZF | FL_AF | FL_PF},
        {LAZY_SUB | 0, 0, 1, FL_CF | FL_SF | FL_AF | FL_PF},
        {LAZY_SUB | 0, 0x80, 1, FL_OF | FL_AF},
        {LAZY_SUB | 2, 5, 5, FL_ZF | FL_PF},
        {LAZY_SUB | 3, 1ull << 63, 1, FL_OF | FL_AF | FL_PF},
        {LAZY_LOGIC | 0, 0x80, 0, FL_SF},
        {LAZY_LOGIC | 1, 0x10000, 0, FL_ZF | FL_PF},
        {LAZY_LOGIC | 3, 3, 0, FL_PF},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cpu->eflags = FL_FIXED | FL_IF | (FL_ARITH & ~cases[i].want);
        cpu->lazy_kind = cases[i].kind;
        cpu->lazy_a = cases[i].a;
        cpu->lazy_b = cases[i].b;
        ck_assert_uint_eq(cpu_eflags(cpu), FL_FIXED | FL_IF | cases[i].want);
        ck_assert_uint_eq(cpu->lazy_kind, LAZY_NONE);
    }
}
END_TEST

#if defined(__x86_64__)
/* The lazy record against the processor. */
START_TEST(test_lazy_flags_host)
{
    u64 seed = 88172645463325252ull;
    for (unsigned i = 0; i < 20000; i++) {
        u64 v[2], f;
        for (unsigned k = 0; k < 2; k++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            v[k] = seed & 1 ? seed : seed >> (seed >> 58); /* small numbers too */
        }
        bool sub = i & 1;
        u64 a = v[0], b = v[1];
        if (i & 2) {
            u32 x = (u32)a, y = (u32)b;
            if (sub)
                __asm__("subl %2, %1; pushfq; popq %0" : "=r"(f), "+r"(x) : "r"(y) : "cc");
            else
                __asm__("addl %2, %1; pushfq; popq %0" : "=r"(f), "+r"(x) : "r"(y) : "cc");
        } else {
            u8 x = (u8)a, y = (u8)b;
            if (sub)
                __asm__("subb %2, %1; pushfq; popq %0" : "=r"(f), "+q"(x) : "q"(y) : "cc");
            else
                __asm__("addb %2, %1; pushfq; popq %0" : "=r"(f), "+q"(x) : "q"(y) : "cc");
        }
        cpu->lazy_kind = (sub ? LAZY_SUB : LAZY_ADD) | (i & 2 ? 2 : 0);
        cpu->lazy_a = a;
        cpu->lazy_b = b;
        ck_assert_uint_eq(cpu_eflags(cpu) & FL_ARITH, f & FL_ARITH);
    }
}
END_TEST
#endif

START_TEST(test_popf)
{
    fixture_protected(3);
    ck_runs(helper_popf, FL_IOPL | FL_CF | FL_TF | FL_ID | FL_VM | FL_RF, 4, 0x33, 0);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IF | FL_CF | FL_TF | FL_ID);
    ck_assert_uint_eq(cpu->hflags & HF_TF, HF_TF);
    ck_assert_uint_eq(cpu->rip, 0x33);
    fixture_protected(0);
    ck_runs(helper_popf, FL_IOPL | FL_CF, 2, 0, 0);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IOPL | FL_CF);
    /* At CPL 3 with IOPL 3, IF may change. */
    fixture_protected(3);
    cpu->eflags |= FL_IOPL;
    ck_runs(helper_cli, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->eflags & FL_IF, 0);
    cpu->eflags &= ~(u64)FL_IOPL;
    ck_raises(EXC_GP, 0, helper_sti, 0, 0, 0, 0);
}
END_TEST

/* ---- ports ---- */

START_TEST(test_io_permission)
{
    fixture_protected(0);
    ck_runs(helper_in, 0x80, 1, 0, 0);
    fixture_protected(3);
    ck_runs(helper_in, 0x80, 1, 0, 0); /* the map at 68h is all zeroes: allowed */
    poke(TSS_AT + 0x68 + 0x80 / 8, 1, 1 << 2);
    ck_runs(helper_in, 0x81, 1, 0, 0);
    ck_raises(EXC_GP, 0, helper_in, 0x82, 1, 0, 0);
    ck_raises(EXC_GP, 0, helper_in, 0x80, 4, 0, 0); /* one of four is enough */
    ck_raises(EXC_GP, 0, helper_out, 0x81, 2, 0, 0);
    cpu->eflags |= FL_IOPL;
    ck_runs(helper_in, 0x82, 1, 0, 0);
    cpu->eflags &= ~(u64)FL_IOPL;
    cpu->seg[SEG_TR].limit = 0x68 + 0x80 / 8; /* the second byte is outside */
    ck_raises(EXC_GP, 0, helper_in, 0x81, 1, 0, 0);
    ck_runs(helper_in, 0x70, 1, 0, 0);
    cpu->seg[SEG_TR].attr = SEG_P | DT_TSS16_BUSY;
    ck_raises(EXC_GP, 0, helper_in, 0x10, 1, 0, 0);
}
END_TEST

/* ---- MSRs ---- */

struct msr_case {
    u32 msr;
    u64 value;
    bool ok;
};

static const struct msr_case msrs[] = {
    {0xc0000100, 0xffff800000000000ull, true}, {0xc0000100, 0x800000000000ull, false},
    {0xc0000102, 0x1000, true}, {0xc0000082, 0x800000000000ull, false}, {0xc0000081, 5, true},
    {0xc0000084, 0x47700, true}, {0xc0000084, 1ull << 32, false}, {0xc0000103, 3, true},
    {0x174, 0x10, true}, {0x176, 0x800000000000ull, false},
    {0x277, 0x0007010600070106ull, true}, {0x277, 2, false}, {0x277, 8, false},
    {0x2ff, 0xc06, true}, {0x2ff, 0xc02, false}, {0x2ff, 0x1000, false},
    {0x200, 0x80000006, true}, {0x200, 0x80000002, false}, {0x201, 0xff80000800ull, true},
    {0x201, 1, false}, {0x250, 0x0606060606060606ull, true}, {0x26f, 3, false},
    {0x400, ~0ull, true}, {0x401, 0, true}, {0x401, 1, false}, {0x410, 0, false},
    {0x17a, 0, true}, {0xfe, 0, false}, {0x179, 0, false}, {0x48, 1, true}, {0x48, 8, false},
    {0x49, 1, true}, {0x10a, 0, false}, {0xc0000080, EFER_SCE | EFER_NXE, true},
    {0xc0000080, 1 << 1, false}, {0xce, 0, false}, {0xc1, 0, false}, {0x12345678, 0, false},
    {0x3b, 5, true}, {0xc0010015, 0, false},
};

START_TEST(test_msr)
{
    const struct msr_case *c = &msrs[_i];
    u64 v = 0;
    fixture_protected(0);
    ck_assert_int_eq(cpu_write_msr(cpu, c->msr, c->value), c->ok);
    if (c->ok && c->msr != 0x49) {
        ck_assert(cpu_read_msr(cpu, c->msr, &v));
        ck_assert_uint_eq(v, c->value);
    }
}
END_TEST

START_TEST(test_rdmsr_wrmsr)
{
    fixture_protected(0);
    cpu->gpr[RCX] = 0xaaaaaaaac0000102ull; /* only ECX counts */
    cpu->gpr[RAX] = 0xbbbbbbbb55667788ull;
    cpu->gpr[RDX] = 0xcccccccc00001122ull;
    ck_runs(helper_wrmsr, 0x44, 0, 0, 0);
    ck_assert_uint_eq(cpu->kernel_gs_base, 0x112255667788ull);
    ck_assert_uint_eq(cpu->rip, 0x44);
    ck_runs(helper_rdmsr, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RAX], 0x55667788);
    ck_assert_uint_eq(cpu->gpr[RDX], 0x1122);
    cpu->gpr[RCX] = 0xce;
    ck_raises(EXC_GP, 0, helper_rdmsr, 0, 0, 0, 0);
    cpu->cpl = 3;
    cpu->gpr[RCX] = 0xc0000102;
    ck_raises(EXC_GP, 0, helper_rdmsr, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_tsc)
{
    u64 v;
    fixture_protected(0);
    ck_assert_uint_eq(cpu_tsc(cpu), 0);
    clock_step(cpu->clock, 1000);
    ck_assert_uint_eq(cpu_tsc(cpu), 2500);
    ck_assert(cpu_write_msr(cpu, 0x10, 1000000));
    ck_assert_uint_eq(cpu_tsc(cpu), 1000000);
    ck_assert(cpu_read_msr(cpu, 0x3b, &v));
    ck_assert_uint_eq(v, 1000000 - 2500);
    ck_assert(cpu_write_msr(cpu, 0x3b, 0));
    ck_assert_uint_eq(cpu_tsc(cpu), 2500);
    /* A deadline is not early. */
    for (u64 t = 2501; t < 2600; t++) {
        u64 ns = cpu_tsc_to_ns(cpu, t);
        ck_assert_uint_ge(ns * 5 / 2, t);
        ck_assert_uint_le(ns, t * 2 / 5 + 2);
    }
    cpu->tsc_aux = 7;
    ck_runs(helper_rdtsc, 1, 0, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RAX], 2500);
    ck_assert_uint_eq(cpu->gpr[RCX], 7);
    cpu->cpl = 3;
    ck_runs(helper_rdtsc, 0, 0, 0, 0);
    cpu->cr4 |= CR4_TSD;
    ck_raises(EXC_GP, 0, helper_rdtsc, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_gs)
{
    fixture_long(0);
    cpu->seg[SEG_GS].base = 0x1111;
    cpu->kernel_gs_base = 0x2222;
    ck_runs(helper_swapgs, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_GS].base, 0x2222);
    ck_assert_uint_eq(cpu->kernel_gs_base, 0x1111);
    ck_raises(EXC_UD, 0, helper_rdfsbase, 4, 0, 0, 0);
    cpu->cr4 |= CR4_FSGSBASE;
    ck_runs(helper_rdfsbase, 5, 0, 0, 0);
    ck_assert_uint_eq(helper_result, 0x2222);
    ck_runs(helper_wrfsbase, 4, 0x3333, 0, 0);
    ck_assert_uint_eq(cpu->seg[SEG_FS].base, 0x3333);
    ck_raises(EXC_GP, 0, helper_wrfsbase, 4, 1ull << 47, 0, 0);
    fixture_long(3);
    ck_raises(EXC_GP, 0, helper_swapgs, 0, 0, 0, 0);
}
END_TEST

START_TEST(test_xcr0)
{
    fixture_protected(0);
    cpu->gpr[RCX] = 0;
    ck_raises(EXC_UD, 0, helper_xgetbv, 0, 0, 0, 0);
    ck_runs(helper_mov_to_cr, 4, CR4_OSXSAVE, 0, 0);
    ck_assert_uint_eq(cpu_cpuid(cpu, 1, 0).ecx & 1u << 27, 1u << 27);
    cpu->gpr[RAX] = 3;
    cpu->gpr[RDX] = 0;
    ck_runs(helper_xsetbv, 0x10, 0, 0, 0);
    ck_runs(helper_xgetbv, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RAX], 3);
    cpu->gpr[RAX] = 2; /* x87 cannot be off */
    ck_raises(EXC_GP, 0, helper_xsetbv, 0, 0, 0, 0);
    cpu->gpr[RAX] = 5; /* nor SSE with AVX on */
    ck_raises(EXC_GP, 0, helper_xsetbv, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0xd, 0).ebx, 576);
    ck_assert(!(cpu->hflags & HF_AVX));
    cpu->gpr[RAX] = 7;
    ck_runs(helper_xsetbv, 0x10, 0, 0, 0);
    ck_assert(cpu->hflags & HF_AVX);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0xd, 0).ebx, 832);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0xd, 0).ecx, 840);
    cpu->gpr[RAX] = 0xf;
    ck_raises(EXC_GP, 0, helper_xsetbv, 0, 0, 0, 0);
    cpu->gpr[RCX] = 2;
    ck_raises(EXC_GP, 0, helper_xgetbv, 0, 0, 0, 0);
}
END_TEST

/* XGETBV of what is in use, and XSAVES, which knows the compact form only and CPL 0 only. */
START_TEST(test_xsaves)
{
    u64 v;
    fixture_setup("max");
    fixture_protected(0);
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->xcr0 = 3;
    x87_init(&cpu->x87);
    cpu_set_mxcsr(cpu, 0x1f80);
    cpu->gpr[RCX] = 1;
    ck_runs(helper_xgetbv, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RAX], 0);
    cpu_set_mxcsr(cpu, 0x3f80);
    ck_runs(helper_xgetbv, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->gpr[RAX], 2);
    ck_assert(cpu_read_msr(cpu, 0xda0, &v) && v == 0);
    ck_assert(!cpu_write_msr(cpu, 0xda0, 1));
    cpu->gpr[RAX] = 3;
    cpu->gpr[RDX] = 0;
    cpu->xmm[3].q[1] = 0x1234;
    ck_runs(helper_xsave, 0x8000, 4 | 8, 0, 0);
    ck_assert_uint_eq(peek(0x8000 + 512, 8), 2);
    ck_assert_uint_eq(peek(0x8000 + 520, 8), 3 | BIT64(63));
    cpu->xmm[3].q[1] = 0;
    ck_runs(helper_xrstor, 0x8000, 8, 0x10, 0);
    ck_assert_uint_eq(cpu->xmm[3].q[1], 0x1234);
    poke(0x8000 + 520, 8, 0);
    ck_runs(helper_xrstor, 0x8000, 0, 0x10, 0);
    ck_raises(EXC_GP, 0, helper_xrstor, 0x8000, 8, 0x10, 0);
    fixture_protected(3);
    cpu->cr4 |= CR4_OSXSAVE;
    ck_raises(EXC_GP, 0, helper_xsave, 0x8000, 4 | 8, 0, 0);
    fixture_setup("qemu64");
    fixture_protected(0);
    ck_assert(!cpu_read_msr(cpu, 0xda0, &v));
}
END_TEST

/* MWAIT sleeps while the line is as MONITOR found it, for a while at most. */
START_TEST(test_mwait)
{
    unsigned looks = 0;
    fixture_setup("max");
    fixture_protected(0);
    cpu->gpr[RCX] = 0;
    ck_runs(helper_mwait, 0x1234, 0, 0, 0);
    ck_assert(!cpu->halted && cpu->rip == 0x1234); /* nothing armed */
    ck_runs(helper_monitor, 0x9050, 0, 0, 0);
    ck_runs(helper_mwait, 0x1234, 0, 0, 0);
    ck_assert(cpu->halted && cpu->mwait && !cpu_mwait_over(cpu));
    poke(0x9080, 1, 1); /* the next line */
    ck_assert(!cpu_mwait_over(cpu));
    poke(0x907f, 1, 1);
    ck_assert(cpu_mwait_over(cpu));
    cpu->halted = false;
    ck_runs(helper_monitor, 0x9050, 0, 0, 0);
    poke(0x9040, 1, 1);
    ck_runs(helper_mwait, 0x1234, 0, 0, 0);
    ck_assert(!cpu->halted); /* changed before it could sleep */
    ck_runs(helper_monitor, 0x9050, 0, 0, 0);
    ck_runs(helper_mwait, 0x1234, 0, 0, 0);
    while (!cpu_mwait_over(cpu))
        looks++;
    ck_assert_uint_lt(looks, 1000);
    cpu->halted = false;
    ck_runs(helper_monitor, 0x9050, 0, 0, 0);
    cpu->gpr[RCX] = 1; /* a masked interrupt wakes */
    ck_runs(helper_mwait, 0x1234, 0, 0, 0);
    ck_assert(!cpu_mwait_over(cpu));
    atomic_fetch_or(&cpu->pins, REQ_INTR);
    ck_assert(cpu_mwait_over(cpu));
    cpu->gpr[RCX] = 2;
    ck_raises(EXC_GP, 0, helper_mwait, 0x1234, 0, 0, 0);
    fixture_protected(3);
    ck_raises(EXC_UD, 0, helper_monitor, 0x9050, 0, 0, 0);
}
END_TEST

START_TEST(test_rdrand)
{
    u64 seen = 0;
    for (unsigned i = 0; i < 8; i++) {
        cpu->eflags = FL_FIXED | FL_ARITH;
        ck_runs(helper_rdrand, 0, 2, 0, 0);
        ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_CF);
        ck_assert_uint_le(helper_result, 0xffff);
        seen |= helper_result;
    }
    ck_assert_uint_ne(seen, 0);
}
END_TEST

/* ---- CPUID and models ---- */

START_TEST(test_models)
{
    static const char *const bad[] = {"", "386", "max,", "max,+nonsense", "max,+svm", "max,sse=maybe",
                                      "max,+", "qemu64,-sse-", "max,+sse=on", "max,=on", "Max"};
    char *error;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        ck_assert_ptr_null(cpu_model_find(bad[i], 1, &error));
        ck_assert_ptr_nonnull(error);
        ck_assert_ptr_null(strchr(error, '\n'));
        free(error);
    }
    fixture_setup("qemu64");
    ck_assert(!cpu_has(cpu, ISA_SSSE3) && cpu_has(cpu, ISA_SSE3) && cpu_has(cpu, ISA_CX16));
    ck_assert(cpu_has(cpu, ISA_BASE) && !cpu_has(cpu, ISA_AVX));
    ck_assert_uint_eq(cpu_cpuid(cpu, 1, 0).eax, 0x00060fb1);
    ck_assert_uint_eq(cpu_cr4_mask(cpu) & (CR4_SMEP | CR4_OSXSAVE | CR4_UMIP), 0);
    fixture_setup("qemu64,+ssse3,+sse4_1,+sse4.2,+popcnt,-cx16");
    ck_assert(cpu_has(cpu, ISA_SSE42) && !cpu_has(cpu, ISA_CX16));
    fixture_setup("qemu64,ssse3=on,popcnt,cx16=off");
    ck_assert(cpu_has(cpu, ISA_SSSE3) && cpu_has(cpu, ISA_POPCNT) && !cpu_has(cpu, ISA_CX16));
    /* Taking away a base takes away what stands on it. */
    fixture_setup("max,-sse2");
    ck_assert(!cpu_has(cpu, ISA_SSE42) && !cpu_has(cpu, ISA_SSE2) && cpu_has(cpu, ISA_SSE));
}
END_TEST

/* What was meant is named. */
START_TEST(test_near_matches)
{
    static const char *const pairs[][2] = {
        {"haswel", "(did you mean Haswell?)"}, {"pentium4", "pentium3"}, {"MAX", "max"},
        {"skylake", "(did you mean Skylake-Client?)"}, {"sk", "(try -cpu help)"},
        {"max,+sse43", "sse4"}, {"max,-xsave1", "xsave"},
        {"max,+sse4", "(did you mean sse4.1, sse4.2, sse4a?)"},
        {"max,+rdrnd", "(did you mean rdrand?)"}, {"max,+wings", "'wings' (try -cpu help)"},
    };
    char *error;
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        ck_assert_ptr_null(cpu_model_find(pairs[i][0], 1, &error));
        ck_assert_msg(strstr(error, pairs[i][1]), "%s: %s", pairs[i][0], error);
        free(error);
    }
}
END_TEST

/* Old parts: no MSRs, no EFER, 32-bit addresses, few bits of CR4; new ones with what they need. */
START_TEST(test_old_models)
{
    u64 v;
    fixture_setup("486");
    ck_assert_uint_eq(cpu_cpuid(cpu, 0, 0).eax, 1);
    ck_assert_uint_eq(cpu_cpuid(cpu, 1, 0).eax, 0x480);
    ck_assert_uint_eq(cpu_cpuid(cpu, 1, 0).edx & ~2u, 1 | 8);
    ck_assert_uint_eq(cpu_cr4_mask(cpu) & ~(u64)(CR4_VME | CR4_PVI), CR4_PSE);
    ck_assert(!cpu_has(cpu, ISA_586) && !cpu_has(cpu, ISA_MSR) && !cpu_has(cpu, ISA_TSC));
    ck_assert_uint_eq(cpu_phys_bits(cpu), 32);
    fixture_setup("pentium");
    ck_assert(cpu_has(cpu, ISA_MSR) && !cpu_has(cpu, ISA_686) && !cpu_has(cpu, ISA_CMOV));
    ck_assert(!cpu_read_msr(cpu, 0xc0000080, &v) && !cpu_write_msr(cpu, 0xc0000080, 0));
    ck_assert(cpu_read_msr(cpu, 0x10, &v) && !cpu_read_msr(cpu, 0x1d9, &v));
    ck_assert_uint_eq(cpu_cr4_mask(cpu) & (CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_PCE), 0);
    fixture_setup("pentium3");
    ck_assert(cpu_has(cpu, ISA_SSE) && !cpu_has(cpu, ISA_SSE2) && !cpu_has(cpu, ISA_LM));
    ck_assert_uint_eq(cpu_phys_bits(cpu), 36);
    ck_assert_uint_eq(cpu_cpuid(cpu, 2, 0).eax & 0xff, 1);
    /* What keeps a kernel from clearing the branch history at each entry. */
    fixture_setup("max");
    ck_assert_uint_eq(cpu_cpuid(cpu, 7, 0).eax, 2);
    ck_assert_uint_eq(cpu_cpuid(cpu, 7, 2).edx >> 4 & 1, 1);
    ck_assert(cpu_write_msr(cpu, 0x48, 0x401) && cpu_read_msr(cpu, 0x48, &v) && v == 0x401);
    fixture_setup("max,-bhi-ctrl");
    ck_assert(!cpu_write_msr(cpu, 0x48, 0x401) && cpu_write_msr(cpu, 0x48, 1));
    /* A feature in a leaf that the part does not reach. */
    fixture_setup("qemu32,+smep,+invtsc");
    ck_assert_uint_eq(cpu_cpuid(cpu, 0, 0).eax, 7);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0x80000000, 0).eax, 0x80000007);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0x80000007, 0).edx, 1u << 8);
}
END_TEST

START_TEST(test_cpuid)
{
    static const char *const specs[] = {
        "qemu64", "max", "max,-xsave,-lm", "core2duo", "Nehalem", "SandyBridge", "Haswell",
        "Skylake-Client", "EPYC", "qemu32,+clflush,+xsave,+wbnoinvd",
    };
    fixture_setup(specs[_i]);
    struct cpuid_regs r = cpu_cpuid(cpu, 0, 0), one = cpu_cpuid(cpu, 1, 0),
                      ext = cpu_cpuid(cpu, 0x80000001, 0);
    char vendor[13] = {0};
    store_le(vendor, r.ebx, 4);
    store_le(vendor + 4, r.edx, 4);
    store_le(vendor + 8, r.ecx, 4);
    ck_assert_str_eq(vendor, cpu_is_amd(cpu) ? "AuthenticAMD" : "GenuineIntel");
    ck_assert_uint_ge(r.eax, 0xa);
    ck_assert_uint_eq(one.eax, cpu->gpr[RDX]); /* as RESET leaves it */
    ck_assert_uint_eq(one.ebx >> 8 & 0xff, 8);
    ck_assert_uint_eq(!(one.ecx & 1u << 27), !(cpu->cr4 & CR4_OSXSAVE));
    ck_assert_uint_eq(!!(ext.edx & 1u << 29), cpu_has(cpu, ISA_LM));
    ck_assert_uint_eq(!!(one.ecx & 1u << 26), cpu_has(cpu, ISA_XSAVE));
    ck_assert(r.eax >= 0xd || !cpu_has(cpu, ISA_XSAVE));
    if (r.eax >= 0xd) { /* else the highest leaf answers */
        ck_assert_uint_eq(cpu_cpuid(cpu, 0xd, 0).eax, cpu_xcr0_mask(cpu));
        ck_assert_uint_eq(cpu_cpuid(cpu, 0xd, 0).ebx, cpu_has(cpu, ISA_XSAVE) ? 576 : 0);
        ck_assert_uint_eq(cpu_cpuid(cpu, 0xd, 1).ebx, cpu_has(cpu, ISA_XSAVEC) ? 576 : 0);
    }
    ck_assert(!cpu_has(cpu, ISA_XSAVEC) || cpu_has(cpu, ISA_XSAVE));
    ck_assert_uint_eq(cpu_cpuid(cpu, 0x80000008, 0).eax & 0xff, cpu_phys_bits(cpu));
    ck_assert_uint_eq(cpu_cpuid(cpu, 0x80000000, 0).eax, 0x80000008);
    if (cpu_is_amd(cpu))
        ck_assert_uint_eq(ext.edx & one.edx & 0x0183f3ff, one.edx & 0x0183f3ff);
    /* AVX needs XSAVE, and FMA and F16C need AVX. */
    ck_assert(!cpu_has(cpu, ISA_AVX) || cpu_has(cpu, ISA_XSAVE));
    ck_assert(!(one.ecx & (1u << 12 | 1u << 29)) || cpu_has(cpu, ISA_AVX));
    if (cpu_has(cpu, ISA_AVX)) {
        struct cpuid_regs ymm = cpu_cpuid(cpu, 0xd, 2);
        ck_assert(ymm.eax == 256 && ymm.ebx == 576 && ymm.ecx == 0);
    }
    cpu->gpr[RAX] = 0xffffffff80000002ull;
    ck_runs(helper_cpuid, 0, 0, 0, 0);
    struct cpuid_regs brand = cpu_cpuid(cpu, 0x80000002, 0);
    ck_assert_uint_eq(cpu->gpr[RAX], brand.eax);
    ck_assert(brand.eax == load_le("Drag", 4) || brand.eax == load_le("Inte", 4) ||
              brand.eax == load_le("AMD ", 4));
}
END_TEST

START_TEST(test_topology)
{
    char *error;
    fixture_setup("max");
    cpu->model = cpu_model_find("max", 6, &error);
    ck_assert_uint_eq(cpu_cpuid(cpu, 1, 0).ebx >> 16 & 0xff, 6);
    ck_assert_uint_eq(cpu_cpuid(cpu, 1, 0).edx >> 28 & 1, 1);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0xb, 1).eax, 3);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0xb, 1).ebx, 6);
    ck_assert_uint_eq(cpu_cpuid(cpu, 0xb, 2).ebx, 0);
    ck_assert_uint_eq(cpu_cpuid(cpu, 4, 3).eax >> 14 & 0xfff, 7);
    ck_assert_uint_eq(cpu_cpuid(cpu, 4, 4).eax, 0);
    /* TSC rate by leaf 15H is the real one. */
    struct cpuid_regs r = cpu_cpuid(cpu, 0x15, 0);
    ck_assert_uint_eq((u64)r.ecx * r.ebx / r.eax, CPU_TSC_KHZ * 1000ull);
}
END_TEST

/* ---- reset, INIT, SIPI, SMM, state table ---- */

START_TEST(test_reset)
{
    fixture_long(3);
    cpu->cr0 &= ~(u64)(CR0_CD | CR0_NW);
    cpu->pat = 5;
    cpu->xmm[0].q[0] = 9;
    cpu_request(cpu, REQ_INIT);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0xfff0);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0xffff0000);
    ck_assert_uint_eq(cpu->cr0, CR0_ET); /* CD and NW as they were */
    ck_assert_uint_eq(cpu->efer, 0);
    ck_assert_uint_eq(cpu->pat, 5);      /* MSRs and SSE survive INIT */
    ck_assert_uint_eq(cpu->xmm[0].q[0], 9);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_PE | HF_USER), 0);
    cpu_reset(cpu, false);
    ck_assert_uint_eq(cpu->cr0, 0x60000010);
    ck_assert_uint_eq(cpu->xmm[0].q[0], 0);
    ck_assert_uint_eq(cpu->mxcsr, 0x1f80);
}
END_TEST

START_TEST(test_sipi)
{
    cpu->wait_sipi = true;
    ck_assert(!cpu_service(cpu));
    cpu->sipi_vector = 0x9a;
    cpu_request(cpu, REQ_SIPI);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, 0x9a00);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0x9a000);
    ck_assert_uint_eq(cpu->rip, 0);
    cpu->rip = 5;
    cpu_request(cpu, REQ_SIPI); /* lost: it runs already */
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 5);
}
END_TEST

START_TEST(test_smm)
{
    fixture_long(3);
    ck_raises(EXC_UD, 0, helper_rsm, 0, 0, 0, 0);
    cpu->gpr[R13] = 0x1313;
    cpu->smbase = 0x40000;
    cpu_set_eflags(cpu, FL_IF | FL_CF);
    u64 cr0 = cpu->cr0, cr4 = cpu->cr4, efer = cpu->efer, sp = cpu->gpr[RSP];
    cpu_request(cpu, REQ_SMI);
    ck_assert(cpu_service(cpu));
    ck_assert(cpu->in_smm);
    ck_assert_uint_eq(cpu->rip, 0x8000);
    ck_assert_uint_eq(cpu->seg[SEG_CS].base, 0x40000);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_PE | HF_USER | HF_CS32), 0);
    ck_assert_uint_eq(peek(0x40000 + 0xff78, 8), CODE_AT);
    ck_assert_uint_eq(peek(0x40000 + 0xff90, 8), 0x1313);
    poke(0x40000 + 0xff00, 4, 0x50000); /* relocation */
    cpu_request(cpu, REQ_SMI); /* waits for RSM */
    ck_assert(cpu_service(cpu));
    memset(cpu->gpr, 0, sizeof cpu->gpr);
    ck_runs(helper_rsm, 0, 0, 0, 0);
    ck_assert_uint_eq(cpu->cr0, cr0);
    ck_assert_uint_eq(cpu->cr4, cr4);
    ck_assert_uint_eq(cpu->efer, efer);
    ck_assert_uint_eq(cpu->gpr[RSP], sp);
    ck_assert_uint_eq(cpu->gpr[R13], 0x1313);
    ck_assert_uint_eq(cpu->cpl, 3);
    ck_assert_uint_eq(cpu->rip, CODE_AT);
    ck_assert_uint_eq(cpu->eflags, FL_FIXED | FL_IF | FL_CF);
    ck_assert_uint_eq(cpu->hflags & (HF_LONG | HF_USER), HF_LONG | HF_USER);
    ck_assert_uint_eq(cpu->smbase, 0x50000);
    ck_assert(cpu_needs_service(cpu));
}
END_TEST

/* SDM vol. 3C 34.8, 34.3: NMIs and INIT wait for RSM. */
START_TEST(test_smm_blocks_events)
{
    fixture_long(0);
    cpu->smbase = 0x40000;
    cpu_request(cpu, REQ_SMI);
    ck_assert(cpu_service(cpu));
    cpu_request(cpu, REQ_NMI | REQ_INIT | REQ_SMI);
    ck_assert(cpu_service(cpu));
    ck_assert_uint_eq(cpu->rip, 0x8000);
    ck_assert(cpu->in_smm);
    ck_runs(helper_rsm, 0, 0, 0, 0);
    ck_assert(!cpu->nmi_blocked);
    cpu_service(cpu);
    ck_assert_uint_eq(cpu->rip, 0xfff0); /* INIT comes first */
    /* Blocked before the SMI: blocked after it, unless the handler executes IRET. */
    for (unsigned iret = 0; iret < 2; iret++) {
        fixture_long(0);
        cpu->smbase = 0x40000;
        cpu->nmi_blocked = true;
        cpu_request(cpu, REQ_SMI);
        ck_assert(cpu_service(cpu));
        if (iret)
            cpu->nmi_blocked = false; /* as IRET does */
        ck_runs(helper_rsm, 0, 0, 0, 0);
        ck_assert_uint_eq(cpu->nmi_blocked, !iret);
    }
}
END_TEST

/* 34.4.1: control registers that no MOV would take shut the processor down. */
START_TEST(test_rsm_checks)
{
    static const struct {
        u32 at;
        u64 set, clear;
        bool good;
    } cases[] = {
        {0xff58, 0, 0, true},
        {0xff58, 0, 1, false},                   /* CR0.PG without PE */
        {0xff58, BIT64(29), BIT64(30), false},   /* NW without CD */
        {0xff58, BIT64(40), 0, false},
        {0xff48, BIT64(15), 0, false},           /* CR4, reserved */
        {0xff48, 0, BIT64(5), false},            /* long mode without PAE */
        {0xfed0, BIT64(1), 0, false},            /* EFER, reserved */
        {0xfed0, 0, BIT64(10), false},           /* LME and PG without LMA */
        {0xff70, BIT64(17), 0, false},           /* VM in long mode */
        {0xff50, BIT64(45), 0, false},           /* CR3 beyond MAXPHYADDR */
        {0xff68, 0, 0, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        fixture_setup("max");
        fixture_long(0);
        reset_requests = 0;
        cpu->smbase = 0x40000;
        cpu_request(cpu, REQ_SMI);
        ck_assert(cpu_service(cpu));
        u64 v = peek(0x40000 + cases[i].at, 8);
        poke(0x40000 + cases[i].at, 8, (v | cases[i].set) & ~cases[i].clear);
        ck_runs(helper_rsm, 0, 0, 0, 0);
        ck_assert_msg(reset_requests == !cases[i].good && cpu->shut_down == !cases[i].good, "case %u", i);
        ck_assert(!cpu->in_smm);
    }
}
END_TEST

START_TEST(test_state_round_trip)
{
    fixture_long(3);
    cpu->gpr[R9] = 0x123456789abcdefull;
    cpu->xmm[7].q[3] = 77;
    cpu->x87.r[3].mant = 88;
    cpu->lazy_kind = LAZY_SUB | 2;
    cpu->lazy_a = 1;
    size_t n = fields_size(cpu_fields);
    u8 *a = malloc(n), *b = malloc(n);
    fields_save(cpu_fields, cpu, a);
    u32 hflags = cpu->hflags;
    cpu_reset(cpu, false);
    memset(cpu->xmm, 1, sizeof cpu->xmm);
    fields_load(cpu_fields, cpu, a);
    cpu_loaded(cpu);
    fields_save(cpu_fields, cpu, b);
    ck_assert_mem_eq(a, b, n);
    ck_assert_uint_eq(cpu->hflags, hflags);
    ck_assert_int_eq(cpu->mmu.kind, MMU_USER);
    ck_assert_uint_eq(cpu->gpr[R9], 0x123456789abcdefull);
    ck_assert_uint_eq(cpu->seg[SEG_DS].span_w, 1ull << 32);
    free(a);
    free(b);
}
END_TEST

/* ---- the thread ---- */

static _Atomic unsigned runs, worked;
static _Atomic bool quit;

/* An engine that only services events and halts again. */
static void fake_run(struct cpu *c)
{
    atomic_fetch_add(&runs, 1);
    while (cpu_service(c)) {
        c->halted = true;
        cpu_one_done(c);
    }
}

static const struct accel fake_accel = {.name = "fake", .run = fake_run};

static void *thread(void *opaque)
{
    cpu_thread(cpu, &fake_accel, &quit);
    return NULL;
}

static void work(struct cpu *c, void *opaque)
{
    *(_Atomic unsigned *)opaque += 1;
}

static void wait_for(_Atomic unsigned *v, unsigned at_least)
{
    for (unsigned i = 0; i < 5000 && atomic_load(v) < at_least; i++)
        usleep(1000);
    ck_assert_uint_ge(atomic_load(v), at_least);
}

START_TEST(test_thread)
{
    pthread_t t;
    fixture_protected(0);
    cpu->halted = true;
    atomic_store(&runs, 0);
    atomic_store(&worked, 0);
    atomic_store(&quit, false);
    ck_assert_int_eq(pthread_create(&t, NULL, thread, NULL), 0);
    usleep(20000);
    ck_assert_uint_eq(atomic_load(&runs), 0); /* halted: does not run at all */
    ck_assert(cpu_queue_work(cpu, work, &worked));
    wait_for(&worked, 1);
    cpu_pause(cpu);
    unsigned before = atomic_load(&runs);
    ck_assert(cpu_queue_work(cpu, work, &worked));
    usleep(20000);
    ck_assert_uint_eq(atomic_load(&runs), before);
    ck_assert_uint_eq(atomic_load(&worked), 1);
    cpu_resume(cpu);
    wait_for(&worked, 2);
    for (unsigned i = 0; i < 100; i++) {
        cpu_pause(cpu);
        cpu_resume(cpu);
    }
    atomic_store(&quit, true);
    cpu_request(cpu, REQ_EXIT);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cpu_system");
    TCase *t = tcase_create("system");
    tcase_add_checked_fixture(t, setup, fixture_teardown);
    tcase_add_loop_test(t, test_cr, 0, ARRAY_SIZE(crs));
    tcase_add_test(t, test_enter_long);
    tcase_add_test(t, test_pae_pdptes);
    tcase_add_test(t, test_pcid);
    tcase_add_test(t, test_msw_and_clts);
    tcase_add_test(t, test_debug_registers);
    tcase_add_test(t, test_tables);
    tcase_add_test(t, test_lazy_flags);
#if defined(__x86_64__)
    tcase_add_test(t, test_lazy_flags_host);
#endif
    tcase_add_test(t, test_popf);
    tcase_add_test(t, test_io_permission);
    tcase_add_loop_test(t, test_msr, 0, ARRAY_SIZE(msrs));
    tcase_add_test(t, test_rdmsr_wrmsr);
    tcase_add_test(t, test_tsc);
    tcase_add_test(t, test_gs);
    tcase_add_test(t, test_xcr0);
    tcase_add_test(t, test_xsaves);
    tcase_add_test(t, test_mwait);
    tcase_add_test(t, test_rdrand);
    tcase_add_test(t, test_models);
    tcase_add_test(t, test_near_matches);
    tcase_add_test(t, test_old_models);
    tcase_add_loop_test(t, test_cpuid, 0, 10);
    tcase_add_test(t, test_topology);
    tcase_add_test(t, test_reset);
    tcase_add_test(t, test_sipi);
    tcase_add_test(t, test_smm);
    tcase_add_test(t, test_smm_blocks_events);
    tcase_add_test(t, test_rsm_checks);
    tcase_add_test(t, test_state_round_trip);
    tcase_add_test(t, test_thread);
    suite_add_tcase(s, t);
    return run_suite(s);
}

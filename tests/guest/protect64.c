/* Protections around paging in 64-bit mode: SMEP, SMAP, UMIP, protection keys, implicit supervisor
 * accesses, what may be written to control registers and EFER, and what invalidates translations.
 *
 * SDM vol. 3A chapters 2 and 4; the sections are beside the checks.
 */
#include "tests/guest/lib/long.h"

#define AREA 0x8000000000ull /* PML4 entry 1 belongs to this test */
#define ENDED(code) (code##_end + 2)
#define CR4_UMIP (1u << 11)
#define CR4_PKE (1u << 22)
#define AT_USER(code) ((void *)AS_USER(code))

CODE(load, "mov (%rdi), %eax");
CODE(fetch, "jmp *%rdi");
CODE(load_fs, "mov %edi, %fs");
CODE(do_stac, ".byte 0x0f, 0x01, 0xcb");
CODE(do_clac, ".byte 0x0f, 0x01, 0xca");
CODE(do_lock_stac, ".byte 0xf0, 0x0f, 0x01, 0xcb");
CODE(stac_load, ".byte 0x0f, 0x01, 0xcb\n mov (%rdi), %eax\n .byte 0x0f, 0x01, 0xca");
CODE(clac_load, ".byte 0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca\n mov (%rdi), %eax");
CODE(popf_load, "pushq $0x40002\n popfq\n mov (%rdi), %eax");
CODE(do_sgdt, "sgdt (%rdi)");
CODE(do_sidt, "sidt (%rdi)");
CODE(do_sldt, "sldt %eax");
CODE(do_str, "str %eax");
CODE(do_smsw, "smsw %eax");
CODE(sldt_memory, "sldt (%rdi)");
CODE(to_cr0, "mov %rdi, %cr0");
CODE(to_cr3, "mov %rdi, %cr3");
CODE(to_cr4, "mov %rdi, %cr4");
CODE(to_cr8, "mov %rdi, %cr8");
CODE(to_efer, "mov $0xc0000080, %ecx\n wrmsr");
CODE(do_invpcid, ".byte 0x66, 0x0f, 0x38, 0x82, 0x3e"); /* invpcid (%rsi), %rdi */
CODE(store, "mov %eax, (%rdi)");
CODE(do_rdpkru, ".byte 0x0f, 0x01, 0xee");
CODE(do_wrpkru, ".byte 0x0f, 0x01, 0xef");
CODE(do_invlpg, "invlpg (%rdi)");

static bool has(u32 leaf, unsigned reg, unsigned bit)
{
    u32 r[4];
    cpuid(leaf, r);
    return r[reg] >> bit & 1;
}

static struct regs run(const void *code, u64 rdi)
{
    struct regs r = kernel_at(code);
    r.rdi = rdi;
    enter(&r);
    return r;
}

static struct regs run_user(const void *code, u64 rdi)
{
    struct regs r = user_at(code);
    r.rdi = rdi;
    enter(&r);
    return r;
}

static u32 peek(u64 va)
{
    return *(volatile u32 *)va;
}

/* ---- SMEP and SMAP (4.6.1, 4.7) ---- */

static void smep(u8 *page)
{
    struct regs r;
    if (!has(7, 1, 7)) {
        say("no SMEP: left out\n");
        return;
    }
    *(u16 *)page = 0x80cd;
    pt_map(AREA, 1, (u64)page | PT_P | PT_W | PT_U);
    /* A fetch that was allowed before must not be remembered. */
    r = run(fetch, AREA);
    check_eq("before SMEP", r.vector, STOP);
    write_cr4(read_cr4() | CR4_SMEP);
    r = run(fetch, AREA);
    expect_pf("SMEP", &r, 0x11, (void *)AREA, AREA);
    r = run_user(fetch, AREA);
    check_eq("SMEP is no matter of ring 3", r.vector, STOP);
    /* One supervisor entry on the way makes it a supervisor page. */
    *pt_entry(AREA, 3) &= ~(u64)PT_U;
    flush_all();
    r = run(fetch, AREA);
    check_eq("SMEP, page of the supervisor by its PDPTE", r.vector, STOP);
    *pt_entry(AREA, 3) |= PT_U;
    flush_all();
    /* Bit 4 of the error code: SMEP or NXE. */
    wrmsr(EFER, rdmsr(EFER) & ~(u64)EFER_NXE);
    r = run(fetch, AREA);
    expect_pf("SMEP without NXE", &r, 0x11, (void *)AREA, AREA);
    wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
    write_cr4(read_cr4() & ~(u64)CR4_SMEP);
}

static void smap_explicit(u8 *page)
{
    struct regs r;
    pt_map(AREA, 1, (u64)page | PT_P | PT_W | PT_U);
    peek(AREA);
    write_cr4(read_cr4() | CR4_SMAP);
    r = run(load, AREA);
    expect_pf("SMAP after an access without it", &r, 1, load, AREA);
    r = run_user(load, AREA);
    expect("SMAP is no matter of ring 3", &r, STOP, 0, AT_USER(ENDED(load)));
    r = run(stac_load, AREA);
    expect("STAC", &r, STOP, 0, ENDED(stac_load));
    check("CLAC cleared AC", !(r.flags & FL_AC));
    r = run(clac_load, AREA);
    expect_pf("CLAC", &r, 1, clac_load + 6, AREA);
    r = run(popf_load, AREA);
    expect("AC by POPF", &r, STOP, 0, ENDED(popf_load));
    /* An access that STAC let through must not open the page for those without. */
    r = run(load, AREA);
    expect_pf("SMAP after an access with AC", &r, 1, load, AREA);
    r = run(fetch, AREA);
    check_eq("SMAP is no matter of fetches", r.vector, STOP);
    write_cr0(read_cr0() & ~(u64)CR0_WP);
    r = run(load, AREA);
    expect_pf("SMAP without WP", &r, 1, load, AREA);
    write_cr0(read_cr0() | CR0_WP);
    write_cr4(read_cr4() & ~(u64)CR4_SMAP);
    check("SMAP off", peek(AREA) == *(u32 *)page);
    r = run(do_stac, 0);
    check("STAC without CR4.SMAP", r.vector == STOP && (r.flags & FL_AC));
    r = run_user(do_stac, 0);
    expect("STAC at ring 3", &r, UD, 0, AT_USER(do_stac));
    r = run_user(do_clac, 0);
    expect("CLAC at ring 3", &r, UD, 0, AT_USER(do_clac));
    r = run(do_lock_stac, 0);
    expect("LOCK STAC", &r, UD, 0, do_lock_stac);
}

/* Descriptor tables are read as by the supervisor, whatever CPL and AC are (4.6, implicit
 * supervisor-mode accesses). */
static void implicit(u8 *page)
{
    struct regs r;
    enum { SEL_LDT = SEL_FREE, IN_LDT = 0x0f };
    gdt[SEL_LDT / 8] = 0xfff | (AREA & 0xffffff) << 16 | 0x82ull << 40;
    gdt[SEL_LDT / 8 + 1] = AREA >> 32;
    memset(page, 0, 4096);
    ((u64 *)page)[IN_LDT / 8] = 0x00cff3000000ffff;
    __asm__ volatile("lldt %w0" : : "r"(SEL_LDT));

    pt_map(AREA, 1, (u64)page | PT_P | PT_W);
    r = run_user(load_fs, IN_LDT);
    expect("LDT of the supervisor from ring 3", &r, STOP, 0, AT_USER(ENDED(load_fs)));
    pt_map(AREA, 1, 0);
    r = run_user(load_fs, IN_LDT);
    expect_pf("LDT absent from ring 3", &r, 0, AT_USER(load_fs), AREA + 8);
    if (has(7, 1, 20)) {
        pt_map(AREA, 1, (u64)page | PT_P | PT_W | PT_U);
        r = run_user(load_fs, IN_LDT);
        expect("LDT of the user from ring 3", &r, STOP, 0, AT_USER(ENDED(load_fs)));
        write_cr4(read_cr4() | CR4_SMAP);
        r = run_user(load_fs, IN_LDT);
        expect_pf("LDT of the user from ring 3, SMAP", &r, 1, AT_USER(load_fs), AREA + 8);
        r = user_at(load_fs);
        r.rdi = IN_LDT;
        r.flags |= FL_AC;
        enter(&r);
        expect_pf("the same with AC", &r, 1, AT_USER(load_fs), AREA + 8);
        r = kernel_at(load_fs);
        r.rdi = IN_LDT;
        r.flags |= FL_AC;
        enter(&r);
        expect_pf("LDT of the user from ring 0, SMAP, AC", &r, 1, load_fs, AREA + 8);
        write_cr4(read_cr4() & ~(u64)CR4_SMAP);
    }
    /* The accessed bit is written likewise, through a read-only page as WP says. */
    ((u64 *)page)[IN_LDT / 8] = 0x00cff2000000ffff;
    pt_map(AREA, 1, (u64)page | PT_P);
    r = run_user(load_fs, IN_LDT);
    check("accessed bit of a read-only LDT",
          r.vector == PF && r.error == 3 && r.rip == AS_USER(load_fs) && (r.cr2 & ~7ull) == AREA + 8);
    write_cr0(read_cr0() & ~(u64)CR0_WP);
    r = run_user(load_fs, IN_LDT);
    expect("the same without WP", &r, STOP, 0, AT_USER(ENDED(load_fs)));
    check_eq("accessed bit", ((u64 *)page)[IN_LDT / 8], 0x00cff3000000ffff);
    write_cr0(read_cr0() | CR0_WP);
    __asm__ volatile("lldt %w0\n mov %w0, %%fs" : : "r"(0));
}

/* ---- protection keys (4.6.2, 4.7) ---- */

static void wrpkru(u32 v)
{
    __asm__ volatile(".byte 0x0f, 0x01, 0xef" : : "a"(v), "c"(0), "d"(0) : "memory");
}

static u64 keyed(u64 page, unsigned key, u64 rights)
{
    return page | (u64)key << 59 | rights;
}

/* Each access with each combination of rights of the page's key, of CPL, WP and U/S. */
static void key_matrix(u8 *page)
{
    enum { KEY = 5 };
    for (unsigned i = 0; i < 64; i++) {
        bool ad = i & 1, wd = i & 2, user = i & 4, wp = i & 8, write = i & 16, user_page = i & 32;
        if (user && !user_page)
            continue;
        pt_map(AREA, 1, keyed((u64)page, KEY, PT_P | PT_W | (user_page ? PT_U : 0)));
        write_cr0(wp ? read_cr0() | CR0_WP : read_cr0() & ~(u64)CR0_WP);
        wrpkru((ad ? 1u : 0u) << 2 * KEY | (wd ? 2u : 0u) << 2 * KEY);
        const u8 *code = write ? store : load;
        struct regs r = user ? user_at(code) : kernel_at(code);
        r.rdi = AREA;
        enter(&r);
        wrpkru(0);
        write_cr0(read_cr0() | CR0_WP);
        bool fault = user_page && (ad || (wd && write && (user || wp)));
        const void *start = user ? AT_USER(code) : code;
        if (fault)
            expect_pf("protection key", &r, 0x21 | (write ? 2 : 0) | (user ? 4 : 0), start, AREA);
        else
            check_eq("protection key allows", r.vector, STOP);
    }
}

static void protection_keys(u8 *page)
{
    struct regs r = kernel_at(do_rdpkru);
    if (!has(7, 2, 3)) {
        say("no protection keys: left out\n");
        return;
    }
    enter(&r);
    expect("RDPKRU without CR4.PKE", &r, UD, 0, do_rdpkru);
    check("CPUID without CR4.PKE", !has(7, 2, 4));
    write_cr4(read_cr4() | CR4_PKE);
    check("CPUID with CR4.PKE", has(7, 2, 4));
    r = kernel_at(do_rdpkru);
    r.rcx = 1;
    enter(&r);
    expect("RDPKRU with ECX", &r, GP, 0, do_rdpkru);
    r = kernel_at(do_wrpkru);
    r.rdx = 1;
    enter(&r);
    expect("WRPKRU with EDX", &r, GP, 0, do_wrpkru);
    r = user_at(do_wrpkru);
    r.rax = 0xffffffff12345678;
    r.rdx = 0xffffffff00000000;
    enter(&r);
    expect("WRPKRU at ring 3", &r, STOP, 0, AT_USER(ENDED(do_wrpkru)));
    r = kernel_at(do_rdpkru);
    r.rax = r.rdx = ~0ull;
    enter(&r);
    check("RDPKRU", r.rax == 0x12345678 && r.rdx == 0);
    wrpkru(0);
    key_matrix(page);
    /* Rights change without any invalidation. */
    pt_map(AREA, 1, keyed((u64)page, 15, PT_P | PT_W | PT_U));
    pt_map(AREA + 4096, 1, keyed((u64)page, 1, PT_P | PT_W | PT_U));
    peek(AREA);
    peek(AREA + 4096);
    wrpkru(1u << 30);
    r = run(load, AREA);
    expect_pf("key 15 after an access", &r, 0x21, load, AREA);
    r = run(load, AREA + 4096);
    check_eq("key 1 is not touched", r.vector, STOP);
    /* Fetches are no matter of keys; nor is another violation hidden by them. */
    *(u16 *)page = 0x80cd;
    r = run_user(fetch, AREA);
    check_eq("fetch", r.vector, STOP);
    pt_map(AREA, 1, keyed((u64)page, 15, PT_P | PT_U));
    wrpkru(0);
    r = run_user(store, AREA);
    expect_pf("read-only page, key allows", &r, 7, AT_USER(store), AREA);
    wrpkru(2u << 30);
    r = run_user(store, AREA);
    expect_pf("read-only page, key forbids", &r, 0x27, AT_USER(store), AREA);
    pt_map(AREA, 1, 0);
    r = run_user(store, AREA);
    expect_pf("absent page has no key", &r, 6, AT_USER(store), AREA);
    wrpkru(0);
    write_cr4(read_cr4() & ~(u64)CR4_PKE);
    pt_map(AREA, 1, keyed((u64)page, 15, PT_P | PT_W | PT_U));
    r = run(load, AREA);
    check_eq("bits 62:59 are ignored without CR4.PKE", r.vector, STOP);
}

/* PKRU as XSAVE's component 9 (vol. 1 13.5.7). */
static void pkru_image(void)
{
    static u8 area[4096] __attribute__((aligned(64)));
    u32 r[4];
    if (!has(7, 2, 3) || !has(1, 2, 26))
        return;
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(0xd), "c"(9));
    check_eq("size of PKRU's component", r[0], 8);
    u32 at = r[1];
    write_cr4(read_cr4() | CR4_PKE | 1u << 18);
    __asm__ volatile("xsetbv" : : "a"(0x201), "d"(0), "c"(0));
    wrpkru(0xabcdef0);
    __asm__ volatile("xsave (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    check_eq("XSAVE of PKRU", *(u32 *)(area + at), 0xabcdef0);
    check_eq("XSTATE_BV", *(u64 *)(area + 512), 0x200);
    *(u32 *)(area + at) = 0x1110;
    __asm__ volatile("xrstor (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    struct regs s = kernel_at(do_rdpkru);
    enter(&s);
    check_eq("XRSTOR of PKRU", s.rax, 0x1110);
    *(u64 *)(area + 512) = 0;
    __asm__ volatile("xrstor (%0)" : : "r"(area), "a"(0x200), "d"(0) : "memory");
    s = kernel_at(do_rdpkru);
    enter(&s);
    check_eq("XRSTOR initialises PKRU", s.rax, 0);
    write_cr4(read_cr4() & ~(u64)(CR4_PKE | 1u << 18));
}

/* ---- UMIP (2.5): the five instructions that tell where the system's tables are ---- */

static void umip(u8 *page)
{
    static const struct {
        const char *on, *off, *ring0;
        u8 *code, *end;
    } stores[] = {
        {"UMIP SGDT", "SGDT", "UMIP SGDT at ring 0", do_sgdt, ENDED(do_sgdt)},
        {"UMIP SIDT", "SIDT", "UMIP SIDT at ring 0", do_sidt, ENDED(do_sidt)},
        {"UMIP SLDT", "SLDT", "UMIP SLDT at ring 0", do_sldt, ENDED(do_sldt)},
        {"UMIP STR", "STR", "UMIP STR at ring 0", do_str, ENDED(do_str)},
        {"UMIP SMSW", "SMSW", "UMIP SMSW at ring 0", do_smsw, ENDED(do_smsw)},
    };
    struct regs r;
    if (!has(7, 2, 2)) {
        say("no UMIP: left out\n");
        return;
    }
    pt_map(AREA, 1, (u64)page | PT_P | PT_W | PT_U);
    for (unsigned i = 0; i < ARRAY_SIZE(stores); i++) {
        r = run_user(stores[i].code, AREA);
        expect(stores[i].off, &r, STOP, 0, AT_USER(stores[i].end));
        write_cr4(read_cr4() | CR4_UMIP);
        r = run_user(stores[i].code, AREA);
        expect(stores[i].on, &r, GP, 0, AT_USER(stores[i].code));
        r = run(stores[i].code, AREA);
        expect(stores[i].ring0, &r, STOP, 0, stores[i].end);
        write_cr4(read_cr4() & ~(u64)CR4_UMIP);
    }
    write_cr4(read_cr4() | CR4_UMIP);
    pt_map(AREA, 1, 0);
    r = run_user(sldt_memory, AREA);
    expect("UMIP before the operand", &r, GP, 0, AT_USER(sldt_memory));
    write_cr4(read_cr4() & ~(u64)CR4_UMIP);
}

/* ---- what control registers take (2.5; vol. 2B MOV to and from control registers) ---- */

/* Where CPUID tells of each CR4 bit: leaf, register, bit; leaf 0: on every processor. */
static const struct {
    u8 cr4, reg, bit;
    u32 leaf;
} cr4_bits[] = {
    {0, 3, 1, 1},   {1, 3, 1, 1},   {2, 3, 4, 1},   {3, 3, 2, 1},   {4, 3, 3, 1},  {5, 3, 6, 1},
    {6, 3, 7, 1},   {7, 3, 13, 1},  {8, 0, 0, 0},   {9, 3, 24, 1},  {10, 3, 25, 1}, {11, 2, 2, 7},
    {12, 2, 16, 7}, {13, 2, 5, 1},  {14, 2, 6, 1},  {16, 1, 0, 7},  {17, 2, 17, 1}, {18, 2, 26, 1},
    {20, 1, 7, 7},  {21, 1, 20, 7}, {22, 2, 3, 7},  {23, 2, 7, 7},  {24, 2, 31, 7},
};

static bool cr4_defined(unsigned bit)
{
    for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++)
        if (cr4_bits[i].cr4 == bit)
            return !cr4_bits[i].leaf || has(cr4_bits[i].leaf, cr4_bits[i].reg, cr4_bits[i].bit);
    return false;
}

static void cr4(void)
{
    struct regs r;
    u64 old = read_cr4();
    for (unsigned bit = 0; bit < 64; bit++) {
        /* PAE is on, LA57 cannot change here, and VMXE and SMXE have rules of their own. */
        if (bit == 5 || (bit >= 12 && bit <= 14 && cr4_defined(bit)))
            continue;
        r = run(to_cr4, old | 1ull << bit);
        if (cr4_defined(bit)) {
            expect("CR4 bit that CPUID has", &r, STOP, 0, ENDED(to_cr4));
            check_eq("CR4 holds it", read_cr4(), old | 1ull << bit);
        } else {
            expect("CR4 bit that CPUID has not", &r, GP, 0, to_cr4);
        }
        write_cr4(old);
    }
}

static void control(void)
{
    struct regs r;
    u64 efer = rdmsr(EFER), cr0 = read_cr0();
    if (!under_tcg()) {
        cr4();
        u32 id[4];
        cpuid(0x80000008, id);
        for (unsigned bit = 32; bit < 64; bit++) {
            r = run(to_cr0, cr0 | 1ull << bit);
            expect("CR0 high bits", &r, GP, 0, to_cr0);
            if (bit < (id[0] & 0xff))
                continue;
            r = run(to_cr3, read_cr3() | 1ull << bit);
            expect("CR3 beyond MAXPHYADDR", &r, GP, 0, to_cr3);
        }
        r = run(to_cr0, cr0 & ~(u64)CR0_PG);
        expect("CR0.PG off in 64-bit code", &r, GP, 0, to_cr0);
        /* EFER (2.2.1): reserved bits and LME under paging are #GP, LMA is read-only. */
        static const u8 bad[] = {1, 2, 7, 9, 12, 16, 31};
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
            r = kernel_at(to_efer);
            r.rax = (u32)efer | 1u << bad[i];
            enter(&r);
            expect("EFER reserved bit", &r, GP, 0, to_efer + 5);
        }
        r = kernel_at(to_efer);
        r.rax = (u32)efer & ~EFER_LME;
        enter(&r);
        expect("EFER.LME under paging", &r, GP, 0, to_efer + 5);
    }
    r = run(to_cr0, cr0 | 1u << 6 | 1u << 17 | 1u << 28);
    check("CR0's reserved low bits are ignored", r.vector == STOP && read_cr0() == cr0);
    r = kernel_at(to_efer);
    r.rax = (u32)efer & ~EFER_LMA;
    enter(&r);
    check("EFER.LMA is read-only", r.vector == STOP && rdmsr(EFER) == efer);
    r = run(to_cr8, 16);
    expect("CR8 above 15", &r, GP, 0, to_cr8);
    r = run_user(to_cr8, 0);
    expect("CR8 at ring 3", &r, GP, 0, AT_USER(to_cr8));
    r = run_user(do_invlpg, AREA);
    expect("INVLPG at ring 3", &r, GP, 0, AT_USER(do_invlpg));
    r = run(do_invlpg, 1ull << 63);
    expect("INVLPG, not canonical, does nothing", &r, STOP, 0, ENDED(do_invlpg));
}

/* ---- invalidation ---- */

/* INVLPG and MOV to CR3 serialise (8.3): the next instruction comes from the new page. */
static void own_page(u8 *one, u8 *two)
{
    static const u8 by_invlpg[] = {
        0x48, 0x89, 0x32,             /* mov %rsi, (%rdx) */
        0x0f, 0x01, 0x3f,             /* invlpg (%rdi) */
        0xb8, 0x01, 0x00, 0x00, 0x00, /* mov $1, %eax */
        0xcd, 0x80,                   /* int $0x80 */
    };
    static const u8 by_cr3[] = {
        0x48, 0x89, 0x32,             /* mov %rsi, (%rdx) */
        0x0f, 0x22, 0xd9,             /* mov %rcx, %cr3 */
        0xb8, 0x01, 0x00, 0x00, 0x00, /* mov $1, %eax */
        0xcd, 0x80,                   /* int $0x80 */
    };
    for (unsigned i = 0; i < 2; i++) {
        memcpy(one, i ? by_cr3 : by_invlpg, sizeof by_cr3);
        memcpy(two, one, sizeof by_cr3);
        two[7] = 2;
        pt_map(AREA, 1, (u64)one | PT_P | PT_W);
        struct regs r = kernel_at((void *)AREA);
        r.rdi = AREA;
        r.rsi = (u64)two | PT_P | PT_W;
        r.rdx = (u64)pt_entry(AREA, 1);
        r.rcx = read_cr3();
        enter(&r);
        check_eq(i ? "MOV to CR3 on its own page" : "INVLPG of its own page", r.rax, 2);
    }
}

static struct invpcid_descriptor {
    u64 pcid, address;
} descriptor;

static struct regs invpcid(u64 type, u64 pcid, u64 address)
{
    struct regs r = kernel_at(do_invpcid);
    descriptor = (struct invpcid_descriptor){pcid, address};
    r.rdi = type;
    r.rsi = (u64)&descriptor;
    enter(&r);
    return r;
}

static void invpcid_checks(void)
{
    struct regs r;
    r = invpcid(4, 0, 0);
    expect("INVPCID type 4", &r, GP, 0, do_invpcid);
    r = invpcid(1ull << 32, 0, 0);
    expect("INVPCID type in 64 bits", &r, GP, 0, do_invpcid);
    for (u64 type = 0; type < 4; type++) {
        r = invpcid(type, 0x1000, 0);
        expect("INVPCID reserved bit 12", &r, GP, 0, do_invpcid);
        r = invpcid(type, 1ull << 63, 0);
        expect("INVPCID reserved bit 63", &r, GP, 0, do_invpcid);
        r = invpcid(type, 0, 1ull << 50);
        expect("INVPCID address", &r, type ? STOP : GP, 0,
               type ? ENDED(do_invpcid) : do_invpcid);
        r = invpcid(type, 5, 0);
        expect("INVPCID of a PCID without PCIDE", &r, type < 2 ? GP : STOP, 0,
               type < 2 ? do_invpcid : ENDED(do_invpcid));
    }
    r = user_at(do_invpcid);
    r.rsi = AS_USER(&descriptor);
    enter(&r);
    expect("INVPCID at ring 3", &r, GP, 0, AT_USER(do_invpcid));
    pt_map(AREA, 1, 0);
    r = kernel_at(do_invpcid);
    r.rsi = AREA;
    enter(&r);
    expect_pf("INVPCID, descriptor absent", &r, 0, do_invpcid, AREA);
}

/* 4.10.4.1.  What an invalidation may leave is checked only where it must leave nothing. */
static void invpcid_types(u8 *one, u8 *two)
{
    u64 root = read_cr3(), keep = 1ull << 63;
    u64 *entry = pt_entry(AREA, 1), *second = pt_entry(AREA + 4096, 1);
    u64 to_one = (u64)one | PT_P | PT_W, to_two = (u64)two | PT_P | PT_W;
    *(u32 *)one = 1;
    *(u32 *)two = 2;
    write_cr4(read_cr4() | CR4_PCIDE | CR4_PGE);
    for (u64 type = 0; type < 4; type++) {
        for (u64 global = 0; global < 2; global++) {
            /* Both pages known to PCID 5 and 6, then the tables change. */
            *entry = to_one | (global ? PT_G : 0);
            *second = to_one;
            invpcid(2, 0, 0);
            for (u64 pcid = 5; pcid < 7; pcid++) {
                write_cr3(root | pcid | keep);
                check_eq("before INVPCID", peek(AREA), 1);
                check_eq("before INVPCID", peek(AREA + 4096), 1);
            }
            *entry = to_two | (global ? PT_G : 0);
            *second = to_two;
            invpcid(type, 5, AREA);
            write_cr3(root | 5 | keep);
            if (type == 2 || !global)
                check_eq("INVPCID", peek(AREA), 2);
            if (type)
                check_eq("INVPCID, other page", peek(AREA + 4096), 2);
            write_cr3(root | 6 | keep);
            if (type == 2 || (type == 3 && !global))
                check_eq("INVPCID, other PCID", peek(AREA), 2);
            if (type >= 2)
                check_eq("INVPCID, other PCID, other page", peek(AREA + 4096), 2);
        }
    }
    /* The PCID in use, by address, and one that no CR3 ever named. */
    *entry = to_one;
    invpcid(2, 0, 0);
    write_cr3(root | 5 | keep);
    peek(AREA);
    *entry = to_two;
    invpcid(0, 5, AREA + 0xabc);
    check_eq("INVPCID of the current PCID", peek(AREA), 2);
    struct regs r = invpcid(1, 0xfff, 0);
    expect("INVPCID of an unknown PCID", &r, STOP, 0, ENDED(do_invpcid));
    /* INVLPG reaches global pages of every PCID (4.10.4.1). */
    *entry = to_one | PT_G;
    invpcid(2, 0, 0);
    peek(AREA);
    write_cr3(root | 6 | keep);
    peek(AREA);
    *entry = to_two | PT_G;
    invlpg((void *)AREA);
    check_eq("INVLPG of a global page", peek(AREA), 2);
    write_cr3(root | 5 | keep);
    check_eq("INVLPG of a global page, other PCID", peek(AREA), 2);
    /* Clearing CR4.PCIDE and changing PGE drop everything; PCIDE needs CR3's PCID to be 0 only when
     * it is set. */
    *entry = to_one | PT_G;
    write_cr4(read_cr4() & ~(u64)CR4_PGE);
    check_eq("CR4.PGE off", peek(AREA), 1);
    *entry = to_two;
    write_cr4(read_cr4() & ~(u64)CR4_PCIDE);
    check_eq("CR4.PCIDE off", peek(AREA), 2);
    r = run(to_cr4, read_cr4() | CR4_PCIDE);
    expect("CR4.PCIDE with a PCID in CR3", &r, GP, 0, to_cr4);
    write_cr3(root);
}

/* More PCIDs than any processor has room for: none may ever see another's pages. */
static void many_pcids(u8 *one, u8 *two)
{
    u64 root = read_cr3(), keep = 1ull << 63;
    u64 *other = (u64 *)page_alloc(4096);
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    memcpy(other, (void *)root, 4096);
    other[AREA >> 39 & 511] = 0;
    write_cr4(read_cr4() | CR4_PCIDE);
    write_cr3((u64)other);
    pt_map(AREA, 1, (u64)two | PT_P | PT_W);
    bool good = true;
    for (unsigned i = 0; i < 200; i++) {
        u64 pcid = (i * 37) % 100 + 1;
        write_cr3((pcid & 1 ? (u64)other : root) | pcid | keep);
        good &= peek(AREA) == 1 + (pcid & 1);
    }
    check("a hundred PCIDs", good);
    write_cr3(root);
    write_cr4(read_cr4() & ~(u64)CR4_PCIDE);
}

void test_main(void)
{
    u8 *one = page_alloc(4096), *two = page_alloc(4096);
    pt_map(AREA, 1, 0);
    pt_map(AREA + 4096, 1, 0);
    smep(one);
    if (has(7, 1, 20))
        smap_explicit(one);
    else
        say("no SMAP: left out\n");
    implicit(one);
    umip(one);
    protection_keys(one);
    pkru_image();
    control();
    own_page(one, two);
    if (has(7, 1, 10))
        invpcid_checks();
    else
        say("no INVPCID: left out\n");
    if (has(7, 1, 10) && has(1, 2, 17))
        invpcid_types(one, two);
    if (has(1, 2, 17))
        many_pcids(one, two);
    else
        say("no PCID: left out\n");
}

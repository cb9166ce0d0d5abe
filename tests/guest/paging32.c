/* Paging below long mode: 32-bit with 4 KiB and 4 MiB pages, PAE with 4 KiB and 2 MiB pages and NX.
 *
 * SDM vol. 3A 4.3 and 4.4; rights 4.6, error codes 4.7, A and D bits 4.8.
 */
#include "tests/guest/lib/legacy.h"

#define AREA 0x80000000u /* nothing else is there */
enum { P = 1, W = 2, U = 4, A = 32, D = 64, PS = 128, G = 256 };

CODE(load, "mov (%edi), %eax");
CODE(store, "mov %eax, (%edi)");
CODE(modify, "addl $1, (%edi)");
CODE(fetch, "jmp *%edi");
CODE(store_cross, "mov %eax, -2(%edi)");
CODE(to_cr3, "mov %edi, %cr3");
CODE(to_cr0, "mov %edi, %cr0");
CODE(to_cr4, "mov %edi, %cr4");

static const struct access {
    const char *name;
    u8 *code;
    bool write, fetch;
} accesses[] = {
    {"load", load, false, false}, {"store", store, true, false}, {"modify", modify, true, false},
    {"fetch", fetch, false, true},
};

/* Both formats: entries of 4 or 8 bytes. */
static u8 directory[4 * 4096] __attribute__((aligned(4096)));
static u8 table[4096] __attribute__((aligned(4096)));
static u64 pdpt[4] __attribute__((aligned(32)));
static u8 page[8192] __attribute__((aligned(4096)));
static u8 big_pool[8u << 20] __attribute__((aligned(4u << 20)));
static bool pae;

static u64 get(const u8 *t, unsigned i)
{
    return pae ? ((const u64 *)t)[i] : ((const u32 *)t)[i];
}

static void put(u8 *t, unsigned i, u64 v)
{
    if (pae)
        ((u64 *)t)[i] = v;
    else
        ((u32 *)t)[i] = (u32)v;
}

static unsigned directory_index(u32 va)
{
    return pae ? va >> 21 : va >> 22;
}

static unsigned table_index(u32 va)
{
    return va >> 12 & (pae ? 511 : 1023);
}

/* Identity for the low GiB, for both rings, by large pages; AREA through `table`. */
static void paging_on(bool with_pae)
{
    pae = with_pae;
    write_cr0(read_cr0() & ~CR0_PG);
    memset(directory, 0, sizeof directory);
    memset(table, 0, sizeof table);
    u32 size = pae ? 2u << 20 : 4u << 20;
    for (u32 at = 0; at < 1u << 30; at += size)
        put(directory, at / size, at | PS | P | W | U);
    put(directory, directory_index(AREA), (u32)table | P | W | U);
    for (unsigned i = 0; i < 4; i++)
        pdpt[i] = (u64)(u32)(directory + i * 4096) | P;
    write_cr4(pae ? CR4_PAE : CR4_PSE);
    wrmsr(EFER, pae ? EFER_NXE : 0);
    write_cr3(pae ? (u32)pdpt : (u32)directory);
    write_cr0(read_cr0() | CR0_PG | CR0_WP);
}

static void flush(void)
{
    write_cr3(read_cr3());
}

static u64 nx(void)
{
    return pae ? 1ull << 63 : 0;
}

struct setup {
    u64 leaf, upper;
    bool user, wp, big;
    const struct access *access;
};

static int model(const struct setup *s)
{
    u64 rights = s->leaf & (s->big ? ~0ull : s->upper);
    u64 no_fetch = s->big ? s->leaf : s->leaf | s->upper;
    unsigned error = (s->user ? 4 : 0) | (s->access->write ? 2 : 0) |
                     (s->access->fetch && pae ? 16 : 0);
    if (!(rights & P))
        return (int)error;
    if ((s->user && !(rights & U)) ||
        (s->access->write && !(rights & W) && (s->user || s->wp)) ||
        (s->access->fetch && (no_fetch & nx())))
        return (int)(error | 1);
    return -1;
}

static void try_one(const struct setup *s)
{
    unsigned di = directory_index(AREA), ti = table_index(AREA);
    u8 *target = s->big ? big_pool : page, *leaf_table = s->big ? directory : table;
    unsigned leaf_index = s->big ? di : ti;
    u64 leaf = (u32)target | s->leaf | (s->big ? PS : 0), upper = (u32)table | s->upper;
    if (!s->big)
        put(directory, di, upper);
    put(leaf_table, leaf_index, leaf);
    flush();
    write_cr0(s->wp ? read_cr0() | CR0_WP : read_cr0() & ~CR0_WP);
    *(u32 *)target = 0x80cd;
    struct regs r = s->user ? user_at(s->access->code) : kernel_at(s->access->code);
    r.edi = AREA;
    r.eax = 0x80cd;
    enter(&r);
    write_cr0(read_cr0() | CR0_WP);
    int want = model(s);
    if (want >= 0) {
        expect_pf(s->access->name, &r, (u32)want, s->access->fetch ? (void *)AREA : s->access->code,
                  AREA);
        check("no D after a fault", !(get(leaf_table, leaf_index) & D));
    } else {
        check_eq("no fault", r.vector, STOP);
        check_eq("leaf A D", get(leaf_table, leaf_index), leaf | A | (s->access->write ? D : 0));
        if (!s->big)
            check_eq("upper A", get(directory, di), upper | A);
    }
}

static u64 rights_of(unsigned i)
{
    return (i & 7) | (i & 8 ? nx() : 0);
}

static void matrix(bool big)
{
    struct setup s = {.big = big};
    for (unsigned i = 0; i < 16 * 16 * 4 * ARRAY_SIZE(accesses); i++) {
        s.leaf = rights_of(i & 15);
        s.upper = rights_of(i >> 4 & 15);
        s.user = i >> 8 & 1;
        s.wp = i >> 9 & 1;
        s.access = &accesses[i >> 10];
        if ((big && (i >> 4 & 15)) || (!pae && (i & 0x88)))
            continue;
        try_one(&s);
    }
    put(directory, directory_index(AREA), (u32)table | P | W | U);
    flush();
}

static struct regs run(const void *code, u32 edi)
{
    struct regs r = kernel_at(code);
    r.edi = edi;
    enter(&r);
    return r;
}

/* Offsets within big pages, invalidation, crossing: the same in both formats. */
static void common(void)
{
    u32 size = pae ? 2u << 20 : 4u << 20;
    put(directory, directory_index(AREA), (u32)(big_pool + (4u << 20)) | PS | P | W);
    flush();
    struct regs r;
    for (u32 offset = 0; offset < size; offset += 0x4f00c) {
        *(u32 *)(big_pool + (4u << 20) + offset) = offset ^ 0x5555;
        r = run(load, AREA + offset);
        check_eq("big page", r.eax, offset ^ 0x5555);
    }
    put(directory, directory_index(AREA), (u32)table | P | W | U);
    put(table, table_index(AREA), (u32)page | P | W);
    put(table, table_index(AREA) + 1, (u32)page | P | W);
    flush();
    *(u32 *)page = 1;
    *(u32 *)(page + 4096) = 2;
    check_eq("before INVLPG", *(volatile u32 *)AREA, 1);
    put(table, table_index(AREA), (u32)(page + 4096) | P | W);
    invlpg((void *)AREA);
    check_eq("after INVLPG", *(volatile u32 *)AREA, 2);
    put(table, table_index(AREA) + 1, 0);
    invlpg((void *)(AREA + 4096));
    r = run(store_cross, AREA + 4096);
    expect_pf("store across, second absent", &r, 2, store_cross, AREA + 4096);
    write_cr4(read_cr4() | CR4_PGE);
    put(table, table_index(AREA), (u32)page | P | W | G);
    invlpg((void *)AREA);
    check_eq("global", *(volatile u32 *)AREA, 1);
    put(table, table_index(AREA), (u32)(page + 4096) | P | W | G);
    write_cr4(read_cr4() & ~CR4_PGE);
    check_eq("CR4.PGE changed", *(volatile u32 *)AREA, 2);
    write_cr0(read_cr0() & ~CR0_PG);
    put(table, table_index(AREA), (u32)page | P | W);
    write_cr0(read_cr0() | CR0_PG);
    check_eq("paging off and on", *(volatile u32 *)AREA, 1);
}

static void reserved_pae(void)
{
    unsigned ti = table_index(AREA), di = directory_index(AREA);
    struct regs r;
    put(table, ti, (u32)page | P | W | 1ull << 62);
    flush();
    r = run(load, AREA);
    expect_pf("bit 62 of a PTE", &r, 9, load, AREA);
    put(table, ti, (u32)page | P | W);
    put(directory, di, (u32)big_pool | 1 << 13 | PS | P | W);
    flush();
    r = run(load, AREA);
    expect_pf("bit 13 of a 2 MiB page", &r, 9, load, AREA);
    put(directory, di, (u32)table | P | W | U);
    wrmsr(EFER, 0);
    put(table, ti, (u32)page | P | W | nx());
    flush();
    r = run(load, AREA);
    expect_pf("NX without NXE", &r, 9, load, AREA);
    wrmsr(EFER, EFER_NXE);
    flush();
    r = run(fetch, AREA);
    expect_pf("NX with NXE", &r, 0x11, (void *)AREA, AREA);
    put(table, ti, (u32)page | P | W);
    flush();
    /* PDPTEs are loaded with CR3 (4.4.1): a change in memory shows after that only. */
    pdpt[2] = 0;
    invlpg((void *)AREA);
    r = run(load, AREA);
    expect("PDPTEs are cached", &r, STOP, 0, load_end + 2);
    flush();
    r = run(load, AREA);
    expect_pf("PDPTE gone", &r, 0, load, AREA);
    if (!under_tcg()) {
        u64 good = (u64)(u32)(directory + 2 * 4096) | P;
        pdpt[2] = good | W; /* bit 1 is reserved */
        r = run(to_cr3, (u32)pdpt);
        expect("reserved bit of a PDPTE", &r, GP, 0, to_cr3);
        pdpt[2] = good | 1ull << 45;
        r = run(to_cr3, (u32)pdpt);
        expect("address bit of a PDPTE", &r, GP, 0, to_cr3);
        pdpt[2] = W; /* of one that is not present nothing is looked at */
        r = run(to_cr3, (u32)pdpt);
        expect("reserved bit of an absent PDPTE", &r, STOP, 0, to_cr3_end + 2);
        /* The other loads of 4.4.1: changes of CR4.PGE, PSE, SMEP and CR0.CD; not of CR0.WP. */
        pdpt[2] = good;
        flush();
        pdpt[2] = 0;
        write_cr0(read_cr0() ^ CR0_WP);
        r = run(load, AREA);
        expect("CR0.WP loads no PDPTEs", &r, STOP, 0, load_end + 2);
        write_cr0(read_cr0() ^ CR0_WP);
        pdpt[2] = good | W;
        r = run(to_cr4, read_cr4() ^ CR4_PGE);
        expect("CR4.PGE and a bad PDPTE", &r, GP, 0, to_cr4);
        r = run(to_cr0, read_cr0() ^ 1u << 30);
        expect("CR0.CD and a bad PDPTE", &r, GP, 0, to_cr0);
        pdpt[2] = 0;
        write_cr4(read_cr4() ^ CR4_PGE);
        r = run(load, AREA);
        expect_pf("CR4.PGE loads PDPTEs", &r, 0, load, AREA);
        pdpt[2] = good;
        write_cr0(read_cr0() ^ 1u << 30);
        r = run(load, AREA);
        expect("CR0.CD loads PDPTEs", &r, STOP, 0, load_end + 2);
        write_cr4(read_cr4() & ~CR4_PGE);
        write_cr0(read_cr0() & ~(1u << 30));
    }
    pdpt[2] = (u64)(u32)(directory + 2 * 4096) | P;
    flush();
}

/* PSE-36 (table 4-4): bits 20:13 are address bits as far as MAXPHYADDR goes, bit 21 never. */
static void pse36(void)
{
    u32 id[4];
    unsigned di = directory_index(AREA);
    cpuid(0x80000008, id);
    unsigned bits = id[0] & 0xff, top = bits < 40 ? bits : 40;
    for (unsigned bit = top - 19; bit <= 21; bit++) {
        put(directory, di, (u32)big_pool | 1u << bit | PS | P | W);
        flush();
        struct regs r = run(load, AREA);
        expect_pf("reserved bit of a 4 MiB page", &r, 9, load, AREA);
    }
    put(directory, di, (u32)big_pool | 1u << 12 | PS | P | W); /* PAT */
    flush();
    struct regs r = run(load, AREA);
    expect("PAT bit of a 4 MiB page", &r, STOP, 0, load_end + 2);
    put(directory, di, (u32)table | P | W | U);
    flush();
}

/* Bytes of RAM by fw_cfg. */
static u64 ram_size(void)
{
    enum { FW_CFG = 0x510, RAM_SIZE = 3 };
    u64 size = 0;
    __asm__ volatile("outw %w0, %w1" : : "a"(RAM_SIZE), "Nd"((u16)FW_CFG));
    for (unsigned i = 0; i < 8; i++)
        size |= (u64)inb(FW_CFG + 1) << 8 * i;
    return size;
}

/* A 4 MiB page above 4 GiB (PSE-36: address bit 32 is bit 13 of the entry), against PAE. */
static void pse36_above(void)
{
    const u32 offset = 0x3a5 * 4096u, big = 16u << 22; /* of the page; of its place above 4 GiB */
    const u64 above = 1ull << 32 | big;
    if (ram_size() < 5ull << 30) {
        say("paging32: less than 5 GiB: PSE-36 above 4 GiB left out\n");
        return;
    }
    paging_on(true);
    put(table, table_index(AREA), (above + offset) | P | W);
    flush();
    *(volatile u32 *)AREA = 0x36363636;
    *(volatile u32 *)(AREA + 8) = 0;
    paging_on(false);
    unsigned di = directory_index(AREA);
    u64 entry = big | 1u << 13 | PS | P | W;
    put(directory, di, entry);
    flush();
    struct regs r = run(load, AREA + offset);
    check_eq("4 MiB page above 4 GiB", r.eax, 0x36363636);
    check_eq("its A", get(directory, di), entry | A);
    r = kernel_at(store);
    r.edi = AREA + offset + 8;
    r.eax = 0x13;
    enter(&r);
    check_eq("its D", get(directory, di), entry | A | D);
    paging_on(true);
    put(table, table_index(AREA), (above + offset) | P | W);
    flush();
    check_eq("stored above 4 GiB", *(volatile u32 *)(AREA + 8), 0x13);
}

/* 4 MiB pages without CR4.PSE are page tables (4.3). */
static void no_pse(void)
{
    unsigned di = directory_index(AREA);
    put(directory, di, (u32)table | PS | P | W);
    put(table, table_index(AREA), (u32)(page + 4096) | P | W);
    flush();
    *(u32 *)(page + 4096) = 0x77;
    /* The image itself lives in 4 MiB pages: give it tables first. */
    static u32 low[4][1024] __attribute__((aligned(4096)));
    u32 old[4];
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned k = 0; k < 1024; k++)
            low[i][k] = (i * 1024 + k) << 12 | P | W | U;
        old[i] = (u32)get(directory, i);
        put(directory, i, (u32)low[i] | P | W | U);
    }
    flush();
    write_cr4(read_cr4() & ~CR4_PSE);
    flush();
    struct regs r = run(load, AREA);
    check_eq("PS is ignored without PSE", r.eax, 0x77);
    write_cr4(read_cr4() | CR4_PSE);
    for (unsigned i = 0; i < 4; i++)
        put(directory, i, old[i]);
    put(directory, di, (u32)table | P | W | U);
    flush();
}

void test_main(void)
{
    paging_on(false);
    check_group = "32-bit 4K/";
    matrix(false);
    check_group = "32-bit 4M/";
    matrix(true);
    check_group = "32-bit/";
    common();
    pse36();
    no_pse();
    pse36_above();
    paging_on(true);
    check_group = "PAE 4K/";
    matrix(false);
    check_group = "PAE 2M/";
    matrix(true);
    check_group = "PAE/";
    common();
    reserved_pae();
}

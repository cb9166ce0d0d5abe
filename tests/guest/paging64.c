/* 4-level paging: who may do what, error codes, A and D bits, CR2, the TLB, PCID.
 *
 * SDM vol. 3A chapter 4; the sections are beside the checks.
 */
#include "tests/guest/lib/long.h"

#define AREA 0x8000000000ull /* PML4 entry 1 belongs to this test */
#define NEXT (AREA + 0x1000)
#define ENDED(code) (code##_end + 2)

CODE(load, "mov (%rdi), %eax");
CODE(store, "mov %eax, (%rdi)");
CODE(modify, "addl $1, (%rdi)");
CODE(load8, "mov (%rdi), %rax");
CODE(store8, "mov %rax, (%rdi)");
CODE(fetch, "jmp *%rdi");
CODE(push_it, "push %rax");
CODE(call_it, "call *%rdi");
CODE(jump_memory, "jmp *(%rdi)");
CODE(ret_it, "ret");
CODE(ret_more, "ret $0x18");
CODE(save_image, "fxsave (%rdi)");
CODE(load_image, "fxrstor (%rdi)");
CODE(lock_modify, "lock addl $1, (%rdi)");
CODE(compare, "lock cmpxchg %ecx, (%rdi)");
CODE(bit_set, "bts %eax, (%rdi)");
CODE(load_rsp, "mov (%rsp), %rax");
CODE(load_rbp, "mov (%rbp), %rax");

struct access {
    const char *name;
    u8 *code;
    bool write, fetch;
};

static const struct access accesses[] = {
    {"load", load, false, false}, {"store", store, true, false}, {"modify", modify, true, false},
    {"fetch", fetch, false, true},
};

static u64 phys_bits(void)
{
    u32 r[4];
    cpuid(0x80000008, r);
    return r[0] & 0xff;
}

static bool has(u32 leaf, unsigned reg, unsigned bit)
{
    u32 r[4];
    cpuid(leaf, r);
    return r[reg] >> bit & 1;
}

/* ---- the matrix: leaf rights x upper rights x CPL x WP x access (4.6) ---- */

struct setup {
    u64 leaf, upper; /* rights: P, W, U, NX */
    bool user, wp;
    const struct access *access;
};

/* 4.6.1 and 4.7: the error code, or -1 when the access succeeds. */
static int model(const struct setup *s)
{
    u64 rights = s->leaf & s->upper;
    unsigned error = (s->user ? 4 : 0) | (s->access->write ? 2 : 0) | (s->access->fetch ? 16 : 0);
    if (!(rights & PT_P))
        return (int)error;
    bool nx = (s->leaf | s->upper) & PT_NX;
    if ((s->user && !(rights & PT_U)) ||
        (s->access->write && !(rights & PT_W) && (s->user || s->wp)) || (s->access->fetch && nx))
        return (int)(error | 1);
    return -1;
}

static u64 rights_of(unsigned i)
{
    return (i & 7) | (i & 8 ? PT_NX : 0);
}

static void try_one(const struct setup *s, unsigned level, u8 *target)
{
    u64 *leaf = pt_entry(AREA, level), *upper = pt_entry(AREA, level + 1);
    u64 table = *upper & PT_ADDR;
    u64 leaf_base = (u64)target | s->leaf | (level > 1 ? PT_PS : 0);
    *leaf = leaf_base;
    *upper = table | s->upper;
    flush_all();
    write_cr0(s->wp ? read_cr0() | CR0_WP : read_cr0() & ~(u64)CR0_WP);
    *(u32 *)target = 0x00000080cd; /* int $0x80, then add %al, (%rax) */
    struct regs r = s->user ? user_at(s->access->code) : kernel_at(s->access->code);
    r.rdi = AREA;
    u64 start = r.rip;
    if (s->access->write)
        r.rax = 0x80cd;
    enter(&r);
    write_cr0(read_cr0() | CR0_WP);
    int want = model(s);
    if (want >= 0) {
        expect_pf(s->access->name, &r, (u64)want,
                  (void *)(s->access->fetch ? AREA : start), AREA);
        check("no D after a fault", !(*leaf & PT_D));
    } else {
        check_eq("no fault", r.vector, STOP);
        /* 4.8: A in every entry used, D only in the leaf, only for writes. */
        check_eq("leaf A D", *leaf, leaf_base | PT_A | (s->access->write ? PT_D : 0));
        check_eq("upper A", *upper, table | s->upper | PT_A);
    }
    *upper = table | PT_P | PT_W | PT_U;
}

static void matrix(unsigned level, u8 *target)
{
    struct setup s;
    for (unsigned i = 0; i < 16 * 16 * 4 * ARRAY_SIZE(accesses); i++) {
        s.leaf = rights_of(i & 15);
        s.upper = rights_of(i >> 4 & 15);
        s.user = i >> 8 & 1;
        s.wp = i >> 9 & 1;
        s.access = &accesses[i >> 10];
        try_one(&s, level, target);
    }
}

/* ---- supervisor-mode prevention (4.6.1) ---- */

static struct regs run(const void *code, u64 rdi)
{
    struct regs r = kernel_at(code);
    r.rdi = rdi;
    enter(&r);
    return r;
}

static void prevention(u8 *page)
{
    struct regs r;
    pt_map(AREA, 1, (u64)page | PT_P | PT_W | PT_U);
    *(u16 *)page = 0x80cd;
    if (has(7, 1, 7)) {
        write_cr4(read_cr4() | CR4_SMEP);
        r = run(fetch, AREA);
        expect_pf("SMEP stops a supervisor fetch", &r, 0x11, (void *)AREA, AREA);
        r = run(load, AREA);
        expect("SMEP lets loads pass", &r, STOP, 0, ENDED(load));
        write_cr4(read_cr4() & ~(u64)CR4_SMEP);
        r = run(fetch, AREA);
        check_eq("without SMEP", r.vector, STOP);
    }
    if (has(7, 1, 20)) {
        write_cr4(read_cr4() | CR4_SMAP);
        r = run(load, AREA);
        expect_pf("SMAP stops a supervisor load", &r, 1, load, AREA);
        r = run(store, AREA);
        expect_pf("SMAP stops a supervisor store", &r, 3, store, AREA);
        r = kernel_at(load);
        r.rdi = AREA;
        r.flags |= FL_AC;
        enter(&r);
        expect("SMAP with AC", &r, STOP, 0, ENDED(load));
        write_cr4(read_cr4() & ~(u64)CR4_SMAP);
    }
}

/* ---- reserved bits (4.4.2, 4.7): error has RSVD (bit 3) and P ---- */

static void reserved_at(const char *name, unsigned level, u64 bits, u64 more)
{
    u64 *entry = pt_entry(AREA, level), old = *entry;
    *entry |= bits;
    flush_all();
    struct regs r = run(load, AREA);
    expect_pf(name, &r, 9 | more, load, AREA);
    r = user_at(store);
    r.rdi = AREA;
    enter(&r);
    expect_pf(name, &r, 15 | more, (void *)AS_USER(store), AREA);
    *entry = old;
    flush_all();
}

static void reserved(u8 *page, u8 *big)
{
    u64 top = phys_bits() < 52 ? 1ull << 51 : 0;
    pt_map(AREA, 1, (u64)page | PT_P | PT_W | PT_U);
    if (top) {
        reserved_at("physical address bit in a PTE", 1, top, 0);
        reserved_at("physical address bit in a PDE", 2, top, 0);
        reserved_at("physical address bit in a PDPTE", 3, top, 0);
        reserved_at("physical address bit in a PML4E", 4, top, 0);
    }
    reserved_at("PS in a PML4E", 4, PT_PS, 0);
    wrmsr(EFER, rdmsr(EFER) & ~(u64)EFER_NXE);
    reserved_at("NX in a PTE without NXE", 1, PT_NX, 0);
    reserved_at("NX in a PDPTE without NXE", 3, PT_NX, 0);
    /* Without NXE (and SMEP) a fetch does not set bit 4 of the error code (4.7). */
    pt_map(AREA, 1, 0);
    struct regs r = run(fetch, AREA);
    expect_pf("fetch without NXE", &r, 0, (void *)AREA, AREA);
    wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
    r = run(fetch, AREA);
    expect_pf("fetch with NXE", &r, 0x10, (void *)AREA, AREA);
    /* A 2 MiB page's address bits 20:13 are reserved; bit 12 is PAT. */
    u64 *pde = pt_entry(AREA, 2), old = *pde;
    *pde = (u64)big | PT_PS | PT_P | PT_W | PT_U;
    reserved_at("bit 13 of a 2 MiB page", 2, 1 << 13, 0);
    reserved_at("bit 20 of a 2 MiB page", 2, 1 << 20, 0);
    *pde |= 1 << 12;
    flush_all();
    r = run(load, AREA);
    expect("PAT bit of a 2 MiB page", &r, STOP, 0, ENDED(load));
    *pde = old;
    /* A not-present entry has no reserved bits. */
    pt_map(AREA, 1, (u64)page | top | PT_W | PT_U);
    r = run(load, AREA);
    expect_pf("not present hides reserved bits", &r, 0, load, AREA);
    flush_all();
}

/* ---- big pages ---- */

static void big_pages(u8 *big)
{
    struct regs r;
    u64 *pde = pt_entry(AREA, 2), old = *pde;
    *pde = (u64)big | PT_PS | PT_P | PT_W | PT_U;
    flush_all();
    for (u64 offset = 0; offset < 2u << 20; offset += 0x3f008) {
        *(u32 *)(big + offset) = (u32)offset + 7;
        r = run(load, AREA + offset);
        check_eq("2 MiB page", r.rax, offset + 7);
    }
    *pde = old;
    flush_all();
    if (has(0x80000001, 3, 26)) {
        u64 *pdpte = pt_entry(AREA + (4ull << 30), 3);
        *pdpte = PT_PS | PT_P | PT_W;
        *(u32 *)big = 0x12345678;
        r = run(load, AREA + (4ull << 30) + (u64)big);
        check_eq("1 GiB page", r.rax, 0x12345678);
        check_eq("1 GiB page A", *pdpte, PT_PS | PT_P | PT_W | PT_A);
        r = run(store, AREA + (4ull << 30) + (u64)big);
        check_eq("1 GiB page D", *pdpte, PT_PS | PT_P | PT_W | PT_A | PT_D);
        *pdpte |= 1 << 13;
        flush_all();
        r = run(load, AREA + (4ull << 30));
        expect_pf("bit 13 of a 1 GiB page", &r, 9, load, AREA + (4ull << 30));
        *pdpte = 0;
        flush_all();
    } else {
        reserved_at("PS in a PDPTE without 1 GiB pages", 3, PT_PS, 0);
    }
}

/* ---- invalidation (4.10) ---- */

static u32 peek(u64 va)
{
    return *(volatile u32 *)va;
}

static void invalidation(u8 *one, u8 *two)
{
    *(u32 *)one = 1;
    *(u32 *)two = 2;
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    check_eq("first page", peek(AREA), 1);
    *pt_entry(AREA, 1) = (u64)two | PT_P | PT_W;
    invlpg((void *)(AREA + 0x123)); /* any address in the page (4.10.4.1) */
    check_eq("INVLPG", peek(AREA), 2);
    *pt_entry(AREA, 1) = (u64)one | PT_P | PT_W;
    flush_all();
    check_eq("MOV to CR3", peek(AREA), 1);
    /* Present entries need no invalidation after not-present ones (4.10.4.3). */
    pt_map(AREA, 1, 0);
    struct regs r = run(load, AREA);
    expect_pf("absent", &r, 0, load, AREA);
    *pt_entry(AREA, 1) = (u64)two | PT_P | PT_W;
    check_eq("from absent to present", peek(AREA), 2);

    /* Global pages go with INVLPG and with a change of CR4.PGE (4.10.2.4, 4.10.4.1). */
    write_cr4(read_cr4() | CR4_PGE);
    pt_map(AREA, 1, (u64)one | PT_P | PT_W | PT_G);
    check_eq("global page", peek(AREA), 1);
    *pt_entry(AREA, 1) = (u64)two | PT_P | PT_W | PT_G;
    invlpg((void *)AREA);
    check_eq("INVLPG of a global page", peek(AREA), 2);
    *pt_entry(AREA, 1) = (u64)one | PT_P | PT_W | PT_G;
    write_cr4(read_cr4() & ~(u64)CR4_PGE);
    check_eq("CR4.PGE off", peek(AREA), 1);

    /* D set again after it was cleared and invalidated. */
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    *(volatile u32 *)AREA = 5;
    check("D set", *pt_entry(AREA, 1) & PT_D);
    *pt_entry(AREA, 1) &= ~(u64)(PT_D | PT_A);
    invlpg((void *)AREA);
    peek(AREA);
    check("A alone after a load", (*pt_entry(AREA, 1) & (PT_A | PT_D)) == PT_A);
    *(volatile u32 *)AREA = 6;
    check("D after a store that follows a load", *pt_entry(AREA, 1) & PT_D);

    /* A write-protected page faults after loads filled the TLB. */
    pt_map(AREA, 1, (u64)one | PT_P);
    peek(AREA);
    r = run(store, AREA);
    expect_pf("store after load", &r, 3, store, AREA);
    r = run(modify, AREA);
    expect_pf("modify after load", &r, 3, modify, AREA);

    /* An upper entry changed, one INVLPG: drops the paging-structure caches too (4.10.4.1). */
    u64 *pde = pt_entry(AREA, 2), old = *pde;
    *pde &= ~(u64)PT_W;
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    r = run(store, AREA);
    expect_pf("PDE made read-only", &r, 3, store, AREA);
    *pde = old;
    flush_all();
}

static void dirty_aliases(u8 *page)
{
    pt_map(AREA, 1, (u64)page | PT_P | PT_W);
    pt_map(NEXT, 1, (u64)page | PT_P | PT_W);
    *(volatile u32 *)AREA = 77;
    check_eq("alias", peek(NEXT), 77);
    check("alias D", !(*pt_entry(NEXT, 1) & PT_D) && (*pt_entry(AREA, 1) & PT_D));
}

/* ---- accesses that cross a page ---- */

static void crossing(u8 *one, u8 *two)
{
    struct regs r;
    u64 at = NEXT - 3;
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    pt_map(NEXT, 1, 0);
    /* The last 96 bytes of the image belong to it (vol. 1 table 10-2), though nothing is there. */
    r = run(save_image, NEXT - 416);
    expect_pf("FXSAVE across, unused end absent", &r, 2, save_image, NEXT + 95);
    r = run(load_image, NEXT - 416);
    expect_pf("FXRSTOR across, unused end absent", &r, 0, load_image, NEXT + 95);
    memset(one + 0xff0, 0x11, 16);
    memset(two, 0x22, 16);
    r = run(load8, at);
    expect_pf("load across, second absent", &r, 0, load8, NEXT);
    r = run(store8, at);
    expect_pf("store across, second absent", &r, 2, store8, NEXT);
    check("store across wrote nothing", one[0xffd] == 0x11 && one[0xfff] == 0x11);
    r = run(modify, NEXT - 2);
    expect_pf("modify across, second absent", &r, 2, modify, NEXT);
    r = run(lock_modify, NEXT - 1);
    expect_pf("locked modify across, second absent", &r, 2, lock_modify, NEXT);
    pt_map(AREA, 1, 0);
    r = run(load8, at);
    expect_pf("load across, both absent", &r, 0, load8, at);
    pt_map(NEXT, 1, (u64)two | PT_P);
    r = run(load8, at);
    expect_pf("load across, first absent", &r, 0, load8, at);
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    r = run(store8, at);
    expect_pf("store across, second read-only", &r, 3, store8, NEXT);
    check("store to read-only wrote nothing", one[0xffd] == 0x11 && two[0] == 0x22);
    r = run(load8, at);
    check_eq("load across", r.rax, 0x2222222222111111);
    pt_map(NEXT, 1, (u64)two | PT_P | PT_W);
    r = kernel_at(store8);
    r.rdi = at;
    r.rax = 0x8877665544332211;
    enter(&r);
    check("store across", one[0xffd] == 0x11 && one[0xfff] == 0x33 && two[0] == 0x44 &&
                              two[4] == 0x88 && two[5] == 0x22);
    check("D of both", (*pt_entry(AREA, 1) & PT_D) && (*pt_entry(NEXT, 1) & PT_D));
    r = kernel_at(compare);
    r.rdi = NEXT - 2;
    r.rax = 0x55443322;
    memcpy((void *)(NEXT - 2), &r.rax, 4);
    r.rcx = 0xa1b2c3d4;
    enter(&r);
    check("cmpxchg across", one[0xffe] == 0xd4 && one[0xfff] == 0xc3 && two[0] == 0xb2 &&
                                two[1] == 0xa1 && (r.flags & FL_ZF));
    /* BTS reaches beyond its operand's page. */
    r = kernel_at(bit_set);
    r.rdi = AREA;
    r.rax = 0x1008 * 8 + 3;
    two[8] = 0;
    enter(&r);
    check_eq("bts in the next page", two[8], 8);
    pt_map(NEXT, 1, 0);
    r = kernel_at(bit_set);
    r.rdi = AREA;
    r.rax = 0x1008 * 8 + 3;
    enter(&r);
    expect_pf("bts in an absent page", &r, 2, bit_set, NEXT + 8);
}

/* Instructions that cross into another page. */
static void fetch_crossing(u8 *one, u8 *two)
{
    struct regs r;
    static const u8 mov_stop[] = {0xb8, 1, 2, 3, 4, 0xcd, 0x80}; /* mov $0x04030201, %eax; int */
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    pt_map(NEXT, 1, (u64)two | PT_P | PT_W);
    memcpy(one + 0xffe, mov_stop, 2);
    memcpy(two, mov_stop + 2, 5);
    r = run((void *)(NEXT - 2), 0);
    expect("fetch across", &r, STOP, 0, (void *)(NEXT + 5));
    check_eq("fetch across value", r.rax, 0x04030201);
    pt_map(NEXT, 1, 0);
    r = run((void *)(NEXT - 2), 0);
    expect_pf("fetch across, second absent", &r, 0x10, (void *)(NEXT - 2), NEXT);
    pt_map(NEXT, 1, (u64)two | PT_P | PT_NX);
    r = run((void *)(NEXT - 2), 0);
    expect_pf("fetch across, second NX", &r, 0x11, (void *)(NEXT - 2), NEXT);
    /* Code that runs to the end of a page: the fault is the next instruction's. */
    one[0xfff] = 0x90;
    r = run((void *)(NEXT - 1), 0);
    expect_pf("run into NX", &r, 0x11, (void *)NEXT, NEXT);
    /* A one-byte instruction at the page's end needs nothing of the next. */
    one[0xfff] = 0xcc;
    r = run((void *)(NEXT - 1), 0);
    expect("int3 at the page's end", &r, BP, 0, (void *)NEXT);
    /* The second page remapped. */
    two[0] = 2;
    memcpy(one + 0xffe, mov_stop, 2);
    u8 *three = page_alloc(4096);
    memcpy(three, mov_stop + 2, 5);
    three[0] = 0x99;
    pt_map(NEXT, 1, (u64)two | PT_P);
    r = run((void *)(NEXT - 2), 0);
    check_eq("before the remap", r.rax, 0x04030201);
    pt_map(NEXT, 1, (u64)three | PT_P);
    r = run((void *)(NEXT - 2), 0);
    check_eq("second page remapped", r.rax, 0x04039901);
    pt_map(AREA, 1, (u64)three | PT_P);
    pt_map(NEXT, 1, (u64)two | PT_P);
    memcpy(three + 0xffe, mov_stop, 2);
    three[0xfff] = 0x55;
    r = run((void *)(NEXT - 2), 0);
    check_eq("first page remapped", r.rax, 0x04030255);
}

/* Implicit stack accesses. */
static void stacks(u8 *page)
{
    struct regs r;
    pt_map(AREA, 1, (u64)page | PT_P);
    pt_map(NEXT, 1, 0);
    /* At ring 3, so that the trap has a stack to go to. */
    *pt_entry(AREA, 1) |= PT_U;
    r = user_at(push_it);
    r.rsp = AREA + 0x100;
    enter(&r);
    expect_pf("push to read-only", &r, 7, (void *)AS_USER(push_it), AREA + 0xf8);
    check_eq("push left RSP", r.rsp, AREA + 0x100);
    r = user_at(call_it);
    r.rsp = NEXT + 0x10;
    r.rdi = AREA;
    enter(&r);
    expect_pf("call with an absent stack", &r, 6, (void *)AS_USER(call_it), NEXT + 8);
    check_eq("call left RSP", r.rsp, NEXT + 0x10);
}

/* Not canonical (vol. 1 3.3.7.1): #GP(0), through RSP or RBP #SS(0). */
static void canonical(void)
{
    struct regs r = run(load, 0x800000000000);
    expect("not canonical", &r, GP, 0, load);
    r = run(store, 0xffff7fffffffffff);
    expect("not canonical, high", &r, GP, 0, store);
    r = run(load8, 0x7ffffffffffd);
    check("across the canonical boundary", r.vector == GP || r.vector == PF);
    r = kernel_at(load_rbp);
    r.rbp = 0x8000000000000000;
    enter(&r);
    expect("not canonical, RBP", &r, SS, 0, load_rbp);
    r = user_at(load_rsp);
    r.rsp = 0x1000000000000000;
    enter(&r);
    expect("not canonical, RSP", &r, SS, 0, (void *)AS_USER(load_rsp));
    r = user_at(push_it);
    r.rsp = 0x1000000000000000;
    enter(&r);
    expect("push, not canonical", &r, SS, 0, (void *)AS_USER(push_it));
}

/* A branch to what is not canonical is #GP(0) itself, and has done nothing (vol. 2 JMP, CALL, RET). */
static void branches(void)
{
    static u64 stack[8];
    static const struct { const char *name; u8 *code; } rows[] = {
        {"JMP", fetch}, {"JMP through memory", jump_memory}, {"CALL", call_it}, {"RET", ret_it},
        {"RET n", ret_more},
    };
    static const u64 targets[] = {0x800000000000, 0x8000000000000000, 0xffff7fffffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        for (unsigned k = 0; k < ARRAY_SIZE(targets); k++) {
            struct regs r = user_at(rows[i].code);
            stack[4] = targets[k];
            r.rsp = AS_USER(&stack[4]);
            r.rdi = rows[i].code == jump_memory ? AS_USER(&stack[4]) : targets[k];
            enter(&r);
            expect(rows[i].name, &r, GP, 0, (void *)AS_USER(rows[i].code));
            check_eq("a branch that is not canonical leaves RSP", r.rsp, AS_USER(&stack[4]));
        }
    }
}

/* Direct ones at the end of the lower half. */
static void last_page(u8 *page)
{
    static const struct { const char *name; u8 code[6]; u64 flags; bool faults; } rows[] = {
        {"JMP off the lower half", {0xeb, 0x10}, 0, true},
        {"CALL off the lower half", {0xe8, 0x10}, 0, true},
        {"JZ off the lower half", {0x74, 0x10}, FL_ZF, true},
        {"JZ, not taken", {0x74, 0x10, 0xcc}, 0, false},
        {"LOOP off the lower half", {0xe2, 0x10}, 0, true},
    };
    u8 *code = (u8 *)0x7ffffffffff0;
    pt_map((u64)code & ~0xfffull, 1, (u64)page | PT_P | PT_W);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        memcpy(page + 0xff0, rows[i].code, sizeof rows[i].code);
        struct regs r = kernel_at(code);
        r.flags |= rows[i].flags;
        r.rcx = 5;
        u64 rsp = r.rsp;
        enter(&r);
        expect(rows[i].name, &r, rows[i].faults ? GP : BP, 0, code + (rows[i].faults ? 0 : 3));
        check_eq("RCX and RSP stay", r.rcx + r.rsp, 5 + rsp);
    }
}

/* ---- PCID (4.10.1) ---- */

CODE(to_cr3, "mov %rdi, %cr3");
CODE(to_cr4, "mov %rdi, %cr4");
CODE(to_cr0, "mov %rdi, %cr0");

static void pcid(u8 *one, u8 *two)
{
    struct regs r;
    u64 root = read_cr3();
    if (!has(1, 2, 17)) {
        r = run(to_cr4, read_cr4() | CR4_PCIDE);
        expect("CR4.PCIDE where there is none", &r, GP, 0, to_cr4);
        say("no PCID: left out\n");
        return;
    }
    write_cr3(root | PT_PCD);
    r = run(to_cr4, read_cr4() | CR4_PCIDE);
    expect("CR4.PCIDE with CR3[11:0] not 0", &r, GP, 0, to_cr4);
    write_cr3(root);
    write_cr4(read_cr4() | CR4_PCIDE);
    *(u32 *)one = 1;
    *(u32 *)two = 2;
    u64 *other = (u64 *)page_alloc(4096);
    memcpy(other, (void *)root, 4096);
    other[1] = 0;
    pt_map(AREA, 1, (u64)one | PT_P | PT_W);
    write_cr3((u64)other | 2);
    pt_map(AREA, 1, (u64)two | PT_P | PT_W);
    check_eq("PCID 2", peek(AREA), 2);
    write_cr3(root | 1);
    check_eq("PCID 1", peek(AREA), 1);
    write_cr3((u64)other | 2 | 1ull << 63);
    check_eq("PCID 2 again, kept", peek(AREA), 2);
    check_eq("CR3 bit 63 reads as 0", read_cr3(), (u64)other | 2);
    write_cr3(root | 1 | 1ull << 63);
    check_eq("PCID 1 again, kept", peek(AREA), 1);
    /* Changed while away; loading CR3 with bit 63 clear flushes that PCID. */
    pt_map(AREA, 1, (u64)two | PT_P | PT_W);
    write_cr3((u64)other | 2 | 1ull << 63);
    *(u64 *)(*(u64 *)((*(u64 *)((other[1] & PT_ADDR)) & PT_ADDR)) & PT_ADDR) =
        (u64)one | PT_P | PT_W;
    write_cr3((u64)other | 2);
    check_eq("PCID 2 flushed", peek(AREA), 1);
    write_cr3(root | 1 | 1ull << 63);
    check_eq("PCID 1 invalidated by INVLPG before", peek(AREA), 2);
    r = run(to_cr0, read_cr0() & ~(u64)CR0_PG);
    expect("CR0.PG off with PCIDE", &r, GP, 0, to_cr0);
    write_cr3(root);
    write_cr4(read_cr4() & ~(u64)CR4_PCIDE);
    check_eq("PCIDE off", peek(AREA), 2);
}

/* ---- control registers in long mode (vol. 3A 2.5) ---- */

static void control(void)
{
    struct regs r;
    if (!under_tcg()) { /* which obeys, and is lost */
        r = run(to_cr4, read_cr4() & ~(u64)CR4_PAE);
        expect("CR4.PAE off in long mode", &r, GP, 0, to_cr4);
        r = run(to_cr4, read_cr4() | 1ull << 40);
        expect("CR4 high bit", &r, GP, 0, to_cr4);
        r = run(to_cr0, read_cr0() & ~(u64)CR0_PE);
        expect("CR0.PG without PE", &r, GP, 0, to_cr0);
        r = run(to_cr0, read_cr0() | 1ull << 32);
        expect("CR0 high bit", &r, GP, 0, to_cr0);
        r = run(to_cr0, (read_cr0() | 1u << 29) & ~(u64)(1u << 30));
        expect("CR0.NW without CD", &r, GP, 0, to_cr0);
        if (phys_bits() < 52) {
            r = run(to_cr3, read_cr3() | 1ull << 51);
            expect("CR3 beyond MAXPHYADDR", &r, GP, 0, to_cr3);
        }
    }
    r = user_at(to_cr3);
    enter(&r);
    expect("MOV to CR3 at ring 3", &r, GP, 0, (void *)AS_USER(to_cr3));
}

void test_main(void)
{
    u8 *one = page_alloc(4096), *two = page_alloc(4096), *big = page_alloc(2u << 20);
    check_group = "4K/";
    pt_map(AREA, 1, 0);
    matrix(1, one);
    check_group = "2M/";
    u64 table = *pt_entry(AREA, 2);
    matrix(2, big);
    *pt_entry(AREA, 2) = table;
    flush_all();
    check_group = "";
    prevention(one);
    reserved(one, big);
    big_pages(big);
    invalidation(one, two);
    dirty_aliases(one);
    crossing(one, two);
    fetch_crossing(one, two);
    stacks(one);
    canonical();
    branches();
    last_page(one);
    pcid(one, two);
    control();
}

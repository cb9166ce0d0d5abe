/* Direct jumps and calls to another page go where the page tables say now, however often they have
 * gone elsewhere before: after INVLPG, loads of CR3 with and without PCIDs, changes of rights, of
 * CR4.PGE and of the code, and with a breakpoint there.
 *
 * SDM vol. 3A 4.10; the ways to change a mapping are the rows of `ways`.
 */
#include "tests/guest/lib/long.h"

#define AREA 0x8000000000ull /* PML4 entry 1 belongs to this test; who jumps is here... */
#define NEXT (AREA + 0x5000) /* ...and where to is here */
#define TIMES 4              /* enough for a translator to make what it can of a jump */

enum { CALL_AT = 0x10, JUMP_AT = 0x40, BRANCH_AT = 0x80, EDGE_AT = 0xffd };

static bool has(u32 leaf, unsigned reg, unsigned bit)
{
    u32 r[4];
    cpuid(leaf, r);
    return r[reg] >> bit & 1;
}

static void put_branch(u8 *page, unsigned at, const char *opcode, unsigned len, unsigned to)
{
    u32 rel = (u32)(NEXT + to - (AREA + at + len + 4));
    memcpy(page + at, opcode, len);
    memcpy(page + at + len, &rel, 4);
    memcpy(page + at + len + 4, "\xcd\x80", 2);
}

/* mov $value, %eax, and back or the end */
static void put_target(u8 *page, unsigned at, u32 value, bool ret)
{
    page[at] = 0xb8;
    memcpy(page + at + 1, &value, 4);
    memcpy(page + at + 5, ret ? "\xc3" : "\xcd\x80", ret ? 1 : 2);
}

static void put_caller(u8 *page)
{
    put_branch(page, CALL_AT, "\xe8", 1, CALL_AT);
    put_branch(page, JUMP_AT, "\xe9", 1, JUMP_AT);
    put_branch(page, BRANCH_AT, "\x0f\x83", 2, BRANCH_AT); /* jnc */
    put_branch(page, 0x100, "\xe9", 1, EDGE_AT);
}

/* Targets that say `value`, the last of which goes on into a page that is the same for all. */
static void put_targets(u8 *page, u32 value)
{
    put_target(page, CALL_AT, value, true);
    put_target(page, JUMP_AT, value, false);
    put_target(page, BRANCH_AT, value, false);
    page[EDGE_AT] = 0xb8;
    page[EDGE_AT + 1] = (u8)value;
    page[EDGE_AT + 2] = 0;
}

static const struct { const char *name; unsigned at, to; } branches[] = {
    {"call", CALL_AT, CALL_AT}, {"jump", JUMP_AT, JUMP_AT}, {"branch", BRANCH_AT, BRANCH_AT},
    {"jump to an instruction on two pages", 0x100, EDGE_AT},
};

static struct regs go(unsigned b, bool user)
{
    struct regs r = user ? user_at((void *)0) : kernel_at((void *)0);
    r.rip = AREA + branches[b].at;
    r.flags &= ~(u64)FL_CF;
    enter(&r);
    return r;
}

/* All branches end at targets that say `value`. */
static void all_say(u32 value, bool user)
{
    for (unsigned b = 0; b < ARRAY_SIZE(branches); b++) {
        for (unsigned i = 0; i < TIMES; i++) {
            struct regs r = go(b, user);
            if (!check_quiet(branches[b].name, r.vector == STOP && r.rax == value))
                say(" vector %lx, got %lx, wanted %x\n", r.vector, r.rax, value);
        }
    }
}

/* All fetch faults, with that error code. */
static void all_fault(u32 error, bool user)
{
    for (unsigned b = 0; b < ARRAY_SIZE(branches); b++) {
        struct regs r = go(b, user);
        expect_pf(branches[b].name, &r, error, (void *)(NEXT + branches[b].to),
                  NEXT + branches[b].to);
    }
}

static void by_invlpg(u64 entry)
{
    *pt_entry(NEXT, 1) = entry;
    invlpg((void *)(NEXT + 0x123));
}

static void by_cr3(u64 entry)
{
    *pt_entry(NEXT, 1) = entry;
    flush_all();
}

static void by_pge(u64 entry)
{
    *pt_entry(NEXT, 1) = entry;
    write_cr4(read_cr4() ^ CR4_PGE);
    write_cr4(read_cr4() ^ CR4_PGE);
}

/* What was not present needs no invalidation (4.10.4.3). */
static void by_absence(u64 entry)
{
    pt_map(NEXT, 1, 0);
    all_fault(0x10, false);
    *pt_entry(NEXT, 1) = entry;
}

static const struct { const char *name; void (*map)(u64 entry); u64 rights; } ways[] = {
    {"INVLPG/", by_invlpg, 0},         {"INVLPG, global/", by_invlpg, PT_G},
    {"CR3/", by_cr3, 0},               {"CR4.PGE/", by_pge, 0},
    {"CR4.PGE, global/", by_pge, PT_G}, {"absence/", by_absence, 0},
    {"absence, global/", by_absence, PT_G},
};

/* callers: the second is on a global page. */
static void remaps(u8 *const callers[2], const u8 *one, const u8 *two)
{
    u64 rights = PT_P | PT_W;
    for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
        check_group = ways[way].name;
        pt_map(NEXT, 1, 0); /* a global page would stay */
        for (unsigned g = 0; g < 2; g++) {
            pt_map(AREA, 1, (u64)callers[g] | rights | (g ? PT_G : 0));
            for (unsigned i = 0; i < 3; i++) {
                ways[way].map((u64)one | rights | ways[way].rights);
                all_say(1, false);
                ways[way].map((u64)two | rights | ways[way].rights);
                all_say(2, false);
            }
        }
    }
    check_group = "";
}

static void rights(const u8 *one)
{
    check_group = "rights/";
    *pt_entry(AREA, 1) |= PT_U;
    invlpg((void *)AREA);
    pt_map(NEXT, 1, (u64)one | PT_P | PT_U);
    pt_map(NEXT + 0x1000, 1, *pt_entry(NEXT + 0x1000, 1) | PT_U);
    all_say(1, true);
    pt_map(NEXT, 1, (u64)one | PT_P);
    all_fault(0x15, true);
    all_say(1, false);
    pt_map(NEXT, 1, (u64)one | PT_P | PT_U);
    all_say(1, true);
    pt_map(NEXT, 1, (u64)one | PT_P | PT_U | PT_NX);
    all_fault(0x15, true);
    all_fault(0x11, false);
    pt_map(NEXT, 1, (u64)one | PT_P | PT_U);
    all_say(1, false);
    if (has(7, 1, 7)) {
        pt_map(AREA, 1, *pt_entry(AREA, 1) & ~(u64)PT_U);
        all_say(1, false);
        write_cr4(read_cr4() | CR4_SMEP);
        all_fault(0x11, false);
        write_cr4(read_cr4() & ~(u64)CR4_SMEP);
        all_say(1, false);
    }
    check_group = "";
}

/* Two address spaces that have different targets, in turns. */
static void spaces(u8 *one, u8 *two, bool pcids, u64 keep)
{
    u64 root = read_cr3(), *other = (u64 *)page_alloc(4096);
    check_group = keep ? "PCIDs, kept/" : pcids ? "PCIDs/" : "spaces/";
    pt_map(NEXT, 1, (u64)one | PT_P);
    u64 caller = *pt_entry(AREA, 1), behind = *pt_entry(NEXT + 0x1000, 1);
    memcpy(other, (void *)root, 4096);
    other[1] = 0;
    u64 spaces[2] = {root | (pcids ? 1 : 0), (u64)other | (pcids ? 2 : 0)};
    if (pcids)
        write_cr4(read_cr4() | CR4_PCIDE);
    write_cr3(spaces[1]);
    pt_map(AREA, 1, caller);
    pt_map(NEXT, 1, (u64)two | PT_P);
    pt_map(NEXT + 0x1000, 1, behind);
    for (unsigned i = 0; i < 8; i++) {
        write_cr3(spaces[i & 1] | keep);
        all_say(1 + (i & 1), false);
    }
    /* INVLPG concerns the current space, and a load of CR3 that keeps nothing. */
    pt_map(NEXT, 1, (u64)one | PT_P);
    all_say(1, false);
    write_cr3(spaces[0]);
    *pt_entry(NEXT, 1) = (u64)two | PT_P;
    write_cr3(spaces[0]);
    all_say(2, false);
    write_cr3(root);
    write_cr4(read_cr4() & ~(u64)CR4_PCIDE);
    check_group = "";
}

/* The code itself, and a breakpoint on it. */
static void targets(u8 *one)
{
    check_group = "targets/";
    pt_map(NEXT, 1, (u64)one | PT_P | PT_W);
    all_say(1, false);
    put_targets(one, 3);
    all_say(3, false);
    put_targets(one, 1);
    all_say(1, false);
    for (unsigned b = 0; b < ARRAY_SIZE(branches); b++) {
        u64 at = NEXT + branches[b].to;
        __asm__ volatile("mov %0, %%dr0\n mov %1, %%dr7" : : "r"(at), "r"(0x402ull));
        struct regs r = go(b, false);
        expect("breakpoint", &r, DB, 0, (void *)at);
        __asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull));
        all_say(1, false);
    }
    check_group = "";
}

void test_main(void)
{
    u8 *callers[2] = {page_alloc(4096), page_alloc(4096)};
    u8 *one = page_alloc(4096), *two = page_alloc(4096), *behind = page_alloc(4096);
    write_cr4(read_cr4() | CR4_PGE);
    put_caller(callers[0]);
    put_caller(callers[1]);
    put_targets(one, 1);
    put_targets(two, 2);
    memcpy(behind, "\0\0\xcd\x80", 4); /* the end of `mov $value, %eax` */
    pt_map(NEXT + 0x1000, 1, (u64)behind | PT_P | PT_W);
    remaps(callers, one, two);
    pt_map(AREA, 1, (u64)callers[0] | PT_P | PT_W);
    rights(one);
    spaces(one, two, false, 0);
    if (has(1, 2, 17)) {
        spaces(one, two, true, 0);
        spaces(one, two, true, 1ull << 63);
    }
    targets(one);
}

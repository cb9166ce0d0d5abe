/* Code that is written while it may run: no flush is needed on x86 as long as a branch comes
 * between (SDM vol. 3A 11.6, vol. 1 for self-modifying code), and processors in fact notice stores
 * to the instructions that follow directly.
 */
#include "tests/guest/lib/long.h"

#define AREA 0x8000000000ull
#define OTHER (AREA + 0x100000)

static u8 *page, *page2; /* at AREA and AREA + 4096, and again, writable, at OTHER */

typedef u64 function(u64 a, u64 b);

/* mov $value, %eax; ret */
static void put_mov(u8 *at, u32 value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    at[5] = 0xc3;
}

static u64 call(u64 at, u64 a, u64 b)
{
    return ((function *)at)(a, b);
}

static void patch_and_call(void)
{
    for (u32 i = 0; i < 200; i++) {
        put_mov(page, i);
        check_eq("patched, then called", call(AREA, 0, 0), i);
    }
    /* Through another mapping. */
    u8 *alias = (u8 *)OTHER;
    for (u32 i = 0; i < 200; i++) {
        *(volatile u32 *)(alias + 1) = i * 3;
        check_eq("patched through an alias", call(AREA, 0, 0), i * 3);
    }
    /* One byte, by a byte store; then by OR to memory; then by XCHG and CMPXCHG. */
    put_mov(page, 0);
    call(AREA, 0, 0);
    *(volatile u8 *)(AREA + 2) = 7;
    check_eq("one byte", call(AREA, 0, 0), 0x700);
    __asm__ volatile("orb $0x80, %0" : "+m"(*(u8 *)(AREA + 4)));
    check_eq("OR", call(AREA, 0, 0), 0x80000700);
    u32 v = 5;
    __asm__ volatile("xchg %0, %1" : "+r"(v), "+m"(*(u32 *)(AREA + 1)));
    check_eq("XCHG", call(AREA, 0, 0), 5);
    v = 6;
    __asm__ volatile("lock cmpxchg %1, %0" : "+m"(*(u32 *)(AREA + 1)) : "r"(v), "a"(5) : "cc");
    check_eq("CMPXCHG", call(AREA, 0, 0), 6);
    __asm__ volatile("lock xadd %0, %1" : "+r"(v), "+m"(*(u32 *)(AREA + 1)));
    check_eq("XADD", call(AREA, 0, 0), 12);
    __asm__ volatile("pushq $0x11\n popq %0" : "=m"(*(u64 *)(AREA + 0x40)));
    put_mov(page + 0x40, 1);
    call(AREA + 0x40, 0, 0);
    u64 image = 0x00c3000000aab8ull; /* mov $0xaa, %eax; ret */
    __asm__ volatile("push %1\n popq %0" : "=m"(*(u64 *)(AREA + 0x40)) : "r"(image));
    check_eq("POP to memory", call(AREA + 0x40, 0, 0), 0xaa);
    __asm__ volatile("movq %0, %%xmm0\n movdqu %%xmm0, (%1)"
                     : : "r"(image ^ 0x100), "r"(AREA + 0x40) : "memory");
    check_eq("vector store", call(AREA + 0x40, 0, 0), 0xab);
}

static void strings(void)
{
    put_mov(page, 1);
    call(AREA, 0, 0);
    memset((void *)AREA, 0x90, 64); /* rep stosb over code */
    put_mov(page + 64, 0x22);
    check_eq("REP STOS over code", call(AREA, 0, 0), 0x22);
    u8 image[8];
    put_mov(image, 0x1234);
    memcpy((void *)(AREA + 2), image, 6);
    check_eq("REP MOVS over code", call(AREA, 0, 0), 0x1234);
    put_mov(image, 0x5678);
    memcpy((void *)(OTHER + 2), image, 6);
    check_eq("REP MOVS over code, alias", call(AREA, 0, 0), 0x5678);
    /* A long copy that replaces two pages of code. */
    static u8 copy[8192];
    memset(copy, 0x90, sizeof copy);
    put_mov(copy + 4095, 0x77);
    memcpy((void *)AREA, copy, sizeof copy);
    check_eq("REP MOVS over two pages", call(AREA + 4000, 0, 0), 0x77);
    put_mov(copy + 4095, 0x78);
    memcpy((void *)AREA, copy, sizeof copy);
    check_eq("REP MOVS over two pages again", call(AREA + 4000, 0, 0), 0x78);
}

/* The store is in the block that it changes. */
static const u8 next_one[] = {
    0xc6, 0x07, 0x02,             /*  0: movb $2, (%rdi)   rdi = 4 */
    0xb8, 0x01, 0x00, 0x00, 0x00, /*  3: mov $1, %eax */
    0xc3,
};
static const u8 further[] = {
    0x31, 0xc0,                   /*  0: xor %eax, %eax */
    0x40, 0x88, 0x37,             /*  2: mov %sil, (%rdi)  rdi = 11 */
    0x90, 0x90, 0x90, 0x90, 0x90, /*  5 */
    0x04, 0x01,                   /* 10: add $1, %al */
    0x04, 0x10,                   /* 12: add $16, %al */
    0xc3,
};
/* Each turn adds the immediate that the turn before wrote: 1 + 2 + ... */
static const u8 loop[] = {
    0x31, 0xc0,                         /*  0: xor %eax, %eax */
    0xb9, 0x0a, 0x00, 0x00, 0x00,       /*  2: mov $10, %ecx */
    0x05, 0x01, 0x00, 0x00, 0x00,       /*  7: add $1, %eax */
    0xff, 0x07,                         /* 12: incl (%rdi)    rdi = 8 */
    0xff, 0xc9,                         /* 14: dec %ecx */
    0x75, 0xf5,                         /* 16: jne 7 */
    0xc3,
};

static void same_block(void)
{
    for (u32 i = 0; i < 3; i++) {
        memcpy(page, next_one, sizeof next_one);
        check_eq("the next instruction", call(AREA, AREA + 4, 0), 2);
        memcpy(page, next_one, sizeof next_one);
        check_eq("the next instruction, alias", call(AREA, OTHER + 4, 0), 2);
        memcpy(page, further, sizeof further);
        check_eq("further on in the block", call(AREA, AREA + 11, 5 + i), 21 + i);
        memcpy(page, loop, sizeof loop);
        check_eq("a loop that changes itself", call(AREA, AREA + 8, 0), 55);
    }
    /* In the second of two pages, changed from the first. */
    u8 *at = page + 4096 - 5;
    memcpy(at, further, 5);
    memcpy(page2, further + 5, sizeof further - 5);
    check_eq("across a page", call(AREA + 4096 - 5, AREA + 4096 + 6, 9), 25);
}

/* Data and code in one granule: stores beside code leave it right, and it is still right after
 * thousands of them. */
static void neighbours(void)
{
    put_mov(page + 0x100, 0x33);
    volatile u32 *data = (volatile u32 *)(AREA + 0x108);
    for (u32 i = 0; i < 5000; i++) {
        data[0] = i;
        data[1] += i;
        if (call(AREA + 0x100, 0, 0) != 0x33 || data[0] != i) {
            check("data beside code", false);
            return;
        }
    }
    check("data beside code", true);
    put_mov(page + 0x100, 0x34);
    check_eq("code beside data, patched after all", call(AREA + 0x100, 0, 0), 0x34);
}

/* Rewritten again and again, as JITs and trampolines do. */
static void churn(void)
{
    u64 sum = 0, want = 0;
    for (u32 i = 0; i < 20000; i++) {
        u32 slot = i * 7 % 64;
        put_mov((u8 *)AREA + slot * 16, i);
        sum += call(AREA + slot * 16, 0, 0);
        want += i;
    }
    check_eq("churn", sum, want);
}

/* A caller whose callee changes: the call is a direct branch that engines link. */
static void linked(void)
{
    u8 *p = page;
    /* 0: call 0x20; add $1, %eax; ret;  0x20: mov; ret */
    static const u8 caller[] = {0xe8, 0x1b, 0, 0, 0, 0x83, 0xc0, 0x01, 0xc3};
    memcpy(p, caller, sizeof caller);
    for (u32 i = 0; i < 100; i++) {
        put_mov(p + 0x20, i);
        check_eq("callee changed", call(AREA, 0, 0), i + 1);
    }
    /* The direct branch's displacement changes. */
    put_mov(p + 0x40, 1000);
    p[1] = 0x3b;
    check_eq("call redirected", call(AREA, 0, 0), 1001);
    p[1] = 0x1b;
    check_eq("call redirected back", call(AREA, 0, 0), 100);
    /* The flags that the callee leaves are needed after a change of the successor. */
    static const u8 flags1[] = {0x01, 0xf7, 0xeb, 0x00,       /* add %esi, %edi; jmp . + 2 */
                                0xb8, 0, 0, 0, 0, 0x31, 0xc9, /* mov $0, %eax; xor %ecx, %ecx */
                                0xc3};
    static const u8 flags2[] = {0x0f, 0x92, 0xc0, 0x0f, 0xb6, 0xc0, 0x90, 0xc3};
    memcpy(p, flags1, sizeof flags1); /* nobody needs the flags of ADD... */
    for (u32 i = 0; i < 50; i++)
        call(AREA, ~0u, 1);
    memcpy(p + 4, flags2, sizeof flags2); /* ...now SETC does */
    check_eq("flags become needed", call(AREA, ~0u, 1), 1);
    check_eq("flags become needed, clear", call(AREA, 1, 1), 0);
}

/* The mapping changes instead of the bytes. */
static void remap(void)
{
    u8 *a = page_alloc(4096), *b = page_alloc(4096);
    u64 va = AREA + 0x200000;
    put_mov(a, 1);
    put_mov(b, 2);
    for (unsigned i = 0; i < 20; i++) {
        pt_map(va, 1, (u64)(i & 1 ? b : a) | PT_P | PT_W);
        check_eq("page remapped", call(va, 0, 0), 1 + (i & 1));
    }
    /* The same code at two addresses: position matters for RIP-relative code. */
    static const u8 lea[] = {0x48, 0x8d, 0x05, 0, 0, 0, 0, 0xc3}; /* lea (%rip), %rax */
    memcpy(a, lea, sizeof lea);
    pt_map(va, 1, (u64)a | PT_P | PT_W);
    pt_map(va + 0x1000, 1, (u64)a | PT_P | PT_W);
    for (unsigned i = 0; i < 3; i++) {
        check_eq("two addresses, first", call(va, 0, 0), va + 7);
        check_eq("two addresses, second", call(va + 0x1000, 0, 0), va + 0x1007);
    }
}

/* A fault in a store to code must leave the code as it was; a store that splits pages must hit the
 * code in both. */
static void splits(void)
{
    /* page ends in the last three bytes of an immediate. */
    put_mov(page + 4096 - 3, 0x44332211);
    memcpy(page + 4096 - 3, "\xb8\x11\x22", 3);
    memcpy(page2, "\x33\x44\xc3", 3);
    check_eq("code across pages", call(AREA + 4093, 0, 0), 0x44332211);
    *(volatile u32 *)(AREA + 4094) = 0xddccbbaa;
    check_eq("one store to both pages", call(AREA + 4093, 0, 0), 0xddccbbaa);
    *(volatile u8 *)(OTHER + 4096) = 0x99;
    check_eq("second page, alias", call(AREA + 4093, 0, 0), 0xdd99bbaa);
    *(volatile u8 *)(OTHER + 4095) = 0x88;
    check_eq("first page, alias", call(AREA + 4093, 0, 0), 0xdd9988aa);
    /* One page remapped. */
    u8 *third = page_alloc(4096);
    memcpy(third, "\x01\x02\xc3", 3);
    pt_map(AREA + 4096, 1, (u64)third | PT_P | PT_W | PT_U);
    check_eq("second page remapped", call(AREA + 4093, 0, 0), 0x020188aa);
    third[0] = 0x55;
    check_eq("remapped page written", call(AREA + 4093, 0, 0), 0x025588aa);
    pt_map(AREA + 4096, 1, (u64)page2 | PT_P | PT_W | PT_U);
    check_eq("mapped back", call(AREA + 4093, 0, 0), 0xdd9988aa);
}

/* Code that steps on itself with TF and in user mode. */
CODE(user_patch, "movb $9, 1f+1(%rip)\n1: mov $1, %eax");

static void modes(void)
{
    struct regs r = user_at(user_patch);
    enter(&r);
    check_eq("ring 3", r.rax, 9);
    memcpy(page, next_one, sizeof next_one);
    r = kernel_at((void *)AREA);
    r.rdi = AREA + 4;
    r.flags |= FL_TF;
    enter(&r);
    check("stepped over the store", r.vector == DB && r.rip == AREA + 3);
    enter(&r);
    check("stepped over what it changed", r.vector == DB && r.rip == AREA + 8 && r.rax == 2);
}

void test_main(void)
{
    u8 *both = page_alloc(8192);
    page = both;
    page2 = both + 4096;
    for (unsigned i = 0; i < 2; i++) {
        pt_map(AREA + i * 4096, 1, (u64)(both + i * 4096) | PT_P | PT_W | PT_U);
        pt_map(OTHER + i * 4096, 1, (u64)(both + i * 4096) | PT_P | PT_W | PT_NX);
    }
    patch_and_call();
    strings();
    same_block();
    neighbours();
    churn();
    linked();
    remap();
    splits();
    modes();
}

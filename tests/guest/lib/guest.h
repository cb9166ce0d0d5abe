/* What every bare-metal guest test shares: ports, reporting, and leaving the machine.
 *
 * The programs are multiboot images.  They print one line per failed check on COM1 and on port
 * 0xE9, then "RESULT checks N failed M", and leave through isa-debug-exit at 0xf4 with status 33
 * (all well) or 35.  Nothing here depends on the machine under test beyond these ports.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(a)[0])

/* EFLAGS (SDM vol. 1 3.4.3). */
enum {
    FL_CF = 1, FL_ONE = 2, FL_PF = 4, FL_AF = 0x10, FL_ZF = 0x40, FL_SF = 0x80, FL_TF = 0x100,
    FL_IF = 0x200, FL_DF = 0x400, FL_OF = 0x800, FL_IOPL = 0x3000, FL_NT = 0x4000,
    FL_RF = 0x10000, FL_VM = 0x20000, FL_AC = 0x40000, FL_ID = 0x200000,
    FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};

/* Vectors (SDM vol. 3A 6.3.1), and the one that snippets end with. */
enum {
    DE = 0, DB = 1, NMI = 2, BP = 3, OF = 4, BR = 5, UD = 6, NM = 7, DF = 8, TS = 10, NP = 11,
    SS = 12, GP = 13, PF = 14, MF = 16, AC = 17, XM = 19,
    STOP = 0x80, /* int $0x80: the snippet ended as it should */
};

/* Control register bits (SDM vol. 3A 2.5). */
#define CR0_PE (1u << 0)
#define CR0_MP (1u << 1)
#define CR0_EM (1u << 2)
#define CR0_TS (1u << 3)
#define CR0_NE (1u << 5)
#define CR0_WP (1u << 16)
#define CR0_AM (1u << 18)
#define CR0_PG (1u << 31)
#define CR4_VME (1u << 0)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PAE (1u << 5)
#define CR4_PGE (1u << 7)
#define CR4_OSFXSR (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_PCIDE (1u << 17)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define EFER 0xc0000080
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NXE (1u << 11)

static inline void outb(u16 port, u8 v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline u8 inb(u16 port)
{
    u8 v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline u64 rdmsr(u32 msr)
{
    u32 lo, hi;
    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return lo | (u64)hi << 32;
}

static inline void wrmsr(u32 msr, u64 v)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline u64 rdtsc(void)
{
    u32 lo, hi;
    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
    return lo | (u64)hi << 32;
}

static inline void cpuid(u32 leaf, u32 r[4])
{
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(0));
}

#define DEFINE_CR(n)                                                      \
    static inline unsigned long read_cr##n(void)                          \
    {                                                                     \
        unsigned long v;                                                  \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory");    \
        return v;                                                         \
    }                                                                     \
    static inline void write_cr##n(unsigned long v)                       \
    {                                                                     \
        __asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory");        \
    }
DEFINE_CR(0)
DEFINE_CR(2)
DEFINE_CR(3)
DEFINE_CR(4)

static inline void invlpg(const void *p)
{
    __asm__ volatile("invlpg (%0)" : : "r"(p) : "memory");
}

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int v, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* %s, %x (unsigned), %lx (u64). */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* One assertion: its name is what run_guest.py's list of QEMU's errors refers to. */
void check(const char *name, bool good);
void check_eq(const char *name, u64 got, u64 want);
/* False: the check failed and its line is begun, to be ended by the caller. */
bool check_quiet(const char *name, bool good);

/* Whether QEMU's TCG runs this: only to step around what would crash the test there. */
bool under_tcg(void);

/* Prefix of the names that follow, "" for none: for matrices that run the same checks often. */
extern const char *check_group;

/* Prints the result and leaves the machine. */
void finish(void) __attribute__((noreturn));

/* The test: each image has one. */
void test_main(void);

/* A snippet of code with a name, ended by `int $0x80`; `name` and `name_end` are addresses. */
#define CODE(name, text)                                                     \
    __asm__(".pushsection .text.snippets, \"ax\"\n"                          \
            ".globl " #name ", " #name "_end\n" #name ":\n" text             \
            "\n" #name "_end:\n int $0x80\n.popsection");                    \
    extern u8 name[], name##_end[]

#endif

/* Repeated string instructions, and INS and OUTS (SDM vol. 2, REP; vol. 1, 7.3.9).
 *
 * Elements that lie in one page of plain RAM on both sides go through the host's copy and fill
 * loops, a page at a time; everything else goes element by element through the MMU.  Registers
 * are exact after each piece, so that a fault or an interrupt in the middle leaves an instruction
 * that can be entered again.  One call moves at most a bounded number of bytes.
 *
 * Touches: general registers, flags (SCAS, CMPS), guest memory, ports through the IN and OUT
 * helpers.  Left out: single elements without REP, which are IR (translator/lift_string.c).
 */
#include "cpu/cpu.h"
#include "cpu/decode.h"
#include "cpu/helpers.h"

enum {
    BULK_BUDGET = 64 << 10, /* bytes per call through host memory */
    SLOW_COST = 64,         /* what one element through the MMU counts as */
};

struct string {
    struct cpu *cpu;
    unsigned size;  /* bytes of an element */
    unsigned seg;   /* of the source */
    u64 mask;       /* address size */
    unsigned rep;   /* REP_ */
    bool down;      /* DF */
    int budget;     /* bytes left for this call; with TF one element (SDM vol. 3B, 17.3.1.4) */
};

static struct string string_begin(struct cpu *cpu, u64 desc)
{
    cpu->eflags &= ~(u64)FL_RF;
    return (struct string){.cpu = cpu,
                           .size = desc & 0xff,
                           .seg = desc >> 16 & 0xff,
                           .mask = size_mask(desc >> 8 & 0xff),
                           .rep = desc >> 24 & 0xff,
                           .down = cpu->eflags & FL_DF,
                           .budget = cpu->hflags & HF_TF ? 1 : BULK_BUDGET};
}

/* ---- registers at the address size ---- */

static u64 get(const struct string *s, enum gpr reg)
{
    return s->cpu->gpr[reg] & s->mask;
}

static void put(const struct string *s, enum gpr reg, u64 v)
{
    u64 *r = &s->cpu->gpr[reg];
    *r = s->mask == 0xffff ? (*r & ~0xffffull) | (v & 0xffff) : v & s->mask;
}

static void advance(const struct string *s, enum gpr reg, u64 n)
{
    u64 bytes = n * s->size;
    put(s, reg, get(s, reg) + (s->down ? -bytes : bytes));
}

static u64 remaining(const struct string *s)
{
    return s->rep ? get(s, RCX) : 1;
}

/* Accounts for n elements that are done.  Returns whether this call may go on. */
static bool spend(struct string *s, u64 n, int cost)
{
    if (s->rep)
        put(s, RCX, get(s, RCX) - n);
    s->budget -= cost;
    return s->rep && s->budget > 0 && !(s->cpu->debug & DBG_HITS) &&
           !atomic_load_explicit(&s->cpu->requests, memory_order_relaxed);
}

/* What the helper returns: whether the instruction is complete.  What comes in between two elements
 * pushes RF set, so that the rest meets no instruction breakpoint (SDM vol. 3B 17.3.1.1). */
static u64 finished(const struct string *s)
{
    bool done = !s->rep || get(s, RCX) == 0;
    if (!done)
        s->cpu->eflags |= FL_RF;
    return done;
}

/* ---- addresses ---- */

static u64 segment_base(const struct string *s, unsigned seg)
{
    if ((s->cpu->hflags & HF_LONG) && seg != SEG_FS && seg != SEG_GS)
        return 0;
    return s->cpu->seg[seg].base;
}

/* Linear address of one element, with all checks. */
static u64 linear(const struct string *s, unsigned seg, u64 off, bool store)
{
    u64 la = s->cpu->hflags & HF_LONG ? segment_base(s, seg) + off
                                      : helper_segaddr(s->cpu, seg, off, s->size, store);
    cpu_check_alignment(s->cpu, la, s->size);
    return la;
}

/* Elements from off onwards that stay inside the segment, the address size, one page and the
 * budget, 0 if the first does not; *la is the linear address of the first. */
static u64 run_length(const struct string *s, unsigned seg, u64 off, bool store, u64 *la)
{
    const struct segment *sg = &s->cpu->seg[seg];
    u64 size = s->size, n = ~0ull;
    *la = segment_base(s, seg) + off;
    if (!(s->cpu->hflags & HF_LONG)) {
        u64 span = store ? sg->span_w : sg->span_r;
        *la = (u32)*la;
        if (off + size > span)
            return 0;
        n = (span - off) / size;
    }
    if (s->mask != ~0ull)
        n = min_u64(n, (s->mask + 1 - off) / size);
    u64 in_page = *la & 0xfff;
    bool misaligned = (s->cpu->hflags & HF_ALIGN) && (*la & (size - 1));
    if (n == 0 || in_page + size > PAGE_SIZE || misaligned)
        return 0;
    if (s->down)
        n = min_u64(off / size + 1, in_page / size + 1);
    else
        n = min_u64(n, (PAGE_SIZE - in_page) / size);
    return min_u64(n, (u64)s->budget);
}

/* Host memory of a run; what is stored there is told to the MMU afterwards. */
struct run {
    u8 *host; /* the lowest element, NULL when they must go through the MMU */
    u64 gpa;
    unsigned len;
};

static struct run run_of(const struct string *s, u64 la, u64 n, enum mmu_access access)
{
    u64 low = s->down ? la - (n - 1) * s->size : la;
    struct mmu *m = &s->cpu->mmu;
    struct run r = {.len = (unsigned)(n * s->size)};
    enum mmu_status st = access == MMU_WRITE
                             ? mmu_host_store(m, m->kind, low, r.len, &r.host, &r.gpa)
                             : mmu_host(m, m->kind, low, r.len, access, &r.host);
    if (st != MMU_OK)
        r.host = NULL;
    return r;
}

static u64 load_element(const struct string *s, unsigned seg, u64 off)
{
    u64 v = 0, la = linear(s, seg, off, false);
    enum mmu_status st = mmu_load(&s->cpu->mmu, s->cpu->mmu.kind, la, s->size, &v);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(s->cpu, st, seg == SEG_SS);
    return v;
}

static void store_element(const struct string *s, u64 off, u64 v)
{
    u64 la = linear(s, SEG_ES, off, true);
    enum mmu_status st = mmu_store(&s->cpu->mmu, s->cpu->mmu.kind, la, s->size, v);
    if (unlikely(st != MMU_OK))
        cpu_raise_mmu(s->cpu, st, false);
}

/* ---- MOVS ---- */

#define COPY_ELEMENTS(type)                                              \
    do {                                                                 \
        for (u64 i = 0; i < n; i++) {                                    \
            u64 at = (down ? n - 1 - i : i) * sizeof(type);              \
            type v;                                                      \
            memcpy(&v, src + at, sizeof v);                              \
            memcpy(dst + at, &v, sizeof v);                              \
        }                                                                \
    } while (0)

/* Copies element by element: what a destination that runs after its source shows is a repeated
 * pattern, as on a processor. */
static void copy_in_order(u8 *dst, const u8 *src, u64 n, unsigned size, bool down)
{
    switch (size) {
    case 1: COPY_ELEMENTS(u8); break;
    case 2: COPY_ELEMENTS(u16); break;
    case 4: COPY_ELEMENTS(u32); break;
    default: COPY_ELEMENTS(u64); break;
    }
}

static void copy_run(u8 *dst, const u8 *src, u64 n, unsigned size, bool down)
{
    u64 len = n * size;
    if (dst + len <= src || src + len <= dst)
        memcpy(dst, src, len);
    else
        copy_in_order(dst, src, n, size, down);
}

/* Moves as many elements as possible through host memory; 0 if none. */
static u64 movs_bulk(const struct string *s, u64 count)
{
    u64 sla, dla;
    u64 n = run_length(s, s->seg, get(s, RSI), false, &sla);
    n = min_u64(n, run_length(s, SEG_ES, get(s, RDI), true, &dla));
    n = min_u64(n, count);
    if (n < 2)
        return 0;
    const u8 *src = run_of(s, sla, n, MMU_READ).host;
    struct run dst = {0};
    if (src)
        dst = run_of(s, dla, n, MMU_WRITE);
    if (!dst.host)
        return 0;
    copy_run(dst.host, src, n, s->size, s->down);
    mmu_stored(&s->cpu->mmu, dst.host, dst.gpa, dst.len);
    return n;
}

u64 helper_movs(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct string s = string_begin(cpu, a);
    u64 count;
    while ((count = remaining(&s)) != 0) {
        u64 n = movs_bulk(&s, count);
        int cost = (int)(n * s.size);
        if (!n) {
            store_element(&s, get(&s, RDI), load_element(&s, s.seg, get(&s, RSI)));
            n = 1;
            cost = SLOW_COST;
        }
        advance(&s, RSI, n);
        advance(&s, RDI, n);
        if (!spend(&s, n, cost))
            break;
    }
    return finished(&s);
}

/* ---- STOS ---- */

static u64 stos_bulk(const struct string *s, u64 count)
{
    u64 la, v = s->cpu->gpr[RAX];
    u64 n = min_u64(run_length(s, SEG_ES, get(s, RDI), true, &la), count);
    struct run r = {0};
    if (n >= 2)
        r = run_of(s, la, n, MMU_WRITE);
    if (!r.host)
        return 0;
    u8 *dst = r.host, *end = dst + r.len;
    switch (s->size) {
    case 1: memset(dst, (int)(v & 0xff), n); break;
    case 2: for (; dst < end; dst += 2) memcpy(dst, &(u16){(u16)v}, 2); break;
    case 4: for (; dst < end; dst += 4) memcpy(dst, &(u32){(u32)v}, 4); break;
    default: for (; dst < end; dst += 8) memcpy(dst, &v, 8); break;
    }
    mmu_stored(&s->cpu->mmu, r.host, r.gpa, r.len);
    return n;
}

u64 helper_stos(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct string s = string_begin(cpu, a);
    u64 count;
    while ((count = remaining(&s)) != 0) {
        u64 n = stos_bulk(&s, count);
        int cost = (int)(n * s.size);
        if (!n) {
            store_element(&s, get(&s, RDI), cpu->gpr[RAX]);
            n = 1;
            cost = SLOW_COST;
        }
        advance(&s, RDI, n);
        if (!spend(&s, n, cost))
            break;
    }
    return finished(&s);
}

/* ---- LODS ---- */

u64 helper_lods(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct string s = string_begin(cpu, a);
    while (remaining(&s)) {
        u64 v = load_element(&s, s.seg, get(&s, RSI)), m = size_mask(s.size);
        cpu->gpr[RAX] = s.size >= 4 ? v : (cpu->gpr[RAX] & ~m) | v;
        advance(&s, RSI, 1);
        if (!spend(&s, 1, SLOW_COST))
            break;
    }
    return finished(&s);
}

/* ---- SCAS and CMPS ---- */

/* Flags of x - y (SDM vol. 2, CMP). */
static void set_compare_flags(const struct string *s, u64 x, u64 y)
{
    u64 m = size_mask(s->size), top = (m >> 1) + 1, r = (x - y) & m;
    u64 f = (x < y ? FL_CF : 0) | (r ? 0 : FL_ZF) | (r & top ? FL_SF : 0) |
            ((x ^ y ^ r) & FL_AF) | ((x ^ y) & (x ^ r) & top ? FL_OF : 0) |
            (__builtin_parity((unsigned)r & 0xff) ? 0 : FL_PF);
    s->cpu->eflags = (s->cpu->eflags & ~(u64)FL_ARITH) | f;
    s->cpu->lazy_kind = LAZY_NONE;
}

/* Whether the condition of REPE or REPNE ends the loop after comparing x and y. */
static bool stops(const struct string *s, u64 x, u64 y)
{
    return s->rep == REP_REPE ? x != y : s->rep ? x == y : true;
}

/* One piece of SCAS (src NULL: against RAX) or CMPS: compares up to n elements of host memory,
 * sets the flags of the last and returns how many; *stop tells whether the condition ended it. */
static u64 compare_run(const struct string *s, const u8 *src, const u8 *dst, u64 n, bool *stop)
{
    u64 x = s->cpu->gpr[RAX] & size_mask(s->size), y = 0, i = 0;
    *stop = false;
    while (i < n && !*stop) {
        u64 at = (s->down ? n - 1 - i : i) * s->size;
        if (src)
            x = load_le(src + at, s->size);
        y = load_le(dst + at, s->size);
        *stop = stops(s, x, y);
        i++;
    }
    set_compare_flags(s, x, y);
    return i;
}

static u64 compare_bulk(const struct string *s, bool cmps, u64 count, bool *stop)
{
    u64 sla = 0, dla;
    u64 n = min_u64(run_length(s, SEG_ES, get(s, RDI), false, &dla), count);
    if (cmps)
        n = min_u64(n, run_length(s, s->seg, get(s, RSI), false, &sla));
    if (n < 2)
        return 0;
    u8 *src = cmps ? run_of(s, sla, n, MMU_READ).host : NULL;
    u8 *dst = cmps && !src ? NULL : run_of(s, dla, n, MMU_READ).host;
    return dst ? compare_run(s, src, dst, n, stop) : 0;
}

static u64 compare(struct cpu *cpu, u64 desc, bool cmps)
{
    struct string s = string_begin(cpu, desc);
    u64 count;
    while ((count = remaining(&s)) != 0) {
        bool stop = false;
        u64 n = compare_bulk(&s, cmps, count, &stop);
        int cost = (int)(n * s.size * 8);
        if (!n) {
            u64 x = cmps ? load_element(&s, s.seg, get(&s, RSI))
                         : cpu->gpr[RAX] & size_mask(s.size);
            u64 y = load_element(&s, SEG_ES, get(&s, RDI));
            set_compare_flags(&s, x, y);
            stop = stops(&s, x, y);
            n = 1;
            cost = SLOW_COST;
        }
        if (cmps)
            advance(&s, RSI, n);
        advance(&s, RDI, n);
        bool more = spend(&s, n, cost);
        if (stop)
            return 1;
        if (!more)
            break;
    }
    return finished(&s);
}

u64 helper_scas(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return compare(cpu, a, false);
}

u64 helper_cmps(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return compare(cpu, a, true);
}

/* ---- INS and OUTS ---- */

u64 helper_ins(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct string s = string_begin(cpu, a);
    /* The right to the port comes before the memory (SDM vol. 2A, INS) and, as processors do it,
     * before the count. */
    cpu_check_io(cpu, (u16)cpu->gpr[RDX], s.size);
    while (remaining(&s)) {
        /* The port is read only when its value can be stored: reading may have effects. */
        u64 la = linear(&s, SEG_ES, get(&s, RDI), true);
        enum mmu_status st = mmu_probe(&cpu->mmu, cpu->mmu.kind, la, s.size, MMU_WRITE);
        if (st != MMU_OK)
            cpu_raise_mmu(cpu, st, false);
        u64 v = helper_in(cpu, cpu->gpr[RDX] & 0xffff, s.size, 0, 0);
        cpu_store(cpu, la, s.size, v);
        advance(&s, RDI, 1);
        if (!spend(&s, 1, SLOW_COST))
            break;
    }
    return finished(&s);
}

u64 helper_outs(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct string s = string_begin(cpu, a);
    cpu_check_io(cpu, (u16)cpu->gpr[RDX], s.size);
    while (remaining(&s)) {
        u64 v = load_element(&s, s.seg, get(&s, RSI));
        helper_out(cpu, cpu->gpr[RDX] & 0xffff, s.size, v, 0);
        advance(&s, RSI, 1);
        if (!spend(&s, 1, SLOW_COST))
            break;
    }
    return finished(&s);
}

/* `info mem`: the ranges of linear addresses that the page tables map.
 *
 * Paging structures: SDM vol. 3A 4.3 to 4.5.  Reads guest memory only; sets no accessed bits.
 */
#include "cpu/cpu.h"
#include "frontends/monitor.h"

enum {
    ENTRY_P = BIT(0),
    ENTRY_W = BIT(1),
    ENTRY_U = BIT(2),
    ENTRY_PS = BIT(7),
};

struct scan {
    struct cpu *cpu;
    print_fn print;
    void *opaque;
    u64 start, end; /* the range that grows */
    u32 rights;     /* ENTRY_ bits of it; 0: none */
};

static void emit(struct scan *s, u64 start, u64 end, u32 rights)
{
    if (s->rights && (rights != s->rights || start != s->end)) {
        s->print(s->opaque, "%016llx-%016llx %016llx %c%c%c\n", (unsigned long long)s->start,
                 (unsigned long long)s->end, (unsigned long long)(s->end - s->start),
                 s->rights & ENTRY_U ? 'u' : '-', 'r', s->rights & ENTRY_W ? 'w' : '-');
        s->rights = 0;
    }
    if (!rights)
        return;
    if (!s->rights) {
        s->start = start;
        s->rights = rights;
    }
    s->end = end;
}

/* One table of 2^bits entries, each for 2^shift bytes of linear addresses from `la` on. */
static void walk(struct scan *s, u64 table, unsigned shift, unsigned bits, unsigned size, u64 la,
                 u32 rights)
{
    const struct paging *p = &s->cpu->mmu.paging;
    bool top = size == 8 && bits == 2; /* PAE's page-directory-pointer table has no rights */
    bool leaf_allowed = shift == 12 || (size == 4 ? shift == 22 && p->pse : shift == 21) ||
                        (shift == 30 && p->long_mode);
    for (u64 i = 0; i < 1ull << bits; i++) {
        u8 raw[8];
        bus_read_bytes(s->cpu->bus, table + i * size, raw, size);
        u64 e = load_le(raw, size);
        u64 at = la + (i << shift);
        if (p->long_mode)
            at = (u64)sign_extend(at, p->la57 ? 57 : 48);
        if (!(e & ENTRY_P))
            continue;
        u32 r = ENTRY_P | (rights & (top ? ENTRY_W | ENTRY_U : (u32)e & (ENTRY_W | ENTRY_U)));
        u64 next = e & (size == 8 ? 0xffffffffff000ull : 0xfffff000ull);
        if (leaf_allowed && (shift == 12 || (e & ENTRY_PS)))
            emit(s, at, at + (1ull << shift), r);
        else
            walk(s, next, shift == 22 ? 12 : shift - 9, size == 4 ? 10 : 9, size, at, r);
    }
}

void monitor_print_mem(struct cpu *cpu, print_fn print, void *opaque)
{
    struct scan s = {.cpu = cpu, .print = print, .opaque = opaque};
    const struct paging *p = &cpu->mmu.paging;
    u32 all = ENTRY_W | ENTRY_U;
    if (!p->enabled) {
        print(opaque, "paging is off\n");
        return;
    }
    if (p->long_mode)
        walk(&s, p->cr3 & 0xffffffffff000ull, p->la57 ? 48 : 39, 9, 8, 0, all);
    else if (p->pae)
        walk(&s, p->cr3 & 0xffffffe0ull, 30, 2, 8, 0, all);
    else
        walk(&s, p->cr3 & 0xfffff000ull, 22, 10, 4, 0, all);
    emit(&s, 0, 0, 0);
}

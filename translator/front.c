/* The front of the translator: guest bytes at cpu->rip to optimised IR, for both engines.
 *
 * Touches: the MMU's fetch path, struct cpu only to record a fetch fault.  A block stays within
 * one page, unless its first instruction itself crosses into the next one; it then is that one
 * instruction.  Code in MMIO is translated from what the bus reads at that moment.
 */
#include "base/log.h"
#include "cpu/cpu.h"
#include "translator/block.h"
#include "translator/inspect.h"
#include "translator/technique.h"

/* Bytes of a successor that the flags look-ahead may read; the block then depends on them. */
#define LOOK_BYTES 24u
#define MAX_INSN_BYTES 15u

struct fetch {
    struct cpu *cpu;
    struct block *b;
    const u8 *p;       /* guest bytes from rip on */
    unsigned avail;    /* up to the end of the page or of the segment */
    u64 la;            /* linear address of rip */
    u64 limit_bytes;   /* bytes from rip to the CS limit, at least 1 */
    const u8 *page;    /* host address of the page, NULL when the bytes were copied */
    unsigned max_insns;
    u8 copy[BLOCK_MAX_INSNS * MAX_INSN_BYTES];
};

static u64 code_linear(const struct cpu *cpu, u64 rip)
{
    u64 la = front_cs_base(cpu) + rip;
    return cpu->hflags & HF_LONG ? la : (u32)la;
}

static bool fetch_page(struct cpu *cpu, u64 la, struct mmu_code_page *page)
{
    enum mmu_status st = mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, la, page);
    if (st == MMU_OK)
        return true;
    if (st == MMU_PAGE_FAULT) {
        cpu->cr2 = cpu->mmu.fault_addr;
        cpu_set_exception(cpu, EXC_PF, true, cpu->mmu.fault_code);
    } else {
        cpu_set_exception(cpu, EXC_GP, true, 0);
    }
    return false;
}

/* Bytes [offset, offset + len) of a page that is not plain memory, as the bus reads them now. */
static void copy_io(struct cpu *cpu, u64 phys, unsigned len, u8 *to)
{
    for (unsigned i = 0; i < len; i++)
        to[i] = (u8)bus_read(cpu->bus, (int)cpu->index, phys + i, 1);
}

/* Finds the bytes at rip up to the end of their page. */
static bool fetch_first(struct fetch *f)
{
    struct cpu *cpu = f->cpu;
    u64 rip = cpu->rip;
    f->limit_bytes = PAGE_SIZE + MAX_INSN_BYTES;
    if (!(cpu->hflags & (HF_LONG | HF_CSFLAT))) {
        /* SDM vol. 3A 5.3: fetching beyond the limit is #GP(0). */
        if (rip > cpu->seg[SEG_CS].limit) {
            cpu_set_exception(cpu, EXC_GP, true, 0);
            return false;
        }
        f->limit_bytes = (u64)cpu->seg[SEG_CS].limit - rip + 1;
    }
    f->la = code_linear(cpu, rip);
    struct mmu_code_page page;
    if (!fetch_page(cpu, f->la, &page))
        return false;
    unsigned offset = (unsigned)(f->la & ~PAGE_MASK);
    f->b->phys = page.phys | offset;
    f->b->global = page.global;
    f->b->phys2 = ~0ull;
    f->avail = PAGE_SIZE - offset;
    if (f->avail > f->limit_bytes)
        f->avail = (unsigned)f->limit_bytes;
    f->page = page.host;
    f->p = page.host ? page.host + offset : f->copy;
    if (!page.host) {
        /* One instruction is enough of what may change by being read. */
        f->avail = f->avail < MAX_INSN_BYTES ? f->avail : MAX_INSN_BYTES;
        copy_io(cpu, f->b->phys, f->avail, f->copy);
    } else if (bus_shared(cpu->bus)) {
        /* block.sum must be that of the very bytes that are lifted. */
        f->avail = f->avail < sizeof f->copy ? f->avail : (unsigned)sizeof f->copy;
        memcpy(f->copy, f->p, f->avail);
        f->p = f->copy;
    }
    return true;
}

/* The first instruction goes on into the next page: puts the bytes of both together. */
static bool fetch_second(struct fetch *f)
{
    struct cpu *cpu = f->cpu;
    if (f->avail >= f->limit_bytes || f->avail >= MAX_INSN_BYTES) {
        cpu_set_exception(cpu, EXC_GP, true, 0);
        return false;
    }
    struct mmu_code_page page;
    if (!fetch_page(cpu, code_linear(cpu, cpu->rip + f->avail), &page))
        return false;
    unsigned more = MAX_INSN_BYTES - f->avail;
    if (more > f->limit_bytes - f->avail)
        more = (unsigned)(f->limit_bytes - f->avail);
    if (f->p != f->copy)
        memcpy(f->copy, f->p, f->avail);
    if (page.host)
        memcpy(f->copy + f->avail, page.host, more);
    else
        copy_io(cpu, page.phys, more, f->copy + f->avail);
    f->p = f->copy;
    f->page = NULL;
    f->avail += more;
    f->b->phys2 = page.phys;
    return true;
}

bool front_hot(const struct ir *ir, u64 phys, unsigned len)
{
    bool any = false;
    for (u64 at = phys & ~63ull; ir->heat && at < phys + len; at += 64)
        any |= ir->heat[block_heat_index(at)] >= BLOCK_HOT;
    return any;
}

/* Code that changes often is lifted again as a block that compares its bytes, if nothing in it can
 * store into what follows.  False if another vCPU has changed it so much meanwhile that nothing is
 * left. */
static bool lift_live(struct fetch *f, struct ir *ir)
{
    struct cpu *cpu = f->cpu;
    if (!f->page || f->b->phys2 != ~0ull || ir->guest_bytes > IR_LIVE_BYTES || cpu->count ||
        ir->hflags & (HF_ONE | HF_TF) || !front_hot(ir, f->b->phys, ir->guest_bytes))
        return true;
    for (unsigned i = 1; i < ir->count; i++)
        if (ir_effects(&ir->insns[i]) & (E_STORE | E_CALL | E_FENCE))
            return true;
    struct lift_input in = {ir->live_code, ir->guest_bytes, ir->guest_insns};
    memcpy(ir->live_code, f->p, ir->guest_bytes);
    ir_reset(ir, cpu->rip, front_cs_base(cpu), cpu->hflags);
    ir->live = f->page + (f->la & ~PAGE_MASK); /* not a copy */
    f->b->live = true;
    return lift_block(cpu, ir, &in);
}

static bool lift(struct fetch *f, struct ir *ir)
{
    struct cpu *cpu = f->cpu;
    bool one = cpu->hflags & (HF_ONE | HF_TF);
    struct lift_input in = {f->p, f->avail, one || !f->page ? 1 : f->max_insns};
    unsigned first = f->avail;
    ir_reset(ir, cpu->rip, front_cs_base(cpu), cpu->hflags);
    if (lift_block(cpu, ir, &in))
        return true;
    if (!fetch_second(f))
        return false;
    in = (struct lift_input){f->p, f->avail, 1};
    ir_reset(ir, cpu->rip, front_cs_base(cpu), cpu->hflags);
    if (!lift_block(cpu, ir, &in)) {
        cpu_set_exception(cpu, EXC_GP, true, 0); /* beyond the CS limit */
        return false;
    }
    if (ir->guest_bytes <= first)
        f->b->phys2 = ~0ull;
    return true;
}

/* Looks into the successor at rip if it is on this block's page, and makes the block depend on
 * what was seen there. */
static unsigned exit_fate(struct fetch *f, struct ir *ir, u64 rip, u64 from, unsigned slot)
{
    struct cpu *cpu = f->cpu;
    u64 la = code_linear(cpu, rip);
    unsigned offset = (unsigned)(la & ~PAGE_MASK);
    unsigned len = PAGE_SIZE - offset < LOOK_BYTES ? PAGE_SIZE - offset : LOOK_BYTES;
    if ((la & PAGE_MASK) != (f->la & PAGE_MASK))
        return XF_LIVE;
    if (front_hot(ir, (f->b->phys & PAGE_MASK) | offset, len)) {
        ir->heated = true;
        return XF_LIVE;
    }
    if (!(cpu->hflags & (HF_LONG | HF_CSFLAT)) && rip + len > cpu->seg[SEG_CS].limit)
        return XF_LIVE;
    u8 bytes[LOOK_BYTES];
    memcpy(bytes, f->page + offset, len);
    unsigned fate = lift_flags_fate(cpu, bytes, &len, cpu->hflags);
    if (fate != XF_LIVE) {
        f->b->look_sum += block_sum(bytes, len, NULL, 0);
        f->b->look[slot] = (f->b->phys & PAGE_MASK) | offset;
        f->b->look_len[slot] = (u8)len;
    }
    /* Interrupts are taken at back edges, and their frames show the flags. */
    return fate == XF_DEAD && rip <= from ? XF_FAULT : fate;
}

static void set_fates(struct fetch *f, struct ir *ir, struct front_counters *n)
{
    unsigned slot = 0;
    u64 from = ir->rip;
    bool changed = false; /* an exit before any change of the flags passes on what came in */
    if (!f->page || ir->live || (ir->hflags & (HF_TF | HF_ONE)) || !technique_on(ir->off, T_fates))
        return;
    for (unsigned i = 1; i < ir->count && slot < BLOCK_LOOKS; i++) {
        struct ir_insn *in = &ir->insns[i];
        if (in->op == IR_insn)
            from = in->imm;
        changed |= in->op == IR_putf;
        if (!changed || (in->op != IR_exit && in->op != IR_exit_if))
            continue;
        in->aux = (u8)exit_fate(f, ir, in->imm, from, slot++);
        /* Counted mode may stop at any block's entry, and what is traced there shows the flags. */
        if (f->cpu->count && in->aux == XF_DEAD)
            in->aux = XF_FAULT;
        n->fates_fault += in->aux == XF_FAULT;
        n->fates_dead += in->aux == XF_DEAD;
    }
}

static void fill_block(struct fetch *f, const struct ir *ir)
{
    struct block *b = f->b;
    b->rip = ir->rip;
    b->cs_base = (u32)ir->cs_base;
    b->hflags = ir->hflags;
    b->guest_bytes = (u16)ir->guest_bytes;
    b->guest_insns = (u16)ir->guest_insns;
    unsigned first = PAGE_SIZE - (unsigned)(f->la & ~PAGE_MASK);
    first = first < ir->guest_bytes ? first : ir->guest_bytes;
    b->sum = block_sum(f->p, first, f->p + first, ir->guest_bytes - first);
}

bool front_translate(struct cpu *cpu, struct ir *ir, struct block *b, unsigned max_insns,
                     struct front_counters *n, bool verify)
{
    struct fetch f;
    f.cpu = cpu;
    f.b = b;
    f.max_insns = max_insns;
    if (!fetch_first(&f) || !lift(&f, ir))
        return false;
    if (!lift_live(&f, ir))
        return false;
    if (log_enabled(in_asm))
        inspect_guest(ir, f.p);
    set_fates(&f, ir, n);
    if (log_enabled(ir))
        inspect_ir(ir, f.p, "as lifted");
    opt_run(ir, &n->opt, verify);
    if (log_enabled(ir_opt))
        inspect_ir(ir, f.p, "after the passes");
    fill_block(&f, ir);
    n->run_ons += ir->run_ons;
    n->blocks++;
    n->insns += ir->guest_insns;
    n->bytes += ir->guest_bytes;
    n->ops += ir->count - 1;
    return true;
}

bool front_usable(struct cpu *cpu, const struct block *b, u64 la)
{
    struct mmu_code_page page;
    if (!block_within_limit(cpu, b))
        return false;
    if (b->phys2 == ~0ull)
        return true;
    u64 next = (la & PAGE_MASK) + PAGE_SIZE;
    return mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, cpu->hflags & HF_LONG ? next : (u32)next,
                          &page) == MMU_OK &&
           page.phys == b->phys2;
}

void front_check_branch(struct cpu *cpu, unsigned kind, u64 imm)
{
    if (!(cpu->hflags & HF_LONG) || sign_extend(cpu->rip, 48) == (s64)cpu->rip)
        return;
    if (kind == XK_CALL)
        cpu->gpr[RSP] += 8;
    else if (kind == XK_RET)
        cpu->gpr[RSP] -= 8 + (imm >> 48);
    cpu->rip = (u64)sign_extend(imm, 48);
    cpu_raise_error(cpu, EXC_GP, 0);
}

/* Debugging: DR0-DR7, breakpoints on execution, data and ports, single steps, branch steps.
 * SDM vol. 3B chapter 17.
 *
 * What is not armed costs nothing.  Pages with a data breakpoint have no TLB entries, so that their
 * accesses come through mmu/access.c, which calls watch_hit.  Pages with an instruction breakpoint
 * have no entries in the jump cache, so that the run loop sees every block there, and executes one
 * instruction a block.  An access that hits in the middle of a longer block is done again alone:
 * the trap comes right after its instruction.
 *
 * Left out: RTM (DR7 bit 11), last-branch records; implicit accesses (descriptor tables, TSSs, page
 * tables) do not meet data breakpoints.
 */
#include "cpu/decode.h"
#include "cpu/system.h"

enum { RW_EXECUTE = 0, RW_WRITE = 1, RW_IO = 2, RW_ACCESS = 3 };

#define DR7_GD (1u << 13)
#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)

/* ---- what is armed ---- */

static bool enabled(const struct cpu *cpu, unsigned n)
{
    return cpu->dr[7] >> (2 * n) & 3;
}

static unsigned kind(const struct cpu *cpu, unsigned n)
{
    return (unsigned)(cpu->dr[7] >> (16 + 4 * n)) & 3;
}

static unsigned length(const struct cpu *cpu, unsigned n)
{
    static const u8 bytes[] = {1, 2, 8, 4}; /* SDM vol. 3B 17.2.4 */
    return bytes[cpu->dr[7] >> (18 + 4 * n) & 3];
}

/* The address, without the bits that the length masks (17.2.5). */
static u64 start(const struct cpu *cpu, unsigned n)
{
    return cpu->dr[n] & ~(u64)(length(cpu, n) - 1);
}

static void watch_hit(struct mmu *m, unsigned hits)
{
    struct cpu *cpu = container_of(m, struct cpu, mmu);
    debug_hit(cpu, hits);
}

void debug_hit(struct cpu *cpu, unsigned hits)
{
    if (!cpu->guard && !(cpu->hflags & (HF_ONE | HF_TF)))
        cpu->engine->redo(cpu);
    cpu->debug |= hits;
}

void debug_update(struct cpu *cpu)
{
    struct mmu_watch w[4] = {0};
    unsigned code = 0, io = 0;

    for (unsigned n = 0; n < 4; n++) {
        if (!enabled(cpu, n))
            continue;
        switch (kind(cpu, n)) {
        case RW_EXECUTE: code |= BIT(n); break;
        case RW_IO: io |= cpu->cr4 & CR4_DE ? BIT(n) : 0; break;
        default:
            w[n] = (struct mmu_watch){start(cpu, n), length(cpu, n), kind(cpu, n) == RW_ACCESS};
        }
    }
    mmu_set_watches(&cpu->mmu, w, watch_hit);
    if (code)
        mmu_flush_jumps(&cpu->mmu);
    cpu->debug_code = (u8)code;
    cpu->debug_io = (u8)io;
    cpu->debug &= ~(u32)(DBG_CODE | DBG_SHADOW);
    if (code)
        cpu->debug |= DBG_CODE;
}

/* ---- around an instruction ---- */

static u64 code_address(const struct cpu *cpu)
{
    u64 la = cpu->hflags & HF_LONG ? cpu->rip : (u32)(cpu->seg[SEG_CS].base + cpu->rip);
    return la;
}

/* Records a #DB; `rf`: a fault whose image has RF set (17.3.1.1). */
static void set_debug_exception(struct cpu *cpu, bool rf)
{
    cpu_set_exception(cpu, EXC_DB, false, 0);
    cpu->exc_rf = rf;
}

/* Breakpoints at the next instruction; *page: there is one on its page. */
static unsigned code_hits(const struct cpu *cpu, bool *page)
{
    u64 la = code_address(cpu);
    unsigned hits = 0;
    for (unsigned n = 0; n < 4; n++) {
        if (!(cpu->debug_code >> n & 1))
            continue;
        *page |= !((cpu->dr[n] ^ la) >> PAGE_SHIFT);
        hits |= cpu->dr[n] == la ? BIT(n) : 0;
    }
    return hits;
}

static void report(struct cpu *cpu, u64 bits, bool rf)
{
    cpu->dr[6] = (cpu->dr[6] & ~0xfull) | bits;
    set_debug_exception(cpu, rf);
}

/* For branch steps: where the instruction at rip ends, and whether it branches. */
static void look_for_branch(struct cpu *cpu)
{
    struct insn in;
    u8 bytes[15];
    unsigned mode = cpu->hflags & HF_LONG ? 64 : cpu->hflags & HF_CS32 ? 32 : 16;
    cpu->debug &= ~(u32)(DBG_BRANCH | DBG_COND);
    if (decode(&in, bytes, cpu_peek_insn(cpu, bytes), mode) != DECODE_OK)
        return;
    bool cond = in.op == OP_jcc || in.op == OP_jcxz || in.op == OP_jecxz || in.op == OP_jrcxz ||
                in.op == OP_loop || in.op == OP_loope || in.op == OP_loopne || in.op == OP_into;
    if (in.row->props & ROW_BRANCH)
        cpu->debug |= DBG_BRANCH | (cond ? DBG_COND : 0);
    cpu->debug_next = cpu->rip + in.len;
}

bool cpu_debug_before(struct cpu *cpu)
{
    bool shadow = (cpu->debug & DBG_SHADOW) && cpu->rip == cpu->shadow_rip, page = false;
    unsigned hits = code_hits(cpu, &page);

    cpu->debug &= ~(u32)DBG_SHADOW;
    if (hits && !shadow && !(cpu->eflags & FL_RF)) {
        report(cpu, hits, false);
        return false;
    }
    if (page || shadow || cpu->debug & (DBG_HITS | DBG_RF))
        cpu->hflags |= HF_ONE;
    /* RF holds for one instruction; its faults set it again in what they push. */
    cpu->debug &= ~(u32)DBG_RF;
    cpu->eflags &= ~(u64)FL_RF;
    if ((cpu->debug & DBG_BTF) && (cpu->hflags & HF_TF))
        look_for_branch(cpu);
    return true;
}

static bool step_trap(const struct cpu *cpu)
{
    if (!(cpu->debug & DBG_BTF))
        return true;
    bool taken = !(cpu->debug & DBG_COND) || cpu->rip != cpu->debug_next;
    return (cpu->debug & DBG_BRANCH) && taken;
}

void cpu_debug_after(struct cpu *cpu, bool stepping)
{
    bool skip = cpu->step_skip;
    cpu->step_skip = false;
    /* After MOV SS and POP SS everything waits for the end of the next instruction (SDM vol. 3A
     * 6.8.3); what has hit stays in cpu->debug. */
    if (cpu->debug & DBG_SHADOW || cpu->exc_vector >= 0)
        return;
    u64 bits = cpu->debug & DBG_HITS;
    if (stepping && !skip && step_trap(cpu))
        bits |= DR6_BS;
    cpu->debug &= ~(u32)DBG_HITS;
    if (bits)
        report(cpu, bits, false);
}

void debug_shadow(struct cpu *cpu)
{
    if ((cpu->hflags & (HF_TF | HF_ONE)) || cpu->debug_code)
        cpu->debug |= DBG_SHADOW;
}

void debug_delivered(struct cpu *cpu)
{
    cpu->dr[7] &= ~(u64)DR7_GD;
    cpu->debugctl = 0; /* LBR and BTF: 17.4.1 */
    debug_branch_steps(cpu);
}

void debug_branch_steps(struct cpu *cpu)
{
    cpu->debug &= ~(u32)(DBG_BTF | DBG_BRANCH | DBG_COND);
    if (cpu->debugctl & DEBUGCTL_BTF)
        cpu->debug |= DBG_BTF;
}

u64 debug_take_rf(struct cpu *cpu, u64 flags)
{
    if (!(flags & FL_RF))
        return 0;
    /* Who could see it: an instruction breakpoint, or the image that a waiting event pushes; in
     * counted mode that of a timer's interrupt right after this instruction, and the trace. */
    if (!cpu->debug_code && !cpu->count &&
        !atomic_load_explicit(&cpu->requests, memory_order_relaxed))
        return 0;
    cpu->debug |= DBG_RF;
    atomic_fetch_or(&cpu->requests, REQ_RECHECK);
    return FL_RF;
}

/* ---- ports ---- */

void debug_io(struct cpu *cpu, u16 port, unsigned size)
{
    unsigned hits = 0;
    for (unsigned n = 0; n < 4; n++) {
        u64 at = start(cpu, n);
        if ((cpu->debug_io >> n & 1) && at < (u64)port + size && port < at + length(cpu, n))
            hits |= BIT(n);
    }
    if (hits)
        debug_hit(cpu, hits);
}

/* ---- MOV to and from debug registers ---- */

static unsigned check_dr(struct cpu *cpu, unsigned n)
{
    if (n > 7 || ((n == 4 || n == 5) && (cpu->cr4 & CR4_DE)))
        cpu_raise(cpu, EXC_UD);
    require_cpl0(cpu);
    if (cpu->dr[7] & DR7_GD) {
        cpu->engine->sync(cpu);
        report(cpu, (cpu->dr[6] & 0xf) | DR6_BD, true);
        cpu->engine->unwind(cpu);
    }
    return n == 4 || n == 5 ? n | 2 : n;
}

u64 helper_mov_from_dr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return cpu->dr[check_dr(cpu, (unsigned)a)];
}

u64 helper_mov_to_dr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    unsigned n = check_dr(cpu, (unsigned)a);
    if (n >= 6 && b >> 32)
        cpu_raise_error(cpu, EXC_GP, 0);
    switch (n) {
    case 6: cpu->dr[6] = (b & 0xe00f) | 0xffff0ff0u; break;
    case 7: cpu->dr[7] = (b & 0xffff23ffu) | 0x400; break;
    default: cpu->dr[n & 3] = b;
    }
    if (n != 6)
        debug_update(cpu);
    cpu->rip = c;
    return 0;
}

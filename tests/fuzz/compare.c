/* What must agree after a run, and how a difference is shown. */
#include "compare.h"

#include <stdio.h>

/* FCW, FSW, FTW and the registers; not the pointers. */
static bool x87_same(const struct state *a, const struct state *b)
{
    if (memcmp(a->fx, b->fx, 5) != 0)
        return false;
    for (unsigned i = 0; i < 8; i++)
        if (memcmp(a->fx + FX_ST + 16 * i, b->fx + FX_ST + 16 * i, 10) != 0)
            return false;
    return true;
}

static bool has_error(int vector)
{
    return vector == EXC_GP || vector == EXC_SS || vector == EXC_PF || vector == EXC_AC;
}

/* Error-code bits that count.  The kernel says "present" for each address of its own half. */
static u32 error_mask(const struct state *native)
{
    return native->vector == EXC_PF && native->cr2 >= 0x7ffffffff000 ? ~(u32)PF_P : ~0u;
}

/* The instruction at which a run stopped, if it can be read. */
static bool last_insn(const struct program *p, const struct state *run, struct insn *in)
{
    u64 off = state_pc(run) - CODE_AT - p->offset;
    return off < p->size && decode(in, p->code + off, 15, state_mode(run)) == DECODE_OK;
}

/* MXCSR's PE beside an unmasked overflow or underflow of several lanes is not followed. */
static u32 mxcsr_mask(const struct program *p, const struct state *native)
{
    enum { OE = 8, UE = 16, PE = 32 };
    u32 mxcsr = (u32)load_le(native->fx + FX_MXCSR, 4);
    struct insn in;
    if (native->vector != EXC_XM || !last_insn(p, native, &in) || in.opnd[1].size < 16)
        return ~0u;
    return mxcsr & ~(mxcsr >> 7) & (OE | UE) ? ~(u32)PE : ~0u;
}

static bool sse_same(const struct program *p, const struct state *a, const struct state *b)
{
    u32 changed = (u32)(load_le(a->fx + FX_MXCSR, 4) ^ load_le(b->fx + FX_MXCSR, 4));
    return (changed & mxcsr_mask(p, a)) == 0 && memcmp(a->fx + FX_XMM, b->fx + FX_XMM, 256) == 0 &&
           memcmp(a->ymm, b->ymm, sizeof a->ymm) == 0;
}

static u64 flags_mask(const struct program *p, const struct state *native)
{
    struct insn in;
    u64 mask = ~(u64)program_undefined(p, state_pc(native));
    /* The vendors' manuals differ on repeated comparisons that fault half way, and on RF where a
     * single step stops between two repetitions. */
    if (last_insn(p, native, &in) && in.rep && in.row->props & ROW_REP)
        mask &= ~(u64)(in.row->flags_written | (native->vector == EXC_DB ? FL_RF : 0));
    return mask;
}

static bool data_same(const struct program *p, const struct state *in, const struct state *native,
                      const struct state *engine)
{
    u64 at = 0;
    unsigned n = gen_ignored(p, in, &at);
    struct insn last;
    /* Processors differ in whether a far call pushes before it looks at the target's offset. */
    if (last_insn(p, native, &last) && last.op == OP_lcall)
        return true;
    if (!n)
        return memcmp(native->data, engine->data, DATA_SIZE) == 0;
    bool faulted = native->rip == in->rip;
    for (unsigned i = 0; i < DATA_SIZE; i++) {
        u64 a = DATA_AT + i;
        if (native->data[i] != engine->data[i] && !faulted && !(a >= at && a < at + n))
            return false;
    }
    return true;
}

/* Operands that the processor may access in an order of its own: both of CMPS, the parts of images
 * of more than 16 bytes, and the stack of calls, far returns and IRET beside their targets. */
static bool order_open(const struct program *p, const struct state *native)
{
    struct insn in;
    if (!last_insn(p, native, &in))
        return false;
    for (unsigned k = 0; k < in.operands; k++)
        if (in.opnd[k].kind == OPND_MEM && in.opnd[k].size > 10 && in.opnd[k].size != 16 &&
            in.opnd[k].size != 32)
            return true;
    return in.op == OP_call || in.op == OP_iret || in.op == OP_iretd || in.op == OP_iretq ||
           in.op == OP_lcall || in.op == OP_retf || in.op == OP_retfq ||
           (in.op >= OP_cmpsb && in.op <= OP_cmpsq);
}

/* Whether vectors of 16 bytes raise #AC, and whether a limit comes before #GP of a misaligned one,
 * is the processor's choice (SDM vol. 3A 6.15). */
static bool vector_fault_open(const struct program *p, const struct state *native,
                              const struct state *engine)
{
    struct insn in;
    if (!last_insn(p, native, &in))
        return false;
    bool vector = false;
    for (unsigned k = 0; k < in.operands; k++)
        vector |= in.opnd[k].kind == OPND_MEM && in.opnd[k].size >= 16;
    return vector && (native->vector == EXC_AC ||
                      (native->vector == EXC_GP && engine->vector == EXC_SS));
}

static bool limit_fault(const struct state *s)
{
    return s->vector == EXC_GP || s->vector == EXC_SS;
}

/* Whether the last operand in memory reaches beyond the end of its effective addresses. */
static bool operand_wraps(const struct insn *in, const struct state *s)
{
    u64 mask = in->addrsize == 2 ? 0xffff : 0xffffffff, ea = (u64)in->disp;
    unsigned size = 0;
    for (unsigned k = 0; k < in->operands; k++)
        if (in->opnd[k].kind == OPND_MEM)
            size = in->opnd[k].size;
    if (in->base < 16)
        ea += s->gpr[in->base];
    if (in->index < 16 && !in->vsib)
        ea += s->gpr[in->index] * in->scale;
    return (ea & mask) + size > mask + 1;
}

/* Operands that are read or written in two parts. */
static bool in_parts(const struct insn *in)
{
    return in->op == OP_ljmp || in->op == OP_lcall || in->op == OP_lds || in->op == OP_les ||
           in->op == OP_lss || in->op == OP_lfs || in->op == OP_lgs ||
           (in->operands && in->opnd[0].size == 10);
}

/* An operand across the end of 4 GiB in a segment that reaches so far (SDM vol. 3A 5.3); and one of
 * two parts, of which the first may fault before the segment's limit is looked at for the other. */
static bool limit_open(const struct program *p, const struct state *native,
                       const struct state *engine)
{
    struct insn in;
    if (state_mode(native) == 64 || native->rip != engine->rip)
        return false;
    if (limit_fault(native) && /* on the stack, too, where a push begins just above 0 */
        ((engine->vector == EXC_PF && engine->cr2 >= 0xffffff00) ||
         (engine->vector == EXC_AC && (u32)(engine->gpr[RSP] + 0x100) < 0x120)))
        return true;
    if (!last_insn(p, native, &in) || !operand_wraps(&in, native))
        return false;
    if (limit_fault(engine))
        return native->vector == EXC_PF && in_parts(&in);
    return limit_fault(native) && (engine->vector == EXC_PF || engine->vector == EXC_AC);
}

/* MASKMOVQ may fault although the mask is 0, and with or without having entered MMX mode; gathers may
 * take a trap between two elements (SDM vol. 2, VPGATHERDD). */
static bool fault_open(const struct program *p, const struct state *native)
{
    struct insn in;
    return last_insn(p, native, &in) && (in.op == OP_maskmovq || in.op == OP_maskmovdqu ||
                                         (in.vsib && native->vector == EXC_DB));
}

/* AMD's processors take SHA operands at any address; the SDM wants them aligned (exceptions of type
 * 4). */
static bool alignment_open(const struct program *p, const struct state *engine)
{
    struct insn in;
    return engine->vector == EXC_GP && __builtin_cpu_is("amd") && last_insn(p, engine, &in) &&
           in.row->isa == ISA_SHA && in.opnd[1].kind == OPND_MEM;
}

/* Compatibility mode leaves the upper halves undefined when it ends (SDM vol. 1 3.4.1.1).  AMD's
 * processors keep what POPA has got when it faults, apart from RSP; the manual's faults restore
 * everything (SDM vol. 3A 6.5). */
static bool registers_same(const struct program *p, const struct state *native,
                           const struct state *engine)
{
    u64 mask = p->mode == 64 && state_mode(native) == 64 ? ~0ull : 0xffffffff, wrong = 0;
    struct insn in;
    bool popa = last_insn(p, native, &in) && (in.op == OP_popa || in.op == OP_popad);
    for (unsigned i = 0; i < 16; i++)
        if (!popa || i == RSP)
            wrong |= (native->gpr[i] ^ engine->gpr[i]) & mask;
    return wrong == 0;
}

/* The host's kernel returns to the signal handler by IRET, which clears null selectors' RPL. */
static bool segments_same(const struct state *a, const struct state *b)
{
    for (unsigned i = 0; i < 6; i++)
        if (a->sel[i] != b->sel[i] && (a->sel[i] > 3 || b->sel[i] > 3))
            return false;
    return a->fs_base == b->fs_base &&
           a->gs_base == b->gs_base;
}

const char *difference(const struct program *p, const struct state *in,
                       const struct state *native, const struct state *engine)
{
    if (engine->vector == END_TIMEOUT)
        return "the engine hangs";
    if (engine->vector == END_CRASH)
        return "the engine crashes or loses its way";
    /* AMD's MXCSR.MM, which the guest's processor does not have, got into MXCSR. */
    bool foreign = load_le(native->fx + FX_MXCSR, 4) >> 16;
    if (foreign || fault_open(p, native) || alignment_open(p, engine) ||
        vector_fault_open(p, native, engine) || limit_open(p, native, engine))
        return NULL;
    bool open = order_open(p, native);
    if ((native->vector != engine->vector && !open) || native->rip != engine->rip)
        return "exception";
    if (!open && has_error(native->vector) && (native->error ^ engine->error) & error_mask(native))
        return "error code";
    if (!open && native->vector == EXC_PF && native->cr2 != engine->cr2)
        return "CR2";
    if (!registers_same(p, native, engine))
        return "registers";
    if (!segments_same(native, engine))
        return "segment registers";
    if ((native->flags ^ engine->flags) & flags_mask(p, native))
        return "flags";
    if (!sse_same(p, native, engine))
        return "SSE state";
    /* Whether the registers are in MMX mode after #XM from CVTPS2PI and its like is open. */
    if (native->vector != EXC_XM && !x87_same(native, engine))
        return "x87 state";
    if (!data_same(p, in, native, engine))
        return "memory";
    return NULL;
}

/* ---- printing ---- */

static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static void line(const char *name, u64 in, u64 native, u64 engine)
{
    if (in || in != native || native != engine)
        printf("  %-6s in %016llx native %016llx engine %016llx%s\n", name, (unsigned long long)in,
               (unsigned long long)native, (unsigned long long)engine,
               native != engine ? "  <<<" : "");
}

static void print_fx(const struct state *in, const struct state *native, const struct state *engine)
{
    static const struct { const char *name; u8 at, size; } words[] = {
        {"fcw", FX_FCW, 2}, {"fsw", FX_FSW, 2}, {"ftw", FX_FTW, 1}, {"mxcsr", FX_MXCSR, 4}};
    char name[16];
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        line(words[i].name, load_le(in->fx + words[i].at, words[i].size),
             load_le(native->fx + words[i].at, words[i].size),
             load_le(engine->fx + words[i].at, words[i].size));
    for (unsigned i = 0; i < 24; i++) {
        unsigned at = FX_ST + 16 * i;
        snprintf(name, sizeof name, i < 8 ? "st%u" : "xmm%u", i < 8 ? i : i - 8);
        line(name, load_le(in->fx + at, 8), load_le(native->fx + at, 8),
             load_le(engine->fx + at, 8));
        unsigned high = i < 8 ? 2 : 8;
        line(" high", load_le(in->fx + at + 8, high), load_le(native->fx + at + 8, high),
             load_le(engine->fx + at + 8, high));
    }
    for (unsigned i = 0; i < 32; i++) {
        snprintf(name, sizeof name, i & 1 ? " high" : "ymm%u", i / 2);
        line(name, load_le(in->ymm + 8 * i, 8), load_le(native->ymm + 8 * i, 8),
             load_le(engine->ymm + 8 * i, 8));
    }
}

static void print_data(const struct state *in, const struct state *native,
                       const struct state *engine)
{
    unsigned shown = 0;
    char name[16];
    for (unsigned i = 0; i < DATA_SIZE && shown < 16; i += 8) {
        u64 a = load_le(in->data + i, 8), b = load_le(native->data + i, 8),
            c = load_le(engine->data + i, 8);
        if (b == c)
            continue;
        snprintf(name, sizeof name, "+%04x", i);
        line(name, a, b, c);
        shown++;
    }
}

void print_case(const struct program *p, const struct state *in, const struct state *native,
                const struct state *engine)
{
    program_print(p);
    printf("  native: exception %d error %x cr2 %llx at %llx\n", native->vector, native->error,
           (unsigned long long)native->cr2, (unsigned long long)native->rip);
    printf("  engine: exception %d error %x cr2 %llx at %llx\n", engine->vector, engine->error,
           (unsigned long long)engine->cr2, (unsigned long long)engine->rip);
    for (unsigned i = 0; i < 16; i++)
        line(names[i], in->gpr[i], native->gpr[i], engine->gpr[i]);
    static const char *const segs[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    for (unsigned i = 0; i < 6; i++)
        line(segs[i], in->sel[i], native->sel[i], engine->sel[i]);
    line("fsbase", in->fs_base, native->fs_base, engine->fs_base);
    line("gsbase", in->gs_base, native->gs_base, engine->gs_base);
    line("flags", in->flags, native->flags, engine->flags);
    if (flags_mask(p, native) != ~0ull)
        printf("         (undefined: %llx)\n", (unsigned long long)~flags_mask(p, native));
    print_fx(in, native, engine);
    print_data(in, native, engine);
}

/* Programs of one instruction, with the input state arranged around it. */
#include "gen.h"
#include "segments.h"

/* Whether a 16-bit offset in the segment can reach the data. */
static bool near_sel(const struct state *in, unsigned seg)
{
    u32 base = (u32)state_base(in, seg);
    return DATA_AT - base < 0xd000 || base - DATA_AT < DATA_SIZE;
}

static void choose_base(struct mem *m, const struct state *in, unsigned mode)
{
    unsigned regs = mode == MODE64 ? 16 : 8;
    m->in16 = mode == MODE16 ? !m->asize : mode == MODE32 && m->asize;
    if (m->in16) {
        gen_mem16(m, below(8));
        return;
    }
    m->base = (u8)below(regs);
    if (!one_in(3))
        return;
    m->index = (u8)below(regs);
    m->scale = (u8)(1 << below(4));
    if (m->index == RSP || m->index == m->base)
        m->index = REG_NONE;
}

/* A memory operand for address a. */
static void choose_memory(struct mem *m, const struct state *in, unsigned mode,
                          const struct form *f, u64 a)
{
    *m = (struct mem){.index = REG_NONE, .scale = 1, .seg = SEG_NONE};
    m->disp = one_in(3) ? 0 : (s32)below(256) - 128;
    if (one_in(4))
        m->disp = (s32)below(4000) - 2000;
    if (mode == MODE64 ? one_in(16) : one_in(6))
        m->seg = (u8)(mode == MODE64 ? SEG_FS + below(2) : below(6));
    m->asize = f->pfx != 0x67 && one_in(mode == MODE64 ? 24 : 6);
    if (f->pfx == 0x67 && f->has_modrm)
        m->asize = true; /* for the form; the prefix is there once */
    choose_base(m, in, mode);
    m->asize &= f->pfx != 0x67;
    unsigned seg = m->seg == SEG_NONE ? SEG_DS : m->seg;
    if (one_in(10)) {
        m->base = REG_NONE;
        m->scale = 1;
        if (m->in16)
            m->index = REG_NONE;
        if (m->index == REG_NONE)
            m->disp = (s32)(a - state_base(in, seg));
        if (m->in16)
            m->disp = (s16)m->disp;
    } else if (mode == MODE64 && one_in(10)) {
        *m = (struct mem){.base = REG_RIP, .index = REG_NONE, .scale = 1, .disp = (s32)a,
                          .seg = SEG_NONE};
    }
}

/* A gather: indices near, masks mostly set, so that its elements lie around a. */
static void aim_gather(struct state *in, const struct insn *i, u64 a)
{
    bool quad = i->op == OP_pgatherqd || i->op == OP_pgatherqq || i->op == OP_gatherqps ||
                i->op == OP_gatherqpd;
    unsigned v = i->index, m = i->opnd[2].reg;
    u8 *index[2] = {in->fx + FX_XMM + 16 * v, in->ymm + 16 * v};
    u8 *mask[2] = {in->fx + FX_XMM + 16 * m, in->ymm + 16 * m};
    for (unsigned k = 0; k < 32; k += quad ? 8 : 4)
        store_le(index[k / 16] + k % 16, one_in(40) ? rnd() : below(512) - 256ull, quad ? 8 : 4);
    for (unsigned k = 3; k < 32; k += 4)
        if (!one_in(4))
            mask[k / 16][k % 16] |= 0x80;
    if (i->base != REG_NONE)
        in->gpr[i->base] = (a - state_base(in, i->seg) - (u64)i->disp) & size_mask(i->addrsize);
}

/* Sets the registers of the memory operand so that it lies at a. */
static void aim(struct state *in, const struct insn *i, u64 a)
{
    if (i->base == REG_RIP || (i->base == REG_NONE && i->index == REG_NONE))
        return;
    if (i->vsib) {
        aim_gather(in, i, a);
        return;
    }
    u64 index = 0, mask = state_mode(in) == 64 ? ~0ull : 0xffffffff;
    unsigned reg = i->base;
    if (i->base == REG_NONE) {
        reg = i->index;
    } else if (i->index != REG_NONE) {
        in->gpr[i->index] = one_in(2) ? below(1024) : rnd_value() & mask;
        index = in->gpr[i->index] * i->scale;
    }
    in->gpr[reg] = (a - state_base(in, i->seg) - index - (u64)i->disp) & mask;
    u64 beyond = ~size_mask(i->addrsize) & mask;
    if (beyond && one_in(2))
        in->gpr[reg] ^= rnd() & beyond;
}

static u8 *data_at(struct state *in, u64 a, unsigned len)
{
    return a >= DATA_AT && a + len <= DATA_AT + DATA_SIZE ? in->data + (a - DATA_AT) : NULL;
}

static u64 stack_at(const struct state *in)
{
    u64 sp = in->gpr[RSP];
    if (state_mode(in) != 64)
        sp &= segments_big(in->sel[SEG_SS]) ? 0xffffffff : 0xffff;
    return sp + state_base(in, SEG_SS);
}

static void arrange_equal(struct state *in, const struct insn *i, u64 a)
{
    u64 v = i->opnd[0].kind == OPND_REG ? in->gpr[i->opnd[0].reg & 15] : 0;
    const u8 *p = data_at(in, a, 16);
    if (p)
        v = load_le(p, 8);
    if (i->op == OP_cmpxchg) {
        in->gpr[RAX] = v;
    } else if (p) {
        in->gpr[RAX] = i->op == OP_cmpxchg8b ? v & 0xffffffff : v;
        in->gpr[RDX] = i->op == OP_cmpxchg8b ? v >> 32 : load_le(p + 8, 8);
    }
}

static void arrange_bound(struct state *in, const struct insn *i, u64 a)
{
    u8 *p = data_at(in, a, 8);
    s64 v = (s64)in->gpr[i->opnd[0].reg & 7];
    if (p && one_in(2)) {
        store_le(p, (u64)(v - below(2)), i->opsize);
        store_le(p + i->opsize, (u64)(v + below(2)), i->opsize);
    }
}

/* Registers that the instruction uses without naming them, and memory that must make sense. */
static void arrange(struct state *in, const struct insn *i, u64 a)
{
    u8 *p;
    switch (i->op) {
    case OP_xlatb: aim_register(in, RBX, i->seg, rnd_address() - below(256)); break;
    case OP_enter:
    case OP_leave: aim_register(in, RBP, SEG_SS, rnd_address()); break;
    case OP_maskmovq:
    case OP_maskmovdqu: aim_register(in, RDI, i->seg, rnd_address()); break;
    case OP_bound: arrange_bound(in, i, a); break;
    case OP_div:
    case OP_idiv:
        if (one_in(2))
            break;
        in->gpr[RDX] = i->op == OP_idiv && (s64)in->gpr[RAX] < 0 ? ~0ull : 0;
        if (i->opnd[0].size == 1)
            in->gpr[RAX] &= 0xfff;
        break;
    case OP_cmpxchg:
    case OP_cmpxchg8b:
    case OP_cmpxchg16b:
        if (one_in(2))
            arrange_equal(in, i, a);
        break;
    case OP_popf:
    case OP_popfd:
    case OP_popfq:
        p = data_at(in, stack_at(in), 8);
        if (p)
            store_le(p, rnd() & (FL_ARITH | FL_DF | FL_IF | FL_IOPL | FL_TF | FL_NT | FL_AC |
                                 FL_ID), 8);
        break;
    case OP_ldmxcsr:
        if ((p = data_at(in, a, 4)) && !one_in(4))
            store_le(p, rnd() & 0xffff, 4);
        break;
    case OP_fxrstor:
    case OP_fxrstor64:
        if ((p = data_at(in, a, 512)) && !one_in(6))
            store_le(p + FX_MXCSR, rnd() & 0xffff, 4);
        break;
    case OP_jcxz:
    case OP_jrcxz:
    case OP_jecxz:
    case OP_loop:
    case OP_loope:
    case OP_loopne:
        in->gpr[RCX] = one_in(2) ? below(2) : rnd_value();
        if (i->addrsize < 8)
            in->gpr[RCX] = (in->gpr[RCX] & size_mask(i->addrsize)) | (rnd() & 0xffff0000);
        break;
    case OP_verr: case OP_verw: case OP_lar: case OP_lsl:
        if (i->opnd[i->operands - 1].kind == OPND_REG)
            in->gpr[i->opnd[i->operands - 1].reg & 15] = rnd_selector();
        break;
    }
}

/* What is loaded into a segment register lies in a register, in memory or on the stack. */
static void arrange_selector(struct state *in, const struct insn *i, u64 a)
{
    u8 *p = NULL;
    if (!i->operands)
        return;
    const struct operand *o = &i->opnd[0], *from = &i->opnd[1];
    if (i->op == OP_mov && o->kind == OPND_REG && o->cls == RC_SEG) {
        if (from->kind == OPND_REG)
            in->gpr[from->reg & 15] = (in->gpr[from->reg & 15] & ~0xffffull) | rnd_selector();
        else
            p = data_at(in, a, 2);
    } else if (i->op == OP_pop && o->kind == OPND_REG && o->cls == RC_SEG) {
        p = data_at(in, stack_at(in), 2);
    } else if (i->op == OP_les || i->op == OP_lds || i->op == OP_lss || i->op == OP_lfs ||
               i->op == OP_lgs) {
        p = data_at(in, a + i->opsize, 2);
    } else if ((i->op == OP_verr || i->op == OP_verw || i->op == OP_lar || i->op == OP_lsl) &&
               i->opnd[i->operands - 1].kind == OPND_MEM) {
        p = data_at(in, a, 2);
    }
    if (p)
        store_le(p, rnd_selector(), 2);
}

static void arrange_strings(struct state *in, const struct insn *i)
{
    if (!(i->row->props & ROW_REP))
        return;
    u64 from = rnd_address();
    aim_register(in, RSI, i->seg, from);
    aim_register(in, RDI, SEG_ES, one_in(8) ? from + below(16) : rnd_address());
    if (i->rep && !one_in(12))
        in->gpr[RCX] = below(40);
    if (one_in(6))
        in->flags |= FL_DF;
}

/* ---- branches ---- */

static bool has_rel(const struct insn *i)
{
    return i->operands && i->opnd[0].kind == OPND_REL;
}

/* A filler behind the branch, so that taken and not taken differ; the same in all modes. */
static void add_filler(struct program *p)
{
    static const u8 mov[] = {0xb1, 0x5a}; /* mov cl, imm8 */
    struct item *it = &p->items[p->count++];
    *it = (struct item){.len = sizeof mov, .target = -1, .falls = true};
    memcpy(it->bytes, mov, sizeof mov);
}

static void direct_branch(struct program *p, const struct insn *i)
{
    struct item *it = &p->items[0];
    bool near = i->map != 0 || i->opcode == 0xe8 || i->opcode == 0xe9;
    it->fix_size = !near ? 1 : i->opsize == 2 ? 2 : 4;
    it->fix_at = it->len - it->fix_size;
    it->fix_end = it->len;
    it->target = 2;
    it->falls = i->op != OP_jmp && i->op != OP_call;
    add_filler(p);
}

static void indirect_branch(struct program *p, struct state *in, const struct insn *i, u64 a)
{
    u64 to = p->cs_offset + p->at[2];
    u8 *at = NULL;
    if (one_in(10))
        to = one_in(2) ? DATA_AT + below(DATA_SIZE) : rnd() >> 17;
    if (i->op == OP_ret)
        at = data_at(in, stack_at(in), 8);
    else if (i->opnd[0].kind == OPND_MEM)
        at = data_at(in, a, 8);
    else
        in->gpr[i->opnd[0].reg & 15] =
            state_mode(in) == 64 ? to : (to & 0xffff) | (rnd() & 0xffff0000);
    if (state_mode(in) == 32 && i->opnd[0].kind == OPND_REG && i->op != OP_ret)
        in->gpr[i->opnd[0].reg & 15] = to & 0xffffffff;
    if (at)
        store_le(at, to, i->opsize);
}

/* Far jumps, calls and returns: mostly to item 2 through some code segment. */
static void far_branch(struct program *p, struct state *in, const struct insn *i, u64 a)
{
    static const u16 good[] = {SEL_CODE32, SEL_CODE64, LDT_SEL(LDT_CODE16),
                               LDT_SEL(LDT_CODE16_TIGHT), LDT_SEL(LDT_CODE32),
                               LDT_SEL(LDT_CODE32_PAGES)};
    u16 sel = !gen_has_ldt || one_in(4) ? in->sel[SEG_CS]
              : one_in(5)               ? rnd_selector()
                                        : good[below(ARRAY_SIZE(good))];
    /* Which mode's stack a transfer into or out of 64-bit code uses is open. */
    bool enters = segments_code_mode(sel) == 64, leaves = state_mode(in) == 64;
    if (enters != leaves && (in->sel[SEG_SS] != SEL_FLAT || in->gpr[RSP] >> 32))
        sel = in->sel[SEG_CS];
    u64 to = CODE_AT + p->offset + p->at[2] - segments_base(sel);
    u8 *at = NULL, raw[10];
    if (one_in(12))
        to = rnd_value();
    store_le(raw, to, 8);
    store_le(raw + i->opsize, sel, 2);
    unsigned n = i->opsize;
    switch (i->op) {
    case OP_retf:
    case OP_retfq:
    case OP_iret:
    case OP_iretd:
    case OP_iretq:
        if (!(at = data_at(in, stack_at(in), 5 * n)))
            return;
        store_le(at + n, sel, n);
        store_le(at + 2 * n, (rnd() & (FL_ARITH | FL_DF | FL_IOPL | FL_NT | FL_AC)) | FL_FIXED, n);
        if (state_mode(in) == 64 && i->op != OP_retf && i->op != OP_retfq) {
            store_le(at + 3 * n, in->gpr[RSP] + below(64), n);
            store_le(at + 4 * n, one_in(3) ? rnd_selector() : SEL_FLAT, n);
        }
        store_le(at, to, n);
        return;
    default:
        if (i->opnd[0].kind == OPND_FAR)
            at = p->code + p->items[0].len - n - 2;
        else if (!(at = data_at(in, a, n + 2)))
            return;
        memcpy(at, raw, n + 2);
        if (i->opnd[0].kind == OPND_FAR)
            memcpy(p->items[0].bytes, p->code, p->items[0].len);
    }
}

static bool is_far(const struct insn *i)
{
    switch (i->op) {
    case OP_ljmp: case OP_lcall: case OP_retf: case OP_retfq: case OP_iret: case OP_iretd:
    case OP_iretq:
        return true;
    default: return false;
    }
}

/* Whether control goes somewhere else than to the next instruction or an exception. */
static bool goes_elsewhere(const struct insn *i)
{
    return i->row->props & ROW_BRANCH && !gen_always_faults(i->row) && i->op != OP_int3 &&
           i->op != OP_int1 && i->op != OP_into;
}

static void add_branch(struct program *p, const struct insn *i)
{
    if (!goes_elsewhere(i))
        return;
    if (has_rel(i)) {
        direct_branch(p, i);
    } else {
        p->items[0].falls = false;
        p->items[0].target = 2;
        add_filler(p);
    }
}

/* ---- prefixes ---- */

/* Opcodes with prefixes that other processors have: SSE4A, and many in 0F 01. */
static bool foreign(const struct insn *in)
{
    return in->map == 1 && (in->opcode == 0x01 || in->opcode == 0x2b || in->opcode == 0x78 ||
                            in->opcode == 0x79);
}

/* Puts prefixes where they change something, nothing, or make the instruction illegal or too
 * long.  The result is any instruction of the same opcode, or none. */
static bool mangle(struct item *it, unsigned mode, struct insn *in)
{
    static const u8 legacy[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    unsigned n = one_in(6) ? 8 + below(9) : 1 + below(3);
    if (it->fix_size || it->len + n > ITEM_MAX)
        return false;
    u8 same = legacy[below(ARRAY_SIZE(legacy))];
    for (unsigned k = 0; k < n; k++) {
        u8 b = n > 4 && !one_in(4) ? same : legacy[below(ARRAY_SIZE(legacy))];
        if (mode == MODE64 && one_in(4))
            b = (u8)(0x40 | below(16));
        memmove(it->bytes + 1, it->bytes, it->len++);
        it->bytes[0] = b;
    }
    enum decode_status status = decode(in, it->bytes, 15, MODE_BITS(mode));
    if (status == DECODE_OK) {
        it->len = in->len; /* the sizes of what belongs to it may have changed */
        return gen_usable(in, it->bytes);
    }
    in->row = NULL;
    /* UD0 and UD1 have no ModRM byte on some. */
    if (status == DECODE_TOO_LONG && in->map == 1 && (in->opcode == 0xb9 || in->opcode == 0xff))
        return false;
    /* What 66 does to a near branch decides how long it is. */
    bool near = in->map == 1 ? (in->opcode & 0xf0) == 0x80
                             : in->map == 0 && (in->opcode & 0xfe) == 0xe8;
    if (near && mode == MODE64)
        return false;
    /* Not all look for LOCK first. */
    if (in->lock && in->map == 1 && in->opcode <= 1)
        return false;
    return status == DECODE_TOO_LONG ||
           (status == DECODE_UD && !foreign(in) && it->len <= 11);
}

/* ---- all of it ---- */

static void choose_place(struct program *p, struct state *in, unsigned mode)
{
    p->mode = MODE_BITS(mode);
    p->single = true;
    p->count = 1;
    p->offset = 16 * below(CODE_SIZE / 16 - 8);
    if (one_in(6))
        p->offset = 0x1000 * (1 + below(3)) - below(16);
    rnd_state(in);
    rnd_segments(in, mode, false);
    p->cs_offset = (u32)(CODE_AT + p->offset - segments_base(in->sel[SEG_CS]));
    in->rip = p->cs_offset;
    if (one_in(10))
        aim_register(in, RSP, SEG_SS, rnd_address());
    if (one_in(16))
        in->flags |= FL_DF;
    if (one_in(12))
        in->flags |= FL_AC;
    if (one_in(24))
        in->flags |= FL_TF;
}

static bool tame_operands(struct state *in, const struct insn *i)
{
    /* A bit number in a register reaches far; keep most of them near. */
    if (i->op >= OP_bt && i->op <= OP_bts && i->opnd[1].kind == OPND_REG &&
        i->opnd[1].reg != i->base && i->opnd[1].reg != i->index && !one_in(8))
        in->gpr[i->opnd[1].reg] = (u64)((s64)below(8192) - 4096);
    if ((i->op == OP_shld || i->op == OP_shrd) && i->opsize == 2) { /* undefined beyond 16 */
        if (i->opnd[2].kind == OPND_IMM && (i->imm & 31) > 16)
            return false;
        in->gpr[RCX] &= ~(u64)0xf0;
    }
    return true;
}

static bool try_single(struct program *p, struct state *in, unsigned mode, unsigned row)
{
    const struct form *f = gen_form(mode, row);
    struct item *it = &p->items[0];
    struct insn i;
    struct mem m;
    u64 a = rnd_address();
    unsigned where;
    if (gen_row(mode, row)->props & ROW_ALIGN16 ? !one_in(10) : one_in(3))
        a &= one_in(2) ? ~15ull : ~31ull;
    choose_place(p, in, mode);
    *it = (struct item){.target = -1, .falls = true};
    choose_memory(&m, in, mode, f, a);
    if (gen_row(mode, row)->props & ROW_VSIB) {
        if (m.base == REG_RIP || m.in16)
            return false;
        m.index = (u8)below(mode == MODE64 ? 16 : 8);
    }
    unsigned seg = m.seg == SEG_NONE ? SEG_DS : m.seg;
    if (mode == MODE16 && !one_in(8) && !near_sel(in, seg))
        return false;
    if (gen_row(mode, row)->props & ROW_BRANCH && m.base == REG_RIP)
        return false;
    if (!gen_encode(it, mode, row, f, &m, a - state_base(in, seg), &i))
        return false;
    if (i.op == OP_enter && one_in(2)) { /* near */
        it->bytes[it->len - 2] &= 1;
        it->bytes[it->len - 1] &= 3;
        decode(&i, it->bytes, 15, p->mode);
    }
    if (one_in(6) && (!mangle(it, mode, &i) || (i.row && i.row->id != row)))
        return false;
    if (!i.row)
        return program_assemble(p, &where); /* just to see what it does */
    arrange_strings(in, &i);
    bool memory = i.has_modrm && i.modrm < 0xc0;
    if (memory)
        aim(in, &i, a);
    if (!tame_operands(in, &i))
        return false;
    arrange(in, &i, a);
    add_branch(p, &i);
    if (!program_assemble(p, &where))
        return false;
    if (memory)
        a = it->fix_size ? a : state_address(in, &i);
    arrange_selector(in, &i, a);
    if (is_far(&i))
        far_branch(p, in, &i, a);
    else if (goes_elsewhere(&i) && !has_rel(&i))
        indirect_branch(p, in, &i, a);
    return true;
}

bool gen_single(struct program *p, struct state *in, unsigned mode, unsigned row)
{
    for (unsigned tries = 0; tries < 64; tries++)
        if (try_single(p, in, mode, row))
            return true;
    return false;
}

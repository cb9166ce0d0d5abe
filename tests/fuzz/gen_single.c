/* Programs of one instruction, with the input state arranged around it. */
#include "gen.h"

static void choose_memory(struct mem *m, u64 a)
{
    *m = (struct mem){.base = (u8)below(16), .index = REG_NONE, .scale = 1};
    m->disp = one_in(3) ? 0 : (s32)below(256) - 128;
    if (one_in(4))
        m->disp = (s32)below(4000) - 2000;
    if (one_in(3)) {
        m->index = (u8)below(16);
        m->scale = (u8)(1 << below(4));
        if (m->index == RSP || m->index == m->base)
            m->index = REG_NONE;
    }
    if (one_in(24))
        m->gs = true;
    else if (one_in(24))
        m->a32 = true;
    if (one_in(10)) {
        m->base = REG_NONE;
        if (m->index == REG_NONE)
            m->disp = (s32)(a - (m->gs ? GS_BASE : 0));
        m->scale = 1;
    } else if (one_in(10)) {
        *m = (struct mem){.base = REG_RIP, .index = REG_NONE, .scale = 1, .disp = (s32)a};
    }
}

/* Sets the registers of a memory operand so that it lies at a. */
static void aim(struct state *in, const struct mem *m, u64 a)
{
    if (m->gs)
        a -= GS_BASE;
    if (m->base < 16) {
        u64 index = 0;
        if (m->index != REG_NONE) {
            in->gpr[m->index] = one_in(2) ? below(1024) : rnd_value();
            index = in->gpr[m->index] * m->scale;
        }
        in->gpr[m->base] = a - index - (u64)(s64)m->disp;
        if (m->a32 && one_in(2))
            in->gpr[m->base] ^= rnd() << 32;
    } else if (m->base == REG_NONE && m->index != REG_NONE) {
        in->gpr[m->index] = a - (u64)(s64)m->disp;
    }
}

static u8 *data_at(struct state *in, u64 a, unsigned len)
{
    return a >= DATA_AT && a + len <= DATA_AT + DATA_SIZE ? in->data + (a - DATA_AT) : NULL;
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

/* Registers that the instruction uses without naming them, and memory that must make sense. */
static void arrange(struct state *in, const struct insn *i, u64 a)
{
    u8 *p;
    switch (i->op) {
    case OP_xlatb: in->gpr[RBX] = rnd_address() - below(256); break;
    case OP_enter:
    case OP_leave: in->gpr[RBP] = rnd_address(); break;
    case OP_maskmovq:
    case OP_maskmovdqu: in->gpr[RDI] = rnd_address(); break;
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
        p = data_at(in, in->gpr[RSP], 8);
        if (p)
            store_le(p, rnd() & (FL_ARITH | FL_DF | FL_IF | FL_IOPL), 8);
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
    case OP_jrcxz:
    case OP_jecxz:
    case OP_loop:
    case OP_loope:
    case OP_loopne: in->gpr[RCX] = one_in(2) ? below(2) : rnd_value(); break;
    }
}

static void arrange_strings(struct state *in, const struct insn *i)
{
    if (!(i->row->props & ROW_REP))
        return;
    in->gpr[RSI] = rnd_address();
    in->gpr[RDI] = one_in(8) ? in->gpr[RSI] + below(16) : rnd_address();
    if (i->rep && !one_in(12))
        in->gpr[RCX] = below(40);
    if (one_in(6))
        in->flags |= FL_DF;
}

static bool has_rel(const struct insn *i)
{
    return i->operands && i->opnd[0].kind == OPND_REL;
}

/* A filler behind the branch, so that taken and not taken differ. */
static void add_filler(struct program *p)
{
    static const u8 mov[] = {0x41, 0xb9, 0x11, 0x22, 0x33, 0x44}; /* mov r9d, imm32 */
    struct item *it = &p->items[p->count++];
    *it = (struct item){.len = sizeof mov, .target = -1, .falls = true};
    memcpy(it->bytes, mov, sizeof mov);
}

static bool direct_branch(struct program *p, const struct insn *i)
{
    struct item *it = &p->items[0];
    it->fix_size = i->map == 0 && i->opcode != 0xe8 && i->opcode != 0xe9 ? 1 : 4;
    it->fix_at = it->len - it->fix_size;
    it->fix_end = it->len;
    it->target = 2;
    it->falls = i->op != OP_jmp && i->op != OP_call;
    add_filler(p);
    return true;
}

static void indirect_branch(struct program *p, struct state *in, const struct insn *i, u64 a)
{
    u64 to = CODE_AT + p->offset + p->at[2];
    u8 *at = NULL;
    if (one_in(10))
        to = one_in(2) ? DATA_AT + below(DATA_SIZE) : rnd() >> 17;
    if (i->op == OP_ret)
        at = data_at(in, in->gpr[RSP], 8);
    else if (i->opnd[0].kind == OPND_MEM)
        at = data_at(in, a, 8);
    else
        in->gpr[i->opnd[0].reg & 15] = to;
    if (at)
        store_le(at, to, 8);
}

static bool try_single(struct program *p, struct state *in, unsigned row)
{
    const struct form *f = gen_form(row);
    struct item *it = &p->items[0];
    struct insn i;
    struct mem m;
    u64 a = rnd_address();
    unsigned where;
    if (gen_row(row)->props & ROW_ALIGN16 ? !one_in(10) : one_in(3))
        a &= ~15ull;
    p->single = true;
    p->count = 1;
    p->offset = 16 * below(CODE_SIZE / 16 - 8);
    if (one_in(6))
        p->offset = 0x1000 * (1 + below(3)) - below(16);
    *it = (struct item){.target = -1, .falls = true};
    choose_memory(&m, a);
    if (f->opcode >= 0xa0 && f->opcode <= 0xa3 && f->map == 0)
        m = (struct mem){.base = REG_NONE, .index = REG_NONE, .disp = (s32)a};
    bool branch = gen_row(row)->props & ROW_BRANCH;
    if (branch && m.base == REG_RIP)
        return false;
    if (!gen_encode(it, row, f, &m, &i))
        return false;
    rnd_state(in);
    in->rip = CODE_AT + p->offset;
    if (one_in(10))
        in->gpr[RSP] = rnd_address();
    arrange_strings(in, &i);
    if (f->has_modrm && f->modrm >> 6 != 3)
        aim(in, &m, a);
    /* A bit number in a register reaches far; keep most of them near. */
    if (i.op >= OP_bt && i.op <= OP_bts && i.opnd[1].kind == OPND_REG &&
        i.opnd[1].reg != m.base && i.opnd[1].reg != m.index && !one_in(8))
        in->gpr[i.opnd[1].reg] = (u64)((s64)below(8192) - 4096);
    arrange(in, &i, a);
    if ((i.op == OP_shld || i.op == OP_shrd) && i.opsize == 2) { /* undefined beyond 16 */
        if (i.opnd[2].kind == OPND_IMM && (i.imm & 31) > 16)
            return false;
        in->gpr[RCX] &= ~(u64)0xf0;
    }
    if (branch && has_rel(&i)) {
        direct_branch(p, &i);
    } else if (branch) {
        it->falls = false;
        it->target = 2;
        add_filler(p);
    }
    if (!program_assemble(p, &where))
        return false;
    if (branch && !has_rel(&i))
        indirect_branch(p, in, &i, a);
    return true;
}

bool gen_single(struct program *p, struct state *in, unsigned row)
{
    for (unsigned tries = 0; tries < 64; tries++)
        if (try_single(p, in, row))
            return true;
    return false;
}

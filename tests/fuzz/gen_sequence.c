/* Programs of several instructions: computation on registers and memory, forward branches, calls,
 * and loops of a bounded number of rounds. */
#include "gen.h"

/* R15 counts the rounds of loops; nothing else writes it. */
#define COUNTER R15

struct builder {
    struct program *p;
    struct state *in;
    u8 ptr[3];      /* registers that point into the data and keep doing so */
    unsigned style; /* STYLE_ */
    bool straight;  /* no branches: long blocks */
    bool faulty;    /* one of its accesses will probably fault */
    int loop;       /* item behind the head of the open loop, or -1 */
};

enum { STYLE_INT, STYLE_SSE, STYLE_X87, STYLE_ANY, STYLES };

static const u16 hot_ops[] = {
    OP_mov, OP_mov, OP_add, OP_sub, OP_cmp, OP_test, OP_and, OP_or, OP_xor, OP_lea, OP_shl, OP_shr,
    OP_sar, OP_inc, OP_dec, OP_movzx, OP_movsx, OP_movsxd, OP_imul, OP_push, OP_pop, OP_setcc,
    OP_cmovcc, OP_adc, OP_sbb, OP_neg, OP_not, OP_bt, OP_bts, OP_rol, OP_ror, OP_rcl, OP_xchg,
    OP_cmpxchg, OP_xadd, OP_mul, OP_div, OP_cdq, OP_cqo, OP_bsf, OP_shld, OP_stc, OP_cmc};

static u16 hot_rows[1024], int_rows[2048], sse_rows[2048], x87_rows[1024];
static unsigned hot_count, int_count, sse_count, x87_count;

static void sort_rows(void)
{
    const u16 *rows;
    unsigned n = gen_rows(&rows);
    for (unsigned k = 0; k < n; k++) {
        const struct opcode_row *r = gen_row(rows[k]);
        if (r->props & ROW_BRANCH)
            continue;
        if (r->isa == ISA_X87)
            x87_rows[x87_count++] = rows[k];
        else if (r->isa >= ISA_MMX && r->isa <= ISA_SSE42 && r->op != OP_crc32)
            sse_rows[sse_count++] = rows[k];
        else
            int_rows[int_count++] = rows[k];
        for (unsigned h = 0; h < ARRAY_SIZE(hot_ops); h++)
            if (r->op == hot_ops[h])
                hot_rows[hot_count++] = rows[k];
    }
}

/* Rows of hot mnemonics come up alike however many encodings they have. */
static unsigned hot_row(void)
{
    u16 op = hot_ops[below(ARRAY_SIZE(hot_ops))];
    for (;;) {
        unsigned row = hot_rows[below(hot_count)];
        if (gen_row(row)->op == op)
            return row;
    }
}

static unsigned pick_row(const struct builder *b)
{
    static const u8 hot[STYLES] = {85, 30, 30, 35}, sse[STYLES] = {0, 60, 5, 30},
                    x87[STYLES] = {0, 0, 55, 10};
    unsigned r = below(100);
    if (r < hot[b->style])
        return hot_row();
    r -= hot[b->style];
    if (r < sse[b->style])
        return sse_rows[below(sse_count)];
    r -= sse[b->style];
    if (r < x87[b->style])
        return x87_rows[below(x87_count)];
    return int_rows[below(int_count)];
}

/* ---- items by hand ---- */

static struct item *new_item(struct builder *b)
{
    struct item *it = &b->p->items[b->p->count++];
    *it = (struct item){.target = -1, .falls = true};
    return it;
}

static void put(struct item *it, const void *bytes, unsigned n)
{
    memcpy(it->bytes + it->len, bytes, n);
    it->len = (u8)(it->len + n);
}

static void put_le(struct item *it, u64 v, unsigned n)
{
    u8 raw[8];
    store_le(raw, v, n);
    put(it, raw, n);
}

/* op r32, imm32: opcode 81 /ext, or B8+r for ext 8. */
static void put_imm(struct item *it, unsigned ext, unsigned reg, u32 imm)
{
    if (reg & 8)
        put(it, (u8[]){0x41}, 1);
    if (ext == 8)
        put(it, (u8[]){(u8)(0xb8 | (reg & 7))}, 1);
    else
        put(it, (u8[]){0x81, (u8)(0xc0 | ext << 3 | (reg & 7))}, 2);
    put_le(it, imm, 4);
}

/* LEA r64 with the address of an item. */
static void put_lea_target(struct item *it, unsigned reg, unsigned target)
{
    put(it, (u8[]){(u8)(0x48 | (reg & 8) >> 1), 0x8d, (u8)(5 | (reg & 7) << 3)}, 3);
    it->fix_at = it->len;
    it->fix_size = 4;
    put_le(it, 0, 4);
    it->fix_end = it->len;
    it->target = (s16)target;
}

/* ---- registers ---- */

static bool is_ptr(const struct builder *b, unsigned reg)
{
    return reg == b->ptr[0] || reg == b->ptr[1] || reg == b->ptr[2];
}

/* A register that may be overwritten. */
static unsigned free_reg(const struct builder *b)
{
    for (;;) {
        unsigned r = below(15);
        if (r != RSP && !is_ptr(b, r))
            return r;
    }
}

static unsigned ptr_reg(const struct builder *b)
{
    return b->ptr[below(3)];
}

static bool writes(const struct insn *in, unsigned k)
{
    switch (in->op) {
    case OP_cmp: case OP_test: case OP_bt: case OP_push: return false;
    case OP_xchg: case OP_xadd: case OP_mulx: return k < 2;
    default: return k == 0;
    }
}

/* Whether the instruction leaves alone what later ones rely on. */
static bool harmless(const struct builder *b, const struct insn *in)
{
    for (unsigned k = 0; k < in->operands; k++) {
        if (in->opnd[k].kind != OPND_REG || in->opnd[k].cls > RC_GPR8H || !writes(in, k))
            continue;
        unsigned reg = in->opnd[k].reg;
        if (reg == COUNTER || is_ptr(b, reg) || (reg == RSP && !one_in(30)))
            return false;
    }
    switch (in->op) {
    case OP_enter: case OP_leave: return !is_ptr(b, RBP);
    case OP_popf: case OP_popfd: case OP_popfq:
    case OP_fnstenv: case OP_fnsave: case OP_fxsave: case OP_fxsave64: return false;
    case OP_shld: case OP_shrd: return in->opsize != 2; /* undefined results */
    case OP_fldenv: case OP_frstor: case OP_fxrstor: case OP_fxrstor64: case OP_ldmxcsr:
        return one_in(8);
    default: return true;
    }
}

/* ---- plain instructions ---- */

static void choose_memory(struct builder *b, struct mem *m, bool aligned)
{
    s32 unit = aligned ? 16 : one_in(3) ? 1 : 8;
    s32 disp = ((s32)below(0x400) - 0x200) / unit * unit;
    u32 at = DATA_AT + 0x800 + below(0x2000) / (unsigned)unit * (unsigned)unit;
    *m = (struct mem){.base = (u8)ptr_reg(b), .index = REG_NONE, .scale = 1, .disp = disp};
    switch (below(10)) {
    case 0:
    case 1: {
        unsigned r = free_reg(b);
        struct item *it = new_item(b);
        put_imm(it, one_in(3) ? 8 : 4, r, aligned ? 0x70 : 0x7f);
        m->index = (u8)r;
        m->scale = (u8)(1 << below(4));
        break;
    }
    case 2: m->base = RSP; m->disp = disp & 0xf8; break;
    case 3: *m = (struct mem){.base = REG_RIP, .index = REG_NONE, .disp = (s32)at}; break;
    case 4: *m = (struct mem){.base = REG_NONE, .index = REG_NONE, .disp = (s32)at}; break;
    case 5:
        if (one_in(8) || (b->faulty && one_in(2)))
            m->base = (u8)below(15);
        else if (b->faulty && one_in(2))
            m->disp += DATA_RW - 0x800 - (s32)below(16);
        else if (one_in(4))
            *m = (struct mem){.base = REG_NONE, .index = REG_NONE, .gs = true, .disp = disp};
        break;
    }
}

/* What must hold before the instruction that will follow. */
static void prepare(struct builder *b, const struct insn *in)
{
    if (in->row->props & ROW_REP) {
        put_imm(new_item(b), 8, RSI, DATA_AT + 0x800 + 16 * below(0x180));
        put_imm(new_item(b), 8, RDI, DATA_AT + 0x800 + 16 * below(0x180));
        if (in->rep)
            put_imm(new_item(b), 8, RCX, below(40));
    } else if (in->op == OP_div || in->op == OP_idiv) {
        static const u8 zero_edx[] = {0x31, 0xd2}, one_ax[] = {0x0f, 0xb6, 0xc0};
        if (one_in(8))
            return;
        if (in->opnd[0].size == 1)
            put(new_item(b), one_ax, 3);
        else
            put(new_item(b), zero_edx, 2);
        if (in->opnd[0].kind == OPND_REG && in->opnd[0].reg != RDX && in->opnd[0].reg != RSP &&
            in->opnd[0].cls == RC_GPR && in->opnd[0].reg != COUNTER && !is_ptr(b, in->opnd[0].reg))
            put_imm(new_item(b), 1, in->opnd[0].reg, 1);
    } else if (in->op == OP_maskmovq || in->op == OP_maskmovdqu) {
        put_imm(new_item(b), 8, RDI, DATA_AT + 0x800 + below(0x1800));
    }
}

static void add_plain(struct builder *b)
{
    unsigned start = b->p->count;
    for (unsigned tries = 0; tries < 50; tries++) {
        unsigned row = pick_row(b);
        const struct form *f = gen_form(row);
        struct item it = {.target = -1, .falls = true};
        struct insn in;
        struct mem m;
        b->p->count = start;
        choose_memory(b, &m, gen_row(row)->props & ROW_ALIGN16 && !one_in(20));
        if (f->opcode >= 0xa0 && f->opcode <= 0xa3 && f->map == 0)
            m = (struct mem){.base = REG_NONE, .index = REG_NONE, .disp = DATA_AT + 0x900};
        bool memory = f->has_modrm && f->modrm >> 6 != 3;
        if (!memory)
            b->p->count = start;
        if (!gen_encode(&it, row, f, &m, &in) || !harmless(b, &in))
            continue;
        if (in.op >= OP_bt && in.op <= OP_bts && memory && in.opnd[1].kind == OPND_REG &&
            m.index == REG_NONE) {
            unsigned r = in.opnd[1].reg;
            if (r != COUNTER && r != RSP && !is_ptr(b, r))
                put_imm(new_item(b), 4, r, 0xfff);
        }
        prepare(b, &in);
        *new_item(b) = it;
        return;
    }
    b->p->count = start;
}

/* ---- control flow ---- */

static unsigned ahead(const struct builder *b)
{
    return b->p->count + 1 + below(6);
}

static void add_branch(struct builder *b)
{
    unsigned to = ahead(b);
    struct item *it = new_item(b);
    unsigned cc = below(16);
    it->target = (s16)to;
    if (one_in(12)) {
        put(it, (u8[]){(u8)(0xe0 + below(4)), 0}, 2); /* LOOPcc, JRCXZ */
        it->fix_size = 1;
    } else if (one_in(2)) {
        put(it, (u8[]){(u8)(0x70 | cc), 0}, 2);
        it->fix_size = 1;
    } else {
        put(it, (u8[]){0x0f, (u8)(0x80 | cc), 0, 0, 0, 0}, 6);
        it->fix_size = 4;
    }
    it->fix_at = it->len - it->fix_size;
    it->fix_end = it->len;
}

/* Jumps that are always taken, of all kinds. */
static void add_jump(struct builder *b)
{
    unsigned to = ahead(b), r = free_reg(b), kind = below(6);
    u8 rex = 0x40 | (u8)(r >> 3), low = r & 7;
    struct item *it = new_item(b);
    it->falls = false;
    if (kind < 2) {
        put(it, (u8[]){kind ? 0xe8 : 0xe9, 0, 0, 0, 0}, 5);
        it->fix_at = 1;
        it->fix_size = 4;
        it->fix_end = 5;
        it->target = (s16)to;
        return;
    }
    put_lea_target(it, r, to);
    switch (kind) {
    case 2: put(it, (u8[]){rex, 0xff, (u8)(0xe0 | low)}, 3); break; /* JMP r */
    case 3: put(it, (u8[]){rex, 0xff, (u8)(0xd0 | low)}, 3); break; /* CALL r */
    case 4: put(it, (u8[]){rex, (u8)(0x50 | low), 0xc3}, 3); break; /* PUSH r; RET */
    default: /* MOV [rsp-16],r; JMP [rsp-16] */
        put(it, (u8[]){(u8)(0x48 | (r & 8) >> 1), 0x89, (u8)(0x44 | low << 3), 0x24, 0xf0}, 5);
        put(it, (u8[]){0xff, 0x64, 0x24, 0xf0}, 4);
    }
}

static void add_flags_load(struct builder *b)
{
    struct item *it = new_item(b);
    put(it, (u8[]){0x68}, 1); /* PUSH imm32; POPFQ */
    put_le(it, (rnd() & (FL_ARITH | (one_in(8) ? FL_DF : 0))) | FL_FIXED, 4);
    put(it, (u8[]){0x9d}, 1);
}

static void open_loop(struct builder *b)
{
    struct item *it = new_item(b);
    put_imm(it, 8, COUNTER, 1 + below(12));
    it->loop_head = true;
    b->loop = (int)b->p->count;
}

/* Ends for any counter, also one that the head never set. */
static void close_loop(struct builder *b)
{
    static const u8 dec[] = {0x41, 0xff, 0xcf}, sub[] = {0x41, 0x83, 0xef, 0x01},
                    test[] = {0x41, 0x83, 0xc7, 0xff, 0x45, 0x85, 0xff};
    struct item *it = new_item(b);
    unsigned kind = below(3);
    if (kind == 0)
        put(it, dec, sizeof dec);
    else if (kind == 1)
        put(it, sub, sizeof sub);
    else
        put(it, test, sizeof test);
    put(it, (u8[]){0x0f, 0x8f, 0, 0, 0, 0}, 6); /* JG */
    it->fix_size = 4;
    it->fix_at = it->len - 4;
    it->fix_end = it->len;
    it->target = (s16)b->loop;
    b->loop = -1;
}

static void add_next(struct builder *b, unsigned want)
{
    unsigned r = b->straight ? 50 : below(100), n = b->p->count;
    if (r < 11)
        add_branch(b);
    else if (r < 13)
        add_jump(b);
    else if (r < 17 && b->loop < 0 && n + 4 < want)
        open_loop(b);
    else if (r < 32 && b->loop >= 0 && n > (unsigned)b->loop + 2)
        close_loop(b);
    else if (r == 99)
        add_flags_load(b);
    else
        add_plain(b);
}

/* CMP defines all flags. */
static bool define_flags(struct program *p, unsigned i)
{
    if (p->count == MAX_ITEMS)
        return false;
    memmove(&p->items[i + 1], &p->items[i], (p->count - i) * sizeof p->items[0]);
    p->count++;
    for (unsigned k = 0; k < p->count; k++)
        if (k != i && p->items[k].target > (s16)i)
            p->items[k].target++;
    p->items[i] = (struct item){.target = -1, .falls = true};
    put(&p->items[i], (u8[]){0x48, 0x39, (u8)(0xc0 | below(64))}, 3);
    return true;
}

static bool try_sequence(struct program *p, struct state *in)
{
    static const u8 ptrs[] = {RBX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14};
    struct builder b = {.p = p, .in = in, .loop = -1};
    unsigned want = 5 + below(40), style = below(10), where;
    b.style = style < 5 ? STYLE_INT : style < 7 ? STYLE_SSE : style < 8 ? STYLE_X87 : STYLE_ANY;
    b.straight = one_in(5);
    b.faulty = one_in(3);
    for (unsigned i = 0; i < 3; i++)
        b.ptr[i] = ptrs[below(ARRAY_SIZE(ptrs))];
    p->single = false;
    p->count = 0;
    p->offset = 4 * below((CODE_SIZE - sizeof p->code) / 4);
    rnd_state(in);
    in->rip = CODE_AT + p->offset;
    for (unsigned i = 0; i < 3; i++)
        in->gpr[b.ptr[i]] = DATA_AT + 0x800 + 16 * below(0x180);
    in->gpr[COUNTER] = below(12);
    while (p->count < want && p->count < MAX_ITEMS - 10)
        add_next(&b, want);
    if (b.loop >= 0)
        close_loop(&b);
    for (unsigned i = 0; i < p->count; i++)
        if (p->items[i].target > (s16)p->count)
            p->items[i].target = (s16)p->count;
    for (unsigned tries = 0; tries < 40; tries++) {
        if (program_assemble(p, &where))
            return true;
        if (where == MAX_ITEMS || !define_flags(p, where))
            return false;
    }
    return false;
}

void gen_sequence(struct program *p, struct state *in)
{
    if (!hot_count)
        sort_rows();
    while (!try_sequence(p, in))
        ;
}

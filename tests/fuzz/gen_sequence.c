/* Programs of several instructions: computation on registers and memory, forward branches, calls,
 * and loops of a bounded number of rounds. */
#include "gen.h"
#include "segments.h"

struct builder {
    struct program *p;
    struct state *in;
    unsigned mode;  /* MODE16 to MODE64 */
    u8 counter;     /* counts the rounds of loops; nothing else writes it */
    u32 data;       /* offset of the data in DS, ES and SS */
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

static struct row_lists {
    u16 hot[1024], integer[2048], sse[2048], x87[1024];
    unsigned hot_count, int_count, sse_count, x87_count;
} lists[MODES];

/* Whether later instructions can rely on anything after it. */
static bool row_fits(const struct opcode_row *r)
{
    return !(r->props & (ROW_BRANCH | ROW_SYSTEM)) && !gen_always_faults(r);
}

static void sort_rows(unsigned mode)
{
    struct row_lists *l = &lists[mode];
    const u16 *rows;
    unsigned n = gen_rows(mode, &rows);
    for (unsigned k = 0; k < n; k++) {
        const struct opcode_row *r = gen_row(mode, rows[k]);
        if (!row_fits(r))
            continue;
        bool vector = r->isa >= ISA_MMX && r->isa <= ISA_SHA;
        if (r->isa == ISA_X87)
            l->x87[l->x87_count++] = rows[k];
        else if ((vector || (r->isa >= ISA_F16C && r->isa <= ISA_VPCLMUL)) && r->op != OP_crc32)
            l->sse[l->sse_count++] = rows[k];
        else
            l->integer[l->int_count++] = rows[k];
        for (unsigned h = 0; h < ARRAY_SIZE(hot_ops); h++)
            if (r->op == hot_ops[h])
                l->hot[l->hot_count++] = rows[k];
    }
}

/* Rows of hot mnemonics come up alike however many encodings they have. */
static unsigned hot_row(unsigned mode)
{
    const struct row_lists *l = &lists[mode];
    for (;;) {
        u16 op = hot_ops[below(ARRAY_SIZE(hot_ops))];
        for (unsigned tries = 0; tries < 200; tries++) {
            unsigned row = l->hot[below(l->hot_count)];
            if (gen_row(mode, row)->op == op)
                return row;
        }
    }
}

static unsigned pick_row(const struct builder *b)
{
    static const u8 hot[STYLES] = {85, 30, 30, 35}, sse[STYLES] = {0, 60, 5, 30},
                    x87[STYLES] = {0, 0, 55, 10};
    const struct row_lists *l = &lists[b->mode];
    unsigned r = below(100);
    if (r < hot[b->style])
        return hot_row(b->mode);
    r -= hot[b->style];
    if (r < sse[b->style])
        return l->sse[below(l->sse_count)];
    r -= sse[b->style];
    if (r < x87[b->style])
        return l->x87[below(l->x87_count)];
    return l->integer[below(l->int_count)];
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
static void put_imm(const struct builder *b, struct item *it, unsigned ext, unsigned reg, u32 imm)
{
    if (b->mode == MODE16)
        put(it, (u8[]){0x66}, 1);
    if (reg & 8)
        put(it, (u8[]){0x41}, 1);
    if (ext == 8)
        put(it, (u8[]){(u8)(0xb8 | (reg & 7))}, 1);
    else
        put(it, (u8[]){0x81, (u8)(0xc0 | ext << 3 | (reg & 7))}, 2);
    put_le(it, imm, 4);
}

/* Puts the address of an item into a register. */
static void put_lea_target(const struct builder *b, struct item *it, unsigned reg, unsigned target)
{
    if (b->mode == MODE64)
        put(it, (u8[]){(u8)(0x48 | (reg & 8) >> 1), 0x8d, (u8)(5 | (reg & 7) << 3)}, 3);
    else
        put_imm(b, it, 8, reg, 0);
    if (b->mode == MODE64)
        put_le(it, 0, 4);
    it->fix_at = it->len - 4;
    it->fix_size = 4;
    it->fix_end = it->len;
    it->fix_abs = b->mode != MODE64;
    it->target = (s16)target;
}

/* Displacement of a near branch, behind its opcode. */
static void put_rel(const struct builder *b, struct item *it, unsigned target)
{
    it->fix_at = it->len;
    it->fix_size = b->mode == MODE16 ? 2 : 4;
    put_le(it, 0, it->fix_size);
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
        unsigned r = below(b->mode == MODE64 ? 16 : 8);
        if (r != RSP && r != b->counter && !is_ptr(b, r))
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
        if (reg == b->counter || is_ptr(b, reg) || (reg == RSP && !one_in(30)))
            return false;
    }
    switch (in->op) {
    case OP_enter: case OP_leave: return !is_ptr(b, RBP);
    case OP_popa: case OP_popad: return false;
    case OP_popf: case OP_popfd: case OP_popfq:
    case OP_fnstenv: case OP_fnsave: case OP_fxsave: case OP_fxsave64: return false;
    case OP_shld: case OP_shrd: return in->opsize != 2; /* undefined results */
    case OP_fldenv: case OP_frstor: case OP_fxrstor: case OP_fxrstor64: case OP_ldmxcsr:
        return one_in(8);
    default: return true;
    }
}

/* ---- plain instructions ---- */

static void index_with(struct builder *b, struct mem *m, bool aligned)
{
    unsigned r = free_reg(b);
    struct item *it = new_item(b);
    put_imm(b, it, one_in(3) ? 8 : 4, r, aligned ? 0x70 : 0x7f);
    m->index = (u8)r;
    m->scale = (u8)(1 << below(4));
}

static void choose_memory(struct builder *b, struct mem *m, bool aligned)
{
    s32 unit = aligned ? 16 : one_in(3) ? 1 : 8;
    s32 disp = ((s32)below(0x400) - 0x200) / unit * unit;
    u32 at = b->data + 0x800 + below(0x2000) / (unsigned)unit * (unsigned)unit;
    *m = (struct mem){.base = (u8)ptr_reg(b), .index = REG_NONE, .scale = 1, .disp = disp,
                      .seg = SEG_NONE, .in16 = b->mode == MODE16};
    if (b->mode == MODE16 && one_in(8)) {
        m->in16 = false;
        m->asize = true;
    }
    switch (below(10)) {
    case 0:
    case 1:
        if (!m->in16)
            index_with(b, m, aligned);
        else if (m->base != RBP || one_in(2))
            gen_mem16(m, m->base == RSI ? 0 : m->base == RDI ? 1 : 2); /* BX counts */
        break;
    case 2:
        if (m->in16)
            break;
        m->base = RSP;
        m->disp = disp & 0xf8;
        break;
    case 3:
        if (b->mode == MODE64)
            *m = (struct mem){.base = REG_RIP, .index = REG_NONE, .disp = (s32)at,
                              .seg = SEG_NONE};
        break;
    case 4:
        m->base = REG_NONE;
        m->disp = (s32)at;
        break;
    case 5:
        if (one_in(8) || (b->faulty && one_in(2))) {
            if (!m->in16)
                m->base = (u8)below(b->mode == MODE64 ? 15 : 8);
        } else if (b->faulty && one_in(2)) {
            m->disp += DATA_RW - 0x800 - (s32)below(16);
        } else if (one_in(4)) {
            m->base = REG_NONE;
            m->seg = SEG_GS;
            m->disp = (s32)(b->mode == MODE64 ? 0 : 0x1000) + disp;
        }
        break;
    }
}

/* What must hold before the instruction that will follow. */
static void prepare(struct builder *b, const struct insn *in)
{
    if (in->row->props & ROW_REP) {
        put_imm(b, new_item(b), 8, RSI, b->data + 0x800 + 16 * below(0x180));
        put_imm(b, new_item(b), 8, RDI, b->data + 0x800 + 16 * below(0x180));
        if (in->rep)
            put_imm(b, new_item(b), 8, RCX, below(40));
    } else if (in->op == OP_div || in->op == OP_idiv) {
        static const u8 zero_edx[] = {0x31, 0xd2}, one_ax[] = {0x0f, 0xb6, 0xc0};
        if (one_in(8))
            return;
        if (in->opnd[0].size == 1)
            put(new_item(b), one_ax, 3);
        else
            put(new_item(b), zero_edx, 2);
        if (in->opnd[0].kind == OPND_REG && in->opnd[0].reg != RDX && in->opnd[0].reg != RSP &&
            in->opnd[0].cls == RC_GPR && in->opnd[0].reg != b->counter &&
            !is_ptr(b, in->opnd[0].reg))
            put_imm(b, new_item(b), 1, in->opnd[0].reg, 1);
    } else if (in->op == OP_maskmovq || in->op == OP_maskmovdqu) {
        put_imm(b, new_item(b), 8, RDI, b->data + 0x800 + below(0x1800));
    }
}

static void add_plain(struct builder *b)
{
    unsigned start = b->p->count;
    for (unsigned tries = 0; tries < 50; tries++) {
        unsigned row = pick_row(b);
        const struct form *f = gen_form(b->mode, row);
        struct item it = {.target = -1, .falls = true};
        struct insn in;
        struct mem m;
        b->p->count = start;
        choose_memory(b, &m, gen_row(b->mode, row)->props & ROW_ALIGN16 && !one_in(20));
        if (f->has_modrm && f->pfx == 0x67)
            continue; /* choose_memory has them */
        bool memory = f->has_modrm && f->modrm >> 6 != 3;
        if (!memory)
            b->p->count = start;
        if (!gen_encode(&it, b->mode, row, f, &m, b->data + 0x900, &in) || !harmless(b, &in))
            continue;
        if (in.op >= OP_bt && in.op <= OP_bts && memory && in.opnd[1].kind == OPND_REG &&
            m.index == REG_NONE) {
            unsigned r = in.opnd[1].reg;
            if (r != b->counter && r != RSP && !is_ptr(b, r))
                put_imm(b, new_item(b), 4, r, 0xfff);
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
    if (one_in(2)) {
        put(it, (u8[]){0x0f, (u8)(0x80 | cc)}, 2);
        put_rel(b, it, to);
        return;
    }
    if (one_in(6)) /* LOOPcc, JRCXZ */
        put(it, (u8[]){(u8)(0xe0 + below(4)), 0}, 2);
    else
        put(it, (u8[]){(u8)(0x70 | cc), 0}, 2);
    it->fix_size = 1;
    it->fix_at = it->len - 1;
    it->fix_end = it->len;
}

/* JMP or CALL (ext 4 or 2) through a register. */
static void put_through(const struct builder *b, struct item *it, unsigned ext, unsigned r)
{
    if (b->mode == MODE64)
        put(it, (u8[]){(u8)(0x40 | (r >> 3))}, 1);
    put(it, (u8[]){0xff, (u8)(0xc0 | ext << 3 | (r & 7))}, 2);
}

/* Jumps that are always taken, of all kinds. */
static void add_jump(struct builder *b)
{
    unsigned to = ahead(b), r = free_reg(b), kind = below(b->mode == MODE64 ? 6 : 5);
    u8 low = r & 7;
    struct item *it = new_item(b);
    it->falls = false;
    if (kind < 2) {
        put(it, (u8[]){kind ? 0xe8 : 0xe9}, 1);
        put_rel(b, it, to);
        return;
    }
    put_lea_target(b, it, r, to);
    switch (kind) {
    case 2: put_through(b, it, 4, r); break;
    case 3: put_through(b, it, 2, r); break;
    case 4: /* PUSH r; RET */
        if (b->mode == MODE64)
            put(it, (u8[]){(u8)(0x40 | r >> 3)}, 1);
        put(it, (u8[]){(u8)(0x50 | low), 0xc3}, 2);
        break;
    default: /* MOV [rsp-16],r; JMP [rsp-16] */
        put(it, (u8[]){(u8)(0x48 | (r & 8) >> 1), 0x89, (u8)(0x44 | low << 3), 0x24, 0xf0}, 5);
        put(it, (u8[]){0xff, 0x64, 0x24, 0xf0}, 4);
    }
}

static void add_flags_load(struct builder *b)
{
    struct item *it = new_item(b);
    put(it, (u8[]){0x68}, 1); /* PUSH imm; POPF */
    put_le(it, (rnd() & (FL_ARITH | (one_in(8) ? FL_DF : 0))) | FL_FIXED,
           b->mode == MODE16 ? 2 : 4);
    put(it, (u8[]){0x9d}, 1);
}

static void open_loop(struct builder *b)
{
    struct item *it = new_item(b);
    put_imm(b, it, 8, b->counter, 1 + below(12));
    it->loop_head = true;
    b->loop = (int)b->p->count;
}

/* Ends for any counter, also one that the head never set. */
static void close_loop(struct builder *b)
{
    struct item *it = new_item(b);
    unsigned kind = below(3);
    u8 c = b->counter & 7, wide = b->mode == MODE64 ? 0x41 : 0x66;
    bool prefix = b->mode != MODE32;
    if (prefix)
        put(it, &wide, 1);
    if (kind == 0)
        put(it, (u8[]){0xff, (u8)(0xc8 | c)}, 2); /* DEC */
    else if (kind == 1)
        put(it, (u8[]){0x83, (u8)(0xe8 | c), 1}, 3); /* SUB */
    else
        put(it, (u8[]){0x83, (u8)(0xc0 | c), 0xff}, 3); /* ADD -1; TEST */
    if (kind == 2 && prefix)
        put(it, (u8[]){b->mode == MODE64 ? 0x45 : 0x66}, 1);
    if (kind == 2)
        put(it, (u8[]){0x85, (u8)(0xc0 | c << 3 | c)}, 2);
    put(it, (u8[]){0x0f, 0x8f}, 2); /* JG */
    put_rel(b, it, (unsigned)b->loop);
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
    if (p->mode == 64)
        put(&p->items[i], (u8[]){0x48}, 1);
    put(&p->items[i], (u8[]){0x39, (u8)(0xc0 | below(64))}, 2);
    return true;
}

static void choose_registers(struct builder *b)
{
    static const u8 ptrs[] = {RBX, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14};
    b->counter = b->mode == MODE64 ? R15 : RBX;
    b->data = (u32)(DATA_AT - state_base(b->in, SEG_DS));
    for (unsigned i = 0; i < 3; i++)
        b->ptr[i] = b->mode == MODE64 ? ptrs[below(ARRAY_SIZE(ptrs))] : RBP + i;
    for (unsigned i = 0; i < 3; i++)
        aim_register(b->in, b->ptr[i], SEG_DS, DATA_AT + 0x800 + 16 * below(0x180));
    b->in->gpr[b->counter] = below(12);
}

static bool try_sequence(struct program *p, struct state *in, unsigned mode)
{
    struct builder b = {.p = p, .in = in, .mode = mode, .loop = -1};
    unsigned want = 5 + below(40), style = below(10), where;
    b.style = style < 5 ? STYLE_INT : style < 7 ? STYLE_SSE : style < 8 ? STYLE_X87 : STYLE_ANY;
    b.straight = one_in(5);
    b.faulty = one_in(3);
    p->mode = MODE_BITS(mode);
    p->single = false;
    p->count = 0;
    p->offset = 4 * below((CODE_SIZE - sizeof p->code) / 4);
    rnd_state(in);
    rnd_segments(in, mode, true);
    if (one_in(16))
        in->flags |= FL_AC;
    p->cs_offset = (u32)(CODE_AT + p->offset - segments_base(in->sel[SEG_CS]));
    in->rip = p->cs_offset;
    choose_registers(&b);
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

void gen_sequence(struct program *p, struct state *in, unsigned mode)
{
    if (!lists[mode].hot_count)
        sort_rows(mode);
    while (!try_sequence(p, in, mode))
        ;
}

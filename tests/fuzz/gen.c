/* Makes programs out of the decoder's own tables: every encoding of every row that a user program
 * may execute in 64-bit mode, with operands that are likely to lie in the data area. */
#include "gen.h"

#include <cpuid.h>
#include <stdlib.h>

#define MAX_ROWS 4096u
#define KEEP 48u /* encodings remembered of each row */

struct row_forms {
    const struct opcode_row *row;
    unsigned found, kept;
    struct form form[KEEP];
};

static struct row_forms *forms; /* by row id */
static u16 usable[MAX_ROWS];
static unsigned usable_count;

/* ---- reading the tables ---- */

/* The three-byte VEX prefix (SDM vol. 2A 2.3.5) with the bits of a REX prefix; register `vvvv`. */
static unsigned put_vex(u8 *p, const struct form *f, u8 rex, unsigned vvvv)
{
    unsigned pp = f->pfx == 0x66 ? 1 : f->pfx == 0xf3 ? 2 : f->pfx == 0xf2 ? 3 : 0;
    p[0] = 0xc4;
    p[1] = (u8)((~rex & 7) << 5 | f->map);
    p[2] = (u8)((rex & 8) << 4 | (~vvvv & 15) << 3 | f->l << 2 | pp);
    p[3] = f->opcode;
    return 4;
}

static unsigned put_opcode(u8 *p, const struct form *f, u8 rex, unsigned vvvv)
{
    unsigned n = 0;
    if (f->vex)
        return put_vex(p, f, rex, vvvv);
    if (f->pfx)
        p[n++] = f->pfx;
    if (rex)
        p[n++] = rex;
    if (f->map)
        p[n++] = 0x0f;
    if (f->map > 1)
        p[n++] = f->map == 2 ? 0x38 : 0x3a;
    p[n++] = f->opcode;
    return n;
}

/* Whether the host and the guest have it. */
static bool both_have(unsigned isa)
{
    switch (isa) {
    case ISA_BASE: case ISA_X87: case ISA_MMX: case ISA_SSE: case ISA_SSE2: case ISA_SSE3:
    case ISA_SSSE3: case ISA_SSE41: case ISA_SSE42: case ISA_POPCNT: case ISA_CX8: case ISA_CX16:
    case ISA_FXSR: case ISA_CMOV: case ISA_CLFLUSH: case ISA_LM: case ISA_486: case ISA_586: case ISA_686:
    case ISA_LAHF64: case ISA_3DNOWPREFETCH:
        return true;
    default: break;
    }
    static const struct { u8 isa; u32 leaf; u8 reg, bit; } by_cpuid[] = {
        {ISA_LZCNT, 0x80000001, 2, 5}, {ISA_BMI1, 7, 1, 3}, {ISA_BMI2, 7, 1, 8},
        {ISA_MOVBE, 1, 2, 22}, {ISA_SSE4A, 0x80000001, 2, 6}, {ISA_AES, 1, 2, 25},
        {ISA_PCLMUL, 1, 2, 1}, {ISA_SHA, 7, 1, 29}, {ISA_GFNI, 7, 2, 8}, {ISA_ADX, 7, 1, 19},
        {ISA_CLFLUSHOPT, 7, 1, 23}, {ISA_CLWB, 7, 1, 24},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(by_cpuid); i++) {
        u32 r[4] = {0};
        if (by_cpuid[i].isa == isa)
            return __get_cpuid_count(by_cpuid[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]) &&
                   r[by_cpuid[i].reg] >> by_cpuid[i].bit & 1 && guest_has(isa);
    }
    return false;
}

static bool isa_ok(unsigned isa)
{
    static u8 known[ISA_COUNT]; /* asking is slow */
    if (!known[isa])
        known[isa] = both_have(isa) ? 2 : 1;
    return known[isa] == 2;
}

bool form_usable(const struct insn *in)
{
    if (in->row->props & (ROW_SYSTEM | ROW_PRIV) || !isa_ok(in->row->isa))
        return false;
    if (in->opsize == 2 && in->op == OP_bswap)
        return false; /* undefined */
    /* PREFETCHW with a register is NOP or #UD, by vendor. */
    if (in->op == OP_nop && in->map == 1 && in->opcode == 0x0d)
        return false;
    return true;
}

/* Prefixes and escapes are no opcodes of their own. */
static bool is_opcode(unsigned map, u8 op)
{
    static const u8 not[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f};
    if (map == 1)
        return op != 0x38 && op != 0x3a;
    if (map)
        return true;
    for (unsigned i = 0; i < sizeof not; i++)
        if (op == not[i])
            return false;
    return (op & 0xf0) != 0x40;
}

static void note(const struct form *f)
{
    u8 p[16] = {0};
    struct insn in;
    if (!f->vex && !is_opcode(f->map, f->opcode))
        return;
    unsigned n = put_opcode(p, f, f->w ? 0x48 : 0, 0);
    p[n++] = f->modrm;
    if (decode(&in, p, sizeof p, 64) != DECODE_OK || !form_usable(&in))
        return;
    /* Processors differ in what an operand-size prefix does to near branches, and some swap LOOPE
     * and LOOPNE after a repeat prefix. */
    if (f->pfx && f->pfx != 0x67 && in.row->props & ROW_BRANCH)
        return;
    struct row_forms *r = &forms[in.row->id];
    r->row = in.row;
    r->found++;
    unsigned k = r->kept < KEEP ? r->kept++ : below(r->found);
    if (k < KEEP) {
        r->form[k] = *f;
        r->form[k].has_modrm = in.has_modrm;
    }
}

void gen_init(void)
{
    static const u8 pfx[] = {0, 0x66, 0xf3, 0xf2, 0x67};
    forms = calloc(MAX_ROWS, sizeof *forms);
    for (unsigned map = 0; map < 4; map++)
        for (unsigned op = 0; op < 256; op++)
            for (unsigned k = 0; k < (map ? 8 : 10); k++)
                for (unsigned modrm = 0; modrm < 256; modrm++)
                    note(&(struct form){pfx[k / 2], (u8)map, (u8)op, (u8)modrm, k & 1, false});
    for (unsigned map = 1; map < 4; map++)
        for (unsigned op = 0; op < 256; op++)
            for (unsigned k = 0; k < 16; k++)
                for (unsigned modrm = 0; modrm < 256; modrm++)
                    note(&(struct form){.pfx = pfx[k / 4], .map = (u8)map, .opcode = (u8)op,
                                        .modrm = (u8)modrm, .w = k & 1, .vex = true,
                                        .l = k & 2});
    for (unsigned i = 0; i < MAX_ROWS; i++)
        if (forms[i].row)
            usable[usable_count++] = (u16)i;
}

unsigned gen_rows(const u16 **rows)
{
    *rows = usable;
    return usable_count;
}

const struct opcode_row *gen_row(unsigned row)
{
    return forms[row].row;
}

const struct form *gen_form(unsigned row)
{
    return &forms[row].form[below(forms[row].kept)];
}

/* ---- encoding ---- */

static unsigned put_memory(u8 *p, struct item *it, unsigned reg, const struct mem *m)
{
    u8 r = (u8)((reg & 7) << 3);
    if (m->base == REG_RIP) {
        p[0] = r | 5;
        it->fix_at = (u8)(p + 1 - it->bytes);
        it->fix_size = 4;
        it->target = -1;
        store_le(p + 1, (u64)(u32)m->disp, 4);
        return 5;
    }
    u8 sib_index = m->index == REG_NONE ? 4 : m->index & 7;
    u8 scale = (u8)(__builtin_ctz(m->scale ? m->scale : 1) << 6);
    if (m->base == REG_NONE) {
        p[0] = r | 4;
        p[1] = scale | (u8)(sib_index << 3) | 5;
        store_le(p + 2, (u64)(u32)m->disp, 4);
        return 6;
    }
    bool sib = m->index != REG_NONE || (m->base & 7) == 4 || one_in(8);
    unsigned mod = m->disp == 0 && (m->base & 7) != 5 && !one_in(8) ? 0
                   : m->disp == (s8)m->disp && !one_in(8)           ? 1
                                                                    : 2;
    unsigned n = 0;
    p[n++] = (u8)(mod << 6) | r | (sib ? 4 : m->base & 7);
    if (sib)
        p[n++] = scale | (u8)(sib_index << 3) | (m->base & 7);
    unsigned size = mod == 0 ? 0 : mod == 1 ? 1 : 4;
    store_le(p + n, (u64)(u32)m->disp, size);
    return n + size;
}

static unsigned put_prefixes(u8 *p, const struct form *f, const struct mem *m, bool lock)
{
    static const u8 ignored[] = {0x2e, 0x3e, 0x26, 0x36};
    unsigned n = 0;
    if (m && m->gs)
        p[n++] = 0x65;
    else if (one_in(40))
        p[n++] = ignored[below(4)];
    if (m && m->a32)
        p[n++] = 0x67;
    if (lock)
        p[n++] = 0xf0;
    if ((f->pfx == 0xf2 || f->pfx == 0xf3) && f->map && !f->vex && one_in(8))
        p[n++] = 0x66;
    return n;
}

bool gen_encode(struct item *it, unsigned row, const struct form *f, const struct mem *m,
                struct insn *in)
{
    u8 *p = it->bytes + it->len;
    bool memory = f->has_modrm && f->modrm >> 6 != 3;
    bool lock = memory && forms[row].row->props & ROW_LOCKABLE && one_in(4);
    unsigned n = put_prefixes(p, f, m, lock);
    u8 rex = f->w ? 8 : 0;
    if (f->has_modrm || one_in(2))
        rex |= (u8)(rnd() & (memory ? 4 : 5));
    if (memory && m->index != REG_NONE && m->index & 8)
        rex |= 2;
    if (memory && m->base < 16 && m->base & 8)
        rex |= 1;
    if (rex || one_in(4))
        rex |= 0x40;
    /* Without an operand in vvvv it must be 0 there. */
    n += put_opcode(p + n, f, rex, one_in(4) ? 0 : below(16));
    if (memory)
        n += put_memory(p + n, it, f->modrm >> 3 & 7, m);
    else if (f->has_modrm)
        p[n++] = f->modrm;
    u64 imm = rnd_value();
    if (!f->has_modrm && f->map == 0 && (f->opcode & 0xfc) == 0xa0 && m)
        imm = (u64)m->disp; /* MOV with an absolute address */
    if (it->len + n + 8 > ITEM_MAX)
        return false;
    store_le(p + n, imm, 8);
    if (n + 8 < 20)
        memset(p + n + 8, 0, 4);
    if (decode(in, p, 15, 64) != DECODE_OK || in->row->id != row || !form_usable(in))
        return false;
    it->len = (u8)(it->len + in->len);
    if (it->fix_size && it->target < 0)
        it->fix_end = it->len;
    return true;
}

unsigned gen_ignored(const struct program *p, const struct state *in, u64 *at)
{
    struct insn i;
    if (!p->single || decode(&i, p->code, 15, 64) != DECODE_OK)
        return 0;
    u64 base = i.base == REG_NONE ? 0 : i.base == REG_RIP ? in->rip + i.len : in->gpr[i.base];
    u64 index = i.index == REG_NONE ? 0 : in->gpr[i.index] * i.scale;
    *at = (base + index + (u64)i.disp) & size_mask(i.addrsize);
    if (i.seg == SEG_GS)
        *at += GS_BASE;
    switch (i.op) {
    case OP_fnstenv:
    case OP_fnsave:
        *at += i.opsize == 2 ? 6 : 12;
        return i.opsize == 2 ? 8 : 16;
    case OP_fxsave:
    case OP_fxsave64:
        *at += 6;
        return 26;
    default: return 0;
    }
}

void gen_count(const struct program *p, bool *seen)
{
    for (unsigned at = 0; at + 2 < p->size;) {
        struct insn in;
        if (decode(&in, p->code + at, 15, 64) != DECODE_OK)
            return;
        seen[in.row->id] = true;
        at += in.len;
    }
}

/* What can be generated, out of the decoder's own tables: every encoding of every row that a user
 * program may execute, in each mode.  New rows are found by themselves. */
#include "gen.h"

#include <stdlib.h>

#include "segments.h"

#define MAX_ROWS 4096u
#define KEEP 48u /* encodings remembered of each row */

struct row_forms {
    const struct opcode_row *row;
    unsigned found, kept;
    struct form form[KEEP];
};

static struct row_forms *forms[MODES]; /* by row id */
static u16 usable[MODES][MAX_ROWS];
static unsigned usable_count[MODES];
static bool isa_ok[ISA_COUNT];
static bool vendors_differ[MAX_ROWS]; /* on some encoding */

/* ---- which rows ---- */

/* Why a row that user programs can execute is not compared with the processor; NULL if it is. */
static const char *excluded(const struct opcode_row *row)
{
    switch (row->op) {
    case OP_syscall: case OP_sysenter: case OP_vmcall:
        return "calls the host's kernel or hypervisor";
    case OP_cpuid: case OP_rdtsc: case OP_rdtscp: case OP_rdpid: case OP_rdpmc: case OP_xgetbv:
    case OP_rdpkru: case OP_wrpkru: case OP_rdrand: case OP_rdseed:
        return "the answer is the machine's own";
    case OP_int1:
        return "a hypervisor that intercepts #DB loses its length";
    case OP_sgdt: case OP_sidt: case OP_sldt: case OP_str: case OP_smsw:
        return "the host's kernel answers in the processor's place (UMIP)";
    case OP_xsave: case OP_xsave64: case OP_xrstor: case OP_xrstor64: case OP_xsaveopt:
    case OP_xsaveopt64: case OP_xsavec: case OP_xsavec64:
        return "the image depends on what the operating system has enabled";
    default: return NULL;
    }
}

bool gen_always_faults(const struct opcode_row *row)
{
    switch (row->op) {
    case OP_in: case OP_out: case OP_insb: case OP_insw: case OP_insd: case OP_outsb:
    case OP_outsw: case OP_outsd: case OP_cli: case OP_sti: case OP_ud0: case OP_ud1: case OP_ud2:
    case OP_int:
        return true;
    default: return row->props & ROW_PRIV;
    }
}

static bool has_prefix(const u8 *bytes, u8 prefix, unsigned mode)
{
    for (unsigned i = 0; i < 15; i++) {
        u8 b = bytes[i];
        if (b == prefix)
            return true;
        if (b != 0x66 && b != 0x67 && (b & 0xfe) != 0xf2 && b != 0xf0 && (b & 0xe7) != 0x26 &&
            (b & 0xfe) != 0x64 && !(mode == 64 && (b & 0xf0) == 0x40))
            return false;
    }
    return false;
}

/* Where the manuals of the vendors differ (see decode.c), and what is undefined. */
static bool open_to_vendors(const struct insn *in, const u8 *bytes)
{
    bool far_pointer = in->op == OP_les || in->op == OP_lds || in->op == OP_lss ||
                       in->op == OP_lfs || in->op == OP_lgs || in->op == OP_ljmp ||
                       in->op == OP_lcall;
    /* m16:64 pointers exist on Intel's only. */
    if (far_pointer && in->opsize == 8)
        return true;
    /* 16 bits from 16 or from 32: the same but for what is behind them in memory. */
    if (in->op == OP_movsxd && in->opsize == 2 && in->opnd[1].kind == OPND_MEM)
        return true;
    if (in->op == OP_bswap && in->opsize == 2)
        return true;
    /* PREFETCHW with a register is NOP or #UD. */
    if (in->op == OP_nop && in->map == 1 && in->opcode == 0x0d)
        return true;
    /* UD0 has a ModRM byte on Intel's only. */
    if (in->op == OP_ud0)
        return in->has_modrm && in->modrm < 0xc0;
    /* VEX.W1 in 32-bit code is W0 to the SDM and #UD to AMD's. */
    if (in->vex && in->mode != 64 && (in->op == OP_pinsrd || in->op == OP_pextrd)) {
        while (*bytes != 0xc4)
            bytes++;
        return bytes[2] & 0x80;
    }
    if (!(in->row->props & ROW_BRANCH))
        return false;
    /* An operand-size prefix on near branches of 64-bit code; a repeat prefix on LOOPE, LOOPNE. */
    return has_prefix(bytes, 0xf2, in->mode) || has_prefix(bytes, 0xf3, in->mode) ||
           (in->mode == 64 && has_prefix(bytes, 0x66, 64));
}

bool gen_usable(const struct insn *in, const u8 *bytes)
{
    if (in->row->props & ROW_PRIV || excluded(in->row) || !isa_ok[in->row->isa])
        return false;
    if (in->op == OP_int && in->imm == 0x80)
        return false; /* a system call */
    return !open_to_vendors(in, bytes);
}

/* ---- reading the tables ---- */

/* A VEX prefix (SDM vol. 2A 2.3.5) with the bits of a REX prefix; register `vvvv`. */
static unsigned put_vex(u8 *p, const struct form *f, u8 rex, unsigned vvvv)
{
    unsigned pp = f->pfx == 0x66 ? 1 : f->pfx == 0xf3 ? 2 : f->pfx == 0xf2 ? 3 : 0, n = 0;
    u8 low = (u8)((~vvvv & 15) << 3 | f->l << 2 | pp);
    if (f->map == 1 && !(rex & 11) && one_in(2)) {
        p[n++] = 0xc5;
        p[n++] = (u8)((~rex & 4) << 5 | low);
    } else {
        p[n++] = 0xc4;
        p[n++] = (u8)((~rex & 7) << 5 | f->map);
        p[n++] = (u8)((rex & 8) << 4 | low);
    }
    p[n++] = f->opcode;
    return n;
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

/* Prefixes and escapes are no opcodes of their own. */
static bool is_opcode(unsigned mode, unsigned map, u8 op)
{
    static const u8 not[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x0f};
    if (map == 1)
        return op != 0x38 && op != 0x3a;
    if (map)
        return true;
    for (unsigned i = 0; i < sizeof not; i++)
        if (op == not[i])
            return false;
    return mode != MODE64 || (op & 0xf0) != 0x40;
}

static void note(unsigned mode, const struct form *f)
{
    u8 p[16] = {0};
    struct insn in;
    if (!f->vex && !is_opcode(mode, f->map, f->opcode))
        return;
    unsigned n = put_opcode(p, f, f->w ? 0x48 : f->b ? 0x41 : 0, 0);
    p[n++] = f->modrm;
    p[n] = f->vex ? 0x10 : 0; /* the registers of a gather must differ */
    if (decode(&in, p, sizeof p, MODE_BITS(mode)) != DECODE_OK)
        return;
    if (!gen_usable(&in, p)) {
        vendors_differ[in.row->id] |= open_to_vendors(&in, p);
        return;
    }
    struct row_forms *r = &forms[mode][in.row->id];
    r->row = in.row;
    r->found++;
    unsigned k = r->kept < KEEP ? r->kept++ : below(r->found);
    if (k < KEEP) {
        r->form[k] = *f;
        r->form[k].has_modrm = in.has_modrm;
    }
}

static void note_opcode(unsigned mode, unsigned map, unsigned op)
{
    static const u8 pfx[] = {0, 0x66, 0xf3, 0xf2, 0x67};
    for (unsigned k = 0; k < (map ? 4 : 5); k++)
        for (unsigned modrm = 0; modrm < 256; modrm++)
            for (unsigned w = 0; w < (mode == MODE64 ? 2 : 1); w++)
                note(mode, &(struct form){pfx[k], (u8)map, (u8)op, (u8)modrm, w, false});
    for (unsigned k = 0; mode == MODE64 && !map && op == 0x90 && k < 2; k++)
        note(mode, &(struct form){.pfx = pfx[k], .opcode = (u8)op, .b = true});
    for (unsigned k = 0; map && k < 16; k++)
        for (unsigned modrm = 0; modrm < 256; modrm++)
            note(mode, &(struct form){.pfx = pfx[k / 4], .map = (u8)map, .opcode = (u8)op,
                                      .modrm = (u8)modrm, .w = k & 1, .vex = true, .l = k & 2});
}

void gen_init(void)
{
    for (unsigned i = 0; i < ISA_COUNT; i++)
        isa_ok[i] = native_has(i) && guest_has(i);
    for (unsigned mode = 0; mode < MODES; mode++) {
        forms[mode] = calloc(MAX_ROWS, sizeof *forms[mode]);
        for (unsigned map = 0; map < 4; map++)
            for (unsigned op = 0; op < 256; op++)
                note_opcode(mode, map, op);
        for (unsigned i = 0; i < MAX_ROWS; i++)
            if (forms[mode][i].row)
                usable[mode][usable_count[mode]++] = (u16)i;
    }
}

const char *gen_why_not(const struct opcode_row *row)
{
    if (excluded(row))
        return excluded(row);
    if (row->props & ROW_PRIV)
        return "privileged";
    if (!native_has(row->isa))
        return "the host does not have it";
    if (!isa_ok[row->isa])
        return "the guest's processor does not have it";
    return vendors_differ[row->id] ? "the vendors' manuals differ" : NULL;
}

unsigned gen_rows(unsigned mode, const u16 **rows)
{
    *rows = usable[mode];
    return usable_count[mode];
}

const struct opcode_row *gen_row(unsigned mode, unsigned row)
{
    return forms[mode][row].row;
}

const char *gen_row_text(unsigned mode, unsigned row)
{
    return forms[mode][row].row->text;
}

const struct form *gen_form(unsigned mode, unsigned row)
{
    return &forms[mode][row].form[below(forms[mode][row].kept)];
}

/* ---- encoding ---- */

static const u8 base16[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
static const u8 index16[8] = {RSI, RDI, RSI, RDI, REG_NONE, REG_NONE, REG_NONE, REG_NONE};

void gen_mem16(struct mem *m, unsigned rm)
{
    m->in16 = true;
    m->base = base16[rm];
    m->index = index16[rm];
    m->scale = 1;
}

bool gen_other_asize(const struct form *f, const struct mem *m)
{
    return m->asize || f->pfx == 0x67;
}

static unsigned put_memory16(u8 *p, unsigned reg, const struct mem *m)
{
    u8 r = (u8)((reg & 7) << 3);
    if (m->base == REG_NONE) {
        p[0] = r | 6;
        store_le(p + 1, (u64)(u32)m->disp, 2);
        return 3;
    }
    unsigned rm = 0;
    while (base16[rm] != m->base || index16[rm] != m->index)
        rm++;
    unsigned mod = m->disp == 0 && rm != 6 && !one_in(8)   ? 0
                   : m->disp == (s8)m->disp && !one_in(8) ? 1
                                                          : 2;
    p[0] = (u8)(mod << 6 | r | rm);
    store_le(p + 1, (u64)(u32)m->disp, mod);
    return 1 + mod;
}

static unsigned put_memory(u8 *p, struct item *it, unsigned reg, const struct mem *m)
{
    u8 r = (u8)((reg & 7) << 3);
    if (m->in16)
        return put_memory16(p, reg, m);
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

static unsigned put_prefixes(u8 *p, unsigned mode, const struct form *f, const struct mem *m,
                             bool lock)
{
    static const u8 override[6] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    unsigned n = 0;
    if (m->seg != SEG_NONE)
        p[n++] = override[m->seg];
    else if (mode == MODE64 && one_in(40))
        p[n++] = override[below(4)]; /* ignored */
    if (m->asize)
        p[n++] = 0x67;
    if (lock)
        p[n++] = 0xf0;
    if ((f->pfx == 0xf2 || f->pfx == 0xf3) && f->map && !f->vex && one_in(8))
        p[n++] = 0x66;
    return n;
}

static u8 choose_rex(const struct form *f, const struct mem *m, bool memory)
{
    u8 rex = (u8)((f->w ? 8 : 0) | f->b);
    if (f->has_modrm || one_in(2))
        rex |= (u8)(rnd() & (memory ? 4 : 5));
    if (memory && m->index != REG_NONE && m->index & 8)
        rex |= 2;
    if (memory && m->base < 16 && m->base & 8)
        rex |= 1;
    if (rex || one_in(4))
        rex |= 0x40;
    return rex;
}

bool gen_encode(struct item *it, unsigned mode, unsigned row, const struct form *f,
                const struct mem *m, u64 address, struct insn *in)
{
    u8 *start = it->bytes + it->len, *p = start;
    bool memory = f->has_modrm && f->modrm >> 6 != 3;
    bool lock = memory && forms[mode][row].row->props & ROW_LOCKABLE && one_in(4);
    p += put_prefixes(p, mode, f, m, lock);
    u8 rex = mode == MODE64 ? choose_rex(f, m, memory) : f->vex && f->w ? 0x48 : 0;
    /* Without an operand in vvvv it must be 0 there. */
    p += put_opcode(p, f, rex, one_in(4) ? 0 : below(mode == MODE64 ? 16 : 8));
    if (memory)
        p += put_memory(p, it, f->modrm >> 3 & 7, m);
    else if (f->has_modrm)
        *p++ = f->modrm;
    bool moffs = f->map == 0 && (f->opcode & 0xfc) == 0xa0;
    if (p + 8 > it->bytes + ITEM_MAX)
        return false;
    store_le(p, moffs ? address : rnd_value(), 8);
    if (decode(in, start, 15, MODE_BITS(mode)) != DECODE_OK || in->row->id != row ||
        !gen_usable(in, start))
        return false;
    it->len = (u8)(it->len + in->len);
    if (it->fix_size && it->target < 0)
        it->fix_end = it->len;
    return true;
}

unsigned gen_ignored(const struct program *p, const struct state *in, u64 *at)
{
    struct insn i;
    if (!p->single || decode(&i, p->code, 15, p->mode) != DECODE_OK)
        return 0;
    *at = state_address(in, &i);
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

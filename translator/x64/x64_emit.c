/* x86-64 host encoder. */
#include "translator/x64/x64_emit.h"

enum { W8, W16, W32, W64 };

bool x64_full(const struct x64_buf *b)
{
    return b->p > b->end;
}

u64 x64_here(const struct x64_buf *b)
{
    return (u64)(uintptr_t)b->p + (u64)b->exec_delta;
}

/* ModRM, SIB and displacement at p; returns what is behind them.  May write up to MODRM_MAX bytes,
 * whatever it returns. */
#define MODRM_MAX 6
static u8 *put_modrm(u8 *p, unsigned reg, struct x64_rm rm)
{
    unsigned r = (reg & 7) << 3;
    if (rm.is_reg) {
        *p = (u8)(0xc0 | r | (rm.reg & 7));
        return p + 1;
    }
    bool has_index = rm.index != X_NONE;
    unsigned sib = has_index ? (unsigned)__builtin_ctz(rm.scale) << 6 | (rm.index & 7u) << 3
                             : 4u << 3;
    u32 disp = (u32)rm.disp;
    if (rm.base == X_NONE) { /* SIB without base: disp32 */
        *p++ = (u8)(0x04 | r);
        *p++ = (u8)(sib | 5);
        memcpy(p, &disp, 4);
        return p + 4;
    }
    unsigned base = rm.base & 7;
    unsigned mod = rm.disp == 0 && base != X_RBP      ? 0
                   : rm.disp >= -128 && rm.disp < 128 ? 1
                                                      : 2;
    if (has_index || base == X_RSP) {
        *p++ = (u8)(mod << 6 | r | 4);
        *p++ = (u8)(sib | base);
    } else {
        *p++ = (u8)(mod << 6 | r | base);
    }
    memcpy(p, &disp, 4);
    return p + (mod == 2 ? 4 : mod);
}

/* REX.R, X, B (as 4, 2, 1) that the operands need. */
static unsigned rex_bits(unsigned reg, struct x64_rm rm)
{
    unsigned rex = reg & 8 ? 4 : 0;
    if (rm.is_reg)
        return rex | (rm.reg & 8 ? 1 : 0);
    if (rm.index != X_NONE && rm.index & 8)
        rex |= 2;
    if (rm.base != X_NONE && rm.base & 8)
        rex |= 1;
    return rex;
}

/* Where an instruction without its immediate may be assembled: in place if there is room for any,
 * else in spare, from where put_end brings what fits. */
#define OP_MAX (6 + MODRM_MAX)
static u8 *put_begin(const struct x64_buf *b, u8 spare[OP_MAX])
{
    return likely(b->end - b->p >= OP_MAX) ? b->p : spare;
}

static void put_end(struct x64_buf *b, const u8 *spare, const u8 *begin, u8 *end)
{
    if (likely(begin != spare)) {
        b->p = end;
        return;
    }
    for (const u8 *p = begin; p < end; p++)
        x64_byte(b, *p);
}

void x64_op(struct x64_buf *b, u32 op, bool rexw, bool byte_reg, bool byte_rm, unsigned reg,
            struct x64_rm rm)
{
    u8 spare[OP_MAX], *begin = put_begin(b, spare), *p = begin;
    unsigned pfx = op >> 16 & 0xff, map = op >> 8 & 0xff;
    if (pfx)
        *p++ = (u8)pfx;
    unsigned rex = rex_bits(reg, rm) | (rexw ? 8 : 0);
    if (rex || (byte_reg && reg >= 4) || (byte_rm && rm.is_reg && rm.reg >= 4))
        *p++ = (u8)(0x40 | rex);
    if (map)
        *p++ = 0x0f;
    if (map >= 2)
        *p++ = map == 2 ? 0x38 : 0x3a;
    *p++ = (u8)op;
    put_end(b, spare, begin, put_modrm(p, reg, rm));
}

void x64_vex(struct x64_buf *b, u32 op, bool vexw, unsigned reg, unsigned vvvv, struct x64_rm rm)
{
    u8 spare[OP_MAX], *begin = put_begin(b, spare), *p = begin;
    unsigned pfx = op >> 16 & 0xff, map = op >> 8 & 0xff;
    unsigned pp = pfx == 0x66 ? 1 : pfx == 0xf3 ? 2 : pfx == 0xf2 ? 3 : 0;
    unsigned rex = rex_bits(reg, rm);
    unsigned low = (~vvvv & 15) << 3 | (op & X64_VEX256 ? 4 : 0) | pp;
    if (map == 1 && !vexw && !(rex & 3)) {
        *p++ = 0xc5;
        *p++ = (u8)((rex & 4 ? 0 : 0x80) | low);
    } else {
        *p++ = 0xc4;
        *p++ = (u8)((~rex & 7) << 5 | map);
        *p++ = (u8)((vexw ? 0x80 : 0) | low);
    }
    *p++ = (u8)op;
    put_end(b, spare, begin, put_modrm(p, reg, rm));
}

/* An op of the integer family whose byte form is the opcode before. */
static void op_w(struct x64_buf *b, unsigned op, unsigned w, unsigned reg, struct x64_rm rm)
{
    x64_op(b, X64_OP(w == W16 ? 0x66 : 0, 0, w == W8 ? op - 1 : op), w == W64, w == W8, w == W8,
           reg, rm);
}

/* The same where reg is an opcode extension. */
static void group_w(struct x64_buf *b, unsigned op, unsigned w, unsigned ext, struct x64_rm rm)
{
    x64_op(b, X64_OP(w == W16 ? 0x66 : 0, 0, w == W8 ? op - 1 : op), w == W64, false, w == W8, ext,
           rm);
}

void x64_alu(struct x64_buf *b, unsigned alu, unsigned w, unsigned reg, struct x64_rm rm)
{
    op_w(b, alu * 8 + 3, w, reg, rm);
}

void x64_alu_store(struct x64_buf *b, unsigned alu, unsigned w, struct x64_rm rm, unsigned reg)
{
    op_w(b, alu * 8 + 1, w, reg, rm);
}

void x64_alu_imm(struct x64_buf *b, unsigned alu, unsigned w, struct x64_rm rm, s32 imm)
{
    if (w == W8) {
        group_w(b, 0x81, w, alu, rm);
        x64_byte(b, (u8)imm);
        return;
    }
    if (w == W16)
        imm = (s16)imm;
    if (imm >= -128 && imm < 128) {
        x64_op(b, X64_OP(w == W16 ? 0x66 : 0, 0, 0x83), w == W64, false, false, alu, rm);
        x64_byte(b, (u8)imm);
        return;
    }
    if (rm.is_reg && rm.reg == X_RAX) { /* a form without ModRM */
        if (w != W32)
            x64_byte(b, w == W16 ? 0x66 : 0x48);
        x64_byte(b, (u8)(alu << 3 | 5));
    } else {
        group_w(b, 0x81, w, alu, rm);
    }
    x64_bytes(b, (u32)imm, w == W16 ? 2 : 4);
}

void x64_test(struct x64_buf *b, unsigned w, struct x64_rm rm, unsigned reg)
{
    op_w(b, 0x85, w, reg, rm);
}

void x64_test_imm(struct x64_buf *b, unsigned w, struct x64_rm rm, s32 imm)
{
    group_w(b, 0xf7, w, 0, rm);
    x64_bytes(b, (u32)imm, w == W8 ? 1 : w == W16 ? 2 : 4);
}

void x64_load(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm rm)
{
    if (w <= W16)
        x64_op(b, X64_OP(0, 1, w == W8 ? 0xb6 : 0xb7), false, false, w == W8, reg, rm);
    else
        op_w(b, 0x8b, w, reg, rm);
}

void x64_store(struct x64_buf *b, unsigned w, struct x64_rm rm, unsigned reg)
{
    op_w(b, 0x89, w, reg, rm);
}

void x64_store_imm(struct x64_buf *b, unsigned w, struct x64_rm rm, s32 imm)
{
    group_w(b, 0xc7, w, 0, rm);
    x64_bytes(b, (u32)imm, w == W8 ? 1 : w == W16 ? 2 : 4);
}

void x64_mov_low(struct x64_buf *b, unsigned w, unsigned dst, struct x64_rm rm)
{
    op_w(b, 0x8b, w, dst, rm);
}

void x64_mov(struct x64_buf *b, unsigned w, unsigned dst, unsigned src)
{
    if (dst != src || w != W64)
        op_w(b, 0x8b, w == W64 ? W64 : W32, dst, x64_r(src));
}

void x64_mov_imm(struct x64_buf *b, unsigned reg, u64 imm)
{
    if (imm <= 0xffffffffu) {
        if (reg & 8)
            x64_byte(b, 0x41);
        x64_byte(b, (u8)(0xb8 | (reg & 7)));
        x64_bytes(b, imm, 4);
    } else if ((u64)(s64)(s32)imm == imm) {
        group_w(b, 0xc7, W64, 0, x64_r(reg));
        x64_bytes(b, imm, 4);
    } else {
        x64_byte(b, (u8)(0x48 | (reg & 8 ? 1 : 0)));
        x64_byte(b, (u8)(0xb8 | (reg & 7)));
        x64_bytes(b, imm, 8);
    }
}

void x64_reloc(struct x64_buf *b, enum x64_reloc_kind kind, unsigned arg, unsigned back)
{
    struct x64_relocs *r = b->relocs;
    if (!r)
        return;
    u64 at = (u64)(b->p - b->begin) - back;
    if (r->count == X64_RELOCS || at > 0xffff || arg > 0xff)
        r->failed = true;
    else
        r->list[r->count++] = (struct x64_reloc){(u16)at, (u8)kind, (u8)arg};
}

void x64_mov_pc(struct x64_buf *b, unsigned reg, u64 pc)
{
    x64_mov_imm(b, reg, pc);
    if (pc <= 0xffffffffu)
        x64_reloc(b, XR_ZX32, 0, 4);
    else if ((u64)(s64)(s32)pc == pc)
        x64_reloc(b, XR_MOV32, 0, 4);
    else
        x64_reloc(b, XR_PC64, 0, 8);
}

void x64_mov_index(struct x64_buf *b, unsigned reg, u32 index, bool moves)
{
    x64_byte(b, (u8)(0xb8 | reg));
    x64_bytes(b, index, 4);
    if (moves)
        x64_reloc(b, XR_INDEX, 0, 4);
}

void x64_movsx(struct x64_buf *b, unsigned to, unsigned from, unsigned reg, struct x64_rm rm)
{
    if (from == W32)
        x64_op(b, X64_OP(0, 0, 0x63), to == W64, false, false, reg, rm);
    else
        x64_op(b, X64_OP(0, 1, from == W8 ? 0xbe : 0xbf), to == W64, false, from == W8, reg, rm);
}

void x64_lea(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm mem)
{
    x64_op(b, X64_OP(0, 0, 0x8d), w == W64, false, false, reg, mem);
}

void x64_shift_imm(struct x64_buf *b, unsigned sh, unsigned w, struct x64_rm rm, unsigned count)
{
    group_w(b, count == 1 ? 0xd1 : 0xc1, w, sh, rm);
    if (count != 1)
        x64_byte(b, (u8)count);
}

void x64_shift_cl(struct x64_buf *b, unsigned sh, unsigned w, struct x64_rm rm)
{
    group_w(b, 0xd3, w, sh, rm);
}

void x64_f7(struct x64_buf *b, unsigned group, unsigned w, struct x64_rm rm)
{
    group_w(b, 0xf7, w, group, rm);
}

void x64_imul(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm rm)
{
    x64_op(b, X64_OP(w == W16 ? 0x66 : 0, 1, 0xaf), w == W64, false, false, reg, rm);
}

void x64_imul_imm(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm rm, s32 imm)
{
    x64_op(b, X64_OP(0, 0, 0x69), w == W64, false, false, reg, rm);
    x64_bytes(b, (u32)imm, 4);
}

void x64_setcc(struct x64_buf *b, unsigned cc, struct x64_rm rm)
{
    x64_op(b, X64_OP(0, 1, 0x90 | cc), false, false, true, 0, rm);
}

void x64_cmov(struct x64_buf *b, unsigned cc, unsigned w, unsigned reg, struct x64_rm rm)
{
    x64_op(b, X64_OP(0, 1, 0x40 | cc), w == W64, false, false, reg, rm);
}

/* A rel32 whose origin is the end of the field. */
static void rel32(struct x64_buf *b, u64 target)
{
    x64_bytes(b, (u32)(target - (x64_here(b) + 4)), 4);
    if (b->relocs) {
        const u8 *to = (const u8 *)(uintptr_t)(target - (u64)b->exec_delta);
        if (to < b->begin - X64_AHEAD || to >= b->end)
            x64_reloc(b, XR_AWAY, 0, 4);
    }
}

void x64_jmp(struct x64_buf *b, u64 target)
{
    x64_byte(b, 0xe9);
    rel32(b, target);
}

void x64_call(struct x64_buf *b, u64 target)
{
    x64_byte(b, 0xe8);
    rel32(b, target);
}

void x64_jcc(struct x64_buf *b, unsigned cc, u64 target)
{
    x64_byte(b, 0x0f);
    x64_byte(b, (u8)(0x80 | cc));
    rel32(b, target);
}

/* Four bytes to be filled in. */
static u8 *rel32_later(struct x64_buf *b)
{
    u8 *field = b->p;
    x64_bytes(b, 0, 4);
    return field;
}

u8 *x64_jmp_later(struct x64_buf *b)
{
    x64_byte(b, 0xe9);
    return rel32_later(b);
}

u8 *x64_jcc_later(struct x64_buf *b, unsigned cc)
{
    x64_byte(b, 0x0f);
    x64_byte(b, (u8)(0x80 | cc));
    return rel32_later(b);
}

void x64_bind(struct x64_buf *b, u8 *field)
{
    if (field + 4 <= b->end)
        store_le(field, (u64)(b->p - (field + 4)), 4);
}

void x64_jmp_rm(struct x64_buf *b, struct x64_rm rm)
{
    x64_op(b, X64_OP(0, 0, 0xff), false, false, false, 4, rm);
}

void x64_call_rm(struct x64_buf *b, struct x64_rm rm)
{
    x64_op(b, X64_OP(0, 0, 0xff), false, false, false, 2, rm);
}

void x64_ret(struct x64_buf *b)
{
    x64_byte(b, 0xc3);
}

void x64_vzeroupper(struct x64_buf *b)
{
    x64_bytes(b, 0x77f8c5, 3);
}

void x64_push(struct x64_buf *b, unsigned reg)
{
    if (reg & 8)
        x64_byte(b, 0x41);
    x64_byte(b, (u8)(0x50 | (reg & 7)));
}

void x64_pop(struct x64_buf *b, unsigned reg)
{
    if (reg & 8)
        x64_byte(b, 0x41);
    x64_byte(b, (u8)(0x58 | (reg & 7)));
}

static void pad(struct x64_buf *b, unsigned n)
{
    while (n) { /* 66 66 66 90: up to three prefixes decode at full speed */
        unsigned run = n > 4 ? 4 : n;
        for (unsigned i = 1; i < run; i++)
            x64_byte(b, 0x66);
        x64_byte(b, 0x90);
        n -= run;
    }
}

void x64_align(struct x64_buf *b, unsigned align)
{
    pad(b, (unsigned)(-(uintptr_t)b->p & (align - 1)));
}

void x64_align_field(struct x64_buf *b, unsigned ahead)
{
    unsigned at = (unsigned)((uintptr_t)b->p + ahead) & 7;
    pad(b, at > 4 ? 8 - at : 0);
}

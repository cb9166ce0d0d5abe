/* PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM vol. 1, 10.3.1; vol. 2B 4.1).
 *
 * Touches XMM registers, RCX, RAX and RDX (read) and the flags of struct cpu.
 */
#include "cpu/helpers.h"
#include "cpu/state.h"

struct strings {
    const union vec *v[2];
    unsigned len[2], lanes; /* valid elements of each, elements in a vector */
    u8 imm;
};

static s32 element(const struct strings *s, unsigned which, unsigned i)
{
    bool words = s->imm & 1, is_signed = s->imm & 2;
    if (words)
        return is_signed ? (s16)s->v[which]->w[i] : s->v[which]->w[i];
    return is_signed ? (s8)s->v[which]->b[i] : s->v[which]->b[i];
}

/* |RAX| or |RDX|, at most the number of lanes. */
static unsigned explicit_length(u64 reg, bool wide, unsigned lanes)
{
    s64 n = wide ? (s64)reg : (s32)reg;
    u64 magnitude = n < 0 ? -(u64)n : (u64)n;
    return magnitude > lanes ? lanes : (unsigned)magnitude;
}

static unsigned implicit_length(const struct strings *s, unsigned which)
{
    unsigned n = 0;
    while (n < s->lanes && element(s, which, n) != 0)
        n++;
    return n;
}

/* Result of comparing element j of the first operand with i of the second, with the overrides for
 * elements past the ends (table 4-7). */
static bool compare(const struct strings *s, unsigned j, unsigned i)
{
    unsigned mode = s->imm >> 2 & 3;
    bool a_valid = j < s->len[0], b_valid = i < s->len[1];
    if (!a_valid || !b_valid) {
        switch (mode) {
        case 0:
        case 1: return false;
        case 2: return !a_valid && !b_valid;
        default: return !a_valid;
        }
    }
    s32 a = element(s, 0, j), b = element(s, 1, i);
    if (mode == 1)
        return j & 1 ? b <= a : b >= a;
    return a == b;
}

/* IntRes1: one bit for each element of the second operand. */
static u32 aggregate(const struct strings *s)
{
    u32 r = 0;
    for (unsigned i = 0; i < s->lanes; i++) {
        bool hit = false;
        switch (s->imm >> 2 & 3) {
        case 0: /* equal any */
            for (unsigned j = 0; j < s->lanes; j++)
                hit |= compare(s, j, i);
            break;
        case 1: /* ranges */
            for (unsigned j = 0; j + 1 < s->lanes; j += 2)
                hit |= compare(s, j, i) && compare(s, j + 1, i);
            break;
        case 2: /* equal each */
            hit = compare(s, i, i);
            break;
        default: /* equal ordered */
            hit = true;
            for (unsigned j = 0; i + j < s->lanes; j++)
                hit &= compare(s, j, i + j);
            break;
        }
        r |= (u32)hit << i;
    }
    return r;
}

/* Polarity: nothing, all, or only the valid elements of the second operand inverted. */
static u32 polarity(const struct strings *s, u32 r)
{
    u32 all = (1u << s->lanes) - 1;
    switch (s->imm >> 4 & 3) {
    case 1: return r ^ all;
    case 3: return r ^ ((1u << s->len[1]) - 1);
    default: return r;
    }
}

static void store_mask(struct cpu *cpu, const struct strings *s, u32 r)
{
    union vec *out = &cpu->xmm[0];
    if (!(s->imm & 0x40)) {
        out->q[0] = r;
        out->q[1] = 0;
        return;
    }
    for (unsigned i = 0; i < s->lanes; i++) {
        if (s->imm & 1)
            out->w[i] = r >> i & 1 ? 0xffff : 0;
        else
            out->b[i] = r >> i & 1 ? 0xff : 0;
    }
}

u64 helper_pcmpstr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    unsigned kind = a & 0xff, src = a >> 16 & 0xff;
    union vec v[2] = {cpu->xmm[a >> 8 & 15], src == 0xff ? cpu->vtmp[0] : cpu->xmm[src & 15]};
    struct strings s = {.v = {&v[0], &v[1]}, .lanes = b & 1 ? 8 : 16, .imm = (u8)b};
    bool wide = kind & 4;
    if (kind & 2) {
        s.len[0] = implicit_length(&s, 0);
        s.len[1] = implicit_length(&s, 1);
    } else {
        s.len[0] = explicit_length(cpu->gpr[RAX], wide, s.lanes);
        s.len[1] = explicit_length(cpu->gpr[RDX], wide, s.lanes);
    }
    u32 r = polarity(&s, aggregate(&s));
    if (kind & 1 && kind & 8)
        memset(cpu->xmm[0].b + 16, 0, 16);
    if (kind & 1)
        store_mask(cpu, &s, r);
    else if (r == 0)
        cpu->gpr[RCX] = s.lanes;
    else
        cpu->gpr[RCX] = b & 0x40 ? 31 - (unsigned)__builtin_clz(r) : (unsigned)__builtin_ctz(r);
    u64 f = (r ? FL_CF : 0) | (s.len[1] < s.lanes ? FL_ZF : 0) | (s.len[0] < s.lanes ? FL_SF : 0) |
            (r & 1 ? FL_OF : 0);
    cpu->eflags = (cpu->eflags & ~(u64)FL_ARITH) | f;
    return 0;
}

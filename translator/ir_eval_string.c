/* Portable meaning of the string comparisons of ir_vec.def: what PCMPESTRI, PCMPESTRM, PCMPISTRI
 * and PCMPISTRM make of their operands (SDM vol. 1, 10.3.1; vol. 2B 4.1).
 *
 * Touches nothing but its arguments.
 */
#include "translator/ir_eval_rows.h"

struct strings {
    const union ir_value *v[2];
    unsigned len[2], lanes; /* valid elements of each, elements in a vector */
    u8 imm;
};

static s32 element(const struct strings *s, unsigned which, unsigned i)
{
    bool words = s->imm & 1, is_signed = s->imm & 2;
    if (words)
        return is_signed ? s->v[which]->sw[i] : s->v[which]->w[i];
    return is_signed ? s->v[which]->sb[i] : s->v[which]->b[i];
}

/* |n|, at most the number of lanes. */
static unsigned explicit_length(u64 n, unsigned lanes)
{
    u64 magnitude = n >> 63 ? -n : n;
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

static u64 index_of(const struct strings *s, u32 r)
{
    if (r == 0)
        return s->lanes;
    return (u64)(s->imm & 0x40 ? 31 - __builtin_clz(r) : __builtin_ctz(r));
}

static union ir_value mask_of(const struct strings *s, u32 r)
{
    union ir_value out = {{s->imm & 0x40 ? 0 : r, 0}};
    for (unsigned i = 0; i < s->lanes && s->imm & 0x40; i++) {
        if (s->imm & 1)
            out.w[i] = r >> i & 1 ? 0xffff : 0;
        else
            out.b[i] = r >> i & 1 ? 0xff : 0;
    }
    return out;
}

static u64 flags_of(const struct strings *s, u32 r)
{
    return (r ? FL_CF : 0) | (s->len[1] < s->lanes ? FL_ZF : 0) |
           (s->len[0] < s->lanes ? FL_SF : 0) | (r & 1 ? FL_OF : 0);
}

VEC_ROW(string)
{
    struct strings s = {.v = {args[0], args[1]}, .lanes = in->imm & 1 ? 8 : 16, .imm = (u8)in->imm};
    for (unsigned k = 0; k < 2; k++)
        s.len[k] = ir_args(in) == 4 ? explicit_length(args[2 + k]->q[0], s.lanes)
                                    : implicit_length(&s, k);
    u32 r = polarity(&s, aggregate(&s));
    switch (ir_briefs[in->op].type) {
    case 'v': *out = mask_of(&s, r); break;
    case 'f': *out = (union ir_value){{flags_of(&s, r), 0}}; break;
    default: *out = (union ir_value){{index_of(&s, r), 0}}; break;
    }
}

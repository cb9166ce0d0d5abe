/* Programs: laying out items, following undefined flags, dropping items, printing. */
#include <stdio.h>

#include "fuzz.h"
#include "translator/inspect.h"

static bool fix(struct program *p, unsigned i)
{
    struct item *it = &p->items[i];
    if (!it->fix_size)
        return true;
    u8 *at = p->code + p->at[i] + it->fix_at;
    if (it->fix_abs) {
        store_le(at, p->cs_offset + p->at[it->target], it->fix_size);
        return true;
    }
    s64 to = it->target >= 0 ? (s64)p->at[it->target] : /* else the field holds the address */
                 sign_extend(load_le(it->bytes + it->fix_at, 4), 32) - (s64)(CODE_AT + p->offset);
    s64 rel = to - (s64)(p->at[i] + it->fix_end);
    if (it->fix_size == 1 && rel != (s8)rel)
        return false;
    store_le(at, (u64)rel, it->fix_size);
    return true;
}

/* Flags that the instruction writes, and those of them that it leaves undefined.  A shift or rotate by
 * an immediate of 0 writes none, by one of 1 defines OF (SDM vol. 2, RCL and SAL, SHLD). */
static u16 flags_left(const struct insn *in, u16 *undef)
{
    static const u16 counted[] = {OP_rol, OP_ror, OP_rcl, OP_rcr, OP_shl,
                                  OP_shr, OP_sar, OP_shld, OP_shrd};
    bool shift = false;
    for (unsigned i = 0; i < ARRAY_SIZE(counted); i++)
        shift |= in->op == counted[i];
    *undef = in->row->flags_undefined;
    if (!shift || !in->operands || in->opnd[in->operands - 1].kind != OPND_IMM)
        return in->row->flags_written;
    unsigned count = (unsigned)in->imm & (in->opnd[0].size == 8 ? 63 : 31);
    if (count == 1)
        *undef &= (u16)~FL_OF;
    if (count)
        return in->row->flags_written;
    *undef = 0;
    return 0;
}

/* Follows the instructions of item i up to offset `upto` from undefined flags `undef`; *bad is set
 * if one reads such a flag. */
static u16 follow(const struct program *p, unsigned i, unsigned upto, u16 undef, bool *bad)
{
    for (unsigned at = p->at[i]; at < p->at[i] + p->items[i].len && at < upto;) {
        struct insn in;
        if (decode(&in, p->code + at, 15, p->mode) != DECODE_OK)
            break;
        u16 reads = in.row->flags_read & FL_ARITH, left, writes = flags_left(&in, &left);
        if (undef & reads)
            *bad = true;
        /* Repeated comparisons that do nothing leave the flags alone. */
        if (!(in.rep && in.row->props & ROW_REP))
            undef &= (u16)~writes;
        undef |= left;
        at += in.len;
    }
    return undef;
}

static bool merge(u16 *into, u16 v)
{
    u16 old = *into;
    *into |= v;
    return *into != old;
}

bool program_assemble(struct program *p, unsigned *where)
{
    unsigned size = 0;
    for (unsigned i = 0; i < p->count; i++) {
        p->at[i] = size;
        memcpy(p->code + size, p->items[i].bytes, p->items[i].len);
        size += p->items[i].len;
    }
    p->at[p->count] = size;
    p->code[size] = 0x0f; /* UD2 */
    p->code[size + 1] = 0x0b;
    p->size = size + 2;
    *where = MAX_ITEMS;
    if (p->offset + p->size > CODE_SIZE)
        return false;
    for (unsigned i = 0; i < p->count; i++)
        if (!fix(p, i))
            return false;
    memset(p->undef, 0, sizeof p->undef);
    for (bool again = true; again;) {
        again = false;
        for (unsigned i = 0; i < p->count; i++) {
            bool bad = false;
            u16 out = follow(p, i, p->size, p->undef[i], &bad);
            if (p->items[i].falls)
                again |= merge(&p->undef[i + 1], out);
            if (p->items[i].target >= 0)
                again |= merge(&p->undef[p->items[i].target], out);
        }
    }
    for (unsigned i = 0; i < p->count; i++) {
        bool bad = false;
        follow(p, i, p->size, p->undef[i], &bad);
        if (bad) {
            *where = i;
            return false;
        }
    }
    return true;
}

void program_drop(struct program *p, unsigned i)
{
    p->count--;
    memmove(&p->items[i], &p->items[i + 1], (p->count - i) * sizeof p->items[0]);
    for (unsigned k = 0; k < p->count; k++)
        if (p->items[k].target > (s16)i)
            p->items[k].target--;
}

u16 program_undefined(const struct program *p, u64 la)
{
    u64 off = la - CODE_AT - p->offset;
    if (off > p->at[p->count])
        return 0;
    unsigned i = p->count;
    while (i > 0 && p->at[i] > off)
        i--;
    bool bad;
    return i == p->count ? p->undef[i] : follow(p, i, (unsigned)off, p->undef[i], &bad);
}

void program_print(const struct program *p)
{
    u32 hflags = HF_PE | (p->mode == 64 ? HF_LONG : p->mode == 32 ? HF_CS32 : 0);
    for (unsigned at = 0; at < p->size;) {
        char text[128];
        u64 rip = CODE_AT + p->offset + at;
        struct insn in;
        unsigned n = inspect_disassemble(p->code + at, p->size - at, rip, hflags, text,
                                         sizeof text);
        bool ok = decode(&in, p->code + at, p->size - at, p->mode) == DECODE_OK;
        if (ok)
            n = in.len;
        printf("  %llx:", (unsigned long long)rip);
        for (unsigned k = 0; k < n; k++)
            printf(" %02x", p->code[at + k]);
        printf("%*s%s", 32 - 3 * (int)n > 1 ? 32 - 3 * (int)n : 1, "", text);
        printf("   [%s]\n", ok ? in.row->text : "undefined");
        at += n;
    }
}

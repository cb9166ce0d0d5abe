/* One TLB check for the accesses of a block to one page.
 *
 * Accesses at constant distances from one base (a stack frame, a structure) are nearly always on
 * one page.  The first of them probes the TLB for the page of all of them, from the lowest byte to
 * the highest, and leaves what it found (host address - linear address) in tlb_context.page_addend;
 * the others take it from there.  When the bytes are not all on one page, or the page is not in the
 * TLB, it leaves 0, and each access makes a probe of its own, out of line.
 *
 * What was found stays true until the end of the block: TLB entries that are evicted lose nothing
 * but time, mappings change in helpers only, before which groups end, and a device that remaps
 * memory while the block accesses it empties the TLB, after which x64_slow.c clears the addends.
 * Stores are grouped only while there is one vCPU: another one might translate code from the page
 * between check and store, and would not learn of the store.
 */
#include "translator/x64/x64_engine.h"

#define MAX_SPAN 1024 /* bytes from the first to the last of a group */

/* Splits an address into the value that it is a constant distance from, and the distance. */
static ir_ref split(const struct x64_sel *s, ir_ref r, s64 *disp)
{
    ir_ref root = x64_root(s, r);
    s32 imm;
    *disp = 0;
    for (unsigned n = 0; n < 16; n++) {
        const struct ir_insn *in = &s->ir->insns[root];
        if (in->op != IR_add || in->w != W64 || !x64_is_imm(s, in->arg[1], W64, &imm))
            break;
        *disp += imm;
        root = x64_root(s, in->arg[0]);
    }
    return root;
}

/* Whether the access may belong to a group, and whether it needs a page that it can write. */
static bool groupable(const struct x64_sel *s, unsigned i, bool *write)
{
    const struct ir_insn *in = &s->ir->insns[i];
    if (in->aux & (MF_SYSTEM | MF_ALIGN16 | MF_ALIGN32))
        return false;
    *write = in->op == IR_st || in->op == IR_vst || in->aux & MF_RMW;
    if (in->op == IR_st && s->val[i].flags & VAL_RES)
        return false; /* goes through the address of its load */
    return !*write || s->engine->vcpu_count <= 1;
}

/* The group of base that can take [lo, hi), or a new one; NULL when there are too many. */
static struct x64_page *group_for(struct x64_sel *s, ir_ref base, s64 lo, s64 hi)
{
    for (unsigned g = s->page_open; g < s->page_count; g++) {
        struct x64_page *p = &s->pages[g];
        s64 low = lo < p->lo ? lo : p->lo, high = hi > p->hi ? hi : p->hi;
        if (p->base != base || high - low > MAX_SPAN)
            continue;
        p->lo = (s32)low;
        p->hi = (s32)high;
        return p;
    }
    if (s->page_count == X64_PAGES || lo != (s32)lo || hi != (s32)hi)
        return NULL;
    struct x64_page *p = &s->pages[s->page_count++];
    *p = (struct x64_page){.base = base, .lo = (s32)lo, .hi = (s32)hi};
    return p;
}

void x64_find_pages(struct x64_sel *s)
{
    s->page_open = s->page_count = 0;
    if (!x64_on(s, T_pages) || s->ir->hflags & (HF_ONE | HF_ALIGN))
        return;
    for (unsigned i = 1; i < s->ir->count; i++) {
        const struct ir_insn *in = &s->ir->insns[i];
        bool write = false;
        if (ir_briefs[in->op].effects & E_CALL)
            s->page_open = s->page_count;
        if (in->op != IR_ld && in->op != IR_st && in->op != IR_vld && in->op != IR_vst)
            continue;
        if (!groupable(s, i, &write))
            continue;
        s64 disp;
        ir_ref base = split(s, in->arg[0], &disp);
        struct x64_page *p = group_for(s, base, disp, disp + (s64)W_BYTES(in->w));
        if (!p)
            continue;
        p->write |= write;
        p->members++;
        s->val[i].page = (u8)(p - s->pages + 1);
    }
}

struct x64_page *x64_page_of(struct x64_sel *s, ir_ref op, s32 *disp)
{
    struct x64_page *p = s->val[op].page ? &s->pages[s->val[op].page - 1] : NULL;
    s64 d;
    if (!p || p->members < 2)
        return NULL;
    split(s, s->ir->insns[op].arg[0], &d);
    *disp = (s32)d;
    return p;
}

struct x64_rm x64_page_slot(const struct x64_sel *s, const struct x64_page *p)
{
    return x64_m(X_RBP, TLB_OFF(page_addend) + 8 * (s32)(p - s->pages));
}

void x64_emit_own_probe(struct x64_sel *s, struct x64_stub *stub)
{
    struct x64_buf *b = &s->buf;
    unsigned t = stub->addend, w = (unsigned)__builtin_ctz(stub->size);
    if (stub->first)
        x64_store_imm(b, W64, stub->slot, 0);
    x64_lea(b, W64, t, x64_m(stub->areg, stub->disp));
    x64_call(b, s->thunks->probe[t][stub->write][w]);
    x64_jcc(b, CC_E, (u64)(uintptr_t)stub->again + (u64)b->exec_delta);
    stub->areg = (u8)t;
}

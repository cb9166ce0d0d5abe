/* One TLB check for the accesses of a block to one page.
 *
 * Accesses at constant distances from one base (a stack frame, a structure) are nearly always on
 * one page.  The first of them probes the TLB for the page of all of them, from the lowest byte to
 * the highest, and leaves what it found (host address - linear address) in tlb_context.page_addend;
 * the others take it from there and look no more.  When the bytes are not all on one page, or the
 * TLB does not have it and cannot have it without doing more than that access may, the first one
 * leaves the block before its instruction, of which nothing has been done: to a translation of the
 * rest of the block in which accesses share nothing (HF_APART).  Frames across two pages do so all
 * the time, so that is a jump as others are; all else is rare.
 *
 * What was found stays true until the end of the block: TLB entries that are evicted lose nothing
 * but time; mappings change in helpers only, before which groups end; registers in memory do not
 * move memory (bus.h).  Another vCPU that moves memory meanwhile has to bring this one to a safe
 * point before it can count on it, and RAM of the host's is never unmapped.
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
    if (in->op == IR_ld && s->val[i].flags & VAL_DEFERRED)
        return false; /* the x87's, which checks by itself */
    return !*write || s->engine->vcpu_count <= 1;
}

/* The group of base that can take [lo, hi), or a new one for op i; NULL when there are too many, or
 * op i may not be the first of one. */
static struct x64_page *group_for(struct x64_sel *s, ir_ref base, s64 lo, s64 hi, unsigned i,
                                  bool may_begin)
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
    if (!may_begin || s->page_count == X64_PAGES || lo != (s32)lo || hi != (s32)hi)
        return NULL;
    struct x64_page *p = &s->pages[s->page_count++];
    *p = (struct x64_page){.base = base, .first = (ir_ref)i, .lo = (s32)lo, .hi = (s32)hi};
    return p;
}

void x64_find_pages(struct x64_sel *s)
{
    bool begun = false; /* the instruction has done what it must not do again */
    s->page_open = s->page_count = 0;
    if (!x64_on(s, T_pages) || s->ir->hflags & (HF_ONE | HF_TF | HF_ALIGN | HF_APART) ||
        s->block->b.phys2 != ~0ull)
        return;
    for (unsigned i = 1; i < s->ir->count; i++) {
        const struct ir_insn *in = &s->ir->insns[i];
        u32 effects = ir_briefs[in->op].effects & (E_CALL | E_LOAD | E_STORE);
        bool write = false, first = !begun;
        if (in->op == IR_insn)
            begun = false;
        begun |= effects != 0;
        if (effects & E_CALL)
            s->page_open = s->page_count;
        if (in->op != IR_ld && in->op != IR_st && in->op != IR_vld && in->op != IR_vst)
            continue;
        if (!groupable(s, i, &write))
            continue;
        s64 disp;
        ir_ref base = split(s, in->arg[0], &disp);
        struct x64_page *p = group_for(s, base, disp, disp + (s64)W_BYTES(in->w), i, first);
        if (!p)
            continue;
        p->write |= write;
        if (p->members++)
            s->val[i].flags |= VAL_SURE;
        s->val[i].page = (u8)(p - s->pages + 1);
    }
}

struct x64_page *x64_page_of(struct x64_sel *s, ir_ref op, s32 *disp)
{
    struct x64_page *p = s->val[op].page ? &s->pages[s->val[op].page - 1] : NULL;
    s64 d;
    if (!p || p->members < 2)
        return NULL;
    if (!p->checked && op != p->first)
        s->failed = "an access before that which checks";
    split(s, s->ir->insns[op].arg[0], &d);
    *disp = (s32)d;
    return p;
}

struct x64_rm x64_page_slot(const struct x64_sel *s, const struct x64_page *p)
{
    return x64_m(X_RBP, TLB_OFF(page_addend) + 8 * (s32)(p - s->pages));
}

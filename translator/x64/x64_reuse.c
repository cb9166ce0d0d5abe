/* Translations used again: each is kept in a form that can be put down elsewhere, and a block with
 * the same bytes at another RIP (or on another page, or after all code was thrown away) is copied
 * from it instead of being translated.
 *
 * A copy is what translating would give, to the byte, which the tests check (accel_dbt.c).  What a
 * translation depends on besides the guest's bytes is the key (offset in the page, hflags, CS base)
 * or is known not to differ within one engine; what in the code depends on where code lies, host's
 * or guest's, is told by the emitter (struct x64_reloc).  A value that would ask for another
 * encoding at its new place is a reason to translate.  Not kept: blocks on two pages, outside of
 * plain memory, those that compare their bytes, or of one instruction by decree.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "translator/x64/x64_keep.h"

/* The hash table has an entry for so many bytes of the store. */
#define BYTES_AN_ENTRY 512u

static u64 table_bytes(const struct x64_keep *keep)
{
    return sizeof *keep->table << keep->table_bits;
}

bool x64_reuse_init(struct x64_engine *e, u64 bytes)
{
    struct x64_keep *keep = &e->keep;
    keep->fd = -1;
    if (!technique_on(e->off, T_reuse))
        return true;
    keep->size = bytes;
    while (1ull << keep->table_bits < bytes / BYTES_AN_ENTRY)
        keep->table_bits++;
    /* The table lies before the records, in the same large pages: both are met at random. */
    void *p = mmap(NULL, bytes + table_bytes(keep), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    madvise(p, bytes + table_bytes(keep), MADV_HUGEPAGE);
    keep->table = p;
    keep->base = (u8 *)p + table_bytes(keep);
    keep->used = keep->file_end = KEEP_FIRST;
    return true;
}

void x64_reuse_free(struct x64_engine *e)
{
    if (e->keep.base)
        munmap(e->keep.table, e->keep.size + table_bytes(&e->keep));
    if (e->keep.fd >= 0)
        close(e->keep.fd);
    free(e->keep.pieces);
    free(e->keep.dir);
    free(e->keep.path);
}

void x64_reuse_flushed(struct x64_engine *e)
{
    struct x64_keep *keep = &e->keep;
    if (!keep->base || keep->used < keep->size / 2)
        return;
    memset(keep->table, 0, table_bytes(keep));
    keep->used = keep->file_end = KEEP_FIRST;
    keep->file_used = 0;
}

/* Not while somebody wants to see each block being translated. */
static bool in_use(const struct x64_engine *e)
{
    return e->keep.base && !log_enabled(in_asm) && !log_enabled(ir) && !log_enabled(ir_opt) &&
           !log_enabled(out_asm);
}

/* ---- the hash table ---- */

/* Of what begins at p, in a page at `offset`: long enough for most blocks to differ. */
static u32 hash_of(const u8 *p, unsigned offset, u32 hflags)
{
    unsigned len = PAGE_SIZE - offset < 8 ? (unsigned)PAGE_SIZE - offset : 8;
    u64 key = load_le(p, len) ^ ((u64)hflags << 12 | offset) * 0xff51afd7ed558ccdull;
    return (u32)(key * 0x9e3779b97f4a7c15ull >> 32);
}

/* The entry that is so many looks behind the first one for this hash. */
static struct kept_entry *entry_at(const struct x64_keep *keep, u32 hash, unsigned looks)
{
    u64 first = (u64)hash << keep->table_bits >> 32;
    return &keep->table[(first + looks) & ((1ull << keep->table_bits) - 1)];
}

void kept_add(struct x64_keep *keep, struct kept_entry entry)
{
    /* The oldest, where all are of one hash. */
    unsigned turn = (unsigned)((keep->loaded + keep->fresh) % KEEP_LOOKS);
    struct kept_entry *to = entry_at(keep, entry.hash, turn);
    for (unsigned looks = 0; looks < KEEP_LOOKS; looks++) {
        struct kept_entry *free = entry_at(keep, entry.hash, looks);
        if (!free->place) {
            *free = entry;
            return;
        }
    }
    kept_reach(keep, 8ull * to->place, sizeof(struct kept));
    kept_at(keep, to->place)->gone = true;
    *to = entry;
}

/* ---- keeping ---- */

#define LOW48 (BIT64(48) - 1)

static void keep_exits(const struct x64_engine *e, u32 first, const struct x64_block *b,
                       struct kept_exit *to)
{
    for (u32 id = first; id < e->exit_count; id++, to++) {
        const struct x64_exit *x = &e->exits[id];
        u64 rip = x->rip - b->b.rip;
        if (x->branch)
            rip = (rip & LOW48) | (x->rip & ~LOW48);
        else if (x->dynamic)
            rip = x->rip;
        *to = (struct kept_exit){.rip = rip, .flags = x->flags,
                                 .field = (u16)(x->field ? x->field - b->rw : 0),
                                 .stub = (u16)(x->stub ? x->stub - b->code : 0),
                                 .fate = x->fate, .dynamic = x->dynamic, .branch = x->branch,
                                 .far = x->far};
    }
}

/* Addresses of the host become distances from what moves with them. */
static void unplace(const struct x64_engine *e, const struct x64_sel *s, struct x64_block *b,
                    u8 *code)
{
    u64 place = b->code - (u64)(uintptr_t)e->code.rx;
    for (unsigned i = 0; i < s->relocs.count; i++) {
        u8 *field = code + s->relocs.list[i].at;
        switch (s->relocs.list[i].kind) {
        case XR_AWAY: store_le(field, load_le(field, 4) + place, 4); break;
        case XR_HOST:
            store_le(field, load_le(field, 8) - (u64)(uintptr_t)x64_reuse_init, 8);
            break;
        case XR_EXIT: store_le(field, load_le(field, 4) - s->first_exit, 4); break;
        default: break;
        }
    }
}

/* Copies what was lifted and looked at from the guest's page into the record.  False if the page
 * has other bytes by now; the sums are of the copy, because other processors may be writing. */
static bool keep_bytes(struct kept *k, const u8 *page)
{
    struct kept_parts p = kept_parts(k);
    u64 looks = 0;
    memcpy(p.guest, page + (k->rip & ~PAGE_MASK), k->guest_bytes);
    u8 *to = p.guest + k->guest_bytes;
    for (unsigned i = 0; i < BLOCK_LOOKS; to += k->look_len[i++]) {
        memcpy(to, page + k->look[i], k->look_len[i]);
        looks += k->look_len[i] ? block_sum(to, k->look_len[i], NULL, 0) : 0;
    }
    memset(to, 0, (size_t)((u8 *)p.exits - to));
    k->bytes = (u32)align_up((u64)(p.end - (u8 *)k), 8);
    memset(p.end, 0, k->bytes - (size_t)(p.end - (u8 *)k));
    return looks == k->look_sum && block_sum(p.guest, k->guest_bytes, NULL, 0) == k->sum;
}

void x64_keep(struct x64_vcpu *v, struct x64_block *b)
{
    struct x64_engine *e = v->engine;
    struct x64_sel *s = &v->sel;
    const struct ir *ir = &v->ir;
    const u8 *page = bus_page(e->bus, b->b.phys).read;
    if (!in_use(e) || !(ir->hflags & HF_CSFLAT) || ir->hflags & (HF_ONE | HF_TF) ||
        b->b.live || ir->heated || b->b.phys2 != ~0ull || b->b.cs_base || s->relocs.failed ||
        !page)
        return;
    struct kept *k = (struct kept *)(e->keep.base + e->keep.used);
    unsigned offset = b->b.phys & ~PAGE_MASK;
    struct kept head = {
        .used = true, .rip = b->b.rip, .hflags = b->b.hflags,
        .sum = b->b.sum, .look_sum = b->b.look_sum, .code_size = b->size,
        .guest_bytes = b->b.guest_bytes,
        .guest_insns = b->b.guest_insns, .exits = (u16)(e->exit_count - s->first_exit),
        .relocs = (u16)s->relocs.count, .sites = (u16)b->site_count,
        .fixed = ir->fixed || !(ir->hflags & HF_LONG), .global = b->b.global};
    for (unsigned i = 0; i < BLOCK_LOOKS; i++) {
        head.look[i] = b->b.look[i] & ~PAGE_MASK;
        head.look_len[i] = b->b.look_len[i];
    }
    u32 hash = hash_of(page + offset, offset, ir->hflags);
    u64 most = sizeof *k + head.exits * sizeof(struct kept_exit) +
               head.relocs * sizeof(struct x64_reloc) + head.sites * sizeof(struct x64_site) +
               head.code_size + PAGE_SIZE;
    if (e->keep.size - e->keep.used < most)
        return;
    *k = head;
    if (!keep_bytes(k, page))
        return;
    struct kept_parts p = kept_parts(k);
    keep_exits(e, s->first_exit, b, p.exits);
    memcpy(p.relocs, s->relocs.list, k->relocs * sizeof *p.relocs);
    memcpy(p.sites, s->sites, k->sites * sizeof *p.sites);
    memcpy(p.code, b->rw, k->code_size);
    unplace(e, s, b, p.code);
    kept_add(&e->keep, (struct kept_entry){.hash = hash, .place = (u32)(e->keep.used / 8),
                                           .sum = (u32)k->sum, .guest_bytes = k->guest_bytes,
                                           .state = KEPT_SOUND});
    e->keep.used += k->bytes;
    e->keep.fresh++;
}

/* ---- using ---- */

/* Whether an entry is for bytes like these: of another block hardly ever. */
static bool promises(const struct kept_entry *t, u32 hash, const u8 *p, unsigned offset)
{
    return t->hash == hash && t->state != KEPT_BAD && offset + t->guest_bytes <= PAGE_SIZE &&
           t->sum == (u32)block_sum(p, t->guest_bytes, NULL, 0);
}

static bool matches(const struct kept *k, const struct cpu *cpu, const struct mmu_code_page *in)
{
    const u8 *page = in->host;
    unsigned offset = cpu->rip & ~PAGE_MASK; /* the base of a flat CS is 0 */
    if (k->hflags != cpu->hflags || (k->rip & ~PAGE_MASK) != offset ||
        (k->fixed && k->rip != cpu->rip) || k->global != in->global ||
        offset + k->guest_bytes > PAGE_SIZE)
        return false;
    const u8 *guest = kept_parts(k).guest;
    if (memcmp(page + offset, guest, k->guest_bytes) != 0)
        return false;
    guest += k->guest_bytes;
    for (unsigned i = 0; i < BLOCK_LOOKS; guest += k->look_len[i++])
        if (memcmp(page + k->look[i], guest, k->look_len[i]) != 0)
            return false;
    return true;
}

/* Writes the exits of the copy; false if one would not be canonical, or on the other side of the
 * block than before (jumps back look for requests). */
static bool put_exits(struct x64_engine *e, const struct kept *k, struct x64_block *b, u64 rip)
{
    const struct kept_exit *from = kept_parts(k).exits;
    for (unsigned i = 0; i < k->exits; i++, from++) {
        struct x64_exit *x = &e->exits[e->exit_count + i];
        *x = (struct x64_exit){.from = b, .flags = from->flags, .fate = from->fate,
                               .dynamic = from->dynamic, .branch = from->branch,
                               .far = from->far,
                               .field = from->field ? b->rw + from->field : NULL,
                               .stub = from->stub ? b->code + from->stub : 0};
        if (from->branch) {
            x->rip = ((from->rip + rip) & LOW48) | (from->rip & ~LOW48);
        } else if (from->dynamic) {
            x->rip = from->rip;
        } else {
            x->rip = rip + from->rip;
            if (!k->fixed && ((x->rip < rip) != ((s64)from->rip < 0) ||
                              sign_extend(x->rip, 48) != (s64)x->rip))
                return false;
        }
    }
    return true;
}

static bool fits32(u64 v)
{
    return (s64)v == (s32)v;
}

/* A guest address, or a tag that one is in (mode: what is XORed into it), moved by `by`; false if
 * it does not fit the encoding of this kind any more. */
static bool move_address(u8 *field, enum x64_reloc_kind kind, u64 by, u64 mode)
{
    bool wide = kind == XR_PC64 || kind == XR_TAG64;
    u64 v = load_le(field, wide ? 8 : 4);
    if (!wide && kind != XR_ZX32)
        v = (u64)(s64)(s32)v;
    v = ((v ^ mode) + by) ^ mode;
    bool fits = kind == XR_PC32    ? fits32(v)
                : kind == XR_MOV32 ? fits32(v) && v > 0xffffffff
                : kind == XR_ZX32  ? v <= 0xffffffff
                : kind == XR_TAG32 ? fits32(v) && (s64)v != (s8)v
                                   : !fits32(v) && v > 0xffffffff;
    store_le(field, v, wide ? 8 : 4);
    return fits;
}

/* Gives the copy's code what depends on its place. */
static bool place(struct x64_engine *e, const struct kept *k, struct x64_block *b, u64 rip)
{
    const struct x64_reloc *r = kept_parts(k).relocs;
    u64 at = b->code - (u64)(uintptr_t)e->code.rx, by = rip - k->rip;
    u64 mode = jump_tag(0, k->hflags);
    for (unsigned i = 0; i < k->relocs; i++, r++) {
        u8 *field = b->rw + r->at;
        s32 entry;
        switch (r->kind) {
        case XR_AWAY: store_le(field, load_le(field, 4) - at, 4); break;
        case XR_HOST:
            store_le(field, load_le(field, 8) + (u64)(uintptr_t)x64_reuse_init, 8);
            break;
        case XR_EXIT: store_le(field, load_le(field, 4) + e->exit_count, 4); break;
        case XR_INDEX: store_le(field, load_le(field, 4) + (by >> (PAGE_SHIFT - 5)), 4); break;
        case XR_JUMP:
            entry = JUMPS_OFF + (s32)(jump_index(e->exits[e->exit_count + r->arg].rip) *
                                      sizeof(struct jump_entry));
            store_le(field, (u32)entry | (load_le(field, 4) & 8), 4);
            if (entry >= -128)
                return false;
            break;
        default: {
            bool tag = r->kind == XR_TAG64 || r->kind == XR_TAG32;
            if (!move_address(field, (enum x64_reloc_kind)r->kind, by, tag ? mode : 0))
                return false;
        }
        }
    }
    return true;
}

static bool put_down(struct x64_engine *e, const struct kept *k, struct x64_block *b, u64 rip,
                     u64 phys)
{
    struct kept_parts p = kept_parts(k);
    u8 *rw = e->code.rw + align_up(e->used + X64_HEADER, 16);
    struct x64_buf buf = {.p = rw, .end = rw + k->code_size,
                          .exec_delta = (s64)(e->code.rx - e->code.rw)};
    b->rw = rw;
    b->code = x64_here(&buf);
    b->size = k->code_size;
    memcpy(rw, p.code, k->code_size);
    if (!put_exits(e, k, b, rip) || !place(e, k, b, rip))
        return false;
    x64_emit_header(&buf, e->thunks.retired, rip, b);
    b->sites = p.sites;
    b->site_count = k->sites;
    b->b = (struct block){.rip = rip, .phys = phys, .phys2 = ~0ull,
                          .hflags = k->hflags, .guest_bytes = k->guest_bytes,
                          .guest_insns = k->guest_insns, .global = k->global, .sum = k->sum,
                          .look_sum = k->look_sum};
    for (unsigned i = 0; i < BLOCK_LOOKS; i++) {
        b->b.look[i] = k->look_len[i] ? (phys & PAGE_MASK) | k->look[i] : 0;
        b->b.look_len[i] = k->look_len[i];
    }
    e->exit_count += k->exits;
    e->used = (u64)(rw + k->code_size - e->code.rw);
    return true;
}

/* Whether code that changes often is involved, which is translated with that in mind. */
static bool changes_often(const struct ir *ir, const struct kept *k, u64 page)
{
    bool hot = front_hot(ir, page | (k->rip & ~PAGE_MASK), k->guest_bytes);
    for (unsigned i = 0; i < BLOCK_LOOKS; i++)
        hot |= k->look_len[i] && front_hot(ir, page | k->look[i], k->look_len[i]);
    return hot;
}

void x64_reuse_expect(const struct x64_vcpu *v, const struct mmu_code_page *page)
{
    const struct x64_keep *keep = &v->engine->keep;
    unsigned offset = v->cpu->rip & ~PAGE_MASK;
    if (keep->base && page->host && v->cpu->hflags & HF_CSFLAT)
        __builtin_prefetch(entry_at(keep, hash_of(page->host + offset, offset, v->cpu->hflags), 0));
}

bool x64_reuse(struct x64_vcpu *v, struct x64_block *b)
{
    struct x64_engine *e = v->engine;
    struct cpu *cpu = v->cpu;
    struct mmu_code_page page;
    if (!in_use(e) || !(cpu->hflags & HF_CSFLAT) || cpu->hflags & (HF_ONE | HF_TF))
        return false;
    u64 la = cpu->hflags & HF_LONG ? cpu->rip : (u32)cpu->rip;
    if (front_cs_base(cpu) ||
        mmu_fetch_page(&cpu->mmu, cpu->mmu.kind, la, &page) != MMU_OK || !page.host)
        return false;
    unsigned offset = (unsigned)(la & ~PAGE_MASK);
    const u8 *p = page.host + offset;
    u32 hash = hash_of(p, offset, cpu->hflags);
    for (unsigned looks = 0; looks < KEEP_LOOKS; looks++) {
        struct kept_entry *t = entry_at(&e->keep, hash, looks);
        if (!t->place)
            break;
        if (!promises(t, hash, p, offset))
            continue;
        struct kept *k = kept_at(&e->keep, t->place);
        for (unsigned line = 0; line < 8; line++)
            __builtin_prefetch((const u8 *)k + 64 * line);
        if ((t->state == KEPT_SOUND || kept_check(&e->keep, t)) && matches(k, cpu, &page) &&
            !changes_often(&v->ir, k, page.phys & PAGE_MASK) &&
            put_down(e, k, b, cpu->rip, page.phys | offset)) {
            e->keep.file_used += k->used ? 0 : k->bytes;
            k->used = k->again = true;
            e->counters.reused++;
            e->counters.reused_insns += k->guest_insns;
            return true;
        }
    }
    return false;
}

/* POST Memory Manager: memory for option ROMs while POST runs.
 *
 * POST Memory Manager Specification 1.01 (Phoenix and Intel).  ROMs find the structure "$PMM" at
 * F0000-FFFFF and call its entry (services.S) with arguments on their stack, as C does: the
 * function, then a length in paragraphs, a handle and flags, or a handle, or an address.  DX:AX is
 * the answer, all other registers are preserved.  Before INT 19h boots, the structure and all
 * memory are gone (pmm_end in roms.c).
 */
#include "bios/service.h"

enum {
    ALLOCATE = 0,
    FIND = 1,
    DEALLOCATE = 2,
    FLAG_CONVENTIONAL = 1,
    FLAG_EXTENDED = 2,
    FLAG_ALIGNED = 4,
    PARAGRAPH = 16,
};

#define ANONYMOUS 0xffffffff
#define UNSUPPORTED 0xffffffff

/* The arguments, behind the frame and the caller's return address. */
struct arguments {
    struct frame frame;
    u16 ip, cs;
    u16 function;
    u32 word0, word1;
    u16 flags;
} PACKED;

static struct pmm *const pmm = &shared.pmm;

/* The lowest block of a pool that ends above `at`: its index, or pmm->count. */
static u8 next_block(u32 at, u32 end)
{
    u8 best = pmm->count;
    for (u8 i = 0; i < pmm->count; i++) {
        const struct pmm_block *b = &pmm->block[i];
        if (b->at + b->size > at && b->at < end &&
            (best == pmm->count || b->at < pmm->block[best].at))
            best = i;
    }
    return best;
}

/* The highest address in the pool where that many bytes are free; 0: nowhere.  *most is the size of
 * the largest gap. */
static u32 search(const struct pmm_pool *pool, u32 bytes, u32 align, u32 *most)
{
    u32 found = 0;
    for (u32 at = pool->start; at < pool->end;) {
        u8 n = next_block(at, pool->end);
        u32 end = n < pmm->count ? pmm->block[n].at : pool->end;
        if (end > at) {
            if (end - at > *most)
                *most = end - at;
            if (end - at >= bytes && ((end - bytes) & ~(align - 1)) >= at)
                found = (end - bytes) & ~(align - 1);
        }
        at = n < pmm->count ? pmm->block[n].at + pmm->block[n].size : pool->end;
    }
    return found;
}

static u32 find(u32 handle)
{
    for (u8 i = 0; i < pmm->count && handle != ANONYMOUS; i++)
        if (pmm->block[i].handle == handle)
            return pmm->block[i].at;
    return 0;
}

/* A length of 0 asks for the largest gap, in paragraphs.  Alignment is to the lowest bit that is
 * set in the length.  Extended memory comes first where any will do. */
static u32 allocate(u32 paragraphs, u32 handle, u16 flags)
{
    u32 bytes = paragraphs * PARAGRAPH, most = 0, at = 0;
    u32 align = flags & FLAG_ALIGNED && bytes ? bytes & -bytes : PARAGRAPH;
    if (!(flags & (FLAG_CONVENTIONAL | FLAG_EXTENDED)))
        return paragraphs ? 0 : UNSUPPORTED;
    if (flags & FLAG_EXTENDED)
        at = search(&pmm->high, bytes, align, &most);
    if (flags & FLAG_CONVENTIONAL && (!paragraphs || !at))
        at = search(&pmm->low, bytes, align, &most);
    if (!paragraphs)
        return most / PARAGRAPH;
    if (!at || bytes / PARAGRAPH != paragraphs || find(handle) || pmm->count == PMM_BLOCKS_MAX)
        return 0;
    pmm->block[pmm->count++] = (struct pmm_block){at, bytes, handle};
    return at;
}

/* 0 if there was such a block. */
static u32 deallocate(u32 at)
{
    for (u8 i = 0; i < pmm->count; i++)
        if (pmm->block[i].at == at) {
            pmm->block[i] = pmm->block[--pmm->count];
            return 0;
        }
    return 1;
}

void service_pmm(frame_ptr f)
{
    const struct arguments __seg_gs *a = (const struct arguments __seg_gs *)f;
    u32 r = UNSUPPORTED;
    switch (a->function) {
    case ALLOCATE: r = allocate(a->word0, a->word1, a->flags); break;
    case FIND: r = find(a->word0); break;
    case DEALLOCATE: r = deallocate(a->word0); break;
    }
    f->ax = (u16)r;
    f->dx = (u16)(r >> 16);
}

/* AVX helpers: masked moves and gathers, element by element.
 *
 * Touches vector registers of struct cpu and guest memory.  Elements that the mask leaves out are
 * never accessed, so they cannot fault (SDM vol. 2, VMASKMOV); a gather that faults keeps what it
 * has got and takes those elements out of the mask, so that it goes on there when it is executed
 * again (SDM vol. 2, VPGATHERDD).  Neither raises #AC: VMASKMOV never does (exceptions of type 6),
 * and for gathers the manual leaves it to the implementation.  Nor does it say whether the offsets
 * of VMASKMOV's elements wrap at the address size: here as on AMD's processors, where those of a
 * store do, and of a load that as a whole would fault.
 */
#include "cpu/cpu.h"
#include "cpu/helpers.h"
#include "cpu/system.h"

/* Linear address of an element of `size` bytes at an offset; raises what the segment says. */
static u64 element_address(struct cpu *cpu, unsigned seg, u64 offset, unsigned size, bool store)
{
    if (!(cpu->hflags & HF_LONG))
        return helper_segaddr(cpu, seg, (u32)offset, size, store);
    return seg == SEG_FS || seg == SEG_GS ? cpu->seg[seg].base + offset : offset;
}

static u64 load_element(struct cpu *cpu, unsigned seg, u64 offset, unsigned size)
{
    u64 v = 0, la = element_address(cpu, seg, offset, size, false);
    enum mmu_status s = mmu_load(&cpu->mmu, cpu_mmu_kind(cpu), la, size, &v);
    if (s != MMU_OK)
        cpu_raise_mmu(cpu, s, seg == SEG_SS);
    return v;
}

/* Whether all of it can be loaded. */
static bool can_load(struct cpu *cpu, unsigned seg, u64 offset, unsigned size)
{
    if (!(cpu->hflags & HF_LONG) && !seg_allows(cpu, &cpu->seg[seg], offset, size, false))
        return false;
    u64 la = element_address(cpu, seg, offset, size, false);
    return mmu_probe(&cpu->mmu, cpu_mmu_kind(cpu), la, size, MMU_READ) == MMU_OK;
}

static bool selected(const union vec *mask, unsigned i, unsigned size)
{
    return mask->b[(i + 1) * size - 1] & 0x80;
}

static void clear_upper(union vec *v, unsigned from)
{
    memset(v->b + from, 0, 32 - from);
}

static void masked_store(struct cpu *cpu, const union vec *data, const union vec *mask,
                         unsigned count, unsigned size, u64 offset, unsigned seg, u64 wrap)
{
    u64 la[8] = {0};
    /* All checks first, so that a fault leaves nothing written. */
    for (unsigned i = 0; i < count; i++) {
        if (!selected(mask, i, size))
            continue;
        la[i] = element_address(cpu, seg, (offset + i * size) & wrap, size, true);
        enum mmu_status s = mmu_probe(&cpu->mmu, cpu_mmu_kind(cpu), la[i], size, MMU_WRITE);
        if (s != MMU_OK)
            cpu_raise_mmu(cpu, s, seg == SEG_SS);
    }
    for (unsigned i = 0; i < count; i++)
        if (selected(mask, i, size))
            mmu_store(&cpu->mmu, cpu_mmu_kind(cpu), la[i], size, load_le(data->b + i * size, size));
}

u64 helper_probe_store(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    cpu_check_alignment(cpu, a, (unsigned)b);
    enum mmu_status s = mmu_probe(&cpu->mmu, cpu_mmu_kind(cpu), a, (unsigned)b, MMU_WRITE);
    if (s != MMU_OK)
        cpu_raise_mmu(cpu, s, c);
    return 0;
}

u64 helper_vmaskmov(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    union vec *data = &cpu->xmm[a & 15], v = {{0}};
    const union vec *mask = &cpu->xmm[a >> 8 & 15];
    unsigned size = 1u << (a >> 16 & 3), count = a >> 24 & 15, seg = c & 7;
    u64 wrap = size_mask(c >> 16 & 15);
    if (a >> 32 & 1) {
        masked_store(cpu, data, mask, count, size, b, seg, wrap);
        return 0;
    }
    if (b + count * size > wrap && can_load(cpu, seg, b, count * size))
        wrap = ~0ull;
    for (unsigned i = 0; i < count; i++)
        if (selected(mask, i, size))
            store_le(v.b + i * size, load_element(cpu, seg, (b + i * size) & wrap, size), size);
    memcpy(data, &v, 32);
    return 0;
}

u64 helper_vgather(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    union vec *dst = &cpu->xmm[a & 15], *mask = &cpu->xmm[a >> 8 & 15];
    const union vec *index = &cpu->xmm[a >> 16 & 15];
    unsigned size = 1u << (a >> 24 & 3), isize = 1u << (a >> 28 & 3), count = a >> 32 & 15;
    u64 wrap = size_mask(c >> 16 & 15), scale = c >> 8 & 0xff;
    for (unsigned i = 0; i < count; i++) {
        if (selected(mask, i, size)) {
            u64 x = (u64)sign_extend(load_le(index->b + i * isize, isize), isize * 8);
            u64 v = load_element(cpu, c & 7, (b + x * scale) & wrap, size);
            store_le(dst->b + i * size, v, size);
        }
        store_le(mask->b + i * size, 0, size);
    }
    clear_upper(dst, count * size);
    clear_upper(mask, 0);
    return 0;
}

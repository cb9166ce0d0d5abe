/* Which RAM pages have been stored to since somebody asked: for displays.
 *
 * A byte a page.  It is set when a TLB gets a write tag for the page, and by each store that goes
 * without one.  Who asks takes the byte back and drops the tags, so that the next store takes the
 * slow path once more; stores in between cost nothing.
 */
#include "mmu/written.h"

#include "mmu/tlb.h"

unsigned bus_take_written(struct bus *b, const u8 *host, unsigned pages, u8 *out)
{
    _Atomic u8 *written = &b->written[ram_arena_page(&b->ram, host)];
    unsigned count = 0;
    memset(out, 0, pages);
    for (unsigned i = 0; i < pages; i++) {
        if (i % 8 == 0 && pages - i >= 8 && !((uintptr_t)(written + i) & 7) &&
            !__atomic_load_n((u64 *)(written + i), __ATOMIC_RELAXED)) {
            i += 7; /* eight at once: most are not */
            continue;
        }
        if (atomic_load(&written[i]) && atomic_exchange(&written[i], 0)) {
            out[i] = 1;
            count++;
            tagged_drop(b, host + (u64)i * PAGE_SIZE);
        }
    }
    return count;
}

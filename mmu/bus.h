/* The physical address space and the port space: RAM, ROM, MMIO and port regions.
 *
 * Regions overlap by priority (higher wins; among equals the later).  RAM comes from one shared
 * anonymous mapping (memfd) so that a second mapping, KVM and snapshots can share it; RAM access
 * takes no lock, every MMIO and port access takes the machine lock.
 */
#ifndef DRAGOMAN_MMU_BUS_H
#define DRAGOMAN_MMU_BUS_H

#include "base/types.h"

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096u
#define PAGE_MASK (~0xfffull)

/* Who accesses: a vCPU's index, or BUS_DMA for a device. */
#define BUS_DMA (-1)

/* OR'ed to a physical address, from which they are far away: what a processor in system management
 * mode sees there, by data accesses or (both bits) by fetching instructions. */
#define BUS_SMM BIT64(62)
#define BUS_SMM_CODE (BIT64(62) | BIT64(61))
#define BUS_ADDRESS (BIT64(61) - 1)

/* The three views of memory that these make, as a mask for region_set_views. */
enum { BUS_IN_PLAIN = 1, BUS_IN_SMM = 2, BUS_IN_SMM_CODE = 4, BUS_VIEWS = 3 };

struct bus;
struct region;
struct mmu;

/* A region's registers.  The bus calls with sizes between min_size and max_size (bytes, powers of
 * two), splitting wider guest accesses little-endian and widening narrower ones. */
struct bus_ops {
    u64 (*read)(void *opaque, u64 offset, unsigned size);
    void (*write)(void *opaque, u64 offset, u64 value, unsigned size);
    u8 min_size, max_size; /* 0 means 1 and 8 (ports: 1 and 4) */
};

/* Called when a store (CPU or DMA) hits bytes that were marked as translated code; before the
 * store is performed.  `writer` is the storing vCPU's mmu or NULL for DMA. */
struct code_hook {
    void (*code_written)(void *opaque, struct mmu *writer, u64 gpa, unsigned len);
    void *opaque;
};

/* Makes an empty address space; NULL when the host has no memory. */
struct bus *bus_create(void);
void bus_destroy(struct bus *b);

/* Whether several vCPUs have joined: what one of them stores another may be translating. */
bool bus_shared(const struct bus *b);

/* The machine lock (recursive): devices, timers, pins and the bus dispatch run under it. */
void bus_lock(struct bus *b);
void bus_unlock(struct bus *b);

/* Allocates `size` bytes of zeroed guest RAM, committed on touch; returns the host pointer or NULL
 * with errno.  Freed with the bus. */
u8 *bus_alloc_ram(struct bus *b, u64 size, const char *name);
/* Whether a thread touches RAM that the guest will soon want (ram_ahead.h); at first one does. */
void bus_touch_ahead(struct bus *b, bool on);
/* Bytes that the thread has touched. */
u64 bus_touched_ahead(const struct bus *b);

/* Maps host memory (from bus_alloc_ram, or an alias of part of it) at gpa; both page-aligned.
 * readable=false reads as all ones; writable=false ignores stores (ROM). */
struct region *bus_map_ram(struct bus *b, const char *name, u64 gpa, u64 size, u8 *host,
                           bool readable, bool writable, int priority);
struct region *bus_map_mmio(struct bus *b, const char *name, u64 gpa, u64 size,
                            const struct bus_ops *ops, void *opaque, int priority);
/* As bus_map_mmio, for a unit of which each vCPU has its own at the same address (local APIC):
 * opaques[i] serves vCPU i; DMA accesses read all ones. */
struct region *bus_map_mmio_percpu(struct bus *b, const char *name, u64 gpa, u64 size,
                                   const struct bus_ops *ops, void **opaques, unsigned count,
                                   int priority);
struct region *bus_map_ports(struct bus *b, const char *name, u16 port, u32 count,
                             const struct bus_ops *ops, void *opaque);

/* Moves, enables or disables a region (PCI BARs, PAM, APIC base).  Flushes every TLB.  When an
 * access to registers in memory ends, memory must be where it was before (ports may move it):
 * translated code relies on it (translator/x64/x64_page.c). */
void region_set_enabled(struct region *r, bool enabled);
void region_set_address(struct region *r, u64 address);
void region_set_access(struct region *r, bool readable, bool writable);
/* Which views a region is in (BUS_IN_*); at first all. */
void region_set_views(struct region *r, unsigned views);
/* Sets what a pure-RAM region aliases; for switching ROM and shadow RAM. */
void region_set_host(struct region *r, u8 *host);

/* Physical accesses of 1, 2, 4 or 8 bytes, any alignment; nothing there reads as all ones. */
u64 bus_read(struct bus *b, int who, u64 gpa, unsigned size);
void bus_write(struct bus *b, int who, u64 gpa, u64 value, unsigned size);
/* Bulk copies for DMA, firmware loading and the monitor; cross regions freely. */
void bus_read_bytes(struct bus *b, u64 gpa, void *buf, u64 len);
void bus_write_bytes(struct bus *b, u64 gpa, const void *buf, u64 len);
/* As bus_write_bytes, but writes through ROM protection (loading firmware images). */
void bus_write_rom(struct bus *b, u64 gpa, const void *buf, u64 len);

/* Port accesses of 1, 2 or 4 bytes; nothing there reads as all ones. */
u32 bus_in(struct bus *b, int who, u16 port, unsigned size);
void bus_out(struct bus *b, int who, u16 port, u32 value, unsigned size);

/* One page of the address space as the software MMU needs it. */
struct bus_page {
    u8 *read;  /* host address of the page, or NULL: go through bus_read */
    u8 *write; /* the same for stores; NULL too for ROM and MMIO */
};
struct bus_page bus_page(struct bus *b, u64 gpa);

/* A20 gate: when off, physical address bit 20 is forced to 0.  Flushes every TLB. */
void bus_set_a20(struct bus *b, bool on);
u64 bus_a20_mask(const struct bus *b);

/* ---- translated code, tracked in 64-byte granules of each RAM page (by host page, so that
 * aliases of the same RAM agree) ---- */

void bus_set_code_hook(struct bus *b, struct code_hook hook);
/* Marks bytes as translated code; the first mark on a page makes every TLB's stores to it take
 * the slow path.  The range may cross one page border. */
void code_mark(struct bus *b, u64 gpa, unsigned len);
/* Whether any granule that [gpa, gpa+len) touches is marked. */
bool code_hit(struct bus *b, u64 gpa, unsigned len);
/* Drops all marks of the page at gpa; the translator re-marks what survives. */
void code_clear_page(struct bus *b, u64 gpa);
/* Whether the page has any mark (its stores then go the slow path). */
bool code_page(struct bus *b, u64 gpa);

/* ---- RAM that has been stored to, by page ---- */

/* Sets out[i] for each of `pages` pages from `host` (page-aligned, one block of bus_alloc_ram) that
 * may have been stored to since the last call that said so; how many.  What another vCPU is about
 * to store just now may appear a moment later without being told: look again some time after. */
unsigned bus_take_written(struct bus *b, const u8 *host, unsigned pages, u8 *out);

/* Prints the map for `info mtree`. */
void bus_print(struct bus *b, void (*print)(void *opaque, const char *fmt, ...), void *opaque);

#endif

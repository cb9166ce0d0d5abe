/* Kept translations, for x64_reuse.c, which makes and uses them, and x64_cache.c, which has them in
 * a file between runs. */
#ifndef DRAGOMAN_TRANSLATOR_X64_KEEP_H
#define DRAGOMAN_TRANSLATOR_X64_KEEP_H

#include "translator/x64/x64_engine.h"

#define KEEP_FIRST 64u /* where records begin in the store, and in a file, whose head is before */
#define KEEP_LOOKS 64u /* so many entries of the hash table are looked at */

#define KEEP_MOST (512u << 10) /* bytes that no record has */

/* A kept translation; behind it the guest's bytes (of the block and of each look ahead), exits,
 * relocations, sites, code. */
struct kept {
    u32 bytes; /* of the record, with what is behind it */
    u32 place; /* as it is written: where it goes in the file / 8, 0: nowhere */
    u64 check; /* in a file: checksum of all that follows `again` */
    bool gone; /* nothing leads to it any more */
    bool used; /* in this run */
    u8 age;    /* how many files have been written since the last run that used it */
    bool again; /* has been used for another block than the one it was made for */
    u32 hflags;
    u64 rip;
    u64 sum, look_sum; /* as in struct block */
    u32 code_size;
    u16 guest_bytes, guest_insns;
    u16 exits, relocs, sites;
    u16 look[BLOCK_LOOKS]; /* offsets in the page */
    u8 look_len[BLOCK_LOOKS];
    bool fixed;  /* good for this rip only */
    bool global; /* made on a global page, which shows in exits to other pages */
};
#define KEPT_CHECKED offsetof(struct kept, hflags)

struct kept_exit {
    u64 rip;         /* - rip of the block; of indirect exits in the low 48 bits */
    u16 field, stub; /* from the block's entry; no field: 0 */
    u8 fate, dynamic, branch, far;
    struct x64_recipe flags;
};

/* Where the parts of a record are. */
struct kept_parts {
    struct kept_exit *exits;
    struct x64_reloc *relocs;
    struct x64_site *sites;
    u8 *code, *guest, *end;
};

static inline struct kept_parts kept_parts(const struct kept *k)
{
    struct kept_parts p;
    p.guest = (u8 *)(uintptr_t)(k + 1);
    u64 guest = k->guest_bytes;
    for (unsigned i = 0; i < BLOCK_LOOKS; i++)
        guest += k->look_len[i];
    p.exits = (struct kept_exit *)(p.guest + align_up(guest, 8));
    p.relocs = (struct x64_reloc *)(p.exits + k->exits);
    p.sites = (struct x64_site *)(p.relocs + k->relocs);
    p.code = (u8 *)(p.sites + k->sites);
    p.end = p.code + k->code_size;
    return p;
}

static inline struct kept *kept_at(const struct x64_keep *keep, u32 place)
{
    return (struct kept *)(keep->base + 8ull * place);
}

/* Adds a record to the hash table, in the place of another one if there is no room. */
void kept_add(struct x64_keep *keep, struct kept_entry entry);

/* Makes sure that so many bytes of the store from `at` on have been read, as far as they come from
 * the file. */
void kept_reach(struct x64_keep *keep, u64 at, u64 bytes);

/* Whether an entry's record, of a file, may be used: its checksum, and that nothing in it leads out
 * of it (x64_cache.c).  Sets the entry's state. */
bool kept_check(struct x64_keep *keep, struct kept_entry *t);

#endif

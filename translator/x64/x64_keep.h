/* Kept translations, for x64_reuse.c, which makes and uses them, and x64_cache.c, which has them in
 * a file between runs. */
#ifndef DRAGOMAN_TRANSLATOR_X64_KEEP_H
#define DRAGOMAN_TRANSLATOR_X64_KEEP_H

#include "translator/x64/x64_engine.h"

#define KEEP_FIRST 64u    /* where records begin in the store; a file's head is before them */
#define KEEP_KEY_BITS 17u /* of the hash */
#define KEEP_LOOKS 64u    /* so many records of one hash, the latest, are looked at */

/* A kept translation; behind it exits, relocations, sites, code, then the guest's bytes: of the
 * block and of each look ahead. */
struct kept {
    u32 bytes;  /* of the record, with what is behind it */
    u32 next;   /* of the same hash: place in the store / 8, 0: none */
    u64 check;  /* in a file: checksum of all that follows `used` */
    bool sound; /* has been checked, or is of this run */
    bool used;  /* in this run */
    u32 bucket;
    u64 rip, cs_base;
    u64 sum, look_sum; /* as in struct block */
    u32 hflags;
    u32 code_size;
    u16 guest_bytes, guest_insns;
    u16 exits, relocs, sites;
    u16 look[BLOCK_LOOKS]; /* offsets in the page */
    u8 look_len[BLOCK_LOOKS];
    bool fixed;  /* good for this rip only */
    bool global; /* made on a global page, which shows in exits to other pages */
};

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
    p.exits = (struct kept_exit *)(uintptr_t)(k + 1);
    p.relocs = (struct x64_reloc *)(p.exits + k->exits);
    p.sites = (struct x64_site *)(p.relocs + k->relocs);
    p.code = (u8 *)(p.sites + k->sites);
    p.guest = p.code + k->code_size;
    p.end = p.guest + k->guest_bytes;
    for (unsigned i = 0; i < BLOCK_LOOKS; i++)
        p.end += k->look_len[i];
    return p;
}

/* Adds the record at `at` of the store to the hash. */
static inline void kept_add(struct x64_keep *keep, u64 at)
{
    struct kept *k = (struct kept *)(keep->base + at);
    k->next = keep->heads[k->bucket];
    keep->heads[k->bucket] = (u32)(at / 8);
}

/* Whether a record that a file had may be used: its checksum, and that nothing in it leads out of
 * it (x64_cache.c). */
bool kept_sound(struct kept *k);

#endif

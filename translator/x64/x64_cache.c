/* Kept translations in a file between runs: read as the first vCPU joins, written as the engine
 * goes.
 *
 * The file holds host code, so it is as trustworthy as the program itself, or is not used: it must
 * be a regular file of this user that nobody else may read or write.  Against accidents there is a
 * key of all that a translation depends on besides the guest (build, processor model, host,
 * options) and a checksum over each record, which is looked at when the record is first asked for;
 * whatever is wrong is translated instead, without a word.  A new file replaces the old one as a
 * whole, so that machines may share a folder; the last to end wins.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/cpuid.h"
#include "translator/x64/x64_keep.h"

#include <link.h> /* last: its names of segment flags are macros */

/* Bytes of a file that are written, or read: so that a run has room for what it makes itself. */
static u64 most_bytes(const struct x64_keep *keep)
{
    u64 most = 128ull << 20;
    return keep->size / 2 < most ? keep->size / 2 : most;
}

struct cache_head {
    char magic[8];
    u64 key, bytes, check; /* check: of the fields before */
};
static_assert(sizeof(struct cache_head) <= KEEP_FIRST, "the head is before the records");

static const char magic[8] = {'D', 'R', 'A', 'G', 'C', 'O', 'D', 'E'};

/* ---- what a translation depends on ---- */

static u64 hash_of(const void *p, size_t bytes)
{
    return block_sum(p, (unsigned)bytes, NULL, 0);
}

/* The linker's number of this very program (NT_GNU_BUILD_ID), of the first object: itself. */
static int find_build(struct dl_phdr_info *info, size_t size, void *opaque)
{
    u64 *build = opaque;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        const u8 *p = (const u8 *)(uintptr_t)(info->dlpi_addr + ph->p_vaddr);
        const u8 *end = p + ph->p_memsz;
        while (ph->p_type == PT_NOTE && p + sizeof(ElfW(Nhdr)) <= end) {
            ElfW(Nhdr) n;
            memcpy(&n, p, sizeof n);
            p += sizeof n;
            if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && !memcmp(p, "GNU", 4))
                *build = hash_of(p + 4, n.n_descsz);
            p += align_up(n.n_namesz, 4) + align_up(n.n_descsz, 4);
        }
    }
    return 1;
}

/* Sets the key, and the number in the file's name: that of what machines of one build differ in.
 * False when the program does not know its build. */
static bool make_key(struct x64_engine *e, const struct cpu *cpu, u64 *name)
{
    u64 build = 0, rx = (u64)(uintptr_t)e->code.rx;
    u64 machine[] = {cpu_model_id(cpu), e->off, e->levels, e->block_code,
                     (u64)e->avx | (u64)e->lzcnt << 1 | (u64)e->bmi2 << 2 | (u64)e->x87 << 3 |
                         (u64)e->wide << 4 | (u64)(cpu->count != NULL) << 5};
    u64 thunks[sizeof e->thunks / 8];
    memcpy(thunks, &e->thunks, sizeof thunks);
    for (unsigned i = 0; i < ARRAY_SIZE(thunks); i++)
        thunks[i] -= rx;
    dl_iterate_phdr(find_build, &build);
    *name = hash_of(machine, sizeof machine);
    u64 parts[] = {*name, build, hash_of(thunks, sizeof thunks), sizeof(struct kept)};
    e->keep.key = hash_of(parts, sizeof parts);
    return build != 0;
}

/* ---- reading ---- */

static bool loc_sound(const struct x64_loc *l)
{
    return l->kind <= LOC_SCRATCH && (l->kind < LOC_GPR || l->index < (l->kind == LOC_GPR     ? 16
                                                                       : l->kind == LOC_SPILL ? 64
                                                                                              : 3));
}

static bool exits_sound(const struct kept *k, const struct kept_exit *x)
{
    for (unsigned i = 0; i < k->exits; i++, x++)
        if (x->field + 4u > k->code_size || x->stub > k->code_size || x->fate > XF_DEAD ||
            x->far > FAR_GLOBAL || (x->far && x->field < X64_LINK_BYTES) ||
            !loc_sound(&x->flags.a) || !loc_sound(&x->flags.b))
            return false;
    return true;
}

static bool relocs_sound(const struct kept *k, const struct x64_reloc *r)
{
    for (unsigned i = 0; i < k->relocs; i++, r++)
        if (r->at + 8u > k->code_size + 4u || r->kind > XR_EXIT ||
            ((r->kind == XR_HOST || r->kind == XR_PC64 || r->kind == XR_TAG64) &&
             r->at + 8u > k->code_size) ||
            (r->kind == XR_JUMP && r->arg >= k->exits))
            return false;
    return true;
}

static u64 check_of(const struct kept *k)
{
    size_t from = offsetof(struct kept, bucket);
    return hash_of((const u8 *)k + from, k->bytes - from) ^ k->bytes;
}

bool kept_sound(struct kept *k)
{
    if (k->sound)
        return true;
    struct kept_parts p = kept_parts(k);
    bool good = k->check == check_of(k) && k->code_size <= MAX_BLOCK_CODE &&
                p.end <= (u8 *)k + k->bytes && k->guest_bytes && k->code_size &&
                (k->rip & ~PAGE_MASK) + k->guest_bytes <= PAGE_SIZE &&
                k->exits <= 4 * MAX_STUBS && exits_sound(k, p.exits) && relocs_sound(k, p.relocs);
    for (unsigned i = 0; good && i < BLOCK_LOOKS; i++)
        good = k->look[i] + k->look_len[i] <= (int)PAGE_SIZE;
    for (unsigned i = 0; good && i < k->sites; i++)
        good = p.sites[i].ret <= k->code_size && loc_sound(&p.sites[i].flags.a) &&
               loc_sound(&p.sites[i].flags.b);
    k->sound = good;
    return good;
}

static bool read_all(int fd, u8 *to, u64 bytes)
{
    while (bytes) {
        ssize_t n = read(fd, to, bytes);
        if (n <= 0)
            return false;
        to += n;
        bytes -= (u64)n;
    }
    return true;
}

/* Hashes the records that have been read up to `end`: no further than their lengths make sense. */
static void add_records(struct x64_keep *keep, u64 end)
{
    u64 at = KEEP_FIRST;
    while (end - at >= sizeof(struct kept)) {
        struct kept *k = (struct kept *)(keep->base + at);
        if (k->bytes < sizeof *k || k->bytes % 8 || k->bytes > end - at ||
            k->bucket >> KEEP_KEY_BITS)
            break;
        k->sound = k->used = false;
        kept_add(keep, at);
        keep->loaded++;
        at += k->bytes;
    }
    keep->used = at;
}

/* Whether nobody but this user can have made the file what it is. */
static bool own_file(int fd, u64 *bytes)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
        return false;
    *bytes = (u64)st.st_size;
    return true;
}

void x64_cache_open(struct x64_engine *e, const struct cpu *cpu)
{
    struct x64_keep *keep = &e->keep;
    struct cache_head head;
    u64 name, bytes = 0;
    if (!keep->dir || !keep->base)
        return;
    if (!make_key(e, cpu, &name)) {
        log_print("dbt: cache: this program was linked without a build id; going on without\n");
        return;
    }
    if (asprintf(&keep->path, "%s/dbt-%016llx", keep->dir, (unsigned long long)name) < 0) {
        keep->path = NULL;
        return;
    }
    int fd = open(keep->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (!own_file(fd, &bytes)) {
        log_print("dbt: cache: %s is not this user's alone; not used\n", keep->path);
        free(keep->path);
        keep->path = NULL;
    } else if (bytes >= KEEP_FIRST && read_all(fd, keep->base, KEEP_FIRST)) {
        memcpy(&head, keep->base, sizeof head);
        if (!memcmp(head.magic, magic, sizeof magic) && head.key == keep->key &&
            head.bytes == bytes &&
            head.check == hash_of(&head, offsetof(struct cache_head, check))) {
            u64 end = bytes < most_bytes(keep) ? bytes : most_bytes(keep);
            if (read_all(fd, keep->base + KEEP_FIRST, end - KEEP_FIRST))
                add_records(keep, end);
        }
    }
    close(fd);
}

/* ---- writing ---- */

static bool write_all(int fd, const u8 *p, u64 bytes)
{
    while (bytes) {
        ssize_t n = write(fd, p, bytes);
        if (n <= 0)
            return false;
        p += n;
        bytes -= (u64)n;
    }
    return true;
}

/* Moves together what goes to the file: all that this run has used, and of the rest what there is
 * room for.  Nobody uses the store any more.  Returns its end. */
static u64 gather(struct x64_keep *keep)
{
    u64 used = 0, to = KEEP_FIRST, most = most_bytes(keep), bytes;
    for (u64 at = KEEP_FIRST; at < keep->used; at += bytes) {
        const struct kept *k = (const struct kept *)(keep->base + at);
        bytes = k->bytes;
        used += k->used ? bytes : 0;
    }
    u64 others = used < most ? most - used : 0;
    for (u64 at = KEEP_FIRST; at < keep->used; at += bytes) {
        struct kept *k = (struct kept *)(keep->base + at);
        bytes = k->bytes;
        u64 *room = k->used ? &used : &others;
        if (bytes > *room || to + bytes > most)
            continue;
        *room -= bytes;
        memmove(keep->base + to, k, bytes);
        k = (struct kept *)(keep->base + to);
        if (k->sound)
            k->check = check_of(k);
        to += bytes;
    }
    return to;
}

/* What a new file is called until it is whole, and how long it takes by far. */
#define TEMPORARY ".XXXXXX"
#define TEMPORARY_SECONDS 3600

/* Removes what runs that were killed while they wrote have left. */
static void sweep(const struct x64_keep *keep)
{
    const char *name = strrchr(keep->path, '/') + 1;
    size_t len = strlen(name);
    DIR *dir = opendir(keep->dir);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        struct stat st;
        if (!strncmp(d->d_name, name, len) && d->d_name[len] == '.' &&
            strlen(d->d_name + len) == strlen(TEMPORARY) &&
            fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            time(NULL) - st.st_mtime > TEMPORARY_SECONDS)
            unlinkat(dirfd(dir), d->d_name, 0);
    }
    if (dir)
        closedir(dir);
}

void x64_cache_save(struct x64_engine *e)
{
    struct x64_keep *keep = &e->keep;
    char *temp = NULL;
    if (!keep->path || !keep->fresh)
        return;
    if (mkdir(keep->dir, 0700) && errno != EEXIST) {
        log_print("dbt: cache: %s: %s\n", keep->dir, strerror(errno));
        return;
    }
    struct cache_head head = {.key = keep->key, .bytes = gather(keep)};
    memcpy(head.magic, magic, sizeof magic);
    head.check = hash_of(&head, offsetof(struct cache_head, check));
    memset(keep->base, 0, KEEP_FIRST);
    memcpy(keep->base, &head, sizeof head);
    sweep(keep);
    if (asprintf(&temp, "%s" TEMPORARY, keep->path) < 0)
        temp = NULL;
    int fd = temp ? mkostemp(temp, O_CLOEXEC) : -1;
    bool good = fd >= 0 && write_all(fd, keep->base, head.bytes);
    if (fd >= 0)
        good &= close(fd) == 0;
    good = good && rename(temp, keep->path) == 0;
    if (!good) {
        log_print("dbt: cache: %s: %s\n", keep->path, strerror(errno));
        if (fd >= 0)
            unlink(temp);
    }
    free(temp);
}

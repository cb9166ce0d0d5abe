/* Kept translations in a file between runs.
 *
 * Before the first block is made, the hash table's entries are read, which say what the file has;
 * the records themselves when something near them is wanted: in pieces, by reading and not by
 * mapping, for where the folder is on another computer a file that is replaced may be gone while it
 * is mapped.  They are in the order in which they were made, which a later run of the same guest
 * repeats roughly.  As the engine goes a new file is written, if there is enough that the old one
 * does not have.
 *
 * The file holds host code, so it is as trustworthy as the program itself, or is not used: it must
 * be a regular file of this user that nobody else may read or write.  Against accidents there is a
 * key of all that a translation depends on besides the guest (build, processor model, host,
 * options), a checksum over the entries, and one over each record, looked at when it is first asked
 * for; whatever is wrong is translated instead, without a word.  A new file replaces the old one as
 * a whole, so that machines may share a folder; the last to end wins.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
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

/* Behind the head are the records up to `end`, then the entries of the hash table, in its order. */
struct cache_head {
    char magic[8];
    u64 key, end, entries;
    u64 sum;   /* of the entries of the hash table, which lie behind the records */
    u64 check; /* of the fields before */
};
static_assert(sizeof(struct cache_head) <= KEEP_FIRST, "the head is before the records");

#define NAME_FORMAT "dbt-%016llx"
#define NAME "dbt-0123456789abcdef"
#define NAME_FIXED 4

/* The store takes the file's records in such pieces, when something in them is wanted. */
#define PIECE ((u64)64 << 10)

/* A file is left as it is by runs that have made less than this part of what they used themselves:
 * writing takes about as long as making that would. */
#define FRESH_PART 4u

/* What was used by the run that made it only is left out after so many files: some is of what no
 * later run can meet, like the addresses of a kernel that places itself at random. */
#define ONCE_FILES 2u

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
                         (u64)e->wide << 4 | (u64)(cpu->count != NULL) << 5 |
                         (u64)(e->vcpu_count > 1) << 6}; /* with several there are no links */
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
            x->far > FAR_APART || (x->far && x->field < X64_LINK_BYTES) ||
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

/* Four sums at once, for one has to wait for its products. */
static u64 check_of(const struct kept *k)
{
    u64 sum[4] = {k->bytes, 1, 2, 3};
    const u8 *p = (const u8 *)k + KEPT_CHECKED, *end = (const u8 *)k + k->bytes;
    for (; end - p >= 32; p += 32)
        for (unsigned i = 0; i < 4; i++) {
            sum[i] = (sum[i] ^ load_le(p + 8 * i, 8)) * 0x9e3779b97f4a7c15ull;
            sum[i] ^= sum[i] >> 32;
        }
    return block_sum(p, (unsigned)(end - p), (const u8 *)sum, sizeof sum);
}

static bool read_at(int fd, u8 *to, u64 bytes, u64 at)
{
    while (bytes) {
        ssize_t n = pread(fd, to, bytes, (off_t)at);
        if (n <= 0)
            return false;
        to += n;
        at += (u64)n;
        bytes -= (u64)n;
    }
    return true;
}

/* A piece that cannot be read has records of no bytes. */
void kept_reach(struct x64_keep *keep, u64 at, u64 bytes)
{
    u64 end = keep->pieces ? min_u64(at + bytes, keep->file_end) : 0;
    for (u64 from = at & ~(PIECE - 1); from < end; from += PIECE) {
        u64 *bits = &keep->pieces[from / PIECE / 64], bit = BIT64(from / PIECE % 64);
        if (*bits & bit)
            continue;
        *bits |= bit;
        keep->pieces_read++;
        u64 size = min_u64(PIECE, keep->file_end - from);
        if (!read_at(keep->fd, keep->base + from, size, from))
            memset(keep->base + from, 0, size);
    }
}

/* Whether a record of the file with so much room may have so many bytes. */
static bool size_sound(u64 bytes, u64 room)
{
    return bytes >= sizeof(struct kept) && bytes % 8 == 0 && bytes <= room && bytes <= KEEP_MOST;
}

bool kept_check(struct x64_keep *keep, struct kept_entry *t)
{
    struct kept *k = kept_at(keep, t->place);
    u64 at = 8ull * t->place;
    kept_reach(keep, at, sizeof *k);
    t->state = KEPT_BAD;
    k->gone = true;
    if (!size_sound(k->bytes, keep->file_end - at))
        return false;
    kept_reach(keep, at, k->bytes);
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
    if (good)
        t->state = KEPT_SOUND;
    k->gone = !good;
    return good;
}

static u64 sum_entry(u64 sum, const struct kept_entry *t)
{
    const u8 *p = (const u8 *)t;
    static_assert(sizeof *t == 16, "two words");
    sum = (sum ^ load_le(p, 8)) * 0x9e3779b97f4a7c15ull;
    sum = ((sum ^ sum >> 32) + load_le(p + 8, 8)) * 0x9e3779b97f4a7c15ull;
    return sum ^ sum >> 32;
}

static void add_entry(struct x64_keep *keep, struct kept_entry t)
{
    u64 place = 8ull * t.place;
    if (place < KEEP_FIRST || place + sizeof(struct kept) > keep->file_end)
        return;
    t.state = KEPT_UNCHECKED;
    kept_add(keep, t);
    keep->loaded++;
}

/* Reads the hash table's entries, or (`add` false) only their sum.  They are in the table's order,
 * so that its memory is met in order. */
static u64 read_entries(struct x64_keep *keep, const struct cache_head *head, bool add)
{
    struct kept_entry some[1024];
    u64 at = head->end, sum = 0, left = head->entries, room = (BIT64(keep->table_bits) / 8) * 7;
    for (u64 n; left; left -= n, at += n * sizeof *some) {
        n = min_u64(left, ARRAY_SIZE(some));
        if (!read_at(keep->fd, (u8 *)some, n * sizeof *some, at))
            return ~head->sum;
        for (unsigned i = 0; i < n; i++) {
            sum = sum_entry(sum, &some[i]);
            if (add && keep->loaded < room)
                add_entry(keep, some[i]);
        }
    }
    return sum;
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
    keep->opened = true;
    if (!keep->dir || !keep->base)
        return;
    if (!make_key(e, cpu, &name)) {
        if (!keep->quiet)
            log_print("dbt: cache: this program was linked without a build id; going on without\n");
        return;
    }
    if (asprintf(&keep->path, "%s/" NAME_FORMAT, keep->dir, (unsigned long long)name) < 0) {
        keep->path = NULL;
        return;
    }
    keep->fd = open(keep->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (keep->fd < 0)
        return;
    if (!own_file(keep->fd, &bytes)) {
        if (!keep->quiet)
            log_print("dbt: cache: %s is not this user's alone; not used\n", keep->path);
        free(keep->path);
        keep->path = NULL;
    } else if (read_at(keep->fd, (u8 *)&head, sizeof head, 0) &&
               !memcmp(head.magic, magic, sizeof magic) && head.key == keep->key &&
               head.check == hash_of(&head, offsetof(struct cache_head, check)) &&
               head.end + head.entries * sizeof(struct kept_entry) == bytes &&
               read_entries(keep, &head, false) == head.sum &&
               (keep->pieces = calloc(keep->size / PIECE / 64 + 1, sizeof *keep->pieces))) {
        /* It is used now; whether reading says so is up to how the folder is mounted. */
        futimens(keep->fd, (struct timespec[2]){{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}});
        keep->used = keep->file_end = min_u64(head.end, most_bytes(keep)) & ~7ull;
        /* Pieces are met here and there: no large page is to be cleared for one. */
        u64 large = (u64)2 << 20, store = (u64)(uintptr_t)keep->base;
        u64 from = align_up(store, large), until = (store + keep->file_end) & ~(large - 1);
        if (from < until)
            madvise((void *)(uintptr_t)from, until - from, MADV_NOHUGEPAGE);
        read_entries(keep, &head, true);
    }
}

/* ---- writing ---- */

/* Bytes on their way into a file, which would cost a call each. */
struct writer {
    int fd;
    bool failed;
    size_t used;
    u8 bytes[KEEP_MOST];
};

static void flush(struct writer *w)
{
    for (size_t at = 0; at < w->used && !w->failed;) {
        ssize_t n = write(w->fd, w->bytes + at, w->used - at);
        w->failed = n <= 0;
        at += (size_t)n;
    }
    w->used = 0;
}

static void put(struct writer *w, const void *p, size_t bytes)
{
    if (bytes > sizeof w->bytes - w->used)
        flush(w);
    memcpy(w->bytes + w->used, p, bytes);
    w->used += bytes;
}

/* The record behind k, NULL at the end.  Where lengths make no sense, what is left of the file's
 * records is nothing. */
static struct kept *next_record(const struct x64_keep *keep, const struct kept *k)
{
    u64 at = k ? (u64)((const u8 *)k - keep->base) + k->bytes : KEEP_FIRST;
    if (at < keep->file_end) {
        u64 room = keep->file_end - at;
        if (room < sizeof *k || !size_sound(((struct kept *)(keep->base + at))->bytes, room))
            at = keep->file_end;
    }
    return at < keep->used ? (struct kept *)(keep->base + at) : NULL;
}

/* With its entry. */
static u64 in_file(const struct kept *k)
{
    return k->bytes + sizeof(struct kept_entry);
}

/* Chooses what goes to the file, and where: what was used last, all of the same age in the order in
 * which it was made.  Returns where the records end. */
static u64 choose(struct x64_keep *keep)
{
    u64 of_age[256] = {0}, room = most_bytes(keep) - KEEP_FIRST, end = KEEP_FIRST;
    for (struct kept *k = NULL; (k = next_record(keep, k));) {
        k->age = k->used ? 0 : k->age < 255 ? k->age + 1 : 255;
        k->gone |= !k->again && k->age > ONCE_FILES;
        of_age[k->age] += k->gone ? 0 : in_file(k);
    }
    unsigned age = 0; /* of those for which there is not room for all */
    for (; age < 255 && of_age[age] <= room; age++)
        room -= of_age[age];
    for (struct kept *k = NULL; (k = next_record(keep, k));) {
        k->place = 0;
        k->used = false;
        if (k->gone || k->age > age || (k->age == age && in_file(k) > room))
            continue;
        room -= k->age == age ? in_file(k) : 0;
        k->place = (u32)(end / 8);
        end += k->bytes;
    }
    return end;
}

static bool write_file(struct x64_keep *keep, int fd)
{
    struct cache_head head = {.key = keep->key, .end = choose(keep)};
    struct writer *w = calloc(1, sizeof *w);
    if (!w)
        return false;
    w->fd = fd;
    w->used = KEEP_FIRST; /* room for the head */
    for (struct kept *k = NULL; (k = next_record(keep, k));) {
        if (!k->place)
            continue;
        if ((u8 *)k >= keep->base + keep->file_end)
            k->check = check_of(k);
        put(w, k, k->bytes);
    }
    for (u64 i = 0; i < BIT64(keep->table_bits); i++) {
        struct kept_entry t = keep->table[i];
        if (!t.place || !(t.place = kept_at(keep, t.place)->place))
            continue;
        put(w, &t, sizeof t);
        head.sum = sum_entry(head.sum, &t);
        head.entries++;
    }
    flush(w);
    memcpy(head.magic, magic, sizeof magic);
    head.check = hash_of(&head, offsetof(struct cache_head, check));
    bool good = !w->failed && pwrite(fd, &head, sizeof head, 0) == (ssize_t)sizeof head;
    free(w);
    return good;
}

/* What a new file is called until it is whole, and how long it takes by far. */
#define TEMPORARY ".XXXXXX"
#define TEMPORARY_SECONDS 3600

/* Bytes of all files in a folder: of guests' processor models and options that differ. */
#define FOLDER_BYTES (512ull << 20)

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

/* Removes the file that was used longest ago if all of them have too many bytes; false if not. */
static bool remove_oldest(const struct x64_keep *keep)
{
    char oldest[sizeof NAME] = "";
    struct timespec least = {0};
    u64 bytes = 0;
    DIR *dir = opendir(keep->dir);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        struct stat st;
        if (strlen(d->d_name) != strlen(NAME) || strncmp(d->d_name, NAME, NAME_FIXED) != 0 ||
            fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        bytes += (u64)st.st_size;
        if (!oldest[0] || st.st_atim.tv_sec < least.tv_sec ||
            (st.st_atim.tv_sec == least.tv_sec && st.st_atim.tv_nsec < least.tv_nsec)) {
            least = st.st_atim;
            strcpy(oldest, d->d_name);
        }
    }
    bool removed = bytes > FOLDER_BYTES && unlinkat(dirfd(dir), oldest, 0) == 0;
    if (dir)
        closedir(dir);
    return removed;
}

/* Makes the folder, and the one that it is in. */
static bool make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return true;
    char *parent = errno == ENOENT ? strdup(path) : NULL;
    char *end = parent ? strrchr(parent, '/') : NULL;
    if (end && end > parent) {
        *end = 0;
        mkdir(parent, 0700);
    }
    free(parent);
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

static void complain(const struct x64_keep *keep, const char *path)
{
    if (!keep->quiet)
        log_print("dbt: cache: %s: %s\n", path, strerror(errno));
}

void x64_cache_save(struct x64_engine *e)
{
    struct x64_keep *keep = &e->keep;
    char *temp = NULL;
    u64 fresh = keep->used - keep->file_end;
    if (!keep->path || !fresh || fresh < (fresh + keep->file_used) / FRESH_PART)
        return;
    if (!make_folder(keep->dir)) {
        complain(keep, keep->dir);
        return;
    }
    kept_reach(keep, 0, keep->file_end);
    sweep(keep);
    if (asprintf(&temp, "%s" TEMPORARY, keep->path) < 0)
        temp = NULL;
    int fd = temp ? mkostemp(temp, O_CLOEXEC) : -1;
    bool good = fd >= 0 && write_file(keep, fd);
    if (fd >= 0)
        good &= close(fd) == 0;
    good = good && rename(temp, keep->path) == 0;
    if (!good) {
        complain(keep, keep->path);
        if (fd >= 0)
            unlink(temp);
    }
    free(temp);
    while (good && remove_oldest(keep))
        ;
}

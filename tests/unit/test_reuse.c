/* Translations used again, in one run and across runs: that a copy does what the first did, that a
 * file is read only if it is whole and this user's, that it stays in bounds, and that what is kept
 * goes with the bytes that it was made from. */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_programs.h"
#include "tests/suite.h"
#include "translator/x64/x64_keep.h"

/* The same bytes on two pages: addresses from RIP as operands, in flags and in calls, jumps off the
 * page and on it, a float from memory, a fault that shows the flags. */
#define MOVED                                                                                      \
    "lea 8f(%rip), %rdx\n lea 0x3000(%rip), %rbp\n lea (%rdx,%rbp), %rsi\n sub %rdx, %rsi\n"      \
    "sub %rbp, %rsi\n add %rsi, %rbx\n addsd 8f(%rip), %xmm0\n addl $3, 8f+8(%rip)\n"             \
    "cmp %rdx, %rbp\n jbe 9f\n call 7f\n jmp 6f\n"                                                \
    "7: mov (%rsp), %rax\n sub %rdx, %rax\n add %rax, %rbx\n"                                     \
    "cmpq %rdx, (%rsp)\n setc %al\n add %al, %bl\n push %rdx\n lock xorq %rdx, (%rsp)\n pop %rax\n" \
    "or %rax, %rbx\n add %rdx, %r10\n sub %rdx, %r10\n adc %r10, %r10\n ret\n"                   \
    "6: cmp %rdx, %rdi\n ud2\n 9: ret\n .balign 16\n 8: .quad 0x3ff0000000000000, 0\n"
CODE64(moved64, "call 1f\n call 2f\n call 1f\n hlt\n"
                ".org moved64 + 0x240\n 1: " MOVED ".org moved64 + 0x1240\n 2: " MOVED)

/* What #UD's handler sees is added up, and the instruction skipped. */
CODE64(skip64, "add 16(%rsp), %r12\n addq $2, (%rsp)\n iretq\n")

struct moved {
    u64 gpr[16], xmm0;
    u8 data[2][16];
    u64 reused, blocks, loaded, fresh, file_used, pieces_read;
};

/* Runs moved64 in m at each of these addresses of the same memory. */
static struct moved run_moved(const u64 *at, unsigned count)
{
    struct moved r = {0};
    for (unsigned i = 0; i < count; i++) {
        LOAD(0x10000, moved64);
        LOAD(0x18000, skip64);
        tiny_long(&m, at[i]);
        tiny_gate(&m, EXC_UD, 0x18000);
        u64 *pml4 = (u64 *)(m.ram + TINY_TABLES), *high = pml4 + 512;
        pml4[0xaa] = pml4[0xff] = pml4[511] = pml4[0];
        high[510] = high[511] = high[4] = high[0];
        for (unsigned g = 0; g < 16; g++)
            m.cpu->gpr[g] = g == RSP ? 0x80000 : g * 0x1234567;
        tiny_run(&m);
        for (unsigned g = 0; g < 16; g++) /* RAX, RDX, RBP, RSI hold addresses */
            r.gpr[g] = r.gpr[g] * 31 + (g == RDX || g == RBP || g == RAX || g == RSI
                                            ? m.cpu->gpr[g] - at[i]
                                            : m.cpu->gpr[g]);
        r.xmm0 += m.cpu->xmm[0].q[0];
    }
    memcpy(r.data[0], m.ram + 0x10240, 16);
    memcpy(r.data[1], m.ram + 0x11240, 16);
    r.reused = tiny_counter(&m, "reused");
    r.blocks = tiny_counter(&m, "blocks");
    const struct x64_keep *keep = &((const struct x64_engine *)m.engine)->keep;
    r.loaded = keep->loaded;
    r.fresh = keep->fresh;
    r.file_used = keep->file_used;
    r.pieces_read = keep->pieces_read;
    return r;
}

/* Whether both have done the same, with whatever code. */
static bool same_moved(struct moved a, struct moved b)
{
    return !memcmp(&a, &b, offsetof(struct moved, reused));
}

/* Code that is met again does the same wherever it lies: with addresses of 32 and of 64 bits, of the
 * lower and of the upper half.  (That copies are what translating makes is looked at as they are
 * made, here and whenever the verifier is on.) */
START_TEST(test_moved)
{
    static const u64 at[] = {0x10000,            0x10000,            0x550000010000,
                             0x7f8000010000,     0xffffff8000010000, 0xffffffff80010000,
                             0xffffffffc0010000, 0x100010000,        0x10000};
    struct moved with = run_moved(at, ARRAY_SIZE(at));
    engine_teardown();
    tiny_create_off(&m, engine_under_test, 0, BIT64(T_reuse));
    struct moved without = run_moved(at, ARRAY_SIZE(at));
    ck_assert_uint_gt(with.reused, 4 * ARRAY_SIZE(at));
    ck_assert_uint_eq(without.reused, 0);
    ck_assert(same_moved(with, without));
}
END_TEST

/* ECX times, at R9 + R8 * RBP: writes "mov rax, imm64; ret", of which the hash sees the same, and
 * calls it; R8 += R11. */
CODE64(alike64, "mov $0x112233445566, %r10\n"
                "1: mov %r8, %rdi\n imul %rbp, %rdi\n add %r9, %rdi\n movw $0xb848, (%rdi)\n"
                "mov %r8, %rax\n shl $48, %rax\n or %r10, %rax\n mov %rax, 2(%rdi)\n"
                "movb $0xc3, 10(%rdi)\n call *%rdi\n add %r11, %r8\n dec %ecx\n jnz 1b\n hlt\n")

/* Makes `count` blocks at `at`, `stride` bytes from each other, the numbers in them from `first` on,
 * or down from there. */
static void make_alike(unsigned count, u64 at, unsigned stride, u64 first, bool down)
{
    tiny_long(&m, 0x10000);
    m.cpu->gpr[RCX] = count;
    m.cpu->gpr[R8] = first;
    m.cpu->gpr[R9] = at;
    m.cpu->gpr[R11] = down ? ~0ull : 1;
    m.cpu->gpr[RBP] = stride;
    tiny_run(&m);
    ck_assert_uint_eq(m.cpu->gpr[RCX], 0);
}

/* Among however many blocks that look alike at first, a look-up costs no more than so much. */
START_TEST(test_alike)
{
    LOAD(0x10000, alike64);
    make_alike(3 * KEEP_LOOKS, 0x400000, PAGE_SIZE, 0, false);
    ck_assert_uint_eq(tiny_counter(&m, "reused"), 0);
    make_alike(3 * KEEP_LOOKS, 0x500000, PAGE_SIZE, 3 * KEEP_LOOKS - 1, true);
    ck_assert_uint_eq(tiny_counter(&m, "reused"), KEEP_LOOKS);
}
END_TEST

/* The same block, behind which the flags are looked at again on the second page only. */
CODE64(behind64, "mov $5, %ecx\n call 1f\n call 2f\n hlt\n"
                 ".org behind64 + 0x240\n 1: lea 4(%rcx), %rdx\n cmp $2, %ecx\n je 8f\n .fill 9, 1, 0x90\n"
                 "8: ret\n"
                 ".org behind64 + 0x1240\n 2: lea 4(%rcx), %rdx\n cmp $2, %ecx\n je 8f\n ja 9f\n"
                 ".fill 7, 1, 0x90\n"
                 "8: ret\n 9: inc %ebx\n ret\n")

START_TEST(test_behind)
{
    RUN64(behind64);
    ck_assert_uint_eq(m.cpu->gpr[RBX], 1);
    ck_assert_uint_eq(tiny_counter(&m, "reused"), 1);
}
END_TEST

/* ---- translations kept across runs ---- */

static char folder[] = "/tmp/dragoman-cache-XXXXXX";

static struct moved run_cached_with(const char *model, u64 at, bool second)
{
    char *error = NULL;
    engine_teardown();
    tiny_create_cached(&m, engine_under_test, folder, model, 0);
    struct cpu_config config = {1, m.bus, &m.clock, cpu_model_find(model, 2, &error)};
    struct cpu *other = second ? cpu_create(&config) : NULL;
    if (other)
        ck_assert(m.accel->attach(m.engine, other));
    struct moved r = run_moved(&at, 1);
    if (other) {
        m.accel->detach(other);
        cpu_destroy(other);
    }
    engine_teardown(); /* writes */
    engine_setup();
    return r;
}

static struct moved run_cached(const char *model, u64 at)
{
    return run_cached_with(model, at, false);
}

/* The one file in the folder. */
static char *cache_file(void)
{
    static char path[512];
    struct dirent *d;
    unsigned files = 0;
    DIR *dir = opendir(folder);
    while ((d = readdir(dir)))
        if (d->d_name[0] != '.' && ++files)
            snprintf(path, sizeof path, "%s/%s", folder, d->d_name);
    closedir(dir);
    ck_assert_uint_eq(files, 1);
    return path;
}

static void remove_folder(void)
{
    struct dirent *d;
    DIR *dir = opendir(folder);
    while ((d = readdir(dir)))
        if (d->d_name[0] != '.')
            unlinkat(dirfd(dir), d->d_name, 0);
    closedir(dir);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void write_file(const char *path, const u8 *bytes, size_t size)
{
    FILE *f = fopen(path, "w");
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* A second run translates nothing, at another address too; with another model, or a second vCPU, it
 * does not look at what is there. */
START_TEST(test_cache)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    struct moved first = run_cached("max", 0x10000);
    ck_assert_uint_eq(first.loaded, 0);
    ck_assert_uint_gt(first.fresh, 10);
    struct moved second = run_cached("max", 0x10000);
    ck_assert_uint_eq(second.loaded, first.fresh);
    ck_assert_uint_ge(second.reused, first.fresh);
    ck_assert_uint_eq(second.fresh, 0);
    ck_assert_uint_eq(second.pieces_read, 1);
    ck_assert_uint_gt(second.file_used, 2000);
    ck_assert_uint_eq(first.file_used + first.pieces_read, 0);
    ck_assert(same_moved(first, second));
    /* Not those whose addresses had 32 bits. */
    char path[512], left[sizeof path + 8];
    for (unsigned i = 0; i < 2; i++) {
        struct moved far = run_cached("max", i ? 0xffffffff80010000 : 0x550000010000);
        ck_assert_uint_gt(far.reused, 4);
        ck_assert_uint_gt(far.fresh, 0);
    }
    /* A run that writes removes what one that was killed has left, not what another is writing. */
    snprintf(path, sizeof path, "%s", cache_file());
    snprintf(left, sizeof left, "%s.abcdef", path);
    for (unsigned old = 0; old < 2; old++) {
        write_file(left, (const u8 *)"x", 1);
        ck_assert_int_eq(utimensat(AT_FDCWD, left, (struct timespec[2]){{0}}, 0), 0);
        if (!old)
            ck_assert_int_eq(utimensat(AT_FDCWD, left, NULL, 0), 0);
        unlink(path);
        ck_assert_uint_gt(run_cached("max", 0x10000).fresh, 10);
        ck_assert_int_eq(access(left, F_OK) == 0, !old);
    }
    unlink(cache_file());
    ck_assert_uint_gt(run_cached("max", 0x10000).fresh, 10);
    struct moved other = run_cached("qemu64", 0x10000);
    ck_assert_uint_eq(other.loaded, 0);
    ck_assert(same_moved(first, other));
    struct moved two = run_cached_with("max", 0x10000, true);
    ck_assert_uint_eq(two.loaded, 0);
    ck_assert(same_moved(first, two));
    ck_assert_uint_gt(run_cached_with("max", 0x10000, true).loaded, 10);
    remove_folder();
}
END_TEST

/* Whatever happens to the file, the guest does what it did: every byte of it changed once, every
 * length (with strides), rights that others have. */
START_TEST(test_cache_damaged)
{
    static u8 good[1 << 20], bad[1 << 20];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    struct moved first = run_cached("max", 0x10000);
    char *path = cache_file();
    FILE *f = fopen(path, "r");
    size_t size = fread(good, 1, sizeof good, f);
    fclose(f);
    ck_assert_uint_gt(size, 2000);
    for (unsigned i = 0; i < 200; i++) { /* the head, anywhere, the hash table's entries */
        size_t at = i < 40 ? i * 2 : i < 120 ? (size_t)i * 7919 % size : size - (i - 119);
        size_t length = i % 3 || i >= 120 ? size : at;
        memcpy(bad, good, size);
        bad[at] ^= (u8)(i < 120 ? 1 + i : 23);
        write_file(path, bad, length);
        ck_assert(same_moved(first, run_cached("max", 0x10000)));
    }
    write_file(path, good, size);
    chmod(path, 0644);
    struct moved shared = run_cached("max", 0x10000);
    ck_assert_uint_eq(shared.loaded, 0);
    ck_assert(same_moved(first, shared));
    chmod(path, 0600);
    ck_assert_uint_eq(run_cached("max", 0x10000).loaded, first.fresh);
    remove_folder();
}
END_TEST

/* Runs one machine of this size, which keeps more than the file may have; returns how many records
 * were loaded.  `number`: of the run, so that none makes what another has made. */
static u64 run_filling(u64 code_bytes, unsigned number)
{
    struct stat st;
    engine_teardown();
    tiny_create_cached(&m, engine_under_test, folder, "max", code_bytes);
    const struct x64_keep *keep = &((const struct x64_engine *)m.engine)->keep;
    u64 most = keep->size / 2;
    LOAD(0x10000, alike64);
    for (unsigned i = 0; keep->used < keep->size / 4 * 3; i++) {
        ck_assert_uint_lt(i, 16);
        make_alike(1000, 0x400000, 16, number * 16000 + i * 1000, false);
    }
    ck_assert_uint_eq(tiny_counter(&m, "flushes"), 0);
    u64 loaded = keep->loaded;
    engine_teardown(); /* writes */
    engine_setup();
    ck_assert_int_eq(stat(cache_file(), &st), 0);
    ck_assert_uint_le(st.st_size, most);
    return loaded;
}

/* However much is kept, the file is one that the next run reads, with as small a store; with a
 * smaller one it reads what there is room for. */
START_TEST(test_cache_is_bounded)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_uint_eq(run_filling(4 << 20, 0), 0);
    u64 part = run_filling(1, 1), whole = run_filling(1, 2);
    ck_assert_uint_gt(part, 300);
    ck_assert_uint_gt(whole, 300);
    remove_folder();
}
END_TEST

/* Runs alike64 for `count` blocks; returns how many records were loaded. */
static u64 run_alike(unsigned count, u64 first)
{
    engine_teardown();
    tiny_create_cached(&m, engine_under_test, folder, "max", 0);
    LOAD(0x10000, alike64);
    make_alike(count, 0x400000, 16, first, false);
    u64 loaded = ((const struct x64_engine *)m.engine)->keep.loaded;
    engine_teardown(); /* writes */
    engine_setup();
    return loaded;
}

/* A run that finds nearly all that it needs leaves the file as it is. */
START_TEST(test_cache_stays)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_uint_eq(run_alike(200, 0), 0);
    u64 kept = run_alike(220, 0);
    ck_assert_uint_gt(kept, 200);
    ck_assert_uint_eq(run_alike(300, 0), kept);
    ck_assert_uint_ge(run_alike(1, 0), kept + 100);
    remove_folder();
}
END_TEST

/* What no later run has used is in a few files only. */
START_TEST(test_cache_forgets)
{
    enum { RUNS = 6, BLOCKS = 200 };
    u64 loaded[RUNS];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    for (unsigned run = 0; run < RUNS; run++)
        loaded[run] = run_alike(BLOCKS, run * BLOCKS);
    for (unsigned run = 1; run < RUNS; run++) {
        unsigned files = run < 3 ? run : 3;
        ck_assert_uint_ge(loaded[run], files * BLOCKS);
        ck_assert_uint_lt(loaded[run], files * BLOCKS + BLOCKS / 2);
    }
    remove_folder();
}
END_TEST

/* ---- several writers ---- */

static _Atomic(u8 *) target, reached;

/* Changes the numbers of 64 of alike64's blocks while they are translated. */
static void *change(void *opaque)
{
    u8 *p = opaque;
    while ((p = target)) {
        reached = p;
        for (unsigned i = 0; i < 64; i++)
            __atomic_xor_fetch(p + i * 16 + 2, 0xff, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* A record has the bytes that its code was made from, whatever else writes there meanwhile. */
START_TEST(test_kept_bytes)
{
    pthread_t thread;
    char *error = NULL;
    struct cpu_config config = {1, m.bus, &m.clock, cpu_model_find("max", 1, &error)};
    struct cpu *second = cpu_create(&config);
    ck_assert_ptr_nonnull(second);
    ck_assert(bus_shared(m.bus));
    LOAD(0x10000, alike64);
    target = m.ram + 0x400000;
    ck_assert_int_eq(pthread_create(&thread, NULL, change, m.ram), 0);
    for (unsigned i = 0; i < 500; i++) { /* a new page each time: not one that changes often */
        target = m.ram + 0x400000 + i * PAGE_SIZE;
        while (reached != target)
            sched_yield();
        make_alike(64, 0x400000 + i * PAGE_SIZE, 16, i * 64, false);
    }
    target = NULL;
    pthread_join(thread, NULL);
    const struct x64_keep *keep = &((const struct x64_engine *)m.engine)->keep;
    unsigned records = 0;
    for (u64 at = KEEP_FIRST; at < keep->used; records++) {
        const struct kept *k = (const struct kept *)(keep->base + at);
        const u8 *guest = kept_parts(k).guest;
        u64 looks = 0;
        ck_assert_uint_eq(block_sum(guest, k->guest_bytes, NULL, 0), k->sum);
        guest += k->guest_bytes;
        for (unsigned i = 0; i < BLOCK_LOOKS; guest += k->look_len[i++])
            looks += k->look_len[i] ? block_sum(guest, k->look_len[i], NULL, 0) : 0;
        ck_assert_uint_eq(looks, k->look_sum);
        at += k->bytes;
    }
    ck_assert_uint_gt(records, 100);
    cpu_destroy(second);
}
END_TEST

int main(void)
{
    engine_under_test = &accel_dbt;
    const TTest *const tests[] = {test_moved, test_alike, test_behind, test_cache,
                                  test_cache_damaged, test_cache_is_bounded, test_cache_stays,
                                  test_cache_forgets, test_kept_bytes};
    return run_tests("reuse", tests, ARRAY_SIZE(tests), 120, engine_setup, engine_teardown);
}

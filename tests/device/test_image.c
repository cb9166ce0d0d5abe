/* Disk images against a model in memory, and against qemu-img: what it made is read right, what is
 * written passes its check and compares equal.  Broken images are refused with one line.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/host/block.h"
#include "tests/device/rig.h"

#define MIB (1u << 20)
#define IMAGE_SIZE (24 * MIB)

static char dir[64];
static u8 *model;
static u64 seed;

static u64 rnd(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return seed >> 24;
}

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Runs a command in the scratch folder; the test fails if it does. */
static void shell(const char *fmt, ...)
{
    char command[1024], whole[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    snprintf(whole, sizeof whole, "cd %s && { %s; } >log 2>&1 || { cat log; false; }", dir,
             command);
    ck_assert_msg(system(whole) == 0, "%s", command);
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const void *data, size_t count)
{
    FILE *f = fopen(path_of(name), "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, count, f), count);
    fclose(f);
}

static struct block *open_image(const char *name, bool read_only, bool snapshot)
{
    char *error = NULL;
    struct block_options o = {.path = path_of(name), .read_only = read_only, .snapshot = snapshot};
    struct block *b = block_open(&o, &error);
    ck_assert_msg(b != NULL, "%s", error ? error : "no memory");
    return b;
}

/* The model's content: text that compresses, noise, and holes. */
static void fill_model(void)
{
    memset(model, 0, IMAGE_SIZE);
    for (u32 at = 0; at < IMAGE_SIZE; at += 64 * 1024)
        switch (rnd() % 3) {
        case 0:
            for (u32 i = 0; i < 64 * 1024; i++)
                model[at + i] = (u8)rnd();
            break;
        case 1: memset(model + at, (int)(rnd() & 0xff), 64 * 1024); break;
        default: break;
        }
}

static void check_content(struct block *b)
{
    static u8 buf[256 * 1024];
    for (u64 at = 0; at < IMAGE_SIZE; at += sizeof buf) {
        ck_assert_int_eq(block_read(b, at, buf, sizeof buf), 0);
        ck_assert_msg(memcmp(buf, model + at, sizeof buf) == 0, "differs near %#llx",
                      (unsigned long long)at);
    }
}

/* Random writes and reads of all sizes and alignments, to the image and to the model. */
static void scribble(struct block *b, unsigned times)
{
    static u8 buf[192 * 1024];
    while (times--) {
        size_t count = (rnd() % 4 ? 1 + rnd() % 16 : 1 + rnd() % (sizeof buf / 512)) * 512;
        u64 at = rnd() % ((IMAGE_SIZE - count) / 512 + 1) * 512;
        if (rnd() % 3) {
            for (size_t i = 0; i < count; i += 8)
                memcpy(buf + i, &(u64){rnd()}, 8);
            ck_assert_int_eq(block_write(b, at, buf, count), 0);
            memcpy(model + at, buf, count);
        } else {
            ck_assert_int_eq(block_read(b, at, buf, count), 0);
            ck_assert_int_eq(memcmp(buf, model + at, count), 0);
        }
        if (rnd() % 50 == 0)
            ck_assert_int_eq(block_flush(b), 0);
    }
}

/* Writes, closes, has qemu-img look, opens again. */
static void exercise(const char *name, const char *format)
{
    struct block *b = open_image(name, false, false);
    ck_assert_uint_eq(block_size(b), IMAGE_SIZE);
    check_content(b);
    scribble(b, 400);
    block_close(b);
    if (strcmp(format, "raw") != 0)
        shell("qemu-img check -f %s %s", format, name);
    write_file("model", model, IMAGE_SIZE);
    shell("qemu-img compare -f raw -F %s model %s", format, name);
    b = open_image(name, true, false);
    check_content(b);
    block_close(b);
}

START_TEST(raw)
{
    fill_model();
    write_file("a.raw", model, IMAGE_SIZE);
    exercise("a.raw", "raw");
}
END_TEST

START_TEST(qcow2_kinds)
{
    static const char *const kinds[] = {
        "cluster_size=64k",
        "cluster_size=512,refcount_bits=16",
        "cluster_size=4k,refcount_bits=1",
        "cluster_size=64k,refcount_bits=64",
        "cluster_size=2M",
        "compat=0.10,cluster_size=8k",
        "cluster_size=1k,refcount_bits=8,preallocation=metadata",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        memset(model, 0, IMAGE_SIZE);
        shell("qemu-img create -f qcow2 -o %s a.qcow2 24M", kinds[i]);
        exercise("a.qcow2", "qcow2");
        fill_model();
        write_file("model", model, IMAGE_SIZE);
        shell("qemu-img convert -f raw -O qcow2 -o %s model b.qcow2", kinds[i]);
        exercise("b.qcow2", "qcow2");
    }
}
END_TEST

START_TEST(qcow2_compressed)
{
    fill_model();
    write_file("model", model, IMAGE_SIZE);
    shell("qemu-img convert -c -f raw -O qcow2 model c.qcow2");
    exercise("c.qcow2", "qcow2");
    shell("qemu-img convert -c -f raw -O qcow2 -o cluster_size=4k model c.qcow2");
    exercise("c.qcow2", "qcow2");
}
END_TEST

START_TEST(qcow2_backing)
{
    fill_model();
    write_file("base.raw", model, 15 * MIB + 512); /* shorter than what stands on it */
    memset(model + 15 * MIB + 512, 0, IMAGE_SIZE - 15 * MIB - 512);
    shell("qemu-img create -f qcow2 -b base.raw -F raw mid.qcow2 24M");
    shell("qemu-img create -f qcow2 -b mid.qcow2 -F qcow2 -o cluster_size=4k top.qcow2");
    exercise("top.qcow2", "qcow2");
    unlink(path_of("base.raw"));
    char *error = NULL;
    struct block_options o = {.path = path_of("top.qcow2")};
    ck_assert_ptr_null(block_open(&o, &error));
    ck_assert_ptr_nonnull(strstr(error, "base.raw"));
    ck_assert_ptr_null(strchr(error, '\n'));
    free(error);
}
END_TEST

/* An internal snapshot shares clusters and tables: writes copy them, and it stays as it was. */
START_TEST(qcow2_snapshot)
{
    memset(model, 0, IMAGE_SIZE);
    shell("qemu-img create -f qcow2 -o cluster_size=4k s.qcow2 24M");
    exercise("s.qcow2", "qcow2");
    write_file("then", model, IMAGE_SIZE);
    shell("qemu-img snapshot -c one s.qcow2");
    exercise("s.qcow2", "qcow2");
    shell("qemu-img snapshot -a one s.qcow2 && qemu-img compare -f raw -F qcow2 then s.qcow2 && "
          "qemu-img check s.qcow2");
}
END_TEST

/* Zero clusters, with and without a place of their own. */
START_TEST(qcow2_zeros)
{
    fill_model();
    write_file("model", model, IMAGE_SIZE);
    shell("qemu-img convert -f raw -O qcow2 model z.qcow2 && "
          "qemu-io -c 'write -z 64k 1M' -c 'write -zu 4M 1M' z.qcow2");
    memset(model + 64 * 1024, 0, MIB);
    memset(model + 4 * MIB, 0, MIB);
    exercise("z.qcow2", "qcow2");
}
END_TEST

/* A refcount table that starts with room for little and must move. */
START_TEST(qcow2_refcount_growth)
{
    memset(model, 0, IMAGE_SIZE);
    shell("qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 g.qcow2 24M");
    struct block *b = open_image("g.qcow2", false, false);
    for (u32 at = 0; at < IMAGE_SIZE; at += 64 * 1024) {
        for (u32 i = 0; i < 64 * 1024; i += 8)
            memcpy(model + at + i, &(u64){rnd()}, 8);
        ck_assert_int_eq(block_write(b, at, model + at, 64 * 1024), 0);
    }
    block_close(b);
    exercise("g.qcow2", "qcow2");
}
END_TEST

START_TEST(snapshot_option)
{
    fill_model();
    write_file("a.raw", model, IMAGE_SIZE);
    struct block *b = open_image("a.raw", false, true);
    scribble(b, 400);
    check_content(b);
    block_close(b);
    seed = 1;
    fill_model();
    /* The file is as it was: the same seed makes the same content. */
    b = open_image("a.raw", true, false);
    check_content(b);
    ck_assert_int_eq(block_write(b, 0, model, 512), EROFS);
    block_close(b);
}
END_TEST

START_TEST(bounds)
{
    static u8 buf[1024];
    write_file("odd.raw", model, 1000); /* ends within a sector */
    struct block *b = open_image("odd.raw", false, false);
    ck_assert_uint_eq(block_size(b), 1024);
    ck_assert_int_eq(block_read(b, 0, buf, 1024), 0);
    ck_assert_int_eq(memcmp(buf, model, 1000), 0);
    ck_assert_int_eq(memcmp(buf + 1000, (u8[24]){0}, 24), 0);
    ck_assert_int_eq(block_read(b, 512, buf, 1024), EINVAL);
    ck_assert_int_eq(block_read(b, 1, buf, 512), EINVAL);
    ck_assert_int_eq(block_read(b, ~0ull - 511, buf, 512), EINVAL);
    ck_assert_int_eq(block_write(b, 1024, buf, 512), EINVAL);
    /* A guest must not turn a disk that was taken for raw into another format. */
    memcpy(buf, "QFI\xfb\0\0\0\3", 8);
    ck_assert_int_eq(block_write(b, 0, buf, 512), EPERM);
    block_close(b);
}
END_TEST

static void refuse(const char *name, const char *format, const char *why)
{
    char *error = NULL;
    struct block_options o = {.path = path_of(name), .format = format};
    struct block *b = block_open(&o, &error);
    ck_assert_ptr_null(b);
    ck_assert_ptr_nonnull(error);
    ck_assert_msg(strstr(error, name) && strstr(error, why), "%s", error);
    ck_assert_ptr_null(strchr(error, '\n'));
    free(error);
}

START_TEST(bad_images)
{
    refuse("missing", NULL, "No such file");
    write_file("empty", "", 0);
    refuse("empty", NULL, "is empty");
    mkdir(path_of("folder"), 0700);
    refuse("folder", NULL, "directory");
    write_file("x.raw", model, 4096);
    refuse("x.raw", "qcow2", "not a qcow2 image");
    refuse("x.raw", "vmdk", "unknown");
    shell("qemu-img create -f qcow2 t.qcow2 24M && truncate -s 40 t.qcow2");
    refuse("t.qcow2", NULL, "not a qcow2 image");
    shell("qemu-img create -f qcow2 u.qcow2 24M && truncate -s 300 u.qcow2");
    refuse("u.qcow2", NULL, "is truncated");
    shell("qemu-img create -f qcow2 v.qcow2 24M && qemu-io -c 'write 0 64k' v.qcow2 && "
          "truncate -s 262144 v.qcow2");
    refuse("v.qcow2", NULL, "is truncated");
    static const char *const others[] = {"vmdk", "vdi", "vpc", "vhdx", "qed", "qcow"};
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        shell("qemu-img create -f %s other.img 24M", others[i]);
        refuse("other.img", NULL, "qemu-img convert");
    }
    shell("qemu-img create -f qcow2 -o extended_l2=on e.qcow2 24M");
    refuse("e.qcow2", NULL, "extended L2");
    shell("qemu-img create -f qcow2 -b e.qcow2 -F qcow2 f.qcow2");
    refuse("f.qcow2", NULL, "extended L2");
    struct block *b = open_image("x.raw", false, false);
    refuse("x.raw", NULL, "in use");
    block_close(b);
}
END_TEST

/* An image that has lost its last clusters: an error, never zeros. */
START_TEST(cut_image)
{
    static u8 buf[4096];
    shell("qemu-img create -f qcow2 w.qcow2 24M && qemu-io -c 'write -P 1 0 64k' "
          "-c 'write -P 2 64k 64k' w.qcow2 && truncate -s -65536 w.qcow2");
    struct block *b = open_image("w.qcow2", true, false);
    ck_assert_int_eq(block_read(b, 0, buf, sizeof buf), 0);
    ck_assert_uint_eq(buf[0], 1);
    ck_assert_int_eq(block_read(b, 65536, buf, sizeof buf), EIO);
    block_close(b);
    shell("qemu-img create -f qcow2 -o preallocation=metadata m.qcow2 24M");
    b = open_image("m.qcow2", true, false);
    ck_assert_int_eq(block_read(b, 65536, buf, sizeof buf), 0);
    block_close(b);
}
END_TEST

/* Headers and tables with random bytes in them: never more than an error. */
START_TEST(corrupt_images)
{
    static u8 file[MIB], buf[4096];
    shell("qemu-img create -f qcow2 -o cluster_size=4k r.qcow2 24M && qemu-io -c 'write 0 64k' "
          "-c 'write 20M 64k' r.qcow2 && cp r.qcow2 kept");
    FILE *f = fopen(path_of("kept"), "rb");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(file, 1, sizeof file, f);
    fclose(f);
    for (unsigned i = 0; i < 2000; i++) {
        static u8 bad[MIB];
        memcpy(bad, file, n);
        for (u64 k = 1 + rnd() % 6; k--;)
            bad[rnd() % (rnd() % 2 ? 104 : n)] = (u8)(rnd() % 2 ? rnd() : 1u << (rnd() % 8));
        write_file("r.qcow2", bad, n);
        char *error = NULL;
        struct block_options o = {.path = path_of("r.qcow2"), .format = "qcow2"};
        struct block *b = block_open(&o, &error);
        for (unsigned k = 0; b && k < 40; k++) {
            u64 at = rnd() % (block_size(b) / 4096 + 1) * 4096;
            if (rnd() % 2)
                (void)block_read(b, at, buf, sizeof buf);
            else
                (void)block_write(b, at, buf, sizeof buf);
        }
        if (b)
            (void)block_flush(b);
        block_close(b);
        free(error);
    }
}
END_TEST

/* ---- requests ---- */

struct counted {
    struct block_request r;
    unsigned done;
};

static void count_done(void *opaque)
{
    ((struct counted *)opaque)->done++;
}

static pthread_mutex_t machine = PTHREAD_MUTEX_INITIALIZER;

static void lock_machine(void *opaque)
{
    pthread_mutex_lock(&machine);
}

static void unlock_machine(void *opaque)
{
    pthread_mutex_unlock(&machine);
}

static void run_requests(unsigned threads)
{
    struct clock clock;
    struct block_pool_owner owner = {lock_machine, unlock_machine, NULL};
    static u8 buf[32][4096];
    struct counted c[32];
    memset(c, 0, sizeof c);
    clock_init(&clock, CLOCK_STEPPED);
    fill_model();
    write_file("p.raw", model, IMAGE_SIZE);
    struct block *b = open_image("p.raw", true, false);
    struct block_pool *p = block_pool_create(threads, &owner, &clock);
    lock_machine(NULL);
    for (unsigned i = 0; i < 32; i++) {
        c[i].r = (struct block_request){.block = b,
                                        .op = BLOCK_READ,
                                        .offset = i * 40960,
                                        .data = buf[i],
                                        .count = 4096,
                                        .done = count_done,
                                        .opaque = &c[i]};
        block_submit(p, &c[i].r);
    }
    for (unsigned i = 0; i < 32; i++)
        ck_assert_uint_eq(c[i].done, 0);
    unlock_machine(NULL);
    if (!threads)
        clock_step(&clock, NS_PER_SEC);
    block_pool_drain(p);
    for (unsigned i = 0; i < 32; i++) {
        ck_assert_uint_eq(c[i].done, 1);
        ck_assert_int_eq(c[i].r.error, 0);
        ck_assert_int_eq(memcmp(buf[i], model + i * 40960, 4096), 0);
    }
    block_pool_free(p);
    block_close(b);
}

START_TEST(requests)
{
    run_requests(0);
    run_requests(1);
    run_requests(4);
}
END_TEST

static void begin(void)
{
    seed = 1;
    model = calloc(1, IMAGE_SIZE);
    /* In memory where that can be had: the images wait for stable storage often. */
    snprintf(dir, sizeof dir, "%s/dragoman-image.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    ck_assert_ptr_nonnull(model);
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
    free(model);
}

int main(void)
{
    const TTest *const tests[] = {raw,
                                  qcow2_kinds,
                                  qcow2_compressed,
                                  qcow2_backing,
                                  qcow2_snapshot,
                                  qcow2_zeros,
                                  qcow2_refcount_growth,
                                  snapshot_option,
                                  bounds,
                                  bad_images,
                                  cut_image,
                                  corrupt_images,
                                  requests};
    return run_tests("image", tests, ARRAY_SIZE(tests), 600, begin, end);
}

/* -kernel: what is loaded where, against boot.rst and the multiboot specification; bad files. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "devices/board/boot_kernel.h"
#include "devices/fw_cfg.h"
#include "mmu/bus.h"
#include "tests/suite.h"

#define MIB (1u << 20)

static char dir[] = "/tmp/dragoman-boot-XXXXXX";
static char kernel_path[64], initrd_path[64];
static struct boot_kernel boot;
static char *error;

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(kernel_path, sizeof kernel_path, "%s/kernel", dir);
    snprintf(initrd_path, sizeof initrd_path, "%s/initrd", dir);
    error = NULL;
}

static void teardown(void)
{
    boot_kernel_free(&boot);
    free(error);
    unlink(kernel_path);
    unlink(initrd_path);
    rmdir(dir);
}

static bool load(const char *kernel, const char *initrd, const char *cmdline, u64 ram)
{
    struct boot_request r = {kernel, initrd, cmdline, ram, 0};
    boot_kernel_free(&boot);
    free(error);
    error = NULL;
    bool good = boot_kernel_load(&boot, &r, &error);
    ck_assert_msg(good == (error == NULL), "%s", error);
    if (error)
        ck_assert_ptr_null(strchr(error, '\n'));
    return good;
}

static void expect_error(const char *part, const char *path)
{
    ck_assert_ptr_nonnull(error);
    ck_assert_msg(strstr(error, part) != NULL && strstr(error, path) != NULL,
                  "'%s' does not name '%s' and '%s'", error, part, path);
}

/* ---- Linux ---- */

#define SETUP_SECTS 4u
#define PROT_BYTES 8192u
static u8 image[(SETUP_SECTS + 1) * 512 + PROT_BYTES];

static void make_linux(unsigned version)
{
    memset(image, 0, sizeof image);
    image[0x1f1] = SETUP_SECTS;
    store_le(image + 0x1f4, PROT_BYTES / 16, 4);
    store_le(image + 0x1fe, 0xaa55, 2);
    memcpy(image + 0x202, "HdrS", 4);
    store_le(image + 0x206, version, 2);
    image[0x211] = 1; /* LOADED_HIGH */
    store_le(image + 0x22c, 0x7fffffff, 4);
    store_le(image + 0x238, 2047, 4);
    store_le(image + 0x260, 4 * MIB, 4);
    memset(image + (SETUP_SECTS + 1) * 512, 0x5a, PROT_BYTES);
    write_file(kernel_path, image, sizeof image);
}

START_TEST(linux_places)
{
    u8 initrd[5000] = {1, 2, 3};
    make_linux(0x20f);
    write_file(initrd_path, initrd, sizeof initrd);
    ck_assert(load(kernel_path, initrd_path, "quiet", 128 * MIB));
    ck_assert(!boot.multiboot);
    ck_assert_uint_eq(boot.setup.addr, 0x10000);
    ck_assert_uint_eq(boot.setup.size, (SETUP_SECTS + 1) * 512);
    ck_assert_uint_eq(boot.kernel.addr, 0x100000);
    ck_assert_uint_eq(boot.kernel.size, PROT_BYTES);
    ck_assert_uint_eq(boot.kernel.data[0], 0x5a);
    ck_assert_uint_eq(boot.cmdline_addr, 0x20000);
    const u8 *h = boot.setup.data;
    ck_assert_uint_ne(h[0x210], 0);          /* type_of_loader */
    ck_assert_uint_eq(h[0x211] & 0x80, 0x80); /* CAN_USE_HEAP */
    ck_assert_uint_eq(load_le(h + 0x224, 2), 0x20000 - 0x10000 - 0x200);
    ck_assert_uint_eq(load_le(h + 0x228, 4), 0x20000);
    ck_assert_uint_eq(load_le(h + 0x218, 4), boot.initrd.addr);
    ck_assert_uint_eq(load_le(h + 0x21c, 4), sizeof initrd);
    ck_assert_uint_eq(boot.initrd.addr % PAGE_SIZE, 0);
    ck_assert_uint_le(boot.initrd.addr + sizeof initrd, 128 * MIB - BOOT_FIRMWARE_BYTES);
    ck_assert_uint_ge(boot.initrd.addr, 5 * MIB);
}
END_TEST

START_TEST(linux_video_mode)
{
    static const struct {
        const char *cmdline;
        u16 mode;
    } cases[] = {
        {"quiet", 0x1234},        {"vga=792", 792},         {"quiet vga=0x318 x", 0x318},
        {"vga=ask", 0xfffd},      {"vga=normal", 0xffff},   {"a vga=ext", 0xfffe},
        {"novga=5", 0x1234},      {"vga=", 0x1234},         {"vga=99999", 0x1234},
        {"vga=5x", 0x1234},       {"vga=7 vga=8", 8},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        make_linux(0x20f);
        store_le(image + 0x1fa, 0x1234, 2);
        write_file(kernel_path, image, sizeof image);
        ck_assert(load(kernel_path, NULL, cases[i].cmdline, 128 * MIB));
        ck_assert_uint_eq(load_le(boot.setup.data + 0x1fa, 2), cases[i].mode);
    }
}
END_TEST

/* initrd_addr_max keeps the disk low on a large machine; XLF_CAN_BE_LOADED_ABOVE_4G lifts it. */
START_TEST(linux_initrd_limit)
{
    u8 initrd[100] = {0};
    write_file(initrd_path, initrd, sizeof initrd);
    make_linux(0x20b);
    ck_assert(load(kernel_path, initrd_path, NULL, 0xc0000000));
    ck_assert_uint_le(boot.initrd.addr + sizeof initrd, 0x80000000);
    ck_assert_uint_ge(boot.initrd.addr, 0x7fff0000);
    make_linux(0x20c);
    store_le(image + 0x236, 2, 2);
    write_file(kernel_path, image, sizeof image);
    ck_assert(load(kernel_path, initrd_path, NULL, 0xc0000000));
    ck_assert_uint_ge(boot.initrd.addr, 0xbff00000);
}
END_TEST

START_TEST(linux_bad)
{
    static u8 big[3 * MIB];
    char line[3000];
    make_linux(0x20f);
    ck_assert(!load("/nonexistent/kernel", NULL, NULL, 128 * MIB));
    expect_error("No such file", "/nonexistent/kernel");
    ck_assert(!load(dir, NULL, NULL, 128 * MIB));
    expect_error("regular file", dir);
    ck_assert(!load(kernel_path, "/nonexistent/initrd", NULL, 128 * MIB));
    expect_error("No such file", "/nonexistent/initrd");
    write_file(initrd_path, big, sizeof big);
    ck_assert(!load(kernel_path, initrd_path, NULL, 6 * MIB));
    expect_error("-m", initrd_path);
    ck_assert(!load(kernel_path, NULL, NULL, 2 * MIB));
    expect_error("-m", kernel_path);
    memset(line, 'a', sizeof line);
    line[sizeof line - 1] = 0;
    ck_assert(!load(kernel_path, NULL, line, 128 * MIB));
    expect_error("-append", kernel_path);
    for (size_t n = 0; n < sizeof image; n += 97) {
        write_file(kernel_path, image, n);
        ck_assert(!load(kernel_path, NULL, NULL, 128 * MIB));
        expect_error("kernel", kernel_path);
    }
}
END_TEST

START_TEST(linux_published)
{
    static struct fw_cfg fw;
    struct bus *bus = bus_create();
    make_linux(0x20f);
    ck_assert(load(kernel_path, NULL, "root=x", 128 * MIB));
    fw_cfg_init(&fw, bus);
    ck_assert(boot_kernel_publish(&boot, &fw));
    bus_out(bus, BUS_DMA, 0x510, FW_CFG_CMDLINE_SIZE, 2);
    u32 size = 0;
    for (unsigned i = 0; i < 4; i++)
        size |= bus_in(bus, BUS_DMA, 0x511, 1) << (8 * i);
    ck_assert_uint_eq(size, sizeof "root=x");
    bus_out(bus, BUS_DMA, 0x510, FW_CFG_CMDLINE_DATA, 2);
    for (const char *p = "root=x"; *p; p++)
        ck_assert_uint_eq(bus_in(bus, BUS_DMA, 0x511, 1), *p);
    fw_cfg_destroy(&fw);
    bus_destroy(bus);
}
END_TEST

/* ---- multiboot ---- */

static u8 mb[8192];

static void put_header(unsigned at, u32 flags)
{
    store_le(mb + at, 0x1badb002, 4);
    store_le(mb + at + 4, flags, 4);
    store_le(mb + at + 8, (u32) - (0x1badb002 + flags), 4);
}

static void make_flat(u32 load_end)
{
    memset(mb, 0, sizeof mb);
    put_header(0x40, 1 << 16);
    store_le(mb + 0x4c, 0x200040, 4); /* header address */
    store_le(mb + 0x50, 0x200000, 4); /* load address */
    store_le(mb + 0x54, load_end, 4);
    store_le(mb + 0x58, 0x204000, 4); /* bss end */
    store_le(mb + 0x5c, 0x200100, 4); /* entry */
    mb[0x100] = 0xf4;
    write_file(kernel_path, mb, sizeof mb);
}

START_TEST(multiboot_flat)
{
    make_flat(0x202000);
    ck_assert(load(kernel_path, NULL, "a b", 64 * MIB));
    ck_assert(boot.multiboot);
    ck_assert_uint_eq(boot.kernel.addr, 0x200000);
    ck_assert_uint_eq(boot.kernel.size, 0x4000);
    ck_assert_uint_eq(boot.entry, 0x200100);
    ck_assert_uint_eq(boot.kernel.data[0x100], 0xf4);
    ck_assert_uint_eq(boot.kernel.data[0x3fff], 0);
    ck_assert_uint_eq(boot.setup.size, 0);
}
END_TEST

static void put_elf32(u32 filesz, u32 memsz)
{
    memset(mb, 0, sizeof mb);
    memcpy(mb, "\177ELF\1\1\1", 7);
    store_le(mb + 16, 2, 2);
    store_le(mb + 18, 3, 2);
    store_le(mb + 24, 0xc0100010, 4); /* entry, virtual */
    store_le(mb + 28, 52, 4);
    store_le(mb + 42, 32, 2);
    store_le(mb + 44, 1, 2);
    store_le(mb + 52, 1, 4); /* PT_LOAD */
    store_le(mb + 56, 0x1000, 4);
    store_le(mb + 60, 0xc0100000, 4);
    store_le(mb + 64, 0x100000, 4);
    store_le(mb + 68, filesz, 4);
    store_le(mb + 72, memsz, 4);
    put_header(0x200, 0);
    mb[0x1010] = 0x90;
    write_file(kernel_path, mb, sizeof mb);
}

/* The information structure, read as a kernel reads it. */
static const u8 *at(u64 address)
{
    ck_assert_uint_ge(address, boot.initrd.addr);
    ck_assert_uint_lt(address, (u64)boot.initrd.addr + boot.initrd.size);
    return boot.initrd.data + (address - boot.initrd.addr);
}

START_TEST(multiboot_elf_and_modules)
{
    char modules[160];
    put_elf32(0x100, 0x3000);
    write_file(initrd_path, "module!", 7);
    snprintf(modules, sizeof modules, "%s one two,%s", initrd_path, initrd_path);
    ck_assert(load(kernel_path, modules, "opt=1", 64 * MIB));
    ck_assert_uint_eq(boot.kernel.addr, 0x100000);
    ck_assert_uint_eq(boot.kernel.size, 0x3000);
    ck_assert_uint_eq(boot.entry, 0x100010);
    ck_assert_uint_eq(boot.kernel.data[0x10], 0x90);
    const u8 *info = at(boot.info);
    u32 flags = (u32)load_le(info, 4);
    ck_assert_uint_eq(flags & 0x4d, 0x4d);
    ck_assert_uint_eq(load_le(info + 4, 4), 639);
    ck_assert_uint_eq(load_le(info + 8, 4), 63 * 1024);
    ck_assert_ptr_nonnull(strstr((const char *)at(load_le(info + 16, 4)), " opt=1"));
    ck_assert_uint_eq(load_le(info + 20, 4), 2);
    const u8 *mods = at(load_le(info + 24, 4));
    for (unsigned i = 0; i < 2; i++) {
        u64 start = load_le(mods + 16 * i, 4), end = load_le(mods + 16 * i + 4, 4);
        ck_assert_uint_eq(start % PAGE_SIZE, 0);
        ck_assert_uint_eq(end - start, 7);
        ck_assert_mem_eq(at(start), "module!", 7);
    }
    ck_assert_ptr_nonnull(strstr((const char *)at(load_le(mods + 8, 4)), " one two"));
    u64 map = load_le(info + 48, 4), map_end = map + load_le(info + 44, 4), ram = 0;
    while (map < map_end) {
        const u8 *e = at(map);
        if (load_le(e + 20, 4) == 1)
            ram += load_le(e + 12, 8);
        map += load_le(e, 4) + 4;
    }
    ck_assert_uint_eq(ram, 0x9fc00 + 63ull * MIB - BOOT_FIRMWARE_BYTES);
}
END_TEST

START_TEST(multiboot_bad)
{
    make_flat(0x20a000); /* more than the file has */
    ck_assert(!load(kernel_path, NULL, NULL, 64 * MIB));
    expect_error("truncated", kernel_path);
    put_elf32(0x9000, 0x9000);
    ck_assert(!load(kernel_path, NULL, NULL, 64 * MIB));
    expect_error("truncated", kernel_path);
    put_elf32(0x100, 0x70000000);
    ck_assert(!load(kernel_path, NULL, NULL, 64 * MIB));
    expect_error("-m", kernel_path);
    memset(mb, 0x11, sizeof mb);
    write_file(kernel_path, mb, sizeof mb);
    ck_assert(!load(kernel_path, NULL, NULL, 64 * MIB));
    expect_error("neither", kernel_path);
    put_elf32(0x100, 0x3000);
    ck_assert(!load(kernel_path, "/nonexistent/module", NULL, 64 * MIB));
    expect_error("module", "/nonexistent/module");
    /* Whatever a header says, loading ends with a message or a block of sane size. */
    srand(1);
    for (unsigned i = 0; i < 3000; i++) {
        if (i & 1)
            put_elf32(0x100, 0x3000);
        else
            make_flat(0x202000);
        for (unsigned j = 0; j < 4; j++)
            mb[i & 1 ? 24 + rand() % 60 : 0x4c + rand() % 20] = (u8)rand();
        write_file(kernel_path, mb, sizeof mb);
        if (load(kernel_path, NULL, NULL, 64 * MIB))
            ck_assert_uint_le((u64)boot.kernel.addr + boot.kernel.size, 64 * MIB);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("boot kernel");
    TCase *t = tcase_create("boot kernel");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, linux_places);
    tcase_add_test(t, linux_video_mode);
    tcase_add_test(t, linux_initrd_limit);
    tcase_add_test(t, linux_bad);
    tcase_add_test(t, linux_published);
    tcase_add_test(t, multiboot_flat);
    tcase_add_test(t, multiboot_elf_and_modules);
    tcase_add_test(t, multiboot_bad);
    suite_add_tcase(s, t);
    return run_suite(s);
}

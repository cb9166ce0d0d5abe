/* What a file is, by its content.
 *
 * Linux: Documentation/arch/x86/boot.rst (the header's "HdrS"); multiboot 1, section 3.1; ISO 9660
 * (ECMA-119), 8.4: "CD001" in sector 16.
 */
#include "frontends/identify.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MULTIBOOT_MAGIC 0x1badb002u
#define MULTIBOOT_SEARCH 8192u
#define ISO_AT 0x8000u
#define ISO_SIZE 80   /* blocks (8.4.8), */
#define ISO_BLOCK 128 /* of so many bytes (8.4.12) */
#define SECTOR 512

static bool is_multiboot(const u8 *p, size_t n)
{
    for (size_t i = 0; i + 12 <= n && i < MULTIBOOT_SEARCH; i += 4)
        if (load_le(p + i, 4) == MULTIBOOT_MAGIC &&
            (u32)(load_le(p + i, 4) + load_le(p + i + 4, 4) + load_le(p + i + 8, 4)) == 0)
            return true;
    return false;
}

static bool is_initrd(const u8 *p, size_t n)
{
    static const struct {
        u8 len;
        u8 magic[6];
    } kinds[] = {
        {6, "070701"},
        {2, {0x1f, 0x8b}},
        {6, {0xfd, '7', 'z', 'X', 'Z', 0}},
        {3, "BZh"},
        {4, {0x28, 0xb5, 0x2f, 0xfd}},
        {4, {0x04, 0x22, 0x4d, 0x18}},
        {4, {0x02, 0x21, 0x4c, 0x18}},
        {5, {0x5d, 0, 0, 0x80, 0}},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++)
        if (n >= kinds[i].len && !memcmp(p, kinds[i].magic, kinds[i].len))
            return true;
    return false;
}

static bool is_floppy_size(u64 size)
{
    static const u16 kib[] = {160, 180, 320, 360, 720, 1200, 1440, 1680, 1722, 2880};
    for (unsigned i = 0; i < ARRAY_SIZE(kib); i++)
        if (size == (u64)kib[i] << 10)
            return true;
    return false;
}

static bool is_iso(const u8 *p, size_t n)
{
    return n >= ISO_AT + ISO_BLOCK + 2 && !memcmp(p + ISO_AT + 1, "CD001", 5);
}

static u64 iso_size(const u8 *p)
{
    return load_le(p + ISO_AT + ISO_SIZE, 4) * load_le(p + ISO_AT + ISO_BLOCK, 2);
}

enum file_kind identify_file(const char *path, u64 *missing)
{
    static u8 head[0x9000];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not waited for */
    *missing = 0;
    if (fd < 0)
        return FILE_UNREADABLE;
    ssize_t got = read(fd, head, sizeof head);
    int failed = errno, bad = fstat(fd, &st);
    close(fd);
    errno = failed;
    if (got < 0 || bad)
        return FILE_UNREADABLE;
    size_t n = (size_t)got;
    u64 size = (u64)st.st_size;
    if (is_iso(head, n)) {
        *missing = S_ISREG(st.st_mode) && iso_size(head) > size ? iso_size(head) - size : 0;
        return FILE_ISO;
    }
    if (is_floppy_size(size)) /* even if a kernel is what it begins with */
        return FILE_FLOPPY;
    if (n >= 0x206 && !memcmp(head + 0x202, "HdrS", 4))
        return FILE_KERNEL;
    /* GRUB's own image, behind a disk's boot sector, is a multiboot kernel too. */
    bool boot_sector = n >= 512 && head[510] == 0x55 && head[511] == 0xaa;
    if (!boot_sector && is_multiboot(head, n))
        return FILE_KERNEL;
    if (is_initrd(head, n))
        return FILE_INITRD;
    bool whole = size % SECTOR == 0 || (n >= 4 && !memcmp(head, "QFI\xfb", 4));
    return whole ? FILE_DISK : FILE_UNKNOWN;
}

/* -kernel: reads the image, decides what it is, and publishes the result in fw_cfg.
 *
 * Left out: PVH, uncompressed vmlinux, multiboot 2.
 */
#include "devices/board/boot_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "devices/fw_cfg.h"

static bool read_all(int fd, u8 *buf, u64 size, u64 *done)
{
    for (*done = 0; *done < size;) {
        ssize_t n = read(fd, buf + *done, size - *done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        if (n == 0)
            break;
        *done += (u64)n;
    }
    return true;
}

u8 *boot_read_file(const char *what, const char *path, u64 max, u32 *size, char **error)
{
    struct stat st;
    u8 *buf = NULL;
    u64 done = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is not waited for */
    if (fd < 0 || fstat(fd, &st) < 0) {
        *error = error_text("cannot open %s '%s': %s", what, path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        *error = error_text("%s '%s' is not a regular file", what, path);
    } else if ((u64)st.st_size > max) {
        *error = error_text("%s '%s' is too large: %llu bytes, at most %llu fit", what, path,
                            (unsigned long long)st.st_size, (unsigned long long)max);
    } else if (!(buf = malloc((size_t)st.st_size + 1))) {
        *error = error_text("%s '%s': the host has no memory for %llu bytes", what, path,
                            (unsigned long long)st.st_size);
    } else if (!read_all(fd, buf, (u64)st.st_size, &done) || done != (u64)st.st_size) {
        *error = error_text("cannot read %s '%s': %s", what, path,
                            errno ? strerror(errno) : "it became shorter");
        free(buf);
        buf = NULL;
    }
    if (fd >= 0)
        close(fd);
    *size = (u32)done;
    return buf;
}

bool boot_kernel_load(struct boot_kernel *k, const struct boot_request *request, char **error)
{
    u32 size;
    bool good;
    memset(k, 0, sizeof *k);
    u8 *image = boot_read_file("kernel", request->kernel, 1u << 30, &size, error);
    if (!image)
        return false;
    if (linux_image(image, size)) {
        good = linux_load(k, request, image, size, error);
    } else if (multiboot_find(image, size) >= 0) {
        good = multiboot_load(k, request, image, size, error);
    } else {
        *error = error_text("kernel '%s' is neither a Linux bzImage nor a multiboot image",
                            request->kernel);
        free(image);
        good = false;
    }
    if (!good)
        boot_kernel_free(k);
    return good;
}

static bool publish_block(struct fw_cfg *f, const struct boot_block *b, unsigned addr_key,
                          unsigned size_key, unsigned data_key)
{
    return fw_cfg_add_u32(f, addr_key, b->addr) && fw_cfg_add_u32(f, size_key, b->size) &&
           fw_cfg_add_borrowed(f, data_key, b->data, b->size);
}

bool boot_kernel_publish(const struct boot_kernel *k, struct fw_cfg *f)
{
    u8 info[4];
    store_le(info, k->info, 4);
    bool good = publish_block(f, &k->setup, FW_CFG_SETUP_ADDR, FW_CFG_SETUP_SIZE,
                              FW_CFG_SETUP_DATA) &&
                publish_block(f, &k->kernel, FW_CFG_KERNEL_ADDR, FW_CFG_KERNEL_SIZE,
                              FW_CFG_KERNEL_DATA) &&
                publish_block(f, &k->initrd, FW_CFG_INITRD_ADDR, FW_CFG_INITRD_SIZE,
                              FW_CFG_INITRD_DATA) &&
                fw_cfg_add_u32(f, FW_CFG_KERNEL_ENTRY, k->entry);
    if (k->multiboot)
        return good && fw_cfg_add_file(f, BOOT_MULTIBOOT_FILE, info, sizeof info);
    return good && fw_cfg_add_u32(f, FW_CFG_CMDLINE_ADDR, k->cmdline_addr) &&
           fw_cfg_add_u32(f, FW_CFG_CMDLINE_SIZE, (u32)strlen(k->cmdline) + 1) &&
           fw_cfg_add_string(f, FW_CFG_CMDLINE_DATA, k->cmdline);
}

void boot_kernel_free(struct boot_kernel *k)
{
    free(k->setup.data);
    free(k->kernel.data);
    free(k->initrd.data);
    free(k->cmdline);
    memset(k, 0, sizeof *k);
}

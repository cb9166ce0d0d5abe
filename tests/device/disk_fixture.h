/* Disk images in memory files, for the tests of the storage chips. */
#ifndef DRAGOMAN_TESTS_DEVICE_DISK_FIXTURE_H
#define DRAGOMAN_TESTS_DEVICE_DISK_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "devices/host/block.h"

/* An image in a file that has no name, no two sectors of it alike; *map are its bytes. */
static inline struct block *make_image(u64 size, u8 **map, bool read_only)
{
    char path[64], *error = NULL;
    int fd = memfd_create("image", 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(*map, MAP_FAILED);
    for (u64 i = 0; i < size; i += 4)
        store_le(*map + i, (u32)(i / 512 * 2654435761u + i), 4);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct block_options o = {.path = path, .format = "raw", .read_only = read_only};
    struct block *b = block_open(&o, &error);
    ck_assert_msg(b != NULL, "%s", error);
    close(fd);
    return b;
}

static inline void nothing(void *opaque)
{
}

/* Requests without threads: the clock reports them. */
static inline struct block_pool *make_pool(struct clock *clock)
{
    struct block_pool_owner owner = {nothing, nothing, NULL};
    return block_pool_create(0, &owner, clock);
}

#endif

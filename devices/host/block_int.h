/* Between block.c and the formats. */
#ifndef DRAGOMAN_DEVICES_HOST_BLOCK_INT_H
#define DRAGOMAN_DEVICES_HOST_BLOCK_INT_H

#include "devices/host/block.h"

/* Formats see accesses that lie inside the image; several threads may call at once.  All return 0
 * or an errno value. */
struct block_format {
    const char *name;
    int (*read)(struct block *b, u64 offset, u8 *data, size_t count);
    int (*write)(struct block *b, u64 offset, const u8 *data, size_t count);
    int (*flush)(struct block *b);
    void (*close)(struct block *b); /* frees b */
};

struct block {
    const struct block_format *format;
    char *path; /* owned */
    u64 size;
    bool read_only;
    bool guessed_raw; /* taken for raw because nothing else fitted */
};

/* An open host file. */
struct block_file {
    const char *path;
    int fd;
    u64 size;
    bool read_only;
};

/* Zeroed state of `bytes`, which begins with struct block; NULL with *error. */
void *block_new(size_t bytes, const struct block_format *format, const char *path, char **error);
void block_delete(struct block *b);

/* "PATH: ..." as *error; returns NULL, for `return block_error(...)`. */
void *block_error(char **error, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Whole transfers; reading beyond the end of the file gives zeros. */
int block_pread(int fd, void *data, size_t count, u64 offset);
int block_pwrite(int fd, const void *data, size_t count, u64 offset);

/* The formats take the file over, also on failure.  `depth` counts backing files. */
struct block *block_raw_open(struct block_file *f, char **error);
struct block *block_qcow2_open(struct block_file *f, const struct block_options *o, unsigned depth,
                               char **error);
bool block_qcow2_probe(const u8 *head, size_t count);
/* Writes go to a temporary file; takes `below` over, also on failure. */
struct block *block_overlay_open(struct block *below, char **error);

/* block_open for the image `depth` levels below another one. */
struct block *block_open_depth(const struct block_options *o, unsigned depth, char **error);

#define BLOCK_BACKING_MAX 64u

#endif

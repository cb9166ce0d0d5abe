/* Disk images as arrays of bytes: opening and probing formats, and requests that run on threads of
 * their own, so that no vCPU waits for the host's disk.
 */
#ifndef DRAGOMAN_DEVICES_HOST_BLOCK_H
#define DRAGOMAN_DEVICES_HOST_BLOCK_H

#include <stddef.h>

#include "base/types.h"

struct clock;

/* Guests see sectors; an image that ends within one is padded with zeros. */
#define BLOCK_SECTOR 512u

struct block;

/* How an image is to be opened. */
struct block_options {
    const char *path;
    const char *format;  /* "raw", "qcow2", or NULL: look at the content */
    bool read_only;      /* open it so, and refuse writes */
    bool auto_read_only; /* open a file that cannot be written read-only */
    bool snapshot;       /* writes go to a temporary file and are lost at the end */
};

/* Opens an image; NULL with *error (malloced, one line that names the file).  An image that may be
 * written is locked against a second writer. */
struct block *block_open(const struct block_options *o, char **error);
/* Finishes what was written (stable storage) and closes; NULL is allowed. */
void block_close(struct block *b);

u64 block_size(const struct block *b); /* bytes, a multiple of BLOCK_SECTOR */
bool block_read_only(const struct block *b);
const char *block_path(const struct block *b);
const char *block_format(const struct block *b); /* "raw", "qcow2" */

/* Blocking accesses, from any thread.  Offset and count in bytes, multiples of BLOCK_SECTOR.  0, or
 * an errno value: EINVAL outside the image, EROFS, or what the host said. */
int block_read(struct block *b, u64 offset, void *data, size_t count);
int block_write(struct block *b, u64 offset, const void *data, size_t count);
/* What was written before is on stable storage when it returns 0. */
int block_flush(struct block *b);

/* ---- requests ---- */

enum block_op { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH };

/* Belongs to the caller and must stay until `done` has been called. */
struct block_request {
    struct block *block;
    enum block_op op;
    u64 offset;
    void *data;
    size_t count;
    int error; /* of block_read and the others; valid in `done` */
    void (*done)(void *opaque);
    void *opaque;
    struct block_request *next; /* private */
};

struct block_pool;

/* What the pool needs of the machine: `done` runs between these two. */
struct block_pool_owner {
    void (*lock)(void *opaque);
    void (*unlock)(void *opaque);
    void *opaque;
};

/* `threads` workers; with none, requests are done when they are submitted and reported by a timer
 * of `clock` a fixed time later, which makes a run repeatable (tests, counted mode).  NULL when the
 * host has no memory or threads. */
struct block_pool *block_pool_create(unsigned threads, const struct block_pool_owner *owner,
                                     struct clock *clock);
/* Waits for all requests, then frees.  Owner's lock not held; NULL is allowed. */
void block_pool_free(struct block_pool *p);
/* Hands a request over; its fields are the pool's until done.  Owner's lock held. */
void block_submit(struct block_pool *p, struct block_request *r);
/* Waits until nothing is under way.  Owner's lock not held.  A pool without threads: nothing. */
void block_pool_drain(struct block_pool *p);

#endif

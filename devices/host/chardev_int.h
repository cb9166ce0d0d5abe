/* What the character stream files share; nobody else includes this. */
#ifndef DRAGOMAN_DEVICES_HOST_CHARDEV_INT_H
#define DRAGOMAN_DEVICES_HOST_CHARDEV_INT_H

#include "devices/host/chardev.h"

/* Output that the host has not taken yet, at most. */
#define CHARDEV_BUFFER 65536

struct chardev_ops {
    /* Takes what it can without blocking; returns the number of bytes. */
    size_t (*write)(struct chardev *c, const u8 *bytes, size_t count);
    unsigned (*poll)(struct chardev *c, struct pollfd *fds, unsigned max);
    void (*ready)(struct chardev *c, const struct pollfd *fds, unsigned count);
    void (*accept_input)(struct chardev *c);
    void (*owner_changed)(struct chardev *c);
    void (*free)(struct chardev *c); /* what ops own; the struct goes afterwards */
};

struct chardev {
    const struct chardev_ops *ops;
    struct chardev_frontend fe;
    struct chardev_owner owner;
    char *name;
    bool open;    /* a peer is there */
    bool refused; /* a write was cut short: room is due */
    u8 *out;      /* ring of CHARDEV_BUFFER bytes, allocated when first needed */
    size_t out_head, out_count;
};

/* Allocates `size` bytes (a struct that begins with struct chardev), zeroed; NULL: no memory. */
void *chardev_new(size_t size, const struct chardev_ops *ops, const char *name);
/* Sends on what is buffered; calls room when a refused writer may go on. */
void chardev_flush(struct chardev *c);
void chardev_drop_output(struct chardev *c);
size_t chardev_can_receive(const struct chardev *c);
void chardev_receive(struct chardev *c, const u8 *bytes, size_t count);
void chardev_event(struct chardev *c, enum chardev_event event);
void chardev_wake(struct chardev *c);
/* malloced printf for *error. */
char *chardev_message(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The kinds with descriptors (chardev_fd.c); NULL with *error set. */
struct chardev *chardev_stdio_open(bool signals, char **error);
struct chardev *chardev_file_open(const char *path, char **error);
struct chardev *chardev_pty_open(char **error);
struct chardev *chardev_unix_open(const char *path, bool server, bool wait, char **error);

#endif

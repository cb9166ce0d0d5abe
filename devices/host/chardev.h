/* Character streams between a guest's port (UART, debug console, monitor) and the host.
 *
 * A stream has one front-end (the chip or the monitor) and one back-end (a file, a terminal, a
 * socket, ...).  Neither side ever blocks: output that the host does not take at once waits in a
 * bounded buffer, input that the front-end does not want stays with the host.  All calls are made
 * under the machine lock; the main loop polls the descriptors that chardev_poll names.
 */
#ifndef DRAGOMAN_DEVICES_HOST_CHARDEV_H
#define DRAGOMAN_DEVICES_HOST_CHARDEV_H

#include "base/types.h"

struct chardev;
struct pollfd;

enum chardev_event {
    CHARDEV_OPENED,    /* a peer is there (socket accepted) */
    CHARDEV_CLOSED,    /* the peer has gone; input has ended */
    CHARDEV_BREAK,     /* the person asked for a break condition (Ctrl-A b) */
    CHARDEV_FOCUS_IN,  /* a multiplexed stream got the keyboard (Ctrl-A c) ... */
    CHARDEV_FOCUS_OUT, /* ... or lost it */
};

/* Who uses the stream.  Any function may be NULL. */
struct chardev_frontend {
    size_t (*can_receive)(void *opaque); /* bytes that receive takes now */
    void (*receive)(void *opaque, const u8 *bytes, size_t count);
    void (*event)(void *opaque, enum chardev_event event);
    void (*room)(void *opaque); /* chardev_write takes bytes again after it had refused some */
    void *opaque;
};

/* What a stream tells its owner, the main loop. */
struct chardev_owner {
    /* What chardev_poll would answer has changed; called from whatever thread did it. */
    void (*wake)(void *opaque);
    void (*quit)(void *opaque); /* Ctrl-A x */
    /* The terminal behind the stream has gone; `name` is the stream's. */
    void (*hangup)(void *opaque, const char *name);
    void *opaque;
};

/* Opens what a -serial, -debugcon or -monitor argument names:
 *   none | null | stdio | mon:SPEC | file:PATH | pty |
 *   unix:PATH[,server[=on|off]][,nowait|,wait[=on|off]]
 * "mon:" multiplexes with the monitor and understands the Ctrl-A escapes.  A waiting server blocks
 * until somebody connects.  Returns the stream, or NULL with *error set to a malloced one-line
 * message. */
struct chardev *chardev_parse(const char *spec, char **error);

/* Streams that need no host resource.  Memory keeps what was written, for tests; NULL when there
 * is no memory. */
struct chardev *chardev_null_create(void);
struct chardev *chardev_memory_create(void);

/* Closes the stream and restores the terminal; a multiplexer goes with its last stream.  Output
 * that still waits gets up to half a second of a host that takes nothing.  NULL is ignored. */
void chardev_free(struct chardev *c);

/* Sets the front-end (copied); NULL detaches.  If a peer is already there the front-end gets
 * CHARDEV_OPENED at once. */
void chardev_attach(struct chardev *c, const struct chardev_frontend *fe);
void chardev_set_owner(struct chardev *c, const struct chardev_owner *owner);

/* Sends bytes to the host; returns how many were taken (all of them unless the host does not read
 * and the buffer is full; the front-end's room is called later). */
size_t chardev_write(struct chardev *c, const void *bytes, size_t count);
/* Bytes that chardev_write surely takes now. */
size_t chardev_room(const struct chardev *c);
/* The front-end can receive again after can_receive had answered 0. */
void chardev_accept_input(struct chardev *c);

/* Fills in the descriptors to poll (at most `max`, 4 is enough) and returns their number. */
unsigned chardev_poll(struct chardev *c, struct pollfd *fds, unsigned max);
/* Does the work after poll: `fds` as filled in by chardev_poll, with revents.  Also without
 * any event set it is harmless. */
void chardev_ready(struct chardev *c, const struct pollfd *fds, unsigned count);

/* "stdio", "unix:/tmp/x", ... for the monitor. */
const char *chardev_name(const struct chardev *c);

/* The terminal of the stdio stream, if there is one: back to how it was found (before a message or
 * at exit, where it happens by itself too), and raw again (after SIGCONT).  Both may be called from
 * a signal handler. */
void chardev_terminal_restore(void);
void chardev_terminal_raw(void);

/* ---- multiplexer: several front-ends on one stream, one of them in focus ---- */

/* Wraps `backend` (owned from then on) and returns its first stream; NULL when no memory. */
struct chardev *chardev_mux_create(struct chardev *backend);
/* A further stream of the multiplexer that `c` belongs to, e.g. for the monitor; NULL if `c` is
 * not multiplexed or the multiplexer is full. */
struct chardev *chardev_mux_add(struct chardev *c);
/* Gives the keyboard to stream `c`; the streams concerned get CHARDEV_FOCUS_OUT and _IN. */
void chardev_mux_focus(struct chardev *c);

/* ---- memory streams (tests) ---- */

/* What has been written so far; valid until the next write. */
const u8 *chardev_memory_output(struct chardev *c, size_t *count);
void chardev_memory_clear(struct chardev *c);
/* Offers input, delivered as the front-end allows; returns the bytes not yet delivered. */
size_t chardev_memory_input(struct chardev *c, const void *bytes, size_t count);
/* How many more bytes the host side takes; (size_t)-1 (the start) for any number. */
void chardev_memory_accept(struct chardev *c, size_t count);

#endif

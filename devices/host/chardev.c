/* Character streams: the part that all kinds share, the null and memory kinds, the multiplexer.
 *
 * Knows nothing of guests; may use base and the host's C library.  The kinds with descriptors are
 * in chardev_fd.c.
 */
#include "devices/host/chardev.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "devices/host/chardev_int.h"

/* ---- what all kinds share ---- */

void *chardev_new(size_t size, const struct chardev_ops *ops, const char *name)
{
    struct chardev *c = calloc(1, size);
    if (!c)
        return NULL;
    c->ops = ops;
    c->name = strdup(name);
    if (!c->name) {
        free(c);
        return NULL;
    }
    return c;
}

void chardev_free(struct chardev *c)
{
    if (!c)
        return;
    c->fe = (struct chardev_frontend){0}; /* may be gone already */
    chardev_flush(c);
    if (c->ops->free)
        c->ops->free(c);
    free(c->out);
    free(c->name);
    free(c);
}

const char *chardev_name(const struct chardev *c)
{
    return c->name;
}

void chardev_attach(struct chardev *c, const struct chardev_frontend *fe)
{
    c->fe = fe ? *fe : (struct chardev_frontend){0};
    if (c->open)
        chardev_event(c, CHARDEV_OPENED);
    chardev_accept_input(c);
}

void chardev_set_owner(struct chardev *c, const struct chardev_owner *owner)
{
    c->owner = *owner;
    if (c->ops->owner_changed)
        c->ops->owner_changed(c);
}

void chardev_wake(struct chardev *c)
{
    if (c->owner.wake)
        c->owner.wake(c->owner.opaque);
}

size_t chardev_can_receive(const struct chardev *c)
{
    return c->fe.receive && c->fe.can_receive ? c->fe.can_receive(c->fe.opaque) : 0;
}

void chardev_receive(struct chardev *c, const u8 *bytes, size_t count)
{
    if (c->fe.receive)
        c->fe.receive(c->fe.opaque, bytes, count);
}

void chardev_event(struct chardev *c, enum chardev_event event)
{
    if (event == CHARDEV_OPENED || event == CHARDEV_CLOSED)
        c->open = event == CHARDEV_OPENED;
    if (c->fe.event)
        c->fe.event(c->fe.opaque, event);
}

/* Puts what fits into the ring; returns how much. */
static size_t buffer_output(struct chardev *c, const u8 *bytes, size_t count)
{
    if (!c->out && !(c->out = malloc(CHARDEV_BUFFER)))
        return 0;
    size_t n = CHARDEV_BUFFER - c->out_count;
    if (n > count)
        n = count;
    for (size_t i = 0; i < n; i++)
        c->out[(c->out_head + c->out_count + i) % CHARDEV_BUFFER] = bytes[i];
    c->out_count += n;
    return n;
}

void chardev_flush(struct chardev *c)
{
    while (c->out_count) {
        size_t run = CHARDEV_BUFFER - c->out_head;
        if (run > c->out_count)
            run = c->out_count;
        size_t n = c->ops->write(c, c->out + c->out_head, run);
        c->out_head = (c->out_head + n) % CHARDEV_BUFFER;
        c->out_count -= n;
        if (n < run)
            break;
    }
    /* Half a buffer of room first, so that a stuck host is not asked for each byte. */
    if (c->refused && c->out_count <= CHARDEV_BUFFER / 2) {
        c->refused = false;
        if (c->fe.room)
            c->fe.room(c->fe.opaque);
    }
}

void chardev_drop_output(struct chardev *c)
{
    c->out_head = 0;
    c->out_count = 0;
    chardev_flush(c);
}

size_t chardev_write(struct chardev *c, const void *bytes, size_t count)
{
    const u8 *p = bytes;
    size_t done = 0;
    if (!c->out_count)
        done = c->ops->write(c, p, count);
    if (done == count)
        return done;
    bool idle = !c->out_count;
    done += buffer_output(c, p + done, count - done);
    if (done < count)
        c->refused = true;
    if (idle)
        chardev_wake(c);
    return done;
}

size_t chardev_room(const struct chardev *c)
{
    return CHARDEV_BUFFER - c->out_count;
}

void chardev_accept_input(struct chardev *c)
{
    if (c->ops->accept_input)
        c->ops->accept_input(c);
    else
        chardev_wake(c);
}

unsigned chardev_poll(struct chardev *c, struct pollfd *fds, unsigned max)
{
    return c->ops->poll ? c->ops->poll(c, fds, max) : 0;
}

void chardev_ready(struct chardev *c, const struct pollfd *fds, unsigned count)
{
    if (c->ops->ready)
        c->ops->ready(c, fds, count);
}

/* ---- parsing ---- */

char *chardev_message(const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    return text;
}

/* Reads "name", "name=on" or "name=off" into *value; false if `text` is something else. */
static bool parse_switch(const char *text, const char *name, bool *value)
{
    size_t n = strlen(name);
    if (strncmp(text, name, n) != 0)
        return false;
    text += n;
    if (!strcmp(text, "") || !strcmp(text, "=on") || !strcmp(text, "=yes"))
        *value = true;
    else if (!strcmp(text, "=off") || !strcmp(text, "=no"))
        *value = false;
    else
        return false;
    return true;
}

static struct chardev *parse_unix(const char *spec, char **error)
{
    bool server = false, wait = true, nowait = false;
    char *copy = strdup(spec);
    char *rest = copy;
    struct chardev *c = NULL;
    char *path = strsep(&rest, ",");
    if (!copy) {
        *error = chardev_message("unix:%s: out of memory", spec);
        return NULL;
    }
    while (rest) {
        char *option = strsep(&rest, ",");
        if (parse_switch(option, "server", &server) || parse_switch(option, "wait", &wait))
            continue;
        if (parse_switch(option, "nowait", &nowait)) {
            wait = !nowait;
            continue;
        }
        *error = chardev_message("unix:%s: unknown option '%s'", spec, option);
        goto out;
    }
    if (!*path)
        *error = chardev_message("unix:%s: the path is missing", spec);
    else
        c = chardev_unix_open(path, server, wait, error);
out:
    free(copy);
    return c;
}

static struct chardev *parse(const char *spec, bool multiplexed, char **error)
{
    if (!strcmp(spec, "none") || !strcmp(spec, "null"))
        return chardev_null_create();
    if (!strcmp(spec, "stdio"))
        return chardev_stdio_open(!multiplexed, error);
    if (!strcmp(spec, "pty"))
        return chardev_pty_open(error);
    if (!strncmp(spec, "file:", 5) && spec[5])
        return chardev_file_open(spec + 5, error);
    if (!strncmp(spec, "unix:", 5))
        return parse_unix(spec + 5, error);
    *error = chardev_message("'%s' is not a valid character device "
                             "(none, null, stdio, pty, file:PATH, unix:PATH, mon:...)",
                             spec);
    return NULL;
}

struct chardev *chardev_parse(const char *spec, char **error)
{
    bool multiplexed = !strncmp(spec, "mon:", 4);
    *error = NULL;
    struct chardev *c = parse(spec + (multiplexed ? 4 : 0), multiplexed, error);
    if (c && multiplexed) {
        struct chardev *mux = chardev_mux_create(c);
        if (!mux)
            chardev_free(c);
        c = mux;
    }
    if (!c && !*error)
        *error = chardev_message("%s: out of memory", spec);
    return c;
}

/* ---- null ---- */

static size_t null_write(struct chardev *c, const u8 *bytes, size_t count)
{
    return count;
}

static void null_accept_input(struct chardev *c)
{
}

static const struct chardev_ops null_ops = {.write = null_write,
                                            .accept_input = null_accept_input};

struct chardev *chardev_null_create(void)
{
    struct chardev *c = chardev_new(sizeof *c, &null_ops, "null");
    if (c)
        c->open = true;
    return c;
}

/* ---- memory ---- */

struct memory {
    struct chardev c;
    u8 *written;
    size_t written_count, written_size;
    u8 *input;
    size_t input_count;
    size_t accept; /* bytes that the host side still takes */
};

static size_t memory_write(struct chardev *c, const u8 *bytes, size_t count)
{
    struct memory *m = (struct memory *)c;
    if (count > m->accept)
        count = m->accept;
    if (m->written_count + count > m->written_size) {
        size_t size = (m->written_count + count) * 2;
        u8 *p = realloc(m->written, size);
        if (!p)
            return 0;
        m->written = p;
        m->written_size = size;
    }
    if (count)
        memcpy(m->written + m->written_count, bytes, count);
    m->written_count += count;
    if (m->accept != (size_t)-1)
        m->accept -= count;
    return count;
}

static void memory_deliver(struct chardev *c)
{
    struct memory *m = (struct memory *)c;
    for (;;) {
        size_t n = chardev_can_receive(c);
        u8 chunk[256];
        if (n > m->input_count)
            n = m->input_count;
        if (n > sizeof chunk)
            n = sizeof chunk;
        if (!n)
            return;
        /* Off the queue first: the front-end may ask for more from within. */
        memcpy(chunk, m->input, n);
        m->input_count -= n;
        memmove(m->input, m->input + n, m->input_count);
        chardev_receive(c, chunk, n);
    }
}

static void memory_free(struct chardev *c)
{
    struct memory *m = (struct memory *)c;
    free(m->written);
    free(m->input);
}

static const struct chardev_ops memory_ops = {
    .write = memory_write, .accept_input = memory_deliver, .free = memory_free};

struct chardev *chardev_memory_create(void)
{
    struct memory *m = chardev_new(sizeof *m, &memory_ops, "memory");
    if (!m)
        return NULL;
    m->accept = (size_t)-1;
    m->c.open = true;
    return &m->c;
}

const u8 *chardev_memory_output(struct chardev *c, size_t *count)
{
    struct memory *m = (struct memory *)c;
    *count = m->written_count;
    return m->written;
}

void chardev_memory_clear(struct chardev *c)
{
    ((struct memory *)c)->written_count = 0;
}

size_t chardev_memory_input(struct chardev *c, const void *bytes, size_t count)
{
    struct memory *m = (struct memory *)c;
    u8 *p = realloc(m->input, m->input_count + count + 1);
    if (!p)
        return m->input_count + count;
    m->input = p;
    memcpy(p + m->input_count, bytes, count);
    m->input_count += count;
    memory_deliver(c);
    return m->input_count;
}

void chardev_memory_accept(struct chardev *c, size_t count)
{
    ((struct memory *)c)->accept = count;
    chardev_flush(c);
}

/* ---- multiplexer ---- */

enum {
    MUX_STREAMS = 4,
    MUX_INPUT = 4096, /* typed ahead of a busy guest, per stream; beyond it the terminal waits */
    MUX_ESCAPE = 1,   /* Ctrl-A */
};

struct mux;

struct mux_stream {
    struct chardev c;
    struct mux *mux;
    u8 *input; /* ring of MUX_INPUT bytes */
    size_t head, count;
};

struct mux {
    struct chardev *backend;
    struct mux_stream *stream[MUX_STREAMS];
    unsigned focus;
    bool escaped; /* the last byte was Ctrl-A */
};

static const struct chardev_ops mux_ops;

static void mux_print(struct mux *m, const char *text)
{
    chardev_write(m->backend, text, strlen(text));
}

static void mux_deliver(struct chardev *c)
{
    struct mux_stream *s = (struct mux_stream *)c;
    bool was_full = s->count == MUX_INPUT;
    for (;;) {
        size_t n = chardev_can_receive(c);
        u8 byte;
        if (!n || !s->count)
            break;
        byte = s->input[s->head];
        s->head = (s->head + 1) % MUX_INPUT;
        s->count--;
        chardev_receive(c, &byte, 1);
    }
    if (was_full && s->count < MUX_INPUT)
        chardev_accept_input(s->mux->backend);
}

static void mux_queue(struct mux *m, u8 byte)
{
    struct mux_stream *s = m->stream[m->focus];
    if (s->count == MUX_INPUT)
        return;
    s->input[(s->head + s->count++) % MUX_INPUT] = byte;
}

static void mux_help(struct mux *m)
{
    mux_print(m, "\r\n"
                 "C-a h    print this help\r\n"
                 "C-a x    exit the emulator\r\n"
                 "C-a b    send break (magic sysrq)\r\n"
                 "C-a c    switch between console and monitor\r\n"
                 "C-a C-a  send C-a\r\n");
}

static void mux_next(struct mux *m)
{
    for (unsigned i = 1; i <= MUX_STREAMS; i++) {
        unsigned n = (m->focus + i) % MUX_STREAMS;
        if (m->stream[n]) {
            chardev_mux_focus(&m->stream[n]->c);
            return;
        }
    }
}

static void mux_command(struct mux *m, u8 byte)
{
    struct chardev *c = &m->stream[m->focus]->c;
    switch (byte) {
    case 'h':
    case '?': mux_help(m); break;
    case 'x':
        if (c->owner.quit)
            c->owner.quit(c->owner.opaque);
        break;
    case 'b': chardev_event(c, CHARDEV_BREAK); break;
    case 'c': mux_next(m); break;
    case MUX_ESCAPE: mux_queue(m, byte); break;
    default: break;
    }
}

static size_t mux_can_receive(void *opaque)
{
    struct mux *m = opaque;
    return MUX_INPUT - m->stream[m->focus]->count;
}

static void mux_receive(void *opaque, const u8 *bytes, size_t count)
{
    struct mux *m = opaque;
    for (size_t i = 0; i < count; i++) {
        if (m->escaped) {
            m->escaped = false;
            mux_command(m, bytes[i]);
        } else if (bytes[i] == MUX_ESCAPE) {
            m->escaped = true;
        } else {
            mux_queue(m, bytes[i]);
        }
        mux_deliver(&m->stream[m->focus]->c);
    }
}

static void mux_event(void *opaque, enum chardev_event event)
{
    struct mux *m = opaque;
    for (unsigned i = 0; i < MUX_STREAMS; i++)
        if (m->stream[i])
            chardev_event(&m->stream[i]->c, event);
}

static void mux_room(void *opaque)
{
    struct mux *m = opaque;
    for (unsigned i = 0; i < MUX_STREAMS; i++)
        if (m->stream[i])
            chardev_flush(&m->stream[i]->c);
}

static struct mux_stream *mux_stream_create(struct mux *m, unsigned slot)
{
    struct mux_stream *s = chardev_new(sizeof *s, &mux_ops, chardev_name(m->backend));
    if (!s)
        return NULL;
    s->input = malloc(MUX_INPUT);
    if (!s->input) {
        free(s->c.name);
        free(s);
        return NULL;
    }
    s->mux = m;
    s->c.open = m->backend->open;
    m->stream[slot] = s;
    return s;
}

struct chardev *chardev_mux_create(struct chardev *backend)
{
    struct mux *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->backend = backend;
    struct mux_stream *s = mux_stream_create(m, 0);
    if (!s) {
        free(m);
        return NULL;
    }
    chardev_attach(backend, &(struct chardev_frontend){mux_can_receive, mux_receive, mux_event,
                                                       mux_room, m});
    return &s->c;
}

struct chardev *chardev_mux_add(struct chardev *c)
{
    if (c->ops != &mux_ops)
        return NULL;
    struct mux *m = ((struct mux_stream *)c)->mux;
    for (unsigned i = 0; i < MUX_STREAMS; i++) {
        if (m->stream[i])
            continue;
        struct mux_stream *s = mux_stream_create(m, i);
        if (s)
            s->c.owner = c->owner;
        return s ? &s->c : NULL;
    }
    return NULL;
}

void chardev_mux_focus(struct chardev *c)
{
    if (c->ops != &mux_ops)
        return;
    struct mux *m = ((struct mux_stream *)c)->mux;
    struct mux_stream *old = m->stream[m->focus];
    for (unsigned i = 0; i < MUX_STREAMS; i++)
        if (m->stream[i] && &m->stream[i]->c == c)
            m->focus = i;
    if (old && &old->c != c)
        chardev_event(&old->c, CHARDEV_FOCUS_OUT);
    if (!old || &old->c != c)
        chardev_event(c, CHARDEV_FOCUS_IN);
    mux_deliver(c);
}

static size_t mux_write(struct chardev *c, const u8 *bytes, size_t count)
{
    return chardev_write(((struct mux_stream *)c)->mux->backend, bytes, count);
}

/* The first stream alone speaks for the back-end, so that the main loop polls it once. */
static bool mux_is_first(const struct mux_stream *s)
{
    for (unsigned i = 0; i < MUX_STREAMS; i++)
        if (s->mux->stream[i])
            return s->mux->stream[i] == s;
    return false;
}

static unsigned mux_poll(struct chardev *c, struct pollfd *fds, unsigned max)
{
    struct mux_stream *s = (struct mux_stream *)c;
    return mux_is_first(s) ? chardev_poll(s->mux->backend, fds, max) : 0;
}

static void mux_ready(struct chardev *c, const struct pollfd *fds, unsigned count)
{
    struct mux_stream *s = (struct mux_stream *)c;
    if (mux_is_first(s))
        chardev_ready(s->mux->backend, fds, count);
}

static void mux_owner_changed(struct chardev *c)
{
    chardev_set_owner(((struct mux_stream *)c)->mux->backend, &c->owner);
}

static void mux_free(struct chardev *c)
{
    struct mux_stream *s = (struct mux_stream *)c;
    struct mux *m = s->mux;
    bool last = true;
    for (unsigned i = 0; i < MUX_STREAMS; i++) {
        if (m->stream[i] == s)
            m->stream[i] = NULL;
        else if (m->stream[i])
            last = false;
    }
    free(s->input);
    if (last) {
        chardev_attach(m->backend, NULL);
        chardev_free(m->backend);
        free(m);
    } else if (!m->stream[m->focus]) {
        mux_next(m);
    }
}

static const struct chardev_ops mux_ops = {
    .write = mux_write,
    .poll = mux_poll,
    .ready = mux_ready,
    .accept_input = mux_deliver,
    .owner_changed = mux_owner_changed,
    .free = mux_free,
};

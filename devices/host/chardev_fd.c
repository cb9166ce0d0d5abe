/* Character streams with host descriptors: terminal, file, UNIX socket, pseudo terminal.
 *
 * POSIX and Linux.  Left out: TCP, named pipes, real serial ports, passing descriptors.
 */
#include "devices/host/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "devices/host/chardev_int.h"

enum fd_kind { FD_STDIO, FD_FILE, FD_PTY, FD_SOCKET };

struct fd_stream {
    struct chardev c;
    enum fd_kind kind;
    int in, out;    /* -1: none (any more); equal for a socket */
    int listener;   /* server socket, -1: none */
    int hold;       /* our own end of the pseudo terminal, so that it never hangs up */
    bool own_out;   /* out is ours to close */
    char *unlink;   /* path to remove at the end */
};

/* The terminal belongs to the process, and so does the memory of how it was found. */
static struct {
    bool used;  /* a stdio stream is open */
    bool saved; /* found and raw hold something */
    struct termios found, raw;
} terminal;

void chardev_terminal_restore(void)
{
    if (terminal.saved)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.found);
}

void chardev_terminal_raw(void)
{
    if (terminal.saved)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal.raw);
}

/* ---- the host's side ---- */

static void peer_gone(struct fd_stream *s)
{
    bool was_terminal = s->kind == FD_STDIO && terminal.saved;
    if (s->kind == FD_SOCKET) {
        if (s->in >= 0)
            close(s->in);
        s->out = -1;
    }
    s->in = -1;
    if (s->kind == FD_SOCKET)
        chardev_drop_output(&s->c);
    chardev_event(&s->c, CHARDEV_CLOSED);
    chardev_wake(&s->c);
    if (was_terminal && s->c.owner.hangup)
        s->c.owner.hangup(s->c.owner.opaque, s->c.name);
}

static ssize_t write_some(struct fd_stream *s, const u8 *bytes, size_t count)
{
    ssize_t n;
    do {
        n = s->kind == FD_SOCKET ? send(s->out, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT)
                                 : write(s->out, bytes, count);
    } while (n < 0 && errno == EINTR);
    return n;
}

static size_t fd_write(struct chardev *c, const u8 *bytes, size_t count)
{
    struct fd_stream *s = (struct fd_stream *)c;
    size_t done = 0;
    while (done < count && s->out >= 0) {
        ssize_t n = write_some(s, bytes + done, count - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            /* Nobody may be looking at a pseudo terminal: the guest must not wait for them. */
            return s->kind == FD_PTY ? count : done;
        } else if (s->kind == FD_SOCKET) {
            /* The reader notices the hang-up; here the front-end may be in mid-write. */
            shutdown(s->out, SHUT_RDWR);
            return count;
        } else {
            if (s->own_out)
                close(s->out);
            s->out = -1;
        }
    }
    return count; /* without anybody to take it, output goes nowhere */
}

static unsigned fd_poll(struct chardev *c, struct pollfd *fds, unsigned max)
{
    struct fd_stream *s = (struct fd_stream *)c;
    unsigned n = 0;
    short in = s->in >= 0 && chardev_can_receive(c) ? POLLIN : 0;
    short out = s->out >= 0 && c->out_count ? POLLOUT : 0;
    if (s->in >= 0 && s->in == s->out) {
        if ((in | out) && n < max)
            fds[n++] = (struct pollfd){.fd = s->in, .events = (short)(in | out)};
    } else {
        if (in && n < max)
            fds[n++] = (struct pollfd){.fd = s->in, .events = in};
        if (out && n < max)
            fds[n++] = (struct pollfd){.fd = s->out, .events = out};
    }
    if (s->listener >= 0 && s->in < 0 && n < max)
        fds[n++] = (struct pollfd){.fd = s->listener, .events = POLLIN};
    return n;
}

static void read_input(struct fd_stream *s)
{
    u8 buf[1024];
    struct pollfd again = {.fd = s->in, .events = POLLIN};
    size_t want = chardev_can_receive(&s->c);
    if (!want)
        return;
    if (want > sizeof buf)
        want = sizeof buf;
    /* What the main loop saw may be gone by now, and the descriptor may block. */
    if (poll(&again, 1, 0) <= 0)
        return;
    ssize_t n = read(s->in, buf, want);
    if (n > 0)
        chardev_receive(&s->c, buf, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        peer_gone(s);
}

static bool accept_peer(struct fd_stream *s)
{
    int fd;
    do {
        fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return false;
    s->in = s->out = fd;
    chardev_event(&s->c, CHARDEV_OPENED);
    return true;
}

static void fd_ready(struct chardev *c, const struct pollfd *fds, unsigned count)
{
    struct fd_stream *s = (struct fd_stream *)c;
    for (unsigned i = 0; i < count; i++) {
        if (!fds[i].revents || fds[i].fd < 0)
            continue;
        if (fds[i].fd == s->out && (fds[i].revents & (POLLOUT | POLLERR)))
            chardev_flush(c);
        if (fds[i].fd == s->in && (fds[i].revents & (POLLIN | POLLHUP | POLLERR)))
            read_input(s);
        else if (fds[i].fd == s->listener && s->in < 0)
            accept_peer(s);
    }
}

static void fd_free(struct chardev *c)
{
    struct fd_stream *s = (struct fd_stream *)c;
    struct pollfd out = {.fd = s->out, .events = POLLOUT};
    /* The end of a log matters most; a reader that is slow gets it, one that is stuck does not. */
    while (c->out_count && s->out >= 0 && poll(&out, 1, 500) > 0) {
        size_t before = c->out_count;
        chardev_flush(c);
        if (c->out_count == before)
            break;
    }
    if (s->kind == FD_STDIO) {
        chardev_terminal_restore();
        terminal.saved = false;
        terminal.used = false;
    } else if (s->in >= 0) {
        close(s->in);
    }
    if (s->own_out && s->out >= 0 && s->out != s->in)
        close(s->out);
    if (s->listener >= 0)
        close(s->listener);
    if (s->hold >= 0)
        close(s->hold);
    if (s->unlink)
        unlink(s->unlink);
    free(s->unlink);
}

static const struct chardev_ops fd_ops = {
    .write = fd_write, .poll = fd_poll, .ready = fd_ready, .free = fd_free};

static struct fd_stream *fd_new(enum fd_kind kind, const char *prefix, const char *path)
{
    char *name = chardev_message("%s%s", prefix, path);
    struct fd_stream *s = name ? chardev_new(sizeof *s, &fd_ops, name) : NULL;
    free(name);
    if (!s)
        return NULL;
    s->kind = kind;
    s->in = s->out = s->listener = s->hold = -1;
    return s;
}

/* ---- opening ---- */

/* Raw input with the output processing left on, so that other messages look right.  With
 * `signals` Ctrl-C still ends the program; the multiplexer gives it to the guest. */
static void terminal_setup(bool signals)
{
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &terminal.found) < 0)
        return;
    struct termios *raw = &terminal.raw;
    *raw = terminal.found;
    raw->c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw->c_oflag |= OPOST;
    raw->c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        raw->c_lflag &= ~(tcflag_t)ISIG;
    raw->c_cflag = (raw->c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
    raw->c_cc[VMIN] = 1;
    raw->c_cc[VTIME] = 0;
    terminal.saved = true;
    chardev_terminal_raw();
}

/* A descriptor of our own for standard output that does not block; the flag must not leak into
 * the shell's.  A regular file keeps its shared offset and never blocks for long. */
static int stdout_open(bool *own)
{
    struct stat st;
    *own = false;
    if (fstat(STDOUT_FILENO, &st) < 0)
        return -1;
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0) {
            *own = true;
            return fd;
        }
    }
    return STDOUT_FILENO;
}

struct chardev *chardev_stdio_open(bool signals, char **error)
{
    static bool registered;
    if (terminal.used) {
        *error = chardev_message("stdio is already used by another character device");
        return NULL;
    }
    struct fd_stream *s = fd_new(FD_STDIO, "stdio", "");
    if (!s)
        return NULL;
    s->in = fcntl(STDIN_FILENO, F_GETFD) < 0 ? -1 : STDIN_FILENO;
    s->out = stdout_open(&s->own_out);
    s->c.open = true;
    terminal.used = true;
    terminal_setup(signals);
    if (!registered)
        atexit(chardev_terminal_restore);
    registered = true;
    return &s->c;
}

struct chardev *chardev_file_open(const char *path, char **error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        *error = chardev_message("cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    struct fd_stream *s = fd_new(FD_FILE, "file:", path);
    if (!s) {
        close(fd);
        return NULL;
    }
    s->out = fd;
    s->own_out = true;
    s->c.open = true;
    return &s->c;
}

struct chardev *chardev_pty_open(char **error)
{
    struct termios raw;
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    const char *path = fd >= 0 && grantpt(fd) == 0 && unlockpt(fd) == 0 ? ptsname(fd) : NULL;
    int slave = path ? open(path, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
    if (slave < 0 || tcgetattr(slave, &raw) < 0) {
        *error = chardev_message("cannot make a pseudo terminal: %s", strerror(errno));
        if (slave >= 0)
            close(slave);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    struct fd_stream *s = fd_new(FD_PTY, "pty:", path);
    if (!s) {
        close(slave);
        close(fd);
        return NULL;
    }
    s->in = s->out = fd;
    s->hold = slave;
    s->c.open = true;
    fprintf(stderr, "char device redirected to %s\n", path);
    return &s->c;
}

static int unix_listen(const struct sockaddr_un *address, int fd)
{
    struct stat st;
    /* Only what an earlier run left is in the way; a file that is no socket is somebody's. */
    if (lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(address->sun_path);
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 || listen(fd, 1) < 0)
        return -1;
    return 0;
}

struct chardev *chardev_unix_open(const char *path, bool server, bool wait, char **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        *error = chardev_message("unix:%s: the path is too long for a socket", path);
        return NULL;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed = fd < 0 || (server ? unix_listen(&address, fd)
                                   : connect(fd, (struct sockaddr *)&address, sizeof address));
    struct fd_stream *s = failed ? NULL : fd_new(FD_SOCKET, "unix:", path);
    if (!s) {
        *error = chardev_message("unix:%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    if (!server) {
        s->in = s->out = fd;
        s->c.open = true;
        return &s->c;
    }
    s->listener = fd;
    s->unlink = strdup(path);
    if (wait) {
        fprintf(stderr, "dragoman: waiting for a connection on unix:%s\n", path);
        if (!accept_peer(s)) {
            *error = chardev_message("unix:%s: %s", path, strerror(errno));
            chardev_free(&s->c);
            return NULL;
        }
    }
    return &s->c;
}

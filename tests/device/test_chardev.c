/* Character streams: escapes, back-pressure, files, sockets, pseudo terminals, parsing. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "devices/host/chardev.h"
#include "tests/device/io_fixture.h"

/* A front-end that keeps what it gets. */
struct sink {
    u8 bytes[65536];
    size_t count, limit;
    unsigned opened, closed, breaks, rooms, in, out;
};

static size_t sink_can(void *opaque)
{
    struct sink *s = opaque;
    return s->limit - s->count;
}

static void sink_receive(void *opaque, const u8 *bytes, size_t count)
{
    struct sink *s = opaque;
    ck_assert_uint_le(s->count + count, s->limit);
    memcpy(s->bytes + s->count, bytes, count);
    s->count += count;
}

static void sink_event(void *opaque, enum chardev_event e)
{
    struct sink *s = opaque;
    s->opened += e == CHARDEV_OPENED;
    s->closed += e == CHARDEV_CLOSED;
    s->breaks += e == CHARDEV_BREAK;
    s->in += e == CHARDEV_FOCUS_IN;
    s->out += e == CHARDEV_FOCUS_OUT;
}

static void sink_room(void *opaque)
{
    ((struct sink *)opaque)->rooms++;
}

static struct chardev_frontend sink_init(struct sink *s, size_t limit)
{
    memset(s, 0, sizeof *s);
    s->limit = limit;
    return (struct chardev_frontend){sink_can, sink_receive, sink_event, sink_room, s};
}

static unsigned wakes, quits, hangups;

static void on_wake(void *opaque)
{
    wakes++;
}

static void on_quit(void *opaque)
{
    quits++;
}

static void on_hangup(void *opaque, const char *name)
{
    hangups++;
}

static const struct chardev_owner owner = {on_wake, on_quit, on_hangup, NULL};

/* One turn of a main loop. */
static void turn(struct chardev *c, int ms)
{
    struct pollfd fds[4];
    unsigned n = chardev_poll(c, fds, 4);
    poll(fds, n, ms);
    chardev_ready(c, fds, n);
}

static struct chardev *must_parse(const char *spec)
{
    char *error = NULL;
    struct chardev *c = chardev_parse(spec, &error);
    ck_assert_msg(c != NULL, "%s: %s", spec, error);
    ck_assert_ptr_null(error);
    return c;
}

START_TEST(parsing)
{
    static const char *const bad[] = {
        "",           "stdiox",          "file:",         "file:/nonexistent/dir/file",
        "unix:",      "unix:,server",    "unix:/x,what",  "unix:/x,server=maybe",
        "mon:",       "mon:bogus",       "mon:mon:stdio", "unix:/nonexistent/dir/socket",
        "tcp:host:1",
    };
    char longer[300] = "unix:/";
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        char *error = NULL;
        ck_assert_msg(chardev_parse(bad[i], &error) == NULL, "%s was taken", bad[i]);
        ck_assert_ptr_nonnull(error);
        ck_assert_ptr_null(strchr(error, '\n'));
        free(error);
    }
    memset(longer + 6, 'x', 250);
    char *error = NULL;
    ck_assert_ptr_null(chardev_parse(longer, &error));
    ck_assert_ptr_nonnull(strstr(error, "too long"));
    free(error);
    struct chardev *c = must_parse("null");
    ck_assert_uint_eq(chardev_write(c, "abc", 3), 3);
    chardev_free(c);
    chardev_free(must_parse("none"));
    chardev_free(NULL);
}
END_TEST

START_TEST(mux_escapes)
{
    struct sink console, monitor;
    size_t n;
    struct chardev *memory = chardev_memory_create();
    struct chardev *a = chardev_mux_create(memory);
    struct chardev *b = chardev_mux_add(a);
    struct chardev_frontend fa = sink_init(&console, 1000), fb = sink_init(&monitor, 1000);
    quits = 0;
    chardev_set_owner(a, &owner);
    chardev_attach(a, &fa);
    chardev_attach(b, &fb);
    chardev_memory_input(memory, "ls\001\001x", 5);
    ck_assert_uint_eq(console.count, 4);
    ck_assert_mem_eq(console.bytes, "ls\001x", 4);
    chardev_memory_input(memory, "\001", 1); /* the two bytes may come apart */
    chardev_memory_input(memory, "c", 1);
    ck_assert_uint_eq(console.out, 1);
    ck_assert_uint_eq(monitor.in, 1);
    chardev_memory_input(memory, "info", 4);
    ck_assert_uint_eq(monitor.count, 4);
    ck_assert_uint_eq(console.count, 4);
    chardev_memory_input(memory, "\001cq", 3);
    ck_assert_uint_eq(console.count, 5);
    chardev_memory_input(memory, "\001b", 2);
    ck_assert_uint_eq(console.breaks, 1);
    ck_assert_uint_eq(monitor.breaks, 0);
    chardev_memory_clear(memory);
    chardev_memory_input(memory, "\001h", 2);
    chardev_memory_output(memory, &n);
    ck_assert_uint_gt(n, 50);
    ck_assert_uint_eq(quits, 0);
    chardev_memory_input(memory, "\001x", 2);
    ck_assert_uint_eq(quits, 1);
    ck_assert_uint_eq(console.count, 5);
    chardev_memory_input(memory, "\001z", 2); /* unknown: swallowed */
    ck_assert_uint_eq(console.count, 5);
    /* Both write to the one host stream. */
    chardev_memory_clear(memory);
    chardev_write(a, "A", 1);
    chardev_write(b, "B", 1);
    ck_assert_mem_eq(chardev_memory_output(memory, &n), "AB", 2);
    chardev_free(a);
    chardev_memory_input(memory, "m", 1); /* what is left has the keyboard */
    ck_assert_uint_eq(monitor.count, 5);
    chardev_free(b);
}
END_TEST

START_TEST(mux_busy_guest)
{
    struct sink console;
    u8 text[3000];
    struct chardev *memory = chardev_memory_create();
    struct chardev *a = chardev_mux_create(memory);
    struct chardev_frontend fe = sink_init(&console, 0);
    quits = 0;
    chardev_set_owner(a, &owner);
    chardev_attach(a, &fe);
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = (u8)('a' + i % 26);
    ck_assert_uint_eq(chardev_memory_input(memory, text, sizeof text), 0);
    /* A guest that reads nothing can still be left. */
    chardev_memory_input(memory, "\001x", 2);
    ck_assert_uint_eq(quits, 1);
    /* And what was typed comes in order when it reads at last. */
    console.limit = sizeof text;
    chardev_accept_input(a);
    ck_assert_uint_eq(console.count, sizeof text);
    ck_assert_mem_eq(console.bytes, text, sizeof text);
    /* More than the buffer holds stays with the host, and is not lost. */
    size_t rest = 0;
    for (unsigned i = 0; i < 3; i++)
        rest = chardev_memory_input(memory, text, sizeof text);
    ck_assert_uint_eq(rest, 3 * sizeof text - 4096);
    console.limit = 4 * sizeof text;
    chardev_accept_input(a);
    ck_assert_uint_eq(console.count, 4 * sizeof text);
    ck_assert_mem_eq(console.bytes + 3 * sizeof text, text, sizeof text);
    chardev_free(a);
}
END_TEST

START_TEST(back_pressure)
{
    struct sink sink;
    u8 chunk[1000];
    size_t n, sent = 0;
    struct chardev *c = chardev_memory_create();
    struct chardev_frontend fe = sink_init(&sink, 0);
    wakes = 0;
    chardev_attach(c, &fe);
    chardev_set_owner(c, &owner);
    chardev_memory_accept(c, 10);
    for (unsigned i = 0; i < sizeof chunk; i++)
        chunk[i] = (u8)(i % 251);
    while ((n = chardev_write(c, chunk + sent % 251, 500)) == 500)
        sent += n;
    sent += n;
    ck_assert_uint_eq(sent, 10 + 65536);
    ck_assert_uint_eq(chardev_room(c), 0);
    ck_assert_uint_eq(wakes, 1);
    ck_assert_uint_eq(sink.rooms, 0);
    chardev_memory_accept(c, 100);
    ck_assert_uint_eq(sink.rooms, 0); /* not worth it yet */
    chardev_memory_accept(c, (size_t)-1);
    ck_assert_uint_eq(sink.rooms, 1);
    const u8 *out = chardev_memory_output(c, &n);
    ck_assert_uint_eq(n, sent);
    for (size_t i = 0; i < n; i++)
        ck_assert_uint_eq(out[i], i % 251);
    chardev_free(c);
}
END_TEST

START_TEST(file)
{
    char path[] = "/tmp/dragoman-test-XXXXXX", spec[64], text[32];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    snprintf(spec, sizeof spec, "file:%s", path);
    struct chardev *c = must_parse(spec);
    ck_assert_uint_eq(chardev_write(c, "one\n", 4), 4);
    chardev_write(c, "two\n", 4);
    ck_assert_int_eq(read(fd, text, sizeof text), 8); /* there without waiting for the end */
    ck_assert_mem_eq(text, "one\ntwo\n", 8);
    chardev_free(c);
    c = must_parse(spec); /* starts anew */
    chardev_free(c);
    struct stat st;
    fstat(fd, &st);
    ck_assert_int_eq(st.st_size, 0);
    close(fd);
    unlink(path);
}
END_TEST

static int dial(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(a.sun_path, path);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

START_TEST(server_socket)
{
    static const char *const options[] = {"server,nowait", "server=on,wait=off"};
    for (unsigned i = 0; i < 2; i++) {
        char path[64], spec[128], text[16];
        struct sink sink;
        struct chardev_frontend fe = sink_init(&sink, 5);
        snprintf(path, sizeof path, "/tmp/dragoman-test-%d", (int)getpid());
        snprintf(spec, sizeof spec, "unix:%s,%s", path, options[i]);
        struct chardev *c = must_parse(spec);
        chardev_attach(c, &fe);
        ck_assert_uint_eq(sink.opened, 0);
        ck_assert_uint_eq(chardev_write(c, "lost", 4), 4); /* nobody there: never in the way */
        int fd = dial(path);
        ck_assert_int_ge(fd, 0);
        turn(c, 1000);
        ck_assert_uint_eq(sink.opened, 1);
        chardev_write(c, "hi", 2);
        ck_assert_int_eq(read(fd, text, sizeof text), 2);
        ck_assert_int_eq(write(fd, "1234567", 7), 7);
        turn(c, 1000);
        ck_assert_uint_eq(sink.count, 5); /* as much as it takes */
        sink.limit = 100;
        turn(c, 1000);
        ck_assert_uint_eq(sink.count, 7);
        /* A peer that does not read: the buffer fills, nothing blocks. */
        static u8 zeros[100000];
        while (chardev_write(c, zeros, sizeof zeros) == sizeof zeros)
            ;
        close(fd);
        for (unsigned n = 0; n < 5 && !sink.closed; n++)
            turn(c, 100);
        ck_assert_uint_eq(sink.closed, 1);
        ck_assert_uint_eq(sink.rooms, 1);
        /* The next one. */
        fd = dial(path);
        turn(c, 1000);
        ck_assert_uint_eq(sink.opened, 2);
        chardev_write(c, "x", 1);
        ck_assert_int_eq(read(fd, text, sizeof text), 1);
        close(fd);
        chardev_write(c, "y", 1); /* no SIGPIPE */
        chardev_free(c);
        ck_assert_int_lt(dial(path), 0);
        ck_assert_int_ne(access(path, F_OK), 0);
    }
}
END_TEST

START_TEST(client_socket)
{
    char path[64], spec[96], text[8];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(path, sizeof path, "/tmp/dragoman-test-c%d", (int)getpid());
    snprintf(spec, sizeof spec, "unix:%s", path);
    strcpy(a.sun_path, path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    listen(listener, 1);
    struct sink sink;
    struct chardev_frontend fe = sink_init(&sink, 100);
    struct chardev *c = must_parse(spec);
    int fd = accept(listener, NULL, NULL);
    chardev_attach(c, &fe);
    ck_assert_uint_eq(sink.opened, 1);
    chardev_write(c, "abc", 3);
    ck_assert_int_eq(read(fd, text, sizeof text), 3);
    close(fd);
    turn(c, 1000);
    ck_assert_uint_eq(sink.closed, 1);
    struct pollfd fds[4];
    ck_assert_uint_eq(chardev_poll(c, fds, 4), 0); /* no busy loop on a dead socket */
    chardev_free(c);
    close(listener);
    unlink(path);
}
END_TEST

START_TEST(pseudo_terminal)
{
    char text[16];
    struct sink sink;
    struct chardev_frontend fe = sink_init(&sink, 100);
    struct chardev *c = must_parse("pty");
    ck_assert_int_eq(strncmp(chardev_name(c), "pty:/dev/", 9), 0);
    chardev_attach(c, &fe);
    /* Without a reader output is dropped and never stalls the guest. */
    static u8 zeros[100000];
    ck_assert_uint_eq(chardev_write(c, zeros, sizeof zeros), sizeof zeros);
    int fd = open(chardev_name(c) + 4, O_RDWR | O_NOCTTY);
    ck_assert_int_ge(fd, 0);
    tcflush(fd, TCIFLUSH);
    ck_assert_int_eq(write(fd, "k", 1), 1);
    turn(c, 1000);
    ck_assert_uint_eq(sink.count, 1);
    ck_assert_uint_eq(chardev_write(c, "out", 3), 3);
    ck_assert_int_eq(read(fd, text, 3), 3);
    close(fd);
    chardev_free(c);
}
END_TEST

/* In a child on a terminal of its own: raw while open, restored after. */
static int terminal_child(const char *spec, bool expect_isig)
{
    struct termios before, during, after;
    struct sink sink;
    char *error;
    tcgetattr(0, &before);
    struct chardev *c = chardev_parse(spec, &error);
    if (!c)
        return 1;
    if (chardev_parse("stdio", &error)) /* once only */
        return 2;
    free(error);
    tcgetattr(0, &during);
    if (during.c_lflag & (ICANON | ECHO) || !(during.c_lflag & ISIG) == expect_isig)
        return 3;
    struct chardev_frontend fe = sink_init(&sink, 100);
    chardev_attach(c, &fe);
    chardev_set_owner(c, &owner);
    chardev_write(c, "ready\n", 6);
    while (!sink.count)
        turn(c, 1000);
    if (sink.bytes[0] != '\r') /* as typed, no translation */
        return 4;
    if (fcntl(1, F_GETFL) & O_NONBLOCK) /* nothing leaks to the other users of the terminal */
        return 5;
    chardev_free(c);
    tcgetattr(0, &after);
    if (memcmp(&before, &after, sizeof before) != 0)
        return 6;
    return 0;
}

START_TEST(terminal)
{
    static const char *const specs[] = {"stdio", "mon:stdio"};
    for (unsigned i = 0; i < 2; i++) {
        int master, status;
        char text[64];
        pid_t pid = forkpty(&master, NULL, NULL, NULL);
        ck_assert_int_ge(pid, 0);
        if (pid == 0)
            _exit(terminal_child(specs[i], i == 0));
        ck_assert_int_gt(read(master, text, sizeof text), 0);
        ck_assert_int_eq(write(master, "\r", 1), 1);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFEXITED(status));
        ck_assert_int_eq(WEXITSTATUS(status), 0);
        close(master);
    }
}
END_TEST

/* What a full pipe left in the buffer reaches the reader when the stream closes. */
START_TEST(late_reader)
{
    int fds[2], full[2], status;
    static u8 zeros[100000];
    size_t total = 0;
    ssize_t n;
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(pipe(full), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char *error;
        dup2(fds[1], 1);
        close(fds[0]);
        close(fds[1]);
        close(full[0]);
        struct chardev *c = chardev_parse("stdio", &error);
        n = (ssize_t)chardev_write(c, zeros, sizeof zeros); /* the pipe takes 64 KiB, no more */
        bool waits = chardev_room(c) < 65536;
        close(full[1]);
        chardev_free(c);
        _exit(n == sizeof zeros && waits ? 0 : 1);
    }
    close(fds[1]);
    close(full[1]);
    ck_assert_int_eq(read(full[0], zeros, 1), 0); /* until the child closes it */
    close(full[0]);
    while ((n = read(fds[0], zeros, sizeof zeros)) > 0)
        total += (size_t)n;
    close(fds[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_uint_eq(total, sizeof zeros);
}
END_TEST

static int hangup_child(void)
{
    struct sink sink;
    char *error;
    signal(SIGHUP, SIG_IGN);
    struct chardev *c = chardev_parse("mon:stdio", &error);
    struct chardev_frontend fe = sink_init(&sink, 100);
    chardev_attach(c, &fe);
    chardev_set_owner(c, &owner);
    chardev_write(c, "ready\n", 6);
    for (unsigned i = 0; i < 50 && !hangups; i++)
        turn(c, 100);
    for (unsigned i = 0; i < 1000; i++) /* output to a terminal that has gone does no harm */
        chardev_write(c, "zzzz", 4);
    struct pollfd fds[4];
    bool quiet = chardev_poll(c, fds, 4) == 0;
    chardev_free(c);
    return hangups == 1 && sink.closed == 1 && quiet ? 0 : 1;
}

START_TEST(terminal_closed)
{
    int master, status;
    char text[64];
    pid_t pid = forkpty(&master, NULL, NULL, NULL);
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        _exit(hangup_child());
    ck_assert_int_gt(read(master, text, sizeof text), 0);
    close(master);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST

RUN_TESTS("chardev", parsing, mux_escapes, mux_busy_guest, back_pressure, file, server_socket,
          client_socket, late_reader, pseudo_terminal, terminal, terminal_closed)

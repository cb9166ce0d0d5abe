/* The monitor's terminal side: line editing, history, output that waits for a slow reader.
 *
 * Lines are executed from the main loop without the machine lock, because a command that looks
 * at vCPUs stands them still first.  Left out: completion, multi-line commands.
 */
#include "frontends/monitor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "devices/board/pc.h"
#include "devices/host/chardev.h"
#include "frontends/typist.h"

#define LINE_MAX_BYTES 256
#define HISTORY 16

static const char prompt[] = "(dragoman) ";

struct monitor {
    struct pc *pc;
    struct chardev *chardev;
    unsigned cpu;
    struct typist typist;

    char line[LINE_MAX_BYTES];
    unsigned length;
    bool shared;  /* multiplexed with a guest's port */
    bool greeted;
    bool busy; /* a line waits for its execution; input waits for it */
    u8 escape; /* 1 after ESC, 2 after ESC [ */
    char history[HISTORY][LINE_MAX_BYTES];
    unsigned history_count, history_at;

    char *out; /* not yet taken by the stream */
    size_t out_count, out_size;
};

/* ---- output ---- */

static void flush(struct monitor *mon)
{
    size_t done = 0;
    while (done < mon->out_count) {
        size_t n = chardev_write(mon->chardev, mon->out + done, mon->out_count - done);
        if (!n)
            break;
        done += n;
    }
    memmove(mon->out, mon->out + done, mon->out_count - done);
    mon->out_count -= done;
}

static void put_raw(struct monitor *mon, const char *text, size_t n)
{
    if (mon->out_count + n > mon->out_size) {
        size_t size = (mon->out_count + n) * 2;
        char *p = realloc(mon->out, size);
        if (!p)
            return;
        mon->out = p;
        mon->out_size = size;
    }
    memcpy(mon->out + mon->out_count, text, n);
    mon->out_count += n;
}

static void put(struct monitor *mon, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            put_raw(mon, "\r", 1);
        put_raw(mon, text, 1);
    }
}

static void monitor_print(void *opaque, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void monitor_print(void *opaque, const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    put(opaque, text);
    free(text);
}

/* ---- executing ---- */

static void execute(void *opaque)
{
    struct monitor *mon = opaque;
    struct machine *m = &mon->pc->machine;
    struct monitor_context context = {mon->pc, mon->cpu, &mon->typist, monitor_print, mon};
    machine_freeze(m);
    monitor_command(&context, mon->line);
    mon->cpu = context.cpu;
    mon->length = 0;
    mon->busy = false;
    put(mon, prompt);
    flush(mon);
    chardev_accept_input(mon->chardev);
    machine_thaw(m);
}

static void remember(struct monitor *mon)
{
    unsigned last = (mon->history_count - 1) % HISTORY;
    if (mon->length && !(mon->history_count && !strcmp(mon->history[last], mon->line)))
        strcpy(mon->history[mon->history_count++ % HISTORY], mon->line);
    mon->history_at = mon->history_count;
}

static void enter(struct monitor *mon)
{
    put(mon, "\n");
    mon->line[mon->length] = 0;
    remember(mon);
    if (machine_defer(&mon->pc->machine, execute, mon)) {
        mon->busy = true;
        return;
    }
    put(mon, "busy, try again\n");
    put(mon, prompt);
    mon->length = 0;
}

/* ---- editing ---- */

static void erase_line(struct monitor *mon)
{
    for (; mon->length; mon->length--)
        put(mon, "\b \b");
}

static void recall(struct monitor *mon, int step)
{
    unsigned oldest = mon->history_count > HISTORY ? mon->history_count - HISTORY : 0;
    unsigned at = mon->history_at + (unsigned)step;
    if (at < oldest || at > mon->history_count || (step < 0 && mon->history_at == 0))
        return;
    mon->history_at = at;
    erase_line(mon);
    if (at == mon->history_count)
        return;
    strcpy(mon->line, mon->history[at % HISTORY]);
    mon->length = (unsigned)strlen(mon->line);
    put(mon, mon->line);
}

static bool escape_sequence(struct monitor *mon, u8 byte)
{
    if (mon->escape == 1) {
        mon->escape = byte == '[' || byte == 'O' ? 2 : 0;
        return true;
    }
    if (mon->escape == 2) {
        if (byte == 'A')
            recall(mon, -1);
        else if (byte == 'B')
            recall(mon, 1);
        if (byte >= 0x40)
            mon->escape = 0;
        return true;
    }
    return false;
}

static void key(struct monitor *mon, u8 byte)
{
    if (escape_sequence(mon, byte))
        return;
    switch (byte) {
    case 27: mon->escape = 1; break;
    case '\r':
    case '\n': enter(mon); break;
    case 8:
    case 127:
        if (mon->length) {
            mon->length--;
            put(mon, "\b \b");
        }
        break;
    case 'U' & 31: erase_line(mon); break;
    case 'P' & 31: recall(mon, -1); break;
    case 'N' & 31: recall(mon, 1); break;
    case 'C' & 31:
        put(mon, "^C\n");
        put(mon, prompt);
        mon->length = 0;
        break;
    default:
        if (byte >= 32 && byte < 127 && mon->length < LINE_MAX_BYTES - 1) {
            mon->line[mon->length++] = (char)byte;
            put_raw(mon, (const char *)&byte, 1);
        }
        break;
    }
}

/* ---- the stream's front-end ---- */

/* One at a time: what follows a line end waits until the line has been executed. */
static size_t can_receive(void *opaque)
{
    return ((struct monitor *)opaque)->busy ? 0 : 1;
}

static void receive(void *opaque, const u8 *bytes, size_t count)
{
    struct monitor *mon = opaque;
    for (size_t i = 0; i < count; i++)
        key(mon, bytes[i]);
    flush(mon);
}

static void greet(struct monitor *mon)
{
    if (!mon->greeted)
        put(mon, "Dragoman monitor - type 'help' for the commands\n");
    mon->greeted = true;
    put(mon, prompt);
    put_raw(mon, mon->line, mon->length);
    flush(mon);
}

static void event(void *opaque, enum chardev_event e)
{
    struct monitor *mon = opaque;
    if (e == CHARDEV_FOCUS_IN) {
        greet(mon);
    } else if (e == CHARDEV_OPENED) {
        mon->length = 0;
        mon->out_count = 0;
        mon->greeted = false;
        if (!mon->shared)
            greet(mon);
    }
}

static void room(void *opaque)
{
    flush(opaque);
}

struct monitor *monitor_create(struct pc *pc, struct chardev *c, bool shared)
{
    struct monitor *mon = calloc(1, sizeof *mon);
    if (!mon)
        return NULL;
    mon->pc = pc;
    mon->chardev = c;
    mon->shared = shared;
    typist_init(&mon->typist, pc);
    struct chardev_frontend fe = {can_receive, receive, event, room, mon};
    chardev_attach(c, &fe);
    return mon;
}

void monitor_free(struct monitor *mon)
{
    if (!mon)
        return;
    chardev_attach(mon->chardev, NULL);
    typist_stop(&mon->typist);
    free(mon->out);
    free(mon);
}

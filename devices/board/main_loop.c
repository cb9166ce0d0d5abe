/* The main loop: character streams, timers of the virtual clock, host signals, and what vCPUs and
 * the monitor ask for.
 *
 * Linux (eventfd, signalfd, ppoll).  Touches no chip and no guest state.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/cpu.h"
#include "devices/board/machine.h"
#include "devices/host/chardev.h"

#define POLL_PER_CHARDEV 4u
#define DRAIN_NS (2 * NS_PER_SEC)

/* ---- waking and asking ---- */

void machine_wake(struct machine *m)
{
    u64 one = 1;
    ssize_t n = write(m->wake_fd, &one, sizeof one);
    (void)n; /* full means that it is awake anyway */
}

void machine_event(struct machine *m, u32 events)
{
    /* A guest that resets the machine or ends it is not to go on until this thread has woken. */
    if (events & (MACHINE_RESET | MACHINE_POWER_OFF | MACHINE_QUIT | MACHINE_SUSPEND))
        for (unsigned i = 0; i < m->cpu_count; i++)
            cpu_pause_soon(m->cpu[i]);
    atomic_fetch_or(&m->events, events);
    machine_wake(m);
}

void machine_exit(struct machine *m, int status)
{
    bool expected = false;
    if (atomic_compare_exchange_strong(&m->has_status, &expected, true))
        atomic_store(&m->status, status);
    machine_event(m, MACHINE_QUIT);
}

bool machine_defer(struct machine *m, void (*fn)(void *opaque), void *opaque)
{
    if (m->deferred_count == ARRAY_SIZE(m->deferred))
        return false;
    m->deferred[m->deferred_count++] = (struct machine_call){fn, opaque};
    machine_wake(m);
    return true;
}

/* A timer has become the first one; the loop needs to know only if it sleeps for longer. */
static void deadline_changed(void *opaque)
{
    struct machine *m = opaque;
    if (m->running && !m->config.counted && clock_deadline(&m->clock) < m->sleep_deadline)
        machine_wake(m);
}

/* ---- character streams ---- */

static void stream_wake(void *opaque)
{
    struct machine *m = opaque;
    if (m->sleep_deadline)
        machine_wake(m);
}

static void stream_quit(void *opaque)
{
    machine_exit(opaque, 0);
}

static void stream_hangup(void *opaque, const char *name)
{
    error_report("%s: the terminal has been closed", name);
    machine_exit(opaque, 1);
}

bool machine_add_chardev(struct machine *m, struct chardev *c)
{
    struct chardev_owner owner = {stream_wake, stream_quit, stream_hangup, m};
    if (m->chardev_count == MACHINE_CHARDEVS) {
        chardev_free(c);
        return false;
    }
    m->chardev[m->chardev_count++] = c;
    chardev_set_owner(c, &owner);
    return true;
}

/* ---- signals ---- */

static void take_signals(struct machine *m)
{
    struct signalfd_siginfo info;
    while (read(m->signal_fd, &info, sizeof info) == sizeof info) {
        switch (info.ssi_signo) {
        case SIGCONT: chardev_terminal_raw(); break;
        case SIGHUP:
            error_report("the terminal has been closed (hang-up signal)");
            machine_exit(m, 1);
            break;
        default:
            chardev_terminal_restore();
            error_report("terminating on signal %u", info.ssi_signo);
            machine_exit(m, 0);
            break;
        }
    }
}

bool main_loop_init(struct machine *m, char **error)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCONT);
    /* Threads made later inherit the mask, so that the descriptor gets all of them. */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    m->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    m->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (m->wake_fd < 0 || m->signal_fd < 0) {
        *error = error_text("the host refuses an event descriptor: %s", strerror(errno));
        return false;
    }
    m->clock.deadline_changed = deadline_changed;
    m->clock.opaque = m;
    return true;
}

void main_loop_free(struct machine *m)
{
    if (m->wake_fd >= 0)
        close(m->wake_fd);
    if (m->signal_fd >= 0)
        close(m->signal_fd);
    m->wake_fd = m->signal_fd = -1;
}

/* ---- the loop ---- */

struct poll_set {
    struct pollfd fds[2 + MACHINE_CHARDEVS * POLL_PER_CHARDEV];
    unsigned used;
    unsigned first[MACHINE_CHARDEVS], count[MACHINE_CHARDEVS];
};

static void poll_set_fill(struct machine *m, struct poll_set *p)
{
    p->used = 0;
    p->fds[p->used++] = (struct pollfd){.fd = m->wake_fd, .events = POLLIN};
    p->fds[p->used++] = (struct pollfd){.fd = m->signal_fd, .events = POLLIN};
    for (unsigned i = 0; i < m->chardev_count; i++) {
        p->first[i] = p->used;
        p->count[i] = chardev_poll(m->chardev[i], p->fds + p->used, POLL_PER_CHARDEV);
        p->used += p->count[i];
    }
}

/* Sleeps until a descriptor is ready or virtual time has reached `deadline`. */
static void wait(struct machine *m, struct poll_set *p, u64 deadline)
{
    struct timespec ts, *timeout = NULL;
    if (deadline != CLOCK_NEVER) {
        u64 now = clock_now(&m->clock);
        u64 ns = deadline > now ? deadline - now : 0;
        ts = (struct timespec){(time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC)};
        timeout = &ts;
    }
    if (ppoll(p->fds, p->used, timeout, NULL) < 0)
        for (unsigned i = 0; i < p->used; i++)
            p->fds[i].revents = 0;
    if (p->fds[0].revents) {
        u64 count;
        ssize_t n = read(m->wake_fd, &count, sizeof count);
        (void)n; /* it was ready; how often somebody called does not matter */
    }
}

static void run_deferred(struct machine *m)
{
    for (;;) {
        struct machine_call call = {NULL, NULL};
        bus_lock(m->bus);
        if (m->deferred_count) {
            call = m->deferred[0];
            m->deferred_count--;
            memmove(m->deferred, m->deferred + 1, m->deferred_count * sizeof *m->deferred);
        }
        bus_unlock(m->bus);
        if (!call.fn)
            return;
        call.fn(call.opaque);
    }
}

static void run_events(struct machine *m)
{
    u32 events = atomic_exchange(&m->events, 0);
    if (events & MACHINE_POWER_OFF) {
        if (m->config.no_shutdown)
            machine_set_running(m, false);
        else
            machine_exit(m, 0);
    }
    /* Before a reset, which ends it: chips that could wake the machine forget that it sleeps. */
    if (events & MACHINE_SUSPEND)
        machine_suspend(m);
    if (events & MACHINE_RESET) {
        if (m->config.no_reboot)
            machine_exit(m, 0);
        else
            machine_reset(m);
    }
    if ((events & MACHINE_POWER_DOWN) && m->power_button) {
        machine_freeze(m);
        m->power_button(m->board);
        machine_thaw(m);
    }
    if (events & MACHINE_WAKE)
        machine_wake_up(m);
    if (events & MACHINE_STOP)
        machine_set_running(m, false);
    if (events & MACHINE_CONT)
        machine_set_running(m, true);
    if (events & MACHINE_QUIT)
        atomic_store(&m->quit, true);
}

/* What has happened at the descriptors reaches the chips.  In counted mode they see the time, which
 * stands still only while the vCPU does. */
static void serve_streams(struct machine *m, struct poll_set *p)
{
    bool still = false;
    for (unsigned i = 2; m->config.counted && i < p->used; i++)
        still |= p->fds[i].revents != 0;
    if (still)
        machine_freeze(m);
    else
        bus_lock(m->bus);
    m->sleep_deadline = 0;
    for (unsigned i = 0; i < m->chardev_count; i++)
        chardev_ready(m->chardev[i], p->fds + p->first[i], p->count[i]);
    if (still)
        machine_thaw(m);
    else
        bus_unlock(m->bus);
}

void main_loop(struct machine *m)
{
    struct poll_set p;
    /* The default slack of 50 microseconds would be added to each guest timer. */
    prctl(PR_SET_TIMERSLACK, 1ul);
    while (!atomic_load(&m->quit)) {
        bus_lock(m->bus);
        bool timers = m->running && !m->config.counted; /* else they are not this thread's */
        if (timers)
            clock_run_due(&m->clock);
        poll_set_fill(m, &p);
        u64 deadline = timers ? clock_deadline(&m->clock) : CLOCK_NEVER;
        m->sleep_deadline = deadline;
        bus_unlock(m->bus);

        wait(m, &p, deadline);

        serve_streams(m, &p);
        if (p.fds[1].revents)
            take_signals(m);
        run_deferred(m);
        run_events(m);
    }
}

/* Gives slow readers of the guest's last words a moment. */
void main_loop_drain(struct machine *m)
{
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        struct poll_set p;
        bool output = false;
        if (m->wake_fd < 0)
            return;
        poll_set_fill(m, &p);
        for (unsigned i = 2; i < p.used; i++) {
            p.fds[i].events &= POLLOUT;
            output |= p.fds[i].events != 0;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
        u64 ns = (u64)(now.tv_sec - start.tv_sec) * NS_PER_SEC + (u64)now.tv_nsec -
                 (u64)start.tv_nsec;
        if (!output || ns > DRAIN_NS)
            return;
        struct timespec ts = {0, 100000000};
        if (ppoll(p.fds + 2, p.used - 2, &ts, NULL) < 0)
            return;
        for (unsigned i = 0; i < m->chardev_count; i++)
            chardev_ready(m->chardev[i], p.fds + p.first[i], p.count[i]);
    }
}

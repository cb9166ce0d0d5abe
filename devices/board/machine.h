/* A machine's life: vCPU threads, main loop, reset, run and stop, the list of its chips.
 *
 * What the machine consists of is the board's business (pc.c).  Everything here but
 * machine_event, machine_exit and machine_wake belongs to the thread that called machine_run.
 */
#ifndef DRAGOMAN_DEVICES_BOARD_MACHINE_H
#define DRAGOMAN_DEVICES_BOARD_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "cpu/accel.h"
#include "cpu/count.h"
#include "devices/device.h"
#include "mmu/bus.h"

struct chardev;
struct cpu;
struct cpu_model;

#define MACHINE_CPUS 64u     /* vCPUs at most */
#define MACHINE_DEVICES 160u /* chips, with one local APIC per vCPU */
#define MACHINE_CHARDEVS 8u

struct machine_config {
    const struct accel *accel;
    struct accel_options accel_options;
    const struct cpu_model *model;
    unsigned cpus; /* 1 to MACHINE_CPUS; 1 in counted mode */
    bool counted;  /* virtual time follows instructions, as `count` says; the board fills in the
                    * callbacks */
    struct count_config count;
    bool no_reboot;   /* a reset ends the process instead */
    bool no_shutdown; /* a power-off stops the machine instead of ending the process */
    bool paused;      /* -S: waits for `cont` */
};

/* What anybody can ask of the main loop. */
enum machine_event {
    MACHINE_RESET = 1 << 0,
    MACHINE_POWER_OFF = 1 << 1,  /* the guest did (S5) */
    MACHINE_POWER_DOWN = 1 << 2, /* somebody pressed the button */
    MACHINE_STOP = 1 << 3,
    MACHINE_CONT = 1 << 4,
    MACHINE_QUIT = 1 << 5,
    MACHINE_SUSPEND = 1 << 6, /* the guest did (S3): vCPUs stand still, chips and time go on */
    MACHINE_WAKE = 1 << 7,    /* out of S3, through a reset that leaves RAM alone */
};

struct machine_device {
    const struct device_class *class;
    void *state;
    char name[24]; /* "lapic 0" */
};

struct machine_call {
    void (*fn)(void *opaque);
    void *opaque;
};

struct machine {
    struct machine_config config;
    struct bus *bus;
    struct clock clock;
    void *engine;
    struct cpu *cpu[MACHINE_CPUS];
    unsigned cpu_count;

    struct machine_device device[MACHINE_DEVICES];
    unsigned device_count;
    struct chardev *chardev[MACHINE_CHARDEVS];
    unsigned chardev_count;

    /* The board's part of a reset, after all chips, and its power button.  Machine lock held. */
    void (*board_reset)(void *board);
    void (*power_button)(void *board);
    /* Before the reset that ends S3. */
    void (*board_wake)(void *board);
    void *board;

    /* ---- private to machine.c and main_loop.c ---- */
    pthread_t thread[MACHINE_CPUS];
    unsigned threads; /* started; under the machine lock once they run */
    bool running;     /* vCPUs may execute and the clock goes */
    bool suspended;   /* S3: the vCPUs may not */
    _Atomic bool quit;
    _Atomic u32 events;
    _Atomic int status;
    _Atomic bool has_status;
    int wake_fd, signal_fd;
    u64 sleep_deadline; /* what the main loop sleeps for; 0: it is awake.  Machine lock */
    struct machine_call deferred[4];
    unsigned deferred_count; /* under the machine lock */
};

/* Makes bus, clock, engine and vCPUs; no chips yet.  False with *error (malloced, one line). */
bool machine_init(struct machine *m, const struct machine_config *config, char **error);
/* Ends the vCPU threads, sends what character streams still hold, frees everything. */
void machine_destroy(struct machine *m);

/* Lists a chip for reset and `info qtree`; its state stays the caller's. */
void machine_add_device(struct machine *m, const struct device_class *class, void *state,
                        const char *name);
/* Takes over a stream: the main loop serves it, machine_destroy frees it.  False when there are
 * too many; it is freed then. */
bool machine_add_chardev(struct machine *m, struct chardev *c);

/* Resets chips and vCPUs, starts the threads and runs the main loop until somebody ends it;
 * returns the process's exit status. */
int machine_run(struct machine *m);

/* From any thread, any lock held. */
void machine_event(struct machine *m, u32 events);
void machine_exit(struct machine *m, int status); /* the first status counts */
void machine_wake(struct machine *m);

/* Calls fn from the main loop soon, without the machine lock.  Machine lock held.  False: too
 * many wait already. */
bool machine_defer(struct machine *m, void (*fn)(void *opaque), void *opaque);

/* For what looks at vCPUs from a deferred call: stands them still and takes the machine lock, and
 * the way back. */
void machine_freeze(struct machine *m);
void machine_thaw(struct machine *m);
bool machine_running(const struct machine *m);
/* Nanoseconds that the host has given a vCPU's thread so far.  Machine lock held. */
u64 machine_cpu_ns(const struct machine *m, unsigned cpu);
/* In S3. */
bool machine_suspended(const struct machine *m);

/* ---- between machine.c and main_loop.c ---- */
bool main_loop_init(struct machine *m, char **error);
void main_loop_free(struct machine *m);
void main_loop(struct machine *m);
void main_loop_drain(struct machine *m);
void machine_set_running(struct machine *m, bool running);
void machine_reset(struct machine *m);
/* Into S3: vCPUs stand still until machine_wake_up (board_wake and a reset) or another reset. */
void machine_suspend(struct machine *m);
void machine_wake_up(struct machine *m);

#endif

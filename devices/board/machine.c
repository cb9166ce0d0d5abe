/* A machine's life: creation, vCPU threads, reset, run and stop.
 *
 * Knows the vCPUs and the engine through their interfaces, and chips as device_class only.
 * Left out: snapshots, hot-plug.
 */
#include "devices/board/machine.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cpu/cpu.h"
#include "devices/host/chardev.h"

/* ---- creation ---- */

static void triple_fault(void *opaque)
{
    machine_event(opaque, MACHINE_RESET);
}

static bool add_cpu(struct machine *m, char **error)
{
    struct cpu_config config = {.index = m->cpu_count,
                                .bus = m->bus,
                                .clock = &m->clock,
                                .model = m->config.model,
                                .count = m->config.counted ? &m->config.count : NULL};
    struct cpu *cpu = cpu_create(&config);
    if (!cpu) {
        *error = error_text("the host has no memory for vCPU %u", config.index);
        return false;
    }
    if (!m->config.accel->attach(m->engine, cpu)) {
        *error = error_text("accelerator %s: no memory for vCPU %u", m->config.accel->name,
                            config.index);
        cpu_destroy(cpu);
        return false;
    }
    cpu->request_reset = triple_fault;
    cpu->reset_opaque = m;
    cpu->no_reboot_on_triple = m->config.no_reboot;
    m->cpu[m->cpu_count++] = cpu;
    return true;
}

bool machine_init(struct machine *m, const struct machine_config *config, char **error)
{
    memset(m, 0, sizeof *m);
    m->config = *config;
    m->wake_fd = m->signal_fd = -1;
    clock_init(&m->clock, config->counted ? CLOCK_COUNTED : CLOCK_HOST);
    m->bus = bus_create();
    if (!m->bus) {
        *error = error_text("the host refuses the address space for guest memory "
                            "(see ulimit -v and vm.overcommit_memory)");
        return false;
    }
    m->engine = config->accel->create(m->bus, &config->accel_options);
    if (!m->engine) {
        *error = error_text("accelerator %s: the host has no memory for it", config->accel->name);
        return false;
    }
    for (unsigned i = 0; i < config->cpus; i++)
        if (!add_cpu(m, error))
            return false;
    return main_loop_init(m, error);
}

void machine_add_device(struct machine *m, const struct device_class *class, void *state,
                        const char *name)
{
    assert(m->device_count < MACHINE_DEVICES);
    struct machine_device *d = &m->device[m->device_count++];
    d->class = class;
    d->state = state;
    snprintf(d->name, sizeof d->name, "%s", name);
}

/* ---- vCPU threads ---- */

/* Another thread has changed mappings: REQ_WORK makes the owner look at its pending flushes. */
static void kick(void *opaque)
{
    cpu_request(opaque, REQ_WORK);
}

struct thread_start {
    struct machine *m;
    struct cpu *cpu;
};

static void *cpu_main(void *opaque)
{
    struct thread_start start = *(struct thread_start *)opaque;
    char name[16];
    free(opaque);
    snprintf(name, sizeof name, "vcpu %u", start.cpu->index);
    pthread_setname_np(pthread_self(), name);
    mmu_set_owner(&start.cpu->mmu, kick, start.cpu);
    cpu_thread(start.cpu, start.m->config.accel, &start.m->quit);
    return NULL;
}

static bool start_threads(struct machine *m)
{
    for (; m->threads < m->cpu_count; m->threads++) {
        struct thread_start *start = malloc(sizeof *start);
        if (!start)
            return false;
        *start = (struct thread_start){m, m->cpu[m->threads]};
        if (pthread_create(&m->thread[m->threads], NULL, cpu_main, start) != 0) {
            free(start);
            return false;
        }
    }
    return true;
}

u64 machine_cpu_ns(const struct machine *m, unsigned cpu)
{
    clockid_t id;
    struct timespec ts;
    if (cpu >= m->threads || pthread_getcpuclockid(m->thread[cpu], &id) || clock_gettime(id, &ts))
        return 0;
    return (u64)ts.tv_sec * NS_PER_SEC + (u64)ts.tv_nsec;
}

static void end_threads(struct machine *m)
{
    unsigned n = m->threads;
    if (!n)
        return;
    atomic_store(&m->quit, true);
    for (unsigned i = 0; i < n; i++)
        cpu_request(m->cpu[i], REQ_EXIT);
    /* A thread that has been joined may not be asked for its time any more. */
    bus_lock(m->bus);
    m->threads = 0;
    bus_unlock(m->bus);
    for (unsigned i = 0; i < n; i++)
        pthread_join(m->thread[i], NULL);
}

/* ---- run, stop, reset ---- */

static void pause_cpus(struct machine *m)
{
    for (unsigned i = 0; i < m->threads; i++)
        cpu_pause(m->cpu[i]);
}

static void resume_cpus(struct machine *m)
{
    if (m->suspended)
        return;
    for (unsigned i = 0; i < m->threads; i++)
        cpu_resume(m->cpu[i]);
}

bool machine_running(const struct machine *m)
{
    return m->running;
}

bool machine_suspended(const struct machine *m)
{
    return m->suspended;
}

/* Order matters: nothing may execute while virtual time stands still. */
void machine_set_running(struct machine *m, bool running)
{
    if (running == m->running)
        return;
    if (!running)
        pause_cpus(m);
    bus_lock(m->bus);
    m->running = running;
    if (running)
        clock_start(&m->clock);
    else
        clock_stop(&m->clock);
    bus_unlock(m->bus);
    if (running)
        resume_cpus(m);
}

void machine_freeze(struct machine *m)
{
    if (m->running)
        pause_cpus(m);
    bus_lock(m->bus);
}

void machine_thaw(struct machine *m)
{
    bus_unlock(m->bus);
    if (m->running)
        resume_cpus(m);
}

void machine_reset(struct machine *m)
{
    log_event(reset, "machine reset");
    machine_freeze(m);
    for (unsigned i = 0; i < m->device_count; i++)
        if (m->device[i].class->reset)
            m->device[i].class->reset(m->device[i].state);
    if (m->board_reset)
        m->board_reset(m->board);
    for (unsigned i = 0; i < m->cpu_count; i++)
        cpu_reset(m->cpu[i], false);
    m->suspended = false;
    machine_thaw(m);
}

/* In counted mode time stands still with the vCPU, so only somebody outside can wake it. */
void machine_suspend(struct machine *m)
{
    pause_cpus(m);
    m->suspended = true;
}

void machine_wake_up(struct machine *m)
{
    if (!m->suspended)
        return;
    machine_freeze(m);
    if (m->board_wake)
        m->board_wake(m->board);
    machine_thaw(m);
    machine_reset(m);
}

int machine_run(struct machine *m)
{
    machine_reset(m);
    /* They start parked, so that none runs before the clock does. */
    for (unsigned i = 0; i < m->cpu_count; i++)
        m->cpu[i]->stopping = true;
    if (!start_threads(m)) {
        error_report("the host refuses a thread for vCPU %u", m->threads);
        return 1;
    }
    machine_set_running(m, !m->config.paused);
    main_loop(m);
    end_threads(m);
    return atomic_load(&m->status);
}

void machine_destroy(struct machine *m)
{
    end_threads(m);
    main_loop_drain(m);
    for (unsigned i = 0; i < m->chardev_count; i++)
        chardev_free(m->chardev[i]);
    for (unsigned i = 0; i < m->cpu_count; i++) {
        m->config.accel->detach(m->cpu[i]);
        cpu_destroy(m->cpu[i]);
    }
    if (m->engine)
        m->config.accel->destroy(m->engine);
    if (m->bus)
        bus_destroy(m->bus);
    main_loop_free(m);
    m->cpu_count = m->chardev_count = m->device_count = 0;
    m->engine = NULL;
    m->bus = NULL;
}

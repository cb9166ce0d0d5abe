/* One vCPU: creation, reset, requests from other threads, the thread itself, state table, print. */
#include "cpu/cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fields.h"
#include "base/log.h"
#include "cpu/count.h"
#include "cpu/system.h"

struct cpu_work {
    void (*fn)(struct cpu *cpu, void *opaque);
    void *opaque;
    struct cpu_work *next;
};

/* ---- creation and reset ---- */

static size_t page_round(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

/* Layout: one guard page, the JIT's stack, struct cpu. */
struct cpu *cpu_create(const struct cpu_config *config)
{
    size_t guard = page_round(1), size = guard + JIT_STACK_BYTES + page_round(sizeof(struct cpu));
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (mprotect(p, guard, PROT_NONE) != 0) {
        munmap(p, size);
        return NULL;
    }
    struct cpu *cpu = (struct cpu *)(p + guard + JIT_STACK_BYTES);
    cpu->index = config->index;
    cpu->bus = config->bus;
    cpu->clock = config->clock;
    cpu->model = config->model;
    cpu->tsc_khz = CPU_TSC_KHZ;
    if (!mmu_init(&cpu->mmu, config->bus, (int)config->index)) {
        munmap(p, size);
        return NULL;
    }
    if (config->count && !count_create(cpu, config->count)) {
        count_free(cpu);
        mmu_free(&cpu->mmu);
        munmap(p, size);
        return NULL;
    }
    pthread_mutex_init(&cpu->wake_lock, NULL);
    pthread_cond_init(&cpu->wake, NULL);
    cpu_reset(cpu, false);
    return cpu;
}

static void free_work(struct cpu *cpu)
{
    while (cpu->work) {
        struct cpu_work *w = cpu->work;
        cpu->work = w->next;
        free(w);
    }
}

void cpu_destroy(struct cpu *cpu)
{
    if (!cpu)
        return;
    size_t guard = page_round(1);
    free_work(cpu);
    count_free(cpu);
    mmu_free(&cpu->mmu);
    pthread_cond_destroy(&cpu->wake);
    pthread_mutex_destroy(&cpu->wake_lock);
    munmap((char *)cpu - JIT_STACK_BYTES - guard,
           guard + JIT_STACK_BYTES + page_round(sizeof *cpu));
}

static void reset_segments(struct cpu *cpu)
{
    for (unsigned i = 0; i < SEG_COUNT; i++) {
        struct segment s = {.limit = 0xffff, .attr = SEG_P | SEG_S | SEG_RW | SEG_A};
        if (i == SEG_CS)
            s = (struct segment){.base = 0xffff0000, .limit = 0xffff,
                                 .attr = SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_A};
        else if (i == SEG_LDTR)
            s.attr = SEG_P | DT_LDT;
        else if (i == SEG_TR)
            s.attr = SEG_P | DT_TSS32_BUSY;
        seg_install(cpu, (enum sreg)i, i == SEG_CS ? 0xf000 : 0, &s);
    }
    cpu->gdt = cpu->idt = (struct desc_table){.base = 0, .limit = 0xffff};
}

/* What only RESET, not INIT, sets. */
static void reset_power_on(struct cpu *cpu)
{
    memset(cpu->xmm, 0, sizeof cpu->xmm);
    memset(&cpu->x87, 0, sizeof cpu->x87);
    cpu->x87.fcw = 0x40;
    cpu->ferr = false;
    cpu->ignne = false;
    cpu->x87.ftw = 0xff; /* tags say "zero", not "empty" */
    cpu_set_mxcsr(cpu, 0x1f80);
    cpu->smbase = 0x30000;
    cpu->in_smm = cpu->smm_nmi_blocked = false;
    cpu->pkru = 0;
    msr_reset(cpu);
}

void cpu_reset(struct cpu *cpu, bool init)
{
    u64 cache_bits = init ? cpu->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW;

    log_event(reset, "cpu %u: %s\n", cpu->index, init ? "INIT" : "reset");
    memset(cpu->gpr, 0, sizeof cpu->gpr);
    cpu->lazy_kind = LAZY_NONE;
    cpu->eflags = FL_FIXED;
    cpu->cr0 = CR0_ET | cache_bits;
    cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
    cpu->efer = 0;
    cpu->xcr0 = 1;
    cpu->cpl = 0;
    if (!init)
        reset_power_on(cpu);
    reset_segments(cpu);
    cpu->rip = 0xfff0;
    cpu->gpr[RDX] = cpu->model ? cpu_cpuid(cpu, 1, 0).eax : 0;
    memset(cpu->dr, 0, sizeof cpu->dr);
    cpu->dr[6] = 0xffff0ff0;
    cpu->dr[7] = 0x400;
    cpu->debugctl = cpu->debug = 0;
    debug_update(cpu);
    cpu->monitored = NULL;
    cpu->halted = cpu->mwait = false;
    cpu->nmi_blocked = cpu->irq_shadow = cpu->step_skip = cpu->shut_down = false;
    cpu->wait_sipi = cpu->index != 0; /* the MP protocol: SDM vol. 3A 8.4 */
    cpu->exc_vector = cpu->exc_delivering = -1;
    cpu->exc_ext = cpu->exc_soft = false;
    cpu->guard = NULL;
    /* The interrupt pin belongs to the controller; what was latched inside goes. */
    /* A SIPI that waits has come after this INIT: see pin_init in devices/board/pc_irq.c. */
    u32 kept = init ? REQ_INTR | REQ_SIPI : REQ_INTR;
    atomic_fetch_and(&cpu->pins, kept);
    atomic_fetch_and(&cpu->requests, ~(u32)(REQ_NMI | REQ_INIT | REQ_SIPI | REQ_SMI));
    cpu_update_paging(cpu);
}

void cpu_loaded(struct cpu *cpu)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        cpu_update_segment(cpu, (enum sreg)i);
    cpu_set_mxcsr(cpu, cpu->mxcsr);
    cpu_update_paging(cpu);
    mmu_load_pdptes(&cpu->mmu);
    if (cpu->mwait) { /* what it watched is not stored; it may wake at any time */
        cpu->halted = cpu->mwait = false;
        cpu->monitored = NULL;
    }
    debug_update(cpu);
    debug_branch_steps(cpu);
    atomic_fetch_or(&cpu->requests, REQ_RECHECK);
}

/* ---- requests ---- */

#define PIN_BITS (REQ_INTR | REQ_NMI | REQ_INIT | REQ_SIPI | REQ_SMI)

void cpu_request(struct cpu *cpu, u32 bits)
{
    atomic_fetch_or(&cpu->pins, bits & PIN_BITS);
    atomic_fetch_or(&cpu->requests, bits);
    pthread_mutex_lock(&cpu->wake_lock);
    pthread_cond_broadcast(&cpu->wake);
    pthread_mutex_unlock(&cpu->wake_lock);
}

void cpu_withdraw(struct cpu *cpu, u32 bits)
{
    atomic_fetch_and(&cpu->pins, ~(bits & PIN_BITS));
    atomic_fetch_and(&cpu->requests, ~bits);
}

bool cpu_queue_work(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *opaque), void *opaque)
{
    struct cpu_work *w = malloc(sizeof *w);
    if (!w)
        return false;
    *w = (struct cpu_work){.fn = fn, .opaque = opaque};
    pthread_mutex_lock(&cpu->wake_lock);
    struct cpu_work **p = &cpu->work;
    while (*p)
        p = &(*p)->next;
    *p = w;
    pthread_mutex_unlock(&cpu->wake_lock);
    cpu_request(cpu, REQ_WORK);
    return true;
}

static void run_work(struct cpu *cpu)
{
    for (;;) {
        pthread_mutex_lock(&cpu->wake_lock);
        struct cpu_work *w = cpu->work;
        if (w)
            cpu->work = w->next;
        pthread_mutex_unlock(&cpu->wake_lock);
        if (!w)
            return;
        w->fn(cpu, w->opaque);
        free(w);
    }
}

/* Pins that could be taken now if there were no interrupt shadow. */
static u32 deliverable(const struct cpu *cpu)
{
    u32 pins = atomic_load(&cpu->pins), m = 0;
    if (cpu->wait_sipi)
        return pins & (REQ_INIT | REQ_SIPI);
    if (cpu->shut_down)
        return pins & REQ_INIT;
    if (!cpu->in_smm) /* INIT waits for RSM as well (SDM vol. 3C 34.3) */
        m |= REQ_INIT | REQ_SMI;
    if (!cpu->nmi_blocked)
        m |= REQ_NMI;
    if (cpu->eflags & FL_IF)
        m |= REQ_INTR;
    return pins & m;
}

void cpu_unmask(struct cpu *cpu)
{
    if (atomic_load_explicit(&cpu->pins, memory_order_relaxed) && deliverable(cpu))
        atomic_fetch_or(&cpu->requests, REQ_RECHECK);
}

static void start_up(struct cpu *cpu)
{
    /* SIPI: CS:IP = vector * 0x1000 (SDM vol. 3A 8.4.3). */
    cpu->wait_sipi = false;
    cpu->seg[SEG_CS].selector = (u16)(cpu->sipi_vector << 8);
    cpu->seg[SEG_CS].base = (u64)cpu->sipi_vector << 12;
    cpu->rip = 0;
    cpu_update_hflags(cpu);
}

static void take_external(struct cpu *cpu, int vector)
{
    cpu->exc_vector = vector;
    cpu->exc_has_error = cpu->exc_soft = false;
    cpu->exc_ext = true;
    cpu_deliver_pending(cpu);
}

/* INTA runs under the machine lock; nothing is delivered if the request has gone. */
static void take_interrupt(struct cpu *cpu)
{
    int vector = -1;
    if (cpu->irq) {
        bus_lock(cpu->bus);
        vector = cpu->irq->ack(cpu->irq_opaque);
        bus_unlock(cpu->bus);
    }
    if (vector >= 0)
        take_external(cpu, vector);
}

/* Takes the first of `events` (SDM vol. 3A table 6-2 and 10.4.7). */
static void take_event(struct cpu *cpu, u32 events)
{
    if (events & REQ_INIT) {
        atomic_fetch_and(&cpu->pins, ~(u32)REQ_INIT);
        cpu_reset(cpu, true);
    } else if (events & REQ_SIPI) {
        atomic_fetch_and(&cpu->pins, ~(u32)REQ_SIPI);
        start_up(cpu);
    } else if (events & REQ_SMI) {
        atomic_fetch_and(&cpu->pins, ~(u32)REQ_SMI);
        smm_enter(cpu);
    } else if (events & REQ_NMI) {
        atomic_fetch_and(&cpu->pins, ~(u32)REQ_NMI);
        cpu->nmi_blocked = true; /* until the next IRET (SDM vol. 3A 6.7.1) */
        take_external(cpu, EXC_NMI);
    } else {
        take_interrupt(cpu);
    }
}

bool cpu_service(struct cpu *cpu)
{
    u32 bits = atomic_load(&cpu->requests);

    if (bits & REQ_EXIT)
        return false;
    /* The bell is silenced first and the pins read after, so that no ring is lost. */
    atomic_fetch_and(&cpu->requests, ~(bits & ~(u32)REQ_EXIT));
    if (bits & REQ_WORK) {
        mmu_run_pending(&cpu->mmu);
        run_work(cpu);
    }
    if (cpu->exc_vector >= 0) {
        cpu_deliver_pending(cpu);
        cpu_unmask(cpu);
        return !cpu->halted;
    }
    /* A SIPI to a running processor is lost (SDM vol. 3A 8.4.2), one behind an INIT is not. */
    if (!cpu->wait_sipi && !(atomic_load(&cpu->pins) & REQ_INIT))
        atomic_fetch_and(&cpu->pins, ~(u32)REQ_SIPI);
    u32 events = deliverable(cpu);
    if (events && cpu->irq_shadow && cpu->rip == cpu->shadow_rip) {
        cpu->irq_shadow = false;
        cpu->hflags |= HF_ONE;
        return true;
    }
    cpu->irq_shadow = false;
    if (events) {
        take_event(cpu, events);
        cpu_unmask(cpu);
    }
    return !cpu->halted && !cpu->wait_sipi;
}

/* ---- the thread ---- */

static bool may_run(const struct cpu *cpu)
{
    return !(cpu->halted || cpu->wait_sipi) ||
           (atomic_load(&cpu->requests) & ~(u32)REQ_EXIT) != 0 || deliverable(cpu) != 0 ||
           cpu->exc_vector >= 0;
}

/* Lets virtual time go on while the vCPU is halted, if that is the vCPU's business.  Called with
 * wake_lock held, which is given up meanwhile; false: nothing done. */
static bool rest(struct cpu *cpu)
{
    if (!cpu->count || cpu->stopping)
        return false;
    pthread_mutex_unlock(&cpu->wake_lock);
    bool done = count_idle(cpu);
    pthread_mutex_lock(&cpu->wake_lock);
    return done;
}

/* Waits for an event; called with wake_lock held.  MWAIT has no other way to learn of a store than
 * to look again and again. */
static void sleep_a_while(struct cpu *cpu)
{
    enum { MWAIT_LOOK_NS = 100000 };
    struct timespec t;
    if (!cpu->halted || !cpu->mwait || cpu->stopping) {
        pthread_cond_wait(&cpu->wake, &cpu->wake_lock);
        return;
    }
    if (cpu_mwait_over(cpu)) {
        cpu->halted = cpu->mwait = false;
        cpu->monitored = NULL;
        return;
    }
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += MWAIT_LOOK_NS;
    if (t.tv_nsec >= (long)NS_PER_SEC) {
        t.tv_nsec -= (long)NS_PER_SEC;
        t.tv_sec++;
    }
    pthread_cond_timedwait(&cpu->wake, &cpu->wake_lock, &t);
}

void cpu_thread(struct cpu *cpu, const struct accel *accel, _Atomic bool *quit)
{
    for (;;) {
        pthread_mutex_lock(&cpu->wake_lock);
        /* REQ_EXIT is cleared before its reasons are looked at. */
        atomic_fetch_and(&cpu->requests, ~(u32)REQ_EXIT);
        while (!atomic_load(quit) && (cpu->stopping || !may_run(cpu))) {
            if (cpu->stopping != cpu->parked) {
                cpu->parked = cpu->stopping;
                pthread_cond_broadcast(&cpu->wake);
            }
            if (!rest(cpu))
                sleep_a_while(cpu);
            atomic_fetch_and(&cpu->requests, ~(u32)REQ_EXIT);
        }
        bool leave = atomic_load(quit);
        cpu->parked = leave; /* a thread that is gone counts as parked */
        pthread_cond_broadcast(&cpu->wake);
        pthread_mutex_unlock(&cpu->wake_lock);
        if (leave)
            return;
        if (cpu->count)
            count_stop_soon(cpu); /* timers may have changed while it stood still */
        accel->run(cpu);
    }
}

void cpu_pause_soon(struct cpu *cpu)
{
    pthread_mutex_lock(&cpu->wake_lock);
    cpu->stopping = true;
    atomic_fetch_or(&cpu->requests, REQ_EXIT);
    pthread_cond_broadcast(&cpu->wake);
    pthread_mutex_unlock(&cpu->wake_lock);
}

void cpu_pause(struct cpu *cpu)
{
    cpu_pause_soon(cpu);
    pthread_mutex_lock(&cpu->wake_lock);
    while (!cpu->parked)
        pthread_cond_wait(&cpu->wake, &cpu->wake_lock);
    pthread_mutex_unlock(&cpu->wake_lock);
}

void cpu_resume(struct cpu *cpu)
{
    pthread_mutex_lock(&cpu->wake_lock);
    cpu->stopping = false;
    pthread_cond_broadcast(&cpu->wake);
    pthread_mutex_unlock(&cpu->wake_lock);
}

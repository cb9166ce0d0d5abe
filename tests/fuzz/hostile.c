/* hostile: an attacker's guest.  A whole PC in this process executes random bytes
 * and garbage that looks like a system's code, in every mode and at both privileges: ports, MMIO of
 * all chips, PCI configuration, fw_cfg's DMA, control, debug and model-specific registers,
 * descriptor and page tables, code that rewrites itself.  The emulator must neither crash (the
 * sanitizers watch where they are built in) nor hang, and give back all that a machine took.
 *
 *     hostile ENGINE FIRMWARE MACHINES | SECONDSs
 *
 * With a number of machines the seed is 1, with a time it is new each time.
 * DRAGOMAN_FUZZ_SEED   another seed
 * DRAGOMAN_FUZZ_CASE   begin with this machine
 */
#include <dirent.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#undef REG_RIP /* cpu/decode.h has another */

#include "hostile.h"

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "devices/board/pc.h"
#include "devices/host/block.h"
#include "devices/host/chardev.h"

enum {
    RAM = 16 << 20,
    ROUNDS = 60,       /* of each machine */
    SLICE_MS = 3,      /* of a vCPU */
    SLICES = 4,
    HANG_MS = 60000,   /* much longer than a busy host takes to come back from a block */
};

static const struct accel *accel;
static const char *firmware;
static const struct cpu_model *model;
static u64 slices; /* that ended without a reset */
static struct { u64 seed, machine, round; enum hostile_mode mode; } where;

/* ---- the watchdog ---- */

static _Atomic u64 entered; /* when the engine was entered; 0: it was not */
static struct cpu *_Atomic inside;

static u64 now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

/* What the emulator says (of each triple fault a page) is shown only if it is the last. */
static FILE *report, *messages;

static void show_last_words(void)
{
    char tail[3000];
    fflush(messages);
    long size = ftell(messages), from = size > (long)sizeof tail ? size - (long)sizeof tail : 0;
    ssize_t n = pread(fileno(messages), tail, sizeof tail, from);
    if (n > 0)
        fwrite(tail, 1, (size_t)n, report);
    fflush(report);
}

static void forget_messages(void)
{
    rewind(messages);
    if (ftruncate(fileno(messages), 0) != 0)
        exit(1);
}

static void say_where(const char *what)
{
    show_last_words();
    fprintf(report, "hostile: %s: engine %s, DRAGOMAN_FUZZ_SEED=%llu DRAGOMAN_FUZZ_CASE=%llu, "
            "round %llu, %s\n", what, accel->name, (unsigned long long)where.seed,
            (unsigned long long)where.machine, (unsigned long long)where.round,
            hostile_mode_name(where.mode));
    fflush(report);
}

static void on_signal(int sig)
{
    signal(sig, SIG_DFL);
    say_where(strsignal(sig));
    raise(sig);
}

static void *watch(void *opaque)
{
    for (;;) {
        struct timespec ms = {.tv_nsec = 1000000};
        nanosleep(&ms, NULL);
        u64 since = atomic_load(&entered), now = now_ms();
        if (!since)
            continue;
        if (now > since + SLICE_MS)
            cpu_request(atomic_load(&inside), REQ_EXIT);
        if (now > since + HANG_MS) {
            say_where("the engine does not come back");
            abort();
        }
    }
    return opaque;
}

static void ended_early(void)
{
    if (where.seed)
        say_where("the emulator ended the process");
}

/* ---- the machine ---- */

static struct block *make_image(void)
{
    char path[] = "/tmp/hostile-XXXXXX", *error = NULL;
    int fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, 1 << 20) != 0)
        return NULL;
    struct block_options options = {.path = path, .format = "raw"};
    struct block *b = block_open(&options, &error);
    close(fd);
    unlink(path);
    return b;
}

static void kick(void *cpu)
{
    cpu_request(cpu, REQ_WORK);
}

static struct pc *make_pc(void)
{
    struct pc *pc = calloc(1, sizeof *pc);
    char *error = NULL;
    struct pc_config c = {
        .machine = {.accel = accel, .model = model, .cpus = 2,
                    .accel_options = {.code_bytes = 2u << 20}},
        .ram = RAM, .firmware = firmware, .debugcon_port = 0x402, .vga = true};
    for (unsigned i = 0; i < PC_SERIALS; i++)
        c.serial[i] = chardev_null_create();
    c.debugcon = chardev_null_create();
    c.drive[0] = (struct pc_drive){ATA_DISK, make_image()};
    c.drive[2] = (struct pc_drive){ATA_CDROM, make_image()};
    if (!pc_init(pc, &c, &error) || !pc_add_device(pc, "isa-debug-exit", &error) ||
        !pc_add_device(pc, "pc-testdev", &error) || !pc_add_device(pc, "pci-testdev", &error)) {
        fprintf(report, "hostile: %s\n", error);
        exit(1);
    }
    for (unsigned i = 0; i < 2; i++)
        mmu_set_owner(&pc->machine.cpu[i]->mmu, kick, pc->machine.cpu[i]);
    clock_start(&pc->machine.clock);
    machine_reset(&pc->machine);
    return pc;
}

/* What the main loop would do; false when the machine has been reset. */
static bool serve(struct machine *m)
{
    bus_lock(m->bus);
    clock_run_due(&m->clock);
    unsigned n = m->deferred_count;
    struct machine_call calls[ARRAY_SIZE(m->deferred)];
    memcpy(calls, m->deferred, sizeof calls);
    m->deferred_count = 0;
    bus_unlock(m->bus);
    for (unsigned i = 0; i < n; i++)
        calls[i].fn(calls[i].opaque);
    atomic_store(&m->has_status, false);
    bool reset = atomic_exchange(&m->events, 0) & MACHINE_RESET;
    if (reset)
        machine_reset(m);
    return !reset;
}

static void run_cpu(struct cpu *cpu)
{
    if (cpu->wait_sipi && !atomic_load(&cpu->requests))
        return;
    atomic_store(&inside, cpu);
    atomic_store(&entered, now_ms());
    accel->run(cpu);
    atomic_store(&entered, 0);
    cpu_withdraw(cpu, REQ_EXIT);
}

static void one_round(struct pc *pc)
{
    struct machine *m = &pc->machine;
    forget_messages();
    rnd_seed(where.seed * 1000003 + where.machine * 1009 + where.round);
    where.mode = (enum hostile_mode)below(HOSTILE_MODES);
    hostile_prepare(pc->ram, RAM, m->cpu[0], where.mode);
    unsigned i = 0;
    do
        for (unsigned c = 0; c < m->cpu_count; c++)
            run_cpu(m->cpu[c]);
    while (serve(m) && ++i < SLICES);
    slices += i;
    if (one_in(4))
        machine_reset(m);
}

/* ---- what a machine leaves behind ---- */

struct usage {
    size_t heap;
    unsigned files, maps;
};

static unsigned count_entries(const char *dir)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static unsigned count_lines(const char *path)
{
    unsigned n = 0;
    FILE *f = fopen(path, "r");
    for (int c; f && (c = getc(f)) != EOF;)
        n += c == '\n';
    if (f)
        fclose(f);
    return n;
}

static struct usage usage_now(void)
{
    return (struct usage){mallinfo2().uordblks, count_entries("/proc/self/fd"),
                          count_lines("/proc/self/maps")};
}

/* True when the process has grown since the second machine.  Not with the address sanitizer, which
 * has a heap of its own and looks for leaks itself. */
static bool leaks(u64 machines)
{
    static struct usage first;
    enum { HEAP_SLACK = 64 << 10, MAP_SLACK = 16 }; /* what libraries keep for themselves */
    struct usage now = usage_now();
    if (machines == 2)
        first = now;
    if (CONFIG_ASAN || machines <= 2)
        return false;
    if (now.heap <= first.heap + HEAP_SLACK && now.files <= first.files &&
        now.maps <= first.maps + MAP_SLACK)
        return false;
    fprintf(report, "hostile: %llu machines later there are %zu bytes, %u files, %u mappings, at "
            "first %zu, %u, %u\n", (unsigned long long)machines - 2, now.heap, now.files, now.maps,
            first.heap, first.files, first.maps);
    return true;
}

static u64 number_from(const char *name, u64 otherwise)
{
    const char *v = getenv(name);
    return v ? strtoull(v, NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
    char *unit, *error = NULL;
    pthread_t watchdog;
    if (argc != 4) {
        fprintf(stderr, "usage: hostile dbt|interp FIRMWARE MACHINES|SECONDSs\n");
        return 2;
    }
    accel = strcmp(argv[1], "interp") == 0 ? &accel_interp : &accel_dbt;
    if (!accel->available())
        return 77;
    firmware = argv[2];
    u64 machines = strtoull(argv[3], &unit, 0), n = 0;
    bool timed = *unit == 's';
    u64 end = timed ? now_ms() + machines * 1000 : ~0ull;
    model = cpu_model_find("max", 2, &error);
    where.seed = number_from("DRAGOMAN_FUZZ_SEED", timed ? (u64)time(NULL) : 1);
    where.machine = number_from("DRAGOMAN_FUZZ_CASE", 0);
    report = fdopen(dup(STDERR_FILENO), "w");
    stderr = messages = tmpfile();
    signal(SIGABRT, on_signal);
    atexit(ended_early);
    pthread_create(&watchdog, NULL, watch, NULL);
    bool leak = false;
    for (; timed ? now_ms() < end : n < machines; where.machine++) {
        struct pc *pc = make_pc();
        for (where.round = 0; where.round < ROUNDS; where.round++)
            one_round(pc);
        pc_destroy(pc);
        free(pc);
        leak |= leaks(++n);
    }
    printf("%s: %llu machines of %u rounds, %llu slices, seed %llu%s\n", accel->name,
           (unsigned long long)n, (unsigned)ROUNDS, (unsigned long long)slices,
           (unsigned long long)where.seed, leak ? ", leaks" : "");
    where.seed = 0;
    return leak;
}

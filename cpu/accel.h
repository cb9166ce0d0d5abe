/* The engine vtable: what the board and front-ends know of the translator, the portable engine
 * and KVM. */
#ifndef DRAGOMAN_CPU_ACCEL_H
#define DRAGOMAN_CPU_ACCEL_H

#include "cpu/state.h"

typedef void (*print_fn)(void *opaque, const char *fmt, ...);

struct accel_options {
    u64 code_bytes; /* code cache, 0 for the default */
    bool verify_ir; /* run the IR verifier between passes (tests, debug builds) */
    bool plain_host; /* use no more of the host's instruction sets than the engine needs (tests) */
    u64 off;        /* optimisations to do without, a mask of translator/technique.h */
    const char *cache; /* folder to keep translations in across runs, NULL: none */
    bool cache_quiet;  /* where that cannot be done, go on without a word */
    bool perf_map;  /* name emitted code for Linux's perf, in /tmp/perf-PID.map */
};

struct accel {
    const char *name; /* as -accel takes it */
    const char *help;
    bool (*available)(void); /* on this host */
    /* One engine per machine, shared by its vCPUs; NULL when the host lacks memory. */
    void *(*create)(struct bus *bus, const struct accel_options *options);
    void (*destroy)(void *engine);
    /* Readies a vCPU: sets cpu->engine and engine_data. */
    bool (*attach)(void *engine, struct cpu *cpu);
    void (*detach)(struct cpu *cpu);
    /* Runs guest code on the calling thread until cpu_service says to return. */
    void (*run)(struct cpu *cpu);
    /* Prints counters and cache state for `info jit`. */
    void (*info)(void *engine, print_fn print, void *opaque);
    /* A counter by name, for tests; ~0 when there is none. */
    u64 (*counter)(void *engine, const char *name);
};

extern const struct accel accel_interp, accel_dbt;

#endif

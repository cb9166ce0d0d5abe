/* Counted mode (-icount): virtual time follows the instructions that the one vCPU executes.
 *
 * The count goes up by one for each instruction that ends, however many elements a repeated string
 * instruction has, and by one for each exception or interrupt that is delivered, so that time
 * cannot stand still in a loop of faults.  An instruction that faults, or that is entered again,
 * has not ended.
 *
 * The run loop stops when cpu->budget is used up: timers run there, at exact counts.  An engine
 * subtracts a block's instructions from the budget as it enters the block, enters only blocks that
 * the budget covers (HF_ONE blocks near its end), and gives back what it has not executed where it
 * leaves a block early.  Nothing else about the guest may depend on where blocks begin and end:
 * what sees the time, or changes what depends on it, calls count_exact first.
 */
#ifndef DRAGOMAN_CPU_COUNT_H
#define DRAGOMAN_CPU_COUNT_H

#include "cpu/state.h"

#define COUNT_SHIFT_MAX 10u /* 2^10 ns an instruction, QEMU's limit */

struct count_config {
    unsigned shift;  /* an instruction takes 2^shift ns */
    bool sleep;      /* an idle guest sleeps until its next timer; else time jumps there */
    /* A line in the log at each multiple of trace_step (0: none) from trace_from on: the count,
     * RIP, a hash of the vCPU's state, and at multiples of trace_machine (0: none) one of RAM and
     * chips.  At trace_to (0: never) the machine is told to end. */
    u64 trace_step, trace_machine, trace_from, trace_to;
    u64 (*hash_machine)(void *opaque);
    void (*ended)(void *opaque);
    void *opaque;
};

/* For cpu_create and cpu_destroy.  False when the host has no memory. */
bool count_create(struct cpu *cpu, const struct count_config *config);
void count_free(struct cpu *cpu);

/* Instructions and deliveries so far.  Only while the vCPU stands still, or on its own thread; in a
 * block of one instruction that one is counted already. */
u64 count_now(const struct cpu *cpu);

/* By the run loop, between two instructions with all state in struct cpu and no lock held, when the
 * budget is used up: runs the timers that are due, and sets a budget up to the next one. */
void count_stop(struct cpu *cpu);
/* Makes the run loop come to count_stop before the next block. */
void count_stop_soon(struct cpu *cpu);

/* By a helper before it looks at virtual time, or does what a device or a timer could notice: the
 * instruction becomes the only one of its block (may leave to do it again), so that the count is
 * exact, and the run loop looks around after it.  Nothing without counted mode. */
void count_exact(struct cpu *cpu);

/* By the vCPU's thread while it is halted, no lock held: moves time to the next timer and runs it,
 * after sleeping as the configuration says.  False when there is no timer to wait for. */
bool count_idle(struct cpu *cpu);

/* The hash of the trace: sum continued with n bytes. */
u64 count_hash(u64 sum, const u8 *bytes, size_t n);

/* The next word for RDRAND: the same in each run. */
u64 count_random(struct cpu *cpu);

#endif

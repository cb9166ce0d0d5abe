/* The monitor: a command line on a character stream. */
#ifndef DRAGOMAN_FRONTENDS_MONITOR_H
#define DRAGOMAN_FRONTENDS_MONITOR_H

#include "base/types.h"
#include "cpu/accel.h"

struct chardev;
struct pc;
struct monitor;
struct typist;

/* Puts a monitor on `c` (a stream of the machine, or of a multiplexer of it), which must outlive
 * it.  `shared`: it is multiplexed, and the monitor is silent until it gets the keyboard.  NULL:
 * no memory. */
struct monitor *monitor_create(struct pc *pc, struct chardev *c, bool shared);
void monitor_free(struct monitor *mon);

/* ---- between monitor.c and monitor_commands.c ---- */

struct monitor_context {
    struct pc *pc;
    unsigned cpu; /* selected */
    struct typist *typist;
    print_fn print;
    void *opaque;
};

/* Runs one line, with the machine frozen (see machine_freeze). */
void monitor_command(struct monitor_context *c, const char *line);

/* Prints the ranges of linear addresses that the page tables map, with their rights. */
struct cpu;
void monitor_print_mem(struct cpu *cpu, print_fn print, void *opaque);

/* Evaluates "$rip + 0x10"; false with *error (static text). */
bool monitor_eval(struct cpu *cpu, const char **text, u64 *value, const char **error);

/* Disassembles one instruction of at most `len` bytes at `address`; returns its length, 0 if the
 * bytes are no instruction.  bits: 16, 32 or 64. */
unsigned disasm(const u8 *code, unsigned len, u64 address, unsigned bits, char *text, size_t size);

#endif

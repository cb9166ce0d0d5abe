/* Log categories (-d), the log file (-D), and user-facing errors. */
#ifndef DRAGOMAN_BASE_LOG_H
#define DRAGOMAN_BASE_LOG_H

#include "base/types.h"

/* X(name, help): one row per -d category; names are what the user types. */
#define LOG_CATEGORIES(X)                                                     \
    X(in_asm, "guest code of each block as it is translated")                 \
    X(ir, "IR as lifted")                                                     \
    X(ir_opt, "IR after all passes")                                          \
    X(out_asm, "host code of each block")                                     \
    X(exec, "each block as the run loop enters it")                           \
    X(cpu, "registers at each entry from the run loop")                       \
    X(int, "interrupts and exceptions as they are delivered")                 \
    X(state, "all registers at each point of -icount's trace")                \
    X(mmu, "page walks, page faults and TLB flushes")                         \
    X(pcall, "far transfers and task switches")                               \
    X(unimp, "guest use of what is not modelled")                             \
    X(guest_errors, "guest programming errors seen by devices")               \
    X(reset, "resets and INIT")                                               \
    X(ioport, "port accesses")                                                \
    X(device, "device events")

enum log_category {
#define X(name, help) LOG_BIT_##name,
    LOG_CATEGORIES(X)
#undef X
        LOG_CATEGORY_COUNT
};

/* The set of enabled categories, bit 1 << LOG_BIT_x.  Process-wide, like stderr. */
extern u32 log_mask;

#define log_enabled(name) unlikely(log_mask & (1u << LOG_BIT_##name))

/* Appends a line to the log if its category is enabled: log_event(int, "v=%02x", v). */
#define log_event(name, ...)                     \
    do {                                         \
        if (log_enabled(name))                   \
            log_print(__VA_ARGS__);              \
    } while (0)

/* Writes to the log (stderr, or the -D file), whole and flushed; ends the line if the text does
 * not.  Thread-safe. */
void log_print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Parses "in_asm,int" into the mask; returns NULL, or the first unknown name (malloced). */
char *log_parse(const char *list, u32 *mask);

/* Sends the log to `path`; returns 0 or an errno value. */
int log_open(const char *path);

/* Prints the category table for `-d help` to stdout. */
void log_help(void);

/* "dragoman: MESSAGE" on stderr.  The caller decides whether to go on. */
void error_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Runs the hook set by error_set_exit_hook (terminal restored), reports, exits with 1. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* A message for a caller's char **error: malloced, or NULL when there is no memory either. */
char *error_text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void error_set_exit_hook(void (*hook)(void));

#endif

/* Machine code in real and 64-bit mode with known results, for every engine: faults, self-modifying
 * code, single-stepping, interrupts, atomics, a full code cache.  The programs are assembled with the
 * tests, so they exist on x86 hosts only. */
#ifndef DRAGOMAN_TESTS_ENGINE_PROGRAMS_H
#define DRAGOMAN_TESTS_ENGINE_PROGRAMS_H

#include <check.h>

#include "cpu/cpuid.h"
#include "tiny_machine.h"

#define CODE16(name, text)                                                                      \
    __asm__(".pushsection .rodata\n.code16\n" #name ":\n" text "\n" #name "_end:\n"            \
            ".code64\n.popsection\n");                                                         \
    extern const u8 name[], name##_end[];
#define CODE64(name, text)                                                                      \
    __asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n");       \
    extern const u8 name[], name##_end[];

/* Copies a program to guest memory. */
#define LOAD(at, name) tiny_load(&m, at, name, (u64)(name##_end - name))

/* A 64-bit program, ready at 10000h; the same and run until it halts. */
#define START64(name) (LOAD(0x10000, name), tiny_long(&m, 0x10000))
#define RUN64(name) (START64(name), tiny_run(&m))

/* The machine of the running test, and the engine that engine_setup gives it. */
extern struct tiny m;
extern const struct accel *engine_under_test;
void engine_setup(void);
void engine_teardown(void);

/* Adds the programs' test cases to the suite. */
void engine_programs(Suite *s);
void engine_counting(Suite *s); /* those of counted mode (engine_count.c) */

#endif

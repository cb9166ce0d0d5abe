/* How the signal handlers of native.c let others out of trouble. */
#ifndef DRAGOMAN_TESTS_FUZZ_NATIVE_H
#define DRAGOMAN_TESTS_FUZZ_NATIVE_H

#include <setjmp.h>

/* While armed, a fault outside of native runs (in an engine) jumps here: value 1 for a timeout, 2
 * for a crash. */
extern sigjmp_buf native_escape;
extern volatile int native_escape_armed;

/* Sends SIGPROF after so many milliseconds of processor time; 0: not. */
void native_alarm(unsigned ms);

#endif

/* The parts of the attacker's guest: hostile.c runs it, hostile_guest.c makes it. */
#ifndef DRAGOMAN_TESTS_FUZZ_HOSTILE_H
#define DRAGOMAN_TESTS_FUZZ_HOSTILE_H

#include "fuzz.h"

enum hostile_mode {
    HOSTILE_REAL, HOSTILE_V86, HOSTILE_PROT16, HOSTILE_PROT32, HOSTILE_PAGING32, HOSTILE_PAE,
    HOSTILE_COMPAT, HOSTILE_LONG, HOSTILE_MODES
};

const char *hostile_mode_name(enum hostile_mode mode);
/* Fills the guest's memory with tables and garbage, and puts the vCPU in front of it. */
void hostile_prepare(u8 *ram, u64 size, struct cpu *cpu, enum hostile_mode mode);

#endif

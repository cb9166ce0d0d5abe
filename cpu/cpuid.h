/* CPU models: what CPUID answers, and which instructions exist. */
#ifndef DRAGOMAN_CPU_CPUID_H
#define DRAGOMAN_CPU_CPUID_H

#include "base/types.h"
#include "cpu/accel.h"
#include "cpu/decode.h"

struct cpu;
struct cpu_model;

/* Parses "qemu64,+aes,-sse4_2"; NULL with *error (malloced, one line) when unknown.  Models live
 * as long as the process. */
const struct cpu_model *cpu_model_find(const char *spec, unsigned cpus, char **error);

/* Lists models and features for `-cpu help`. */
void cpu_model_help(print_fn print, void *opaque);

/* Whether instructions of this group exist on the model. */
bool cpu_has(const struct cpu *cpu, enum isa isa);

/* CPUID leaf and subleaf, with the dynamic bits (OSXSAVE, APIC ID...). */
struct cpuid_regs { u32 eax, ebx, ecx, edx; };
struct cpuid_regs cpu_cpuid(struct cpu *cpu, u32 leaf, u32 subleaf);

#endif

/* CPU models: what CPUID answers, and which instructions exist. */
#ifndef DRAGOMAN_CPU_CPUID_H
#define DRAGOMAN_CPU_CPUID_H

#include "base/types.h"
#include "cpu/accel.h"
#include "cpu/decode.h"

struct cpu;
struct cpu_model;

/* Parses "qemu64,+aes,-sse4_2,avx=off"; NULL with *error (malloced, one line) when unknown.  Models
 * live as long as the process. */
const struct cpu_model *cpu_model_find(const char *spec, unsigned cpus, char **error);

/* Lists models and features for `-cpu help`. */
void cpu_model_help(print_fn print, void *opaque);

/* Whether instructions of this group exist on the model. */
bool cpu_has(const struct cpu *cpu, enum isa isa);

/* A number that differs between models that differ in more than their name. */
u64 cpu_model_id(const struct cpu *cpu);

/* Features: bits of CPUID.  Those that bring instructions are asked for with cpu_has as a rule. */
enum cpu_feature {
#define FEATURE(id, name, word, bit, isa, emulated) FEAT_##id,
#include "cpu/features.def"
#undef FEATURE
    FEAT_COUNT
};
bool cpu_has_feature(const struct cpu *cpu, enum cpu_feature feature);

/* AMD and Intel differ in SYSCALL, SYSENTER and some MSRs. */
bool cpu_is_amd(const struct cpu *cpu);
/* Physical address bits (MAXPHYADDR). */
unsigned cpu_phys_bits(const struct cpu *cpu);
/* CR4 bits and XCR0 bits that the model has; others are reserved. */
u64 cpu_cr4_mask(const struct cpu *cpu);
u64 cpu_xcr0_mask(const struct cpu *cpu);

/* CPUID leaf and subleaf, with the dynamic bits (OSXSAVE, APIC ID...). */
struct cpuid_regs { u32 eax, ebx, ecx, edx; };
struct cpuid_regs cpu_cpuid(struct cpu *cpu, u32 leaf, u32 subleaf);

#endif

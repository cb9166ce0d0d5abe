/* Inside of a CPU model, for model.c, which makes it, and cpuid.c, which shows it. */
#ifndef DRAGOMAN_CPU_MODEL_H
#define DRAGOMAN_CPU_MODEL_H

#include "cpu/cpuid.h"

/* Feature registers: leaf and register; E: 800000xx. */
enum cpuid_word {
    W_1_EDX, W_1_ECX, W_6_EAX, W_7_EBX, W_7_ECX, W_7_EDX, W_72_EDX, W_D1_EAX, W_E1_EDX, W_E1_ECX,
    W_E7_EDX, W_E8_EBX, WORDS
};

struct cpu_model {
    const char *name, *brand; /* brand: leaves 80000002 to 80000004, if it has them */
    bool amd;
    u8 family, model, stepping;
    u32 level, xlevel; /* highest basic and extended leaf */
    u32 words[WORDS];
    u64 isa;       /* BIT64(enum isa) */
    unsigned cpus; /* in the machine */
};

/* Where a feature's bit is. */
struct feature_bit {
    u8 word, bit;
};
extern const struct feature_bit cpu_feature_bits[FEAT_COUNT];

static inline bool model_has(const struct cpu_model *m, enum cpu_feature f)
{
    return m->words[cpu_feature_bits[f].word] >> cpu_feature_bits[f].bit & 1;
}

#endif

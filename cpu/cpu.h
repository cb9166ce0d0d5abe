/* One vCPU: life cycle, exceptions, memory as instructions see it.  Implemented in cpu/. */
#ifndef DRAGOMAN_CPU_CPU_H
#define DRAGOMAN_CPU_CPU_H

#include "cpu/accel.h"
#include "cpu/state.h"

struct cpu_config {
    unsigned index;
    struct bus *bus;
    struct clock *clock;
    const struct cpu_model *model; /* cpu/cpuid.h */
};

/* Allocates a vCPU with its private stack of JIT_STACK_BYTES below it (page-aligned, guarded), in
 * power-on state; NULL when the host lacks memory. */
#define JIT_STACK_BYTES (256u << 10)
struct cpu *cpu_create(const struct cpu_config *config);
void cpu_destroy(struct cpu *cpu);

/* Power-on reset (SDM vol. 3A table 9-1); `init` leaves what INIT leaves. */
void cpu_reset(struct cpu *cpu, bool init);

/* Sets or clears bits in requests from any thread, and wakes a halted vCPU. */
void cpu_request(struct cpu *cpu, u32 bits);
void cpu_withdraw(struct cpu *cpu, u32 bits);

/* Called by an engine's run loop whenever requests, a pending exception or the interrupt shadow
 * may matter, with all state in struct cpu (flags may be lazy).  Delivers one event.  Returns
 * false when the engine must return to its caller: REQ_EXIT, or halted. */
bool cpu_service(struct cpu *cpu);

/* Whether the run loop must call cpu_service before the next block. */
static inline bool cpu_needs_service(const struct cpu *cpu)
{
    return atomic_load_explicit(&cpu->requests, memory_order_relaxed) != 0 ||
           cpu->exc_vector >= 0 || cpu->halted;
}

/* The vCPU thread's loop: runs the engine, sleeps while halted, until `*quit`.  Called with the
 * machine lock not held. */
void cpu_thread(struct cpu *cpu, const struct accel *accel, _Atomic bool *quit);

/* ---- exceptions (cpu/exception.c) ---- */
/* From a helper, while an instruction executes: syncs the engine, records the exception and
 * unwinds to the run loop.  RIP is that of the faulting instruction. */
void cpu_raise(struct cpu *cpu, int vector) __attribute__((noreturn));
void cpu_raise_error(struct cpu *cpu, int vector, u32 error) __attribute__((noreturn));
/* Turns a failed mmu status into #PF, #GP(0) or (stack) #SS(0). */
void cpu_raise_mmu(struct cpu *cpu, enum mmu_status status, bool stack) __attribute__((noreturn));
/* Records an exception at cpu->rip for the run loop without unwinding (fetch faults). */
void cpu_set_exception(struct cpu *cpu, int vector, bool has_error, u32 error);

/* ---- memory as the current instruction sees it; raise on faults ---- */
u64 cpu_load(struct cpu *cpu, u64 la, unsigned size);
void cpu_store(struct cpu *cpu, u64 la, unsigned size, u64 value);
void cpu_load_bytes(struct cpu *cpu, u64 la, void *buf, unsigned len);
void cpu_store_bytes(struct cpu *cpu, u64 la, const void *buf, unsigned len);
/* With supervisor rights: descriptor tables, TSS, interrupt frames of inner rings. */
u64 cpu_load_system(struct cpu *cpu, u64 la, unsigned size);
void cpu_store_system(struct cpu *cpu, u64 la, unsigned size, u64 value);
/* Kind of rights the current CPL, EFLAGS.AC and CR4.SMAP give. */
enum mmu_kind cpu_mmu_kind(const struct cpu *cpu);

/* ---- flags (cpu/flags.c) ---- */
/* Materialises lazy flags into eflags. */
void cpu_flags(struct cpu *cpu);
/* The whole EFLAGS image, materialised. */
u64 cpu_eflags(struct cpu *cpu);
/* Writes the whole image (IF, TF, AC... too); recomputes hflags. */
void cpu_set_eflags(struct cpu *cpu, u64 v);

/* ---- derived state ---- */
/* Recomputes hflags, spans and the mmu kind after CS, SS, DS, ES, CR0, CR4, EFER, MXCSR, XCR0,
 * TF, AC or CPL changed. */
void cpu_update_hflags(struct cpu *cpu);
/* Recomputes base/span_r/span_w of one segment register after it changed. */
void cpu_update_segment(struct cpu *cpu, enum sreg seg);
/* MXCSR changed: sets HF_SSE_EXC and the value that the host runs with. */
void cpu_set_mxcsr(struct cpu *cpu, u32 v);

/* The vCPU's time-stamp counter now. */
u64 cpu_tsc(struct cpu *cpu);

/* Registers as `info registers` and the triple-fault report print them. */
void cpu_print(struct cpu *cpu, print_fn print, void *opaque);

extern const struct field cpu_fields[]; /* state table of struct cpu */

#endif

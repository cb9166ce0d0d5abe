/* One vCPU: life cycle, exceptions, memory as instructions see it.  Implemented in cpu/. */
#ifndef DRAGOMAN_CPU_CPU_H
#define DRAGOMAN_CPU_CPU_H

#include "base/fields.h"
#include "cpu/accel.h"
#include "cpu/state.h"

struct cpu_config {
    unsigned index;
    struct bus *bus;
    struct clock *clock;
    const struct cpu_model *model; /* cpu/cpuid.h */
    const struct count_config *count; /* cpu/count.h; NULL: time does not follow instructions */
};

/* Allocates a vCPU with its private stack of JIT_STACK_BYTES below it (page-aligned, guarded), in
 * power-on state; NULL when the host lacks memory. */
#define JIT_STACK_BYTES (256u << 10)
struct cpu *cpu_create(const struct cpu_config *config);
void cpu_destroy(struct cpu *cpu);

/* Power-on reset (SDM vol. 3A table 9-1); `init` leaves what INIT leaves. */
void cpu_reset(struct cpu *cpu, bool init);

/* Raises or drops event lines from any thread, and wakes a halted vCPU.  REQ_INTR is a level;
 * NMI, INIT, SIPI and SMI stay latched until taken.  REQ_EXIT stays in requests until cpu_thread
 * (or whoever called accel->run) clears it with cpu_withdraw. */
void cpu_request(struct cpu *cpu, u32 bits);
void cpu_withdraw(struct cpu *cpu, u32 bits);

/* Queues fn for the vCPU's own thread, at its next cpu_service (REQ_WORK).  False when the host
 * has no memory.  Call from any thread. */
bool cpu_queue_work(struct cpu *cpu, void (*fn)(struct cpu *cpu, void *opaque), void *opaque);

/* The contract of an engine's run loop:
 *
 *     for (;;) {
 *         if (cpu->count && cpu->budget <= 0)
 *             count_stop(cpu);                   counted mode: cpu/count.h
 *         if (cpu_needs_service(cpu) && !cpu_serve(cpu))
 *             return;
 *         if (cpu->debug && !cpu_debug_before(cpu))
 *             continue;
 *         stepping = cpu->hflags & HF_TF;
 *         find or make the block for cpu->rip and cpu->hflags, execute it;
 *         cpu_one_done(cpu);                     after it, also after an unwind
 *         if ((stepping || cpu->debug & DBG_HITS) && the block was not left by a fault)
 *             cpu_debug_after(cpu, stepping);
 *     }
 *
 * Interrupt shadow (STI, MOV SS): helpers set cpu->irq_shadow.  While an event waits, cpu_service
 * clears it, sets HF_ONE and returns true; the engine executes that block of one instruction, and
 * cpu_one_done clears HF_ONE and rings the bell again.  So after cpu_service returned true the
 * engine must execute at least one instruction before it looks at requests again: check requests
 * at the ends of blocks and at back edges, never before a block's first instruction.
 *
 * Masked events: cpu_service takes bits out of requests and remembers them in cpu->pins; whatever
 * unmasks one (IF set, NMI unblocked) sets REQ_RECHECK, so requests is 0 while nothing can be
 * delivered. */

/* Called by an engine's run loop when cpu_needs_service, with all state in struct cpu (flags may
 * be lazy).  Delivers one event.  Returns false when the engine must return to its caller:
 * REQ_EXIT, or halted.  Order of events: SDM vol. 3A table 6-2. */
bool cpu_service(struct cpu *cpu);

/* Ends the HF_ONE of one block; see above. */
static inline void cpu_one_done(struct cpu *cpu)
{
    if (unlikely(cpu->hflags & HF_ONE)) {
        cpu->hflags &= ~(u32)HF_ONE;
        atomic_fetch_or(&cpu->requests, REQ_RECHECK);
    }
}

/* By an engine's run loop, where engine->unwind and redo have brought it. */
static inline void cpu_unwound(struct cpu *cpu)
{
    cpu->mmu.implicit = false;
}

/* Before a block, while cpu->debug is not 0: sets HF_ONE where instructions must be executed one by
 * one.  False: an instruction breakpoint; its #DB is recorded for cpu_service. */
bool cpu_debug_before(struct cpu *cpu);
/* After a block of one instruction that did not fault: the traps of data and port breakpoints and
 * of the single step (#DB, SDM vol. 3B 17.3.1), recorded for cpu_service. */
void cpu_debug_after(struct cpu *cpu, bool stepping);

/* Whether the run loop must call cpu_service before the next block. */
static inline bool cpu_needs_service(const struct cpu *cpu)
{
    return atomic_load_explicit(&cpu->requests, memory_order_relaxed) != 0 ||
           cpu->exc_vector >= 0 || cpu->halted;
}

/* cpu_service until nothing more can be delivered before the next instruction: an NMI that an IRET
 * has unblocked comes before the handler of that IRET's fault, whatever the blocks are. */
static inline bool cpu_serve(struct cpu *cpu)
{
    do {
        if (!cpu_service(cpu))
            return false;
    } while (cpu_needs_service(cpu) && !(cpu->hflags & HF_ONE));
    return true;
}

/* The vCPU thread's loop: runs the engine, sleeps while halted or paused, until `*quit` (set it,
 * then cpu_request(REQ_EXIT)).  Called with the machine lock not held. */
void cpu_thread(struct cpu *cpu, const struct accel *accel, _Atomic bool *quit);
/* Stops cpu_thread's guest and waits until it stands between two instructions; lets it go on.  Not
 * with the machine lock held (the vCPU may wait for it), not from the vCPU's own thread. */
void cpu_pause(struct cpu *cpu);
/* The first half of cpu_pause, from any thread with any lock held: the guest stops at the end of
 * its block; cpu_pause or cpu_resume must follow. */
void cpu_pause_soon(struct cpu *cpu);
void cpu_resume(struct cpu *cpu);

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
/* #AC(0) for an access at la whose alignment should be `align`, a power of two (SDM vol. 3A 6.15):
 * after the check that la is canonical, before paging, as processors do. */
void cpu_raise_misaligned(struct cpu *cpu, u64 la);
static inline void cpu_check_alignment(struct cpu *cpu, u64 la, unsigned align)
{
    if (unlikely(cpu->hflags & HF_ALIGN) && la & (align - 1))
        cpu_raise_misaligned(cpu, la);
}
/* With supervisor rights: descriptor tables, TSS, interrupt frames of inner rings. */
u64 cpu_load_system(struct cpu *cpu, u64 la, unsigned size);
void cpu_store_system(struct cpu *cpu, u64 la, unsigned size, u64 value);
/* Kind of rights the current CPL, EFLAGS.AC and CR4.SMAP give. */
static inline enum mmu_kind cpu_mmu_kind(const struct cpu *cpu)
{
    if (cpu->cpl == 3)
        return MMU_USER;
    return (cpu->cr4 & CR4_SMAP) && !(cpu->eflags & FL_AC) ? MMU_SUPERVISOR : MMU_SUPERVISOR_AC;
}
/* Rights of implicit accesses (descriptor tables, TSS, inner stacks): SDM vol. 3A 4.6. */
static inline enum mmu_kind cpu_system_kind(const struct cpu *cpu)
{
    return cpu->cr4 & CR4_SMAP ? MMU_SUPERVISOR : MMU_SUPERVISOR_AC;
}

/* Copies the instruction at rip as far as it is mapped, without faults; returns its bytes. */
unsigned cpu_peek_insn(struct cpu *cpu, u8 bytes[15]);

/* Permission of a port access by IOPL and the TSS's bit map; raises #GP(0) (SDM vol. 1 19.5). */
void cpu_check_io(struct cpu *cpu, u16 port, unsigned size);

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
/* The x87's control or status word was written: sets HF_X87_EXC, and takes FERR# back when no
 * unmasked exception is pending any more. */
void cpu_x87_loaded(struct cpu *cpu);

/* IF, NMI blocking or SMM changed: rings the bell if a waiting event can now be delivered. */
void cpu_unmask(struct cpu *cpu);

/* Time-stamp counter: fixed rate, independent of the host (2.5 GHz: exact in nanoseconds). */
#define CPU_TSC_KHZ 2500000u
/* The vCPU's time-stamp counter now. */
u64 cpu_tsc(struct cpu *cpu);
/* Virtual time (ns) at which the counter reaches `tsc`; 0 if that was before the clock's start. */
u64 cpu_tsc_to_ns(const struct cpu *cpu, u64 tsc);

/* Registers as `info registers` and the triple-fault report print them. */
void cpu_print(struct cpu *cpu, print_fn print, void *opaque);

extern const struct field cpu_fields[]; /* state table of struct cpu */
/* After fields_load: recomputes what is derived (spans, hflags, paging, segment caches). */
void cpu_loaded(struct cpu *cpu);

#endif

/* What the system-level files of cpu/ share: segments, stacks, events, task switches.  Private to
 * cpu/; everybody else uses cpu/cpu.h.
 */
#ifndef DRAGOMAN_CPU_SYSTEM_H
#define DRAGOMAN_CPU_SYSTEM_H

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/helpers.h"

/* ---- modes ---- */
static inline bool cpu_in_vm86(const struct cpu *cpu)
{
    return cpu->eflags & FL_VM;
}

/* Real-address or virtual-8086 mode: selectors are paragraphs. */
static inline bool cpu_paragraphs(const struct cpu *cpu)
{
    return !(cpu->cr0 & CR0_PE) || (cpu->eflags & FL_VM);
}

static inline bool cpu_lma(const struct cpu *cpu)
{
    return cpu->efer & EFER_LMA;
}

static inline bool cpu_code64(const struct cpu *cpu)
{
    return (cpu->efer & EFER_LMA) && (cpu->seg[SEG_CS].attr & SEG_L);
}

static inline unsigned cpu_iopl(const struct cpu *cpu)
{
    return (unsigned)(cpu->eflags >> 12) & 3;
}

static inline bool canonical(u64 la)
{
    return sign_extend(la, 48) == (s64)la;
}

static inline unsigned attr_dpl(u16 attr)
{
    return attr >> 5 & 3;
}

/* Raises #GP(0) unless CPL is 0. */
static inline void require_cpl0(struct cpu *cpu)
{
    if (unlikely(cpu->cpl))
        cpu_raise_error(cpu, EXC_GP, 0);
}

/* ---- descriptors (cpu/segment.c) ---- */

/* System descriptor types, SDM vol. 3A table 3-2. */
enum {
    DT_TSS16 = 1, DT_LDT = 2, DT_TSS16_BUSY = 3, DT_CALL16 = 4, DT_TASK = 5, DT_INTR16 = 6,
    DT_TRAP16 = 7, DT_TSS32 = 9, DT_TSS32_BUSY = 11, DT_CALL32 = 12, DT_INTR32 = 14,
    DT_TRAP32 = 15,
};

struct descriptor {
    u64 raw;  /* low 8 bytes */
    u64 high; /* upper 8 bytes of a 16-byte system descriptor in long mode, else 0 */
    u64 la;   /* where it lies */
    struct segment seg; /* base, limit and attributes as a segment (no spans, no selector) */
};

/* Error code that names a selector. */
static inline u32 sel_error(u16 sel)
{
    return sel & 0xfffcu;
}

static inline bool sel_null(u16 sel)
{
    return !(sel & 0xfffc);
}

static inline unsigned desc_type(const struct descriptor *d)
{
    return d->seg.attr & SEG_TYPE;
}

static inline unsigned desc_dpl(const struct descriptor *d)
{
    return attr_dpl(d->seg.attr);
}

static inline bool desc_is_code(const struct descriptor *d)
{
    return (d->seg.attr & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}

static inline bool desc_conforming(const struct descriptor *d)
{
    return d->seg.attr & SEG_DC;
}

/* Data segment that may be written: what SS needs. */
static inline bool desc_is_stack(const struct descriptor *d)
{
    return (d->seg.attr & (SEG_S | SEG_CODE | SEG_RW)) == (SEG_S | SEG_RW);
}

/* Target and size of a gate. */
static inline u16 gate_selector(const struct descriptor *d)
{
    return (u16)(d->raw >> 16);
}
u64 gate_offset(const struct descriptor *d);

/* Reads the descriptor that sel names; false when it lies outside its table. */
bool desc_read(struct cpu *cpu, u16 sel, struct descriptor *d);
/* For a system descriptor: in long mode also its upper 8 bytes, with base bits 63:32. */
bool desc_read_upper(struct cpu *cpu, u16 sel, struct descriptor *d);
/* Reads 8 (or with `wide`, 16) bytes of a gate at la. */
void desc_read_at(struct cpu *cpu, u64 la, bool wide, struct descriptor *d);
/* Sets the accessed bit in memory and in d if it is clear. */
void desc_set_accessed(struct cpu *cpu, struct descriptor *d);
/* Sets or clears the busy bit of a TSS descriptor in memory. */
void desc_set_busy(struct cpu *cpu, u16 sel, bool busy);

/* One look of a vCPU that sleeps in MWAIT: whether it is to wake.  By its own thread. */
bool cpu_mwait_over(struct cpu *cpu);
/* XINUSE: components of x87, SSE and AVX state that are not as initialised (SDM vol. 1, 13.6). */
u64 cpu_xinuse(const struct cpu *cpu);
/* Installs a register's selector and hidden part; cpu_update_hflags is the caller's. */
void seg_install(struct cpu *cpu, enum sreg seg, u16 sel, const struct segment *hidden);
void seg_install_null(struct cpu *cpu, enum sreg seg, u16 sel);
/* Real and virtual-8086 mode: base = sel * 16. */
void seg_install_paragraph(struct cpu *cpu, enum sreg seg, u16 sel);

/* The checks of loading a data or stack segment register (not CS): raises; fills d unless the
 * selector is null (returns false then).  SDM vol. 2 MOV. */
bool seg_check_load(struct cpu *cpu, enum sreg seg, u16 sel, struct descriptor *d);
/* Checks a new SS for privilege level `dpl`, with #TS for a bad one (inner stacks) or #GP. */
void seg_check_stack(struct cpu *cpu, u16 sel, unsigned dpl, int vector, u32 ext,
                     struct descriptor *d);
/* Whether [off, off+n) may be accessed through s, in protected mode with its type. */
bool seg_allows(const struct cpu *cpu, const struct segment *s, u64 off, unsigned n, bool store);

/* ---- stacks (cpu/stack.c) ---- */

/* A stack that is being pushed to or popped from; registers change only with stack_commit. */
struct stack {
    struct cpu *cpu;
    struct segment ss;
    u64 sp, mask;
    enum mmu_kind kind;
    u32 error; /* of #SS */
    bool flat64;
};

/* The current stack with the current rights. */
void stack_current(struct stack *s, struct cpu *cpu);
void stack_push(struct stack *s, unsigned size, u64 v);
u64 stack_pop(struct stack *s, unsigned size);
/* Element n of `size` bytes above the pointer. */
u64 stack_peek(struct stack *s, unsigned size, unsigned n);
/* RSP, ESP or SP = s->sp, by the width of the stack. */
void stack_commit(const struct stack *s);
/* Writes sp to RSP by the width of the stack segment that is loaded now. */
void stack_set_pointer(struct cpu *cpu, u64 sp);

/* SS:SP of an inner ring from the current TSS (SDM vol. 3A 7.2.1); 32-bit and 16-bit TSS. */
void tss_stack(struct cpu *cpu, unsigned dpl, u32 ext, u16 *ss, u64 *sp);
/* RSP0-2 (n 0-2) or IST1-7 (n 3 + ist) of the 64-bit TSS. */
u64 tss_stack64(struct cpu *cpu, unsigned n, u32 ext);

/* ---- events (cpu/exception.c) ---- */
struct event {
    int vector;
    bool soft;      /* INT n, INT3, INTO: gate DPL and (in VM86) IOPL are checked */
    bool has_error;
    u32 error;
    u32 ext;        /* EXT bit of error codes: 0 for INT n */
    u64 rip;        /* what is pushed */
    bool set_rf;    /* fault: RF is 1 in the pushed image (SDM vol. 3B 17.3.1.1) */
};
/* Goes through the IVT or IDT; registers change only when nothing can fault any more. */
void event_deliver(struct cpu *cpu, const struct event *e);
/* Like cpu_raise_error for the #SS, #GP... that name a selector while an event is delivered. */
void raise_sel(struct cpu *cpu, int vector, u16 sel, u32 ext) __attribute__((noreturn));

/* Delivers the event in exc_*, with double and triple faults; for cpu_service. */
void cpu_deliver_pending(struct cpu *cpu);

/* The shutdown state, which the board answers with a reset (SDM vol. 3A 6.15, #DF). */
void cpu_shutdown(struct cpu *cpu);

/* EXT bit for errors of what executes now: 1 while cpu_service delivers. */
static inline u32 cpu_ext(const struct cpu *cpu)
{
    return cpu->guard != NULL;
}

/* ---- the virtual interrupt flag (cpu/iflag.c) ---- */
/* In virtual-8086 mode: whether PUSHF, POPF and IRET of `size` bytes work on the real flags; false
 * for the virtual ones of CR4.VME; raises #GP(0) where there is neither. */
bool iflag_vm86_plain(struct cpu *cpu, unsigned size);
/* The 16-bit image of the virtual flags: IF is VIF, IOPL 3. */
u64 iflag_virtual_image(struct cpu *cpu);
/* The flags after such an image is loaded; raises #GP(0). */
u64 iflag_virtual_load(struct cpu *cpu, u64 image);
/* After a transfer that may have loaded VIF and VIP together: records #GP(0) at the new rip (SDM
 * vol. 3B 20.3.2). */
void iflag_check_pending(struct cpu *cpu);
/* INT n in virtual-8086 mode: true when the 8086 program's own handler has been entered, false when
 * the IDT's has to be; raises #GP(0). */
bool iflag_vm86_int(struct cpu *cpu, unsigned vector, u64 next);

/* ---- debugging (cpu/debug.c) ---- */
/* DR0-DR3, DR7 or CR4.DE changed: arms what they say. */
void debug_update(struct cpu *cpu);
/* DEBUGCTL changed. */
void debug_branch_steps(struct cpu *cpu);
/* The current instruction has met breakpoints (bits as in DR6), before it did what they are for.
 * Returns if it is alone in its block; else does not, and the instruction is done again. */
void debug_hit(struct cpu *cpu, unsigned hits);
/* A port access comes next; only while cpu->debug_io. */
void debug_io(struct cpu *cpu, u16 port, unsigned size);
/* SS is being loaded, shadow_rip is set. */
void debug_shadow(struct cpu *cpu);
/* What #DB changes as it is delivered. */
void debug_delivered(struct cpu *cpu);
/* FL_RF if `flags`, which are being loaded, have it and something could see it before the next
 * instruction is done; else 0. */
u64 debug_take_rf(struct cpu *cpu, u64 flags);

/* ---- task switches (cpu/task.c) ---- */
enum task_reason { TASK_JMP, TASK_CALL, TASK_IRET, TASK_EVENT };
/* Switches to the TSS that sel names (already checked by the caller to be a TSS that is
 * available, or busy for IRET); next_rip goes to the old TSS.  For an event with an error code
 * it is pushed on the new stack. */
void task_switch(struct cpu *cpu, u16 sel, struct descriptor *d, enum task_reason reason,
                 u64 next_rip, const struct event *e);
/* JMP, CALL or an event through a task gate. */
void task_gate(struct cpu *cpu, const struct descriptor *gate, u16 gate_sel,
               enum task_reason reason, u64 next_rip, const struct event *e);

/* ---- transfers ---- */
/* Loads CS with selector and hidden part of d at privilege cpl, RIP, and all that follows. */
void cs_install(struct cpu *cpu, u16 sel, const struct segment *hidden, unsigned cpl, u64 rip);
/* A flat segment as SYSCALL and its kin load: base 0, 4 GiB, attributes given. */
void seg_install_flat(struct cpu *cpu, enum sreg seg, u16 sel, u16 attr);
/* Raises #GP(ext) unless rip is inside the target code segment (or canonical in 64-bit mode). */
void check_target(struct cpu *cpu, const struct segment *cs, u64 rip, u32 ext);

/* ---- control registers ---- */
/* Hands CR0, CR3, CR4 and EFER to the MMU and recomputes hflags. */
void cpu_update_paging(struct cpu *cpu);
/* False: #GP(0). */
bool cpu_write_efer(struct cpu *cpu, u64 v);
/* Loads PKRU, as WRPKRU and XRSTOR do. */
static inline void cpu_set_pkru(struct cpu *cpu, u32 v)
{
    cpu->pkru = v;
    mmu_set_pkru(&cpu->mmu, v);
}
/* EFER bits that the model has. */
u64 cpu_efer_mask(const struct cpu *cpu);
/* Whether PAE paging, if on, would find its PDPTEs without reserved bits. */
bool cpu_pdptes_valid(struct cpu *cpu);
/* CR3 as a task switch or MOV loads it; raises #GP(0). */
void cpu_write_cr3(struct cpu *cpu, u64 v);

/* ---- MSRs (cpu/msr.c) ---- */
/* Bits of IA32_MISC_ENABLE that change what CPUID says. */
#define MISC_ENABLE_MONITOR BIT64(18)
#define MISC_ENABLE_LIMIT_CPUID BIT64(22)
#define MISC_ENABLE_NO_XD BIT64(34)
bool cpu_read_msr(struct cpu *cpu, u32 msr, u64 *v);
bool cpu_write_msr(struct cpu *cpu, u32 msr, u64 v);
void msr_reset(struct cpu *cpu);

/* ---- system management mode (cpu/smm.c) ---- */
void smm_enter(struct cpu *cpu);

#endif

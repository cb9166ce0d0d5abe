/* Architectural state of one vCPU, and what emitted code keeps beside it.
 *
 * The JIT runs with the host stack pointer at the start of struct cpu (a private stack lies below
 * it), so that the first 128 bytes are reached with a short displacement: they are for what emitted
 * code reaches most.  Everything is explicit: no global CPU.
 */
#ifndef DRAGOMAN_CPU_STATE_H
#define DRAGOMAN_CPU_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/types.h"
#include "mmu/mmu.h"

enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum sreg { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* EFLAGS, SDM vol. 1 3.4.3. */
enum {
    FL_CF = 1 << 0, FL_FIXED = 1 << 1, FL_PF = 1 << 2, FL_AF = 1 << 4, FL_ZF = 1 << 6,
    FL_SF = 1 << 7, FL_TF = 1 << 8, FL_IF = 1 << 9, FL_DF = 1 << 10, FL_OF = 1 << 11,
    FL_IOPL = 3 << 12, FL_NT = 1 << 14, FL_RF = 1 << 16, FL_VM = 1 << 17, FL_AC = 1 << 18,
    FL_VIF = 1 << 19, FL_VIP = 1 << 20, FL_ID = 1 << 21,
    FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};

/* Control registers and EFER, SDM vol. 3A 2.5 and 2.2.1. */
enum {
    CR0_PE = 1 << 0, CR0_MP = 1 << 1, CR0_EM = 1 << 2, CR0_TS = 1 << 3, CR0_ET = 1 << 4,
    CR0_NE = 1 << 5, CR0_WP = 1 << 16, CR0_AM = 1 << 18, CR0_NW = 1 << 29, CR0_CD = 1 << 30,
};
#define CR0_PG 0x80000000u
enum {
    CR4_VME = 1 << 0, CR4_PVI = 1 << 1, CR4_TSD = 1 << 2, CR4_DE = 1 << 3, CR4_PSE = 1 << 4,
    CR4_PAE = 1 << 5, CR4_MCE = 1 << 6, CR4_PGE = 1 << 7, CR4_PCE = 1 << 8, CR4_OSFXSR = 1 << 9,
    CR4_OSXMMEXCPT = 1 << 10, CR4_UMIP = 1 << 11, CR4_LA57 = 1 << 12, CR4_FSGSBASE = 1 << 16,
    CR4_PCIDE = 1 << 17, CR4_OSXSAVE = 1 << 18, CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21,
    CR4_PKE = 1 << 22,
};
enum {
    EFER_SCE = 1 << 0, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, EFER_NXE = 1 << 11,
};

/* Exception vectors, SDM vol. 3A 6.3.1. */
enum {
    EXC_DE = 0, EXC_DB = 1, EXC_NMI = 2, EXC_BP = 3, EXC_OF = 4, EXC_BR = 5, EXC_UD = 6,
    EXC_NM = 7, EXC_DF = 8, EXC_TS = 10, EXC_NP = 11, EXC_SS = 12, EXC_GP = 13, EXC_PF = 14,
    EXC_MF = 16, EXC_AC = 17, EXC_MC = 18, EXC_XM = 19,
};

/* Segment attributes as in the second descriptor dword, shifted right by 8: bits 0-3 type, 4 S,
 * 5-6 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G. */
enum {
    SEG_TYPE = 0xf, SEG_A = 1 << 0, SEG_RW = 1 << 1, SEG_DC = 1 << 2, SEG_CODE = 1 << 3,
    SEG_S = 1 << 4, SEG_DPL = 3 << 5, SEG_P = 1 << 7, SEG_AVL = 1 << 12, SEG_L = 1 << 13,
    SEG_DB = 1 << 14, SEG_G = 1 << 15,
};

struct segment {
    u64 base;
    /* Inline limit check: an access at offset o of n bytes is fine if o + n <= span_r (loads) or
     * span_w (stores).  0 when unusual (null, expand-down, not writable...): ask the helper. */
    u64 span_r, span_w;
    u32 limit; /* in bytes, granularity applied */
    u16 selector;
    u16 attr;
};

struct desc_table {
    u64 base;
    u16 limit;
};

union vec {
    u8 b[64];
    u16 w[32];
    u32 d[16];
    u64 q[8];
    float s[16];
    double f[8];
};

/* One 80-bit register, as memory holds it. */
struct fpreg {
    u64 mant;
    u16 sexp;
    u16 pad[3];
};

struct x87 {
    struct fpreg r[8]; /* physical registers R0-R7; ST(i) is r[(top + i) & 7] */
    u16 fcw, fsw;      /* TOP lives in fsw bits 11-13 */
    u8 ftw;            /* abridged: bit i set = R[i] is not empty */
    u32 fop;           /* 11 bits */
    u64 fip, fdp;
    u16 fcs, fds;
};

/* How the arithmetic flags are held between blocks.  LAZY_NONE: eflags holds them.  Otherwise
 * they are those of the operation on lazy_a, lazy_b at the width in the low two bits
 * (log2 bytes); cpu/flags.c materialises. */
enum lazy_kind {
    LAZY_NONE = 0,
    LAZY_ADD = 4,   /* a + b */
    LAZY_SUB = 8,   /* a - b */
    LAZY_LOGIC = 12, /* result a */
    LAZY_ADD_RES = 16, /* a is the sum, b the second operand */
    LAZY_SUB_RES = 20, /* a is the difference, b the subtrahend */
    LAZY_SHL = 24,  /* a << b, b masked and not 0 */
    LAZY_SHR = 28,
    LAZY_SAR = 32,
    LAZY_MULU = 36, /* low half a, high half b of an unsigned product */
    LAZY_MULS = 40, /* the same of a signed one */
    LAZY_AHF = 44,  /* a is AX after LAHF and SETO AL */
};

/* What translated code depends on; part of a block's key (at most 16 bits, see block.h). */
enum {
    HF_LONG = 1 << 0,      /* CS.L: 64-bit code */
    HF_CS32 = 1 << 1,      /* CS.D */
    HF_SS32 = 1 << 2,      /* SS.B */
    HF_PE = 1 << 3,
    HF_VM = 1 << 4,        /* virtual-8086 */
    HF_USER = 1 << 5,      /* CPL 3 */
    HF_FLAT = 1 << 6,      /* DS, ES, SS: base 0, whole range, writable (or HF_LONG) */
    HF_CSFLAT = 1 << 7,    /* CS: base 0, whole range (or HF_LONG) */
    HF_NOFPU = 1 << 8,     /* CR0.EM or TS: x87/MMX raise #NM (EM: MMX #UD) */
    HF_NOSSE = 1 << 9,     /* CR0.EM, TS or !CR4.OSFXSR: SSE raises #UD or #NM */
    HF_SSE_EXC = 1 << 10,  /* some MXCSR exception is unmasked: check each operation */
    HF_TF = 1 << 11,       /* single-step: one instruction a block, then #DB */
    HF_ONE = 1 << 12,      /* one instruction a block (interrupt shadow, code rewriting itself) */
    HF_ALIGN = 1 << 13,    /* CR0.AM, EFLAGS.AC and CPL 3: #AC checks */
    HF_AVX = 1 << 14,      /* CR4.OSXSAVE and XCR0 enables AVX */
    HF_X87_EXC = 1 << 15,  /* some x87 exception is unmasked: check each operation */
    HF_APART = 1 << 16,    /* of blocks alone: their accesses share no checks (x64_page.c) */
};

/* Reasons in cpu.requests: set by any thread, seen by emitted code at back edges. */
enum {
    REQ_INTR = 1 << 0,  /* the interrupt pin is high */
    REQ_NMI = 1 << 1,
    REQ_INIT = 1 << 2,
    REQ_SIPI = 1 << 3,
    REQ_SMI = 1 << 4,
    REQ_EXIT = 1 << 5,  /* leave the run loop: stop, reset, quit */
    REQ_WORK = 1 << 6,  /* run queued work (TLB shootdown, code flush) */
    REQ_RECHECK = 1 << 7, /* IF or the shadow changed: look at the pins again */
};

struct cpu;

/* The interrupt controller as the CPU sees it; the board fills it in (devices/board/pc.c). */
struct irq_ops {
    int (*ack)(void *opaque);            /* INTA: the vector, or -1 if the request went away */
    u64 (*get_apic_base)(void *opaque);
    bool (*set_apic_base)(void *opaque, u64 v); /* false: #GP(0) */
    u8 (*get_tpr)(void *opaque);         /* CR8 */
    void (*set_tpr)(void *opaque, u8 v);
    bool (*read_x2apic)(void *opaque, u32 msr, u64 *v); /* false: #GP(0) */
    bool (*write_x2apic)(void *opaque, u32 msr, u64 v);
    u64 (*get_tsc_deadline)(void *opaque);
    void (*set_tsc_deadline)(void *opaque, u64 v);
    void (*set_ferr)(void *opaque, bool level); /* the FERR# pin; NULL: not connected */
    void (*tsc_moved)(void *opaque); /* tsc_offset has changed; may be NULL */
};

/* What an engine must do for cpu/ (upward calls are hooks, docs/design.md). */
struct engine_hooks {
    /* Make rip, eflags and all registers in struct cpu those of the start of the instruction that
     * is executing; called before an exception is built. */
    void (*sync)(struct cpu *cpu);
    /* Leave the current block and go back to the run loop; does not return. */
    void (*unwind)(struct cpu *cpu) __attribute__((noreturn));
    /* The same, to execute the current instruction again in a block of its own (HF_ONE); nothing
     * of it may have been done that must not be done twice. */
    void (*redo)(struct cpu *cpu) __attribute__((noreturn));
    /* Counted mode, while an instruction executes: returns if it is the only one of its block (or
     * none executes), else leaves to do it again in a block of its own. */
    void (*alone)(struct cpu *cpu);
    /* Evaluates one vector op with its MXCSR exceptions observed: set it to ir_vec_checked
     * (translator/ir_eval_vec.h), which says what the arguments are. */
    u64 (*vec_op)(struct cpu *cpu, u64 what, u64 imm, u64 i);
};

/* cpu.debug: what the run loop looks at around blocks; 0 when there is nothing (cpu/debug.c). */
enum {
    DBG_HITS = 0xf,       /* breakpoints that the current instruction has met, as in DR6 */
    DBG_CODE = 1 << 4,    /* an instruction breakpoint is armed */
    DBG_SHADOW = 1 << 5,  /* MOV SS or POP SS: no debug exception before shadow_rip is done */
    DBG_RF = 1 << 6,      /* EFLAGS.RF is set, and matters */
    DBG_BTF = 1 << 7,     /* TF stops after branches only */
    DBG_BRANCH = 1 << 8,  /* the instruction that is stepped is a branch, ... */
    DBG_COND = 1 << 9,    /* ... a conditional one */
};
#define DEBUGCTL_BTF 2u

/* What a transfer has read and found good (cpu/short.c): raw descriptors, and the segments that
 * they make.  Where it was read (_at, in the host's memory) holds while mmu.generation and the
 * bases of the tables are these. */
struct gate_memo {
    u64 gate[2], cs_raw;
    const u8 *gate_at[2], *cs_at, *sp_at;
    u64 generation, idt, gdt, tss;
    struct segment cs;
    u8 vector, from, to; /* privilege levels */
    bool soft;
};
struct iret_memo {
    u64 cs_raw, ss_raw;
    const u8 *cs_at, *ss_at;
    u64 generation, gdt;
    struct segment cs, ss;
    u8 from;
    bool present, known; /* SS is not null; there is a memo */
};

struct cpu_model; /* cpu/cpuid.h */

struct cpu {
    /* ---- reached by emitted code ---- */
    _Atomic u32 requests;
    u8 lazy_kind;     /* enum lazy_kind | log2 width */
    bool x87_host;    /* engine: the host's x87 holds registers, control and status word */
    bool vec_host;    /* engine: vector registers are in the host's; never while C runs */
    u64 lazy_a, lazy_b;
    u64 slow_addr, slow_value[4]; /* engine: operands of the memory slow path */
    u64 rip;          /* RIP/EIP/IP: offset in CS */
    u32 exit_id;      /* engine: which exit emitted code took */
    u32 mxcsr;
    u64 spill[64];    /* engine: values that found no register; the first are used most */
    u64 gpr[16];      /* those without a home register are reached by emitted code */
    u64 eflags;       /* arithmetic flags valid only when lazy_kind == LAZY_NONE */
    u32 hflags;       /* HF_ */
    u64 host_sp, host_ret; /* engine: stack of the run loop, return address of the helper call */
    u32 host_mxcsr, guest_mxcsr_host; /* engine: what LDMXCSR loads on leaving and entering */
    u64 vspill[16][4] __attribute__((aligned(32))); /* the same for vectors */
    u64 scratch[3];   /* engine: RAX, RCX, RDX at a slow path or exit */
    u64 call_arg[4];  /* engine: arguments of a helper call */
    s64 budget;       /* counted mode: instructions left before the run loop must look around */
    struct segment seg[SEG_COUNT];
    struct mmu mmu;
    union vec xmm[32] __attribute__((aligned(64)));
    union vec vtmp[4] __attribute__((aligned(64))); /* operands of vector helpers */
    struct x87 x87;

    /* ---- the rest of the architecture ---- */
    struct desc_table gdt, idt;
    u64 cr0, cr2, cr3, cr4, xcr0;
    u32 pkru;
    u64 dr[8], debugctl;
    u32 debug;           /* DBG_ */
    u8 debug_code, debug_io; /* which breakpoints are on execution and on ports */
    u64 debug_next;      /* where the instruction that is stepped ends */
    u64 efer, star, lstar, cstar, sfmask, kernel_gs_base, tsc_aux, pat;
    u64 sysenter_cs, sysenter_esp, sysenter_eip;
    u64 misc_enable, tsc_adjust, mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
    u64 mcg_status, mc_ctl[4], mc_status[4], smbase;
    s64 tsc_offset;      /* guest TSC = virtual-clock ticks + offset */
    u64 tsc_khz;
    u8 cpl;
    bool halted;         /* HLT until an interrupt, MWAIT */
    bool mwait;          /* ...also until the monitored line changes, or for a while */
    bool mwait_masked;   /* ...or an interrupt is pending, masked or not */
    unsigned mwait_turns; /* looks at the line that are left until it wakes anyway */
    const u64 *monitored; /* line of 64 bytes that MONITOR has armed, in the host's memory; NULL */
    u64 monitor_was[8];  /* what was in it */
    bool wait_sipi;      /* after INIT, an AP waits for SIPI */
    bool nmi_blocked, in_smm;
    bool smm_nmi_blocked; /* NMIs were blocked when the SMI came */
    bool irq_shadow;     /* STI, MOV SS, POP SS: no interrupt before the next instruction ends... */
    u64 shadow_rip;      /* ...which is the one here: elsewhere the shadow is over */
    u8 sipi_vector;
    bool ferr;           /* FERR#: an x87 exception waits for the interrupt controller */
    _Atomic bool ignne;  /* IGNNE#: x87 instructions go on nevertheless */

    /* ---- exception being built or delivered ---- */
    int exc_vector;      /* -1 when none is pending for the run loop to deliver */
    u32 exc_error;
    bool exc_has_error;
    bool exc_rf;         /* the pushed image has RF set */
    bool exc_soft;       /* INT n, INT3, INTO: rip is that of the next instruction */
    int exc_delivering;  /* vector under delivery, for double faults; -1 when none */
    bool exc_ext;        /* delivery of an external event: EXT bit of error codes */

    /* ---- surroundings ---- */
    unsigned index;
    struct clock *clock;
    struct bus *bus;
    const struct irq_ops *irq;
    void *irq_opaque;
    const struct engine_hooks *engine;
    void *engine_data;
    u64 *short_transfers;    /* the engine's count of them (cpu/short.c); NULL: none are made */
    struct cpu_count *count; /* counted mode (cpu/count.h), else NULL */
    const struct cpu_model *model;
    void (*request_reset)(void *opaque); /* triple fault; from the vCPU's thread */
    void *reset_opaque;
    bool no_reboot_on_triple;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake; /* signalled when requests becomes non-zero */

    /* ---- private to cpu/ ---- */
    _Atomic u32 pins;    /* REQ_INTR..REQ_SMI that wait, even while masked; requests is the bell */
    void *guard;         /* jmp_buf of cpu_service while it delivers an event, else NULL */
    bool step_skip;      /* no single-step trap after this instruction (INT n, SYSCALL) */
    bool shut_down;      /* triple fault: waits for a reset */
    bool stopping, parked; /* cpu_pause; under wake_lock */
    struct cpu_work *work; /* cpu_queue_work; under wake_lock */
    u8 exc_depth;        /* exceptions in exc_chain: what led to a double or triple fault */
    u8 exc_chain[3];
    u32 exc_chain_error[3];
    u64 spec_ctrl, mcg_ctl, mc_addr[4], mc_misc[4];
    struct gate_memo gate_memos[16]; /* by vector */
    struct iret_memo iret_memos[2];  /* [1]: to CPL 3 */
};

#endif

/* Exceptions and interrupts: raising, double and triple faults, delivery through the IVT and the
 * 16-, 32- and 64-bit IDT.  SDM vol. 3A chapter 6; INT n pseudo-code in vol. 2A.
 *
 * Delivery runs inside cpu_service with cpu->guard set, or directly from the INT n helper; a fault
 * on the way raises like any other: cpu_raise goes to the guard or to the engine.  Nothing in
 * struct cpu changes before the last access that can fault.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "cpu/count.h"
#include "cpu/system.h"
#include "cpu/transfer.h"

/* Faults push RF (SDM vol. 3B 17.3.1.1); of #DB some do, see cpu/debug.c. */
static bool is_fault(int vector)
{
    return vector != EXC_DB && vector != EXC_NMI && vector != EXC_BP && vector != EXC_OF &&
           vector != EXC_DF && vector != EXC_MC;
}

void cpu_set_exception(struct cpu *cpu, int vector, bool has_error, u32 error)
{
    cpu->exc_vector = vector;
    cpu->exc_has_error = has_error;
    cpu->exc_error = error;
    cpu->exc_soft = false;
    cpu->exc_ext = false;
    cpu->exc_rf = is_fault(vector);
    if (vector == EXC_PF)
        cpu->cr2 = cpu->mmu.fault_addr;
}

static void raise(struct cpu *cpu, int vector, bool has_error, u32 error)
    __attribute__((noreturn));
static void raise(struct cpu *cpu, int vector, bool has_error, u32 error)
{
    if (cpu->guard) {
        cpu_set_exception(cpu, vector, has_error, error);
        longjmp(*(jmp_buf *)cpu->guard, 1);
    }
    cpu->engine->sync(cpu);
    cpu->debug &= ~(u32)DBG_HITS;
    cpu_set_exception(cpu, vector, has_error, error);
    cpu->engine->unwind(cpu);
}

void cpu_raise(struct cpu *cpu, int vector)
{
    raise(cpu, vector, false, 0);
}

void cpu_raise_error(struct cpu *cpu, int vector, u32 error)
{
    raise(cpu, vector, true, error);
}

void raise_sel(struct cpu *cpu, int vector, u16 sel, u32 ext)
{
    raise(cpu, vector, true, sel_error(sel) | ext);
}

u64 helper_raise(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    raise(cpu, (int)a, c != 0, (u32)b);
}

/* ---- delivery ---- */

static void raise_gate(struct cpu *cpu, int exc, const struct event *e) __attribute__((noreturn));
static void raise_gate(struct cpu *cpu, int exc, const struct event *e)
{
    raise(cpu, exc, true, (u32)e->vector * 8 + 2 + e->ext);
}

/* Real mode: the IVT (SDM vol. 3B 20.1.4); no error codes. */
static void deliver_real(struct cpu *cpu, const struct event *e)
{
    struct stack s;
    unsigned at = (unsigned)e->vector * 4;

    if (at + 3 > cpu->idt.limit)
        raise_gate(cpu, EXC_GP, e);
    u64 ip = cpu_load_system(cpu, (u32)(cpu->idt.base + at), 2);
    u16 cs = (u16)cpu_load_system(cpu, (u32)(cpu->idt.base + at + 2), 2);
    stack_current(&s, cpu);
    stack_push(&s, 2, cpu->eflags | FL_FIXED);
    stack_push(&s, 2, cpu->seg[SEG_CS].selector);
    stack_push(&s, 2, e->rip);
    stack_commit(&s);
    cpu->eflags &= ~(u64)(FL_IF | FL_TF | FL_AC | FL_RF);
    seg_install_paragraph(cpu, SEG_CS, cs);
    cpu->rip = ip;
    cpu_update_hflags(cpu);
}

/* Reads and checks the gate; false for a task gate. */
static bool read_gate(struct cpu *cpu, const struct event *e, struct descriptor *gate)
{
    bool wide = cpu_lma(cpu);
    unsigned size = wide ? 16 : 8, at = (unsigned)e->vector * size;

    if (at + size - 1 > cpu->idt.limit)
        raise_gate(cpu, EXC_GP, e);
    desc_read_at(cpu, cpu->idt.base + at, wide, gate);
    unsigned type = desc_type(gate);
    bool ok = type == DT_INTR32 || type == DT_TRAP32 ||
              (!wide && (type == DT_INTR16 || type == DT_TRAP16 || type == DT_TASK));
    if ((gate->seg.attr & SEG_S) || !ok)
        raise_gate(cpu, EXC_GP, e);
    if (e->soft && desc_dpl(gate) < cpu->cpl)
        raise_gate(cpu, EXC_GP, e);
    if (!(gate->seg.attr & SEG_P))
        raise_gate(cpu, EXC_NP, e);
    return type != DT_TASK;
}

/* Checks the handler's code segment; returns the privilege level that it runs at. */
static unsigned read_handler(struct cpu *cpu, const struct event *e, u16 sel,
                             struct descriptor *cs)
{
    if (sel_null(sel))
        cpu_raise_error(cpu, EXC_GP, e->ext);
    if (!desc_read(cpu, sel, cs) || !desc_is_code(cs) || desc_dpl(cs) > cpu->cpl)
        raise_sel(cpu, EXC_GP, sel, e->ext);
    if (cpu_lma(cpu) && (cs->seg.attr & (SEG_L | SEG_DB)) != SEG_L)
        raise_sel(cpu, EXC_GP, sel, e->ext);
    if (!(cs->seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, e->ext);
    unsigned cpl = desc_conforming(cs) ? cpu->cpl : desc_dpl(cs);
    if (cpu_in_vm86(cpu) && cpl != 0)
        raise_sel(cpu, EXC_GP, sel, e->ext);
    return cpl;
}

static u64 pushed_flags(const struct cpu *cpu, const struct event *e)
{
    return cpu->eflags | FL_FIXED | (e->set_rf ? FL_RF : 0);
}

/* What a handler starts with: SDM vol. 3A 6.12.1. */
static void enter_handler(struct cpu *cpu, const struct event *e, u16 sel,
                          const struct descriptor *cs, unsigned cpl, u64 rip, bool interrupt_gate)
{
    cpu->eflags &= ~(u64)(FL_TF | FL_NT | FL_RF | FL_VM | (interrupt_gate ? FL_IF : 0));
    cs_install(cpu, (u16)((sel & 0xfffc) | cpl), &cs->seg, cpl, rip);
}

/* Long mode, SDM vol. 3A 6.14. */
static void deliver_long(struct cpu *cpu, const struct event *e)
{
    struct descriptor gate, cs;
    u64 frame[6], sp = cpu->gpr[RSP];
    unsigned from = cpu->cpl;

    if (short_deliver(cpu, e))
        return;
    read_gate(cpu, e, &gate);
    u16 sel = gate_selector(&gate);
    unsigned cpl = read_handler(cpu, e, sel, &cs);
    unsigned ist = gate.raw >> 32 & 7;
    u64 rip = gate_offset(&gate);
    if (ist)
        sp = tss_stack64(cpu, 3 + ist, e->ext);
    else if (cpl < cpu->cpl)
        sp = tss_stack64(cpu, cpl, e->ext);
    sp &= ~15ull;
    if (!canonical(rip))
        cpu_raise_error(cpu, EXC_GP, e->ext);

    unsigned n = e->has_error ? 6 : 5;
    u64 *f = e->has_error ? frame + 1 : frame;
    frame[0] = e->error;
    f[0] = e->rip;
    f[1] = cpu->seg[SEG_CS].selector;
    f[2] = pushed_flags(cpu, e);
    f[3] = cpu->gpr[RSP];
    f[4] = cpu->seg[SEG_SS].selector;
    for (unsigned i = 0; i < n; i++)
        store_le(&frame[i], frame[i], 8);
    enum mmu_kind kind = cpl == 3 ? MMU_USER : cpu_system_kind(cpu);
    enum mmu_status st = mmu_store_bytes(&cpu->mmu, kind, sp - n * 8, frame, n * 8);
    if (unlikely(st != MMU_OK)) {
        if (st == MMU_NONCANONICAL)
            cpu_raise_error(cpu, EXC_SS, e->ext);
        cpu_raise_mmu(cpu, st, true);
    }
    desc_set_accessed(cpu, &cs);

    cpu->gpr[RSP] = sp - n * 8;
    if (cpl < cpu->cpl)
        seg_install_flat(cpu, SEG_SS, (u16)cpl, (u16)(SEG_S | SEG_RW | SEG_A | cpl << 5));
    enter_handler(cpu, e, sel, &cs, cpl, rip, desc_type(&gate) == DT_INTR32);
    short_note_gate(cpu, e, &gate, &cs, from);
}

/* An inner stack, or the current one, for a legacy gate. */
static void gate_stack(struct cpu *cpu, const struct event *e, unsigned cpl, struct stack *s,
                       struct descriptor *ss, u16 *ss_sel)
{
    stack_current(s, cpu);
    s->error = e->ext;
    if (cpl == cpu->cpl)
        return;
    tss_stack(cpu, cpl, e->ext, ss_sel, &s->sp);
    if (sel_null(*ss_sel))
        cpu_raise_error(cpu, EXC_TS, e->ext);
    seg_check_stack(cpu, *ss_sel, cpl, EXC_TS, e->ext, ss);
    s->ss = ss->seg;
    s->mask = ss->seg.attr & SEG_DB ? 0xffffffffu : 0xffffu;
    s->kind = cpu_system_kind(cpu);
    s->error = sel_error(*ss_sel) | e->ext;
}

/* Protected mode through a 16- or 32-bit interrupt or trap gate. */
static void deliver_gate(struct cpu *cpu, const struct event *e, const struct descriptor *gate)
{
    static const enum sreg vm86_order[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
    struct descriptor cs, ss;
    struct stack s;
    u16 sel = gate_selector(gate), ss_sel = 0;
    unsigned type = desc_type(gate), size = type & 8 ? 4 : 2;
    unsigned cpl = read_handler(cpu, e, sel, &cs);
    bool vm86 = cpu_in_vm86(cpu), inner = cpl < cpu->cpl;
    u64 rip = gate_offset(gate);

    gate_stack(cpu, e, cpl, &s, &ss, &ss_sel);
    check_target(cpu, &cs.seg, rip, e->ext);
    for (unsigned i = 0; vm86 && i < 4; i++)
        stack_push(&s, size, cpu->seg[vm86_order[i]].selector);
    if (inner) {
        stack_push(&s, size, cpu->seg[SEG_SS].selector);
        stack_push(&s, size, cpu->gpr[RSP]);
    }
    stack_push(&s, size, pushed_flags(cpu, e));
    stack_push(&s, size, cpu->seg[SEG_CS].selector);
    stack_push(&s, size, e->rip);
    if (e->has_error)
        stack_push(&s, size, e->error);
    desc_set_accessed(cpu, &cs);
    if (inner)
        desc_set_accessed(cpu, &ss);

    if (inner) {
        /* The cached SS below must not be built by virtual-8086 rules. */
        cpu->eflags &= ~(u64)FL_VM;
        seg_install(cpu, SEG_SS, (u16)((ss_sel & 0xfffc) | cpl), &ss.seg);
    }
    stack_commit(&s);
    for (unsigned i = 0; vm86 && i < 4; i++)
        seg_install_null(cpu, vm86_order[i], 0);
    enter_handler(cpu, e, sel, &cs, cpl, rip, type == DT_INTR32 || type == DT_INTR16);
}

void event_deliver(struct cpu *cpu, const struct event *e)
{
    struct descriptor gate;

    cpu_flags(cpu);
    if (!(cpu->cr0 & CR0_PE)) {
        deliver_real(cpu, e);
    } else if (cpu_lma(cpu)) {
        deliver_long(cpu, e);
    } else if (read_gate(cpu, e, &gate)) {
        deliver_gate(cpu, e, &gate);
    } else {
        task_gate(cpu, &gate, gate_selector(&gate), TASK_EVENT, e->rip, e);
    }
}

u64 helper_int_n(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    bool icebp = a & 0x100;
    struct event e = {
        .vector = (int)(a & 0xff), .soft = !icebp, .ext = icebp, .rip = b,
    };
    /* Only INT n proper is sensitive to IOPL, not INT3, INTO and INT1 (SDM vol. 3B 20.3.3). */
    bool proper = a & 0x200, stepping = cpu->hflags & HF_TF;
    if (!(cpu_in_vm86(cpu) && proper && iflag_vm86_int(cpu, (unsigned)e.vector, b)))
        event_deliver(cpu, &e);
    cpu->step_skip = stepping;
    if (icebp)
        debug_delivered(cpu);
    log_event(int, "int %02x soft=%d at rip %llx\n", e.vector, e.soft, (unsigned long long)b);
    return 0;
}

/* ---- double and triple faults, SDM vol. 3A tables 6-4 and 6-5 ---- */

enum exc_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE };

static enum exc_class exc_class(int vector)
{
    switch (vector) {
    case EXC_DE: case EXC_TS: case EXC_NP: case EXC_SS: case EXC_GP: return CONTRIBUTORY;
    case EXC_PF: return PAGE_FAULT;
    case EXC_DF: return DOUBLE;
    default: return BENIGN;
    }
}

static void stderr_print(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

void cpu_shutdown(struct cpu *cpu)
{
    cpu->shut_down = cpu->halted = true;
    if (cpu->request_reset)
        cpu->request_reset(cpu->reset_opaque);
}

static void triple_fault(struct cpu *cpu)
{
    error_report("CPU %u: triple fault: #%d (error %x) led to #%d (error %x), and delivering the "
                 "double fault to #%d (error %x)",
                 cpu->index, cpu->exc_chain[0], cpu->exc_chain_error[0], cpu->exc_chain[1],
                 cpu->exc_chain_error[1], cpu->exc_chain[2], cpu->exc_chain_error[2]);
    cpu_print(cpu, stderr_print, NULL);
    cpu_shutdown(cpu);
}

static void chain_add(struct cpu *cpu, int vector, u32 error)
{
    if (cpu->exc_depth < ARRAY_SIZE(cpu->exc_chain)) {
        cpu->exc_chain[cpu->exc_depth] = (u8)vector;
        cpu->exc_chain_error[cpu->exc_depth] = error;
        cpu->exc_depth++;
    }
}

/* A fault came while exc_delivering was delivered.  False: triple fault. */
static bool combine(struct cpu *cpu)
{
    enum exc_class first = cpu->exc_delivering < 0 ? BENIGN : exc_class(cpu->exc_delivering);
    enum exc_class second = exc_class(cpu->exc_vector);

    chain_add(cpu, cpu->exc_vector, cpu->exc_error);
    if (second == BENIGN || first == BENIGN)
        return true;
    if (first == DOUBLE)
        return false;
    if (first == PAGE_FAULT || second == CONTRIBUTORY)
        cpu_set_exception(cpu, EXC_DF, true, 0);
    return true;
}

static void log_delivery(struct cpu *cpu)
{
    log_print("cpu %u: %s %02x", cpu->index, cpu->exc_ext ? "interrupt" : "exception",
              cpu->exc_vector);
    if (cpu->exc_has_error)
        log_print(" error %04x", cpu->exc_error);
    if (!cpu->exc_ext && cpu->exc_vector == EXC_PF)
        log_print(" cr2 %016llx", (unsigned long long)cpu->cr2);
    log_print(" at %04x:%016llx cpl %u sp %04x:%016llx\n", cpu->seg[SEG_CS].selector,
              (unsigned long long)cpu->rip, cpu->cpl, cpu->seg[SEG_SS].selector,
              (unsigned long long)cpu->gpr[RSP]);
}

/* Exceptions that do not lead to a double fault can follow each other without end, before any
 * instruction: #AC of a misaligned stack on the way to a handler of ring 3.  A processor is lost
 * then; here somebody may want the vCPU. */
static bool interrupted(struct cpu *cpu)
{
    return atomic_load(&cpu->requests) & (REQ_EXIT | REQ_WORK) ||
           (cpu->count && cpu->budget <= 0);
}

/* Delivers what exc_* describes, with the faults that this meets; one of them may be left for the
 * next call.  All state lives in struct cpu,
 * so that nothing here depends on locals that longjmp may clobber. */
void cpu_deliver_pending(struct cpu *cpu)
{
    jmp_buf guard;

    cpu->exc_delivering = -1;
    cpu->exc_depth = 0;
    if (!cpu->exc_ext)
        chain_add(cpu, cpu->exc_vector, cpu->exc_error);
    cpu->guard = &guard;
    if (_setjmp(guard) && !combine(cpu)) {
        cpu->guard = NULL;
        cpu->exc_vector = cpu->exc_delivering = -1;
        triple_fault(cpu);
        return;
    }
    if (cpu->exc_delivering >= 0 && cpu->exc_vector != EXC_DF && interrupted(cpu)) {
        cpu->guard = NULL;
        cpu->exc_delivering = -1;
        return;
    }
    if (log_enabled(int))
        log_delivery(cpu);
    if (cpu->count)
        cpu->budget--;
    bool external = cpu->exc_ext;
    cpu->exc_delivering = external ? -1 : cpu->exc_vector;
    struct event e = {
        .vector = cpu->exc_vector, .soft = cpu->exc_soft, .ext = 1, .rip = cpu->rip,
        /* Real mode pushes no error code; #DF's is always 0. */
        .has_error = cpu->exc_has_error && (cpu->cr0 & CR0_PE), .error = cpu->exc_error,
        .set_rf = !external && cpu->exc_rf,
    };
    event_deliver(cpu, &e);
    cpu->guard = NULL;
    if (e.vector == EXC_DB)
        debug_delivered(cpu);
    cpu->exc_vector = cpu->exc_delivering = -1;
    cpu->exc_ext = false;
    cpu->halted = false;
    cpu->irq_shadow = false;
}

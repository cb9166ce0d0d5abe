/* The hardware task switch, SDM vol. 3A chapter 7: 16- and 32-bit TSS, links, busy bits.
 *
 * Faults before the commit point are raised in the old task; those of the new task's selectors in
 * the new one, as the manual says (7.3).
 */
#include <setjmp.h>

#include "base/log.h"
#include "cpu/system.h"

/* A TSS as this file moves it: order of the registers is that of the 32-bit format. */
struct task_state {
    u64 cr3;
    u32 eip, eflags, gpr[8];
    u16 sreg[6]; /* ES CS SS DS FS GS, enum sreg order */
    u16 ldt;
    u16 trap;
};

#define TSS32_MIN 0x67u /* limits, SDM vol. 3A 7.2.2 */
#define TSS16_MIN 0x2bu

static void save_state(struct cpu *cpu, const struct segment *tr, u64 eip, u64 eflags)
{
    bool wide = tr->attr & 8;
    u64 at = tr->base;
    if (wide) {
        cpu_store_system(cpu, at + 0x20, 4, eip);
        cpu_store_system(cpu, at + 0x24, 4, eflags);
        for (unsigned i = 0; i < 8; i++)
            cpu_store_system(cpu, at + 0x28 + i * 4, 4, cpu->gpr[i]);
        for (unsigned i = 0; i < 6; i++)
            cpu_store_system(cpu, at + 0x48 + i * 4, 2, cpu->seg[i].selector);
        return;
    }
    cpu_store_system(cpu, at + 0x0e, 2, eip);
    cpu_store_system(cpu, at + 0x10, 2, eflags);
    for (unsigned i = 0; i < 8; i++)
        cpu_store_system(cpu, at + 0x12 + i * 2, 2, cpu->gpr[i]);
    for (unsigned i = 0; i < 4; i++)
        cpu_store_system(cpu, at + 0x22 + i * 2, 2, cpu->seg[i].selector);
}

static void load_state(struct cpu *cpu, const struct segment *tss, struct task_state *t)
{
    u64 at = tss->base;
    memset(t, 0, sizeof *t);
    if (tss->attr & 8) {
        t->cr3 = cpu_load_system(cpu, at + 0x1c, 4);
        t->eip = (u32)cpu_load_system(cpu, at + 0x20, 4);
        t->eflags = (u32)cpu_load_system(cpu, at + 0x24, 4);
        for (unsigned i = 0; i < 8; i++)
            t->gpr[i] = (u32)cpu_load_system(cpu, at + 0x28 + i * 4, 4);
        for (unsigned i = 0; i < 6; i++)
            t->sreg[i] = (u16)cpu_load_system(cpu, at + 0x48 + i * 4, 2);
        t->ldt = (u16)cpu_load_system(cpu, at + 0x60, 2);
        t->trap = (u16)cpu_load_system(cpu, at + 0x64, 2);
        return;
    }
    t->eip = (u32)cpu_load_system(cpu, at + 0x0e, 2);
    t->eflags = (u32)cpu_load_system(cpu, at + 0x10, 2);
    for (unsigned i = 0; i < 8; i++)
        t->gpr[i] = (u32)cpu_load_system(cpu, at + 0x12 + i * 2, 2) | 0xffff0000u;
    for (unsigned i = 0; i < 4; i++)
        t->sreg[i] = (u16)cpu_load_system(cpu, at + 0x22 + i * 2, 2);
    t->ldt = (u16)cpu_load_system(cpu, at + 0x2a, 2);
}

static void load_ldt(struct cpu *cpu, u16 sel, u32 ext)
{
    struct descriptor d;
    seg_install_null(cpu, SEG_LDTR, sel);
    if (sel_null(sel))
        return;
    if ((sel & 4) || !desc_read(cpu, sel, &d) || (d.seg.attr & SEG_S) || desc_type(&d) != DT_LDT ||
        !(d.seg.attr & SEG_P))
        raise_sel(cpu, EXC_TS, sel, ext);
    seg_install(cpu, SEG_LDTR, sel, &d.seg);
}

static void load_data(struct cpu *cpu, enum sreg seg, u16 sel, u32 ext)
{
    struct descriptor d;
    if (sel_null(sel))
        return;
    if (!desc_read(cpu, sel, &d) || !(d.seg.attr & SEG_S) ||
        (d.seg.attr & (SEG_CODE | SEG_RW)) == SEG_CODE)
        raise_sel(cpu, EXC_TS, sel, ext);
    bool conforming = desc_is_code(&d) && desc_conforming(&d);
    if (!conforming && (desc_dpl(&d) < cpu->cpl || desc_dpl(&d) < (sel & 3u)))
        raise_sel(cpu, EXC_TS, sel, ext);
    if (!(d.seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, ext);
    desc_set_accessed(cpu, &d);
    seg_install(cpu, seg, sel, &d.seg);
}

/* Segment registers of a protected-mode task, SDM vol. 3A table 7-1. */
static void load_segments(struct cpu *cpu, const struct task_state *t, u32 ext)
{
    struct descriptor cs, ss;
    u16 sel = t->sreg[SEG_CS];

    cpu->cpl = sel & 3;
    if (sel_null(sel) || !desc_read(cpu, sel, &cs) || !desc_is_code(&cs) ||
        (desc_conforming(&cs) ? desc_dpl(&cs) > cpu->cpl : desc_dpl(&cs) != cpu->cpl))
        raise_sel(cpu, EXC_TS, sel, ext);
    if (!(cs.seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, ext);
    desc_set_accessed(cpu, &cs);
    seg_install(cpu, SEG_CS, sel, &cs.seg);
    if (sel_null(t->sreg[SEG_SS]))
        raise_sel(cpu, EXC_TS, t->sreg[SEG_SS], ext);
    seg_check_stack(cpu, t->sreg[SEG_SS], cpu->cpl, EXC_TS, ext, &ss);
    desc_set_accessed(cpu, &ss);
    seg_install(cpu, SEG_SS, t->sreg[SEG_SS], &ss.seg);
    load_data(cpu, SEG_ES, t->sreg[SEG_ES], ext);
    load_data(cpu, SEG_DS, t->sreg[SEG_DS], ext);
    load_data(cpu, SEG_FS, t->sreg[SEG_FS], ext);
    load_data(cpu, SEG_GS, t->sreg[SEG_GS], ext);
}

/* Registers and selectors of the new task, before any of its descriptors is looked at. */
static void commit_state(struct cpu *cpu, const struct task_state *t, u64 eflags)
{
    for (unsigned i = 0; i < 8; i++)
        cpu->gpr[i] = t->gpr[i];
    cpu->rip = t->eip;
    cpu->lazy_kind = LAZY_NONE;
    cpu->eflags = (eflags & (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_VM | FL_AC |
                             FL_VIF | FL_VIP | FL_ID)) | FL_FIXED | debug_take_rf(cpu, eflags);
    cpu->cpl = cpu_in_vm86(cpu) ? 3 : t->sreg[SEG_CS] & 3;
    for (unsigned i = 0; i < 6; i++) {
        if (cpu_in_vm86(cpu))
            seg_install_paragraph(cpu, (enum sreg)i, t->sreg[i]);
        else
            seg_install_null(cpu, (enum sreg)i, t->sreg[i]);
    }
}

static void push_error(struct cpu *cpu, const struct segment *tss, const struct event *e)
{
    struct stack s;
    stack_current(&s, cpu);
    stack_push(&s, tss->attr & 8 ? 4 : 2, e->error);
    stack_commit(&s);
}

/* From here on the new task executes, and its own faults are raised in its context. */
static void enter_task(struct cpu *cpu, u16 sel, const struct descriptor *d,
                       const struct task_state *t, bool nested, const struct event *e)
{
    u32 ext = e ? e->ext : 0;
    bool wide = desc_type(d) & 8;

    cpu->cr0 |= CR0_TS;
    seg_install(cpu, SEG_TR, sel, &d->seg);
    cpu->seg[SEG_TR].attr |= 2; /* busy */
    commit_state(cpu, t, t->eflags | (nested ? (u64)FL_NT : 0));
    if (wide && (cpu->cr0 & CR0_PG))
        cpu_write_cr3(cpu, t->cr3);
    cpu->dr[7] &= ~0x155ull; /* local breakpoints end with the task, SDM vol. 3B 17.2.4 */
    debug_update(cpu);
    cpu_update_hflags(cpu);
    load_ldt(cpu, t->ldt, ext);
    if (!cpu_in_vm86(cpu))
        load_segments(cpu, t, ext);
    cpu_update_hflags(cpu);
    cpu_unmask(cpu);
    if (e && e->has_error)
        push_error(cpu, &d->seg, e);
    check_target(cpu, &cpu->seg[SEG_CS], cpu->rip, ext);
    iflag_check_pending(cpu);
    if (t->trap & 1) {
        cpu->dr[6] |= 1u << 15; /* BT */
        cpu_raise(cpu, EXC_DB);
    }
}

void task_switch(struct cpu *cpu, u16 sel, struct descriptor *d, enum task_reason reason,
                 u64 next_rip, const struct event *e)
{
    struct segment old = cpu->seg[SEG_TR];
    struct task_state t;
    u32 ext = e ? e->ext : 0;
    bool wide = desc_type(d) & 8, nested = reason == TASK_CALL || reason == TASK_EVENT;
    u64 flags = cpu_eflags(cpu);

    if (d->seg.limit < (wide ? TSS32_MIN : TSS16_MIN))
        raise_sel(cpu, EXC_TS, sel, ext);
    log_event(pcall, "task switch %04x -> %04x\n", old.selector, sel);
    load_state(cpu, &d->seg, &t);
    if (reason == TASK_IRET)
        flags &= ~(u64)FL_NT;
    if (e && e->set_rf)
        flags |= FL_RF;
    save_state(cpu, &old, next_rip, flags);
    if (reason == TASK_JMP || reason == TASK_IRET)
        desc_set_busy(cpu, old.selector, false);
    if (nested)
        cpu_store_system(cpu, d->seg.base, 2, old.selector);
    if (reason != TASK_IRET)
        desc_set_busy(cpu, sel, true);

    if (cpu->guard) {
        enter_task(cpu, sel, d, &t, nested, e);
        return;
    }
    /* In a helper: an exception is left pending in the new task, instead of unwinding to the
     * start of an instruction of the old one. */
    jmp_buf guard;
    cpu->guard = &guard;
    if (!_setjmp(guard))
        enter_task(cpu, sel, d, &t, nested, e);
    cpu->guard = NULL;
}

void task_gate(struct cpu *cpu, const struct descriptor *gate, u16 sel, enum task_reason reason,
               u64 next_rip, const struct event *e)
{
    struct descriptor d;
    u32 ext = e ? e->ext : 0;

    if (sel_null(sel))
        cpu_raise_error(cpu, EXC_GP, ext);
    if ((sel & 4) || !desc_read(cpu, sel, &d) || (d.seg.attr & SEG_S) ||
        (desc_type(&d) != DT_TSS16 && desc_type(&d) != DT_TSS32))
        raise_sel(cpu, EXC_GP, sel, ext);
    if (!(d.seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, ext);
    task_switch(cpu, sel, &d, reason, next_rip, e);
}

/* IRET in all modes: real, virtual-8086, return to virtual-8086, protected, nested task, 64-bit.
 * SDM vol. 2A IRET/IRETD/IRETQ.
 */
#include "cpu/transfer.h"

/* Flags that IRET takes from the image at this operand size and privilege. */
static u64 writable_flags(const struct cpu *cpu, unsigned size)
{
    u64 m = FL_ARITH | FL_TF | FL_DF | FL_NT;
    if (size > 2)
        m |= FL_RF | FL_AC | FL_ID;
    if (cpu->cpl <= cpu_iopl(cpu))
        m |= FL_IF;
    if (cpu->cpl == 0)
        m |= FL_IOPL | (size > 2 && (cpu->cr0 & CR0_PE) ? FL_VIF | FL_VIP : 0);
    return m;
}

static u64 merge_flags(struct cpu *cpu, u64 image, u64 mask)
{
    return (cpu_eflags(cpu) & ~mask) | (image & mask);
}

static void iret_paragraph(struct cpu *cpu, unsigned size)
{
    struct stack s;
    bool plain = !cpu_in_vm86(cpu) || iflag_vm86_plain(cpu, size);
    stack_current(&s, cpu);
    u64 rip = stack_pop(&s, size);
    u16 sel = (u16)stack_pop(&s, size);
    u64 image = stack_pop(&s, size);
    check_target(cpu, &cpu->seg[SEG_CS], rip, 0);
    u64 mask = writable_flags(cpu, size);
    if (cpu_in_vm86(cpu))
        mask = (mask | FL_IF) & ~(u64)FL_IOPL;
    u64 flags = plain ? merge_flags(cpu, image, mask) : iflag_virtual_load(cpu, image);
    stack_commit(&s);
    seg_install_paragraph(cpu, SEG_CS, sel);
    cpu->rip = rip;
    cpu_set_eflags(cpu, flags);
    cpu_unmask(cpu);
}

/* EFLAGS.VM in the image, at CPL 0: SDM "RETURN-TO-VIRTUAL-8086-MODE". */
static void iret_to_vm86(struct cpu *cpu, struct stack *s, u64 rip, u16 cs, u64 image)
{
    static const enum sreg order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    u16 sel[4];
    u64 sp = stack_pop(s, 4);
    u16 ss = (u16)stack_pop(s, 4);

    for (unsigned i = 0; i < 4; i++)
        sel[i] = (u16)stack_pop(s, 4);
    if (rip > 0xffff)
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu_flags(cpu);
    cpu->eflags |= FL_VM;
    cpu->cpl = 3;
    for (unsigned i = 0; i < 4; i++)
        seg_install_paragraph(cpu, order[i], sel[i]);
    seg_install_paragraph(cpu, SEG_SS, ss);
    seg_install_paragraph(cpu, SEG_CS, cs);
    cpu->gpr[RSP] = (u32)sp;
    cpu->rip = rip;
    cpu_set_eflags(cpu, image | FL_VM);
    iflag_check_pending(cpu);
    cpu_unmask(cpu);
}

/* EFLAGS.NT: back through the link field of the TSS. */
static void iret_task(struct cpu *cpu, u64 next)
{
    struct descriptor d;
    const struct segment *tr = &cpu->seg[SEG_TR];
    u16 link = (u16)cpu_load_system(cpu, tr->base, 2);

    if ((link & 4) || sel_null(link) || !desc_read(cpu, link, &d) || (d.seg.attr & SEG_S) ||
        (desc_type(&d) != DT_TSS16_BUSY && desc_type(&d) != DT_TSS32_BUSY))
        raise_sel(cpu, EXC_TS, link, 0);
    if (!(d.seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, link, 0);
    task_switch(cpu, link, &d, TASK_IRET, next, NULL);
    cpu_unmask(cpu);
}

static void iret_protected(struct cpu *cpu, unsigned size)
{
    struct descriptor cs, ss = {0};
    struct stack s;
    bool from64 = cpu_code64(cpu);
    unsigned from = cpu->cpl;

    stack_current(&s, cpu);
    u64 rip = stack_pop(&s, size);
    u16 sel = (u16)stack_pop(&s, size);
    u64 image = stack_pop(&s, size);
    if ((image & FL_VM) && size == 4 && cpu->cpl == 0 && !cpu_lma(cpu)) {
        iret_to_vm86(cpu, &s, rip, sel, image);
        return;
    }
    return_check_cs(cpu, sel, &cs);
    check_target(cpu, &cs.seg, rip, 0);
    unsigned rpl = sel & 3;
    u64 flags = merge_flags(cpu, image, writable_flags(cpu, size));

    if (rpl == cpu->cpl && !from64) {
        desc_set_accessed(cpu, &cs);
        stack_commit(&s);
        cs_install(cpu, sel, &cs.seg, rpl, rip);
    } else {
        /* 64-bit mode always pops SS:RSP. */
        bool outer = rpl != cpu->cpl;
        u64 sp = stack_pop(&s, size);
        u16 ss_sel = (u16)stack_pop(&s, size);
        bool present = return_check_ss(cpu, ss_sel, rpl, &cs.seg, &ss);
        desc_set_accessed(cpu, &cs);
        if (present)
            desc_set_accessed(cpu, &ss);
        return_install_ss(cpu, ss_sel, present, &ss, rpl);
        cs_install(cpu, sel, &cs.seg, rpl, rip);
        stack_set_pointer(cpu, sp);
        if (from64 && size == 8 && cpu_code64(cpu))
            short_note_iret(cpu, &cs, present ? &ss : NULL, from);
        if (outer)
            return_scrub_segments(cpu, rpl);
    }
    cpu_set_eflags(cpu, flags);
    iflag_check_pending(cpu);
    cpu_unmask(cpu);
}

u64 helper_iret(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    unsigned size = (unsigned)a;
    cpu->nmi_blocked = false; /* also if it faults: SDM vol. 3A 6.7.1, vol. 3C 25.3 */
    if (size == 8 && short_iret(cpu, writable_flags(cpu, size)))
        return 0;
    if (cpu_paragraphs(cpu)) {
        iret_paragraph(cpu, size);
    } else if (cpu->eflags & FL_NT) {
        if (cpu_lma(cpu))
            cpu_raise_error(cpu, EXC_GP, 0);
        iret_task(cpu, b);
    } else {
        iret_protected(cpu, size);
    }
    return 0;
}

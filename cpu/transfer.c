/* Far jumps, calls and returns, call gates, and the fast system calls.  SDM vol. 2 pseudo-code of
 * each instruction; vol. 3A 5.8 for the privilege rules.  IRET is in cpu/iret.c.
 */
#include "cpu/system.h"
#include "cpu/transfer.h"

void cs_install(struct cpu *cpu, u16 sel, const struct segment *hidden, unsigned cpl, u64 rip)
{
    seg_install(cpu, SEG_CS, sel, hidden);
    cpu->cpl = (u8)cpl;
    cpu->rip = rip;
    cpu_update_hflags(cpu);
    cpu_unmask(cpu);
}

void check_target(struct cpu *cpu, const struct segment *cs, u64 rip, u32 ext)
{
    bool ok = cpu_lma(cpu) && (cs->attr & SEG_L) ? canonical(rip) : rip <= cs->limit;
    if (!ok)
        cpu_raise_error(cpu, EXC_GP, ext);
}

/* In long mode a code segment with both L and D is reserved. */
static void check_code_bits(struct cpu *cpu, u16 sel, const struct descriptor *d)
{
    if (cpu_lma(cpu) && (d->seg.attr & SEG_L) && (d->seg.attr & SEG_DB))
        raise_sel(cpu, EXC_GP, sel, 0);
}

/* Far transfer in real or virtual-8086 mode. */
static void goto_paragraph(struct cpu *cpu, u16 sel, u64 rip)
{
    seg_install_paragraph(cpu, SEG_CS, sel);
    cpu->rip = rip;
    cpu_update_hflags(cpu);
}

/* Direct far JMP or CALL to a code segment: SDM vol. 3A 5.8.1. */
static void check_direct(struct cpu *cpu, u16 sel, const struct descriptor *d)
{
    if (desc_conforming(d)) {
        if (desc_dpl(d) > cpu->cpl)
            raise_sel(cpu, EXC_GP, sel, 0);
    } else if (desc_dpl(d) != cpu->cpl || (sel & 3u) > cpu->cpl) {
        raise_sel(cpu, EXC_GP, sel, 0);
    }
    check_code_bits(cpu, sel, d);
    if (!(d->seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, 0);
}

/* Type and privilege checks that all gates and TSSs share. */
static void check_gate_access(struct cpu *cpu, u16 sel, const struct descriptor *d)
{
    if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3u))
        raise_sel(cpu, EXC_GP, sel, 0);
    if (!(d->seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, 0);
}

/* The code segment that a call gate names (SDM vol. 3A 5.8.4); returns the new CPL. */
static unsigned read_gate_target(struct cpu *cpu, u16 gate_sel, const struct descriptor *gate,
                                 bool call, struct descriptor *cs)
{
    u16 sel = gate_selector(gate);
    if (sel_null(sel))
        cpu_raise_error(cpu, EXC_GP, 0);
    if (!desc_read(cpu, sel, cs) || !desc_is_code(cs) || desc_dpl(cs) > cpu->cpl)
        raise_sel(cpu, EXC_GP, sel, 0);
    if (!call && !desc_conforming(cs) && desc_dpl(cs) != cpu->cpl)
        raise_sel(cpu, EXC_GP, sel, 0);
    if (cpu_lma(cpu) && (cs->seg.attr & (SEG_L | SEG_DB)) != SEG_L)
        raise_sel(cpu, EXC_GP, sel, 0);
    if (!(cs->seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, 0);
    return desc_conforming(cs) ? cpu->cpl : desc_dpl(cs);
}

/* 64-bit call gates have a second 8 bytes whose type field must be 0. */
static void read_gate_upper(struct cpu *cpu, u16 sel, struct descriptor *d)
{
    if (!desc_read_upper(cpu, sel, d) || (d->high >> 40 & 0x1f))
        raise_sel(cpu, EXC_GP, sel, 0);
}

/* Whether a system descriptor may be the target at all, by type and mode. */
static bool far_target_type(const struct cpu *cpu, unsigned type)
{
    if (cpu_lma(cpu))
        return type == DT_CALL32;
    return type == DT_CALL16 || type == DT_CALL32 || type == DT_TASK || type == DT_TSS16 ||
           type == DT_TSS32;
}

/* Reads what a far JMP or CALL names. */
static void read_far_target(struct cpu *cpu, u16 sel, struct descriptor *d)
{
    if (sel_null(sel))
        cpu_raise_error(cpu, EXC_GP, 0);
    if (!desc_read(cpu, sel, d))
        raise_sel(cpu, EXC_GP, sel, 0);
    if (d->seg.attr & SEG_S) {
        if (!desc_is_code(d))
            raise_sel(cpu, EXC_GP, sel, 0);
        check_direct(cpu, sel, d);
        return;
    }
    /* A TSS lies in the GDT only (SDM vol. 3A 7.2.2). */
    bool tss = desc_type(d) == DT_TSS16 || desc_type(d) == DT_TSS32;
    if (!far_target_type(cpu, desc_type(d)) || (tss && (sel & 4)))
        raise_sel(cpu, EXC_GP, sel, 0);
    check_gate_access(cpu, sel, d);
}

u64 helper_check_target(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (a > cpu->seg[SEG_CS].limit)
        cpu_raise_error(cpu, EXC_GP, 0);
    return 0;
}

u64 helper_far_jmp(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc, cs;
    u16 sel = (u16)a;
    u64 rip = b & size_mask((unsigned)c);

    if (cpu_paragraphs(cpu)) {
        check_target(cpu, &cpu->seg[SEG_CS], rip, 0);
        goto_paragraph(cpu, sel, rip);
        return 0;
    }
    read_far_target(cpu, sel, &desc);
    if (desc.seg.attr & SEG_S) {
        check_target(cpu, &desc.seg, rip, 0);
        desc_set_accessed(cpu, &desc);
        cs_install(cpu, (u16)((sel & 0xfffc) | cpu->cpl), &desc.seg, cpu->cpl, rip);
        return 0;
    }
    switch (desc_type(&desc)) {
    case DT_TSS16: case DT_TSS32: task_switch(cpu, sel, &desc, TASK_JMP, d, NULL); return 0;
    case DT_TASK: task_gate(cpu, &desc, gate_selector(&desc), TASK_JMP, d, NULL); return 0;
    }
    if (cpu_lma(cpu))
        read_gate_upper(cpu, sel, &desc);
    read_gate_target(cpu, sel, &desc, false, &cs);
    rip = gate_offset(&desc);
    check_target(cpu, &cs.seg, rip, 0);
    desc_set_accessed(cpu, &cs);
    cs_install(cpu, (u16)((gate_selector(&desc) & 0xfffc) | cpu->cpl), &cs.seg, cpu->cpl, rip);
    return 0;
}

/* CALL through a gate to an inner ring in legacy mode: new stack, parameters copied. */
static void call_inner(struct cpu *cpu, const struct descriptor *gate, struct descriptor *cs,
                       unsigned cpl, u64 next)
{
    struct descriptor ss;
    struct stack old, s;
    u16 ss_sel;
    unsigned size = desc_type(gate) & 8 ? 4 : 2, count = gate->raw >> 32 & 31;
    u64 rip = gate_offset(gate);

    stack_current(&old, cpu);
    s = old;
    tss_stack(cpu, cpl, 0, &ss_sel, &s.sp);
    if (sel_null(ss_sel))
        cpu_raise_error(cpu, EXC_TS, 0);
    seg_check_stack(cpu, ss_sel, cpl, EXC_TS, 0, &ss);
    s.ss = ss.seg;
    s.mask = ss.seg.attr & SEG_DB ? 0xffffffffu : 0xffffu;
    s.kind = cpu_system_kind(cpu);
    s.error = sel_error(ss_sel);
    check_target(cpu, &cs->seg, rip, 0);
    stack_push(&s, size, cpu->seg[SEG_SS].selector);
    stack_push(&s, size, cpu->gpr[RSP]);
    for (unsigned i = count; i-- > 0;)
        stack_push(&s, size, stack_peek(&old, size, i));
    stack_push(&s, size, cpu->seg[SEG_CS].selector);
    stack_push(&s, size, next);
    desc_set_accessed(cpu, &ss);
    desc_set_accessed(cpu, cs);
    seg_install(cpu, SEG_SS, (u16)((ss_sel & 0xfffc) | cpl), &ss.seg);
    stack_commit(&s);
    cs_install(cpu, (u16)((gate_selector(gate) & 0xfffc) | cpl), &cs->seg, cpl, rip);
}

/* CALL through a 64-bit call gate (SDM vol. 3A 5.8.3.1): 8-byte pushes, no parameters. */
static void call_gate64(struct cpu *cpu, const struct descriptor *gate, struct descriptor *cs,
                        unsigned cpl, u64 next)
{
    struct stack s;
    u64 rip = gate_offset(gate);
    bool inner = cpl < cpu->cpl;

    stack_current(&s, cpu);
    s.flat64 = true;
    s.mask = ~0ull;
    check_target(cpu, &cs->seg, rip, 0);
    if (inner) {
        s.sp = tss_stack64(cpu, cpl, 0);
        s.kind = cpu_system_kind(cpu);
        stack_push(&s, 8, cpu->seg[SEG_SS].selector);
        stack_push(&s, 8, cpu->gpr[RSP]);
    }
    stack_push(&s, 8, cpu->seg[SEG_CS].selector);
    stack_push(&s, 8, next);
    desc_set_accessed(cpu, cs);
    if (inner)
        seg_install_flat(cpu, SEG_SS, (u16)cpl, (u16)(SEG_S | SEG_RW | SEG_A | cpl << 5));
    stack_commit(&s);
    cs_install(cpu, (u16)((gate_selector(gate) & 0xfffc) | cpl), &cs->seg, cpl, rip);
}

static void call_gate(struct cpu *cpu, u16 sel, struct descriptor *gate, u64 next)
{
    struct descriptor cs;
    struct stack s;
    unsigned size = desc_type(gate) & 8 ? 4 : 2;

    if (cpu_lma(cpu))
        read_gate_upper(cpu, sel, gate);
    unsigned cpl = read_gate_target(cpu, sel, gate, true, &cs);
    if (cpu_lma(cpu)) {
        call_gate64(cpu, gate, &cs, cpl, next);
        return;
    }
    if (cpl < cpu->cpl) {
        call_inner(cpu, gate, &cs, cpl, next);
        return;
    }
    u64 rip = gate_offset(gate);
    stack_current(&s, cpu);
    check_target(cpu, &cs.seg, rip, 0);
    stack_push(&s, size, cpu->seg[SEG_CS].selector);
    stack_push(&s, size, next);
    desc_set_accessed(cpu, &cs);
    stack_commit(&s);
    cs_install(cpu, (u16)((gate_selector(gate) & 0xfffc) | cpl), &cs.seg, cpl, rip);
}

u64 helper_far_call(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc;
    struct stack s;
    u16 sel = (u16)a;
    unsigned size = (unsigned)c;
    u64 rip = b & size_mask(size);

    stack_current(&s, cpu);
    if (cpu_paragraphs(cpu)) {
        check_target(cpu, &cpu->seg[SEG_CS], rip, 0);
        stack_push(&s, size, cpu->seg[SEG_CS].selector);
        stack_push(&s, size, d);
        stack_commit(&s);
        goto_paragraph(cpu, sel, rip);
        return 0;
    }
    read_far_target(cpu, sel, &desc);
    if (!(desc.seg.attr & SEG_S)) {
        switch (desc_type(&desc)) {
        case DT_TSS16: case DT_TSS32: task_switch(cpu, sel, &desc, TASK_CALL, d, NULL); break;
        case DT_TASK: task_gate(cpu, &desc, gate_selector(&desc), TASK_CALL, d, NULL); break;
        default: call_gate(cpu, sel, &desc, d); break;
        }
        return 0;
    }
    check_target(cpu, &desc.seg, rip, 0);
    stack_push(&s, size, cpu->seg[SEG_CS].selector);
    stack_push(&s, size, d);
    desc_set_accessed(cpu, &desc);
    stack_commit(&s);
    cs_install(cpu, (u16)((sel & 0xfffc) | cpu->cpl), &desc.seg, cpu->cpl, rip);
    return 0;
}

/* ---- returns, shared with IRET ---- */

void return_check_cs(struct cpu *cpu, u16 sel, struct descriptor *d)
{
    if (sel_null(sel))
        cpu_raise_error(cpu, EXC_GP, 0);
    unsigned rpl = sel & 3;
    if (!desc_read(cpu, sel, d) || !desc_is_code(d) || rpl < cpu->cpl)
        raise_sel(cpu, EXC_GP, sel, 0);
    if (desc_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl)
        raise_sel(cpu, EXC_GP, sel, 0);
    check_code_bits(cpu, sel, d);
    if (!(d->seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, 0);
}

bool return_check_ss(struct cpu *cpu, u16 sel, unsigned rpl, const struct segment *cs,
                     struct descriptor *d)
{
    if (sel_null(sel)) {
        /* Null is fine for 64-bit code below CPL 3. */
        if (!cpu_lma(cpu) || !(cs->attr & SEG_L) || rpl == 3 || (sel & 3u) != rpl)
            cpu_raise_error(cpu, EXC_GP, 0);
        return false;
    }
    seg_check_stack(cpu, sel, rpl, EXC_GP, 0, d);
    return true;
}

/* A segment register that the outer level may not use becomes null (SDM vol. 3A 5.8.6). */
void return_scrub_segments(struct cpu *cpu, unsigned cpl)
{
    static const enum sreg data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        const struct segment *s = &cpu->seg[data[i]];
        bool conforming = (s->attr & (SEG_CODE | SEG_DC)) == (SEG_CODE | SEG_DC);
        /* A null one keeps its base: in 64-bit mode FS and GS bases are set apart from it. */
        if (sel_null(s->selector) || conforming || attr_dpl(s->attr) >= cpl)
            continue;
        seg_install_null(cpu, data[i], 0);
    }
}

void return_install_ss(struct cpu *cpu, u16 sel, bool present, const struct descriptor *ss,
                       unsigned cpl)
{
    if (present)
        seg_install(cpu, SEG_SS, sel, &ss->seg);
    else
        seg_install_flat(cpu, SEG_SS, sel, (u16)(SEG_S | SEG_RW | SEG_A | cpl << 5));
}

u64 helper_far_ret(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor cs, ss;
    struct stack s;
    unsigned size = (unsigned)a;

    stack_current(&s, cpu);
    u64 rip = stack_pop(&s, size);
    u16 sel = (u16)stack_pop(&s, size);
    if (cpu_paragraphs(cpu)) {
        check_target(cpu, &cpu->seg[SEG_CS], rip, 0);
        s.sp += b;
        stack_commit(&s);
        goto_paragraph(cpu, sel, rip);
        return 0;
    }
    return_check_cs(cpu, sel, &cs);
    check_target(cpu, &cs.seg, rip, 0);
    unsigned rpl = sel & 3;
    s.sp += b;
    if (rpl == cpu->cpl) {
        desc_set_accessed(cpu, &cs);
        stack_commit(&s);
        cs_install(cpu, sel, &cs.seg, rpl, rip);
        return 0;
    }
    u64 sp = stack_pop(&s, size);
    u16 ss_sel = (u16)stack_pop(&s, size);
    bool present = return_check_ss(cpu, ss_sel, rpl, &cs.seg, &ss);
    desc_set_accessed(cpu, &cs);
    if (present)
        desc_set_accessed(cpu, &ss);
    return_install_ss(cpu, ss_sel, present, &ss, rpl);
    cs_install(cpu, sel, &cs.seg, rpl, rip);
    stack_set_pointer(cpu, sp + b);
    return_scrub_segments(cpu, rpl);
    cpu_update_hflags(cpu);
    return 0;
}

/* ---- SYSCALL, SYSRET, SYSENTER, SYSEXIT ---- */

static void enter_kernel(struct cpu *cpu, u16 cs, u16 ss, bool code64, u64 rip)
{
    struct segment seg = {.limit = 0xffffffffu,
                          .attr = (u16)(SYSCALL_CODE | (code64 ? SEG_L : SEG_DB))};
    seg_install_flat(cpu, SEG_SS, ss, SYSCALL_DATA);
    cs_install(cpu, cs, &seg, 0, rip);
}

static void enter_user(struct cpu *cpu, u16 cs, u16 ss, bool code64, u64 rip)
{
    struct segment seg = {.limit = 0xffffffffu,
                          .attr = (u16)(SYSCALL_CODE | SEG_DPL | (code64 ? SEG_L : SEG_DB))};
    seg_install_flat(cpu, SEG_SS, ss, SYSCALL_DATA | SEG_DPL);
    cs_install(cpu, cs, &seg, 3, rip);
}

u64 helper_syscall(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    bool code64 = cpu_code64(cpu);
    if (short_syscall(cpu, a))
        return 0;
    if (!(cpu->efer & EFER_SCE))
        cpu_raise(cpu, EXC_UD);
    u16 cs = (u16)(cpu->star >> 32 & 0xfffc), ss = (u16)((cpu->star >> 32) + 8);
    if (!cpu_lma(cpu)) {
        /* AMD APM vol. 3: the legacy form; Intel has none. */
        if (!cpu_is_amd(cpu) || !(cpu->cr0 & CR0_PE))
            cpu_raise(cpu, EXC_UD);
        cpu->gpr[RCX] = (u32)a;
        cpu->eflags &= ~(u64)(FL_VM | FL_IF | FL_RF);
        enter_kernel(cpu, cs, ss, false, (u32)cpu->star);
        return 0;
    }
    if (!code64 && !cpu_is_amd(cpu))
        cpu_raise(cpu, EXC_UD);
    u64 flags = cpu_eflags(cpu);
    cpu->gpr[RCX] = code64 ? a : (u32)a;
    cpu->gpr[R11] = flags;
    cpu->eflags = (flags & ~cpu->sfmask & ~(u64)FL_RF) | FL_FIXED;
    if ((cpu->hflags & HF_TF) && !(cpu->eflags & FL_TF))
        cpu->step_skip = true; /* the handler must not be stepped into */
    enter_kernel(cpu, cs, ss, true, code64 ? cpu->lstar : cpu->cstar);
    return 0;
}

u64 helper_sysret(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    bool code64 = cpu_lma(cpu) && a == 8;
    if (code64 && short_sysret(cpu))
        return 0;
    if (!(cpu->efer & EFER_SCE) || (!cpu_is_amd(cpu) && !cpu_code64(cpu)))
        cpu_raise(cpu, EXC_UD);
    if (!(cpu->cr0 & CR0_PE) || cpu->cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    /* Intel checks here, with kernel rights; AMD lets the user's fetch fault. */
    if (code64 && !cpu_is_amd(cpu) && !canonical(cpu->gpr[RCX]))
        cpu_raise_error(cpu, EXC_GP, 0);
    u16 base = (u16)(cpu->star >> 48);
    u16 cs = (u16)((base + (code64 ? 16 : 0)) | 3), ss = (u16)((base + 8) | 3);
    if (cpu_lma(cpu)) {
        u64 keep = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_VIF | FL_VIP |
                   FL_ID;
        cpu->lazy_kind = LAZY_NONE;
        cpu->eflags = (cpu->gpr[R11] & keep) | FL_FIXED;
    } else {
        cpu->eflags |= FL_IF;
    }
    enter_user(cpu, cs, ss, code64, code64 ? cpu->gpr[RCX] : (u32)cpu->gpr[RCX]);
    return 0;
}

u64 helper_sysenter(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u16 sel = (u16)(cpu->sysenter_cs & 0xfffc);
    bool lma = cpu_lma(cpu);
    if (lma && cpu_is_amd(cpu))
        cpu_raise(cpu, EXC_UD); /* AMD APM vol. 3: not in long mode */
    if (!(cpu->cr0 & CR0_PE) || !sel)
        cpu_raise_error(cpu, EXC_GP, 0);
    cpu->eflags &= ~(u64)(FL_VM | FL_IF | FL_RF);
    cpu->gpr[RSP] = lma ? cpu->sysenter_esp : (u32)cpu->sysenter_esp;
    enter_kernel(cpu, sel, (u16)(sel + 8), lma, lma ? cpu->sysenter_eip : (u32)cpu->sysenter_eip);
    return 0;
}

u64 helper_sysexit(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u16 sel = (u16)(cpu->sysenter_cs & 0xfffc);
    bool code64 = a == 8;
    if (cpu_lma(cpu) && cpu_is_amd(cpu))
        cpu_raise(cpu, EXC_UD);
    if (!(cpu->cr0 & CR0_PE) || !sel || cpu->cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    if (code64 && (!canonical(cpu->gpr[RCX]) || !canonical(cpu->gpr[RDX])))
        cpu_raise_error(cpu, EXC_GP, 0);
    u16 cs = (u16)((sel + (code64 ? 32 : 16)) | 3);
    u64 rip = code64 ? cpu->gpr[RDX] : (u32)cpu->gpr[RDX];
    cpu->gpr[RSP] = code64 ? cpu->gpr[RCX] : (u32)cpu->gpr[RCX];
    enter_user(cpu, cs, (u16)(cs + 8), code64, rip);
    return 0;
}

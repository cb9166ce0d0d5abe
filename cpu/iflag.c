/* The interrupt flag and who may touch it: CLI, STI, PUSHF, POPF by IOPL; the virtual interrupt
 * flag of virtual-8086 mode (CR4.VME) and of ring 3 (CR4.PVI); software interrupts that stay in
 * virtual-8086 mode.  SDM vol. 3B 20.3 and 20.4, vol. 2 for each instruction.
 */
#include "cpu/system.h"

static void gp0(struct cpu *cpu) __attribute__((noreturn));
static void gp0(struct cpu *cpu)
{
    cpu_raise_error(cpu, EXC_GP, 0);
}

static bool vm86_virtual(const struct cpu *cpu)
{
    return (cpu->cr4 & CR4_VME) && cpu_iopl(cpu) < 3;
}

/* Whether CLI and STI mean VIF; raises #GP(0) if they may do nothing at all. */
static bool touches_vif(struct cpu *cpu)
{
    if (!(cpu->cr0 & CR0_PE) || cpu->cpl <= cpu_iopl(cpu))
        return false;
    bool may = cpu_in_vm86(cpu) ? cpu->cr4 & CR4_VME : cpu->cpl == 3 && (cpu->cr4 & CR4_PVI);
    if (!may)
        gp0(cpu);
    return true;
}

u64 helper_cli(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    cpu->eflags &= ~(u64)(touches_vif(cpu) ? FL_VIF : FL_IF);
    cpu->rip = a;
    return 0;
}

u64 helper_sti(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (touches_vif(cpu)) {
        if (cpu->eflags & FL_VIP)
            gp0(cpu);
        cpu->eflags |= FL_VIF;
    } else if (!(cpu->eflags & FL_IF)) {
        cpu->eflags |= FL_IF;
        cpu->irq_shadow = true;
        cpu->shadow_rip = a;
        cpu_unmask(cpu);
    }
    cpu->rip = a;
    return 0;
}

u64 iflag_virtual_image(struct cpu *cpu)
{
    u64 f = (cpu_eflags(cpu) | FL_IOPL) & ~(u64)FL_IF;
    return f | (cpu->eflags & FL_VIF ? FL_IF : 0);
}

u64 iflag_virtual_load(struct cpu *cpu, u64 image)
{
    u64 mask = FL_ARITH | FL_DF | FL_NT | FL_VIF;
    if ((image & FL_TF) || ((image & FL_IF) && (cpu->eflags & FL_VIP)))
        gp0(cpu);
    u64 v = (image & ~(u64)FL_VIF) | (image & FL_IF ? FL_VIF : 0);
    return (cpu_eflags(cpu) & ~(mask | FL_TF)) | (v & mask);
}

bool iflag_vm86_plain(struct cpu *cpu, unsigned size)
{
    if (cpu_iopl(cpu) == 3)
        return true;
    if (!vm86_virtual(cpu) || size != 2)
        gp0(cpu);
    return false;
}

void iflag_check_pending(struct cpu *cpu)
{
    bool on = cpu_in_vm86(cpu) ? cpu->cr4 & CR4_VME : cpu->cpl == 3 && (cpu->cr4 & CR4_PVI);
    if (on && (cpu->eflags & (FL_VIF | FL_VIP)) == (FL_VIF | FL_VIP) && cpu_iopl(cpu) < 3)
        cpu_set_exception(cpu, EXC_GP, true, 0);
}

u64 helper_pushf_vm86(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (!iflag_vm86_plain(cpu, (unsigned)a))
        return iflag_virtual_image(cpu);
    return cpu_eflags(cpu) & ~(u64)(FL_RF | FL_VM);
}

static void load_flags(struct cpu *cpu, u64 v, u64 next)
{
    u64 old = cpu->eflags;
    cpu->eflags = v;
    cpu->rip = next;
    if ((old ^ v) & (FL_TF | FL_AC))
        cpu_update_hflags(cpu);
    cpu_unmask(cpu);
}

/* What POPF changes: `more` is what depends on the privilege level. */
static u64 popped_flags(struct cpu *cpu, u64 image, u64 size, u64 more)
{
    u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT | (size > 2 ? FL_AC | FL_ID : 0) | more;
    return (cpu_eflags(cpu) & ~mask) | (image & mask) | FL_FIXED;
}

u64 helper_popf(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u64 more = (cpu->cpl ? 0 : FL_IOPL) | (cpu->cpl <= cpu_iopl(cpu) ? FL_IF : 0);
    load_flags(cpu, popped_flags(cpu, a, b, more), c);
    return 0;
}

u64 helper_popf_vm86(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    bool plain = iflag_vm86_plain(cpu, (unsigned)b);
    load_flags(cpu, plain ? popped_flags(cpu, a, b, FL_IF) : iflag_virtual_load(cpu, a), c);
    return 0;
}

/* ---- INT n in virtual-8086 mode, SDM vol. 3B table 20-2 ---- */

/* Whether the bit of the redirection map says that the 8086 program handles it. */
static bool redirected(struct cpu *cpu, unsigned vector)
{
    const struct segment *tr = &cpu->seg[SEG_TR];
    if (!(cpu->cr4 & CR4_VME))
        return false;
    if (!(tr->attr & SEG_P) || (tr->attr & 0xd) != 9 || tr->limit < 0x67)
        gp0(cpu);
    /* The map lies in the 32 bytes below the I/O permission map. */
    unsigned at = (unsigned)cpu_load_system(cpu, tr->base + 0x66, 2);
    if (at < 32 || at - 32 + vector / 8 > tr->limit)
        gp0(cpu);
    return !(cpu_load_system(cpu, tr->base + at - 32 + vector / 8, 1) >> (vector & 7) & 1);
}

bool iflag_vm86_int(struct cpu *cpu, unsigned vector, u64 next)
{
    struct stack s;
    bool plain = cpu_iopl(cpu) == 3;

    if (!redirected(cpu, vector)) {
        if (!plain)
            gp0(cpu);
        return false;
    }
    u64 image = plain ? cpu_eflags(cpu) : iflag_virtual_image(cpu);
    u64 ip = cpu_load(cpu, vector * 4, 2);
    u16 cs = (u16)cpu_load(cpu, vector * 4 + 2, 2);
    stack_current(&s, cpu);
    stack_push(&s, 2, image);
    stack_push(&s, 2, cpu->seg[SEG_CS].selector);
    stack_push(&s, 2, next);
    stack_commit(&s);
    cpu->eflags &= ~(u64)(FL_TF | FL_RF | (plain ? FL_IF : FL_VIF));
    seg_install_paragraph(cpu, SEG_CS, cs);
    cpu->rip = ip;
    cpu_update_hflags(cpu);
    return true;
}

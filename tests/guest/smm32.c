/* System management mode from 32-bit code: entry, save map, RSM, relocation, SMRAM, HLT, NMIs.
 *
 * SDM vol. 3C chapter 34 and, for the map of a processor with long mode, AMD APM vol. 2 table 10-1;
 * SMRAM: 82441FX data sheet 3.2.22; SMI command port: 82371AB data sheet.
 */
#include "tests/guest/lib/legacy.h"
#include "tests/guest/lib/smi.h"

CODE(raise, "out %al, $0xb2");
CODE(elsewhere, "mov $0x77, %esi");
CODE(do_rsm, "rsm");
CODE(halt, "hlt");

#define APIC(reg) (*(volatile u32 *)(0xfee00000 + (reg)))
enum {
    APIC_EOI = 0xb0, APIC_SVR = 0xf0, APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310,
    APIC_TIMER = 0x320, APIC_LINT0 = 0x350, APIC_COUNT = 0x380,
    SEND_SMI = 0x200, SEND_NMI = 0x400, ASSERT = 0x4000, TIMER_VECTOR = 0x60,
};

/* The two maps; offsets as the manuals give them, from SMBASE. */
struct map {
    u32 revision, size, smbase, halt, cr0, cr3, cr4, dr7, flags, ip, gpr, cs, ss, tr;
    int step; /* from register to register, in SDM order */
};
static const struct map amd64 = {0x64, 8, 0xff00, 0xfec9, 0xff58, 0xff50, 0xff48, 0xff60,
                                 0xff70, 0xff78, 0xfff8, 0xfe10, 0xfe20, 0xfe90, -8};
static const struct map p6 = {0, 4, 0xfef8, 0xff02, 0xfffc, 0xfff8, 0xff14, 0xffc8,
                              0xfff4, 0xfff0, 0xffd0, 0xffac, 0xffb0, 0xffc4, 4};
static const struct map *map;
static u32 smbase;

static u64 saved(u32 at)
{
    return smi_map(at, map->size);
}

/* The next SMI writes `value` into a field of its own map. */
static void change(unsigned i, u32 at, u32 value, u32 bytes)
{
    smi_store(i, smbase + at, value, bytes);
}

static struct regs pattern(const void *code)
{
    struct regs r = kernel_at(code);
    r.eax = 0x11111199;
    r.ecx = 0x22222222;
    r.edx = 0x33333333;
    r.ebx = 0x44444444;
    r.ebp = 0x55555555;
    r.esi = 0x66666666;
    r.edi = 0x77777777;
    r.flags = FL_ONE | FL_CF | FL_DF | FL_SF;
    return r;
}

static bool same(const struct regs *a, const struct regs *b)
{
    return a->eax == b->eax && a->ecx == b->ecx && a->edx == b->edx && a->ebx == b->ebx &&
           a->ebp == b->ebp && a->esi == b->esi && a->edi == b->edi && a->esp == b->esp &&
           a->flags == b->flags;
}

/* ---- entry and return ---- */

static void entry(void)
{
    struct regs before = pattern(raise), r = before;
    u32 count = SMI_MAILBOX->count;
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x403));
    enter(&r);
    __asm__ volatile("mov %0, %%dr7" : : "r"(0x400));
    check_eq("one SMI", SMI_MAILBOX->count, count + 1);
    expect("RSM returns behind the OUT", &r, STOP, 0, raise_end + 2);
    check("RSM restores the registers", same(&before, &r));
    smbase = SMI_MAILBOX->cs << 4;
    check("SMBASE of reset or of the firmware", smbase == 0x30000 || smbase == 0xa0000);
    check_eq("EFLAGS in SMM", SMI_MAILBOX->eflags, 2);
    check_eq("CR0 in SMM", SMI_MAILBOX->cr0 & (CR0_PE | CR0_EM | CR0_TS | CR0_PG), 0);
    check_eq("CR4 in SMM", SMI_MAILBOX->cr4, 0);
    check_eq("DR7 in SMM", SMI_MAILBOX->dr7, 0x400);

    check_eq("revision", smi_map(0xfefc, 4) & 0xffff, map->revision);
    check("SMBASE can be moved", smi_map(0xfefc, 4) & 1u << 17);
    check_eq("saved SMBASE", smi_map(map->smbase, 4), smbase);
    check_eq("saved halt flag", smi_map(map->halt, 1), 0);
    check_eq("saved EIP", saved(map->ip), (u32)raise_end);
    check_eq("saved EFLAGS", saved(map->flags), before.flags);
    check_eq("saved CR0", saved(map->cr0), read_cr0());
    check_eq("saved CR3", saved(map->cr3), read_cr3());
    check_eq("saved CR4", saved(map->cr4), read_cr4());
    check_eq("saved DR7", saved(map->dr7), 0x403);
    check_eq("saved CS", smi_map(map->cs, 2), SEL_CODE);
    check_eq("saved SS", smi_map(map->ss, 2), SEL_DATA);
    check_eq("saved TR", smi_map(map->tr, 2), SEL_TSS);
    const u32 regs[] = {before.eax, before.ecx, before.edx, before.ebx,
                        before.esp, before.ebp, before.esi, before.edi};
    for (u32 i = 0; i < 8; i++)
        check_eq("saved registers", saved(map->gpr + i * (u32)map->step), regs[i]);
}

static void modified(void)
{
    struct regs r = pattern(raise);
    change(0, map->gpr + 3 * (u32)map->step, 0x12345678, 4);
    change(1, map->ip, (u32)elsewhere, 4);
    change(2, map->flags, FL_ONE | FL_ZF, 4);
    enter(&r);
    smi_clear_stores();
    check_eq("RSM takes EBX from the map", r.ebx, 0x12345678);
    expect("RSM takes EIP from the map", &r, STOP, 0, elsewhere_end + 2);
    check_eq("code there has run", r.esi, 0x77);
    check_eq("RSM takes EFLAGS from the map", r.flags, FL_ONE | FL_ZF);
    r = kernel_at(do_rsm);
    enter(&r);
    expect("RSM outside SMM", &r, UD, 0, do_rsm);
}

/* 34.11; and SMRAM, which only SMM sees unless it is open. */
static void relocation(void)
{
    u32 first = *(const u32 *)smi_handler;
    change(0, map->smbase, 0xa0000, 4);
    smi();
    smi_clear_stores();
    smbase = 0xa0000;
    smi();
    check_eq("relocated", SMI_MAILBOX->cs << 4, 0xa0000);
    check_eq("SMRAM, open", *(volatile u32 *)0xa8000, first);
    pci_write8(0, SMRAM, C_BASE | G_SMRAME);
    check("SMRAM, not open", *(volatile u32 *)0xa8000 != first);
    SMI_MAILBOX->load = 0xa8000;
    SMI_MAILBOX->loaded = 0;
    smi_store(0, 0xa4000, 0x5a5a5a5a, 4);
    smi();
    smi_clear_stores();
    check_eq("SMRAM in SMM", SMI_MAILBOX->loaded, first);
    check("SMRAM after RSM", *(volatile u32 *)0xa8000 != first);
    /* A store outside does not reach it. */
    *(volatile u32 *)0xa4000 = 0x11111111;
    SMI_MAILBOX->load = 0xa4000;
    smi();
    check_eq("SMRAM is not written from outside", SMI_MAILBOX->loaded, 0x5a5a5a5a);
    pci_write8(0, SMRAM, C_BASE | G_SMRAME | D_OPEN);
    check_eq("SMRAM opened again", *(volatile u32 *)0xa4000, 0x5a5a5a5a);
    *(volatile u32 *)0xa4000 = 0x22222222;
    pci_write8(0, SMRAM, C_BASE | G_SMRAME);
    smi();
    check_eq("SMRAM written while open", SMI_MAILBOX->loaded, 0x22222222);
    SMI_MAILBOX->load = 0x7000;
}

/* 3.2.22: D_LCK clears D_OPEN and keeps it and G_SMRAME until reset. */
static void locked(void)
{
    u32 count = SMI_MAILBOX->count;
    pci_write8(0, SMRAM, C_BASE | G_SMRAME | D_OPEN | D_LCK);
    check_eq("D_LCK closes", pci_read8(0, SMRAM), C_BASE | G_SMRAME | D_LCK);
    pci_write8(0, SMRAM, C_BASE | D_OPEN);
    check_eq("D_LCK locks", pci_read8(0, SMRAM), C_BASE | G_SMRAME | D_LCK);
    smi();
    check_eq("SMIs with SMRAM locked", SMI_MAILBOX->count, count + 1);
}

/* ---- HLT (34.10) ---- */

static bool count_timer(struct regs *r)
{
    (void)r;
    APIC(APIC_EOI) = 0;
    return false;
}

/* HLT with an SMI from PIT channel 0 (mode 0, through the 8259 to LINT0) and after it an interrupt
 * from the local APIC's timer.  Again with more time, should the SMI have come before the HLT, or
 * both at once (QEMU, on a busy host). */
static struct regs halt_with_smi(void)
{
    struct regs r;
    APIC(APIC_SVR) = 0x1ff;
    handlers[TIMER_VECTOR] = count_timer;
    for (u32 attempt = 1; attempt < 8; attempt++) {
        r = pattern(halt);
        r.flags |= FL_IF;
        trap_counts[TIMER_VECTOR] = 0;
        SMI_MAILBOX->count = 0;
        APIC(APIC_TIMER) = TIMER_VECTOR;
        APIC(APIC_COUNT) = 0x4000000 * attempt;
        APIC(APIC_LINT0) = SEND_SMI;
        outb(0x43, 0x30);
        outb(0x40, 0x00);
        outb(0x40, (u8)(attempt * 0x1c)); /* 6 ms */
        outb(0x21, 0xfe);
        enter(&r);
        outb(0x21, 0xff);
        outb(0x20, 0x0c); /* poll: acknowledges the 8259's request */
        inb(0x20);
        outb(0x20, 0x20);
        APIC(APIC_LINT0) = 0x10000;
        APIC(APIC_TIMER) = 0x10000;
        APIC(APIC_COUNT) = 0;
        if (SMI_MAILBOX->count == 1 && smi_map(map->ip, 4) == (u32)halt_end && r.vector == STOP)
            break;
    }
    return r;
}

static void halted(void)
{
    struct regs r;
    change(0, map->halt, 0, 1);
    r = halt_with_smi();
    smi_clear_stores();
    check_eq("SMI wakes HLT", SMI_MAILBOX->count, 1);
    check_eq("halt flag", smi_map(map->halt, 1), 1);
    check_eq("halt flag cleared: HLT has ended", trap_counts[TIMER_VECTOR], 0);
    expect("behind HLT", &r, STOP, 0, halt_end + 2);
    /* Left set: back to HLT, which the interrupt ends. */
    r = halt_with_smi();
    check_eq("SMI in HLT, flag left", SMI_MAILBOX->count, 1);
    check_eq("it went on halting", trap_counts[TIMER_VECTOR], 1);
    expect("until the interrupt", &r, STOP, 0, halt_end + 2);
}

/* ---- NMIs (34.8), SMIs from the local APIC ---- */

static u32 nmis, nmis_inside, counts_inside;
static bool nested;

static void send(u32 what)
{
    APIC(APIC_ICR_HIGH) = 0;
    APIC(APIC_ICR) = what | ASSERT;
    for (unsigned i = 0; i < 1000; i++) /* a backward branch and some time */
        __asm__ volatile("");
}

static bool on_nmi(struct regs *r)
{
    (void)r;
    nmis++;
    if (nested) {
        nested = false;
        u32 count = SMI_MAILBOX->count;
        smi();
        counts_inside = SMI_MAILBOX->count - count;
        send(SEND_NMI);
        nmis_inside = nmis;
    }
    return false;
}

static void nmi(void)
{
    handlers[NMI] = on_nmi;
    send(SEND_NMI);
    check_eq("NMI by IPI", nmis, 1);
    /* Sent in SMM, it waits for RSM; the load at the handler's end sees the counter unchanged. */
    smi_store(0, 0xfee00310, 0, 4);
    smi_store(1, 0xfee00300, SEND_NMI | ASSERT, 4);
    SMI_MAILBOX->load = (u32)&nmis;
    smi();
    smi_clear_stores();
    check_eq("NMI in SMM waits", SMI_MAILBOX->loaded, 1);
    check_eq("NMI after RSM", nmis, 2);
    SMI_MAILBOX->load = 0x7000;
    /* An SMI within an NMI handler leaves NMIs blocked. */
    nested = true;
    send(SEND_NMI);
    check_eq("SMI in an NMI handler", counts_inside, 1);
    check_eq("NMIs stay blocked after it", nmis_inside, 3);
    check_eq("until IRET", nmis, 4);

    u32 count = SMI_MAILBOX->count;
    send(SEND_SMI);
    check_eq("SMI by IPI", SMI_MAILBOX->count, count + 1);
    outb(0xb3, 0x5c);
    smi();
    check_eq("APM status port", inb(0xb3), 0x5c);
}

void test_main(void)
{
    u32 id[4];
    cpuid(0x80000001, id);
    map = id[3] >> 29 & 1 ? &amd64 : &p6;
    check_group = map == &p6 ? "P6/" : "";
    smi_setup();
    entry();
    modified();
    relocation();
    halted();
    nmi();
    locked();
}

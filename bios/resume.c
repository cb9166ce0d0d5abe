/* After a reset that is not the beginning: the shutdown codes of CMOS, and waking from S3.
 *
 * IBM PC AT Technical Reference, BIOS listing (shutdown codes 05h, 09h and 0Ah; 0Bh and 0Ch as
 * later BIOSes have them); ACPI 6.3, 16.3.2 (firmware's part of waking up).  Entered from
 * entry.S on the services' stack with shadow RAM as POST left it: low RAM is somebody else's by
 * now, and stays untouched.  Chips may have been reset or not, so what they need is done in any
 * case.
 */
#include "bios/chips.h"
#include "bios/service.h"
#include "bios/video.h"

enum {
    CODE_WAKE = 0xfe,
    FACS_VECTOR = 12,   /* u32 */
    FACS_X_VECTOR = 24, /* u64 */
    FACS_VERSION = 32,  /* u8 */
};

static void restore_pci(void)
{
    for (u16 i = 0; i < shared.kept_count; i++) {
        const struct kept_register *k = &shared.kept[i];
        outl(PCI_ADDRESS, 0x80000000 | (u32)k->bdf << 8 | k->reg);
        outl(PCI_DATA, k->value);
    }
    outb(ELCR, (u8)shared.elcr);
    outb(ELCR + 1, (u8)(shared.elcr >> 8));
}

static void restore_msrs(void)
{
    for (u16 i = 0; i < shared.msr_count; i++)
        __asm__ volatile("wrmsr"
                         :
                         : "c"(shared.msr[i].number), "A"(shared.msr[i].value));
}

static void apic_write(u32 reg, u32 value)
{
    pm_copy(APIC_BASE + reg, DATA_BASE + (u32)&value, sizeof value);
}

/* Where the operating system wants to go on. */
static void wake(void)
{
    static u8 facs[64];
    pm_copy(DATA_BASE + (u32)facs, shared.facs, sizeof facs);
    u32 vector = *(const u32 *)(facs + FACS_VECTOR), flat = *(const u32 *)(facs + FACS_X_VECTOR);
    u32 flat_high = *(const u32 *)(facs + FACS_X_VECTOR + 4);
    if (flat && !flat_high && facs[FACS_VERSION] >= 1)
        wake_protected(flat);
    if (vector)
        wake_real((vector >> 4) << 16 | (vector & 15));
    reset_machine();
}

void resume(u8 code)
{
    outb(0x92, (inb(0x92) | 2) & ~1); /* A20 */
    pic_init();
    pit_init();
    restore_pci();
    if (shared.apic) { /* virtual wire mode, as POST sets it up */
        apic_write(APIC_SPURIOUS, APIC_ENABLE | APIC_SPURIOUS_VECTOR);
        apic_write(APIC_LINT0, LINT_EXTINT);
        apic_write(APIC_LINT1, LINT_NMI);
    }
    if (code != CODE_WAKE) {
        kbc_end();
        return;
    }
    restore_msrs();
    if (shared.vga) /* a picture of some kind, until a driver makes a better one */
        video_set_mode(0x83);
    wake();
}

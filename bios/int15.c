/* INT 15h: memory map, A20, block move, waiting, system data.
 *
 * ACPI 6.3, section 15.1 (E820h); IBM PS/2 and PC BIOS Interface Technical Reference; Ralf Brown's
 * list for E801h, E881h and 24xxh.  AH = C2h is in int15_mouse.c, 83h in int1a.c, 53h in apm.c.
 * The switch to protected mode (89h) is in services.S.  Left out: EISA, joystick (84h), for which
 * the machine has no port.
 */
#include "bios/service.h"

enum {
    NOT_SUPPORTED = 0x86,
    SMAP = 0x534d4150,
    E820_ENTRY = 20,
    PORT92_A20 = 0x02,
    MIB = 1 << 20,
};

/* ---- memory sizes ---- */

/* E820h: entry EBX to ES:DI. */
static void memory_map(frame_ptr f)
{
    if (f->edx != SMAP || f->ebx >= shared.e820_count || f->ecx < E820_ENTRY) {
        fail(f, NOT_SUPPORTED);
        return;
    }
    const u8 *entry = (const u8 *)&shared.e820[f->ebx];
    u16 to = f->di;
    far_segment(f->es);
    for (u32 i = 0; i < E820_ENTRY; i++)
        FAR(u8, (u16)(to + i)) = entry[i];
    f->ebx = f->ebx + 1 < shared.e820_count ? f->ebx + 1 : 0;
    f->eax = SMAP;
    f->ecx = E820_ENTRY;
    set_carry(f, false);
}

/* KiB of RAM from 1 MiB up to the first hole. */
static u32 extended_kib(void)
{
    for (u32 i = 0; i < shared.e820_count; i++) {
        const struct e820_entry *e = &shared.e820[i];
        if (e->type == E820_RAM && e->base == MIB)
            return (u32)(e->size >> 10);
    }
    return 0;
}

/* E801h: KiB between 1 and 16 MiB, and 64 KiB blocks above. */
static void memory_e801(frame_ptr f)
{
    u32 kib = extended_kib();
    u32 low = kib > 15 * 1024 ? 15 * 1024 : kib;
    u32 blocks = kib > 15 * 1024 ? (kib - 15 * 1024) / 64 : 0;
    f->ax = f->cx = (u16)low;
    f->bx = f->dx = (u16)(blocks > 0xffff ? 0xffff : blocks);
    set_carry(f, false);
}

/* 88h: KiB above 1 MiB, at most what fits. */
static void memory_88(frame_ptr f)
{
    u32 kib = extended_kib();
    f->ax = (u16)(kib > 0xfc00 ? 0xfc00 : kib);
    set_carry(f, false);
}

/* ---- A20 ---- */

static void a20(frame_ptr f)
{
    u8 now = inb(0x92);
    switch (f->al) {
    case 0: outb(0x92, now & ~(PORT92_A20 | 1)); break;
    case 1: outb(0x92, (now | PORT92_A20) & ~1); break;
    case 2: f->al = now & PORT92_A20 ? 1 : 0; break;
    case 3: f->bx = 3; break; /* keyboard controller and port 92h */
    default: fail(f, NOT_SUPPORTED); return;
    }
    done(f);
}

/* ---- block move ---- */

/* 87h: CX words; ES:SI points to a GDT whose third and fourth descriptors are source and target. */
static u32 descriptor_base(u16 seg, u16 at)
{
    far_segment(seg);
    return FAR(u16, (u16)(at + 2)) | (u32)FAR(u8, (u16)(at + 4)) << 16 |
           (u32)FAR(u8, (u16)(at + 7)) << 24;
}

static void block_move(frame_ptr f)
{
    if (f->cx > 0x8000) {
        fail(f, 0x02);
        return;
    }
    u8 gate = inb(0x92);
    outb(0x92, (gate | PORT92_A20) & ~1);
    pm_copy(descriptor_base(f->es, (u16)(f->si + 0x18)),
            descriptor_base(f->es, (u16)(f->si + 0x10)), f->cx * 2u);
    outb(0x92, gate & ~1);
    done(f);
}

void service_15(frame_ptr f)
{
    switch (f->ah) {
    case 0x24: a20(f); return;
    case 0x53: apm_service(f); return;
    case 0x4f: set_carry(f, true); return; /* keyboard intercept: the key counts */
    case 0x80: /* devices opened and closed, a program's end: for who multitasks */
    case 0x81:
    case 0x82: done(f); return;
    case 0x83: event_wait(f); return;
    case 0x85: done(f); return; /* System Request: for who wants it */
    case 0x86:
        wait_open((u32)f->cx << 16 | f->dx);
        done(f);
        return;
    case 0x87: block_move(f); return;
    case 0x88: memory_88(f); return;
    case 0x90: /* device busy, and interrupt complete: nobody multitasks here */
    case 0x91: done(f); return;
    case 0xc0:
        f->es = CODE_SEG;
        f->bx = (u16)(u32)config_table;
        done(f);
        return;
    case 0xc1:
        f->es = bda16(BDA_EBDA);
        set_carry(f, false);
        return;
    case 0xc2: pointer_service(f); return;
    case 0xe8: break;
    default: fail(f, NOT_SUPPORTED); return;
    }
    switch (f->al) {
    case 0x01: memory_e801(f); break;
    case 0x20: memory_map(f); break;
    case 0x81: /* as E801h, in 32-bit registers */
        memory_e801(f);
        f->eax = f->ecx = f->ax;
        f->ebx = f->edx = f->bx;
        break;
    default: fail(f, NOT_SUPPORTED); break;
    }
}

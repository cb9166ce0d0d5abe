/* INT 19h: starts what there is to start.
 *
 * A Linux image, by its boot protocol (Documentation/arch/x86/boot.rst in the kernel) as a boot
 * loader does it: real mode, at the set-up code.  A multiboot image (specification 0.6.96, 3.2):
 * 32-bit protected mode.  Both lie in fw_cfg, with addresses.  Else disks and CDs, in the order
 * that CMOS says or a person chooses.  Networks are what option ROMs have boot entries for.
 */
#include "bios/bda.h"
#include "bios/post.h"

#define BOOT_SECTOR 0x7c00u

extern const u16 vector_idle[];
extern const u8 boot_rom[]; /* offset in CODE_SEG */

/* Loads one of fw_cfg's address, size and data triples; returns the size. */
static u32 load(u16 addr_key, u16 size_key, u16 data_key)
{
    u32 addr = fw_get32(addr_key), size = fw_get32(size_key);
    if (size)
        fw_get(data_key, (void *)addr, size);
    return size;
}

static void boot_linux(void)
{
    u32 setup = fw_get32(FW_SETUP_ADDR), cmdline = fw_get32(FW_CMDLINE_ADDR);
    if (!fw_get32(FW_SETUP_SIZE) || setup & 15 || setup >= 0xa0000)
        return;
    load(FW_CMDLINE_ADDR, FW_CMDLINE_SIZE, FW_CMDLINE_DATA);
    load(FW_SETUP_ADDR, FW_SETUP_SIZE, FW_SETUP_DATA);
    load(FW_KERNEL_ADDR, FW_KERNEL_SIZE, FW_KERNEL_DATA);
    load(FW_INITRD_ADDR, FW_INITRD_SIZE, FW_INITRD_DATA);
    struct real_entry e = {
        .ip = 0,
        .cs = (u16)((setup >> 4) + 0x20),
        .segment = (u16)(setup >> 4),
        /* The heap ends below the command line, where that is in the same 64 KiB. */
        .sp = (u16)(cmdline - setup <= 0x10000 ? cmdline - setup - 16 : 0xfff0),
        .flags = FLAGS_OFF,
    };
    enter_real(&e);
}

static void boot_multiboot(void)
{
    u32 size, info = 0;
    u16 key = fw_find("etc/dragoman-multiboot", &size);
    if (key)
        fw_get(key, &info, sizeof info);
    else if (fw_get32(FW_SETUP_SIZE) == 0 && fw_get32(FW_KERNEL_ENTRY))
        info = fw_get32(FW_INITRD_ADDR); /* QEMU: the information comes first */
    else
        return;
    if (!load(FW_KERNEL_ADDR, FW_KERNEL_SIZE, FW_KERNEL_DATA))
        return;
    load(FW_INITRD_ADDR, FW_INITRD_SIZE, FW_INITRD_DATA);
    enter_multiboot(fw_get32(FW_KERNEL_ENTRY), info);
}

bool boot_has_kernel(void)
{
    return fw_get32(FW_KERNEL_SIZE) != 0;
}

/* ---- disks ---- */

bool disk_read(u8 unit, u64 lba, u16 count, u32 memory)
{
    struct {
        u8 size, reserved;
        u16 count, offset, segment;
        u64 lba;
    } PACKED packet = {16, 0, count, (u16)(memory & 15), (u16)(memory >> 4), lba};
    struct int_regs r = {.eax = 0x4200, .edx = unit, .esi = (u32)&packet};
    bios_int(0x13, &r);
    return !(r.flags & 1);
}

/* The first sector of a disk or floppy, to 0:7C00 (IBM PC AT Technical Reference, bootstrap). */
static void boot_sector(u8 unit)
{
    for (u32 tries = 0; tries < 3; tries++) {
        struct int_regs r = {.eax = 0x0201, .ebx = BOOT_SECTOR, .ecx = 1, .edx = unit};
        bios_int(0x13, &r);
        if (r.flags & 1)
            continue;
        if (MEMORY(u16, BOOT_SECTOR + 510) != 0xaa55) {
            say("%s %u is not bootable.\n", unit & 0x80 ? "Disk" : "Floppy", (u32)unit & 0x7f);
            return;
        }
        struct real_entry e = {.ip = BOOT_SECTOR, .sp = BOOT_SECTOR, .dx = unit,
                               .flags = FLAGS_BOOT};
        enter_real(&e);
    }
}

/* ---- what to boot from ---- */

enum { KIND_NONE, KIND_FLOPPY, KIND_DISK, KIND_CD, KIND_ROM, KINDS };

/* On a fresh stack in real mode, for it may need all memory that we use. */
static void boot_entry(u8 n)
{
    const struct shared *s = SERVICE_DATA(shared);
    MEMORY(u32, ROM_CALL_TARGET) = (u32)s->boot_entry[n].segment << 16 | s->boot_entry[n].offset;
    MEMORY(u16, ROM_CALL_TARGET + 4) = s->pnp;
    struct real_entry e = {.ip = (u16)(u32)boot_rom, .cs = CODE_SEG, .sp = BOOT_SECTOR,
                           .flags = FLAGS_BOOT};
    enter_real(&e);
}

static void boot_device(u8 kind, u8 n)
{
    SERVICE_DATA(shared)->booting = 1;
    boot_emulation_end();
    if (kind == KIND_ROM)
        boot_entry(n);
    else if (kind == KIND_CD)
        boot_cd((u8)(CDROM_UNIT + n));
    else
        boot_sector((u8)(kind == KIND_DISK ? 0x80 + n : n));
}

static u8 devices_of(u8 kind)
{
    const struct shared *s = SERVICE_DATA(shared);
    switch (kind) {
    case KIND_FLOPPY: return s->floppies;
    case KIND_DISK: return (u8)(s->disks + s->rom_disks);
    case KIND_CD: return s->cdroms;
    case KIND_ROM: return s->boot_entries;
    default: return 0;
    }
}

/* A service that 32-bit code calls runs without interrupts, unless it lets them in. */
static void wait_interrupt(void)
{
    struct int_regs r = {0};
    MEMORY(u32, ROM_CALL_INT * 4) = (u32)CODE_SEG << 16 | *SERVICE_CODE(vector_idle);
    bios_int(ROM_CALL_INT, &r);
    MEMORY(u32, ROM_CALL_INT * 4) = 0;
}

/* A key from INT 16h within that many ticks; 0: none. */
static u16 key_within(u32 ticks)
{
    u32 start = MEMORY(u32, BDA_TICKS);
    for (;;) {
        struct int_regs r = {.eax = 0x0100};
        bios_int(0x16, &r);
        if (!(r.flags & 0x40)) {
            r.eax = 0;
            bios_int(0x16, &r);
            return (u16)r.eax;
        }
        if (MEMORY(u32, BDA_TICKS) - start >= ticks)
            return 0;
        wait_interrupt();
    }
}

enum { KEY_F12 = 0x8600, KEY_ESCAPE = 0x1b };

/* Lists the devices; the person's choice is tried first. */
static void menu(void)
{
    const struct shared *s = SERVICE_DATA(shared);
    enum { MOST = 9 };
    u8 kinds[MOST], units[MOST], n = 0;
    say("\nBoot from:\n");
    for (u8 i = 0; i < s->floppies; i++, n++) {
        kinds[n] = KIND_FLOPPY;
        units[n] = i;
        say("  %u. floppy %u\n", (u32)n + 1, (u32)i);
    }
    for (u8 i = 0; i < s->disks; i++, n++) {
        kinds[n] = KIND_DISK;
        units[n] = i;
        say("  %u. disk: %s\n", (u32)n + 1, s->disk[s->hard_disk[i]].model);
    }
    for (u8 i = s->disks; i < s->disks + s->rom_disks && n < MOST; i++, n++) {
        kinds[n] = KIND_DISK;
        units[n] = i;
        say("  %u. disk %u, of an option ROM\n", (u32)n + 1, (u32)i);
    }
    for (u8 i = 0; i < s->cdroms && n < MOST; i++, n++) {
        kinds[n] = KIND_CD;
        units[n] = i;
        say("  %u. CD-ROM: %s\n", (u32)n + 1, s->disk[s->cdrom[i]].model);
    }
    for (u8 i = 0; i < s->boot_entries && n < MOST; i++, n++) {
        const struct boot_entry *e = &s->boot_entry[i];
        kinds[n] = KIND_ROM;
        units[n] = i;
        say("  %u. option ROM: %s\n", (u32)n + 1,
            e->name ? (const char *)((u32)e->segment << 4) + e->name : "without a name");
    }
    say("Number, or Escape for the usual order: ");
    for (;;) {
        u8 key = (u8)key_within(~0u);
        if (key == KEY_ESCAPE)
            break;
        if (key >= '1' && key < '1' + n) {
            say("%c\n", key);
            boot_device(kinds[key - '1'], units[key - '1']);
            return;
        }
    }
    say("\n");
}

static void offer_menu(void)
{
    u16 wanted = 0;
    fw_get(FW_BOOT_MENU, &wanted, sizeof wanted);
    say("Press F12 for the boot menu.\n");
    if (key_within(wanted ? BOOT_MENU_TICKS : 0) == KEY_F12)
        menu();
}

/* The order is in CMOS, three nibbles (as Bochs' and QEMU's machines have it). */
static void boot_in_order(void)
{
    u8 low = cmos_read(0x3d), high = cmos_read(0x38);
    const u8 order[3] = {low & 15, low >> 4, high >> 4};
    struct shared *s = SERVICE_DATA(shared);
    u8 at = 0;
    for (u32 i = 0; i < 3; i++) {
        if (order[i] >= KINDS)
            continue;
        for (u8 n = 0; n < devices_of(order[i]); n++) {
            if (at++ < s->boot_at)
                continue;
            s->boot_at = at;
            boot_device(order[i], n);
        }
    }
    s->booting = 0;
}

_Noreturn void boot_main(void)
{
    struct shared *s = SERVICE_DATA(shared);
    bool again = s->boot_continue;
    s->boot_continue = 0;
    fw_init();
    if (!again) {
        s->boot_at = 0;
        boot_multiboot();
        boot_linux();
        offer_menu();
    }
    boot_in_order();
    struct int_regs r = {0};
    bios_int(0x18, &r);
    for (;;)
        __asm__ volatile("hlt");
}

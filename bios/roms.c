/* Option ROMs at C0000-DFFFF: those of ISA cards where they are, those of PCI devices, and the
 * files of fw_cfg whose names begin with "genroms/", copied there.
 *
 * PCI 3.0, section 6.3 (expansion ROMs); IBM PC AT Technical Reference, "Adapter ROM"; Plug and
 * Play BIOS 1.0A, section 3 (connection and boot entry vectors).  The display adapter's comes
 * first and takes INT 10h; where the console is shown on a UART too, our handler stays in front
 * of it.  Memory for them is in pmm.c.  Left out: disconnect vectors.
 */
#include "bios/bda.h"
#include "bios/chips.h"
#include "bios/post.h"

enum {
    PCI_CLASS = 0x08,
    PCI_COMMAND = 0x04,
    PCI_ROM = 0x30,
    ROM_ENABLE = 1,
    COMMAND_IO = 1,
    COMMAND_MEM = 2,
    CLASS_DISPLAY = 0x03,
    CLASS_VGA = 0x030000,
    NO_DISPLAY = 0xffff,
    ROM_START = 0xc0000,
    ROM_END = 0xe0000,
    ROM_SIGNATURE = 0xaa55,
    ROM_UNIT = 2048,
    PCIR = 0x52494350,
    CODE_PC_AT = 0,
    /* Plug and Play expansion header. */
    HEADER_POINTER = 0x1a,
    HEADER_SIZE = 0x20,
    HEADER_NEXT = 0x06,
    HEADER_PRODUCT = 0x10,
    HEADER_CONNECT = 0x16,
    HEADER_BOOT = 0x1a,
    HEADERS_MAX = 8,
    ISA_START = 0xc8000,
    ISA_MAX = 8,
    ISA_BUFFER = 0x10000, /* where C8000-DFFFF fits while shadow RAM is cleared */
    /* What POST does not use itself of low RAM once ISA_BUFFER is empty. */
    PMM_LOW = 0x10000,
    PMM_LOW_END = POST_BSS,
    PMM_HIGH = 0x110000, /* above what real mode reaches with A20 */
};

#define PNP_SIGNATURE 0x506e5024 /* "$PnP" */

extern const u16 vector_mirror[], vector_call_rom[];

static u32 rom_next = ROM_START;

static bool is_display(u16 bdf)
{
    return pci_read(bdf, PCI_CLASS) >> 24 == CLASS_DISPLAY;
}

/* C0000-DFFFF: reads and writes go to RAM (i440FX, PAM1 to PAM4), or writes are ignored below
 * `end`. */
static void shadow(u32 end)
{
    outl(PCI_ADDRESS, 0x80000058);
    for (u32 i = 0; i < 2; i++)
        outb((u16)(PCI_DATA + 2 + i), 0x33);
    outl(PCI_ADDRESS, 0x8000005c);
    for (u32 i = 0; i < 2; i++)
        outb((u16)(PCI_DATA + i), 0x33);
    for (u32 i = 0; i < 8 && end; i++) {
        u32 segment = ROM_START + i * 0x4000;
        u8 reg = (u8)(0x5a + i / 2), value = 0;
        if (segment + 0x4000 > end)
            break;
        outl(PCI_ADDRESS, 0x80000000 | (reg & 0xfcu));
        value = inb((u16)(PCI_DATA + (reg & 3)));
        outb((u16)(PCI_DATA + (reg & 3)), (u8)(value & ~(2u << (i % 2 * 4))));
    }
}

/* The image for PC-AT in the ROM at `at` (section 6.3.1); its size in bytes, 0: none. */
static u32 find_image(u32 at, u32 limit, u32 *image)
{
    for (u32 offset = 0; offset + 0x1a < limit;) {
        u32 rom = at + offset, data = rom + MEMORY(u16, rom + 0x18);
        if (MEMORY(u16, rom) != ROM_SIGNATURE)
            return 0;
        if (data + 0x18 > at + limit || MEMORY(u32, data) != PCIR) {
            *image = rom; /* an old one, without PCI's structure */
            return MEMORY(u8, rom + 2) * 512u;
        }
        if (MEMORY(u8, data + 0x14) == CODE_PC_AT) {
            *image = rom;
            return MEMORY(u8, rom + 2) * 512u;
        }
        if (MEMORY(u8, data + 0x15) & 0x80 || !MEMORY(u16, data + 0x10))
            return 0;
        offset += MEMORY(u16, data + 0x10) * 512u;
    }
    return 0;
}

static struct {
    u32 at, size;
} isa[ISA_MAX];
static u32 isa_count;

/* Calls one of its vectors: initialisation at offset 3, AX is where the device is; ES:DI is the
 * Plug and Play installation check. */
static void call_rom(u32 rom, u16 offset, u16 bdf)
{
    MEMORY(u32, ROM_CALL_INT * 4) = (u32)CODE_SEG << 16 | *SERVICE_CODE(vector_call_rom);
    MEMORY(u32, ROM_CALL_TARGET) = rom >> 4 << 16 | offset;
    struct int_regs r = {.eax = bdf, .ebx = 0xffff, .edx = 0xffff, .es = CODE_SEG,
                         .edi = SERVICE_DATA(shared)->pnp};
    bios_int_big(ROM_CALL_INT, &r);
    MEMORY(u32, ROM_CALL_INT * 4) = 0;
    MEMORY(u32, ROM_CALL_TARGET) = 0;
}

/* Disks are connected at once, boot entries kept for INT 19h. */
static void expansion_headers(u32 rom, u16 bdf)
{
    struct shared *s = SERVICE_DATA(shared);
    u32 size = MEMORY(u8, rom + 2) * 512u;
    u16 at = MEMORY(u16, rom + HEADER_POINTER);
    for (u32 i = 0; i < HEADERS_MAX && at && (u32)at + HEADER_SIZE <= size; i++) {
        u32 header = rom + at;
        if (MEMORY(u32, header) != PNP_SIGNATURE)
            return;
        u16 connect = MEMORY(u16, header + HEADER_CONNECT);
        u16 boot = MEMORY(u16, header + HEADER_BOOT);
        if (connect)
            call_rom(rom, connect, bdf);
        if (boot && s->boot_entries < BOOT_ENTRIES_MAX)
            s->boot_entry[s->boot_entries++] = (struct boot_entry){
                (u16)(rom >> 4), boot, MEMORY(u16, header + HEADER_PRODUCT)};
        at = MEMORY(u16, header + HEADER_NEXT);
    }
}

/* The first place from rom_next on that no ISA card's ROM has. */
static u32 free_place(u32 size)
{
    u32 at = rom_next;
    for (u32 i = 0; i < isa_count; i++)
        if (at < isa[i].at + isa[i].size && isa[i].at < at + size)
            at = isa[i].at + isa[i].size;
    return at;
}

/* It may make itself smaller, down to nothing. */
static void started(u32 rom, u16 bdf)
{
    call_rom(rom, 3, bdf);
    expansion_headers(rom, bdf);
    rom_next = rom + (MEMORY(u8, rom + 2) * 512u + ROM_UNIT - 1) / ROM_UNIT * ROM_UNIT;
}

/* PCI set-up has given the ROM an address; it decodes only while we copy. */
static void start(u16 bdf)
{
    u32 bar = pci_read(bdf, PCI_ROM) & 0xfffff800, command = pci_read(bdf, PCI_COMMAND);
    pci_write(bdf, PCI_ROM, 0xfffff800);
    u32 mask = pci_read(bdf, PCI_ROM) & 0xfffff800;
    pci_write(bdf, PCI_ROM, bar);
    if (!bar || !mask)
        return;
    pci_write(bdf, PCI_COMMAND, (command & 0xffff) | COMMAND_MEM);
    pci_write(bdf, PCI_ROM, bar | ROM_ENABLE);
    u32 image = 0, size = find_image(bar, ~mask + 1, &image), to = free_place(size);
    bool fits = size && to + size <= ROM_END;
    if (fits)
        memcpy((void *)to, (const void *)image, size);
    pci_write(bdf, PCI_ROM, bar);
    pci_write(bdf, PCI_COMMAND, command & 0xffff);
    if (!fits)
        return;
    started(to, bdf);
}

/* The first display adapter, and whether it answers at a VGA's addresses. */
static u16 display = NO_DISPLAY;

static void start_display(u16 bdf)
{
    if (!is_display(bdf) || display != NO_DISPLAY)
        return;
    display = bdf;
    start(bdf);
}

/* A VGA without a ROM is driven by our own INT 10h: it keeps what its registers are given. */
static bool is_vga(void)
{
    if (display == NO_DISPLAY || pci_read(display, PCI_CLASS) >> 8 != CLASS_VGA)
        return false;
    pci_write(display, PCI_COMMAND,
              (pci_read(display, PCI_COMMAND) & 0xffff) | COMMAND_IO | COMMAND_MEM);
    outb(0x3ce, 0);
    outb(0x3cf, 5);
    return inb(0x3cf) == 5;
}

static void start_other(u16 bdf)
{
    if (!is_display(bdf))
        start(bdf);
}

/* ---- memory for ROMs (pmm.c) ---- */

extern const u8 pmm_entry[]; /* offset in CODE_SEG */

static u8 *pmm_anchor;

static void pmm_begin(void)
{
    struct pmm *p = &SERVICE_DATA(shared)->pmm;
    pmm_anchor = f_segment_alloc(16, 16);
    if (!pmm_anchor)
        return;
    *p = (struct pmm){.low = {PMM_LOW, PMM_LOW_END}, .high = {PMM_HIGH, memory_tables_start()}};
    MEMORY(u32, pmm_anchor) = 0x4d4d5024; /* "$PMM" */
    pmm_anchor[4] = 1;                    /* revision */
    pmm_anchor[5] = 16;
    *(u32 *)(pmm_anchor + 7) = (u32)CODE_SEG << 16 | (u16)(u32)pmm_entry;
    checksum_set(pmm_anchor, 16, 6);
}

static void pmm_end(void)
{
    struct pmm *p = &SERVICE_DATA(shared)->pmm;
    memset(p, 0, sizeof *p);
    if (pmm_anchor)
        memset(pmm_anchor, 0, 16);
}

/* ---- ISA ---- */

/* Each 2 KiB may begin one: the signature, its length, and a sum of 0. */
static void find_isa(void)
{
    memcpy((void *)ISA_BUFFER, (const void *)ISA_START, ROM_END - ISA_START);
    for (u32 at = ISA_START; at < ROM_END && isa_count < ISA_MAX;) {
        u32 copy = at - ISA_START + ISA_BUFFER, size = MEMORY(u8, copy + 2) * 512u;
        bool fits = MEMORY(u16, copy) == ROM_SIGNATURE && size && at + size <= ROM_END;
        if (fits && !checksum((const void *)copy, size)) {
            size = (size + ROM_UNIT - 1) / ROM_UNIT * ROM_UNIT;
            isa[isa_count].at = at;
            isa[isa_count++].size = size;
            at += size;
        } else {
            at += ROM_UNIT;
        }
    }
}

static void start_files(void)
{
    u32 at = 0, size, image = 0;
    u16 key;
    while ((key = fw_next(&at, "genroms/", &size)) != 0) {
        u32 to = free_place(size);
        if (to + size > ROM_END) {
            say("There is no room for an option ROM of %u bytes.\n", size);
            continue;
        }
        fw_get(key, (void *)to, size);
        u32 bytes = find_image(to, size, &image);
        if (bytes && bytes <= to + size - image) {
            memmove((void *)to, (const void *)image, bytes);
            started(to, 0xffff);
        }
    }
}

static void start_isa(void)
{
    for (u32 i = 0; i < isa_count; i++) {
        call_rom(isa[i].at, 3, 0xffff);
        expansion_headers(isa[i].at, 0xffff);
    }
}

void roms_video(void)
{
    struct shared *s = SERVICE_DATA(shared);
    if (!pci.present)
        return;
    find_isa();
    shadow(0);
    memset((void *)ROM_START, 0, ROM_END - ROM_START);
    for (u32 i = 0; i < isa_count; i++)
        memcpy((void *)isa[i].at, (const void *)(isa[i].at - ISA_START + ISA_BUFFER), isa[i].size);
    u32 ours = MEMORY(u32, 0x10 * 4);
    pmm_begin();
    pci_each(start_display);
    bool hooked = MEMORY(u32, 0x10 * 4) != ours;
    if (!hooked && !is_vga())
        return;
    s->vga = !hooked;
    s->vga_devfn = (u8)display;
    struct int_regs r = {.eax = 0x0003}; /* 80 by 25 characters */
    bios_int(0x10, &r);
    s->video = hooked;
    if (!hooked || (!s->serial_port && !s->debug_port))
        return;
    MEMORY(u32, VIDEO_INT * 4) = MEMORY(u32, 0x10 * 4);
    MEMORY(u32, 0x10 * 4) = (u32)CODE_SEG << 16 | *SERVICE_CODE(vector_mirror);
}

void roms_others(void)
{
    if (!pci.present)
        return;
    struct shared *s = SERVICE_DATA(shared);
    u8 disks = MEMORY(u8, BDA_DISKS);
    start_isa();
    pci_each(start_other);
    start_files();
    if (MEMORY(u8, BDA_DISKS) > disks)
        s->rom_disks = (u8)(MEMORY(u8, BDA_DISKS) - disks);
    u32 end = rom_next;
    for (u32 i = 0; i < isa_count; i++)
        if (isa[i].at + isa[i].size > end)
            end = isa[i].at + isa[i].size;
    shadow(end);
    pmm_end();
    memory_low_end((u32)MEMORY(u16, BDA_MEMORY) << 10);
}

/* The firmware's probe: what is only asked where it is.  Disk, CD-ROM, serial and parallel ports,
 * and the clock's setting. */
#include "bios_probe.h"

enum { DISK = 0x80, CD = 0xe0 };

static u8 *const buffer = SCRATCH;
static struct {
    u8 size, reserved;
    u16 count, offset, segment;
    u32 lba, lba_high;
} __attribute__((packed)) packet;

static struct regs extended(const char *name, u8 function, u8 unit, u32 lba, u16 count, u8 size)
{
    packet.size = size;
    packet.count = count;
    packet.offset = (u16)(u32)buffer;
    packet.segment = own_segment();
    packet.lba = lba;
    packet.lba_high = 0;
    struct regs r = {.eax = (u32)function << 8, .edx = unit, .esi = (u32)&packet};
    r = call(0, 0x13, r);
    text(name);
    hex((r.eflags & CARRY) != 0);
    hex(r.eax >> 8 & 0xff);
    hex(packet.count);
    end();
    return r;
}

static void answer(const char *name, struct regs r)
{
    r = call(0, 0x13, r);
    text(name);
    hex((r.eflags & CARRY) != 0);
    hex(r.eax >> 8 & 0xff);
    end();
}

static void disk(void)
{
    struct regs r = {.eax = 0x0800, .edx = DISK};
    r = call("disk-08", 0x13, r);
    r = (struct regs){.eax = 0x1500, .edx = DISK};
    call("disk-15", 0x13, r);
    r = (struct regs){.eax = 0x4100, .ebx = 0x55aa, .edx = DISK};
    call("disk-41", 0x13, r);
    static const u8 plain[] = {0x00, 0x09, 0x0d, 0x10, 0x11, 0x14, 0x05, 0x17};
    for (u8 i = 0; i < sizeof plain; i++) {
        r = (struct regs){.eax = (u32)plain[i] << 8, .edx = DISK};
        answer("disk-plain", r);
    }
    /* One sector there and back, by cylinders and by numbers. */
    for (u16 i = 0; i < 512; i++)
        buffer[i] = (u8)(i * 7 + 1);
    r = (struct regs){.eax = 0x0301,
                      .ecx = 0x0207,
                      .edx = 0x0100 | DISK,
                      .ebx = (u32)buffer,
                      .es = own_segment()};
    answer("disk-03", r);
    r.eax = 0x0401;
    answer("disk-04", r);
    r.eax = 0x0c00;
    answer("disk-0c", r);
    r.ecx = 0xffff;
    answer("disk-0c-far", r);
    for (u16 i = 0; i < 512; i++)
        buffer[i] = 0;
    extended("disk-42", 0x42, DISK, (2 * 16 + 1) * 63 + 6, 1, 16);
    u32 same = 1;
    for (u16 i = 0; i < 512; i++)
        same &= buffer[i] == (u8)(i * 7 + 1);
    text("disk-same");
    hex(same);
    end();
    extended("disk-42-none", 0x42, DISK, 1, 0, 16);
    extended("disk-42-far", 0x42, DISK, 0x7fffffff, 2, 16);
    extended("disk-42-short", 0x42, DISK, 1, 1, 8);
    extended("disk-43", 0x43, DISK, 5, 1, 16);
    extended("disk-44", 0x44, DISK, 5, 3, 16);
    extended("disk-47", 0x47, DISK, 5, 0, 16);
    extended("disk-47-far", 0x47, DISK, 0x7fffffff, 0, 16);
    *(u16 *)buffer = 30;
    r = (struct regs){.eax = 0x4800, .edx = DISK, .esi = (u32)buffer};
    call(0, 0x13, r);
    text("disk-48");
    hex(*(u16 *)buffer);
    hex(*(u32 *)(buffer + 16));
    hex(*(u16 *)(buffer + 24));
    end();
    static const u8 removable[] = {0x45, 0x46, 0x49};
    for (u8 i = 0; i < sizeof removable; i++) {
        r = (struct regs){.eax = (u32)removable[i] << 8, .edx = DISK};
        answer("disk-removable", r);
    }
    far_segment(0);
    u32 table = FAR(u32, 0x41 * 4);
    far_segment((u16)(table >> 16));
    text("disk-table");
    hex(FAR(u16, (u16)table));
    hex(FAR(u8, (u16)(table + 2)));
    hex(FAR(u8, (u16)(table + 14)));
    end();
}

static void cd(void)
{
    struct regs r = {.eax = 0x4100, .ebx = 0x55aa, .edx = CD};
    if (call(0, 0x13, r).eflags & CARRY)
        return;
    extended("cd-42", 0x42, CD, 16, 1, 16);
    text("cd-signature");
    hex(*(u32 *)(buffer + 1));
    end();
    extended("cd-43", 0x43, CD, 16, 1, 16);
    *(u16 *)buffer = 30;
    r = (struct regs){.eax = 0x4800, .edx = CD, .esi = (u32)buffer};
    call(0, 0x13, r);
    text("cd-48");
    hex(*(u16 *)(buffer + 2));
    hex(*(u16 *)(buffer + 24));
    end();
    /* Its door: locked, asked, cannot be opened; unlocked, not locked, opened. */
    static const u16 calls[] = {0x4500, 0x4502, 0x4600, 0x4501, 0x4501, 0x4600};
    for (u8 i = 0; i < sizeof calls / 2; i++) {
        r = (struct regs){.eax = calls[i], .edx = CD};
        r = call(0, 0x13, r);
        text("cd-door");
        hex((r.eflags & CARRY) != 0);
        hex(r.eax >> 8 & 0xff);
        end();
    }
}

/* ---- ports ---- */

static void line(const char *name, u16 ax, struct regs r)
{
    r.eax = ax;
    r.edx = 1;
    r = call(0, 0x14, r);
    text(name);
    hex(r.eax >> 8 & 0xff);
    hex(r.ebx & 0xff);
    u16 port = 0x2f8;
    u8 lcr = inb(port + 3);
    outb(port + 3, lcr | 0x80);
    hex((u32)inb(port + 1) << 8 | inb(port));
    outb(port + 3, lcr);
    hex(lcr);
    end();
}

static void serial(void)
{
    far_segment(0);
    if (!FAR(u16, 0x402))
        return;
    struct regs none = {0}, how = {.ebx = 0x0201, .ecx = 0x0205};
    line("14-init", 0x00e3, none);
    line("14-send", 0x0100 | 'Z', none);
    line("14-nothing", 0x0200, none);
    line("14-extended", 0x0400, how);
    how.ebx = 0x03;
    line("14-modem", 0x0501, how);
    line("14-modem-now", 0x0500, none);
    call("14-no-port", 0x14, (struct regs){.eax = 0x0312, .edx = 7});
}

static void parallel(void)
{
    far_segment(0);
    u16 port = FAR(u16, 0x408);
    text("17-port");
    hex(port);
    end();
    if (port)
        call("17-init", 0x17, blank(0x0100));
    call(port ? "17-print" : "17-none", 0x17, blank('P'));
    if (port)
        call("17-status", 0x17, blank(0x0200));
}

/* ---- the clock ---- */

void clock_set(void)
{
    struct regs t = {.eax = 0x0300, .ecx = 0x2359, .edx = 0x5000},
                d = {.eax = 0x0500, .ecx = 0x2031, .edx = 0x1230};
    call(0, 0x1a, t);
    call(0, 0x1a, d);
    t = call(0, 0x1a, blank(0x0200));
    d = call(0, 0x1a, blank(0x0400));
    text("1a-set");
    hex(t.ecx & 0xffff);
    hex((t.edx >> 8 & 0xff) >= 0x50);
    hex(d.ecx & 0xffff);
    hex(d.edx & 0xffff);
    end();
    /* Midnight: the day's last tick but two. */
    struct regs m = {.eax = 0x0100, .ecx = 0x18, .edx = 0x00ae};
    call(0, 0x1a, m);
    far_segment(0);
    while (FAR(u32, 0x46c) > 0x1000)
        __asm__ volatile("sti; hlt; cli");
    text("1a-midnight");
    hex(call(0, 0x1a, blank(0x0000)).eax & 0xff);
    hex(call(0, 0x1a, blank(0x0000)).eax & 0xff);
    end();
    call("1a-unknown", 0x1a, blank(0x4200));
}

void drives_and_ports(void)
{
    far_segment(0);
    if (FAR(u8, 0x475))
        disk();
    cd();
    serial();
    parallel();
}

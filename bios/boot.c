/* INT 19h: starts what there is to start.
 *
 * A Linux image, by its boot protocol (Documentation/arch/x86/boot.rst in the kernel) as a boot
 * loader does it: real mode, at the set-up code.  A multiboot image (specification 0.6.96, 3.2):
 * 32-bit protected mode.  Both lie in fw_cfg, with addresses.  Left out: disks, CDs, networks.
 */
#include "bios/post.h"

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

_Noreturn void boot_main(void)
{
    fw_init();
    boot_multiboot();
    boot_linux();
    struct int_regs r = {0};
    bios_int(0x18, &r);
    for (;;)
        __asm__ volatile("hlt");
}

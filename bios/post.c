/* Power-on self test: from a machine fresh from reset to INT 19h. */
#include "bios/bda.h"
#include "bios/post.h"

#ifndef BIOS_VERSION
#define BIOS_VERSION "unknown"
#endif

/* Does the kernel's command line ask for silence? */
static bool wants_quiet(void)
{
    char line[1024];
    u32 size = fw_get32(FW_CMDLINE_SIZE);
    u32 n = size < sizeof line ? size : sizeof line;
    fw_get(FW_CMDLINE_DATA, line, n);
    static const char word[] = "quiet";
    for (u32 i = 0, start = 0; i <= n; i++) {
        if (i < n && line[i] != ' ' && line[i])
            continue;
        if (i - start == sizeof word - 1 && memcmp(line + start, word, i - start) == 0)
            return true;
        start = i + 1;
    }
    return false;
}

/* What a person sees first; the serial console not if the kernel is to be quiet. */
static void announce(void)
{
    struct shared *s = SERVICE_DATA(shared);
    u16 serial = s->serial_port;
    if (wants_quiet())
        s->serial_port = 0;
    say("Dragoman BIOS %s: %u MiB RAM, %u processor%s\n", BIOS_VERSION,
        (u32)((memory.bytes + 0x7ffff) >> 20), cpus.count, cpus.count == 1 ? "" : "s");
    drives_init();
    s->serial_port = serial;
}

_Noreturn void post_main(void)
{
    platform_vectors();
    platform_chips();
    fw_init();
    platform_console();
    memory_init();
    pci_init();
    roms_video();
    cpus_init();
    acpi_init();
    smbios_init();
    legacy_tables_init();
    announce();
    roms_others();
    platform_lock_shadow();
    struct int_regs r = {0};
    bios_int(0x19, &r);
    for (;;)
        __asm__ volatile("hlt");
}

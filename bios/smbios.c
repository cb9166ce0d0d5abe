/* SMBIOS 2.8 tables: types 0, 1, 3, 4, 16, 17, 19, 32 and 127 (DMTF DSP0134 2.8.0).
 *
 * Anchor and structures lie at F0000-FFFFF.  Left out: what a QEMU-compatible machine could pass in
 * (etc/smbios), types 2 and 20.
 */
#include "bios/aml.h"
#include "bios/post.h"

#ifndef BIOS_VERSION
#define BIOS_VERSION "unknown"
#endif

enum {
    ROOM = 0x2400,
    MAX_MODULES = 16,
    HANDLE_CHASSIS = 0x300,
    HANDLE_CPU = 0x400,
    HANDLE_ARRAY = 0x1000,
    HANDLE_MODULE = 0x1100,
    HANDLE_MAPPED = 0x1300,
    UNKNOWN = 2,
    NO_HANDLE = 0xffff,
    NO_ERROR_INFO = 0xfffe,
};

/* What the firmware can do (section 7.1.1): bits of its characteristics. */
enum {
    CAN_PCI = 1 << 7,
    CAN_PNP = 1 << 9,
    CAN_APM = 1 << 10,
    CAN_SHADOW = 1 << 12,
    CAN_BOOT_CD = 1 << 15,
    CAN_SELECT_BOOT = 1 << 16,
    CAN_EDD = 1 << 19,
    CAN_FLOPPIES = 0xf << 22, /* of 360K to 2.88M, by INT 13h */
    CAN_KEYBOARD = 1 << 27,   /* INT 09h, 14h, 17h, 10h */
    CAN_SERIAL = 1 << 28,
    CAN_PRINTER = 1 << 29,
    CAN_VIDEO = 1 << 30,
};

static struct aml out;
static u8 *structures, *current;
static u32 structure_count, largest;
static const char *strings[8];
static u32 string_count;

/* ---- structures: a formatted area, then strings ---- */

static void begin(u8 type, u16 handle)
{
    current = out.at;
    string_count = 0;
    aml_byte(&out, type);
    aml_byte(&out, 0);
    aml_word(&out, handle);
}

/* The number of a string, to be written where the structure refers to it. */
static void string(const char *s)
{
    strings[string_count++] = s;
    aml_byte(&out, string_count);
}

static void zeros(u32 n)
{
    while (n--)
        aml_byte(&out, 0);
}

static void end(void)
{
    current[1] = (u8)(out.at - current);
    for (u32 i = 0; i < string_count; i++)
        aml_bytes(&out, strings[i], strlen(strings[i]) + 1);
    aml_word(&out, 0);
    if (string_count)
        out.at--; /* the last string's own zero is the first of the two */
    structure_count++;
    u32 size = (u32)(out.at - current);
    if (size > largest)
        largest = size;
}

/* ---- types ---- */

static void type_bios(void)
{
    begin(0, 0);
    string("Dragoman");
    string(BIOS_VERSION);
    aml_word(&out, ROM_BASE >> 4);
    string("11/21/2026");
    aml_byte(&out, ROM_SIZE / 0x10000 - 1);
    aml_dword(&out, CAN_PCI | CAN_PNP | CAN_APM | CAN_SHADOW | CAN_BOOT_CD | CAN_SELECT_BOOT |
                        CAN_EDD | CAN_FLOPPIES | CAN_KEYBOARD | CAN_SERIAL | CAN_PRINTER |
                        CAN_VIDEO);
    aml_dword(&out, 0);
    aml_byte(&out, 0x01); /* ACPI */
    aml_byte(&out, 0x14); /* a virtual machine; targeted content */
    aml_byte(&out, 0);
    aml_byte(&out, 1);
    aml_byte(&out, 0xff); /* no embedded controller */
    aml_byte(&out, 0xff);
    end();
}

static void type_system(void)
{
    u8 uuid[16];
    fw_get(FW_UUID, uuid, sizeof uuid);
    /* The first three fields are little-endian since 2.6 (section 7.2.1). */
    static const u8 order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    begin(1, 0x100);
    string("Dragoman");
    string("Dragoman PC (i440FX + PIIX)");
    string(BIOS_VERSION);
    aml_byte(&out, 0);
    for (u32 i = 0; i < 16; i++)
        aml_byte(&out, uuid[order[i]]);
    aml_byte(&out, 6); /* power switch */
    aml_byte(&out, 0);
    aml_byte(&out, 0);
    end();
}

static void type_chassis(void)
{
    begin(3, HANDLE_CHASSIS);
    string("Dragoman");
    aml_byte(&out, 1); /* other */
    zeros(3);          /* version, serial number, asset tag */
    for (u32 i = 0; i < 3; i++)
        aml_byte(&out, 3); /* boot-up, power, thermal: safe */
    aml_byte(&out, UNKNOWN);
    aml_dword(&out, 0);
    zeros(5); /* height, cords, elements, their size, SKU */
    end();
}

/* The time-stamp counter's MHz over a millisecond of the ACPI timer; 0 if either does not count.
 * Whatever comes between makes the result too large, never too small. */
static u32 measure_mhz(void)
{
    enum { TICKS_PER_MS = 3580 };
    u32 begin, end, ticks = 0, tries = 0;
    __asm__ volatile("rdtsc" : "=a"(begin) : : "edx");
    u32 from = inl(PM_BASE + 8);
    while (ticks < TICKS_PER_MS && tries++ < 1000000)
        ticks = (inl(PM_BASE + 8) - from) & 0xffffff;
    __asm__ volatile("rdtsc" : "=a"(end) : : "edx");
    return ticks < TICKS_PER_MS ? 0 : (end - begin) / ticks * TICKS_PER_MS / 1000;
}

/* The processor's clock in MHz, to the next ten: what the least disturbed of some measurements
 * says. */
static u16 clock_mhz(void)
{
    enum { MEASUREMENTS = 5, HAS_TSC = 1 << 4 };
    u32 r[4], least = 0xffff;
    cpuid(1, r);
    if (!(r[3] & HAS_TSC))
        return 0;
    for (u32 i = 0; i < MEASUREMENTS; i++) {
        u32 mhz = measure_mhz();
        if (!mhz)
            return 0;
        if (mhz < least)
            least = mhz;
    }
    return (u16)((least + 5) / 10 * 10);
}

/* The processor's maker and its own name, as CPUID says them. */
static void processor_names(char maker[13], char name[49])
{
    u32 r[4], words[12];
    cpuid(0, r);
    const u32 order[3] = {r[1], r[3], r[2]};
    memcpy(maker, order, 12);
    maker[12] = name[0] = name[48] = 0;
    cpuid(0x80000000, r);
    if (r[0] < 0x80000004)
        return;
    for (u32 i = 0; i < 3; i++)
        cpuid(0x80000002 + i, words + 4 * i);
    const char *from = (const char *)words;
    u32 start = 0, n = 0;
    while (start < 48 && from[start] == ' ')
        start++;
    for (u32 i = start; i < 48 && from[i]; i++)
        name[n++] = from[i];
    while (n && name[n - 1] == ' ')
        n--;
    name[n] = 0;
}

static void type_processor(u32 n, u16 mhz)
{
    u32 r[4];
    char socket[] = "CPU 000";
    socket[4] = (char)('0' + n / 100);
    socket[5] = (char)('0' + n / 10 % 10);
    socket[6] = (char)('0' + n % 10);
    char maker[13], name[49];
    processor_names(maker, name);
    cpuid(1, r);
    begin(4, (u16)(HANDLE_CPU + n));
    string(socket);
    aml_byte(&out, 3); /* central processor */
    aml_byte(&out, 1); /* family: other */
    string(maker);
    aml_dword(&out, r[0]);
    aml_dword(&out, r[3]);
    if (name[0])
        string(name);
    else
        aml_byte(&out, 0);
    zeros(1 + 2);        /* voltage, external clock: unknown */
    aml_word(&out, mhz); /* the most, and now */
    aml_word(&out, mhz);
    aml_byte(&out, 0x41); /* populated, enabled */
    aml_byte(&out, 1);    /* upgrade: other */
    for (u32 i = 0; i < 3; i++)
        aml_word(&out, NO_HANDLE); /* caches */
    zeros(3);                      /* serial number, asset tag, part number */
    aml_byte(&out, 1);             /* cores, enabled cores, threads */
    aml_byte(&out, 1);
    aml_byte(&out, 1);
    aml_word(&out, UNKNOWN);
    aml_word(&out, 1);
    end();
}

static void type_array(u32 modules)
{
    u64 kib = memory.bytes >> 10;
    begin(16, HANDLE_ARRAY);
    aml_byte(&out, 1); /* other */
    aml_byte(&out, 3); /* system memory */
    aml_byte(&out, 3); /* no error correction */
    aml_dword(&out, kib < 0x80000000 ? (u32)kib : 0x80000000);
    aml_word(&out, NO_ERROR_INFO);
    aml_word(&out, modules);
    if (kib < 0x80000000)
        zeros(8);
    else
        aml_bytes(&out, &memory.bytes, 8);
    end();
}

static void type_module(u32 n, u64 bytes)
{
    char locator[] = "DIMM 00";
    locator[5] = (char)('0' + n / 10);
    locator[6] = (char)('0' + n % 10);
    u32 mib = (u32)(bytes >> 20);
    begin(17, (u16)(HANDLE_MODULE + n));
    aml_word(&out, HANDLE_ARRAY);
    aml_word(&out, NO_ERROR_INFO);
    aml_word(&out, NO_HANDLE + 0u); /* widths are unknown */
    aml_word(&out, NO_HANDLE + 0u);
    aml_word(&out, mib < 0x7fff ? mib : 0x7fff);
    aml_byte(&out, 9); /* DIMM */
    aml_byte(&out, 0);
    string(locator);
    aml_byte(&out, 0);
    aml_byte(&out, 7);      /* RAM */
    aml_word(&out, BIT(1)); /* other */
    aml_word(&out, 0);
    string("Dragoman");
    zeros(3 + 1); /* serial number, asset tag, part number; attributes */
    aml_dword(&out, mib < 0x7fff ? 0 : mib);
    zeros(2 + 3 * 2); /* speed, voltages */
    end();
}

/* Addresses in KiB up to 4 TiB. */
static void type_mapped(u32 n, u64 base, u64 end_at)
{
    begin(19, (u16)(HANDLE_MAPPED + n));
    aml_dword(&out, (u32)(base >> 10));
    aml_dword(&out, (u32)((end_at >> 10) - 1));
    aml_word(&out, HANDLE_ARRAY);
    aml_byte(&out, 1);
    zeros(16);
    end();
}

static void type_boot(void)
{
    begin(32, 0x2000);
    zeros(6);
    aml_byte(&out, 0); /* no errors */
    end();
}

/* ---- the anchor: section 5.2.1 ---- */

static void anchor(u8 *p)
{
    struct aml a = {.at = p, .end = p + 31};
    aml_bytes(&a, "_SM_", 4);
    aml_byte(&a, 0);
    aml_byte(&a, 31);
    aml_word(&a, 0x0802);
    aml_word(&a, largest);
    for (u32 i = 0; i < 6; i++)
        aml_byte(&a, 0);
    aml_bytes(&a, "_DMI_", 5);
    aml_byte(&a, 0);
    aml_word(&a, (u32)(out.at - structures));
    aml_dword(&a, (u32)structures);
    aml_word(&a, structure_count);
    aml_byte(&a, 0x28);
    checksum_set(p + 16, 15, 5);
    checksum_set(p, 31, 4);
}

void smbios_init(void)
{
    u8 *entry = f_segment_alloc(32, 16);
    structures = f_segment_alloc(ROOM, 16);
    if (!entry || !structures)
        return;
    out = (struct aml){.at = structures, .end = structures + ROOM};
    type_bios();
    type_system();
    type_chassis();
    /* As many processors as leave room for the rest. */
    u16 mhz = clock_mhz();
    for (u32 i = 0; i < cpus.count && i < 64; i++)
        type_processor(i, mhz);
    const u64 module = 16ull << 30;
    u32 modules = 0;
    while (modules < MAX_MODULES && modules * module < memory.bytes)
        modules++;
    type_array(modules);
    for (u32 i = 0; i < modules; i++) {
        u64 left = memory.bytes - i * module;
        type_module(i, left > module && i + 1 < MAX_MODULES ? module : left);
    }
    type_mapped(0, 0, memory.low_top);
    if (memory.high_top > 1ull << 32)
        type_mapped(1, 1ull << 32, memory.high_top);
    type_boot();
    begin(127, 0x7f00);
    end();
    if (!out.full)
        anchor(entry);
}

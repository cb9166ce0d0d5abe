/* The writer of ACPI machine language; see aml.h.  Left out: everything that the DSDT here does not
 * say. */
#include "bios/aml.h"
#include "bios/post.h"

enum {
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_METHOD = 0x14,
    OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f,
    OP_EXT = 0x5b,
    EXT_REGION = 0x80,
    EXT_FIELD = 0x81,
    EXT_DEVICE = 0x82,
    METHOD_SERIALIZED = 0x08,
    SPACE_PCI_CONFIG = 2,
    FIELD_BYTE_ACCESS = 1,
    WINDOW_MEMORY = 0,
    WINDOW_IO = 1,
    WINDOW_BUS = 2,
    WINDOW_FIXED = 0x0c,  /* _MIF, _MAF: both ends are fixed */
    IO_ENTIRE_RANGE = 3,
    MEMORY_WRITE = 1,
    MEMORY_CACHED = 2,
};

void aml_bytes(struct aml *a, const void *p, u32 n)
{
    if ((u32)(a->end - a->at) < n) {
        a->full = true;
        return;
    }
    memcpy(a->at, p, n);
    a->at += n;
}

void aml_byte(struct aml *a, u32 v)
{
    aml_bytes(a, &v, 1);
}

void aml_word(struct aml *a, u32 v)
{
    aml_bytes(a, &v, 2);
}

void aml_dword(struct aml *a, u32 v)
{
    aml_bytes(a, &v, 4);
}

void aml_int(struct aml *a, u64 v)
{
    if (v <= 1) {
        aml_byte(a, (u32)v);
    } else if (v <= 0xff) {
        aml_byte(a, OP_BYTE);
        aml_byte(a, (u32)v);
    } else if (v <= 0xffff) {
        aml_byte(a, OP_WORD);
        aml_word(a, (u32)v);
    } else if (v <= 0xffffffff) {
        aml_byte(a, OP_DWORD);
        aml_dword(a, (u32)v);
    } else {
        aml_byte(a, OP_QWORD);
        aml_bytes(a, &v, 8);
    }
}

void aml_path(struct aml *a, const char *path)
{
    if (*path == '\\')
        aml_byte(a, (u8)*path++);
    u32 segments = *path != 0;
    for (const char *p = path; *p; p++)
        segments += *p == '.';
    if (segments == 0)
        aml_byte(a, 0); /* NullName */
    if (segments == 2)
        aml_byte(a, OP_DUAL_NAME);
    if (segments > 2) {
        aml_byte(a, OP_MULTI_NAME);
        aml_byte(a, segments);
    }
    while (segments--) {
        for (u32 i = 0; i < 4; i++)
            aml_byte(a, (u8)(*path && *path != '.' ? *path++ : '_'));
        path += *path == '.';
    }
}

/* ---- packages: section 20.2.4 ---- */

u8 *aml_open_scope(struct aml *a, const char *path)
{
    aml_byte(a, OP_SCOPE);
    u8 *mark = a->at;
    aml_path(a, path);
    return mark;
}

u8 *aml_open_device(struct aml *a, const char *name)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_DEVICE);
    u8 *mark = a->at;
    aml_path(a, name);
    return mark;
}

u8 *aml_open_method(struct aml *a, const char *name, u32 args, bool serialized)
{
    aml_byte(a, OP_METHOD);
    u8 *mark = a->at;
    aml_path(a, name);
    aml_byte(a, args | (serialized ? METHOD_SERIALIZED : 0));
    return mark;
}

u8 *aml_open_package(struct aml *a, u32 elements)
{
    aml_byte(a, AML_PACKAGE);
    u8 *mark = a->at;
    aml_byte(a, elements);
    return mark;
}

u8 *aml_open_if(struct aml *a)
{
    aml_byte(a, AML_IF);
    return a->at;
}

/* The length counts its own bytes; bits 7:6 of the first say how many follow. */
void aml_close(struct aml *a, u8 *mark)
{
    u32 length = (u32)(a->at - mark);
    u32 extra = length + 1 <= 0x3f ? 0 : length + 2 <= 0xfff ? 1 : 2;
    if ((u32)(a->end - a->at) < extra + 1) {
        a->full = true;
        return;
    }
    memmove(mark + extra + 1, mark, length);
    a->at += extra + 1;
    length += extra + 1;
    mark[0] = extra ? (u8)(extra << 6 | (length & 15)) : (u8)length;
    for (u32 i = 0; i < extra; i++)
        mark[i + 1] = (u8)(length >> (4 + 8 * i));
}

/* ---- named objects ---- */

void aml_name_int(struct aml *a, const char *name, u64 v)
{
    aml_byte(a, AML_NAME);
    aml_path(a, name);
    aml_int(a, v);
}

static u32 hex(char c)
{
    return (u32)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Section 19.3.4: three letters of five bits and four hexadecimal digits, big endian. */
void aml_name_eisa(struct aml *a, const char *name, const char *id)
{
    u32 v = (id[0] & 31u) << 26 | (id[1] & 31u) << 21 | (id[2] & 31u) << 16;
    v |= hex(id[3]) << 12 | hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);
    aml_name_int(a, name, __builtin_bswap32(v));
}

void aml_name_string(struct aml *a, const char *name, const char *s)
{
    aml_byte(a, AML_NAME);
    aml_path(a, name);
    aml_byte(a, OP_STRING);
    aml_bytes(a, s, strlen(s) + 1);
}

void aml_pci_field(struct aml *a, const char *region, u32 offset, const char *names, u32 count)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_REGION);
    aml_path(a, region);
    aml_byte(a, SPACE_PCI_CONFIG);
    aml_int(a, offset);
    aml_int(a, count);
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_FIELD);
    u8 *mark = a->at;
    aml_path(a, region);
    aml_byte(a, FIELD_BYTE_ACCESS);
    for (; count--; names += 4) {
        aml_bytes(a, names, 4);
        aml_byte(a, 8); /* bits, as a PkgLength */
    }
    aml_close(a, mark);
}

/* ---- resources: section 6.4 ---- */

u8 *aml_open_resources(struct aml *a, const char *name)
{
    aml_byte(a, AML_NAME);
    aml_path(a, name);
    aml_byte(a, AML_BUFFER);
    u8 *mark = a->at;
    aml_byte(a, OP_WORD);
    aml_word(a, 0);
    return mark;
}

void aml_close_resources(struct aml *a, u8 *mark)
{
    aml_byte(a, 0x79);
    aml_byte(a, 0); /* no checksum */
    if (a->full)
        return;
    u32 size = (u32)(a->at - mark) - 3;
    memcpy(mark + 1, &size, 2);
    aml_close(a, mark);
}

void aml_io(struct aml *a, u32 base, u32 length)
{
    aml_byte(a, 0x47);
    aml_byte(a, 1); /* 16 bits decoded */
    aml_word(a, base);
    aml_word(a, base);
    aml_byte(a, 1);
    aml_byte(a, length);
}

void aml_irq(struct aml *a, u32 irq)
{
    aml_byte(a, 0x22);
    aml_word(a, BIT(irq));
}

/* One channel, 8 bits, compatible timing (ACPI 6.3, 6.4.2.2). */
void aml_dma(struct aml *a, u32 channel)
{
    aml_byte(a, 0x2a);
    aml_byte(a, (u8)BIT(channel));
    aml_byte(a, 0);
}

void aml_pci_irqs(struct aml *a, const u8 *irqs, u32 count)
{
    aml_byte(a, 0x89);
    aml_word(a, 2 + 4 * count);
    aml_byte(a, 0x09); /* consumer, level, active high, shared */
    aml_byte(a, count);
    for (u32 i = 0; i < count; i++)
        aml_dword(a, irqs[i]);
}

void aml_memory_fixed(struct aml *a, bool writable, u32 base, u32 length)
{
    aml_byte(a, 0x86);
    aml_word(a, 9);
    aml_byte(a, writable);
    aml_dword(a, base);
    aml_dword(a, length);
}

static void word_window(struct aml *a, u32 type, u32 flags, u32 first, u32 last)
{
    aml_byte(a, 0x88);
    aml_word(a, 13);
    aml_byte(a, type);
    aml_byte(a, WINDOW_FIXED);
    aml_byte(a, flags);
    aml_word(a, 0);
    aml_word(a, first);
    aml_word(a, last);
    aml_word(a, 0);
    aml_word(a, last - first + 1);
}

void aml_bus_window(struct aml *a, u32 first, u32 last)
{
    word_window(a, WINDOW_BUS, 0, first, last);
}

void aml_io_window(struct aml *a, u32 first, u32 last)
{
    word_window(a, WINDOW_IO, IO_ENTIRE_RANGE, first, last);
}

void aml_memory_window(struct aml *a, bool cacheable, u32 first, u32 last)
{
    aml_byte(a, 0x87);
    aml_word(a, 23);
    aml_byte(a, WINDOW_MEMORY);
    aml_byte(a, WINDOW_FIXED);
    aml_byte(a, MEMORY_WRITE | (cacheable ? MEMORY_CACHED : 0));
    aml_dword(a, 0);
    aml_dword(a, first);
    aml_dword(a, last);
    aml_dword(a, 0);
    aml_dword(a, last - first + 1);
}

void aml_memory_window64(struct aml *a, u64 first, u64 last)
{
    const u64 fields[5] = {0, first, last, 0, last - first + 1};
    aml_byte(a, 0x8a);
    aml_word(a, 43);
    aml_byte(a, WINDOW_MEMORY);
    aml_byte(a, WINDOW_FIXED);
    aml_byte(a, MEMORY_WRITE);
    aml_bytes(a, fields, sizeof fields);
}

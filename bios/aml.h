/* A small writer of ACPI machine language (ACPI 6.3, chapter 20).
 *
 * Whatever has a PkgLength is opened and closed: close() inserts the length and moves what is in
 * between.  Running out of room sets `full` and drops the rest.
 */
#ifndef BIOS_AML_H
#define BIOS_AML_H

#include "bios/types.h"

struct aml {
    u8 *at, *end;
    bool full;
};

enum aml_op {
    AML_ZERO = 0x00,
    AML_NAME = 0x08,
    AML_BUFFER = 0x11,
    AML_PACKAGE = 0x12,
    AML_LOCAL0 = 0x60,
    AML_ARG0 = 0x68,
    AML_STORE = 0x70,
    AML_AND = 0x7b,
    AML_OR = 0x7d,
    AML_CREATE_DWORD_FIELD = 0x8a,
    AML_LLESS = 0x95,
    AML_IF = 0xa0,
    AML_RETURN = 0xa4,
};

void aml_bytes(struct aml *a, const void *p, u32 n);
void aml_byte(struct aml *a, u32 v);
void aml_word(struct aml *a, u32 v);
void aml_dword(struct aml *a, u32 v);
/* An integer object in its shortest form. */
void aml_int(struct aml *a, u64 v);
/* A path of four-character segments ("\\_SB_.PCI0"); shorter ones get their underscores. */
void aml_path(struct aml *a, const char *path);

/* Each returns what aml_close needs. */
u8 *aml_open_scope(struct aml *a, const char *path);
u8 *aml_open_device(struct aml *a, const char *name);
u8 *aml_open_method(struct aml *a, const char *name, u32 args, bool serialized);
u8 *aml_open_package(struct aml *a, u32 elements);
u8 *aml_open_if(struct aml *a);
void aml_close(struct aml *a, u8 *mark);

void aml_name_int(struct aml *a, const char *name, u64 v);
/* "PNP0A03" as a compressed EISA ID. */
void aml_name_eisa(struct aml *a, const char *name, const char *id);
void aml_name_string(struct aml *a, const char *name, const char *s);

/* A field of whole bytes over PCI configuration space of the enclosing device: names of four
 * characters each, one after the other. */
void aml_pci_field(struct aml *a, const char *region, u32 offset, const char *names, u32 count);

/* Name (name, ResourceTemplate () {...}); section 6.4. */
u8 *aml_open_resources(struct aml *a, const char *name);
void aml_close_resources(struct aml *a, u8 *mark);
void aml_io(struct aml *a, u32 base, u32 length);
void aml_irq(struct aml *a, u32 irq);
void aml_dma(struct aml *a, u32 channel);
/* Level, active high, shared. */
void aml_pci_irqs(struct aml *a, const u8 *irqs, u32 count);
void aml_memory_fixed(struct aml *a, bool writable, u32 base, u32 length);
void aml_bus_window(struct aml *a, u32 first, u32 last);
void aml_io_window(struct aml *a, u32 first, u32 last);
void aml_memory_window(struct aml *a, bool cacheable, u32 first, u32 last);
void aml_memory_window64(struct aml *a, u64 first, u64 last);

#endif

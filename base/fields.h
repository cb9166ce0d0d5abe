/* State-field tables: every chip and the CPU list their state once; saving, loading and the
 * automatic round-trip test read the same list (docs/design.md).
 *
 *   static const struct field i8259_fields[] = {
 *       FIELD(struct i8259, irr), FIELD_ARRAY(struct i8259, icw), FIELD_TIMER(struct i8259, t),
 *       FIELD_END};
 */
#ifndef DRAGOMAN_BASE_FIELDS_H
#define DRAGOMAN_BASE_FIELDS_H

#include "base/types.h"

enum field_kind { FIELD_SCALAR, FIELD_TIMER_DEADLINE };

struct field {
    const char *name;
    u32 offset;
    u16 size;  /* bytes of one element: 1, 2, 4 or 8 (or any, for FIELD_BYTES) */
    u16 count; /* elements */
    u8 kind;
    u8 since; /* first state version that has the field */
};

#define FIELD_SIZEOF(type, member) sizeof(((type *)0)->member)
#define FIELD_V(type, member, version) \
    {#member, offsetof(type, member), FIELD_SIZEOF(type, member), 1, FIELD_SCALAR, version}
#define FIELD(type, member) FIELD_V(type, member, 1)
#define FIELD_ARRAY(type, member)                                              \
    {#member, offsetof(type, member), FIELD_SIZEOF(type, member[0]),           \
     FIELD_SIZEOF(type, member) / FIELD_SIZEOF(type, member[0]), FIELD_SCALAR, 1}
/* A struct timer: its deadline is saved, and loading re-arms it. */
#define FIELD_TIMER(type, member) \
    {#member, offsetof(type, member), sizeof(u64), 1, FIELD_TIMER_DEADLINE, 1}
#define FIELD_END {NULL, 0, 0, 0, 0, 0}

/* Bytes that fields_save writes for this table. */
size_t fields_size(const struct field *table);
/* Serialises obj, little-endian, into buf of fields_size bytes. */
void fields_save(const struct field *table, const void *obj, u8 *buf);
/* Reads what fields_save wrote; timers are re-armed on their own clocks. */
void fields_load(const struct field *table, void *obj, const u8 *buf);

#endif

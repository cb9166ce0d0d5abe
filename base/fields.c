/* State-field tables: saving and loading. */
#include "base/fields.h"

#include "base/clock.h"

size_t fields_size(const struct field *table)
{
    size_t n = 0;
    for (const struct field *f = table; f->name; f++)
        n += (size_t)f->size * f->count;
    return n;
}

/* Elements of up to 8 bytes are numbers and stored little-endian; larger ones are byte strings. */
static void save_element(u8 *buf, const u8 *p, unsigned size)
{
    u64 v = 0;
    if (size > 8) {
        memcpy(buf, p, size);
        return;
    }
    switch (size) {
    case 1: v = *(const u8 *)p; break;
    case 2: v = *(const u16 *)p; break;
    case 4: v = *(const u32 *)p; break;
    case 8: v = *(const u64 *)p; break;
    default: memcpy(buf, p, size); return;
    }
    store_le(buf, v, size);
}

static void load_element(u8 *p, const u8 *buf, unsigned size)
{
    switch (size) {
    case 2: *(u16 *)p = (u16)load_le(buf, 2); break;
    case 4: *(u32 *)p = (u32)load_le(buf, 4); break;
    case 8: *(u64 *)p = load_le(buf, 8); break;
    default: memcpy(p, buf, size); break;
    }
}

void fields_save(const struct field *table, const void *obj, u8 *buf)
{
    for (const struct field *f = table; f->name; f++) {
        const u8 *p = (const u8 *)obj + f->offset;
        if (f->kind == FIELD_TIMER_DEADLINE) {
            store_le(buf, ((const struct timer *)p)->deadline, 8);
            buf += 8;
            continue;
        }
        for (unsigned i = 0; i < f->count; i++, buf += f->size, p += f->size)
            save_element(buf, p, f->size);
    }
}

void fields_load(const struct field *table, void *obj, const u8 *buf)
{
    for (const struct field *f = table; f->name; f++) {
        u8 *p = (u8 *)obj + f->offset;
        if (f->kind == FIELD_TIMER_DEADLINE) {
            timer_arm((struct timer *)p, load_le(buf, 8));
            buf += 8;
            continue;
        }
        for (unsigned i = 0; i < f->count; i++, buf += f->size, p += f->size)
            load_element(p, buf, f->size);
    }
}

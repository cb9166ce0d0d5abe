/* Two Intel 8237A DMA controllers and the page registers, as the PIIX3 has them.
 *
 * Data sheets: 8237A (231466); 82371FB/SB PIIX/PIIX3 (290550), sections 2.5.1 and 3.4: the second
 * controller moves words and carries the first on its channel 0.  Addresses count within 64 KiB
 * (the second: 128 KiB), the page register stands still. Left out, as in the PIIX3: memory to
 * memory, address hold, compressed timing.  The sense bits of DREQ and DACK are kept and mean
 * nothing, and a cycle takes no time.
 */
#include "devices/i8237.h"

#include "base/log.h"

enum {
    REG_COMMAND = 8, /* read: status */
    REG_REQUEST,
    REG_MASK,
    REG_MODE,
    REG_CLEAR_FLIP_FLOP,
    REG_MASTER_CLEAR,
    REG_CLEAR_MASK,
    REG_ALL_MASKS,

    COMMAND_DISABLE = BIT(2),
    COMMAND_ROTATE = BIT(4),

    MODE_TO_MEMORY = BIT(2),
    MODE_FROM_MEMORY = BIT(3),
    MODE_TYPE = BIT(2) | BIT(3),
    MODE_AUTOINIT = BIT(4),
    MODE_DOWN = BIT(5),
    MODE_BLOCK = BIT(7),
    MODE_CASCADE = BIT(7) | BIT(6),
    MODE_KIND = BIT(7) | BIT(6),

    CASCADE = 4,
};

/* Where the page registers of the channels lie in 80-8F. */
static const u8 page_of[I8237_CHANNELS] = {7, 3, 1, 2, 15, 11, 9, 10};

/* ---- cycles ---- */

static u32 memory_address(const struct i8237 *s, unsigned n, u16 address)
{
    u32 page = s->page[page_of[n]];
    return n < 4 ? page << 16 | address : (page & 0xfe) << 16 | (u32)address << 1;
}

/* One transfer of channel n (0 to 7); true if it was the last of the count. */
static bool cycle(struct i8237 *s, unsigned n)
{
    struct i8237_unit *u = &s->unit[n / 4];
    struct i8237_channel *c = &u->channel[n % 4];
    const struct i8237_client *client = &s->client[n];
    unsigned size = n < 4 ? 1 : 2;
    u32 at = memory_address(s, n, c->address);
    bool tc = c->count == 0, to_memory = (c->mode & MODE_TYPE) == MODE_TO_MEMORY;
    u16 data = 0xffff;
    if ((c->mode & MODE_TYPE) == MODE_FROM_MEMORY)
        data = (u16)bus_read(s->bus, BUS_DMA, at, size);
    data = client->cycle ? client->cycle(client->opaque, data, tc) : 0xffff;
    if (to_memory)
        bus_write(s->bus, BUS_DMA, at, data, size);
    c->address = (u16)(c->mode & MODE_DOWN ? c->address - 1 : c->address + 1);
    c->count--;
    if (!tc)
        return false;
    u->terminal |= (u8)BIT(n % 4);
    u->request &= (u8)~BIT(n % 4);
    if (c->mode & MODE_AUTOINIT) {
        c->address = c->base_address;
        c->count = c->base_count;
    } else {
        u->mask |= (u8)BIT(n % 4);
    }
    return true;
}

static u8 requests(const struct i8237_unit *u)
{
    return u->dreq | u->request;
}

/* The channel of a unit whose turn it is, or 4.  A cascaded channel makes no cycles of its own. */
static unsigned next_channel(const struct i8237_unit *u)
{
    u8 waiting = (u8)(requests(u) & ~u->mask);
    for (unsigned i = 0; i < 4; i++) {
        unsigned n = (u->first + i) % 4;
        if ((waiting & BIT(n)) && (u->channel[n].mode & MODE_KIND) != MODE_CASCADE)
            return n;
    }
    return 4;
}

static bool first_unit_connected(const struct i8237 *s)
{
    const struct i8237_unit *second = &s->unit[1];
    return !(second->command & COMMAND_DISABLE) && !(second->mask & 1) &&
           (second->channel[0].mode & MODE_KIND) == MODE_CASCADE;
}

/* Whose cycle is next: the second controller's channel 0 is the first one, highest in fixed
 * priority; I8237_CHANNELS for nobody. */
static unsigned arbitrate(const struct i8237 *s)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct i8237_unit *u = &s->unit[i];
        unsigned n = next_channel(u);
        if (n < 4 && !(u->command & COMMAND_DISABLE) && (i || first_unit_connected(s)))
            return i * 4 + n;
    }
    return I8237_CHANNELS;
}

static void run(struct i8237 *s)
{
    unsigned n;
    if (s->running)
        return;
    s->running = true;
    while ((n = arbitrate(s)) < I8237_CHANNELS) {
        struct i8237_unit *u = &s->unit[n / 4];
        bool block = (u->channel[n % 4].mode & MODE_KIND) == MODE_BLOCK;
        /* A block goes on to its end whether the device still asks or not. */
        while (!cycle(s, n) && block)
            ;
        if (u->command & COMMAND_ROTATE)
            u->first = (u8)((n + 1) % 4);
    }
    s->running = false;
}

void i8237_set_dreq(void *opaque, unsigned n, bool level)
{
    struct i8237 *s = opaque;
    struct i8237_unit *u = &s->unit[n / 4 % 2];
    u->dreq = (u8)((u->dreq & ~BIT(n % 4)) | (level ? BIT(n % 4) : 0));
    if (level)
        run(s);
}

/* ---- reset ---- */

static void master_clear(struct i8237_unit *u)
{
    u->command = u->request = u->terminal = u->high_byte = u->first = 0;
    u->mask = 0x0f;
}

static void i8237_reset(void *state)
{
    struct i8237 *s = state;
    for (unsigned i = 0; i < 2; i++) {
        struct i8237_unit *u = &s->unit[i];
        memset(u->channel, 0, sizeof u->channel);
        master_clear(u);
    }
    memset(s->page, 0, sizeof s->page);
}

/* ---- read ---- */

static u64 unit_read(struct i8237_unit *u, unsigned reg)
{
    if (reg < REG_COMMAND) {
        const struct i8237_channel *c = &u->channel[reg / 2];
        u16 v = reg & 1 ? c->count : c->address;
        u->high_byte ^= 1;
        return u->high_byte ? v & 0xff : v >> 8;
    }
    u8 status = (u8)(requests(u) << 4 | u->terminal);
    switch (reg) {
    case REG_COMMAND: u->terminal = 0; return status;
    case REG_ALL_MASKS: return u->mask | 0xf0;
    default: return 0; /* the others can only be written */
    }
}

/* ---- write ---- */

static void count_write(struct i8237_unit *u, unsigned reg, u8 v)
{
    struct i8237_channel *c = &u->channel[reg / 2];
    u16 *base = reg & 1 ? &c->base_count : &c->base_address;
    u16 *now = reg & 1 ? &c->count : &c->address;
    unsigned shift = u->high_byte ? 8 : 0;
    *base = (u16)((*base & ~(0xff << shift)) | v << shift);
    *now = (u16)((*now & ~(0xff << shift)) | v << shift);
    u->high_byte ^= 1;
}

static void set_bit(u8 *bits, u8 v)
{
    *bits = (u8)((*bits & ~BIT(v & 3)) | (v & 4 ? BIT(v & 3) : 0));
}

static void unit_write(struct i8237_unit *u, unsigned reg, u8 v)
{
    if (reg < REG_COMMAND) {
        count_write(u, reg, v);
        return;
    }
    switch (reg) {
    case REG_COMMAND: u->command = v; break;
    case REG_REQUEST: set_bit(&u->request, v); break;
    case REG_MASK: set_bit(&u->mask, v); break;
    case REG_MODE: u->channel[v & 3].mode = v; break;
    case REG_CLEAR_FLIP_FLOP: u->high_byte = 0; break;
    case REG_MASTER_CLEAR: master_clear(u); break;
    case REG_CLEAR_MASK: u->mask = 0; break;
    default: u->mask = v & 0x0f; break;
    }
}

/* ---- ports ---- */

static u64 first_read(void *opaque, u64 offset, unsigned size)
{
    return unit_read(&((struct i8237 *)opaque)->unit[0], (unsigned)offset);
}

static void first_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i8237 *s = opaque;
    unit_write(&s->unit[0], (unsigned)offset, (u8)value);
    run(s);
}

/* The second controller has its address lines one further up. */
static u64 second_read(void *opaque, u64 offset, unsigned size)
{
    return unit_read(&((struct i8237 *)opaque)->unit[1], (unsigned)offset / 2);
}

static void second_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i8237 *s = opaque;
    unit_write(&s->unit[1], (unsigned)offset / 2, (u8)value);
    run(s);
}

static u64 page_read(void *opaque, u64 offset, unsigned size)
{
    return ((struct i8237 *)opaque)->page[offset & 15];
}

static void page_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    ((struct i8237 *)opaque)->page[offset & 15] = (u8)value;
}

void i8237_connect(struct i8237 *s, unsigned channel, const struct i8237_client *client)
{
    s->client[channel] = *client;
}

void i8237_init(struct i8237 *s, struct bus *b)
{
    static const struct bus_ops first_ops = {first_read, first_write, 1, 1};
    static const struct bus_ops second_ops = {second_read, second_write, 1, 1};
    static const struct bus_ops page_ops = {page_read, page_write, 1, 1};
    memset(s, 0, sizeof *s);
    s->bus = b;
    bus_map_ports(b, "dma1", 0x00, 16, &first_ops, s);
    bus_map_ports(b, "dma-page", 0x80, 16, &page_ops, s);
    bus_map_ports(b, "dma2", 0xc0, 32, &second_ops, s);
    i8237_reset(s);
}

/* ---- state ---- */

/* Noise must not make an index of itself, nor a request that nobody can take back. */
static void i8237_loaded(void *state)
{
    struct i8237 *s = state;
    for (unsigned n = 0; n < I8237_CHANNELS; n++)
        if (!s->client[n].cycle)
            s->unit[n / 4].dreq &= (u8)~BIT(n % 4);
    for (unsigned i = 0; i < 2; i++) {
        s->unit[i].first &= 3;
        s->unit[i].high_byte &= 1;
    }
}

#define CHANNEL_FIELDS(u, n)                                                                       \
    FIELD(struct i8237, unit[u].channel[n].base_address),                                          \
        FIELD(struct i8237, unit[u].channel[n].base_count),                                        \
        FIELD(struct i8237, unit[u].channel[n].address),                                           \
        FIELD(struct i8237, unit[u].channel[n].count),                                             \
        FIELD(struct i8237, unit[u].channel[n].mode)
#define UNIT_FIELDS(u)                                                                             \
    CHANNEL_FIELDS(u, 0), CHANNEL_FIELDS(u, 1), CHANNEL_FIELDS(u, 2), CHANNEL_FIELDS(u, 3),        \
        FIELD(struct i8237, unit[u].command), FIELD(struct i8237, unit[u].mask),                   \
        FIELD(struct i8237, unit[u].request), FIELD(struct i8237, unit[u].dreq),                   \
        FIELD(struct i8237, unit[u].terminal), FIELD(struct i8237, unit[u].high_byte),             \
        FIELD(struct i8237, unit[u].first)

static const struct field i8237_fields[] = {UNIT_FIELDS(0), UNIT_FIELDS(1),
                                            FIELD_ARRAY(struct i8237, page), FIELD_END};

const struct device_class i8237_class = {
    .name = "i8237",
    .description = "DMA controllers",
    .reset = i8237_reset,
    .fields = i8237_fields,
    .loaded = i8237_loaded,
};

/* fw_cfg through its ports and its DMA interface. */
#include "devices/fw_cfg.h"
#include "tests/device/io_fixture.h"

#define RAM_SIZE (1u << 20)

struct fw_test {
    struct bus *bus;
    struct fw_cfg fw;
    u8 *ram;
    unsigned calls;
};

static void counting(void *opaque, u32 offset, u8 *buf, u32 count)
{
    struct fw_test *t = opaque;
    t->calls++;
    for (u32 i = 0; i < count; i++)
        buf[i] = (u8)(offset + i);
}

static void setup(struct fw_test *t)
{
    memset(t, 0, sizeof *t);
    t->bus = bus_create();
    t->ram = bus_alloc_ram(t->bus, RAM_SIZE, "ram");
    bus_map_ram(t->bus, "ram", 0, RAM_SIZE, t->ram, true, true, 0);
    fw_cfg_init(&t->fw, t->bus);
    ck_assert(fw_cfg_add_u64(&t->fw, FW_CFG_RAM_SIZE, 0x123456789abcdef0));
    ck_assert(fw_cfg_add_u16(&t->fw, FW_CFG_NB_CPUS, 3));
    ck_assert(fw_cfg_add_string(&t->fw, FW_CFG_CMDLINE_DATA, "quiet"));
    ck_assert(fw_cfg_add_u32(&t->fw, FW_CFG_IRQ0_OVERRIDE, 1));
    ck_assert(fw_cfg_add_file(&t->fw, "etc/one", "\1\2\3", 3));
    ck_assert(fw_cfg_add_file_callback(&t->fw, "etc/many", 100000, counting, t));
}

static void teardown(struct fw_test *t)
{
    fw_cfg_destroy(&t->fw);
    bus_destroy(t->bus);
}

static void choose(struct fw_test *t, u16 key)
{
    bus_out(t->bus, 0, 0x510, key, 2);
}

static u64 item(struct fw_test *t, unsigned bytes, bool big)
{
    u64 v = 0;
    for (unsigned i = 0; i < bytes; i++) {
        u64 b = in8(t->bus, 0x511);
        v = big ? v << 8 | b : v | b << (8 * i);
    }
    return v;
}

static void put_be(u8 *p, u64 v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (u8)(v >> (8 * (bytes - 1 - i)));
}

/* Runs a DMA operation with its descriptor at 0x100; returns the control word afterwards. */
static u32 dma(struct fw_test *t, u32 control, u32 length, u64 to)
{
    u8 *d = t->ram + 0x100;
    put_be(d, control, 4);
    put_be(d + 4, length, 4);
    put_be(d + 8, to, 8);
    bus_out(t->bus, 0, 0x514, 0, 4);
    bus_out(t->bus, 0, 0x518, __builtin_bswap32(0x100), 4);
    return (u32)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
}

START_TEST(ports)
{
    struct fw_test t;
    setup(&t);
    choose(&t, 0);
    ck_assert_uint_eq(item(&t, 4, false), load_le("QEMU", 4));
    ck_assert_uint_eq(in8(t.bus, 0x511), 0); /* past the end */
    choose(&t, 1);
    ck_assert_uint_eq(item(&t, 4, false), 3);
    choose(&t, FW_CFG_RAM_SIZE);
    ck_assert_uint_eq(item(&t, 8, false), 0x123456789abcdef0);
    choose(&t, FW_CFG_NB_CPUS);
    ck_assert_uint_eq(item(&t, 2, false), 3);
    choose(&t, FW_CFG_IRQ0_OVERRIDE);
    ck_assert_uint_eq(item(&t, 4, false), 1);
    choose(&t, FW_CFG_CMDLINE_DATA);
    ck_assert_uint_eq(item(&t, 6, false), load_le("quiet", 6));
    choose(&t, FW_CFG_CMDLINE_DATA); /* selecting starts over */
    ck_assert_uint_eq(in8(t.bus, 0x511), 'q');
    choose(&t, 0x7777);
    ck_assert_uint_eq(item(&t, 8, false), 0);
    /* The data port takes no writes. */
    choose(&t, FW_CFG_NB_CPUS);
    out8(t.bus, 0x511, 9);
    ck_assert_uint_eq(item(&t, 2, false), 3);
    ck_assert_uint_eq(bus_in(t.bus, 0, 0x514, 4), load_le("QEMU", 4));
    ck_assert_uint_eq(bus_in(t.bus, 0, 0x518, 4), load_le(" CFG", 4));
    teardown(&t);
}
END_TEST

START_TEST(directory)
{
    struct fw_test t;
    char name[56];
    setup(&t);
    choose(&t, FW_CFG_FILE_DIR);
    ck_assert_uint_eq(item(&t, 4, true), 2);
    ck_assert_uint_eq(item(&t, 4, true), 3);
    u16 key = (u16)item(&t, 2, true);
    ck_assert_uint_ge(key, 0x20);
    ck_assert_uint_eq(item(&t, 2, true), 0);
    for (unsigned i = 0; i < 56; i++)
        name[i] = (char)in8(t.bus, 0x511);
    ck_assert_str_eq(name, "etc/one");
    ck_assert_uint_eq(item(&t, 4, true), 100000);
    choose(&t, key);
    ck_assert_uint_eq(item(&t, 3, true), 0x010203);
    /* Names are taken once, are short, and there is an end to them. */
    char longer[80];
    memset(longer, 'x', 79);
    longer[79] = 0;
    ck_assert(!fw_cfg_add_file(&t.fw, "etc/one", "", 0));
    ck_assert(!fw_cfg_add_file(&t.fw, longer, "", 0));
    unsigned added = 0;
    for (; added < 1000; added++) {
        snprintf(name, sizeof name, "opt/%u", added);
        if (!fw_cfg_add_file(&t.fw, name, name, 3))
            break;
    }
    ck_assert_uint_eq(added, FW_CFG_FILES - 2);
    choose(&t, FW_CFG_FILE_DIR);
    ck_assert_uint_eq(item(&t, 4, true), FW_CFG_FILES);
    teardown(&t);
}
END_TEST

START_TEST(dma_reads)
{
    struct fw_test t;
    setup(&t);
    memset(t.ram + 0x1000, 0xee, 32);
    /* Select and read in one, more than there is: zeros. */
    ck_assert_uint_eq(dma(&t, FW_CFG_RAM_SIZE << 16 | 8 | 2, 12, 0x1000), 0);
    ck_assert_uint_eq(load_le(t.ram + 0x1000, 8), 0x123456789abcdef0);
    ck_assert_uint_eq(load_le(t.ram + 0x1008, 4), 0);
    ck_assert_uint_eq(t.ram[0x100c], 0xee);
    /* Select, skip, read. */
    ck_assert_uint_eq(dma(&t, FW_CFG_CMDLINE_DATA << 16 | 8, 0, 0), 0);
    ck_assert_uint_eq(dma(&t, 4, 2, 0), 0);
    ck_assert_uint_eq(dma(&t, 2, 3, 0x1000), 0);
    ck_assert_mem_eq(t.ram + 0x1000, "iet", 3);
    ck_assert_uint_eq(in8(t.bus, 0x511), 0); /* the terminating 0 comes next */
    /* A large item, in pieces, from a callback. */
    choose(&t, 0x21);
    ck_assert_uint_eq(dma(&t, 2, 100000, 0x2000), 0);
    for (unsigned i = 0; i < 100000; i++)
        ck_assert_uint_eq(t.ram[0x2000 + i], i & 0xff);
    ck_assert_uint_gt(t.calls, 0);
    teardown(&t);
}
END_TEST

START_TEST(dma_hostile)
{
    struct fw_test t;
    setup(&t);
    ck_assert_uint_eq(dma(&t, FW_CFG_RAM_SIZE << 16 | 8 | 16, 8, 0x1000), 1); /* write */
    ck_assert_uint_eq(dma(&t, FW_CFG_RAM_SIZE << 16 | 8 | 2, 0xffffffff, 0x1000), 1);
    ck_assert_uint_eq(dma(&t, 4, 0xffffffff, 0), 0);
    ck_assert_uint_eq(dma(&t, 4, 0xffffffff, 0), 0); /* does not wrap back into the item */
    ck_assert_uint_eq(in8(t.bus, 0x511), 0);
    ck_assert_uint_eq(dma(&t, 0x7fff0000 | 8 | 2, 64, 0x1000), 0); /* no such item: zeros */
    /* To nowhere, and from nowhere. */
    ck_assert_uint_eq(dma(&t, FW_CFG_RAM_SIZE << 16 | 8 | 2, 8, 0xfffffffffffffff8), 0);
    bus_out(t.bus, 0, 0x514, 0xffffffff, 4);
    bus_out(t.bus, 0, 0x518, 0xf8ffffff, 4);
    /* Narrow writes do not start anything. */
    put_be(t.ram + 0x100, FW_CFG_RAM_SIZE << 16 | 8 | 2, 4);
    for (unsigned i = 0; i < 8; i++)
        out8(t.bus, (u16)(0x514 + i), i == 6 ? 1 : 0);
    ck_assert_uint_eq(t.ram[0x101], FW_CFG_RAM_SIZE);
    teardown(&t);
}
END_TEST

RUN_TESTS("fw_cfg", ports, directory, dma_reads, dma_hostile)

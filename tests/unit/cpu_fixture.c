/* A vCPU with a fake engine; see the header. */
#include "cpu_fixture.h"

#include <stdlib.h>

struct cpu *cpu;
unsigned reset_requests;
u64 helper_result;

static struct bus *bus;
static struct clock clock_;
static jmp_buf unwind_to;
static bool unwindable; /* a helper is running, or something else that may raise */
static u8 *ram;

static void fake_sync(struct cpu *c)
{
}

static void fake_unwind(struct cpu *c) __attribute__((noreturn));
static void fake_unwind(struct cpu *c)
{
    ck_assert_msg(unwindable, "exception %d outside run_helper", c->exc_vector);
    longjmp(unwind_to, 1);
}

static const struct engine_hooks fake_engine = {fake_sync, fake_unwind};

static void count_reset(void *opaque)
{
    reset_requests++;
}

void fixture_teardown(void)
{
    cpu_destroy(cpu);
    cpu = NULL;
    if (bus)
        bus_destroy(bus);
    bus = NULL;
}

void fixture_setup(const char *model)
{
    char *error;
    fixture_teardown();
    bus = bus_create();
    ram = bus_alloc_ram(bus, 1 << 20, "ram");
    bus_map_ram(bus, "ram", 0, 1 << 20, ram, true, true, 0);
    clock_init(&clock_, CLOCK_STEPPED);
    struct cpu_config config = {.bus = bus, .clock = &clock_,
                                .model = cpu_model_find(model, 1, &error)};
    ck_assert_ptr_nonnull(config.model);
    cpu = cpu_create(&config);
    ck_assert_ptr_nonnull(cpu);
    cpu->engine = &fake_engine;
    cpu->request_reset = count_reset;
    reset_requests = 0;
}

u64 peek(u64 at, unsigned size)
{
    return load_le(ram + at, size);
}

void poke(u64 at, unsigned size, u64 v)
{
    store_le(ram + at, v, size);
}

u64 descriptor(u64 base, u32 limit, u16 attr)
{
    if (attr & SEG_G)
        limit >>= 12;
    return (limit & 0xffff) | (base & 0xffffff) << 16 | (u64)(attr & 0xf0ff) << 40 |
           (u64)(limit & 0xf0000) << 32 | (base >> 24 & 0xff) << 56;
}

void set_gate(unsigned vector, unsigned type, unsigned dpl, u16 sel, u64 offset, unsigned ist)
{
    bool wide = cpu_lma(cpu);
    u64 at = IDT_AT + vector * (wide ? 16u : 8u);
    poke(at, 8, (offset & 0xffff) | (u64)sel << 16 | (u64)ist << 32 |
                    (u64)(0x80 | dpl << 5 | type) << 40 | (offset >> 16 & 0xffff) << 48);
    if (wide)
        poke(at + 8, 8, offset >> 32);
}

#define CODE (SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_A)
#define DATA (SEG_P | SEG_S | SEG_RW | SEG_A)
#define BIG (SEG_DB | SEG_G)

static void make_tables(void)
{
    static const struct { u16 sel; u64 base; u32 limit; u32 attr; } rows[] = {
        {S_CODE0, 0, 0xffffffff, CODE | BIG},
        {S_DATA0, 0, 0xffffffff, DATA | BIG},
        {S_CODE3, 0, 0xffffffff, CODE | BIG | SEG_DPL},
        {S_DATA3, 0, 0xffffffff, DATA | BIG | SEG_DPL},
        {S_CONF, 0, 0xffffffff, CODE | BIG | SEG_DC},
        {S_XONLY, 0, 0xffffffff, (CODE & ~SEG_RW) | BIG | SEG_DPL},
        {S_RODATA, 0, 0xffffffff, (DATA & ~SEG_RW) | BIG | SEG_DPL},
        {S_DOWN, 0, 0xfff, DATA | SEG_DC | SEG_DB | SEG_DPL},
        {S_ABSENT, 0, 0xffffffff, (DATA & ~SEG_P) | BIG | SEG_DPL},
        {S_LDT, LDT_AT, 0xf, SEG_P | DT_LDT},
        {S_CODE16, 0, 0xffff, CODE},
        {S_TSS2, TSS2_AT, 0x67, SEG_P | DT_TSS32},
        {S_CODE64, 0, 0xffffffff, CODE | SEG_L | SEG_G},
        {S_CODE64_3, 0, 0xffffffff, CODE | SEG_L | SEG_G | SEG_DPL},
        {S_ABSENTC, 0, 0xffffffff, (CODE & ~SEG_P) | BIG},
        {S_LD, 0, 0xffffffff, CODE | SEG_L | BIG},
        {S_TSS, TSS_AT, 0x2067, SEG_P | DT_TSS32},
        {S_STACK16, 0, 0xffff, DATA},
    };
    /* Whatever mode the last fixture or test was in. */
    cpu->cr0 &= ~(u32)(CR0_PG | CR0_PE);
    cpu->cr4 &= ~(u64)CR4_SMAP;
    cpu->efer = 0;
    cpu_update_paging(cpu);
    memset(ram, 0, 1 << 20);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        poke(GDT_AT + rows[i].sel, 8, descriptor(rows[i].base, rows[i].limit, (u16)rows[i].attr));
    /* An LDT with one data segment, DPL 3. */
    poke(LDT_AT + 8, 8, descriptor(0, 0xfff, DATA | SEG_DPL));
    cpu->gdt = (struct desc_table){GDT_AT, GDT_END - 1};
    cpu->idt = (struct desc_table){IDT_AT, 0xfff};
}

void set_segment(enum sreg seg, u16 sel)
{
    struct descriptor d;
    ck_assert(desc_read(cpu, sel, &d));
    seg_install(cpu, seg, sel, &d.seg);
    cpu_update_hflags(cpu);
}

static void enter(unsigned cpl, u16 code0, u16 code3)
{
    static const enum sreg data[] = {SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS};
    u16 rpl = cpl ? 3 : 0;
    cpu->cpl = (u8)cpl;
    set_segment(SEG_CS, (cpl ? code3 : code0) | rpl);
    for (size_t i = 0; i < ARRAY_SIZE(data); i++)
        set_segment(data[i], (cpl ? S_DATA3 : S_DATA0) | rpl);
    cpu->gpr[RSP] = cpl ? STACK3 : STACK0 - 0x800;
    cpu->rip = CODE_AT;
    cpu->eflags = FL_FIXED | FL_IF;
    cpu->wait_sipi = false;
    cpu_update_paging(cpu);
}

void fixture_protected(unsigned cpl)
{
    make_tables();
    cpu->cr0 |= CR0_PE;
    enter(cpl, S_CODE0, S_CODE3);
    /* 32-bit TSS: ring 0 stack; I/O map of 0x68 on. */
    poke(TSS_AT + 4, 4, STACK0);
    poke(TSS_AT + 8, 4, S_DATA0);
    poke(TSS_AT + 0x66, 2, 0x68);
    set_segment(SEG_TR, S_TSS);
    cpu->seg[SEG_TR].attr |= 2;
}

void fixture_long(unsigned cpl)
{
    make_tables();
    poke(PML4_AT, 8, (PML4_AT + 0x1000) | 7);
    poke(PML4_AT + 0x1000, 8, 0x87); /* 1 GiB page */
    cpu->cr3 = PML4_AT;
    cpu->cr4 |= CR4_PAE | CR4_OSFXSR;
    cpu->efer = EFER_LME | EFER_LMA | EFER_SCE;
    cpu->cr0 |= CR0_PE | CR0_PG | CR0_WP;
    cpu_update_paging(cpu);
    enter(cpl, S_CODE64, S_CODE64_3);
    poke(TSS_AT + 4, 8, STACK0);
    poke(TSS_AT + 0x24, 8, STACK_IST1);
    poke(TSS_AT + 0x66, 2, 0x68);
    set_segment(SEG_TR, S_TSS);
    cpu->seg[SEG_TR].attr |= 2;
}

int run_helper(u64 (*fn)(struct cpu *, u64, u64, u64, u64), u64 a, u64 b, u64 c, u64 d)
{
    cpu->exc_vector = -1;
    cpu->exc_error = 0;
    unwindable = true;
    if (setjmp(unwind_to) == 0) {
        helper_result = fn(cpu, a, b, c, d);
        unwindable = false;
        return -1;
    }
    unwindable = false;
    int vector = cpu->exc_vector;
    cpu->exc_vector = -1;
    return vector;
}

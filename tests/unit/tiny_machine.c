/* A machine of one vCPU, RAM and an engine; see tiny_machine.h. */
#include "tiny_machine.h"

#include <assert.h>

#include "cpu/cpuid.h"

static void create(struct tiny *m, const struct accel *accel, struct accel_options options,
                   const char *model, const struct count_config *count)
{
    char *error = NULL;
    *m = (struct tiny){.accel = accel};
    clock_init(&m->clock, count ? CLOCK_COUNTED : CLOCK_STEPPED);
    m->bus = bus_create();
    assert(m->bus);
    m->ram = bus_alloc_ram(m->bus, TINY_RAM, "ram");
    assert(m->ram);
    bus_map_ram(m->bus, "ram", 0, TINY_RAM, m->ram, true, true, 0);
    struct cpu_config config = {0, m->bus, &m->clock, cpu_model_find(model, 1, &error),
                                count};
    assert(config.model);
    m->cpu = cpu_create(&config);
    assert(m->cpu);
    options.verify_ir = true;
    m->engine = accel->create(m->bus, &options);
    assert(m->engine);
    assert(accel->attach(m->engine, m->cpu));
    cpu_reset(m->cpu, false);
}

void tiny_create(struct tiny *m, const struct accel *accel, u64 code_bytes)
{
    create(m, accel, (struct accel_options){.code_bytes = code_bytes}, "max", NULL);
}

void tiny_create_off(struct tiny *m, const struct accel *accel, u64 code_bytes, u64 off)
{
    create(m, accel, (struct accel_options){.code_bytes = code_bytes, .off = off}, "max", NULL);
}

void tiny_create_cached(struct tiny *m, const struct accel *accel, const char *folder,
                        const char *model, u64 code_bytes)
{
    create(m, accel, (struct accel_options){.cache = folder, .code_bytes = code_bytes}, model,
           NULL);
}

void tiny_create_counted(struct tiny *m, const struct accel *accel,
                         const struct count_config *count)
{
    create(m, accel, (struct accel_options){0}, "max", count);
}

void tiny_destroy(struct tiny *m)
{
    m->accel->detach(m->cpu);
    m->accel->destroy(m->engine);
    cpu_destroy(m->cpu);
    bus_destroy(m->bus);
}

static void set_segment(struct cpu *cpu, enum sreg seg, u16 selector, u64 base, u32 limit, u16 attr)
{
    cpu->seg[seg].selector = selector;
    cpu->seg[seg].base = base;
    cpu->seg[seg].limit = limit;
    cpu->seg[seg].attr = attr;
    cpu_update_segment(cpu, seg);
}

void tiny_real(struct tiny *m, u16 ip)
{
    struct cpu *cpu = m->cpu;
    cpu_reset(cpu, false);
    for (enum sreg s = SEG_ES; s <= SEG_GS; s++)
        set_segment(cpu, s, 0, 0, 0xffff,
                    SEG_P | SEG_S | SEG_RW | SEG_A | (s == SEG_CS ? SEG_CODE : 0));
    cpu->rip = ip;
    cpu->gpr[RSP] = 0x7000;
    cpu->eflags = FL_FIXED;
    cpu_update_hflags(cpu);
}

static void make_tables(struct tiny *m)
{
    u64 *pml4 = (u64 *)(m->ram + TINY_TABLES), *pdpt = pml4 + 512, *pd = pdpt + 512;
    u64 *gdt = (u64 *)(m->ram + TINY_GDT);
    pml4[0] = (TINY_TABLES + 0x1000) | 7;
    pdpt[0] = (TINY_TABLES + 0x2000) | 7;
    for (u64 i = 0; i < 512; i++)
        pd[i] = i << 21 | 0x87; /* 2 MiB pages */
    gdt[1] = 0x00af9b000000ffffull;
    gdt[2] = 0x00cf93000000ffffull;
}

void tiny_long(struct tiny *m, u64 rip)
{
    struct cpu *cpu = m->cpu;
    cpu_reset(cpu, false);
    make_tables(m);
    cpu->gdt = (struct desc_table){TINY_GDT, 0x17};
    cpu->idt = (struct desc_table){TINY_IDT, 0xfff};
    cpu->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET | CR0_MP | CR0_NE;
    cpu->cr3 = TINY_TABLES;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    cpu->cpl = 0;
    set_segment(cpu, SEG_CS, 8, 0, ~0u, SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_A | SEG_L | SEG_G);
    for (enum sreg s = SEG_ES; s <= SEG_GS; s++)
        if (s != SEG_CS)
            set_segment(cpu, s, 0x10, 0, ~0u, SEG_P | SEG_S | SEG_RW | SEG_A | SEG_DB | SEG_G);
    cpu->rip = rip;
    cpu->gpr[RSP] = 0x80000;
    cpu->eflags = FL_FIXED;
    cpu_loaded(cpu);
}

void tiny_gate(struct tiny *m, unsigned vector, u64 handler)
{
    u64 *gate = (u64 *)(m->ram + TINY_IDT + 16 * vector);
    gate[0] = (handler & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (handler >> 16 & 0xffff) << 48;
    gate[1] = handler >> 32;
}

void tiny_load(struct tiny *m, u64 at, const void *code, u64 bytes)
{
    bus_write_bytes(m->bus, at, code, bytes);
}

void tiny_run(struct tiny *m)
{
    m->accel->run(m->cpu);
}

u64 tiny_counter(struct tiny *m, const char *name)
{
    return m->accel->counter(m->engine, name);
}

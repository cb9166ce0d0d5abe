/* Runs programs on an engine: a machine of 16 MiB RAM and one vCPU in user mode, with just enough of
 * a 64-bit supervisor (tables, and a HLT behind each exception) in the upper half. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "fuzz.h"
#include "native.h"
#include "segments.h"

#define RAM_BYTES (16u << 20)
/* Physical addresses; the first 2 MiB are also at UPPER for the supervisor. */
enum { TABLES = 0x100000, CODE_PHYS = 0x200000, DATA_PHYS = 0x210000 };
enum { GDT = 0x1000, LDT = 0x1800, TSS = 0x2000, IDT = 0x3000, HANDLERS = 0x8000,
       STACK = 0x10000 };
enum { VECTORS = 256, TSS_LIMIT = 0x67 };
#define UPPER 0xffffffff80000000ull

struct guest {
    struct bus *bus;
    struct clock clock;
    u8 *ram;
    const struct accel *accel;
    void *engine;
    struct cpu *cpu;
    u32 code_at, code_size; /* of the program that is there */
};

static void make_tables(struct guest *g)
{
    u64 *pml4 = (u64 *)(g->ram + TABLES), *pdpt = pml4 + 512, *pd = pdpt + 512, *pt = pd + 512;
    u64 *pdpt_hi = pt + 512, *pd_hi = pdpt_hi + 512;
    pml4[0] = (TABLES + 0x1000) | 7;
    pdpt[0] = (TABLES + 0x2000) | 7;
    pd[CODE_AT >> 21] = (TABLES + 0x3000) | 7;
    for (unsigned i = 0; i < CODE_SIZE >> 12; i++)
        pt[i] = (CODE_PHYS + i * 0x1000) | 5;
    unsigned first = (DATA_AT >> 12) & 511;
    for (unsigned i = 0; i < DATA_SIZE >> 12; i++)
        pt[first + i] = (DATA_PHYS + i * 0x1000) | (i < DATA_RW >> 12 ? 7 : 5) | 1ull << 63;
    pml4[511] = (TABLES + 0x4000) | 3;
    pdpt_hi[510] = (TABLES + 0x5000) | 3;
    pd_hi[0] = 0x83;

    for (unsigned i = 0; i < GDT_COUNT; i++)
        store_le(g->ram + GDT + 8 * i, segments_gdt(i), 8);
    for (unsigned i = 0; i < LDT_COUNT; i++)
        store_le(g->ram + LDT + 8 * i, segments_ldt(i), 8);
    store_le(g->ram + TSS + 4, UPPER + STACK, 8);
    store_le(g->ram + TSS + 0x66, TSS_LIMIT + 1, 2); /* no I/O permission map */
    for (unsigned v = 0; v < VECTORS; v++) {
        u64 handler = UPPER + HANDLERS + v * 16, *gate = (u64 *)(g->ram + IDT + 16 * v);
        u64 dpl = v == EXC_BP || v == EXC_OF ? 3 : 0;
        gate[0] = (handler & 0xffff) | 0x10 << 16 | (0x8e00ull | dpl << 13) << 32 |
                  (handler >> 16 & 0xffff) << 48;
        gate[1] = handler >> 32;
        g->ram[HANDLERS + v * 16] = 0xf4;
    }
}

struct guest *guest_create(const struct accel *accel, bool plain, u64 off)
{
    char *error = NULL;
    struct guest *g = calloc(1, sizeof *g);
    g->accel = accel;
    clock_init(&g->clock, CLOCK_STEPPED);
    g->bus = bus_create();
    g->ram = bus_alloc_ram(g->bus, RAM_BYTES, "ram");
    bus_map_ram(g->bus, "ram", 0, RAM_BYTES, g->ram, true, true, 0);
    struct cpu_config config = {0, g->bus, &g->clock, cpu_model_find("max", 1, &error)};
    g->cpu = cpu_create(&config);
    struct accel_options options = {.code_bytes = 4u << 20, .verify_ir = true,
                                    .plain_host = plain, .off = off};
    g->engine = accel->create(g->bus, &options);
    if (!g->cpu || !g->engine || !accel->attach(g->engine, g->cpu))
        abort();
    make_tables(g);
    struct cpu *cpu = g->cpu;
    cpu_reset(cpu, false);
    cpu->gdt = (struct desc_table){UPPER + GDT, 8 * GDT_COUNT - 1};
    cpu->idt = (struct desc_table){UPPER + IDT, 16 * VECTORS - 1};
    cpu->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_ET | CR0_MP | CR0_NE | CR0_AM;
    cpu->cr3 = TABLES;
    cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_UMIP | CR4_OSXSAVE;
    cpu->cr4 &= cpu_cr4_mask(cpu);
    cpu->xcr0 = cpu_xcr0_mask(cpu) & 7;
    cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    cpu->seg[SEG_TR] = (struct segment){.base = UPPER + TSS, .limit = TSS_LIMIT,
                                        .selector = GDT_TSS * 8, .attr = SEG_P | 0xb};
    cpu->seg[SEG_LDTR] = (struct segment){.base = UPPER + LDT, .limit = 8 * LDT_COUNT - 1,
                                          .selector = GDT_LDT * 8, .attr = SEG_P | 2};
    cpu_loaded(cpu);
    return g;
}

void guest_destroy(struct guest *g)
{
    g->accel->detach(g->cpu);
    g->accel->destroy(g->engine);
    cpu_destroy(g->cpu);
    bus_destroy(g->bus);
    free(g);
}

static void print_line(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

bool guest_has(unsigned isa)
{
    char *error = NULL;
    struct cpu cpu = {.model = cpu_model_find("max", 1, &error)};
    return cpu_has(&cpu, isa);
}

u64 guest_counter(struct guest *g, const char *name)
{
    return g->accel->counter(g->engine, name);
}

void guest_info(struct guest *g)
{
    g->accel->info(g->engine, print_line, NULL);
}

void guest_cold(struct guest *g)
{
    mmu_flush_all(&g->cpu->mmu);
}

void guest_load(struct guest *g, const struct program *p)
{
    static const u8 zero[sizeof p->code];
    bus_write_bytes(g->bus, CODE_PHYS + g->code_at, zero, g->code_size);
    bus_write_bytes(g->bus, CODE_PHYS + p->offset, p->code, p->size);
    g->code_at = p->offset;
    g->code_size = p->size;
}

static void load_state(struct guest *g, const struct state *in)
{
    struct cpu *cpu = g->cpu;
    memcpy(g->ram + DATA_PHYS, in->data, DATA_SIZE);
    memcpy(cpu->gpr, in->gpr, sizeof cpu->gpr);
    cpu->lazy_kind = LAZY_NONE;
    cpu->eflags = in->flags;
    cpu->rip = in->rip;
    const u8 *fx = in->fx;
    cpu->x87.fcw = (u16)load_le(fx + FX_FCW, 2);
    cpu->x87.fsw = (u16)load_le(fx + FX_FSW, 2);
    cpu->x87.ftw = fx[FX_FTW];
    unsigned top = cpu->x87.fsw >> 11 & 7;
    for (unsigned i = 0; i < 8; i++) {
        struct fpreg *r = &cpu->x87.r[(top + i) & 7];
        r->mant = load_le(fx + FX_ST + 16 * i, 8);
        r->sexp = (u16)load_le(fx + FX_ST + 16 * i + 8, 2);
    }
    for (unsigned i = 0; i < 16; i++)
        memcpy(cpu->xmm[i].b, fx + FX_XMM + 16 * i, 16);
    for (unsigned i = 0; i < 16; i++)
        memcpy(cpu->xmm[i].b + 16, in->ymm + 16 * i, 16);
    cpu->cpl = 3;
    for (unsigned i = 0; i < 6; i++)
        segments_load(&cpu->seg[i], in->sel[i]);
    if (in->sel[SEG_FS] < 4)
        cpu->seg[SEG_FS].base = in->fs_base;
    if (in->sel[SEG_GS] < 4)
        cpu->seg[SEG_GS].base = in->gs_base;
    for (unsigned i = 0; i < 6; i++)
        cpu_update_segment(cpu, i);
    cpu->halted = false;
    cpu->irq_shadow = cpu->step_skip = false;
    cpu_set_mxcsr(cpu, (u32)load_le(fx + FX_MXCSR, 4));
    cpu_update_hflags(cpu);
}

static void save_state(struct guest *g, struct state *out)
{
    struct cpu *cpu = g->cpu;
    static const u32 with_error = 1 << EXC_DF | 1 << EXC_TS | 1 << EXC_NP | 1 << EXC_SS |
                                  1 << EXC_GP | 1 << EXC_PF | 1 << EXC_AC;
    int vector = (int)((cpu->rip - UPPER - HANDLERS) / 16);
    if (!cpu->halted || vector < 0 || vector >= VECTORS) {
        out->vector = END_CRASH;
        return;
    }
    const u8 *frame = g->ram + (cpu->gpr[RSP] - UPPER);
    memcpy(out->gpr, cpu->gpr, sizeof out->gpr);
    out->vector = vector;
    out->error = 0;
    if (vector < 32 && with_error >> vector & 1) {
        out->error = (u32)load_le(frame, 8);
        frame += 8;
    }
    out->rip = load_le(frame, 8);
    for (unsigned i = 0; i < 6; i++)
        out->sel[i] = cpu->seg[i].selector;
    out->sel[SEG_CS] = (u16)load_le(frame + 8, 8);
    out->sel[SEG_SS] = (u16)load_le(frame + 32, 8);
    out->fs_base = cpu->seg[SEG_FS].base;
    out->gs_base = cpu->seg[SEG_GS].base;
    out->flags = load_le(frame + 16, 8);
    out->gpr[RSP] = load_le(frame + 24, 8);
    out->cr2 = cpu->cr2;
    u8 *fx = out->fx;
    memset(fx, 0, sizeof out->fx);
    store_le(fx + FX_FCW, cpu->x87.fcw, 2);
    store_le(fx + FX_FSW, cpu->x87.fsw, 2);
    fx[FX_FTW] = cpu->x87.ftw;
    store_le(fx + FX_MXCSR, cpu->mxcsr, 4);
    unsigned top = cpu->x87.fsw >> 11 & 7;
    for (unsigned i = 0; i < 8; i++) {
        const struct fpreg *r = &cpu->x87.r[(top + i) & 7];
        store_le(fx + FX_ST + 16 * i, r->mant, 8);
        store_le(fx + FX_ST + 16 * i + 8, r->sexp, 2);
    }
    for (unsigned i = 0; i < 16; i++)
        memcpy(fx + FX_XMM + 16 * i, cpu->xmm[i].b, 16);
    for (unsigned i = 0; i < 16; i++)
        memcpy(out->ymm + 16 * i, cpu->xmm[i].b + 16, 16);
    memcpy(out->data, g->ram + DATA_PHYS, DATA_SIZE);
}

void guest_run(struct guest *g, const struct program *p, const struct state *in,
               struct state *out)
{
    load_state(g, in);
    int trouble = sigsetjmp(native_escape, 0);
    if (!trouble) {
        native_escape_armed = 1;
        g->accel->run(g->cpu);
        native_escape_armed = 0;
        save_state(g, out);
        return;
    }
    native_escape_armed = 0;
    memset(out, 0, sizeof *out);
    out->vector = trouble == 1 ? END_TIMEOUT : END_CRASH;
}

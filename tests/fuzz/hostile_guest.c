/* What the attacker's guest consists of: a state of the vCPU in some mode, tables that may be wrong,
 * and code.  Everything is random; templates make likely what pure chance would not find. */
#include "hostile.h"

#include "cpu/cpu.h"

/* Guest-physical layout; each table may be overwritten by the garbage. */
enum {
    IVT = 0, SMM_CODE = 0x38000, CODE = 0x20000, CODE_BYTES = 0x8000, GDT_AT = 0x40000,
    IDT_AT = 0x41000, TSS_AT = 0x42000, LDT_AT = 0x43000, STACK_AT = 0x48000, PAGES = 0x50000,
    BUFFER = 0x60000, ENTRIES = 64,
};

const char *hostile_mode_name(enum hostile_mode mode)
{
    static const char *const names[HOSTILE_MODES] = {
        "real mode", "virtual-8086 mode", "16-bit protected mode", "32-bit protected mode",
        "32-bit paging", "PAE", "compatibility mode", "64-bit mode"};
    return names[mode];
}

/* ---- numbers that matter ---- */

static u16 rnd_port(void)
{
    static const u16 first[] = {0x20, 0xa0, 0x40, 0x60, 0x64, 0x70, 0x80, 0x92, 0xb2, 0xcf8, 0xcfc,
                                0x3f8, 0x2f8, 0x3e8, 0x1f0, 0x1f7, 0x3f6, 0x170, 0x376, 0x3c0, 0x3ce,
                                0x3d4, 0x1ce, 0x510, 0x514, 0x518, 0x402, 0x4d0, 0xcf9, 0x600, 0x604,
                                0xb000, 0xb100, 0xc000, 0xe0, 0xf1, 0x00, 0xc0, 0x501, 0xae00};
    return one_in(5) ? (u16)rnd() : (u16)(first[below(ARRAY_SIZE(first))] + below(16));
}

static u32 rnd_physical(void)
{
    switch (below(10)) {
    case 0: return 0xa0000 + below(0x20000);
    case 1: return 0xfec00000 + 4 * below(16);
    case 2: return 0xfed00000 + 4 * below(0x100);
    case 3: return 0xfee00000 + 16 * below(64);
    case 4: return 0xfffc0000 + below(0x40000);
    case 5: return 0xc0000 + below(0x40000);
    case 6: return 0xe0000000 + (u32)rnd() % 0x1e000000;
    case 7: return CODE + below(CODE_BYTES);
    case 8: return GDT_AT + below(0x20000);
    default: return BUFFER + below(0x4000);
    }
}

static u32 rnd_msr(void)
{
    static const u32 first[] = {0x10, 0x1b, 0x3a, 0x48, 0x79, 0x8b, 0xc1, 0xfe, 0x174, 0x175, 0x176,
                                0x179, 0x17a, 0x186, 0x198, 0x1a0, 0x1d9, 0x200, 0x250, 0x258, 0x268,
                                0x277, 0x2ff, 0x345, 0x38f, 0x400, 0x404, 0x6e0, 0x800, 0x802, 0x80b,
                                0x830, 0x83f, 0xda0, 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000083,
                                0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103,
                                0xc0010015, 0xc0011029};
    return one_in(8) ? (u32)rnd() : first[below(ARRAY_SIZE(first))] + (one_in(3) ? below(16) : 0);
}

/* ---- code ---- */

struct code {
    u8 *p, *end;
    unsigned bits; /* of the code segment */
};

static void byte(struct code *c, u8 v)
{
    if (c->p < c->end)
        *c->p++ = v;
}

static void bytes(struct code *c, u64 v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        byte(c, (u8)(v >> 8 * i));
}

/* Operand and address size of 32 bits. */
static void wide(struct code *c, bool address)
{
    if (c->bits == 16)
        byte(c, 0x66);
    if (c->bits == 16 && address)
        byte(c, 0x67);
}

static void mov_imm(struct code *c, unsigned reg, u32 v)
{
    wide(c, false);
    byte(c, (u8)(0xb8 | reg));
    bytes(c, v, 4);
}

/* ModRM of [disp32] with a register field. */
static void absolute(struct code *c, unsigned reg, u32 address)
{
    if (c->bits == 64) {
        byte(c, (u8)(reg << 3 | 4));
        byte(c, 0x25);
    } else {
        byte(c, (u8)(reg << 3 | 5));
    }
    bytes(c, address, 4);
}

static void put_port(struct code *c)
{
    static const u8 through_dx[] = {0xec, 0xed, 0xee, 0xef, 0xee, 0xef, 0x6c, 0x6d, 0x6e, 0x6f};
    mov_imm(c, RAX, one_in(2) ? (u32)rnd() : below(256));
    mov_imm(c, RDX, rnd_port());
    if (one_in(8))
        byte(c, 0xf3);
    if (one_in(3))
        byte(c, 0x66);
    byte(c, through_dx[below(ARRAY_SIZE(through_dx))]);
}

static void put_mmio(struct code *c)
{
    static const u8 ops[] = {0x88, 0x89, 0x8a, 0x8b, 0x00, 0x01, 0x87, 0xff, 0x39};
    if (one_in(4))
        mov_imm(c, RAX, (u32)rnd());
    if (c->bits == 16)
        byte(c, 0x67);
    if (one_in(6))
        byte(c, 0xf0);
    if (c->bits == 64 && one_in(3))
        byte(c, 0x48);
    else if (one_in(3))
        byte(c, 0x66);
    byte(c, ops[below(ARRAY_SIZE(ops))]);
    absolute(c, below(8), rnd_physical());
}

static void put_msr(struct code *c)
{
    mov_imm(c, RCX, rnd_msr());
    if (one_in(2)) {
        mov_imm(c, RAX, one_in(2) ? (u32)rnd() : BIT(below(32)));
        mov_imm(c, RDX, one_in(2) ? 0 : (u32)rnd());
    }
    bytes(c, one_in(3) ? 0x320f : 0x300f, 2);
}

static void put_control(struct code *c)
{
    static const u8 cr[] = {0, 0, 2, 3, 3, 4, 4, 8};
    bool debug = one_in(3);
    unsigned reg = debug ? below(8) : cr[below(ARRAY_SIZE(cr))];
    if (one_in(2)) /* flip one bit */
        bytes(c, debug ? 0xc0210f | reg << 19 : 0xc0200f | (reg & 7) << 19, 3);
    else
        mov_imm(c, RAX, (u32)rnd());
    wide(c, false);
    byte(c, 0x35); /* XOR EAX, imm32 */
    bytes(c, BIT(below(32)), 4);
    if (reg == 8)
        byte(c, c->bits == 64 ? 0x44 : 0xf0);
    bytes(c, debug ? 0xc0230f | reg << 19 : 0xc0220f | (reg & 7) << 19, 3);
}

/* 0F 00 and 0F 01: descriptor tables, task register, INVLPG, XSETBV and their like. */
static void put_system(struct code *c)
{
    if (one_in(2))
        mov_imm(c, RAX, 8 * below(ENTRIES) | below(8));
    if (one_in(3)) {
        bytes(c, 0x0f, 1);
        byte(c, (u8)below(2));
        byte(c, (u8)(0xc0 | below(64)));
        return;
    }
    if (c->bits == 16)
        byte(c, 0x67);
    byte(c, 0x0f);
    byte(c, (u8)below(2));
    absolute(c, below(8), one_in(3) ? rnd_physical() : BUFFER + 16 * below(16));
}

static void put_transfer(struct code *c)
{
    static const u8 one[] = {0xcf, 0xcb, 0xcc, 0xf1, 0xf4, 0xfb, 0xfa, 0x9d, 0x9c, 0xc3, 0x07, 0x1f,
                             0x17, 0xce};
    switch (below(8)) {
    case 0: /* INT n */
        byte(c, 0xcd);
        byte(c, (u8)(one_in(2) ? below(32) : rnd()));
        break;
    case 1: /* far JMP, CALL */
        wide(c, false);
        byte(c, one_in(2) ? 0xea : 0x9a);
        bytes(c, CODE + below(CODE_BYTES), 4);
        bytes(c, 8 * below(ENTRIES) | below(8), 2);
        break;
    case 2: /* the same through memory */
        if (c->bits == 16)
            byte(c, 0x67);
        byte(c, 0xff);
        absolute(c, one_in(2) ? 5 : 3, BUFFER + 16 * below(64));
        break;
    case 3: /* a loop, bounded or not */
        byte(c, one_in(2) ? 0xe2 : 0xeb);
        byte(c, (u8)(0x100 - below(100)));
        break;
    case 4: /* SYSENTER, SYSEXIT, SYSCALL, SYSRET, RSM */
        byte(c, 0x0f);
        byte(c, (const u8[]){0x34, 0x35, 0x05, 0x07, 0xaa}[below(5)]);
        break;
    case 5: /* a segment register */
        mov_imm(c, RAX, 8 * below(ENTRIES) | below(8));
        byte(c, 0x8e);
        byte(c, (u8)(0xc0 | below(6) << 3));
        break;
    default: byte(c, one[below(ARRAY_SIZE(one))]);
    }
}

/* Stores into the code around, by single stores or by a string. */
static void put_rewrite(struct code *c)
{
    u32 at = CODE + below(CODE_BYTES);
    if (one_in(3)) {
        mov_imm(c, RDI, at);
        mov_imm(c, RCX, below(300));
        byte(c, one_in(2) ? 0xf3 : 0x90);
        byte(c, one_in(2) ? 0xaa : 0xa4);
        return;
    }
    if (c->bits == 16)
        byte(c, 0x67);
    byte(c, 0xc6);
    absolute(c, 0, at);
    byte(c, (u8)rnd());
}

static void put_firmware(struct code *c)
{
    if (one_in(2)) { /* PCI configuration */
        mov_imm(c, RAX, 0x80000000 | below(6) << 11 | below(4) << 8 | (below(256) & 0xfc));
        mov_imm(c, RDX, 0xcf8);
        wide(c, false);
        byte(c, 0xef);
        mov_imm(c, RAX, one_in(2) ? (u32)rnd() : ~0u);
        mov_imm(c, RDX, 0xcfc + below(4));
        wide(c, false);
        byte(c, (u8)(0xec | below(4)));
        return;
    }
    /* fw_cfg's DMA: the low half of the descriptor's address starts it, big-endian. */
    mov_imm(c, RAX, __builtin_bswap32(BUFFER + 16 * below(64)));
    mov_imm(c, RDX, 0x518);
    wide(c, false);
    byte(c, 0xef);
}

/* Any opcode of any map, with prefixes. */
static void put_opcode(struct code *c)
{
    static const u8 prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x64, 0x65, 0x48};
    for (unsigned n = one_in(2) ? 0 : below(4); n; n--)
        byte(c, prefixes[below(ARRAY_SIZE(prefixes))]);
    switch (below(6)) {
    case 0: byte(c, (u8)rnd()); break;
    case 1: bytes(c, 0x380f | rnd() << 16, 3); break;
    case 2: bytes(c, 0x3a0f | rnd() << 16, 3); break;
    case 3: bytes(c, 0xc4 | rnd() << 8, 4); break;
    case 4: byte(c, (u8)(0xd8 + below(8))); break;
    default: bytes(c, 0x0f | rnd() << 8, 2); break;
    }
    bytes(c, rnd(), 1 + below(6));
}

static void fill_code(struct code *c)
{
    static void (*const put[])(struct code *) = {put_port, put_mmio, put_msr, put_control,
                                                 put_system, put_transfer, put_rewrite,
                                                 put_firmware, put_opcode, put_opcode, put_opcode};
    bool noise = one_in(8);
    while (c->p < c->end) {
        if (noise || one_in(12))
            bytes(c, rnd(), 8);
        else
            put[below(ARRAY_SIZE(put))](c);
    }
}

/* ---- tables ---- */

/* Any descriptor; mostly usable. */
static u64 rnd_descriptor(enum hostile_mode mode)
{
    static const u8 types[] = {0x9b, 0xfb, 0x93, 0xf3, 0x9f, 0x97, 0x89, 0xe9, 0x82, 0x8c, 0xec, 0xe5,
                               0x81, 0x8b};
    u64 type = one_in(6) ? rnd() & 0xff : types[below(ARRAY_SIZE(types))];
    u64 flags = one_in(4) ? below(16) : mode == HOSTILE_PROT16 ? 0 : 12;
    if (mode >= HOSTILE_COMPAT && (type & 0x18) == 0x18 && one_in(2))
        flags = 10;
    u64 base = type & 0x10 ? one_in(8) ? rnd() & 0xffffffff : 0
                           : (u64)(TSS_AT + 0x100 * below(8));
    u64 limit = one_in(8) ? rnd() & 0xfffff : 0xfffff;
    if ((type & 0x17) == 4) /* call and task gates: offset and selector instead */
        return (CODE & 0xffff) | (u64)(8 * below(ENTRIES) | below(4)) << 16 | type << 40 |
               (u64)(CODE >> 16) << 48;
    return (limit & 0xffff) | (base & 0xffffff) << 16 | type << 40 | (limit >> 16) << 48 |
           flags << 52 | (base >> 24) << 56;
}

/* What handlers of exceptions need to be reached; the rest is luck. */
static void fill_first_descriptors(u8 *gdt, enum hostile_mode mode)
{
    u64 code = mode >= HOSTILE_COMPAT ? 0x00af9b000000ffffull
               : mode <= HOSTILE_PROT16 ? 0x008f9b000000ffffull
                                        : 0x00cf9b000000ffffull;
    const u64 first[] = {0, code, code | 3ull << 45, 0x00cf93000000ffffull, 0x00cff3000000ffffull};
    for (unsigned i = 1; i < ARRAY_SIZE(first); i++)
        if (!one_in(16))
            store_le(gdt + 8 * i, first[i], 8);
}

static void fill_tables(u8 *ram, enum hostile_mode mode)
{
    bool lma = mode >= HOSTILE_COMPAT;
    for (unsigned i = 1; i < ENTRIES; i++) {
        store_le(ram + GDT_AT + 8 * i, rnd_descriptor(mode), 8);
        store_le(ram + LDT_AT + 8 * i, rnd_descriptor(mode), 8);
    }
    fill_first_descriptors(ram + GDT_AT, mode);
    for (unsigned v = 0; v < 256; v++) {
        u64 to = CODE + below(CODE_BYTES), type = one_in(8) ? rnd() & 0xff : one_in(8) ? 0xe5 : 0xee;
        u64 gate = (to & 0xffff) | (u64)(8 * (one_in(16) ? below(ENTRIES) : 1)) << 16 | type << 40 | (to >> 16) << 48;
        store_le(ram + IDT_AT + (lma ? 16 : 8) * v, gate, 8);
        if (lma)
            store_le(ram + IDT_AT + 16 * v + 8, one_in(16) ? rnd() : 0, 8);
        store_le(ram + IVT + 4 * v, one_in(2) ? (CODE >> 4) << 16 | below(CODE_BYTES) : rnd(), 4);
    }
    for (unsigned i = 0; i < 0x800; i += 4)
        store_le(ram + TSS_AT + i, one_in(3) ? STACK_AT + below(0x1000) : (u32)rnd(), 4);
    if (lma)
        store_le(ram + TSS_AT + 4, STACK_AT + 0x800, 8);
    else
        store_le(ram + TSS_AT + 4, (STACK_AT + 0x800) | 0x18ull << 32, 8);
    for (unsigned i = 0; i < 0x1000; i += 8) {
        u64 v = one_in(3) ? rnd() : one_in(2) ? rnd_physical() : below(0x1000);
        store_le(ram + BUFFER + i, one_in(4) ? __builtin_bswap64(v) : v, 8);
        store_le(ram + STACK_AT + i, one_in(2) ? CODE + below(CODE_BYTES) : below(ENTRIES) * 8, 8);
    }
}

static u64 rnd_pte(u64 address, bool large)
{
    u64 e = address | 0x27 | (large ? 0x80 : 0);
    if (one_in(40))
        e ^= 1ull << below(64);
    return one_in(200) ? rnd() : e;
}

/* Identity for all 4 GiB, with errors. */
static void fill_pages(u8 *ram, enum hostile_mode mode)
{
    u8 *t = ram + PAGES;
    if (mode == HOSTILE_PAGING32 || mode == HOSTILE_V86) {
        for (u64 i = 0; i < 1024; i++)
            store_le(t + 4 * i, rnd_pte(i << 22, true), 4);
        return;
    }
    bool four = mode >= HOSTILE_COMPAT;
    u64 pdpt = PAGES + 0x1000, pd = PAGES + 0x2000;
    memset(t, 0, 0x2000);
    if (four)
        store_le(t, rnd_pte(pdpt, false), 8);
    for (u64 i = 0; i < 4; i++) /* the PDPTEs of PAE have few bits */
        store_le(ram + (four ? pdpt : (u64)PAGES) + 8 * i,
                 four ? rnd_pte(pd + 0x1000 * i, false) : (pd + 0x1000 * i) | 1, 8);
    for (u64 i = 0; i < 2048; i++)
        store_le(ram + pd + 8 * i, rnd_pte(i << 21, true), 8);
}

/* ---- the vCPU ---- */

static void set_segment(struct cpu *cpu, enum sreg seg, u16 selector, u64 base, u32 limit, u16 attr)
{
    cpu->seg[seg] = (struct segment){.base = base, .limit = limit, .selector = selector,
                                     .attr = attr};
}

static void set_paragraphs(struct cpu *cpu, bool v86)
{
    u16 attr = SEG_P | SEG_S | SEG_RW | SEG_A | (v86 ? SEG_DPL : 0);
    for (unsigned s = SEG_ES; s <= SEG_GS; s++) {
        u16 sel = s == SEG_CS ? CODE >> 4 : s == SEG_SS ? STACK_AT >> 4 : (u16)rnd();
        u32 limit = one_in(8) && !v86 ? 0xffffffff : 0xffff; /* unreal mode */
        set_segment(cpu, (enum sreg)s, sel, (u64)sel << 4, s == SEG_CS ? 0xffff : limit, attr);
    }
    cpu->rip = below(CODE_BYTES);
    cpu->gpr[RSP] = 0x800;
}

static void set_flat(struct cpu *cpu, enum hostile_mode mode)
{
    u16 dpl = cpu->cpl == 3 ? SEG_DPL : 0, size = mode == HOSTILE_PROT16 ? 0 : SEG_DB;
    u16 attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_G | dpl;
    for (unsigned s = SEG_ES; s <= SEG_GS; s++)
        set_segment(cpu, (enum sreg)s, (u16)(cpu->cpl ? 0x23 : 0x18), 0, ~0u, attr | size);
    set_segment(cpu, SEG_CS, (u16)(cpu->cpl ? 0x13 : 0x08), 0, ~0u,
                attr | SEG_CODE | (mode == HOSTILE_LONG ? SEG_L : size));
    cpu->rip = CODE + below(CODE_BYTES);
    cpu->gpr[RSP] = STACK_AT + 0x800;
}

static void set_control(struct cpu *cpu, enum hostile_mode mode)
{
    bool paging = mode >= HOSTILE_PAGING32 || (mode == HOSTILE_V86 && one_in(2));
    cpu->cr0 = CR0_ET | CR0_NE | (mode != HOSTILE_REAL ? CR0_PE : 0) | (paging ? CR0_PG : 0) |
               (one_in(2) ? CR0_WP : 0) | (one_in(3) ? CR0_AM : 0);
    cpu->cr3 = PAGES;
    cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PSE | CR4_OSXSAVE |
               (mode >= HOSTILE_PAE ? CR4_PAE : 0) | (mode == HOSTILE_V86 && one_in(2) ? CR4_VME : 0);
    cpu->efer = mode >= HOSTILE_COMPAT ? EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE : 0;
    cpu->xcr0 = 3;
    cpu->gdt = (struct desc_table){GDT_AT, 8 * ENTRIES - 1};
    cpu->idt = (struct desc_table){mode == HOSTILE_REAL ? IVT : IDT_AT,
                                   mode == HOSTILE_REAL ? 0x3ff : 0xfff};
    set_segment(cpu, SEG_TR, 0x30, TSS_AT, 0x67 + below(0x200), SEG_P | 0xb);
    set_segment(cpu, SEG_LDTR, 0x38, LDT_AT, 8 * ENTRIES - 1, SEG_P | 2);
}

void hostile_prepare(u8 *ram, u64 size, struct cpu *cpu, enum hostile_mode mode)
{
    bool sixteen = mode <= HOSTILE_PROT16;
    struct code c = {ram + CODE, ram + CODE + CODE_BYTES,
                     sixteen ? 16 : mode == HOSTILE_LONG ? 64 : 32};
    fill_code(&c);
    c = (struct code){ram + SMM_CODE, ram + SMM_CODE + 0x200, 16};
    fill_code(&c);
    fill_tables(ram, mode);
    fill_pages(ram, mode);
    cpu_reset(cpu, false);
    for (unsigned i = 0; i < 16; i++)
        cpu->gpr[i] = one_in(2) ? rnd_physical() : rnd_value();
    cpu->eflags = FL_FIXED | (rnd() & (FL_ARITH | FL_DF | FL_IOPL)) | (one_in(2) ? FL_IF : 0) |
                  (one_in(16) ? FL_TF : 0) | (one_in(8) ? FL_AC : 0) | (one_in(8) ? FL_NT : 0);
    set_control(cpu, mode);
    cpu->cpl = mode == HOSTILE_V86 ? 3 : mode == HOSTILE_REAL ? 0 : one_in(2) ? 3 : 0;
    if (mode == HOSTILE_V86)
        cpu->eflags |= FL_VM;
    if (mode <= HOSTILE_V86)
        set_paragraphs(cpu, mode == HOSTILE_V86);
    else
        set_flat(cpu, mode);
    cpu_loaded(cpu);
}

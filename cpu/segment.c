/* Segmentation: descriptor tables, loading of segment registers with all checks, LAR, LSL, VERR,
 * VERW, LLDT, LTR.  SDM vol. 3A chapters 3 and 5; error codes from vol. 2, MOV.
 */
#include "cpu/system.h"

/* Descriptor bytes 0-7 to base, limit in bytes, attributes (SDM vol. 3A 3.4.5). */
static void desc_decode(struct descriptor *d)
{
    u64 r = d->raw;
    u32 limit = (u32)(r & 0xffff) | (u32)(r >> 32 & 0xf0000);
    d->seg.attr = (u16)(r >> 40 & 0xf0ff);
    d->seg.limit = d->seg.attr & SEG_G ? limit << 12 | 0xfff : limit;
    d->seg.base = (r >> 16 & 0xffffff) | (r >> 56) << 24;
    if (!(d->seg.attr & SEG_S))
        d->seg.base |= d->high << 32;
}

u64 gate_offset(const struct descriptor *d)
{
    unsigned type = desc_type(d);
    u64 low = d->raw & 0xffff;
    if (type == DT_CALL16 || type == DT_INTR16 || type == DT_TRAP16)
        return low;
    return low | (d->raw >> 32 & 0xffff0000u) | d->high << 32;
}

static bool table_entry(const struct cpu *cpu, u16 sel, unsigned bytes, u64 *la)
{
    u64 base = cpu->gdt.base, limit = cpu->gdt.limit;
    unsigned index = sel & 0xfff8u;
    if (sel & 4) {
        const struct segment *ldt = &cpu->seg[SEG_LDTR];
        if (!(ldt->attr & SEG_P))
            return false;
        base = ldt->base;
        limit = ldt->limit;
    }
    *la = base + index;
    if (!cpu_lma(cpu))
        *la = (u32)*la;
    return index + bytes - 1 <= limit;
}

void desc_read_at(struct cpu *cpu, u64 la, bool wide, struct descriptor *d)
{
    d->la = la;
    d->raw = cpu_load_system(cpu, la, 8);
    d->high = wide ? cpu_load_system(cpu, la + 8, 8) : 0;
    desc_decode(d);
}

bool desc_read(struct cpu *cpu, u16 sel, struct descriptor *d)
{
    u64 la;
    if (!table_entry(cpu, sel, 8, &la))
        return false;
    desc_read_at(cpu, la, false, d);
    return true;
}

bool desc_read_upper(struct cpu *cpu, u16 sel, struct descriptor *d)
{
    u64 la;
    if (!cpu_lma(cpu))
        return true;
    if (!table_entry(cpu, sel, 16, &la))
        return false;
    d->high = cpu_load_system(cpu, la + 8, 8);
    desc_decode(d);
    return true;
}

void desc_set_accessed(struct cpu *cpu, struct descriptor *d)
{
    if (d->seg.attr & SEG_A)
        return;
    cpu_store_system(cpu, d->la + 5, 1, (d->raw >> 40 & 0xff) | SEG_A);
    d->raw |= 1ull << 40;
    d->seg.attr |= SEG_A;
}

void desc_set_busy(struct cpu *cpu, u16 sel, bool busy)
{
    u64 la;
    if (!table_entry(cpu, sel, 8, &la))
        return;
    u64 v = cpu_load_system(cpu, la + 5, 1);
    cpu_store_system(cpu, la + 5, 1, busy ? v | 2 : v & ~2ull);
}

void seg_install(struct cpu *cpu, enum sreg seg, u16 sel, const struct segment *hidden)
{
    struct segment *s = &cpu->seg[seg];
    s->base = hidden->base;
    s->limit = hidden->limit;
    s->attr = hidden->attr;
    s->selector = sel;
    cpu_update_segment(cpu, seg);
}

void seg_install_null(struct cpu *cpu, enum sreg seg, u16 sel)
{
    struct segment null = {0};
    seg_install(cpu, seg, sel, &null);
}

void seg_install_paragraph(struct cpu *cpu, enum sreg seg, u16 sel)
{
    struct segment *s = &cpu->seg[seg];
    s->selector = sel;
    s->base = (u64)sel << 4;
    if (cpu_in_vm86(cpu)) { /* SDM vol. 3B 20.2.1: 64 KiB, DPL 3, writable */
        s->limit = 0xffff;
        s->attr = SEG_P | SEG_DPL | SEG_S | SEG_RW | SEG_A;
    }
    cpu_update_segment(cpu, seg);
}

void seg_install_flat(struct cpu *cpu, enum sreg seg, u16 sel, u16 attr)
{
    struct segment flat = {.limit = 0xffffffffu, .attr = attr};
    seg_install(cpu, seg, sel, &flat);
}

/* SDM vol. 2 MOV: "IF SS is loaded". */
static bool check_load_ss(struct cpu *cpu, u16 sel, struct descriptor *d)
{
    if (sel_null(sel)) {
        /* Null is legal in 64-bit mode below CPL 3, with RPL = CPL. */
        if (!cpu_code64(cpu) || cpu->cpl == 3 || (sel & 3) != cpu->cpl)
            cpu_raise_error(cpu, EXC_GP, 0);
        return false;
    }
    seg_check_stack(cpu, sel, cpu->cpl, EXC_GP, 0, d);
    return true;
}

void seg_check_stack(struct cpu *cpu, u16 sel, unsigned dpl, int vector, u32 ext,
                     struct descriptor *d)
{
    if (!desc_read(cpu, sel, d))
        raise_sel(cpu, vector, sel, ext);
    if ((sel & 3u) != dpl || desc_dpl(d) != dpl || !desc_is_stack(d))
        raise_sel(cpu, vector, sel, ext);
    if (!(d->seg.attr & SEG_P))
        raise_sel(cpu, EXC_SS, sel, ext);
}

bool seg_check_load(struct cpu *cpu, enum sreg seg, u16 sel, struct descriptor *d)
{
    if (seg == SEG_SS)
        return check_load_ss(cpu, sel, d);
    if (sel_null(sel))
        return false;
    if (!desc_read(cpu, sel, d))
        raise_sel(cpu, EXC_GP, sel, 0);
    u16 attr = d->seg.attr;
    bool code = attr & SEG_CODE;
    if (!(attr & SEG_S) || (code && !(attr & SEG_RW)))
        raise_sel(cpu, EXC_GP, sel, 0);
    if (!code || !(attr & SEG_DC)) { /* data or non-conforming code */
        if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3u))
            raise_sel(cpu, EXC_GP, sel, 0);
    }
    if (!(attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, 0);
    return true;
}

u64 helper_check_seg(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc;
    u16 sel = (u16)b;
    if (a == SEG_CS)
        cpu_raise(cpu, EXC_UD);
    if (!cpu_paragraphs(cpu) && seg_check_load(cpu, (enum sreg)a, sel, &desc))
        desc_set_accessed(cpu, &desc);
    return 0;
}

u64 helper_load_seg(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc;
    enum sreg seg = (enum sreg)(a & 0xff);
    u16 sel = (u16)b;

    if (seg == SEG_CS || seg > SEG_GS)
        cpu_raise(cpu, EXC_UD);
    if (cpu_paragraphs(cpu)) {
        seg_install_paragraph(cpu, seg, sel);
    } else if (seg_check_load(cpu, seg, sel, &desc)) {
        desc_set_accessed(cpu, &desc);
        seg_install(cpu, seg, sel, &desc.seg);
    } else {
        seg_install_null(cpu, seg, sel);
        if (seg == SEG_SS) /* the CPL lives in SS.DPL on hardware; keep it printable */
            cpu->seg[SEG_SS].attr = (u16)(cpu->cpl << 5);
    }
    if (seg == SEG_SS && !(a >> 8)) {
        cpu->irq_shadow = true;
        cpu->shadow_rip = c;
        debug_shadow(cpu);
    }
    cpu->rip = c;
    cpu_update_hflags(cpu);
    return 0;
}

bool seg_allows(const struct cpu *cpu, const struct segment *s, u64 off, unsigned n, bool store)
{
    u64 last = off + (n ? n - 1 : 0);
    if (cpu->cr0 & CR0_PE) {
        if ((s->attr & (SEG_P | SEG_S)) != (SEG_P | SEG_S))
            return false;
        if (s->attr & SEG_CODE) {
            if (store || !(s->attr & SEG_RW))
                return false;
        } else {
            if (store && !(s->attr & SEG_RW))
                return false;
            if (s->attr & SEG_DC) /* expand-down: above the limit, SDM vol. 3A 3.4.5.1 */
                return off > s->limit && last <= (s->attr & SEG_DB ? 0xffffffffu : 0xffffu);
        }
    }
    return last <= s->limit;
}

u64 helper_segaddr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    const struct segment *s = &cpu->seg[a & 7];
    if (cpu_code64(cpu))
        return a == SEG_FS || a == SEG_GS ? s->base + b : b;
    bool flush = d & 2 && s->attr & SEG_CODE && (u32)b <= s->limit;
    if (!flush && !seg_allows(cpu, s, (u32)b, (unsigned)c, d & 1))
        cpu_raise_mmu(cpu, MMU_NONCANONICAL, a == SEG_SS);
    return (u32)(s->base + b);
}

/* ---- LAR, LSL, VERR, VERW ---- */

/* Types that LAR and LSL accept among system descriptors (SDM vol. 2, LAR table 3-51, LSL 3-58). */
static bool system_type_visible(const struct cpu *cpu, unsigned type, bool lsl)
{
    u32 legacy = lsl ? BIT(DT_TSS16) | BIT(DT_LDT) | BIT(DT_TSS16_BUSY) | BIT(DT_TSS32) |
                           BIT(DT_TSS32_BUSY)
                     : BIT(DT_TSS16) | BIT(DT_LDT) | BIT(DT_TSS16_BUSY) | BIT(DT_CALL16) |
                           BIT(DT_TASK) | BIT(DT_TSS32) | BIT(DT_TSS32_BUSY) | BIT(DT_CALL32);
    u32 lng = BIT(DT_LDT) | BIT(DT_TSS32) | BIT(DT_TSS32_BUSY) | (lsl ? 0 : BIT(DT_CALL32));
    return (cpu_lma(cpu) ? lng : legacy) >> type & 1;
}

/* The descriptor is in its table, of a type asked for, and its privilege lets us see it. */
static bool visible(struct cpu *cpu, u16 sel, struct descriptor *d, bool lsl)
{
    if (sel_null(sel) || !desc_read(cpu, sel, d))
        return false;
    if (!(d->seg.attr & SEG_S)) {
        if (!system_type_visible(cpu, desc_type(d), lsl))
            return false;
    } else if (desc_is_code(d) && desc_conforming(d)) {
        return true;
    }
    return desc_dpl(d) >= cpu->cpl && desc_dpl(d) >= (sel & 3u);
}

static void set_zf(struct cpu *cpu, bool on)
{
    cpu_flags(cpu);
    cpu->eflags = on ? cpu->eflags | FL_ZF : cpu->eflags & ~(u64)FL_ZF;
}

u64 helper_lar(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc;
    if (cpu_paragraphs(cpu))
        cpu_raise(cpu, EXC_UD);
    bool ok = visible(cpu, (u16)a, &desc, b);
    set_zf(cpu, ok);
    if (!ok)
        return 0;
    /* The manual leaves bits 19:16 undefined; processors show the limit's there. */
    return b ? desc.seg.limit : (desc.raw >> 32 & 0x00ffff00u);
}

u64 helper_arpl(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u64 sel = cpu_load(cpu, helper_segaddr(cpu, a, b, 2, 0), 2);
    if ((sel & 3) >= (c & 3))
        return 0;
    cpu_store(cpu, helper_segaddr(cpu, a, b, 2, 1), 2, (sel & ~3ull) | (c & 3));
    return 1;
}

u64 helper_verr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc;
    u16 sel = (u16)a;
    if (cpu_paragraphs(cpu))
        cpu_raise(cpu, EXC_UD);
    bool ok = !sel_null(sel) && desc_read(cpu, sel, &desc) && (desc.seg.attr & SEG_S);
    if (ok) {
        bool code = desc.seg.attr & SEG_CODE, rw = desc.seg.attr & SEG_RW;
        ok = b ? !code && rw : !code || rw;
        if (!(code && desc_conforming(&desc)))
            ok = ok && desc_dpl(&desc) >= cpu->cpl && desc_dpl(&desc) >= (sel & 3u);
    }
    set_zf(cpu, ok);
    return 0;
}

/* ---- LLDT, LTR, SLDT, STR ---- */

u64 helper_lldt(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc;
    u16 sel = (u16)a;
    if (cpu_paragraphs(cpu))
        cpu_raise(cpu, EXC_UD);
    require_cpl0(cpu);
    if (sel_null(sel)) {
        seg_install_null(cpu, SEG_LDTR, sel);
        return 0;
    }
    if ((sel & 4) || !desc_read(cpu, sel, &desc) || !desc_read_upper(cpu, sel, &desc) ||
        (desc.seg.attr & SEG_S) || desc_type(&desc) != DT_LDT || !canonical(desc.seg.base))
        raise_sel(cpu, EXC_GP, sel, 0);
    if (!(desc.seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, 0);
    seg_install(cpu, SEG_LDTR, sel, &desc.seg);
    return 0;
}

u64 helper_ltr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct descriptor desc;
    u16 sel = (u16)a;
    if (cpu_paragraphs(cpu))
        cpu_raise(cpu, EXC_UD);
    require_cpl0(cpu);
    if (sel_null(sel))
        cpu_raise_error(cpu, EXC_GP, 0);
    if ((sel & 4) || !desc_read(cpu, sel, &desc) || (desc.seg.attr & SEG_S))
        raise_sel(cpu, EXC_GP, sel, 0);
    unsigned type = desc_type(&desc);
    if (type != DT_TSS32 && !(type == DT_TSS16 && !cpu_lma(cpu)))
        raise_sel(cpu, EXC_GP, sel, 0);
    if (!(desc.seg.attr & SEG_P))
        raise_sel(cpu, EXC_NP, sel, 0);
    if (!desc_read_upper(cpu, sel, &desc) || !canonical(desc.seg.base))
        raise_sel(cpu, EXC_GP, sel, 0);
    desc_set_busy(cpu, sel, true);
    desc.seg.attr |= 2;
    seg_install(cpu, SEG_TR, sel, &desc.seg);
    return 0;
}

u64 helper_sldt(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if (cpu_paragraphs(cpu))
        cpu_raise(cpu, EXC_UD);
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    return cpu->seg[a ? SEG_TR : SEG_LDTR].selector;
}

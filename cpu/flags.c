/* EFLAGS: the lazy record of the arithmetic flags, the whole image, and the spans and hflags that
 * are derived from flags, segments and control registers.
 */
#include "cpu/system.h"
#include "cpu/x87.h"

/* Parity flag of the low byte (SDM vol. 1, 3.4.3.1). */
static u64 parity(u64 r)
{
    return __builtin_parity((unsigned)r & 0xff) ? 0 : FL_PF;
}

static u64 szp(u64 r, unsigned bits)
{
    u64 top = 1ull << (bits - 1);
    r &= top | (top - 1);
    return (r & top ? FL_SF : 0) | (r ? 0 : FL_ZF) | parity(r);
}

/* Shifts by a count b that is not 0, products (a low, b high), the host's AH:AL form, results of
 * logic.  OF of a shift is as its last step, of count 1, defines it (SDM vol. 2, SAL). */
static u64 lazy_rare(u32 kind, u64 a, u64 b, u64 raw, unsigned bits)
{
    u64 top = 1ull << (bits - 1), mask = top | (top - 1), r, cf;
    s64 sa = sign_extend(a, bits);
    unsigned n = (unsigned)b & 63;
    switch (kind) {
    case LAZY_SHL:
        r = a << n & mask;
        cf = n <= bits ? a >> (bits - n) & 1 : 0;
        return szp(r, bits) | cf | ((!!(r & top) ^ cf) ? FL_OF : 0);
    case LAZY_SHR:
        r = a >> n;
        cf = a >> (n - 1) & 1;
        return szp(r, bits) | cf | ((n == 1 ? a : r << 1 ^ r) & top ? FL_OF : 0);
    case LAZY_SAR:
        r = (u64)(sa >> n) & mask;
        return szp(r, bits) | ((u64)(sa >> (n - 1)) & 1);
    case LAZY_MULU: return szp(a, bits) | (b ? FL_CF | FL_OF : 0);
    case LAZY_MULS:
        return szp(a, bits) | (b != ((u64)(sa >> 63) & mask) ? FL_CF | FL_OF : 0);
    case LAZY_AHF: return (raw >> 8 & 0xd5) | (raw & 1 ? FL_OF : 0);
    default: return szp(a, bits);
    }
}

void cpu_flags(struct cpu *cpu)
{
    u32 kind = cpu->lazy_kind;
    if (kind == LAZY_NONE)
        return;
    unsigned bits = 8u << (kind & 3);
    u64 top = 1ull << (bits - 1), mask = top | (top - 1);
    u64 a = cpu->lazy_a & mask, b = cpu->lazy_b & mask, r, f = 0;
    switch (kind & ~3u) {
    case LAZY_ADD:
        r = (a + b) & mask;
        f = szp(r, bits) | (r < a ? FL_CF : 0) | ((a ^ b ^ r) & FL_AF) |
            ((~(a ^ b) & (a ^ r) & top) ? FL_OF : 0);
        break;
    case LAZY_SUB:
        r = (a - b) & mask;
        f = szp(r, bits) | (a < b ? FL_CF : 0) | ((a ^ b ^ r) & FL_AF) |
            (((a ^ b) & (a ^ r) & top) ? FL_OF : 0);
        break;
    case LAZY_ADD_RES: /* a is the sum */
        f = szp(a, bits) | (a < b ? FL_CF : 0) | (((a - b) ^ b ^ a) & FL_AF) |
            ((~((a - b) ^ b) & ((a - b) ^ a) & top) ? FL_OF : 0);
        break;
    case LAZY_SUB_RES: /* a is the difference */
        r = (a + b) & mask;
        f = szp(a, bits) | (r < b ? FL_CF : 0) | ((r ^ b ^ a) & FL_AF) |
            (((r ^ b) & (r ^ a) & top) ? FL_OF : 0);
        break;
    default:
        f = lazy_rare(kind & ~3u, a, b, cpu->lazy_a, bits);
        break;
    }
    cpu->eflags = (cpu->eflags & ~(u64)FL_ARITH) | f;
    cpu->lazy_kind = LAZY_NONE;
}

u64 cpu_eflags(struct cpu *cpu)
{
    cpu_flags(cpu);
    return cpu->eflags | FL_FIXED;
}

void cpu_set_eflags(struct cpu *cpu, u64 v)
{
    cpu->lazy_kind = LAZY_NONE;
    cpu->eflags = (v & (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_VM | FL_AC |
                        FL_VIF | FL_VIP | FL_ID)) | FL_FIXED | debug_take_rf(cpu, v);
    cpu_update_hflags(cpu);
    cpu_unmask(cpu);
}

u64 helper_flags_materialise(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    cpu_flags(cpu);
    return 0;
}

void cpu_update_segment(struct cpu *cpu, enum sreg seg)
{
    struct segment *s = &cpu->seg[seg];
    u64 end = (u64)s->limit + 1;

    s->span_r = s->span_w = 0;
    if (!(cpu->cr0 & CR0_PE)) {
        /* The type is not looked at in real mode; the hidden limit still is ("unreal"). */
        s->span_r = s->span_w = end;
        return;
    }
    if ((s->attr & (SEG_P | SEG_S)) != (SEG_P | SEG_S))
        return;
    if (s->attr & SEG_CODE) {
        if (s->attr & SEG_RW)
            s->span_r = end;
    } else if (!(s->attr & SEG_DC)) {
        s->span_r = end;
        if (s->attr & SEG_RW)
            s->span_w = end;
    }
}

static bool seg_flat(const struct segment *s)
{
    return s->base == 0 && s->span_w == 1ull << 32;
}

static u32 flat_flags(const struct cpu *cpu)
{
    const struct segment *cs = &cpu->seg[SEG_CS];
    u32 f = 0;
    if (seg_flat(&cpu->seg[SEG_DS]) && seg_flat(&cpu->seg[SEG_ES]) && seg_flat(&cpu->seg[SEG_SS]))
        f |= HF_FLAT;
    if (cs->base == 0 && cs->limit == 0xffffffffu)
        f |= HF_CSFLAT;
    return f;
}

void cpu_update_hflags(struct cpu *cpu)
{
    u16 cs = cpu->seg[SEG_CS].attr;
    u32 f = 0;

    if (cpu_code64(cpu)) {
        /* CS.D and SS.B have no meaning here; left clear so that blocks have one key. */
        f = HF_LONG | HF_FLAT | HF_CSFLAT;
    } else {
        f = flat_flags(cpu) | (cs & SEG_DB ? HF_CS32 : 0) |
            (cpu->seg[SEG_SS].attr & SEG_DB ? HF_SS32 : 0);
    }
    if (cpu->cr0 & CR0_PE)
        f |= HF_PE;
    if (cpu->eflags & FL_VM)
        f |= HF_VM;
    if (cpu->cpl == 3)
        f |= HF_USER;
    if (cpu->cr0 & (CR0_EM | CR0_TS))
        f |= HF_NOFPU | HF_NOSSE;
    if (!(cpu->cr4 & CR4_OSFXSR))
        f |= HF_NOSSE;
    if (~cpu->mxcsr & 0x1f80)
        f |= HF_SSE_EXC;
    if (!(f & HF_NOFPU) && ~cpu->x87.fcw & FSW_EXC)
        f |= HF_X87_EXC;
    if (cpu->eflags & FL_TF)
        f |= HF_TF;
    if ((cpu->cr0 & CR0_AM) && (cpu->eflags & FL_AC) && cpu->cpl == 3)
        f |= HF_ALIGN;
    if ((cpu->cr4 & CR4_OSXSAVE) && (cpu->xcr0 & 6) == 6)
        f |= HF_AVX;
    /* An instruction that runs alone stays alone to its end (cpu_one_done). */
    cpu->hflags = f | (cpu->hflags & HF_ONE);
    enum mmu_kind kind = cpu_mmu_kind(cpu);
    if (kind != cpu->mmu.kind)
        mmu_set_kind(&cpu->mmu, kind);
}

void cpu_set_mxcsr(struct cpu *cpu, u32 v)
{
    cpu->mxcsr = v;
    cpu->guest_mxcsr_host = v | 0x1f80; /* the host must not trap: masks all set */
    cpu->hflags = (cpu->hflags & ~(u32)HF_SSE_EXC) | (~v & 0x1f80 ? HF_SSE_EXC : 0);
}

void cpu_x87_loaded(struct cpu *cpu)
{
    bool unmasked = !(cpu->hflags & HF_NOFPU) && ~cpu->x87.fcw & FSW_EXC;
    cpu->hflags = (cpu->hflags & ~(u32)HF_X87_EXC) | (unmasked ? HF_X87_EXC : 0);
    if (unlikely(cpu->ferr) && !(cpu->x87.fsw & FSW_ES)) {
        cpu->ferr = false;
        cpu->irq->set_ferr(cpu->irq_opaque, false);
    }
}

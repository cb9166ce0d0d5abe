/* FXSAVE, FXRSTOR and the XSAVE family: images of x87, SSE and AVX state and PKRU (SDM vol. 1,
 * 10.5 and chapter 13).
 *
 * Touches x87, XMM registers and MXCSR of struct cpu, and guest memory.
 *
 * FIP, FDP and FOP are written as AMD processors do: those of the last instruction while an
 * unmasked exception is pending, else zero (APM vol. 2, 11.4.4); so that nothing has to keep them
 * exact between.  FNSTENV and FNSAVE always store them.  Left out: the fast form of FXSAVE
 * (EFER.FFXSR), supervisor components (IA32_XSS is 0), which makes XSAVES the XSAVEC of CPL 0.
 */
#include "cpu/cpu.h"
#include "cpu/helpers.h"
#include "cpu/simd.h"
#include "cpu/system.h"
#include "cpu/x87.h"

enum {
    OFF_MXCSR = 24, OFF_ST = 32, OFF_XMM = 160, OFF_HEADER = 512, OFF_AVX = 576,
    OFF_PKRU = 832, LEGACY_BYTES = 416, AVX_BYTES = 256, PKRU_BYTES = 8,
};
enum {
    XS_X87 = 1, XS_SSE = 2, XS_AVX = 4, XS_PKRU = 512,
    XS_KNOWN = XS_X87 | XS_SSE | XS_AVX | XS_PKRU,
};
#define XCOMP_COMPACT BIT64(63)

/* XMM registers that exist in the current mode: the others keep their place in the image. */
static unsigned xmm_count(const struct cpu *cpu)
{
    return cpu->hflags & HF_LONG ? 16 : 8;
}

/* Control part: bytes 0 to 23. */
static void store_control(const struct cpu *cpu, u8 *image, bool wide)
{
    const struct x87 *x = &cpu->x87;
    bool pending = x->fsw & FSW_ES;
    u64 fip = pending ? x->fip : 0, fdp = pending ? x->fdp : 0;
    memset(image, 0, 24);
    store_le(image, x->fcw, 2);
    store_le(image + 2, x->fsw, 2);
    image[4] = x->ftw;
    store_le(image + 6, pending ? x->fop : 0, 2);
    if (wide) {
        store_le(image + 8, fip, 8);
        store_le(image + 16, fdp, 8);
    } else {
        store_le(image + 8, fip, 4);
        store_le(image + 12, pending ? x->fcs : 0, 2);
        store_le(image + 16, fdp, 4);
        store_le(image + 20, pending ? x->fds : 0, 2);
    }
}

static void load_control(struct cpu *cpu, const u8 *image, bool wide)
{
    struct x87 *x = &cpu->x87;
    x->fcw = (u16)((load_le(image, 2) & 0x1f3f) | 0x40);
    x->fsw = (u16)load_le(image + 2, 2);
    x->ftw = image[4];
    x->fop = load_le(image + 6, 2) & 0x7ff;
    x->fip = load_le(image + 8, wide ? 8 : 4);
    x->fdp = load_le(image + 16, wide ? 8 : 4);
    x->fcs = wide ? 0 : (u16)load_le(image + 12, 2);
    x->fds = wide ? 0 : (u16)load_le(image + 20, 2);
    x87_summary(x);
    cpu_x87_loaded(cpu);
}

static void store_registers(const struct cpu *cpu, u8 *image)
{
    for (unsigned i = 0; i < 8; i++) {
        const struct fpreg *r = &cpu->x87.r[x87_phys(&cpu->x87, i)];
        memset(image + 16 * i, 0, 16);
        store_le(image + 16 * i, r->mant, 8);
        store_le(image + 16 * i + 8, r->sexp, 2);
    }
}

static void load_registers(struct cpu *cpu, const u8 *image)
{
    for (unsigned i = 0; i < 8; i++) {
        struct fpreg *r = &cpu->x87.r[x87_phys(&cpu->x87, i)];
        r->mant = load_le(image + 16 * i, 8);
        r->sexp = (u16)load_le(image + 16 * i + 8, 2);
    }
}

static void store_xmm(const struct cpu *cpu, u8 *image)
{
    for (unsigned i = 0; i < xmm_count(cpu); i++)
        memcpy(image + 16 * i, cpu->xmm[i].b, 16);
}

static void load_xmm(struct cpu *cpu, const u8 *image)
{
    for (unsigned i = 0; i < xmm_count(cpu); i++)
        memcpy(cpu->xmm[i].b, image + 16 * i, 16);
}

static void check_aligned(struct cpu *cpu, u64 la, unsigned align)
{
    if (!(la & (align - 1)))
        return;
    if (cpu->hflags & HF_LONG && (s64)la >> 47 != 0 && (s64)la >> 47 != -1)
        cpu_raise_mmu(cpu, MMU_NONCANONICAL, false); /* #SS comes before #GP */
    cpu_raise_error(cpu, EXC_GP, 0);
}

static void check_mxcsr(struct cpu *cpu, u64 v)
{
    if (v & ~(u64)MXCSR_MASK)
        cpu_raise_error(cpu, EXC_GP, 0);
}

/* FXSAVE and FXRSTOR need all 512 bytes, whatever they use of them; processors look at the last one
 * first. */
static void check_image(struct cpu *cpu, u64 la, enum mmu_access access)
{
    check_aligned(cpu, la, 16);
    u64 last = la + OFF_HEADER - 1;
    if (!(cpu->hflags & HF_LONG))
        last = (u32)last;
    enum mmu_status s = mmu_probe(&cpu->mmu, cpu_mmu_kind(cpu), last, 1, access);
    if (s != MMU_OK)
        cpu_raise_mmu(cpu, s, false);
}

u64 helper_fxsave(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u8 image[LEGACY_BYTES];
    check_image(cpu, a, MMU_WRITE);
    store_control(cpu, image, b & 1);
    store_le(image + OFF_MXCSR, cpu->mxcsr, 4);
    store_le(image + OFF_MXCSR + 4, MXCSR_MASK, 4);
    store_registers(cpu, image + OFF_ST);
    store_xmm(cpu, image + OFF_XMM);
    cpu_store_bytes(cpu, a, image, OFF_XMM + 16 * xmm_count(cpu));
    return 0;
}

u64 helper_fxrstor(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u8 image[LEGACY_BYTES];
    check_image(cpu, a, MMU_READ);
    cpu_load_bytes(cpu, a, image, OFF_XMM + 16 * xmm_count(cpu));
    u32 mxcsr = (u32)load_le(image + OFF_MXCSR, 4);
    check_mxcsr(cpu, mxcsr);
    load_control(cpu, image, b & 1);
    load_registers(cpu, image + OFF_ST);
    load_xmm(cpu, image + OFF_XMM);
    cpu_set_mxcsr(cpu, mxcsr);
    cpu->rip = c;
    return 0;
}

/* ---- XSAVE ---- */

static void check_xsave(struct cpu *cpu, u64 la, bool supervisor)
{
    if (!(cpu->cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, EXC_UD);
    if (supervisor && cpu->cpl)
        cpu_raise_error(cpu, EXC_GP, 0);
    if (cpu->cr0 & CR0_TS)
        cpu_raise(cpu, EXC_NM);
    check_aligned(cpu, la, 64);
}

/* EDX:EAX limited to what XCR0 enables. */
static u64 requested(const struct cpu *cpu)
{
    u64 mask = (u32)cpu->gpr[RAX] | (u64)(u32)cpu->gpr[RDX] << 32;
    return mask & cpu->xcr0 & XS_KNOWN;
}

u64 cpu_xinuse(const struct cpu *cpu)
{
    const struct x87 *x = &cpu->x87;
    u64 v = 0, any = 0;
    for (unsigned i = 0; i < 8; i++)
        any |= x->r[i].mant | x->r[i].sexp;
    if (any || x->fcw != 0x37f || x->fsw || x->ftw)
        v |= XS_X87;
    u64 sse = 0, avx = 0;
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        sse |= cpu->xmm[i].q[0] | cpu->xmm[i].q[1];
        avx |= cpu->xmm[i].q[2] | cpu->xmm[i].q[3];
    }
    return v | (sse ? XS_SSE : 0) | (avx ? XS_AVX : 0) | (cpu->pkru ? XS_PKRU : 0);
}

/* Where PKRU lies: in the compacted form behind what the image has before it (13.4.3). */
static unsigned pkru_offset(bool compact, u64 components)
{
    return !compact ? OFF_PKRU : OFF_AVX + (components & XS_AVX ? AVX_BYTES : 0);
}

static void store_avx(const struct cpu *cpu, u64 la)
{
    u8 image[AVX_BYTES];
    for (unsigned i = 0; i < xmm_count(cpu); i++)
        memcpy(image + 16 * i, cpu->xmm[i].b + 16, 16);
    cpu_store_bytes((struct cpu *)cpu, la + OFF_AVX, image, 16 * xmm_count(cpu));
}

static void load_avx(struct cpu *cpu, u64 la)
{
    u8 image[AVX_BYTES];
    cpu_load_bytes(cpu, la + OFF_AVX, image, 16 * xmm_count(cpu));
    for (unsigned i = 0; i < xmm_count(cpu); i++)
        memcpy(cpu->xmm[i].b + 16, image + 16 * i, 16);
}

enum { FORM_WIDE = 1, FORM_OPT = 2, FORM_COMPACT = 4, FORM_SUPERVISOR = 8 };

static void store_components(struct cpu *cpu, u64 la, u64 which, bool mxcsr, bool wide)
{
    u8 image[LEGACY_BYTES];
    if (which & XS_X87) {
        store_control(cpu, image, wide);
        cpu_store_bytes(cpu, la, image, 24);
        store_registers(cpu, image);
        cpu_store_bytes(cpu, la + OFF_ST, image, 128);
    }
    if (mxcsr) {
        store_le(image, cpu->mxcsr, 4);
        store_le(image + 4, MXCSR_MASK, 4);
        cpu_store_bytes(cpu, la + OFF_MXCSR, image, 8);
    }
    if (which & XS_SSE) {
        store_xmm(cpu, image);
        cpu_store_bytes(cpu, la + OFF_XMM, image, 16 * xmm_count(cpu));
    }
    if (which & XS_AVX)
        store_avx(cpu, la);
}

u64 helper_xsave(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    check_xsave(cpu, a, b & FORM_SUPERVISOR);
    u64 rfbm = requested(cpu), used = cpu_xinuse(cpu), which = rfbm;
    bool mxcsr = rfbm & (XS_SSE | XS_AVX);
    if (b & FORM_COMPACT) {
        /* MXCSR counts as part of SSE here (13.10). */
        if (cpu->mxcsr != MXCSR_RESET)
            used |= XS_SSE;
        mxcsr = rfbm & used & XS_SSE;
    }
    if (b & (FORM_OPT | FORM_COMPACT))
        which &= used;
    unsigned size = rfbm & XS_AVX ? OFF_AVX + AVX_BYTES : OFF_AVX;
    unsigned pkru = pkru_offset(b & FORM_COMPACT, rfbm);
    if (rfbm & XS_PKRU)
        size = pkru + PKRU_BYTES;
    enum mmu_status s = mmu_probe(&cpu->mmu, cpu_mmu_kind(cpu), a, size, MMU_WRITE);
    if (s != MMU_OK)
        cpu_raise_mmu(cpu, s, false);
    if (b & FORM_COMPACT) {
        cpu_store(cpu, a + OFF_HEADER, 8, rfbm & used);
        cpu_store(cpu, a + OFF_HEADER + 8, 8, rfbm | XCOMP_COMPACT);
    } else {
        u64 old = cpu_load(cpu, a + OFF_HEADER, 8);
        cpu_store(cpu, a + OFF_HEADER, 8, (old & ~rfbm) | (rfbm & used));
    }
    store_components(cpu, a, which, mxcsr, b & FORM_WIDE);
    if (which & XS_PKRU)
        cpu_store(cpu, a + pkru, 8, cpu->pkru);
    return 0;
}

/* The header's rules (SDM vol. 1, 13.8); raises #GP. */
static void check_header(struct cpu *cpu, const u8 header[64], bool supervisor)
{
    u64 bv = load_le(header, 8), comp = load_le(header + 8, 8);
    bool bad = supervisor && !(comp & XCOMP_COMPACT);
    if (comp & XCOMP_COMPACT) {
        u64 named = comp & ~XCOMP_COMPACT;
        bad |= (named & ~cpu->xcr0) || (bv & ~named);
    } else {
        bad |= comp || (bv & ~cpu->xcr0);
    }
    unsigned first = comp & XCOMP_COMPACT ? 16 : 8, last = comp & XCOMP_COMPACT ? 64 : 24;
    for (unsigned i = first; i < last; i++)
        bad |= header[i] != 0;
    if (bad)
        cpu_raise_error(cpu, EXC_GP, 0);
}

static void reset_component(struct cpu *cpu, u64 which)
{
    if (which & XS_X87) {
        x87_init(&cpu->x87);
        cpu_x87_loaded(cpu);
        memset(cpu->x87.r, 0, sizeof cpu->x87.r);
    }
    for (unsigned i = 0; i < xmm_count(cpu); i++) {
        if (which & XS_SSE)
            memset(cpu->xmm[i].b, 0, 16);
        if (which & XS_AVX)
            memset(cpu->xmm[i].b + 16, 0, 16);
    }
}

u64 helper_xrstor(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u8 legacy[LEGACY_BYTES], header[64];
    check_xsave(cpu, a, b & FORM_SUPERVISOR);
    cpu_load_bytes(cpu, a + OFF_HEADER, header, 64);
    check_header(cpu, header, b & FORM_SUPERVISOR);
    u64 rfbm = requested(cpu), bv = load_le(header, 8), load = rfbm & bv;
    bool compact = load_le(header + 8, 8) & XCOMP_COMPACT;
    unsigned legacy_len = OFF_XMM + 16 * xmm_count(cpu);
    cpu_load_bytes(cpu, a, legacy, legacy_len);
    if (load & XS_AVX) {
        enum mmu_status s = mmu_probe(&cpu->mmu, cpu_mmu_kind(cpu), a + OFF_AVX, AVX_BYTES,
                                      MMU_READ);
        if (s != MMU_OK)
            cpu_raise_mmu(cpu, s, false);
    }
    u32 pkru = 0;
    if (load & XS_PKRU)
        pkru = (u32)cpu_load(cpu, a + pkru_offset(compact, load_le(header + 8, 8)), 4);
    /* MXCSR comes with SSE or AVX in the standard form, with SSE in the compact one. */
    u32 mxcsr = cpu->mxcsr;
    if (compact ? load & XS_SSE : rfbm & (XS_SSE | XS_AVX))
        mxcsr = (u32)load_le(legacy + OFF_MXCSR, 4);
    else if (compact && (rfbm & XS_SSE))
        mxcsr = MXCSR_RESET;
    check_mxcsr(cpu, mxcsr);
    reset_component(cpu, rfbm & ~bv);
    if (load & XS_X87) {
        load_control(cpu, legacy, b & FORM_WIDE);
        load_registers(cpu, legacy + OFF_ST);
    }
    if (load & XS_SSE)
        load_xmm(cpu, legacy + OFF_XMM);
    if (load & XS_AVX)
        load_avx(cpu, a);
    if (rfbm & XS_PKRU)
        cpu_set_pkru(cpu, pkru);
    cpu_set_mxcsr(cpu, mxcsr);
    cpu->rip = c;
    return 0;
}

/* x87, MMX and SSE instructions against the host processor: random table rows from random x87 and
 * vector state, natively and lifted, before and after the optimiser's passes; all registers, tags,
 * condition codes, sticky flags, flags and memory must agree, and the state comes out through
 * FXSAVE on both sides.
 *
 * Not compared: what a faulting instruction leaves (only that both fault).  The instruction and
 * data pointers of FNSTENV and FNSAVE have a test of their own, after each x87 instruction; in
 * random cases the host's are of whatever ran before.
 */
#include <check.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/helpers.h"
#include "cpu/x87.h"
#include "fp_fixture.h"
#include "tests/suite.h"
#include "translator/block.h"
#include "translator/ir_vec.h"
#include "translator/lift.h"

/* ---- random state ---- */

static u64 seed = 0x2545f4914f6cdd1d;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull;
}

static void random_fpreg(u8 *p)
{
    static const struct {
        u64 mant;
        u16 sexp;
    } v[] = {
        {0, 0}, {0, 0x8000}, {1, 0}, {0x8000000000000000, 0}, {0x7fffffffffffffff, 0x8000},
        {0x8000000000000000, 0x3fff}, {0x8000000000000000, 0xbfff}, {0x8000000000000000, 0x7fff},
        {0x8000000000000000, 0xffff}, {0xc000000000000000, 0x7fff}, {0xa000000000000000, 0x7fff},
        {0xc000000000000001, 0xffff}, {0x0000000000000000, 0x7fff}, {0x4000000000000000, 0x7fff},
        {0x4000000000000000, 0x4000}, {0xffffffffffffffff, 0x7ffe}, {0x8000000000000000, 1},
        {0xc90fdaa22168c235, 0x4000}, {0x8000000000000000, 0x403e}, {0xffffffffffffffff, 0x403d},
        {0x8000000000000000, 0xc03e}, {0xc000000000000000, 0x3fff}, {0x8000000000000000, 0x401e},
        {0x8000000000000000, 0x400e}, {0xffff000000000000, 0x400d}, {0x8000000000000000, 0x3ffe},
        {0xffffff8000000000, 0x407e}, {0x8000000000000000, 0x3f81}, {0x8000000000000000, 0x3c01},
        {0xde0b6b3a76400000, 0x403a}, {0x8000000000000000, 0x3ffd}, {0x9a209a84fbcff799, 0x3ffd},
    };
    u64 r = rnd(), mant = rnd(), sexp = 0x3fff - 70 + (rnd() % 140);
    switch (r & 7) {
    case 0:
    case 1:
    case 2:
        mant = v[(r >> 8) % ARRAY_SIZE(v)].mant;
        sexp = v[(r >> 8) % ARRAY_SIZE(v)].sexp;
        break;
    case 3: sexp = rnd() & 0x7fff; break;
    case 4: mant &= ~0ull << (rnd() & 63); break;
    case 5: sexp = 0x3fff - 3 + (rnd() & 7); break;
    default: break;
    }
    if ((r & 7) > 2) {
        mant |= 1ull << 63;
        sexp |= r >> 20 & 0x8000;
    }
    memset(p, 0, 16);
    store_le(p, mant, 8);
    store_le(p + 8, sexp, 2);
}

static void random_xmm(u8 *p)
{
    static const u32 s[] = {0, 0x80000000, 0x3f800000, 0x7f800000, 0xff800000, 0x7fc00000,
                            0x7f812345, 1, 0x007fffff, 0x7f7fffff, 0x4f000000, 0x3fc00000,
                            0x40490fdb, 0xc0000000};
    static const u64 f[] = {0, 0x8000000000000000, 0x3ff0000000000000, 0x7ff0000000000000,
                            0x7ff8000000000000, 0xfff0000000000001, 1, 0x000fffffffffffff,
                            0x7fefffffffffffff, 0x41e0000000000000, 0xc3e0000000000000,
                            0x3ff8000000000000, 0x36a0000000000000, 0x47efffffe0000000};
    unsigned kind = rnd() % 5;
    for (unsigned k = 0; k < 16; k += 4)
        store_le(p + k, kind == 0 ? s[rnd() % ARRAY_SIZE(s)] : (u32)rnd(), 4);
    for (unsigned k = 0; k < 16 && kind == 1; k += 8)
        store_le(p + k, f[rnd() % ARRAY_SIZE(f)], 8);
    if (kind == 2) {
        for (unsigned k = 0; k < 16; k++)
            p[k] = (u8) "\x00\x01\x7f\x80\xff\x61\x62\x10"[rnd() & 7];
    } else if (kind == 3) {
        store_le(p, rnd() & 31, 8);
    }
}

/* An FXSAVE image that FXRSTOR takes. */
static void random_image(u8 image[512])
{
    u64 r = rnd();
    memset(image, 0, 512);
    u16 fcw = 0x7f | (r & 0xf00);
    if ((fcw & 0x300) == 0x100) /* reserved precision */
        fcw |= 0x300;
    if ((r >> 16 & 3) == 0) /* some exceptions unmasked */
        fcw &= (u16)~(rnd() & 0x3f);
    u16 fsw = (u16)(rnd() & 0x7f00);
    if (r >> 18 & 1)
        fsw |= rnd() & 0x7f;
    if ((r >> 19 & 7) != 0) /* mostly nothing pending */
        fsw &= (u16) ~(~fcw & 0x3f);
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    store_le(image, fcw, 2);
    store_le(image + 2, fsw, 2);
    image[4] = (u8)(r >> 24 & 3 ? (r >> 26 & 1 ? 0xff : rnd() | rnd() | rnd()) : rnd() & rnd());
    if ((r >> 27 & 3) == 0) /* a stack in good order: ST(0) to ST(k) */
        image[4] = (u8)(0xff << (fsw >> 11 & 7));
    u32 mxcsr = 0x1f80 | (u32)(rnd() & 0xe07f);
    if (r >> 30 & 1)
        mxcsr &= ~0x8040u;
    if ((r >> 31 & 7) == 0)
        mxcsr &= ~(u32)(rnd() & 0x1f80);
    store_le(image + 24, mxcsr, 4);
    store_le(image + 28, 0xffff, 4);
    for (unsigned i = 0; i < 8; i++)
        random_fpreg(image + 32 + 16 * i);
    for (unsigned i = 0; i < (silicon.mode == 64 ? 16 : 8); i++)
        random_xmm(image + 160 + 16 * i);
}

static void image_to_cpu(const u8 *image)
{
    struct x87 *x = &vcpu.x87;
    memset(x, 0, sizeof *x);
    memset(vcpu.xmm, 0, sizeof vcpu.xmm);
    x->fcw = (u16)load_le(image, 2);
    x->fsw = (u16)load_le(image + 2, 2);
    x->ftw = image[4];
    x->fop = (u32)load_le(image + 6, 2);
    x->fip = load_le(image + 8, 4);
    x->fcs = (u16)load_le(image + 12, 2);
    x->fdp = load_le(image + 16, 4);
    x->fds = (u16)load_le(image + 20, 2);
    for (unsigned i = 0; i < 8; i++) {
        struct fpreg *r = &x->r[((x->fsw >> 11) + i) & 7];
        r->mant = load_le(image + 32 + 16 * i, 8);
        r->sexp = (u16)load_le(image + 32 + 16 * i + 8, 2);
    }
    for (unsigned i = 0; i < 16; i++)
        memcpy(&vcpu.xmm[i], image + 160 + 16 * i, 16);
    vcpu.mxcsr = (u32)load_le(image + 24, 4);
}

/* ---- cases ---- */

enum {
    IMG_IN = 0, IMG_OUT = 512, IMG_HOST = 1024, WORK = 2048, /* within silicon.data */
    WORK_BYTES = SILICON_DATA - WORK,
};

/* The host and its kernel have XSAVE and XSAVEC. */
static bool host_xsave;

static bool is_xsave(unsigned op)
{
    switch (op) {
    case OP_xsave: case OP_xsave64: case OP_xsaveopt: case OP_xsaveopt64: case OP_xsavec:
    case OP_xsavec64: case OP_xrstor: case OP_xrstor64:
        return true;
    default: return false;
    }
}

/* Whose last bit differs from processor to processor: test_x87_soft.c compares those. */
static bool is_transcendental(unsigned op)
{
    return op == OP_f2xm1 || op == OP_fyl2x || op == OP_fyl2xp1 || op == OP_fptan ||
           op == OP_fpatan || op == OP_fsin || op == OP_fcos || op == OP_fsincos;
}

static bool candidate(const struct insn *in)
{
    if (is_xsave(in->op))
        return host_xsave;
    if (in->row->props & (ROW_SYSTEM | ROW_BRANCH | ROW_PRIV))
        return false;
    switch (in->row->isa) {
    case ISA_X87:
    case ISA_MMX:
    case ISA_SSE:
    case ISA_SSE2:
    case ISA_SSE3:
    case ISA_SSSE3:
    case ISA_SSE41:
    case ISA_SSE42:
    case ISA_FXSR: break;
    case ISA_CMOV:
        if (in->op == OP_cmovcc)
            return false;
        break;
    default: return in->op == OP_wait;
    }
    if (!CONFIG_X87_HOST && is_transcendental(in->op))
        return false;
    switch (in->op) {
    case OP_prefetchnta: case OP_prefetcht0: case OP_prefetcht1: case OP_prefetcht2:
    case OP_sfence: case OP_lfence: case OP_mfence: case OP_pause: case OP_crc32: case OP_movnti:
    case OP_clflush:
        return false;
    default: return true;
    }
}

/* Bytes that may start a candidate. */
static unsigned random_insn(u8 *p)
{
    unsigned n = 0;
    u64 r = rnd();
    if (r & 1) {
        if ((r >> 12 & 7) == 0)
            p[n++] = 0x66;
        p[n++] = (u8)(0xd8 | (r >> 1 & 7));
        p[n++] = (u8)(r >> 4);
    } else {
        static const u8 prefix[] = {0x66, 0xf3, 0xf2};
        if (r >> 1 & 3)
            p[n++] = prefix[(r >> 3) % 3];
        if (silicon.mode == 64 && (r >> 8 & 1))
            p[n++] = 0x40 | (r >> 9 & 15);
        p[n++] = 0x0f;
        if ((r >> 13 & 3) == 0)
            p[n++] = r >> 15 & 1 ? 0x38 : 0x3a;
    }
    for (unsigned k = n; k < n + 10; k++)
        p[k] = (u8)rnd();
    if (!(r & 1) && (r >> 16 & 1)) { /* registers only; now and then a shift by an immediate */
        if ((r >> 17 & 7) == 0)
            p[n] = (u8)(0x71 + (r >> 32) % 3);
        p[n + 1] |= 0xc0;
    }
    if ((r >> 20 & 31) == 0)
        p[0] = 0x9b;
    if ((r >> 25 & 31) == 0) { /* state images */
        n = 0;
        if (silicon.mode == 64 && (r >> 30 & 1))
            p[n++] = 0x48;
        p[n++] = 0x0f;
        p[n++] = r >> 31 & 3 ? 0xae : 0xc7;
    }
    return n + 10;
}

static bool has_mem(const struct insn *in)
{
    for (unsigned i = 0; i < in->operands; i++) {
        if (in->opnd[i].kind == OPND_MEM)
            return true;
    }
    return false;
}

static u64 somewhere(void)
{
    u64 la = (u64)(uintptr_t)silicon.data + WORK + 1024 + rnd() % (WORK_BYTES - 2048);
    return rnd() & 7 ? la & ~63ull : rnd() & 1 ? la & ~15ull : la;
}

/* Points the memory operand at the data; false when that cannot be done. */
static bool aim(const struct insn *in, u64 gpr[16])
{
    if (in->op == OP_maskmovq || in->op == OP_maskmovdqu) {
        gpr[RDI] = somewhere();
        return in->addrsize != 2 && !in->seg_override;
    }
    if (!has_mem(in))
        return true;
    if (in->seg == SEG_CS || in->seg >= SEG_FS || in->base == REG_NONE || in->base == REG_RIP ||
        in->base == in->index || in->addrsize == 2)
        return false;
    if (is_xsave(in->op)) { /* the mask must not be an address */
        if (in->base == RAX || in->base == RDX || in->index == RAX || in->index == RDX)
            return false;
        gpr[RAX] = rnd() & 7 ? rnd() & 3 : 0;
        gpr[RDX] = 0;
    }
    u64 index = in->index == REG_NONE ? 0 : gpr[in->index] * in->scale;
    gpr[in->base] = (somewhere() - index - (u64)in->disp) & size_mask(in->addrsize);
    return true;
}

/* op [silicon.data + off] for FXRSTOR (1) and FXSAVE (0). */
static unsigned put_image_op(u8 *p, unsigned reg, unsigned off)
{
    unsigned n = 0;
    u32 la = (u32)(uintptr_t)silicon.data + off;
    if (silicon.mode == 64)
        p[n++] = 0x48;
    p[n++] = 0x0f;
    p[n++] = 0xae;
    p[n++] = (u8)(reg << 3 | (silicon.mode == 64 ? 4 : 5));
    if (silicon.mode == 64)
        p[n++] = 0x25;
    store_le(p + n, la, 4);
    return n + 4;
}

static void print_line(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

static void dump(const char *what, const u8 *image)
{
    fprintf(stderr, "  %s fcw %04x fsw %04x ftw %02x fop %03x fip %llx fdp %llx mxcsr %04x\n", what,
            (unsigned)load_le(image, 2), (unsigned)load_le(image + 2, 2), image[4],
            (unsigned)load_le(image + 6, 2), (unsigned long long)load_le(image + 8, 8),
            (unsigned long long)load_le(image + 16, 8), (unsigned)load_le(image + 24, 4));
    for (unsigned i = 0; i < 8; i++)
        fprintf(stderr, "    st%u %04x:%016llx  xmm%u %016llx%016llx\n", i,
                (unsigned)load_le(image + 40 + 16 * i, 2),
                (unsigned long long)load_le(image + 32 + 16 * i, 8), i,
                (unsigned long long)load_le(image + 168 + 16 * i, 8),
                (unsigned long long)load_le(image + 160 + 16 * i, 8));
}

struct outcome {
    int vector; /* -1: none */
    struct silicon_state st;
    u8 data[SILICON_DATA];
};

static struct outcome want, got;
static u8 code[64];
static unsigned prelude;

static void run_native(const u8 *insn, unsigned len, const struct silicon_state *st)
{
    u8 p[128];
    unsigned n = put_image_op(p, 1, IMG_IN);
    memcpy(p + n, insn, len);
    n += len;
    n += put_image_op(p + n, 0, IMG_OUT);
    n += put_image_op(p + n, 1, IMG_HOST);
    want.st = *st;
    enum silicon_result r = silicon_run(&silicon, p, n, &want.st);
    want.vector = r == SILICON_OK ? -1 : r == SILICON_FPE ? EXC_MF : r == SILICON_ILL ? EXC_UD
                                                                                       : EXC_GP;
    memcpy(want.data, silicon.data, SILICON_DATA);
}

static void run_lifted(const u8 *insn, unsigned len, const struct silicon_state *st, bool opt)
{
    u32 mxcsr = (u32)load_le(silicon.data + IMG_IN + 24, 4);
    u32 hflags = HF_PE | HF_FLAT | HF_CSFLAT | HF_USER;
    hflags |= silicon.mode == 64 ? HF_LONG : HF_CS32 | HF_SS32;
    if ((mxcsr & 0x1f80) != 0x1f80)
        hflags |= HF_SSE_EXC;
    image_to_cpu(silicon.data + IMG_IN);
    memcpy(vcpu.gpr, st->gpr, sizeof vcpu.gpr);
    vcpu.eflags = st->flags;
    vcpu.hflags = hflags;
    vcpu.cr0 = CR0_PE | CR0_NE | CR0_MP;
    vcpu.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    vcpu.xcr0 = 3;
    vcpu.engine = &fp_hooks;
    vcpu.seg[SEG_CS].selector = silicon.mode == 64 ? 0x33 : 0x23;
    vcpu.seg[SEG_DS].selector = vcpu.seg[SEG_ES].selector = vcpu.seg[SEG_SS].selector = 0x2b;
#if defined(__x86_64__)
    if (silicon.mode == 64)
        __asm__("mov %%ds, %0" : "=r"(vcpu.seg[SEG_DS].selector));
#endif
    struct lift_input in = {insn, len, 1};
    ir_reset(&ir, silicon_rip(&silicon) + prelude, 0, hflags);
    ck_assert_uint_eq(lift_block(&vcpu, &ir, &in), 1);
    unsigned where = 0;
    const char *bad = ir_verify(&ir, &where);
    struct opt_counters counters = {0};
    if (!bad && opt) {
        opt_run(&ir, &counters, true);
        bad = ir_verify(&ir, &where);
    }
    if (bad) {
        ir_print(&ir, print_line, NULL);
        ck_abort_msg("op %u: %s", where, bad);
    }
    got.vector = run_block();
    if (got.vector < 0)
        helper_fxsave(&vcpu, (u64)(uintptr_t)silicon.data + IMG_OUT, silicon.mode == 64, 0, 0);
    memcpy(got.st.gpr, vcpu.gpr, sizeof vcpu.gpr);
    got.st.flags = vcpu.eflags;
    memcpy(got.data, silicon.data, SILICON_DATA);
}

/* Offset of the memory operand in the data. */
static u64 operand_offset(const struct insn *in, const struct silicon_state *st)
{
    u64 la = in->base == REG_NONE ? 0 : st->gpr[in->base];
    la += (in->index == REG_NONE ? 0 : st->gpr[in->index] * in->scale) + (u64)in->disp;
    return (la & size_mask(in->addrsize)) - (u64)(uintptr_t)silicon.data;
}

/* What cannot agree is made equal in both. */
static void ignore_differences(const struct insn *in, const struct silicon_state *st)
{
    u64 care = ~(u64)in->row->flags_undefined | FL_ARITH;
    want.st.flags &= care;
    got.st.flags &= care;
    memset(want.data + IMG_OUT + 28, 0, 4); /* MXCSR_MASK: the host may have more bits */
    memset(got.data + IMG_OUT + 28, 0, 4);
    memset(want.data + IMG_OUT + 416, 0, 96);
    memset(got.data + IMG_OUT + 416, 0, 96);
    if (silicon.mode == 32) { /* a task switch of the host, which runs in 64 bits, loses FCS, FDS */
        static const u8 at[] = {12, 20};
        for (unsigned i = 0; i < sizeof at; i++) {
            memset(want.data + IMG_OUT + at[i], 0, 2);
            memset(got.data + IMG_OUT + at[i], 0, 2);
        }
    }
    if (!has_mem(in))
        return;
    u64 off = operand_offset(in, st);
    if (off >= SILICON_DATA - 512)
        return;
    unsigned skip = 0, n = 0;
    if (in->op == OP_fnstenv || in->op == OP_fnsave) {
        skip = in->opsize == 2 ? 6 : 12;
        n = in->opsize == 2 ? 8 : 16;
    } else if (in->op == OP_fxsave || in->op == OP_fxsave64 || is_xsave(in->op)) {
        skip = 28;
        n = 4;
    }
    memset(want.data + off + skip, 0, n);
    memset(got.data + off + skip, 0, n);
}

static bool agree(const struct insn *in, const struct silicon_state *st)
{
    bool faults = want.vector >= 0, fpe = got.vector == EXC_MF || got.vector == EXC_XM;
    if (faults || got.vector >= 0)
        return want.vector == EXC_MF ? fpe
                                     : faults && got.vector >= 0 && !fpe &&
                                           (want.vector == EXC_UD) == (got.vector == EXC_UD);
    ignore_differences(in, st);
    return memcmp(want.data, got.data, SILICON_DATA) == 0 &&
           memcmp(&want.st, &got.st, sizeof want.st) == 0;
}

static void report(const struct insn *in, const struct silicon_state *st, bool opt)
{
    char name[32];
    fprintf(stderr, "%s [%s]%s:", insn_name(in, name), in->row->text, opt ? " optimised" : "");
    for (unsigned i = 0; i < in->len; i++)
        fprintf(stderr, " %02x", code[i]);
    fprintf(stderr, "\n  exception: processor %d, lifted %d\n", want.vector, got.vector);
    dump("before", silicon.data + IMG_IN);
    if (want.vector >= 0 || got.vector >= 0)
        return;
    dump("processor", want.data + IMG_OUT);
    dump("lifted", got.data + IMG_OUT);
    for (unsigned i = 0; i < 17; i++) {
        u64 w = i < 16 ? want.st.gpr[i] : want.st.flags, g = i < 16 ? got.st.gpr[i] : got.st.flags;
        if (w != g)
            fprintf(stderr, "  r%u before %llx processor %llx lifted %llx\n", i,
                    (unsigned long long)(i < 16 ? st->gpr[i] : st->flags), (unsigned long long)w,
                    (unsigned long long)g);
    }
    for (unsigned i = WORK; i < SILICON_DATA; i++) {
        if (want.data[i] != got.data[i])
            fprintf(stderr, "  data+%x processor %02x lifted %02x\n", i, want.data[i],
                    got.data[i]);
    }
}

/* Makes what XRSTOR finds there mostly valid. */
static void xsave_area(u8 *data, u64 off)
{
    if (off >= SILICON_DATA - 1024)
        return;
    random_image(data + off);
    memset(data + off + 512, 0, 64);
    u64 r = rnd();
    data[off + 512] = r & 3;
    if (r >> 8 & 1) { /* compacted */
        data[off + 520] = (u8)((r & 3) | (r >> 16 & 3));
        data[off + 527] = 0x80;
    }
    if ((r >> 32 & 15) == 0) { /* a wrong bit; not that of a component that only the host has */
        unsigned at = 2 + (r >> 40) % 62;
        data[off + 512 + (at == 8 || at == 9 ? 10 : at)] |= (u8)(1u << (r >> 48 & 7));
    }
    if ((r >> 36 & 15) == 0)
        data[off + 26] = 1; /* a reserved bit of MXCSR */
}

static u8 seen[4096];
static unsigned failed_rows;
static u8 row_failed[4096];

static bool one_case(void)
{
    struct insn in;
    struct silicon_state st = {.flags = (rnd() & FL_ARITH) | 0x202};
    unsigned len = random_insn(code);
    static u8 before[SILICON_DATA];
    if (decode(&in, code, len, silicon.mode) != DECODE_OK || !candidate(&in))
        return false;
    for (unsigned i = 0; i < (silicon.mode == 64 ? 16 : 8); i++)
        st.gpr[i] = rnd() & 1 ? rnd() >> (rnd() & 63) : rnd() & 31;
    for (unsigned i = 0; i < 8 && silicon.mode == 32; i++)
        st.gpr[i] = (u32)st.gpr[i];
    if (!aim(&in, st.gpr))
        return false;
    for (unsigned i = WORK; i < SILICON_DATA; i += 16) {
        if (rnd() & 1)
            random_xmm(before + i);
        else
            random_fpreg(before + i);
    }
    random_image(before + IMG_IN);
    if (in.op == OP_ldmxcsr || in.op == OP_fxrstor || in.op == OP_fxrstor64) {
        for (unsigned i = WORK; i < SILICON_DATA; i += 16) {
            store_le(before + i, 0x1f80 | (rnd() & 0xffff), 4);
            store_le(before + i + 8, 0x1f80, 4); /* where FXRSTOR finds MXCSR */
        }
    }
    if (is_xsave(in.op))
        xsave_area(before, operand_offset(&in, &st));
    memcpy(before + IMG_HOST, silicon.data + IMG_HOST, 512);
    memcpy(silicon.data, before, SILICON_DATA);
    prelude = put_image_op((u8[16]){0}, 1, 0);
    run_native(code, in.len, &st);
    for (unsigned opt = 0; opt < 2; opt++) {
        memcpy(silicon.data, before, SILICON_DATA);
        /* The host's own image is no part of the case. */
        memcpy(silicon.data + IMG_HOST, want.data + IMG_HOST, 512);
        run_lifted(code, in.len, &st, opt);
        memcpy(silicon.data, before, SILICON_DATA);
        if (!agree(&in, &st)) {
            if (row_failed[in.row->id % 4096]++ < 2)
                report(&in, &st, opt);
            failed_rows += row_failed[in.row->id % 4096] == 1;
            break;
        }
    }
    seen[in.row->id % sizeof seen] = 1;
    return true;
}

static void list_unseen(void)
{
    const struct opcode_row *const *rows;
    unsigned n = decode_rows(&rows);
    for (unsigned i = 0; i < n; i++) {
        struct insn in = {.row = rows[i], .op = rows[i]->op};
        if (candidate(&in) && !seen[rows[i]->id % sizeof seen])
            printf("  not exercised: %s\n", rows[i]->text);
    }
}

static void compare_mode(unsigned mode, unsigned cases)
{
    if (!silicon_init(&silicon, mode)) {
        printf("no %u-bit mode on this host\n", mode);
        return;
    }
    u8 image[512] __attribute__((aligned(16)));
#if defined(__x86_64__)
    __asm__ volatile("fxsave %0" : "=m"(image));
    unsigned a, b, c, d;
    host_xsave = __get_cpuid_count(1, 0, &a, &b, &c, &d) && (c & bit_OSXSAVE) &&
                 __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a & 3) == 3;
#endif
    memcpy(silicon.data + IMG_HOST, image, 512);
    memset(seen, 0, sizeof seen);
    unsigned done = 0, rows = 0;
    while (done < cases)
        done += one_case();
    for (unsigned i = 0; i < sizeof seen; i++)
        rows += seen[i];
    printf("%u-bit: %u cases, %u table rows\n", mode, done, rows);
    list_unseen();
    ck_assert_msg(failed_rows == 0, "%u table rows differ from the processor", failed_rows);
}

START_TEST(agrees_with_the_processor_64)
{
    compare_mode(64, 150000);
}
END_TEST

START_TEST(agrees_with_the_processor_32)
{
    compare_mode(32, 60000);
}
END_TEST

/* What FNSTENV says after an instruction: op [silicon.data + IMG_OUT]. */
static unsigned put_env_op(u8 *p, unsigned reg, u64 off)
{
    u8 op[] = {0xd9, (u8)(reg << 3 | 4), 0x25};
    memcpy(p, op, sizeof op);
    store_le(p + sizeof op, (u32)(uintptr_t)silicon.data + off, 4);
    return sizeof op + 4;
}

/* One x87 instruction between FLDENV, which sets pointers, and FNSTENV: FOP, FIP, FDP and the
 * selectors (SDM vol. 1, 8.1.8).  True if it was one, and it could be compared. */
static bool one_pointer_case(void)
{
    static const u8 pointers[16] = {0x78, 0x56, 0x34, 0x12, 0x33, 0, 0x65, 7,
                                    0x21, 0x43, 0x65, 0x07, 0x2b, 0};
    static u8 before[SILICON_DATA];
    struct insn in;
    struct silicon_state st = {.flags = 0x202};
    unsigned len = random_insn(code), n;
    if (decode(&in, code, len, 64) != DECODE_OK || !candidate(&in) || in.opcode < 0xd8 ||
        in.opcode > 0xdf || in.row->isa == ISA_MMX || in.op == OP_fldenv || in.op == OP_frstor)
        return false;
    for (unsigned i = 0; i < 16; i++)
        st.gpr[i] = rnd() & 31;
    if (!aim(&in, st.gpr))
        return false;
    random_image(before + IMG_IN);
    store_le(before + IMG_IN, 0x37f, 2);
    store_le(before + IMG_IN + 2, load_le(before + IMG_IN + 2, 2) & 0x3800, 2);
    memcpy(before + IMG_HOST, silicon.data + IMG_HOST, 512);
    memcpy(silicon.data, before, SILICON_DATA);
    image_to_cpu(silicon.data + IMG_IN);
    memset(silicon.data + IMG_OUT, 0, 28);
    store_le(silicon.data + IMG_OUT, 0x37f, 2);
    store_le(silicon.data + IMG_OUT + 4, vcpu.x87.fsw, 2);
    store_le(silicon.data + IMG_OUT + 8, x87_full_tags(&vcpu.x87), 2);
    memcpy(silicon.data + IMG_OUT + 12, pointers, sizeof pointers);
    memcpy(before + IMG_OUT, silicon.data + IMG_OUT, 28);
    u8 p[128];
    n = put_image_op(p, 1, IMG_IN);
    n += put_env_op(p + n, 4, IMG_OUT);
    prelude = n;
    memcpy(p + n, code, in.len);
    n += in.len;
    n += put_env_op(p + n, 6, IMG_OUT);
    n += put_image_op(p + n, 1, IMG_HOST);
    want.st = st;
    if (silicon_run(&silicon, p, n, &want.st) != SILICON_OK)
        return false;
    memcpy(want.data, silicon.data, SILICON_DATA);
    memcpy(silicon.data, before, SILICON_DATA);
    /* AMD's processors lose some or all pointers in a switch to another process: so twice. */
    want.st = st;
    if (silicon_run(&silicon, p, n, &want.st) != SILICON_OK ||
        memcmp(want.data + IMG_OUT, silicon.data + IMG_OUT, 28) != 0)
        return false;
    memcpy(silicon.data, before, SILICON_DATA);
    u8 *image = silicon.data + IMG_IN;
    store_le(image + 6, 0x765, 2);
    memcpy(image + 8, pointers, 4);
    store_le(image + 12, 0x33, 2);
    memcpy(image + 16, pointers + 8, 4);
    store_le(image + 20, 0x2b, 2);
    run_lifted(code, in.len, &st, true);
    if (got.vector >= 0)
        return false;
    helper_x87_env(&vcpu, X87_STENV, (u64)(uintptr_t)silicon.data + IMG_OUT, 1, 0);
    if (memcmp(want.data + IMG_OUT + 12, silicon.data + IMG_OUT + 12, 16) != 0) {
        char name[32];
        fprintf(stderr, "%s [%s]: pointers processor", insn_name(&in, name), in.row->text);
        for (unsigned i = 12; i < 28; i++)
            fprintf(stderr, " %02x", want.data[IMG_OUT + i]);
        fprintf(stderr, " lifted");
        for (unsigned i = 12; i < 28; i++)
            fprintf(stderr, " %02x", silicon.data[IMG_OUT + i]);
        fprintf(stderr, "\n");
        failed_rows++;
    }
    memcpy(silicon.data, want.data, SILICON_DATA);
    return true;
}

START_TEST(pointers_as_the_processor)
{
    if (!silicon_init(&silicon, 64))
        return;
#if defined(__x86_64__)
    u8 image[512] __attribute__((aligned(16)));
    __asm__ volatile("fxsave %0" : "=m"(image));
    memcpy(silicon.data + IMG_HOST, image, 512);
#endif
    for (unsigned done = 0; done < 20000 && failed_rows < 20;)
        done += one_pointer_case();
    ck_assert_uint_eq(failed_rows, 0);
}
END_TEST

/* Images of SDM vol. 1, figures 8-9 to 8-12, byte by byte, and back again. */
START_TEST(environment_formats)
{
    static const u8 real16[14] = {0x7f, 0x02, 0x00, 0x29, 0xff, 0x3f, 0x45, 0x34, 0xd9, 0x17,
                                  0x88, 0x77, 0x00, 0x60};
    static const u8 prot16[14] = {0x7f, 0x02, 0x00, 0x29, 0xff, 0x3f, 0x45, 0x23, 0x11, 0x01,
                                  0x88, 0x66, 0x11, 0x60};
    static const u8 real32[28] = {0x7f, 0x02, 0xff, 0xff, 0x00, 0x29, 0xff, 0xff, 0xff, 0x3f,
                                  0xff, 0xff, 0x45, 0x34, 0xff, 0xff, 0xd9, 0x17, 0x00, 0x00,
                                  0x88, 0x77, 0xff, 0xff, 0x00, 0x60, 0x00, 0x00};
    ck_assert(silicon.data || silicon_init(&silicon, 64));
    u64 la = (u64)(uintptr_t)silicon.data + WORK;
    struct x87 *x = &vcpu.x87;
    memset(&vcpu, 0, sizeof vcpu);
    x->fcw = 0x27f;
    x->fsw = 0x2900; /* TOP 5 */
    x->ftw = 0x80;
    x->r[7] = (struct fpreg){.mant = 1ull << 63, .sexp = 0x3fff};
    x->fop = 0x7d9;
    x->fcs = 0x0111; /* linear 13445: the real formats split it, beside the opcode */
    x->fip = 0x13445 - 0x1110;
    x->fds = 0x6011;
    x->fdp = 0x67788 - 0x60110;
    helper_x87_env(&vcpu, X87_STENV, la, 0, 0);
    ck_assert_mem_eq((void *)(uintptr_t)la, real16, 14);
    x->fcw = 0x27f;
    helper_x87_env(&vcpu, X87_STENV, la, 1, 0);
    ck_assert_mem_eq((void *)(uintptr_t)la, real32, 28);
    vcpu.cr0 = CR0_PE;
    x->fcw = 0x27f;
    x->fip = 0x2345;
    x->fdp = 0x6688;
    helper_x87_env(&vcpu, X87_STENV, la, 0, 0);
    ck_assert_mem_eq((void *)(uintptr_t)la, prot16, 14);
    for (unsigned form = 0; form < 4; form++) { /* FNSAVE and FRSTOR in each format */
        vcpu.cr0 = form & 2 ? CR0_PE : 0;
        x->fcw = 0x27f;
        x->fsw = 0x2900;
        x->ftw = 0x80;
        struct x87 before = *x;
        helper_x87_env(&vcpu, X87_SAVE, la, form & 1, 0);
        ck_assert_uint_eq(x->fcw, 0x37f);
        ck_assert_uint_eq(x->ftw, 0);
        memset(x->r, 0x55, sizeof x->r);
        helper_x87_env(&vcpu, X87_RSTOR, la, form & 1, 0);
        ck_assert_uint_eq(x->fcw, before.fcw);
        ck_assert_uint_eq(x->fsw, before.fsw);
        ck_assert_uint_eq(x->ftw, before.ftw);
        for (unsigned i = 0; i < 8; i++) {
            ck_assert_uint_eq(x->r[i].mant, before.r[i].mant);
            ck_assert_uint_eq(x->r[i].sexp, before.r[i].sexp);
        }
    }
}
END_TEST

/* With underflow or overflow unmasked, PE says whether the result would be inexact if exponents had
 * no bounds (SDM vol. 1, 4.9.1.5), however far below or above them it is.  MXCSR's flags each. */
START_TEST(inexact_beyond_bounds)
{
    enum { DE = 2, OE = 8, UE = 16, PE = 32 };
    static const struct { u8 op, aux, imm; u64 a, b, c; u32 flags; } rows[] = {
        /* op indexes `ops`; imm B9, VFMADD231: a + b * c; BD, VFNMADD231: a - b * c */
        {0, VF_SS, 0xb9, 0, 1, 0x7fffff, DE | UE},            /* 24 bits at 2^-298 */
        {0, VF_SS, 0xbd, 0, 1, 0x7fffff, DE | UE},
        {0, VF_SS, 0xb9, 0, 0x7fffff, 0x7fffff, DE | UE | PE}, /* 46 bits */
        {0, VF_SS, 0xb9, 1, 0x3f800000, 1, DE | UE},          /* 2^-149 twice */
        {0, VF_SS, 0xb9, 1, 1, 1, DE | UE | PE},              /* 2^-149 and 2^-298 */
        {0, VF_SS, 0xbd, 1, 0x3f800000, 3, DE | UE},          /* 1 - 3 */
        {0, VF_SS, 0xb9, 0, 0x7f000000, 0x7f000000, OE},
        {0, VF_SS, 0xb9, 0x3f800000, 0x7f000000, 0x7f000000, OE | PE},
        {0, VF_SD, 0xb9, 0, 1, 0xfffffffffffff, DE | UE},
        {0, VF_SD, 0xb9, 1, 1, 1, DE | UE | PE},
        {0, VF_SD, 0xb9, 0x3ff0000000000000, 0x7fe0000000000000, 0x7fe0000000000000, OE | PE},
        {1, VF_SS, 0, 1, 0x7fffff, 0, DE | UE},               /* a * b */
        {1, VF_SD, 0, 3, 0xfffffffffffff, 0, DE | UE | PE},
        {2, VF_SS, 0, 6, 0x7f400000, 0, DE | UE},             /* 6 / 3 * 2^-275 */
        {2, VF_SS, 0, 1, 0x7f400000, 0, DE | UE | PE},
    };
    static const u16 ops[3] = {IR_fpfma, IR_fpmul, IR_fpdiv};
    vcpu.engine = &fp_hooks;
    vcpu.cr4 |= CR4_OSXMMEXCPT;
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        unsigned w = rows[i].aux == VF_SS ? W32 : W64;
        vcpu.mxcsr = 0x1180; /* O, U unmasked */
        vcpu.xmm[1].q[0] = rows[i].a;
        vcpu.xmm[2].q[0] = rows[i].b;
        vcpu.xmm[3].q[0] = rows[i].c;
        unsigned first = rows[i].op ? 1 : 2;
        u64 what = ir_vec_pack(ops[rows[i].op], w, rows[i].aux, 1, first, first + 1);
        int vector = run_checked(what, rows[i].imm | 1u << 9);
        ck_assert_msg(vector == EXC_XM, "row %u: vector %d", i, vector);
        ck_assert_msg((vcpu.mxcsr & 63) == rows[i].flags, "row %u: %02x", i, vcpu.mxcsr & 63);
    }
}
END_TEST

int main(int argc, char **argv)
{
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 0) | 1;
    Suite *s = suite_create("fp");
    TCase *t = tcase_create("fp");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, agrees_with_the_processor_64);
    tcase_add_test(t, agrees_with_the_processor_32);
    tcase_add_test(t, pointers_as_the_processor);
    tcase_add_test(t, environment_formats);
    tcase_add_test(t, inexact_beyond_bounds);
    suite_add_tcase(s, t);
    return run_suite(s);
}

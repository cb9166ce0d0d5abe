/* x87 operations executed by the host's x87.
 *
 * Touches only the host's x87, which it leaves empty, with the control word it found.  On entry
 * the host's sticky flags may be any subset of the guest's, so that the usual case (precision
 * already flagged, everything masked) needs no FNCLEX.  With an unmasked exception the guest's
 * control word is loaded as it is: the operation then stores, biases or refuses as the manual says,
 * and FNCLEX, which does not wait, takes the pending exception away before the next instruction.
 *
 * Not built for hosts without an x87.
 */
#include "cpu/x87.h"

#define HOST_CW 0x37f

/* How an operation must be run. */
struct mode {
    u16 cw;
    bool careful; /* some exception is unmasked */
};

static inline void load_cw(u16 cw)
{
    __asm__ volatile("fldcw %0" : : "m"(cw));
}

/* Makes the host's flags a subset of sticky and loads cw. */
static inline struct mode begin(u16 cw, u16 sticky)
{
    /* The reserved bit 6 and infinity control read back as loaded; they change nothing. */
    struct mode m = {(u16)((cw & 0xf3f) | 0x40), (~cw & FSW_EXC) != 0};
    u16 sw;
    __asm__ volatile("fnstsw %0" : "=a"(sw));
    if (unlikely(m.careful || (sw & ~sticky & (FSW_EXC | FSW_SF))))
        __asm__ volatile("fnclex");
    if (unlikely(m.cw != HOST_CW))
        load_cw(m.cw);
    return m;
}

static inline void end(struct mode m)
{
    if (unlikely(m.cw != HOST_CW))
        load_cw(HOST_CW);
}

/* FNSTSW goes to memory here: the form to AX would hold up what follows.
 *
 * Runs `text` and takes the status word after it; FNCLEX where it may have left one pending.  The
 * part after that, `store`, unloads the stack. */
#define RUN(m, sw, text, store, outs, ...)                                                         \
    do {                                                                                           \
        if (unlikely((m).careful))                                                                 \
            __asm__ volatile(text "\n fnstsw %[w]\n fnclex\n" store                                \
                             : [w] "=m"(sw), outs                                                  \
                             : __VA_ARGS__                                                         \
                             : "memory");                                                          \
        else                                                                                       \
            __asm__ volatile(text "\n fnstsw %[w]\n" store                                         \
                             : [w] "=m"(sw), outs                                                  \
                             : __VA_ARGS__                                                         \
                             : "memory");                                                          \
    } while (0)

/* dst = dst op src. */
#define ARITH(insn)                                                                                \
    RUN(m, sw, "fldt %[s]\n fldt %[d]\n " insn, "fstpt %[d]\n fstp %%st(0)", [d] "+m"(*dst),       \
        [s] "m"(*src))
#define COMPARE(insn)                                                                              \
    RUN(m, sw, "fldt %[s]\n fldt %[d]\n " insn, "fstp %%st(0)\n fstp %%st(0)", [d] "+m"(*dst),     \
        [s] "m"(*src))

static u16 host_arith(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, const struct fpreg *src)
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    switch (op) {
    case X87_ADD: ARITH("fadd %%st(1), %%st"); break;
    case X87_MUL: ARITH("fmul %%st(1), %%st"); break;
    case X87_SUB: ARITH("fsub %%st(1), %%st"); break;
    case X87_SUBR: ARITH("fsubr %%st(1), %%st"); break;
    case X87_DIV: ARITH("fdiv %%st(1), %%st"); break;
    case X87_DIVR: ARITH("fdivr %%st(1), %%st"); break;
    case X87_UCOM: COMPARE("fucom %%st(1)"); break;
    default: COMPARE("fcom %%st(1)"); break;
    }
    end(m);
    return sw;
}

/* dst = dst op memory operand of the instruction's own format. */
#define ARITH_MEM(insn)                                                                            \
    RUN(m, sw, "fldt %[d]\n " insn " %[s]", "fstpt %[d]", [d] "+m"(*dst), [s] "m"(src))
#define COMPARE_MEM(insn)                                                                          \
    RUN(m, sw, "fldt %[d]\n " insn " %[s]", "fstp %%st(0)", [d] "+m"(*dst), [s] "m"(src))
#define ARITH_MEM_ALL(prefix, suffix)                                                              \
    switch (op) {                                                                                  \
    case X87_ADD: ARITH_MEM(prefix "add" suffix); break;                                           \
    case X87_MUL: ARITH_MEM(prefix "mul" suffix); break;                                           \
    case X87_SUB: ARITH_MEM(prefix "sub" suffix); break;                                           \
    case X87_SUBR: ARITH_MEM(prefix "subr" suffix); break;                                         \
    case X87_DIV: ARITH_MEM(prefix "div" suffix); break;                                           \
    case X87_DIVR: ARITH_MEM(prefix "divr" suffix); break;                                         \
    default: COMPARE_MEM(prefix "com" suffix); break;                                              \
    }

static u16 host_arith_s(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, u32 src)
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    ARITH_MEM_ALL("f", "s")
    end(m);
    return sw;
}

static u16 host_arith_d(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, u64 src)
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    ARITH_MEM_ALL("f", "l")
    end(m);
    return sw;
}

static u16 host_arith_i(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, s32 src, bool word)
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    if (word)
        ARITH_MEM_ALL("fi", "s")
    else
        ARITH_MEM_ALL("fi", "l")
    end(m);
    return sw;
}

/* ---- loads ---- */

static u16 host_load_s(u16 cw, u16 sticky, struct fpreg *dst, u32 src)
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    /* An unmasked exception leaves nothing loaded: the old value below is what is stored then. */
    if (unlikely(m.careful))
        RUN(m, sw, "fldt %[d]\n flds %[s]", "fstpt %[d]\n fninit", [d] "+m"(*dst), [s] "m"(src));
    else
        RUN(m, sw, "flds %[s]", "fstpt %[d]", [d] "+m"(*dst), [s] "m"(src));
    end(m);
    return sw;
}

static u16 host_load_d(u16 cw, u16 sticky, struct fpreg *dst, u64 src)
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    if (unlikely(m.careful))
        RUN(m, sw, "fldt %[d]\n fldl %[s]", "fstpt %[d]\n fninit", [d] "+m"(*dst), [s] "m"(src));
    else
        RUN(m, sw, "fldl %[s]", "fstpt %[d]", [d] "+m"(*dst), [s] "m"(src));
    end(m);
    return sw;
}

static void host_load_i(struct fpreg *dst, s64 src)
{
    __asm__ volatile("fildq %[s]\n fstpt %[d]" : [d] "+m"(*dst) : [s] "m"(src));
}

static void host_load_bcd(struct fpreg *dst, const u8 bytes[10])
{
    __asm__ volatile("fbld %[s]\n fstpt %[d]"
                     : [d] "+m"(*dst)
                     : [s] "m"(*(const u8(*)[10])bytes));
}

static void host_load_const(u16 cw, unsigned which, struct fpreg *dst)
{
    /* The constants follow rounding control (SDM vol. 1, 8.3.8). */
    load_cw((u16)((cw & 0xf00) | 0x7f));
#define LOAD(insn) __asm__ volatile(insn "\n fstpt %[d]" : [d] "+m"(*dst))
    switch (which) {
    case 0: LOAD("fld1"); break;
    case 1: LOAD("fldl2t"); break;
    case 2: LOAD("fldl2e"); break;
    case 3: LOAD("fldpi"); break;
    case 4: LOAD("fldlg2"); break;
    case 5: LOAD("fldln2"); break;
    default: LOAD("fldz"); break;
    }
    load_cw(HOST_CW);
}

/* ---- stores ---- */

/* FFREE and FINCSTP remove the copy without a store of their own. */
#define STORE(insn)                                                                                \
    RUN(m, sw, "fldt %[s]\n " insn " %[d]", "ffree %%st(0)\n fincstp", [d] "+m"(*(u8(*)[10])out),  \
        [s] "m"(*src))
/* Forms that exist only with a pop, which an unmasked exception prevents. */
#define STORE_POP(insn)                                                                            \
    do {                                                                                           \
        RUN(m, sw, "fldt %[s]\n " insn " %[d]", "", [d] "+m"(*(u8(*)[10])out), [s] "m"(*src));     \
        if (unlikely(m.careful))                                                                   \
            __asm__ volatile("fninit");                                                            \
    } while (0)

static u16 host_store(unsigned kind, u16 cw, u16 sticky, const struct fpreg *src, u8 out[10])
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    switch (kind) {
    case X87_M32: STORE("fsts"); break;
    case X87_M64: STORE("fstl"); break;
    case X87_I16: STORE("fists"); break;
    case X87_I32: STORE("fistl"); break;
    case X87_I64: STORE_POP("fistpq"); break;
    case X87_T16: STORE_POP("fisttps"); break;
    case X87_T32: STORE_POP("fisttpl"); break;
    case X87_T64: STORE_POP("fisttpq"); break;
    case X87_BCD: STORE_POP("fbstp"); break;
    default:
        memcpy(out, &src->mant, 8);
        memcpy(out + 8, &src->sexp, 2);
        break;
    }
    end(m);
    return kind == X87_M80 ? sticky & (u16)~FSW_C1 : sw;
}

/* ---- comparison into EFLAGS ---- */

static u16 host_comi(bool unordered, u16 cw, u16 sticky, const struct fpreg *a,
                     const struct fpreg *b, u32 *flags)
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    u8 zf, pf, cf;
    /* FNSTSW and FNCLEX leave EFLAGS alone. */
#define COMI(insn)                                                                                 \
    __asm__ volatile("fldt %[b]\n fldt %[a]\n " insn " %%st(1), %%st\n"                            \
                     "setz %[z]\n setp %[p]\n setc %[c]\n fnstsw %[w]\n fnclex\n"                  \
                     "fstp %%st(0)\n fstp %%st(0)"                                                 \
                     : [w] "=m"(sw), [z] "=&q"(zf), [p] "=&q"(pf), [c] "=&q"(cf)                   \
                     : [a] "m"(*a), [b] "m"(*b)                                                    \
                     : "cc")
#define COMI_FAST(insn)                                                                            \
    __asm__ volatile("fldt %[b]\n fldt %[a]\n " insn " %%st(1), %%st\n fstp %%st(1)\n"             \
                     "setz %[z]\n setp %[p]\n setc %[c]\n fnstsw %[w]\n fstp %%st(0)"              \
                     : [w] "=m"(sw), [z] "=&q"(zf), [p] "=&q"(pf), [c] "=&q"(cf)                   \
                     : [a] "m"(*a), [b] "m"(*b)                                                    \
                     : "cc")
    if (unordered) {
        if (m.careful)
            COMI("fucomi");
        else
            COMI_FAST("fucomi");
    } else {
        if (m.careful)
            COMI("fcomi");
        else
            COMI_FAST("fcomi");
    }
    end(m);
    *flags = (zf ? FL_ZF : 0) | (pf ? FL_PF : 0) | (cf ? FL_CF : 0);
    return sw;
}

/* ---- one and two operands on the stack ---- */

/* st[0] = op st[0]. */
#define UNARY(insn)                                                                                \
    RUN(m, sw, "fldt %[d]\n " insn, "fstpt %[d]", [d] "+m"(st[0]), [s] "m"(st[1]))
/* st[0] = st[0] op st[1]; st[1] stays. */
#define BINARY(insn)                                                                               \
    RUN(m, sw, "fldt %[s]\n fldt %[d]\n " insn, "fstpt %[d]\n fstp %%st(0)", [d] "+m"(st[0]),      \
        [s] "m"(st[1]))
/* Result replaces st[1] and st[0] is popped; if an unmasked exception stops it both are there. */
#define POPPING(insn)                                                                              \
    do {                                                                                           \
        if (unlikely(m.careful))                                                                   \
            RUN(m, sw, "fldt %[s]\n fldt %[d]\n " insn, "fstpt %[d]\n fninit", [d] "+m"(st[0]),    \
                [s] "m"(st[1]));                                                                   \
        else                                                                                       \
            RUN(m, sw, "fldt %[s]\n fldt %[d]\n " insn, "fstpt %[d]", [d] "+m"(st[0]),             \
                [s] "m"(st[1]));                                                                   \
    } while (0)

/* FPTAN, FSINCOS, FXTRACT push a second result, but not when C2 says out of range (the first two)
 * or an unmasked exception stops them: the host's own TOP tells. */
static u16 pushing(unsigned op, struct mode m, struct fpreg st[2])
{
    u16 sw = 0;
    switch (op) {
    case X87_PTAN: RUN(m, sw, "fldt %[d]\n fptan", "", [d] "+m"(st[0]), [s] "m"(st[1])); break;
    case X87_SINCOS: RUN(m, sw, "fldt %[d]\n fsincos", "", [d] "+m"(st[0]), [s] "m"(st[1])); break;
    default: RUN(m, sw, "fldt %[d]\n fxtract", "", [d] "+m"(st[0]), [s] "m"(st[1])); break;
    }
    /* The stack was empty: TOP is 7 with one value on it, 6 with two. */
    if ((sw >> 11 & 7) == 6)
        __asm__ volatile("fstpt %0\n fstpt %1" : "=m"(st[0]), "=m"(st[1]));
    else
        __asm__ volatile("fstp %%st(0)" : : : "memory");
    return sw;
}

static u16 host_unary(unsigned op, u16 cw, u16 sticky, struct fpreg st[2])
{
    struct mode m = begin(cw, sticky);
    u16 sw = 0;
    switch (op) {
    case X87_TST: UNARY("ftst"); break;
    case X87_XAM: UNARY("fxam"); break;
    case X87_2XM1: UNARY("f2xm1"); break;
    case X87_SQRT: UNARY("fsqrt"); break;
    case X87_RNDINT: UNARY("frndint"); break;
    case X87_SIN: UNARY("fsin"); break;
    case X87_COS: UNARY("fcos"); break;
    case X87_PREM: BINARY("fprem"); break;
    case X87_PREM1: BINARY("fprem1"); break;
    case X87_SCALE: BINARY("fscale"); break;
    case X87_YL2X: POPPING("fyl2x"); break;
    case X87_YL2XP1: POPPING("fyl2xp1"); break;
    case X87_PATAN: POPPING("fpatan"); break;
    default: sw = pushing(op, m, st); break;
    }
    end(m);
    return sw;
}

const struct x87_ops x87_host_ops = {
    .arith = host_arith,
    .arith_s = host_arith_s,
    .arith_d = host_arith_d,
    .arith_i = host_arith_i,
    .load_s = host_load_s,
    .load_d = host_load_d,
    .load_i = host_load_i,
    .load_const = host_load_const,
    .load_bcd = host_load_bcd,
    .store = host_store,
    .comi = host_comi,
    .unary = host_unary,
};

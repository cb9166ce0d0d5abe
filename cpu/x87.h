/* The x87: what its files share.  Guest registers live in struct x87 (cpu/state.h); arithmetic is
 * done by the host's x87 or in software, the rules of stack and exceptions are applied around it.
 */
#ifndef DRAGOMAN_CPU_X87_H
#define DRAGOMAN_CPU_X87_H

#include "cpu/state.h"

/* Status word, SDM vol. 1, 8.1.3. */
enum {
    FSW_IE = 1, FSW_DE = 2, FSW_ZE = 4, FSW_OE = 8, FSW_UE = 16, FSW_PE = 32, FSW_SF = 64,
    FSW_ES = 128, FSW_C0 = 1 << 8, FSW_C1 = 1 << 9, FSW_C2 = 1 << 10, FSW_TOP = 7 << 11,
    FSW_C3 = 1 << 14, FSW_B = 1 << 15,
    FSW_EXC = 0x3f, FSW_CC = FSW_C0 | FSW_C1 | FSW_C2 | FSW_C3,
    FSW_BEFORE = FSW_IE | FSW_DE | FSW_ZE, /* found before the operation (8.6) */
};

/* Order of ModRM.reg in D8 and DC. */
enum x87_arith {
    X87_ADD, X87_MUL, X87_COM, X87_COMP, X87_SUB, X87_SUBR, X87_DIV, X87_DIVR,
    X87_UCOM, /* only from registers */
};

/* Memory formats of stores. */
enum x87_kind {
    X87_M32, X87_M64, X87_M80, X87_I16, X87_I32, X87_I64, X87_T16, X87_T32, X87_T64, X87_BCD,
};

enum x87_unary {
    X87_CHS, X87_ABS, X87_TST, X87_XAM, X87_2XM1, X87_YL2X, X87_PTAN, X87_PATAN, X87_XTRACT,
    X87_PREM1, X87_PREM, X87_YL2XP1, X87_SQRT, X87_SINCOS, X87_RNDINT, X87_SCALE, X87_SIN, X87_COS,
};

enum x87_control {
    X87_INIT, X87_CLEX, X87_LDCW, X87_INCSTP, X87_DECSTP, X87_FREE, X87_FREEP,
    X87_NOP,
};

enum x87_env { X87_LDENV, X87_STENV, X87_RSTOR, X87_SAVE };

/* ---- descriptor fields (helpers_fp.def) ---- */
#define X87_POP (1u << 11)
#define X87_POP2 (1u << 12)
#define X87_FOP_SHIFT 16
#define X87_MEM (1u << 27)
#define X87_SEG_SHIFT 28

/* ---- arithmetic, on the host's x87 (x87_host.c) or in software (x87_soft.c).  Each runs under
 * control word cw with the exceptions that were already sticky in `sticky` not cleared, and returns
 * the status word after the operation: exception flags (new ones, and maybe some of sticky) and
 * condition codes.  Where an unmasked exception stops it, outputs keep their values. ---- */
struct x87_ops {
    u16 (*arith)(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, const struct fpreg *src);
    u16 (*arith_s)(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, u32 src);
    u16 (*arith_d)(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, u64 src);
    u16 (*arith_i)(unsigned op, u16 cw, u16 sticky, struct fpreg *dst, s32 src, bool word);
    /* Widen to 80 bits; a signalling NaN or denormal raises. */
    u16 (*load_s)(u16 cw, u16 sticky, struct fpreg *dst, u32 src);
    u16 (*load_d)(u16 cw, u16 sticky, struct fpreg *dst, u64 src);
    void (*load_i)(struct fpreg *dst, s64 src);
    void (*load_const)(u16 cw, unsigned which, struct fpreg *dst);
    void (*load_bcd)(struct fpreg *dst, const u8 bytes[10]);
    /* Writes the memory image (2 to 10 bytes) unless an unmasked exception forbids. */
    u16 (*store)(unsigned kind, u16 cw, u16 sticky, const struct fpreg *src, u8 out[10]);
    /* ZF, PF, CF of a comparison in *flags. */
    u16 (*comi)(bool unordered, u16 cw, u16 sticky, const struct fpreg *a, const struct fpreg *b,
                u32 *flags);
    /* On st[0] and st[1]; results in place.  Ops that push leave the new top in st[0] and the
     * changed old one in st[1]; ops that pop (FYL2X, FPATAN...) leave their result in st[0]. */
    u16 (*unary)(unsigned op, u16 cw, u16 sticky, struct fpreg st[2]);
};
extern const struct x87_ops x87_host_ops, x87_soft_ops;
/* CONFIG_X87_HOST: this build uses the host's x87 (meson_options.txt, x87). */
#define X87_OPS (CONFIG_X87_HOST ? &x87_host_ops : &x87_soft_ops)

/* ---- shared by the helpers ---- */
static inline unsigned x87_top(const struct x87 *x)
{
    return x->fsw >> 11 & 7;
}
static inline void x87_set_top(struct x87 *x, unsigned top)
{
    x->fsw = (u16)((x->fsw & ~FSW_TOP) | (top & 7) << 11);
}
static inline unsigned x87_phys(const struct x87 *x, unsigned i)
{
    return (x87_top(x) + i) & 7;
}
/* Makes ES and B follow the flags and masks. */
static inline void x87_summary(struct x87 *x)
{
    if (x->fsw & ~x->fcw & FSW_EXC)
        x->fsw |= FSW_ES | FSW_B;
    else
        x->fsw &= (u16)~(FSW_ES | FSW_B);
}

/* A pending unmasked exception: #MF with CR0.NE, else FERR#. */
void x87_pending(struct cpu *cpu);
static inline void x87_wait(struct cpu *cpu)
{
    if (unlikely(cpu->x87.fsw & FSW_ES))
        x87_pending(cpu);
}
/* FNINIT's state (SDM vol. 1, 8.1): data registers keep their values. */
void x87_init(struct x87 *x);
/* Full 16-bit tag word from the abridged one and the registers (SDM vol. 1, 10.5.1.1). */
u16 x87_full_tags(const struct x87 *x);
u8 x87_abridge_tags(u16 tags);

#endif

/* x87: every instruction is a call of a helper in cpu/x87*.c with a descriptor (helpers_fp.def).
 *
 * Touches the IR being built.  Memory operands of 2, 4 and 8 bytes are loaded by IR and passed by
 * value; 80-bit ones, stores and environment images go by address, because the helper must not
 * change the x87 before the access has succeeded.
 *
 * A block lifted without HF_X87_EXC ends after what could unmask an exception, except for FLDCW: an
 * engine that relies on the masks executes that one alone when it does (x64_x87.c).  With it, a
 * block ends where the masks may be set again.
 */
#include "cpu/x87.h"
#include "translator/lift_fp.h"

/* The last instruction's opcode as FOP holds it: 11 bits (SDM vol. 1, 8.1.9). */
static u32 descriptor(const struct insn *in, unsigned op, unsigned i)
{
    u32 d = op | i << 8 | ((in->opcode & 7u) << 8 | in->modrm) << X87_FOP_SHIFT;
    if (in->has_modrm && in->modrm < 0xc0)
        d |= X87_MEM | (u32)in->seg << X87_SEG_SHIFT;
    return d;
}

static ir_ref call(struct lift *l, const struct insn *in, enum helper h, u32 desc, ir_ref value)
{
    ir_ref zero = lift_const(l, W64, 0);
    ir_ref fdp = desc & X87_MEM ? lift_ea(l, in) : zero;
    return ir_callv(l->ir, h, lift_const(l, W64, desc), value ? value : zero, fdp,
                    lift_fixed(l, W64, l->rip));
}

static bool is_mem(const struct insn *in)
{
    return in->modrm < 0xc0;
}

/* The integer or float bits at the memory operand, in 64 bits. */
static ir_ref load(struct lift *l, const struct insn *in, bool is_signed)
{
    unsigned w = lift_width(in->opnd[0].size);
    for (unsigned i = 0; i < in->operands; i++) {
        if (in->opnd[i].kind == OPND_MEM)
            w = lift_width(in->opnd[i].size);
    }
    ir_ref v = lift_ld(l, w, lift_linear(l, in, W_BYTES(w), false), lift_mf(in));
    return is_signed ? ir_sext(l->ir, W64, w, v) : ir_zext(l->ir, W64, w, v);
}

static unsigned mem_size(const struct insn *in)
{
    for (unsigned i = 0; i < in->operands; i++) {
        if (in->opnd[i].kind == OPND_MEM)
            return in->opnd[i].size;
    }
    return 0;
}

/* D8 and DC, DA and DE: arithmetic with memory.  The operation is ModRM.reg. */
static bool lift_arith_mem(struct lift *l, const struct insn *in)
{
    unsigned op = in->modrm >> 3 & 7;
    u32 desc = descriptor(in, op, 0) | (op == X87_COMP ? X87_POP : 0);
    switch (in->opcode) {
    case 0xd8: call(l, in, HELPER_x87_arith_s, desc, load(l, in, false)); break;
    case 0xdc: call(l, in, HELPER_x87_arith_d, desc, load(l, in, false)); break;
    default: /* bit 8 of the descriptor tells a 16-bit integer: its overflow rules differ not, but
              * the host's instruction does */
        desc |= (in->opcode == 0xde) << 8;
        call(l, in, HELPER_x87_arith_i, desc, load(l, in, true));
        break;
    }
    return true;
}

static bool lift_arith_reg(struct lift *l, const struct insn *in, unsigned op)
{
    unsigned i = in->modrm & 7;
    if (in->opcode == 0xd8)
        call(l, in, HELPER_x87_arith_st0, descriptor(in, op, i), 0);
    else
        call(l, in, HELPER_x87_arith_sti,
             descriptor(in, op, i) | (in->opcode == 0xde ? X87_POP : 0), 0);
    return true;
}

static bool lift_fld(struct lift *l, const struct insn *in)
{
    if (!is_mem(in)) {
        call(l, in, HELPER_x87_fld_st, descriptor(in, 0, in->modrm & 7), 0);
        return true;
    }
    u32 desc = descriptor(in, 0, 0);
    switch (mem_size(in)) {
    case 4: call(l, in, HELPER_x87_fld_s, desc, load(l, in, false)); break;
    case 8: call(l, in, HELPER_x87_fld_d, desc, load(l, in, false)); break;
    default: call(l, in, HELPER_x87_fld_t, desc, lift_linear(l, in, 10, false)); break;
    }
    return true;
}

static unsigned store_kind(const struct insn *in)
{
    unsigned size = mem_size(in);
    switch (in->op) {
    case OP_fst:
    case OP_fstp: return size == 4 ? X87_M32 : size == 8 ? X87_M64 : X87_M80;
    case OP_fisttp: return size == 2 ? X87_T16 : size == 4 ? X87_T32 : X87_T64;
    case OP_fbstp: return X87_BCD;
    default: return size == 2 ? X87_I16 : size == 4 ? X87_I32 : X87_I64;
    }
}

static bool lift_fst(struct lift *l, const struct insn *in)
{
    bool pop = in->op != OP_fst && in->op != OP_fist;
    if (!is_mem(in)) {
        u32 desc = descriptor(in, in->op == OP_fstpnce, in->modrm & 7);
        call(l, in, HELPER_x87_fst_st, desc | (pop ? X87_POP : 0), 0);
        return true;
    }
    unsigned size = mem_size(in);
    u32 desc = descriptor(in, store_kind(in), 0) | (pop ? X87_POP : 0);
    call(l, in, HELPER_x87_fst, desc, lift_linear(l, in, size, true));
    return true;
}

static bool lift_fcom(struct lift *l, const struct insn *in)
{
    bool unordered = in->op == OP_fucom || in->op == OP_fucomp || in->op == OP_fucompp;
    bool pop = in->op == OP_fcomp || in->op == OP_fucomp;
    bool pop2 = in->op == OP_fcompp || in->op == OP_fucompp;
    u32 desc = descriptor(in, unordered, in->modrm & 7);
    call(l, in, HELPER_x87_fcom, desc | (pop ? X87_POP : 0) | (pop2 ? X87_POP2 : 0), 0);
    return true;
}

static bool lift_fcomi(struct lift *l, const struct insn *in)
{
    bool unordered = in->op == OP_fucomi || in->op == OP_fucompi;
    bool pop = in->op == OP_fcompi || in->op == OP_fucompi;
    u32 desc = descriptor(in, unordered, in->modrm & 7) | (pop ? X87_POP : 0);
    ir_ref flags = ir_trunc(l->ir, W32, W64, call(l, in, HELPER_x87_fcomi, desc, 0));
    lift_putf(l, ir_1(l->ir, IR_fbits, W32, flags));
    return true;
}

/* Condition code of FCMOVcc: B E BE U and their negations. */
static bool lift_fcmov(struct lift *l, const struct insn *in)
{
    static const u8 cc[4] = {2, 4, 6, 10};
    unsigned c = cc[in->modrm >> 3 & 3] | (in->opcode == 0xdb);
    ir_ref cond = ir_zext(l->ir, W64, W8, ir_setcc(l->ir, c, lift_getf(l)));
    call(l, in, HELPER_x87_fcmov, descriptor(in, 0, in->modrm & 7), cond);
    return true;
}

/* FNSTCW, FNSTSW. */
static bool lift_store_word(struct lift *l, const struct insn *in, enum helper h)
{
    ir_ref v = ir_trunc(l->ir, W16, W64, ir_callv(l->ir, h, 0, 0, 0, 0));
    if (is_mem(in))
        lift_st(l, W16, lift_linear(l, in, 2, true), v, lift_mf(in));
    else
        lift_put(l, RAX, W16, v);
    return true;
}

static bool lift_control(struct lift *l, const struct insn *in, unsigned op)
{
    ir_ref value = op == X87_LDCW ? load(l, in, false) : lift_const(l, W64, 0);
    bool ends = (op == X87_LDCW || op == X87_INIT) && (l->hflags & HF_X87_EXC);
    u32 desc = descriptor(in, op, is_mem(in) ? 0 : in->modrm & 7);
    ir_call(l->ir, HELPER_x87_control, lift_const(l, W64, desc), value,
            ends ? lift_next(l) : lift_const(l, W64, 0), lift_fixed(l, W64, l->rip));
    if (ends)
        lift_exit_lookup(l);
    return true;
}

static bool lift_env(struct lift *l, const struct insn *in, unsigned op)
{
    unsigned size = op == X87_SAVE || op == X87_RSTOR ? 94 : 14;
    bool wide = in->opsize != 2;
    size += wide ? 14 : 0;
    ir_ref addr = lift_linear(l, in, size, op == X87_SAVE || op == X87_STENV);
    bool ends = op == X87_LDENV || op == X87_RSTOR || (l->hflags & HF_X87_EXC);
    ir_call(l->ir, HELPER_x87_env, lift_const(l, W64, op), addr, lift_const(l, W64, wide),
            ends ? lift_next(l) : lift_const(l, W64, 0));
    if (ends)
        lift_exit_lookup(l);
    return true;
}

/* Operation of the instructions on ST(0) and ST(1); -1 for others. */
static int unary_op(unsigned op)
{
    switch (op) {
    case OP_fchs: return X87_CHS;
    case OP_fabs: return X87_ABS;
    case OP_ftst: return X87_TST;
    case OP_fxam: return X87_XAM;
    case OP_f2xm1: return X87_2XM1;
    case OP_fyl2x: return X87_YL2X;
    case OP_fptan: return X87_PTAN;
    case OP_fpatan: return X87_PATAN;
    case OP_fxtract: return X87_XTRACT;
    case OP_fprem1: return X87_PREM1;
    case OP_fprem: return X87_PREM;
    case OP_fyl2xp1: return X87_YL2XP1;
    case OP_fsqrt: return X87_SQRT;
    case OP_fsincos: return X87_SINCOS;
    case OP_frndint: return X87_RNDINT;
    case OP_fscale: return X87_SCALE;
    case OP_fsin: return X87_SIN;
    case OP_fcos: return X87_COS;
    default: return -1;
    }
}

static int control_op(unsigned op)
{
    switch (op) {
    case OP_fninit: return X87_INIT;
    case OP_fnclex: return X87_CLEX;
    case OP_fldcw: return X87_LDCW;
    case OP_fincstp: return X87_INCSTP;
    case OP_fdecstp: return X87_DECSTP;
    case OP_ffree: return X87_FREE;
    case OP_ffreep: return X87_FREEP;
    case OP_fnop: return X87_NOP;
    default: return -1;
    }
}

/* Operation of register arithmetic; -1 for others.  FSUBR to ST(i) is its own mnemonic. */
static int arith_op(unsigned op)
{
    switch (op) {
    case OP_fadd:
    case OP_faddp: return X87_ADD;
    case OP_fmul:
    case OP_fmulp: return X87_MUL;
    case OP_fsub:
    case OP_fsubp: return X87_SUB;
    case OP_fsubr:
    case OP_fsubrp: return X87_SUBR;
    case OP_fdiv:
    case OP_fdivp: return X87_DIV;
    case OP_fdivr:
    case OP_fdivrp: return X87_DIVR;
    default: return -1;
    }
}

static bool lift_x87_other(struct lift *l, const struct insn *in)
{
    switch (in->op) {
    case OP_fxch:
        call(l, in, HELPER_x87_fxch, descriptor(in, 0, in->modrm & 7), 0);
        return true;
    case OP_fild:
        call(l, in, HELPER_x87_fld_i, descriptor(in, 0, 0), load(l, in, true));
        return true;
    case OP_fbld:
        call(l, in, HELPER_x87_fbld, descriptor(in, 0, 0), lift_linear(l, in, 10, false));
        return true;
    case OP_fld1:
    case OP_fldl2t:
    case OP_fldl2e:
    case OP_fldpi:
    case OP_fldlg2:
    case OP_fldln2:
    case OP_fldz:
        call(l, in, HELPER_x87_fld_const, descriptor(in, in->modrm & 7, 0), 0);
        return true;
    case OP_fnstcw: return lift_store_word(l, in, HELPER_x87_fnstcw);
    case OP_fnstsw: return lift_store_word(l, in, HELPER_x87_fnstsw);
    case OP_fldenv: return lift_env(l, in, X87_LDENV);
    case OP_fnstenv: return lift_env(l, in, X87_STENV);
    case OP_frstor: return lift_env(l, in, X87_RSTOR);
    case OP_fnsave: return lift_env(l, in, X87_SAVE);
    case OP_fneni: /* 8087 and 80287 only: no-ops since (SDM vol. 3B 22.18.7) */
    case OP_fndisi:
    case OP_fsetpm: return true;
    default: return false;
    }
}

bool lift_x87(struct lift *l, const struct insn *in)
{
    switch (in->op) {
    case OP_fld: return lift_fld(l, in);
    case OP_fst:
    case OP_fstp:
    case OP_fstpnce:
    case OP_fist:
    case OP_fistp:
    case OP_fisttp:
    case OP_fbstp: return lift_fst(l, in);
    case OP_fcomi:
    case OP_fcompi:
    case OP_fucomi:
    case OP_fucompi: return lift_fcomi(l, in);
    case OP_fcmovb:
    case OP_fcmove:
    case OP_fcmovbe:
    case OP_fcmovu:
    case OP_fcmovnb:
    case OP_fcmovne:
    case OP_fcmovnbe:
    case OP_fcmovnu: return lift_fcmov(l, in);
    default: break;
    }
    bool escape_arith = in->opcode == 0xd8 || in->opcode == 0xda || in->opcode == 0xdc ||
                        in->opcode == 0xde;
    if (is_mem(in) && escape_arith)
        return lift_arith_mem(l, in);
    if (in->op == OP_fcom || in->op == OP_fcomp || in->op == OP_fcompp || in->op == OP_fucom ||
        in->op == OP_fucomp || in->op == OP_fucompp)
        return lift_fcom(l, in);
    int op = arith_op(in->op);
    if (op >= 0)
        return lift_arith_reg(l, in, (unsigned)op);
    op = unary_op(in->op);
    if (op >= 0) {
        call(l, in, HELPER_x87_unary, descriptor(in, (unsigned)op, 0), 0);
        return true;
    }
    op = control_op(in->op);
    return op >= 0 ? lift_control(l, in, (unsigned)op) : lift_x87_other(l, in);
}

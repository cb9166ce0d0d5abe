/* The x86 decoder: constant tables (opmap_*.inc) in the order and operand letters of the opcode
 * maps of SDM vol. 2D appendix A, and the function that walks them.  Touches nothing but its
 * arguments.  EVEX, XOP, 3DNow!, VMX and SVM maps are left out: their opcodes are #UD.
 *
 * A map is an array of 256 nodes.  A node is a row, or chooses among sub-nodes by something the
 * manual's footnotes name: ModRM.reg (GROUP), ModRM.mod (MODRM: memory, register), ModRM.rm (RM),
 * mandatory prefix (PFX: none, 66, F3, F2), repeat prefix where 66 keeps its meaning of operand
 * size (REP: none, F3, F2), operand size (OPSZ: 16, 32, 64), address size (ADSZ), REX.W (REXW),
 * REX.B (REXB), and mode (MODE64: legacy, 64-bit).  The files are read three times: for the row
 * array, for the array of pointers to the rows, and for the maps, which name rows by their number.
 *
 * VEX instructions have maps of their own (opmap_vex_*.inc), reached through a C4 or C5 prefix (SDM
 * vol. 2A 2.3).  There PFX chooses by VEX.pp, REXW by VEX.W in 64-bit mode (0 elsewhere), VEXW by
 * VEX.W in every mode, VEXL by VEX.L (128, 256).  Rows written V() have the legacy instruction's
 * mnemonic behind a "v".  VEX.vvvv must be 1111 in rows without an operand H or B.
 *
 * Operand letters are the SDM's (vol. 2D A.2), with these deviations and additions:
 *  - Zb, Zv: the register in the opcode's low three bits (the SDM writes "rAX/r8").
 *  - Ibs is the manual's "sIb": an 8-bit immediate sign-extended to the operand size.  Ib2 is
 *    ENTER's second immediate.
 *  - x is 16 bytes, or 32 with VEX.L, and ss/sd/d/q after V, H, W and U name the bytes accessed, so
 *    that one letter serves ps, pd and dq; dq is always 16 bytes.  xh, xq, xe:
 *    half, a quarter, an eighth of x.  n is 4 bytes, or 8 in 64-bit mode, whatever the prefixes.
 *  - RvMw (and the like): register of the first size, memory of the second.
 *  - Gz of LES/LDS, Ez of MOVSXD: as v, without the 64-bit size.
 *
 * Deviations from the maps:
 *  - Rows that the SDM leaves blank but that every processor executes: TEST at F6/F7 /1, SAL at
 *    C0-D3 /6, SALC, the x87 aliases named in opmap_x87.inc.
 *  - SYSCALL and SYSRET decode in every mode; the SDM makes them #UD outside 64-bit mode, AMD64
 *    does not.  Which one the guest sees is the CPU model's matter.
 *  - MOV to and from CR and DR: the SDM calls the arithmetic flags undefined; every processor
 *    leaves them alone, and so do the rows.
 *  - SSE and MMX columns that the maps leave blank are #UD, also with a superfluous prefix.
 *  - Where Intel and AMD differ the tables are Intel's: near branches in 64-bit mode have 64-bit
 *    operands and 32-bit displacements whatever 66 says (AMD takes 66 as a 16-bit branch, so
 *    AMD silicon disagrees), m16:64 far pointers exist, and LOCK MOV CR0 is not CR8.
 */
#include "cpu/decode.h"

#include "cpu/state.h"

/* ---- operand letters ---- */

/* Addressing methods, SDM vol. 2D A.2.1, and the fixed operands. */
enum method {
    A_NONE, A_ONE, A_GPR, A_GPR8, A_AL, A_CL, A_RAX, A_DX, A_SEGREG, A_ST0, A_XMM0,
    A_IMM, A_IMM_S, A_IMM2, A_FAR, A_REL, A_MOFFS,
    A_E, A_E8, A_G, A_G8, A_RM_REG, A_M, A_S, A_C, A_D, A_P, A_Q, A_V, A_W, A_STI, A_H, A_B, A_L,
    A_VSIB,
};

/* Operand sizes by the operand size attribute (16, 32, 64). */
enum size_code {
    S_0, S_b, S_w, S_d, S_q, S_dq, S_t, S_v, S_z, S_y, S_p, S_a, S_env, S_fsave, S_fx,
    S_BY_MODE, /* sizes from here on follow the mode, not the operand size */
    S_n = S_BY_MODE, S_s,
    S_BY_L, /* and from here on VEX.L: 128, 256 */
    S_x = S_BY_L, S_xh, S_xq, S_xe,
};

static const u16 size_table[][3] = {
    [S_b] = {1, 1, 1}, [S_w] = {2, 2, 2}, [S_d] = {4, 4, 4}, [S_q] = {8, 8, 8},
    [S_dq] = {16, 16, 16}, [S_t] = {10, 10, 10}, [S_v] = {2, 4, 8},
    [S_z] = {2, 4, 4},
    [S_y] = {4, 4, 8}, [S_p] = {4, 6, 10}, [S_a] = {4, 8, 8}, [S_env] = {14, 28, 28},
    [S_fsave] = {94, 108, 108}, [S_fx] = {512, 512, 512}, [S_n] = {4, 4, 8}, [S_s] = {6, 6, 10},
    [S_x] = {16, 32}, [S_xh] = {8, 16}, [S_xq] = {4, 8}, [S_xe] = {2, 4},
};

/* X(letters, method, size of a register, size of memory).  Letters below FIRST_MODRM need no
 * ModRM byte. */
#define OPERANDS(X)                                                                             \
    X(AL, AL, b, b) X(CL, CL, b, b) X(DX, DX, w, w) X(AX, RAX, w, w) X(eAX, RAX, z, z)          \
    X(rAX, RAX, v, v) X(One, ONE, b, b)                                                         \
    X(ES, SEGREG, w, w) X(CS, SEGREG, w, w) X(SS, SEGREG, w, w) X(DS, SEGREG, w, w)             \
    X(FS, SEGREG, w, w) X(GS, SEGREG, w, w)                                                     \
    X(Zb, GPR8, b, b) X(Zv, GPR, v, v) X(ST0, ST0, t, t) X(XMM0, XMM0, x, x)                    \
    X(Ib, IMM, b, b) X(Ibs, IMM_S, v, b) X(Iw, IMM, w, w) X(Iz, IMM_S, v, z) X(Iv, IMM, v, v)   \
    X(Ib2, IMM2, b, b) X(Ap, FAR, p, p) X(Jb, REL, v, b) X(Jz, REL, v, z)                       \
    X(Ob, MOFFS, b, b) X(Ov, MOFFS, v, v)                                                       \
    X(FIRST_MODRM, NONE, 0, 0)                                                                  \
    X(Eb, E8, b, b) X(Ew, E, w, w) X(Ed, E, d, d) X(Eq, E, q, q) X(Ev, E, v, v) X(Ez, E, z, z)  \
    X(Ey, E, y, y) X(En, E, v, 0)                                                               \
    X(RvMw, E, v, w) X(RyMb, E, y, b) X(RyMw, E, y, w) X(RyMd, E, y, d) X(RdMb, E, d, b)        \
    X(RdMw, E, d, w)                                                                            \
    X(Gb, G8, b, b) X(Gw, G, w, w) X(Gv, G, v, v) X(Gz, G, z, z) X(Gy, G, y, y) X(Gn, G, n, n)  \
    X(Rv, RM_REG, v, v) X(Ry, RM_REG, y, y) X(Rn, RM_REG, n, n)                                 \
    X(M, M, 0, 0) X(Mb, M, b, b) X(Mw, M, w, w) X(Md, M, d, d) X(Mq, M, q, q) X(Mx, M, x, x)    \
    X(Mt, M, t, t) X(Mv, M, v, v) X(My, M, y, y) X(Mp, M, p, p) X(Ma, M, a, a) X(Ms, M, s, s)   \
    X(Menv, M, env, env) X(Mfsave, M, fsave, fsave) X(Mfx, M, fx, fx)                           \
    X(Sw, S, w, w) X(Cn, C, n, n) X(Dn, D, n, n)                                                \
    X(Pd, P, d, d) X(Pq, P, q, q) X(Qd, Q, d, d) X(Qq, Q, q, q) X(Nq, Q, q, q)                  \
    X(Vd, V, d, d) X(Vq, V, q, q) X(Vss, V, d, d) X(Vsd, V, q, q) X(Vx, V, x, x)                \
    X(Ww, W, w, w) X(Wd, W, d, d) X(Wq, W, q, q) X(Wss, W, d, d) X(Wsd, W, q, q) X(Wx, W, x, x) \
    X(Uq, W, q, q) X(Ux, W, x, x) X(UxMd, W, x, d) X(STi, STI, t, t)                            \
    X(Vdq, V, dq, dq) X(Hdq, H, dq, dq) X(Hx, H, x, x)                       \
    X(Hss, H, d, d) X(Hsd, H, q, q) X(Wdq, W, dq, dq) X(Wxh, W, dq, xh) X(Wxq, W, dq, xq)       \
    X(Wxe, W, dq, xe) X(Udq, W, dq, dq) X(UdqMb, W, dq, b) X(UdqMw, W, dq, w)                    \
    X(UdqMd, W, dq, d) X(UdqMq, W, dq, q) X(Mdq, M, dq, dq) X(Lx, L, x, x) X(By, B, y, y)       \
    X(MVd, VSIB, d, d) X(MVq, VSIB, q, q)

enum operand_letters {
    NO_OPERAND,
#define X(name, method, reg_size, mem_size) name,
    OPERANDS(X)
#undef X
};

static const struct letters {
    u8 method, reg_size, mem_size;
} letters[] = {
    {A_NONE, 0, 0},
#define X(name, method, reg_size, mem_size) {A_##method, S_##reg_size, S_##mem_size},
    OPERANDS(X)
#undef X
};

/* ---- rows ---- */

/* What the columns of a row may say beside the public ROW_ bits. */
enum {
    P_LOCK = ROW_LOCKABLE, P_PRIV = ROW_PRIV | ROW_SYSTEM, P_BRANCH = ROW_BRANCH, P_REP = ROW_REP,
    P_SYS = ROW_SYSTEM, P_A16 = ROW_ALIGN16,
    I64 = 1 << 16,     /* invalid in 64-bit mode */
    O64 = 1 << 17,     /* valid in 64-bit mode only */
    D64 = 1 << 18,     /* operand size defaults to 64 bits in 64-bit mode */
    F64 = 1 << 19,     /* operand size is 64 bits in 64-bit mode, whatever the prefixes */
    NOMOD = 1 << 20,   /* ModRM.mod is ignored: the operand is a register */
    LOADSEG = 1 << 21, /* MOV to a segment register: CS is #UD */
    P_V = ROW_V, P_VSIB = ROW_VSIB,
};

struct row {
    struct opcode_row pub;
    u8 operand[INSN_MAX_OPERANDS]; /* enum operand_letters */
};

/* Flags by instruction class: read, written, undefined (SDM vol. 1 appendix A). */
#define FL_CZ (FL_CF | FL_ZF)
#define FL_NOT_CF (FL_ARITH & ~FL_CF)
#define FL_NOT_ZF (FL_ARITH & ~FL_ZF)
#define FL_SZP (FL_SF | FL_ZF | FL_PF)
#define FL_CO (FL_CF | FL_OF)
#define FL_CONTROL (FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT)
#define RWU(r, w, u) .flags_read = (r), .flags_written = (w), .flags_undefined = (u)
#define FLAGS_NONE RWU(0, 0, 0)
#define FLAGS_ARITH RWU(0, FL_ARITH, 0)
#define FLAGS_ADC RWU(FL_CF, FL_ARITH, 0)
#define FLAGS_LOGIC RWU(0, FL_ARITH, FL_AF)
#define FLAGS_INCDEC RWU(0, FL_NOT_CF, 0)
#define FLAGS_MUL RWU(0, FL_ARITH, FL_SZP | FL_AF)
#define FLAGS_DIV RWU(0, FL_ARITH, FL_ARITH)
#define FLAGS_DAA RWU(FL_AF | FL_CF, FL_ARITH, FL_OF)
#define FLAGS_AAA RWU(FL_AF, FL_ARITH, FL_SZP | FL_OF)
#define FLAGS_AAM RWU(0, FL_ARITH, FL_OF | FL_AF | FL_CF)
#define FLAGS_SHIFT1 RWU(0, FL_ARITH, FL_AF)
#define FLAGS_SHIFTV RWU(FL_ARITH, FL_ARITH, FL_AF | FL_OF)
#define FLAGS_ROT1 RWU(0, FL_CO, 0)
#define FLAGS_ROTV RWU(FL_CO, FL_CO, FL_OF)
#define FLAGS_RC1 RWU(FL_CF, FL_CO, 0)
#define FLAGS_RCV RWU(FL_CO, FL_CO, FL_OF)
#define FLAGS_BT RWU(0, FL_NOT_ZF, FL_NOT_ZF & ~FL_CF)
#define FLAGS_BSCAN RWU(0, FL_ARITH, FL_NOT_ZF)
#define FLAGS_ZCNT RWU(0, FL_ARITH, FL_ARITH & ~FL_CZ)
#define FLAGS_ANDN RWU(0, FL_ARITH, FL_AF | FL_PF)
#define FLAGS_BLS RWU(0, FL_ARITH, FL_AF | FL_PF)
#define FLAGS_BEXTR RWU(0, FL_ARITH, FL_AF | FL_PF | FL_SF)
#define FLAGS_STRING RWU(FL_DF, 0, 0)
#define FLAGS_STRCMP RWU(FL_DF | FL_ARITH, FL_ARITH, 0) /* REP with a count of 0 changes none */
#define FLAGS_ADCX RWU(FL_CF, FL_CF, 0)
#define FLAGS_ADOX RWU(FL_OF, FL_OF, 0)
#define FLAGS_CF RWU(0, FL_CF, 0)
#define FLAGS_ZF RWU(0, FL_ZF, 0)
#define FLAGS_IF RWU(0, FL_IF, 0)
#define FLAGS_DF RWU(0, FL_DF, 0)
#define FLAGS_CMC RWU(FL_CF, FL_CF, 0)
#define FLAGS_READ_CF RWU(FL_CF, 0, 0)
#define FLAGS_READ_ZF RWU(FL_ZF, 0, 0)
#define FLAGS_SAHF RWU(0, FL_SZP | FL_AF | FL_CF, 0)
#define FLAGS_LAHF RWU(FL_SZP | FL_AF | FL_CF, 0, 0)
#define FLAGS_PUSHF RWU(FL_ARITH | FL_CONTROL, 0, 0)
#define FLAGS_POPF RWU(0, FL_ARITH | FL_CONTROL, 0)
#define FLAGS_CC_O RWU(FL_OF, 0, 0)
#define FLAGS_CC_BE RWU(FL_CZ, 0, 0)
#define FLAGS_CC_S RWU(FL_SF, 0, 0)
#define FLAGS_CC_P RWU(FL_PF, 0, 0)
#define FLAGS_CC_L RWU(FL_SF | FL_OF, 0, 0)
#define FLAGS_CC_LE RWU(FL_SF | FL_OF | FL_ZF, 0, 0)

/* ---- what the map files are written with ---- */

#define AT8(o, ...)                                                                     \
    AT(o, I(__VA_ARGS__)) AT(o + 1, I(__VA_ARGS__)) AT(o + 2, I(__VA_ARGS__))           \
    AT(o + 3, I(__VA_ARGS__)) AT(o + 4, I(__VA_ARGS__)) AT(o + 5, I(__VA_ARGS__))       \
    AT(o + 6, I(__VA_ARGS__)) AT(o + 7, I(__VA_ARGS__))
#define MOVI8(o)                                                                        \
    AT(o, MOVI1) AT(o + 1, MOVI1) AT(o + 2, MOVI1) AT(o + 3, MOVI1) AT(o + 4, MOVI1)    \
    AT(o + 5, MOVI1) AT(o + 6, MOVI1) AT(o + 7, MOVI1)
#define MOVI1 REXW(I(mov, (Zv, Iv), BASE, NONE, 0), I(movabs, (Zv, Iv), LM, NONE, 0))
/* The six classic forms of a two-operand ALU instruction. */
#define ALU6(o, op, fl, lock)                                                           \
    AT(o, I(op, (Eb, Gb), BASE, fl, lock)) AT(o + 1, I(op, (Ev, Gv), BASE, fl, lock))   \
    AT(o + 2, I(op, (Gb, Eb), BASE, fl, 0)) AT(o + 3, I(op, (Gv, Ev), BASE, fl, 0))     \
    AT(o + 4, I(op, (AL, Ib), BASE, fl, 0)) AT(o + 5, I(op, (rAX, Iz), BASE, fl, 0))
#define GRP1(ops, p)                                                                    \
    GROUP(I(add, ops, BASE, ARITH, p | P_LOCK), I(or, ops, BASE, LOGIC, p | P_LOCK),    \
          I(adc, ops, BASE, ADC, p | P_LOCK), I(sbb, ops, BASE, ADC, p | P_LOCK),       \
          I(and, ops, BASE, LOGIC, p | P_LOCK), I(sub, ops, BASE, ARITH, p | P_LOCK),   \
          I(xor, ops, BASE, LOGIC, p | P_LOCK), I(cmp, ops, BASE, ARITH, p))
#define GRP2(ops, rot, rc, shift)                                                       \
    GROUP(I(rol, ops, BASE, rot, 0), I(ror, ops, BASE, rot, 0), I(rcl, ops, BASE, rc, 0), \
          I(rcr, ops, BASE, rc, 0), I(shl, ops, BASE, shift, 0),                        \
          I(shr, ops, BASE, shift, 0), I(shl, ops, BASE, shift, 0),                     \
          I(sar, ops, BASE, shift, 0))
/* Sixteen conditions, SDM vol. 1 appendix B. */
#define CC16(o, op, ops, isa, p)                                                        \
    AT(o, I(op, ops, isa, CC_O, p)) AT(o + 1, I(op, ops, isa, CC_O, p))                 \
    AT(o + 2, I(op, ops, isa, READ_CF, p)) AT(o + 3, I(op, ops, isa, READ_CF, p))       \
    AT(o + 4, I(op, ops, isa, READ_ZF, p)) AT(o + 5, I(op, ops, isa, READ_ZF, p))       \
    AT(o + 6, I(op, ops, isa, CC_BE, p)) AT(o + 7, I(op, ops, isa, CC_BE, p))           \
    AT(o + 8, I(op, ops, isa, CC_S, p)) AT(o + 9, I(op, ops, isa, CC_S, p))             \
    AT(o + 10, I(op, ops, isa, CC_P, p)) AT(o + 11, I(op, ops, isa, CC_P, p))           \
    AT(o + 12, I(op, ops, isa, CC_L, p)) AT(o + 13, I(op, ops, isa, CC_L, p))           \
    AT(o + 14, I(op, ops, isa, CC_LE, p)) AT(o + 15, I(op, ops, isa, CC_LE, p))
#define PQVW(o, op, isa_mmx, isa_sse)                                                   \
    AT(o, PFX(I(op, (Pq, Qq), isa_mmx, NONE, 0), I(op, (Vx, Wx), isa_sse, NONE, P_A16), UD, UD))
#define PDVW(o, op)                                                                     \
    AT(o, PFX(I(op, (Pq, Qd), MMX, NONE, 0), I(op, (Vx, Wx), SSE2, NONE, P_A16), UD, UD))
#define FP2(o, op)                                                                      \
    AT(o, PFX(I(op##ps, (Vx, Wx), SSE, NONE, P_A16), I(op##pd, (Vx, Wx), SSE2, NONE, P_A16), UD, \
              UD))
#define FP4(o, op)                                                                      \
    AT(o, PFX(I(op##ps, (Vx, Wx), SSE, NONE, P_A16), I(op##pd, (Vx, Wx), SSE2, NONE, P_A16), \
              I(op##ss, (Vss, Wss), SSE, NONE, 0), I(op##sd, (Vsd, Wsd), SSE2, NONE, 0)))
#define SHIFT_NU(op)                                                                    \
    PFX(I(op, (Nq, Ib), MMX, NONE, 0), I(op, (Ux, Ib), SSE2, NONE, 0), UD, UD)
#define SHIFT_U(op) PFX(UD, I(op, (Ux, Ib), SSE2, NONE, 0), UD, UD)
#define HINT_NOP I(nop, (En), 686, NONE, 0)

/* VEX: packed single and double; all four formats; integers, whose 256-bit form is AVX2; the same
 * with no other prefix. */
#define VFP2(o, op)                                                                     \
    AT(o, PFX(V(op##ps, (Vx, Hx, Wx), AVX, NONE, 0), V(op##pd, (Vx, Hx, Wx), AVX, NONE, 0), UD, UD))
#define VFP4(o, op)                                                                     \
    AT(o, PFX(V(op##ps, (Vx, Hx, Wx), AVX, NONE, 0), V(op##pd, (Vx, Hx, Wx), AVX, NONE, 0), \
              V(op##ss, (Vss, Hdq, Wss), AVX, NONE, 0), V(op##sd, (Vsd, Hdq, Wsd), AVX, NONE, 0)))
#define VINT(op, ops) VEXL(V(op, ops, AVX, NONE, 0), V(op, ops, AVX2, NONE, 0))
#define VP(o, op) ONLY66(o, VINT(op, (Vx, Hx, Wx)))
#define VAES(op) VEXL(V(op, (Vx, Hx, Wx), AES, NONE, 0), V(op, (Vx, Hx, Wx), VAES, NONE, 0))
#define VSHIFT(op) PFX(UD, VINT(op, (Hx, Ux, Ib)), UD, UD)
#define FMA_PACKED(o, op)                                                               \
    ONLY66(o, VEXW(V(op##ps, (Vx, Hx, Wx), FMA, NONE, 0), V(op##pd, (Vx, Hx, Wx), FMA, NONE, 0)))
#define FMA_SCALAR(o, op)                                                               \
    ONLY66(o, VEXW(V(op##ss, (Vss, Hss, Wss), FMA, NONE, 0),                            \
                   V(op##sd, (Vsd, Hsd, Wsd), FMA, NONE, 0)))

#define LIST(...) __VA_ARGS__
#define OPERAND_TEXT(...) __VA_OPT__(" " #__VA_ARGS__)

/* First reading: the rows themselves, numbered in order of appearance. */
#define UD
#define PFX(a, b, c, d) a b c d
#define NP(a) a
#define ONLYF3(a) a
#define ONLY66(o, a) a
#define REP(a, b, c) a b c
#define OPSZ(a, b, c) a b c
#define OPSZ_D64(a, b, c) a b c
#define ADSZ(a, b, c) a b c
#define REXW(a, b) a b
#define REXB(a, b) a b
#define VEXW(a, b) a b
#define VEXL(a, b) a b
#define W0(a) a
#define W1(a) a
#define L0(a) a
#define L1(a) a
#define MODE64(a, b) a b
#define MODRM(a, b) a b
#define GROUP(a, b, c, d, e, f, g, h) a b c d e f g h
#define RM(a, b, c, d, e, f, g, h) a b c d e f g h
#define AT(o, ...) __VA_ARGS__
#define I(mnemonic, operands, isa_name, fl, p)                                          \
    {{.op = OP_##mnemonic, .id = __COUNTER__ - ROWS_BASE, .isa = ISA_##isa_name, FLAGS_##fl, \
      .props = (p), .text = #mnemonic OPERAND_TEXT operands}, {LIST operands}},
#define V(mnemonic, operands, isa_name, fl, p)                                          \
    {{.op = OP_##mnemonic, .id = __COUNTER__ - ROWS_BASE, .isa = ISA_##isa_name, FLAGS_##fl, \
      .props = (p) | P_V, .text = "v" #mnemonic OPERAND_TEXT operands}, {LIST operands}},

enum { ROWS_BASE = __COUNTER__ + 1 };
static const struct row rows[] = {
#include "cpu/opmaps.inc"
};

/* Second reading: pointers to them, for callers that list the rows. */
#undef I
#undef V
#define I(...) &rows[__COUNTER__ - POINTERS_BASE].pub,
#define V I

enum { POINTERS_BASE = __COUNTER__ + 1 };
static const struct opcode_row *const row_pointers[] = {
#include "cpu/opmaps.inc"
};

/* Third reading: the maps. */
enum node_kind {
    N_UD, N_ROW, N_PFX, N_REP, N_OPSZ, N_OPSZ_D64, N_ADSZ, N_REXW, N_REXB, N_VEXW, N_VEXL, N_MODE64,
    N_MODRM, N_GROUP, N_RM,
};

struct node {
    u8 kind;
    u16 row;
    const struct node *sub;
};

#undef UD
#undef PFX
#undef NP
#undef ONLYF3
#undef ONLY66
#undef REP
#undef OPSZ
#undef OPSZ_D64
#undef ADSZ
#undef REXW
#undef REXB
#undef VEXW
#undef VEXL
#undef W0
#undef W1
#undef L0
#undef L1
#undef MODE64
#undef MODRM
#undef GROUP
#undef RM
#undef AT
#undef I
#define NODE(k, n, ...) {.kind = k, .sub = (const struct node[n]){__VA_ARGS__}}
#define UD {.kind = N_UD}
#define PFX(...) NODE(N_PFX, 4, __VA_ARGS__)
#define NP(...) NODE(N_PFX, 4, __VA_ARGS__, UD, UD, UD)
#define ONLYF3(...) NODE(N_PFX, 4, UD, UD, __VA_ARGS__, UD)
#define ONLY66(o, ...) [o] = NODE(N_PFX, 4, UD, __VA_ARGS__, UD, UD),
#define REP(...) NODE(N_REP, 3, __VA_ARGS__)
#define OPSZ(...) NODE(N_OPSZ, 3, __VA_ARGS__)
#define OPSZ_D64(...) NODE(N_OPSZ_D64, 3, __VA_ARGS__)
#define ADSZ(...) NODE(N_ADSZ, 3, __VA_ARGS__)
#define REXW(...) NODE(N_REXW, 2, __VA_ARGS__)
#define REXB(...) NODE(N_REXB, 2, __VA_ARGS__)
#define VEXW(...) NODE(N_VEXW, 2, __VA_ARGS__)
#define VEXL(...) NODE(N_VEXL, 2, __VA_ARGS__)
#define W0(...) VEXW(__VA_ARGS__, UD)
#define W1(...) VEXW(UD, __VA_ARGS__)
#define L0(...) VEXL(__VA_ARGS__, UD)
#define L1(...) VEXL(UD, __VA_ARGS__)
#define MODE64(...) NODE(N_MODE64, 2, __VA_ARGS__)
#define MODRM(...) NODE(N_MODRM, 2, __VA_ARGS__)
#define GROUP(...) NODE(N_GROUP, 8, __VA_ARGS__)
#define RM(...) NODE(N_RM, 8, __VA_ARGS__)
#define AT(o, ...) [o] = __VA_ARGS__,
#define I(...) {.kind = N_ROW, .row = __COUNTER__ - MAPS_BASE}

enum { MAPS_BASE = __COUNTER__ + 1 };
static const struct node map_1[256] = {
#include "cpu/opmap_1.inc"
#include "cpu/opmap_x87.inc"
};
static const struct node map_0f[256] = {
#include "cpu/opmap_0f.inc"
};
static const struct node map_0f38[256] = {
#include "cpu/opmap_0f38.inc"
};
static const struct node map_0f3a[256] = {
#include "cpu/opmap_0f3a.inc"
};
static const struct node map_vex_0f[256] = {
#include "cpu/opmap_vex_0f.inc"
};
static const struct node map_vex_0f38[256] = {
#include "cpu/opmap_vex_0f38.inc"
};
static const struct node map_vex_0f3a[256] = {
#include "cpu/opmap_vex_0f3a.inc"
};
enum { MAPS_END = __COUNTER__ };
static_assert(MAPS_END - MAPS_BASE == ARRAY_SIZE(rows), "the readings of the maps differ");

/* ---- decoding ---- */

enum { INSN_MAX_LEN = 15, NO_SEG = 0xff };
enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

/* What is known between the prefixes and the end of the instruction. */
struct decoder {
    const u8 *p;
    unsigned pos, limit;
    bool overrun; /* a fetch went past the limit: everything since is meaningless */
    bool ud;      /* an operand is not encodable */
    bool opsize_prefix, addrsize_prefix;
    bool vex_w, vex_l, vvvv_used;
    bool bad_prefix; /* one that may not stand before VEX */
    u8 vvvv;
    u8 pfx;  /* mandatory prefix, 0 to 3: none, 66, F3, F2 */
    u8 rep, seg;
    u8 size; /* operand size attribute: 0, 1, 2 for 16, 32, 64 bits */
    struct insn *in;
};

static u64 fetch(struct decoder *d, unsigned bytes)
{
    const u8 *p = d->p + d->pos;
    if (unlikely(d->pos + bytes > d->limit)) {
        d->overrun = true;
        d->pos = d->limit;
        return 0;
    }
    d->pos += bytes;
    switch (bytes) {
    case 1: return *p;
    case 2: return load_le(p, 2);
    case 4: return load_le(p, 4);
    default: return load_le(p, 8);
    }
}

static s64 fetch_signed(struct decoder *d, unsigned bytes)
{
    return sign_extend(fetch(d, bytes), bytes * 8);
}

/* Reads the ModRM byte, once. */
static unsigned modrm(struct decoder *d)
{
    if (!d->in->has_modrm) {
        d->in->has_modrm = true;
        d->in->modrm = fetch(d, 1);
    }
    return d->in->modrm;
}

/* Legacy prefixes in any order (SDM vol. 2A 2.1.1), then REX, which counts only directly before
 * the opcode (2.2.1).  Of several of one group the last counts.  Returns the first opcode byte. */
static u8 decode_prefixes(struct decoder *d)
{
    struct insn *in = d->in;
    for (;;) {
        u8 b = fetch(d, 1);
        if (in->mode == 64 && (b & 0xf0) == 0x40) {
            in->rex = b;
            continue;
        }
        switch (b) {
        case 0x66: d->opsize_prefix = true; break;
        case 0x67: d->addrsize_prefix = true; break;
        case 0xf0: in->lock = true; break;
        case 0xf2:
        case 0xf3: d->rep = b; break;
        case 0x64: d->seg = SEG_FS; break;
        case 0x65: d->seg = SEG_GS; break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            /* 64-bit mode ignores these (SDM vol. 1 3.4.2.1), also after an FS or GS override. */
            if (in->mode != 64)
                d->seg = (b >> 3) & 3;
            break;
        default: return b;
        }
        in->rex = 0;
    }
}

/* C4 and C5 are LES and LDS outside 64-bit mode unless ModRM.mod would be 11, which those two have
 * not (SDM vol. 2A 2.3.5). */
static bool is_vex(const struct decoder *d, u8 opcode)
{
    if ((opcode | 1) != 0xc5)
        return false;
    return d->in->mode == 64 || (d->pos < d->limit && d->p[d->pos] >= 0xc0);
}

/* The rest of a VEX prefix (SDM vol. 2A 2.3.5): its fields, as a REX byte where they mean the
 * same.  Outside 64-bit mode there are eight registers, so that R, X, B and the top bit of vvvv do
 * not count, and W does not make operands larger. */
static void decode_vex(struct decoder *d, u8 opcode)
{
    static const u8 pp[4] = {0, 0x66, 0xf3, 0xf2};
    struct insn *in = d->in;
    if (d->opsize_prefix || d->rep || in->lock || in->rex)
        d->ud = d->bad_prefix = true; /* 2.3.2, 2.3.3 */
    u8 first = fetch(d, 1), last = opcode == 0xc5 ? first & 0x7f : (u8)fetch(d, 1);
    in->map = opcode == 0xc5 ? 1 : first & 31;
    in->vex = true;
    d->vex_w = last >> 7;
    in->vl = last >> 2 & 1;
    d->vex_l = in->vl;
    d->vvvv = ~last >> 3 & (in->mode == 64 ? 15 : 7);
    d->pfx = last & 3;
    d->opsize_prefix = pp[d->pfx] == 0x66;
    in->rex = 0;
    if (in->mode == 64) {
        unsigned rxb = opcode == 0xc5 ? ~first >> 5 & 4 : ~first >> 5 & 7;
        in->rex = 0x40 | rxb | (d->vex_w ? REX_W : 0);
    }
}

/* Operand and address size attributes, SDM vol. 1 3.6. */
static void decode_sizes(struct decoder *d)
{
    struct insn *in = d->in;
    if (in->vex) {
        d->size = in->rex & REX_W ? 2 : 1;
        in->addrsize = in->mode == 64 ? d->addrsize_prefix ? 4 : 8
                       : (in->mode == 32) != d->addrsize_prefix ? 4 : 2;
    } else if (in->mode == 64) {
        d->size = in->rex & REX_W ? 2 : d->opsize_prefix ? 0 : 1;
        in->addrsize = d->addrsize_prefix ? 4 : 8;
    } else {
        d->size = (in->mode == 32) != d->opsize_prefix;
        in->addrsize = (in->mode == 32) != d->addrsize_prefix ? 4 : 2;
    }
}

static const struct node *opcode_node(struct decoder *d, u8 opcode)
{
    struct insn *in = d->in;
    const struct node *map = map_1;
    if (opcode == 0x0f) {
        opcode = fetch(d, 1);
        in->map = 1;
        map = map_0f;
        if (opcode == 0x38) {
            opcode = fetch(d, 1);
            in->map = 2;
            map = map_0f38;
        } else if (opcode == 0x3a) {
            opcode = fetch(d, 1);
            in->map = 3;
            map = map_0f3a;
        }
    }
    in->opcode = opcode;
    return &map[opcode];
}

static const struct node *vex_node(struct decoder *d)
{
    static const struct node *const maps[] = {NULL, map_vex_0f, map_vex_0f38, map_vex_0f3a};
    static const struct node ud = UD;
    struct insn *in = d->in;
    in->opcode = fetch(d, 1);
    return in->map && in->map < ARRAY_SIZE(maps) ? &maps[in->map][in->opcode] : &ud;
}

/* Follows the choices of a map's node to a row, or NULL for #UD. */
static const struct row *find_row(struct decoder *d, const struct node *node)
{
    struct insn *in = d->in;
    for (;;) {
        unsigned i;
        switch (node->kind) {
        case N_ROW: return &rows[node->row];
        case N_PFX: i = d->pfx; break;
        case N_REP: i = d->rep ? 2 - (d->rep & 1) : 0; break;
        case N_OPSZ: i = d->size; break;
        case N_OPSZ_D64: i = in->mode == 64 && d->size ? 2 : d->size; break;
        case N_ADSZ: i = in->addrsize >> 2; break;
        case N_REXW: i = (in->rex & REX_W) != 0; break;
        case N_REXB: i = in->rex & REX_B; break;
        case N_VEXW: i = d->vex_w; break;
        case N_VEXL: i = d->vex_l; break;
        case N_MODE64: i = in->mode == 64; break;
        case N_MODRM: i = modrm(d) >= 0xc0; break;
        case N_GROUP: i = (modrm(d) >> 3) & 7; break;
        case N_RM: i = modrm(d) & 7; break;
        default: return NULL;
        }
        node = &node->sub[i];
    }
}

/* Memory operand in 16-bit form, SDM vol. 2A table 2-1. */
static void decode_mem16(struct decoder *d)
{
    static const u8 base[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
    static const u8 index[8] = {RSI, RDI, RSI, RDI, REG_NONE, REG_NONE, REG_NONE, REG_NONE};
    struct insn *in = d->in;
    unsigned mod = in->modrm >> 6, rm = in->modrm & 7;
    in->base = base[rm];
    in->index = index[rm];
    if (mod == 0 && rm == 6) {
        in->base = REG_NONE;
        in->disp = fetch_signed(d, 2);
    } else if (mod) {
        in->disp = fetch_signed(d, mod);
    }
}

/* Memory operand in 32- or 64-bit form, SDM vol. 2A tables 2-2, 2-3 and 2.2.1.6. */
static void decode_mem32(struct decoder *d)
{
    struct insn *in = d->in;
    unsigned mod = in->modrm >> 6, base = in->modrm & 7;
    if (base == 4) {
        u8 sib = fetch(d, 1);
        unsigned index = ((sib >> 3) & 7) | (in->rex & REX_X) << 2;
        base = sib & 7;
        in->scale = 1 << (sib >> 6);
        if (index != 4 || in->vsib)
            in->index = index;
        if (base == 5 && mod == 0) {
            in->disp = fetch_signed(d, 4);
            return;
        }
    } else if (base == 5 && mod == 0) {
        in->disp = fetch_signed(d, 4);
        if (in->mode == 64)
            in->base = REG_RIP;
        return;
    }
    in->base = base | (in->rex & REX_B) << 3;
    if (mod)
        in->disp = fetch_signed(d, mod == 1 ? 1 : 4);
}

/* Fills the memory operand's fields.  A base of SP or BP makes SS the default segment (SDM vol. 1
 * 3.7.4), in 64-bit mode too: it tells #SS from #GP there. */
static void decode_mem(struct decoder *d)
{
    struct insn *in = d->in;
    if (in->addrsize == 2)
        decode_mem16(d);
    else
        decode_mem32(d);
    if (!in->seg_override && (in->base == RSP || in->base == RBP))
        in->seg = SEG_SS;
}

static void operand_reg(struct operand *o, unsigned cls, unsigned reg)
{
    o->kind = OPND_REG;
    o->cls = cls;
    o->reg = reg;
}

static void operand_vec(struct operand *o, unsigned reg)
{
    operand_reg(o, o->size == 32 ? RC_YMM : RC_XMM, reg);
}

/* Byte registers 4-7 are AH-BH without REX (SDM vol. 2A 2.2.1.2). */
static void operand_reg8(struct decoder *d, struct operand *o, unsigned reg)
{
    if (!d->in->rex && reg >= 4)
        operand_reg(o, RC_GPR8H, reg - 4);
    else
        operand_reg(o, RC_GPR, reg);
}

static unsigned size_of(const struct decoder *d, unsigned code)
{
    if (code >= S_BY_L)
        return size_table[code][d->vex_l];
    return size_table[code][code >= S_BY_MODE ? 1 + (d->in->mode == 64) : d->size];
}

/* An operand that ModRM.mod and .rm name: fills it if it is memory.  Returns whether it is a
 * register instead. */
static bool operand_rm(struct decoder *d, struct operand *o, const struct letters *l)
{
    if (d->in->modrm >= 0xc0)
        return true;
    o->kind = OPND_MEM;
    o->size = size_of(d, l->mem_size);
    return false;
}

/* Immediates, offsets and displacements, in the order of the row. */
static void operand_imm(struct decoder *d, struct operand *o, const struct letters *l)
{
    struct insn *in = d->in;
    unsigned bytes = size_of(d, l->mem_size);
    o->kind = OPND_IMM;
    switch (l->method) {
    case A_IMM: in->imm = fetch(d, bytes); break;
    case A_IMM_S:
        in->imm = o->size > bytes || bytes == 1 ? (u64)fetch_signed(d, bytes) : fetch(d, bytes);
        break;
    case A_IMM2: in->imm2 = fetch(d, bytes); break;
    case A_FAR:
        o->kind = OPND_FAR;
        in->imm = fetch(d, bytes - 2);
        in->imm2 = fetch(d, 2);
        break;
    case A_REL:
        o->kind = OPND_REL;
        in->rel = fetch_signed(d, bytes);
        break;
    default: /* A_MOFFS */
        o->kind = OPND_MEM;
        in->disp = fetch(d, in->addrsize);
        break;
    }
}

static void decode_operand(struct decoder *d, struct operand *o, unsigned code)
{
    const struct letters *l = &letters[code];
    struct insn *in = d->in;
    unsigned reg = ((in->modrm >> 3) & 7) | (in->rex & REX_R) << 1;
    unsigned rm = (in->modrm & 7) | (in->rex & REX_B) << 3;
    o->size = size_of(d, l->reg_size);
    switch (l->method) {
    case A_ONE:
        o->kind = OPND_IMM;
        o->implicit = true;
        in->imm = 1;
        break;
    case A_GPR: operand_reg(o, RC_GPR, (in->opcode & 7) | (in->rex & REX_B) << 3); break;
    case A_GPR8: operand_reg8(d, o, (in->opcode & 7) | (in->rex & REX_B) << 3); break;
    case A_AL:
    case A_RAX: operand_reg(o, RC_GPR, RAX); break;
    case A_CL:
        operand_reg(o, RC_GPR, RCX);
        o->implicit = true;
        break;
    case A_DX: operand_reg(o, RC_GPR, RDX); break;
    case A_SEGREG: operand_reg(o, RC_SEG, code - ES); break;
    case A_ST0: operand_reg(o, RC_ST, 0); break;
    case A_STI: operand_reg(o, RC_ST, in->modrm & 7); break;
    case A_XMM0:
        operand_reg(o, RC_XMM, 0);
        o->implicit = true;
        break;
    case A_E:
        if (operand_rm(d, o, l))
            operand_reg(o, RC_GPR, rm);
        break;
    case A_E8:
        if (operand_rm(d, o, l))
            operand_reg8(d, o, rm);
        break;
    case A_M: d->ud |= operand_rm(d, o, l); break;
    case A_Q:
        if (operand_rm(d, o, l))
            operand_reg(o, RC_MMX, in->modrm & 7);
        break;
    case A_W:
        if (operand_rm(d, o, l))
            operand_vec(o, rm);
        break;
    case A_RM_REG: operand_reg(o, RC_GPR, rm); break;
    case A_G: operand_reg(o, RC_GPR, reg); break;
    case A_G8: operand_reg8(d, o, reg); break;
    case A_S:
        operand_reg(o, RC_SEG, reg & 7);
        d->ud |= (reg & 7) > SEG_GS;
        break;
    case A_C:
        operand_reg(o, RC_CR, reg);
        d->ud |= !((BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(8)) >> reg & 1);
        break;
    case A_D:
        operand_reg(o, RC_DR, reg);
        d->ud |= reg > 7;
        break;
    case A_P: operand_reg(o, RC_MMX, reg & 7); break;
    case A_V: operand_vec(o, reg); break;
    case A_H:
        operand_vec(o, d->vvvv);
        d->vvvv_used = true;
        break;
    case A_B:
        operand_reg(o, RC_GPR, d->vvvv);
        d->vvvv_used = true;
        break;
    case A_L: operand_vec(o, (unsigned)fetch(d, 1) >> 4 & (in->mode == 64 ? 15 : 7)); break;
    case A_VSIB: d->ud |= operand_rm(d, o, l) || !in->vsib; break;
    default: operand_imm(d, o, l); break;
    }
}

/* The row's share: modes, operand size, ModRM's memory operand, operands, LOCK. */
static bool decode_row(struct decoder *d, const struct row *row)
{
    struct insn *in = d->in;
    u32 props = row->pub.props;
    in->row = &row->pub;
    in->op = row->pub.op;
    if (props & (in->mode == 64 ? I64 : O64))
        return false;
    if (in->mode == 64 && props & (D64 | F64) && (d->size || props & F64))
        d->size = 2;
    in->opsize = 2 << d->size;
    if (row->operand[0] > FIRST_MODRM || row->operand[1] > FIRST_MODRM)
        modrm(d);
    /* VSIB needs a SIB byte, which 16-bit addresses have not (SDM vol. 2A 2.3.12). */
    in->vsib = props & ROW_VSIB && in->addrsize != 2 && in->modrm < 0xc0 && (in->modrm & 7) == 4;
    if (in->has_modrm && in->modrm < 0xc0 && !(props & NOMOD))
        decode_mem(d);
    unsigned n;
    for (n = 0; n < INSN_MAX_OPERANDS && row->operand[n]; n++)
        decode_operand(d, &in->opnd[n], row->operand[n]);
    in->operands = n;
    if (props & LOADSEG && in->opnd[0].reg == SEG_CS)
        return false;
    if (in->vex && d->vvvv && !d->vvvv_used)
        return false;
    /* Gathers: destination, index and mask must differ (SDM vol. 2, VGATHERDPS). */
    if (in->vsib && (in->opnd[0].reg == in->index || in->opnd[2].reg == in->index ||
                     in->opnd[0].reg == in->opnd[2].reg))
        return false;
    /* SDM vol. 2A, LOCK: only with the listed instructions and a memory destination. */
    if (in->lock && (!(props & ROW_LOCKABLE) || in->opnd[0].kind != OPND_MEM))
        return false;
    return !d->ud;
}

enum decode_status decode(struct insn *out, const u8 *p, unsigned avail, unsigned mode)
{
    struct decoder d = {
        .p = p, .limit = avail < INSN_MAX_LEN ? avail : INSN_MAX_LEN, .seg = NO_SEG, .in = out,
    };
    *out = (struct insn){.mode = mode, .base = REG_NONE, .index = REG_NONE, .scale = 1};
    u8 opcode = decode_prefixes(&d);
    d.pfx = d.rep ? 3 - (d.rep & 1) : d.opsize_prefix;
    if (is_vex(&d, opcode))
        decode_vex(&d, opcode);
    decode_sizes(&d);
    out->rep = d.rep;
    out->seg_override = d.seg != NO_SEG;
    out->seg = out->seg_override ? d.seg : SEG_DS;
    out->opsize = 2 << d.size;
    const struct row *row = find_row(&d, out->vex ? vex_node(&d) : opcode_node(&d, opcode));
    out->cc = out->opcode & 15;
    bool ok = row && decode_row(&d, row);
    out->len = d.pos;
    /* Which of the two exceptions comes first the manuals leave open; AMD's processors look at the
     * prefixes before they count. */
    if (d.overrun)
        return avail < INSN_MAX_LEN ? DECODE_TRUNCATED : d.bad_prefix ? DECODE_UD : DECODE_TOO_LONG;
    return ok ? DECODE_OK : DECODE_UD;
}

unsigned decode_rows(const struct opcode_row *const **out)
{
    *out = row_pointers;
    return ARRAY_SIZE(row_pointers);
}

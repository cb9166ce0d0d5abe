/* What evaluators and host selectors need to know of the vector ops: the x86-64 shape and opcode
 * of each row of ir_vec.def, and its portable evaluator.  Nothing of a machine is included here.
 */
#ifndef DRAGOMAN_TRANSLATOR_IR_VEC_H
#define DRAGOMAN_TRANSLATOR_IR_VEC_H

#include "translator/ir.h"
#include "translator/ir_eval_vec.h"

/* Float formats: aux of the rows with VK_AUX. */
enum vec_format { VF_PS, VF_PD, VF_SS, VF_SD };
/* Domains: aux of vand, vandn, vor, vxor. */
enum vec_domain { VD_INT, VD_SINGLE, VD_DOUBLE };

/* How the x86-64 host encodes a row.  "dst = a" means: the destination register must hold a
 * first (two-operand destructive form).  reg and rm are the ModRM fields. */
enum vec_shape {
    V_ZERO,       /* no input: PXOR dst,dst */
    V_RR,         /* dst = a; op reg=dst, rm=b */
    V_RR_I,       /* dst = a; op reg=dst, rm=b, imm8 */
    V_R,          /* op reg=dst, rm=a; dst may be any register */
    V_R_I,        /* op reg=dst, rm=a, imm8 */
    V_SHIFT_I,    /* dst = a; op reg=/ext, rm=dst, imm8 */
    V_TO_GPR,     /* op reg=GPR result, rm=a; REX.W when w is W64 and key is VK_AUX */
    V_TO_RM_I,    /* op rm=GPR result, reg=a, imm8; REX.W when w is W64 */
    V_FROM_GPR,   /* dst = a; op reg=dst, rm=GPR b; REX.W when w is W64 */
    V_FROM_GPR_I, /* likewise with imm8 */
    V_FLAGS,      /* op reg=a, rm=b: the result is in the host's ZF, PF, CF; OF SF AF are 0 */
    V_RR_XMM0,    /* dst = a; op reg=dst, rm=b, with c in XMM0 */
    V_TO_XRM_I,   /* op rm=dst, reg=a, imm8 */
    V_FMA,        /* dst = a; op reg=dst, vvvv=b, rm=c, the opcode byte in imm */
    V_STRING,     /* op reg=a, rm=b, imm8, with c and d in RAX and RDX: index in ECX or mask in
                   * XMM0, and flags */
};

enum vec_key { VK_ONE, VK_W, VK_AUX };

enum {
    VI_COMM = 1 << 0, /* a and b may change places */
    VI_TINY = 1 << 1, /* the result can be denormal by rounding: underflow is possible */
    VI_LEGACY = 1 << 2, /* has no VEX form */
    VI_VEX_W = 1 << 3,  /* the VEX form needs W, that of V_STRING REX.W */
    VI_VEX_W64 = 1 << 4, /* the VEX form has W when w is W64 */
};

/* Instruction sets of the host. */
enum vec_level {
    VL_SSE2, VL_SSE3, VL_SSSE3, VL_SSE41, VL_SSE42, VL_AES, VL_PCLMUL, VL_SHA, VL_GFNI,
    VL_AVX, VL_AVX2, VL_FMA, VL_F16C, VL_VAES, VL_VPCLMUL,
};

/* What this host has: a bit for each VL_; 0 on others than x86-64. */
u32 vec_host_levels(void);

/* A host opcode: mandatory prefix (0, 66, F2, F3), map (1: 0F, 2: 0F 38, 3: 0F 3A), byte. */
struct vec_opcode {
    u8 pfx, map, opc;
};

/* Evaluator of one row: the portable meaning, see ir_eval_vec. */
typedef void (*vec_eval_fn)(struct cpu *cpu, const struct ir_insn *in,
                            const union ir_value *const args[4], union ir_value *out);

struct vec_info {
    u8 shape; /* enum vec_shape */
    u8 key;   /* enum vec_key */
    u8 flags; /* VI_ */
    u8 level; /* enum vec_level of the columns with map 2 or 3 */
    u8 ext;   /* /digit of V_SHIFT_I */
    struct vec_opcode col[4]; /* map 0: no such lane or format */
    vec_eval_fn eval;
};

/* By IR op; only IR_VEC_FIRST .. IR_OP_COUNT-1 are filled. */
#define IR_VEC_FIRST IR_vzero
extern const struct vec_info ir_vec_info[IR_OP_COUNT];

static inline bool ir_is_vec(unsigned op)
{
    return op >= IR_VEC_FIRST && op < IR_OP_COUNT;
}

/* Column of an op's opcode, 0..3; map is 0 there when the op is not well formed. */
static inline const struct vec_opcode *vec_opcode(const struct ir_insn *in)
{
    const struct vec_info *vi = &ir_vec_info[in->op];
    return &vi->col[vi->key == VK_ONE ? 0 : (vi->key == VK_W ? in->w : in->aux) & 3];
}

/* What the host must have for it. */
static inline enum vec_level vec_level(const struct ir_insn *in)
{
    unsigned level = ir_vec_info[in->op].level;
    if (in->vl && (level == VL_AES || level == VL_PCLMUL))
        return level == VL_AES ? VL_VAES : VL_VPCLMUL;
    return vec_opcode(in)->map > 1 ? level : level == VL_SSE3 ? VL_SSE3 : VL_SSE2;
}

/* Whether operand k, a vector, counts with its low 128 bits only, whatever vl says. */
static inline bool vec_reads_low(const struct ir_insn *in, unsigned k)
{
    switch (in->op) {
    case IR_vsx2: case IR_vsx4: case IR_vsx8: case IR_vzx2: case IR_vzx4: case IR_vzx8:
    case IR_vbcast: case IR_fpfromh:
        return true;
    case IR_fpcvt: return in->aux == VF_PS;
    case IR_fpfromi: return in->aux == VF_PD;
    case IR_vinsl: return k == 1 || !(in->imm & 1);
    case IR_vshl: case IR_vshr: case IR_vsar: return k == 1;
    default: return false;
    }
}

/* Whether w and aux name a lane or format that the row has. */
static inline bool vec_valid(const struct ir_insn *in)
{
    const struct vec_info *vi = &ir_vec_info[in->op];
    unsigned col = vi->key == VK_ONE ? 0 : vi->key == VK_W ? in->w : in->aux;
    return col < 4 && vi->col[col].map != 0;
}

#endif

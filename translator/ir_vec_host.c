/* Floating-point vector ops executed by the host's own instruction, expanded from ir_vec.def.
 *
 * On x86-64 each VECF row and format becomes one short piece of assembly that runs the opcode of
 * its column under the guest's MXCSR, so that results, approximations and exception flags are
 * exact.  Opcodes with an immediate have a table of their 256 forms.  Other hosts: nothing here.
 */
#include "translator/ir_vec.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* The bytes of an opcode constant, most significant first. */
#define OPC_BYTES(o)                                                                               \
    ".if " o " > 0xffffff\n .byte (" o ">>24)&255\n .endif\n"                                      \
    ".if " o " > 0xffff\n .byte (" o ">>16)&255\n .endif\n"                                        \
    ".byte (" o ">>8)&255, " o "&255\n"
/* The same with REX.W between the mandatory prefix and the opcode (three-byte constants). */
#define OPC_BYTES_W(o) ".byte (" o ">>16)&255, 0x48, (" o ">>8)&255, " o "&255\n"

/* 256 pieces of 8 bytes: op xmm0, xmm1, imm8; jmp *%rax. */
#define IMM_TABLE(o)                                                                               \
    __asm__(".if " #o "\n .text\n .balign 64\n vec_imm_" #o ":\n .set vec_imm_i, 0\n .rept 256\n"  \
            ".balign 8\n" OPC_BYTES(#o) ".byte 0xc1, vec_imm_i\n jmp *%rax\n"                      \
            ".set vec_imm_i, vec_imm_i + 1\n .endr\n .endif\n");

/* What the columns without an opcode name; never reached. */
__asm__(".text\n vec_imm_0: ud2\n");

#define TABLE_V_RR(o)
#define TABLE_V_R(o)
#define TABLE_V_TO_GPR(o)
#define TABLE_V_FROM_GPR(o)
#define TABLE_V_FLAGS(o)
#define TABLE_V_RR_I(o) IMM_TABLE(o)
#define TABLE_V_R_I(o) IMM_TABLE(o)
#define VEC(...)
#define VECF(name, out, in, effects, meaning, shape, key, flags, level, ext, c0, c1, c2, c3, fn)   \
    TABLE_##shape(c0) TABLE_##shape(c1) TABLE_##shape(c2) TABLE_##shape(c3)
#include "translator/ir_vec.def"
#undef VEC

/* What every piece of assembly reads and writes. */
struct host_op {
    union ir_value a, b; /* the result replaces a */
    u64 i;
    u32 mxcsr, host_mxcsr;
    u8 imm;
};

#define ENTER "ldmxcsr %[mx]\n movaps %[a], %%xmm0\n movaps %[b], %%xmm1\n"
#define LEAVE "stmxcsr %[mx]\n ldmxcsr %[host]\n"
#define OPERANDS(h)                                                                                \
    [a] "+m"(h->a), [i] "+m"(h->i), [mx] "+m"(h->mxcsr) : [b] "m"(h->b), [host] "m"(h->host_mxcsr)
#define CLOBBERS "xmm0", "xmm1", "rax", "cc", "memory"

#define RUN_V_RR(o, h)                                                                             \
    __asm__ volatile(ENTER OPC_BYTES(#o) ".byte 0xc1\n movaps %%xmm0, %[a]\n" LEAVE                \
                     : OPERANDS(h)                                                                 \
                     : CLOBBERS)
/* b is the source of one-operand forms too, so that one encoding serves. */
#define RUN_V_R(o, h)                                                                              \
    h->b = h->a;                                                                                   \
    RUN_V_RR(o, h)
#define RUN_V_RR_I(o, h)                                                                           \
    __asm__ volatile(ENTER "lea 9f(%%rip), %%rax\n lea vec_imm_" #o "(%%rip), %%rcx\n"             \
                     "lea (%%rcx,%[imm],8), %%rcx\n jmp *%%rcx\n 9: movaps %%xmm0, %[a]\n" LEAVE   \
                     : OPERANDS(h), [imm] "r"((u64)h->imm)                                         \
                     : CLOBBERS, "rcx")
#define RUN_V_R_I(o, h)                                                                            \
    h->b = h->a;                                                                                   \
    RUN_V_RR_I(o, h)
#define RUN_V_TO_GPR(o, h)                                                                         \
    if (in->w == W64)                                                                              \
        __asm__ volatile(ENTER OPC_BYTES_W(#o) ".byte 0xc0\n mov %%rax, %[i]\n" LEAVE              \
                         : OPERANDS(h)                                                             \
                         : CLOBBERS);                                                              \
    else                                                                                           \
        __asm__ volatile(ENTER OPC_BYTES(#o) ".byte 0xc0\n mov %%rax, %[i]\n" LEAVE                \
                         : OPERANDS(h)                                                             \
                         : CLOBBERS)
#define RUN_V_FROM_GPR(o, h)                                                                       \
    if (in->w == W64)                                                                              \
        __asm__ volatile(ENTER "mov %[i], %%rax\n" OPC_BYTES_W(#o)                                 \
                         ".byte 0xc0\n movaps %%xmm0, %[a]\n" LEAVE                                \
                         : OPERANDS(h)                                                             \
                         : CLOBBERS);                                                              \
    else                                                                                           \
        __asm__ volatile(ENTER "mov %[i], %%rax\n" OPC_BYTES(#o)                                   \
                         ".byte 0xc0\n movaps %%xmm0, %[a]\n" LEAVE                                \
                         : OPERANDS(h)                                                             \
                         : CLOBBERS)
#define RUN_V_FLAGS(o, h)                                                                          \
    __asm__ volatile(ENTER OPC_BYTES(#o) ".byte 0xc1\n lahf\n movzbl %%ah, %%eax\n"                \
                                         "mov %%rax, %[i]\n" LEAVE                                 \
                     : OPERANDS(h)                                                                 \
                     : CLOBBERS)

u32 vec_host_levels(void)
{
    static const struct { u8 level; u16 leaf, reg, bit; } others[] = {
        {VL_SSE3, 1, 2, 0}, {VL_SSSE3, 1, 2, 9}, {VL_SSE41, 1, 2, 19}, {VL_SSE42, 1, 2, 20},
        {VL_AES, 1, 2, 25}, {VL_PCLMUL, 1, 2, 1}, {VL_SHA, 7, 1, 29}, {VL_GFNI, 7, 2, 8},
        {VL_AVX, 1, 2, 28}, {VL_AVX2, 7, 1, 5}, {VL_FMA, 1, 2, 12}, {VL_F16C, 1, 2, 29},
        {VL_VAES, 7, 2, 9}, {VL_VPCLMUL, 7, 2, 10},
    };
    /* The kernel must keep the upper halves (SDM vol. 1, 14.3). */
    u32 needs_ymm = 1u << VL_AVX | 1u << VL_AVX2 | 1u << VL_FMA | 1u << VL_F16C | 1u << VL_VAES |
                    1u << VL_VPCLMUL;
    u32 levels = 1u << VL_SSE2;
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        u32 r[4] = {0};
        if (__get_cpuid_count(others[i].leaf, 0, &r[0], &r[1], &r[2], &r[3]) &&
            r[others[i].reg] >> others[i].bit & 1)
            levels |= 1u << others[i].level;
    }
    return __builtin_cpu_supports("avx") ? levels : levels & ~needs_ymm;
}

static bool supported(enum vec_level level)
{
    static u32 levels; /* the same whoever fills it in */
    u32 have = __atomic_load_n(&levels, __ATOMIC_RELAXED);
    if (!have)
        __atomic_store_n(&levels, have = vec_host_levels(), __ATOMIC_RELAXED);
    return have >> level & 1;
}

/* One case for each column that exists; columns without an opcode get keys that never occur. */
#define RUN_KEY(name, o, col) ((o) ? IR_##name * 4 + (col) : -1 - IR_##name * 4 - (col))
#define RUN_CASE(name, shape, o, col)                                                              \
    case RUN_KEY(name, o, col): RUN_##shape(o, h); break;

static bool run(struct host_op *h, const struct ir_insn *in)
{
    int col = ir_vec_info[in->op].key == VK_ONE ? 0 : in->aux;
    switch (in->op * 4 + col) {
#define VEC(...)
#define VECF(name, out, in_, effects, meaning, shape, key, flags, level, ext, c0, c1, c2, c3, fn)  \
    RUN_CASE(name, shape, c0, 0)                                                                   \
    RUN_CASE(name, shape, c1, 1) RUN_CASE(name, shape, c2, 2) RUN_CASE(name, shape, c3, 3)
#include "translator/ir_vec.def"
#undef VEC
    default: return false;
    }
    return true;
}

bool ir_vec_host(u32 *mxcsr, const struct ir_insn *in, const union ir_value *const args[4],
                 union ir_value *out)
{
    enum { MASKS = 0x1f80, FLAGS = 0x3f };
    /* The legacy form of the comparisons has eight predicates. */
    if (in->op == IR_fpcmp && in->imm > 7)
        return false;
    if (in->op < IR_fpadd || in->op >= IR_OP_COUNT || !vec_valid(in) || !supported(vec_level(in)))
        return false;
    struct host_op h = {.a = *args[0], .mxcsr = *mxcsr | MASKS, .imm = (u8)in->imm};
    bool integer_b = ir_vec_info[in->op].shape == V_FROM_GPR;
    if (args[1] && !integer_b)
        h.b = *args[1];
    h.i = integer_b ? args[1]->q[0] : 0;
    __asm__("stmxcsr %0" : "=m"(h.host_mxcsr));
    if (!run(&h, in))
        return false;
    *mxcsr |= h.mxcsr & FLAGS;
    switch (ir_vec_info[in->op].shape) {
    case V_TO_GPR: *out = (union ir_value){{h.i & size_mask(W_BYTES(in->w)), 0}}; break;
    case V_FLAGS: *out = (union ir_value){{h.i & FL_ARITH, 0}}; break;
    default: *out = h.a; break;
    }
    return true;
}

#else

u32 vec_host_levels(void)
{
    return 0;
}

bool ir_vec_host(u32 *mxcsr, const struct ir_insn *in, const union ir_value *const args[4],
                 union ir_value *out)
{
    return false;
}

#endif

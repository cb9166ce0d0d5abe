/* The x86-64 encoder against Capstone: every function over registers, widths and addressing forms;
 * what is disassembled must be one instruction of the emitted length with the operands asked for. */
#include <capstone/capstone.h>
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "tests/suite.h"
#include "translator/x64/x64_emit.h"

enum { W8, W16, W32, W64, W128 };

static csh handle;
static cs_insn *insn;
static u8 code[64];
static struct x64_buf buf;

static void setup(void)
{
    ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_64, &handle), CS_ERR_OK);
    cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
    insn = cs_malloc(handle);
}

static void teardown(void)
{
    cs_free(insn, 1);
    cs_close(&handle);
}

/* ---- what is expected ---- */

struct operand {
    enum { REG, MEM, IMM } kind;
    unsigned w;
    unsigned reg;
    struct x64_rm rm;
    s64 imm;
};

static struct operand r_(unsigned w, unsigned reg)
{
    return (struct operand){.kind = REG, .w = w, .reg = reg};
}

static struct operand rm_(unsigned w, struct x64_rm rm)
{
    return rm.is_reg ? r_(w, rm.reg) : (struct operand){.kind = MEM, .w = w, .rm = rm};
}

static struct operand i_(unsigned w, s64 imm)
{
    return (struct operand){.kind = IMM, .w = w, .imm = imm};
}

static const char *reg_name(unsigned w, unsigned reg)
{
    static const char *const names[4][8] = {
        {"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"},
        {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"},
        {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"},
        {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"}};
    static const char *const suffix[4] = {"b", "w", "d", ""};
    static char text[16];
    if (w == W128)
        snprintf(text, sizeof text, "xmm%u", reg);
    else if (reg >= 8)
        snprintf(text, sizeof text, "r%u%s", reg, suffix[w]);
    else
        return names[w][reg];
    return text;
}

static const char *cs_name(unsigned reg)
{
    const char *name = reg == X86_REG_INVALID ? NULL : cs_reg_name(handle, reg);
    return name ? name : "";
}

static void start(void)
{
    memset(code, 0xcc, sizeof code);
    buf = (struct x64_buf){.p = code, .end = code + sizeof code};
}

/* Disassembles what start() and an emitter left. */
static const cs_x86 *decode(const char *mnemonic)
{
    const u8 *p = code;
    size_t left = sizeof code, length = (size_t)(buf.p - code);
    u64 address = (u64)(uintptr_t)code;
    ck_assert_msg(cs_disasm_iter(handle, &p, &left, &address, insn), "%s: no instruction",
                  mnemonic);
    ck_assert_msg(insn->size == length, "%s: %u bytes of %zu are '%s %s'", mnemonic, insn->size,
                  length, insn->mnemonic, insn->op_str);
    ck_assert_msg(!strcmp(insn->mnemonic, mnemonic), "'%s %s' is no %s", insn->mnemonic,
                  insn->op_str, mnemonic);
    return &insn->detail->x86;
}

static bool operand_is(const cs_x86_op *op, const struct operand *want, bool any_size)
{
    const struct x64_rm *rm = &want->rm;
    u64 mask = want->w >= W64 ? ~0ull : (1ull << (8u << want->w)) - 1;
    switch (want->kind) {
    case REG:
        return op->type == X86_OP_REG && !strcmp(cs_name(op->reg), reg_name(want->w, want->reg));
    case IMM: return op->type == X86_OP_IMM && !(((u64)op->imm ^ (u64)want->imm) & mask);
    default:
        if (op->type != X86_OP_MEM || op->mem.disp != rm->disp ||
            strcmp(cs_name(op->mem.base), rm->base == X_NONE ? "" : reg_name(W64, rm->base)) ||
            (op->size != 1u << want->w && !any_size))
            return false;
        /* No index is RIZ when there is no base either. */
        if (rm->index == X_NONE)
            return op->mem.index == X86_REG_INVALID || op->mem.index == X86_REG_RIZ;
        return !strcmp(cs_name(op->mem.index), reg_name(W64, rm->index)) &&
               op->mem.scale == rm->scale;
    }
}

static void check_ops(const char *mnemonic, bool any_size, unsigned n, const struct operand *want)
{
    const cs_x86 *x = decode(mnemonic);
    ck_assert_msg(x->op_count == n, "'%s %s' has %u operands, not %u", insn->mnemonic,
                  insn->op_str, x->op_count, n);
    for (unsigned i = 0; i < n; i++)
        ck_assert_msg(operand_is(&x->operands[i], &want[i], any_size), "operand %u of '%s %s'", i,
                      insn->mnemonic, insn->op_str);
}

#define CHECK(mnemonic, ...)                                                                   \
    do {                                                                                       \
        const struct operand want_[] = {__VA_ARGS__};                                          \
        check_ops(mnemonic, false, ARRAY_SIZE(want_), want_);                                  \
    } while (0)

/* ---- forms ---- */

/* Calls fn with every register and every addressing form; `reg` runs along. */
static void each_rm(void (*fn)(unsigned w, unsigned reg, struct x64_rm rm), unsigned first,
                    unsigned last)
{
    static const s32 disps[] = {0, 1, -1, 127, -128, 128, -129, 0x12345678, -0x12345678};
    static const u8 scales[] = {1, 2, 4, 8};
    for (unsigned w = first; w <= last; w++) {
        unsigned reg = 0;
        for (unsigned a = 0; a < 16; a++)
            for (unsigned b = 0; b < 16; b++)
                fn(w, a, x64_r(b));
        for (unsigned base = 0; base <= 16; base++) {
            unsigned b = base < 16 ? base : X_NONE;
            for (unsigned d = 0; d < ARRAY_SIZE(disps); d++) {
                fn(w, reg++ & 15, x64_m(b, disps[d]));
                for (unsigned index = 0; index < 16; index++, reg++)
                    if (index != X_RSP)
                        fn(w, reg & 15, x64_mx(b, index, scales[(reg + d) & 3], disps[d]));
            }
        }
    }
}

static const char *const alu_names[] = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};

static void alu(unsigned w, unsigned reg, struct x64_rm rm)
{
    for (unsigned op = 0; op < 8; op++) {
        start();
        x64_alu(&buf, op, w, reg, rm);
        CHECK(alu_names[op], r_(w, reg), rm_(w, rm));
        start();
        x64_alu_store(&buf, op, w, rm, reg);
        CHECK(alu_names[op], rm_(w, rm), r_(w, reg));
    }
}

START_TEST(test_alu)
{
    each_rm(alu, W8, W64);
}
END_TEST

static const s32 imms[] = {0, 1, -1, 127, -128, 128, -129, 0x7fff, -0x8000, 0x12345678, -0x12345678};

static void alu_imm(unsigned w, unsigned reg, struct x64_rm rm)
{
    s32 imm = imms[(reg + rm.base) % ARRAY_SIZE(imms)];
    unsigned op = reg & 7;
    start();
    x64_alu_imm(&buf, op, w, rm, imm);
    CHECK(alu_names[op], rm_(w, rm), i_(w, imm));
    start();
    x64_test_imm(&buf, w, rm, imm);
    CHECK("test", rm_(w, rm), i_(w, imm));
    start();
    x64_store_imm(&buf, w, rm, imm);
    CHECK("mov", rm_(w, rm), i_(w, imm));
}

START_TEST(test_immediates)
{
    each_rm(alu_imm, W8, W64);
    for (unsigned w = W8; w <= W64; w++)
        for (unsigned op = 0; op < 8; op++)
            for (unsigned i = 0; i < ARRAY_SIZE(imms); i++) {
                start();
                x64_alu_imm(&buf, op, w, x64_r(op), imms[i]);
                CHECK(alu_names[op], r_(w, op), i_(w, imms[i]));
            }
}
END_TEST

static void moves(unsigned w, unsigned reg, struct x64_rm rm)
{
    start();
    x64_load(&buf, w, reg, rm);
    if (w <= W16)
        CHECK("movzx", r_(W32, reg), rm_(w, rm));
    else
        CHECK("mov", r_(w, reg), rm_(w, rm));
    start();
    x64_store(&buf, w, rm, reg);
    CHECK("mov", rm_(w, rm), r_(w, reg));
    start();
    x64_test(&buf, w, rm, reg);
    CHECK("test", rm_(w, rm), r_(w, reg));
    start();
    x64_mov_low(&buf, w, reg, rm);
    CHECK("mov", r_(w, reg), rm_(w, rm));
    for (unsigned to = w < W16 ? W16 : w + 1; to <= W64; to++) {
        if (to == W16)
            continue; /* the encoder has no 16-bit destination: wider ones do as well */
        start();
        x64_movsx(&buf, to, w, reg, rm);
        CHECK(w == W32 ? "movsxd" : "movsx", r_(to, reg), rm_(w, rm));
    }
}

START_TEST(test_moves)
{
    each_rm(moves, W8, W64);
}
END_TEST

static const char *const cc_names[] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                       "s", "ns", "p", "np", "l", "ge", "le", "g"};

static void wide(unsigned w, unsigned reg, struct x64_rm rm)
{
    char text[16];
    if (!rm.is_reg) {
        start();
        x64_lea(&buf, w, reg, rm);
        if (w >= W32) {
            const struct operand want[] = {r_(w, reg), rm_(w, rm)};
            check_ops("lea", true, 2, want);
        }
    }
    start();
    x64_imul(&buf, w, reg, rm);
    CHECK("imul", r_(w, reg), rm_(w, rm));
    if (w >= W32) {
        start();
        x64_imul_imm(&buf, w, reg, rm, -0x61c8864f);
        CHECK("imul", r_(w, reg), rm_(w, rm), i_(w, -0x61c8864f));
        unsigned c = reg ^ (rm.is_reg ? rm.reg : rm.base & 15u);
        start();
        x64_cmov(&buf, c, w, reg, rm);
        snprintf(text, sizeof text, "cmov%s", cc_names[c]);
        CHECK(text, r_(w, reg), rm_(w, rm));
        start();
        x64_setcc(&buf, c, rm);
        snprintf(text, sizeof text, "set%s", cc_names[c]);
        CHECK(text, rm_(W8, rm));
    }
}

START_TEST(test_wide)
{
    each_rm(wide, W16, W64);
}
END_TEST

static void groups(unsigned w, unsigned reg, struct x64_rm rm)
{
    static const char *const shifts[] = {"rol", "ror", "rcl", "rcr", "shl", "shr", NULL, "sar"};
    static const char *const f7[] = {NULL, NULL, "not", "neg", "mul", "imul", "div", "idiv"};
    unsigned op = reg & 7;
    if (shifts[op]) {
        unsigned count = 2 + reg;
        start();
        x64_shift_imm(&buf, op, w, rm, count);
        CHECK(shifts[op], rm_(w, rm), i_(W8, count));
        start();
        x64_shift_imm(&buf, op, w, rm, 1);
        CHECK(shifts[op], rm_(w, rm), i_(W8, 1));
        start();
        x64_shift_cl(&buf, op, w, rm);
        CHECK(shifts[op], rm_(w, rm), r_(W8, X_RCX));
    }
    if (f7[op]) {
        start();
        x64_f7(&buf, op, w, rm);
        CHECK(f7[op], rm_(w, rm));
    }
    if (w == W64) {
        start();
        x64_jmp_rm(&buf, rm);
        CHECK("jmp", rm_(w, rm));
        start();
        x64_call_rm(&buf, rm);
        CHECK("call", rm_(w, rm));
    }
}

START_TEST(test_groups)
{
    each_rm(groups, W8, W64);
}
END_TEST

/* Opcodes of each map and prefix, in the legacy and in the VEX form. */
static void vectors(unsigned w, unsigned reg, struct x64_rm rm)
{
    static const struct {
        u32 op;
        bool two; /* no second source in the VEX form */
        unsigned mem;
        const char *name, *vname;
    } ops[] = {
        {X64_OP(0, 1, 0x10), true, W128, "movups", "vmovups"},
        {X64_OP(0x66, 1, 0x6f), true, W128, "movdqa", "vmovdqa"},
        {X64_OP(0x66, 1, 0xfe), false, W128, "paddd", "vpaddd"},
        {X64_OP(0xf3, 1, 0x58), false, W32, "addss", "vaddss"},
        {X64_OP(0xf2, 1, 0x59), false, W64, "mulsd", "vmulsd"},
        {X64_OP(0x66, 2, 0x00), false, W128, "pshufb", "vpshufb"},
        {X64_OP(0x66, 2, 0x1c), true, W128, "pabsb", "vpabsb"},
    };
    unsigned second = (reg + 5) & 15;
    for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
        struct operand last = rm_(rm.is_reg ? W128 : ops[i].mem, rm);
        start();
        x64_op(&buf, ops[i].op, false, false, false, reg, rm);
        CHECK(ops[i].name, r_(W128, reg), last);
        start();
        x64_vex(&buf, ops[i].op, false, reg, ops[i].two ? 0 : second, rm);
        if (ops[i].two)
            CHECK(ops[i].vname, r_(W128, reg), last);
        else
            CHECK(ops[i].vname, r_(W128, reg), r_(W128, second), last);
    }
    for (unsigned wide = 0; wide < 2; wide++) { /* general registers and REX.W, VEX.W */
        start();
        x64_op(&buf, X64_OP(0x66, 1, 0x6e), wide, false, false, reg, rm);
        CHECK(wide ? "movq" : "movd", r_(W128, reg), rm_(wide ? W64 : W32, rm));
        start();
        x64_vex(&buf, X64_OP(0x66, 1, 0x6e), wide, reg, 0, rm);
        CHECK(wide ? "vmovq" : "vmovd", r_(W128, reg), rm_(wide ? W64 : W32, rm));
        start();
        x64_op(&buf, X64_OP(0x66, 3, 0x22), wide, false, false, reg, rm);
        x64_byte(&buf, 1);
        CHECK(wide ? "pinsrq" : "pinsrd", r_(W128, reg), rm_(wide ? W64 : W32, rm), i_(W8, 1));
    }
}

START_TEST(test_vectors)
{
    each_rm(vectors, W128, W128);
}
END_TEST

START_TEST(test_registers)
{
    static const u64 values[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000ull,
                                 0xffffffff80000000ull, 0xffffffff7fffffffull, ~0ull};
    for (unsigned a = 0; a < 16; a++) {
        for (unsigned b = 0; b < 16; b++) {
            start();
            x64_mov(&buf, W32, a, b);
            CHECK("mov", r_(W32, a), r_(W32, b));
            start();
            x64_mov(&buf, W64, a, b);
            if (a == b)
                ck_assert_ptr_eq(buf.p, code);
            else
                CHECK("mov", r_(W64, a), r_(W64, b));
        }
        for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
            u64 v = values[i];
            bool low = v <= 0xffffffff, sign = (u64)(s64)(s32)v == v;
            start();
            x64_mov_imm(&buf, a, v);
            CHECK(low || sign ? "mov" : "movabs", r_(low ? W32 : W64, a), i_(W64, (s64)v));
        }
        start();
        x64_push(&buf, a);
        CHECK("push", r_(W64, a));
        start();
        x64_pop(&buf, a);
        CHECK("pop", r_(W64, a));
    }
    start();
    x64_ret(&buf);
    check_ops("ret", false, 0, NULL);
}
END_TEST

START_TEST(test_jumps)
{
    static const s64 away[] = {0, 5, -5, 0x1000, -0x7fff0000, 0x7fff0000};
    for (unsigned i = 0; i < ARRAY_SIZE(away); i++) {
        u64 target = (u64)(uintptr_t)code + (u64)away[i];
        start();
        x64_jmp(&buf, target);
        CHECK("jmp", i_(W64, (s64)target));
        start();
        x64_call(&buf, target);
        CHECK("call", i_(W64, (s64)target));
        for (unsigned cc = 0; cc < 16; cc++) {
            start();
            x64_jcc(&buf, cc, target);
            char text[8];
            snprintf(text, sizeof text, "j%s", cc_names[cc]);
            CHECK(text, i_(W64, (s64)target));
        }
    }
    /* Jumps that are bound later: 10 bytes on. */
    start();
    u8 *field = x64_jmp_later(&buf);
    u8 *end = buf.p;
    x64_bytes(&buf, 0x1122334455, 5);
    x64_bind(&buf, field);
    ck_assert_ptr_eq(field, code + 1);
    ck_assert_int_eq((s32)load_le(field, 4), 5);
    buf.p = end;
    CHECK("jmp", i_(W64, (s64)(uintptr_t)end + 5));
    start();
    field = x64_jcc_later(&buf, CC_G);
    end = buf.p;
    x64_bytes(&buf, 0, 7);
    x64_bind(&buf, field);
    buf.p = end;
    CHECK("jg", i_(W64, (s64)(uintptr_t)end + 7));
}
END_TEST

/* Executable addresses are those of the other view. */
START_TEST(test_views)
{
    start();
    buf.exec_delta = 0x10000;
    ck_assert_uint_eq(x64_here(&buf), (u64)(uintptr_t)code + 0x10000);
    x64_jmp(&buf, (u64)(uintptr_t)code + 0x10000);
    ck_assert_int_eq((s32)load_le(code + 1, 4), -5);
}
END_TEST

/* Padding is made of whole instructions that do nothing. */
START_TEST(test_align)
{
    for (unsigned before = 0; before < 16; before++) {
        for (unsigned ahead = 0; ahead < 3; ahead++) {
            start();
            u8 *base = code + (-(uintptr_t)code & 15);
            buf.p = base + before;
            if (ahead) {
                x64_align_field(&buf, ahead);
                ck_assert_uint_le(((uintptr_t)buf.p + ahead) & 7, 4);
                ck_assert_uint_le(buf.p - base - before, 3);
            } else {
                x64_align(&buf, 16);
                ck_assert_uint_eq((uintptr_t)buf.p & 15, 0);
            }
            const u8 *p = base + before;
            size_t left = (size_t)(buf.p - p);
            ck_assert_uint_lt(left, 16);
            u64 address = 0;
            while (left) {
                ck_assert(cs_disasm_iter(handle, &p, &left, &address, insn));
                ck_assert_uint_eq(insn->id, X86_INS_NOP);
            }
        }
    }
}
END_TEST

/* Beyond the end bytes are counted, not written. */
START_TEST(test_overflow)
{
    start();
    buf.end = code + 4;
    x64_bytes(&buf, 0x0807060504030201ull, 8);
    ck_assert_ptr_eq(buf.p, code + 8);
    ck_assert_uint_eq(code[3], 4);
    ck_assert_uint_eq(code[4], 0xcc);
    ck_assert(x64_full(&buf));
    x64_bind(&buf, code + 2);
    ck_assert_uint_eq(code[4], 0xcc);
    start();
    buf.end = code + 4;
    x64_bytes(&buf, 0, 4);
    ck_assert(!x64_full(&buf));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("x64_emit");
    TCase *c = tcase_create("encodings");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_set_timeout(c, 120);
    tcase_add_test(c, test_alu);
    tcase_add_test(c, test_immediates);
    tcase_add_test(c, test_moves);
    tcase_add_test(c, test_wide);
    tcase_add_test(c, test_groups);
    tcase_add_test(c, test_vectors);
    tcase_add_test(c, test_registers);
    tcase_add_test(c, test_jumps);
    tcase_add_test(c, test_views);
    tcase_add_test(c, test_align);
    tcase_add_test(c, test_overflow);
    suite_add_tcase(s, c);
    return run_suite(s);
}

/* The lifter: block shapes in all modes, robustness against random bytes, and the meaning of every
 * integer row against the host processor, with the IR evaluated here directly, before and after
 * the optimiser's passes.
 */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "silicon.h"
#include "tests/suite.h"
#include "translator/block.h"
#include "translator/ir_eval.h"
#include "translator/lift.h"

/* The CPU model of these tests: everything, but for one group that a test may take away. */
static int missing_isa = -1;

bool cpu_has(const struct cpu *cpu, enum isa isa)
{
    return (int)isa != missing_isa;
}

bool lift_fp(struct lift *l, const struct insn *in)
{
    return false;
}

/* cpu/bcd.c wants it for AAM 0, which the lifter does not let through. */
void cpu_raise(struct cpu *cpu, int vector)
{
    abort();
}

static struct cpu vcpu;
static struct ir ir;

static void print_line(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
}

/* Lifts bytes and checks the IR; returns the number of instructions. */
static unsigned lift(const u8 *p, unsigned len, u64 rip, u32 hflags)
{
    struct lift_input in = {p, len, BLOCK_MAX_INSNS};
    ir_reset(&ir, rip, 0, hflags);
    unsigned n = lift_block(&vcpu, &ir, &in);
    unsigned at = 0;
    if (!n)
        return 0;
    const char *bad = ir_verify(&ir, &at);
    if (bad) {
        for (unsigned i = 0; i < len && i < 16; i++)
            fprintf(stderr, "%02x ", p[i]);
        fprintf(stderr, "(hflags %x): op %u: %s\n", hflags, at, bad);
        ir_print(&ir, print_line, NULL);
        ck_abort_msg("IR does not verify");
    }
    return n;
}

static unsigned count_op(enum ir_op op)
{
    unsigned n = 0;
    for (unsigned i = 1; i < ir.count; i++)
        n += ir.insns[i].op == op;
    return n;
}

static const struct ir_insn *find_op(enum ir_op op)
{
    for (unsigned i = 1; i < ir.count; i++)
        if (ir.insns[i].op == op)
            return &ir.insns[i];
    ck_abort_msg("op not found");
    return NULL;
}

#define LONG (HF_LONG | HF_PE | HF_FLAT | HF_CSFLAT | HF_USER)
#define FLAT32 (HF_CS32 | HF_SS32 | HF_PE | HF_FLAT | HF_CSFLAT)
#define REAL 0u
#define B(...) (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__})

/* ---- shapes ---- */

START_TEST(test_straight_line)
{
    ck_assert_uint_eq(lift(B(0x48, 0x01, 0xd8, 0xff, 0xc0, 0x90), 0x1000, LONG), 3);
    ck_assert_uint_eq(ir.guest_bytes, 6);
    ck_assert_uint_eq(ir.next_rip, 0x1006);
    ck_assert_uint_eq(ir.insns[ir.count - 1].op, IR_exit);
    ck_assert_uint_eq(ir.insns[ir.count - 1].imm, 0x1006);
    ck_assert_uint_eq(count_op(IR_insn), 3);
}
END_TEST

START_TEST(test_truncated)
{
    /* The second instruction does not fit: the block ends before it. */
    ck_assert_uint_eq(lift(B(0x90, 0x48, 0x81), 0x1000, LONG), 1);
    ck_assert_uint_eq(ir.next_rip, 0x1001);
    /* The first does not fit: nothing. */
    ck_assert_uint_eq(lift(B(0x48, 0x81, 0xc0), 0x1000, LONG), 0);
}
END_TEST

START_TEST(test_branches)
{
    lift(B(0x75, 0xfe), 0x1000, LONG);
    ck_assert_uint_eq(find_op(IR_exit_if)->imm, 0x1000);
    ck_assert_uint_eq(find_op(IR_exit)->imm, 0x1002);
    /* 16-bit operand size wraps IP. */
    lift(B(0xeb, 0x10), 0xfff8, REAL);
    ck_assert_uint_eq(find_op(IR_exit)->imm, 0x000a);
    lift(B(0xe9, 0xfb, 0xff, 0xff, 0xff), 0x1000, FLAT32);
    ck_assert_uint_eq(find_op(IR_exit)->imm, 0x1000);
    lift(B(0xc3), 0x1000, LONG);
    ck_assert_uint_eq(find_op(IR_exit_ind)->aux, XK_RET);
    lift(B(0xff, 0xd0), 0x1000, LONG);
    ck_assert_uint_eq(find_op(IR_exit_ind)->aux, XK_CALL);
    ck_assert_uint_eq(count_op(IR_st), 1);
}
END_TEST

START_TEST(test_segments)
{
    /* Flat data needs no segment; FS does; real mode always does. */
    lift(B(0x8b, 0x03), 0x1000, FLAT32);
    ck_assert_uint_eq(count_op(IR_segaddr), 0);
    lift(B(0x64, 0x8b, 0x03), 0x1000, FLAT32);
    ck_assert_uint_eq(find_op(IR_segaddr)->aux, SEG_FS);
    ck_assert_uint_eq(find_op(IR_segaddr)->imm, 4);
    lift(B(0x89, 0x07), 0x1000, REAL);
    ck_assert_uint_eq(find_op(IR_segaddr)->aux, SEG_DS);
    ck_assert_uint_eq(find_op(IR_segaddr)->imm, 0x102);
    /* BP as base means the stack segment. */
    lift(B(0x8a, 0x46, 0x04), 0x1000, REAL);
    ck_assert_uint_eq(find_op(IR_segaddr)->aux, SEG_SS);
    /* Long mode: FS has a base and no limit. */
    lift(B(0x64, 0x8b, 0x03), 0x1000, LONG);
    ck_assert_uint_eq(count_op(IR_segaddr), 0);
    ck_assert_uint_eq(count_op(IR_ldenv), 1);
}
END_TEST

START_TEST(test_locked)
{
    static const u8 modrm_ops[] = {0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31};
    for (unsigned i = 0; i < sizeof modrm_ops; i++) {
        lift(B(0xf0, 0x48, modrm_ops[i], 0x03), 0x1000, LONG);
        ck_assert_uint_eq(count_op(IR_atomic), 1);
        ck_assert_uint_eq(count_op(IR_st), 0);
    }
    lift(B(0x87, 0x03), 0x1000, LONG); /* XCHG needs no LOCK */
    ck_assert_uint_eq(find_op(IR_atomic)->aux, AT_XCHG);
    lift(B(0xf0, 0x0f, 0xb1, 0x13), 0x1000, LONG);
    ck_assert_uint_eq(count_op(IR_cmpxchg), 1);
    lift(B(0xf0, 0xf7, 0x1b), 0x1000, LONG); /* NEG begins again when it lost */
    ck_assert_uint_eq(find_op(IR_exit_if)->imm, 0x1000);
    lift(B(0xf0, 0x0f, 0xba, 0x2b, 0x05), 0x1000, LONG);
    ck_assert_uint_eq(find_op(IR_atomic)->aux, AT_OR);
}
END_TEST

START_TEST(test_model)
{
    missing_isa = ISA_CMOV;
    lift(B(0x0f, 0x44, 0xc1), 0x1000, LONG);
    ck_assert_uint_eq(find_op(IR_raise)->aux, EXC_UD);
    /* Without LZCNT its bytes are BSR. */
    missing_isa = ISA_LZCNT;
    lift(B(0xf3, 0x0f, 0xbd, 0xc1), 0x1000, LONG);
    ck_assert_uint_eq(count_op(IR_raise), 0);
    ck_assert_uint_eq(count_op(IR_select), 1);
    missing_isa = -1;
    /* Selector instructions are undefined in real mode. */
    lift(B(0x0f, 0x00, 0xd8), 0x1000, REAL);
    ck_assert_uint_eq(find_op(IR_raise)->aux, EXC_UD);
}
END_TEST

START_TEST(test_one_at_a_time)
{
    ck_assert_uint_eq(lift(B(0x90, 0x90), 0x1000, LONG | HF_TF), 1);
    ck_assert_uint_eq(lift(B(0x90, 0x90), 0x1000, LONG | HF_ONE), 1);
    /* A constant count needs no old flags. */
    lift(B(0xc1, 0xe0, 0x04), 0x1000, LONG);
    ck_assert_uint_eq(count_op(IR_getf), 0);
    lift(B(0xd3, 0xe0), 0x1000, LONG);
    ck_assert_uint_eq(count_op(IR_getf), 1);
}
END_TEST

START_TEST(test_big_blocks)
{
    /* The longest instruction, as often as it fits: ENTER at level 31, in real mode. */
    u8 code[4 * 128];
    for (unsigned i = 0; i < sizeof code; i += 4)
        memcpy(code + i, (u8[]){0xc8, 0x10, 0x00, 0x1f}, 4);
    ck_assert_uint_ge(lift(code, sizeof code, 0x1000, REAL), 1);
    for (unsigned i = 0; i < sizeof code; i++)
        code[i] = 0x60; /* PUSHA */
    ck_assert_uint_ge(lift(code, sizeof code, 0x1000, REAL), 8);
    memset(code, 0x90, sizeof code);
    ck_assert_uint_eq(lift(code, sizeof code, 0x1000, REAL), BLOCK_MAX_INSNS);
}
END_TEST

static unsigned decided_by;
static unsigned fate_of(const u8 *p, unsigned avail)
{
    unsigned fate = lift_flags_fate(&vcpu, p, &avail, LONG);
    decided_by = avail;
    return fate;
}

START_TEST(test_fate)
{
    /* XOR overwrites all flags; a load before it can fault. */
    ck_assert_uint_eq(fate_of(B(0x31, 0xc0)), XF_DEAD);
    ck_assert_uint_eq(fate_of(B(0x8b, 0x03, 0x31, 0xc0)), XF_FAULT);
    ck_assert_uint_eq(fate_of(B(0x89, 0xc3, 0x39, 0xd8, 0x74, 0x00)), XF_DEAD);
    ck_assert_uint_eq(decided_by, 4);
    ck_assert_uint_eq(fate_of(B(0x74, 0x00)), XF_LIVE);
    ck_assert_uint_eq(fate_of(B(0xff, 0xc0, 0x74, 0x00)), XF_LIVE);
    ck_assert_uint_eq(fate_of(B(0xff, 0xc0, 0x72, 0x00)), XF_LIVE);
    ck_assert_uint_eq(fate_of(B(0xc3)), XF_FAULT);
    ck_assert_uint_eq(fate_of(B(0x90)), XF_LIVE);
    ck_assert_uint_eq(fate_of(B(0x39, 0x03)), XF_FAULT);
    /* A shift by a constant leaves nothing of them, one by CL may leave all. */
    ck_assert_uint_eq(fate_of(B(0xc1, 0xe8, 0x04)), XF_DEAD);
    ck_assert_uint_eq(fate_of(B(0xc1, 0xe8, 0x20)), XF_LIVE);
    ck_assert_uint_eq(fate_of(B(0xd3, 0xe8)), XF_LIVE);
}
END_TEST

/* ---- robustness ---- */

static u64 seed = 0x9e3779b97f4a7c15ull;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x2545f4914f6cdd1dull;
}

START_TEST(test_random_bytes)
{
    static const u32 modes[] = {LONG, FLAT32, REAL, HF_PE, HF_PE | HF_VM | HF_USER,
                                HF_PE | HF_CS32, HF_PE | HF_SS32 | HF_FLAT,
                                FLAT32 | HF_USER | HF_NOFPU | HF_NOSSE};
    for (unsigned i = 0; i < 60000; i++) {
        u8 code[64];
        for (unsigned k = 0; k < sizeof code; k += 8) {
            u64 v = rnd();
            memcpy(code + k, &v, 8);
        }
        if (i & 1)
            code[0] = 0x0f;
        lift(code, sizeof code, rnd() >> (rnd() & 63), modes[i % ARRAY_SIZE(modes)]);
    }
}
END_TEST

/* ---- against the processor ---- */

static struct silicon silicon;

enum outcome { DONE, UNSUPPORTED, DIVIDE_ERROR, WILD };

static bool in_data(u64 la, unsigned n)
{
    u64 base = (u64)(uintptr_t)silicon.data;
    return la >= base && la + n <= base + SILICON_DATA;
}

static u64 alu_atomic(unsigned aux, u64 old, u64 b)
{
    switch (aux) {
    case AT_ADD: return old + b;
    case AT_SUB: return old - b;
    case AT_AND: return old & b;
    case AT_OR: return old | b;
    case AT_XOR: return old ^ b;
    default: return b;
    }
}

/* Memory ops, on host memory at the same addresses; false when the address is outside the data. */
static bool eval_memory(const struct ir_insn *in, u64 a, u64 b, u64 c, u64 *out)
{
    unsigned n = W_BYTES(in->w);
    if (!in_data(a, n))
        return false;
    u8 *p = (u8 *)(uintptr_t)a;
    u64 old = load_le(p, n);
    *out = old;
    if (in->op == IR_st)
        store_le(p, b, n);
    else if (in->op == IR_atomic)
        store_le(p, alu_atomic(in->aux, old, b), n);
    else if (in->op == IR_cmpxchg && old == b)
        store_le(p, c, n);
    return true;
}

static bool eval_call(const struct ir_insn *in, u64 a, u64 b, struct silicon_state *st)
{
    if (in->imm != HELPER_bcd)
        return false;
    memcpy(vcpu.gpr, st->gpr, sizeof vcpu.gpr);
    vcpu.eflags = st->flags;
    helper_bcd(&vcpu, a, b, 0, 0);
    memcpy(st->gpr, vcpu.gpr, sizeof vcpu.gpr);
    st->flags = vcpu.eflags;
    return true;
}

/* Evaluates the block in ir on st. */
static enum outcome eval_block(struct silicon_state *st)
{
    static u64 v[IR_MAX];
    vcpu.eflags = st->flags & ~(u64)FL_ARITH;
    for (unsigned i = 1; i < ir.count; i++) {
        const struct ir_insn *in = &ir.insns[i];
        u64 a = v[in->arg[0]], b = v[in->arg[1]], c = v[in->arg[2]];
        switch (in->op) {
        case IR_NONE: case IR_insn: case IR_fence: break;
        case IR_get: v[i] = st->gpr[in->aux]; break;
        case IR_put: st->gpr[in->aux] = a; break;
        case IR_getf: v[i] = st->flags & FL_ARITH; break;
        case IR_putf: st->flags = (st->flags & ~(u64)FL_ARITH) | a; break;
        case IR_ldenv: memcpy(&v[i], (u8 *)&vcpu + in->imm, W_BYTES(in->w)); break;
        case IR_stenv: memcpy((u8 *)&vcpu + in->imm, &a, W_BYTES(in->w)); break;
        case IR_ld: case IR_st: case IR_atomic: case IR_cmpxchg:
            if (!eval_memory(in, a, b, c, &v[i]))
                return WILD;
            break;
        case IR_divu: case IR_divs:
            if (ir_eval_div_faults(in->op, in->w, a, b, c))
                return DIVIDE_ERROR;
            v[i] = ir_eval(in, (u64[4]){a, b, c, 0});
            break;
        case IR_raise: return in->aux == EXC_DE ? DIVIDE_ERROR : UNSUPPORTED;
        case IR_call:
            if (!eval_call(in, a, b, st))
                return UNSUPPORTED;
            break;
        case IR_exit_if:
            if (a)
                return UNSUPPORTED;
            break;
        case IR_exit:
            st->flags = (st->flags & ~(u64)FL_DF) | (vcpu.eflags & FL_DF);
            return DONE;
        default:
            if (!ir_eval_pure(in->op))
                return UNSUPPORTED;
            v[i] = ir_eval(in, (u64[4]){a, b, c, v[in->arg[3]]});
            break;
        }
    }
    return UNSUPPORTED;
}

/* Whether the manual leaves result and flags undefined: double shifts by more than the operand's
 * width.  Intel's and AMD's processors differ there. */
static bool result_undefined(const struct insn *in, const struct silicon_state *st)
{
    if ((in->op != OP_shld && in->op != OP_shrd) || in->opsize != 2)
        return false;
    return ((in->opnd[2].kind == OPND_IMM ? in->imm : st->gpr[RCX]) & 31) > 16;
}

static u64 interesting(void)
{
    static const u64 v[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
                            0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~0ull};
    u64 r = rnd();
    switch (r & 3) {
    case 0: return v[(r >> 8) % ARRAY_SIZE(v)];
    case 1: return rnd() >> (r >> 8 & 63);
    default: return rnd();
    }
}

static u64 somewhere(void)
{
    return (u64)(uintptr_t)silicon.data + SILICON_DATA / 4 + rnd() % (SILICON_DATA / 2);
}

/* Bytes that may start an integer instruction. */
static unsigned random_insn(u8 *p)
{
    unsigned n = 0;
    u64 r = rnd();
    if ((r & 7) == 0)
        p[n++] = 0x66;
    if ((r >> 3 & 15) == 0)
        p[n++] = 0x67;
    if ((r >> 7 & 7) == 0)
        p[n++] = (r >> 10 & 1) ? 0xf2 : 0xf3;
    if ((r >> 11 & 7) == 0)
        p[n++] = 0xf0;
    if (silicon.mode == 64 && (r >> 14 & 1))
        p[n++] = 0x40 | (r >> 15 & 15);
    if (r >> 19 & 1)
        p[n++] = 0x0f;
    if (n && p[n - 1] == 0x0f && (r >> 20 & 7) == 0)
        p[n++] = 0x38;
    for (unsigned k = n; k < n + 12; k++)
        p[k] = (u8)rnd();
    return n + 12;
}

/* Prepares st so that the memory operand lies in the data; false when that is not possible. */
static bool aim(const struct insn *in, struct silicon_state *st, bool *mem)
{
    *mem = false;
    for (unsigned i = 0; i < in->operands; i++)
        *mem |= in->opnd[i].kind == OPND_MEM && in->opnd[i].size;
    st->gpr[RSP] = somewhere();
    if (in->op == OP_xlatb)
        st->gpr[RBX] = somewhere();
    if (in->op == OP_enter || in->op == OP_leave)
        st->gpr[RBP] = somewhere();
    if (!*mem && !in->has_modrm) {
        st->gpr[RSI] = somewhere();
        st->gpr[RDI] = somewhere();
    }
    if (!*mem)
        return true;
    if (in->seg == SEG_CS || in->seg >= SEG_FS || in->base == REG_NONE || in->base == REG_RIP ||
        in->base == in->index)
        return false;
    bool by_register = in->op >= OP_bt && in->op <= OP_bts && in->opnd[1].kind == OPND_REG;
    if (by_register) {
        unsigned reg = in->opnd[1].reg;
        if (reg == in->base || reg == in->index)
            return false;
        st->gpr[reg] = (u64)((s64)(rnd() % 8192) - 4096) & size_mask(silicon.mode / 8);
    }
    if (in->addrsize == 2)
        return false;
    u64 index = in->index == REG_NONE ? 0 : st->gpr[in->index] * in->scale;
    st->gpr[in->base] = (somewhere() - index - (u64)in->disp) & size_mask(in->addrsize);
    if (in->base == RSP && in->index == REG_NONE)
        st->gpr[RSP] = somewhere();
    return true;
}

static bool candidate(const struct insn *in)
{
    switch (in->row->isa) {
    case ISA_BASE: case ISA_486: case ISA_686: case ISA_CMOV: case ISA_LM: case ISA_POPCNT: case ISA_LZCNT:
    case ISA_BMI1: case ISA_MOVBE: case ISA_SSE42: case ISA_LAHF64: case ISA_SSE2:
        break;
    default:
        return false;
    }
    if (in->row->props & (ROW_SYSTEM | ROW_BRANCH | ROW_PRIV))
        return false;
    switch (in->op) {
    /* Flags beyond the arithmetic ones; helpers; strings whose REP is a helper. */
    case OP_popf: case OP_popfd: case OP_popfq: case OP_pushf: case OP_pushfd: case OP_pushfq:
    case OP_wait:
        return false;
    default:
        return !((in->row->props & ROW_REP) && in->rep);
    }
}

static void report(const struct insn *in, const u8 *code, const struct silicon_state *before,
                   const struct silicon_state *want, const struct silicon_state *got,
                   const char *what)
{
    char name[32];
    fprintf(stderr, "%s: %s [%s]:", what, insn_name(in, name), in->row->text);
    for (unsigned i = 0; i < in->len; i++)
        fprintf(stderr, " %02x", code[i]);
    fprintf(stderr, "\n");
    for (unsigned i = 0; i < 17; i++) {
        u64 b = i < 16 ? before->gpr[i] : before->flags, w = i < 16 ? want->gpr[i] : want->flags;
        u64 g = i < 16 ? got->gpr[i] : got->flags;
        if (w != g || b != w)
            fprintf(stderr, "  %s%u before %016llx processor %016llx lifted %016llx%s\n",
                    i < 16 ? "r" : "flags", i, (unsigned long long)b, (unsigned long long)w,
                    (unsigned long long)g, w != g ? " <<<" : "");
    }
    ir_print(&ir, print_line, NULL);
}

static u8 data_before[SILICON_DATA], data_want[SILICON_DATA];

/* One case; returns whether it was compared, and adds to *failures. */
static bool compare_one(const struct insn *in, const u8 *code, unsigned *failures)
{
    struct silicon_state before, want, got;
    bool mem;
    for (unsigned i = 0; i < 16; i++)
        before.gpr[i] = silicon.mode == 64 ? interesting() : i < 8 ? (u32)interesting() : 0;
    before.flags = (rnd() & (FL_ARITH | FL_DF)) | 0x202;
    if (!aim(in, &before, &mem) || result_undefined(in, &before))
        return false;
    for (unsigned i = 0; i < SILICON_DATA; i += 8) {
        u64 v = (rnd() & 7) ? rnd() : before.gpr[RAX];
        memcpy(data_before + i, &v, 8);
    }
    memcpy(silicon.data, data_before, SILICON_DATA);
    want = before;
    enum silicon_result native = silicon_run(&silicon, code, in->len, &want);
    if (native == SILICON_ILL || native == SILICON_SEGV)
        return false;
    memcpy(data_want, silicon.data, SILICON_DATA);
    u64 care = ~(u64)in->row->flags_undefined;
    for (int pass = 0; pass < 2; pass++) {
        memcpy(silicon.data, data_before, SILICON_DATA);
        got = before;
        lift(code, in->len, silicon_rip(&silicon),
             silicon.mode == 64 ? LONG : FLAT32 | HF_USER);
        if (pass) {
            struct opt_counters counters = {0};
            opt_run(&ir, &counters, true);
        }
        enum outcome o = eval_block(&got);
        if (o == UNSUPPORTED || o == WILD)
            return false;
        bool ok = native == SILICON_FPE ? o == DIVIDE_ERROR : o == DONE;
        if (ok && o == DONE) {
            ok = ((want.flags ^ got.flags) & care & (FL_ARITH | FL_DF)) == 0 &&
                 memcmp(want.gpr, got.gpr, sizeof want.gpr) == 0 &&
                 memcmp(data_want, silicon.data, SILICON_DATA) == 0;
        }
        if (!ok) {
            report(in, code, &before, &want, &got, pass ? "after the passes" : "as lifted");
            (*failures)++;
            return true;
        }
    }
    return true;
}

static void compare_many(unsigned mode, unsigned cases, unsigned min_rows)
{
    if (!silicon_init(&silicon, mode)) {
        fprintf(stderr, "no %u-bit mode on this host: skipped\n", mode);
        return;
    }
    static u32 seen[4096];
    memset(seen, 0, sizeof seen);
    unsigned failures = 0, compared = 0, tries = 0;
    while (compared < cases && tries++ < 3000000) {
        u8 code[24] = {0};
        struct insn in;
        unsigned n = random_insn(code);
        if (decode(&in, code, n, mode) != DECODE_OK || !candidate(&in))
            continue;
        /* Every row comes up alike. */
        if (seen[in.row->id] > 300 + compared / 100)
            continue;
        if (compare_one(&in, code, &failures)) {
            compared++;
            seen[in.row->id]++;
        }
        if (failures > 8)
            break;
    }
    unsigned rows = 0;
    const struct opcode_row *const *row;
    unsigned count = decode_rows(&row);
    for (unsigned i = 0; i < count; i++)
        rows += seen[row[i]->id] != 0;
    fprintf(stderr, "%u-bit: %u cases, %u table rows\n", mode, compared, rows);
    ck_assert_uint_eq(failures, 0);
    ck_assert_uint_ge(rows, min_rows);
}

START_TEST(test_silicon64)
{
    compare_many(64, 60000, 300);
}
END_TEST

START_TEST(test_silicon32)
{
    compare_many(32, 40000, 300);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lift");
    TCase *t = tcase_create("shapes");
    tcase_add_test(t, test_straight_line);
    tcase_add_test(t, test_truncated);
    tcase_add_test(t, test_branches);
    tcase_add_test(t, test_segments);
    tcase_add_test(t, test_locked);
    tcase_add_test(t, test_model);
    tcase_add_test(t, test_one_at_a_time);
    tcase_add_test(t, test_big_blocks);
    tcase_add_test(t, test_fate);
    suite_add_tcase(s, t);
    t = tcase_create("meaning");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, test_random_bytes);
    tcase_add_test(t, test_silicon64);
    tcase_add_test(t, test_silicon32);
    suite_add_tcase(s, t);
    return run_suite(s);
}

/* Vector ops against the host processor: every row, lane and format of ir_vec.def is assembled
 * from its columns as a selector would, run natively, and compared with both evaluators.
 *
 * On hosts other than x86-64 there is nothing to compare with and the test passes empty.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cpu/state.h"
#include "tests/suite.h"
#include "translator/ir_vec.h"

#if defined(__x86_64__)

struct io {
    union ir_value a, b, c; /* xmm2 (result too), xmm1, xmm0 */
    u64 i;                  /* rax, in and out */
    u32 mxcsr, host_mxcsr;
    u64 i2;                 /* rdx */
};

static u8 *code;
static u64 rng = 0x9e3779b97f4a7c15ull;

static u64 rnd(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng * 0x2545f4914f6cdd1dull;
}

static u8 *put(u8 *p, const char *bytes, unsigned n)
{
    memcpy(p, bytes, n);
    return p + n;
}

/* Assembles one op by its shape: a in xmm2, b in xmm1, c in xmm0, integers in rax and rdx; results
 * in xmm2, rax or flags. */
static u8 *assemble(u8 *p, const struct ir_insn *in)
{
    const struct vec_info *vi = &ir_vec_info[in->op];
    const struct vec_opcode *o = vec_opcode(in);
    static const u8 modrm[] = {
        [V_ZERO] = 0xd2, [V_RR] = 0xd1, [V_RR_I] = 0xd1, [V_R] = 0xd2, [V_R_I] = 0xd2,
        [V_SHIFT_I] = 0xc2, [V_TO_GPR] = 0xc2, [V_TO_RM_I] = 0xd0, [V_FROM_GPR] = 0xd0,
        [V_FROM_GPR_I] = 0xd0, [V_FLAGS] = 0xd1, [V_RR_XMM0] = 0xd1, [V_STRING] = 0xd1,
    };
    bool rexw = in->w == W64 && ((vi->shape == V_TO_GPR && vi->key == VK_AUX) ||
                                 vi->shape == V_TO_RM_I || vi->shape == V_FROM_GPR ||
                                 vi->shape == V_FROM_GPR_I);
    rexw |= vi->shape == V_STRING && vi->flags & VI_VEX_W;
    if (o->pfx)
        *p++ = o->pfx;
    if (rexw)
        *p++ = 0x48;
    *p++ = 0x0f;
    if (o->map > 1)
        *p++ = o->map == 2 ? 0x38 : 0x3a;
    *p++ = o->opc;
    *p++ = (u8)(modrm[vi->shape] | (vi->shape == V_SHIFT_I ? vi->ext << 3 : 0));
    if (vi->shape == V_RR_I || vi->shape == V_R_I || vi->shape == V_SHIFT_I ||
        vi->shape == V_TO_RM_I || vi->shape == V_FROM_GPR_I ||
        vi->shape == V_STRING)
        *p++ = (u8)in->imm;
    if (vi->shape == V_STRING) /* movaps xmm2, xmm0; or mov eax, ecx, which keeps the flags */
        p = ir_briefs[in->op].type == 'v' ? put(p, "\x0f\x28\xd0", 3) : put(p, "\x89\xc8", 2);
    return p;
}

static void native(struct io *io, const struct ir_insn *in)
{
    u8 *p = code;
    p = put(p, "\x0f\xae\x57\x38\x0f\x10\x57\x00\x0f\x10\x4f\x10", 12);
    p = put(p, "\x0f\x10\x47\x20\x48\x8b\x47\x30\x48\x8b\x57\x40", 12);
    p = assemble(p, in);
    p = put(p, "\x0f\x11\x17", 3);
    if (ir_briefs[in->op].type == 'f') /* seto, lahf: OF to bit 11, the others to 0 to 7 */
        p = put(p, "\x0f\x90\xc2\x9f\x0f\xb6\xc4\x0f\xb6\xd2\xc1\xe2\x0b\x09\xd0", 15);
    put(p, "\x48\x89\x47\x30\x0f\xae\x5f\x38\x0f\xae\x57\x3c\xc3", 13);
    __asm__("stmxcsr %0" : "=m"(io->host_mxcsr));
    ((void (*)(struct io *))(uintptr_t)code)(io);
}

static const u32 singles[] = {
    0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345,
    0x7f812345, 0xff800001, 1, 0x80000001, 0x007fffff, 0x00800000, 0x80800000, 0x7f7fffff,
    0xff7fffff, 0x4f000000, 0xcf000000, 0x4effffff, 0x5f000000, 0xdf000000, 0x3f000000, 0x3fc00000,
    0x40200000, 0x34000000, 0x3effffff, 0x4b000001,
};
static const u64 doubles[] = {
    0, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
    0xfff0000000000000, 0x7ff8000000000000, 0xfff8123456789abc, 0x7ff0000000000001,
    0xfff7ffffffffffff, 1, 0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000,
    0x7fefffffffffffff, 0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000200000,
    0x41dfffffffc00000, 0x43e0000000000000, 0xc3e0000000000000, 0x3fe0000000000000,
    0x3ff8000000000000, 0x4004000000000000, 0x36a0000000000000, 0x3800000000000000,
    0x380fffffe0000000, 0x47efffffe0000000, 0x47effffff0000000, 0x3690000000000000,
};

static void random_vector(union ir_value *v)
{
    unsigned kind = rnd() % 6;
    for (unsigned k = 0; k < 4; k++)
        v->d[k] = (u32)rnd();
    if (kind == 0) {
        for (unsigned k = 0; k < 4; k++)
            v->d[k] = singles[rnd() % ARRAY_SIZE(singles)];
    } else if (kind == 1) {
        for (unsigned k = 0; k < 2; k++)
            v->q[k] = doubles[rnd() % ARRAY_SIZE(doubles)];
    } else if (kind == 2) { /* edges of each integer width, small counts */
        for (unsigned k = 0; k < 16; k++)
            v->b[k] = (u8) "\x00\x01\x7f\x80\xff\xfe\x08\x10"[rnd() & 7];
    } else if (kind == 3) {
        v->q[0] = rnd() % 70;
        v->q[1] = rnd() & 1 ? 0 : rnd();
    } else if (kind == 4) { /* floats of like size, so that they add and cancel */
        for (unsigned k = 0; k < 4; k++)
            v->d[k] = (v->d[k] & 0x80ffffff) | 0x3f000000;
    }
}

static const char *const rounding[] = {"near", "down", "up", "zero"};

static void fail_row(const struct ir_insn *in, const char *who, const struct io *before,
                     const struct io *after, const union ir_value *got, u32 got_mxcsr)
{
    ck_abort_msg("%s (%s) w %u aux %u imm %#llx rc %s daz/ftz %#x\n"
                 " a %016llx%016llx b %016llx%016llx c %016llx%016llx i %llx\n"
                 " host %016llx%016llx i %llx mxcsr %04x\n got  %016llx%016llx mxcsr %04x",
                 ir_ops[in->op].name, who, in->w, in->aux, (unsigned long long)in->imm,
                 rounding[before->mxcsr >> 13 & 3], before->mxcsr & 0x8040,
                 (unsigned long long)before->a.q[1], (unsigned long long)before->a.q[0],
                 (unsigned long long)before->b.q[1], (unsigned long long)before->b.q[0],
                 (unsigned long long)before->c.q[1], (unsigned long long)before->c.q[0],
                 (unsigned long long)before->i, (unsigned long long)after->a.q[1],
                 (unsigned long long)after->a.q[0], (unsigned long long)after->i, after->mxcsr,
                 (unsigned long long)got->q[1], (unsigned long long)got->q[0], got_mxcsr);
}

typedef void (*eval_fn)(struct cpu *, const struct ir_insn *, const union ir_value *const[4],
                        union ir_value *);

/* Approximations: portable code need only be within the manual's error. */
static bool near_enough(const union ir_value *x, const union ir_value *y)
{
    for (unsigned k = 0; k < 4; k++) {
        float p = x->s[k], q = y->s[k];
        if (x->d[k] == y->d[k])
            continue;
        if (!(p - q <= 0.0004f * (q < 0 ? -q : q) && q - p <= 0.0004f * (q < 0 ? -q : q)))
            return false;
    }
    return true;
}

static void check_row(struct cpu *cpu, const struct ir_insn *in, const struct io *before,
                      const struct io *after, eval_fn eval, const char *who)
{
    const struct ir_op_info *row = &ir_ops[in->op];
    union ir_value integer = {{before->i, 0}}, second = {{before->i2, 0}}, got = {{0, 0}};
    const union ir_value *args[4] = {&before->a, &before->b, &before->c};
    for (unsigned k = 0; row->in[k]; k++) {
        if (row->in[k] == 'i')
            args[k] = &integer;
        else if (row->in[k] == 'l')
            args[k] = k == 3 ? &second : &integer;
    }
    cpu->mxcsr = before->mxcsr;
    eval(cpu, in, args, &got);
    bool same;
    if (row->out[0] == 'v')
        same = memcmp(&got, &after->a, 16) == 0;
    else if (row->out[0] == 'f')
        same = got.q[0] == (after->i & FL_ARITH);
    else
        same = got.q[0] == (row->out[0] == 'i' ? after->i & size_mask(W_BYTES(in->w)) : after->i);
    bool approximate = ir_vec_info[in->op].eval == ir_vec_info[IR_fprcp].eval ||
                       ir_vec_info[in->op].eval == ir_vec_info[IR_fprsqrt].eval;
    if (!same && approximate && eval == ir_eval_vec_portable)
        same = near_enough(&got, &after->a);
    if (!same || cpu->mxcsr != after->mxcsr)
        fail_row(in, who, before, after, &got, cpu->mxcsr);
}

static void run_row(struct cpu *cpu, unsigned op, unsigned w, unsigned aux, unsigned rounds)
{
    struct ir_insn in = {.op = (u16)op, .w = (u8)w, .aux = (u8)aux};
    for (unsigned n = 0; n < rounds; n++) {
        struct io before, after;
        memset(&before, 0, sizeof before);
        random_vector(&before.a);
        random_vector(&before.b);
        random_vector(&before.c);
        if (rnd() % 16 == 0)
            before.b = before.a;
        union ir_value integer;
        random_vector(&integer);
        /* An integer input of width w is zero-extended in the IR. */
        before.i = integer.q[0] & size_mask(W_BYTES(w > W64 ? W64 : w));
        if (ir_vec_info[op].shape == V_STRING) { /* lengths of either sign, most of them short */
            before.i = rnd() & 3 ? rnd() % 40 - 20 : rnd();
            before.i2 = rnd() & 3 ? rnd() % 40 - 20 : rnd();
        }
        before.mxcsr = 0x1f80 | (u32)(rnd() & 0xe040);
        if (rnd() & 1)
            before.mxcsr &= ~0x8040u;
        in.imm = rnd() & 0xff;
        if (op == IR_vextr || op == IR_vinsr)
            in.imm &= 16 / W_BYTES(w) - 1;
        if (op == IR_fpcmp)
            in.imm &= 7;
        if (ir_vec_info[op].shape == V_SHIFT_I && (rnd() & 1))
            in.imm &= 31;
        after = before;
        native(&after, &in);
        check_row(cpu, &in, &before, &after, ir_eval_vec, "engine");
        check_row(cpu, &in, &before, &after, ir_eval_vec_portable, "portable");
    }
}

static bool host_has(enum vec_level level)
{
    return level == VL_SSE2 || (level == VL_SSE3 && __builtin_cpu_supports("sse3")) ||
           (level == VL_SSSE3 && __builtin_cpu_supports("ssse3")) ||
           (level == VL_SSE41 && __builtin_cpu_supports("sse4.1")) ||
           (level == VL_SSE42 && __builtin_cpu_supports("sse4.2"));
}

START_TEST(every_row_agrees_with_the_host)
{
    code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(code, MAP_FAILED);
    struct cpu *cpu = aligned_alloc(_Alignof(struct cpu), sizeof *cpu);
    memset(cpu, 0, sizeof *cpu);
    unsigned columns = 0;
    for (unsigned op = IR_VEC_FIRST; op < IR_OP_COUNT; op++) {
        bool integer = strchr(ir_ops[op].in, 'i') || ir_briefs[op].type == 'i';
        for (unsigned col = 0; col < 4; col++) {
            unsigned key = ir_vec_info[op].key;
            struct ir_insn in = {.op = (u16)op, .w = key == VK_W ? (u8)col : W128,
                                 .aux = key == VK_AUX ? (u8)col : 0};
            if ((key == VK_ONE && col) || !vec_valid(&in) || !host_has(vec_level(&in)))
                continue;
            columns++;
            if (integer && key != VK_W) {
                run_row(cpu, op, W32, in.aux, 3000);
                run_row(cpu, op, W64, in.aux, 3000);
            } else {
                run_row(cpu, op, in.w, in.aux, 4000);
            }
        }
    }
    printf("%u columns of %u rows compared\n", columns, IR_OP_COUNT - IR_VEC_FIRST);
    ck_assert_uint_gt(columns, 200);
    free(cpu);
    munmap(code, 4096);
}
END_TEST

START_TEST(lanes_that_do_not_exist_are_not_valid)
{
    struct ir_insn in = {.op = IR_vaddss, .w = W32};
    ck_assert(!vec_valid(&in));
    in = (struct ir_insn){.op = IR_fpsqrt, .w = W128, .aux = VF_SS};
    ck_assert(!vec_valid(&in));
    in = (struct ir_insn){.op = IR_vadd, .w = W128};
    ck_assert(!vec_valid(&in));
    in = (struct ir_insn){.op = IR_vadd, .w = W64};
    ck_assert(vec_valid(&in));
    ck_assert_uint_eq(vec_opcode(&in)->pfx, 0x66);
    ck_assert_uint_eq(vec_opcode(&in)->map, 1);
    ck_assert_uint_eq(vec_opcode(&in)->opc, 0xd4);
    in = (struct ir_insn){.op = IR_fpdp, .aux = VF_PS};
    ck_assert_uint_eq(vec_opcode(&in)->map, 3);
    ck_assert_uint_eq(vec_opcode(&in)->opc, 0x40);
}
END_TEST

#endif

int main(void)
{
    Suite *s = suite_create("simd");
    TCase *t = tcase_create("simd");
    tcase_set_timeout(t, 60);
#if defined(__x86_64__)
    tcase_add_test(t, every_row_agrees_with_the_host);
    tcase_add_test(t, lanes_that_do_not_exist_are_not_valid);
#endif
    suite_add_tcase(s, t);
    return run_suite(s);
}

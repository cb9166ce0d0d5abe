/* See fp_fixture.h. */
#include <check.h>
#include <setjmp.h>
#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/helpers.h"
#include "cpu/system.h"
#include "fp_fixture.h"
#include "translator/ir_eval.h"
#include "translator/ir_eval_vec.h"

struct cpu vcpu;
struct ir ir;
struct silicon silicon;
static jmp_buf fault;
static int fault_vector;

void cpu_raise(struct cpu *cpu, int vector)
{
    fault_vector = vector;
    longjmp(fault, 1);
}

void cpu_raise_error(struct cpu *cpu, int vector, u32 error)
{
    cpu_raise(cpu, vector);
}

void cpu_raise_mmu(struct cpu *cpu, enum mmu_status status, bool stack)
{
    cpu_raise(cpu, EXC_PF);
}

void cpu_raise_misaligned(struct cpu *cpu, u64 la)
{
    cpu_raise(cpu, EXC_AC);
}

static u8 *at(u64 la, unsigned len)
{
    u64 base = (u64)(uintptr_t)silicon.data;
    if (la < base || la + len > base + SILICON_DATA)
        cpu_raise(&vcpu, EXC_PF);
    return (u8 *)(uintptr_t)la;
}

u64 cpu_load(struct cpu *cpu, u64 la, unsigned size)
{
    return load_le(at(la, size), size);
}

void cpu_store(struct cpu *cpu, u64 la, unsigned size, u64 value)
{
    store_le(at(la, size), value, size);
}

void cpu_load_bytes(struct cpu *cpu, u64 la, void *buf, unsigned len)
{
    memcpy(buf, at(la, len), len);
}

void cpu_store_bytes(struct cpu *cpu, u64 la, const void *buf, unsigned len)
{
    memcpy(at(la, len), buf, len);
}

enum mmu_status mmu_probe(struct mmu *m, enum mmu_kind kind, u64 la, unsigned len,
                          enum mmu_access access)
{
    at(la, len);
    return MMU_OK;
}

enum mmu_status mmu_load(struct mmu *m, enum mmu_kind kind, u64 la, unsigned size, u64 *value)
{
    *value = load_le(at(la, size), size);
    return MMU_OK;
}

enum mmu_status mmu_store(struct mmu *m, enum mmu_kind kind, u64 la, unsigned size, u64 value)
{
    store_le(at(la, size), value, size);
    return MMU_OK;
}

u64 helper_segaddr(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return b;
}

bool seg_allows(const struct cpu *cpu, const struct segment *s, u64 off, unsigned n, bool store)
{
    return true;
}

void cpu_set_mxcsr(struct cpu *cpu, u32 v)
{
    cpu->mxcsr = v;
}

void cpu_x87_loaded(struct cpu *cpu)
{
}

bool cpu_has(const struct cpu *cpu, enum isa isa)
{
    return true;
}

const struct engine_hooks fp_hooks = {.vec_op = ir_vec_checked};

static u64 call_helper(u64 h, const u64 a[4])
{
    switch (h) {
#define HELPER(name, args, effects, meaning)                                                       \
    case HELPER_##name: return helper_##name(&vcpu, a[0], a[1], a[2], a[3]);
#include "cpu/helpers_fp.def"
#undef HELPER
    default: ck_abort_msg("helper %u", (unsigned)h);
    }
    return 0;
}

/* ---- a small evaluator of blocks ---- */

static void eval_vector_memory(const struct ir_insn *in, u64 la, const union ir_value *b,
                               union ir_value *out)
{
    unsigned n = W_BYTES(in->w);
    if ((in->aux & MF_ALIGN16) && (la & 15))
        cpu_raise(&vcpu, EXC_GP);
    *out = (union ir_value){{0, 0}};
    if (in->op == IR_vld)
        memcpy(out, at(la, n), n);
    else
        memcpy(at(la, n), b, n);
}

static void run_op(const struct ir_insn *in, union ir_value *v, union ir_value *out)
{
    const union ir_value *x[4] = {&v[in->arg[0]], &v[in->arg[1]], &v[in->arg[2]], &v[in->arg[3]]};
    u64 a[4] = {x[0]->q[0], x[1]->q[0], x[2]->q[0], x[3]->q[0]};
    switch (in->op) {
    case IR_NONE:
    case IR_insn:
    case IR_exit:
    case IR_exit_lookup: break;
    case IR_get: out->q[0] = vcpu.gpr[in->aux]; break;
    case IR_put: vcpu.gpr[in->aux] = a[0]; break;
    case IR_getf: out->q[0] = vcpu.eflags & FL_ARITH; break;
    case IR_putf: vcpu.eflags = (vcpu.eflags & ~(u64)FL_ARITH) | a[0]; break;
    case IR_getv: memcpy(out, &vcpu.xmm[in->aux], 16); break;
    case IR_putv: memcpy(&vcpu.xmm[in->aux], x[0], 16); break;
    case IR_ldenv:
        out->q[0] = 0;
        memcpy(out, (u8 *)&vcpu + in->imm, W_BYTES(in->w));
        break;
    case IR_stenv: memcpy((u8 *)&vcpu + in->imm, x[0], W_BYTES(in->w)); break;
    case IR_ld: out->q[0] = cpu_load(&vcpu, a[0], W_BYTES(in->w)); break;
    case IR_st: cpu_store(&vcpu, a[0], W_BYTES(in->w), a[1]); break;
    case IR_vld:
    case IR_vst: eval_vector_memory(in, a[0], x[1], out); break;
    case IR_vfromi: *out = (union ir_value){{a[0] & size_mask(W_BYTES(in->w)), 0}}; break;
    case IR_ifromv: out->q[0] = a[0] & size_mask(W_BYTES(in->w)); break;
    case IR_call:
    case IR_callv: out->q[0] = call_helper(in->imm, a); break;
    case IR_raise: cpu_raise(&vcpu, in->aux);
    default:
        if (in->op >= IR_vzero) {
            const union ir_value *const args[4] = {x[0], x[1], x[2], x[3]};
            ir_eval_vec(&vcpu, in, args, out);
        } else {
            ck_assert_msg(ir_eval_pure(in->op), "op %s", ir_ops[in->op].name);
            out->q[0] = ir_eval(in, a);
        }
        break;
    }
}

int run_block(void)
{
    static union ir_value v[IR_MAX];
    volatile unsigned i = 1;
    if (setjmp(fault))
        return fault_vector;
    for (; i < ir.count; i++)
        run_op(&ir.insns[i], v, &v[i]);
    return -1;
}

int run_checked(u64 what, u32 imm)
{
    if (setjmp(fault))
        return fault_vector;
    ir_vec_checked(&vcpu, what, imm, 0);
    return -1;
}

/* The IR's builder and printer, and the op table that ir.def and ir_vec.def expand to.
 *
 * Touches nothing but struct ir.  Left out: meaning (ir_eval.h, ir_eval_vec.h, interp*.c, the
 * hosts' selectors), checks (ir_verify.c) and the side-by-side view with guest code (inspect.c).
 */
#include "translator/ir.h"

#include <stdarg.h>
#include <stdio.h>

const struct ir_op_info ir_ops[IR_OP_COUNT] = {
    [IR_NONE] = {"none", ".", ".", "a hole that a pass left"},
#define IR(name, out, in, effects, meaning) [IR_##name] = {#name, out, in, meaning},
#include "translator/ir.def"
#undef IR
#define VEC(name, out, in, effects, meaning, ...) [IR_##name] = {#name, out, in, meaning},
#include "translator/ir_vec.def"
#undef VEC
};

const struct ir_op_brief ir_briefs[IR_OP_COUNT] = {
#define ROW(name, out, in, effects)                                                                \
    [IR_##name] = {effects, (u8)((in)[0] == '.' ? 0 : sizeof(in) - 1), (out)[0],                   \
                   (out)[0] == 'v' || (in)[0] == 'v' || (in)[1] == 'v'},
    ROW(NONE, ".", ".", 0)
#define IR(name, out, in, effects, meaning) ROW(name, out, in, effects)
#include "translator/ir.def"
#undef IR
#define VEC(name, out, in, effects, ...) ROW(name, out, in, effects)
#include "translator/ir_vec.def"
#undef VEC
#undef ROW
};

/* Expanded here too, so that the translator's passes link without the helpers themselves. */
static const struct {
    const char *name;
    u8 args;
    u16 effects;
} helper_rows[HELPER_COUNT] = {
#define HELPER(name, args, effects, meaning) [HELPER_##name] = {#name, args, effects},
#include "cpu/helpers.def"
#undef HELPER
};

static const char *const gpr_names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
static const char *const seg_names[SEG_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
static const char *const cc_names[16] = {"o", "no", "b", "ae", "e", "ne", "be", "a",
                                         "s", "ns", "p", "np", "l", "ge", "le", "g"};
static const char *const rel_names[] = {"eq", "ne", "ltu", "leu", "lts", "les"};
static const char *const atomic_names[] = {"add", "sub", "and", "or", "xor", "xchg"};
static const char *const fate_names[] = {"flags live", "flags on fault", "flags dead"};
static const char *const kind_names[] = {"jmp", "call", "ret"};

void ir_reset(struct ir *ir, u64 rip, u64 cs_base, u32 hflags)
{
    ir->rip = rip;
    ir->cs_base = cs_base;
    ir->next_rip = rip;
    ir->hflags = hflags;
    ir->guest_insns = 0;
    ir->guest_bytes = 0;
    ir->live = NULL;
    ir->fixed = ir->heated = false;
    ir->run_ons = 0;
    ir->live_imms = 0;
    ir->count = 1;
    memset(&ir->insns[0], 0, sizeof ir->insns[0]);
}

ir_ref ir_emit_v(struct ir *ir, enum ir_op op, unsigned vl, unsigned w, unsigned aux, u64 imm,
                 ir_ref a, ir_ref b, ir_ref c)
{
    ir_ref r = ir_emit(ir, op, w, aux, imm, a, b, c, 0);
    ir->insns[r].vl = (u8)vl;
    return r;
}

unsigned ir_helper_args(unsigned helper)
{
    return helper < HELPER_COUNT ? helper_rows[helper].args : 0;
}

u32 ir_helper_effects(unsigned helper)
{
    return helper < HELPER_COUNT ? helper_rows[helper].effects : 0;
}

u32 ir_call_effects(const struct ir_insn *in)
{
    u32 e = ir_briefs[in->op].effects;
    static const u32 of_bit[] = {
        E_FAULT, E_RGPR, E_WGPR, E_RFL, E_WFL, E_RVEC | E_WVEC | E_RENV | E_WENV,
        E_RENV | E_WENV, E_RENV | E_WENV, E_LOAD | E_STORE, 0};
    u32 h = ir_helper_effects((unsigned)in->imm);
    for (unsigned i = 0; i < ARRAY_SIZE(of_bit); i++)
        if (h & BIT(i))
            e |= of_bit[i];
    return e;
}

/* ---- printer ---- */

struct text {
    char *p;
    size_t left;
};

static void __attribute__((format(printf, 2, 3))) add_text(struct text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->p, t->left, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : (size_t)n < t->left ? (size_t)n : t->left - 1;
    t->p += used;
    t->left -= used;
}

static const char *name_of(const char *const *names, size_t count, unsigned i)
{
    return i < count ? names[i] : "?";
}
#define NAME_OF(names, i) name_of(names, ARRAY_SIZE(names), i)

/* The fields beside the operands, as far as the op gives them a meaning. */
static void add_fields(struct text *t, const struct ir_insn *in)
{
    switch (in->op) {
    case IR_get:
    case IR_put:
        add_text(t, " %s", NAME_OF(gpr_names, in->aux));
        break;
    case IR_getv:
    case IR_putv:
        add_text(t, " %cmm%u%s", in->vl ? 'y' : 'x', in->aux, in->imm ? "h" : "");
        break;
    case IR_putf:
    case IR_exit:
    case IR_exit_if:
        if (in->op != IR_putf)
            add_text(t, " 0x%llx", (unsigned long long)in->imm);
        if (in->aux)
            add_text(t, " [%s]", NAME_OF(fate_names, in->aux));
        if (in->op == IR_exit_if && in->w == EXIT_AGAIN)
            add_text(t, " [again]");
        break;
    case IR_setcc:
        add_text(t, " %s", NAME_OF(cc_names, in->aux));
        break;
    case IR_icmp:
        add_text(t, " %s", NAME_OF(rel_names, in->aux));
        break;
    case IR_segaddr:
        add_text(t, " %s:%llu%s", NAME_OF(seg_names, in->aux), (unsigned long long)(in->imm & 0xff),
                 in->imm & 0x100 ? "w" : "");
        break;
    case IR_atomic:
        add_text(t, " %s", NAME_OF(atomic_names, in->aux));
        break;
    case IR_exit_ind:
        add_text(t, " %s", NAME_OF(kind_names, in->aux));
        break;
    case IR_call:
    case IR_callv:
        add_text(t, " %s", in->imm < HELPER_COUNT ? helper_rows[in->imm].name : "?");
        break;
    case IR_raise:
        add_text(t, " #%u", in->aux);
        if (in->imm >> 32)
            add_text(t, "(0x%x)", (u32)in->imm);
        break;
    case IR_zext:
    case IR_sext:
    case IR_trunc:
    case IR_deposit:
    case IR_crc32c:
        add_text(t, " from %u", W_BITS(in->aux));
        if (in->imm)
            add_text(t, " at bit %llu", (unsigned long long)in->imm);
        break;
    case IR_const:
    case IR_pc:
        add_text(t, " 0x%llx", (unsigned long long)in->imm);
        break;
    default:
        if (in->aux)
            add_text(t, " /%u", in->aux);
        if (in->imm)
            add_text(t, " #0x%llx", (unsigned long long)in->imm);
        break;
    }
}

void ir_format(const struct ir *ir, unsigned i, char *buf, size_t size)
{
    const struct ir_insn *in = &ir->insns[i];
    struct text t = {buf, size};
    const struct ir_op_info *info = &ir_ops[in->op];
    if (in->op == IR_insn) {
        add_text(&t, "---- %llx (%u bytes)", (unsigned long long)in->imm, in->aux);
        return;
    }
    if (info->out[0] != '.')
        add_text(&t, "%%%-3u = ", i);
    else
        add_text(&t, "       ");
    if (strchr("iv", info->out[0]) || info->in[0] == 'i' || in->op == IR_st || in->op == IR_vst ||
        in->op == IR_stenv)
        add_text(&t, "%s.%u", info->name, W_BITS(in->w));
    else
        add_text(&t, "%s", info->name);
    if (in->vl)
        add_text(&t, ".y");
    add_fields(&t, in);
    for (unsigned k = 0; k < ir_args(in) && k < 4; k++)
        if (in->arg[k])
            add_text(&t, "%s %%%u", k ? "," : "", in->arg[k]);
}

void ir_print(const struct ir *ir, void (*print)(void *opaque, const char *fmt, ...), void *opaque)
{
    char line[IR_MAX_LINE];
    print(opaque, "IR of %llx: %u instructions, %u bytes, hflags %04x\n",
          (unsigned long long)ir->rip, ir->guest_insns, ir->guest_bytes, ir->hflags);
    for (unsigned i = 1; i < ir->count; i++) {
        if (ir->insns[i].op == IR_NONE)
            continue;
        ir_format(ir, i, line, sizeof line);
        print(opaque, "    %s\n", line);
    }
}

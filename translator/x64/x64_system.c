/* What emitted code does itself, in the usual case, of instructions of the system side: CLI, STI
 * and POPF at CPL 0, POPF at CPL 3.
 *
 * The helper (cpu/iflag.c) says what they mean.  Its call and the way out behind it follow and
 * serve the rest: other privilege levels, flags on whose account hflags change, an interrupt that
 * waits for IF.
 */
#include "translator/x64/x64_sel.h"

#define SLOW_WAYS 4

/* A fast way out, and the jumps to the slow one. */
struct fast {
    u64 next; /* rip behind the instruction */
    unsigned t;
    u8 *slow[SLOW_WAYS];
    unsigned count;
};

static void slow_if(struct x64_sel *s, struct fast *f, unsigned cc)
{
    f->slow[f->count++] = x64_jcc_later(&s->buf, cc);
}

/* Other than at CPL 0, IOPL decides. */
static void slow_unless_cpl0(struct x64_sel *s, struct fast *f)
{
    x64_alu_imm(&s->buf, ALU_CMP, W8, RM_CPU(cpl), 0);
    slow_if(s, f, CC_NE);
}

/* An interrupt may wait for IF. */
static void slow_if_pins(struct x64_sel *s, struct fast *f)
{
    x64_alu_imm(&s->buf, ALU_CMP, W32, RM_CPU(pins), 0);
    slow_if(s, f, CC_NE);
}

static void fast_cli(struct x64_sel *s, struct fast *f)
{
    slow_unless_cpl0(s, f);
    x64_alu_imm(&s->buf, ALU_AND, W32, RM_CPU(eflags), ~FL_IF);
}

static void fast_sti(struct x64_sel *s, struct fast *f)
{
    slow_unless_cpl0(s, f);
    x64_test_imm(&s->buf, W32, RM_CPU(eflags), FL_IF);
    u8 *done = x64_jcc_later(&s->buf, CC_NE);
    slow_if_pins(s, f);
    x64_alu_imm(&s->buf, ALU_OR, W32, RM_CPU(eflags), FL_IF);
    x64_store_imm(&s->buf, W8, RM_CPU(irq_shadow), true);
    x64_store_pc(s, RM_CPU(shadow_rip), f->next, f->t);
    x64_bind(&s->buf, done);
}

static void fast_popf(struct x64_sel *s, struct fast *f, unsigned image)
{
    bool user = s->ir->hflags & HF_USER;
    struct x64_buf *b = &s->buf;
    x64_load(b, W32, f->t, RM_CPU(eflags));
    if (user) { /* at IOPL 3 it changes IF as well */
        x64_test_imm(b, W32, x64_r(f->t), FL_IOPL);
        slow_if(s, f, CC_NE);
    } else {
        slow_unless_cpl0(s, f);
    }
    x64_alu(b, ALU_XOR, W32, f->t, x64_r(image));
    x64_test_imm(b, W32, x64_r(f->t), FL_TF | FL_AC);
    slow_if(s, f, CC_NE);
    if (!user) {
        x64_test_imm(b, W32, x64_r(f->t), FL_IF);
        u8 *same = x64_jcc_later(b, CC_E);
        slow_if_pins(s, f);
        x64_bind(b, same);
    }
    x64_alu_imm(b, ALU_AND, W32, x64_r(f->t),
                FL_ARITH | FL_DF | FL_NT | FL_ID | (user ? 0 : FL_IF | FL_IOPL));
    x64_alu(b, ALU_XOR, W32, f->t, RM_CPU(eflags));
    x64_alu_imm(b, ALU_OR, W32, x64_r(f->t), FL_FIXED);
    x64_store(b, W64, RM_CPU(eflags), f->t);
    x64_store_imm(b, W8, RM_CPU(lazy_kind), LAZY_NONE);
}

/* Whether the call at `in` is one of these. */
static bool serves(const struct x64_sel *s, const struct ir_insn *in)
{
    u32 hflags = s->ir->hflags;
    u64 size;
    if (!s->chain || hflags & HF_VM || !x64_on(s, T_irqflags) || in[1].op != IR_exit_lookup)
        return false;
    switch (in->imm) {
    case HELPER_cli:
    case HELPER_sti: return !(hflags & HF_USER);
    case HELPER_popf: return x64_is_const(s, in->arg[1], &size) && size >= 4;
    default: return false;
    }
}

void x64_system_fast(struct x64_sel *s, const struct ir_insn *in)
{
    bool popf = in->imm == HELPER_popf;
    struct fast f = {0};
    if (!serves(s, in) || !x64_is_pc(s, in->arg[popf ? 2 : 0], &f.next))
        return;
    x64_store_flags(s);
    x64_clobber(s);
    unsigned image = popf ? x64_use(s, in->arg[0]) : X_NONE;
    f.t = x64_scratch(s);
    switch (in->imm) {
    case HELPER_cli: fast_cli(s, &f); break;
    case HELPER_sti: fast_sti(s, &f); break;
    default: fast_popf(s, &f, image);
    }
    x64_leave_to(s, f.next, f.t);
    for (unsigned i = 0; i < f.count; i++)
        x64_bind(&s->buf, f.slow[i]);
    s->pinned = 0;
    s->counters->irq_flags++;
}

/* Integer ops of the x86-64 selector. */
#include "translator/x64/x64_sel.h"

/* The flags op that goes with result r, if the host's flags must come out of it. */
static ir_ref wanted_twin(struct x64_sel *s, ir_ref r)
{
    ir_ref f = s->val[r].twin;
    if (!f || s->val[f].flags & VAL_DONE || !x64_flags_wanted(s, f))
        return 0;
    /* The old flags that it keeps may be read from struct cpu only later in the IR: do it now. */
    for (unsigned k = 0; k < ir_args(&s->ir->insns[f]); k++) {
        ir_ref old = s->ir->insns[f].arg[k];
        if (old > s->cur && s->ir->insns[old].op == IR_getf && !(s->val[old].flags & VAL_DONE)) {
            s->val[old].flags |= VAL_DONE;
            x64_emit_flags(s, &s->ir->insns[old]);
        }
    }
    return f;
}

static void flags_done(struct x64_sel *s, ir_ref f)
{
    if (!f)
        return;
    s->val[f].flags |= VAL_DONE;
    x64_flags_made(s, f);
    s->counters->twins++;
}

/* Copies value `a` (in register ra, or to be fetched) to dst, at width w or wider. */
static void copy_to(struct x64_sel *s, unsigned dst, ir_ref a)
{
    x64_fetch(s, dst, a);
}

/* A second operand that survives the destination being overwritten. */
static struct x64_rm safe_operand(struct x64_sel *s, ir_ref b, unsigned dst, ir_ref a)
{
    struct x64_rm rm = x64_use_rm(s, b);
    if (rm.is_reg && rm.reg == dst && x64_root(s, a) != x64_root(s, b)) {
        unsigned t = x64_scratch(s);
        x64_mov(&s->buf, W64, t, rm.reg);
        return x64_r(t);
    }
    return rm;
}

/* ADD and SUB as LEA, when nobody wants the flags: the first operand may stay. */
static bool try_lea(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    s32 imm = 0;
    if (in->w < W32)
        return false;
    bool is_imm = x64_is_imm(s, in->arg[1], in->w, &imm);
    if (in->op == IR_sub && (!is_imm || imm == INT32_MIN))
        return false;
    if (in->op == IR_add && !is_imm) {
        struct x64_addr addr = x64_match_addr(s, r, false);
        struct x64_rm rm = x64_addr_rm(s, &addr);
        unsigned dst = x64_dst(s, r, X_NONE);
        x64_lea(&s->buf, in->w, dst, rm);
        x64_def(s, r, dst);
        return true;
    }
    struct x64_rm rm;
    if (in->op == IR_add) {
        struct x64_addr addr = x64_match_addr(s, r, false);
        rm = x64_addr_rm(s, &addr);
    } else {
        rm = x64_m(x64_use(s, in->arg[0]), -imm);
    }
    unsigned dst = x64_dst(s, r, rm.base);
    x64_lea(&s->buf, in->w, dst, rm);
    x64_def(s, r, dst);
    return true;
}

static void emit_alu(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    static const u8 alu_of[] = {
        [IR_add] = ALU_ADD, [IR_sub] = ALU_SUB, [IR_adc] = ALU_ADC, [IR_sbb] = ALU_SBB,
        [IR_and] = ALU_AND, [IR_or] = ALU_OR,   [IR_xor] = ALU_XOR};
    ir_ref f = wanted_twin(s, r), a = in->arg[0], b = in->arg[1];
    bool carry = in->op == IR_adc || in->op == IR_sbb;
    s32 imm;
    u64 c;
    if (!f && (in->op == IR_add || in->op == IR_sub) && try_lea(s, r, in))
        return;
    bool by_one = f && (s->ir->insns[f].op == IR_finc || s->ir->insns[f].op == IR_fdec);
    if (x64_is_const(s, a, &c) && !carry && in->op != IR_sub && !by_one) {
        ir_ref t = a;
        a = b;
        b = t;
    }
    if (!carry && !by_one)
        x64_clobber(s);
    bool is_imm = x64_is_imm(s, b, in->w, &imm);
    struct x64_rm ra = x64_is_const(s, a, &c) ? x64_r(x64_use(s, a)) : x64_use_rm(s, a);
    unsigned dst = x64_dst(s, r, ra.is_reg ? ra.reg : X_NONE);
    struct x64_rm rb = is_imm || by_one ? x64_r(X_RAX) : safe_operand(s, b, dst, a);
    if (!ra.is_reg)
        x64_load(&s->buf, W64, dst, ra);
    else
        x64_mov(&s->buf, W64, dst, ra.reg);
    if (rb.is_reg && !is_imm && x64_root(s, a) == x64_root(s, b))
        rb = x64_r(dst);
    if (carry) {
        x64_carry(s, in->arg[2]);
        x64_consume(s, f ? f : r);
    }
    if (by_one) {
        x64_need_flags(s, s->ir->insns[f].arg[1]);
        x64_consume(s, f);
        x64_op(&s->buf, X64_OP(in->w == W16 ? 0x66 : 0, 0, in->w == W8 ? 0xfe : 0xff),
               in->w == W64, false, in->w == W8, s->ir->insns[f].op == IR_fdec, x64_r(dst));
    } else if (is_imm) {
        x64_alu_imm(&s->buf, alu_of[in->op], in->w, x64_r(dst), imm);
    } else {
        x64_alu(&s->buf, alu_of[in->op], in->w, dst, rb);
    }
    s->fl_ref = 0;
    x64_def(s, r, dst);
    flags_done(s, f);
}

static void emit_unary(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    ir_ref f = wanted_twin(s, r);
    if (in->op == IR_neg)
        x64_clobber(s);
    struct x64_rm ra = x64_use_rm(s, in->arg[0]);
    unsigned dst = x64_dst(s, r, ra.is_reg ? ra.reg : X_NONE);
    if (!ra.is_reg)
        x64_load(&s->buf, W64, dst, ra);
    else
        x64_mov(&s->buf, W64, dst, ra.reg);
    x64_f7(&s->buf, in->op == IR_neg ? F7_NEG : F7_NOT, in->w, x64_r(dst));
    x64_def(s, r, dst);
    flags_done(s, f);
}

/* BSWAP has its register in the opcode: 0F C8+r without ModRM. */
static void emit_bswap(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    if (in->w == W16)
        x64_clobber(s);
    struct x64_rm ra = x64_use_rm(s, in->arg[0]);
    unsigned dst = x64_dst(s, r, ra.is_reg ? ra.reg : X_NONE);
    copy_to(s, dst, in->arg[0]);
    if (in->w == W16) {
        x64_shift_imm(&s->buf, SH_ROL, W16, x64_r(dst), 8);
    } else {
        unsigned rex = (in->w == W64 ? 8 : 0) | (dst & 8 ? 1 : 0);
        if (rex)
            x64_byte(&s->buf, (u8)(0x40 | rex));
        x64_byte(&s->buf, 0x0f);
        x64_byte(&s->buf, (u8)(0xc8 | (dst & 7)));
    }
    x64_def(s, r, dst);
}

/* The count as the hardware masks it: an AND with that very mask is already done there. */
static ir_ref strip_mask(const struct x64_sel *s, ir_ref n)
{
    const struct ir_insn *in = &s->ir->insns[x64_root(s, n)];
    return in->op == IR_and && s->val[x64_root(s, n)].flags & VAL_DEFERRED ? in->arg[0] : n;
}

/* BMI2's shifts by a register and rotates by a constant: any registers, flags left alone. */
static void emit_shiftx(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    u64 n = 0;
    bool constant = x64_is_const(s, in->arg[1], &n);
    unsigned count = constant ? 0 : x64_use(s, strip_mask(s, in->arg[1]));
    struct x64_rm ra = x64_use_rm(s, in->arg[0]);
    unsigned dst = x64_dst(s, r, X_NONE);
    if (constant) {
        x64_vex(&s->buf, X64_OP(0xf2, 3, 0xf0), in->w == W64, dst, 0, ra);
        x64_byte(&s->buf, (u8)((in->op == IR_ror ? n : 0 - n) & (W_BITS(in->w) - 1)));
    } else {
        u8 pfx = in->op == IR_shl ? 0x66 : in->op == IR_shr ? 0xf2 : 0xf3;
        x64_vex(&s->buf, X64_OP(pfx, 2, 0xf7), in->w == W64, dst, count, ra);
    }
    s->counters->shiftx++;
    x64_def(s, r, dst);
}

static bool shiftx_serves(const struct x64_sel *s, const struct ir_insn *in)
{
    u64 n;
    bool constant = x64_is_const(s, in->arg[1], &n);
    bool shift = in->op == IR_shl || in->op == IR_shr || in->op == IR_sar;
    bool rotate = in->op == IR_rol || in->op == IR_ror;
    return s->bmi2 && in->w >= W32 && x64_on(s, T_shiftx) && (constant ? rotate : shift);
}

static void emit_shift(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    static const u8 sh_of[] = {[IR_shl] = SH_SHL, [IR_shr] = SH_SHR, [IR_sar] = SH_SAR,
                               [IR_rol] = SH_ROL, [IR_ror] = SH_ROR, [IR_rcl] = SH_RCL,
                               [IR_rcr] = SH_RCR};
    ir_ref f = wanted_twin(s, r);
    if (!f && shiftx_serves(s, in)) {
        emit_shiftx(s, r, in);
        return;
    }
    bool through = in->op == IR_rcl || in->op == IR_rcr;
    bool rotate = in->op == IR_rol || in->op == IR_ror || through;
    u64 n = 0;
    bool constant = x64_is_const(s, in->arg[1], &n);
    if (constant && !rotate && n >= W_BITS(in->w) && in->w >= W32)
        n = 0; /* the lifter masks counts; anything else is folded before */
    if (!constant) {
        x64_take(s, X_RCX);
        x64_fetch(s, X_RCX, strip_mask(s, in->arg[1]));
    }
    struct x64_rm ra = x64_use_rm(s, in->arg[0]);
    unsigned dst = x64_dst(s, r, ra.is_reg && ra.reg != X_RCX ? ra.reg : X_NONE);
    copy_to(s, dst, in->arg[0]);
    if (ra.is_reg && ra.reg != dst) /* the carry may need a register of its own */
        s->pinned &= (u16)~(1 << ra.reg);
    ir_ref old = f ? s->ir->insns[f].arg[2] : 0;
    if (old && (!constant || rotate)) {
        x64_need_flags(s, old);
        x64_consume(s, f);
    } else if (through) {
        x64_carry(s, in->arg[2]);
        x64_consume(s, f ? f : r);
    } else {
        x64_clobber(s);
    }
    if (constant)
        x64_shift_imm(&s->buf, sh_of[in->op], in->w, x64_r(dst), (unsigned)n);
    else
        x64_shift_cl(&s->buf, sh_of[in->op], in->w, x64_r(dst));
    s->fl_ref = 0;
    x64_def(s, r, dst);
    flags_done(s, f);
}

/* SHLD, SHRD: dst = a, other operand b, count c. */
static void emit_double_shift(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    ir_ref f = wanted_twin(s, r);
    u64 n;
    bool constant = x64_is_const(s, in->arg[2], &n);
    if (!constant) {
        x64_take(s, X_RCX);
        x64_fetch(s, X_RCX, strip_mask(s, in->arg[2]));
    }
    struct x64_rm ra = x64_use_rm(s, in->arg[0]);
    unsigned dst = x64_dst(s, r, ra.is_reg && ra.reg != X_RCX ? ra.reg : X_NONE);
    if (ra.is_reg && ra.reg != dst) /* three registers must do; copy_to finds the value again */
        s->pinned &= (u16) ~(1 << ra.reg);
    unsigned other = x64_use(s, in->arg[1]);
    if (other == dst && x64_root(s, in->arg[0]) != x64_root(s, in->arg[1])) {
        other = x64_scratch(s);
        x64_fetch(s, other, in->arg[1]);
    }
    copy_to(s, dst, in->arg[0]);
    if (f && !constant && s->ir->insns[f].arg[3]) {
        x64_need_flags(s, s->ir->insns[f].arg[3]);
        x64_consume(s, f);
    } else {
        x64_clobber(s);
    }
    unsigned op = (in->op == IR_shld ? 0xa4 : 0xac) | (constant ? 0 : 1);
    x64_op(&s->buf, X64_OP(in->w == W16 ? 0x66 : 0, 1, op), in->w == W64, false, false, other,
           x64_r(dst));
    if (constant)
        x64_byte(&s->buf, (u8)n);
    s->fl_ref = 0;
    x64_def(s, r, dst);
    flags_done(s, f);
}

/* Finds a later op of the same instruction with the same operands. */
static ir_ref find_mate(const struct x64_sel *s, ir_ref r, unsigned op)
{
    const struct ir_insn *in = &s->ir->insns[r];
    for (unsigned i = r + 1; i < s->ir->count && i < r + 12u; i++) {
        const struct ir_insn *m = &s->ir->insns[i];
        if (m->op == IR_insn)
            return 0;
        if (m->op == op && m->w == in->w && m->arg[0] == in->arg[0] && m->arg[1] == in->arg[1] &&
            m->arg[2] == in->arg[2] && !(s->val[i].flags & VAL_DONE))
            return (ir_ref)i;
    }
    return 0;
}

/* Low and high halves at 8 and 16 bits: one 32-bit product holds both. */
static void emit_narrow_mul(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    bool is_signed = in->op == IR_mulhs;
    unsigned a = x64_scratch(s), b = x64_scratch(s);
    x64_fetch(s, a, in->arg[0]);
    x64_fetch(s, b, in->arg[1]);
    if (is_signed) {
        x64_movsx(&s->buf, W32, in->w, a, x64_r(a));
        x64_movsx(&s->buf, W32, in->w, b, x64_r(b));
    } else {
        x64_load(&s->buf, in->w, a, x64_r(a));
        x64_load(&s->buf, in->w, b, x64_r(b));
    }
    x64_imul(&s->buf, W32, a, x64_r(b));
    if (in->op != IR_mul)
        x64_shift_imm(&s->buf, SH_SHR, W32, x64_r(a), W_BITS(in->w));
    s->pinned &= (u16)~(1 << b);
    unsigned dst = x64_dst(s, r, a);
    x64_mov(&s->buf, W64, dst, a);
    x64_def(s, r, dst);
}

static void emit_mul(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    x64_clobber(s);
    if (in->w <= W16) {
        emit_narrow_mul(s, r, in);
        return;
    }
    ir_ref high = in->op != IR_mul ? r : find_mate(s, r, IR_mulhu);
    if (!high)
        high = find_mate(s, r, IR_mulhs);
    ir_ref low = in->op == IR_mul ? r : find_mate(s, r, IR_mul);
    if (!high) {
        s32 imm;
        ir_ref a = in->arg[0], b = in->arg[1];
        if (x64_is_imm(s, a, in->w, &imm)) {
            a = in->arg[1];
            b = in->arg[0];
        }
        if (x64_is_imm(s, b, in->w, &imm)) {
            struct x64_rm ra = x64_use_rm(s, a);
            unsigned dst = x64_dst(s, r, X_NONE);
            x64_op(&s->buf, X64_OP(0, 0, 0x69), in->w == W64, false, false, dst, ra);
            x64_bytes(&s->buf, (u32)imm, 4);
            x64_def(s, r, dst);
            return;
        }
        struct x64_rm ra = x64_use_rm(s, a);
        unsigned dst = x64_dst(s, r, ra.is_reg ? ra.reg : X_NONE);
        struct x64_rm rb = safe_operand(s, b, dst, a);
        copy_to(s, dst, a);
        x64_imul(&s->buf, in->w, dst, x64_root(s, a) == x64_root(s, b) ? x64_r(dst) : rb);
        x64_def(s, r, dst);
        return;
    }
    x64_take(s, X_RAX);
    x64_take(s, X_RDX);
    struct x64_rm rb = x64_r(x64_use(s, in->arg[1]));
    x64_fetch(s, X_RAX, in->arg[0]);
    x64_f7(&s->buf, s->ir->insns[high].op == IR_mulhs ? F7_IMUL : F7_MUL, in->w, rb);
    x64_def(s, high, X_RDX);
    s->val[high].flags |= VAL_DONE;
    if (low) {
        x64_def(s, low, X_RAX);
        s->val[low].flags |= VAL_DONE;
    }
}

/* Division.  The host's DIV would fault: what could is left to C, which raises #DE or divides. */
static void emit_div(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    bool is_signed = in->op == IR_divs;
    ir_ref rem = find_mate(s, r, is_signed ? IR_rems : IR_remu);
    x64_clobber(s);
    for (unsigned i = 0; i < 3; i++) {
        s->pinned = 0;
        x64_store(&s->buf, W64, x64_m(X_RSP, CPU_OFF(call_arg) + 8 * (s32)(i + 1)),
                  x64_use(s, in->arg[i]));
    }
    s->pinned = 0;
    x64_flush_scratch(s);
    s->pinned = SCRATCH_MASK;
    x64_load(&s->buf, W64, X_RAX, x64_m(X_RSP, CPU_OFF(call_arg) + 8));
    x64_load(&s->buf, W64, X_RDX, x64_m(X_RSP, CPU_OFF(call_arg) + 16));
    x64_load(&s->buf, W64, X_RCX, x64_m(X_RSP, CPU_OFF(call_arg) + 24));
    u8 *slow1 = NULL, *slow2 = NULL, *fast = NULL;
    if (in->w >= W32 && !is_signed) {
        x64_alu(&s->buf, ALU_CMP, in->w, X_RDX, x64_r(X_RCX)); /* fits if high < divisor */
        slow1 = x64_jcc_later(&s->buf, CC_AE);
        x64_f7(&s->buf, F7_DIV, in->w, x64_r(X_RCX));
        fast = x64_jmp_later(&s->buf);
    } else if (in->w >= W32) {
        /* High half = sign of the low half, divisor not 0 or -1: cannot overflow. */
        x64_mov(&s->buf, in->w, X_RDX, X_RAX);
        x64_shift_imm(&s->buf, SH_SAR, in->w, x64_r(X_RDX), W_BITS(in->w) - 1);
        x64_alu(&s->buf, ALU_CMP, in->w, X_RDX, x64_m(X_RSP, CPU_OFF(call_arg) + 16));
        slow1 = x64_jcc_later(&s->buf, CC_NE);
        x64_lea(&s->buf, in->w, X_RDX, x64_m(X_RCX, 1));
        x64_alu_imm(&s->buf, ALU_CMP, in->w, x64_r(X_RDX), 1);
        slow2 = x64_jcc_later(&s->buf, CC_BE);
        x64_mov(&s->buf, in->w, X_RDX, X_RAX);
        x64_shift_imm(&s->buf, SH_SAR, in->w, x64_r(X_RDX), W_BITS(in->w) - 1);
        x64_f7(&s->buf, F7_IDIV, in->w, x64_r(X_RCX));
        fast = x64_jmp_later(&s->buf);
    }
    if (slow1)
        x64_bind(&s->buf, slow1);
    if (slow2)
        x64_bind(&s->buf, slow2);
    x64_store_imm(&s->buf, W64, RM_CPU(call_arg), (s32)(in->w | (is_signed ? 8 : 0)));
    x64_call(&s->buf, s->thunks->div[x64_vec_kept(s)]);
    x64_site_here(s);
    x64_load(&s->buf, W64, X_RAX, x64_m(X_RSP, CPU_OFF(slow_value)));
    x64_load(&s->buf, W64, X_RDX, x64_m(X_RSP, CPU_OFF(slow_value) + 8));
    if (fast)
        x64_bind(&s->buf, fast);
    x64_def(s, r, X_RAX);
    if (rem) {
        x64_def(s, rem, X_RDX);
        s->val[rem].flags |= VAL_DONE;
    }
}

static void emit_extend(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    struct x64_rm ra = x64_use_rm(s, in->arg[0]);
    if (in->op == IR_trunc) { /* bits 8.. of a register: AH and its like */
        unsigned t = x64_scratch(s);
        x64_fetch(s, t, in->arg[0]);
        if (in->w == W8) {
            x64_op(&s->buf, X64_OP(0, 1, 0xb6), false, false, false, t, x64_r(t + 4));
        } else {
            x64_clobber(s);
            x64_shift_imm(&s->buf, SH_SHR, W64, x64_r(t), (unsigned)in->imm);
        }
        unsigned dst = x64_dst(s, r, t);
        x64_mov(&s->buf, W64, dst, t);
        x64_def(s, r, dst);
        return;
    }
    unsigned dst = x64_dst(s, r, ra.is_reg ? ra.reg : X_NONE);
    if (in->op == IR_sext)
        x64_movsx(&s->buf, in->w == W64 ? W64 : W32, in->aux, dst, ra);
    else
        x64_load(&s->buf, in->aux, dst, ra);
    x64_def(s, r, dst);
}

/* a with a field replaced by b. */
static void emit_deposit(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    struct x64_rm ra = x64_use_rm(s, in->arg[0]);
    u64 c;
    unsigned dst = x64_dst(s, r, ra.is_reg ? ra.reg : X_NONE);
    if (in->imm == 0) {
        struct x64_rm rb = x64_is_const(s, in->arg[1], &c)
                               ? x64_r(x64_use(s, in->arg[1]))
                               : safe_operand(s, in->arg[1], dst, in->arg[0]);
        copy_to(s, dst, in->arg[0]);
        if (in->aux == W32)
            s->failed = "deposit of 32 bits";
        x64_mov_low(&s->buf, in->aux, dst, rb);
    } else { /* bits 8-15: rotate them to the bottom and back; the flags must not matter */
        x64_clobber(s);
        struct x64_rm rb = x64_is_const(s, in->arg[1], &c)
                               ? x64_r(x64_use(s, in->arg[1]))
                               : safe_operand(s, in->arg[1], dst, in->arg[0]);
        if (rb.is_reg && rb.reg == dst) { /* both parts come from one register */
            rb = x64_r(x64_scratch(s));
            x64_mov(&s->buf, W64, rb.reg, dst);
        }
        copy_to(s, dst, in->arg[0]);
        x64_shift_imm(&s->buf, SH_ROR, W64, x64_r(dst), (unsigned)in->imm);
        x64_mov_low(&s->buf, in->aux, dst, rb);
        x64_shift_imm(&s->buf, SH_ROL, W64, x64_r(dst), (unsigned)in->imm);
    }
    x64_def(s, r, dst);
}

static void emit_bool(struct x64_sel *s, ir_ref r)
{
    s->val[r].flags |= VAL_DEFERRED; /* let x64_cond set up the flags */
    unsigned cc = x64_cond(s, r);
    s->val[r].flags &= (u8)~VAL_DEFERRED;
    s->pinned = 0;
    unsigned t = x64_scratch(s);
    x64_setcc(&s->buf, cc, x64_r(t));
    x64_load(&s->buf, W8, t, x64_r(t));
    x64_def(s, r, t);
}

static void emit_select(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned w = in->w < W32 ? W32 : in->w;
    unsigned cc = x64_cond(s, in->arg[0]);
    s->pinned = 0;
    unsigned a = x64_use(s, in->arg[1]);
    struct x64_rm rb = x64_use_rm(s, in->arg[2]);
    /* dst = b, then a if the condition holds; the moves leave the flags alone. */
    unsigned dst = x64_dst(s, r, rb.is_reg ? rb.reg : X_NONE);
    if (dst == a && !(rb.is_reg && rb.reg == dst)) {
        x64_cmov(&s->buf, cc ^ 1, w, dst, rb);
    } else {
        copy_to(s, dst, in->arg[2]);
        x64_cmov(&s->buf, cc, w, dst, x64_r(a));
    }
    if (w == W32 && dst == a)
        x64_mov(&s->buf, W32, dst, dst);
    x64_def(s, r, dst);
}

/* POPCNT, and LZCNT or TZCNT; hosts without the latter have BSR and BSF, which leave zero to us. */
static void emit_count(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned w = in->w < W32 ? W32 : in->w, bits = W_BITS(w);
    x64_clobber(s);
    unsigned t = x64_scratch(s);
    x64_fetch(s, t, in->arg[0]);
    if (in->w < W32)
        x64_load(&s->buf, in->w, t, x64_r(t));
    if (in->op == IR_ctz && in->w < W32) /* a stop bit just above */
        x64_alu_imm(&s->buf, ALU_OR, W32, x64_r(t), (s32)(1u << W_BITS(in->w)));
    if (in->op == IR_popcnt) {
        x64_op(&s->buf, X64_OP(0xf3, 1, 0xb8), w == W64, false, false, t, x64_r(t));
    } else if (s->lzcnt) {
        x64_op(&s->buf, X64_OP(0xf3, 1, in->op == IR_ctz ? 0xbc : 0xbd), w == W64, false, false, t,
               x64_r(t));
    } else {
        unsigned zero = x64_scratch(s);
        x64_mov_imm(&s->buf, zero, in->op == IR_ctz ? bits : 2 * bits - 1);
        x64_op(&s->buf, X64_OP(0, 1, in->op == IR_ctz ? 0xbc : 0xbd), w == W64, false, false, t,
               x64_r(t));
        x64_cmov(&s->buf, CC_E, w, t, x64_r(zero));
        if (in->op == IR_clz)
            x64_alu_imm(&s->buf, ALU_XOR, w, x64_r(t), (s32)bits - 1);
    }
    if (in->op == IR_clz && in->w < W32)
        x64_alu_imm(&s->buf, ALU_SUB, W32, x64_r(t), (s32)(32 - W_BITS(in->w)));
    unsigned dst = x64_dst(s, r, t);
    x64_mov(&s->buf, W64, dst, t);
    x64_def(s, r, dst);
}

/* PDEP, PEXT; the bits of a narrow operand above its width are not known to be clear. */
static void emit_deposit_bits(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    if (!s->bmi2) {
        x64_clobber(s);
        for (unsigned k = 0; k < 2; k++) {
            s->pinned = 0;
            x64_store(&s->buf, W64, x64_m(X_RSP, CPU_OFF(call_arg) + 8 * (s32)k),
                      x64_use(s, in->arg[k]));
        }
        s->pinned = 0;
        x64_store_imm(&s->buf, W32, RM_CPU(exit_id), in->op | in->w << 16);
        x64_call(&s->buf, s->thunks->eval[x64_vec_kept(s)]);
        unsigned t = x64_scratch(s);
        x64_load(&s->buf, W64, t, RM_CPU(slow_value));
        x64_def(s, r, t);
        return;
    }
    unsigned a = x64_use(s, in->arg[0]);
    struct x64_rm mask = x64_use_rm(s, in->arg[1]);
    if (in->w < W32) {
        unsigned t = x64_scratch(s);
        x64_load(&s->buf, in->w, t, mask);
        mask = x64_r(t);
    }
    unsigned dst = x64_dst(s, r, X_NONE);
    x64_vex(&s->buf, X64_OP(in->op == IR_pdep ? 0xf2 : 0xf3, 2, 0xf5), in->w == W64, dst, a, mask);
    x64_def(s, r, dst);
}

static void emit_crc(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned b = x64_use(s, in->arg[1]), t = x64_scratch(s);
    x64_fetch(s, t, in->arg[0]);
    if (in->aux == W16)
        x64_byte(&s->buf, 0x66);
    x64_op(&s->buf, X64_OP(0xf2, 2, in->aux == W8 ? 0xf0 : 0xf1), in->aux == W64, false,
           in->aux == W8, t, x64_r(b));
    x64_def(s, r, t);
}

static void emit_ldenv(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned dst = x64_dst(s, r, X_NONE);
    x64_load(&s->buf, in->w, dst, x64_m(X_RSP, (s32)in->imm));
    x64_def(s, r, dst);
}

static void emit_live(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    unsigned dst = x64_dst(s, r, X_NONE);
    x64_mov_imm(&s->buf, dst, in->imm);
    x64_load(&s->buf, in->w, dst, x64_m(dst, 0));
    x64_def(s, r, dst);
}

static void emit_stenv(struct x64_sel *s, const struct ir_insn *in)
{
    s32 imm;
    if (x64_is_imm(s, in->arg[0], in->w, &imm))
        x64_store_imm(&s->buf, in->w, x64_m(X_RSP, (s32)in->imm), imm);
    else
        x64_store(&s->buf, in->w, x64_m(X_RSP, (s32)in->imm), x64_use(s, in->arg[0]));
}

/* EFLAGS image of a flags value: AHF to bits 0-7 and 11.  AF, where the manual leaves it undefined,
 * is what cpu/flags.c makes of the same flags. */
static void emit_bitsf(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    ir_ref a, b;
    unsigned kind = x64_recipe_kind(s, x64_root(s, in->arg[0]), &a, &b) & ~3u;
    bool sum = kind == LAZY_ADD || kind == LAZY_SUB || kind == LAZY_ADD_RES || kind == LAZY_SUB_RES;
    x64_need_flags(s, in->arg[0]);
    x64_take(s, X_RAX);
    x64_byte(&s->buf, X64_LAHF);
    x64_setcc(&s->buf, CC_O, x64_r(X_RAX));
    x64_clobber(s);
    unsigned t = x64_scratch(s);
    x64_load(&s->buf, W8, t, x64_r(X_RAX));
    x64_shift_imm(&s->buf, SH_SHL, W32, x64_r(t), 11);
    x64_op(&s->buf, X64_OP(0, 1, 0xb6), false, false, false, X_RAX, x64_r(4)); /* movzx eax, ah */
    x64_alu_imm(&s->buf, ALU_AND, W32, x64_r(X_RAX), kind && !sum ? 0xd5 & ~FL_AF : 0xd5);
    x64_alu(&s->buf, ALU_OR, W32, t, x64_r(X_RAX));
    x64_def(s, r, t);
}

void x64_emit_int(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = (ir_ref)(in - s->ir->insns);
    switch (in->op) {
    case IR_add:
    case IR_sub:
    case IR_adc:
    case IR_sbb:
    case IR_and:
    case IR_or:
    case IR_xor: emit_alu(s, r, in); break;
    case IR_not:
    case IR_neg: emit_unary(s, r, in); break;
    case IR_bswap: emit_bswap(s, r, in); break;
    case IR_mul:
    case IR_mulhu:
    case IR_mulhs: emit_mul(s, r, in); break;
    case IR_divu:
    case IR_divs: emit_div(s, r, in); break;
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rol:
    case IR_ror:
    case IR_rcl:
    case IR_rcr: emit_shift(s, r, in); break;
    case IR_shld:
    case IR_shrd: emit_double_shift(s, r, in); break;
    case IR_clz:
    case IR_ctz:
    case IR_popcnt: emit_count(s, r, in); break;
    case IR_pdep:
    case IR_pext: emit_deposit_bits(s, r, in); break;
    case IR_crc32c: emit_crc(s, r, in); break;
    case IR_zext:
    case IR_sext:
    case IR_trunc: emit_extend(s, r, in); break;
    case IR_deposit: emit_deposit(s, r, in); break;
    case IR_setcc:
    case IR_icmp: emit_bool(s, r); break;
    case IR_select: emit_select(s, r, in); break;
    case IR_ldenv: emit_ldenv(s, r, in); break;
    case IR_live: emit_live(s, r, in); break;
    case IR_stenv: emit_stenv(s, in); break;
    case IR_bitsf: emit_bitsf(s, r, in); break;
    default: s->failed = "op without a selector";
    }
}

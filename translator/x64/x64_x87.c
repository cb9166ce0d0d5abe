/* x87 instructions of the guest on the host's x87.
 *
 * While no exception is unmasked (HF_X87_EXC clear) the host's x87 simply holds the guest's:
 * registers, TOP, tags, control and status word, from the first x87 instruction that needs them up
 * to a helper that works on struct x87, or until emitted code is left.  An instruction is then the
 * same instruction, which the descriptor of its helper carries (FOP), with the memory operand
 * behind the usual check; stack faults, condition codes and sticky flags are the processor's own.
 * C code in between must not use the x87 (no long double), and does not.
 *
 * FIP and FOP are noted here and stored before the next op at which somebody could look.
 *
 * Left to the helpers: environment and state images, blocks of one instruction, alignment checks.
 * A FLDCW that unmasks something is done alone, so that its block can rely on the masks.
 */
#include "cpu/cpu.h"
#include "cpu/x87.h"
#include "translator/x64/x64_engine.h"

enum { AT_UNKNOWN, AT_HOST, AT_CPU }; /* x64_sel.x87_at */

/* ---- moving the state (C side of the thunks) ---- */

/* FNSAVE's image in 32-bit protected format (SDM vol. 1, figure 8-9). */
struct image {
    u32 fcw, fsw, ftw, fip, fcs_fop, fdp, fds;
    u8 st[8][10];
} __attribute__((packed));

void x64_x87_load(struct cpu *cpu, u64 unused)
{
    struct x87 *x = &cpu->x87;
    struct image image = {.fcw = x->fcw, .fsw = x->fsw};
    (void)unused;
    for (unsigned i = 0; i < 8; i++) {
        const struct fpreg *r = &x->r[x87_phys(x, i)];
        image.ftw |= x->ftw >> i & 1 ? 0 : 3u << (2 * i);
        memcpy(image.st[i], &r->mant, 8);
        memcpy(image.st[i] + 8, &r->sexp, 2);
    }
    __asm__ volatile("frstor %0" : : "m"(image));
    cpu->x87_host = true;
    vcpu_of(cpu)->engine->counters.x87_loads++;
}

void x64_x87_save(struct cpu *cpu, u64 unused)
{
    struct x87 *x = &cpu->x87;
    struct image image;
    (void)unused;
    if (!cpu->x87_host)
        return;
    __asm__ volatile("fnsave %0" : "=m"(image));
    x->fcw = (u16)image.fcw;
    x->fsw = (u16)image.fsw;
    x->ftw = x87_abridge_tags((u16)image.ftw);
    for (unsigned i = 0; i < 8; i++) {
        struct fpreg *r = &x->r[x87_phys(x, i)];
        memcpy(&r->mant, image.st[i], 8);
        memcpy(&r->sexp, image.st[i] + 8, 2);
    }
    cpu->x87_host = false;
}

void x64_slow_alone(struct cpu *cpu, u64 unused)
{
    (void)unused;
    x64_retry_alone(cpu);
}

/* ---- what is done inline ---- */

enum shape {
    BY_HELPER, REGISTERS, VALUE, ADDRESS, STORE, CONDITION, FLAGS, WORD, CONTROL, NOTHING
};

static enum shape shape_of(const struct x64_sel *s, const struct ir_insn *in)
{
    if (!s->x87 || (in->op != IR_call && in->op != IR_callv))
        return BY_HELPER;
    switch (in->imm) {
    case HELPER_x87_fld_s:
    case HELPER_x87_fld_d:
    case HELPER_x87_fld_i:
    case HELPER_x87_arith_s:
    case HELPER_x87_arith_d:
    case HELPER_x87_arith_i: return VALUE;
    case HELPER_x87_fld_t:
    case HELPER_x87_fbld: return ADDRESS;
    case HELPER_x87_fst: return STORE;
    case HELPER_x87_fld_st:
    case HELPER_x87_fld_const:
    case HELPER_x87_arith_st0:
    case HELPER_x87_arith_sti:
    case HELPER_x87_fcom:
    case HELPER_x87_fxch:
    case HELPER_x87_fst_st:
    case HELPER_x87_unary: return REGISTERS;
    case HELPER_x87_fcmov: return CONDITION;
    case HELPER_x87_fcomi: return FLAGS;
    case HELPER_x87_fnstcw:
    case HELPER_x87_fnstsw: return WORD;
    case HELPER_x87_control: return CONTROL;
    case HELPER_fwait: return s->ir->hflags & HF_NOFPU ? BY_HELPER : NOTHING;
    case HELPER_mmx_check: return NOTHING;
    default: return BY_HELPER;
    }
}

bool x64_x87_quiet(const struct x64_sel *s, const struct ir_insn *in)
{
    enum shape shape = shape_of(s, in);
    return shape != BY_HELPER && shape != VALUE && shape != ADDRESS && shape != STORE &&
           shape != CONTROL;
}

bool x64_x87_condition(const struct x64_sel *s, const struct ir_insn *in, unsigned k)
{
    return k == 1 && shape_of(s, in) == CONDITION;
}

bool x64_x87_is_flags(const struct x64_sel *s, ir_ref f)
{
    const struct ir_insn *in = &s->ir->insns[f];
    return in->op == IR_fbits &&
           shape_of(s, &s->ir->insns[x64_root(s, in->arg[0])]) == FLAGS;
}

/* The load that feeds the instruction, when it can be read from memory there instead. */
static ir_ref source_load(const struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = x64_root(s, in->arg[1]);
    if (s->ir->insns[r].op == IR_sext && s->val[r].uses == 1)
        r = x64_root(s, s->ir->insns[r].arg[0]);
    if (s->ir->insns[r].op != IR_ld || s->val[r].uses != 1)
        return 0;
    for (const struct ir_insn *i = &s->ir->insns[r] + 1; i < in; i++)
        if (ir_effects(i) & ~(u32)(E_RGPR | E_RFL | E_RVEC | E_RENV))
            return 0;
    return r;
}

void x64_x87_fold(struct x64_sel *s, const struct ir_insn *in)
{
    if (shape_of(s, in) != VALUE)
        return;
    ir_ref ld = source_load(s, in), v = x64_root(s, in->arg[1]);
    if (!ld)
        return;
    s->val[ld].flags |= VAL_DEFERRED;
    s->val[v].flags |= VAL_DEFERRED;
}

/* ---- emission ---- */

static void place(struct x64_sel *s, u8 where)
{
    if (s->x87_at == where)
        return;
    bool host = where == AT_HOST;
    x64_clobber(s);
    struct x64_stub *stub = x64_stub(s);
    stub->thunk = (host ? s->thunks->x87_load : s->thunks->x87_save)[x64_vec_kept(s)];
    stub->site = x64_site(s);
    x64_alu_imm(&s->buf, ALU_CMP, W8, RM_CPU(x87_host), 0);
    stub->from = x64_jcc_later(&s->buf, host ? CC_E : CC_NE);
    stub->back = s->buf.p;
    s->x87_at = where;
}

void x64_x87_to_cpu(struct x64_sel *s)
{
    if (s->engine->x87)
        place(s, AT_CPU);
}

void x64_x87_flush(struct x64_sel *s)
{
    if (!s->x87_pending)
        return;
    s->x87_pending = false;
    x64_store_imm(&s->buf, W32, RM_CPU(x87.fip), (s32)(u32)s->x87_rip);
    if (s->x87_high != (s64)(s->x87_rip >> 32)) {
        s->x87_high = (s64)(s->x87_rip >> 32);
        x64_store_imm(&s->buf, W32, x64_m(X_RSP, CPU_OFF(x87.fip) + 4), (s32)s->x87_high);
    }
    x64_store_imm(&s->buf, W32, RM_CPU(x87.fop), (s32)s->x87_fop);
}

void x64_x87_forget(struct x64_sel *s)
{
    s->x87_cs = false;
    s->x87_ds = SEG_COUNT;
}

static void copy_selector(struct x64_sel *s, unsigned seg, s32 to)
{
    u16 pinned = s->pinned;
    unsigned t = x64_scratch(s);
    x64_load(&s->buf, W16, t, x64_m(X_RSP, CPU_OFF(seg) + (s32)(seg * sizeof(struct segment)) +
                                               (s32)offsetof(struct segment, selector)));
    x64_store(&s->buf, W16, x64_m(X_RSP, to), t);
    s->pinned = pinned;
}

/* The pointers of a non-control instruction (SDM vol. 1, 8.1.8); after its last fault. */
static void note_pointers(struct x64_sel *s, const struct ir_insn *in, u64 desc)
{
    u16 pinned = s->pinned;
    u64 rip;
    s32 imm;
    if (!x64_is_const(s, in->arg[3], &rip))
        s->failed = "x87 instruction without an address";
    s->x87_pending = true;
    s->x87_rip = rip;
    s->x87_fop = desc >> X87_FOP_SHIFT & 0x7ff;
    if (!s->x87_cs)
        copy_selector(s, SEG_CS, CPU_OFF(x87.fcs));
    s->x87_cs = true;
    if (!(desc & X87_MEM))
        return;
    if (x64_is_imm(s, in->arg[2], W64, &imm))
        x64_store_imm(&s->buf, W64, RM_CPU(x87.fdp), imm);
    else
        x64_store(&s->buf, W64, RM_CPU(x87.fdp), x64_use(s, in->arg[2]));
    s->pinned = pinned;
    unsigned seg = desc >> X87_SEG_SHIFT & 7;
    if (s->x87_ds != seg)
        copy_selector(s, seg, CPU_OFF(x87.fds));
    s->x87_ds = (u8)seg;
}

/* Bytes of the memory operand, by its opcode and ModRM.reg (SDM vol. 2D, tables ). */
static unsigned operand_size(unsigned opcode, unsigned reg)
{
    switch (opcode) {
    case 0xdb: return reg >= 5 ? 10 : 4;
    case 0xdc: return 8;
    case 0xdd: return 8;
    case 0xde: return 2;
    case 0xdf: return reg == 4 || reg == 6 ? 10 : reg >= 5 ? 8 : 2;
    default: return 4;
    }
}

static void emit_memory(struct x64_sel *s, const struct ir_insn *in, u64 desc, enum shape shape)
{
    unsigned opcode = 0xd8 | (desc >> (X87_FOP_SHIFT + 8) & 7);
    unsigned reg = desc >> (X87_FOP_SHIFT + 3) & 7, size = operand_size(opcode, reg);
    unsigned mf = (desc >> X87_SEG_SHIFT & 7) == SEG_SS ? MF_STACK : 0;
    struct x64_rm mem = RM_CPU(slow_value);
    ir_ref ld = shape == VALUE ? source_load(s, in) : 0;
    if (shape == VALUE && !ld) {
        x64_store(&s->buf, W64, mem, x64_use(s, in->arg[1]));
    } else {
        ir_ref address = ld ? s->ir->insns[ld].arg[0] : in->arg[1];
        mem = x64_m(x64_check_host(s, address, size, shape == STORE, mf), 0);
    }
    note_pointers(s, in, desc);
    x64_op(&s->buf, X64_OP(0, 0, opcode), false, false, false, reg, mem);
}

static void emit_bytes(struct x64_sel *s, unsigned first, unsigned second)
{
    x64_byte(&s->buf, (u8)first);
    x64_byte(&s->buf, (u8)second);
}

/* FCMOVcc by whatever condition of the host is at hand. */
static void emit_fcmov(struct x64_sel *s, const struct ir_insn *in, u64 desc)
{
    static const u16 fcmov[16] = {
        [CC_B] = 0xdac0, [CC_E] = 0xdac8, [CC_BE] = 0xdad0, [CC_P] = 0xdad8,
        [CC_AE] = 0xdbc0, [CC_NE] = 0xdbc8, [CC_A] = 0xdbd0, [CC_NP] = 0xdbd8};
    unsigned cc = x64_cond(s, in->arg[1]);
    if (!fcmov[cc]) {
        unsigned t = x64_scratch(s);
        x64_setcc(&s->buf, cc, x64_r(t));
        x64_clobber(s);
        x64_test(&s->buf, W8, x64_r(t), t);
        cc = CC_NE;
    }
    emit_bytes(s, fcmov[cc] >> 8, (fcmov[cc] & 0xff) | (desc >> 8 & 7));
}

static void emit_word(struct x64_sel *s, ir_ref r, const struct ir_insn *in)
{
    if (in->imm == HELPER_x87_fnstsw) {
        x64_take(s, X_RAX);
        emit_bytes(s, 0xdf, 0xe0);
        x64_load(&s->buf, W16, X_RAX, x64_r(X_RAX));
        x64_def(s, r, X_RAX);
        return;
    }
    unsigned t = x64_scratch(s);
    x64_op(&s->buf, X64_OP(0, 0, 0xd9), false, false, false, 7, RM_CPU(slow_value));
    x64_load(&s->buf, W16, t, RM_CPU(slow_value));
    x64_def(s, r, t);
}

/* FLDCW, unless it unmasks an exception. */
static void emit_fldcw(struct x64_sel *s, const struct ir_insn *in)
{
    x64_clobber(s);
    unsigned v = x64_use(s, in->arg[1]), t = x64_scratch(s);
    struct x64_stub *stub = x64_stub(s);
    stub->thunk = s->thunks->alone;
    stub->site = x64_site(s);
    x64_mov(&s->buf, W32, t, v);
    x64_alu_imm(&s->buf, ALU_AND, W32, x64_r(t), FSW_EXC);
    x64_alu_imm(&s->buf, ALU_CMP, W32, x64_r(t), FSW_EXC);
    stub->from = x64_jcc_later(&s->buf, CC_NE);
    stub->back = s->buf.p;
    x64_store(&s->buf, W16, RM_CPU(slow_value), v);
    x64_op(&s->buf, X64_OP(0, 0, 0xd9), false, false, false, 5, RM_CPU(slow_value));
}

static void emit_control(struct x64_sel *s, const struct ir_insn *in, u64 desc)
{
    switch (desc & 0xff) {
    case X87_LDCW: emit_fldcw(s, in); return;
    case X87_INIT: /* clears the pointers too */
        x64_store_imm(&s->buf, W64, RM_CPU(x87.fip), 0);
        x64_store_imm(&s->buf, W64, RM_CPU(x87.fdp), 0);
        x64_store_imm(&s->buf, W32, RM_CPU(x87.fop), 0);
        x64_store_imm(&s->buf, W32, RM_CPU(x87.fcs), 0); /* and FDS */
        x64_x87_forget(s);
        s->x87_high = -1;
        break;
    case X87_CLEX: break;
    default: note_pointers(s, in, desc);
    }
    emit_bytes(s, 0xd8 | (desc >> (X87_FOP_SHIFT + 8) & 7), desc >> X87_FOP_SHIFT & 0xff);
}

/* FCOMI and its like: the host's flags become those of the fbits that takes the result. */
static void emit_flags(struct x64_sel *s, ir_ref r, u64 desc)
{
    x64_clobber(s);
    emit_bytes(s, 0xd8 | (desc >> (X87_FOP_SHIFT + 8) & 7), desc >> X87_FOP_SHIFT & 0xff);
    for (ir_ref f = r + 1; f < s->ir->count; f++) {
        if (x64_x87_is_flags(s, f) && x64_root(s, s->ir->insns[f].arg[0]) == r) {
            s->fl_ref = f;
            break;
        }
    }
}

bool x64_x87_emit(struct x64_sel *s, const struct ir_insn *in)
{
    ir_ref r = (ir_ref)(in - s->ir->insns);
    enum shape shape = shape_of(s, in);
    u64 desc = 0;
    if (shape == BY_HELPER)
        return false;
    if (shape == NOTHING) { /* no exception can be pending */
        if (in->imm == HELPER_mmx_check)
            place(s, AT_CPU);
        return true;
    }
    if (shape != WORD && !x64_is_const(s, in->arg[0], &desc))
        s->failed = "x87 instruction without a descriptor";
    place(s, AT_HOST);
    s->counters->x87_inline++;
    switch (shape) {
    case VALUE:
    case ADDRESS:
    case STORE: emit_memory(s, in, desc, shape); break;
    case WORD: emit_word(s, r, in); break;
    case CONTROL: emit_control(s, in, desc); break;
    default:
        note_pointers(s, in, desc);
        if (shape == CONDITION)
            emit_fcmov(s, in, desc);
        else if (shape == FLAGS)
            emit_flags(s, r, desc);
        else
            emit_bytes(s, 0xd8 | (desc >> (X87_FOP_SHIFT + 8) & 7), desc >> X87_FOP_SHIFT & 0xff);
    }
    return true;
}

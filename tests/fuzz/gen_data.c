/* Random input states: integers, floating-point values and memory near the edges that matter. */
#include "fuzz.h"
#include "segments.h"

u64 rnd_address(void)
{
    switch (below(24)) {
    case 0: return DATA_AT + 0x1000 - below(17);
    case 1: return DATA_AT + 0x2000 - below(17);
    case 2: return DATA_AT + DATA_RW - below(24);
    case 3: return one_in(4) ? DATA_AT + DATA_SIZE - below(24) : DATA_AT + DATA_RW + below(4096);
    case 4: return one_in(4) ? DATA_AT - below(24) : DATA_AT + 0x1400;
    case 5: return one_in(8) ? rnd() : DATA_AT + 0x1800;
    default: return DATA_AT + 0x600 + below(0x2000);
    }
}

static u32 rnd_single(void)
{
    static const u32 v[] = {0, 0x80000000, 0x3f800000, 0xbf800000, 1, 0x007fffff, 0x00800000,
                            0x80800001, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000,
                            0xffc12345, 0x7f800001, 0xffa00000, 0x4f000000, 0xcf000000, 0x4effffff,
                            0x3effffff, 0x3f000000, 0x40490fdb, 0x5f000000, 0xdf000000};
    if (one_in(2))
        return v[below(ARRAY_SIZE(v))];
    return one_in(2) ? (u32)rnd() : ((u32)rnd() & 0x807fffff) | (0x70 + below(32)) << 23;
}

static u64 rnd_double(void)
{
    static const u64 v[] = {0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 1,
                            0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
                            0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
                            0xfff8000012345678, 0x7ff0000000000001, 0xfff4000000000000,
                            0x41dfffffffc00000, 0xc1e0000000000000, 0x43e0000000000000,
                            0xc3e0000000000000, 0x3fe0000000000000, 0x400921fb54442d18,
                            0x36a0000000000000, 0x380fffffffffffff, 0x47efffffe0000000};
    if (one_in(2))
        return v[below(ARRAY_SIZE(v))];
    return one_in(2) ? rnd() : (rnd() & 0x800fffffffffffff) | (u64)(0x3e0 + below(64)) << 52;
}

static u64 rnd_lane(void)
{
    switch (below(8)) {
    case 0: return rnd_value();
    case 1: return rnd();
    case 2: return (rnd_value() & 0xffffffff) | rnd_value() << 32;
    case 3:
    case 4: return rnd_double();
    default: return rnd_single() | (u64)rnd_single() << 32;
    }
}

static void rnd_extended(u8 *p)
{
    u16 sign = (u16)(below(2) << 15), exp = (u16)(0x3fff - 40 + below(80));
    u64 mant = rnd() | 1ull << 63;
    switch (below(12)) {
    case 0: mant = exp = 0; break;
    case 1: mant = 1ull << 63; exp = 0x7fff; break;
    case 2: exp = 0x7fff; break;
    case 3: exp = 0; mant &= ~(1ull << 63); break;
    case 4: exp = 0; break;
    case 5: mant = one_in(4) ? rnd() : rnd() & ~(1ull << 63); break; /* often unsupported */
    case 6: mant = 1ull << 63; break;
    case 7: mant = (u64)below(1000) << 54 | 1ull << 63; break;
    case 8: exp = (u16)below(0x7fff); break;
    default: mant &= ~0ull << below(64); break;
    }
    store_le(p, mant, 8);
    store_le(p + 8, sign | exp, 2);
}

static void rnd_fpu(u8 *fx)
{
    u16 fcw = 0x37f, fsw = (u16)(below(8) << 11);
    u32 mxcsr = 0x1f80;
    memset(fx, 0, 32);
    if (one_in(3))
        fcw = (u16)(0x40 | (rnd() & 0xf00) | (one_in(4) ? rnd() & 0x3f : 0x3f));
    if (one_in(3))
        fsw |= (u16)(rnd() & 0x4700);
    if (one_in(6))
        fsw |= (u16)(rnd() & 0x7f);
    if (fsw & ~fcw & 0x3f)
        fsw = one_in(8) ? fsw | 0x8080 : (u16)(fsw & ~0x3f);
    fx[FX_FTW] = one_in(2) ? 0xff : (u8)(rnd() | (one_in(2) ? rnd() : 0));
    if (one_in(3))
        mxcsr = 0x1f80 | (rnd() & 0xe07f);
    if (one_in(12))
        mxcsr = (u32)rnd() & 0xffc0;
    store_le(fx + FX_FCW, fcw, 2);
    store_le(fx + FX_FSW, fsw, 2);
    store_le(fx + FX_MXCSR, mxcsr, 4);
    for (unsigned i = 0; i < 8; i++) {
        memset(fx + FX_ST + 16 * i, 0, 16);
        rnd_extended(fx + FX_ST + 16 * i);
    }
}

void rnd_state(struct state *s)
{
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = rnd_value();
    s->flags = (rnd() & FL_ARITH) | FL_FIXED | FL_IF;
    rnd_fpu(s->fx);
    for (unsigned i = 0; i < 32; i++)
        store_le(s->fx + FX_XMM + 8 * i, rnd_lane(), 8);
    memset(s->ymm, 0, sizeof s->ymm);
    for (unsigned i = 0; i < 32 && native_has(ISA_AVX); i++)
        store_le(s->ymm + 8 * i, rnd_lane(), 8);
    for (unsigned i = 0; i < DATA_SIZE; i += 8) {
        u64 v = one_in(16) ? 0x1f80 | (rnd() & 0xe03f) : one_in(4) ? s->gpr[below(16)] : rnd_lane();
        store_le(s->data + i, v, 8);
    }
    s->vector = 0;
    s->error = 0;
    s->cr2 = 0;
}

/* ---- segments ---- */

static const u16 near_data[] = {
    LDT_SEL(LDT_DATA16), LDT_SEL(LDT_DATA16), LDT_SEL(LDT_DATA32), LDT_SEL(LDT_DATA16_TIGHT),
    LDT_SEL(LDT_PAGES), LDT_SEL(LDT_DOWN16), LDT_SEL(LDT_DOWN32), LDT_SEL(LDT_READ_ONLY)};
static const u16 any_data[] = {
    SEL_FLAT, SEL_FLAT, LDT_SEL(LDT_WRAP), 0, LDT_SEL(LDT_CODE16), LDT_SEL(LDT_CODE32),
    SEL_CODE32, LDT_SEL(LDT_DATA16)};

bool gen_has_ldt;

static u16 rnd_data_sel(unsigned mode)
{
    if (one_in(16))
        return any_data[below(ARRAY_SIZE(any_data))];
    if (mode == MODE32 && one_in(2))
        return SEL_FLAT;
    return near_data[below(ARRAY_SIZE(near_data))];
}

static u16 rnd_stack_sel(unsigned mode)
{
    if (mode == MODE32 && one_in(2))
        return SEL_FLAT;
    for (;;) {
        u16 sel = near_data[below(ARRAY_SIZE(near_data))];
        if (sel != LDT_SEL(LDT_READ_ONLY))
            return sel;
    }
}

u16 rnd_selector(void)
{
    static const u16 code[] = {
        SEL_CODE32, SEL_CODE64, LDT_SEL(LDT_CODE16), LDT_SEL(LDT_CODE16_TIGHT),
        LDT_SEL(LDT_CODE32), LDT_SEL(LDT_CODE32_PAGES), LDT_SEL(LDT_CODE_ABSENT)};
    u16 sel;
    switch (below(12)) {
    case 0: return (u16)below(4);
    case 1: return LDT_SEL(LDT_ABSENT);
    case 2: return code[below(ARRAY_SIZE(code))];
    case 3: return (u16)(rnd_data_sel(MODE16) & (~3u | below(4)));
    case 4: return (u16)below(GDT_CPU * 8);
    case 5:
        do
            sel = (u16)rnd();
        while (sel >> 2 == GDT_CPU * 2); /* the host's own */
        return sel;
    case 6: return any_data[below(ARRAY_SIZE(any_data))];
    default: return gen_has_ldt ? rnd_data_sel(MODE16) : SEL_FLAT;
    }
}

static void rnd_segments64(struct state *s)
{
    static const u16 data[] = {0, 0, 0, SEL_FLAT, LDT_SEL(LDT_DATA16)};
    for (unsigned i = 0; i < 6; i++)
        s->sel[i] = gen_has_ldt ? data[below(ARRAY_SIZE(data))] : 0;
    s->sel[SEG_CS] = SEL_CODE64;
    s->sel[SEG_SS] = SEL_FLAT;
    s->fs_base = s->sel[SEG_FS] ? segments_base(s->sel[SEG_FS]) : DATA_AT + below(0x2000);
    s->gs_base = s->sel[SEG_GS] ? segments_base(s->sel[SEG_GS]) : GS_BASE;
    if (one_in(16) && !s->sel[SEG_FS])
        s->fs_base = (u64)(sign_extend(rnd(), 48));
}

static void rnd_segments32(struct state *s, unsigned mode, bool tame)
{
    static const u16 code[2][8] = {
        {LDT_SEL(LDT_CODE16), LDT_SEL(LDT_CODE16), LDT_SEL(LDT_CODE16), LDT_SEL(LDT_CODE16),
         LDT_SEL(LDT_CODE16_TIGHT), LDT_SEL(LDT_CODE16_TIGHT), LDT_SEL(LDT_CODE16),
         LDT_SEL(LDT_CODE16)},
        {SEL_CODE32, SEL_CODE32, SEL_CODE32, SEL_CODE32, SEL_CODE32, LDT_SEL(LDT_CODE32),
         LDT_SEL(LDT_CODE32), LDT_SEL(LDT_CODE32_PAGES)}};
    for (unsigned i = 0; i < 6; i++)
        s->sel[i] = gen_has_ldt ? rnd_data_sel(mode) : SEL_FLAT;
    s->sel[SEG_CS] = gen_has_ldt ? code[mode][below(8)] : SEL_CODE32;
    s->sel[SEG_SS] = gen_has_ldt ? rnd_stack_sel(mode) : SEL_FLAT;
    if (tame && gen_has_ldt) {
        u16 data = mode == MODE32 && !one_in(3) ? SEL_FLAT : near_data[below(3)];
        s->sel[SEG_DS] = s->sel[SEG_ES] = s->sel[SEG_SS] = data;
        s->sel[SEG_FS] = s->sel[SEG_GS] = LDT_SEL(LDT_DATA16);
    }
    s->fs_base = segments_base(s->sel[SEG_FS]);
    s->gs_base = segments_base(s->sel[SEG_GS]);
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] &= 0xffffffff;
}

void rnd_segments(struct state *s, unsigned mode, bool tame)
{
    if (mode == MODE64)
        rnd_segments64(s);
    else
        rnd_segments32(s, mode, tame);
    aim_register(s, RSP, SEG_SS, DATA_AT + 0x1000 + 8 * below(0x200));
}

void aim_register(struct state *s, unsigned reg, unsigned seg, u64 la)
{
    s->gpr[reg] = la - state_base(s, seg);
    if (state_mode(s) == 64)
        return;
    s->gpr[reg] &= 0xffffffff;
    /* What does not belong to a 16-bit offset must not matter. */
    bool small = reg == RSP ? !segments_big(s->sel[SEG_SS]) : state_mode(s) == 16;
    if (small && s->gpr[reg] < 0x10000 && one_in(3))
        s->gpr[reg] |= rnd() << 16 & 0xffff0000;
}

/* ---- what a state says ---- */

unsigned state_mode(const struct state *s)
{
    return segments_code_mode(s->sel[SEG_CS]);
}

u64 state_base(const struct state *s, unsigned seg)
{
    if (s->sel[seg] > 3 && (state_mode(s) != 64 || seg >= SEG_FS))
        return segments_base(s->sel[seg]);
    return seg == SEG_FS ? s->fs_base : seg == SEG_GS ? s->gs_base : 0;
}

u64 state_pc(const struct state *s)
{
    u64 pc = state_base(s, SEG_CS) + s->rip;
    return state_mode(s) == 64 ? pc : pc & 0xffffffff;
}

u64 state_address(const struct state *s, const struct insn *in)
{
    u64 base = in->base == REG_NONE  ? 0
               : in->base == REG_RIP ? s->rip + in->len
                                     : s->gpr[in->base];
    u64 index = in->index == REG_NONE ? 0 : s->gpr[in->index] * in->scale;
    u64 la = ((base + index + (u64)in->disp) & size_mask(in->addrsize)) + state_base(s, in->seg);
    return state_mode(s) == 64 ? la : la & 0xffffffff;
}

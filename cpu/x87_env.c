/* x87 control instructions and environment images (SDM vol. 1, 8.1.10, figures 8-9 to 8-12).
 *
 * Touches struct x87 and guest memory.
 */
#include "cpu/x87.h"

#include "cpu/cpu.h"
#include "cpu/helpers.h"

void x87_init(struct x87 *x)
{
    x->fcw = 0x37f;
    x->fsw = 0;
    x->ftw = 0;
    x->fop = 0;
    x->fip = x->fdp = 0;
    x->fcs = x->fds = 0;
}

/* 0 valid, 1 zero, 2 special. */
static unsigned tag_of(const struct fpreg *r)
{
    unsigned exponent = r->sexp & 0x7fff;
    if (exponent == 0)
        return r->mant == 0 ? 1 : 2;
    return exponent == 0x7fff || !(r->mant >> 63) ? 2 : 0;
}

u16 x87_full_tags(const struct x87 *x)
{
    u16 tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        unsigned tag = x->ftw >> i & 1 ? tag_of(&x->r[i]) : 3;
        tags |= (u16)(tag << (2 * i));
    }
    return tags;
}

u8 x87_abridge_tags(u16 tags)
{
    u8 v = 0;
    for (unsigned i = 0; i < 8; i++) {
        if ((tags >> (2 * i) & 3) != 3)
            v |= (u8)BIT(i);
    }
    return v;
}

u64 helper_fwait(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        cpu_raise(cpu, EXC_NM);
    x87_wait(cpu);
    return 0;
}

u64 helper_x87_control(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = &cpu->x87;
    unsigned op = a & 0xff, i = a >> 8 & 7;
    if (op != X87_INIT && op != X87_CLEX)
        x87_wait(cpu);
    if (op >= X87_INCSTP) { /* control instructions by name, but processors note them */
        x->fip = d;
        x->fop = a >> X87_FOP_SHIFT & 0x7ff;
        x->fcs = cpu->seg[SEG_CS].selector;
    }
    switch (op) {
    case X87_INIT:
        x87_init(x);
        cpu_x87_loaded(cpu);
        break;
    case X87_CLEX:
        x->fsw &= (u16)~(FSW_EXC | FSW_SF | FSW_ES | FSW_B);
        cpu_x87_loaded(cpu);
        break;
    case X87_LDCW:
        x->fcw = (u16)((b & 0x1f3f) | 0x40);
        x87_summary(x);
        cpu_x87_loaded(cpu);
        break;
    case X87_INCSTP:
    case X87_DECSTP:
        x87_set_top(x, x87_top(x) + (op == X87_INCSTP ? 1u : 7u));
        x->fsw &= (u16)~FSW_C1;
        break;
    case X87_FREE:
    case X87_FREEP:
        x->ftw &= (u8)~BIT(x87_phys(x, i));
        x->fsw &= (u16)~FSW_C1;
        if (op == X87_FREEP) {
            x->ftw &= (u8)~BIT(x87_top(x));
            x87_set_top(x, x87_top(x) + 1);
        }
        break;
    default: break;
    }
    if (c)
        cpu->rip = c;
    return 0;
}

u64 helper_x87_fnstcw(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return cpu->x87.fcw;
}

u64 helper_x87_fnstsw(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    return cpu->x87.fsw;
}

/* ---- environment images: 14 bytes (16-bit operand size) or 28 ---- */

/* Real and virtual-8086 mode have linear pointers and the opcode in the image. */
static bool real_format(const struct cpu *cpu)
{
    return !(cpu->cr0 & CR0_PE) || (cpu->hflags & HF_VM);
}

static void env_store_32(const struct cpu *cpu, u8 image[28])
{
    const struct x87 *x = &cpu->x87;
    store_le(image, 0xffff0000u | x->fcw, 4);
    store_le(image + 4, 0xffff0000u | x->fsw, 4);
    store_le(image + 8, 0xffff0000u | x87_full_tags(x), 4);
    if (real_format(cpu)) {
        u32 ip = (u32)x->fip + (u32)x->fcs * 16, dp = (u32)x->fdp + (u32)x->fds * 16;
        store_le(image + 12, 0xffff0000u | (ip & 0xffff), 4);
        store_le(image + 16, (u64)(ip >> 16 & 0xffff) << 12 | x->fop, 4);
        store_le(image + 20, 0xffff0000u | (dp & 0xffff), 4);
        store_le(image + 24, (u64)(dp >> 16 & 0xffff) << 12, 4);
    } else {
        store_le(image + 12, x->fip, 4);
        store_le(image + 16, (u64)x->fop << 16 | x->fcs, 4);
        store_le(image + 20, x->fdp, 4);
        store_le(image + 24, 0xffff0000u | x->fds, 4);
    }
}

static void env_store_16(const struct cpu *cpu, u8 image[14])
{
    const struct x87 *x = &cpu->x87;
    store_le(image, x->fcw, 2);
    store_le(image + 2, x->fsw, 2);
    store_le(image + 4, x87_full_tags(x), 2);
    if (real_format(cpu)) {
        u32 ip = (u32)x->fip + (u32)x->fcs * 16, dp = (u32)x->fdp + (u32)x->fds * 16;
        store_le(image + 6, ip, 2);
        store_le(image + 8, (ip >> 16 & 0xf) << 12 | x->fop, 2);
        store_le(image + 10, dp, 2);
        store_le(image + 12, (dp >> 16 & 0xf) << 12, 2);
    } else {
        store_le(image + 6, x->fip, 2);
        store_le(image + 8, x->fcs, 2);
        store_le(image + 10, x->fdp, 2);
        store_le(image + 12, x->fds, 2);
    }
}

static void env_load(struct cpu *cpu, const u8 *image, bool wide)
{
    struct x87 *x = &cpu->x87;
    unsigned n = wide ? 4 : 2; /* bytes of a field */
    x->fcw = (u16)((load_le(image, 2) & 0x1f3f) | 0x40);
    x->fsw = (u16)load_le(image + n, 2);
    x->ftw = x87_abridge_tags((u16)load_le(image + 2 * n, 2));
    u32 ip = (u32)load_le(image + 3 * n, n), ip_high = (u32)load_le(image + 4 * n, n);
    u32 dp = (u32)load_le(image + 5 * n, n), dp_high = (u32)load_le(image + 6 * n, n);
    if (real_format(cpu)) {
        x->fip = (ip & 0xffff) | (ip_high >> 12 & 0xffff) << 16;
        x->fdp = (dp & 0xffff) | (dp_high >> 12 & 0xffff) << 16;
        x->fop = ip_high & 0x7ff;
        x->fcs = x->fds = 0;
    } else {
        x->fip = ip;
        x->fdp = dp;
        x->fcs = (u16)ip_high;
        x->fds = (u16)dp_high;
        if (wide)
            x->fop = ip_high >> 16 & 0x7ff;
    }
    x87_summary(x);
}

u64 helper_x87_env(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    struct x87 *x = &cpu->x87;
    bool wide = c, whole = a == X87_SAVE || a == X87_RSTOR;
    unsigned env = wide ? 28 : 14, size = env + (whole ? 80 : 0);
    u8 image[108];
    if (a == X87_LDENV || a == X87_RSTOR) {
        x87_wait(cpu);
        cpu_check_alignment(cpu, b, wide ? 4 : 2);
        cpu_load_bytes(cpu, b, image, size);
        env_load(cpu, image, wide);
        for (unsigned i = 0; whole && i < 8; i++) {
            struct fpreg *r = &x->r[x87_phys(x, i)];
            r->mant = load_le(image + env + 10 * i, 8);
            r->sexp = (u16)load_le(image + env + 10 * i + 8, 2);
        }
        cpu_x87_loaded(cpu);
        if (d)
            cpu->rip = d;
        return 0;
    }
    if (wide)
        env_store_32(cpu, image);
    else
        env_store_16(cpu, image);
    for (unsigned i = 0; whole && i < 8; i++) {
        const struct fpreg *r = &x->r[x87_phys(x, i)];
        store_le(image + env + 10 * i, r->mant, 8);
        store_le(image + env + 10 * i + 8, r->sexp, 2);
    }
    cpu_check_alignment(cpu, b, wide ? 4 : 2);
    cpu_store_bytes(cpu, b, image, size);
    if (a == X87_SAVE) {
        x87_init(x);
    } else { /* FNSTENV masks everything (SDM vol. 2A) */
        x->fcw |= FSW_EXC;
        x87_summary(x);
    }
    cpu_x87_loaded(cpu);
    if (d)
        cpu->rip = d;
    return 0;
}

/* Decimal adjustment: DAA, DAS, AAA, AAS, AAM, AAD (SDM vol. 2; not in 64-bit mode).  Touches AX
 * and the arithmetic flags.  Flags that the manual leaves undefined come from the result or are 0.
 */
#include "cpu/cpu.h"
#include "cpu/decode.h"
#include "cpu/helpers.h"

static u64 szp(u8 v)
{
    return (v & 0x80 ? FL_SF : 0) | (v ? 0 : FL_ZF) | (__builtin_parity(v) ? 0 : FL_PF);
}

/* DAA and DAS: the two nibbles of AL. */
static u64 adjust_packed(u8 *al, u64 flags, bool subtract)
{
    u8 old = *al;
    u64 f = 0;
    if ((old & 15) > 9 || (flags & FL_AF)) {
        if (subtract && old < 6)
            f |= FL_CF;
        *al = subtract ? *al - 6 : *al + 6;
        f |= FL_AF;
    }
    if (old > 0x99 || (flags & FL_CF)) {
        *al = subtract ? *al - 0x60 : *al + 0x60;
        f |= FL_CF;
    }
    return f | szp(*al);
}

/* AAA and AAS: one digit in AL, the carry into AH. */
static u64 adjust_digit(u16 *ax, u64 flags, bool subtract)
{
    u64 f = 0;
    if ((*ax & 15) > 9 || (flags & FL_AF)) {
        *ax = subtract ? *ax - 0x106 : *ax + 0x106;
        f = FL_AF | FL_CF;
    }
    *ax &= 0xff0f;
    return f | szp((u8)*ax);
}

u64 helper_bcd(struct cpu *cpu, u64 a, u64 b, u64 c, u64 d)
{
    u16 ax = (u16)cpu->gpr[RAX];
    u8 al = (u8)ax, base = (u8)b;
    u64 f;
    switch (a) {
    case OP_daa:
    case OP_das:
        f = adjust_packed(&al, cpu->eflags, a == OP_das);
        ax = (ax & 0xff00) | al;
        break;
    case OP_aaa:
    case OP_aas:
        f = adjust_digit(&ax, cpu->eflags, a == OP_aas);
        break;
    case OP_aam:
        if (!base)
            cpu_raise(cpu, EXC_DE);
        ax = (u16)((al / base) << 8 | al % base);
        f = szp((u8)ax);
        break;
    default: /* AAD */
        ax = (u8)(al + (ax >> 8) * base);
        f = szp((u8)ax);
        break;
    }
    cpu->gpr[RAX] = (cpu->gpr[RAX] & ~0xffffull) | ax;
    cpu->eflags = (cpu->eflags & ~(u64)FL_ARITH) | f;
    return 0;
}

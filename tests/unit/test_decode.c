/* The decoder by hand from the SDM: operands, what is invalid, lengths, prefixes, the rows' flags.
 * Validity and mnemonics of all opcodes are held against Capstone in test_decode_capstone.c. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/decode.h"
#include "cpu/state.h"
#include "tests/suite.h"

/* ---- operands ---- */

static void describe_operand(const struct insn *in, unsigned i, char *out, size_t size)
{
    static const char *const classes[] = {"r", "h", "s", "cr", "dr", "st", "mm", "x", "y"};
    static const char *const segs[] = {"es", "cs", "ss", "ds", "fs", "gs"};
    const struct operand *o = &in->opnd[i];
    char text[100] = "?", base[16] = "", index[16] = "";
    bool second_imm = i && in->opnd[i - 1].kind == OPND_IMM;
    switch (o->kind) {
    case OPND_REG: snprintf(text, sizeof(text), "%s%u", classes[o->cls], o->reg); break;
    case OPND_IMM:
        snprintf(text, sizeof(text), "#%llx",
                 (unsigned long long)(second_imm ? in->imm2 : in->imm));
        break;
    case OPND_REL: snprintf(text, sizeof(text), "@%lld", (long long)in->rel); break;
    case OPND_FAR:
        snprintf(text, sizeof(text), "%llx:%llx", (unsigned long long)in->imm2,
                 (unsigned long long)in->imm);
        break;
    case OPND_MEM:
        if (in->base == REG_RIP)
            snprintf(base, sizeof(base), "rip");
        else if (in->base != REG_NONE)
            snprintf(base, sizeof(base), "r%u", in->base);
        if (in->index != REG_NONE)
            snprintf(index, sizeof(index), "+r%u*%u", in->index, in->scale);
        snprintf(text, sizeof(text), "[%s:%s%s%+lld]", segs[in->seg], base, index,
                 (long long)in->disp);
        break;
    default: break;
    }
    snprintf(out, size, o->implicit ? " (%s/%u)" : " %s/%u", text, o->size);
}

/* "mov 4 r0/4 [ds:r1-8]/4": name, operand size, operands with their sizes. */
static void describe(const struct insn *in, char *out, size_t size)
{
    char buf[32];
    snprintf(out, size, "%s %u", insn_name(in, buf), in->opsize);
    for (unsigned i = 0; i < in->operands; i++)
        describe_operand(in, i, out + strlen(out), size - strlen(out));
}

static unsigned parse_hex(const char *hex, u8 *bytes)
{
    unsigned n = 0;
    char *end;
    for (;; hex = end) {
        unsigned long v = strtoul(hex, &end, 16);
        if (end == hex)
            return n;
        bytes[n++] = v;
    }
}

static const struct operand_case {
    unsigned mode;
    const char *bytes, *expect;
} operand_cases[] = {
    /* ModRM and SIB in 32- and 64-bit form, SDM vol. 2A tables 2-2 and 2-3 */
    {32, "8b 41 f8", "mov 4 r0/4 [ds:r1-8]/4"},
    {32, "8b 45 08", "mov 4 r0/4 [ss:r5+8]/4"},
    {32, "8b 04 24", "mov 4 r0/4 [ss:r4+0]/4"},
    {32, "8b 04 8d 10 00 00 80", "mov 4 r0/4 [ds:+r1*4-2147483632]/4"},
    {32, "8b 44 8d 10", "mov 4 r0/4 [ss:r5+r1*4+16]/4"},
    {32, "8b 04 ac", "mov 4 r0/4 [ss:r4+r5*4+0]/4"},
    {32, "8b 04 28", "mov 4 r0/4 [ds:r0+r5*1+0]/4"},
    {32, "8b 05 78 56 34 12", "mov 4 r0/4 [ds:+305419896]/4"},
    {32, "64 8b 45 00", "mov 4 r0/4 [fs:r5+0]/4"},
    {32, "3e 8b 45 00", "mov 4 r0/4 [ds:r5+0]/4"},
    {32, "67 8b 02", "mov 4 r0/4 [ss:r5+r6*1+0]/4"},
    {32, "66 8b 00", "mov 2 r0/2 [ds:r0+0]/2"},
    {64, "8b 05 f0 ff ff ff", "mov 4 r0/4 [ds:rip-16]/4"},
    {64, "67 8b 05 f0 ff ff ff", "mov 4 r0/4 [ds:rip-16]/4"},
    {64, "8b 04 25 f0 ff ff ff", "mov 4 r0/4 [ds:-16]/4"},
    {64, "4e 8b 44 e5 08", "mov 8 r8/8 [ss:r5+r12*8+8]/8"},
    {64, "49 8b 45 00", "mov 8 r0/8 [ds:r13+0]/8"},
    {64, "49 8b 04 24", "mov 8 r0/8 [ds:r12+0]/8"},
    {64, "42 8b 04 20", "mov 4 r0/4 [ds:r0+r12*1+0]/4"},
    {64, "8b 04 20", "mov 4 r0/4 [ds:r0+0]/4"},
    {64, "26 8b 00", "mov 4 r0/4 [ds:r0+0]/4"},
    {64, "65 8b 04 25 28 00 00 00", "mov 4 r0/4 [gs:+40]/4"},
    {64, "64 2e 8b 00", "mov 4 r0/4 [fs:r0+0]/4"},
    /* 16-bit form, table 2-1 */
    {16, "8b 00", "mov 2 r0/2 [ds:r3+r6*1+0]/2"},
    {16, "8b 43 fe", "mov 2 r0/2 [ss:r5+r7*1-2]/2"},
    {16, "8b 46 00", "mov 2 r0/2 [ss:r5+0]/2"},
    {16, "8b 06 34 12", "mov 2 r0/2 [ds:+4660]/2"},
    {16, "8b 87 34 12", "mov 2 r0/2 [ds:r3+4660]/2"},
    {16, "26 8b 04", "mov 2 r0/2 [es:r6+0]/2"},
    {16, "66 67 8b 04 24", "mov 4 r0/4 [ss:r4+0]/4"},
    /* byte registers and REX */
    {64, "88 e0", "mov 4 r0/1 h0/1"},
    {64, "40 88 e0", "mov 4 r0/1 r4/1"},
    {64, "44 88 e0", "mov 4 r0/1 r12/1"},
    {64, "40 66 88 e0", "mov 2 r0/1 h0/1"},
    {64, "48 66 89 c0", "mov 2 r0/2 r0/2"},
    {64, "66 48 89 c0", "mov 8 r0/8 r0/8"},
    {32, "b7 80", "mov 4 h3/1 #80/1"},
    {64, "41 b7 80", "mov 4 r15/1 #80/1"},
    /* immediates */
    {32, "83 c0 ff", "add 4 r0/4 #ffffffffffffffff/4"},
    {32, "05 00 00 00 80", "add 4 r0/4 #80000000/4"},
    {64, "48 05 00 00 00 80", "add 8 r0/8 #ffffffff80000000/8"},
    {64, "48 c7 c0 ff ff ff ff", "mov 8 r0/8 #ffffffffffffffff/8"},
    {64, "48 b8 01 02 03 04 05 06 07 08", "movabs 8 r0/8 #807060504030201/8"},
    {64, "66 b8 01 02", "mov 2 r0/2 #201/2"},
    {64, "6a ff", "push 8 #ffffffffffffffff/8"},
    {64, "66 6a ff", "push 2 #ffffffffffffffff/2"},
    {64, "68 00 00 00 80", "push 8 #ffffffff80000000/8"},
    {32, "66 68 34 12", "push 2 #1234/2"},
    {32, "c8 34 12 07", "enter 4 #1234/2 #7/1"},
    {32, "69 c1 00 00 00 80", "imul 4 r0/4 r1/4 #80000000/4"},
    {32, "6b c1 80", "imul 4 r0/4 r1/4 #ffffffffffffff80/4"},
    {32, "c1 e0 ff", "shl 4 r0/4 #ff/1"},
    {32, "d1 e0", "shl 4 r0/4 (#1/1)"},
    {32, "d3 e0", "shl 4 r0/4 (r1/1)"},
    {32, "d2 20", "shl 4 [ds:r0+0]/1 (r1/1)"},
    {32, "0f a5 d0", "shld 4 r0/4 r2/4 (r1/1)"},
    {32, "cd 80", "int 4 #80/1"},
    /* moffs and far pointers */
    {16, "a0 34 92", "mov 2 r0/1 [ds:+37428]/1"},
    {32, "64 a3 00 00 00 80", "mov 4 [fs:+2147483648]/4 r0/4"},
    {64, "48 a1 01 02 03 04 05 06 07 08", "movabs 8 r0/8 [ds:+578437695752307201]/8"},
    {64, "67 a1 01 02 03 84", "movabs 4 r0/4 [ds:+2214789633]/4"},
    {16, "9a 34 12 00 f0", "lcall 2 f000:1234/4"},
    {32, "ea 78 56 34 12 08 00", "ljmp 4 8:12345678/6"},
    {16, "ff 1e 00 10", "lcall 2 [ds:+4096]/4"},
    {64, "48 ff 28", "ljmp 8 [ds:r0+0]/10"},
    {32, "c4 00", "les 4 r0/4 [ds:r0+0]/6"},
    {64, "48 0f b2 00", "lss 8 r0/8 [ds:r0+0]/10"},
    /* branches: F64, and 66 without effect in 64-bit mode */
    {64, "e8 fc ff ff ff", "call 8 @-4/8"},
    {64, "66 e8 fc ff ff ff", "call 8 @-4/8"},
    {32, "66 e8 fc ff", "call 2 @-4/2"},
    {64, "eb fe", "jmp 8 @-2/8"},
    {64, "0f 8f 00 01 00 00", "jg 8 @256/8"},
    {64, "ff d0", "call 8 r0/8"},
    {64, "66 ff e0", "jmp 8 r0/8"},
    {64, "c2 08 00", "ret 8 #8/2"},
    {64, "67 e3 00", "jecxz 8 @0/8"},
    /* stack: D64 */
    {64, "50", "push 8 r0/8"},
    {64, "66 41 50", "push 2 r8/2"},
    {64, "8f 00", "pop 8 [ds:r0+0]/8"},
    {64, "ff 34 24", "push 8 [ss:r4+0]/8"},
    {32, "06", "push 4 s0/2"},
    {64, "0f a1", "pop 8 s4/2"},
    {64, "9c", "pushfq 8"},
    {64, "66 9d", "popf 2"},
    {64, "c9", "leave 8"},
    {64, "cf", "iretd 4"},
    {64, "48 cf", "iretq 8"},
    /* port and string instructions */
    {64, "48 ed", "in 8 r0/4 r2/2"},
    {32, "66 e7 80", "out 2 #80/1 r0/2"},
    {64, "f3 48 a5", "movsq 8"},
    {32, "a4", "movsb 4"},
    {64, "48 6d", "insd 8"},
    /* system */
    {64, "0f 22 d8", "mov 8 cr3/8 r0/8"},
    {32, "0f 20 00", "mov 4 r0/4 cr0/4"},
    {64, "44 0f 20 c0", "mov 8 r0/8 cr8/8"},
    {64, "0f 23 f8", "mov 8 dr7/8 r0/8"},
    {64, "0f 01 10", "lgdt 4 [ds:r0+0]/10"},
    {16, "0f 01 16 00 10", "lgdt 2 [ds:+4096]/6"},
    {64, "8e d8", "mov 4 s3/2 r0/2"},
    {64, "45 8c c0", "mov 4 r8/4 s0/2"},
    {64, "48 8c 00", "mov 8 [ds:r0+0]/2 s0/2"},
    {64, "0f 01 38", "invlpg 4 [ds:r0+0]/0"},
    {64, "66 0f 38 82 00", "invpcid 2 r0/8 [ds:r0+0]/16"},
    {64, "0f ae 00", "fxsave 4 [ds:r0+0]/512"},
    {64, "48 0f c7 09", "cmpxchg16b 8 [ds:r1+0]/16"},
    {64, "0f c7 09", "cmpxchg8b 4 [ds:r1+0]/8"},
    {64, "f3 48 0f ae d0", "wrfsbase 8 r0/8"},
    {64, "48 8d 04 24", "lea 8 r0/8 [ss:r4+0]/0"},
    {64, "0f 1f 44 00 00", "nop 4 [ds:r0+r0*1+0]/0"},
    {64, "63 c8", "movsxd 4 r1/4 r0/4"},
    {64, "48 63 c8", "movsxd 8 r1/8 r0/4"},
    {32, "63 c8", "arpl 4 r0/2 r1/2"},
    {64, "f2 66 0f 38 f1 00", "crc32 2 r0/4 [ds:r0+0]/2"},
    {64, "f2 48 0f 38 f0 c4", "crc32 8 r0/8 r4/1"},
    {64, "48 0f b6 c4", "movzx 8 r0/8 r4/1"},
    {64, "90", "nop 4"},
    {64, "49 90", "xchg 8 r8/8 r0/8"},
    {64, "f3 41 90", "xchg 4 r8/4 r0/4"},
    /* x87 */
    {32, "d8 00", "fadd 4 [ds:r0+0]/4"},
    {32, "dc 00", "fadd 4 [ds:r0+0]/8"},
    {32, "de 00", "fiadd 4 [ds:r0+0]/2"},
    {32, "db 28", "fld 4 [ds:r0+0]/10"},
    {32, "dc e1", "fsubr 4 st1/10 st0/10"},
    {32, "d8 e1", "fsub 4 st0/10 st1/10"},
    {32, "df e0", "fnstsw 4 r0/2"},
    {16, "d9 37", "fnstenv 2 [ds:r3+0]/14"},
    {32, "dd 30", "fnsave 4 [ds:r0+0]/108"},
    {32, "df 20", "fbld 4 [ds:r0+0]/10"},
    /* MMX and SSE */
    {64, "45 0f fc c1", "paddb 4 mm0/8 mm1/8"},
    {64, "66 45 0f fc c1", "paddb 2 x8/16 x9/16"},
    {64, "0f 60 00", "punpcklbw 4 mm0/8 [ds:r0+0]/4"},
    {64, "66 0f 60 00", "punpcklbw 2 x0/16 [ds:r0+0]/16"},
    {64, "f3 0f 10 00", "movss 4 x0/4 [ds:r0+0]/4"},
    {64, "f2 0f 11 00", "movsd 4 [ds:r0+0]/8 x0/8"},
    {64, "0f 5a 00", "cvtps2pd 4 x0/16 [ds:r0+0]/8"},
    {64, "0f 12 c1", "movhlps 4 x0/8 x1/8"},
    {64, "0f 16 01", "movhps 4 x0/8 [ds:r1+0]/8"},
    {64, "f2 48 0f 2a c1", "cvtsi2sd 8 x0/8 r1/8"},
    {64, "f3 0f 2c 00", "cvttss2si 4 r0/4 [ds:r0+0]/4"},
    {64, "66 0f 6e 00", "movd 2 x0/16 [ds:r0+0]/4"},
    {64, "66 48 0f 7e c1", "movq 8 r1/8 x0/8"},
    {64, "66 0f d6 00", "movq 2 [ds:r0+0]/8 x0/8"},
    {64, "f3 0f d6 c1", "movq2dq 4 x0/16 mm1/8"},
    {64, "66 0f 71 d1 05", "psrlw 2 x1/16 #5/1"},
    {64, "66 0f 38 14 c1", "blendvps 2 x0/16 x1/16 (x0/16)"},
    {64, "66 0f 38 22 00", "pmovsxbq 2 x0/16 [ds:r0+0]/2"},
    {64, "66 0f 3a 14 00 01", "pextrb 2 [ds:r0+0]/1 x0/16 #1/1"},
    {64, "66 0f 3a 14 c0 01", "pextrb 2 r0/4 x0/16 #1/1"},
    {64, "66 0f 3a 21 00 01", "insertps 2 x0/16 [ds:r0+0]/4 #1/1"},
    {64, "66 48 0f 3a 22 00 01", "pinsrq 8 x0/16 [ds:r0+0]/8 #1/1"},
    {64, "0f c4 00 01", "pinsrw 4 mm0/8 [ds:r0+0]/2 #1/1"},
    {64, "f2 0f c2 c1 01", "cmpltsd 4 x0/8 x1/8 #1/1"},
    {64, "66 0f c2 c1 09", "cmppd 2 x0/16 x1/16 #9/1"},
    /* VEX: three operands, L, is4, GPR sizes by W, registers above 7 in 64-bit mode only */
    {64, "c5 f0 58 c2", "vaddps 4 x0/16 x1/16 x2/16"},
    {64, "c5 f4 58 00", "vaddps 4 y0/32 y1/32 [ds:r0+0]/32"},
    {64, "c4 41 34 58 c2", "vaddps 4 y8/32 y9/32 y10/32"},
    {32, "c4 c1 34 58 c2", "vaddps 4 y0/32 y1/32 y2/32"},
    {64, "c5 f2 58 00", "vaddss 4 x0/4 x1/16 [ds:r0+0]/4"},
    {16, "c5 30", "lds 2 r6/2 [ds:r3+r6*1+0]/4"},
    {16, "c5 f0 58 c2", "vaddps 4 x0/16 x1/16 x2/16"},
    {64, "c4 e3 71 4a c2 f0", "vblendvps 4 x0/16 x1/16 x2/16 x15/16"},
    {32, "c4 e3 71 4a c2 f0", "vblendvps 4 x0/16 x1/16 x2/16 x7/16"},
    {64, "c4 e2 69 90 04 88", "vpgatherdd 4 x0/16 [ds:r0+r1*4+0]/4 x2/16"},
    {64, "c4 a2 ed 90 04 61", "vpgatherdq 8 y0/32 [ds:r1+r12*2+0]/8 y2/32"},
    {64, "c5 fc 77", "vzeroall 4"},
    /* F3 and F2 over 66; the last of them counts */
    {64, "66 f3 0f 10 c1", "movss 2 x0/4 x1/4"},
    {64, "f2 f3 0f 10 c1", "movss 4 x0/4 x1/4"},
};

START_TEST(operands)
{
    for (unsigned i = 0; i < ARRAY_SIZE(operand_cases); i++) {
        const struct operand_case *c = &operand_cases[i];
        u8 bytes[16] = {0};
        char text[256];
        struct insn in;
        unsigned n = parse_hex(c->bytes, bytes);
        ck_assert_msg(decode(&in, bytes, n, c->mode) == DECODE_OK, "%s", c->bytes);
        describe(&in, text, sizeof(text));
        ck_assert_msg(!strcmp(text, c->expect), "%s: %s, not %s", c->bytes, text, c->expect);
        ck_assert_uint_eq(in.len, n);
    }
}
END_TEST

static enum decode_status status_of(unsigned mode, const char *hex)
{
    u8 bytes[16] = {0};
    struct insn in;
    return decode(&in, bytes, parse_hex(hex, bytes), mode);
}

START_TEST(invalid)
{
    static const struct {
        unsigned mode;
        const char *bytes;
    } ud[] = {
        {64, "06"}, {64, "27"}, {64, "60"}, {64, "82 c0 01"}, {64, "9a 00 00 00 00 00 00"},
        {32, "62 c0"}, {64, "ce"}, {64, "d4 0a"},
        {64, "d6"}, {32, "f3 0f ae c0"}, {32, "0f 01 f8"}, {32, "8e c8"}, {32, "8e f0"},
        {32, "8d c0"}, {32, "0f 20 c8"}, {32, "0f c7 c8"}, {32, "ff f8"}, {32, "fe d0"},
        /* LOCK: register destination, memory source, not lockable */
        {32, "f0 01 c0"}, {32, "f0 03 00"}, {32, "f0 39 00"}, {32, "f0 0f a3 00"}, {32, "f0 90"},
        {32, "f0 8b 00"}, {32, "f0 83 38 01"}, {32, "f0 0f 20 c0"},
        /* VEX: maps 0 and 4, another prefix before, vvvv not 1111 where unused, VEX.L, VEX.W */
        {64, "c4 e0 79 10 c0"}, {64, "c4 e4 79 10 c0"}, {64, "66 c5 f8 10 c0"},
        {64, "f3 c5 f8 10 c0"}, {64, "f2 c5 f8 10 c0"}, {64, "f0 c5 f8 10 00"},
        {64, "48 c5 f8 10 c0"}, {64, "c5 f0 10 c0"}, {32, "c5 f0 10 c0"},
        {64, "c4 e3 71 06 c2 00"}, {64, "c4 e3 f5 06 c2 00"},
        /* gathers: no SIB, a register, the same register twice, a 16-bit address */
        {64, "c4 e2 69 90 01"}, {64, "c4 e2 69 90 c1"}, {64, "c4 e2 69 90 04 10"},
        {64, "c4 e2 69 90 04 00"}, {64, "c4 e2 69 90 14 08"}, {32, "67 c4 e2 69 90 04 0b"},
    };
    static const char *const locked[] = {
        "f0 01 00", "f0 83 00 01", "f0 0f b1 08", "f0 87 00", "f0 ff 00", "f0 f7 18", "f0 0f c7 08",
        "f0 0f ba 28 01", "f0 0f c1 00",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(ud); i++)
        ck_assert_msg(status_of(ud[i].mode, ud[i].bytes) == DECODE_UD, "%s", ud[i].bytes);
    for (unsigned i = 0; i < ARRAY_SIZE(locked); i++)
        ck_assert_msg(status_of(32, locked[i]) == DECODE_OK, "%s", locked[i]);
}
END_TEST

START_TEST(length_limit)
{
    u8 bytes[32];
    struct insn in;
    memset(bytes, 0x66, sizeof(bytes));
    ck_assert_int_eq(decode(&in, bytes, 14, 32), DECODE_TRUNCATED);
    ck_assert_int_eq(decode(&in, bytes, 15, 32), DECODE_TOO_LONG);
    ck_assert_int_eq(decode(&in, bytes, 32, 32), DECODE_TOO_LONG);
    bytes[14] = 0x90;
    ck_assert_int_eq(decode(&in, bytes, 15, 32), DECODE_OK);
    ck_assert_uint_eq(in.len, 15);
    ck_assert_int_eq(decode(&in, bytes, 0, 32), DECODE_TRUNCATED);
    /* The sixteenth byte would be the immediate. */
    bytes[12] = 0x0f;
    bytes[13] = 0xba;
    bytes[14] = 0xe0;
    ck_assert_int_eq(decode(&in, bytes, 32, 32), DECODE_TOO_LONG);
    ck_assert_uint_eq(in.len, 15);
}
END_TEST

START_TEST(prefix_fields)
{
    static const u8 rep_movs[] = {0x64, 0xf3, 0x67, 0xa4};
    struct insn in;
    ck_assert_int_eq(decode(&in, rep_movs, sizeof(rep_movs), 64), DECODE_OK);
    ck_assert_uint_eq(in.rep, REP_REPE);
    ck_assert_uint_eq(in.seg, SEG_FS);
    ck_assert(in.seg_override && !in.lock && in.row->props & ROW_REP);
    ck_assert_uint_eq(in.addrsize, 4);
    static const u8 setg[] = {0x0f, 0x9f, 0xc0};
    ck_assert_int_eq(decode(&in, setg, sizeof(setg), 64), DECODE_OK);
    ck_assert_uint_eq(in.cc, 15);
    ck_assert_uint_eq(in.op, OP_setcc);
    ck_assert_uint_eq(in.row->flags_read, FL_ZF | FL_SF | FL_OF);
    ck_assert_uint_eq(in.map, 1);
}
END_TEST

START_TEST(row_list)
{
    const struct opcode_row *const *rows;
    unsigned n = decode_rows(&rows);
    ck_assert_uint_gt(n, 1000);
    for (unsigned i = 0; i < n; i++) {
        const struct opcode_row *r = rows[i];
        ck_assert_uint_eq(r->id, i);
        ck_assert_uint_lt(r->isa, ISA_COUNT);
        ck_assert(r->op > OP_INVALID && r->op < OP_COUNT);
        ck_assert_msg(!(r->flags_undefined & ~r->flags_written), "%s", r->text);
    }
}
END_TEST

/* The flags that SDM vol. 2 calls undefined under "Flags Affected", instruction by instruction: what
 * comparisons with the processor do not look at.  All others have none. */
START_TEST(undefined_flags)
{
    enum { C = FL_CF, P = FL_PF, A = FL_AF, Z = FL_ZF, S = FL_SF, O = FL_OF };
    static const struct { u16 op, flags; } manual[] = {
        {OP_aaa, O | S | Z | P}, {OP_aas, O | S | Z | P}, {OP_aad, O | A | C}, {OP_aam, O | A | C},
        {OP_daa, O}, {OP_das, O},
        {OP_and, A}, {OP_or, A}, {OP_xor, A}, {OP_test, A},
        {OP_mul, S | Z | A | P}, {OP_imul, S | Z | A | P},
        {OP_div, C | O | S | Z | A | P}, {OP_idiv, C | O | S | Z | A | P},
        {OP_bsf, C | O | S | A | P}, {OP_bsr, C | O | S | A | P},
        {OP_bt, O | S | A | P}, {OP_btc, O | S | A | P}, {OP_btr, O | S | A | P},
        {OP_bts, O | S | A | P},
        {OP_lzcnt, O | S | P | A}, {OP_tzcnt, O | S | P | A},
        {OP_andn, A | P}, {OP_bextr, A | S | P}, {OP_bzhi, A | P}, {OP_blsi, A | P},
        {OP_blsmsk, A | P}, {OP_blsr, A | P},
        /* By a count that is not 1; shifts by one of 1 leave AF open, rotates nothing. */
        {OP_rol, O}, {OP_ror, O}, {OP_rcl, O}, {OP_rcr, O},
        {OP_shl, O | A}, {OP_shr, O | A}, {OP_sar, O | A}, {OP_shld, O | A}, {OP_shrd, O | A},
    };
    const struct opcode_row *const *rows;
    unsigned n = decode_rows(&rows);
    for (unsigned i = 0; i < n; i++) {
        const struct opcode_row *r = rows[i];
        u16 want = 0;
        for (unsigned k = 0; k < ARRAY_SIZE(manual); k++)
            if (manual[k].op == r->op)
                want = manual[k].flags;
        bool by_one = strstr(r->text, ", One") != NULL;
        ck_assert_msg(r->flags_undefined == (by_one ? want & ~O : want), "%s: %x", r->text,
                      r->flags_undefined);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("decode");
    TCase *tc = tcase_create("by hand");
    tcase_add_test(tc, operands);
    tcase_add_test(tc, invalid);
    tcase_add_test(tc, length_limit);
    tcase_add_test(tc, prefix_fields);
    tcase_add_test(tc, row_list);
    tcase_add_test(tc, undefined_flags);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}

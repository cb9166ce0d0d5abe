/* x86-64 host encoder: the only place that writes instruction bytes.
 *
 * Knows nothing of the IR or the guest.  Widths are log2 bytes (W8..W64 of ir.h).  The buffer is
 * the writable view; addresses that code needs are those of the executable view, exec_delta bytes
 * away.  Source: AMD64 APM vol. 3 chapter 1, SDM vol. 2 chapter 2.
 */
#ifndef DRAGOMAN_TRANSLATOR_X64_EMIT_H
#define DRAGOMAN_TRANSLATOR_X64_EMIT_H

#include "base/types.h"

enum x64_reg {
    X_RAX, X_RCX, X_RDX, X_RBX, X_RSP, X_RBP, X_RSI, X_RDI,
    X_R8, X_R9, X_R10, X_R11, X_R12, X_R13, X_R14, X_R15,
    X_NONE = 0xff,
};

/* Conditions as in Jcc's low opcode nibble. */
enum x64_cc {
    CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE,
    CC_LE, CC_G
};

/* ModRM's r/m side: a register, or memory at base + index * scale + disp. */
struct x64_rm {
    u8 is_reg;
    u8 reg;   /* the register, when is_reg */
    u8 base;  /* X_NONE: none */
    u8 index; /* X_NONE: none; never X_RSP */
    u8 scale; /* 1, 2, 4, 8 */
    s32 disp;
};

static inline struct x64_rm x64_r(unsigned reg)
{
    return (struct x64_rm){.is_reg = 1, .reg = (u8)reg};
}
static inline struct x64_rm x64_m(unsigned base, s32 disp)
{
    return (struct x64_rm){.base = (u8)base, .index = X_NONE, .scale = 1, .disp = disp};
}
static inline struct x64_rm x64_mx(unsigned base, unsigned index, unsigned scale, s32 disp)
{
    return (struct x64_rm){
        .base = (u8)base, .index = (u8)index, .scale = (u8)scale, .disp = disp};
}

/* What depends on where code lies: a field of an instruction, told by x64_reloc when its bytes have
 * just been emitted.  A field's width is part of its kind: code moves only to where a value still
 * fits the encoding that was chosen for it. */
enum x64_reloc_kind {
    XR_AWAY,   /* rel32 to code outside of the buffer */
    XR_HOST,   /* 64-bit address in the emulator itself */
    XR_PC64,   /* guest address that moves with the block: MOV's 64 bits */
    XR_PC32,   /* ...32 bits, sign-extended; XR_MOV32 those of MOV to a 64-bit register */
    XR_MOV32,
    XR_ZX32,   /* ...32 bits, zero-extended */
    XR_TAG64,  /* jump tag of such an address, XR_TAG32 sign-extended */
    XR_TAG32,
    XR_INDEX,  /* ...its page's place in a TLB of any size */
    XR_JUMP,   /* displacement of a jump-cache entry: of exit `arg` */
    XR_EXIT,   /* number of an exit */
};
struct x64_reloc {
    u16 at;  /* from the block's entry to the field */
    u8 kind;
    u8 arg;
};
#define X64_RELOCS 1024u
#define X64_AHEAD 64 /* code that belongs to it may begin so many bytes before the entry */
struct x64_relocs {
    struct x64_reloc list[X64_RELOCS];
    unsigned count;
    bool failed; /* the code cannot be moved: there were too many, or too short an encoding */
};

struct x64_buf {
    u8 *p;   /* where the next byte goes; beyond end, bytes are counted but not written */
    u8 *end;
    s64 exec_delta; /* executable address - writable address */
    struct x64_relocs *relocs; /* NULL: nobody asks */
    u8 *begin;      /* with relocs: the code's entry */
};

/* Opcode with its mandatory prefix (0, 0x66, 0xf3, 0xf2) and map (0 one-byte, 1 0F, 2 0F38,
 * 3 0F3A).  With X64_VEX256, VEX forms have 256 bits. */
#define X64_OP(pfx, map, op) ((u32)(pfx) << 16 | (u32)(map) << 8 | (u32)(op))
#define X64_VEX256 (1u << 24)
#define X64_LAHF 0x9f /* the whole instruction */

/* Extensions of the ALU group 80-83, of the shift group C1/D3 and of the group F7. */
enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };
enum { SH_ROL, SH_ROR, SH_RCL, SH_RCR, SH_SHL, SH_SHR, SH_SAR = 7 };
enum { F7_NOT = 2, F7_NEG, F7_MUL, F7_IMUL, F7_DIV, F7_IDIV };

/* Whether more was emitted than fits: the block must be thrown away. */
bool x64_full(const struct x64_buf *b);
static inline void x64_byte(struct x64_buf *b, u8 v)
{
    if (likely(b->p < b->end))
        *b->p = v;
    b->p++;
}
/* The low n bytes of v, n up to 8. */
static inline void x64_bytes(struct x64_buf *b, u64 v, unsigned n)
{
    if (likely(b->end - b->p >= 8)) { /* what lies behind p is free */
        memcpy(b->p, &v, 8);
        b->p += n;
        return;
    }
    for (unsigned i = 0; i < n; i++)
        x64_byte(b, (u8)(v >> (8 * i)));
}
/* Executable address of the next byte. */
u64 x64_here(const struct x64_buf *b);

/* The general form: [prefix] [REX] [0F [38|3A]] opcode ModRM.  byte_reg, byte_rm: that register is
 * 8 bits wide (SPL..DIL need an empty REX). */
void x64_op(struct x64_buf *b, u32 op, bool rexw, bool byte_reg, bool byte_rm, unsigned reg,
            struct x64_rm rm);
/* VEX form: reg, first source vvvv (0 when there is none), r/m. */
void x64_vex(struct x64_buf *b, u32 op, bool vexw, unsigned reg, unsigned vvvv, struct x64_rm rm);

/* reg = reg op rm;  rm = rm op reg;  rm = rm op imm (sign-extended). */
void x64_alu(struct x64_buf *b, unsigned alu, unsigned w, unsigned reg, struct x64_rm rm);
void x64_alu_store(struct x64_buf *b, unsigned alu, unsigned w, struct x64_rm rm, unsigned reg);
void x64_alu_imm(struct x64_buf *b, unsigned alu, unsigned w, struct x64_rm rm, s32 imm);
void x64_test(struct x64_buf *b, unsigned w, struct x64_rm rm, unsigned reg);
void x64_test_imm(struct x64_buf *b, unsigned w, struct x64_rm rm, s32 imm);
/* Loads: plain at W32/W64, zero-extending (MOVZX) at W8/W16. */
void x64_load(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm rm);
void x64_store(struct x64_buf *b, unsigned w, struct x64_rm rm, unsigned reg);
void x64_store_imm(struct x64_buf *b, unsigned w, struct x64_rm rm, s32 imm);
/* Writes the low W8 or W16 of dst, keeping the rest. */
void x64_mov_low(struct x64_buf *b, unsigned w, unsigned dst, struct x64_rm rm);
/* Register copy: W64, or 32 bits zero-extending; a W64 copy to itself emits nothing. */
void x64_mov(struct x64_buf *b, unsigned w, unsigned dst, unsigned src);
/* Shortest move of a 64-bit constant that leaves the flags alone. */
void x64_mov_imm(struct x64_buf *b, unsigned reg, u64 imm);
/* The same of an address that moves with the block. */
void x64_mov_pc(struct x64_buf *b, unsigned reg, u64 pc);
/* A page's offset in a TLB of the largest size, for a scratch register; it may move likewise. */
void x64_mov_index(struct x64_buf *b, unsigned reg, u32 index, bool moves);
/* Notes that the field of the bytes just emitted, `back` bytes from their end, is of this kind. */
void x64_reloc(struct x64_buf *b, enum x64_reloc_kind kind, unsigned arg, unsigned back);
/* Sign extension from `from` to `to` (W16, W32, W64). */
void x64_movsx(struct x64_buf *b, unsigned to, unsigned from, unsigned reg, struct x64_rm rm);
void x64_lea(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm mem);
void x64_shift_imm(struct x64_buf *b, unsigned sh, unsigned w, struct x64_rm rm, unsigned count);
void x64_shift_cl(struct x64_buf *b, unsigned sh, unsigned w, struct x64_rm rm);
void x64_f7(struct x64_buf *b, unsigned group, unsigned w, struct x64_rm rm);
void x64_imul(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm rm);
/* reg = rm * imm, W32 or W64. */
void x64_imul_imm(struct x64_buf *b, unsigned w, unsigned reg, struct x64_rm rm, s32 imm);
void x64_setcc(struct x64_buf *b, unsigned cc, struct x64_rm rm);
void x64_cmov(struct x64_buf *b, unsigned cc, unsigned w, unsigned reg, struct x64_rm rm);

/* Jumps to an executable address known now. */
void x64_jmp(struct x64_buf *b, u64 target);
void x64_call(struct x64_buf *b, u64 target);
void x64_jcc(struct x64_buf *b, unsigned cc, u64 target);
/* Jumps to be bound later: the place of their rel32 (writable view); x64_bind aims it here. */
u8 *x64_jmp_later(struct x64_buf *b);
u8 *x64_jcc_later(struct x64_buf *b, unsigned cc);
void x64_bind(struct x64_buf *b, u8 *field);
void x64_jmp_rm(struct x64_buf *b, struct x64_rm rm);
void x64_call_rm(struct x64_buf *b, struct x64_rm rm);
void x64_ret(struct x64_buf *b);
/* Clears what is above bit 127 of all YMM registers. */
void x64_vzeroupper(struct x64_buf *b);
void x64_push(struct x64_buf *b, unsigned reg);
void x64_pop(struct x64_buf *b, unsigned reg);
/* Pads with NOPs up to a multiple of align (a power of two). */
void x64_align(struct x64_buf *b, unsigned align);
/* Pads with NOPs until the 4 bytes at p + ahead can be changed by codebuf_patch4. */
void x64_align_field(struct x64_buf *b, unsigned ahead);

#endif

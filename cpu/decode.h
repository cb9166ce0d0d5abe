/* The decoder's interface: bytes and mode in, a plain struct out.  Pure: no state, no memory. */
#ifndef DRAGOMAN_CPU_DECODE_H
#define DRAGOMAN_CPU_DECODE_H

#include "base/types.h"

enum mnemonic {
    OP_INVALID,
#define INSN(name) OP_##name,
#include "cpu/mnemonics.def"
#undef INSN
    OP_COUNT
};

enum operand_kind { OPND_NONE, OPND_REG, OPND_MEM, OPND_IMM, OPND_REL, OPND_FAR };

enum reg_class {
    RC_GPR,   /* reg 0-15 */
    RC_GPR8H, /* AH, CH, DH, BH: reg 0-3 names RAX, RCX, RDX, RBX */
    RC_SEG, RC_CR, RC_DR,
    RC_ST,    /* ST(reg) */
    RC_MMX, RC_XMM, RC_YMM,
};

struct operand {
    u8 kind;  /* enum operand_kind */
    u8 cls;   /* enum reg_class, for OPND_REG */
    u8 reg;
    bool implicit; /* not a field of the encoding (CL of shifts, XMM0 of BLENDVPS...) */
    u16 size; /* bytes accessed: 1, 2, 4, 8, 10, 16, ...; 0 for LEA-like and NOP memory */
};

#define REG_NONE 0xff
#define REG_RIP 0xfe

enum { REP_NONE, REP_REPE = 0xf3, REP_REPNE = 0xf2 };

#define INSN_MAX_OPERANDS 4

/* Capability that a row needs; checked against the CPU model by the lifter (#UD when absent). */
enum isa {
    ISA_BASE, ISA_X87, ISA_MMX, ISA_SSE, ISA_SSE2, ISA_SSE3, ISA_SSSE3, ISA_SSE41, ISA_SSE42,
    ISA_SSE4A, ISA_AES, ISA_PCLMUL, ISA_SHA, ISA_MOVBE, ISA_POPCNT, ISA_LZCNT, ISA_BMI1, ISA_BMI2,
    ISA_ADX, ISA_RDRAND, ISA_RDSEED, ISA_RDPID, ISA_RDTSCP, ISA_CX8, ISA_CX16, ISA_FSGSBASE,
    ISA_XSAVE, ISA_XSAVEOPT, ISA_XSAVEC, ISA_XSAVES, ISA_FXSR, ISA_CMOV, ISA_SEP, ISA_SYSCALL,
    ISA_SMAP, ISA_PKU, ISA_INVPCID, ISA_MONITOR, ISA_CLFLUSH, ISA_CLFLUSHOPT, ISA_CLWB, ISA_F16C,
    ISA_AVX, ISA_AVX2, ISA_FMA, ISA_GFNI, ISA_VAES, ISA_VPCLMUL, ISA_LM, ISA_3DNOWPREFETCH, ISA_TSC,
    ISA_486, ISA_586, ISA_686, ISA_MSR, ISA_LAHF64, ISA_COUNT
};

/* What every instruction of a table row has in common. */
struct opcode_row {
    u16 op;      /* enum mnemonic */
    u16 id;      /* unique row number, for coverage */
    u8 isa;      /* enum isa */
    u16 flags_read, flags_written, flags_undefined; /* FL_ arithmetic flags plus DF, IF...;
                  written includes undefined.  Shifts by a variable count also "read" what they may
                  leave unchanged. */
    u32 props;   /* ROW_ */
    const char *text; /* the row as the table spells it: "ADD Eb,Gb" */
};

enum {
    ROW_LOCKABLE = 1 << 0,  /* LOCK legal when the destination is memory */
    ROW_PRIV = 1 << 1,      /* CPL 0 only */
    ROW_BRANCH = 1 << 2,    /* ends a block */
    ROW_REP = 1 << 3,       /* REP prefixes mean repetition */
    ROW_SYSTEM = 1 << 4,    /* not for user-level differential tests */
    ROW_ALIGN16 = 1 << 5,   /* 16-byte memory operand must be aligned (#GP), 32-byte to 32 */
    ROW_V = 1 << 6,         /* VEX form of a legacy instruction: its mnemonic behind a "v" */
    ROW_VSIB = 1 << 7,      /* index of the memory operand is a vector */
};

struct insn {
    const struct opcode_row *row;
    u16 op;          /* enum mnemonic */
    u8 len;          /* bytes, 1-15 */
    u8 mode;         /* 16, 32 or 64: code size */
    u8 opsize;       /* effective operand size in bytes: 2, 4 or 8 */
    u8 addrsize;     /* effective address size in bytes: 2, 4 or 8 */
    u8 cc;           /* condition 0-15 of Jcc, SETcc, CMOVcc */
    u8 rep;          /* REP_REPE, REP_REPNE as given (meaningful with ROW_REP) */
    bool lock;
    u8 rex;          /* the REX byte, or 0; with VEX in 64-bit mode what would mean the same */
    bool vex;        /* has a VEX prefix: #UD in real and virtual-8086 mode */
    u8 vl;           /* VEX.L */
    bool vsib;       /* index is a vector register */
    u8 opcode;       /* last opcode byte; map: 0 one-byte, 1 0F, 2 0F38, 3 0F3A */
    u8 map;
    u8 modrm;        /* valid when has_modrm */
    bool has_modrm;
    u8 operands;
    struct operand opnd[INSN_MAX_OPERANDS];
    /* the memory operand, if any (one at most; string operations are implicit) */
    u8 seg;          /* enum sreg after overrides and BP/SP defaults */
    bool seg_override;
    u8 base, index;  /* GPR number (index: XMM with vsib), REG_NONE or (base) REG_RIP */
    u8 scale;        /* 1, 2, 4, 8 */
    s64 disp;        /* displacement, or the whole 64-bit MOFFS */
    u64 imm;         /* immediate, sign-extended to 64 bits where the manual extends it */
    u64 imm2;        /* ENTER's level, far pointer's selector */
    s64 rel;         /* relative branch displacement from the next instruction */
};

enum decode_status {
    DECODE_OK,
    DECODE_UD,        /* #UD; len is what was consumed */
    DECODE_TOO_LONG,  /* more than 15 bytes: #GP(0) */
    DECODE_TRUNCATED, /* needs more than `avail` bytes */
};

/* Decodes one instruction.  mode: 16, 32 or 64.  avail: bytes readable at p. */
enum decode_status decode(struct insn *out, const u8 *p, unsigned avail, unsigned mode);

/* "add", "jne": the mnemonic as Capstone prints it (with condition), for tests and messages. */
const char *insn_name(const struct insn *in, char buf[32]);

/* All rows, for tests and coverage; returns the count. */
unsigned decode_rows(const struct opcode_row *const **rows);

#endif

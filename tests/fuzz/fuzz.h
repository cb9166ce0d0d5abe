/* Differential fuzzing of the engines against the host processor: what the parts share.
 *
 * A case is a short program of 16-, 32- or 64-bit user code (on both sides in long mode: the first
 * two are compatibility mode) and an input state.  It runs natively and on an engine at the same
 * addresses with the same segments and memory around it, until an exception ends it (the last
 * instruction is UD2).  Registers, flags, x87, SSE and AVX, memory and the exception must agree.
 */
#ifndef DRAGOMAN_TESTS_FUZZ_H
#define DRAGOMAN_TESTS_FUZZ_H

#include "cpu/accel.h"
#include "cpu/decode.h"
#include "cpu/state.h"

/* ---- where things lie, natively and in the guest ---- */

#define CODE_AT 0x20000000u
#define CODE_SIZE 0x4000u /* readable and executable, not writable */
#define DATA_AT 0x20100000u
#define DATA_RW 0x3000u   /* writable */
#define DATA_SIZE 0x4000u /* the last page is read-only; beyond it nothing is mapped */
#define GS_BASE (DATA_AT + 0x800)

/* State before or after a run. */
struct state {
    u64 gpr[16], flags, rip; /* rip: offset in CS */
    u16 sel[6];              /* selectors, in the order of enum sreg */
    u64 fs_base, gs_base;    /* before: of 64-bit code */
    u8 ymm[256];             /* upper halves of YMM0-15 */
    u8 fx[416] __attribute__((aligned(16))); /* FXSAVE image up to XMM15 */
    u8 data[DATA_SIZE] __attribute__((aligned(16)));
    int vector; /* after: the exception, or one of END_ */
    u32 error;
    u64 cr2;
};
enum { END_TIMEOUT = -1, END_CRASH = -2 };

/* Parts of the FXSAVE image, SDM vol. 1 table 10-2. */
enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_MXCSR = 24, FX_ST = 32, FX_XMM = 160 };

/* ---- random numbers (rnd.c, gen_data.c) ---- */
void rnd_seed(u64 seed);
u64 rnd(void);
static inline unsigned below(unsigned n)
{
    return (unsigned)((rnd() >> 32) * n >> 32);
}
/* True once in n times. */
static inline bool one_in(unsigned n)
{
    return below(n) == 0;
}
/* Integers near the edges, and others. */
u64 rnd_value(void);
/* An address in the data area, now and then near the end of a page or just outside. */
u64 rnd_address(void);
/* A whole input state, without segments and the registers that a program wants set. */
void rnd_state(struct state *s);
/* Segments and the stack pointer.  Tame: DS, ES and SS are the same and reach all of the data. */
void rnd_segments(struct state *s, unsigned mode, bool tame);
/* Selectors, good and bad. */
u16 rnd_selector(void);
/* Makes the register the offset of a linear address; what is beyond 16-bit offsets is random. */
void aim_register(struct state *s, unsigned reg, unsigned seg, u64 la);
/* Whether segments other than flat ones are there. */
extern bool gen_has_ldt;

/* ---- programs (program.c) ---- */

#define ITEM_MAX 48
#define MAX_ITEMS 64

/* One or a few instructions that stay together. */
struct item {
    u8 bytes[ITEM_MAX];
    u8 len;
    u8 fix_at, fix_size; /* relative displacement to the target, 1, 2 or 4 bytes */
    u8 fix_end;          /* ...counted from here */
    bool fix_abs;        /* or its offset in CS */
    s16 target;          /* number of the item it goes to, -1: none */
    bool falls;          /* execution may also go on with the next item */
    bool loop_head;      /* sets the counter of a loop */
};

enum { MODE16, MODE32, MODE64, MODES };
#define MODE_BITS(mode) (16u << (mode))

struct program {
    unsigned mode; /* 16, 32 or 64 */
    unsigned count;
    struct item items[MAX_ITEMS];
    u32 offset;    /* of the first byte from CODE_AT */
    u32 cs_offset; /* of the first byte in CS */
    bool single;
    /* filled by program_assemble */
    u8 code[MAX_ITEMS * ITEM_MAX + 16];
    unsigned size;
    u32 at[MAX_ITEMS + 1];     /* offset in code of each item */
    u16 undef[MAX_ITEMS + 1];  /* flags that are undefined when it begins */
};

/* Lays the items out, and finds where flags are undefined.  False when a displacement does not
 * fit, or an instruction reads undefined flags (its item in *where). */
bool program_assemble(struct program *p, unsigned *where);
/* Drops item i; branches to it go to its successor. */
void program_drop(struct program *p, unsigned i);
/* Flags that are undefined at this linear address. */
u16 program_undefined(const struct program *p, u64 la);
/* Disassembly with linear addresses. */
void program_print(const struct program *p);

/* ---- generation (gen.c) ---- */

/* Reads the tables: what encodings each row has in each mode. */
void gen_init(void);
/* A program of one instruction of the given row; false if no usable encoding was found.  `mode` is
 * MODE16, MODE32 or MODE64. */
bool gen_single(struct program *p, struct state *in, unsigned mode, unsigned row);
/* A program of 5 to 50 instructions. */
void gen_sequence(struct program *p, struct state *in, unsigned mode);
/* Rows that single instructions of user programs have, as numbers for gen_single. */
unsigned gen_rows(unsigned mode, const u16 **rows);
const char *gen_row_text(unsigned mode, unsigned row);
/* Whether a row can only fault in a user program, so that the fault is what is compared. */
bool gen_always_faults(const struct opcode_row *row);
/* Why a row that no mode's gen_rows has is not there; NULL: it should be. */
const char *gen_why_not(const struct opcode_row *row);
/* Bytes of memory at *at that may differ (x87 instruction pointers in saved images), or 0. */
unsigned gen_ignored(const struct program *p, const struct state *in, u64 *at);

/* Linear base of a segment register as the state has it. */
u64 state_base(const struct state *s, unsigned seg);
/* Linear address of the instruction pointer. */
u64 state_pc(const struct state *s);
/* Mode of the code segment in bits. */
unsigned state_mode(const struct state *s);
/* A memory operand's linear address. */
u64 state_address(const struct state *s, const struct insn *in);

/* ---- running ---- */

/* False when the host cannot run programs natively.  *has_ldt: 16-bit code and segments with bases
 * are there. */
bool native_init(bool *has_ldt);
/* Runs natively until an exception. */
void native_run(const struct program *p, const struct state *in, struct state *out);
/* Whether the processor has the group of instructions; ISA_BASE when it cannot be asked. */
bool native_has(unsigned isa);

struct guest;
/* plain: the engine must do without the instruction sets of the host that it can do without; off:
 * and without these optimisations, a mask of translator/technique.h. */
struct guest *guest_create(const struct accel *accel, bool plain, u64 off);
void guest_destroy(struct guest *g);
/* Puts the program into memory, as a device would; runs it from `in` until an exception. */
void guest_load(struct guest *g, const struct program *p);
void guest_run(struct guest *g, const struct program *p, const struct state *in,
               struct state *out);
void guest_cold(struct guest *g); /* empties the TLB */
/* Whether the model of the machines has it. */
bool guest_has(unsigned isa);
u64 guest_counter(struct guest *g, const char *name);
void guest_info(struct guest *g);

#endif

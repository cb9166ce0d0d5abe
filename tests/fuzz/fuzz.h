/* Differential fuzzing of the engines against the host processor: what the parts share.
 *
 * A case is a short program of 64-bit user code and an input state.  It runs natively and on an
 * engine at the same addresses with the same memory around it, until an exception ends it (the
 * last instruction is UD2).  Registers, flags, x87, SSE, memory and the exception must agree.
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
    u64 gpr[16], flags, rip;
    u8 fx[416] __attribute__((aligned(16))); /* FXSAVE image up to XMM15 */
    u8 data[DATA_SIZE] __attribute__((aligned(16)));
    int vector; /* after: the exception, or one of END_ */
    u32 error;
    u64 cr2;
};
enum { END_TIMEOUT = -1, END_CRASH = -2 };

/* Parts of the FXSAVE image, SDM vol. 1 table 10-2. */
enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_MXCSR = 24, FX_ST = 32, FX_XMM = 160 };

/* ---- random numbers (gen_data.c) ---- */
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
/* A whole input state, without the registers that a program wants set. */
void rnd_state(struct state *s);

/* ---- programs (program.c) ---- */

#define ITEM_MAX 48
#define MAX_ITEMS 64

/* One or a few instructions that stay together. */
struct item {
    u8 bytes[ITEM_MAX];
    u8 len;
    u8 fix_at, fix_size; /* relative displacement to the target, 1 or 4 bytes */
    u8 fix_end;          /* ...counted from here */
    s16 target;          /* number of the item it goes to, -1: none */
    bool falls;          /* execution may also go on with the next item */
    bool loop_head;      /* sets the counter of a loop */
};

struct program {
    unsigned count;
    struct item items[MAX_ITEMS];
    u32 offset; /* of the first byte from CODE_AT */
    bool single;
    /* filled by program_assemble */
    u8 code[MAX_ITEMS * ITEM_MAX + 2];
    unsigned size;
    u32 at[MAX_ITEMS + 1];     /* offset in code of each item */
    u16 undef[MAX_ITEMS + 1];  /* flags that are undefined when it begins */
};

/* Lays the items out, and finds where flags are undefined.  False when a displacement does not
 * fit, or an instruction reads undefined flags (its item in *where). */
bool program_assemble(struct program *p, unsigned *where);
/* Drops item i; branches to it go to its successor. */
void program_drop(struct program *p, unsigned i);
/* Flags that are undefined at this rip. */
u16 program_undefined(const struct program *p, u64 rip);
/* Disassembly with addresses. */
void program_print(const struct program *p);

/* ---- generation (gen.c) ---- */

/* Reads the tables: what encodings each row has. */
void gen_init(void);
/* A program of one instruction of the given row; false if no usable encoding was found. */
bool gen_single(struct program *p, struct state *in, unsigned row);
/* A program of 5 to 50 instructions. */
void gen_sequence(struct program *p, struct state *in);
/* Rows that single instructions of user programs have, as numbers for gen_single. */
unsigned gen_rows(const u16 **rows);
/* How often each row has been part of a comparison. */
void gen_count(const struct program *p, bool *seen);
/* Bytes of memory at *at that may differ (x87 instruction pointers in saved images), or 0. */
unsigned gen_ignored(const struct program *p, const struct state *in, u64 *at);

/* ---- running ---- */

bool native_init(void);
/* Runs natively until an exception. */
void native_run(const struct program *p, const struct state *in, struct state *out);

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

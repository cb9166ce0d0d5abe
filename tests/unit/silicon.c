/* A stub in executable memory that loads all general registers and the flags, runs one
 * instruction and stores them again.  Faults come back as signals on a stack of their own. */
#include "silicon.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Layout of the code page. */
enum {
    INSN_AT = 512,
    LEAVE_AT = 1024, /* 64-bit code that ends a run in 32-bit mode */
    STATE_AT = 2048,
    HOST_RSP_AT = STATE_AT + sizeof(struct silicon_state),
    FAR_AT = HOST_RSP_AT + 8,
    STACK32_AT = 4000, /* a stack for the flags in 32-bit mode */
};

/* Linux's user selectors (arch/x86/include/asm/segment.h). */
enum { SEL_CODE32 = 0x23, SEL_DATA = 0x2b, SEL_CODE64 = 0x33 };

static sigjmp_buf escape;
static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
    caught = sig;
    siglongjmp(escape, 1);
}

struct emitter {
    u8 *base;
    unsigned at;
};

static void put_bytes(struct emitter *e, const void *p, unsigned n)
{
    memcpy(e->base + e->at, p, n);
    e->at += n;
}

/* op reg,[rip+x] where x reaches `target` in the code page. */
static void put_rip(struct emitter *e, u8 opcode, unsigned reg, bool wide, unsigned target)
{
    u8 rex = (u8)(0x40 | (wide ? 8 : 0) | (reg >= 8 ? 4 : 0));
    u8 modrm = (u8)(5 | (reg & 7) << 3);
    put_bytes(e, &rex, 1);
    put_bytes(e, &opcode, 1);
    put_bytes(e, &modrm, 1);
    s32 disp = (s32)target - (s32)(e->at + 4);
    put_bytes(e, &disp, 4);
}

static const u8 save[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
static const u8 restore[] = {0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b,
                             0xc3};

static void put_jump(struct emitter *e, unsigned target)
{
    s32 rel = (s32)target - (s32)(e->at + 5);
    put_bytes(e, (u8[]){0xe9}, 1);
    put_bytes(e, &rel, 4);
}

/* op reg,[address] in 32-bit code. */
static void put_abs(struct emitter *e, u8 opcode, unsigned reg, unsigned target)
{
    u8 modrm = (u8)(5 | reg << 3);
    u32 at = (u32)(uintptr_t)e->base + target;
    put_bytes(e, &opcode, 1);
    put_bytes(e, &modrm, 1);
    put_bytes(e, &at, 4);
}

static void put_stack32(struct emitter *e)
{
    u32 at = (u32)(uintptr_t)e->base + STACK32_AT;
    put_bytes(e, (u8[]){0xbc}, 1);
    put_bytes(e, &at, 4);
}

/* Into 32-bit code by a far jump, with flat data segments, which 64-bit code does not miss. */
static void emit_entry32(struct emitter *e)
{
    static const u8 segments[] = {0xb8, SEL_DATA, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0};
    put_bytes(e, save, sizeof save);
    put_rip(e, 0x89, 4, true, HOST_RSP_AT);
    put_bytes(e, segments, sizeof segments);
    put_rip(e, 0xff, 5, false, FAR_AT);
    u32 entry = (u32)(uintptr_t)e->base + e->at;
    store_le(e->base + FAR_AT, entry, 4);
    store_le(e->base + FAR_AT + 4, SEL_CODE32, 2);
    put_stack32(e);
    put_abs(e, 0xff, 6, STATE_AT + offsetof(struct silicon_state, flags));
    put_bytes(e, (u8[]){0x9d}, 1);
    for (unsigned r = 0; r < 8; r++)
        put_abs(e, 0x8b, r, STATE_AT + r * 8);
    put_jump(e, INSN_AT);

    e->at = LEAVE_AT;
    put_rip(e, 0x8b, 4, true, HOST_RSP_AT);
    put_bytes(e, restore, sizeof restore);
}

static void emit_exit32(struct emitter *e)
{
    for (unsigned r = 0; r < 8; r++)
        put_abs(e, 0x89, r, STATE_AT + r * 8);
    put_stack32(e);
    put_bytes(e, (u8[]){0x9c}, 1);
    put_abs(e, 0x8f, 0, STATE_AT + offsetof(struct silicon_state, flags));
    u32 leave = (u32)(uintptr_t)e->base + LEAVE_AT;
    put_bytes(e, (u8[]){0xea}, 1);
    put_bytes(e, &leave, 4);
    put_bytes(e, (u8[]){SEL_CODE64, 0}, 2);
}

static void emit_entry(struct emitter *e)
{
    put_bytes(e, save, sizeof save);
    put_rip(e, 0x89, 4, true, HOST_RSP_AT);
    put_rip(e, 0xff, 6, false, STATE_AT + offsetof(struct silicon_state, flags));
    put_bytes(e, (u8[]){0x9d}, 1);
    for (unsigned r = 0; r < 16; r++)
        put_rip(e, 0x8b, r, true, STATE_AT + r * 8);
    put_jump(e, INSN_AT);
}

static void emit_exit(struct emitter *e)
{
    for (unsigned r = 0; r < 16; r++)
        put_rip(e, 0x89, r, true, STATE_AT + r * 8);
    put_rip(e, 0x8b, 4, true, HOST_RSP_AT);
    put_bytes(e, (u8[]){0x9c}, 1);
    put_rip(e, 0x8f, 0, false, STATE_AT + offsetof(struct silicon_state, flags));
    put_bytes(e, restore, sizeof restore);
}

bool silicon_init(struct silicon *s, unsigned mode)
{
#if defined(__x86_64__)
    u8 *p = mmap(NULL, 4096 + SILICON_DATA, PROT_READ | PROT_WRITE | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (p == MAP_FAILED)
        return false;
    s->code = p;
    s->data = p + 4096;
    s->mode = mode;
    stack_t alt = {.ss_sp = malloc(65536), .ss_size = 65536};
    sigaltstack(&alt, NULL);
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_NODEFER};
    sigaction(SIGFPE, &sa, NULL);
    sigaction(SIGILL, &sa, NULL);
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
    struct emitter e = {p, 0};
    if (mode == 64) {
        emit_entry(&e);
        return true;
    }
    emit_entry32(&e);
    struct silicon_state st = {.flags = 0x202, .gpr = {1}};
    return silicon_run(s, (const u8[]){0x40}, 1, &st) == SILICON_OK && st.gpr[0] == 2;
#else
    return false;
#endif
}

u64 silicon_rip(const struct silicon *s)
{
    return (u64)(uintptr_t)s->code + INSN_AT;
}

enum silicon_result silicon_run(struct silicon *s, const u8 *insn, unsigned len,
                                struct silicon_state *st)
{
    struct emitter e = {s->code, INSN_AT};
    put_bytes(&e, insn, len);
    if (s->mode == 64)
        emit_exit(&e);
    else
        emit_exit32(&e);
    memcpy(s->code + STATE_AT, st, sizeof *st);
    caught = 0;
    if (sigsetjmp(escape, 1) == 0)
        ((void (*)(void))(void *)s->code)();
    if (caught)
        return caught == SIGFPE ? SILICON_FPE : caught == SIGILL ? SILICON_ILL : SILICON_SEGV;
    memcpy(st, s->code + STATE_AT, sizeof *st);
    return SILICON_OK;
}

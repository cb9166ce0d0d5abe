/* Runs programs on the host processor.  The kernel loads and stores the whole state: a breakpoint
 * brings us into a signal handler, which puts the program's state into the signal frame and
 * returns into the program; the exception that ends it comes back as a signal. */
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

/* Before cpu/decode.h gives the name another meaning. */
enum { FRAME_RIP = REG_RIP };
#undef REG_RIP

#include "fuzz.h"
#include "native.h"

static u8 *code_rw, *data_rw;

enum phase { IDLE, ENTERING, RUNNING };
static volatile enum phase phase;
static const struct state *input;
static struct state *output;
static gregset_t own_regs;

sigjmp_buf native_escape;
volatile int native_escape_armed;

/* Register numbers of the signal frame, in the order of the encoding. */
static const int reg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
                               REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13,
                               REG_R14, REG_R15};

void native_trap(void);
__asm__(".text\n.globl native_trap\nnative_trap: int3\n ret\n");

static void enter_program(ucontext_t *uc)
{
    u8 *fx = (u8 *)uc->uc_mcontext.fpregs;
    memcpy(own_regs, uc->uc_mcontext.gregs, sizeof own_regs);
    for (unsigned i = 0; i < 16; i++)
        uc->uc_mcontext.gregs[reg_of[i]] = (greg_t)input->gpr[i];
    uc->uc_mcontext.gregs[REG_EFL] = (greg_t)input->flags;
    uc->uc_mcontext.gregs[FRAME_RIP] = (greg_t)input->rip;
    memcpy(fx, input->fx, 28); /* keep the mask of MXCSR */
    memcpy(fx + 32, input->fx + 32, sizeof input->fx - 32);
    *(u64 *)(fx + 512) |= 3; /* XSTATE_BV: x87 and SSE are in the image */
    phase = RUNNING;
}

static void leave_program(ucontext_t *uc, int vector)
{
    u8 *fx = (u8 *)uc->uc_mcontext.fpregs;
    greg_t *regs = uc->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++)
        output->gpr[i] = (u64)regs[reg_of[i]];
    output->flags = (u64)regs[REG_EFL];
    output->rip = (u64)regs[FRAME_RIP];
    output->vector = vector;
    output->error = (u32)regs[REG_ERR];
    output->cr2 = (u64)regs[REG_CR2];
    memcpy(output->fx, fx, sizeof output->fx);
    /* A clear bit means the initial state, and the image need not hold it. */
    u64 present = *(u64 *)(fx + 512);
    if (!(present & 1)) {
        memset(output->fx, 0, 24);
        memset(output->fx + FX_ST, 0, 128);
        store_le(output->fx + FX_FCW, 0x37f, 2);
    }
    if (!(present & 2))
        memset(output->fx + FX_XMM, 0, 256);
    memcpy(regs, own_regs, sizeof own_regs);
    store_le(fx + FX_FCW, 0x37f, 2);
    memset(fx + 2, 0, 4);
    store_le(fx + FX_MXCSR, 0x1f80, 4);
    *(u64 *)(fx + 512) |= 3;
    phase = IDLE;
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (phase == ENTERING)
        enter_program(uc);
    else if (phase == RUNNING)
        leave_program(uc, sig == SIGALRM ? END_TIMEOUT : (int)uc->uc_mcontext.gregs[REG_TRAPNO]);
    else if (native_escape_armed)
        siglongjmp(native_escape, sig == SIGALRM ? 1 : 2);
    else if (sig != SIGALRM)
        _exit(99);
}

static u8 *map_twice(u64 at, u64 size, int prot)
{
    int fd = (int)syscall(SYS_memfd_create, "fuzz", 0);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        return NULL;
    void *p = mmap((void *)(uintptr_t)at, size, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
    void *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return p == MAP_FAILED || rw == MAP_FAILED ? NULL : rw;
}

bool native_init(void)
{
    code_rw = map_twice(CODE_AT, CODE_SIZE, PROT_READ | PROT_EXEC);
    data_rw = map_twice(DATA_AT, DATA_SIZE, PROT_READ | PROT_WRITE);
    if (!code_rw || !data_rw ||
        mprotect((void *)(uintptr_t)(DATA_AT + DATA_RW), DATA_SIZE - DATA_RW, PROT_READ) != 0 ||
        syscall(SYS_arch_prctl, ARCH_SET_GS, (unsigned long)GS_BASE) != 0)
        return false;
    /* So that the pages are there, and faults say "protection" where the guest's do. */
    for (u64 la = CODE_AT; la < CODE_AT + CODE_SIZE; la += 0x1000)
        (void)*(volatile u8 *)(uintptr_t)la;
    for (u64 la = DATA_AT; la < DATA_AT + DATA_SIZE; la += 0x1000)
        (void)*(volatile u8 *)(uintptr_t)la;
    stack_t alt = {.ss_sp = malloc(256 << 10), .ss_size = 256 << 10};
    sigaltstack(&alt, NULL);
    struct sigaction sa = {.sa_sigaction = on_signal,
                           .sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM, SIGABRT};
    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &sa, NULL);
    return true;
}

void native_alarm(unsigned ms)
{
    struct itimerval t = {.it_value = {ms / 1000, (ms % 1000) * 1000}};
    setitimer(ITIMER_REAL, &t, NULL);
}

void native_run(const struct program *p, const struct state *in, struct state *out)
{
    memcpy(code_rw + p->offset, p->code, p->size);
    memcpy(data_rw, in->data, DATA_SIZE);
    input = in;
    output = out;
    phase = ENTERING;
    native_trap();
    memcpy(out->data, data_rw, DATA_SIZE);
}

/* Runs programs on the host processor.  The kernel loads and stores the whole state: a breakpoint
 * brings us into a signal handler, which puts the program's state into the signal frame and
 * returns into the program; the exception that ends it comes back as a signal.  CS and SS are part
 * of the frame, so that the return also enters compatibility mode; the other segment registers
 * belong to the few instructions around the handler in native_enter below. */
#include <asm/prctl.h>
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

/* Before cpu/decode.h and mmu/mmu.h give the names another meaning. */
enum { FRAME_RIP = REG_RIP };
#undef REG_RIP
#undef PF_W

#include "fuzz.h"
#include "native.h"
#include "segments.h"

static u8 *code_rw, *data_rw;

enum phase { IDLE, ENTERING, RUNNING };
static volatile enum phase phase;
static const struct state *input;
static struct state *output;
static gregset_t own_regs;

/* Segment registers as the handler found them, and as it wants them left: ES, DS, FS, GS, and the
 * bases of the last two. */
struct native_segments {
    u16 es, ds, fs, gs;
    u64 fs_base, gs_base;
};
struct native_segments native_found, native_leave;
static struct native_segments own;
u64 native_own_fs; /* base */

sigjmp_buf native_escape;
volatile int native_escape_armed;

/* Register numbers of the signal frame, in the order of the encoding. */
static const int reg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
                               REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13,
                               REG_R14, REG_R15};

void native_trap(void);
__asm__(".text\n.globl native_trap\nnative_trap: int3\n ret\n");

/* The handler proper: C needs AC and NT clear and its own FS.  Leaves by rt_sigreturn. */
void native_enter(int sig, siginfo_t *info, void *context);
void native_signal(int sig, siginfo_t *info, void *context);
__asm__(".text\n.globl native_enter\nnative_enter:\n"
        " push $2\n popfq\n"
        " mov %es, native_found+0(%rip)\n mov %ds, native_found+2(%rip)\n"
        " mov %fs, native_found+4(%rip)\n mov %gs, native_found+6(%rip)\n"
        " rdfsbase %rax\n mov %rax, native_found+8(%rip)\n"
        " rdgsbase %rax\n mov %rax, native_found+16(%rip)\n"
        " xor %eax, %eax\n mov %eax, %fs\n"
        " mov native_own_fs(%rip), %rax\n wrfsbase %rax\n"
        " sub $8, %rsp\n call native_signal\n add $16, %rsp\n" /* drops the return address too */
        " mov native_leave+0(%rip), %es\n mov native_leave+2(%rip), %ds\n"
        " mov native_leave+4(%rip), %fs\n mov native_leave+6(%rip), %gs\n"
        " cmpw $3, native_leave+4(%rip)\n ja 1f\n"
        " mov native_leave+8(%rip), %rax\n wrfsbase %rax\n"
        "1: cmpw $3, native_leave+6(%rip)\n ja 2f\n"
        " mov native_leave+16(%rip), %rax\n wrgsbase %rax\n"
        "2: mov $15, %eax\n syscall\n");

/* Offset of YMM's upper halves in the frame's XSAVE image (CPUID 0D.2 EBX); 0: no AVX. */
static u32 ymm_at;

static void enter_program(ucontext_t *uc)
{
    u8 *fx = (u8 *)uc->uc_mcontext.fpregs;
    greg_t *regs = uc->uc_mcontext.gregs;
    memcpy(own_regs, regs, sizeof own_regs);
    for (unsigned i = 0; i < 16; i++)
        regs[reg_of[i]] = (greg_t)input->gpr[i];
    regs[REG_EFL] = (greg_t)input->flags;
    regs[FRAME_RIP] = (greg_t)input->rip;
    regs[REG_CSGSFS] = (greg_t)((u64)input->sel[SEG_CS] | (u64)input->sel[SEG_SS] << 48);
    memcpy(fx, input->fx, 28); /* keep the mask of MXCSR */
    memcpy(fx + 32, input->fx + 32, sizeof input->fx - 32);
    *(u64 *)(fx + 512) |= 3; /* XSTATE_BV: x87 and SSE are in the image */
    if (ymm_at) {
        memcpy(fx + ymm_at, input->ymm, sizeof input->ymm);
        *(u64 *)(fx + 512) |= 4;
    }
    native_leave = (struct native_segments){
        .es = input->sel[SEG_ES], .ds = input->sel[SEG_DS], .fs = input->sel[SEG_FS],
        .gs = input->sel[SEG_GS], .fs_base = input->fs_base, .gs_base = input->gs_base};
    phase = RUNNING;
}

static void save_vectors(u8 *fx)
{
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
    memset(output->ymm, 0, sizeof output->ymm);
    if (present & 4 && ymm_at)
        memcpy(output->ymm, fx + ymm_at, sizeof output->ymm);
}

static void leave_program(ucontext_t *uc, int vector)
{
    u8 *fx = (u8 *)uc->uc_mcontext.fpregs;
    greg_t *regs = uc->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++)
        output->gpr[i] = (u64)regs[reg_of[i]];
    output->flags = (u64)regs[REG_EFL];
    output->rip = (u64)regs[FRAME_RIP];
    output->sel[SEG_CS] = (u16)regs[REG_CSGSFS];
    output->sel[SEG_SS] = (u16)((u64)regs[REG_CSGSFS] >> 48);
    output->sel[SEG_ES] = native_found.es;
    output->sel[SEG_DS] = native_found.ds;
    output->sel[SEG_FS] = native_found.fs;
    output->sel[SEG_GS] = native_found.gs;
    output->fs_base = native_found.fs_base;
    output->gs_base = native_found.gs_base;
    output->vector = vector;
    output->error = (u32)regs[REG_ERR];
    output->cr2 = (u64)regs[REG_CR2];
    save_vectors(fx);
    memcpy(regs, own_regs, sizeof own_regs);
    store_le(fx + FX_FCW, 0x37f, 2);
    memset(fx + 2, 0, 4);
    store_le(fx + FX_MXCSR, 0x1f80, 4);
    *(u64 *)(fx + 512) |= 3;
    native_leave = own;
    phase = IDLE;
}

void native_signal(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (phase == ENTERING) {
        enter_program(uc);
    } else if (phase == RUNNING) {
        leave_program(uc, sig == SIGPROF ? END_TIMEOUT : (int)uc->uc_mcontext.gregs[REG_TRAPNO]);
    } else {
        native_leave = own;
        if (native_escape_armed)
            siglongjmp(native_escape, sig == SIGPROF ? 1 : 2);
        if (sig != SIGPROF)
            _exit(99);
    }
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

static bool map_memory(void)
{
    code_rw = map_twice(CODE_AT, CODE_SIZE, PROT_READ | PROT_EXEC);
    data_rw = map_twice(DATA_AT, DATA_SIZE, PROT_READ | PROT_WRITE);
    if (!code_rw || !data_rw ||
        mprotect((void *)(uintptr_t)(DATA_AT + DATA_RW), DATA_SIZE - DATA_RW, PROT_READ) != 0)
        return false;
    /* So that the pages are there, and faults say "protection" where the guest's do. */
    for (u64 la = CODE_AT; la < CODE_AT + CODE_SIZE; la += 0x1000)
        (void)*(volatile u8 *)(uintptr_t)la;
    for (u64 la = DATA_AT; la < DATA_AT + DATA_SIZE; la += 0x1000)
        (void)*(volatile u8 *)(uintptr_t)la;
    return true;
}

bool native_init(bool *has_ldt)
{
    enum { HWCAP2_FSGSBASE = 2 };
    u32 a, b, c, d;
    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)) {
        printf("native: the kernel or the processor has no FSGSBASE: nothing can be compared\n");
        return false;
    }
    if (!map_memory())
        return false;
    *has_ldt = segments_install();
    if (native_has(ISA_AVX) && __get_cpuid_count(0xd, 2, &a, &b, &c, &d))
        ymm_at = b;
    syscall(SYS_arch_prctl, ARCH_GET_FS, &native_own_fs);
    own.fs_base = native_own_fs;
    native_leave = own;
    stack_t alt = {.ss_sp = malloc(256 << 10), .ss_size = 256 << 10};
    sigaltstack(&alt, NULL);
    struct sigaction sa = {.sa_sigaction = native_enter,
                           .sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO};
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGPROF, SIGABRT};
    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &sa, NULL);
    return true;
}

void native_alarm(unsigned ms)
{
    struct itimerval t = {.it_value = {ms / 1000, (ms % 1000) * 1000}};
    setitimer(ITIMER_PROF, &t, NULL);
}

void native_run(const struct program *p, const struct state *in, struct state *out)
{
    static unsigned old_at, old_size; /* programs may read code: nothing else is there */
    memset(code_rw + old_at, 0, old_size);
    memcpy(code_rw + p->offset, p->code, p->size);
    old_at = p->offset;
    old_size = p->size;
    memcpy(data_rw, in->data, DATA_SIZE);
    input = in;
    output = out;
    phase = ENTERING;
    native_trap();
    memcpy(out->data, data_rw, DATA_SIZE);
}

/* ---- what the processor has, SDM vol. 2A CPUID, AMD APM vol. 3 appendix E ---- */

static bool ask_processor(unsigned isa)
{
    enum { EBX = 1, ECX, EDX, EAX = 0 };
    static const struct { u8 isa, sub, reg, bit; u32 leaf; } bits[] = {
        {ISA_MMX, 0, EDX, 23, 1}, {ISA_SSE, 0, EDX, 25, 1}, {ISA_SSE2, 0, EDX, 26, 1},
        {ISA_SSE3, 0, ECX, 0, 1}, {ISA_SSSE3, 0, ECX, 9, 1}, {ISA_SSE41, 0, ECX, 19, 1},
        {ISA_SSE42, 0, ECX, 20, 1}, {ISA_SSE4A, 0, ECX, 6, 0x80000001}, {ISA_AES, 0, ECX, 25, 1},
        {ISA_PCLMUL, 0, ECX, 1, 1}, {ISA_SHA, 0, EBX, 29, 7}, {ISA_MOVBE, 0, ECX, 22, 1},
        {ISA_POPCNT, 0, ECX, 23, 1}, {ISA_LZCNT, 0, ECX, 5, 0x80000001}, {ISA_BMI1, 0, EBX, 3, 7},
        {ISA_BMI2, 0, EBX, 8, 7}, {ISA_ADX, 0, EBX, 19, 7}, {ISA_RDRAND, 0, ECX, 30, 1},
        {ISA_RDSEED, 0, EBX, 18, 7}, {ISA_RDPID, 0, ECX, 22, 7},
        {ISA_RDTSCP, 0, EDX, 27, 0x80000001}, {ISA_CX16, 0, ECX, 13, 1},
        {ISA_FSGSBASE, 0, EBX, 0, 7}, {ISA_XSAVE, 0, ECX, 27, 1}, {ISA_XSAVEOPT, 1, EAX, 0, 0xd},
        {ISA_XSAVEC, 1, EAX, 1, 0xd}, {ISA_CLFLUSHOPT, 0, EBX, 23, 7}, {ISA_CLWB, 0, EBX, 24, 7},
        {ISA_F16C, 0, ECX, 29, 1}, {ISA_AVX, 0, ECX, 28, 1}, {ISA_AVX2, 0, EBX, 5, 7},
        {ISA_FMA, 0, ECX, 12, 1}, {ISA_GFNI, 0, ECX, 8, 7}, {ISA_VAES, 0, ECX, 9, 7},
        {ISA_VPCLMUL, 0, ECX, 10, 7}, {ISA_3DNOWPREFETCH, 0, ECX, 8, 0x80000001},
        {ISA_LAHF64, 0, ECX, 0, 0x80000001},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bits); i++) {
        u32 r[4];
        if (bits[i].isa != isa)
            continue;
        return __get_cpuid_count(bits[i].leaf, bits[i].sub, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) &&
               r[bits[i].reg] >> bits[i].bit & 1;
    }
    return true;
}

bool native_has(unsigned isa)
{
    static enum { UNKNOWN, NO, YES } known[ISA_COUNT]; /* CPUID is slow under a hypervisor */
    if (known[isa] == UNKNOWN)
        known[isa] = ask_processor(isa) ? YES : NO;
    return known[isa] == YES;
}

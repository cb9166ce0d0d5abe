/* System instructions that no other 64-bit test is about: machine status, MONITOR, XCR0 and the XSAVE
 * family, time, identification, random numbers, FS and GS bases, far pointers, ports.
 *
 * The manual's section is vol. 2's of each instruction unless another one is named.
 */
#include "tests/guest/lib/long.h"

#define ENDED(code) (code##_end + 2)
#define AREA 0x8000000000ull /* nothing is mapped there */
#define CR4_UMIP (1ull << 11)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_OSXSAVE (1ull << 18)
#define CR4_PCE (1ull << 8)
#define FS_BASE 0xc0000100
#define GS_BASE 0xc0000101
#define TSC_AUX 0xc0000103

static u8 area[4096] __attribute__((aligned(4096)));
static u32 leaf1[4], leaf7[4], leafd1[4], extended1[4];

static void cpuid_sub(u32 leaf, u32 sub, u32 r[4])
{
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

static struct regs run(u8 *code, bool user)
{
    struct regs r = user ? user_at(code) : kernel_at(code);
    r.rbx = user ? AS_USER(area) : (u64)area;
    r.rax = r.rcx = r.rdx = 0;
    return r;
}

static void expect_user(const char *name, u8 *code, unsigned vector)
{
    struct regs r = run(code, true);
    enter(&r);
    expect(name, &r, vector, 0, (void *)(vector == STOP ? AS_USER(code) : AS_USER(code)));
}

static void expect_fault(const char *name, struct regs *r, u8 *code, unsigned vector)
{
    enter(r);
    expect(name, r, vector, 0, code);
}

static void expect_end(const char *name, struct regs *r, u8 *end)
{
    enter(r);
    expect(name, r, STOP, 0, end + 2);
}

/* ---- LMSW, SMSW; UMIP (vol. 3A 2.5) ---- */

CODE(smsw16, "smsww %ax");
CODE(smsw32, "smsw %eax");
CODE(smsw64, "smsw %rax");
CODE(smsw_mem, "smsw (%rbx)");
CODE(lmsw_, "lmsw %ax");
CODE(lmsw_mem, "lmsw (%rbx)");
CODE(sgdt_, "sgdt (%rbx)");
CODE(sidt_, "sidt (%rbx)");
CODE(sldt_, "sldt %eax");
CODE(str_, "str %eax");

static void machine_status(void)
{
    u64 cr0 = read_cr0();
    struct regs r = run(smsw64, false);
    expect_end("SMSW r64", &r, smsw64_end);
    check_eq("SMSW r64: all of CR0", r.rax, cr0);
    r = run(smsw32, true);
    r.rax = ~0ull;
    enter(&r);
    check_eq("SMSW r32: zero-extended", r.rax, (u32)cr0);
    r = run(smsw16, true);
    r.rax = ~0ull;
    enter(&r);
    check_eq("SMSW r16: the rest stays", r.rax, 0xffffffffffff0000 | (cr0 & 0xffff));
    memset(area, 0xee, 8);
    r = run(smsw_mem, true);
    enter(&r);
    check_eq("SMSW m: 16 bits", *(u64 *)area, 0xeeeeeeeeeeee0000 | (cr0 & 0xffff));
    r = run(lmsw_, false);
    r.rax = 0xfff0 | CR0_MP | CR0_EM | CR0_TS;
    expect_end("LMSW", &r, lmsw__end);
    check_eq("LMSW: MP, EM, TS; PE stays set", read_cr0(),
             (cr0 & ~0xeull) | CR0_PE | CR0_MP | CR0_EM | CR0_TS);
    r = run(lmsw_, false);
    r.rax = (cr0 & 0xf) | CR0_PE;
    enter(&r);
    write_cr0(cr0);
    *(u32 *)area = 0xffff0000 | (u32)(cr0 & 0xf) | CR0_TS;
    r = run(lmsw_mem, false);
    expect_end("LMSW m", &r, lmsw_mem_end);
    check_eq("LMSW m: TS", read_cr0(), cr0 | CR0_TS);
    write_cr0(cr0);
    expect_user("LMSW in ring 3", lmsw_, GP);
    expect_user("LMSW m in ring 3", lmsw_mem, GP);
    if (!(leaf7[2] & 4)) {
        say("CR4.UMIP: left out, CPUID has none\n");
        return;
    }
    write_cr4(read_cr4() | CR4_UMIP);
    expect_user("UMIP: SMSW", smsw32, GP);
    expect_user("UMIP: SMSW m", smsw_mem, GP);
    expect_user("UMIP: SGDT", sgdt_, GP);
    expect_user("UMIP: SIDT", sidt_, GP);
    expect_user("UMIP: SLDT", sldt_, GP);
    expect_user("UMIP: STR", str_, GP);
    r = run(sgdt_, false);
    expect_end("UMIP: ring 0 may", &r, sgdt__end);
    write_cr4(read_cr4() & ~CR4_UMIP);
    r = run(sgdt_, true);
    enter(&r);
    check("SGDT in ring 3: ten bytes", r.vector == STOP && *(u16 *)area == sizeof gdt - 1 &&
                                           *(u64 *)(area + 2) == (u64)gdt);
}

/* ---- MONITOR, MWAIT (vol. 3A 8.10.2) ---- */

CODE(monitor_, "monitor");
CODE(mwait_, "mwait");

static void monitoring(void)
{
    if (!(leaf1[2] & 8)) {
        struct regs r = run(monitor_, false);
        expect_fault("MONITOR, not there", &r, monitor_, UD);
        r = run(mwait_, false);
        expect_fault("MWAIT, not there", &r, mwait_, UD);
        return;
    }
    struct regs r = run(monitor_, false);
    r.rax = (u64)area;
    expect_end("MONITOR", &r, monitor__end);
    r = run(monitor_, false);
    r.rcx = 1;
    expect_fault("MONITOR with ECX", &r, monitor_, GP);
    r = run(monitor_, false);
    r.rax = 0x800000000000;
    expect_fault("MONITOR, not canonical", &r, monitor_, GP);
    r = run(monitor_, false);
    r.rax = AREA;
    enter(&r);
    expect_pf("MONITOR of an absent page", &r, 0, monitor_, AREA);
    r = run(mwait_, false);
    r.rcx = 2;
    expect_fault("MWAIT with ECX", &r, mwait_, GP);
    expect_user("MONITOR in ring 3", monitor_, UD);
    expect_user("MWAIT in ring 3", mwait_, UD);
    if (under_tcg()) /* which waits for an interrupt that never comes */
        return;
    r = run(mwait_, false);
    expect_end("MWAIT without MONITOR goes on", &r, mwait__end);
}

/* ---- XGETBV, XSETBV (vol. 3A 2.6) ---- */

CODE(xgetbv_, "xgetbv");
CODE(xsetbv_, "xsetbv");

static void xcr0(void)
{
    struct regs r = run(xgetbv_, false);
    expect_fault("XGETBV without OSXSAVE", &r, xgetbv_, UD);
    r = run(xsetbv_, false);
    expect_fault("XSETBV without OSXSAVE", &r, xsetbv_, UD);
    write_cr4(read_cr4() | CR4_OSXSAVE);
    u32 now[4];
    cpuid_sub(1, 0, now);
    check("CPUID.OSXSAVE follows CR4", now[2] >> 27 & 1);
    r = run(xgetbv_, true);
    r.rax = r.rdx = ~0ull;
    enter(&r);
    check("XGETBV: x87 after a reset", r.vector == STOP && (r.rax & 1) && !(r.rax >> 32) && !r.rdx);
    r = run(xgetbv_, false);
    r.rcx = 0x100;
    expect_fault("XGETBV of an unknown register", &r, xgetbv_, GP);
    r = run(xsetbv_, false);
    r.rax = 3;
    expect_end("XSETBV", &r, xsetbv__end);
    r = run(xgetbv_, false);
    enter(&r);
    check_eq("XGETBV", r.rax, 3);
    r = run(xsetbv_, true);
    r.rax = 3;
    expect_fault("XSETBV in ring 3", &r, (u8 *)AS_USER(xsetbv_), GP);
    static const struct {
        const char *name;
        u64 rcx, rax, rdx;
    } bad[] = {
        {"XSETBV without x87", 0, 2, 0},     {"XSETBV, AVX without SSE", 0, 5, 0},
        {"XSETBV, reserved bit", 0, 3, 1u << 31}, {"XSETBV, unknown register", 1, 3, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        r = run(xsetbv_, false);
        r.rcx = bad[i].rcx;
        r.rax = bad[i].rax;
        r.rdx = bad[i].rdx;
        expect_fault(bad[i].name, &r, xsetbv_, GP);
    }
}

/* ---- the XSAVE family (vol. 1 chapter 13) ---- */

CODE(xsave_, "xsave (%rbx)");
CODE(xsave64_, "xsave64 (%rbx)");
CODE(xrstor_, "xrstor (%rbx)");
CODE(xrstor64_, "xrstor64 (%rbx)");
CODE(xsaveopt_, "xsaveopt (%rbx)");
CODE(xsaveopt64_, "xsaveopt64 (%rbx)");
CODE(xsavec_, "xsavec (%rbx)");
CODE(xsavec64_, "xsavec64 (%rbx)");
CODE(xsaves_, "xsaves (%rbx)");
CODE(xsaves64_, "xsaves64 (%rbx)");
CODE(xrstors_, "xrstors (%rbx)");
CODE(xrstors64_, "xrstors64 (%rbx)");

static void set_xmm1(u64 v)
{
    __asm__ volatile("movq %0, %%xmm1" : : "r"(v));
}

static u64 get_xmm1(void)
{
    u64 v;
    __asm__ volatile("movq %%xmm1, %0" : "=r"(v));
    return v;
}

static void save_and_restore(const char *name, u8 *save, u8 *restore, bool compact)
{
    memset(area, 0, sizeof area);
    set_xmm1(0x1122334455667788);
    struct regs r = run(save, false);
    r.rax = 3;
    enter(&r);
    check_quiet(name, r.vector == STOP) ? (void)0 : say(": vector %x\n", (u32)r.vector);
    check("its image", *(u64 *)(area + 160 + 16) == 0x1122334455667788);
    check("its XSTATE_BV", (*(u64 *)(area + 512) & 3) >= 2);
    check_eq("its XCOMP_BV", *(u64 *)(area + 520), compact ? 0x8000000000000003 : 0);
    set_xmm1(0);
    r = run(restore, false);
    r.rax = 3;
    enter(&r);
    check("restored", r.vector == STOP && get_xmm1() == 0x1122334455667788);
    /* A component that XSTATE_BV leaves out goes to its initial state. */
    *(u64 *)(area + 512) = 0;
    r = run(restore, false);
    r.rax = 2;
    enter(&r);
    check("initialised", r.vector == STOP && get_xmm1() == 0);
    /* Faults. */
    r = run(save, false);
    r.rbx += 16;
    expect_fault("not aligned to 64", &r, save, GP);
    r = run(restore, false);
    r.rbx += 16;
    expect_fault("restore, not aligned to 64", &r, restore, GP);
    write_cr0(read_cr0() | CR0_TS);
    r = run(save, false);
    expect_fault("with CR0.TS", &r, save, NM);
    r = run(restore, false);
    expect_fault("restore with CR0.TS", &r, restore, NM);
    write_cr0(read_cr0() & ~(u64)CR0_TS);
    write_cr4(read_cr4() & ~CR4_OSXSAVE);
    r = run(save, false);
    expect_fault("without OSXSAVE", &r, save, UD);
    r = run(restore, false);
    expect_fault("restore without OSXSAVE", &r, restore, UD);
    write_cr4(read_cr4() | CR4_OSXSAVE);
}

static void bad_header(const char *name, u8 *restore, unsigned offset, u64 value)
{
    memset(area, 0, sizeof area);
    *(u32 *)(area + 24) = 0x1f80;
    *(u64 *)(area + offset) = value;
    struct regs r = run(restore, false);
    r.rax = 3;
    expect_fault(name, &r, restore, GP);
}

static void xsave_family(void)
{
    save_and_restore("XSAVE, XRSTOR", xsave_, xrstor_, false);
    save_and_restore("XSAVE64, XRSTOR64", xsave64_, xrstor64_, false);
    bad_header("XRSTOR, XSTATE_BV beyond XCR0", xrstor_, 512, 1ull << 40);
    bad_header("XRSTOR, XCOMP_BV", xrstor_, 520, 1);
    bad_header("XRSTOR, reserved header", xrstor_, 528, 1);
    static const struct {
        const char *name;
        u8 *save, *save64, *restore, *restore64;
        u32 bit; /* of CPUID.0DH:1.EAX */
    } more[] = {
        {"XSAVEOPT", xsaveopt_, xsaveopt64_, xrstor_, xrstor64_, 1},
        {"XSAVEC", xsavec_, xsavec64_, xrstor_, xrstor64_, 2},
        {"XSAVES", xsaves_, xsaves64_, xrstors_, xrstors64_, 8},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
        if (leafd1[0] & more[i].bit) {
            save_and_restore(more[i].name, more[i].save, more[i].restore, more[i].bit > 1);
            save_and_restore(more[i].name, more[i].save64, more[i].restore64, more[i].bit > 1);
            continue;
        }
        struct regs r = run(more[i].save, false);
        expect_fault("not there", &r, more[i].save, UD);
        r = run(more[i].save64, false);
        expect_fault("not there", &r, more[i].save64, UD);
    }
    if (leafd1[0] & 8) {
        expect_user("XSAVES in ring 3", xsaves_, GP);
        expect_user("XSAVES64 in ring 3", xsaves64_, GP);
        expect_user("XRSTORS in ring 3", xrstors_, GP);
        expect_user("XRSTORS64 in ring 3", xrstors64_, GP);
        bad_header("XRSTORS of an image that is not compact", xrstors_, 512, 1);
    }
}

/* ---- time and counters ---- */

CODE(rdtsc_, "rdtsc");
CODE(rdtscp_, "rdtscp");
CODE(rdpmc_, "rdpmc");
CODE(rdpid_, ".byte 0xf3, 0x0f, 0xc7, 0xf8"); /* rdpid %rax */

static u64 stamp(const struct regs *r)
{
    return (u32)r->rax | r->rdx << 32;
}

static void time(void)
{
    struct regs r = run(rdtsc_, true), s;
    r.rax = r.rdx = ~0ull;
    expect_end("RDTSC", &r, (u8 *)AS_USER(rdtsc__end));
    check("RDTSC: upper halves are cleared", !(r.rax >> 32) && !(r.rdx >> 32));
    if (extended1[3] >> 27 & 1) {
        wrmsr(TSC_AUX, 0x12345678);
        s = run(rdtscp_, true);
        expect_end("RDTSCP", &s, (u8 *)AS_USER(rdtscp__end));
        check_eq("RDTSCP: ECX", s.rcx, 0x12345678);
        check("RDTSCP: time goes on", stamp(&s) > stamp(&r));
    }
    write_cr4(read_cr4() | CR4_TSD);
    expect_user("RDTSC with CR4.TSD", rdtsc_, GP);
    if (extended1[3] >> 27 & 1)
        expect_user("RDTSCP with CR4.TSD", rdtscp_, GP);
    r = run(rdtsc_, false);
    expect_end("RDTSC with CR4.TSD in ring 0", &r, rdtsc__end);
    write_cr4(read_cr4() & ~(u64)CR4_TSD);
    expect_user("RDPMC without CR4.PCE", rdpmc_, GP);
    r = run(rdpmc_, false);
    r.rcx = 0x3fffffff;
    expect_fault("RDPMC of no counter", &r, rdpmc_, GP);
    r = run(rdpid_, true);
    if (leaf7[2] >> 22 & 1) {
        expect_end("RDPID", &r, (u8 *)AS_USER(rdpid__end));
        check_eq("RDPID: TSC_AUX", r.rax, 0x12345678);
    } else {
        expect_fault("RDPID, not there", &r, (u8 *)AS_USER(rdpid_), UD);
    }
}

/* ---- CPUID, RDRAND, RDSEED ---- */

CODE(cpuid_, "cpuid");
CODE(rdrand16, "rdrand %ax");
CODE(rdrand64, "rdrand %rax");
CODE(rdseed32, "rdseed %eax");

static void random(const char *name, u8 *code, u64 mask, bool there)
{
    u64 all = 0;
    struct regs r;
    if (!there) {
        r = run(code, true);
        expect_fault("not there", &r, (u8 *)AS_USER(code), UD);
        return;
    }
    for (unsigned i = 0; i < 32; i++) {
        r = run(code, true);
        r.rax = mask == 0xffff ? 0xabcdef0000000000 : ~0ull;
        r.flags |= FL_ARITH & ~FL_CF;
        enter(&r);
        if (r.vector != STOP || (r.flags & FL_ARITH) != FL_CF)
            break;
        all |= r.rax;
    }
    check(name, r.vector == STOP && (r.flags & FL_ARITH) == FL_CF);
    check("bits of all kinds", (all & mask) == mask &&
                                   (all & ~mask) == (mask == 0xffff ? 0xabcdef0000000000 : 0));
}

static void identity(void)
{
    struct regs r = run(cpuid_, true);
    r.rax = 0xffffffff00000000;
    r.rcx = r.rdx = ~0ull;
    r.rbx = ~0ull;
    expect_end("CPUID", &r, (u8 *)AS_USER(cpuid__end));
    check("CPUID: upper halves are cleared", !((r.rax | r.rbx | r.rcx | r.rdx) >> 32));
    check("CPUID: a highest leaf", r.rax >= 7);
    r = run(cpuid_, true);
    r.rax = 0x80000000;
    enter(&r);
    check("CPUID: a highest extended leaf", r.rax >= 0x80000008);
    random("RDRAND r16", rdrand16, 0xffff, leaf1[2] >> 30 & 1);
    random("RDRAND r64", rdrand64, ~0ull, leaf1[2] >> 30 & 1);
    random("RDSEED r32", rdseed32, 0xffffffff, leaf7[1] >> 18 & 1);
}

/* ---- FS and GS: bases, PUSH, POP, far pointers ---- */

CODE(rdfsbase_, "rdfsbase %rax");
CODE(rdfsbase32, "rdfsbase %eax");
CODE(rdgsbase_, "rdgsbase %rax");
CODE(wrfsbase_, "wrfsbase %rax");
CODE(wrfsbase32, "wrfsbase %eax");
CODE(wrgsbase_, "wrgsbase %rax");
CODE(push_fs, "push %fs");
CODE(push_gs, "push %gs");
CODE(pop_fs, "push %rax\n pop %fs");
CODE(pop_gs, "push %rax\n pop %gs");
CODE(lss_, "lss (%rbx), %eax");
CODE(lfs_, "lfs (%rbx), %eax");
CODE(lgs_, "lgs (%rbx), %eax");
CODE(lss_reg, ".byte 0x0f, 0xb2, 0xc0");

static void bases(void)
{
    struct regs r;
    if (!(leaf7[1] & 1))
        return;
    u8 *all[] = {rdfsbase_, rdgsbase_, wrfsbase_, wrgsbase_};
    for (unsigned i = 0; i < 4; i++)
        expect_user("FSGSBASE off", all[i], UD);
    write_cr4(read_cr4() | CR4_FSGSBASE);
    wrmsr(FS_BASE, 0x123456789abc);
    wrmsr(GS_BASE, 0xffff800000001234);
    r = run(rdfsbase_, true);
    enter(&r);
    check_eq("RDFSBASE", r.rax, 0x123456789abc);
    r = run(rdfsbase32, true);
    r.rax = ~0ull;
    enter(&r);
    check_eq("RDFSBASE r32", r.rax, 0x56789abc);
    r = run(rdgsbase_, true);
    enter(&r);
    check_eq("RDGSBASE", r.rax, 0xffff800000001234);
    r = run(wrfsbase_, true);
    r.rax = 0x7fff12345678;
    enter(&r);
    check_eq("WRFSBASE", rdmsr(FS_BASE), 0x7fff12345678);
    r = run(wrfsbase32, true);
    r.rax = 0xffffffff87654321;
    enter(&r);
    check_eq("WRFSBASE r32", rdmsr(FS_BASE), 0x87654321);
    r = run(wrgsbase_, true);
    r.rax = 0x1000;
    enter(&r);
    check_eq("WRGSBASE", rdmsr(GS_BASE), 0x1000);
    r = run(wrgsbase_, true);
    r.rax = 0x800000000000;
    expect_fault("WRGSBASE, not canonical", &r, (u8 *)AS_USER(wrgsbase_), GP);
    r = run(wrfsbase_, false);
    r.rax = 0xffff7fffffffffff;
    expect_fault("WRFSBASE, not canonical", &r, wrfsbase_, GP);
    wrmsr(FS_BASE, 0);
    wrmsr(GS_BASE, 0);
    write_cr4(read_cr4() & ~CR4_FSGSBASE);
}

static void segments(void)
{
    static u8 *const pushes[] = {push_fs, push_gs}, *const pops[] = {pop_fs, pop_gs},
             *const loads[] = {lfs_, lgs_};
    struct regs r;
    gdt[SEL_FREE / 8] = 0x00cf13000000ffff; /* data, absent */
    for (unsigned i = 0; i < 2; i++) {
        r = run(pops[i], false);
        r.rax = SEL_USER_DATA;
        expect_end("POP FS, GS", &r, pops[i] + 3);
        r = run(pushes[i], false);
        u64 sp = r.rsp;
        *(u64 *)(sp - 8) = ~0ull;
        expect_end("PUSH FS, GS", &r, pushes[i] + 2);
        check("eight bytes, zero-extended", r.rsp == sp - 8 && *(u64 *)(sp - 8) == SEL_USER_DATA);
        r = run(pops[i], false);
        r.rax = SEL_FREE;
        sp = r.rsp;
        enter(&r);
        expect("POP of an absent segment", &r, NP, SEL_FREE, pops[i] + 1);
        check_eq("its RSP", r.rsp, sp - 8);
        memcpy(area, "\x78\x56\x34\x12\x23\x00", 6);
        r = run(loads[i], false);
        r.rax = ~0ull;
        expect_end("LFS, LGS", &r, loads[i] + 3);
        check_eq("its offset", r.rax, 0x12345678);
        r = run(pushes[i], false);
        enter(&r);
        check_eq("its selector", *(u64 *)r.rsp, 0x23);
    }
    memcpy(area, "\x78\x56\x34\x12\x10\x00", 6);
    r = run(lss_, false);
    expect_end("LSS", &r, lss__end);
    check("its registers", r.rax == 0x12345678 && r.ss == SEL_DATA);
    memcpy(area + 4, "\x23\x00", 2);
    r = run(lss_, false);
    enter(&r);
    expect("LSS of another ring", &r, GP, 0x20, lss_);
    check_eq("its RAX", r.rax, 0);
    r = run(lss_reg, false);
    expect_fault("LSS of a register", &r, lss_reg, UD);
    __asm__ volatile("mov %0, %%fs\n mov %0, %%gs" : : "r"(0));
}

/* ---- LSL, VERR, VERW ---- */

CODE(lsl32, "lsl %ecx, %eax");
CODE(lsl64, "lsl %rcx, %rax");
CODE(lar64, "lar %rcx, %rax");
CODE(verr_, "verr %cx");
CODE(verw_, "verw %cx");

static void look(const char *name, u8 *code, bool user, u32 sel, bool valid, u64 value)
{
    struct regs r = run(code, user);
    r.rax = 0x5a5a5a5a5a5a5a5a;
    r.rcx = sel;
    r.flags |= valid ? 0 : FL_ZF;
    enter(&r);
    bool good = r.vector == STOP && !(r.flags & FL_ZF) == !valid &&
                r.rax == (valid && value ? value : 0x5a5a5a5a5a5a5a5a);
    if (!check_quiet(name, good))
        say(": vector %x flags %x rax %llx\n", (u32)r.vector, (u32)r.flags,
            (unsigned long long)r.rax);
}

static void inspect(void)
{
    gdt[SEL_FREE / 8] = 0x0000ec0000000000;     /* call gate, its second half follows */
    gdt[SEL_FREE / 8 + 1] = 0;
    gdt[SEL_FREE / 8 + 2] = 0x0000890000000067; /* 32-bit TSS */
    gdt[SEL_FREE / 8 + 3] = 0;
    gdt[SEL_FREE / 8 + 4] = 0x000081000000002b; /* 16-bit TSS: not in long mode */
    look("LSL of data", lsl32, false, SEL_DATA, true, 0xffffffff);
    look("LSL r64", lsl64, false, SEL_DATA, true, 0xffffffff);
    look("LSL of a TSS", lsl32, false, SEL_FREE + 16, true, 0x67);
    look("LSL of a call gate", lsl32, false, SEL_FREE, false, 0);
    look("LSL of a 16-bit TSS", lsl32, false, SEL_FREE + 32, false, 0);
    look("LSL from ring 3", lsl32, true, SEL_DATA, false, 0);
    look("LSL of null", lsl32, false, 3, false, 0);
    look("LAR of a call gate", lar64, false, SEL_FREE, true, 0xec00);
    look("LAR of a 16-bit TSS", lar64, false, SEL_FREE + 32, false, 0);
    look("LAR, RPL above DPL", lar64, false, SEL_DATA | 3, false, 0);
    look("VERR", verr_, true, SEL_USER_DATA, true, 0);
    look("VERR of ring 0's", verr_, true, SEL_DATA, false, 0);
    look("VERR of code", verr_, false, SEL_CODE, true, 0);
    look("VERW", verw_, true, SEL_USER_DATA, true, 0);
    look("VERW of code", verw_, false, SEL_CODE, false, 0);
    look("VERW beyond the GDT", verw_, false, 0x7f8, false, 0);
}

/* ---- ports, undefined ones, and what is left ---- */

CODE(outl_dx, "mov $0xcf8, %edx\n out %eax, %dx");
CODE(inl_dx, "mov $0xcf8, %edx\n in %dx, %eax");
CODE(outsl_, "mov $0xcf8, %edx\n outsl");
CODE(insl_, "mov $0xcf8, %edx\n insl");
CODE(outsq_, "mov $0xcf8, %edx\n rex.w outsl");
CODE(insq_, "mov $0xcf8, %edx\n rex.w insl");
CODE(insw_, "mov $0x80, %edx\n insw");
CODE(outsw_, "mov $0x80, %edx\n outsw");
CODE(inb_dx, "mov $0x80, %edx\n in %dx, %al");
CODE(ins_hole, "mov $0x80, %edx\n rep insl");
CODE(rep_insl, "rep insl");
CODE(rep_outsl, "rep outsl");
CODE(invd_, "invd");
CODE(vmcall_, "vmcall");
CODE(ud0_, ".byte 0x0f, 0xff, 0xc0");
CODE(retfq_imm, "lretq $16");

static void ports(void)
{
    static u8 *const in[] = {inl_dx, insl_, insq_}, *const out[] = {outl_dx, outsl_, outsq_};
    struct regs r;
    for (unsigned i = 0; i < 3; i++) {
        u32 v = 0x80001000 + i * 0x100;
        r = run(out[i], false);
        r.rax = v;
        r.rsi = (u64)area;
        memcpy(area, &v, 4);
        enter(&r);
        check("OUT, OUTS of 32 bits", r.vector == STOP && r.rsi == (u64)area + (i ? 4 : 0));
        memset(area + 8, 0x77, 8);
        r = run(in[i], false);
        r.rax = ~0ull;
        r.rdi = (u64)area + 8;
        enter(&r);
        check_eq("IN, INS of 32 bits", i ? *(u64 *)(area + 8) : r.rax,
                 i ? 0x7777777700000000 | v : v);
        expect_user("OUT in ring 3", out[i] + 5, GP);
        expect_user("IN in ring 3", in[i] + 5, GP);
    }
    memset(area, 0x77, 16);
    r = run(insw_, false);
    r.rdi = (u64)area + 4;
    r.flags |= FL_DF;
    enter(&r);
    check("INSW, downwards", r.vector == STOP && r.rdi == (u64)area + 2 && area[3] == 0x77 &&
                                 area[6] == 0x77);
    r = run(outsw_, false);
    r.rsi = (u64)area + 4;
    enter(&r);
    check("OUTSW", r.vector == STOP && r.rsi == (u64)area + 6);
    r = run(inb_dx, false);
    r.rax = 0x1122334455667788;
    enter(&r);
    check("IN of 8 bits", r.vector == STOP && r.rax >> 8 == 0x11223344556677);
    r = run(ins_hole, false);
    r.rdi = AREA;
    r.rcx = 3;
    enter(&r);
    expect_pf("INS to an absent page", &r, 2, ins_hole + 5, AREA);
    check("its registers", r.rcx == 3 && r.rdi == AREA);
}

/* INS and OUTS go on where a page fault in the middle has stopped them. */
static void port_strings(void)
{
    static u8 pages[8192] __attribute__((aligned(4096)));
    pt_map(AREA, 1, (u64)pages | PT_P | PT_W | PT_U);
    pt_map(AREA + 4096, 1, 0);
    struct regs r = kernel_at(outl_dx);
    r.rax = 0x80ab1234 & ~3u;
    enter(&r);
    r = kernel_at(rep_insl);
    r.rdx = 0xcf8;
    r.rdi = AREA + 4096 - 8;
    r.rcx = 5;
    enter(&r);
    expect_pf("REP INSL, #PF in the middle", &r, 2, rep_insl, AREA + 4096);
    check("its registers", r.rcx == 3 && r.rdi == AREA + 4096);
    check("what it stored", *(u32 *)(pages + 4088) == (0x80ab1234 & ~3u) &&
                                *(u32 *)(pages + 4092) == (0x80ab1234 & ~3u));
    pt_map(AREA + 4096, 1, (u64)(pages + 4096) | PT_P | PT_W | PT_U);
    enter(&r);
    check("and the rest", r.vector == STOP && r.rcx == 0 && r.rdi == AREA + 4096 + 12 &&
                              *(u32 *)(pages + 4104) == (0x80ab1234 & ~3u));
    pt_map(AREA + 4096, 1, 0);
    r = kernel_at(rep_outsl);
    r.rdx = 0x80;
    r.rsi = AREA + 4096 - 6;
    r.rcx = 3;
    enter(&r);
    expect_pf("REP OUTSL, #PF across a page", &r, 0, rep_outsl, AREA + 4096);
    check("its registers", r.rcx == 2 && r.rsi == AREA + 4096 - 2);
    pt_map(AREA, 1, 0);
}

/* ---- the I/O permission map of a 64-bit TSS (SDM vol. 1 19.5.2, vol. 3A 7.7) ---- */

CODE(in_dx1, "in %dx, %al");
CODE(in_dx2, "in %dx, %ax");
CODE(in_dx4, "in %dx, %eax");

static void mapped_port(const char *name, u8 *code, u32 port, u64 flags, bool allowed)
{
    struct regs r = user_at(code);
    r.rdx = port;
    r.flags |= flags;
    enter(&r);
    if (allowed)
        check(name, r.vector == STOP);
    else
        expect(name, &r, GP, 0, (void *)AS_USER(code));
}

static void tss_limit(u32 limit)
{
    u64 *d = &gdt[SEL_TSS / 8];
    *d = (*d & ~(0xffffull | 2ull << 40)) | limit; /* LTR takes a TSS that is not busy */
    __asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

static void permission_map(void)
{
    u32 map = (u32)offsetof(struct tss64, io);
    mapped_port("map beyond the TSS", in_dx1, 0x80, 0, false);
    memset(tss.io, 0xff, sizeof tss.io);
    tss.io_base = (u16)map;
    tss.io[0x80 / 8] &= (u8)~1u;
    mapped_port("bit clear", in_dx1, 0x80, 0, true);
    mapped_port("bit set", in_dx1, 0x81, 0, false);
    mapped_port("bit set, IOPL 3", in_dx1, 0x81, FL_IOPL, true);
    mapped_port("a word needs two bits", in_dx2, 0x80, 0, false);
    tss.io[0x87 / 8] &= 0x7f;
    tss.io[0x88 / 8] &= 0xf8;
    mapped_port("a dword of two bytes of the map", in_dx4, 0x87, 0, true);
    mapped_port("a dword needs four bits", in_dx4, 0x88, 0, false);
    /* Two bytes of the map are read always. */
    tss_limit(map + 0x10);
    mapped_port("second byte beyond the limit", in_dx1, 0x80, 0, false);
    tss_limit(map + 0x11);
    mapped_port("both bytes within the limit", in_dx1, 0x80, 0, true);
    tss_limit(sizeof tss - 1);
    tss.io_base = sizeof tss;
}

static void rest(void)
{
    struct regs r;
    expect_user("INVD in ring 3", invd_, GP);
    expect_user("UD0", ud0_, UD);
    expect_user("VMCALL", vmcall_, UD);
    r = run(vmcall_, false);
    expect_fault("VMCALL in ring 0", &r, vmcall_, UD);
    r = run(retfq_imm, false);
    r.rsp -= 64;
    u64 sp = r.rsp;
    ((u64 *)sp)[0] = (u64)rdtsc_;
    ((u64 *)sp)[1] = SEL_CODE;
    expect_end("RETF imm16, 64 bits", &r, rdtsc__end);
    check_eq("its RSP", r.rsp, sp + 32);
}

void test_main(void)
{
    cpuid(1, leaf1);
    cpuid_sub(7, 0, leaf7);
    cpuid_sub(0xd, 1, leafd1);
    cpuid_sub(0x80000001, 0, extended1);
    __asm__ volatile("fninit");
    machine_status();
    monitoring();
    if (leaf1[2] >> 26 & 1) {
        xcr0();
        xsave_family();
    }
    time();
    identity();
    bases();
    segments();
    inspect();
    ports();
    port_strings();
    permission_map();
    rest();
}

/* System instructions that only 16- and 32-bit code has, or that are different there: PUSH and POP of
 * segment registers, far pointers, direct far transfers, ENTER and LEAVE, ports, ARPL; the descriptor
 * checks of all of them in every ring.
 *
 * The manual's section is vol. 2's of each instruction unless another one is named.
 */
#include "tests/guest/lib/legacy.h"

#define ENDED(code) (code##_end + 2)
#define T1 (SEL_FREE + 0x00)
#define T2 (SEL_FREE + 0x08)
#define SEL_RING1 (SEL_FREE + 0x10) /* code, then data, of rings 1 and 2 */
#define SEL_RING2 (SEL_FREE + 0x20)

enum { DATA_RW = 0x93, DATA_RO = 0x91, CODE_X = 0x99, CODE_RX = 0x9b, CONF_RX = 0x9f, CONF_X = 0x9d };

static u8 area[8192] __attribute__((aligned(4096)));

/* Registers for a snippet in any ring. */
static struct regs in_ring(u8 *code, unsigned ring)
{
    struct regs r = ring == 3 ? user_at(code) : kernel_at(code);
    if (ring == 1 || ring == 2) {
        u32 cs = ring == 1 ? SEL_RING1 : SEL_RING2;
        r.cs = cs | ring;
        r.ss = r.ds = r.es = r.fs = r.gs = (cs + 8) | ring;
    }
    r.ebx = (u32)area;
    return r;
}

static void rings(void)
{
    set_descriptor(SEL_RING1, descriptor(0, 0xfffff, CODE_RX | 0x20, 0xc));
    set_descriptor(SEL_RING1 + 8, descriptor(0, 0xfffff, DATA_RW | 0x20, 0xc));
    set_descriptor(SEL_RING2, descriptor(0, 0xfffff, CODE_RX | 0x40, 0xc));
    set_descriptor(SEL_RING2 + 8, descriptor(0, 0xfffff, DATA_RW | 0x40, 0xc));
}

/* ---- loads of DS, ES, FS, GS, SS: every type, DPL, RPL and CPL (vol. 3A 5.5, 5.6, 5.7) ---- */

CODE(mov_ds, "mov %eax, %ds");
CODE(pop_ds, "push %eax\n pop %ds");
CODE(pop_es, "push %eax\n pop %es");
CODE(pop_fs, "push %eax\n pop %fs");
CODE(pop_gs, "push %eax\n pop %gs");
CODE(pop_ss, "push %eax\n pop %ss");
CODE(mov_ss, "mov %eax, %ss");
CODE(lds_, "lds (%ebx), %eax");
CODE(les_, "les (%ebx), %eax");
CODE(lfs_, "lfs (%ebx), %eax");
CODE(lgs_, "lgs (%ebx), %eax");
CODE(lss_, "lss (%ebx), %eax");
CODE(verr_, "verr %ax");
CODE(verw_, "verw %ax");
CODE(lar_, "lar %eax, %ecx");
CODE(lsl_, "lsl %eax, %ecx");

struct loader {
    const char *name;
    u8 *code;
    unsigned skip; /* bytes before the instruction that loads */
    bool stack;
};

static const struct loader loaders[] = {
    {"MOV DS", mov_ds, 0, false}, {"POP DS", pop_ds, 1, false}, {"POP ES", pop_es, 1, false},
    {"POP FS", pop_fs, 1, false}, {"POP GS", pop_gs, 1, false}, {"LDS", lds_, 0, false},
    {"LES", les_, 0, false},      {"LFS", lfs_, 0, false},      {"LGS", lgs_, 0, false},
    {"MOV SS", mov_ss, 0, true},  {"POP SS", pop_ss, 1, true},  {"LSS", lss_, 0, true},
};

static const struct {
    const char *name;
    u8 access;
    bool data, conforming, readable, writable;
} types[] = {
    {"read-only data", DATA_RO, true, false, true, false},
    {"writable data", DATA_RW, true, false, true, true},
    {"execute-only code", CODE_X, false, false, false, false},
    {"readable code", CODE_RX, false, false, true, false},
    {"execute-only conforming code", CONF_X, false, true, false, false},
    {"readable conforming code", CONF_RX, false, true, true, false},
};

static u32 max(u32 a, u32 b)
{
    return a > b ? a : b;
}

/* What the manual says that loading it does: a vector, or STOP. */
static unsigned rule(bool stack, unsigned type, unsigned dpl, unsigned rpl, unsigned cpl, bool present)
{
    if (stack) {
        if (rpl != cpl || dpl != cpl || !types[type].writable)
            return GP;
        return present ? STOP : SS;
    }
    if (!types[type].readable)
        return GP;
    if (!types[type].conforming && dpl < max(rpl, cpl))
        return GP;
    return present ? STOP : NP;
}

static void one_load(const struct loader *l, unsigned type, unsigned dpl, unsigned rpl, unsigned cpl,
                     bool present)
{
    u32 sel = T1 | rpl;
    set_descriptor(T1, descriptor(0, 0xfffff,
                                  (types[type].access & (present ? 0xff : 0x7f)) | dpl << 5, 0xc));
    struct regs r = in_ring(l->code, cpl);
    r.eax = sel;
    *(u32 *)area = (u32)area;
    *(u16 *)(area + 4) = (u16)sel;
    enter(&r);
    unsigned want = rule(l->stack, type, dpl, rpl, cpl, present);
    bool good = r.vector == want &&
                (want == STOP || (r.error == T1 && r.eip == (u32)l->code + l->skip));
    if (!check_quiet("loads, the whole matrix", good))
        say(": %s, %s, DPL %x RPL %x CPL %x P %x: vector %x error %x, not %x\n", l->name,
            types[type].name, dpl, rpl, cpl, (u32)present, r.vector, r.error, want);
}

/* VERR, VERW, LAR, LSL look at the same without faulting (vol. 3A 5.10). */
static void one_look(unsigned type, unsigned dpl, unsigned rpl, unsigned cpl)
{
    static u8 *const codes[] = {verr_, verw_, lar_, lsl_};
    bool visible = types[type].conforming || dpl >= max(rpl, cpl);
    bool want[] = {visible && types[type].readable, visible && types[type].writable, visible, visible};
    for (unsigned i = 0; i < 4; i++) {
        set_descriptor(T1, descriptor(0, 0x12345, types[type].access | dpl << 5, 0x4));
        struct regs r = in_ring(codes[i], cpl);
        r.eax = T1 | rpl;
        r.ecx = 0x77777777;
        enter(&r);
        u32 ecx = i < 2 || !want[i] ? 0x77777777
                  : i == 2          ? 0x00400000u | (types[type].access | dpl << 5) << 8
                                    : 0x12345;
        u32 mask = i == 2 && want[i] ? 0xfff0ffff : ~0u; /* the rest is undefined */
        bool good = r.vector == STOP && !(r.flags & FL_ZF) == !want[i] &&
                    (r.ecx & mask) == ecx;
        if (!check_quiet("looks, the whole matrix", good))
            say(": %x, %s, DPL %x RPL %x CPL %x: vector %x flags %x ecx %x\n", i, types[type].name,
                dpl, rpl, cpl, r.vector, r.flags, r.ecx);
    }
}

static void matrix(void)
{
    for (unsigned cpl = 0; cpl < 4; cpl++)
        for (unsigned type = 0; type < ARRAY_SIZE(types); type++)
            for (unsigned dpl = 0; dpl < 4; dpl++)
                for (unsigned rpl = 0; rpl < 4; rpl++) {
                    for (unsigned i = 0; i < ARRAY_SIZE(loaders); i++) {
                        one_load(&loaders[i], type, dpl, rpl, cpl, true);
                        one_load(&loaders[i], type, dpl, rpl, cpl, false);
                    }
                    one_look(type, dpl, rpl, cpl);
                }
}

/* ---- null selectors, the tables' ends, system descriptors ---- */

static void odd_selectors(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(loaders); i++) {
        const struct loader *l = &loaders[i];
        static const struct {
            u32 sel;
            unsigned vector;
            u32 error;
        } cases[] = {{0x1f8, STOP, 0}, {0x200, GP, 0x200}, {0x203, GP, 0x200}, {0x0c, GP, 0x0c},
                     {SEL_TSS, GP, SEL_TSS}};
        set_descriptor(0x1f8, descriptor(0, 0xfffff, DATA_RW, 0xc)); /* the last one */
        for (unsigned n = 0; n < 4; n++) {
            struct regs r = in_ring(l->code, 0);
            r.eax = n; /* null with each RPL */
            memset(area, 0, 8);
            area[4] = (u8)n;
            enter(&r);
            if (l->stack)
                expect("SS null", &r, GP, 0, l->code + l->skip);
            else
                check_eq("null", r.vector, STOP);
        }
        for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
            struct regs r = in_ring(l->code, 0);
            r.eax = cases[n].sel;
            *(u32 *)area = 0;
            *(u16 *)(area + 4) = (u16)cases[n].sel;
            enter(&r);
            if (cases[n].vector == STOP)
                check_eq("the last descriptor", r.vector, STOP);
            else
                expect("no segment", &r, cases[n].vector, cases[n].error, l->code + l->skip);
        }
    }
}

/* ---- PUSH of segment registers ---- */

CODE(push_cs, "push %cs");
CODE(push_ss, "push %ss");
CODE(push_ds, "push %ds");
CODE(push_es, "push %es");
CODE(push_fs, "push %fs");
CODE(push_gs, "push %gs");
CODE(push16_ds, "pushw %ds");
CODE(pop16_ds, "pushw $0x10\n popw %ds");

static void pushes(void)
{
    static const struct {
        u8 *code;
        u32 value;
    } all[] = {{push_cs, SEL_USER},     {push_ss, SEL_USER_DATA}, {push_ds, SEL_USER_DATA},
               {push_es, 0},            {push_fs, SEL_USER_DATA}, {push_gs, 3}};
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
        struct regs r = user_at(all[i].code);
        r.es = 0;
        r.gs = 3;
        u32 sp = r.esp;
        *(u32 *)(sp - 4) = ~0u;
        enter(&r);
        check("PUSH of a segment register", r.vector == STOP && r.esp == sp - 4);
        /* The upper half may be left alone (vol. 2B PUSH). */
        check_eq("what is pushed", *(u16 *)(sp - 4), all[i].value);
    }
    struct regs r = kernel_at(push16_ds);
    u32 sp = r.esp;
    enter(&r);
    check("PUSH of 16 bits", r.vector == STOP && r.esp == sp - 2 && *(u16 *)r.esp == SEL_DATA);
    r = kernel_at(pop16_ds);
    sp = r.esp;
    enter(&r);
    check("POP of 16 bits", r.vector == STOP && r.esp == sp && r.ds == SEL_DATA);
}

/* ---- far pointers ---- */

CODE(les16, "lesw (%ebx), %ax");
CODE(lds_limit, "lds %fs:(%ebx), %eax");

static void far_pointers(void)
{
    struct regs r = in_ring(les16, 3);
    memcpy(area, "\x34\x12\x23\x00", 4);
    r.eax = ~0u;
    enter(&r);
    check("LES m16:16", r.vector == STOP && r.eax == 0xffff1234 && r.es == 0x23);
    set_descriptor(T1, descriptor((u32)area, 9, DATA_RW | 0x60, 0x4));
    memcpy(area + 4, "\x78\x56\x34\x12\x23\x00", 6);
    r = in_ring(lds_limit, 3);
    r.fs = T1 | 3;
    r.ebx = 4;
    enter(&r);
    check("LDS up to the limit", r.vector == STOP && r.eax == 0x12345678 && r.ds == 0x23);
    r = in_ring(lds_limit, 3);
    r.fs = T1 | 3;
    r.ebx = 5;
    r.eax = 7;
    enter(&r);
    expect("LDS across the limit", &r, GP, 0, lds_limit);
    check("its registers", r.eax == 7 && r.ds == SEL_USER_DATA);
}

/* ---- direct far transfers; conforming code keeps CPL (vol. 3A 5.8.1) ---- */

CODE(ljmp_, "ljmp $0x48, $land");
CODE(lcall_, "lcall $0x48, $land");
CODE(land, "mov %cs, %eax");
CODE(ret_imm, "push %eax\n push %ecx\n lret $8");

static void far_rule(unsigned cpl)
{
    static u8 *const codes[] = {ljmp_, lcall_};
    for (unsigned conforming = 0; conforming < 2; conforming++)
        for (unsigned dpl = 0; dpl < 4; dpl++)
            for (unsigned i = 0; i < 2; i++) {
                set_descriptor(T1, descriptor(0, 0xfffff, (conforming ? CONF_RX : CODE_RX) | dpl << 5,
                                              0xc));
                struct regs r = in_ring(codes[i], cpl);
                u32 sp = r.esp, cs = r.cs;
                enter(&r);
                bool fine = conforming ? dpl <= cpl : dpl == cpl;
                bool good = fine ? r.vector == STOP && r.cs == (T1 | cpl) &&
                                       r.eip == (u32)ENDED(land) && r.esp == sp - (i ? 8 : 0)
                                 : r.vector == GP && r.error == T1 && r.eip == (u32)codes[i];
                if (!check_quiet("far, CPL and DPL", good))
                    say(": conforming %x DPL %x CPL %x: vector %x error %x cs %x\n", conforming, dpl,
                        cpl, r.vector, r.error, r.cs);
                if (fine && i)
                    check("what CALL pushed", *(u32 *)r.esp == (u32)lcall__end &&
                                                  *(u16 *)(r.esp + 4) == cs);
            }
}

static void far_transfers(void)
{
    for (unsigned cpl = 0; cpl < 4; cpl++)
        far_rule(cpl);
    set_descriptor(T1, descriptor(0, 0xfffff, CODE_RX & 0x7f, 0xc));
    struct regs r = kernel_at(ljmp_);
    enter(&r);
    expect("JMP to an absent segment", &r, NP, T1, ljmp_);
    struct regs s = kernel_at(ret_imm);
    s.eax = SEL_CODE;
    s.ecx = (u32)land;
    u32 sp = s.esp;
    enter(&s);
    check("RETF imm16", s.vector == STOP && s.esp == sp + 8 && s.eip == (u32)ENDED(land));
    /* To each outer ring, whose segment registers are then looked at (5.8.6). */
    for (unsigned ring = 1; ring < 4; ring++) {
        struct regs to = in_ring(land, ring);
        u32 *p = (u32 *)(area + 4096 - 32);
        p[0] = (u32)land;
        p[1] = to.cs;
        p[2] = 0x11;
        p[3] = 0x22;
        p[4] = to.esp;
        p[5] = to.ss;
        r = kernel_at(ret_imm + 2);
        r.esp = (u32)p;
        r.ds = SEL_DATA;
        r.es = SEL_USER_DATA;
        r.fs = SEL_RING1 + 8;
        r.gs = 0;
        enter(&r);
        check("RETF imm16 to an outer ring", r.vector == STOP && r.cs == to.cs && r.ss == to.ss &&
                                                 r.esp == to.esp + 8);
        check("DS of ring 0 becomes null", r.ds == 0);
        check("ES of ring 3 stays", r.es == SEL_USER_DATA);
        check_eq("FS of ring 1", r.fs, ring == 1 ? SEL_RING1 + 8 : 0);
    }
}

/* ---- call gates: every ring, DPL and RPL; 16 and 32 bits, parameters (5.8.3 to 5.8.5) ---- */

CODE(lcall_gate, "lcall *(%ebx)");
CODE(ljmp_gate, "ljmp *(%ebx)");
CODE(inner, "mov %esp, %eax\n mov %ss, %ecx");

static u64 gate(u32 sel, u32 offset, u32 access, u32 count)
{
    return (offset & 0xffff) | (u64)sel << 16 | (u64)count << 32 | (u64)access << 40 |
           (u64)(offset >> 16) << 48;
}

static void one_gate(unsigned cpl, unsigned rpl, unsigned gate_dpl, unsigned code_dpl, bool conforming,
                     bool call)
{
    set_descriptor(T1, descriptor(0, 0xfffff, (conforming ? CONF_RX : CODE_RX) | code_dpl << 5, 0xc));
    set_descriptor(T2, gate(T1, (u32)inner, 0x8c | gate_dpl << 5, 0));
    struct regs r = in_ring(call ? lcall_gate : ljmp_gate, cpl);
    *(u32 *)area = 0;
    *(u16 *)(area + 4) = (u16)(T2 | rpl);
    u32 eip = r.eip;
    enter(&r);
    unsigned to = conforming || code_dpl > cpl ? cpl : code_dpl;
    u32 error = 0;
    if (gate_dpl < max(cpl, rpl))
        error = T2;
    else if (code_dpl > cpl || (!call && !conforming && code_dpl != cpl))
        error = T1;
    bool good = error ? r.vector == GP && r.error == error && r.eip == eip
                      : r.vector == STOP && r.cs == (T1 | to) && (r.ss & 3) == to;
    if (!check_quiet("gates, the whole matrix", good))
        say(": CPL %x RPL %x gate %x code %x conforming %x call %x: vector %x error %x cs %x\n", cpl,
            rpl, gate_dpl, code_dpl, (u32)conforming, (u32)call, r.vector, r.error, r.cs);
}

static void gates(void)
{
    static u8 stacks[3][1024] __attribute__((aligned(16)));
    tss.ss1 = (SEL_RING1 + 8) | 1;
    tss.esp1 = (u32)(stacks[1] + 1024);
    tss.ss2 = (SEL_RING2 + 8) | 2;
    tss.esp2 = (u32)(stacks[2] + 1024);
    for (unsigned cpl = 0; cpl < 4; cpl++)
        for (unsigned rpl = 0; rpl < 4; rpl++)
            for (unsigned g = 0; g < 4; g++)
                for (unsigned c = 0; c < 4; c++)
                    for (unsigned kind = 0; kind < 4; kind++)
                        one_gate(cpl, rpl, g, c, kind & 1, kind & 2);
    /* A 16-bit gate pushes 16 bits of each, parameters too. */
    set_descriptor(T1, descriptor((u32)inner & ~0xfffu, 0xffff, CODE_RX, 0x4));
    set_descriptor(T2, gate(T1, (u32)inner & 0xfff, 0xe4, 3));
    struct regs r = in_ring(lcall_gate, 3);
    *(u16 *)(area + 4) = T2 | 3;
    r.esp = (u32)area + 0x800;
    memcpy(area + 0x800, "\x11\x11\x22\x22\x33\x33", 6);
    enter(&r);
    const u16 *p = (const u16 *)r.eax;
    check("16-bit gate: its frame", r.vector == STOP && r.eax == tss.esp0 - 14 && r.ecx == SEL_DATA);
    check("16-bit gate: what it pushed",
          p[0] == (u16)(u32)lcall_gate_end && p[1] == SEL_USER && p[2] == 0x1111 && p[3] == 0x2222 &&
              p[4] == 0x3333 && p[5] == (u16)((u32)area + 0x800) && p[6] == SEL_USER_DATA);
    /* 31 parameters; a stack too small for them (#SS with the new selector). */
    set_descriptor(T1, descriptor(0, 0xfffff, CODE_RX, 0xc));
    set_descriptor(T2, gate(T1, (u32)inner, 0xec, 31));
    for (unsigned i = 0; i < 31; i++)
        ((u32 *)(area + 0x800))[i] = 0x100 + i;
    r = in_ring(lcall_gate, 3);
    r.esp = (u32)area + 0x800;
    enter(&r);
    check("31 parameters", r.vector == STOP && r.eax == tss.esp0 - 4 * 35 &&
                               !memcmp((void *)(r.eax + 8), area + 0x800, 31 * 4));
}

/* ---- ENTER and LEAVE, BOUND, ARPL ---- */

CODE(enter_0, "enter $16, $0");
CODE(enter_3, "enter $8, $3");
CODE(enter_32, "enter $0, $33"); /* level modulo 32 */
CODE(leave_, "leave");
CODE(arpl_, "arpl %cx, (%ebx)");
CODE(bound_, "bound %eax, %fs:(%ebx)");
CODE(bound_reg, ".byte 0x62, 0xc0");

static void frames(void)
{
    u32 *top = (u32 *)(area + 2048), *old = (u32 *)(area + 1024);
    struct regs r = in_ring(enter_0, 3);
    r.esp = (u32)top;
    r.ebp = 0x1234;
    enter(&r);
    check("ENTER", r.vector == STOP && r.esp == (u32)top - 20 && r.ebp == (u32)top - 4 &&
                       top[-1] == 0x1234);
    old[-1] = 0xa1;
    old[-2] = 0xa2;
    r = in_ring(enter_3, 3);
    r.esp = (u32)top;
    r.ebp = (u32)old;
    enter(&r);
    check("ENTER, level 3", r.vector == STOP && r.esp == (u32)top - 24 && r.ebp == (u32)top - 4);
    check("its display", top[-1] == (u32)old && top[-2] == 0xa1 && top[-3] == 0xa2 &&
                             top[-4] == (u32)top - 4);
    r = in_ring(enter_32, 3);
    r.esp = (u32)top;
    enter(&r);
    check("ENTER, level 33 is 1", r.vector == STOP && r.esp == (u32)top - 8 &&
                                      top[-2] == (u32)top - 4);
    r = in_ring(leave_, 3);
    r.ebp = (u32)top - 4;
    top[-1] = 0x4321;
    enter(&r);
    check("LEAVE", r.vector == STOP && r.esp == (u32)top && r.ebp == 0x4321);
    /* Faults leave ESP and EBP alone. */
    set_descriptor(T1, descriptor((u32)area, 0xfff, DATA_RW | 0x60, 0x4));
    r = in_ring(enter_0, 3);
    r.ss = T1 | 3;
    r.esp = 4;
    r.ebp = 0x88;
    enter(&r);
    expect("ENTER beyond the stack", &r, SS, 0, enter_0);
    check("its registers", r.esp == 4 && r.ebp == 0x88);
    r = in_ring(enter_3, 3);
    r.ss = T1 | 3;
    r.esp = 0x800;
    r.ebp = 0x1100;
    enter(&r);
    expect("ENTER, display beyond the limit", &r, SS, 0, enter_3);
    check("its registers", r.esp == 0x800 && r.ebp == 0x1100);
    r = in_ring(leave_, 3);
    r.ss = T1 | 3;
    r.esp = 0x800;
    r.ebp = 0xffe;
    enter(&r);
    expect("LEAVE beyond the limit", &r, SS, 0, leave_);
    check("its registers", r.esp == 0x800 && r.ebp == 0xffe);
}

static void others(void)
{
    struct regs r;
    for (unsigned i = 0; i < 16; i++) {
        unsigned have = i & 3, want = i >> 2;
        r = in_ring(arpl_, 3);
        *(u32 *)area = 0xffff0000 | 0x120 | have;
        r.ecx = 0x5550 | want;
        r.flags |= want <= have ? FL_ZF : 0;
        enter(&r);
        check("ARPL", r.vector == STOP && !(r.flags & FL_ZF) == !(have < want) &&
                          *(u32 *)area == (0xffff0120 | max(have, want)));
    }
    r = in_ring(bound_reg, 3);
    enter(&r);
    expect("BOUND of a register", &r, UD, 0, bound_reg);
    set_descriptor(T1, descriptor((u32)area, 7, DATA_RW | 0x60, 0x4));
    r = in_ring(bound_, 3);
    r.fs = T1 | 3;
    r.ebx = 1;
    enter(&r);
    expect("BOUND across the limit", &r, GP, 0, bound_);
}

/* ---- ports ---- */

CODE(in_al, "in $0x80, %al");
CODE(in_eax, "in $0x80, %eax");
CODE(out_al, "out %al, $0x80");
CODE(out_eax, "out %eax, $0x80");
CODE(in_al_dx, "in %dx, %al");
CODE(in_eax_dx, "in %dx, %eax");
CODE(out_al_dx, "out %al, %dx");
CODE(out_eax_dx, "out %eax, %dx");
CODE(in_ax_dx, "in %dx, %ax");
CODE(insb_, "insb");
CODE(insw_, "insw");
CODE(insd_, "insl");
CODE(outsb_, "outsb");
CODE(outsw_, "outsw");
CODE(outsd_, "outsl");
CODE(insd16, "addr16 insl");

static void ports(void)
{
    static u8 *const all[] = {in_al,     in_eax,     out_al,   out_eax, in_al_dx, in_eax_dx,
                              out_al_dx, out_eax_dx, in_ax_dx, insb_,   insw_,    insd_,
                              outsb_,    outsw_,     outsd_};
    for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
        for (unsigned cpl = 0; cpl < 4; cpl++)
            for (unsigned iopl = 0; iopl < 4; iopl++) {
                struct regs r = in_ring(all[i], cpl);
                r.flags |= iopl << 12;
                r.edx = 0x80;
                r.esi = r.edi = (u32)area;
                u32 eip = r.eip;
                enter(&r);
                bool fine = cpl <= iopl; /* the TSS has no map */
                if (!check_quiet("ports, CPL and IOPL", fine ? r.vector == STOP
                                                             : r.vector == GP && r.error == 0 &&
                                                                   r.eip == eip))
                    say(": %x, CPL %x IOPL %x: vector %x\n", i, cpl, iopl, r.vector);
            }
    struct regs r = kernel_at(out_eax_dx);
    r.edx = 0xcf8;
    r.eax = 0x80001234 & ~3u;
    enter(&r);
    r = kernel_at(in_eax_dx);
    r.edx = 0xcf8;
    enter(&r);
    check_eq("IN of what OUT wrote", r.eax, 0x80001234 & ~3u);
    r = kernel_at(insd_);
    r.edx = 0xcf8;
    r.edi = (u32)area;
    enter(&r);
    check("INSD", r.edi == (u32)area + 4 && *(u32 *)area == (0x80001234 & ~3u));
    set_descriptor(T1, descriptor((u32)area, 0xfff, DATA_RW, 0x4));
    r = kernel_at(insd16);
    r.edx = 0xcf8;
    r.es = T1;
    r.edi = 0xabcd0ffc;
    enter(&r);
    check("INSD, 16-bit address", r.vector == STOP && r.edi == 0xabcd1000 &&
                                      *(u32 *)(area + 0xffc) == (0x80001234 & ~3u));
    r = kernel_at(insd_);
    r.edx = 0xcf8;
    r.es = T1;
    r.edi = 0xffd;
    enter(&r);
    expect("INSD across the limit", &r, GP, 0, insd_);
    check_eq("its EDI", r.edi, 0xffd);
}

/* ---- POPF and IRET by ring (vol. 2B POPF, table 4-21) ---- */

CODE(popf_, "push %eax\n popf");
CODE(pushf_, "pushf\n pop %eax");
CODE(cli_, "cli");
CODE(sti_, "sti");
CODE(hlt_, "hlt");

static void flags(void)
{
    for (unsigned cpl = 0; cpl < 4; cpl++)
        for (unsigned iopl = 0; iopl < 4; iopl++) {
            u32 keep = FL_ONE | iopl << 12;
            struct regs r = in_ring(popf_, cpl);
            r.flags |= iopl << 12;
            r.eax = FL_ARITH | FL_DF | FL_IF | FL_NT | FL_AC | FL_ID | FL_RF | FL_VM | 0x2000;
            enter(&r);
            u32 want = FL_ONE | FL_ARITH | FL_DF | FL_NT | FL_AC | FL_ID;
            want |= cpl <= iopl ? FL_IF : 0;
            want |= cpl == 0 ? 0x2000 : iopl << 12;
            check_eq("POPF, CPL and IOPL", r.flags, want);
            r = in_ring(pushf_, cpl);
            r.flags |= iopl << 12;
            enter(&r);
            check_eq("PUSHF, CPL and IOPL", r.eax, keep);
            static u8 *const codes[] = {cli_, sti_};
            for (unsigned i = 0; i < 2; i++) {
                r = in_ring(codes[i], cpl);
                r.flags |= iopl << 12 | (i ? 0 : FL_IF);
                enter(&r);
                if (cpl > iopl)
                    expect("CLI, STI, CPL above IOPL", &r, GP, 0, codes[i]);
                else
                    check("CLI, STI", r.vector == STOP && !(r.flags & FL_IF) == !i);
            }
            if (cpl) {
                r = in_ring(hlt_, cpl);
                r.flags |= iopl << 12;
                enter(&r);
                expect("HLT", &r, GP, 0, hlt_);
            }
        }
}

void test_main(void)
{
    __asm__ volatile("lldt %w0" : : "r"(0));
    rings();
    matrix();
    odd_selectors();
    pushes();
    far_pointers();
    far_transfers();
    gates();
    frames();
    others();
    ports();
    flags();
}

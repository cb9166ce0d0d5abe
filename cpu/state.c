/* The vCPU's state table (snapshots) and its printed form. */
#include "base/fields.h"
#include "cpu/system.h"

#define C(member) FIELD(struct cpu, member)
#define CA(member) FIELD_ARRAY(struct cpu, member)
#define SEGMENT(n) C(seg[n].base), C(seg[n].limit), C(seg[n].selector), C(seg[n].attr)

/* hflags, spans, the MMU and what cpu_loaded derives are not stored. */
const struct field cpu_fields[] = {
    CA(gpr), C(lazy_kind), C(lazy_a), C(lazy_b), C(rip), C(eflags), C(mxcsr),
    SEGMENT(SEG_ES), SEGMENT(SEG_CS), SEGMENT(SEG_SS), SEGMENT(SEG_DS), SEGMENT(SEG_FS),
    SEGMENT(SEG_GS), SEGMENT(SEG_LDTR), SEGMENT(SEG_TR),
    CA(xmm), CA(x87.r), C(x87.fcw), C(x87.fsw), C(x87.ftw), C(x87.fop), C(x87.fip), C(x87.fdp),
    C(x87.fcs), C(x87.fds),
    C(gdt.base), C(gdt.limit), C(idt.base), C(idt.limit),
    C(cr0), C(cr2), C(cr3), C(cr4), C(xcr0), C(pkru), CA(dr), C(debugctl), C(debug),
    C(efer), C(star), C(lstar), C(cstar), C(sfmask), C(kernel_gs_base), C(tsc_aux), C(pat),
    C(sysenter_cs), C(sysenter_esp), C(sysenter_eip),
    C(misc_enable), C(tsc_adjust), C(mtrr_def_type), CA(mtrr_fixed), CA(mtrr_base), CA(mtrr_mask),
    C(mcg_status), C(mcg_ctl), CA(mc_ctl), CA(mc_status), CA(mc_addr), CA(mc_misc), C(smbase),
    C(spec_ctrl), C(tsc_offset), C(cpl), C(halted), C(mwait), C(wait_sipi), C(nmi_blocked),
    C(in_smm), C(smm_nmi_blocked), C(irq_shadow), C(shadow_rip), C(sipi_vector), C(ferr), C(ignne),
    C(step_skip), C(shut_down), C(pins),
    C(exc_vector), C(exc_error), C(exc_has_error), C(exc_soft), C(exc_ext), C(exc_rf),
    FIELD_END,
};

typedef unsigned long long ull;

static void print_flags(u64 f, print_fn print, void *opaque)
{
    static const struct { char c; u32 bit; } names[] = {
        {'D', FL_DF}, {'O', FL_OF}, {'S', FL_SF}, {'Z', FL_ZF}, {'A', FL_AF}, {'P', FL_PF},
        {'C', FL_CF},
    };
    char s[ARRAY_SIZE(names) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        s[i] = f & names[i].bit ? names[i].c : '-';
    print(opaque, "[%s]", s);
}

static void print_gprs(struct cpu *cpu, bool wide, print_fn print, void *opaque)
{
    static const char *const n64[16] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                        "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
    static const u8 order[16] = {RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP,
                                 R8, R9, R10, R11, R12, R13, R14, R15};
    for (unsigned i = 0; i < (wide ? 16u : 8u); i++) {
        const char *end = i % 4 == 3 ? "\n" : " ";
        if (wide)
            print(opaque, "%s=%016llx%s", n64[order[i]], (ull)cpu->gpr[order[i]], end);
        else
            print(opaque, "E%s=%08x%s", n64[order[i]] + 1, (u32)cpu->gpr[order[i]], end);
    }
}

void cpu_print(struct cpu *cpu, print_fn print, void *opaque)
{
    static const char *const names[SEG_COUNT] = {"ES ", "CS ", "SS ", "DS ", "FS ", "GS ", "LDT",
                                                 "TR "};
    bool wide = cpu_lma(cpu);
    /* Materialised in a copy of the flags: printing must not disturb the guest's lazy record. */
    u32 kind = cpu->lazy_kind;
    u64 raw = cpu->eflags, flags = cpu_eflags(cpu);
    cpu->lazy_kind = kind;
    cpu->eflags = raw;

    print_gprs(cpu, wide, print, opaque);
    if (wide)
        print(opaque, "RIP=%016llx RFL=%08x ", (ull)cpu->rip, (u32)flags);
    else
        print(opaque, "EIP=%08x EFL=%08x ", (u32)cpu->rip, (u32)flags);
    print_flags(flags, print, opaque);
    print(opaque, " CPL=%u A20=%d SMM=%d HLT=%d\n", cpu->cpl,
          cpu->bus ? (int)(bus_a20_mask(cpu->bus) >> 20 & 1) : 1, cpu->in_smm, cpu->halted);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        print(opaque, "%s=%04x %016llx %08x %04x\n", names[i], cpu->seg[i].selector,
              (ull)cpu->seg[i].base, cpu->seg[i].limit, cpu->seg[i].attr);
    print(opaque, "GDT=     %016llx %08x\n", (ull)cpu->gdt.base, cpu->gdt.limit);
    print(opaque, "IDT=     %016llx %08x\n", (ull)cpu->idt.base, cpu->idt.limit);
    print(opaque, "CR0=%08x CR2=%016llx CR3=%016llx CR4=%08x\n", (u32)cpu->cr0, (ull)cpu->cr2,
          (ull)cpu->cr3, (u32)cpu->cr4);
    for (unsigned i = 0; i < 4; i++)
        print(opaque, "DR%u=%016llx ", i, (ull)cpu->dr[i]);
    print(opaque, "\nDR6=%016llx DR7=%016llx\nEFER=%016llx\n", (ull)cpu->dr[6], (ull)cpu->dr[7],
          (ull)cpu->efer);
    print(opaque, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", cpu->x87.fcw, cpu->x87.fsw,
          cpu->x87.fsw >> 11 & 7, cpu->x87.ftw, cpu->mxcsr);
    for (unsigned i = 0; i < 8; i++)
        print(opaque, "FPR%u=%016llx %04x%s", i, (ull)cpu->x87.r[i].mant, cpu->x87.r[i].sexp,
              i & 1 ? "\n" : " ");
    for (unsigned i = 0; i < (wide ? 16u : 8u); i++)
        print(opaque, "XMM%02u=%016llx%016llx%s", i, (ull)cpu->xmm[i].q[1], (ull)cpu->xmm[i].q[0],
              i & 1 ? "\n" : " ");
}

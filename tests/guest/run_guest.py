#!/usr/bin/env python3
"""Runs one bare-metal guest test on both engines and, as a check of the test itself, on QEMU.

usage: run_guest.py DRAGOMAN IMAGE [ENGINE...]      (engines: dbt interp qemu; all by default)

The image says what failed, one line "FAIL name..." each, and leaves through isa-debug-exit.  On
Dragoman nothing may fail.  On QEMU exactly the names in QEMU_WRONG may, each with the reason why
the manual disagrees with QEMU 7.2; other versions of QEMU may get some of them right.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

from common import installed

GOOD, BAD = 33, 35
TIMEOUT = 110

RMW = ("a read-modify-write that faults reports W/R = 1 on processors, since it asks for write access "
       "at once (SDM vol. 3A 4.7); TCG loads first and reports a read")
RSVD = ("bit 3 of the error code can be set only if bit 0 is (SDM vol. 3A 4.7); QEMU leaves P clear")
STACK = ("a non-canonical address through RSP or RBP is #SS(0) (SDM vol. 2, exceptions of each "
         "instruction in 64-bit mode); TCG raises #GP")
MSR = "reserved bits, bad values and unknown MSRs are #GP(0) (SDM vol. 2B RDMSR, WRMSR); TCG ignores"
IDT16 = ("error codes hold the vector * 8 (SDM vol. 3A 6.13); TCG puts in vector * 16 in long mode")
TSS_LDT = "a TSS selector with TI set is #GP in JMP, CALL and INT (SDM vol. 3A 7.2.2); TCG raises #TS"
RF1 = "RF lasts for one instruction, and is set between two elements (SDM vol. 3B 17.3.1.1)"
RF = "faults push RF = 1 (SDM vol. 3B 17.3.1.1); TCG does not"
LIMITS = "segment limits and types (SDM vol. 3A 5.3, 5.5) are not checked by TCG"
SMI = ("SMI# is asserted by the write to the command port and taken before the next instruction (SDM "
       "vol. 3C 34.3); TCG takes it some blocks later")
SOFT_OFF = "software disable sets the LVT's mask bits and keeps them (SDM vol. 3A 10.4.7.2)"
SIMD = "unmasked SIMD exceptions (SDM vol. 1 11.5) are not in TCG"
PARTLY = "an instruction that faults changes no memory (SDM vol. 3A 6.5); TCG stores what it can"
MASKED = "what the mask leaves out is not accessed (SDM vol. 2 VMASKMOV)"

BRANCH = ("a target that is not canonical is #GP(0) of the branch, which has done nothing (SDM vol. 2, "
          "CALL, JMP, RET; Zen 4 too); QEMU finds out at the target")

# image -> (name or pattern with * -> reason)
QEMU_WRONG = {
    "avx64": {
        "AVX does not care for CR0.EM": "CR0.EM concerns legacy SSE alone (SDM vol. 2A 2.4)",
        "elements left out do not fault": MASKED + "; TCG loads all",
        "before it stores": PARTLY, "is all or nothing": PARTLY,
    },
    "apic64": {
        "disabled: LVT masked": SOFT_OFF, "mask cannot be cleared": SOFT_OFF,
        "LVT stays masked": SOFT_OFF,
        "not even pending": "a disabled APIC does not accept fixed interrupts (SDM vol. 3A 10.4.7.2)",
        "all clusters": "cluster 15 addresses all (SDM vol. 3A 10.6.2.2); QEMU knows none but the own",
        "focus checking off": "bit 9 of SVR (SDM vol. 3A figure 10-23); QEMU drops it",
        "LINT0, fixed": "the trigger bit is clear: one interrupt per edge (SDM vol. 3A 10.5.1)",
    },
    "msr64": {
        "*/read of none": MSR, "*/write of none": MSR, "*/reserved bit": MSR, "*/read-only": MSR,
        "*/write-only": MSR, "*/not canonical": MSR, "*/bad memory type": MSR,
        "feature that CPUID has not, *": MSR, "performance counters, read": MSR, "no such MSR*": MSR,
        "variable range, reserved": MSR, "variable range, bad type": MSR, "beyond the *": MSR,
        "MCi_* takes nothing else": MSR, "XD disabled: EFER.NXE": MSR,
        "DEBUGCTL/holds a bit": "LBR and BTF can be set (SDM vol. 4); TCG drops them",
        "BTS and PEBS unavailable": "neither is there (SDM vol. 4, IA32_MISC_ENABLE); QEMU says they are",
        "limit of CPUID": "IA32_MISC_ENABLE[22] (SDM vol. 4); not in QEMU",
        "MONITOR disabled: *": "IA32_MISC_ENABLE[18] (SDM vol. 4); not in QEMU",
        "XD disabled: CPUID": "IA32_MISC_ENABLE[34] (SDM vol. 4); not in QEMU",
        "the TSC takes 64 bits": "WRMSR sets all of the TSC (SDM vol. 3B 17.17.3); TCG ignores it",
    },
    "models32": {"IA32_*": MSR},
    "paging64": {
        "4K/modify": RMW, "2M/modify": RMW, "modify across, second absent": RMW,
        "locked modify across, second absent": RMW, "bts in an absent page": RMW,
        "physical address bit in a *": RSVD, "PS in a PML4E": RSVD, "NX in a * without NXE": RSVD,
        "bit * of a * page": RSVD, "PS in a PDPTE without 1 GiB pages": RSVD,
        "JMP": BRANCH, "JMP through memory": BRANCH, "CALL": BRANCH, "RET": BRANCH, "RET n": BRANCH,
        "* off the lower half": BRANCH, "a branch that is not canonical leaves RSP": BRANCH,
        "RCX and RSP stay": BRANCH,
        "FX* across, unused end absent": "the operand has 512 bytes (SDM vol. 2, FXSAVE; Zen 4 looks at the "
                                         "last one first); QEMU checks what it uses",
        "not canonical, RBP": STACK, "not canonical, RSP": STACK, "push, not canonical": STACK,
        "CR4.PCIDE where there is none": "a reserved bit of CR4 is #GP(0) (SDM vol. 3A 2.5); "
                                         "QEMU drops it silently",
    },
    "debug64": {
        "INT n clears RF before it pushes": RF1,
        "REP STOS": RF1 + "; between two elements TCG forgets it",
        "in the middle RF is pushed": RF1, "step in REP pushes RF": RF1,
        "right after MOV SS": "no debug exception between MOV SS and the end of the next instruction "
                              "(SDM vol. 3A 6.8.3); TCG holds off interrupts only",
        "MOV SS from watched memory: after the next": "the same",
        "data, lengths and offsets*": "any byte of an access counts (SDM vol. 3B 17.2.5); TCG does not "
                                     "look at the second page of an access",
        "address bits that the length masks": "the length masks address bits (SDM vol. 3B 17.2.5); not "
                                              "in TCG",
        "REP STOSQ, the last element": "data breakpoints are traps: RIP is behind the instruction (SDM "
                                       "vol. 3B 17.3.1.2)",
        "REP OUTSB: each": "the same",
        "step and data": "one instruction's conditions are one exception (SDM vol. 3B 17.2.3); TCG "
                         "raises two",
        "then a step alone": "the same",
        "BTF: *": "branch steps (SDM vol. 3B 17.4.2) are not in TCG",
        "DR7: bits that are always clear": "reserved bits (SDM vol. 3B figure 17-1)",
        "DR5 is DR7": "follows from it",
        "DR7.GD": "a MOV of a debug register with DR7.GD is #DB (SDM vol. 3B 17.2.4); not in TCG",
        "its fault pushes RF": "the same", "ICEBP clears GD": "the same",
    },
    "except64": {
        "#UD LOCK MOV": "MOV cannot be locked (SDM vol. 2A LOCK); TCG ignores the prefix",
        "#UD before #PF": "the same",
        "#GP RDMSR of none": MSR, "#GP WRMSR EFER reserved": MSR,
        "#GP WRMSR LSTAR not canonical": MSR,
        "INT 20 at ring 3, DPL 0": IDT16, "INT3 at ring 3, DPL 0": IDT16,
        "#UD, gate not present": IDT16 + "; EXT is missing, too", "INT n, gate not present": IDT16,
        "INT n, task gate in long mode": IDT16, "INT n beyond the IDT": IDT16,
        "INT n, DPL before presence": IDT16,
        "ICEBP at ring 3 is not held up by DPL": "INT1 is not subject to the gate's DPL (SDM vol. 2A "
                                                 "INT); TCG raises #UD",
        "DR7.GD": "a MOV of a debug register with DR7.GD is #DB (SDM vol. 3B 17.2.4); not in TCG",
        "DR6.BD": "the same",
        "#UD pushes RF": RF, "#PF pushes RF": RF,
        "SS stays in ring 0": "SS is made null only by a change of CPL (SDM vol. 3A 6.14.2); TCG does "
                              "it for IST, too",
        "INT n, target not canonical": "#GP(0) belongs to the INT (SDM vol. 2A INT); TCG enters the "
                                       "handler and faults there",
        "#UD with a stack that is not canonical: #SS": STACK,
        "MMX, EM, TS": "#UD of CR0.EM comes before #NM (SDM vol. 3A table 12-1)",
        "MMX waits": "MMX instructions report pending x87 exceptions (SDM vol. 3A 12.5); not in TCG",
        "#XM": SIMD, "SIMD exception without OSXMMEXCPT": SIMD, "RIP of it": SIMD,
        "#AC *": "alignment checks (SDM vol. 3A 6.15, interrupt 17) are not in TCG",
        "its RIP is that of the #UD": "the same instruction is restarted (SDM vol. 3A 6.5)",
    },
    "protect64": {
        "LOCK STAC": "STAC with LOCK is #UD (SDM vol. 2B STAC); TCG ignores the prefix",
        "LDT of the user from ring 0, SMAP, AC": "EFLAGS.AC does not count for implicit accesses (SDM "
                                                 "vol. 3A 4.6.1); TCG lets it",
        "CR0's reserved low bits are ignored": "they remain clear after any load (SDM vol. 2B MOV); TCG "
                                               "stores them",
        "CR8 above 15": "reserved bits of CR8 are #GP (SDM vol. 2B MOV); TCG drops them",
    },
    "x87": {
        "#MF: w_*": "every waiting instruction reports a pending exception (SDM vol. 1 8.6); in TCG "
                    "FWAIT and FNOP alone",
        "#MF: still pending": "follows from it",
    },
    "precise": {
        "* m": RMW,
    },
    "faults64": {
        "a fault in a fault's delivery*": IDT16 + "; EXT is missing, too",
        "LOCK before #NM": "an undefined LOCK comes before #NM (SDM vol. 3A table 6-2)",
        "SSE: EM before TS": "#UD of CR0.EM comes before #NM (SDM vol. 3A table 13-1)",
    },
    "interrupt": {
        "its fault unblocks NMIs*": "IRET unblocks NMIs even if it faults (SDM vol. 3C 25.3); TCG does "
                                    "not",
        "interrupt, gate not present": IDT16 + "; EXT is missing, too",
    },
    "paging32": {
        "*/modify": RMW, "PAE/bit *": RSVD, "PAE/NX without NXE": RSVD,
        "32-bit/reserved bit of a 4 MiB page": RSVD,
        "PAE/PDPTEs are cached": "PDPTEs are loaded with CR3 (SDM vol. 3A 4.4.1); TCG reads them at "
                                 "each walk",
    },
    "real": {
        "word at FFFF": LIMITS, "dword at FFFD": LIMITS, "word at SS:FFFF": LIMITS,
        "offset 10000": LIMITS, "and without": LIMITS, "POP with SP FFFF": LIMITS,
        "MOVSW at FFFF": LIMITS, "LES at FFFD": LIMITS,
    },
    "rows32": {
        "LDS across the limit": LIMITS, "its registers": LIMITS, "ENTER beyond the stack": LIMITS,
        "ENTER, display beyond the limit": LIMITS, "LEAVE beyond the limit": LIMITS,
        "BOUND across the limit": LIMITS, "INSD across the limit": LIMITS, "its EDI*": LIMITS,
        "gates, the whole matrix*": "CS gets CPL as its RPL (SDM vol. 2A CALL); TCG puts in the code "
                                    "segment's DPL where that is conforming",
    },
    "rows64": {
        "MONITOR, not canonical": "MONITOR's address is checked like a load (SDM vol. 2B); not in TCG",
        "MONITOR of an absent page": "the same",
        "with CR0.TS": "XSAVE and XRSTOR are #NM with CR0.TS (SDM vol. 1 13.7, 13.8); not in TCG",
        "restore with CR0.TS": "the same",
        "RDPMC of no counter": "#GP(0) for a counter that is not there (SDM vol. 2B RDPMC); TCG raises #UD",
        "not there": "RDSEED and RDPID are #UD where CPUID has them not; TCG executes them",
        "WR*SBASE, not canonical": "#GP(0) (SDM vol. 2B WRFSBASE); TCG takes it",
        "LSL of a 16-bit TSS*": "not valid in long mode (SDM vol. 2A LSL, LAR)",
        "LAR of a 16-bit TSS*": "the same",
    },
    "segment32": {
        "limit/*": LIMITS, "#SS beyond the limit": LIMITS, "#SS store across the limit": LIMITS,
        "null DS": LIMITS, "null ES, STOS": LIMITS, "store through CS": LIMITS,
        "load from execute-only code": LIMITS, "REP MOVS to the limit": LIMITS,
        "its registers": "of that REP MOVS", "push across the segment's end": LIMITS,
        "16-bit code up to the end": LIMITS, "code across the limit": LIMITS,
        "word at the * segment's end": LIMITS, "word at the segment's end": LIMITS,
        "DS without LDT": "a selector of a null LDT is #GP (SDM vol. 2B MOV); TCG takes the LDT of "
                          "limit 64 KiB at 0 that a reset leaves",
        "far beyond the limit": "the error code is 0, it is the offset that is wrong (SDM vol. 2A JMP); "
                                "TCG gives the selector",
        "16-bit jump wraps": "with a 16-bit operand size IP is cut to 16 bits (SDM vol. 2A JMP)",
    },
    "stress64": {
        "code older than announced": "what another processor has changed is run after a serializing "
                                     "instruction (SDM vol. 3A 8.1.3); TCG may keep a translation "
                                     "that it was making meanwhile",
    },
    "smp64": {
        "lowest priority": "who has the lowest priority takes it (SDM vol. 3A 10.6.2.4); QEMU goes by the "
                           "number alone",
        "all clusters, first": "cluster 15 addresses all (SDM vol. 3A 10.6.2.2); QEMU knows none but the "
                               "own",
    },
    "smm32": {
        "saved EIP": SMI, "saved registers": SMI,
        "halt flag": "set when the SMI came in HLT (SDM vol. 3C 34.10); QEMU never sets it",
        "SMI wakes HLT": "QEMU's 8259 may raise its output, which is the SMI here, again while a request is "
                         "pending",
        "SMI in HLT, flag left": "the same", "it went on halting": "the same",
        "D_LCK *": "D_LCK (82441FX 3.2.22) is not in QEMU",
    },
    "smm64": {
        "*/saved RIP": SMI, "*/saved CS": SMI, "*/saved registers": SMI,
        "*/saved CS.L and DPL": SMI + "; and L is bit 9 of the attributes (AMD APM vol. 2 table 10-1), bit "
                                "13 in QEMU",
    },
    "task32": {
        "INT n, TSS in the LDT": TSS_LDT, "TSS in the LDT": TSS_LDT, "gate to the LDT": TSS_LDT,
        "its registers are the new task's: * LDT*": "EIP is loaded before the LDT is checked (SDM vol. "
                                                    "3A 7.3); TCG saves another",
        "its registers are the new task's: LDT *": "the same",
        "SS absent*": "#SS for an absent stack segment (SDM vol. 3A table 7-1); TCG raises #NP",
        "TR in the handler": "follows from it", "the error code was all": "follows from it",
        "busy, all three": "follows from it",
        "accessed bits are set*": "loading a segment register sets its accessed bit (SDM vol. 3A "
                                  "3.4.5.1)",
        "RF is saved*": RF,
        "T: *": "the T flag of a TSS (SDM vol. 3B 17.3.1.5) is not in TCG",
        "LTR null": "a null selector is #GP(0) (SDM vol. 2A LTR); TCG takes it",
    },
    "transfer64": {
        "IRETQ to a bad address*": "RIP is checked before it is loaded (SDM vol. 2A IRET); TCG faults at the "
                                  "target",
        "its CS*": "the same", "gate to a bad address": "the same",
        "IRETQ to 32 bits, RIP beyond the limit": LIMITS,
        "IRETQ to L and D": "L and D together are #GP (SDM vol. 2A IRET)",
        "gate to conforming code keeps ring 3": "CS gets CPL as its RPL (SDM vol. 2A CALL)",
        "#UD, inner stack not canonical: EXT": "EXT is set for an exception (SDM vol. 3A 6.13)",
        "IRETQ, stack not canonical": STACK,
        "LLDT, base not canonical": "a base that is not canonical is #GP (SDM vol. 3A 5.2, vol. 2A LLDT)",
        "LTR, base not canonical": "the same",
        "LTR of a 16-bit TSS": "there is none in long mode (SDM vol. 3A 7.2.3)",
        "LTR null": "a null selector is #GP(0) (SDM vol. 2A LTR); TCG takes it",
    },
    "v86": {
        "INT1 at any IOPL": "INT1 is sensitive neither to IOPL nor to the gate's DPL (SDM vol. 2A INT)",
        "word at FFFF": LIMITS, "dword at FFFD": LIMITS, "word at SS:FFFF": LIMITS,
        "offset 10000": LIMITS, "PUSH with SP 1": LIMITS, "jump beyond 64 KiB": LIMITS,
    },
    "segment64": {
        "SFMASK": "SYSCALL clears what SFMASK says and nothing else (SDM vol. 2B); TCG loses the "
                  "arithmetic flags",
        "SYSRET to 64 bits": "RF and VM of R11 are ignored (SDM vol. 2B SYSRET); TCG loads VM",
        "its flags": "the same",
        "INTO in compatibility mode": IDT16,
        "SYSCALL from compatibility mode": "AMD APM vol. 3: valid there; TCG raises #UD for the vendor",
        "DS is null after IRET to ring 3": "a DS of an inner ring becomes null (SDM vol. 2A IRET); TCG "
                                           "does not check limits nor nulls",
        "far jump to L and D": "L and D together are #GP (SDM vol. 2A JMP)",
        "call gate to an address that is not canonical": "#GP(0) belongs to the JMP or CALL (SDM vol. "
                                                         "2A)",
        "IRETQ, SS absent": "#SS for an absent stack segment (SDM vol. 2A IRET); TCG raises #NP",
    },
}

MODELS = ["486", "pentium", "pentium3", "qemu32", "qemu64", "core2duo", "Nehalem", "SandyBridge",
          "Haswell", "Skylake-Client", "EPYC", "max", "max,-sse2,-msr,-cmov"]

# Options that an image needs beyond the common ones: machines to run it on (default one of -cpu max),
# "qemu": the same for QEMU where those would not do.
MAX = [["-cpu", "max"]]
OPTIONS = {
    "except64": {"kept": True},
    "links64": {"kept": True},
    "real": {"machines": [*MAX, ["-cpu", "486"]], "qemu": MAX},
    "rows32": {"machines": [*MAX, ["-cpu", "pentium"]], "qemu": MAX},
    "rows64": {"machines": [*MAX, ["-cpu", "Haswell"], ["-cpu", "EPYC"]], "qemu": MAX},
    "task32": {"machines": [*MAX, ["-cpu", "486"]], "qemu": MAX},
    "transfer64": {"machines": [*MAX, ["-cpu", "EPYC"]], "qemu": MAX},
    "v86": {"machines": [*MAX, ["-cpu", "qemu64"], ["-cpu", "486"]], "qemu": MAX},
    "msr64": {"machines": [["-cpu", "max"], ["-cpu", "qemu64"], ["-cpu", "Skylake-Client"],
                           ["-cpu", "EPYC"]],
              "qemu": [["-cpu", "max"], ["-cpu", "Skylake-Client"]]},
    "apic64": {"machines": [["-cpu", "max", "-device", "pc-testdev"],
                            ["-cpu", "max,-x2apic", "-device", "pc-testdev"]]},
    "models32": {"machines": [["-cpu", m] for m in MODELS],
                 "qemu": [["-cpu", "qemu32"], ["-cpu", "Nehalem"]]},
    "paging32": {"machines": [*MAX, ["-cpu", "max", "-m", "5G"]]},
    "paging64": {"machines": [["-cpu", "max"], ["-cpu", "qemu64"]]},
    "reset": {"reboot": True},
    "smp64": {"machines": [["-cpu", "max", "-smp", "2"], ["-cpu", "max", "-smp", "4"]]},
    "stress64": {"machines": [["-cpu", "max", "-smp", "2"], ["-cpu", "max", "-smp", "4"]]},
    # QEMU chooses the save map when it is built, not by the processor.
    "smm32": {"machines": [["-cpu", "max"], ["-cpu", "max,-lm"]], "qemu": [["-cpu", "max"]]},
}


def command(engine, dragoman, image, machine):
    common = ["-m", "128", *machine, "-display", "none", "-serial", "stdio", "-monitor", "none",
              "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-kernel", str(image)]
    if not OPTIONS.get(image.stem, {}).get("reboot"):
        common.append("-no-reboot")
    if engine == "qemu":
        return ["qemu-system-x86_64", "-accel", "tcg", "-net", "none", *common]
    return [str(dragoman), "-accel", engine, *common]


def known(image, name):
    for pattern in QEMU_WRONG.get(image.stem, {}):
        if re.fullmatch(".*".join(re.escape(p) for p in pattern.split("*")), name):
            return True
    return False


def run(engine, dragoman, image, machine):
    """Runs one leg; returns what is wrong with it, None if nothing."""
    try:
        done = subprocess.run(command(engine, dragoman, image, machine), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as late:
        out = (late.stdout or b"").decode(errors="replace")
        return f"no end within {TIMEOUT} seconds\n{out[-3000:]}"
    out = done.stdout.decode(errors="replace").replace("\r", "")
    result = re.search(r"^RESULT checks ([0-9a-f]+) failed ([0-9a-f]+)$", out, re.M)
    if not result or done.returncode not in (GOOD, BAD) or int(result.group(1), 16) == 0:
        return f"did not finish: status {done.returncode}\n{out[-3000:]}{done.stderr.decode()[-3000:]}"
    lines = re.findall(r"^FAIL (.*)$", out, re.M)
    failed = int(result.group(2), 16)
    if (done.returncode == GOOD) != (failed == 0) or bool(lines) != (failed != 0):
        return f"contradicts itself: status {done.returncode}, {failed} failed\n{out[-3000:]}"
    if engine == "qemu":
        lines = [x for x in lines if not known(image, re.split(r": (?=vector|[0-9a-f]+, not)", x)[0])]
    if lines:
        return "\n".join(lines)
    print(f"{image.stem}: {engine} {' '.join(machine)}: {int(result.group(1), 16)} checks"
          + (f" ({failed} times QEMU differs from the manual, as listed)" if failed else ""))
    for line in re.findall(r"^.*left out.*$", out, re.M):
        print("    " + line)
    return None


def run_kept(dragoman, image, machine):
    """Runs the image on what other processes, at other addresses, have translated, until there is
    nothing to add."""
    with tempfile.TemporaryDirectory() as folder:
        before = None
        for _ in range(5):
            wrong = run("dbt,cache=" + folder, dragoman, image, machine)
            files = [(f.name, f.stat().st_ino) for f in pathlib.Path(folder).iterdir()]
            if wrong or (files and files == before):
                return wrong
            before = files
    return "no run found all that it needed in the cache"


def main():
    dragoman, image = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
    engines = sys.argv[3:] or ["dbt", "interp", "qemu"]
    status = 0
    if "dbt" in engines:
        offered = subprocess.run([str(dragoman), "-accel", "help"], capture_output=True, text=True)
        if not re.search(r"\bdbt\b", offered.stdout + offered.stderr):
            print("dbt: this build has no back-end for the host; left out")
            engines.remove("dbt")
    if "qemu" in engines and not installed("qemu-system-x86_64"):
        engines.remove("qemu")
    options = OPTIONS.get(image.stem, {})
    machines = options.get("machines", [["-cpu", "max"]])
    runs = [(e, m) for e in engines for m in (options.get("qemu", machines) if e == "qemu" else machines)]
    for engine, machine in runs:
        wrong = run(engine, dragoman, image, machine)
        if wrong:
            print(f"{image.stem}: {engine} {' '.join(machine)}: FAILED\n{wrong}")
            status = 1
    if "dbt" in engines and options.get("kept"):
        wrong = run_kept(dragoman, image, machines[0])
        if wrong:
            print(f"{image.stem}: dbt with a cache: FAILED\n{wrong}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())

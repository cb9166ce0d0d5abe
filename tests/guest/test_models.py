#!/usr/bin/env python3
"""The C library, OpenSSL and libgcrypt under each processor model, compared with this host.

    test_models.py [--accel dbt,interp] [--cpu qemu64,Haswell...]

A Debian kernel boots with an initramfs made of this host's own libraries and cputest.c.  They pick
their code by CPUID, so that each model runs other instructions; what they compute must be what they
compute here, and every instruction must be there exactly if CPUID says so.  Models without long mode
get a 32-bit kernel and the string functions only (instructions: models32.c).
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from common import firmware, run
from linux_guest import LIMIT, get

HERE = pathlib.Path(__file__).resolve().parent
MODELS = ["qemu64", "core2duo", "Nehalem", "SandyBridge", "Haswell", "Skylake-Client", "EPYC", "max"]
# Without long mode: Debian's 32-bit kernel and the string functions of the 32-bit C library.
MODELS32 = ["pentium3", "qemu32"]
# glibc's sin and its like give other last bits without FMA.
NO_FMA = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2,-FMA4"}


def make_keys(where):
    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=where, check=True, capture_output=True)

    (where / "data").write_bytes(bytes((i * i >> 3) & 0xff for i in range(20000)))
    openssl("genpkey", "-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "rsa.pem")
    openssl("genpkey", "-algorithm", "ed25519", "-out", "ed25519.pem")
    curves = {"x25519": ["x25519"], "p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
              "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]}
    for name, algorithm in curves.items():
        for side in "ab":
            openssl("genpkey", "-algorithm", *algorithm, "-out", f"{name}.{side}.pem")
            openssl("pkey", "-in", f"{name}.{side}.pem", "-pubout", "-out", f"{name}.{side}.pub")


def libraries(*programs):
    """Shared objects that programs and dlopen()ed libraries load, as paths."""
    paths = set()
    for program in programs:
        text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        paths.update(re.findall(r"(/\S+) \(0x", text))
    return paths


def opened_at_run_time(names):
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = [re.search(rf"^\s*{re.escape(n)} .*x86-64.*=> (\S+)$", cache, re.M) for n in names]
    missing = [n for n, m in zip(names, found) if not m]
    if missing:
        sys.exit(f"missing on this host: {missing} (tests/setup.sh test)")
    return [m.group(1) for m in found]


def archive(root, image):
    subprocess.run(f"find . | cpio -o -H newc --quiet -R 0:0 | gzip -1 > {image}", shell=True,
                   cwd=root, check=True)
    return image


def add_libraries(root, paths):
    for path in paths:
        to = root / path.lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), to)


def pack32(work):
    """The like for 32-bit machines: Debian's i386 busybox, and cputest with this host's i386 libc."""
    root = work / "root32"
    check = root / "root/check"
    root.mkdir()
    subprocess.run(f"gzip -dc {get('initrd-i386')} | cpio -i --quiet", shell=True, cwd=root,
                   check=True)
    check.mkdir(parents=True)
    # <asm/...> is only there for the host.
    subprocess.run(["gcc", "-m32", "-idirafter", "/usr/include/x86_64-linux-gnu", "-O2",
                    "-march=i686", "-fno-builtin", "-o", check / "cputest",
                    HERE / "cputest.c", "-lm"], check=True)
    add_libraries(root, libraries(check / "cputest"))
    return check, archive(root, work / "initrd32.gz")


def skeleton(work):
    """An initramfs that boots, and in it the empty directory of what is to be run; returns both."""
    root = work / "root"
    check = root / "root/check"
    check.mkdir(parents=True)
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (root / name).mkdir()
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    shutil.copy(HERE / "init", root / "init")
    return root, check


def pack(work):
    """Makes the directory of what is run, and the initramfs around it; returns both."""
    root, check = skeleton(work)
    make_keys(check)
    program, openssl = check / "cputest", shutil.which("openssl")
    subprocess.run(["gcc", "-O2", "-fno-builtin", "-o", program, HERE / "cputest.c", "-lm"],
                   check=True)
    opened = opened_at_run_time(["libcrypto.so.3", "libgcrypt.so.20"])
    add_libraries(root, {*opened, *libraries(program, openssl, *opened)})
    shutil.copy(openssl, root / "bin/openssl")
    shutil.copy(HERE / "check-cpu.sh", check)
    return check, archive(root, work / "initrd.gz")


def native(check, env):
    result = subprocess.run(["sh", "check-cpu.sh"], cwd=check, capture_output=True, text=True,
                            env={**os.environ, "OPENSSL_CONF": "/dev/null", **env}, check=True)
    return results(result.stdout)


def results(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def guest(accel, model, kernel, image, what, seconds=4 * LIMIT):
    command = f"cd~check;grep~-c~-w~fma~/proc/cpuinfo;echo~RESULTS;{what}~2>&1;echo~END"
    # The kernel's own check wants several ticks in some milliseconds, which a busy host may not have.
    result = run(*firmware(), "-accel", accel, "-cpu", model, "-m", "256", "-kernel", get(kernel),
                 "-initrd", image, "-nographic", "-no-reboot", "-append",
                 f"console=ttyS0 quiet panic=-1 no_timer_check run={command}", timeout=seconds)
    text = result.stdout.replace("\r", "")
    match = re.search(r"BOOTED\n(\d)\nRESULTS\n(.*)END\n", text, re.S)
    assert match, f"status {result.returncode}: {text[-3000:]}{result.stderr}"
    return match.group(1) == "1", match.group(2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--accel", default="dbt,interp")
    parser.add_argument("--cpu", default=",".join([*MODELS32, *MODELS]))
    args = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        models = args.cpu.split(",")
        check, image = pack(pathlib.Path(name))
        expected = {True: native(check, {}), False: native(check, NO_FMA)}
        if set(models) & set(MODELS32):
            check32, image32 = pack32(pathlib.Path(name))
            expected32 = results(subprocess.run([check32 / "cputest", "string"], check=True,
                                                capture_output=True, text=True).stdout)
        for model in models:
            for accel in args.accel.split(","):
                if model in MODELS32:
                    want = expected32
                    _, text = guest(accel, model, "686", image32, "./cputest~string")
                else:
                    fma, text = guest(accel, model, "cloud", image,
                                      "OPENSSL_CONF=/dev/null~sh~check-cpu.sh")
                    want = expected[fma]
                got = results(text)
                there = re.search(r"^# isa: (\d+) there", text, re.M)
                verdict = "ok" if got == want and got else "FAILED"
                print(f"{accel} {model}: {verdict}, {len(got)} lines,"
                      f" {there.group(1) if there else 'no'} instruction sets probed", flush=True)
                if verdict != "ok":
                    failures += 1
                    print("\n".join(f"  here {a}\n  there {b}" for a, b in zip(want, got) if a != b))
                    print(f"  {len(want)} lines here; the guest's last: {got[-3:]}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

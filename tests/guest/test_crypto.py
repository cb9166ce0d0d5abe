#!/usr/bin/env python3
"""OpenSSL's and libgcrypt's own tests under each processor model.

    test_crypto.py [--accel dbt,interp] [--cpu qemu64,Haswell...] [--short]

get-crypto.sh builds them from Debian's sources.  They hold the libraries, which choose their code by
CPUID, against published answers; what passes on this host must pass in the guest.  --short: those of
a second or less whose code depends on the processor, without `openssl speed`.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from test_models import HERE, MODELS, add_libraries, archive, guest, libraries, results, skeleton

SHORT = ["evpciph_*", "evpmac_*", "evpmd_*", "evppkey_ecx*", "evppkey_rsa_common*", "evpkdf_hkdf*",
         "basic", "hmac", "aeswrap", "mpitests", "t-mpi-bit", "t-cv25519", "t-ed448"]
SPEED = ["-evp aes-256-gcm", "-evp aes-128-cbc", "-evp chacha20-poly1305", "-evp sha1", "-evp sha256",
         "-evp sha3-256", "rsa2048", "ecdsap256", "ecdhx25519", "ed25519"]
LEAST = {True: 35, False: 90} # tests that pass on any host
LIMIT = {True: 1200, False: 7200} # seconds; an idle host takes a minute, or four


def pack(work, short):
    root, check = skeleton(work)
    built = pathlib.Path(subprocess.run([HERE / "get-crypto.sh"], check=True, text=True,
                                        stdout=subprocess.PIPE).stdout.strip())
    for kind in ("openssl", "gcrypt"):
        (check / kind).mkdir()
        for file in (built / kind).iterdir():
            always = file.name == "evp_test" or file.suffix == ".inp"
            if not short or always or any(file.match(pattern) for pattern in SHORT):
                shutil.copy(file, check / kind)
    (check / "speed").write_text("" if short else "".join(f"{what}\n" for what in SPEED))
    openssl = shutil.which("openssl")
    shutil.copy(openssl, root / "bin")
    add_libraries(root, libraries(openssl, check / "openssl/evp_test", check / "gcrypt/basic"))
    shutil.copy(HERE / "check-crypto.sh", check)
    return check, archive(root, work / "initrd.gz")


def native(check):
    done = subprocess.run(["sh", "check-crypto.sh"], cwd=check, capture_output=True, text=True,
                          check=True)
    return results(done.stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--accel", default="dbt,interp")
    parser.add_argument("--cpu", default=",".join(MODELS))
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        check, image = pack(pathlib.Path(name), args.short)
        want = native(check)
        passed = [line for line in want if line.endswith(": ok")]
        if len(passed) < LEAST[args.short]:
            print("\n".join(want))
            sys.exit(f"only {len(passed)} tests pass on this host")
        for model in args.cpu.split(","):
            for accel in args.accel.split(","):
                _, text = guest(accel, model, "cloud", image, "sh~check-crypto.sh", LIMIT[args.short])
                got = results(text)
                missing = [line for line in passed if line not in got]
                print(f"{accel} {model}: {len(got)} tests, {len(missing)} of {len(passed)} failed",
                      flush=True)
                if missing:
                    failures += 1
                    print(*(f"  here {line}" for line in missing), text[-3000:], sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

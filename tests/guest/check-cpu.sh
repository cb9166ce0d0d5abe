#!/bin/sh
# Runs in a guest and natively, in a directory that test_models.py has packed: everything printed
# must be the same in both places, but for lines that begin with '#'.
set -u
./cputest
digest() { openssl dgst -sha256 "$1" && rm "$1"; }
openssl dgst -sha256 -sign rsa.pem -out rsa.sig data && digest rsa.sig
openssl pkeyutl -sign -rawin -inkey ed25519.pem -in data -out ed25519.sig && digest ed25519.sig
for curve in x25519 p256 p384; do
    openssl pkeyutl -derive -inkey $curve.a.pem -peerkey $curve.b.pub -out $curve.key &&
        digest $curve.key
done
openssl dgst -sha256 -sign p256.a.pem -out p256.sig data &&
    openssl dgst -sha256 -verify p256.a.pub -signature p256.sig data && rm p256.sig

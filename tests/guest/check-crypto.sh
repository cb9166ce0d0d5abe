#!/bin/sh
# Runs in a guest and natively, in a folder that test_crypto.py has packed: OpenSSL's and libgcrypt's
# own tests, one line each.  Of a failing one the last lines follow, behind '#'.
set -u
export OPENSSL_CONF=/dev/null GCRYPT_IN_REGRESSION_TEST=1 srcdir=.
cd openssl || exit 1
verdict() {
    status=$?
    if [ $status -eq 0 ]; then
        echo "$1: ok"
    else
        echo "$1: FAILED"
        echo "# status $status"
        tail -n 30 /tmp/crypto.log | sed 's/^/# /'
    fi
}
for file in *.txt; do
    ./evp_test "$file" >/tmp/crypto.log 2>&1
    verdict "openssl ${file%.txt}"
done
cd ../gcrypt || exit 1
for name in *; do
    [ -x "$name" ] || continue
    "./$name" >/tmp/crypto.log 2>&1
    verdict "gcrypt $name"
done
rm -f /tmp/crypto.log

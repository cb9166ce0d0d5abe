#!/bin/sh
# Runs in a guest and natively, in a folder that test_crypto.py has packed: OpenSSL's and libgcrypt's
# own tests, one line each, and what `openssl speed` is to do of the file "speed": it holds each
# signature against its key.  Behind '#' follow the last lines of a failing one, and speeds.
set -u
export OPENSSL_CONF=/dev/null GCRYPT_IN_REGRESSION_TEST=1 srcdir=.
log=$(mktemp)
cd openssl || exit 1
verdict() {
    status=$?
    if [ $status -eq 0 ]; then
        echo "$1: ok"
    else
        echo "$1: FAILED"
        echo "# status $status"
        tail -n 30 "$log" | sed 's/^/# /'
    fi
}
for file in *.txt; do
    ./evp_test "$file" >"$log" 2>&1
    verdict "openssl ${file%.txt}"
done
cd ../gcrypt || exit 1
for name in *; do
    [ -x "$name" ] || continue
    "./$name" >"$log" 2>&1
    verdict "gcrypt $name"
done
cd ..
while read -r what; do
    # shellcheck disable=SC2086  # options are meant to be split
    openssl speed -mr -seconds 1 -bytes 8192 $what >"$log" 2>&1 &&
        ! grep -qi -e error -e fail "$log"
    verdict "speed $what"
    sed -n 's/^+F/# +F/p' "$log"
done <speed
rm -f "$log"

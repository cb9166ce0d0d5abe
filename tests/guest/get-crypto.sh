#!/bin/sh
# Fetches the sources of OpenSSL and libgcrypt, as Debian has them, and builds the libraries' own
# tests for the libraries that this host has, once, into a cache outside the sources.
#
#   tests/guest/get-crypto.sh        prints the path of the folder
#
# In it are openssl/evp_test with its files of known answers, and gcrypt/ with one program a test.
# Package lists and downloads are in the cache ($DRAGOMAN_CACHE, as for get-kernel.sh): the host's
# apt is not changed.
set -eu

cache=${DRAGOMAN_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/dragoman}
installed=$(dpkg-query -W -f '${Version} ' libssl-dev libgcrypt20-dev) || exit 1
# Named by what it is made of and how.
ready=$cache/crypto-$(echo "$installed" | cat - "$0" | cksum | cut -d ' ' -f 1)
if [ -e "$ready" ]; then
    echo "$ready"
    exit
fi
apt=$cache/apt-source
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

fail() {
    cat "$work/log" >&2
    echo "get-crypto: failed: $*" >&2
    exit 1
}

# Of the release itself alone: what it has does not go away.
sources() {
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' | awk '$1 == "Debian" && $3 !~ /-/ {
            print "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]", $2, $3, $4
        }' | sort -u
}

fetch() {
    sources >"$work/sources.list"
    [ -s "$work/sources.list" ] || {
        echo "get-crypto: the host has no Debian package lists; run apt-get update" >&2
        exit 1
    }
    options="-q -o Dir::State=$apt -o Dir::State::lists=$apt/lists -o Dir::Cache=$apt
        -o Dir::Etc::SourceList=$work/sources.list -o Dir::Etc::SourceParts=/dev/null"
    echo "get-crypto: fetching the sources of openssl and libgcrypt20" >&2
    # One of several archives may fail without harm: what counts is whether the package is there.
    # shellcheck disable=SC2086  # options are meant to be split, here and below
    apt-get $options update >"$work/log" 2>&1 || true
    # shellcheck disable=SC2086
    (cd "$work" && apt-get $options source --download-only openssl libgcrypt20 >>log 2>&1) ||
        fail apt-get source
    for package in openssl libgcrypt20; do
        mkdir "$work/$package"
        rm -f "$work/$package"_*.asc
        tar -xf "$work/$package"_*.orig.tar.* -C "$work/$package" --strip-components 1 \
            >>"$work/log" 2>&1 || fail "unpacking $package"
    done
}

# compile OUTPUT ARGUMENTS...
compile() {
    ${CC:-gcc} -O1 -w -o "$@" >>"$work/log" 2>&1 || fail "compiling $1"
}

openssl() {
    mkdir "$out/openssl"
    (cd "$work/openssl/test" && compile "$out/openssl/evp_test" -I.. -I../include -I../apps/include \
        -I. evp_test.c -Wl,--start-group \
        $(ls testutil/*.c | grep -vE 'fake_random|test_cleanup|test_options') ../apps/lib/opt.c \
        -lcrypto)
    cp "$work"/openssl/test/recipes/30-test_evp_data/*.txt "$out/openssl"
}

gcrypt() {
    mkdir "$out/gcrypt"
    # What their configure would write, as far as the tests look at it.
    echo '#define _GCRYPT_CONFIG_H_INCLUDED 1
#define VERSION "0"
#define HAVE_STDINT_H 1
#define HAVE_UINTPTR_T 1
#define SIZEOF_UNSIGNED_SHORT 2
#define SIZEOF_UNSIGNED_INT 4
#define SIZEOF_UNSIGNED_LONG 8
#define SIZEOF_UNSIGNED_LONG_LONG 8' >"$work/config.h"
    cp /usr/include/gcrypt.h "$work/libgcrypt20/src"
    cd "$work/libgcrypt20/tests"
    for name in basic hashtest hmac aeswrap t-kdf t-mpi-bit mpitests curves pubkey pkcs1v2 \
        fips186-dsa dsa-rfc6979 t-dsa t-ecdsa t-ed25519 t-ed448 t-cv25519 t-x448 t-rsa-15 t-rsa-pss; do
        compile "$out/gcrypt/$name" -DHAVE_CONFIG_H -DGCRYPT_NO_MPI_MACROS -I"$work" -I../src \
            "$name.c" -lgcrypt -lgpg-error
    done
    cp ./*.inp "$out/gcrypt"
}

fetch
out=$work/out
mkdir "$out"
openssl
gcrypt
mv -T "$out" "$ready" 2>/dev/null || [ -e "$ready" ] # somebody else may have been quicker
echo "$ready"

# Real programs, run by the same shell natively and in the guest: run.sh DATA NAME...
# Each prints BEGIN NAME, works, and prints END NAME and a checksum of what it computed.
data=$1
export OPENSSL_CONF=/dev/null
shift

python() { /usr/bin/python3 -I -S -B "$data/workload.py"; }
xz() { /usr/bin/xz -T1 -6 -c <"$data/text" | /usr/bin/xz -d -c; }
cc1() { (cd "$data" && ./cc1 -quiet -fpreprocessed -O2 guestbench.i -o -); }
sqlite() { /usr/bin/sqlite3 :memory: <"$data/workload.sql"; }
openssl() {
    /usr/bin/openssl enc -aes-256-ctr -pbkdf2 -iter 40000 -S 0123456789abcdef -pass pass:x -in "$data/text"
    for digest in sha256 sha512 sha3-256 blake2b512 md5; do
        /usr/bin/openssl dgst -$digest <"$data/text"
    done
    for turn in 1 2 3 4 5 6 7 8; do
        /usr/bin/openssl pkeyutl -sign -inkey "$data/rsa.pem" -in "$data/hash" -pkeyopt digest:sha256
    done
}

for name; do
    echo "BEGIN $name"
    sum=$($name | /bin/busybox md5sum | /bin/busybox cut -c1-16)
    echo "END $name $sum"
done

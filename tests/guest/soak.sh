#!/bin/sh
# One round of the soak, in the guest and natively: soak.sh DIRECTORY, with busybox's commands and
# guestbench in PATH.  What it prints must be the same everywhere.
cd "$1" || exit 1
guestbench fork exec pipe file signal jit syscall pagefault | grep END

i=0 sum=0
while [ $i -lt 60 ]; do
    sum=$((sum + $(expr $i \* 3)))
    i=$((i + 1))
done
echo "fork and exec: $sum"

echo "pipes: $(seq 1 20000 | sort -rn | sed 's/1/x/;s/3$/yy/' | tr 2 z | md5sum)"

i=0
while [ $i -lt 12 ]; do
    seq $i 4000 >file$i
    cat file$i file$i >copy
    mv copy file$i
    i=$((i + 1))
done
dd if=file3 of=file4 bs=777 seek=5 conv=notrunc 2>/dev/null
echo "files: $(cat file* | md5sum) $(cat file* | wc)"
rm file*

count=0
trap 'count=$((count + 1))' USR1
i=0
while [ $i -lt 40 ]; do
    kill -USR1 $$
    i=$((i + 1))
done
trap - USR1
sleep 1000 &
kill $!
wait $! 2>/dev/null
echo "signals: $count, killed: $?"

(exit 3) & first=$!
(seq 1 500 | awk '{ s += $1 * 1.25 / 3 } END { printf "%.9f\n", s }' >sum) & second=$!
wait $first
status=$?
wait $second
echo "jobs: $status $(cat sum)"
rm sum

seq 1 30000 | gzip -9 | gunzip | sha256sum
echo "deep: $(sh -c 'f() { if [ $1 -eq 0 ]; then echo done; else f $(($1 - 1)); fi; }; f 60')"

/* How cost grows with the work: the guest's half of scale.py.  Each argument is a workload and its
 * size; it prints "BEGIN name", works, and prints "END name checksum":
 *
 *   load-N    random loads from a working set of N MiB
 *   code-N    N KiB of fresh code, each piece called once; then again-N, ten times more
 *   spin-N    counting, split among N threads
 *   lock-N    N threads add to one counter, locked
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MIB (1ull << 20)
enum { LOADS = 1 << 24, ADDS_A_PIECE = 15, PIECE = 128, ADDITIONS = 1 << 30, LOCKED = 1 << 23 };
typedef uint64_t u64;

static void *room(u64 bytes, int prot)
{
    void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("scalebench: mmap");
        exit(1);
    }
    return p;
}

static void begin(const char *name)
{
    printf("BEGIN %s\n", name);
    fflush(stdout);
}

static void end(const char *name, u64 sum)
{
    printf("END %s %016llx\n", name, (unsigned long long)sum);
    fflush(stdout);
}

static void load(const char *name, u64 mib)
{
    u64 words = mib * MIB / 8, sum = 0, x = 88172645463325252ull;
    u64 *p = room(words * 8, PROT_READ | PROT_WRITE);
    for (u64 i = 0; i < words; i += 512)
        p[i] = i;
    begin(name);
    for (unsigned i = 0; i < LOADS; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        sum += p[(x >> 20) % words];
    }
    end(name, sum);
    munmap(p, words * 8);
}

/* Pieces of code: ADDS_A_PIECE times `add $imm32, %eax`, then `ret`; a cache line or two each. */
static uint8_t *make_code(u64 bytes)
{
    uint8_t *p = room(bytes, PROT_READ | PROT_WRITE | PROT_EXEC);
    for (u64 at = 0; at < bytes; at += PIECE) {
        uint8_t *q = p + at;
        for (unsigned i = 0; i < ADDS_A_PIECE; i++, q += 5) {
            uint32_t imm = (uint32_t)(at + i);
            *q = 0x05;
            memcpy(q + 1, &imm, 4);
        }
        *q = 0xc3;
    }
    return p;
}

static u64 call_all(const uint8_t *code, u64 bytes)
{
    u64 sum = 0;
    for (u64 at = 0; at < bytes; at += PIECE) {
        uint32_t r = 0;
        __asm__ volatile("call *%1" : "+a"(r) : "r"(code + at) : "memory", "cc");
        sum += r;
    }
    return sum;
}

static void code(const char *name, u64 kib)
{
    u64 bytes = kib << 10, sum = 0;
    uint8_t *p = make_code(bytes);
    begin(name);
    end(name, call_all(p, bytes));
    char again[32];
    snprintf(again, sizeof again, "again-%llu", (unsigned long long)kib);
    begin(again);
    for (unsigned i = 0; i < 10; i++)
        sum += call_all(p, bytes);
    end(again, sum);
    munmap(p, bytes);
}

static _Atomic u64 counter;
static u64 share;

static void *spin(void *result)
{
    u64 n = 0;
    for (u64 i = 0; i < share; i++) {
        __asm__ volatile("" : "+r"(n));
        n += i;
    }
    *(u64 *)result = n;
    return NULL;
}

static void *add_locked(void *result)
{
    for (u64 i = 0; i < share; i++)
        atomic_fetch_add(&counter, 1);
    *(u64 *)result = 0;
    return NULL;
}

static void threads(const char *name, u64 n, void *(*work)(void *), u64 steps)
{
    pthread_t thread[64];
    u64 result[64], sum = 0;
    if (n < 1 || n > 64)
        exit(2);
    share = steps / n;
    counter = 0;
    begin(name);
    for (u64 i = 0; i < n; i++)
        pthread_create(&thread[i], NULL, work, &result[i]);
    for (u64 i = 0; i < n; i++)
        pthread_join(thread[i], NULL);
    for (u64 i = 0; i < n; i++)
        sum += result[i];
    end(name, sum + counter);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *dash = strchr(argv[i], '-');
        u64 n = dash ? strtoull(dash + 1, NULL, 10) : 0;
        if (!n) {
            fprintf(stderr, "scalebench: %s is not a workload and its size\n", argv[i]);
            return 2;
        }
        if (!strncmp(argv[i], "load-", 5))
            load(argv[i], n);
        else if (!strncmp(argv[i], "code-", 5))
            code(argv[i], n);
        else if (!strncmp(argv[i], "spin-", 5))
            threads(argv[i], n, spin, ADDITIONS);
        else if (!strncmp(argv[i], "lock-", 5))
            threads(argv[i], n, add_locked, LOCKED);
        else
            return 2;
    }
    return 0;
}

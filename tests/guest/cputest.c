/* What a processor model must not change: results of the C library's string and mathematical
 * functions, OpenSSL's ciphers and digests, libgcrypt's self-tests, all of which choose their code
 * by CPUID; and that instructions exist exactly where CPUID says so.
 *
 *   cputest [string|math|openssl|gcrypt|isa]...
 *
 * Prints a line per group of results, to be compared with those of another processor.  The
 * libraries are opened at run time, so that only libc is needed to build this.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>
#include <wchar.h>

static uint64_t hash, seed = 1;

static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void mix(uint64_t v)
{
    hash = (hash ^ v) * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 29;
}

static void mix_bytes(const void *p, size_t n)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++)
        mix(b[i]);
}

static void begin(void)
{
    hash = 0;
    seed = 88172645463325252ull;
}

static void end(const char *what)
{
    printf("%s %016llx\n", what, (unsigned long long)hash);
}

static void *need(void *p, const char *what)
{
    if (!p) {
        printf("missing: %s: %s\n", what, dlerror());
        exit(1);
    }
    return p;
}

/* ---- strings: buffers that end where the mapping ends ---- */

enum { PAGE = 4096, ROOM = 24 * PAGE };

static char *guarded(void)
{
    char *p = mmap(NULL, ROOM + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || munmap(p + ROOM, PAGE))
        exit(1);
    return p;
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void strings_at(char *a, char *b, size_t n)
{
    int c = 'a' + (int)(rnd() % 6);
    a[n] = b[n] = 0;
    mix(strlen(a));
    mix(strnlen(a, n / 2 + 1));
    char *found[] = {strchr(a, c), strrchr(a, c), strchrnul(a, c), memchr(a, c, n),
                     memrchr(a, c, n), rawmemchr(a, 0), strpbrk(a, "xyz"), strstr(a, "fad"),
                     strcasestr(a, "FADE"), memmem(a, n, "cab", 3)};
    for (size_t i = 0; i < sizeof found / sizeof *found; i++)
        mix(found[i] ? (uint64_t)(found[i] - a) : ~0ull);
    mix((uint64_t)sign(strcmp(a, b)) + 2 * (uint64_t)sign(strcasecmp(a, b)));
    mix((uint64_t)sign(strncmp(a, b, n / 2)) + 2 * (uint64_t)sign(strncasecmp(a, b, n / 3)));
    mix((uint64_t)sign(memcmp(a, b, n)) + 2 * (uint64_t)!bcmp(a, b, n));
    mix(strspn(a, "abcd"));
    mix(strcspn(a, "ef"));
}

static void copies_at(char *a, char *b, char *to, size_t n)
{
    memcpy(to, a, n);
    memmove(to + n / 3, to, n - n / 3);
    memmove(to, to + n / 5, n - n / 5);
    mix_bytes(to, n);
    memset(to, (int)n, n / 2);
    *(char *)mempcpy(to + n / 2, b, n / 4) = 'q';
    mix_bytes(to, n);
    mix((uint64_t)(stpcpy(to, a) - to));
    strncpy(to, b, n / 2 + 1);
    mix_bytes(to, n / 2 + 1);
    to[n / 4] = 0;
    strncat(to, a, n / 2);
    mix(strlen(to));
}

static void wide_at(char *at, size_t n)
{
    wchar_t *w = (wchar_t *)((uintptr_t)at & ~(uintptr_t)3);
    for (size_t i = 0; i < n; i++)
        w[i] = (wchar_t)('a' + rnd() % 6);
    w[n] = 0;
    wchar_t *c = wcschr(w, 'c'), *m = wmemchr(w, 'e', n), *r = wcsrchr(w, 'b');
    mix(wcslen(w) + wcsnlen(w, n / 2));
    mix((c ? (uint64_t)(c - w) : 77) + (m ? (uint64_t)(m - w) : 78) + (r ? (uint64_t)(r - w) : 79));
    mix((uint64_t)sign(wcscmp(w, w + n / 2)) + 3 * (uint64_t)sign(wmemcmp(w, w + n / 2, n / 2)));
}

static void strings(void)
{
    char *a = guarded(), *b = guarded(), *to = guarded();
    begin();
    for (unsigned round = 0; round < 1500; round++) {
        size_t n = round < 300 ? round % 150 : rnd() % (round % 8 ? 700 : 4 * PAGE);
        char *x = a + ROOM - n - 1 - (round & 1 ? rnd() % 64 : 0);
        char *y = b + ROOM - n - 1 - (round & 2 ? rnd() % 64 : 0);
        for (size_t i = 0; i < n; i++)
            x[i] = y[i] = (char)('a' + rnd() % 6);
        if (n && round % 3)
            y[rnd() % n] = (char)rnd() | 1;
        strings_at(x, y, n);
        copies_at(x, y, to + ROOM - 2 * n - 2 - rnd() % 64, n);
        wide_at(to + ROOM - 4 * (n + 2), n);
    }
    end("string");
}

/* ---- mathematics ---- */

static void mix_double(double v)
{
    uint64_t u;
    memcpy(&u, &v, 8);
    mix(v != v ? 1 : u);
}

static double value(unsigned round)
{
    double v = ((double)(int64_t)rnd()) / 9.3e18 * pow(2, (double)(round % 40) - 20);
    return round % 97 == 0 ? (round & 1 ? HUGE_VAL : 0.0) : v;
}

static void mathematics(void)
{
    static double (*const one[])(double) = {
        sin, cos, tan, asin, acos, atan, exp, exp2, expm1, log, log2, log10, log1p, sinh, cosh,
        tanh, sqrt, cbrt, floor, ceil, trunc, rint, nearbyint, round, erf, tgamma, lgamma,
    };
    static float (*const onef[])(float) = {sinf, cosf, tanf, expf, exp2f, logf, log2f, floorf,
                                           ceilf, truncf, rintf, nearbyintf, atanf, sqrtf};
    begin();
    for (unsigned round = 0; round < 3000; round++) {
        double x = value(round), y = value(round * 7 + 1), z = value(round * 3 + 2);
        double s, c;
        float sf, cf;
        for (size_t i = 0; i < sizeof one / sizeof *one; i++)
            mix_double(one[i](x));
        for (size_t i = 0; i < sizeof onef / sizeof *onef; i++)
            mix_double(onef[i]((float)y));
        sincos(y, &s, &c);
        sincosf((float)x, &sf, &cf);
        mix_double(s + 2 * c);
        mix_double(sf + 2 * cf);
        mix_double(pow(fabs(x), y));
        mix_double(powf(fabsf((float)x), (float)z));
        mix_double(atan2(x, y));
        mix_double(fma(x, y, z));
        mix_double(fmaf((float)x, (float)y, (float)z));
        mix_double(hypot(x, y));
        mix_double(fmod(x, z));
        mix_double((double)cosl((long double)x));
    }
    end("math");
}

/* ---- OpenSSL ---- */

enum { BLOCK = 100003 };
static unsigned char text[BLOCK], cipher[BLOCK + 64], back[BLOCK + 64], key[64], iv[16];

static void digests(void *lib)
{
    static const char *const names[] = {
        "MD5", "SHA1", "SHA224", "SHA256", "SHA384", "SHA512", "SHA512-256", "SHA3-224",
        "SHA3-256", "SHA3-512", "BLAKE2b512", "BLAKE2s256", "SM3", "RIPEMD160",
    };
    const void *(*by_name)(const char *) = need(dlsym(lib, "EVP_get_digestbyname"), "digest names");
    int (*digest)(const void *, size_t, void *, unsigned *, const void *, void *) =
        need(dlsym(lib, "EVP_Digest"), "EVP_Digest");
    void *(*hmac)(const void *, const void *, int, const void *, size_t, void *, unsigned *) =
        need(dlsym(lib, "HMAC"), "HMAC");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const void *md = by_name(names[i]);
        char line[40];
        begin();
        for (unsigned k = 0; md && k < 40; k++) {
            unsigned char out[64] = {0};
            unsigned n = 0;
            size_t len = k < 32 ? k * 37 : BLOCK - k;
            mix((uint64_t)digest(text + k, len, out, &n, md, NULL));
            hmac(md, key, 32, text + k, len, out + 32 * (n < 32), &n);
            mix_bytes(out, sizeof out);
        }
        snprintf(line, sizeof line, "digest %s", names[i]);
        end(line);
    }
}

struct evp {
    void *(*ctx_new)(void);
    void (*ctx_free)(void *);
    const void *(*by_name)(const char *);
    int (*init)(void *, const void *, void *, const void *, const void *, int);
    int (*update)(void *, unsigned char *, int *, const unsigned char *, int);
    int (*final)(void *, unsigned char *, int *);
    int (*ctrl)(void *, int, int, void *);
};

/* Encrypts or decrypts; the length, -1 when it was refused.  tag: 16 bytes, for AEAD modes. */
static int run_cipher(const struct evp *e, const void *type, const unsigned char *in, int len,
                 unsigned char *out, unsigned char *tag, int enc)
{
    enum { GET_TAG = 0x10, SET_TAG = 0x11 };
    void *ctx = e->ctx_new();
    int n = 0, m = 0, ok = e->init(ctx, type, NULL, key, iv, enc);
    if (tag && !enc)
        ok = ok && e->ctrl(ctx, SET_TAG, 16, tag);
    if (tag)
        ok = ok && e->update(ctx, NULL, &n, key, 20);
    /* In uneven pieces. */
    int first = len / 3, got = 0;
    ok = ok && e->update(ctx, out, &n, in, first);
    got = n;
    ok = ok && e->update(ctx, out + got, &n, in + first, len - first);
    got += n;
    ok = ok && e->final(ctx, out + got, &m);
    if (tag && enc)
        ok = ok && e->ctrl(ctx, GET_TAG, 16, tag);
    e->ctx_free(ctx);
    return ok ? got + m : -1;
}

static void ciphers(void *lib)
{
    static const char *const names[] = {
        "AES-128-ECB", "AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "AES-128-CTR", "AES-256-CTR",
        "AES-128-CFB", "AES-256-OFB", "id-aes128-GCM", "id-aes256-GCM", "ChaCha20",
        "ChaCha20-Poly1305", "CAMELLIA-128-CBC", "CAMELLIA-256-CTR", "ARIA-128-CBC", "SM4-CBC",
        "DES-EDE3-CBC",
    };
    struct evp e = {
        need(dlsym(lib, "EVP_CIPHER_CTX_new"), "ctx"), need(dlsym(lib, "EVP_CIPHER_CTX_free"), "free"),
        need(dlsym(lib, "EVP_get_cipherbyname"), "names"), need(dlsym(lib, "EVP_CipherInit_ex"), "init"),
        need(dlsym(lib, "EVP_CipherUpdate"), "update"), need(dlsym(lib, "EVP_CipherFinal_ex"), "final"),
        need(dlsym(lib, "EVP_CIPHER_CTX_ctrl"), "ctrl"),
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const void *type = e.by_name(names[i]);
        int aead = strstr(names[i], "GCM") || strstr(names[i], "Poly");
        char line[60];
        const char *verdict = type ? "" : " absent";
        begin();
        for (int k = 0; type && k < 6; k++) {
            unsigned char tag[16];
            int len = k < 5 ? k * 241 : BLOCK - 50;
            int n = run_cipher(&e, type, text + k, len, cipher, aead ? tag : NULL, 1);
            mix((uint64_t)n);
            mix_bytes(cipher, n > 0 ? (size_t)n : 0);
            if (aead)
                mix_bytes(tag, 16);
            int m = n < 0 ? -1 : run_cipher(&e, type, cipher, n, back, aead ? tag : NULL, 0);
            if (m != len || memcmp(back, text + k, (size_t)len))
                verdict = " DOES NOT COME BACK";
        }
        snprintf(line, sizeof line, "cipher %s%s", names[i], verdict);
        end(line);
    }
}

static void openssl(void)
{
    void *lib = need(dlopen("libcrypto.so.3", RTLD_NOW), "libcrypto");
    begin();
    for (size_t i = 0; i < BLOCK; i++)
        text[i] = (unsigned char)rnd();
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)rnd();
    memcpy(iv, text + 77, 16);
    digests(lib);
    ciphers(lib);
}

/* ---- libgcrypt ---- */

static void gcrypt(void)
{
    enum { SELFTEST = 57, DISABLE_SECMEM = 37, INIT_FINISHED = 38 };
    void *lib = need(dlopen("libgcrypt.so.20", RTLD_NOW), "libgcrypt");
    const char *(*version)(const char *) = need(dlsym(lib, "gcry_check_version"), "version");
    unsigned (*control)(int, ...) = need(dlsym(lib, "gcry_control"), "control");
    if (!version(NULL))
        exit(1);
    control(DISABLE_SECMEM, 0);
    control(INIT_FINISHED, 0);
    printf("gcrypt self-tests %u\n", control(SELFTEST));
}

/* ---- CPUID and the instructions, for 64-bit code ---- */

#ifdef __x86_64__

static sigjmp_buf escape;

static void on_illegal(int sig)
{
    (void)sig;
    siglongjmp(escape, 1);
}

static const struct probe {
    const char *name;
    unsigned leaf, reg, bit; /* reg: 0 EAX to 3 EDX */
    unsigned char code[12];  /* ends with RET; registers that the caller keeps stay */
} probes[] = {
    {"sse3", 1, 2, 0, {0xf2, 0x0f, 0xd0, 0xc0, 0xc3}},
    {"pclmulqdq", 1, 2, 1, {0x66, 0x0f, 0x3a, 0x44, 0xc0, 0, 0xc3}},
    {"ssse3", 1, 2, 9, {0x66, 0x0f, 0x38, 0x00, 0xc0, 0xc3}},
    {"sse4.1", 1, 2, 19, {0x66, 0x0f, 0x38, 0x17, 0xc0, 0xc3}},
    {"sse4.2", 1, 2, 20, {0xf2, 0x0f, 0x38, 0xf1, 0xc0, 0xc3}},
    {"movbe", 1, 2, 22, {0x0f, 0x38, 0xf0, 0x04, 0x24, 0xc3}},
    {"popcnt", 1, 2, 23, {0xf3, 0x0f, 0xb8, 0xc0, 0xc3}},
    {"aes", 1, 2, 25, {0x66, 0x0f, 0x38, 0xdc, 0xc0, 0xc3}},
    {"osxsave", 1, 2, 27, {0x31, 0xc9, 0x0f, 0x01, 0xd0, 0xc3}},
    {"avx", 1, 2, 28, {0xc5, 0xfc, 0x57, 0xc0, 0xc5, 0xf8, 0x77, 0xc3}},
    {"fma", 1, 2, 12, {0xc4, 0xe2, 0xf9, 0x98, 0xc0, 0xc3}},
    {"f16c", 1, 2, 29, {0xc4, 0xe2, 0x79, 0x13, 0xc0, 0xc3}},
    {"rdrand", 1, 2, 30, {0x0f, 0xc7, 0xf0, 0xc3}},
    {"bmi1", 7, 1, 3, {0xc4, 0xe2, 0x78, 0xf2, 0xc0, 0xc3}},
    {"avx2", 7, 1, 5, {0xc5, 0xfd, 0xfc, 0xc0, 0xc5, 0xf8, 0x77, 0xc3}},
    {"bmi2", 7, 1, 8, {0xc4, 0xe3, 0x7b, 0xf0, 0xc0, 1, 0xc3}},
    {"rdseed", 7, 1, 18, {0x0f, 0xc7, 0xf8, 0xc3}},
    {"adx", 7, 1, 19, {0x66, 0x0f, 0x38, 0xf6, 0xc0, 0xc3}},
    {"clflushopt", 7, 1, 23, {0x66, 0x0f, 0xae, 0x3c, 0x24, 0xc3}},
    {"clwb", 7, 1, 24, {0x66, 0x0f, 0xae, 0x34, 0x24, 0xc3}},
    {"sha", 7, 1, 29, {0x0f, 0x38, 0xc8, 0xc0, 0xc3}},
    {"gfni", 7, 2, 8, {0x66, 0x0f, 0x38, 0xcf, 0xc0, 0xc3}},
    {"vaes", 7, 2, 9, {0xc4, 0xe2, 0x7d, 0xdc, 0xc0, 0xc5, 0xf8, 0x77, 0xc3}},
    {"vpclmulqdq", 7, 2, 10, {0xc4, 0xe3, 0x7d, 0x44, 0xc0, 0, 0xc5, 0xf8, 0x77, 0xc3}},
    {"rdpid", 7, 2, 22, {0xf3, 0x0f, 0xc7, 0xf8, 0xc3}},
    {"sse4a", 0x80000001, 2, 6, {0xf2, 0x0f, 0x79, 0xc0, 0xc3}},
    {"lahf", 0x80000001, 2, 0, {0x9f, 0xc3}},
    {"rdtscp", 0x80000001, 3, 27, {0x0f, 0x01, 0xf9, 0xc3}},
};

static int runs(const struct probe *p, unsigned char *page)
{
    memcpy(page, p->code, sizeof p->code);
    if (sigsetjmp(escape, 1))
        return 0;
    __asm__ volatile("sub $256, %%rsp\n call *%0\n add $256, %%rsp"
                     :
                     : "r"(page)
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "xmm0", "cc", "memory");
    return 1;
}

static void isa(void)
{
    unsigned char *page =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned wrong = 0, have = 0;
    if (page == MAP_FAILED)
        exit(1);
    signal(SIGILL, on_illegal);
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        const struct probe *p = &probes[i];
        unsigned r[4] = {0};
        __get_cpuid_count(p->leaf, 0, &r[0], &r[1], &r[2], &r[3]);
        int told = r[p->reg] >> p->bit & 1, is = runs(p, page);
        have += (unsigned)told;
        if (told != is) {
            printf("isa %s: CPUID says %d, execution %d\n", p->name, told, is);
            wrong++;
        }
    }
    printf("isa: %u wrong\n# isa: %u there\n", wrong, have);
}

#endif

int main(int argc, char **argv)
{
    static const struct { const char *name; void (*run)(void); } parts[] = {
        {"string", strings}, {"math", mathematics}, {"openssl", openssl}, {"gcrypt", gcrypt},
#ifdef __x86_64__
        {"isa", isa},
#endif
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        int wanted = argc == 1;
        for (int k = 1; k < argc; k++)
            wanted |= !strcmp(argv[k], parts[i].name);
        if (wanted)
            parts[i].run();
        fflush(stdout);
    }
    return 0;
}

/* Reporting for guest tests; see guest.h.  Compiled for 32 and for 64 bits. */
#include "tests/guest/lib/guest.h"

#include <stdarg.h>

enum { COM1 = 0x3f8, DEBUG_PORT = 0xe9, EXIT_PORT = 0xf4, GOOD = 0x10, BAD = 0x11 };
enum { NAMES_SHOWN = 64, TIMES_SHOWN = 2 };

/* Names that failed: each is shown a few times only, however often a matrix runs into it. */
static struct {
    const char *group, *name;
    unsigned times;
} shown[NAMES_SHOWN];

const char *check_group = "";
static u32 checks, failures;

void *memcpy(void *to, const void *from, size_t n)
{
    void *result = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return result;
}

void *memset(void *to, int v, size_t n)
{
    void *result = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(v) : "memory");
    return result;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const u8 *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

static void put(char c)
{
    for (unsigned i = 0; i < 100000 && !(inb(COM1 + 5) & 0x20); i++)
        ;
    outb(COM1, (u8)c);
    outb(DEBUG_PORT, (u8)c);
}

static void put_hex(u64 v)
{
    unsigned shift = 60;
    while (shift && !(v >> shift & 0xf))
        shift -= 4;
    for (;; shift -= 4) {
        put("0123456789abcdef"[v >> shift & 0xf]);
        if (!shift)
            break;
    }
}

void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(*fmt);
        } else if (*++fmt == 's') {
            for (const char *s = va_arg(ap, const char *); *s; s++)
                put(*s);
        } else if (*fmt == 'x') {
            put_hex(va_arg(ap, u32));
        } else { /* %lx, %llx */
            fmt += fmt[1] == 'l' ? 2 : 1;
            put_hex(va_arg(ap, u64));
        }
    }
    va_end(ap);
}

bool check_quiet(const char *name, bool good)
{
    unsigned i;
    checks++;
    if (good)
        return true;
    failures++;
    for (i = 0; i < NAMES_SHOWN && shown[i].name; i++)
        if (shown[i].name == name && shown[i].group == check_group)
            break;
    if (i == NAMES_SHOWN)
        return true;
    shown[i].name = name;
    shown[i].group = check_group;
    if (++shown[i].times > TIMES_SHOWN)
        return true;
    say("FAIL %s%s", check_group, name);
    return false;
}

void check(const char *name, bool good)
{
    if (!check_quiet(name, good))
        say("\n");
}

void check_eq(const char *name, u64 got, u64 want)
{
    if (!check_quiet(name, got == want))
        say(": %llx, not %llx\n", (unsigned long long)got, (unsigned long long)want);
}

bool under_tcg(void)
{
    u32 r[4];
    cpuid(0x40000000, r);
    return r[1] == 0x54474354 && r[2] == 0x43544743; /* "TCGTCGTCGTCG" */
}

void finish(void)
{
    say("RESULT checks %x failed %x\n", checks, failures);
    outb(EXIT_PORT, failures ? BAD : GOOD);
    for (;;)
        __asm__ volatile("cli; hlt");
}

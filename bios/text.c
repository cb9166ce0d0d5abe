/* Strings, sums of bytes and formatted console output of the 32-bit half. */
#include <stdarg.h>

#include "bios/post.h"

void *memcpy(void *to, const void *from, u32 n)
{
    void *d = to;
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, u32 n)
{
    u8 *d = to;
    const u8 *s = from;
    if (d <= s)
        return memcpy(to, from, n);
    while (n--)
        d[n] = s[n];
    return to;
}

void *memset(void *to, int c, u32 n)
{
    void *d = to;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, u32 n)
{
    const u8 *x = a, *y = b;
    for (u32 i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

u32 strlen(const char *s)
{
    u32 n = 0;
    while (s[n])
        n++;
    return n;
}

u8 checksum(const void *p, u32 n)
{
    u8 sum = 0;
    for (const u8 *b = p; n--; b++)
        sum = (u8)(sum + *b);
    return (u8)-sum;
}

void checksum_set(void *p, u32 n, u32 at)
{
    u8 *bytes = p;
    bytes[at] = 0;
    bytes[at] = checksum(p, n);
}

static void put(char c)
{
    if (c == '\n')
        put('\r');
    struct int_regs r = {.eax = 0x0e00 | (u8)c, .ebx = 0x0007};
    bios_int(0x10, &r);
}

static void put_number(u32 v, u32 base)
{
    char digits[12];
    u32 n = 0;
    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    while (n)
        put(digits[--n]);
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    for (const char *p = format; *p; p++) {
        if (*p != '%') {
            put(*p);
            continue;
        }
        switch (*++p) {
        case 's':
            for (const char *s = va_arg(args, const char *); *s; s++)
                put(*s);
            break;
        case 'u': put_number(va_arg(args, u32), 10); break;
        case 'x': put_number(va_arg(args, u32), 16); break;
        case 'c': put((char)va_arg(args, int)); break;
        default: put('%'); break;
        }
    }
    va_end(args);
}

/* Log categories, log file and user-facing errors. */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

u32 log_mask;

static FILE *log_file;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*exit_hook)(void);

static const struct {
    const char *name, *help;
} categories[] = {
#define X(name, help) {#name, help},
    LOG_CATEGORIES(X)
#undef X
};

void log_print(const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    pthread_mutex_lock(&log_lock);
    FILE *f = log_file ? log_file : stderr;
    fputs(text, f);
    if (!n || text[n - 1] != '\n')
        fputc('\n', f);
    fflush(f);
    pthread_mutex_unlock(&log_lock);
    free(text);
}

char *log_parse(const char *list, u32 *mask)
{
    u32 result = 0;
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        unsigned i = 0;
        while (i < ARRAY_SIZE(categories) &&
               !(strlen(categories[i].name) == n && !memcmp(categories[i].name, p, n)))
            i++;
        if (i == ARRAY_SIZE(categories))
            return strndup(p, n);
        result |= 1u << i;
        p += n;
        p += *p == ',';
    }
    *mask = result;
    return NULL;
}

int log_open(const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return errno;
    pthread_mutex_lock(&log_lock);
    FILE *old = log_file;
    log_file = f;
    pthread_mutex_unlock(&log_lock);
    if (old)
        fclose(old);
    return 0;
}

void log_help(void)
{
    printf("Log categories (-d a,b,c):\n");
    for (unsigned i = 0; i < ARRAY_SIZE(categories); i++)
        printf("  %-14s %s\n", categories[i].name, categories[i].help);
}

static void report(const char *fmt, va_list ap)
{
    fputs("dragoman: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
}

void error_report(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    report(fmt, ap);
    va_end(ap);
}

char *error_text(const char *fmt, ...)
{
    va_list ap;
    char *text = NULL;
    va_start(ap, fmt);
    if (vasprintf(&text, fmt, ap) < 0)
        text = NULL;
    va_end(ap);
    return text;
}

void error_set_exit_hook(void (*hook)(void))
{
    exit_hook = hook;
}

void fatal(const char *fmt, ...)
{
    va_list ap;
    if (exit_hook)
        exit_hook();
    va_start(ap, fmt);
    report(fmt, ap);
    va_end(ap);
    exit(1);
}

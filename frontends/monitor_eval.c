/* Expressions of the monitor: C's operators + - * / % & | ^ ~ << >> ( ), numbers and $registers.
 * Arithmetic is unsigned 64 bits. */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "cpu/cpu.h"
#include "frontends/monitor.h"

#define DEPTH 64

struct parser {
    struct cpu *cpu;
    const char *p;
    const char *error;
    unsigned depth;
};

static u64 expression(struct parser *s, unsigned level);

static bool fail(struct parser *s, const char *text)
{
    if (!s->error)
        s->error = text;
    return false;
}

static char peek_char(struct parser *s)
{
    while (isspace((unsigned char)*s->p))
        s->p++;
    return *s->p;
}

static bool find_register(struct cpu *cpu, const char *name, u64 *v)
{
    static const char *const gprs[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    static const char *const segs[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
    const struct {
        const char *name;
        u64 value;
    } others[] = {
        {"cr0", cpu->cr0}, {"cr2", cpu->cr2}, {"cr3", cpu->cr3}, {"cr4", cpu->cr4},
        {"efer", cpu->efer}, {"rflags", cpu_eflags(cpu)}, {"eflags", cpu_eflags(cpu)},
        {"gdtr", cpu->gdt.base}, {"idtr", cpu->idt.base}, {"tr", cpu->seg[SEG_TR].base},
        {"fs_base", cpu->seg[SEG_FS].base}, {"gs_base", cpu->seg[SEG_GS].base},
        /* As in QEMU, the linear address of the next instruction. */
        {"rip", cpu->seg[SEG_CS].base + cpu->rip}, {"eip", cpu->seg[SEG_CS].base + cpu->rip},
        {"pc", cpu->seg[SEG_CS].base + cpu->rip},
    };
    for (unsigned i = 0; i < 16; i++) {
        bool narrow = i < 8 && name[0] == 'e' && !strcasecmp(name + 1, gprs[i] + 1);
        if (!strcasecmp(name, gprs[i]) || narrow) {
            *v = narrow ? (u32)cpu->gpr[i] : cpu->gpr[i];
            return true;
        }
    }
    for (unsigned i = 0; i < 6; i++) {
        if (!strcasecmp(name, segs[i])) {
            *v = cpu->seg[i].selector;
            return true;
        }
    }
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
        if (!strcasecmp(name, others[i].name)) {
            *v = others[i].value;
            return true;
        }
    }
    return false;
}

static u64 register_value(struct parser *s)
{
    char name[16];
    unsigned n = 0;
    u64 v = 0;
    for (s->p++; isalnum((unsigned char)*s->p) || *s->p == '_'; s->p++)
        if (n < sizeof name - 1)
            name[n++] = *s->p;
    name[n] = 0;
    if (!find_register(s->cpu, name, &v))
        fail(s, "unknown register");
    return v;
}

static u64 unary(struct parser *s)
{
    char c = peek_char(s);
    u64 v = 0;
    if (++s->depth > DEPTH) {
        fail(s, "the expression is too deep");
    } else if (c == '-' || c == '+' || c == '~') {
        s->p++;
        v = unary(s);
        v = c == '-' ? -v : c == '~' ? ~v : v;
    } else if (c == '(') {
        s->p++;
        v = expression(s, 0);
        if (peek_char(s) == ')')
            s->p++;
        else
            fail(s, "')' is missing");
    } else if (c == '$') {
        v = register_value(s);
    } else if (c == '\'' && s->p[1] && s->p[2] == '\'') {
        v = (u8)s->p[1];
        s->p += 3;
    } else if (isdigit((unsigned char)c)) {
        char *end;
        v = strtoull(s->p, &end, 0);
        s->p = end;
    } else {
        fail(s, c ? "a number or $register is expected" : "an expression is expected");
    }
    s->depth--;
    return v;
}

/* Binary operators by precedence, loosest first; returns the level of the one at p, or -1. */
static int operator_at(const char *p, unsigned *length)
{
    static const struct {
        const char *text;
        int level;
    } operators[] = {{"|", 0}, {"^", 1}, {"&", 2}, {"<<", 3}, {">>", 3},
                     {"+", 4}, {"-", 4}, {"*", 5}, {"/", 5},  {"%", 5}};
    for (unsigned i = 0; i < ARRAY_SIZE(operators); i++) {
        *length = (unsigned)strlen(operators[i].text);
        if (!strncmp(p, operators[i].text, *length))
            return operators[i].level;
    }
    return -1;
}

static u64 calculate(struct parser *s, char op, u64 a, u64 b)
{
    switch (op) {
    case '|': return a | b;
    case '^': return a ^ b;
    case '&': return a & b;
    case '<': return b < 64 ? a << b : 0;
    case '>': return b < 64 ? a >> b : 0;
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    default:
        if (!b) {
            fail(s, "division by zero");
            return 0;
        }
        return op == '/' ? a / b : a % b;
    }
}

static u64 expression(struct parser *s, unsigned level)
{
    u64 v = level < 6 ? expression(s, level + 1) : unary(s);
    if (level == 6)
        return v;
    for (;;) {
        unsigned length;
        peek_char(s);
        if (s->error || operator_at(s->p, &length) != (int)level)
            return v;
        char op = *s->p;
        s->p += length;
        u64 right = expression(s, level + 1);
        v = calculate(s, op, v, right);
    }
}

bool monitor_eval(struct cpu *cpu, const char **text, u64 *value, const char **error)
{
    struct parser s = {.cpu = cpu, .p = *text};
    *value = expression(&s, 0);
    if (!s.error && peek_char(&s))
        fail(&s, "the expression goes on with something unknown");
    *text = s.p;
    if (s.error)
        *error = s.error;
    return !s.error;
}

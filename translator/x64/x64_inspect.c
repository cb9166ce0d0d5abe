/* The teaching view of host code: guest instructions as headings, under each its IR ops on the left
 * and on the right what they became, with addresses; at the end what lies out of line.  Also the
 * names of blocks for Linux's perf.
 *
 * Reads the selector's tables and the emitted bytes only.  Comments behind an instruction are found
 * in the disassembler's text: guest registers by their homes, fields of struct cpu by their offset
 * from RSP, thunks and helpers by their address.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "translator/inspect.h"
#include "translator/x64/x64_engine.h"

#define LEFT_COLUMN 44
#define CODE_COLUMN 52
#define TEXT_MAX 160

/* Numbered alike in guest and host. */
static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                      "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

/* ---- names ---- */

struct known_field {
    const char *name;
    s32 offset;
    u32 size, element; /* element: bytes of one of an array, else 0 */
};
#define PLAIN(f) {#f, CPU_OFF(f), sizeof(((struct cpu *)0)->f), 0}
#define LIST(f) {#f, CPU_OFF(f), sizeof(((struct cpu *)0)->f), sizeof(((struct cpu *)0)->f[0])}
static const struct known_field known_fields[] = {
    PLAIN(requests),    PLAIN(lazy_kind), PLAIN(lazy_a),     PLAIN(lazy_b),
    PLAIN(rip),         PLAIN(eflags),    PLAIN(hflags),     PLAIN(mxcsr),
    PLAIN(host_sp),     PLAIN(host_ret),  PLAIN(host_mxcsr), PLAIN(guest_mxcsr_host),
    LIST(spill),        LIST(vspill),     PLAIN(slow_addr),  LIST(slow_value),
    LIST(scratch),      LIST(call_arg),   PLAIN(exit_id),    LIST(seg),
    PLAIN(mmu.context), LIST(xmm),        PLAIN(x87),        PLAIN(x87_host),
    PLAIN(vec_host),    PLAIN(cpl),       PLAIN(irq_shadow), PLAIN(shadow_rip),
    PLAIN(pins),
};
#undef PLAIN
#undef LIST

static void put_field(FILE *out, s64 offset)
{
    static const char *const segs[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    if (offset >= CPU_OFF(gpr) && offset < CPU_OFF(gpr) + 128) {
        fprintf(out, " %s", names[(offset - CPU_OFF(gpr)) / 8]);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(known_fields); i++) {
        const struct known_field *f = &known_fields[i];
        s64 in = offset - f->offset;
        if (in < 0 || in >= (s64)f->size)
            continue;
        if (f->offset == CPU_OFF(seg))
            fprintf(out, " cpu.seg[%s]", segs[in / f->element]);
        else if (f->element)
            fprintf(out, " cpu.%s[%lld]", f->name, (long long)(in / f->element));
        else
            fprintf(out, " cpu.%s", f->name);
        return;
    }
    fprintf(out, " cpu + %#llx", (unsigned long long)offset);
}

/* Bare name of a general register in any width ("r10d", "cl", "sil"), or X_NONE. */
static unsigned host_register(const char *word, size_t len)
{
    static const char *const old[8] = {"ax", "cx", "dx", "bx", "sp", "bp", "si", "di"};
    char w[8] = "";
    if (len < 2 || len >= sizeof w)
        return X_NONE;
    memcpy(w, word, len);
    if (w[0] == 'r' && isdigit((unsigned char)w[1])) {
        char *end;
        unsigned long n = strtoul(w + 1, &end, 10);
        return n < 16 && (!*end || (strchr("dwb", *end) && !end[1])) ? (unsigned)n : X_NONE;
    }
    const char *p = len == 3 && (w[0] == 'r' || w[0] == 'e') ? w + 1 : w;
    for (unsigned i = 0; i < 8; i++) {
        bool whole = !strcmp(p, old[i]);
        bool low = p == w && !strncmp(w, old[i], i < 4 ? 1 : 2) && w[i < 4 ? 1 : 2] == 'l' &&
                   len == (i < 4 ? 2u : 3u);
        if (whole || low)
            return i;
    }
    return X_NONE;
}

static void put_thunk(FILE *out, const struct x64_thunks *t, u64 address)
{
    static const char *const sizes[] = {"8", "16", "32", "64", "128", "256"};
    const struct {
        u64 at;
        const char *name;
    } thunks[] = {{t->leave, "the run loop"}, {t->alone, "the instruction alone"},
                 {t->vec_load, "vector registers to their homes"}, {t->call, "call of a helper"},
                 {t->call_flags, "call of a helper that sees flags"},
                 {t->call_vec, "call of a helper that sees MXCSR"}};
    for (unsigned i = 0; i < ARRAY_SIZE(thunks); i++)
        if (thunks[i].at == address)
            fprintf(out, " %s", thunks[i].name);
    const struct {
        const u64 *at;
        const char *name;
    } kinds[] = {{t->seg, "segment check"}, {t->host[0], "host address"},
                 {t->host[1], "host address to write"}, {t->x87_load, "x87 to the host"},
                 {t->x87_save, "x87 to struct cpu"}, {t->div, "division in C"},
                 {t->vec, "vector op in C"}, {t->eval, "op in C"},
                 {t->fetch_flags, "flags to AHF form"}};
    for (unsigned i = 0; i < 3 * ARRAY_SIZE(kinds); i++)
        if (kinds[i / 3].at[i % 3] == address)
            fprintf(out, " %s", kinds[i / 3].name);
    for (unsigned i = 0; i < 18; i++) {
        if (t->load[i / 6][i % 6] == address)
            fprintf(out, " load of %s bits in C", sizes[i % 5]);
        if (t->store[i / 6][i % 6] == address)
            fprintf(out, " store of %s bits in C", sizes[i % 5]);
    }
}

static void put_function(FILE *out, u64 address)
{
    for (unsigned i = 0; i < HELPER_COUNT; i++)
        if ((u64)(uintptr_t)helpers[i].fn == address)
            fprintf(out, " helper %s", helpers[i].name);
    if ((u64)(uintptr_t)x64_slow_atomic == address)
        fprintf(out, " atomic in C");
}

/* What [rsp ...] and [rbp ...] mean; p is behind the register's name.  Frames of indexed operands
 * are told by their displacement, which comes last. */
static void put_memory(FILE *out, const char *p, unsigned base)
{
    s64 disp = 0;
    const char *end = strchr(p, ']');
    for (const char *q = p; end && q < end; q++)
        if ((*q == '+' || *q == '-') && isdigit((unsigned char)q[2]))
            disp = (s64)strtoull(q + 2, NULL, 0) * (*q == '-' ? -1 : 1);
    if (base == X_RSP)
        put_field(out, disp);
    else
        fprintf(out, " %s", disp >= 0                      ? "TLB"
                            : disp == TLB_OFF(mask)        ? "TLB's mask"
                            : disp >= TLB_OFF(page_addend) ? "page checked before"
                                                           : "jump cache");
}

/* The comment of one host instruction. */
static void put_comment(FILE *out, const struct x64_sel *s, const char *text)
{
    bool jump = text[0] == 'j' || !strncmp(text, "call", 4);
    for (const char *p = text; *p;) {
        if (!isalnum((unsigned char)*p)) {
            p++;
            continue;
        }
        size_t len = 0;
        while (isalnum((unsigned char)p[len]))
            len++;
        unsigned reg = host_register(p, len);
        u64 value = *p == '0' && len > 6 ? strtoull(p, NULL, 16) : 0;
        if (reg == X_RSP || reg == X_RBP) {
            if (p > text && p[-1] == '[')
                put_memory(out, p + len, reg);
        } else if (reg != X_NONE) {
            for (unsigned g = 0; g < 16; g++)
                if (x64_home_reg[g] == reg)
                    fprintf(out, " %s", names[g]);
        } else if (jump && value) {
            u64 code = s->block->code, size = s->block->size;
            if (value == code)
                fprintf(out, " this block again");
            else if (value - code < size)
                fprintf(out, " +%llx", (unsigned long long)(value - code));
            else
                put_thunk(out, s->thunks, value);
        } else if (value) {
            put_function(out, value);
        }
        p += len;
    }
}

/* ---- text ---- */

/* Adds host code [from, to) with `left` beside its first line. */
static void put_host(FILE *out, const struct x64_sel *s, const char *left, u32 from, u32 to)
{
    char text[TEXT_MAX];
    if (from >= to)
        fprintf(out, "    %s\n", left);
    while (from < to) {
        u64 address = s->block->code + from;
        unsigned n = inspect_disassemble(s->start + from, to - from, address, HF_LONG | HF_PE, text,
                                         sizeof text);
        char *comment = NULL;
        size_t size = 0;
        FILE *c = open_memstream(&comment, &size);
        if (c) {
            put_comment(c, s, text);
            fclose(c);
        }
        fprintf(out, "    %-*s | +%-4x %-*s%s%s\n", LEFT_COLUMN, left, from,
                size ? CODE_COLUMN : 0, text, size ? ";" : "", size ? comment : "");
        free(comment);
        left = "";
        from += n;
    }
}

/* The block's guest bytes, which may lie in two pages. */
static void guest_bytes(const struct x64_sel *s, u8 *to)
{
    const struct block *b = &s->block->b;
    for (unsigned i = 0; i < s->ir->guest_bytes; i++) {
        u64 la = b->phys + i;
        bool second = b->phys2 != ~0ull && (la & PAGE_MASK) != (b->phys & PAGE_MASK);
        const u8 *page = bus_page(s->engine->bus, second ? b->phys2 : b->phys & PAGE_MASK).read;
        to[i] = page ? page[la & (PAGE_SIZE - 1)] : 0;
    }
}

static void put_guest(FILE *out, const struct x64_sel *s, const u8 *bytes, u64 rip)
{
    char text[TEXT_MAX];
    u64 at = rip - s->ir->rip;
    if (at >= s->ir->guest_bytes)
        return;
    inspect_disassemble(bytes + at, s->ir->guest_bytes - (unsigned)at, rip, s->ir->hflags, text,
                        sizeof text);
    fprintf(out, "  %llx  %s\n", (unsigned long long)rip, text);
}

static void put_body(FILE *out, const struct x64_sel *s, const u8 *bytes)
{
    char left[IR_MAX_LINE];
    for (unsigned i = 1; i < s->ir->count; i++) {
        const struct ir_insn *in = &s->ir->insns[i];
        if (in->op == IR_NONE)
            continue;
        if (in->op == IR_insn) {
            put_guest(out, s, bytes, in->imm);
            continue;
        }
        ir_format(s->ir, i, left, sizeof left);
        put_host(out, s, left, s->op_at[i], s->op_at[i + 1]);
    }
}

static void put_stubs(FILE *out, const struct x64_sel *s)
{
    char left[IR_MAX_LINE + 16], op[IR_MAX_LINE];
    if (s->stub_count)
        fprintf(out, "  out of line\n");
    for (unsigned i = 0; i < s->stub_count; i++) {
        const struct x64_stub *stub = &s->stubs[i];
        ir_format(s->ir, stub->op, op, sizeof op);
        snprintf(left, sizeof left, "%s%s", stub->thunk ? "slow: " : "leave: ", op);
        put_host(out, s, left, stub->at, i + 1 < s->stub_count ? stub[1].at : s->block->size);
    }
}

void x64_inspect(const struct x64_sel *s)
{
    const struct ir *ir = s->ir;
    u8 bytes[BLOCK_MAX_INSNS * 16];
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    guest_bytes(s, bytes);
    fprintf(out, "block %llx: host code, %u bytes at %llx\n  homes:", (unsigned long long)ir->rip,
            s->block->size, (unsigned long long)s->block->code);
    for (unsigned g = 0; g < 16; g++)
        if (x64_home_reg[g] != X_NONE)
            fprintf(out, "%s %s in %s", g ? "," : "", names[g], names[x64_home_reg[g]]);
    fprintf(out, "\n");
    put_body(out, s, bytes);
    put_stubs(out, s);
    fclose(out);
    log_print("%s\n", text);
    free(text);
}

void x64_perf_map(FILE *map, const struct x64_block *b)
{
    fprintf(map, "%llx %x guest_%llx%s\n", (unsigned long long)b->code, b->size,
            (unsigned long long)b->b.rip, b->b.hflags & HF_USER ? "_user" : "");
    fflush(map);
}

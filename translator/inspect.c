/* The teaching view of translation: guest code and IR side by side, on the log.
 *
 * Reads struct ir and guest bytes only.  Host code (out_asm) is shown by the engine that makes it.
 */
#include "translator/inspect.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#if CONFIG_CAPSTONE
#include <capstone/capstone.h>
#endif

#define ASM_COLUMN 42
#define TEXT_MAX 96

static unsigned code_bits(u32 hflags)
{
    return hflags & HF_LONG ? 64 : hflags & HF_CS32 ? 32 : 16;
}

/* The bytes in hexadecimal, as many as fit. */
static void hex_bytes(const u8 *p, unsigned len, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = '\0';
    for (unsigned i = 0; i < len && used + 3 < size; i++)
        used += (size_t)snprintf(buf + used, size - used, i ? " %02x" : "%02x", p[i]);
}

#if CONFIG_CAPSTONE
static unsigned capstone_one(const u8 *p, unsigned avail, u64 rip, u32 hflags, char *buf,
                             size_t size)
{
    static const cs_mode modes[] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};
    csh handle;
    cs_insn *in;
    unsigned len = 0;
    if (cs_open(CS_ARCH_X86, modes[code_bits(hflags) >> 5], &handle) != CS_ERR_OK)
        return 0;
    if (cs_disasm(handle, p, avail, rip, 1, &in) == 1) {
        snprintf(buf, size, "%s%s%s", in->mnemonic, in->op_str[0] ? " " : "", in->op_str);
        len = in->size;
        cs_free(in, 1);
    }
    cs_close(&handle);
    return len;
}
#else
static unsigned capstone_one(const u8 *p, unsigned avail, u64 rip, u32 hflags, char *buf,
                             size_t size)
{
    return 0;
}
#endif

unsigned inspect_disassemble(const u8 *p, unsigned avail, u64 rip, u32 hflags, char *buf,
                             size_t size)
{
    unsigned len = capstone_one(p, avail, rip, hflags, buf, size);
    if (len)
        return len;
    snprintf(buf, size, "db 0x%02x", p[0]);
    return 1;
}

/* The lines of one block are collected, so that another thread's do not come between. */
struct page {
    char text[128 << 10];
    size_t used;
};

static void __attribute__((format(printf, 2, 3))) add(struct page *out, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    size_t left = sizeof out->text - out->used;
    int n = vsnprintf(out->text + out->used, left, fmt, ap);
    va_end(ap);
    if (n > 0)
        out->used += (size_t)n < left ? (size_t)n : left - 1;
}

static void add_heading(struct page *out, const struct ir *ir, const char *what)
{
    add(out, "block %llx: %u-bit code, %u instructions, %u bytes%s%s%s%s: %s\n",
        (unsigned long long)ir->rip, code_bits(ir->hflags), ir->guest_insns, ir->guest_bytes,
        ir->hflags & HF_USER ? ", user" : "", ir->hflags & HF_VM ? ", virtual-8086" : "",
        ir->hflags & HF_TF ? ", stepping" : "", ir->hflags & HF_ONE ? ", once" : "", what);
}

void inspect_guest(const struct ir *ir, const u8 *bytes)
{
    struct page out;
    char text[TEXT_MAX], hex[TEXT_MAX];
    out.used = 0;
    add_heading(&out, ir, "guest code");
    for (unsigned at = 0; at < ir->guest_bytes;) {
        u64 rip = ir->rip + at;
        unsigned len = inspect_disassemble(bytes + at, ir->guest_bytes - at, rip, ir->hflags, text,
                                           sizeof text);
        hex_bytes(bytes + at, len, hex, sizeof hex);
        add(&out, "  %016llx  %-30s  %s\n", (unsigned long long)rip, hex, text);
        at += len;
    }
    log_print("%s\n", out.text);
}

/* Left column of the nth line of an instruction: address and text, then the bytes. */
static void left_text(const struct ir *ir, const struct ir_insn *insn, const u8 *bytes,
                      unsigned line, char *buf, size_t size)
{
    buf[0] = '\0';
    u64 at = insn ? insn->imm - ir->rip : ~0ull;
    if (!insn || at >= ir->guest_bytes || line > 1)
        return;
    if (line == 0) {
        char text[TEXT_MAX];
        inspect_disassemble(bytes + at, ir->guest_bytes - (unsigned)at, insn->imm, ir->hflags, text,
                            sizeof text);
        snprintf(buf, size, "%llx  %s", (unsigned long long)insn->imm, text);
    } else {
        hex_bytes(bytes + at, insn->aux, buf, ASM_COLUMN - 2);
    }
}

void inspect_ir(const struct ir *ir, const u8 *bytes, const char *title)
{
    struct page out;
    const struct ir_insn *insn = NULL;
    unsigned line = 0;
    char left[TEXT_MAX + 24], right[IR_MAX_LINE];
    out.used = 0;
    add_heading(&out, ir, title);
    for (unsigned i = 1; i <= ir->count; i++) {
        const struct ir_insn *in = i < ir->count ? &ir->insns[i] : NULL;
        if (in && in->op == IR_NONE)
            continue;
        if (!in || in->op == IR_insn) {
            /* An instruction that became no ops at all still shows its text. */
            for (; insn && line < 1; line++) {
                left_text(ir, insn, bytes, line, left, sizeof left);
                add(&out, "  %s\n", left);
            }
            insn = in;
            line = 0;
            continue;
        }
        left_text(ir, insn, bytes, line++, left, sizeof left);
        ir_format(ir, i, right, sizeof right);
        add(&out, "  %-*s | %s\n", ASM_COLUMN, left, right);
    }
    log_print("%s\n", out.text);
}

/* The monitor's commands, run with the machine frozen.  The tables are commands.def and info.def.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cpu/cpu.h"
#include "devices/board/pc.h"
#include "devices/host/chardev.h"
#include "frontends/keys.h"
#include "frontends/monitor.h"
#include "frontends/screenshot.h"
#include "frontends/typist.h"

typedef void command_fn(struct monitor_context *c, const char *args);

static struct cpu *selected(struct monitor_context *c)
{
    return c->pc->machine.cpu[c->cpu];
}

/* ---- info ---- */

static void info_registers(struct monitor_context *c, const char *args)
{
    struct machine *m = &c->pc->machine;
    bool all = !strncmp(args, "-a", 2);
    for (unsigned i = 0; i < m->cpu_count; i++) {
        if (!all && i != c->cpu)
            continue;
        if (all)
            c->print(c->opaque, "CPU#%u\n", i);
        cpu_print(m->cpu[i], c->print, c->opaque);
    }
}

static void info_cpus(struct monitor_context *c, const char *args)
{
    struct machine *m = &c->pc->machine;
    for (unsigned i = 0; i < m->cpu_count; i++) {
        const struct cpu *cpu = m->cpu[i];
        c->print(c->opaque, "%c CPU #%u: pc=0x%llx%s\n", i == c->cpu ? '*' : ' ', i,
                 (unsigned long long)(cpu->seg[SEG_CS].base + cpu->rip),
                 cpu->wait_sipi ? " (waits for start-up)"
                 : cpu->halted  ? " (halted)"
                                : "");
    }
}

static void info_tlb(struct monitor_context *c, const char *args)
{
    mmu_print_tlb(&selected(c)->mmu, c->print, c->opaque);
}

static void info_mem(struct monitor_context *c, const char *args)
{
    monitor_print_mem(selected(c), c->print, c->opaque);
}

static void info_pic(struct monitor_context *c, const char *args)
{
    pc_print_irq(c->pc, c->print, c->opaque);
}

static void info_mtree(struct monitor_context *c, const char *args)
{
    bus_print(c->pc->machine.bus, c->print, c->opaque);
}

static void info_qtree(struct monitor_context *c, const char *args)
{
    const struct machine *m = &c->pc->machine;
    for (unsigned i = 0; i < m->device_count; i++)
        c->print(c->opaque, "%-16s %-12s %s\n", m->device[i].name, m->device[i].class->name,
                 m->device[i].class->description);
}

static void info_pci(struct monitor_context *c, const char *args)
{
    pci_print(&c->pc->pci, c->print, c->opaque);
}

static void info_jit(struct monitor_context *c, const char *args)
{
    struct machine *m = &c->pc->machine;
    c->print(c->opaque, "accelerator: %s\n", m->config.accel->name);
    m->config.accel->info(m->engine, c->print, c->opaque);
    for (unsigned i = 0; i < m->cpu_count; i++) {
        const struct mmu_counters *n = mmu_counters(&m->cpu[i]->mmu);
        c->print(
            c->opaque,
            "mmu %u: walks %llu, short %llu, large %llu, fills %llu, ahead %llu, flushes %llu, "
            "page flushes %llu, asid hits %llu, "
            "stores to code pages %llu, i/o accesses %llu, resizes %llu, most entries %llu, "
            "write tags moved %llu\n",
            i, (unsigned long long)n->walks, (unsigned long long)n->short_walks,
            (unsigned long long)n->large, (unsigned long long)n->fills,
            (unsigned long long)n->filled_ahead, (unsigned long long)n->flushes,
            (unsigned long long)n->page_flushes, (unsigned long long)n->asid_hits,
            (unsigned long long)n->code_stores, (unsigned long long)n->io_accesses,
            (unsigned long long)n->resizes, (unsigned long long)n->most_entries,
            (unsigned long long)n->tags_moved);
    }
    c->print(c->opaque, "RAM touched ahead of the guest %llu MiB\n",
             (unsigned long long)bus_touched_ahead(m->bus) >> 20);
}

static void info_version(struct monitor_context *c, const char *args)
{
    c->print(c->opaque, "dragoman %s\n", DRAGOMAN_VERSION);
}

static void info_status(struct monitor_context *c, const char *args)
{
    const struct machine *m = &c->pc->machine;
    c->print(c->opaque, "VM status: %s\n",
             !machine_running(m)    ? "paused"
             : machine_suspended(m) ? "suspended"
                                    : "running");
    if (m->config.counted)
        c->print(c->opaque, "%llu instructions, %llu ns of virtual time\n",
                 (unsigned long long)count_now(m->cpu[0]),
                 (unsigned long long)clock_now(&m->clock));
}

static void info_chardev(struct monitor_context *c, const char *args)
{
    const struct machine *m = &c->pc->machine;
    for (unsigned i = 0; i < m->chardev_count; i++)
        c->print(c->opaque, "%s\n", chardev_name(m->chardev[i]));
}

static void info_screen(struct monitor_context *c, const char *args)
{
    struct vga_text text;
    char line[ARRAY_SIZE(text.cell) + 1];
    if (!c->pc->has_vga || !vga_text(&c->pc->vga, &text)) {
        c->print(c->opaque, "no text mode\n");
        return;
    }
    for (u32 y = 0; y < text.rows; y++) {
        u32 n = 0;
        for (u32 x = 0; x < text.columns; x++) {
            u8 ch = (u8)text.cell[y * text.columns + x];
            line[x] = (char)(ch >= ' ' && ch < 127 ? ch : ch ? '?' : ' ');
            if (line[x] != ' ')
                n = x + 1;
        }
        line[n] = 0;
        c->print(c->opaque, "%s\n", line);
    }
}

static void info_display(struct monitor_context *c, const char *args)
{
    u32 width, height;
    const struct vga *s = &c->pc->vga;
    if (!c->pc->has_vga) {
        c->print(c->opaque, "no display adapter\n");
        return;
    }
    vga_size(s, &width, &height);
    c->print(c->opaque, "%u x %u\n", width, height);
    c->print(c->opaque, "pictures drawn           %llu\n", (unsigned long long)s->counters.drawn);
    c->print(c->opaque, "their rows that changed  %llu\n", (unsigned long long)s->counters.rows);
    c->print(c->opaque, "linear pages compared    %llu\n",
             (unsigned long long)s->counters.compared);
    c->print(c->opaque, "linear pages changed     %llu\n", (unsigned long long)s->counters.copied);
}

static void info_block(struct monitor_context *c, const char *args)
{
    pc_print_drives(c->pc, c->print, c->opaque);
}

static const struct {
    const char *name;
    command_fn *fn;
    const char *help;
} infos[] = {
#define INFO(name, fn, help) {name, fn, help},
#include "frontends/info.def"
#undef INFO
};

static const char *skip_blanks(const char *p)
{
    while (isspace((unsigned char)*p))
        p++;
    return p;
}

/* The word at p has length *n; returns what follows it. */
static const char *word(const char *p, size_t *n)
{
    *n = strcspn(p, " \t");
    return skip_blanks(p + *n);
}

static void cmd_info(struct monitor_context *c, const char *args)
{
    size_t n;
    const char *rest = word(args, &n);
    for (unsigned i = 0; i < ARRAY_SIZE(infos); i++) {
        if (n && strlen(infos[i].name) == n && !memcmp(infos[i].name, args, n)) {
            infos[i].fn(c, rest);
            return;
        }
    }
    if (n)
        c->print(c->opaque, "info: nothing is called '%.*s'; 'info' lists what there is\n", (int)n,
                 args);
    for (unsigned i = 0; !n && i < ARRAY_SIZE(infos); i++)
        c->print(c->opaque, "info %-10s %s\n", infos[i].name, infos[i].help);
}

/* ---- memory and values ---- */

struct format {
    unsigned count, size;
    char letter;
};

/* "/10i", "/4xg": count, format letter, size letter. */
static bool parse_format(const char **args, struct format *f)
{
    const char *p = *args;
    if (*p == '/') {
        p++;
        if (isdigit((unsigned char)*p))
            f->count = (unsigned)strtoul(p, (char **)&p, 10);
        for (; *p && !isspace((unsigned char)*p); p++) {
            if (strchr("xduoci", *p))
                f->letter = *p;
            else if (strchr("bhwg", *p))
                f->size = *p == 'b' ? 1 : *p == 'h' ? 2 : *p == 'w' ? 4 : 8;
            else
                return false;
        }
    }
    *args = skip_blanks(p);
    return f->count <= 65536;
}

static void print_value(struct monitor_context *c, const struct format *f, u64 v)
{
    unsigned long long u = v & size_mask(f->size);
    long long s = (long long)sign_extend(v, f->size * 8);
    switch (f->letter) {
    case 'd': c->print(c->opaque, "%lld", s); break;
    case 'u': c->print(c->opaque, "%llu", u); break;
    case 'o': c->print(c->opaque, "0%llo", u); break;
    case 'c':
        c->print(c->opaque, isprint((int)(u & 0xff)) ? "'%c'" : "'\\x%02x'", (int)(u & 0xff));
        break;
    default: c->print(c->opaque, "0x%0*llx", (int)f->size * 2, u); break;
    }
}

/* Reads guest memory without side effects on RAM; false where a virtual address is unmapped. */
static bool peek(struct monitor_context *c, bool physical, u64 addr, u8 *buf, unsigned len)
{
    struct machine *m = &c->pc->machine;
    for (unsigned i = 0; i < len; i++) {
        u64 gpa = addr + i;
        if (!physical && !mmu_debug_translate(&selected(c)->mmu, addr + i, &gpa))
            return false;
        bus_read_bytes(m->bus, gpa, buf + i, 1);
    }
    return true;
}

static void dump_code(struct monitor_context *c, bool physical, u64 addr, unsigned count)
{
    u32 hflags = selected(c)->hflags;
    unsigned bits = hflags & HF_LONG ? 64 : hflags & HF_CS32 ? 32 : 16;
    for (; count; count--) {
        u8 code[15];
        char text[96], hex[48] = "";
        unsigned len = 0;
        while (len < sizeof code && peek(c, physical, addr + len, code + len, 1))
            len++;
        unsigned n = len ? disasm(code, len, addr, bits, text, sizeof text) : 0;
        if (!len) {
            c->print(c->opaque, "0x%016llx: cannot access memory\n", (unsigned long long)addr);
            return;
        }
        if (!n) {
            snprintf(text, sizeof text, "(bad)");
            n = 1;
        }
        for (unsigned i = 0; i < n; i++)
            sprintf(hex + i * 3, "%02x ", code[i]);
        c->print(c->opaque, "0x%016llx: %-30s %s\n", (unsigned long long)addr, hex, text);
        addr += n;
    }
}

static void dump_words(struct monitor_context *c, bool physical, u64 addr, const struct format *f)
{
    unsigned per_line = 16 / f->size;
    for (unsigned i = 0; i < f->count; i++) {
        u8 bytes[8];
        if (i % per_line == 0)
            c->print(c->opaque, "%s%016llx:", i ? "\n" : "", (unsigned long long)addr);
        if (!peek(c, physical, addr, bytes, f->size)) {
            c->print(c->opaque, " cannot access memory");
            break;
        }
        c->print(c->opaque, " ");
        print_value(c, f, load_le(bytes, f->size));
        addr += f->size;
    }
    c->print(c->opaque, "\n");
}

static void dump(struct monitor_context *c, const char *args, bool physical)
{
    struct format f = {.count = 1, .size = 4, .letter = 'x'};
    const char *error = "the format is /COUNT, x d u o c or i, b h w or g";
    u64 addr;
    if (!parse_format(&args, &f) || !monitor_eval(selected(c), &args, &addr, &error)) {
        c->print(c->opaque, "%s: %s\n", physical ? "xp" : "x", error);
        return;
    }
    if (f.letter == 'i')
        dump_code(c, physical, addr, f.count);
    else
        dump_words(c, physical, addr, &f);
}

static void cmd_x(struct monitor_context *c, const char *args)
{
    dump(c, args, false);
}

static void cmd_xp(struct monitor_context *c, const char *args)
{
    dump(c, args, true);
}

static void cmd_print(struct monitor_context *c, const char *args)
{
    struct format f = {.count = 1, .size = 8, .letter = 'x'};
    const char *error = "the format is /x, d, u, o or c";
    u64 v;
    if (!parse_format(&args, &f) || !monitor_eval(selected(c), &args, &v, &error)) {
        c->print(c->opaque, "print: %s\n", error);
        return;
    }
    if (f.letter == 'x')
        c->print(c->opaque, "0x%llx", (unsigned long long)v);
    else
        print_value(c, &f, v);
    c->print(c->opaque, "\n");
}

/* ---- running ---- */

static void cmd_stop(struct monitor_context *c, const char *args)
{
    machine_event(&c->pc->machine, MACHINE_STOP);
}

static void cmd_cont(struct monitor_context *c, const char *args)
{
    machine_event(&c->pc->machine, MACHINE_CONT);
}

static void cmd_reset(struct monitor_context *c, const char *args)
{
    machine_event(&c->pc->machine, MACHINE_RESET);
}

static void cmd_powerdown(struct monitor_context *c, const char *args)
{
    machine_event(&c->pc->machine, MACHINE_POWER_DOWN);
}

static void cmd_wakeup(struct monitor_context *c, const char *args)
{
    if (machine_suspended(&c->pc->machine))
        machine_event(&c->pc->machine, MACHINE_WAKE);
    else
        c->print(c->opaque, "system_wakeup: the guest is not suspended\n");
}

static void cmd_nmi(struct monitor_context *c, const char *args)
{
    pc_irq_nmi(&c->pc->irq);
}

static void cmd_quit(struct monitor_context *c, const char *args)
{
    machine_exit(&c->pc->machine, 0);
}

static void cmd_cpu(struct monitor_context *c, const char *args)
{
    const char *error;
    u64 n;
    if (!monitor_eval(selected(c), &args, &n, &error))
        c->print(c->opaque, "cpu: %s\n", error);
    else if (n >= c->pc->machine.cpu_count)
        c->print(c->opaque, "cpu: there are %u\n", c->pc->machine.cpu_count);
    else
        c->cpu = (unsigned)n;
}

static void cmd_sendkey(struct monitor_context *c, const char *args)
{
    u8 codes[KEYS_MAX];
    const char *bad = "";
    unsigned bad_len = 0, n = keys_parse(args, codes, &bad, &bad_len);
    const char *hold = skip_blanks(args + strcspn(args, " "));
    char *end = NULL;
    unsigned long ms = *hold ? strtoul(hold, &end, 10) : 100;
    if (!n)
        c->print(c->opaque, "sendkey: '%.*s' is no key\n", (int)bad_len, bad);
    else if ((end && *end) || ms < 1 || ms > 10000)
        c->print(c->opaque, "sendkey: keys are held for 1 to 10000 milliseconds\n");
    else if (!typist_press(c->typist, codes, n, (u16)ms))
        c->print(c->opaque, "sendkey: too many keys wait\n");
}

static void cmd_mouse_move(struct monitor_context *c, const char *args)
{
    int dx = 0, dy = 0, dz = 0;
    if (sscanf(args, "%d %d %d", &dx, &dy, &dz) < 2)
        c->print(c->opaque, "mouse_move: takes two numbers, or three\n");
    else
        i8042_mouse(&c->pc->i8042, dx, -dy, dz, c->pc->i8042.mouse.buttons);
}

static void cmd_mouse_button(struct monitor_context *c, const char *args)
{
    unsigned long v = strtoul(args, NULL, 0);
    /* PS/2 has the right button before the middle one. */
    i8042_mouse(&c->pc->i8042, 0, 0, 0, (u8)((v & 1) | (v >> 1 & 2) | (v << 1 & 4)));
}

static void cmd_screendump(struct monitor_context *c, const char *args)
{
    char *error = NULL;
    if (!c->pc->has_vga)
        c->print(c->opaque, "screendump: the machine has no display\n");
    else if (!screenshot_save(&c->pc->vga, args, &error))
        c->print(c->opaque, "screendump: %s\n", error ? error : "no memory");
    free(error);
}

static void cmd_eject(struct monitor_context *c, const char *args)
{
    char *error = NULL;
    bool force = !strncmp(args, "-f", 2);
    for (args += force ? 2 : 0; *args == ' '; args++)
        continue;
    if (!pc_change_disc(c->pc, args, NULL, force, &error))
        c->print(c->opaque, "eject: %s\n", error ? error : "no memory");
    free(error);
}

static void cmd_change(struct monitor_context *c, const char *args)
{
    char *error = NULL, *name = strdup(args), *path = name ? strchr(name, ' ') : NULL;
    if (path) {
        *path++ = 0;
        path += strspn(path, " ");
    }
    if (!path || !*path)
        c->print(c->opaque, "change: takes a drive (see info block) and a file\n");
    else if (!pc_change_disc(c->pc, name, path, false, &error))
        c->print(c->opaque, "change: %s\n", error ? error : "no memory");
    free(error);
    free(name);
}

static void cmd_log(struct monitor_context *c, const char *args)
{
    u32 mask = 0;
    char *unknown = strcmp(args, "none") ? log_parse(args, &mask) : NULL;
    if (unknown)
        c->print(c->opaque, "log: unknown category '%s'\n", unknown);
    else
        log_mask = mask;
    free(unknown);
}

/* ---- the table ---- */

static void cmd_help(struct monitor_context *c, const char *args);

static const struct {
    const char *name, *alias, *params;
    command_fn *fn;
    const char *help;
} commands[] = {
#define COMMAND(name, alias, params, fn, help) {name, alias, params, fn, help},
#include "frontends/commands.def"
#undef COMMAND
};

static void cmd_help(struct monitor_context *c, const char *args)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++)
        c->print(c->opaque, "%s%s%s %s -- %s\n", commands[i].name, *commands[i].alias ? "|" : "",
                 commands[i].alias, commands[i].params, commands[i].help);
}

static bool word_is(const char *line, size_t n, const char *name)
{
    return n && strlen(name) == n && !memcmp(name, line, n);
}

void monitor_command(struct monitor_context *c, const char *line)
{
    line = skip_blanks(line);
    /* "x/10i" needs no blank. */
    size_t n = strcspn(line, " \t/");
    if (!*line)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (word_is(line, n, commands[i].name) || word_is(line, n, commands[i].alias)) {
            commands[i].fn(c, skip_blanks(line + n));
            return;
        }
    }
    c->print(c->opaque, "unknown command '%.*s'; 'help' lists them\n", (int)n, line);
}

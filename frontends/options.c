/* The command line: one table of options, one small function per kind of value.
 *
 * Parses and checks; touches no host resource.  Options of QEMU that have no meaning here and
 * change nothing (-no-user-config, -nodefaults, -vga none, ...) are taken silently.
 */
#include "frontends/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "devices/board/pc.h"

#define DEFAULT_RAM (128ull << 20)

typedef int option_fn(struct options *o, const char *name, const char *value, char **error);

static int bad(char **error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int bad(char **error, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(error, fmt, ap) < 0)
        *error = NULL;
    va_end(ap);
    return OPTIONS_STATUS_BAD;
}

/* ---- values ---- */

/* Decimal or 0x number that ends at `end`; false for anything else. */
static bool number(const char *text, const char *end, u64 *value)
{
    char *stop;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &stop, 0);
    return !errno && stop == end;
}

/* A number with an optional suffix K, M, G or T; `unit` without one. */
static bool size_value(const char *text, size_t n, u64 unit, u64 *value)
{
    static const char suffixes[] = "BKMGT";
    const char *found = n ? strchr(suffixes, text[n - 1] & ~0x20) : NULL;
    if (found && *found) {
        unit = 1ull << (10 * (found - suffixes));
        n--;
    }
    if (!number(text, text + n, value) || *value > ~0ull / unit)
        return false;
    *value *= unit;
    return true;
}

/* One "key=value" (or bare value) of a comma list. */
struct item {
    const char *key, *value;
    size_t key_len, value_len;
};

static bool next_item(const char **list, struct item *i)
{
    const char *p = *list;
    if (!*p)
        return false;
    size_t n = strcspn(p, ",");
    const char *eq = memchr(p, '=', n);
    *i = (struct item){.key = eq ? p : NULL,
                       .key_len = eq ? (size_t)(eq - p) : 0,
                       .value = eq ? eq + 1 : p,
                       .value_len = eq ? n - (size_t)(eq - p) - 1 : n};
    *list = p + n + (p[n] == ',');
    return true;
}

static bool key_is(const struct item *i, const char *name)
{
    return i->key && i->key_len == strlen(name) && !memcmp(i->key, name, i->key_len);
}

static bool value_is(const struct item *i, const char *text)
{
    return i->value_len == strlen(text) && !memcmp(i->value, text, i->value_len);
}

static bool is_help(const char *value)
{
    return !strcmp(value, "help") || !strcmp(value, "?");
}

/* ---- options with a meaning of their own ---- */

static int set_ram(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    u64 bytes = 0;
    for (const char *p = value; next_item(&p, &i);) {
        if (i.key && !key_is(&i, "size"))
            return bad(error, "-m: unknown parameter '%.*s'", (int)i.key_len, i.key);
        if (!size_value(i.value, i.value_len, 1u << 20, &bytes))
            return bad(error, "-m: '%.*s' is not a size (a number of MiB, or with suffix K, M, G)",
                       (int)i.value_len, i.value);
    }
    if (bytes < PC_RAM_MIN || bytes > PC_RAM_MAX)
        return bad(error, "-m %s: the guest can have 1 MiB to 64 GiB", value);
    o->ram_given = true;
    o->ram = bytes & ~0xffffull; /* firmware counts in units of 64 KiB */
    return 0;
}

static int set_cpus(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    u64 cpus = 0, n, product = 1;
    bool has_count = false;
    for (const char *p = value; next_item(&p, &i);) {
        bool topology = key_is(&i, "sockets") || key_is(&i, "cores") || key_is(&i, "threads") ||
                        key_is(&i, "dies");
        bool count = !i.key || key_is(&i, "cpus");
        if (!topology && !count && !key_is(&i, "maxcpus"))
            return bad(error, "-smp: unknown parameter '%.*s'", (int)i.key_len, i.key);
        if (!number(i.value, i.value + i.value_len, &n) || n < 1 || n > MACHINE_CPUS)
            return bad(error, "-smp: '%.*s' is not a number from 1 to %u", (int)i.value_len,
                       i.value, MACHINE_CPUS);
        if (count) {
            cpus = n;
            has_count = true;
        } else if (topology) {
            product *= n;
        }
    }
    if (!has_count)
        cpus = product;
    if (!cpus || cpus > MACHINE_CPUS || !*value)
        return bad(error, "-smp %s: the guest can have 1 to %u processors", value, MACHINE_CPUS);
    o->cpus = (unsigned)cpus;
    o->cpus_given = true;
    return 0;
}

static int set_cpu(struct options *o, const char *name, const char *value, char **error)
{
    o->cpu = value;
    if (is_help(value))
        o->help = HELP_CPU;
    return 0;
}

static int set_accel(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    if (is_help(value)) {
        o->help = HELP_ACCEL;
        return 0;
    }
    for (const char *p = value; next_item(&p, &i);) {
        if (!i.key || key_is(&i, "accel")) {
            free(o->accel);
            o->accel = strndup(i.value, i.value_len);
        } else if (key_is(&i, "tb-size")) {
            u64 n;
            if (!number(i.value, i.value + i.value_len, &n) || n > 4096)
                return bad(error, "-accel: tb-size takes a number of MiB up to 4096");
            o->code_bytes = n << 20;
        } else if (key_is(&i, "opt")) {
            char *all = NULL;
            if (value_is(&i, "help"))
                o->help = HELP_OPT;
            if (asprintf(&all, "%s%s%.*s", o->opt ? o->opt : "", o->opt ? ":" : "",
                         (int)i.value_len, i.value) < 0)
                return bad(error, "out of memory");
            free(o->opt);
            o->opt = all;
        } else if (key_is(&i, "cache")) {
            if (!i.value_len)
                return bad(error, "-accel: cache takes on, off or a folder");
            free(o->cache);
            o->cache = strndup(i.value, i.value_len);
        } else if (key_is(&i, "perfmap")) {
            o->perf_map = value_is(&i, "on");
            if (!o->perf_map && !value_is(&i, "off"))
                return bad(error, "-accel: perfmap takes on or off");
        } else if (!key_is(&i, "thread") && !key_is(&i, "one-insn-per-tb")) {
            return bad(error, "-accel: unknown parameter '%.*s'", (int)i.key_len, i.key);
        }
    }
    return 0;
}

static int set_machine(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    if (is_help(value)) {
        o->help = HELP_MACHINE;
        return 0;
    }
    for (const char *p = value; next_item(&p, &i);) {
        if (key_is(&i, "accel")) {
            char *text = strndup(i.value, i.value_len);
            int status = text ? set_accel(o, name, text, error) : bad(error, "out of memory");
            free(text);
            if (status)
                return status;
        } else if (key_is(&i, "pcspk-audiodev")) {
            free(o->speaker_audio);
            o->speaker_audio = strndup(i.value, i.value_len);
        } else if ((!i.key || key_is(&i, "type")) && !value_is(&i, "pc") &&
                   !(i.value_len > 10 && !memcmp(i.value, "pc-i440fx-", 10))) {
            return bad(error, "-machine: unknown machine '%.*s' (there is one: pc)",
                       (int)i.value_len, i.value);
        } else if (i.key && !key_is(&i, "type") && !key_is(&i, "usb") && !key_is(&i, "vmport") &&
                   !key_is(&i, "graphics")) {
            return bad(error, "-machine: unknown property '%.*s'", (int)i.key_len, i.key);
        }
    }
    return 0;
}

static int set_icount(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    struct count_config *c = &o->count;
    u64 n = 0;
    o->counted = c->sleep = true;
    for (const char *p = value; next_item(&p, &i);) {
        bool is_number = number(i.value, i.value + i.value_len, &n);
        if (!i.key || key_is(&i, "shift")) {
            if (value_is(&i, "auto"))
                return bad(error,
                           "-icount: shift=auto follows the host's speed, which no run could "
                           "repeat; give a number from 0 to %u",
                           COUNT_SHIFT_MAX);
            if (!is_number || n > COUNT_SHIFT_MAX)
                return bad(error, "-icount: shift takes a number from 0 to %u", COUNT_SHIFT_MAX);
            c->shift = (unsigned)n;
        } else if (key_is(&i, "sleep") && (value_is(&i, "on") || value_is(&i, "off"))) {
            c->sleep = value_is(&i, "on");
        } else if (key_is(&i, "trace") && is_number) {
            c->trace_step = n;
        } else if (key_is(&i, "trace-machine") && is_number) {
            c->trace_machine = n;
        } else if (key_is(&i, "trace-from") && is_number) {
            c->trace_from = n;
        } else if (key_is(&i, "trace-to") && is_number) {
            c->trace_to = n;
        } else if (!(key_is(&i, "align") && value_is(&i, "off"))) {
            return bad(error,
                       "-icount: '%.*s' is not one of shift=N, sleep=on|off, align=off, "
                       "trace=N, trace-machine=N, trace-from=N, trace-to=N",
                       (int)strcspn(i.key ? i.key : i.value, ","), i.key ? i.key : i.value);
        }
    }
    return 0;
}

static int add_serial(struct options *o, const char *name, const char *value, char **error)
{
    if (o->serials == OPTIONS_SERIALS)
        return bad(error, "-serial: at most %u serial ports", OPTIONS_SERIALS);
    o->serial[o->serials++] = value;
    return 0;
}

static int add_option_rom(struct options *o, const char *name, const char *value, char **error)
{
    if (o->option_roms == OPTIONS_ROMS)
        return bad(error, "-option-rom: at most %u ROMs", OPTIONS_ROMS);
    o->option_rom[o->option_roms++] = value;
    return 0;
}

static int add_device(struct options *o, const char *name, const char *value, char **error)
{
    if (is_help(value)) {
        o->help = HELP_DEVICE;
        return 0;
    }
    if (o->devices == OPTIONS_DEVICES)
        return bad(error, "-device: at most %u devices", OPTIONS_DEVICES);
    if (!pc_check_device(value, error))
        return OPTIONS_STATUS_BAD;
    o->device[o->devices++] = value;
    return 0;
}

static int set_log(struct options *o, const char *name, const char *value, char **error)
{
    if (is_help(value)) {
        o->help = HELP_LOG;
        return 0;
    }
    u32 mask;
    char *unknown = log_parse(value, &mask);
    if (unknown) {
        int status = bad(error, "-d: unknown log category '%s' (see -d help)", unknown);
        free(unknown);
        return status;
    }
    o->log_mask |= mask;
    return 0;
}

static int set_display(struct options *o, const char *name, const char *value, char **error)
{
    if (is_help(value)) {
        o->help = HELP_DISPLAY;
        return 0;
    }
    size_t n = strcspn(value, ",");
    static const char *const names[] = {"none", "sdl", "terminal"};
    /* QEMU's name for text in the terminal. */
    const char *wanted = n == 6 && !memcmp(value, "curses", n) ? "terminal" : NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(names) && !wanted; i++)
        if (strlen(names[i]) == n && !memcmp(value, names[i], n))
            wanted = names[i];
    if (!wanted)
        return bad(error, "%s %s: unknown display (see -display help)", name, value);
    o->display = wanted;
    return 0;
}

static int set_audio(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    for (const char *p = value; next_item(&p, &i);) {
        if (!i.key || key_is(&i, "driver")) {
            o->audio = value_is(&i, "sdl") ? "sdl" : value_is(&i, "none") ? "none" : NULL;
            if (!o->audio)
                return bad(error, "-audiodev %s: there are sdl and none", value);
        } else if (key_is(&i, "id")) {
            free(o->audio_id);
            o->audio_id = strndup(i.value, i.value_len);
        } else {
            return bad(error, "-audiodev: unknown parameter '%.*s'", (int)i.key_len, i.key);
        }
    }
    return o->audio ? 0 : bad(error, "-audiodev %s: which driver?", value);
}

/* -net, -nic, -vnc, -parallel, -usbdevice ...: only their absence can be had. */
static int only_none(struct options *o, const char *name, const char *value, char **error)
{
    if (strcmp(value, "none") != 0)
        return bad(error, "%s %s: not available in this build; only '%s none' is", name, value,
                   name);
    return 0;
}

/* YYYY-MM-DD[Thh:mm:ss], as a moment in UTC. */
static bool date_value(const struct item *i, s64 *seconds)
{
    char text[32];
    struct tm tm = {0};
    if (i->value_len >= sizeof text)
        return false;
    memcpy(text, i->value, i->value_len);
    text[i->value_len] = 0;
    const char *end = strptime(text, strchr(text, 'T') ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d", &tm);
    if (!end || *end)
        return false;
    *seconds = timegm(&tm);
    return true;
}

static int set_rtc(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    for (const char *p = value; next_item(&p, &i);) {
        if (key_is(&i, "base") && value_is(&i, "utc"))
            o->local_time = false;
        else if (key_is(&i, "base") && value_is(&i, "localtime"))
            o->local_time = true;
        else if (key_is(&i, "base") && date_value(&i, &o->date))
            o->fixed_date = true;
        else if (!(key_is(&i, "clock") && (value_is(&i, "host") || value_is(&i, "vm"))) &&
                 !key_is(&i, "driftfix"))
            return bad(error, "-rtc %s: base takes utc, localtime or YYYY-MM-DD[Thh:mm:ss]", value);
    }
    return 0;
}

static int add_drive(struct options *o, const char *name, const char *value, char **error)
{
    return options_add_drive(&o->drives, value, error);
}

/* -hda to -hdd */
static int add_disk(struct options *o, const char *name, const char *value, char **error)
{
    return options_add_image(&o->drives, name, name[3] - 'a', DRIVE_DISK, value, error);
}

/* -fda and -fdb */
static int add_floppy(struct options *o, const char *name, const char *value, char **error)
{
    return options_add_image(&o->drives, name, name[3] - 'a', DRIVE_FLOPPY, value, error);
}

static int add_cdrom(struct options *o, const char *name, const char *value, char **error)
{
    return options_add_image(&o->drives, name, 2, DRIVE_CDROM, value, error);
}

static int set_boot(struct options *o, const char *name, const char *value, char **error)
{
    struct item i;
    for (const char *p = value; next_item(&p, &i);) {
        if (!i.key || key_is(&i, "order") || key_is(&i, "once")) {
            if (!i.value_len || strspn(i.value, "abcdn") < i.value_len)
                return bad(error, "-boot: '%.*s' is no order of a, c, d and n", (int)i.value_len,
                           i.value);
            if (i.key && key_is(&i, "once"))
                o->boot_once = i.value;
            else
                o->boot_order = i.value;
        } else if (key_is(&i, "menu")) {
            o->boot_menu = value_is(&i, "on");
            if (!o->boot_menu && !value_is(&i, "off"))
                return bad(error, "-boot: menu takes on or off");
        } else if (!key_is(&i, "strict") && !key_is(&i, "splash-time") &&
                   !key_is(&i, "reboot-timeout")) {
            return bad(error, "-boot: unknown parameter '%.*s'", (int)i.key_len, i.key);
        }
    }
    return 0;
}

static int set_vga(struct options *o, const char *name, const char *value, char **error)
{
    o->no_vga = !strcmp(value, "none");
    if (!o->no_vga && strcmp(value, "std") != 0)
        return bad(error, "-vga %s: there is std, and none", value);
    return 0;
}

static int set_global(struct options *o, const char *name, const char *value, char **error)
{
    static const char port[] = "isa-debugcon.iobase=";
    u64 n;
    size_t len = sizeof port - 1;
    if (strncmp(value, port, len) != 0)
        return bad(error, "-global %s: only isa-debugcon.iobase=PORT is known", value);
    if (!number(value + len, value + strlen(value), &n) || n > 0xffff)
        return bad(error, "-global %s: a port is a number up to 0xffff", value);
    o->debugcon_port = (u16)n;
    return 0;
}

static int set_monitor(struct options *o, const char *name, const char *value, char **error)
{
    o->monitor = value;
    return 0;
}

static int ask_help(struct options *o, const char *name, const char *value, char **error)
{
    o->help = HELP_OPTIONS;
    return 0;
}

static int ask_version(struct options *o, const char *name, const char *value, char **error)
{
    o->help = HELP_VERSION;
    return 0;
}

static int ignore(struct options *o, const char *name, const char *value, char **error)
{
    return 0;
}

/* ---- the table ---- */

struct option {
    const char *name;
    const char *argument; /* NULL: takes none */
    option_fn *fn;        /* NULL: `offset` is that of a bool or string */
    size_t offset;
    const char *help; /* NULL: taken for compatibility, not shown */
};

#define FLAG(name, field, help)                                                                    \
    {                                                                                              \
        name, NULL, NULL, offsetof(struct options, field), help                                    \
    }
#define TEXT(name, arg, field, help)                                                               \
    {                                                                                              \
        name, arg, NULL, offsetof(struct options, field), help                                     \
    }
#define CALL(name, arg, fn, help)                                                                  \
    {                                                                                              \
        name, arg, fn, 0, help                                                                     \
    }

static const struct option table[] = {
    CALL("m", "[size=]N[KMGT]", set_ram, "guest memory, in MiB without a suffix (default 128)"),
    CALL("smp", "[cpus=]N", set_cpus, "number of processors (default 1)"),
    CALL("cpu", "MODEL[,+FEATURE,-FEATURE]", set_cpu, "processor model; 'help' lists them"),
    CALL("accel", "NAME[,tb-size=MiB][,cache=off|DIR][,opt=-NAME:...][,perfmap=on]", set_accel,
         "how guest code runs; 'help' lists them"),
    CALL("machine", "pc", set_machine, "machine type; there is one"),
    CALL("M", "pc", set_machine, NULL),
    CALL("hda", "FILE", add_disk, "disk image (raw or qcow2) of the first drive"),
    CALL("hdb", "FILE", add_disk, "second drive"),
    CALL("hdc", "FILE", add_disk, "third drive"),
    CALL("hdd", "FILE", add_disk, "fourth drive"),
    CALL("fda", "FILE", add_floppy, "floppy disk image (360K to 2.88M) of the first floppy drive"),
    CALL("fdb", "FILE", add_floppy, "second floppy drive"),
    CALL("cdrom", "FILE", add_cdrom, "CD-ROM image (in the third drive's place)"),
    CALL("drive", "file=FILE[,KEY=VALUE]", add_drive,
         "a drive: if=ide|floppy, format=raw|qcow2, media=disk|cdrom, readonly=on, snapshot=on, "
         "index=0..3"),
    FLAG("snapshot", drives.snapshot, "what guests write to disks is lost at the end"),
    CALL("vga", "std|none", set_vga, "display adapter (default std)"),
    CALL("boot", "[order=]acdn[,once=acdn][,menu=on]", set_boot,
         "what to boot from: a floppy, c disk, d CD-ROM, n network; once: up to the first reset; "
         "menu=on waits for F12, which shows the choice"),
    TEXT("kernel", "FILE", kernel, "Linux bzImage or multiboot image to start"),
    TEXT("initrd", "FILE", initrd, "initial RAM disk; for multiboot 'FILE ARGS,FILE ARGS'"),
    TEXT("append", "TEXT", append, "kernel command line"),
    TEXT("bios", "FILE", bios, "firmware image"),
    CALL("option-rom", "FILE", add_option_rom,
         "an expansion card's ROM, which the firmware starts; up to four times"),
    CALL("serial", "DEV", add_serial,
         "serial port: stdio, none, null, pty, file:PATH, unix:PATH[,server=on,wait=off], "
         "mon:DEV; up to four times"),
    CALL("monitor", "DEV", set_monitor, "where the monitor is; as -serial"),
    FLAG("nographic", nographic, "serial port and monitor on the terminal (Ctrl-A h for help)"),
    CALL("display", "sdl|terminal|none", set_display,
         "a window (Ctrl-Alt with G: mouse, F: full screen, U: size, Q: quit), text modes on the "
         "terminal (Ctrl-A x: quit), or no screen"),
    CALL("audiodev", "sdl|none[,id=NAME]", set_audio,
         "where the speaker is heard (default: with the window)"),
    FLAG("full-screen", full_screen, "the window takes the whole screen"),
    TEXT("debugcon", "DEV", debugcon, "debug console, port 0xe9"),
    CALL("global", "isa-debugcon.iobase=PORT", set_global, "another port for -debugcon"),
    CALL("device", "NAME[,PROPERTY=VALUE]", add_device, "adds a device; 'help' lists them"),
    FLAG("no-reboot", no_reboot, "ends when the guest resets the machine"),
    FLAG("no-shutdown", no_shutdown, "stops instead of ending when the guest powers off"),
    FLAG("S", paused, "waits for 'cont' in the monitor before it starts"),
    CALL("d", "CATEGORY,...", set_log, "what to log; 'help' lists the categories"),
    TEXT("D", "FILE", log_file, "where the log goes (default: standard error)"),
    CALL("rtc", "base=utc|localtime|DATE", set_rtc,
         "what the clock shows at first; DATE is YYYY-MM-DD[Thh:mm:ss]"),
    CALL("icount", "[shift=]N[,sleep=off]", set_icount,
         "time follows the guest's instructions, 2^N ns each, so that a run can be repeated"),
    TEXT("name", "TEXT", name, "name of the guest"),
    FLAG("nodefaults", no_defaults, "no default serial port and monitor"),
    CALL("no-user-config", NULL, ignore, NULL),
    CALL("vnc", "none", only_none, NULL),
    CALL("net", "none", only_none, NULL),
    CALL("nic", "none", only_none, NULL),
    CALL("parallel", "none", only_none, NULL),
    CALL("version", NULL, ask_version, "prints the version"),
    CALL("help", NULL, ask_help, "prints this"),
    CALL("h", NULL, ask_help, NULL),
};

static const struct option *find_option(const char *text)
{
    text += text[1] == '-' ? 2 : 1;
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
        if (!strcmp(table[i].name, text))
            return &table[i];
    return NULL;
}

void options_print_help(void)
{
    printf("usage: dragoman [OPTIONS] [FILE...]\n\n"
           "FILE is a disk, floppy or CD image, a kernel or its RAM disk: content tells.\n\n");
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
        char left[64];
        const struct option *t = &table[i];
        if (!t->help)
            continue;
        snprintf(left, sizeof left, "-%s %s", t->name, t->argument ? t->argument : "");
        printf("%-32s %s\n", left, t->help);
    }
}

static int usage(char **error, const char *fmt, const char *what)
{
    char *text;
    *error = asprintf(&text, fmt, what) < 0 ? NULL : text;
    return OPTIONS_STATUS_USAGE;
}

static int apply(struct options *o, const struct option *t, const char *value, char **error)
{
    if (t->fn) {
        char name[32];
        snprintf(name, sizeof name, "-%s", t->name);
        return t->fn(o, name, value, error);
    }
    if (t->argument)
        *(const char **)((char *)o + t->offset) = value;
    else
        *(bool *)((char *)o + t->offset) = true;
    return 0;
}

static int check(const struct options *o, char **error)
{
    if (o->help != HELP_NONE)
        return 0;
    if (o->counted && o->cpus > 1)
        return usage(error,
                     "-icount counts the instructions of one processor: it cannot be had "
                     "with %s",
                     "-smp 2 or more");
    if (o->speaker_audio && (!o->audio_id || strcmp(o->speaker_audio, o->audio_id) != 0))
        return usage(error, "-machine: there is no -audiodev with id=%s", o->speaker_audio);
    if (o->files)
        return 0; /* one of them may be the kernel */
    if (!o->kernel && o->initrd)
        return usage(error, "-initrd %s: there is no -kernel that it belongs to", o->initrd);
    if (!o->kernel && o->append)
        return usage(error, "%s needs a -kernel", "-append");
    return 0;
}

int options_parse(struct options *o, int argc, char **argv, char **error)
{
    *o = (struct options){.ram = DEFAULT_RAM, .cpus = 1, .debugcon_port = 0xe9};
    *error = NULL;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value = NULL;
        if (*arg != '-') {
            if (o->files == OPTIONS_FILES)
                return usage(error, "'%s': too many files (see -help)", arg);
            o->file[o->files++] = arg;
            continue;
        }
        const struct option *t = arg[1] ? find_option(arg) : NULL;
        if (!t)
            return usage(error, "unknown option '%s' (see -help)", arg);
        if (t->argument) {
            if (++i >= argc)
                return usage(error, "option '%s' needs an argument (see -help)", arg);
            value = argv[i];
        }
        int status = apply(o, t, value, error);
        if (status)
            return status;
    }
    return check(o, error);
}

void options_free(struct options *o)
{
    free(o->accel);
    free(o->opt);
    free(o->cache);
    free(o->audio_id);
    free(o->speaker_audio);
    o->accel = o->opt = o->cache = o->audio_id = o->speaker_audio = NULL;
    options_drives_free(&o->drives);
}

/* ---- defaults of the streams ---- */

static bool uses_stdio(const char *spec)
{
    return spec && (!strcmp(spec, "stdio") || !strcmp(spec, "mon:stdio"));
}

void options_streams(const struct options *o, struct options_streams *out)
{
    bool stdio = uses_stdio(o->monitor) || uses_stdio(o->debugcon), mon = o->monitor != NULL;
    *out = (struct options_streams){.monitor = o->monitor};
    for (unsigned i = 0; i < o->serials; i++) {
        out->serial[i] = strcmp(o->serial[i], "none") ? o->serial[i] : NULL;
        stdio |= uses_stdio(o->serial[i]);
        mon |= !strncmp(o->serial[i], "mon:", 4);
    }
    if (out->monitor && !strcmp(out->monitor, "none"))
        out->monitor = NULL;
    if (o->no_defaults)
        return;
    /* Serial port and monitor share the terminal, as with -nographic, unless the screen has it;
     * -display none alone has them nowhere. */
    bool window = !o->display || !strcmp(o->display, "sdl");
    bool terminal = (o->nographic || window) && !stdio;
    if (!o->serials) {
        out->serial[0] = !terminal ? "null" : mon ? "stdio" : "mon:stdio";
    } else if (terminal && !mon && o->nographic) {
        out->monitor = "stdio";
    }
}

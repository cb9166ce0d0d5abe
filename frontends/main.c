/* The program: reads the command line, picks engine and back-ends, runs the machine.
 *
 * The only file that knows which engines this build has.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "cpu/cpuid.h"
#include "devices/board/pc.h"
#include "devices/host/chardev.h"
#include "frontends/audio.h"
#include "frontends/display.h"
#include "frontends/identify.h"
#include "frontends/monitor.h"
#include "frontends/options.h"
#include "translator/technique.h"

#define DEFAULT_FIRMWARE "bios.bin"
#define SEABIOS_VGA_ROM "/usr/share/seabios/vgabios-stdvga.bin"
#define LINUX_ROM "/usr/share/qemu/linuxboot_dma.bin"
#define MONITORS (OPTIONS_SERIALS + 1)

/* In the order of preference. */
static const struct accel *const accels[] = {
#if CONFIG_DBT
    &accel_dbt,
#endif
    &accel_interp,
};

static void print_stdout(void *opaque, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void print_stdout(void *opaque, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
}

static void fail(char *error) __attribute__((noreturn));

/* Ends with the message of a function that gave one. */
static void fail(char *error)
{
    fatal("%s", error ? error : "the host has no memory");
}

/* ---- help ---- */

static void accel_help(void)
{
    printf("Accelerators (-accel NAME):\n");
    for (unsigned i = 0; i < ARRAY_SIZE(accels); i++)
        printf("  %-8s %s%s\n", accels[i]->name, accels[i]->help,
               accels[i]->available() ? "" : " (not on this host)");
}

static void opt_help(void)
{
    printf(
        "Optimisations (-accel NAME,opt=-NAME:... without these, opt=none:NAME:... only these):\n");
    for (unsigned t = 0; t < T_COUNT; t++)
        printf("  %-10s %s\n", techniques[t].name, techniques[t].what);
}

static void show_help(const struct options *o)
{
    switch (o->help) {
    case HELP_VERSION: printf("dragoman %s\n", DRAGOMAN_VERSION); break;
    case HELP_CPU: cpu_model_help(print_stdout, NULL); break;
    case HELP_ACCEL: accel_help(); break;
    case HELP_OPT: opt_help(); break;
    case HELP_DEVICE: pc_device_help(print_stdout, NULL); break;
    case HELP_MACHINE: printf("Machines (-machine NAME):\n  pc   440FX and PIIX3\n"); break;
    case HELP_LOG: log_help(); break;
    case HELP_DISPLAY: display_help(); break;
    default: options_print_help(); break;
    }
}

/* ---- choices ---- */

static const struct accel *pick_accel(const struct options *o)
{
    for (unsigned i = 0; i < ARRAY_SIZE(accels); i++) {
        bool available = accels[i]->available();
        if (!o->accel) {
            if (available)
                return accels[i];
        } else if (!strcmp(accels[i]->name, o->accel)) {
            if (!available)
                fatal("-accel %s: not available on this host (see -accel help)", o->accel);
            return accels[i];
        }
    }
    fatal("-accel %s: unknown accelerator (see -accel help)", o->accel ? o->accel : "");
}

/* Directory of this program, without a trailing slash. */
static bool program_directory(char *buf, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", buf, size - 1);
    if (n <= 0)
        return false;
    buf[n] = 0;
    char *slash = strrchr(buf, '/');
    if (!slash)
        return false;
    *slash = 0;
    return true;
}

/* A firmware by path, then by name where builds and installations keep theirs.  The result is
 * static. */
static const char *find_firmware(const char *name)
{
    static const char *const places[] = {"bios", "../share/dragoman"};
    static char path[PATH_MAX + 64];
    char dir[PATH_MAX];
    const char *wanted = name ? name : DEFAULT_FIRMWARE;
    if (name && access(name, F_OK) == 0)
        return name;
    if (!strchr(wanted, '/') && program_directory(dir, sizeof dir)) {
        for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
            int n = snprintf(path, sizeof path, "%s/%s/%s", dir, places[i], wanted);
            if (n < (int)sizeof path && access(path, R_OK) == 0)
                return path;
        }
    }
    if (!name)
        fatal("the firmware '%s' is neither in bios/ nor in ../share/dragoman/ beside the program; "
              "give one with -bios",
              wanted);
    return name;
}

/* The display adapter's option ROM: SeaBIOS needs its own, our firmware drives the VGA itself. */
static const char *find_vga_rom(const char *firmware)
{
    bool wanted = pc_firmware_is_seabios(firmware) && access(SEABIOS_VGA_ROM, R_OK) == 0;
    return wanted ? SEABIOS_VGA_ROM : NULL;
}

static s64 clock_epoch(const struct options *o)
{
    time_t now = time(NULL);
    struct tm local;
    if (o->fixed_date)
        return o->date;
    if (!o->local_time || !localtime_r(&now, &local))
        return now;
    return now + local.tm_gmtoff;
}

/* ---- streams ---- */

static struct chardev *open_stream(const char *option, const char *spec)
{
    char *error;
    struct chardev *c = chardev_parse(spec, &error);
    if (!c)
        fatal("%s: %s", option, error);
    return c;
}

struct streams {
    struct chardev *serial[PC_SERIALS];
    struct chardev *debugcon;
    struct chardev *own_monitor;       /* of -monitor */
    struct chardev *monitor[MONITORS]; /* where monitors go */
    unsigned monitors;
};

static void open_streams(const struct options *o, struct streams *s)
{
    struct options_streams specs;
    options_streams(o, &specs);
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < PC_SERIALS; i++) {
        if (!specs.serial[i])
            continue;
        s->serial[i] = open_stream("-serial", specs.serial[i]);
        struct chardev *shared = chardev_mux_add(s->serial[i]);
        if (shared)
            s->monitor[s->monitors++] = shared;
    }
    if (o->debugcon)
        s->debugcon = open_stream("-debugcon", o->debugcon);
    if (specs.monitor) {
        s->own_monitor = open_stream("-monitor", specs.monitor);
        s->monitor[s->monitors++] = s->own_monitor;
    }
}

/* ---- files and drives ---- */

/* Memory for a guest of which we only have a disk: a quarter of the host's, within reason. */
static u64 sensible_ram(void)
{
    u64 quarter = (u64)sysconf(_SC_PHYS_PAGES) * (u64)sysconf(_SC_PAGE_SIZE) / 4;
    u64 least = 256ull << 20, most = 2048ull << 20;
    return (quarter < least ? least : quarter > most ? most : quarter) & ~((64ull << 20) - 1);
}

/* Half the host's processors, within reason: the program's other threads and the person's other
 * programs want some.  Counting takes one processor, and not every model knows more. */
static unsigned sensible_cpus(const struct options *o)
{
    long half = sysconf(_SC_NPROCESSORS_ONLN) / 2;
    return o->counted || o->cpu || half < 1 ? 1 : half > 4 ? 4 : (unsigned)half;
}

static void place_file(struct options *o, const char *path)
{
    char *error = NULL;
    u64 missing;
    enum file_kind kind = identify_file(path, &missing);
    if (kind == FILE_UNREADABLE)
        fatal("'%s': %s", path, strerror(errno));
    if (kind == FILE_UNKNOWN)
        fatal("'%s' is no kernel and no image of a disk, CD or floppy (-hda takes any file)", path);
    if (kind == FILE_KERNEL && o->kernel)
        fatal("'%s' is a kernel, and so is '%s'", path, o->kernel);
    if (kind == FILE_INITRD && o->initrd)
        fatal("'%s' is a RAM disk (or compressed), and so is '%s'", path, o->initrd);
    if (missing)
        error_report("the CD image '%s' is truncated: %llu bytes are missing", path,
                     (unsigned long long)missing);
    if (kind == FILE_KERNEL)
        o->kernel = path;
    else if (kind == FILE_INITRD)
        o->initrd = path;
    else if (options_add_image(&o->drives, path, -1,
                               kind == FILE_ISO      ? DRIVE_CDROM
                               : kind == FILE_FLOPPY ? DRIVE_FLOPPY
                                                     : DRIVE_DISK,
                               path, &error))
        fail(error);
}

/* Gives each file of `dragoman FILE...` the option that its content calls for. */
static void place_files(struct options *o)
{
    for (unsigned i = 0; i < o->files; i++)
        place_file(o, o->file[i]);
    if (o->files && !o->ram_given)
        o->ram = sensible_ram();
    if (o->files && !o->cpus_given)
        o->cpus = sensible_cpus(o);
    if (o->initrd && !o->kernel)
        fatal("'%s' is a RAM disk (or compressed): there is no kernel that it belongs to",
              o->initrd);
    if (o->append && !o->kernel)
        fatal("-append: there is no kernel that it is for");
}

static bool is_file(const struct options *o, const char *word)
{
    for (unsigned i = 0; word && i < o->files; i++)
        if (!strcmp(o->file[i], word))
            return true;
    return false;
}

static void say_word(const char *word)
{
    bool plain = *word && !strpbrk(word, " \t\n*?[]<>&;|$(){}\"\\`~#!");
    fprintf(stderr, plain ? " %s" : " '%s'", word);
}

static void say_option(const struct options *o, const char *option, const char *path)
{
    if (!is_file(o, path))
        return;
    fprintf(stderr, " %s", option);
    say_word(path);
}

/* What the files and this host came to, in options, so that users learn them; `display`: what was
 * picked, NULL if it was asked for. */
static void say_options(const struct options *o, int argc, char **argv, const char *display)
{
    static const char *const ide[] = {"-hda", "-hdb", "-hdc", "-hdd"};
    fprintf(stderr, "dragoman: this is dragoman");
    if (!o->ram_given)
        fprintf(stderr, " -m %llu", (unsigned long long)(o->ram >> 20));
    if (!o->cpus_given)
        fprintf(stderr, " -smp %u", o->cpus);
    if (display)
        fprintf(stderr, " -display %s", display);
    for (int i = 1; i < argc; i++)
        if (!is_file(o, argv[i]))
            say_word(argv[i]);
    say_option(o, "-kernel", o->kernel);
    say_option(o, "-initrd", o->initrd);
    say_option(o, "-fda", o->drives.floppy[0].path);
    say_option(o, "-fdb", o->drives.floppy[1].path);
    for (unsigned i = 0; i < OPTIONS_IDE; i++) {
        const struct options_drive *d = &o->drives.ide[i];
        if (!d->cdrom || i == 2)
            say_option(o, d->cdrom ? "-cdrom" : ide[i], d->path);
        else if (is_file(o, d->path))
            fprintf(stderr, " -drive 'file=%s,media=cdrom,index=%u'", d->path, i);
    }
    fprintf(stderr, "\n");
}

/* The image of one -drive; NULL: an empty drive. */
static struct block *open_drive(const struct options *o, const struct options_drive *d,
                                bool removable)
{
    struct block_options b = {.path = d->path,
                              .format = d->format,
                              .read_only = d->read_only || d->cdrom,
                              .auto_read_only = removable,
                              .snapshot = (d->snapshot || o->drives.snapshot) && !d->cdrom};
    char *error = NULL;
    struct block *block = d->path ? block_open(&b, &error) : NULL;
    if (d->path && !block)
        fail(error);
    return block;
}

static void open_drives(const struct options *o, struct pc_config *c)
{
    bool any_cdrom = false;
    for (unsigned i = 0; i < PC_IDE_DRIVES; i++) {
        const struct options_drive *d = &o->drives.ide[i];
        any_cdrom |= d->cdrom;
        if (!d->used)
            continue;
        c->drive[i].kind = d->cdrom ? ATA_CDROM : ATA_DISK;
        c->drive[i].block = open_drive(o, d, false);
    }
    for (unsigned i = 0; i < PC_FLOPPIES; i++) {
        c->floppy[i].used = o->drives.floppy[i].used;
        c->floppy[i].block = open_drive(o, &o->drives.floppy[i], true);
    }
    /* As in QEMU's machine, there is a CD-ROM drive. */
    if (!any_cdrom && !o->no_defaults && c->drive[2].kind == ATA_NONE)
        c->drive[2].kind = ATA_CDROM;
}

/* ---- the screen ---- */

/* The display of the options; without one a window where that can be had, and for a guest that is
 * seen on its screen only, the terminal.  NULL: none. */
static const struct display_kind *pick_display(struct options *o)
{
    if (o->no_vga || o->nographic || (o->display && !strcmp(o->display, "none")))
        return NULL;
    const struct display_kind *kind = display_find(o->display);
    if (!kind && o->display)
        fatal("-display %s: not in this build (see -display help)", o->display);
    if (!kind && !o->kernel && !o->serials && !o->monitor)
        kind = display_find("terminal");
    if (kind && !o->display && !kind->available())
        kind = NULL;
    if (kind)
        o->display = kind->name;
    return kind;
}

static struct display *start_display(const struct display_kind *kind, const struct options *o,
                                     struct pc *pc)
{
    char *error = NULL;
    struct display_config config = {.name = o->name, .full_screen = o->full_screen};
    struct display *d = kind ? kind->start(pc, &config, &error) : NULL;
    if (kind && !d)
        error_report("%s; going on without", error ? error : "no memory for the display");
    free(error);
    return d;
}

/* ---- sound ---- */

/* With the window, unless -audiodev says otherwise; NULL: none.  What nobody has asked for may be
 * missing. */
static struct audio *open_audio(const struct options *o)
{
    char *error = NULL;
    bool wanted = o->audio && !strcmp(o->audio, "sdl");
    bool by_window = CONFIG_SDL && !o->audio && o->display && !strcmp(o->display, "sdl") &&
                     audio_sdl_likely();
    struct audio *audio = CONFIG_SDL && (wanted || by_window) ? audio_open_sdl(&error) : NULL;
    if (wanted && !audio)
        fatal("-audiodev sdl: %s", error ? error : "the host has no memory");
    free(error);
    return audio;
}

/* ---- the run ---- */

static u64 techniques_off(const struct options *o)
{
    u64 off = 0;
    size_t len;
    const char *bad = o->opt ? technique_parse(o->opt, &off, &len) : NULL;
    if (bad)
        fatal("-accel: opt: no optimisation '%.*s' (see -accel dbt,opt=help)", (int)len, bad);
    return off;
}

/* Where translations are kept between runs; NULL: nowhere, in `why` for what reason.  A path in
 * XDG_CACHE_HOME that is not absolute is to be ignored (XDG Base Directory Specification). */
static const char *user_cache(const char **why)
{
    static char path[4096];
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool xdg = base && base[0] == '/';
    *why = "neither XDG_CACHE_HOME nor HOME says where; use cache=FOLDER";
    if (!xdg && (!home || home[0] != '/'))
        return NULL;
    *why = "the path of the folder is too long";
    int n = snprintf(path, sizeof path, "%s%s/dragoman", xdg ? base : home, xdg ? "" : "/.cache");
    return n >= 0 && (size_t)n < sizeof path ? path : NULL;
}

/* What was asked for by -accel cache=, or else by the environment, has to be possible.  By default
 * translations are kept where the user's caches are, if that can be; not in counted mode, so that a
 * run to be repeated depends on nothing that an earlier one has left.  The folder is made when
 * there is something to keep. */
static void choose_cache(const struct options *o, struct accel_options *a)
{
    const char *asked = o->cache ? o->cache : getenv("DRAGOMAN_ACCEL_CACHE"), *why;
    bool possible = technique_on(techniques_off(o), T_reuse);
    if (!asked || !*asked) {
        a->cache_quiet = true;
        a->cache = possible && !o->counted ? user_cache(&why) : NULL;
    } else if (!strcmp(asked, "on")) {
        a->cache = user_cache(&why);
        if (!a->cache)
            fatal("-accel cache=on: %s", why);
    } else if (strcmp(asked, "off") != 0) {
        a->cache = asked;
    }
    if (o->cache && a->cache && !possible)
        fatal("-accel: opt=-reuse leaves cache=%s nothing to keep", asked);
}

static void start_log(const struct options *o)
{
    int error = o->log_file ? log_open(o->log_file) : 0;
    if (error)
        fatal("-D %s: %s", o->log_file, strerror(error));
    log_mask = o->log_mask;
}

static void configure(const struct options *o, struct pc_config *c)
{
    char *error = NULL;
    *c = (struct pc_config){
        .machine = {.accel = pick_accel(o),
                    .accel_options = {.code_bytes = o->code_bytes,
                                      .perf_map = o->perf_map,
                                      .off = techniques_off(o)},
                    .cpus = o->cpus,
                    .counted = o->counted,
                    .count = o->count,
                    .no_reboot = o->no_reboot,
                    .no_shutdown = o->no_shutdown,
                    .paused = o->paused},
        .ram = o->ram,
        .firmware = find_firmware(o->bios),
        .rtc_epoch = clock_epoch(o),
        .debugcon_port = o->debugcon_port,
        .serial_console = o->nographic,
        .kernel = o->kernel,
        .initrd = o->initrd,
        .cmdline = o->append,
        .boot_order = o->boot_order,
        .boot_once = o->boot_once,
        .boot_menu = o->boot_menu,
        .snapshot = o->drives.snapshot,
        .vga = !o->no_vga,
    };
    choose_cache(o, &c->machine.accel_options);
    for (unsigned i = 0; i < o->option_roms; i++)
        c->option_rom[i] = o->option_rom[i];
    open_drives(o, c);
    c->machine.model = cpu_model_find(o->cpu ? o->cpu : "max", o->cpus, &error);
    if (!c->machine.model)
        fail(error);
    c->vga_rom = find_vga_rom(c->firmware);
    if (o->kernel && pc_firmware_is_seabios(c->firmware) && access(LINUX_ROM, R_OK) == 0)
        c->kernel_rom = LINUX_ROM;
}

static int run(struct options *o, int argc, char **argv)
{
    bool asked = o->display != NULL;
    const struct display_kind *kind = pick_display(o);
    struct pc_config config;
    struct streams streams;
    struct monitor *monitors[MONITORS] = {NULL};
    char *error = NULL;
    static struct pc pc;

    start_log(o);
    configure(o, &config);
    open_streams(o, &streams);
    for (unsigned i = 0; i < PC_SERIALS; i++)
        config.serial[i] = streams.serial[i];
    config.debugcon = streams.debugcon;
    config.audio = open_audio(o);
    bool good = pc_init(&pc, &config, &error);
    for (unsigned i = 0; good && i < o->devices; i++)
        good = pc_add_device(&pc, o->device[i], &error);
    if (!good) {
        pc_destroy(&pc);
        chardev_free(streams.own_monitor);
        fail(error);
    }
    if (o->files)
        say_options(o, argc, argv, asked ? NULL : o->display);
    if (streams.own_monitor && !machine_add_chardev(&pc.machine, streams.own_monitor))
        fatal("-monitor: too many character devices");
    for (unsigned i = 0; i < streams.monitors; i++)
        monitors[i] =
            monitor_create(&pc, streams.monitor[i], streams.monitor[i] != streams.own_monitor);
    struct display *display = start_display(kind, o, &pc);
    int status = machine_run(&pc.machine);
    display_free(display);
    for (unsigned i = 0; i < streams.monitors; i++)
        monitor_free(monitors[i]);
    pc_destroy(&pc);
    if (config.audio)
        config.audio->free(config.audio);
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    char *error;
    int status = options_parse(&options, argc, argv, &error);
    error_set_exit_hook(chardev_terminal_restore);
    if (status) {
        error_report("%s", error ? error : "the host has no memory");
        return status;
    }
    if (options.help != HELP_NONE)
        show_help(&options);
    else {
        place_files(&options);
        status = run(&options, argc, argv);
    }
    options_free(&options);
    return status;
}

/* The command line, spelled as QEMU spells it. */
#ifndef DRAGOMAN_FRONTENDS_OPTIONS_H
#define DRAGOMAN_FRONTENDS_OPTIONS_H

#include "base/types.h"
#include "cpu/count.h"
#include "frontends/options_drive.h"

#define OPTIONS_SERIALS 4
#define OPTIONS_DEVICES 16
#define OPTIONS_ROMS 4
#define OPTIONS_FILES 8

#define OPTIONS_STATUS_BAD 1   /* a value makes no sense */
#define OPTIONS_STATUS_USAGE 2 /* the command line itself is wrong */

/* What to do instead of running a machine. */
enum options_help {
    HELP_NONE,
    HELP_OPTIONS,
    HELP_VERSION,
    HELP_CPU,
    HELP_ACCEL,
    HELP_OPT,
    HELP_DEVICE,
    HELP_MACHINE,
    HELP_LOG,
    HELP_DISPLAY
};

/* Strings are those of argv, or owned where said. */
struct options {
    enum options_help help;
    u64 ram; /* bytes */
    bool ram_given, cpus_given;
    const char *file[OPTIONS_FILES]; /* without an option: what they are is seen later */
    unsigned files;
    struct options_drives drives;
    const char *boot_order; /* letters: a floppy, c disk, d CD-ROM, n network */
    const char *boot_once;  /* the same up to the first reset */
    bool boot_menu;
    bool no_vga;
    unsigned cpus;
    const char *cpu;
    char *accel; /* owned; NULL: the best there is */
    u64 code_bytes;
    char *opt; /* owned: -accel opt=, several joined by ':'; NULL: none */
    char *cache; /* owned: -accel cache=, a folder, "on" or "off"; NULL: not given */
    bool perf_map;
    const char *kernel, *initrd, *append;
    const char *bios;
    const char *option_rom[OPTIONS_ROMS];
    unsigned option_roms;
    const char *name;
    const char *serial[OPTIONS_SERIALS];
    unsigned serials;
    const char *monitor;
    const char *debugcon;
    u16 debugcon_port;
    const char *device[OPTIONS_DEVICES];
    unsigned devices;
    const char *log_file;
    u32 log_mask;
    bool nographic;
    const char *display; /* NULL: not given; "none" */
    bool full_screen;
    const char *audio;         /* driver of -audiodev: "sdl", "none"; NULL: not given */
    char *audio_id;            /* owned; NULL: none */
    char *speaker_audio;       /* owned: pcspk-audiodev of -machine; NULL: not given */
    bool no_reboot, no_shutdown, paused;
    bool no_defaults;
    bool local_time;
    bool fixed_date;
    s64 date; /* fixed_date: seconds since 1970 that the guest's clock shows at first */
    bool counted; /* -icount */
    struct count_config count; /* without the callbacks */
};

/* Fills *o from the command line.  Returns 0, or an exit status with *error (malloced, one line).
 * Opens nothing and prints nothing. */
int options_parse(struct options *o, int argc, char **argv, char **error);
void options_free(struct options *o);

/* Prints the table of options. */
void options_print_help(void);

/* What -serial and -monitor come to when some or none are given: the defaults.  Strings are
 * static or argv's; NULL where there is nothing. */
struct options_streams {
    const char *serial[OPTIONS_SERIALS];
    const char *monitor; /* NULL: none, or it shares a multiplexer with a serial port */
};
void options_streams(const struct options *o, struct options_streams *out);

#endif

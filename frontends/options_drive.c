/* Drives on the command line; the keys of -drive are QEMU's.
 *
 * Caching and threading keys (cache=, aio=, discard=...) are taken and mean nothing: writes go to
 * the host's cache and a guest's flush to stable storage, always.  Left out: other interfaces than
 * IDE and floppy, node names.
 */
#include "frontends/options_drive.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/options.h"

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

/* One "key=value" of a list in which ",," is a comma; both malloced. */
static bool next_pair(const char **list, char **key, char **value)
{
    const char *p = *list;
    size_t n = 0;
    if (!*p)
        return false;
    char *text = malloc(strlen(p) + 1);
    if (!text)
        return false;
    for (; *p && (*p != ',' || p[1] == ','); p++) {
        if (*p == ',')
            p++;
        text[n++] = *p;
    }
    text[n] = 0;
    *list = *p ? p + 1 : p;
    char *eq = strchr(text, '=');
    *key = eq ? strndup(text, (size_t)(eq - text)) : strdup("file");
    *value = strdup(eq ? eq + 1 : text);
    free(text);
    return true;
}

static bool on_off(const char *value, bool *out)
{
    *out = !strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "true");
    return *out || !strcmp(value, "off") || !strcmp(value, "no") || !strcmp(value, "false");
}

/* What -drive has said so far. */
struct parsed {
    struct options_drive drive;
    int index, bus, unit; /* -1: not given */
    bool floppy;
};

static bool small_number(const char *value, int max, int *out)
{
    char *end;
    long n = strtol(value, &end, 10);
    *out = (int)n;
    return *value && !*end && n >= 0 && n <= max;
}

static int take_pair(struct parsed *p, const char *key, char **value, char **error)
{
    static const char *const silent[] = {"cache",  "aio", "discard", "detect-zeroes", "werror",
                                         "rerror", "id",  "serial",  "copy-on-read"};
    struct options_drive *d = &p->drive;
    const char *v = *value;
    bool good = true;
    if (!strcmp(key, "file")) {
        free(d->path);
        d->path = *value;
        *value = NULL;
    } else if (!strcmp(key, "format")) {
        free(d->format);
        d->format = *value;
        *value = NULL;
    } else if (!strcmp(key, "if")) {
        p->floppy = !strcmp(v, "floppy");
        if (!p->floppy && strcmp(v, "ide") != 0)
            return bad(error, "-drive: interface '%s' is not available (there are ide and floppy)",
                       v);
    } else if (!strcmp(key, "media")) {
        d->cdrom = !strcmp(v, "cdrom");
        good = d->cdrom || !strcmp(v, "disk");
    } else if (!strcmp(key, "readonly") || !strcmp(key, "read-only")) {
        good = on_off(v, &d->read_only);
    } else if (!strcmp(key, "snapshot")) {
        good = on_off(v, &d->snapshot);
    } else if (!strcmp(key, "index")) {
        good = small_number(v, OPTIONS_IDE - 1, &p->index);
    } else if (!strcmp(key, "bus")) {
        good = small_number(v, 1, &p->bus);
    } else if (!strcmp(key, "unit")) {
        good = small_number(v, 1, &p->unit);
    } else {
        for (unsigned i = 0; i < ARRAY_SIZE(silent); i++)
            if (!strcmp(key, silent[i]))
                return 0;
        return bad(error, "-drive: unknown key '%s'", key);
    }
    return good ? 0 : bad(error, "-drive: '%s=%s' makes no sense", key, v);
}

/* Puts the drive in its place; takes its strings over in any case. */
static int place(struct options_drives *d, struct options_drive *drive, bool floppy, int index,
                 const char *name, char **error)
{
    struct options_drive *list = floppy ? d->floppy : d->ide;
    int room = floppy ? OPTIONS_FLOPPIES : OPTIONS_IDE;
    if (index < 0) {
        /* CD-ROMs prefer the secondary channel, as -cdrom does. */
        index = drive->cdrom && !d->ide[2].used ? 2 : 0;
        while (index < room && list[index].used)
            index++;
    }
    int status = 0;
    if (index >= room)
        status = bad(error, "%s: there is room for %d %s", name, room,
                     floppy ? "floppy drives" : "drives");
    else if (list[index].used)
        status = bad(error, "%s: the place of -%s%c is taken already", name, floppy ? "fd" : "hd",
                     'a' + index);
    if (status) {
        free(drive->path);
        free(drive->format);
        return status;
    }
    list[index] = *drive;
    list[index].used = true;
    return 0;
}

int options_add_drive(struct options_drives *d, const char *value, char **error)
{
    struct parsed p = {.index = -1, .bus = -1, .unit = -1};
    char *key, *text;
    int status = 0;
    while (!status && next_pair(&value, &key, &text)) {
        status = key && text ? take_pair(&p, key, &text, error) : bad(error, "out of memory");
        free(key);
        free(text);
    }
    if (!status && p.floppy && p.drive.cdrom)
        status = bad(error, "-drive: a floppy drive takes no CD-ROM");
    if (!status && !p.drive.path && !p.drive.cdrom && !p.floppy)
        status = bad(error, "-drive: there is no file=");
    if (status) {
        free(p.drive.path);
        free(p.drive.format);
        return status;
    }
    if (p.index < 0 && (p.bus >= 0 || p.unit >= 0))
        p.index = (p.bus > 0 ? 2 : 0) + (p.unit > 0 ? 1 : 0);
    return place(d, &p.drive, p.floppy, p.index, "-drive", error);
}

int options_add_image(struct options_drives *d, const char *name, int index,
                      enum options_interface kind, const char *path, char **error)
{
    struct options_drive drive = {.cdrom = kind == DRIVE_CDROM, .path = path ? strdup(path) : NULL};
    if (path && !drive.path)
        return bad(error, "out of memory");
    return place(d, &drive, kind == DRIVE_FLOPPY, index, name, error);
}

void options_drives_free(struct options_drives *d)
{
    for (unsigned i = 0; i < OPTIONS_IDE; i++) {
        free(d->ide[i].path);
        free(d->ide[i].format);
        d->ide[i] = (struct options_drive){0};
    }
    for (unsigned i = 0; i < OPTIONS_FLOPPIES; i++) {
        free(d->floppy[i].path);
        free(d->floppy[i].format);
        d->floppy[i] = (struct options_drive){0};
    }
}

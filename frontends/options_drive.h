/* -drive, -hda..-hdd, -cdrom, -fda, -fdb: which images the guest's drives get. */
#ifndef DRAGOMAN_FRONTENDS_OPTIONS_DRIVE_H
#define DRAGOMAN_FRONTENDS_OPTIONS_DRIVE_H

#include "base/types.h"

#define OPTIONS_IDE 4 /* primary master and slave, secondary master and slave */
#define OPTIONS_FLOPPIES 2

enum options_interface { DRIVE_DISK, DRIVE_CDROM, DRIVE_FLOPPY };

struct options_drive {
    bool used;
    bool cdrom;
    bool read_only, snapshot;
    char *path;   /* owned; NULL: a CD-ROM or floppy drive without a disc */
    char *format; /* owned; NULL: by content */
};

struct options_drives {
    struct options_drive ide[OPTIONS_IDE], floppy[OPTIONS_FLOPPIES];
    bool snapshot; /* -snapshot: for all */
};

/* The -drive option's value; 0, or an exit status with *error. */
int options_add_drive(struct options_drives *d, const char *value, char **error);
/* -hda and the like (name "-hda"), and what a bare file name comes to: `index` -1 takes the next
 * free place. */
int options_add_image(struct options_drives *d, const char *name, int index,
                      enum options_interface kind, const char *path, char **error);
void options_drives_free(struct options_drives *d);

#endif

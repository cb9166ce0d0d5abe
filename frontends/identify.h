/* What a file is, by its content: for `dragoman FILE...`. */
#ifndef DRAGOMAN_FRONTENDS_IDENTIFY_H
#define DRAGOMAN_FRONTENDS_IDENTIFY_H

#include "base/types.h"

enum file_kind {
    FILE_UNREADABLE, /* errno says why */
    FILE_KERNEL,     /* Linux bzImage or multiboot */
    FILE_INITRD,     /* cpio archive, plain or compressed */
    FILE_ISO,        /* ISO 9660 without a partition table, or with one (hybrid) */
    FILE_FLOPPY,     /* one of the sizes of floppies */
    FILE_DISK,       /* everything else of whole sectors */
    FILE_UNKNOWN,
};

/* Reads the beginning of the file.  *missing: bytes that an ISO's own size says are not there. */
enum file_kind identify_file(const char *path, u64 *missing);

#endif

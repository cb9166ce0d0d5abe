/* The guest's screen as a picture file. */
#ifndef DRAGOMAN_FRONTENDS_SCREENSHOT_H
#define DRAGOMAN_FRONTENDS_SCREENSHOT_H

#include "base/types.h"

struct vga;

/* Writes what the screen shows to `path`: PNG if it ends in .png, else PPM.  False with *error
 * (malloced, one line).  Machine frozen. */
bool screenshot_save(struct vga *vga, const char *path, char **error);

#endif

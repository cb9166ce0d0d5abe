/* Ways to see the guest's screen and to type: a window, the terminal. */
#ifndef DRAGOMAN_FRONTENDS_DISPLAY_H
#define DRAGOMAN_FRONTENDS_DISPLAY_H

#include "base/types.h"

struct pc;
struct display;

struct display_config {
    const char *name; /* of the guest, for the title; may be NULL */
    bool full_screen;
};

/* One kind of display.  All run on a thread of their own and take the machine lock. */
struct display_kind {
    const char *name, *help;
    bool window; /* leaves the terminal alone: may be used without being asked for */
    /* Whether it would work now (a screen is there, the terminal is one). */
    bool (*available)(void);
    /* Shows the machine until display_free; NULL with *error. */
    struct display *(*start)(struct pc *pc, const struct display_config *config, char **error);
};

extern const struct display_kind display_sdl, display_terminal;

/* The kind of that name, or for NULL a window, if there is a screen for it; NULL: none. */
const struct display_kind *display_find(const char *name);
void display_help(void);
/* Before pc_destroy; NULL is allowed. */
void display_free(struct display *d);

/* ---- between the kinds ---- */

struct display {
    void (*free)(struct display *d);
};

#endif

/* The list of displays that this build has. */
#include "frontends/display.h"

#include <stdio.h>
#include <string.h>

/* In the order of preference. */
static const struct display_kind *const kinds[] = {
#if CONFIG_SDL
    &display_sdl,
#endif
#if CONFIG_CURSES
    &display_terminal,
#endif
    NULL};

const struct display_kind *display_find(const char *name)
{
    for (unsigned i = 0; kinds[i]; i++)
        if (name ? !strcmp(kinds[i]->name, name) : kinds[i]->window && kinds[i]->available())
            return kinds[i];
    return NULL;
}

void display_help(void)
{
    printf("Displays (-display NAME):\n");
    for (unsigned i = 0; kinds[i]; i++)
        printf("  %-10s %s%s\n", kinds[i]->name, kinds[i]->help,
               kinds[i]->available() ? "" : " (not here)");
    printf("  %-10s no display\n", "none");
}

void display_free(struct display *d)
{
    if (d)
        d->free(d);
}

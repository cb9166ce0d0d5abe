/* Outputs for the guest's sound. */
#ifndef DRAGOMAN_FRONTENDS_AUDIO_H
#define DRAGOMAN_FRONTENDS_AUDIO_H

#include "devices/host/audio.h"

/* The host's sound through SDL, in builds that have it; NULL with *error when there is none (*error
 * stays: no memory). */
struct audio *audio_open_sdl(char **error);

/* Whether a sound card or a sound server seems to be there: without, SDL's libraries complain. */
bool audio_sdl_likely(void);

#endif

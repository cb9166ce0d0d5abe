/* Where sound goes: what chips see of a host's audio output. */
#ifndef DRAGOMAN_DEVICES_HOST_AUDIO_H
#define DRAGOMAN_DEVICES_HOST_AUDIO_H

#include "base/types.h"

#define AUDIO_RATE 48000u /* samples a second, one channel */

/* An output.  The functions are called under the machine lock and must not block. */
struct audio {
    /* `count` more samples; what the host cannot take is dropped. */
    void (*play)(struct audio *a, const s16 *samples, unsigned count);
    void (*free)(struct audio *a);
};

#endif

/* The guest's sound through SDL2, which plays what is queued from a thread of its own. */
#include <SDL.h>
#include <glob.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "frontends/audio.h"

enum {
    BUFFER = 512,               /* samples that SDL asks the host for */
    CUSHION = AUDIO_RATE / 50,  /* put before sound that follows silence, for late samples */
    QUEUE_MAX = AUDIO_RATE / 4, /* what is further ahead is dropped */
};

struct sdl_audio {
    struct audio audio;
    SDL_AudioDeviceID device;
};

static void play(struct audio *a, const s16 *samples, unsigned count)
{
    struct sdl_audio *s = (struct sdl_audio *)a;
    u32 queued = SDL_GetQueuedAudioSize(s->device) / sizeof *samples;
    if (!queued) {
        s16 cushion[CUSHION];
        for (unsigned i = 0; i < CUSHION; i++)
            cushion[i] = samples[0];
        SDL_QueueAudio(s->device, cushion, sizeof cushion);
    }
    if (queued < QUEUE_MAX)
        SDL_QueueAudio(s->device, samples, count * (u32)sizeof *samples);
}

static void sdl_audio_free(struct audio *a)
{
    struct sdl_audio *s = (struct sdl_audio *)a;
    SDL_CloseAudioDevice(s->device);
    SDL_QuitSubSystem(SDL_INIT_AUDIO);
    free(s);
}

bool audio_sdl_likely(void)
{
    static const char *const servers[] = {"pulse/native", "pipewire-0"};
    const char *run = getenv("XDG_RUNTIME_DIR");
    char path[512];
    glob_t cards;
    bool card = glob("/dev/snd/controlC*", 0, NULL, &cards) == 0;
    if (card)
        globfree(&cards);
    for (unsigned i = 0; run && !card && i < ARRAY_SIZE(servers); i++) {
        snprintf(path, sizeof path, "%s/%s", run, servers[i]);
        card = access(path, F_OK) == 0;
    }
    return card || getenv("PULSE_SERVER") || getenv("SDL_AUDIODRIVER");
}

struct audio *audio_open_sdl(char **error)
{
    struct sdl_audio *s = calloc(1, sizeof *s);
    SDL_AudioSpec wanted = {
        .freq = AUDIO_RATE, .format = AUDIO_S16SYS, .channels = 1, .samples = BUFFER};
    if (!s)
        return NULL;
    bool ready = SDL_InitSubSystem(SDL_INIT_AUDIO) == 0;
    s->device = ready ? SDL_OpenAudioDevice(NULL, 0, &wanted, NULL, 0) : 0;
    if (s->device) {
        s->audio = (struct audio){play, sdl_audio_free};
        SDL_PauseAudioDevice(s->device, 0);
        return &s->audio;
    }
    *error = error_text("sound: %s", SDL_GetError());
    if (ready)
        SDL_QuitSubSystem(SDL_INIT_AUDIO);
    free(s);
    return NULL;
}

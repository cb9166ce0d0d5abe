/* The guest's screen in a window, with keyboard and mouse: SDL2.
 *
 * One thread owns the window.  Sixty times a second it looks, under the machine lock, whether the
 * picture has changed, and it hands over what was typed.  Keys go by their place on the keyboard,
 * so that the guest's layout is the one that counts.
 */
#include <SDL.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "devices/board/pc.h"
#include "frontends/display.h"

#define FRAME_MS 16

struct sdl {
    struct display display;
    struct pc *pc;
    struct display_config config;
    pthread_t thread;
    _Atomic bool quit;
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    struct vga_surface surface;
    u32 width, height; /* of the texture */
    bool grabbed, full_screen;
    char *failed; /* what kept the thread from starting */
    pthread_mutex_t lock;
    pthread_cond_t started;
    bool is_started;
};

/* Set 1 codes by SDL's scan codes, which are USB's (HID usage tables, section 10); bit 7: E0. */
static const u8 codes[SDL_NUM_SCANCODES] = {
    [SDL_SCANCODE_A] = 0x1e,
    [SDL_SCANCODE_B] = 0x30,
    [SDL_SCANCODE_C] = 0x2e,
    [SDL_SCANCODE_D] = 0x20,
    [SDL_SCANCODE_E] = 0x12,
    [SDL_SCANCODE_F] = 0x21,
    [SDL_SCANCODE_G] = 0x22,
    [SDL_SCANCODE_H] = 0x23,
    [SDL_SCANCODE_I] = 0x17,
    [SDL_SCANCODE_J] = 0x24,
    [SDL_SCANCODE_K] = 0x25,
    [SDL_SCANCODE_L] = 0x26,
    [SDL_SCANCODE_M] = 0x32,
    [SDL_SCANCODE_N] = 0x31,
    [SDL_SCANCODE_O] = 0x18,
    [SDL_SCANCODE_P] = 0x19,
    [SDL_SCANCODE_Q] = 0x10,
    [SDL_SCANCODE_R] = 0x13,
    [SDL_SCANCODE_S] = 0x1f,
    [SDL_SCANCODE_T] = 0x14,
    [SDL_SCANCODE_U] = 0x16,
    [SDL_SCANCODE_V] = 0x2f,
    [SDL_SCANCODE_W] = 0x11,
    [SDL_SCANCODE_X] = 0x2d,
    [SDL_SCANCODE_Y] = 0x15,
    [SDL_SCANCODE_Z] = 0x2c,
    [SDL_SCANCODE_1] = 0x02,
    [SDL_SCANCODE_2] = 0x03,
    [SDL_SCANCODE_3] = 0x04,
    [SDL_SCANCODE_4] = 0x05,
    [SDL_SCANCODE_5] = 0x06,
    [SDL_SCANCODE_6] = 0x07,
    [SDL_SCANCODE_7] = 0x08,
    [SDL_SCANCODE_8] = 0x09,
    [SDL_SCANCODE_9] = 0x0a,
    [SDL_SCANCODE_0] = 0x0b,
    [SDL_SCANCODE_RETURN] = 0x1c,
    [SDL_SCANCODE_ESCAPE] = 0x01,
    [SDL_SCANCODE_BACKSPACE] = 0x0e,
    [SDL_SCANCODE_TAB] = 0x0f,
    [SDL_SCANCODE_SPACE] = 0x39,
    [SDL_SCANCODE_MINUS] = 0x0c,
    [SDL_SCANCODE_EQUALS] = 0x0d,
    [SDL_SCANCODE_LEFTBRACKET] = 0x1a,
    [SDL_SCANCODE_RIGHTBRACKET] = 0x1b,
    [SDL_SCANCODE_BACKSLASH] = 0x2b,
    [SDL_SCANCODE_NONUSHASH] = 0x2b,
    [SDL_SCANCODE_SEMICOLON] = 0x27,
    [SDL_SCANCODE_APOSTROPHE] = 0x28,
    [SDL_SCANCODE_GRAVE] = 0x29,
    [SDL_SCANCODE_COMMA] = 0x33,
    [SDL_SCANCODE_PERIOD] = 0x34,
    [SDL_SCANCODE_SLASH] = 0x35,
    [SDL_SCANCODE_CAPSLOCK] = 0x3a,
    [SDL_SCANCODE_F1] = 0x3b,
    [SDL_SCANCODE_F2] = 0x3c,
    [SDL_SCANCODE_F3] = 0x3d,
    [SDL_SCANCODE_F4] = 0x3e,
    [SDL_SCANCODE_F5] = 0x3f,
    [SDL_SCANCODE_F6] = 0x40,
    [SDL_SCANCODE_F7] = 0x41,
    [SDL_SCANCODE_F8] = 0x42,
    [SDL_SCANCODE_F9] = 0x43,
    [SDL_SCANCODE_F10] = 0x44,
    [SDL_SCANCODE_F11] = 0x57,
    [SDL_SCANCODE_F12] = 0x58,
    [SDL_SCANCODE_PRINTSCREEN] = 0xb7,
    [SDL_SCANCODE_SCROLLLOCK] = 0x46,
    [SDL_SCANCODE_PAUSE] = 0xc6,
    [SDL_SCANCODE_INSERT] = 0xd2,
    [SDL_SCANCODE_HOME] = 0xc7,
    [SDL_SCANCODE_PAGEUP] = 0xc9,
    [SDL_SCANCODE_DELETE] = 0xd3,
    [SDL_SCANCODE_END] = 0xcf,
    [SDL_SCANCODE_PAGEDOWN] = 0xd1,
    [SDL_SCANCODE_RIGHT] = 0xcd,
    [SDL_SCANCODE_LEFT] = 0xcb,
    [SDL_SCANCODE_DOWN] = 0xd0,
    [SDL_SCANCODE_UP] = 0xc8,
    [SDL_SCANCODE_NUMLOCKCLEAR] = 0x45,
    [SDL_SCANCODE_KP_DIVIDE] = 0xb5,
    [SDL_SCANCODE_KP_MULTIPLY] = 0x37,
    [SDL_SCANCODE_KP_MINUS] = 0x4a,
    [SDL_SCANCODE_KP_PLUS] = 0x4e,
    [SDL_SCANCODE_KP_ENTER] = 0x9c,
    [SDL_SCANCODE_KP_1] = 0x4f,
    [SDL_SCANCODE_KP_2] = 0x50,
    [SDL_SCANCODE_KP_3] = 0x51,
    [SDL_SCANCODE_KP_4] = 0x4b,
    [SDL_SCANCODE_KP_5] = 0x4c,
    [SDL_SCANCODE_KP_6] = 0x4d,
    [SDL_SCANCODE_KP_7] = 0x47,
    [SDL_SCANCODE_KP_8] = 0x48,
    [SDL_SCANCODE_KP_9] = 0x49,
    [SDL_SCANCODE_KP_0] = 0x52,
    [SDL_SCANCODE_KP_PERIOD] = 0x53,
    [SDL_SCANCODE_NONUSBACKSLASH] = 0x56,
    [SDL_SCANCODE_APPLICATION] = 0xdd,
    [SDL_SCANCODE_LCTRL] = 0x1d,
    [SDL_SCANCODE_LSHIFT] = 0x2a,
    [SDL_SCANCODE_LALT] = 0x38,
    [SDL_SCANCODE_LGUI] = 0xdb,
    [SDL_SCANCODE_RCTRL] = 0x9d,
    [SDL_SCANCODE_RSHIFT] = 0x36,
    [SDL_SCANCODE_RALT] = 0xb8,
    [SDL_SCANCODE_RGUI] = 0xdc,
};

/* ---- the window ---- */

static void set_title(struct sdl *s)
{
    char title[200];
    snprintf(title, sizeof title, "Dragoman%s%s%s%s", s->config.name ? " - " : "",
             s->config.name ? s->config.name : "",
             !machine_running(&s->pc->machine)     ? " [stopped]"
             : machine_suspended(&s->pc->machine) ? " [suspended]"
                                                  : "",
             s->grabbed ? " (Ctrl-Alt-G lets the mouse go)" : "");
    if (strcmp(SDL_GetWindowTitle(s->window), title) != 0)
        SDL_SetWindowTitle(s->window, title);
}

static void grab(struct sdl *s, bool on)
{
    s->grabbed = on;
    SDL_SetRelativeMouseMode(on ? SDL_TRUE : SDL_FALSE);
    SDL_SetWindowGrab(s->window, on ? SDL_TRUE : SDL_FALSE);
}

static void set_full_screen(struct sdl *s, bool on)
{
    s->full_screen = on;
    SDL_SetWindowFullscreen(s->window, on ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
}

/* A texture of the picture's size; the window follows unless the person has made it large. */
static bool fit(struct sdl *s)
{
    if (s->texture && s->width == s->surface.width && s->height == s->surface.height)
        return true;
    if (s->texture)
        SDL_DestroyTexture(s->texture);
    s->width = s->surface.width;
    s->height = s->surface.height;
    s->texture = SDL_CreateTexture(s->renderer, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING,
                                   (int)s->width, (int)s->height);
    SDL_RenderSetLogicalSize(s->renderer, (int)s->width, (int)s->height);
    if (!s->full_screen && !(SDL_GetWindowFlags(s->window) & SDL_WINDOW_MAXIMIZED))
        SDL_SetWindowSize(s->window, (int)s->width, (int)s->height);
    return s->texture != NULL;
}

static void refresh(struct sdl *s, bool all)
{
    struct bus *b = s->pc->machine.bus;
    bus_lock(b);
    bool changed = vga_draw(&s->pc->vga, &s->surface, all);
    set_title(s);
    bus_unlock(b);
    if (!changed)
        return;
    u32 top = s->surface.top, bottom = s->surface.bottom;
    if (!s->surface.width || !s->surface.height || !fit(s)) {
        SDL_RenderClear(s->renderer);
        SDL_RenderPresent(s->renderer);
        return;
    }
    if (top == bottom)
        return;
    SDL_Rect rows = {0, (int)top, (int)s->width, (int)(bottom - top)};
    SDL_UpdateTexture(s->texture, &rows, s->surface.pixels + (size_t)top * s->width,
                      (int)(s->width * 4));
    SDL_RenderClear(s->renderer);
    SDL_RenderCopy(s->renderer, s->texture, NULL, NULL);
    SDL_RenderPresent(s->renderer);
}

/* ---- input ---- */

static void key(struct sdl *s, u8 code, bool down)
{
    struct bus *b = s->pc->machine.bus;
    if (!code)
        return;
    bus_lock(b);
    i8042_key(&s->pc->i8042, code, down);
    bus_unlock(b);
}

/* The keys that the window keeps for itself, with Ctrl and Alt. */
static bool shortcut(struct sdl *s, const SDL_KeyboardEvent *e)
{
    if ((e->keysym.mod & KMOD_CTRL) == 0 || (e->keysym.mod & KMOD_ALT) == 0)
        return false;
    switch (e->keysym.scancode) {
    case SDL_SCANCODE_G: grab(s, !s->grabbed); return true;
    case SDL_SCANCODE_F: set_full_screen(s, !s->full_screen); return true;
    case SDL_SCANCODE_Q: machine_exit(&s->pc->machine, 0); return true;
    case SDL_SCANCODE_U: SDL_SetWindowSize(s->window, (int)s->width, (int)s->height); return true;
    default: return false;
    }
}

/* Keys that are down when the window loses the keyboard would stay so in the guest. */
static void release_all(struct sdl *s)
{
    static const u8 modifiers[] = {0x1d, 0x9d, 0x2a, 0x36, 0x38, 0xb8, 0xdb, 0xdc};
    for (unsigned i = 0; i < sizeof modifiers; i++)
        key(s, modifiers[i], false);
}

static void mouse(struct sdl *s, int dx, int dy, int dz)
{
    struct bus *b = s->pc->machine.bus;
    u32 state = SDL_GetMouseState(NULL, NULL);
    u8 buttons = (u8)((state & SDL_BUTTON_LMASK ? 1 : 0) | (state & SDL_BUTTON_RMASK ? 2 : 0) |
                      (state & SDL_BUTTON_MMASK ? 4 : 0));
    if (!s->grabbed)
        return;
    bus_lock(b);
    i8042_mouse(&s->pc->i8042, dx, -dy, dz, buttons);
    bus_unlock(b);
}

static void event(struct sdl *s, const SDL_Event *e)
{
    switch (e->type) {
    case SDL_QUIT: machine_exit(&s->pc->machine, 0); break;
    case SDL_KEYDOWN:
        if (!shortcut(s, &e->key))
            key(s, codes[e->key.keysym.scancode], true);
        break;
    case SDL_KEYUP: key(s, codes[e->key.keysym.scancode], false); break;
    case SDL_MOUSEMOTION: mouse(s, e->motion.xrel, e->motion.yrel, 0); break;
    case SDL_MOUSEBUTTONDOWN:
        if (!s->grabbed && e->button.button == SDL_BUTTON_LEFT)
            grab(s, true);
        else
            mouse(s, 0, 0, 0);
        break;
    case SDL_MOUSEBUTTONUP: mouse(s, 0, 0, 0); break;
    case SDL_MOUSEWHEEL: mouse(s, 0, 0, -e->wheel.y); break;
    case SDL_WINDOWEVENT:
        if (e->window.event == SDL_WINDOWEVENT_FOCUS_LOST) {
            release_all(s);
            if (s->grabbed)
                grab(s, false);
        } else if (e->window.event == SDL_WINDOWEVENT_EXPOSED ||
                   e->window.event == SDL_WINDOWEVENT_SIZE_CHANGED) {
            refresh(s, true);
        }
        break;
    default: break;
    }
}

/* ---- the thread ---- */

static bool open_window(struct sdl *s)
{
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    if (SDL_InitSubSystem(SDL_INIT_VIDEO) < 0)
        return false;
    /* Where no screen answers SDL draws into memory, which nobody can see. */
    if (!getenv("SDL_VIDEODRIVER") && (!strcmp(SDL_GetCurrentVideoDriver(), "offscreen") ||
                                       !strcmp(SDL_GetCurrentVideoDriver(), "dummy"))) {
        SDL_SetError("no screen answers at DISPLAY or WAYLAND_DISPLAY");
        return false;
    }
    s->window = SDL_CreateWindow("Dragoman", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, 720,
                                 400, SDL_WINDOW_RESIZABLE);
    s->renderer = s->window ? SDL_CreateRenderer(s->window, -1, 0) : NULL;
    return s->renderer != NULL;
}

static void report_start(struct sdl *s, bool good)
{
    pthread_mutex_lock(&s->lock);
    if (!good)
        s->failed = error_text("-display sdl: %s", SDL_GetError());
    s->is_started = true;
    pthread_cond_signal(&s->started);
    pthread_mutex_unlock(&s->lock);
}

static void *run(void *opaque)
{
    struct sdl *s = opaque;
    bool good = open_window(s);
    report_start(s, good);
    if (good && s->config.full_screen)
        set_full_screen(s, true);
    while (good && !atomic_load(&s->quit)) {
        SDL_Event e;
        refresh(s, false);
        if (SDL_WaitEventTimeout(&e, FRAME_MS))
            do
                event(s, &e);
            while (SDL_PollEvent(&e));
    }
    if (s->texture)
        SDL_DestroyTexture(s->texture);
    if (s->renderer)
        SDL_DestroyRenderer(s->renderer);
    if (s->window)
        SDL_DestroyWindow(s->window);
    SDL_QuitSubSystem(SDL_INIT_VIDEO);
    return NULL;
}

static void sdl_free(struct display *d)
{
    struct sdl *s = (struct sdl *)d;
    atomic_store(&s->quit, true);
    pthread_join(s->thread, NULL);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->started);
    free(s->failed);
    free(s->surface.pixels);
    free(s);
}

static bool sdl_available(void)
{
    return getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
}

static struct display *sdl_start(struct pc *pc, const struct display_config *config, char **error)
{
    struct sdl *s = calloc(1, sizeof *s);
    if (s)
        s->surface.pixels = calloc((size_t)VGA_WIDTH_MAX * VGA_HEIGHT_MAX, 4);
    if (!s || !s->surface.pixels) {
        free(s);
        return NULL;
    }
    s->display.free = sdl_free;
    s->pc = pc;
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->started, NULL);
    if (pthread_create(&s->thread, NULL, run, s) != 0) {
        *error = error_text("-display sdl: the host refuses a thread");
        free(s->surface.pixels);
        free(s);
        return NULL;
    }
    pthread_mutex_lock(&s->lock);
    while (!s->is_started)
        pthread_cond_wait(&s->started, &s->lock);
    pthread_mutex_unlock(&s->lock);
    if (!s->failed)
        return &s->display;
    *error = s->failed;
    s->failed = NULL;
    sdl_free(&s->display);
    return NULL;
}

const struct display_kind display_sdl = {
    .name = "sdl",
    .help = "a window; Ctrl-Alt with G: mouse, F: full screen, U: original size, Q: quit",
    .window = true,
    .available = sdl_available,
    .start = sdl_start,
};

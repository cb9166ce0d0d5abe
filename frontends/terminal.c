/* The guest's text screen in the terminal, with colours and keys: ncurses.
 *
 * Code page 437 is shown by Unicode characters; keys come as characters, so that they are turned
 * back into the keys of a US keyboard.  Graphics modes show their size only.  Ctrl-A x ends the
 * emulator, Ctrl-A Ctrl-A types a Ctrl-A.
 */
#define _XOPEN_SOURCE_EXTENDED 1
#include <curses.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <wchar.h>

#include "base/log.h"
#include "devices/board/pc.h"
#include "frontends/display.h"
#include "frontends/typist.h"

#define REFRESH_MS 30
#define ESCAPE_MS 25
#define CTRL_A 1
#define HOLD_MS 10
#define KEYS_MAX 4 /* that one character takes: Shift, Ctrl, Alt and its own */
#define KEY_SHIFT 0x2a
#define KEY_CONTROL 0x1d
#define KEY_ALT 0x38

struct terminal {
    struct display display;
    struct pc *pc;
    pthread_t thread;
    _Atomic bool quit;
    struct vga_text text;
    struct vga_surface surface; /* only to learn whether something has changed */
    bool prefix;
    struct typist typist; /* a terminal gives its keys faster than a keyboard */
    SCREEN *screen;
};

/* Code page 437 in Unicode. */
static const u16 cp437_low[32] = {0x0020, 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022,
                                  0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640, 0x266a, 0x266b, 0x263c,
                                  0x25ba, 0x25c4, 0x2195, 0x203c, 0x00b6, 0x00a7, 0x25ac, 0x21a8,
                                  0x2191, 0x2193, 0x2192, 0x2190, 0x221f, 0x2194, 0x25b2, 0x25bc};
static const u16 cp437_high[129] = {
    0x2302, 0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8,
    0x00ef, 0x00ee, 0x00ec, 0x00c4, 0x00c5, 0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb,
    0x00f9, 0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192, 0x00e1, 0x00ed, 0x00f3,
    0x00fa, 0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab,
    0x00bb, 0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551,
    0x2557, 0x255d, 0x255c, 0x255b, 0x2510, 0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e,
    0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567, 0x2568, 0x2564, 0x2565,
    0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590,
    0x2580, 0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398, 0x03a9,
    0x03b4, 0x221e, 0x03c6, 0x03b5, 0x2229, 0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7,
    0x2248, 0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0};

static wchar_t unicode(u8 c)
{
    return c < 32 ? cp437_low[c] : c < 127 ? c : cp437_high[c - 127];
}

/* ---- the screen ---- */

/* The VGA has blue and red the other way round. */
static short vga_colour(unsigned c)
{
    return (short)((c & 2) | (c >> 2 & 1) | (c << 2 & 4));
}

static void set_attribute(u8 a)
{
    short fore = vga_colour(a & 7), back = vga_colour(a >> 4 & 7);
    attr_t bold = a & 8 ? A_BOLD : A_NORMAL;
    attr_set(bold, (short)(1 + fore * 8 + back), NULL);
}

static void show(struct terminal *t, bool is_text)
{
    erase();
    if (!is_text) {
        mvprintw(0, 0, "%ux%u graphics: see -display sdl (Ctrl-A x ends)", t->surface.width,
                 t->surface.height);
        refresh();
        return;
    }
    for (u32 y = 0; y < t->text.rows && (int)y < LINES; y++)
        for (u32 x = 0; x < t->text.columns && (int)x < COLS; x++) {
            u16 cell = t->text.cell[y * t->text.columns + x];
            wchar_t c[2] = {unicode((u8)cell), 0};
            set_attribute((u8)(cell >> 8));
            mvaddwstr((int)y, (int)x, c);
        }
    curs_set(t->text.cursor);
    move((int)t->text.cursor_row, (int)t->text.cursor_column);
    refresh();
}

static void look(struct terminal *t)
{
    struct bus *b = t->pc->machine.bus;
    bus_lock(b);
    bool changed = vga_draw(&t->pc->vga, &t->surface, false);
    bool is_text = changed && vga_text(&t->pc->vga, &t->text);
    bus_unlock(b);
    if (changed)
        show(t, is_text);
}

/* ---- keys ---- */

/* The unshifted and shifted characters of set 1 codes 02 to 39. */
static const char plain[] = "1234567890-=\b\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shifted[] = "!@#$%^&*()_+\b\0QWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";

static const struct {
    int key;
    u8 code;
} specials[] = {
    {KEY_UP, 0xc8},    {KEY_DOWN, 0xd0},      {KEY_LEFT, 0xcb},
    {KEY_RIGHT, 0xcd}, {KEY_HOME, 0xc7},      {KEY_END, 0xcf},
    {KEY_PPAGE, 0xc9}, {KEY_NPAGE, 0xd1},     {KEY_IC, 0xd2},
    {KEY_DC, 0xd3},    {KEY_BACKSPACE, 0x0e}, {127, 0x0e},
    {KEY_ENTER, 0x9c}, {'\n', 0x1c},          {27, 0x01},
    {KEY_F(1), 0x3b},  {KEY_F(2), 0x3c},      {KEY_F(3), 0x3d},
    {KEY_F(4), 0x3e},  {KEY_F(5), 0x3f},      {KEY_F(6), 0x40},
    {KEY_F(7), 0x41},  {KEY_F(8), 0x42},      {KEY_F(9), 0x43},
    {KEY_F(10), 0x44}, {KEY_F(11), 0x57},     {KEY_F(12), 0x58},
};

/* The key of a character, and whether Shift or Ctrl goes with it; 0: there is none. */
static u8 find_key(int c, bool *shift, bool *control)
{
    *shift = *control = false;
    for (unsigned i = 0; i < ARRAY_SIZE(specials); i++)
        if (specials[i].key == c)
            return specials[i].code;
    if (c > 0 && c < 27 && c != '\t' && c != '\b' && c != '\r') {
        *control = true;
        c += 'a' - 1;
    }
    for (unsigned i = 0; c > 0 && c < 127 && i < sizeof plain - 1; i++) {
        *shift = shifted[i] == c && plain[i] != c;
        if (plain[i] == c || shifted[i] == c)
            return (u8)(i + 2);
    }
    return 0;
}

static void type(struct terminal *t, int c, bool alt)
{
    bool shift, control;
    u8 code = find_key(c, &shift, &control), held[KEYS_MAX];
    unsigned n = 0;
    if (!code)
        return;
    if (shift)
        held[n++] = KEY_SHIFT;
    if (control)
        held[n++] = KEY_CONTROL;
    if (alt)
        held[n++] = KEY_ALT;
    held[n++] = code;
    bus_lock(t->pc->machine.bus);
    typist_press(&t->typist, held, n, HOLD_MS); /* has_room: it fits */
    bus_unlock(t->pc->machine.bus);
}

/* What does not fit waits in the terminal. */
static bool has_room(struct terminal *t)
{
    bus_lock(t->pc->machine.bus);
    bool room = t->typist.count + 2 * KEYS_MAX <= TYPIST_EVENTS;
    bus_unlock(t->pc->machine.bus);
    return room;
}

static void take_key(struct terminal *t, int c)
{
    if (t->prefix) {
        t->prefix = false;
        if (c == 'x')
            machine_exit(&t->pc->machine, 0);
        else if (c == CTRL_A)
            type(t, c, false);
        return;
    }
    if (c == CTRL_A) {
        t->prefix = true;
        return;
    }
    bool alt = false;
    if (c == 27) { /* Escape, or Alt with what follows at once */
        timeout(ESCAPE_MS);
        int next = getch();
        timeout(REFRESH_MS);
        alt = next != ERR;
        c = alt ? next : c;
    }
    type(t, c, alt);
}

/* ---- the thread ---- */

static void *run(void *opaque)
{
    struct terminal *t = opaque;
    while (!atomic_load(&t->quit)) {
        look(t);
        if (!has_room(t)) {
            napms(REFRESH_MS);
            continue;
        }
        int c = getch();
        if (c == KEY_RESIZE)
            show(t, vga_is_text(&t->pc->vga));
        else if (c != ERR)
            take_key(t, c);
    }
    return NULL;
}

static void open_screen(struct terminal *t)
{
    setlocale(LC_CTYPE, "");
    set_escdelay(ESCAPE_MS);
    raw();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    timeout(REFRESH_MS);
    if (!has_colors())
        return;
    start_color();
    for (short fore = 0; fore < 8; fore++)
        for (short back = 0; back < 8; back++)
            init_pair((short)(1 + fore * 8 + back), fore, back);
}

static void terminal_free(struct display *d)
{
    struct terminal *t = (struct terminal *)d;
    atomic_store(&t->quit, true);
    pthread_join(t->thread, NULL);
    bus_lock(t->pc->machine.bus);
    typist_stop(&t->typist);
    bus_unlock(t->pc->machine.bus);
    endwin();
    delscreen(t->screen);
    free(t->surface.pixels);
    free(t);
}

static bool terminal_available(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static struct display *terminal_start(struct pc *pc, const struct display_config *config,
                                      char **error)
{
    struct terminal *t = calloc(1, sizeof *t);
    if (t)
        t->surface.pixels = calloc((size_t)VGA_WIDTH_MAX * VGA_HEIGHT_MAX, 4);
    if (!t || !t->surface.pixels) {
        free(t);
        return NULL;
    }
    t->display.free = terminal_free;
    t->pc = pc;
    typist_init(&t->typist, pc);
    setlocale(LC_CTYPE, "");
    t->screen = terminal_available() ? newterm(NULL, stdout, stdin) : NULL;
    if (!t->screen) {
        *error = error_text("-display terminal: this is no terminal that it can use");
    } else {
        open_screen(t);
        if (pthread_create(&t->thread, NULL, run, t) == 0)
            return &t->display;
        endwin();
        delscreen(t->screen);
        *error = error_text("-display terminal: the host refuses a thread");
    }
    free(t->surface.pixels);
    free(t);
    return NULL;
}

const struct display_kind display_terminal = {
    .name = "terminal",
    .help = "text modes on this terminal; Ctrl-A x ends",
    .available = terminal_available,
    .start = terminal_start,
};

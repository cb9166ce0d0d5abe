/* Names of keys, as the monitor's sendkey knows them. */
#ifndef DRAGOMAN_FRONTENDS_KEYS_H
#define DRAGOMAN_FRONTENDS_KEYS_H

#include "base/types.h"

#define KEYS_MAX 16

/* Parses "ctrl-alt-f1" or "0x1c" into PS/2 set 1 codes as ps2_keyboard_key takes them; returns how
 * many, or 0 with *bad set to the part that is no key (of length *bad_len). */
unsigned keys_parse(const char *text, u8 codes[KEYS_MAX], const char **bad, unsigned *bad_len);

#endif

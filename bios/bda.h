/* The BIOS data area at 40:0 (IBM PC AT Technical Reference, section 5), as linear addresses. */
#ifndef BIOS_BDA_H
#define BIOS_BDA_H

enum {
    BDA_COM = 0x400,       /* u16 x 4: I/O bases */
    BDA_LPT = 0x408,       /* u16 x 3 */
    BDA_EBDA = 0x40e,      /* u16: segment */
    BDA_EQUIPMENT = 0x410, /* u16 */
    BDA_MEMORY = 0x413,    /* u16: KiB below 640K */
    BDA_SHIFT = 0x417,     /* u8 x 2: keyboard state */
    BDA_SHIFT2 = 0x418,    /* its second byte */
    BDA_KEYPAD = 0x419,    /* u8: code being typed with Alt */
    BDA_KEY_HEAD = 0x41a,  /* u16: offsets from 400h */
    BDA_KEY_TAIL = 0x41c,
    BDA_KEY_BUFFER = 0x41e,  /* 16 words */
    BDA_MOTOR = 0x43f,       /* u8: floppy motors that run; bits 5:4: the drive */
    BDA_MOTOR_TICKS = 0x440, /* u8: INT 08h's until they stop */
    BDA_VIDEO_MODE = 0x449,  /* u8 */
    BDA_COLUMNS = 0x44a,     /* u16 */
    BDA_PAGE_SIZE = 0x44c,   /* u16 */
    BDA_CURSOR = 0x450,      /* u8 column, u8 row for eight pages */
    BDA_CURSOR_SHAPE = 0x460,
    BDA_PAGE = 0x462,        /* u8 */
    BDA_CRTC = 0x463,        /* u16 */
    BDA_TICKS = 0x46c,       /* u32 since midnight */
    BDA_MIDNIGHT = 0x470,    /* u8 */
    BDA_BREAK = 0x471,       /* u8: bit 7: Ctrl-Break */
    BDA_RESET_FLAG = 0x472,  /* u16: 1234h for a warm reset */
    BDA_DISK_STATUS = 0x474, /* u8 */
    BDA_DISKS = 0x475,       /* u8 */
    BDA_LPT_TIMEOUT = 0x478, /* u8 x 4 */
    BDA_COM_TIMEOUT = 0x47c, /* u8 x 4 */
    BDA_KEY_START = 0x480,   /* u16: offsets of the ring from 400h */
    BDA_KEY_END = 0x482,
    BDA_ROWS = 0x484,         /* u8: less one */
    BDA_FONT_HEIGHT = 0x485,  /* u16 */
    BDA_EGA_CONTROL = 0x487,  /* u8 */
    BDA_EGA_SWITCHES = 0x488, /* u8 */
    BDA_VGA_FLAGS = 0x489,    /* u8 */
    BDA_COMBINATION = 0x48a,  /* u8: display adapters, as INT 10h AH = 1Ah has them */
    BDA_KEY_FLAGS3 = 0x496,   /* u8: E0 seen, right Alt and Ctrl, 101 keys */
    BDA_KEY_FLAGS2 = 0x497,   /* u8: LEDs */
    BDA_WAIT_FLAG = 0x498,    /* far pointer: whose bit 7 a wait sets at its end */
    BDA_WAIT_LEFT = 0x49c,    /* u32: microseconds */
    BDA_WAITING = 0x4a0,      /* u8: bit 0: somebody waits */

    EGA_NO_CURSOR_EMULATION = 0x01,
    EGA_KEPT = 0x80, /* memory was not cleared by the last mode set */
    VGA_ACTIVE = 0x01,
    VGA_GREY = 0x02,
    VGA_NO_PALETTE = 0x08,
    VGA_400_LINES = 0x10,
    VGA_200_LINES = 0x80,

    EQUIPMENT_FLOPPY = 0x01,
    EQUIPMENT_FLOPPIES = 0xc0, /* how many, less one */
    EQUIPMENT_FLOPPY_ONE = 0x40,
    EQUIPMENT_FPU = 0x02,
    EQUIPMENT_MOUSE = 0x04,
    EQUIPMENT_VIDEO_80 = 0x20,
    EQUIPMENT_COM_SHIFT = 9,
    EQUIPMENT_LPT_SHIFT = 14,
};

/* The equipment word with another floppy drive. */
static inline unsigned short one_floppy_more(unsigned short equipment)
{
    if (!(equipment & EQUIPMENT_FLOPPY))
        return (unsigned short)((equipment & ~EQUIPMENT_FLOPPIES) | EQUIPMENT_FLOPPY);
    return (unsigned short)(equipment + EQUIPMENT_FLOPPY_ONE);
}

#endif

/* The firmware's probe: what interrupts bring in.  Keyboard, pointing device, clocks. */
#include "bios_probe.h"

enum { PM_TIMER = 0x608, TICKS_A_DAY = 0x1800b0 };

/* Counts calls.  AH = 4Fh with the scan code to be swallowed returns without carry, and what is not
 * ours goes on to the old handler. */
__asm__(".code16\n"
        "hook_entry:\n"
        "pushw %ds\n"
        "pushw %cs\n"
        "popw %ds\n"
        "incl hook_count\n"
        "cmpb $0x15, hook_vector\n"
        "jne 1f\n"
        "cmpb $0x4f, %ah\n"
        "jne 2f\n"
        "cmpb swallow, %al\n"
        "jne 2f\n"
        "popw %ds\n"
        "clc\n"
        "lretw $2\n"
        "2: popw %ds\n"
        "ljmpw *%cs:hook_old\n"
        "1: popw %ds\n"
        "iretw\n"
        ".code16gcc\n");

static volatile u32 hook_count __attribute__((used));
static u32 hook_old __attribute__((used));
static u8 hook_vector __attribute__((used)), swallow __attribute__((used));
extern const u8 hook_entry[];

static void hook(u8 vector)
{
    hook_count = 0;
    hook_vector = vector;
    far_segment(0);
    hook_old = FAR(u32, vector * 4);
    FAR(u32, vector * 4) = (u32)own_segment() << 16 | (u16)(u32)hook_entry;
}

static void unhook(const char *name)
{
    far_segment(0);
    FAR(u32, hook_vector * 4) = hook_old;
    if (!name)
        return;
    text("hook-");
    text(name);
    hex(hook_count);
    end();
}

/* ---- keyboard ---- */

enum { FROM_KEYBOARD = 0xd2, FROM_POINTER = 0xd3 };

/* The 8042 takes a byte as if it came from a device. */
static void arrive(u8 command, u8 v)
{
    while (inb(0x64) & 3)
        __asm__ volatile("sti; nop; nop; cli");
    outb(0x64, command);
    while (inb(0x64) & 2)
        continue;
    outb(0x60, v);
    for (u32 i = 0; i < 1000000 && inb(0x64) & 1; i++)
        __asm__ volatile("sti; nop; nop; cli");
}

void keys(const char *name, const u8 *codes, u8 function)
{
    for (; *codes; codes++)
        arrive(FROM_KEYBOARD, *codes);
    text(name);
    for (int i = 0; i < 16; i++) {
        struct regs r = call(0, 0x16, blank((function + 1u) << 8));
        if (r.eflags & ZERO)
            break;
        hex(call(0, 0x16, blank((u32)function << 8)).eax & 0xffff);
    }
    end();
}

void keyboard(void)
{
    static const u8 plain[] = {0x1e, 0x9e, 0x1c, 0x9c, 0x39, 0xb9, 0};
    static const u8 shifted[] = {0x2a, 0x1e, 0x9e, 0x03, 0x83, 0xaa, 0x1e, 0x9e, 0};
    static const u8 control[] = {0x1d, 0x2e, 0xae, 0x9d, 0x38, 0x10, 0x90, 0xb8, 0};
    static const u8 grey[] = {0xe0, 0x48, 0xe0, 0xc8, 0x3b, 0xbb, 0x48, 0xc8,
                              0x45, 0xc5, 0x48, 0xc8, 0x45, 0xc5, 0};
    call("16-empty", 0x16, blank(0x0100));
    keys("16-plain", plain, 0x00);
    keys("16-shift", shifted, 0x00);
    keys("16-control", control, 0x00);
    keys("16-grey", grey, 0x10);
    keys("16-grey-old", grey, 0x00);
    struct regs r = blank(0x0500);
    r.ecx = 0x1234;
    call("16-stuff", 0x16, r);
    keys("16-stuffed", (const u8 *)"", 0x10);
}

/* On the third tick of the pause (bit 3 of 418h), INT 1Ch lets a key come, which ends it. */
__asm__(".code16\n"
        "pause_hook:\n"
        "pushw %ax\n"
        "pushw %ds\n"
        "xorw %ax, %ax\n"
        "movw %ax, %ds\n"
        "testb $8, 0x418\n"
        "popw %ds\n"
        "jz 1f\n"
        "incw %cs:pause_ticks\n"
        "cmpw $3, %cs:pause_ticks\n"
        "jne 1f\n"
        "movb $0xd2, %al\n"
        "outb %al, $0x64\n"
        "2: inb $0x64, %al\n"
        "testb $2, %al\n"
        "jnz 2b\n"
        "movb $0x39, %al\n"
        "outb %al, $0x60\n"
        "1: popw %ax\n"
        "iretw\n"
        ".code16gcc\n");

static volatile u16 pause_ticks __attribute__((used));
extern const u8 pause_hook[];

/* System Request, which is two calls of INT 15h beside those for the codes; Pause. */
static void special_keys(void)
{
    static const u8 request[] = {0x54, 0xd4, 0}, pause[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0},
                    after[] = {0xb9, 0x1e, 0x9e, 0};
    hook(0x15);
    keys("16-nothing", request, 0x00);
    unhook("15");
    far_segment(0);
    u32 old = FAR(u32, 0x1c * 4);
    FAR(u32, 0x1c * 4) = (u32)own_segment() << 16 | (u16)(u32)pause_hook;
    keys("16-nothing", pause, 0x00);
    far_segment(0);
    FAR(u32, 0x1c * 4) = old;
    text("16-paused");
    hex(pause_ticks >= 3);
    end();
    keys("16-after-pause", after, 0x00);
}

void more_keys(void)
{
    static const u8 numbers[] = {0x38, 0x4d, 0xcd, 0x4c, 0xcc, 0xb8, 0x38, 0x0f, 0x8f, 0xb8, 0};
    static const u8 grey_control[] = {0x1d, 0xe0, 0x48, 0xe0, 0xc8, 0x9d,
                                      0x2a, 0x0f, 0x8f, 0xaa, 0};
    static const u8 right[] = {0xe0, 0x1d, 0xe0, 0x38, 0x3a, 0};
    static const u8 right_up[] = {0xba, 0x3a, 0xba, 0xe0, 0x9d, 0xe0, 0xb8, 0};
    static const u8 stop[] = {0x1e, 0x9e, 0x1d, 0xe0, 0x46, 0xe0, 0xc6, 0x9d, 0};
    static const u8 print[] = {0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa, 0};
    static const u8 dropped[] = {0x10, 0x90, 0x11, 0x91, 0};
    keys("16-numbers", numbers, 0x00);
    keys("16-grey-control", grey_control, 0x10);
    keys("16-nothing", right, 0x10);
    call("16-shifts", 0x16, blank(0x1200));
    keys("16-nothing", right_up, 0x10);
    call("16-shifts-up", 0x16, blank(0x1200));
    hook(0x1b);
    keys("16-break", stop, 0x00);
    unhook("1b");
    hook(0x05);
    keys("16-nothing", print, 0x00);
    unhook("05");
    swallow = 0x10;
    hook(0x15);
    keys("16-intercepted", dropped, 0x00);
    unhook(0);
    swallow = 0;
    special_keys();
    far_segment(0);
    text("break-flag");
    hex(FAR(u8, 0x471));
    end();
    call("16-able", 0x16, blank(0x0900));
    call("16-id", 0x16, blank(0x0a00));
    struct regs r = {.eax = 0x0305, .ebx = 0x0207};
    call("16-typematic", 0x16, r);
    call("16-typematic-now", 0x16, blank(0x0306));
    call(0, 0x16, blank(0x0300));
}

/* ---- pointing device ---- */

/* Its handler is called with four words behind the return address. */
__asm__(".code16\n"
        "pointer_handler:\n"
        "pushw %bp\n"
        "movw %sp, %bp\n"
        "pushw %ds\n"
        "pushw %ax\n"
        "movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "movw 12(%bp), %ax\n"
        "movw %ax, pointer_words\n"
        "movw 10(%bp), %ax\n"
        "movw %ax, pointer_words + 2\n"
        "movw 8(%bp), %ax\n"
        "movw %ax, pointer_words + 4\n"
        "incw pointer_calls\n"
        "popw %ax\n"
        "popw %ds\n"
        "popw %bp\n"
        "lretw\n"
        ".code16gcc\n");

static volatile u16 pointer_words[3] __attribute__((used)), pointer_calls __attribute__((used));
extern const u8 pointer_handler[];

static void pointer_call(const char *name, u8 function, u8 bh)
{
    struct regs r = {.eax = 0xc200u | function, .ebx = (u32)bh << 8};
    call(name, 0x15, r);
}

void pointer(void)
{
    pointer_call("c2-early", 0, 1);
    pointer_call("c2-init", 5, 3);
    pointer_call("c2-type", 4, 0);
    struct regs r = {.eax = 0xc207, .ebx = (u32)pointer_handler, .es = own_segment()};
    call("c2-handler", 0x15, r);
    pointer_call("c2-rate", 2, 5);
    pointer_call("c2-resolution", 3, 2);
    pointer_call("c2-scaling", 6, 2);
    pointer_call("c2-enable", 0, 1);
    pointer_call("c2-status", 6, 0);
    pointer_call("c2-bad-rate", 2, 9);
    pointer_call("c2-bad", 0x77, 0);
    static const u8 bytes[] = {0x29, 0x05, 0xfb, 0x08, 0x11, 0x22};
    for (unsigned i = 0; i < sizeof bytes; i++)
        arrive(FROM_POINTER, bytes[i]);
    text("c2-packet");
    hex(pointer_calls);
    for (unsigned i = 0; i < 3; i++)
        hex(pointer_words[i]);
    end();
    pointer_call("c2-disable", 0, 0);
}

/* ---- time ---- */

/* Waits for a bit of a byte, with interrupts, for some three seconds at most. */
static int wait_bit(volatile u8 *p, u8 bit)
{
    u32 ticks = 0, last = 0;
    while (!(*p & bit) && ticks < 60) {
        __asm__ volatile("sti; hlt; cli");
        far_segment(0);
        ticks += FAR(u32, 0x46c) != last;
        last = FAR(u32, 0x46c);
    }
    return (*p & bit) != 0;
}

void waits(void)
{
    static volatile u8 flag;
    struct regs r = {.eax = 0x8300, .ecx = 0, .edx = 20000, .ebx = (u32)&flag, .es = own_segment()};
    call("83", 0x15, r);
    call("83-busy", 0x15, r);
    text("83-done");
    hex((u32)wait_bit(&flag, 0x80));
    end();
    flag = 0;
    r.ecx = 0x0f00;
    call(0, 0x15, r);
    call("83-cancel", 0x15, blank(0x8301));
    far_segment(0);
    text("83-flag");
    hex(FAR(u8, 0x4a0) & 1);
    end();
    struct regs w = {.eax = 0x8600, .edx = 60000};
    u32 before = inl(PM_TIMER);
    for (int i = 0; i < 4; i++)
        call(0, 0x15, w);
    text("86");
    hex(((inl(PM_TIMER) - before) & 0xffffff) / 3580 >= 240);
    end();
}

static u8 bcd_next(u8 v)
{
    v++;
    return (u8)((v & 15) > 9 ? (v & 0xf0) + 16 : v) % 0x60;
}

void alarm(void)
{
    hook(0x4a);
    struct regs t = call(0, 0x1a, blank(0x0200));
    /* Not the next one, which may come before the alarm is set. */
    u8 second = bcd_next(bcd_next((u8)(t.edx >> 8)));
    t.eax = 0x0600;
    t.ecx = 0xffff; /* any hour and minute */
    t.edx = (u32)second << 8;
    call("1a-alarm", 0x1a, t);
    call("1a-alarm-again", 0x1a, t);
    text("1a-rang");
    hex((u32)wait_bit((volatile u8 *)&hook_count, 1));
    end();
    call("1a-alarm-off", 0x1a, blank(0x0700));
    unhook(0);
}

/* On the third tick, INT 1Ch puts a key into the buffer, from a stack of its own, while INT 16h
 * waits for one. */
__asm__(".code16\n"
        "tick_hook:\n"
        "pushal\n"
        "pushw %ds\n"
        "movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "incl tick_count\n"
        "cmpl $3, tick_count\n"
        "jne 1f\n"
        "movw %ss, tick_ss\n"
        "movl %esp, tick_esp\n"
        "movw %ax, %ss\n"
        "movl $tick_stack + 512, %esp\n"
        "movw $0x0500, %ax\n"
        "movw $0x5678, %cx\n"
        "int $0x16\n"
        "int $0x12\n"
        "movw %ax, tick_memory\n"
        "movw tick_ss, %ss\n"
        "movl tick_esp, %esp\n"
        "1: popw %ds\n"
        "popal\n"
        "iretw\n"
        ".code16gcc\n");

static volatile u32 tick_count __attribute__((used));
static u32 tick_esp __attribute__((used));
static volatile u16 tick_ss __attribute__((used)), tick_memory __attribute__((used));
static u8 tick_stack[512] __attribute__((used));
extern const u8 tick_hook[];

void time(void)
{
    far_segment(0);
    u32 old = FAR(u32, 0x1c * 4);
    __asm__ volatile("cli");
    u32 before = FAR(u32, 0x46c);
    FAR(u32, 0x1c * 4) = (u32)own_segment() << 16 | (u16)(u32)tick_hook;
    u32 key = call(0, 0x16, blank(0x0000)).eax & 0xffff;
    /* More than three if the host had no time for us: each tick of the clock is one call. */
    __asm__ volatile("cli");
    far_segment(0);
    u32 now = FAR(u32, 0x46c), ticks = now < before ? now + TICKS_A_DAY - before : now - before;
    u32 calls = tick_count;
    FAR(u32, 0x1c * 4) = old;
    text("tick");
    hex(key);
    hex(tick_memory);
    hex(calls >= 3);
    hex(ticks - calls);
    end();
    /* The date before the time and after it, which differ at midnight. */
    call("1a-date", 0x1a, blank(0x0400));
    call("1a-time", 0x1a, blank(0x0200));
    call("1a-date", 0x1a, blank(0x0400));
    call("1a-ticks", 0x1a, blank(0x0000));
}

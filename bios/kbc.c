/* The 8042 and what is at its two ports, as the services talk to them.
 *
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboard and auxiliary device controller".
 * While a device is asked something the other one's clock is held and no interrupt is raised,
 * so that the next byte is the answer.
 */
#include "bios/chips.h"
#include "bios/service.h"

enum { ACK = 0xfa, STEP_US = 15, INPUT_STEPS = 2000, ANSWER_STEPS = 70000 };

/* The command byte while nobody is asked anything. */
static u8 mode = KBC_MODE;

static bool wait_status(u8 bits, bool set, u32 steps)
{
    for (; steps; steps--) {
        if (!(inb(KBC_COMMAND) & bits) != set)
            return true;
        delay_us(STEP_US);
    }
    return false;
}

static bool write(u16 port, u8 v)
{
    if (!wait_status(KBC_INPUT_FULL, false, INPUT_STEPS))
        return false;
    outb(port, v);
    return true;
}

static void set_mode(u8 v)
{
    write(KBC_COMMAND, KBC_SET_MODE);
    write(KBC_DATA, v);
    wait_status(KBC_INPUT_FULL, false, INPUT_STEPS);
}

/* Whatever has come before: keys count, a packet that has been begun does not. */
static void drain(void)
{
    u8 status;
    for (u32 i = 0; i < 64 && (status = inb(KBC_COMMAND)) & KBC_OUTPUT_FULL; i++) {
        u8 v = inb(KBC_DATA);
        if (!(status & KBC_FROM_AUX))
            keyboard_scancode(v);
    }
}

void kbc_begin(bool aux)
{
    u8 quiet = KBC_MODE_SYSTEM | KBC_MODE_TRANSLATE |
               (aux ? KBC_MODE_NO_KEYBOARD : KBC_MODE_NO_AUX);
    set_mode(KBC_MODE_SYSTEM | KBC_MODE_TRANSLATE | KBC_MODE_NO_KEYBOARD | KBC_MODE_NO_AUX);
    drain();
    set_mode(quiet);
}

void kbc_end(void)
{
    set_mode(mode);
}

void kbc_pointer(bool on)
{
    u8 bits = KBC_MODE_IRQ12 | KBC_MODE_NO_AUX;
    mode = (u8)((mode & ~bits) | (on ? KBC_MODE_IRQ12 : KBC_MODE_NO_AUX));
}

bool kbc_answer(u8 *v)
{
    if (!wait_status(KBC_OUTPUT_FULL, true, ANSWER_STEPS))
        return false;
    *v = inb(KBC_DATA);
    return true;
}

bool kbc_ask(bool aux, u8 byte)
{
    u8 v;
    if (aux && !write(KBC_COMMAND, KBC_TO_AUX))
        return false;
    return write(KBC_DATA, byte) && kbc_answer(&v) && v == ACK;
}

bool kbc_tell(u8 command, u8 argument)
{
    kbc_begin(false);
    bool good = kbc_ask(false, command) && kbc_ask(false, argument);
    kbc_end();
    return good;
}

_Noreturn void reset_machine(void)
{
    write(KBC_COMMAND, KBC_RESET);
    delay_us(1000);
    outb(RESET_CONTROL, RESET_CONTROL_HARD);
    for (;;)
        __asm__ volatile("hlt");
}

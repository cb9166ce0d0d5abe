/* INT 15h AH = 53h and the entries for protected mode: Advanced Power Management.
 *
 * APM BIOS Interface Specification 1.2 (Intel and Microsoft).  Compiled as 16- and as 32-bit
 * code: data lies at the same offsets behind DS in both, and the caller's registers behind GS
 * (services.S).  No battery, no events; stand-by and suspend last until the next interrupt.
 */
#include "bios/service.h"

enum {
    NOT_CONNECTED = 0x03,
    CONNECTED = 0x02, /* to real mode; +3: to 16-bit protected mode, +5: to 32-bit */
    BAD_DEVICE = 0x09,
    BAD_VALUE = 0x0a,
    NOT_ENGAGED = 0x0b,
    NO_EVENT = 0x80,
    NOT_PRESENT = 0x86,

    APM_16 = 0x01,
    APM_32 = 0x02,
    APM_OFF = 0x08, /* power management is disabled */

    ALL_DEVICES = 0x0001,
    ANY_DEVICE = 0xffff,
    STATE_STANDBY = 1,
    STATE_SUSPEND = 2,
    STATE_OFF = 3,

    PM1_CONTROL = 4 - 8, /* from the timer's port */
    SLEEP_OFF = 0x2000,  /* PIIX4: SUS_TYP 0, SUS_EN */
};

extern const u8 apm_entry_16[], apm_entry_32[]; /* offsets in CODE_SEG, linear address */

static void good(frame_ptr f)
{
    set_carry(f, false);
}

static void bad(frame_ptr f, u8 code)
{
    f->ah = code;
    set_carry(f, true);
}

static void connect(frame_ptr f, u8 how)
{
    static const u8 already[] = {0, 0x02, 0x05, 0x07};
    if (f->bx != 0) {
        bad(f, BAD_DEVICE);
        return;
    }
    if (shared.apm_connected) {
        bad(f, already[shared.apm_connected]);
        return;
    }
    shared.apm_connected = how;
    shared.apm_version = 0x0100;
    good(f);
    if (how == 2) {
        f->ax = CODE_SEG;
        f->bx = (u16)(u32)apm_entry_16;
        f->cx = DATA_SEG;
        f->si = 0xffff;
        f->di = DATA_SIZE;
    } else if (how == 3) {
        f->ax = ROM_BASE >> 4;
        f->ebx = (u32)apm_entry_32 - ROM_BASE;
        f->cx = CODE_SEG;
        f->dx = DATA_SEG;
        f->esi = 0xffffffff;
        f->di = DATA_SIZE;
    }
}

static void idle(void)
{
    __asm__ volatile("sti; hlt; cli" : : : "memory");
}

static void set_state(frame_ptr f)
{
    if (f->bx != ALL_DEVICES) {
        bad(f, BAD_DEVICE);
        return;
    }
    switch (f->cx) {
    case STATE_STANDBY:
    case STATE_SUSPEND: idle(); break;
    case STATE_OFF:
        if (shared.pm_timer)
            outw((u16)(shared.pm_timer + PM1_CONTROL), SLEEP_OFF);
        break;
    default: bad(f, BAD_VALUE); return;
    }
    good(f);
}

static bool is_all(frame_ptr f)
{
    if (f->bx == ALL_DEVICES || f->bx == ANY_DEVICE)
        return true;
    bad(f, BAD_DEVICE);
    return false;
}

static void power_status(frame_ptr f)
{
    if (f->bx != ALL_DEVICES) {
        bad(f, BAD_DEVICE);
        return;
    }
    f->bx = 0x01ff; /* on line; battery unknown */
    f->cx = 0x80ff; /* no battery */
    f->dx = 0xffff;
    f->si = 0;
    good(f);
}

static void driver_version(frame_ptr f)
{
    shared.apm_version = f->cx < 0x0102 ? f->cx : 0x0102;
    f->ax = shared.apm_version;
    good(f);
}

/* Functions that a connected caller may use. */
static void connected_service(frame_ptr f)
{
    switch (f->al) {
    case 0x04:
        shared.apm_connected = 0;
        good(f);
        break;
    case 0x05:
        idle();
        good(f);
        break;
    case 0x06: good(f); break;
    case 0x07: set_state(f); break;
    case 0x08: /* enable, disable */
        if (!is_all(f))
            break;
        shared.apm_off = f->cx == 0;
        good(f);
        break;
    case 0x09:
        if (!is_all(f))
            break;
        shared.apm_off = 0;
        good(f);
        break;
    case 0x0a: power_status(f); break;
    case 0x0b: bad(f, NO_EVENT); break;
    case 0x0c:
        if (!is_all(f))
            break;
        f->cx = 0; /* ready */
        good(f);
        break;
    case 0x0d:
    case 0x0f:
        if (is_all(f))
            good(f);
        break;
    case 0x0e: driver_version(f); break;
    case 0x10:
        f->bl = 0; /* batteries */
        f->cx = 0;
        good(f);
        break;
    default: bad(f, NOT_PRESENT); break;
    }
}

void apm_service(frame_ptr f)
{
    switch (f->al) {
    case 0x00:
        if (f->bx != 0) {
            bad(f, BAD_DEVICE);
            return;
        }
        f->ax = 0x0102;
        f->bx = 0x504d; /* "PM" */
        f->cx = (u16)(APM_16 | APM_32 | (shared.apm_off ? APM_OFF : 0));
        good(f);
        break;
    case 0x01:
    case 0x02:
    case 0x03: connect(f, f->al); break;
    default:
        if (shared.apm_connected)
            connected_service(f);
        else
            bad(f, NOT_CONNECTED);
    }
}

/* INT 08h, 70h and 1Ah: ticks, real-time clock; and the way to PCI BIOS.
 *
 * IBM PC AT Technical Reference, BIOS listing, TIME_OF_DAY and TIMER_INT; MC146818A data sheet.
 * INT 15h AH = 83h waits by the clock's periodic interrupt, PS/2 and PC BIOS Interface Technical
 * Reference.
 */
#include "bios/chips.h"
#include "bios/service.h"

enum {
    TICKS_PER_DAY = 0x1800b0,
    RTC_A_UPDATING = 0x80,
    RTC_B_SET = 0x80,
    RTC_B_DST = 0x01,
    RTC_B_24H = 0x02,
    RTC_B_ALARM = 0x20,
    RTC_B_PERIODIC = 0x40,
    PERIOD_US = 976, /* 1024 Hz, as POST sets it */
    BUSY = 0x83,
};

/* INT 08h: 18.2 times a second. */
void service_08(frame_ptr f)
{
    u32 ticks = bda32(BDA_TICKS) + 1;
    if (ticks >= TICKS_PER_DAY) {
        ticks = 0;
        bda8_set(BDA_MIDNIGHT, 1);
    }
    bda32_set(BDA_TICKS, ticks);
    u8 left = bda8(BDA_MOTOR_TICKS);
    if (left) {
        bda8_set(BDA_MOTOR_TICKS, --left);
        if (!left) {
            bda8_set(BDA_MOTOR, bda8(BDA_MOTOR) & 0xf0);
            outb(0x3f2, 0x0c);
        }
    }
    call_int(0x1c);
    irq_end(0);
}

/* ---- interrupts of the real-time clock ---- */

static void rtc_interrupts(u8 on, u8 off)
{
    cmos_write(RTC_B, (u8)((cmos_read(RTC_B) & ~off) | on));
    if (on)
        outb(PIC_SLAVE + 1, inb(PIC_SLAVE + 1) & ~1);
}

static void wait_passes(void)
{
    u32 left = bda32(BDA_WAIT_LEFT);
    bda32_set(BDA_WAIT_LEFT, left > PERIOD_US ? left - PERIOD_US : 0);
    if (left > PERIOD_US)
        return;
    rtc_interrupts(0, RTC_B_PERIODIC);
    bda8_set(BDA_WAITING, 0);
    u32 flag = bda32(BDA_WAIT_FLAG);
    far_segment((u16)(flag >> 16));
    FAR(u8, (u16)flag) |= 0x80;
}

/* INT 70h, IRQ 8: reading register C takes the requests back, whose bits are those that enable them
 * in B. */
void service_70(frame_ptr f)
{
    u8 causes = cmos_read(RTC_C) & cmos_read(RTC_B);
    if (causes & RTC_B_PERIODIC && bda8(BDA_WAITING) & 1)
        wait_passes();
    if (causes & RTC_B_ALARM)
        call_int(0x4a);
    irq_end(8);
}

/* INT 15h AH = 83h: bit 7 of the byte at ES:BX is set in CX:DX microseconds. */
void event_wait(frame_ptr f)
{
    if (f->al > 1 || (f->al == 0 && bda8(BDA_WAITING) & 1)) {
        fail(f, BUSY);
        return;
    }
    if (f->al == 1) {
        rtc_interrupts(0, RTC_B_PERIODIC);
        bda8_set(BDA_WAITING, 0);
    } else {
        bda32_set(BDA_WAIT_FLAG, (u32)f->es << 16 | f->bx);
        bda32_set(BDA_WAIT_LEFT, (u32)f->cx << 16 | f->dx);
        bda8_set(BDA_WAITING, 1);
        rtc_interrupts(RTC_B_PERIODIC, 0);
    }
    done(f);
}

/* ---- INT 1Ah ---- */

/* Between updates; false if the clock stands. */
static bool rtc_ready(void)
{
    for (u32 i = 0; i < 100000; i++)
        if (!(cmos_read(RTC_A) & RTC_A_UPDATING))
            return true;
    return false;
}

static void rtc_hold(bool on)
{
    u8 b = cmos_read(RTC_B);
    cmos_write(RTC_B, on ? b | RTC_B_SET : b & ~RTC_B_SET);
}

static void read_time(frame_ptr f)
{
    f->ch = cmos_read(RTC_HOURS);
    f->cl = cmos_read(RTC_MINUTES);
    f->dh = cmos_read(RTC_SECONDS);
    f->dl = cmos_read(RTC_B) & RTC_B_DST;
}

static void set_time(frame_ptr f)
{
    rtc_hold(true);
    cmos_write(RTC_HOURS, f->ch);
    cmos_write(RTC_MINUTES, f->cl);
    cmos_write(RTC_SECONDS, f->dh);
    u8 b = cmos_read(RTC_B) & ~RTC_B_DST;
    cmos_write(RTC_B, (u8)(b | RTC_B_24H | (f->dl & RTC_B_DST)));
    rtc_hold(false);
}

static void read_date(frame_ptr f)
{
    f->ch = cmos_read(RTC_CENTURY);
    f->cl = cmos_read(RTC_YEAR);
    f->dh = cmos_read(RTC_MONTH);
    f->dl = cmos_read(RTC_DAY);
}

static void set_date(frame_ptr f)
{
    rtc_hold(true);
    cmos_write(RTC_CENTURY, f->ch);
    cmos_write(RTC_YEAR, f->cl);
    cmos_write(RTC_MONTH, f->dh);
    cmos_write(RTC_DAY, f->dl);
    rtc_hold(false);
}

static void set_alarm(frame_ptr f)
{
    cmos_write(RTC_HOURS + 1, f->ch);
    cmos_write(RTC_MINUTES + 1, f->cl);
    cmos_write(RTC_SECONDS + 1, f->dh);
    rtc_interrupts(RTC_B_ALARM, RTC_B_SET);
}

void service_1a(frame_ptr f)
{
    switch (f->ah) {
    case 0x00: {
        u32 ticks = bda32(BDA_TICKS);
        f->cx = (u16)(ticks >> 16);
        f->dx = (u16)ticks;
        f->ax = bda8(BDA_MIDNIGHT);
        bda8_set(BDA_MIDNIGHT, 0);
        set_carry(f, false);
        return;
    }
    case 0x01:
        bda32_set(BDA_TICKS, (u32)f->cx << 16 | f->dx);
        bda8_set(BDA_MIDNIGHT, 0);
        done(f);
        return;
    case 0x02:
    case 0x03:
    case 0x04:
    case 0x05: break;
    case 0x06:
        if (!(cmos_read(RTC_B) & RTC_B_ALARM))
            break;
        set_carry(f, true); /* one is set already */
        return;
    case 0x07:
        rtc_interrupts(0, RTC_B_ALARM);
        done(f);
        return;
    case 0xb1: pci_service(f, &shared); return;
    default: set_carry(f, true); return;
    }
    if (!rtc_ready()) {
        set_carry(f, true);
        return;
    }
    switch (f->ah) {
    case 0x02: read_time(f); break;
    case 0x03: set_time(f); break;
    case 0x04: read_date(f); break;
    case 0x05: set_date(f); break;
    case 0x06: set_alarm(f); break;
    }
    done(f);
}

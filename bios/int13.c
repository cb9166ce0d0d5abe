/* INT 13h on a machine whose disks the firmware does not drive: every unit is absent.
 *
 * Codes: IBM PC AT Technical Reference, BIOS listing; BIOS EDD specification 3.0.
 */
#include "bios/service.h"

enum { DISK_BAD_COMMAND = 0x01, DISK_NOT_READY = 0x80, BDA_DISK_STATUS = 0x474 };

void service_13(frame_ptr f)
{
    switch (f->ah) {
    case 0x00:
        done(f);
        break;
    case 0x01:
        f->ah = bda8(BDA_DISK_STATUS);
        set_carry(f, f->ah != 0);
        return;
    case 0x08:
        f->dl = bda8(BDA_DISKS);
        f->cx = 0;
        f->dh = 0;
        fail(f, DISK_BAD_COMMAND);
        break;
    case 0x15:
        /* Type 0: no such drive; not an error. */
        f->ah = 0;
        set_carry(f, false);
        return;
    case 0x02:
    case 0x03:
    case 0x04:
        f->al = 0;
        fail(f, DISK_NOT_READY);
        break;
    default: /* among them 41h: no extensions */
        fail(f, DISK_BAD_COMMAND);
        break;
    }
    bda8_set(BDA_DISK_STATUS, f->ah);
}

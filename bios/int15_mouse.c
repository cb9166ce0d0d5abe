/* INT 15h AH = C2h and INT 74h: the pointing device.
 *
 * IBM PS/2 and PC BIOS Interface Technical Reference, INT 15h (AH) = C2h, and its list of the
 * extended BIOS data area: 22h the handler, 26h how many bytes of a packet have come, 27h the
 * packet's size less one and whether there is a handler, 28h the packet.
 */
#include "bios/chips.h"
#include "bios/service.h"

enum {
    EBDA_HANDLER = 0x22, /* far pointer */
    EBDA_COUNT = 0x26,
    EBDA_FLAGS = 0x27,
    EBDA_PACKET = 0x28, /* 8 bytes */
    FLAGS_SIZE = 0x07,
    FLAGS_HANDLER = 0x80,

    BAD_FUNCTION = 1,
    BAD_INPUT = 2,
    INTERFACE_ERROR = 3,
    NO_HANDLER = 5,

    SCALE_1 = 0xe6,
    SCALE_2 = 0xe7,
    RESOLUTION = 0xe8,
    STATUS = 0xe9,
    READ_ID = 0xf2,
    SAMPLE_RATE = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    RESET = 0xff,
};

static void use_ebda(void)
{
    far_segment(bda16(BDA_EBDA));
}

/* Sends up to two bytes (the second one if it is not FFh) and reads `count` more than their
 * ACKs. */
static bool ask(u8 command, u8 argument, u8 *answers, u8 count)
{
    kbc_begin(true);
    bool good = kbc_ask(true, command) && (argument == 0xff || kbc_ask(true, argument));
    for (u8 i = 0; good && i < count; i++)
        good = kbc_answer(answers + i);
    kbc_end();
    use_ebda();
    FAR(u8, EBDA_COUNT) = 0;
    return good;
}

static u8 enable(u8 on)
{
    if (on > 1)
        return BAD_INPUT;
    use_ebda();
    if (on && !(FAR(u8, EBDA_FLAGS) & FLAGS_HANDLER))
        return NO_HANDLER;
    kbc_pointer(on);
    return ask(on ? ENABLE : DISABLE, 0xff, NULL, 0) ? 0 : INTERFACE_ERROR;
}

static u8 reset(frame_ptr f)
{
    u8 answers[2];
    kbc_pointer(false);
    if (!ask(RESET, 0xff, answers, 2))
        return INTERFACE_ERROR;
    f->bl = answers[0];
    f->bh = answers[1];
    return 0;
}

static u8 set_rate(u8 code)
{
    static const u8 rates[] = {10, 20, 40, 60, 80, 100, 200};
    if (code >= sizeof rates)
        return BAD_INPUT;
    return ask(SAMPLE_RATE, rates[code], NULL, 0) ? 0 : INTERFACE_ERROR;
}

static u8 set_resolution(u8 code)
{
    if (code > 3)
        return BAD_INPUT;
    return ask(RESOLUTION, code, NULL, 0) ? 0 : INTERFACE_ERROR;
}

static u8 type(frame_ptr f)
{
    u8 id;
    if (!ask(READ_ID, 0xff, &id, 1))
        return INTERFACE_ERROR;
    f->bh = id;
    return 0;
}

static u8 initialise(frame_ptr f)
{
    if (f->bh < 1 || f->bh > 8)
        return BAD_INPUT;
    use_ebda();
    FAR(u8, EBDA_FLAGS) = (u8)((FAR(u8, EBDA_FLAGS) & ~FLAGS_SIZE) | (f->bh - 1));
    return reset(f);
}

static u8 extended(frame_ptr f)
{
    u8 status[3];
    switch (f->bh) {
    case 0:
        if (!ask(STATUS, 0xff, status, 3))
            return INTERFACE_ERROR;
        f->bl = status[0];
        f->cl = status[1];
        f->dl = status[2];
        return 0;
    case 1:
    case 2: return ask(f->bh == 1 ? SCALE_1 : SCALE_2, 0xff, NULL, 0) ? 0 : INTERFACE_ERROR;
    default: return BAD_INPUT;
    }
}

/* ES:BX = 0:0 takes the handler away. */
static u8 set_handler(frame_ptr f)
{
    bool none = !f->es && !f->bx;
    use_ebda();
    u8 flags = FAR(u8, EBDA_FLAGS);
    FAR(u32, EBDA_HANDLER) = (u32)f->es << 16 | f->bx;
    FAR(u8, EBDA_FLAGS) = none ? flags & ~FLAGS_HANDLER : flags | FLAGS_HANDLER;
    return none ? enable(0) : 0;
}

void pointer_service(frame_ptr f)
{
    u8 error = BAD_FUNCTION;
    if (!(bda16(BDA_EQUIPMENT) & EQUIPMENT_MOUSE)) {
        fail(f, INTERFACE_ERROR);
        return;
    }
    switch (f->al) {
    case 0: error = enable(f->bh); break;
    case 1: error = reset(f); break;
    case 2: error = set_rate(f->bh); break;
    case 3: error = set_resolution(f->bh); break;
    case 4: error = type(f); break;
    case 5: error = initialise(f); break;
    case 6: error = extended(f); break;
    case 7: error = set_handler(f); break;
    }
    f->ah = error;
    set_carry(f, error != 0);
}

/* A whole packet goes to the handler: four words, the first byte of the packet deepest. */
static void packet(void)
{
    u16 words[4] = {0};
    use_ebda();
    u8 size = (u8)((FAR(u8, EBDA_FLAGS) & FLAGS_SIZE) + 1);
    for (u8 i = 0; i < size && i < 4; i++)
        words[i] = FAR(u8, (u16)(EBDA_PACKET + i));
    call_pointer(FAR(u32, EBDA_HANDLER), (u32)words[1] << 16 | words[0],
                 (u32)words[3] << 16 | words[2]);
}

/* INT 74h, IRQ 12. */
void service_74(frame_ptr f)
{
    const u8 wanted = KBC_OUTPUT_FULL | KBC_FROM_AUX;
    if ((inb(KBC_COMMAND) & wanted) == wanted) {
        u8 byte = inb(KBC_DATA);
        use_ebda();
        u8 flags = FAR(u8, EBDA_FLAGS), count = FAR(u8, EBDA_COUNT) & FLAGS_SIZE;
        FAR(u8, (u16)(EBDA_PACKET + count)) = byte;
        bool whole = count == (flags & FLAGS_SIZE);
        FAR(u8, EBDA_COUNT) = whole ? 0 : count + 1;
        if (whole && flags & FLAGS_HANDLER)
            packet();
    }
    irq_end(12);
}

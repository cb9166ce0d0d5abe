/* Intel 8042 with the PS/2 keyboard controller firmware: ports 0x60 and 0x64.
 *
 * Reference: IBM Personal System/2 Hardware Interface Technical Reference, Keyboard and Auxiliary
 * Device Controller.  Bytes of the devices come one at a time, some way apart, so that a chain of
 * interrupt handlers can read the same byte twice, as old software does.
 * Left out: the AT's input port jumpers, password commands, parity and time-out errors.
 */
#include "devices/i8042.h"

#include "base/log.h"

enum {
    PORT_DATA = 0x60,
    PORT_COMMAND = 0x64,

    STATUS_OBF = BIT(0),
    STATUS_SYSTEM = BIT(2),
    STATUS_COMMAND = BIT(3),
    STATUS_UNLOCKED = BIT(4),
    STATUS_AUX = BIT(5),

    CTR_KEYBOARD_IRQ = BIT(0),
    CTR_AUX_IRQ = BIT(1),
    CTR_SYSTEM = BIT(2),
    CTR_KEYBOARD_OFF = BIT(4),
    CTR_AUX_OFF = BIT(5),
    CTR_TRANSLATE = BIT(6),

    P2_RESET = BIT(0), /* low resets */
    P2_A20 = BIT(1),
    P2_ONES = 0xcc,

    COMMAND_READ_RAM = 0x20,  /* to 0x3f */
    COMMAND_WRITE_RAM = 0x60, /* to 0x7f */
    COMMAND_AUX_OFF = 0xa7,
    COMMAND_AUX_ON = 0xa8,
    COMMAND_AUX_TEST = 0xa9,
    COMMAND_SELF_TEST = 0xaa,
    COMMAND_KEYBOARD_TEST = 0xab,
    COMMAND_KEYBOARD_OFF = 0xad,
    COMMAND_KEYBOARD_ON = 0xae,
    COMMAND_READ_INPUT = 0xc0,
    COMMAND_READ_OUTPUT = 0xd0,
    COMMAND_WRITE_OUTPUT = 0xd1,
    COMMAND_FAKE_KEYBOARD = 0xd2,
    COMMAND_FAKE_AUX = 0xd3,
    COMMAND_WRITE_AUX = 0xd4,
    COMMAND_A20_OFF = 0xdd,
    COMMAND_A20_ON = 0xdf,
    COMMAND_READ_TEST = 0xe0,
    COMMAND_PULSE = 0xf0, /* to 0xff: bits that are 0 go low for 6 us */

    READY_KEYBOARD = BIT(0),
    READY_AUX = BIT(1),

    BYTE_TIME = 100000, /* ns from one byte of a device to the next */
};

static void update_irq(struct i8042 *s)
{
    bool full = s->status & STATUS_OBF;
    bool aux = s->status & STATUS_AUX;
    pin_set(&s->pins.irq1, full && !aux && (s->ram[0] & CTR_KEYBOARD_IRQ));
    pin_set(&s->pins.irq12, full && aux && (s->ram[0] & CTR_AUX_IRQ));
}

static void fill(struct i8042 *s, u8 byte, bool aux)
{
    s->output = byte;
    s->status = (u8)((s->status & ~STATUS_AUX) | STATUS_OBF | (aux ? STATUS_AUX : 0));
    update_irq(s);
}

/* A device whose clock line the controller does not hold has a byte. */
static bool device_waits(const struct i8042 *s)
{
    return ((s->ready & READY_KEYBOARD) && !(s->ram[0] & CTR_KEYBOARD_OFF)) ||
           ((s->ready & READY_AUX) && !(s->ram[0] & CTR_AUX_OFF));
}

/* Brings on what comes next once the output buffer is free: the controller's own answers at once,
 * the devices' bytes after the time that they take on the wire. */
static void next_output(struct i8042 *s)
{
    if (s->status & STATUS_OBF)
        return;
    if (s->reply_full) {
        s->reply_full = 0;
        fill(s, s->reply, s->reply_aux);
    } else if (device_waits(s) && s->byte_timer.deadline == CLOCK_NEVER) {
        timer_arm(&s->byte_timer, clock_now(s->byte_timer.clock) + BYTE_TIME);
    }
}

static void answer(struct i8042 *s, u8 byte, bool aux)
{
    s->reply = byte;
    s->reply_aux = aux;
    s->reply_full = 1;
    next_output(s);
}

static void device_ready(void *opaque, unsigned n, bool level)
{
    struct i8042 *s = opaque;
    s->ready = (u8)((s->ready & ~BIT(n)) | (level ? BIT(n) : 0));
    next_output(s);
}

/* ---- reset ---- */

static void i8042_reset(void *state)
{
    struct i8042 *s = state;
    memset(s->ram, 0, sizeof s->ram);
    /* As firmware leaves it, for guests that never program it: interrupts on, translation on. */
    s->ram[0] = CTR_KEYBOARD_IRQ | CTR_AUX_IRQ | CTR_TRANSLATE;
    s->status = STATUS_UNLOCKED;
    s->output = s->command = s->reply = s->reply_aux = s->reply_full = s->break_code = 0;
    s->output_port = P2_ONES | P2_RESET | P2_A20;
    timer_cancel(&s->byte_timer);
    ps2_keyboard_reset(&s->keyboard);
    ps2_mouse_reset(&s->mouse);
    pin_set(&s->pins.a20, true);
    update_irq(s);
}

/* ---- read ---- */

static u64 data_read(void *opaque, u64 offset, unsigned size)
{
    struct i8042 *s = opaque;
    u8 byte = s->output;
    if (s->status & STATUS_OBF) {
        s->status &= (u8) ~(STATUS_OBF | STATUS_AUX);
        update_irq(s);
        next_output(s);
    }
    return byte;
}

static u64 status_read(void *opaque, u64 offset, unsigned size)
{
    return ((struct i8042 *)opaque)->status;
}

/* ---- write ---- */

static void reset_pulse(struct i8042 *s)
{
    log_event(reset, "keyboard controller: reset");
    pin_set(&s->pins.reset, true);
    pin_set(&s->pins.reset, false);
}

static void write_output_port(struct i8042 *s, u8 value)
{
    s->output_port = value;
    pin_set(&s->pins.a20, value & P2_A20);
    if (!(value & P2_RESET))
        reset_pulse(s);
}

static void write_ram(struct i8042 *s, unsigned i, u8 value)
{
    s->ram[i] = value;
    if (i)
        return;
    s->status = (u8)((s->status & ~STATUS_SYSTEM) | (value & CTR_SYSTEM));
    update_irq(s);
    next_output(s);
}

static void set_ctr(struct i8042 *s, u8 set, u8 clear)
{
    write_ram(s, 0, (u8)((s->ram[0] & ~clear) | set));
}

static void command_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i8042 *s = opaque;
    u8 c = (u8)value;
    s->status |= STATUS_COMMAND;
    s->command = 0;
    if (c >= COMMAND_PULSE) {
        if (!(c & P2_RESET))
            reset_pulse(s);
        return;
    }
    if (c >= COMMAND_READ_RAM && c < COMMAND_READ_RAM + 32) {
        answer(s, s->ram[c - COMMAND_READ_RAM], false);
        return;
    }
    if (c >= COMMAND_WRITE_RAM && c < COMMAND_WRITE_RAM + 32) {
        s->command = c;
        return;
    }
    switch (c) {
    case COMMAND_AUX_OFF: set_ctr(s, CTR_AUX_OFF, 0); break;
    case COMMAND_AUX_ON: set_ctr(s, 0, CTR_AUX_OFF); break;
    case COMMAND_AUX_TEST:
    case COMMAND_KEYBOARD_TEST: answer(s, 0x00, false); break;
    case COMMAND_SELF_TEST:
        s->status |= STATUS_SYSTEM;
        s->ram[0] |= CTR_SYSTEM;
        answer(s, 0x55, false);
        break;
    case COMMAND_KEYBOARD_OFF: set_ctr(s, CTR_KEYBOARD_OFF, 0); break;
    case COMMAND_KEYBOARD_ON: set_ctr(s, 0, CTR_KEYBOARD_OFF); break;
    case COMMAND_READ_INPUT: answer(s, 0x80, false); break; /* not locked */
    case COMMAND_READ_OUTPUT: answer(s, s->output_port, false); break;
    case COMMAND_READ_TEST: answer(s, 0x00, false); break;
    case COMMAND_A20_OFF: write_output_port(s, s->output_port & (u8)~P2_A20); break;
    case COMMAND_A20_ON: write_output_port(s, s->output_port | P2_A20); break;
    case COMMAND_WRITE_OUTPUT:
    case COMMAND_FAKE_KEYBOARD:
    case COMMAND_FAKE_AUX:
    case COMMAND_WRITE_AUX: s->command = c; break;
    default: log_event(guest_errors, "i8042: unknown command %02x", c); break;
    }
}

static void data_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct i8042 *s = opaque;
    u8 c = s->command;
    u8 v = (u8)value;
    s->command = 0;
    s->status &= (u8)~STATUS_COMMAND;
    switch (c) {
    case 0:
        /* A byte for the keyboard lets its clock go (bit 4 of the command byte). */
        s->ram[0] &= (u8)~CTR_KEYBOARD_OFF;
        ps2_keyboard_write(&s->keyboard, v);
        break;
    case COMMAND_WRITE_OUTPUT: write_output_port(s, v); break;
    case COMMAND_FAKE_KEYBOARD: answer(s, v, false); break;
    case COMMAND_FAKE_AUX: answer(s, v, true); break;
    case COMMAND_WRITE_AUX:
        s->ram[0] &= (u8)~CTR_AUX_OFF;
        ps2_mouse_write(&s->mouse, v);
        break;
    default: write_ram(s, c & 31u, v); break;
    }
    next_output(s);
}

static const struct bus_ops data_ops = {data_read, data_write, 1, 1};
static const struct bus_ops command_ops = {status_read, command_write, 1, 1};

/* ---- timers ---- */

/* Set 2 to set 1: F0 is swallowed and comes back as bit 7 of the byte after it. */
static void keyboard_byte(struct i8042 *s, u8 byte)
{
    if (!(s->ram[0] & CTR_TRANSLATE)) {
        s->break_code = 0;
        fill(s, byte, false);
    } else if (byte == 0xf0) {
        s->break_code = 0x80;
    } else {
        fill(s, ps2_translate(byte) | s->break_code, false);
        s->break_code = 0;
    }
}

static void byte_due(void *opaque)
{
    struct i8042 *s = opaque;
    while (!(s->status & STATUS_OBF) && device_waits(s)) {
        if ((s->ready & READY_KEYBOARD) && !(s->ram[0] & CTR_KEYBOARD_OFF))
            keyboard_byte(s, ps2_keyboard_fetch(&s->keyboard));
        else
            fill(s, ps2_mouse_fetch(&s->mouse), true);
    }
    /* What the fetches have set off counts from when the byte just delivered is read. */
    if (s->status & STATUS_OBF)
        timer_cancel(&s->byte_timer);
}

/* ---- the person's side ---- */

/* Only what is pressed: the end of what has sent the machine to sleep is not to wake it. */
static void touched(struct i8042 *s, bool pressed)
{
    if (pressed) {
        pin_set(&s->pins.wake, true);
        pin_set(&s->pins.wake, false);
    }
}

void i8042_key(struct i8042 *s, u8 key, bool down)
{
    touched(s, down);
    ps2_keyboard_key(&s->keyboard, key, down);
}

void i8042_mouse(struct i8042 *s, int dx, int dy, int dz, u8 buttons)
{
    touched(s, buttons & ~s->mouse.buttons);
    ps2_mouse_move(&s->mouse, dx, dy, dz, buttons);
}

void i8042_init(struct i8042 *s, struct bus *b, struct clock *clock,
                const struct i8042_pins *pins)
{
    memset(s, 0, sizeof *s);
    s->pins = *pins;
    timer_init(&s->byte_timer, clock, byte_due, s);
    ps2_keyboard_init(&s->keyboard, clock, &(struct pin){device_ready, s, 0});
    ps2_mouse_init(&s->mouse, &(struct pin){device_ready, s, 1});
    i8042_reset(s);
    bus_map_ports(b, "i8042-data", PORT_DATA, 1, &data_ops, s);
    bus_map_ports(b, "i8042-command", PORT_COMMAND, 1, &command_ops, s);
}

/* ---- state ---- */

static void i8042_loaded(void *state)
{
    struct i8042 *s = state;
    u64 deadline = s->byte_timer.deadline;
    s->break_code &= 0x80;
    ps2_keyboard_loaded(&s->keyboard);
    ps2_mouse_loaded(&s->mouse);
    timer_arm(&s->byte_timer, deadline);
    pin_set(&s->pins.a20, s->output_port & P2_A20);
    update_irq(s);
}

static const struct field i8042_fields[] = {
    PS2_KEYBOARD_FIELDS(struct i8042, keyboard),
    PS2_MOUSE_FIELDS(struct i8042, mouse),
    FIELD_TIMER(struct i8042, byte_timer),
    FIELD_ARRAY(struct i8042, ram),
    FIELD(struct i8042, status),
    FIELD(struct i8042, output),
    FIELD(struct i8042, output_port),
    FIELD(struct i8042, command),
    FIELD(struct i8042, reply),
    FIELD(struct i8042, reply_aux),
    FIELD(struct i8042, reply_full),
    FIELD(struct i8042, break_code),
    FIELD_END};

const struct device_class i8042_class = {
    .name = "i8042",
    .description = "PS/2 keyboard controller with keyboard and mouse",
    .reset = i8042_reset,
    .fields = i8042_fields,
    .loaded = i8042_loaded,
};

/* The PIIX4's SMBus host controller, on a bus that has nothing on it.
 *
 * Data sheet: 82371AB PIIX4, order number 290562, sections 7.1.25-7.1.31 (where it is) and 7.3.3
 * (its registers).  A transaction takes the time of its address byte, then no slave has answered:
 * that is a device error.
 * Left out: slaves, and what only they can bring about (data that arrives, bus collisions, the
 * host as a slave, SMBALERT#).
 */
#include "devices/piix4_smbus.h"

enum {
    HOST_STATUS = 0x0,
    SLAVE_STATUS = 0x1,
    HOST_CONTROL = 0x2,
    HOST_COMMAND = 0x3,
    HOST_ADDRESS = 0x4,
    HOST_DATA0 = 0x5,
    HOST_DATA1 = 0x6,
    BLOCK_DATA = 0x7,
    SLAVE_CONTROL = 0x8,
    SHADOW_COMMAND = 0x9,
    SLAVE_EVENT = 0xa, /* 16 bits */
    SLAVE_DATA = 0xc,  /* 16 bits */
    PORTS = 16,

    STATUS_BUSY = BIT(0),
    STATUS_DONE = BIT(1),
    STATUS_DEVICE = BIT(2), /* error */
    STATUS_FAILED = BIT(4),
    STATUS_CLEARED = 0x1e, /* by writing ones */

    CONTROL_INTERRUPT = BIT(0),
    CONTROL_KILL = BIT(1),
    CONTROL_KEPT = 0x1f,
    CONTROL_START = BIT(6),

    CONFIG_ON = BIT(0),
    CONFIG_ROUTE = 0x0e,
    ROUTE_SMI = 0x00,
    ROUTE_IRQ9 = 0x08,

    /* Start, eight bits and the missing acknowledge, stop, at 16 kHz. */
    ADDRESS_NS = 11 * 62500,
};

static void update_irq(struct piix4_smbus *s)
{
    bool wanted = (s->control & CONTROL_INTERRUPT) && (s->status & STATUS_CLEARED);
    pin_set(&s->irq, wanted && (s->config & CONFIG_ROUTE) == ROUTE_IRQ9);
}

static void end(struct piix4_smbus *s, u8 why)
{
    s->status = (u8)((s->status & ~STATUS_BUSY) | why);
    timer_cancel(&s->transfer);
    update_irq(s);
    if ((s->control & CONTROL_INTERRUPT) && (s->config & CONFIG_ROUTE) == ROUTE_SMI) {
        pin_set(&s->smi, true);
        pin_set(&s->smi, false);
    }
}

/* ---- reset ---- */

static void piix4_smbus_reset(void *state)
{
    struct piix4_smbus *s = state;
    timer_cancel(&s->transfer);
    s->status = s->control = s->command = s->address = 0;
    s->data[0] = s->data[1] = s->block_at = 0;
    s->slave_control = 0;
    s->slave_event = 0;
    memset(s->block, 0, sizeof s->block);
    update_irq(s);
}

/* ---- read ---- */

static u64 smbus_read(void *opaque, u64 offset, unsigned size)
{
    struct piix4_smbus *s = opaque;
    switch (offset) {
    case HOST_STATUS: return s->status;
    case HOST_CONTROL:
        s->block_at = 0; /* 7.3.3.3: reading it sets the block's index back */
        return s->control;
    case HOST_COMMAND: return s->command;
    case HOST_ADDRESS: return s->address;
    case HOST_DATA0: return s->data[0];
    case HOST_DATA1: return s->data[1];
    case BLOCK_DATA: return s->block[s->block_at++ % sizeof s->block];
    case SLAVE_CONTROL: return s->slave_control;
    case SLAVE_EVENT: return s->slave_event & 0xff;
    case SLAVE_EVENT + 1: return s->slave_event >> 8;
    default: return 0; /* SLAVE_STATUS, SHADOW_COMMAND, SLAVE_DATA: nothing has come */
    }
}

/* ---- write ---- */

static void control_write(struct piix4_smbus *s, u8 v)
{
    s->control = v & CONTROL_KEPT;
    if (v & CONTROL_KILL) {
        if (s->status & STATUS_BUSY)
            end(s, STATUS_FAILED);
    } else if ((v & CONTROL_START) && !(s->status & STATUS_BUSY)) {
        s->status |= STATUS_BUSY;
        timer_arm(&s->transfer, clock_now(s->clock) + ADDRESS_NS);
    }
    update_irq(s);
}

static void smbus_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct piix4_smbus *s = opaque;
    u8 v = (u8)value;
    switch (offset) {
    case HOST_STATUS:
        s->status &= (u8) ~(v & STATUS_CLEARED);
        update_irq(s);
        break;
    case HOST_CONTROL: control_write(s, v); break;
    case HOST_COMMAND: s->command = v; break;
    case HOST_ADDRESS: s->address = v; break;
    case HOST_DATA0: s->data[0] = v; break;
    case HOST_DATA1: s->data[1] = v; break;
    case BLOCK_DATA: s->block[s->block_at++ % sizeof s->block] = v; break;
    case SLAVE_CONTROL: s->slave_control = v & 0x0f; break;
    case SLAVE_EVENT: s->slave_event = (u16)((s->slave_event & 0xff00) | v); break;
    case SLAVE_EVENT + 1: s->slave_event = (u16)((s->slave_event & 0xff) | v << 8); break;
    default: break;
    }
}

/* ---- timers ---- */

static void transfer_due(void *opaque)
{
    end(opaque, STATUS_DEVICE);
}

void piix4_smbus_place(void *opaque, u16 base, u8 config)
{
    struct piix4_smbus *s = opaque;
    s->config = config;
    region_set_address(s->region, base);
    region_set_enabled(s->region, base && (config & CONFIG_ON));
    update_irq(s);
}

void piix4_smbus_init(struct piix4_smbus *s, struct bus *b, struct clock *clock,
                      const struct pin *irq, const struct pin *smi)
{
    static const struct bus_ops ops = {smbus_read, smbus_write, 1, 1};
    memset(s, 0, sizeof *s);
    s->irq = *irq;
    s->smi = *smi;
    s->clock = clock;
    timer_init(&s->transfer, clock, transfer_due, s);
    s->region = bus_map_ports(b, "smbus", 0, PORTS, &ops, s);
    region_set_enabled(s->region, false);
}

/* ---- state ---- */

static void piix4_smbus_loaded(void *state)
{
    update_irq(state);
}

static const struct field piix4_smbus_fields[] = {FIELD(struct piix4_smbus, status),
                                                  FIELD(struct piix4_smbus, control),
                                                  FIELD(struct piix4_smbus, command),
                                                  FIELD(struct piix4_smbus, address),
                                                  FIELD_ARRAY(struct piix4_smbus, data),
                                                  FIELD_ARRAY(struct piix4_smbus, block),
                                                  FIELD(struct piix4_smbus, block_at),
                                                  FIELD(struct piix4_smbus, slave_control),
                                                  FIELD(struct piix4_smbus, slave_event),
                                                  FIELD_TIMER(struct piix4_smbus, transfer),
                                                  FIELD_END};

const struct device_class piix4_smbus_class = {
    .name = "piix4-smbus",
    .description = "PIIX4 SMBus host controller",
    .reset = piix4_smbus_reset,
    .fields = piix4_smbus_fields,
    .loaded = piix4_smbus_loaded,
};

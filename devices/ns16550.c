/* National Semiconductor PC16550D: universal asynchronous receiver/transmitter with FIFOs.
 *
 * Data sheet: PC16550D, National Semiconductor, June 1995 (section numbers below are its).
 * The host takes characters much faster than any line, so a written character is gone at once:
 * THRE and TEMT read 1 and the transmitter-empty interrupt is pending again, unless the host does
 * not take it.  So a driver empties its buffer in one run of its handler, and what a guest prints
 * just before it powers off is seen.  Character timeout comes after four character times.
 * Left out: DMA mode signals, parity and framing errors (the host's stream has none).  The gate
 * of the interrupt by OUT2 that PC adapters have is left open, as in other PC emulators: small
 * operating systems count on it.
 */
#include "devices/ns16550.h"

#include "devices/host/chardev.h"

enum {
    REG_DATA = 0, /* RBR, THR; DLL with DLAB */
    REG_IER = 1,  /* DLM with DLAB */
    REG_IIR = 2,  /* read; FCR when written */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,

    IER_RDA = BIT(0),
    IER_THRE = BIT(1),
    IER_RLS = BIT(2),
    IER_MS = BIT(3),

    IIR_NONE = 0x01,
    IIR_RLS = 0x06,
    IIR_RDA = 0x04,
    IIR_TIMEOUT = 0x0c,
    IIR_THRE = 0x02,
    IIR_MS = 0x00,
    IIR_FIFOS = 0xc0,

    FCR_ENABLE = BIT(0),
    FCR_CLEAR_RX = BIT(1),
    FCR_CLEAR_TX = BIT(2),
    FCR_KEPT = 0xc9,

    LCR_BREAK = BIT(6),
    LCR_DLAB = BIT(7),

    MCR_DTR = BIT(0),
    MCR_RTS = BIT(1),
    MCR_OUT1 = BIT(2),
    MCR_OUT2 = BIT(3),
    MCR_LOOP = BIT(4),

    LSR_DR = BIT(0),
    LSR_OE = BIT(1),
    LSR_PE = BIT(2),
    LSR_FE = BIT(3),
    LSR_BI = BIT(4),
    LSR_THRE = BIT(5),
    LSR_TEMT = BIT(6),
    LSR_FIFO_ERROR = BIT(7),
    LSR_ERRORS = LSR_OE | LSR_PE | LSR_FE | LSR_BI,

    MSR_DCTS = BIT(0),
    MSR_DDSR = BIT(1),
    MSR_TERI = BIT(2),
    MSR_DDCD = BIT(3),
    MSR_DELTAS = 0x0f,
    MSR_CTS = BIT(4),
    MSR_DSR = BIT(5),
    MSR_RI = BIT(6),
    MSR_DCD = BIT(7),

    PENDING_THRE = BIT(0),
    PENDING_TIMEOUT = BIT(1),

    UART_CLOCK = 1843200, /* Hz, the crystal of PC adapters */
};

/* Nanoseconds that one character takes on the line (section 8.3: start, data, parity, stop). */
static u64 character_time(const struct ns16550 *s)
{
    unsigned bits = 1 + 5 + (s->lcr & 3) + (s->lcr >> 3 & 1) + 1 + (s->lcr >> 2 & 1);
    unsigned divisor = s->divisor ? s->divisor : 0x10000;
    return muldiv((u64)bits * divisor * 16, NS_PER_SEC, UART_CLOCK);
}

static unsigned rx_capacity(const struct ns16550 *s)
{
    return s->fcr & FCR_ENABLE ? NS16550_FIFO : 1;
}

static unsigned rx_trigger(const struct ns16550 *s)
{
    static const u8 levels[] = {1, 4, 8, 14};
    return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* The interrupt identification of the highest pending source (table 4). */
static u8 identify(const struct ns16550 *s)
{
    if ((s->ier & IER_RLS) && (s->lsr & LSR_ERRORS))
        return IIR_RLS;
    if ((s->ier & IER_RDA) && s->rx_count >= rx_trigger(s))
        return IIR_RDA;
    if ((s->ier & IER_RDA) && (s->iir_pending & PENDING_TIMEOUT))
        return IIR_TIMEOUT;
    if ((s->ier & IER_THRE) && (s->iir_pending & PENDING_THRE))
        return IIR_THRE;
    if ((s->ier & IER_MS) && (s->msr & MSR_DELTAS))
        return IIR_MS;
    return IIR_NONE;
}

static void update_irq(struct ns16550 *s)
{
    pin_set(&s->irq, identify(s) != IIR_NONE);
}

/* LSR shows the errors of the character at the top of the FIFO (section 8.6.1). */
static void update_lsr(struct ns16550 *s)
{
    s->lsr &= (u8) ~(LSR_DR | LSR_FIFO_ERROR);
    if (s->rx_count)
        s->lsr |= LSR_DR;
    for (unsigned i = 0; i < s->rx_count; i++)
        if (s->rx_error[(s->rx_head + i) % NS16550_FIFO] && (s->fcr & FCR_ENABLE))
            s->lsr |= LSR_FIFO_ERROR;
}

/* Section 8.9: four character times after the last character came or was read. */
static void restart_timeout(struct ns16550 *s)
{
    s->iir_pending &= (u8)~PENDING_TIMEOUT;
    if ((s->fcr & FCR_ENABLE) && s->rx_count)
        timer_arm(&s->timeout_timer, clock_now(s->timeout_timer.clock) + 4 * character_time(s));
    else
        timer_cancel(&s->timeout_timer);
}

/* Modem control outputs reach the status inputs in loopback; else the cable holds them on. */
static void update_msr(struct ns16550 *s)
{
    u8 lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (s->mcr & MCR_LOOP)
        lines = (u8)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
                     (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
    u8 changed = (u8)((s->msr ^ lines) & 0xf0);
    u8 deltas = (u8)(changed >> 4 & ~MSR_TERI);
    if ((changed & MSR_RI) && !(lines & MSR_RI))
        deltas |= MSR_TERI; /* only the trailing edge counts */
    s->msr = (u8)(lines | (s->msr & MSR_DELTAS) | deltas);
}

static void clear_rx(struct ns16550 *s)
{
    s->rx_head = s->rx_count = 0;
    restart_timeout(s);
    update_lsr(s);
}

static void tx_emptied(struct ns16550 *s)
{
    s->tx_head = s->tx_count = 0;
    s->lsr |= LSR_THRE | LSR_TEMT;
    s->iir_pending |= PENDING_THRE;
}

/* ---- reset ---- */

static void ns16550_reset(void *state)
{
    struct ns16550 *s = state;
    /* Table 1; SCR, the divisor and the FIFO contents are not affected on silicon, but a run from
     * reset must not depend on what was before. */
    s->ier = s->fcr = s->lcr = s->mcr = s->scr = 0;
    s->divisor = 12; /* 9600 baud, what PC firmware leaves */
    s->lsr = 0;
    tx_emptied(s);
    s->iir_pending = 0;
    clear_rx(s);
    update_msr(s);
    s->msr &= (u8)~MSR_DELTAS;
    update_irq(s);
}

/* ---- the receiver ---- */

static void push_rx(struct ns16550 *s, u8 byte, u8 error)
{
    unsigned capacity = rx_capacity(s);
    if (s->rx_count >= capacity) {
        /* Section 8.6.1, bit 1: a full FIFO keeps what it has, RBR alone is overwritten. */
        s->lsr |= LSR_OE;
        if (capacity == 1) {
            s->rx[s->rx_head] = byte;
            s->rx_error[s->rx_head] = error;
            s->lsr |= error;
        }
    } else {
        unsigned i = (s->rx_head + s->rx_count++) % NS16550_FIFO;
        s->rx[i] = byte;
        s->rx_error[i] = error;
        if (s->rx_count == 1)
            s->lsr |= error;
        restart_timeout(s);
    }
    update_lsr(s);
    update_irq(s);
}

void ns16550_receive(struct ns16550 *s, u8 byte)
{
    if (!(s->mcr & MCR_LOOP))
        push_rx(s, byte, 0);
}

void ns16550_receive_break(struct ns16550 *s)
{
    if (!(s->mcr & MCR_LOOP))
        push_rx(s, 0, LSR_BI);
}

static u8 pop_rx(struct ns16550 *s)
{
    if (!s->rx_count)
        return 0;
    u8 byte = s->rx[s->rx_head];
    s->rx_head = (s->rx_head + 1) % NS16550_FIFO;
    s->rx_count--;
    if (s->rx_count)
        s->lsr |= s->rx_error[s->rx_head];
    restart_timeout(s);
    update_lsr(s);
    update_irq(s);
    if (s->chardev && !(s->mcr & MCR_LOOP))
        chardev_accept_input(s->chardev);
    return byte;
}

/* ---- the transmitter ---- */

/* Hands on what the host takes. */
static void drain_tx(struct ns16550 *s)
{
    while (s->tx_count) {
        if (s->mcr & MCR_LOOP) {
            push_rx(s, s->tx[s->tx_head], 0);
        } else if (s->chardev && !chardev_write(s->chardev, &s->tx[s->tx_head], 1)) {
            return; /* tx_room goes on */
        }
        s->tx_head = (s->tx_head + 1) % NS16550_FIFO;
        s->tx_count--;
    }
    tx_emptied(s);
}

static void write_thr(struct ns16550 *s, u8 byte)
{
    unsigned capacity = s->fcr & FCR_ENABLE ? NS16550_FIFO : 1;
    s->iir_pending &= (u8)~PENDING_THRE;
    s->lsr &= (u8) ~(LSR_THRE | LSR_TEMT);
    update_irq(s); /* an edge, for controllers that latch edges */
    if (s->tx_count < capacity)
        s->tx[(s->tx_head + s->tx_count++) % NS16550_FIFO] = byte;
    else if (capacity == 1)
        s->tx[s->tx_head] = byte;
    drain_tx(s);
    update_irq(s);
}

/* ---- read ---- */

static u8 read_iir(struct ns16550 *s)
{
    u8 id = identify(s);
    if (id == IIR_THRE) {
        /* Section 8.7: reading IIR takes back this source, and only this. */
        s->iir_pending &= (u8)~PENDING_THRE;
        update_irq(s);
    }
    return id | (s->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static u64 ns16550_read(void *opaque, u64 offset, unsigned size)
{
    struct ns16550 *s = opaque;
    u8 v;
    switch (offset) {
    case REG_DATA: return s->lcr & LCR_DLAB ? s->divisor & 0xff : pop_rx(s);
    case REG_IER: return s->lcr & LCR_DLAB ? s->divisor >> 8 : s->ier;
    case REG_IIR: return read_iir(s);
    case REG_LCR: return s->lcr;
    case REG_MCR: return s->mcr;
    case REG_LSR:
        v = s->lsr;
        if (v & LSR_ERRORS) {
            s->lsr &= (u8)~LSR_ERRORS;
            if (s->rx_count)
                s->rx_error[s->rx_head] = 0;
            update_lsr(s);
            update_irq(s);
        }
        return v;
    case REG_MSR:
        v = s->msr;
        if (v & MSR_DELTAS) {
            s->msr &= (u8)~MSR_DELTAS;
            update_irq(s);
        }
        return v;
    default: return s->scr;
    }
}

/* ---- write ---- */

static void write_ier(struct ns16550 *s, u8 value)
{
    u8 rising = (u8)(value & ~s->ier);
    s->ier = value & 0x0f;
    /* Enabling the source while THR is empty interrupts at once; drivers test for it. */
    if ((rising & IER_THRE) && (s->lsr & LSR_THRE))
        s->iir_pending |= PENDING_THRE;
    update_irq(s);
}

static void write_fcr(struct ns16550 *s, u8 value)
{
    /* Section 8.5: switching the FIFOs clears both; the other bits need bit 0. */
    bool switched = (value ^ s->fcr) & FCR_ENABLE;
    if (switched || (value & FCR_CLEAR_TX))
        if (s->tx_count)
            tx_emptied(s);
    s->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
    if (switched || (value & FCR_CLEAR_RX)) {
        clear_rx(s);
        if (s->chardev)
            chardev_accept_input(s->chardev);
    }
    update_irq(s);
}

static void write_lcr(struct ns16550 *s, u8 value)
{
    bool begins = (value & LCR_BREAK) && !(s->lcr & LCR_BREAK);
    s->lcr = value;
    /* The host's streams have no break; in loopback the receiver sees it. */
    if (begins && (s->mcr & MCR_LOOP))
        push_rx(s, 0, LSR_BI);
}

static void write_mcr(struct ns16550 *s, u8 value)
{
    bool was_loop = s->mcr & MCR_LOOP;
    s->mcr = value & 0x1f;
    update_msr(s);
    update_irq(s);
    if (was_loop && !(s->mcr & MCR_LOOP) && s->chardev)
        chardev_accept_input(s->chardev);
}

static void ns16550_write(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct ns16550 *s = opaque;
    u8 v = (u8)value;
    switch (offset) {
    case REG_DATA:
        if (s->lcr & LCR_DLAB)
            s->divisor = (u16)((s->divisor & 0xff00) | v);
        else
            write_thr(s, v);
        break;
    case REG_IER:
        if (s->lcr & LCR_DLAB)
            s->divisor = (u16)((s->divisor & 0xff) | v << 8);
        else
            write_ier(s, v);
        break;
    case REG_IIR: write_fcr(s, v); break;
    case REG_LCR: write_lcr(s, v); break;
    case REG_MCR: write_mcr(s, v); break;
    case REG_SCR: s->scr = v; break;
    default: break; /* LSR and MSR: writing is for factory tests */
    }
}

static const struct bus_ops ns16550_ops = {ns16550_read, ns16550_write, 1, 1};

/* ---- timers ---- */

static void timeout_due(void *opaque)
{
    struct ns16550 *s = opaque;
    if (s->rx_count)
        s->iir_pending |= PENDING_TIMEOUT;
    update_irq(s);
}

/* ---- the host's side ---- */

static size_t host_can_receive(void *opaque)
{
    struct ns16550 *s = opaque;
    if (s->mcr & MCR_LOOP)
        return 0;
    return rx_capacity(s) - (s->rx_count < rx_capacity(s) ? s->rx_count : rx_capacity(s));
}

static void host_receive(void *opaque, const u8 *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ns16550_receive(opaque, bytes[i]);
}

static void host_event(void *opaque, enum chardev_event event)
{
    if (event == CHARDEV_BREAK)
        ns16550_receive_break(opaque);
}

static void host_room(void *opaque)
{
    struct ns16550 *s = opaque;
    if (s->tx_count)
        drain_tx(s);
    update_irq(s);
}

void ns16550_init(struct ns16550 *s, struct bus *b, struct clock *clock, u16 base,
                  const struct pin *irq, struct chardev *chardev)
{
    memset(s, 0, sizeof *s);
    s->irq = *irq;
    timer_init(&s->timeout_timer, clock, timeout_due, s);
    ns16550_reset(s);
    bus_map_ports(b, "ns16550", base, 8, &ns16550_ops, s);
    s->chardev = chardev;
    if (chardev)
        chardev_attach(chardev, &(struct chardev_frontend){host_can_receive, host_receive,
                                                           host_event, host_room, s});
}

/* ---- state ---- */

static void ns16550_loaded(void *state)
{
    struct ns16550 *s = state;
    s->rx_head %= NS16550_FIFO;
    s->tx_head %= NS16550_FIFO;
    if (s->rx_count > NS16550_FIFO)
        s->rx_count = NS16550_FIFO;
    if (s->tx_count > NS16550_FIFO)
        s->tx_count = NS16550_FIFO;
    host_room(s); /* what was in the FIFO goes to the host of this run */
}

static const struct field ns16550_fields[] = {
    FIELD_TIMER(struct ns16550, timeout_timer),
    FIELD(struct ns16550, ier),
    FIELD(struct ns16550, iir_pending),
    FIELD(struct ns16550, fcr),
    FIELD(struct ns16550, lcr),
    FIELD(struct ns16550, mcr),
    FIELD(struct ns16550, lsr),
    FIELD(struct ns16550, msr),
    FIELD(struct ns16550, scr),
    FIELD(struct ns16550, divisor),
    FIELD_ARRAY(struct ns16550, rx),
    FIELD_ARRAY(struct ns16550, rx_error),
    FIELD(struct ns16550, rx_head),
    FIELD(struct ns16550, rx_count),
    FIELD_ARRAY(struct ns16550, tx),
    FIELD(struct ns16550, tx_head),
    FIELD(struct ns16550, tx_count),
    FIELD_END};

const struct device_class ns16550_class = {
    .name = "ns16550",
    .description = "16550A UART",
    .reset = ns16550_reset,
    .fields = ns16550_fields,
    .loaded = ns16550_loaded,
};

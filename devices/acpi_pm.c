/* ACPI power management of the Intel PIIX4: PM1 event and control block, power-management
 * timer, GPE0, SCI, SMI command port.
 *
 * Data sheets: Intel 82371AB PIIX4 (290562-001), sections 7.2 and 7.3; ACPI 6.3, section 4.8.
 *
 * What firmware made for QEMU's pc has in its ACPI tables is there too (QEMU, docs/specs/
 * acpi_pci_hotplug and acpi_cpu_hotplug): the GPE0 registers at AFE0h as well, and the registers of
 * PCI hot-plug at AE00h, in which no slot has been plugged or unplugged and none can be.  Reading
 * FFh there, a guest would take all events for raised and let all PCI devices go.
 *
 * Writing the FADT's ACPI_ENABLE and ACPI_DISABLE values to the SMI command port switches
 * SCI_EN here, so that firmware needs no SMM for it.  Left out: global and device monitors (of
 * GLBSTS and GLBCTL only what the command port needs), processor C-states and throttling
 * (PCNTRL and DEV* registers read 0), end-of-SMI handshake (EOS), GPIO, SMI instead of SCI
 * while SCI_EN is clear, suspend states other than S3 and S5.  In S3 the registers keep their
 * state; the board resets the machine in order to leave it.
 */
#include "devices/acpi_pm.h"

#include "base/log.h"

enum {
    REG_STATUS = ACPI_PM1_EVENT,
    REG_ENABLE = ACPI_PM1_EVENT + 2,
    REG_CONTROL = ACPI_PM1_CONTROL,
    REG_TIMER = ACPI_PM_TIMER,
    REG_GPE_STATUS = ACPI_GPE0,
    REG_GPE_ENABLE = ACPI_GPE0 + 2,
    REG_GLOBAL_STATUS = 0x18,
    REG_GLOBAL_CONTROL = 0x28,
    BLOCK_SIZE = 64,
    QEMU_GPE = 0xafe0, /* status, enable */
    QEMU_GPE_SIZE = 4,
    QEMU_HOTPLUG = 0xae00, /* up, down, eject, removable: a bit for each slot */
    QEMU_HOTPLUG_SIZE = 16,

    PM1_TIMER = BIT(0),
    PM1_GLOBAL = BIT(5),
    PM1_POWER_BUTTON = BIT(8),
    PM1_RTC = BIT(10),
    PM1_WAKE = BIT(15),
    STATUS_BITS = PM1_TIMER | BIT(4) | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC | BIT(11) | PM1_WAKE,
    ENABLE_BITS = PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC,

    CONTROL_SCI = BIT(0),
    CONTROL_BM_RELOAD = BIT(1),
    CONTROL_TYPE_SHIFT = 10,
    CONTROL_TYPE = 7 << CONTROL_TYPE_SHIFT,
    CONTROL_SLEEP = BIT(13),
    CONTROL_WRITABLE = CONTROL_SCI | CONTROL_BM_RELOAD | CONTROL_TYPE,
    TYPE_SOFT_OFF = 0,
    TYPE_SUSPEND_TO_RAM = 1,

    GLOBAL_APM = BIT(5), /* GLBSTS.APM_STS */
    GLOBAL_SMI = BIT(0), /* GLBCTL.SMI_EN */

    TIMER_BITS = 24,
};

/* ---- timer, SCI, waking ---- */

static u64 ticks_now(const struct acpi_pm *s)
{
    return muldiv(clock_now(s->clock), ACPI_PM_TIMER_HZ, NS_PER_SEC);
}

/* TMROF_STS is set when the timer's top bit changes, in either direction. */
static void sync(struct acpi_pm *s)
{
    u64 half = ticks_now(s) >> (TIMER_BITS - 1);
    if (half != s->half_period)
        s->status |= PM1_TIMER;
    s->half_period = half;
}

static void update(struct acpi_pm *s)
{
    bool event = (s->status & s->enable & ENABLE_BITS) || (s->gpe_status & s->gpe_enable);
    bool sci = event && (s->control & CONTROL_SCI);

    if (sci != s->sci_level) {
        s->sci_level = sci;
        pin_set(&s->config.sci, sci);
    }
    /* The power button wakes in any case (290562, 7.2.1, PWRBTN_EN). */
    const u16 wakes = PM1_RTC | PM1_GLOBAL;
    if (s->asleep && s->config.wake &&
        ((s->status & ((s->enable & wakes) | PM1_POWER_BUTTON)) || (s->gpe_status & s->gpe_enable)))
        s->config.wake(s->config.opaque);
    /* The overflow needs a host timer only while it would interrupt. */
    u64 when = CLOCK_NEVER;
    if ((s->enable & PM1_TIMER) && !(s->status & PM1_TIMER)) {
        u128 tick = (u128)(s->half_period + 1) << (TIMER_BITS - 1);
        when = (u64)((tick * NS_PER_SEC + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ);
    }
    timer_arm(&s->timer, when);
}

static void on_timer(void *opaque)
{
    struct acpi_pm *s = opaque;
    sync(s);
    update(s);
}

void acpi_pm_power_button(struct acpi_pm *s)
{
    s->status |= PM1_POWER_BUTTON;
    update(s);
}

void acpi_pm_wake(struct acpi_pm *s)
{
    s->waking = s->asleep;
}

void acpi_pm_set_wake(void *opaque, unsigned n, bool level)
{
    struct acpi_pm *s = opaque;
    if (level && s->asleep && s->config.wake)
        s->config.wake(s->config.opaque);
}

void acpi_pm_set_rtc(void *opaque, unsigned n, bool level)
{
    struct acpi_pm *s = opaque;
    if (!level)
        return;
    s->status |= PM1_RTC;
    update(s);
}

void acpi_pm_set_gpe(void *opaque, unsigned n, bool level)
{
    struct acpi_pm *s = opaque;
    if (n >= 16)
        return;
    s->gpe_lines = level ? s->gpe_lines | BIT(n) : s->gpe_lines & ~BIT(n);
    s->gpe_status |= s->gpe_lines;
    update(s);
}

/* ---- reset ---- */

static void reset(void *opaque)
{
    struct acpi_pm *s = opaque;
    s->status = s->waking ? PM1_WAKE | (s->status & (PM1_RTC | PM1_POWER_BUTTON)) : 0;
    /* Has power in S3; firmware may want SMIs before it has placed the block again. */
    s->global_control = s->waking ? s->global_control : 0;
    s->asleep = s->waking = 0;
    s->enable = s->control = 0;
    s->gpe_status = s->gpe_enable = 0;
    s->global_status = 0;
    s->apm_command = s->apm_status = s->apm_smi = 0;
    s->half_period = ticks_now(s) >> (TIMER_BITS - 1);
    update(s);
}

/* ---- read ---- */

/* The 16 bits at an even offset. */
static u16 read_word(struct acpi_pm *s, unsigned offset)
{
    switch (offset) {
    case REG_STATUS: return s->status;
    case REG_ENABLE: return s->enable;
    case REG_CONTROL: return s->control;
    case REG_GPE_STATUS: return s->gpe_status;
    case REG_GPE_ENABLE: return s->gpe_enable;
    case REG_GLOBAL_STATUS: return s->global_status;
    case REG_GLOBAL_CONTROL: return s->global_control;
    default: return 0;
    }
}

static u64 read_block(void *opaque, u64 offset, unsigned size)
{
    struct acpi_pm *s = opaque;
    u64 bits = 0;

    sync(s);
    update(s);
    if ((offset & ~3ull) == REG_TIMER)
        bits = ticks_now(s) & (BIT(TIMER_BITS) - 1);
    else
        bits = read_word(s, offset & ~3u) | (u64)read_word(s, (offset & ~3u) + 2) << 16;
    return (bits >> (offset & 3) * 8) & size_mask(size);
}

static u64 read_gpe(void *opaque, u64 offset, unsigned size)
{
    return read_block(opaque, ACPI_GPE0 + offset, size);
}

static u64 read_hotplug(void *opaque, u64 offset, unsigned size)
{
    return 0;
}

static u64 read_apm(void *opaque, u64 offset, unsigned size)
{
    const struct acpi_pm *s = opaque;
    return offset == 0 ? s->apm_command : s->apm_status;
}

/* ---- write ---- */

static void sleep_request(struct acpi_pm *s, unsigned type)
{
    if (type == TYPE_SOFT_OFF) {
        log_event(device, "acpi: S5 requested");
        if (s->config.power_off)
            s->config.power_off(s->config.opaque);
    } else if (type == TYPE_SUSPEND_TO_RAM && s->config.sleep) {
        log_event(device, "acpi: S3 requested");
        s->asleep = 1;
        s->config.sleep(s->config.opaque);
    } else {
        log_event(unimp, "acpi: sleep type %u requested", type);
    }
}

/* Writes the bits of `written` in the 16 bits at an even offset. */
static void write_word(struct acpi_pm *s, unsigned offset, u16 value, u16 written)
{
    value &= written;
    switch (offset) {
    case REG_STATUS: s->status &= ~(value & STATUS_BITS); break;
    case REG_ENABLE: s->enable = ((s->enable & ~written) | value) & ENABLE_BITS; break;
    case REG_CONTROL:
        s->control = ((s->control & ~written) | value) & CONTROL_WRITABLE;
        if (value & CONTROL_SLEEP)
            sleep_request(s, (s->control & CONTROL_TYPE) >> CONTROL_TYPE_SHIFT);
        break;
    case REG_GPE_STATUS:
        /* An input that is still asserted sets its bit again. */
        s->gpe_status = (s->gpe_status & ~value) | s->gpe_lines;
        break;
    case REG_GPE_ENABLE: s->gpe_enable = (s->gpe_enable & ~written) | value; break;
    case REG_GLOBAL_STATUS: s->global_status &= ~value; break;
    case REG_GLOBAL_CONTROL:
        s->global_control = ((s->global_control & ~written) | value) & GLOBAL_SMI;
        break;
    default: break;
    }
}

static void write_block(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct acpi_pm *s = opaque;
    unsigned shift = (offset & 3) * 8, at = offset & ~3u;
    u64 written = size_mask(size) << shift;

    value <<= shift;
    sync(s);
    if ((u16)written)
        write_word(s, at, (u16)value, (u16)written);
    if ((u16)(written >> 16))
        write_word(s, at + 2, (u16)(value >> 16), (u16)(written >> 16));
    update(s);
}

static void write_gpe(void *opaque, u64 offset, u64 value, unsigned size)
{
    write_block(opaque, ACPI_GPE0 + offset, value, size);
}

static void write_hotplug(void *opaque, u64 offset, u64 value, unsigned size)
{
    log_event(guest_errors, "acpi: write of %llx to the hot-plug register %llu: nothing is there",
              (unsigned long long)value, (unsigned long long)offset);
}

static void write_apm(void *opaque, u64 offset, u64 value, unsigned size)
{
    struct acpi_pm *s = opaque;

    if (offset == 1) {
        s->apm_status = (u8)value;
        return;
    }
    s->apm_command = (u8)value;
    if (s->apm_command == ACPI_SMI_ENABLE)
        s->control |= CONTROL_SCI;
    else if (s->apm_command == ACPI_SMI_DISABLE)
        s->control &= ~CONTROL_SCI;
    sync(s);
    update(s);
    if (s->apm_smi && (s->global_control & GLOBAL_SMI)) {
        s->global_status |= GLOBAL_APM;
        pin_set(&s->config.smi, true);
        pin_set(&s->config.smi, false);
    }
}

/* ---- set-up ---- */

void acpi_pm_set_base(void *opaque, u16 base)
{
    struct acpi_pm *s = opaque;
    region_set_address(s->region, base & ~(BLOCK_SIZE - 1u));
}

void acpi_pm_enable(void *opaque, bool enabled)
{
    struct acpi_pm *s = opaque;
    region_set_enabled(s->region, enabled);
}

void acpi_pm_set_apmc_smi(void *opaque, bool enabled)
{
    struct acpi_pm *s = opaque;
    s->apm_smi = enabled;
}

void acpi_pm_init(struct acpi_pm *s, struct bus *bus, struct clock *clock,
                  const struct acpi_pm_config *config)
{
    static const struct bus_ops block_ops = {read_block, write_block, 1, 4};
    static const struct bus_ops apm_ops = {read_apm, write_apm, 1, 1};
    static const struct bus_ops gpe_ops = {read_gpe, write_gpe, 1, 4};
    static const struct bus_ops hotplug_ops = {read_hotplug, write_hotplug, 1, 4};

    memset(s, 0, sizeof *s);
    s->config = *config;
    s->clock = clock;
    timer_init(&s->timer, clock, on_timer, s);
    s->region = bus_map_ports(bus, "acpi-pm", 0, BLOCK_SIZE, &block_ops, s);
    region_set_enabled(s->region, false);
    bus_map_ports(bus, "acpi-gpe", QEMU_GPE, QEMU_GPE_SIZE, &gpe_ops, s);
    bus_map_ports(bus, "acpi-hotplug", QEMU_HOTPLUG, QEMU_HOTPLUG_SIZE, &hotplug_ops, s);
    bus_map_ports(bus, "apm", ACPI_SMI_COMMAND, 2, &apm_ops, s);
    reset(s);
}

/* ---- state ---- */

static void loaded(void *opaque)
{
    struct acpi_pm *s = opaque;
    pin_set(&s->config.sci, s->sci_level);
}

static const struct field fields[] = {
    FIELD(struct acpi_pm, status),      FIELD(struct acpi_pm, enable),
    FIELD(struct acpi_pm, control),     FIELD(struct acpi_pm, gpe_status),
    FIELD(struct acpi_pm, gpe_enable),  FIELD(struct acpi_pm, gpe_lines),
    FIELD(struct acpi_pm, global_status), FIELD(struct acpi_pm, global_control),
    FIELD(struct acpi_pm, apm_command), FIELD(struct acpi_pm, apm_status),
    FIELD(struct acpi_pm, apm_smi),     FIELD(struct acpi_pm, sci_level),
    FIELD(struct acpi_pm, asleep),      FIELD(struct acpi_pm, waking),
    FIELD(struct acpi_pm, half_period), FIELD_TIMER(struct acpi_pm, timer),
    FIELD_END};

const struct device_class acpi_pm_class = {
    .name = "acpi-pm",
    .description = "ACPI power management",
    .reset = reset,
    .fields = fields,
    .loaded = loaded,
};

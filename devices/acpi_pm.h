/* ACPI power-management registers of the PIIX4; see acpi_pm.c. */
#ifndef DRAGOMAN_DEVICES_ACPI_PM_H
#define DRAGOMAN_DEVICES_ACPI_PM_H

#include "base/clock.h"
#include "devices/device.h"
#include "mmu/bus.h"

#define ACPI_PM_TIMER_HZ 3579545u

/* Offsets from the base, for whoever describes them in a FADT; lengths 4, 2, 4 and 4. */
#define ACPI_PM1_EVENT 0x00
#define ACPI_PM1_CONTROL 0x04
#define ACPI_PM_TIMER 0x08
#define ACPI_GPE0 0x0c

#define ACPI_SMI_COMMAND 0xb2 /* port, and what to write there */
#define ACPI_SMI_ENABLE 0xf1
#define ACPI_SMI_DISABLE 0xf0

struct acpi_pm_config {
    struct pin sci;
    struct pin smi; /* pulse: a write to the SMI command port, where the board has it enabled */
    void (*power_off)(void *opaque);         /* S5 */
    void (*sleep)(void *opaque); /* S3: whoever wakes the machine calls acpi_pm_wake and resets */
    void (*wake)(void *opaque);  /* in S3: an event that has been enabled for it has come */
    void *opaque;
};

struct acpi_pm {
    struct acpi_pm_config config;
    struct clock *clock;
    struct region *region;

    u16 status, enable, control; /* PM1 */
    u16 gpe_status, gpe_enable;
    u16 gpe_lines;       /* inputs as they are now */
    u16 global_status, global_control;
    u8 apm_command, apm_status;
    u8 apm_smi;          /* a command raises SMI */
    u8 sci_level;
    u8 asleep;           /* S3 */
    u8 waking;           /* the next reset ends it */
    u64 half_period;     /* times the timer's top bit has changed, as far as noticed */
    struct timer timer;
};

/* Claims the SMI command ports 0xB2 and 0xB3 and prepares the 64 ports of the block, off until
 * acpi_pm_set_base and acpi_pm_enable. */
void acpi_pm_init(struct acpi_pm *s, struct bus *bus, struct clock *clock,
                  const struct acpi_pm_config *config);

/* PMBASE and its enable bit in the PCI function (opaque: struct acpi_pm); base is cut to a multiple
 * of 64. */
void acpi_pm_set_base(void *opaque, u16 base);
void acpi_pm_enable(void *opaque, bool enabled);

/* The PCI function's DEVACTB.APMC_EN: commands raise the smi pin. */
void acpi_pm_set_apmc_smi(void *opaque, bool enabled);

/* The machine is about to be reset in order to leave S3: what has woken it stays in the status. */
void acpi_pm_wake(struct acpi_pm *s);

/* The real-time clock's interrupt; made to be the function of a pin. */
void acpi_pm_set_rtc(void *opaque, unsigned n, bool level);

/* Somebody presses the power button. */
void acpi_pm_power_button(struct acpi_pm *s);

/* The keyboard controller's wake line, always enabled; made to be the function of a pin. */
void acpi_pm_set_wake(void *opaque, unsigned n, bool level);

/* General-purpose event input n (0 to 15); made to be the function of a pin. */
void acpi_pm_set_gpe(void *opaque, unsigned n, bool level);

extern const struct device_class acpi_pm_class;

#endif

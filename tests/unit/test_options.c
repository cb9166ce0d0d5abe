/* The command line: values, defaults of the streams, and one line for whatever is wrong. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "frontends/options.h"
#include "tests/suite.h"

#define MAX_ARGS 16

static struct options options;
static char *error;

/* Splits at blanks: no test needs one inside an argument. */
static int parse(const char *line)
{
    static char copy[512];
    char *argv[MAX_ARGS] = {(char *)"dragoman"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *p = strtok(copy, " "); p && argc < MAX_ARGS; p = strtok(NULL, " "))
        argv[argc++] = p;
    free(error);
    options_free(&options);
    int status = options_parse(&options, argc, argv, &error);
    ck_assert_msg((status != 0) == (error != NULL), "%s: status %d, error %s", line, status, error);
    if (error)
        ck_assert_ptr_null(strchr(error, '\n'));
    return status;
}

static void expect_error(const char *line, int status, const char *part)
{
    ck_assert_int_eq(parse(line), status);
    ck_assert_msg(strstr(error, part) != NULL, "'%s' says '%s', without '%s'", line, error, part);
}

START_TEST(defaults)
{
    ck_assert_int_eq(parse(""), 0);
    ck_assert_uint_eq(options.ram, 128ull << 20);
    ck_assert_uint_eq(options.cpus, 1);
    ck_assert_ptr_null(options.accel);
    ck_assert_int_eq(options.help, HELP_NONE);
    ck_assert(!options.no_reboot && !options.paused && !options.nographic);
}
END_TEST

START_TEST(memory)
{
    static const struct {
        const char *line;
        u64 bytes;
    } good[] = {
        {"-m 1", 1ull << 20},          {"-m 512", 512ull << 20},   {"-m 2G", 2ull << 30},
        {"-m 65536", 64ull << 30},     {"-m size=3G", 3ull << 30}, {"-m 4096M", 4ull << 30},
        {"-m 2048k", 2ull << 20},      {"-m 0x80", 128ull << 20},  {"--m 64", 64ull << 20},
    };
    static const char *const wrong[] = {"-m 0",  "-m -5",    "-m 65G", "-m 1000000000G", "-m x",
                                        "-m 5X", "-m size=", "-m 12K", "-m 99999999999999999999",
                                        "-m 1.5G", "-m slots=3"};
    for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
        ck_assert_int_eq(parse(good[i].line), 0);
        ck_assert_uint_eq(options.ram, good[i].bytes);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
        expect_error(wrong[i], OPTIONS_STATUS_BAD, "-m");
}
END_TEST

START_TEST(processors)
{
    ck_assert_int_eq(parse("-smp 4"), 0);
    ck_assert_uint_eq(options.cpus, 4);
    ck_assert_int_eq(parse("-smp cpus=2,maxcpus=4"), 0);
    ck_assert_uint_eq(options.cpus, 2);
    ck_assert_int_eq(parse("-smp sockets=2,cores=3,threads=1"), 0);
    ck_assert_uint_eq(options.cpus, 6);
    expect_error("-smp 0", OPTIONS_STATUS_BAD, "-smp");
    expect_error("-smp 100000", OPTIONS_STATUS_BAD, "-smp");
    expect_error("-smp -1", OPTIONS_STATUS_BAD, "-smp");
    expect_error("-smp two", OPTIONS_STATUS_BAD, "two");
    expect_error("-smp sockets=60,cores=60", OPTIONS_STATUS_BAD, "-smp");
    expect_error("-smp turbo=1", OPTIONS_STATUS_BAD, "turbo");
}
END_TEST

START_TEST(accelerators)
{
    ck_assert_int_eq(parse("-accel interp,tb-size=16"), 0);
    ck_assert_str_eq(options.accel, "interp");
    ck_assert_uint_eq(options.code_bytes, 16ull << 20);
    ck_assert_ptr_null(options.opt);
    ck_assert_int_eq(parse("-accel dbt,opt=-chain,opt=-fold:fates"), 0);
    ck_assert_str_eq(options.opt, "-chain:-fold:fates");
    ck_assert_ptr_null(options.cache);
    ck_assert_int_eq(parse("-accel dbt,cache=/tmp/x"), 0);
    ck_assert_str_eq(options.cache, "/tmp/x");
    ck_assert_int_eq(parse("-accel dbt,cache=on,cache=off"), 0);
    ck_assert_str_eq(options.cache, "off");
    expect_error("-accel dbt,cache=", OPTIONS_STATUS_BAD, "cache");
    ck_assert_int_eq(parse("-accel dbt,opt=help"), 0);
    ck_assert_int_eq(options.help, HELP_OPT);
    ck_assert_int_eq(parse("-machine pc,accel=dbt"), 0);
    ck_assert_str_eq(options.accel, "dbt");
    ck_assert_int_eq(parse("-accel help"), 0);
    ck_assert_int_eq(options.help, HELP_ACCEL);
    expect_error("-accel interp,tb-size=many", OPTIONS_STATUS_BAD, "tb-size");
    expect_error("-accel interp,speed=9", OPTIONS_STATUS_BAD, "speed");
    expect_error("-machine q35", OPTIONS_STATUS_BAD, "q35");
}
END_TEST

START_TEST(usage)
{
    expect_error("-nosuch", OPTIONS_STATUS_USAGE, "-nosuch");
    expect_error("-", OPTIONS_STATUS_USAGE, "'-'");
    expect_error("-m", OPTIONS_STATUS_USAGE, "-m");
    expect_error("-initrd x", OPTIONS_STATUS_USAGE, "-kernel");
    expect_error("-append quiet", OPTIONS_STATUS_USAGE, "-kernel");
    expect_error("1 2 3 4 5 6 7 8 nine", OPTIONS_STATUS_USAGE, "nine");
    ck_assert_int_eq(parse("bzImage -append quiet initrd.gz"), 0);
    ck_assert_uint_eq(options.files, 2);
    ck_assert_str_eq(options.file[0], "bzImage");
}
END_TEST

START_TEST(drives)
{
    const struct options_drive *ide = options.drives.ide;
    ck_assert_int_eq(parse("-hda a.img -hdd d.img -cdrom c.iso -snapshot"), 0);
    ck_assert(ide[0].used && !ide[1].used && ide[2].cdrom && ide[3].used);
    ck_assert_str_eq(ide[0].path, "a.img");
    ck_assert_str_eq(ide[2].path, "c.iso");
    ck_assert(options.drives.snapshot);
    ck_assert_int_eq(parse("-drive file=a,,b=c.qcow2,format=qcow2,if=ide,readonly=on,index=1 "
                           "-drive x.iso,media=cdrom -drive media=cdrom,bus=0,unit=0"), 0);
    ck_assert_str_eq(ide[1].path, "a,b=c.qcow2");
    ck_assert_str_eq(ide[1].format, "qcow2");
    ck_assert(ide[1].read_only && !ide[1].cdrom);
    ck_assert_str_eq(ide[2].path, "x.iso");
    ck_assert(ide[0].used && ide[0].cdrom && !ide[0].path);
    ck_assert_int_eq(parse("-fdb b.img -drive if=floppy,file=a.img,readonly=on"), 0);
    ck_assert(options.drives.floppy[0].read_only && !strcmp(options.drives.floppy[0].path, "a.img"));
    ck_assert_str_eq(options.drives.floppy[1].path, "b.img");
    ck_assert(!ide[0].used);
    ck_assert_int_eq(parse("-drive if=floppy"), 0); /* an empty drive */
    ck_assert(options.drives.floppy[0].used && !options.drives.floppy[0].path);
    expect_error("-fda a -fda b", OPTIONS_STATUS_BAD, "-fda");
    expect_error("-drive if=floppy,media=cdrom", OPTIONS_STATUS_BAD, "floppy");
    expect_error("-drive if=floppy,index=2,file=a", OPTIONS_STATUS_BAD, "room");
    expect_error("-drive if=scsi,file=a", OPTIONS_STATUS_BAD, "scsi");
    ck_assert_int_eq(parse("-audiodev sdl,id=s -machine pc,pcspk-audiodev=s"), 0);
    ck_assert_str_eq(options.audio, "sdl");
    ck_assert_int_eq(parse("-audiodev driver=none,id=n"), 0);
    ck_assert_str_eq(options.audio, "none");
    expect_error("-audiodev tape", OPTIONS_STATUS_BAD, "tape");
    expect_error("-audiodev sdl,volume=11", OPTIONS_STATUS_BAD, "volume");
    expect_error("-machine pcspk-audiodev=s", OPTIONS_STATUS_USAGE, "id=s");
    expect_error("-hda a -hda b", OPTIONS_STATUS_BAD, "-hda");
    expect_error("-hdc a -cdrom b", OPTIONS_STATUS_BAD, "-hdc");
    expect_error("-drive file=a,if=scsi", OPTIONS_STATUS_BAD, "scsi");
    expect_error("-drive file=a,readonly=maybe", OPTIONS_STATUS_BAD, "readonly=maybe");
    expect_error("-drive file=a,index=9", OPTIONS_STATUS_BAD, "index=9");
    expect_error("-drive format=raw", OPTIONS_STATUS_BAD, "file=");
    expect_error("-drive file=a,colour=red", OPTIONS_STATUS_BAD, "colour");
    expect_error("-hda a -hdb b -hdc c -hdd d -drive file=e", OPTIONS_STATUS_BAD, "room");
}
END_TEST

START_TEST(boot)
{
    ck_assert_int_eq(parse("-boot d"), 0);
    ck_assert_str_eq(options.boot_order, "d");
    ck_assert_int_eq(parse("-boot order=dc,menu=on"), 0);
    ck_assert(options.boot_menu && !strncmp(options.boot_order, "dc,", 3));
    ck_assert_int_eq(parse("-boot order=c,once=d"), 0);
    ck_assert(!strncmp(options.boot_order, "c,", 2) && !strcmp(options.boot_once, "d"));
    expect_error("-boot order=xyz", OPTIONS_STATUS_BAD, "xyz");
    expect_error("-boot menu=perhaps", OPTIONS_STATUS_BAD, "menu");
}
END_TEST

START_TEST(devices)
{
    ck_assert_int_eq(parse("-device isa-debug-exit,iobase=0xf4,iosize=0x4 -device pc-testdev"), 0);
    ck_assert_uint_eq(options.devices, 2);
    ck_assert_int_eq(parse("-device help"), 0);
    ck_assert_int_eq(options.help, HELP_DEVICE);
    expect_error("-device warp-drive", OPTIONS_STATUS_BAD, "warp-drive");
    expect_error("-device isa-debug-exit,iobase=fast", OPTIONS_STATUS_BAD, "iobase");
    expect_error("-device isa-debug-exit,iobase=-1", OPTIONS_STATUS_BAD, "iobase");
    expect_error("-device isa-debug-exit,iosize=8", OPTIONS_STATUS_BAD, "iosize");
    expect_error("-device isa-debug-exit,colour=1", OPTIONS_STATUS_BAD, "colour");
    expect_error("-device isa-debug-exi", OPTIONS_STATUS_BAD, "isa-debug-exi");
}
END_TEST

START_TEST(others)
{
    ck_assert_int_eq(parse("-d in_asm,int -d mmu"), 0);
    ck_assert_uint_eq(options.log_mask,
                      BIT(LOG_BIT_in_asm) | BIT(LOG_BIT_int) | BIT(LOG_BIT_mmu));
    expect_error("-d in_asm,gossip", OPTIONS_STATUS_BAD, "gossip");
    expect_error("-display mirror", OPTIONS_STATUS_BAD, "mirror");
    ck_assert_int_eq(parse("-display curses"), 0);
    ck_assert_str_eq(options.display, "terminal");
    expect_error("-vga cirrus", OPTIONS_STATUS_BAD, "-vga");
    expect_error("-rtc base=noon", OPTIONS_STATUS_BAD, "noon");
    expect_error("-rtc base=2026-13-01", OPTIONS_STATUS_BAD, "2026-13-01");
    expect_error("-icount shift=auto", OPTIONS_STATUS_BAD, "auto");
    expect_error("-icount 11", OPTIONS_STATUS_BAD, "0 to 10");
    expect_error("-icount shift=1,sleep=maybe", OPTIONS_STATUS_BAD, "sleep");
    expect_error("-icount shift=1,align=on", OPTIONS_STATUS_BAD, "align");
    expect_error("-icount 1 -smp 2", OPTIONS_STATUS_USAGE, "-smp");
    expect_error("-serial null -serial null -serial null -serial null -serial null",
                 OPTIONS_STATUS_BAD, "-serial");
    ck_assert_int_eq(parse("-global isa-debugcon.iobase=0x402 -debugcon stdio"), 0);
    ck_assert_uint_eq(options.debugcon_port, 0x402);
    ck_assert_int_eq(parse("-nodefaults -no-user-config -vnc none -net none -name x -version"), 0);
    ck_assert_int_eq(options.help, HELP_VERSION);
}
END_TEST

/* Where serial port 0 and the monitor end up, as in QEMU. */
START_TEST(streams)
{
    static const struct {
        const char *line, *serial, *monitor;
    } rows[] = {
        {"", "mon:stdio", NULL},
        {"-nographic", "mon:stdio", NULL},
        {"-nographic -monitor none", "stdio", NULL},
        {"-nographic -serial file:x", "file:x", "stdio"},
        {"-nographic -serial mon:stdio", "mon:stdio", NULL},
        {"-nographic -serial stdio", "stdio", NULL},
        {"-nographic -serial none", NULL, "stdio"},
        {"-nographic -monitor stdio", "null", "stdio"},
        {"-display none", "null", NULL},
        {"-display sdl", "mon:stdio", NULL},
        {"-display terminal", "null", NULL},
        {"-display none -serial stdio", "stdio", NULL},
        {"-display none -monitor stdio", "null", "stdio"},
        {"-nodefaults", NULL, NULL},
        {"-nodefaults -serial stdio -nographic", "stdio", NULL},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        struct options_streams s;
        ck_assert_int_eq(parse(rows[i].line), 0);
        options_streams(&options, &s);
        ck_assert_msg(!s.serial[0] == !rows[i].serial &&
                          (!s.serial[0] || !strcmp(s.serial[0], rows[i].serial)),
                      "'%s': serial is %s", rows[i].line, s.serial[0]);
        ck_assert_msg(!s.monitor == !rows[i].monitor &&
                          (!s.monitor || !strcmp(s.monitor, rows[i].monitor)),
                      "'%s': monitor is %s", rows[i].line, s.monitor);
    }
}
END_TEST

START_TEST(counted_mode)
{
    ck_assert_int_eq(parse("-icount shift=3,sleep=off,trace=1000,trace-to=5000"), 0);
    ck_assert(options.counted && !options.count.sleep);
    ck_assert_uint_eq(options.count.shift, 3);
    ck_assert_uint_eq(options.count.trace_step, 1000);
    ck_assert_uint_eq(options.count.trace_to, 5000);
    ck_assert_int_eq(parse("-icount 7"), 0);
    ck_assert(options.counted && options.count.sleep);
    ck_assert_uint_eq(options.count.shift, 7);
    ck_assert_int_eq(parse("-rtc base=2000-02-29T12:00:01,clock=vm"), 0);
    ck_assert(options.fixed_date && options.date == 951825601);
    ck_assert_int_eq(parse("-rtc base=1970-01-02"), 0);
    ck_assert(options.fixed_date && options.date == 86400);
    ck_assert_int_eq(parse(""), 0);
    ck_assert(!options.counted && !options.fixed_date);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("options");
    TCase *t = tcase_create("options");
    tcase_add_test(t, defaults);
    tcase_add_test(t, counted_mode);
    tcase_add_test(t, memory);
    tcase_add_test(t, processors);
    tcase_add_test(t, accelerators);
    tcase_add_test(t, usage);
    tcase_add_test(t, drives);
    tcase_add_test(t, boot);
    tcase_add_test(t, devices);
    tcase_add_test(t, others);
    tcase_add_test(t, streams);
    suite_add_tcase(s, t);
    int status = run_suite(s);
    free(error);
    options_free(&options);
    return status;
}

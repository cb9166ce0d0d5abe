/* The firmware's probe: resets that are no beginning. */
#include "bios_probe.h"

/* void reset_to(u32 code): EAX.  Resets the machine through the 8042, with the shutdown code in
 * CMOS and 40:67 pointing to where it is to go on, or to a stack with what leads there. */
__asm__(".code16\n"
        "reset_to:\n"
        "pushal\n"
        "cli\n"
        "movl %esp, back_esp\n"
        "movw $0x40, %bx\n"
        "movw %bx, %fs\n"
        "movw $back, %cx\n"
        "cmpb $0x09, %al\n"
        "je 1f\n"
        "cmpb $0x0b, %al\n"
        "jae 1f\n"
        "movw %cs, %dx\n"
        "jmp 3f\n"
        "1: cmpb $0x0c, %al\n"
        "je 2f\n"
        "pushfw\n"
        "2: pushw %cs\n"
        "pushw %cx\n"
        "cmpb $0x09, %al\n"
        "jne 4f\n"
        "pushaw\n"
        "pushw %es\n"
        "pushw %ds\n"
        "4: movw %sp, %cx\n"
        "movw %ss, %dx\n"
        "3: movw %cx, %fs:0x67\n"
        "movw %dx, %fs:0x69\n"
        "movb %al, %ah\n"
        "movb $0x8f, %al\n"
        "outb %al, $0x70\n"
        "movb %ah, %al\n"
        "outb %al, $0x71\n"
        "movb $0xfe, %al\n"
        "outb %al, $0x64\n"
        "5: hlt\n"
        "jmp 5b\n"
        "back: cli\n"
        "movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "movw %ax, %es\n"
        "movw %ax, %ss\n"
        "movl back_esp, %esp\n"
        "cld\n"
        "popal\n"
        "retl\n"
        ".code16gcc\n");

void reset_to(u32 code);
static u32 back_esp __attribute__((used));

void shutdown_codes(void)
{
    static const u8 codes[] = {0x05, 0x0a, 0x09, 0x0b, 0x0c};
    text("shutdown");
    for (unsigned i = 0; i < sizeof codes; i++) {
        reset_to(codes[i]);
        hex(codes[i]);
    }
    end();
    /* The timer goes on, and the keyboard. */
    static const u8 key[] = {0x1e, 0x9e, 0};
    struct regs before = call(0, 0x1a, blank(0x0000));
    while ((u16)call(0, 0x1a, blank(0x0000)).edx == (u16)before.edx)
        __asm__ volatile("sti; hlt; cli");
    keys("16-after", key, 0x00);
    call("pirq-after", 0x1a, (struct regs){.eax = 0xb108, .ebx = 8, .edi = 0x60});
}

enum { MARK_SEGMENT = 0x5000, MARK = 0x574d4152, BY_KEYS = 0x4b455953 };

/* "resets" on the command line, whose address a loader puts into the header at 228h. */
int wants_resets(void)
{
    far_segment(own_segment());
    u32 line = FAR(u32, 0x228);
    far_segment((u16)(line >> 4));
    return line && FAR(u8, (u16)(line & 15)) == 'r';
}

/* The second time, RAM is as it was left; Ctrl, Alt and Delete lead to a third. */
int is_warm(void)
{
    static const u8 three_keys[] = {0x1d, 0x38, 0x53, 0};
    far_segment(MARK_SEGMENT);
    u32 mark = FAR(u32, 0);
    if (mark != MARK && mark != BY_KEYS)
        return 0;
    text("warm");
    hex(FAR(u32, 0xfff0));
    end();
    if (mark == MARK) {
        FAR(u32, 0) = BY_KEYS;
        keys("no-reset", three_keys, 0x00);
    }
    return 1;
}

void warm_reset(void)
{
    far_segment(MARK_SEGMENT);
    FAR(u32, 0) = MARK;
    FAR(u32, 0xfff0) = 0x12345678;
    far_segment(0);
    FAR(u16, 0x472) = 0x1234;
    __asm__ volatile("ljmpw $0xffff, $0");
}

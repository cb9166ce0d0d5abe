/* Entries of all interrupt services: from the caller's stack to the services' own and into C.
 *
 * C code runs with CS = CODE_SEG, DS = ES = SS = DATA_SEG and reaches the caller's registers, saved
 * on the caller's stack, through GS (struct frame in service.h).  Virtual-8086 mode will do too.
 */
#include "bios/layout.h"
#include "bios/segments.inc"

        .section .entry.text16, "ax"
        .code16

.macro SERVICE vector
        .globl  int_\vector
int_\vector:
        pushl   $service_\vector
        jmp     service_common
.endm

        SERVICE 05
        SERVICE 08
        SERVICE 09
        SERVICE 0e
        SERVICE 10
        SERVICE 11
        SERVICE 12
        SERVICE 13
        SERVICE 14

/* AH = 89h leaves real mode, so that there is nothing to come back to. */
        .globl  int_15
int_15: cmpb    $0x89, %ah
        je      switch_protected
        pushl   $service_15
        jmp     service_common

        SERVICE 16
        SERVICE 17
        SERVICE 18
        SERVICE 1a
        SERVICE 70
        SERVICE 74
        SERVICE irq_low
        SERVICE irq_high
        SERVICE pmm

/* INT 10h when the console is mirrored: the mirror sees the call, then the display adapter. */
        .globl  int_10_mirror
int_10_mirror:
        pushfw
        pushw   %cs
        callw   int_10
        int     $VIDEO_INT
        iretw

/* INT 15h AH = 89h (IBM PC AT Technical Reference, BIOS listing, X_VIRTUAL): ES:SI is a table of
 * descriptors: 08h the table itself, 10h the interrupt table, 18h DS, 20h ES, 28h SS, 30h CS of the
 * caller, 38h room for ours.  BH and BL are the interrupts of IRQ 0 and IRQ 8, all of which are masked.
 * Goes back in protected mode, AH = 0. */
switch_protected:
        cli
        inb     $0x92, %al
        orb     $2, %al
        andb    $0xfe, %al
        outb    %al, $0x92              /* A20 */
        movb    $0x11, %al
        outb    %al, $0x20
        outb    %al, $0xa0
        movb    %bh, %al
        outb    %al, $0x21
        movb    %bl, %al
        outb    %al, $0xa1
        movb    $4, %al
        outb    %al, $0x21
        movb    $2, %al
        outb    %al, $0xa1
        movb    $1, %al
        outb    %al, $0x21
        outb    %al, $0xa1
        movb    $0xff, %al
        outb    %al, $0x21
        outb    %al, $0xa1
        movw    $0xffff, %es:0x38(%si)
        movl    $(0x9b000000 | CODE_BASE), %es:0x3a(%si)
        movw    $0, %es:0x3e(%si)
        lgdtw   %es:0x08(%si)
        lidtw   %es:0x10(%si)
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpw   $0x38, $1f
1:      movw    $0x18, %ax
        movw    %ax, %ds
        movw    $0x20, %ax
        movw    %ax, %es
        movw    $0x28, %ax
        movw    %ax, %ss
        popw    %bx                     /* IP; CS and flags are real mode's */
        addw    $4, %sp
        pushw   $0x30
        pushw   %bx
        movb    $0, %ah
        clc
        lretw

/* POST's memory manager is called far, with arguments behind the return address. */
        .globl  pmm_entry
pmm_entry:
        pushfw
        pushw   %cs
        callw   int_pmm
        lretw

/* Calls an option ROM; DS is 0. */
        .globl  int_call_rom
int_call_rom:
        lcallw  *ROM_CALL_TARGET
        iretw

/* INT 19h's way into an option ROM's boot entry, where ROM_CALL_TARGET points; ES:DI is the
 * Plug and Play installation check, whose offset is behind it.  If it comes back it could not
 * boot. */
        .globl  boot_rom
boot_rom:
        movw    %cs, %ax
        movw    %ax, %es
        movw    ROM_CALL_TARGET + 4, %di
        lcallw  *ROM_CALL_TARGET
        int     $0x18

/* Lets interrupts in until one has come. */
        .globl  int_idle
int_idle:
        sti
        hlt
        iretw

        .globl  int_ignore
int_ignore:
        iretw

/* Offsets in struct frame. */
#define FRAME_HANDLER 40

service_common:
        cld
        pushal
        PUSH_SEGMENTS
        movl    %esp, %edx
        movw    %ss, %ax
        movw    %ax, %gs
        movzwl  %sp, %esi
        movw    $DATA_SEG, %cx
        movw    %cx, %ds
        movw    %cx, %es
        cmpw    %cx, %ax
        je      own_stack
        movzwl  service_stack, %ebx
        subw    $STACK_SLICE, service_stack
        movw    %cx, %ss
        movl    %ebx, %esp
        pushl   %eax
        pushl   %edx
        movl    %esi, %eax
        calll   *%gs:FRAME_HANDLER(%esi)
        popl    %edx
        popl    %eax
        addw    $STACK_SLICE, service_stack
        movw    %ax, %ss
        movl    %edx, %esp
        jmp     service_return
own_stack:
        pushl   %edx
        movl    %esi, %eax
        calll   *%gs:FRAME_HANDLER(%esi)
        popl    %edx
        movl    %edx, %esp
service_return:
        POP_SEGMENTS
        popal
        addw    $4, %sp
        iretw

/* void call_int(u8 vector): EAX; called by 16-bit C, for services that call others (1Ch, 4Ah). */
        .globl  call_int
call_int:
        pushal
        PUSH_SEGMENTS
        movzbl  %al, %ebx
        shll    $2, %ebx
        xorw    %ax, %ax
        movw    %ax, %fs
        pushfw
        lcallw  *%fs:(%bx)
        cli
        cld
        POP_SEGMENTS
        popal
        retl

/* bool call_int_ax(u8 vector, u16 *ax): EAX, EDX. */
        .globl  call_int_ax
call_int_ax:
        pushl   %ebx
        pushl   %edx
        movzbl  %al, %ebx
        shll    $2, %ebx
        movw    (%edx), %dx
        PUSH_SEGMENTS
        xorw    %ax, %ax
        movw    %ax, %fs
        movw    %dx, %ax
        stc
        pushfw
        lcallw  *%fs:(%bx)
        cli
        cld
        POP_SEGMENTS
        popl    %edx
        movw    %ax, (%edx)
        setc    %al
        popl    %ebx
        retl

/* void call_pointer(u32 handler, u32 words01, u32 words23): EAX, EDX, ECX; the pointing device's
 * handler returns far and leaves its arguments. */
        .globl  call_pointer
call_pointer:
        pushal
        PUSH_SEGMENTS
        pushl   %eax
        movw    %sp, %bp
        pushw   %dx
        shrl    $16, %edx
        pushw   %dx
        pushw   %cx
        shrl    $16, %ecx
        pushw   %cx
        lcallw  *(%bp)
        cli
        cld
        addw    $12, %sp
        POP_SEGMENTS
        popal
        retl

/* void wait_interrupt(void): called by 16-bit C.  STI takes effect after HLT has begun. */
        .globl  wait_interrupt
wait_interrupt:
        sti
        hlt
        cli
        retl

/* Which handler an interrupt vector gets, read by POST; ends with FFFF. */
        .globl  vector_table
vector_table:
        .word   0x05, int_05
        .word   0x08, int_08
        .word   0x09, int_09
        .word   0x0a, int_irq_low
        .word   0x0b, int_irq_low
        .word   0x0c, int_irq_low
        .word   0x0d, int_irq_low
        .word   0x0e, int_0e
        .word   0x0f, int_irq_low
        .word   0x10, int_10
        .word   0x11, int_11
        .word   0x12, int_12
        .word   0x13, int_13
        .word   0x14, int_14
        .word   0x15, int_15
        .word   0x16, int_16
        .word   0x17, int_17
        .word   0x18, int_18
        .word   0x19, int_19
        .word   0x1a, int_1a
        .word   0x40, int_13
        .word   0x70, int_70
        .word   0x71, int_irq_high
        .word   0x72, int_irq_high
        .word   0x73, int_irq_high
        .word   0x74, int_74
        .word   0x75, int_irq_high
        .word   0x76, int_irq_high
        .word   0x77, int_irq_high
        .word   0xffff
        .globl  vector_ignore, vector_mirror, vector_call_rom, vector_idle
vector_idle:
        .word   int_idle
vector_ignore:
        .word   int_ignore
vector_mirror:
        .word   int_10_mirror
vector_call_rom:
        .word   int_call_rom

/* Diskette parameters (INT 1Eh; IBM PC AT Technical Reference, "Diskette base table") of 360 KB,
 * 720 KB, 1.2, 1.44 and 2.88 MB. */
        .globl  floppy_table, floppy_tables
floppy_tables:
        .byte   0xdf, 0x02, 0x25, 0x02, 9, 0x2a, 0xff, 0x50, 0xf6, 0x0f, 0x08
        .byte   0xdf, 0x02, 0x25, 0x02, 9, 0x2a, 0xff, 0x50, 0xf6, 0x0f, 0x08
        .byte   0xdf, 0x02, 0x25, 0x02, 15, 0x1b, 0xff, 0x54, 0xf6, 0x0f, 0x08
floppy_table:
        .byte   0xaf, 0x02, 0x25, 0x02, 18, 0x1b, 0xff, 0x6c, 0xf6, 0x0f, 0x08
        .byte   0xaf, 0x02, 0x25, 0x02, 36, 0x1b, 0xff, 0x53, 0xf6, 0x0f, 0x08

        .section .note.GNU-stack, "", @progbits

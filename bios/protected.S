/* Entries for callers in protected mode: BIOS32 service directory, PCI BIOS, APM.
 *
 * What is behind them is the C code of the services, compiled as 32-bit code too.  Callers choose where
 * in their address space the firmware lies, so 32-bit code here contains no absolute address; it finds
 * data relative to EIP, or, for APM, behind the data selector that follows its code selectors.
 */
#include "bios/layout.h"
#include "bios/segments.inc"

        .section .text32, "ax"
        .code32

/* EAX: service, BL: 0.  AL: 0, EBX: physical base, ECX: length, EDX: entry from the base. */
        .globl  bios32_entry
bios32_entry:
        testb   %bl, %bl
        jnz     2f
        cmpl    $0x49435024, %eax       /* "$PCI" */
        jne     1f
        movb    $0, %al
        movl    $ROM_BASE, %ebx
        movl    $ROM_SIZE, %ecx
        movl    $(pci_entry - ROM_BASE), %edx
        lretl
1:      movb    $0x80, %al              /* no such service */
        lretl
2:      movb    $0x81, %al              /* no such function */
        lretl

/* The caller's registers as struct frame has them; GS is the caller's stack. */
.macro SAVE_FRAME
        pushfl
        cld
        pushl   $0                      /* IP, CS */
        pushl   $0                      /* handler */
        pushal
        PUSH_SEGMENTS
        movw    %ss, %ax
        movw    %ax, %gs
.endm
.macro RESTORE_FRAME
        POP_SEGMENTS
        popal
        leal    8(%esp), %esp
        popfl
.endm

/* DS reaches the whole image, from the same base as CS. */
        .globl  pci_entry
pci_entry:
        SAVE_FRAME
        call    1f
1:      popl    %edx
        addl    $(shared - 1b + DATA_BASE), %edx
        movl    %esp, %eax
        call    pci_service_32
        RESTORE_FRAME
        lretl

/* CS is the first of three selectors; the third one is for data. */
        .globl  apm_entry_32
apm_entry_32:
        SAVE_FRAME
        movw    %cs, %cx
        addw    $16, %cx
        movw    %cx, %ds
        movw    %cx, %es
        movl    %esp, %eax
        call    apm_service_32
        RESTORE_FRAME
        lretl

        .section .entry.text16, "ax"
        .code16
/* CS is the one before that for data.  A stack of 16 bits leaves the upper half of ESP undefined. */
        .globl  apm_entry_16
apm_entry_16:
        SAVE_FRAME
        movzwl  %ax, %eax
        larl    %eax, %ebx
        movl    %esp, %edi
        testl   $0x400000, %ebx
        jnz     1f
        movzwl  %sp, %esp
1:      movw    %cs, %cx
        addw    $8, %cx
        movw    %cx, %ds
        movw    %cx, %es
        movl    %esp, %eax
        calll   apm_service
        movl    %edi, %esp
        RESTORE_FRAME
        lretw

/* Plug and Play BIOS: no function is supported. */
        .globl  pnp_entry
pnp_entry:
        movw    $0x82, %ax
        lretw

        .section .note.GNU-stack, "", @progbits

/* Reset, the ways between real and protected mode, and application processors.
 *
 * Reset runs from the ROM below 4 GiB until shadow RAM is filled, but for a few instructions at
 * F0000, where a reset shows the ROM too; so it does not matter what an earlier run left there.
 * A reset that is not a beginning (resume.c) takes shadow RAM as it is.
 */
#include "bios/layout.h"

/* ---- application processors ---- */

        .section .ap.text16, "ax"
        .code16
/* A SIPI with vector F0 starts here, at F000:0000. */
        .globl ap_entry
ap_entry:
        cli
        cld
        movw    $DATA_SEG, %ax
        movw    %ax, %ds
        lgdtl   %cs:gdt_low
        movl    %cr0, %eax
        andl    $0x9fffffff, %eax       /* caches on: CD and NW, SDM volume 3, 11.5.3 */
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $SEL_CODE32, $ap_start32

        .section .text32, "ax"
        .code32
ap_start32:
        movl    $SEL_DATA32, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        /* One at a time: they share a stack. */
1:      lock btsl $0, ap_lock
        jnc     2f
        pause
        jmp     1b
2:      movl    $ap_stack_end, %esp
        call    cpu_ap_start
        /* After this store the stack is another processor's. */
        movl    $0, ap_lock
3:      cli
        hlt
        jmp     3b

        .section .bss32, "aw", @nobits
        .balign 16
        .globl  ap_lock
ap_lock:
        .skip   4
        .balign 16
        .skip   2048
ap_stack_end:

/* ---- reset ---- */

        .section .entry.text16, "ax"
        .code16
        .globl  reset_entry
reset_entry:
        cli
        cld
        /* A program that left protected mode by a reset said in CMOS where it goes on. */
        movb    $(CMOS_SHUTDOWN | CMOS_NO_NMI), %al
        outb    %al, $0x70
        inb     $0x71, %al
        movb    %al, %bl
        movb    $(CMOS_SHUTDOWN | CMOS_NO_NMI), %al
        outb    %al, $0x70
        xorb    %al, %al
        outb    %al, $0x71
        cmpb    $0x05, %bl
        je      resume_shadow
        cmpb    $0xfe, %bl
        je      resume_shadow
        cmpb    $0x09, %bl
        jb      1f
        cmpb    $0x0c, %bl
        jbe     resume_shadow
1:      lgdtl   %cs:gdt_high
        movl    %cr0, %eax
        andl    $0x9fffffff, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $SEL_CODE32, $(reset32 + CODE_HIGH)
/* BL is CMOS's shutdown code.  As platform_lock_shadow does: reads go to DRAM, writes only at
 * EC000. */
resume_shadow:
        movl    $0x80000058, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movw    $0xcfd, %dx
        movb    $0x10, %al
        outb    %al, %dx
        movl    $0x8000005c, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movw    $0xcfe, %dx
        movw    $0x3111, %ax
        outw    %ax, %dx
        ljmpw   $CODE_SEG, $1f
1:      movw    $DATA_SEG, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK_TOP, %esp
        movw    $STACK_TOP - STACK_SLICE, service_stack
        movzbl  %bl, %ebx
        movl    %ebx, %eax
        pushl   %ebx
        calll   resume
        popl    %ebx
        movw    $STACK_TOP, service_stack
        xorw    %ax, %ax
        movw    %ax, %ds
        cmpb    $0x09, %bl
        je      9f
        cmpb    $0x0b, %bl
        jae     2f
        ljmpw   *0x467                  /* 05h, 0Ah: a jump */
2:      lssw    0x467, %sp              /* 0Bh: IRET, 0Ch: RETF, with SS:SP from there */
        cmpb    $0x0c, %bl
        je      3f
        iretw
3:      lretw
9:      lssw    0x467, %sp              /* 09h: the end of a block move, INT 15h AH = 87h */
        popw    %ds
        popw    %es
        popaw
        movb    $0, %ah
        iretw

/* void wake_real(u32 far_address), void wake_protected(u32 linear): EAX; called by 16-bit C. */
        .globl  wake_real, wake_protected, boot_jump
wake_real:
        xorw    %dx, %dx
        movw    %dx, %ds
        movw    %dx, %es
        pushl   %eax
        lretw
/* void boot_jump(u32 far_address, u8 unit): EAX, EDX.  No service is under way any more. */
boot_jump:
        movw    $STACK_TOP, service_stack
        xorw    %cx, %cx
        movw    %cx, %ds
        movw    %cx, %es
        movw    %cx, %ss
        movl    $POST_STACK, %esp
        movb    $0, %dh
        pushl   %eax
        sti
        lretw
wake_protected:
        movl    %eax, %edx
        lgdtl   %cs:gdt_low
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $SEL_CODE32, $wake32

        .section .text32, "ax"
        .code32
wake32:
        movl    $SEL_DATA32, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        jmp     *%edx

        .section .entry.text16, "ax"
        .code32
reset32:
        movl    $SEL_DATA32, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    %ax, %fs
        movw    %ax, %gs
        /* i440FX PAM0 (F0000), PAM5 and PAM6 (E0000-EFFFF): reads and writes go to DRAM;
         * data sheet 290549, 3.2.18. */
        movl    $0x80000058, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movw    $0xcfd, %dx
        movb    $0x30, %al
        outb    %al, %dx
        movl    $0x8000005c, %eax
        movw    $0xcf8, %dx
        outl    %eax, %dx
        movw    $0xcfe, %dx
        movw    $0x3333, %ax
        outw    %ax, %dx
        movl    $ROM_HIGH, %esi
        movl    $ROM_BASE, %edi
        movl    $(ROM_SIZE / 4), %ecx
        rep movsl
        movl    $post32, %eax
        jmp     *%eax

        .section .text32, "ax"
        .code32
post32:
        movl    $POST_STACK, %esp
        call    clear_bss
        call    post_main
        /* post_main does not come back. */
1:      hlt
        jmp     1b

clear_bss:
        xorl    %eax, %eax
        movl    $post_bss_start, %edi
        movl    $post_bss_end, %ecx
        subl    %edi, %ecx
        shrl    $2, %ecx
        rep stosl
        ret

/* ---- from protected mode to real mode ---- */

/* void bios_int_big(...): the same, with data segments that reach up to 4 GiB, as option ROMs may
 * expect (PCI Firmware Specification 3.0, 5.1.1).
 *
 * void bios_int(u8 vector, struct int_regs *r): EAX, EDX.  Calls a software interrupt in real
 * mode.  The stack and *r lie below 64 KiB, so real mode goes on using them with SS = DS = 0. */
        .globl  bios_int, bios_int_big
bios_int_big:
        pushal
        movl    $SEL_BIG16, %ecx
        jmp     1f
bios_int:
        pushal
        movl    $SEL_DATA16, %ecx
1:      movzbl  %al, %eax
        ljmpl   $SEL_CODE16, $int_leave
int_return:
        movl    $SEL_DATA32, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    %ax, %fs
        movw    %ax, %gs
        popal
        ret

        .section .entry.text16, "ax"
        .code16
.macro LEAVE_PROTECTED_MODE reg, data
        movw    \data, %ds
        movw    \data, %es
        movw    \data, %fs
        movw    \data, %gs
        movw    $SEL_DATA16, %bp
        movw    %bp, %ss
        movl    %cr0, \reg
        andl    $~1, \reg
        movl    \reg, %cr0
        ljmpw   $CODE_SEG, $1f
1:      lidtl   %cs:real_idt
.endm

int_leave:
        LEAVE_PROTECTED_MODE %ebx, %cx
        xorw    %bp, %bp
        movw    %bp, %ss
        movw    %bp, %ds
        pushl   %edx
        /* An IRET frame that comes back here, and the handler's address to return "to". */
        pushfw
        pushw   %cs
        pushw   $int_back
        shlw    $2, %ax
        movw    %ax, %bx
        pushl   (%bx)
        movw    %dx, %si
        movw    32(%si), %es
        movl    (%si), %eax
        movl    4(%si), %ebx
        movl    8(%si), %ecx
        movl    12(%si), %edx
        movl    20(%si), %edi
        movl    24(%si), %ebp
        pushw   34(%si)
        movl    16(%si), %esi
        popw    %ds
        lretw
int_back:
        /* The stack: the address of *r. */
        pushw   %ds
        pushl   %esi
        pushfw
        xorw    %si, %si
        movw    %si, %ds
        movw    %sp, %si
        movl    8(%si), %esi
        movl    %eax, (%si)
        movl    %ebx, 4(%si)
        movl    %ecx, 8(%si)
        movl    %edx, 12(%si)
        popw    28(%si)
        popl    16(%si)
        popw    34(%si)
        movl    %edi, 20(%si)
        movl    %ebp, 24(%si)
        movw    %es, 32(%si)
        addw    $4, %sp
        cli
        cld
        lgdtl   %cs:gdt_low
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $SEL_CODE32, $int_return

/* void enter_real(const struct real_entry *e): EAX.  Goes to real mode for good, with e's CS:IP,
 * SS:SP, DX and the other segments, all other registers 0; flags as it says. */
        .section .text32, "ax"
        .code32
        .globl  enter_real
enter_real:
        cli
        movl    (%eax), %esi            /* CS:IP */
        movzwl  4(%eax), %edi           /* segments */
        movzwl  6(%eax), %edx           /* SP */
        movzwl  8(%eax), %ecx           /* DX */
        movzwl  10(%eax), %ebp          /* flags */
        ljmpl   $SEL_CODE16, $real_leave

        .section .entry.text16, "ax"
        .code16
real_leave:
        movl    %ebp, %ebx
        movw    $SEL_DATA16, %ax
        LEAVE_PROTECTED_MODE %eax, %ax
        movw    %di, %ds
        movw    %di, %es
        movw    %di, %fs
        movw    %di, %gs
        movw    %di, %ss
        movl    %edx, %esp
        movl    %ecx, %edx
        pushl   %esi
        pushw   %bx
        movl    $0, %eax                /* XOR would change the flags */
        movl    %eax, %ebx
        movl    %eax, %ecx
        movl    %eax, %esi
        movl    %eax, %edi
        movl    %eax, %ebp
        popfw
        lretw

/* INT 19h: boot.  The loader is 32-bit code and starts on a fresh stack. */
        .globl  int_19
int_19:
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ss
        movl    $POST_STACK, %esp
        lgdtl   %cs:gdt_low
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $SEL_CODE32, $boot32

        .section .text32, "ax"
        .code32
boot32:
        movl    $SEL_DATA32, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    %ax, %fs
        movw    %ax, %gs
        call    clear_bss
        call    boot_main
1:      hlt
        jmp     1b

/* void enter_multiboot(u32 entry, u32 info): EAX, EDX; multiboot specification 0.6.96, 3.2. */
        .globl  enter_multiboot
enter_multiboot:
        cli
        movl    %edx, %ebx
        movl    %eax, %ecx
        movl    $0x2badb002, %eax
        jmp     *%ecx

/* ---- descriptors ---- */

        .section .entry.text16, "ax"
        .code16
        .balign 8
/* All marked as accessed, for the processor cannot write them here. */
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff      /* 08: 32-bit code, flat */
        .quad   0x00cf93000000ffff      /* 10: data, flat */
        .quad   0x00009b0f0000ffff      /* 18: 16-bit code at F0000 */
        .quad   0x000093000000ffff      /* 20: data as in real mode */
        .quad   0x008f93000000ffff      /* 28: the same without its limit */
gdt_end:
        .globl  gdt_low
gdt_low:
        .word   gdt_end - gdt - 1
        .long   gdt + CODE_BASE
gdt_high:
        .word   gdt_end - gdt - 1
        .long   gdt + CODE_HIGH
real_idt:
        .word   0x3ff
        .long   0

/* void pm_copy(u32 to, u32 from, u32 bytes): EAX, EDX, ECX; called by 16-bit C.  Block move between
 * any addresses below 4 GiB; segment registers come back with their real-mode limits. */
        .globl  pm_copy
pm_copy:
        pushl   %edi
        pushl   %esi
        pushl   %ebp
        pushfl
        cli
        pushw   %es
        movl    %eax, %edi
        movl    %edx, %esi
        lgdtl   %cs:gdt_low
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        /* Some processors want a jump after the change; CS stays as it is. */
        jmp     1f
1:      movw    $SEL_DATA32, %bp
        movw    %bp, %es
        movw    %bp, %ds
        movl    %ecx, %edx
        shrl    $2, %ecx
        cld
        addr32 rep movsl
        movl    %edx, %ecx
        andl    $3, %ecx
        addr32 rep movsb
        movw    $SEL_DATA16, %bp
        movw    %bp, %es
        movw    %bp, %ds
        andb    $~1, %al
        movl    %eax, %cr0
        jmp     2f
2:      movw    $DATA_SEG, %bp
        movw    %bp, %ds
        popw    %es
        popfl
        popl    %ebp
        popl    %esi
        popl    %edi
        retl

/* ---- the last 16 bytes ---- */

        .section .reset.text16, "ax"
        .code16
        ljmpw   $CODE_SEG, $reset_entry /* programs come here too, as FFFF:0 */
        .org    5
        .ascii  "11/21/26"              /* where programs look for the firmware's date */
        .byte   0
        .byte   0xfc                    /* model: AT */
        .byte   0

        .section .note.GNU-stack, "", @progbits

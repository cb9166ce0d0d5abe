/* An option ROM that uses POST's memory manager (PMM 1.01) while it is initialised, and looks for it
 * again when it is booted.  Says what it got on port E9, in lines of eight hexadecimal digits:
 * the largest low and high block; a named, aligned block of 4 KiB, found again, and not given
 * twice; a low block; whether the first holds what is written; its end, that it cannot be found
 * then nor ended again; an unknown function; whether registers were kept.  Then, booted: where
 * the structure is, what its entry answers, the lowest block of the memory map, whose end it has
 * taken 4 KiB from.
 */
#define TAG 0x54534554

        .code16
        .globl  _start
_start: .word   0xaa55
        .byte   (end - _start + 511) / 512
        jmp     initialise
        .org    0x1a
        .word   pnp
        .balign 16
pnp:    .ascii  "$PnP"
        .byte   1, 2
        .word   0
        .byte   0, 0
        .long   0
        .word   0, name
        .byte   2, 0, 0, 4
        .word   0, 0, boot, 0, 0
name:   .asciz  "PMM test"
        .balign 4
entry:  .long   0
kept:   .long   0

.macro CALL_PMM
        lcallw  *%cs:entry
.endm

.macro ANSWER                           /* DX:AX */
        shll    $16, %edx
        movw    %ax, %dx
        movl    %edx, %eax
        call    hex
.endm

/* allocate(length, handle, flags) */
.macro ALLOCATE length, handle, flags
        pushw   $\flags
        pushl   $\handle
        pushl   $\length
        pushw   $0
        CALL_PMM
        addw    $12, %sp
        ANSWER
.endm

.macro WITH_DWORD function, value
        pushl   \value
        pushw   $\function
        CALL_PMM
        addw    $6, %sp
        ANSWER
.endm

initialise:
        pushal
        pushw   %ds
        pushw   %es
        call    find
        testl   %eax, %eax
        jz      9f
        ALLOCATE 0, -1, 1
        ALLOCATE 0, -1, 2
        ALLOCATE 0x100, TAG, 6
        movl    %eax, %ebp
        WITH_DWORD 1, $TAG
        ALLOCATE 0x10, TAG, 3
        ALLOCATE 0x10, -1, 1
        xorw    %ax, %ax
        movw    %ax, %es
        movl    $0x12345678, %es:4092(%ebp)
        movl    %es:4092(%ebp), %eax
        call    hex
        WITH_DWORD 2, %ebp
        WITH_DWORD 1, $TAG
        WITH_DWORD 2, %ebp
        movl    $0x11111111, %ebx
        movl    $0x22222222, %ecx
        movl    $0x33333333, %esi
        movl    $0x44444444, %edi
        pushw   $7
        CALL_PMM
        addw    $2, %sp
        ANSWER
        leal    (%ebx, %ecx), %eax
        addl    %esi, %eax
        addl    %edi, %eax
        call    hex
        movw    $0x40, %ax
        movw    %ax, %ds
        subw    $4, 0x13
9:      popw    %es
        popw    %ds
        popal
        movw    $0x20, %ax              /* a device to boot from */
        lretw

boot:   movw    %cs, %ax
        movw    %ax, %ds
        call    find
        xorl    %eax, %eax
        movw    %di, %ax
        call    hex
        pushw   $1                      /* allocate(0, anonymous, low) all the same */
        pushl   $-1
        pushl   $0
        pushw   $0
        lcallw  *%cs:kept
        addw    $12, %sp
        ANSWER
        xorw    %ax, %ax
        movw    %ax, %es
        movw    $0x600, %di
        movl    $0xe820, %eax
        xorl    %ebx, %ebx
        movl    $20, %ecx
        movl    $0x534d4150, %edx
        int     $0x15
        movl    %es:0x608, %eax
        call    hex
        movw    $0xf4, %dx
        movb    $0x10, %al
        outb    %al, %dx
        hlt

/* EAX and `entry`: the entry; DI: where the structure is in segment F000, 0: nowhere. */
find:   movw    $0xf000, %ax
        movw    %ax, %es
        movl    $0, %eax
        movw    $0, %di
1:      cmpl    $0x4d4d5024, %es:(%di)
        jne     3f
        movw    $16, %cx
        movw    %di, %si
        movb    $0, %bl
2:      addb    %es:(%si), %bl
        incw    %si
        loop    2b
        testb   %bl, %bl
        jnz     3f
        movl    %es:7(%di), %eax
        movl    %eax, %cs:entry
        movl    %eax, %cs:kept
        ret
3:      addw    $16, %di
        jnz     1b
        ret

#include "debug_hex.S"
end:

/* A boot sector that reads all of its floppy by INT 13h, writes a track, and says how it went on
 * port E9, a line each: the drive's parameters, the sum of all dwords (rotated by one bit before each),
 * what writing, verifying, formatting, the change line and a drive that is not there answered.
 */
        .code16
        .globl  _start
_start: ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movb    %dl, drive
        movb    $8, %ah
        int     $0x13
        jc      fail
        movb    %cl, sectors
        movb    %ch, last
        movb    %bl, %al
        shll    $16, %eax
        movw    %cx, %ax
        call    hex

        xorl    %ebp, %ebp
        movw    $0x1000, %ax
        movw    %ax, %es
next:   movb    $2, %ah
        call    track
        jc      fail
        movzbw  sectors, %cx
        shlw    $7, %cx
        xorw    %si, %si
2:      roll    $1, %ebp
        addl    %es:(%si), %ebp
        addw    $4, %si
        loop    2b
        xorb    $1, head
        jnz     next
        movb    cylinder, %al
        incb    cylinder
        cmpb    last, %al
        jb      next
        movl    %ebp, %eax
        call    hex

        decb    cylinder                /* the last track's second side, turned upside down */
        movb    $1, head
        movb    $2, %ah
        call    track
        movzbw  sectors, %cx
        shlw    $7, %cx
        xorw    %si, %si
3:      notl    %es:(%si)
        addw    $4, %si
        loop    3b
        movb    $3, %ah
        call    track
        call    answer
        movb    $4, %ah
        call    track
        call    answer

        xorw    %di, %di                /* and its first side formatted */
        movb    $0, head
        movw    $1, %cx
4:      movb    cylinder, %al
        stosb
        movb    head, %al
        stosb
        movb    %cl, %al
        stosb
        movb    $2, %al
        stosb
        incw    %cx
        cmpb    sectors, %cl
        jbe     4b
        movb    $5, %ah
        call    track
        call    answer
        movb    $0x16, %ah
        call    track
        call    answer
        movb    $1, drive
        movb    $2, %ah
        call    track
        call    answer
        movb    $0x10, %al
        jmp     stop
fail:   call    answer
        movb    $0x11, %al
stop:   movw    $0xf4, %dx
        outb    %al, %dx
        hlt

/* INT 13h function AH on the whole of the current track, at ES:0. */
track:  movb    sectors, %al
        movb    cylinder, %ch
        movb    $1, %cl
        movb    head, %dh
        movb    drive, %dl
        xorw    %bx, %bx
        int     $0x13
        ret

answer: movzbl  %ah, %eax
#include "debug_hex.S"

drive:  .byte   0
sectors: .byte  0
last:   .byte   0
cylinder: .byte 0
head:   .byte   0
        .org    510
        .word   0xaa55

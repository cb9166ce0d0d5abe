/* The first sectors of a floppy or disk that is emulated from a CD (El Torito).  Says on port E9, in
 * lines of eight hexadecimal digits, what INT 13h answers for the emulated drive and for the real one of
 * its kind, which has the next number; then after the emulation's end, and after its beginning;
 * then boots once more.
 */
#define MARK 0x4d41524b

        .code16
        .globl  _start
_start: ljmp    $0, $1f
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movw    $0x0203, %ax            /* the rest of the program */
        movw    $0x0002, %cx
        movb    $0, %dh
        movw    $0x7e00, %bx
        int     $0x13
        jnc     more
        call    answer
        hlt
        .org    446                     /* one partition, for the geometry: 4 cylinders of 16 by 63 */
        .byte   0x80, 1, 1, 0, 0x0e, 15, 63, 3
        .long   63, 4032 - 63
        .org    510
        .word   0xaa55

more:   movb    %dl, unit
        movb    %dl, real
        incb    real
        movzbl  unit, %eax
        call    hex
        movl    $MARK, %eax
        xchgl   0x600, %eax
        cmpl    $MARK, %eax
        je      stop
        movb    unit, %dl
        call    parameters
        movb    unit, %dl
        call    tag
        movb    real, %dl
        call    parameters
        movb    real, %dl
        call    tag
        movw    $0x0301, %ax            /* a CD takes no writes */
        movb    unit, %dl
        call    sector
        call    answer
        call    data_area
        movw    $0x4b01, %ax
        call    torito
        movl    packet, %eax
        call    hex
        movl    packet + 4, %eax
        call    hex
        movl    packet + 15, %eax       /* high byte of the count, then CH, CL, DH */
        call    hex
        movw    $0x4d00, %ax
        movw    $catalog, %si
        movb    unit, %dl
        int     $0x13
        call    answer
        movl    0x9000, %eax
        call    hex
        movw    $0x4b00, %ax
        call    torito
        movb    unit, %dl
        call    parameters
        movb    unit, %dl
        call    tag
        call    data_area
        movw    $0x4a00, %ax
        call    torito
        movb    unit, %dl
        call    tag
        call    data_area
        movw    $0x4c00, %ax            /* boots this again */
        call    torito
stop:   movw    $0xf4, %dx
        movb    $0x10, %al
        outb    %al, %dx
        hlt

torito: movb    unit, %dl
        movw    $packet, %si
        int     $0x13
        jmp     answer

/* Function 08h of DL: BL, AH and CX; then DX. */
parameters:
        movb    $8, %ah
        int     $0x13
        pushw   %ds
        popw    %es
        movb    %ah, %al
        movb    %bl, %ah
        shll    $16, %eax
        movw    %cx, %ax
        call    hex
        movzwl  %dx, %eax
        jmp     hex

/* Cylinder 1, head 1, sector 5 of DL: its first dword. */
tag:    movl    $0, 0x9000
        movw    $0x0201, %ax
        call    sector
        jnc     1f
        cmpb    $6, %ah                 /* a disk that has been put in is said once */
        je      tag
        jmp     answer
1:
        movl    0x9000, %eax
        jmp     hex

sector: movw    $0x0105, %cx
        movb    $1, %dh
        movw    $0x9000, %bx
        int     $0x13
        ret

/* INT 11h's word, the data area's number of disks. */
data_area:
        int     $0x11
        shll    $8, %eax
        movb    0x475, %al
        andl    $0x00ffffff, %eax
        jmp     hex

/* AH, above it carry. */
answer: movl    $0, %ebx
        adcb    $0, %bl
        shlw    $8, %bx
        movb    %ah, %bl
        movl    %ebx, %eax
#include "debug_hex.S"

unit:   .byte   0
real:   .byte   0
        .balign 4
packet: .skip   32
catalog:
        .byte   8, 1
        .word   0x9000, 0, 0
        .org    2048

/* VBE's protected-mode interface (VBE Core Functions 3.0, 4.14): functions 05h, 07h and 09h as
 * 32-bit code that programs copy or map wherever they like, so that it names no address.
 *
 * Calls are near; registers are the real-mode functions', but the display start comes as a number
 * of dwords in DX:CX, and a palette lies at ES:EDI.  AX is as in real mode; others are preserved.
 */

#define DISPI 0x1ce
#define BPP 3
#define BANK 5
#define VIRT_WIDTH 6
#define MEMORY 10
#define X_OFFSET 8
#define Y_OFFSET 9

        .section .entry.text16, "ax"
        .code32

.macro DISPI_INDEX index
        movw    $DISPI, %dx
        movw    $\index, %ax
        outw    %ax, %dx
        incw    %dx
.endm

        .balign 4
        .globl  vbe_interface, vbe_interface_end
vbe_interface:
        .word   set_window - vbe_interface
        .word   set_start - vbe_interface
        .word   set_palette - vbe_interface
        .word   ports - vbe_interface
ports:  .word   DISPI, DISPI + 1, 0x3c7, 0x3c8, 0x3c9, 0xffff
        .word   0xffff                  /* no memory */

/* BH: 0 sets, 1 asks; BL: window A is 0; DX: in units of 64 KiB. */
set_window:
        pushl   %ecx
        movl    %edx, %ecx
        cmpw    $0x0000, %bx
        je      1f
        cmpw    $0x0100, %bx
        jne     3f
        DISPI_INDEX BANK
        inw     %dx, %ax
        movzwl  %ax, %edx
        jmp     2f
1:      DISPI_INDEX MEMORY
        inw     %dx, %ax
        cmpw    %ax, %cx
        jae     3f
        DISPI_INDEX BANK
        movw    %cx, %ax
        outw    %ax, %dx
        movl    %ecx, %edx
2:      movw    $0x004f, %ax
        popl    %ecx
        ret
3:      movl    %ecx, %edx
        movw    $0x014f, %ax
        popl    %ecx
        ret

/* BL: 0, or 80h at the next retrace; DX:CX: dwords from the beginning of memory. */
set_start:
        testb   $0x7f, %bl
        jnz     1f
        pushal
        shll    $16, %edx
        movw    %cx, %dx
        movl    %edx, %edi              /* the place */
        DISPI_INDEX BPP
        inw     %dx, %ax
        movzwl  %ax, %ebx
        addl    $7, %ebx
        shrl    $3, %ebx                /* bytes of a pixel */
        DISPI_INDEX VIRT_WIDTH
        inw     %dx, %ax
        movzwl  %ax, %ecx
        imull   %ebx, %ecx              /* bytes of a line */
        jecxz   2f
        leal    (,%edi,4), %eax
        xorl    %edx, %edx
        divl    %ecx
        movl    %eax, %esi              /* line */
        movl    %edx, %eax
        xorl    %edx, %edx
        divl    %ebx
        movl    %eax, %ecx              /* pixel */
        DISPI_INDEX X_OFFSET
        movw    %cx, %ax
        outw    %ax, %dx
        DISPI_INDEX Y_OFFSET
        movw    %si, %ax
        outw    %ax, %dx
        popal
        movw    $0x004f, %ax
        ret
2:      popal
1:      movw    $0x014f, %ax
        ret

/* BL: 0, or 80h at the next retrace; CX colours from DX on, at ES:EDI: blue, green, red, 0. */
set_palette:
        testb   $0x7f, %bl
        jnz     3f
        pushal
        movl    %edx, %eax
        movw    $0x3c8, %dx
        outb    %al, %dx
        incl    %edx
        movzwl  %cx, %ecx
        jecxz   2f
1:      movb    %es:2(%edi), %al
        outb    %al, %dx
        movb    %es:1(%edi), %al
        outb    %al, %dx
        movb    %es:(%edi), %al
        outb    %al, %dx
        addl    $4, %edi
        loop    1b
2:      popal
        movw    $0x004f, %ax
        ret
3:      movw    $0x014f, %ax
        ret
vbe_interface_end:

        .section .note.GNU-stack, "", @progbits

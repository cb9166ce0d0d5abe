/* Where application processors start (smp.h): copied to a page below 64 KiB whose number is the
 * SIPI vector, 16-bit code at CS:0.  Into long mode with the boot processor's tables, then to ap_main
 * on a stack of its own. */
    .section .rodata
    .code16
    .globl ap_start, ap_start_end
ap_start:
    cli
    mov %cs, %ax
    mov %ax, %ds
    /* Registers after INIT (SDM vol. 3A table 9-1), for ap_main: CS, CR0, EFLAGS. */
    mov %cs, %bx
    mov %cr0, %ebp
    mov ap_pointer - ap_start + 2, %esi
    lgdtl ap_pointer - ap_start
    mov ap_cr4 - ap_start, %eax
    mov %eax, %cr4
    mov ap_cr3 - ap_start, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    mov ap_efer - ap_start, %eax
    xor %edx, %edx
    wrmsr
    mov ap_cr0 - ap_start, %eax
    mov %eax, %cr0
    ljmpl $0x08, $ap_long
    .balign 8
    .globl ap_pointer, ap_cr0, ap_cr3, ap_cr4, ap_efer
ap_pointer: .word 0
    .long 0
    .word 0
ap_cr0: .long 0
ap_cr3: .long 0
ap_cr4: .long 0
ap_efer: .long 0
ap_start_end:

    .text
    .code64
    .weak ap_main                   /* only tests with several processors have it */
ap_long:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $1, %eax
    lock xadd %eax, ap_count
    lea 1(%rax), %edi
    mov %edi, %eax
    shl $14, %eax
    lea ap_stacks(%rax), %rsp
    movzwl %bx, %esi
    mov %ebp, %edx
    call ap_main
1:  cli
    hlt
    jmp 1b

    .bss
    .globl ap_count
ap_count: .long 0
    .balign 16
ap_stacks: .space 16384 * 16
    .code32

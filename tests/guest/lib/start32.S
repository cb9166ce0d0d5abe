/* Entry of 32-bit guest tests: flat protected mode with a GDT of our own, trap entries, enter(),
 * and the way to real mode and back (SDM vol. 3A 9.9). */
    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    .section .text.start, "ax"
    .globl start
start:
    cli
    cld
    mov $boot_stack_top, %esp
    lgdt gdt_pointer
    ljmp $0x08, $1f
1:  mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov $low_load, %esi
    mov $low_start, %edi
    mov $low_end, %ecx
    sub %edi, %ecx
    rep movsb
    call legacy_init
    call test_main
    call finish

/* Registers from enter_regs (legacy.h knows the order); three kinds of target. */
    .text
    .globl enter_asm
enter_asm:
    push %ebx
    push %ebp
    push %esi
    push %edi
    mov %esp, enter_esp
    testl $0x20000, enter_regs + 36
    jnz to_vm86
    testl $3, enter_regs + 40
    jnz to_outer
    mov enter_regs + 44, %ss
    mov enter_regs + 16, %esp
    jmp to_common
to_vm86:
    pushl enter_regs + 60
    pushl enter_regs + 56
    pushl enter_regs + 48
    pushl enter_regs + 52
to_outer:
    pushl enter_regs + 44
    pushl enter_regs + 16
to_common:
    pushl enter_regs + 36
    pushl enter_regs + 40
    pushl enter_regs + 32
    mov enter_regs + 52, %eax
    testl $0x20000, enter_regs + 36
    jnz 1f
    mov %eax, %es
    mov enter_regs + 56, %fs
    mov enter_regs + 60, %gs
    mov enter_regs + 48, %ds
1:  mov %cs:enter_regs + 0, %eax
    mov %cs:enter_regs + 4, %ecx
    mov %cs:enter_regs + 8, %edx
    mov %cs:enter_regs + 12, %ebx
    mov %cs:enter_regs + 20, %ebp
    mov %cs:enter_regs + 24, %esi
    mov %cs:enter_regs + 28, %edi
    .globl enter_iret
enter_iret:
    iret

    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
    .else
    pushl $0
    .endif
    pushl $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

trap_common:
    cld
    pusha
    push %ds
    push %es
    push %fs
    push %gs
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %esp, %ebx
    push %esp
    call trap_c
    test %eax, %eax
    jnz 1f
    mov %ebx, %esp
    pop %gs
    pop %fs
    pop %es
    pop %ds
    popa
    add $8, %esp
    iret
1:  mov $0x10, %eax
    mov %eax, %ss
    mov enter_esp, %esp
    mov %eax, %fs
    mov %eax, %gs
    pushl $2
    popfl
    pop %edi
    pop %esi
    pop %ebp
    pop %ebx
    ret

/* void real_mode(void (*code)(void)): leaves protected mode, calls the 16-bit code, comes back.
 * The code may use all registers but SP; segments are 0, the stack is below 0x7c00. */
    .globl real_mode
real_mode:
    mov 4(%esp), %eax
    pusha
    mov %ax, real_target
    mov %esp, real_esp
    sidt real_idt_save
    mov real_data, %ebx
    ljmp $0x30, $real_16

    .section .low, "awx"
    .code16
real_16:
    mov $0x38, %cx
    mov %cx, %ss
    mov %cx, %es
    mov %cx, %fs
    mov %cx, %gs
    mov %bx, %ds
    lidtl %cs:real_idt
    mov %cr0, %eax
    and $~1, %al
    mov %eax, %cr0
    ljmp $0, $1f
1:  xor %cx, %cx
    mov %cx, %ss
    mov $0x7c00, %sp
    mov %cx, %es
    test %bx, %bx
    jnz 2f
    mov %cx, %ds
2:  call *%cs:real_target
    cli
    cld
    xor %cx, %cx
    mov %cx, %ds
    lgdtl gdt_low
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmpl $0x08, $real_back
real_target: .word 0
    .globl real_data
real_data: .long 0x38
real_esp: .long 0
real_idt: .word 0x3ff
    .long 0
real_idt_save: .word 0
    .long 0
gdt_low: .word 64 * 8 - 1
    .long gdt
    .code32
real_back:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov real_esp, %esp
    lidt real_idt_save
    popa
    ret

    .bss
    .balign 16
boot_stack: .space 32768
boot_stack_top:
enter_esp: .long 0

/* Entry of 64-bit guest tests: multiboot leaves us in flat 32-bit protected mode; identity-map the
 * low 4 GiB with 2 MiB pages (supervisor; user code sees the first GiB again at 256 GiB), enter
 * long mode (SDM vol. 3A 9.8.5) and call test_main.  Then the trap entries, and enter(). */
    .section .multiboot, "a"
    .balign 4
    .long 0x1badb002, 0, -0x1badb002

    /* Never used; but an empty segment would be at address 0, and QEMU load over the BIOS's data. */
    .section .low, "aw"
    .long 0

    .section .text.start, "ax"
    .code32
    .globl start
start:
    cli
    cld
    mov $boot_stack_top, %esp
    mov %ebx, boot_info
    /* Page directories: 2048 entries of 2 MiB. */
    mov $boot_pd, %edi
    mov $0x83, %eax
1:  mov %eax, (%edi)
    movl $0, 4(%edi)
    add $8, %edi
    add $0x200000, %eax
    jnc 1b
    /* The user's view of the first GiB has a directory of its own. */
    mov $boot_user_pd, %edi
    mov $0x87, %eax
2:  mov %eax, (%edi)
    add $8, %edi
    add $0x200000, %eax
    cmp $0x40000087, %eax
    jne 2b
    mov $boot_pd + 0x03, %eax
    mov %eax, boot_pdpt
    add $0x1000, %eax
    mov %eax, boot_pdpt + 8
    add $0x1000, %eax
    mov %eax, boot_pdpt + 16
    add $0x1000, %eax
    mov %eax, boot_pdpt + 24
    movl $boot_user_pd + 0x07, boot_pdpt + 256 * 8
    movl $boot_pdpt + 0x07, boot_pml4
    mov $boot_pml4, %eax
    mov %eax, %cr3
    mov $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $0xc0000080, %ecx
    rdmsr
    or $0x901, %eax             /* NXE, LME, SCE */
    wrmsr
    mov $0x80010033, %eax       /* PG, WP, NE, ET, MP, PE */
    mov %eax, %cr0
    lgdt gdt_pointer
    ljmp $0x08, $in_long

    .code64
in_long:
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    xor %eax, %eax
    mov %eax, %fs
    mov %eax, %gs
    mov $boot_stack_top, %rsp
    call long_init
    call test_main
    call finish

/* void enter(struct regs *): loads every register from the structure and goes there; returns when
 * a trap that no handler takes has filled the structure. */
    .text
    .globl enter_asm
enter_asm:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, enter_rsp
    pushq 152(%rdi)
    pushq 32(%rdi)
    pushq 136(%rdi)
    pushq 144(%rdi)
    pushq 128(%rdi)
    mov 0(%rdi), %rax
    mov 8(%rdi), %rcx
    mov 16(%rdi), %rdx
    mov 24(%rdi), %rbx
    mov 40(%rdi), %rbp
    mov 48(%rdi), %rsi
    mov 64(%rdi), %r8
    mov 72(%rdi), %r9
    mov 80(%rdi), %r10
    mov 88(%rdi), %r11
    mov 96(%rdi), %r12
    mov 104(%rdi), %r13
    mov 112(%rdi), %r14
    mov 120(%rdi), %r15
    mov 56(%rdi), %rdi
    .globl enter_iretq
enter_iretq:
    iretq


    .balign 16
    .globl trap_stubs
trap_stubs:
    .set vector, 0
    .rept 256
    .if vector < 128
    .balign 16
    .if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
    .else
    pushq $0
    .endif
    pushq $vector
    jmp trap_common
    .else
    .balign 16
    pushq $0
    pushq $vector
    jmp trap_common
    .endif
    .set vector, vector + 1
    .endr

trap_common:
    cld
    push %r15
    push %r14
    push %r13
    push %r12
    push %r11
    push %r10
    push %r9
    push %r8
    push %rdi
    push %rsi
    push %rbp
    push %rsp
    push %rbx
    push %rdx
    push %rcx
    push %rax
    mov %rsp, %rdi
    mov %rsp, %rbx
    and $~15, %rsp
    call trap_c
    test %eax, %eax
    jnz 1f
    mov %rbx, %rsp
    pop %rax
    pop %rcx
    pop %rdx
    pop %rbx
    add $8, %rsp
    pop %rbp
    pop %rsi
    pop %rdi
    pop %r8
    pop %r9
    pop %r10
    pop %r11
    pop %r12
    pop %r13
    pop %r14
    pop %r15
    add $16, %rsp
    iretq
1:  /* Leave the code that enter() entered. */
    mov enter_rsp, %rsp
    pushq $2
    popfq
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .bss
    .balign 4096
    .globl boot_pml4, boot_pdpt, boot_pd
boot_pml4: .space 4096
boot_pdpt: .space 4096
boot_pd: .space 4 * 4096
boot_user_pd: .space 4096
boot_stack: .space 32768
boot_stack_top:
enter_rsp: .quad 0
    .globl boot_info
boot_info: .long 0

/* An SMI handler for guest tests (smi.h): 16-bit code that is copied to SMBASE + 8000h.  It runs with
 * flat data segments (SDM vol. 3C 34.5), does what the mailbox asks for, and resumes. */
    .section .rodata
    .code16
    .globl smi_handler, smi_handler_end
smi_handler:
    mov $0x7000, %ebx               /* the mailbox: struct smi_mailbox */
    mov $0x6ff0, %esp               /* RSM brings all registers back */
    pushfl
    incl (%ebx)
    popl 4(%ebx)
    mov %cr0, %eax
    mov %eax, 8(%ebx)
    mov %cr4, %eax
    mov %eax, 12(%ebx)
    xor %eax, %eax
    mov %cs, %ax
    mov %eax, 16(%ebx)
    shl $4, %eax
    mov %eax, %esi
    mov %dr7, %eax
    mov %eax, 20(%ebx)
    /* Copies the save map: 512 bytes below SMBASE + 10000H, into the mailbox at +200H. */
    add $0xfe00, %esi
    lea 0x200(%ebx), %edi
    mov $128, %ecx
    cld
    rep movsl (%esi), %es:(%edi)
    /* Stores what is asked for: address, value, width in bytes (0: nothing), up to 4 times. */
    lea 32(%ebx), %esi
    mov $4, %ecx
1:  mov (%esi), %edi
    mov 4(%esi), %eax
    cmpl $1, 8(%esi)
    jb 4f
    ja 2f
    movb %al, (%edi)
    jmp 4f
2:  cmpl $2, 8(%esi)
    ja 3f
    movw %ax, (%edi)
    jmp 4f
3:  mov %eax, (%edi)
4:  add $12, %esi
    dec %ecx
    jnz 1b
    /* A load, whose result goes to the mailbox. */
    mov 24(%ebx), %edi
    mov (%edi), %eax
    mov %eax, 28(%ebx)
    rsm
smi_handler_end:
    .code32

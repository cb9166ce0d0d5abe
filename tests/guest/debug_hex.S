/* What small images say: EAX on port E9, as a line of eight hexadecimal digits; keeps the registers. */
hex:    pushal
        movw    $8, %cx
1:      roll    $4, %eax
        pushw   %ax
        andb    $15, %al
        addb    $'0', %al
        cmpb    $'9' + 1, %al
        jb      2f
        addb    $'a' - '9' - 1, %al
2:      outb    %al, $0xe9
        popw    %ax
        loop    1b
        movb    $'\n', %al
        outb    %al, $0xe9
        popal
        ret

/* Calls the firmware's services from real mode and prints what they answer, for test_bios.py.
 *
 * Packed as the set-up code of a Linux image: 40 sectors after the boot sector, loaded at 10000h.
 * Prints on COM1, one "name values..." line each, numbers in hexadecimal; ends by isa-debug-exit.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

enum { COM1 = 0x3f8, EXIT_PORT = 0xf4, SETUP_SECTORS = 40, PM_TIMER = 0x608, CARRY = 1, ZERO = 0x40 };

/* Boot sector and header: Documentation/arch/x86/boot.rst. */
__asm__(".section .header, \"ax\"\n"
        ".code16\n"
        ".globl header\n"
        "header:\n"
        ".org 0x1f1\n"
        ".byte 40\n"            /* set-up sectors */
        ".word 0\n"
        ".long 0x20\n"          /* 16-byte units of protected-mode code */
        ".word 0, 0xffff, 0, 0xaa55\n"
        "jmp 1f\n"
        ".org 0x202\n"
        ".ascii \"HdrS\"\n"
        ".word 0x204\n"
        ".org 0x211\n"
        ".byte 1\n"             /* loaded high */
        ".org 0x214\n"
        ".long 0x100000\n"
        ".org 0x22c\n"
        ".long 0x7fffffff\n"
        ".org 0x240\n"
        "1:\n"
        "pushfl\n"
        "pushal\n"
        "pushw %ss\n"
        "pushw %gs\n"
        "pushw %fs\n"
        "pushw %es\n"
        "pushw %ds\n"
        "pushw %cs\n"
        "movl %esp, %eax\n"
        "cld\n"
        "pushw %ds\n"
        "pushw $2f\n"
        "lretw\n"
        "2: calll probe\n"
        "3: hlt\n"
        "jmp 3b\n"
        ".text\n"
        ".code16gcc\n"); /* the compiler's dialect */

struct entry {
    u16 cs, ds, es, fs, gs, ss;
    u32 edi, esi, ebp, esp, ebx, edx, ecx, eax, eflags;
} __attribute__((packed));

struct regs {
    u32 eax, ebx, ecx, edx, esi, edi, ebp, eflags;
    u16 es;
};

void intcall(u8 vector, struct regs *r);
void probe(const struct entry *e);

/* void intcall(u8 vector, struct regs *r): EAX, EDX. */
__asm__(".code16\n"
        "intcall:\n"
        "pushal\n"
        "pushw %es\n"
        "pushw %fs\n"
        "movzbl %al, %ebx\n"
        "xorw %ax, %ax\n"
        "movw %ax, %fs\n"
        "movl %fs:(,%ebx,4), %ebx\n"
        "movl %ebx, call_target\n"
        "movl %edx, call_regs\n"
        "movl 0(%edx), %eax\n"
        "movl 4(%edx), %ebx\n"
        "movl 8(%edx), %ecx\n"
        "movl 16(%edx), %esi\n"
        "movl 20(%edx), %edi\n"
        "movl 24(%edx), %ebp\n"
        "movw 32(%edx), %es\n"
        "movl 12(%edx), %edx\n"
        "sti\n"
        "pushfw\n"
        "lcallw *call_target\n"
        "pushl %edx\n"
        "movl call_regs, %edx\n"
        "popl 12(%edx)\n"
        "pushfl\n"
        "popl 28(%edx)\n"
        "movl %eax, 0(%edx)\n"
        "movl %ebx, 4(%edx)\n"
        "movl %ecx, 8(%edx)\n"
        "movl %esi, 16(%edx)\n"
        "movl %edi, 20(%edx)\n"
        "movl %ebp, 24(%edx)\n"
        "movw %es, 32(%edx)\n"
        "cld\n"
        "popw %fs\n"
        "popw %es\n"
        "popal\n"
        "retl\n"
        ".code16gcc\n");

static u32 call_target __attribute__((used)), call_regs __attribute__((used));

static inline void outb(u16 port, u8 v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline u8 inb(u16 port)
{
    u8 v;
    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline u32 inl(u16 port)
{
    u32 v;
    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void far_segment(u16 seg)
{
    __asm__ volatile("movw %0, %%fs" : : "r"(seg) : "memory");
}

#define FAR(type, at) (*(volatile type __seg_fs *)(u32)(at))

static void put(char c)
{
    while (!(inb(COM1 + 5) & 0x20))
        continue;
    outb(COM1, (u8)c);
}

static void text(const char *s)
{
    while (*s)
        put(*s++);
}

static void hex(u32 v)
{
    put(' ');
    for (int shift = 28; shift >= 0; shift -= 4)
        if (!shift || v >> shift)
            put("0123456789abcdef"[v >> shift & 15]);
}

static void end(void)
{
    text("\r\n");
}

static struct regs blank(u32 eax)
{
    struct regs r = {.eax = eax};
    return r;
}

/* name carry zero eax ebx ecx edx es edi */
static void show(const char *name, const struct regs *r)
{
    text(name);
    hex((r->eflags & CARRY) != 0);
    hex((r->eflags & ZERO) != 0);
    hex(r->eax);
    hex(r->ebx);
    hex(r->ecx);
    hex(r->edx);
    hex(r->es);
    hex(r->edi);
    end();
}

static struct regs call(const char *name, u8 vector, struct regs r)
{
    intcall(vector, &r);
    if (name)
        show(name, &r);
    return r;
}

static void entry_state(const struct entry *e)
{
    text("entry");
    const u16 segments[] = {e->cs, e->ds, e->es, e->fs, e->gs, e->ss};
    for (unsigned i = 0; i < 6; i++)
        hex(segments[i]);
    hex(e->esp + 4); /* before PUSHFL */
    hex(e->eflags);
    hex(e->eax | e->ebx | e->ecx | e->edx | e->esi | e->edi | e->ebp);
    end();
}

static u16 own_segment(void)
{
    u16 ds;
    __asm__("movw %%ds, %0" : "=r"(ds));
    return ds;
}

/* ---- INT 15h ---- */

static void memory_map(void)
{
    static u32 entry[5];
    u32 next = 0;
    for (int i = 0; i < 64; i++) {
        struct regs r = {.eax = 0xe820, .ebx = next, .ecx = 20, .edx = 0x534d4150,
                         .edi = (u32)entry, .es = own_segment()};
        intcall(0x15, &r);
        if (r.eflags & CARRY || r.eax != 0x534d4150 || r.ecx != 20)
            break;
        text("e820");
        for (int j = 0; j < 5; j++)
            hex(entry[j]);
        end();
        next = r.ebx;
        if (!next)
            break;
    }
    struct regs r = {.eax = 0xe820, .ecx = 19, .edx = 0x534d4150, .es = own_segment()};
    call("e820-short", 0x15, r);
    r.ecx = 20;
    r.edx = 0;
    call("e820-unsigned", 0x15, r);
    call("e801", 0x15, blank(0xe801));
    call("e881", 0x15, blank(0xe881));
    call("88", 0x15, blank(0x8800));
    call("c1", 0x15, blank(0xc100));
    call("4f", 0x15, blank(0x4f1e));
    call("unknown", 0x15, blank(0x7700));
    r = call("c0", 0x15, blank(0xc000));
    text("c0-table");
    far_segment(r.es);
    for (u16 i = 0; i < 10; i++)
        hex(FAR(u8, (u16)(r.ebx + i)));
    end();
}

/* Do 0:500 and FFFF:510 differ? */
static int a20_open(void)
{
    far_segment(0);
    FAR(u8, 0x500) = 0x5a;
    far_segment(0xffff);
    u8 old = FAR(u8, 0x510);
    FAR(u8, 0x510) = 0xa5;
    far_segment(0);
    int open = FAR(u8, 0x500) == 0x5a;
    far_segment(0xffff);
    FAR(u8, 0x510) = old;
    return open;
}

static void a20(void)
{
    text("a20");
    hex((u32)a20_open());
    call(0, 0x15, blank(0x2400));
    hex((u32)a20_open());
    hex(call(0, 0x15, blank(0x2402)).eax & 0xffff);
    call(0, 0x15, blank(0x2401));
    hex((u32)a20_open());
    hex(call(0, 0x15, blank(0x2402)).eax & 0xffff);
    end();
    call("a20-ways", 0x15, blank(0x2403));
}

static void block_move(void)
{
    static const u8 pattern[] = "a block that goes up beyond one megabyte and back";
    static u8 back[sizeof pattern + 1];
    static u8 gdt[48];
    u32 here = (u32)own_segment() << 4;
    u32 places[3] = {here + (u32)pattern, 0x123457, here + (u32)back};
    u8 status = 0;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {
            u8 *d = gdt + 16 + 8 * j;
            d[0] = d[1] = 0xff;
            d[2] = (u8)places[i + j];
            d[3] = (u8)(places[i + j] >> 8);
            d[4] = (u8)(places[i + j] >> 16);
            d[5] = 0x93;
            d[6] = 0;
            d[7] = (u8)(places[i + j] >> 24);
        }
        struct regs r = {.eax = 0x8700, .ecx = (sizeof pattern + 1) / 2, .esi = (u32)gdt,
                         .es = own_segment()};
        intcall(0x15, &r);
        status |= (u8)(r.eax >> 8) | (u8)(r.eflags & CARRY);
    }
    u32 same = 1;
    for (unsigned i = 0; i < sizeof pattern; i++)
        same &= back[i] == pattern[i];
    text("87");
    hex(status);
    hex(same);
    end();
}

/* ---- INT 10h, 13h and the small ones ---- */

static void others(void)
{
    call("10-mode", 0x10, blank(0x0f00));
    struct regs r = blank(0x0200);
    r.edx = 0x0305;
    call(0, 0x10, r);
    call("10-cursor", 0x10, blank(0x0300));
    r = blank(0x1200);
    r.ebx = 0x10;
    call("10-ega", 0x10, r);
    call("10-vga", 0x10, blank(0x1a00));
    static const char message[] = "teletype says so\r\n";
    for (const char *s = message; *s; s++)
        call(0, 0x10, blank(0x0e00 | (u8)*s));
    call("11", 0x11, blank(0));
    call("12", 0x12, blank(0));
    r = blank(0x0800);
    r.edx = 0x80;
    call("13-08", 0x13, r);
    r.eax = 0x4100;
    r.ebx = 0x55aa;
    call("13-41", 0x13, r);
    r.eax = 0x1500;
    call("13-15", 0x13, r);
    r.eax = 0x0201;
    r.ecx = 1;
    call("13-02", 0x13, r);
    call("14-status", 0x14, blank(0x0300));
}

/* ---- a vector of ours for a while ---- */

/* Counts calls.  AH = 4Fh with the scan code to be swallowed returns without carry, and what is not
 * ours goes on to the old handler. */
__asm__(".code16\n"
        "hook_entry:\n"
        "pushw %ds\n"
        "pushw %cs\n"
        "popw %ds\n"
        "incl hook_count\n"
        "cmpb $0x15, hook_vector\n"
        "jne 1f\n"
        "cmpb $0x4f, %ah\n"
        "jne 2f\n"
        "cmpb swallow, %al\n"
        "jne 2f\n"
        "popw %ds\n"
        "clc\n"
        "lretw $2\n"
        "2: popw %ds\n"
        "ljmpw *%cs:hook_old\n"
        "1: popw %ds\n"
        "iretw\n"
        ".code16gcc\n");

static volatile u32 hook_count __attribute__((used));
static u32 hook_old __attribute__((used));
static u8 hook_vector __attribute__((used)), swallow __attribute__((used));
extern const u8 hook_entry[];

static void hook(u8 vector)
{
    hook_count = 0;
    hook_vector = vector;
    far_segment(0);
    hook_old = FAR(u32, vector * 4);
    FAR(u32, vector * 4) = (u32)own_segment() << 16 | (u16)(u32)hook_entry;
}

static void unhook(const char *name)
{
    far_segment(0);
    FAR(u32, hook_vector * 4) = hook_old;
    if (!name)
        return;
    text("hook-");
    text(name);
    hex(hook_count);
    end();
}

/* ---- keyboard ---- */

/* The 8042 takes a byte as if it came from the keyboard (command D2h). */
static void type(u8 code)
{
    while (inb(0x64) & 3)
        continue;
    outb(0x64, 0xd2);
    while (inb(0x64) & 2)
        continue;
    outb(0x60, code);
    for (u32 i = 0; i < 1000000 && inb(0x64) & 1; i++)
        __asm__ volatile("sti; nop; nop; cli");
}

static void keys(const char *name, const u8 *codes, u8 function)
{
    for (; *codes; codes++)
        type(*codes);
    text(name);
    for (int i = 0; i < 16; i++) {
        struct regs r = call(0, 0x16, blank((function + 1u) << 8));
        if (r.eflags & ZERO)
            break;
        hex(call(0, 0x16, blank((u32)function << 8)).eax & 0xffff);
    }
    end();
}

static void keyboard(void)
{
    static const u8 plain[] = {0x1e, 0x9e, 0x1c, 0x9c, 0x39, 0xb9, 0};
    static const u8 shifted[] = {0x2a, 0x1e, 0x9e, 0x03, 0x83, 0xaa, 0x1e, 0x9e, 0};
    static const u8 control[] = {0x1d, 0x2e, 0xae, 0x9d, 0x38, 0x10, 0x90, 0xb8, 0};
    static const u8 grey[] = {0xe0, 0x48, 0xe0, 0xc8, 0x3b, 0xbb, 0x48, 0xc8, 0x45, 0xc5,
                              0x48, 0xc8, 0x45, 0xc5, 0};
    call("16-empty", 0x16, blank(0x0100));
    keys("16-plain", plain, 0x00);
    keys("16-shift", shifted, 0x00);
    keys("16-control", control, 0x00);
    keys("16-grey", grey, 0x10);
    keys("16-grey-old", grey, 0x00);
    struct regs r = blank(0x0500);
    r.ecx = 0x1234;
    call("16-stuff", 0x16, r);
    keys("16-stuffed", (const u8 *)"", 0x10);
}

static void more_keys(void)
{
    static const u8 numbers[] = {0x38, 0x4d, 0xcd, 0x4c, 0xcc, 0xb8, 0x38, 0x0f, 0x8f, 0xb8, 0};
    static const u8 grey_control[] = {0x1d, 0xe0, 0x48, 0xe0, 0xc8, 0x9d, 0x2a, 0x0f, 0x8f, 0xaa, 0};
    static const u8 right[] = {0xe0, 0x1d, 0xe0, 0x38, 0x3a, 0};
    static const u8 right_up[] = {0xba, 0x3a, 0xba, 0xe0, 0x9d, 0xe0, 0xb8, 0};
    static const u8 stop[] = {0x1e, 0x9e, 0x1d, 0xe0, 0x46, 0xe0, 0xc6, 0x9d, 0};
    static const u8 print[] = {0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa, 0};
    static const u8 dropped[] = {0x10, 0x90, 0x11, 0x91, 0};
    keys("16-numbers", numbers, 0x00);
    keys("16-grey-control", grey_control, 0x10);
    keys("16-nothing", right, 0x10);
    call("16-shifts", 0x16, blank(0x1200));
    keys("16-nothing", right_up, 0x10);
    call("16-shifts-up", 0x16, blank(0x1200));
    hook(0x1b);
    keys("16-break", stop, 0x00);
    unhook("1b");
    hook(0x05);
    keys("16-nothing", print, 0x00);
    unhook("05");
    swallow = 0x10;
    hook(0x15);
    keys("16-intercepted", dropped, 0x00);
    unhook(0);
    swallow = 0;
    far_segment(0);
    text("break-flag");
    hex(FAR(u8, 0x471));
    end();
    call("16-able", 0x16, blank(0x0900));
    call("16-id", 0x16, blank(0x0a00));
    struct regs r = {.eax = 0x0305, .ebx = 0x0100};
    call(0, 0x16, r);
}

/* ---- pointing device ---- */

/* Its handler is called with four words behind the return address. */
__asm__(".code16\n"
        "pointer_handler:\n"
        "pushw %bp\n"
        "movw %sp, %bp\n"
        "pushw %ds\n"
        "pushw %ax\n"
        "movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "movw 12(%bp), %ax\n"
        "movw %ax, pointer_words\n"
        "movw 10(%bp), %ax\n"
        "movw %ax, pointer_words + 2\n"
        "movw 8(%bp), %ax\n"
        "movw %ax, pointer_words + 4\n"
        "incw pointer_calls\n"
        "popw %ax\n"
        "popw %ds\n"
        "popw %bp\n"
        "lretw\n"
        ".code16gcc\n");

static volatile u16 pointer_words[3] __attribute__((used)), pointer_calls __attribute__((used));
extern const u8 pointer_handler[];

/* A byte as if it came from the pointing device. */
static void move(u8 v)
{
    while (inb(0x64) & 3)
        continue;
    outb(0x64, 0xd3);
    while (inb(0x64) & 2)
        continue;
    outb(0x60, v);
    for (u32 i = 0; i < 1000000 && inb(0x64) & 1; i++)
        __asm__ volatile("sti; nop; nop; cli");
}

static void pointer_call(const char *name, u8 function, u8 bh)
{
    struct regs r = {.eax = 0xc200u | function, .ebx = (u32)bh << 8};
    call(name, 0x15, r);
}

static void pointer(void)
{
    pointer_call("c2-early", 0, 1);
    pointer_call("c2-init", 5, 3);
    pointer_call("c2-type", 4, 0);
    struct regs r = {.eax = 0xc207, .ebx = (u32)pointer_handler, .es = own_segment()};
    call("c2-handler", 0x15, r);
    pointer_call("c2-rate", 2, 5);
    pointer_call("c2-resolution", 3, 2);
    pointer_call("c2-scaling", 6, 2);
    pointer_call("c2-enable", 0, 1);
    pointer_call("c2-status", 6, 0);
    pointer_call("c2-bad-rate", 2, 9);
    pointer_call("c2-bad", 0x77, 0);
    static const u8 bytes[] = {0x29, 0x05, 0xfb, 0x08, 0x11, 0x22};
    for (unsigned i = 0; i < sizeof bytes; i++)
        move(bytes[i]);
    text("c2-packet");
    hex(pointer_calls);
    for (unsigned i = 0; i < 3; i++)
        hex(pointer_words[i]);
    end();
    pointer_call("c2-disable", 0, 0);
}

/* ---- time ---- */

/* Waits for a bit of a byte, with interrupts, for some two seconds at most. */
static int wait_bit(volatile u8 *p, u8 bit)
{
    u32 ticks = 0, last = 0;
    while (!(*p & bit) && ticks < 40) {
        __asm__ volatile("sti; hlt; cli");
        far_segment(0);
        ticks += FAR(u32, 0x46c) != last;
        last = FAR(u32, 0x46c);
    }
    return (*p & bit) != 0;
}

static void waits(void)
{
    static volatile u8 flag;
    struct regs r = {.eax = 0x8300, .ecx = 0, .edx = 20000, .ebx = (u32)&flag,
                     .es = own_segment()};
    call("83", 0x15, r);
    call("83-busy", 0x15, r);
    text("83-done");
    hex((u32)wait_bit(&flag, 0x80));
    end();
    flag = 0;
    r.ecx = 0x0f00;
    call(0, 0x15, r);
    call("83-cancel", 0x15, blank(0x8301));
    far_segment(0);
    text("83-flag");
    hex(FAR(u8, 0x4a0) & 1);
    end();
    struct regs w = {.eax = 0x8600, .edx = 60000};
    u32 before = inl(PM_TIMER);
    for (int i = 0; i < 4; i++)
        call(0, 0x15, w);
    text("86");
    hex(((inl(PM_TIMER) - before) & 0xffffff) / 3580 >= 240);
    end();
}

static u8 bcd_next(u8 v)
{
    v++;
    return (u8)((v & 15) > 9 ? (v & 0xf0) + 16 : v) % 0x60;
}

static void alarm(void)
{
    hook(0x4a);
    struct regs t = call(0, 0x1a, blank(0x0200));
    u8 second = bcd_next((u8)(t.edx >> 8));
    t.eax = 0x0600;
    t.ecx = 0xffff; /* any hour and minute */
    t.edx = (u32)second << 8;
    call("1a-alarm", 0x1a, t);
    call("1a-alarm-again", 0x1a, t);
    text("1a-rang");
    hex((u32)wait_bit((volatile u8 *)&hook_count, 1));
    end();
    call("1a-alarm-off", 0x1a, blank(0x0700));
    unhook(0);
}

/* On the third tick, INT 1Ch puts a key into the buffer, from a stack of its own, while INT 16h
 * waits for one. */
__asm__(".code16\n"
        "tick_hook:\n"
        "pushal\n"
        "pushw %ds\n"
        "movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "incl tick_count\n"
        "cmpl $3, tick_count\n"
        "jne 1f\n"
        "movw %ss, tick_ss\n"
        "movl %esp, tick_esp\n"
        "movw %ax, %ss\n"
        "movl $tick_stack + 512, %esp\n"
        "movw $0x0500, %ax\n"
        "movw $0x5678, %cx\n"
        "int $0x16\n"
        "int $0x12\n"
        "movw %ax, tick_memory\n"
        "movw tick_ss, %ss\n"
        "movl tick_esp, %esp\n"
        "1: popw %ds\n"
        "popal\n"
        "iretw\n"
        ".code16gcc\n");

static volatile u32 tick_count __attribute__((used));
static u32 tick_esp __attribute__((used));
static volatile u16 tick_ss __attribute__((used)), tick_memory __attribute__((used));
static u8 tick_stack[512] __attribute__((used));
extern const u8 tick_hook[];

static void time(void)
{
    far_segment(0);
    u32 old = FAR(u32, 0x1c * 4);
    struct regs before = call(0, 0x1a, blank(0x0000));
    FAR(u32, 0x1c * 4) = (u32)own_segment() << 16 | (u16)(u32)tick_hook;
    u32 key = call(0, 0x16, blank(0x0000)).eax & 0xffff;
    far_segment(0);
    FAR(u32, 0x1c * 4) = old;
    struct regs after = call(0, 0x1a, blank(0x0000));
    text("tick");
    hex(key);
    hex(tick_memory);
    hex((after.ecx << 16 | (u16)after.edx) - (before.ecx << 16 | (u16)before.edx));
    end();
    call("1a-time", 0x1a, blank(0x0200));
    call("1a-date", 0x1a, blank(0x0400));
    call("1a-ticks", 0x1a, blank(0x0000));
}

static void pci(void)
{
    call("pci-present", 0x1a, blank(0xb101));
    struct regs r = {.eax = 0xb102, .ecx = 0x7000, .edx = 0x8086};
    r = call("pci-find", 0x1a, r);
    r.eax = 0xb10a;
    r.edi = 0;
    call("pci-id", 0x1a, r);
    r.eax = 0xb108;
    r.edi = 0x60;
    call("pci-pirqa", 0x1a, r);
    r.eax = 0xb109;
    r.edi = 0x61;
    call("pci-odd", 0x1a, r);
    struct regs c = {.eax = 0xb103, .ecx = 0x060000};
    call("pci-class", 0x1a, c);
    struct regs n = {.eax = 0xb102, .ecx = 0x1234, .edx = 0x5678};
    call("pci-none", 0x1a, n);
}

/* ---- protected mode ---- */

/* void pm_call(const u32 *target, struct regs *r): EAX, EDX.  A far call in 32-bit protected mode;
 * target is an offset and a selector, bit 31 of the selector's word asks for a 16-bit call.  The
 * probe's own descriptors have its segment's base, so addresses stay what they are. */
__asm__(".code16\n"
        "pm_call:\n"
        "pushal\n"
        "pushw %fs\n"
        "cli\n"
        "movl (%eax), %ecx\n"
        "movl %ecx, pm_target\n"
        "movl 4(%eax), %ecx\n"
        "movl %ecx, pm_target + 4\n"
        "movl %edx, pm_regs\n"
        "lgdtl pm_gdtr\n"
        "movl %cr0, %eax\n"
        "orb $1, %al\n"
        "movl %eax, %cr0\n"
        "ljmpl $8, $1f\n"
        ".code32\n"
        "1: movw $0x10, %ax\n"
        "movw %ax, %ds\n"
        "movw %ax, %es\n"
        "movw %ax, %fs\n"
        "movw %ax, %gs\n"
        "movw %ax, %ss\n"
        "movzwl %sp, %esp\n"
        "movl pm_regs, %edx\n"
        "movl 0(%edx), %eax\n"
        "movl 4(%edx), %ebx\n"
        "movl 8(%edx), %ecx\n"
        "movl 16(%edx), %esi\n"
        "movl 20(%edx), %edi\n"
        "movl 12(%edx), %edx\n"
        "testl $0x80000000, pm_target + 4\n"
        "jnz 4f\n"
        "pushl %ds\n"
        "cmpw $0x40, pm_target + 4\n"
        "jne 6f\n"
        "pushl $0x48\n" /* PCI BIOS wants its own base in DS */
        "popl %ds\n"
        "6: lcall *%ss:pm_target\n"
        "popl %ds\n"
        "jmp 5f\n"
        "4: data16 lcall *pm_target16\n"
        "5: pushl %edx\n"
        "movl pm_regs, %edx\n"
        "popl 12(%edx)\n"
        "pushfl\n"
        "popl 28(%edx)\n"
        "movl %eax, 0(%edx)\n"
        "movl %ebx, 4(%edx)\n"
        "movl %ecx, 8(%edx)\n"
        "movl %esi, 16(%edx)\n"
        "movl %edi, 20(%edx)\n"
        "ljmp $0x18, $2f\n"
        ".code16\n"
        "2: movw $0x20, %ax\n"
        "movw %ax, %ds\n"
        "movw %ax, %es\n"
        "movw %ax, %fs\n"
        "movw %ax, %gs\n"
        "movw %ax, %ss\n"
        "movl %cr0, %eax\n"
        "andb $0xfe, %al\n"
        "movl %eax, %cr0\n"
        "pushw pm_segment\n"
        "pushw $3f\n"
        "lretw\n"
        "3: movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "movw %ax, %gs\n"
        "movw %ax, %es\n"
        "movw %ax, %ss\n"
        "cld\n"
        "popw %fs\n"
        "popal\n"
        "retl\n"
        ".code16gcc\n");

void pm_call(const u32 *target, struct regs *r);
static u32 pm_regs __attribute__((used)), pm_target[2] __attribute__((used));
static u16 pm_target16[2] __attribute__((used)), pm_segment __attribute__((used));
static u8 gdt[10][8] __attribute__((aligned(8)));
static struct {
    u16 limit;
    u32 base;
} __attribute__((packed)) pm_gdtr __attribute__((used));

static void descriptor(unsigned n, u32 base, u32 limit, u8 access, u8 flags)
{
    u8 *d = gdt[n];
    d[0] = (u8)limit;
    d[1] = (u8)(limit >> 8);
    d[2] = (u8)base;
    d[3] = (u8)(base >> 8);
    d[4] = (u8)(base >> 16);
    d[5] = access;
    d[6] = (u8)(flags | (limit >> 16 & 15));
    d[7] = (u8)(base >> 24);
}

static struct regs pm(const char *name, u32 offset, u16 selector, struct regs r)
{
    u32 target[2] = {offset, selector};
    pm_call(target, &r);
    show(name, &r);
    return r;
}

static void protected_set_up(void)
{
    u32 base = (u32)own_segment() << 4;
    pm_segment = own_segment();
    descriptor(1, base, 0xfffff, 0x9b, 0x40);
    descriptor(2, base, 0xfffff, 0x93, 0xc0);
    descriptor(3, base, 0xffff, 0x9b, 0);
    descriptor(4, base, 0xffff, 0x93, 0);
    pm_gdtr.limit = sizeof gdt - 1;
    pm_gdtr.base = base + (u32)gdt;
}

/* The linear address of what begins with that signature at E0000-FFFFF, on a paragraph, and whose
 * `length` bytes (0: as the word at 6 says) add up to 0; 0: none. */
static u32 anchor(const char *signature, u16 length)
{
    u32 at = 0;
    for (u16 segment = 0xe000; !at && segment; segment++) {
        far_segment(segment);
        u32 same = 1;
        for (u16 i = 0; i < 4; i++)
            same &= FAR(char, i) == signature[i];
        u16 n = !same ? 0 : length ? length : FAR(u16, 6);
        u8 sum = n ? 0 : 1;
        for (u16 i = 0; i < n; i++)
            sum = (u8)(sum + FAR(u8, i));
        if (!sum)
            at = (u32)segment << 4;
    }
    text("anchor-");
    for (int i = 0; i < 4; i++)
        put(signature[i]);
    hex(at != 0);
    end();
    far_segment((u16)(at >> 4));
    return at;
}

static void bios32(void)
{
    anchor("_32_", 16);
    u32 directory = FAR(u32, 4);
    descriptor(8, directory & ~0xfffu, 0xfffff, 0x9b, 0xc0);
    descriptor(9, directory & ~0xfffu, 0xfffff, 0x93, 0xc0);
    struct regs r = {.eax = 0x49435024};
    r = pm("bios32", directory & 0xfff, 0x40, r);
    struct regs none = {.eax = 0x12345678};
    pm("bios32-none", directory & 0xfff, 0x40, none);
    descriptor(8, r.ebx, r.ecx >> 12, 0x9b, 0xc0);
    descriptor(9, r.ebx, r.ecx >> 12, 0x93, 0xc0);
    u32 entry = r.edx;
    pm("pm-present", entry, 0x40, blank(0xb101));
    struct regs f = {.eax = 0xb102, .ecx = 0x7000, .edx = 0x8086};
    f = pm("pm-find", entry, 0x40, f);
    f.eax = 0xb10a;
    f.edi = 0;
    pm("pm-id", entry, 0x40, f);
    struct regs c = {.eax = 0xb103, .ecx = 0x123456};
    pm("pm-none", entry, 0x40, c);
}

static void routing(void)
{
    static u8 slots[1024];
    static struct {
        u16 size, offset, segment;
    } buffer;
    anchor("$PIR", 0);
    text("pir");
    hex(FAR(u8, 9));
    hex(FAR(u8, 32 + 1));
    hex(FAR(u8, 32 + 2));
    end();
    struct regs r = {.eax = 0xb10e, .edi = (u32)&buffer, .es = own_segment()};
    call("pci-0e-short", 0x1a, r);
    u16 size = buffer.size;
    buffer.size = sizeof slots;
    buffer.offset = (u16)(u32)slots;
    buffer.segment = own_segment();
    call("pci-0e", 0x1a, r);
    text("pci-0e-slots");
    hex(size == buffer.size && size % 16 == 0 && size != 0);
    for (int i = 0; i < 3; i++)
        hex(slots[i]);
    end();
    struct regs s = {.eax = 0xb10f, .ebx = 0x0018, .ecx = 0x0b0a};
    call("pci-0f", 0x1a, s);
    s.ecx = 0x030a;
    call("pci-0f-bad", 0x1a, s);
}

static void apm(void)
{
    struct regs r = {.eax = 0x5300};
    call("apm-check", 0x15, r);
    call("apm-early", 0x15, blank(0x530b));
    call("apm-real", 0x15, blank(0x5301));
    r.eax = 0x530e;
    r.ecx = 0x0102;
    call("apm-version", 0x15, r);
    struct regs p = {.eax = 0x530a, .ebx = 1};
    call("apm-status", 0x15, p);
    call("apm-idle", 0x15, blank(0x5305));
    call("apm-event", 0x15, blank(0x530b));
    call("apm-leave", 0x15, blank(0x5304));
    r = call(0, 0x15, blank(0x5303));
    descriptor(5, (r.eax & 0xffff) << 4, 0xffff, 0x9b, 0x40);
    descriptor(6, (r.ecx & 0xffff) << 4, 0xffff, 0x9b, 0);
    descriptor(7, (r.edx & 0xffff) << 4, 0xffff, 0x93, 0);
    p.eax = 0x530a;
    pm("apm-32-status", r.ebx, 0x28, p);
    pm("apm-32-event", r.ebx, 0x28, blank(0x530b));
    call("apm-leave", 0x15, blank(0x5304));
    r = call(0, 0x15, blank(0x5302));
    descriptor(6, (r.eax & 0xffff) << 4, 0xffff, 0x9b, 0);
    descriptor(7, (r.ecx & 0xffff) << 4, 0xffff, 0x93, 0);
    pm_target16[0] = (u16)r.ebx;
    pm_target16[1] = 0x30;
    u32 target[2] = {0, 0x80000000};
    pm_call(target, &p);
    show("apm-16-status", &p);
    call("apm-leave", 0x15, blank(0x5304));
}

/* ---- the display adapter, where there is one ---- */

static u32 sum_of(const u8 *p, u32 n)
{
    u8 sum = 0;
    while (n--)
        sum = (u8)(sum + *p++);
    return sum;
}

static void video(void)
{
    static u8 block[512];
    if ((call(0, 0x10, blank(0x1a00)).ebx & 0xff) != 8)
        return;
    struct regs r = {.eax = 0x4f00, .edi = (u32)block, .es = own_segment()};
    r = call(0, 0x10, r);
    text("vbe-info");
    hex(r.eax & 0xffff);
    hex(*(u32 *)block);
    hex(block[5] >= 2); /* version */
    end();
    struct regs m = {.eax = 0x4f01, .ecx = 0x118, .edi = (u32)block, .es = own_segment()};
    m = call(0, 0x10, m);
    text("vbe-mode");
    hex(m.eax & 0xffff);
    hex(block[0] & 0x99); /* supported, colour, graphics, linear memory */
    hex(*(u16 *)(block + 18));
    hex(*(u16 *)(block + 20));
    hex(block[25]);
    hex(*(u32 *)(block + 40) >= 0xc0000000);
    end();
    m.eax = 0x4f01;
    m.ecx = 0x1f0;
    m = call(0, 0x10, m);
    text("vbe-no-mode");
    hex((m.eax & 0xffff) != 0x4f);
    end();
    struct regs s = {.eax = 0x4f02, .ebx = 0x4118};
    call("vbe-set", 0x10, s);
    call("vbe-now", 0x10, blank(0x4f03));
    struct regs length = {.eax = 0x4f06, .ebx = 1};
    call("vbe-line", 0x10, length);
    struct regs start = {.eax = 0x4f07, .ecx = 0, .edx = 0};
    call("vbe-start", 0x10, start);
    struct regs power = {.eax = 0x4f10};
    call("vbe-power", 0x10, power);
    struct regs e = {.eax = 0x4f15, .ebx = 1, .edi = (u32)block, .es = own_segment()};
    e = call(0, 0x10, e);
    text("ddc");
    hex(e.eax & 0xffff);
    hex(*(u32 *)block);
    hex(*(u32 *)(block + 4));
    hex(sum_of(block, 128));
    end();
    /* Every VGA mode, its columns and rows; a point in the graphics ones comes back. */
    static const u8 modes[] = {0, 1, 2, 3, 4, 5, 6, 7, 0x0d, 0x0e, 0x10, 0x11, 0x12, 0x13};
    for (unsigned i = 0; i < sizeof modes; i++) {
        call(0, 0x10, blank(modes[i]));
        struct regs w = {.eax = 0x0c01, .ecx = 33, .edx = 44};
        call(0, 0x10, w);
        w.eax = 0x0d00;
        u32 point = call(0, 0x10, w).eax & 0xff, now = call(0, 0x10, blank(0x0f00)).eax;
        far_segment(0);
        text("vga-mode");
        hex(now & 0x7f);
        hex(now >> 8 & 0xff);
        hex(FAR(u8, 0x484));
        hex(modes[i] > 3 && modes[i] != 7 ? point : 1);
        end();
    }
    call(0, 0x10, blank(0x0003));
}

/* ---- fixed places and data areas ---- */

static void fixed(void)
{
    struct regs c = call(0, 0x15, blank(0xc000));
    text("fixed");
    hex(c.ebx & 0xffff);
    /* INT 12h by its address; the letter A and the blank of the 8 by 8 font; the model. */
    far_segment(0);
    u32 old = FAR(u32, 0x60 * 4);
    FAR(u32, 0x60 * 4) = 0xf000f841;
    hex(call(0, 0x60, blank(0)).eax & 0xffff);
    far_segment(0);
    FAR(u32, 0x60 * 4) = old;
    far_segment(0xf000);
    u8 letter = 0, space = 0;
    for (u16 i = 0; i < 8; i++) {
        letter |= FAR(u8, 0xfa6e + 'A' * 8 + i);
        space |= FAR(u8, 0xfa6e + ' ' * 8 + i);
    }
    hex(letter != 0);
    hex(space);
    hex(FAR(u8, 0xff53)); /* IRET */
    hex(FAR(u8, 0xfffe));
    hex(FAR(u8, 0xfff0));
    end();
    /* The data area: COM1, EBDA, size, keyboard buffer's ends, time-outs, 101 keys. */
    text("bda");
    far_segment(0);
    static const u16 words[] = {0x400, 0x40e, 0x413, 0x480, 0x482};
    for (unsigned i = 0; i < sizeof words / 2; i++)
        hex(FAR(u16, words[i]));
    hex(FAR(u8, 0x496) & 0x10);
    hex(FAR(u16, 0x472));
    far_segment(0x9fc0);
    hex(FAR(u8, 0)); /* KiB of EBDA */
    far_segment(0);
    u32 stray = 0; /* hardware's and services' vectors that lead nowhere */
    for (u16 v = 0; v < 0x1d; v++)
        stray += FAR(u32, 4 * v) == 0;
    for (u16 v = 0x70; v < 0x78; v++)
        stray += FAR(u32, 4 * v) == 0;
    hex(stray);
    end();
}

/* ---- resets that are no beginning ---- */

/* void reset_to(u32 code): EAX.  Resets the machine through the 8042, with the shutdown code in CMOS
 * and 40:67 pointing to where it is to go on, or to a stack with what leads there. */
__asm__(".code16\n"
        "reset_to:\n"
        "pushal\n"
        "cli\n"
        "movl %esp, back_esp\n"
        "movw $0x40, %bx\n"
        "movw %bx, %fs\n"
        "movw $back, %cx\n"
        "cmpb $0x09, %al\n"
        "je 1f\n"
        "cmpb $0x0b, %al\n"
        "jae 1f\n"
        "movw %cs, %dx\n"
        "jmp 3f\n"
        "1: cmpb $0x0c, %al\n"
        "je 2f\n"
        "pushfw\n"
        "2: pushw %cs\n"
        "pushw %cx\n"
        "cmpb $0x09, %al\n"
        "jne 4f\n"
        "pushaw\n"
        "pushw %es\n"
        "pushw %ds\n"
        "4: movw %sp, %cx\n"
        "movw %ss, %dx\n"
        "3: movw %cx, %fs:0x67\n"
        "movw %dx, %fs:0x69\n"
        "movb %al, %ah\n"
        "movb $0x8f, %al\n"
        "outb %al, $0x70\n"
        "movb %ah, %al\n"
        "outb %al, $0x71\n"
        "movb $0xfe, %al\n"
        "outb %al, $0x64\n"
        "5: hlt\n"
        "jmp 5b\n"
        "back: cli\n"
        "movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "movw %ax, %es\n"
        "movw %ax, %ss\n"
        "movl back_esp, %esp\n"
        "cld\n"
        "popal\n"
        "retl\n"
        ".code16gcc\n");

void reset_to(u32 code);
static u32 back_esp __attribute__((used));

static void shutdown_codes(void)
{
    static const u8 codes[] = {0x05, 0x0a, 0x09, 0x0b, 0x0c};
    text("shutdown");
    for (unsigned i = 0; i < sizeof codes; i++) {
        reset_to(codes[i]);
        hex(codes[i]);
    }
    end();
    /* The timer goes on, and the keyboard. */
    static const u8 key[] = {0x1e, 0x9e, 0};
    struct regs before = call(0, 0x1a, blank(0x0000));
    while ((u16)call(0, 0x1a, blank(0x0000)).edx == (u16)before.edx)
        __asm__ volatile("sti; hlt; cli");
    keys("16-after", key, 0x00);
    call("pirq-after", 0x1a, (struct regs){.eax = 0xb108, .ebx = 8, .edi = 0x60});
}

enum { MARK_SEGMENT = 0x5000, MARK = 0x574d4152 };

/* "resets" on the command line, whose address a loader puts into the header at 228h. */
static int wants_resets(void)
{
    far_segment(own_segment());
    u32 line = FAR(u32, 0x228);
    far_segment((u16)(line >> 4));
    return line && FAR(u8, (u16)(line & 15)) == 'r';
}

/* The second time, RAM is as it was left. */
static int is_warm(void)
{
    far_segment(MARK_SEGMENT);
    if (FAR(u32, 0) != MARK)
        return 0;
    text("warm");
    hex(FAR(u32, 0xfff0));
    end();
    return 1;
}

static void warm_reset(void)
{
    far_segment(MARK_SEGMENT);
    FAR(u32, 0) = MARK;
    FAR(u32, 0xfff0) = 0x12345678;
    far_segment(0);
    FAR(u16, 0x472) = 0x1234;
    __asm__ volatile("ljmpw $0xffff, $0");
}

/* Do writes to the firmware's code get through? */
static void shadow(void)
{
    static const u16 segments[] = {0xe000, 0xf000, 0xfff0};
    text("shadow");
    for (unsigned i = 0; i < 3; i++) {
        far_segment(segments[i]);
        u8 old = FAR(u8, 0);
        FAR(u8, 0) = (u8)~old;
        hex(FAR(u8, 0) != old);
        FAR(u8, 0) = old;
    }
    end();
}

void probe(const struct entry *e)
{
    if (is_warm()) {
        text("END\r\n");
        outb(EXIT_PORT, 0);
    }
    entry_state(e);
    memory_map();
    a20();
    block_move();
    others();
    keyboard();
    more_keys();
    pointer();
    time();
    waits();
    alarm();
    pci();
    protected_set_up();
    bios32();
    routing();
    apm();
    video();
    fixed();
    anchor("$PnP", 0x21);
    anchor("_MP_", 16);
    shadow();
    if (wants_resets()) {
        shutdown_codes();
        warm_reset();
    }
    text("END\r\n");
    outb(EXIT_PORT, 0);
}

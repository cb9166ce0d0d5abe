/* Calls the firmware's services from real mode and prints what they answer, for test_bios.py.
 *
 * Packed as the set-up code of a Linux image: 63 sectors after the boot sector, loaded at 10000h.
 * Prints on COM1, one "name values..." line each, numbers in hexadecimal; ends by isa-debug-exit.
 * Here: how it starts, calls and prints; memory, disk, display, and what lies at fixed places.
 */
#include "bios_probe.h"

enum { COM1 = 0x3f8, EXIT_PORT = 0xf4 };

/* Boot sector and header: Documentation/arch/x86/boot.rst. */
__asm__(".section .header, \"ax\"\n"
        ".code16\n"
        ".globl header\n"
        "header:\n"
        ".org 0x1f1\n"
        ".byte 63\n" /* set-up sectors */
        ".word 0\n"
        ".long 0x20\n" /* 16-byte units of protected-mode code */
        ".word 0, 0xffff, 0, 0xaa55\n"
        "jmp 1f\n"
        ".org 0x202\n"
        ".ascii \"HdrS\"\n"
        ".word 0x204\n"
        ".org 0x211\n"
        ".byte 1\n" /* loaded high */
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
        LOAD_REGS
        "movl 24(%edx), %ebp\n"
        "movw 32(%edx), %es\n"
        "movl 12(%edx), %edx\n"
        "sti\n"
        "pushfw\n"
        "lcallw *call_target\n"
        "pushl %edx\n"
        "movl call_regs, %edx\n"
        STORE_REGS
        "movl %ebp, 24(%edx)\n"
        "movw %es, 32(%edx)\n"
        "cld\n"
        "popw %fs\n"
        "popw %es\n"
        "popal\n"
        "retl\n"
        ".code16gcc\n");

static u32 call_target __attribute__((used)), call_regs __attribute__((used));

static void put(char c)
{
    while (!(inb(COM1 + 5) & 0x20))
        continue;
    outb(COM1, (u8)c);
}

void text(const char *s)
{
    while (*s)
        put(*s++);
}

void hex(u32 v)
{
    put(' ');
    for (int shift = 28; shift >= 0; shift -= 4)
        if (!shift || v >> shift)
            put("0123456789abcdef"[v >> shift & 15]);
}

void end(void)
{
    text("\r\n");
}

void show(const char *name, const struct regs *r)
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

struct regs call(const char *name, u8 vector, struct regs r)
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

/* ---- INT 15h ---- */

static void memory_map(void)
{
    static u32 entry[6];
    u32 next = 0;
    for (int i = 0; i < 64; i++) {
        struct regs r = {.eax = 0xe820,
                         .ebx = next,
                         .ecx = 20,
                         .edx = 0x534d4150,
                         .edi = (u32)entry,
                         .es = own_segment()};
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
    r.ecx = 24;
    r.edi = (u32)entry;
    call("e820-long", 0x15, r);
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
        struct regs r = {
            .eax = 0x8700, .ecx = (sizeof pattern + 1) / 2, .esi = (u32)gdt, .es = own_segment()};
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
    clock_set();
    drives_and_ports();
    pci();
    protected_set_up();
    protected_switch();
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

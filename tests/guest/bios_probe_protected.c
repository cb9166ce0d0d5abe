/* The firmware's probe: interfaces with an entry in protected mode beside the vector.  PCI, APM. */
#include "bios_probe.h"

void pci(void)
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

/* ---- INT 15h AH = 89h ---- */

/* void switch_mode(u8 *gdt): EAX.  To protected mode by the service, and back by hand. */
__asm__(".code16\n"
        "switch_mode:\n"
        "pushal\n"
        "pushw %fs\n"
        "movl %eax, %esi\n"
        "inb $0x21, %al\n"
        "movb %al, %ah\n"
        "inb $0xa1, %al\n"
        "pushw %ax\n"
        "movw $0x5060, %bx\n"
        "movb $0x89, %ah\n"
        "int $0x15\n"
        "setc switch_carry\n"
        "jc 2f\n"
        "movb %ah, switch_ah\n"
        "smsw %ax\n"
        "movw %ax, switch_status\n"
        "movw %cs, switch_selectors\n"
        "movw %ds, switch_selectors + 2\n"
        "movw %es, switch_selectors + 4\n"
        "movw %ss, switch_selectors + 6\n"
        "inb $0x21, %al\n"
        "movb %al, switch_masks\n"
        "inb $0xa1, %al\n"
        "movb %al, switch_masks + 1\n"
        "lidtl switch_idt\n"
        "movl %cr0, %eax\n"
        "andb $0xfe, %al\n"
        "movl %eax, %cr0\n"
        "pushw pm_segment\n"
        "pushw $1f\n"
        "lretw\n"
        "1: movw %cs, %ax\n"
        "movw %ax, %ds\n"
        "movw %ax, %es\n"
        "movw %ax, %ss\n"
        "movb $0x11, %al\n"
        "outb %al, $0x20\n"
        "outb %al, $0xa0\n"
        "movb $8, %al\n"
        "outb %al, $0x21\n"
        "movb $0x70, %al\n"
        "outb %al, $0xa1\n"
        "movb $4, %al\n"
        "outb %al, $0x21\n"
        "movb $2, %al\n"
        "outb %al, $0xa1\n"
        "movb $1, %al\n"
        "outb %al, $0x21\n"
        "outb %al, $0xa1\n"
        "2: popw %ax\n"
        "outb %al, $0xa1\n"
        "movb %ah, %al\n"
        "outb %al, $0x21\n"
        "popw %fs\n"
        "popal\n"
        "retl\n"
        ".code16gcc\n");

void switch_mode(u8 *table);
static u8 switch_carry __attribute__((used)), switch_ah __attribute__((used)) = 0xee;
static u16 switch_status __attribute__((used)), switch_selectors[4] __attribute__((used));
static u8 switch_masks[2] __attribute__((used));
static struct {
    u16 limit;
    u32 base;
} __attribute__((packed)) switch_idt __attribute__((used)) = {0x3ff, 0};

/* ---- protected mode ---- */

/* void pm_call(const u32 *target, struct regs *r): EAX, EDX.  A far call in 32-bit protected mode;
 * target is an offset and a selector, bit 31 of the selector's word asks for a 16-bit call, bit 30
 * for a near one.  The probe's own descriptors have its segment's base, so addresses stay what they
 * are. */
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
        LOAD_REGS
        "movl 12(%edx), %edx\n"
        "testl $0x80000000, pm_target + 4\n"
        "jnz 4f\n"
        "testl $0x40000000, pm_target + 4\n"
        "jnz 7f\n"
        "pushl %ds\n"
        "cmpw $0x40, pm_target + 4\n"
        "jne 6f\n"
        "pushl $0x48\n" /* PCI BIOS wants its own base in DS */
        "popl %ds\n"
        "6: lcall *%ss:pm_target\n"
        "popl %ds\n"
        "jmp 5f\n"
        "7: call *pm_target\n"
        "jmp 5f\n"
        "4: data16 lcall *pm_target16\n"
        "5: pushl %edx\n"
        "movl pm_regs, %edx\n"
        STORE_REGS
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

static void descriptor_in(u8 *d, u32 base, u32 limit, u8 access, u8 flags)
{
    d[0] = (u8)limit;
    d[1] = (u8)(limit >> 8);
    d[2] = (u8)base;
    d[3] = (u8)(base >> 8);
    d[4] = (u8)(base >> 16);
    d[5] = access;
    d[6] = (u8)(flags | (limit >> 16 & 15));
    d[7] = (u8)(base >> 24);
}

static void descriptor(unsigned n, u32 base, u32 limit, u8 access, u8 flags)
{
    descriptor_in(gdt[n], base, limit, access, flags);
}

static struct regs pm(const char *name, u32 offset, u16 selector, struct regs r)
{
    u32 target[2] = {offset, selector};
    pm_call(target, &r);
    show(name, &r);
    return r;
}

void protected_switch(void)
{
    static u8 table[8][8] __attribute__((aligned(8))), vectors[256];
    u32 base = (u32)own_segment() << 4;
    for (unsigned i = 3; i < 7; i++)
        descriptor_in(table[i], base, 0xffff, i == 6 ? 0x9b : 0x93, 0);
    descriptor_in(table[1], base + (u32)table, sizeof table - 1, 0x93, 0);
    descriptor_in(table[2], base + (u32)vectors, sizeof vectors - 1, 0x93, 0);
    switch_mode(table[0]);
    text("89");
    hex(switch_carry);
    hex(switch_ah);
    hex(switch_status & 1);
    for (unsigned i = 0; i < 4; i++)
        hex(switch_selectors[i]);
    hex(switch_masks[0] | 4); /* SeaBIOS leaves the cascade open */
    hex(switch_masks[1]);
    hex(table[7][4]);
    end();
}

struct regs near_call(const char *name, const u8 *code, struct regs r)
{
    u32 target[2] = {(u32)code, 0x40000000};
    pm_call(target, &r);
    show(name, &r);
    return r;
}

void protected_set_up(void)
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

u32 anchor(const char *signature, u16 length)
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
    text(signature);
    hex(at != 0);
    end();
    far_segment((u16)(at >> 4));
    return at;
}

void bios32(void)
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

void routing(void)
{
    enum { ROOM = 1024 };
    u8 *slots = SCRATCH;
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
    buffer.size = ROOM;
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

void apm(void)
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

/* What all 16-bit services share: the caller's registers, far memory, console.
 *
 * A service is `void service_NN(frame_ptr f)`, entered through services.S.  It reads and writes the
 * caller's registers in *f; carry and zero are changed in f->flags, which IRET restores.
 */
#ifndef BIOS_SERVICE_H
#define BIOS_SERVICE_H

#include "bios/bda.h"
#include "bios/layout.h"
#include "bios/shared.h"
#include "bios/types.h"

/* The compiler may call these by itself; the 32-bit half has its own. */
__asm__(".set memcpy, memcpy16\n.set memset, memset16");

#define REGISTER(wide, word, low, high)                                                            \
    union {                                                                                        \
        u32 wide;                                                                                  \
        u16 word;                                                                                  \
        struct {                                                                                   \
            u8 low, high;                                                                          \
        };                                                                                         \
    }

struct frame {
    u16 gs, fs, es, ds;
    union {
        u32 edi;
        u16 di;
    };
    union {
        u32 esi;
        u16 si;
    };
    union {
        u32 ebp;
        u16 bp;
    };
    u32 esp; /* below the saved registers; not restored */
    REGISTER(ebx, bx, bl, bh);
    REGISTER(edx, dx, dl, dh);
    REGISTER(ecx, cx, cl, ch);
    REGISTER(eax, ax, al, ah);
    u32 handler;
    u16 ip, cs, flags;
} PACKED;

typedef struct frame __seg_gs *frame_ptr;

enum { FLAG_CARRY = 0x0001, FLAG_ZERO = 0x0040, FLAG_INTERRUPT = 0x0200 };

static inline void set_carry(frame_ptr f, bool on)
{
    f->flags = (u16)(on ? f->flags | FLAG_CARRY : f->flags & ~FLAG_CARRY);
}

/* The usual answers: AH is the code, carry tells failure. */
static inline void done(frame_ptr f)
{
    f->ah = 0;
    set_carry(f, false);
}

static inline void fail(frame_ptr f, u8 code)
{
    f->ah = code;
    set_carry(f, true);
}

/* ---- far memory: FS is the services' own ---- */

static inline void far_segment(u16 seg)
{
    __asm__ volatile("movw %0, %%fs" : : "r"(seg) : "memory");
}

/* Compiled as 32-bit code for callers in protected mode. */
#ifndef PROTECTED
#define PROTECTED 0
#endif

#define FAR(type, offset) (*(volatile type __seg_fs *)(u32)(offset))

/* BIOS data area, by linear address (bda.h). */
static inline u8 bda8(u16 at)
{
    far_segment(0);
    return FAR(u8, at);
}

static inline u16 bda16(u16 at)
{
    far_segment(0);
    return FAR(u16, at);
}

static inline u32 bda32(u16 at)
{
    far_segment(0);
    return FAR(u32, at);
}

static inline void bda8_set(u16 at, u8 v)
{
    far_segment(0);
    FAR(u8, at) = v;
}

static inline void bda16_set(u16 at, u16 v)
{
    far_segment(0);
    FAR(u16, at) = v;
}

static inline void bda32_set(u16 at, u32 v)
{
    far_segment(0);
    FAR(u32, at) = v;
}

/* ---- service.c ---- */

void *memcpy16(void *to, const void *from, u32 n);
void *memset16(void *to, int c, u32 n);

/* ---- in assembly ---- */

void call_int(u8 vector);
/* AX through a software interrupt with AX = *ax; whether carry came back set, having been set. */
bool call_int_ax(u8 vector, u16 *ax);
/* The handler of the pointing device, with four words on the stack. */
void call_pointer(u32 handler, u32 words01, u32 words23);
void wait_interrupt(void);
void pm_copy(u32 to, u32 from, u32 bytes);
/* For good: to a real-mode address (segment in the upper half), or to 32-bit code without
 * paging. */
_Noreturn void wake_real(u32 far_address);
_Noreturn void wake_protected(u32 linear);
/* The same to a boot sector: with DL, interrupts and the stack that it expects. */
_Noreturn void boot_jump(u32 far_address, u8 unit);
extern const u8 config_table[], floppy_table[], floppy_tables[]; /* offsets in CODE_SEG */

/* ---- between services ---- */

/* Teletype output of INT 10h, on every console there is. */
void console_put(u8 c);
void console_print(const char *s);
/* The byte from the keyboard goes into BIOS data area and buffer. */
void keyboard_scancode(u8 code);
u8 to_bcd(u8 v);
u8 from_bcd(u8 v);
/* Waits, without interrupts, for about the given time. */
void delay_us(u32 us);
/* The same, and lets interrupts in. */
void wait_open(u32 us);
/* Parts of INT 15h (AH = C2h, 83h, 53h) and of INT 1Ah (B1h). */
void pointer_service(frame_ptr f);
void event_wait(frame_ptr f);
void apm_service(frame_ptr f);
/* `s` is `shared`, for who is compiled to run elsewhere too. */
void pci_service(frame_ptr f, const struct shared *s);
/* End of interrupt for IRQ 0 to 15. */
void irq_end(u8 irq);

/* ---- kbc.c ---- */

/* Between these two the keyboard, or the auxiliary device, can be asked things. */
void kbc_begin(bool aux);
void kbc_end(void);
/* Sends a byte; whether the device has acknowledged it.  Then its further answers, one a call. */
bool kbc_ask(bool aux, u8 byte);
bool kbc_answer(u8 *v);
/* A keyboard command with its argument, from beginning to end. */
bool kbc_tell(u8 command, u8 argument);
/* Whether the auxiliary device may send and interrupt, from the next kbc_end on. */
void kbc_pointer(bool on);
_Noreturn void reset_machine(void);

#endif

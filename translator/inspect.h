/* -d in_asm, ir, ir_opt: what the translator sees and makes, as text for reading. */
#ifndef DRAGOMAN_TRANSLATOR_INSPECT_H
#define DRAGOMAN_TRANSLATOR_INSPECT_H

#include "translator/ir.h"

/* Logs the guest instructions of a block; bytes: its ir->guest_bytes bytes from ir->rip on. */
void inspect_guest(const struct ir *ir, const u8 *bytes);

/* Logs the block in two columns: guest instructions on the left, their IR on the right. */
void inspect_ir(const struct ir *ir, const u8 *bytes, const char *title);

/* Disassembles one instruction into buf ("mov eax, dword ptr [rbx]"; the bytes themselves when
 * built without Capstone) and returns its length, at least 1. */
unsigned inspect_disassemble(const u8 *p, unsigned avail, u64 rip, u32 hflags, char *buf,
                             size_t size);

#endif

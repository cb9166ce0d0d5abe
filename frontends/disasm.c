/* Disassembly for the monitor, by Capstone; without it instructions are shown by their names
 * only. */
#include <stdio.h>

#include "cpu/decode.h"
#include "frontends/monitor.h"

#if CONFIG_CAPSTONE
#include <capstone/capstone.h>

unsigned disasm(const u8 *code, unsigned len, u64 address, unsigned bits, char *text, size_t size)
{
    csh handle;
    cs_insn *insn;
    unsigned used = 0;
    cs_mode mode = bits == 64 ? CS_MODE_64 : bits == 32 ? CS_MODE_32 : CS_MODE_16;
    if (cs_open(CS_ARCH_X86, mode, &handle) != CS_ERR_OK)
        return 0;
    if (cs_disasm(handle, code, len, address, 1, &insn) == 1) {
        snprintf(text, size, "%s%s%s", insn->mnemonic, *insn->op_str ? " " : "", insn->op_str);
        used = insn->size;
        cs_free(insn, 1);
    }
    cs_close(&handle);
    return used;
}
#else
unsigned disasm(const u8 *code, unsigned len, u64 address, unsigned bits, char *text, size_t size)
{
    struct insn insn;
    char name[32];
    if (decode(&insn, code, len, bits) != DECODE_OK)
        return 0;
    snprintf(text, size, "%s", insn_name(&insn, name));
    return insn.len;
}
#endif

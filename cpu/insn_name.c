/* Names of decoded instructions, spelled as Capstone prints them.  Touches nothing but its
 * arguments; operands are left to whoever prints a listing. */
#include "cpu/decode.h"

#include <stdio.h>

static const char *const names[OP_COUNT] = {
    [OP_INVALID] = "(bad)",
#define INSN(name) [OP_##name] = #name,
#include "cpu/mnemonics.def"
#undef INSN
};

/* SDM vol. 1 appendix B. */
static const char *const conditions[16] = {
    "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g",
};

/* SDM vol. 2A, CMPPS: the pseudo-ops for predicates 0 to 7, and with VEX to 31. */
static const char *const predicates[32] = {
    "eq", "lt", "le", "unord", "neq", "nlt", "nle", "ord",
    "eq_uq", "nge", "ngt", "false", "neq_oq", "ge", "gt", "true",
    "eq_os", "lt_oq", "le_oq", "unord_s", "neq_us", "nlt_uq", "nle_uq", "ord_s",
    "eq_us", "nge_uq", "ngt_uq", "false_os", "neq_os", "ge_oq", "gt_oq", "true_us",
};

static const char *sse_compare(const struct insn *in, const char *suffix, char buf[32])
{
    unsigned known = in->vex ? 32 : 8;
    snprintf(buf, 32, "cmp%s%s", in->imm < known ? predicates[in->imm] : "", suffix);
    return buf;
}

static const char *base_name(const struct insn *in, char buf[32])
{
    const char *cc = conditions[in->cc & 15];
    switch (in->op) {
    case OP_jcc: snprintf(buf, 32, "j%s", cc); return buf;
    case OP_setcc: snprintf(buf, 32, "set%s", cc); return buf;
    case OP_cmovcc: snprintf(buf, 32, "cmov%s", cc); return buf;
    case OP_cmpps: return sse_compare(in, "ps", buf);
    case OP_cmppd: return sse_compare(in, "pd", buf);
    case OP_cmpss: return sse_compare(in, "ss", buf);
    case OP_cmpsd_sse: return sse_compare(in, "sd", buf);
    case OP_movsd_sse: return "movsd";
    case OP_fcompi: return "fcomip";
    case OP_fucompi: return "fucomip";
    default: return in->op < OP_COUNT ? names[in->op] : names[OP_INVALID];
    }
}

const char *insn_name(const struct insn *in, char buf[32])
{
    char base[32];
    if (!in->row || !(in->row->props & ROW_V))
        return base_name(in, buf);
    snprintf(buf, 32, "v%.30s", base_name(in, base));
    return buf;
}

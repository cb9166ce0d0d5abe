/* The decoder against Capstone.
 *
 * Enumerated: every opcode byte of the four maps, times every ModRM byte, times the prefixes none,
 * 66, F3, F2, 66+F3, 66+F2, 67, F0 and (64-bit) REX.W, in three modes; every opcode of the VEX maps,
 * times ModRM bytes, pp, L, W and two values of vvvv, in 32- and 64-bit mode.  Random: 1 million byte
 * strings from a fixed seed, 10 million when the environment variable DRAGOMAN_LONG is 1.
 *
 * Validity, length and mnemonic must agree; where Capstone 4.0.2 and the manual differ, the tables
 * below say so, and each of their rows must be needed at least once in the enumeration.  Operands,
 * which Capstone describes otherwise, are in test_decode.c. */
#include <check.h>
#include <capstone/capstone.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/decode.h"
#include "cpu/state.h"
#include "tests/suite.h"

static csh handles[3], detail_handle[3];
static cs_insn *scratch;
static const unsigned modes[3] = {16, 32, 64};

/* One comparison: the bytes and what both sides make of them. */
struct pair {
    const u8 *bytes;
    unsigned mode;
    struct insn in; /* ours */
    enum decode_status status;
    const char *ours, *theirs; /* mnemonics, or "(bad)" */
    char ours_buf[32], theirs_buf[32];
    unsigned their_len;
};

static unsigned mode_index(unsigned mode)
{
    return mode == 64 ? 2 : mode == 32;
}

/* Capstone writes some prefixes into the mnemonic. */
static const char *strip_prefixes(const char *s)
{
    static const char *const words[] = {
        "lock ", "repne ", "repe ", "repz ", "rep ", "bnd ", "xacquire ", "xrelease ", "data16 ",
        "notrack ",
    };
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
        size_t n = strlen(words[i]);
        if (!strncmp(s, words[i], n))
            return strip_prefixes(s + n);
    }
    return s;
}

static void decode_both(struct pair *q, const u8 *bytes, unsigned n, unsigned mode)
{
    const u8 *code = bytes;
    size_t size = n;
    u64 address = 0;
    q->bytes = bytes;
    q->mode = mode;
    q->status = decode(&q->in, bytes, n, mode);
    q->ours = q->status == DECODE_OK ? insn_name(&q->in, q->ours_buf) : "(bad)";
    q->theirs = "(bad)";
    q->their_len = 0;
    if (cs_disasm_iter(handles[mode_index(mode)], &code, &size, &address, scratch)) {
        snprintf(q->theirs_buf, sizeof(q->theirs_buf), "%s", strip_prefixes(scratch->mnemonic));
        q->theirs = q->theirs_buf;
        q->their_len = scratch->size;
    }
}

static bool ours_bad(const struct pair *q)
{
    return q->status != DECODE_OK;
}

static bool theirs_bad(const struct pair *q)
{
    return !q->their_len;
}

static bool may_lock(const struct pair *q);

static bool same(const struct pair *q)
{
    if (!ours_bad(q) && q->in.lock && !may_lock(q))
        return false;
    if (ours_bad(q) || theirs_bad(q))
        return ours_bad(q) && theirs_bad(q);
    return q->in.len == q->their_len && !strcmp(q->ours, q->theirs);
}

/* ---- where Capstone differs ---- */

/* Same instruction and length, other spelling. */
static struct alias {
    const char *ours, *theirs, *why;
    unsigned long used;
} aliases[] = {
    {"pusha", "pushaw", "SDM PUSHA: 60 is PUSHA with 16-bit operands; the w is AT&T's", 0},
    {"pushad", "pushal", "SDM PUSHAD; the l is AT&T's", 0},
    {"popa", "popaw", "SDM POPA; the w is AT&T's", 0},
    {"popad", "popal", "SDM POPAD; the l is AT&T's", 0},
    {"shl", "sal", "SDM SAL/SHL are one instruction; /6 is its alias", 0},
    {"fneni", "feni8087_nop", "SDM vol. 3B 23.18.9: FENI is a no-operation since the 80387", 0},
    {"fndisi", "fdisi8087_nop", "SDM vol. 3B 23.18.9: likewise FDISI", 0},
    {"movabs", "mov", "SDM MOV: moffs form; Capstone drops the AT&T spelling when 67 is given", 0},
    {"vcvtpd2ps", "vcvtpd2psx", "SDM VCVTPD2PS; the x is AT&T's", 0},
    {"vcvtpd2dq", "vcvtpd2dqx", "SDM VCVTPD2DQ; the x is AT&T's", 0},
    {"vcvttpd2dq", "vcvttpd2dqx", "SDM VCVTTPD2DQ; the x is AT&T's", 0},
    {"movq", "movd", "SDM MOVD/MOVQ: REX.W 0F 6E and 0F 7E are MOVQ", 0},
};

static struct alias *find_alias(const struct pair *q)
{
    if (ours_bad(q) || theirs_bad(q) || q->in.len != q->their_len)
        return NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(aliases); i++) {
        if (!strcmp(q->ours, aliases[i].ours) && !strcmp(q->theirs, aliases[i].theirs))
            return &aliases[i];
    }
    return NULL;
}

static bool has_prefix(const struct pair *q, u8 prefix)
{
    for (unsigned i = 0; i < 15; i++) {
        u8 b = q->bytes[i];
        if (b == prefix)
            return true;
        if (b != 0x66 && b != 0x67 && b != 0xf0 && b != 0xf2 && b != 0xf3 && b != 0x2e &&
            b != 0x36 && b != 0x3e && b != 0x26 && b != 0x64 && b != 0x65 &&
            !(q->mode == 64 && (b & 0xf0) == 0x40))
            return false;
    }
    return false;
}

static bool opcode_is(const struct pair *q, unsigned map, unsigned first, unsigned last)
{
    return !q->in.vex && q->in.map == map && q->in.opcode >= first && q->in.opcode <= last;
}

static bool is_one_of(const char *name, const char *const *list)
{
    for (; *list; list++) {
        if (!strcmp(name, *list))
            return true;
    }
    return false;
}

static bool evex_xop(const struct pair *q)
{
    return q->status == DECODE_UD && (opcode_is(q, 0, 0x62, 0x62) ||
                                      (opcode_is(q, 0, 0x8f, 0x8f) && (q->in.modrm & 0x38)));
}

/* Whether the tables have a VEX row of that name. */
static bool have_vex_row(const char *name)
{
    const struct opcode_row *const *rows;
    unsigned n = decode_rows(&rows), len = strlen(name);
    for (unsigned i = 0; i < n; i++) {
        const char *text = rows[i]->text;
        if (rows[i]->props & ROW_V && !strncmp(text, name, len) && (!text[len] || text[len] == ' '))
            return true;
    }
    return false;
}

static bool vex_prefixed(const struct pair *q)
{
    return q->in.vex && ours_bad(q) && !theirs_bad(q) &&
           (q->in.lock || has_prefix(q, 0x66) || has_prefix(q, 0xf2) || has_prefix(q, 0xf3) ||
            (q->mode == 64 && (q->bytes[0] & 0xf0) == 0x40));
}

/* Bytes: C4, RXB and map, W vvvv L pp, opcode, ModRM, SIB; other prefixes may precede. */
static bool gather_rules(const struct pair *q)
{
    const u8 *b = q->bytes;
    if (!ours_bad(q) || !q->in.vex || !strstr(q->theirs, "gather"))
        return false;
    while (*b != 0xc4)
        b++;
    unsigned top = q->mode == 64 ? 8 : 0;
    unsigned reg = (b[4] >> 3 & 7) | (b[1] & 0x80 ? 0 : top);
    unsigned index = (b[5] >> 3 & 7) | (b[1] & 0x40 ? 0 : top);
    unsigned mask = (~b[2] >> 3 & 7) | (b[2] & 0x40 ? 0 : top);
    return (b[4] & 7) != 4 || q->in.addrsize == 2 || reg == index || reg == mask || index == mask;
}

/* VEX.W of the moves between general and vector registers. */
static bool vex_w_legacy_mode(const struct pair *q)
{
    return q->in.vex && q->mode != 64 && q->in.len == q->their_len &&
           ((!strcmp(q->ours, "vpextrd") && !strcmp(q->theirs, "vpextrq")) ||
            (!strcmp(q->ours, "vpinsrd") && !strcmp(q->theirs, "vpinsrq")) ||
            (!strcmp(q->ours, "vmovd") && !strcmp(q->theirs, "vmovq")));
}

/* What came after Capstone 4.0.2, or is missing there. */
static bool newer_vex(const struct pair *q)
{
    unsigned isa = ours_bad(q) ? ISA_BASE : q->in.row->isa;
    return theirs_bad(q) && q->in.vex &&
           (isa == ISA_VAES || isa == ISA_VPCLMUL || isa == ISA_GFNI ||
            !strcmp(q->ours, "vbroadcasti128"));
}

/* Decodes the same with VEX.W (of the C4 form) the other way round. */
static bool vex_w(const struct pair *q)
{
    u8 bytes[24];
    struct insn in;
    char buf[32];
    unsigned at = 0;
    if (!ours_bad(q) || !q->in.vex || theirs_bad(q))
        return false;
    memcpy(bytes, q->bytes, sizeof(bytes));
    while ((bytes[at] | 1) != 0xc5)
        at++;
    bytes[at + 2] ^= 0x80;
    return bytes[at] == 0xc4 && decode(&in, bytes, 15, q->mode) == DECODE_OK &&
           in.len == q->their_len && !strcmp(insn_name(&in, buf), q->theirs);
}

static bool vex_not_covered(const struct pair *q)
{
    return q->in.vex && q->status == DECODE_UD && !theirs_bad(q) && !have_vex_row(q->theirs);
}

static bool other_extension(const struct pair *q)
{
    static const u8 groups[] = {
        X86_GRP_VM, X86_GRP_3DNOW, X86_GRP_RTM, X86_GRP_SGX,
    };
    static const char *const names[] = {
        "getsec", "pcommit",
        "montmul", "xsha1", "xsha256", "xstorerng", "xcryptecb", "xcryptcbc", "xcryptctr",
        "xcryptcfb", "xcryptofb", "femms", "encls", "enclu", "xabort", "xbegin", "xend", "xtest",
        "clgi", "stgi", "skinit", "invlpga", "vmfunc", NULL,
    };
    if (!ours_bad(q) || theirs_bad(q))
        return false;
    if (is_one_of(q->theirs, names))
        return true;
    cs_insn *list;
    csh h = detail_handle[mode_index(q->mode)];
    size_t n = cs_disasm(h, q->bytes, 15, 0, 1, &list);
    bool found = false;
    for (unsigned i = 0; n && i < ARRAY_SIZE(groups); i++)
        found |= cs_insn_group(h, list, groups[i]);
    cs_free(list, n);
    return found;
}

/* Capstone's text of the instruction, operands and all; false when it has none. */
static bool their_text(const u8 *bytes, unsigned n, unsigned mode, char text[200])
{
    const u8 *code = bytes;
    size_t size = n;
    u64 address = 0;
    if (!cs_disasm_iter(handles[mode_index(mode)], &code, &size, &address, scratch))
        return false;
    snprintf(text, 200, "%s %s", strip_prefixes(scratch->mnemonic), scratch->op_str);
    return true;
}

/* Whether Capstone's text stays the same without F2, F3 and, if so asked, 66. */
static bool same_text_without(const struct pair *q, bool drop_66)
{
    char with[200], without[200];
    u8 bytes[15];
    unsigned n = 0, i = 0;
    for (; q->bytes[i] != 0x0f; i++) {
        if (q->bytes[i] != 0xf2 && q->bytes[i] != 0xf3 && !(drop_66 && q->bytes[i] == 0x66))
            bytes[n++] = q->bytes[i];
    }
    if (n == i)
        return false;
    memcpy(bytes + n, q->bytes + i, 15 - i);
    return their_text(q->bytes, 15, q->mode, with) &&
           their_text(bytes, n + 15 - i, q->mode, without) && !strcmp(with, without);
}

/* Capstone finds no row with the prefix and silently takes the one without.  (Not asked in 16-bit
 * mode, where Capstone ignores these prefixes: see same_respelled.) */
static bool superfluous_prefix(const struct pair *q)
{
    return ours_bad(q) && !theirs_bad(q) && q->in.map && !q->in.vex && q->mode != 16 &&
           (same_text_without(q, true) || same_text_without(q, false));
}

static bool movbe_f3(const struct pair *q)
{
    return ours_bad(q) && has_prefix(q, 0xf3) && !strcmp(q->theirs, "movbe");
}

static bool near_branch_66(const struct pair *q)
{
    return q->mode == 64 && has_prefix(q, 0x66) && !strcmp(q->ours, q->theirs) &&
           q->in.operands == 1 && q->in.opnd[0].kind == OPND_REL && q->in.len == q->their_len + 2;
}

static bool convert_16(const struct pair *q)
{
    return q->mode == 16 && !ours_bad(q) && opcode_is(q, 0, 0x98, 0x99);
}

static bool segment_register(const struct pair *q)
{
    return ours_bad(q) && opcode_is(q, 0, 0x8e, 0x8e) && ((q->in.modrm >> 3) & 7) == SEG_CS;
}

static bool segment_rex_r(const struct pair *q)
{
    return q->mode == 64 && opcode_is(q, 0, 0x8c, 0x8e) && q->in.rex & 4 && theirs_bad(q);
}

static bool control_register(const struct pair *q)
{
    unsigned reg = ((q->in.modrm >> 3) & 7) | (q->in.rex & 4) << 1;
    bool debug = q->in.opcode & 1;
    return ours_bad(q) && opcode_is(q, 1, 0x20, 0x23) &&
           (debug ? reg > 7 : reg == 1 || (reg > 4 && reg != 8));
}

static bool hint_nop(const struct pair *q)
{
    return theirs_bad(q) && (opcode_is(q, 1, 0x18, 0x1f) || opcode_is(q, 1, 0x0d, 0x0d));
}

static bool fence_rm(const struct pair *q)
{
    return theirs_bad(q) && opcode_is(q, 1, 0xae, 0xae) && q->in.modrm > 0xe8 && (q->in.modrm & 7);
}

static bool swapgs_legacy(const struct pair *q)
{
    return ours_bad(q) && q->mode != 64 && !strcmp(q->theirs, "swapgs");
}

static bool rdpid(const struct pair *q)
{
    return !strcmp(q->ours, "rdpid") && !strcmp(q->theirs, "rdseed");
}

static bool gfni(const struct pair *q)
{
    return theirs_bad(q) && !ours_bad(q) && q->in.row->isa == ISA_GFNI;
}

static bool pkru(const struct pair *q)
{
    return theirs_bad(q) && !ours_bad(q) && q->in.row->isa == ISA_PKU;
}

static bool extrq_reg(const struct pair *q)
{
    return ours_bad(q) && opcode_is(q, 1, 0x78, 0x78) && !strcmp(q->theirs, "extrq");
}

static bool ud0_ud1(const struct pair *q)
{
    return (opcode_is(q, 1, 0xff, 0xff) && (theirs_bad(q) || !strcmp(q->theirs, "ud0"))) ||
           (opcode_is(q, 1, 0xb9, 0xb9) && !strcmp(q->theirs, "ud2b"));
}

static struct exception {
    bool (*applies)(const struct pair *q);
    const char *why;
    unsigned long used;
} exceptions[] = {
    {evex_xop, "EVEX and XOP maps are not covered: 62 and 8F /1-7 are #UD", 0},
    {vex_prefixed, "SDM vol. 2A 2.3.2, 2.3.3: 66, F2, F3, LOCK or REX before VEX is #UD", 0},
    {gather_rules, "SDM vol. 2, VGATHERDPS: needs a SIB byte and three different registers", 0},
    {vex_w_legacy_mode, "SDM vol. 2, VPEXTRQ: outside 64-bit mode VEX.W1 is like W0", 0},
    {newer_vex, "SDM vol. 2, VAESENC, VPCLMULQDQ, GF2P8MULB, VBROADCASTI128: not in Capstone", 0},
    {vex_w, "SDM vol. 2, the rows that say W0: #UD with VEX.W; Capstone ignores it there", 0},
    {vex_not_covered, "VEX instructions that have no row are #UD", 0},
    {other_extension, "extensions outside the covered maps are #UD", 0},
    {superfluous_prefix, "SDM vol. 2A 3.1.1.1: NP rows and blank columns are #UD with 66, F2 or F3 "
                         "(silicon agrees); Capstone falls back to the row without prefix", 0},
    {movbe_f3, "SDM table A-4: the F3 column of 0F 38 F0 and F1 is blank; Capstone takes MOVBE", 0},
    {near_branch_66, "SDM vol. 1 6.3.7: near branches in 64-bit mode ignore 66; Capstone, as AMD, "
                     "takes a 16-bit displacement", 0},
    {convert_16, "SDM CBW, CWD: chosen by operand size; Capstone takes 16-bit code for 32-bit", 0},
    {segment_register, "SDM MOV: loading CS is #UD", 0},
    {segment_rex_r,
     "SDM vol. 2A 2.2.1.2: REX.R is ignored when ModRM.reg is a segment register", 0},
    {control_register, "SDM MOV CR, MOV DR: CR1, CR5-CR7, CR9-CR15, DR8-DR15 are #UD", 0},
    {hint_nop, "SDM table A-3, NOP: 0F 0D and 0F 18-1F are hints or NOP with every ModRM byte", 0},
    {fence_rm, "SDM LFENCE, MFENCE, SFENCE: ModRM.rm is ignored", 0},
    {swapgs_legacy, "SDM SWAPGS: #UD outside 64-bit mode", 0},
    {rdpid, "SDM RDPID: F3 0F C7 /7", 0},
    {pkru, "SDM table A-6, group 7: RDPKRU and WRPKRU, which Capstone 4 lacks", 0},
    {gfni, "SDM tables A-4, A-5: GF2P8MULB and the like, which Capstone 4 lacks", 0},
    {extrq_reg, "APM vol. 4 EXTRQ: 66 0F 78 /0; silicon takes /1 to /7 as #UD", 0},
    {ud0_ud1, "SDM UD: 0F B9 /r and 0F FF /r have a ModRM byte; Capstone takes them without", 0},
};

static unsigned long compared, failures;

static void report(const struct pair *q)
{
    failures++;
    if (failures > 20)
        return;
    printf("mismatch, %u-bit:", q->mode);
    for (unsigned i = 0; i < 16; i++)
        printf(" %02x", q->bytes[i]);
    printf(": %s, length %u; Capstone: %s, length %u\n", q->ours, q->in.len, q->theirs,
           q->their_len);
}

static bool explained(const struct pair *q)
{
    struct alias *a = find_alias(q);
    if (a) {
        a->used++;
        return true;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(exceptions); i++) {
        if (exceptions[i].applies(q)) {
            exceptions[i].used++;
            return true;
        }
    }
    return false;
}

/* Capstone sees only the last prefix as a mandatory one, reads none in 16-bit mode, mixes up 66 and
 * 67 with REX.W, and accepts LOCK where the SDM does not.  Such strings are compared in another
 * spelling that means the same: */
static struct {
    const char *why;
    unsigned long used;
} respelled[] = {
    {"SDM vol. 2A 2.1.1: prefixes count in any order; Capstone wants the mandatory one last", 0},
    {"mandatory prefixes, which Capstone ignores in 16-bit mode, compared in 32-bit mode", 0},
    {"SDM vol. 2A 2.2.1.2: REX.W overrides 66; prefixes without effect left out", 0},
    {"SDM LOCK: #UD unless listed and with a memory destination; Capstone is laxer", 0},
};

enum { TO_32 = 1, DROP_66 = 2, DROP_REX_W = 4 };

/* Writes the string with one prefix of each kind, the mandatory one last.  TO_32: for 32-bit mode,
 * with 67 toggled so that 16-bit code addresses memory alike.  Returns its length. */
static unsigned respell(const struct pair *q, unsigned n, u8 *out, unsigned how)
{
    unsigned i = 0, len = 0;
    u8 seg = 0, rep = 0, rex = 0;
    bool opsize = false, addrsize = how & TO_32;
    for (;; i++) {
        u8 b = q->bytes[i];
        if (q->mode == 64 && (b & 0xf0) == 0x40) {
            rex = b;
            continue;
        }
        if (b == 0x66)
            opsize = true;
        else if (b == 0x67)
            addrsize = !(how & TO_32);
        else if (b == 0xf2 || b == 0xf3)
            rep = b;
        else if (b == 0x64 || b == 0x65 || b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e)
            seg = b;
        else if (b != 0xf0)
            break;
        rex = 0;
    }
    if (how & DROP_REX_W)
        rex = (rex & 0xf7) == 0x40 ? 0 : rex & 0xf7;
    if (seg)
        out[len++] = seg;
    if (addrsize)
        out[len++] = 0x67;
    if (opsize && !(how & DROP_66))
        out[len++] = 0x66;
    if (rep && (q->in.map || q->in.opcode == 0x90))
        out[len++] = rep;
    if (rex)
        out[len++] = rex;
    memcpy(out + len, q->bytes + i, n - i);
    return len + n - i;
}

/* The instructions that the SDM's LOCK page lists, with a memory destination. */
static bool may_lock(const struct pair *q)
{
    static const char *const names[] = {
        "add", "adc", "and", "btc", "btr", "bts", "cmpxchg", "cmpxchg8b", "cmpxchg16b", "dec",
        "inc", "neg", "not", "or", "sbb", "sub", "xor", "xadd", "xchg", NULL,
    };
    return !ours_bad(q) && q->in.opnd[0].kind == OPND_MEM && is_one_of(q->ours, names);
}

static bool same_respelled_as(const struct pair *q, unsigned n, unsigned how)
{
    struct pair r;
    u8 bytes[40];
    unsigned len = respell(q, n, bytes, how);
    decode_both(&r, bytes, len, how & TO_32 ? 32 : q->mode);
    if (n - q->in.len != len - r.in.len || (!same(&r) && !explained(&r)))
        return false;
    /* Leaving out a prefix that had an effect must not pass for agreement on #UD; but 67 with REX.W
     * reads as 66 to Capstone. */
    if (how & (DROP_66 | DROP_REX_W) && ours_bad(&r) &&
        (how & DROP_66 || !has_prefix(q, 0x67)))
        return false;
    unsigned why = how & TO_32 ? 1 : how ? 2 : 0;
    if (q->in.lock && ours_bad(q)) {
        why = 3;
        if (may_lock(&r))
            return false;
    } else if (ours_bad(&r) != ours_bad(q) || r.in.op != q->in.op) {
        return false;
    }
    respelled[why].used++;
    return true;
}

static bool same_respelled(const struct pair *q, unsigned n)
{
    unsigned to32 = q->mode == 16 && (q->in.map || q->in.opcode == 0x90) ? TO_32 : 0;
    if (q->in.vex)
        return false;
    if (q->status != DECODE_OK && q->status != DECODE_UD)
        return false;
    return same_respelled_as(q, n, to32) || same_respelled_as(q, n, to32 | DROP_66) ||
           same_respelled_as(q, n, DROP_REX_W) || same_respelled_as(q, n, DROP_66 | DROP_REX_W);
}

static void compare(const u8 *bytes, unsigned n, unsigned mode)
{
    struct pair q;
    decode_both(&q, bytes, n, mode);
    compared++;
    if (same(&q) || explained(&q) || same_respelled(&q, n))
        return;
    report(&q);
}

static void open_capstone(void)
{
    static const cs_mode cs_modes[3] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(cs_open(CS_ARCH_X86, cs_modes[i], &handles[i]) == CS_ERR_OK);
        ck_assert(cs_open(CS_ARCH_X86, cs_modes[i], &detail_handle[i]) == CS_ERR_OK);
        cs_option(detail_handle[i], CS_OPT_DETAIL, CS_OPT_ON);
    }
    scratch = cs_malloc(handles[0]);
    compared = failures = 0;
}

static void close_capstone(void)
{
    cs_free(scratch, 1);
    for (unsigned i = 0; i < 3; i++) {
        cs_close(&handles[i]);
        cs_close(&detail_handle[i]);
    }
}

/* ---- enumeration ---- */

static const struct prefixes {
    u8 n, bytes[2];
} prefix_classes[] = {
    {0, {0}}, {1, {0x66}}, {1, {0xf3}}, {1, {0xf2}}, {2, {0x66, 0xf3}}, {2, {0x66, 0xf2}},
    {1, {0x67}}, {1, {0xf0}}, {1, {0x48}},
};

static void enumerate_opcode(unsigned mode, const struct prefixes *p, unsigned map, unsigned opcode)
{
    static const u8 escapes[4][2] = {{0}, {0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}};
    u8 b[32] = {0};
    unsigned n = 0, escape = map ? map == 1 ? 1 : 2 : 0;
    memcpy(b, p->bytes, p->n);
    n = p->n;
    memcpy(b + n, escapes[map], escape);
    n += escape;
    b[n++] = opcode;
    for (unsigned i = n + 1; i < sizeof(b); i++)
        b[i] = 0x24 + i;
    for (unsigned m = 0; m < 256; m++) {
        b[n] = m;
        compare(b, sizeof(b), mode);
    }
}

/* The byte strings of one VEX opcode in one map.  The two-byte form where it can say the same. */
static void enumerate_vex_opcode(unsigned mode, unsigned map, unsigned opcode, unsigned last)
{
    u8 b[32];
    unsigned n = 0;
    bool short_form = map == 1 && !(last & 0x80) && opcode & 1;
    b[n++] = short_form ? 0xc5 : 0xc4;
    if (!short_form)
        b[n++] = 0xe0 | map;
    b[n++] = last | (short_form ? 0x80 : 0);
    b[n++] = opcode;
    for (unsigned i = n + 1; i < sizeof(b); i++)
        b[i] = 0x24 + i;
    for (unsigned m = 0; m < 256; m++) {
        if ((m & 7) != 4 && (m & 7) != 1 && (m & 0xc7) != 5)
            continue; /* one register or base stands for all */
        b[n] = m;
        compare(b, sizeof(b), mode);
    }
}

static void enumerate_vex(unsigned mode)
{
    for (unsigned i = 0; i < 5 * 256; i++) {
        for (unsigned last = 0; last < 256; last++) {
            unsigned vvvv = last >> 3 & 15; /* inverted */
            if (vvvv == 15 || vvvv == 12)
                enumerate_vex_opcode(mode, i / 256, i % 256, last);
        }
    }
}

/* The prefixes that may not stand before VEX. */
static void enumerate_vex_prefixes(void)
{
    static const u8 prefixes[] = {0x66, 0xf2, 0xf3, 0xf0, 0x48, 0x67, 0x64};
    u8 b[32] = {0, 0xc5, 0xf0, 0x58, 0x01};
    for (unsigned i = 0; i < sizeof(prefixes); i++) {
        b[0] = prefixes[i];
        compare(b, sizeof(b), 64);
    }
}

START_TEST(enumerated)
{
    open_capstone();
    for (unsigned m = 0; m < 3; m++) {
        for (unsigned p = 0; p < ARRAY_SIZE(prefix_classes); p++) {
            if (modes[m] != 64 && prefix_classes[p].bytes[0] == 0x48)
                continue;
            for (unsigned i = 0; i < 4 * 256; i++)
                enumerate_opcode(modes[m], &prefix_classes[p], i / 256, i % 256);
        }
    }
    enumerate_vex(32);
    enumerate_vex(64);
    enumerate_vex_prefixes();
    printf("decode: %lu enumerated patterns compared with Capstone, %lu failures\n", compared,
           failures);
    for (unsigned i = 0; i < ARRAY_SIZE(exceptions); i++) {
        printf("  %8lu excepted: %s\n", exceptions[i].used, exceptions[i].why);
        ck_assert_msg(exceptions[i].used, "exception not needed: %s", exceptions[i].why);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(respelled); i++)
        printf("  %8lu respelled: %s\n", respelled[i].used, respelled[i].why);
    for (unsigned i = 0; i < ARRAY_SIZE(aliases); i++)
        ck_assert_msg(aliases[i].used, "alias not needed: %s", aliases[i].ours);
    close_capstone();
    ck_assert_uint_eq(failures, 0);
}
END_TEST

/* ---- random ---- */

static u64 random_state = 0x9e3779b97f4a7c15u;

/* xorshift64*, Vigna 2016: any fixed sequence would do. */
static u64 random_u64(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 0x2545f4914f6cdd1du;
}

/* Whatever decodes at length n must be TRUNCATED with fewer bytes and unchanged with more. */
static void check_truncation(const u8 *bytes, unsigned mode)
{
    struct insn whole, part;
    if (decode(&whole, bytes, 15, mode) != DECODE_OK)
        return;
    for (unsigned n = 0; n < whole.len; n++)
        ck_assert_int_eq(decode(&part, bytes, n, mode), DECODE_TRUNCATED);
    ck_assert_int_eq(decode(&part, bytes, whole.len, mode), DECODE_OK);
    ck_assert_uint_eq(part.len, whole.len);
}

START_TEST(random_strings)
{
    static const u8 starts[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x0f, 0x2e, 0x64, 0x48, 0x45, 0x0f};
    const char *env = getenv("DRAGOMAN_LONG");
    unsigned long count = env && !strcmp(env, "1") ? 10000000 : 1000000;
    open_capstone();
    for (unsigned long i = 0; i < count; i++) {
        u8 b[24];
        for (unsigned k = 0; k < sizeof(b); k += 8)
            store_le(b + k, random_u64(), 8);
        /* Half of the strings start with prefixes or an escape, to reach the larger maps. */
        u64 r = random_u64();
        for (unsigned k = 0; k < (r & 3) && r & 0x80; k++)
            b[k] = starts[(r >> (8 * k + 8)) % sizeof(starts)];
        compare(b, sizeof(b), modes[i % 3]);
        if (i % 16 < 3)
            check_truncation(b, modes[i % 3]);
    }
    printf("decode: %lu random strings compared with Capstone, %lu failures\n", compared, failures);
    close_capstone();
    ck_assert_uint_eq(failures, 0);
}
END_TEST

int main(void)
{
    /* A failing test's process ends without flushing. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    Suite *suite = suite_create("decode_capstone");
    TCase *tc = tcase_create("capstone");
    tcase_set_timeout(tc, 600);
    tcase_add_test(tc, enumerated);
    tcase_add_test(tc, random_strings);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}

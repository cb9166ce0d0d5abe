/* Prints sums over the results and flags of the software x87 for fixed pseudo-random operands: the
 * same on every host (test_cross.py compares).  test_x87_soft.c holds them against silicon.
 *
 * x87_values [ROUNDS]
 */
#include <stdio.h>
#include <stdlib.h>

#include "cpu/x87.h"

static u64 seed = 0x9e3779b97f4a7c15;

static u64 rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed * 0x9e3779b97f4a7c15ull;
}

static struct fpreg operand(void)
{
    u64 r = rnd();
    struct fpreg v = {.mant = rnd() | BIT64(63), .sexp = (u16)(0x3fff - 40 + r % 80)};
    if (r >> 8 & 1)
        v.mant &= ~(u64)0 << (r >> 9 & 63);
    if ((r >> 16 & 15) == 0)
        v = (struct fpreg){.mant = rnd(), .sexp = rnd() & 0x7fff};
    v.sexp |= (u16)(r >> 20 & 1) << 15;
    return v;
}

static void add(u64 *sum, u64 v)
{
    *sum = (*sum ^ v) * 0x100000001b3ull;
    *sum ^= *sum >> 29;
}

static void add_reg(u64 *sum, const struct fpreg *r, u16 sw)
{
    add(sum, r->mant);
    add(sum, (u64)r->sexp << 16 | sw);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 20000;
    u64 arith[X87_UCOM + 1] = {0}, unary[X87_COS + 1] = {0}, store[X87_BCD + 1] = {0}, load = 0;
    const struct x87_ops *x = &x87_soft_ops;
    for (unsigned n = 0; n < rounds; n++) {
        struct fpreg a = operand(), b = operand();
        u64 raw = rnd();
        u16 cw = (u16)(0x37f & ~(rnd() & 0x100)) | (u16)(rnd() & 0xc00);
        for (unsigned op = 0; op <= X87_UCOM; op++) {
            struct fpreg r = a;
            u16 sw = x->arith(op, cw, 0, &r, &b);
            add_reg(&arith[op], &r, sw);
            sw = x->arith_d(op == X87_UCOM ? X87_COM : op, cw, 0, &r, raw);
            add_reg(&arith[op], &r, sw);
        }
        for (unsigned op = X87_TST; op <= X87_COS; op++) {
            struct fpreg st[2] = {a, b};
            u16 sw = x->unary(op, cw, 0, st);
            add_reg(&unary[op], &st[0], sw);
            add_reg(&unary[op], &st[1], 0);
        }
        for (unsigned kind = 0; kind <= X87_BCD; kind++) {
            u8 out[10] = {0};
            u16 sw = x->store(kind, cw, 0, &a, out);
            add(&store[kind], load_le(out, 8));
            add(&store[kind], load_le(out + 8, 2) << 16 | sw);
        }
        struct fpreg r = b;
        u16 sw = x->load_s(cw, 0, &r, (u32)raw);
        add_reg(&load, &r, sw);
        sw = x->load_d(cw, 0, &r, raw);
        add_reg(&load, &r, sw);
    }
    for (unsigned i = 0; i <= X87_UCOM; i++)
        printf("arith %u %016llx\n", i, (unsigned long long)arith[i]);
    for (unsigned i = X87_TST; i <= X87_COS; i++)
        printf("unary %u %016llx\n", i, (unsigned long long)unary[i]);
    for (unsigned i = 0; i <= X87_BCD; i++)
        printf("store %u %016llx\n", i, (unsigned long long)store[i]);
    printf("load %016llx\n", (unsigned long long)load);
    return 0;
}

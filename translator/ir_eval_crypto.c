/* Portable meaning of the cryptographic rows of ir_vec.def: AES (FIPS 197), carry-less products,
 * SHA (FIPS 180-4) and GFNI, as SDM vol. 2 describes the instructions.
 *
 * For hosts without the instructions and for the portable engine; touches only its arguments.
 */
#include "translator/ir_eval_rows.h"

/* ---- GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 ---- */

static u8 gf_mul(u8 a, u8 b)
{
    u8 r = 0;
    for (; b; b >>= 1) {
        if (b & 1)
            r ^= a;
        a = (u8)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
    }
    return r;
}

/* a ^ 254; 0 stays 0. */
static u8 gf_inverse(u8 a)
{
    u8 r = 1;
    for (unsigned k = 0; k < 7; k++) {
        a = gf_mul(a, a);
        r = gf_mul(r, a);
    }
    return r;
}

/* The SDM's affine_byte: bit i of the result is the parity of x and byte 7 - i of the matrix. */
static u8 affine(u64 matrix, u8 x, u8 add)
{
    u8 r = 0;
    for (unsigned i = 0; i < 8; i++)
        r |= (u8)(__builtin_parity((matrix >> (56 - 8 * i) & 0xff) & x) << i);
    return r ^ add;
}

VEC_ROW(gfmul)
{
    union ir_value r;
    for (unsigned k = 0; k < 16; k++)
        r.b[k] = gf_mul(args[0]->b[k], args[1]->b[k]);
    *out = r;
}

VEC_ROW(gfaffine)
{
    bool inverse = in->op == IR_gfaffinv;
    union ir_value r;
    for (unsigned k = 0; k < 16; k++) {
        u8 x = args[0]->b[k];
        r.b[k] = affine(args[1]->q[k / 8], inverse ? gf_inverse(x) : x, (u8)in->imm);
    }
    *out = r;
}

/* ---- AES; the state's byte 4c + r is row r of column c ---- */

static const u8 sbox[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

/* S-box backwards: the affine map undone (rotations by 1, 3 and 6, and 05), then the inverse. */
static u8 inverse_sbox(u8 x)
{
    u8 y = (u8)((x << 1 | x >> 7) ^ (x << 3 | x >> 5) ^ (x << 6 | x >> 2) ^ 5);
    return gf_inverse(y);
}

/* Each column times the circulant matrix whose first row is m. */
static union ir_value mix_columns(const union ir_value *a, const u8 m[4])
{
    union ir_value r;
    for (unsigned k = 0; k < 16; k++) {
        u8 sum = 0;
        for (unsigned j = 0; j < 4; j++)
            sum ^= gf_mul(a->b[(k & ~3u) | j], m[(j - k) & 3]);
        r.b[k] = sum;
    }
    return r;
}

static const u8 mix[4] = {2, 3, 1, 1}, unmix[4] = {14, 11, 13, 9};

static union ir_value add_key(union ir_value a, const union ir_value *key)
{
    a.q[0] ^= key->q[0];
    a.q[1] ^= key->q[1];
    return a;
}

/* ShiftRows and SubBytes: row r moves r columns to the left. */
VEC_ROW(aesenc)
{
    union ir_value s;
    for (unsigned k = 0; k < 16; k++)
        s.b[k] = sbox[args[0]->b[(k + 4 * (k & 3)) & 15]];
    *out = add_key(in->op == IR_aesenc ? mix_columns(&s, mix) : s, args[1]);
}

VEC_ROW(aesdec)
{
    union ir_value s;
    for (unsigned k = 0; k < 16; k++)
        s.b[k] = inverse_sbox(args[0]->b[(k - 4 * (k & 3)) & 15]);
    *out = add_key(in->op == IR_aesdec ? mix_columns(&s, unmix) : s, args[1]);
}

VEC_ROW(aesimc)
{
    *out = mix_columns(args[0], unmix);
}

static u32 rol32(u32 v, unsigned n)
{
    return v << n | v >> (32 - n);
}

VEC_ROW(aeskeygen)
{
    union ir_value s, r;
    for (unsigned k = 0; k < 16; k++)
        s.b[k] = sbox[args[0]->b[k]];
    for (unsigned h = 0; h < 2; h++) {
        r.d[2 * h] = s.d[2 * h + 1];
        r.d[2 * h + 1] = rol32(s.d[2 * h + 1], 24) ^ (u32)(in->imm & 0xff);
    }
    *out = r;
}

/* ---- carry-less product ---- */

VEC_ROW(clmul)
{
    u64 a = args[0]->q[in->imm & 1], b = args[1]->q[in->imm >> 4 & 1];
    u128 p = 0;
    for (unsigned i = 0; i < 64; i++)
        if (b >> i & 1)
            p ^= (u128)a << i;
    *out = (union ir_value){{(u64)p, (u64)(p >> 64)}};
}

/* ---- SHA-1: the first word is the highest dword ---- */

static u32 sha1_f(unsigned kind, u32 b, u32 c, u32 d)
{
    switch (kind) {
    case 0: return (b & c) ^ (~b & d);
    case 2: return (b & c) ^ (b & d) ^ (c & d);
    default: return b ^ c ^ d;
    }
}

VEC_ROW(sha1rnds)
{
    static const u32 constant[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    unsigned kind = in->imm & 3;
    u32 a = args[0]->d[3], b = args[0]->d[2], c = args[0]->d[1], d = args[0]->d[0], e = 0;
    for (unsigned k = 0; k < 4; k++) { /* the first word has E added already (SHA1NEXTE) */
        u32 t = sha1_f(kind, b, c, d) + rol32(a, 5) + args[1]->d[3 - k] + e + constant[kind];
        e = d;
        d = c;
        c = rol32(b, 30);
        b = a;
        a = t;
    }
    *out = (union ir_value){.d = {d, c, b, a}};
}

VEC_ROW(sha1next)
{
    union ir_value r = *args[1];
    r.d[3] += rol32(args[0]->d[3], 30);
    *out = r;
}

VEC_ROW(sha1msg1)
{
    const u32 *a = args[0]->d, *b = args[1]->d;
    *out = (union ir_value){.d = {b[2] ^ a[0], b[3] ^ a[1], a[0] ^ a[2], a[1] ^ a[3]}};
}

VEC_ROW(sha1msg2)
{
    const u32 *a = args[0]->d, *b = args[1]->d;
    u32 w16 = rol32(a[3] ^ b[2], 1), w17 = rol32(a[2] ^ b[1], 1), w18 = rol32(a[1] ^ b[0], 1);
    *out = (union ir_value){.d = {rol32(a[0] ^ w16, 1), w18, w17, w16}};
}

/* ---- SHA-256: the first word is the lowest dword ---- */

static u32 ror32(u32 v, unsigned n)
{
    return v >> n | v << (32 - n);
}

static u32 sigma0(u32 v)
{
    return ror32(v, 7) ^ ror32(v, 18) ^ v >> 3;
}

static u32 sigma1(u32 v)
{
    return ror32(v, 17) ^ ror32(v, 19) ^ v >> 10;
}

VEC_ROW(sha256rnds)
{
    u32 a = args[1]->d[3], b = args[1]->d[2], c = args[0]->d[3], d = args[0]->d[2];
    u32 e = args[1]->d[1], f = args[1]->d[0], g = args[0]->d[1], h = args[0]->d[0];
    for (unsigned k = 0; k < 2; k++) {
        u32 t =
            h + (ror32(e, 6) ^ ror32(e, 11) ^ ror32(e, 25)) + ((e & f) ^ (~e & g)) + args[2]->d[k];
        u32 maj = (a & b) ^ (a & c) ^ (b & c);
        h = g;
        g = f;
        f = e;
        e = d + t;
        d = c;
        c = b;
        b = a;
        a = t + maj + (ror32(b, 2) ^ ror32(b, 13) ^ ror32(b, 22));
    }
    *out = (union ir_value){.d = {f, e, b, a}};
}

VEC_ROW(sha256msg1)
{
    const u32 *a = args[0]->d;
    union ir_value r;
    for (unsigned k = 0; k < 4; k++)
        r.d[k] = a[k] + sigma0(k < 3 ? a[k + 1] : args[1]->d[0]);
    *out = r;
}

VEC_ROW(sha256msg2)
{
    const u32 *a = args[0]->d, *b = args[1]->d;
    u32 w16 = a[0] + sigma1(b[2]), w17 = a[1] + sigma1(b[3]);
    *out = (union ir_value){.d = {w16, w17, a[2] + sigma1(w16), a[3] + sigma1(w17)}};
}

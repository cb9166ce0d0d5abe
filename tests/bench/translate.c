/* translate FILE [ROUNDS]: what the translator costs, without a guest.
 *
 * The executable sections of an x86-64 ELF file are laid into guest memory and translated from
 * front to back, block after block, the whole again and again with an empty cache; prints
 * nanoseconds of processor time per guest instruction for the first round, which touches all memory
 * for the first time, and for the best of the others; then what it costs to meet all that code again
 * at another address, where it is copied.  Repeatable, so `valgrind --tool=callgrind` counts
 * instructions exactly, built with a RAM_ARENA_SIZE (mmu/ram.h) of 4 GiB: valgrind has no room for
 * more.  Figures decide nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../unit/tiny_machine.h"
#include "translator/x64/x64_engine.h"

#include <elf.h> /* last: its names of segment flags are macros */

#define CODE_AT 0x200000u
#define CODE_MAX (TINY_RAM - CODE_AT)

static u64 cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (u64)t.tv_sec * NS_PER_SEC + (u64)t.tv_nsec;
}

/* Copies the executable segments of the file one behind the other; returns their bytes. */
static u64 load_code(const char *path, u8 *to)
{
    FILE *f = fopen(path, "rb");
    Elf64_Ehdr h;
    u64 bytes = 0;
    if (!f || fread(&h, sizeof h, 1, f) != 1 || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
        h.e_machine != EM_X86_64) {
        fprintf(stderr, "translate: %s is no x86-64 ELF file\n", path);
        exit(1);
    }
    for (unsigned i = 0; i < h.e_phnum; i++) {
        Elf64_Phdr p;
        fseek(f, (long)(h.e_phoff + i * sizeof p), SEEK_SET);
        if (fread(&p, sizeof p, 1, f) != 1 || p.p_type != PT_LOAD || !(p.p_flags & PF_X))
            continue;
        u64 n = p.p_filesz < CODE_MAX - bytes ? p.p_filesz : CODE_MAX - bytes;
        fseek(f, (long)p.p_offset, SEEK_SET);
        bytes += fread(to + bytes, 1, n, f);
    }
    fclose(f);
    return bytes;
}

/* Translates everything once, as code at `from`; nanoseconds per guest instruction. */
static double round_of(struct tiny *m, u64 bytes, u64 from)
{
    struct x64_engine *e = m->engine;
    struct x64_vcpu *v = vcpu_of(m->cpu);
    u64 before = e->counters.guest_insns + e->counters.reused_insns, start = cpu_ns();
    for (u64 at = from; at < from + bytes;) {
        m->cpu->rip = at;
        struct x64_block *b = x64_translate(v);
        at += b ? b->b.guest_bytes : 1;
        m->cpu->exc_vector = -1;
    }
    double ns = (double)(cpu_ns() - start);
    u64 insns = e->counters.guest_insns + e->counters.reused_insns - before;
    x64_lock_engine(v);
    x64_flush_all(e);
    x64_unlock_engine(v);
    return ns / (double)insns;
}

/* A machine with the code of `path`, mapped a second time at ALIAS. */
#define ALIAS 0x550000000000ull
static u64 begin(struct tiny *m, const char *path, u64 off)
{
    tiny_create_off(m, &accel_dbt, 0, off);
    struct x64_engine *e = m->engine;
    e->verify = false;
    u64 bytes = load_code(path, m->ram + CODE_AT);
    tiny_long(m, CODE_AT);
    u64 *pml4 = (u64 *)(m->ram + TINY_TABLES);
    pml4[0xaa] = pml4[0];
    x64_step_in(vcpu_of(m->cpu));
    return bytes;
}

/* What it costs to meet the code again. */
static void measure_moves(const char *path, unsigned rounds)
{
    struct tiny m;
    u64 bytes = begin(&m, path, 0);
    struct x64_engine *e = m.engine;
    round_of(&m, bytes, CODE_AT);
    double best = 1e9;
    u64 all = e->counters.guest_insns, again = 0;
    for (unsigned i = 0; i < rounds; i++) {
        u64 before = e->counters.guest_insns;
        double ns = round_of(&m, bytes, ALIAS + CODE_AT);
        best = ns < best ? ns : best;
        again = e->counters.guest_insns - before;
    }
    printf("met again elsewhere: %.0f ns an instruction at best, %.1f %% of them translated\n", best,
           100.0 * (double)again / (double)all);
    tiny_destroy(&m);
}

int main(int argc, char **argv)
{
    struct tiny m;
    if (argc < 2) {
        fprintf(stderr, "usage: translate ELF-FILE [ROUNDS]\n");
        return 2;
    }
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 10;
    u64 bytes = begin(&m, argv[1], BIT64(T_reuse));
    struct x64_engine *e = m.engine;
    double first = round_of(&m, bytes, CODE_AT), best = first;
    for (unsigned i = 1; i < rounds; i++) {
        double ns = round_of(&m, bytes, CODE_AT);
        best = ns < best ? ns : best;
    }
    printf("%llu guest instructions in %llu blocks a round, %.1f host bytes an instruction: "
           "%.0f ns an instruction at first, %.0f at best\n",
           (unsigned long long)(e->counters.guest_insns / rounds),
           (unsigned long long)(e->counters.blocks / rounds),
           (double)e->counters.host_bytes / (double)e->counters.guest_insns, first, best);
    tiny_destroy(&m);
    measure_moves(argv[1], rounds);
    return 0;
}

/* translate FILE [ROUNDS]: what the translator costs, without a guest.
 *
 * The executable sections of an x86-64 ELF file are laid into guest memory and translated from
 * front to back, block after block, the whole again and again with an empty cache; prints
 * nanoseconds of processor time per guest instruction for the first round, which touches all memory
 * for the first time, and for the best of the others.  Repeatable, so `valgrind --tool=callgrind`
 * counts instructions exactly, built with a RAM_ARENA_SIZE (mmu/ram.h) of 4 GiB: valgrind has no room
 * for more.  Figures decide nothing.
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

/* Translates everything once; nanoseconds per guest instruction. */
static double round_of(struct tiny *m, u64 bytes)
{
    struct x64_engine *e = m->engine;
    struct x64_vcpu *v = vcpu_of(m->cpu);
    u64 before = e->counters.guest_insns, start = cpu_ns();
    for (u64 at = CODE_AT; at < CODE_AT + bytes;) {
        m->cpu->rip = at;
        struct x64_block *b = x64_translate(v);
        at += b ? b->b.guest_bytes : 1;
        m->cpu->exc_vector = -1;
    }
    double ns = (double)(cpu_ns() - start);
    u64 insns = e->counters.guest_insns - before;
    x64_lock_engine(v);
    x64_flush_all(e);
    x64_unlock_engine(v);
    return ns / (double)insns;
}

int main(int argc, char **argv)
{
    struct tiny m;
    if (argc < 2) {
        fprintf(stderr, "usage: translate ELF-FILE [ROUNDS]\n");
        return 2;
    }
    unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 10;
    tiny_create(&m, &accel_dbt, 0);
    struct x64_engine *e = m.engine;
    e->verify = false;
    u64 bytes = load_code(argv[1], m.ram + CODE_AT);
    tiny_long(&m, CODE_AT);
    x64_step_in(vcpu_of(m.cpu));
    double first = round_of(&m, bytes), best = first;
    for (unsigned i = 1; i < rounds; i++) {
        double ns = round_of(&m, bytes);
        best = ns < best ? ns : best;
    }
    printf("%llu guest instructions in %llu blocks a round, %.1f host bytes an instruction: "
           "%.0f ns an instruction at first, %.0f at best\n",
           (unsigned long long)(e->counters.guest_insns / rounds),
           (unsigned long long)(e->counters.blocks / rounds),
           (double)e->counters.host_bytes / (double)e->counters.guest_insns, first, best);
    tiny_destroy(&m);
    return 0;
}

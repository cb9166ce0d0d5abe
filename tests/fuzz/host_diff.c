/* host_diff ENGINE CASES [OPT]: random programs on an engine and on the host processor.  CASES is
 * their number, with seed 1, or a time ("600s"), with a seed that is new each time.
 * The engine dbt-plain is dbt on a host that has only what dbt needs.
 *
 * OPT is a list as for -accel dbt,opt=, or "each": as many cases without each optimisation; or
 * "table=FILE": writes docs/coverage.md.
 *
 * DRAGOMAN_FUZZ_SEED    another seed (a number, or "time")
 * DRAGOMAN_FUZZ_SECONDS go on for so long
 * DRAGOMAN_FUZZ_CASE    only this case
 * DRAGOMAN_FUZZ_ROWS    only single instructions whose row's text begins with this ("v", "vp"...)
 * DRAGOMAN_FUZZ_FAILURES end after so many
 * DRAGOMAN_FUZZ_LOG     -d categories, for the last run of a failing case
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "compare.h"
#include "fuzz.h"
#include "native.h"
#include "translator/technique.h"

#define MAX_FAILURES 20u
#define RUNS 3u /* a program's blocks are found, then linked */

static u64 number_from(const char *name, u64 otherwise)
{
    const char *v = getenv(name);
    if (!v)
        return otherwise;
    return strcmp(v, "time") == 0 ? (u64)time(NULL) : strtoull(v, NULL, 0);
}

static struct guest *guest;
static const struct accel *accel;
static bool plain;
static u64 off; /* optimisations to do without */
static u32 seen[MODES][4096]; /* comparisons in which the row was carried out */
static u64 cases_run, engine_runs, skipped, insns, ends[32];

static struct { const struct program *p; u64 number, seed; } running;

/* An engine that gives up takes the process with it. */
static void say_where(void)
{
    if (!running.p)
        return;
    printf("---- case %llu of seed %llu on %s: the engine ended the program\n",
           (unsigned long long)running.number, (unsigned long long)running.seed, accel->name);
    program_print(running.p);
}

static void run_guest(const struct program *p, const struct state *in, struct state *out)
{
    native_alarm(3000);
    guest_run(guest, p, in, out);
    native_alarm(0);
    engine_runs++;
}

/* Whether the case fails; leaves the outcome of both sides. */
static const char *try_case(const struct program *p, const struct state *in, struct state *native,
                            struct state *engine)
{
    memset(native, 0, sizeof *native);
    native_alarm(2000);
    native_run(p, in, native);
    native_alarm(0);
    if (native->vector == END_TIMEOUT)
        return NULL;
    guest_load(guest, p);
    for (unsigned i = 0; i < RUNS; i++) {
        run_guest(p, in, engine);
        const char *what = difference(p, in, native, engine);
        if (what)
            return what;
    }
    return NULL;
}

static void renew(void)
{
    guest = guest_create(accel, plain, off); /* what crashed is not touched again */
}

static const char *try_fresh(const struct program *p, const struct state *in,
                             struct state *native, struct state *engine)
{
    renew();
    const char *what = try_case(p, in, native, engine);
    if (!what || engine->vector >= 0)
        guest_destroy(guest);
    return what;
}

/* ---- shrinking ---- */

static struct program smaller;
static struct state simpler, native_out, engine_out;

static const char *wanted; /* the kind of difference that is being shrunk */

static bool still_fails(void)
{
    unsigned where;
    if (!program_assemble(&smaller, &where))
        return false;
    const char *what = try_fresh(&smaller, &simpler, &native_out, &engine_out);
    return what && what == wanted;
}

static void shrink_program(struct program *p)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned i = p->count; i-- > 0 && p->count > 1;) {
            smaller = *p;
            program_drop(&smaller, i);
            if (still_fails()) {
                *p = smaller;
                again = true;
            }
        }
    }
}

/* Parts of the input that may be made plain, by number; false after the last. */
static bool make_plain(struct state *s, unsigned part)
{
    static const u8 plain_fx[] = {0x7f, 3, 0, 0, 0};
    if (part < 16 && part != RSP)
        s->gpr[part] = 0;
    else if (part == RSP)
        aim_register(s, RSP, SEG_SS, DATA_AT + 0x1800);
    else if (part == 16)
        s->flags = FL_FIXED | FL_IF;
    else if (part == 17)
        memcpy(s->fx, plain_fx, sizeof plain_fx);
    else if (part == 18)
        store_le(s->fx + FX_MXCSR, 0x1f80, 4);
    else if (part < 35)
        memset(s->fx + FX_XMM + 16 * (part - 19), 0, 16);
    else if (part < 43)
        memset(s->fx + FX_ST + 16 * (part - 35), 0, 16);
    else if (part == 43)
        memset(s->data, 0, sizeof s->data);
    else if (part == 44)
        memset(s->ymm, 0, sizeof s->ymm);
    else
        return false;
    return true;
}

static void shrink_input(struct state *in)
{
    for (unsigned part = 0;; part++) {
        simpler = *in;
        if (!make_plain(&simpler, part))
            break;
        if (memcmp(&simpler, in, sizeof simpler) != 0 && still_fails())
            *in = simpler;
    }
}

static void report(struct program *p, struct state *in, const char *what, u64 number, u64 seed)
{
    printf("---- case %llu of seed %llu on %s: %s\n", (unsigned long long)number,
           (unsigned long long)seed, accel->name, what);
    fflush(stdout);
    struct guest *keep = guest;
    wanted = what;
    smaller = *p;
    simpler = *in;
    if (still_fails()) {
        shrink_program(p);
        smaller = *p;
        shrink_input(in);
        smaller = *p;
        simpler = *in;
        char *bad = log_parse(getenv("DRAGOMAN_FUZZ_LOG") ? getenv("DRAGOMAN_FUZZ_LOG") : "",
                              &log_mask);
        free(bad);
        what = try_fresh(p, in, &native_out, &engine_out);
        log_mask = 0;
        printf("shrunk to %u items: %s\n", p->count, what ? what : "gone");
        print_case(p, in, &native_out, &engine_out);
    } else {
        guest = keep;
        what = try_case(p, in, &native_out, &engine_out);
        printf("not on a fresh machine; here again: %s\n", what ? what : "no");
        print_case(p, in, &native_out, &engine_out);
    }
    fflush(stdout);
    renew();
}

/* ---- cases ---- */

/* The same program with other values; pointers, counters and segments stay. */
static void vary(struct state *in)
{
    struct state *s = &simpler;
    u64 data = DATA_AT - state_base(in, SEG_DS), mask = state_mode(in) == 64 ? ~0ull : 0xffffffff;
    memcpy(s, in, sizeof *s);
    rnd_state(s);
    for (unsigned i = 0; i < 16; i++) {
        bool pointer = ((in->gpr[i] - data) & (mask >> (state_mode(in) == 16 ? 16 : 0))) < DATA_SIZE;
        if (i == RSP || pointer || in->gpr[i] < 12)
            s->gpr[i] = in->gpr[i];
        s->gpr[i] &= mask;
    }
    *in = *s;
}

static void count_rows(const struct program *p, unsigned mode)
{
    for (unsigned at = 0; at + 2 < p->size;) {
        struct insn in;
        if (decode(&in, p->code + at, 15, p->mode) != DECODE_OK)
            return;
        seen[mode][in.row->id]++;
        at += in.len;
    }
}

/* A row counts when its instruction has been carried out, or when it can only fault. */
static bool counts(const struct program *p, const struct state *in)
{
    struct insn i;
    u64 first = CODE_AT + p->offset;
    if (!p->single)
        return state_pc(&native_out) >= first + p->at[p->count];
    return state_pc(&native_out) != first ||
           (decode(&i, p->code, 15, p->mode) == DECODE_OK && gen_always_faults(i.row));
}

/* Returns what is wrong, or NULL. */
static const char *one_case(struct program *p, struct state *in, u64 number)
{
    static const u8 order[4] = {MODE64, MODE32, MODE64, MODE16};
    const u16 *rows;
    bool single = number & 1;
    unsigned mode = order[number / 2 % 4];
    if (mode == MODE16 && !gen_has_ldt)
        mode = MODE32;
    unsigned count = gen_rows(mode, &rows);
    const char *begin = getenv("DRAGOMAN_FUZZ_ROWS");
    if (begin) {
        unsigned k = below(count);
        single = true;
        for (unsigned n = 0; n < count && strncmp(gen_row_text(mode, rows[k]), begin, strlen(begin));
             n++)
            k = (k + 1) % count;
        if (!gen_single(p, in, mode, rows[k])) {
            skipped++;
            return NULL;
        }
    } else if (!single) {
        gen_sequence(p, in, mode);
    } else if (!gen_single(p, in, mode, rows[(number / 8 * (mode == MODE64 ? 2 : 1) +
                                              number / 4 % 2) % count])) {
        skipped++;
        return NULL;
    }
    if (one_in(8))
        guest_cold(guest);
    const char *what = try_case(p, in, &native_out, &engine_out);
    if (!what && !single) {
        vary(in);
        what = try_case(p, in, &native_out, &engine_out);
    }
    if (counts(p, in))
        count_rows(p, mode);
    insns += p->count;
    if (!single && native_out.vector >= 0 && native_out.vector < 32)
        ends[native_out.vector]++;
    return what;
}

/* Rows of the tables that the generator should have found but has not in any mode. */
static unsigned print_not_found(void)
{
    static bool found[ARRAY_SIZE(seen[0])];
    const struct opcode_row *const *all;
    unsigned total = decode_rows(&all), missing = 0;
    for (unsigned mode = 0; mode < MODES; mode++) {
        const u16 *rows;
        for (unsigned count = gen_rows(mode, &rows), k = 0; k < count; k++)
            found[rows[k]] = true;
    }
    for (unsigned i = 0; i < total; i++) {
        if (found[all[i]->id] || gen_why_not(all[i]))
            continue;
        printf("  not generated: %s\n", all[i]->text);
        missing++;
    }
    return missing;
}

/* Prints the rows that no comparison has exercised; returns their number. */
static unsigned print_coverage(void)
{
    const struct opcode_row *const *all;
    unsigned total = decode_rows(&all), missing = print_not_found();
    for (unsigned mode = 0; mode < MODES; mode++) {
        const u16 *rows;
        unsigned count = gen_rows(mode, &rows), done = 0;
        if (mode == MODE16 && !gen_has_ldt)
            continue;
        for (unsigned k = 0; k < count; k++)
            done += seen[mode][rows[k]] != 0;
        printf("%u-bit code: %u of %u user rows exercised, of %u rows in the tables\n",
               MODE_BITS(mode), done, count, total);
        for (unsigned k = 0; k < count; k++)
            if (!seen[mode][rows[k]])
                printf("  not exercised: %s\n", gen_row_text(mode, rows[k]));
        missing += count - done;
    }
    return missing;
}

/* ---- docs/coverage.md ---- */

static int by_text(const void *a, const void *b)
{
    const struct opcode_row *x = *(const struct opcode_row *const *)a;
    const struct opcode_row *y = *(const struct opcode_row *const *)b;
    int order = strcmp(x->text, y->text);
    return order ? order : x->id < y->id ? -1 : 1;
}

/* Names of the arithmetic flags that some row leaves undefined. */
static void print_flags(u16 flags)
{
    static const struct { u16 flag; const char *name; } names[] = {
        {FL_OF, "OF"}, {FL_SF, "SF"}, {FL_ZF, "ZF"}, {FL_AF, "AF"}, {FL_PF, "PF"}, {FL_CF, "CF"}};
    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (flags & names[i].flag)
            printf("%s%s", names[i].name, flags & (names[i].flag - 1) ? " " : "");
}

/* Prints one line for the rows from `first` on that are spelled alike; returns the next one. */
static unsigned print_table_line(const struct opcode_row *const *rows, unsigned first,
                                 unsigned total, bool compared)
{
    unsigned i = first;
    u64 cases[MODES] = {0}, sum = 0;
    u16 undefined = 0;
    const char *why = gen_why_not(rows[first]);
    for (; i < total && !strcmp(rows[i]->text, rows[first]->text); i++) {
        undefined |= rows[i]->flags_undefined;
        for (unsigned mode = 0; mode < MODES; mode++)
            cases[mode] += seen[mode][rows[i]->id];
    }
    for (unsigned mode = 0; mode < MODES; mode++)
        sum += cases[mode];
    if (compared && sum) {
        printf("| `%s` | %llu | %llu | %llu | ", rows[first]->text,
               (unsigned long long)cases[MODE16], (unsigned long long)cases[MODE32],
               (unsigned long long)cases[MODE64]);
        print_flags(undefined);
        printf(undefined ? " |\n" : "|\n");
    }
    if (!compared && !sum && !(rows[first]->props & ROW_PRIV))
        printf("| `%s` | %s |\n", rows[first]->text, why ? why : "not exercised");
    return i;
}

static void write_table(const char *path, u64 cases, u64 seed)
{
    if (!freopen(path, "w", stdout)) {
        perror(path);
        exit(2);
    }
    const struct opcode_row *const *all;
    unsigned total = decode_rows(&all);
    const struct opcode_row **rows = calloc(total, sizeof *rows);
    memcpy(rows, all, total * sizeof *rows);
    qsort(rows, total, sizeof *rows, by_text);
    printf("# User instructions compared with a processor\n\n"
           "Written by `build/tests/fuzz/host_diff %s %llu table=FILE` (seed %llu). How often each row of "
           "the\nopcode tables was carried out natively and on the engine with the same outcome, in "
           "16-, 32- and\n64-bit code; for a row that can only fault in a user program, how often "
           "the fault agreed. Every run of\n`fuzz_dbt` and `fuzz_interp` fails if a row has none. "
           "What only the system may execute is in\n[coverage-system.md](coverage-system.md).\n\n"
           "The last column has the flags that the manual leaves undefined, which are not compared; "
           "of shifts and\nrotates OF is, where an immediate count is 1.\n\n"
           "| row | 16 | 32 | 64 | flags left open |\n|---|---:|---:|---:|---|\n", accel->name,
           (unsigned long long)cases, (unsigned long long)seed);
    for (unsigned i = 0; i < total;)
        i = print_table_line(rows, i, total, true);
    printf("\nNot compared:\n\n| row | why |\n|---|---|\n");
    for (unsigned i = 0; i < total;)
        i = print_table_line(rows, i, total, false);
    free(rows);
}

/* Programs first..first + cases of the seed, or for some seconds; returns how many fail. */
static unsigned run_cases(u64 seed, u64 first, u64 cases, u64 seconds)
{
    static struct program p;
    static struct state in;
    time_t end = time(NULL) + (time_t)seconds;
    unsigned failures = 0, most = (unsigned)number_from("DRAGOMAN_FUZZ_FAILURES", MAX_FAILURES);
    u64 n = first;
    for (; seconds ? time(NULL) < end : n < first + cases; n++) {
        rnd_seed(seed * 1000003 + n);
        running.p = &p;
        running.number = n;
        running.seed = seed;
        const char *what = one_case(&p, &in, n);
        if (what)
            report(&p, &in, what, n, seed);
        if (what && ++failures == most)
            break;
    }
    running.p = NULL;
    cases_run = n - first;
    printf("%s: %llu cases of seed %llu, %llu items, %llu engine runs, %llu not made, %u failed\n",
           accel->name, (unsigned long long)(n - first), (unsigned long long)seed,
           (unsigned long long)insns, (unsigned long long)engine_runs, (unsigned long long)skipped,
           failures);
    return failures;
}

/* The cases without each optimisation in turn, a share of the time each. */
static unsigned run_each(u64 seed, u64 cases, u64 seconds)
{
    unsigned failures = 0;
    for (unsigned t = 0; t < T_COUNT; t++) {
        off = BIT64(t);
        guest_destroy(guest);
        renew();
        printf("without %s: ", techniques[t].name);
        failures += run_cases(seed + t, 0, cases, seconds ? seconds / T_COUNT + 1 : 0);
    }
    return failures;
}

static bool parse_off(const char *list)
{
    size_t len;
    const char *bad = technique_parse(list, &off, &len);
    if (bad)
        fprintf(stderr, "host_diff: no optimisation %.*s\n", (int)len, bad);
    return !bad;
}

int main(int argc, char **argv)
{
    bool each = argc == 4 && !strcmp(argv[3], "each");
    if (argc != 3 && argc != 4) {
        fprintf(stderr,
                "usage: host_diff dbt|dbt-plain|interp CASES|SECONDSs [OPT|each|table=FILE]\n");
        return 2;
    }
    plain = strcmp(argv[1], "dbt-plain") == 0;
    accel = strcmp(argv[1], "interp") == 0 ? &accel_interp : &accel_dbt;
    if (!accel->available() || !native_init(&gen_has_ldt))
        return 77; /* meson: skipped */
    const char *table = argc == 4 && !strncmp(argv[3], "table=", 6) ? argv[3] + 6 : NULL;
    if (argc == 4 && !each && !table && !parse_off(argv[3]))
        return 2;
    char *unit;
    u64 cases = strtoull(argv[2], &unit, 0), first = 0;
    bool timed = *unit == 's';
    u64 seconds = number_from("DRAGOMAN_FUZZ_SECONDS", timed ? cases : 0);
    u64 seed = number_from("DRAGOMAN_FUZZ_SEED", timed ? (u64)time(NULL) : 1);
    if (getenv("DRAGOMAN_FUZZ_CASE")) {
        first = number_from("DRAGOMAN_FUZZ_CASE", 0);
        cases = 1;
        seconds = 0;
    }
    atexit(say_where);
    rnd_seed(1);
    gen_init();
    renew();
    if (each)
        return run_each(seed, cases, seconds) ? 1 : 0;
    unsigned failures = run_cases(seed, first, cases, seconds);
    printf("sequences end with");
    for (unsigned v = 0; v < 32; v++)
        if (ends[v])
            printf(" %u: %llu", v, (unsigned long long)ends[v]);
    printf("\n");
    bool idle = plain && !guest_counter(guest, "vec_calls");
    if (idle)
        printf("no vector op was left to C\n");
    /* With another seed a row may have no luck in a short run. */
    bool all_rows = !getenv("DRAGOMAN_FUZZ_ROWS") && cases_run > (seed == 1 ? 60000 : 400000);
    unsigned missing = all_rows ? print_coverage() : 0;
    if (table && !failures && !missing)
        write_table(table, cases, seed);
    return failures || missing || idle ? 1 : 0;
}

/* host_diff ENGINE CASES [OPT]: random programs on an engine and on the host processor.  CASES is
 * their number, with seed 1, or a time ("600s"), with a seed that is new each time.
 * The engine dbt-plain is dbt on a host that has only what dbt needs.
 *
 * OPT is a list as for -accel dbt,opt=, or "each": as many cases without each optimisation.
 *
 * DRAGOMAN_FUZZ_SEED    another seed (a number, or "time")
 * DRAGOMAN_FUZZ_SECONDS go on for so long
 * DRAGOMAN_FUZZ_CASE    only this case
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

static struct guest *guest;
static const struct accel *accel;
static bool plain;
static u64 off; /* optimisations to do without */
static bool seen[4096];
static u64 engine_runs, skipped, insns, ends[32];

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
        s->gpr[RSP] = DATA_AT + 0x1800;
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

/* The same program with other values; pointers stay. */
static void vary(struct state *in)
{
    struct state *s = &simpler;
    rnd_state(s);
    for (unsigned i = 0; i < 16; i++)
        if (in->gpr[i] < DATA_AT + DATA_SIZE && (in->gpr[i] >= DATA_AT || i == R15))
            s->gpr[i] = in->gpr[i];
    s->gpr[RSP] = in->gpr[RSP];
    s->rip = in->rip;
    *in = *s;
}

/* Returns what is wrong, or NULL. */
static const char *one_case(struct program *p, struct state *in, u64 number)
{
    const u16 *rows;
    unsigned count = gen_rows(&rows);
    bool single = number & 1;
    if (!single) {
        gen_sequence(p, in);
    } else if (!gen_single(p, in, rows[number / 2 % count])) {
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
    /* A row counts when its instruction has been carried out. */
    if (single ? native_out.rip != in->rip : native_out.rip >= in->rip + p->at[p->count])
        gen_count(p, seen);
    insns += p->count;
    if (!single)
        ends[native_out.vector & 31]++;
    return what;
}

static unsigned print_coverage(void)
{
    const u16 *rows;
    const struct opcode_row *const *all;
    unsigned count = gen_rows(&rows), done = 0, total = decode_rows(&all);
    for (unsigned i = 0; i < count; i++)
        done += seen[rows[i]];
    printf("coverage: %u of %u rows of user programs\n", done, count);
    for (unsigned i = 0; i < total; i++)
        for (unsigned k = 0; k < count; k++)
            if (all[i]->id == rows[k] && !seen[rows[k]])
                printf("  not exercised: %s\n", all[i]->text);
    return count - done;
}

static u64 number_from(const char *name, u64 otherwise)
{
    const char *v = getenv(name);
    if (!v)
        return otherwise;
    return strcmp(v, "time") == 0 ? (u64)time(NULL) : strtoull(v, NULL, 0);
}

/* Programs first..first + cases of the seed, or for some seconds; returns how many fail. */
static unsigned run_cases(u64 seed, u64 first, u64 cases, u64 seconds)
{
    static struct program p;
    static struct state in;
    time_t end = time(NULL) + (time_t)seconds;
    unsigned failures = 0;
    u64 n = first;
    for (; seconds ? time(NULL) < end : n < first + cases; n++) {
        rnd_seed(seed * 1000003 + n);
        const char *what = one_case(&p, &in, n);
        if (what)
            report(&p, &in, what, n, seed);
        if (what && ++failures == MAX_FAILURES)
            break;
    }
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
        fprintf(stderr, "usage: host_diff dbt|dbt-plain|interp CASES|SECONDSs [OPT|each]\n");
        return 2;
    }
    plain = strcmp(argv[1], "dbt-plain") == 0;
    accel = strcmp(argv[1], "interp") == 0 ? &accel_interp : &accel_dbt;
    if (!accel->available() || !native_init())
        return 77; /* meson: skipped */
    if (argc == 4 && !each && !parse_off(argv[3]))
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
    unsigned missing = seconds || cases > 20000 ? print_coverage() : 0;
    return failures || missing || idle ? 1 : 0;
}

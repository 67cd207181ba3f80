/* demo_main.c - the demo: four acts in front of one database, or with --redis two of a fleet that shares one Redis, and a table
 * at the end.
 *
 * It ends with 0 only if every promise was kept, so it is a test as well (--quick makes it a short one). */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli_error.h"
#include "cli/human.h"
#include "cli/stopwatch.h"
#include "cli/trace.h"
#include "demo/demo.h"
#include "demo/shops.h"

struct act {
    const char *title;
    demo_act run;
};

static const struct act acts[] = {
    { "A busy shop", act_replay },
    { "A restart", act_restart },
    { "A stampede", act_stampede },
    { "An outage", act_outage },
};
static const struct act redis_acts[] = {
    { "A fleet", act_fleet },
    { "Redis stands still", act_redis_stops },
};
enum { ACTS = sizeof acts / sizeof acts[0], REDIS_ACTS = sizeof redis_acts / sizeof redis_acts[0] };

static char folder[512]; /* for the database and the disk layer; empty while there is none */
#define DISK "cache"     /* the latter's, in it */

void demo_say(const char *format, ...)
{
    va_list args;

    fputs("  ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

void demo_live(const struct demo *demo, const char *format, ...)
{
    static double shown;
    double now = stopwatch_now_s();
    va_list args;

    if (!demo->live || now - shown < 0.05)
        return;
    shown = now;
    fputs("\r\033[K    ", stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

void demo_live_end(const struct demo *demo)
{
    if (demo->live)
        fputs("\r\033[K", stdout);
}

void demo_promise(struct demo *demo, int kept, const char *format, ...)
{
    va_list args;

    printf("  %s ", kept ? "[kept]  " : "[BROKEN]");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    demo->promises++;
    demo->broken += !kept;
}

void demo_sleep_ms(unsigned ms)
{
    struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000L };

    while (ms != 0 && nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
}

/* The disk layer's directory, and what is in it.  Only calls that are safe in a handler. */
static void remove_disk(void)
{
    static const char *const files[] = { "lock",       "strata.dir",     "strata.dir.new",
                                         "index.snap", "index.snap.new", "segment.new" };
    enum { SEGMENTS_MOST = 2048, DIGITS = 16 }; /* each about 1 MB, in a budget of 128 MB */
    size_t i;

    if (folder[0] == '\0' || chdir(folder) != 0 || chdir(DISK) != 0)
        return;
    for (i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(files[i]);
    for (i = 1; i < SEGMENTS_MOST; i++) {
        char name[] = "0000000000000000.seg";
        size_t left = i, at;

        for (at = DIGITS; at-- > 0; left /= 16)
            name[at] = "0123456789abcdef"[left % 16];
        unlink(name);
    }
    if (chdir("..") == 0)
        rmdir(DISK);
}

/* ^C must not leave the database behind: only calls that are safe in a handler. */
static void interrupted(int number)
{
    static const char *const files[] = { "shop.db", "shop.db-wal", "shop.db-shm" };
    size_t i;

    remove_disk();
    if (chdir(folder) == 0)
        for (i = 0; i < sizeof files / sizeof files[0]; i++)
            unlink(files[i]);
    rmdir(folder);
    _exit(128 + number);
}

/* How many products the trace asks for. */
static int count_products(struct demo *demo, strata_error *err)
{
    struct trace_options options = { 0, 0 };
    struct trace_survey survey = { 0 };
    struct trace *trace;
    int status = trace_open(&trace, demo->trace, &options, 0, err);

    if (status == STRATA_OK)
        status = trace_survey(trace, &survey, NULL, err);
    trace_close(trace);
    demo->products = survey.unique;
    return status;
}

static int prepare(struct demo *demo, strata_error *err)
{
    const char *tmp = getenv("TMPDIR");
    char size[HUMAN_BYTES];
    int status = count_products(demo, err);

    if (status != STRATA_OK)
        return status;
    snprintf(folder, sizeof folder, "%s/strata-demo-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
    if (mkdtemp(folder) == NULL)
        return cli_fail(err, STRATA_EIO, "demo",
                        "no folder can be made in %.200s (%s): set TMPDIR to one with 150 MB of room",
                        tmp != NULL ? tmp : "/tmp", strerror(errno));
    snprintf(demo->disk, sizeof demo->disk, "%s/%s", folder, DISK);
    signal(SIGINT, interrupted);
    signal(SIGTERM, interrupted);
    demo->folder = folder;
    printf("\nstrata %s: a cache in front of a shop's database, in %d acts.\n", strata_version(),
           demo->shops != NULL ? (int)REDIS_ACTS : (int)ACTS);
    demo_say("Making a SQLite database of %s products in %s ...", human_count(size, demo->products), folder);
    return origin_open(&demo->origin, folder, demo->products, err);
}

static int perform(struct demo *demo, strata_error *err)
{
    const struct act *all = demo->shops != NULL ? redis_acts : acts;
    size_t i, count = demo->shops != NULL ? REDIS_ACTS : ACTS;
    int status = STRATA_OK;

    for (i = 0; status == STRATA_OK && i < count; i++) {
        printf(demo->live ? "\n\033[1m%d. %s\033[0m\n" : "\n%d. %s\n", (int)i + 1, all[i].title);
        status = all[i].run(demo, err);
    }
    return status;
}

/* 1: understood. */
static int take_words(struct demo *demo, struct shops *shops, int argc, char **argv)
{
    int i;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            demo->quick = 1;
        else if (strcmp(argv[i], "--redis") == 0)
            demo->shops = shops;
        else
            return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    static struct shops shops;
    struct demo demo = { .trace = STRATA_DEMO_TRACE };
    strata_error err = STRATA_ERROR_INIT;
    double began = stopwatch_now_s();
    int status;

    if (argc == 4 && strcmp(argv[1], "--shop") == 0) /* one of the fleet's processes: shops.h */
        return shop_process(argv[2], argv[3]);
    if (!take_words(&demo, &shops, argc, argv))
        return cli_usage("the demo takes no words but --redis and --quick");
    demo.live = isatty(STDOUT_FILENO) && !demo.quick;
    demo_table_begin(&demo);
    status = prepare(&demo, &err);
    if (status == STRATA_OK)
        status = perform(&demo, &err);
    if (status == STRATA_OK) {
        demo_table_end(&demo);
        printf("\n  %d of %d promises kept, in %.0f s.\n\n", demo.promises - demo.broken, demo.promises,
               stopwatch_now_s() - began);
    }
    shops_stop(&shops);
    origin_close(demo.origin);
    remove_disk();
    if (folder[0] != '\0')
        rmdir(folder);
    if (status != STRATA_OK) {
        cli_report(&err);
        return CLI_FAILED;
    }
    return demo.broken == 0 ? CLI_OK : CLI_FAILED;
}

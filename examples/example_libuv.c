/* example_libuv.c - strata in a libuv program: the loop watches the queue's descriptor, and the origin is asked on the loop, too.
 *
 * A hundred callers ask for ten cold keys.  The loader, which runs on a worker of strata's, only passes the load on to the loop and
 * answers "later"; there a timer stands for a database whose client is asynchronous.  Nobody waits, and ten loads run. */
#define _DEFAULT_SOURCE /* which uv.h wants, also with -std=c11 */
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <uv.h>

enum { CALLERS = 100, KEYS = 10, ORIGIN_MS = 5 };

/* A load on its way from a worker to the loop, and to the origin. */
struct request {
    struct request *next;
    strata_load *load;
    strata_slice key; /* as long as the load is not completed */
    uv_timer_t timer;
};

struct program {
    uv_loop_t loop;
    uv_poll_t completions; /* the queue has something */
    uv_async_t arrivals;   /* a worker has left requests */
    uv_mutex_t lock;
    struct request *arrived;
    strata *cache;
    strata_queue *queue;
    int served, failed, asked;
};

/* The origin, on the loop ---------------------------------------------------------------------------------------- */

static void forget_request(uv_handle_t *handle) { free(handle->data); }

static void origin_answers(uv_timer_t *timer)
{
    struct request *request = timer->data;
    char text[64];
    int size = snprintf(text, sizeof text, "contents of %.*s", (int)request->key.size, (const char *)request->key.data);
    strata_load_copy(request->load, text, (size_t)size);
    strata_load_unref(request->load);
    uv_close((uv_handle_t *)timer, forget_request);
}

static void ask_origin(uv_async_t *arrivals)
{
    struct program *program = arrivals->data;
    uv_mutex_lock(&program->lock);
    struct request *request = program->arrived;
    program->arrived = NULL;
    uv_mutex_unlock(&program->lock);
    while (request != NULL) {
        struct request *next = request->next;
        program->asked++;
        uv_timer_init(&program->loop, &request->timer);
        request->timer.data = request;
        uv_timer_start(&request->timer, origin_answers, ORIGIN_MS, 0);
        request = next;
    }
}

/* On a worker: the loop is told, and the load is completed later. */
static int load_page(strata_load *load, strata_slice key, void *ctx)
{
    struct program *program = ctx;
    struct request *request = malloc(sizeof *request);
    if (request == NULL)
        return STRATA_ENOMEM;
    request->load = strata_load_ref(load);
    request->key = key;
    uv_mutex_lock(&program->lock);
    request->next = program->arrived;
    program->arrived = request;
    uv_mutex_unlock(&program->lock);
    uv_async_send(&program->arrivals);
    return STRATA_PENDING;
}

/* The callers, on the loop ---------------------------------------------------------------------------------------- */

static void stop_watching(struct program *program)
{
    uv_close((uv_handle_t *)&program->completions, NULL);
    uv_close((uv_handle_t *)&program->arrivals, NULL);
}

/* Inside strata_queue_run(). */
static void on_page(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct program *program = ctx;
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", err->where, err->message);
        program->failed++;
    } else if (program->served++ == 0) {
        printf("the first: %.*s\n", (int)strata_value_size(value), (const char *)strata_value_data(value));
    }
    strata_value_unref(value);
    if (program->served + program->failed == CALLERS)
        stop_watching(program); /* nothing is left to do: uv_run() returns */
}

static void run_completions(uv_poll_t *poll, int status, int events)
{
    struct program *program = poll->data;
    (void)status, (void)events;
    strata_queue_run(program->queue, 0);
}

static int ask_for_pages(struct program *program, strata_error *err)
{
    int status = STRATA_PENDING;
    for (int i = 0; i < CALLERS && status == STRATA_PENDING; i++) {
        char key[32];
        snprintf(key, sizeof key, "page:%d", i % KEYS); /* copied by the call */
        status = strata_get_or_load_async(program->cache, strata_str(key), load_page, program, NULL, program->queue,
                                          on_page, program, err);
    }
    return status;
}

int main(void)
{
    static struct program program;
    strata_error err = STRATA_ERROR_INIT;
    uv_loop_init(&program.loop);
    uv_mutex_init(&program.lock);
    if (strata_open_url(&program.cache, "memory:?max_bytes=16mb", NULL, &err) < 0 ||
        strata_queue_open(&program.queue, &err) < 0) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 1;
    }
    uv_async_init(&program.loop, &program.arrivals, ask_origin);
    uv_poll_init(&program.loop, &program.completions, strata_queue_fd(program.queue));
    program.arrivals.data = program.completions.data = &program;
    uv_poll_start(&program.completions, UV_READABLE, run_completions);

    if (ask_for_pages(&program, &err) != STRATA_PENDING) {
        fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 1;
    }
    uv_run(&program.loop, UV_RUN_DEFAULT);
    printf("%d served, the origin was asked %d times\n", program.served, program.asked);

    strata_close(program.cache); /* the cache, then its queue, then the loop */
    strata_queue_close(program.queue);
    uv_mutex_destroy(&program.lock);
    return uv_loop_close(&program.loop) != 0 || program.served != CALLERS || program.asked != KEYS;
}

/* redis_sweep.c - see redis_sweep.h.
 *
 * With a list of bans the script knows what is older: the entry's position in that list is below the ban's, it was born before,
 * and it is of the life that stands beside the list.  In a Cluster, which has no list, each master's own clock decides: the moment
 * of the ban is put, no later than it was, on that clock.  Leases and tombstones stay, and so does what is not the layer's. */
#include "src/layer/redis/redis_sweep.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_page.h"
#include "src/policy/pattern.h"

enum { PREFIX = 1, PATTERN = 2, TAGS_ANY = 3, TAGS_ALL = 4 }; /* strata_ban_op.kind */
enum { TRIES_MOST = 60, AGAIN_LEAST_MS = 100, AGAIN_MOST_MS = 10000, OWED_LOOK_MS = 1000 };
/* The cache's clock is coarse, by as much at most. */
enum { CLOCK_LAGS_MS = 100 };

struct redis_walk {
    uint32_t kind;
    uint64_t position; /* 0: of a Cluster */
    int64_t at_ms;     /* the cache's clock, when it was issued */
    strata_slice path, text, tags;
    struct redis_page page;
    strata_slice match; /* of SCAN; NULL: not begun */
    uint32_t *nodes;
    size_t node_count, node;
    int64_t before_ms; /* on the clock of that node: what was born later stays; 0: not asked yet */
    uint32_t tries;
    unsigned char bytes[];
};

static int wants(const struct redis_layer *r, const strata_ban_op *ban)
{
    const int tags = ban->kind == TAGS_ANY || ban->kind == TAGS_ALL;
    if (ban->soft || r->options.sweep == STRATA_OFF || atomic_load(&r->life.scripts) == SCRIPTS_OFF)
        return 0;
    /* Nothing tells a Cluster's entries of one cache from another's, but for the prefix. */
    if (redis_is_cluster(r) && r->prefix.size == 0 && r->options.allow_clear_all != STRATA_ON)
        return 0;
    return !tags || (r->options.sweep_tags == STRATA_ON && ban->tag_count <= SWEEP_TAGS_MOST);
}

static unsigned char *copy(unsigned char *at, strata_slice from, strata_slice *out)
{
    if (from.size != 0)
        memcpy(at, from.data, from.size);
    *out = strata_bytes(at, from.size);
    return at + from.size;
}

static struct redis_walk *new_walk(struct redis_layer *r, const strata_ban_op *ban, uint64_t position)
{
    const int tags = ban->kind == TAGS_ANY || ban->kind == TAGS_ALL;
    size_t tag_bytes = tags ? ban->tag_count * sizeof(uint64_t) : 0;
    struct redis_walk *w = strata__alloc(r->mem, sizeof *w + ban->prefix.size + ban->text.size + tag_bytes);
    if (w == NULL)
        return NULL;
    memset(w, 0, sizeof *w);
    w->kind = ban->kind;
    w->position = position;
    w->at_ms = strata_host_now_ms(r->host);
    unsigned char *at = copy(copy(w->bytes, ban->prefix, &w->path), ban->text, &w->text);
    w->tags = strata_bytes(at, tag_bytes);
    for (size_t i = 0; i < tag_bytes / sizeof(uint64_t); i++)
        strata__le64_put(at + 8 * i, ban->tags[i]);
    w->page.r = r;
    w->page.cursor[0] = '0';
    return w;
}

static void free_walk(struct redis_layer *r, struct redis_walk *w)
{
    if (w == NULL)
        return;
    strata__free(r->mem, (void *)(uintptr_t)w->match.data);
    strata__free(r->mem, w->nodes);
    strata__free(r->mem, w);
}

void strata__redis_sweep_deinit(struct redis_layer *r)
{
    struct redis_sweep *s = &r->sweep;
    free_walk(r, s->walk);
    for (uint32_t i = 0; i < s->count; i++)
        free_walk(r, s->todo[i]);
    memset(s, 0, sizeof *s);
}

static int same(strata_slice a, strata_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static int says_the_same(const struct redis_walk *a, const struct redis_walk *b)
{
    return a->kind == b->kind && same(a->path, b->path) && same(a->text, b->text) && same(a->tags, b->tags);
}

void strata__redis_sweep_add(struct redis_layer *r, const strata_ban_op *ban, uint64_t position)
{
    struct redis_sweep *s = &r->sweep;
    struct redis_walk *w = wants(r, ban) ? new_walk(r, ban, position) : NULL;
    if (w == NULL)
        return;
    os_lock_take(&s->lock);
    int placed = 0;
    for (uint32_t i = 0; i < s->count && !placed; i++)
        if (says_the_same(s->todo[i], w)) {
            struct redis_walk *older = s->todo[i];
            s->todo[i] = w;
            w = older;
            placed = 1;
        }
    if (!placed && s->count < SWEEPS_MOST) {
        s->todo[s->count++] = w;
        w = NULL;
    }
    os_lock_give(&s->lock);
    free_walk(r, w); /* said again since, or one too many: its keys stay until their end */
}

/* One page --------------------------------------------------------------------------------------------------------- */

/* The plain key in a storage key: core/namespace.c. */
static strata_slice plain_of(strata_slice key)
{
    const unsigned char *p = key.data;
    size_t at = 1;
    if (key.size == 0 || p[0] != 0)
        return key;
    while (at < key.size && p[at] != 0)
        at += 1 + (size_t)p[at];
    return at < key.size ? strata_bytes(p + at + 1, key.size - at - 1) : strata_bytes("", 0);
}

static int begins(strata_slice key, strata_slice with)
{
    return key.size >= with.size && (with.size == 0 || memcmp(key.data, with.data, with.size) == 0);
}

static int concerns(const struct redis_walk *w, strata_slice key)
{
    if (!begins(key, w->path))
        return 0;
    strata_slice plain = plain_of(key);
    if (w->kind == PREFIX)
        return begins(plain, w->text);
    return w->kind != PATTERN || strata__pattern_matches(w->text, plain);
}

static void keep_matches(struct redis_layer *r, struct redis_walk *w)
{
    struct redis_page *p = &w->page;
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        strata_slice key = p->keys[i];
        if (key.size >= r->prefix.size &&
            concerns(w, strata_bytes((const char *)key.data + r->prefix.size, key.size - r->prefix.size)))
            p->keys[kept++] = key;
    }
    p->count = kept;
}

static int remove_matches(struct redis_layer *r, struct redis_walk *w)
{
    struct redis_page *p = &w->page;
    const int listed = w->position != 0;
    unsigned char position[8];
    char before[24];
    strata__le64_put(position, w->position);
    (void)snprintf(before, sizeof before, "%" PRId64, listed ? (int64_t)(w->position / 1000) : w->before_ms);
    const strata_slice words[] = { r->life_key,
                                   strata_str("sweep"),
                                   strata_str(""),
                                   strata_str(r->options.use_del == STRATA_ON ? "DEL" : "UNLINK"),
                                   strata_bytes(position, listed ? sizeof position : 0),
                                   strata_str(before),
                                   strata_str(w->kind == TAGS_ALL ? "all" : "any"),
                                   w->tags };
    const size_t count = sizeof words / sizeof words[0];
    int rc = STRATA_OK;
    p->command = "EVALSHA";
    p->number = 0;
    if (p->count == 0)
        return STRATA_OK;
    if (strata__redis_gathers(r->link))
        rc = strata__redis_page_script(p, 1, words, count);
    else
        rc = strata__redis_spread_remove(r, p->command, words + 1, count - 1, p->keys, p->count, &p->number, NULL);
    atomic_fetch_add_explicit(&r->sweep.swept, p->number, memory_order_relaxed);
    return rc;
}

static void time_came(struct redis_request *request)
{
    struct redis_page *p = (struct redis_page *)(void *)request;
    int64_t us = 0;
    p->rc = request->status;
    if (p->rc != STRATA_OK)
        return;
    p->number = strata__redis_time(request->reply, &us) ? (uint64_t)us : 0;
    if (p->number == 0)
        p->rc = strata__redis_no_answer(p->r, "TIME", request->reply, p->err);
}

/* When the ban was issued, by the clock of the node whose keys are looked at. */
static int ask_time(struct redis_layer *r, struct redis_walk *w)
{
    const strata_slice word = strata_str("TIME");
    int rc = strata__redis_page_call(&w->page, &word, 1, time_came);
    if (rc == STRATA_OK)
        w->before_ms = (int64_t)(w->page.number / 1000) - (strata_host_now_ms(r->host) - w->at_ms) - CLOCK_LAGS_MS;
    return rc;
}

static int begin(struct redis_layer *r, struct redis_walk *w)
{
    struct redis_spread *spread = strata__alloc(r->mem, sizeof *spread);
    char *first = strata__alloc(r->mem, w->text.size + 1);
    int rc = spread != NULL && first != NULL ? STRATA_OK : STRATA_ENOMEM;
    if (rc == STRATA_OK)
        rc = strata__redis_nodes(r->link, r->options.timeout_ms, spread->nodes, REDIS_SPREAD_MOST, &spread->count, NULL);
    if (rc == STRATA_OK) {
        size_t size = w->kind == PATTERN ? strata__pattern_prefix(w->text, first) : 0;
        w->node_count = spread->count < REDIS_SPREAD_MOST ? spread->count : REDIS_SPREAD_MOST;
        w->nodes = strata__alloc_array(r->mem, w->node_count, sizeof *w->nodes);
        if (w->nodes == NULL ||
            strata__redis_scan_pattern(r, w->path, w->kind == PREFIX ? w->text : strata_bytes(first, size),
                                       &w->match) == NULL)
            rc = STRATA_ENOMEM;
        else
            memcpy(w->nodes, spread->nodes, w->node_count * sizeof *w->nodes);
    }
    strata__free(r->mem, spread);
    strata__free(r->mem, first);
    return rc;
}

/* 1: that was the last one. */
static int go_on(struct redis_walk *w)
{
    if (strcmp(w->page.cursor, "0") != 0)
        return 0;
    w->before_ms = 0;
    return ++w->node >= w->node_count;
}

/* Its keys are removed before the walk moves on: what fails is done again.  STRATA_OK, with *over; < 0. */
static int sweep_page(struct redis_layer *r, struct redis_walk *w, int *over)
{
    char cursor[sizeof w->page.cursor];
    int rc = w->match.data == NULL ? begin(r, w) : STRATA_OK;
    *over = rc == STRATA_OK && w->node_count == 0;
    if (rc != STRATA_OK || *over)
        return rc;
    w->page.node = w->nodes[w->node];
    memcpy(cursor, w->page.cursor, sizeof cursor);
    if (w->position == 0 && w->before_ms == 0)
        rc = ask_time(r, w);
    if (rc == STRATA_OK) {
        rc = strata__redis_page_scan(&w->page, w->match, r->options.sweep_count);
        if (rc == STRATA_OK) {
            keep_matches(r, w);
            rc = remove_matches(r, w);
        }
        strata__free(r->mem, w->page.page);
        w->page.page = NULL;
    }
    if (rc != STRATA_OK)
        memcpy(w->page.cursor, cursor, sizeof cursor);
    *over = rc == STRATA_OK && go_on(w);
    return rc;
}

/* One after the other ---------------------------------------------------------------------------------------------- */

static struct redis_walk *next_walk(struct redis_sweep *s)
{
    os_lock_take(&s->lock);
    struct redis_walk *w = s->count != 0 ? s->todo[0] : NULL;
    if (w != NULL)
        memmove(s->todo, s->todo + 1, --s->count * sizeof s->todo[0]);
    os_lock_give(&s->lock);
    return w;
}

/* The server may be back soon: the walk goes on where it was.  0: it is given up. */
static int64_t pause_after(const struct redis_layer *r, struct redis_walk *w, int rc)
{
    int64_t pause = AGAIN_LEAST_MS;
    if (rc == STRATA_OK) {
        w->tries = 0;
        return r->options.sweep_pause_ms;
    }
    if (++w->tries > TRIES_MOST || (rc != STRATA_EIO && rc != STRATA_ETIMEDOUT && rc != STRATA_EBUSY))
        return 0;
    for (uint32_t i = 1; i < w->tries && pause < AGAIN_MOST_MS; i++)
        pause *= 2;
    return pause < AGAIN_MOST_MS ? pause : AGAIN_MOST_MS;
}

static void step(void *ctx);

static void stop(struct redis_sweep *s)
{
    os_lock_take(&s->lock);
    s->running = 0;
    os_lock_give(&s->lock);
}

static void step(void *ctx)
{
    struct redis_layer *r = ctx;
    struct redis_sweep *s = &r->sweep;
    int64_t pause = 0;
    int over = 1;
    if (s->walk == NULL)
        s->walk = next_walk(s);
    if (s->walk != NULL && !atomic_load(&r->host->closing)) {
        int rc = sweep_page(r, s->walk, &over);
        pause = pause_after(r, s->walk, rc);
        if (over || pause == 0) {
            free_walk(r, s->walk);
            s->walk = NULL;
            pause = r->options.sweep_pause_ms;
        }
    }
    if (pause != 0 && !atomic_load(&r->host->closing) && strata_host_after(r->host, pause, step, r) == STRATA_OK)
        return;
    stop(s); /* what is left, the next one begins with */
    os_lock_take(&s->lock);
    int left = s->count != 0;
    os_lock_give(&s->lock);
    if (left && !atomic_load(&r->host->closing))
        strata__redis_sweep_start(r);
}

void strata__redis_sweep_start(struct redis_layer *r)
{
    struct redis_sweep *s = &r->sweep;
    os_lock_take(&s->lock);
    int start = !s->running && s->count != 0;
    if (start)
        s->running = 1;
    os_lock_give(&s->lock);
    if (start && strata_host_after(r->host, r->options.sweep_pause_ms, step, r) < 0)
        stop(s);
}

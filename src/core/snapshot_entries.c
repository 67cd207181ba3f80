/* snapshot_entries.c - entries of a snapshot, into the layers.
 *
 * Each is put by the short way where that is open (snapshot_quick.c), or else is a read of its key: a flight, that nobody loads for,
 * and that finds the entry below all layers (snapshot_flight.c). */
#include "src/core/snapshot_import_impl.h"
#include "src/layer/entry_notes.h"

#define WHERE "snapshot"

static void nothing(void *ctx) { (void)ctx; }

static void begin_entry(struct import *m, struct entering *e, strata *handle, strata_slice key)
{
    struct want want = { .handle = handle, .policy = &handle->policy, .import = e->import };
    struct flight *f;
    struct waiter *w = &e->waiter;
    *w = (struct waiter){
        .handle = handle, .err = &e->words, .soft_at = INT64_MAX, .hard_at = INT64_MAX, .quiet = 1, .driver = &m->driver
    };
    key_mutex_lock(&m->driver.lock);
    m->driver.left++; /* before anybody can answer it */
    key_mutex_unlock(&m->driver.lock);
    switch (strata__flight_enter(&want, key, handle_hash(handle, key), w, &f, &e->words)) {
    case ENTERED_STARTED:
        strata__strand_help(&f->strand, &m->driver);
        strata__flight_run(&f->strand);
        break;
    case ENTERED_QUEUED: strata__queued_help(&want, w, &m->driver); break;
    case ENTERED_JOINED: strata__waiter_help(w, &m->driver); break;
    default: strata__driver_done(&m->driver, nothing, NULL);
    }
}

static void count_as(struct import *m, enum imported_as became, uint64_t bytes)
{
    strata_snapshot_report *r = &m->call.report;
    switch (became) {
    case IMPORTED_STORED:
        r->entries++;
        r->bytes += bytes;
        break;
    case IMPORTED_KEPT: r->kept++; break;
    case IMPORTED_BANNED: r->banned++; break;
    case IMPORTED_EXPIRED: r->expired++; break;
    case IMPORTED_JUDGED: r->refused++; break;
    default: r->failed++;
    }
}

static void count_entry(struct import *m, struct entering *e)
{
    enum imported_as became = (enum imported_as)atomic_load(&e->import->became);
    if (e->waiter.status < 0 && became != IMPORTED_STORED)
        became = IMPORTED_FAILED;
    count_as(m, became, e->bytes);
    if (became != IMPORTED_FAILED || m->worst != STRATA_OK)
        return;
    m->worst = e->waiter.status < 0 ? e->waiter.status : STRATA_ELAYER;
    if (m->call.err != NULL)
        *m->call.err = e->words;
    strata__fail_plain(m->call.err, m->worst, WHERE);
}

/* Wait for those that are on their way. */
static void finish_batch(struct import *m)
{
    for (;;) {
        key_mutex_lock(&m->driver.lock);
        size_t left = m->driver.left;
        key_mutex_unlock(&m->driver.lock);
        if (left == 0)
            break;
        strata__driver_step(&m->driver, INT64_MAX);
    }
    for (size_t i = 0; i < m->count; i++) {
        struct entering *e = &m->entering[i];
        strata__waiter_leave(&e->waiter, &m->driver);
        strata_value_unref(e->waiter.value);
        count_entry(m, e);
        strata__imported_unref(e->import);
    }
    m->count = 0;
}

/* A life's own clock and positions are believed as far as they can be true. */
static void distrust(const struct root *root, strata_meta *meta)
{
    meta->version = 0;
    meta->retry_at_ms = 0;
    if (meta->life == root->life &&
        (meta->born_ms > ex_now_ms(root->ex) || meta->position > atomic_load(&root->position)))
        meta->life = ~root->life;
    else if (meta->life == 0)
        meta->life = ~root->life;
}

static int is_too_old(const struct import *m, const struct envelope *e)
{
    int64_t age, most = m->call.options.max_age_ms;
    return most > 0 &&
           (__builtin_sub_overflow(m->call.begun_wall_ms, e->born_wall_ms, &age) ? e->born_wall_ms < 0 : age > most);
}

static struct imported *make_imported(struct import *m, const struct envelope *e)
{
    struct root *root = m->call.root;
    struct imported *im = strata__alloc_zero(root->mem, sizeof *im);
    if (im == NULL)
        return NULL;
    atomic_init(&im->refs, 1);
    im->mem = root->mem;
    strata__envelope_to_meta(&im->meta, e);
    distrust(root, &im->meta);
    if (!im->meta.negative)
        im->value = strata__value_copy(root->mem, e->payload.data, e->payload.size);
    im->tags = strata__entry_notes_unpack(root->mem, e);
    if (im->meta.negative || im->value != NULL)
        return im;
    strata__imported_unref(im);
    return NULL;
}

/* Is it one to put anywhere?  NULL: no, which is counted. */
static strata *place_of(struct import *m, const struct stream_entry *e, strata_slice *plain)
{
    strata_snapshot_report *r = &m->call.report;
    const struct root *root = m->call.root;
    strata *handle = NULL;
    int rc = strata__snapshot_space(&m->call, e->key, &handle, plain);
    if (rc < 0)
        return m->rc = rc, NULL;
    if (rc != STRATA_OK)
        return r->not_open++, NULL;
    if (!handle_within(handle, m->call.cache))
        return r->outside++, NULL;
    if (!key_fits(handle, *plain) || e->envelope.payload.size > root->options.max_value_bytes)
        return r->refused++, NULL;
    if (is_too_old(m, &e->envelope))
        return r->expired++, NULL;
    if (e->envelope.compression != COMPRESS_NONE || (e->envelope.flags & ENVELOPE_PROTECTED) ||
        (e->envelope.codec != 0 && (root->codec == NULL || root->codec->id != e->envelope.codec)))
        return r->failed++, NULL;
    return handle;
}

/* By a flight of its key; it stands at `at`. */
static int fly(struct import *m, const struct stream_entry *e, const uint8_t *at, strata *handle, strata_slice plain)
{
    if (m->is_half)
        return strata__half_leave(m, at) ? STRATA_OK : strata__import_no_memory(m);
    struct entering *into = &m->entering[m->count];
    *into = (struct entering){ .bytes = e->key.size + e->envelope.payload.size,
                               .import = make_imported(m, &e->envelope) };
    if (into->import == NULL)
        return strata__import_no_memory(m);
    m->count++;
    begin_entry(m, into, handle, plain);
    if (m->count == IMPORT_BATCH)
        finish_batch(m);
    return STRATA_OK;
}

/* Those that were gathered for the short way; who can't go it has a flight. */
static void put_quick(struct import *m)
{
    for (size_t i = 0; i < m->quick_count; i++) {
        struct quick_import *q = &m->quick[i];
        const uint8_t *at = q->at;
        struct stream_entry e;
        enum imported_as became = strata__import_quick(q);
        if (became != IMPORTED_NOT_YET)
            count_as(m, became, q->bytes);
        else if (strata__stream_entry_read(&e, &at, m->block_end) == FORMAT_OK) /* as before */
            fly(m, &e, q->at, q->handle, q->key);
        strata_value_unref(q->tags);
    }
    m->quick_count = 0;
}

static void gather(struct import *m, const struct stream_entry *e, const uint8_t *at, strata *handle, strata_slice plain)
{
    struct quick_import *q = &m->quick[m->quick_count++];
    q->handle = handle;
    q->key = plain;
    q->hash = handle_hash(handle, plain);
    q->bytes = e->key.size + e->envelope.payload.size;
    q->at = at;
    q->payload = e->envelope.payload;
    q->tags = strata__entry_notes_unpack(m->call.root->mem, &e->envelope);
    strata__envelope_to_meta(&q->meta, &e->envelope);
    distrust(m->call.root, &q->meta);
    strata__import_hint(q);
    if (m->quick_count == IMPORT_QUICK)
        put_quick(m);
}

/* It stands at `at`. */
static int take_entry(struct import *m, const struct stream_entry *e, const uint8_t *at)
{
    strata_slice plain;
    strata *handle = place_of(m, e, &plain);
    if (handle == NULL)
        return m->rc;
    uint64_t bytes = e->key.size + e->envelope.payload.size;
    const strata_snapshot_options *o = &m->call.options;
    if (o->max_bytes != 0 ||
        (o->max_entries != 0 && m->call.report.entries + m->count + m->quick_count >= o->max_entries)) {
        put_quick(m); /* which of those that are on their way get there? */
        finish_batch(m);
    }
    if (!strata__snapshot_room(&m->call, bytes)) {
        m->stop = 1;
        return STRATA_OK;
    }
    if (e->envelope.codec == 0 && strata__import_may_be_quick(handle))
        gather(m, e, at, handle, plain);
    else
        fly(m, e, at, handle, plain);
    return m->rc;
}

uint32_t strata__import_run(struct import *m, const uint8_t **at, uint32_t count)
{
    uint32_t taken = 0;
    for (; taken < count && m->rc == STRATA_OK && !m->stop; taken++) {
        struct stream_entry e;
        const uint8_t *begin = *at;
        int verdict = strata__stream_entry_read(&e, at, m->block_end);
        if (verdict == FORMAT_OK) {
            take_entry(m, &e, begin);
        } else if (verdict == FORMAT_NEWER) {
            m->call.report.failed++;
        } else if (m->is_half) {
            *at = begin; /* who has the whole says so */
            break;
        } else {
            strata__import_damaged(m, "an entry is none");
        }
    }
    put_quick(m);
    if (m->count != 0)
        finish_batch(m);
    return taken;
}

int strata__import_entries(struct import *m, const struct stream_block *block, const uint8_t *raw)
{
    const uint8_t *at = raw;
    m->block_end = raw + block->raw_size;
    uint32_t own = strata__half_offer(m, at, block->entries);
    (void)strata__import_run(m, &at, own);
    if (own != block->entries)
        strata__half_finish(m, &at);
    if (m->rc == STRATA_OK && !m->stop && at != m->block_end)
        strata__import_damaged(m, "something stands behind its entries");
    return m->rc;
}

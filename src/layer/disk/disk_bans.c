/* disk_bans.c - what clear() left: "everything with this prefix that is older than this place in the log is gone".
 *
 * A ban is a record, so opening again finds it; and an entry of a list of at most 64, which every get of something older
 * than the newest one looks through.  When the list is full, the two oldest become one with their common prefix, at the later
 * of their places: it may take more than was asked for, never less.  A ban whose segment is the oldest has nothing left to
 * ban. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"

int strata__bans_init(struct disk *d)
{
    int failed = strata__os_mutex_init(&d->bans.lock);
    if (failed != 0)
        return failed;
    failed = strata__os_mutex_init(&d->ban_lock);
    if (failed != 0)
        strata__os_mutex_deinit(&d->bans.lock);
    return failed;
}

static void free_prefix(struct disk *d, struct disk_ban *ban)
{
    strata__free(d->mem, (void *)(uintptr_t)ban->prefix.data);
}

void strata__bans_deinit(struct disk *d)
{
    for (uint32_t i = 0; i < d->bans.count; i++)
        free_prefix(d, &d->bans.list[i]);
    d->bans.count = 0;
    strata__os_mutex_deinit(&d->bans.lock);
    strata__os_mutex_deinit(&d->ban_lock);
}

static int has_prefix(strata_slice key, const struct disk_ban *ban)
{
    return ban->all || (key.size >= ban->prefix.size && memcmp(key.data, ban->prefix.data, ban->prefix.size) == 0);
}

int strata__bans_cover(struct disk *d, strata_slice key, uint64_t birth)
{
    struct bans *bans = &d->bans;
    int covered = 0;
    os_mutex_lock(&bans->lock);
    for (uint32_t i = bans->count; i-- > 0 && !covered && bans->list[i].place > birth;)
        covered = has_prefix(key, &bans->list[i]);
    os_mutex_unlock(&bans->lock);
    return covered;
}

int strata__bans_refuse_locked(const struct disk *d, strata_slice key, uint64_t life, uint32_t position)
{
    const struct bans *bans = &d->bans;
    for (uint32_t i = 0; i < bans->count; i++)
        if (bans->list[i].life == life && position < bans->list[i].position && has_prefix(key, &bans->list[i]))
            return 1;
    return 0;
}

/* The list ---------------------------------------------------------------------------------------------------- */

static void remove_at(struct bans *bans, uint32_t i)
{
    bans->count--;
    memmove(&bans->list[i], &bans->list[i + 1], (bans->count - i) * sizeof bans->list[0]);
}

/* `b` says all that `a` says. */
static int includes(const struct disk_ban *b, const struct disk_ban *a)
{
    return (b->all || (!a->all && has_prefix(a->prefix, b))) && b->place >= a->place &&
           (b->life == a->life ? b->position >= a->position : a->position == 0);
}

/* The two oldest become one.  Positions: those of the younger life count, of an older one no put is on its way. */
static void widen(struct disk *d)
{
    struct disk_ban *a = &d->bans.list[0], *b = &d->bans.list[1];
    const char *x = a->prefix.data, *y = b->prefix.data;
    size_t common = 0;
    while (common < a->prefix.size && common < b->prefix.size && x[common] == y[common])
        common++;
    b->prefix.size = common;
    if (a->all || common == 0) {
        b->all = 1;
        b->prefix.size = 0;
    }
    if (a->life == b->life && a->position > b->position)
        b->position = a->position;
    free_prefix(d, a);
    remove_at(&d->bans, 0);
}

/* Nothing is left that it could ban. */
static int is_idle(const struct disk *d, const struct disk_ban *ban)
{
    return d->log.oldest == NULL || strata__place_segment(ban->place) < d->log.oldest->number;
}

static void make_room(struct disk *d)
{
    struct bans *bans = &d->bans;
    if (is_idle(d, &bans->list[0])) {
        free_prefix(d, &bans->list[0]);
        remove_at(bans, 0);
    } else {
        widen(d);
    }
}

void strata__bans_insert_locked(struct disk *d, const struct disk_ban *ban)
{
    struct bans *bans = &d->bans;
    os_mutex_lock(&bans->lock);
    for (uint32_t i = bans->count; i-- > 0;)
        if (includes(ban, &bans->list[i])) {
            free_prefix(d, &bans->list[i]);
            remove_at(bans, i);
        }
    if (bans->count == BANS_MOST)
        make_room(d);
    uint32_t at = bans->count;
    while (at > 0 && bans->list[at - 1].place > ban->place)
        at--;
    memmove(&bans->list[at + 1], &bans->list[at], (bans->count - at) * sizeof *ban);
    bans->list[at] = *ban;
    bans->count++;
    bans->generation++;
    /* Release: who sees the place takes the lock and finds the ban. */
    atomic_store_explicit(&bans->newest, bans->list[bans->count - 1].place, memory_order_release);
    os_mutex_unlock(&bans->lock);
}

static char *copy_prefix(struct disk *d, strata_slice prefix)
{
    char *copy = strata__alloc(d->mem, prefix.size + 1);
    if (copy != NULL && prefix.size != 0)
        memcpy(copy, prefix.data, prefix.size);
    return copy;
}

int strata__bans_add(struct disk *d, const struct disk_ban *ban)
{
    struct disk_ban ours = *ban;
    ours.prefix.data = copy_prefix(d, ban->prefix);
    if (ours.prefix.data == NULL)
        return STRATA_ENOMEM;
    os_mutex_lock(&d->log.lock);
    strata__bans_insert_locked(d, &ours);
    os_mutex_unlock(&d->log.lock);
    return STRATA_OK;
}

/* Those of clears in this life stay as long as there is room for them: they refuse the puts that come too late. */
void strata__bans_retire(struct disk *d)
{
    struct bans *bans = &d->bans;
    os_mutex_lock(&d->log.lock);
    os_mutex_lock(&bans->lock);
    for (uint32_t i = bans->count; i-- > 0;)
        if (bans->list[i].life != bans->life && is_idle(d, &bans->list[i])) {
            free_prefix(d, &bans->list[i]);
            remove_at(bans, i);
        }
    if (bans->count == 0)
        atomic_store_explicit(&bans->newest, 0, memory_order_release);
    os_mutex_unlock(&bans->lock);
    os_mutex_unlock(&d->log.lock);
}

/* Clear ------------------------------------------------------------------------------------------------------- */

/* Its record, in the log and handed to the kernel.  STRATA_OK; anything else: it is not there. */
static int write_ban(struct disk *d, struct disk_ban *ban, strata_slice prefix)
{
    struct log_waiter waiter = { 0 };
    struct disk_record record = { .kind = RECORD_BAN, .expires_s = RECORD_NEVER, .key = prefix };
    struct append a = { .key = prefix, .ban = ban, .waiter = &waiter };
    int os_errno = 0, answer;
    record.body.size = RECORD_BAN_BODY;
    a.entry = (struct segment_entry){ strata__disk_hash(d, ban->prefix), 0,
                                      strata__record_size(ban->prefix.size, RECORD_BAN_BODY), RECORD_BAN,
                                      RECORD_NEVER };
    if (a.entry.size > d->log.buffer_bytes)
        return STRATA_AGAIN;
    while ((answer = strata__log_append(d, &a)) != APPEND_OK) {
        if (answer == APPEND_BUFFER_FULL && (os_errno = strata__log_drain(d, a.entry.size)) == 0)
            continue;
        if (answer == APPEND_SEGMENT_FULL && strata__disk_make_room(d, a.entry.size, &os_errno) == STRATA_OK)
            continue;
        if (os_errno != 0)
            disk_count(&d->errors); /* the clear goes another way */
        return STRATA_AGAIN;
    }
    /* `prefix` is the caller's: the list's own may be replaced by now. */
    if (prefix.size != 0)
        memcpy(a.bytes + RECORD_HEAD, prefix.data, prefix.size);
    strata__ban_write(a.bytes + RECORD_HEAD + prefix.size, ban);
    strata__record_seal(a.bytes, &record, d->dir.seed);
    strata__log_filled(d, &a);
    if (strata__log_wait(d, &waiter) == 0)
        return STRATA_OK;
    disk_count(&d->errors);
    return STRATA_AGAIN;
}

int strata__disk_clear(struct disk *d, const strata_clear_op *what, strata_error *err)
{
    struct disk_log *log = &d->log;
    struct disk_ban ban = { .life = what->life, .position = what->position, .all = what->all != 0 };
    if (!ban.all && what->prefix.size > RECORD_KEY_MAX)
        return STRATA_OK; /* no key that begins with it was ever stored, nor will be */
    char *prefix = copy_prefix(d, ban.all ? strata_bytes("", 0) : what->prefix);
    if (prefix == NULL)
        return strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory to note the clear: free some, and clear again");
    ban.prefix = strata_bytes(prefix, ban.all ? 0 : what->prefix.size);
    ban.all |= ban.prefix.size == 0;
    os_mutex_lock(&log->lock);
    d->bans.life = what->life;
    os_mutex_unlock(&log->lock);
    int written = write_ban(d, &ban, strata_bytes(what->prefix.data, ban.prefix.size)) == STRATA_OK;
    if (written && !ban.all)
        return STRATA_OK;
    if (written) {
        /* All of it goes at once: what the ban's own segment holds is forgotten, what is older is unlinked. */
        strata__disk_sweep(d, 0, ban.place);
        (void)strata__disk_drop_dead(d);
        return STRATA_OK;
    }
    /* The ban could not be written: better too much goes than too little. */
    (void)strata__log_flush(d);
    os_mutex_lock(&log->lock);
    uint64_t last = log->newest != NULL ? log->newest->number : 0;
    if (ban.place == 0) { /* in no list yet: what is being moved must not be moved past it */
        ban.place = strata__place(last + 1, 0);
        strata__bans_insert_locked(d, &ban);
    }
    os_mutex_unlock(&log->lock);
    int failed = strata__disk_drop_through(d, last);
    if (failed != 0) {
        atomic_store(&d->lost, 1);
        return strata__fail_os(
            err, STRATA_EIO, failed, d->base.name,
            "the clear could not be written to \"%s\", nor its files removed: the layer answers nothing "
            "any more; look at the disk, and empty the directory",
            d->options.path);
    }
    (void)strata__disk_drop_dead(d);
    return STRATA_OK;
}

/* kill_history.c - see kill_history.h. */
#include "tests/fault/kill_history.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct history *history_new(void)
{
    void *memory = mmap(NULL, sizeof(struct history), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

void history_free(struct history *h) { munmap(h, sizeof *h); }

void history_reset(struct history *h)
{
    uint32_t used = atomic_load(&h->writes) + 1;
    memset(h->write, 0, (used < HISTORY_WRITES ? used : HISTORY_WRITES) * sizeof h->write[0]);
    memset(h->key, 0, sizeof h->key);
    atomic_store(&h->writes, 0);
    atomic_store(&h->waited, 0);
    atomic_store(&h->steps, 0);
}

void history_fail(struct history *h, const char *format, ...)
{
    int none = 0;
    if (!atomic_compare_exchange_strong(&h->failed, &none, 1))
        return; /* the first one says it */
    va_list args;
    va_start(args, format);
    vsnprintf(h->words, sizeof h->words, format, args);
    va_end(args);
}

static uint64_t tick(struct history *h) { return atomic_fetch_add(&h->clock, 1) + 1; }

static void raise_to(_Atomic(uint64_t) *mark, uint64_t moment)
{
    uint64_t known = atomic_load(mark);
    while (known < moment && !atomic_compare_exchange_weak(mark, &known, moment))
        ;
}

static int concerns(const struct history_write *w, uint32_t key)
{
    if (w->kind == WRITE_CLEAR)
        return w->key == HISTORY_CLASSES || w->key == history_class(key);
    return w->key == key;
}

/* It is over: puts that began before may have been taken away by it. */
static void note_clear(struct history *h, const struct history_write *w, uint64_t end)
{
    for (uint32_t k = 0; k < HISTORY_KEYS; k++)
        if (concerns(w, k))
            raise_to(&h->key[k].cleared, end);
}

uint32_t history_begin(struct history *h, uint32_t kind, uint32_t key, uint32_t size)
{
    uint32_t number = atomic_fetch_add(&h->writes, 1) + 1;
    if (number >= HISTORY_WRITES)
        return 0;
    struct history_write *w = &h->write[number];
    w->kind = kind;
    w->key = key;
    w->size = size;
    atomic_store(&w->begin, tick(h));
    if (kind == WRITE_CLEAR)
        return number;
    uint32_t last = atomic_load(&h->key[key].last);
    do
        w->before = last;
    while (!atomic_compare_exchange_weak(&h->key[key].last, &last, number));
    return number;
}

void history_end(struct history *h, uint32_t number, uint32_t answer)
{
    struct history_write *w = &h->write[number];
    uint64_t begin = atomic_load(&w->begin);
    uint64_t end = tick(h);
    atomic_store(&w->answer, answer);
    if (w->kind == WRITE_CLEAR)
        note_clear(h, w, end);
    atomic_store(&w->end, end); /* last: a kill may come between */
    if (answer != WRITE_DONE)
        return;
    if (w->kind != WRITE_CLEAR) {
        raise_to(&h->key[w->key].floor, begin);
        return;
    }
    raise_to(&h->waited, begin);
    for (uint32_t k = 0; k < HISTORY_KEYS; k++)
        if (concerns(w, k))
            raise_to(&h->key[k].floor, begin);
}

/* Values -------------------------------------------------------------------------------------------------------- */

/* Half of them can be packed. */
static unsigned char byte_at(uint32_t key, uint32_t number, uint32_t i)
{
    if (number % 2 == 0)
        return (unsigned char)(number + i / 64);
    return (unsigned char)((key * 31 + number * 7 + i) * 2654435761u >> 11);
}

void history_fill(unsigned char *bytes, uint32_t size, uint32_t key, uint32_t number)
{
    const uint32_t stamp[4] = { key, number, size, 0x6b696c6c };
    for (uint32_t i = 0; i < size; i++)
        bytes[i] = byte_at(key, number, i);
    if (size >= HISTORY_STAMP)
        memcpy(bytes, stamp, sizeof stamp);
}

static int is_value_of(const struct history *h, uint32_t number, uint32_t key, const unsigned char *bytes, size_t size)
{
    const struct history_write *w = &h->write[number];
    if (w->kind != WRITE_PUT || w->key != key || w->size != size || atomic_load(&w->begin) == 0)
        return 0;
    for (uint32_t i = size >= HISTORY_STAMP ? HISTORY_STAMP : 0; i < size; i++)
        if (bytes[i] != byte_at(key, number, i))
            return 0;
    return 1;
}

/* May a reader that began with this floor see it? */
static int is_good(const struct history *h, uint32_t number, uint64_t floor)
{
    uint64_t end = atomic_load(&h->write[number].end);
    return end == 0 || end >= floor;
}

/* The write that the value is of; 0: of none.  Short ones carry no number: any that it can be. */
static uint32_t writer_of(struct history *h, uint32_t key, const unsigned char *bytes, size_t size, uint64_t floor)
{
    uint32_t stamp[4], other = 0;
    if (size >= HISTORY_STAMP) {
        memcpy(stamp, bytes, sizeof stamp);
        int known = stamp[0] == key && stamp[2] == size && stamp[1] > 0 && stamp[1] < HISTORY_WRITES;
        return known && is_value_of(h, stamp[1], key, bytes, size) ? stamp[1] : 0;
    }
    for (uint32_t n = atomic_load(&h->key[key].last); n != 0; n = h->write[n].before)
        if (is_value_of(h, n, key, bytes, size)) {
            if (is_good(h, n, floor))
                return n;
            other = n;
        }
    return other;
}

/* What raised a key's floor. */
static const char *superseder(const struct history *h, uint32_t key, uint64_t floor)
{
    static const char *const kinds[] = { "", "a put", "a remove", "a clear" };
    for (uint32_t n = 1; n < HISTORY_WRITES && atomic_load(&h->write[n].begin) != 0; n++)
        if (atomic_load(&h->write[n].begin) == floor)
            return kinds[h->write[n].kind];
    return h->key[key].missed == floor ? "a look after a death, which did not find it," : "a look after a death";
}

/* 1: the value may be there. */
static int judge(struct history *h, uint32_t key, const void *bytes, size_t size, uint64_t floor, const char *when)
{
    uint32_t n = writer_of(h, key, bytes, size, floor);
    if (n == 0)
        history_fail(h, "%s: key %u holds %zu bytes that were never written to it", when, key, size);
    else if (!is_good(h, n, floor))
        history_fail(h,
                     "%s: key %u holds version %u (%zu bytes, begun at %llu, returned at %llu), which %s that began at "
                     "%llu and has returned superseded",
                     when, key, n, size, (unsigned long long)atomic_load(&h->write[n].begin),
                     (unsigned long long)atomic_load(&h->write[n].end), superseder(h, key, floor),
                     (unsigned long long)floor);
    return n != 0 && is_good(h, n, floor);
}

uint64_t history_floor(struct history *h, uint32_t key) { return atomic_load(&h->key[key].floor); }

void history_check(struct history *h, uint32_t key, const void *bytes, size_t size, uint64_t floor)
{
    (void)judge(h, key, bytes, size, floor, "alive");
}

/* After a death ------------------------------------------------------------------------------------------------- */

void history_born(struct history *h)
{
    h->life_began = tick(h);
    atomic_store(&h->ready, 0);
    atomic_store(&h->closed, 0);
    atomic_store(&h->steps, 0);
    atomic_store(&h->shoot, 0);
}

void history_dead(struct history *h)
{
    uint64_t now = tick(h);
    uint32_t used = atomic_load(&h->writes) + 1;
    for (uint32_t n = 1; n < used && n < HISTORY_WRITES; n++)
        if (atomic_load(&h->write[n].end) == 0) {
            atomic_store(&h->write[n].end, now);
            if (h->write[n].kind == WRITE_CLEAR)
                note_clear(h, &h->write[n], now);
        }
}

void history_seen(struct history *h, uint32_t key, const void *bytes, size_t size)
{
    struct history_key *k = &h->key[key];
    uint64_t floor = atomic_load(&k->floor), now = tick(h);
    if (bytes == NULL) {
        k->missed = now;
        atomic_store(&k->floor, now);
        return;
    }
    if (!judge(h, key, bytes, size, floor, "opened again"))
        return;
    /* First that it stands, then that nothing else does: the process may be killed in between. */
    uint64_t later = tick(h);
    for (uint32_t n = atomic_load(&k->last); n != 0; n = h->write[n].before)
        if (is_good(h, n, floor) && is_value_of(h, n, key, bytes, size))
            atomic_store(&h->write[n].end, later);
    atomic_store(&k->floor, now);
}

/* It returned, and nothing came near it but what ended before it began. */
static int is_undisturbed(const struct history *h, const struct history_key *k, const struct history_write *w)
{
    uint64_t begin = atomic_load(&w->begin);
    if (w->kind != WRITE_PUT || atomic_load(&w->answer) != WRITE_DONE || atomic_load(&k->cleared) > begin)
        return 0;
    for (uint32_t n = w->before; n != 0; n = h->write[n].before)
        if (atomic_load(&h->write[n].end) > begin)
            return 0;
    return 1;
}

size_t history_sure(struct history *h, uint32_t key, uint64_t *out_end, int *out_replaced)
{
    const struct history_key *k = &h->key[key];
    uint32_t last = atomic_load(&k->last);
    const struct history_write *w = &h->write[last], *before = &h->write[w->before];
    *out_replaced = 0;
    if (last == 0 || !is_undisturbed(h, k, w) || atomic_load(&w->begin) < k->missed)
        return 0;
    *out_end = atomic_load(&w->end);
    *out_replaced = w->before != 0 && is_undisturbed(h, k, before) && atomic_load(&before->begin) > k->missed;
    return w->size + 1;
}

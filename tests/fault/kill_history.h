/* kill_history.h - what a process was about to do to a cache, and what had returned, in memory that survives its death.
 *
 * Every write has a number, which is the version its value carries, and two moments: when it began and when it returned.  A
 * clock that all share orders them.  A value is *superseded* once another write of its key (an overwrite, a delete, a clear)
 * began after it had returned, and has returned itself: each key keeps the latest such beginning, its floor.  A reader notes
 * the floor, reads, and must not be given what ended below it.  What was under way when the process died may be there, or not.
 *
 * After a death one process alone looks at every key.  What it sees is what there is: no other version of that key may be seen
 * from then on, and where it saw none, none. */
#ifndef STRATA_TESTS_KILL_HISTORY_H
#define STRATA_TESTS_KILL_HISTORY_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HISTORY_KEYS = 2048, HISTORY_CLASSES = 4, HISTORY_WRITES = 1 << 17, HISTORY_STAMP = 16 };

enum { WRITE_PUT = 1, WRITE_REMOVE = 2, WRITE_CLEAR = 3 };
enum { WRITE_DONE = 1, WRITE_REFUSED = 2 }; /* how it returned; 0: it has not */

struct history_write {
    _Atomic(uint64_t) begin, end; /* 0: not yet */
    uint32_t kind, key, size;
    _Atomic(uint32_t) answer;
    uint32_t before; /* the key's write before this one; 0 none */
};

struct history_key {
    _Atomic(uint64_t) floor;
    _Atomic(uint32_t) last;    /* the newest write of this key */
    _Atomic(uint64_t) cleared; /* when the last clear of its class returned, or died */
    uint64_t missed;           /* when it was last looked for after a death, and not there */
};

struct history {
    _Atomic(uint64_t) clock;
    _Atomic(uint32_t) writes;        /* numbers given away */
    _Atomic(uint64_t) steps;         /* of all kinds, gets too */
    _Atomic(uint64_t) waited;        /* the latest beginning of what returned and waits for all before it: clears */
    _Atomic(int) shoot;              /* now would be a good moment to kill */
    _Atomic(int) ready;              /* it is open */
    _Atomic(int) closed;             /* it was closed, and then died */
    _Atomic(int) failed;             /* `words` say why */
    uint64_t life_began;             /* when the process that died was started */
    uint64_t seen, lost, lost_bytes; /* keys looked for after a death: there; gone, though nothing took them away */
    char words[512];
    struct history_key key[HISTORY_KEYS];
    struct history_write write[HISTORY_WRITES];
};

/* Keys are of classes, which are cleared together. */
static inline uint32_t history_class(uint32_t key) { return key % HISTORY_CLASSES; }

/* In memory that children share; aborts where there is none. */
struct history *history_new(void);
void history_free(struct history *h);
/* A new directory: nothing was ever written. */
void history_reset(struct history *h);
void history_fail(struct history *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A write that is about to be made; `key` of a clear: its class, HISTORY_CLASSES for all.  Its number, 0: no more are kept. */
uint32_t history_begin(struct history *h, uint32_t kind, uint32_t key, uint32_t size);
void history_end(struct history *h, uint32_t number, uint32_t answer);
/* The value of a write. */
void history_fill(unsigned char *bytes, uint32_t size, uint32_t key, uint32_t number);

uint64_t history_floor(struct history *h, uint32_t key);
/* What a get that began with this floor was given; fails the history where it must not be. */
void history_check(struct history *h, uint32_t key, const void *bytes, size_t size, uint64_t floor);

/* A process starts. */
void history_born(struct history *h);
/* The process is dead: what it was about to do can no longer come. */
void history_dead(struct history *h);
/* The look at every key: `bytes` NULL where it is not there.  One thread. */
void history_seen(struct history *h, uint32_t key, const void *bytes, size_t size);
/* Before the look, where nothing leaves for want of room: the bytes of the key's value if it has returned and nothing else
 * can have taken it away, else 0.  *out_replaced: it took the place of another such value, so it had to wait for the disk. */
size_t history_sure(struct history *h, uint32_t key, uint64_t *out_end, int *out_replaced);

#endif /* STRATA_TESTS_KILL_HISTORY_H */

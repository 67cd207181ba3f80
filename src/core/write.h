/* write.h - sets, deletes and expires that have slower layers to visit (write.c). */
#ifndef STRATA_CORE_WRITE_H
#define STRATA_CORE_WRITE_H
#include "src/core/coherence.h"
#include "src/core/flight.h"

/* A set, delete or expire that has slower layers to visit (write.c). */
struct write {
    struct strand strand;
    struct busy busy; /* key lock */
    struct root *root;
    strata *handle;
    struct key_forms key;
    uint32_t kind;           /* STRATA_OP_PUT, _REMOVE; WRITE_EXPIRE */
    uint32_t told_as;        /* the same, as the caller meant it */
    unsigned char asked;     /* an operation is out */
    unsigned char got;       /* expire: the entry of this layer was read */
    unsigned char overtaken; /* expire: so often that entry was another one by the time it was put back */
    unsigned char refused;   /* the layer that demotes did not take it: the one below gets it at once */
    unsigned char told;      /* what failed was counted, and told to listeners as often as they are */
    unsigned char demotes;   /* this is what it evicted, on its way to the one below */
    unsigned char pending;   /* a layer forgot the key, and its store is yet to follow */
    unsigned char fails;     /* the layer whose turn it is has failed, */
    unsigned char passes;    /* or had no room */
    unsigned char took;      /* some layer has carried it out */
    unsigned char peer;     /* another node's: slow layers of this node alone lose the key, unless it is of `version` */
    unsigned char when;     /* a set's, for strata_set_if(): STRATA_IF_...; WHEN_STAMP; 0: whatever is there */
    unsigned char decided;  /* it is known what is there, */
    unsigned char compares; /* STRATA_OP_SAME or _NONE >> 7: and the store is to see to it that it still is, */
    unsigned char stops;    /* enum write_stop: and what comes of that */
    unsigned char unchanged; /* it has written nothing */
    unsigned char deciding;  /* it has written nothing yet, and may not: counted in root->deciding; key lock, */
    unsigned char disturbed; /* and a load of the key was stored since it began to look; key lock */
    unsigned char at;        /* the layer that is asked for it, where no store decides */
    unsigned char lost;      /* so often it was something else by the time of writing */
    strata_entry_version expected, compared; /* what the caller has read; what was read there now */
    strata_entry_version *out_version;       /* the caller's, or NULL */
    unsigned char behind;                    /* it is a note's (behind.h), */
    unsigned char overlaid;               /* and memory keeps what a later set of this node has put there; key lock */
    unsigned char queued;                 /* such a note stands for it: it is not to be run */
    unsigned char replaced;               /* one has ended for it */
    int64_t behind_ms;                    /* a set's policy's write_behind_ms */
    uint64_t based;                       /* of a note: what has a greater version in a store stays there, */
    uint32_t based_life;                  /* and all that is of another life than this; 0 any; key lock, both */
    unsigned char unadmitted;             /* memory holds nothing of the key, and was not to take it */
    unsigned char publishes;              /* all layers are through, and buses are being told */
    unsigned char unpublished;            /* a bus is yet to hear of it */
    unsigned char superseded;             /* another node wrote the key meanwhile: nothing is held here any more, */
    uint64_t superseded_by;               /* unless it is that version; 0 none; key lock, both */
    uint32_t pending_at;                  /* the last layer that is pending */
    uint32_t done_layers, end, told_life; /* the last: whose told_version is */
    strata_value *value;                  /* a set's: borrowed; an expire's: what the layer gave */
    strata_value *tags;                   /* the same of its tags */
    strata_value *encoded;
    strata_meta meta;
    int32_t admit, resident;          /* a set's policy's */
    int64_t layer_ttls[LAYERS_MAX];   /* a set's: held no longer there; 0: as the layer says */
    uint64_t told_version;            /* what others are told of: the last store's */
    struct change change;             /* a peer's */
    uint64_t version, version_before; /* what a shared store gave it, and, of an expire, gave what it had; 0: none */
    int found;                        /* expire: some layer had it */
    int status;
    strata_error err;
    strata_op op;
    strata_error op_err;
    struct outgoing outgoing;
    void (*over)(struct write *write); /* the last touch */
    struct driver *driver;             /* blocking */
    unsigned char *storage;            /* memory of key.storage */
    int finished;                      /* blocking: the driver's lock */
};

enum { WRITE_EXPIRE = 100, WRITE_STAMP = 101, WRITE_SLIDE = 102 };
enum { WHEN_STAMP = 100 };
enum write_stop {
    STOP_NOT,
    STOP_HERE,   /* layers stay as they are */
    STOP_FORGETS /* what this node holds itself is out of date */
};

static inline struct write *write_of_busy(struct busy *b)
{
    return (struct write *)(void *)((char *)b - offsetof(struct write, busy));
}
void strata__write_begin(struct write *w, strata *cache, uint32_t kind);
/* The same for a set: policy checked, meta made.  The value is the caller's to put in. */
int strata__write_prepare_set(struct write *w, strata *cache, strata_slice key, const strata_policy *policy,
                              strata_error *err);
/* Of many keys what all have in common; then, for each one's copy of it, what is decided for each entry anew. */
int strata__write_prepare_sets(struct write *w, strata *cache, const strata_policy *policy, strata_policy *resolved,
                               strata_error *err);
void strata__write_draw(struct write *w, const strata_policy *resolved, strata_slice key);
/* Tags as a caller gives them. */
struct strata_tags {
    const strata_slice *list;
    size_t count;
};
/* A set's, which the caller gives back: w->tags.  NULL: none.  STRATA_EINVAL, STRATA_ENOMEM. */
int strata__write_tag(struct write *w, const struct strata_tags *tags, strata_error *err);
/* Carry out what was prepared, and wait for it. */
int strata__write_blocking(struct write *w, strata_slice key, strata_error *err);
/* What an item of set_many sets, bytes or an object, which is taken. */
int strata__item_value(strata *cache, strata_item *item, strata_value **out, strata_error *err);
/* Free the objects of items that nobody has taken. */
void strata__item_objects_drop(const strata *cache, strata_item *items, size_t count);
/* With other nodes (write_publish.c).  The stores have it: tell them.  1: nothing to wait for; 0: the strand goes on when buses have
 * answered. */
int strata__write_publish(struct write *w);
/* Another node wrote the key since this one began: what it wrote is in the store, or will be, and ours may not be.  Key lock; or
 * not. */
int strata__write_superseded_locked(const struct write *w, const struct layer_slot *slot);
int strata__write_superseded(struct write *w, const struct layer_slot *slot);
/* What w->op was answered (write_outcome.c). */
void strata__write_note(struct write *w, struct layer_slot *slot);
/* The layer whose turn it was is through with it. */
void strata__write_layer_over(struct write *w);
/* All layers are.  1: once more, to take back what was set. */
int strata__write_takes_back(struct write *w);
/* Enter the table.  1: run it now; 0: what it waits for will wake it. */
int strata__write_enter(struct write *w);
void strata__write_run(struct strand *strand);
/* All layers are instant: enter, write and leave in one go. */
void strata__write_instant(struct write *w);
/* Take it out of the table again, not begun. */
void strata__write_withdraw(struct write *w);
/* Many blocking writes at once, begun in order; their keys must have been made (strata__write_key). */
void strata__writes_drive(struct root *root, struct write *writes, size_t count);
/* Does any layer of this cache take its time? */
static inline int all_layers_instant(const struct root *root)
{
    return root->instant_count == root->layer_count && root->coherence == NULL; /* a bus takes its time, too */
}
/* One operation of a write (write.c): in w->op, for this layer. */
void strata__write_op(struct write *w, struct layer_slot *slot, uint32_t kind);
/* Submit it to a slow layer.  1: answered at once; 0: somebody else goes on. */
int strata__write_submit(struct write *w, struct layer_slot *slot);
/* The same for a put: what can't be encoded can't be put; but what it replaces must go. */
int strata__write_put(struct write *w, struct layer_slot *slot, uint32_t kind);
/* The entry that w->op has found, as what is to be put instead; 0: there is none.  Takes op.found (write_expire.c). */
int strata__write_take(struct write *w, struct layer_slot *slot, struct held *held);
/* An expire in an instant layer; in a slow one that has answered, and that was overtaken: 1: it is done there; 0: it is asked again, and
 * has not answered; 2: ... and has. */
void strata__expire_now_locked(struct write *w, struct layer_slot *slot);
int strata__expire_answered(struct write *w, struct layer_slot *slot);
int strata__expire_again(struct write *w, struct layer_slot *slot);
/* A set's or an expire's bytes for a layer that holds no objects.  NULL: they can't be made, as w->status says. */
strata_value *strata__write_bytes(struct write *w);
/* A set that depends on what is there (write_if.c).  1: it is decided; 0: somebody else goes on. */
int strata__write_decide(struct write *w);
/* From here on until it knows, loads of the key go on, and tell it when they store.  Key lock. */
void strata__write_look_locked(struct write *w);
void strata__write_looked_locked(struct write *w);
void strata__write_decide_locked(struct write *w); /* all layers are instant */
/* Is this the store that compares?  Then w->op, a put, is told with what; and has answered.  0: it is to be decided anew. */
int strata__write_decides(const struct write *w, const struct layer_slot *slot);
void strata__write_compare(struct write *w);
int strata__write_compared(struct write *w);
/* Prepare one: after strata__write_prepare_set().  STRATA_EINVAL, STRATA_EUNSUPPORTED. */
int strata__write_when(struct write *w, const strata_condition *only, strata_entry_version *out_version,
                       strata_error *err);
/* What strata_set_if() adds to a set. */
struct set_only {
    const strata_condition *condition;
    strata_entry_version *out_version;
};
/* A set of bytes, inside. */
int strata__set_entered(strata *cache, strata_slice key, strata_slice value, const strata_policy *policy,
                        const struct strata_tags *tags, const struct set_only *only, strata_error *err);
/* Of one without a store: a version of this cache's own. */
strata_entry_version strata__stamp_new(struct root *root);
uint32_t strata__stamp_life(const struct root *root); /* its life */
int strata__write_result(struct write *w);            /* counts it, tells it; its status */
/* Of a bulk call: what it answers after one more of its keys. */
static inline int first_error(int so_far, int status) { return so_far < 0 ? so_far : status < 0 ? status : so_far; }
int strata__value_fits(const struct root *root, size_t size, strata_error *err);

/* A caller's bytes as a value for the length of one submit().  The zeros stand where a pin has its address. */
struct lent_value {
    struct strata_value base;
    uint64_t zeros[8];
};
void strata__keep_nothing(struct strata_value *value);

#endif /* STRATA_CORE_WRITE_H */

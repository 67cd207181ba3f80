/* bus_message.h - what nodes tell each other: a header, and items that a reader obeys one after the other.
 *
 *   | magic 1 | version 1 | flags 1 | header size 1 | channel 8 | sender 16 | sequence 8 | store life 8, if flagged |
 *   | item: kind 1 | size, varint | body ... | ... | checksum 4 | HMAC 32, if flagged |
 *
 * A newer writer may make the header or the body of an item longer: a reader takes what it knows, and passes over the rest.  A kind that
 * it does not know it passes over too; below BUS_ITEM_SPARE it counts that in `unknown`: something was to be obeyed and was not.
 * What has no right checksum is damaged; what has no HMAC of the reader's secret is forged.  A message is looked through as a whole
 * before any item is handed out, so none is obeyed by half.  Pure: nothing is allocated, slices point into the bytes. */
#ifndef STRATA_FORMAT_BUS_MESSAGE_H
#define STRATA_FORMAT_BUS_MESSAGE_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/le.h"
#include "src/format/verdict.h"
#include "strata/base.h"

enum { BUS_MESSAGE_MAGIC = 0xCE, BUS_MESSAGE_VERSION = 1, BUS_NODE_ID = 16 };

enum { /* header (with a life), checksum and HMAC: a message's room is never less */
       BUS_MESSAGE_FRAME = 44 + 4 + 32
};

/* A verdict beside those of verdict.h: no HMAC of the secret that the reader has. */
enum { BUS_MESSAGE_FORGED = 16 };

enum bus_item_kind {
    BUS_ITEM_HELLO = 1, /* the sender is here; nothing else is said */
    BUS_ITEM_GOODBYE,   /* this was its last message */
    BUS_ITEM_HEARTBEAT, /* sent_ms */
    BUS_ITEM_ACK,       /* peer, sent_ms, number */
    BUS_ITEM_DELETE,    /* version, key, store_life */
    BUS_ITEM_EXPIRE,    /* version, key, store_life */
    BUS_ITEM_SET,       /* version, key, store_life: it was replaced; what you hold is old */
    BUS_ITEM_VALUE, /* version, key, envelope, store_life: it was replaced by this, whose born_ms is its age when it was sent */
    BUS_ITEM_CLEAR,       /* version, key: a namespace, all */
    BUS_ITEM_BAN,         /* ban, soft, version, key: a namespace, text or tags */
    BUS_ITEM_SPARE = 128, /* kinds from here on may be passed over by who does not know them */
};

enum bus_ban_kind { BUS_BAN_PREFIX = 1, BUS_BAN_PATTERN, BUS_BAN_TAGS_ANY, BUS_BAN_TAGS_ALL };

struct bus_item {
    uint8_t kind;
    uint8_t ban;               /* enum bus_ban_kind */
    uint8_t soft;              /* BAN: 0 or 1 */
    uint8_t all;               /* CLEAR: 1 everything below the namespace, too; `key` empty: of the whole cache */
    uint8_t peer[BUS_NODE_ID]; /* ACK: of whom */
    int64_t sent_ms;  /* HEARTBEAT: the sender's clock; ACK: that of the peer's latest heartbeat that came in */
    uint64_t number;  /* ACK: the highest sequence of the peer's up to which none is missing */
    uint64_t version; /* of the key in the shared store, of the ban or clear its position there; 0 none */
    uint32_t
        store_life; /* of a key: which life of that store has counted it, as strata_meta.store_life; 0: it is not said */
    strata_slice key;            /* storage key; CLEAR, BAN: the storage prefix of the namespace */
    strata_slice envelope;       /* VALUE: an envelope and its payload */
    strata_slice text;           /* BAN_PREFIX, _PATTERN */
    uint32_t tag_count;          /* BAN_TAGS_... */
    const uint64_t *tags;        /* writing */
    const uint8_t *tags_encoded; /* reading: for strata__bus_item_tag() */
};

struct bus_message {
    uint64_t channel;            /* whose it is: strata__bus_channel() */
    uint8_t sender[BUS_NODE_ID]; /* the node's id, new with each open */
    uint64_t sequence;           /* of the sender's messages on this bus, from 1 */
    uint64_t store_life;         /* in which the items' versions were counted; 0: none is said */
    /* Reading: */
    uint32_t unknown;   /* items that were to be obeyed, and that this reader does not know */
    strata_slice items; /* for strata__bus_item_next() */
};

/* Caches with different prefixes in one store may share a channel, and never touch each other: a message of another identity is
 * passed over.  Of the prefix that all keys of the stack's shared layer have. */
uint64_t strata__bus_channel(strata_slice prefix);

/* Writing: begin, any number of items, end. */
struct bus_writer {
    uint8_t *out;
    size_t used;
    size_t room; /* for items: what the end needs is left out */
    size_t count;
    strata_slice secret;
};

/* `room` is at least BUS_MESSAGE_FRAME.  message->sequence does not count yet.  `secret` empty: no HMAC.  Borrowed until the end. */
void strata__bus_write_begin(struct bus_writer *w, void *out, size_t room, const struct bus_message *message,
                             strata_slice secret);
/* 1: it is in; 0: there is no room for it, and nothing has changed: end this message and begin another. */
int strata__bus_write_item(struct bus_writer *w, const struct bus_item *item);
/* Number and sign it; its size.  May be called again with another number. */
size_t strata__bus_write_end(const struct bus_writer *w, uint64_t sequence);
/* What the item takes: if it is more than max_message_bytes - BUS_MESSAGE_FRAME, it fits into no message. */
size_t strata__bus_item_size(const struct bus_item *item);

/* @return FORMAT_OK; _FOREIGN (no message of ours); _NEWER; _CORRUPT; BUS_MESSAGE_FORGED.  `secret` empty: an HMAC is not looked at. */
int strata__bus_message_read(struct bus_message *out, strata_slice bytes, strata_slice secret);
/* Walks over what a message that was FORMAT_OK says: start with 0 in *cursor.  1: *out is the next item that is known; 0: the end. */
int strata__bus_item_next(const struct bus_message *message, size_t *cursor, struct bus_item *out);

static inline uint64_t strata__bus_item_tag(const struct bus_item *item, uint32_t i)
{
    return strata__le64(item->tags_encoded + (size_t)8 * i);
}

#endif /* STRATA_FORMAT_BUS_MESSAGE_H */

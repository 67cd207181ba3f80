/* option_rows.c - the rows themselves: every field of every options struct, once. */
#include "src/policy/options.h"

#include "strata/bus_redis.h"
#include "strata/bus_redis_tracking.h"
#include "strata/cache.h"
#include "strata/coherence.h"
#include "strata/disk.h"
#include "strata/memory.h"
#include "strata/nats.h"
#include "strata/policy.h"
#include "strata/rabbitmq.h"
#include "strata/redis.h"
#include "strata/snapshot.h"
#include "strata/warm.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

/* What no process of today can have, and no sum of ours can overflow. */
#define MOST_BYTES ((uint64_t)1 << 48)

/* clang-format off */
static const struct option_word eviction_words[] = {
    { "s3-fifo", STRATA_EVICT_S3FIFO },     { "w-tinylfu", STRATA_EVICT_WTINYLFU }, { "lru", STRATA_EVICT_LRU },
    { "lfu", STRATA_EVICT_LFU },            { "fifo", STRATA_EVICT_FIFO },          { "sieve", STRATA_EVICT_SIEVE },
    { "cost", STRATA_EVICT_COST },          { NULL, 0 } };

static const struct option_word recovery_words[] = {
    { "quiet", STRATA_RECOVERY_QUIET }, { "strict", STRATA_RECOVERY_STRICT }, { NULL, 0 } };
static const struct option_word sync_words[] = {
    { "none", STRATA_SYNC_NONE }, { "close", STRATA_SYNC_CLOSE }, { "segment", STRATA_SYNC_SEGMENT },
    { "write", STRATA_SYNC_WRITE }, { NULL, 0 } };
static const struct option_word admission_words[] = {
    { "always", STRATA_ADMIT_ALWAYS }, { "second", STRATA_ADMIT_SECOND }, { NULL, 0 } };
static const struct option_word admit_on_words[] = {
    { "insertion", STRATA_ADMIT_ON_INSERTION }, { "eviction", STRATA_ADMIT_ON_EVICTION }, { NULL, 0 } };
static const struct option_word compression_words[] = {
    { "none", STRATA_COMPRESS_NONE }, { "zstd", STRATA_COMPRESS_ZSTD }, { "lz4", STRATA_COMPRESS_LZ4 },
    { "gzip", STRATA_COMPRESS_GZIP }, { "brotli", STRATA_COMPRESS_BROTLI }, { NULL, 0 } };

static const struct option_word protect_words[] = {
    { "none", STRATA_PROTECT_NONE }, { "aes-256-gcm", STRATA_PROTECT_AES_GCM }, { "hmac-sha256", STRATA_PROTECT_HMAC },
    { NULL, 0 } };

static const struct option_word scope_words[] = {
    { "cache", STRATA_SCOPE_CACHE }, { "namespace", STRATA_SCOPE_NAMESPACE }, { "loader", STRATA_SCOPE_LOADER },
    { "key", STRATA_SCOPE_KEY }, { NULL, 0 } };

static const struct option_word overflow_words[] = {
    { "reject", STRATA_OVERFLOW_REJECT }, { "bypass", STRATA_OVERFLOW_BYPASS }, { NULL, 0 } };

static const struct option_word nats_storage_words[] = {
    { "file", STRATA_NATS_FILE }, { "memory", STRATA_NATS_MEMORY }, { NULL, 0 } };

static const struct option_word write_words[] = { { "best-effort", STRATA_WRITE_BEST_EFFORT },
                                                  { "strict", STRATA_WRITE_STRICT },
                                                  { NULL, 0 } };

static const struct option_word rabbitmq_words[] = { { "fanout", STRATA_RABBITMQ_FANOUT },
                                                     { "topic", STRATA_RABBITMQ_TOPIC },
                                                     { "direct", STRATA_RABBITMQ_DIRECT },
                                                     { NULL, 0 } };

/* name, type, min, max, preset, words, help */
#define ROW(field, type, min, max, preset, words, help) \
    { #field, offsetof(STRUCT, field), type, min, max, preset, words, help }
#define SIZE_ROW ROW(size, OPTION_SIZE_FIELD, 0, 0, 0, NULL, "sizeof the struct")

#define STRUCT strata_memory_options
static const struct option_row memory_rows[] = {
    SIZE_ROW,
    ROW(max_bytes, OPTION_BYTES, STRATA__MEMORY_LEAST, STRATA__MEMORY_MOST, 64 * MIB, NULL, "budget, all overhead included"),
    ROW(max_entries, OPTION_U64, 1, UINT32_MAX, 0, NULL, "budget by count as well; 0 none"),
    ROW(policy, OPTION_ENUM, STRATA_EVICT_S3FIFO, STRATA_EVICT_COST, STRATA_EVICT_S3FIFO, eviction_words,
        "who leaves when room is needed"),
    ROW(shards, OPTION_U32, 1, 1024, 0, NULL, "0 chooses from the budget; 1 gives the exact order of the policy"),
    ROW(negative_percent, OPTION_U32, 1, 50, 5, NULL, "share of the budget that negative entries may take"),
    ROW(max_ttl_ms, OPTION_DURATION, 1, INT64_C(1) << 42, 0, NULL, "what is stored is held no longer; 0 no limit"),
    ROW(name, OPTION_STRING, 0, 31, 0, NULL, "shown in stats and events"),
    ROW(max_percent, OPTION_PERCENT, 1, 95, 0, NULL, "the budget as a share of the memory that there is for us"),
    ROW(pressure, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "take less while memory is short"),
    ROW(pressure_floor_percent, OPTION_PERCENT, 10, 100, 25, NULL, "but not below that share of the budget"),
    ROW(resident_percent, OPTION_PERCENT, 1, 90, 50, NULL, "share of the budget that eviction may be kept off by"),
    ROW(pressure_file, OPTION_STRING, 0, 255, 0, NULL, "where the kernel says how short memory is"),
};
#undef STRUCT

#define STRUCT strata_disk_options
static const struct option_row disk_rows[] = {
    SIZE_ROW,
    ROW(path, OPTION_STRING, 0, 4095, 0, NULL, "its directory"),
    ROW(max_bytes, OPTION_BYTES, MIB, (uint64_t)1 << 40, 1024 * MIB, NULL, "budget of all files together"),
    ROW(max_entries, OPTION_U64, 1024, UINT32_MAX, 0, NULL, "budget by count as well; 0 none"),
    ROW(segment_bytes, OPTION_BYTES, 64 * KIB, 1024 * MIB, 0, NULL, "one file of the log; 0 chooses from the budget"),
    ROW(write_buffer_bytes, OPTION_BYTES, 4 * KIB, 16 * MIB, 384 * KIB, NULL, "each of two; a kill may lose as much"),
    ROW(recovery, OPTION_ENUM, STRATA_RECOVERY_QUIET, STRATA_RECOVERY_STRICT, STRATA_RECOVERY_QUIET, recovery_words,
        "quiet leaves out what is damaged, strict fails"),
    ROW(sync, OPTION_ENUM, STRATA_SYNC_NONE, STRATA_SYNC_WRITE, STRATA_SYNC_NONE, sync_words,
        "when writes are made to survive the power's loss"),
    ROW(admission, OPTION_ENUM, STRATA_ADMIT_ALWAYS, STRATA_ADMIT_SECOND, STRATA_ADMIT_ALWAYS, admission_words,
        "which new keys are stored"),
    ROW(compression, OPTION_ENUM, STRATA_COMPRESS_NONE, STRATA_COMPRESS_BROTLI, STRATA_COMPRESS_DEFAULT, compression_words,
        "how values are packed, where it saves 15 %"),
    ROW(compression_level, OPTION_U32, 1, 22, 0, NULL, "0 is the algorithm's default"),
    ROW(admit_on, OPTION_ENUM, STRATA_ADMIT_ON_INSERTION, STRATA_ADMIT_ON_EVICTION, STRATA_ADMIT_ON_INSERTION,
        admit_on_words, "when entries come: at once, or when memory evicts them"),
    /* Their defaults depend on each other: src/layer/pack.c. */
    ROW(compress_above_bytes, OPTION_BYTES, 1, MOST_BYTES, 0, NULL, "smaller values stay as they are"),
    ROW(dictionary, OPTION_STRING, 0, 4095, 0, NULL, "a trained file for zstd to pack with"),
    ROW(dictionaries, OPTION_STRING, 0, 4095, 0, NULL, "a directory of such files to read with"),
    ROW(max_value_bytes, OPTION_BYTES, 1, 128 * MIB, 16 * MIB, NULL, "largest value, also once unpacked"),
    ROW(write_bytes_per_day, OPTION_BYTES, MIB, MOST_BYTES, 0, NULL, "above that puts pass through; 0 no limit"),
    ROW(dead_percent, OPTION_U32, 5, 1000, 20, NULL, "dead bytes beside the living; more of them, fewer rewrites"),
    ROW(reserved, OPTION_U32, 0, 0, 0, NULL, "0"),
    ROW(max_ttl_ms, OPTION_DURATION, 1, INT64_C(1) << 42, 0, NULL, "what is stored is held no longer; 0 no limit"),
    ROW(name, OPTION_STRING, 0, 31, 0, NULL, "shown in stats and events"),
    ROW(protection, OPTION_ENUM, STRATA_PROTECT_NONE, STRATA_PROTECT_HMAC, STRATA_PROTECT_NONE, protect_words,
        "how values are sealed"),
    ROW(reserved2, OPTION_U32, 0, 0, 0, NULL, "0"),
    ROW(key_file, OPTION_STRING, 0, 4095, 0, NULL, "the key that seals"),
    ROW(old_key_file, OPTION_STRING, 0, 4095, 0, NULL, "the key of before, to open with"),
};
#undef STRUCT

#define STRUCT strata_snapshot_options
static const struct option_row snapshot_rows[] = {
    SIZE_ROW,
    ROW(layer, OPTION_STRING, 0, 31, 0, NULL, "the one whose entries are written"),
    ROW(max_entries, OPTION_U64, 1, MOST_BYTES, 0, NULL, "stop at so many; 0 no limit"),
    ROW(max_bytes, OPTION_BYTES, 1, MOST_BYTES, 0, NULL, "of keys and values; 0 no limit"),
    ROW(max_age_ms, OPTION_DURATION, 1, INT64_C(1) << 42, 0, NULL, "pass over what is older; 0 any age"),
    ROW(compression, OPTION_SWITCH, STRATA_OFF, STRATA_ON, 0, NULL, "pack with zstd; default where it is there"),
    ROW(compression_level, OPTION_U32, 1, 22, 1, NULL, "of zstd"),
    ROW(open_namespaces, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "those that are not open are opened"),
    ROW(reserved, OPTION_U32, 0, 0, 0, NULL, "0"),
    ROW(base_dir, OPTION_STRING, 0, 4095, 0, NULL, "files lie below it"),
    ROW(progress, OPTION_POINTER, 0, 0, 0, NULL, "called now and then"),
    ROW(progress_ctx, OPTION_POINTER, 0, 0, 0, NULL, "handed to it"),
};
#undef STRUCT

#define STRUCT strata_redis_options
#define HOUR_MS 3600000
static const struct option_row redis_rows[] = {
    SIZE_ROW,
    ROW(url, OPTION_STRING, 0, 4095, 0, NULL, "where the server is"),
    ROW(prefix, OPTION_TEXT, 0, 512, 0, NULL, "in front of every key"),
    ROW(max_value_bytes, OPTION_BYTES, 1, 128 * MIB, 16 * MIB, NULL, "largest value, also once unpacked"),
    ROW(soft_timeout_ms, OPTION_DURATION, 1, HOUR_MS, 250, NULL, "a get goes on without the server after that"),
    ROW(timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "everything else has failed after that"),
    ROW(connect_timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "to be connected and authenticated"),
    ROW(connections, OPTION_U32, 1, 64, 2, NULL, "pipelined, shared by all threads"),
    ROW(max_pending, OPTION_U32, 1, 10000000, 100000, NULL, "requests that may be under way at once"),
    ROW(scan_count, OPTION_U32, 1, 100000, 500, NULL, "keys looked at in one step of a clear or a listing"),
    ROW(use_del, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "DEL instead of UNLINK"),
    ROW(allow_clear_all, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL,
        "with an empty prefix a clear may empty the database"),
    ROW(cluster, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "the server is a node of a Cluster"),
    ROW(compression, OPTION_ENUM, STRATA_COMPRESS_NONE, STRATA_COMPRESS_BROTLI, STRATA_COMPRESS_DEFAULT, compression_words,
        "how values are packed, where it saves 15 %"),
    ROW(compression_level, OPTION_U32, 1, 22, 0, NULL, "0 is the algorithm's default"),
    ROW(tls_verify, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "who the server is, is checked"),
    ROW(breaker_failures, OPTION_U32, 1, 1000000, 5, NULL, "so many in a row, and the server is left alone"),
    /* Their defaults depend on each other: src/layer/pack.c. */
    ROW(compress_above_bytes, OPTION_BYTES, 1, MOST_BYTES, 0, NULL, "smaller values stay as they are"),
    ROW(dictionary, OPTION_STRING, 0, 4095, 0, NULL, "a trained file for zstd to pack with"),
    ROW(dictionaries, OPTION_STRING, 0, 4095, 0, NULL, "a directory of such files to read with"),
    ROW(sentinel_user, OPTION_STRING, 0, 255, 0, NULL, "of the Sentinels themselves"),
    ROW(sentinel_password, OPTION_STRING, 0, 1024, 0, NULL, "of the Sentinels themselves"),
    ROW(breaker_open_ms, OPTION_DURATION, 1, HOUR_MS, 2000, NULL, "then it is asked again"),
    ROW(max_queued_deletes, OPTION_U64, 1, 10000000, 10000, NULL,
        "deletes kept for a server that is away; more become a clear"),
    ROW(tls_ca_file, OPTION_STRING, 0, 4095, 0, NULL, "who may sign the server's certificate"),
    ROW(tls_ca_dir, OPTION_STRING, 0, 4095, 0, NULL, "a directory of such"),
    ROW(tls_cert_file, OPTION_STRING, 0, 4095, 0, NULL, "our own certificate, and its chain"),
    ROW(tls_key_file, OPTION_STRING, 0, 4095, 0, NULL, "its private key"),
    ROW(tls_server_name, OPTION_STRING, 0, 255, 0, NULL, "the name in the server's certificate"),
    ROW(lease_ms, OPTION_DURATION, STRATA_OFF, HOUR_MS, 30000, NULL, "one node loads, and has a successor after that; or off"),
    ROW(lease_wait_ms, OPTION_DURATION, 1, HOUR_MS, 5000, NULL, "how long to wait for another node's load"),
    ROW(tombstone_ms, OPTION_DURATION, 1000, 86400000, 120000, NULL, "how long a deleted key is remembered"),
    ROW(max_ttl_ms, OPTION_DURATION, 1, INT64_C(1) << 42, 0, NULL, "what is stored is held no longer; 0 no limit"),
    ROW(name, OPTION_STRING, 0, 31, 0, NULL, "shown in stats and events"),
    ROW(sweep, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL,
        "what bans of prefixes and patterns took is removed in the background"),
    ROW(sweep_tags, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "what bans of tags took, too"),
    ROW(sweep_count, OPTION_U32, 1, 10000, 250, NULL, "keys looked at in one step of that"),
    ROW(reserved, OPTION_U32, 0, 0, 0, NULL, "0"),
    ROW(sweep_pause_ms, OPTION_DURATION, 1, HOUR_MS, 10, NULL, "between two steps"),
    ROW(protection, OPTION_ENUM, STRATA_PROTECT_NONE, STRATA_PROTECT_HMAC, STRATA_PROTECT_NONE, protect_words,
        "how values are sealed"),
    ROW(reserved2, OPTION_U32, 0, 0, 0, NULL, "0"),
    ROW(key_file, OPTION_STRING, 0, 4095, 0, NULL, "the key that seals"),
    ROW(old_key_file, OPTION_STRING, 0, 4095, 0, NULL, "the key of before, to open with"),
};
#undef STRUCT

#define STRUCT strata_redis_bus_options
static const struct option_row redis_bus_rows[] = {
    SIZE_ROW,
    ROW(url, OPTION_STRING, 0, 4095, 0, NULL, "where the server is"),
    ROW(prefix, OPTION_TEXT, 0, 512, 0, NULL, "that of the layer whose keys are spoken of"),
    ROW(channel, OPTION_STRING, 0, 64, 0, NULL, "tells several under one prefix apart"),
    ROW(max_length, OPTION_U64, 1000, 100000000, 0, NULL, "messages that a stream keeps; 0: 100,000"),
    ROW(timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "a message that was not taken then has failed"),
    ROW(connect_timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "to be connected and authenticated"),
    ROW(max_pending, OPTION_U32, 1, 10000000, 100000, NULL, "messages that may be under way at once"),
    ROW(cluster, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "the server is a node of a Cluster"),
    ROW(tls_verify, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "who the server is, is checked"),
    ROW(sentinel_user, OPTION_STRING, 0, 255, 0, NULL, "of the Sentinels themselves"),
    ROW(sentinel_password, OPTION_STRING, 0, 1024, 0, NULL, "of the Sentinels themselves"),
    ROW(tls_ca_file, OPTION_STRING, 0, 4095, 0, NULL, "who may sign the server's certificate"),
    ROW(tls_ca_dir, OPTION_STRING, 0, 4095, 0, NULL, "a directory of such"),
    ROW(tls_cert_file, OPTION_STRING, 0, 4095, 0, NULL, "our own certificate, and its chain"),
    ROW(tls_key_file, OPTION_STRING, 0, 4095, 0, NULL, "its private key"),
    ROW(tls_server_name, OPTION_STRING, 0, 255, 0, NULL, "the name in the server's certificate"),
    ROW(name, OPTION_STRING, 0, 31, 0, NULL, "shown in stats, health and events"),
};
#undef STRUCT

#define STRUCT strata_redis_tracking_options
static const struct option_row redis_tracking_rows[] = {
    SIZE_ROW,
    ROW(url, OPTION_STRING, 0, 4095, 0, NULL, "where the server is"),
    ROW(prefix, OPTION_TEXT, 0, 512, 0, NULL, "of the keys that it tells of: the layer's"),
    ROW(connect_timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "to be connected and authenticated"),
    ROW(timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "a heartbeat is answered within that"),
    ROW(heartbeat_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "how often the server is asked whether it is there"),
    ROW(protocol, OPTION_U32, 2, 3, 0, NULL, "3: RESP3, needs hiredis 1.0; 2: a channel; 0: 3 where hiredis can"),
    ROW(tls_verify, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "who the server is, is checked"),
    ROW(sentinel_user, OPTION_STRING, 0, 255, 0, NULL, "of the Sentinels themselves"),
    ROW(sentinel_password, OPTION_STRING, 0, 1024, 0, NULL, "of the Sentinels themselves"),
    ROW(tls_ca_file, OPTION_STRING, 0, 4095, 0, NULL, "who may sign the server's certificate"),
    ROW(tls_ca_dir, OPTION_STRING, 0, 4095, 0, NULL, "a directory of such"),
    ROW(tls_cert_file, OPTION_STRING, 0, 4095, 0, NULL, "our own certificate, and its chain"),
    ROW(tls_key_file, OPTION_STRING, 0, 4095, 0, NULL, "its private key"),
    ROW(tls_server_name, OPTION_STRING, 0, 255, 0, NULL, "the name in the server's certificate"),
    ROW(name, OPTION_STRING, 0, 31, 0, NULL, "shown in stats, health and events"),
    ROW(per_key, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "the server tells only of keys that were read here"),
    ROW(cluster, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "the server is a node of a Cluster"),
};
#undef STRUCT

#define STRUCT strata_rabbitmq_options
static const struct option_row rabbitmq_rows[] = {
    SIZE_ROW,
    ROW(url, OPTION_STRING, 0, 4095, 0, NULL, "where the server is"),
    ROW(exchange, OPTION_STRING, 0, 127, 0, NULL, "the channel: the same for all nodes of a cache"),
    ROW(exchange_type, OPTION_ENUM, STRATA_RABBITMQ_FANOUT, STRATA_RABBITMQ_DIRECT, STRATA_RABBITMQ_FANOUT, rabbitmq_words,
        "how it hands messages on"),
    ROW(durable, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL,
        "a queue for each node_name outlives the server's restart and this process"),
    ROW(routing_key, OPTION_TEXT, 0, 255, 0, NULL, "to publish and to bind with"),
    ROW(queue, OPTION_STRING, 0, 255, 0, NULL, "the queue's name, one of its own for each node"),
    /* 0: as `durable`. */
    ROW(persistent, OPTION_SWITCH, STRATA_OFF, STRATA_ON, 0, NULL, "messages are written to the server's disk"),
    ROW(prefetch, OPTION_U32, 1, 65535, 0, NULL, "deliveries that may be unacknowledged; 0 as the server has it"),
    ROW(max_pending, OPTION_U32, 1, 1000000, 10000, NULL, "messages that may be under way at once"),
    ROW(tls_verify, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "who the server is, is checked"),
    ROW(timeout_ms, OPTION_DURATION, 1, HOUR_MS, 2000, NULL, "a message that is not confirmed after that has failed"),
    ROW(connect_timeout_ms, OPTION_DURATION, 1, HOUR_MS, 2000, NULL, "to be connected, authenticated and subscribed"),
    ROW(heartbeat_ms, OPTION_DURATION, 1000, HOUR_MS, 10000, NULL, "a silence of twice that ends a connection"),
    /* RabbitMQ takes at most 2^32 - 1. */
    ROW(queue_expires_ms, OPTION_DURATION, STRATA_OFF, (uint64_t)49 * 24 * HOUR_MS, 7 * 24 * HOUR_MS, NULL,
        "the server deletes the durable queue of a node that was away for so long; or off"),
    ROW(tls_ca_file, OPTION_STRING, 0, 4095, 0, NULL, "who may sign the server's certificate"),
    ROW(tls_cert_file, OPTION_STRING, 0, 4095, 0, NULL, "our own certificate, and its chain"),
    ROW(tls_key_file, OPTION_STRING, 0, 4095, 0, NULL, "its private key"),
    ROW(name, OPTION_STRING, 0, 31, 0, NULL, "shown in stats and events"),
};
#undef STRUCT

#define STRUCT strata_options
static const struct option_row cache_rows[] = {
    SIZE_ROW,
    ROW(layers, OPTION_POINTER, 0, 0, 0, NULL, "the layers, nearest first"),
    ROW(layer_count, OPTION_COUNT, 1, 8, 0, NULL, "how many layers"),
    ROW(policy, OPTION_POINTER, 0, 0, 0, NULL, "the cache's own policy"),
    ROW(codec, OPTION_POINTER, 0, 0, 0, NULL, "how objects become bytes"),
    ROW(allocator, OPTION_POINTER, 0, 0, 0, NULL, "where memory comes from"),
    ROW(workers, OPTION_U32, 1, 256, 4, NULL, "threads for blocking loaders and background work"),
    ROW(max_queued, OPTION_U32, 1, 1u << 30, 10000, NULL, "tasks that may wait for a worker, and loaded values on their way to slower layers"),
    ROW(max_flights, OPTION_U32, 1, 1u << 30, 65536, NULL, "loads in progress that others can join"),
    ROW(max_key_bytes, OPTION_BYTES32, 1, 16384, 1024, NULL, "longest key"),
    ROW(max_value_bytes, OPTION_BYTES, 1, MOST_BYTES, 16 * MIB, NULL, "largest value"),
    ROW(stats, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "off counts nothing"),
    ROW(max_unleased_loads, OPTION_U32, 1, 1u << 30, 64, NULL, "loads at once while no lease can be asked for"),
    ROW(write_policy, OPTION_ENUM, STRATA_WRITE_BEST_EFFORT, STRATA_WRITE_STRICT, STRATA_WRITE_DEFAULT, write_words,
        "when a write to several layers has failed"),
    ROW(buses, OPTION_POINTER, 0, 0, 0, NULL, "what carries invalidations to and from other nodes"),
    ROW(bus_count, OPTION_COUNT, 1, 4, 0, NULL, "how many buses"),
    ROW(coherence, OPTION_POINTER, 0, 0, 0, NULL, "how it behaves with them"),
    ROW(generation, OPTION_STRING, 0, 255, 0, NULL, "a name that all entries carry, to ban them by"),
    ROW(logger, OPTION_POINTER, 0, 0, 0, NULL, "takes what the cache has to say"),
    ROW(logger_ctx, OPTION_POINTER, 0, 0, 0, NULL, "handed to the logger"),
    ROW(log, OPTION_STRING, 0, 255, 0, NULL, "what the logger gets"),
    ROW(adaptive_profiles, OPTION_U32, 1, 1u << 26, 100000, NULL, "keys whose hits are counted"),
    ROW(write_behind_max_entries, OPTION_U32, 1, 1u << 26, 10000, NULL, "sets that may be written behind at once"),
    ROW(write_behind_max_bytes, OPTION_BYTES, 1, MOST_BYTES, 64 * MIB, NULL, "and what they may take"),
};
#undef STRUCT

#define STRUCT strata_coherence_options
static const struct option_row coherence_rows[] = {
    SIZE_ROW,
    ROW(heartbeat_ms, OPTION_DURATION, 10, HOUR_MS, 1000, NULL, "so often a node shows that it hears and is heard"),
    ROW(trust_ms, OPTION_DURATION, 20, HOUR_MS, 3000, NULL, "what is held is trusted for so long after that"),
    ROW(suspect_ms, OPTION_DURATION, STRATA_OFF, 86400000, 30000, NULL, "and is served stale for so long after; or off"),
    ROW(node_name, OPTION_STRING, 0, 255, 0, NULL, "stable, of this node"),
    ROW(secret, OPTION_STRING, 0, 1024, 0, NULL, "all nodes', to sign messages with"),
    ROW(max_queued, OPTION_U32, 1, 10000000, 10000, NULL, "invalidations that may wait for a bus; more become a clear"),
    ROW(publish_only, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "tell others, and hear nothing"),
    ROW(default_bus, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "a bus over the server that is a layer, unasked"),
    ROW(open_wait_ms, OPTION_DURATION, STRATA_OFF, HOUR_MS, 1000, NULL, "opening waits so long for the buses; or off"),
    ROW(priming, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "small values travel with what others are told"),
    ROW(prime_max_bytes, OPTION_BYTES32, 1, 65536, 512, NULL, "values that are no larger"),
    ROW(spread_ms, OPTION_DURATION, STRATA_OFF, 60000, 100, NULL, "what others replaced is asked for within that; or off"),
};
#undef STRUCT

#define STRUCT strata_namespace_options
static const struct option_row namespace_rows[] = {
    SIZE_ROW,
    ROW(policy, OPTION_POINTER, 0, 0, 0, NULL, "how the policy differs from the parent's"),
    ROW(loader, OPTION_POINTER, 0, 0, 0, NULL, "for get_or_load calls that give none"),
    ROW(loader_ctx, OPTION_POINTER, 0, 0, 0, NULL, "handed to the loader"),
    ROW(generation, OPTION_STRING, 0, 255, 0, NULL, "a name that all its entries carry, to ban them by"),
    ROW(bulk_loader, OPTION_POINTER, 0, 0, 0, NULL, "for get_or_load_many calls that give none"),
    ROW(get_loads, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "a plain get loads what is missing"),
    ROW(memory_share_percent, OPTION_PERCENT, 1, 90, 0, NULL, "of the memory layer's budget, what others can't take"),
    ROW(memory_share_bytes, OPTION_BYTES, 1, STRATA__MEMORY_MOST, 0, NULL, "the same in bytes; the more counts"),
};
#undef STRUCT

#define STRUCT strata_policy
#define TIMES_ROW(field, most, preset, help) ROW(field, OPTION_TIMES, STRATA_OFF, most, preset, NULL, help)
#define DURATION_ROW(field, preset, help) ROW(field, OPTION_DURATION, STRATA_OFF, INT64_MAX, preset, NULL, help)
#define LAYER_ROW(i) \
    ROW(layer_ttl_ms[i], OPTION_DURATION, STRATA_OFF, INT64_C(1) << 42, STRATA_OFF, NULL, \
        "what is put into that layer is held no longer there")
static const struct option_row policy_rows[] = {
    SIZE_ROW,
    DURATION_ROW(ttl_ms, 3600000, "fresh for so long; off: do not store"),
    DURATION_ROW(stale_while_revalidate_ms, STRATA_OFF, "after that served at once while one refresh runs"),
    DURATION_ROW(stale_if_error_ms, STRATA_OFF, "served when the load fails or times out"),
    DURATION_ROW(keep_ms, STRATA_OFF, "not served, but kept for not-modified answers"),
    DURATION_ROW(negative_ttl_ms, STRATA_OFF, "how long \"absent\" is remembered"),
    DURATION_ROW(refresh_ahead_ms, STRATA_OFF, "so long before the end of freshness a hit starts a refresh"),
    DURATION_ROW(soft_timeout_ms, STRATA_OFF, "after that a stale value is served if there is one"),
    DURATION_ROW(hard_timeout_ms, STRATA_OFF, "after that the caller gets a stale value or an error"),
    DURATION_ROW(refresh_timeout_ms, 30000, "after that a background refresh is cancelled"),
    DURATION_ROW(retry_ms, 1000, "after a failed load, serve stale for so long before the next try"),
    ROW(background_completion, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL,
        "a load past its hard timeout may still store its value"),
    ROW(single_flight, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "off: every caller loads for itself"),
    ROW(jitter_ms, OPTION_DURATION, STRATA_OFF, INT64_C(1) << 42, STRATA_OFF, NULL,
        "fresh for up to so much longer or shorter, drawn once for each entry"),
    ROW(refresh_ahead_percent, OPTION_PERCENT, STRATA_OFF, 99, STRATA_OFF, NULL,
        "refresh_ahead_ms as a share of the time for which it is fresh"),
    ROW(xfetch, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL,
        "early refreshes are drawn, by what the last load took"),
    ROW(align_ms, OPTION_DURATION, STRATA_OFF, INT64_C(1) << 42, STRATA_OFF, NULL,
        "fresh until clocks show a multiple of this, instead of for ttl_ms"),
    ROW(align_zone, OPTION_POINTER, 0, 0, 0, NULL, "whose clocks"),
    DURATION_ROW(uncacheable_ms, STRATA_OFF, "after a load that is not stored each caller loads for itself for so long"),
    LAYER_ROW(0), LAYER_ROW(1), LAYER_ROW(2), LAYER_ROW(3), LAYER_ROW(4), LAYER_ROW(5), LAYER_ROW(6), LAYER_ROW(7),
    TIMES_ROW(breaker_failures, 1000000, STRATA_OFF, "after so many failed loads in a row no loader is called for a while"),
    ROW(breaker_scope, OPTION_ENUM, STRATA_SCOPE_CACHE, STRATA_SCOPE_KEY, STRATA_SCOPE_NAMESPACE, scope_words,
        "which loads share a breaker"),
    ROW(breaker_open_ms, OPTION_DURATION, 1, INT64_C(1) << 42, 30000, NULL, "that while"),
    ROW(breaker_name, OPTION_STRING, 0, 63, 0, NULL, "who names it shares it, whatever the scope"),
    ROW(admit, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "off: memory takes what it holds already, and nothing else"),
    TIMES_ROW(max_waiting, 1000000, 10000, "loads that may wait in one queue"),
    TIMES_ROW(max_loads, 1000000, STRATA_OFF, "loads that run at once"),
    TIMES_ROW(rate_loads, 1000000, STRATA_OFF, "loads that begin in rate_ms"),
    ROW(rate_ms, OPTION_DURATION, 1, INT64_C(1) << 42, 1000, NULL, "that stretch of time"),
    ROW(limit_scope, OPTION_ENUM, STRATA_SCOPE_CACHE, STRATA_SCOPE_KEY, STRATA_SCOPE_CACHE, scope_words,
        "which loads count together"),
    ROW(limit_overflow, OPTION_ENUM, STRATA_OVERFLOW_REJECT, STRATA_OVERFLOW_BYPASS, STRATA_OVERFLOW_REJECT,
        overflow_words, "what becomes of a load past its limit"),
    DURATION_ROW(queue_ms, 5000, "how long a load waits for its turn"),
    ROW(limit_name, OPTION_STRING, 0, 63, 0, NULL, "who names it counts together, whatever the scope"),
    ROW(sliding, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "hits make an entry fresh once more"),
    ROW(sliding_percent, OPTION_PERCENT, 1, 100, 10, NULL, "of its time that has to have passed for that"),
    ROW(sliding_max_ms, OPTION_DURATION, STRATA_OFF, INT64_MAX, STRATA_OFF, NULL, "fresh for no longer since it was loaded"),
    DURATION_ROW(load_limit_ms, STRATA_OFF, "after that a load is detached, and its key free for another"),
    ROW(late_result, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "what such a load brings is stored"),
    ROW(resident, OPTION_SWITCH, STRATA_OFF, STRATA_ON, 0, NULL, "on: eviction in memory does not choose it"),
    ROW(adaptive, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "fresh for longer the more it is read"),
    TIMES_ROW(adaptive_hits, 1000000, 3, "for a step more"),
    DURATION_ROW(adaptive_step_ms, STRATA_OFF, "the step; off: half of ttl_ms"),
    DURATION_ROW(adaptive_max_ms, STRATA_OFF, "fresh for no longer than that; off: ttl_ms and four steps"),
    ROW(align, OPTION_POINTER, 0, 0, 0, NULL, "says when an entry ends, instead of those"),
    ROW(align_ctx, OPTION_POINTER, 0, 0, 0, NULL, "handed to it"),
    TIMES_ROW(cost_us, 2000000000, STRATA_OFF, "what a load counts as taking, for policy=cost; off: what it takes"),
    ROW(reserved, OPTION_U32, 0, 0, 0, NULL, "0"),
    ROW(write_behind_ms, OPTION_DURATION, STRATA_OFF, 3600000, STRATA_OFF, NULL,
        "a set may wait for so long until the layers below memory have it"),
};
#undef STRUCT

#define STRUCT strata_warm_options
static const struct option_row warm_rows[] = {
    SIZE_ROW,
    ROW(keys, OPTION_POINTER, 0, 0, 0, NULL, "what to load"),
    ROW(count, OPTION_U64, 0, INT64_MAX, 0, NULL, "how many keys"),
    ROW(next, OPTION_POINTER, 0, 0, 0, NULL, "gives the next key"),
    ROW(next_ctx, OPTION_POINTER, 0, 0, 0, NULL, "handed to it"),
    ROW(loader, OPTION_POINTER, 0, 0, 0, NULL, "of one key"),
    ROW(bulk, OPTION_POINTER, 0, 0, 0, NULL, "of many keys"),
    ROW(loader_ctx, OPTION_POINTER, 0, 0, 0, NULL, "handed to the loader"),
    ROW(policy, OPTION_POINTER, 0, 0, 0, NULL, "of the loads"),
    ROW(concurrency, OPTION_U32, 1, 1024, 4, NULL, "so many loads, or batches, at once"),
    ROW(batch, OPTION_U32, 1, 10000, 64, NULL, "so many keys a call of the bulk loader"),
    ROW(keep_going, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "the others go on where a load fails"),
    ROW(reserved, OPTION_U32, 0, 0, 0, NULL, "0"),
    ROW(progress, OPTION_POINTER, 0, 0, 0, NULL, "called for each key that is through"),
    ROW(progress_ctx, OPTION_POINTER, 0, 0, 0, NULL, "handed to it"),
};
#undef STRUCT

#define STRUCT strata_nats_options
static const struct option_row nats_rows[] = {
    SIZE_ROW,
    ROW(url, OPTION_STRING, 0, 4095, 0, NULL, "where the servers are"),
    ROW(subject, OPTION_STRING, 0, 255, 0, NULL, "what is published under"),
    ROW(jetstream, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_OFF, NULL, "a stream keeps what was published"),
    ROW(storage, OPTION_ENUM, STRATA_NATS_FILE, STRATA_NATS_MEMORY, STRATA_NATS_FILE, nats_storage_words,
        "of a stream that is made"),
    ROW(stream, OPTION_STRING, 0, 255, 0, NULL, "its name"),
    ROW(consumer, OPTION_STRING, 0, 80, 0, NULL, "this node's in the stream; default node_name"),
    ROW(max_age_ms, OPTION_DURATION, 100, 100 * INT64_C(365) * 24 * HOUR_MS, 0, NULL,
        "messages leave a stream that is made after so long; 0 never"),
    ROW(max_messages, OPTION_U64, 1, INT64_MAX, 0, NULL, "the oldest leave it beyond so many; 0 no limit"),
    ROW(ack_wait_ms, OPTION_DURATION, 10, 24 * HOUR_MS, 30000, NULL, "what was not acknowledged after so long is sent again"),
    ROW(max_deliver, OPTION_U32, 1, 1000000, 10, NULL, "at most so often"),
    ROW(ensure_stream, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "a stream that is missing is made"),
    ROW(ensure_consumer, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL,
        "the consumer is made, and put to its place"),
    ROW(max_message_bytes, OPTION_BYTES32, 4 * KIB, 64 * MIB, 256 * KIB, NULL, "what is larger is split"),
    ROW(user, OPTION_STRING, 0, 255, 0, NULL, "instead of the one in url"),
    ROW(password, OPTION_STRING, 0, 1024, 0, NULL, "of user"),
    ROW(token, OPTION_STRING, 0, 1024, 0, NULL, "instead of a user"),
    ROW(credentials_file, OPTION_STRING, 0, 4095, 0, NULL, "a user's JWT and seed, instead of both"),
    ROW(tls_ca_file, OPTION_STRING, 0, 4095, 0, NULL, "who may have signed the server's certificate"),
    ROW(tls_cert_file, OPTION_STRING, 0, 4095, 0, NULL, "our certificate, for a server that wants one"),
    ROW(tls_key_file, OPTION_STRING, 0, 4095, 0, NULL, "its private key"),
    ROW(tls_server_name, OPTION_STRING, 0, 255, 0, NULL, "who the server's certificate is for"),
    ROW(tls_verify, OPTION_SWITCH, STRATA_OFF, STRATA_ON, STRATA_ON, NULL, "who the server is, is checked"),
    ROW(max_pending, OPTION_U32, 1, 10000000, 10000, NULL, "messages that may wait to be published"),
    ROW(connect_timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "to be connected and authenticated"),
    ROW(timeout_ms, OPTION_DURATION, 1, HOUR_MS, 1000, NULL, "what is not confirmed after that has failed"),
    ROW(ping_ms, OPTION_DURATION, 10, HOUR_MS, 5000, NULL, "how often a silent server is asked"),
    ROW(connection, OPTION_POINTER, 0, 0, 0, NULL, "the application's, instead of url"),
    ROW(name, OPTION_STRING, 0, 31, 0, NULL, "shown in stats and events"),
};
#undef STRUCT

const struct option_rows strata__disk_rows = {
    "strata_disk_options", "STRATA_DISK_OPTIONS_INIT", sizeof(strata_disk_options), disk_rows, COUNT(disk_rows) };
const struct option_rows strata__memory_rows = {
    "strata_memory_options", "STRATA_MEMORY_OPTIONS_INIT", sizeof(strata_memory_options), memory_rows,
    COUNT(memory_rows) };
const struct option_rows strata__cache_option_rows = {
    "strata_options", "STRATA_OPTIONS_INIT", sizeof(strata_options), cache_rows, COUNT(cache_rows) };
const struct option_rows strata__coherence_rows = {
    "strata_coherence_options", "STRATA_COHERENCE_OPTIONS_INIT", sizeof(strata_coherence_options), coherence_rows,
    COUNT(coherence_rows) };
const struct option_rows strata__namespace_option_rows = {
    "strata_namespace_options", "STRATA_NAMESPACE_OPTIONS_INIT", sizeof(strata_namespace_options), namespace_rows,
    COUNT(namespace_rows) };
const struct option_rows strata__policy_rows = {
    "strata_policy", "STRATA_POLICY_INIT", sizeof(strata_policy), policy_rows, COUNT(policy_rows) };
const struct option_rows strata__rabbitmq_rows = {
    "strata_rabbitmq_options", "STRATA_RABBITMQ_OPTIONS_INIT", sizeof(strata_rabbitmq_options), rabbitmq_rows,
    COUNT(rabbitmq_rows) };
const struct option_rows strata__redis_rows = {
    "strata_redis_options", "STRATA_REDIS_OPTIONS_INIT", sizeof(strata_redis_options), redis_rows, COUNT(redis_rows) };
const struct option_rows strata__redis_bus_rows = {
    "strata_redis_bus_options", "STRATA_REDIS_BUS_OPTIONS_INIT", sizeof(strata_redis_bus_options), redis_bus_rows,
    COUNT(redis_bus_rows) };
const struct option_rows strata__redis_tracking_rows = {
    "strata_redis_tracking_options", "STRATA_REDIS_TRACKING_OPTIONS_INIT", sizeof(strata_redis_tracking_options),
    redis_tracking_rows, COUNT(redis_tracking_rows) };
const struct option_rows strata__snapshot_rows = {
    "strata_snapshot_options", "STRATA_SNAPSHOT_OPTIONS_INIT", sizeof(strata_snapshot_options), snapshot_rows,
    COUNT(snapshot_rows) };
const struct option_rows strata__warm_rows = {
    "strata_warm_options", "STRATA_WARM_OPTIONS_INIT", sizeof(strata_warm_options), warm_rows, COUNT(warm_rows) };
const struct option_rows strata__nats_rows = {
    "strata_nats_options", "STRATA_NATS_OPTIONS_INIT", sizeof(strata_nats_options), nats_rows, COUNT(nats_rows) };
/* clang-format on */

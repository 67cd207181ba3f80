/* strata/redis.h - a Redis or Valkey server as a layer that many processes share. */
#ifndef STRATA_REDIS_H
#define STRATA_REDIS_H
#include "strata/base.h"
STRATA_BEGIN_DECLS

struct strata_layer;

/** Options of a Redis layer.  0 and NULL mean the default.  Strings are copied. */
typedef struct strata_redis_options {
    size_t size;                 /**< sizeof this struct */
    const char *name;            /**< in stats and events; "redis" */
    const char *url;             /**< "redis://[[user]:password@]host[:port][/database]" or
                                      "unix:///path/to/socket"; "redis://127.0.0.1:6379" */
    const char *prefix;          /**< in front of every key; clear and keys touch nothing else.  "strata:" */
    uint64_t max_value_bytes;    /**< larger values pass through; 16 MiB */
    int64_t soft_timeout_ms;     /**< a get goes on without the server after that; 250 */
    int64_t timeout_ms;          /**< a put or delete has failed after that; 1000 */
    int64_t connect_timeout_ms;  /**< 1000 */
    uint32_t connections;        /**< pipelined, shared by all threads; 2 */
    uint32_t scan_count;         /**< COUNT of SCAN, when keys are listed or cleared; 500 */
    uint32_t use_del;            /**< 1: DEL instead of UNLINK */
    uint32_t compression;        /**< STRATA_COMPRESS_..., as the disk layer's */
    uint32_t compression_level;
    uint32_t breaker_failures;   /**< so many failures in a row open the breaker; 5 */
    uint64_t compress_above_bytes; /**< 1024 */
    int64_t breaker_open_ms;     /**< and it lets one probe through after that; 2000 */
    uint64_t max_queued_deletes; /**< keys to be deleted when the server is back; more make it a clear of the prefix; 10000 */
} strata_redis_options;

STRATA_END_DECLS
#endif

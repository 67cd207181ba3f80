/* snapshot.c - what export and import share: options, the report, namespaces. */
#include <string.h>

#include "src/core/snapshot_impl.h"
#include "src/policy/options.h"

#define WHERE "snapshot"

enum { REPORT_MOST = 4096 };

static int check_options(struct snapshot_call *call, const strata_snapshot_options *options, strata_error *err)
{
    call->options = (strata_snapshot_options)STRATA_SNAPSHOT_OPTIONS_INIT;
    if (options == NULL)
        return STRATA_OK;
    return strata__options_check(&strata__snapshot_rows, options, options->size, &call->options, sizeof call->options,
                                 err);
}

int strata__snapshot_begin(struct snapshot_call *call, strata *cache, const strata_snapshot_options *options,
                           const strata_snapshot_report *report, strata_error *err)
{
    *call = (struct snapshot_call){ .cache = cache, .root = cache->root, .err = err };
    if (report != NULL && (report->size < sizeof report->size || report->size > REPORT_MOST))
        return strata__fail(err, STRATA_EINVAL, "report", "its size is %zu: start it from STRATA_SNAPSHOT_REPORT_INIT",
                            report->size);
    int rc = check_options(call, options, err);
    if (rc != STRATA_OK)
        return rc;
    if (strata__inside(call->root))
        return strata__fail(err, STRATA_EDEADLOCK, WHERE,
                            "snapshots are made and read outside of loaders and callbacks of the same cache, which "
                            "they may have to wait for");
    rc = root_enter(call->root, err);
    if (rc == STRATA_OK) /* a closed cache has no clock any more */
        call->begun_wall_ms = ex_wall_ms(call->root->ex);
    return rc;
}

/* A shorter struct is an older caller's; of a longer one, what we do not know is zero. */
static void hand_out(strata_snapshot_report *report, const strata_snapshot_report *known)
{
    size_t size = report->size, common = size < sizeof *known ? size : sizeof *known;
    memset(report, 0, size);
    memcpy(report, known, common);
    report->size = size;
}

int strata__snapshot_end(struct snapshot_call *call, strata_snapshot_report *report, int rc)
{
    call->report.size = sizeof call->report;
    if (report != NULL)
        hand_out(report, &call->report);
    root_leave(call->root);
    return rc;
}

int strata__snapshot_progress(struct snapshot_call *call)
{
    call->report.size = sizeof call->report;
    if (!root_usable(call->root))
        return strata__refuse(call->root, call->err);
    if (call->options.progress == NULL)
        return STRATA_OK;
    struct frame frame;
    frame_push(&frame, call->root, FRAME_CALLBACK);
    int stop = call->options.progress(&call->report, call->options.progress_ctx);
    frame_pop(&frame);
    return stop ? strata__fail(call->err, STRATA_ECANCELED, WHERE, "its progress function has ended it") : STRATA_OK;
}

int strata__snapshot_room(struct snapshot_call *call, uint64_t bytes)
{
    const strata_snapshot_options *o = &call->options;
    if ((o->max_entries != 0 && call->report.entries >= o->max_entries) ||
        (o->max_bytes != 0 && bytes > o->max_bytes - call->report.bytes)) {
        call->report.limited = 1;
        return 0;
    }
    return 1;
}

/* Namespaces -------------------------------------------------------------------------------------------------------- */

/* The names of a storage key's path, one after the other, are opened from the root on. */
static int open_path(struct root *root, strata_slice key, strata_error *err)
{
    const unsigned char *p = key.data;
    strata *at = root->handle, *next;
    char name[256];
    for (size_t i = 1; i < key.size && p[i] != 0;) {
        size_t size = p[i];
        if (size > key.size - i - 1 || memchr(p + i + 1, 0, size) != NULL)
            return STRATA_MISS;
        memcpy(name, p + i + 1, size);
        name[size] = 0;
        int rc = strata_namespace(at, name, NULL, &next, err);
        if (rc != STRATA_OK)
            return rc;
        (void)strata_close(next); /* the tree holds it */
        at = next;
        i += 1 + size;
    }
    return STRATA_OK;
}

int strata__snapshot_space(struct snapshot_call *call, strata_slice key, strata **out, strata_slice *plain)
{
    *out = strata__handle_of_storage(call->root, key, plain);
    if (*out != NULL || call->options.open_namespaces != STRATA_ON || key.size == 0)
        return *out != NULL ? STRATA_OK : STRATA_MISS;
    int rc = open_path(call->root, key, call->err);
    if (rc == STRATA_OK)
        *out = strata__handle_of_storage(call->root, key, plain);
    return rc != STRATA_OK ? rc : *out != NULL ? STRATA_OK : STRATA_MISS;
}

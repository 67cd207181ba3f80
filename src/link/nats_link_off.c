/* nats_link_off.c - built where nats.c is not: nothing can be connected, and the bus says which cmake option brings it.
 *
 * There is no connection to hand to the other functions: calling them is a mistake of ours. */
#include "src/base/err.h"
#include "src/link/nats_link.h"

int strata__nats_built_in(void) { return 0; }

static _Noreturn void never(void) { STRATA_BUG("a connection to NATS in a build without nats.c"); }

int strata__nats_usable(const char *name, strata_error *err)
{
    return strata__fail(err, STRATA_EUNSUPPORTED, name,
                        "this build of strata has no nats.c: build it with -DSTRATA_WITH_NATS=ON");
}

int strata__nats_check(const struct nats_link_options *options, strata_error *err)
{
    return strata__nats_usable(options->name, err);
}

int strata__nats_connect(struct nats_link **out, const struct nats_link_options *options, strata_error *err)
{
    *out = NULL;
    return strata__nats_usable(options->name, err);
}

int strata__nats_lend(struct nats_link **out, void *connection, const struct nats_link_options *options,
                      strata_error *err)
{
    (void)connection;
    *out = NULL;
    return strata__nats_usable(options->name, err);
}

/* clang-format off */
void strata__nats_close(struct nats_link *link) { (void)link; never(); }
void strata__nats_break(struct nats_link *link) { (void)link; never(); }
int strata__nats_complaint(struct nats_link *link, char *out, size_t size) { (void)link; (void)out; (void)size; never(); }
int strata__nats_forbidden(struct nats_link *link, strata_error *err) { (void)link; (void)err; never(); }
int strata__nats_is_whole(struct nats_link *link) { (void)link; never(); }
const char *strata__nats_where(const struct nats_link *link) { (void)link; never(); }
size_t strata__nats_others(struct nats_link *link, char **out, size_t most, const strata_allocator *mem)
{ (void)link; (void)out; (void)most; (void)mem; never(); }
int strata__nats_publish(struct nats_link *link, const char *subject, const char *reply, strata_slice bytes, strata_error *err)
{ (void)link; (void)subject; (void)reply; (void)bytes; (void)err; never(); }
int strata__nats_flush(struct nats_link *link, int64_t timeout_ms, strata_error *err)
{ (void)link; (void)timeout_ms; (void)err; never(); }
int strata__nats_inbox(struct nats_link *link, char out[64], strata_error *err) { (void)link; (void)out; (void)err; never(); }
int strata__nats_subscribe(struct nats_link *link, const char *subject, int most, struct nats_inlet **out, strata_error *err)
{ (void)link; (void)subject; (void)most; (void)out; (void)err; never(); }
void strata__nats_interrupt(struct nats_inlet *inlet) { (void)inlet; never(); }
void strata__nats_unsubscribe(struct nats_inlet *inlet) { (void)inlet; never(); }
enum nats_next strata__nats_next(struct nats_inlet *inlet, int64_t timeout_ms, struct nats_message *out)
{ (void)inlet; (void)timeout_ms; (void)out; never(); }
void strata__nats_release(struct nats_message *message) { (void)message; never(); }
size_t strata__nats_waiting(struct nats_inlet *inlet) { (void)inlet; never(); }
int strata__nats_stream_look(struct nats_link *link, const char *stream, const char *subject, int64_t timeout_ms,
                             struct nats_stream *out, strata_error *err)
{ (void)link; (void)stream; (void)subject; (void)timeout_ms; (void)out; (void)err; never(); }
int strata__nats_stream_make(struct nats_link *link, const struct nats_stream_options *options, int64_t timeout_ms, strata_error *err)
{ (void)link; (void)options; (void)timeout_ms; (void)err; never(); }
int strata__nats_consumer_look(struct nats_link *link, const char *stream, const char *consumer, int64_t timeout_ms,
                               struct nats_consumer *out, strata_error *err)
{ (void)link; (void)stream; (void)consumer; (void)timeout_ms; (void)out; (void)err; never(); }
int strata__nats_consumer_make(struct nats_link *link, const struct nats_consumer_options *options, int64_t timeout_ms, strata_error *err)
{ (void)link; (void)options; (void)timeout_ms; (void)err; never(); }
int strata__nats_consumer_drop(struct nats_link *link, const char *stream, const char *consumer, int64_t timeout_ms, strata_error *err)
{ (void)link; (void)stream; (void)consumer; (void)timeout_ms; (void)err; never(); }
/* clang-format on */

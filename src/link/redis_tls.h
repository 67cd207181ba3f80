/* redis_tls.h - TLS between a connection's bytes and its socket: OpenSSL, in redis_tls.c, or what stands in where it is not built
 * in, redis_tls_off.c.
 *
 * A session never touches the socket while it encrypts or decrypts: it works on memory, under a lock of its own, for a moment.  So the
 * reader and the writer of a connection, who are two threads, share it as they share the rest: the reader reads the socket and has
 * decrypted what came; the writer has encrypted what goes and writes the socket.  What the protocol itself has to say (a new key,
 * an alert) stands in the order in which it was made in front of what is encrypted next, and only the writer takes it from there:
 * `owes` tells that something is waiting.  The lock is held alone, across no system call. */
#ifndef STRATA_LINK_REDIS_TLS_H
#define STRATA_LINK_REDIS_TLS_H
#include <stdatomic.h>
#include <stddef.h>

#include "strata/error.h"
#include "strata/sys/allocator.h"

struct redis_tls;
struct redis_buffer;
struct redis_session;

/* Texts may be NULL; they are borrowed for strata__redis_tls_open(). */
struct redis_tls_options {
    const char *name;                 /* of the layer, for words */
    const char *ca_file, *ca_dir;     /* both NULL: whom the system trusts */
    const char *cert_file, *key_file; /* both or none */
    const char *server_name;          /* NULL: the host that is connected to */
    int verify;                       /* 0: whoever it is */
};

int strata__redis_tls_built_in(void);
/* What the sessions of a layer have in common; reads the files.  STRATA_OK; STRATA_EINVAL, with words that name the option;
 * STRATA_EUNSUPPORTED; STRATA_ENOMEM. */
int strata__redis_tls_open(struct redis_tls **out, const struct redis_tls_options *options, strata_error *err);
/* No session is left.  NULL is a no-op.  In a child after fork: not at all, for another thread may have held its locks. */
void strata__redis_tls_free(struct redis_tls *tls);

/* A client's session with `host`.  NULL: no memory. */
struct redis_session *strata__redis_session_new(const struct redis_tls *tls, const strata_allocator *mem,
                                                const char *host);
/* NULL is a no-op. */
void strata__redis_session_free(struct redis_session *s);
/* In a child after fork: 0 where another thread was inside, and nothing may be touched. */
int strata__redis_session_is_whole(struct redis_session *s);

/* One step of the handshake: 0 it is done; EAGAIN: again once the socket is ready for *out_events; else it failed:
 * strata__redis_session_why(). */
int strata__redis_session_shake(struct redis_session *s, int fd, short *out_events);
/* The writer's: what is in `buffer` is encrypted, in its place, behind what the protocol had to say.  0, or an errno. */
int strata__redis_session_seal(struct redis_session *s, struct redis_buffer *buffer);
/* Has the protocol something to say, that nobody has sealed? */
int strata__redis_session_owes(const struct redis_session *s);
/* The reader's: as strata__os_socket_read(), decrypted.  *out_more: there may be more than `out` had room for, and the socket does not
 * show it.  EPROTO: strata__redis_session_why(). */
int strata__redis_session_read(struct redis_session *s, int fd, char *out, size_t size, size_t *out_got, int *out_more);
/* Says that nothing more comes, if there is room for it; where the writer has written all that it sealed. */
void strata__redis_session_goodbye(struct redis_session *s, int fd);
/* What failed last, and what to do. */
const char *strata__redis_session_why(const struct redis_session *s);

#endif /* STRATA_LINK_REDIS_TLS_H */

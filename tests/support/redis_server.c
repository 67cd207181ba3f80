/* redis_server.c - see redis_server.h. */
#include "tests/support/redis_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "tests/support/temp_dir.h"
#include "tests/support/tls_certs.h"

enum { MOST_SERVERS = 16, LOOKS = 1000, LOOK_NS = 10 * 1000 * 1000 };

/* What has to be ended at exit, in storage of this file's own: a test that failed has left its stack, and the number of a
 * process read from there would be anything. */
static struct {
    const struct redis_server *of; /* compared, never looked into */
    pid_t starter;                 /* a child that exits leaves its parent's servers alone */
    pid_t pid;                     /* 0: not running */
    char dir[256];
} running[MOST_SERVERS];

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "redis_server: %s\n", what);
    abort();
}

static struct sockaddr_in at_port(uint16_t port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

uint16_t redis_server_free_port(void)
{
    struct sockaddr_in name = at_port(0);
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&name, sizeof name) != 0 ||
        getsockname(fd, (struct sockaddr *)(void *)&name, &size) != 0)
        give_up("no free port");
    (void)close(fd);
    return ntohs(name.sin_port);
}

static void end(pid_t pid)
{
    if (pid <= 1)
        return;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void end_all(void)
{
    for (int i = 0; i < MOST_SERVERS; i++) {
        if (running[i].of == NULL || running[i].starter != getpid())
            continue;
        end(running[i].pid);
        temp_dir_remove(running[i].dir);
        running[i].of = NULL;
    }
}

static int place_of(const struct redis_server *s)
{
    for (int i = 0; i < MOST_SERVERS; i++)
        if (running[i].of == s)
            return i;
    return -1;
}

static void remember(const struct redis_server *s)
{
    static int registered;
    if (!registered)
        registered = atexit(end_all) == 0;
    int i = place_of(s); /* of a test that failed, with its server in the same place of the stack */
    if (i >= 0) {
        end(running[i].pid);
        temp_dir_remove(running[i].dir);
    } else {
        i = place_of(NULL);
    }
    if (i < 0)
        give_up("too many servers");
    running[i].of = s;
    running[i].starter = getpid();
    running[i].pid = 0;
    (void)snprintf(running[i].dir, sizeof running[i].dir, "%s", s->dir);
}

static void set_pid(struct redis_server *s, pid_t pid)
{
    int i = place_of(s);
    s->pid = pid;
    if (i >= 0)
        running[i].pid = pid;
}

/* Kept by the sentinel itself from then on. */
static void write_sentinel_file(const struct redis_server *s, const char *path)
{
    FILE *file = access(path, F_OK) == 0 ? NULL : fopen(path, "w");
    if (file == NULL)
        return;
    (void)fprintf(file,
                  "port %u\nbind 127.0.0.1\ndir %s\nlogfile %s/log\nsentinel monitor main 127.0.0.1 %u 2\n"
                  "sentinel down-after-milliseconds main 800\nsentinel failover-timeout main 2000\n",
                  (unsigned)s->port, s->dir, s->dir, (unsigned)s->monitors);
    if (s->password != NULL)
        (void)fprintf(file, "sentinel auth-pass main \"%s\"\nrequirepass \"%s\"\n", s->password, s->password);
    (void)fclose(file);
}

/* What it listens with on its port: plain, or TLS alone. */
static size_t add_port(const struct redis_server *s, const char *port, const char **args)
{
    const char *const plain[] = { "--port", port };
    if (s->certificate == NULL) {
        memcpy(args, plain, sizeof plain);
        return sizeof plain / sizeof plain[0];
    }
    const char *const tls[] = { "--port",
                                "0",
                                "--tls-port",
                                port,
                                "--tls-cert-file",
                                s->certificate->cert,
                                "--tls-key-file",
                                s->certificate->key,
                                "--tls-ca-cert-file",
                                s->clients_signed_by != NULL ? s->clients_signed_by : s->certificate->cert,
                                "--tls-auth-clients",
                                s->clients_signed_by != NULL ? "yes" : "no" };
    memcpy(args, tls, sizeof tls);
    return sizeof tls / sizeof tls[0];
}

/* The same commands are understood by Valkey's. */
static const char *program(void)
{
    const char *other = getenv("STRATA_TEST_REDIS_SERVER");
    return other != NULL ? other : "redis-server";
}

static _Noreturn void become_server(const struct redis_server *s)
{
    char port[8], log[300], file[300];
    const char *args[48] = { program() };
    size_t count = 1;
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes takes it along */
#endif
    (void)snprintf(port, sizeof port, "%u", (unsigned)s->port);
    (void)snprintf(log, sizeof log, "%s/log", s->dir);
    (void)snprintf(file, sizeof file, "%s/sentinel-%u.conf", s->dir, (unsigned)s->port);
    const char *const all[] = { "--bind",
                                "127.0.0.1",
                                "--save",
                                "",
                                "--appendonly",
                                "no",
                                "--dir",
                                s->dir,
                                "--logfile",
                                log,
                                "--unixsocket",
                                s->socket_path,
                                "--daemonize",
                                "no",
                                "--repl-diskless-sync-delay",
                                "0",
                                "--requirepass",
                                s->password != NULL ? s->password : "",
                                "--masterauth",
                                s->password != NULL ? s->password : "" };
    const char *const node[] = { "--cluster-enabled",
                                 "yes",
                                 "--cluster-node-timeout",
                                 "1000",
                                 "--cluster-replica-validity-factor",
                                 "0",
                                 "--cluster-allow-replica-migration",
                                 "no" };
    const char *const sentinel[] = { file, "--sentinel" };
    if (s->kind == REDIS_SERVER_SENTINEL)
        write_sentinel_file(s, file);
    else
        count += add_port(s, port, args + count);
    for (size_t i = 0; s->kind != REDIS_SERVER_SENTINEL && i < sizeof all / sizeof all[0]; i++)
        args[count++] = all[i];
    for (size_t i = 0; s->kind == REDIS_SERVER_NODE && i < sizeof node / sizeof node[0]; i++)
        args[count++] = node[i];
    for (size_t i = 0; s->kind == REDIS_SERVER_SENTINEL && i < sizeof sentinel / sizeof sentinel[0]; i++)
        args[count++] = sentinel[i];
    (void)execvp(args[0], (char *const *)(uintptr_t)args);
    _exit(127);
}

/* Where it speaks TLS alone, it is its socket in the file system that is asked. */
static int connect_to(const struct redis_server *s)
{
    struct sockaddr_in name = at_port(s->port);
    struct sockaddr_un path = { .sun_family = AF_UNIX };
    int by_path = s->certificate != NULL;
    (void)snprintf(path.sun_path, sizeof path.sun_path, "%.100s", s->socket_path);
    int fd = socket(by_path ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
    int failed = by_path ? connect(fd, (struct sockaddr *)(void *)&path, sizeof path)
                         : connect(fd, (struct sockaddr *)(void *)&name, sizeof name);
    if (failed != 0 && fd >= 0)
        (void)close(fd);
    return failed == 0 ? fd : -1;
}

/* +PONG, or that it wants a password. */
static int answers(const struct redis_server *s)
{
    char reply[64] = { 0 };
    int fd = connect_to(s);
    int good = fd >= 0 && send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6 && recv(fd, reply, sizeof reply - 1, 0) > 0 &&
               (strncmp(reply, "+PONG", 5) == 0 || strncmp(reply, "-NOAUTH", 7) == 0);
    if (fd >= 0)
        (void)close(fd);
    return good;
}

/* 1: it answers; 0: it has ended, as on a port that somebody else got first. */
static int run(struct redis_server *s)
{
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork failed");
    if (pid == 0)
        become_server(s);
    set_pid(s, pid);
    for (int i = 0; i < LOOKS; i++) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid) {
            set_pid(s, 0);
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                give_up("there is no redis-server here: install its package (or the one that STRATA_TEST_REDIS_SERVER "
                        "names)");
            return 0;
        }
        if (answers(s))
            return 1;
        nanosleep(&(struct timespec){ 0, LOOK_NS }, NULL);
    }
    redis_server_kill(s);
    return 0;
}

static void start(struct redis_server *s)
{
    enum { BUS = 10000, TRIES = 20 }; /* a node of a Cluster listens there above its port, too */
    temp_dir_make(s->dir, sizeof s->dir);
    (void)snprintf(s->socket_path, sizeof s->socket_path, "%s/socket", s->dir);
    remember(s);
    for (int i = 0; i < TRIES; i++) {
        do
            s->port = redis_server_free_port();
        while (s->kind == REDIS_SERVER_NODE && s->port > UINT16_MAX - BUS);
        if (run(s))
            return;
    }
    give_up("it does not start");
}

void redis_server_start(struct redis_server *s, const char *password)
{
    const struct tls_certs *certs = tls_certs_of_servers();
    *s = (struct redis_server){ .password = password, .certificate = certs != NULL ? &certs->server : NULL };
    start(s);
}

void redis_server_start_tls(struct redis_server *s, const struct tls_files *certificate, const char *clients_signed_by)
{
    *s = (struct redis_server){ .certificate = certificate, .clients_signed_by = clients_signed_by };
    start(s);
}

void redis_server_start_node(struct redis_server *s, const char *password)
{
    *s = (struct redis_server){ .password = password, .kind = REDIS_SERVER_NODE };
    start(s);
}

void redis_server_start_sentinel(struct redis_server *s, uint16_t monitors, const char *password)
{
    *s = (struct redis_server){ .password = password, .kind = REDIS_SERVER_SENTINEL, .monitors = monitors };
    start(s);
}

void redis_server_kill(struct redis_server *s)
{
    end(s->pid);
    set_pid(s, 0);
}

void redis_server_restart(struct redis_server *s)
{
    redis_server_kill(s);
    for (int i = 0; i < 5; i++)
        if (run(s))
            return;
    give_up("it does not start again");
}

void redis_server_stop(struct redis_server *s)
{
    int i = place_of(s);
    redis_server_kill(s);
    if (i < 0)
        return; /* it is stopped */
    temp_dir_remove(s->dir);
    running[i].of = NULL;
}

static void tell(const struct redis_server *s, int signal)
{
    if (s->pid > 1)
        (void)kill(s->pid, signal);
}

void redis_server_pause(struct redis_server *s) { tell(s, SIGSTOP); }

void redis_server_resume(struct redis_server *s) { tell(s, SIGCONT); }

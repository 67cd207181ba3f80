/* nats_server.c - see nats_server.h. */
#include "tests/support/nats_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "tests/support/redis_server.h"
#include "tests/support/temp_dir.h"

enum { MOST_SERVERS = 8, LOOKS = 1000, LOOK_NS = 10 * 1000 * 1000 };

/* What has to be ended at exit, in storage of this file's own: a test that failed has left its stack. */
static struct {
    const struct nats_server *of; /* compared, never looked into */
    pid_t starter;                /* a child that exits leaves its parent's servers alone */
    pid_t pid;                    /* 0: not running */
    char dir[256];
} running[MOST_SERVERS];

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "nats_server: %s\n", what);
    abort();
}

static void end(pid_t pid)
{
    if (pid <= 1)
        return;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* JetStream makes folders in it. */
static void remove_dir(const char *dir)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
}

static void end_all(void)
{
    for (int i = 0; i < MOST_SERVERS; i++) {
        if (running[i].of == NULL || running[i].starter != getpid())
            continue;
        end(running[i].pid);
        remove_dir(running[i].dir);
        running[i].of = NULL;
    }
}

static int place_of(const struct nats_server *s)
{
    for (int i = 0; i < MOST_SERVERS; i++)
        if (running[i].of == s)
            return i;
    return -1;
}

static void remember(const struct nats_server *s)
{
    static int registered;
    if (!registered)
        registered = atexit(end_all) == 0;
    int i = place_of(s); /* of a test that failed, with its server in the same place of the stack */
    if (i >= 0) {
        end(running[i].pid);
        remove_dir(running[i].dir);
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

static void set_pid(struct nats_server *s, pid_t pid)
{
    int i = place_of(s);
    s->pid = pid;
    if (i >= 0)
        running[i].pid = pid;
}

static void write_file(const struct nats_server *s, const char *path)
{
    const struct nats_server_options *o = &s->options;
    FILE *file = fopen(path, "w");
    if (file == NULL)
        give_up("its configuration cannot be written");
    (void)fprintf(file, "listen: \"127.0.0.1:%u\"\nlog_file: \"%s/log\"\n", (unsigned)s->port, s->dir);
    if (!o->no_jetstream)
        (void)fprintf(file, "jetstream { store_dir: \"%s\" }\n", s->dir);
    if (o->user != NULL)
        (void)fprintf(file, "authorization { user: \"%s\", password: \"%s\" }\n", o->user, o->password);
    if (o->token != NULL)
        (void)fprintf(file, "authorization { token: \"%s\" }\n", o->token);
    if (o->cert != NULL)
        (void)fprintf(file, "tls { cert_file: \"%s\", key_file: \"%s\"", o->cert, o->key);
    if (o->cert != NULL && o->ca != NULL)
        (void)fprintf(file, ", ca_file: \"%s\", verify: true", o->ca);
    if (o->cert != NULL)
        (void)fprintf(file, " }\n");
    if (o->more != NULL)
        (void)fprintf(file, "%s\n", o->more);
    (void)fclose(file);
}

static _Noreturn void become_server(const struct nats_server *s)
{
    char path[300];
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* it goes with us, also when we are killed */
#endif
    int none = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        (void)dup2(none, fd);
    (void)snprintf(path, sizeof path, "%s/conf", s->dir);
    (void)execlp("nats-server", "nats-server", "-c", path, (char *)NULL);
    (void)execl("/usr/sbin/nats-server", "nats-server", "-c", path, (char *)NULL);
    _exit(127);
}

/* It says INFO to who connects; JetStream is there before it listens. */
static int answers(const struct nats_server *s)
{
    char reply[8] = { 0 };
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(s->port) };
    struct timeval limit = { 1, 0 };
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    int good = fd >= 0 && connect(fd, (struct sockaddr *)(void *)&name, sizeof name) == 0 &&
               recv(fd, reply, 5, MSG_WAITALL) == 5 && memcmp(reply, "INFO ", 5) == 0;
    if (fd >= 0)
        (void)close(fd);
    return good;
}

/* 1: it answers; 0: it has ended, as on a port that somebody else got first. */
static int run(struct nats_server *s)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/conf", s->dir);
    write_file(s, path);
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
                give_up("there is no nats-server here: install its package");
            return 0;
        }
        if (answers(s))
            return 1;
        nanosleep(&(struct timespec){ 0, LOOK_NS }, NULL);
    }
    nats_server_kill(s);
    return 0;
}

void nats_server_start(struct nats_server *s, const struct nats_server_options *options)
{
    enum { TRIES = 20 };
    *s = (struct nats_server){ 0 };
    if (options != NULL)
        s->options = *options;
    temp_dir_make(s->dir, sizeof s->dir);
    remember(s);
    for (int i = 0; i < TRIES; i++) {
        s->port = redis_server_free_port();
        (void)snprintf(s->url, sizeof s->url, "%s://127.0.0.1:%u", s->options.cert != NULL ? "tls" : "nats",
                       (unsigned)s->port);
        if (run(s))
            return;
    }
    give_up("it does not start");
}

void nats_server_kill(struct nats_server *s)
{
    end(s->pid);
    set_pid(s, 0);
}

void nats_server_restart(struct nats_server *s)
{
    nats_server_kill(s);
    for (int i = 0; i < 5; i++)
        if (run(s))
            return;
    give_up("it does not start again");
}

void nats_server_stop(struct nats_server *s)
{
    int i = place_of(s);
    nats_server_kill(s);
    if (i < 0)
        return; /* it is stopped */
    remove_dir(s->dir);
    running[i].of = NULL;
}

static void tell(const struct nats_server *s, int signal)
{
    if (s->pid > 1)
        (void)kill(s->pid, signal);
}

/* Its threads stop one by one: until all have. */
void nats_server_pause(struct nats_server *s)
{
    int status;
    tell(s, SIGSTOP);
    if (s->pid > 1)
        (void)waitpid(s->pid, &status, WUNTRACED);
}

void nats_server_resume(struct nats_server *s) { tell(s, SIGCONT); }

/* rabbitmq_server.c - see rabbitmq_server.h. */
#include "tests/support/rabbitmq_server.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "tests/support/redis_server.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tls_certs.h"

enum { LOOKS = 1200, LOOK_NS = 50 * 1000 * 1000, TRIES = 3, FOLDERS_DEEP = 16 };

static struct rabbitmq_server *running; /* ended at exit; static, as its owner is */
static pid_t starter;                   /* a child that exits leaves its parent's server alone */

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "rabbitmq_server: %s\n", what);
    abort();
}

static void end(pid_t *pid)
{
    if (*pid <= 1)
        return;
    (void)kill(-*pid, SIGKILL);
    (void)kill(*pid, SIGKILL);
    (void)waitpid(*pid, NULL, 0);
    *pid = 0;
}

static int remove_one(const char *path, const struct stat *about, int flag, struct FTW *where)
{
    (void)about;
    (void)flag;
    (void)where;
    return remove(path);
}

/* What it ran with may write a last time while it is ended. */
static void remove_folder(const char *path)
{
    for (int i = 0; i < TRIES && nftw(path, remove_one, FOLDERS_DEEP, FTW_DEPTH | FTW_PHYS) != 0; i++)
        continue;
}

static void end_it(void)
{
    if (running == NULL || starter != getpid())
        return;
    end(&running->pid);
    end(&running->epmd);
    remove_folder(running->dir);
    running = NULL;
}

static FILE *create(const struct rabbitmq_server *s, const char *name)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, name);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        give_up("no file in its folder");
    return file;
}

static void write_files(const struct rabbitmq_server *s)
{
    FILE *file = create(s, "plugins");
    (void)fprintf(file, "[].\n");
    (void)fclose(file);
    file = create(s, "rabbitmq.conf");
    (void)fprintf(file,
                  "listeners.tcp.1 = 127.0.0.1:%u\nlog.console = false\ndisk_free_limit.absolute = 1MB\n"
                  "vm_memory_high_watermark.relative = 0.9\n",
                  (unsigned)s->port);
    if (s->certs != NULL)
        (void)fprintf(file,
                      "listeners.ssl.1 = 127.0.0.1:%u\nssl_options.cacertfile = %s\nssl_options.certfile = %s\n"
                      "ssl_options.keyfile = %s\nssl_options.verify = verify_peer\n"
                      "ssl_options.fail_if_no_peer_cert = false\n",
                      (unsigned)s->tls_port, s->certs->ca.cert, s->certs->server.cert, s->certs->server.key);
    (void)fclose(file);
}

static void set(const char *name, const char *value) { (void)setenv(name, value, 1); }

static void set_path(const struct rabbitmq_server *s, const char *name, const char *file)
{
    char path[300];
    (void)snprintf(path, sizeof path, "%s/%s", s->dir, file);
    set(name, path);
}

static void set_number(const char *name, unsigned number)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%u", number);
    set(name, text);
}

/* Nothing of the machine's own RabbitMQ: neither its files, nor its node name, nor its epmd. */
static void set_environment(const struct rabbitmq_server *s)
{
    char node[64];
    /* By number: a bare machine has no /etc/hosts, and knows no localhost. */
    (void)snprintf(node, sizeof node, "strata-%ld-%u@127.0.0.1", (long)getppid(), (unsigned)s->port);
    set("RABBITMQ_NODENAME", node);
    set("RABBITMQ_USE_LONGNAME", "true");
    set_path(s, "HOME", "");
    set_path(s, "RABBITMQ_MNESIA_BASE", "data");
    set_path(s, "RABBITMQ_LOG_BASE", "log");
    set_path(s, "RABBITMQ_CONF_ENV_FILE", "no-environment");
    set_path(s, "RABBITMQ_CONFIG_FILE", "rabbitmq");
    set_path(s, "RABBITMQ_ADVANCED_CONFIG_FILE", "no-advanced");
    set_path(s, "RABBITMQ_GENERATED_CONFIG_DIR", "generated");
    set_path(s, "RABBITMQ_ENABLED_PLUGINS_FILE", "plugins");
    set_path(s, "RABBITMQ_PLUGINS_EXPAND_DIR", "expanded");
    set_path(s, "RABBITMQ_PID_FILE", "pid");
    set_number("RABBITMQ_NODE_PORT", s->port);
    set("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1");
    set_number("RABBITMQ_DIST_PORT", s->dist_port);
    set_number("ERL_EPMD_PORT", s->epmd_port);
    set("ERL_EPMD_ADDRESS", "127.0.0.1");
    set("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none");
    set("RABBITMQ_CTL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
    set("RUNNING_UNDER_SYSTEMD", "true"); /* its script becomes the server, and what is killed is the server */
}

static pid_t spawn(const struct rabbitmq_server *s, const char *const *args)
{
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork failed");
    if (pid > 0)
        return pid;
#if defined(__linux__)
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that crashes takes it along */
#endif
    (void)setpgid(0, 0);
    char log[300];
    (void)snprintf(log, sizeof log, "%s/output", s->dir);
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int in = open("/dev/null", O_RDONLY);
    if (out < 0 || in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || chdir(s->dir) != 0)
        _exit(126);
    set_environment(s);
    (void)execvp(args[0], (char *const *)(uintptr_t)args);
    _exit(127);
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)(void *)&name, sizeof name) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* It begins the handshake: a method frame on channel 0. */
static int answers(const struct rabbitmq_server *s)
{
    char first[1] = { 0 };
    int fd = connect_to(s->port);
    int good = fd >= 0 && send(fd, "AMQP\0\0\11\1", 8, MSG_NOSIGNAL) == 8 && recv(fd, first, 1, 0) == 1 &&
               first[0] == 1;
    if (fd >= 0)
        (void)close(fd);
    if (good && s->certs != NULL) {
        fd = connect_to(s->tls_port);
        good = fd >= 0;
        if (fd >= 0)
            (void)close(fd);
    }
    return good;
}

static void run_epmd(struct rabbitmq_server *s)
{
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)s->epmd_port);
    const char *const args[] = { "epmd", "-port", port, "-address", "127.0.0.1", NULL };
    s->epmd = spawn(s, args);
}

/* 1: it answers; 0: it has ended, as on a port that somebody else got first. */
static int run(struct rabbitmq_server *s)
{
    const char *other = getenv("STRATA_TEST_RABBITMQ_SERVER");
    const char *const args[] = { other != NULL ? other : "/usr/lib/rabbitmq/bin/rabbitmq-server", NULL };
    int status;
    s->pid = spawn(s, args);
    for (int i = 0; i < LOOKS; i++) {
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                give_up(
                    "there is no RabbitMQ here: install rabbitmq-server (or what STRATA_TEST_RABBITMQ_SERVER names)");
            return 0;
        }
        if (answers(s))
            return 1;
        nanosleep(&(struct timespec){ 0, LOOK_NS }, NULL);
    }
    rabbitmq_server_kill(s);
    return 0;
}

static void show_output(const struct rabbitmq_server *s)
{
    char path[300], line[256];
    (void)snprintf(path, sizeof path, "%s/output", s->dir);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        (void)fputs(line, stderr);
    if (file != NULL)
        (void)fclose(file);
}

void rabbitmq_server_start(struct rabbitmq_server *s, const struct tls_certs *certs)
{
    static int registered;
    if (!registered)
        registered = atexit(end_it) == 0;
    *s = (struct rabbitmq_server){ .certs = certs };
    temp_dir_make(s->dir, sizeof s->dir);
    running = s;
    starter = getpid();
    for (int i = 0; i < TRIES; i++) {
        s->port = redis_server_free_port();
        s->tls_port = redis_server_free_port();
        s->dist_port = redis_server_free_port();
        s->epmd_port = redis_server_free_port();
        write_files(s);
        run_epmd(s);
        if (run(s))
            return;
        end(&s->epmd);
    }
    show_output(s);
    give_up("it does not start");
}

void rabbitmq_server_stop(struct rabbitmq_server *s)
{
    if (running == s)
        end_it();
}

void rabbitmq_server_kill(struct rabbitmq_server *s) { end(&s->pid); }

void rabbitmq_server_restart(struct rabbitmq_server *s)
{
    rabbitmq_server_kill(s);
    for (int i = 0; i < TRIES; i++)
        if (run(s))
            return;
    show_output(s);
    give_up("it does not start again");
}

static void tell(const struct rabbitmq_server *s, int signal)
{
    if (s->pid > 1)
        (void)kill(-s->pid, signal);
}

/* Its threads stop one after the other: until the last one has. */
void rabbitmq_server_pause(struct rabbitmq_server *s)
{
    int status;
    tell(s, SIGSTOP);
    (void)waitpid(s->pid, &status, WUNTRACED);
}

void rabbitmq_server_resume(struct rabbitmq_server *s) { tell(s, SIGCONT); }

void rabbitmq_server_alarm(struct rabbitmq_server *s, int on)
{
    const char *const args[] = { "/usr/lib/rabbitmq/bin/rabbitmqctl", "set_vm_memory_high_watermark",
                                 on ? "0.00001" : "0.9", NULL };
    int status = -1;
    pid_t pid = spawn(s, args);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        show_output(s);
        give_up("rabbitmqctl has failed");
    }
}

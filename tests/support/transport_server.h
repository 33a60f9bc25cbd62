/* Real SSH servers for tests: OpenSSH's or Dropbear's on a free port of 127.0.0.1, with keys of their own, in a
 * temporary directory. Each ends with the test program, however that ends.
 */
#ifndef TRANSPORT_SERVER_H
#define TRANSPORT_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#include "nestor/transport.h"

struct test_server {
    char dir[64];
    char user[64];
    uint16_t port;
    pid_t pid;
    char *host_key;    /* "ssh-ed25519 AAAA..." */
    char *private_key; /* PEM */
    char *public_key;
};

/* Exit 77 when the server is not installed. extra: more lines for sshd_config, may be "". */
void test_sshd_start(struct test_server *s, const char *extra);
void test_dropbear_start(struct test_server *s);
void test_server_stop(struct test_server *s);

struct ssh_target test_server_target(const struct test_server *s);
/* Connected through `parent`, within ten seconds; fails the test otherwise. */
struct access *test_server_connect(const struct test_server *s, struct access *parent);
/* A new ed25519 key pair made by ssh-keygen as dir/name and dir/name.pub. */
void test_key_make(const char *dir, const char *name);
char *test_file_read(const char *dir, const char *name);
/* Sends a signal to every process below the server: the ones that serve connections, and what they run. */
void test_server_signal_children(const struct test_server *s, int signal);
/* Only to those that serve connections. */
void test_server_signal_connections(const struct test_server *s, int signal);

struct context test_within(int ms);
/* A port nothing listens on. */
uint16_t test_free_port(void);

/* How many descriptors this process has open, the looking itself included. */
unsigned test_open_fds(void);
/* A thread that fires the cancel token it is given, a tenth of a second from now. */
void *test_fire_soon(void *cancel);

/* A listening socket on 127.0.0.1 and, when serve is not NULL, a thread which calls serve(data, fd) for one connection
 * after the other; fd is closed after it. NULL: accepts into the backlog and never speaks. */
struct test_listener {
    int fd;
    uint16_t port;
    int stop; /* eventfd */
    unsigned long thread;
    void (*serve)(void *data, int fd);
    void *data;
};
void test_listener_start(struct test_listener *l, void (*serve)(void *data, int fd), void *data);
void test_listener_stop(struct test_listener *l);
/* A serve function: returns what comes until its end. */
void test_serve_echo(void *data, int fd);

#endif

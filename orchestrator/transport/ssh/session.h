/* Inside transport/ssh: a connected session and the thread that owns it.
 *
 *   connect.c  handshake, host key, user key: on the caller's thread, within its context
 *   loop.c     then the session's own thread, the only one that speaks to libssh2: one poll loop for all jobs
 *   job.c      a job's states: one channel, from its opening to its closing
 *   flow.c     bytes between a channel and local sockets, with back-pressure both ways
 *   pool.c     the sessions of one access: which one gets a job, and when one more is connected
 *   access.c   the access operations: submit a job, move the caller's bytes, wait within the caller's context
 *   put.c      a file over SFTP: sftp.c speaks the protocol, on the caller's thread, over a job's two ends
 *   put_shell.c  the same through a small script, where there is no SFTP server
 *
 * Callers and the thread share only `struct ssh_job`, which is counted: a caller whose context ends marks the job
 * abandoned and leaves at once; the thread closes the channel in its own time. No memory and no descriptor of a
 * caller is ever in the thread's hands.
 */
#ifndef TRANSPORT_SSH_SESSION_H
#define TRANSPORT_SSH_SESSION_H

#include <pthread.h>
#include <stdatomic.h>

#include "nestor/transport.h"
#include "transport/ssh/sftp.h"
#include "transport/ssh/wire.h"
#include "transport/stdio.h"

/* How many connections an access may have at once (pool.c). */
#define SSH_SESSIONS_MAX 6

/* How silence is noticed: after ping_ms without a byte the peer is asked for one; dead_ms later it is given up. */
struct ssh_keepalive {
    int ping_ms, dead_ms;
};
#define SSH_KEEPALIVE_DEFAULT ((struct ssh_keepalive){.ping_ms = 10000, .dead_ms = 20000})

/* --- flow.c --- */

#define FLOW_CHUNK 32768 /* what libssh2 puts into one packet */

/* Bytes on their way in one direction. fd is our end of a socket pair, non-blocking, owned; -1: none (any more). */
struct flow {
    int fd;
    int stream; /* 0, or SSH_EXTENDED_DATA_STDERR */
    bool eof;   /* nothing more will come from the source */
    size_t start, end;
    char bytes[FLOW_CHUNK];
};
static inline bool flow_pending(const struct flow *f) { return f->end > f->start; }

/* Each moves what can be moved now: 0, or a libssh2 error that is the session's end. *moved is set if anything was. */
int flow_to_channel(struct flow *f, LIBSSH2_CHANNEL *channel, const struct wire *w, bool *moved);
int flow_from_channel(struct flow *f, LIBSSH2_CHANNEL *channel, bool *moved);
/* What each waits for, besides the SSH socket; fd -1 for nothing. */
struct pollfd flow_want_source(const struct flow *f, const struct wire *w);
struct pollfd flow_want_sink(const struct flow *f);
void flow_close(struct flow *f);

/* --- job.c --- */

enum job_kind { JOB_EXEC, JOB_FORWARD };

enum job_state {
    JOB_WAITING,  /* for its turn to open a channel */
    JOB_OPENING,  /* the peer is asked for a channel */
    JOB_STARTING, /* the command is handed over (exec only) */
    JOB_RUNNING,  /* bytes flow */
    JOB_CLOSING,  /* our end is closed; waiting for the peer to close its own */
    JOB_GONE,
};

/* What the caller sees. */
enum job_phase { PHASE_PENDING, PHASE_OPEN, PHASE_DONE };

struct ssh_session;

struct ssh_job {
    atomic_int refs; /* the caller and the thread */
    struct ssh_job *next;
    struct ssh_session *session; /* counted; NULL until submitted */

    /* set before the job is submitted, constant after */
    enum job_kind kind;
    char *command;  /* exec: for the user's login shell, or a subsystem's name */
    bool subsystem; /* exec */
    char *host;     /* forward */
    uint16_t port;

    /* the thread's own */
    enum job_state state;
    LIBSSH2_CHANNEL *channel;
    struct flow in, out, err; /* in and out of a forward are two descriptors of one socket */
    bool in_ended;            /* the peer was told that nothing more comes */

    /* from the caller to the thread */
    atomic_bool abandoned;

    /* from the thread to the caller: written before phase becomes PHASE_DONE, constant after */
    atomic_int phase;
    int changed;       /* eventfd: counts the changes of phase */
    bool session_full; /* the error is this session's; another may take the job */
    int status;
    struct error error;
};

struct ssh_job *job_new(enum job_kind kind, const char *subject, struct error *err);
void job_release(struct ssh_job *job); /* NULL-safe */
void job_signal(struct ssh_job *job);  /* makes job->changed readable */

/* One step as far as it goes now. *moved is set if anything happened. Returns a libssh2 error if the session is lost.
 */
int job_step(struct ssh_job *job, bool *moved);
/* Ends the job with an error, if its caller does not have its answer yet, and lets go of all it holds. */
void job_fail(struct ssh_job *job, const struct error *error);
#define JOB_POLL_MAX 3
/* Writes what it waits for besides the SSH socket into fds[JOB_POLL_MAX]; returns how many. */
unsigned job_want(const struct ssh_job *job, const struct wire *w, struct pollfd *fds);

/* --- loop.c --- */

/* OpenSSH refuses an eleventh command on one connection (sshd_config, MaxSessions); two are left for those that have
 * ended here and not yet there. */
#define SSH_COMMANDS_MAX 8
/* So long a session that refused one gets no command that could go elsewhere. */
#define SSH_FULL_MS 10000

struct ssh_session {
    atomic_int refs; /* the access and every job: a call may outlive the access it came through */
    char *subject;
    struct ssh_keepalive keepalive;
    pthread_t thread;

    /* what choosing a session goes by */
    atomic_int commands;            /* submitted, and their channels not yet closed */
    atomic_int unanswered_forwards; /* submitted, and the peer has not said yes or no yet */
    _Atomic int64_t full_until;     /* clock_ms() value */

    /* under the lock */
    pthread_mutex_t lock;
    struct ssh_job *submitted; /* newest first */
    bool stop;                 /* asked to end */
    bool dead;                 /* will run no more jobs; error tells why */
    struct error error;
    int wake; /* eventfd: the thread is to look at the above */

    /* the thread's own */
    struct wire *wire;
    struct ssh_job *jobs;       /* oldest first */
    struct ssh_job *requesting; /* the one job that waits for the reply to a request */
    int open_commands;
    int64_t pinged_at; /* 0: not since the peer was last heard */
};

/* Takes the wire over, in any case, and starts the thread. */
int ssh_session_start(struct wire *w, const char *subject, struct ssh_keepalive keepalive, struct ssh_session **ret,
                      struct error *err) NESTOR_CHECKED;
/* Ends all jobs and the thread, and lets go of s. */
void ssh_session_stop(struct ssh_session *s);
void ssh_session_release(struct ssh_session *s);
/* Hands the thread its own reference. Fails, with the reason, when the session is dead. */
int ssh_session_submit(struct ssh_session *s, struct ssh_job *job, struct error *err) NESTOR_CHECKED;
bool ssh_session_alive(struct ssh_session *s);
void ssh_session_wake(struct ssh_session *s);

/* --- connect.c --- */

/* Speaks SSH on the connected socket fd (taken over, in any case) until the user is authenticated. */
int ssh_connect(int fd, const struct ssh_target *target, struct wire **ret, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;

/* --- pool.c --- */

struct ssh_pool;
int ssh_pool_open(struct access *parent, const struct ssh_target *target, struct ssh_keepalive keepalive,
                  struct ssh_pool **ret, const struct context *ctx, struct error *err) NESTOR_CHECKED;
void ssh_pool_close(struct ssh_pool *p);
/* Hands the job to a session. May connect one more for it, within ctx. */
int ssh_pool_submit(struct ssh_pool *p, struct ssh_job *job, const struct context *ctx,
                    struct error *err) NESTOR_CHECKED;
bool ssh_pool_alive(struct ssh_pool *p);
const char *ssh_pool_subject(const struct ssh_pool *p);

/* --- access.c --- */

enum ssh_program { SSH_SCRIPT, SSH_SUBSYSTEM };

/* What runs at the other end, with its streams in the caller's hands. */
struct ssh_process {
    struct stdio stdio;
    struct ssh_job *job; /* NULL: none */
};

/* `text` is a script for a POSIX shell, or a subsystem's name. ERR_UNSUPPORTED when the server has no such subsystem,
 * or the script is too long. */
int ssh_start(struct access *a, enum ssh_program program, const char *text, struct ssh_process *ret,
              const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Until it has ended: its status, or why the connection did. */
int ssh_wait(struct ssh_process *p, int *ret_status, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Closes its streams and, if it has not ended, its channel. */
void ssh_leave(struct ssh_process *p);
#define cleanup_ssh_process __attribute__((cleanup(ssh_leave)))
#define SSH_PROCESS_NONE ((struct ssh_process){.stdio = {.in = -1, .out = -1, .err = -1, .ended = -1}})

int ssh_exec(struct access *a, const struct command *command, const struct transfer *transfer,
             struct command_result *ret, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* access_ssh with another keepalive than the default. */
int access_ssh_keepalive(struct access *parent, const struct ssh_target *target, struct ssh_keepalive keepalive,
                         struct access **ret, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- put.c, put_shell.c --- */

/* A file on its way to another machine. */
struct put {
    struct access *access;
    struct sftp_source from;
    const char *path; /* there */
    const char *part; /* the name it has until it is whole: no other file's, in the same directory */
    mode_t mode;
    struct transfer transfer;
};

int ssh_put(struct access *a, const char *local_path, const char *remote_path, mode_t mode, progress_fn progress,
            void *progress_data, const struct context *ctx, struct error *err) NESTOR_CHECKED;
int ssh_put_by_shell(const struct put *p, const struct context *ctx, struct error *err) NESTOR_CHECKED;

#endif

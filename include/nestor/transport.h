/* An access: how to reach one machine and do something there. The local machine and a machine behind SSH (and
 * behind another SSH, to any depth) look the same.
 *
 *   access_local()                     the machine nestor runs on
 *   access_ssh(parent access, ...)     a machine whose SSH port the parent can dial
 *
 * Thread rules: an access may be used by several threads at once; each call is independent.
 * Lifetime: an SSH access tunnels through its parent, so the parent outlives it: close children first.
 */
#ifndef NESTOR_TRANSPORT_H
#define NESTOR_TRANSPORT_H

#include <stdint.h>
#include <sys/types.h>

#include "nestor/buffer.h"
#include "nestor/context.h"
#include "nestor/error.h"

struct access;

/* A command for a POSIX shell at the other end ("sh -c" semantics). Exactly one of the input forms and one of
 * the output forms is used: fds when >= 0 (borrowed, for `nestor exec`), else buffers. */
struct command {
    const char *script; /* Over SSH at most 32000 bytes once quoted: more is ERR_UNSUPPORTED, pass it as input. A
                         * Dropbear hangs up on more than about 9000. */
    const void *input;  /* bytes for stdin, may be NULL */
    size_t input_len;
    int in_fd, out_fd, err_fd; /* -1: use buffers; see COMMAND() */
    size_t max_output;         /* per stream, when buffered; 0: 16 MiB; more is ERR_PROTOCOL */
};
#define COMMAND(text) ((struct command){.script = (text), .in_fd = -1, .out_fd = -1, .err_fd = -1})

struct command_result {
    int status; /* exit status, 0 to 255; 128 + n when signal n ended it; 255 when it is none of these */
    struct buffer out, err;
};
void command_result_free(struct command_result *r);
#define cleanup_command_result __attribute__((cleanup(command_result_free)))

/* Runs the command to its end. Returns 0 whatever its exit status; -1 only if it could not be run or followed:
 * ERR_TIMEOUT, ERR_CANCELLED, ERR_UNREACHABLE (connection lost, retry set), ERR_PROTOCOL. *ret is filled on
 * success, and owned by the caller. A command whose context ends is killed with its process group (local) or its
 * channel is closed (SSH; a process there that neither reads nor writes goes on). What a local command left running
 * in the background is not waited for; over SSH the end comes when nobody holds its output any more, as for ssh(1). */
int access_run(struct access *a, const struct command *command, struct command_result *ret, const struct context *ctx,
               struct error *err) NESTOR_CHECKED;
/* As access_run, and a non-zero status is ERR_PROCESS with the last line of its standard error as the cause.
 * ret may be NULL. */
int access_run_ok(struct access *a, const char *script, struct command_result *ret, const struct context *ctx,
                  struct error *err) NESTOR_CHECKED;

typedef void (*progress_fn)(void *data, uint64_t done, uint64_t total);

/* Copies a local file to remote_path: written to a temporary name beside it (".NAME.part-...", removed again when the
 * copy does not succeed), put on disk, then renamed, so a cut leaves no half file of that name. Mode as for chmod.
 * progress (may be NULL) is called on the caller's thread, with what has arrived.
 * Over SSH it goes by SFTP; through a shell only where there is no SFTP server, or one that cannot replace a file in
 * one step. Where there is SFTP and no shell, the temporary name stays behind when the connection is lost. */
int access_put(struct access *a, const char *local_path, const char *remote_path, mode_t mode, progress_fn progress,
               void *progress_data, const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* A connected, non-blocking stream socket to host:port as seen from there. The caller closes it. Errors:
 * ERR_CONNECT_REFUSED and ERR_UNREACHABLE (retry set), ERR_TIMEOUT; ERR_UNSUPPORTED when its SSH server forwards
 * nothing. */
int access_dial(struct access *a, const char *host, uint16_t port, int *ret_fd, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;

/* "localhost", or what was given to access_ssh as subject; borrowed until close. */
const char *access_subject(const struct access *a);
/* False once the connection is known to be lost: close it and make a new one. Always true when local. */
bool access_alive(struct access *a);
void access_close(struct access *a); /* NULL-safe; cuts what still runs through it */

/* Always the same one; closing it does nothing. */
struct access *access_local(void);

/* Who answers there must hold the private half of host_key. */
struct ssh_target {
    const char *subject; /* "quickstart/kvm1", for messages */
    const char *host;    /* as seen from the parent access */
    uint16_t port;
    const char *user;
    const char *host_key;    /* "ssh-ed25519 AAAA...": the pinned key. NULL is refused: ERR_HOST_KEY_UNKNOWN */
    const char *private_key; /* PEM text of the user's key, never put on disk or into logs. A copy is kept until the
                              * access is closed, then wiped: more connections may be made for many calls at once */
    const char *public_key;  /* may be NULL: the private key holds it */
    int64_t greeting_ms; /* ERR_TIMEOUT if the server has not said its first byte by then; 0: as long as ctx lasts */
};
/* One attempt. Match, unknown and changed are three answers: only match connects; another key of the same or
 * another type is ERR_HOST_KEY_CHANGED. ERR_AUTH when the user key is refused (retry is set: during boot a guest
 * may refuse before cloud-init has run); ERR_CONNECT_REFUSED, ERR_UNREACHABLE, ERR_PROTOCOL (banner) with retry. */
int access_ssh(struct access *parent, const struct ssh_target *target, struct access **ret, const struct context *ctx,
               struct error *err) NESTOR_CHECKED;

/* The table an access is made of: local, SSH, and the fake driver's. First field of every access object. */
struct access_ops {
    int (*run)(struct access *, const struct command *, struct command_result *, const struct context *,
               struct error *);
    int (*put)(struct access *, const char *, const char *, mode_t, progress_fn, void *, const struct context *,
               struct error *);
    int (*dial)(struct access *, const char *, uint16_t, int *, const struct context *, struct error *);
    bool (*alive)(struct access *);
    void (*close)(struct access *);
};
struct access {
    const struct access_ops *ops;
    const char *subject; /* owned by the implementation */
};

/* --- local processes (transport/process.c) --- */

/* Starts argv[0] (found in PATH) and runs it to its end, exactly as access_run, with no shell between.
 * ERR_MISSING_PROGRAM with a mend if it is not installed. */
int process_run(const char *const argv[], const struct command *io, struct command_result *ret,
                const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* --- HTTP (transport/http.c) --- */

/* Downloads url (https, http, file) to path through ".NAME.part" beside it. A cut download is continued by the next
 * call when expected_sha256 (hex, may be NULL) can prove the whole; a mismatch is ERR_CHECKSUM and the file is
 * removed. TLS is verified with the system's store. ERR_LOCKED, retry set, while another process downloads to path. */
int http_download(const char *url, const char *path, const char *expected_sha256, progress_fn progress,
                  void *progress_data, const struct context *ctx, struct error *err) NESTOR_CHECKED;

#endif

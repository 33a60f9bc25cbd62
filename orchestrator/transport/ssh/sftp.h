/* SFTP version 3 (draft-ietf-secsh-filexfer-02), as much of it as putting a file needs: over the two ends of a
 * subsystem's channel, on the caller's own thread and within its context.
 *
 * Not libssh2's SFTP, of whose version 1.10 (sftp.c) these four do not fit here:
 *   - libssh2_sftp_init, when the subsystem is refused, frees its channel in a loop that only ends with the peer's
 *     answer. Here that answer cannot come before the call returns: libssh2 never reads the socket (wire.h).
 *   - sftp_packet_read repeats for ever when a server ends in the middle of a reply.
 *   - Close and rename take a request for failed of which only a part fitted the channel's window, and leave that part
 *     in the stream.
 *   - It does not know posix-rename@openssh.com, the only rename of this version that replaces a file: the plain one
 *     refuses a name that exists, and removing the old file first leaves a moment with neither.
 */
#ifndef TRANSPORT_SSH_SFTP_H
#define TRANSPORT_SSH_SFTP_H

#include "nestor/buffer.h"
#include "nestor/context.h"
#include "transport/stdio.h"

#define SFTP_HANDLE_MAX 256

/* Extensions of OpenSSH's (its file PROTOCOL). */
enum sftp_extension { SFTP_POSIX_RENAME = 1 << 0, SFTP_FSYNC = 1 << 1, SFTP_FSTATVFS = 1 << 2 };

struct sftp {
    int in, out;         /* non-blocking sockets to and from the server; borrowed */
    const char *subject; /* borrowed */
    const char *target;  /* the file that errors speak of; borrowed */
    struct buffer queued;
    size_t sent; /* of queued */
    struct buffer received;
    size_t taken; /* of received */
    uint32_t next_id;
    unsigned extensions; /* the server's */
    bool ended;          /* the server closed its end: the last error only says so, its channel may tell why */
};

/* A file on this machine. */
struct sftp_source {
    const char *path;
    int fd;
    uint64_t size;
};

struct sftp_file {
    uint32_t handle_len;
    char handle[SFTP_HANDLE_MAX];
};

/* Errors have s->subject, and the server's status as the native number: ERR_NOT_FOUND (the directory), ERR_DISK_FULL,
 * ERR_IO, ERR_PROTOCOL. After a failed request the session goes on; after ERR_PROTOCOL, or when the context has ended
 * in the middle, only sftp_remove is of any use. */

/* The greeting. Before it only in, out, subject and target are set. */
int sftp_greet(struct sftp *s, const struct context *ctx, struct error *err) NESTOR_CHECKED;
bool sftp_heard(const struct sftp *s); /* anything at all, yet */
void sftp_free(struct sftp *s);
#define cleanup_sftp __attribute__((cleanup(sftp_free)))

/* False also for what is not there. */
int sftp_is_directory(struct sftp *s, const char *path, bool *ret, const struct context *ctx,
                      struct error *err) NESTOR_CHECKED;
/* A new file with mode 0600. */
int sftp_create(struct sftp *s, const char *path, struct sftp_file *ret, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;
/* All of the source; one that became shorter meanwhile is ERR_IO. */
int sftp_write(struct sftp *s, const struct sftp_file *f, const struct sftp_source *from,
               const struct transfer *transfer, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Sets the mode, puts the file on disk where the server can, and closes it. */
int sftp_finish(struct sftp *s, const struct sftp_file *f, mode_t mode, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;
/* In one step; a file of that name is replaced. Needs SFTP_POSIX_RENAME. */
int sftp_rename(struct sftp *s, const char *from, const char *to, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;
int sftp_remove(struct sftp *s, const char *path, const struct context *ctx, struct error *err) NESTOR_CHECKED;

#endif

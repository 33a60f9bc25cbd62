/* The caller's half of a running command, local or behind SSH: feeds its standard input, takes its standard
 * output and error, and waits for its end, all within a context.
 *
 * It works on the caller's own thread, so a caller's descriptors and buffers are never touched by another one.
 */
#ifndef TRANSPORT_STDIO_H
#define TRANSPORT_STDIO_H

#include "nestor/transport.h"

/* A file on its way to a command's standard input. */
struct transfer {
    progress_fn progress; /* may be NULL; called on the caller's thread */
    void *data;
    uint64_t total;
};

struct stdio {
    int in, out, err;                /* our ends, non-blocking; owned; -1 once finished */
    int ended;                       /* becomes readable when the command has ended (a pidfd, an eventfd); borrowed */
    const struct transfer *transfer; /* or NULL */
};

void stdio_close(struct stdio *s);
#define cleanup_stdio __attribute__((cleanup(stdio_close)))

/* Returns when the command has ended and all it wrote by then was taken. What a process left in the background
 * writes later is not waited for. */
int stdio_run(struct stdio *s, const struct command *command, struct command_result *ret, const char *subject,
              const struct context *ctx, struct error *err) NESTOR_CHECKED;

/* Blocks SIGPIPE in the calling thread for a scope, so that writing to a closed pipe is EPIPE, whatever the
 * program's disposition of the signal, and leaves no signal pending behind. */
struct sigpipe_guard {
    bool was_blocked, was_pending;
};
struct sigpipe_guard sigpipe_block(void);
void sigpipe_restore(struct sigpipe_guard *g);
#define cleanup_sigpipe __attribute__((cleanup(sigpipe_restore), unused))

#endif

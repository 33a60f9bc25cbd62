/* QMP, QEMU's control protocol: one JSON object per line over a socket (qemu.org, "QMP specification").
 *
 * QEMU serves one client of a monitor at a time; the next one is left waiting for its greeting. So connect, do what
 * is to be done, and close: another nestor may be in the queue. Every wait ends with the context.
 * Thread rules: a connection belongs to one thread at a time.
 */
#ifndef NESTOR_QMP_H
#define NESTOR_QMP_H

#include <jansson.h>

#include "nestor/context.h"
#include "nestor/error.h"

struct qmp;

/* Connects to the socket `name` in `dirfd` and negotiates. `subject` (for messages) is copied.
 * Going through the directory lifts the limit of 107 bytes that sockaddr_un puts on a path.
 * ERR_CONNECT_REFUSED or ERR_NOT_FOUND when no QEMU is behind it, else as qmp_execute. */
int qmp_connect(int dirfd, const char *name, const char *subject, struct qmp **ret, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;
/* The same over a connected socket, which it owns from here on, whatever it returns. */
int qmp_attach(int fd, const char *subject, struct qmp **ret, const struct context *ctx,
               struct error *err) NESTOR_CHECKED;

/* Runs one command and hands back its "return" value (ret may be NULL; free with json_decref). `arguments` may be
 * NULL and is consumed in every case. Events are skipped. ERR_PROCESS: QEMU refused, its words are the cause.
 * ERR_UNREACHABLE (retry set): QEMU went away. ERR_PROTOCOL: it does not speak QMP. After anything but success and
 * ERR_PROCESS the connection is good for nothing but qmp_close. */
int qmp_execute(struct qmp *q, const char *command, json_t *arguments, json_t **ret, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;

void qmp_close(struct qmp *q); /* NULL-safe */

static inline void qmp_closep(struct qmp **q) { qmp_close(*q); }
#define cleanup_qmp __attribute__((cleanup(qmp_closep)))

#endif

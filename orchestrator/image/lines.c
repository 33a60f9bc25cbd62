#include "image/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "nestor/buffer.h"

static void emit_line(struct lines *l) {
    if (l->len == 0)
        return;
    l->line[l->len] = '\0';
    l->len = 0;
    memcpy(l->last, l->line, sizeof l->last);
    event_emit(l->sink, (struct event){.kind = EVENT_STEP_PROGRESS, .step = "image", .text = l->line});
}

/* Progress meters write carriage returns: each redraw is a line of its own. What exceeds the room is only logged. */
static void take(struct lines *l, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n' || c == '\r')
            emit_line(l);
        else if (l->len < LINE_MAX_LEN)
            l->line[l->len++] = (char)(c < 0x20 || c == 0x7f ? ' ' : c);
    }
    /* The log is a help for reading; a full disk shows in the image itself. */
    ssize_t ignored = write(l->log_fd, bytes, n);
    (void)ignored;
}

static void *follow(void *data) {
    struct lines *l = data;
    char chunk[4096];
    for (;;) {
        ssize_t n = read(l->read_fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        take(l, chunk, (size_t)n);
    }
    emit_line(l);
    return NULL;
}

int lines_begin(struct lines *l, const char *log, struct event_sink *sink, struct error *err) {
    *l = (struct lines){.write_fd = -1, .read_fd = -1, .log_fd = -1, .sink = sink};
    int fds[2];
    l->log_fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (l->log_fd < 0)
        return error_set_errno(err, errno, log, "cannot create the log");
    if (pipe2(fds, O_CLOEXEC) != 0)
        return error_set_errno(err, errno, log, "cannot make a pipe");
    l->read_fd = fds[0];
    l->write_fd = fds[1];
    int failed = pthread_create(&l->thread, NULL, follow, l);
    if (failed)
        return error_set_errno(err, failed, log, "cannot start a thread");
    l->running = true;
    return 0;
}

void lines_finish(struct lines *l) {
    cleanup_closep(&l->write_fd);
    if (l->running)
        pthread_join(l->thread, NULL);
    l->running = false;
}

const char *lines_last(const struct lines *l) { return l->last; }

void lines_end(struct lines *l) {
    lines_finish(l);
    cleanup_closep(&l->read_fd);
    cleanup_closep(&l->log_fd);
}

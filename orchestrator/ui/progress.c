/* The event sink: keeps the board, and a thread that shows it even while nothing happens. That is when people look. */
#include "ui/progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIVE_TICK_MS 120
#define PLAIN_TICK_MS 1000

struct progress {
    struct event_sink sink; /* first: the sink is the progress */
    FILE *out;
    bool live, quiet, threaded, closing;
    bool paused, writing; /* writing: the thread is, without the lock */
    struct look look;
    const struct cancel *cancel;
    pthread_t thread;
    pthread_mutex_t lock; /* for all below and the look */
    pthread_cond_t wake;
    pthread_cond_t still; /* nothing is being written any more */
    struct board board;
    struct buffer pending; /* lines that are to stay, not yet written */
    struct buffer picture; /* live: as it stands on the screen */
};

static void write_all(struct progress *p, const struct buffer *b) {
    const char *at = b->data;
    size_t left = b->len;
    while (left) {
        ssize_t n = write(fileno(p->out), at, left);
        if (n < 0 && errno != EINTR)
            return; /* nobody looks any more; the work goes on */
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
}

/* Screen lines that text takes at this width. A terminal that was made narrower has wrapped the picture's lines. */
static size_t rows_taken(const char *text, unsigned columns) {
    size_t rows = 0, used = 0;
    for (; *text; text++) {
        if (*text == '\033')
            text += strcspn(text, "m"); /* tints are all it contains */
        else if (*text == '\n')
            rows += used ? (used + columns - 1) / columns : 1, used = 0;
        else
            used += (*text & 0xc0) != 0x80; /* not the rest of a character */
    }
    return rows;
}

/* Each line of the picture over what stood there: what did not change does not flicker. Lines that stay above it
 * may be longer than the screen is wide, so they need the space below to be empty. */
static void put_over(struct buffer *frame, const struct buffer *stays, const struct buffer *picture, bool may_wrap) {
    if (stays->len)
        buffer_printf(frame, "\033[J%s", buffer_str(stays));
    buffer_puts(frame, may_wrap ? "\033[J" : "\033[?7l");
    for (const char *line = buffer_str(picture); *line; line++) {
        size_t n = strcspn(line, "\n");
        buffer_append(frame, line, n);
        buffer_puts(frame, may_wrap ? "\n" : "\033[K\n");
        line += n;
    }
    buffer_puts(frame, may_wrap ? "" : "\033[J\033[?7h");
}

/* All in one write. The cursor is hidden and wrapping is off only within it, so however the process ends, the terminal
 * is left as it was. */
static void compose(struct progress *p, struct buffer *frame) {
    size_t above = rows_taken(buffer_str(&p->picture), p->look.columns);
    buffer_clear(&p->picture);
    live_draw(&p->board, clock_ms(), &p->look, &p->picture);
    if (!p->picture.len && !p->pending.len)
        return;
    buffer_puts(frame, "\033[?25l");
    if (above)
        buffer_printf(frame, "\033[%zuA", above);
    buffer_putc(frame, '\r');
    put_over(frame, &p->pending, &p->picture, p->look.last);
    buffer_puts(frame, "\033[?25h");
    buffer_clear(&p->pending);
}

static void show_live(struct progress *p, struct buffer *frame) {
    terminal_size(fileno(p->out), &p->look.columns, &p->look.lines);
    p->look.frame++;
    p->look.stopping = cancel_fired(p->cancel);
    compose(p, frame);
}

static void show_plain(struct progress *p, struct buffer *frame) {
    if (!p->quiet)
        plain_beats(&p->board, clock_ms(), &p->look, &p->pending);
    buffer_append(frame, p->pending.data, p->pending.len);
    buffer_clear(&p->pending);
}

static void wait_tick(struct progress *p) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (p->live ? LIVE_TICK_MS : PLAIN_TICK_MS) * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&p->wake, &p->lock, &until);
}

/* Only this thread writes, and not under the lock: a terminal stopped with Ctrl-S must not stop the work. */
static void *show(void *data) {
    struct progress *p = data;
    struct buffer frame = {0};
    pthread_mutex_lock(&p->lock);
    for (bool closing = false; !closing;) {
        if (!p->closing && (p->live || !p->pending.len))
            wait_tick(p);
        while (p->paused && !p->closing)
            pthread_cond_wait(&p->wake, &p->lock);
        closing = p->closing;
        p->look.last = closing;
        (p->live ? show_live : show_plain)(p, &frame);
        p->writing = true;
        pthread_mutex_unlock(&p->lock);
        write_all(p, &frame);
        buffer_clear(&frame);
        pthread_mutex_lock(&p->lock);
        p->writing = false;
        pthread_cond_signal(&p->still);
    }
    pthread_mutex_unlock(&p->lock);
    buffer_free(&frame);
    return NULL;
}

static void take(struct event_sink *sink, const struct event *e) {
    struct progress *p = (struct progress *)sink;
    pthread_mutex_lock(&p->lock);
    struct active *active = board_take(&p->board, e);
    if (p->live)
        live_message(e, &p->look, &p->pending);
    else
        plain_event(&p->board, e, active, p->quiet, &p->look, &p->pending);
    if (!p->threaded && !p->paused) {
        write_all(p, &p->pending);
        buffer_clear(&p->pending);
    } else if (!p->live && p->pending.len) {
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
}

struct progress *progress_open(FILE *out, bool live, bool color, bool quiet) {
    struct progress *p = xcalloc(1, sizeof *p);
    p->sink.emit = take;
    p->out = out;
    p->live = live && !quiet;
    p->quiet = quiet;
    p->look = (struct look){.color = color, .utf8 = terminal_is_utf8()};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &monotonic);
    pthread_cond_init(&p->still, NULL);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&p->lock, NULL);
    fflush(out);
    pthread_mutex_lock(&p->lock); /* the thread looks at both */
    p->threaded = pthread_create(&p->thread, NULL, show, p) == 0;
    p->live = p->live && p->threaded; /* without a thread: plain lines, written by whoever has an event */
    pthread_mutex_unlock(&p->lock);
    return p;
}

struct event_sink *progress_sink(struct progress *p) {
    return &p->sink;
}

void progress_plan(struct progress *p, const struct plan *plan) {
    pthread_mutex_lock(&p->lock);
    board_plan(&p->board, plan);
    pthread_mutex_unlock(&p->lock);
}

void progress_watch(struct progress *p, const struct cancel *cancel) {
    pthread_mutex_lock(&p->lock);
    p->cancel = cancel;
    pthread_mutex_unlock(&p->lock);
}

/* The picture is wiped, not left behind: what is asked stands where it was. */
void progress_pause(struct progress *p) {
    cleanup_buffer struct buffer wipe = {0};
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->paused = true;
    while (p->writing)
        pthread_cond_wait(&p->still, &p->lock);
    if (p->picture.len) {
        buffer_printf(&wipe, "\033[%zuA\r\033[J", rows_taken(buffer_str(&p->picture), p->look.columns));
        buffer_clear(&p->picture);
        write_all(p, &wipe);
    }
    pthread_mutex_unlock(&p->lock);
}

void progress_resume(struct progress *p) {
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->paused = false;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

void progress_close(struct progress *p) {
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    if (p->threaded)
        pthread_join(p->thread, NULL);
    board_free(&p->board);
    buffer_free(&p->pending);
    buffer_free(&p->picture);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->still);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

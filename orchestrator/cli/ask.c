#include "cli/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "nestor/file.h"

#define ANSWER_MAX 1024

static int nobody(const char *prompt, struct error *err) {
    size_t len = strcspn(prompt, ":");
    error_set(err, ERR_USAGE, NULL, "'%.*s' cannot be asked for: there is no terminal", (int)len, prompt);
    return error_mend(err, "say where it is in the lab file: password: { env: NAME } or { file: PATH }");
}

/* One line, as far as the terminal hands it over at once: it edits lines itself. */
static int read_line(int tty, const struct context *ctx, char line[ANSWER_MAX], size_t *ret_len, struct error *err) {
    struct pollfd in = {.fd = tty, .events = POLLIN};
    if (context_poll(ctx, &in, 1, -1, NULL, "waiting for a password", err) < 0)
        return -1;
    ssize_t n = read(tty, line, ANSWER_MAX);
    if (n < 0)
        return error_set_errno(err, errno, NULL, "cannot read from the terminal");
    if (n == 0 || line[n - 1] != '\n')
        return error_set(err, ERR_USAGE, NULL,
                         n ? "a password of this length cannot be typed" : "no password was typed");
    *ret_len = (size_t)n - 1;
    return *ret_len ? 0 : error_set(err, ERR_USAGE, NULL, "no password was typed");
}

/* The terminal is as before when this returns, also after Ctrl-C, which ends the poll. */
static int ask_on(int tty, const char *prompt, const struct context *ctx, struct buffer *ret, struct error *err) {
    struct termios before, silent;
    char line[ANSWER_MAX];
    size_t len = 0;
    if (tcgetattr(tty, &before) != 0)
        return error_set_errno(err, errno, NULL, "cannot speak to the terminal");
    silent = before;
    silent.c_lflag &= (tcflag_t) ~(ECHO | ECHONL);
    silent.c_lflag |= ICANON | ISIG;
    tcsetattr(tty, TCSAFLUSH, &silent);
    int failed = fd_write(tty, prompt, strlen(prompt)) || read_line(tty, ctx, line, &len, err) ? -1 : 0;
    tcsetattr(tty, TCSAFLUSH, &before);
    (void)!write(tty, "\n", 1);
    if (!failed) {
        buffer_reserve(ret, ANSWER_MAX); /* at once: growing would leave copies behind */
        buffer_append(ret, line, len);
    }
    explicit_bzero(line, sizeof line);
    return failed;
}

static const struct answer *known(const struct asking *a, const char *prompt) {
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->answers[i].prompt, prompt) == 0)
            return &a->answers[i];
    return NULL;
}

static int learn(struct asking *a, const char *prompt, struct error *err) {
    cleanup_close int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct answer answer = {.prompt = NULL};
    if (tty < 0)
        return nobody(prompt, err);
    progress_pause(a->board);
    int failed = ask_on(tty, prompt, a->ctx, &answer.text, err);
    progress_resume(a->board);
    if (failed)
        return -1;
    answer.prompt = xstrdup(prompt);
    a->answers = xrealloc(a->answers, (a->n + 1) * sizeof *a->answers);
    a->answers[a->n++] = answer;
    return 0;
}

static int ask(void *data, const char *prompt, struct buffer *ret, struct error *err) {
    struct asking *a = data;
    pthread_mutex_lock(&a->lock);
    int failed = known(a, prompt) ? 0 : learn(a, prompt, err);
    if (!failed) {
        const struct answer *answer = known(a, prompt);
        buffer_reserve(ret, ANSWER_MAX);
        buffer_append(ret, answer->text.data, answer->text.len);
    }
    pthread_mutex_unlock(&a->lock);
    return failed;
}

static bool was_said(const struct asking *a, const char *warning) {
    for (size_t i = 0; i < a->nwarnings; i++)
        if (strcmp(a->warnings[i], warning) == 0)
            return true;
    return false;
}

static void warn(void *data, const char *subject, const char *text) {
    struct asking *a = data;
    char *warning = xasprintf("%s: %s", subject, text);
    pthread_mutex_lock(&a->lock);
    if (was_said(a, warning)) {
        free(warning);
    } else {
        progress_pause(a->board);
        warning_print(warning, color_on(STDERR_FILENO), stderr);
        progress_resume(a->board);
        a->warnings = xrealloc(a->warnings, (a->nwarnings + 1) * sizeof *a->warnings);
        a->warnings[a->nwarnings++] = warning;
    }
    pthread_mutex_unlock(&a->lock);
}

void asking_begin(struct asking *a, const struct context *ctx) {
    *a = (struct asking){.asker = {ask, a, warn}, .ctx = ctx};
    pthread_mutex_init(&a->lock, NULL);
}

void asking_end(struct asking *a) {
    for (size_t i = 0; i < a->n; i++) {
        explicit_bzero(a->answers[i].text.data, a->answers[i].text.cap);
        buffer_free(&a->answers[i].text);
        free(a->answers[i].prompt);
    }
    free(a->answers);
    for (size_t i = 0; i < a->nwarnings; i++)
        free(a->warnings[i]);
    free(a->warnings);
    pthread_mutex_destroy(&a->lock);
}

void asking_board(struct asking *a, struct progress *board) {
    pthread_mutex_lock(&a->lock);
    a->board = board;
    pthread_mutex_unlock(&a->lock);
}

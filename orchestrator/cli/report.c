#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "nestor/lab.h"
#include "ui/ui.h"

bool color_on(int fd) { return isatty(fd) && !getenv("NO_COLOR"); }

static void print_part(const char *label, enum tint how, const char *text, bool color, FILE *out) {
    if (!text[0])
        return;
    fprintf(out, "  %s%s:%s ", tint(color, how), label, tint_end(color));
    print_safe(text, out);
    fputc('\n', out);
}

/*  error: quickstart/kvm1: starting it: QEMU ended at once: ...
 *    mend: apt-get install qemu-system-x86 */
void error_print(const struct error *err, bool color, FILE *out) {
    const char *const parts[] = {err->subject, err->context, err->cause};
    fprintf(out, "%serror:%s", tint(color, TINT_BAD), tint_end(color));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!parts[i][0])
            continue;
        fputs(i && (parts[0][0] || (i > 1 && parts[1][0])) ? ": " : " ", out);
        print_safe(parts[i], out);
    }
    fputc('\n', out);
    print_part("mend", TINT_BOLD, err->mend, color, out);
    print_part("note", TINT_DIM, err->note, color, out);
}

void warning_print(const char *text, bool color, FILE *out) {
    fprintf(out, "%swarning:%s ", tint(color, TINT_WARN), tint_end(color));
    print_safe(text, out);
    fputc('\n', out);
}

/* The one that begins so; NULL: none, or several. */
static const char *only_beginning(const char *word, const char *const *words, size_t n) {
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!word[0] || strncmp(words[i], word, strlen(word)) != 0)
            continue;
        if (found)
            return NULL;
        found = words[i];
    }
    return found;
}

int mend_with_words(struct error *err, const char *word, const char *const *words, size_t n) {
    cleanup_buffer struct buffer all = {0};
    const char *begins = only_beginning(word, words, n), *near = begins ? begins : nearest_word(word, words, n);
    for (size_t i = 0; i < n; i++)
        buffer_printf(&all, "%s%s", i ? ", " : "", words[i]);
    if (!near)
        return error_mend(err, "there are: %s", buffer_str(&all));
    return error_mend(err, "did you mean '%s'? There are: %s", near, buffer_str(&all));
}

int exit_code_of(const struct error *err) {
    switch (err->code) {
    case ERR_USAGE:
    case ERR_SPEC:
        return NESTOR_USAGE;
    case ERR_CANCELLED:
        return NESTOR_INTERRUPTED;
    default:
        return NESTOR_FAILED;
    }
}

int confirm(struct cli *cli, const char *text, bool *ret_yes, struct error *err) {
    if (!isatty(STDIN_FILENO)) {
        error_set(err, ERR_USAGE, NULL, "this needs a confirmation, and there is no terminal to ask on");
        return error_mend(err, "add --yes");
    }
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[64] = "";
    fprintf(stderr, "%s [y/N] ", text);
    fflush(stderr);
    if (context_poll(&cli->ctx, &in, 1, -1, NULL, "waiting for an answer", err) < 0)
        return -1;
    ssize_t n = read(STDIN_FILENO, line, sizeof line - 1);
    line[n > 0 ? n : 0] = '\0';
    *ret_yes = tolower((unsigned char)line[0]) == 'y';
    return 0;
}

#include <ctype.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "ui/ui.h"

/*  error: quickstart/kvm1: starting it: QEMU ended at once: ...
 *    mend: apt-get install qemu-system-x86 */
void error_print(const struct error *err, bool color, FILE *out) {
    fprintf(out, "%serror:%s ", tint(color, TINT_BAD), tint_end(color));
    if (err->subject[0])
        fprintf(out, "%s: ", err->subject);
    if (err->context[0])
        fprintf(out, "%s: ", err->context);
    fprintf(out, "%s\n", err->cause);
    if (err->mend[0])
        fprintf(out, "  %smend:%s %s\n", tint(color, TINT_BOLD), tint_end(color), err->mend);
    if (err->note[0])
        fprintf(out, "  %snote:%s %s\n", tint(color, TINT_DIM), tint_end(color), err->note);
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

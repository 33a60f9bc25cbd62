/* A file as the standard input of a small script: for guests without an SFTP server, which have a shell all the same.
 *
 * A connection cut at any point leaves nothing behind, because the script at the other end sees a short file and
 * removes it.
 */
#include <inttypes.h>
#include <string.h>

#include "transport/ssh/session.h"

#define STATUS_CUT 75 /* EX_TEMPFAIL */

/* The size is checked before the file gets its name: the end of the input may also be the end of the connection. */
static const char script_format[] =
    "umask 077\n"
    "if [ -d \"$f\" ]; then echo 'Is a directory' >&2; exit 1; fi\n"
    "if cat >\"$t\"; then\n"
    "  if [ $(wc -c <\"$t\") -ne %" PRIu64 " ]; then rm -f \"$t\"; exit %d; fi\n"
    "  chmod %o \"$t\" && { sync \"$t\" 2>/dev/null || sync; } && mv -f \"$t\" \"$f\" && exit\n"
    "fi\n"
    "rm -f \"$t\"\n"
    "exit 1\n";

static void put_script(struct buffer *b, const struct put *p) {
    buffer_puts(b, "LC_ALL=C; export LC_ALL; f=");
    buffer_put_shell(b, p->path);
    buffer_puts(b, "; t=");
    buffer_put_shell(b, p->part);
    buffer_putc(b, '\n');
    buffer_printf(b, script_format, p->from.size, STATUS_CUT, (unsigned)(p->mode & 07777));
}

/* What the tools there say in the C locale. */
static const struct {
    const char *words;
    enum error_code code;
    const char *cause, *mend;
} failures[] = {
    {"No space left", ERR_DISK_FULL, "its disk is full", "free some space there, then run the same command again"},
    {"No such file", ERR_NOT_FOUND, "the directory does not exist", ""},
    {"nonexistent", ERR_NOT_FOUND, "the directory does not exist", ""}, /* dash */
    {"Permission denied", ERR_IO, "the user may not write there", "see whether the user has the rights for it"},
    {"", ERR_IO, "the file could not be written there", ""},
};

static int put_error(const struct put *p, const struct command_result *r, struct error *err) {
    const char *subject = p->access->subject;
    if (r->status == STATUS_CUT) {
        error_set(err, ERR_UNREACHABLE, subject, "only a part of %s arrived", p->path);
        return error_retry(err);
    }
    const char *said = buffer_str(&r->err);
    size_t i = 0;
    while (!strstr(said, failures[i].words))
        i++;
    error_set(err, failures[i].code, subject, "cannot write %s: %s (%s)", p->path, failures[i].cause, said);
    if (failures[i].mend[0])
        error_mend(err, "%s", failures[i].mend);
    return -1;
}

int ssh_put_by_shell(const struct put *p, const struct context *ctx, struct error *err) {
    cleanup_buffer struct buffer script = {0};
    put_script(&script, p);
    struct command command = COMMAND(buffer_str(&script));
    command.in_fd = p->from.fd;
    cleanup_command_result struct command_result r = {0};
    if (ssh_exec(p->access, &command, &p->transfer, &r, ctx, err))
        return -1;
    return r.status ? put_error(p, &r, err) : 0;
}

/* access_put over SSH: the file as the standard input of a small script, rather than SFTP.
 *
 *   - It needs a shell and POSIX tools, which a guest has. An SFTP server it may not have: Dropbear brings none.
 *   - A connection cut at any point leaves nothing behind, because the script at the other end sees a short file and
 *     removes it. With SFTP the part file stays until somebody comes back for it.
 *   - It streams within the channel's window; libssh2's SFTP waits for the status of each request (see its sftp.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void put_temporary_name(struct buffer *b, const char *path) {
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        random = (uint64_t)clock_ms();
    const char *name = basename(path);
    cleanup_free char *temp = xasprintf("%.*s.%s.part-%08" PRIx32, (int)(name - path), path, name, (uint32_t)random);
    buffer_put_shell(b, temp);
}

static void put_script(struct buffer *b, const char *path, uint64_t size, mode_t mode) {
    buffer_puts(b, "LC_ALL=C; export LC_ALL; f=");
    buffer_put_shell(b, path);
    buffer_puts(b, "; t=");
    put_temporary_name(b, path);
    buffer_putc(b, '\n');
    buffer_printf(b, script_format, size, STATUS_CUT, (unsigned)(mode & 07777));
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

static int put_error(const struct access *a, const char *path, const struct command_result *r, struct error *err) {
    if (r->status == STATUS_CUT) {
        error_set(err, ERR_UNREACHABLE, a->subject, "only a part of %s arrived", path);
        return error_retry(err);
    }
    const char *said = buffer_str(&r->err);
    size_t i = 0;
    while (!strstr(said, failures[i].words))
        i++;
    error_set(err, failures[i].code, a->subject, "cannot write %s: %s (%s)", path, failures[i].cause, said);
    if (failures[i].mend[0])
        error_mend(err, "%s", failures[i].mend);
    return -1;
}

int ssh_put(struct access *a, const char *local_path, const char *remote_path, mode_t mode, progress_fn progress,
            void *progress_data, const struct context *ctx, struct error *err) {
    struct stat st;
    cleanup_close int from = open(local_path, O_RDONLY | O_CLOEXEC);
    if (from < 0 || fstat(from, &st))
        return error_set_errno(err, errno, local_path, "cannot open the file to copy");
    cleanup_buffer struct buffer script = {0};
    put_script(&script, remote_path, (uint64_t)st.st_size, mode);
    struct command command = COMMAND(buffer_str(&script));
    command.in_fd = from;
    struct transfer transfer = {.progress = progress, .data = progress_data, .total = (uint64_t)st.st_size};
    cleanup_command_result struct command_result r = {0};
    if (ssh_exec(a, &command, &transfer, &r, ctx, err))
        return -1;
    return r.status ? put_error(a, remote_path, &r, err) : 0;
}

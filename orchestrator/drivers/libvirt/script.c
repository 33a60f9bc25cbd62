#include <string.h>

#include "drivers/libvirt/libvirt.h"

void script_begin(const struct hypervisor *hv, struct buffer *script) {
    buffer_puts(script, "set -eu\numask 077\nexport LC_ALL=C\n");
    script_set(script, "dir", hv->directory);
    script_set(script, "net", hv->network);
    script_set(script, "uri", hv->uri);
    buffer_puts(script, "base=$dir/base\nv() { virsh -q -c \"$uri\" \"$@\" </dev/null; }\n");
    /* A directory leaves its name in one step, so a removal that is cut never leaves one without its tag. */
    buffer_puts(script, "discard() {\n"
                        "    rm -rf \"${dir:?}/.gone.$1\"\n"
                        "    [ ! -e \"$dir/$1\" ] || mv \"$dir/$1\" \"$dir/.gone.$1\"\n"
                        "    rm -rf \"${dir:?}/.gone.$1\"\n"
                        "}\n");
}

void script_set(struct buffer *script, const char *name, const char *value) {
    buffer_printf(script, "%s=", name);
    buffer_put_shell(script, value);
    buffer_putc(script, '\n');
}

static const struct {
    int status;
    enum error_code code;
    const char *reason;
} meanings[] = {
    {SCRIPT_ABSENT, ERR_NOT_FOUND, ""},
    {SCRIPT_EXISTS, ERR_EXISTS, ""},
    {SCRIPT_RUNNING, ERR_NESTING, "vhv-needs-power-off"},
    {SCRIPT_NOT_RUNNING, ERR_DIED, ""},
    {SCRIPT_CHECKSUM, ERR_CHECKSUM, ""},
    {127, ERR_MISSING_PROGRAM, ""},
};

/* virsh says "error: Failed to ...\nerror: the cause": the last line that says something. */
static void last_line(const struct buffer *text, char *out, size_t size) {
    const char *s = buffer_str(text);
    size_t end = text->len;
    while (end && (s[end - 1] == '\n' || s[end - 1] == ' '))
        end--;
    size_t start = end;
    while (start && s[start - 1] != '\n')
        start--;
    if (end - start > 7 && memcmp(s + start, "error: ", 7) == 0)
        start += 7;
    size_t n = end - start < size - 1 ? end - start : size - 1;
    memcpy(out, s + start, n);
    out[n] = '\0';
}

/* Shells say "sh: 8: virsh: not found" or "sh: line 8: virsh: command not found". */
static const char *without_place(const char *line) {
    const char *place = strstr(line, ": "), *program = place ? strstr(place + 2, ": ") : NULL;
    return program && strstr(program + 2, ": ") ? program + 2 : line;
}

static int status_error(struct hypervisor *hv, const struct command_result *result, struct error *err) {
    enum error_code code = ERR_PROCESS;
    const char *reason = "";
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].status == result->status) {
            code = meanings[i].code;
            reason = meanings[i].reason;
        }
    char line[400];
    last_line(&result->err, line, sizeof line);
    if (code == ERR_MISSING_PROGRAM)
        error_set(err, code, hv->subject, "a program is missing there%s%s", line[0] ? ": " : "", without_place(line));
    else
        error_set(err, code, hv->subject, "%s", line[0] ? line : "a command on it failed and said nothing");
    if (err)
        err->native = result->status;
    error_reason(err, reason);
    if (code == ERR_MISSING_PROGRAM)
        error_mend(err, "install libvirt-clients, libvirt-daemon-system and qemu-utils there");
    /* The daemon starts on demand and may be asked too early while its machine boots. */
    if (strstr(line, "Failed to connect socket") || strstr(line, "Cannot recv data") ||
        strstr(buffer_str(&result->err), "failed to connect to the hypervisor"))
        error_retry(err);
    return -1;
}

int script_run(struct hypervisor *hv, const char *script, const void *input, size_t input_len, struct buffer *ret_out,
               const struct context *ctx, struct error *err) {
    cleanup_command_result struct command_result result = {0};
    struct command command = COMMAND(script);
    command.input = input;
    command.input_len = input_len;
    if (access_run(hv->access, &command, &result, ctx, err))
        return -1;
    if (result.status != 0)
        return status_error(hv, &result, err);
    if (ret_out) {
        *ret_out = result.out;
        result.out = (struct buffer){0};
    }
    return 0;
}

#include "drivers/fake/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_WORDS 64

static int do_true(struct shell *sh) {
    (void)sh;
    return 0;
}

/* Any number, as a server may say. */
static int do_exit(struct shell *sh) { return sh->n > 1 ? atoi(sh->words[1]) : 0; }

static int do_echo(struct shell *sh) {
    for (int i = 1; i < sh->n; i++)
        buffer_printf(sh->out, "%s%s", i > 1 ? " " : "", sh->words[i]);
    buffer_putc(sh->out, '\n');
    return 0;
}

static const char *host_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int do_hostname(struct shell *sh) {
    buffer_printf(sh->out, "%s\n", host_name(sh->path));
    return 0;
}

static int do_uname(struct shell *sh) {
    if (sh->n == 1)
        buffer_puts(sh->out, "Linux\n");
    else
        buffer_printf(sh->out, "Linux %s 6.1.0-fake #1 SMP x86_64 GNU/Linux\n", host_name(sh->path));
    return 0;
}

char *fake_shell_file(const char *dir, const char *remote) {
    cleanup_free char *flat = xstrdup(remote);
    for (char *s = flat; *s; s++)
        if (*s == '/')
            *s = '%';
    return xasprintf("%s/files/%s", dir, flat);
}

static int cat_file(struct shell *sh, const char *name) {
    cleanup_free char *path = fake_shell_file(sh->dir, name);
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char block[16384];
    ssize_t n = -1;
    while (fd >= 0 && (n = read(fd, block, sizeof block)) > 0)
        buffer_append(sh->out, block, (size_t)n);
    if (n == 0)
        return 0;
    buffer_printf(sh->err, "cat: %s: %s\n", name, strerror(errno));
    return 1;
}

static int do_cat(struct shell *sh) {
    int status = 0;
    if (sh->n == 1)
        buffer_append(sh->out, sh->input, sh->input_len);
    for (int i = 1; i < sh->n; i++)
        status |= cat_file(sh, sh->words[i]);
    return status;
}

static int do_settings(struct shell *sh) {
    fake_settings_print(sh->inside, sh->out);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct shell *sh);
} commands[] = {
    {":", do_true},  {"true", do_true},   {"exit", do_exit},         {"echo", do_echo},
    {"cat", do_cat}, {"uname", do_uname}, {"hostname", do_hostname}, {SETTINGS_QUESTION, do_settings},
};

/* The answer to nestor's verification script (verify.h): per probe a line "@@ NAME STATUS", then its output. */
static void answer_probe(struct shell *sh, const char *name, bool ok, const char *output) {
    buffer_printf(sh->out, "@@ %s %d\n %s\n", name, ok ? 0 : 1, output);
}

static void answer_verify(struct shell *sh) {
    const char *flag = sh->inside->flag;
    bool sees = flag[0] != '\0';
    answer_probe(sh, "cpu-flag", sees, flag);
    answer_probe(sh, "kvm-module", sees, strcmp(flag, "vmx") == 0 ? "kvm_intel" : sees ? "kvm_amd" : "");
    answer_probe(sh, "kvm-nested", sees, sees ? "1" : "");
    answer_probe(sh, "dev-kvm", sees, "");
}

/* Splits at blanks and takes single quotes off, as buffer_put_shell puts them on. False for anything a real shell
 * would do more with. */
static bool split_words(char *script, char **words, int *ret_n) {
    char *to = script;
    int n = 0;
    for (char *s = script; *(s += strspn(s, " \t\n"));) {
        if (n == MAX_WORDS)
            return false;
        words[n++] = to;
        for (bool quoted = false; *s && (quoted || !strchr(" \t\n", *s)); s++) {
            if (*s == '\'')
                quoted = !quoted;
            else if (!quoted && strchr(";|&$`<>(){}*?\"#", *s))
                return false;
            else if (!quoted && *s == '\\' && s[1])
                *to++ = *++s;
            else
                *to++ = *s;
        }
        bool last = !*s;
        s += !last;
        *to++ = '\0'; /* never past s: the blank or the end that was just read */
        if (last)
            break;
    }
    *ret_n = n;
    return true;
}

int fake_shell_run(struct shell *sh, const char *script) {
    if (strncmp(script, "# nestor-verify", 15) == 0) {
        answer_verify(sh);
        return 0;
    }
    cleanup_free char *text = xstrdup(script);
    char *words[MAX_WORDS];
    sh->words = words;
    if (split_words(text, words, &sh->n)) {
        if (sh->n == 0)
            return 0;
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
            if (strcmp(commands[i].name, words[0]) == 0)
                return commands[i].run(sh);
    }
    buffer_printf(sh->err, "sh: 1: %s: not found\n", script);
    return 127;
}

bool fake_shell_reads(const char *script) { return strcmp(script, "cat") == 0 || strcmp(script, "'cat'") == 0; }

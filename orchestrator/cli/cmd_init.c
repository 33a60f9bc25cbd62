#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/starters.h"
#include "nestor/buffer.h"
#include "nestor/lab.h"
#include "ui/ui.h"

#define DEFAULT_TEMPLATE "quickstart"
#define DEFAULT_FILE "lab.yaml"

struct init_options {
    const char *template, *name;
    bool list;
};
static const struct option_spec options[] = {
    {"template", 't', OPTION_STRING, offsetof(struct init_options, template), "STARTER",
     "the starter to begin with (default " DEFAULT_TEMPLATE ")"},
    {"name", 'n', OPTION_STRING, offsetof(struct init_options, name), "LAB", "the lab's name (default: the starter's)"},
    {"list", 'l', OPTION_FLAG, offsetof(struct init_options, list), NULL, "show the starters there are"},
    {0},
};

static char *templates_path(const char *relative) {
    const char *root = getenv("NESTOR_TEMPLATES");
    return xasprintf("%s/%s", root && *root ? root : NESTOR_TEMPLATES_DIR, relative);
}

static int read_whole(const char *path, struct buffer *ret, struct error *err) {
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    while (fd >= 0 && n > 0) {
        char *to = buffer_reserve(ret, 4096);
        n = to ? read(fd, to, 4096) : 0;
        if (n > 0)
            ret->len += (size_t)n;
    }
    if (fd < 0 || n < 0)
        return error_set_errno(err, errno, path, "cannot read it");
    buffer_putc(ret, '\0');
    return 0;
}

/* --- the list --- */

static int is_starter(const struct dirent *e) {
    size_t n = strlen(e->d_name);
    return n > 5 && strcmp(e->d_name + n - 5, ".yaml") == 0;
}

int starters_each(void (*fn)(void *data, const char *name), void *data, struct error *err) {
    cleanup_free char *folder = templates_path("labs");
    struct dirent **entries;
    int n = scandir(folder, &entries, is_starter, alphasort);
    if (n < 0)
        return error_set_errno(err, errno, folder, "cannot list the starters");
    for (int i = 0; i < n; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - strlen(".yaml")] = '\0';
        fn(data, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

/* A starter's first comment says what it is. */
static void print_starter(void *data, const char *name) {
    (void)data;
    cleanup_free char *relative = xasprintf("labs/%s.yaml", name), *path = templates_path(relative);
    cleanup_buffer struct buffer text = {0};
    struct error ignored = {0};
    if (read_whole(path, &text, &ignored))
        return;
    printf("%-16s", name);
    const char *line = buffer_str(&text);
    while (line[0] == '#' && (strncmp(line, "# yaml-", 7) == 0 || strcspn(line, "\n") < 3))
        line += strcspn(line, "\n") + 1;
    for (; line[0] == '#' && strcspn(line, "\n") > 2; line += strcspn(line, "\n") + 1)
        printf(" %.*s", (int)strcspn(line, "\n") - 2, line + 2);
    putchar('\n');
}

static int mend_with_starters(const char *name, struct error *err) {
    cleanup_free char *folder = templates_path("labs");
    struct dirent **entries;
    int n = scandir(folder, &entries, is_starter, alphasort);
    if (n < 0)
        return error_mend(err, "there are none in %s: NESTOR_TEMPLATES names the folder of nestor's templates", folder);
    const char **words = xcalloc((size_t)n, sizeof *words);
    for (int i = 0; i < n; i++) {
        entries[i]->d_name[strlen(entries[i]->d_name) - strlen(".yaml")] = '\0';
        words[i] = entries[i]->d_name;
    }
    mend_with_words(err, name, words, (size_t)n);
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    free(words);
    return -1;
}

/* --- one starter --- */

static int find_starter(const char *name, struct buffer *ret, struct error *err) {
    cleanup_free char *relative = xasprintf("labs/%s.yaml", name), *path = templates_path(relative);
    struct error why = {0};
    if (name_is_valid(name) && read_whole(path, ret, &why) == 0)
        return 0;
    if (why.code && why.code != ERR_NOT_FOUND) {
        *err = why;
        return -1;
    }
    error_set(err, ERR_USAGE, NULL, "there is no starter '%s'", name);
    return mend_with_starters(name, err);
}

/* The starter, as a file of the user's own: the schema is named by where it is, and the lab as the user likes. */
static void adapt(const char *text, const char *lab, struct buffer *out) {
    static const char schema[] = "# yaml-language-server: $schema=", key[] = "lab: ";
    cleanup_free char *path = templates_path("lab.schema.json");
    for (size_t n; *text; text += n) {
        n = strcspn(text, "\n");
        n += text[n] == '\n';
        if (strncmp(text, schema, strlen(schema)) == 0)
            buffer_printf(out, "%s%s\n", schema, path);
        else if (lab && strncmp(text, key, strlen(key)) == 0)
            buffer_printf(out, "%s%s\n", key, lab);
        else
            buffer_append(out, text, n);
    }
}

static int write_new(const char *path, const struct buffer *text, struct error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && errno == EEXIST) {
        error_set(err, ERR_EXISTS, path, "there is such a file already, and it is left as it is");
        return error_mend(err, "name another file: nestor init FILE");
    }
    if (fd < 0)
        return error_set_errno(err, errno, path, "cannot create it");
    ssize_t n = write(fd, buffer_str(text), text->len);
    int saved = n < 0 ? errno : ENOSPC;
    if (close(fd) == 0 && n == (ssize_t)text->len)
        return 0;
    unlink(path);
    return error_set_errno(err, saved, path, "cannot write it");
}

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    const struct init_options *o = opts;
    const char *file = argc ? argv[0] : DEFAULT_FILE;
    cleanup_buffer struct buffer starter = {0}, text = {0};
    if (o->list)
        return starters_each(print_starter, NULL, err) ? -1 : NESTOR_DONE;
    if (o->name && !name_is_valid(o->name)) {
        error_set(err, ERR_USAGE, NULL, "'%s' cannot be the name of a lab", o->name);
        return error_mend(err, "small letters, digits and hyphens, at most 42, beginning and ending with no hyphen");
    }
    if (find_starter(o->template ? o->template : DEFAULT_TEMPLATE, &starter, err))
        return -1;
    adapt(buffer_str(&starter), o->name, &text);
    if (write_new(file, &text, err))
        return -1;
    if (!cli->quiet)
        printf("%s is written. Next:\n"
               "  nestor doctor %s     # can this machine do it?\n"
               "  nestor plan %s       # what would be made, and why\n"
               "  nestor up %s         # make it\n",
               file, file, file, file);
    return NESTOR_DONE;
}

const struct cli_command cmd_init = {
    .name = "init",
    .summary = "Write a first lab file, with comments, to begin with",
    .arguments = "[FILE]",
    .completes = ARGUMENT_FILE,
    .options = options,
    .options_size = sizeof(struct init_options),
    .min_args = 0,
    .max_args = 1,
    .details = "FILE is " DEFAULT_FILE " unless named. A file that exists is never overwritten.",
    .examples = "  nestor init\n  nestor init --list\n  nestor init class.yaml --template count --name class",
    .run = run,
};

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "nestor/lab.h"

static const struct option_spec *by_name(const struct cli_command *command, const char *name, size_t len) {
    for (const struct option_spec *o = command->options; o && o->name; o++)
        if (strlen(o->name) == len && strncmp(o->name, name, len) == 0)
            return o;
    return NULL;
}

static const struct option_spec *by_letter(const struct cli_command *command, char letter) {
    for (const struct option_spec *o = command->options; o && o->name; o++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

static int unknown(const struct cli_command *command, const char *word, struct error *err) {
    const char *names[64];
    size_t n = 0;
    names[n++] = "help";
    names[n++] = "quiet";
    for (const struct option_spec *o = command->options; o && o->name && n < 64; o++)
        names[n++] = o->name;
    error_set(err, ERR_USAGE, NULL, "%s: unknown option '%s'", command->name, word);
    const char *near = strncmp(word, "--", 2) == 0 ? nearest_word(word + 2, names, n) : NULL;
    if (near)
        return error_mend(err, "did you mean '--%s'?", near);
    return error_mend(err, "'nestor %s --help' lists its options", command->name);
}

static int store(const struct cli_command *command, const struct option_spec *o, const char *value, void *options,
                 struct error *err) {
    void *at = (char *)options + o->offset;
    if (o->type == OPTION_FLAG) {
        if (value)
            return error_set(err, ERR_USAGE, NULL, "%s: --%s takes no value", command->name, o->name);
        *(bool *)at = true;
        return 0;
    }
    if (!value) {
        error_set(err, ERR_USAGE, NULL, "%s: --%s needs a value", command->name, o->name);
        return error_mend(err, "--%s %s: %s", o->name, o->value, o->help);
    }
    if (o->type == OPTION_STRING) {
        *(const char **)at = value;
        return 0;
    }
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (errno || *end || end == value || *value == '-' || number > 1000000)
        return error_set(err, ERR_USAGE, NULL, "%s: --%s: '%s' is not a number it can take", command->name, o->name,
                         value);
    *(unsigned *)at = (unsigned)number;
    return 0;
}

static int long_option(const struct cli_command *command, const char *word, int *i, int argc, char **argv,
                       void *options, struct error *err) {
    const char *name = word + 2, *equals = strchr(name, '=');
    const struct option_spec *o = by_name(command, name, equals ? (size_t)(equals - name) : strlen(name));
    if (!o)
        return unknown(command, word, err);
    const char *value = equals ? equals + 1 : NULL;
    if (!value && o->type != OPTION_FLAG && *i + 1 < argc)
        value = argv[++*i];
    return store(command, o, value, options, err);
}

/* -y, -yq, -n5, -n 5 */
static int short_options(const struct cli_command *command, const char *word, int *i, int argc, char **argv,
                         void *options, struct cli *cli, bool *ret_help, struct error *err) {
    for (const char *c = word + 1; *c; c++) {
        if (*c == 'h' || *c == 'q') {
            *(*c == 'h' ? ret_help : &cli->quiet) = true;
            continue;
        }
        const struct option_spec *o = by_letter(command, *c);
        if (!o)
            return unknown(command, word, err);
        const char *value = NULL;
        if (o->type != OPTION_FLAG)
            value = c[1] ? c + 1 : *i + 1 < argc ? argv[++*i] : NULL;
        if (store(command, o, value, options, err))
            return -1;
        if (value)
            break;
    }
    return 0;
}

static int check_count(const struct cli_command *command, int n, struct error *err) {
    if (n >= command->min_args && (command->max_args < 0 || n <= command->max_args))
        return 0;
    error_set(err, ERR_USAGE, NULL,
              n < command->min_args ? "%s: something is missing: %s" : "%s: too many words; expected: %s",
              command->name, command->arguments[0] ? command->arguments : "no arguments");
    return error_mend(err, "'nestor %s --help' shows how it is used", command->name);
}

int options_parse(const struct cli_command *command, int argc, char **argv, void *ret_options, struct cli *cli,
                  int *ret_argc, bool *ret_help, struct error *err) {
    int n = 0;
    bool rest = false;
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        int failed = 0;
        if (rest || word[0] != '-' || !word[1]) {
            argv[n++] = word;
            rest = rest || command->passes_rest; /* as ssh and docker exec: the first word ends the options */
        } else if (strcmp(word, "--") == 0)
            rest = true;
        else if (strcmp(word, "--help") == 0)
            *ret_help = true;
        else if (strcmp(word, "--quiet") == 0)
            cli->quiet = true;
        else if (word[1] == '-')
            failed = long_option(command, word, &i, argc, argv, ret_options, err);
        else
            failed = short_options(command, word, &i, argc, argv, ret_options, cli, ret_help, err);
        if (failed)
            return -1;
    }
    *ret_argc = n;
    return *ret_help ? 0 : check_count(command, n, err);
}

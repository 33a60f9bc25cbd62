#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "nestor/buffer.h"

#define NUMBER_MAX 1000000

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

#define WORDS_MAX 64

/* Words to choose from. */
struct words {
    char *items[WORDS_MAX];
    size_t n;
};

static void words_free(struct words *words) {
    for (size_t i = 0; i < words->n; i++)
        free(words->items[i]);
}
#define cleanup_words __attribute__((cleanup(words_free)))

static void add_word(struct words *words, char *word) {
    if (words->n < WORDS_MAX)
        words->items[words->n++] = word;
    else
        free(word);
}

static int mend_with(struct error *err, const char *word, const struct words *words) {
    return mend_with_words(err, word, (const char *const *)words->items, words->n);
}

static int unknown(const struct cli_command *command, const char *word, struct error *err) {
    cleanup_words struct words names = {.n = 0};
    for (const struct option_spec *o = command->options; o && o->name; o++)
        add_word(&names, xasprintf("--%s", o->name));
    add_word(&names, xstrdup("--quiet"));
    add_word(&names, xstrdup("--help"));
    error_set(err, ERR_USAGE, NULL, "%s: unknown option '%s'", command->name, word);
    return mend_with(err, word, &names);
}

/* Where "a|b|c" stands for a word, it must be one of these. */
static int check_choice(const struct cli_command *command, const char *choices, const char *option, const char *word,
                        struct error *err) {
    cleanup_words struct words there = {.n = 0};
    size_t end = strcspn(choices, " ");
    if (!memchr(choices, '|', end))
        return 0;
    for (size_t at = 0, len; at < end; at += len + 1) {
        len = strcspn(choices + at, "| ");
        add_word(&there, xstrndup(choices + at, len));
        if (strcmp(there.items[there.n - 1], word) == 0)
            return 0;
    }
    error_set(err, ERR_USAGE, NULL, "%s: there is no %s%s'%s'", command->name, option ? option : "", option ? " " : "",
              word);
    return mend_with(err, word, &there);
}

static int store_number(const struct cli_command *command, const struct option_spec *o, const char *value,
                        unsigned *ret, struct error *err) {
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    if (!errno && !*end && isdigit((unsigned char)*value) && number >= 1 && number <= NUMBER_MAX) {
        *ret = (unsigned)number;
        return 0;
    }
    error_set(err, ERR_USAGE, NULL, "%s: --%s: '%s' is not a number it can take", command->name, o->name, value);
    return error_mend(err, "--%s %s: %s; a whole number from 1 to %d", o->name, o->value, o->help, NUMBER_MAX);
}

static int store_string(const struct cli_command *command, const struct option_spec *o, const char *value,
                        const char **ret, struct error *err) {
    cleanup_free char *option = xasprintf("--%s", o->name);
    if (check_choice(command, o->value, option, value, err))
        return -1;
    *ret = value;
    return 0;
}

static int store(const struct cli_command *command, const struct option_spec *o, const char *value, void *options,
                 struct error *err) {
    void *at = (char *)options + o->offset;
    if (o->type == OPTION_FLAG) {
        if (value) {
            error_set(err, ERR_USAGE, NULL, "%s: --%s takes no value", command->name, o->name);
            return error_mend(err, "--%s: %s", o->name, o->help);
        }
        *(bool *)at = true;
        return 0;
    }
    if (!value) {
        error_set(err, ERR_USAGE, NULL, "%s: --%s needs a value", command->name, o->name);
        return error_mend(err, "--%s %s: %s", o->name, o->value, o->help);
    }
    return o->type == OPTION_STRING ? store_string(command, o, value, at, err)
                                    : store_number(command, o, value, at, err);
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
        const char letter[] = {'-', *c, '\0'};
        if (!o)
            return unknown(command, letter, err);
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
    if (*ret_help)
        return 0;
    bool chooses = command->completes == ARGUMENT_WORD && n > 0;
    return check_count(command, n, err) || (chooses && check_choice(command, command->arguments, NULL, argv[0], err))
               ? -1
               : 0;
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cli.h"

struct options {
    bool yes, all;
    unsigned number;
    const char *file, *kind;
};
static const struct option_spec specs[] = {
    {"yes", 'y', OPTION_FLAG, offsetof(struct options, yes), NULL, "do not ask"},
    {"all", 0, OPTION_FLAG, offsetof(struct options, all), NULL, "everything"},
    {"number", 'n', OPTION_NUMBER, offsetof(struct options, number), "N", "how many"},
    {"file", 'f', OPTION_STRING, offsetof(struct options, file), "FILE", "which"},
    {"kind", 0, OPTION_STRING, offsetof(struct options, kind), "old|new", "how it is"},
    {0},
};
static const struct cli_command make = {
    .name = "make", .arguments = "THING [MORE]", .options = specs, .min_args = 1, .max_args = 2};
static const struct cli_command choosy = {
    .name = "choosy", .arguments = "list|build|rm [NAME]", .completes = ARGUMENT_WORD, .min_args = 1, .max_args = 2};
static const struct cli_command bare = {.name = "bare", .arguments = "", .max_args = 0};
static const struct cli_command exec = {.name = "exec",
                                        .arguments = "PATH -- COMMAND...",
                                        .options = specs,
                                        .min_args = 2,
                                        .max_args = -1,
                                        .passes_rest = true};

struct parsed {
    struct options o;
    struct cli cli;
    struct error err;
    int argc, code;
    bool help;
    char *argv[16];
};

static void parse(struct parsed *p, const struct cli_command *command, const char *const *words) {
    int n = 0;
    *p = (struct parsed){0};
    for (; words[n]; n++)
        p->argv[n] = (char *)words[n];
    p->code = options_parse(command, n, p->argv, &p->o, &p->cli, &p->argc, &p->help, &p->err);
}
#define PARSE(p, command, ...) parse(p, command, (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static void assert_usage(const struct parsed *p, const char *cause, const char *mend) {
    assert_int_equal(p->code, -1);
    assert_int_equal(p->err.code, ERR_USAGE);
    assert_string_equal(p->err.cause, cause);
    assert_string_equal(p->err.mend, mend);
}

static void options_and_arguments_may_be_mixed(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "a", "--yes", "-n", "5", "b", "--file", "x.yaml");
    assert_int_equal(p.code, 0);
    assert_int_equal(p.argc, 2);
    assert_string_equal(p.argv[0], "a");
    assert_string_equal(p.argv[1], "b");
    assert_true(p.o.yes);
    assert_false(p.o.all);
    assert_int_equal(p.o.number, 5);
    assert_string_equal(p.o.file, "x.yaml");
}

static void every_way_to_give_a_value_is_taken(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "a", "--number=7", "--file=");
    assert_int_equal(p.code, 0);
    assert_int_equal(p.o.number, 7);
    assert_string_equal(p.o.file, "");
    PARSE(&p, &make, "a", "-yn12", "-fx");
    assert_int_equal(p.code, 0);
    assert_true(p.o.yes);
    assert_int_equal(p.o.number, 12);
    assert_string_equal(p.o.file, "x");
}

static void common_options_are_everywhere(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "a", "-q");
    assert_true(p.cli.quiet);
    PARSE(&p, &bare, "--quiet");
    assert_true(p.cli.quiet);
    PARSE(&p, &make, "--help"); /* whatever else is missing */
    assert_int_equal(p.code, 0);
    assert_true(p.help);
}

static void an_unknown_option_is_told_with_what_was_meant(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "a", "--numbr", "5");
    assert_usage(&p, "make: unknown option '--numbr'",
                 "did you mean '--number'? There are: --yes, --all, --number, --file, --kind, --quiet, --help");
    PARSE(&p, &make, "a", "--quite");
    assert_usage(&p, "make: unknown option '--quite'",
                 "did you mean '--quiet'? There are: --yes, --all, --number, --file, --kind, --quiet, --help");
    PARSE(&p, &make, "a", "--xyzzy");
    assert_usage(&p, "make: unknown option '--xyzzy'",
                 "there are: --yes, --all, --number, --file, --kind, --quiet, --help");
    PARSE(&p, &make, "a", "-yz");
    assert_usage(&p, "make: unknown option '-z'", "there are: --yes, --all, --number, --file, --kind, --quiet, --help");
    PARSE(&p, &bare, "--yes");
    assert_usage(&p, "bare: unknown option '--yes'", "there are: --quiet, --help");
}

static void a_missing_value_is_told_with_what_it_is_for(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "a", "--file");
    assert_usage(&p, "make: --file needs a value", "--file FILE: which");
    PARSE(&p, &make, "a", "-n");
    assert_usage(&p, "make: --number needs a value", "--number N: how many");
    PARSE(&p, &make, "a", "--yes=no");
    assert_usage(&p, "make: --yes takes no value", "--yes: do not ask");
}

static void a_number_must_be_one(void **state) {
    (void)state;
    static const char *const wrong[] = {"x", "", "5x", "-1", "+1", " 1", "0", "1000001", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct parsed p;
        char cause[128];
        PARSE(&p, &make, "a", "--number", wrong[i]);
        snprintf(cause, sizeof cause, "make: --number: '%s' is not a number it can take", wrong[i]);
        assert_usage(&p, cause, "--number N: how many; a whole number from 1 to 1000000");
        assert_int_equal(p.o.number, 0);
    }
}

static void a_choice_must_be_one_of_those_there_are(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "a", "--kind", "new");
    assert_int_equal(p.code, 0);
    assert_string_equal(p.o.kind, "new");
    static const char *const wrong[] = {"mild", "", "ol", "old|new", "newer"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char cause[128];
        PARSE(&p, &make, "a", "--kind", wrong[i]);
        snprintf(cause, sizeof cause, "make: there is no --kind '%s'", wrong[i]);
        assert_string_equal(p.err.cause, cause);
        assert_non_null(strstr(p.err.mend, "here are: old, new"));
        assert_null(p.o.kind);
    }
    PARSE(&p, &make, "a", "--kind", "nwe");
    assert_usage(&p, "make: there is no --kind 'nwe'", "did you mean 'new'? There are: old, new");
    PARSE(&p, &choosy, "rm", "wool");
    assert_int_equal(p.code, 0);
    PARSE(&p, &choosy, "biuld");
    assert_usage(&p, "choosy: there is no 'biuld'", "did you mean 'build'? There are: list, build, rm");
    PARSE(&p, &choosy, "[NAME]");
    assert_usage(&p, "choosy: there is no '[NAME]'", "there are: list, build, rm");
}

static void words_are_counted(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make);
    assert_usage(&p, "make: something is missing: THING [MORE]", "'nestor make --help' shows how it is used");
    PARSE(&p, &make, "a", "b", "c");
    assert_usage(&p, "make: too many words; expected: THING [MORE]", "'nestor make --help' shows how it is used");
    PARSE(&p, &bare, "a");
    assert_usage(&p, "bare: too many words; expected: no arguments", "'nestor bare --help' shows how it is used");
}

static void two_hyphens_end_the_options(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "--", "--yes", "-");
    assert_int_equal(p.code, 0);
    assert_int_equal(p.argc, 2);
    assert_string_equal(p.argv[0], "--yes");
    assert_string_equal(p.argv[1], "-");
    assert_false(p.o.yes);
}

static void a_lone_hyphen_is_an_argument(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &make, "-");
    assert_int_equal(p.code, 0);
    assert_string_equal(p.argv[0], "-");
}

/* As ssh: what follows the path belongs to the command to be run, its options too. */
static void a_passed_command_keeps_its_options(void **state) {
    (void)state;
    struct parsed p;
    PARSE(&p, &exec, "-y", "lab/kvm1", "ls", "-n", "--help");
    assert_int_equal(p.code, 0);
    assert_true(p.o.yes);
    assert_false(p.help);
    assert_int_equal(p.argc, 4);
    assert_string_equal(p.argv[2], "-n");
    assert_string_equal(p.argv[3], "--help");
}

static void refused(const struct cli_command *command, const char *const *words) {
    struct parsed p = {0};
    _Alignas(max_align_t) char options[OPTIONS_MAX] = {0};
    int n = 0;
    for (; words[n]; n++)
        p.argv[n] = (char *)words[n];
    assert_int_equal(options_parse(command, n, p.argv, options, &p.cli, &p.argc, &p.help, &p.err), -1);
    assert_int_equal(p.err.code, ERR_USAGE);
    assert_memory_equal(p.err.cause, command->name, strlen(command->name));
    if (!p.err.mend[0] || strstr(p.err.mend, "..."))
        fail_msg("%s: the mend is '%s'", p.err.cause, p.err.mend);
}
#define REFUSED(command, ...) refused(command, (const char *const[]){__VA_ARGS__, NULL})

static void every_usage_error_of_every_command_says_what_to_do(void **state) {
    (void)state;
    for (const struct cli_command *const *c = commands; *c; c++) {
        REFUSED(*c, "--xyzzy");
        REFUSED(*c, "-Z");
        if ((*c)->min_args)
            REFUSED(*c, NULL);
        if ((*c)->max_args >= 0)
            REFUSED(*c, "a", "b", "c");
        if ((*c)->completes == ARGUMENT_WORD)
            REFUSED(*c, "xyzzy");
        for (const struct option_spec *o = (*c)->options; o && o->name; o++) {
            char flag[64], valued[64];
            snprintf(flag, sizeof flag, "--%s", o->name);
            snprintf(valued, sizeof valued, "--%s=", o->name);
            if (o->type == OPTION_FLAG || o->type == OPTION_NUMBER || strchr(o->value, '|'))
                REFUSED(*c, valued);
            if (o->type != OPTION_FLAG)
                REFUSED(*c, flag);
        }
    }
}

static void every_command_of_the_table_is_whole(void **state) {
    (void)state;
    for (const struct cli_command *const *c = commands; *c; c++) {
        assert_non_null((*c)->run);
        assert_true((*c)->options_size <= OPTIONS_MAX);
        assert_non_null((*c)->details);
        assert_non_null((*c)->examples);
        assert_ptr_equal(command_find((*c)->name), *c);
        assert_true(strlen((*c)->summary) > 10 && (*c)->summary[strlen((*c)->summary) - 1] != '.');
        for (const struct option_spec *o = (*c)->options; o && o->name; o++) {
            assert_true(o->offset < (*c)->options_size);
            assert_true((o->type == OPTION_FLAG) == (o->value == NULL));
            assert_true(o->letter != 'q' && o->letter != 'h');
            for (const struct option_spec *other = (*c)->options; other != o; other++)
                assert_true(strcmp(other->name, o->name) != 0 && (!o->letter || other->letter != o->letter));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_arguments_may_be_mixed),
        cmocka_unit_test(every_way_to_give_a_value_is_taken),
        cmocka_unit_test(common_options_are_everywhere),
        cmocka_unit_test(an_unknown_option_is_told_with_what_was_meant),
        cmocka_unit_test(a_missing_value_is_told_with_what_it_is_for),
        cmocka_unit_test(a_number_must_be_one),
        cmocka_unit_test(a_choice_must_be_one_of_those_there_are),
        cmocka_unit_test(words_are_counted),
        cmocka_unit_test(two_hyphens_end_the_options),
        cmocka_unit_test(a_lone_hyphen_is_an_argument),
        cmocka_unit_test(a_passed_command_keeps_its_options),
        cmocka_unit_test(every_usage_error_of_every_command_says_what_to_do),
        cmocka_unit_test(every_command_of_the_table_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Shell completion, written from the command table: what the parser takes is what the shell offers. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/recorded.h"
#include "cli/starters.h"
#include "nestor/buffer.h"
#include "nestor/file.h"
#include "nestor/image.h"
#include "ui/ui.h"

/* What an argument, or an option's value, is completed with; all but the first three by `nestor completion KINDs`. */
static const char *const kind_names[] = {
    [ARGUMENT_NONE] = "none",   [ARGUMENT_FILE] = "file",       [ARGUMENT_WORD] = "word",
    [ARGUMENT_LAB] = "lab",     [ARGUMENT_MACHINE] = "machine", [ARGUMENT_HOST] = "host",
    [ARGUMENT_IMAGE] = "image", [ARGUMENT_STARTER] = "starter",
};

#define POSITIONS 3 /* of arguments that may differ: what holds for the last holds for all after it */

static enum argument_kind kind_at(const struct cli_command *c, int position) {
    if (position == 0)
        return c->completes;
    if (c->max_args < 0)
        return c->passes_rest ? ARGUMENT_NONE : c->completes;
    return position == 1 ? c->then : ARGUMENT_NONE;
}

static enum argument_kind kind_of_value(const struct option_spec *o) {
    static const struct {
        const char *value;
        enum argument_kind kind;
    } kinds[] = {{"FILE", ARGUMENT_FILE}, {"STARTER", ARGUMENT_STARTER}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(o->value, kinds[i].value) == 0)
            return kinds[i].kind;
    return strchr(o->value, '|') ? ARGUMENT_WORD : ARGUMENT_NONE;
}

/* "list|build|rm [NAME]" -> "list build rm" */
static void print_choices(const char *text) {
    size_t n = strcspn(text, " ");
    for (size_t i = 0; i < n; i++)
        putchar(text[i] == '|' ? ' ' : text[i]);
}

static void print_commands(void) {
    for (const struct cli_command *const *c = commands; *c; c++)
        printf("%s%s", c == commands ? "" : " ", (*c)->name);
}

/* The options every command has, beside its own. */
static const struct option_spec common[] = {
    {.name = "quiet", .letter = 'q', .help = "only warnings and errors"},
    {.name = "help", .letter = 'h', .help = "what it does and how it is used"},
    {0},
};

/* --- bash --- */

static void bash_options(const struct option_spec *options) {
    for (const struct option_spec *o = options; o && o->name; o++)
        printf(" --%s", o->name);
}

/* 'word dot mermaid', 'lab' */
static void bash_kind(enum argument_kind kind, const char *text) {
    printf("'%s", kind_names[kind]);
    if (kind == ARGUMENT_WORD) {
        putchar(' ');
        print_choices(text);
    }
    putchar('\'');
}

static void bash_value(const struct option_spec *o) {
    printf(" [--%s]=", o->name);
    bash_kind(kind_of_value(o), o->value);
    if (!o->letter)
        return;
    printf(" [-%c]=", o->letter);
    bash_kind(kind_of_value(o), o->value);
}

static void bash_command(const struct cli_command *c) {
    printf("    %s)\n        options='", c->name);
    bash_options(c->options);
    bash_options(common);
    printf("' passes=%s\n        kinds=(", c->passes_rest ? "yes" : "");
    for (int i = 0; i < POSITIONS; i++) {
        fputs(i ? " " : "", stdout);
        bash_kind(kind_at(c, i), c->arguments);
    }
    fputs(")\n        values=(", stdout);
    for (const struct option_spec *o = c->options; o && o->name; o++)
        if (o->type != OPTION_FLAG)
            bash_value(o);
    fputs(" )\n        ;;\n", stdout);
}

/* bash takes "--format=dot" for three words, unless the user's COMP_WORDBREAKS is without '='. */
static const char bash_before[] =
    "# Completion of nestor for bash: eval \"$(nestor completion bash)\"\n"
    "_nestor() {\n"
    "    local nestor=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]} options='--help --version' passes=''\n"
    "    local i word kind words before='' ended='' prefix='' n=0 kinds=(none none none) args=()\n"
    "    local -A values=()\n"
    "    for ((i = 2; i <= COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]} prefix=''\n"
    "        if [[ $word == = && ${COMP_WORDS[i - 1]} == --* ]]; then\n"
    "            ((i < COMP_CWORD)) || args+=('')\n"
    "        elif [[ $word == --*=* ]]; then\n"
    "            prefix=${word%%=*}=\n"
    "            args+=(\"${word%%=*}\" \"${word#*=}\")\n"
    "        else\n"
    "            args+=(\"$word\")\n"
    "        fi\n"
    "    done\n"
    "    ((COMP_CWORD == 1)) || case ${COMP_WORDS[1]} in\n";

static const char bash_after[] = "    for ((i = 0; i + 1 < ${#args[@]}; i++)); do\n"
                                 "        word=${args[i]}\n"
                                 "        if [[ $before ]]; then\n"
                                 "            before=''\n"
                                 "        elif [[ $ended || $word != -?* ]]; then\n"
                                 "            ((++n))\n"
                                 "            ended=$ended$passes\n"
                                 "        elif [[ $word == -- ]]; then\n"
                                 "            ended=yes\n"
                                 "        elif [[ ${values[$word]} ]]; then\n"
                                 "            before=$word\n"
                                 "        fi\n"
                                 "    done\n"
                                 "    ((COMP_CWORD == 1)) || cur=${args[i]}\n"
                                 "    if [[ $before ]]; then\n"
                                 "        read -r kind words <<<\"${values[$before]}\"\n"
                                 "    elif [[ ! $ended && $cur == -* ]]; then\n"
                                 "        kind=word words=$options\n"
                                 "    else\n"
                                 "        read -r kind words <<<\"${kinds[n < 2 ? n : 2]}\"\n"
                                 "    fi\n"
                                 "    COMPREPLY=()\n"
                                 "    case $kind in\n"
                                 "    none) return ;;\n"
                                 "    file | lab) compopt -o filenames 2>/dev/null ;;\n"
                                 "    esac\n"
                                 "    case $kind in\n"
                                 "    word | file) ;;\n"
                                 "    *) words=$(\"$nestor\" completion \"${kind}s\" 2>/dev/null) ;;\n"
                                 "    esac\n"
                                 "    mapfile -t COMPREPLY < <(\n"
                                 "        compgen -P \"$prefix\" -W \"$words\" -- \"$cur\"\n"
                                 "        case $kind in\n"
                                 "        file) compgen -P \"$prefix\" -f -- \"$cur\" ;;\n"
                                 "        lab)\n"
                                 "            compgen -f -X '!*.yaml' -- \"$cur\"\n"
                                 "            compgen -f -X '!*.yml' -- \"$cur\"\n"
                                 "            ;;\n"
                                 "        esac\n"
                                 "    )\n"
                                 "}\n"
                                 "complete -F _nestor nestor\n";

static void print_bash(void) {
    fputs(bash_before, stdout);
    for (const struct cli_command *const *c = commands; *c; c++)
        bash_command(*c);
    fputs("    help) kinds=('word ", stdout);
    print_commands();
    fputs("' none none) ;;\n"
          "    esac\n"
          "    ((COMP_CWORD > 1)) || kinds=('word ",
          stdout);
    print_commands();
    fputs(" help')\n", stdout);
    fputs(bash_after, stdout);
}

/* --- zsh --- */

/* For the inside of '...[here]...': quotes end the word, brackets and colons the description. */
static void zsh_text(const char *text) {
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

/* What follows the colon: "(dot mermaid)", a function, or one space, which is: nothing. */
static void zsh_action(enum argument_kind kind, const char *text) {
    switch (kind) {
    case ARGUMENT_NONE:
        putchar(' ');
        break;
    case ARGUMENT_FILE:
        fputs("_files", stdout);
        break;
    case ARGUMENT_WORD:
        putchar('(');
        print_choices(text);
        putchar(')');
        break;
    case ARGUMENT_LAB:
        fputs("_nestor_labs", stdout);
        break;
    default:
        printf(" _nestor_names %ss", kind_names[kind]); /* with a space before it it gets no more arguments */
    }
}

static void zsh_option(const struct option_spec *o) {
    bool valued = o->type != OPTION_FLAG;
    if (o->letter)
        printf(" \\\n            '(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->name, o->letter, valued ? "+" : "",
               o->name, valued ? "=" : "");
    else
        printf(" \\\n            '--%s%s[", o->name, valued ? "=" : "");
    zsh_text(o->help);
    putchar(']');
    if (valued) {
        enum argument_kind kind = kind_of_value(o);
        printf(":%s:", kind == ARGUMENT_WORD ? "value" : o->value);
        zsh_action(kind, o->value);
    }
    putchar('\'');
}

static void zsh_options(const struct option_spec *options) {
    for (const struct option_spec *o = options; o && o->name; o++)
        zsh_option(o);
}

static void zsh_arguments(const struct cli_command *c) {
    bool same = c->max_args < 0 && !c->passes_rest;
    for (int i = 0; i < POSITIONS && kind_at(c, i) != ARGUMENT_NONE && (!same || i == 0); i++) {
        if (same)
            fputs(" \\\n            '*", stdout);
        else
            printf(" \\\n            '%d", i + 1);
        printf(":%s:", kind_at(c, i) == ARGUMENT_WORD ? "what" : kind_names[kind_at(c, i)]);
        zsh_action(kind_at(c, i), c->arguments);
        putchar('\'');
    }
    if (c->passes_rest)
        fputs(" \\\n            '*::command: '", stdout);
}

static void zsh_command(const struct cli_command *c) {
    printf("    %s)\n        _arguments", c->name);
    zsh_options(c->options);
    zsh_options(common);
    zsh_arguments(c);
    fputs("\n        ;;\n", stdout);
}

static void print_zsh(void) {
    fputs("#compdef nestor\n"
          "# Completion of nestor for zsh: save it as _nestor in a directory of $fpath\n"
          "_nestor_names() { compadd -- ${(f)\"$($nestor completion $1 2>/dev/null)\"} }\n"
          "_nestor_labs() { _nestor_names labs; _files -g '*.y(a|)ml' }\n"
          "_nestor() {\n"
          "    local nestor=$words[1] command=$words[2]\n"
          "    local -a commands\n"
          "    commands=(",
          stdout);
    for (const struct cli_command *const *c = commands; *c; c++) {
        printf("\n        '%s:", (*c)->name);
        zsh_text((*c)->summary);
        putchar('\'');
    }
    fputs("\n        'help:Show the commands, or how one is used'\n    )\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command commands\n"
          "        return\n"
          "    fi\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $command in\n",
          stdout);
    for (const struct cli_command *const *c = commands; *c; c++)
        zsh_command(*c);
    fputs("    help) _arguments '1:command:(", stdout);
    print_commands();
    fputs(")' ;;\n"
          "    esac\n"
          "}\n"
          "if [[ $funcstack[1] == _nestor ]]; then _nestor \"$@\"; else compdef _nestor nestor; fi\n",
          stdout);
}

/* --- what the scripts ask for --- */

/* The shells read a list of words; what is more than a word to them is no name of ours. */
static void print_name(void *data, const char *name) {
    (void)data;
    if (name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-")] == '\0')
        puts(name);
}

static void print_image(void *data, const char *name, const struct image *image) {
    (void)image;
    print_name(data, name);
}

static int print_lab(void *data, const struct lab_record *lab, const struct lab_contents *c, struct error *err) {
    (void)err;
    enum argument_kind kind = *(const enum argument_kind *)data;
    for (size_t i = 0; kind == ARGUMENT_MACHINE && i < c->nmachines; i++)
        print_name(NULL, c->machines[i].path);
    for (size_t i = 0; kind == ARGUMENT_HOST && i < c->nhosts; i++)
        print_name(NULL, c->hosts[i].name);
    if (kind == ARGUMENT_LAB)
        print_name(NULL, lab->name);
    return 0;
}

static int print_recorded(enum argument_kind kind, struct error *err) {
    struct state *state = NULL;
    if (!nestor_has_state()) /* a TAB makes no folder and no database */
        return 0;
    const char *home = nestor_home(err);
    if (!home || state_open(home, NULL, &state, err))
        return -1;
    int failed = recorded_each(state, print_lab, &kind, err);
    state_close(state);
    return failed;
}

static int write_bash(struct error *err) {
    (void)err;
    print_bash();
    return 0;
}

static int write_zsh(struct error *err) {
    (void)err;
    print_zsh();
    return 0;
}

static int write_labs(struct error *err) { return print_recorded(ARGUMENT_LAB, err); }

static int write_machines(struct error *err) { return print_recorded(ARGUMENT_MACHINE, err); }

static int write_hosts(struct error *err) { return print_recorded(ARGUMENT_HOST, err); }

static int write_images(struct error *err) { return nestor_has_state() ? image_list(print_image, NULL, err) : 0; }

static int write_starters(struct error *err) { return starters_each(print_name, NULL, err); }

static const struct {
    const char *word;
    int (*write)(struct error *err);
} kinds[] = {{"bash", write_bash},         {"zsh", write_zsh},     {"labs", write_labs},
             {"machines", write_machines}, {"hosts", write_hosts}, {"images", write_images},
             {"starters", write_starters}};

static int run(struct cli *cli, const void *opts, int argc, char **argv, struct error *err) {
    (void)cli, (void)opts, (void)argc;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i].word, argv[0]) == 0)
            return kinds[i].write(err) ? -1 : NESTOR_DONE;
    return error_set(err, ERR_INTERNAL, NULL, "completion: '%s' is offered, but not there", argv[0]);
}

const struct cli_command cmd_completion = {
    .name = "completion",
    .summary = "Write the completion script of a shell",
    .arguments = "bash|zsh|labs|machines|hosts|images|starters",
    .completes = ARGUMENT_WORD,
    .min_args = 1,
    .max_args = 1,
    .details = "The other words list the names that the scripts offer.",
    .examples = "  eval \"$(nestor completion bash)\"                       # in ~/.bashrc\n"
                "  nestor completion zsh > ~/.zfunc/_nestor               # in a directory of $fpath",
    .run = run,
};

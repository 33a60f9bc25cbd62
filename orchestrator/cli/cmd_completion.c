/* Shell completion, written from the command table: what the parser takes is what the shell offers. */
#include <stddef.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/recorded.h"
#include "nestor/buffer.h"
#include "ui/ui.h"

/* What a command's argument, or an option's value, is completed with. */
static const char *kind_name(enum argument_kind kind) {
    static const char *const names[] = {
        [ARGUMENT_NONE] = "none",       [ARGUMENT_FILE] = "file", [ARGUMENT_LAB] = "lab",
        [ARGUMENT_MACHINE] = "machine", [ARGUMENT_WORD] = "word",
    };
    return names[kind];
}

/* "list|build|rm [NAME]" -> "list build rm", with separator between; nothing if there is no choice. */
static void print_choices(const char *text, const char *separator) {
    size_t n = strcspn(text, " ");
    if (!memchr(text, '|', n))
        return;
    for (size_t i = 0; i < n; i++)
        if (text[i] == '|')
            fputs(separator, stdout);
        else
            putchar(text[i]);
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

static void bash_command(const struct cli_command *c) {
    printf("    %s)\n        kind=%s options='", c->name, kind_name(c->completes));
    bash_options(c->options);
    bash_options(common);
    fputs("'\n", stdout);
    if (c->completes == ARGUMENT_WORD) {
        fputs("        words='", stdout);
        print_choices(c->arguments, " ");
        fputs("'\n", stdout);
    }
    for (const struct option_spec *o = c->options; o && o->name; o++) {
        if (o->type == OPTION_FLAG)
            continue;
        printf("        case $before in --%s", o->name);
        if (o->letter)
            printf("|-%c", o->letter);
        fputs(") kind=word words='", stdout);
        print_choices(o->value, " ");
        fputs("' ;; esac\n", stdout);
    }
    fputs("        ;;\n", stdout);
}

static void print_bash(void) {
    fputs("# Completion of nestor for bash: eval \"$(nestor completion bash)\"\n"
          "_nestor() {\n"
          "    local nestor=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local kind=none options='--help --version' words=''\n"
          "    COMPREPLY=()\n"
          "    if ((COMP_CWORD == 1)); then\n"
          "        words='",
          stdout);
    for (const struct cli_command *const *c = commands; *c; c++)
        printf("%s ", (*c)->name);
    fputs("help'\n"
          "        kind=word\n"
          "    fi\n"
          "    ((COMP_CWORD > 1)) && case ${COMP_WORDS[1]} in\n",
          stdout);
    for (const struct cli_command *const *c = commands; *c; c++)
        bash_command(*c);
    fputs("    esac\n"
          "    if [[ $cur == -* ]]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
          "        return\n"
          "    fi\n"
          "    case $kind in\n"
          "    word) mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\") ;;\n"
          "    file)\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
          "        ;;\n"
          "    lab)\n"
          "        compopt -o filenames 2>/dev/null\n"
          "        mapfile -t COMPREPLY < <(\n"
          "            compgen -W \"$(\"$nestor\" completion labs 2>/dev/null)\" -- \"$cur\"\n"
          "            compgen -f -X '!*.yaml' -- \"$cur\"\n"
          "            compgen -f -X '!*.yml' -- \"$cur\"\n"
          "        )\n"
          "        ;;\n"
          "    machine) mapfile -t COMPREPLY < <(compgen -W \"$(\"$nestor\" completion machines 2>/dev/null)\" -- "
          "\"$cur\") ;;\n"
          "    esac\n"
          "}\n"
          "complete -F _nestor nestor\n",
          stdout);
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

static void zsh_value(const struct option_spec *o) {
    if (o->type == OPTION_FLAG)
        return;
    printf(":%s:", strchr(o->value, '|') ? "value" : o->value);
    if (strchr(o->value, '|')) {
        putchar('(');
        print_choices(o->value, " ");
        putchar(')');
    }
}

static void zsh_options(const struct option_spec *options) {
    for (const struct option_spec *o = options; o && o->name; o++) {
        if (o->letter)
            printf(" \\\n            '(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter, o->name);
        else
            printf(" \\\n            '--%s[", o->name);
        zsh_text(o->help);
        putchar(']');
        zsh_value(o);
        putchar('\'');
    }
}

static void zsh_command(const struct cli_command *c) {
    static const char *const actions[] = {
        [ARGUMENT_FILE] = "_files", [ARGUMENT_LAB] = "_nestor_labs", [ARGUMENT_MACHINE] = "_nestor_machines"};
    printf("    %s)\n        _arguments", c->name);
    zsh_options(c->options);
    zsh_options(common);
    if (c->completes == ARGUMENT_WORD) {
        fputs(" \\\n            '1:what:(", stdout);
        print_choices(c->arguments, " ");
        fputs(")'", stdout);
    } else if (c->completes != ARGUMENT_NONE) {
        printf(" \\\n            '*:%s:%s'", kind_name(c->completes), actions[c->completes]);
    }
    fputs("\n        ;;\n", stdout);
}

static void print_zsh(void) {
    fputs("#compdef nestor\n"
          "# Completion of nestor for zsh: save it as _nestor in a directory of $fpath\n"
          "_nestor_labs() { compadd -- ${(f)\"$($nestor completion labs 2>/dev/null)\"}; _files -g '*.y(a|)ml' }\n"
          "_nestor_machines() { compadd -- ${(f)\"$($nestor completion machines 2>/dev/null)\"} }\n"
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
    fputs("\n    )\n"
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
    fputs("    esac\n"
          "}\n"
          "if [[ $funcstack[1] == _nestor ]]; then _nestor \"$@\"; else compdef _nestor nestor; fi\n",
          stdout);
}

/* --- what the scripts ask for --- */

static int print_lab(void *data, const struct lab_record *lab, const struct lab_contents *c, struct error *err) {
    (void)err;
    bool machines = *(const bool *)data;
    for (size_t i = 0; machines && i < c->nmachines; i++)
        puts(c->machines[i].path);
    if (!machines)
        puts(lab->name);
    return 0;
}

static int print_recorded(bool machines, struct error *err) {
    const char *home = nestor_home(err);
    struct state *state = NULL;
    if (!home || state_open(home, NULL, &state, err))
        return -1;
    int failed = recorded_each(state, print_lab, &machines, err);
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

static int write_labs(struct error *err) { return print_recorded(false, err); }

static int write_machines(struct error *err) { return print_recorded(true, err); }

static const struct {
    const char *word;
    int (*write)(struct error *err);
} kinds[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"labs", write_labs}, {"machines", write_machines}};

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
    .arguments = "bash|zsh|labs|machines",
    .completes = ARGUMENT_WORD,
    .min_args = 1,
    .max_args = 1,
    .details = "'labs' and 'machines' list the names that the scripts offer.",
    .examples = "  eval \"$(nestor completion bash)\"                       # in ~/.bashrc\n"
                "  nestor completion zsh > ~/.zfunc/_nestor               # in a directory of $fpath",
    .run = run,
};

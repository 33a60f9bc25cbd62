#!/bin/sh
# Functions nestor does not call, and what it does instead. Told by name, so a comment must not write them as a call.
set -eu
root=${1:-${NESTOR_SOURCE_DIR:-$(dirname "$0")/../..}}

# Functions | where they are right ("-": nowhere) | what to use elsewhere
rules='
gets strcpy stpcpy strcat strncpy strncat sprintf vsprintf | - | a struct buffer, or snprintf
strtok | - | strtok_r or strsep: it keeps a place for all threads
asctime ctime gmtime localtime | - | clock_iso8601, or the _r form: they share one result
system popen | - | process_run: no shell, a deadline, bounded output
fork vfork | - | process_run, or posix_spawn as it does: nestor has threads
tmpnam tempnam tmpfile mktemp | - | mkostemp, mkdtemp, file_write
rand srand random srandom drand48 | - | random_fill: nothing here may be guessed
alloca | - | xmalloc
malloc calloc realloc strdup strndup asprintf vasprintf | base/buffer.c | the xmalloc family: nobody else handles the end of memory
exit quick_exit | - | an error to the caller
setenv putenv unsetenv chdir fchdir umask | - | nothing: they are of the whole process, and its other threads
printf puts putchar vprintf perror | cli/ ui/ main.c | an event or an error: stages do not print
'

# Prints what breaks the rules.
violations() {
    printf '%s\n' "$rules" | while IFS='|' read -r functions where instead; do
        pattern=$(echo $functions | tr ' ' '|')
        [ -n "$pattern" ] || continue
        (cd "$1/orchestrator" && grep -rnE --include='*.[ch]' "(^|[^A-Za-z0-9_>.])($pattern)[[:space:]]*\\(" . || :) |
            while IFS= read -r line; do
                fine=
                for place in $where; do
                    case $line in ./"$place"*) fine=yes ;; esac
                done
                [ -n "$fine" ] || printf '%s\n    use%s\n' "${line#./}" "$instead"
            done
    done
}

# --- does it see what it is for? ---

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
try() { # FILE LINE WANTED: the start of what is found
    rm -rf "$tree/orchestrator"
    mkdir -p "$tree/orchestrator/$(dirname "$1")"
    printf '%s\n' "$2" >"$tree/orchestrator/$1"
    got=$(violations "$tree" | head -n 1)
    [ "$got" = "$3" ] || { printf 'the check is blind: %s\n  wanted: %s\n  got:    %s\n' "$2" "$3" "$got"; exit 1; }
}
try run/a.c '    strcpy(a, b);' 'run/a.c:1:    strcpy(a, b);'
try run/a.c 'x=sprintf (a, b);' 'run/a.c:1:x=sprintf (a, b);'
try run/a.c 'char *p = malloc(3);' 'run/a.c:1:char *p = malloc(3);'
try base/buffer.c 'void *p = malloc(3);' ''
try run/a.c 'printf("x");' 'run/a.c:1:printf("x");'
try cli/a.c 'printf("x");' ''
try run/a.c 'snprintf(a, n, b); xmalloc(3); strtok_r(a, b, &c); _exit(1); ops->random(1);' ''

# --- the tree ---

found=$(violations "$root")
[ -z "$found" ] || { printf '%s\n' "$found"; exit 1; }

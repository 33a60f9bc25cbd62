/* The shell in a fake machine: it knows a handful of commands and says "not found" to the rest. */
#ifndef NESTOR_DRIVERS_FAKE_SHELL_H
#define NESTOR_DRIVERS_FAKE_SHELL_H

#include "drivers/fake/settings.h"
#include "nestor/buffer.h"

/* What a command gets and gives. All borrowed. */
struct shell {
    const char *path;              /* the machine's */
    const char *dir;               /* its directory */
    const struct settings *inside; /* of the world inside it; flag is what its CPU shows */
    const char *input;
    size_t input_len;
    struct buffer *out, *err;
    char **words; /* the command and its arguments, set by fake_shell_run */
    int n;
};
/* Returns the exit status. */
int fake_shell_run(struct shell *sh, const char *script);
/* Whether the script reads its input. */
bool fake_shell_reads(const char *script);

/* Where a file copied into the machine lies: flat in one directory, under its path with "%" for "/". Caller frees. */
char *fake_shell_file(const char *dir, const char *remote);

#endif

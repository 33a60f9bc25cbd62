/* Asking for secrets on the terminal, and warning: each once per process. */
#ifndef NESTOR_CLI_ASK_H
#define NESTOR_CLI_ASK_H

#include <pthread.h>

#include "cli/cli.h"
#include "nestor/driver.h"
#include "ui/ui.h"

struct answer {
    char *prompt;
    struct buffer text;
};

struct asking {
    struct asker asker; /* what drivers get */
    const struct context *ctx;
    pthread_mutex_t lock; /* one at a time; for all below */
    struct progress *board;
    struct answer *answers;
    size_t n;
    char **warnings; /* that were said */
    size_t nwarnings;
};

/* ctx is borrowed: a question ends with it. */
void asking_begin(struct asking *a, const struct context *ctx);
/* Wipes what was typed. */
void asking_end(struct asking *a);
/* What draws on the terminal from now on, and makes room while something is asked; NULL: nothing does. Borrowed until
 * the next call. */
void asking_board(struct asking *a, struct progress *board);

#endif

/* Carrying out one step of a plan. Called on worker threads; touches no database: what is to be remembered goes into
 * struct step_result, which the scheduler thread writes down. */
#ifndef NESTOR_RUN_STEPS_H
#define NESTOR_RUN_STEPS_H

#include <pthread.h>

#include "nestor/run.h"

/* Images resolved so far, one per template of the lab; several steps may need the same. */
struct image_slot {
    pthread_mutex_t lock;
    struct image *image;
};

/* What the steps of one run share; immutable but for the slots and flags named so. */
struct work {
    struct plan *plan;
    const struct inventory *inv;
    struct reach *reach;
    const struct secret *secret;
    struct keypair user_key;
    const struct capability *hosts; /* per host: what check said */
    struct event_sink *sink;
    const struct context *ctx;
    struct image_slot *images; /* per template of the lab */
    _Atomic bool *exposed;     /* per row: as last read back */
    bool *starts;              /* per row: this run starts it */
};

struct step_result {
    struct error *error;       /* NULL when done; owned */
    struct evidence *evidence; /* from verify (also a failed one) and expose; owned */
    char address[80];          /* from reach */
    struct error *again;       /* from reach: why the machine was started once more meanwhile; owned */
};
void step_result_free(struct step_result *r);

/* Runs the step with its own deadline, repeating a few times what may succeed a little later. */
int step_perform(struct work *w, const struct step *step, struct step_result *ret);

#endif

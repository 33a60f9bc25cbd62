/* A recipe: the folder templates/images/NAME with build.sh, which makes an image's files in the folder it is given. */
#ifndef NESTOR_IMAGE_RECIPE_H
#define NESTOR_IMAGE_RECIPE_H

#include "nestor/context.h"
#include "nestor/error.h"
#include "nestor/event.h"

/* $NESTOR_TEMPLATES, else where nestor was installed, and "/images". Caller frees. */
char *recipe_root(void);
/* The recipe's folder, NULL if there is no recipe of that name. Caller frees. */
char *recipe_find(const char *name);

/* A hash of what the recipe is made of: the files in its folder and those it shares with others (directly in the
 * root), by name, executable bit and content. */
int recipe_hash(const char *name, char out[65], struct error *err) NESTOR_CHECKED;

/* Runs build.sh with `out` as its argument and `work` as TMPDIR. Each line it prints is an event and is kept in `log`.
 * ERR_PROCESS with its last line as the cause when it fails. */
int recipe_run(const char *name, const char *out, const char *work, const char *log, struct event_sink *sink,
               const struct context *ctx, struct error *err) NESTOR_CHECKED;

#endif

/* Where a template's image is kept: cache/images/KEY, and beside it the lock, the log and work in progress. */
#ifndef NESTOR_IMAGE_ENTRY_H
#define NESTOR_IMAGE_ENTRY_H

#include "image/manifest.h"
#include "nestor/event.h"
#include "nestor/image.h"

struct entry {
    char *root;                 /* cache/images */
    char *key;                  /* NAME, or NAME-<12 hex digits> for a template with a path or URL */
    char *folder;               /* root/KEY */
    char *sources[IMAGE_FILES]; /* absolute paths or URLs; all NULL: made by the recipe of that name */
};
/* Makes cache/images if it is missing. ERR_USAGE for a name that is no file name, ERR_NOT_FOUND for a path that does
 * not exist. */
int entry_init(struct entry *e, const struct template *t, struct error *err) NESTOR_CHECKED;
/* By key alone. */
int entry_init_key(struct entry *e, const char *key, struct error *err) NESTOR_CHECKED;
void entry_free(struct entry *e);
#define cleanup_entry __attribute__((cleanup(entry_free)))

static inline bool entry_has_recipe(const struct entry *e) { return !e->sources[IMAGE_DISK]; }
bool source_is_url(const char *source);

/* root/KEY.log */
char *entry_log(const struct entry *e);

/* Holds the entry until entry_unlock, or the process ends in any way. Waits within ctx; without ctx it is ERR_LOCKED at
 * once. */
struct entry_hold {
    const struct entry *entry; /* borrowed */
    int fd;
};
int entry_lock(const struct entry *e, struct event_sink *sink, const struct context *ctx, struct entry_hold *ret,
               struct error *err) NESTOR_CHECKED;
/* The lock file goes when there is nothing else of the entry. Of one that was zeroed: nothing. */
void entry_unlock(struct entry_hold *hold);
#define cleanup_hold __attribute__((cleanup(entry_unlock)))
/* Whether somebody does; leaves no trace. */
bool entry_is_held(const struct entry *e);

/* Work in progress: root/.KEY.XXXXXX. Never seen by entry_init_key or image_list, whose names begin with a letter or
 * digit. These want the lock, but for the third. */
int entry_stage(const struct entry *e, char **ret_folder, struct error *err) NESTOR_CHECKED;
/* The folder becomes the entry's, in place of the one there was. */
int entry_publish(const struct entry *e, const char *folder, struct error *err) NESTOR_CHECKED;
/* Calls fn for each path that killed or interrupted makers left behind, half a download for example. Needs no lock. */
int entry_each_leftover(const struct entry *e, int (*fn)(void *data, const char *path, struct error *err), void *data,
                        struct error *err) NESTOR_CHECKED;
/* Removes all that. */
int entry_clean(const struct entry *e, struct error *err) NESTOR_CHECKED;

#endif

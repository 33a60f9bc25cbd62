/* How vim_watch waits. Three parts, and one lock over all that they share:
 *
 *   watch.c      a waiting caller: reads its object, looks, has it put on the list, waits, takes over what changed; the
 *                same with a second object beside it. All calls that can fail are made here, on callers' threads and in
 *                their contexts
 *
 *   collector.c  what the server keeps for us: a PropertyCollector with one filter over one ListView. Made, extended
 *                and made anew by one caller for all that wait (share.h)
 *
 *   updates.c    the thread that hears of changes: WaitForUpdatesEx on a connection of its own. It hands changes to the
 *                callers, and tells them when the collector is lost
 *
 * Nothing depends on how soon a server notices a longer list: each object is read once more after it was listed, and
 * whatever an update does not tell plainly leads to one more (shared) read.
 */
#ifndef DRIVERS_VSPHERE_WATCH_PRIV_H
#define DRIVERS_VSPHERE_WATCH_PRIV_H

#include "drivers/vsphere/vim_priv.h"

#define WATCH_BUCKETS 256

/* One object of a waiting caller, on its stack. */
struct watcher {
    struct watcher *next; /* in its bucket */
    const struct moref *ref;
    const struct vim_set *set;
    int wake;
    /* The rest is under the lock. */
    struct vim_object changes; /* not taken over yet */
    bool reread;               /* something changed that is not in `changes` */
    unsigned listed;           /* number of the collector whose list has it; 0: none */
    struct error failed;       /* waiting is not possible at all */
};

/* What the server keeps for us; gone with the session it was made in. */
struct collector {
    unsigned number; /* counts them, from 1 */
    unsigned generation;
    bool made;
    struct moref self, list, filter;
    size_t nsets; /* how many of watch.sets the filter covers */
};

struct watch {
    struct vim *v;
    pthread_mutex_t lock;
    struct watcher *buckets[WATCH_BUCKETS];
    size_t n;                    /* callers that wait */
    const struct vim_set **sets; /* all that were ever waited with */
    size_t nsets;
    struct collector collector;
    unsigned ncollectors; /* that were tried to make */
    struct moref *stale;  /* on the list, and waited for by nobody any more */
    size_t nstale, stale_cap;
    unsigned failures; /* of the updates thread, since it last heard something */
    struct share listing;

    int64_t linger_ms;     /* the collector is kept so long when nobody waits any more */
    int64_t keep_alive_ms; /* a vCenter ends sessions that are idle for half an hour */
    pthread_t thread;
    bool started, stop;
    int idle;            /* eventfd: the thread has something to do */
    struct cancel abort; /* of what the thread is waiting for at the server */
};

/* With the lock held. */
struct watcher **watch_bucket(struct watch *w, const struct moref *ref);
struct watcher *watch_first(struct watch *w, const struct moref *ref); /* one that waits for it, or NULL */
bool watch_is_listed(const struct watch *w, const struct watcher *one);
/* It is on the list, and nobody waits for it: it stays there until the list is changed for another reason. */
void watch_mark_stale(struct watch *w, const struct moref *ref);
/* The collector is not there any more: everybody has it made anew, and reads. failed (may be NULL): waiting fails. */
void watch_lose_collector(struct watch *w, const struct error *failed);

/* --- collector.c --- */

void collector_init(struct watch *w);
void collector_free(struct watch *w);
/* Has it put on the list of a living collector. An object that is gone is not put there, which is no error here. */
int collector_list(struct watch *w, struct watcher *one, const struct context *ctx, struct error *err) NESTOR_CHECKED;
/* Gives the server its own back; what fails is left to the end of the session. Without login. */
void collector_destroy(struct watch *w, const struct collector *c, const struct context *parent);

/* --- updates.c --- */

int updates_start(struct watch *w, struct error *err) NESTOR_CHECKED; /* once; with the lock held */
void updates_stop(struct watch *w);
/* Ends what the thread waits for at the server. With the lock held. */
void updates_abort(struct watch *w);

#endif

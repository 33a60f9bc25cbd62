/* A vCenter of few words for tests: sessions, objects with properties, tasks, views, a property collector that waits.
 * It refuses what a vCenter refuses, notes every request that one would not understand, and fails as it is told to.
 * Plain HTTP on a port of 127.0.0.1; many threads.
 */
#ifndef VIM_SERVER_H
#define VIM_SERVER_H

#include "drivers/vsphere/client.h"
#include "tls_server.h"

#define VIM_OBJECTS 1200
#define VIM_PROPERTIES 8
#define VIM_VIEWS 256
#define VIM_SESSIONS 128

enum vim_trouble {
    EXPIRES,      /* the session ends just before the call */
    STATUS,       /* an HTTP status, nothing was done */
    CLOSES,       /* the connection, nothing was done */
    LOSES_ANSWER, /* it is done, and then the connection is closed */
    CUTS_HTTP,    /* it is done, and half of the answer comes */
    CUTS_XML,     /* the same, and HTTP believes that it is the whole */
    BREAKS_XML,   /* the same length, and something in it is not XML */
    IS_SILENT,    /* nothing was done, and nothing comes */
    FAULTS,       /* with that fault */
    SAYS,         /* that text, with status 200 */
};

struct vim_rule {
    const char *method; /* NULL: any */
    int skip, times;    /* lets some pass, then does it so often */
    enum vim_trouble trouble;
    int status;
    const char *text;
};

struct vim_server {
    /* set before the start, or with the lock held */
    const char *api_version; /* "6.5" */
    bool esx;
    bool sloppy_unauthenticated; /* as vcsim: reading without a session gives a missingSet */
    bool old_missing;            /* knows no reportMissingObjectsInResults */
    bool tasks_end_at_once, tasks_obey_cancel;
    int page;     /* objects in one reply at most; 0: all */
    int chunk;    /* objects in one update at most; 0: as it is asked */
    int delay_ms; /* of every answer */
    char password[32];

    struct test_tls http;
    struct vim_rule rules[16];
    int nrules;
    struct buffer complaints; /* what a vCenter would not have understood */
    int ncalls;
    struct buffer calls; /* " Login RetrievePropertiesEx", in their order */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    int drops; /* counts vim_server_drop_waits */
    int clock; /* counts changes */
    int ntasks, nsessions, nviews, ntokens;
    bool session_valid[VIM_SESSIONS];
    struct vim_server_object {
        char type[40], id[80];
        bool removed, forbidden;
        int nproperties;
        struct {
            const char *path;
            char *val;           /* the whole <val> element; NULL: unset */
            const char *told_as; /* updates name this instead, and no value */
            int changed_at;
        } properties[VIM_PROPERTIES];
    } objects[VIM_OBJECTS];
    int nobjects;
    struct vim_server_view { /* a ListView, ContainerView, PropertyCollector or PropertyFilter */
        char type[24];
        int session;
        bool gone;
        bool has[VIM_OBJECTS]; /* a view's content */
        int of;                /* a filter: its collector */
        int list;              /* a filter: its view */
        char *sets;            /* a filter: " Task:info.state Task:info.error" */
        int seen[VIM_OBJECTS]; /* a collector: when each object was told of; 0: never */
        int version;           /* a collector: that was given last */
        bool waiting;
    } views[VIM_VIEWS];
    struct {
        char token[16];
        int view, at;
        bool used;
        struct _xmlNode *set;
    } tokens[512];
    char **kept; /* answers, until the end */
    size_t nkept;
};

struct vim_server *vim_server_start(void);
/* Fails the test when there were complaints. */
void vim_server_stop(struct vim_server *s);
char *vim_server_url(const struct vim_server *s); /* caller frees */

void vim_server_rule(struct vim_server *s, struct vim_rule rule);
void vim_server_clear_rules(struct vim_server *s);
/* How often a method was called; NULL: any. */
int vim_server_count(struct vim_server *s, const char *method);
/* Waits for its n-th call to have come, ten seconds at most. */
void vim_server_await(struct vim_server *s, const char *method, int n);
/* Waits for somebody to wait for updates, and for nothing to be there to be told. */
void vim_server_await_waiting(struct vim_server *s);
int vim_server_sessions(struct vim_server *s); /* that are open */

void vim_server_add(struct vim_server *s, const char *type, const char *id);
void vim_server_remove(struct vim_server *s, const char *id);
void vim_server_forbid(struct vim_server *s, const char *id);
/* text NULL: unset. type: "xsd:string" ..., or "" for XML that is the content of a value without one. */
void vim_server_set(struct vim_server *s, const char *id, const char *path, const char *type, const char *text);
void vim_server_tell_as(struct vim_server *s, const char *id, const char *path, const char *name);
void vim_server_task_ends(struct vim_server *s, const char *id, const char *fault, const char *message);
/* Every session is over. */
void vim_server_expire(struct vim_server *s);
/* The connections that wait for updates are closed. */
void vim_server_drop_waits(struct vim_server *s);
/* Loses what it keeps of a type, in the middle of a session: "ListView" ... */
void vim_server_forget(struct vim_server *s, const char *type);
/* How many of a type there are at the server: "PropertyFilter" ... */
int vim_server_things(struct vim_server *s, const char *type);
/* How many objects the ListView has that is there. */
int vim_server_listed(struct vim_server *s);

/* A client of one. */
struct vim_client {
    struct vim_server *s;
    struct vim_config config;
    char *url, password[32];
    atomic_int asked; /* for the password */
    struct vim *v;
};
void vim_client_init(struct vim_client *c); /* server and config, not opened */
void vim_client_open(struct vim_client *c);
/* With its server. Fails the test when a session is left. */
void vim_client_close(struct vim_client *c);

#endif

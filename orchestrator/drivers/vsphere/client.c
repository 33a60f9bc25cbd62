/* Calls, and the life of a session's handle. */
#include "drivers/vsphere/vim_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define PAUSE_FIRST_MS 200
#define PAUSE_MAX_MS 5000
#define TRY_MS 90000   /* more than a slow vCenter needs for a page; a connection that went silent is noticed so */
#define RENEWALS_MAX 3 /* a session that others keep ending is not fought for */

/* --- calls --- */

int client_pause(struct vim *v, unsigned *pauses, const struct context *ctx, struct error *err) {
    unsigned shift = *pauses < 8 ? *pauses : 8;
    int64_t ms = (int64_t)PAUSE_FIRST_MS << shift;
    unsigned char dice = 128;
    if (getrandom(&dice, 1, GRND_NONBLOCK) != 1)
        dice = 128;
    ms = (ms < PAUSE_MAX_MS ? ms : PAUSE_MAX_MS) * (192 + dice / 2) / 256; /* 3/4 to 5/4 of it */
    ++*pauses;
    return context_sleep(ctx, ms, vim_subject(v), "waiting to try again", err);
}

static bool may_repeat(enum outcome outcome, enum vim_repeat repeat) {
    return outcome == OUTCOME_UNSENT || (outcome == OUTCOME_UNKNOWN && repeat == VIM_SAFE);
}

/* One try. A call that may be repeated does not wait for ever on a connection that is dead. */
static enum outcome try(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct soap_reply **ret,
                        const struct context *ctx, struct error *err) {
    if (repeat == VIM_ONCE)
        return exchange(v, request, ret, ctx, err);
    struct context once = context_timeout(ctx, v->try_ms);
    enum outcome outcome = exchange(v, request, ret, &once, err);
    bool silent = outcome == OUTCOME_ENDED && context_left(&once) == 0 && !context_has_ended(ctx);
    if (!silent)
        return outcome;
    error_clear(err);
    error_set(err, ERR_TIMEOUT, vim_subject(v), "no answer to %s came within %d seconds", soap_method(request),
              (int)(v->try_ms / 1000));
    error_retry(err);
    return OUTCOME_UNKNOWN;
}

int client_send(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct soap_reply **ret,
                bool *ret_uncertain, const struct context *ctx, struct error *err) {
    bool uncertain = false;
    unsigned pauses = 0;
    int rc = 0;
    for (;;) {
        struct error why = {0};
        enum outcome outcome = try(v, request, repeat, ret, ctx, &why);
        atomic_store(&v->called_at, clock_ms());
        if (outcome == OUTCOME_ANSWER && why.code == ERR_NONE)
            break;
        uncertain = outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_ENDED || (uncertain && outcome != OUTCOME_ANSWER);
        if (may_repeat(outcome, repeat) && pauses < TRIES_MAX - 1) {
            if ((rc = client_pause(v, &pauses, ctx, err)) == 0)
                continue;
            error_note(err, "%s", why.cause);
        } else {
            rc = -1;
            if (err)
                *err = why;
        }
        break;
    }
    if (ret_uncertain)
        *ret_uncertain = rc && uncertain;
    return rc;
}

int client_call(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct soap_reply **ret,
                bool *ret_uncertain, unsigned *ret_generation, const struct context *ctx, struct error *err) {
    for (unsigned renewals = 0;; renewals++) {
        struct error why = {0};
        unsigned generation = atomic_load(&v->generation);
        if (ret_generation)
            *ret_generation = generation;
        if (client_send(v, request, repeat, ret, ret_uncertain, ctx, &why) == 0)
            return 0;
        if (!vim_fault_is(&why, VIM_NOT_AUTHENTICATED) || renewals == RENEWALS_MAX) {
            if (err)
                *err = why;
            return -1;
        }
        if (session_renew(v, generation, ctx, err))
            return -1;
    }
}

int vim_call(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct soap_reply **ret,
             bool *ret_uncertain, const struct context *ctx, struct error *err) {
    struct soap_reply *reply = NULL;
    if (client_call(v, request, repeat, &reply, ret_uncertain, NULL, ctx, err))
        return -1;
    if (ret)
        *ret = reply;
    else
        soap_reply_free(reply);
    return 0;
}

int client_call_ref(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct moref *ret,
                    bool *ret_uncertain, unsigned *ret_generation, const struct context *ctx, struct error *err) {
    cleanup_soap_reply struct soap_reply *reply = NULL;
    xmlNode *value = NULL;
    if (client_call(v, request, repeat, &reply, ret_uncertain, ret_generation, ctx, err))
        return -1;
    int rc = soap_next(reply, &value, err);
    if (rc == 1 && xml_ref(value, ret))
        return 0;
    if (ret_uncertain)
        *ret_uncertain = true;
    return rc < 0 ? -1
                  : error_set(err, ERR_PROTOCOL, vim_subject(v), "the answer to %s holds no reference",
                              soap_method(request));
}

int vim_call_ref(struct vim *v, struct soap_request *request, enum vim_repeat repeat, struct moref *ret,
                 bool *ret_uncertain, const struct context *ctx, struct error *err) {
    return client_call_ref(v, request, repeat, ret, ret_uncertain, NULL, ctx, err);
}

/* --- what the server says of itself --- */

/* The first is spoken before anything is known of the server; each server speaks all older versions as well. */
static const char *const versions[] = {"5.1", "5.5", "6.0", "6.5", "6.7", "7.0"};

static void speak(struct vim *v, const char *version) {
    snprintf(v->action, sizeof v->action, "SOAPAction: \"urn:vim25/%s\"", version);
}

/* "6.7.3" as 6007. */
static int version_number(const char *text) {
    char *end = NULL;
    long major = strtol(text, &end, 10), minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return major < 0 || major > 1000 || minor < 0 || minor > 999 ? 0 : (int)(major * 1000 + minor);
}

static void speak_newest(struct vim *v, const char *server_version) {
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++)
        if (version_number(versions[i]) <= version_number(server_version))
            speak(v, versions[i]);
}

static int read_service(struct vim *v, xmlNode *content, struct error *err) {
    struct vim_service *s = &v->service;
    char api[32];
    const struct {
        const char *name;
        struct moref *ref;
        bool needed;
    } refs[] = {
        {"rootFolder", &s->root_folder, true},          {"propertyCollector", &s->property_collector, true},
        {"viewManager", &s->view_manager, true},        {"sessionManager", &s->session_manager, true},
        {"searchIndex", &s->search_index, false},       {"taskManager", &s->task_manager, false},
        {"fileManager", &s->file_manager, false},       {"virtualDiskManager", &s->virtual_disk_manager, false},
        {"licenseManager", &s->license_manager, false}, {"dvSwitchManager", &s->dvs_manager, false},
    };
    for (size_t i = 0; i < sizeof refs / sizeof *refs; i++)
        if (!xml_ref(xml_child(content, refs[i].name), refs[i].ref) && refs[i].needed)
            return error_set(err, ERR_PROTOCOL, vim_subject(v), "the server does not name its %s", refs[i].name);
    xmlNode *about = xml_child(content, "about");
    s->vcenter = xml_is(xml_child(about, "apiType"), "VirtualCenter");
    xml_text(xml_child(about, "version"), s->version, sizeof s->version);
    xml_text(xml_child(about, "build"), s->build, sizeof s->build);
    xml_text(xml_child(about, "fullName"), s->full_name, sizeof s->full_name);
    xml_text(xml_child(about, "instanceUuid"), s->instance_uuid, sizeof s->instance_uuid);
    xml_text(xml_child(about, "apiVersion"), api, sizeof api);
    speak_newest(v, api);
    return 0;
}

static int ask_service(struct vim *v, const struct context *ctx, struct error *err) {
    static const struct moref instance = {"ServiceInstance", "ServiceInstance"};
    struct soap_request *request = soap_new("RetrieveServiceContent", &instance);
    cleanup_soap_reply struct soap_reply *reply = NULL;
    xmlNode *content = NULL;
    speak(v, versions[0]);
    int rc = client_send(v, request, VIM_SAFE, &reply, NULL, ctx, err);
    soap_free(request);
    if (rc)
        return -1;
    rc = soap_next(reply, &content, err);
    return rc < 0 ? -1 : read_service(v, content, err);
}

/* --- open and close --- */

int vim_open(const struct vim_config *config, struct vim **ret, const struct context *ctx, struct error *err) {
    struct http *http = NULL;
    if (http_open(&config->http, &http, err))
        return -1;
    struct vim *v = xcalloc(1, sizeof *v);
    v->config = *config;
    v->http = http;
    v->try_ms = TRY_MS;
    wakes_init(&v->wakes);
    session_init(v);
    readers_init(v);
    views_init(v);
    watch_init(v);
    if (ask_service(v, ctx, err) || session_renew(v, 0, ctx, err)) {
        vim_close(v);
        return -1;
    }
    *ret = v;
    return 0;
}

void vim_close(struct vim *v) {
    if (!v)
        return;
    watch_destroy(v);
    session_end(v);
    readers_destroy(v);
    views_destroy(v);
    session_destroy(v);
    http_close(v->http);
    wakes_destroy(&v->wakes);
    free(v);
}

const struct vim_service *vim_service(const struct vim *v) { return &v->service; }

const char *vim_subject(const struct vim *v) { return v->config.http.subject; }

uint32_t vim_at_once(struct vim *v) { return 2 * http_at_once(v->http) + watch_waiting(v); }

unsigned long vim_round_trips(const struct vim *v) { return http_exchanges(v->http); }

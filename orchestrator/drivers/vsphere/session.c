/* Login and logout. */
#include "drivers/vsphere/vim_priv.h"

#include <string.h>

#define LOGOUT_MS 5000

struct renewal {
    struct share_item item;
    unsigned generation; /* that is over */
};

static void wipe(struct buffer *b) {
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buffer_free(b);
}

static struct soap_request *login_request(struct vim *v, struct error *err) {
    __attribute__((cleanup(wipe))) struct buffer password = {0};
    if (v->config.password(v->config.data, &password, err))
        return NULL;
    struct soap_request *r = soap_new("Login", &v->service.session_manager);
    soap_text(r, "userName", v->config.username);
    soap_text(r, "password", buffer_str(&password));
    soap_text(r, "locale", "en_US"); /* of the server's messages */
    return r;
}

/* A session that is known already answers a second Login with InvalidLogin, so each attempt begins without cookies: an
 * attempt whose answer was lost may have succeeded. */
static int send_login(struct vim *v, struct soap_request *request, const struct context *ctx, struct error *err) {
    unsigned pauses = 0;
    for (;;) {
        struct soap_reply *reply = NULL;
        struct error why = {0};
        http_forget_cookies(v->http);
        enum outcome outcome = exchange(v, request, &reply, ctx, &why);
        soap_reply_free(reply);
        if (outcome == OUTCOME_ANSWER && reply)
            return 0;
        bool again = outcome == OUTCOME_UNSENT || outcome == OUTCOME_UNKNOWN;
        if (!again || pauses == TRIES_MAX - 1) {
            if (err)
                *err = why;
            return -1;
        }
        if (client_pause(v, &pauses, ctx, err)) {
            error_note(err, "%s", why.cause);
            return -1;
        }
    }
}

static int login(struct vim *v, const struct context *ctx, struct error *err) {
    struct error why = {0};
    if (v->refused.code != ERR_NONE) {
        *err = v->refused;
        return -1;
    }
    struct soap_request *request = login_request(v, err);
    if (!request)
        return -1;
    int rc = send_login(v, request, ctx, &why);
    soap_free(request);
    if (rc == 0) {
        atomic_fetch_add(&v->generation, 1);
        watch_session_changed(v);
        return 0;
    }
    if (why.code == ERR_AUTH && vim_fault_any(&why) && !why.retry)
        v->refused = why;
    *err = why;
    return -1;
}

/* Those whose session is over already have another one. */
static int run(void *data, struct share_batch *b, const struct context *ctx, struct error *err) {
    struct vim *v = data;
    unsigned now = atomic_load(&v->generation);
    bool needed = false;
    share_lock(b);
    for (size_t i = 0; i < b->n; i++)
        needed = needed || (b->items[i] && ((struct renewal *)b->items[i])->generation == now);
    share_unlock(b);
    return needed ? login(v, ctx, err) : 0;
}

void session_init(struct vim *v) {
    v->login = (struct share){
        .rounds_max = 1, .wakes = &v->wakes, .subject = vim_subject(v), .what = "logging in", .run = run, .data = v};
    share_init(&v->login);
}

void session_destroy(struct vim *v) { share_destroy(&v->login); }

int session_renew(struct vim *v, unsigned generation, const struct context *ctx, struct error *err) {
    if (atomic_load(&v->generation) != generation)
        return 0;
    struct renewal renewal = {.generation = generation};
    return share_do(&v->login, &renewal.item, ctx, err);
}

void session_end(struct vim *v) {
    if (atomic_load(&v->generation) == 0)
        return;
    struct context ctx =
        context_timeout(NULL, LOGOUT_MS); /* not the caller's: Ctrl-C must not leave a session behind */
    struct soap_request *request = soap_new("Logout", &v->service.session_manager);
    struct soap_reply *reply = NULL;
    struct error ignored = {0};
    exchange(v, request, &reply, &ctx, &ignored);
    soap_reply_free(reply);
    soap_free(request);
}

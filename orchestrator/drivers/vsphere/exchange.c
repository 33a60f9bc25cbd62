/* One request and its reply. */
#include "drivers/vsphere/vim_priv.h"

#include <stdio.h>
#include <string.h>

/* What stands in front of the SDK when no SOAP came: a proxy's, a load balancer's or a starting vCenter's status. */
static const struct {
    long status;
    enum outcome outcome;
    enum error_code code;
    const char *cause, *mend;
} statuses[] = {
    {301, OUTCOME_HOPELESS, ERR_PROTOCOL, "the server points elsewhere", "write the URL it is really at"},
    {302, OUTCOME_HOPELESS, ERR_PROTOCOL, "the server points elsewhere", "write the URL it is really at"},
    {307, OUTCOME_HOPELESS, ERR_PROTOCOL, "the server points elsewhere", "write the URL it is really at"},
    {308, OUTCOME_HOPELESS, ERR_PROTOCOL, "the server points elsewhere", "write the URL it is really at"},
    {401, OUTCOME_HOPELESS, ERR_AUTH, "something in front of the SDK wants its own login", NULL},
    {403, OUTCOME_HOPELESS, ERR_AUTH, "something in front of the SDK lets nobody in", NULL},
    {404, OUTCOME_HOPELESS, ERR_NOT_FOUND, "there is no SDK at this URL", "a vCenter's or ESXi's URL ends in /sdk"},
    {407, OUTCOME_HOPELESS, ERR_AUTH, "a proxy wants its own login", NULL},
    {429, OUTCOME_UNKNOWN, ERR_UNREACHABLE, "the server wants fewer requests", NULL},
    {500, OUTCOME_UNKNOWN, ERR_UNREACHABLE, "the server failed", NULL},
    {502, OUTCOME_UNKNOWN, ERR_UNREACHABLE, "a proxy did not get an answer", NULL},
    {503, OUTCOME_UNKNOWN, ERR_UNREACHABLE, "the service is not available", "wait until vCenter's services run"},
    {504, OUTCOME_UNKNOWN, ERR_UNREACHABLE, "a proxy waited too long for an answer", NULL},
};

static enum outcome of_status(struct vim *v, const char *method, long status, struct error *err) {
    size_t i = 0, n = sizeof statuses / sizeof *statuses;
    while (i < n && statuses[i].status != status)
        i++;
    error_set(err, i < n ? statuses[i].code : ERR_PROTOCOL, vim_subject(v), "%s: HTTP status %ld to %s",
              i < n ? statuses[i].cause : "no answer of a vCenter or ESXi", status, method);
    if (i == n)
        error_mend(err, "check what answers there: a vCenter's or ESXi's URL is https://ADDRESS/sdk");
    else if (statuses[i].mend)
        error_mend(err, "%s", statuses[i].mend);
    if (i < n && statuses[i].outcome == OUTCOME_UNKNOWN)
        error_retry(err);
    return i < n ? statuses[i].outcome : OUTCOME_HOPELESS;
}

static enum outcome of_failure(bool sent, const struct error *err) {
    if (!err->retry)
        return sent ? OUTCOME_ENDED : OUTCOME_HOPELESS;
    return sent ? OUTCOME_UNKNOWN : OUTCOME_UNSENT;
}

/* Status 500 is how faults come; other servers use it for pages of their own. */
static enum outcome of_body(struct vim *v, const char *method, struct http_reply *http, struct soap_reply **ret,
                            struct error *err) {
    struct error why = {0};
    if (soap_read(&http->body, method, vim_subject(v), ret, &why) == 0)
        return OUTCOME_ANSWER;
    if (!vim_fault_any(&why) && http->status == 500)
        return of_status(v, method, 500, err);
    *err = why;
    return vim_fault_any(&why) ? OUTCOME_ANSWER : why.retry ? OUTCOME_UNKNOWN : OUTCOME_ENDED;
}

/* A vCenter hands a new session, which nobody has logged in to, to whoever has none that is valid
 * (vmware_soap_session). The late answer to a call of the session before must not take the new one's place. */
enum outcome exchange(struct vim *v, struct soap_request *request, struct soap_reply **ret, const struct context *ctx,
                      struct error *err) {
    static const char type[] = "Content-Type: text/xml; charset=utf-8";
    const char *headers[] = {type, v->action, NULL}, *method = soap_method(request);
    struct http_request http = {.method = "POST", .headers = headers, .ignore_cookies = strcmp(method, "Login") != 0};
    cleanup_http_reply struct http_reply reply = {0};
    bool sent = false;
    http.body = soap_envelope(request, &http.body_len);
    if (!soap_sound(request)) {
        error_set(err, ERR_USAGE, vim_subject(v), "%s cannot be asked: a text of it has characters XML cannot carry",
                  method);
        return OUTCOME_HOPELESS;
    }
    if (http_perform(v->http, &http, &reply, &sent, ctx, err))
        return of_failure(sent, err);
    if (reply.status == 200 || reply.status == 500)
        return of_body(v, method, &reply, ret, err);
    return of_status(v, method, reply.status, err);
}

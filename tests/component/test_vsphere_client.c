/* A vSphere session's calls: login, repetition, uncertainty, expiry, and their ends. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/vsphere/vim_priv.h"
#include "transport/https.h"
#include "transport_check.h"
#include "transport_server.h"
#include "vim_server.h"

static const struct moref instance = {"ServiceInstance", "ServiceInstance"};
static const struct moref vm = {"VirtualMachine", "vm-1"};

static int setup(void **state) {
    struct vim_client *c = xcalloc(1, sizeof *c);
    vim_client_open(c);
    vim_server_add(c->s, "VirtualMachine", "vm-1");
    vim_server_set(c->s, "vm-1", "name", "xsd:string", "one");
    *state = c;
    return 0;
}

static int setup_unopened(void **state) {
    struct vim_client *c = xcalloc(1, sizeof *c);
    vim_client_init(c);
    *state = c;
    return 0;
}

static int teardown(void **state) {
    vim_client_close(*state);
    free(*state);
    return 0;
}

/* One call, made in one of the two manners. */
struct result {
    int rc;
    bool uncertain;
    struct error err;
    int64_t took;
};

static struct result call(struct vim_client *c, const char *method, enum vim_repeat repeat, struct context ctx) {
    struct result o = {.uncertain = true};
    struct soap_request *r = soap_new(method, strstr(method, "_Task") ? &vm : &instance);
    int64_t begin = clock_ms();
    o.rc = vim_call(c->v, r, repeat, NULL, &o.uncertain, &ctx, &o.err);
    o.took = clock_ms() - begin;
    soap_free(r);
    return o;
}

/* --- open and close --- */

static void session_is_opened_and_ended(void **state) {
    struct vim_client *c = *state;
    const struct vim_service *service = vim_service(c->v);
    assert_true(service->vcenter);
    assert_string_equal(service->full_name, "VMware vCenter Server 7.0.3 build-1");
    assert_string_equal(service->version, "7.0.3");
    assert_string_equal(service->build, "1");
    assert_string_equal(service->instance_uuid, "dbed6e0c-bd88-4ef6-b594-21283e1c677f");
    assert_string_equal(service->root_folder.id, "group-d1");
    assert_string_equal(service->task_manager.type, "TaskManager");
    assert_false(moref_is_set(&service->dvs_manager)); /* it named none */
    assert_string_equal(vim_subject(c->v), "host vc");
    assert_int_equal(c->asked, 1);
    assert_int_equal(vim_server_sessions(c->s), 1);
    assert_int_equal(vim_round_trips(c->v), 2);
    vim_close(c->v);
    c->v = NULL;
    assert_int_equal(vim_server_sessions(c->s), 0);
    assert_string_equal(buffer_str(&c->s->calls), " RetrieveServiceContent  Login  Logout ");
}

static void newest_version_that_both_know_is_spoken(void **state) {
    (void)state;
    static const struct {
        const char *server, *spoken;
    } cases[] = {{"5.1", "5.1"},      {"5.5", "5.5"}, {"6.0", "6.0"},     {"6.5", "6.5"},
                 {"6.7.3", "6.7"},    {"7.0", "7.0"}, {"7.0.3.0", "7.0"}, {"8.0.2.0", "7.0"},
                 {"10.1.0.0", "7.0"}, {"", "5.1"},    {"garbage", "5.1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vim_client c;
        struct context ctx = test_within(10000);
        struct error err = {0};
        vim_client_init(&c);
        c.s->api_version = cases[i].server;
        assert_int_equal(vim_open(&c.config, &c.v, &ctx, &err), 0);
        cleanup_free char *heads = test_tls_heads(&c.s->http);
        cleanup_free char *wanted = xasprintf("\r\nSOAPAction: \"urn:vim25/%s\"\r\n", cases[i].spoken);
        const char *second = strstr(heads + 1, "POST"); /* the first was spoken before anything was known */
        assert_non_null(second);
        if (!strstr(second, wanted))
            fail_msg("with %s: %s", cases[i].server, second);
        assert_non_null(strstr(heads, "\r\nSOAPAction: \"urn:vim25/5.1\"\r\n"));
        vim_client_close(&c);
    }
}

static void wrong_password_is_tried_once(void **state) {
    struct vim_client *c = *state;
    struct context ctx = test_within(10000);
    struct error err = {0};
    snprintf(c->password, sizeof c->password, "guess");
    assert_int_equal(vim_open(&c->config, &c->v, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_AUTH);
    assert_true(vim_fault_is(&err, VIM_INVALID_LOGIN));
    assert_string_equal(err.subject, "host vc");
    assert_string_equal(err.mend, "check 'username' and the password the lab file points at");
    assert_null(strstr(err.cause, "guess"));
    assert_int_equal(vim_server_count(c->s, "Login"), 1);
    assert_int_equal(vim_server_count(c->s, "Logout"), 0);
}

static int refuse_to_tell(void *data, struct buffer *ret, struct error *err) {
    (void)data;
    buffer_puts(ret, "half");
    return error_set(err, ERR_CANCELLED, "host vc", "nobody answered");
}

static void without_a_password_nothing_is_sent(void **state) {
    struct vim_client *c = *state;
    struct context ctx = test_within(10000);
    struct error err = {0};
    c->config.password = refuse_to_tell;
    assert_int_equal(vim_open(&c->config, &c->v, &ctx, &err), -1);
    assert_int_equal(err.code, ERR_CANCELLED);
    assert_string_equal(err.cause, "nobody answered");
    assert_int_equal(vim_server_count(c->s, "Login"), 0);
}

static void what_is_no_vcenter_is_told_so(void **state) {
    struct vim_client *c = *state;
    static const struct {
        struct vim_rule rule;
        enum error_code code;
        const char *cause, *mend;
    } cases[] = {
        {{.trouble = STATUS, .status = 404},
         ERR_NOT_FOUND,
         "there is no SDK at this URL: HTTP status 404 to RetrieveServiceContent",
         "a vCenter's or ESXi's URL ends in /sdk"},
        {{.trouble = STATUS, .status = 302},
         ERR_PROTOCOL,
         "the server points elsewhere: HTTP status 302 to RetrieveServiceContent",
         "write the URL it is really at"},
        {{.trouble = STATUS, .status = 403},
         ERR_AUTH,
         "something in front of the SDK lets nobody in: HTTP status 403 to RetrieveServiceContent",
         ""},
        {{.trouble = STATUS, .status = 418},
         ERR_PROTOCOL,
         "no answer of a vCenter or ESXi: HTTP status 418 to RetrieveServiceContent",
         "check what answers there: a vCenter's or ESXi's URL is https://ADDRESS/sdk"},
        {{.trouble = SAYS, .text = "<html>Welcome</html>"},
         ERR_PROTOCOL,
         "the answer to RetrieveServiceContent is not SOAP",
         NULL},
        {{.trouble = SAYS, .text = "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>"},
         ERR_PROTOCOL,
         "the answer to RetrieveServiceContent has a DTD, which SOAP does not allow",
         ""},
        {{.trouble = FAULTS, .text = "RuntimeFault"}, ERR_PROCESS, "RuntimeFault: as it was told to", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct context ctx = test_within(10000);
        struct error err = {0};
        struct vim_rule rule = cases[i].rule;
        rule.times = 1;
        vim_server_rule(c->s, rule);
        assert_int_equal(vim_open(&c->config, &c->v, &ctx, &err), -1);
        assert_int_equal(err.code, cases[i].code);
        assert_string_equal(err.cause, cases[i].cause);
        if (cases[i].mend)
            assert_string_equal(err.mend, cases[i].mend);
    }
    assert_int_equal(vim_server_count(c->s, NULL), sizeof cases / sizeof *cases); /* each once */
}

/* A Login whose answer is lost may have made a session; asked with its cookie, a second one would be refused. */
static void login_whose_answer_is_lost_is_repeated(void **state) {
    struct vim_client *c = *state;
    struct context ctx = test_within(10000);
    struct error err = {0};
    vim_server_rule(c->s, (struct vim_rule){.method = "Login", .times = 1, .trouble = CUTS_XML}); /* the cookie came */
    assert_int_equal(vim_open(&c->config, &c->v, &ctx, &err), 0);
    assert_int_equal(vim_server_count(c->s, "Login"), 2);
    assert_int_equal(c->asked, 1);
    vim_close(c->v);
    c->v = NULL;
    vim_server_expire(c->s); /* the lost one stays until it has idled long enough */
}

static void session_is_ended_after_ctrl_c(void **state) {
    struct vim_client *c = *state;
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    cancel_fire(&cancel);
    struct result o = call(c, "CurrentTime", VIM_SAFE, (struct context){DEADLINE_NEVER, &cancel});
    assert_int_equal(o.err.code, ERR_CANCELLED);
    assert_false(o.uncertain);
    vim_close(c->v);
    c->v = NULL;
    cancel_destroy(&cancel);
    assert_int_equal(vim_server_count(c->s, "CurrentTime"), 0);
    assert_int_equal(vim_server_count(c->s, "Logout"), 1);
}

static void silent_server_does_not_hold_up_the_end(void **state) {
    struct vim_client *c = *state;
    vim_server_rule(c->s, (struct vim_rule){.method = "Logout", .times = 1, .trouble = IS_SILENT});
    int64_t begin = clock_ms();
    vim_close(c->v);
    c->v = NULL;
    int64_t took = clock_ms() - begin;
    assert_true(took >= 4000 && took < 8000);
    vim_server_expire(c->s);
}

/* --- repetition --- */

static const struct {
    enum vim_trouble trouble;
    int status;
    const char *text;
} passing[] = {{STATUS, 503, NULL}, {STATUS, 502, NULL}, {STATUS, 504, NULL},  {STATUS, 500, NULL},
               {STATUS, 429, NULL}, {CLOSES, 0, NULL},   {CUTS_HTTP, 0, NULL}, {LOSES_ANSWER, 0, NULL},
               {CUTS_XML, 0, NULL}, {SAYS, 0, ""}};
#define PASSING (sizeof passing / sizeof *passing)

static struct vim_rule passing_rule(size_t i, const char *method, int times) {
    return (struct vim_rule){.method = method,
                             .times = times,
                             .trouble = passing[i].trouble,
                             .status = passing[i].status,
                             .text = passing[i].text};
}

static void safe_call_is_repeated_until_it_is_answered(void **state) {
    struct vim_client *c = *state;
    for (size_t i = 0; i < PASSING; i++) {
        int before = vim_server_count(c->s, "CurrentTime");
        vim_server_rule(c->s, passing_rule(i, "CurrentTime", 1));
        struct result o = call(c, "CurrentTime", VIM_SAFE, test_within(10000));
        if (o.rc)
            fail_msg("case %zu: %s", i, o.err.cause);
        assert_false(o.uncertain);
        assert_int_equal(vim_server_count(c->s, "CurrentTime"), before + 2);
        assert_true(o.took >= 100); /* not at once */
        vim_server_clear_rules(c->s);
    }
}

static void call_that_changes_something_is_not_repeated(void **state) {
    struct vim_client *c = *state;
    for (size_t i = 0; i < PASSING; i++) {
        int before = vim_server_count(c->s, "PowerOnVM_Task");
        vim_server_rule(c->s, passing_rule(i, "PowerOnVM_Task", 1));
        struct result o = call(c, "PowerOnVM_Task", VIM_ONCE, test_within(10000));
        assert_int_equal(o.rc, -1);
        assert_true(o.uncertain);
        assert_true(o.err.retry);
        assert_true(o.err.code == ERR_UNREACHABLE || o.err.code == ERR_PROTOCOL);
        assert_int_equal(vim_server_count(c->s, "PowerOnVM_Task"), before + 1);
        vim_server_clear_rules(c->s);
    }
}

static void fault_is_a_certain_answer(void **state) {
    struct vim_client *c = *state;
    vim_server_rule(
        c->s, (struct vim_rule){.method = "PowerOnVM_Task", .times = 2, .trouble = FAULTS, .text = "TaskInProgress"});
    for (int i = 0; i < 2; i++) {
        struct result o = call(c, "PowerOnVM_Task", i ? VIM_ONCE : VIM_SAFE, test_within(10000));
        assert_int_equal(o.err.code, ERR_LOCKED);
        assert_true(o.err.retry);
        assert_true(vim_fault_is(&o.err, VIM_TASK_IN_PROGRESS));
        assert_false(o.uncertain);
    }
    assert_int_equal(vim_server_count(c->s, "PowerOnVM_Task"), 2); /* to repeat it is the caller's business */
}

static void repetition_ends(void **state) {
    struct vim_client *c = *state;
    vim_server_rule(c->s, (struct vim_rule){.method = "CurrentTime", .times = 100, .trouble = STATUS, .status = 503});
    struct result o = call(c, "CurrentTime", VIM_SAFE, test_within(60000));
    assert_int_equal(vim_server_count(c->s, "CurrentTime"), 6);
    assert_int_equal(o.err.code, ERR_UNREACHABLE);
    assert_string_equal(o.err.cause, "the service is not available: HTTP status 503 to CurrentTime");
    assert_string_equal(o.err.mend, "wait until vCenter's services run");
    assert_true(o.took > 3000 && o.took < 12000);
}

static void repetition_ends_with_its_context(void **state) {
    struct vim_client *c = *state;
    vim_server_rule(c->s, (struct vim_rule){.method = "CurrentTime", .times = 100, .trouble = STATUS, .status = 503});
    struct result o = call(c, "CurrentTime", VIM_SAFE, test_within(2000));
    assert_int_equal(o.err.code, ERR_TIMEOUT);
    assert_string_equal(o.err.note, "the service is not available: HTTP status 503 to CurrentTime");
    assert_true(o.took < 4000);
}

static void call_that_never_arrived_is_certain_not_to_have(void **state) {
    struct vim_client *c = *state;
    int port = c->s->http.port;
    c->v->http->idle_ms = -1; /* else the end of the kept connection may come only after the request went out on it */
    test_tls_stop(&c->s->http);
    struct result o = call(c, "PowerOnVM_Task", VIM_ONCE, test_within(700));
    assert_int_equal(o.rc, -1);
    assert_false(o.uncertain);
    assert_int_equal(o.err.code, ERR_TIMEOUT); /* it was tried until then */
    assert_non_null(strstr(o.err.note, "onnect"));
    assert_true(port > 0);
    vim_server_expire(c->s);
    c->s->http = (struct test_tls){.answer = c->s->http.answer, .data = c->s};
    test_tls_start(&c->s->http);
}

static void unsound_request_is_not_sent(void **state) {
    struct vim_client *c = *state;
    struct soap_request *r = soap_new("Rename_Task", &vm);
    struct context ctx = test_within(10000);
    struct error err = {0};
    bool uncertain = true;
    int before = vim_server_count(c->s, NULL);
    soap_text(r, "newName", "a\x01");
    assert_int_equal(vim_call(c->v, r, VIM_ONCE, NULL, &uncertain, &ctx, &err), -1);
    soap_free(r);
    assert_int_equal(err.code, ERR_USAGE);
    assert_string_equal(err.cause, "Rename_Task cannot be asked: a text of it has characters XML cannot carry");
    assert_false(uncertain);
    assert_int_equal(vim_server_count(c->s, NULL), before);
}

static void answer_without_a_reference_is_uncertain(void **state) {
    struct vim_client *c = *state;
    struct soap_request *r = soap_new("CurrentTime", &instance);
    struct context ctx = test_within(10000);
    struct moref ref;
    struct error err = {0};
    bool uncertain = false;
    assert_int_equal(vim_call_ref(c->v, r, VIM_ONCE, &ref, &uncertain, &ctx, &err), -1);
    soap_free(r);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_string_equal(err.cause, "the answer to CurrentTime holds no reference");
    assert_true(uncertain);
}

/* --- ends --- */

static void waiting_call_ends_with_its_context(void **state) {
    struct vim_client *c = *state;
    for (int i = 0; i < 4; i++) {
        vim_server_rule(c->s, (struct vim_rule){.method = "PowerOnVM_Task", .times = 1, .trouble = IS_SILENT});
        struct test_cancel cancel;
        struct context cancelled = test_cancel_start(&cancel, 100);
        struct result o = call(c, "PowerOnVM_Task", i & 1 ? VIM_ONCE : VIM_SAFE, i & 2 ? cancelled : test_within(100));
        test_cancel_end(&cancel);
        assert_int_equal(o.err.code, i & 2 ? ERR_CANCELLED : ERR_TIMEOUT);
        assert_true(o.uncertain);
        assert_true(o.took < 1500);
    }
    assert_int_equal(vim_server_count(c->s, "PowerOnVM_Task"), 4);
}

static void call_on_a_dead_connection_is_made_on_another(void **state) {
    struct vim_client *c = *state;
    c->v->try_ms = 1000;
    vim_server_rule(c->s, (struct vim_rule){.method = "CurrentTime", .times = 1, .trouble = IS_SILENT});
    struct result o = call(c, "CurrentTime", VIM_SAFE, test_within(10000));
    assert_int_equal(o.rc, 0);
    assert_true(o.took >= 1000 && o.took < 4000);
    vim_server_rule(c->s, (struct vim_rule){.method = "CurrentTime", .times = 10, .trouble = IS_SILENT});
    o = call(c, "CurrentTime", VIM_SAFE, test_within(2500));
    assert_int_equal(o.err.code, ERR_TIMEOUT);
    assert_true(o.uncertain);
}

/* --- sessions --- */

/* The answer to a call of the session before, with the cookie of one that nobody has logged in to, as a vCenter gives.
 */
static void late_answer_does_not_replace_the_session(void **state) {
    struct vim_client *c = *state;
    struct context ctx = test_within(10000);
    struct error err = {0};
    struct soap_reply *reply = NULL;
    struct soap_request *late = soap_new("CurrentTime", &instance);
    vim_server_rule(
        c->s, (struct vim_rule){.method = "CurrentTime", .times = 1, .trouble = FAULTS, .text = "NotAuthenticated"});
    assert_int_equal(exchange(c->v, late, &reply, &ctx, &err), OUTCOME_ANSWER);
    assert_true(vim_fault_is(&err, VIM_NOT_AUTHENTICATED));
    soap_free(late);
    struct result o = call(c, "PowerOnVM_Task", VIM_ONCE, test_within(10000));
    assert_int_equal(o.rc, 0);
    assert_int_equal(vim_server_count(c->s, "PowerOnVM_Task"), 1);
    assert_int_equal(vim_server_count(c->s, "Login"), 1);
}

static void expired_session_is_replaced_silently(void **state) {
    struct vim_client *c = *state;
    vim_server_expire(c->s);
    struct result o = call(c, "PowerOnVM_Task", VIM_ONCE, test_within(10000));
    assert_int_equal(o.rc, 0);
    assert_int_equal(vim_server_count(c->s, "Login"), 2);
    assert_int_equal(vim_server_count(c->s, "PowerOnVM_Task"), 2);
    assert_int_equal(c->s->ntasks, 1);
    assert_int_equal(c->asked, 2); /* each login asks for the password anew: it is kept nowhere */
}

static void session_that_always_ends_is_not_fought_for(void **state) {
    struct vim_client *c = *state;
    vim_server_rule(c->s, (struct vim_rule){.method = "CurrentTime", .times = 100, .trouble = EXPIRES});
    struct result o = call(c, "CurrentTime", VIM_SAFE, test_within(10000));
    assert_true(vim_fault_is(&o.err, VIM_NOT_AUTHENTICATED));
    assert_false(o.uncertain);
    assert_int_equal(vim_server_count(c->s, "Login"), 4);
}

struct many {
    struct vim_client *c;
    struct result outcome;
    pthread_t thread;
};

static void *call_once(void *data) {
    struct many *m = data;
    m->outcome = call(m->c, "CurrentTime", VIM_SAFE, test_within(10000));
    return NULL;
}

struct cancelled {
    struct vim_client *c;
    struct context ctx;
    struct result outcome;
    pthread_t thread;
};

static void *call_cancelled(void *data) {
    struct cancelled *m = data;
    m->outcome = call(m->c, "CurrentTime", VIM_SAFE, m->ctx);
    return NULL;
}

#define MANY 20

static void call_many(struct vim_client *c, struct many *all) {
    for (int i = 0; i < MANY; i++) {
        all[i] = (struct many){.c = c};
        assert_int_equal(pthread_create(&all[i].thread, NULL, call_once, &all[i]), 0);
    }
    for (int i = 0; i < MANY; i++)
        pthread_join(all[i].thread, NULL);
}

static void one_thread_logs_in_for_all(void **state) {
    struct vim_client *c = *state;
    struct many all[MANY];
    vim_server_expire(c->s);
    c->s->delay_ms = 50;
    call_many(c, all);
    c->s->delay_ms = 0;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(all[i].outcome.rc, 0);
    assert_int_equal(vim_server_count(c->s, "Login"), 2);
    assert_int_equal(vim_server_sessions(c->s), 1);
}

static void refused_login_is_not_tried_by_the_others(void **state) {
    struct vim_client *c = *state;
    struct many all[MANY];
    snprintf(c->s->password, sizeof c->s->password, "changed");
    vim_server_expire(c->s);
    call_many(c, all);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(all[i].outcome.rc, -1);
        assert_true(vim_fault_is(&all[i].outcome.err, VIM_INVALID_LOGIN));
    }
    struct result later = call(c, "CurrentTime", VIM_SAFE, test_within(10000));
    assert_true(vim_fault_is(&later.err, VIM_INVALID_LOGIN));
    assert_int_equal(vim_server_count(c->s, "Login"), 2); /* accounts get locked */
}

static void cancelled_login_does_not_fail_the_others(void **state) {
    struct vim_client *c = *state;
    struct many other = {.c = c};
    struct cancel cancel;
    assert_int_equal(cancel_init(&cancel, NULL), 0);
    vim_server_expire(c->s);
    vim_server_rule(c->s, (struct vim_rule){.method = "Login", .times = 1, .trouble = IS_SILENT});
    struct cancelled first = {.c = c, .ctx = {DEADLINE_NEVER, &cancel}};
    assert_int_equal(pthread_create(&first.thread, NULL, call_cancelled, &first), 0);
    vim_server_await(c->s, "Login", 2); /* it leads */
    assert_int_equal(pthread_create(&other.thread, NULL, call_once, &other), 0);
    vim_server_await(c->s, "CurrentTime", 2); /* it was told that there is no session */
    cancel_fire(&cancel);
    pthread_join(first.thread, NULL);
    pthread_join(other.thread, NULL);
    cancel_destroy(&cancel);
    assert_int_equal(first.outcome.err.code, ERR_CANCELLED);
    assert_int_equal(other.outcome.rc, 0);
    assert_int_equal(vim_server_count(c->s, "Login"), 3);
}

/* --- a script, and a session that ends at each of its calls --- */

static const char *const name_path[] = {"name", NULL};
static const struct vim_set name_set = {"VirtualMachine", name_path};

static int note_object(void *data, struct vim_object *object, struct error *err) {
    char name[40];
    (void)err;
    xml_text(vim_property(object, "name"), name, sizeof name);
    buffer_printf(data, "%s=%s ", object->ref.id, name);
    return 0;
}

/* All kinds of calls; what came of them, as text. */
static void run_script(struct vim_client *c, struct buffer *out) {
    struct context ctx = test_within(20000);
    struct error err = {0};
    struct vim_object object = {.doc = NULL};
    struct moref refs[2] = {{"VirtualMachine", "vm-1"}, {"VirtualMachine", "vm-2"}};
    const struct moref root = vim_service(c->v)->root_folder;
    struct soap_request *r = soap_new("PowerOnVM_Task", &vm);
    buffer_printf(out, "do %d ", vim_do(c->v, r, NULL, NULL, &ctx, &err));
    soap_free(r);
    buffer_printf(out, "read %d ", vim_read(c->v, &vm, &name_set, &object, &ctx, &err));
    note_object(out, &object, &err);
    vim_object_free(&object);
    buffer_printf(out, "all %d ", vim_read_all(c->v, &root, &name_set, note_object, out, &ctx, &err));
    buffer_printf(out, "these %d ", vim_read_these(c->v, refs, 2, &name_set, note_object, out, &ctx, &err));
    buffer_printf(out, "call %d %s", call(c, "CurrentTime", VIM_SAFE, ctx).rc, err.cause);
}

static void session_may_end_at_any_call(void **state) {
    (void)state;
    for (int sloppy = 0; sloppy < 2; sloppy++) {
        cleanup_free char *wanted = NULL;
        int calls = 1;
        for (int at = 0; at <= calls; at++) {
            struct vim_client c;
            struct buffer out = {0};
            vim_client_open(&c);
            c.s->tasks_end_at_once = true;
            c.s->sloppy_unauthenticated = sloppy;
            c.s->page = 2;
            for (int i = 1; i <= 5; i++) {
                cleanup_free char *id = xasprintf("vm-%d", i);
                vim_server_add(c.s, "VirtualMachine", id);
                vim_server_set(c.s, id, "name", "xsd:string", "n");
            }
            if (at > 0)
                vim_server_rule(c.s, (struct vim_rule){.skip = at - 1, .times = 1, .trouble = EXPIRES});
            run_script(&c, &out);
            if (at == 0) {
                calls = vim_server_count(c.s, NULL) - 2;
                wanted = buffer_steal(&out);
                assert_non_null(strstr(wanted, "vm-5=n all 0 vm-1=n vm-2=n these 0 call 0 "));
            } else {
                cleanup_free char *got = buffer_steal(&out);
                assert_string_equal(got, wanted);
                assert_int_equal(vim_server_count(c.s, "Login"), 2);
                assert_int_equal(c.s->ntasks, 1);
            }
            vim_client_close(&c);
        }
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define test_unopened(name) cmocka_unit_test_setup_teardown(name, setup_unopened, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(session_is_opened_and_ended),
        cmocka_unit_test(newest_version_that_both_know_is_spoken),
        test_unopened(wrong_password_is_tried_once),
        test_unopened(without_a_password_nothing_is_sent),
        test_unopened(what_is_no_vcenter_is_told_so),
        test_unopened(login_whose_answer_is_lost_is_repeated),
        test(session_is_ended_after_ctrl_c),
        test(silent_server_does_not_hold_up_the_end),
        test(safe_call_is_repeated_until_it_is_answered),
        test(call_that_changes_something_is_not_repeated),
        test(fault_is_a_certain_answer),
        test(repetition_ends),
        test(repetition_ends_with_its_context),
        test(call_that_never_arrived_is_certain_not_to_have),
        test(unsound_request_is_not_sent),
        test(answer_without_a_reference_is_uncertain),
        test(waiting_call_ends_with_its_context),
        test(call_on_a_dead_connection_is_made_on_another),
        test(expired_session_is_replaced_silently),
        test(late_answer_does_not_replace_the_session),
        test(session_that_always_ends_is_not_fought_for),
        test(one_thread_logs_in_for_all),
        test(refused_login_is_not_tried_by_the_others),
        test(cancelled_login_does_not_fail_the_others),
        cmocka_unit_test(session_may_end_at_any_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

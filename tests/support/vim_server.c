#include "vim_server.h"

#include <libxml/parser.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/vsphere/soap.h"

#define OPEN                                                                                                           \
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope "                                                   \
    "xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" "      \
    "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n"
#define CLOSE "\n</soapenv:Body>\n</soapenv:Envelope>"

/* On the server's threads, where cmocka cannot fail a test. */
#define must(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "the server of the test: %s\n", #what);                                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* One call on its way. */
struct call {
    struct vim_server *s;
    const char *method;
    xmlNode *request;
    struct moref self;
    int session; /* 0: none that is valid */
    int new_session;
    struct buffer result; /* the content of <METHODResponse> */
    const char *fault, *message;
    char fault_detail[300];
    bool closes; /* no answer */
};

static void complain(struct call *c, const char *fmt, ...) NESTOR_PRINTF(2, 3);
static void complain(struct call *c, const char *fmt, ...) {
    va_list ap;
    buffer_printf(&c->s->complaints, "%s: ", c->method);
    va_start(ap, fmt);
    buffer_vprintf(&c->s->complaints, fmt, ap);
    va_end(ap);
    buffer_putc(&c->s->complaints, '\n');
}

static void fail_with(struct call *c, const char *fault, const char *message) {
    c->fault = fault;
    c->message = message;
}

static void text_of(xmlNode *node, char *out, size_t size) { xml_text(node, out, size); }

/* --- objects --- */

static struct vim_server_object *object_of(struct vim_server *s, const char *id) {
    for (int i = s->nobjects - 1; i >= 0; i--)
        if (strcmp(s->objects[i].id, id) == 0)
            return &s->objects[i];
    return NULL;
}

static struct vim_server_object *add_object(struct vim_server *s, const char *type, const char *id) {
    must(s->nobjects < VIM_OBJECTS);
    struct vim_server_object *o = &s->objects[s->nobjects++];
    snprintf(o->type, sizeof o->type, "%s", type);
    snprintf(o->id, sizeof o->id, "%s", id);
    return o;
}

static void set_property(struct vim_server *s, const char *id, const char *path, const char *type, const char *text) {
    struct vim_server_object *o = object_of(s, id);
    must(o);
    int i = 0;
    while (i < o->nproperties && strcmp(o->properties[i].path, path) != 0)
        i++;
    must(i < VIM_PROPERTIES);
    if (i == o->nproperties)
        o->properties[o->nproperties++].path = path;
    free(o->properties[i].val);
    o->properties[i].val = !text   ? NULL
                           : *type ? xasprintf("<val xsi:type=\"%s\">%s</val>", type, text)
                                   : xasprintf("<val>%s</val>", text);
    o->properties[i].changed_at = ++s->clock;
    pthread_cond_broadcast(&s->changed);
}

static void end_task(struct vim_server *s, const char *id, const char *fault, const char *message) {
    cleanup_free char *error =
        fault ? xasprintf("<fault xsi:type=\"%s\"/><localizedMessage>%s</localizedMessage>", fault, message) : NULL;
    if (error)
        set_property(s, id, "info.error", "LocalizedMethodFault", error);
    set_property(s, id, "info.state", "TaskInfoState", fault ? "error" : "success");
}

/* --- views, collectors, filters --- */

static int thing_of(struct vim_server *s, const struct moref *ref) {
    int i = atoi(ref->id + strcspn(ref->id, "-") + 1);
    bool fits = i > 0 && i < s->nviews && strcmp(s->views[i].type, ref->type) == 0 && !s->views[i].gone;
    return fits ? i : 0;
}

static int add_thing(struct call *c, const char *type) {
    struct vim_server *s = c->s;
    must(s->nviews < VIM_VIEWS);
    if (s->nviews == 0)
        s->nviews = 1;
    struct vim_server_view *v = &s->views[s->nviews];
    snprintf(v->type, sizeof v->type, "%s", type);
    v->session = c->session;
    buffer_printf(&c->result, "<returnval type=\"%s\">thing-%d</returnval>", type, s->nviews);
    return s->nviews++;
}

static void remove_thing(struct vim_server *s, int i) {
    s->views[i].gone = true;
    for (int f = 1; f < s->nviews; f++)
        if (strcmp(s->views[f].type, "PropertyFilter") == 0 && s->views[f].of == i)
            s->views[f].gone = true;
    pthread_cond_broadcast(&s->changed);
}

static void expire(struct vim_server *s, int session) {
    s->session_valid[session] = false;
    for (int i = 1; i < s->nviews; i++)
        if (s->views[i].session == session)
            s->views[i].gone = true;
    pthread_cond_broadcast(&s->changed);
}

static void not_found(struct call *c, const struct moref *ref) {
    snprintf(c->fault_detail, sizeof c->fault_detail, "<obj type=\"%s\">%s</obj>", ref->type, ref->id);
    fail_with(c, "ManagedObjectNotFound", "The object has already been deleted or has not been completely created");
}

static bool put_on_list(struct call *c, struct vim_server_view *list, const char *name) {
    for (xmlNode *n = xml_child(c->request, name); n; n = xml_next(n, name)) {
        struct moref ref;
        struct vim_server_object *o = xml_ref(n, &ref) ? object_of(c->s, ref.id) : NULL;
        if (!o || o->removed) {
            not_found(c, &ref);
            return false;
        }
        list->has[o - c->s->objects] = true;
    }
    return true;
}

static void create_list_view(struct call *c) {
    int i = add_thing(c, "ListView");
    put_on_list(c, &c->s->views[i], "obj");
}

static void modify_list_view(struct call *c) {
    int i = thing_of(c->s, &c->self);
    struct moref ref;
    for (xmlNode *n = xml_child(c->request, "remove"); n; n = xml_next(n, "remove"))
        if (xml_ref(n, &ref) && object_of(c->s, ref.id))
            c->s->views[i].has[object_of(c->s, ref.id) - c->s->objects] = false;
    put_on_list(c, &c->s->views[i], "add");
    pthread_cond_broadcast(&c->s->changed);
}

static void create_container_view(struct call *c) {
    struct moref root;
    char type[40];
    text_of(xml_child(c->request, "type"), type, sizeof type);
    if (!xml_ref(xml_child(c->request, "container"), &root) || strcmp(root.id, "group-d1") != 0) {
        not_found(c, &root);
        return;
    }
    struct vim_server_view *v = &c->s->views[add_thing(c, "ContainerView")];
    for (int i = 0; i < c->s->nobjects; i++)
        v->has[i] = strcmp(c->s->objects[i].type, type) == 0 && !c->s->objects[i].removed;
}

static void destroy(struct call *c) { remove_thing(c->s, thing_of(c->s, &c->self)); }

static void create_collector(struct call *c) { add_thing(c, "PropertyCollector"); }

static void create_filter(struct call *c) {
    struct vim_server *s = c->s;
    xmlNode *spec = xml_child(c->request, "spec");
    struct moref list;
    int of = thing_of(s, &c->self);
    if (!xml_ref(xml_child(xml_child(spec, "objectSet"), "obj"), &list) || !thing_of(s, &list)) {
        not_found(c, &list);
        return;
    }
    struct buffer sets = {0};
    for (xmlNode *set = xml_child(spec, "propSet"); set; set = xml_next(set, "propSet")) {
        char type[40], path[80];
        text_of(xml_child(set, "type"), type, sizeof type);
        cleanup_free char *twice = xasprintf(" %s:", type);
        if (strstr(buffer_str(&sets), twice))
            complain(c, "two propSets for %s", type);
        for (xmlNode *p = xml_child(set, "pathSet"); p; p = xml_next(p, "pathSet")) {
            text_of(p, path, sizeof path);
            buffer_printf(&sets, " %s:%s ", type, path);
        }
    }
    if (!xml_is(xml_child(c->request, "partialUpdates"), "false"))
        complain(c, "partial updates");
    int i = add_thing(c, "PropertyFilter");
    s->views[i].of = of;
    s->views[i].list = thing_of(s, &list);
    s->views[i].sets = buffer_steal(&sets);
    pthread_cond_broadcast(&s->changed);
}

/* --- reading --- */

static bool wants(const struct vim_server_view *filter, const char *type, const char *path) {
    cleanup_free char *word = xasprintf(" %s:%s ", type, path);
    return strstr(filter->sets, word) != NULL;
}

static bool asks_for(xmlNode *set, const char *path) {
    for (xmlNode *p = xml_child(set, "pathSet"); p; p = xml_next(p, "pathSet"))
        if (xml_is(p, path))
            return true;
    return false;
}

static void put_content(struct call *c, const struct vim_server_object *o, xmlNode *set) {
    struct buffer *b = &c->result;
    const char *refused = c->session == 0 ? "NotAuthenticated" : o->forbidden ? "NoPermission" : NULL;
    buffer_printf(b, "<objects><obj type=\"%s\">%s</obj>", o->type, o->id);
    for (int i = 0; i < o->nproperties; i++) {
        if (!asks_for(set, o->properties[i].path) || !o->properties[i].val)
            continue;
        if (refused)
            buffer_printf(
                b,
                "<missingSet><path>%s</path><fault><fault xsi:type=\"%s\"><object type=\"%s\">%s</object>"
                "<privilegeId>System.Read</privilegeId></fault><localizedMessage>no</localizedMessage></fault>"
                "</missingSet>",
                o->properties[i].path, refused, o->type, o->id);
        else
            buffer_printf(b, "<propSet><name>%s</name>%s</propSet>", o->properties[i].path, o->properties[i].val);
    }
    buffer_puts(b, "</objects>");
}

/* What is in a view from there on; the rest comes for a token. */
static void put_view(struct call *c, int view, int from, int max, xmlNode *set) {
    struct vim_server *s = c->s;
    struct buffer before = c->result;
    c->result = (struct buffer){0};
    int i = from, n = 0;
    for (; i < s->nobjects && n < max; i++)
        if (s->views[view].has[i] && !s->objects[i].removed) {
            put_content(c, &s->objects[i], set);
            n++;
        }
    while (i < s->nobjects && !(s->views[view].has[i] && !s->objects[i].removed))
        i++;
    struct buffer objects = c->result;
    c->result = before;
    if (i < s->nobjects) {
        must(s->ntokens < 512);
        snprintf(s->tokens[s->ntokens].token, sizeof s->tokens[0].token, "token-%d", s->ntokens);
        s->tokens[s->ntokens].view = view;
        s->tokens[s->ntokens].at = i;
        s->tokens[s->ntokens].set = xmlCopyNode(set, 1);
        buffer_printf(&c->result, "<token>token-%d</token>", s->ntokens++);
    }
    buffer_puts(&c->result, buffer_str(&objects));
    buffer_free(&objects);
}

/* The <propSet> for objects of that type. */
static xmlNode *set_for(xmlNode *spec, const char *type) {
    xmlNode *set = xml_child(spec, "propSet");
    while (set && !xml_is(xml_child(set, "type"), type))
        set = xml_next(set, "propSet");
    return set;
}

/* An object, and those its property refers to. */
static void put_along(struct call *c, const struct vim_server_object *o, const char *path, xmlNode *spec) {
    static const char opening[] = "<ManagedObjectReference type=\"";
    const char *refs = "";
    put_content(c, o, set_for(spec, o->type));
    for (int i = 0; i < o->nproperties; i++)
        if (strcmp(o->properties[i].path, path) == 0 && o->properties[i].val)
            refs = o->properties[i].val;
    while ((refs = strstr(refs, opening))) {
        char id[80] = "";
        refs = strchr(refs, '>') + 1;
        snprintf(id, sizeof id, "%.*s", (int)strcspn(refs, "<"), refs);
        const struct vim_server_object *other = object_of(c->s, id);
        xmlNode *set = other && !other->removed ? set_for(spec, other->type) : NULL;
        if (set)
            put_content(c, other, set);
    }
}

static void retrieve(struct call *c) {
    struct vim_server *s = c->s;
    xmlNode *spec = xml_child(c->request, "specSet"), *set = xml_child(spec, "propSet");
    bool reports = xml_flag(xml_child(spec, "reportMissingObjectsInResults"), false) && !s->old_missing;
    int max = (int)xml_number(xml_child(xml_child(c->request, "options"), "maxObjects"), VIM_OBJECTS);
    buffer_puts(&c->result, "<returnval>");
    size_t before = c->result.len;
    for (xmlNode *o = xml_child(spec, "objectSet"); o; o = xml_next(o, "objectSet")) {
        struct moref ref;
        bool given = xml_ref(xml_child(o, "obj"), &ref);
        struct vim_server_object *object = given ? object_of(s, ref.id) : NULL;
        if (given && xml_child(o, "selectSet") && thing_of(s, &ref)) {
            put_view(c, thing_of(s, &ref), 0, s->page && s->page < max ? s->page : max, set);
        } else if (object && !object->removed && xml_child(o, "selectSet")) {
            char path[80];
            text_of(xml_child(xml_child(o, "selectSet"), "path"), path, sizeof path);
            put_along(c, object, path, spec);
        } else if (object && !object->removed) {
            xmlNode *own = set_for(spec, object->type);
            put_content(c, object, own ? own : set);
        } else if (!reports) {
            not_found(c, &ref);
            return;
        }
    }
    if (c->result.len == before)
        buffer_clear(&c->result);
    else
        buffer_puts(&c->result, "</returnval>");
}

static void retrieve_more(struct call *c) {
    struct vim_server *s = c->s;
    char token[16];
    text_of(xml_child(c->request, "token"), token, sizeof token);
    for (int i = 0; i < s->ntokens; i++)
        if (strcmp(s->tokens[i].token, token) == 0 && !s->tokens[i].used && !s->views[s->tokens[i].view].gone) {
            s->tokens[i].used = true;
            buffer_puts(&c->result, "<returnval>");
            put_view(c, s->tokens[i].view, s->tokens[i].at, s->page ? s->page : VIM_OBJECTS, s->tokens[i].set);
            buffer_puts(&c->result, "</returnval>");
            return;
        }
    fail_with(c, "InvalidArgument", "A specified parameter was not correct: token");
}

/* --- updates --- */

static void put_change(struct buffer *b, const struct vim_server_object *o, int i, bool enters) {
    const char *told_as = enters ? NULL : o->properties[i].told_as;
    if (told_as)
        buffer_printf(b, "<changeSet><name>%s</name><op>add</op></changeSet>", told_as);
    else if (o->properties[i].val)
        buffer_printf(b, "<changeSet><name>%s</name><op>assign</op>%s</changeSet>", o->properties[i].path,
                      o->properties[i].val);
    else if (!enters)
        buffer_printf(b, "<changeSet><name>%s</name><op>indirectRemove</op></changeSet>", o->properties[i].path);
}

/* What became of one object since it was told of; false: nothing. */
static bool put_update(struct vim_server *s, struct vim_server_view *collector, const struct vim_server_view *filter,
                       int at, struct buffer *b) {
    const struct vim_server_object *o = &s->objects[at];
    bool in = s->views[filter->list].has[at] && !o->removed, entered = collector->seen[at] > 0;
    struct buffer changes = {0};
    for (int i = 0; in && i < o->nproperties; i++)
        if (wants(filter, o->type, o->properties[i].path) &&
            (!entered || o->properties[i].changed_at > collector->seen[at]))
            put_change(&changes, o, i, !entered);
    bool news = in ? !entered || changes.len : entered;
    if (news)
        buffer_printf(b, "<objectSet><kind>%s</kind><obj type=\"%s\">%s</obj>%s</objectSet>",
                      !in       ? "leave"
                      : entered ? "modify"
                                : "enter",
                      o->type, o->id, buffer_str(&changes));
    if (news)
        collector->seen[at] = in ? s->clock : 0;
    buffer_free(&changes);
    return news;
}

static int put_updates(struct vim_server *s, int collector, int max, struct buffer *b) {
    int n = 0;
    for (int f = 1; f < s->nviews; f++) {
        const struct vim_server_view *filter = &s->views[f];
        if (filter->gone || strcmp(filter->type, "PropertyFilter") != 0 || filter->of != collector)
            continue;
        size_t before = b->len;
        buffer_printf(b, "<filterSet><filter type=\"PropertyFilter\">thing-%d</filter>", f);
        int told = 0;
        for (int i = 0; i < s->nobjects && n + told < max; i++)
            told += put_update(s, &s->views[collector], filter, i, b);
        buffer_puts(b, "</filterSet>");
        if (told == 0)
            b->len = before;
        n += told;
    }
    return n;
}

static int64_t ms_left(const struct timespec *until) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (until->tv_sec - now.tv_sec) * 1000 + (until->tv_nsec - now.tv_nsec) / 1000000;
}

static void wait_for_updates(struct call *c) {
    struct vim_server *s = c->s;
    xmlNode *options = xml_child(c->request, "options");
    int at = thing_of(s, &c->self), drops = s->drops;
    struct vim_server_view *collector = &s->views[at];
    char version[16];
    text_of(xml_child(c->request, "version"), version, sizeof version);
    if (collector->waiting)
        complain(c, "two wait on one collector");
    if (atoi(version) != collector->version)
        complain(c, "version '%s' when %d was given", version, collector->version);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += xml_number(xml_child(options, "maxWaitSeconds"), 3600);
    int max = (int)xml_number(xml_child(options, "maxObjectUpdates"), VIM_OBJECTS);
    max = s->chunk && s->chunk < max ? s->chunk : max;
    struct buffer updates = {0};
    int n = 0;
    collector->waiting = true;
    pthread_cond_broadcast(&s->changed);
    while (!collector->gone && !s->stopping && s->drops == drops && (n = put_updates(s, at, max, &updates)) == 0 &&
           ms_left(&until) > 0)
        pthread_cond_timedwait(&s->changed, &s->lock, &until);
    collector->waiting = false;
    if (collector->gone)
        fail_with(c, s->session_valid[c->session] ? "RequestCanceled" : "NotAuthenticated", "gone");
    c->closes = s->drops != drops || s->stopping;
    if (n > 0)
        buffer_printf(&c->result, "<returnval><version>%d</version>%s%s</returnval>", ++collector->version,
                      buffer_str(&updates), n == max ? "<truncated>true</truncated>" : "");
    buffer_free(&updates);
}

/* --- sessions, tasks --- */

static void service_content(struct call *c) {
    buffer_printf(
        &c->result,
        "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder><propertyCollector type=\"PropertyCollector\">"
        "propertyCollector</propertyCollector><viewManager type=\"ViewManager\">ViewManager</viewManager><about><name>"
        "nestor's</name><fullName>VMware %s 7.0.3 build-1</fullName><vendor>V</vendor><version>7.0.3</version><build>1"
        "</build><osType>x</osType><productLineId>x</productLineId><apiType>%s</apiType><apiVersion>%s</apiVersion>"
        "<instanceUuid>dbed6e0c-bd88-4ef6-b594-21283e1c677f</instanceUuid></about><sessionManager "
        "type=\"SessionManager\">"
        "SessionManager</sessionManager><taskManager type=\"TaskManager\">TaskManager</taskManager></returnval>",
        c->s->esx ? "ESXi" : "vCenter Server", c->s->esx ? "HostAgent" : "VirtualCenter", c->s->api_version);
}

static void login(struct call *c) {
    struct vim_server *s = c->s;
    bool right =
        xml_is(xml_child(c->request, "userName"), "user") && xml_is(xml_child(c->request, "password"), s->password);
    if (!right || c->session) {
        fail_with(c, "InvalidLogin", "Cannot complete login due to an incorrect user name or password.");
        return;
    }
    must(s->nsessions + 1 < VIM_SESSIONS);
    c->new_session = ++s->nsessions;
    s->session_valid[c->new_session] = true;
    buffer_printf(&c->result, "<returnval><key>%d</key></returnval>", c->new_session);
}

static void logout(struct call *c) { expire(c->s, c->session); }

static void cancel_task(struct call *c) {
    struct vim_server_object *o = object_of(c->s, c->self.id);
    if (c->s->tasks_obey_cancel && o && !o->removed)
        end_task(c->s, c->self.id, "RequestCanceled", "The task was canceled by a user.");
}

static void start_task(struct call *c) {
    char id[24];
    struct vim_server_object *o = object_of(c->s, c->self.id);
    if (!o || o->removed) {
        not_found(c, &c->self);
        return;
    }
    snprintf(id, sizeof id, "task-%d", ++c->s->ntasks);
    add_object(c->s, "Task", id);
    set_property(c->s, id, "info.state", "TaskInfoState", "queued");
    if (c->s->tasks_end_at_once)
        end_task(c->s, id, NULL, NULL);
    buffer_printf(&c->result, "<returnval type=\"Task\">%s</returnval>", id);
}

static void current_time(struct call *c) { buffer_puts(&c->result, "<returnval>2026-01-01T00:00:00Z</returnval>"); }

/* What each element holds, in its order, as the WSDL has it: "name?" and "name*" need not be there. */
static const struct {
    const char *element, *content;
} shapes[] = {
    {"Login", "_this userName password locale?"},
    {"CreateListView", "_this obj*"},
    {"ModifyListView", "_this add* remove*"},
    {"CreateContainerView", "_this container type* recursive"},
    {"CreateFilter", "_this spec partialUpdates"},
    {"RetrievePropertiesEx", "_this specSet+ options"},
    {"ContinueRetrievePropertiesEx", "_this token"},
    {"WaitForUpdatesEx", "_this version? options?"},
    {"spec", "propSet+ objectSet+ reportMissingObjectsInResults?"},
    {"specSet", "propSet+ objectSet+ reportMissingObjectsInResults?"},
    {"propSet", "type all? pathSet*"},
    {"objectSet", "obj skip? selectSet*"},
    {"selectSet", "name? type path skip? selectSet*"},
    {"options", "maxObjects? maxWaitSeconds? maxObjectUpdates?"},
};

static const struct {
    const char *method, *self;
    bool open; /* needs no session */
    void (*run)(struct call *c);
} methods[] = {
    {"RetrieveServiceContent", "ServiceInstance", true, service_content},
    {"CurrentTime", "ServiceInstance", false, current_time},
    {"Login", "SessionManager", true, login},
    {"Logout", "SessionManager", false, logout},
    {"CreateContainerView", "ViewManager", false, create_container_view},
    {"CreateListView", "ViewManager", false, create_list_view},
    {"ModifyListView", "ListView", false, modify_list_view},
    {"DestroyView", "", false, destroy},
    {"CreatePropertyCollector", "PropertyCollector", false, create_collector},
    {"DestroyPropertyCollector", "PropertyCollector", false, destroy},
    {"CreateFilter", "PropertyCollector", false, create_filter},
    {"DestroyPropertyFilter", "PropertyFilter", false, destroy},
    {"RetrievePropertiesEx", "PropertyCollector", false, retrieve},
    {"ContinueRetrievePropertiesEx", "PropertyCollector", false, retrieve_more},
    {"WaitForUpdatesEx", "PropertyCollector", false, wait_for_updates},
    {"CancelTask", "Task", false, cancel_task},
};

/* --- strictness --- */

static void check_shape(struct call *c, xmlNode *element, const char *content) {
    xmlNode *n = xml_child(element, NULL);
    cleanup_free char *copy = xstrdup(content);
    char *rest = NULL;
    for (char *name = strtok_r(copy, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
        char many = name[strlen(name) - 1];
        int count = 0;
        name[strcspn(name, "?*+")] = '\0';
        for (; n && strcmp((const char *)n->name, name) == 0; n = xml_next(n, NULL))
            count++;
        bool few = count == 0 && many != '?' && many != '*', much = count > 1 && many != '*' && many != '+';
        if (few || much)
            complain(c, "<%s> has %d <%s>", (const char *)element->name, count, name);
    }
    if (n)
        complain(c, "<%s> has <%s> there", (const char *)element->name, (const char *)n->name);
}

static void check_shapes(struct call *c, xmlNode *element) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].element, (const char *)element->name) == 0)
            check_shape(c, element, shapes[i].content);
    if (strcmp((const char *)element->name, "selectSet") == 0 && !xml_type_is(element, "TraversalSpec"))
        complain(c, "a selectSet is not typed");
    if (element->ns == NULL || strcmp((const char *)element->ns->href, "urn:vim25") != 0)
        complain(c, "<%s> is in no namespace", (const char *)element->name);
    for (xmlNode *n = xml_child(element, NULL); n; n = xml_next(n, NULL))
        check_shapes(c, n);
}

static void check_head(struct call *c, const struct test_request *r) {
    if (strcmp(r->method, "POST") != 0 || strcmp(r->path, "/sdk") != 0)
        complain(c, "%s %s", r->method, r->path);
    if (!strcasestr(r->head, "\r\nContent-Type: text/xml; charset=utf-8\r\n"))
        complain(c, "what type is that?");
    if (!strcasestr(r->head, "\r\nSOAPAction: \"urn:vim25/"))
        complain(c, "no SOAPAction");
}

/* --- one request --- */

static void run(struct call *c) {
    size_t i = 0, n = sizeof methods / sizeof *methods;
    size_t len = strlen(c->method);
    bool task = len > 5 && strcmp(c->method + len - 5, "_Task") == 0;
    while (i < n && strcmp(methods[i].method, c->method) != 0)
        i++;
    bool reads = i < n && methods[i].run == retrieve;
    if (!c->session && !(i < n && methods[i].open) && !(reads && c->s->sloppy_unauthenticated))
        fail_with(c, "NotAuthenticated", "The session is not authenticated.");
    else if (task)
        start_task(c);
    else if (i == n)
        fail_with(c, "MethodNotFound", "no such method");
    else if (strncmp(c->self.id, "thing-", 6) == 0 && !thing_of(c->s, &c->self))
        not_found(c, &c->self);
    else if (methods[i].self[0] && strcmp(methods[i].self, c->self.type) != 0)
        complain(c, "asked of a %s", c->self.type);
    else
        methods[i].run(c);
}

static char *keep(struct vim_server *s, char *text) {
    s->kept = xrealloc(s->kept, (s->nkept + 1) * sizeof *s->kept);
    s->kept[s->nkept++] = text;
    return text;
}

static void put_answer(struct call *c, struct test_answer *a) {
    char *text = NULL;
    if (c->fault)
        text = xasprintf(
            OPEN "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>%s</faultstring>"
                 "<detail><%sFault xmlns=\"urn:vim25\" xsi:type=\"%s\">%s</%sFault></detail></soapenv:Fault>" CLOSE,
            c->message, c->fault, c->fault, c->fault_detail, c->fault);
    else
        text = xasprintf(OPEN "<%sResponse xmlns=\"urn:vim25\">%s</%sResponse>" CLOSE, c->method,
                         buffer_str(&c->result), c->method);
    a->status = c->fault ? 500 : 200;
    a->body = keep(c->s, text);
    a->len = strlen(text);
    if (c->new_session)
        a->headers = keep(c->s, xasprintf("Set-Cookie: vmware_soap_session=%d; Path=/; HttpOnly\r\n", c->new_session));
    else if (c->fault && strcmp(c->fault, "NotAuthenticated") == 0) /* one nobody has logged in to, as vCenter */
        a->headers = "Set-Cookie: vmware_soap_session=none; Path=/; HttpOnly\r\n";
    if (c->closes) {
        a->cut = true;
        a->cut_at = 0;
        a->then = THEN_CLOSE;
    }
}

static bool rule_is_due(struct vim_server *s, const char *method, struct vim_rule *ret) {
    for (int i = 0; i < s->nrules; i++) {
        struct vim_rule *r = &s->rules[i];
        if ((r->method && strcmp(r->method, method) != 0) || r->times == 0)
            continue;
        if (r->skip > 0) {
            r->skip--;
            continue;
        }
        r->times--;
        *ret = *r;
        return true;
    }
    return false;
}

/* True: the call is not carried out. */
static bool trouble_before(struct call *c, const struct vim_rule *r, struct test_answer *a) {
    switch (r->trouble) {
    case EXPIRES:
        if (c->session)
            expire(c->s, c->session);
        c->session = 0;
        return false;
    case STATUS:
        *a = (struct test_answer){.status = r->status, .body = "<html>no</html>", .len = 15};
        return true;
    case CLOSES:
        *a = (struct test_answer){.cut = true, .then = THEN_CLOSE};
        return true;
    case IS_SILENT:
        *a = (struct test_answer){.cut = true, .then = THEN_SILENT};
        return true;
    case FAULTS:
        fail_with(c, r->text, "as it was told to");
        put_answer(c, a);
        return true;
    case SAYS:
        *a = (struct test_answer){.body = r->text, .len = strlen(r->text)};
        return true;
    default:
        return false;
    }
}

static void trouble_after(const struct vim_rule *r, struct test_answer *a) {
    static const char not_xml[] = "<<&";
    switch (r->trouble) {
    case LOSES_ANSWER:
        a->cut = true;
        a->then = THEN_CLOSE;
        break;
    case CUTS_HTTP:
        a->cut = true;
        a->cut_at = a->len / 2 + 40;
        a->then = THEN_CLOSE;
        break;
    case CUTS_XML:
        a->len = a->len * 2 / 3;
        break;
    case BREAKS_XML:
        memcpy((char *)a->body + a->len * 2 / 3, not_xml, 3);
        break;
    default:
        break;
    }
}

static int session_of(struct vim_server *s, const char *head) {
    const char *cookie = strstr(head, "vmware_soap_session=");
    int n = cookie ? atoi(cookie + 20) : 0;
    return n > 0 && n < VIM_SESSIONS && s->session_valid[n] ? n : 0;
}

static void carry_out(struct call *c, const struct test_request *request, struct test_answer *a) {
    struct vim_rule rule = {.trouble = STATUS};
    check_head(c, request);
    check_shapes(c, c->request);
    buffer_printf(&c->s->calls, " %s ", c->method);
    c->s->ncalls++;
    pthread_cond_broadcast(&c->s->changed);
    c->session = session_of(c->s, request->head);
    bool due = rule_is_due(c->s, c->method, &rule);
    if (due && trouble_before(c, &rule, a))
        return;
    run(c);
    put_answer(c, a);
    if (due)
        trouble_after(&rule, a);
}

static void answer(void *data, const struct test_request *request, struct test_answer *a) {
    struct vim_server *s = data;
    xmlDoc *doc = xmlReadMemory(request->body.data, (int)request->body.len, NULL, NULL, 0);
    xmlNode *body = doc ? xml_child(xmlDocGetRootElement(doc), "Body") : NULL;
    struct call c = {.s = s, .request = xml_child(body, NULL)};
    pthread_mutex_lock(&s->lock);
    c.method = c.request ? (const char *)c.request->name : "nothing";
    if (!c.request || !xml_ref(xml_child(c.request, "_this"), &c.self))
        complain(&c, "no request: %.200s", buffer_str(&request->body));
    else
        carry_out(&c, request, a);
    int delay = s->delay_ms;
    pthread_mutex_unlock(&s->lock);
    if (delay)
        usleep((useconds_t)delay * 1000);
    buffer_free(&c.result);
    xmlFreeDoc(doc);
}

/* --- life --- */

struct vim_server *vim_server_start(void) {
    struct vim_server *s = xcalloc(1, sizeof *s);
    xmlInitParser();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->api_version = "7.0.3.0";
    s->clock = 1;
    snprintf(s->password, sizeof s->password, "pass");
    s->http.answer = answer;
    s->http.data = s;
    test_tls_start(&s->http);
    return s;
}

void vim_server_stop(struct vim_server *s) {
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    test_tls_stop(&s->http);
    cleanup_free char *complaints = buffer_steal(&s->complaints);
    for (int i = 0; i < s->nobjects; i++)
        for (int p = 0; p < s->objects[i].nproperties; p++)
            free(s->objects[i].properties[p].val);
    for (int i = 0; i < s->nviews; i++)
        free(s->views[i].sets);
    for (int i = 0; i < s->ntokens; i++)
        xmlFreeNode(s->tokens[i].set);
    for (size_t i = 0; i < s->nkept; i++)
        free(s->kept[i]);
    free(s->kept);
    buffer_free(&s->calls);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
    assert_string_equal(complaints, "");
}

char *vim_server_url(const struct vim_server *s) { return xasprintf("http://127.0.0.1:%u/sdk", s->http.port); }

/* --- from tests --- */

#define LOCKED(s)                                                                                                      \
    for (bool once = (pthread_mutex_lock(&(s)->lock), true); once; once = (pthread_mutex_unlock(&(s)->lock), false))

void vim_server_rule(struct vim_server *s, struct vim_rule rule) {
    LOCKED(s) {
        assert_true(s->nrules < 16);
        s->rules[s->nrules++] = rule;
    }
}

void vim_server_clear_rules(struct vim_server *s) {
    LOCKED(s)
    s->nrules = 0;
}

static int count(struct vim_server *s, const char *method) {
    if (!method)
        return s->ncalls;
    cleanup_free char *word = xasprintf(" %s ", method);
    int n = 0;
    for (const char *at = buffer_str(&s->calls); (at = strstr(at, word)); at += strlen(word))
        n++;
    return n;
}

int vim_server_count(struct vim_server *s, const char *method) {
    int n = 0;
    LOCKED(s)
    n = count(s, method);
    return n;
}

void vim_server_await(struct vim_server *s, const char *method, int n) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    int got = 0;
    LOCKED(s)
    while ((got = count(s, method)) < n && ms_left(&until) > 0)
        pthread_cond_timedwait(&s->changed, &s->lock, &until);
    if (got < n)
        fail_msg("%s was called %d times, not %d", method, got, n);
}

static bool is_waited_for(struct vim_server *s) {
    for (int i = 1; i < s->nviews; i++)
        if (s->views[i].waiting)
            return true;
    return false;
}

void vim_server_await_waiting(struct vim_server *s) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    bool waits = false;
    LOCKED(s)
    while (!(waits = is_waited_for(s)) && ms_left(&until) > 0)
        pthread_cond_timedwait(&s->changed, &s->lock, &until);
    if (!waits)
        fail_msg("nobody waits for updates");
}

int vim_server_sessions(struct vim_server *s) {
    int n = 0;
    LOCKED(s)
    for (int i = 1; i <= s->nsessions; i++)
        n += s->session_valid[i];
    return n;
}

void vim_server_add(struct vim_server *s, const char *type, const char *id) {
    LOCKED(s)
    add_object(s, type, id);
}

void vim_server_remove(struct vim_server *s, const char *id) {
    LOCKED(s) {
        object_of(s, id)->removed = true;
        s->clock++;
        pthread_cond_broadcast(&s->changed);
    }
}

void vim_server_forbid(struct vim_server *s, const char *id) {
    LOCKED(s)
    object_of(s, id)->forbidden = true;
}

void vim_server_set(struct vim_server *s, const char *id, const char *path, const char *type, const char *text) {
    LOCKED(s)
    set_property(s, id, path, type, text);
}

void vim_server_tell_as(struct vim_server *s, const char *id, const char *path, const char *name) {
    LOCKED(s) {
        struct vim_server_object *o = object_of(s, id);
        for (int i = 0; i < o->nproperties; i++)
            if (strcmp(o->properties[i].path, path) == 0)
                o->properties[i].told_as = name;
    }
}

void vim_server_task_ends(struct vim_server *s, const char *id, const char *fault, const char *message) {
    LOCKED(s)
    end_task(s, id, fault, message);
}

void vim_server_expire(struct vim_server *s) {
    LOCKED(s)
    for (int i = 1; i <= s->nsessions; i++)
        expire(s, i);
}

void vim_server_drop_waits(struct vim_server *s) {
    LOCKED(s) {
        s->drops++;
        pthread_cond_broadcast(&s->changed);
    }
}

void vim_server_forget(struct vim_server *s, const char *type) {
    LOCKED(s)
    for (int i = 1; i < s->nviews; i++)
        if (strcmp(s->views[i].type, type) == 0)
            remove_thing(s, i);
}

int vim_server_things(struct vim_server *s, const char *type) {
    int n = 0;
    LOCKED(s)
    for (int i = 1; i < s->nviews; i++)
        n += !s->views[i].gone && strcmp(s->views[i].type, type) == 0;
    return n;
}

int vim_server_listed(struct vim_server *s) {
    int n = 0;
    LOCKED(s)
    for (int i = 1; i < s->nviews; i++)
        for (int o = 0; !s->views[i].gone && strcmp(s->views[i].type, "ListView") == 0 && o < s->nobjects; o++)
            n += s->views[i].has[o];
    return n;
}

/* --- a client of it --- */

static int give_password(void *data, struct buffer *ret, struct error *err) {
    struct vim_client *c = data;
    (void)err;
    atomic_fetch_add(&c->asked, 1);
    buffer_puts(ret, c->password);
    return 0;
}

void vim_client_init(struct vim_client *c) {
    *c = (struct vim_client){.s = vim_server_start()};
    c->url = vim_server_url(c->s);
    snprintf(c->password, sizeof c->password, "pass");
    c->config.http.subject = "host vc";
    c->config.http.url = c->url;
    c->config.http.access = access_local();
    c->config.username = "user";
    c->config.password = give_password;
    c->config.data = c;
}

void vim_client_open(struct vim_client *c) {
    struct context ctx = context_timeout(NULL, 10000);
    struct error err = {0};
    vim_client_init(c);
    if (vim_open(&c->config, &c->v, &ctx, &err))
        fail_msg("%s", err.cause);
}

void vim_client_close(struct vim_client *c) {
    vim_close(c->v);
    assert_int_equal(vim_server_sessions(c->s), 0); /* whatever happened */
    vim_server_stop(c->s);
    free(c->url);
}

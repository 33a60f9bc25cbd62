/* Any bytes as the reply of a vCenter: it is refused as a protocol error or as a fault, or its items are read, with all
 * that is made of them. The method comes first, up to a newline.
 *
 *   cmake --preset fuzz && cmake --build --preset fuzz -t fuzz_soap
 *   build-fuzz/fuzz_soap -max_total_time=60 -timeout=5 FOLDER tests/fuzz/corpus/soap
 */
#include <libxml/parser.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/vsphere/vim_priv.h"

#define MUST(what)                                                                                                     \
    do {                                                                                                               \
        if (!(what))                                                                                                   \
            abort();                                                                                                   \
    } while (0)

#define DEPTH_MAX 64

static void check_printable(const char *text) {
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        MUST(*c >= 0x20 && *c != 0x7f);
}

static void check_error(const struct error *err) {
    MUST(err->code != ERR_NONE && err->cause[0]);
    MUST(err->code == ERR_PROTOCOL || vim_fault_any(err));
    MUST(err->native <= VIM_OTHER);
    check_printable(err->cause);
    check_printable(err->subject);
}

static void check_values(xmlNode *node, int depth) {
    char small[9], large[300];
    struct moref ref;
    MUST(depth <= DEPTH_MAX);
    bool fits = xml_text(node, small, sizeof small);
    MUST(strlen(small) < sizeof small);
    check_printable(small);
    if (xml_text(node, large, sizeof large) && fits)
        MUST(strcmp(small, large) == 0);
    cleanup_free char *whole = xml_text_new(node);
    MUST(xml_is(node, whole));
    if (xml_ref(node, &ref)) {
        MUST(ref.type[0] && ref.id[0] && xml_is(node, ref.id));
        check_printable(ref.id);
        check_printable(ref.type);
    }
    MUST(xml_flag(node, true) || !xml_flag(node, false));
    (void)xml_number(node, 0);
    (void)xml_type(node);
    for (xmlNode *n = xml_child(node, NULL); n; n = xml_next(n, NULL))
        check_values(n, depth + 1);
}

/* As an object of a read: what it has is what was in it, and a copy is the same. */
static void check_object(xmlNode *item) {
    struct vim_object object = {.doc = NULL}, other = object_new(&(struct moref){"T", "i"});
    struct error err = {0};
    char name[200];
    if (object_read(item, "host vc", &object, &err) == 0) {
        for (xmlNode *p = xml_child(item, "propSet"); p; p = xml_next(p, "propSet"))
            if (xml_text(xml_child(p, "name"), name, sizeof name) && xml_child(p, "val"))
                check_values(vim_property(&object, name), 0);
        struct vim_object copy = object_copy(&object);
        object_merge(&other, &copy);
        MUST(!copy.doc);
    } else {
        check_error(&err);
    }
    vim_object_free(&object);
    vim_object_free(&other);
}

static void check_fault(xmlNode *item) {
    struct error err = {0};
    MUST(vim_fault_error(item, NULL, "host vc", &err) == -1);
    check_error(&err);
}

static void check_items(struct soap_reply *reply) {
    struct error err = {0};
    xmlNode *item = NULL;
    int rc = 0;
    while ((rc = soap_next(reply, &item, &err)) == 1) {
        check_values(item, 0);
        check_object(item);
        check_fault(item);
    }
    if (rc)
        check_error(&err);
    MUST(soap_next(reply, &item, NULL) == 0); /* the end is the end */
}

static void check_reply(const char *method, const char *bytes, size_t size, bool enter) {
    struct buffer body = {0};
    struct soap_reply *reply = NULL;
    struct error err = {0};
    buffer_append(&body, bytes, size);
    if (soap_read(&body, method, "host vc", &reply, &err)) {
        MUST(!reply);
        check_error(&err);
    } else if (enter && soap_enter(reply, &err) < 0) {
        check_error(&err);
    } else {
        check_items(reply);
    }
    MUST(!body.data);
    soap_reply_free(reply);
}

/* What was read as text is written so that it is read again. */
static void check_written(const char *text) {
    struct soap_request *r = soap_new("M", &(struct moref){"T", "i"});
    size_t len = 0;
    soap_text(r, "v", text);
    const char *envelope = soap_envelope(r, &len);
    if (soap_sound(r)) {
        xmlDoc *doc = xmlReadMemory(envelope, (int)len, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR);
        MUST(doc);
        MUST(xml_is(xml_child(xml_child(xml_child(xmlDocGetRootElement(doc), "Body"), "M"), "v"), text));
        xmlFreeDoc(doc);
    }
    soap_free(r);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    const char *line = (const char *)data, *end = size ? memchr(line, '\n', size) : NULL;
    if (!end || end - line > 60)
        return 0;
    cleanup_free char *method = xstrndup(line, (size_t)(end - line));
    size_t len = size - (size_t)(end + 1 - line);
    check_reply(method, end + 1, len, false);
    check_reply(method, end + 1, len, true);
    cleanup_free char *text = xstrndup(end + 1, len);
    check_written(text);
    return 0;
}

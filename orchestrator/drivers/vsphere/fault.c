/* Typed faults. The words come from the server: its sentence first, then the fault's name, with what it names. */
#include "drivers/vsphere/fault.h"

#include <stdio.h>
#include <string.h>

#include "drivers/vsphere/soap.h"

struct row {
    const char *name;
    enum error_code code;
    bool retry;
    const char *mend;
};

static const struct row rows[] = {
#define X(symbol, name, code, retry, mend) {name, code, retry, mend},
    VIM_FAULTS(X)
#undef X
};
#define ROWS (sizeof rows / sizeof *rows)
static const struct row other = {"a fault of unknown type", ERR_PROCESS, false, NULL};

static const struct row *row_of(enum vim_fault f) {
    size_t i = (size_t)f - VIM_FAULTS_BEGIN - 1;
    return f > VIM_FAULTS_BEGIN && i < ROWS ? &rows[i] : &other;
}

enum vim_fault vim_fault_find(const char *name) {
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return VIM_FAULTS_BEGIN + 1 + (enum vim_fault)i;
    return VIM_OTHER;
}

const char *vim_fault_name(enum vim_fault f) { return f == VIM_NONE ? "none" : row_of(f)->name; }

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

/* xsi:type; a server that leaves it out still names the element after it ("InvalidLoginFault"). "" for what no fault is
 * called. */
static void type_name(const xmlNode *node, char *out, size_t size) {
    const char *type = xml_type(node), *name = type ? type : node ? (const char *)node->name : "";
    size_t len = strspn(name, NAME_CHARACTERS);
    if (name[len] || len >= size)
        len = 0;
    else if (!type && len > 5 && strcmp(name + len - 5, "Fault") == 0)
        len -= 5;
    memcpy(out, name, len);
    out[len] = '\0';
}

/* Fields of faults that say which thing is meant, and how to put that. The first that is there counts. */
static const struct {
    const char *field, *format;
} details[] = {
    {"privilegeId", " for want of the privilege %s"},
    {"invalidProperty", " in '%s'"},
    {"file", " at '%s'"},
    {"name", " of '%s'"},
    {"method", " for %s"},
    {"reason", " because %s"},
};

static void detail(xmlNode *node, char *out, size_t size) {
    char value[160];
    out[0] = '\0';
    for (size_t i = 0; i < sizeof details / sizeof *details; i++)
        if (xml_text(xml_child(node, details[i].field), value, sizeof value) && value[0]) {
            snprintf(out, size, details[i].format, value);
            return;
        }
}

/* The object it is about, where the fault has one: NoPermission.object, ManagedObjectNotFound.obj. */
static void object(xmlNode *node, char *out, size_t size) {
    struct moref ref;
    xmlNode *n = xml_child(node, "obj");
    out[0] = '\0';
    if (xml_ref(n ? n : xml_child(node, "object"), &ref))
        snprintf(out, size, " on %s %s", ref.type, ref.id);
}

int vim_fault_error(xmlNode *node, const char *message, const char *subject, struct error *err) {
    char name[64], about[200] = "", which[180] = "", said[400], more[300] = "";
    type_name(node, name, sizeof name);
    enum vim_fault fault = vim_fault_find(name);
    if (fault != VIM_NOT_AUTHENTICATED) { /* a NoPermission in the API; but no privilege is what is missing */
        detail(node, which, sizeof which);
        object(node, about, sizeof about);
    }
    snprintf(said, sizeof said, "%s", message ? message : "");
    /* What the host said to vCenter; often the only sentence that tells something. */
    xml_text(xml_child(xml_child(node, "faultMessage"), "message"), more, sizeof more);
    const struct row *row = row_of(fault);
    const char *colon = said[0] ? ": " : "", *semicolon = more[0] ? "; " : "";
    error_set(err, row->code, subject, "%s%s%s%s%s%s%s", name[0] ? name : row->name, which, about, colon, said,
              semicolon, more);
    if (row->mend)
        error_mend(err, "%s", row->mend);
    if (err) {
        err->native = fault;
        err->retry = row->retry;
    }
    return -1;
}

#include "cli/lab_folders.h"

#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "nestor/file.h"
#include "nestor/identity.h"

struct walk {
    const char *labs;
    struct state *state;
    int (*fn)(void *data, const char *lab_id, const char *path, bool known, struct error *err);
    void *data;
};

static int take_folder(void *data, const char *name, struct error *err) {
    const struct walk *w = data;
    bool known;
    if (strlen(name) != LAB_ID_LEN || strspn(name, "0123456789abcdef") != LAB_ID_LEN)
        return 0;
    cleanup_free char *path = xasprintf("%s/%s", w->labs, name);
    return state_lab_was_known(w->state, name, &known, err) || w->fn(w->data, name, path, known, err) ? -1 : 0;
}

int lab_folders_each(const char *home, struct state *state,
                     int (*fn)(void *data, const char *lab_id, const char *path, bool known, struct error *err),
                     void *data, struct error *err) {
    cleanup_free char *labs = xasprintf("%s/labs", home);
    struct walk w = {labs, state, fn, data};
    return dir_each(labs, NULL, take_folder, &w, err);
}

static int warn(void *data, const char *lab_id, const char *path, bool known, struct error *err) {
    (void)data, (void)lab_id, (void)err;
    if (known)
        return 0;
    cleanup_free char *text =
        xasprintf("%s has the key of a lab that the database does not know: if it is up, 'nestor adopt HOST --file "
                  "FILE' takes it over; a lab that is new here is made beside it",
                  path);
    warning_print(text, color_on(STDERR_FILENO), stderr);
    return 0;
}

int lab_folders_warn(const char *home, struct state *state, struct error *err) {
    return lab_folders_each(home, state, warn, NULL, err);
}

#include "nestor/state.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nestor/file.h"
#include "state/state_priv.h"

/* The XDG Base Directory Specification: where state and caches go, and that a relative value is to be ignored. */
static const struct {
    const char *below_home, *variable, *fallback;
} places[] = {
    [false] = {"", "XDG_STATE_HOME", ".local/state"},
    [true] = {"/cache", "XDG_CACHE_HOME", ".cache"},
};

static const char *set_variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static char *from_nestor_home(const char *home, const char *below, struct error *err) {
    if (*home == '/')
        return xasprintf("%s%s", home, below);
    cleanup_free char *here = getcwd(NULL, 0);
    if (!here) {
        error_set_errno(err, errno, "NESTOR_HOME", "is relative, and the current folder is unknown");
        return NULL;
    }
    return xasprintf("%s/%s%s", here, home, below);
}

static char *from_user(bool cache, struct error *err) {
    const char *xdg = set_variable(places[cache].variable);
    if (xdg && *xdg == '/')
        return xasprintf("%s/nestor", xdg);
    const char *home = set_variable("HOME");
    const struct passwd *user = home ? NULL : getpwuid(getuid());
    if (user)
        home = user->pw_dir;
    if (!home || *home != '/') {
        error_set(err, ERR_NOT_FOUND, "HOME", "your home folder is unknown");
        error_mend(err, "set HOME, or NESTOR_HOME to the folder nestor may use");
        return NULL;
    }
    return xasprintf("%s/%s/nestor", home, places[cache].fallback);
}

static int make_folders(char *path, struct error *err) {
    for (char *slash = path; slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        int failed = mkdir(path, 0700) < 0 && errno != EEXIST ? errno : 0;
        if (slash)
            *slash = '/';
        if (failed) {
            error_set_errno(err, failed, path, "cannot make the folder");
            return error_mend(err, "set NESTOR_HOME to a folder you can write to");
        }
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return error_set_errno(err, errno, path, "cannot look at the folder");
    if (S_ISDIR(st.st_mode))
        return 0;
    error_set(err, ERR_IO, path, "is not a folder");
    return error_mend(err, "set NESTOR_HOME to a folder you can write to");
}

static char *folder_path(bool cache, struct error *err) {
    const char *home = set_variable("NESTOR_HOME");
    return home ? from_nestor_home(home, places[cache].below_home, err) : from_user(cache, err);
}

bool nestor_has_state(void) {
    cleanup_free char *home = folder_path(false, NULL);
    cleanup_free char *database = home ? xasprintf("%s/" STATE_FILE, home) : NULL;
    return database && file_exists(AT_FDCWD, database);
}

int folder_find(bool cache, char **ret, struct error *err) {
    cleanup_free char *path = folder_path(cache, err);
    if (!path || make_folders(path, err))
        return -1;
    *ret = steal_ptr(&path);
    return 0;
}

/* Kept for the life of the process, as the header promises. */
static const char *remembered(bool cache, struct error *err) {
    static char *found[2];
    return found[cache] || folder_find(cache, &found[cache], err) == 0 ? found[cache] : NULL;
}

const char *nestor_home(struct error *err) { return remembered(false, err); }

const char *nestor_cache(struct error *err) { return remembered(true, err); }

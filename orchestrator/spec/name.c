#include <string.h>

#include "nestor/lab.h"
#include "spec/limits.h"

static bool is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }

bool name_is_valid(const char *name) {
    size_t len = strnlen(name, SPEC_NAME_MAX + 1);
    if (len == 0 || len > SPEC_NAME_MAX || name[0] == '-' || name[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (!is_name_char(name[i]))
            return false;
    return true;
}

bool login_is_valid(const char *login) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char rest[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789-";
    size_t len = strnlen(login, LOGIN_MAX + 1);
    return len > 0 && len <= LOGIN_MAX && strchr(letters, login[0]) && strspn(login, rest) == len;
}

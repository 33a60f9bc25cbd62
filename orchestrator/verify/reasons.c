#include <stddef.h>
#include <string.h>

#include "nestor/verify.h"

const struct reason reasons[] = {
#define X(code, meaning, mend) {code, meaning, mend},
    REASON_CODES(X)
#undef X
        {NULL, NULL, NULL},
};

const struct reason *reason_find(const char *code) {
    for (const struct reason *r = reasons; code && r->code; r++)
        if (strcmp(r->code, code) == 0)
            return r;
    return NULL;
}
